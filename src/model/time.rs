//! Time: one clock for showing, one for deadlines.

use std::time::Duration;

/// A moment of real time, in microseconds since 1970.
///
/// Only for showing: nothing is decided by it, because it jumps when the clock is set.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub u64);

/// A moment of a clock that never jumps, in microseconds since some beginning.
///
/// Deadlines are counted on it (RTMv2 row TTL-12).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub u64);

/// The time at which something happens, by both clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// For showing.
    pub time: Timestamp,
    /// For deadlines.
    pub moment: Moment,
}

impl Timestamp {
    /// The smallest later one, for what must tell an order even when the clock was set back.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Moment {
    /// The moment this much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to this moment; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Now {
    /// Both clocks at `microseconds`: for tests and simulations.
    pub fn at(microseconds: u64) -> Self {
        Self { time: Timestamp(microseconds), moment: Moment(microseconds) }
    }
}
