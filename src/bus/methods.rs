//! Invoking methods that entities export: the service stands between the two clients.
//!
//! A target may take its time, never answer, or call back before it does. So an invocation leaves
//! the caller's queue, and each question to a target is a task of its own, which goes on when nobody
//! waits for the answer any more.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use zbus::{Connection, DBusError as _, Message};

use super::{
    context::Context,
    questions::Questions,
    wire::{CALLBACK, MethodOutput},
};
use crate::{
    model::{Caller, EntityId, Error, ErrorKind, MethodSet, MethodStatus, Result},
    rib::{Invocation, Target},
};

/// Questions to all targets together that are open at a time.
const QUESTIONS: usize = 64;

/// The invocations that are under way.
#[derive(Debug)]
pub(super) struct Methods {
    /// An entity lets its methods go again, or is gone.
    changed: Notify,
    callers: Places<String>,
    targets: Places<EntityId>,
    questions: Questions,
    asking: Mutex<JoinSet<()>>,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) caller: EntityId,
    pub(super) target: EntityId,
    pub(super) methods: MethodSet,
    pub(super) input: Vec<u8>,
}

/// An invocation that may begin.
#[derive(Debug)]
pub(super) struct Admitted {
    request: Request,
    deadline: Instant,
    most_bytes: usize,
    _caller: Place<String>,
    target: Arc<Place<EntityId>>,
}

/// How many invocations each has.
#[derive(Debug)]
struct Places<K>(Arc<Mutex<HashMap<K, u32>>>);

/// One of them.
#[derive(Debug)]
struct Place<K: Eq + Hash> {
    of: Arc<Mutex<HashMap<K, u32>>>,
    key: K,
}

impl Methods {
    pub(super) fn new() -> Self {
        Self {
            changed: Notify::new(),
            callers: Places::new(),
            targets: Places::new(),
            questions: Questions::new(QUESTIONS),
            asking: Mutex::default(),
        }
    }

    /// To be said when an entity does not block its methods any more, or is gone.
    pub(super) fn tell_of_change(&self) {
        self.changed.notify_waiters();
    }

    /// Drops all questions.
    pub(super) fn stop(&self) {
        self.asking().abort_all();
    }

