use std::collections::BTreeSet;

use super::super::testing::{TestRib, table};
use crate::{
    model::{Family, GroupId, InterfaceIndex, Wish},
    rib::{Fate, GroupNews, LookUp, Progress, Withdrawal},
};

/// So many destinations with a route of each of these, by interfaces 1, 2 and 3 in turn.
fn offered(labels: &[&str], count: u32) -> TestRib {
    let mut test = TestRib::with_entities([]);
    for label in labels {
        test.register(label, Family::Ipv4).unwrap();
    }
    for number in 0..count {
        for (interface, label) in (1..).zip(labels) {
            let (high, low) = (number / 256, number % 256);
            test.add(&format!("{label}: 10.{high}.{low}.0/24 via @{interface}")).unwrap();
        }
    }
    test
}

/// The groups that destinations are told to follow.
fn wishes(test: &mut TestRib) -> BTreeSet<GroupId> {
    let groups = test.rib.poll_effects(usize::MAX).into_iter().map(|effect| match effect.wish {
        Some(Wish::Group(id)) => id,
        other => panic!("{other:?}"),
    });
    groups.collect()
}

/// What is told of the groups: interface, spare interface.
fn news(test: &mut TestRib) -> Vec<(bool, Option<String>, Option<u32>)> {
    let word = |news| match news {
        GroupNews::Changed(_, Fate { forwarding, spare, .. }) => {
            (true, forwarding.map(|it| it.to_string()), spare.map(|hop| hop.interface.0))
        }
        GroupNews::Gone(_) => (false, None, None),
    };
    test.rib.poll_groups(usize::MAX).into_iter().map(word).collect()
}

fn via(interface: u32, spare: Option<u32>) -> (bool, Option<String>, Option<u32>) {
    (true, Some(format!("dev {interface}")), spare)
}

#[test]
fn destinations_with_the_same_best_and_the_same_next_are_one_group() {
    let mut test = offered(&["static", "rip"], 100);
    // That each was alone for a moment is not worth telling.
    assert_eq!(news(&mut test), [via(1, Some(2))]);
    assert_eq!(wishes(&mut test).len(), 1);
    test.add("static: 192.168.0.0/16 via @1").unwrap();
    assert_eq!(news(&mut test), [via(1, None)]);
}

#[test]
fn where_packets_go_while_the_kernel_refuses_the_best_is_told_as_long_as_both_lead_anywhere() {
    let mut test = offered(&["static", "rip"], 3);
    let next = |test: &mut TestRib| match &test.rib.poll_groups(usize::MAX)[..] {
        [GroupNews::Changed(_, Fate { next, .. })] => next.as_ref().map(ToString::to_string),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(&mut test), Some("dev 2".to_owned()));
    for (interface, up, expected) in [(2, false, None), (2, true, Some("dev 2")), (1, false, None)]
    {
        test.rib.handle_link(InterfaceIndex(interface), &format!("up{interface}"), up);
        assert_eq!(next(&mut test).as_deref(), expected);
    }
}

#[test]
fn a_link_that_fails_and_heals_is_one_news_each_and_none_of_any_destination() {
    let mut test = offered(&["static", "rip"], 2000);
    news(&mut test);
    wishes(&mut test);
    for (up, expected) in [(false, via(2, None)), (true, via(1, Some(2)))] {
        test.rib.handle_link(InterfaceIndex(1), "up1", up);
        assert_eq!(news(&mut test), [expected]);
        while test.rib.reelect(100) == Progress::Unfinished {}
        assert_eq!(test.rib.poll_effects(usize::MAX).len(), 0);
    }
}

#[test]
fn where_more_routes_use_a_link_than_fit_a_slice_the_rest_is_elected_later() {
    let mut test = offered(&["static", "rip"], 2000);
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    let last = "10.7.207.0/24";
    assert_eq!((test.best("10.0.0.0/24"), test.best(last)), ("rip".into(), "static".into()));
    assert_eq!(test.rib.reelect(100), Progress::Unfinished);
    // Another command that comes in between sees how it is.
    test.register("bgp", Family::Ipv4).unwrap();
    test.add(&format!("bgp: {last} via @3 pref 200")).unwrap();
    assert_eq!(test.best(last), "rip");
    // And does none of what is left, however many there are.
    for n in 0..8 {
        test.add(&format!("bgp: 192.168.{n}.0/24 via @3")).unwrap();
    }
    assert_eq!(test.best("10.7.206.0/24"), "static");
    while test.rib.reelect(100) == Progress::Unfinished {}
    assert_eq!(test.best("10.7.206.0/24"), "rip");
}

#[test]
fn who_leaves_is_replaced_at_once_by_one_news_and_route_by_route_afterwards() {
    let mut test = offered(&["static", "rip", "bgp"], 1000);
    news(&mut test);
    wishes(&mut test);
    let owner = test.entity("static");
    test.rib.deregister(owner).unwrap();
    assert_eq!(news(&mut test), [via(3, None)]);
    let to = "10.3.0.0/24".parse().unwrap();
    let wish = test.rib.explain(table(Family::Ipv4), to, LookUp::Exact).unwrap().wish;
    assert_eq!(wish.unwrap().to_string(), "dev 3", "it is explained as the kernel has it");
    let now = test.now();
    while !matches!(test.rib.withdraw(owner, 100, now), Withdrawal::Complete(_)) {}
    assert_eq!(news(&mut test), [(false, None, None), via(3, Some(2))]);
    assert_eq!(wishes(&mut test).len(), 1);
    assert_eq!(test.rib.route_count(table(Family::Ipv4)), 2000);
}

#[test]
fn a_group_without_a_way_says_so() {
    let mut test = offered(&["static"], 3);
    news(&mut test);
    wishes(&mut test);
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    // And is left: nothing of ours is to be there.
    assert_eq!(news(&mut test), [(false, None, None)]);
    let effects = test.rib.poll_effects(usize::MAX);
    assert_eq!(effects.iter().filter(|effect| effect.wish.is_none()).count(), 3);
}

#[test]
fn what_would_replace_by_the_same_interface_is_no_spare() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap();
    let told = news(&mut test);
    assert_eq!(told.last(), Some(&(true, Some("via 192.0.2.1 dev 1".to_owned()), None)));
}

#[test]
fn without_regard_to_viability_nothing_replaces_the_best() {
    use crate::{
        model::InstanceId,
        rib::{Instance, Policy, Viability},
    };
    let mut policy = Policy::standard();
    if let Some(Instance::Ready(settings)) = policy.instances.get_mut(&InstanceId(0)) {
        settings.viability = Viability::Ignored;
    }
    let mut test = TestRib::new(policy);
    for label in ["static", "rip"] {
        test.register(label, Family::Ipv4).unwrap();
    }
    test.add("static: 10.0.0.0/8 via @1").unwrap();
    test.add("rip: 10.0.0.0/8 via @2").unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 dev 1"]);
    test.rib.handle_link(InterfaceIndex(1), "up1", false);
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
}
