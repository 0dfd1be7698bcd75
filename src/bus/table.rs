//! `org.rtmd1.Table`: reading a table, open to every client.

use std::{collections::BTreeMap, sync::Arc};

use zbus::{
    Connection, OwnedObjectPath, OwnedVariant, interface, message::Header,
    object_server::SignalEmitter,
};

use super::{
    context::Context,
    convert::{destination_info, enumeration_path, next_hop_info, notification_path, route_info},
    enumeration::{self, Unselected},
    explain::explanation,
    options::{Options, next_hop_id, route_id},
    private,
    wire::{DestinationInfo, Details, EntityInfo, NextHopInfo, RouteInfo},
};
use crate::{
    journal::ledger::{Ledger, Object, ObjectKind},
    model::{Caller, NotifyFlags, Prefix, Protocol, Result, TableId, ViewSet},
    rib::{Best, LookUp, Match, RouteView, Subscription},
};

/// The object of one table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    context: Arc<Context>,
    id: TableId,
}

impl Table {
    pub(super) fn new(context: Arc<Context>, id: TableId) -> Self {
        Self { context, id }
    }

    /// Puts an enumeration at its beginning on the bus.
    async fn enumerate(
        &self,
        connection: &Connection,
        owner: Caller,
        kind: ObjectKind,
    ) -> Result<OwnedObjectPath> {
        let path = enumeration_path(self.context.rib.with(Ledger::next_enumeration));
        private::serve(&self.context, connection, path, Object { owner, kind }).await
    }

    async fn look_up(
        &self,
        how: LookUp,
        header: &Header<'_>,
        prefix: &str,
        protocol: u32,
        views: u32,
    ) -> Result<(DestinationInfo,)> {
        let prefix = match (how, prefix.parse()) {
            // Of the others an address means nothing.
            (LookUp::MostSpecific, Ok(address)) => Prefix::host(address),
            _ => prefix.parse()?,
        };
        let best = self.whose_best(protocol, header).await?;
        self.context.rib.with(|rib| {
            let found = rib.look_up(self.id, prefix, how, best, ViewSet(views))?;
            Ok((destination_info(&found),))
        })
    }

    /// `RTM_BEST_PROTOCOL`, `RTM_THIS_PROTOCOL` or a protocol.
    async fn whose_best(&self, protocol: u32, header: &Header<'_>) -> Result<Best> {
        const BEST_PROTOCOL: u32 = 0;
        const THIS_PROTOCOL: u32 = u32::MAX;
        match protocol {
            BEST_PROTOCOL => Ok(Best::Overall),
            THIS_PROTOCOL => {
                let caller = self.context.clients.caller(header).await?;
                self.context.rib.with(|rib| rib.own_protocol(self.id, &caller)).map(Best::Of)
            }
            protocol => Ok(Best::Of(Protocol(protocol))),
        }
    }
}

