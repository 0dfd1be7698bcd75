//! Bytes as literals, in the order of a little-endian machine, so that a change of a library shows.
#![cfg(target_endian = "little")]

use std::{net::IpAddr, num::NonZeroU32};

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    model::{InterfaceIndex, ObjectId, Weight},
    netlink::frames,
};

fn signature() -> Signature {
    Signature::default()
}

fn hop(gateway: &str, interface: u32, weight: u32) -> Hop {
    let gateway = (!gateway.is_empty()).then(|| gateway.parse().unwrap());
    Hop { gateway, interface: InterfaceIndex(interface), weight: Weight::new(weight).unwrap() }
}

fn unicast<const N: usize>(hops: [Hop; N]) -> Target {
    Forwarding::Unicast(hops.into()).into()
}

fn object(number: u32) -> Target {
    Target::Object(ObjectId(NonZeroU32::new(number).unwrap()))
}

fn encode(table: u32, to: &str, change: RouteChange) -> Vec<u8> {
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
    let target = unicast([hop("192.0.2.254", 3, 1)]);
    assert_bytes(
        &encode(254, "10.0.0.0/8", RouteChange::Replace(target)),
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
    let bytes = encode(254, "10.0.0.0/8", RouteChange::Add(Forwarding::Blackhole.into()));
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
    let target = unicast([hop("", 3, 1)]);
    assert_bytes(
        &encode(1000, "10.0.0.0/8", RouteChange::Add(target)),
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
    let target = unicast([hop("192.0.2.254", 3, 1), hop("", 4, 256)]);
    assert_bytes(
        &encode(254, "0.0.0.0/0", RouteChange::Add(target)),
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
    let target = unicast([hop("fe80::1", 3, 1)]);
    assert_bytes(
        &encode(254, "10.0.0.0/8", RouteChange::Add(target)),
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
    let target = unicast([hop("", 3, 1)]);
    assert_bytes(
        &encode(254, "2001:db8::/32", RouteChange::Add(target)),
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
fn a_route_by_an_object_says_nothing_else() {
    assert_bytes(
        &encode(254, "203.0.113.0/24", RouteChange::Add(object(11))),
        &[
            &[52, 0, 0, 0, 24, 0, 0x01, 0x06, 7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 24, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
            &[8, 0, 1, 0, 203, 0, 113, 0],
            &[8, 0, 30, 0, 11, 0, 0, 0],
            METRIC,
        ],
    );
    assert_bytes(
        &encode(254, "2001:db8:ffff::/48", RouteChange::Replace(object(2))),
        &[
            &[64, 0, 0, 0, 24, 0, 0x01, 0x05, 7, 0, 0, 0, 0, 0, 0, 0],
            &[10, 48, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0],
            &[20, 0, 1, 0, 0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[8, 0, 30, 0, 2, 0, 0, 0],
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
    DumpRequest::ours(table, family, signature()).encode(9, &mut bytes);
    assert_bytes(
        &bytes,
        &[
            &[28, 0, 0, 0, 26, 0, 0x01, 0x03, 9, 0, 0, 0, 0, 0, 0, 0],
            &[10, 0, 0, 0, 254, 82, 0, 0, 0, 0, 0, 0],
        ],
    );
}

#[test]
fn everybodys_routes_are_asked_for_without_a_protocol() {
    let mut bytes = Vec::new();
    let (table, family) = (KernelTable(1000), Family::Ipv4);
    DumpRequest::all(table, family).encode(9, &mut bytes);
    assert_bytes(
        &bytes,
        &[
            &[36, 0, 0, 0, 26, 0, 0x01, 0x03, 9, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[8, 0, 15, 0, 0xe8, 3, 0, 0],
        ],
    );
}

#[test]
fn only_what_was_asked_for_is_taken_from_an_answer() {
    let bytes = encode(254, "10.0.0.0/8", RouteChange::Add(object(1)));
    let message = frames(&bytes).next().unwrap();
    let taken = |table, family, signature: Option<Signature>| {
        let table = KernelTable(table);
        let question = match signature {
            Some(signature) => DumpRequest::ours(table, family, signature),
            None => DumpRequest::all(table, family),
        };
        question.read(&message).unwrap().is_some()
    };
    let ours = signature();
    let protocol = Signature { protocol: ours.protocol.saturating_add(1), ..ours };
    let metric = Signature { metric: ours.metric.saturating_add(1), ..ours };
    assert!(taken(254, Family::Ipv4, Some(ours)));
    assert!(taken(254, Family::Ipv4, None));
    assert!(!taken(255, Family::Ipv4, None));
    assert!(!taken(254, Family::Ipv6, None));
    assert!(!taken(254, Family::Ipv4, Some(protocol)));
    assert!(!taken(254, Family::Ipv4, Some(metric)));
}

#[test]
fn more_hops_than_fit_are_refused() {
    let hops: Box<[Hop]> = (0..1001).map(|_| hop("fe80::1", 3, 1)).collect();
    let target = Forwarding::Unicast(hops).into();
    let request = RouteRequest {
        table: KernelTable(254),
        signature: signature(),
        to: "10.0.0.0/8".parse().unwrap(),
        change: RouteChange::Add(target),
    };
    let mut bytes = vec![1];
    let error = request.encode(7, &mut bytes).unwrap_err();
    assert_eq!(error.to_string(), "1001 next hops are more than a netlink message can hold (1000)");
    assert_eq!(bytes, [1]);
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

fn any_target() -> impl Strategy<Value = Target> {
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
        Forwarding::Unicast(hops.into()).into()
    });
    prop_oneof![
        6 => unicast,
        3 => any::<NonZeroU32>().prop_map(|number| Target::Object(ObjectId(number))),
        1 => Just(Forwarding::Blackhole.into()),
        1 => Just(Forwarding::Unreachable.into()),
        1 => Just(Forwarding::Prohibit.into()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        to in any_prefix(), target in any_target(), table in 1..=u32::MAX, sequence: u32,
    ) {
        let table = KernelTable(table);
        let request =
            RouteRequest { table, signature: signature(), to, change: RouteChange::Add(target.clone()) };
        let mut bytes = Vec::new();
        request.encode(sequence, &mut bytes).unwrap();
        request.encode(sequence, &mut bytes).unwrap();
        let read: Vec<_> = frames(&bytes).collect();
        prop_assert_eq!(read.len(), 2);
        for frame in read {
            prop_assert_eq!((frame.kind, frame.sequence), (24, sequence));
            let dump = DumpRequest::ours(table, to.family(), signature());
            let route = dump.read(&frame).unwrap().unwrap();
            prop_assert_eq!(route.to, to);
            prop_assert_eq!(route.target(), Some(target.clone()));
        }
    }
}