    fn asking(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes up an invocation, in the caller's turn.
///
/// # Errors
/// `InvalidHandle` for a target that is not there, `Busy` for a caller that blocks itself,
/// `InvalidParameter` for arguments out of their domain, `NoSystemResources` beyond a limit.
pub(super) fn admit(
    context: &Context,
    caller: &Caller,
    request: Request,
    timeout: u32,
) -> Result<Admitted> {
    let limits = context.rib.with(|rib| {
        rib.authorize(request.caller, caller)?;
        rib.invocation(request.caller, request.target)?;
        Ok(rib.policy().limits)
    })?;
    let (bytes, most_bytes) = (request.input.len(), limits.invocation_bytes as usize);
    if bytes > most_bytes {
        return Err(ErrorKind::InvalidParameter.because(format_args!(
            "an input of {bytes} bytes, and {most_bytes} is the most (limit invocation-bytes)"
        )));
    }
    if request.methods == MethodSet::default() {
        return Err(ErrorKind::InvalidParameter.because("no method is selected"));
    }
    if timeout == 0 {
        return Err(ErrorKind::InvalidParameter.because("a time of 0 milliseconds"));
    }
    let methods = &context.methods;
    let most = limits.invocations_per_client;
    let place = methods.callers.take(&caller.bus_name, most, "client")?;
    let most = limits.invocations_per_entity;
    let target = methods.targets.take(&request.target, most, "entity")?;
    let patience = Duration::from_millis(timeout.min(limits.invocation_timeout).into());
    let deadline = Instant::now() + patience;
    Ok(Admitted { request, deadline, most_bytes, _caller: place, target: Arc::new(target) })
}

impl Admitted {
    /// Asks the target for each method, one after the other.
    ///
    /// # Errors
    /// `InvalidHandle` when the target goes meanwhile, `Timeout` when it blocks its methods or does
    /// not answer for too long.
    pub(super) async fn carry_out(
        self,
        context: &Context,
        connection: &Connection,
    ) -> Result<Vec<MethodOutput>> {
        let mut outputs = Vec::new();
        for (method, exported) in self.ready(context).await?.select(self.request.methods) {
            outputs.push(if exported {
                let target = self.ready(context).await?;
                self.ask(context, connection, &target, method).await?
            } else {
                failed(method, MethodStatus::NOT_FOUND)
            });
        }
        Ok(outputs)
    }

    /// Waits until the target does not block its methods.
    async fn ready(&self, context: &Context) -> Result<Target> {
        let Request { caller, target, .. } = self.request;
        loop {
            let changed = context.methods.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            match context.rib.with(|rib| rib.invocation(caller, target))? {
                Invocation::Ready(target) => return Ok(target),
                Invocation::Blocked => {}
            }
            timeout_at(self.deadline, changed)
                .await
                .map_err(|_| self.late("blocked its methods for too long"))?;
        }
    }

    async fn ask(
        &self,
        context: &Context,
        connection: &Connection,
        target: &Target,
        method: MethodSet,
    ) -> Result<MethodOutput> {
        let Some(callback) = target.callback.clone() else {
            return Ok(failed(method, MethodStatus::NOT_FOUND));
        };
        let place = timeout_at(self.deadline, context.methods.questions.place(target.user)).await;
        let Ok(Some(question)) = place else {
            return Err(self.late("was not asked: too many others are"));
        };
        let (answer, answered) = oneshot::channel();
        let (connection, bus_name) = (connection.clone(), target.bus_name.clone());
        let body = (self.request.caller.0, method.0, self.request.input.clone());
        let held = (question, Arc::clone(&self.target));
        let asking = async move {
            let (to, interface) = (Some(bus_name), Some(CALLBACK));
            let call = connection.call_method(to, callback, interface, "InvokeMethod", &body);
            // Nobody may be waiting any more.
            let _ = answer.send(call.await);
            drop(held);
        };
        {
            let mut all = context.methods.asking();
            while all.try_join_next().is_some() {}
            all.spawn(asking);
        }
        match timeout_at(self.deadline, answered).await {
            Ok(Ok(answer)) => self.read(method, answer),
            Ok(Err(_)) => Err(ErrorKind::NoSystemResources.because("the service is stopping")),
            Err(_) => Err(self.late("did not answer in time")),
        }
    }

    fn read(&self, method: MethodSet, answer: zbus::Result<Message>) -> Result<MethodOutput> {
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => {
                let gone = format_args!("entity {} is gone", self.request.target);
                let failed = status_of(&error).map(|status| failed(method, status));
                return failed.ok_or_else(|| ErrorKind::InvalidHandle.because(gone));
            }
        };
        let body = reply.body();
        Ok(match body.deserialize::<(u32, &[u8])>() {
            Ok((_, output)) if output.len() > self.most_bytes => {
                failed(method, MethodStatus::OUTPUT_TOO_LONG)
            }
            Ok((status, output)) => {
                MethodOutput { method: method.0, status, output: output.to_vec() }
            }
            Err(_) => failed(method, MethodStatus::INVALID_DATA),
        })
    }

    fn late(&self, what: &str) -> Error {
        ErrorKind::Timeout.because(format_args!("entity {} {what}", self.request.target))
    }
}

fn failed(method: MethodSet, status: MethodStatus) -> MethodOutput {
    MethodOutput { method: method.0, status: status.0, output: Vec::new() }
}

/// What an error amounts to; none when there is nobody to answer.
fn status_of(error: &zbus::Error) -> Option<MethodStatus> {
    let name = match error {
        zbus::Error::MethodError(name, ..) => name.to_string(),
        zbus::Error::FDO(error) => error.name().to_string(),
        _ => return None,
    };
    match name.rsplit('.').next()? {
        "Disconnected" | "NameHasNoOwner" | "NoReply" | "ServiceUnknown" => None,
        "NotSupported" | "UnknownInterface" | "UnknownMethod" | "UnknownObject" => {
            Some(MethodStatus::NOT_SUPPORTED)
        }
        _ => Some(MethodStatus::FAILURE),
    }
}

impl<K: Clone + Eq + fmt::Display + Hash> Places<K> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn take(&self, key: &K, most: u32, of: &str) -> Result<Place<K>> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= most {
            return Err(ErrorKind::NoSystemResources.because(format_args!(
                "{count} invocations of {of} {key} are under way, the most (limit \
                 invocations-per-{of}): wait for one"
            )));
        }
        *count += 1;
        Ok(Place { of: Arc::clone(&self.0), key: key.clone() })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}
