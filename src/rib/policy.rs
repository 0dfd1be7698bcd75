//! What the administrator decides: the instances there are, the levels of the protocols, the limits.
//!
//! The configuration file is read elsewhere; this is what it says, with every default spelled out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Grants;
use crate::model::{
    Error, ErrorKind, Family, InstanceId, KernelProtocol, KernelTable, Preference, Protocol,
    TableId, ViewSet,
};

/// All that is configured.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Policy {
    /// The instances, by number.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The preference each protocol's routes get.
    pub levels: Levels,
    /// How much clients may make the service hold.
    pub limits: Limits,
    /// What becomes of what lingers when its owner was stopped on purpose.
    pub stopped_unit: StoppedUnit,
    /// Who may do what; nobody but root and the service's own user by default.
    pub grants: Grants,
}

/// What becomes of the routes of an owner that would linger, when systemd says that its unit was stopped:
/// unlike a crash or a restart that says that they are not wanted any more.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppedUnit {
    /// They go at once.
    #[default]
    Withdraw,
    /// They linger, as always.
    Linger,
}

/// An instance as configured, or what is wrong with its configuration.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Instance {
    /// Usable.
    Ready(InstanceSettings),
    /// Registration answers `BadConfiguration` with this sentence (RTMv2 row REG-08).
    Broken(String),
}

/// What an instance is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InstanceSettings {
    /// The families it has tables for, and the views that each table's routes can be offered in.
    pub families: BTreeMap<Family, ViewSet>,
    /// Whether a route that leads nowhere now yields to one that leads somewhere.
    pub viability: Viability,
    /// Whether a next hop can be reached by the default route.
    pub via_default: ViaDefault,
    /// The kernel's table for its unicast view; `None` keeps it out of the kernel. If it is the
    /// table of a VRF, addresses are those of that VRF's interfaces, otherwise of those in no VRF.
    pub kernel_table: Option<KernelTable>,
    /// The interfaces that its next hops may lead out by; none for all.
    pub interfaces: BTreeSet<String>,
    /// What of others is taken in from there.
    pub imports: Imports,
}

/// What becomes of the routes that others have in the kernel's table, by whose they are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imports(BTreeMap<KernelProtocol, Import>);

/// What becomes of a route that is not ours.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Import {
    /// Nothing: it is not even read.
    Ignore,
    /// It is told of, in no view, and is never best.
    Observe,
    /// It takes part in the choice, with this preference; 0 takes the protocol's level.
    Choose(Preference),
}

/// What a default route is to next hops that only it leads to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ViaDefault {
    /// No way: a default says that nothing is known of an address, so a next hop that was lost would
    /// be looked for where everything goes.
    #[default]
    Refused,
    /// A way like any other.
    Allowed,
}

/// What it counts in the choice of the best route that packets can follow a route now.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Viability {
    /// It comes before preference and metric.
    #[default]
    First,
    /// Nothing, which is RTMv2's letter.
    Ignored,
}

/// The preference of each protocol; smaller wins.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Levels {
    by_protocol: BTreeMap<Protocol, Preference>,
    /// For a protocol without a level of its own.
    pub others: Preference,
}

