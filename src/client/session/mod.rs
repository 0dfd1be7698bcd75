//! A registration that is kept: who has one says what it offers, and the rest is done for it.
//!
//! A [`Session`] knows all routes that its owner wishes to offer. As long as the service is there
//! it passes changes on, many in a call. When the service restarts it waits, and goes on: the
//! service knows its clients again. When the service lost what it knew (another `Epoch`), or when
//! the bus was lost and the registration with it, the session registers anew, offers everything
//! again, and ends that with `EndOfSync`, so that what is not wished for any more goes. What was
//! changed meanwhile is offered as it is then, not as it was. After the start of a program only the
//! program knows when it has offered everything, and says so with [`Session::complete`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rtmd::{
//!     client::session::{Ending, Route, Session, Settings},
//!     model::{EntityKey, Family, Protocol, TableId},
//! };
//!
//! let table = TableId::new(0, Family::Ipv4)?;
//! let key = EntityKey { table, protocol: Protocol::RIP, protocol_instance: 0 };
//! let session = Session::open(Settings::new(key).label("my-router")).await?;
//! let prefix: rtmd::model::Prefix = "198.51.100.0/24".parse()?;
//! session.offer(prefix, Route::via("192.0.2.2".parse()?))?;
//! session.complete();
//! session.settled().await?;
//! for refusal in session.refusals() {
//!     eprintln!("{}: {}", refusal.key.destination, refusal.why);
//! }
//! session.close(Ending::Withdraw).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What a reader would get wrong: that an offer is taken in says only that the session keeps it.
//! What the service thinks of it shows after [`Session::settled`], in [`Session::refusals`].

mod hops;
mod keeper;
mod link;
mod pause;
mod route;
mod wishes;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{Bus, Failure};
use crate::{bus::wire::Profile, model::EntityKey};
use keeper::Keeper;
pub use route::{Route, RouteKey, Via};
use wishes::Wishes;

/// Who a session registers as, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bus of the service; [`Bus::System`] unless said otherwise.
    pub bus: Bus,
    /// The table, the protocol, and which of several of that protocol.
    pub key: EntityKey,
    /// What it is called in lists, at most 64 characters.
    pub label: String,
    /// How long its routes outlive a lost connection, in whole milliseconds; zero, the default,
    /// withdraws them at once, and 4294967295 ms or more is for ever, where policy permits.
    pub linger: Duration,
    /// The most routes that the session keeps, about 250 bytes each, and 100 more for a [`Route`]
    /// that is not shared; as many as the service takes of one user by default.
    pub most_routes: usize,
}

/// How far a session is.
#[derive(Clone, Debug)]
pub enum Status {
    /// The service was told all that is wished; changes follow at once.
    Connected,
    /// Registered, and everything is being offered, for the first time or again.
    Resyncing,
    /// There is no bus, no service, or no room; the session tries again by itself. Wishes are kept.
    Waiting(Failure),
    /// The registration was refused in a way that trying again does not change: the session is
    /// over.
    Ended(Failure),
}

/// How to end a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Its routes are withdrawn.
    Withdraw,
    /// Its routes stay for as long as [`Settings::linger`] says, for who registers as the same
    /// again.
    Linger,
}

/// A route that the service refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Which route.
    pub key: RouteKey,
    /// Why.
    pub why: Failure,
}

/// A registration that is kept.
///
/// Dropping it is like dying: the connection goes, and what [`Settings::linger`] says happens.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    ending: watch::Sender<Option<Ending>>,
    keeper: JoinHandle<Result<(), Failure>>,
}

/// What a session and the task behind it share.
#[derive(Debug)]
struct Shared {
    wishes: Mutex<Wishes>,
    profile: Mutex<Option<Profile>>,
    status: watch::Sender<Status>,
    /// Something was wished.
    wished: Notify,
    /// Something was answered.
    answered: Notify,
}

impl Settings {
    /// On the system bus, without a label, and without lingering.
    pub fn new(key: EntityKey) -> Self {
        let (bus, label) = (Bus::System, String::new());
        Self { bus, key, label, linger: Duration::ZERO, most_routes: 4_000_000 }
    }

    /// With this label.
    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }
}

