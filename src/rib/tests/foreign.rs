use super::super::{
    ForeignRoute, ForeignWay, GroupNews, Import, Instance, InstanceSettings, LookUp, NextHopOffer,
    Policy, Progress,
    testing::{TestRib, table},
};
use crate::model::{
    Caller, EntityKey, EntityState, ErrorKind, Family, FibStatus, Hop, InstanceId, InterfaceIndex,
    KernelProtocol, Metric, NextHopFlags, NextHopKey, Preference, Protocol, RouteFlags, View,
    ViewSet, Weight,
};

const IPV4: Family = Family::Ipv4;
const NETWORK: &str = "192.0.2.0/24";

/// `PREFIX by PROTOCOL [via ADDRESS] dev INTERFACE [metric N]`, or `PREFIX by PROTOCOL blackhole`.
fn foreign(text: &str) -> ForeignRoute {
    let mut words = text.split_whitespace();
    let to = words.next().unwrap().parse().unwrap();
    let (mut protocol, mut metric, mut gateway) = (KernelProtocol::KERNEL, 0, None);
    let mut way = ForeignWay::Special(crate::model::Special::Blackhole);
    while let (Some(word), Some(value)) = (words.next(), words.next()) {
        match word {
            "by" => protocol = KernelProtocol::parse(value).unwrap(),
            "metric" => metric = value.parse().unwrap(),
            "via" => gateway = Some(value.parse().unwrap()),
            "dev" | "mine" => {
                let interface = InterfaceIndex(value.parse().unwrap());
                let hops = Box::new([Hop { gateway, interface, weight: Weight::ONE }]);
                way = match word {
                    "dev" => ForeignWay::Out(hops),
                    _ => ForeignWay::Here(hops),
                };
            }
            _ => panic!("{word}"),
        }
    }
    ForeignRoute { to, protocol, metric: Metric(metric), way }
}

/// The kernel's table has these and no others.
fn tell(test: &mut TestRib, routes: &[&str]) {
    let now = test.now();
    let protocols =
        ["kernel", "static", "dhcp", "zebra"].map(|it| KernelProtocol::parse(it).unwrap());
    for protocol in protocols {
        test.rib.handle_foreign_unknown(table(IPV4), protocol);
    }
    for route in routes.iter().map(|route| foreign(route)) {
        if !test.rib.see_foreign_route(table(IPV4), &route, now) {
            test.rib.handle_foreign_route(table(IPV4), route, now).unwrap();
        }
    }
    for protocol in protocols {
        while let Some(gone) = test.rib.doubtful_foreign(table(IPV4), protocol) {
            test.rib.handle_foreign_gone(table(IPV4), &gone, now);
        }
    }
}

fn importing(protocol: &str, import: Import) -> TestRib {
    let mut settings = InstanceSettings::default();
    settings.imports.set(KernelProtocol::parse(protocol).unwrap(), import);
    let mut policy = Policy::standard();
    policy.instances.insert(InstanceId(0), Instance::Ready(settings));
    let mut test = TestRib::new(policy);
    for label in ["bgp", "ospf"] {
        test.register(label, IPV4).unwrap();
    }
    test
}

/// All routes to a destination: whose, preference, metric, flags, whether best.
fn routes(test: &TestRib, to: &str) -> Vec<String> {
    let routes = test.rib.routes(table(IPV4), to.parse().unwrap()).unwrap();
    let line = |view: &super::super::RouteView<'_>| {
        let (route, label) = (view.route, &test.rib.entity(view.route.owner).unwrap().label);
        let best = if route.best_in.contains(View::UNICAST) { " best" } else { "" };
        let (preference, metric, flags) =
            (route.rank.preference.0, route.rank.metric.0, route.flags.0);
        format!("{label} {preference} {metric} {flags:#x}{best}")
    };
    routes.iter().map(line).collect()
}

#[test]
fn a_connected_network_is_best_and_nothing_of_ours_is_installed_until_it_goes() {
    let mut test = TestRib::with_entities(["bgp"]);
    test.add("bgp: 192.0.2.0/24 via 198.51.100.1").unwrap();
    assert_eq!(test.effects(), ["192.0.2.0/24 via 198.51.100.1 dev 2"]);
    tell(&mut test, &["192.0.2.0/24 by kernel dev 1"]);
    assert_eq!(test.effects(), ["192.0.2.0/24 -"]);
    assert_eq!(routes(&test, NETWORK), ["kernel 1 0 0x10 best", "bgp 15 0 0x0"]);
    tell(&mut test, &[]);
    assert_eq!(test.effects(), ["192.0.2.0/24 via 198.51.100.1 dev 2"]);
    assert_eq!(routes(&test, NETWORK), ["bgp 15 0 0x0 best"]);
}