/// Bounds on what the service holds. Beyond them a call is refused and nothing changes.
///
/// The names of the fields, with dashes, are those of the configuration and of the bus.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Registrations in all tables together (`NoSystemResources`).
    pub entities: u32,
    /// Registrations of one bus connection, and shared ones of one user (`NoSystemResources`).
    pub entities_per_client: u32,
    /// Registrations of one user, shared or not (`NoSystemResources`).
    pub entities_per_user: u32,
    /// Routes in one table (`NotEnoughMemory`).
    pub routes: u32,
    /// Routes in one table that count for one user (`NotEnoughMemory`): those of its entities, and
    /// those that are held because it asked for it.
    pub routes_per_user: u32,
    /// Routes in one table that others have in the kernel, and that are read; more are left out.
    pub foreign_routes: u32,
    /// Routes to one destination (`NotEnoughMemory`).
    pub routes_per_destination: u32,
    /// Static routes in one table (`NotEnoughMemory`); one counts once for each of its next hops.
    pub static_routes: u32,
    /// Next hops of one entity (`NotEnoughMemory`), deleted ones that routes still have included.
    pub next_hops: u32,
    /// Different lists of next hops that one entity's routes have (`NotEnoughMemory`).
    pub next_hop_lists: u32,
    /// Addresses of next hops that are looked up in the tables, because they are on no connected
    /// network (`NotEnoughMemory`): what one change of a route can make the service do.
    pub looked_up_addresses: u32,
    /// Next hops of one route (`InvalidParameter`, RTMv2 gap 27).
    #[serde(rename = "max-next-hops")]
    pub next_hops_per_route: u32,
    /// Items of one page of an enumeration, and destinations a page looks at for each item.
    #[serde(rename = "max-handles")]
    pub handles: u32,
    /// Milliseconds that a destination can be held (`InvalidParameter`); 0xFFFFFFFF for ever.
    pub hold_time: u32,
    /// Milliseconds that routes can outlive their owner's connection (`InvalidParameter`); 0xFFFFFFFF for
    /// ever.
    pub linger: u32,
    /// Milliseconds that the owner of an expired route has to answer.
    pub expiry_answer: u32,
    /// Registrations for change notification (`NoSystemResources`).
    pub notifications: u32,
    /// Registrations for change notification of one bus connection (`NoSystemResources`).
    pub notifications_per_client: u32,
    /// Registrations for change notification of all bus connections of one user (`NoSystemResources`).
    pub notifications_per_user: u32,
    /// Destinations that one bus connection has marked, in all its registrations for change
    /// notification (`NotEnoughMemory`).
    pub marks_per_client: u32,
    /// Destinations that all bus connections of one user have marked (`NotEnoughMemory`).
    pub marks_per_user: u32,
    /// Destinations that wait for one registration; beyond that they are lost, and it is told.
    pub pending_destinations: u32,
    /// Destinations that wait for all registrations of one user; beyond that the fullest loses its.
    pub pending_destinations_per_user: u32,
    /// Changes that an ordered registration keeps; beyond that they are lost, and it is told.
    pub queued_changes: u32,
    /// Changes that all ordered registrations of one user keep; beyond that the fullest loses its.
    pub queued_changes_per_user: u32,
    /// Bytes of a cell that an entity has in a destination (`InvalidParameter`).
    pub opaque_bytes: u32,
    /// Entities of a table that can reserve cells (`NoSystemResources`).
    pub opaque_entities: u32,
    /// Bytes of all cells of one entity (`NotEnoughMemory`).
    pub opaque_memory: u32,
    /// Bytes of private data of a route or a next hop (`InvalidParameter`).
    pub private_bytes: u32,
    /// Route lists (`NoSystemResources`).
    pub route_lists: u32,
    /// Route lists of one bus connection (`NoSystemResources`).
    pub route_lists_per_client: u32,
    /// Route lists of all bus connections of one user (`NoSystemResources`).
    pub route_lists_per_user: u32,
    /// Enumerations that are open (`NoSystemResources`).
    pub enumerations: u32,
    /// Enumerations that one bus connection has open (`NoSystemResources`).
    pub enumerations_per_client: u32,
    /// Enumerations that all bus connections of one user have open (`NoSystemResources`).
    pub enumerations_per_user: u32,
    /// Invocations of methods by one bus connection that are under way (`NoSystemResources`).
    pub invocations_per_client: u32,
    /// Invocations of one entity's methods that are under way (`NoSystemResources`).
    pub invocations_per_entity: u32,
    /// Bytes of a method's input (`InvalidParameter`) or output.
    pub invocation_bytes: u32,
    /// Milliseconds that an invocation may take, however long its caller would wait.
    pub invocation_timeout: u32,
    /// Calls of one bus connection that are not answered yet (`NoSystemResources`).
    pub calls_per_client: u32,
    /// Calls of all bus connections of one user that are not answered yet (`NoSystemResources`).
    pub calls_per_user: u32,
    /// Bytes of the messages of [`Self::calls_per_client`].
    pub call_bytes_per_client: u32,
    /// Bytes of the messages of [`Self::calls_per_user`].
    pub call_bytes_per_user: u32,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            families: Family::ALL.map(|family| (family, ViewSet(3))).into(),
            viability: Viability::First,
            via_default: ViaDefault::Refused,
            kernel_table: Some(KernelTable::MAIN),
            interfaces: BTreeSet::new(),
            imports: Imports::default(),
        }
    }
}

