//! What the kernel says of objects: results, losses, what others do to them, and what it has.

use std::{
    collections::{BTreeMap, hash_map::Entry},
    mem,
    time::Instant,
};

use super::{
    END_OF_IDS, FIRST_ID, GroupEvent, Item, KernelGroup, Leg, Objects, PAUSE, Reading, Refusal,
    shape,
};
use crate::{
    fib::{ObjectOp, retry::pause},
    model::{GroupId, InterfaceIndex, Member, NextHopObject, ObjectId},
};

impl Objects {
    /// The kernel did what [`Objects::poll_op`] handed out, or refused.
    pub(in crate::fib) fn handle_result(
        &mut self,
        id: ObjectId,
        op: &ObjectOp,
        result: Result<(), Refusal>,
        now: Instant,
    ) {
        let Some(item) = self.in_flight.remove(&id) else { return };
        if result.as_ref().is_err_and(Refusal::is_passing) {
            self.doubt();
        }
        if let (ObjectOp::Delete, Err(refusal)) = (op, &result)
            && refusal.errno != libc::ENOENT
        {
            self.retry(Item::Stray(id), 1, now);
        }
        match item {
            Item::Leg(leg) => self.conclude_leg(leg, id, op, result, now),
            Item::Group(group) => self.conclude_group(group, id, op, result, now),
            // Gone, or gone before, or tried again.
            Item::Stray(_) => {}
        }
    }

    fn conclude_leg(
        &mut self,
        leg: Leg,
        id: ObjectId,
        op: &ObjectOp,
        result: Result<(), Refusal>,
        now: Instant,
    ) {
        let dropped = self.legs.end(leg);
        match (op, result) {
            // Before or after its link was lost, who knows: another takes its place.
            (ObjectOp::Add(_) | ObjectOp::Replace(_), Ok(())) if dropped => {
                self.push(Item::Stray(id));
            }
            (ObjectOp::Add(_) | ObjectOp::Replace(_), Ok(())) => self.legs.set(leg, id),
            (ObjectOp::Delete, _) => self.lose_leg(leg),
            // Somebody else has the number: the next one is tried.
            (ObjectOp::Add(_), Err(refusal)) if refusal.errno == libc::EEXIST => {}
            (ObjectOp::Replace(_), Err(refusal)) if refusal.errno == libc::ENOENT => {
                self.lose_leg(leg);
            }
            (op, Err(refusal)) => {
                let refusals = self.legs.refuse(leg, refusal);
                self.retry(Item::Leg(leg), refusals, now);
                // What somebody else wrote there leads by another link, and was not lost with this one.
                if dropped && matches!(op, ObjectOp::Replace(_)) {
                    self.push(Item::Stray(id));
                }
            }
        }
        self.push(Item::Leg(leg));
        for group in self.legs.wanted_by(leg) {
            self.push(Item::Group(group));
        }
    }

    fn conclude_group(
        &mut self,
        group: GroupId,
        id: ObjectId,
        op: &ObjectOp,
        result: Result<(), Refusal>,
        now: Instant,
    ) {
        let tried = self.tried.remove(&id);
        if let Some(group) = self.groups.get_mut(&group) {
            group.in_flight = false;
        }
        self.push(Item::Group(group));
        match (op, result) {
            (ObjectOp::Add(_) | ObjectOp::Replace(_), Ok(())) => {
                if let Some(tried) = tried {
                    self.keep_group(group, id, tried);
                }
            }
            (ObjectOp::Delete, _) => {}
            (ObjectOp::Add(_), Err(refusal)) if refusal.errno == libc::EEXIST => {}
            (ObjectOp::Replace(_), Err(refusal)) if refusal.errno == libc::ENOENT => {
                self.forget_group(id);
            }
            (_, Err(refusal)) => {
                // A leg may be gone that was thought to be there.
                self.doubt();
                let refusals = self.groups.get_mut(&group).map_or(1, |group| {
                    group.refusals = group.refusals.saturating_add(1);
                    group.refusals
                });
                self.refuse(group, Some(refusal));
                self.unqueue(Item::Group(group));
                self.retry(Item::Group(group), refusals, now);
            }
        }
    }

    /// The kernel has the group like this, but for legs that were lost meanwhile.
    fn keep_group(&mut self, group: GroupId, id: ObjectId, mut tried: KernelGroup) {
        tried.members.retain(|member| self.legs.by_id(member.object).is_some());
        let before = self.kernel.remove(id);
        for member in before.iter().flat_map(|before| &before.members) {
            if tried.members.iter().all(|it| it.object != member.object) {
                self.leave(member.object, id);
            }
        }
        let routes = before.map_or(0, |before| before.routes);
        if tried.members.is_empty() {
            self.lose_routes(group, id, routes);
            return;
        }
        for member in &tried.members {
            self.legs.join(member.object, id);
        }
        self.kernel.insert(id, KernelGroup { routes, ..tried });
        self.serve(group, id);
    }

