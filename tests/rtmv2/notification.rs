//! Change notification (6.13).

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use rtmd::{client::NotificationProxy, model::Family};
use zbus::MessageStream;

use crate::support::{Client, NO_FIB, PrivateBus, details, eventually, route};
use crate::{
    ALL_VIEWS, ANY_CHANGE, BEST_CHANGE, FORWARDING_CHANGE, GATEWAY, MCAST, ONLY_MARKED, ORDERED,
    OSPF, STATIC, UCAST, best, changed, error, find, hop, is_unknown_object, offer, serve,
    serve_with, told, watch, watch_as,
};

const TO: &str = "10.0.0.0/8";
const OTHER: &str = "11.0.0.0/8";

/// Registrations for every combination of types of change.
struct Types(Vec<(u32, NotificationProxy<'static>)>);

impl Types {
    async fn of(by: &Client) -> Self {
        let mut all = Vec::new();
        for types in 1..8 {
            all.push((types, watch(by, UCAST, types).await));
        }
        Self(all)
    }

    /// The types that what happened since was told to. Several together hear what any of them does.
    async fn heard(&self) -> u32 {
        let (mut single, mut together) = (0, Vec::new());
        for (types, registration) in &self.0 {
            let heard = !told(registration).await.is_empty();
            if types.is_power_of_two() && heard {
                single |= types;
            }
            together.push((*types, heard));
        }
        for (types, heard) in together {
            assert_eq!(heard, types & single != 0, "types {types:#x}, of which {single:#x} heard");
        }
        single
    }
}

const EVERY_TYPE: u32 = ANY_CHANGE | BEST_CHANGE | FORWARDING_CHANGE;

/// The wake-ups that come to a connection. Its registrations for the multicast view are taken.
struct WakeUps {
    all: MessageStream,
    end: NotificationProxy<'static>,
    rounds: u32,
}

impl WakeUps {
    const END: u64 = 99;

    async fn to(client: &Client) -> Self {
        let all = MessageStream::from(&client.connection);
        let end = watch_as(client, MCAST, ANY_CHANGE, Self::END).await;
        Self { all, end, rounds: 0 }
    }

    /// The contexts of those that came since. Wake-ups that are due together come in any order, so
    /// only a second one that this causes itself is behind them all.
    async fn so_far(&mut self, by: &Client) -> Vec<u64> {
        let mut contexts = Vec::new();
        for _ in 0..2 {
            self.rounds += 1;
            let last = [("views", MCAST.into()), ("metric", self.rounds.into())];
            offer(by, "224.0.0.0/4", last).await;
            loop {
                match self.next().await {
                    Self::END => break,
                    context => contexts.push(context),
                }
            }
            assert_eq!(told(&self.end).await, ["224.0.0.0/4"]);
        }
        contexts
    }

    async fn next(&mut self) -> u64 {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.all.next()).await;
            let message = next.expect("the last one comes").unwrap().unwrap();
            if message.header().member().is_some_and(|member| *member == "ChangeNotification") {
                return message.body().deserialize().unwrap();
            }
        }
    }
}

/// CHG-02
#[tokio::test]
async fn a_registration_without_a_type_of_change_is_refused() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for flags in [0, ONLY_MARKED, ORDERED, ONLY_MARKED | ORDERED, 0x8, ANY_CHANGE | 0x8000_0000] {
        let refused = client.table.register_for_change_notification(UCAST, flags, 0).await;
        assert_eq!(error(refused), "InvalidParameter", "{flags:#x}");
    }
}

