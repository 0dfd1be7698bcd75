//! Turns lines into calls: many at a time when there are many, at once when there is one.

use std::collections::{BTreeMap, VecDeque};

use rtmd::{
    bus::wire::Details,
    client::{Failure, ManagerProxy, TableProxy},
    model::{EntityKey, ErrorKind, Family, Prefix, TableId},
};
use tokio::task::JoinHandle;

use super::{
    Registration,
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

/// How long routes stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keep {
    /// As long as the program, and so many milliseconds longer if it is lost.
    Linger(u32),
    /// Until they are taken back: they belong to the user.
    Shared,
}

/// What the lines became so far.
pub(super) struct Loader {
    manager: ManagerProxy<'static>,
    instance: u32,
    /// What `default` means, and the only family there is, if one was asked for.
    only: Option<Family>,
    registration: Registration,
    /// A registration for each family that a line needed.
    sessions: BTreeMap<Family, Session>,
    calls: VecDeque<(Family, JoinHandle<Answer>)>,
    interfaces: Interfaces,
    totals: Totals,
}

impl Loader {
    /// Nothing is registered before a line needs it.
    pub(super) fn new(context: &Context, registration: Registration) -> Self {
        Self {
            manager: context.manager.clone(),
            instance: context.instance(),
            only: context.scope.family(),
            registration,
            sessions: BTreeMap::new(),
            calls: VecDeque::new(),
            interfaces: Interfaces::new(context.scope.host.is_some()),
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
        let unreadable = |error| Problem::Local(format!("cannot read the input: {error}"));
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
        self.settle_all(events, out).await
    }

    /// Takes back what was there before, and that no line was about.
    pub(super) async fn withdraw_rest(
        &mut self,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), Problem> {
        self.find(events, out).await?;
        for family in Family::ALL {
            let Some(session) = self.sessions.get(&family) else { continue };
            for prefix in session.untouched() {
                let Some(session) = self.sessions.get_mut(&family) else { continue };
                // What is not offered any more needs no withdrawing.
                let _ = session.delete(0, prefix);
                if session.is_full() {
                    self.settle_all(events, out).await?;
                }
            }
        }
        self.settle_all(events, out).await
    }

    /// Goes on with what is registered already in the families asked for; returns how many there are.
    pub(super) async fn find(
        &mut self,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<usize, Problem> {
        for family in Family::ALL {
            let wanted = self.only.is_none_or(|only| only == family);
            if wanted && !self.sessions.contains_key(&family) {
                let table = TableId::new(self.instance, family);
                let key = self.key(table.map_err(|error| Problem::Local(error.message))?);
                match Session::find(&self.manager, key).await {
                    Ok(Some(session)) => self.welcome(session, key.table, events, out)?,
                    Ok(None) => {}
                    // An instance may have one family only.
                    Err(Problem::Call(failure))
                        if failure.kind() == Some(ErrorKind::FileNotFound) => {}
                    Err(problem) => return Err(problem),
                }
            }
        }
        Ok(self.sessions.len())
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
        let key = self.key(table);
        let mut options = Details::new();
        match self.registration.keep {
            Keep::Linger(time) => options.insert("linger".to_owned(), time.into()),
            Keep::Shared => options.insert("shared".to_owned(), true.into()),
        };
        if let Some(label) = &self.registration.label {
            options.insert("label".to_owned(), zbus::Str::from(label.clone()).into());
        }
        let session = match Session::register(&self.manager, key, &options).await {
            Err(Problem::Call(failure))
                if failure.kind() == Some(ErrorKind::AlreadyExists)
                    && self.registration.keep == Keep::Shared =>
            {
                let found = Session::find(&self.manager, key).await?;
                found.ok_or(Problem::Call(failure))
            }
            other => other,
        };
        self.welcome(session.map_err(advise)?, table, events, out)
    }

    fn key(&self, table: TableId) -> EntityKey {
        let Registration { protocol, protocol_instance, .. } = self.registration;
        EntityKey { table, protocol, protocol_instance }
    }

    fn welcome(
        &mut self,
        session: Session,
        table: TableId,
        events: &mut Events,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let (id, path) = (session.id(), session.path());
        match session.had() {
            None => events.registered(out, &table.to_string(), id, path)?,
            Some(routes) => events.resumed(out, &table.to_string(), id, path, routes)?,
        }
        self.sessions.insert(table.family, session);
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
