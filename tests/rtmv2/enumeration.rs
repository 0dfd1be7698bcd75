//! Enumeration (6.12).

use rtmd::{
    bus::wire::DestinationInfo,
    client::{DestinationEnumerationProxy, NextHopEnumerationProxy, RouteEnumerationProxy},
    model::Family,
};

use crate::support::{Client, NO_FIB, details, refusal, route};
use crate::{
    ALL_VIEWS, ANY_VIEW, GATEWAY, Key, MCAST, OSPF, RIP, STATIC, UCAST, error, hop,
    is_unknown_object, offer, register_as, register_beside, routes, serve, serve_with,
};

const START: u32 = 0;
const NEXT: u32 = 1;
const RANGE: u32 = 2;
const OWN_DESTINATIONS: u32 = 0x0100_0000;
const OWN_ROUTES: u32 = 0x0001_0000;

const OWNER: u32 = 0x1;
const NEIGHBOUR: u32 = 0x2;
const PREFERENCE: u32 = 0x4;
const NEXT_HOPS: u32 = 0x8;
const INTERFACE: u32 = 0x10;
const FULL: u32 = 0xFFFF;

const LOOPBACK: u32 = 1;

async fn cursor(
    by: &Client,
    (views, flags, prefix): (u32, u32, &str),
    protocol: u32,
) -> DestinationEnumerationProxy<'static> {
    let path = by.table.create_destination_enumeration(views, flags, prefix, protocol).await;
    let cursor = DestinationEnumerationProxy::builder(&by.connection).path(path.unwrap());
    cursor.build().await.unwrap()
}

/// Every destination that such an enumeration finds, in pages of three.
async fn destinations(by: &Client, which: (u32, u32, &str), protocol: u32) -> Vec<DestinationInfo> {
    let cursor = cursor(by, which, protocol).await;
    let mut all = Vec::new();
    loop {
        let (page, done) = cursor.next(3).await.unwrap();
        all.extend(page);
        if done {
            cursor.close().await.unwrap();
            return all;
        }
    }
}

async fn prefixes(by: &Client, which: (u32, u32, &str)) -> Vec<String> {
    destinations(by, which, 0).await.into_iter().map(|found| found.prefix).collect()
}

/// The ids of the routes that such an enumeration finds.
async fn ids<const N: usize>(
    by: &Client,
    which: (u32, u32, &str),
    matching: u32,
    criteria: [Key; N],
) -> Vec<u64> {
    routes(by, which, matching, criteria).await.into_iter().map(|route| route.id).collect()
}

async fn add_all(by: &Client, prefixes: &[&str]) {
    let (_, errors) = by.entity.add_prefixes(prefixes, &route(GATEWAY, []), 0).await.unwrap();
    assert_eq!(errors, []);
}

/// In the order in which they are to come.
const ORDERED: [&str; 9] = [
    "0.0.0.0/0",
    "9.0.0.0/8",
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.0.0.0/24",
    "10.1.0.0/16",
    "10.255.255.255/32",
    "11.0.0.0/8",
    "192.0.2.0/24",
];

/// ENUM-01, ENUM-08
#[tokio::test]
async fn every_destination_of_the_views_comes_once_in_order_of_address_and_length() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut shuffled = ORDERED;
    shuffled.sort_by_key(|prefix| prefix.bytes().rev().collect::<Vec<_>>());
    assert_ne!(shuffled, ORDERED);
    add_all(&client, &shuffled).await;
    offer(&client, "10.7.0.0/16", [("views", MCAST.into())]).await;
    assert_eq!(prefixes(&client, (UCAST, START, "")).await, ORDERED);
    assert_eq!(prefixes(&client, (MCAST, START, "")).await, ["10.7.0.0/16"]);
    for views in [ALL_VIEWS, ANY_VIEW] {
        assert_eq!(prefixes(&client, (views, START, "")).await.len(), ORDERED.len() + 1);
    }
}

