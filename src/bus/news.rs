//! What clients are told without having asked just then: wake-ups, and questions about routes that
//! expired.
//!
//! Whatever is sent to a client is limited until it is heard from again: a bus keeps what a client
//! does not read, and dbus-daemon stops reading from the service when it keeps too much. Nothing on a
//! bus tells who reads. A call that wants an answer comes nearest: who makes those and reads nothing
//! has the bus keep the answers anyhow, and a signal with each is little besides. A call that wants
//! none says nothing, for a client that hangs can have sent thousands of them.
//!
//! What a reader would get wrong: who only listens may make no call for long. A wake-up is sent once
//! until its registration was fetched, so for such a client these never come to the limit, as long as
//! other signals do not count against them; and one that was not sent is owed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use zbus::{Connection, names::BusName, object_server::SignalEmitter};

use super::{
    context::Context,
    convert::{entity_path, fib_result, notification_path, route_info},
    entity::Entity,
    lifecycle,
    notification::Notification,
    questions::Questions,
    wire::CALLBACK,
};
use crate::{
    clock,
    journal::ledger::Ledger,
    model::{Caller, ErrorKind},
    rib::{Question, Verdict, WakeUp},
};

/// How much was sent to each client since it was last heard from.
///
/// Wake-ups have an account of their own: who waits for one says nothing, however much else it is
/// told meanwhile.
#[derive(Debug, Default)]
pub(super) struct Credit(Mutex<HashMap<String, Sent>>);

/// Signals of each kind to one client, or that would have been sent if it were heard from.
#[derive(Debug, Default)]
struct Sent {
    wake_ups: u32,
    expired: u32,
    fib_results: u32,
}

/// Signals of a kind that wait for a client that does not speak.
const UNHEARD: u32 = 1024;

/// Routes that one signal tells the kernel's results of.
const AT_ONCE: usize = 256;

/// The questions about expired routes.
#[derive(Debug)]
pub(super) struct Inquiries {
    open: Questions,
    tasks: Mutex<JoinSet<()>>,
}

/// Open questions to all clients together; invoked methods take places besides these.
const OPEN: usize = 48;

impl Default for Inquiries {
    fn default() -> Self {
        Self { open: Questions::new(OPEN), tasks: Mutex::default() }
    }
}

