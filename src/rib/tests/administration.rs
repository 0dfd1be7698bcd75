use super::super::{
    Instance, Policy, Progress,
    testing::{TestRib, table},
};
use crate::model::{ErrorKind, Family, FibStatus, InstanceId, Preference, Protocol};

const TO: &str = "10.0.0.0/8";

/// Ranks all routes of a protocol again, in slices of this many; returns how many slices it took.
fn reapply(test: &mut TestRib, protocol: Protocol, count: usize) -> usize {
    let mut work = test.rib.reapplication(protocol);
    let now = test.now();
    let mut slices = 1;
    while test.rib.reapply(&mut work, count, now) == Progress::Unfinished {
        slices += 1;
    }
    slices
}

#[test]
fn a_new_level_counts_for_later_offers_and_for_earlier_ones_when_it_is_reapplied() {
    let mut test = TestRib::with_entities(["ospf", "bgp"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("bgp: 10.0.0.0/8 via 192.0.2.2").unwrap();
    test.add("ospf: 10.1.0.0/16 via 192.0.2.1").unwrap();
    test.rib.set_level(Protocol::OSPF, Preference(4));
    assert_eq!(test.best(TO), "bgp", "what was offered before stays as it is");
    test.effects();
    reapply(&mut test, Protocol::OSPF, 512);
    assert_eq!(test.best(TO), "ospf");
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"], "only what changed is written");
    test.rib.set_level(Protocol::OSPF, Preference(0));
    assert_eq!(test.rib.policy().levels.of(Protocol::OSPF), test.rib.policy().levels.others);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(test.best(TO), "bgp", "an update takes the level of now");
}

#[test]
fn reapplying_a_level_goes_by_what_the_owner_asked_for() {
    let mut test = TestRib::with_entities(["bgp"]);
    test.add("bgp: 10.0.0.0/8 via 192.0.2.1 pref 200").unwrap();
    test.add("bgp: 10.1.0.0/16 via 192.0.2.1 pref 3").unwrap();
    let preference = |test: &TestRib, to: &str| {
        let routes = test.rib.routes(table(Family::Ipv4), to.parse().unwrap()).unwrap();
        routes[0].route.rank.preference.0
    };
    test.rib.set_level(Protocol::BGP, Preference(250));
    reapply(&mut test, Protocol::BGP, 512);
    assert_eq!([TO, "10.1.0.0/16"].map(|to| preference(&test, to)), [250, 250]);
    test.rib.set_level(Protocol::BGP, Preference(2));
    reapply(&mut test, Protocol::BGP, 512);
    assert_eq!([TO, "10.1.0.0/16"].map(|to| preference(&test, to)), [200, 3]);
}

#[test]
fn reapplying_a_level_reaches_every_route_in_slices() {
    let mut test = TestRib::with_entities(["ospf", "bgp"]);
    for n in 0..10 {
        test.add(&format!("ospf: 10.{n}.0.0/16 via 192.0.2.1")).unwrap();
        test.add(&format!("bgp: 10.{n}.0.0/16 via 192.0.2.2")).unwrap();
    }
    test.rib.set_level(Protocol::OSPF, Preference(4));
    assert_eq!(reapply(&mut test, Protocol::OSPF, 4), 3);
    for n in 0..10 {
        assert_eq!(test.best(&format!("10.{n}.0.0/16")), "ospf");
    }
}

#[test]
fn a_new_configuration_brings_levels_and_limits_and_no_other_instances() {
    let mut test = TestRib::with_entities(["ospf", "bgp"]);
    let mut policy = Policy::standard();
    policy.levels.set(Protocol::OSPF, Preference(4)).unwrap();
    policy.limits.routes = 1;
    let mut other = policy.clone();
    other.instances.insert(InstanceId(7), Instance::Broken("nothing".to_owned()));
    assert_eq!(test.rib.reconfigure(other).unwrap_err().kind, ErrorKind::NotSupported);
    assert_eq!(test.rib.policy(), &Policy::standard(), "a refusal changes nothing");
    test.rib.reconfigure(policy).unwrap();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let refusal = test.add("bgp: 10.1.0.0/16 via 192.0.2.1").unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    let routes = test.rib.routes(table(Family::Ipv4), TO.parse().unwrap()).unwrap();
    assert_eq!(routes[0].route.rank.preference, Preference(4));
}

#[test]
fn a_table_that_is_not_pushed_leaves_the_kernel_and_comes_back_with_what_is_best_then() {
    let ipv4 = table(Family::Ipv4);
    let mut test = TestRib::with_entities(["ospf", "bgp"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("ospf: 10.1.0.0/16 via 192.0.2.1").unwrap();
    test.effects();
    let push = |test: &mut TestRib, pushed| {
        let mut work = test.rib.set_pushed(ipv4, pushed).unwrap();
        while test.rib.requeue(&mut work, 1) == Progress::Unfinished {}
    };
    push(&mut test, false);
    assert!(!test.rib.is_pushed(ipv4) && test.rib.is_pushed(table(Family::Ipv6)));
    assert_eq!(test.effects(), ["10.0.0.0/8 -", "10.1.0.0/16 -"]);
    let routes = test.rib.routes(ipv4, TO.parse().unwrap()).unwrap();
    assert_eq!(routes[0].fib, FibStatus::Suppressed);
    test.add("bgp: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!((test.best(TO).as_str(), test.effects()), ("bgp", vec![]));
    push(&mut test, true);
    assert_eq!(
        test.effects(),
        ["10.0.0.0/8 via 192.0.2.2 dev 1", "10.1.0.0/16 via 192.0.2.1 dev 1"]
    );
}

#[test]
fn a_table_that_is_configured_out_of_the_kernel_cannot_be_pushed() {
    let mut policy = Policy::standard();
    if let Some(Instance::Ready(settings)) = policy.instances.get_mut(&InstanceId(0)) {
        settings.kernel_table = None;
    }
    let mut test = TestRib::new(policy);
    assert!(!test.rib.is_pushed(table(Family::Ipv4)));
    let refusal = test.rib.set_pushed(table(Family::Ipv4), true).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotSupported);
}