#[test]
fn what_is_told_again_is_the_same_route_and_no_change() {
    let mut test = TestRib::with_entities(["bgp"]);
    tell(&mut test, &["192.0.2.0/24 by kernel dev 1", "0.0.0.0/0 by dhcp via 192.0.2.9 dev 1"]);
    let id = |test: &TestRib| test.rib.routes(table(IPV4), NETWORK.parse().unwrap()).unwrap()[0].id;
    let (before, _) = (id(&test), test.effects());
    let follower = test.follow("bgp", 3, 3);
    tell(&mut test, &["192.0.2.0/24 by kernel dev 1", "0.0.0.0/0 by dhcp via 192.0.2.9 dev 1"]);
    assert_eq!((id(&test), test.effects()), (before, Vec::new()));
    assert_eq!(test.changed(follower), [""; 0]);
}

#[test]
fn where_only_an_observed_route_leads_that_is_said() {
    let mut test = TestRib::with_entities(["bgp"]);
    test.add("bgp: 172.16.0.0/12 via 10.1.1.1").unwrap();
    let look_up = |test: &TestRib| {
        let to = "10.1.1.1/32".parse().unwrap();
        test.rib.explain(table(IPV4), to, LookUp::MostSpecific).unwrap_err().message
    };
    let fault = |test: &TestRib| {
        let to = "172.16.0.0/12".parse().unwrap();
        let explained = test.rib.explain(table(IPV4), to, LookUp::Exact).unwrap();
        explained.candidates[0].next_hops[0].fault.clone().unwrap()
    };
    let only = " (only an observed route of dhcp leads there)";
    assert!(!look_up(&test).contains("observed") && !fault(&test).contains("observed"));
    tell(&mut test, &["0.0.0.0/0 by dhcp via 192.0.2.9 dev 1"]);
    assert!(look_up(&test).ends_with(only), "{}", look_up(&test));
    assert!(!fault(&test).contains("observed"), "a default would not count");
    tell(&mut test, &["10.0.0.0/8 by dhcp via 192.0.2.9 dev 1"]);
    assert!(fault(&test).ends_with(only), "{}", fault(&test));
}

#[test]
fn the_one_with_the_smallest_metric_is_told_whether_it_is_imported_or_not() {
    let mut test = importing("zebra", Import::Choose(Preference(0)));
    let first = |test: &TestRib| {
        let to = "10.0.0.0/8".parse().unwrap();
        let explained = test.rib.explain(table(IPV4), to, LookUp::Exact).unwrap();
        explained.others_first.map(|(protocol, metric)| (protocol.to_string(), metric.0))
    };
    test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(first(&test), None);
    let (zebra, fixed) =
        ("10.0.0.0/8 by zebra dev 3 metric 20", "10.0.0.0/8 by static dev 3 metric 10");
    tell(&mut test, &[zebra]);
    assert_eq!(first(&test), Some(("zebra".to_owned(), 20)));
    tell(&mut test, &[zebra, fixed]);
    assert_eq!(first(&test), Some(("static".to_owned(), 10)));
}

#[test]
fn one_that_is_observed_is_shown_in_no_view_and_never_best() {
    let mut test = TestRib::with_entities(["bgp"]);
    tell(&mut test, &["10.0.0.0/8 by dhcp via 192.0.2.9 dev 1 metric 100"]);
    assert_eq!(routes(&test, "10.0.0.0/8"), ["dhcp 4294967295 100 0x20"]);
    assert_eq!(test.destination("10.0.0.0/8", 0).unwrap().views, ViewSet::NONE);
    assert_eq!(test.destination("10.0.0.0/8", 1), None);
    test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(
        routes(&test, "10.0.0.0/8"),
        ["bgp 15 0 0x0 best", "dhcp 4294967295 100 0x20"],
        "listed behind those that take part"
    );
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
}

