use std::collections::BTreeMap;

use super::super::{
    GroupNews, Instance, InstanceSettings, LookUp, NextHopOffer, NextHopView, Policy, ViaDefault,
    Viability,
    testing::{TestRib, table},
};
use crate::model::{
    ErrorKind, Family, InstanceId, InterfaceIndex, NextHopFlags, NextHopId, NextHopKey, Prefix,
    Weight, Wish,
};

const UP1: InterfaceIndex = InterfaceIndex(1);

fn with(settings: InstanceSettings) -> TestRib {
    let instances = BTreeMap::from([(InstanceId(0), Instance::Ready(settings))]);
    let mut test = TestRib::new(Policy { instances, ..Policy::standard() });
    for label in ["static", "ospf", "bgp"] {
        test.register(label, Family::Ipv4).unwrap();
    }
    test
}

fn three() -> TestRib {
    with(InstanceSettings::default())
}

/// A next hop as `10.9.9.9@interface`, with these flags and this weight.
fn put(test: &mut TestRib, label: &str, text: &str, flags: u32, weight: u32) -> NextHopId {
    let (address, interface) = text.split_once('@').unwrap_or((text, "0"));
    let interface = InterfaceIndex(interface.parse().unwrap());
    let key = NextHopKey { address: address.parse().ok(), interface };
    let (flags, weight) = (NextHopFlags(flags), Weight::new(weight).unwrap());
    let offer = NextHopOffer { key, flags, weight, remote: None, private: &[] };
    test.rib.add_next_hop(test.entity(label), offer).unwrap().0
}

fn view(test: &TestRib, id: NextHopId) -> NextHopView<'_> {
    test.rib.next_hop_in(table(Family::Ipv4), id).unwrap()
}

/// What a destination is wished to be.
fn wish(test: &TestRib, to: &str) -> String {
    let to = to.parse().unwrap();
    let explained = test.rib.explain(table(Family::Ipv4), to, LookUp::Exact).unwrap();
    explained.wish.map_or_else(|| "-".to_owned(), |wish| wish.to_string())
}

/// Why packets cannot follow the first next hop of the best route, or how they do.
fn why(test: &TestRib, to: &str) -> String {
    let to = to.parse().unwrap();
    let explained = test.rib.explain(table(Family::Ipv4), to, LookUp::Exact).unwrap();
    let of = &explained.candidates[0].next_hops[0];
    assert!(of.fault.is_none() || of.way.is_none());
    of.fault.clone().or_else(|| of.way.clone()).unwrap()
}

/// The spare way of the list that the first route to a destination has.
fn spare(test: &TestRib, to: &str) -> Option<String> {
    let destination = test.rib.destination(table(Family::Ipv4), to.parse().unwrap()).unwrap();
    let route = test.rib.routes.get(destination.routes()[0]).unwrap();
    let spare = test.rib.next_hops.set(route.next_hops).unwrap().spare?;
    Some(format!("via {} dev {}", spare.gateway.unwrap(), spare.interface))
}

#[test]
fn a_next_hop_on_no_network_is_reached_by_the_route_to_it() {
    let mut test = three();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    assert_eq!(test.effects(), ["20.0.0.0/8 -"]);
    let (id, _) = test.add("ospf: 10.9.0.0/16 via 192.0.2.1").unwrap();
    let mut effects = test.effects();
    effects.sort();
    assert_eq!(effects, ["10.9.0.0/16 via 192.0.2.1 dev 1", "20.0.0.0/8 via 192.0.2.1 dev 1"]);
    test.add("ospf: 10.9.0.0/16 via 198.51.100.1").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 198.51.100.1 dev 2");
    test.delete("ospf", id).unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "-");
}

#[test]
fn a_next_hop_on_a_connected_network_needs_no_route_unless_it_is_remote() {
    let mut test = three();
    test.add("ospf: 192.0.2.7/32 via 198.51.100.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 192.0.2.7").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.7 dev 1");
    put(&mut test, "bgp", "192.0.2.7", NextHopFlags::REMOTE.0, 1);
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 198.51.100.1 dev 2");
    put(&mut test, "bgp", "192.0.2.7", 0, 1);
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.7 dev 1");
}