/// CHG-03, CHG-13, CHG-38
#[tokio::test]
async fn a_registration_hears_of_its_views_alone_and_without_any_of_all() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for views in [0x4, 0x5, 0x8000_0000] {
        let refused = client.table.register_for_change_notification(views, ANY_CHANGE, 0).await;
        assert_eq!(error(refused), "NotSupported", "{views:#x}");
    }
    let ucast = watch(&client, UCAST, EVERY_TYPE).await;
    let mcast = watch(&client, MCAST, EVERY_TYPE).await;
    let none_named = watch(&client, 0, EVERY_TYPE).await;
    let all = watch(&client, ALL_VIEWS, EVERY_TYPE).await;
    let heard = async || {
        let mut heard = Vec::new();
        for registration in [&ucast, &mcast, &none_named, &all] {
            heard.push(!told(registration).await.is_empty());
        }
        heard
    };
    offer(&client, TO, [("views", MCAST.into())]).await;
    assert_eq!(heard().await, [false, true, true, true]);
    offer(&client, TO, [("views", MCAST.into()), ("metric", 5u32.into())]).await;
    assert_eq!(heard().await, [false, true, true, true]);
    offer(&client, OTHER, [("views", UCAST.into())]).await;
    assert_eq!(heard().await, [true, false, true, true]);
    offer(&client, TO, [("views", UCAST.into())]).await;
    assert_eq!(heard().await, [true; 4], "it left one and entered the other");
    offer(&client, OTHER, []).await;
    let records = changed(&none_named).await;
    assert!(records.is_empty(), "nothing changed: {records:?}");
    offer(&client, OTHER, [("metric", 1u32.into())]).await;
    let records = changed(&none_named).await.remove(0).per_view;
    assert_eq!(records.iter().map(|record| record.view).collect::<Vec<_>>(), [0, 1]);
}

/// CHG-04
#[tokio::test]
async fn beyond_the_limits_on_registrations_there_are_no_resources() {
    let limits = "[limits]\nnotifications = 3\nnotifications-per-client = 2\n";
    let (bus, _service) = serve_with(&format!("{NO_FIB}{limits}"));
    let greedy = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let register =
        async |by: &Client| by.table.register_for_change_notification(UCAST, ANY_CHANGE, 0).await;
    let first = watch(&greedy, UCAST, ANY_CHANGE).await;
    register(&greedy).await.unwrap();
    assert_eq!(error(register(&greedy).await), "NoSystemResources", "of one client");
    register(&other).await.unwrap();
    assert_eq!(error(register(&other).await), "NoSystemResources", "of all");
    first.deregister().await.unwrap();
    register(&other).await.expect("one that ended makes room");
}

/// CHG-05, CHG-08, CHG-12
#[tokio::test]
async fn only_all_hears_of_a_route_that_is_not_best_and_stays_so() {
    let (bus, _service) = serve();
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    offer(&preferred, TO, []).await;
    let types = Types::of(&other).await;
    let (id, _) = offer(&other, TO, []).await;
    assert_eq!(types.heard().await, ANY_CHANGE, "it came");
    offer(&other, TO, [("metric", 7u32.into())]).await;
    assert_eq!(types.heard().await, ANY_CHANGE, "its metric changed");
    offer(&other, TO, [("metric", 7u32.into()), ("flags", 0x3u32.into())]).await;
    assert_eq!(types.heard().await, ANY_CHANGE, "its flags changed");
    other.entity.update_route(id, &route("127.0.0.3", [])).await.unwrap();
    assert_eq!(types.heard().await, ANY_CHANGE, "its next hop changed");
    other.entity.delete_route(id).await.unwrap();
    assert_eq!(types.heard().await, ANY_CHANGE, "it went");
    offer(&other, OTHER, []).await;
    assert_eq!(types.heard().await, EVERY_TYPE, "elsewhere it is the best");
}

/// CHG-06, CHG-10
#[tokio::test]
async fn all_types_hear_when_another_route_becomes_the_best() {
    let (bus, _service) = serve();
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let neighbour = hop(&other, "127.0.0.9").await;
    let types = Types::of(&other).await;
    let best_is = async |id| assert_eq!(best(&other, TO, UCAST).await, id);
    let (first, _) = offer(&other, TO, []).await;
    assert_eq!(types.heard().await, EVERY_TYPE, "the first one came");
    best_is(first).await;
    let rival = [("neighbour", neighbour.into()), ("metric", 5u32.into())];
    let (second, _) = offer(&other, TO, rival).await;
    assert_eq!(types.heard().await, ANY_CHANGE);
    offer(&other, TO, [("metric", 9u32.into())]).await;
    assert_eq!(types.heard().await, EVERY_TYPE, "the best one became worse");
    best_is(second).await;
    let (third, _) = offer(&preferred, TO, []).await;
    assert_eq!(types.heard().await, EVERY_TYPE, "a better one came");
    best_is(third).await;
    preferred.entity.delete_route(third).await.unwrap();
    assert_eq!(types.heard().await, EVERY_TYPE, "the best one went");
    best_is(second).await;
}