    fn retry(&mut self, item: Item, refusals: u8, now: Instant) {
        if let Entry::Vacant(vacant) = self.waiting.entry(item) {
            let until = now.checked_add(pause(refusals)).unwrap_or(now);
            self.retries.wait(item, until);
            vacant.insert(until);
        }
    }

    fn unqueue(&mut self, item: Item) {
        self.queued.remove(&item); // its entry in the queue is void then
    }

    /// A link is down or gone, and with it all that leads by it.
    pub(in crate::fib) fn handle_lost(&mut self, interface: InterfaceIndex) {
        self.disturb_reading();
        let legs = self.legs.by(interface);
        let ids: Vec<ObjectId> = legs.iter().filter_map(|leg| self.legs.id(*leg)).collect();
        legs.into_iter().for_each(|leg| self.lose_leg(leg));
        // One may have been made between the loss and its news.
        ids.into_iter().for_each(|id| self.push(Item::Stray(id)));
    }

    pub(super) fn lose_leg(&mut self, leg: Leg) {
        if let Some((id, groups)) = self.legs.lose(leg) {
            for group in groups {
                self.shrink(group, id);
            }
        }
        self.push(Item::Leg(leg));
        for group in self.legs.wanted_by(leg) {
            self.push(Item::Group(group));
        }
    }

    /// A group lost a leg, and with its last one itself.
    fn shrink(&mut self, id: ObjectId, leg: ObjectId) {
        let is_empty = self.kernel.change(id, |object| {
            object.members.retain(|member| member.object != leg);
            object.members.is_empty()
        });
        if is_empty != Some(true) {
            return;
        }
        let known = |member: &Member| self.legs.by_id(member.object).is_some();
        let outlives = self.tried.get(&id).is_some_and(|tried| tried.members.iter().any(known));
        if !outlives {
            self.forget_group(id);
        }
    }

    /// Somebody else changed an object of ours, or deleted it (`None`). That is repaired at once; in a
    /// fight, ever more seldom.
    pub(in crate::fib) fn handle_event(
        &mut self,
        id: ObjectId,
        content: Option<&NextHopObject>,
        now: Instant,
    ) {
        if !(FIRST_ID..END_OF_IDS).contains(&id.0.get()) {
            return; // none of ours has such a number
        }
        self.disturb_reading();
        if self.in_flight.contains_key(&id) {
            self.doubt(); // what came first is not to be told
            return;
        }
        let leg = self.legs.by_id(id);
        let group = self.kernel.get(id).and_then(|object| object.of);
        let changed = match (content, leg) {
            (Some(content), _) => self.compare(id, content),
            (None, Some(leg)) => {
                self.lose_leg(leg);
                true
            }
            (None, None) => {
                self.forget_group(id);
                true
            }
        };
        let item = leg.map(Item::Leg).or_else(|| group.map(Item::Group));
        if let Some(item) = item.filter(|_| changed)
            && let Some(until) = self.fights.pause(item, now)
        {
            self.leave_alone(item, until);
        }
    }

    /// Somebody changes an object again and again: it is not repaired before that.
    fn leave_alone(&mut self, item: Item, until: Instant) {
        let refusal = Refusal::of_fight(
            "another program keeps changing the next-hop objects of this route (systemd-networkd does, \
             unless ManageForeignNextHops=no)",
        );
        match item {
            Item::Leg(leg) => drop(self.legs.refuse(leg, refusal)),
            Item::Group(group) => {
                self.refuse(group, Some(refusal));
                self.unqueue(item);
            }
            Item::Stray(_) => return,
        }
        if let Entry::Vacant(vacant) = self.waiting.entry(item) {
            vacant.insert(until);
            self.retries.wait(item, until);
        }
    }

    /// Takes in what the kernel has under a number; answers whether that is something else than was known.
    fn compare(&mut self, id: ObjectId, content: &NextHopObject) -> bool {
        if let Some(leg) = self.legs.by_id(id) {
            let differs = NextHopObject::from(leg) != *content;
            if differs {
                self.legs.tamper(leg);
                self.push(Item::Leg(leg));
            }
            return differs;
        }
        let (members, buckets) = match content {
            NextHopObject::Group { members, buckets } => (members, *buckets),
            NextHopObject::Hop { family, gateway, interface } => {
                let hop = crate::model::Hop {
                    gateway: *gateway,
                    interface: *interface,
                    weight: crate::model::Weight::ONE,
                };
                let leg = Leg::new(&hop, *family);
                if self.legs.id(leg).is_none() && !self.legs.is_in_flight(leg) {
                    self.legs.set(leg, id); // of an earlier life, and as good as a new one
                    self.push(Item::Leg(leg));
                } else {
                    self.push(Item::Stray(id));
                }
                return true;
            }
        };
        let resilience = buckets.into();
        if self.kernel.get(id).is_none() {
            let group = KernelGroup { resilience, members: Vec::new(), of: None, routes: 0 };
            self.kernel.insert(id, group);
        }
        let before = self.kernel.change(id, |known| {
            known.resilience = resilience;
            let differs = !shape::is_equal(&known.members, members);
            differs.then(|| (mem::replace(&mut known.members, members.to_vec()), known.of))
        });
        let Some((before, of)) = before.flatten() else { return false };
        for member in before {
            self.leave(member.object, id);
        }
        for member in members {
            self.legs.join(member.object, id);
        }
        if let Some(of) = of {
            self.push(Item::Group(of));
        }
        true
    }

