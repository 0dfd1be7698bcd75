//! The RIB as several tasks use it: lock, call, wake.
//!
//! The lock is held for one call or one batch, never across an `await`. Whoever carries out what
//! the core decided waits in [`SharedRib::woken`].

use std::{
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

use crate::{
    model::{Moment, Now, Timestamp},
    rib::Rib,
};

/// A handle to the one RIB of the service.
#[derive(Clone, Debug)]
pub struct SharedRib(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rib: Mutex<Rib>,
    wake: Notify,
}

impl SharedRib {
    /// Shares the RIB.
    pub fn new(rib: Rib) -> Self {
        Self(Arc::new(Shared { rib: Mutex::new(rib), wake: Notify::new() }))
    }

    /// Runs `f` on the RIB, then wakes the daemon if there is something to carry out.
    pub fn with<T>(&self, f: impl FnOnce(&mut Rib) -> T) -> T {
        let mut rib = self.0.rib.lock().unwrap_or_else(PoisonError::into_inner);
        let value = f(&mut rib);
        let has_effects = rib.has_effects();
        drop(rib);
        if has_effects {
            self.0.wake.notify_one();
        }
        value
    }

    /// Waits until there is something to carry out.
    pub async fn woken(&self) {
        self.0.wake.notified().await;
    }
}

/// The time by both clocks, for what the core is told.
pub fn now() -> Now {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    let microseconds = |since: Duration| u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    Now {
        time: Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, microseconds)),
        moment: Moment(microseconds(BEGINNING.elapsed())),
    }
}
