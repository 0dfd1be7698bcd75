//! The mirror of one kernel table: wishes against facts, and the fewest operations between them.
//!
//! Wishes for one destination coalesce: it waits in the queue once however often it changes, has at
//! most one operation in flight, and when that returns only the difference to the last wish is left.
//! What a reader would get wrong: a refusal is not "nothing happened" (see [`super::FibOp`]), and
//! nothing at all is written before the kernel's table has been read once.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Instant,
};

use super::{
    FibOp, Refusal,
    destination::{Action, Class, Destination, Fact, Stage, State},
    retry::Retries,
};
use crate::model::{
    Family, FibCounts, FibStatus, Forwarding, Hop, InterfaceIndex, Prefix, PrefixMap, Weight,
};

/// One kernel table, wished and found. Both families fit in one mirror; the order of work is then
/// common to them.
#[derive(Debug, Default)]
pub struct Mirror {
    destinations: PrefixMap<Destination>,
    work: Work,
}

/// What is to be done about the destinations, and how many there are of which kind. Apart from the
/// map, so that a rule can plan while it holds a destination.
#[derive(Debug, Default)]
struct Work {
    /// Destinations to plan, oldest first; each one in [`Stage::Queued`] exactly once, no other.
    /// Empty until the dump is complete.
    queue: VecDeque<Prefix>,
    retries: Retries,
    dump: Dump,
    counts: FibCounts,
}

/// Whether the table has been read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Dump {
    #[default]
    Awaited,
    Complete,
}

/// What there is to show about a destination after it came to rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    /// `Installed`, `None`, or `Failed` (which is tried again by itself).
    pub status: FibStatus,
    /// Why it failed.
    pub error: Option<Refusal>,
}

impl Mirror {
    /// A mirror of a table that has not been read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes for a destination; `None` wishes that nothing of ours be there.
    ///
    /// Answers at once when nothing has to be written for it, otherwise the result will. A
    /// destination that waits after a refusal is tried again, whatever the wish.
    pub fn want(&mut self, to: Prefix, wish: Option<Arc<Forwarding>>) -> Option<Settled> {
        self.update(to, |work, state| {
            state.wish = wish.map(as_the_kernel_tells);
            match state.stage {
                Stage::InFlight { .. } => return None, // planned again when its result comes
                Stage::Waiting { due } => {
                    work.retries.cancel(to, due);
                    state.refusals = 0;
                    work.plan(to, state);
                }
                Stage::Idle => work.plan(to, state),
                Stage::Queued => work.replan_queued(state),
            }
            settled(state)
        })
    }

    /// A dump begins again from the start: what it has told so far is void. Only before
    /// [`Self::handle_dump_complete`].
    pub fn handle_dump_restarted(&mut self) {
        debug_assert_eq!(
            self.work.dump,
            Dump::Awaited,
            "a dump of a mirror in use is another matter"
        );
        if self.work.dump == Dump::Complete {
            return;
        }
        let known: Vec<Prefix> = self.destinations.keys().collect();
        for to in known {
            self.update(to, |work, state| {
                state.fact = Fact::Absent;
                work.plan(to, state);
            });
        }
    }

    /// The kernel has a route of ours; `None` for one in a shape that the mirror never writes (a
    /// metric of TCP, a preferred source, a next-hop object), which is repaired.
    ///
    /// Only before [`Self::handle_dump_complete`]. A second route to one destination makes it unclear
    /// and is repaired as well. Answers when the wish is already there.
    pub fn handle_dumped(&mut self, to: Prefix, found: Option<Forwarding>) -> Option<Settled> {
        debug_assert_eq!(
            self.work.dump,
            Dump::Awaited,
            "a dump of a mirror in use is another matter"
        );
        if self.work.dump == Dump::Complete {
            return None;
        }
        self.update(to, |work, state| {
            state.fact = match (&state.fact, found) {
                (Fact::Absent, Some(found)) => Fact::Present(Arc::new(found)),
                _ => Fact::Unclear,
            };
            work.plan(to, state);
            settled(state)
        })
    }

    /// The table has been read, in each family that is wished for: from here on there is work, beginning with what is to go or to change.
    pub fn handle_dump_complete(&mut self) {
        if mem::replace(&mut self.work.dump, Dump::Complete) == Dump::Awaited {
            let unsettled = self.destinations.iter();
            self.work.queue = unsettled
                .filter(|(_, destination)| destination.class() == Class::Pending)
                .map(|(to, _)| to)
                .collect();
        }
    }

    /// The kernel did what [`Self::poll_op`] handed out, or refused.
    ///
    /// Answers what to show, unless there is more to write for the destination first. `ESRCH` for a
    /// removal is success. Results nobody waits for are ignored.
    pub fn handle_result(
        &mut self,
        to: Prefix,
        result: Result<(), Refusal>,
        now: Instant,
    ) -> Option<Settled> {
        self.update(to, |work, state| {
            let (action, tried, dropped) = match mem::replace(&mut state.stage, Stage::Idle) {
                Stage::InFlight { action, tried, dropped } => (action, tried, dropped),
                other => {
                    state.stage = other;
                    return None;
                }
            };
            let renewed = state.wish != tried;
            if renewed {
                state.refusals = 0;
            }
            let concluded = state.conclude(action, tried, result);
            if dropped {
                state.doubt();
            }
            match concluded {
                Err(refusal) if !renewed => {
                    if action == Action::Replace && matches!(state.fact, Fact::Outdated) {
                        // First that goes, then it is tried once more, and that answer is told.
                        work.plan(to, state);
                        return None;
                    }
                    state.refusals = state.refusals.saturating_add(1);
                    let due = work.retries.schedule(to, state.refusals, now);
                    state.stage = Stage::Waiting { due };
                    Some(Settled { status: FibStatus::Failed, error: Some(refusal) })
                }
                // A refusal of what nobody wishes any more is no news.
                Ok(()) | Err(_) => {
                    work.plan(to, state);
                    settled(state)
                }
            }
        })
    }

