//! Which routes are meant: criteria that a route fulfils or not.

use serde::{Deserialize, Serialize};

use std::ops::Bound;

use super::{
    Rib, administration::Progress, arena::Slot, destination::Destination, table::RouteView,
};
use crate::model::{
    EntityId, ErrorKind, InterfaceIndex, Metric, NextHopId, Now, Preference, Prefix, Protocol,
    Result, RouteState, TableId, ViewSet,
};

/// What a route must be like; only the given criteria count (RTMv2 gap 38).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Match {
    /// Its owner.
    pub owner: Option<EntityId>,
    /// Its owner's protocol.
    pub protocol: Option<Protocol>,
    /// Its neighbour; the inner `None` matches a route without one.
    pub neighbour: Option<Option<NextHopId>>,
    /// Its preference and metric.
    pub preference: Option<(Preference, Metric)>,
    /// Next hops it must have, all of them.
    pub next_hops: Option<Vec<NextHopId>>,
    /// An interface one of its next hops must lead by, or name.
    pub interface: Option<InterfaceIndex>,
}

/// The withdrawal of those routes of an entity that fulfil some criteria (`RtmBlockDeleteRoutes`).
#[derive(Debug, Deserialize, Serialize)]
pub struct Selection {
    owner: EntityId,
    wanted: Match,
    to: Option<Prefix>,
    /// The last route looked at.
    last: Option<Slot>,
    /// How many have been withdrawn so far.
    pub deleted: u64,
}

impl Selection {
    /// Of the routes of `owner`, with `to` only those to that prefix.
    pub fn new(owner: EntityId, wanted: Match, to: Option<Prefix>) -> Self {
        Self { owner, wanted, to, last: None, deleted: 0 }
    }
}

impl Rib {
    /// Checks criteria, which are compared with many routes.
    ///
    /// # Errors
    /// `InvalidParameter` for more next hops than a route can have, or one that is listed twice.
    pub fn check_match(&self, wanted: &Match) -> Result<()> {
        self.check_listed(wanted.next_hops.as_deref().unwrap_or_default().iter())
    }

    /// Looks at up to `count` more routes and withdraws those selected (RTMv2 row V1-11). Whoever
    /// follows changes in order is told, the owner too.
    pub fn delete_selected(&mut self, work: &mut Selection, count: usize, now: Now) -> Progress {
        let Some(owner) = self.entities.known(work.owner) else { return Progress::Complete };
        let from = work.last.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<Slot> =
            owner.routes.range((from, Bound::Unbounded)).take(count).copied().collect();
        work.last = some.last().copied();
        let is_selected = |slot: &Slot| {
            self.view_route(*slot).is_some_and(|view| {
                work.to.is_none_or(|to| view.route.to == to)
                    && self.is_match(&view, &work.wanted, ViewSet::NONE)
            })
        };
        let selected: Vec<Slot> = some.iter().copied().filter(is_selected).collect();
        for slot in selected {
            self.remove_route(slot, None, now);
            work.deleted += 1;
        }
        if some.len() < count { Progress::Complete } else { Progress::Unfinished }
    }

    /// The first route to exactly this prefix, in order of rank, that is offered in one of the views
    /// (none for any) and fulfils all criteria (RTMv2 rows LKP-13 to LKP-17).
    ///
    /// # Errors
    /// `NotFound` when there is none, `NotSupported` for a view the table has not.
    pub fn exact_match_route(
        &self,
        table: TableId,
        prefix: Prefix,
        wanted: &Match,
        views: ViewSet,
    ) -> Result<RouteView<'_>> {
        let views = self.check_look(table, prefix, views)?;
        let slots = self.destination(table, prefix).map_or(&[][..], Destination::routes);
        let mut routes = slots.iter().filter_map(|slot| self.view_route(*slot));
        routes.find(|view| self.is_match(view, wanted, views)).ok_or_else(|| {
            ErrorKind::NotFound
                .because(format_args!("no route to exactly {prefix} in these views is like that"))
        })
    }

    pub(super) fn is_match(&self, view: &RouteView<'_>, wanted: &Match, views: ViewSet) -> bool {
        let route = view.route;
        // A walk may come to a route that is held by now; then it is in no view.
        let in_views = views.is_empty()
            || route.state == RouteState::Created && !route.views.intersection(views).is_empty();
        let has_interface = |interface: InterfaceIndex| {
            view.next_hops.iter().any(|id| self.has_interface(*id, interface))
        };
        in_views
            && wanted.owner.is_none_or(|owner| route.owner == owner)
            && wanted.protocol.is_none_or(|protocol| route.protocol == protocol)
            && wanted.neighbour.is_none_or(|neighbour| route.neighbour == neighbour)
            && wanted.preference.is_none_or(|(preference, metric)| {
                (route.rank.preference, route.rank.metric) == (preference, metric)
            })
            && wanted
                .next_hops
                .as_ref()
                .is_none_or(|all| all.iter().all(|id| view.next_hops.contains(id)))
            && wanted.interface.is_none_or(has_interface)
    }
}
