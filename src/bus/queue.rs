//! A queue of calls for each client: its calls take effect in the order sent, and no client waits
//! for another.
//!
//! zbus hands the calls over in the order the bus delivers them, and each is only put into its
//! client's queue. A task for each client that has calls runs them one after the other, so the
//! tasks of several clients take turns. What a reader would get wrong: a call that waits for another
//! client must not hold up those behind it, which may be what that client waits for; [`detach`]
//! takes it out of the queue.
//!
//! Calls that are not answered yet count against the client and its user. Beyond the limits a call
//! is refused at once, which touches nobody else.

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::{
    model::{Caller, ErrorKind, Result},
    rib::Limits,
};

/// The queues of all clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    clients: HashMap<String, Queue>,
    users: HashMap<u32, Load>,
    stopped: bool,
}

/// The calls of one client.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// The task that runs them, while there are any.
    runner: Option<JoinHandle<()>>,
    /// Calls that wait for somebody else.
    detached: JoinSet<()>,
    load: Load,
}

/// Calls that are not answered yet.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    calls: u32,
    bytes: u64,
}

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Job {
    call: Call,
    charge: Charge,
}

/// What a call counts for, until it is dropped.
struct Charge {
    queues: Queues,
    bus_name: String,
    uid: u32,
    bytes: u64,
}

tokio::task_local! {
    /// Whether the call that is being run has left its queue.
    static DETACHED: Cell<bool>;
}

/// Takes the call that is being handled out of its client's queue: the next one begins, and this
/// one goes on beside it. When the client goes, it is dropped wherever it waits.
pub(super) async fn detach() {
    // A call that no queue runs is in nobody's way.
    let _ = DETACHED.try_with(|detached| detached.set(true));
    yield_now().await;
}

impl Queues {
    /// Puts a call behind the others of its client. `bytes` is what its message holds in memory.
    ///
    /// # Errors
    /// `NoSystemResources` beyond a limit of the client or of its user.
    pub(super) fn push(
        &self,
        caller: &Caller,
        limits: &Limits,
        bytes: usize,
        call: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let Caller { bus_name, uid } = caller;
        let bytes = bytes as u64;
        let mut state = self.state();
        state.check_room(caller, limits, bytes)?;
        state.users.entry(*uid).or_default().add(bytes);
        let charge = Charge { queues: self.clone(), bus_name: bus_name.clone(), uid: *uid, bytes };
        let queue = state.clients.entry(bus_name.clone()).or_default();
        queue.load.add(bytes);
        queue.waiting.push_back(Job { call: Box::pin(call), charge });
        if queue.runner.is_none() {
            queue.runner = Some(tokio::spawn(self.clone().run(bus_name.clone())));
        }
        Ok(())
    }

    /// Ends the queue of a client that is gone: what waits is dropped, the call that is being run
    /// is finished, because half of it may be done.
    pub(super) async fn close(&self, bus_name: &str) {
        let (waiting, runner) = match self.state().clients.get_mut(bus_name) {
            Some(queue) => (std::mem::take(&mut queue.waiting), queue.runner.take()),
            None => return,
        };
        drop(waiting);
        if let Some(runner) = runner {
            let _ = runner.await;
        }
        let queue = self.state().clients.remove(bus_name);
        if let Some(mut queue) = queue {
            queue.detached.shutdown().await;
        }
    }

    /// Drops all calls and takes no more.
    pub(super) fn stop(&self) {
        let clients = {
            let mut state = self.state();
            state.stopped = true;
            std::mem::take(&mut state.clients)
        };
        for runner in clients.values().filter_map(|queue| queue.runner.as_ref()) {
            runner.abort();
        }
    }

    async fn run(self, bus_name: String) {
        while let Some(Job { mut call, charge }) = self.next(&bus_name) {
            let turn = poll_fn(|context| match call.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending if DETACHED.with(Cell::get) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            });
            if DETACHED.scope(Cell::new(false), turn).await {
                drop(charge);
            } else {
                self.run_beside(&bus_name, call, charge);
            }
            // Whoever has many calls takes turns with the others.
            yield_now().await;
        }
    }

    fn next(&self, bus_name: &str) -> Option<Job> {
        let mut state = self.state();
        let queue = state.clients.get_mut(bus_name)?;
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.runner = None;
        }
        next
    }

    fn run_beside(&self, bus_name: &str, call: Call, charge: Charge) {
        if let Some(queue) = self.state().clients.get_mut(bus_name) {
            while queue.detached.try_join_next().is_some() {}
            queue.detached.spawn(async move {
                call.await;
                drop(charge);
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_room(&self, caller: &Caller, limits: &Limits, bytes: u64) -> Result<()> {
        if self.stopped {
            return Err(ErrorKind::NoSystemResources.because("the service is stopping"));
        }
        let Caller { bus_name, uid } = caller;
        let client = self.clients.get(bus_name).map(|queue| queue.load).unwrap_or_default();
        let user = self.users.get(uid).copied().unwrap_or_default();
        let (calls, most) = (limits.calls_per_client, limits.call_bytes_per_client);
        client.check_room(bytes, calls, most, ("client", format_args!("{bus_name}")))?;
        let (calls, most) = (limits.calls_per_user, limits.call_bytes_per_user);
        user.check_room(bytes, calls, most, ("user", format_args!("{uid}")))
    }
}

impl Load {
    fn check_room(
        self,
        bytes: u64,
        calls: u32,
        most: u32,
        (whose, who): (&str, fmt::Arguments<'_>),
    ) -> Result<()> {
        if self.calls >= calls {
            let why = format_args!(
                "{calls} calls of {whose} {who} wait for their answers, the most (limit \
                 calls-per-{whose}): wait for some"
            );
            return Err(ErrorKind::NoSystemResources.because(why));
        }
        if self.bytes + bytes > u64::from(most) {
            let why = format_args!(
                "calls of {whose} {who} with {} bytes wait for their answers, and {bytes} more \
                 would exceed {most} (limit call-bytes-per-{whose}): wait for some, or ask for less \
                 at once",
                self.bytes
            );
            return Err(ErrorKind::NoSystemResources.because(why));
        }
        Ok(())
    }

    fn add(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }

    fn subtract(&mut self, bytes: u64) {
        self.calls -= 1;
        self.bytes -= bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.queues.state();
        if let Some(queue) = state.clients.get_mut(&self.bus_name) {
            queue.load.subtract(self.bytes);
        }
        if let Entry::Occupied(mut user) = state.users.entry(self.uid) {
            user.get_mut().subtract(self.bytes);
            if user.get().calls == 0 {
                user.remove();
            }
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("bytes", &self.charge.bytes).finish_non_exhaustive()
    }
}
