//! Bytes as Linux 6.18 answers with them, on a little-endian machine.
#![cfg(target_endian = "little")]

use proptest::{collection::vec, prelude::*};

use super::*;

fn hop(gateway: &str, interface: u32, weight: u32) -> Hop {
    let gateway = (!gateway.is_empty()).then(|| gateway.parse().unwrap());
    Hop { gateway, interface: InterfaceIndex(interface), weight: Weight::new(weight).unwrap() }
}

fn unicast<const N: usize>(hops: [Hop; N]) -> Option<Target> {
    Some(Forwarding::Unicast(hops.into()).into())
}

fn object(number: u32) -> ObjectId {
    ObjectId(NonZeroU32::new(number).unwrap())
}

fn decode(header: [u8; 12], attributes: &[&[u8]]) -> Option<DumpedRoute> {
    DumpedRoute::decode(&[&header[..], &attributes.concat()].concat()).unwrap()
}

/// A route of this header and these attributes.
#[track_caller]
fn route(header: [u8; 12], attributes: &[&[u8]]) -> DumpedRoute {
    decode(header, attributes).unwrap()
}

const IPV4: [u8; 12] = [2, 24, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0];
const IPV6: [u8; 12] = [10, 48, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0];

const MAIN: &[u8] = &[8, 0, 15, 0, 254, 0, 0, 0];
const TO: &[u8] = &[8, 0, 1, 0, 203, 0, 113, 0];
const METRIC: &[u8] = &[8, 0, 6, 0, 82, 0, 0, 0];
const BY_GATEWAY: &[u8] = &[8, 0, 5, 0, 192, 0, 2, 253];
const INTERFACE: &[u8] = &[8, 0, 4, 0, 3, 0, 0, 0];
const NO_EXPIRY: &[u8] = &[
    36, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0,
];
const MEDIUM_PREFERENCE: &[u8] = &[5, 0, 20, 0, 0, 0, 0, 0];

fn by_object(number: u8) -> [u8; 8] {
    [8, 0, 30, 0, number, 0, 0, 0]
}

#[test]
fn a_plain_route_says_its_hop() {
    let route = route(IPV4, &[MAIN, TO, METRIC, BY_GATEWAY, INTERFACE]);
    assert_eq!(route.target(), unicast([hop("192.0.2.253", 3, 1)]));
    assert_eq!(
        route,
        DumpedRoute {
            to: "203.0.113.0/24".parse().unwrap(),
            table: KernelTable(254),
            protocol: 82,
            metric: 82,
            kind: RouteKind::Unicast,
            object: None,
            legs: [Leg { hop: hop("192.0.2.253", 3, 1), state: LegState::Alive }].into(),
            unusual: false,
        }
    );
}

#[test]
fn a_route_by_an_object_says_the_object_whatever_that_says() {
    let group = [
        &[28, 0, 9, 0][..],
        &[16, 0, 0, 99, 3, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 253],
        &[8, 0, 0, 0, 2, 0, 0, 0],
    ]
    .concat();
    let by_ipv6 =
        [22, 0, 18, 0, 10, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0];
    let hops = |route: &DumpedRoute| route.legs.iter().map(|leg| leg.hop).collect::<Vec<_>>();

    let through_group = route(IPV4, &[MAIN, TO, METRIC, &by_object(11), &group]);
    assert_eq!(through_group.target(), Some(Target::Object(object(11))));
    assert_eq!(hops(&through_group), [hop("192.0.2.253", 3, 100), hop("", 2, 1)]);

    let through_hop = route(IPV4, &[MAIN, TO, METRIC, &by_object(2), &by_ipv6, INTERFACE]);
    assert_eq!(through_hop.target(), Some(Target::Object(object(2))));
    assert_eq!(hops(&through_hop), [hop("2001:db8:a::9", 3, 1)]);

    let on_link = [2, 24, 0, 0, 254, 82, 0, 1, 4, 0, 0, 0];
    let route = route(on_link, &[MAIN, TO, METRIC, &by_object(1), BY_GATEWAY, INTERFACE]);
    assert_eq!(route.target(), Some(Target::Object(object(1))));
}

#[test]
fn a_route_by_an_object_says_no_more() {
    let source = [8, 0, 7, 0, 192, 0, 2, 1];
    let route = route(IPV4, &[MAIN, TO, METRIC, &source, &by_object(1), BY_GATEWAY, INTERFACE]);
    assert_eq!((route.target(), route.object), (None, Some(object(1))));
}