/// CHG-07, CHG-10, CHG-11, CHG-12
#[tokio::test]
async fn forwarding_hears_of_the_best_routes_content_but_for_flags_that_are_not_about_it() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let types = Types::of(&client).await;
    let (id, _) = offer(&client, TO, []).await;
    assert_eq!(types.heard().await, EVERY_TYPE);
    offer(&client, TO, [("preference", 9u32.into())]).await;
    assert_eq!(types.heard().await, EVERY_TYPE, "the preference");
    assert_eq!(client.table.get_route_info(id).await.unwrap().preference, 9);
    offer(&client, TO, []).await;
    assert_eq!(types.heard().await, EVERY_TYPE);
    client.entity.update_route(id, &route("127.0.0.3", [])).await.unwrap();
    assert_eq!(types.heard().await, EVERY_TYPE, "the next hops");
    offer(&client, TO, []).await;
    assert_eq!(types.heard().await, EVERY_TYPE);
    for bit in (0..16).map(|n| 1u32 << n) {
        let about_forwarding = bit & 0x000F != 0;
        let expected = if about_forwarding { EVERY_TYPE } else { ANY_CHANGE | BEST_CHANGE };
        offer(&client, TO, [("flags", bit.into())]).await;
        assert_eq!(types.heard().await, expected, "flag {bit:#x} came");
        offer(&client, TO, []).await;
        assert_eq!(types.heard().await, expected, "flag {bit:#x} went");
        assert_eq!(best(&client, TO, UCAST).await, id, "it was the best throughout");
    }
}

/// CHG-09
#[tokio::test]
async fn a_new_metric_of_the_best_route_is_for_best_and_forwarding_too() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    offer(&other, TO, []).await;
    let (id, _) = offer(&client, TO, []).await;
    let types = Types::of(&client).await;
    for metric in [5u32, 4] {
        offer(&client, TO, [("metric", metric.into())]).await;
        assert_eq!(types.heard().await, EVERY_TYPE, "{metric}");
        assert_eq!(best(&client, TO, UCAST).await, id);
    }
}

/// CHG-08, CHG-35, CHG-39
#[tokio::test]
async fn an_update_of_nothing_is_not_told_and_of_private_data_only_to_all() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let private = |bytes: &[u8]| [("private", bytes.to_vec().into())];
    let (id, _) = offer(&client, TO, private(b"one")).await;
    let types = Types::of(&client).await;
    offer(&client, TO, private(b"one")).await;
    assert_eq!(types.heard().await, 0, "offered again as it is");
    client.entity.update_route(id, &details([("metric", 0u32.into())])).await.unwrap();
    assert_eq!(types.heard().await, 0, "updated to what it is");
    offer(&client, TO, private(b"two")).await;
    assert_eq!(types.heard().await, ANY_CHANGE, "offered again");
    client.entity.update_route(id, &details(private(b"three"))).await.unwrap();
    assert_eq!(types.heard().await, ANY_CHANGE, "updated");
}

/// CHG-14
#[tokio::test]
async fn changed_destinations_come_with_the_records_of_the_registered_views_as_they_are_now() {
    let (bus, _service) = serve();
    let one = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let mut registrations = Vec::new();
    for views in [UCAST, MCAST, UCAST | MCAST] {
        registrations.push((views, watch(&other, views, BEST_CHANGE).await));
    }
    let (mine, _) = offer(&other, TO, [("views", (UCAST | MCAST).into())]).await;
    let (preferred, _) = offer(&one, TO, []).await;
    for (views, registration) in &registrations {
        let expected = find(&one, TO, *views).await;
        assert_eq!(changed(registration).await, [expected], "{views:#x}");
    }
    let bests: Vec<u64> =
        find(&one, TO, ALL_VIEWS).await.per_view.iter().map(|record| record.best).collect();
    assert_eq!(bests, [preferred, mine], "of whatever protocol");
    for (_, registration) in &registrations {
        assert_eq!(told(registration).await, [""; 0], "what was fetched waits no more");
    }
}

