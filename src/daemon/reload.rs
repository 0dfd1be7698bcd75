//! The configuration, read again while the service runs.
//!
//! It takes effect as a whole or not at all, and nothing waits in between. What is refused is said to who
//! asked, in the log and in the status; the configuration in force stays then.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::notifier::Notifier;
use crate::{
    clock,
    config::{Config, NextHopObjects, OnStop},
    model::{Error, ErrorKind},
    netlink::Signature,
    rib::{Instance, Policy},
    shared::SharedRib,
};

/// What it takes to read it again.
pub(super) struct Reloading {
    pub(super) file: PathBuf,
    pub(super) rib: SharedRib,
    pub(super) notifier: Arc<Notifier>,
    /// What cannot change without a restart.
    pub(super) signature: Signature,
    pub(super) with_objects: NextHopObjects,
    /// What becomes of our routes when the service is told to stop.
    pub(super) on_stop: Arc<Mutex<OnStop>>,
}

impl Reloading {
    /// Puts in force what can change without a restart.
    ///
    /// # Errors
    /// `BadConfiguration` for a file that cannot be used, `NotSupported` for what takes a restart.
    pub(super) fn reload(&self) -> Result<(), Error> {
        self.notifier.reloading();
        let done = self.read().and_then(|config| self.apply(config));
        match &done {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(refusal) => tracing::error!("the configuration was not read again: {refusal}"),
        }
        self.notifier.reloaded(done.as_ref().err().map(ToString::to_string));
        done
    }

    fn read(&self) -> Result<Config, Error> {
        let bad = |fault: &dyn std::fmt::Display| {
            let file = self.file.display();
            ErrorKind::BadConfiguration
                .because(format_args!("{file}: {fault}; the configuration in force stays"))
        };
        let config = super::load(&self.file, |name| self.rib.with(|rib| rib.vrf_table(name)));
        let config = config.map_err(|error| bad(&error))?;
        match self.rib.with(|rib| new_fault(rib.policy(), &config.policy)) {
            Some(fault) => Err(bad(&fault)),
            None => Ok(config),
        }
    }

    fn apply(&self, config: Config) -> Result<(), Error> {
        let Config {
            fib_protocol,
            fib_metric,
            next_hop_objects,
            on_stop,
            reclaim_time: _, // it is for a start
            policy,
        } = config;
        let signature = Signature { protocol: fib_protocol, metric: fib_metric };
        if signature != self.signature || next_hop_objects != self.with_objects {
            return Err(ErrorKind::NotSupported.because(
                "the [fib] section or next-hop-objects of an instance has changed, which takes a \
                 restart; nothing was changed",
            ));
        }
        self.rib.with(|rib| {
            rib.reconfigure(policy)?;
            rib.settle_static_routes(clock::now());
            Ok(())
        })?;
        *self.on_stop.lock().unwrap_or_else(PoisonError::into_inner) = on_stop;
        Ok(())
    }
}

/// What is wrong with an instance, and was not before.
fn new_fault(before: &Policy, now: &Policy) -> Option<String> {
    now.instances.iter().find_map(|(id, instance)| match instance {
        Instance::Broken(fault) if before.instances.get(id) != Some(instance) => {
            Some(format!("instance {id}: {fault}"))
        }
        _ => None,
    })
}
