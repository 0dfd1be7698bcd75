//! How fast the kernel is kept equal to the best routes: `make bench-fib` (root; some minutes).
//!
//! In network namespaces of their own, with a table like the Internet's and one of IPv6 sites: a
//! client on a private bus loads the service, and how long each thing takes is seen from outside, by
//! what the service says of itself and by what the kernel has.
//!
//! * **install**: from the first call until the kernel has all routes and the service is `synced`;
//! * **replace**: every route is offered again with another next hop; and, with all of them by one
//!   gateway that is on no link, the route to that one is offered again with another next hop, until
//!   the kernel's own look-ups say that packets take it;
//! * **repair**: from the end of `ip route flush proto 82`, which may go on for half a minute against
//!   the repairing, until the kernel has all again, and a reading of it that says so. Only where `ip` has
//!   removed as many as there are: for IPv6 it was seen to give up early ("No such process"), on a route
//!   that was not there when it came to delete it;
//! * **resync**: the service is stopped while another program writes more than its socket holds, and
//!   reads everything again from the moment it goes on, until no thread of it reads: when nothing else has
//!   happened, which must write nothing, and when a thousand of its routes were deleted or replaced, which
//!   must write a thousand;
//! * **delete**: the owner deregisters, until the kernel has none.
//!
//! Beside each, in turns in the same run and in a namespace where nobody listens, the raw writer (see
//! `raw.rs`), which is what the kernel can take.
//!
//! `--by-address` has the tables offered in that order, `--without-objects` does without next-hop objects.
//! `--orders` compares the orders and sizes in which routes can be written, `--strangers` measures what
//! it costs the service when another program writes a table.

use std::{
    fmt::Write as _,
    io::IsTerminal as _,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use rtmd::{
    bus::wire::Details,
    model::{Family, Forwarding, KernelTable, ObjectId, Prefix, Target},
    netlink::{RouteChange, Signature},
};
use serde_json::json;

mod arguments;
mod orders;
mod raw;
mod stage;
mod strangers;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod times;

use arguments::arguments;
use raw::{Raw, all_lead_by, encode, signature};
use stage::{Listener, in_namespace, until_quiet};
use support::{Client, PrivateBus, Service, details, peak, resident, route};
use times::Times;

/// Measure how fast the kernel is kept equal to the best routes
#[derive(Parser)]
struct Settings {
    /// IPv4 routes
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    ipv4: usize,
    /// IPv6 routes
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    ipv6: usize,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Offer and write the routes by address, as a BGP daemon does
    #[arg(long)]
    by_address: bool,
    /// Have each route carry its next hop, as on kernels without next-hop objects
    #[arg(long)]
    without_objects: bool,
    /// Compare orders and sizes of writes instead
    #[arg(long, conflicts_with_all = ["by_address", "without_objects"])]
    orders: bool,
    /// Measure what another program's routes cost instead
    #[arg(long, conflicts_with_all = ["by_address", "without_objects", "orders"])]
    strangers: bool,
    /// Print the figures for programs
    #[arg(long)]
    json: bool,
}

/// Messages a send of the raw writer.
const BATCH: usize = 256;

/// Destinations of a call.
const CALL: usize = 32_768;

/// How many routes differ where some do.
const DIFFERENCE: usize = 1000;

const NEAR_OBJECT: ObjectId = ObjectId(NonZeroU32::new(1).unwrap());
const FAR_OBJECT: ObjectId = ObjectId(NonZeroU32::new(2).unwrap());

const BGP: u32 = 14;
const OSPF: u32 = 13;

/// What was measured of one family.
struct Figures {
    family: Family,
    routes: usize,
    /// What, the service's, and the raw writer's where there is one to compare.
    rows: Vec<(&'static str, Times, Option<Times>)>,
    /// Resident bytes of the service for each route, and the most it ever took.
    memory: Times,
    peak: Times,
}

impl Figures {
    fn push(&mut self, what: &'static str, ours: f64, raw: Option<f64>) {
        if !self.rows.iter().any(|(it, ..)| *it == what) {
            self.rows.push((what, Times::default(), raw.map(|_| Times::default())));
        }
        let found = self.rows.iter_mut().find(|(it, ..)| *it == what);
        let (_, times, raws) = found.expect("it was just put there");
        times.push(ours);
        if let (Some(times), Some(value)) = (raws, raw) {
            times.push(value);
        }
    }
}

fn main() {
    let settings = Settings::parse_from(arguments());
    if in_namespace(|| ()).is_none() {
        println!("skip: no network namespace to be had, run as root");
        return;
    }
    let parse = |texts: Vec<String>| texts.iter().map(|text| text.parse().unwrap()).collect();
    let mut tables: [(Family, Vec<Prefix>); 2] = [
        (Family::Ipv4, parse(table::like_the_internets(settings.ipv4))),
        (Family::Ipv6, parse(table::sites(settings.ipv6))),
    ];
    if settings.by_address {
        for (_, prefixes) in &mut tables {
            prefixes.sort_by_key(table::by_address);
        }
    }
    if settings.orders {
        return orders::run(&tables, settings.rounds, settings.json);
    }
    if settings.strangers {
        return strangers::run(&tables[0].1, settings.json);
    }
    let config = if settings.without_objects { "[fib]\nnext-hop-objects = false\n" } else { "" };
    let mut all = Vec::new();
    for (family, prefixes) in &tables {
        if prefixes.is_empty() {
            continue;
        }
        let mut figures = Figures {
            family: *family,
            routes: prefixes.len(),
            rows: Vec::new(),
            memory: Times::default(),
            peak: Times::default(),
        };
        for round in 1..=settings.rounds {
            let say = |what: &str| {
                progress(&format!("{family}, round {round} of {}, {what}", settings.rounds));
            };
            say("raw writer");
            let ceiling = in_namespace(|| ceiling(*family, prefixes)).expect("a namespace");
            in_namespace(|| measure(&mut figures, &ceiling, (prefixes, config), &say))
                .expect("a namespace");
        }
        all.push(figures);
    }
    progress("");
    report(&settings, &all);
}

/// Says how far it is, to people.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what} ");
    }
}

