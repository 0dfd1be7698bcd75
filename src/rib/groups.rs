//! Groups: the destinations that share their fate, and so one object in the kernel.
//!
//! A group is a pair of next-hop sets: that of the best route, and that of the route which would take
//! its place. Destinations with the same pair lose and regain their way at the same moments, so
//! whoever keeps the kernel's table has to change one thing for all of them: that is done first, and
//! what it means for each single route is looked at afterwards.
//!
//! What a reader would get wrong: the pair is in order of rank, whichever of the two leads anywhere
//! now. So when the first fails and when it heals, the destinations stay in their group, and nothing
//! has to be written for any of them. That the kernel refuses the first is no failure here: the choice
//! stays, and whoever keeps the kernel's table is told of both.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use super::{
    Rib,
    arena::Slot,
    destination::{Claim, Destination},
    policy::{InstanceSettings, Viability},
    route::Route,
};
use crate::model::{
    FibStatus, Forwarding, GroupId, Hop, Prefix, RouteFlags, Special, TableId, View, Wish,
};

/// What became of a group.
#[derive(Clone, Debug)]
pub enum GroupNews {
    /// What it comes to now.
    Changed(GroupId, Fate),
    /// No destination is in it any more. Its id is not used again soon.
    Gone(GroupId),
}

/// What a group comes to.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The table that its destinations are in.
    pub table: TableId,
    /// Where packets go; `None` when none of its next hops leads anywhere.
    pub forwarding: Option<Arc<Forwarding>>,
    /// Where the group's other next hops lead, for as long as the kernel refuses all of the first.
    pub next: Option<Arc<Forwarding>>,
    /// A way by another interface, should all of the first be lost at once.
    pub spare: Option<Hop>,
}

/// The sets of a group's next hops, in order of rank.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct Pair {
    first: Slot,
    second: Option<Slot>,
}

/// What packets to a destination are to follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Special(Special),
    Pair(Pair),
}

#[derive(Debug, Deserialize, Serialize)]
struct Group {
    pair: Pair,
    references: u32,
    /// Whether anybody has heard of it, and so has to hear of its end.
    told: bool,
    /// The kernel's words about next hops of it that it refuses.
    fault: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Groups {
    by_id: HashMap<GroupId, Group>,
    by_pair: HashMap<Pair, GroupId>,
    by_set: BTreeSet<(Slot, GroupId)>,
    /// Whoever keeps the kernel's table has not heard of these yet, or not how they are now.
    news: BTreeSet<GroupId>,
    /// Whether some were taken by [`Rib::poll_groups`] that are not in the kernel's counts yet.
    pub(super) taken: bool,
    last: u32,
}

impl Pair {
    fn sets(self) -> impl Iterator<Item = Slot> {
        [Some(self.first), self.second].into_iter().flatten()
    }
}

impl Groups {
    /// A set leads elsewhere now.
    pub(super) fn touch(&mut self, set: Slot) {
        let least = GroupId(NonZeroU32::MIN);
        let with = self.by_set.range((set, least)..).take_while(|(other, _)| *other == set);
        self.news.extend(with.map(|(_, id)| *id));
    }

    /// Nobody has heard of any.
    pub(super) fn tell_again(&mut self) {
        self.by_id.values_mut().for_each(|group| (group.told, group.fault) = (false, None));
        self.news = self.by_id.keys().copied().collect();
        self.taken = false;
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    fn next_id(&mut self) -> GroupId {
        loop {
            self.last = self.last.wrapping_add(1);
            let id = NonZeroU32::new(self.last).map(GroupId);
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(id)) {
                return id;
            }
        }
    }
}

impl Rib {
    /// Groups that are new, left, or come to something else than was told, up to `count`.
    ///
    /// To be taken before [`Rib::poll_effects`], under the same lock: an effect may name a new one.
    pub fn poll_groups(&mut self, count: usize) -> Vec<GroupNews> {
        let mut news = Vec::with_capacity(count.min(self.groups.news.len()));
        self.groups.taken |= self.groups.has_news();
        while news.len() < count
            && let Some(id) = self.groups.news.pop_first()
        {
            let Some(pair) = self.groups.by_id.get(&id).map(|group| group.pair) else {
                news.push(GroupNews::Gone(id));
                continue;
            };
            // Without any owner left there is nothing to tell, and soon no destination either.
            let Some(fate) = self.fate(pair) else { continue };
            if let Some(group) = self.groups.by_id.get_mut(&id) {
                group.told = true;
            }
            news.push(GroupNews::Changed(id, fate));
        }
        news
    }

