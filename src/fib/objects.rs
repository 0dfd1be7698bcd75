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
mod plan;
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
    Refusal,
    retry::{Fights, Retries, Seldom},
};
use crate::model::{
    Family, Forwarding, GroupId, Hop, InterfaceIndex, NextHopObject, ObjectId, Prefix, TableId,
    Target, Wish,
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
    /// None where routes of its table are to carry their next hops.
    support: Support,
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
    /// The tables that have none.
    plain: BTreeSet<TableId>,
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
            plain: BTreeSet::new(),
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

    /// Groups of this table are to have no objects. To be said before anything is told of them.
    pub(super) fn keep_plain(&mut self, table: TableId) {
        self.plain.insert(table);
    }

    /// What a group comes to now.
    pub(super) fn handle_group(
        &mut self,
        id: GroupId,
        table: TableId,
        forwarding: Option<Arc<Forwarding>>,
        next: Option<Arc<Forwarding>>,
        spare: Option<Hop>,
    ) {
        self.give_up(Item::Group(id));
        let group = self.groups.entry(id).or_default();
        group.is_held = true;
        let is_known = group.family.replace(table.family).is_some();
        group.support = if self.plain.contains(&table) { Support::None } else { self.support };
        let forwarding = forwarding.map(shape::as_the_kernel_tells);
        let next = next.map(shape::as_the_kernel_tells);
        let is_renewed =
            is_known && (group.forwarding != forwarding || group.missed && group.next != next);
        group.forwarding = forwarding;
        group.next = next;
        group.spare = spare;
        group.refusals = 0;
        match group.support {
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
            (Some(forwarding), _) if group.support == Support::None => {
                Wanted::Target(Target::Plain(forwarding.clone()))
            }
            (Some(_), Some(object)) => Wanted::Target(Target::Object(object)),
            (Some(_), None) if group.is_refused() => Wanted::Refused,
            (Some(_), None) => Wanted::NotYet,
        }
    }

    /// What a destination with this wish may have while the kernel refuses its route what
    /// [`Self::wanted`] told; groups that have objects see to that themselves.
    pub(super) fn next(&self, wish: Wish) -> Option<Target> {
        let Wish::Group(id) = wish else { return None };
        let group = self.groups.get(&id).filter(|group| group.support == Support::None)?;
        group.next.clone().map(Target::Plain)
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
}

fn is_by(leg: Leg, links: &BTreeSet<(InterfaceIndex, Family)>) -> bool {
    Family::ALL.iter().any(|family| links.contains(&(leg.interface, *family)))
}