impl Default for Imports {
    fn default() -> Self {
        let observed = [
            KernelProtocol::BOOT,
            KernelProtocol::STATIC,
            KernelProtocol::DHCP,
            KernelProtocol::RA,
        ];
        let mut imports: BTreeMap<_, _> = observed.map(|it| (it, Import::Observe)).into();
        imports.insert(KernelProtocol::KERNEL, Import::Choose(Preference(0)));
        Self(imports)
    }
}

impl Imports {
    /// What becomes of the routes of a protocol; those of other daemons are left alone.
    pub fn of(&self, protocol: KernelProtocol) -> Import {
        self.0.get(&protocol).copied().unwrap_or(Import::Ignore)
    }

    /// Says what becomes of the routes of a protocol.
    pub fn set(&mut self, protocol: KernelProtocol, import: Import) {
        self.0.insert(protocol, import);
    }

    /// The protocols whose routes are read.
    pub fn read(&self) -> impl Iterator<Item = KernelProtocol> {
        let read = self.0.iter().filter(|(_, import)| **import != Import::Ignore);
        read.map(|(protocol, _)| *protocol)
    }
}

impl Default for Levels {
    fn default() -> Self {
        // RRAS's levels (`Get-RoutingProtocolPreference`); OSPF and IS-IS, which it does not list,
        // stand where FRR and others put them.
        let by_protocol = [
            (Protocol::LOCAL, 1),
            (Protocol::STATIC, 3),
            (Protocol::STATIC_NON_DOD, 5),
            (Protocol::AUTOSTATIC, 7),
            (Protocol::NETMGMT, 10),
            (Protocol::BGP, 15),
            (Protocol::OSPF, 110),
            (Protocol::IS_IS, 115),
            (Protocol::RIP, 120),
        ];
        Self {
            by_protocol: by_protocol.map(|(protocol, level)| (protocol, Preference(level))).into(),
            others: Preference(150),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entities: 4096,
            entities_per_client: 256,
            entities_per_user: 1024,
            routes: 8_000_000,
            routes_per_user: 4_000_000,
            foreign_routes: 2_000_000,
            routes_per_destination: 1024,
            static_routes: 8192,
            next_hops: 65_536,
            next_hop_lists: 65_536,
            looked_up_addresses: 16_384,
            next_hops_per_route: 64,
            handles: 1000,
            hold_time: 3_600_000,
            linger: 86_400_000,
            expiry_answer: 5000,
            notifications: 1024,
            notifications_per_client: 16,
            notifications_per_user: 256,
            marks_per_client: 262_144,
            marks_per_user: 1_048_576,
            // The internet's table, and that again when it comes back in other pieces.
            pending_destinations: 2_000_000,
            pending_destinations_per_user: 8_000_000,
            queued_changes: 65_536,
            queued_changes_per_user: 262_144,
            opaque_bytes: 256,
            opaque_entities: 16,
            opaque_memory: 64 << 20,
            private_bytes: 256,
            route_lists: 512,
            route_lists_per_client: 64,
            route_lists_per_user: 256,
            enumerations: 1024,
            enumerations_per_client: 16,
            enumerations_per_user: 256,
            invocations_per_client: 16,
            invocations_per_entity: 32,
            invocation_bytes: 65_536,
            invocation_timeout: 60_000,
            calls_per_client: 1024,
            calls_per_user: 4096,
            // 32 calls of 32 768 routes with eight next hops each.
            call_bytes_per_client: 128 << 20,
            call_bytes_per_user: 256 << 20,
        }
    }
}

impl Policy {
    /// Only the default instance, with every default.
    pub fn standard() -> Self {
        let instance = Instance::Ready(InstanceSettings::default());
        Self { instances: BTreeMap::from([(InstanceId(0), instance)]), ..Self::default() }
    }

    /// The views that routes of this table can be offered in.
    ///
    /// # Errors
    /// As [`Policy::table`].
    pub fn views(&self, id: TableId) -> Result<ViewSet, Error> {
        Ok(self.table(id)?.views(id.family))
    }

