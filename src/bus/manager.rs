//! `org.rtmd1.Manager`: where a client begins.

use std::{collections::BTreeMap, sync::Arc};

use zbus::{Connection, OwnedObjectPath, OwnedVariant, interface, message::Header};

use super::{
    context::Context,
    convert::{entity_info, profile, table_path},
    lifecycle,
    options::Options,
    wire::{EntityInfo, Profile},
};
use crate::{
    clock,
    model::{EntityKey, Protocol, Result, TableId},
    rib::{Limits, Registration, Tenure, Terms},
};

/// The root object.
#[derive(Clone, Debug)]
pub(super) struct Manager(pub(super) Arc<Context>);

#[interface(name = "org.rtmd1.Manager", spawn = false)]
impl Manager {
    /// Registers the caller as one protocol in the table of an instance and a family ("ipv4" or
    /// "ipv6"), and returns its entity object and the limits that bind it.
    ///
    /// Options: "label" s, a name for people; "shared" b, the registration belongs to the caller's
    /// user instead of its connection and lives until Deregister, which is what a shell script
    /// needs; "callback" o, an object of the caller's that implements org.rtmd1.Callback and is
    /// asked when a route expires; "methods" u, how many methods it exports there, 32 at most;
    /// "reserve-opaque" b, a cell of its own in every destination; "single-route" b, one route to a
    /// destination whatever its neighbour; "exclusive" b, no other entity of the protocol beside it.
    /// Errors: AlreadyExists, BadConfiguration, FileNotFound, InvalidData, InvalidParameter,
    /// NoSystemResources, NotSupported.
    #[zbus(out_args("entity", "profile"))]
    #[expect(clippy::too_many_arguments, reason = "the call has them, and zbus adds its own")]
    async fn register_entity(
        &self,
        instance: u32,
        family: &str,
        protocol: u32,
        protocol_instance: u32,
        options: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(OwnedObjectPath, Profile)> {
        let mut options = Options::new(options, "registration option");
        options.not_yet("fib-results", &false)?;
        options.not_yet("linger", &0u32)?;
        let callback: Option<OwnedObjectPath> = options.take("callback")?;
        let terms = Terms {
            callback: callback.map(|path| path.to_string()),
            methods: options.take("methods")?.unwrap_or_default(),
            reserve_opaque: options.take("reserve-opaque")?.unwrap_or_default(),
            single_route: options.take("single-route")?.unwrap_or_default(),
            exclusive: options.take("exclusive")?.unwrap_or_default(),
        };
        let label = options.take("label")?.unwrap_or_default();
        let shared: bool = options.take("shared")?.unwrap_or_default();
        options.finish()?;
        let table = TableId::new(instance, family.parse()?)?;
        let key = EntityKey { table, protocol: Protocol(protocol), protocol_instance };
        let tenure = if shared { Tenure::User } else { Tenure::Connection };
        let caller = self.0.clients.caller(&header).await?;
        let registration = Registration { key, label, tenure, terms };
        let granted = self.0.rib.with(|rib| rib.register(registration, caller, clock::now()))?;
        let path = lifecycle::welcome(&self.0, connection, granted.id).await?;
        Ok((path, profile(&granted, self.0.facts.epoch)))
    }

    /// Lists the entities of a table, the caller's own included. Errors: FileNotFound,
    /// BadConfiguration.
    #[zbus(out_args("entities"))]
    fn get_registered_entities(&self, instance: u32, family: &str) -> Result<Vec<EntityInfo>> {
        let table = TableId::new(instance, family.parse()?)?;
        self.0.rib.with(|rib| Ok(rib.registered_entities(table)?.map(entity_info).collect()))
    }

    /// Returns the object of a table. Errors: FileNotFound, BadConfiguration.
    #[zbus(out_args("table"))]
    fn get_table(&self, instance: u32, family: &str) -> Result<OwnedObjectPath> {
        let table = TableId::new(instance, family.parse()?)?;
        self.0.rib.with(|rib| rib.policy().table(table).map(|_| table_path(table)))
    }

    /// Lists the protocols that have a level of their own: number, name, level. The smaller level
    /// wins.
    #[zbus(out_args("preferences"))]
    fn get_preferences(&self) -> Vec<(u32, String, u32)> {
        self.0.rib.with(|rib| {
            let levels = rib.policy().levels.iter();
            levels.map(|(protocol, level)| (protocol.0, protocol.to_string(), level.0)).collect()
        })
    }

    /// The version of the service.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// Another number whenever the service lost what clients have to offer again.
    #[zbus(property(emits_changed_signal = "const"))]
    fn epoch(&self) -> u64 {
        self.0.facts.epoch
    }

    /// The instances that are configured.
    #[zbus(property(emits_changed_signal = "const"))]
    fn instances(&self) -> Vec<u32> {
        self.0.rib.with(|rib| rib.policy().instances.keys().map(|id| id.0.into()).collect())
    }

    /// "synced" when the kernel holds exactly the best routes, "syncing" while there is work on
    /// the way to it, "degraded" when it refused some.
    #[zbus(property)]
    fn fib_state(&self) -> String {
        self.0.fib_state().name().to_owned()
    }

    /// The limits in force, by name, and the protocol and metric that mark the service's routes in
    /// the kernel ("fib-protocol", "fib-metric").
    #[zbus(property(emits_changed_signal = "const"))]
    fn limits(&self) -> BTreeMap<String, u32> {
        let limits = self.0.rib.with(|rib| rib.policy().limits);
        let mut named = named_numbers(limits);
        named.insert("fib-metric".to_owned(), self.0.facts.fib_metric);
        named.insert("fib-protocol".to_owned(), self.0.facts.fib_protocol.into());
        named
    }
}

/// Each field of the limits under its name; it has nothing but numbers.
fn named_numbers(limits: Limits) -> BTreeMap<String, u32> {
    let value = serde_json::to_value(limits).and_then(serde_json::from_value);
    value.unwrap_or_default()
}
