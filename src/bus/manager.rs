//! `org.rtmd1.Manager`: where a client begins.

use std::{collections::BTreeMap, sync::Arc};

use zbus::{Connection, OwnedObjectPath, OwnedVariant, interface, message::Header};

use super::{
    administration,
    context::Context,
    convert::{entity_info, profile, table_path},
    lifecycle,
    options::{Options, route_id},
    policy,
    polkit::{self, Action},
    statics::{StaticOptions, static_info},
    wire::{Details, EntityInfo, Profile},
};
use crate::{
    clock,
    journal::ledger::Ledger,
    model::{EntityKey, Family, Preference, Prefix, Protocol, Result, Span, TableId, ViewSet},
    rib::{Limits, Registration, Ruling, Standing, StaticPlace, Tenure, Terms},
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
    /// asked when a route expires, its path at most 255 bytes; "methods" u, how many methods it
    /// exports there, 32 at most; "reserve-opaque" b, a cell of its own in every destination;
    /// "single-route" b, one route to a destination whatever its neighbour; "exclusive" b, no other
    /// entity of the protocol beside it; "fib-results" b, the signal FibResult of the entity tells
    /// the connection what the kernel makes of its routes; "linger" u, milliseconds that its routes
    /// outlive the connection (default 0, 4294967295 for ever, the limit "linger" is the most). A
    /// "shared" one has no connection to ask, to tell or to outlive, so "callback", "fib-results" and
    /// "linger" with it are refused with InvalidParameter.
    ///
    /// While an entity lingers, the same user that registers the same again resumes it: the same
    /// object and ids, "resumed" and "stale-routes" of the profile tell of it. Whatever it had is stale
    /// until it is offered again; EndOfSync withdraws what is still stale, and so does the end of
    /// another time as long as it could have lingered, where that ends.
    ///
    /// Some protocol instances are the service's own, and refused with AlreadyExists: 4294967295 of
    /// the static protocols (10006, 10007, 10002), and 4294966784 (0xFFFFFE00) and the number of a
    /// kernel protocol (rtm_protocol, 0 to 255) of the protocol that its routes are shown as.
    ///
    /// Who may register what is configured ("grant"); where no grant allows it, polkit is asked about
    /// org.rtmd1.register, a person only if the call allows that. Errors: AccessDenied, AlreadyExists, BadConfiguration, FileNotFound, InvalidData, InvalidParameter,
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
        let callback: Option<OwnedObjectPath> = options.take("callback")?;
        let terms = Terms {
            callback: callback.map(|path| path.to_string()),
            methods: options.take("methods")?.unwrap_or_default(),
            reserve_opaque: options.take("reserve-opaque")?.unwrap_or_default(),
            single_route: options.take("single-route")?.unwrap_or_default(),
            exclusive: options.take("exclusive")?.unwrap_or_default(),
            fib_results: options.take("fib-results")?.unwrap_or_default(),
            linger: options.read("linger", lingering)?.flatten(),
        };
        let label = options.take("label")?.unwrap_or_default();
        let shared: bool = options.take("shared")?.unwrap_or_default();
        options.finish()?;
        let table = TableId::new(instance, family.parse()?)?;
        let key = EntityKey { table, protocol: Protocol(protocol), protocol_instance };
        let tenure = if shared { Tenure::User } else { Tenure::Connection };
        let caller = self.0.clients.caller(&header).await?;
        let credentials = self.0.clients.credentials(&caller).await;
        let unit = Arc::from(credentials.unit.as_ref().map_or("", |unit| unit.name.as_str()));
        let mut registration = Registration { key, label, tenure, terms, credentials };
        let refused = self.0.rib.with(|rib| rib.check_right(&registration, caller.uid)).err();
        if let Some(refusal) = refused {
            polkit::ask(&self.0, &header, &caller, Action::Register, refusal).await?;
            registration.credentials.standing = Standing::Authorized;
        }
        let granted = self.0.rib.with(|rib| rib.register(registration, caller, clock::now()))?;
        let path = match granted.resumed {
            true => lifecycle::welcome_back(&self.0, connection, granted.id, unit).await,
            false => lifecycle::welcome(&self.0, connection, granted.id, unit).await,
        }?;
        Ok((path, profile(&granted, self.0.facts.epoch)))
    }

    /// Lists the entities of a table, the caller's own included, and those of the service itself
    /// ("builtin"): one for each protocol of static routes, and one for each kernel protocol whose
    /// routes are shown. Errors: FileNotFound, BadConfiguration.
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

    /// Gives a protocol a level of its own; 0 takes it away, so that the protocol has the level for
    /// all others. It counts for routes that are added or updated from now on; "reapply" ranks also
    /// those there are by it. It lasts until the machine restarts or the configuration is read again.
    /// For whom a grant or polkit lets, and root. Errors: AccessDenied.
    async fn set_preference(
        &self,
        protocol: u32,
        preference: u32,
        reapply: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        administration::check(&self.0, &header).await?;
        let (protocol, level) = (Protocol(protocol), Preference(preference));
        administration::set_preference(&self.0, protocol, level, reapply).await;
        Ok(())
    }

    /// Reads the configuration file again, as the signal SIGHUP does: levels and limits take effect,
    /// and what becomes of routes at a stop of the service or of a unit, levels as with SetPreference without "reapply". A file that is wrong, or that says something
    /// else of "fib" or an "instance", which takes a restart, changes nothing. For whom a grant or polkit lets, and root. Errors: AccessDenied, BadConfiguration, NotSupported.
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        administration::check(&self.0, &header).await?;
        administration::reload(&self.0, connection).await
    }

    /// Says whether a table's routes are pushed to the kernel, as the table's property Pushed tells.
    /// Switched off, its routes leave the kernel and all else goes on; switched on, they are
    /// installed again. It lasts until the machine restarts. For whom a grant or polkit lets, and root. Errors: AccessDenied, FileNotFound, BadConfiguration, NotSupported.
    async fn set_forwarding(
        &self,
        instance: u32,
        family: &str,
        push: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        administration::check(&self.0, &header).await?;
        let table = TableId::new(instance, family.parse()?)?;
        administration::set_forwarding(&self.0, connection, table, push).await
    }

    /// Adds a static route of the service's own, which needs no client.
    ///
    /// Keys: "via" a(su) or a(suu),
    /// "preference" u, "metric" u, "flags" u and "views" u as with AddRoute; "protocol" u, 10006
    /// static (the default), 10007 static-non-dod or 10002 autostatic; "interfaces" as, the names of
    /// the interfaces of "via" in order, which count instead of the numbers: a route whose interface
    /// is not there waits for it. Interfaces are kept by name.
    ///
    /// Static routes are told apart by destination, protocol, preference and metric: one that has all
    /// the same is replaced. A "persistent" one is there again after a restart of the machine, the
    /// others stay until then; where it cannot be kept for that, nothing is changed. For whom a grant or polkit lets, and root. Errors:
    /// AccessDenied, BadConfiguration, FileNotFound, InvalidParameter, NoSystemResources,
    /// NotEnoughMemory, NotSupported.
    async fn add_static_route(
        &self,
        instance: u32,
        destination: &str,
        route: BTreeMap<String, OwnedVariant>,
        persistent: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        let (to, options) = (destination.parse::<Prefix>()?, StaticOptions::read(route)?);
        let table = TableId::new(instance, to.family())?;
        administration::check_static(&self.0, &header, |rib| {
            Ok(StaticPlace::of(rib, table, &options.route(rib, to, persistent)?))
        })
        .await?;
        administration::change_static_routes(&self.0, connection, |rib| {
            let route = options.route(rib, to, persistent)?;
            rib.add_static_route(table, route, clock::now())
        })
        .await
    }

    /// Removes the static route to a destination. Where there are several, the keys of "route" say
    /// which: it is the only one that has the protocol, preference, metric, flags, views and next
    /// hops that are given; order and weight of next hops do not count, and interface 0 stands for
    /// any. That several are meant is the error InvalidParameter; one that
    /// is in the configuration can only be removed there (NotSupported). For whom a grant or polkit lets, and root. Errors: AccessDenied, FileNotFound, BadConfiguration, NotFound, InvalidParameter,
    /// NoSystemResources.
    async fn remove_static_route(
        &self,
        instance: u32,
        destination: &str,
        route: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        let (to, options) = (destination.parse::<Prefix>()?, StaticOptions::read(route)?);
        let table = TableId::new(instance, to.family())?;
        let place = StaticPlace { table, to, preference: None, views: ViewSet::NONE };
        administration::check_static(&self.0, &header, |_| Ok(place)).await?;
        administration::change_static_routes(&self.0, connection, |rib| {
            rib.remove_static_route(table, to, &options.which(rib)?, clock::now())
        })
        .await
    }

    /// Adds a static route that does what the route with this id does, whoever owns that: the
    /// same destination, next hops, metric, flags and views, of the protocol autostatic. For whom a grant or polkit lets, and root. Errors: AccessDenied, FileNotFound, BadConfiguration,
    /// InvalidHandle, InvalidParameter, NotEnoughMemory, NotSupported, NoSystemResources.
    async fn make_static(
        &self,
        instance: u32,
        route: u64,
        persistent: bool,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        let id = route_id(route)?;
        let ipv4 = TableId::new(instance, Family::Ipv4)?;
        let copy = |rib: &Ledger| {
            let table = rib.table_of(id).filter(|table| table.instance == ipv4.instance);
            let table = table.unwrap_or(ipv4);
            Ok((table, rib.static_copy(table, id, persistent)?))
        };
        administration::check_static(&self.0, &header, |rib| {
            copy(rib).map(|(table, route)| StaticPlace::of(rib, table, &route))
        })
        .await?;
        administration::change_static_routes(&self.0, connection, |rib| {
            let (table, copy) = copy(rib)?;
            rib.add_static_route(table, copy, clock::now())
        })
        .await
    }

    /// Says what the grants in force would say to a user, by name or number, whose process is in a
    /// systemd unit ("" for none), and why. With the user "" it is about the caller itself.
    ///
    /// Keys: "protocol" u (default 10006, static), "instance" u and "family" s, what it would register as;
    /// "shared" b and "linger" u as with RegisterEntity; "prefix" s, "preference" u and "views" u, a
    /// route it would offer. Returns whether it is allowed without asking polkit, the name of the grant
    /// that decides ("" where none does), why it is refused, and the grants before that one by name with
    /// the reason why each is not for that user. About another user, it is for whom a grant or polkit
    /// lets administer, and root. Errors: AccessDenied, NotFound, FileNotFound, InvalidParameter.
    #[zbus(out_args("allowed", "grant", "reason", "passed_over"))]
    async fn check_policy(
        &self,
        user: &str,
        unit: &str,
        case: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(bool, String, String, Vec<(String, String)>)> {
        let case = policy::read_case(case)?;
        let caller = self.0.clients.caller(&header).await?;
        let (uid, credentials) = if user.is_empty() {
            (caller.uid, self.0.clients.credentials(&caller).await)
        } else {
            administration::check(&self.0, &header).await?;
            self.0.clients.credentials_of(user, unit).await?
        };
        let ruling = self.0.rib.with(|rib| rib.rule(uid, &credentials, &case));
        let Ruling { grant, refusal, passed_over } = ruling;
        let allowed = refusal.is_none();
        Ok((allowed, grant.unwrap_or_default(), refusal.unwrap_or_default(), passed_over))
    }

    /// Lists the static routes of a table: destination, keys as with AddStaticRoute and, where it is
    /// not offered, "waits" s with the reason, and "configured" b for one that is in the configuration;
    /// whether it is persistent. Errors: FileNotFound, BadConfiguration.
    #[zbus(out_args("routes"))]
    fn get_static_routes(
        &self,
        instance: u32,
        family: &str,
    ) -> Result<Vec<(String, Details, bool)>> {
        let table = TableId::new(instance, family.parse()?)?;
        self.0
            .rib
            .with(|rib| Ok(rib.static_routes(table)?.map(|view| static_info(rib, &view)).collect()))
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

    /// "synced" when the kernel holds the best routes and, but for what an earlier life left and may
    /// stay for a while, nothing else of the service's; "syncing" while there is work on the way to
    /// it, "degraded" when it refused some.
    #[zbus(property)]
    fn fib_state(&self) -> String {
        self.0.fib_state().name().to_owned()
    }

    /// What an administrator could set better, as it is when it is asked for, a sentence each; empty
    /// when all is well.
    #[zbus(property(emits_changed_signal = "false"))]
    fn advice(&self) -> Vec<String> {
        (self.0.administration.advice)()
    }

    /// The limits in force, by name, and the protocol and metric that mark the service's routes in
    /// the kernel ("fib-protocol", "fib-metric").
    #[zbus(property)]
    pub(super) fn limits(&self) -> BTreeMap<String, u32> {
        let limits = self.0.rib.with(|rib| rib.policy().limits);
        let mut named = named_numbers(limits);
        named.insert("fib-metric".to_owned(), self.0.facts.fib_metric);
        named.insert("fib-protocol".to_owned(), self.0.facts.fib_protocol.into());
        named
    }
}

/// A time to linger in milliseconds; none for 0.
pub(super) fn lingering(milliseconds: u32) -> Result<Option<Span>> {
    if milliseconds == 0 { Ok(None) } else { Span::from_millis(milliseconds).map(Some) }
}

/// Each field of the limits under its name; it has nothing but numbers.
fn named_numbers(limits: Limits) -> BTreeMap<String, u32> {
    let value = serde_json::to_value(limits).and_then(serde_json::from_value);
    value.unwrap_or_default()
}