/// Two routers on the link, and one that is on none.
fn gateways(family: Family) -> [IpAddr; 3] {
    match family {
        Family::Ipv4 => ["192.0.2.2", "192.0.2.3", "203.0.113.1"],
        Family::Ipv6 => ["2001:db8::2", "2001:db8::3", "2001:db8:1::1"],
    }
    .map(|text| text.parse().unwrap())
}

/// What the raw writer took.
struct Ceiling {
    add: f64,
    replace: f64,
    object: f64,
    dump: f64,
    delete: f64,
}

fn ceiling(family: Family, prefixes: &[Prefix]) -> Ceiling {
    let [near, far, _] = gateways(family);
    let place = (KernelTable::MAIN, signature(83));
    let encoded = |change| encode(prefixes, place, &change, BATCH);
    let adds = encoded(RouteChange::Add(Target::Object(NEAR_OBJECT)));
    let replaces = encoded(RouteChange::Replace(Target::Object(FAR_OBJECT)));
    let deletes = encoded(RouteChange::Delete);
    let mut raw = Raw::open();
    raw.set_object(NEAR_OBJECT, near, true);
    raw.set_object(FAR_OBJECT, far, true);
    let add = raw.write(&adds);
    let replace = raw.write(&replaces);
    let object = raw.set_object(FAR_OBJECT, near, false);
    let (count, dump) = raw.dump(family, place.1);
    assert_eq!(count, prefixes.len());
    Ceiling { add, replace, object, dump, delete: raw.write(&deletes) }
}

/// The service, its client, and the kernel below them.
struct Scene<'p> {
    service: Service,
    client: Client,
    raw: Raw,
    family: Family,
    prefixes: &'p [Prefix],
    texts: Vec<String>,
}

