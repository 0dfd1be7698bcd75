//! What comes next on the way from what the kernel has to what is wished, one step for each object.

use std::collections::BTreeSet;

use super::{GroupEvent, Item, KernelGroup, Leg, Objects, Resilience, Shape, Support, legs, shape};
use crate::{
    fib::{FibOp, ObjectOp, Refusal},
    model::{GroupId, Member, NextHopObject, ObjectId},
};

impl Objects {
    /// The next operation, if nothing is in doubt.
    pub(in crate::fib) fn poll_op(&mut self) -> Option<FibOp> {
        if !self.is_known() {
            return None;
        }
        while let Some(item) = self.queue.pop_front() {
            if !self.queued.remove(&item) {
                continue; // taken back
            }
            let op = match item {
                Item::Leg(leg) => self.plan_leg(leg),
                Item::Group(id) => self.plan_group(id),
                Item::Stray(id) => self.plan_stray(id),
            };
            if let Some((id, op)) = op {
                self.in_flight.insert(id, item);
                return Some(FibOp::Object { id, op });
            }
        }
        None
    }

    fn plan_leg(&mut self, leg: Leg) -> Option<(ObjectId, ObjectOp)> {
        match self.legs.step(leg) {
            legs::Step::Nothing => {
                if !self.legs.has(leg) {
                    self.give_up(Item::Leg(leg));
                }
                None
            }
            legs::Step::Create => {
                let id = self.next_id()?;
                self.legs.begin(leg, false);
                Some((id, ObjectOp::Add(leg.into())))
            }
            legs::Step::Rewrite(id) => {
                self.legs.begin(leg, false);
                Some((id, ObjectOp::Replace(leg.into())))
            }
            legs::Step::Delete(id) => {
                self.legs.begin(leg, true);
                Some((id, ObjectOp::Delete))
            }
        }
    }

    fn plan_stray(&mut self, id: ObjectId) -> Option<(ObjectId, ObjectOp)> {
        let unused = self.kernel.get(id).is_none_or(KernelGroup::is_useless);
        if !unused || self.legs.by_id(id).is_some() || self.in_flight.contains_key(&id) {
            return None;
        }
        self.forget_group(id);
        Some((id, ObjectOp::Delete))
    }

    /// The next step of a group towards what it is to be.
    fn plan_group(&mut self, id: GroupId) -> Option<(ObjectId, ObjectOp)> {
        let group = self.groups.get_mut(&id)?;
        if group.in_flight {
            return None; // planned again when its result comes
        }
        let (family, support) = (group.family?, group.support);
        if support == Support::None {
            return None;
        }
        let Some(forwarding) = group.forwarding.clone() else {
            return self.withdraw_group(id);
        };
        let mut shape = Shape::new(&forwarding, group.spare, family, support);
        let next = group.next.as_ref().map(|next| Shape::new(next, None, family, support));
        let is_refused = shape.in_use().all(|leg| self.legs.is_in_trouble(leg));
        let next = next.filter(|_| is_refused);
        let wanted: BTreeSet<Leg> = shape.legs().chain(next.iter().flat_map(Shape::legs)).collect();
        let before = std::mem::replace(&mut group.legs, wanted.clone());
        for leg in &wanted {
            self.legs.want(*leg, id);
        }
        for leg in before.difference(&wanted) {
            self.legs.unwant(*leg, id);
            self.push(Item::Leg(*leg));
        }
        let missing = wanted.iter().filter(|leg| self.legs.is_open(**leg));
        let missing: Vec<Leg> = missing.copied().collect();
        if !missing.is_empty() {
            for leg in missing {
                self.push(Item::Leg(leg));
            }
            return None; // planned again with each result
        }
        let mut members = shape.members(|leg| self.legs.id(leg));
        let mut refusal = shape.in_use().find_map(|leg| self.legs.refusal(leg)).cloned();
        if let Some(next) = next.filter(|_| members.is_empty()) {
            members = next.members(|leg| self.legs.id(leg));
            if !members.is_empty() {
                (shape, refusal) = (next, refusal.as_ref().map(Refusal::bridged));
            }
        }
        if members.is_empty() {
            // What is served by a spare goes on; what nobody wishes any more does not stay.
            let serving = self.groups.get(&id).and_then(|group| group.serving);
            let still = serving.and_then(|object| self.kernel.get(object)).is_some_and(|object| {
                object.members.iter().any(|member| {
                    self.legs.by_id(member.object).is_some_and(|leg| wanted.contains(&leg))
                })
            });
            let op = if still { None } else { self.withdraw_object(id) };
            self.refuse(id, refusal);
            return op;
        }
        let group = self.groups.get_mut(&id)?;
        if group.refusal != refusal {
            self.faults.push_back((id, refusal.clone()));
        }
        group.refusal = refusal;
        if let Some(serving) = group.serving
            && let Some(object) = self.kernel.get(serving)
        {
            let KernelGroup { resilience, routes, .. } = *object;
            if std::mem::take(&mut group.missed) {
                self.events.push_back(GroupEvent::Renewed(id));
            }
            if !shape::is_equal(&object.members, &members) {
                group.in_flight = true;
                return Some(self.write_group(serving, id, resilience, members, routes));
            }
            if resilience.can_hold(shape.resilience) {
                return None;
            }
        }
        if let Some(found) = self.kernel.adopt(id, &members, shape.resilience) {
            self.serve(id, found);
            return None;
        }
        let object = self.next_id()?;
        self.groups.get_mut(&id)?.in_flight = true;
        Some(self.write_group(object, id, shape.resilience, members, 0))
    }