/// ENUM-02, ENUM-03
#[tokio::test]
async fn an_enumeration_starts_at_a_prefix_or_stays_within_it() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    add_all(&client, &ORDERED).await;
    for (flags, prefix, expected) in [
        (NEXT, "10.0.0.0/16", &ORDERED[3..]),
        (NEXT, "10.0.0.0/12", &ORDERED[3..]),
        (NEXT, "0.0.0.0/0", &ORDERED[..]),
        (NEXT, "192.0.2.0/25", &[]),
        (RANGE, "10.0.0.0/8", &ORDERED[2..7]),
        (RANGE, "10.0.0.0/12", &ORDERED[3..6]),
        (RANGE, "0.0.0.0/0", &ORDERED[..]),
        (RANGE, "192.0.2.0/24", &ORDERED[8..]),
        (RANGE, "12.0.0.0/8", &[]),
    ] {
        assert_eq!(prefixes(&client, (UCAST, flags, prefix)).await, expected, "{flags} {prefix}");
        let of_routes = routes(&client, (UCAST, flags, prefix), 0, []).await;
        let of_routes: Vec<_> = of_routes.into_iter().map(|route| route.destination).collect();
        assert_eq!(of_routes, expected, "{flags} {prefix}");
    }
    for flags in [3, 4, 0x8000_0000, OWN_ROUTES] {
        let refused = client.table.create_destination_enumeration(UCAST, flags, "10.0.0.0/8", 0);
        assert_eq!(error(refused.await), "InvalidParameter", "{flags:#x}");
    }
}

/// ENUM-04
#[tokio::test]
async fn own_destinations_are_those_whose_best_route_in_a_requested_view_is_the_callers() {
    let (bus, _service) = serve();
    let caller = Client::register(&bus, Family::Ipv4, OSPF).await;
    let beside = register_beside(&bus, OSPF, 1).await;
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    add_all(&caller, &["10.1.0.0/16", "10.2.0.0/16"]).await;
    offer(&caller, "10.3.0.0/16", [("views", (UCAST | MCAST).into())]).await;
    add_all(&preferred, &["10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"]).await;
    add_all(&beside, &["10.5.0.0/16"]).await;
    let own = async |views| prefixes(&caller, (views, OWN_DESTINATIONS, "")).await;
    assert_eq!(own(UCAST).await, ["10.1.0.0/16"]);
    assert_eq!(own(MCAST).await, ["10.3.0.0/16"]);
    assert_eq!(own(UCAST | MCAST).await, ["10.1.0.0/16", "10.3.0.0/16"]);
    let within = (UCAST | MCAST, OWN_DESTINATIONS | RANGE, "10.2.0.0/15");
    assert_eq!(prefixes(&caller, within).await, ["10.3.0.0/16"]);
    assert_eq!(prefixes(&caller, (UCAST, START, "")).await.len(), 5);
    let nobody = bus.connect().await;
    let manager = rtmd::client::manager(&nobody).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let refused = table.create_destination_enumeration(UCAST, OWN_DESTINATIONS, "", 0).await;
    assert_eq!(error(refused), "InvalidParameter", "it has no registration");
}

/// ENUM-05
#[tokio::test]
async fn the_protocol_chooses_the_best_that_is_told_and_not_what_is_found() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (both, _) = offer(&a, "10.0.0.0/8", []).await;
    let (of_b, _) = offer(&b, "10.0.0.0/8", []).await;
    let (only_a, _) = offer(&a, "11.0.0.0/8", []).await;
    for (protocol, expected) in
        [(0, [both, only_a]), (STATIC, [both, only_a]), (RIP, [of_b, 0]), (OSPF, [0, 0])]
    {
        let found = destinations(&a, (UCAST, START, ""), protocol).await;
        let best: Vec<u64> = found.iter().map(|found| found.per_view[0].best).collect();
        assert_eq!(best, expected, "{protocol}");
    }
    let own = destinations(&b, (UCAST, START, ""), u32::MAX).await;
    assert_eq!(own.iter().map(|found| found.per_view[0].best).collect::<Vec<_>>(), [of_b, 0]);
}