impl Session {
    /// Registers, and begins to keep the registration. Takes a tokio runtime to run in.
    ///
    /// Where the service cannot be reached or has no room, the session waits for it, as
    /// [`Session::status`] tells.
    ///
    /// # Errors
    /// Why the service refused the registration: `AlreadyExists` for one that somebody else holds
    /// and does not give up within seconds, `FileNotFound` for a table that is not configured,
    /// [`Failure::Denied`] for a user that may not register, and what else `RegisterEntity` lists.
    pub async fn open(settings: Settings) -> Result<Self, Failure> {
        let (ending, ended) = watch::channel(None);
        let shared = Arc::new(Shared {
            wishes: Mutex::new(Wishes::new(settings.most_routes)),
            profile: Mutex::new(None),
            status: watch::channel(Status::Resyncing).0,
            wished: Notify::new(),
            answered: Notify::new(),
        });
        let keeper = Keeper::open(settings, Arc::clone(&shared), ended).await?;
        Ok(Self { shared, ending, keeper: tokio::spawn(keeper.run()) })
    }

    /// Offers a route from now on, in the place of the one with the same key.
    ///
    /// # Errors
    /// `NotEnoughMemory` for more than [`Settings::most_routes`]; why the session is over,
    /// if it is.
    pub fn offer(
        &self,
        key: impl Into<RouteKey>,
        route: impl Into<Arc<Route>>,
    ) -> Result<(), Failure> {
        self.check()?;
        self.shared.wishes().offer(key.into(), route.into())?;
        self.shared.wished.notify_one();
        Ok(())
    }

    /// Offers a route no more; says whether it was offered.
    ///
    /// # Errors
    /// Why the session is over, if it is.
    pub fn withdraw(&self, key: impl Into<RouteKey>) -> Result<bool, Failure> {
        self.check()?;
        let withdrawn = self.shared.wishes().withdraw(key.into());
        self.shared.wished.notify_one();
        Ok(withdrawn)
    }

    /// Says that the program offers all that it has after its start.
    ///
    /// Until then the session does not end a synchronization, so that what an earlier life of the
    /// program left lingering stays while the program still finds out what it has to offer. From
    /// then on, what is not wished for goes as soon as everything else was offered, now and after
    /// every registration.
    pub fn complete(&self) {
        self.shared.wishes().complete();
        self.shared.wished.notify_one();
    }

    /// How many routes it keeps.
    pub fn routes(&self) -> usize {
        self.shared.wishes().len()
    }

    /// Waits until the service has answered everything that was wished until now, and later.
    ///
    /// # Errors
    /// Why the session is over, if it is.
    pub async fn settled(&self) -> Result<(), Failure> {
        loop {
            let answered = self.shared.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            self.check()?;
            let is_connected = matches!(*self.shared.status.borrow(), Status::Connected);
            if is_connected && self.shared.wishes().is_settled() {
                return Ok(());
            }
            answered.await;
        }
    }

    /// How far it is, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// What the service said when it was last registered; nothing before the first time.
    pub fn profile(&self) -> Option<Profile> {
        self.shared.profile().clone()
    }

    /// The routes that the service refused and that were not told yet.
    ///
    /// A refused route stays a wish: it is offered again when it is changed, and with all others
    /// after a new registration. Until then the service has what it had of it before.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut wishes = self.shared.wishes();
        std::iter::from_fn(|| wishes.next_refusal()).collect()
    }

    /// Waits for the next of [`Session::refusals`].
    ///
    /// # Errors
    /// Why the session is over, if it is.
    pub async fn refusal(&self) -> Result<Refusal, Failure> {
        loop {
            let answered = self.shared.answered.notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            if let Some(refusal) = self.shared.wishes().next_refusal() {
                return Ok(refusal);
            }
            self.check()?;
            answered.await;
        }
    }

    /// Ends the session. With [`Ending::Linger`], what is wished is passed on first.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when nobody could be told, so that the service has to
    /// notice by itself; why the session was over already, if it was.
    pub async fn close(self, ending: Ending) -> Result<(), Failure> {
        self.ending.send_replace(Some(ending));
        self.keeper.await.unwrap_or_else(|error| Err(Failure::Unexpected(error.to_string())))
    }

    fn check(&self) -> Result<(), Failure> {
        match &*self.shared.status.borrow() {
            Status::Ended(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn profile(&self) -> MutexGuard<'_, Option<Profile>> {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_status(&self, status: Status) {
        self.status.send_if_modified(|current| {
            let is_other = !matches!(
                (&*current, &status),
                (Status::Connected, Status::Connected) | (Status::Resyncing, Status::Resyncing)
            );
            *current = status;
            is_other
        });
        self.answered.notify_waiters();
    }
}
