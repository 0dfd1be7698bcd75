//! What programs written for RTMv1 find (6.18).

use rtmd::{client::NotificationProxy, model::Family};

use crate::support::{Client, NO_FIB, details, refusal, route};
use crate::{
    ANY_CHANGE, BEST, BEST_CHANGE, Key, MCAST, NEW, ORDERED, OSPF, RIP, STATIC, UCAST, error, find,
    hop, offer, register_beside, routes, serve, serve_with, watch,
};

const TO: &str = "10.0.0.0/8";
const OTHER: &str = "11.0.0.0/8";

// What an ordered registration tells of a best route.
const ADDED: u32 = 1;
const DELETED: u32 = 2;
const CHANGED: u32 = 3;

/// Registers for the ordered changes of the best unicast routes.
async fn queue(by: &Client) -> NotificationProxy<'static> {
    watch(by, UCAST, BEST_CHANGE | ORDERED).await
}

/// Everything in a queue: destination, what happened, the best route from then on and until then,
/// 0 for none.
async fn queued(of: &NotificationProxy<'_>) -> Vec<(String, u32, u64, u64)> {
    let (changes, done) = of.get_best_changes(1000).await.unwrap();
    assert!(done);
    let id = |route: &[rtmd::bus::wire::RouteInfo]| route.first().map_or(0, |route| route.id);
    let told = changes.into_iter().map(|change| {
        let (current, previous) = (id(&change.current), id(&change.previous));
        (change.destination, change.what, current, previous)
    });
    told.collect()
}

fn change(to: &str, what: u32, current: u64, previous: u64) -> (String, u32, u64, u64) {
    (to.to_owned(), what, current, previous)
}

/// The ids of the unicast routes that such an enumeration finds.
async fn ids<const N: usize>(by: &Client, matching: u32, criteria: [Key; N]) -> Vec<u64> {
    let found = routes(by, (UCAST, 0, ""), matching, criteria).await;
    found.into_iter().map(|route| route.id).collect()
}

/// V1-01
#[tokio::test]
async fn a_protocol_that_is_to_be_exclusive_registers_once() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, RIP).await;
    let register = async |protocol, number, exclusive: bool| {
        let options = details([("exclusive", exclusive.into())]);
        client.manager.register_entity(0, "ipv4", protocol, number, &options).await
    };
    register(OSPF, 0, true).await.unwrap();
    assert_eq!(error(register(OSPF, 0, true).await), "AlreadyExists");
    assert_eq!(error(register(OSPF, 1, true).await), "AlreadyExists", "another instance of it");
    assert_eq!(error(register(OSPF, 1, false).await), "AlreadyExists");
    assert_eq!(
        error(register(RIP, 1, true).await),
        "AlreadyExists",
        "it would not be the only one"
    );
    register(STATIC, 0, true).await.expect("another protocol");
    let options = details([("exclusive", true.into())]);
    let other_family = client.manager.register_entity(0, "ipv6", OSPF, 0, &options).await;
    other_family.expect("another family");
}

/// V1-02
#[tokio::test]
async fn a_bad_family_or_a_bad_option_is_an_invalid_parameter() {
    let (bus, _service) = serve();
    let connection = bus.connect().await;
    let manager = rtmd::client::manager(&connection).await.unwrap();
    let none = || details([]);
    let wrong_type = details([("single-route", 1u32.into())]);
    let unknown = details([("flags", 2u32.into())]);
    for (family, options) in
        [("ipx", none()), ("", none()), ("IPV4", none()), ("ipv4", wrong_type), ("ipv4", unknown)]
    {
        let refused = manager.register_entity(0, family, RIP, 0, &options).await;
        assert_eq!(error(refused), "InvalidParameter", "{family} {options:?}");
    }
    assert_eq!(manager.get_registered_entities(0, "ipv4").await.unwrap(), []);
}

