//! Change notification (RTMv2 rows CHG-01 to CHG-39, V1-08 to V1-10).

use super::super::testing::{TestRib, table};
use crate::{
    model::{
        ErrorKind, Family, NextHopFlags, NextHopKey, NotificationId, NotifyFlags, Prefix, ViewSet,
        Weight,
    },
    rib::{NextHopOffer, Policy, Subscription, Tenure, Terms},
};

const ALL: u32 = 1;
const BEST: u32 = 2;
const FORWARDING: u32 = 4;
const ONLY_MARKED: u32 = 0x1_0000;
const ORDERED: u32 = 0x2_0002;

/// Who hears of what an offer changes: of all, of the best, of forwarding.
fn heard(before: &[&str], offer: &str) -> [bool; 3] {
    let mut test = TestRib::with_entities(["static", "rip"]);
    for offer in before {
        test.add(offer).unwrap();
    }
    let followers = [ALL, BEST, FORWARDING].map(|flags| test.follow("rip", 1, flags));
    test.add(offer).unwrap();
    followers.map(|id| !test.changed(id).is_empty())
}

fn ordered(test: &mut TestRib, id: NotificationId) -> Vec<(String, Option<u32>, Option<u32>)> {
    let (page, _) = test.rib.best_changes(table(Family::Ipv4), id, 10).unwrap();
    let metric = |snapshot: &Option<crate::rib::RouteSnapshot>| {
        snapshot.as_ref().map(|snapshot| snapshot.view().route.rank.metric.0)
    };
    let line =
        |c: &crate::rib::BestChange| (c.to.to_string(), metric(&c.previous), metric(&c.current));
    page.iter().map(line).collect()
}

#[test]
fn each_type_hears_of_its_changes() {
    const FIRST: &str = "static: 10.0.0.0/8 via 192.0.2.1 metric 5 flags 16";
    let cases = [
        (&[][..], FIRST, [true, true, true]),
        (&[FIRST], FIRST, [false, false, false]),
        (&[FIRST], "rip: 10.0.0.0/8 via 192.0.2.1", [true, false, false]),
        (&[FIRST], "static: 10.0.0.0/8 via 192.0.2.1 metric 6 flags 16", [true, true, true]),
        (&[FIRST], "static: 10.0.0.0/8 via 192.0.2.2 metric 5 flags 16", [true, true, true]),
        (&[FIRST], "static: 10.0.0.0/8 via 192.0.2.1 metric 5 flags 32", [true, true, false]),
        (&[FIRST], "static: 10.0.0.0/8 via 192.0.2.1 metric 5 flags 24", [true, true, true]),
        (
            &[FIRST],
            "static: 10.0.0.0/8 via 192.0.2.1 metric 5 flags 16 private x",
            [true, false, false],
        ),
        (&[], "static: 10.0.0.0/8 via 192.0.2.1 views 2", [false, false, false]),
    ];
    for (before, offer, expected) in cases {
        assert_eq!(heard(before, offer), expected, "{offer} after {before:?}");
    }
}

#[test]
fn nothing_waits_in_the_beginning_and_no_view_means_all() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let id = test.follow("static", 0, ALL);
    assert_eq!(test.changed(id), [""; 0]);
    test.add("static: 11.0.0.0/8 via 192.0.2.1 views 2").unwrap();
    assert_eq!(test.changed(id), ["11.0.0.0/8"]);
}

#[test]
fn an_unsupported_view_is_refused() {
    let mut test = TestRib::with_entities(["static"]);
    let subscription = Subscription {
        table: table(Family::Ipv4),
        views: ViewSet(4),
        flags: NotifyFlags::ALL,
        context: 0,
    };
    let owner = crate::model::Caller { bus_name: ":1".into(), uid: 0 };
    let refusal = test.rib.register_for_changes(subscription, owner).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotSupported);
}

#[test]
fn many_changes_of_a_destination_wait_as_one_and_wake_once() {
    let mut test = TestRib::with_entities(["static"]);
    let id = test.follow("static", 1, ALL);
    for metric in 0..5 {
        test.add(&format!("static: 10.0.0.0/8 via 192.0.2.1 metric {metric}")).unwrap();
    }
    let woken = test.rib.poll_wake_ups();
    assert_eq!((woken.len(), woken[0].id, woken[0].context), (1, id, 7));
    test.add("static: 11.0.0.0/8 via 192.0.2.1").unwrap();
    assert!(!test.rib.has_wake_ups(), "again only after everything was fetched");
    assert_eq!(test.changed(id), ["10.0.0.0/8", "11.0.0.0/8"]);
    test.add("static: 11.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(test.rib.poll_wake_ups().len(), 1);
    assert_eq!(test.changed(id), ["11.0.0.0/8"]);
}

#[test]
fn a_page_is_bounded_and_what_changes_all_the_time_keeps_the_rest_not_waiting() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, table) = (test.follow("static", 1, ALL), table(Family::Ipv4));
    for count in [0, 1001] {
        let refusal = test.rib.changed_destinations(table, id, count).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
    }
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 11.0.0.0/8 via 192.0.2.1").unwrap();
    let mut fetched = Vec::new();
    for metric in 1..4 {
        let (page, done) = test.rib.changed_destinations(table, id, 1).unwrap();
        fetched.push(page[0].prefix.to_string());
        assert!(!done);
        test.add(&format!("static: 10.0.0.0/8 via 192.0.2.1 metric {metric}")).unwrap();
        test.add(&format!("static: 11.0.0.0/8 via 192.0.2.1 metric {metric}")).unwrap();
    }
    assert_eq!(fetched, ["10.0.0.0/8", "11.0.0.0/8", "10.0.0.0/8"]);
}

