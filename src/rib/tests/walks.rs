use super::super::{
    Best, Match, Start, WalkSettings,
    testing::{TestRib, table},
};
use crate::model::{EntityId, ErrorKind, Family, InterfaceIndex, Metric, Preference, ViewSet};

fn settings(start: Start) -> WalkSettings {
    WalkSettings { table: table(Family::Ipv4), views: ViewSet(1), start, owned_by: None }
}

fn populated() -> TestRib {
    let mut test = TestRib::with_entities(["static", "rip"]);
    for prefix in ["10.2.0.0/16", "10.0.0.0/8", "9.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8"] {
        test.add(&format!("static: {prefix} via 192.0.2.1")).unwrap();
    }
    test.add("rip: 10.1.0.0/16 via 198.51.100.1 metric 7").unwrap();
    test.add("rip: 10.9.0.0/16 via 198.51.100.1 views 2").unwrap();
    test
}

fn destinations(test: &TestRib, settings: WalkSettings, page: u32) -> Vec<String> {
    let mut walk = test.rib.walk(settings).unwrap();
    let mut all = Vec::new();
    while !walk.is_done() {
        let next = test.rib.next_destinations(&mut walk, Best::Overall, page).unwrap();
        assert!(next.len() <= page as usize);
        all.extend(next.into_iter().map(|found| found.prefix.to_string()));
    }
    all
}

fn routes(test: &TestRib, settings: WalkSettings, wanted: &Match, page: u32) -> Vec<String> {
    let mut walk = test.rib.walk(settings).unwrap();
    let mut all = Vec::new();
    while !walk.is_done() {
        for view in test.rib.next_routes(&mut walk, wanted, page).unwrap() {
            all.push(format!("{} of {}", view.route.to, view.route.owner));
        }
    }
    all
}

#[test]
fn destinations_come_by_address_and_the_shorter_first_on_pages_of_any_size() {
    let test = populated();
    for page in [1, 2, 1000] {
        assert_eq!(
            destinations(&test, settings(Start::Beginning), page),
            ["9.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "11.0.0.0/8"]
        );
    }
}

#[test]
fn a_walk_starts_at_a_prefix_or_stays_within_it() {
    let test = populated();
    let at = |start: fn(_) -> Start, prefix: &str| {
        destinations(&test, settings(start(prefix.parse().unwrap())), 2)
    };
    assert_eq!(at(Start::At, "10.1.0.0/16"), ["10.1.0.0/16", "10.2.0.0/16", "11.0.0.0/8"]);
    assert_eq!(at(Start::Within, "10.0.0.0/8"), ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"]);
    assert_eq!(at(Start::Only, "10.0.0.0/8"), ["10.0.0.0/8"]);
    assert_eq!(at(Start::Within, "12.0.0.0/8"), [""; 0]);
}

#[test]
fn own_destinations_are_those_whose_best_route_is_own() {
    let test = populated();
    let owned_by = Some(vec![test.entity("rip")]);
    let own = |views| WalkSettings {
        views: ViewSet(views),
        owned_by: owned_by.clone(),
        ..settings(Start::Beginning)
    };
    assert_eq!(destinations(&test, own(1), 10), [""; 0]);
    assert_eq!(destinations(&test, own(3), 10), ["10.9.0.0/16"]);
}

#[test]
fn routes_of_a_destination_come_in_order_of_rank_even_one_to_a_page() {
    let test = populated();
    let within = || settings(Start::Within("10.1.0.0/16".parse().unwrap()));
    for page in [1, 10] {
        assert_eq!(
            routes(&test, within(), &Match::default(), page),
            ["10.1.0.0/16 of 1", "10.1.0.0/16 of 2"]
        );
    }
}

#[test]
fn criteria_select_routes() {
    let test = populated();
    let found = |wanted: Match| routes(&test, settings(Start::Beginning), &wanted, 10);
    let rip = ["10.1.0.0/16 of 2"];
    assert_eq!(found(Match { owner: Some(EntityId(2)), ..Match::default() }), rip);
    let rank = Some((Preference(120), Metric(7)));
    assert_eq!(found(Match { preference: rank, ..Match::default() }), rip);
    let rank = Some((Preference(120), Metric(8)));
    assert_eq!(found(Match { preference: rank, ..Match::default() }), [""; 0]);
    assert_eq!(found(Match { neighbour: Some(None), ..Match::default() }).len(), 6);
    let by = |link| found(Match { interface: Some(InterfaceIndex(link)), ..Match::default() });
    assert_eq!(by(2), rip, "an interface that was found counts like one that was named");
    assert_eq!(by(1).len(), 5);
    assert_eq!(by(3), [""; 0]);
    let next_hops = test.rib.routes(table(Family::Ipv4), "10.1.0.0/16".parse().unwrap()).unwrap();
    let next_hops = Some(next_hops[1].next_hops.to_vec());
    assert_eq!(found(Match { next_hops, ..Match::default() }), rip);
}

#[test]
fn what_is_there_throughout_appears_exactly_once_while_the_rest_changes() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    for n in 0..200 {
        test.add(&format!("static: 10.{n}.0.0/16 via 192.0.2.1")).unwrap();
    }
    let mut walk = test.rib.walk(settings(Start::Beginning)).unwrap();
    let mut seen = Vec::new();
    for round in 0.. {
        let page = test.rib.next_routes(&mut walk, &Match::default(), 7).unwrap();
        let of_static = page.iter().filter(|view| view.route.owner == EntityId(1));
        seen.extend(of_static.map(|view| view.route.to.to_string()));
        if walk.is_done() {
            break;
        }
        let (id, _) = test.add(&format!("rip: 9.{round}.0.0/16 via 192.0.2.1")).unwrap();
        test.add(&format!("rip: 10.{}.0.0/16 via 192.0.2.1 pref 200", (round * 37) % 200)).unwrap();
        test.delete("rip", id).unwrap();
    }
    for n in 0..200 {
        let prefix = format!("10.{n}.0.0/16");
        let count = seen.iter().filter(|found| **found == prefix).count();
        assert_eq!(count, 1, "{prefix}");
    }
}

#[test]
fn a_page_is_bounded() {
    let test = populated();
    let mut walk = test.rib.walk(settings(Start::Beginning)).unwrap();
    for size in [0, 1001] {
        let refusal = test.rib.next_destinations(&mut walk, Best::Overall, size).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
    }
}

#[test]
fn an_unsupported_view_cannot_be_walked() {
    let test = populated();
    let unsupported = WalkSettings { views: ViewSet(8), ..settings(Start::Beginning) };
    assert_eq!(test.rib.walk(unsupported).unwrap_err().kind, ErrorKind::NotSupported);
}
