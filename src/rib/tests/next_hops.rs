use super::super::{
    LookUp, NextHopOffer, NextHopView, Start,
    testing::{TestRib, table},
};
use crate::model::{
    Caller, ErrorKind, Family, InterfaceIndex, NextHopFlags, NextHopId, NextHopKey, Weight,
};

fn key(address: &str, interface: u32) -> NextHopKey {
    NextHopKey { address: address.parse().ok(), interface: InterfaceIndex(interface) }
}

fn offer(address: &str, interface: u32, weight: u32) -> NextHopOffer<'static> {
    let weight = Weight::new(weight).unwrap();
    NextHopOffer {
        key: key(address, interface),
        flags: NextHopFlags::default(),
        weight,
        remote: None,
        private: &[],
    }
}

#[test]
fn the_same_address_and_interface_are_the_same_next_hop() {
    let mut test = TestRib::with_entities(["ospf"]);
    let ospf = test.entity("ospf");
    let (first, new) = test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap();
    assert!(new);
    assert_eq!(test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 5)).unwrap(), (first, false));
    let (other, new) = test.rib.add_next_hop(ospf, offer("192.0.2.1", 1, 1)).unwrap();
    assert!(new && other != first, "another interface makes another next hop");
}

#[test]
fn a_new_weight_reaches_the_routes() {
    let mut test = TestRib::with_entities(["ospf"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 via 198.51.100.1").unwrap();
    test.effects();
    let ospf = test.entity("ospf");
    test.rib.add_next_hop(ospf, offer("198.51.100.1", 0, 3)).unwrap();
    assert_eq!(
        test.effects(),
        ["10.0.0.0/8 via 192.0.2.1 dev 1 weight 1 via 198.51.100.1 dev 2 weight 3"]
    );
}

#[test]
fn a_deleted_next_hop_is_not_used_any_more_and_its_key_is_free() {
    let mut test = TestRib::with_entities(["ospf"]);
    let ospf = test.entity("ospf");
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 via 198.51.100.1").unwrap();
    test.effects();
    let id = test.rib.find_next_hop(ospf, key("192.0.2.1", 0)).unwrap().id;
    test.rib.delete_next_hop(ospf, id).unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 via 198.51.100.1 dev 2"]);
    let deleted = test.rib.next_hop_in(table(Family::Ipv4), id).expect("a route still has it");
    assert!(deleted.next_hop.deleted);
    assert_eq!(test.rib.delete_next_hop(ospf, id).unwrap_err().kind, ErrorKind::NotFound);
    let (again, new) = test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap();
    assert!(new && again != id);
}

#[test]
fn the_last_route_takes_an_inline_next_hop_along_but_not_an_explicit_one() {
    let mut test = TestRib::with_entities(["ospf"]);
    let ospf = test.entity("ospf");
    test.rib.add_next_hop(ospf, offer("198.51.100.1", 0, 1)).unwrap();
    let (id, _) = test.add("ospf: 10.0.0.0/8 via 192.0.2.1 via 198.51.100.1").unwrap();
    assert_eq!(test.rib.next_hop_count(ospf), 2);
    test.delete("ospf", id).unwrap();
    assert_eq!(test.rib.next_hop_count(ospf), 1);
    assert!(test.rib.find_next_hop(ospf, key("198.51.100.1", 0)).is_ok());
}

#[test]
fn next_hops_are_private() {
    let mut test = TestRib::with_entities(["ospf", "rip"]);
    let (ospf, rip) = (test.entity("ospf"), test.entity("rip"));
    let (id, _) = test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap();
    assert_eq!(test.rib.delete_next_hop(rip, id).unwrap_err().kind, ErrorKind::AccessDenied);
    let missing = test.rib.find_next_hop(rip, key("192.0.2.1", 0)).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
    let unknown = NextHopId(99.try_into().unwrap());
    assert_eq!(test.rib.delete_next_hop(ospf, unknown).unwrap_err().kind, ErrorKind::InvalidHandle);
}

#[test]
fn an_id_of_the_other_familys_table_is_no_handle_here() {
    let mut test = TestRib::with_entities(["ospf"]);
    let ospf = test.entity("ospf");
    let (id, _) = test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap();
    let refusal = test.rib.next_hop_in(table(Family::Ipv6), id).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidHandle);
}

#[test]
fn without_an_interface_the_most_specific_connected_network_decides() {
    let mut test = TestRib::with_entities(["ospf"]);
    test.rib.handle_address(
        InterfaceIndex(2),
        "192.0.2.0".parse().unwrap(),
        "192.0.2.0/25".parse().unwrap(),
    );
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 2"]);
    test.rib.handle_address_gone(
        InterfaceIndex(2),
        "192.0.2.0".parse().unwrap(),
        "192.0.2.0/25".parse().unwrap(),
    );
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
}

/// Why the best route to 10.0.0.0/8 leads nowhere, and then what becomes of it without the address.
fn by_own_address(via: &str, link: u32, own: &str, network: &str) -> (String, Vec<String>) {
    let mut test = TestRib::with_entities(["ospf"]);
    test.add(&format!("ospf: 10.0.0.0/8 via {via}")).unwrap();
    let before = test.effects();
    let (link, own, network) =
        (InterfaceIndex(link), own.parse().unwrap(), network.parse().unwrap());
    test.rib.handle_address(link, own, network);
    let to = "10.0.0.0/8".parse().unwrap();
    let explained = test.rib.explain(table(Family::Ipv4), to, LookUp::Exact).unwrap();
    let why = explained.candidates[0].next_hops[0].fault.clone().unwrap_or_default();
    let with = test.effects();
    test.rib.handle_address_gone(link, own, network);
    let after = test.effects();
    assert!(after == before || with.is_empty(), "{before:?} {with:?} {after:?}");
    (why, with)
}

#[test]
fn a_next_hop_with_an_address_of_the_machine_leads_nowhere() {
    let nowhere = vec!["10.0.0.0/8 -".to_owned()];
    let v4 = "192.0.2.1 is an address of this machine";
    for (via, link, own, network, why) in [
        ("192.0.2.1", 1, "192.0.2.1", "192.0.2.0/24", v4),
        ("192.0.2.1@1", 1, "192.0.2.1", "192.0.2.0/24", v4),
        ("192.0.2.1@1", 2, "192.0.2.1", "198.51.100.9/32", v4),
        ("192.0.2.1", 3, "192.0.2.1", "198.51.100.9/32", v4),
        ("fe80::1@3", 3, "fe80::1", "fe80::/64", "fe80::1 is an address of this machine"),
    ] {
        assert_eq!(
            by_own_address(via, link, own, network),
            (why.to_owned(), nowhere.clone()),
            "{via} {link}"
        );
    }
    let elsewhere = by_own_address("fe80::1@3", 2, "fe80::1", "fe80::/64");
    assert_eq!(elsewhere, (String::new(), Vec::new()), "on another link it is a neighbour's");
}

#[test]
fn a_remote_next_hop_with_an_address_of_the_machine_leads_nowhere() {
    let mut test = TestRib::with_entities(["ospf"]);
    let ospf = test.entity("ospf");
    let remote = NextHopOffer { flags: NextHopFlags::REMOTE, ..offer("192.0.2.0", 0, 1) };
    let id = test.rib.add_next_hop(ospf, remote).unwrap().0;
    test.add("ospf: 10.0.0.0/8 via 192.0.2.0").unwrap();
    assert!(test.effects().iter().all(|line| !line.contains("via")));
    let link = InterfaceIndex(1);
    test.add("ospf: 192.0.2.0/32 via 198.51.100.1").unwrap();
    test.rib.handle_address_gone(
        link,
        "192.0.2.0".parse().unwrap(),
        "192.0.2.0/24".parse().unwrap(),
    );
    assert!(test.rib.next_hop_in(table(Family::Ipv4), id).is_ok());
    assert!(test.effects().contains(&"10.0.0.0/8 via 198.51.100.1 dev 2".to_owned()));
}

#[test]
fn two_names_of_one_way_add_their_shares() {
    let mut test = TestRib::with_entities(["ospf"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 via 192.0.2.1@1 via 198.51.100.1").unwrap();
    assert_eq!(
        test.effects(),
        ["10.0.0.0/8 via 192.0.2.1 dev 1 weight 2 via 198.51.100.1 dev 2 weight 1"]
    );
}

#[test]
fn an_entity_has_a_bounded_number_of_next_hops() {
    let mut policy = super::super::Policy::standard();
    policy.limits.next_hops = 1;
    let mut test = TestRib::new(policy);
    let ospf = test.register("ospf", Family::Ipv4).unwrap();
    test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap();
    let refusal = test.rib.add_next_hop(ospf, offer("192.0.2.2", 0, 1)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    let inline = test.add("ospf: 10.0.0.0/8 via 192.0.2.2").unwrap_err();
    assert_eq!(inline.kind, ErrorKind::NotEnoughMemory);
}

#[test]
fn a_next_hop_named_without_a_weight_keeps_the_one_it_has() {
    let mut test = TestRib::with_entities(["ospf"]);
    let ospf = test.entity("ospf");
    test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 7)).unwrap();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 via 198.51.100.1").unwrap();
    assert_eq!(
        test.effects(),
        ["10.0.0.0/8 via 192.0.2.1 dev 1 weight 7 via 198.51.100.1 dev 2 weight 1"]
    );
}

#[test]
fn deleting_and_adding_again_does_not_evade_the_limit() {
    let mut policy = super::super::Policy::standard();
    policy.limits.next_hops = 2;
    let mut test = TestRib::new(policy);
    let ospf = test.register("ospf", Family::Ipv4).unwrap();
    for n in 0..2 {
        let (id, _) = test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap();
        test.add(&format!("ospf: 10.{n}.0.0/16 via 192.0.2.1")).unwrap();
        test.rib.delete_next_hop(ospf, id).unwrap();
    }
    let refusal = test.rib.add_next_hop(ospf, offer("192.0.2.1", 0, 1)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
}

#[test]
fn an_entity_has_a_bounded_number_of_lists() {
    let mut policy = super::super::Policy::standard();
    policy.limits.next_hop_lists = 1;
    let mut test = TestRib::new(policy);
    test.register("ospf", Family::Ipv4).unwrap();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("ospf: 11.0.0.0/8 via 192.0.2.1").expect("the same list");
    let refusal = test.add("ospf: 12.0.0.0/8 via 192.0.2.1 via 192.0.2.2").unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    assert_eq!(test.rib.next_hop_count(test.entity("ospf")), 1);
}

#[test]
fn both_families_take_the_same_path() {
    let mut test = TestRib::with_entities([]);
    test.register("ospf", Family::Ipv6).unwrap();
    test.add("ospf: 2001:db8:100::/48 via 2001:db8:3::1").unwrap();
    test.add("ospf: ::/0 via fe80::1@3").unwrap();
    assert_eq!(
        test.effects(),
        ["2001:db8:100::/48 via 2001:db8:3::1 dev 3", "::/0 via fe80::1 dev 3"]
    );
    let refusal = test.add("ospf: ::/0 via 192.0.2.1").unwrap_err();
    assert!(refusal.message.contains("an IPv4 address in an IPv6 table"), "{refusal}");
}

/// The addresses of a client's next hops, read one a page.
fn walked(test: &TestRib, start: Start) -> Vec<String> {
    let caller = Caller { bus_name: ":static".to_owned(), uid: 1000 };
    let mut walk = test.rib.walk_next_hops(table(Family::Ipv4), &caller, start).unwrap();
    let mut found = Vec::new();
    while !walk.is_done() {
        let page = test.rib.next_next_hops(&mut walk, 1).unwrap();
        found.extend(page.iter().map(|view| view.next_hop.key.to_string()));
    }
    found
}

#[test]
fn a_walk_over_next_hops_tells_the_callers_own_in_order_of_address_and_interface() {
    let mut test = TestRib::with_entities(["static", "ospf"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.2").unwrap();
    for way in ["192.0.2.9@2", "192.0.2.10@1", "192.0.2.9@1", "@3", "198.51.100.1@0"] {
        test.add(&format!("static: 10.0.0.0/8 via {way} how 2")).unwrap();
    }
    let start = |text: &str| text.parse().unwrap();
    let all = [
        "interface 3",
        "192.0.2.9 on interface 1",
        "192.0.2.9 on interface 2",
        "192.0.2.10 on interface 1",
        "198.51.100.1 on interface 0",
    ];
    assert_eq!(walked(&test, Start::Beginning), all);
    assert_eq!(walked(&test, Start::At(start("192.0.2.10/32"))), all[3..]);
    assert_eq!(walked(&test, Start::Within(start("192.0.2.0/24"))), all[1..4]);
    assert_eq!(walked(&test, Start::Within(start("192.0.2.9/32"))), all[1..3]);
    assert_eq!(walked(&test, Start::Within(start("0.0.0.0/0"))), all);
}

#[test]
fn a_walk_at_the_ipv6_address_0_tells_only_ipv6_routers() {
    let mut test = TestRib::with_entities(["static"]);
    for way in ["@3", "192.0.2.1@1", "fe80::1@2"] {
        test.add(&format!("static: 10.0.0.0/8 via {way} how 2")).unwrap();
    }
    let everything = "::/0".parse().unwrap();
    for start in [Start::At(everything), Start::Within(everything)] {
        assert_eq!(walked(&test, start), ["fe80::1 on interface 2"]);
    }
}

#[test]
fn a_walk_over_next_hops_survives_changes_and_needs_a_registration() {
    let mut test = TestRib::with_entities(["static"]);
    for way in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        test.add(&format!("static: 10.0.0.0/8 via {way} how 2")).unwrap();
    }
    let caller = |name: &str| Caller { bus_name: name.to_owned(), uid: 1000 };
    let ipv4 = table(Family::Ipv4);
    let mut walk = test.rib.walk_next_hops(ipv4, &caller(":static"), Start::Beginning).unwrap();
    let address = |page: Vec<NextHopView<'_>>| {
        page.iter().map(|view| view.next_hop.key.address.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(address(test.rib.next_next_hops(&mut walk, 2).unwrap()), ["192.0.2.1", "192.0.2.2"]);
    let routes = test.rib.routes(ipv4, "10.0.0.0/8".parse().unwrap()).unwrap();
    let second = routes[1].id;
    test.delete("static", second).unwrap();
    assert_eq!(address(test.rib.next_next_hops(&mut walk, 9).unwrap()), ["192.0.2.3"]);
    assert!(walk.is_done());
    let refusal = test.rib.next_next_hops(&mut walk, 0).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
    let refusal = test.rib.walk_next_hops(ipv4, &caller(":nobody"), Start::Beginning).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
}
