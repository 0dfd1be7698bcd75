//! The mirror of one kernel table: wishes against facts, and the fewest operations between them.
//!
//! Wishes for one destination coalesce: it waits in the queue once however often it changes, has at
//! most one operation in flight, and when that returns only the difference to the last wish is left.
//! What a reader would get wrong: a refusal is not "nothing happened" (see [`super::RouteOp`]), and
//! nothing at all is written before the kernel's table has been read, and while it is read again.

mod reading;
mod survey;
mod work;

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    time::Instant,
};

use reading::Reading;
use survey::Survey;
use work::{Work, note_refusal};

use super::{
    Refusal, RouteOp,
    destination::{Action, Class, Destination, Fact, Meanwhile, Stage, State, Step, leads_by},
    objects::{Objects, Wanted},
};
use crate::model::{
    Family, FibCounts, FibStatus, InterfaceIndex, Prefix, PrefixMap, TableId, Target, Wish,
};

/// One kernel table, wished and found.
#[derive(Debug)]
pub(super) struct Mirror {
    destinations: PrefixMap<Destination>,
    work: Work,
}

/// What there is to show about a destination after it came to rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    /// `Installed`, `None`, or `Failed` (which is tried again by itself).
    pub status: FibStatus,
    /// Why it failed.
    pub error: Option<Refusal>,
}

/// What somebody else did where we have a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tampering {
    /// A route of ours is gone.
    Gone,
    /// The same, by the kernel itself: that is no fight.
    Dropped,
    /// There is one with our protocol and metric; `None` for a shape that is never written here.
    Ours {
        /// What it does.
        target: Option<Target>,
        /// Whether it took the place of another (`NLM_F_REPLACE`), or came beside it.
        replaced: bool,
    },
    /// A stranger's route took the place of ours.
    Overwritten,
    /// A stranger's route with our metric came where none of ours was, or beside it.
    Occupied,
}

impl Mirror {
    /// A mirror of a table that has not been read yet.
    pub(super) fn new(table: TableId) -> Self {
        Self { destinations: PrefixMap::default(), work: Work::new(table) }
    }

    /// Wishes for a destination; `None` wishes that nothing of ours be there.
    ///
    /// Answers at once when nothing has to be written for it, otherwise the result will. A
    /// destination that waits after a refusal is tried again, whatever the wish.
    pub(super) fn want(
        &mut self,
        to: Prefix,
        wish: Option<Wish>,
        objects: &mut Objects,
    ) -> Option<Settled> {
        self.update(to, objects, |work, state, objects| {
            let before = mem::replace(&mut state.wish, wish);
            objects.handle_wish((work.table, to), before, wish);
            state.refused = None;
            match state.stage {
                Stage::InFlight { .. } => return None, // planned again when its result comes
                Stage::Waiting { due } => {
                    work.retries.cancel(to, due);
                    state.refusals = 0;
                    work.plan(to, state, objects);
                }
                Stage::Blocked { .. } => {
                    if let Some(before) = before {
                        objects.unblock(before, (work.table, to));
                    }
                    work.plan(to, state, objects);
                }
                Stage::Spared if wish.is_none() => return None,
                Stage::Idle | Stage::Later | Stage::Spared => work.plan(to, state, objects),
                // Once it has an entry in the queue it keeps it, or a flapping wish would fill that.
                Stage::Queued => state.refusals = 0,
            }
            settled(state, objects)
        })
    }

    /// What the destination's group comes to has changed.
    pub(super) fn handle_group(&mut self, to: Prefix, objects: &mut Objects) -> Option<Settled> {
        self.update(to, objects, |work, state, objects| {
            if !matches!(state.stage, Stage::Blocked { .. }) {
                return None;
            }
            if let Some(wish) = state.wish {
                objects.unblock(wish, (work.table, to));
            }
            work.plan(to, state, objects);
            settled(state, objects)
        })
    }

