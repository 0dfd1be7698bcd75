//! What the kernel has to hear of: destinations, each at most once.
//!
//! A destination that waits is one entry however often it changes, so a flood of changes costs at
//! most one entry for each destination. What is to be done there is read when the entry is taken,
//! not when it is made.

use serde::{Deserialize, Serialize};

use super::Rib;
use crate::model::{FibCounts, FibStatus, KernelTable, Prefix, TableId, Wish};

/// A destination that may have to follow something else, and what that is.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    /// Its table.
    pub table: TableId,
    /// Its prefix.
    pub to: Prefix,
    /// What packets are to follow; `None` for nothing of ours.
    pub wish: Option<Wish>,
}

/// The kernel's words about a refusal.
pub(super) type Failure = String;

/// The kernel's side of one table, as far as it has told.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct FibReport {
    counts: FibCounts,
    /// Taken by [`Rib::poll_effects`] and not yet in the counts.
    taken: usize,
    /// Still to be taken.
    waiting: usize,
}

impl Rib {
    /// Takes up to `count` of the destinations that wait, longest waiting first.
    ///
    /// Until the next [`Rib::handle_fib_counts`] of their table they count as pending.
    pub fn poll_effects(&mut self, count: usize) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(count.min(self.waiting.len()));
        while effects.len() < count
            && let Some((table, to)) = self.waiting.pop_front()
        {
            let (status, _) = self.way(table, to);
            let mut wish = None;
            if let Some(found) = self.tables.get_mut(&table) {
                if let Some(destination) = found.destinations.get_mut(&to) {
                    destination.waiting = false;
                    destination.fib = status;
                    wish = destination.wish;
                }
                found.drop_if_unused(to);
            }
            self.failures.remove(&(table, to));
            let report = self.fib.entry(table).or_default();
            report.waiting = report.waiting.saturating_sub(1);
            report.taken += 1;
            effects.push(Effect { table, to, wish });
        }
        if self.waiting.is_empty() {
            // A load of a million leaves room for as many behind.
            self.waiting.shrink_to(count);
        }
        effects
    }

    /// Whether any destination waits, or [`Rib::poll_link_news`] has something to tell.
    pub fn has_effects(&self) -> bool {
        !self.waiting.is_empty() || self.groups.has_news() || self.has_link_news()
    }

    /// The kernel took a destination's best route, or refused it with these words.
    pub fn handle_fib(
        &mut self,
        table: TableId,
        to: Prefix,
        status: FibStatus,
        error: Option<String>,
    ) {
        let Some(destination) =
            self.tables.get_mut(&table).and_then(|table| table.destinations.get_mut(&to))
        else {
            return;
        };
        if destination.waiting {
            // What the kernel answered to is not what is wished any more; the answer to that comes.
            return;
        }
        match (status, destination.fib) {
            // Nothing was wished for, and there is nothing: the reason stays the better answer.
            (FibStatus::None, FibStatus::Ineligible | FibStatus::Suppressed) => {}
            _ => destination.fib = status,
        }
        match error {
            Some(words) => self.failures.insert((table, to), words),
            None => self.failures.remove(&(table, to)),
        };
        self.note_answer(table, to);
    }

    /// How far the kernel is with a table, after everything taken so far was taken into account.
    pub fn handle_fib_counts(&mut self, table: TableId, counts: FibCounts) {
        let report = self.fib.entry(table).or_default();
        report.counts = counts;
        report.taken = 0;
        self.groups.taken = false;
    }

    /// How many destinations of a table are how far.
    pub fn fib_counts(&self, table: TableId) -> FibCounts {
        let Some(report) = self.fib.get(&table) else { return FibCounts::default() };
        // Which destinations a lost link or a group has is not looked for.
        let unknown =
            usize::from(self.has_link_news() || self.groups.has_news() || self.groups.taken);
        let known = report.counts.pending + report.taken + report.waiting;
        let pending = known.max(unknown);
        FibCounts { pending, ..report.counts }
    }

    /// The tables that go to the kernel, and where to.
    pub fn kernel_tables(&self) -> impl Iterator<Item = (TableId, KernelTable)> {
        self.tables.keys().filter_map(|id| Some((*id, self.policy.table(*id).ok()?.kernel_table?)))
    }

    /// Puts a destination on the list of what the kernel has to hear of.
    pub(super) fn queue(&mut self, id: TableId, to: Prefix) {
        if !self.policy.table(id).is_ok_and(|settings| settings.kernel_table.is_some()) {
            return;
        }
        let Some(destination) =
            self.tables.get_mut(&id).and_then(|table| table.destinations.get_mut(&to))
        else {
            return;
        };
        if !destination.waiting {
            destination.waiting = true;
            destination.fib = FibStatus::Pending;
            self.fib.entry(id).or_default().waiting += 1;
            self.waiting.push_back((id, to));
        }
    }
}
