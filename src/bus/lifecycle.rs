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
    wire::{ENTITIES, ROOT},
};
use crate::{
    clock,
    model::{EntityId, Result, TableId},
    rib::Withdrawal,
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
    let (table, info) = context
        .rib
        .with(|rib| rib.entity(id).map(|entity| (entity.key.table, entity_info(entity))))?;
    let (server, path) = (connection.object_server(), entity_path(id));
    let object = Entity::new(Arc::clone(context), id, unit);
    if let Err(error) = server.at(&path, Served::new(context, object)).await {
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
    if let Ok(emitter) = SignalEmitter::new(connection, table_path(table)) {
        let _ = Table::entity_registered(&emitter, info).await;
    }
    Ok(path)
}

/// Withdraws what a deregistered entity offered, then takes its object off and says so.
pub(super) async fn retire(context: &Context, connection: &Connection, id: EntityId) {
    context.methods.tell_of_change();
    let entity = loop {
        match context.rib.with(|rib| rib.withdraw(id, SLICE, clock::now())) {
            Withdrawal::Complete(entity) => break entity,
            Withdrawal::Unfinished => tokio::task::yield_now().await,
            Withdrawal::Unknown => return,
        }
    };
    let (path, table) = (entity_path(id), entity.key.table);
    for list in context.privates.below(&path) {
        private::close(context, connection, &list).await;
    }
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
    for path in context.privates.of(bus_name) {
        private::close(context, connection, &path).await;
    }
    context.credit.forget(bus_name);
    for id in context.rib.with(|rib| rib.handle_client_gone(bus_name)) {
        tracing::info!(entity = id.0, client = bus_name, "client gone, withdrawing its routes");
        retire(context, connection, id).await;
    }
}

async fn tell_number_of_entities(connection: &Connection, table: TableId) {
    let (server, path) = (connection.object_server(), table_path(table));
    if let Ok(table) = server.interface::<_, Served<Table>>(path).await {
        let _ = table.get().await.object.entities_changed(table.signal_emitter()).await;
    }
}