    /// The settings of the instance that has this table.
    ///
    /// # Errors
    /// `FileNotFound` when it is not configured, `BadConfiguration` when it is but unusably.
    pub fn table(&self, id: TableId) -> Result<&InstanceSettings, Error> {
        match self.instances.get(&id.instance) {
            None => Err(ErrorKind::FileNotFound
                .because(format_args!("instance {} is not configured", id.instance))),
            Some(Instance::Broken(fault)) => Err(ErrorKind::BadConfiguration
                .because(format_args!("instance {} is misconfigured: {fault}", id.instance))),
            Some(Instance::Ready(settings)) if !settings.families.contains_key(&id.family) => {
                Err(ErrorKind::FileNotFound
                    .because(format_args!("instance {} has no {}", id.instance, id.family)))
            }
            Some(Instance::Ready(settings)) => Ok(settings),
        }
    }
}

impl InstanceSettings {
    /// The views of a family's table; none without such a table.
    pub fn views(&self, family: Family) -> ViewSet {
        self.families.get(&family).copied().unwrap_or_default()
    }
}

impl Levels {
    /// The level of a protocol.
    pub fn of(&self, protocol: Protocol) -> Preference {
        self.by_protocol.get(&protocol).copied().unwrap_or(self.others)
    }

    /// Gives a protocol a level of its own.
    ///
    /// # Errors
    /// `InvalidParameter` for level 0, which stands for "the protocol's level" itself.
    pub fn set(&mut self, protocol: Protocol, level: Preference) -> Result<(), Error> {
        if level == Preference(0) {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("the level of {protocol} cannot be 0, the best is 1")));
        }
        self.by_protocol.insert(protocol, level);
        Ok(())
    }

    /// Takes a protocol's own level away: it has the one for others then.
    pub fn forget(&mut self, protocol: Protocol) {
        self.by_protocol.remove(&protocol);
    }

    /// The preference of a route for which its owner asks `wanted`.
    ///
    /// Everybody may step back behind the protocol's level; only those who configure routes by hand
    /// may step before it, others get the level (RTMv2 gap 34).
    pub fn preference(&self, protocol: Protocol, wanted: Preference) -> Preference {
        let level = self.of(protocol);
        let by_hand =
            [Protocol::NETMGMT, Protocol::AUTOSTATIC, Protocol::STATIC, Protocol::STATIC_NON_DOD];
        if wanted == Preference(0) || wanted < level && !by_hand.contains(&protocol) {
            level
        } else {
            wanted
        }
    }

    /// Each protocol that has a level of its own.
    pub fn iter(&self) -> impl Iterator<Item = (Protocol, Preference)> {
        self.by_protocol.iter().map(|(protocol, level)| (*protocol, *level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_levels_are_those_of_rras() {
        let levels = Levels::default();
        let level = |protocol| levels.of(Protocol(protocol)).0;
        assert_eq!([2, 10006, 10007, 10002, 3, 14, 8].map(level), [1, 3, 5, 7, 10, 15, 120]);
    }

    #[test]
    fn a_static_route_may_carry_any_preference() {
        let levels = Levels::default();
        assert_eq!(levels.preference(Protocol::STATIC, Preference(1)), Preference(1));
    }

    #[test]
    fn a_protocol_may_step_back_but_not_forward() {
        let levels = Levels::default();
        let bgp = |wanted| levels.preference(Protocol::BGP, Preference(wanted)).0;
        assert_eq!([0, 1, 15, 200].map(bgp), [15, 15, 15, 200]);
    }

    #[test]
    fn level_0_is_refused() {
        let refusal = Levels::default().set(Protocol::BGP, Preference(0)).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
    }

    #[test]
    fn a_missing_instance_and_a_broken_one_answer_differently() {
        let mut policy = Policy::standard();
        policy.instances.insert(InstanceId(7), Instance::Broken("table 0".into()));
        let kind = |instance| {
            policy.table(TableId { instance: InstanceId(instance), family: Family::Ipv4 }).err()
        };
        assert_eq!(kind(0), None);
        assert_eq!(kind(1).map(|error| error.kind), Some(ErrorKind::FileNotFound));
        assert_eq!(kind(7).map(|error| error.kind), Some(ErrorKind::BadConfiguration));
    }
}