/// V1-03
#[tokio::test]
async fn a_single_route_protocol_has_one_route_to_a_network_and_the_last_one_counts() {
    let (bus, _service) = serve();
    let other = Client::register(&bus, Family::Ipv4, RIP).await;
    let (foreign, _) = offer(&other, TO, []).await;
    let options = details([("single-route", true.into())]);
    let (path, _) = other.manager.register_entity(0, "ipv4", OSPF, 0, &options).await.unwrap();
    let entity = rtmd::client::EntityProxy::builder(&other.connection).path(path);
    let entity = entity.build().await.unwrap();
    let neighbour = |id: u64| [("neighbour", id.into())];
    let (one, _) = entity.add_next_hop("127.0.0.8", 0, &details([])).await.unwrap();
    let (two, _) = entity.add_next_hop("127.0.0.9", 0, &details([])).await.unwrap();
    let add =
        async |to, via, from| entity.add_route(to, &route(via, neighbour(from)), 0).await.unwrap();
    let (id, flags) = add(TO, "127.0.0.2", one).await;
    assert_eq!(flags, NEW | BEST);
    let (again, flags) = add(TO, "127.0.0.3", two).await;
    assert_eq!((again, flags), (id, BEST));
    let there = other.table.get_routes(TO).await.unwrap();
    assert_eq!(there.iter().map(|route| route.id).collect::<Vec<_>>(), [id, foreign]);
    assert_eq!(there[0].neighbour, two);
    let next_hop = entity.find_next_hop("127.0.0.3", 0).await.unwrap().id;
    assert_eq!(there[0].next_hops, [next_hop]);
    let (elsewhere, flags) = add(OTHER, "127.0.0.2", one).await;
    assert!(elsewhere != id && flags == NEW | BEST, "to each network one");
}

/// V1-04
#[tokio::test]
async fn otherwise_network_protocol_interface_and_next_hop_tell_routes_apart() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, RIP).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let mut ids = Vec::new();
    for client in [&a, &b] {
        for (address, interface) in [("127.0.0.8", 1), ("127.0.0.9", 1), ("127.0.0.8", 0)] {
            let next_hop = client.entity.add_next_hop(address, interface, &details([])).await;
            let identity = [("neighbour", next_hop.unwrap().0.into())];
            for to in [TO, OTHER] {
                let (id, flags) = offer(client, to, identity.clone()).await;
                assert_eq!(flags & NEW, NEW, "{address} {interface} {to}");
                let (again, flags) = offer(client, to, identity.clone()).await;
                assert_eq!((again, flags & NEW), (id, 0), "{address} {interface} {to}");
                ids.push(id);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12);
    assert_eq!(a.table.get_routes(TO).await.unwrap().len(), 6);
}

/// V1-05
#[tokio::test]
async fn adding_tells_what_happened_and_others_learn_the_best_before_and_after() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let queue = queue(&watcher).await;
    let (first, flags) = offer(&other, TO, []).await;
    assert_eq!(flags, NEW | BEST);
    assert_eq!(queued(&queue).await, [change(TO, ADDED, first, 0)]);
    let (second, flags) = offer(&preferred, TO, []).await;
    assert_eq!(flags, NEW | BEST);
    assert_eq!(queued(&queue).await, [change(TO, CHANGED, second, first)]);
    let (_, flags) = offer(&preferred, TO, [("metric", 3u32.into())]).await;
    assert_eq!(flags, BEST);
    assert_eq!(queued(&queue).await, [change(TO, CHANGED, second, second)]);
    let (_, flags) = offer(&other, TO, [("metric", 3u32.into())]).await;
    assert_eq!(flags, 0, "no change of the best");
    let neighbour = hop(&other, "127.0.0.9").await;
    let (_, flags) = offer(&other, TO, [("neighbour", neighbour.into())]).await;
    assert_eq!(flags, NEW, "nor here");
    assert_eq!(queued(&queue).await, []);
}

/// V1-06
#[tokio::test]
async fn deleting_tells_likewise_and_what_is_not_there_is_refused() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let neighbour = hop(&other, "127.0.0.9").await;
    let (first, _) = offer(&preferred, TO, []).await;
    let (second, _) = offer(&other, TO, []).await;
    let (third, _) = offer(&other, TO, [("neighbour", neighbour.into())]).await;
    let queue = queue(&watcher).await;
    let delete = async |by: &Client, id| by.entity.delete_route(id).await.unwrap();
    assert_eq!(delete(&other, third).await, 0);
    assert_eq!(queued(&queue).await, [], "no change of the best");
    assert_eq!(delete(&preferred, first).await, BEST);
    assert_eq!(queued(&queue).await, [change(TO, CHANGED, second, first)]);
    assert_eq!(delete(&other, second).await, BEST);
    assert_eq!(queued(&queue).await, [change(TO, DELETED, 0, second)]);
    assert_eq!(error(other.entity.delete_route(second).await), "NotFound");
    assert_eq!(error(other.entity.delete_route(u64::MAX).await), "InvalidHandle");
}

