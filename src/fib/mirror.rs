//! The mirror of one kernel table: wishes against facts, and the fewest operations between them.
//!
//! Wishes for one destination coalesce: it waits in the queue once however often it changes, has at
//! most one operation in flight, and when that returns only the difference to the last wish is left.
//! What a reader would get wrong: a refusal is not "nothing happened" (see [`super::RouteOp`]), and
//! nothing at all is written before the kernel's table has been read, and while it is read again.

mod reading;
mod survey;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map},
    mem,
    ops::Bound,
    time::Instant,
};

use reading::Reading;
use survey::Survey;

use super::{
    Refusal, RouteOp,
    destination::{Action, Class, Destination, Fact, Meanwhile, Stage, State, Step, leads_by},
    objects::{Objects, Wanted},
    retry::{Fights, Refused, Retries},
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

/// What is to be done about the destinations, and how many there are of which kind. Apart from the
/// map, so that a rule can plan while it holds a destination.
#[derive(Debug)]
struct Work {
    table: TableId,
    /// Destinations to plan, oldest first; each one in [`Stage::Queued`] is here exactly once, no other.
    queue: VecDeque<Prefix>,
    /// Those in [`Stage::Later`], and the last that was taken: the next one comes after it.
    later: BTreeSet<Prefix>,
    last_later: Option<Prefix>,
    retries: Retries<Prefix>,
    fights: Fights<Prefix>,
    /// Operations whose results have not come.
    in_flight: usize,
    reading: Reading,
    survey: Survey,
    /// How many routes lead by each link without an object.
    by_link: BTreeMap<InterfaceIndex, usize>,
    counts: FibCounts,
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
        let work = Work {
            table,
            queue: VecDeque::new(),
            later: BTreeSet::new(),
            last_later: None,
            retries: Retries::default(),
            fights: Fights::default(),
            in_flight: 0,
            reading: Reading::Wanted,
            survey: Survey::default(),
            by_link: BTreeMap::new(),
            counts: FibCounts::default(),
        };
        Self { destinations: PrefixMap::default(), work }
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
                Stage::Idle | Stage::Later => work.plan(to, state, objects),
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
                    let due = note_refusal(state, target, now);
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
                    work.wait(to, state, due);
                    let error = match action {
                        Action::Install if refusal.errno == libc::EEXIST => occupied(),
                        Action::Install | Action::Replace | Action::Uninstall => refusal,
                    };
                    Some(Settled { status: FibStatus::Failed, error: Some(error) })
                }
                // A refusal of what nobody wishes any more is no news.
                Ok(()) | Err(_) => {
                    if target.is_some() && concluded.is_ok() {
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
            if !matches!(state.plan(objects), Step::Act(_)) {
                return None;
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
                    Stage::Queued | Stage::Blocked { .. } | Stage::Waiting { .. } => {}
                }
            });
        }
    }

    /// What was refused and leads by these links may be possible now. If not, it waits on as long as it
    /// would have.
    pub(super) fn hurry(
        &mut self,
        gained: &BTreeSet<(InterfaceIndex, Family)>,
        objects: &mut Objects,
    ) {
        let leads_by = |to: Prefix| {
            let wish = self.destinations.get(&to).and_then(Destination::wish);
            match wish.map(|wish| objects.wanted(wish)) {
                Some(Wanted::Target(Target::Object(id))) => objects.leads_by(id, gained),
                Some(Wanted::Target(target)) => leads_by(&target, to.family(), gained),
                Some(Wanted::Nothing | Wanted::NotYet | Wanted::Refused) | None => false,
            }
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

impl Work {
    /// Puts a destination that is not in the queue where it belongs.
    fn plan(&mut self, to: Prefix, state: &mut State, objects: &mut Objects) {
        self.hurry_up(to, state);
        match state.plan(objects) {
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
    fn look_again(&mut self, to: Prefix, state: &mut State, objects: &mut Objects) {
        match state.stage {
            Stage::Queued | Stage::InFlight { .. } => return,
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
            Stage::Idle | Stage::Later => {}
        }
        self.plan(to, state, objects);
    }

    /// Somebody changes a destination again and again: it is not repaired before that.
    fn leave_alone(
        &mut self,
        to: Prefix,
        state: &mut State,
        until: Instant,
        objects: &mut Objects,
    ) -> Option<Settled> {
        match state.stage {
            Stage::Waiting { .. } => return None,
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
    fn wait(&mut self, to: Prefix, state: &mut State, due: Instant) {
        self.hurry_up(to, state);
        self.retries.wait(to, due);
        state.stage = Stage::Waiting { due };
    }

    /// Asks the kernel again for what it refused.
    fn try_again(&mut self, to: Prefix, state: &mut State, objects: &mut Objects) {
        state.refused = None;
        self.plan(to, state, objects);
    }

    fn join_link(&mut self, link: InterfaceIndex) {
        *self.by_link.entry(link).or_default() += 1;
    }

    fn leave_link(&mut self, link: InterfaceIndex) {
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
    fn next_later(&mut self) -> Option<Prefix> {
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
fn note_refusal(state: &mut State, target: Option<Target>, now: Instant) -> Instant {
    let refused = state.refused.get_or_insert_with(|| {
        state.refusals = state.refusals.saturating_add(1);
        Box::new(Refused::new(state.refusals, now))
    });
    if let Some(target) = target {
        refused.add(target);
    }
    refused.until
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
            Some(Settled { status, error: None })
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
