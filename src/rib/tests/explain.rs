use super::super::{
    LookUp, Policy,
    testing::{TestRib, table},
};
use crate::model::{Family, FibStatus, InterfaceIndex, Prefix};

const TO: &str = "10.0.0.0/8";

fn reasons(test: &TestRib) -> Vec<String> {
    let explained = test.rib.explain(table(Family::Ipv4), TO.parse().unwrap(), LookUp::Exact);
    let line = |candidate: &super::super::Candidate<'_>| {
        format!("{}: {}", candidate.owner.unwrap().label, candidate.reason)
    };
    explained.unwrap().candidates.iter().map(line).collect()
}

#[test]
fn the_best_and_the_others_are_told_by_what_decided_between_them() {
    let mut test = TestRib::with_entities(["static", "ospf", "bgp"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(reasons(&test), ["ospf: best: nobody else offers a route in the unicast view"]);
    test.add("bgp: 10.0.0.0/8 via 192.0.2.3 views 2").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(
        reasons(&test),
        [
            "static: best: lower preference, 3 against 110 of route 1",
            "ospf: route 3 has a lower preference, 3 against 110",
            "bgp: it is not offered in the unicast view, which packets follow",
        ]
    );
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 110 metric 7").unwrap();
    assert_eq!(
        reasons(&test)[..2],
        [
            "ospf: best: lower metric, 0 against 7 of route 3",
            "static: route 1 has a lower metric, 0 against 7",
        ]
    );
}

#[test]
fn among_equals_age_and_incumbency_are_told_apart() {
    let mut test = TestRib::with_entities(["static", "bgp"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 15").unwrap();
    test.add("bgp: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(
        reasons(&test),
        ["static: best: equal to route 2, and older", "bgp: equal to route 1, which is older",]
    );
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 3").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1 pref 15").unwrap();
    assert_eq!(
        reasons(&test),
        [
            "static: best: equal to route 2, and the best already before it was",
            "bgp: equal to route 1, which is the incumbent",
        ]
    );
}

#[test]
fn a_route_that_leads_nowhere_says_which_next_hop_does_not_and_why() {
    let mut test = TestRib::with_entities(["static", "ospf"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1@1 via 203.0.113.9").unwrap();
    test.add("ospf: 10.0.0.0/8 via 198.51.100.1").unwrap();
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    let why = "next hop 192.0.2.1 on interface 1: interface up1 is down; next hop 203.0.113.9 on \
               interface 0: no interface that is up has a network with 203.0.113.9, and no route leads there";
    assert_eq!(
        reasons(&test),
        [
            "ospf: best: packets can follow it, and not route 1".to_owned(),
            format!("static: not viable: {why}"),
        ]
    );
    test.rib.handle_link_gone(InterfaceIndex(1));
    test.rib.handle_link(InterfaceIndex(2), "up2", false);
    assert!(reasons(&test)[0].starts_with(
        "static: best: lower preference, 3 against 110 of route 2; yet packets cannot follow it: \
         next hop 192.0.2.1 on interface 1: there is no interface 1"
    ));
}

#[test]
fn an_address_is_explained_by_the_destination_that_packets_to_it_follow() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 10.1.0.0/16 via 192.0.2.1 views 2").unwrap();
    let host = Prefix::host("10.1.2.3".parse().unwrap());
    let explained = test.rib.explain(table(Family::Ipv4), host, LookUp::MostSpecific).unwrap();
    assert_eq!(explained.prefix.to_string(), TO);
    assert!(test.rib.explain(table(Family::Ipv4), host, LookUp::Exact).is_err());
}

#[test]
fn the_kernels_side_is_told_with_its_own_words() {
    let mut test = TestRib::with_entities(["static"]);
    let fib = |test: &TestRib| {
        let to = TO.parse().unwrap();
        let explained = test.rib.explain(table(Family::Ipv4), to, LookUp::Exact).unwrap();
        let wish = explained.wish.map_or_else(String::new, |wish| wish.to_string());
        (wish, explained.fib_error.map(str::to_owned), explained.fib_reason.into_owned())
    };
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let way = "via 192.0.2.1 dev 1".to_owned();
    assert_eq!(fib(&test), (way.clone(), None, "it is on its way to the kernel".to_owned()));
    test.effects();
    let words = Some("no such device".to_owned());
    test.rib.handle_fib(table(Family::Ipv4), TO.parse().unwrap(), FibStatus::Failed, words.clone());
    assert_eq!(
        fib(&test),
        (
            way.clone(),
            words.clone(),
            "the kernel refused it, and is asked again from time to time".to_owned()
        )
    );
    // Some of its next hops, or all of them while there is another way.
    let installed = FibStatus::Installed;
    test.rib.handle_fib(table(Family::Ipv4), TO.parse().unwrap(), installed, words.clone());
    let partly =
        "the kernel refuses next hops of it, some or all, and is asked again from time to time";
    assert_eq!(fib(&test), (way, words, partly.to_owned()));
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    test.effects();
    assert_eq!(
        fib(&test),
        (String::new(), None, "packets cannot follow the best route now".to_owned())
    );

    let mut policy = Policy::standard();
    for instance in policy.instances.values_mut() {
        if let super::super::Instance::Ready(settings) = instance {
            settings.kernel_table = None;
        }
    }
    let mut test = TestRib::new(policy);
    test.register("static", Family::Ipv4).unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(
        fib(&test),
        (String::new(), None, "the instance is kept out of the kernel".to_owned())
    );
}