/// CHG-15, CHG-17
#[tokio::test]
async fn many_changes_of_one_destination_come_as_one_until_it_was_fetched() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let registration = watch(&client, UCAST, ANY_CHANGE).await;
    for round in 0..3u32 {
        offer(&client, OTHER, [("metric", round.into())]).await;
        for metric in 0..50u32 {
            offer(&client, TO, [("metric", (round * 50 + metric).into())]).await;
        }
        let found = changed(&registration).await;
        assert_eq!(found, [find(&client, TO, UCAST).await, find(&client, OTHER, UCAST).await]);
    }
    let (id, _) = offer(&client, TO, []).await;
    client.entity.delete_route(id).await.unwrap();
    let (again, _) = offer(&client, TO, []).await;
    let found = changed(&registration).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].per_view[0].best, found[0].per_view[0].routes), (again, 1));
}

/// CHG-16
#[tokio::test]
async fn pages_of_changes_keep_to_the_limit_and_the_end_is_told() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nmax-handles = 4\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let registration = watch(&client, UCAST, ANY_CHANGE).await;
    let all: Vec<String> = (0..10).map(|n| format!("10.{n}.0.0/16")).collect();
    for to in &all {
        offer(&client, to, []).await;
    }
    for size in [0, 5, u32::MAX] {
        let refused = registration.get_changed_destinations(size).await;
        assert_eq!(error(refused), "InvalidParameter", "{size}");
    }
    let mut seen = Vec::new();
    for (size, last) in [(4, false), (4, false), (2, true)] {
        let (page, done) = registration.get_changed_destinations(4).await.unwrap();
        assert_eq!((page.len(), done), (size, last));
        seen.extend(page.into_iter().map(|destination| destination.prefix));
    }
    seen.sort();
    assert_eq!(seen, all, "each once");
    for _ in 0..2 {
        assert_eq!(registration.get_changed_destinations(4).await.unwrap(), (vec![], true));
    }
}

/// CHG-01, CHG-18, CHG-37
#[tokio::test]
async fn the_wake_up_comes_once_and_again_only_after_everything_was_fetched() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, OSPF).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let add = async |n: u32, metric: u32| {
        offer(&client, &format!("10.{n}.0.0/16"), [("metric", metric.into())]).await
    };
    add(200, 0).await;
    let mut wake_ups = WakeUps::to(&watcher).await;
    let registration = watch_as(&watcher, UCAST, ANY_CHANGE, 7).await;
    assert_eq!(wake_ups.so_far(&client).await, [0; 0], "what is there already is no news");
    assert_eq!(told(&registration).await, [""; 0]);
    for n in 0..100 {
        add(n, 0).await;
    }
    assert_eq!(wake_ups.so_far(&client).await, [7], "with the context");
    let (page, done) = registration.get_changed_destinations(60).await.unwrap();
    assert_eq!((page.len(), done), (60, false));
    add(0, 1).await;
    assert_eq!(wake_ups.so_far(&client).await, [0; 0], "something waits still");
    assert_eq!(told(&registration).await.len(), 41);
    assert_eq!(wake_ups.so_far(&client).await, [0; 0]);
    for n in 0..2 {
        add(n, 2).await;
        assert_eq!(wake_ups.so_far(&client).await, if n == 0 { vec![7] } else { vec![] });
    }
    registration.ignore_changed_destinations(&["10.0.0.0/16", "10.1.0.0/16"]).await.unwrap();
    add(0, 3).await;
    assert_eq!(wake_ups.so_far(&client).await, [7], "nothing waited any more");
}

