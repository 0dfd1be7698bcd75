//! Changing a route in part (RTMv2 rows UPD-01 to UPD-07, RT-34).

use super::super::testing::{TestRib, table};
use crate::{
    model::{ChangeFlags, ErrorKind, Family, Metric, Preference, RouteId, Span, ViewSet},
    rib::{Amendment, InlineNextHop, OfferedNextHops},
};

const NET: &str = "10.0.0.0/8";

fn update(
    test: &mut TestRib,
    who: &str,
    id: RouteId,
    changes: Amendment<'_>,
) -> Result<bool, ErrorKind> {
    let now = test.now();
    let result = test.rib.update_route(test.entity(who), id, &changes, now);
    result.map(|change| change.contains(ChangeFlags::BEST)).map_err(|error| error.kind)
}

#[test]
fn what_is_not_named_stays() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test
        .add("static: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.1 metric 5 pref 9 flags 16 ttl 50 private x")
        .unwrap();
    let shown = |test: &TestRib| {
        let view = test.rib.route(table(Family::Ipv4), id).unwrap();
        let route = view.route.clone();
        let hops = view.next_hops.to_vec();
        let rank = (route.rank.preference.0, route.rank.metric.0);
        (
            rank,
            route.neighbour,
            route.flags,
            route.views,
            hops,
            route.expires(),
            route.private().to_vec(),
        )
    };
    let before = shown(&test);
    update(&mut test, "static", id, Amendment::default()).unwrap();
    assert_eq!(shown(&test), before);
    let metric = Some(Metric(6));
    update(&mut test, "static", id, Amendment { metric, ..Amendment::default() }).unwrap();
    assert_eq!(shown(&test).0, (9, 6));
    assert_eq!(shown(&test).4, before.4);
}

#[test]
fn each_part_can_be_changed_and_the_routes_take_their_new_order() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.1").unwrap();
    test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let via: [InlineNextHop; 0] = [];
    let changes = Amendment {
        neighbour: Some(None),
        preference: Some(Preference(200)),
        views: Some(ViewSet(3)),
        next_hops: Some(OfferedNextHops::Inline(via[..].into())),
        ttl: Some(Span::from_millis(10).unwrap()),
        private: Some(b"new"),
        ..Amendment::default()
    };
    assert_eq!(update(&mut test, "static", id, changes), Ok(true));
    assert_eq!(test.best(NET), "rip");
    let view = test.rib.route(table(Family::Ipv4), id).unwrap();
    assert_eq!((view.route.neighbour, view.next_hops.len()), (None, 0));
    assert_eq!((view.route.views, view.route.private()), (ViewSet(3), &b"new"[..]));
    assert!(view.route.expires().is_some());
}

#[test]
fn only_the_owner_updates_and_only_what_is_there() {
    let mut test = TestRib::with_entities(["static", "rip"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let nothing = Amendment::default;
    assert_eq!(update(&mut test, "rip", id, nothing()), Err(ErrorKind::AccessDenied));
    test.delete("static", id).unwrap();
    assert_eq!(update(&mut test, "static", id, nothing()), Err(ErrorKind::NotFound));
    let never = RouteId(77.try_into().unwrap());
    assert_eq!(update(&mut test, "static", never, nothing()), Err(ErrorKind::InvalidHandle));
}

#[test]
fn another_prefix_is_refused_and_so_is_what_was_updated_meanwhile() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let to = Some("11.0.0.0/8".parse().unwrap());
    let moved = Amendment { to, ..Amendment::default() };
    assert_eq!(update(&mut test, "static", id, moved), Err(ErrorKind::InvalidParameter));
    let metric = Some(Metric(9));
    let once = Amendment { generation: Some(0), metric, ..Amendment::default() };
    assert_eq!(update(&mut test, "static", id, once.clone()), Ok(true));
    assert_eq!(update(&mut test, "static", id, once), Err(ErrorKind::Busy));
}

#[test]
fn a_refused_update_changes_nothing() {
    let mut test = TestRib::with_entities(["static"]);
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    let before = format!("{:?}", test.rib.route(table(Family::Ipv4), id).unwrap());
    let metric = Some(Metric(9));
    let bad = Amendment { metric, views: Some(ViewSet(8)), ..Amendment::default() };
    assert_eq!(update(&mut test, "static", id, bad), Err(ErrorKind::NotSupported));
    assert_eq!(format!("{:?}", test.rib.route(table(Family::Ipv4), id).unwrap()), before);
}

#[test]
fn a_neighbour_may_come_to_be_that_of_another_own_route() {
    let mut test = TestRib::with_entities(["static"]);
    test.add("static: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let (id, _) = test.add("static: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.1").unwrap();
    let changes = Amendment { neighbour: Some(None), ..Amendment::default() };
    assert!(update(&mut test, "static", id, changes).is_ok());
    assert_eq!(test.rib.route_count(table(Family::Ipv4)), 2);
}
