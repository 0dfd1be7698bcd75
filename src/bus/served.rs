//! An interface as it is on the bus: its calls go into the queues of their clients, and it tells
//! about itself only when its own object is asked, for the reason that is in `introspection`.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use zbus::{
    BoxDBusError, Connection, Message, ObjectServer, OwnedVariant, Variant,
    export::async_trait::async_trait,
    fdo,
    message::{Flags, Header},
    names::{InterfaceName, MemberName},
    object_server::{DispatchResult, Interface, SignalEmitter},
};

use super::context::Context;
use crate::model::{ErrorKind, Result};

/// An object's interface; what is cloned for each call has to be cheap.
#[derive(Debug)]
pub(super) struct Served<I> {
    pub(super) object: I,
    context: Arc<Context>,
}

/// The level that zbus writes the interfaces of the object at that was asked.
pub(super) const OWN_LEVEL: usize = 2;

impl<I> Served<I> {
    pub(super) fn new(context: &Arc<Context>, object: I) -> Self {
        Self { object, context: Arc::clone(context) }
    }

    /// Puts a call into the queue of its client, who was heard from thereby.
    async fn queue(
        &self,
        message: &Message,
        call: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let data = message.data();
        if !data.fds().is_empty() {
            return Err(ErrorKind::InvalidParameter
                .because("a call with file descriptors, and no method takes any"));
        }
        let caller = self.context.clients.caller(&message.header()).await?;
        let limits = self.context.rib.with(|rib| rib.policy().limits);
        self.context.queues.push(&caller, &limits, data.len(), call)?;
        if expects_reply(message) && self.context.credit.forget(&caller.bus_name) {
            self.context.rib.with(|rib| {
                rib.wake_again(&caller.bus_name);
                rib.tell_results_again(&caller.bus_name);
            });
        }
        Ok(())
    }
}

#[async_trait]
impl<I: Interface + Clone> Interface for Served<I> {
    fn name() -> InterfaceName<'static> {
        I::name()
    }

    fn spawn_tasks_for_methods(&self) -> bool {
        self.object.spawn_tasks_for_methods()
    }

    async fn get(
        &self,
        property: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<std::result::Result<OwnedVariant, BoxDBusError>> {
        self.object.get(property, server, connection, header, emitter).await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        self.object.get_all(server, connection, header, emitter).await
    }

    fn set<'call>(
        &'call self,
        property: &'call str,
        value: &'call Variant<'_>,
        server: &'call ObjectServer,
        connection: &'call Connection,
        header: Option<&'call Header<'_>>,
        emitter: &'call SignalEmitter<'_>,
    ) -> DispatchResult<'call> {
        self.object.set(property, value, server, connection, header, emitter)
    }

    async fn set_mut(
        &mut self,
        property: &str,
        value: &Variant<'_>,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<std::result::Result<(), BoxDBusError>> {
        self.object.set_mut(property, value, server, connection, header, emitter).await
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        DispatchResult::Async(Box::pin(async move {
            let call = answer(
                self.object.clone(),
                server.clone(),
                connection.clone(),
                message.clone(),
                name.into_owned(),
            );
            match self.queue(message, call).await {
                Err(refusal) if expects_reply(message) => Err(Box::new(refusal) as BoxDBusError),
                _ => Ok(()),
            }
        }))
    }

    fn call_mut<'call>(
        &'call mut self,
        _server: &'call ObjectServer,
        _connection: &'call Connection,
        _message: &'call Message,
        _name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        DispatchResult::NotFound
    }

    fn introspect_to_writer(&self, writer: &mut dyn Write, level: usize) {
        if level == OWN_LEVEL {
            self.object.introspect_to_writer(writer, level);
        }
    }
}

/// Handles a call when it is its turn; errors are answered here, the rest is by the method.
async fn answer<I: Interface>(
    object: I,
    server: ObjectServer,
    connection: Connection,
    message: Message,
    name: MemberName<'static>,
) {
    let unknown = fdo::Error::UnknownMethod(format!("Unknown method '{name}'"));
    let done = match object.call(&server, &connection, &message, name) {
        DispatchResult::Async(method) => method.await,
        // No interface of ours has methods that need it for themselves.
        DispatchResult::NotFound | DispatchResult::RequiresMut => Err(unknown.into()),
    };
    if let Err(error) = done
        && expects_reply(&message)
        && let Err(error) = connection.reply_dbus_error(&message.header(), error).await
    {
        tracing::debug!(%error, "an error could not be answered");
    }
}

fn expects_reply(message: &Message) -> bool {
    !message.header().primary().flags().contains(Flags::NO_REPLY_EXPECTED)
}
