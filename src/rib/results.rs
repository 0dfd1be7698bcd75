//! What the kernel made of routes, for owners that asked to be told.
//!
//! Each owner has a set of routes it is owed an answer about; what is told is read when it is taken.
//! So the set costs at most an entry for each of its routes, however often the kernel changes its
//! mind and however long the owner does not listen.

use serde::{Deserialize, Serialize};

use std::collections::BTreeSet;

use super::{Rib, arena::Slot};
use crate::model::{EntityId, FibStatus, Prefix, RouteId, TableId, View};

/// How far a route is in the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FibResult {
    /// The route.
    pub route: RouteId,
    /// How far; never [`FibStatus::Pending`], and [`FibStatus::None`] where another route is best.
    pub status: FibStatus,
    /// The kernel's words, if it refused the route or some of its next hops.
    pub error: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Results {
    /// Owners that have something to be told.
    pub(super) telling: BTreeSet<EntityId>,
    /// How many asked; nothing is noted while nobody did.
    listeners: usize,
}

impl Results {
    /// An owner is there that asked, or one that did not.
    pub(super) fn join(&mut self, asked: bool) {
        self.listeners += usize::from(asked);
    }

    /// It listens no more.
    pub(super) fn leave(&mut self, asked: bool) {
        self.listeners = self.listeners.saturating_sub(asked.into());
    }
}

impl Rib {
    /// Whether [`Rib::poll_fib_listeners`] has something to tell.
    pub fn has_fib_results(&self) -> bool {
        !self.results.telling.is_empty()
    }

    /// Whether anybody wants to hear what the kernel makes of routes.
    pub fn has_listeners(&self) -> bool {
        self.results.listeners > 0
    }

    /// The owners that have something to be told, with their connections, each until something new is
    /// noted or [`Rib::tell_results_again`] is called.
    pub fn poll_fib_listeners(&mut self) -> Vec<(EntityId, String)> {
        let owners = std::mem::take(&mut self.results.telling);
        let connection = |id: EntityId| {
            let entity = self.entities.active(id).ok()?;
            Some((id, entity.caller.bus_name.clone()))
        };
        owners.into_iter().filter_map(connection).collect()
    }

    /// Takes up to `count` of what an owner is to be told; if more is left, it is named again by
    /// [`Rib::poll_fib_listeners`].
    pub fn take_fib_results(&mut self, owner: EntityId, count: usize) -> Vec<FibResult> {
        let mut taken = Vec::new();
        if let Some(entity) = self.entities.active_mut(owner) {
            while taken.len() < count
                && let Some(slot) = entity.untold.pop_first()
            {
                taken.push(slot);
            }
            if !entity.untold.is_empty() {
                self.results.telling.insert(owner);
            }
        }
        let tell = |slot: Slot| {
            let view = self.view_route(slot)?;
            // Where the kernel has not answered yet, its answer is noted when it comes.
            (view.fib != FibStatus::Pending).then(|| FibResult {
                route: view.id,
                status: view.fib,
                error: view.fib_error.map(str::to_owned),
            })
        };
        taken.into_iter().filter_map(tell).collect()
    }

    /// A connection that was not told for want of an answer is heard from again.
    pub fn tell_results_again(&mut self, bus_name: &str) {
        let entities = self.entities.values();
        let owed = entities
            .filter(|entity| entity.caller.bus_name == bus_name && !entity.untold.is_empty());
        self.results.telling.extend(owed.map(|entity| entity.id));
    }

    /// The kernel answered about a destination: whose route is followed there is to be told.
    pub(super) fn note_answer(&mut self, table: TableId, to: Prefix) {
        if let Some(best) = self.followed_by_the_kernel(table, to) {
            self.note_result(best);
        }
    }

    /// The best route of the unicast view, while anybody wants to hear of it.
    pub(super) fn followed_by_the_kernel(&self, table: TableId, to: Prefix) -> Option<Slot> {
        if self.results.listeners == 0 {
            return None;
        }
        self.destination(table, to)?.best(View::UNICAST, &self.routes)
    }

    /// The route's owner is to be told of it, if it asked for that.
    pub(super) fn note_result(&mut self, slot: Slot) {
        let Some(owner) = self.routes.get(slot).map(|route| route.owner) else { return };
        if let Some(entity) = self.entities.active_mut(owner)
            && entity.terms.fib_results
            && entity.untold.insert(slot)
        {
            self.results.telling.insert(owner);
        }
    }
}
