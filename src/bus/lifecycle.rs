//! How objects come to the bus and go from it, and who is told.
//!
//! What cannot be told has nobody left to hear it, because the connection is going down; so failing
//! to send a signal is no failure.

use std::sync::Arc;

use zbus::{
    Connection, OwnedObjectPath,
    object_server::{Interface, SignalEmitter},
};

use super::{
    context::Context,
    convert::{entity_info, entity_path, table_path},
    entity::Entity,
    errors::bus_trouble,
    introspection,
    object_manager::{self, ObjectManager},
    private,
    served::Served,
    table::Table,
    wire::{ENTITIES, EntityInfo, ROOT},
};
use crate::{
    clock,
    journal::ledger::{Ledger, Object, ObjectKind},
    model::{Caller, EntityId, EntityState, Result, TableId},
    rib::{StoppedUnit, Withdrawal},
    shared::SLICE,
};

/// Gives a new entity its object and says so; takes the registration back if that fails. `unit` is
/// the systemd unit of who registered it.
pub(super) async fn welcome(
    context: &Arc<Context>,
    connection: &Connection,
    id: EntityId,
    unit: Arc<str>,
) -> Result<OwnedObjectPath> {
    let (server, path) = (connection.object_server(), entity_path(id));
    let (table, info, object) = keep(context, id, unit)?;
    if let Err(error) = private::put(context, connection, &path, &object).await {
        context.rib.with(|rib| rib.deregister(id))?;
        retire(context, connection, id).await;
        return Err(bus_trouble(&error));
    }
    introspection::list_by_name(context, connection, ENTITIES).await;
    if let Ok(emitter) = SignalEmitter::new(connection, ROOT)
        && let Ok(interfaces) =
            object_manager::interfaces::<Served<Entity>>(server, connection, &path).await
    {
        let _ = ObjectManager::interfaces_added(&emitter, &path, &interfaces).await;
    }
    tell_number_of_entities(connection, table).await;
    tell_of_registration(connection, table, info).await;
    Ok(path)
}

/// Gives an entity that lingered to the connection that registered it again. `unit` is the systemd
/// unit of that.
pub(super) async fn welcome_back(
    context: &Context,
    connection: &Connection,
    id: EntityId,
    unit: Arc<str>,
) -> Result<OwnedObjectPath> {
    let (table, info, _) = keep(context, id, unit)?;
    tell_of_change(context, connection, id).await;
    tell_of_registration(connection, table, info).await;
    Ok(entity_path(id))
}

/// Keeps the object of a registration, whose client is told of it next.
fn keep(context: &Context, id: EntityId, unit: Arc<str>) -> Result<(TableId, EntityInfo, Object)> {
    context.rib.with(|rib| {
        let entity = rib.entity(id)?;
        let (table, info) = (entity.key.table, entity_info(entity));
        let object = Object { owner: entity.caller.clone(), kind: ObjectKind::Entity(id, unit) };
        if entity.state != EntityState::Builtin {
            rib.keep_object(entity_path(id).to_string(), object.clone());
        }
        Ok((table, info, object))
    })
}

async fn tell_of_registration(connection: &Connection, table: TableId, info: EntityInfo) {
    if let Ok(emitter) = SignalEmitter::new(connection, table_path(table)) {
        let _ = Table::entity_registered(&emitter, info).await;
    }
}

/// The systemd unit of who registered an entity; empty where nobody can tell.
pub(super) fn unit(rib: &Ledger, id: EntityId) -> Arc<str> {
    match rib.objects().get(entity_path(id).as_str()) {
        Some(Object { kind: ObjectKind::Entity(_, unit), .. }) => Arc::clone(unit),
        _ => Arc::default(),
    }
}

/// An entity lingers from now on, or is somebody's again.
pub(super) async fn tell_of_change(context: &Context, connection: &Connection, id: EntityId) {
    context.methods.tell_of_change();
    let server = connection.object_server();
    if let Ok(entity) = server.interface::<_, Served<Entity>>(entity_path(id)).await {
        let _ = entity.get().await.object.tell_of_change(entity.signal_emitter()).await;
    }
}

