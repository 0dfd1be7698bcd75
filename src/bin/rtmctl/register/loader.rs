//! Turns lines into calls: many at a time when there are many, at once when there is one.

use std::collections::{BTreeMap, VecDeque};

use rtmd::{
    bus::wire::Details,
    client::{Failure, ManagerProxy, TableProxy},
    model::{EntityKey, Family, Prefix, Protocol, TableId},
};
use tokio::task::JoinHandle;

use super::{
    Arguments,
    events::{Events, Totals},
    input::{Input, Next},
    session::{Answer, Change, LineError, Session},
};
use crate::{
    context::{Context, Problem},
    interfaces::Interfaces,
    lines::Line,
    output::Output,
};

/// How many calls may wait for their answers: enough that neither side waits for the other.
const IN_FLIGHT: usize = 8;

/// What the lines became so far.
pub(super) struct Loader {
    manager: ManagerProxy<'static>,
    instance: u32,
    /// What `default` means, and the only family there is, if one was asked for.
    only: Option<Family>,
    protocol: Protocol,
    protocol_instance: u32,
    label: Option<String>,
    /// Milliseconds.
    linger: u32,
    /// A registration for each family that a line needed.
    sessions: BTreeMap<Family, Session>,
    calls: VecDeque<(Family, JoinHandle<Answer>)>,
    interfaces: Interfaces,
    totals: Totals,
}

impl Loader {
    /// Nothing is registered before a line needs it.
    pub(super) fn new(context: &Context, arguments: &Arguments) -> Self {
        Self {
            manager: context.manager.clone(),
            instance: context.instance(),
            only: context.scope.family(),
            protocol: arguments.protocol,
            protocol_instance: arguments.protocol_instance,
            label: arguments.label.clone(),
            linger: arguments.linger * 1000,
            sessions: BTreeMap::new(),
            calls: VecDeque::new(),
            interfaces: Interfaces::default(),
            totals: Totals::default(),
        }
    }

    /// Takes all lines; returns when each is answered.
    pub(super) async fn load(
        &mut self,
        input: &mut Input,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let unreadable = |error| Problem::Local(format!("cannot read standard input: {error}"));
        input.ready().await.map_err(unreadable)?;
        events.start();
        loop {
            match input.next_now().map_err(unreadable)? {
                Next::Line(number, line) => self.take(number, &line, events, out).await?,
                Next::Nothing => {
                    self.send();
                    tokio::select! {
                        biased;
                        ready = input.ready() => ready.map_err(unreadable)?,
                        answer = first_answer(&mut self.calls) => {
                            self.settle(answer, events, out)?;
                        }
                    }
                }
                Next::End => break,
            }
            events.progress(input.taken(), input.size(), self.totals);
        }
        self.settle_all(events, out).await?;
        events.loaded(out, self.totals)
    }

    /// Takes back what an earlier life offered and the input did not.
    pub(super) async fn end_of_sync(&mut self) -> Result<(), Problem> {
        for session in self.sessions.values() {
            session.end_of_sync().await?;
        }
        Ok(())
    }

    /// Ends the registrations, and with them the routes.
    pub(super) async fn deregister(&mut self) -> Result<(), Problem> {
        for session in self.sessions.values() {
            session.deregister().await?;
        }
        Ok(())
    }

