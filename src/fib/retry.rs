//! When to try again what the kernel refused.
//!
//! A refusal is rarely for ever: a gateway becomes reachable, memory comes back, a stranger's route
//! leaves. One entry for each destination, so a table full of refusals costs no more than the table.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::{Duration, Instant},
};

use super::Refusal;
use crate::model::Target;

/// The wait after the first refusal; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What waits, by when its wait ends.
#[derive(Debug)]
pub(super) struct Retries<T>(BTreeSet<(Instant, T)>);

impl<T> Default for Retries<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Copy + Ord> Retries<T> {
    /// Lets something wait until then.
    pub(super) fn wait(&mut self, to: T, due: Instant) {
        self.0.insert((due, to));
    }

    /// Ends a wait early.
    pub(super) fn cancel(&mut self, to: T, due: Instant) {
        self.0.remove(&(due, to));
    }

    /// Takes the next whose wait is over.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<T> {
        let (due, _) = self.0.first()?;
        if *due > now {
            return None;
        }
        self.0.pop_first().map(|(_, to)| to)
    }

    /// What waits, and until when.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = (T, Instant)> {
        self.0.iter().map(|(due, to)| (*to, *due))
    }

    /// When the next wait is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }
}

/// What the kernel refused of a destination, and when it is to be asked again.
#[derive(Debug)]
pub(super) struct Refused {
    targets: Vec<Target>,
    /// Of the first.
    why: Refusal,
    pub(super) until: Instant,
}

impl Refused {
    /// The last of so many refusals in a row.
    pub(super) fn new(why: Refusal, refusals: u8, now: Instant) -> Self {
        let until = now.checked_add(delay(refusals)).unwrap_or(now);
        Self { targets: Vec::new(), why, until }
    }

    /// Why, if that says something about the target that will be so for a while.
    pub(super) fn lasting(&self) -> Option<&Refusal> {
        let is_lasting =
            !self.why.is_passing() && !matches!(self.why.errno, libc::EEXIST | libc::EBUSY);
        is_lasting.then_some(&self.why)
    }

    /// Whether somebody else's route was in the way.
    pub(super) fn is_by_a_stranger(&self) -> bool {
        self.why.errno == libc::EEXIST
    }

    pub(super) fn add(&mut self, target: Target) {
        if !self.has(&target) {
            self.targets.push(target);
        }
    }

    pub(super) fn has(&self, target: &Target) -> bool {
        self.targets.contains(target)
    }
}

/// What is not to be done again and again: asked for too early, it is due when the pause is over.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// When the pause is over.
    next: Option<Instant>,
    /// Whether it was asked for since.
    is_owed: bool,
}

impl Seldom {
    /// Asks for it; answers whether it is to be done now, after which a pause of this length begins.
    pub(super) fn ask(&mut self, now: Instant, pause: Duration) -> bool {
        self.is_owed = self.next.is_some_and(|next| next > now);
        if !self.is_owed {
            self.next = now.checked_add(pause);
        }
        !self.is_owed
    }

    /// When to ask [`Self::is_due`].
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next.filter(|_| self.is_owed)
    }

    /// Whether it is to be done now, because it was asked for too early.
    pub(super) fn is_due(&mut self, now: Instant, pause: Duration) -> bool {
        self.is_owed && self.ask(now, pause)
    }
}

/// How often something may be repaired within [`FIGHT`] before it is left alone for a while.
const MOST_REPAIRS: u8 = 5;

/// How long repairs count.
const FIGHT: Duration = Duration::from_secs(10);

/// A fight is over when nothing had to be repaired for so long.
const QUIET: Duration = Duration::from_secs(60);

/// How much repairs are counted of: beyond that it is no fight about one route but a table that somebody
/// flushed.
const MOST_COUNTED: usize = 65_536;

/// Who changes what is ours again and again: after some repairs at once it is left alone, for half
/// a second first, and twice as long each time after, up to a minute.
#[derive(Debug)]
pub(super) struct Fights<T> {
    all: HashMap<T, Fight>,
    /// When those that are over were last forgotten.
    cleared: Option<Instant>,
}

