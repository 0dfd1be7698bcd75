//! When to try again what the kernel refused.
//!
//! A refusal is rarely for ever: a gateway becomes reachable, memory comes back, a stranger's route
//! leaves. One entry for each destination, so a table full of refusals costs no more than the table.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::model::Prefix;

/// The wait after the first refusal; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The destinations that wait, by when their wait ends.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeSet<(Instant, Prefix)>);

impl Retries {
    /// Lets a destination wait after its nth refusal in a row, and tells until when.
    pub(super) fn schedule(&mut self, to: Prefix, refusals: u8, now: Instant) -> Instant {
        let due = now.checked_add(delay(refusals)).unwrap_or(now);
        self.0.insert((due, to));
        due
    }

    /// Ends a destination's wait early.
    pub(super) fn cancel(&mut self, to: Prefix, due: Instant) {
        self.0.remove(&(due, to));
    }

    /// Takes the next destination whose wait is over.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<Prefix> {
        let (due, _) = self.0.first()?;
        if *due > now {
            return None;
        }
        self.0.pop_first().map(|(_, to)| to)
    }

    /// Takes any destination, whether its wait is over or not.
    pub(super) fn take_first(&mut self) -> Option<Prefix> {
        self.0.pop_first().map(|(_, to)| to)
    }

    /// When the next wait is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
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