#[test]
fn a_network_that_is_lost_leaves_its_next_hops_to_the_routes() {
    let mut test = three();
    test.add("ospf: 192.0.2.0/24 via 198.51.100.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 192.0.2.7").unwrap();
    test.rib.handle_link(UP1, "up1", false);
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 198.51.100.1 dev 2");
    test.rib.handle_link(UP1, "up1", true);
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.7 dev 1");
    let network: Prefix = "192.0.2.0/24".parse().unwrap();
    test.rib.handle_address_gone(UP1, network.address(), network);
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 198.51.100.1 dev 2");
}

#[test]
fn the_most_specific_destination_that_packets_can_follow_decides() {
    let mut test = three();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let (nearer, _) = test.add("static: 10.9.0.0/16 via 198.51.100.1").unwrap();
    test.add("static: 10.9.9.0/24 via 203.0.113.1").unwrap();
    test.add("static: 10.9.9.9/32 via 192.0.2.2 views 2").unwrap();
    test.add("static: 10.8.0.0/16 via 192.0.2.2").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 198.51.100.1 dev 2");
    test.delete("static", nearer).unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.1 dev 1");
}

#[test]
fn only_what_depends_on_a_destination_is_told_of_again() {
    let mut test = three();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("ospf: 10.9.0.0/16 via 192.0.2.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    test.add("bgp: 21.0.0.0/8 via 10.8.8.8").unwrap();
    test.effects();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 metric 7").unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"], "the way is the same");
    test.add("ospf: 10.0.0.0/8 via 192.0.2.2").unwrap();
    let mut effects = test.effects();
    effects.sort();
    assert_eq!(effects, ["10.0.0.0/8 via 192.0.2.2 dev 1", "21.0.0.0/8 via 192.0.2.2 dev 1"]);
}

#[test]
fn chains_lead_over_eight_destinations_and_no_further() {
    let mut test = three();
    test.add("static: 10.1.0.0/16 via 192.0.2.1").unwrap();
    for level in 2..=10 {
        let nearer = level - 1;
        test.add(&format!("static: 10.{level}.0.0/16 via 10.{nearer}.0.1")).unwrap();
    }
    assert_eq!(wish(&test, "10.9.0.0/16"), "via 192.0.2.1 dev 1");
    assert_eq!(wish(&test, "10.10.0.0/16"), "-");
    assert_eq!(
        why(&test, "10.10.0.0/16"),
        "it is looked for in 10.9.0.0/16 (route 9 of static/0), which leads on and on, over 8 \
         destinations"
    );
    test.add("static: 10.4.0.0/16 via 198.51.100.1").unwrap();
    assert_eq!(wish(&test, "10.10.0.0/16"), "via 198.51.100.1 dev 2");
}

#[test]
fn a_next_hop_shares_its_weight_among_the_ways_it_leads_by() {
    let mut test = three();
    put(&mut test, "ospf", "198.51.100.1", 0, 3);
    put(&mut test, "bgp", "10.9.9.9", 0, 2);
    test.add("ospf: 10.9.0.0/16 via 192.0.2.1 via 198.51.100.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9 via 192.0.2.9").unwrap();
    assert_eq!(
        wish(&test, "20.0.0.0/8"),
        "via 192.0.2.1 dev 1 weight 1 via 198.51.100.1 dev 2 weight 3 via 192.0.2.9 dev 1 weight 2"
    );
    test.add("bgp: 21.0.0.0/8 via 10.9.9.9 via 192.0.2.1").unwrap();
    assert_eq!(
        wish(&test, "21.0.0.0/8"),
        "via 192.0.2.1 dev 1 weight 1 via 198.51.100.1 dev 2 weight 1"
    );
}

