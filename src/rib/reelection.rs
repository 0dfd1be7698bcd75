//! Electing again where next hops lead elsewhere now, in slices.
//!
//! The kernel hears of such a change by [`super::groups`], once for all routes that share it; what is
//! left is to find out for each of them who is best now, and to tell those who follow it. Few routes
//! are done at once, so for most changes nothing is left over. What a reader would get wrong:
//! between the slices any other command may touch these routes, so an election trusts nothing that
//! was noted before it but looks at the next hops itself.

use serde::{Deserialize, Serialize};

use std::{collections::BTreeMap, ops::Bound};

use super::{Progress, Rib, arena::Slot};
use crate::model::Change;

/// How many routes are elected for at once.
const SLICE: usize = 512;

/// The sets whose routes have to be looked at, each at most once beside the one that is begun.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Reelections {
    begun: Option<Work>,
    /// Whether the owner says something else of the next hops, which those who follow a route hear
    /// of even if it stays best (RTMv2 gap 23).
    waiting: BTreeMap<Slot, bool>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Work {
    set: Slot,
    edited: bool,
    /// The last route that was looked at.
    last: Option<Slot>,
}

impl Reelections {
    fn add(&mut self, set: Slot, edited: bool) {
        *self.waiting.entry(set).or_default() |= edited;
    }

    fn take(&mut self) -> Option<Work> {
        self.begun.take().or_else(|| {
            let (set, edited) = self.waiting.pop_first()?;
            Some(Work { set, edited, last: None })
        })
    }
}

impl Rib {
    /// The next hops of these sets lead elsewhere now: elect where routes use them.
    pub(super) fn elect_users_of(&mut self, sets: &[Slot]) {
        for set in sets {
            self.groups.touch(*set);
        }
        self.reelect_now_or_later(sets, false);
    }

    /// The owner says something else of its next hops in these sets.
    pub(super) fn note_users_of(&mut self, sets: &[Slot]) {
        self.reelect_now_or_later(sets, true);
    }

    /// At once for sets with few routes, whatever waits: who changed them looks at the outcome next.
    /// Never what others left over, or a thousand small commands would each do a slice of that.
    fn reelect_now_or_later(&mut self, sets: &[Slot], edited: bool) {
        let nothing_waits = !self.has_reelections();
        let mut left = SLICE;
        for set in sets {
            let users = self.users_of(*set, None, left.saturating_add(1));
            if users.len() > left {
                self.reelections.add(*set, edited);
                continue;
            }
            left = left.saturating_sub(users.len());
            for slot in users {
                self.reelect_for(slot, edited);
            }
        }
        if nothing_waits {
            self.reelect(left);
        }
    }

    /// Whether [`Rib::reelect`] has something to do.
    pub fn has_reelections(&self) -> bool {
        self.reelections.begun.is_some() || !self.reelections.waiting.is_empty()
    }

    /// Looks at up to `count` more routes whose next hops lead elsewhere now.
    pub fn reelect(&mut self, count: usize) -> Progress {
        let mut left = count;
        while left > 0
            && let Some(Work { set, edited, last }) = self.reelections.take()
        {
            let users = self.users_of(set, last, left);
            left = left.saturating_sub(users.len());
            if left == 0 {
                let last = users.last().copied().or(last);
                self.reelections.begun = Some(Work { set, edited, last });
            }
            for slot in users {
                self.reelect_for(slot, edited);
            }
        }
        match self.has_reelections() {
            true => Progress::Unfinished,
            false => Progress::Complete,
        }
    }

    /// Up to `count` of the routes with this set, after `last`.
    fn users_of(&self, set: Slot, last: Option<Slot>, count: usize) -> Vec<Slot> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.next_hops.set(set).map(|set| set.users.range((from, Bound::Unbounded)));
        users.into_iter().flatten().take(count).copied().collect()
    }

    fn reelect_for(&mut self, slot: Slot, edited: bool) {
        let Some(route) = self.routes.get(slot) else { return };
        let (id, to, views, best_in) = (route.table, route.to, route.views, route.best_in);
        let before = self.before(id, to);
        let moved = self.choose(id, to);
        self.record((id, to), before, None);
        self.note(id, to, Change::whole(moved));
        if edited {
            self.note(id, to, Change { all: views, best: best_in, forwarding: best_in });
        }
    }
}
