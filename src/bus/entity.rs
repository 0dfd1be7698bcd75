//! `org.rtmd1.Entity`: what a registered client does. Only its owner may call.

use std::{collections::BTreeMap, sync::Arc};

use zbus::{
    Connection, OwnedObjectPath, OwnedVariant, interface, message::Header,
    object_server::SignalEmitter,
};

use super::{
    administration, commands,
    context::Context,
    convert::{bus_name, list_path, next_hop_info},
    enumeration::{self, Unselected},
    errors::check_items,
    lifecycle, methods,
    options::{
        FindList, Options, RouteChanges, RouteOptions, next_hop_id, next_hop_key, route_id,
        route_ids,
    },
    private, queue,
    wire::{ItemError, MethodOutput, NextHopInfo, RouteInfo, RouteItem},
};
use crate::{
    clock,
    journal::ledger::{Ledger, Object, ObjectKind},
    model::{
        ChangeFlags, EntityId, ErrorKind, MethodSet, NextHopFlags, Result, Span, ViewSet, Weight,
    },
    rib::{self, NextHopOffer, Progress, Rib, Selection, Sweep},
    shared::SLICE,
};

/// The object of one registration.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) context: Arc<Context>,
    pub(super) id: EntityId,
}

impl Entity {
    pub(super) fn new(context: Arc<Context>, id: EntityId) -> Self {
        Self { context, id }
    }

    /// Finds route lists of the caller's, which may be another connection than the one that made a
    /// list of a shared entity.
    fn find_list(&self, header: &Header<'_>) -> impl FindList {
        |path: &OwnedObjectPath| {
            let caller = header.sender().map_or("", |name| name.as_str());
            self.context.rib.with(|rib| private::route_list(rib, path.as_str(), caller))
        }
    }

    /// Tells what changes when it begins to linger or is resumed.
    pub(super) async fn tell_of_change(&self, emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        self.state_changed(emitter).await?;
        self.bus_name_changed(emitter).await?;
        self.label_changed(emitter).await?;
        self.unit_changed(emitter).await?;
        self.methods_changed(emitter).await?;
        self.registered_changed(emitter).await
    }

    fn property<T>(&self, f: impl FnOnce(&Rib, &rib::Entity) -> T) -> zbus::fdo::Result<T> {
        self.context.rib.with(|rib| {
            let entity = rib.entity(self.id);
            entity.map(|entity| f(rib, entity)).map_err(|e| zbus::fdo::Error::Failed(e.message))
        })
    }
}

#[interface(name = "org.rtmd1.Entity", spawn = false)]
impl Entity {
    /// Ends the registration and withdraws all its routes before it returns. Option: "keep" b, leave
    /// the routes as they are and let the entity linger, as if its connection were gone; a shared one
    /// then lingers for ever. One that lingers is for its user to end, and for who may
    /// administer the service. Errors: AccessDenied, InvalidParameter.
    async fn deregister(
        &self,
        options: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        let mut options = Options::new(options, "deregistration option");
        let keep = options.take("keep")?.unwrap_or_default();
        options.finish()?;
        let caller = self.context.clients.caller(&header).await?;
        if keep {
            return lifecycle::leave(&self.context, connection, (self.id, &caller)).await;
        }
        let is_admin = administration::is_administrator(&self.context, &caller).await.is_ok();
        self.context.rib.with(|rib| {
            if !rib.is_left_behind(self.id, (!is_admin).then_some(caller.uid)) {
                rib.authorize(self.id, &caller)?;
            }
            rib.deregister(self.id)
        })?;
        lifecycle::retire(&self.context, connection, self.id).await;
        Ok(())
    }

