//! Who calls: what the bus says about a connection, and when it is gone.
//!
//! What a reader would get wrong: the news that a connection is gone and its last calls reach us in
//! the right order, but are handled by different tasks. So before the news takes effect, the service
//! pings itself through the bus: calls are handled in order, so when the answer comes, every call
//! the gone connection ever made has been handled. No call of a dead client takes effect later.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::{Stream, StreamExt as _};
use zbus::{Connection, MatchRule, MessageStream, fdo, message::Header, names::UniqueName};

use super::wire::ROOT;
use crate::model::{Caller, ErrorKind, Result};

/// The connections that called something that asks who they are.
#[derive(Debug)]
pub(super) struct Clients {
    /// A second connection: questions to the bus must not wait behind the calls they are about.
    questions: Connection,
    /// Their users; `None` while the bus is being asked.
    users: Mutex<HashMap<String, Option<u32>>>,
}

impl Clients {
    pub(super) fn new(questions: Connection) -> Self {
        Self { questions, users: Mutex::default() }
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
        if let Some(Some(uid)) = self.known().get(&bus_name) {
            return Ok(Caller { bus_name, uid: *uid });
        }
        // Known before the question: should it go while the answer is on its way, that is noticed.
        self.known().insert(bus_name.clone(), None);
        match self.ask_user(sender).await {
            Ok(uid) => {
                self.known().insert(bus_name.clone(), Some(uid));
                Ok(Caller { bus_name, uid })
            }
            Err(error) => {
                self.known().remove(&bus_name);
                Err(ErrorKind::AccessDenied
                    .because(format_args!("the bus does not say who {bus_name} is: {error}")))
            }
        }
    }

    async fn ask_user(&self, name: &UniqueName<'_>) -> fdo::Result<u32> {
        let bus = fdo::DBusProxy::new(&self.questions).await?;
        bus.get_connection_unix_user(name.clone().into()).await
    }

    /// The names of connections that are gone, each after all its calls were handled.
    ///
    /// `service` is the connection that calls arrive at.
    pub(super) async fn gone(
        &self,
        service: &Connection,
    ) -> zbus::Result<impl Stream<Item = String>> {
        // One rule for all clients: the buses limit how many rules a connection may have.
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(2, "")
            .build()?;
        let news = MessageStream::for_match_rule(rule, service, None).await?;
        let own_name = service.unique_name().map(ToString::to_string).unwrap_or_default();
        Ok(news.filter_map(move |message| {
            let own_name = own_name.clone();
            async move {
                let message = message.ok()?;
                let (name, _, _): (String, String, String) = message.body().deserialize().ok()?;
                // A name that nothing was asked about holds nothing.
                if !self.known().contains_key(&name) {
                    return None;
                }
                self.let_calls_finish(&own_name).await;
                self.known().remove(&name);
                Some(name)
            }
        }))
    }

    async fn let_calls_finish(&self, own_name: &str) {
        let ping = self.questions.call_method(
            Some(own_name),
            ROOT,
            Some("org.freedesktop.DBus.Peer"),
            "Ping",
            &(),
        );
        if let Err(error) = ping.await {
            tracing::warn!(%error, "the service does not hear itself on the bus");
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Option<u32>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
