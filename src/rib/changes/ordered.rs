//! Changes of best routes one by one, in the order they happened, as RTMv1 tells them.
//!
//! An ordered registration keeps each as it was, not as it is when it is fetched; what a route was
//! is kept once for all registrations. What a client does itself is not told to its own
//! registrations (RTMv2 row V1-08).

use serde::{Deserialize, Serialize};

use std::{collections::VecDeque, sync::Arc};

use super::Notification;
use crate::{
    model::{
        EntityId, ErrorKind, FibStatus, NextHopId, NotificationId, Prefix, Result, RouteId,
        TableId, View,
    },
    rib::{Rib, Route, RouteView},
};

/// A change of the best route of a destination in one view.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BestChange {
    /// The destination.
    pub to: Prefix,
    /// The view.
    pub view: View,
    /// The best route from then on.
    pub current: Option<Arc<RouteSnapshot>>,
    /// The best route until then.
    pub previous: Option<Arc<RouteSnapshot>>,
}

/// A route as it was.
#[derive(Debug, Deserialize, Serialize)]
pub struct RouteSnapshot {
    id: RouteId,
    route: Route,
    next_hops: Box<[NextHopId]>,
}

/// The best routes of a destination before something happens to it, where anybody keeps count.
#[derive(Debug)]
pub(in crate::rib) struct Before(Vec<(View, Arc<RouteSnapshot>)>);

impl RouteSnapshot {
    /// The route as it looked then.
    pub fn view(&self) -> RouteView<'_> {
        RouteView {
            id: self.id,
            route: &self.route,
            next_hops: &self.next_hops,
            list: None,
            fib: FibStatus::None,
            fib_error: None,
            stale: false,
            held_until: None,
        }
    }

    /// Whether there is a difference that an ordered registration tells (RTMv2 row V1-10).
    fn differs(&self, other: &Self) -> bool {
        self.id != other.id
            || self.route.flags != other.route.flags
            || self.route.cost() != other.route.cost()
            || self.next_hops != other.next_hops
    }
}

impl Rib {
    /// Takes up to `count` changes of best routes in the order they happened, and says whether these
    /// were the last (RTMv2 rows V1-08 to V1-10).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not ordered or not there, `InvalidParameter` for a
    /// count of 0 or more than the page limit, `NoSystemResources`, once, when changes were lost.
    pub fn best_changes(
        &mut self,
        table: TableId,
        id: NotificationId,
        count: u32,
    ) -> Result<(Vec<BestChange>, bool)> {
        let count = self.check_page(count)?;
        self.notifications.change(table, id, |found| {
            if !found.is_ordered() {
                return Err(ErrorKind::InvalidHandle
                    .because("the registration keeps no order, flag 0x20000 asks for it"));
            }
            if let Some(lost) = found.tell_lost() {
                return Err(ErrorKind::NoSystemResources.because(format_args!(
                    "{lost} changes were not fetched in time and are lost: read the table anew"
                )));
            }
            let some = found.ordered.len().min(count);
            let page: Vec<_> = found.ordered.drain(..some).collect();
            found.told.ordered.clone_from(&page);
            let done = found.ordered.is_empty();
            if done {
                found.ordered = VecDeque::new();
            }
            Ok((page, done))
        })?
    }

    /// The best routes of a destination, before something happens to it; none while nobody has an
    /// ordered registration.
    pub(in crate::rib) fn before(&self, table: TableId, to: Prefix) -> Option<Before> {
        let mut all = self.notifications.by_table.get(&table)?.values();
        all.any(Notification::is_ordered).then(|| Before(self.bests(table, to)))
    }

    /// Keeps what became of the best routes since; `by` is told nothing of its own doing. What
    /// happens by itself, such as an expiry, and what links and next hops do to routes, is nobody's
    /// doing (RTMv2 row V1-08).
    pub(in crate::rib) fn record(
        &mut self,
        (table, to): (TableId, Prefix),
        before: Option<Before>,
        by: Option<EntityId>,
    ) {
        let Some(Before(before)) = before else { return };
        let after = self.bests(table, to);
        let of = |bests: &[(View, Arc<RouteSnapshot>)], view: View| {
            bests.iter().find(|(known, _)| *known == view).map(|(_, best)| best.clone())
        };
        let doer = by.and_then(|id| self.entities.active(id).ok());
        let doer = doer.map(|entity| entity.caller.bus_name.clone());
        let limits = &self.policy.limits;
        let supported = self.policy.views(table).unwrap_or_default();
        for view in supported.iter() {
            let (previous, current) = (of(&before, view), of(&after, view));
            let same = match (&previous, &current) {
                (None, None) => true,
                (Some(previous), Some(current)) => !current.differs(previous),
                _ => false,
            };
            if same {
                continue;
            }
            self.notifications.keep(table, limits, |found| {
                let is_told = found.is_ordered()
                    && found.subscription.views.contains(view)
                    && Some(&found.owner.bus_name) != doer.as_ref()
                    && found.wants(to);
                match (is_told, found.lost) {
                    (false, _) => {}
                    (true, 0) => {
                        let (current, previous) = (current.clone(), previous.clone());
                        found.ordered.push_back(BestChange { to, view, current, previous });
                    }
                    (true, _) => found.lost += 1,
                }
            });
        }
    }

    fn bests(&self, table: TableId, to: Prefix) -> Vec<(View, Arc<RouteSnapshot>)> {
        let Some(destination) = self.destination(table, to) else { return Vec::new() };
        let mut bests: Vec<(View, Arc<RouteSnapshot>)> = Vec::new();
        for view in destination.views(&self.routes).iter() {
            let best = destination.best(view, &self.routes).and_then(|slot| self.view_route(slot));
            let Some(RouteView { id, route, next_hops, .. }) = best else { continue };
            let known = bests.iter().find(|(_, best)| best.id == id);
            let snapshot = || {
                let (route, next_hops) = (route.clone(), next_hops.into());
                Arc::new(RouteSnapshot { id, route, next_hops })
            };
            bests.push((view, known.map_or_else(snapshot, |(_, best)| Arc::clone(best))));
        }
        bests
    }
}
