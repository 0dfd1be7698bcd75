//! What following a table costs: `make bench` (needs no rights).
//!
//! On a private bus, with the kernel left out of it:
//!
//! * **changes**: every route of a table offered again with another metric, while nobody, one and
//!   ten registrations for change notification follow all of it and fetch nothing; in turns, so
//!   that all meet the same machine;
//! * **memory**: what the service grew by for each destination that waits in a registration;
//! * **draining**: fetching everything that waits, a page at a time;
//! * **enumerating**: walking over all destinations, a page at a time, and how long another client's
//!   look-ups take meanwhile and without that.

use std::time::{Duration, Instant};

use clap::Parser;
use rtmd::{
    bus::wire::Details,
    client::{DestinationEnumerationProxy, NotificationProxy, TableProxy},
    model::Family,
};
use serde_json::json;
use zbus::{Connection, Variant};

mod arguments;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod times;

use arguments::arguments;
use support::{Client, NO_FIB, PrivateBus, details};
use times::Times;

/// Destinations of a call, and of a page.
const CALL: usize = 16_384;
const PAGE: u32 = 1000;
const FOLLOWERS: [usize; 3] = [0, 1, 10];

/// Measure what following a table costs
#[derive(Parser)]
struct Settings {
    /// Routes in the table
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    routes: usize,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Print the figures for programs
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    run(&Settings::parse_from(arguments())).await;
}

async fn run(settings: &Settings) {
    let bus = PrivateBus::start();
    // All that changes is to wait for all that follow, who are one user's.
    let (one, all) = (settings.routes, settings.routes * FOLLOWERS[2]);
    let limits = format!("pending-destinations = {one}\npending-destinations-per-user = {all}\n");
    let service = bus.serve(&format!("{NO_FIB}[limits]\n{limits}"));
    let prefixes = table::like_the_internets(settings.routes);
    let owner = Client::register(&bus, Family::Ipv4, 14).await;
    let follower = bus.connect().await;
    eprint!("loading ");
    offer(&owner, &prefixes, 0).await;

    let mut metric = 0;
    let mut changes = FOLLOWERS.map(|_| Times::default());
    let (mut draining, mut grown) = (Times::default(), Times::default());
    for round in 1..=settings.rounds {
        for (times, followers) in changes.iter_mut().zip(FOLLOWERS) {
            eprint!("\rround {round} of {}, {followers} followers ", settings.rounds);
            let registrations = follow(&follower, followers).await;
            let before = support::resident(service.pid());
            metric += 1;
            times.push(offer(&owner, &prefixes, metric).await);
            let after = support::resident(service.pid());
            if followers == 10 {
                grown.push(ratio(after.saturating_sub(before), settings.routes * followers));
            }
            for (place, registration) in registrations.iter().enumerate() {
                if place == 0 {
                    draining.push(drain(registration, settings.routes).await);
                }
                registration.deregister().await.unwrap();
            }
        }
    }
    eprint!("\renumerating                  ");
    let quiet = look_ups(&owner.table, &prefixes, Duration::from_secs(3)).await;
    let mut walking = Times::default();
    let mut busy = Times::default();
    for _ in 0..settings.rounds {
        // Threads of their own, or the one client's work would be the other one's waiting.
        let walk = std::thread::scope(|scope| {
            let walk = scope.spawn(|| runtime().block_on(walk(&bus, settings.routes)));
            let others = scope.spawn(|| {
                runtime().block_on(async {
                    let connection = bus.connect().await;
                    let table = table(&connection).await;
                    look_ups(&table, &prefixes, Duration::from_secs(3)).await
                })
            });
            busy.extend(others.join().unwrap());
            walk.join().unwrap()
        });
        walking.push(walk);
    }
    eprint!("\r                             \r");
    report(settings, &changes, (&draining, &grown), &walking, (&quiet, &busy));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Offers every prefix with this metric; the seconds it took.
async fn offer(owner: &Client, prefixes: &[String], metric: u32) -> f64 {
    let route: Details = details([
        ("metric", metric.into()),
        ("via", Variant::from(vec![("127.0.0.2".to_owned(), 0u32)])),
    ]);
    let began = Instant::now();
    for call in prefixes.chunks(CALL) {
        let call: Vec<&str> = call.iter().map(String::as_str).collect();
        let (_, errors) = owner.entity.add_prefixes(&call, &route, 0).await.unwrap();
        assert!(errors.is_empty(), "{errors:?}");
    }
    began.elapsed().as_secs_f64()
}

async fn table(connection: &Connection) -> TableProxy<'static> {
    let manager = rtmd::client::manager(connection).await.unwrap();
    rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap()
}