/// CHG-18
#[tokio::test]
async fn who_fetches_only_when_woken_misses_nothing_and_is_never_woken_for_nothing() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, OSPF).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let registration = watch(&watcher, UCAST, BEST_CHANGE).await;
    let mut wake_ups = registration.receive_change_notification().await.unwrap();
    let busy = tokio::spawn(async move {
        for n in 0..600u32 {
            let to = format!("10.{}.0.0/16", n * 7 % 20);
            let (id, _) = offer(&client, &to, [("metric", n.into())]).await;
            if n % 5 == 0 {
                client.entity.delete_route(id).await.unwrap();
            }
        }
        offer(&client, OTHER, []).await;
        client
    });
    let mut known = BTreeMap::new();
    while !known.contains_key(OTHER) {
        let next = tokio::time::timeout(Duration::from_secs(10), wake_ups.next()).await;
        next.expect("it is woken").unwrap();
        let (page, done) = registration.get_changed_destinations(1000).await.unwrap();
        assert!(!page.is_empty() && done, "it is never woken for nothing");
        known.extend(page.into_iter().map(|found| (found.prefix, found.per_view[0].best)));
    }
    let client = busy.await.unwrap();
    known.retain(|_, best| *best != 0);
    let there = crate::routes(&client, (UCAST, 0, ""), 0, []).await;
    let there: BTreeMap<_, _> =
        there.into_iter().map(|route| (route.destination, route.id)).collect();
    assert_eq!(known, there);
}

/// CHG-19
#[tokio::test]
async fn a_deleted_destination_comes_without_a_route() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let types = Types::of(&client).await;
    let registration = watch(&client, ALL_VIEWS, ANY_CHANGE).await;
    let (id, _) = offer(&client, TO, []).await;
    assert_eq!(told(&registration).await, [TO]);
    types.heard().await;
    client.entity.delete_route(id).await.unwrap();
    let gone = changed(&registration).await.remove(0);
    assert_eq!((gone.prefix.as_str(), gone.views, gone.per_view.len()), (TO, 0, 2));
    for record in gone.per_view {
        assert_eq!((record.routes, record.best, record.owner, record.held), (0, 0, 0, 0));
    }
    assert_eq!(types.heard().await, EVERY_TYPE);
}

/// CHG-20, CHG-21, CHG-22
#[tokio::test]
async fn a_change_waits_until_it_is_fetched_or_ignored_and_the_next_one_waits_again() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let registration = watch(&client, UCAST, ANY_CHANGE).await;
    let waits = async |to| registration.get_change_status(to).await.unwrap();
    let mut metric = 0u32;
    let mut change = async |to: &'static str| {
        metric += 1;
        offer(&client, to, [("metric", metric.into())]).await;
    };
    assert!(!waits(TO).await);
    change(TO).await;
    assert!(waits(TO).await && !waits(OTHER).await);
    assert!(waits(TO).await, "asking takes nothing");
    assert_eq!(told(&registration).await, [TO]);
    assert!(!waits(TO).await);

    change(TO).await;
    change(OTHER).await;
    registration.ignore_changed_destinations(&[TO]).await.unwrap();
    assert!(!waits(TO).await && waits(OTHER).await);
    assert_eq!(told(&registration).await, [OTHER], "the ignored one is dropped");
    change(TO).await;
    assert!(waits(TO).await, "what changes later comes");
    assert_eq!(told(&registration).await, [TO]);

    registration.ignore_changed_destinations(&[TO, "192.0.2.0/24"]).await.unwrap();
    change(TO).await;
    assert_eq!(told(&registration).await, [TO], "nothing waited, and nothing is suppressed");
}