    fn write_group(
        &mut self,
        object: ObjectId,
        of: GroupId,
        resilience: Resilience,
        members: Vec<Member>,
        routes: u32,
    ) -> (ObjectId, ObjectOp) {
        let content =
            NextHopObject::Group { members: members.clone().into(), buckets: resilience.buckets() };
        let op = match self.is_live(object) {
            true => ObjectOp::Replace(content),
            false => ObjectOp::Add(content),
        };
        self.tried.insert(object, KernelGroup { resilience, members, of: Some(of), routes });
        (object, op)
    }

    /// A group leads nowhere: its routes go at once, with what they refer to.
    fn withdraw_group(&mut self, id: GroupId) -> Option<(ObjectId, ObjectOp)> {
        let group = self.groups.get_mut(&id)?;
        if group.refusal.take().is_some() {
            self.faults.push_back((id, None));
        }
        for leg in std::mem::take(&mut group.legs) {
            self.legs.unwant(leg, id);
            self.push(Item::Leg(leg));
        }
        self.events.push_back(GroupEvent::Ready(id));
        self.withdraw_object(id)
    }

    fn withdraw_object(&mut self, id: GroupId) -> Option<(ObjectId, ObjectOp)> {
        let group = self.groups.get_mut(&id)?;
        let serving = group.serving.take()?;
        group.missed = true; // and by those whose route was refused because of that
        if self.kernel.get(serving).is_some_and(|object| object.routes > 0) {
            self.events.push_back(GroupEvent::Renewed(id));
        }
        self.forget_group(serving);
        Some((serving, ObjectOp::Delete))
    }

    /// The object is what routes of the group are to refer to.
    pub(super) fn serve(&mut self, id: GroupId, object: ObjectId) {
        let Some(group) = self.groups.get_mut(&id) else {
            self.retire(object);
            return;
        };
        let before = group.serving.replace(object).filter(|before| *before != object);
        if std::mem::take(&mut group.missed) || before.is_some() {
            self.events.push_back(GroupEvent::Renewed(id));
        }
        if let Some(before) = before {
            self.retire(before);
        }
        self.events.push_back(GroupEvent::Ready(id));
    }

    /// Nobody's from now on; it goes with its last route.
    pub(super) fn retire(&mut self, id: ObjectId) {
        if self.kernel.retire(id) {
            self.push(Item::Stray(id));
        }
    }

    /// The kernel has a group no more.
    pub(super) fn forget_group(&mut self, id: ObjectId) {
        let Some(object) = self.kernel.remove(id) else { return };
        for member in object.members {
            self.leave(member.object, id);
        }
        let group = object.of.and_then(|of| Some((of, self.groups.get_mut(&of)?)));
        let Some((of, group)) = group else {
            if object.routes > 0 {
                self.events.push_back(GroupEvent::Orphans);
            }
            return;
        };
        if group.serving == Some(id) {
            group.serving = None;
            match object.routes {
                0 => group.missed = true, // a route may have been refused because of that
                _ => self.events.push_back(GroupEvent::Renewed(of)),
            }
        }
        self.push(Item::Group(of));
    }

    pub(super) fn leave(&mut self, leg: ObjectId, group: ObjectId) {
        if let Some(leg) = self.legs.leave(leg, group) {
            self.push(Item::Leg(leg));
        }
    }

    pub(super) fn refuse(&mut self, id: GroupId, refusal: Option<Refusal>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let refusal = refusal.unwrap_or_else(|| Refusal {
            errno: libc::ENETUNREACH,
            message: "no next hop of the group is to be had".to_owned(),
        });
        self.faults.push_back((id, Some(refusal.clone())));
        group.refusal = Some(refusal);
        if group.serving.is_none() {
            self.events.push_back(GroupEvent::Refused(id));
        }
    }
}
