//! The task behind a session: finds the service, registers, passes wishes on, and begins again when
//! something is lost.
//!
//! There is one way forward, whatever was lost: a connection if there is none, the epoch, a
//! registration if there is none of that epoch, then everything that is due. Calls are only given
//! up by their time-out, because half a message on the connection would be the end of it.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use super::{Ending, Settings, Shared, Status, link::Link, pause::Pause};
use crate::{client::Failure, model::ErrorKind};

pub(super) struct Keeper {
    settings: Settings,
    shared: Arc<Shared>,
    ending: watch::Receiver<Option<Ending>>,
    link: Option<Link>,
    pause: Pause,
    /// Whether the bus may start the service for it.
    may_start: bool,
}

/// Why the way forward ended.
enum Trouble {
    /// To be tried again.
    Passing(Failure),
    /// Not to be tried again.
    Final(Failure),
}

impl Keeper {
    /// Registers, or finds out that it takes time.
    pub(super) async fn open(
        settings: Settings,
        shared: Arc<Shared>,
        ending: watch::Receiver<Option<Ending>>,
    ) -> Result<Self, Failure> {
        let (link, pause) = (None, Pause::default());
        let mut keeper = Self { settings, shared, ending, link, pause, may_start: true };
        let opened = Instant::now();
        loop {
            let failure = match keeper.establish().await {
                Ok(()) => return Ok(keeper),
                Err(
                    Trouble::Final(failure) | Trouble::Passing(failure @ Failure::Unexpected(_)),
                ) => {
                    return Err(failure);
                }
                Err(Trouble::Passing(failure)) => failure,
            };
            if failure.kind() != Some(ErrorKind::AlreadyExists) {
                keeper.shared.set_status(Status::Waiting(failure));
                return Ok(keeper);
            }
            // It may be the one of this program's earlier life, which is not known to have gone
            // yet.
            if opened.elapsed() > PREDECESSOR {
                return Err(failure);
            }
            keeper.rest().await;
        }
    }

