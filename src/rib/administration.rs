//! What an administrator changes while all runs: levels, limits, whether routes go to the kernel.
//!
//! What concerns every route of a protocol or a table is done in slices, between which clients and
//! the kernel have their turn; what comes meanwhile is treated by the new word already. None of it
//! outlives the service: what shall last is in the configuration file.

use serde::{Deserialize, Serialize};

use std::collections::VecDeque;

use super::{Rib, Right, arena::Slot, policy::Policy};
use crate::model::{
    Change, EntityId, ErrorKind, Now, Preference, Prefix, Protocol, Result, TableId,
};

/// How far giving a protocol's routes its level has come.
#[derive(Debug, Deserialize, Serialize)]
pub struct Reapplication {
    owners: VecDeque<EntityId>,
    /// The last route of the first owner that was looked at.
    last: Option<Slot>,
}

/// How far telling the kernel of all destinations of a table has come.
#[derive(Debug, Deserialize, Serialize)]
pub struct Requeue {
    table: TableId,
    last: Option<Prefix>,
}

/// Whether work in slices goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more to do.
    Unfinished,
    /// That was all.
    Complete,
}

impl Rib {
    /// Gives a protocol a level, or with level 0 takes its own away (RTMv2 row BEST-16).
    ///
    /// It counts for routes that are added or updated from now on; for the others it takes
    /// [`Rib::reapply`].
    pub fn set_level(&mut self, protocol: Protocol, level: Preference) {
        if self.policy.levels.set(protocol, level).is_err() {
            self.policy.levels.forget(protocol);
        }
    }

    /// Begins to rank the routes of a protocol by its level.
    pub fn reapplication(&self, protocol: Protocol) -> Reapplication {
        let of_protocol = self.entities.values().filter(|entity| entity.key.protocol == protocol);
        Reapplication { owners: of_protocol.map(|entity| entity.id).collect(), last: None }
    }

    /// Ranks up to `count` more routes by the level of their protocol.
    pub fn reapply(&mut self, work: &mut Reapplication, count: usize, now: Now) -> Progress {
        let Some(owner) = work.owners.front().copied() else { return Progress::Complete };
        let from = work.last.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let some: Vec<Slot> = match self.entities.known(owner) {
            Some(owner) => {
                let rest = owner.routes.range((from, std::ops::Bound::Unbounded));
                rest.take(count).copied().collect()
            }
            None => Vec::new(),
        };
        work.last = some.last().copied();
        if some.len() < count {
            work.owners.pop_front();
            work.last = None;
        }
        for slot in some {
            self.rank_again(slot, now);
        }
        if work.owners.is_empty() { Progress::Complete } else { Progress::Unfinished }
    }

    /// Ranks a route by the level its protocol has now. It keeps its turn: its age among routes that
    /// are its equals now is the one it had.
    fn rank_again(&mut self, slot: Slot, now: Now) {
        let Some(route) = self.routes.get(slot) else { return };
        let preference = self.preference(route.owner, route.protocol, route.wanted);
        if preference == route.rank.preference {
            return;
        }
        let (id, to, views, was_best) = (route.table, route.to, route.views, route.best_in);
        let before = self.before(id, to);
        if let Some(route) = self.routes.get_mut(slot) {
            route.rank.preference = preference;
        }
        if let Some(destination) =
            self.tables.get_mut(&id).and_then(|table| table.destinations.get_mut(&to))
        {
            destination.place(slot, &self.routes);
        }
        self.touch(id, to, now);
        let best = was_best.union(self.elect(id, to));
        self.record((id, to), before, None);
        self.note(id, to, Change { all: views, best, forwarding: best });
    }

    /// Puts the levels, limits and grants of a new configuration in force. An entity that no grant allows any
    /// more keeps what it has, and can only take it back.
    ///
    /// # Errors
    /// `NotSupported` when its instances are others, because tables are made when the service starts.
    pub fn reconfigure(&mut self, policy: Policy) -> Result<()> {
        let Policy { instances, levels, limits, stopped_unit, grants } = policy;
        if instances != self.policy.instances {
            return Err(ErrorKind::NotSupported.because(
                "an [[instance]] section has changed, which takes a restart; nothing was changed",
            ));
        }
        (self.policy.levels, self.policy.limits) = (levels, limits);
        (self.policy.stopped_unit, self.policy.grants) = (stopped_unit, grants);
        for entity in self.entities.values_mut() {
            let right =
                self.policy.grants.right(entity.caller.uid, &entity.credentials, entity.key);
            entity.right = right.unwrap_or(Right::Nothing);
        }
        Ok(())
    }

    /// Whether a table's routes go to the kernel (RTMv2 row FWD-06).
    pub fn is_pushed(&self, table: TableId) -> bool {
        let to_kernel = |id| self.policy.table(id).is_ok_and(|of| of.kernel_table.is_some());
        to_kernel(table) && !self.withheld.contains(&table)
    }

    /// Says whether a table's routes go to the kernel; for those that are or are not there it takes
    /// [`Rib::requeue`] until that is complete.
    ///
    /// # Errors
    /// `NotSupported` for a table that the configuration keeps out of the kernel.
    pub fn set_pushed(&mut self, table: TableId, pushed: bool) -> Result<Requeue> {
        let to_kernel = self.policy.table(table)?.kernel_table.is_some();
        if pushed && !to_kernel {
            return Err(ErrorKind::NotSupported.because(format_args!(
                "table {table} is kept out of the kernel by the configuration (fib = false)"
            )));
        }
        if pushed {
            self.withheld.remove(&table);
        } else {
            self.withheld.insert(table);
        }
        Ok(Requeue { table, last: None })
    }

    /// Has the kernel hear of up to `count` more destinations.
    pub fn requeue(&mut self, work: &mut Requeue, count: usize) -> Progress {
        let Some(table) = self.tables.get(&work.table) else { return Progress::Complete };
        let destinations = &table.destinations;
        let some: Vec<Prefix> = match work.last {
            None => destinations.iter().map(|(to, _)| to).take(count).collect(),
            Some(last) => {
                destinations.iter_from(&last, false).map(|(to, _)| to).take(count).collect()
            }
        };
        work.last = some.last().copied();
        let progress = if some.len() < count { Progress::Complete } else { Progress::Unfinished };
        for to in some {
            self.settle_wish(work.table, to);
        }
        progress
    }
}
