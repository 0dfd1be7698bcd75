//! Who calls: what the bus says about a connection, and when it is gone.
//!
//! What a reader would get wrong: the news that a connection is gone and its last calls reach us in
//! the right order, but are handled by different tasks. So before the news takes effect, the service
//! pings itself through the bus: calls are dispatched in order, so when the answer comes, every call
//! the gone connection ever made is in its queue, and closing that ends them. The bus knows the name
//! no more and never gives it to another, so no call of a dead client takes effect later.

use std::{
    collections::HashMap,
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use zbus::{Connection, MatchRule, MessageStream, fdo, message::Header, names::UniqueName};

use super::{context::Context, lifecycle, units, users, wire::ROOT};
use crate::{
    model::{Caller, ErrorKind, Result},
    rib::{Credentials, Standing, Unit},
};

/// The connections that called something.
#[derive(Debug)]
pub(super) struct Clients {
    /// A second connection: questions to the bus must not wait behind the calls they are about.
    questions: Connection,
    own_uid: u32,
    by_name: Mutex<HashMap<String, Client>>,
    departed: Notify,
}

/// A connection that called something.
#[derive(Debug, Default)]
struct Client {
    /// Its user; `None` while the bus is being asked.
    uid: Option<u32>,
    /// What else is known of it, if that was asked for.
    credentials: Option<Credentials>,
}

impl Clients {
    /// Asks the bus who we are ourselves.
    pub(super) async fn new(questions: Connection) -> zbus::Result<Self> {
        let bus = fdo::DBusProxy::new(&questions).await?;
        let own_name = questions.unique_name().ok_or(zbus::Error::InterfaceNotFound)?.to_owned();
        let own_uid = bus.get_connection_unix_user(own_name.into()).await?;
        Ok(Self { questions, own_uid, by_name: Mutex::default(), departed: Notify::new() })
    }

    /// Who made a call.
    ///
    /// # Errors
    /// `AccessDenied` when the bus does not know the connection, or not any more.
    pub(super) async fn caller(&self, header: &Header<'_>) -> Result<Caller> {
        let Some(sender) = header.sender() else {
            return Err(ErrorKind::AccessDenied.because("a call without a sender"));
        };
        let bus_name = sender.to_string();
        if let Some(uid) = self.known().get(&bus_name).and_then(|client| client.uid) {
            return Ok(Caller { bus_name, uid });
        }
        // Known before the question: should it go while the answer is on its way, that is noticed.
        self.known().insert(bus_name.clone(), Client::default());
        match self.ask_user(sender).await {
            Ok(uid) => {
                self.known().entry(bus_name.clone()).or_default().uid = Some(uid);
                Ok(Caller { bus_name, uid })
            }
            Err(error) => {
                self.known().remove(&bus_name);
                Err(ErrorKind::AccessDenied
                    .because(format_args!("the bus does not say who {bus_name} is: {error}")))
            }
        }
    }

    /// Takes over a connection that another process of the service knew.
    pub(super) fn remember(&self, caller: &Caller) {
        let client = Client { uid: Some(caller.uid), credentials: None };
        self.known().insert(caller.bus_name.clone(), client);
    }

    /// What the bus, and systemd where that runs, say of a caller besides its user.
    pub(super) async fn credentials(&self, caller: &Caller) -> Credentials {
        let known = self.known().get(&caller.bus_name).and_then(|it| it.credentials.clone());
        if let Some(credentials) = known {
            return credentials;
        }
        let standing = self.standing(caller.uid);
        let told = units::ask_bus(&self.questions, &caller.bus_name).await;
        let groups = match told.as_ref().and_then(|told| told.unix_group_ids()) {
            Some(groups) => groups.clone(),
            None => users::groups_of(caller.uid).await,
        };
        let unit = match told {
            Some(told) => units::unit_of(&self.questions, told).await,
            None => None,
        };
        let credentials = Credentials { groups, unit, standing };
        if let Some(client) = self.known().get_mut(&caller.bus_name) {
            client.credentials = Some(credentials.clone());
        }
        credentials
    }

    /// What is known of a user, by name or number, as if it called from this unit.
    ///
    /// # Errors
    /// `NotFound` for a user that there is not.
    pub(super) async fn credentials_of(
        &self,
        user: &str,
        unit: &str,
    ) -> Result<(u32, Credentials)> {
        let (uid, groups) = users::find(user.to_owned()).await?;
        let unit = (!unit.is_empty()).then(|| Unit { name: unit.to_owned(), is_sure: true });
        Ok((uid, Credentials { groups, unit, standing: self.standing(uid) }))
    }

    fn standing(&self, uid: u32) -> Standing {
        match uid == self.own_uid {
            true => Standing::Service,
            false => Standing::Ordinary,
        }
    }

    /// Waits until a connection is known to be gone.
    pub(super) async fn departure_of(&self, bus_name: &str) {
        loop {
            let mut next = std::pin::pin!(self.departed.notified());
            // From now on none is missed.
            next.as_mut().enable();
            if !self.known().contains_key(bus_name) {
                return;
            }
            next.await;
        }
    }

    /// The connection that questions are asked on.
    pub(super) fn questions(&self) -> &Connection {
        &self.questions
    }

    /// Whether a systemd unit was stopped on purpose, as far as anybody can tell.
    pub(super) async fn was_stopped(&self, unit: &str) -> bool {
        units::was_stopped(&self.questions, unit).await
    }

    async fn ask_user(&self, name: &UniqueName<'_>) -> fdo::Result<u32> {
        let bus = fdo::DBusProxy::new(&self.questions).await?;
        bus.get_connection_unix_user(name.clone().into()).await
    }

    /// Waits until the bus answers no more questions, because it is gone.
    pub(super) async fn lost(&self) {
        self.questions.closed().await;
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that are gone and were known, on their way from the bus to the cleaning up.
///
/// Reading the news and acting on it are two futures, because acting waits for an answer that comes
/// by the same connection as the news: were the news left unread meanwhile, neither would come.
#[derive(Debug)]
pub(super) struct Departures {
    news: tokio::sync::Mutex<MessageStream>,
    gone: mpsc::UnboundedSender<String>,
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
}

/// How long the service may take to hear itself before it asks again.
const PATIENCE: Duration = Duration::from_secs(30);

impl Departures {
    pub(super) async fn subscribe(service: &Connection) -> zbus::Result<Self> {
        // One rule for all clients: the buses limit how many rules a connection may have.
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(2, "")
            .build()?;
        let news = MessageStream::for_match_rule(rule, service, None).await?;
        // Bounded by the clients that are known.
        let (gone, queue) = mpsc::unbounded_channel();
        Ok(Self { news: news.into(), gone, queue: queue.into() })
    }

    /// A connection was found to be gone.
    pub(super) fn note(&self, bus_name: &str) {
        let _ = self.gone.send(bus_name.to_owned()); // the other end is here too
    }

    /// Reads the news, until the bus is gone.
    pub(super) async fn follow(&self, clients: &Clients) {
        let mut news = self.news.lock().await;
        while let Some(message) = news.next().await {
            let body =
                message.map(|message| message.body().deserialize::<(String, String, String)>());
            let Ok(Ok((name, _, _))) = body else { continue };
            // A name that nothing was asked about holds nothing.
            if clients.known().contains_key(&name) {
                let _ = self.gone.send(name);
            }
        }
    }

    /// Acts on the news, until the bus is gone.
    pub(super) async fn clean_up(&self, context: &Arc<Context>, service: &Connection) {
        let own_name = service.unique_name().map(ToString::to_string).unwrap_or_default();
        let mut queue = self.queue.lock().await;
        // Side by side: one may have a million routes, and the others' are not to stay as long.
        let mut cleaning = JoinSet::new();
        while let Some(first) = queue.recv().await {
            let names: Vec<String> =
                iter::once(first).chain(iter::from_fn(|| queue.try_recv().ok())).collect();
            context.clients.let_calls_finish(&own_name).await;
            for name in names {
                context.clients.known().remove(&name);
                context.clients.departed.notify_waiters();
                let (context, service) = (Arc::clone(context), service.clone());
                cleaning.spawn(async move {
                    context.queues.close(&name).await;
                    lifecycle::forget(&context, &service, &name).await;
                });
            }
            while cleaning.try_join_next().is_some() {}
        }
    }
}

impl Clients {
    /// Waits until every call that has arrived so far has been dispatched.
    async fn let_calls_finish(&self, own_name: &str) {
        loop {
            let ping = self.questions.call_method(
                Some(own_name),
                ROOT,
                Some("org.freedesktop.DBus.Peer"),
                "Ping",
                &(),
            );
            match tokio::time::timeout(PATIENCE, ping).await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the service does not hear itself"),
                Err(_) => tracing::warn!("the service has not heard itself for {PATIENCE:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
