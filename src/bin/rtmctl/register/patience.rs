//! Calls to a service that may be started again before they are answered.
//!
//! A restart takes nothing of a client but calls that nobody answered, which may have been carried
//! out or not. Every call that is made through here may be made twice, so each is of a kind where the
//! second comes to the same as the first alone.

use std::time::{Duration, Instant};

use rtmd::{
    bus::wire::SERVICE,
    client::{Failure, ManagerProxy},
};
use zbus::{fdo::DBusProxy, names::BusName};

use crate::context::Problem;

/// How long the kernel may take over nothing before it counts as behind, and the service to come back.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What to wait for.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    manager: ManagerProxy<'static>,
    /// The service is the same as long as it has this number.
    epoch: u64,
}

impl Patience {
    /// With the service as it is now, which has to be there.
    pub(super) async fn with(manager: &ManagerProxy<'static>) -> Result<Self, Problem> {
        Ok(Self { manager: manager.clone(), epoch: manager.epoch().await? })
    }

    /// The manager of the service.
    pub(super) fn manager(&self) -> &ManagerProxy<'static> {
        &self.manager
    }

    /// Makes a call, and makes it again for as long as nobody answers it and the service comes back.
    pub(super) async fn call<T, E: Into<Problem>, F: Future<Output = Result<T, E>>>(
        &self,
        mut call: impl FnMut() -> F,
    ) -> Result<T, Problem> {
        loop {
            match call().await.map_err(Into::into) {
                Err(Problem::Call(Failure::Unreachable(_))) if self.is_back().await => {}
                answer => return answer,
            }
        }
    }

    /// Whether the service is there before long, and has what was offered still. It is not started for
    /// that.
    pub(super) async fn is_back(&self) -> bool {
        let bus = DBusProxy::new(self.manager.inner().connection()).await;
        let (Ok(bus), Ok(service)) = (bus, BusName::from_static_str(SERVICE)) else { return false };
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            match bus.name_has_owner(service.clone()).await {
                Ok(true) => match self.manager.epoch().await.map_err(Failure::from) {
                    Err(Failure::Unreachable(_)) => {} // gone once more
                    epoch => return epoch.is_ok_and(|epoch| epoch == self.epoch),
                },
                Ok(false) => {}
                Err(_) => return false, // the bus is gone
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }
}