/// V1-08
#[tokio::test]
async fn each_change_of_a_best_route_queues_by_itself_in_order_but_not_for_who_made_it() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let (of_a, of_b, of_watcher) = (queue(&a).await, queue(&b).await, queue(&watcher).await);
    let coalescing = watch(&watcher, UCAST, ANY_CHANGE).await;
    let (one, _) = offer(&b, TO, []).await;
    let (two, _) = offer(&a, TO, []).await;
    let (three, _) = offer(&b, OTHER, []).await;
    a.entity.delete_route(two).await.unwrap();
    offer(&b, TO, [("metric", 5u32.into())]).await;
    b.entity.delete_route(one).await.unwrap();
    offer(&b, "12.0.0.0/8", [("views", MCAST.into())]).await;
    let by_b = |n: usize| {
        [
            change(TO, ADDED, one, 0),
            change(OTHER, ADDED, three, 0),
            change(TO, CHANGED, one, one),
            change(TO, DELETED, 0, one),
        ][n]
            .clone()
    };
    let by_a = [change(TO, CHANGED, two, one), change(TO, CHANGED, one, two)];
    assert_eq!(queued(&of_a).await, [0, 1, 2, 3].map(by_b));
    assert_eq!(queued(&of_b).await, by_a);
    let [first, last] = by_a;
    let all = [by_b(0), first, by_b(1), last, by_b(2), by_b(3)];
    assert_eq!(queued(&of_watcher).await, all);
    let coalesced = crate::told(&coalescing).await;
    assert_eq!(coalesced, [TO, OTHER], "other registrations keep each destination once");
}

/// V1-08
#[tokio::test]
async fn a_queued_change_has_the_routes_as_they_were() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let queue = queue(&watcher).await;
    for metric in 0..3u32 {
        offer(&client, TO, [("metric", metric.into())]).await;
    }
    client.entity.deregister(&details([])).await.unwrap();
    let (changes, _) = queue.get_best_changes(9).await.unwrap();
    let metrics = changes.iter().map(|change| {
        let metric = |of: &[rtmd::bus::wire::RouteInfo]| of.first().map(|route| route.metric);
        (metric(&change.previous), metric(&change.current))
    });
    let expected = [(None, Some(0)), (Some(0), Some(1)), (Some(1), Some(2)), (Some(2), None)];
    assert_eq!(metrics.collect::<Vec<_>>(), expected);
    assert!(changes.iter().all(|change| change.view == 0));
}

/// V1-09
#[tokio::test]
async fn taking_changes_tells_whether_there_are_more_and_once_whether_some_were_lost() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nqueued-changes = 3\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let queue = queue(&watcher).await;
    let mut metric = 0u32;
    let mut change = async || {
        metric += 1;
        offer(&client, TO, [("metric", metric.into())]).await;
    };
    assert_eq!(queue.get_best_changes(1).await.unwrap(), (vec![], true));
    for _ in 0..3 {
        change().await;
    }
    for (left, last) in [(1, false), (1, false), (1, true), (0, true)] {
        let (page, done) = queue.get_best_changes(1).await.unwrap();
        assert_eq!((page.len(), done), (left, last));
    }
    for size in [0, 1001] {
        assert_eq!(error(queue.get_best_changes(size).await), "InvalidParameter", "{size}");
    }
    for _ in 0..5 {
        change().await;
    }
    let (name, text) = refusal(queue.get_best_changes(9).await);
    assert_eq!(name, "NoSystemResources");
    assert!(text.starts_with("5 changes were not fetched in time"), "{text}");
    assert_eq!(queue.get_best_changes(9).await.unwrap(), (vec![], true), "it is told once");
    change().await;
    assert_eq!(queued(&queue).await.len(), 1, "and goes on");
    let unordered = watch(&watcher, UCAST, BEST_CHANGE).await;
    assert_eq!(error(unordered.get_best_changes(1).await), "InvalidHandle");
}