async fn follow(connection: &Connection, count: usize) -> Vec<NotificationProxy<'static>> {
    let table = table(connection).await;
    let mut registrations = Vec::new();
    for context in 0..count as u64 {
        let path = table.register_for_change_notification(0, 1, context).await.unwrap();
        registrations.push(NotificationProxy::new(connection, path).await.unwrap());
    }
    registrations
}

/// Fetches all that waits; the seconds it took.
async fn drain(registration: &NotificationProxy<'_>, expected: usize) -> f64 {
    let began = Instant::now();
    let mut count = 0;
    loop {
        let (page, done) = registration.get_changed_destinations(PAGE).await.unwrap();
        count += page.len();
        if done {
            break;
        }
    }
    assert_eq!(count, expected);
    began.elapsed().as_secs_f64()
}

/// Walks over all destinations; the seconds it took.
async fn walk(bus: &PrivateBus, expected: usize) -> f64 {
    let connection = bus.connect().await;
    let table = table(&connection).await;
    let path = table.create_destination_enumeration(u32::MAX, 0, "", 0).await.unwrap();
    let walk = DestinationEnumerationProxy::new(&connection, path).await.unwrap();
    let began = Instant::now();
    let mut count = 0;
    loop {
        let (page, done) = walk.next(PAGE).await.unwrap();
        count += page.len();
        if done {
            break;
        }
    }
    assert_eq!(count, expected);
    let seconds = began.elapsed().as_secs_f64();
    walk.close().await.unwrap();
    seconds
}

/// Seconds of single look-ups, one after the other.
async fn look_ups(table: &TableProxy<'_>, prefixes: &[String], span: Duration) -> Times {
    let mut times = Times::default();
    let began = Instant::now();
    for place in (0..prefixes.len()).step_by(997).cycle() {
        let called = Instant::now();
        table.get_most_specific_destination(&prefixes[place], 0, 1).await.unwrap();
        times.push(called.elapsed().as_secs_f64());
        if began.elapsed() > span {
            break;
        }
    }
    times
}

#[expect(clippy::cast_precision_loss, reason = "figures to be read by people")]
fn ratio(amount: u64, count: usize) -> f64 {
    amount as f64 / count as f64
}

fn report(
    settings: &Settings,
    changes: &[Times],
    (draining, grown): (&Times, &Times),
    walking: &Times,
    (quiet, busy): (&Times, &Times),
) {
    let rate = |times: &Times| (ratio(settings.routes as u64, 1) / times.median()).round();
    let micros = |seconds: f64| (seconds * 1e6).round();
    if settings.json {
        let changes = FOLLOWERS.iter().zip(changes);
        let changes: serde_json::Map<String, serde_json::Value> = changes
            .map(|(followers, times)| {
                (followers.to_string(), json!({ "seconds": times.values(), "rate": rate(times) }))
            })
            .collect();
        let figures = json!({
            "routes": settings.routes,
            "changes-by-followers": changes,
            "resident-bytes-per-pending-destination": grown.median(),
            "draining": { "seconds": draining.values(), "rate": rate(draining) },
            "enumerating": { "seconds": walking.values(), "rate": rate(walking) },
            "look-up-us": {
                "quiet": { "p50": micros(quiet.median()), "p99": micros(quiet.quantile(0.99)) },
                "enumerating": { "p50": micros(busy.median()), "p99": micros(busy.quantile(0.99)) },
            },
        });
        println!("{figures}");
        return;
    }
    println!("{} destinations, {} rounds, medians", settings.routes, settings.rounds);
    for (followers, times) in FOLLOWERS.iter().zip(changes) {
        let (least, most) = (times.quantile(0.0), times.quantile(1.0));
        println!(
            "changes, {followers:>2} followers         {:>6.2} s ({least:.2} to {most:.2})  {:>8} a second",
            times.median(),
            rate(times)
        );
    }
    println!("memory, ten followers       {:>6.1} bytes a pending destination", grown.median());
    for (what, times) in [("draining", draining), ("enumerating", walking)] {
        println!("{what:<27} {:>6.2} s  {:>8} a second", times.median(), rate(times));
    }
    for (what, times) in [("look-up, quiet", quiet), ("look-up while enumerating", busy)] {
        println!(
            "{what:<27} {:>6} µs p50, {} µs p99",
            micros(times.median()),
            micros(times.quantile(0.99))
        );
    }
}
