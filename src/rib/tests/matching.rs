use std::num::NonZeroU64;

use super::super::{
    Match,
    testing::{TestRib, table},
};
use crate::model::{
    ErrorKind, Family, InterfaceIndex, Metric, NextHopId, Preference, Prefix, Protocol, RouteId,
    ViewSet,
};

const TO: &str = "10.0.0.0/8";

/// Three routes of two entities, in order of rank.
fn three() -> (TestRib, [RouteId; 3]) {
    let mut test = TestRib::with_entities(["static", "ospf"]);
    let (third, _) = test.add("ospf: 10.0.0.0/8 via 192.0.2.3 via 198.51.100.3").unwrap();
    let (second, _) =
        test.add("static: 10.0.0.0/8 via 198.51.100.2 metric 5 from 192.0.2.9 views 2").unwrap();
    let (first, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    (test, [first, second, third])
}

fn found(test: &TestRib, wanted: &Match, views: u32) -> Option<RouteId> {
    let to: Prefix = TO.parse().unwrap();
    let found = test.rib.exact_match_route(table(Family::Ipv4), to, wanted, ViewSet(views));
    match found {
        Ok(view) => Some(view.id),
        Err(refusal) => {
            assert_eq!(refusal.kind, ErrorKind::NotFound);
            None
        }
    }
}

#[test]
fn without_criteria_the_first_route_in_the_views_is_found() {
    let (test, [first, second, _]) = three();
    assert_eq!(found(&test, &Match::default(), 0), Some(first));
    assert_eq!(found(&test, &Match::default(), 1), Some(first));
    assert_eq!(found(&test, &Match::default(), 2), Some(second));
}

#[test]
fn each_criterion_filters_alone_and_all_of_them_together() {
    let (test, [first, second, third]) = three();
    let none = Match::default();
    let routes = test.rib.routes(table(Family::Ipv4), TO.parse().unwrap()).unwrap();
    let neighbour = routes[1].route.neighbour;
    assert!(neighbour.is_some());
    let ospf = test.entity("ospf");
    assert_eq!(found(&test, &Match { owner: Some(ospf), ..none.clone() }, 0), Some(third));
    assert_eq!(
        found(&test, &Match { neighbour: Some(neighbour), ..none.clone() }, 0),
        Some(second)
    );
    assert_eq!(found(&test, &Match { neighbour: Some(None), ..none.clone() }, 0), Some(first));
    let rank = Some((Preference(3), Metric(5)));
    assert_eq!(found(&test, &Match { preference: rank, ..none.clone() }, 0), Some(second));
    let of_third = routes[2].next_hops[1..].to_vec();
    assert_eq!(
        found(&test, &Match { next_hops: Some(of_third.clone()), ..none.clone() }, 0),
        Some(third)
    );
    let by_two = Some(InterfaceIndex(2));
    assert_eq!(found(&test, &Match { interface: by_two, ..none.clone() }, 0), Some(second));
    let all = Match {
        protocol: Some(Protocol::OSPF),
        owner: Some(ospf),
        neighbour: Some(None),
        preference: Some((Preference(110), Metric(0))),
        next_hops: Some(of_third),
        interface: by_two,
    };
    assert_eq!(found(&test, &all, 0), Some(third));
    assert_eq!(found(&test, &all, 2), None, "it is not in that view");
    let one_off = Match { preference: Some((Preference(110), Metric(1))), ..all };
    assert_eq!(found(&test, &one_off, 0), None);
    let of_bgp = Match { protocol: Some(Protocol::BGP), ..none };
    assert_eq!(found(&test, &of_bgp, 0), None);
}

#[test]
fn criteria_name_no_more_next_hops_than_a_route_has_and_each_once() {
    let mut test = TestRib::with_entities(["static"]);
    let refused = |test: &TestRib, ids: &[u64]| {
        let ids = ids.iter().map(|id| NextHopId(NonZeroU64::new(*id).unwrap())).collect();
        let wanted = Match { next_hops: Some(ids), ..Match::default() };
        test.rib.check_match(&wanted).map_err(|refusal| refusal.message).err()
    };
    let mut policy = test.rib.policy().clone();
    policy.limits.next_hops_per_route = 2;
    test.rib.reconfigure(policy).unwrap();
    assert_eq!(refused(&test, &[]), None);
    assert_eq!(refused(&test, &[7, 8]), None);
    assert_eq!(refused(&test, &[7, 7]).unwrap(), "next hop 7 is listed twice");
    assert_eq!(
        refused(&test, &[7, 8, 9]).unwrap(),
        "3 next hops, a route has 2 at most (limit max-next-hops)"
    );
}
