//! Bytes as literals, in the order of a little-endian machine, so that a change of a library shows.
#![cfg(target_endian = "little")]

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::netlink::frames;

fn signature() -> Signature {
    Signature::default()
}

fn hop(gateway: &str, interface: u32, weight: u32) -> Hop {
    let gateway = (!gateway.is_empty()).then(|| gateway.parse().unwrap());
    Hop { gateway, interface: InterfaceIndex(interface), weight: Weight::new(weight).unwrap() }
}

fn unicast<const N: usize>(hops: [Hop; N]) -> Forwarding {
    Forwarding::Unicast(hops.into())
}

fn encode(table: u32, to: &str, change: RouteChange<'_>) -> Vec<u8> {
    let request = RouteRequest {
        table: KernelTable(table),
        signature: signature(),
        to: to.parse().unwrap(),
        change,
    };
    let mut bytes = Vec::new();
    request.encode(7, &mut bytes).unwrap();
    bytes
}

#[track_caller]
fn assert_bytes(bytes: &[u8], parts: &[&[u8]]) {
    assert_eq!(bytes, parts.concat());
}

const METRIC: &[u8] = &[8, 0, 6, 0, 82, 0, 0, 0];

#[test]
fn an_ipv4_route_by_a_gateway() {
    let forwarding = unicast([hop("192.0.2.254", 3, 1)]);
    assert_bytes(
        &encode(254, "10.0.0.0/8", RouteChange::Replace(&forwarding)),
        &[
            &[60, 0, 0, 0, 24, 0, 0x01, 0x05, 7, 0, 0, 0, 0, 0, 0, 0], // request, create, replace
            &[2, 8, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
            &[8, 0, 1, 0, 10, 0, 0, 0],
            &[8, 0, 5, 0, 192, 0, 2, 254],
            &[8, 0, 4, 0, 3, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn an_addition_is_exclusive() {
    let bytes = encode(254, "10.0.0.0/8", RouteChange::Add(&Forwarding::Blackhole));
    assert_bytes(
        &bytes,
        &[
            &[44, 0, 0, 0, 24, 0, 0x01, 0x06, 7, 0, 0, 0, 0, 0, 0, 0], // request, create, exclusive
            &[2, 8, 0, 0, 254, 82, 0, 6, 0, 0, 0, 0],
            &[8, 0, 1, 0, 10, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn an_ipv4_route_on_the_link_has_link_scope_and_a_big_table_an_attribute() {
    let forwarding = unicast([hop("", 3, 1)]);
    assert_bytes(
        &encode(1000, "10.0.0.0/8", RouteChange::Add(&forwarding)),
        &[
            &[60, 0, 0, 0, 24, 0, 0x01, 0x06, 7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 8, 0, 0, 0, 82, 253, 1, 0, 0, 0, 0],
            &[8, 0, 15, 0, 0xe8, 3, 0, 0],
            &[8, 0, 1, 0, 10, 0, 0, 0],
            &[8, 0, 4, 0, 3, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn several_hops_carry_their_weight_less_one() {
    let forwarding = unicast([hop("192.0.2.254", 3, 1), hop("", 4, 256)]);
    assert_bytes(
        &encode(254, "0.0.0.0/0", RouteChange::Add(&forwarding)),
        &[
            &[64, 0, 0, 0, 24, 0, 0x01, 0x06, 7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
            &[28, 0, 9, 0],
            &[16, 0, 0, 0, 3, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 254],
            &[8, 0, 0, 255, 4, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn an_ipv4_route_by_an_ipv6_gateway() {
    let forwarding = unicast([hop("fe80::1", 3, 1)]);
    assert_bytes(
        &encode(254, "10.0.0.0/8", RouteChange::Add(&forwarding)),
        &[
            &[76, 0, 0, 0, 24, 0, 0x01, 0x06, 7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 8, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
            &[8, 0, 1, 0, 10, 0, 0, 0],
            &[22, 0, 18, 0, 10, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
            &[8, 0, 4, 0, 3, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn an_ipv6_route_on_the_link_has_no_scope() {
    let forwarding = unicast([hop("", 3, 1)]);
    assert_bytes(
        &encode(254, "2001:db8::/32", RouteChange::Add(&forwarding)),
        &[
            &[64, 0, 0, 0, 24, 0, 0x01, 0x06, 7, 0, 0, 0, 0, 0, 0, 0],
            &[10, 32, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
            &[20, 0, 1, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[8, 0, 4, 0, 3, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn a_deletion_names_table_prefix_metric_and_protocol() {
    assert_bytes(
        &encode(1000, "10.0.0.0/8", RouteChange::Delete),
        &[
            &[52, 0, 0, 0, 25, 0, 0x01, 0x00, 7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 8, 0, 0, 0, 82, 255, 0, 0, 0, 0, 0],
            &[8, 0, 15, 0, 0xe8, 3, 0, 0],
            &[8, 0, 1, 0, 10, 0, 0, 0],
            METRIC,
        ],
    );
}

#[test]
fn a_dump_is_asked_for_by_table_and_protocol() {
    let mut bytes = Vec::new();
    let (table, family) = (KernelTable(254), Family::Ipv6);
    DumpRequest { table, family, signature: signature() }.encode(9, &mut bytes);
    assert_bytes(
        &bytes,
        &[
            &[28, 0, 0, 0, 26, 0, 0x01, 0x03, 9, 0, 0, 0, 0, 0, 0, 0],
            &[10, 0, 0, 0, 254, 82, 0, 0, 0, 0, 0, 0],
        ],
    );
}

#[test]
fn more_hops_than_fit_are_refused() {
    let hops: Box<[Hop]> = (0..1001).map(|_| hop("fe80::1", 3, 1)).collect();
    let forwarding = Forwarding::Unicast(hops);
    let request = RouteRequest {
        table: KernelTable(254),
        signature: signature(),
        to: "10.0.0.0/8".parse().unwrap(),
        change: RouteChange::Add(&forwarding),
    };
    let mut bytes = vec![1];
    let error = request.encode(7, &mut bytes).unwrap_err();
    assert_eq!(error.to_string(), "1001 next hops are more than a netlink message can hold (1000)");
    assert_eq!(bytes, [1]);
}

/// A route as the kernel dumps it: a blackhole unless attributes follow.
fn dumped(header: [u8; 12], attributes: &[&[u8]]) -> Option<DumpedRoute> {
    DumpedRoute::decode(&[&header[..], &attributes.concat()].concat()).unwrap()
}

#[test]
fn a_dead_hop_is_still_the_hop() {
    let route = dumped(
        [2, 8, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
        &[
            &[8, 0, 15, 0, 254, 0, 0, 0],
            &[8, 0, 1, 0, 10, 0, 0, 0],
            METRIC,
            &[36, 0, 9, 0],
            &[16, 0, 0x11, 0, 3, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 254],
            &[16, 0, 0, 1, 4, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 253],
        ],
    );
    let route = route.unwrap();
    assert_eq!(
        route.forwarding,
        Some(unicast([hop("192.0.2.254", 3, 1), hop("192.0.2.253", 4, 2)]))
    );
    assert_eq!((route.table, route.protocol, route.metric), (KernelTable(254), 82, 82));
}

#[test]
fn an_ipv6_blackhole_is_one_whatever_device_it_shows() {
    let route = dumped([10, 0, 0, 0, 254, 82, 0, 6, 0, 0, 0, 0], &[&[8, 0, 4, 0, 1, 0, 0, 0]]);
    assert_eq!(route.unwrap().forwarding, Some(Forwarding::Blackhole));
}

#[test]
fn what_is_never_written_here_is_not_understood() {
    let by_object = [8, 0, 30, 0, 1, 0, 0, 0];
    let source = [8, 0, 7, 0, 192, 0, 2, 1];
    let interface = [8, 0, 4, 0, 3, 0, 0, 0];
    let unicast = [2, 0, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0];
    for attributes in [&[&by_object[..], &interface][..], &[&source[..], &interface], &[]] {
        assert_eq!(dumped(unicast, attributes).unwrap().forwarding, None);
    }
    let throw = [2, 0, 0, 0, 254, 82, 0, 9, 0, 0, 0, 0];
    assert_eq!(dumped(throw, &[]).unwrap().forwarding, None);
    let on_link = [2, 0, 0, 0, 254, 82, 0, 1, 4, 0, 0, 0];
    assert_eq!(dumped(on_link, &[&interface]).unwrap().forwarding, None);
}

#[test]
fn what_no_request_can_name_is_not_a_route_of_ours() {
    for header in [
        [2, 0, 0, 4, 254, 82, 0, 1, 0, 0, 0, 0],  // a type of service
        [10, 0, 8, 0, 254, 82, 0, 1, 0, 0, 0, 0], // sources
        [10, 0, 0, 0, 254, 82, 0, 1, 0, 2, 0, 0], // a cache entry
        [28, 20, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0], // MPLS
    ] {
        assert_eq!(dumped(header, &[]), None);
    }
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    let v4 = (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        Prefix::new(IpAddr::V4((bits & mask).into()), length).unwrap()
    });
    let v6 = (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Prefix::new(IpAddr::V6((bits & mask).into()), length).unwrap()
    });
    prop_oneof![v4, v6]
}

fn any_forwarding() -> impl Strategy<Value = Forwarding> {
    let hop = (option::of(any::<IpAddr>()), 1..=u32::MAX, 1..=256_u32).prop_map(
        |(gateway, interface, weight)| Hop {
            gateway,
            interface: InterfaceIndex(interface),
            weight: Weight::new(weight).unwrap(),
        },
    );
    let unicast = vec(hop, 1..6).prop_map(|mut hops| {
        if let [single] = hops.as_mut_slice() {
            single.weight = Weight::ONE; // a single hop's weight is not told
        }
        Forwarding::Unicast(hops.into())
    });
    prop_oneof![
        6 => unicast,
        1 => Just(Forwarding::Blackhole),
        1 => Just(Forwarding::Unreachable),
        1 => Just(Forwarding::Prohibit),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        to in any_prefix(), forwarding in any_forwarding(), table in 1..=u32::MAX, sequence: u32,
    ) {
        let table = KernelTable(table);
        let request =
            RouteRequest { table, signature: signature(), to, change: RouteChange::Add(&forwarding) };
        let mut bytes = Vec::new();
        request.encode(sequence, &mut bytes).unwrap();
        request.encode(sequence, &mut bytes).unwrap();
        let read: Vec<_> = frames(&bytes).collect();
        prop_assert_eq!(read.len(), 2);
        for frame in read {
            prop_assert_eq!((frame.kind, frame.sequence), (24, sequence));
            let route = DumpedRoute::decode(frame.payload).unwrap().unwrap();
            let dump = DumpRequest { table, family: to.family(), signature: signature() };
            prop_assert!(dump.matches(&route));
            prop_assert_eq!(route.to, to);
            prop_assert_eq!(route.forwarding, Some(forwarding.clone()));
        }
    }

    #[test]
    fn any_bytes_can_be_decoded(payload in vec(any::<u8>(), 0..200)) {
        let _ = DumpedRoute::decode(&payload);
    }

    #[test]
    fn any_attributes_can_be_decoded(
        header in any::<[u8; 10]>(), family in prop_oneof![Just(2_u8), Just(10), Just(28)],
        attributes in vec((0..32_u8, vec(any::<u8>(), 0..24)), 0..6),
    ) {
        let mut payload = vec![family, 0];
        payload.extend(header);
        for (kind, value) in attributes {
            payload.extend([u8::try_from(4 + value.len()).unwrap(), 0, kind, 0]);
            payload.extend(&value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        let _ = DumpedRoute::decode(&payload);
    }
}
