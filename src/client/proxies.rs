//! The interfaces of `org.rtmd1`, member by member.
//!
//! Every property is declared as one that changes without a signal, which keeps zbus from caching
//! it. `Next` of an enumeration answers with no more items than asked for and whether that was all.

use zbus::{OwnedObjectPath, proxy};

use crate::bus::wire::{
    BestChange, DestinationInfo, Details, EntityInfo, ItemError, MethodOutput, NextHopInfo,
    Profile, RouteInfo, RouteItem,
};

/// The root object: registration, tables, preferences.
#[proxy(
    interface = "org.rtmd1.Manager",
    default_service = "org.rtmd1",
    default_path = "/org/rtmd1"
)]
pub trait Manager {
    /// Registers a client as an entity of a table; the answer is its object and its profile.
    fn register_entity(
        &self,
        instance: u32,
        family: &str,
        protocol: u32,
        protocol_instance: u32,
        options: &Details,
    ) -> zbus::Result<(OwnedObjectPath, Profile)>;

    /// What the grants in force would say to a user in a unit: whether it is allowed, the name of the grant
    /// that decides, why not, and the grants before it with why each is not for that user.
    fn check_policy(
        &self,
        user: &str,
        unit: &str,
        case: &Details,
    ) -> zbus::Result<(bool, String, String, Vec<(String, String)>)>;

    /// The entities of a table, the service's own included.
    fn get_registered_entities(&self, instance: u32, family: &str)
    -> zbus::Result<Vec<EntityInfo>>;

    /// The object of a table.
    fn get_table(&self, instance: u32, family: &str) -> zbus::Result<OwnedObjectPath>;

    /// Protocol, its name, and the level its routes get.
    fn get_preferences(&self) -> zbus::Result<Vec<(u32, String, u32)>>;

    /// Gives a protocol a level, 0 for none of its own; `reapply` ranks its routes by it.
    #[zbus(allow_interactive_auth)]
    fn set_preference(&self, protocol: u32, preference: u32, reapply: bool) -> zbus::Result<()>;

    /// Reads the configuration again.
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> zbus::Result<()>;

    /// Says whether a table's routes are pushed to the kernel.
    #[zbus(allow_interactive_auth)]
    fn set_forwarding(&self, instance: u32, family: &str, push: bool) -> zbus::Result<()>;

    /// Adds a static route of the service's own.
    #[zbus(allow_interactive_auth)]
    fn add_static_route(
        &self,
        instance: u32,
        destination: &str,
        route: &Details,
        persistent: bool,
    ) -> zbus::Result<()>;

    /// Removes the static route to a destination that is like this.
    #[zbus(allow_interactive_auth)]
    fn remove_static_route(
        &self,
        instance: u32,
        destination: &str,
        route: &Details,
    ) -> zbus::Result<()>;

    /// Adds a static route that does what this route does.
    #[zbus(allow_interactive_auth)]
    fn make_static(&self, instance: u32, route: u64, persistent: bool) -> zbus::Result<()>;

    /// The static routes: destination, route, whether it is persistent.
    fn get_static_routes(
        &self,
        instance: u32,
        family: &str,
    ) -> zbus::Result<Vec<(String, Details, bool)>>;

    /// The service's version.
    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;

    /// New whenever the service lost what clients offered.
    #[zbus(property(emits_changed_signal = "false"))]
    fn epoch(&self) -> zbus::Result<u64>;

    /// The configured instances.
    #[zbus(property(emits_changed_signal = "false"))]
    fn instances(&self) -> zbus::Result<Vec<u32>>;

    /// `synced`, `syncing` or `degraded`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_state(&self) -> zbus::Result<String>;

    /// What an administrator could set better, a sentence each.
    #[zbus(property(emits_changed_signal = "false"))]
    fn advice(&self) -> zbus::Result<Vec<String>>;

    /// Sizes that the service does not go beyond, by name.
    #[zbus(property(emits_changed_signal = "false"))]
    fn limits(&self) -> zbus::Result<std::collections::BTreeMap<String, u32>>;
}

/// All destinations of one family in one instance, for reading.
#[proxy(interface = "org.rtmd1.Table", default_service = "org.rtmd1")]
pub trait Table {
    /// The destination of this very prefix.
    fn get_exact_match_destination(
        &self,
        prefix: &str,
        protocol: u32,
        views: u32,
    ) -> zbus::Result<DestinationInfo>;