    /// The kernel did what [`Self::poll_op`] handed out, or refused.
    ///
    /// Answers what to show, unless there is more to write for the destination first. `ESRCH` for a
    /// removal is success. Results nobody waits for are ignored.
    pub(super) fn handle_result(
        &mut self,
        to: Prefix,
        result: Result<(), Refusal>,
        now: Instant,
        objects: &mut Objects,
    ) -> Option<Settled> {
        self.update(to, objects, |work, state, objects| {
            let (action, tried, meanwhile) = match mem::replace(&mut state.stage, Stage::Idle) {
                Stage::InFlight { action, tried, meanwhile } => (action, tried, meanwhile),
                other => {
                    state.stage = other;
                    return None;
                }
            };
            work.in_flight = work.in_flight.saturating_sub(1);
            let renewed = match (state.wanted(objects), &tried) {
                (Wanted::Target(wanted), Some(tried)) => wanted != *tried,
                (Wanted::Nothing | Wanted::Refused, None) => false,
                // To be taken away first, whatever is wished.
                (Wanted::Target(_), None) => false,
                _ => true,
            };
            if renewed {
                (state.refusals, state.refused) = (0, None);
            }
            let target = tried.clone();
            let was_gone = matches!(state.fact, Fact::Gone);
            let concluded = state.conclude(action, tried, result);
            state.fact.doubt(meanwhile);
            state.refresh(objects);
            match concluded {
                Err(refusal) if !renewed => {
                    let due = note_refusal(state, target, &refusal, now);
                    if action != Action::Uninstall && state.bridge(objects).is_some() {
                        if matches!(state.fact, Fact::Outdated) {
                            // Not to go before the next best is there.
                            state.fact = Fact::Stale;
                            state.fact.doubt(meanwhile);
                        }
                        work.plan(to, state, objects);
                        return settled(state, objects);
                    }
                    let in_the_way = match state.fact {
                        Fact::Absent => false,
                        Fact::Outdated | Fact::Unclear if action == Action::Replace => true,
                        // Perhaps ours: it may have been written after it was taken away.
                        Fact::Unclear if was_gone && refusal.errno == libc::EEXIST => true,
                        _ => meanwhile > Meanwhile::Lost,
                    };
                    if in_the_way {
                        // First that goes, then it is tried once more, and that answer is told.
                        work.plan(to, state, objects);
                        return None;
                    }
                    work.wait(to, state, due, objects);
                    let error = match action {
                        Action::Install if refusal.errno == libc::EEXIST => occupied(),
                        Action::Install | Action::Replace | Action::Uninstall => refusal,
                    };
                    Some(Settled { status: FibStatus::Failed, error: Some(error) })
                }
                // A refusal of what nobody wishes any more is no news.
                Ok(()) | Err(_) => {
                    if target.is_some() && concluded.is_ok() && state.refused.is_none() {
                        state.refusals = 0;
                    }
                    work.plan(to, state, objects);
                    settled(state, objects)
                }
            }
        })
    }

    /// Somebody else changed what is here. It is repaired at once; in a fight, ever more seldom.
    pub(super) fn handle_tampering(
        &mut self,
        to: Prefix,
        what: Tampering,
        now: Instant,
        objects: &mut Objects,
    ) -> Option<Settled> {
        let meanwhile = match what {
            Tampering::Occupied => return self.handle_occupied(to, objects),
            Tampering::Gone => Meanwhile::Gone,
            Tampering::Dropped | Tampering::Overwritten => Meanwhile::Lost,
            Tampering::Ours { replaced: true, target: Some(_) } => Meanwhile::Replaced,
            Tampering::Ours { .. } => Meanwhile::Added,
        };
        if meanwhile <= Meanwhile::Lost && self.destinations.get(&to).is_none() {
            return None; // there was none of ours
        }
        if let Reading::Underway(sights) = &mut self.work.reading {
            let sight = sights.by_prefix.entry(to).or_default();
            sight.meanwhile = sight.meanwhile.max(meanwhile);
        }
        self.update(to, objects, |work, state, objects| {
            if let Stage::InFlight { meanwhile: known, .. } = &mut state.stage {
                *known = (*known).max(meanwhile);
                return None;
            }
            match (&what, &state.fact) {
                (Tampering::Ours { target: Some(told), .. }, Fact::Present(known))
                    if told == known =>
                {
                    return None;
                }
                // The news may be older than what was written since, so whatever is there is replaced.
                (_, _) => state.fact.doubt(meanwhile),
            }
            match (state.plan(objects), &state.stage) {
                (Step::Act(_), _) => {}
                // Nobody looks at it otherwise, should its group lead nowhere after all.
                (Step::Wait, Stage::Idle | Stage::Later) => {
                    work.plan(to, state, objects);
                    return settled(state, objects);
                }
                (Step::Nothing | Step::Wait, _) => return None,
            }
            match (&state.stage, &state.fact) {
                (Stage::Queued, _) => return None,
                (Stage::Waiting { .. }, Fact::Absent) => return None, // for something else
                _ => {}
            }
            if what != Tampering::Dropped
                && let Some(until) = work.fights.pause(to, now)
            {
                return work.leave_alone(to, state, until, objects);
            }
            work.look_again(to, state, objects);
            settled(state, objects)
        })
    }

