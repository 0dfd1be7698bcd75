//! The small world both sides live in: few prefixes, few gateways, tight limits, so that things
//! collide.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rtmd::{
    model::{
        Caller, Family, InstanceId, InterfaceIndex, KernelTable, NextHopKey, Prefix, Protocol,
        ViewSet,
    },
    rib::{Instance, InstanceSettings, Limits, Policy, Rib, ViaDefault, Viability},
};

pub(crate) const CLIENTS: u8 = 3;
pub(crate) const INTERFACES: u8 = 3;
pub(crate) const INSTANCES: [u16; 2] = [0, 1];
pub(crate) const PREFIXES: u8 = 5;
pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::STATIC, Protocol::BGP, Protocol::RIP];

pub(crate) fn policy() -> Policy {
    let limits = Limits {
        entities: 7,
        entities_per_client: 3,
        entities_per_user: 5,
        routes: 14,
        routes_per_user: 6,
        routes_per_destination: 6,
        next_hops: 6,
        next_hops_per_route: 2,
        handles: 4,
        expiry_answer: 4,
        hold_time: 6,
        linger: 7,
        marks_per_client: 6,
        marks_per_user: 8,
        pending_destinations: 3,
        queued_changes: 5,
        opaque_bytes: 3,
        opaque_entities: 2,
        opaque_memory: 6,
        private_bytes: 2,
        static_routes: 4,
        ..Limits::default()
    };
    Policy { limits, ..Policy::standard() }
}

/// How the instance is configured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    /// Whether next hops are reached by default routes.
    pub(crate) via_default: bool,
    /// Whether it counts nothing that packets can follow a route.
    pub(crate) ignores_viability: bool,
    /// Whether there is a third view, and each family has others.
    pub(crate) third_view: bool,
}

impl Setting {
    /// The views there are.
    pub(crate) fn views(self, family: Family) -> u32 {
        match (self.third_view, family) {
            (false, _) => 0b11,
            (true, Family::Ipv4) => 0b111,
            (true, Family::Ipv6) => 0b101,
        }
    }

    pub(crate) fn policy(self) -> Policy {
        let mut policy = policy();
        for number in INSTANCES {
            policy.instances.insert(InstanceId(number), Instance::Ready(self.instance(number)));
        }
        policy
    }

    fn instance(self, number: u16) -> InstanceSettings {
        let Self { via_default, ignores_viability, .. } = self;
        let views = Family::ALL.map(|family| (family, ViewSet(self.views(family))));
        InstanceSettings {
            families: views.into(),
            viability: if ignores_viability { Viability::Ignored } else { Viability::First },
            via_default: if via_default { ViaDefault::Allowed } else { ViaDefault::Refused },
            kernel_table: Some(KernelTable(1000 + u32::from(number))),
            ..InstanceSettings::default()
        }
    }
}

/// A RIB that knows its links: interface n has 192.0.n.0/24 and 2001:db8:n::/48.
pub(crate) fn rib(setting: Setting) -> Rib {
    let mut rib = Rib::new(setting.policy());
    for number in 1..=INTERFACES {
        let index = InterfaceIndex(number.into());
        rib.handle_link(index, &format!("up{number}"), true);
        for family in Family::ALL {
            let network = network(index, family);
            rib.handle_address(index, network.address(), network);
        }
    }
    rib.handle_links_complete();
    let _ = rib.poll_link_news();
    rib
}

/// What an interface has an address of.
pub(crate) fn network(index: InterfaceIndex, family: Family) -> Prefix {
    let network = match family {
        Family::Ipv4 => format!("192.0.{index}.0/24"),
        Family::Ipv6 => format!("2001:db8:{index}::/48"),
    };
    network.parse().unwrap()
}

/// All that there are at first.
pub(crate) fn networks() -> BTreeSet<(InterfaceIndex, Family)> {
    let interfaces = (1..=INTERFACES).map(|number| InterfaceIndex(number.into()));
    interfaces.flat_map(|index| Family::ALL.map(|family| (index, family))).collect()
}

/// The interface whose network has the address.
pub(crate) fn interface_of(address: IpAddr) -> Option<InterfaceIndex> {
    let number = match address {
        IpAddr::V4(address) => match address.octets() {
            [192, 0, network, _] => u32::from(network),
            _ => 0,
        },
        IpAddr::V6(address) => match address.segments() {
            [0x2001, 0xdb8, network, ..] => u32::from(network),
            _ => 0,
        },
    };
    (1..=INTERFACES.into()).contains(&number).then_some(InterfaceIndex(number))
}

/// Addresses on no network, but within some of the destinations.
const FAR: [[&str; 4]; 2] = [
    ["10.1.1.1", "10.1.1.2", "10.1.2.1", "10.2.0.1"],
    ["2001:db8:4::1", "2001:db8:4::2", "2001:db8:5::1", "::1"],
];

/// So many next hops there are to name.
pub(crate) const GATEWAYS: u8 = 29;

/// One in four is on no network, some have the interface named too, one names none there is; in the
/// end there are an IPv6 router for everybody and interfaces without a router.
pub(crate) fn gateway(family: Family, number: u8) -> NextHopKey {
    let (network, host) = (number % 4 + 1, number / 4 % 2 + 1);
    let far = |family| FAR[usize::from(family == Family::Ipv6)][usize::from(number / 4 % 4)];
    let address = match number {
        27.. => None,
        26 => far(Family::Ipv6).parse().ok(),
        20.. => far(family).parse().ok(),
        _ if network > INTERFACES => far(family).parse().ok(),
        _ => Some(match family {
            Family::Ipv4 => IpAddr::from(Ipv4Addr::new(192, 0, network, host)),
            Family::Ipv6 => {
                Ipv6Addr::new(0x2001, 0xdb8, network.into(), 0, 0, 0, 0, host.into()).into()
            }
        }),
    };
    let interface = match number {
        0..8 | 26 => 0,
        19 => 9,
        20.. => u32::from(number % 3 + 1),
        _ if network <= INTERFACES => network.into(),
        _ => 0,
    };
    NextHopKey { address, interface: InterfaceIndex(interface) }
}

pub(crate) fn prefix(family: Family, number: u8) -> Prefix {
    let prefixes = match family {
        Family::Ipv4 => ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32"],
        Family::Ipv6 => {
            ["::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:1::/64", "::1/128"]
        }
    };
    prefixes[usize::from(number % PREFIXES)].parse().unwrap()
}

pub(crate) fn prefixes(family: Family) -> impl Iterator<Item = Prefix> {
    (0..PREFIXES).map(move |number| prefix(family, number))
}

pub(crate) fn caller(number: u8) -> Caller {
    let number = number % CLIENTS;
    // The last of them is another user's.
    Caller { bus_name: format!(":{number}"), uid: u32::from(number == CLIENTS - 1) }
}

/// One of them, by a number that means little.
pub(crate) fn pick<T: Clone>(all: &[T], number: u8) -> Option<T> {
    (!all.is_empty()).then(|| all[usize::from(number) % all.len()].clone())
}

pub(crate) fn other(family: Family) -> Family {
    match family {
        Family::Ipv4 => Family::Ipv6,
        Family::Ipv6 => Family::Ipv4,
    }
}