/// Withdraws what a deregistered entity offered, then takes its object off and says so.
pub(super) async fn retire(context: &Context, connection: &Connection, id: EntityId) {
    context.methods.tell_of_change();
    let entity = loop {
        let withdrawn = context.rib.with(|rib| {
            let withdrawn = rib.withdraw(id, SLICE, clock::now());
            if matches!(withdrawn, Withdrawal::Complete(_)) {
                rib.forget_object(entity_path(id).as_str());
            }
            withdrawn
        });
        match withdrawn {
            Withdrawal::Complete(entity) => break entity,
            Withdrawal::Unfinished => tokio::task::yield_now().await,
            Withdrawal::Unknown => return,
        }
    };
    let (path, table) = (entity_path(id), entity.key.table);
    close_all_below(context, connection, path.as_str()).await;
    if let Err(error) = connection.object_server().remove::<Entity, _>(&path).await {
        tracing::debug!(%error, %path, "the object was not there any more");
    }
    if let Ok(emitter) = SignalEmitter::new(connection, ROOT) {
        let name = Entity::name().to_string();
        let _ = ObjectManager::interfaces_removed(&emitter, &path, &[&name]).await;
    }
    tell_number_of_entities(connection, table).await;
    if let Ok(emitter) = SignalEmitter::new(connection, table_path(table)) {
        let _ = Table::entity_deregistered(&emitter, entity_info(&entity)).await;
    }
}

/// A connection is gone: its registrations and private objects go too.
pub(super) async fn forget(context: &Context, connection: &Connection, bus_name: &str) {
    for path in context.rib.with(|rib| private::all_of(rib, bus_name)) {
        private::close(context, connection, &path).await;
    }
    context.credit.forget(bus_name);
    let gone = context.rib.with(|rib| {
        let gone = rib.handle_client_gone(bus_name, clock::now());
        let gone = gone.into_iter().map(|id| (id, rib.entity(id).is_ok())).collect::<Vec<_>>();
        for (id, _) in gone.iter().filter(|(_, lingers)| *lingers) {
            leave_behind(rib, entity_path(*id).as_str());
        }
        gone
    });
    for (id, lingers) in gone {
        if lingers {
            tracing::info!(entity = id.0, client = bus_name, "client gone, its routes linger");
            tell_of_change(context, connection, id).await;
            end_if_stopped(context, connection, id).await;
        } else {
            tracing::info!(entity = id.0, client = bus_name, "client gone, withdrawing its routes");
            retire(context, connection, id).await;
        }
    }
}

/// Leaves an entity with its routes and without a client, as its client asks for.
pub(super) async fn leave(
    context: &Context,
    connection: &Connection,
    (id, caller): (EntityId, &Caller),
) -> Result<()> {
    let path = entity_path(id);
    context.rib.with(|rib| {
        rib.authorize(id, caller)?;
        rib.linger(id, clock::now())?;
        // Nor is it asked whether its unit was stopped: it is to stay.
        let owner = Caller { bus_name: String::new(), uid: caller.uid };
        let kind = ObjectKind::Entity(id, Arc::default());
        rib.keep_object(path.to_string(), Object { owner, kind });
        Ok(())
    })?;
    close_all_below(context, connection, path.as_str()).await;
    tell_of_change(context, connection, id).await;
    Ok(())
}

/// An entity's object is nobody's from now on: a name means nothing on another bus.
pub(super) fn leave_behind(rib: &mut Ledger, path: &str) {
    let Some(object) = rib.objects().get(path).filter(|it| !it.owner.bus_name.is_empty()) else {
        return;
    };
    let mut object = object.clone();
    object.owner.bus_name.clear();
    rib.keep_object(path.to_owned(), object);
}

/// Takes the objects below an object off the bus.
async fn close_all_below(context: &Context, connection: &Connection, path: &str) {
    for below in context.rib.with(|rib| private::all_below(rib, path)) {
        private::close(context, connection, &below).await;
    }
}

/// Ends an entity that lingers, if the unit of its client was stopped on purpose.
pub(super) async fn end_if_stopped(context: &Context, connection: &Connection, id: EntityId) {
    let (policy, unit) = context.rib.with(|rib| (rib.policy().stopped_unit, unit(rib, id)));
    let may_end = policy == StoppedUnit::Withdraw && !unit.is_empty();
    if !may_end || !context.clients.was_stopped(&unit).await {
        return;
    }
    // Unless it was resumed meanwhile.
    let ended = context.rib.with(|rib| rib.is_left_behind(id, None) && rib.deregister(id).is_ok());
    if ended {
        tracing::info!(entity = id.0, %unit, "the unit was stopped, withdrawing its routes");
        retire(context, connection, id).await;
    }
}

async fn tell_number_of_entities(connection: &Connection, table: TableId) {
    let (server, path) = (connection.object_server(), table_path(table));
    if let Ok(table) = server.interface::<_, Served<Table>>(path).await {
        let _ = table.get().await.object.entities_changed(table.signal_emitter()).await;
    }
}
