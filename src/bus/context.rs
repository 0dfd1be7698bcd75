//! What all objects of the service know.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use zbus::{OwnedObjectPath, names::InterfaceName, wire::ObjectPath};

use super::{
    administration::Administration,
    clients::Clients,
    convert::enumeration_path,
    service::{Facts, FibState},
};
use crate::{
    model::{Caller, ErrorKind, FibCounts, Result},
    shared::SharedRib,
};

/// The RIB, the clients, and which private objects there are.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) rib: SharedRib,
    pub(super) clients: Clients,
    pub(super) facts: Facts,
    pub(super) administration: Administration,
    /// Whether the kernel was in step since the start.
    in_step: AtomicBool,
    enumerations: Mutex<HashMap<OwnedObjectPath, OpenEnumeration>>,
    last_enumeration: AtomicU64,
}

#[derive(Debug)]
struct OpenEnumeration {
    owner: String,
    interface: InterfaceName<'static>,
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
            facts,
            administration,
            in_step: AtomicBool::new(false),
            enumerations: Mutex::default(),
            last_enumeration: AtomicU64::new(0),
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
        } else if counts.iter().any(|counts| counts.failed > 0) {
            FibState::Degraded
        } else {
            FibState::Synced
        }
    }

    /// The kernel is in step for the first time: from now on the counts tell.
    pub(super) fn set_in_step(&self) {
        self.in_step.store(true, Ordering::Relaxed);
    }

    /// A path for an enumeration of the caller.
    ///
    /// # Errors
    /// `NoSystemResources` when the caller, or all clients together, have too many open.
    pub(super) fn open_enumeration(
        &self,
        caller: &Caller,
        interface: InterfaceName<'static>,
    ) -> Result<OwnedObjectPath> {
        let limits = self.rib.with(|rib| rib.policy().limits);
        let mut open = self.enumerations();
        let own = open.values().filter(|known| known.owner == caller.bus_name).count();
        if own >= limits.enumerations_per_client as usize {
            return Err(ErrorKind::NoSystemResources
                .because(format_args!("{own} enumerations are open, the most for one client")));
        }
        if open.len() >= limits.enumerations as usize {
            return Err(ErrorKind::NoSystemResources
                .because(format_args!("{} enumerations are open, the most of all", open.len())));
        }
        let path = enumeration_path(self.last_enumeration.fetch_add(1, Ordering::Relaxed) + 1);
        let owner = caller.bus_name.clone();
        open.insert(path.clone(), OpenEnumeration { owner, interface });
        Ok(path)
    }

    /// Forgets an enumeration; its interface, if it was there.
    pub(super) fn close_enumeration(
        &self,
        path: &ObjectPath<'_>,
    ) -> Option<InterfaceName<'static>> {
        let path = OwnedObjectPath::from(path.to_owned());
        self.enumerations().remove(&path).map(|open| open.interface)
    }

    /// The enumerations of a connection.
    pub(super) fn enumerations_of(&self, bus_name: &str) -> Vec<OwnedObjectPath> {
        let open = self.enumerations();
        let own = open.iter().filter(|(_, known)| known.owner == bus_name);
        own.map(|(path, _)| path.clone()).collect()
    }

    fn enumerations(&self) -> MutexGuard<'_, HashMap<OwnedObjectPath, OpenEnumeration>> {
        self.enumerations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