    /// Keeps the registration until the session ends.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        while let Err(trouble) = self.serve().await {
            match trouble {
                Trouble::Final(failure) => {
                    self.shared.set_status(Status::Ended(failure.clone()));
                    return Err(failure);
                }
                Trouble::Passing(failure) => self.shared.set_status(Status::Waiting(failure)),
            }
            self.rest().await;
            if is_over(&self.ending) {
                break;
            }
        }
        self.end().await
    }

    /// Goes the way forward, and passes on what comes, until the session ends.
    async fn serve(&mut self) -> Result<(), Trouble> {
        self.establish().await?;
        loop {
            self.deliver().await?;
            let Some(link) = &mut self.link else { return Err(lost()) };
            let connection = link.connection.clone();
            tokio::select! {
                () = self.shared.wished.notified() => {}
                // With what was wished for before that.
                () = over(&mut self.ending) => return self.deliver().await,
                () = connection.closed() => return Err(lost()),
                comes = link.service_comes() => match comes {
                    true => self.establish().await?,
                    false => return Err(away()),
                }
            }
        }
    }

    /// Connects and registers, as far as that is not so.
    async fn establish(&mut self) -> Result<(), Trouble> {
        let link = match self.link.take().filter(|link| !link.connection.is_closed()) {
            Some(link) => link,
            None => tokio::select! {
                link = Link::connect(&self.settings) => link?,
                () = over(&mut self.ending) => return Ok(()),
            },
        };
        let link = self.link.insert(link);
        if !std::mem::take(&mut self.may_start) && !link.has_service().await? {
            return Err(away());
        }
        let epoch = link.epoch().await.map_err(Trouble::of)?;
        if link.registration.as_ref().is_none_or(|it| it.profile.epoch != epoch) {
            let registration = match link.register(&self.settings).await {
                Ok(registration) => registration,
                Err(failure) => {
                    // Without an answer the connection may have one that nobody knows.
                    self.link.take_if(|_| matches!(failure, Failure::Unreachable(_)));
                    return Err(Trouble::of(failure));
                }
            };
            *self.shared.profile() = Some(registration.profile.clone());
            self.shared.wishes().begin_again();
            link.registration = Some(registration);
        }
        let is_settled = self.shared.wishes().is_settled();
        self.shared.set_status(if is_settled { Status::Connected } else { Status::Resyncing });
        Ok(())
    }

    /// Passes on all that is due.
    async fn deliver(&mut self) -> Result<(), Trouble> {
        let Some(link) = &self.link else { return Ok(()) };
        let Some(registration) = &link.registration else { return Ok(()) };
        let delivered = async {
            // Who wants everything withdrawn does not wait for more to be offered.
            while !is_over(&self.ending) || *self.ending.borrow() == Some(Ending::Linger) {
                let batch = self.shared.wishes().take();
                let Some(mut batch) = batch else {
                    if self.shared.wishes().is_sync_due() {
                        registration.end_sync().await?;
                        self.shared.wishes().synced();
                    }
                    registration.tidy(&self.shared).await?;
                    self.shared.set_status(Status::Connected);
                    break;
                };
                let sent = registration.send(&mut batch, &self.shared).await;
                self.shared.wishes().give_back(batch);
                self.shared.answered.notify_waiters();
                sent?;
            }
            Ok(())
        };
        let delivered: Result<(), Failure> = delivered.await;
        delivered.map_err(|failure| {
            // Who is told that it is not its own, or not there, does not have it any more. Should
            // it have it still, that ends with the connection.
            if !matches!(failure, Failure::Unreachable(_)) && !is_passing(&failure) {
                self.link = None;
            }
            Trouble::Passing(failure)
        })
    }

    /// Waits a while, or until the service comes, or until the session ends.
    async fn rest(&mut self) {
        let pause = self.pause.next(Instant::now());
        let comes = async {
            match &mut self.link {
                Some(link) => while !link.service_comes().await {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = comes => {}
            () = over(&mut self.ending) => {}
        }
    }

    /// Tells the service, unless the session was just dropped.
    async fn end(&mut self) -> Result<(), Failure> {
        let Some(ending) = *self.ending.borrow() else { return Ok(()) };
        let registration = self.link.as_ref().and_then(|link| link.registration.as_ref());
        match registration {
            Some(registration) => registration.end(ending).await,
            None => Err(Failure::Unreachable("the session was not registered".to_owned())),
        }
    }
}

impl Trouble {
    /// A failure to register.
    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Denied(_) => Self::Final(failure),
            Failure::Refused { .. } if !is_passing(&failure) => Self::Final(failure),
            _ => Self::Passing(failure),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Passing(failure)
    }
}

/// Whether a refusal is of the moment: another time may be better.
fn is_passing(failure: &Failure) -> bool {
    use ErrorKind as Kind;
    matches!(
        failure.kind(),
        Some(
            Kind::AlreadyExists
                | Kind::NoSystemResources
                | Kind::NotEnoughMemory
                | Kind::Busy
                | Kind::Timeout
        )
    )
}

/// Waits until the session ends or is dropped.
async fn over(ending: &mut watch::Receiver<Option<Ending>>) {
    let _ = ending.wait_for(Option::is_some).await; // an error says that it was dropped
}

fn is_over(ending: &watch::Receiver<Option<Ending>>) -> bool {
    ending.borrow().is_some() || ending.has_changed().is_err()
}

fn lost() -> Trouble {
    Trouble::Passing(Failure::Unreachable("the connection to the bus was lost".to_owned()))
}

fn away() -> Trouble {
    Trouble::Passing(Failure::Unreachable("the service is not on the bus".to_owned()))
}

/// How long a registration may outlive the program that made it, and still be expected to go.
const PREDECESSOR: std::time::Duration = std::time::Duration::from_secs(5);