fn measure(
    figures: &mut Figures,
    ceiling: &Ceiling,
    (prefixes, config): (&[Prefix], &str),
    say: &impl Fn(&str),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let family = figures.family;
    let bus = PrivateBus::start();
    let service = bus.serve(config);
    runtime.block_on(async {
        let client = Client::register(&bus, family, BGP).await;
        let texts = prefixes.iter().map(Prefix::to_string).collect();
        let mut scene = Scene { service, client, raw: Raw::open(), family, prefixes, texts };
        let pid = scene.service.pid();
        let [near, far, away] = gateways(family);
        let before = resident(pid);

        say("install");
        let seconds = scene.offer(near).await;
        figures.push("install", seconds, Some(ceiling.add));
        figures.memory.push(ratio(resident(pid) - before, prefixes.len()));

        say("replace");
        let seconds = scene.offer(far).await;
        figures.push("replace, each route", seconds, Some(ceiling.replace));

        say("replace by a route");
        let other = Client::register(&bus, family, OSPF).await;
        let host = Prefix::host(away).to_string();
        other.add(&host, &near.to_string()).await.unwrap();
        scene.offer(away).await;
        let probes: Vec<Prefix> =
            prefixes.iter().step_by(prefixes.len() / 64 + 1).copied().collect();
        assert!(all_lead_by(&mut scene.raw, near, &probes));
        let began = Instant::now();
        other.add(&host, &far.to_string()).await.unwrap();
        while !all_lead_by(&mut scene.raw, far, &probes) {}
        let seconds = began.elapsed().as_secs_f64();
        figures.push("replace, their gateway's route", seconds, Some(ceiling.object));
        scene.settled(prefixes.len() + 1).await;
        other.entity.deregister(&details([])).await.unwrap();
        scene.offer(near).await;

        say("flush");
        if let Some((flush, repair)) = scene.flush().await {
            figures.push("ip route flush", flush, None);
            figures.push("repair after it", repair, Some(ceiling.add));
        }

        say("resync");
        let (seconds, writes) = scene.resync(0).await;
        assert_eq!(writes, 0, "nothing differs");
        figures.push("resync, nothing differs", seconds, Some(ceiling.dump));
        let difference = DIFFERENCE.min(prefixes.len());
        let (seconds, writes) = scene.resync(difference).await;
        assert_eq!(writes, difference, "so many differ");
        figures.push("resync, 1000 differ", seconds, Some(ceiling.dump));

        say("delete");
        let began = Instant::now();
        scene.client.entity.deregister(&details([])).await.unwrap();
        let ended = scene.settled(0).await;
        let seconds = ended.duration_since(began).as_secs_f64();
        figures.push("delete", seconds, Some(ceiling.delete));
        figures.peak.push(ratio(peak(pid), 1 << 20));
    });
}

impl Scene<'_> {
    /// Offers all routes by this gateway; the seconds until the kernel has them.
    async fn offer(&mut self, gateway: IpAddr) -> f64 {
        let route: Details = route(&gateway.to_string(), []);
        let began = Instant::now();
        for call in self.texts.chunks(CALL) {
            let call: Vec<&str> = call.iter().map(String::as_str).collect();
            let (_, errors) = self.client.entity.add_prefixes(&call, &route, 0).await.unwrap();
            assert_eq!(errors, []);
        }
        let others = usize::from(gateway == gateways(self.family)[2]);
        let ended = self.settled(self.prefixes.len() + others).await;
        ended.duration_since(began).as_secs_f64()
    }

    /// Waits until the service says that it is done, and the kernel has so many; when that was.
    async fn settled(&mut self, expected: usize) -> Instant {
        loop {
            while !self.says_settled(expected).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let said = Instant::now();
            // It may have said so before it heard what somebody else did.
            let (count, _) = self.raw.dump(self.family, Signature::default());
            if count == expected && self.says_settled(expected).await {
                return said;
            }
        }
    }

    async fn says_settled(&self, expected: usize) -> bool {
        let Client { manager, table, .. } = &self.client;
        table.fib_pending().await.unwrap() == 0
            && table.fib_installed().await.unwrap() == expected as u64
            && manager.fib_state().await.unwrap() == "synced"
    }

    /// Has `ip` flush our routes; the seconds it took, and those until all are back and have been seen to
    /// be there. `None` where it removed fewer than there are, which would be no figure to compare.
    async fn flush(&mut self) -> Option<(f64, f64)> {
        let family = if self.family == Family::Ipv4 { "-4" } else { "-6" };
        let began = Instant::now();
        // It fails when it finds new ones for half a minute, and when one is gone before it comes to it.
        let output =
            Command::new("ip").args(["-s", family, "route", "flush", "proto", "82"]).output();
        let output = output.expect("ip");
        let ended = Instant::now();
        self.settled(self.prefixes.len()).await;
        // It may have said so before it heard of the last ones, which the dump then found repaired.
        let repaired = Instant::now();
        let removed = flushed(&String::from_utf8_lossy(&output.stdout));
        if removed < self.prefixes.len() {
            let error = String::from_utf8_lossy(&output.stderr);
            eprintln!(
                "skip: ip {family} route flush gave up: {}",
                error.trim().replace('\n', ", ")
            );
            return None;
        }
        let seconds = repaired.duration_since(ended).as_secs_f64();
        Some((ended.duration_since(began).as_secs_f64(), seconds))
    }

    /// Has the service read everything again, of which so many routes differ; the seconds until it
    /// knows the kernel again, and how many writes there were.
    async fn resync(&mut self, difference: usize) -> (f64, usize) {
        let ours = Signature::default();
        let elsewhere: Vec<Prefix> =
            (0..40_000).map(|n| Prefix::host(Ipv4Addr::from_bits((10 << 24) + n).into())).collect();
        let blackhole = Target::Plain(Arc::new(Forwarding::Blackhole));
        let (replaced, deleted) = self.prefixes[..difference].split_at(difference / 2);
        until_quiet(self.service.pid());
        self.service.signal("STOP");
        for change in [RouteChange::Add(blackhole.clone()), RouteChange::Delete] {
            self.raw.write(&encode(&elsewhere, (KernelTable(1000), ours), &change, BATCH));
        }
        let place = (KernelTable::MAIN, ours);
        self.raw.write(&encode(replaced, place, &RouteChange::Replace(blackhole), BATCH));
        self.raw.write(&encode(deleted, place, &RouteChange::Delete, BATCH));

        let listener = Listener::start();
        let overruns = |service: &Service| service.log().matches("had more to tell").count();
        let before = overruns(&self.service);
        self.service.signal("CONT");
        let began = Instant::now();
        while overruns(&self.service) == before {
            assert!(began.elapsed() < Duration::from_secs(10), "it has missed nothing");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let read = until_read(self.service.pid()).await;
        let ended = self.settled(self.prefixes.len()).await;
        until_quiet(self.service.pid());
        // Where nothing is to be written, it is done when it has read.
        let ended = if difference == 0 { read } else { ended };
        (ended.duration_since(began).as_secs_f64(), listener.count())
    }
}