#[test]
fn a_destination_that_is_gone_is_told_with_nothing_in_its_views() {
    let mut test = TestRib::with_entities(["static"]);
    let (route, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let (id, table) = (test.follow("static", 1, BEST), table(Family::Ipv4));
    test.delete("static", route).unwrap();
    let (page, _) = test.rib.changed_destinations(table, id, 10).unwrap();
    let record = &page[0].per_view[0];
    assert_eq!((record.best, record.routes, record.held), (None, 0, None));
}

#[test]
fn what_is_ignored_is_told_when_it_changes_again() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, table) = (test.follow("static", 1, ALL), table(Family::Ipv4));
    let net: Prefix = "10.0.0.0/8".parse().unwrap();
    test.rib.ignore_changed(table, id, &[net]).unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.rib.is_changed(table, id, net), Ok(true));
    test.rib.ignore_changed(table, id, &[net]).unwrap();
    assert_eq!(test.rib.is_changed(table, id, net), Ok(false));
    test.add("static: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(test.changed(id), ["10.0.0.0/8"]);
}

#[test]
fn marks_select_and_outlive_their_destination() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, table) = (test.follow("static", 1, ALL | ONLY_MARKED), table(Family::Ipv4));
    let other = test.follow("static", 1, ALL);
    let net: Prefix = "10.0.0.0/8".parse().unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.changed(id), [""; 0]);
    test.rib.mark_destination(table, id, (net, true)).unwrap();
    assert_eq!(test.rib.is_marked(table, id, net), Ok(true));
    assert_eq!(test.rib.is_marked(table, other, net), Ok(false));
    let (route, _) = test.add("static: 10.0.0.0/8 via 192.0.2.2").unwrap();
    test.delete("static", route).unwrap();
    assert_eq!(test.changed(id), ["10.0.0.0/8"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.rib.is_changed(table, id, net), Ok(true));
    test.rib.mark_destination(table, id, (net, false)).unwrap();
    assert_eq!(test.changed(id), [""; 0]);
}

#[test]
fn a_next_hop_that_comes_to_mean_something_else_is_told_where_it_is_used() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 11.0.0.0/8 via 192.0.2.2").unwrap();
    let id = test.follow("static", 1, FORWARDING);
    let key = NextHopKey { address: "192.0.2.1".parse().ok(), interface: Default::default() };
    let flags = NextHopFlags::default();
    let offer = NextHopOffer { key, flags, weight: Weight::ONE, remote: None, private: b"x" };
    test.rib.add_next_hop(test.entity("static"), offer).unwrap();
    assert_eq!(test.changed(id), [""; 0], "what is private is nobody's business");
    let offer = NextHopOffer { flags: NextHopFlags::DOWN, ..offer };
    test.rib.add_next_hop(test.entity("static"), offer).unwrap();
    assert_eq!(test.changed(id), ["10.0.0.0/8"]);
}

#[test]
fn a_registration_that_ended_is_no_handle() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, table) = (test.follow("static", 1, ALL), table(Family::Ipv4));
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.rib.mark_destination(table, id, ("10.1.0.0/16".parse().unwrap(), true)).unwrap();
    test.rib.deregister_from_changes(table, id);
    assert!(!test.rib.has_wake_ups());
    assert_eq!(test.rib.poll_waste().items(), 2, "a change and a mark are still to be freed");
    let refusal = test.rib.changed_destinations(table, id, 1).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidHandle);
}

#[test]
fn an_ordered_registration_keeps_each_change_but_not_its_owners_own() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    let [rip, own] = ["rip", "static"].map(|who| test.follow(who, 1, ORDERED));
    for metric in [1, 1, 2] {
        test.add(&format!("static: 10.0.0.0/8 via 192.0.2.1 metric {metric}")).unwrap();
    }
    let net = || "10.0.0.0/8".to_owned();
    assert_eq!(ordered(&mut test, rip), [(net(), None, Some(1)), (net(), Some(1), Some(2))]);
    assert_eq!(ordered(&mut test, own), []);
}

#[test]
fn an_expiry_is_nobodys_doing() {
    let mut test = TestRib::with_entities([]);
    test.register_as("rip", Family::Ipv4, Tenure::User, Terms::default()).unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 metric 3 ttl 10").unwrap();
    let own = test.follow("rip", 1, ORDERED);
    test.pass(10);
    assert_eq!(ordered(&mut test, own), [("10.0.0.0/8".to_owned(), Some(3), None)]);
}

#[test]
fn an_ordered_registration_that_is_not_read_loses_changes_and_is_told_once() {
    let mut policy = Policy::standard();
    policy.limits.queued_changes = 2;
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    let (id, table) = (test.follow("rip", 1, ORDERED), table(Family::Ipv4));
    for metric in 0..4 {
        test.add(&format!("static: 10.0.0.0/8 via 192.0.2.1 metric {metric}")).unwrap();
    }
    let refusal = test.rib.best_changes(table, id, 10).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoSystemResources);
    assert!(refusal.message.starts_with("4 changes"), "{refusal}");
    assert_eq!(ordered(&mut test, id), []);
}