/// CHG-23, CHG-24, CHG-25, CHG-26
#[tokio::test]
async fn only_marked_destinations_are_told_of_if_so_asked_and_otherwise_marks_do_not_count() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let marked = watch(&client, UCAST, ANY_CHANGE | ONLY_MARKED).await;
    let beside = watch(&client, UCAST, ANY_CHANGE | ONLY_MARKED).await;
    let all = watch(&client, UCAST, ANY_CHANGE).await;
    let mut metric = 0u32;
    let mut heard = async || {
        metric += 1;
        for to in [TO, OTHER] {
            offer(&client, to, [("metric", metric.into())]).await;
        }
        assert_eq!(told(&all).await, [TO, OTHER], "it hears of everything");
        (told(&marked).await, told(&beside).await)
    };
    let nothing: Vec<String> = Vec::new();
    assert_eq!(heard().await, (nothing.clone(), nothing.clone()), "nothing is marked");
    marked.mark_destination(TO, true).await.unwrap();
    all.mark_destination(OTHER, true).await.unwrap();
    assert!(marked.is_marked(TO).await.unwrap() && all.is_marked(OTHER).await.unwrap());
    assert!(!marked.is_marked(OTHER).await.unwrap(), "each destination by itself");
    assert!(!beside.is_marked(TO).await.unwrap(), "each registration by itself");
    assert_eq!(heard().await, (vec![TO.to_owned()], nothing.clone()));
    marked.mark_destination(TO, false).await.unwrap();
    assert!(!marked.is_marked(TO).await.unwrap());
    beside.mark_destination(OTHER, true).await.unwrap();
    assert_eq!(heard().await, (nothing, vec![OTHER.to_owned()]));
}

/// CHG-27, CHG-28
#[tokio::test]
async fn a_mark_survives_its_destination_and_taking_it_drops_what_waits() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let marked = watch(&client, UCAST, ANY_CHANGE | ONLY_MARKED).await;
    marked.mark_destination(TO, true).await.expect("it need not be there");
    for _ in 0..2 {
        let (id, _) = offer(&client, TO, []).await;
        assert_eq!(told(&marked).await, [TO]);
        client.entity.delete_route(id).await.unwrap();
        assert_eq!(told(&marked).await, [TO]);
        assert!(marked.is_marked(TO).await.unwrap());
    }
    offer(&client, TO, []).await;
    assert!(marked.get_change_status(TO).await.unwrap());
    marked.mark_destination(TO, false).await.unwrap();
    assert!(!marked.get_change_status(TO).await.unwrap());
    assert_eq!(told(&marked).await, [""; 0]);
}

/// CHG-29
#[tokio::test]
async fn after_deregistration_nothing_comes_and_the_id_is_dead() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, OSPF).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut wake_ups = WakeUps::to(&watcher).await;
    let registration = watch_as(&watcher, UCAST, ANY_CHANGE, 7).await;
    let path = registration.inner().path().to_owned();
    let foreign = NotificationProxy::builder(&client.connection).path(path.clone());
    let foreign = foreign.build().await.unwrap();
    assert_eq!(error(foreign.get_changed_destinations(1).await), "InvalidHandle");
    assert_eq!(error(foreign.deregister().await), "InvalidHandle");
    offer(&client, TO, []).await;
    assert_eq!(wake_ups.so_far(&client).await, [7]);
    assert_eq!(told(&registration).await, [TO]);
    registration.deregister().await.unwrap();
    offer(&client, TO, [("metric", 1u32.into())]).await;
    assert_eq!(wake_ups.so_far(&client).await, [0; 0]);
    let next = watch(&watcher, UCAST, ANY_CHANGE).await;
    assert_ne!(*next.inner().path(), path, "ids are not used again");
    assert!(is_unknown_object(registration.get_changed_destinations(1).await));
    assert!(is_unknown_object(registration.ignore_changed_destinations(&[TO]).await));
    assert!(is_unknown_object(registration.get_change_status(TO).await));
    assert!(is_unknown_object(registration.mark_destination(TO, true).await));
    assert!(is_unknown_object(registration.is_marked(TO).await));
    assert!(is_unknown_object(registration.get_best_changes(1).await));
    assert!(is_unknown_object(registration.deregister().await));
}

