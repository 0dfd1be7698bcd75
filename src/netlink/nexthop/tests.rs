//! Bytes as `ip nexthop` (iproute2 6.1) sends them and Linux 6.18 answers with them, on a little-endian
//! machine.
#![cfg(target_endian = "little")]

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::netlink::{frame::request_acknowledgement, frames};

fn id(number: u32) -> ObjectId {
    ObjectId(NonZeroU32::new(number).unwrap())
}

fn hop(gateway: &str, interface: u32) -> NextHopObject {
    let gateway: IpAddr = gateway.parse().unwrap();
    let interface = InterfaceIndex(interface);
    NextHopObject::Hop { family: Family::of(gateway), gateway: Some(gateway), interface }
}

fn on_link(family: Family, interface: u32) -> NextHopObject {
    NextHopObject::Hop { family, gateway: None, interface: InterfaceIndex(interface) }
}

fn group<const N: usize>(members: [(u32, u32); N], buckets: u16) -> NextHopObject {
    let members = members.map(|(number, weight)| Member {
        object: id(number),
        weight: Weight::new(weight).unwrap(),
    });
    NextHopObject::Group { members: members.into(), buckets: NonZeroU16::new(buckets) }
}

fn encode(number: u32, change: ObjectChange<'_>) -> Vec<u8> {
    let signature = Signature::default();
    let mut bytes = Vec::new();
    ObjectRequest { signature, id: id(number), change }.encode(7, &mut bytes).unwrap();
    request_acknowledgement(&mut bytes); // as `ip` does
    bytes
}

#[track_caller]
fn assert_bytes(bytes: &[u8], parts: &[&[u8]]) {
    assert_eq!(bytes, parts.concat());
}