/// How many routes `ip -s route flush` says to have removed, in all of its rounds that it completed.
fn flushed(said: &str) -> usize {
    let counts = said.lines().filter_map(|line| line.split_once(", deleting "));
    counts.filter_map(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}

/// Waits until the service has read what the kernel has, each part in a thread of that name; when that was.
async fn until_read(pid: u32) -> Instant {
    let mut ended = Instant::now();
    // From one part to the next there may be none for a moment.
    while ended.elapsed() < Duration::from_millis(100) {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let names = threads.map(|it| std::fs::read_to_string(it.unwrap().path().join("comm")));
        if names.flatten().any(|name| name.trim() == "rtmd-dump") {
            ended = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ended
}

#[expect(clippy::cast_precision_loss, reason = "figures to be read by people")]
fn ratio(amount: u64, count: usize) -> f64 {
    amount as f64 / count as f64
}

fn report(settings: &Settings, all: &[Figures]) {
    if settings.json {
        let figure = |figures: &Figures| {
            let row = |(what, ours, raw): &(&'static str, Times, Option<Times>)| json!({ "what": what, "seconds": ours.values(), "raw": raw.as_ref().map(Times::values) });
            json!({
                "family": figures.family.name(),
                "routes": figures.routes,
                "rows": figures.rows.iter().map(row).collect::<Vec<_>>(),
                "resident-bytes-per-route": figures.memory.median(),
                "peak-mib": figures.peak.values(),
            })
        };
        println!("{}", json!(all.iter().map(figure).collect::<Vec<_>>()));
        return;
    }
    println!("seconds, {} rounds, medians (least to most)", settings.rounds);
    for figures in all {
        println!("{} routes of {}", figures.routes, figures.family);
        println!("  {:<32} {:<24} {:<26} times as long", "", "rtmd", "raw writer");
        for (what, ours, raw) in &figures.rows {
            let mut line = format!("  {what:<32} {:<24}", ours.text());
            if let Some(raw) = raw {
                let times = ours.median() / raw.median();
                let _ = write!(line, " {:<26} {times:.2}", raw.text());
            }
            println!("{line}");
        }
        let (bytes, most) = (figures.memory.median(), figures.peak.median());
        println!("  {:<32} {bytes:.0} bytes a route, {most:.0} MiB at most", "resident");
    }
}
