//! Opaque cells (RTMv2 rows OPQ-01 to OPQ-06).

use super::super::testing::TestRib;
use crate::{
    model::{EntityId, ErrorKind, Family, Prefix},
    rib::{Policy, Tenure, Terms},
};

fn net() -> Prefix {
    "10.0.0.0/8".parse().unwrap()
}

fn reserving(test: &mut TestRib, label: &str) -> Result<EntityId, ErrorKind> {
    let terms = Terms { reserve_opaque: true, ..Terms::default() };
    let result = test.register_as(label, Family::Ipv4, Tenure::Connection, terms);
    result.map_err(|error| error.kind)
}

#[test]
fn cells_are_given_to_so_many_entities_and_no_more() {
    let mut policy = Policy::standard();
    policy.limits.opaque_entities = 1;
    let mut test = TestRib::new(policy);
    let first = reserving(&mut test, "rip").unwrap();
    assert_eq!(reserving(&mut test, "bgp"), Err(ErrorKind::NoSystemResources));
    test.rib.deregister(first).unwrap();
    assert!(reserving(&mut test, "bgp").is_ok());
}

#[test]
fn a_cell_is_empty_at_first_and_private_and_needs_no_own_route() {
    let mut test = TestRib::with_entities(["static"]);
    let (rip, bgp) = (reserving(&mut test, "rip").unwrap(), reserving(&mut test, "bgp").unwrap());
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.rib.opaque(rip, net()), Ok(&[][..]));
    test.rib.set_opaque(rip, net(), b"mine").unwrap();
    assert_eq!(test.rib.opaque(rip, net()), Ok(&b"mine"[..]));
    assert_eq!(test.rib.opaque(bgp, net()), Ok(&[][..]));
}

#[test]
fn the_cells_of_an_entity_that_is_gone_are_handed_out_to_be_freed() {
    let mut test = TestRib::with_entities(["static"]);
    let rip = reserving(&mut test, "rip").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.rib.set_opaque(rip, net(), b"mine").unwrap();
    test.rib.deregister(rip).unwrap();
    assert_eq!(test.rib.poll_waste().items(), 1);
}

#[test]
fn who_reserved_nothing_has_no_cell() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let none = test.entity("static");
    assert_eq!(test.rib.opaque(none, net()).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(test.rib.set_opaque(none, net(), b"x").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_cell_goes_with_its_destination_but_a_hold_keeps_it() {
    let mut test = TestRib::with_entities(["static"]);
    let rip = reserving(&mut test, "rip").unwrap();
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.rib.set_opaque(rip, net(), b"mine").unwrap();
    test.hold("static", "10.0.0.0/8", 1, 10).unwrap();
    test.delete("static", id).unwrap();
    assert_eq!(test.rib.opaque(rip, net()), Ok(&b"mine"[..]));
    test.pass(10);
    assert_eq!(test.rib.opaque(rip, net()).unwrap_err().kind, ErrorKind::InvalidHandle);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.rib.opaque(rip, net()), Ok(&[][..]));
}

#[test]
fn a_cell_and_all_cells_together_are_bounded() {
    let mut policy = Policy::standard();
    (policy.limits.opaque_bytes, policy.limits.opaque_memory) = (3, 4);
    let mut test = TestRib::new(policy);
    let rip = reserving(&mut test, "rip").unwrap();
    let other: Prefix = "11.0.0.0/8".parse().unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("rip: 11.0.0.0/8 via 192.0.2.1").unwrap();
    let mut set = |to, bytes: &[u8]| test.rib.set_opaque(rip, to, bytes).map_err(|e| e.kind);
    assert_eq!(set(net(), b"four"), Err(ErrorKind::InvalidParameter));
    assert_eq!(set(net(), b"abc"), Ok(()));
    assert_eq!(set(other, b"de"), Err(ErrorKind::NotEnoughMemory));
    assert_eq!(set(net(), b""), Ok(()));
    assert_eq!(set(other, b"de"), Ok(()));
}
