//! Next-hop objects: what the groups of the RIB come to in the kernel.
//!
//! Every distinct way out is one object, a *leg*, and every group of the RIB one object that has legs
//! as its members; routes refer to the groups' objects. So a next hop that fails is one message for
//! each group that has it, however many routes there are.
//!
//! What a reader would get wrong:
//! * The kernel takes legs away without a word when their link goes, and a group with its last leg,
//!   and all routes with their group. So a group gets a *spare* leg by another interface, too light for
//!   a bucket as long as another leg is there: then the kernel itself moves the packets to it, and
//!   what is done here afterwards is no matter of haste.
//! * While the kernel refuses all legs that a group is to have, the group's object has those of the *next*
//!   best set, which is no other state of the group: what was refused is tried again all the time.
//! * A number is never used for two objects. What refers to an object that is gone is gone too, and is
//!   known to be by the number alone.
//! * Nothing is written that refers to something whose creation has not been answered yet.

mod kernel;
mod legs;
mod members;
mod results;
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{KernelGroup, KernelGroups};
use legs::{Leg, Legs};
pub(super) use members::Members;
use shape::{Resilience, Shape};

use super::{
    FibOp, ObjectOp, Refusal,
    retry::{Fights, Retries, Seldom},
};
use crate::model::{
    Family, Forwarding, GroupId, Hop, InterfaceIndex, Member, NextHopObject, ObjectId, Prefix,
    TableId, Target, Wish,
};

/// What the kernel can do with next-hop objects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Support {
    /// Nothing, or it is not to be used: each route carries its next hops.
    None,
    /// Groups that deal packets out by a hash (Linux 5.3): they can have no spare.
    Groups,
    /// Resilient groups (Linux 5.13).
    #[default]
    Resilient,
}

/// The first of the numbers that are given out: 82 in the highest byte, where hardly anybody counts to.
const FIRST_ID: u32 = 82 << 24;

/// The number after the last one.
const END_OF_IDS: u32 = 83 << 24;

/// After the objects were read because of a single route, this passes before they are for another.
const PAUSE: Duration = Duration::from_secs(1);

/// What a destination is to have in the kernel by its wish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// Nothing: its group leads nowhere.
    Nothing,
    /// This.
    Target(Target),
    /// What its group comes to is not there yet.
    NotYet,
    /// What its group comes to is refused by the kernel for now.
    Refused,
}

/// What happened to a group that its destinations have to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum GroupEvent {
    /// Those that wait for it need wait no longer.
    Ready(GroupId),
    /// The kernel refuses it.
    Refused(GroupId),
    /// Routes that referred to what it was have to be written again.
    Renewed(GroupId),
    /// Routes are gone with an object that was nobody's any more.
    Orphans,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Item {
    Leg(Leg),
    Group(GroupId),
    /// An object that nothing refers to any more.
    Stray(ObjectId),
}

/// A group of the RIB: kept as long as the RIB has it or a destination is wished to be in it, because
/// the RIB tells of its end at once and of the destinations that have left it one by one.
#[derive(Debug, Default)]
struct Group {
    /// None as long as the RIB has not told what it comes to.
    family: Option<Family>,
    /// Whether the RIB has it.
    is_held: bool,
    /// Destinations that are wished to be in it.
    members: Members,
    forwarding: Option<Arc<Forwarding>>,
    /// What packets follow while the kernel refuses all of that.
    next: Option<Arc<Forwarding>>,
    spare: Option<Hop>,
    /// The object of the kernel that routes are to refer to.
    serving: Option<ObjectId>,
    /// The legs it has or is to have.
    legs: BTreeSet<Leg>,
    in_flight: bool,
    /// Why there is none, or not by all legs.
    refusal: Option<Refusal>,
    refusals: u8,
    /// Whether destinations have something else because it led nowhere or was refused, and are to be
    /// looked at again.
    missed: bool,
    /// Destinations that wait for it.
    blocked: BTreeSet<(TableId, Prefix)>,
}

impl Group {
    /// Whether there is nothing for its destinations, and nothing on its way either.
    fn is_refused(&self) -> bool {
        self.refusal.is_some() && self.serving.is_none() && !self.in_flight
    }
}

