use super::super::testing::{TestRib, table};
use crate::{
    model::{ChangeFlags, ErrorKind, Family, RouteId},
    rib::{Tenure, Terms},
};

const NEW_AND_BEST: ChangeFlags = ChangeFlags(0x0001_0002);
const NEW: ChangeFlags = ChangeFlags(0x2);
const BEST: ChangeFlags = ChangeFlags(0x0001_0000);
const NEITHER: ChangeFlags = ChangeFlags(0);

fn refusal(test: &mut TestRib, text: &str) -> (ErrorKind, String) {
    let before = format!("{:?}", test.rib.route_count(table(Family::Ipv4)));
    let error = test.add(text).expect_err(text);
    let after = format!("{:?}", test.rib.route_count(table(Family::Ipv4)));
    assert_eq!(before, after, "a refusal changes nothing");
    (error.kind, error.message)
}

#[test]
fn a_first_route_is_new_and_best() {
    let mut test = TestRib::with_entities(["static"]);
    assert_eq!(test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap().1, NEW_AND_BEST);
}

#[test]
fn offering_it_again_updates_it_under_the_same_id() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.add("static: 10.0.0.0/8 via 192.0.2.2 metric 5").unwrap(), (id, BEST));
    assert_eq!(test.rib.route_count(table(Family::Ipv4)), 1);
}

#[test]
fn another_neighbour_makes_another_route() {
    let mut test = TestRib::with_entities(["static"]);
    let (first, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.1").unwrap();
    let (second, change) = test.add("static: 10.0.0.0/8 via 192.0.2.2 from 192.0.2.2").unwrap();
    assert_ne!(first, second);
    assert_eq!(change, NEW);
}

#[test]
fn first_means_the_owners_first_route_whatever_its_neighbour() {
    let mut test = TestRib::with_entities(["static"]);
    let (first, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.1").unwrap();
    let (second, change) =
        test.add("static: 10.0.0.0/8 via 192.0.2.2 from 192.0.2.2 how 1").unwrap();
    assert_eq!((second, change), (first, BEST));
}

#[test]
fn first_without_one_adds() {
    let mut test = TestRib::with_entities(["static"]);
    assert_eq!(test.add("static: 10.0.0.0/8 via 192.0.2.1 how 1").unwrap().1, NEW_AND_BEST);
}

#[test]
fn new_always_adds() {
    let mut test = TestRib::with_entities(["static"]);
    let (first, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let (second, change) = test.add("static: 10.0.0.0/8 via 192.0.2.1 how 2").unwrap();
    assert_ne!(first, second);
    assert_eq!(change, NEW);
}

#[test]
fn an_entity_with_a_single_route_keeps_one_even_if_it_says_new() {
    let mut test = TestRib::with_entities([]);
    let terms = Terms { single_route: true, ..Terms::default() };
    test.register_as("rip", Family::Ipv4, Tenure::Connection, terms).unwrap();
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.1").unwrap();
    for how in ["0", "1", "2"] {
        let offer = format!("rip: 10.0.0.0/8 via 192.0.2.2 from 192.0.2.2 how {how}");
        assert_eq!(test.add(&offer).unwrap(), (id, BEST));
    }
}

#[test]
fn first_with_new_and_unknown_flags_are_refused() {
    let mut test = TestRib::with_entities(["static"]);
    for how in ["3", "4", "65536"] {
        let (kind, _) = refusal(&mut test, &format!("static: 10.0.0.0/8 via 192.0.2.1 how {how}"));
        assert_eq!(kind, ErrorKind::InvalidParameter);
    }
}

#[test]
fn worsening_the_best_says_so_and_touching_another_does_not() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap().1, NEW);
    assert_eq!(test.add("rip: 10.0.0.0/8 via 192.0.2.2 metric 9").unwrap().1, NEITHER);
    assert_eq!(test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 200").unwrap().1, BEST);
    assert_eq!(test.best("10.0.0.0/8"), "rip");
}

#[test]
fn bad_offers_are_refused_with_the_reason_and_change_nothing() {
    let mut test = TestRib::with_entities(["static"]);
    let many: String = (1..=65).map(|n| format!(" via 192.0.2.{n}")).collect();
    let cases = [
        ("static: 10.0.0.1/8 via 192.0.2.1", ErrorKind::InvalidParameter, "host bits"),
        ("static: 2001:db8::/32 via 192.0.2.1", ErrorKind::InvalidParameter, "is not ipv4"),
        ("static: 10.0.0.0/8 via 192.0.2.1 views 0", ErrorKind::InvalidParameter, "one view"),
        ("static: 10.0.0.0/8 via 192.0.2.1 views 4", ErrorKind::NotSupported, "0x4"),
        ("static: 10.0.0.0/8 via 192.0.2.1 flags 65536", ErrorKind::InvalidParameter, "16 bits"),
        ("static: 10.0.0.0/8 via 192.0.2.1@99", ErrorKind::InvalidParameter, "no such interface"),
        ("static: 10.0.0.0/8 via @0", ErrorKind::InvalidParameter, "an interface is needed"),
        ("static: 10.0.0.0/8 via 224.0.0.1", ErrorKind::InvalidParameter, "no router"),
        ("static: 10.0.0.0/8 via fe80::1", ErrorKind::InvalidParameter, "needs an interface"),
        ("static: 10.0.0.0/8 via 192.0.2.1 via 192.0.2.1", ErrorKind::InvalidParameter, "twice"),
        (&format!("static: 10.0.0.0/8{many}"), ErrorKind::InvalidParameter, "64 at most"),
    ];
    for (offer, kind, reason) in cases {
        let (refused, message) = refusal(&mut test, offer);
        assert_eq!(refused, kind, "{offer}: {message}");
        assert!(message.contains(reason), "{offer}: {message}");
    }
    assert_eq!(test.rib.next_hop_count(test.entity("static")), 0, "no next hop is left behind");
    assert_eq!(test.effects(), [""; 0]);
}

#[test]
fn only_the_owner_deletes() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.delete("rip", id).unwrap_err().kind, ErrorKind::AccessDenied);
    assert_eq!(test.delete("static", id).unwrap(), BEST);
}

