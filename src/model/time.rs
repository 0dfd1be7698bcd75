//! Time: one clock for showing, one for deadlines.

use serde::{Deserialize, Serialize};

use std::{fmt, time::Duration};

use super::error::{Error, ErrorKind};

/// A moment of real time, in microseconds since 1970.
///
/// Only for showing: nothing is decided by it, because it jumps when the clock is set.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Timestamp(pub u64);

/// A moment of a clock that never jumps, in microseconds since some beginning.
///
/// Deadlines are counted on it (RTMv2 row TTL-12).
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Moment(pub u64);

/// The time at which something happens, by both clocks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Now {
    /// For showing.
    pub time: Timestamp,
    /// For deadlines.
    pub moment: Moment,
}

/// How long something lasts: at least a millisecond, or for ever.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Span(Option<Duration>);

impl Span {
    /// Without an end.
    pub const FOREVER: Self = Self(None);

    /// So many milliseconds; 0xFFFFFFFF is for ever (`INFINITE`).
    ///
    /// # Errors
    /// `InvalidParameter` for 0 (RTMv2 rows TTL-11 and HOLD-05).
    pub fn from_millis(milliseconds: u32) -> Result<Self, Error> {
        match milliseconds {
            0 => Err(ErrorKind::InvalidParameter.because("a time of 0 milliseconds")),
            u32::MAX => Ok(Self::FOREVER),
            some => Ok(Self(Some(Duration::from_millis(some.into())))),
        }
    }

    /// When it ends if it begins at `moment`.
    pub fn end(self, moment: Moment) -> Option<Moment> {
        self.0.map(|span| moment.after(span))
    }

    /// Whether it is longer than so many milliseconds, where 0xFFFFFFFF is for ever.
    pub fn exceeds(self, milliseconds: u32) -> bool {
        let most = Duration::from_millis(milliseconds.into());
        milliseconds != u32::MAX && self.0.is_none_or(|span| span > most)
    }

    /// The longer of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.zip(other.0).map(|(span, other)| span.max(other)))
    }
}

/// "5000 milliseconds", or "for ever".
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => write!(f, "{} milliseconds", span.as_millis()),
            None => f.write_str("for ever"),
        }
    }
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