#[interface(name = "org.rtmd1.Table", spawn = false)]
impl Table {
    /// Finds the destination with exactly this prefix. "protocol" chooses whose best route is told:
    /// 0 the best of all, 4294967295 the best of the caller's protocol, otherwise that protocol's.
    /// "views" 0 looks in all views and tells of none, 4294967295 means all supported ones. Errors:
    /// NotFound, InvalidParameter, NotSupported.
    #[zbus(out_args("destination"))]
    async fn get_exact_match_destination(
        &self,
        prefix: &str,
        protocol: u32,
        views: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(DestinationInfo,)> {
        self.look_up(LookUp::Exact, &header, prefix, protocol, views).await
    }

    /// Finds the destination with this prefix or, failing that, the longest one that covers it; with
    /// an address, "192.0.2.1", the one that packets to it match. Other arguments as with GetExactMatchDestination.
    /// Errors: NotFound, InvalidParameter, NotSupported.
    #[zbus(out_args("destination"))]
    async fn get_most_specific_destination(
        &self,
        prefix: &str,
        protocol: u32,
        views: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(DestinationInfo,)> {
        self.look_up(LookUp::MostSpecific, &header, prefix, protocol, views).await
    }

    /// Finds the destination with the longest prefix that covers this one and is shorter. Arguments
    /// as with GetExactMatchDestination. Errors: NotFound, InvalidParameter, NotSupported.
    #[zbus(out_args("destination"))]
    async fn get_less_specific_destination(
        &self,
        prefix: &str,
        protocol: u32,
        views: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(DestinationInfo,)> {
        self.look_up(LookUp::LessSpecific, &header, prefix, protocol, views).await
    }

    /// Lists all candidates of a prefix in order: the lower preference first, then the lower
    /// metric, then the older. Empty when there are none. Errors: InvalidParameter.
    #[zbus(out_args("routes"))]
    async fn get_routes(
        &self,
        prefix: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<RouteInfo>> {
        let prefix = prefix.parse()?;
        let caller = self.context.clients.caller(&header).await?;
        self.context.rib.with(|rib| {
            let routes = rib.routes(self.id, prefix)?;
            let own = |view: &RouteView<'_>| rib.is_own(view.route.owner, &caller);
            Ok(routes.iter().map(|view| route_info(view, own(view))).collect())
        })
    }

    /// Says why the routes of a destination stand as they do in the unicast view: with a prefix the
    /// very destination, with an address the most specific one.
    ///
    /// Every candidate is told, in the order of the choice: "rank" u from 1, "reason" s why it won
    /// or lost, "id" t, "owner" t, "label" s, "protocol" u, "protocol-name" s, "preference" u,
    /// "metric" u, "flags" u, "views" u, "best-in-views" u, "viable" b, "state" u, "stale" b,
    /// "expires-in" u and "held-for" u as RouteInfo has them (last come routes that are withdrawn and held), and "next-hops" aa{sv}, each
    /// with "id" t, "address" s, "interface" u, "interface-name" s, "weight" u, "viable" b,
    /// "resolved-via" a(su) and, where it leads nowhere, "reason" s; where other routes lead to it,
    /// "way" s says by which, and "resolved-through" as, "resolved-weights" au and
    /// "resolved-interfaces" as are told, too. Only the first 1024 next hops of all candidates are
    /// told; "next-hops-untold" t says how many more a candidate has.
    ///
    /// "fib" tells the kernel's side: "wish" s (empty for nothing), "state" s, "reason" s, "error" s
    /// (the kernel's words if it refused), "kernel-table" u and, where the kernel goes by a route of
    /// others to the same destination because its metric is smaller, "goes-by" s with a sentence that
    /// says so. Errors: NotFound, InvalidParameter.
    #[zbus(out_args("prefix", "candidates", "fib"))]
    fn explain(&self, prefix_or_address: &str) -> Result<(String, Vec<Details>, Details)> {
        let (prefix, how) = match prefix_or_address.parse().map(Prefix::host) {
            Ok(address) => (address, LookUp::MostSpecific),
            Err(_) => (prefix_or_address.parse()?, LookUp::Exact),
        };
        let metric = self.context.facts.fib_metric;
        self.context
            .rib
            .with(|rib| Ok(explanation(rib, &rib.explain(self.id, prefix, how)?, metric)))
    }

    /// Tells everything about a route; what is private only to its owner. Errors: InvalidHandle.
    #[zbus(out_args("route"))]
    async fn get_route_info(
        &self,
        id: u64,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(RouteInfo,)> {
        let id = route_id(id)?;
        let caller = self.context.clients.caller(&header).await?;
        self.context.rib.with(|rib| {
            let view = rib.route(self.id, id)?;
            Ok((route_info(&view, rib.is_own(view.route.owner, &caller)),))
        })
    }

    /// Finds the first route to exactly this prefix that fulfils all criteria, by preference, metric
    /// and age. "matching" selects the criteria, "criteria" has their values, both as with
    /// CreateRouteEnumeration; 65535 selects all five, 0 none. "views": the route is offered in one
    /// of these, 0 for any, 4294967295 for all supported ones. Errors: NotFound, InvalidParameter,
    /// NotSupported.
    #[zbus(out_args("route"))]
    async fn get_exact_match_route(
        &self,
        prefix: &str,
        matching: u32,
        criteria: BTreeMap<String, OwnedVariant>,
        views: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(RouteInfo,)> {
        let prefix = prefix.parse()?;
        let wanted = enumeration::criteria(
            &self.context,
            matching,
            Options::new(criteria, "criterion"),
            Unselected::Ignored,
        )?;
        let caller = self.context.clients.caller(&header).await?;
        self.context.rib.with(|rib| {
            let found = rib.exact_match_route(self.id, prefix, &wanted, ViewSet(views))?;
            Ok((route_info(&found, rib.is_own(found.route.owner, &caller)),))
        })
    }

    /// Tells everything about a next hop of any entity of this table; what is private only to its
    /// owner. Errors: InvalidHandle.
    #[zbus(out_args("next_hop"))]
    async fn get_next_hop_info(
        &self,
        id: u64,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(NextHopInfo,)> {
        let id = next_hop_id(id)?;
        let caller = self.context.clients.caller(&header).await?;
        self.context.rib.with(|rib| {
            let view = rib.next_hop_in(self.id, id)?;
            Ok((next_hop_info(&view, rib.is_own(view.next_hop.owner, &caller)),))
        })
    }

    /// The views that a route is the best of, as a bit mask. Errors: InvalidHandle.
    #[zbus(out_args("views"))]
    fn is_best_route(&self, route: u64) -> Result<u32> {
        let id = route_id(route)?;
        self.context.rib.with(|rib| rib.route(self.id, id).map(|view| view.route.best_in.0))
    }

    /// Begins to walk over the destinations; the object answers only the caller. "flags": 0 from
    /// the beginning, 1 from the prefix on, 2 the prefix and all it covers; plus 0x01000000 only
    /// destinations whose best route is the caller's. "prefix" may be empty with 0. Errors:
    /// InvalidParameter, NotSupported, NoSystemResources.
    #[zbus(out_args("enumeration"))]
    async fn create_destination_enumeration(
        &self,
        views: u32,
        flags: u32,
        prefix: &str,
        protocol: u32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let caller = self.context.clients.caller(&header).await?;
        let best = self.whose_best(protocol, &header).await?;
        let walk = self.context.rib.with(|rib| {
            let own = enumeration::Own::Destinations;
            let position = (views, flags, prefix);
            let settings = enumeration::settings(rib, self.id, &caller, position, None, own)?;
            Ok(ObjectKind::Destinations(rib.walk(settings)?, best))
        })?;
        self.enumerate(connection, caller, walk).await
    }

    /// Begins to walk over the routes; the object answers only the caller. "flags" as with
    /// CreateDestinationEnumeration, but 0x00010000 for only the caller's routes. "matching" selects
    /// criteria: 1 "owner" t, 2 "neighbour" t, 4 "preference" u and "metric" u, 8 "next-hops" at, no
    /// more than a route can have, 16 "interface" u. Two criteria need no selecting: "destination" s
    /// restricts to one prefix, wherever "flags" begin, and "protocol" u to the routes of all entities
    /// of a protocol. Criteria that are given and not selected are left out of account. Errors:
    /// InvalidParameter, NotSupported, NoSystemResources.
    #[zbus(out_args("enumeration"))]
    #[expect(clippy::too_many_arguments, reason = "the call has them, and zbus adds its own")]
    async fn create_route_enumeration(
        &self,
        views: u32,
        flags: u32,
        prefix: &str,
        matching: u32,
        criteria: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let mut criteria = Options::new(criteria, "criterion");
        let destination = criteria.parse("destination")?;
        let protocol = criteria.take("protocol")?.map(Protocol);
        let wanted = enumeration::criteria(&self.context, matching, criteria, Unselected::Ignored)?;
        let wanted = Match { protocol, ..wanted };
        let caller = self.context.clients.caller(&header).await?;
        let walk = self.context.rib.with(|rib| {
            let own = enumeration::Own::Routes;
            let position = (views, flags, prefix);
            let settings =
                enumeration::settings(rib, self.id, &caller, position, destination, own)?;
            Ok(ObjectKind::Routes(rib.walk(settings)?, wanted))
        })?;
        self.enumerate(connection, caller, walk).await
    }

    /// Registers the caller to be told of changes in these views, 0 for all; the object answers only
    /// the caller. What is in the table already has to be enumerated.
    ///
    /// "flags": 1 anything about any route, 2 the best route (another one, or its
    /// preference, metric, next hops or flags), 4 the best route as far as forwarding goes; plus
    /// 0x00010000 only destinations that were marked, 0x00020000 (with 2 alone) each change of a
    /// best route by itself and in order, fetched with GetBestChanges instead of
    /// GetChangedDestinations. "context" comes back in each signal ChangeNotification.
    /// Errors: InvalidParameter, NotSupported,
    /// NoSystemResources.
    #[zbus(out_args("notification"))]
    async fn register_for_change_notification(
        &self,
        views: u32,
        flags: u32,
        context: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let (table, views, flags) = (self.id, ViewSet(views), NotifyFlags::new(flags)?);
        let subscription = Subscription { table, views, flags, context };
        let caller = self.context.clients.caller(&header).await?;
        let register = |rib: &mut Ledger| rib.register_for_changes(subscription, caller.clone());
        let id = self.context.rib.with(register)?;
        let object = Object { owner: caller, kind: ObjectKind::Notification(table, id) };
        private::serve(&self.context, connection, notification_path(id), object).await
    }

    /// Begins to walk over the next hops of the caller's entities in this table; the object answers
    /// only the caller. "flags": 0 from the beginning, 1 from the prefix on, 2 those in the prefix.
    /// "prefix" may be empty with 0; a next hop without an address counts as address 0. Errors:
    /// InvalidParameter, NoSystemResources.
    #[zbus(out_args("enumeration"))]
    async fn create_next_hop_enumeration(
        &self,
        flags: u32,
        prefix: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let caller = self.context.clients.caller(&header).await?;
        let start = enumeration::start(flags, prefix)?;
        let walk = self.context.rib.with(|rib| rib.walk_next_hops(self.id, &caller, start))?;
        self.enumerate(connection, caller, ObjectKind::NextHops(walk)).await
    }

    /// An entity registered in this table.
    #[zbus(signal)]
    pub(super) async fn entity_registered(
        emitter: &SignalEmitter<'_>,
        entity: EntityInfo,
    ) -> zbus::Result<()>;

    /// An entity of this table is gone, and all its routes with it.
    #[zbus(signal)]
    pub(super) async fn entity_deregistered(
        emitter: &SignalEmitter<'_>,
        entity: EntityInfo,
    ) -> zbus::Result<()>;

    /// The instance.
    #[zbus(property(emits_changed_signal = "const"))]
    fn instance(&self) -> u32 {
        self.id.instance.0.into()
    }

    /// "ipv4" or "ipv6".
    #[zbus(property(emits_changed_signal = "const"))]
    fn family(&self) -> String {
        self.id.family.name().to_owned()
    }

    /// The kernel's table that the best routes of the unicast view go to; 0 when they go nowhere.
    #[zbus(property(emits_changed_signal = "const"))]
    fn kernel_table(&self) -> u32 {
        let table = |rib: &mut Ledger| Some(rib.policy().table(self.id).ok()?.kernel_table?.0);
        self.context.rib.with(table).unwrap_or(0)
    }

    /// Whether routes are pushed to the kernel: false when an administrator switched that off with
    /// SetForwarding, or when the configuration keeps the table out of the kernel.
    #[zbus(property)]
    pub(super) fn pushed(&self) -> bool {
        self.context.rib.with(|rib| rib.is_pushed(self.id))
    }

    /// The views routes can be offered in, as a bit mask.
    #[zbus(property(emits_changed_signal = "const"))]
    fn views(&self) -> u32 {
        self.context.rib.with(|rib| rib.policy().views(self.id).unwrap_or_default().0)
    }

    /// How many entities are registered.
    #[zbus(property)]
    pub(super) fn entities(&self) -> u32 {
        let count = |rib: &mut Ledger| rib.registered_entities(self.id).map_or(0, Iterator::count);
        u32::try_from(self.context.rib.with(count)).unwrap_or(u32::MAX)
    }

    /// How many destinations there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn destinations(&self) -> u64 {
        self.context.rib.with(|rib| rib.destination_count(self.id)) as u64
    }

    /// How many routes there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn routes(&self) -> u64 {
        self.context.rib.with(|rib| rib.route_count(self.id)) as u64
    }

    /// How many next hops there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn next_hops(&self) -> u64 {
        self.context.rib.with(|rib| {
            let entities = rib.registered_entities(self.id).into_iter().flatten();
            entities.map(|entity| rib.next_hop_count(entity.id)).sum::<usize>()
        }) as u64
    }

    /// How many destinations are in the kernel.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_installed(&self) -> u64 {
        self.context.rib.with(|rib| rib.fib_counts(self.id).installed) as u64
    }

    /// How many destinations are on their way into the kernel or out of it.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_pending(&self) -> u64 {
        self.context.rib.with(|rib| rib.fib_counts(self.id).pending) as u64
    }

    /// How many destinations the kernel refused.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_failed(&self) -> u64 {
        self.context.rib.with(|rib| rib.fib_counts(self.id).failed) as u64
    }
}
