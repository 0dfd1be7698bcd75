//! The service with a wall clock that the test sets: no time to live follows it, and when it breaks,
//! which makes whoever asks for the time panic, the service ends where everybody sees it. This takes
//! the C compiler that Rust links with.
#![allow(clippy::print_stdout, reason = "the reason of a skip has to be seen")]

mod support;

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rtmd::model::Family;
use support::{Client, NO_FIB, PrivateBus, Service, details, eventually, found, refusal};

const STATIC: u32 = 10006;
const DAY: i64 = 24 * 60 * 60;

/// A service whose wall clock is ahead by so many seconds as is written to its file; `None` where
/// that cannot be made.
fn serve(bus: &PrivateBus) -> Option<Service> {
    if !found("cc") {
        return None;
    }
    let library = bus.path("setting.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clock/setting.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().unwrap().success());
    let set = |name: &str, to: &std::path::Path| -> &'static str {
        format!("{name}={}", to.display()).leak()
    };
    let mut launch = bus.launch(NO_FIB, "first");
    let [preload, setting] =
        [set("LD_PRELOAD", &library), set("CLOCK_SETTING", &bus.path("setting"))];
    launch.wrapper = vec!["env", preload, setting];
    let service = launch.start();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bus.busctl(&["status", "org.rtmd1"]).status.success() {
        assert!(Instant::now() < deadline, "rtmd does not come up");
    }
    Some(service)
}

/// TTL-12
#[tokio::test]
async fn setting_the_clock_of_the_machine_changes_no_time_to_live() {
    let bus = PrivateBus::start();
    let Some(_service) = serve(&bus) else { return };
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let offer = async |to: &str, ttl: u32| {
        let route = details([("ttl", ttl.into())]);
        client.entity.add_route(to, &route, 0).await.unwrap().0
    };
    for ahead in [DAY, -DAY] {
        fs::write(bus.path("setting"), "0").unwrap();
        let offered = Instant::now();
        let id = offer("10.0.0.0/8", 3000).await;
        fs::write(bus.path("setting"), ahead.to_string()).unwrap();
        let left = client.table.get_route_info(id).await.unwrap().more["expires-in"].clone();
        let left = u32::try_from(&left).unwrap();
        assert!((1..=3000).contains(&left), "{left} ms left");

        let other = offer("11.0.0.0/8", u32::MAX).await;
        let found = client.table.get_exact_match_destination("11.0.0.0/8", 0, 1).await.unwrap();
        let told = i64::try_from(found.last_changed / 1_000_000).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let jump = told - i64::try_from(now).unwrap();
        assert!((jump - ahead).abs() < 60, "the clock was set by {ahead} s, and seen by {jump} s");
        client.entity.delete_route(other).await.unwrap();

        eventually("it expires", async || client.table.routes().await.unwrap() == 0).await;
        let lived = offered.elapsed();
        assert!((3.0..8.0).contains(&lived.as_secs_f64()), "it lived {lived:?}");
    }
}

/// A task that panics would leave a service that looks alive and never answers.
#[tokio::test]
async fn a_panic_in_a_call_ends_the_service_and_leaves_nobody_waiting() {
    const ABORT: i32 = 6;
    let bus = PrivateBus::start();
    let Some(mut service) = serve(&bus) else { return };
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv6, STATIC).await;
    fs::write(bus.path("setting"), "broken").unwrap();
    let route = details([]);
    let answer = client.entity.add_route("10.0.0.0/8", &route, 0);
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    assert!(refusal(answer.expect("an answer")).0.contains("NoReply"));
    assert_eq!(service.end().signal(), Some(ABORT));
    assert!(service.log().contains("panicked at"), "{}", service.log());

    let gone = tokio::time::timeout(Duration::from_secs(20), other.table.get_routes("::/0")).await;
    gone.expect("an answer").expect_err("nobody is there");
    // The next one goes on where it was, without the call that ended this one.
    let _next = bus.serve(NO_FIB);
    assert_eq!(client.table.routes().await.unwrap(), 0);
    let usual = support::route("127.0.0.2", []);
    client.entity.add_route("10.0.0.0/8", &usual, 0).await.unwrap();
}