    /// The kernel refuses next hops of a group, all or some, with these words; or none any more.
    pub fn handle_group_fault(&mut self, id: GroupId, words: Option<String>) {
        if let Some(group) = self.groups.by_id.get_mut(&id) {
            group.fault = words.map(String::into_boxed_str);
        }
    }

    /// The kernel's words about next hops of the group that a destination follows.
    pub(super) fn group_fault(&self, wish: Option<Wish>) -> Option<&str> {
        match wish? {
            Wish::Group(id) => self.groups.by_id.get(&id)?.fault.as_deref(),
            Wish::Special(_) => None,
        }
    }

    /// Those of a pair's sets that lead anywhere, with their own spares.
    fn leading(&self, pair: Pair) -> impl Iterator<Item = (&Arc<Forwarding>, Option<Hop>)> {
        pair.sets()
            .filter_map(|slot| self.next_hops.set(slot))
            .filter(|set| !set.withdrawn)
            .filter_map(|set| Some((set.forwarding.as_ref()?, set.spare)))
    }

    /// What a group comes to: the first of its sets that leads anywhere.
    fn fate(&self, pair: Pair) -> Option<Fate> {
        let table = pair.sets().find_map(|set| {
            let owner = self.next_hops.set(set)?.owner;
            self.entities.table_of(owner)
        })?;
        let mut leading = self.leading(pair);
        let first = leading.next();
        let next = leading.next().map(|(forwarding, _)| forwarding);
        // Next best is what would take the place of routes that the first leads through.
        let spare = first.and_then(|(forwarding, own)| {
            let hops = forwarding.hops();
            let others = next.map_or(&[][..], |next| next.hops());
            spare_hop(hops, others).or_else(|| spare_hop(hops, own.as_slice()))
        });
        let forwarding = first.map(|(forwarding, _)| Arc::clone(forwarding));
        Some(Fate { table, forwarding, next: next.cloned(), spare })
    }

    /// What the kernel is to do for a destination.
    pub(super) fn forwarding(&self, table: TableId, to: Prefix) -> Option<Arc<Forwarding>> {
        match self.way(table, to).1? {
            Way::Special(special) => Some(Arc::new(special.into())),
            Way::Pair(pair) => {
                self.leading(pair).next().map(|(forwarding, _)| Arc::clone(forwarding))
            }
        }
    }

    /// The group of a pair, referred to once more; the caller owes a release.
    fn refer_group(&mut self, pair: Pair) -> GroupId {
        if let Some(id) = self.groups.by_pair.get(&pair).copied() {
            if let Some(group) = self.groups.by_id.get_mut(&id) {
                group.references = group.references.saturating_add(1);
            }
            return id;
        }
        for set in pair.sets() {
            self.next_hops.refer_again(set);
        }
        let id = self.groups.next_id();
        self.groups.by_id.insert(id, Group { pair, references: 1, told: false, fault: None });
        self.groups.by_pair.insert(pair, id);
        self.groups.by_set.extend(pair.sets().map(|set| (set, id)));
        self.groups.news.insert(id);
        id
    }

    fn release_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.by_id.get_mut(&id) else { return };
        group.references = group.references.saturating_sub(1);
        if group.references > 0 {
            return;
        }
        let (pair, told) = (group.pair, group.told);
        self.groups.by_id.remove(&id);
        self.groups.by_pair.remove(&pair);
        for set in pair.sets() {
            self.groups.by_set.remove(&(set, id));
            self.next_hops.release_set(set);
        }
        if told {
            self.groups.news.insert(id);
        } else {
            self.groups.news.remove(&id);
        }
    }