    /// What came of the lines.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// The tables that something was offered in.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TableProxy<'static>> {
        self.sessions.values().map(Session::table)
    }

    async fn take(
        &mut self,
        number: u64,
        line: &str,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let done = match Line::parse(line, self.only) {
            Ok(None) => Ok(()),
            Ok(Some(line)) => self.change(number, &line, events, out).await,
            Err(why) => Err(LineError::Refused(why)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(LineError::Refused(why)) => {
                self.totals.refused += 1;
                events.refused(out, number, &why)
            }
            Err(LineError::Fatal(problem)) => Err(problem),
        }
    }

    async fn change(
        &mut self,
        number: u64,
        line: &Line,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), LineError> {
        let (prefix, change) = match line {
            Line::Add(offer) => (offer.prefix, Change::Add),
            Line::Delete(prefix) => (*prefix, Change::Delete),
        };
        self.check_family(prefix).map_err(LineError::Refused)?;
        self.register(prefix.family(), events, out).await.map_err(LineError::Fatal)?;
        let session = self.sessions.get(&prefix.family());
        if session.is_some_and(|session| session.must_settle(prefix, change)) {
            self.settle_all(events, out).await.map_err(LineError::Fatal)?;
        }
        let Some(session) = self.sessions.get_mut(&prefix.family()) else { return Ok(()) };
        match line {
            Line::Add(offer) => session.add(number, offer, &mut self.interfaces).await?,
            Line::Delete(prefix) => session.delete(number, *prefix)?,
        }
        if session.is_full() {
            self.send();
            while self.calls.len() > IN_FLIGHT {
                let answer = first_answer(&mut self.calls).await;
                self.settle(answer, events, out).map_err(LineError::Fatal)?;
            }
        }
        Ok(())
    }

    fn check_family(&self, prefix: Prefix) -> Result<(), String> {
        match self.only {
            Some(only) if only != prefix.family() => {
                Err(format!("{prefix} is not of the family asked for, {only}"))
            }
            _ => Ok(()),
        }
    }

    async fn register(
        &mut self,
        family: Family,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), Problem> {
        if self.sessions.contains_key(&family) {
            return Ok(());
        }
        let table = TableId::new(self.instance, family);
        let table = table.map_err(|error| Problem::Local(error.message))?;
        let Self { protocol, protocol_instance, .. } = *self;
        let key = EntityKey { table, protocol, protocol_instance };
        let mut options: Details = [("linger".to_owned(), self.linger.into())].into();
        if let Some(label) = &self.label {
            options.insert("label".to_owned(), zbus::Str::from(label.clone()).into());
        }
        let session = Session::register(&self.manager, key, &options).await;
        let session = session.map_err(advise)?;
        events.registered(out, &table.to_string(), session.id(), session.path())?;
        self.sessions.insert(family, session);
        Ok(())
    }

    fn send(&mut self) {
        for (family, session) in &mut self.sessions {
            self.calls.extend(session.send().into_iter().map(|call| (*family, call)));
        }
    }

    async fn settle_all(&mut self, events: &mut Events, out: &mut Output) -> Result<(), Problem> {
        self.send();
        while !self.calls.is_empty() {
            let answer = first_answer(&mut self.calls).await;
            self.settle(answer, events, out)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        (family, answer): (Family, Answer),
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let Some(session) = self.sessions.get_mut(&family) else { return Ok(()) };
        for (line, why) in session.settle(answer, &mut self.totals)? {
            self.totals.refused += 1;
            events.refused(out, line, &why)?;
        }
        Ok(())
    }
}

/// Says who may register, where the bus says only that somebody may not.
fn advise(problem: Problem) -> Problem {
    match problem {
        Problem::Call(Failure::Denied(reason)) => Problem::Call(Failure::Denied(format!(
            "{reason}; without a [[grant]] to register one has to be root or in the group rtmd: use sudo, \
             or as root \"usermod --append --groups rtmd USER\" and log in again"
        ))),
        other => other,
    }
}

/// Waits for the oldest call; for ever when there is none. Forgets nothing when cancelled.
async fn first_answer(calls: &mut VecDeque<(Family, JoinHandle<Answer>)>) -> (Family, Answer) {
    loop {
        let Some((family, call)) = calls.front_mut() else { return std::future::pending().await };
        let (family, answer) = (*family, call.await);
        calls.pop_front();
        match answer {
            Ok(answer) => return (family, answer),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Calls are cancelled only when the runtime ends, and nobody waits then.
            Err(_) => {}
        }
    }
}