    /// What the kernel has is not certain any more: nothing is written until it has been read.
    pub(in crate::fib) fn doubt(&mut self) {
        if self.is_used() {
            self.reading = Reading::Wanted;
        }
    }

    /// The same because of what the kernel says of a route, which may have another reason: once a
    /// second at most.
    pub(in crate::fib) fn doubt_once(&mut self, now: Instant) {
        if self.doubts.ask(now, PAUSE) {
            self.doubt();
        }
    }

    /// Whether the objects are to be read now.
    pub(in crate::fib) fn wants_reading(&self) -> bool {
        matches!(self.reading, Reading::Wanted) && self.in_flight.is_empty()
    }

    pub(in crate::fib) fn begin_reading(&mut self) {
        self.reading = Reading::Underway { found: BTreeMap::new(), is_void: false };
    }

    /// The dump begins again, or has done so already before what was heard last.
    pub(in crate::fib) fn begin_reading_again(&mut self) {
        if let Reading::Underway { found, .. } = &mut self.reading {
            found.clear();
        }
    }

    /// What a dump tells may be older than what is known now.
    fn disturb_reading(&mut self) {
        if let Reading::Underway { is_void, .. } = &mut self.reading {
            *is_void = true;
        }
    }

    /// The kernel has this; `None` for what is never written here.
    pub(in crate::fib) fn handle_found(&mut self, id: ObjectId, content: Option<NextHopObject>) {
        if let Reading::Underway { found, .. } = &mut self.reading
            && (FIRST_ID..END_OF_IDS).contains(&id.0.get())
        {
            found.insert(id, content);
        }
    }

    /// All has been read.
    pub(in crate::fib) fn handle_reading_complete(&mut self) {
        let found = match mem::replace(&mut self.reading, Reading::Done) {
            Reading::Underway { found, is_void: false } => found,
            Reading::Underway { is_void: true, .. } => {
                self.reading = Reading::Wanted;
                return;
            }
            other => {
                self.reading = other;
                return;
            }
        };
        let legs: Vec<(ObjectId, Leg)> = self.legs.live().collect();
        for (id, leg) in legs {
            if !found.contains_key(&id) {
                self.lose_leg(leg);
            }
        }
        let groups: Vec<ObjectId> = self.kernel.iter().map(|(id, _)| id).collect();
        for id in groups {
            if !found.contains_key(&id) {
                self.forget_group(id);
            }
        }
        // Legs first: a group is known by those.
        let is_hop =
            |content: &Option<NextHopObject>| matches!(content, Some(NextHopObject::Hop { .. }));
        let (hops, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, content)| is_hop(content));
        for (id, content) in hops.into_iter().chain(others) {
            match content {
                Some(content) => drop(self.compare(id, &content)),
                None => self.push(Item::Stray(id)),
            }
        }
        // Whatever was waiting for certainty; what was refused waits on, or that would go on for ever.
        let groups: Vec<Item> = self.groups.keys().map(|id| Item::Group(*id)).collect();
        for group in groups {
            if !self.waiting.contains_key(&group) {
                self.push(group);
            }
        }
    }

    /// The routes have been read too: what none of them refers to, and nobody wants, goes.
    pub(in crate::fib) fn sweep(&mut self) {
        let unused: Vec<ObjectId> = self
            .kernel
            .iter()
            .filter(|(_, object)| object.is_useless())
            .map(|(id, _)| id)
            .collect();
        for id in unused {
            self.push(Item::Stray(id));
        }
    }

    fn is_used(&self) -> bool {
        self.support != super::Support::None
    }

    /// The routes of an object are gone with it.
    fn lose_routes(&mut self, of: GroupId, id: ObjectId, routes: u32) {
        if let Some(group) = self.groups.get_mut(&of)
            && group.serving == Some(id)
        {
            group.serving = None;
            match routes {
                0 => group.missed = true,
                _ => self.events.push_back(GroupEvent::Renewed(of)),
            }
        }
    }
}