#[test]
fn a_deleted_route_is_not_found_and_an_unknown_id_is_no_handle() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.delete("static", id).unwrap();
    assert_eq!(test.delete("static", id).unwrap_err().kind, ErrorKind::NotFound);
    let unknown = RouteId(77.try_into().unwrap());
    assert_eq!(test.delete("static", unknown).unwrap_err().kind, ErrorKind::InvalidHandle);
}

#[test]
fn with_its_last_route_a_destination_is_gone() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.delete("static", id).unwrap();
    assert_eq!(test.rib.destination_count(table(Family::Ipv4)), 0);
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
}

#[test]
fn a_table_that_is_full_refuses_without_damage() {
    let mut policy = super::super::Policy::standard();
    policy.limits.routes = 1;
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(
        refusal(&mut test, "static: 11.0.0.0/8 via 192.0.2.9").0,
        ErrorKind::NotEnoughMemory
    );
    test.add("static: 10.0.0.0/8 via 192.0.2.2").expect("an update needs no room");
}

#[test]
fn one_destination_cannot_take_all_candidates_there_are() {
    let mut policy = super::super::Policy::standard();
    policy.limits.routes_per_destination = 2;
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1 how 2").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1 how 2").unwrap();
    let (kind, _) = refusal(&mut test, "static: 10.0.0.0/8 via 192.0.2.1 how 2");
    assert_eq!(kind, ErrorKind::NotEnoughMemory);
}

#[test]
fn all_views_are_those_that_there_are() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1 views 4294967295").unwrap();
    let route = test.rib.route(table(Family::Ipv4), id).unwrap().route;
    assert_eq!((route.views.0, route.best_in.0), (3, 3));
}