#[test]
fn one_that_is_imported_has_the_preference_that_policy_gives_it() {
    for (preference, level, best) in [(5, 5, true), (0, 150, false), (20, 20, false)] {
        let mut test = importing("zebra", Import::Choose(Preference(preference)));
        test.add("bgp: 10.0.0.0/8 via 198.51.100.1").unwrap();
        test.add("ospf: 10.0.0.0/8 via 198.51.100.2").unwrap();
        tell(&mut test, &["10.0.0.0/8 by zebra via 192.0.2.9 dev 1 metric 20"]);
        let found = routes(&test, "10.0.0.0/8");
        let mark = if best { " best" } else { "" };
        assert!(found.contains(&format!("zebra {level} 20 0x20{mark}")), "{found:?}");
        let ours = "10.0.0.0/8 via 198.51.100.1 dev 2";
        assert_eq!(test.effects(), [if best { "10.0.0.0/8 -" } else { ours }]);
        // Levels that are set anew are for those without a preference of their own.
        test.rib.set_level(Protocol::OTHER, Preference(7));
        let mut work = test.rib.reapplication(Protocol::OTHER);
        let now = test.now();
        while test.rib.reapply(&mut work, 1, now) == Progress::Unfinished {}
        let level = if preference == 0 { 7 } else { level };
        let found = routes(&test, "10.0.0.0/8");
        assert!(found.iter().any(|line| line.starts_with(&format!("zebra {level} "))), "{found:?}");
    }
}

#[test]
fn the_kernels_route_is_no_spare_for_one_of_ours() {
    let mut test = importing("static", Import::Choose(Preference(20)));
    test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    tell(&mut test, &["10.0.0.0/8 by static via 198.51.100.9 dev 2"]);
    test.effects();
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    assert_eq!(test.effects(), ["10.0.0.0/8 -"], "the kernel's own takes over");
    test.rib.handle_link(InterfaceIndex(1), "up1", true);
    let news = test.rib.poll_groups(usize::MAX);
    let spares = news.iter().filter_map(|news| match news {
        GroupNews::Changed(_, fate) => Some(fate.spare),
        GroupNews::Gone(_) => None,
    });
    assert_eq!(spares.collect::<Vec<_>>(), [None]);
}

#[test]
fn several_routes_of_others_to_a_destination_are_several_routes() {
    let mut test = importing("static", Import::Choose(Preference(5)));
    let all = [
        "10.0.0.0/8 by static via 192.0.2.9 dev 1 metric 7",
        "10.0.0.0/8 by static via 192.0.2.8 dev 1 metric 7",
        "10.0.0.0/8 by static metric 9",
        "10.0.0.0/8 by kernel mine 1 metric 3",
    ];
    tell(&mut test, &all);
    assert_eq!(
        routes(&test, "10.0.0.0/8"),
        ["kernel 1 3 0x40 best", "static 5 7 0x20", "static 5 7 0x20", "static 5 9 0x2"]
    );
    assert_eq!(test.rib.route_count(table(IPV4)), 4);
    tell(&mut test, &all[..1]);
    assert_eq!(routes(&test, "10.0.0.0/8"), ["static 5 7 0x20 best"]);
}

#[test]
fn their_owners_are_entities_of_the_service_that_nobody_can_be_or_speak_for() {
    let mut test = TestRib::with_entities(["bgp"]);
    assert_eq!(test.rib.poll_foreign_entities(), []);
    tell(&mut test, &["192.0.2.0/24 by kernel dev 1", "10.0.0.0/8 by dhcp via 192.0.2.9 dev 1"]);
    let new = test.rib.poll_foreign_entities();
    assert_eq!((new.len(), test.rib.poll_foreign_entities().len()), (2, 0));
    let owner = test.rib.entity(new[0]).unwrap();
    assert_eq!((owner.label.as_str(), owner.state), ("kernel", EntityState::Builtin));
    assert_eq!((owner.key.protocol, owner.best_routes), (Protocol::LOCAL, 1));
    let (key, caller) = (owner.key, Caller { bus_name: ":bgp".to_owned(), uid: 0 });
    let refusal = test.rib.authorize(new[0], &caller).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::AccessDenied);
    let protocol_instance = key.protocol_instance + 10; // zebra's
    for (key, taken) in [
        (key, true),
        (
            EntityKey {
                protocol: Protocol::OTHER,
                protocol_instance: key.protocol_instance + 9,
                ..key
            },
            true,
        ),
        (EntityKey { protocol_instance, ..key }, false),
    ] {
        let registration = super::super::Registration {
            key,
            label: String::new(),
            tenure: super::super::Tenure::Connection,
            terms: super::super::Terms::default(),
            credentials: super::super::Credentials::default(),
        };
        let now = test.now();
        let refusal = test.rib.register(registration, caller.clone(), now).err();
        let expected = taken.then_some(ErrorKind::AlreadyExists);
        assert_eq!(refusal.map(|refusal| refusal.kind), expected, "{key}");
    }
}

