use super::super::{
    Best, Instance, InstanceSettings, LookUp, Policy, Viability,
    testing::{TestRib, table},
};
use crate::model::{ErrorKind, Family, InstanceId, InterfaceIndex, Protocol, View, ViewSet};

const TWO_WAYS: [&str; 2] = ["ospf: 10.0.0.0/8 via 192.0.2.1", "static: 10.0.0.0/8 via 192.0.2.2"];

#[test]
fn a_preferred_newcomer_takes_the_destination_over() {
    let mut test = TestRib::with_entities(["ospf", "static"]);
    test.add(TWO_WAYS[0]).unwrap();
    test.add(TWO_WAYS[1]).unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.2 dev 1"], "two changes, one write");
}

#[test]
fn preference_counts_before_metric() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 metric 1000").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.2 metric 1").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
}

#[test]
fn the_lower_metric_wins_among_equal_preferences() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 metric 20 pref 7 how 2").unwrap();
    let (low, _) = test.add("static: 10.0.0.0/8 via 192.0.2.2 metric 10 pref 7 how 2").unwrap();
    let routes = test.rib.routes(table(Family::Ipv4), "10.0.0.0/8".parse().unwrap()).unwrap();
    assert_eq!(routes[0].id, low);
    assert!(routes[0].route.best_in.contains(View::UNICAST));
}

#[test]
fn an_equal_newcomer_does_not_displace_the_incumbent() {
    let mut test = TestRib::with_entities(["static", "bgp"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 15").unwrap();
    test.add("bgp: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
    // The incumbent stays even when it became equal later than its rival.
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 3").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 15").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
}

#[test]
fn each_view_has_its_own_best() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 views 1").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.2 views 3").unwrap();
    assert_eq!(test.best_in(View::UNICAST, "10.0.0.0/8"), "static");
    assert_eq!(test.best_in(View::MULTICAST, "10.0.0.0/8"), "rip");
}

#[test]
fn a_change_of_views_elects_in_those_left_and_those_entered() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 views 1").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.2 views 3").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1 views 2").unwrap();
    assert_eq!(test.best_in(View::UNICAST, "10.0.0.0/8"), "rip");
    assert_eq!(test.best_in(View::MULTICAST, "10.0.0.0/8"), "static");
}

#[test]
fn the_next_best_takes_over_when_the_best_is_withdrawn() {
    let mut test = TestRib::with_entities(["ospf", "static"]);
    test.add(TWO_WAYS[0]).unwrap();
    let (id, _) = test.add(TWO_WAYS[1]).unwrap();
    test.effects();
    test.delete("static", id).unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "ospf");
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
}

#[test]
fn a_viable_route_wins_over_a_preferred_one_that_leads_nowhere() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 203.0.113.1").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "rip");
}

#[test]
fn where_nothing_is_viable_the_best_by_rank_stays_best_and_the_kernel_gets_nothing() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("rip: 10.0.0.0/8 via 203.0.113.2").unwrap();
    test.add("static: 10.0.0.0/8 via 203.0.113.1").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
}

#[test]
fn a_blackhole_needs_no_next_hop_and_flags_do_not_select() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap();
    test.add("static: 10.0.0.0/8 flags 2").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
    assert_eq!(test.effects(), ["10.0.0.0/8 blackhole"]);
}

#[test]
fn a_link_that_goes_down_promotes_the_next_best_and_one_that_returns_restores_it() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("rip: 10.0.0.0/8 via 198.51.100.1").unwrap();
    test.effects();
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    assert_eq!(test.effects(), ["10.0.0.0/8 via 198.51.100.1 dev 2"]);
    test.rib.handle_link(InterfaceIndex(1), "up1", true);
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
}

