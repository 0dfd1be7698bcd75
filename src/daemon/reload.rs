//! The configuration, read again while the service runs.
//!
//! It takes effect as a whole or not at all, and nothing waits in between. What is refused is said to who
//! asked, in the log and in the status; the configuration in force stays then.

use std::sync::{Arc, Mutex, PoisonError};

use super::notifier::Notifier;
use crate::{
    clock,
    config::{Config, Fault, Faults, NextHopObjects, OnStop, Source, Trusted},
    model::{EntityId, Error, ErrorKind, InstanceId},
    netlink::Signature,
    rib::Policy,
    shared::SharedRib,
};

/// What it takes to read it again.
pub(super) struct Reloading {
    pub(super) source: Source,
    pub(super) rib: SharedRib,
    pub(super) notifier: Arc<Notifier>,
    /// What cannot change without a restart.
    pub(super) signature: Signature,
    pub(super) with_objects: NextHopObjects,
    /// What becomes of our routes when the service is told to stop.
    pub(super) on_stop: Arc<Mutex<OnStop>>,
}

impl Reloading {
    /// Puts in force what can change without a restart. Returns the service's entities that are new.
    ///
    /// # Errors
    /// `BadConfiguration` for a file that cannot be used, `NotSupported` for what takes a restart.
    pub(super) fn reload(&self) -> Result<Vec<EntityId>, Error> {
        self.notifier.reloading();
        let done = self.read().and_then(|config| self.apply(config));
        match &done {
            Ok(_) => tracing::info!("the configuration was read again"),
            Err(refusal) => tracing::error!("the configuration was not read again: {refusal}"),
        }
        self.notifier.reloaded(done.as_ref().err().map(ToString::to_string));
        done
    }

    fn read(&self) -> Result<Config, Error> {
        let bad = |faults: &dyn std::fmt::Display| {
            ErrorKind::BadConfiguration
                .because(format_args!("{faults}; the configuration in force stays"))
        };
        let config = super::load(&self.source, &Trusted::own(), |name| {
            self.rib.with(|rib| rib.vrf_table(name))
        });
        let config = config.map_err(|faults| bad(&faults))?;
        let is_new = |fault: &&Fault| {
            fault
                .instance
                .is_some_and(|id| self.rib.with(|rib| is_new(id, rib.policy(), &config.policy)))
        };
        let new: Vec<Fault> = config.faults.iter().filter(is_new).cloned().collect();
        if new.is_empty() { Ok(config) } else { Err(bad(&Faults(new))) }
    }

    fn apply(&self, config: Config) -> Result<Vec<EntityId>, Error> {
        let Config {
            fib_protocol,
            fib_metric,
            next_hop_objects,
            on_stop,
            reclaim_time: _, // it is for a start
            policy,
            static_routes,
            faults: _, // told before
            files: _,
        } = config;
        let signature = Signature { protocol: fib_protocol, metric: fib_metric };
        if signature != self.signature || next_hop_objects != self.with_objects {
            return Err(ErrorKind::NotSupported.because(
                "the [fib] section or next-hop-objects of an instance has changed, which takes a \
                 restart; nothing was changed",
            ));
        }
        let new = self.rib.with(|rib| {
            rib.reconfigure(policy)?;
            rib.settle_static_routes(clock::now());
            Ok(rib.configure_static_routes(static_routes, clock::now()).new_entities)
        })?;
        *self.on_stop.lock().unwrap_or_else(PoisonError::into_inner) = on_stop;
        Ok(new)
    }
}

/// Whether something is wrong with an instance, and was not before.
fn is_new(id: InstanceId, before: &Policy, now: &Policy) -> bool {
    before.instances.get(&id) != now.instances.get(&id)
}
