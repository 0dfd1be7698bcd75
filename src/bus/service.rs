//! Putting the service on the bus, and taking its objects off.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt as _, pin_mut};
use zbus::{
    Connection, OwnedObjectPath,
    object_server::{Interface, SignalEmitter},
    wire::ObjectPath,
};

use super::{
    address::Bus,
    brief::Brief,
    clients::Clients,
    convert::{entity_info, entity_path, enumeration_path, now, table_path},
    entity::Entity,
    enumeration::{DestinationEnumeration, RouteEnumeration},
    errors::bus_trouble,
    manager::Manager,
    object_manager::{self, ObjectManager},
    table::Table,
    wire::{EntityInfo, ROOT, SERVICE},
};
use crate::{
    model::{Caller, EntityId, ErrorKind, Result, TableId},
    shared::SharedRib,
};

/// How many routes are withdrawn under one lock.
const SLICE: usize = 512;

/// What the service says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Another number whenever the service lost what clients have to offer again.
    pub epoch: u64,
    /// `rtm_protocol` of its routes in the kernel.
    pub fib_protocol: u8,
    /// The metric of its routes in the kernel.
    pub fib_metric: u32,
}

/// Whether the kernel holds what it should.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FibState {
    /// Exactly that.
    Synced,
    /// Not yet.
    Syncing,
    /// Not what it refused.
    Degraded,
}

/// Why the service is not on the bus.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no bus, or it does not let us in.
    #[error("cannot reach the bus: {0}")]
    NoBus(zbus::Error),
    /// Another one is there.
    #[error("another rtmd is on this bus: it owns the name {SERVICE}")]
    NameTaken,
    /// The bus policy says no.
    #[error(
        "the bus does not let this user own the name {SERVICE}: install dbus/org.rtmd1.conf as \
         /usr/share/dbus-1/system.d/org.rtmd1.conf and reload the bus ({0})"
    )]
    NameRefused(zbus::Error),
}

/// The service on the bus.
#[derive(Debug)]
pub struct Service {
    context: Arc<Context>,
    connection: Connection,
}

/// What all objects know.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) rib: SharedRib,
    pub(super) clients: Clients,
    pub(super) facts: Facts,
    fib_state: Mutex<FibState>,
    /// Whose each enumeration is, by its path.
    enumerations: Mutex<HashMap<OwnedObjectPath, String>>,
    last_enumeration: AtomicU64,
}

impl FibState {
    /// The word for it on the bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Syncing => "syncing",
            Self::Degraded => "degraded",
        }
    }
}

impl Service {
    /// Puts the service on the bus.
    ///
    /// # Errors
    /// When there is no bus, or when it does not give us the name.
    pub async fn start(
        bus: &Bus,
        rib: SharedRib,
        facts: Facts,
    ) -> std::result::Result<Self, StartError> {
        let questions = bus.builder().build().await.map_err(StartError::NoBus)?;
        let tables: Vec<TableId> = rib.with(|rib| rib.tables().collect());
        let context = Arc::new(Context {
            rib,
            clients: Clients::new(questions),
            facts,
            fib_state: Mutex::new(FibState::Syncing),
            enumerations: Mutex::default(),
            last_enumeration: AtomicU64::new(0),
        });
        let mut builder = bus
            .builder()
            .serve_at(ROOT, Manager(Arc::clone(&context)))
            .serve_at(ROOT, ObjectManager(Arc::clone(&context)));
        for table in tables {
            builder = builder.serve_at(table_path(table), Table::new(Arc::clone(&context), table));
        }
        let connection = builder.build().await.map_err(StartError::NoBus)?;
        Ok(Self { context, connection })
    }

    /// Takes the name and serves until the bus is gone.
    ///
    /// # Errors
    /// When the bus does not give us the name.
    pub async fn take_name(&self) -> std::result::Result<(), StartError> {
        use zbus::fdo::{RequestNameFlags, RequestNameReply};
        let flags = RequestNameFlags::DO_NOT_QUEUE;
        match self.connection.request_name_with_flags(SERVICE, flags).await {
            Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => Ok(()),
            Ok(RequestNameReply::Exists | RequestNameReply::InQueue)
            | Err(zbus::Error::NameTaken) => Err(StartError::NameTaken),
            Err(error) => Err(StartError::NameRefused(error)),
        }
    }

    /// Cleans up after clients that are gone, until the bus itself is.
    pub async fn run(&self) -> zbus::Result<()> {
        let gone = self.context.clients.gone(&self.connection).await?;
        pin_mut!(gone);
        while let Some(name) = gone.next().await {
            self.context.forget(&self.connection, &name).await;
        }
        Ok(())
    }