/// CHG-01, CHG-30
#[tokio::test]
async fn several_registrations_keep_what_waits_their_marks_and_their_contexts_apart() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut wake_ups = WakeUps::to(&client).await;
    let first = watch_as(&client, UCAST, ANY_CHANGE | ONLY_MARKED, 1).await;
    let second = watch_as(&client, UCAST, ANY_CHANGE | ONLY_MARKED, u64::MAX).await;
    assert_ne!(first.inner().path(), second.inner().path());
    first.mark_destination(TO, true).await.unwrap();
    second.mark_destination(OTHER, true).await.unwrap();
    offer(&client, TO, []).await;
    assert_eq!(wake_ups.so_far(&client).await, [1]);
    offer(&client, OTHER, []).await;
    assert_eq!(wake_ups.so_far(&client).await, [u64::MAX]);
    assert_eq!(told(&second).await, [OTHER]);
    assert!(first.get_change_status(TO).await.unwrap());
    assert_eq!(told(&first).await, [TO], "the other fetched only its own");
    first.deregister().await.unwrap();
    offer(&client, OTHER, [("metric", 1u32.into())]).await;
    assert_eq!(told(&second).await, [OTHER], "and goes on alone");
}

/// CHG-31
#[tokio::test]
async fn who_makes_a_change_is_told_of_it_too() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut wake_ups = WakeUps::to(&client).await;
    let registration = watch_as(&client, UCAST, BEST_CHANGE, 3).await;
    offer(&client, TO, []).await;
    assert_eq!(wake_ups.so_far(&client).await, [3]);
    assert_eq!(told(&registration).await, [TO]);
}

/// CHG-32, REG-12
#[tokio::test]
async fn a_client_that_no_signal_reaches_works_and_polls() {
    let bus = PrivateBus::with_policy(
        "<allow own=\"*\"/><deny receive_type=\"signal\" receive_interface=\"org.rtmd1.Notification\"/>\
         <deny receive_type=\"signal\" receive_interface=\"org.rtmd1.Table\"/>",
    );
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let registration = watch(&client, UCAST, BEST_CHANGE).await;
    let mut wake_ups = registration.receive_change_notification().await.unwrap();
    for to in [TO, OTHER] {
        let (id, _) = offer(&other, to, []).await;
        assert!(registration.get_change_status(to).await.unwrap());
        assert_eq!(changed(&registration).await, [find(&client, to, UCAST).await]);
        other.entity.delete_route(id).await.unwrap();
        assert_eq!(told(&registration).await, [to]);
        offer(&client, to, []).await;
        assert_eq!(told(&registration).await, [to]);
    }
    let none = tokio::time::timeout(Duration::from_millis(100), wake_ups.next()).await;
    assert!(none.is_err(), "the bus delivers none");
}

/// CHG-34
#[tokio::test]
async fn beginning_and_end_of_a_hold_are_told() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    client.entity.hold_destination(TO, UCAST, 1500).await.unwrap();
    let any = watch(&client, UCAST, ANY_CHANGE).await;
    let best = watch(&client, UCAST, BEST_CHANGE).await;
    let forwarding = watch(&client, UCAST, FORWARDING_CHANGE).await;
    client.entity.delete_route(id).await.unwrap();
    for registration in [&any, &best, &forwarding] {
        let begun = changed(registration).await.remove(0);
        assert_eq!((begun.per_view[0].best, begun.per_view[0].held), (0, id));
    }
    let ends = async || any.get_change_status(TO).await.unwrap();
    eventually("the end of the hold is told", ends).await;
    for registration in [&any, &best] {
        let ended = changed(registration).await.remove(0);
        assert_eq!((ended.prefix.as_str(), ended.per_view[0].held), (TO, 0));
    }
    assert_eq!(told(&forwarding).await, [""; 0], "forwarding never followed it");
}

/// CHG-37
#[tokio::test]
async fn registering_tells_nothing_of_what_is_there() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (to, via) in [(TO, GATEWAY), (OTHER, "127.0.0.3")] {
        client.add(to, via).await.unwrap();
    }
    let types = Types::of(&client).await;
    assert_eq!(types.heard().await, 0);
    let ordered = watch(&client, UCAST, BEST_CHANGE | ORDERED).await;
    assert_eq!(ordered.get_best_changes(9).await.unwrap(), (vec![], true));
    let collected = ordered.get_changed_destinations(9).await;
    assert_eq!(error(collected), "InvalidHandle", "an empty answer would say that nothing changed");
    client.add("12.0.0.0/8", GATEWAY).await.unwrap();
    assert_eq!(types.heard().await, EVERY_TYPE, "what comes later is told");
}
