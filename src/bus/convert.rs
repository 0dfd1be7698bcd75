//! From the core's words to the wire's.

use std::sync::Arc;

use zbus::{OwnedObjectPath, OwnedVariant, Variant, wire::ObjectPath};

use super::wire;
use crate::{
    clock,
    model::{EntityId, Hop, ListId, Moment, NotificationId, RouteState, TableId},
    rib::{
        BestChange, DestinationView, Entity, FibResult, NextHopView, Profile, RouteSnapshot,
        RouteView, Tenure,
    },
};

/// The object of a table.
pub(super) fn table_path(id: TableId) -> OwnedObjectPath {
    path(format!("{}/{}/{}", wire::TABLES, id.instance, id.family))
}

/// The object of an entity.
pub(super) fn entity_path(id: EntityId) -> OwnedObjectPath {
    path(format!("{}/{id}", wire::ENTITIES))
}

/// The object of an enumeration.
pub(super) fn enumeration_path(number: u64) -> OwnedObjectPath {
    path(format!("{}/enumeration/{number}", wire::ROOT))
}

/// The object of a registration for change notification.
pub(super) fn notification_path(id: NotificationId) -> OwnedObjectPath {
    path(format!("{}/notification/{}", wire::ROOT, id.0))
}

/// The object of a route list.
pub(super) fn list_path(owner: EntityId, id: ListId) -> OwnedObjectPath {
    path(format!("{}/list/{}", entity_path(owner), id.0))
}

/// A path made of words and numbers of ours, which is always a valid one.
fn path(text: String) -> OwnedObjectPath {
    debug_assert!(ObjectPath::try_from(text.as_str()).is_ok(), "{text} is no object path");
    ObjectPath::from_string_unchecked(text).into()
}

pub(super) fn entity_info(entity: &Entity) -> wire::EntityInfo {
    wire::EntityInfo {
        id: entity.id.0,
        path: entity_path(entity.id),
        instance: entity.key.table.instance.0.into(),
        family: entity.key.table.family.name().to_owned(),
        protocol: entity.key.protocol.0,
        protocol_instance: entity.key.protocol_instance,
        label: entity.label.clone(),
        bus_name: bus_name(entity).to_owned(),
        state: entity.state.name().to_owned(),
    }
}

/// The connection that holds a registration; a shared one is held by none, nor one that lingers.
pub(super) fn bus_name(entity: &Entity) -> &str {
    match entity.tenure {
        Tenure::Connection => &entity.caller.bus_name,
        Tenure::User | Tenure::Service => "",
    }
}

pub(super) fn profile(profile: &Profile, epoch: u64) -> wire::Profile {
    wire::Profile {
        id: profile.id.0,
        max_next_hops: profile.max_next_hops,
        max_handles: profile.max_handles,
        views: profile.views.0,
        number_of_views: profile.views.len(),
        preference: profile.preference.0,
        epoch,
        resumed: profile.resumed,
        stale_routes: profile.stale_routes as u64,
    }
}

pub(super) fn destination_info(found: &DestinationView) -> wire::DestinationInfo {
    let record = |record: &crate::rib::ViewRecord| wire::ViewInfo {
        view: record.view.id().into(),
        routes: u32::try_from(record.routes).unwrap_or(u32::MAX),
        best: record.best.map_or(0, |(route, _)| route.0.get()),
        owner: record.best.map_or(0, |(_, owner)| owner.0),
        flags: record.flags.0,
        held: record.held.map_or(0, |route| route.0.get()),
    };
    wire::DestinationInfo {
        prefix: found.prefix.to_string(),
        last_changed: found.changed.0,
        views: found.views.0,
        per_view: found.per_view.iter().map(record).collect(),
    }
}

/// As `FibResult` tells it.
pub(super) fn fib_result(result: FibResult) -> (u64, String, String) {
    let FibResult { route, status, error } = result;
    (route.0.get(), status.name().to_owned(), error.unwrap_or_default())
}

