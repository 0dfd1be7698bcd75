//! How long to wait before the next attempt: longer each time, and never the same for all clients.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

/// The first wait after a while without trouble.
const SHORTEST: Duration = Duration::from_millis(100);
/// What waits grow to.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Pause {
    last: Option<(Instant, Duration)>,
}

impl Pause {
    /// The next wait. It doubles unless there was no trouble for a minute; half of it is chance, so
    /// that the clients of a bus that comes back do not all come at once.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let step = match self.last {
            Some((at, step)) if now.saturating_duration_since(at) < 6 * LONGEST => {
                (2 * step).min(LONGEST)
            }
            _ => SHORTEST,
        };
        self.last = Some((now, step));
        // The standard library's only source of chance: the keys of its hash maps.
        let chance = RandomState::new().hash_one(0u8) % 1024;
        step / 2 + step / 2 * u32::try_from(chance).unwrap_or_default() / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_the_longest_and_begins_anew_after_a_quiet_minute() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(pause.next(now));
            now += waits[waits.len() - 1];
        }
        assert!(waits[0] >= SHORTEST / 2 && waits[0] <= SHORTEST, "{waits:?}");
        assert!(waits[9] >= LONGEST / 2 && waits[9] <= LONGEST, "{waits:?}");
        assert!(pause.next(now + 7 * LONGEST) <= SHORTEST);
    }
}