#[derive(Debug)]
struct Fight {
    /// Since when repairs are counted, or until when it is left alone.
    since: Instant,
    repairs: u8,
    /// How often it has been left alone.
    pauses: u8,
}

impl<T> Default for Fights<T> {
    fn default() -> Self {
        Self { all: HashMap::new(), cleared: None }
    }
}

impl<T: Copy + Eq + Hash> Fights<T> {
    /// Notes that something has to be repaired; answers until when it is to be left alone, if that was too
    /// often.
    pub(super) fn pause(&mut self, what: T, now: Instant) -> Option<Instant> {
        if self.cleared.is_none_or(|last| now.saturating_duration_since(last) >= FIGHT) {
            self.all.retain(|_, fight| !fight.is_over(now));
            self.all.shrink_to_fit();
            self.cleared = Some(now);
        }
        if self.all.len() >= MOST_COUNTED && !self.all.contains_key(&what) {
            return None;
        }
        let none = Fight { since: now, repairs: 0, pauses: 0 };
        let fight = self.all.entry(what).or_insert(none);
        if fight.is_over(now) {
            *fight = Fight { since: now, repairs: 0, pauses: 0 };
        }
        if fight.since > now {
            return Some(fight.since);
        }
        fight.repairs = fight.repairs.saturating_add(1);
        if fight.pauses == 0 && fight.repairs <= MOST_REPAIRS {
            return None;
        }
        fight.pauses = fight.pauses.saturating_add(1);
        fight.since = now.checked_add(pause(fight.pauses)).unwrap_or(now);
        Some(fight.since)
    }
}

impl Fight {
    fn is_over(&self, now: Instant) -> bool {
        let quiet = if self.pauses == 0 { FIGHT } else { QUIET };
        now.saturating_duration_since(self.since) >= quiet
    }
}

/// Half a second first, so that what is right then is so within a second; then 1 s, 2 s, up to 60 s.
pub(super) fn pause(number: u8) -> Duration {
    match number {
        0 | 1 => FIRST_DELAY / 2,
        _ => delay(number - 1),
    }
}

/// 1 s after the first refusal, then 2 s, 4 s, up to 60 s.
fn delay(refusals: u8) -> Duration {
    let doublings = u32::from(refusals.saturating_sub(1)).min(6);
    (FIRST_DELAY * (1 << doublings)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_second_to_sixty() {
        let seconds: Vec<u64> = (1..=9).map(|refusals| delay(refusals).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(delay(u8::MAX).as_secs(), 60);
    }
    #[test]
    fn a_fight_is_answered_ever_more_seldom_until_a_minute_was_quiet() {
        let mut fights = Fights::default();
        let mut now = Instant::now();
        for round in 0..2 {
            for _ in 0..MOST_REPAIRS {
                assert_eq!(fights.pause('a', now), None, "round {round}");
            }
            for pause in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
                let until = now + Duration::from_millis(pause);
                assert_eq!(fights.pause('a', now), Some(until));
                assert_eq!(fights.pause('a', until - Duration::from_millis(1)), Some(until));
                assert_eq!(fights.pause('b', now), None, "that is another one");
                now = until;
            }
            now += QUIET;
        }
    }
    #[test]
    fn what_is_asked_for_too_early_is_done_once_when_the_pause_is_over() {
        let (mut seldom, pause) = (Seldom::default(), Duration::from_secs(1));
        let start = Instant::now();
        assert!(seldom.ask(start, pause));
        assert_eq!(seldom.next_due(), None);
        for early in [0, 500, 999] {
            assert!(!seldom.ask(start + Duration::from_millis(early), pause));
        }
        assert_eq!(seldom.next_due(), Some(start + pause));
        assert!(!seldom.is_due(start, pause));
        assert!(seldom.is_due(start + pause, pause));
        assert!(!seldom.is_due(start + pause * 9, pause), "nobody asked again");
    }
}