/// `own`: whether it is told to its owner, who alone gets to see some of it.
pub(super) fn route_info(view: &RouteView<'_>, own: bool) -> wire::RouteInfo {
    let route = view.route;
    let mut more = wire::Details::new();
    detail(&mut more, "fib", view.fib.name());
    if let Some(words) = view.fib_error {
        detail(&mut more, "fib-error", words);
    }
    if view.stale {
        detail(&mut more, "stale", true);
    }
    detail(&mut more, "best-in-views", route.best_in.0);
    detail(&mut more, "generation", u64::from(route.generation));
    times(&mut more, view);
    if own {
        if let Some(list) = view.list {
            detail(&mut more, "list", list_path(route.owner, list).into_inner());
        }
        if !route.private().is_empty() {
            detail(&mut more, "private", route.private());
        }
    }
    wire::RouteInfo {
        id: view.id.0.get(),
        destination: route.to.to_string(),
        owner: route.owner.0,
        neighbour: route.neighbour.map_or(0, |id| id.0.get()),
        state: route.state as u32,
        flags: route.flags.0.into(),
        preference: route.rank.preference.0,
        metric: route.rank.metric.0,
        views: route.views.0,
        next_hops: view.next_hops.iter().map(|id| id.0.get()).collect(),
        more,
    }
}

/// How long it still lives, or is held.
pub(super) fn times(more: &mut wire::Details, view: &RouteView<'_>) {
    // Not yet over, whatever the fraction of a millisecond.
    let left = |until: Moment| {
        let left = until.since(clock::now().moment).as_micros().div_ceil(1000);
        u32::try_from(left).unwrap_or(u32::MAX - 1)
    };
    if let Some(expires) = view.route.expires() {
        detail(more, "expires-in", left(expires));
    }
    if view.route.state == RouteState::Deleting {
        detail(more, "held-for", view.held_until.map_or(wire::INFINITE, left));
    }
}

pub(super) fn best_change(change: &BestChange) -> wire::BestChange {
    let told = |route: &Option<Arc<RouteSnapshot>>| -> Vec<wire::RouteInfo> {
        route.iter().map(|route| route_info(&route.view(), false)).collect()
    };
    wire::BestChange {
        destination: change.to.to_string(),
        view: change.view.id().into(),
        what: u32::from(change.current.is_some()) + 2 * u32::from(change.previous.is_some()),
        current: told(&change.current),
        previous: told(&change.previous),
    }
}

/// `own`: whether it is told to its owner, who alone gets to see some of it.
pub(super) fn next_hop_info(view: &NextHopView<'_>, own: bool) -> wire::NextHopInfo {
    let next_hop = view.next_hop;
    let mut more = wire::Details::new();
    if let Some(name) = view.interface_name {
        detail(&mut more, "interface", name);
    }
    detail(&mut more, "weight", u32::from(next_hop.weight.get()));
    detail(&mut more, "viable", !next_hop.hops.is_empty());
    let gateway = |hop: &Hop| hop.gateway.map(|address| address.to_string()).unwrap_or_default();
    let resolved: Vec<(String, u32)> =
        next_hop.hops.iter().map(|hop| (gateway(hop), hop.interface.0)).collect();
    detail(&mut more, "resolved-via", resolved);
    if !view.through.is_empty() {
        let weights = next_hop.hops.iter().map(|hop| u32::from(hop.weight.get()));
        detail(&mut more, "resolved-weights", weights.collect::<Vec<u32>>());
        detail(&mut more, "resolved-interfaces", view.hop_interfaces.clone());
        let through = view.through.iter().map(|to| to.to_string());
        detail(&mut more, "resolved-through", through.collect::<Vec<String>>());
    }
    if let Some(remote) = next_hop.remote {
        detail(&mut more, "remote-destination", remote.to_string());
    }
    if own && !next_hop.private.is_empty() {
        detail(&mut more, "private", &*next_hop.private);
    }
    wire::NextHopInfo {
        id: view.id.0.get(),
        owner: next_hop.owner.0,
        address: next_hop.key.address.map(|address| address.to_string()).unwrap_or_default(),
        interface: next_hop.key.interface.0,
        state: u32::from(next_hop.deleted),
        flags: next_hop.flags.0,
        more,
    }
}

/// Puts one detail; only file descriptors can fail to become owned, and there are none.
pub(super) fn detail<'v>(more: &mut wire::Details, key: &str, value: impl Into<Variant<'v>>) {
    if let Ok(value) = OwnedVariant::try_from(value.into()) {
        more.insert(key.to_owned(), value);
    }
}
