//! Turns lines into calls: many at a time when there are many, at once when there is one.

use std::collections::{BTreeMap, VecDeque};

use rtmd::{
    bus::wire::Details,
    client::{Failure, TableProxy},
    model::{EntityKey, ErrorKind, Family, Prefix, TableId},
};
use tokio::task::JoinHandle;

use super::{
    Registration,
    events::{Events, Totals},
    input::{Input, Next},
    patience::Patience,
    session::{Answer, Change, LineError, Session},
};
use crate::{
    context::{Context, Problem},
    interfaces::Interfaces,
    lines::Line,
};

/// How many calls may wait for their answers: enough that neither side waits for the other.
const IN_FLIGHT: usize = 8;

/// What the service says of a table or a registration that is not there for this user.
const NOT_OURS: [ErrorKind; 3] =
    [ErrorKind::FileNotFound, ErrorKind::AlreadyExists, ErrorKind::AccessDenied];

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
    patience: Patience,
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
    pub(super) fn new(context: &Context, patience: Patience, registration: Registration) -> Self {
        Self {
            patience,
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
    pub(super) async fn load(&mut self, input: &mut Input, events: &Events) -> Result<(), Problem> {
        let unreadable = |error| Problem::Local(format!("cannot read the input: {error}"));
        input.ready().await.map_err(unreadable)?;
        events.start();
        loop {
            match input.next_now().map_err(unreadable)? {
                Next::Line(number, line) => self.take(number, &line, events).await?,
                Next::Nothing => {
                    self.send();
                    tokio::select! {
                        biased;
                        ready = input.ready() => ready.map_err(unreadable)?,
                        answer = first_answer(&mut self.calls) => {
                            self.settle(answer, events)?;
                        }
                    }
                }
                Next::End => break,
            }
            events.progress(input.taken(), input.size(), self.totals);
        }
        self.settle_all(events).await
    }

    /// Takes back what was there before, and that no line was about.
    pub(super) async fn withdraw_rest(&mut self, events: &Events) -> Result<(), Problem> {
        self.find(events).await?;
        for family in Family::ALL {
            let Some(session) = self.sessions.get(&family) else { continue };
            for prefix in session.untouched() {
                let Some(session) = self.sessions.get_mut(&family) else { continue };
                // What is not offered any more needs no withdrawing.
                let _ = session.delete(0, prefix);
                if session.is_full() {
                    self.settle_all(events).await?;
                }
            }
        }
        self.settle_all(events).await
    }

    /// Goes on with what is registered already in the families asked for, or is left behind there by
    /// an earlier life; returns how many registrations there are.
    pub(super) async fn find(&mut self, events: &Events) -> Result<usize, Problem> {
        for family in Family::ALL {
            let wanted = self.only.is_none_or(|only| only == family);
            if !wanted || self.sessions.contains_key(&family) {
                continue;
            }
            match self.find_in(family, events).await {
                // An instance may have one family only, and others' registrations are theirs.
                Err(Problem::Call(failure))
                    if failure.kind().is_some_and(|it| NOT_OURS.contains(&it)) => {}
                done => done?,
            }
        }
        Ok(self.sessions.len())
    }

    async fn find_in(&mut self, family: Family, events: &Events) -> Result<(), Problem> {
        let key = self.key(family)?;
        match self.registration.keep {
            Keep::Linger(0) => {}
            Keep::Linger(_) => {
                let look = || Session::is_left_behind(&self.patience, key);
                if self.patience.call(look).await? {
                    self.register(family, events).await?;
                }
            }
            Keep::Shared => {
                if let Some(session) = self.find_held(key).await? {
                    self.welcome(session, key.table, events)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on with a registration that is active already, if it is the user's or this connection's.
    async fn find_held(&self, key: EntityKey) -> Result<Option<Session>, Problem> {
        let connection = self.patience.manager().inner().connection();
        let holder = match self.registration.keep {
            Keep::Shared => "",
            // From a call that got no answer.
            Keep::Linger(_) => connection.unique_name().map_or("", |name| name.as_str()),
        };
        self.patience.call(|| Session::find(&self.patience, key, holder)).await
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

    async fn take(&mut self, number: u64, line: &str, events: &Events) -> Result<(), Problem> {
        let done = match Line::parse(line, self.only) {
            Ok(None) => Ok(()),
            Ok(Some(line)) => self.change(number, &line, events).await,
            Err(why) => Err(LineError::Refused(why)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(LineError::Refused(why)) => {
                self.totals.refused += 1;
                events.refused(number, &why)
            }
            Err(LineError::Fatal(problem)) => Err(problem),
        }
    }

    async fn change(&mut self, number: u64, line: &Line, events: &Events) -> Result<(), LineError> {
        let (prefix, change) = match line {
            Line::Add(offer) => (offer.prefix, Change::Add),
            Line::Delete(prefix) => (*prefix, Change::Delete),
        };
        self.check_family(prefix).map_err(LineError::Refused)?;
        self.register(prefix.family(), events).await.map_err(LineError::Fatal)?;
        let session = self.sessions.get(&prefix.family());
        if session.is_some_and(|session| session.must_settle(prefix, change)) {
            self.settle_all(events).await.map_err(LineError::Fatal)?;
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
                self.settle(answer, events).map_err(LineError::Fatal)?;
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

    async fn register(&mut self, family: Family, events: &Events) -> Result<(), Problem> {
        if self.sessions.contains_key(&family) {
            return Ok(());
        }
        let key = self.key(family)?;
        let mut options = Details::new();
        match self.registration.keep {
            Keep::Linger(time) => options.insert("linger".to_owned(), time.into()),
            Keep::Shared => options.insert("shared".to_owned(), true.into()),
        };
        if let Some(label) = &self.registration.label {
            options.insert("label".to_owned(), zbus::Str::from(label.clone()).into());
        }
        let session = match Session::register(&self.patience, key, &options).await {
            Err(Problem::Call(failure)) if failure.kind() == Some(ErrorKind::AlreadyExists) => {
                self.find_held(key).await?.ok_or(Problem::Call(failure))
            }
            other => other,
        };
        self.welcome(session.map_err(advise)?, key.table, events)
    }

    fn key(&self, family: Family) -> Result<EntityKey, Problem> {
        let Registration { protocol, protocol_instance, .. } = self.registration;
        let table = TableId::new(self.instance, family);
        let table = table.map_err(|error| Problem::Local(error.message))?;
        Ok(EntityKey { table, protocol, protocol_instance })
    }

    fn welcome(
        &mut self,
        session: Session,
        table: TableId,
        events: &Events,
    ) -> Result<(), Problem> {
        let (id, path) = (session.id(), session.path());
        match session.had() {
            None => events.registered(&table.to_string(), id, path)?,
            Some(routes) => events.resumed(&table.to_string(), id, path, routes)?,
        }
        self.sessions.insert(table.family, session);
        Ok(())
    }

    fn send(&mut self) {
        for (family, session) in &mut self.sessions {
            self.calls.extend(session.send().into_iter().map(|call| (*family, call)));
        }
    }

    async fn settle_all(&mut self, events: &Events) -> Result<(), Problem> {
        self.send();
        while !self.calls.is_empty() {
            let answer = first_answer(&mut self.calls).await;
            self.settle(answer, events)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        (family, answer): (Family, Answer),
        events: &Events,
    ) -> Result<(), Problem> {
        let Some(session) = self.sessions.get_mut(&family) else { return Ok(()) };
        for (line, why) in session.settle(answer, &mut self.totals)? {
            self.totals.refused += 1;
            events.refused(line, &why)?;
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