impl Inquiries {
    /// Drops all questions.
    pub(super) fn stop(&self) {
        self.tasks().abort_all();
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credit {
    /// Whether one more signal of a kind may go to the client. What is kept of the registration is
    /// owed then: a wake-up, or results of the kernel's.
    fn spend(&self, bus_name: &str, kind: fn(&mut Sent) -> &mut u32) -> bool {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = kind(sent.entry(bus_name.to_owned()).or_default());
        *count += 1;
        *count <= UNHEARD
    }

    /// The client made a call that wants an answer, or is gone; says whether it is owed something.
    pub(super) fn forget(&self, bus_name: &str) -> bool {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(bus_name);
        sent.is_some_and(|sent| sent.wake_ups.max(sent.fib_results) > UNHEARD)
    }
}

/// Tells clients what there is to tell, for ever.
pub(super) async fn tell(context: &Arc<Context>, connection: &Connection) {
    loop {
        context.rib.news().await;
        let (wake_ups, questions, departed) = context
            .rib
            .with(|rib| (rib.poll_wake_ups(), rib.poll_questions(), rib.poll_departed()));
        for id in departed {
            tracing::info!(entity = id.0, "nobody resumed it in time, withdrawing its routes");
            let (context, connection) = (Arc::clone(context), connection.clone());
            tokio::spawn(async move { lifecycle::retire(&context, &connection, id).await });
        }
        tell_fib_results(context, connection).await;
        for wake_up in wake_ups {
            wake(context, connection, wake_up).await;
        }
        for question in questions {
            // Some take their time to answer, and others must not wait for them.
            let (own, connection) = (Arc::clone(context), connection.clone());
            context.inquiries.spawn(async move {
                let verdict = ask(&own, &connection, &question).await;
                own.rib.with(|rib| rib.answer_expiry(&question, verdict, clock::now()));
            });
        }
    }
}

/// Tells owners what the kernel made of their routes.
async fn tell_fib_results(context: &Context, connection: &Connection) {
    for (owner, bus_name) in context.rib.with(Ledger::poll_fib_listeners) {
        if !context.credit.spend(&bus_name, |sent| &mut sent.fib_results) {
            continue;
        }
        let results = context.rib.with(|rib| rib.take_fib_results(owner, AT_ONCE));
        let results: Vec<_> = results.into_iter().map(fib_result).collect();
        if !results.is_empty()
            && let Some(emitter) = emitter(connection, entity_path(owner), &bus_name)
        {
            let _ = Entity::fib_result(&emitter, results).await;
        }
    }
}

async fn wake(context: &Context, connection: &Connection, wake_up: WakeUp) {
    if !context.credit.spend(&wake_up.bus_name, |sent| &mut sent.wake_ups) {
        return;
    }
    if let Some(emitter) = emitter(connection, notification_path(wake_up.id), &wake_up.bus_name) {
        let _ = Notification::change_notification(&emitter, wake_up.context).await;
    }
}

/// Asks the owner of an expired route what is to become of it. Who does not say that it stays, lets
/// it go (RTMv2 rows TTL-04 to TTL-09).
async fn ask(context: &Arc<Context>, connection: &Connection, question: &Question) -> Verdict {
    let found = context.rib.with(|rib| {
        let entity = rib.entity(question.owner).ok()?;
        let route = rib.route(entity.key.table, question.route).ok()?;
        let caller = entity.caller.clone();
        Some((caller, entity.terms.callback.clone(), route_info(&route, true)))
    });
    let Some((Caller { bus_name, uid }, callback, route)) = found else { return Verdict::Delete };
    let Some(callback) = callback else {
        if context.credit.spend(&bus_name, |sent| &mut sent.expired)
            && let Some(emitter) = emitter(connection, entity_path(question.owner), &bus_name)
        {
            let _ = Entity::route_expired(&emitter, route).await;
        }
        return Verdict::Delete;
    };
    let deadline = Instant::now() + question.time_left(clock::now().moment);
    let Ok(Some(place)) = timeout_at(deadline, context.inquiries.open.place(uid)).await else {
        tracing::info!(client = bus_name, "too many questions are open to ask about a route");
        return Verdict::Delete;
    };
    let (answer, answered) = oneshot::channel();
    let (connection, client) = (connection.clone(), bus_name.clone());
    context.inquiries.spawn(async move {
        let (to, interface) = (Some(client), Some(CALLBACK));
        // One argument that is a structure, not one for each of its fields.
        let body = (route,);
        let call = connection.call_method(to, callback, interface, "RouteExpired", &body);
        // Nobody may be waiting any more.
        let _ = answer.send(call.await);
        drop(place);
    });
    match timeout_at(deadline, answered).await {
        Ok(Ok(Ok(reply))) => match reply.body().deserialize::<bool>() {
            Ok(false) => Verdict::Keep,
            Ok(true) | Err(_) => Verdict::Delete,
        },
        Ok(Ok(Err(error))) => verdict_of(&error),
        Ok(Err(_)) => Verdict::Delete,
        Err(_) => {
            tracing::info!(client = bus_name, "no answer about an expired route, deleting it");
            Verdict::Delete
        }
    }
}

/// What an error says: that the route may go, that nobody was there to answer, or, with any other,
/// that the owner dealt with it (RTMv2 row TTL-06).
fn verdict_of(error: &zbus::Error) -> Verdict {
    let zbus::Error::MethodError(name, ..) = error else { return Verdict::Delete };
    let not_supported = super::errors::error_name(ErrorKind::NotSupported);
    if name.as_str() == not_supported || name.starts_with("org.freedesktop.DBus.Error.") {
        Verdict::Delete
    } else {
        Verdict::Keep
    }
}

fn emitter<'c>(
    connection: &Connection,
    path: zbus::OwnedObjectPath,
    bus_name: &'c str,
) -> Option<SignalEmitter<'c>> {
    let to = BusName::try_from(bus_name).ok()?;
    Some(SignalEmitter::new(connection, path).ok()?.set_destination(to))
}