    /// The kernel may have dropped what led by these links, and told nobody.
    pub fn handle_lost(&mut self, lost: &BTreeSet<(InterfaceIndex, Family)>) {
        if lost.is_empty() {
            return;
        }
        let concerned = self.destinations.iter();
        let concerned: Vec<Prefix> = concerned
            .filter(|(to, destination)| destination.leads_by(*to, lost))
            .map(|(to, _)| to)
            .collect();
        for to in concerned {
            self.update(to, |work, state| {
                state.doubt();
                match &mut state.stage {
                    Stage::InFlight { dropped, .. } => *dropped = true,
                    Stage::Idle => work.plan(to, state),
                    Stage::Queued | Stage::Waiting { .. } => {}
                }
            });
        }
    }

    /// What was refused may be possible now: nothing waits any longer.
    pub fn hurry(&mut self) {
        while let Some(to) = self.work.retries.take_first() {
            self.update(to, |work, state| {
                state.refusals = 0;
                work.plan(to, state);
            });
        }
    }

    /// The time has come that [`Self::poll_deadline`] told: what was refused is queued again.
    pub fn handle_deadline(&mut self, now: Instant) {
        while let Some(to) = self.work.retries.poll_due(now) {
            self.update(to, |work, state| work.plan(to, state));
        }
    }

    /// The next operation for the kernel, oldest wish first. [`Self::handle_result`] has to follow.
    pub fn poll_op(&mut self) -> Option<FibOp> {
        while let Some(to) = self.work.queue.pop_front() {
            let op = self.update(to, |_, state| {
                let Some(action) = state.plan() else {
                    state.stage = Stage::Idle; // it changed back while it waited
                    state.refusals = 0;
                    return None;
                };
                let wish = state.wish.clone();
                state.stage = Stage::InFlight { action, tried: wish.clone(), dropped: false };
                Some(match (action, wish) {
                    (Action::Install, Some(forwarding)) => FibOp::Install { to, forwarding },
                    (Action::Replace, Some(forwarding)) => FibOp::Replace { to, forwarding },
                    (_, _) => FibOp::Uninstall { to },
                })
            });
            if op.is_some() {
                return op;
            }
        }
        self.work.queue = VecDeque::new(); // a load of a million leaves 20 MB of room behind
        None
    }

    /// When to call [`Self::handle_deadline`], if anything waits.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.work.retries.next_due()
    }

    /// How many destinations are in which condition.
    pub fn counts(&self) -> FibCounts {
        self.work.counts
    }

    /// Whether nothing is queued or in flight; what was refused may still wait.
    pub fn is_settled(&self) -> bool {
        self.work.dump == Dump::Complete && self.work.counts.pending == 0
    }

    /// Changes one destination, and keeps the counts and the map true.
    fn update<T>(&mut self, to: Prefix, change: impl FnOnce(&mut Work, &mut State) -> T) -> T {
        let resting = self.destinations.entry(to).or_default();
        leave(&mut self.work.counts, resting.class());

        let mut state = State::from(mem::take(resting));
        let answer = change(&mut self.work, &mut state);

        *resting = Destination::from(state);
        let class = resting.class();
        enter(&mut self.work.counts, class);
        if class == Class::Nothing {
            self.destinations.remove(&to);
        }
        answer
    }
}

impl Work {
    /// Puts a destination that is not in the queue where it belongs.
    fn plan(&mut self, to: Prefix, state: &mut State) {
        if state.plan().is_none() {
            state.stage = Stage::Idle;
            state.refusals = 0;
        } else {
            state.stage = Stage::Queued;
            if self.dump == Dump::Complete {
                self.queue.push_back(to);
            }
        }
    }

    /// Looks again at a destination that is `Queued`: once it has an entry in the queue it keeps it,
    /// or a flapping wish would fill the queue.
    fn replan_queued(&self, state: &mut State) {
        if self.dump == Dump::Awaited && state.plan().is_none() {
            state.stage = Stage::Idle;
        }
        state.refusals = 0;
    }
}

fn enter(counts: &mut FibCounts, class: Class) {
    if let Some(count) = count_of(counts, class) {
        *count += 1;
    }
}

fn leave(counts: &mut FibCounts, class: Class) {
    if let Some(count) = count_of(counts, class) {
        *count = count.saturating_sub(1);
    }
}

fn count_of(counts: &mut FibCounts, class: Class) -> Option<&mut usize> {
    match class {
        Class::Nothing => None,
        Class::Installed => Some(&mut counts.installed),
        Class::Pending => Some(&mut counts.pending),
        Class::Failed => Some(&mut counts.failed),
    }
}

/// The same forwarding without what the kernel does not keep, so that a dump can equal it: the weight
/// of an only hop.
fn as_the_kernel_tells(wish: Arc<Forwarding>) -> Arc<Forwarding> {
    match wish.as_ref() {
        Forwarding::Unicast(hops) => match hops.as_ref() {
            [only] if only.weight != Weight::ONE => {
                Arc::new(Forwarding::Unicast([Hop { weight: Weight::ONE, ..*only }].into()))
            }
            _ => wish,
        },
        Forwarding::Blackhole | Forwarding::Unreachable | Forwarding::Prohibit => wish,
    }
}

/// What to show of a destination whose wish and fact agree.
fn settled(state: &State) -> Option<Settled> {
    if state.plan().is_some() {
        return None;
    }
    let status = if state.wish.is_some() { FibStatus::Installed } else { FibStatus::None };
    Some(Settled { status, error: None })
}

#[cfg(test)]
mod tests;
