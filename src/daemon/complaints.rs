//! What the log is told of what the kernel refuses: the first few of each minute with the kernel's
//! words, the others as a count. A table can be refused as a whole, a million times over.

use std::{
    mem,
    time::{Duration, Instant},
};

use crate::{
    bus::FibState,
    model::{Prefix, TableId},
};

/// How many refusals are told in each period.
const MOST: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);

/// What there is to complain of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Not told yet.
    waiting: Vec<(TableId, Prefix, String)>,
    /// When the first of this period was told.
    began: Option<Instant>,
    /// How many of this period are told one by one, and how many others there were.
    told: usize,
    untold: u64,
    is_degraded: bool,
}

impl Complaints {
    /// The kernel refused a route. To be followed by [`Self::tell`]: it is not logged at once, where
    /// the RIB is locked.
    pub(super) fn refused(&mut self, table: TableId, to: Prefix, why: &str) {
        if self.told < MOST {
            self.told += 1;
            self.waiting.push((table, to, why.to_owned()));
        } else {
            self.untold += 1;
        }
    }

    /// Logs what is due.
    pub(super) fn tell(&mut self, now: Instant) {
        let (some, others) = self.due(now);
        for (table, to, why) in some {
            tracing::warn!(%table, %to, why, "the kernel refuses a route");
        }
        if others > 0 {
            tracing::warn!("the kernel refused {others} more: \"fib-error\" of a route tells why");
        }
    }

    /// Those to be told one by one, and when a period is over how many others there were in it.
    fn due(&mut self, now: Instant) -> (Vec<(TableId, Prefix, String)>, u64) {
        let some = mem::take(&mut self.waiting);
        let mut others = 0;
        if self.began.is_some_and(|began| now.duration_since(began) >= PERIOD) {
            others = mem::take(&mut self.untold);
            (self.began, self.told) = (None, some.len());
        }
        if !some.is_empty() && self.began.is_none() {
            self.began = Some(now);
        }
        (some, others)
    }

    /// Logs that the kernel refuses something, and when it does not any more.
    pub(super) fn announce(&mut self, state: FibState, failed: usize) {
        match (state, self.is_degraded) {
            (FibState::Degraded, false) => {
                self.is_degraded = true;
                tracing::warn!(
                    failed,
                    "the kernel is not in step: it refuses routes, and is asked again from time to \
                     time"
                );
            }
            (FibState::Synced, true) => {
                self.is_degraded = false;
                tracing::info!("the kernel is in step again");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    fn refuse(complaints: &mut Complaints, count: usize) {
        let table = TableId::new(0, Family::Ipv4).unwrap();
        for _ in 0..count {
            complaints.refused(table, Prefix::default_route(Family::Ipv4), "no");
        }
    }

    fn told(complaints: &mut Complaints, now: Instant) -> (usize, u64) {
        let (some, others) = complaints.due(now);
        (some.len(), others)
    }

    #[test]
    fn a_flood_is_told_by_its_first_few_and_later_a_count() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        refuse(&mut complaints, 1_000_000);
        assert_eq!(told(&mut complaints, start), (MOST, 0));
        refuse(&mut complaints, 3);
        assert_eq!(told(&mut complaints, start + PERIOD / 2), (0, 0));
        assert_eq!(told(&mut complaints, start + PERIOD), (0, 1_000_003 - MOST as u64));
        assert_eq!(told(&mut complaints, start + PERIOD * 2), (0, 0), "once");
        refuse(&mut complaints, 2);
        assert_eq!(told(&mut complaints, start + PERIOD * 3), (2, 0), "a new period");
    }
}