    /// Withdraws what this entity offered before it lingered and has not offered again since it was
    /// resumed, and returns how many routes that were; with them go next hops that were added before,
    /// not again, and that no route has. Errors: AccessDenied.
    #[zbus(out_args("swept"))]
    async fn end_of_sync(&self, #[zbus(header)] header: Header<'_>) -> Result<u64> {
        let mut swept = 0;
        loop {
            let sweep = |rib: &mut Ledger| rib.sweep(self.id, SLICE, clock::now());
            let Sweep { withdrawn, progress } = self.command(&header, sweep).await?;
            swept += withdrawn;
            if progress == Progress::Complete {
                return Ok(swept);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Finds the next hop with this address and interface and updates it, or adds it; the change
    /// flag 1 says that it was added. Interface 0: found by the address, among the networks of the
    /// links and then among the routes; address "": the destination is on the link. Options: "flags"
    /// u (1: remote, found among the routes whatever the links are); "weight" u from 1 to 256;
    /// "remote-destination" s, what leads to a remote one; "private" ay, what only the owner gets to
    /// see. Errors: AccessDenied, InvalidParameter, NotEnoughMemory.
    #[zbus(out_args("id", "change_flags"))]
    async fn add_next_hop(
        &self,
        address: &str,
        interface: u32,
        options: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, u32)> {
        let mut options = Options::new(options, "next-hop option");
        let private: Vec<u8> = options.take("private")?.unwrap_or_default();
        let remote = options.parse("remote-destination")?;
        let flags = options.read("flags", NextHopFlags::new)?.unwrap_or_default();
        let weight = options.read("weight", Weight::new)?.unwrap_or(Weight::ONE);
        options.finish()?;
        let key = next_hop_key(address, interface)?;
        let offer = NextHopOffer { key, flags, weight, remote, private: &private };
        let (id, new) = self.command(&header, |rib| rib.add_next_hop(self.id, offer)).await?;
        Ok((id.0.get(), u32::from(new)))
    }

    /// Finds a next hop of this entity. Errors: AccessDenied, InvalidParameter, NotFound.
    #[zbus(out_args("next_hop"))]
    async fn find_next_hop(
        &self,
        address: &str,
        interface: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(NextHopInfo,)> {
        let key = next_hop_key(address, interface)?;
        self.command(&header, |rib| {
            rib.find_next_hop(self.id, key).map(|view| (next_hop_info(&view, true),))
        })
        .await
    }

    /// Deletes a next hop; routes that have it stop using it. Errors: AccessDenied, InvalidHandle,
    /// NotFound.
    async fn delete_next_hop(&self, id: u64, #[zbus(header)] header: Header<'_>) -> Result<()> {
        let id = next_hop_id(id)?;
        self.command(&header, |rib| rib.delete_next_hop(self.id, id)).await
    }

    /// Deletes the next hop with this address and interface. Errors: AccessDenied, InvalidParameter,
    /// NotFound.
    async fn delete_next_hop_by_address(
        &self,
        address: &str,
        interface: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let key = next_hop_key(address, interface)?;
        self.command(&header, |rib| {
            let id = rib.find_next_hop(self.id, key)?.id;
            rib.delete_next_hop(self.id, id)
        })
        .await
    }

    /// Offers a route, or updates the one with the same destination and neighbour.
    ///
    /// Keys: "via" a(su) or a(suu), next hops as address, interface and weight; or "next-hops" at,
    /// ids; "neighbour" t; "preference" u (0: the protocol's level); "metric" u; "flags" u; "views" u
    /// (default 1, unicast); "ttl" u, milliseconds to live; "list" o, a route list to move it to;
    /// "private" ay, what only the owner gets to see.
    ///
    /// An update replaces the whole route: what is not said is as in a new one, so next hops that are
    /// not named again are dropped; UpdateRoute changes only what is named. A route without next hops
    /// is kept; unless a flag makes it special (1, 2 or 4) packets cannot follow it, so it ranks behind
    /// all that lead somewhere and is not for the kernel, as Explain says.
    ///
    /// Change flags in: 1 update the entity's first route whatever its neighbour, 2 always add. Out:
    /// 2 a route was added, 0x00010000 it was or is a best route. Errors: AccessDenied, InvalidHandle, InvalidParameter, NotEnoughMemory, NotSupported.
    #[zbus(out_args("id", "change_flags"))]
    async fn add_route(
        &self,
        destination: &str,
        route: BTreeMap<String, OwnedVariant>,
        change_flags: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, u32)> {
        let to = destination.parse()?;
        let route = RouteOptions::read(route, self.find_list(&header))?;
        let how = ChangeFlags(change_flags);
        let added = |rib: &mut Ledger| rib.add_route(self.id, &route.to(to), how, clock::now());
        self.command(&header, added).await.map(|(id, change)| (id.0.get(), change.0))
    }

    /// Offers many routes: destination, neighbour, preference, metric, flags, views, time to live
    /// (4294967295: for ever), next hops. Returns an id for each, 0 where it was refused, and the
    /// refusals: index, error name, text, where only the first MiB of text is told. At most 32768
    /// in a call. Errors: AccessDenied, NoSystemResources.
    #[zbus(out_args("ids", "errors"))]
    async fn add_routes(
        &self,
        routes: Vec<RouteItem>,
        change_flags: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<u64>, Vec<ItemError>)> {
        let (how, now) = (ChangeFlags(change_flags), clock::now());
        let add =
            |rib: &mut Ledger, item: &RouteItem| commands::add(rib, self.id, item, (how, now));
        let (done, errors) = self.command_each(&header, &routes, add).await?;
        Ok((commands::ids(&done), errors))
    }

    /// Offers the same route to many destinations, at most 32768. Keys and change flags as with
    /// AddRoute, result as with AddRoutes. Errors: AccessDenied, InvalidHandle, InvalidParameter,
    /// NoSystemResources, NotSupported.
    #[zbus(out_args("ids", "errors"))]
    async fn add_prefixes(
        &self,
        destinations: Vec<String>,
        route: BTreeMap<String, OwnedVariant>,
        change_flags: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<u64>, Vec<ItemError>)> {
        let route = RouteOptions::read(route, self.find_list(&header))?;
        let (how, now) = (ChangeFlags(change_flags), clock::now());
        let add = |rib: &mut Ledger, destination: &String| {
            rib.add_route(self.id, &route.to(destination.parse()?), how, now)
        };
        let (done, errors) = self.command_each(&header, &destinations, add).await?;
        Ok((commands::ids(&done), errors))
    }

    /// Changes a route in part, all at once; what is not named stays. Keys as with AddRoute, without
    /// "flags"; also "generation" t: only if the route still has the generation that RouteInfo told,
    /// otherwise it is refused as Busy; and "destination" s: only if it leads there. A "ttl" runs from
    /// now; without one the time goes on. The change flag 0x00010000 says that it was or is a best
    /// route, or another became one. Errors: AccessDenied, Busy, InvalidHandle, InvalidParameter, NotFound,
    /// NotSupported, NotEnoughMemory.
    #[zbus(out_args("change_flags"))]
    async fn update_route(
        &self,
        id: u64,
        changes: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u32> {
        let (id, changes) = (route_id(id)?, RouteChanges::read(changes, self.find_list(&header))?);
        let update =
            |rib: &mut Ledger| rib.update_route(self.id, id, &changes.amendment(), clock::now());
        self.command(&header, update).await.map(|change| change.0)
    }

    /// Withdraws a route; the change flag 0x00010000 says that a best route changed. Errors:
    /// AccessDenied, InvalidHandle, NotFound.
    #[zbus(out_args("change_flags"))]
    async fn delete_route(&self, id: u64, #[zbus(header)] header: Header<'_>) -> Result<u32> {
        let delete = |rib: &mut Ledger| commands::delete(rib, self.id, id);
        self.command(&header, delete).await.map(|change| change.0)
    }

    /// Withdraws many routes, at most 32768; returns the refusals as AddRoutes does. Errors:
    /// AccessDenied, NoSystemResources.
    #[zbus(out_args("errors"))]
    async fn delete_routes(
        &self,
        ids: Vec<u64>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<ItemError>> {
        let delete = |rib: &mut Ledger, id: &u64| commands::delete(rib, self.id, *id);
        self.command_each(&header, &ids, delete).await.map(|(_, errors)| errors)
    }

    /// Withdraws all routes of this entity that fulfil all criteria, and returns how many; that there
    /// are none is the error NoMoreItems. "matching" and "criteria" as with CreateRouteEnumeration of
    /// the table, but a criterion that is given and not selected is refused; 0 and no criteria mean
    /// every route. Errors: AccessDenied, InvalidParameter, NoMoreItems.
    #[zbus(out_args("deleted"))]
    async fn delete_matching_routes(
        &self,
        matching: u32,
        criteria: BTreeMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64> {
        let mut criteria = Options::new(criteria, "criterion");
        let to = criteria.parse("destination")?;
        let wanted = enumeration::criteria(&self.context, matching, criteria, Unselected::Refused)?;
        self.command(&header, |_| Ok(())).await?;
        let mut work = Selection::new(self.id, wanted, to);
        let delete = |rib: &mut Ledger, count| rib.delete_selected(&mut work, count, clock::now());
        self.context.rib.in_slices(delete).await;
        match work.deleted {
            0 => Err(ErrorKind::NoMoreItems.because("no route of yours is like that")),
            deleted => Ok(deleted),
        }
    }

    /// Marks a destination for hold-down: when its last route in one of these views is withdrawn,
    /// the view remembers it as held for this many milliseconds, counted from then; the limit
    /// "hold-time" is the most, so for ever only where that allows it. All marks of a destination
    /// share the longest time. Any entity may; a held route counts among the routes of the user that
    /// asked for the longest, and nothing is held for who has too many. A destination without routes
    /// is the error InvalidHandle. Errors: AccessDenied, InvalidHandle, InvalidParameter,
    /// NotSupported.
    async fn hold_destination(
        &self,
        destination: &str,
        views: u32,
        hold_time: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let (to, span) = (destination.parse()?, Span::from_millis(hold_time)?);
        let hold = |rib: &mut Ledger| rib.hold_destination(self.id, to, ViewSet(views), span);
        self.command(&header, hold).await
    }

    /// Keeps some bytes with a destination, for this entity alone, as long as both are there; none
    /// empties the cell. It takes the registration option "reserve-opaque", without which there is
    /// only NotFound; a destination without routes is the error InvalidHandle. Errors: AccessDenied,
    /// InvalidHandle, InvalidParameter, NotEnoughMemory, NotFound.
    async fn set_opaque(
        &self,
        destination: &str,
        bytes: Vec<u8>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let to = destination.parse()?;
        self.command(&header, |rib| rib.set_opaque(self.id, to, &bytes)).await
    }

    /// What this entity keeps with a destination; nothing in the beginning. It takes the registration
    /// option "reserve-opaque", without which there is only NotFound; a destination without routes is
    /// the error InvalidHandle. Errors: AccessDenied, InvalidHandle, InvalidParameter, NotFound.
    #[zbus(out_args("bytes"))]
    async fn get_opaque(
        &self,
        destination: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<u8>> {
        let to = destination.parse()?;
        self.command(&header, |rib| rib.opaque(self.id, to).map(<[u8]>::to_vec)).await
    }

    /// Creates an empty list for routes of this entity, and returns its object, which answers only
    /// the caller and ends with its connection. Errors: AccessDenied, NoSystemResources.
    #[zbus(out_args("list"))]
    async fn create_route_list(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath> {
        let id = self.command(&header, |rib| rib.create_route_list(self.id)).await?;
        let caller = self.context.clients.caller(&header).await?;
        let object = Object { owner: caller, kind: ObjectKind::RouteList(self.id, id) };
        private::serve(&self.context, connection, list_path(self.id, id), object).await
    }

    /// Takes routes out of the lists they are in, at most 32768; all or none. Errors: AccessDenied,
    /// InvalidHandle, NoSystemResources, NotFound.
    async fn remove_from_route_lists(
        &self,
        routes: Vec<u64>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        check_items(&routes)?;
        let routes = route_ids(&routes)?;
        self.command(&header, |rib| rib.move_to_list(self.id, None, &routes)).await
    }

    /// What the kernel made of routes of the entity: for each its id, the word that "fib" of a route
    /// has ("installed", "failed", "ineligible", "suppressed", or "none" when another route is best
    /// now), and the kernel's words if it refused it or some of its next hops. Sent to the connection
    /// that registered with "fib-results", and to nobody else; 256 routes at most at once, each as it
    /// is then, however often that changed before. After 1024 of these the connection hears of the
    /// rest when it calls a method and wants the answer.
    #[zbus(signal)]
    pub(super) async fn fib_result(
        emitter: &SignalEmitter<'_>,
        results: Vec<(u64, String, String)>,
    ) -> zbus::Result<()>;

    /// A route expired and is deleted: sent to the connection that registered, and to nobody else,
    /// when it has no callback that could keep the route. After 1024 of these the connection hears
    /// of no other until it calls a method and wants the answer.
    #[zbus(signal)]
    pub(super) async fn route_expired(
        emitter: &SignalEmitter<'_>,
        route: RouteInfo,
    ) -> zbus::Result<()>;

    /// Invokes methods that another entity of the same table exports: "methods" is a mask, with
    /// 4294967295 for all that it exports, and each of them gets "input". Its callback is called for
    /// one after the other, the lowest bit first. "timeout" is in milliseconds; the service waits no
    /// longer than the limit "invocation-timeout".
    ///
    /// Returns for each method its bit, how it ended (0, or a Win32 code: 1168 the entity does not
    /// export it, 50 its callback does not know it, 31 its callback failed, 122 the output is longer
    /// than "invocation-bytes", 13 it is none) and its output. Errors: AccessDenied, Busy, InvalidHandle, InvalidParameter, NoSystemResources,
    /// Timeout.
    #[zbus(out_args("outputs"))]
    async fn invoke_method(
        &self,
        entity: u64,
        methods: u32,
        input: Vec<u8>,
        timeout: u32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<MethodOutput>> {
        let (target, methods) = (EntityId(entity), MethodSet(methods));
        let request = methods::Request { caller: self.id, target, methods, input };
        let caller = self.context.clients.caller(&header).await?;
        let admitted = methods::admit(&self.context, &caller, request, timeout)?;
        // The target may have to call this client first.
        queue::detach().await;
        admitted.carry_out(&self.context, connection).await
    }

    /// Holds back the methods that this entity exports, or lets them go again. Who invokes them
    /// meanwhile waits; the entity itself would wait for itself and is refused as Busy. Errors: AccessDenied.
    async fn block_methods(&self, block: bool, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.command(&header, |rib| rib.block_methods(self.id, block)).await?;
        self.context.methods.tell_of_change();
        Ok(())
    }

    /// The methods it exports, a mask.
    #[zbus(property)]
    fn methods(&self) -> zbus::fdo::Result<u32> {
        self.property(|rib, entity| rib.methods(entity.id).map_or(0, |methods| methods.0))
    }

    /// The entity's id.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u64 {
        self.id.0
    }

    /// The instance it works in.
    #[zbus(property(emits_changed_signal = "const"))]
    fn instance(&self) -> zbus::fdo::Result<u32> {
        self.property(|_, entity| entity.key.table.instance.0.into())
    }

    /// "ipv4" or "ipv6".
    #[zbus(property(emits_changed_signal = "const"))]
    fn family(&self) -> zbus::fdo::Result<String> {
        self.property(|_, entity| entity.key.table.family.name().to_owned())
    }

    /// Its protocol.
    #[zbus(property(emits_changed_signal = "const"))]
    fn protocol(&self) -> zbus::fdo::Result<u32> {
        self.property(|_, entity| entity.key.protocol.0)
    }

    /// Which of several of that protocol.
    #[zbus(property(emits_changed_signal = "const"))]
    fn protocol_instance(&self) -> zbus::fdo::Result<u32> {
        self.property(|_, entity| entity.key.protocol_instance)
    }

    /// What it calls itself.
    #[zbus(property)]
    fn label(&self) -> zbus::fdo::Result<String> {
        self.property(|_, entity| entity.label.clone())
    }

    /// The connection that holds it; empty for a shared one, and while it lingers.
    #[zbus(property)]
    fn bus_name(&self) -> zbus::fdo::Result<String> {
        self.property(|_, entity| bus_name(entity).to_owned())
    }

    /// The user that registered it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn uid(&self) -> zbus::fdo::Result<u32> {
        self.property(|_, entity| entity.caller.uid)
    }

    /// The systemd unit of the process that registered it, as systemd told then; empty when it told
    /// none, because it does not run here or the process is in no unit.
    #[zbus(property)]
    fn unit(&self) -> String {
        self.context.rib.with(|rib| lifecycle::unit(rib, self.id)).to_string()
    }

    /// "active"; "lingering" when its client is gone and its routes stay for a while; or "builtin" for
    /// one of the service itself, which nobody may call.
    #[zbus(property)]
    fn state(&self) -> zbus::fdo::Result<String> {
        self.property(|_, entity| entity.state.name().to_owned())
    }

    /// The level of its protocol, which its routes get unless they ask for another.
    #[zbus(property(emits_changed_signal = "false"))]
    fn preference(&self) -> zbus::fdo::Result<u32> {
        self.property(|rib, entity| rib.policy().levels.of(entity.key.protocol).0)
    }

    /// How many routes it offers.
    #[zbus(property(emits_changed_signal = "false"))]
    fn routes(&self) -> zbus::fdo::Result<u64> {
        self.property(|_, entity| entity.routes() as u64)
    }

    /// How many of them are from before it lingered, and were not offered again.
    #[zbus(property(emits_changed_signal = "false"))]
    fn stale_routes(&self) -> zbus::fdo::Result<u64> {
        self.property(|_, entity| entity.stale_routes() as u64)
    }

    /// How many next hops it has.
    #[zbus(property(emits_changed_signal = "false"))]
    fn next_hops(&self) -> zbus::fdo::Result<u64> {
        self.property(|rib, entity| rib.next_hop_count(entity.id) as u64)
    }

    /// How many of its routes are best in some view.
    #[zbus(property(emits_changed_signal = "false"))]
    fn best_routes(&self) -> zbus::fdo::Result<u64> {
        self.property(|_, entity| entity.best_routes as u64)
    }

    /// When it registered or was resumed, microseconds of real time since 1970.
    #[zbus(property)]
    fn registered(&self) -> zbus::fdo::Result<u64> {
        self.property(|_, entity| entity.registered.0)
    }
}