#[test]
fn beyond_the_limit_of_routes_they_are_left_out_and_come_when_there_is_room() {
    let mut policy = Policy::standard();
    policy.limits.routes = 2;
    let mut test = TestRib::new(policy);
    test.register("bgp", IPV4).unwrap();
    let (ours, _) = test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let all = ["192.0.2.0/24 by kernel dev 1", "198.51.100.0/24 by kernel dev 2"];
    tell(&mut test, &all[..1]);
    let now = test.now();
    let refusal = test.rib.handle_foreign_route(table(IPV4), foreign(all[1]), now).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    assert_eq!(test.rib.route_count(table(IPV4)), 2);
    test.delete("bgp", ours).unwrap();
    tell(&mut test, &all);
    assert_eq!(test.rib.route_count(table(IPV4)), 2);
}

#[test]
fn explaining_says_whose_the_best_route_is_and_that_others_are_only_observed() {
    let mut test = TestRib::with_entities(["bgp"]);
    test.add("bgp: 192.0.2.0/24 via 198.51.100.1").unwrap();
    tell(&mut test, &["192.0.2.0/24 by kernel dev 1", "192.0.2.0/24 by dhcp dev 1 metric 5"]);
    test.effects();
    let explained = test.rib.explain(table(IPV4), NETWORK.parse().unwrap(), LookUp::Exact).unwrap();
    assert_eq!(explained.fib, FibStatus::None);
    assert!(explained.wish.is_none());
    assert_eq!(
        explained.fib_reason,
        "the kernel's own route by kernel is best, and is left to its owner"
    );
    assert_eq!(
        explained.candidates.last().unwrap().reason,
        "it is only observed: the instance does not import the kernel's routes by dhcp"
    );
    assert_eq!(explained.candidates[0].view.route.flags, RouteFlags::LOCAL);
}

#[test]
fn a_connected_network_leads_nowhere_from_the_moment_its_address_is_gone() {
    for remote in [false, true] {
        let mut test = TestRib::with_entities(["bgp"]);
        test.rib.handle_address(
            InterfaceIndex(3),
            "203.0.113.1".parse().unwrap(),
            "203.0.113.0/24".parse().unwrap(),
        );
        test.rib.handle_link(InterfaceIndex(3), "up3", true);
        let key = NextHopKey { address: "203.0.113.9".parse().ok(), interface: InterfaceIndex(0) };
        let flags = if remote { NextHopFlags::REMOTE } else { NextHopFlags::default() };
        let offer = NextHopOffer { key, flags, weight: Weight::ONE, remote: None, private: &[] };
        let owner = test.entity("bgp");
        test.rib.add_next_hop(owner, offer).unwrap();
        test.add("bgp: 10.0.0.0/8 via 203.0.113.9").unwrap();
        tell(&mut test, &["203.0.113.0/24 by kernel dev 3"]);
        assert_eq!(test.effects(), ["10.0.0.0/8 via 203.0.113.9 dev 3"]);

        let (address, network) =
            ("203.0.113.1".parse().unwrap(), "203.0.113.0/24".parse().unwrap());
        test.rib.handle_address_gone(InterfaceIndex(3), address, network);
        assert_eq!(test.effects(), ["10.0.0.0/8 -"], "the kernel's route is outdated");
        tell(&mut test, &[]);
        test.rib.handle_address(InterfaceIndex(3), address, network);
        tell(&mut test, &["203.0.113.0/24 by kernel dev 3"]);
        assert_eq!(test.effects(), ["10.0.0.0/8 via 203.0.113.9 dev 3"]);
    }
}

#[test]
fn what_is_imported_can_be_what_others_lead_through() {
    let mut test = importing("zebra", Import::Choose(Preference(0)));
    test.add("bgp: 10.0.0.0/8 via 203.0.113.9").unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
    tell(&mut test, &["203.0.113.0/24 by zebra via 192.0.2.9 dev 1"]);
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.9 dev 1"]);
    tell(&mut test, &["203.0.113.0/24 by zebra dev 2"]);
    assert_eq!(test.effects(), ["10.0.0.0/8 via 203.0.113.9 dev 2"]);
    tell(&mut test, &["203.0.113.0/24 by static dev 2"]);
    assert_eq!(test.effects(), ["10.0.0.0/8 -"], "what is only observed leads nobody anywhere");
}

/// The route comes and goes so many times, so many milliseconds apart.
fn come_and_go(test: &mut TestRib, route: &str, times: u32, apart: u64) {
    for _ in 0..times {
        test.pass(apart);
        let now = test.now();
        test.rib.handle_foreign_route(table(IPV4), foreign(route), now).unwrap();
        test.rib.handle_foreign_gone(table(IPV4), &foreign(route), now);
    }
}