    /// The longest prefix that covers this one.
    fn get_most_specific_destination(
        &self,
        prefix: &str,
        protocol: u32,
        views: u32,
    ) -> zbus::Result<DestinationInfo>;

    /// The longest prefix that covers this one and is shorter.
    fn get_less_specific_destination(
        &self,
        prefix: &str,
        protocol: u32,
        views: u32,
    ) -> zbus::Result<DestinationInfo>;

    /// All candidates for a prefix, in order of rank.
    fn get_routes(&self, prefix: &str) -> zbus::Result<Vec<RouteInfo>>;

    /// Why the routes of a destination stand as they do: its prefix, all candidates, the kernel.
    fn explain(&self, prefix_or_address: &str) -> zbus::Result<(String, Vec<Details>, Details)>;

    /// A route by its id.
    fn get_route_info(&self, id: u64) -> zbus::Result<RouteInfo>;

    /// The first route to this very prefix that fulfils the criteria.
    fn get_exact_match_route(
        &self,
        prefix: &str,
        matching: u32,
        criteria: &Details,
        views: u32,
    ) -> zbus::Result<RouteInfo>;

    /// A next hop by its id.
    fn get_next_hop_info(&self, id: u64) -> zbus::Result<NextHopInfo>;

    /// The views in which the route is the best.
    fn is_best_route(&self, route: u64) -> zbus::Result<u32>;

