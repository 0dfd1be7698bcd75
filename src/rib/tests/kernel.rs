use std::collections::BTreeSet;

use super::super::testing::{TestRib, table};
use crate::{
    model::{Family, FibCounts, FibStatus, InterfaceIndex, Prefix},
    rib::LinkNews,
};

fn status(test: &TestRib, prefix: &str) -> (FibStatus, Option<String>) {
    let routes = test.rib.routes(table(Family::Ipv4), prefix.parse().unwrap()).unwrap();
    (routes[0].fib, routes[0].fib_error.map(ToOwned::to_owned))
}

#[test]
fn a_flood_of_changes_to_one_destination_is_one_effect() {
    let mut test = TestRib::with_entities(["static"]);
    for metric in 0..100 {
        let (id, _) =
            test.add(&format!("static: 10.0.0.0/8 via 192.0.2.1 metric {metric}")).unwrap();
        test.delete("static", id).unwrap();
    }
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
}

#[test]
fn only_the_unicast_view_reaches_the_kernel() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 views 2").unwrap();
    assert_eq!(test.effects(), [""; 0]);
}

#[test]
fn a_change_of_a_route_that_would_not_replace_the_best_reaches_nobody() {
    let mut test = TestRib::with_entities(["static", "bgp", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("bgp: 10.0.0.0/8 via 192.0.2.2").unwrap();
    test.effects();
    test.add("rip: 10.0.0.0/8 via 192.0.2.3").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.4").unwrap();
    assert_eq!(test.effects(), [""; 0]);
}

#[test]
fn flags_become_what_the_kernel_does() {
    let mut test = TestRib::with_entities(["static"]);
    for flags in [2, 4, 1] {
        test.add(&format!("static: 10.{flags}.0.0/16 flags {flags}")).unwrap();
    }
    test.add("static: 10.8.0.0/16 via 192.0.2.1 flags 8").unwrap();
    assert_eq!(
        test.effects(),
        [
            "10.2.0.0/16 blackhole",
            "10.4.0.0/16 unreachable",
            "10.1.0.0/16 prohibit",
            "10.8.0.0/16 -"
        ]
    );
    assert_eq!(status(&test, "10.8.0.0/16").0, FibStatus::Suppressed);
}

#[test]
fn a_route_tells_how_far_it_is() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(status(&test, "10.0.0.0/8"), (FibStatus::Pending, None));
    test.effects();
    let to = "10.0.0.0/8".parse().unwrap();
    let words = Some("Network is unreachable".to_owned());
    test.rib.handle_fib(table(Family::Ipv4), to, FibStatus::Failed, words.clone());
    assert_eq!(status(&test, "10.0.0.0/8"), (FibStatus::Failed, words));
    test.rib.handle_fib(table(Family::Ipv4), to, FibStatus::Installed, None);
    assert_eq!(status(&test, "10.0.0.0/8"), (FibStatus::Installed, None));
}

#[test]
fn an_answer_to_an_old_wish_does_not_settle_a_new_one() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.effects();
    test.add("static: 10.0.0.0/8 via 192.0.2.2").unwrap();
    let to = "10.0.0.0/8".parse().unwrap();
    test.rib.handle_fib(table(Family::Ipv4), to, FibStatus::Installed, None);
    assert_eq!(status(&test, "10.0.0.0/8").0, FibStatus::Pending);
}

#[test]
fn without_a_way_out_a_route_is_ineligible() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 203.0.113.1").unwrap();
    test.effects();
    let to = "10.0.0.0/8".parse().unwrap();
    test.rib.handle_fib(table(Family::Ipv4), to, FibStatus::None, None);
    assert_eq!(status(&test, "10.0.0.0/8").0, FibStatus::Ineligible);
}

