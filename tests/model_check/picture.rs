//! What there is to tell: two pictures of the table, one before something happened and one after
//! it, and the difference (section 2.9 of RTMv2, gaps 17 to 24).

use std::collections::{BTreeMap, BTreeSet};

use rtmd::model::{NextHopId, Prefix, RouteId};

use crate::{
    naive::{Follower, Naive, Place, VIEWS},
    world,
};

const ALL: u32 = 1;
const BEST: u32 = 2;
const FORWARDING: u32 = 4;
const ONLY_MARKED: u32 = 0x1_0000;
const ORDERED: u32 = 0x2_0000;
const FORWARDING_FLAGS: u16 = 0xF;

/// A next hop as far as anybody hears of it: flags, weight, remote destination, whether deleted.
type Meaning = (u32, u32, Option<Prefix>, bool);

/// All there is to tell about a route.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Content {
    pub(crate) id: RouteId,
    pub(crate) cost: (u32, u32),
    pub(crate) flags: u16,
    pub(crate) next_hops: Vec<NextHopId>,
    meanings: Vec<Meaning>,
    pub(crate) neighbour: Option<NextHopId>,
    pub(crate) views: u32,
    pub(crate) private: Vec<u8>,
}

/// A change of a best route; those of one step happened at once, so in any order.
#[derive(Clone, Debug)]
pub(crate) struct NaiveChange {
    pub(crate) step: u64,
    pub(crate) to: Prefix,
    pub(crate) view: u32,
    pub(crate) current: Option<Content>,
    pub(crate) previous: Option<Content>,
}

/// What each view of each destination has: its routes, the best of them, the held one.
#[derive(Default)]
pub(crate) struct Picture(BTreeMap<(Place, u32), Shown>);

#[derive(Clone, Default, Eq, PartialEq)]
struct Shown {
    routes: BTreeSet<Content>,
    best: Option<Content>,
    held: Option<RouteId>,
}

impl Picture {
    pub(crate) fn of(naive: &Naive) -> Self {
        let mut picture = Self::default();
        for route in &naive.routes {
            let meaning = |id: &NextHopId| {
                let hop = naive.hop(*id);
                (hop.flags, hop.weight, hop.remote, hop.deleted)
            };
            let content = Content {
                id: route.id,
                cost: (route.preference, route.metric),
                flags: route.flags,
                next_hops: route.next_hops.clone(),
                meanings: route.next_hops.iter().map(meaning).collect(),
                neighbour: route.neighbour,
                views: route.views,
                private: route.private.clone(),
            };
            for view in VIEWS.into_iter().filter(|view| route.views >> view & 1 == 1) {
                let shown = picture.0.entry((route.place, view)).or_default();
                shown.routes.insert(content.clone());
                if naive.best.get(&(route.place, view)) == Some(&route.id) {
                    shown.best = Some(content.clone());
                }
            }
        }
        for (route, views) in &naive.held {
            for view in VIEWS.into_iter().filter(|view| views >> view & 1 == 1) {
                picture.0.entry((route.place, view)).or_default().held = Some(route.id);
            }
        }
        picture
    }
}

impl Shown {
    /// The types of change there are between the two.
    fn changes(&self, after: &Self) -> u32 {
        let best = |s: &Self| s.best.clone().map(|b| (b.id, b.cost, b.next_hops, b.meanings));
        let flags = |shown: &Self| shown.best.as_ref().map_or(0, |best| best.flags);
        let mut changes = 0;
        if self != after {
            changes |= ALL;
        }
        // Forwarding never used what was held (G9).
        if best(self) != best(after) || flags(self) != flags(after) || self.held != after.held {
            changes |= BEST;
        }
        let forwarding = |shown: &Self| flags(shown) & FORWARDING_FLAGS;
        if best(self) != best(after) || forwarding(self) != forwarding(after) {
            changes |= FORWARDING;
        }
        changes
    }

    /// Whether an ordered registration hears of it (V1-10).
    fn is_another_best(&self, after: &Self) -> bool {
        let best = |s: &Self| s.best.clone().map(|b| (b.id, b.cost, b.flags, b.next_hops));
        best(self) != best(after)
    }
}

impl Follower {
    pub(crate) fn is_ordered(&self) -> bool {
        self.flags & ORDERED != 0
    }

    fn wants(&self, (table, to): Place, view: u32) -> bool {
        self.table == table
            && self.views >> view & 1 == 1
            && (self.flags & ONLY_MARKED == 0 || self.marks.contains(&to))
    }

    pub(crate) fn mark(&mut self, to: Prefix, mark: bool) {
        if mark {
            self.marks.insert(to);
        } else {
            self.marks.remove(&to);
            if self.flags & ONLY_MARKED != 0 {
                self.pending.remove(&to);
            }
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.ordered.is_empty() || self.lost > 0
    }

    /// What was told last may not have been heard.
    pub(crate) fn take_back(&mut self) {
        let (pending, mut ordered, lost) = std::mem::take(&mut self.told);
        self.lost += lost;
        if self.lost == 0 {
            let all = self.flags & ONLY_MARKED == 0;
            self.pending.extend(pending.into_iter().filter(|to| all || self.marks.contains(to)));
            ordered.append(&mut self.ordered);
            self.ordered = ordered;
        }
    }

    /// Too many are dropped; until that is told, no more are collected.
    fn collect(&mut self, to: Prefix) {
        let grows = self.lost == 0 && self.pending.insert(to);
        if grows && self.pending.len() > world::policy().limits.pending_destinations as usize {
            self.lost = self.pending.len();
            self.pending.clear();
        }
    }

    /// Whether a change of the destination waits, or may have been dropped (CHG-20).
    pub(crate) fn may_have_changed(&self, to: Prefix) -> bool {
        let is_wanted = self.flags & ONLY_MARKED == 0 || self.marks.contains(&to);
        self.pending.contains(&to) || self.lost > 0 && !self.is_ordered() && is_wanted
    }

    fn push(&mut self, change: NaiveChange) {
        self.ordered.push(change);
        if self.ordered.len() > world::policy().limits.queued_changes as usize || self.lost > 0 {
            self.lost += self.ordered.len();
            self.ordered.clear();
        }
    }
}

impl Naive {
    /// Everybody hears of what they asked for; the one who did it is not told in order (V1-08).
    pub(crate) fn tell(&mut self, before: &Picture, by: Option<&(String, Place)>) {
        let after = Picture::of(self);
        let nothing = Shown::default();
        let shown: BTreeSet<(Place, u32)> =
            before.0.keys().chain(after.0.keys()).copied().collect();
        self.steps += 1;
        for follower in &mut self.followers {
            let was_waiting = follower.is_waiting();
            for (place, view) in &shown {
                if !follower.wants(*place, *view) {
                    continue;
                }
                let old = before.0.get(&(*place, *view)).unwrap_or(&nothing);
                let new = after.0.get(&(*place, *view)).unwrap_or(&nothing);
                if !follower.is_ordered() {
                    if old.changes(new) & follower.flags != 0 {
                        follower.collect(place.1);
                    }
                } else if old.is_another_best(new)
                    && by.is_none_or(|by| *by != (follower.owner.bus_name.clone(), *place))
                {
                    follower.push(NaiveChange {
                        step: self.steps,
                        to: place.1,
                        view: *view,
                        current: new.best.clone(),
                        previous: old.best.clone(),
                    });
                }
            }
            // Once, when something begins to wait (G17).
            follower.to_wake |= !was_waiting && follower.is_waiting();
        }
    }
}