#[test]
fn an_ipv6_route_is_shown_with_remarks() {
    let to = [20, 0, 1, 0, 0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let gateway = [20, 0, 5, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let plain = [MAIN, &to, METRIC, &gateway, INTERFACE, NO_EXPIRY, MEDIUM_PREFERENCE];
    assert_eq!(route(IPV6, &plain).target(), unicast([hop("2001:db8:a::9", 3, 1)]));

    let mut expiring = NO_EXPIRY.to_vec();
    expiring[12] = 100;
    let expiring = [MAIN, &to, METRIC, &gateway, INTERFACE, &expiring, MEDIUM_PREFERENCE];
    assert_eq!(route(IPV6, &expiring).target(), None);
    let preferred = [5, 0, 20, 0, 1, 0, 0, 0];
    let preferred = [MAIN, &to, METRIC, &gateway, INTERFACE, NO_EXPIRY, &preferred];
    assert_eq!(route(IPV6, &preferred).target(), None);
}

#[test]
fn a_dead_hop_is_still_the_hop() {
    let route = route(
        IPV4,
        &[
            MAIN,
            TO,
            METRIC,
            &[52, 0, 9, 0],
            &[16, 0, 0x11, 0, 3, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 254],
            &[16, 0, 0x10, 1, 4, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 253],
            &[16, 0, 0, 2, 5, 0, 0, 0, 8, 0, 5, 0, 192, 0, 2, 252],
        ],
    );
    let hops = [hop("192.0.2.254", 3, 1), hop("192.0.2.253", 4, 2), hop("192.0.2.252", 5, 3)];
    assert_eq!(route.target(), unicast(hops));
    let states: Vec<LegState> = route.legs.iter().map(|leg| leg.state).collect();
    assert_eq!(states, [LegState::Dead, LegState::LinkDown, LegState::Alive]);
}

#[test]
fn a_single_hop_is_dead_by_the_flags_of_the_route() {
    for (flags, state) in [(0x11, LegState::Dead), (0x10, LegState::LinkDown)] {
        let route =
            route([2, 24, 0, 0, 254, 82, 0, 1, flags, 0, 0, 0], &[TO, BY_GATEWAY, INTERFACE]);
        assert_eq!(route.legs[0].state, state);
        assert_eq!(route.target(), unicast([hop("192.0.2.253", 3, 1)]));
    }
}

#[test]
fn an_ipv6_blackhole_is_one_whatever_device_it_shows() {
    let route = route([10, 0, 0, 0, 254, 82, 0, 6, 0, 0, 0, 0], &[&[8, 0, 4, 0, 1, 0, 0, 0]]);
    assert_eq!(route.target(), Some(Forwarding::Blackhole.into()));
}

#[test]
fn what_is_never_written_here_is_read_as_far_as_it_can_be() {
    let source = [8, 0, 7, 0, 192, 0, 2, 1];
    let encapsulation = [8, 0, 22, 0, 0, 0, 0, 0];
    let link_layer = [14, 0, 18, 0, 17, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
    type Shape<'a> = (&'a str, [u8; 12], &'a [&'a [u8]], usize);
    let shapes: [Shape<'_>; 6] = [
        ("a source address", IPV4, &[&source, BY_GATEWAY, INTERFACE], 1),
        ("an encapsulation", IPV4, &[&encapsulation, BY_GATEWAY, INTERFACE], 1),
        ("a gateway of the link layer", IPV4, &[&link_layer, INTERFACE], 1),
        (
            "a gateway on the link",
            [2, 24, 0, 0, 254, 82, 0, 1, 4, 0, 0, 0],
            &[BY_GATEWAY, INTERFACE],
            1,
        ),
        (
            "a leg on the link, and one without an interface",
            IPV4,
            &[&[20, 0, 9, 0, 8, 0, 4, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]],
            1,
        ),
        ("no leg", IPV4, &[], 0),
    ];
    for (what, header, attributes, legs) in shapes {
        let route = route(header, attributes);
        assert_eq!((route.target(), route.legs.len()), (None, legs), "{what}");
    }
}

#[test]
fn routes_of_other_kinds_are_told_apart() {
    let kinds = [
        (2, RouteKind::Local),
        (3, RouteKind::Broadcast),
        (4, RouteKind::Anycast),
        (5, RouteKind::Multicast),
        (9, RouteKind::Throw),
        (11, RouteKind::Other(11)),
    ];
    for (number, kind) in kinds {
        let route = route([2, 24, 0, 0, 254, 82, 0, number, 0, 0, 0, 0], &[TO, INTERFACE]);
        assert_eq!((route.kind, route.target()), (kind, None));
    }
}

#[test]
fn what_no_request_can_name_is_not_a_route_of_ours() {
    for header in [
        [2, 0, 0, 4, 254, 82, 0, 1, 0, 0, 0, 0],  // a type of service
        [10, 0, 8, 0, 254, 82, 0, 1, 0, 0, 0, 0], // sources
        [10, 0, 0, 0, 254, 82, 0, 1, 0, 2, 0, 0], // a cache entry
        [28, 20, 0, 0, 254, 82, 0, 1, 0, 0, 0, 0], // MPLS
    ] {
        assert_eq!(decode(header, &[]), None);
    }
}

#[test]
fn what_is_no_route_is_an_error() {
    let ipv6_address = [20, 0, 1, 0, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for attributes in [
        &[&ipv6_address[..]][..],
        &[&[8, 0, 1, 0, 203, 0, 113, 1]],          // host bits
        &[&[12, 0, 9, 0, 7, 0, 0, 0, 3, 0, 0, 0]], // a leg shorter than its header
        &[&[12, 0, 9, 0, 9, 0, 0, 0, 3, 0, 0, 0]], // a leg longer than all of them
        &[TO, &[8, 0, 4, 0]],                      // cut short
    ] {
        let payload = [&IPV4[..], &attributes.concat()].concat();
        assert!(DumpedRoute::decode(&payload).is_err(), "{attributes:?}");
    }
    assert!(DumpedRoute::decode(&IPV4[..11]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_can_be_decoded(payload in vec(any::<u8>(), 0..200)) {
        let _ = DumpedRoute::decode(&payload).map(|route| route.map(|route| route.target()));
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
        let _ = DumpedRoute::decode(&payload).map(|route| route.map(|route| route.target()));
    }
}
