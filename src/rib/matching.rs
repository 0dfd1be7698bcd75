//! Which routes are meant: criteria that a route fulfils or not.

use super::{Rib, destination::Destination, table::RouteView};
use crate::model::{
    EntityId, ErrorKind, InterfaceIndex, Metric, NextHopId, Preference, Prefix, Result, TableId,
    ViewSet,
};

/// What a route must be like; only the given criteria count (RTMv2 gap 38).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Match {
    /// Its owner.
    pub owner: Option<EntityId>,
    /// Its neighbour; the inner `None` matches a route without one.
    pub neighbour: Option<Option<NextHopId>>,
    /// Its preference and metric.
    pub preference: Option<(Preference, Metric)>,
    /// Next hops it must have, all of them.
    pub next_hops: Option<Vec<NextHopId>>,
    /// An interface one of its next hops must lead by, or name.
    pub interface: Option<InterfaceIndex>,
}

impl Rib {
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
        let in_views = views.is_empty() || !route.views.intersection(views).is_empty();
        let has_interface = |interface: InterfaceIndex| {
            view.next_hops.iter().any(|id| self.interface_of(*id) == Some(interface))
        };
        in_views
            && wanted.owner.is_none_or(|owner| route.owner == owner)
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