/// ENUM-06, ENUM-07, ENUM-15
#[tokio::test]
async fn pages_keep_to_the_limit_and_the_end_is_told_again_and_again() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nmax-handles = 4\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    add_all(&client, &ORDERED).await;
    let of_destinations = cursor(&client, (UCAST, START, ""), 0).await;
    let path = client.table.create_route_enumeration(UCAST, START, "", 0, &details([])).await;
    let of_routes = RouteEnumerationProxy::builder(&client.connection).path(path.unwrap());
    let of_routes = of_routes.build().await.unwrap();
    for size in [0, 5, u32::MAX] {
        let (name, text) = refusal(of_destinations.next(size).await);
        assert_eq!((name.as_str(), text.contains("from 1 to 4")), ("InvalidParameter", true));
        assert_eq!(error(of_routes.next(size).await), "InvalidParameter");
    }
    let mut seen = (Vec::new(), Vec::new());
    loop {
        let (page, done) = of_destinations.next(4).await.unwrap();
        assert!(page.len() <= 4);
        seen.0.extend(page.into_iter().map(|found| found.prefix));
        if done {
            break;
        }
    }
    loop {
        let (page, done) = of_routes.next(4).await.unwrap();
        assert!(page.len() <= 4);
        seen.1.extend(page.into_iter().map(|found| found.destination));
        if done {
            break;
        }
    }
    assert_eq!((&seen.0[..], &seen.1[..]), (&ORDERED.map(String::from)[..], &seen.0[..]));
    for _ in 0..3 {
        assert_eq!(of_destinations.next(4).await.unwrap(), (vec![], true));
        assert_eq!(of_routes.next(4).await.unwrap(), (vec![], true));
    }
    add_all(&client, &["223.0.0.0/8"]).await;
    assert_eq!(of_destinations.next(4).await.unwrap(), (vec![], true), "the end is the end");
}

/// ENUM-09, ENUM-10
#[tokio::test]
async fn every_route_comes_once_and_those_of_a_destination_in_order_of_rank() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let c = Client::register(&bus, Family::Ipv4, OSPF).await;
    let mut added = Vec::new();
    for (client, to, metric) in [
        (&b, "10.1.0.0/16", 1u32),
        (&c, "10.1.0.0/16", 9),
        (&a, "10.1.0.0/16", 99),
        (&b, "10.0.0.0/8", 1),
    ] {
        added.push(offer(client, to, [("metric", metric.into())]).await.0);
    }
    let neighbour = hop(&c, "127.0.0.9").await;
    let fifth = [("metric", 3u32.into()), ("neighbour", neighbour.into())];
    added.push(offer(&c, "10.1.0.0/16", fifth).await.0);
    let order = [3, 2, 4, 1, 0].map(|n: usize| added[n]);
    assert_eq!(ids(&a, (UCAST, START, ""), 0, []).await, order);
    let one = |to: &str| [("destination", to.to_owned().into())];
    assert_eq!(ids(&a, (UCAST, START, ""), 0, one("10.1.0.0/16")).await, order[1..]);
    assert_eq!(ids(&a, (UCAST, START, ""), 0, one("10.0.0.0/8")).await, order[..1]);
    assert_eq!(ids(&a, (UCAST, START, ""), 0, one("10.0.0.0/9")).await, [0; 0]);
}

/// ENUM-11
#[tokio::test]
async fn own_routes_are_the_callers() {
    let (bus, _service) = serve();
    let caller = Client::register(&bus, Family::Ipv4, OSPF).await;
    let beside = register_beside(&bus, OSPF, 1).await;
    let (own, _) = offer(&caller, "10.0.0.0/8", []).await;
    let (foreign, _) = offer(&beside, "10.0.0.0/8", []).await;
    let (more, _) = offer(&caller, "11.0.0.0/8", []).await;
    assert_eq!(ids(&caller, (UCAST, OWN_ROUTES, ""), 0, []).await, [own, more]);
    assert_eq!(ids(&caller, (UCAST, START, ""), 0, []).await, [own, foreign, more]);
    assert_eq!(ids(&caller, (UCAST, OWN_ROUTES | NEXT, "11.0.0.0/8"), 0, []).await, [more]);
    assert_eq!(ids(&beside, (UCAST, OWN_ROUTES, ""), 0, []).await, [foreign]);
}