    /// Starts a walk over routes.
    fn create_route_enumeration(
        &self,
        views: u32,
        flags: u32,
        prefix: &str,
        matching: u32,
        criteria: &Details,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Starts a walk over destinations.
    fn create_destination_enumeration(
        &self,
        views: u32,
        flags: u32,
        prefix: &str,
        protocol: u32,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Starts a walk over the caller's next hops.
    fn create_next_hop_enumeration(
        &self,
        flags: u32,
        prefix: &str,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Registers for change notification.
    fn register_for_change_notification(
        &self,
        views: u32,
        flags: u32,
        context: u64,
    ) -> zbus::Result<OwnedObjectPath>;

    /// An entity came.
    #[zbus(signal)]
    fn entity_registered(&self, entity: EntityInfo) -> zbus::Result<()>;

    /// An entity went.
    #[zbus(signal)]
    fn entity_deregistered(&self, entity: EntityInfo) -> zbus::Result<()>;

    /// The instance it belongs to.
    #[zbus(property(emits_changed_signal = "false"))]
    fn instance(&self) -> zbus::Result<u32>;

    /// `ipv4` or `ipv6`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn family(&self) -> zbus::Result<String>;

    /// The kernel's number of the table that is kept equal to this one.
    #[zbus(property(emits_changed_signal = "false"))]
    fn kernel_table(&self) -> zbus::Result<u32>;

    /// Whether its routes are pushed to the kernel.
    #[zbus(property(emits_changed_signal = "false"))]
    fn pushed(&self) -> zbus::Result<bool>;

    /// The views it supports.
    #[zbus(property(emits_changed_signal = "false"))]
    fn views(&self) -> zbus::Result<u32>;

    /// How many entities are registered.
    #[zbus(property(emits_changed_signal = "false"))]
    fn entities(&self) -> zbus::Result<u32>;

    /// How many destinations there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn destinations(&self) -> zbus::Result<u64>;

    /// How many routes there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn routes(&self) -> zbus::Result<u64>;

    /// How many next hops there are.
    #[zbus(property(emits_changed_signal = "false"))]
    fn next_hops(&self) -> zbus::Result<u64>;

    /// How many destinations the kernel has as wished.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_installed(&self) -> zbus::Result<u64>;

    /// How many are on their way to the kernel.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_pending(&self) -> zbus::Result<u64>;

    /// How many the kernel refused.
    #[zbus(property(emits_changed_signal = "false"))]
    fn fib_failed(&self) -> zbus::Result<u64>;
}

/// A registration, for writing; only its owner may call it.
#[proxy(interface = "org.rtmd1.Entity", default_service = "org.rtmd1")]
pub trait Entity {
    /// Ends the registration and withdraws its routes.
    fn deregister(&self, options: &Details) -> zbus::Result<()>;

    /// Adds a next hop, or finds the one of this address and interface.
    fn add_next_hop(
        &self,
        address: &str,
        interface: u32,
        options: &Details,
    ) -> zbus::Result<(u64, u32)>;

    /// The caller's next hop of this address and interface.
    fn find_next_hop(&self, address: &str, interface: u32) -> zbus::Result<NextHopInfo>;

    /// Deletes a next hop.
    fn delete_next_hop(&self, id: u64) -> zbus::Result<()>;

    /// Deletes the next hop of this address and interface.
    fn delete_next_hop_by_address(&self, address: &str, interface: u32) -> zbus::Result<()>;

    /// Offers a route, or changes the one offered before.
    fn add_route(
        &self,
        destination: &str,
        route: &Details,
        change_flags: u32,
    ) -> zbus::Result<(u64, u32)>;

    /// Offers many routes; an id for each, 0 for those refused, and why.
    fn add_routes(
        &self,
        routes: &[RouteItem],
        change_flags: u32,
    ) -> zbus::Result<(Vec<u64>, Vec<ItemError>)>;

    /// Offers the same route to many destinations; answers like `AddRoutes`.
    fn add_prefixes(
        &self,
        destinations: &[&str],
        route: &Details,
        change_flags: u32,
    ) -> zbus::Result<(Vec<u64>, Vec<ItemError>)>;

    /// Changes a route in part.
    fn update_route(&self, id: u64, changes: &Details) -> zbus::Result<u32>;

    /// Takes a route back.
    fn delete_route(&self, id: u64) -> zbus::Result<u32>;

    /// Takes many routes back; answers with those that could not be.
    fn delete_routes(&self, ids: &[u64]) -> zbus::Result<Vec<ItemError>>;

    /// Takes all routes back that are like that; how many they were.
    fn delete_matching_routes(&self, matching: u32, criteria: &Details) -> zbus::Result<u64>;

    /// Marks a destination for hold-down.
    fn hold_destination(&self, destination: &str, views: u32, hold_time: u32) -> zbus::Result<()>;

    /// Keeps some bytes with a destination.
    fn set_opaque(&self, destination: &str, bytes: &[u8]) -> zbus::Result<()>;

    /// What the entity keeps with a destination.
    fn get_opaque(&self, destination: &str) -> zbus::Result<Vec<u8>>;

    /// Withdraws what was offered before the last registration and not again since; how many they
    /// were.
    fn end_of_sync(&self) -> zbus::Result<u64>;

    /// Creates a route list.
    fn create_route_list(&self) -> zbus::Result<OwnedObjectPath>;

    /// Takes routes out of their lists.
    fn remove_from_route_lists(&self, routes: &[u64]) -> zbus::Result<()>;

    /// What the kernel made of routes: id, how far, the kernel's words.
    #[zbus(signal)]
    fn fib_result(&self, results: Vec<(u64, String, String)>) -> zbus::Result<()>;

    /// A route expired and is deleted.
    #[zbus(signal)]
    fn route_expired(&self, route: RouteInfo) -> zbus::Result<()>;

    /// Invokes methods of another entity; what came of each.
    fn invoke_method(
        &self,
        entity: u64,
        methods: u32,
        input: &[u8],
        timeout: u32,
    ) -> zbus::Result<Vec<MethodOutput>>;

    /// Holds the entity's own methods back, or lets them go again.
    fn block_methods(&self, block: bool) -> zbus::Result<()>;

    /// The methods it exports.
    #[zbus(property(emits_changed_signal = "false"))]
    fn methods(&self) -> zbus::Result<u32>;

    /// Its id.
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> zbus::Result<u64>;

    /// The instance it works in.
    #[zbus(property(emits_changed_signal = "false"))]
    fn instance(&self) -> zbus::Result<u32>;

    /// `ipv4` or `ipv6`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn family(&self) -> zbus::Result<String>;

    /// Its protocol's number.
    #[zbus(property(emits_changed_signal = "false"))]
    fn protocol(&self) -> zbus::Result<u32>;

    /// Which of several of that protocol.
    #[zbus(property(emits_changed_signal = "false"))]
    fn protocol_instance(&self) -> zbus::Result<u32>;

    /// What it calls itself.
    #[zbus(property(emits_changed_signal = "false"))]
    fn label(&self) -> zbus::Result<String>;

    /// The connection that holds it.
    #[zbus(property(emits_changed_signal = "false"))]
    fn bus_name(&self) -> zbus::Result<String>;

    /// The user it belongs to.
    #[zbus(property(emits_changed_signal = "false"))]
    fn uid(&self) -> zbus::Result<u32>;

    /// The systemd unit of the process that registered it, if systemd told.
    #[zbus(property(emits_changed_signal = "false"))]
    fn unit(&self) -> zbus::Result<String>;

    /// `active`, or `builtin` for one of the service itself.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;

    /// The level its routes get.
    #[zbus(property(emits_changed_signal = "false"))]
    fn preference(&self) -> zbus::Result<u32>;

    /// How many routes it offers.
    #[zbus(property(emits_changed_signal = "false"))]
    fn routes(&self) -> zbus::Result<u64>;

    /// How many of them are from before it lingered, and were not offered again.
    #[zbus(property(emits_changed_signal = "false"))]
    fn stale_routes(&self) -> zbus::Result<u64>;

    /// How many next hops it has.
    #[zbus(property(emits_changed_signal = "false"))]
    fn next_hops(&self) -> zbus::Result<u64>;

    /// How many of its routes are the best in some view.
    #[zbus(property(emits_changed_signal = "false"))]
    fn best_routes(&self) -> zbus::Result<u64>;

    /// When it registered, in microseconds since 1970.
    #[zbus(property(emits_changed_signal = "false"))]
    fn registered(&self) -> zbus::Result<u64>;
}

/// A walk over routes.
#[proxy(interface = "org.rtmd1.RouteEnumeration", default_service = "org.rtmd1")]
pub trait RouteEnumeration {
    /// The next routes, and whether they were the last.
    fn next(&self, max: u32) -> zbus::Result<(Vec<RouteInfo>, bool)>;

    /// Ends the walk.
    fn close(&self) -> zbus::Result<()>;
}

/// A walk over destinations.
#[proxy(interface = "org.rtmd1.DestinationEnumeration", default_service = "org.rtmd1")]
pub trait DestinationEnumeration {
    /// The next destinations, and whether they were the last.
    fn next(&self, max: u32) -> zbus::Result<(Vec<DestinationInfo>, bool)>;

    /// Ends the walk.
    fn close(&self) -> zbus::Result<()>;
}

/// A walk over the caller's next hops.
#[proxy(interface = "org.rtmd1.NextHopEnumeration", default_service = "org.rtmd1")]
pub trait NextHopEnumeration {
    /// The next next hops, and whether they were the last.
    fn next(&self, max: u32) -> zbus::Result<(Vec<NextHopInfo>, bool)>;

    /// Ends the walk.
    fn close(&self) -> zbus::Result<()>;
}

/// A registration for change notification.
#[proxy(interface = "org.rtmd1.Notification", default_service = "org.rtmd1")]
pub trait Notification {
    /// The next destinations that changed, and whether they were the last.
    fn get_changed_destinations(&self, max: u32) -> zbus::Result<(Vec<DestinationInfo>, bool)>;

    /// Drops what waits for these destinations.
    fn ignore_changed_destinations(&self, destinations: &[&str]) -> zbus::Result<()>;

    /// Whether a change of this destination waits.
    fn get_change_status(&self, destination: &str) -> zbus::Result<bool>;

    /// Marks a destination or takes its mark away.
    fn mark_destination(&self, destination: &str, mark: bool) -> zbus::Result<()>;

    /// Whether a destination is marked.
    fn is_marked(&self, destination: &str) -> zbus::Result<bool>;

    /// The next changes of best routes in order, and whether they were the last.
    fn get_best_changes(&self, max: u32) -> zbus::Result<(Vec<BestChange>, bool)>;

    /// Ends the registration.
    fn deregister(&self) -> zbus::Result<()>;

    /// Something waits to be fetched.
    #[zbus(signal)]
    fn change_notification(&self, context: u64) -> zbus::Result<()>;
}

/// An entity's grouping of its routes.
#[proxy(interface = "org.rtmd1.RouteList", default_service = "org.rtmd1")]
pub trait RouteList {
    /// Moves routes into the list.
    fn insert(&self, routes: &[u64]) -> zbus::Result<()>;

    /// The next routes, and whether they were the last.
    fn next(&self, max: u32) -> zbus::Result<(Vec<RouteInfo>, bool)>;

    /// Begins from the beginning again.
    fn rewind(&self) -> zbus::Result<()>;

    /// Ends the list.
    fn delete(&self) -> zbus::Result<()>;
}
