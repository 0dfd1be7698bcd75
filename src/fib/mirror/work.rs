//! What is to be done about the destinations of a table: which of them have their turn, and which wait.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map},
    ops::Bound,
    time::Instant,
};

use super::{Reading, Settled, Survey};
use crate::{
    fib::{
        Refusal,
        destination::{Fact, Stage, State, Step},
        objects::{Objects, Wanted},
        retry::{Fights, Refused, Retries},
    },
    model::{FibCounts, FibStatus, InterfaceIndex, Prefix, TableId, Target},
};

/// What is to be done about the destinations, and how many there are of which kind. Apart from the
/// map, so that a rule can plan while it holds a destination.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) table: TableId,
    /// Destinations to plan, oldest first; each one in [`Stage::Queued`] is here exactly once, no other.
    pub(super) queue: VecDeque<Prefix>,
    /// Those in [`Stage::Later`], and the last that was taken: the next one comes after it.
    pub(super) later: BTreeSet<Prefix>,
    last_later: Option<Prefix>,
    pub(super) retries: Retries<Prefix>,
    pub(super) fights: Fights<Prefix>,
    /// Operations whose results have not come.
    pub(super) in_flight: usize,
    pub(super) reading: Reading,
    /// Whether what is found and nobody wishes is left for a while: what the first dump has.
    pub(super) spares: bool,
    pub(super) survey: Survey,
    /// How many routes lead by each link without an object.
    pub(super) by_link: BTreeMap<InterfaceIndex, usize>,
    pub(super) counts: FibCounts,
}

impl Work {
    pub(super) fn new(table: TableId) -> Self {
        Self {
            table,
            queue: VecDeque::new(),
            later: BTreeSet::new(),
            last_later: None,
            retries: Retries::default(),
            fights: Fights::default(),
            in_flight: 0,
            reading: Reading::Wanted,
            spares: false,
            survey: Survey::default(),
            by_link: BTreeMap::new(),
            counts: FibCounts::default(),
        }
    }

    /// Puts a destination that is not in the queue where it belongs.
    pub(super) fn plan(&mut self, to: Prefix, state: &mut State, objects: &mut Objects) {
        self.hurry_up(to, state);
        match state.plan(objects) {
            Step::Nothing if state.bridge(objects).is_some() => {
                if let Some(due) = state.refused.as_ref().map(|refused| refused.until) {
                    self.wait(to, state, due, objects);
                }
            }
            Step::Nothing => {
                state.stage = Stage::Idle;
                (state.refusals, state.refused) = (0, None);
                if let (Some(wish), Wanted::Nothing) = (state.wish, state.wanted(objects)) {
                    objects.miss(wish);
                }
            }
            Step::Wait => {
                let wish = state.wish.map(|wish| objects.block(wish, (self.table, to)));
                state.stage = Stage::Blocked { refused: wish.flatten().is_some() };
            }
            Step::Act(_) => {
                if state.is_right_already(objects) {
                    state.stage = Stage::Later;
                    self.later.insert(to);
                } else {
                    state.stage = Stage::Queued;
                    self.queue.push_back(to);
                }
            }
        }
    }

    /// The same for one of which something new is known. What is there and is not to be there does
    /// not stay until the kernel may be asked again for what it refused.
    pub(super) fn look_again(&mut self, to: Prefix, state: &mut State, objects: &mut Objects) {
        match state.stage {
            Stage::Queued | Stage::InFlight { .. } => return,
            Stage::Spared if state.wish.is_none() && !matches!(state.fact, Fact::Absent) => return,
            Stage::Waiting { .. } if state.can_wait(objects) => return,
            Stage::Waiting { due } => {
                self.retries.cancel(to, due);
                state.forget_refusal_of_another(objects);
            }
            Stage::Blocked { .. } => {
                if let Some(wish) = state.wish {
                    objects.unblock(wish, (self.table, to));
                }
            }
            Stage::Idle | Stage::Later | Stage::Spared => {}
        }
        self.plan(to, state, objects);
    }

    /// Somebody changes a destination again and again: it is not repaired before that.
    pub(super) fn leave_alone(
        &mut self,
        to: Prefix,
        state: &mut State,
        until: Instant,
        objects: &mut Objects,
    ) -> Option<Settled> {
        match state.stage {
            // By the next best: that is what the fight is about.
            Stage::Waiting { due } if state.bridge(objects).is_some() => {
                self.retries.cancel(to, due);
            }
            Stage::Waiting { .. } | Stage::Spared => return None,
            Stage::Blocked { .. } => {
                if let Some(wish) = state.wish {
                    objects.unblock(wish, (self.table, to));
                }
            }
            Stage::Idle | Stage::Queued | Stage::Later | Stage::InFlight { .. } => {}
        }
        self.hurry_up(to, state);
        self.retries.wait(to, until);
        state.refused = None; // only the end of the pause ends it
        state.stage = Stage::Waiting { due: until };
        let error = Some(Refusal::of_fight("another program keeps changing this route"));
        Some(Settled { status: FibStatus::Failed, error })
    }

    /// Lets a destination wait that was refused something.
    pub(super) fn wait(
        &mut self,
        to: Prefix,
        state: &mut State,
        due: Instant,
        objects: &mut Objects,
    ) {
        self.hurry_up(to, state);
        if let Some(wish) = state.wish {
            objects.miss(wish);
        }
        self.retries.wait(to, due);
        state.stage = Stage::Waiting { due };
    }

    /// Asks the kernel again for what it refused.
    pub(super) fn try_again(&mut self, to: Prefix, state: &mut State, objects: &mut Objects) {
        state.refused = None;
        self.plan(to, state, objects);
    }

    pub(super) fn join_link(&mut self, link: InterfaceIndex) {
        *self.by_link.entry(link).or_default() += 1;
    }

    pub(super) fn leave_link(&mut self, link: InterfaceIndex) {
        if let btree_map::Entry::Occupied(mut routes) = self.by_link.entry(link) {
            *routes.get_mut() -= 1;
            if *routes.get() == 0 {
                routes.remove();
            }
        }
    }

    /// Takes a destination off the list of those that can wait: something else becomes of it now.
    fn hurry_up(&mut self, to: Prefix, state: &State) {
        if matches!(state.stage, Stage::Later) {
            self.later.remove(&to);
        }
    }

    /// Takes turns, or those first in order could keep the others waiting for ever.
    pub(super) fn next_later(&mut self) -> Option<Prefix> {
        let after = self.last_later.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.later.range((after, Bound::Unbounded)).next();
        let next = next.or_else(|| self.later.first()).copied()?;
        self.later.remove(&next);
        self.last_later = Some(next);
        Some(next)
    }
}

/// Notes that the kernel refused to put this there, or to take away what is there; answers when to ask it
/// again.
pub(super) fn note_refusal(
    state: &mut State,
    target: Option<Target>,
    why: &Refusal,
    now: Instant,
) -> Instant {
    let refused = state.refused.get_or_insert_with(|| {
        state.refusals = state.refusals.saturating_add(1);
        Box::new(Refused::new(why.clone(), state.refusals, now))
    });
    if let Some(target) = target {
        refused.add(target);
    }
    refused.until
}
