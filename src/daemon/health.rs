//! What the service manager sees of the service while it runs: that it works, and how far it is.
//!
//! A sign of life (`WATCHDOG=1`, sd_notify(3)) that a timer of its own would send says nothing about the
//! work. Here it takes a round trip: the core's lock is to be had, and the loop that keeps the kernel has
//! gone round since. The bus is not asked, because a client that does not read can hold it up, and that is
//! no reason to start the service again.

use std::{cell::Cell, convert::Infallible, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};

use super::notifier::Notifier;
use crate::{
    bus::FibState,
    model::{EntityState, FibCounts},
    shared::SharedRib,
};

/// How often the status is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a loop goes round.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    is_asked: Cell<bool>,
    question: Notify,
    answer: Notify,
}

impl Pulse {
    /// The loop begins a turn.
    pub(super) fn beat(&self) {
        if self.is_asked.take() {
            self.answer.notify_one();
        }
    }

    /// Wakes a loop that has nothing else to do.
    pub(super) async fn asked(&self) {
        self.question.notified().await;
    }

    /// Waits for the next turn.
    async fn taken(&self) {
        self.is_asked.set(true);
        self.question.notify_one();
        self.answer.notified().await;
    }
}

/// Gives signs of life for as long as the work goes on, if the manager waits for any.
pub(super) async fn watch(rib: &SharedRib, pulse: &Pulse, notifier: &Notifier) -> Infallible {
    let Some(patience) = notifier.patience().filter(|it| !it.is_zero()) else {
        return std::future::pending().await;
    };
    // One that is late by as much again is still in time.
    let mut due = interval(patience / 3);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        rib.with(|_| ());
        pulse.taken().await;
        notifier.alive();
    }
}

/// Keeps the status that `systemctl status` shows up to date.
pub(super) async fn tell(
    rib: &SharedRib,
    state: watch::Receiver<FibState>,
    notifier: &Notifier,
) -> Infallible {
    let mut due = interval(LOOK);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let state = *state.borrow();
        notifier.status(summary(rib, state));
    }
}

/// How the service is, in a line.
pub(super) fn summary(rib: &SharedRib, state: FibState) -> String {
    let (entities, routes, counts) = rib.with(|rib| {
        let clients = rib.entities().filter(|it| it.state != EntityState::Builtin);
        let tables: Vec<_> = rib.tables().collect();
        let mut sum = FibCounts::default();
        for counts in tables.iter().map(|id| rib.fib_counts(*id)) {
            sum.installed += counts.installed;
            sum.pending += counts.pending;
            sum.failed += counts.failed;
        }
        let routes: usize = tables.iter().map(|id| rib.route_count(*id)).sum();
        (clients.count(), routes, sum)
    });
    describe(state, entities, routes, counts)
}

fn describe(state: FibState, entities: usize, routes: usize, counts: FibCounts) -> String {
    let FibCounts { installed, pending, failed } = counts;
    let mut line = format!(
        "{}: {entities} {}, {routes} {}, {installed} in the kernel",
        state.name(),
        if entities == 1 { "entity" } else { "entities" },
        if routes == 1 { "route" } else { "routes" },
    );
    for (count, what) in [(pending, "on their way"), (failed, "refused")] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_status_says_what_is_not_as_it_should_be_and_nothing_of_what_is() {
        let counts = FibCounts { installed: 6, pending: 0, failed: 0 };
        let line = describe(FibState::Synced, 1, 7, counts);
        assert_eq!(line, "synced: 1 entity, 7 routes, 6 in the kernel");
        let counts = FibCounts { installed: 0, pending: 3, failed: 2 };
        let line = describe(FibState::Degraded, 2, 1, counts);
        assert_eq!(
            line,
            "degraded: 2 entities, 1 route, 0 in the kernel, 3 on their way, 2 refused"
        );
    }

    #[tokio::test]
    async fn a_loop_that_hangs_does_not_answer_and_one_that_idles_does() {
        let pulse = Pulse::default();
        let moment = Duration::from_millis(50);
        let hung = tokio::time::timeout(moment, pulse.taken()).await;
        assert!(hung.is_err(), "nobody goes round");
        let idles = async {
            loop {
                pulse.beat();
                pulse.asked().await;
            }
        };
        let never = Duration::from_secs(60);
        tokio::select! {
            () = idles => {}
            answered = tokio::time::timeout(never, pulse.taken()) => {
                assert!(answered.is_ok(), "it waits for work");
            }
        }
    }
}
