//! Change notification (RTMv2 rows CHG-01 to CHG-39, V1-08 to V1-10).

use std::sync::Arc;

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
    let metric = |snapshot: &Option<Arc<crate::rib::RouteSnapshot>>| {
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

#[test]
fn the_next_process_tells_again_what_was_fetched_last() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    let (all, in_order) = (test.follow("rip", 1, ALL), test.follow("rip", 1, ORDERED));
    for metric in 1..4 {
        test.add(&format!("static: 10.{metric}.0.0/16 via 192.0.2.1")).unwrap();
        test.changed(all);
        ordered(&mut test, in_order);
    }
    test.rib.begin_anew();
    assert_eq!(test.changed(all), ["10.3.0.0/16"]);
    assert_eq!(ordered(&mut test, in_order), [("10.3.0.0/16".to_owned(), None, Some(0))]);
    assert_eq!(ordered(&mut test, in_order), []);

    // What has changed since comes after it, and what is ignored is not told.
    test.add("static: 10.4.0.0/16 via 192.0.2.1").unwrap();
    test.changed(all);
    let ignored = ["10.4.0.0/16".parse().unwrap()];
    test.rib.ignore_changed(table(Family::Ipv4), all, &ignored).unwrap();
    test.rib.begin_anew();
    assert_eq!(test.changed(all), [""; 0]);
}

#[test]
fn the_next_process_tells_again_that_changes_were_lost() {
    let mut test = limited([1, 100, 1, 100]);
    let id = test.follow("rip", 1, ALL);
    churn(&mut test, 0..3);
    let first = told(&mut test, id).unwrap_err();
    test.rib.begin_anew();
    assert_eq!(told(&mut test, id).unwrap_err(), first);
    assert_eq!(told(&mut test, id).unwrap(), 0);
    test.rib.begin_anew();
    assert!(!test.rib.has_wake_ups());
}

/// A RIB with these limits: destinations for one registration and for a user, and likewise changes.
fn limited([one, user, one_ordered, user_ordered]: [u32; 4]) -> TestRib {
    let mut policy = Policy::standard();
    policy.limits.pending_destinations = one;
    policy.limits.pending_destinations_per_user = user;
    policy.limits.queued_changes = one_ordered;
    policy.limits.queued_changes_per_user = user_ordered;
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test
}

/// Offers routes to so many fresh destinations and takes each back.
fn churn(test: &mut TestRib, fresh: std::ops::Range<u8>) {
    for n in fresh {
        let (id, _) = test.add(&format!("static: 10.{n}.0.0/16 via 192.0.2.1")).unwrap();
        test.delete("static", id).unwrap();
    }
}

fn told(test: &mut TestRib, id: NotificationId) -> Result<usize, String> {
    match test.rib.changed_destinations(table(Family::Ipv4), id, 1000) {
        Ok((page, _)) => Ok(page.len()),
        Err(refusal) => {
            assert_eq!(refusal.kind, ErrorKind::NoSystemResources);
            Err(refusal.message)
        }
    }
}

#[test]
fn destinations_that_come_and_go_do_not_pile_up_and_the_loss_is_told_once() {
    let mut test = limited([3, 9, 9, 9]);
    let (id, table) = (test.follow("rip", 1, ALL), table(Family::Ipv4));
    let marked = test.follow("rip", 1, ALL | ONLY_MARKED);
    churn(&mut test, 0..3);
    assert_eq!(test.rib.poll_wake_ups().len(), 1);
    assert_eq!(told(&mut test, id), Ok(3), "as many as may wait");
    churn(&mut test, 0..9);
    assert_eq!(test.rib.poll_wake_ups().len(), 1, "once");
    let never: Prefix = "192.0.2.0/24".parse().unwrap();
    assert_eq!(test.rib.is_changed(table, id, never), Ok(true), "nobody knows any more");
    assert_eq!(test.rib.is_changed(table, marked, never), Ok(false));
    let why = "4 destinations changed and were not fetched in time, they are dropped: read the \
               table anew";
    assert_eq!(told(&mut test, id), Err(why.to_owned()));
    assert_eq!((told(&mut test, id), test.rib.is_changed(table, id, never)), (Ok(0), Ok(false)));
    assert!(!test.rib.has_wake_ups());
    churn(&mut test, 20..22);
    assert_eq!(test.rib.poll_wake_ups().len(), 1, "what changes from then on is told again");
    assert_eq!((told(&mut test, id), told(&mut test, marked)), (Ok(2), Ok(0)));
}

#[test]
fn of_a_user_for_whom_too_much_waits_the_fullest_registration_loses_it() {
    let mut test = limited([9, 5, 9, 9]);
    let full = test.follow("rip", 1, ALL);
    churn(&mut test, 0..3);
    let other = test.follow("bgp", 1, ALL);
    test.uid += 1;
    let of_other_user = test.follow("ospf", 1, ALL);
    churn(&mut test, 3..4);
    assert_eq!((told(&mut test, of_other_user)), Ok(1), "4 and 1 are not too many");
    churn(&mut test, 4..5);
    assert!(told(&mut test, full).unwrap_err().starts_with("5 destinations"));
    assert_eq!([other, of_other_user].map(|id| told(&mut test, id)), [Ok(2), Ok(1)]);
    churn(&mut test, 5..7);
    assert_eq!([full, other].map(|id| told(&mut test, id)), [Ok(2), Ok(2)], "there is room again");
}