#[test]
fn links_told_anew_do_not_touch_routes_whose_links_are_still_there() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.effects();
    test.rib.handle_links_unknown();
    test.rib.handle_link(InterfaceIndex(1), "up1", true);
    test.rib.handle_address(
        InterfaceIndex(1),
        "192.0.2.0".parse().unwrap(),
        "192.0.2.0/24".parse().unwrap(),
    );
    test.rib.handle_links_complete();
    assert_eq!(test.effects(), [""; 0]);
    assert_eq!(test.rib.interface_name(InterfaceIndex(2)), None, "what was not told is gone");
}

#[test]
fn the_best_of_a_protocol_is_told_although_anothers_is_the_best_of_all() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let (rip, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap();
    let prefix = "10.0.0.0/8".parse().unwrap();
    let best = |best| {
        let found =
            test.rib.look_up(table(Family::Ipv4), prefix, LookUp::Exact, best, ViewSet(1)).unwrap();
        found.per_view[0].best
    };
    assert_eq!(best(Best::Of(Protocol::RIP)), Some((rip, test.entity("rip"))));
    assert_eq!(best(Best::Of(Protocol::BGP)), None, "no such route: told, but empty");
    assert_eq!(best(Best::Overall).map(|(_, owner)| owner), Some(test.entity("static")));
}

#[test]
fn look_ups_climb_from_an_address_to_the_default_route() {
    let mut test = TestRib::with_entities(["static"]);
    for prefix in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"] {
        test.add(&format!("static: {prefix} via 192.0.2.1")).unwrap();
    }
    test.add("static: 10.1.1.0/24 via 192.0.2.1 views 2").unwrap();
    let look = |how, prefix: &str| {
        let prefix = prefix.parse().unwrap();
        let found = test.rib.look_up(table(Family::Ipv4), prefix, how, Best::Overall, ViewSet(1));
        found.map(|found| found.prefix.to_string()).map_err(|error| error.kind)
    };
    assert_eq!(look(LookUp::MostSpecific, "10.1.1.1/32").unwrap(), "10.1.0.0/16", "unicast only");
    assert_eq!(look(LookUp::LessSpecific, "10.1.0.0/16").unwrap(), "10.0.0.0/8");
    assert_eq!(look(LookUp::LessSpecific, "10.0.0.0/8").unwrap(), "0.0.0.0/0");
    assert_eq!(look(LookUp::LessSpecific, "0.0.0.0/0"), Err(ErrorKind::NotFound));
    assert_eq!(look(LookUp::Exact, "10.1.1.0/24"), Err(ErrorKind::NotFound));
}

#[test]
fn any_view_tells_of_none_and_all_views_in_ascending_order() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 views 3").unwrap();
    let views = |views| {
        let prefix = "10.0.0.0/8".parse().unwrap();
        let found = test.rib.look_up(
            table(Family::Ipv4),
            prefix,
            LookUp::Exact,
            Best::Overall,
            ViewSet(views),
        );
        found.unwrap().per_view.iter().map(|record| record.view.id()).collect::<Vec<_>>()
    };
    assert_eq!(views(0), [0; 0]);
    assert_eq!(views(u32::MAX), [0, 1]);
}

#[test]
fn routes_that_lose_their_link_together_keep_their_incumbent() {
    let mut test = TestRib::with_entities(["static"]);
    let (first, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1 how 2").unwrap();
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    let routes = test.rib.routes(table(Family::Ipv4), "10.0.0.0/8".parse().unwrap()).unwrap();
    assert_eq!(routes[0].id, first);
    assert!(routes[0].route.best_in.contains(View::UNICAST));
}

#[test]
fn an_instance_can_leave_viability_out_of_account() {
    let mut policy = Policy::standard();
    let settings =
        InstanceSettings { viability: Viability::Ignored, ..InstanceSettings::default() };
    policy.instances = [(InstanceId(0), Instance::Ready(settings))].into();
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.register("rip", Family::Ipv4).unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap();
    test.add("static: 10.0.0.0/8 via 203.0.113.1").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "static");
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
}