#[test]
fn what_keeps_coming_and_going_is_put_off_and_back_when_it_has_been_quiet() {
    let mut test = importing("zebra", Import::Choose(Preference(5)));
    let zebra = KernelProtocol::parse("zebra").unwrap();
    let theirs = "10.0.0.0/8 by zebra via 192.0.2.9 dev 1";
    test.add("bgp: 10.0.0.0/8 via 198.51.100.1").unwrap();
    come_and_go(&mut test, theirs, 8, 1000);
    tell(&mut test, &[theirs]);
    assert_eq!(routes(&test, "10.0.0.0/8"), ["bgp 15 0 0x0 best", "zebra 4294967295 0 0x20"]);
    assert!(test.rib.has_restless(table(IPV4), zebra));
    let explained =
        test.rib.explain(table(IPV4), "10.0.0.0/8".parse().unwrap(), LookUp::Exact).unwrap();
    assert_eq!(
        explained.candidates[1].reason,
        "it is put off for a minute: the kernel's routes by zebra to this destination keep coming \
         and going"
    );
    test.pass(59_000);
    tell(&mut test, &[theirs]);
    assert_eq!(routes(&test, "10.0.0.0/8")[0], "bgp 15 0 0x0 best");
    test.pass(1000);
    tell(&mut test, &[theirs]);
    assert_eq!(routes(&test, "10.0.0.0/8"), ["zebra 5 0 0x20 best", "bgp 15 0 0x0"]);
    assert!(!test.rib.has_restless(table(IPV4), zebra));
    // Whoever goes on has one chance a minute.
    tell(&mut test, &[]);
    tell(&mut test, &[theirs]);
    assert_eq!(routes(&test, "10.0.0.0/8")[0], "bgp 15 0 0x0 best");
}

#[test]
fn what_comes_and_goes_for_good_reasons_is_not_put_off() {
    let zebra = "10.0.0.0/8 by zebra via 192.0.2.9 dev 1";
    for (route, apart) in [(zebra, 60_000), ("10.0.0.0/8 by kernel dev 1", 1)] {
        let mut test = importing("zebra", Import::Choose(Preference(5)));
        come_and_go(&mut test, route, 20, apart);
        tell(&mut test, &[route]);
        assert!(routes(&test, "10.0.0.0/8")[0].ends_with(" best"), "{route}");
    }
    // Another way is no loss.
    let mut test = importing("zebra", Import::Choose(Preference(5)));
    for _ in 0..10 {
        tell(&mut test, &[zebra]);
        tell(&mut test, &["10.0.0.0/8 by zebra via 198.51.100.9 dev 2"]);
    }
    assert_eq!(routes(&test, "10.0.0.0/8"), ["zebra 5 0 0x20 best"]);
}

#[test]
fn others_have_a_limit_of_their_own() {
    let mut policy = Policy::standard();
    policy.limits.foreign_routes = 1;
    let mut test = TestRib::new(policy);
    test.register("bgp", IPV4).unwrap();
    let all = ["192.0.2.0/24 by kernel dev 1", "198.51.100.0/24 by dhcp dev 2"];
    tell(&mut test, &all[..1]);
    let now = test.now();
    let refusal = test.rib.handle_foreign_route(table(IPV4), foreign(all[1]), now).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    test.add("bgp: 10.0.0.0/8 via 192.0.2.1").unwrap();
    tell(&mut test, &[]);
    tell(&mut test, &all[1..]);
    assert_eq!(test.rib.route_count(table(IPV4)), 2);
}

#[test]
fn what_is_said_to_be_gone_goes_also_while_all_is_told_anew() {
    let mut test = TestRib::with_entities(["bgp"]);
    let route = "192.0.2.0/24 by kernel dev 1";
    let kernel = KernelProtocol::KERNEL;
    for anew in [false, true] {
        tell(&mut test, &[route]);
        let now = test.now();
        if anew {
            test.rib.handle_foreign_unknown(table(IPV4), kernel);
        }
        test.rib.handle_foreign_gone(table(IPV4), &foreign("192.0.2.0/24 by kernel dev 2"), now);
        assert_eq!(routes(&test, NETWORK).len(), 1, "that is another one");
        test.rib.handle_foreign_gone(table(IPV4), &foreign(route), now);
        assert_eq!(test.rib.route_count(table(IPV4)), 0);
    }
}