    /// Where ours may have gone, a stranger's is not to be replaced by it.
    fn handle_occupied(&mut self, to: Prefix, objects: &mut Objects) -> Option<Settled> {
        self.destinations.get(&to)?;
        self.update(to, objects, |_, state, _| {
            if matches!(state.fact, Fact::Stale | Fact::Outdated) {
                state.fact = Fact::Unclear;
            }
            None
        })
    }

    /// What may have been in the way here is gone: it is tried again at once, but not without end.
    pub(super) fn handle_room(
        &mut self,
        to: Prefix,
        now: Instant,
        objects: &mut Objects,
    ) -> Option<Settled> {
        self.destinations.get(&to)?;
        self.update(to, objects, |work, state, objects| {
            let Stage::Waiting { due } = state.stage else { return None };
            if work.fights.pause(to, now).is_some() {
                return None;
            }
            work.retries.cancel(to, due);
            work.try_again(to, state, objects);
            settled(state, objects)
        })
    }

    /// The kernel may have dropped what led by these links, and told nobody.
    pub(super) fn handle_lost(
        &mut self,
        lost: &BTreeSet<(InterfaceIndex, Family)>,
        objects: &mut Objects,
    ) {
        if let Reading::Underway(sights) = &mut self.work.reading {
            sights.lost.extend(lost);
        }
        let family = self.work.table.family;
        let is_used = |(link, of): &_| {
            *of == family && self.work.by_link.contains_key::<InterfaceIndex>(link)
        };
        if !lost.iter().any(is_used) {
            return;
        }
        let concerned = self.destinations.iter();
        let concerned: Vec<Prefix> = concerned
            .filter(|(to, destination)| destination.leads_by(*to, lost))
            .map(|(to, _)| to)
            .collect();
        for to in concerned {
            self.update(to, objects, |work, state, objects| {
                state.fact.doubt(Meanwhile::Lost);
                match &mut state.stage {
                    Stage::InFlight { meanwhile, .. } => {
                        *meanwhile = (*meanwhile).max(Meanwhile::Lost);
                    }
                    Stage::Idle | Stage::Later => work.plan(to, state, objects),
                    Stage::Waiting { .. } if state.refused.is_some() => {
                        work.look_again(to, state, objects);
                    }
                    Stage::Queued
                    | Stage::Blocked { .. }
                    | Stage::Waiting { .. }
                    | Stage::Spared => {}
                }
            });
        }
    }

    /// What was refused and leads by these links may be possible now, and what a stranger's route kept out if
    /// that may have gone. If not, it waits on as long as it
    /// would have.
    pub(super) fn hurry(
        &mut self,
        gained: &BTreeSet<(InterfaceIndex, Family)>,
        may_have_room: bool,
        objects: &mut Objects,
    ) {
        let leads_by = |to: Prefix| {
            let Some(destination) = self.destinations.get(&to) else { return false };
            if may_have_room && destination.is_kept_out() {
                return true;
            }
            let Some(wish) = destination.wish() else { return false };
            let best = match objects.wanted(wish) {
                Wanted::Target(target) => Some(target),
                Wanted::Nothing | Wanted::NotYet | Wanted::Refused => None,
            };
            best.into_iter().chain(objects.next(wish)).any(|target| match target {
                Target::Object(id) => objects.leads_by(id, gained),
                target @ Target::Plain(_) => leads_by(&target, to.family(), gained),
            })
        };
        let waiting = self.work.retries.all();
        let concerned: Vec<(Prefix, Instant)> = waiting.filter(|(to, _)| leads_by(*to)).collect();
        for (to, due) in concerned {
            self.work.retries.cancel(to, due);
            self.update(to, objects, |work, state, objects| work.try_again(to, state, objects));
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.work.retries.all().len()
    }

    /// The time has come that [`Self::poll_deadline`] told: what was refused is queued again.
    pub(super) fn handle_deadline(&mut self, now: Instant, objects: &mut Objects) {
        while let Some(to) = self.work.retries.poll_due(now) {
            self.update(to, objects, |work, state, objects| work.try_again(to, state, objects));
        }
    }

    /// What is found and nobody wishes is left until [`Self::end_sparing`].
    pub(super) fn spare(&mut self) {
        self.work.spares = true;
    }

    /// What was left and nobody wishes goes now; answers how many these are.
    pub(super) fn end_sparing(&mut self, objects: &mut Objects) -> usize {
        self.work.spares = false;
        let spared = self.destinations.iter().filter(|(_, destination)| destination.is_spared());
        let spared: Vec<Prefix> = spared.map(|(to, _)| to).collect();
        for to in &spared {
            self.update(*to, objects, |work, state, objects| work.plan(*to, state, objects));
        }
        spared.len()
    }

    /// The next operation for the kernel that cannot wait, oldest wish first.
    /// [`Self::handle_result`] has to follow.
    pub(super) fn poll_op(&mut self, objects: &mut Objects) -> Option<(Prefix, RouteOp)> {
        if !self.is_known() {
            return None;
        }
        while let Some(to) = self.work.queue.pop_front() {
            if let Some(op) = self.hand_out(to, objects) {
                return Some((to, op));
            }
        }
        self.work.queue = VecDeque::new(); // a load of a million leaves 20 MB of room behind
        None
    }

    /// The next one that makes no difference to any packet, when nothing else is to be done.
    pub(super) fn poll_later_op(&mut self, objects: &mut Objects) -> Option<(Prefix, RouteOp)> {
        if !self.is_known() {
            return None;
        }
        while let Some(to) = self.work.next_later() {
            if let Some(op) = self.hand_out(to, objects) {
                return Some((to, op));
            }
        }
        None
    }

    fn hand_out(&mut self, to: Prefix, objects: &mut Objects) -> Option<RouteOp> {
        self.update(to, objects, |work, state, objects| {
            if !matches!(state.stage, Stage::Queued | Stage::Later) {
                return None;
            }
            let Step::Act(action) = state.plan(objects) else {
                work.plan(to, state, objects); // it changed back while it waited, or has to wait
                return None;
            };
            let (op, tried) = match (action, state.wanted(objects)) {
                (Action::Install, Wanted::Target(wanted)) => {
                    (RouteOp::Install(wanted.clone()), Some(wanted))
                }
                (Action::Replace, Wanted::Target(wanted)) => {
                    (RouteOp::Replace(wanted.clone()), Some(wanted))
                }
                (_, _) => (RouteOp::Uninstall, None),
            };
            state.stage = Stage::InFlight { action, tried, meanwhile: Meanwhile::Nothing };
            work.in_flight += 1;
            Some(op)
        })
    }

    /// How many operations there are to hand out, or out and without a result.
    pub(super) fn backlog(&self) -> usize {
        self.work.queue.len() + self.work.in_flight
    }

    /// When to call [`Self::handle_deadline`], if anything waits.
    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        self.work.retries.next_due()
    }

