//! The whole way of a route, measured: `make bench` (root; some tens of seconds).
//!
//! In a network namespace of its own, alternating in one run so that both sides meet the same
//! machine:
//!
//! * **load**: `rtmctl register` with a table like the Internet's, over D-Bus and through the RIB
//!   into the kernel, against the batch writer alone with the same routes prepared in memory, which
//!   is what the kernel can take;
//! * **memory**: resident bytes of the service for each route, with the table loaded;
//! * **latency**: from the call of `AddRoute` to the kernel's own notification seen by another
//!   socket, with the table loaded.

use std::{
    fs::File,
    io::Write as _,
    net::IpAddr,
    num::{NonZeroU8, NonZeroU32},
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtmd::{
    fib::{FibOp, RouteOp},
    kernel::Writer,
    model::{Family, Forwarding, Hop, InterfaceIndex, KernelTable, Prefix, Target, Weight},
    netlink::{DumpedRoute, Signature, frame},
};
use serde_json::{Value, json};

mod arguments;
mod loading;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod times;

use arguments::arguments;
use loading::load;
use stage::in_namespace;
use support::{Client, PrivateBus, resident, route};
use times::Times;

/// Measure the whole way of a route
#[derive(Parser)]
struct Settings {
    /// Routes in the table
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    routes: usize,
    /// How often to load it
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Single routes to measure the latency with
    #[arg(long, value_name = "N", default_value_t = 2000)]
    samples: usize,
    /// Print the figures for programs
    #[arg(long)]
    json: bool,
}

fn main() {
    let settings = Settings::parse_from(arguments());
    if in_namespace(|| run(&settings)).is_none() {
        println!("skip: no network namespace to be had, run as root");
    }
}

fn run(settings: &Settings) {
    let prefixes: Vec<Prefix> =
        table::like_the_internets(settings.routes).iter().map(|p| p.parse().unwrap()).collect();
    let bus = PrivateBus::start();
    let service = bus.serve("");
    let lines = bus.path("routes");
    let mut file = File::create(&lines).unwrap();
    for prefix in &prefixes {
        writeln!(file, "add {prefix} via 192.0.2.2").unwrap();
    }

    let (mut alone, mut whole) = (Times::default(), Times::default());
    let before = resident(service.pid());
    let mut loaded = before;
    for round in 1..=settings.rounds {
        eprint!("\rround {round} of {} ", settings.rounds);
        alone.push(writer_alone(&prefixes));
        let loading = load(&bus, "bgp", &lines);
        whole.push(loading.seconds);
        loaded = resident(service.pid());
        drop(loading);
        until_empty(&bus);
    }
    eprint!("\rlatency          ");
    let loading = load(&bus, "bgp", &lines);
    let latency = latency(&bus, settings.samples);
    drop(loading);
    eprint!("\r                 \r");
    report(settings, &alone, &whole, loaded - before, &latency);
}

/// Writes the routes without bus and RIB, and takes them away again; the seconds of the writing.
fn writer_alone(prefixes: &[Prefix]) -> f64 {
    let index = std::fs::read_to_string("/sys/class/net/west/ifindex");
    let index = match index {
        Ok(text) => text.trim().parse().unwrap(),
        // /sys shows the namespace it was mounted in, which is another one.
        Err(_) => west(),
    };
    let gateway: IpAddr = "192.0.2.2".parse().unwrap();
    let hop = Hop { gateway: Some(gateway), interface: InterfaceIndex(index), weight: Weight::ONE };
    let forwarding = Arc::new(Forwarding::Unicast([hop].into()));
    let route = |to: &Prefix, op: RouteOp| FibOp::Route { table: KernelTable::MAIN, to: *to, op };
    let target = Target::Plain(forwarding);
    let install = |to: &Prefix| route(to, RouteOp::Install(target.clone()));
    let installs: Vec<FibOp> = prefixes.iter().map(install).collect();
    let removals = prefixes.iter().map(|to| route(to, RouteOp::Uninstall)).collect();
    // Not the service's own, which would take these routes away as fast as they come.
    let other =
        Signature { protocol: NonZeroU8::new(83).unwrap(), metric: NonZeroU32::new(83).unwrap() };
    let (writer, mut outcomes) = Writer::start(other).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut write = |ops: Vec<FibOp>| {
        let began = Instant::now();
        runtime.block_on(async {
            writer.write(ops).await.unwrap();
            let outcome = outcomes.recv().await.unwrap();
            assert!(outcome.iter().all(|(_, result)| result.is_ok()));
        });
        began.elapsed().as_secs_f64()
    };
    let seconds = write(installs);
    write(removals);
    seconds
}

fn west() -> u32 {
    let output = Command::new("ip").args(["-j", "link", "show", "dev", "west"]).output().unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    u32::try_from(links[0]["ifindex"].as_u64().unwrap()).unwrap()
}

fn until_empty(bus: &PrivateBus) {
    let count = |property: &str| {
        let path = "/org/rtmd1/table/0/ipv4";
        let arguments = ["get-property", "org.rtmd1", path, "org.rtmd1.Table", property];
        String::from_utf8(bus.busctl(&arguments).stdout).unwrap()
    };
    while count("FibInstalled") != "t 0\n" || count("FibPending") != "t 0\n" {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Seconds from the call to the kernel's notification, for single routes.
fn latency(bus: &PrivateBus, samples: usize) -> Times {
    let (notify, notified) = mpsc::channel();
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind(&SocketAddr::new(0, 0)).unwrap();
    socket.add_membership(libc::RTNLGRP_IPV4_ROUTE).unwrap();
    let watched: Prefix = "198.51.100.0/24".parse().unwrap();
    thread::spawn(move || {
        loop {
            let (datagram, _) = socket.recv_from_full().unwrap();
            let at = Instant::now();
            for message in frame::frames(&datagram) {
                let route = DumpedRoute::decode(message.payload).ok().flatten();
                let ours = route.is_some_and(|route| route.to == watched);
                if ours && notify.send((message.kind, at)).is_err() {
                    return;
                }
            }
        }
    });
    let next = |kind: u16| {
        let (seen, at) = notified.recv_timeout(Duration::from_secs(5)).expect("a notification");
        assert_eq!(seen, kind);
        at
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::register(bus, Family::Ipv4, 10006).await;
        let via = route("192.0.2.2", []);
        let mut times = Times::default();
        for _ in 0..samples {
            let called = Instant::now();
            let (id, _) = client.entity.add_route("198.51.100.0/24", &via, 0).await.unwrap();
            times.push(next(libc::RTM_NEWROUTE).duration_since(called).as_secs_f64());
            client.entity.delete_route(id).await.unwrap();
            next(libc::RTM_DELROUTE);
        }
        times
    })
}

fn report(settings: &Settings, alone: &Times, whole: &Times, grown: u64, latency: &Times) {
    #[expect(clippy::cast_precision_loss, reason = "figures to be read by people")]
    let (routes, grown) = (settings.routes as f64, grown as f64);
    let rate = |times: &Times| (routes / times.median()).round();
    let bytes = (grown / routes).round();
    let micros = |share: f64| (latency.quantile(share) * 1e6).round();
    if settings.json {
        let figures = json!({
            "routes": settings.routes,
            "writer-alone": { "seconds": alone.values(), "routes-per-second": rate(alone) },
            "rtmctl-register": { "seconds": whole.values(), "routes-per-second": rate(whole) },
            "ratio": alone.median() / whole.median(),
            "resident-bytes-per-route": bytes,
            "latency-us": { "p50": micros(0.5), "p99": micros(0.99), "samples": latency.len() },
        });
        println!("{figures}");
        return;
    }
    let line = |what: &str, times: &Times| {
        println!(
            "{what:<28} {:>6.2} s ({:.2} to {:.2})  {:>8} routes/s",
            times.median(),
            times.quantile(0.0),
            times.quantile(1.0),
            rate(times)
        );
    };
    println!("{} IPv4 routes, {} rounds, medians", settings.routes, settings.rounds);
    line("batch writer alone", alone);
    line("rtmctl register, in step", whole);
    println!("ratio                        {:>6.2}", alone.median() / whole.median());
    println!("resident memory              {bytes:>6} bytes a route");
    println!(
        "AddRoute to notification     {:>6} µs p50, {} µs p99 ({} samples, table loaded)",
        micros(0.5),
        micros(0.99),
        latency.len()
    );
}