/// Creation with an acknowledgement, sequence number 7.
const ADD: &[u8] = &[0x68, 0, 0x05, 0x06, 7, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_hop_by_an_ipv4_gateway() {
    assert_bytes(
        &encode(1, ObjectChange::Add(&hop("192.0.2.254", 3))),
        &[
            &[48, 0, 0, 0],
            ADD,
            &[2, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 1, 0, 0, 0],
            &[8, 0, 6, 0, 192, 0, 2, 254, 8, 0, 5, 0, 3, 0, 0, 0],
        ],
    );
}

#[test]
fn a_hop_by_an_ipv6_gateway_is_of_ipv6_whatever_it_says_of_itself() {
    let hop = NextHopObject::Hop {
        family: Family::Ipv4,
        gateway: Some("2001:db8:a::9".parse().unwrap()),
        interface: InterfaceIndex(3),
    };
    assert_bytes(
        &encode(2, ObjectChange::Add(&hop)),
        &[
            &[60, 0, 0, 0],
            ADD,
            &[10, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 2, 0, 0, 0],
            &[20, 0, 6, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            &[8, 0, 5, 0, 3, 0, 0, 0],
        ],
    );
}

#[test]
fn a_hop_on_the_link_is_of_the_family_it_says() {
    for (family, byte) in [(Family::Ipv4, 2), (Family::Ipv6, 10)] {
        assert_bytes(
            &encode(3, ObjectChange::Add(&on_link(family, 2))),
            &[
                &[40, 0, 0, 0],
                ADD,
                &[byte, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 3, 0, 0, 0],
                &[8, 0, 5, 0, 2, 0, 0, 0],
            ],
        );
    }
}

#[test]
fn a_group_carries_the_weights_of_its_members_less_one() {
    assert_bytes(
        &encode(10, ObjectChange::Add(&group([(1, 3), (3, 256)], 0))),
        &[
            &[52, 0, 0, 0],
            ADD,
            &[0, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0],
            &[20, 0, 2, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 255, 0, 0, 0],
        ],
    );
}

/// As `ip nexthop add id 11 group 1,100/3 type resilient buckets 1 idle_timer 0 unbalanced_timer 0`.
#[test]
fn a_resilient_group_has_no_timers() {
    assert_bytes(
        &encode(11, ObjectChange::Add(&group([(1, 100), (3, 1)], 1))),
        &[
            &[88, 0, 0, 0],
            ADD,
            &[0, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 11, 0, 0, 0],
            &[20, 0, 2, 0, 1, 0, 0, 0, 99, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
            &[28, 0, 12, 128, 6, 0, 1, 0, 1, 0, 0, 0],
            &[8, 0, 2, 0, 0, 0, 0, 0, 8, 0, 3, 0, 0, 0, 0, 0],
            &[6, 0, 3, 0, 1, 0, 0, 0],
        ],
    );
}

#[test]
fn a_replacement_creates_nothing() {
    assert_bytes(
        &encode(1, ObjectChange::Replace(&hop("192.0.2.253", 3))),
        &[
            &[48, 0, 0, 0, 0x68, 0, 0x05, 0x01, 7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 1, 0, 0, 0],
            &[8, 0, 6, 0, 192, 0, 2, 253, 8, 0, 5, 0, 3, 0, 0, 0],
        ],
    );
}

#[test]
fn a_deletion_names_the_number_alone() {
    assert_bytes(
        &encode(10, ObjectChange::Delete),
        &[
            &[32, 0, 0, 0, 0x69, 0, 0x05, 0, 7, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0],
        ],
    );
}

#[test]
fn a_dump_is_asked_for_without_a_filter() {
    let mut bytes = Vec::new();
    ObjectDumpRequest { signature: Some(Signature::default()) }.encode(9, &mut bytes);
    assert_bytes(&bytes, &[&[24, 0, 0, 0, 0x6a, 0, 0x01, 0x03, 9, 0, 0, 0, 0, 0, 0, 0], &[0; 8]]);
}

#[test]
fn more_members_than_a_route_can_be_dumped_with_are_refused() {
    let member = Member { object: id(1), weight: Weight::ONE };
    let request = |members: usize, into: &mut Vec<u8>| {
        let group = NextHopObject::Group { members: vec![member; members].into(), buckets: None };
        let (signature, change) = (Signature::default(), ObjectChange::Add(&group));
        ObjectRequest { signature, id: id(2), change }.encode(7, into)
    };
    let mut bytes = vec![1];
    assert_eq!(request(1002, &mut bytes), Err(TooLong { hops: 1002, most: 1001 }));
    assert_eq!(bytes, [1]);
    request(1001, &mut bytes).unwrap();
}

#[test]
fn objects_of_others_are_not_taken_from_an_answer() {
    let bytes = encode(1, ObjectChange::Add(&hop("192.0.2.254", 3)));
    let message = frames(&bytes).next().unwrap();
    let taken = |protocol| {
        let signature = Signature { protocol, ..Signature::default() };
        ObjectDumpRequest { signature: Some(signature) }.read(&message).unwrap().is_some()
    };
    let ours = Signature::default().protocol;
    assert!(taken(ours));
    assert!(!taken(ours.saturating_add(1)));
}

const HOP: &[u8] = &[
    2, 0xfd, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 1, 0, 0, 0, 8, 0, 5, 0, 3, 0, 0, 0, 8, 0, 6, 0, 192, 0,
    2, 253,
];
const HOP_ON_THE_LINK: &[u8] =
    &[2, 0xfe, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 3, 0, 0, 0, 8, 0, 5, 0, 2, 0, 0, 0];
const RESILIENT_GROUP: &[u8] = &[
    0, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 11, 0, 0, 0, 6, 0, 3, 0, 1, 0, 0, 0, 20, 0, 2, 0, 1, 0, 0,
    0, 99, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 40, 0, 12, 128, 6, 0, 1, 0, 1, 0, 0, 0, 8, 0, 2, 0, 0,
    0, 0, 0, 8, 0, 3, 0, 0, 0, 0, 0, 12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 14, 0, 0, 0, 0,
    128,
];

#[test]
fn what_the_kernel_dumps_is_understood() {
    for (payload, number, content) in [
        (HOP, 1, hop("192.0.2.253", 3)),
        (HOP_ON_THE_LINK, 3, on_link(Family::Ipv4, 2)),
        (RESILIENT_GROUP, 11, group([(1, 100), (3, 1)], 1)),
    ] {
        let object = DumpedObject::decode(payload).unwrap();
        assert_eq!(object, DumpedObject { id: id(number), protocol: 82, content: Some(content) });
    }
}

#[test]
fn an_object_that_is_never_written_here_has_a_number_and_no_content() {
    let shapes: [(&str, &[u8]); 6] = [
        ("blackhole", &[2, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 20, 0, 0, 0, 4, 0, 4, 0]),
        (
            "via 203.0.113.1 dev west onlink",
            &[
                2, 0xfd, 82, 0, 4, 0, 0, 0, 8, 0, 1, 0, 20, 0, 0, 0, 8, 0, 5, 0, 3, 0, 0, 0, 8, 0,
                6, 0, 203, 0, 113, 1,
            ],
        ),
        (
            "via 192.0.2.5 fdb",
            &[
                2, 0xfd, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 20, 0, 0, 0, 4, 0, 11, 0, 8, 0, 6, 0, 192,
                0, 2, 5,
            ],
        ),
        (
            "group 23 fdb",
            &[
                0, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 20, 0, 0, 0, 4, 0, 11, 0, 6, 0, 3, 0, 0, 0, 0,
                0, 12, 0, 2, 0, 23, 0, 0, 0, 0, 0, 0, 0, 8, 0, 14, 0, 0, 0, 0, 128,
            ],
        ),
        (
            "encap ip id 5 dst 192.0.2.200 via 192.0.2.5 dev west",
            &[
                2, 0xfd, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 20, 0, 0, 0, 8, 0, 5, 0, 3, 0, 0, 0, 8, 0,
                6, 0, 192, 0, 2, 5, 56, 0, 8, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 8, 0, 2, 0,
                192, 0, 2, 200, 8, 0, 3, 0, 0, 0, 0, 0, 5, 0, 5, 0, 0, 0, 0, 0, 5, 0, 4, 0, 0, 0,
                0, 0, 6, 0, 6, 0, 0, 0, 0, 0, 6, 0, 7, 0, 2, 0, 0, 0,
            ],
        ),
        (
            "group 1 type resilient buckets 32 idle_timer 5 unbalanced_timer 7",
            &[
                0, 0, 82, 0, 0, 0, 0, 0, 8, 0, 1, 0, 20, 0, 0, 0, 6, 0, 3, 0, 1, 0, 0, 0, 12, 0, 2,
                0, 1, 0, 0, 0, 0, 0, 0, 0, 40, 0, 12, 128, 6, 0, 1, 0, 32, 0, 0, 0, 8, 0, 2, 0,
                0xf4, 1, 0, 0, 8, 0, 3, 0, 0xbc, 2, 0, 0, 12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8,
                0, 14, 0, 0, 0, 0, 128,
            ],
        ),
    ];
    for (what, payload) in shapes {
        let object = DumpedObject::decode(payload).unwrap();
        assert_eq!(object, DumpedObject { id: id(20), protocol: 82, content: None }, "{what}");
    }
}

#[test]
fn a_weight_beyond_ours_is_not_understood() {
    let mut group = RESILIENT_GROUP.to_vec();
    group[33] = 1; // `weight_high` of the first member: 356
    assert_eq!(DumpedObject::decode(&group).unwrap().content, None);
}

#[test]
fn what_is_no_object_is_an_error() {
    let no_number = &HOP[..8];
    let number_zero = [&HOP[..12], &[0; 4]].concat();
    let cut_short = &HOP[..HOP.len() - 1];
    for payload in [&[][..], no_number, &number_zero, cut_short] {
        assert!(DumpedObject::decode(payload).is_err(), "{payload:?}");
    }
}

fn any_object() -> impl Strategy<Value = NextHopObject> {
    let family = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
    let hop = (family, option::of(any::<IpAddr>()), 1..=u32::MAX).prop_map(
        |(family, gateway, interface)| NextHopObject::Hop {
            family: gateway.map_or(family, Family::of),
            gateway,
            interface: InterfaceIndex(interface),
        },
    );
    let member = (any::<NonZeroU32>(), 1..=256_u32).prop_map(|(object, weight)| Member {
        object: ObjectId(object),
        weight: Weight::new(weight).unwrap(),
    });
    let group = (vec(member, 1..6), option::of(any::<NonZeroU16>()))
        .prop_map(|(members, buckets)| NextHopObject::Group { members: members.into(), buckets });
    prop_oneof![hop, group]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(object in any_object(), number: NonZeroU32, sequence: u32) {
        let (signature, id) = (Signature::default(), ObjectId(number));
        let request = ObjectRequest { signature, id, change: ObjectChange::Add(&object) };
        let mut bytes = Vec::new();
        request.encode(sequence, &mut bytes).unwrap();
        request.encode(sequence, &mut bytes).unwrap();
        let read: Vec<_> = frames(&bytes).collect();
        prop_assert_eq!(read.len(), 2);
        for frame in read {
            prop_assert_eq!((frame.kind, frame.sequence), (NEW_OBJECT, sequence));
            let read = ObjectDumpRequest { signature: Some(signature) }.read(&frame).unwrap().unwrap();
            prop_assert_eq!(read, DumpedObject { id, protocol: 82, content: Some(object.clone()) });
        }
    }

    #[test]
    fn any_bytes_can_be_decoded(payload in vec(any::<u8>(), 0..200)) {
        let _ = DumpedObject::decode(&payload);
    }

    #[test]
    fn any_attributes_can_be_decoded(
        header in any::<[u8; 7]>(), family in prop_oneof![Just(0_u8), Just(2), Just(10), Just(28)],
        attributes in vec((0..18_u8, vec(any::<u8>(), 0..24)), 0..6),
    ) {
        let mut payload = vec![family];
        payload.extend(header);
        for (kind, value) in attributes {
            attribute(&mut payload, kind.into(), &value);
        }
        let _ = DumpedObject::decode(&payload);
    }
}