    /// How many destinations are in which condition.
    pub(super) fn counts(&self) -> FibCounts {
        self.work.counts
    }

    /// Whether nothing is queued or in flight; what was refused may still wait.
    pub(super) fn is_settled(&self) -> bool {
        self.is_known() && self.work.counts.pending == 0 && !self.is_surveying()
    }

    /// Changes one destination, and keeps the counts and the map true.
    fn update<T>(
        &mut self,
        to: Prefix,
        objects: &mut Objects,
        change: impl FnOnce(&mut Work, &mut State, &mut Objects) -> T,
    ) -> T {
        let resting = self.destinations.entry(to).or_default();
        leave(&mut self.work.counts, resting.class());

        let mut state = State::from(mem::take(resting));
        let before = state.objects();
        state.links(to.family()).for_each(|link| self.work.leave_link(link));
        state.refresh(objects);
        let answer = change(&mut self.work, &mut state, objects);
        let after = state.objects();
        state.links(to.family()).for_each(|link| self.work.join_link(link));
        if before != after {
            after.into_iter().flatten().for_each(|id| objects.refer(id));
            before.into_iter().flatten().for_each(|id| objects.release(id));
        }

        *resting = Destination::from(state);
        enter(&mut self.work.counts, resting.class());
        if matches!(resting, Destination::Nothing) {
            self.destinations.remove(&to);
        }
        answer
    }
}

/// Why a route cannot be installed where a stranger's has our metric: "File exists" tells nobody what to do.
fn occupied() -> Refusal {
    let message = "another program's route with the same metric is in the way: delete that, or set \
                   another `metric` in [fib]";
    Refusal { errno: libc::EEXIST, message: message.to_owned() }
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

/// What to show of a destination that is at rest.
fn settled(state: &State, objects: &Objects) -> Option<Settled> {
    match (state.plan(objects), &state.stage) {
        (Step::Nothing, _) => {
            let status = match state.wanted(objects) {
                Wanted::Target(_) => FibStatus::Installed,
                Wanted::Nothing | Wanted::NotYet | Wanted::Refused => FibStatus::None,
            };
            let error = state.bridge(objects).map(|(_, why)| why.bridged());
            Some(Settled { status, error })
        }
        (Step::Wait, Stage::Blocked { refused: true }) => {
            let error = state.wish.and_then(|wish| objects.refusal(wish)).cloned();
            Some(Settled { status: FibStatus::Failed, error })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