    /// Tells everyone how the kernel stands.
    pub async fn announce(&self, state: FibState) {
        let before = std::mem::replace(&mut *self.context.lock_fib_state(), state);
        if before == state {
            return;
        }
        if let Ok(manager) = self.connection.object_server().interface::<_, Manager>(ROOT).await {
            let _ = manager.get().await.fib_state_changed(manager.signal_emitter()).await;
        }
    }

    /// Lets go of the name and sends what is left to send.
    pub async fn stop(self) {
        let _ = self.connection.release_name(SERVICE).await;
        self.connection.graceful_shutdown().await;
    }
}

impl Context {
    pub(super) fn fib_state(&self) -> FibState {
        *self.lock_fib_state()
    }

    fn lock_fib_state(&self) -> std::sync::MutexGuard<'_, FibState> {
        self.fib_state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is gone: its registrations and enumerations go too.
    async fn forget(&self, connection: &Connection, bus_name: &str) {
        for path in self.enumerations_of(bus_name) {
            self.close_enumeration::<DestinationEnumeration>(connection, &path).await;
            self.close_enumeration::<RouteEnumeration>(connection, &path).await;
        }
        let ended = self.rib.with(|rib| rib.handle_client_gone(bus_name));
        for id in ended {
            tracing::info!(entity = id.0, client = bus_name, "client gone, withdrawing its routes");
            self.retire(connection, id).await;
        }
    }

    /// Withdraws what a deregistered entity offered, then takes its object off and says so.
    pub(super) async fn retire(&self, connection: &Connection, id: EntityId) {
        let entity = loop {
            if let Some(entity) = self.rib.with(|rib| rib.withdraw(id, SLICE, now())) {
                break entity;
            }
            tokio::task::yield_now().await;
        };
        let (path, table) = (entity_path(id), entity.key.table);
        if let Err(error) = connection.object_server().remove::<Entity, _>(&path).await {
            tracing::debug!(%error, %path, "the object was not there any more");
        }
        announce_entity(connection, table, &path, None).await;
        if let Ok(emitter) = SignalEmitter::new(connection, table_path(table)) {
            let _ = Table::entity_deregistered(&emitter, entity_info(&entity)).await;
        }
    }

    /// Gives an enumeration an object of its own.
    pub(super) async fn serve_enumeration<I: Interface>(
        &self,
        connection: &Connection,
        caller: &Caller,
        object: I,
    ) -> Result<OwnedObjectPath> {
        let limit = self.rib.with(|rib| rib.policy().limits.enumerations_per_client);
        if self.enumerations_of(&caller.bus_name).len() >= limit as usize {
            return Err(ErrorKind::NoSystemResources
                .because(format_args!("{limit} enumerations are open, the most for one client")));
        }
        let path = enumeration_path(self.last_enumeration.fetch_add(1, Ordering::Relaxed) + 1);
        self.lock_enumerations().insert(path.clone(), caller.bus_name.clone());
        connection
            .object_server()
            .at(&path, Brief(object))
            .await
            .map_err(|error| bus_trouble(&error))?;
        Ok(path)
    }

    pub(super) async fn close_enumeration<I: Interface>(
        &self,
        connection: &Connection,
        path: &ObjectPath<'_>,
    ) {
        // Of the two kinds it is one; the other is not there, which is what is wanted.
        if connection.object_server().remove::<I, _>(path).await.is_ok() {
            self.lock_enumerations().retain(|open, _| open.as_str() != path.as_str());
        }
    }

    fn enumerations_of(&self, bus_name: &str) -> Vec<OwnedObjectPath> {
        let open = self.lock_enumerations();
        let own = open.iter().filter(|(_, owner)| *owner == bus_name);
        own.map(|(path, _)| path.clone()).collect()
    }

    fn lock_enumerations(&self) -> std::sync::MutexGuard<'_, HashMap<OwnedObjectPath, String>> {
        self.enumerations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Announces that an entity's object came, or with no information that it went.
pub(super) async fn announce_entity(
    connection: &Connection,
    table: TableId,
    path: &OwnedObjectPath,
    info: Option<&EntityInfo>,
) {
    let server = connection.object_server();
    let Ok(emitter) = SignalEmitter::new(connection, ROOT) else { return };
    // What cannot be sent has nobody left to hear it: the connection is going down.
    let _ = match info {
        Some(_) => {
            match object_manager::interfaces::<Brief<Entity>>(server, connection, path).await {
                Ok(interfaces) => {
                    ObjectManager::interfaces_added(&emitter, path, &interfaces).await
                }
                Err(_) => Ok(()),
            }
        }
        None => {
            let name = Entity::name().to_string();
            ObjectManager::interfaces_removed(&emitter, path, &[&name]).await
        }
    };
    if let Ok(table) = server.interface::<_, Table>(table_path(table)).await {
        let _ = table.get().await.entities_changed(table.signal_emitter()).await;
    }
}