/// The objects of one network namespace, wished and found.
#[derive(Debug)]
pub(super) struct Objects {
    support: Support,
    groups: HashMap<GroupId, Group>,
    legs: Legs,
    kernel: KernelGroups,
    queue: VecDeque<Item>,
    queued: HashSet<Item>,
    in_flight: HashMap<ObjectId, Item>,
    /// What a group in flight is to become.
    tried: HashMap<ObjectId, KernelGroup>,
    retries: Retries<Item>,
    /// What is in the retries, by when.
    waiting: HashMap<Item, Instant>,
    fights: Fights<Item>,
    last_id: u32,
    events: VecDeque<GroupEvent>,
    /// What the kernel refuses of groups, to be shown.
    faults: VecDeque<(GroupId, Option<Refusal>)>,
    reading: Reading,
    /// Because of what the kernel says of a single route.
    doubts: Seldom,
}

/// How far the knowledge of what the kernel has can be trusted.
#[derive(Debug)]
enum Reading {
    /// It cannot: nothing is written until all objects have been read.
    Wanted,
    /// They are being read.
    Underway {
        found: BTreeMap<ObjectId, Option<NextHopObject>>,
        /// Whether others changed some since it began, so that it has to begin again.
        is_void: bool,
    },
    /// It can.
    Done,
}

impl Objects {
    /// Nothing known yet; what the kernel has is to be read first, where it has anything.
    pub(super) fn new(support: Support) -> Self {
        let reading = match support {
            Support::None => Reading::Done,
            Support::Groups | Support::Resilient => Reading::Wanted,
        };
        Self {
            support,
            groups: HashMap::new(),
            legs: Legs::default(),
            kernel: KernelGroups::default(),
            queue: VecDeque::new(),
            queued: HashSet::new(),
            in_flight: HashMap::new(),
            tried: HashMap::new(),
            retries: Retries::default(),
            waiting: HashMap::new(),
            fights: Fights::default(),
            last_id: FIRST_ID - 1,
            events: VecDeque::new(),
            faults: VecDeque::new(),
            reading,
            doubts: Seldom::default(),
        }
    }

    /// What a group comes to now.
    pub(super) fn handle_group(
        &mut self,
        id: GroupId,
        family: Family,
        forwarding: Option<Arc<Forwarding>>,
        next: Option<Arc<Forwarding>>,
        spare: Option<Hop>,
    ) {
        self.give_up(Item::Group(id));
        let group = self.groups.entry(id).or_default();
        group.is_held = true;
        let is_known = group.family.replace(family).is_some();
        let forwarding = forwarding.map(shape::as_the_kernel_tells);
        let is_renewed = is_known && group.forwarding != forwarding;
        group.forwarding = forwarding;
        group.next = next;
        group.spare = spare;
        group.refusals = 0;
        match self.support {
            Support::None => {
                self.events.push_back(GroupEvent::Ready(id));
                if is_renewed {
                    self.events.push_back(GroupEvent::Renewed(id));
                }
            }
            Support::Groups | Support::Resilient => self.push(Item::Group(id)),
        }
    }

