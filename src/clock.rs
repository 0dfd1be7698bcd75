//! The clocks: what the core is told the time by.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::model::{Moment, Now, Timestamp};

/// Where moments are counted from.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time by both clocks.
pub fn now() -> Now {
    let microseconds = |since: Duration| u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    Now {
        time: Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, microseconds)),
        moment: Moment(microseconds(BEGINNING.elapsed())),
    }
}

/// When a moment is, for timers; `None` when it is farther away than the clock reaches.
pub fn instant(moment: Moment) -> Option<Instant> {
    BEGINNING.checked_add(Duration::from_micros(moment.0))
}