#[test]
fn what_is_taken_counts_as_pending_until_the_kernels_counts_include_it() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 11.0.0.0/8 via 192.0.2.1").unwrap();
    let pending = |test: &TestRib| test.rib.fib_counts(table(Family::Ipv4)).pending;
    assert_eq!(pending(&test), 2);
    test.rib.poll_groups(1);
    test.rib.poll_effects(1);
    assert_eq!(pending(&test), 2);
    let counts = FibCounts { installed: 0, pending: 1, failed: 0 };
    test.rib.handle_fib_counts(table(Family::Ipv4), counts);
    assert_eq!(pending(&test), 2);
    test.rib.poll_effects(1);
    let counts = FibCounts { installed: 2, pending: 0, failed: 0 };
    test.rib.handle_fib_counts(table(Family::Ipv4), counts);
    assert_eq!(test.rib.fib_counts(table(Family::Ipv4)), counts);
}

#[test]
fn an_instance_kept_out_of_the_kernel_has_no_effects() {
    let mut policy = super::super::Policy::standard();
    let settings = super::super::InstanceSettings { kernel_table: None, ..Default::default() };
    policy.instances =
        [(crate::model::InstanceId(0), super::super::Instance::Ready(settings))].into();
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.effects(), [""; 0]);
    assert_eq!(status(&test, "10.0.0.0/8").0, FibStatus::None);
}

fn news(test: &mut TestRib) -> String {
    let LinkNews { lost, gained, .. } = test.rib.poll_link_news();
    let lost = lost.iter().map(|(link, family)| format!("lost {link} {family}"));
    let gained: BTreeSet<InterfaceIndex> = gained.into_iter().map(|(link, _)| link).collect();
    lost.chain(gained.iter().map(|link| format!("gained {link}"))).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_link_that_comes_back_at_once_has_still_been_lost() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.effects();
    assert_eq!(news(&mut test), "");
    let link = InterfaceIndex(1);
    test.rib.handle_link(link, "up1", false);
    test.rib.handle_link(link, "up1", true);
    assert!(test.rib.has_group_news());
    assert_eq!(news(&mut test), "lost 1 ipv4, lost 1 ipv6, gained 1");
    test.rib.handle_link_gone(link);
    assert_eq!(news(&mut test), "lost 1 ipv4, lost 1 ipv6");
}

#[test]
fn a_link_is_lost_to_a_family_with_its_last_address() {
    let mut test = TestRib::with_entities([]);
    let (link, network): (_, Prefix) = (InterfaceIndex(1), "192.0.2.0/24".parse().unwrap());
    let address = "192.0.2.9".parse().unwrap();
    test.rib.handle_address(link, address, network);
    assert_eq!(news(&mut test), "gained 1");
    test.rib.handle_address(link, address, network);
    assert_eq!(news(&mut test), "");
    test.rib.handle_address_gone(link, address, network);
    assert_eq!(news(&mut test), "");
    test.rib.handle_address_gone(link, network.address(), network);
    assert_eq!(news(&mut test), "lost 1 ipv4");
}

#[test]
fn all_links_may_have_been_lost_while_nobody_listened() {
    let mut test = TestRib::with_entities([]);
    test.rib.handle_links_unknown();
    test.rib.handle_links_complete();
    let lost = (1..=3).map(|link| format!("lost {link} ipv4, lost {link} ipv6"));
    assert_eq!(news(&mut test), lost.collect::<Vec<_>>().join(", "), "and none is there");
}

#[test]
fn news_of_a_lost_link_counts_as_pending_until_it_was_taken() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.effects();
    assert_eq!(test.rib.fib_counts(table(Family::Ipv4)).pending, 0);
    let (link, network): (_, Prefix) = (InterfaceIndex(2), "198.51.100.0/24".parse().unwrap());
    test.rib.handle_address_gone(link, network.address(), network);
    assert_eq!(test.rib.fib_counts(table(Family::Ipv4)).pending, 1);
    news(&mut test);
    assert_eq!(test.rib.fib_counts(table(Family::Ipv4)).pending, 0);
}
