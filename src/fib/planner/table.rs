//! One kernel table of the plan.

use std::time::{Duration, Instant};

use crate::{
    fib::{mirror::Mirror, objects::Objects},
    model::{KernelTable, TableId},
};

/// After a table was read because of a lost answer, this passes before it is for another.
const PAUSE: Duration = Duration::from_secs(1);

/// A table, and when it has to be read because answers were lost.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) kernel: KernelTable,
    pub(super) mirror: Mirror,
    /// When it was last doubted because of a lost answer, and when it is to be once more.
    doubted: Option<Instant>,
    doubt_due: Option<Instant>,
}

impl Table {
    pub(super) fn new(id: TableId, kernel: KernelTable) -> Self {
        Self { kernel, mirror: Mirror::new(id), doubted: None, doubt_due: None }
    }

    /// Nobody knows what became of an operation: the table is to be read, once a second at most.
    pub(super) fn handle_lost_answer(&mut self, now: Instant) {
        let due = self.doubted.and_then(|last| last.checked_add(PAUSE)).filter(|due| *due > now);
        match due {
            Some(due) => self.doubt_due = Some(due),
            None => {
                self.doubted = Some(now);
                self.doubt_due = None;
                self.mirror.doubt();
            }
        }
    }

    pub(super) fn handle_deadline(&mut self, now: Instant, objects: &mut Objects) {
        if self.doubt_due.is_some_and(|due| due <= now) {
            self.handle_lost_answer(now);
        }
        self.mirror.handle_deadline(now, objects);
    }

    pub(super) fn poll_deadline(&self) -> Option<Instant> {
        self.doubt_due.into_iter().chain(self.mirror.poll_deadline()).min()
    }
}
