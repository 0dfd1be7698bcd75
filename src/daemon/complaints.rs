//! What the log is told of what the kernel refuses: the first few of each minute with the kernel's
//! words, the others as a count. A table can be refused as a whole, a million times over.
//!
//! What is tried again and refused again is told once. What is over in a moment is not told at all: a
//! route by a link that has just gone, until that is heard of.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    bus::FibState,
    model::{Prefix, TableId},
};

/// How many refusals are told in each period.
const MOST: usize = 5;
const PERIOD: Duration = Duration::from_secs(60);

/// What is refused no longer than this is not told.
const MOMENT: Duration = Duration::from_millis(100);

/// How many refusals are known to have been told; beyond that they may be told again.
const MOST_KNOWN: usize = 256;

/// What there is to complain of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    known: BTreeMap<(TableId, Prefix), Complaint>,
    /// When the first of this period was told.
    began: Option<Instant>,
    /// How many of this period are told one by one, and how many others there were.
    told: usize,
    untold: u64,
    is_degraded: bool,
}

#[derive(Debug)]
struct Complaint {
    why: String,
    /// When it is to be told, until it is.
    due: Option<Instant>,
}

impl Complaints {
    /// The kernel refused a route.
    pub(super) fn refused(&mut self, table: TableId, to: Prefix, why: &str, now: Instant) {
        if self.known.get(&(table, to)).is_some_and(|known| known.why == why) {
            return;
        }
        self.settled(table, to);
        if self.told >= MOST {
            self.untold += 1;
            return;
        }
        self.told += 1;
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, known| known.due.is_some());
        }
        let complaint = Complaint { why: why.to_owned(), due: now.checked_add(MOMENT) };
        self.known.insert((table, to), complaint);
    }

    /// The kernel does not refuse it any more.
    pub(super) fn settled(&mut self, table: TableId, to: Prefix) {
        if !self.known.is_empty()
            && self.known.remove(&(table, to)).is_some_and(|known| known.due.is_some())
        {
            self.told = self.told.saturating_sub(1);
            if self.told == 0 {
                self.untold = 0; // those were of the same moment
            }
        }
    }

    /// When to call [`Self::tell`], if there is anything to tell.
    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.due).min()
    }

    /// Logs what is due. Not where the RIB is locked.
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
        let mut some = Vec::new();
        let mut waiting = 0;
        for ((table, to), known) in &mut self.known {
            if known.due.take_if(|due| *due <= now).is_some() {
                some.push((*table, *to, known.why.clone()));
            }
            waiting += usize::from(known.due.is_some());
        }
        let mut others = 0;
        if self.began.is_some_and(|began| now.duration_since(began) >= PERIOD) {
            others = std::mem::take(&mut self.untold);
            (self.began, self.told) = (None, some.len() + waiting);
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
                match failed {
                    0 => tracing::warn!(
                        "the kernel is not in step: it refuses next hops that routes can do without, \
                         and is asked again from time to time"
                    ),
                    _ => tracing::warn!(
                        failed,
                        "the kernel is not in step: it refuses routes, and is asked again from time \
                         to time"
                    ),
                }
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

    fn nth(index: usize) -> (TableId, Prefix) {
        let to = format!("10.{}.{}.0/24", index / 256, index % 256);
        (TableId::new(0, Family::Ipv4).unwrap(), to.parse().unwrap())
    }

    fn refuse(complaints: &mut Complaints, which: impl Iterator<Item = usize>, now: Instant) {
        for (table, to) in which.map(nth) {
            complaints.refused(table, to, "no", now);
        }
    }

    fn told(complaints: &mut Complaints, now: Instant) -> (usize, u64) {
        let (some, others) = complaints.due(now);
        (some.len(), others)
    }

    #[test]
    fn a_flood_is_told_by_its_first_few_and_later_a_count() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        refuse(&mut complaints, 0..10_000, start);
        assert_eq!(told(&mut complaints, start + MOMENT), (MOST, 0));
        refuse(&mut complaints, 20_000..20_003, start);
        assert_eq!(told(&mut complaints, start + PERIOD / 2), (0, 0));
        let next = start + MOMENT + PERIOD;
        assert_eq!(told(&mut complaints, next), (0, 10_003 - MOST as u64));
        assert_eq!(told(&mut complaints, next + PERIOD), (0, 0), "once");
        refuse(&mut complaints, 30_000..30_002, next);
        assert_eq!(told(&mut complaints, next + PERIOD), (2, 0), "a new period");
    }

    #[test]
    fn what_is_refused_again_is_told_once_and_anew_with_other_words_or_after_it_was_installed() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let (table, to) = nth(0);
        complaints.refused(table, to, "no", start);
        assert_eq!(complaints.poll_deadline(), Some(start + MOMENT));
        assert_eq!(told(&mut complaints, start + MOMENT), (1, 0));
        assert_eq!(complaints.poll_deadline(), None);
        complaints.refused(table, to, "no", start + PERIOD / 4);
        assert_eq!(told(&mut complaints, start + PERIOD / 2), (0, 0));
        complaints.refused(table, to, "never", start);
        assert_eq!(told(&mut complaints, start + PERIOD / 2), (1, 0), "other words");
        complaints.settled(table, to);
        complaints.refused(table, to, "never", start);
        assert_eq!(told(&mut complaints, start + PERIOD / 2), (1, 0), "it was installed");
    }

    #[test]
    fn what_is_over_in_a_moment_is_not_told() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        refuse(&mut complaints, 0..1000, start);
        for (table, to) in (0..1000).map(nth) {
            complaints.settled(table, to);
        }
        assert_eq!(complaints.poll_deadline(), None);
        assert_eq!(told(&mut complaints, start + MOMENT), (0, 0));
        refuse(&mut complaints, 0..1, start);
        assert_eq!(told(&mut complaints, start + MOMENT), (1, 0));
        assert_eq!(told(&mut complaints, start + MOMENT + PERIOD), (0, 0), "the others are over");
    }
}