    /// Finds out anew what packets to a destination are to follow, and puts it on the kernel's list
    /// if that is something else.
    pub(super) fn settle_wish(&mut self, id: TableId, to: Prefix) {
        if !self.policy.table(id).is_ok_and(|settings| settings.kernel_table.is_some()) {
            return;
        }
        let (status, way) = self.way(id, to);
        let Some(destination) = self.destination(id, to) else { return };
        let (before, known, waiting) = (destination.wish, destination.fib, destination.waiting);
        let same = match (before, way) {
            (Some(Wish::Special(before)), Some(Way::Special(now))) => before == now,
            (Some(Wish::Group(before)), Some(Way::Pair(now))) => {
                self.groups.by_id.get(&before).is_some_and(|group| group.pair == now)
            }
            (None, None) => waiting || known == status,
            _ => false,
        };
        if same {
            return;
        }
        let wish = way.map(|way| match way {
            Way::Special(special) => Wish::Special(special),
            Way::Pair(pair) => Wish::Group(self.refer_group(pair)),
        });
        if let Some(Wish::Group(before)) = before {
            self.release_group(before);
        }
        let table = self.tables.get_mut(&id);
        if let Some(destination) = table.and_then(|table| table.destinations.get_mut(&to)) {
            destination.wish = wish;
        }
        self.queue(id, to);
    }

    /// What the kernel is to do for a destination now, and how far that is as long as it did nothing.
    pub(super) fn way(&self, table: TableId, to: Prefix) -> (FibStatus, Option<Way>) {
        let Some(destination) = self.destination(table, to) else { return (FibStatus::None, None) };
        let best = destination.best(View::UNICAST, &self.routes);
        let best = best.and_then(|slot| Some((self.is_followed(slot), self.routes.get(slot)?)));
        let Some((leads_on, route)) = best else {
            return (FibStatus::None, None);
        };
        if self.foreign.protocol_of(route).is_some() {
            return (FibStatus::None, None); // it is there already
        }
        if self.withheld.contains(&table) {
            return (FibStatus::Suppressed, None);
        }
        if route.flags.intersects(RouteFlags::INACTIVE) && leads_on {
            return (FibStatus::Suppressed, None);
        }
        let Ok(settings) = self.policy.table(table) else { return (FibStatus::None, None) };
        match route.flags.special() {
            _ if !leads_on => (FibStatus::Ineligible, None),
            Some(special) => (FibStatus::Pending, Some(Way::Special(special))),
            None => {
                let pair = self.pair(destination, route, settings);
                (FibStatus::Pending, Some(Way::Pair(pair)))
            }
        }
    }

    /// The best route's set and that of the one which would take its place, in order of rank.
    fn pair(&self, destination: &Destination, best: &Route, settings: &InstanceSettings) -> Pair {
        let alone = Pair { first: best.next_hops, second: None };
        if settings.viability == Viability::Ignored {
            return alone; // the best stays the best even when it fails
        }
        let others = || {
            let slots = destination.routes().iter();
            // Its next hops may lead somewhere, only not from here.
            let allowed = slots.filter(|slot| !self.is_denied_all(**slot));
            let routes = allowed.filter_map(|slot| self.routes.get(*slot));
            routes.filter(|route| {
                route.views.contains(View::UNICAST) && route.next_hops != best.next_hops
            })
        };
        let is_way = |route: &&Route| {
            route.flags.special().is_none()
                && !route.flags.intersects(RouteFlags::INACTIVE)
                && self.foreign.protocol_of(route).is_none()
        };
        let claim = |route: &Route, viability| Claim::of(route, View::UNICAST, viability);
        // One that ranks before the best can only be one that leads nowhere now.
        let failed =
            others().min_by_key(|route| claim(route, Viability::Ignored)).filter(|route| {
                claim(route, Viability::Ignored) < claim(best, Viability::Ignored) && is_way(route)
            });
        if let Some(failed) = failed {
            return Pair { first: failed.next_hops, second: Some(best.next_hops) };
        }
        let next = others().min_by_key(|route| claim(route, Viability::First)).filter(is_way);
        Pair { second: next.map(|route| route.next_hops), ..alone }
    }
}

/// One of the others that outlives the loss of any one interface, where these would not.
fn spare_hop(hops: &[Hop], others: &[Hop]) -> Option<Hop> {
    let first = hops.first()?.interface;
    let is_elsewhere = |hop: &&Hop| hop.interface != first;
    if hops.iter().any(|hop| is_elsewhere(&hop)) {
        return None;
    }
    others.iter().find(is_elsewhere).copied()
}
