//! One kernel table of the plan.

use std::time::{Duration, Instant};

use crate::{
    fib::{mirror::Mirror, objects::Objects, retry::Seldom},
    model::{KernelTable, TableId},
};

/// After a table was read because of a lost answer, this passes before it is for another; and after reading
/// failed, before it is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A table, and when it has to be read because answers were lost.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) kernel: KernelTable,
    pub(super) mirror: Mirror,
    /// Because of a lost answer.
    doubts: Seldom,
    /// Until when it is not to be read, because that failed.
    unreadable: Option<Instant>,
}

impl Table {
    pub(super) fn new(id: TableId, kernel: KernelTable) -> Self {
        Self { kernel, mirror: Mirror::new(id), doubts: Seldom::default(), unreadable: None }
    }

    /// Nobody knows what became of an operation: the table is to be read, once a second at most.
    pub(super) fn handle_lost_answer(&mut self, now: Instant) {
        if self.doubts.ask(now, PAUSE) {
            self.mirror.doubt();
        }
    }

    /// Reading it failed.
    pub(super) fn handle_reading_failed(&mut self, now: Instant) {
        self.mirror.doubt();
        self.unreadable = now.checked_add(PAUSE);
    }

    /// Whether it is to be read now.
    pub(super) fn wants_reading(&self) -> bool {
        self.unreadable.is_none() && self.mirror.wants_reading()
    }

    pub(super) fn handle_deadline(&mut self, now: Instant, objects: &mut Objects) {
        if self.doubts.is_due(now, PAUSE) {
            self.mirror.doubt();
        }
        self.unreadable = self.unreadable.filter(|until| *until > now);
        self.mirror.handle_deadline(now, objects);
    }

    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        let own = [self.doubts.next_due(), self.unreadable];
        own.into_iter().flatten().chain(self.mirror.poll_deadline()).min()
    }
}
