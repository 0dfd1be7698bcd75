//! The RIB as several tasks use it: lock, call, wake.
//!
//! The lock is held for one call or one batch, never across an `await`. Whoever carries out what
//! the core decided waits in one of the futures here.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::Notify;

use crate::{
    journal::{Journal, ledger::Ledger},
    rib::{Progress, Rib, Waste},
};

/// A handle to the one RIB of the service.
#[derive(Clone, Debug)]
pub struct SharedRib(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    alarm: Notify,
    effects: Notify,
    news: Notify,
    sooner: Notify,
    unfinished: Notify,
}

/// The RIB, and where what happens to it is kept.
#[derive(Debug)]
struct Kept {
    ledger: Ledger,
    journal: Option<Journal>,
}

/// How many items of some work are dealt with under one lock, so that the kernel is written to and
/// clients are answered meanwhile.
pub const SLICE: usize = 512;

impl SharedRib {
    /// Shares a RIB that ends with the process.
    pub fn new(rib: Rib) -> Self {
        Self::sharing(Kept { ledger: Ledger::new(rib, 0).without_notes(), journal: None })
    }

    /// Shares a RIB of which each command is kept before [`SharedRib::with`] returns.
    pub fn kept(ledger: Ledger, journal: Journal) -> Self {
        Self::sharing(Kept { ledger, journal: Some(journal) })
    }

    fn sharing(kept: Kept) -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::new(kept),
            alarm: Notify::new(),
            effects: Notify::new(),
            news: Notify::new(),
            sooner: Notify::new(),
            unfinished: Notify::new(),
        }))
    }

    /// Runs `f` on the RIB, then wakes those who carry out what there is to carry out.
    pub fn with<T>(&self, f: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { ledger: rib, journal } = &mut *kept;
        let deadline = rib.next_deadline();
        let value = f(rib);
        if let Some(journal) = journal {
            journal.keep(rib);
        }
        let alarm = rib.has_group_news();
        let effects = rib.has_effects();
        let news = rib.has_wake_ups()
            || rib.has_questions()
            || rib.has_fib_results()
            || rib.has_departed();
        let next = rib.next_deadline();
        let sooner = next.is_some_and(|next| deadline.is_none_or(|deadline| next < deadline));
        let unfinished = rib.has_reelections();
        let waste = rib.poll_waste();
        drop(kept);
        free(waste);
        for (due, who) in [
            (alarm, &self.0.alarm),
            (effects, &self.0.effects),
            (news, &self.0.news),
            (sooner, &self.0.sooner),
            (unfinished, &self.0.unfinished),
        ] {
            if due {
                who.notify_one();
            }
        }
        value
    }

    /// Runs a part of some work on the RIB until it is done, each time for this many items, and lets
    /// the others have their turns in between.
    pub async fn in_slices(&self, mut f: impl FnMut(&mut Ledger, usize) -> Progress) {
        while self.with(|rib| f(rib, SLICE)) == Progress::Unfinished {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is news of links or groups, which concerns many destinations at once.
    pub async fn alarmed(&self) {
        self.0.alarm.notified().await;
    }

    /// Waits until the kernel has to hear of a destination.
    pub async fn woken(&self) {
        self.0.effects.notified().await;
    }

    /// Waits until a client has to hear of something.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Waits until there are routes to be elected again that did not fit under one lock.
    pub async fn unfinished(&self) {
        self.0.unfinished.notified().await;
    }

    /// Waits until the next deadline is an earlier one than before.
    pub async fn sooner(&self) {
        self.0.sooner.notified().await;
    }
}

/// Frees what is not needed any more, beside everybody else when it is much.
fn free(waste: Waste) {
    /// Items that are freed in less time than a thread takes to start.
    const FEW: usize = 1000;
    if waste.items() > FEW {
        // Without a thread it is freed here.
        let _ = thread::Builder::new().name("waste".to_owned()).spawn(move || drop(waste));
    }
}
