//! What all objects of the service know.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    administration::Administration,
    clients::Clients,
    methods::Methods,
    news::{Credit, Inquiries},
    polkit::Polkit,
    queue::Queues,
    service::{Facts, FibState},
};
use crate::{model::FibCounts, shared::SharedRib};

/// The RIB, the clients, and what each is owed.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) rib: SharedRib,
    pub(super) clients: Clients,
    pub(super) queues: Queues,
    pub(super) facts: Facts,
    pub(super) administration: Administration,
    pub(super) changing_static_routes: tokio::sync::Mutex<()>,
    /// Whether the kernel was in step since the start.
    in_step: AtomicBool,
    pub(super) credit: Credit,
    pub(super) inquiries: Inquiries,
    pub(super) methods: Methods,
    pub(super) polkit: Polkit,
}

impl Context {
    pub(super) fn new(
        rib: SharedRib,
        clients: Clients,
        facts: Facts,
        administration: Administration,
    ) -> Self {
        Self {
            rib,
            clients,
            queues: Queues::default(),
            facts,
            administration,
            changing_static_routes: tokio::sync::Mutex::default(),
            in_step: AtomicBool::new(false),
            credit: Credit::default(),
            inquiries: Inquiries::default(),
            methods: Methods::new(),
            polkit: Polkit::new(),
        }
    }

    /// How the kernel stands at this moment.
    pub(super) fn fib_state(&self) -> FibState {
        if !self.in_step.load(Ordering::Relaxed) {
            return FibState::Syncing;
        }
        let counts: Vec<FibCounts> = self.rib.with(|rib| {
            let tables: Vec<_> = rib.tables().collect();
            tables.into_iter().map(|table| rib.fib_counts(table)).collect()
        });
        if counts.iter().any(|counts| counts.pending > 0) {
            FibState::Syncing
        } else if counts.iter().any(|counts| counts.failed > 0)
            || self.facts.is_blind.load(Ordering::Relaxed)
        {
            FibState::Degraded
        } else {
            FibState::Synced
        }
    }

    /// The kernel is in step for the first time: from now on the counts tell.
    pub(super) fn set_in_step(&self) {
        self.in_step.store(true, Ordering::Relaxed);
    }
}
