//! What counts for which user, so that one cannot take what others need.

use super::super::testing::TestRib;
use crate::{
    model::{ErrorKind, Family},
    rib::Policy,
};

/// Each user may have two routes; "rip" is one's, "bgp" and "ospf" are another's.
fn two_users() -> TestRib {
    let mut policy = Policy::standard();
    policy.limits.routes_per_user = 2;
    let mut test = TestRib::new(policy);
    for (label, uid) in [("rip", 7), ("bgp", 8), ("ospf", 8)] {
        test.uid = uid;
        test.register(label, Family::Ipv4).unwrap();
    }
    test
}

fn is_refused(test: &mut TestRib, offer: &str) -> bool {
    match test.add(offer) {
        Ok(_) => false,
        Err(refusal) => {
            assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
            true
        }
    }
}

#[test]
fn one_user_cannot_fill_a_table_with_many_entities() {
    let mut test = two_users();
    let (first, _) = test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("ospf: 11.0.0.0/8 via 192.0.2.1").unwrap();
    let refusal = test.add("ospf: 12.0.0.0/8 via 192.0.2.1").unwrap_err();
    assert_eq!(
        refusal.message,
        "2 routes in table 0/ipv4 count for user 8, the most for one user (limit routes-per-user)"
    );
    test.add("bgp: 10.0.0.0/8 via 192.0.2.2").expect("an update needs no room");
    test.add("rip: 12.0.0.0/8 via 192.0.2.1").expect("others are served");
    test.register("static", Family::Ipv6).unwrap();
    test.add("static: 2001:db8::/32 via 2001:db8:3::1").expect("another table");
    test.delete("bgp", first).unwrap();
    assert!(!is_refused(&mut test, "ospf: 12.0.0.0/8 via 192.0.2.1"));
}

#[test]
fn what_is_held_counts_for_who_asked_for_it() {
    let mut test = two_users();
    for to in ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"] {
        let (id, _) = test.add(&format!("rip: {to} via 192.0.2.1")).unwrap();
        test.hold("bgp", to, 1, 30).unwrap();
        test.delete("rip", id).unwrap();
    }
    assert_eq!([test.held("10.0.0.0/8"), test.held("11.0.0.0/8")], [[0], [0]]);
    assert!(test.held("12.0.0.0/8").is_empty(), "there is no room for a third");
    assert!(is_refused(&mut test, "ospf: 13.0.0.0/8 via 192.0.2.1"));
    for to in ["13.0.0.0/8", "14.0.0.0/8"] {
        test.add(&format!("rip: {to} via 192.0.2.1")).expect("it never asked for that");
    }
    test.pass(30);
    assert!(!is_refused(&mut test, "bgp: 15.0.0.0/8 via 192.0.2.1"), "the holds are over");
}

#[test]
fn a_user_that_has_all_it_may_can_hold_its_own_routes() {
    let mut test = two_users();
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 views 3").unwrap();
    test.add("rip: 11.0.0.0/8 via 192.0.2.1").unwrap();
    test.hold("rip", "10.0.0.0/8", 3, 30).unwrap();
    test.delete("rip", id).unwrap();
    assert_eq!(test.held("10.0.0.0/8"), [0, 1]);
    assert!(is_refused(&mut test, "rip: 12.0.0.0/8 via 192.0.2.1"), "it counts as before");
    test.pass(30);
    assert!(!is_refused(&mut test, "rip: 12.0.0.0/8 via 192.0.2.1"), "once, in two views");
}

#[test]
fn of_several_who_ask_for_a_hold_it_counts_for_the_one_with_the_longest_time() {
    for (first, second) in [(("rip", 10), ("bgp", 30)), (("bgp", 30), ("rip", 10))] {
        let mut test = two_users();
        for to in ["10.0.0.0/8", "11.0.0.0/8"] {
            let (id, _) = test.add(&format!("rip: {to} via 192.0.2.1")).unwrap();
            for (label, time) in [first, second] {
                test.hold(label, to, 1, time).unwrap();
            }
            test.delete("rip", id).unwrap();
        }
        assert!(is_refused(&mut test, "ospf: 12.0.0.0/8 via 192.0.2.1"));
        assert!(!is_refused(&mut test, "rip: 12.0.0.0/8 via 192.0.2.1"));
    }
}
