//! Those who follow a table and do not read: they cost little, and hold nobody up.

mod support;

use std::{net::Ipv6Addr, sync::mpsc, thread, time::Duration};

use rtmd::{
    client::{self, NotificationProxy, TableProxy},
    model::Family,
};
use support::{Client, NO_FIB, PrivateBus, details, eventually, refusal, resident, route};

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
    assert!(once - before < bound, "{} bytes, more than {bound}", once - before);

    for metric in 3..11 {
        offer(&owner, &prefixes, metric).await;
    }
    let often = resident(service.pid());
    assert!(often.saturating_sub(once) < SLACK, "{} bytes more", often - once);

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

#[test]
fn a_follower_that_stops_reading_its_socket_holds_nobody_up() {
    for bus in PrivateBus::of_each_kind() {
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
