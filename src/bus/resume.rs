//! Taking over what another process of the service left: the objects of its clients, who may have gone
//! meanwhile.
//!
//! A client's connection is to the bus and not to us, so most of them notice nothing. A name on a bus is
//! never given to another, so whoever is still there is who made the object. What had not been answered
//! yet when the process ended is undone: its client was told that nobody answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use zbus::{Connection, OwnedObjectPath, fdo};

use super::{
    clients::Departures, context::Context, convert::entity_path, errors::bus_trouble,
    introspection, lifecycle, private, wire::ENTITIES,
};
use crate::{
    clock,
    journal::ledger::{Ledger, ObjectKind},
    model::{Caller, EntityId, EntityState, Result},
    rib::Tenure,
};

/// Puts the objects that clients made on the bus, and has those taken off whose clients are gone.
///
/// # Errors
/// When the bus does not answer.
pub(super) async fn resume(
    context: &Arc<Context>,
    connection: &Connection,
    departures: &Departures,
) -> Result<()> {
    let trouble = |error: fdo::Error| bus_trouble(&error.into());
    let bus = fdo::DBusProxy::new(connection).await.map_err(|error| bus_trouble(&error))?;
    let id = bus.get_id().await.map_err(trouble)?.to_string();
    let is_same = context.rib.with(|rib| {
        undo_unanswered(rib);
        let is_same = rib.bus() == id;
        if !is_same {
            // At once: who has such a name on this bus is another.
            forget_connections(rib);
            rib.set_bus(id);
        }
        is_same
    });
    let objects = context.rib.with(|rib| rib.objects().clone());
    for (path, object) in &objects {
        let Ok(path) = OwnedObjectPath::try_from(path.as_str()) else { continue };
        private::put(context, connection, &path, object).await.map_err(|e| bus_trouble(&e))?;
        if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| *above != ENTITIES) {
            introspection::list_by_name(context, connection, above).await;
        }
    }
    // Their departures are noticed from now on, so nobody gets lost between this and the question.
    let owners = objects.values().map(|object| &object.owner);
    let owners: Vec<&Caller> = owners.filter(|owner| !owner.bus_name.is_empty()).collect();
    owners.iter().for_each(|owner| context.clients.remember(owner));
    let names: BTreeSet<&String> = owners.iter().map(|owner| &owner.bus_name).collect();
    let there = bus.list_names().await.map_err(trouble)?;
    let there: BTreeSet<&str> = there.iter().map(|name| name.as_str()).collect();
    let gone: Vec<&String> =
        names.iter().copied().filter(|name| !there.contains(name.as_str())).collect();
    if !objects.is_empty() {
        let (clients, gone) = (names.len(), gone.len());
        tracing::info!(
            objects = objects.len(),
            clients,
            gone,
            is_same_bus = is_same,
            "taken over from the process before"
        );
    }
    gone.into_iter().for_each(|name| departures.note(name));
    for id in context.rib.with(|rib| rib.leaving().collect::<Vec<_>>()) {
        let (context, connection) = (Arc::clone(context), connection.clone());
        tokio::spawn(async move { lifecycle::retire(&context, &connection, id).await });
    }
    let lingering = |rib: &mut Ledger| {
        let all = rib.entities().filter(|entity| entity.state == EntityState::Lingering);
        all.map(|entity| entity.id).collect::<Vec<_>>()
    };
    for id in context.rib.with(lingering) {
        // Perhaps nobody asked any more, or it happened meanwhile.
        let (context, connection) = (Arc::clone(context), connection.clone());
        tokio::spawn(async move { lifecycle::end_if_stopped(&context, &connection, id).await });
    }
    Ok(())
}

/// Ends what belongs to connections, as if all of them were gone.
fn forget_connections(rib: &mut Ledger) {
    let active = rib.entities().filter(|entity| entity.state == EntityState::Active);
    let names: BTreeSet<String> = active.map(|entity| entity.caller.bus_name.clone()).collect();
    for name in names {
        rib.handle_client_gone(&name, clock::now());
    }
    for (path, object) in rib.objects().clone() {
        match object.kind {
            ObjectKind::Entity(..) => lifecycle::leave_behind(rib, &path),
            kind => {
                rib.forget_object(&path);
                private::end(rib, &kind);
            }
        }
    }
}

/// Ends what has no object yet, or in the case of an entity that was resumed, has one of who had it
/// before.
fn undo_unanswered(rib: &mut Ledger) {
    let mut entities = BTreeMap::new();
    let (mut notifications, mut lists) = (BTreeSet::new(), BTreeSet::new());
    for object in rib.objects().values() {
        match &object.kind {
            ObjectKind::Entity(id, _) => drop(entities.insert(*id, object.owner.clone())),
            ObjectKind::Notification(table, id) => drop(notifications.insert((*table, *id))),
            ObjectKind::RouteList(_, id) => drop(lists.insert(*id)),
            ObjectKind::Destinations(..) | ObjectKind::Routes(..) | ObjectKind::NextHops(_) => {}
        }
    }
    // And objects of what is no more.
    let all: BTreeSet<EntityId> = rib.entities().map(|it| it.id).chain(rib.leaving()).collect();
    let orphans: Vec<EntityId> = entities.keys().copied().filter(|id| !all.contains(id)).collect();
    for id in orphans {
        rib.forget_object(entity_path(id).as_str());
    }
    let active = rib.entities().filter(|it| it.state == EntityState::Active);
    let unheard = active.filter(|it| match entities.get(&it.id) {
        Some(owner) => it.tenure == Tenure::Connection && *owner != it.caller,
        None => true,
    });
    let unheard: Vec<EntityId> = unheard.map(|it| it.id).collect();
    for id in unheard {
        let was_resumed = entities.contains_key(&id);
        if !was_resumed || rib.linger(id, clock::now()).is_err() {
            let _ = rib.deregister(id); // it is there
        }
    }
    let unheard: Vec<_> =
        rib.registrations_for_changes().filter(|it| !notifications.contains(it)).collect();
    unheard.into_iter().for_each(|(table, id)| rib.deregister_from_changes(table, id));
    let unheard: Vec<_> = rib.route_list_ids().filter(|id| !lists.contains(id)).collect();
    unheard.into_iter().for_each(|id| rib.delete_route_list(id));
}
