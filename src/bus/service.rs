//! Putting the service on the bus, and taking its objects off.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicBool},
};

use zbus::Connection;

use super::{
    address::Bus,
    administration::{self, Administration},
    clients::{Clients, Departures},
    context::Context,
    convert::{entity_path, table_path},
    entity::Entity,
    introspection, lifecycle,
    manager::Manager,
    news,
    object_manager::ObjectManager,
    resume,
    served::Served,
    table::Table,
    transport,
    wire::{ENTITIES, ROOT, SERVICE, TABLES},
};
use crate::{
    model::{EntityId, EntityState, Error, TableId},
    shared::SharedRib,
};

/// What the service says about itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Another number whenever the service lost what clients have to offer again.
    pub epoch: u64,
    /// `rtm_protocol` of its routes in the kernel.
    pub fib_protocol: u8,
    /// The metric of its routes in the kernel.
    pub fib_metric: u32,
    /// Whether what other programs do to routes cannot be followed, so that nobody knows what is there.
    pub is_blind: Arc<AtomicBool>,
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
    /// The bus does not say who is on it.
    #[error("{0}")]
    Silent(#[from] Error),
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
    departures: Departures,
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
        administration: Administration,
    ) -> Result<Self, StartError> {
        let questions = bus.builder().build().await.map_err(StartError::NoBus)?;
        let clients = Clients::new(questions).await.map_err(StartError::NoBus)?;
        let tables: Vec<TableId> = rib.with(|rib| rib.tables().collect());
        // Of the service's own; the others come when it is known whose clients are still there.
        let entities: Vec<EntityId> = rib.with(|rib| {
            let own = rib.entities().filter(|entity| entity.state == EntityState::Builtin);
            own.map(|own| own.id).collect()
        });
        let context = Arc::new(Context::new(rib, clients, facts, administration));
        let mut builder = transport::builder(bus)
            .await
            .map_err(StartError::NoBus)?
            .serve_at(ROOT, Served::new(&context, Manager(Arc::clone(&context))))
            .serve_at(ROOT, Served::new(&context, ObjectManager(Arc::clone(&context))));
        for table in tables {
            let object = Table::new(Arc::clone(&context), table);
            builder = builder.serve_at(table_path(table), Served::new(&context, object));
        }
        for id in entities {
            let object = Served::new(&context, Entity::new(Arc::clone(&context), id));
            builder = builder.serve_at(entity_path(id), object);
        }
        let connection = builder.build().await.map_err(StartError::NoBus)?;
        for path in ["/", "/org", ROOT, TABLES, ENTITIES] {
            introspection::list_by_name(&context, &connection, path).await;
        }
        // Before the name is ours, so that no client can come and go unnoticed.
        let departures = Departures::subscribe(&connection).await.map_err(StartError::NoBus)?;
        let resumed = resume::resume(&context, &connection, &departures);
        attended(&context, &departures, resumed).await?;
        Ok(Self { context, connection, departures })
    }

    /// Takes the name.
    ///
    /// # Errors
    /// When the bus does not give us the name.
    pub async fn take_name(&self) -> Result<(), StartError> {
        use zbus::fdo::{RequestNameFlags, RequestNameReply};
        let flags = RequestNameFlags::DO_NOT_QUEUE;
        let asked = self.connection.request_name_with_flags(SERVICE, flags);
        match attended(&self.context, &self.departures, asked).await {
            Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => Ok(()),
            Ok(RequestNameReply::Exists | RequestNameReply::InQueue)
            | Err(zbus::Error::NameTaken) => Err(StartError::NameTaken),
            Err(error) => Err(StartError::NameRefused(error)),
        }
    }

    /// Cleans up after clients that are gone, until the bus itself is.
    pub async fn run(&self) {
        tokio::select! {
            () = self.departures.follow(&self.context.clients) => {}
            () = self.departures.clean_up(&self.context, &self.connection) => {}
            () = news::tell(&self.context, &self.connection) => {}
            () = self.context.clients.lost() => {}
        }
    }

    /// Puts a new entity of the service's own on the bus.
    pub async fn welcome(&self, id: EntityId) {
        let unit = Arc::default(); // nobody's
        let told = lifecycle::welcome(&self.context, &self.connection, id, unit).await;
        if let Err(refusal) = told {
            tracing::error!(entity = id.0, %refusal, "it is not on the bus");
        }
    }

    /// Tells everyone how the kernel stands.
    pub async fn announce(&self, state: FibState) {
        if state != FibState::Syncing {
            self.context.set_in_step();
        }
        let server = self.connection.object_server();
        if let Ok(manager) = server.interface::<_, Served<Manager>>(ROOT).await {
            let _ = manager.get().await.object.fib_state_changed(manager.signal_emitter()).await;
        }
    }

    /// Reads the configuration again, as the method of that name does.
    pub async fn reload(&self) {
        let _ = administration::reload(&self.context, &self.connection).await; // the log has it
    }

    /// Lets go of the name and sends what is left to send.
    pub async fn stop(self) {
        let Self { context, connection, departures } = self;
        let _ = connection.release_name(SERVICE).await;
        // They use the connection, which ends only when nobody does any more.
        context.queues.stop();
        context.methods.stop();
        context.inquiries.stop();
        drop(departures);
        connection.graceful_shutdown().await;
    }
}

/// Does something while the news of departures is read, which would be in the way of all that comes after it.
async fn attended<T>(
    context: &Context,
    departures: &Departures,
    act: impl Future<Output = T>,
) -> T {
    let follow = async {
        departures.follow(&context.clients).await;
        // The bus is gone, which is what the act will find.
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        value = act => value,
        never = follow => match never {},
    }
}
