//! The routes to one prefix, and the rule by which one of them is best in each view.
//!
//! The rule, weightiest first: viable before not viable, lower preference, lower metric, the
//! incumbent, the longer in its place. A route is viable when packets can follow it now: it is
//! special (blackhole, unreachable, prohibit) or one of its next hops leads to an interface that
//! is up. Where no candidate is viable the best by rank stays best, and the kernel gets nothing. An
//! instance can be configured to leave viability out of account.
//!
//! A destination does not store who is best: each route carries the views it is best in, so the
//! best of a view is the candidate that says so. The list is in order of rank, which viability and
//! incumbency do not touch.

use serde::{Deserialize, Serialize};

use smallvec::SmallVec;

use super::{
    arena::{Arena, Slot},
    hold::Hold,
    policy::Viability,
    route::Route,
};
use crate::model::{
    EntityId, FibStatus, Metric, Preference, Protocol, Rank, Timestamp, Turn, View, ViewSet, Wish,
};

/// A prefix's candidates and how far the best one is in the kernel.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Destination {
    /// Best rank first.
    routes: SmallVec<[Slot; 4]>,
    pub(super) changed: Timestamp,
    /// What packets are to follow, as the kernel's list has it.
    pub(super) wish: Option<Wish>,
    pub(super) fib: FibStatus,
    /// What is marked for hold-down or held.
    pub(super) hold: Option<Box<Hold>>,
    /// Whether it is already on the list of what the kernel has to hear of.
    pub(super) waiting: bool,
}

/// What choosing again came to.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Election {
    /// The views whose best route is another one now, or none.
    pub(super) moved: ViewSet,
    /// Owners of routes that are best somewhere now and were nowhere before.
    pub(super) gained: SmallVec<[EntityId; 2]>,
    /// Owners of routes that are best nowhere now and were somewhere before.
    pub(super) lost: SmallVec<[EntityId; 2]>,
}

/// What a route has to say for itself in a view, weightiest first; the smallest claim wins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Claim {
    pub(super) leads_nowhere: bool,
    pub(super) preference: Preference,
    pub(super) metric: Metric,
    pub(super) newcomer: bool,
    pub(super) turn: Turn,
}

impl Claim {
    pub(super) fn of(route: &Route, view: View, viability: Viability) -> Self {
        let Rank { preference, metric, turn } = route.rank;
        Self {
            leads_nowhere: viability == Viability::First && !route.viable,
            preference,
            metric,
            newcomer: !route.best_in.contains(view),
            turn,
        }
    }
}

impl Destination {
    /// The candidates, best rank first.
    pub(super) fn routes(&self) -> &[Slot] {
        &self.routes
    }

    /// Whether it is one, or only remembered until the kernel was told that it is none any more.
    pub(super) fn exists(&self) -> bool {
        !self.routes.is_empty() || self.is_holding()
    }

    pub(super) fn is_holding(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.is_running())
    }

    /// Puts a route into its place by rank, new or after its rank changed.
    pub(super) fn place(&mut self, slot: Slot, routes: &Arena<Route>) {
        self.remove(slot);
        let rank = |slot: &Slot| routes.get(*slot).map(|route| route.rank);
        let place = self.routes.partition_point(|other| rank(other) < rank(&slot));
        self.routes.insert(place, slot);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.routes.retain(|other| *other != slot);
    }

    /// The best route of the view.
    pub(super) fn best(&self, view: View, routes: &Arena<Route>) -> Option<Slot> {
        let is_best = |slot: &&Slot| routes.get(**slot).is_some_and(|r| r.best_in.contains(view));
        self.routes.iter().find(is_best).copied()
    }

    /// The best route of the view among those of one protocol (RTMv2 rows BEST-10 and BEST-12).
    pub(super) fn best_of(
        &self,
        protocol: Protocol,
        view: View,
        viability: Viability,
        routes: &Arena<Route>,
    ) -> Option<Slot> {
        self.elect_one(view, viability, routes, |route| route.protocol == protocol)
    }

    /// The views that any candidate is offered in.
    pub(super) fn views(&self, routes: &Arena<Route>) -> ViewSet {
        let views = self.routes.iter().filter_map(|slot| routes.get(*slot)).map(|r| r.views);
        views.fold(ViewSet::NONE, ViewSet::union)
    }

    /// Chooses the best route of every view again.
    pub(super) fn elect(
        &self,
        (views, viability): (ViewSet, Viability),
        routes: &mut Arena<Route>,
    ) -> Election {
        let mut election = Election::default();
        for view in views.iter() {
            let incumbent = self.best(view, routes);
            let winner = self.elect_one(view, viability, routes, |_| true);
            if winner == incumbent {
                continue;
            }
            election.moved = election.moved.union(view.only());
            if let Some(route) = incumbent.and_then(|slot| routes.get_mut(slot)) {
                route.best_in = route.best_in.without(view.only());
                if route.best_in.is_empty() {
                    election.lost.push(route.owner);
                }
            }
            if let Some(route) = winner.and_then(|slot| routes.get_mut(slot)) {
                if route.best_in.is_empty() {
                    election.gained.push(route.owner);
                }
                route.best_in = route.best_in.union(view.only());
            }
        }
        election
    }

    /// The best route of the view among those that are eligible.
    pub(super) fn elect_one(
        &self,
        view: View,
        viability: Viability,
        routes: &Arena<Route>,
        eligible: impl Fn(&Route) -> bool,
    ) -> Option<Slot> {
        let candidates = self.routes.iter().filter_map(|slot| Some((*slot, routes.get(*slot)?)));
        candidates
            .filter(|(_, route)| route.views.contains(view) && eligible(route))
            .min_by_key(|(_, route)| Claim::of(route, view, viability))
            .map(|(slot, _)| slot)
    }
}