/// ENUM-12
#[tokio::test]
async fn criteria_filter_alone_and_together_and_with_position_and_ownership() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let neighbour = hop(&a, "127.0.0.9").await;
    let hops = [hop(&a, GATEWAY).await, hop(&a, "127.0.0.3").await];
    let both = ("next-hops", hops.to_vec().into());
    let keys = [both, ("neighbour", neighbour.into()), ("metric", 5u32.into())];
    let (rich, _) = a.entity.add_route("10.0.0.0/8", &details(keys), 0).await.unwrap();
    let (plain, _) = offer(&a, "10.0.0.0/8", [("metric", 5u32.into())]).await;
    let (of_b, _) = b.add("10.0.0.0/8", "203.0.113.77").await.unwrap();
    let (later, _) = offer(&a, "11.0.0.0/8", []).await;
    let all = (UCAST, START, "");
    let owner = || ("owner", b.id.into());
    assert_eq!(ids(&a, all, OWNER, [owner()]).await, [of_b]);
    let from = |id: u64| [("neighbour", id.into())];
    assert_eq!(ids(&a, all, NEIGHBOUR, from(neighbour)).await, [rich]);
    assert_eq!(ids(&a, all, NEIGHBOUR, from(0)).await, [plain, of_b, later]);
    let rank = |p: u32, m: u32| [("preference", p.into()), ("metric", m.into())];
    assert_eq!(ids(&a, all, PREFERENCE, rank(3, 5)).await, [rich, plain]);
    assert_eq!(ids(&a, all, PREFERENCE, rank(3, 6)).await, [0; 0]);
    let with = |ids: &[u64]| [("next-hops", ids.to_vec().into())];
    assert_eq!(ids(&a, all, NEXT_HOPS, with(&hops[..1])).await, [rich, plain, later]);
    assert_eq!(ids(&a, all, NEXT_HOPS, with(&hops)).await, [rich]);
    let by = |interface: u32| [("interface", interface.into())];
    assert_eq!(ids(&a, all, INTERFACE, by(LOOPBACK)).await, [rich, plain, later]);
    assert_eq!(ids(&a, all, INTERFACE, by(4_000_000)).await, [0; 0]);

    let together = [owner(), ("preference", 120u32.into()), ("metric", 0u32.into())];
    assert_eq!(ids(&a, all, OWNER | PREFERENCE, together).await, [of_b]);
    assert_eq!(ids(&a, all, 0, [owner()]).await.len(), 4, "what is not selected does not count");
    let full = [
        ("owner", a.id.into()),
        ("neighbour", neighbour.into()),
        ("preference", 3u32.into()),
        ("metric", 5u32.into()),
        ("next-hops", hops[1..].to_vec().into()),
        ("interface", LOOPBACK.into()),
    ];
    assert_eq!(ids(&a, all, FULL, full).await, [rich]);
    assert_eq!(ids(&a, (UCAST, NEXT, "11.0.0.0/8"), INTERFACE, by(LOOPBACK)).await, [later]);
    let own_in_range = (UCAST, OWN_ROUTES | RANGE, "10.0.0.0/8");
    assert_eq!(ids(&a, own_in_range, NEIGHBOUR, from(0)).await, [plain]);
}

/// ENUM-13
#[tokio::test]
async fn a_criterion_that_is_selected_has_to_be_given() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let create = async |matching, criteria| {
        client.table.create_route_enumeration(UCAST, 0, "", matching, &criteria).await
    };
    create(0, details([])).await.unwrap();
    create(INTERFACE, details([("interface", LOOPBACK.into())])).await.unwrap();
    for matching in [OWNER, NEIGHBOUR, PREFERENCE, NEXT_HOPS, INTERFACE, FULL] {
        assert_eq!(error(create(matching, details([])).await), "InvalidParameter", "{matching:#x}");
    }
    let half = details([("preference", 3u32.into())]);
    assert_eq!(error(create(PREFERENCE, half).await), "InvalidParameter");
    assert_eq!(error(create(0x20, details([])).await), "InvalidParameter", "an unknown flag");
    let unknown = details([("colour", 3u32.into())]);
    assert_eq!(error(create(0, unknown).await), "InvalidParameter");
}

/// ENUM-14
#[tokio::test]
async fn a_given_destination_wins_over_any_position() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    add_all(&client, &ORDERED).await;
    for (flags, prefix) in [
        (START, ""),
        (START, "nonsense"),
        (NEXT, "192.0.2.0/24"),
        (RANGE, "11.0.0.0/8"),
        (NEXT, ""),
    ] {
        let given = [("destination", "10.1.0.0/16".into())];
        let found = routes(&client, (UCAST, flags, prefix), 0, given).await;
        let found: Vec<&str> = found.iter().map(|route| route.destination.as_str()).collect();
        assert_eq!(found, ["10.1.0.0/16"], "{flags} {prefix:?}");
    }
}

