//! When to try again what the kernel refused.
//!
//! A refusal is rarely for ever: a gateway becomes reachable, memory comes back, a stranger's route
//! leaves. One entry for each destination, so a table full of refusals costs no more than the table.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use crate::model::Prefix;

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
    /// Lets something wait after its nth refusal in a row, and tells until when.
    pub(super) fn schedule(&mut self, to: T, refusals: u8, now: Instant) -> Instant {
        let due = now.checked_add(delay(refusals)).unwrap_or(now);
        self.0.insert((due, to));
        due
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

    /// Takes any, whether its wait is over or not.
    pub(super) fn take_first(&mut self) -> Option<T> {
        self.0.pop_first().map(|(_, to)| to)
    }

    /// When the next wait is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }
}

/// How often a route may be repaired within [`FIGHT`] before it is left alone for a while.
const MOST_REPAIRS: u8 = 5;

/// How long repairs count.
const FIGHT: Duration = Duration::from_secs(10);

/// For how many destinations repairs are counted: beyond that it is no fight about one route but a
/// table that somebody flushed.
const MOST_COUNTED: usize = 65_536;

/// Who changes a route of ours again and again is not fought for ever.
#[derive(Debug, Default)]
pub(super) struct Fights {
    repairs: HashMap<Prefix, u8>,
    since: Option<Instant>,
}

impl Fights {
    /// Notes that a destination has to be repaired; answers whether that was too often.
    pub(super) fn is_one(&mut self, to: Prefix, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= FIGHT) {
            self.repairs = HashMap::new();
            self.since = Some(now);
        }
        if self.repairs.len() >= MOST_COUNTED && !self.repairs.contains_key(&to) {
            return false;
        }
        let repairs = self.repairs.entry(to).or_default();
        *repairs = repairs.saturating_add(1);
        *repairs > MOST_REPAIRS
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
}
