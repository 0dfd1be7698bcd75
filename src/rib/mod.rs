//! The routing information base: who offers what, which is best, who must hear of it.
//!
//! No IO, no clock, no async: time is an argument, and what is to be done outside is taken with
//! `poll_*`. Four kinds of method, told apart by name:
//!
//! * verbs are a client's commands (`add_route`); they are done or refused, never half;
//! * `handle_*` is news from the world (`handle_link`);
//! * `poll_*` hands out work for the world (`poll_effects`);
//! * nouns look (`route`, `entities`).
//!
//! Each file holds one concept: its data, its rules, and the commands of [`Rib`] about it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "a test that panics has failed, which is its purpose"
    )
)]

mod administration;
mod admission;
mod anew;
mod arena;
mod changes;
mod deadlines;
mod destination;
mod effects;
mod election;
mod entities;
mod explain;
mod foreign;
mod grants;
mod groups;
mod hold;
mod linger;
mod lists;
mod matching;
mod methods;
mod nexthops;
mod offer;
mod opaque;
mod policy;
mod recursion;
mod reelection;
mod resolve;
mod results;
mod rights;
mod route;
mod routes;
mod statics;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod walk;
mod waste;
mod whom;

use serde::{Deserialize, Serialize};

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

pub use administration::{Progress, Reapplication, Requeue};
pub use changes::{BestChange, RouteSnapshot, Subscription, WakeUp};
pub use deadlines::{Question, Verdict};
pub use effects::Effect;
pub use entities::{Entity, Profile, Registration, Tenure, Terms, Withdrawal};
pub use explain::{Candidate, ExplainedNextHop, Explanation};
pub use foreign::{ForeignRoute, ForeignWay, QUIET};
pub use grants::{Deed, Grant, Grants, Prefixes, Right};
pub use groups::{Fate, GroupNews};
pub use linger::Sweep;
pub use matching::{Match, Selection};
pub use methods::{Invocation, Target};
pub use nexthops::{NextHop, NextHopOffer, NextHopView, NextHopWalk};
pub use offer::{Amendment, InlineNextHop, Offer, OfferedNextHops};
pub use policy::{
    Import, Imports, Instance, InstanceSettings, Levels, Limits, Policy, StoppedUnit, ViaDefault,
    Viability,
};
pub use resolve::LinkNews;
pub use results::FibResult;
pub use rights::{Case, Ruling, StaticPlace};
pub use route::Route;
pub use statics::{
    StaticChange, StaticKey, StaticMatch, StaticNextHop, StaticRoute, StaticView, StaticsConfigured,
};
pub use table::{Best, DestinationFlags, DestinationView, LookUp, RouteView, ViewRecord};
pub use walk::{Start, Walk, WalkSettings};
pub use waste::Waste;
pub use whom::{Credentials, Mismatch, Standing, Unit, Whom};

use crate::model::{EntityId, Prefix, TableId, Turn};

/// All tables, all entities, and what waits to be told to the kernel.
#[derive(Debug, Deserialize, Serialize)]
pub struct Rib {
    policy: Policy,
    tables: BTreeMap<TableId, table::Table>,
    entities: entities::Entities,
    /// Of all tables, so that an id is never another table's route.
    routes: arena::Arena<Route>,
    next_hops: nexthops::NextHops,
    statics: statics::Statics,
    foreign: foreign::Foreign,
    links: resolve::Links,
    /// Routes that would lean on themselves, with the next hops by which they would.
    denied: recursion::Denied,
    /// For whoever keeps the kernel's table.
    link_news: LinkNews,
    /// Tables whose routes an administrator keeps out of the kernel for now.
    withheld: BTreeSet<TableId>,
    /// Destinations the kernel has to hear of; the flag in the destination keeps each single.
    waiting: VecDeque<(TableId, Prefix)>,
    fib: BTreeMap<TableId, effects::FibReport>,
    /// The kernel's words about destinations it refused; few, so not in the destination.
    failures: HashMap<(TableId, Prefix), effects::Failure>,
    groups: groups::Groups,
    reelections: reelection::Reelections,
    turn: Turn,
    deadlines: deadlines::Deadlines,
    /// Entities that have to be asked about routes that expired.
    inquiring: BTreeSet<EntityId>,
    /// Entities whose time to linger is over, and of whose end the bus has to hear.
    #[serde(skip)]
    departed: Vec<EntityId>,
    notifications: changes::Notifications,
    lists: lists::Lists,
    cells: opaque::Cells,
    results: results::Results,
    /// What ended and is still to be freed.
    #[serde(skip)]
    waste: Waste,
}

impl Rib {
    /// An empty RIB with a table for each family of each usable instance.
    pub fn new(policy: Policy) -> Self {
        let mut tables = BTreeMap::new();
        for (instance, configured) in &policy.instances {
            if let Instance::Ready(settings) = configured {
                for family in settings.families.keys() {
                    let id = TableId { instance: *instance, family: *family };
                    tables.insert(id, table::Table::default());
                }
            }
        }
        Self {
            policy,
            tables,
            entities: entities::Entities::default(),
            routes: arena::Arena::default(),
            next_hops: nexthops::NextHops::default(),
            statics: statics::Statics::default(),
            foreign: foreign::Foreign::default(),
            links: resolve::Links::default(),
            denied: recursion::Denied::new(),
            link_news: LinkNews::default(),
            withheld: BTreeSet::new(),
            waiting: VecDeque::new(),
            fib: BTreeMap::new(),
            failures: HashMap::new(),
            groups: groups::Groups::default(),
            reelections: reelection::Reelections::default(),
            turn: Turn(0),
            deadlines: deadlines::Deadlines::default(),
            inquiring: BTreeSet::new(),
            departed: Vec::new(),
            notifications: changes::Notifications::default(),
            lists: lists::Lists::default(),
            cells: opaque::Cells::default(),
            results: results::Results::default(),
            waste: Waste::default(),
        }
    }

    /// What is configured.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The tables there are.
    pub fn tables(&self) -> impl Iterator<Item = TableId> {
        self.tables.keys().copied()
    }
}
