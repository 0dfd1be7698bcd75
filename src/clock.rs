//! The clocks: what the core is told the time by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::model::{Moment, Now, Timestamp};

/// The time by both clocks.
///
/// Moments are of the clock that goes on while the machine is suspended, and is the same for all
/// processes (`CLOCK_BOOTTIME`, clock_gettime(2)): so a deadline means the same to the next process.
pub fn now() -> Now {
    let microseconds = |since: Duration| u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    Now {
        time: Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, microseconds)),
        moment: Moment(microseconds(since_boot)),
    }
}