#[test]
fn a_next_hop_comes_to_as_many_ways_as_a_route_may_have_next_hops() {
    let mut policy = Policy::standard();
    policy.limits.next_hops_per_route = 2;
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.add("static: 10.9.0.0/16 via 192.0.2.1 via 192.0.2.2").unwrap();
    test.add("static: 10.8.0.0/16 via 192.0.2.3 via 192.0.2.4").unwrap();
    test.add("static: 20.0.0.0/8 via 10.9.9.9 via 10.8.8.8").unwrap();
    assert_eq!(
        wish(&test, "20.0.0.0/8"),
        "via 192.0.2.1 dev 1 weight 1 via 192.0.2.2 dev 1 weight 1"
    );
}

#[test]
fn a_bounded_number_of_addresses_is_looked_up() {
    let mut policy = Policy::standard();
    policy.limits.looked_up_addresses = 1;
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.add("static: 20.0.0.0/8 via 10.9.9.9").unwrap();
    test.add("static: 21.0.0.0/8 via 10.9.9.9 via 192.0.2.1").unwrap();
    let refusal = test.add("static: 22.0.0.0/8 via 10.9.9.8").unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    let key = NextHopKey { address: "192.0.2.1".parse().ok(), interface: InterfaceIndex(0) };
    let (flags, weight) = (NextHopFlags::REMOTE, Weight::ONE);
    let offer = NextHopOffer { key, flags, weight, remote: None, private: &[] };
    let refusal = test.rib.add_next_hop(test.entity("static"), offer).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    test.rib.handle_link(UP1, "up1", false);
    test.add("static: 10.0.0.0/8 via 198.51.100.1").unwrap();
    assert_eq!(wish(&test, "21.0.0.0/8"), "via 198.51.100.1 dev 2", "links may go all the same");
}

#[test]
fn on_a_link_without_a_router_the_next_hop_is_its_own_gateway() {
    let mut test = three();
    test.add("static: 10.9.0.0/16 via @2").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    test.add("bgp: 21.0.0.0/8 via 10.9.9.8").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 10.9.9.9 dev 2");
    assert_eq!(wish(&test, "21.0.0.0/8"), "via 10.9.9.8 dev 2");
    assert_eq!(wish(&test, "10.9.0.0/16"), "dev 2");
    assert_eq!(
        why(&test, "20.0.0.0/8"),
        "10.9.9.9 is reached through 10.9.0.0/16 (route 1 of static/0), which leads to up2"
    );
}

#[test]
fn a_default_route_leads_to_next_hops_only_where_that_is_configured() {
    for (via_default, way) in
        [(ViaDefault::Refused, "-"), (ViaDefault::Allowed, "via 192.0.2.1 dev 1")]
    {
        let mut test = with(InstanceSettings { via_default, ..InstanceSettings::default() });
        test.add("static: 0.0.0.0/0 via 192.0.2.1").unwrap();
        test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
        assert_eq!(wish(&test, "20.0.0.0/8"), way);
        if via_default == ViaDefault::Refused {
            assert_eq!(
                why(&test, "20.0.0.0/8"),
                "no interface that is up has a network with 10.9.9.9, and no route leads there but \
                 the default, which does not count here (resolve-via-default)"
            );
        }
    }
}

#[test]
fn a_route_that_drops_packets_leads_no_next_hop_on() {
    for (flags, why_not) in
        [(2, "drops packets"), (4, "drops packets"), (64, "leads to this machine itself")]
    {
        let mut test = three();
        test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
        test.add(&format!("static: 10.9.0.0/16 via 192.0.2.1 flags {flags}")).unwrap();
        test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
        assert_eq!(wish(&test, "20.0.0.0/8"), "-");
        let expected = "it is looked for in 10.9.0.0/16 (route 2 of static/0), which ";
        assert_eq!(why(&test, "20.0.0.0/8"), format!("{expected}{why_not}"));
    }
}

#[test]
fn what_is_not_for_the_kernel_is_passed_over() {
    let mut test = three();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 10.9.0.0/16 via 198.51.100.1 flags 8").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.1 dev 1");
}