/// ENUM-17
#[tokio::test]
async fn a_closed_enumeration_is_gone_and_makes_room() {
    let limits = "[limits]\nenumerations-per-client = 2\n";
    let (bus, _service) = serve_with(&format!("{NO_FIB}{limits}"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for _ in 0..5 {
        let of_destinations = cursor(&client, (UCAST, START, ""), 0).await;
        let path = client.table.create_route_enumeration(UCAST, 0, "", 0, &details([])).await;
        let of_routes = RouteEnumerationProxy::builder(&client.connection).path(path.unwrap());
        let of_routes = of_routes.build().await.unwrap();
        let third = client.table.create_destination_enumeration(UCAST, 0, "", 0).await;
        assert_eq!(error(third), "NoSystemResources");
        of_destinations.close().await.unwrap();
        of_routes.close().await.unwrap();
        assert!(is_unknown_object(of_destinations.close().await));
        assert!(is_unknown_object(of_destinations.next(1).await));
        assert!(is_unknown_object(of_routes.close().await));
        assert!(is_unknown_object(of_routes.next(1).await));
    }
}

/// ENUM-19
#[tokio::test]
async fn what_is_there_throughout_comes_exactly_once_whatever_changes_around_it() {
    let (bus, _service) = serve();
    let stable = Client::register(&bus, Family::Ipv4, STATIC).await;
    let restless = Client::register(&bus, Family::Ipv4, RIP).await;
    let expected: Vec<String> = (0..60).map(|n| format!("10.{n}.0.0/16")).collect();
    add_all(&stable, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let of_destinations = cursor(&stable, (UCAST, START, ""), 0).await;
    let path = stable.table.create_route_enumeration(UCAST, START, "", 0, &details([])).await;
    let of_routes = RouteEnumerationProxy::builder(&stable.connection).path(path.unwrap());
    let of_routes = of_routes.build().await.unwrap();
    let mut seen = (Vec::new(), Vec::new());
    for round in 0u32.. {
        let (page, first_done) = of_destinations.next(4).await.unwrap();
        seen.0.extend(page.into_iter().map(|found| found.prefix));
        let (page, second_done) = of_routes.next(4).await.unwrap();
        let of_stable = page.into_iter().filter(|route| route.owner == stable.id);
        seen.1.extend(of_stable.map(|route| route.destination));
        if first_done && second_done {
            break;
        }
        // Before, at, between and behind where the cursors are; more routes where one is.
        let place = round * 4 % 60;
        let (gone, _) = offer(&restless, &format!("9.{round}.0.0/16"), []).await;
        for to in [format!("10.{place}.128.0/17"), format!("10.{place}.0.0/16")] {
            offer(&restless, &to, [("metric", (round % 2).into())]).await;
        }
        let (behind, _) = offer(&restless, &format!("11.{round}.0.0/16"), []).await;
        restless.entity.delete_routes(&[gone, behind]).await.unwrap();
        offer(&stable, &format!("10.{place}.0.0/16"), [("metric", round.into())]).await;
    }
    seen.0.retain(|prefix| expected.contains(prefix));
    assert_eq!(seen.0, expected);
    assert_eq!(seen.1, expected);
}

/// ENUM-20
#[tokio::test]
async fn a_foreign_enumeration_is_no_handle() {
    let (bus, _service) = serve();
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    add_all(&owner, &ORDERED).await;
    let own = cursor(&owner, (UCAST, START, ""), 0).await;
    let path = own.inner().path().to_owned();
    let foreign = DestinationEnumerationProxy::builder(&other.connection).path(path);
    let foreign = foreign.build().await.unwrap();
    assert_eq!(error(foreign.next(3).await), "InvalidHandle");
    assert_eq!(error(foreign.close().await), "InvalidHandle");
    let (page, _) = own.next(9).await.unwrap();
    assert_eq!(page.len(), 9, "it has not moved on");

    let path = owner.table.create_route_enumeration(UCAST, 0, "", 0, &details([])).await.unwrap();
    let foreign = RouteEnumerationProxy::builder(&other.connection).path(path);
    let foreign = foreign.build().await.unwrap();
    assert_eq!(error(foreign.next(3).await), "InvalidHandle");
    assert_eq!(error(foreign.close().await), "InvalidHandle");
}

/// ENUM-21
#[tokio::test]
async fn a_view_that_is_not_there_cannot_be_enumerated() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for views in [0x4, 0x5, 0xFFFF_FFFE] {
        let of_destinations = client.table.create_destination_enumeration(views, 0, "", 0).await;
        assert_eq!(error(of_destinations), "NotSupported", "{views:#x}");
        let none = details([]);
        let of_routes = client.table.create_route_enumeration(views, 0, "", 0, &none).await;
        assert_eq!(error(of_routes), "NotSupported", "{views:#x}");
    }
}

/// ENUM-22
#[tokio::test]
async fn any_view_also_finds_what_only_holds_and_tells_of_no_view() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    add_all(&client, &["10.0.0.0/8", "11.0.0.0/8"]).await;
    let held = client.table.get_routes("11.0.0.0/8").await.unwrap()[0].id;
    client.entity.hold_destination("11.0.0.0/8", UCAST, 60_000).await.unwrap();
    client.entity.delete_route(held).await.unwrap();
    let found = destinations(&client, (ANY_VIEW, START, ""), 0).await;
    let seen: Vec<_> = found.iter().map(|d| (d.prefix.as_str(), d.per_view.len())).collect();
    assert_eq!(seen, [("10.0.0.0/8", 0), ("11.0.0.0/8", 0)]);
    assert!(ids(&client, (ANY_VIEW, START, ""), 0, []).await.contains(&held));
    for views in [UCAST, UCAST | MCAST, ALL_VIEWS] {
        assert_eq!(prefixes(&client, (views, START, "")).await, ["10.0.0.0/8"], "{views:#x}");
        assert!(!ids(&client, (views, START, ""), 0, []).await.contains(&held), "{views:#x}");
    }
}

/// BEST-12, ENUM-04, ENUM-11, ENUM-16
#[tokio::test]
async fn own_is_the_connections_and_its_users_shared_only_where_it_has_none() {
    const THIS_PROTOCOL: u32 = u32::MAX;
    let (bus, _service) = serve();
    let script = register_as(&bus.connect().await, RIP, 0, [("shared", true.into())]).await;
    let daemon = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (of_script, _) = offer(&script, "10.0.0.0/8", []).await;
    let (of_daemon, _) = offer(&daemon, "11.0.0.0/8", []).await;
    let next_hops = async |by: &Client| {
        let path = by.table.create_next_hop_enumeration(START, "").await?;
        let cursor = NextHopEnumerationProxy::builder(&by.connection).path(path).build().await?;
        let (page, _) = cursor.next(10).await?;
        Ok::<_, zbus::Error>(page.iter().map(|hop| hop.owner).collect::<Vec<_>>())
    };
    let this_protocol = async |by: &Client, to| {
        let found = by.table.get_exact_match_destination(to, THIS_PROTOCOL, UCAST).await?;
        Ok::<_, zbus::Error>(found.per_view[0].best)
    };
    for (by, id, to) in [(&daemon, of_daemon, "11.0.0.0/8"), (&script, of_script, "10.0.0.0/8")] {
        assert_eq!(ids(by, (UCAST, OWN_ROUTES, ""), 0, []).await, [id]);
        assert_eq!(prefixes(by, (UCAST, OWN_DESTINATIONS, "")).await, [to]);
        assert_eq!(next_hops(by).await.unwrap(), [by.id]);
        assert_eq!(this_protocol(by, to).await.unwrap(), id);
    }
    let _second = Client::register_on(&daemon.connection, Family::Ipv4, STATIC).await;
    let none = details([]);
    for name in [
        error(daemon.table.create_route_enumeration(UCAST, OWN_ROUTES, "", 0, &none).await),
        error(daemon.table.create_destination_enumeration(UCAST, OWN_DESTINATIONS, "", 0).await),
        error(next_hops(&daemon).await),
        error(this_protocol(&daemon, "11.0.0.0/8").await),
    ] {
        assert_eq!(name, "InvalidParameter", "of two protocols, which is meant?");
    }
}