/// V1-10
#[tokio::test]
async fn what_the_best_route_says_counts_as_a_change_and_what_is_private_does_not() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let queue = queue(&watcher).await;
    let (id, _) = offer(&client, TO, []).await;
    assert_eq!(queued(&queue).await.len(), 1);
    let update = async |changes| client.entity.update_route(id, &changes).await.unwrap();
    let changed = [change(TO, CHANGED, id, id)];
    update(details([("metric", 5u32.into())])).await;
    assert_eq!(queued(&queue).await, changed, "the metric");
    update(details([("preference", 9u32.into())])).await;
    assert_eq!(queued(&queue).await, changed, "the preference");
    update(route("127.0.0.3", [])).await;
    assert_eq!(queued(&queue).await, changed, "the next hop");
    update(details([("via", vec![("127.0.0.3", 1u32)].into())])).await;
    assert_eq!(queued(&queue).await, changed, "the interface");
    update(details([("private", b"data".to_vec().into())])).await;
    assert_eq!(queued(&queue).await, [], "private data");
    offer(&client, TO, []).await;
    assert_eq!(queued(&queue).await, changed);
    offer(&client, TO, [("flags", 0x20u32.into())]).await;
    assert_eq!(queued(&queue).await, changed, "the flags");
    offer(&client, TO, [("flags", 0x20u32.into())]).await;
    assert_eq!(queued(&queue).await, [], "nothing");
    let other = Client::register(&bus, Family::Ipv4, 1).await;
    offer(&client, TO, [("preference", 200u32.into())]).await;
    queued(&queue).await;
    let (theirs, _) = offer(&other, TO, []).await;
    assert_eq!(queued(&queue).await, [change(TO, CHANGED, theirs, id)], "the protocol");
}

/// V1-11
#[tokio::test]
async fn deleting_by_criteria_takes_own_routes_that_match_and_tells_all_the_caller_too() {
    const NEIGHBOUR: u32 = 0x2;
    const INTERFACE: u32 = 0x10;
    const LOOPBACK: u32 = 1;
    let (bus, _service) = serve();
    let caller = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let watcher = Client::register(&bus, Family::Ipv4, RIP).await;
    let neighbour = hop(&caller, "127.0.0.9").await;
    let learnt = [("neighbour", neighbour.into())];
    let (one, _) = offer(&caller, TO, learnt.clone()).await;
    let (two, _) = offer(&caller, OTHER, learnt).await;
    let (elsewhere, _) = caller.add(OTHER, "203.0.113.77").await.unwrap();
    let (foreign, _) = offer(&other, TO, []).await;
    let queues = [queue(&caller).await, queue(&other).await, queue(&watcher).await];
    let delete =
        async |matching, criteria| caller.entity.delete_matching_routes(matching, &criteria).await;
    let left = async || ids(&watcher, 0, []).await;

    let nowhere = details([("interface", 4_000_000u32.into())]);
    assert_eq!(error(delete(INTERFACE, nowhere).await), "NoMoreItems");
    assert_eq!(error(delete(NEIGHBOUR, details([])).await), "InvalidParameter");
    assert_eq!(left().await.len(), 4);
    let by_both = details([("neighbour", neighbour.into()), ("interface", LOOPBACK.into())]);
    assert_eq!(delete(NEIGHBOUR | INTERFACE, by_both).await.unwrap(), 2);
    assert_eq!(left().await, [foreign, elsewhere]);
    let expected = [change(TO, CHANGED, foreign, one), change(OTHER, CHANGED, elsewhere, two)];
    for queue in &queues {
        let mut told = queued(queue).await;
        told.sort();
        assert_eq!(told, expected);
    }
    let network = details([("destination", OTHER.into())]);
    assert_eq!(delete(0, network.clone()).await.unwrap(), 1);
    assert_eq!(queued(&queues[0]).await, [change(OTHER, DELETED, 0, elsewhere)]);
    assert_eq!(error(delete(0, network).await), "NoMoreItems");
    assert_eq!(error(delete(0, details([])).await), "NoMoreItems", "the other's stays");
    assert_eq!(left().await, [foreign]);
}