#[test]
fn where_viability_does_not_count_a_best_route_that_leads_nowhere_is_passed_over() {
    let settings =
        InstanceSettings { viability: Viability::Ignored, ..InstanceSettings::default() };
    let mut test = with(settings);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 10.9.0.0/16 via 203.0.113.1").unwrap();
    test.add("ospf: 10.9.0.0/16 via 198.51.100.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.1 dev 1");
}

#[test]
fn a_remote_next_hop_that_names_a_link_leads_by_that_link_only() {
    let mut test = three();
    test.add("ospf: 10.9.0.0/16 via 192.0.2.1 via 198.51.100.1").unwrap();
    put(&mut test, "bgp", "10.9.9.9@2", NextHopFlags::REMOTE.0, 1);
    put(&mut test, "bgp", "10.9.9.9@3", NextHopFlags::REMOTE.0, 1);
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9@2").unwrap();
    test.add("bgp: 21.0.0.0/8 via 10.9.9.9@3").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 198.51.100.1 dev 2");
    assert_eq!(
        why(&test, "21.0.0.0/8"),
        "it is looked for in 10.9.0.0/16 (route 1 of ospf/0), which does not lead by interface 3"
    );
}

#[test]
fn an_ipv6_router_is_looked_up_in_the_ipv6_table() {
    let mut test = three();
    test.register("isis", Family::Ipv6).unwrap();
    test.add("bgp: 20.0.0.0/8 via 2001:db8:9::9").unwrap();
    test.add("isis: 2001:db8:9::/48 via 2001:db8:3::1").unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 2001:db8:3::1 dev 3");
}

#[test]
fn a_route_never_leads_through_itself() {
    let mut test = three();
    test.add("bgp: 10.9.9.9/32 via 10.9.9.9").unwrap();
    assert_eq!(wish(&test, "10.9.9.9/32"), "-");
    assert_eq!(why(&test, "10.9.9.9/32"), "the way to it leads through this route itself");
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    // Preferred, yet it would take from under itself what it stands on.
    let (id, _) = test.add("ospf: 10.9.9.9/32 via 192.0.2.1").unwrap();
    assert_eq!(test.best("10.9.9.9/32"), "ospf");
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.1 dev 1");
    test.delete("ospf", id).unwrap();
    assert_eq!(wish(&test, "20.0.0.0/8"), "-");
}

#[test]
fn routes_that_lead_through_each_other_fall_with_what_they_stood_on() {
    let mut test = three();
    test.add("static: 192.0.2.0/24 via 203.0.113.1").unwrap();
    test.add("static: 203.0.113.0/24 via 192.0.2.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 203.0.113.9").unwrap();
    assert_eq!(wish(&test, "203.0.113.0/24"), "via 192.0.2.1 dev 1");
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.1 dev 1");
    test.rib.handle_link(UP1, "up1", false);
    for to in ["192.0.2.0/24", "203.0.113.0/24", "20.0.0.0/8"] {
        assert_eq!(wish(&test, to), "-", "{to}");
    }
    test.rib.handle_link(UP1, "up1", true);
    assert_eq!(wish(&test, "192.0.2.0/24"), "via 192.0.2.1 dev 1");
    assert_eq!(wish(&test, "20.0.0.0/8"), "via 192.0.2.1 dev 1");
}

#[test]
fn of_two_preferred_routes_through_each_other_neither_is_followed_whoever_came_first() {
    let ways = [
        "static: 10.1.0.0/16 via 10.2.0.1",
        "static: 10.2.0.0/16 via 10.1.0.1",
        "ospf: 10.1.0.0/16 via 192.0.2.1",
        "ospf: 10.2.0.0/16 via 198.51.100.1",
    ];
    for first in 0..4 {
        let mut test = three();
        for way in ways.iter().cycle().skip(first).take(4) {
            test.add(way).unwrap();
        }
        assert_eq!(test.best("10.1.0.0/16"), "ospf", "{first}");
        assert_eq!(test.best("10.2.0.0/16"), "ospf", "{first}");
    }
}

