//! Those who follow a table and do not read: they cost little, and hold nobody up.

mod support;

use std::{net::Ipv6Addr, sync::mpsc, thread, time::Duration};

use futures_util::StreamExt as _;
use rtmd::{
    client::{self, NotificationProxy, TableProxy},
    model::Family,
};
use serde::Serialize;
use support::{Client, NO_FIB, PrivateBus, details, eventually, refusal, resident, route};
use zbus::{
    Connection, Message, MessageStream,
    message::Flags,
    wire::{DynamicType, ObjectPath},
};

const STATIC: u32 = 10006;
const OSPF: u32 = 13;
const DESTINATIONS: usize = 30_000;
const REGISTRATIONS: usize = 10;

fn prefixes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("10.{}.{}.0/24", n / 256 % 256, n % 256)).collect()
}

/// Offers every prefix with this metric.
async fn offer(client: &Client, prefixes: &[String], metric: u32) {
    for call in prefixes.chunks(4096) {
        let call: Vec<&str> = call.iter().map(String::as_str).collect();
        let route = route("127.0.0.2", [("metric", metric.into())]);
        let (_, errors) = client.entity.add_prefixes(&call, &route, 0).await.unwrap();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

/// Two megabytes more or less are nothing but the allocator's.
const SLACK: u64 = 2 << 20;

#[tokio::test]
async fn a_registration_costs_memory_by_destinations_and_never_by_changes() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let follower = bus.connect().await;
    let manager = client::manager(&follower).await.unwrap();
    let table = client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let prefixes = prefixes(DESTINATIONS);
    offer(&owner, &prefixes, 0).await;
    // Once more, so that what updating itself takes is taken.
    offer(&owner, &prefixes, 1).await;

    let mut registrations = Vec::new();
    for context in 0..REGISTRATIONS as u64 {
        let path = table.register_for_change_notification(0, 1, context).await.unwrap();
        registrations.push(NotificationProxy::new(&follower, path).await.unwrap());
    }
    let before = resident(service.pid());
    offer(&owner, &prefixes, 2).await;
    let once = resident(service.pid());
    let waiting = (DESTINATIONS * REGISTRATIONS) as u64;
    let bound = waiting * 16 + SLACK;
    let grown = once.saturating_sub(before);
    assert!(grown < bound, "{grown} bytes, more than {bound}");

    for metric in 3..11 {
        offer(&owner, &prefixes, metric).await;
    }
    let often = resident(service.pid());
    let grown = often.saturating_sub(once);
    assert!(grown < SLACK, "{grown} bytes more");

    let mut count = 0;
    loop {
        let (page, done) = registrations[0].get_changed_destinations(1000).await.unwrap();
        count += page.len();
        if done {
            break;
        }
    }
    assert_eq!(count, DESTINATIONS, "each once, however often it changed");
}

/// Those that are gone wait as well, and there is no end of prefixes in IPv6.
#[tokio::test]
async fn a_registration_does_not_grow_with_destinations_that_come_and_go() {
    const AT_A_TIME: usize = 2000;
    const MOST: usize = 3000;
    /// Of a prefix that has nothing in common with the others.
    const BYTES: u64 = 512;
    let bus = PrivateBus::start();
    let service = bus.serve(&format!("{NO_FIB}[limits]\npending-destinations = {MOST}\n"));
    let owner = Client::register(&bus, Family::Ipv6, STATIC).await;
    let mut fresh = fresh_prefixes();
    let mut churn = async |rounds| {
        for _ in 0..rounds {
            let prefixes: Vec<String> = fresh.by_ref().take(AT_A_TIME).collect();
            let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let blackhole = details([("flags", 2u32.into())]);
            let (ids, errors) = owner.entity.add_prefixes(&prefixes, &blackhole, 0).await.unwrap();
            assert_eq!(errors, []);
            assert_eq!(owner.entity.delete_routes(&ids).await.unwrap(), []);
        }
    };
    churn(2).await;
    let follower = bus.connect().await;
    let table = client::table(&owner.manager, 0, Family::Ipv6).await.unwrap();
    let table = TableProxy::new(&follower, table.inner().path().to_owned()).await.unwrap();
    let mut registrations = Vec::new();
    for context in 0..REGISTRATIONS as u64 {
        let path = table.register_for_change_notification(0, 1, context).await.unwrap();
        registrations.push(NotificationProxy::new(&follower, path).await.unwrap());
    }
    let before = resident(service.pid());
    churn(20).await;
    let grown = resident(service.pid()).saturating_sub(before);
    let bound = (MOST * REGISTRATIONS) as u64 * BYTES + SLACK;
    assert!(grown < bound, "{grown} bytes, more than {bound}");

    let (name, text) = refusal(registrations[0].get_changed_destinations(1000).await);
    assert_eq!(name, "NoSystemResources");
    assert!(text.ends_with("they are dropped: read the table anew"), "{text}");
    let fetch = registrations[0].get_changed_destinations(1000).await;
    assert_eq!(fetch.unwrap(), (vec![], true), "that is told once");
    churn(1).await;
    let (page, done) = registrations[0].get_changed_destinations(1000).await.unwrap();
    assert_eq!((page.len(), done), (1000, false), "what changed since");
}

/// Host prefixes all over IPv6, each another one.
fn fresh_prefixes() -> impl Iterator<Item = String> {
    // An odd factor turns different numbers into different ones.
    let bits = (0u128..).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
    bits.map(|bits| format!("{}/128", Ipv6Addr::from_bits(bits)))
}

/// What the bus keeps of the service's messages here, so little that the signals about all the
/// sleeper's routes would be too many: were they all sent, the bus would not read from the service
/// any more.
const KEPT: usize = 1 << 20;

#[test]
fn a_follower_that_stops_reading_its_socket_holds_nobody_up() {
    for bus in PrivateBus::of_each_kind_that_keeps(KEPT) {
        let _service = bus.serve(NO_FIB);
        let runtime = runtime();
        let owner = runtime.block_on(Client::register(&bus, Family::Ipv4, OSPF));
        let (ready, is_ready) = mpsc::channel();
        let (end, is_end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let bus = &bus;
            scope.spawn(move || {
                // Its connection is read by tasks of this runtime, which then stands still.
                let runtime = self::runtime();
                let held = runtime.block_on(sleeper(bus));
                ready.send(()).unwrap();
                let _ = is_end.recv();
                drop(held);
            });
            is_ready.recv().unwrap();
            runtime.block_on(go_on(&owner));
            drop(end);
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Follows everything, and offers routes that expire, about which it will be told.
async fn sleeper(bus: &PrivateBus) -> (Client, Vec<zbus::OwnedObjectPath>) {
    let sleeper = Client::register(bus, Family::Ipv4, STATIC).await;
    let mut registrations = Vec::new();
    for context in 0..REGISTRATIONS as u64 {
        let registered = sleeper.table.register_for_change_notification(0, 1, context);
        registrations.push(registered.await.unwrap());
    }
    let prefixes: Vec<String> =
        (0..4000).map(|n| format!("172.16.{}.{}/32", n / 256, n % 256)).collect();
    let all: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let route = details([("ttl", 300u32.into()), ("flags", 2u32.into())]);
    let (_, errors) = sleeper.entity.add_prefixes(&all, &route, 0).await.unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    (sleeper, registrations)
}

/// Changes a lot meanwhile; each call is answered, and what expires goes.
async fn go_on(owner: &Client) {
    let prefixes = prefixes(2000);
    for metric in 0..10 {
        let offered = offer(owner, &prefixes, metric);
        tokio::time::timeout(Duration::from_secs(20), offered).await.expect("an answer");
    }
    eventually("the sleeper's routes expire", async || {
        owner.table.routes().await.unwrap() == prefixes.len() as u64
    })
    .await;
}

/// How many signals of each kind wait for who is not heard from.
const UNHEARD: usize = 1024;

/// The paths of the objects that sent a signal of this name, until none has come for so long.
async fn heard(signals: &mut MessageStream, name: &str, quiet: u64) -> Vec<ObjectPath<'static>> {
    let (quiet, mut paths) = (Duration::from_millis(quiet), Vec::new());
    while let Ok(Some(message)) = tokio::time::timeout(quiet, signals.next()).await {
        let message = message.unwrap();
        let header = message.header();
        if header.member().is_some_and(|member| member.as_str() == name) {
            paths.push(header.path().unwrap().to_owned());
        }
    }
    paths
}

/// Calls a method of the service and wants no answer.
async fn cast(
    by: &Connection,
    (path, interface): (&ObjectPath<'_>, &str),
    method: &str,
    body: &(impl Serialize + DynamicType),
) {
    let call = Message::method_call(path, method).destination("org.rtmd1").interface(interface);
    let call = call.with_flags(Flags::NO_REPLY_EXPECTED).build(body).unwrap();
    by.send(&call).await.unwrap();
}

/// Offers routes that soon expire.
async fn expire(client: &Client, prefixes: &[String]) {
    let all: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let route = details([("ttl", 20u32.into()), ("flags", 2u32.into())]);
    let (_, errors) = client.entity.add_prefixes(&all, &route, 0).await.unwrap();
    assert_eq!(errors, []);
}

#[tokio::test]
async fn any_call_that_wants_an_answer_shows_that_a_client_reads() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut signals = MessageStream::from(&client.connection);
    for _ in 0..2 {
        expire(&client, &prefixes(UNHEARD + 200)).await;
        assert_eq!(heard(&mut signals, "RouteExpired", 500).await.len(), UNHEARD, "in bulk");
    }
    let entity = (client.entity.inner().path(), "org.rtmd1.Entity");
    let route = details([("ttl", 20u32.into()), ("flags", 2u32.into())]);
    let body = (vec!["10.0.0.0/24"], route, 0u32);
    cast(&client.connection, entity, "AddPrefixes", &body).await;
    assert_eq!(heard(&mut signals, "RouteExpired", 500).await.len(), 0, "that says nothing");
    client.table.get_routes("192.0.2.0/24").await.unwrap();
    cast(&client.connection, entity, "AddPrefixes", &body).await;
    assert_eq!(heard(&mut signals, "RouteExpired", 500).await.len(), 1);
}

/// CHG-18
#[tokio::test]
async fn who_only_listens_is_woken_however_many_of_its_routes_expired() {
    const MULTICAST: u32 = 2;
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    client.table.register_for_change_notification(MULTICAST, 1, 0).await.unwrap();
    let mut signals = MessageStream::from(&client.connection);
    expire(&client, &prefixes(UNHEARD + 200)).await;
    assert_eq!(heard(&mut signals, "RouteExpired", 500).await.len(), UNHEARD);
    let multicast = route("127.0.0.2", [("views", MULTICAST.into())]);
    other.entity.add_route("10.0.0.0/8", &multicast, 0).await.unwrap();
    assert_eq!(heard(&mut signals, "ChangeNotification", 500).await.len(), 1);
}

/// CHG-18
#[tokio::test]
async fn a_wake_up_that_was_not_sent_comes_when_the_client_is_heard_from() {
    const ALL: usize = 16;
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    for context in 0..ALL as u64 {
        client.table.register_for_change_notification(0, 1, context).await.unwrap();
    }
    let mut signals = MessageStream::from(&client.connection);
    let (mut woken, mut silence) = (0, 0);
    for metric in 0u32.. {
        offer(&owner, &["10.0.0.0/8".to_owned()], metric).await;
        let registrations = heard(&mut signals, "ChangeNotification", 20).await;
        woken += registrations.len();
        silence = if registrations.is_empty() { silence + 1 } else { 0 };
        if silence == 20 {
            break;
        }
        // Whoever wants no answer to that may not read.
        for path in &registrations {
            let registration = (path, "org.rtmd1.Notification");
            cast(&client.connection, registration, "GetChangedDestinations", &10u32).await;
        }
    }
    assert_eq!(woken, UNHEARD);
    client.manager.get_preferences().await.unwrap();
    assert_eq!(heard(&mut signals, "ChangeNotification", 500).await.len(), ALL);
}
