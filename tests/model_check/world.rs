//! The small world both sides live in: few prefixes, few gateways, tight limits, so that things
//! collide.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtmd::{
    model::{Caller, Family, InterfaceIndex, NextHopKey, Prefix, Protocol},
    rib::{Limits, Policy, Rib},
};

pub(crate) const CLIENTS: u8 = 3;
pub(crate) const INTERFACES: u8 = 3;
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
        marks_per_client: 6,
        marks_per_user: 8,
        pending_destinations: 3,
        queued_changes: 5,
        opaque_bytes: 3,
        opaque_entities: 2,
        opaque_memory: 6,
        private_bytes: 2,
        ..Limits::default()
    };
    Policy { limits, ..Policy::standard() }
}

/// A RIB that knows its links: interface n has 192.0.n.0/24 and 2001:db8:n::/48.
pub(crate) fn rib() -> Rib {
    let mut rib = Rib::new(policy());
    for number in 1..=INTERFACES {
        let index = InterfaceIndex(number.into());
        rib.handle_link(index, &format!("up{number}"), true);
        for network in [format!("192.0.{number}.0/24"), format!("2001:db8:{number}::/48")] {
            let network: Prefix = network.parse().unwrap();
            rib.handle_address(index, network.address(), network);
        }
    }
    rib.handle_links_complete();
    let _ = rib.poll_link_news();
    rib
}

/// The interface whose network has the address.
pub(crate) fn interface_of(address: IpAddr) -> Option<InterfaceIndex> {
    let number = match address {
        IpAddr::V4(address) => u32::from(address.octets()[2]),
        IpAddr::V6(address) => u32::from(address.segments()[2]),
    };
    (1..=INTERFACES.into()).contains(&number).then_some(InterfaceIndex(number))
}

/// One in four is on no network, some have the interface named too, one names none there is.
pub(crate) fn gateway(family: Family, number: u8) -> NextHopKey {
    let (network, host) = (number % 4 + 1, number / 4 % 2 + 1);
    let address: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(192, 0, network, host).into(),
        Family::Ipv6 => {
            Ipv6Addr::new(0x2001, 0xdb8, network.into(), 0, 0, 0, 0, host.into()).into()
        }
    };
    let interface = match number {
        0..8 => 0,
        19 => 9,
        _ if network <= INTERFACES => network.into(),
        _ => 0,
    };
    NextHopKey { address: Some(address), interface: InterfaceIndex(interface) }
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