#[test]
fn what_becomes_best_by_another_route_is_told_to_all_its_owner_included() {
    let mut test = three();
    test.add("static: 20.0.0.0/8 via 10.9.9.9").unwrap();
    test.add("ospf: 20.0.0.0/8 via 192.0.2.1").unwrap();
    let follower = test.follow("static", 1, 0x2_0002);
    test.add("static: 10.9.0.0/16 via 198.51.100.1").unwrap();
    assert_eq!(test.best("20.0.0.0/8"), "static");
    let (page, _) = test.rib.best_changes(table(Family::Ipv4), follower, 10).unwrap();
    let told: Vec<String> = page.iter().map(|change| change.to.to_string()).collect();
    assert_eq!(told, ["20.0.0.0/8"], "the route to 10.9.0.0/16 is its own doing");
}

#[test]
fn a_route_in_hold_down_leads_no_next_hop_on() {
    let mut test = three();
    let (id, _) = test.add("ospf: 10.9.0.0/16 via 192.0.2.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    test.hold("bgp", "10.9.0.0/16", 1, 1000).unwrap();
    test.delete("ospf", id).unwrap();
    assert_eq!(test.held("10.9.0.0/16"), [0]);
    assert_eq!(wish(&test, "20.0.0.0/8"), "-");
    test.pass(1000);
    assert_eq!(wish(&test, "20.0.0.0/8"), "-");
}

#[test]
fn a_next_hop_tells_the_chain_of_destinations_that_leads_to_it() {
    let mut test = three();
    test.add("static: 10.1.0.0/16 via 198.51.100.1 via 192.0.2.1").unwrap();
    test.add("ospf: 10.2.0.0/16 via 10.1.0.1").unwrap();
    let far = put(&mut test, "bgp", "10.2.0.1", 0, 1);
    test.add("bgp: 20.0.0.0/8 via 10.2.0.1").unwrap();
    let through: Vec<String> = view(&test, far).through.iter().map(Prefix::to_string).collect();
    assert_eq!(through, ["10.2.0.0/16", "10.1.0.0/16"]);
    let hops = view(&test, far).next_hop.hops.iter().map(|hop| hop.interface.0);
    assert_eq!(hops.collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        why(&test, "20.0.0.0/8"),
        "10.2.0.1 is reached through 10.2.0.0/16 (route 2 of ospf/0), which leads to 10.1.0.1, \
         reached through 10.1.0.0/16 (route 1 of static/0), which leads to 198.51.100.1 on up2"
    );
    let near = put(&mut test, "bgp", "192.0.2.9", 0, 1);
    assert!(view(&test, near).through.is_empty());
}

#[test]
fn a_list_has_a_spare_way_while_the_destination_it_leads_through_has_another_by_another_link() {
    let mut test = three();
    test.add("static: 10.9.0.0/16 via 192.0.2.1").unwrap();
    test.add("static: 20.0.0.0/8 via 10.9.9.9").unwrap();
    assert_eq!(spare(&test, "20.0.0.0/8"), None, "there is no second route");
    let (second, _) = test.add("ospf: 10.9.0.0/16 via 192.0.2.2").unwrap();
    assert_eq!(spare(&test, "20.0.0.0/8"), None, "it leaves by the same link");
    test.add("ospf: 10.9.0.0/16 via 192.0.2.2 via 198.51.100.1").unwrap();
    assert_eq!(spare(&test, "20.0.0.0/8").as_deref(), Some("via 198.51.100.1 dev 2"));
    test.add("bgp: 20.0.0.0/8 via 10.9.9.8").unwrap();
    test.rib.handle_link(InterfaceIndex(2), "up2", false);
    assert_eq!(spare(&test, "20.0.0.0/8"), None, "the link is down");
    test.rib.handle_link(InterfaceIndex(2), "up2", true);
    assert_eq!(spare(&test, "20.0.0.0/8").as_deref(), Some("via 198.51.100.1 dev 2"));
    test.delete("ospf", second).unwrap();
    assert_eq!(spare(&test, "20.0.0.0/8"), None);
    assert_eq!(spare(&test, "10.9.0.0/16"), None, "what needs no other route has none");
}

#[test]
fn the_kernel_hears_of_a_spare_way_that_comes_or_goes() {
    let mut test = three();
    test.add("static: 10.9.0.0/16 via 192.0.2.1").unwrap();
    test.add("bgp: 20.0.0.0/8 via 10.9.9.9").unwrap();
    let wish = |test: &TestRib| {
        let destination = test.rib.destination(table(Family::Ipv4), "20.0.0.0/8".parse().unwrap());
        destination.unwrap().wish
    };
    let spare = |test: &mut TestRib| {
        let group = wish(test);
        let news = test.rib.poll_groups(usize::MAX);
        news.iter().find_map(|news| match news {
            GroupNews::Changed(id, fate) if Some(Wish::Group(*id)) == group => {
                Some(fate.spare.map(|hop| hop.interface.0))
            }
            GroupNews::Changed(..) | GroupNews::Gone(_) => None,
        })
    };
    assert_eq!(spare(&mut test), Some(None));
    let (second, _) = test.add("ospf: 10.9.0.0/16 via 198.51.100.1").unwrap();
    assert_eq!(spare(&mut test), Some(Some(2)));
    test.add("bgp: 30.0.0.0/8 via 198.51.100.1").unwrap();
    assert_eq!(spare(&mut test), None, "nothing is new");
    test.delete("ospf", second).unwrap();
    assert_eq!(spare(&mut test), Some(None));
}

#[test]
fn a_route_that_would_lead_through_itself_takes_nobodys_place_in_the_kernel() {
    let mut test = three();
    test.add("ospf: 10.9.9.9/32 via 192.0.2.1").unwrap();
    test.add("bgp: 10.9.9.9/32 via 10.9.9.9").unwrap();
    test.effects();
    test.rib.handle_link(UP1, "up1", false);
    assert_eq!(test.effects(), ["10.9.9.9/32 -"]);
    test.rib.handle_link(UP1, "up1", true);
    assert_eq!(test.effects(), ["10.9.9.9/32 via 192.0.2.1 dev 1"]);
}

#[test]
fn what_a_chain_ends_in_counts_for_eight_and_a_circle_counts_for_nobody() {
    let mut test = three();
    let at = |n: u32| format!("10.{}.{}.", n / 250, n % 250);
    for n in 0..400 {
        let (own, next) = (at(n), at(n + 1));
        test.add(&format!("static: {own}0/24 via {next}1")).unwrap();
    }
    let (last, _) = test.add(&format!("static: {}0/24 via 192.0.2.1", at(400))).unwrap();
    assert_eq!(wish(&test, &format!("{}0/24", at(392))), "via 192.0.2.1 dev 1");
    assert_eq!(wish(&test, &format!("{}0/24", at(391))), "-", "that is too far");
    test.add(&format!("static: {}0/24 via {}1", at(400), at(0))).unwrap();
    assert_eq!(wish(&test, &format!("{}0/24", at(399))), "-");
    test.delete("static", last).unwrap();
    assert_eq!(wish(&test, &format!("{}0/24", at(399))), "-");
}

#[test]
fn circles_that_wait_for_circles_come_to_an_end() {
    let mut test = three();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    // More of them than are looked at one after the other.
    for n in (0..80).rev() {
        let next = n + 1;
        test.add(&format!("static: 10.0.{n}.0/24 via 10.0.{n}.1 via 10.0.{next}.1")).unwrap();
    }
    let wishes = |test: &TestRib| (0..80).map(|n| wish(test, &format!("10.0.{n}.0/24"))).collect();
    let before: Vec<String> = wishes(&test);
    assert_eq!(before[79], "via 192.0.2.1 dev 1");
    test.rib.handle_link(UP1, "up1", false);
    let without: Vec<String> = wishes(&test);
    assert!(without.iter().all(|wish| wish == "-"), "{without:?}");
    test.rib.handle_link(UP1, "up1", true);
    assert_eq!(wishes(&test)[79], before[79]);
}
