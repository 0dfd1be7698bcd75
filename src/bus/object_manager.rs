//! `org.freedesktop.DBus.ObjectManager` for tables and entities only.
//!
//! zbus has one of its own, but that announces every object below it to everyone, and enumerations
//! are nobody's business but their owner's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use zbus::{
    Connection, ObjectServer, OwnedObjectPath, fdo, interface,
    object_server::{Interface, SignalEmitter},
};

use super::{
    context::Context,
    convert::{entity_path, table_path},
    entity::Entity,
    served::Served,
    table::Table,
    wire::Details,
};

/// The properties of an object by interface.
pub(super) type Interfaces = BTreeMap<String, Details>;

/// The root object's list of the others.
#[derive(Clone, Debug)]
pub(super) struct ObjectManager(pub(super) Arc<Context>);

#[interface(name = "org.freedesktop.DBus.ObjectManager", spawn = false, introspection_docs = false)]
impl ObjectManager {
    async fn get_managed_objects(
        &self,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<HashMap<OwnedObjectPath, Interfaces>> {
        let (tables, entities): (Vec<_>, Vec<_>) = self.0.rib.with(|rib| {
            (
                rib.tables().map(table_path).collect(),
                rib.entities().map(|e| entity_path(e.id)).collect(),
            )
        });
        let mut objects = HashMap::new();
        for path in tables {
            let interfaces = interfaces::<Served<Table>>(server, connection, &path).await?;
            objects.insert(path, interfaces);
        }
        for path in entities {
            // It may have gone since the list was made.
            if let Ok(interfaces) = interfaces::<Served<Entity>>(server, connection, &path).await {
                objects.insert(path, interfaces);
            }
        }
        Ok(objects)
    }

    #[zbus(signal)]
    pub(super) async fn interfaces_added(
        emitter: &SignalEmitter<'_>,
        object: &OwnedObjectPath,
        interfaces: &Interfaces,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn interfaces_removed(
        emitter: &SignalEmitter<'_>,
        object: &OwnedObjectPath,
        interfaces: &[&str],
    ) -> zbus::Result<()>;
}

/// The one interface of ours that an object has, with its properties.
pub(super) async fn interfaces<I: Interface>(
    server: &ObjectServer,
    connection: &Connection,
    path: &OwnedObjectPath,
) -> fdo::Result<Interfaces> {
    let object = server.interface::<_, I>(path).await?;
    let properties =
        object.get().await.get_all(server, connection, None, object.signal_emitter()).await?;
    Ok(BTreeMap::from([(I::name().to_string(), properties.into_iter().collect())]))
}