/// V1-12
#[tokio::test]
async fn routes_are_enumerated_by_network_interface_and_protocol_each_once() {
    const OWNER: u32 = 0x1;
    const INTERFACE: u32 = 0x10;
    const LOOPBACK: u32 = 1;
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    assert_eq!(ids(&a, 0, []).await, [0; 0], "an empty table ends at once");
    let (one, _) = offer(&a, TO, []).await;
    let (two, _) = offer(&b, TO, []).await;
    let (three, _) = b.add(OTHER, "203.0.113.77").await.unwrap();
    let network = || ("destination", TO.into());
    let by_loopback = || ("interface", LOOPBACK.into());
    let of_b = || ("owner", b.id.into());
    assert_eq!(ids(&a, 0, []).await, [one, two, three]);
    assert_eq!(ids(&a, 0, [network()]).await, [one, two]);
    assert_eq!(ids(&a, INTERFACE, [by_loopback()]).await, [one, two]);
    assert_eq!(ids(&a, OWNER, [of_b()]).await, [two, three]);
    assert_eq!(ids(&a, OWNER, [network(), of_b()]).await, [two]);
    assert_eq!(ids(&a, OWNER | INTERFACE, [by_loopback(), of_b()]).await, [two]);
    assert_eq!(ids(&a, 0, [("destination", "12.0.0.0/8".into())]).await, [0; 0]);
    let beside = register_beside(&bus, RIP, 7).await;
    let (four, _) = offer(&beside, "12.0.0.0/8", []).await;
    let of_rip = || ("protocol", RIP.into());
    assert_eq!(ids(&a, 0, [of_rip()]).await, [two, three, four], "all instances of a protocol");
    assert_eq!(ids(&a, 0, [of_rip(), network()]).await, [two]);
    assert_eq!(ids(&a, INTERFACE, [of_rip(), by_loopback()]).await, [two, four]);
    assert_eq!(ids(&a, OWNER, [of_rip(), ("owner", a.id.into())]).await, [0; 0]);
    let best = |found: Vec<rtmd::bus::wire::RouteInfo>| {
        let is_best = |route: &rtmd::bus::wire::RouteInfo| {
            route.more.get("best-in-views").is_some_and(|views| u32::try_from(views) == Ok(UCAST))
        };
        found.into_iter().filter(is_best).map(|route| route.id).collect::<Vec<_>>()
    };
    let bests = best(routes(&a, (UCAST, 0, ""), 0, []).await);
    assert_eq!(bests, [one, three, four], "each tells where it is the best");
}

/// V1-13
#[tokio::test]
async fn from_any_network_on_the_next_routes_come_in_order_of_network() {
    const NEXT: u32 = 1;
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, RIP).await;
    for to in ["12.0.0.0/8", "10.1.0.0/16", TO, OTHER] {
        offer(&client, to, []).await;
    }
    offer(&other, OTHER, []).await;
    let from = async |to| {
        let found = routes(&client, (UCAST, NEXT, to), 0, []).await;
        found.into_iter().map(|route| route.destination).collect::<Vec<_>>()
    };
    let all = [TO, "10.1.0.0/16", OTHER, OTHER, "12.0.0.0/8"];
    assert_eq!(from("0.0.0.0/0").await, all);
    assert_eq!(from("10.1.0.0/16").await, all[1..]);
    assert_eq!(from("10.2.0.0/16").await, all[2..]);
    assert_eq!(from("13.0.0.0/8").await, all[5..]);
}

/// V1-14
#[tokio::test]
async fn the_best_of_a_network_their_number_their_age_and_the_longest_match_are_told() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, RIP).await;
    let table = &client.table;
    assert_eq!(table.destinations().await.unwrap(), 0);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let before = now();
    let (best, _) = offer(&client, TO, []).await;
    offer(&other, TO, []).await;
    offer(&other, "10.1.0.0/16", []).await;
    assert_eq!(table.destinations().await.unwrap(), 2, "networks, not routes");
    assert_eq!(find(&client, TO, UCAST).await.per_view[0].best, best);
    let none = table.get_exact_match_destination("10.0.0.0/9", 0, UCAST).await;
    assert_eq!(error(none), "NotFound");
    let changed = find(&client, TO, UCAST).await.last_changed;
    assert!((before..=now()).contains(&changed.into()));
    for (address, network) in [("10.1.2.3/32", "10.1.0.0/16"), ("10.2.0.0/32", TO)] {
        let found = table.get_most_specific_destination(address, 0, UCAST).await.unwrap();
        assert_eq!(found.prefix, network);
    }
    let found = table.get_most_specific_destination("11.0.0.0/32", 0, UCAST).await;
    assert_eq!(error(found), "NotFound");
}