#[test]
fn what_is_fetched_ignored_unmarked_or_deregistered_counts_no_more() {
    let table = table(Family::Ipv4);
    let mut test = limited([9, 4, 9, 4]);
    let net: Prefix = "10.0.0.0/16".parse().unwrap();
    for round in 0..20 {
        let ids = [ALL, ALL | ONLY_MARKED, ORDERED].map(|flags| test.follow("rip", 1, flags));
        test.rib.mark_destination(table, ids[1], (net, true)).unwrap();
        churn(&mut test, 0..2);
        match round % 4 {
            0 => assert_eq!((told(&mut test, ids[0]), told(&mut test, ids[1])), (Ok(2), Ok(1))),
            1 => test.rib.ignore_changed(table, ids[0], &[net]).unwrap(),
            2 => test.rib.mark_destination(table, ids[1], (net, false)).unwrap(),
            _ => assert_eq!(ordered(&mut test, ids[2]).len(), 4),
        }
        for id in ids {
            test.rib.deregister_from_changes(table, id);
        }
    }
    let (id, in_order) = (test.follow("rip", 1, ALL), test.follow("rip", 1, ORDERED));
    churn(&mut test, 0..2);
    assert_eq!((told(&mut test, id), ordered(&mut test, in_order).len()), (Ok(2), 4));
}

#[test]
fn ordered_registrations_of_a_user_keep_so_many_changes_together() {
    let mut test = limited([9, 9, 9, 5]);
    let (full, other) = (test.follow("rip", 1, ORDERED), test.follow("bgp", 3, ORDERED));
    churn(&mut test, 0..1);
    assert_eq!(ordered(&mut test, other).len(), 2);
    churn(&mut test, 1..2);
    let refusal = test.rib.best_changes(table(Family::Ipv4), full, 10).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoSystemResources);
    assert!(refusal.message.starts_with("4 changes"), "{refusal}");
    assert_eq!(ordered(&mut test, other).len(), 2);
}

#[test]
fn what_a_route_was_is_kept_once_for_all_registrations_and_views() {
    let mut test = TestRib::with_entities(["static"]);
    let ids = ["rip", "bgp"].map(|who| test.follow(who, 3, ORDERED));
    test.add("static: 10.0.0.0/8 via 192.0.2.1 views 3").unwrap();
    let kept = ids.map(|id| test.rib.best_changes(table(Family::Ipv4), id, 10).unwrap().0);
    let routes: Vec<_> = kept.iter().flatten().filter_map(|c| c.current.as_ref()).collect();
    assert_eq!(routes.len(), 4);
    assert!(routes.iter().all(|route| Arc::ptr_eq(route, routes[0])));
}

#[test]
fn marks_are_limited_for_each_client_and_each_user_in_all_their_registrations() {
    let mut policy = Policy::standard();
    (policy.limits.marks_per_client, policy.limits.marks_per_user) = (2, 3);
    let mut test = TestRib::new(policy);
    let [first, second] = [1, 1].map(|views| test.follow("rip", views, ALL));
    let other = test.follow("bgp", 1, ALL);
    test.uid += 1;
    let of_other_user = test.follow("ospf", 1, ALL);
    let mark = |test: &mut TestRib, id, to: &str, mark| {
        let marked =
            test.rib.mark_destination(table(Family::Ipv4), id, (to.parse().unwrap(), mark));
        marked.map_err(|refusal| {
            assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
            refusal.message
        })
    };
    let (one, two, three) = ("10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8");
    mark(&mut test, first, one, true).unwrap();
    mark(&mut test, second, one, true).unwrap();
    let refusal = mark(&mut test, second, two, true).unwrap_err();
    assert_eq!(
        refusal,
        "2 destinations are marked, the most for one client (limit marks-per-client): unmark some"
    );
    mark(&mut test, second, one, true).expect("it is marked already");
    mark(&mut test, other, two, true).unwrap();
    let refusal = mark(&mut test, other, three, true).unwrap_err();
    assert_eq!(
        refusal,
        "3 destinations are marked, the most for one user (limit marks-per-user): unmark some"
    );
    mark(&mut test, of_other_user, three, true).expect("others are served");
    mark(&mut test, first, one, false).unwrap();
    mark(&mut test, other, three, true).expect("there is room again");
}

#[test]
fn who_missed_a_wake_up_is_woken_for_all_that_waits_and_nobody_else_is() {
    let mut test = TestRib::with_entities(["static"]);
    let [id, other] = [ALL, ORDERED].map(|flags| test.follow("rip", 1, flags));
    let (fetched, foreign) = (test.follow("rip", 1, ALL), test.follow("bgp", 1, ALL));
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.rib.poll_wake_ups().len(), 4);
    test.changed(fetched);
    test.rib.wake_again(":rip");
    let woken: Vec<_> = test.rib.poll_wake_ups().iter().map(|wake_up| wake_up.id).collect();
    assert_eq!(woken, [id, other]);
    assert!(!woken.contains(&foreign));
}
