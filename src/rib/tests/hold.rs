//! Hold-down (RTMv2 rows HOLD-01 to HOLD-20).

use super::super::testing::{TestRib, table};
use crate::{
    model::{ErrorKind, Family, RouteState, ViewSet},
    rib::{Match, Start, WalkSettings, Withdrawal},
};

const NET: &str = "10.0.0.0/8";

#[test]
fn the_last_route_of_a_marked_view_is_held_for_the_time_from_its_deletion_on() {
    let mut test = TestRib::with_entities(["rip", "bgp"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.hold("bgp", NET, 1, 10).unwrap();
    assert!(test.held(NET).is_empty());
    test.pass(100);
    test.delete("rip", id).unwrap();
    assert_eq!((test.held(NET), test.best(NET)), (vec![0], "-".into()));
    let route = test.rib.route(table(Family::Ipv4), id).unwrap().route;
    assert_eq!(route.state, RouteState::Deleting);
    test.pass(9);
    assert_eq!(test.held(NET), [0]);
    test.pass(1);
    assert!(test.destination(NET, 0).is_none());
    assert!(test.rib.route(table(Family::Ipv4), id).is_err());
}

#[test]
fn nothing_is_held_where_another_route_is_left_or_the_view_is_not_marked() {
    let mut test = TestRib::with_entities(["rip", "bgp"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 views 3").unwrap();
    test.add("bgp: 10.0.0.0/8 via 192.0.2.1 views 1").unwrap();
    test.hold("bgp", NET, 1, 10).unwrap();
    test.delete("rip", id).unwrap();
    assert!(test.held(NET).is_empty());
}

#[test]
fn a_hold_needs_a_time_a_view_and_a_destination() {
    let mut test = TestRib::with_entities(["rip"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let mut refused = |to, views, ms| test.hold("rip", to, views, ms).unwrap_err().kind;
    assert_eq!(refused(NET, 1, 0), ErrorKind::InvalidParameter);
    assert_eq!(refused(NET, 0, 1), ErrorKind::InvalidParameter);
    assert_eq!(refused(NET, 4, 1), ErrorKind::NotSupported);
    assert_eq!(refused("11.0.0.0/8", 1, 1), ErrorKind::InvalidHandle);
}

#[test]
fn a_hold_lasts_no_longer_than_the_limit_and_for_ever_only_without_one() {
    let mut test = TestRib::with_entities(["rip"]);
    let tried = |test: &mut TestRib, most| {
        let mut policy = test.rib.policy().clone();
        policy.limits.hold_time = most;
        test.rib.reconfigure(policy).unwrap();
        [most - 1, most, most.saturating_add(1), u32::MAX].map(|time| {
            let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
            let refusal = test.hold("rip", NET, 1, time).err().map(|refusal| refusal.message);
            test.delete("rip", id).unwrap();
            test.pass(u64::from(most));
            (refusal, test.held(NET).len())
        })
    };
    let refused = |time| {
        Some(format!(
            "a hold that lasts {time}, it may be 10 milliseconds at most (limit hold-time)"
        ))
    };
    let (long, infinite) = (refused("11 milliseconds"), refused("for ever"));
    assert_eq!(tried(&mut test, 10), [(None, 0), (None, 0), (long, 0), (infinite, 0)]);
    assert_eq!(tried(&mut test, u32::MAX)[..2], [(None, 0), (None, 1)], "for ever");
}

#[test]
fn all_views_are_held_for_the_longest_time_asked_for() {
    let mut test = TestRib::with_entities(["rip"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 views 3").unwrap();
    test.hold("rip", NET, 1, 10).unwrap();
    test.hold("rip", NET, 2, 30).unwrap();
    test.delete("rip", id).unwrap();
    test.pass(29);
    assert_eq!(test.held(NET), [0, 1]);
    test.pass(1);
    assert!(test.held(NET).is_empty());
}

#[test]
fn a_new_route_is_best_at_once_and_neither_it_nor_its_deletion_touches_what_is_held() {
    let mut test = TestRib::with_entities(["rip", "bgp"]);
    let (first, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.hold("rip", NET, 1, 10).unwrap();
    test.delete("rip", first).unwrap();
    let (second, _) = test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.best(NET), "bgp");
    test.delete("bgp", second).unwrap();
    let record = &test.destination(NET, 1).unwrap().per_view[0];
    assert_eq!((record.held, record.routes), (Some(first), 0));
}

#[test]
fn a_mark_is_used_up_by_its_hold_and_its_time_with_it() {
    let mut test = TestRib::with_entities(["rip"]);
    let last = |test: &mut TestRib| {
        let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
        test.delete("rip", id).unwrap();
    };
    test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.hold("rip", NET, 1, 30).unwrap();
    last(&mut test);
    // Marked while it holds, for a shorter time: that is for the next hold.
    test.hold("rip", NET, 1, 5).unwrap();
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.pass(30);
    test.delete("rip", id).unwrap();
    assert_eq!(test.held(NET), [0]);
    test.pass(5);
    assert!(test.destination(NET, 0).is_none());
    last(&mut test);
    assert!(test.destination(NET, 0).is_none(), "a new hold needs a new mark");
}

#[test]
fn an_update_that_leaves_a_view_starts_no_hold() {
    let mut test = TestRib::with_entities(["rip"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 views 3").unwrap();
    test.hold("rip", NET, 2, 10).unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 views 1").unwrap();
    assert!(test.held(NET).is_empty());
}

#[test]
fn an_expired_route_and_one_of_a_gone_owner_are_held_too() {
    let mut test = TestRib::with_entities(["rip", "bgp"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.add("bgp: 11.0.0.0/8 via 192.0.2.1").unwrap();
    for to in [NET, "11.0.0.0/8"] {
        test.hold("rip", to, 1, 100_000).unwrap();
    }
    test.pass(10);
    test.pass(5000);
    let (gone, now) = (test.entity("bgp"), test.now());
    test.rib.deregister(gone).unwrap();
    assert!(matches!(test.rib.withdraw(gone, 9, now), Withdrawal::Complete(_)));
    assert_eq!((test.held(NET), test.held("11.0.0.0/8")), (vec![0], vec![0]));
}

#[test]
fn what_is_held_is_seen_with_any_view_only_and_never_by_the_kernel() {
    let mut test = TestRib::with_entities(["rip"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.hold("rip", NET, 1, 10).unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
    test.delete("rip", id).unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
    let table = table(Family::Ipv4);
    let found = |views| {
        let views = ViewSet(views);
        let settings = WalkSettings { table, views, start: Start::Beginning, owned_by: None };
        let mut walk = test.rib.walk(settings).unwrap();
        test.rib.next_routes(&mut walk, &Match::default(), 10).unwrap().len()
    };
    assert_eq!((found(0), found(3)), (1, 0));
}

#[test]
fn a_route_that_comes_to_be_held_while_its_destination_is_walked_is_not_returned() {
    let mut test = TestRib::with_entities(["rip", "bgp"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 views 1").unwrap();
    let (other, _) = test.add("bgp: 10.0.0.0/8 via 192.0.2.1 views 2 pref 200").unwrap();
    test.hold("rip", NET, 2, 10).unwrap();
    let (table, views) = (table(Family::Ipv4), ViewSet(3));
    let settings = WalkSettings { table, views, start: Start::Beginning, owned_by: None };
    let mut walk = test.rib.walk(settings).unwrap();
    let mut next =
        |test: &TestRib| test.rib.next_routes(&mut walk, &Match::default(), 1).unwrap().len();
    assert_eq!(next(&test), 1);
    test.delete("bgp", other).unwrap();
    assert_eq!(next(&test), 0);
}

#[test]
fn the_end_of_a_hold_is_told_to_all_but_those_who_follow_forwarding() {
    let mut test = TestRib::with_entities(["rip"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.hold("rip", NET, 1, 10).unwrap();
    test.delete("rip", id).unwrap();
    let followers = [1, 2, 4].map(|flags| test.follow("rip", 1, flags));
    test.pass(10);
    let told = followers.map(|id| test.changed(id).len());
    assert_eq!(told, [1, 1, 0]);
}