    /// The RIB has the group no more: it ends with the last wish to be in it.
    pub(super) fn handle_group_gone(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.is_held = false;
            self.end_if_unused(id);
        }
    }

    /// A destination is wished to follow something else than before.
    pub(super) fn handle_wish(
        &mut self,
        at: (TableId, Prefix),
        before: Option<Wish>,
        now: Option<Wish>,
    ) {
        if before == now {
            return;
        }
        if let Some(Wish::Group(id)) = now {
            self.groups.entry(id).or_default().members.join(at);
        }
        if let Some(Wish::Group(id)) = before
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.members.leave(at);
            self.end_if_unused(id);
        }
    }

    fn end_if_unused(&mut self, id: GroupId) {
        let is_unused = |group: &Group| !group.is_held && group.members.is_empty();
        if !self.groups.get(&id).is_some_and(is_unused) {
            return;
        }
        let Some(group) = self.groups.remove(&id) else { return };
        self.give_up(Item::Group(id));
        for leg in group.legs {
            self.legs.unwant(leg, id);
            self.push(Item::Leg(leg));
        }
        if let Some(object) = group.serving {
            self.retire(object);
        }
    }

    /// What a destination with this wish is to have.
    pub(super) fn wanted(&self, wish: Wish) -> Wanted {
        let id = match wish {
            Wish::Special(special) => {
                return Wanted::Target(Target::Plain(Arc::new(special.into())));
            }
            Wish::Group(id) => id,
        };
        let Some(group) = self.groups.get(&id) else { return Wanted::NotYet };
        match (&group.forwarding, group.serving) {
            (None, _) if group.family.is_none() => Wanted::NotYet,
            (None, _) => Wanted::Nothing,
            (Some(forwarding), _) if self.support == Support::None => {
                Wanted::Target(Target::Plain(forwarding.clone()))
            }
            (Some(_), Some(object)) => Wanted::Target(Target::Object(object)),
            (Some(_), None) if group.is_refused() => Wanted::Refused,
            (Some(_), None) => Wanted::NotYet,
        }
    }

    /// Lets a destination wait for its group; answers why the kernel refused that, if it did.
    pub(super) fn block(&mut self, wish: Wish, at: (TableId, Prefix)) -> Option<Refusal> {
        let Wish::Group(id) = wish else { return None };
        let group = self.groups.get_mut(&id)?;
        group.blocked.insert(at);
        group.refusal.clone().filter(|_| group.is_refused())
    }

    /// A destination has nothing because its group leads nowhere, or something else because the kernel
    /// refuses what the group comes to.
    pub(super) fn miss(&mut self, wish: Wish) {
        if let Wish::Group(id) = wish
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.missed = true;
        }
    }

    /// A destination waits no longer.
    pub(super) fn unblock(&mut self, wish: Wish, at: (TableId, Prefix)) {
        if let Wish::Group(id) = wish
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.blocked.remove(&at);
        }
    }

    /// The destinations that wait for a group.
    pub(super) fn blocked(&self, id: GroupId) -> Vec<(TableId, Prefix)> {
        self.groups
            .get(&id)
            .map(|group| group.blocked.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Whether the kernel has the object, and so the routes that were written to refer to it.
    pub(super) fn is_live(&self, id: ObjectId) -> bool {
        self.kernel.get(id).is_some()
    }

    /// Whether the kernel has the object of ours, or may have it in a moment.
    pub(super) fn knows(&self, id: ObjectId) -> bool {
        self.is_live(id) || self.legs.by_id(id).is_some() || self.in_flight.contains_key(&id)
    }

    /// Whether two groups have the same legs, their spares left out of account.
    pub(super) fn are_alike(&self, one: ObjectId, other: ObjectId) -> bool {
        match (self.kernel.get(one), self.kernel.get(other)) {
            (Some(one), Some(other)) => {
                shape::is_equal(shape::in_use(&one.members), shape::in_use(&other.members))
            }
            _ => false,
        }
    }

    /// Why a destination's group is not there.
    pub(super) fn refusal(&self, wish: Wish) -> Option<&Refusal> {
        match wish {
            Wish::Group(id) => self.groups.get(&id)?.refusal.as_ref(),
            Wish::Special(_) => None,
        }
    }

    /// A route refers to the object now.
    pub(super) fn refer(&mut self, id: ObjectId) {
        self.kernel.refer(id);
    }

    /// A route does not refer to the object any more.
    pub(super) fn release(&mut self, id: ObjectId) {
        if self.kernel.release(id) {
            self.push(Item::Stray(id));
        }
    }

    /// Which destinations are wished to be in a group.
    pub(super) fn members(&self, id: GroupId) -> Members {
        self.groups.get(&id).map(|group| group.members.clone()).unwrap_or_default()
    }

    /// What destinations have to know.
    pub(super) fn poll_event(&mut self) -> Option<GroupEvent> {
        self.events.pop_front()
    }

    /// What the kernel refuses of a group now.
    pub(super) fn poll_fault(&mut self) -> Option<(GroupId, Option<Refusal>)> {
        self.faults.pop_front()
    }

    /// Whether the kernel refuses anything.
    pub(super) fn has_refusals(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When to call [`Self::handle_deadline`], if anything waits.
    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        self.retries.next_due().into_iter().chain(self.doubts.next_due()).min()
    }

    pub(super) fn handle_deadline(&mut self, now: Instant) {
        if self.doubts.is_due(now, PAUSE) {
            self.doubt();
        }
        while let Some(item) = self.retries.poll_due(now) {
            self.try_again(item);
        }
    }

    /// What was refused and leads by these links may be possible now.
    pub(super) fn hurry(&mut self, gained: &BTreeSet<(InterfaceIndex, Family)>) {
        let is_by = |leg: &Leg| is_by(*leg, gained);
        let waiting = self.retries.all().filter(|(item, _)| match item {
            Item::Leg(leg) => is_by(leg),
            Item::Group(id) => self.groups.get(id).is_some_and(|it| it.legs.iter().any(is_by)),
            Item::Stray(_) => false,
        });
        let waiting: Vec<(Item, Instant)> = waiting.collect();
        for (item, due) in waiting {
            self.retries.cancel(item, due);
            self.try_again(item);
        }
    }

    /// Whether the object has a leg by one of these links.
    pub(super) fn leads_by(
        &self,
        id: ObjectId,
        links: &BTreeSet<(InterfaceIndex, Family)>,
    ) -> bool {
        let members = self.kernel.get(id).into_iter().flat_map(|object| &object.members);
        members.filter_map(|it| self.legs.by_id(it.object)).any(|leg| is_by(leg, links))
    }

    fn try_again(&mut self, item: Item) {
        self.waiting.remove(&item);
        if let Item::Leg(leg) = item {
            self.legs.reopen(leg);
        }
        self.push(item);
    }

    /// What was refused is not wished any more, or is another thing.
    fn give_up(&mut self, item: Item) {
        if let Some(due) = self.waiting.remove(&item) {
            self.retries.cancel(item, due);
        }
    }

    /// Whether what the kernel has is certain.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.reading, Reading::Done)
    }

    /// Whether all is as it is to be.
    pub(super) fn is_settled(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty() && self.is_known()
    }

    /// How many objects the kernel has of ours.
    pub(super) fn count(&self) -> usize {
        self.kernel.len() + self.legs.live().len()
    }

    fn push(&mut self, item: Item) {
        if self.queued.insert(item) {
            self.queue.push_back(item);
        }
    }

    fn next_id(&mut self) -> Option<ObjectId> {
        for _ in FIRST_ID..END_OF_IDS {
            self.last_id = match self.last_id.checked_add(1) {
                Some(next) if (FIRST_ID..END_OF_IDS).contains(&next) => next,
                _ => FIRST_ID,
            };
            let id = NonZeroU32::new(self.last_id).map(ObjectId)?;
            if !self.knows(id) {
                return Some(id);
            }
        }
        None
    }

    /// The next operation, if nothing is in doubt.
    pub(super) fn poll_op(&mut self) -> Option<FibOp> {
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
        let family = group.family?;
        let Some(forwarding) = group.forwarding.clone() else {
            return self.withdraw_group(id);
        };
        let mut shape = Shape::new(&forwarding, group.spare, family, self.support);
        let next = group.next.as_ref().map(|next| Shape::new(next, None, family, self.support));
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
    fn serve(&mut self, id: GroupId, object: ObjectId) {
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
    fn retire(&mut self, id: ObjectId) {
        if self.kernel.retire(id) {
            self.push(Item::Stray(id));
        }
    }

    /// The kernel has a group no more.
    fn forget_group(&mut self, id: ObjectId) {
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

    fn leave(&mut self, leg: ObjectId, group: ObjectId) {
        if let Some(leg) = self.legs.leave(leg, group) {
            self.push(Item::Leg(leg));
        }
    }

    fn refuse(&mut self, id: GroupId, refusal: Option<Refusal>) {
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

fn is_by(leg: Leg, links: &BTreeSet<(InterfaceIndex, Family)>) -> bool {
    Family::ALL.iter().any(|family| links.contains(&(leg.interface, *family)))
}
