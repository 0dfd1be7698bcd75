//! What a journal costs and what it is good for: `make bench-restart` (root; a minute).
//!
//! In a network namespace of its own, with a table like the Internet's that three programs offer a third
//! of each:
//!
//! * **commands**: the same routes offered to the RIB in this process, with the journal and without, which
//!   says what noting costs each of them, with nothing else around;
//! * **size**: bytes of the journal for each route, just loaded and after a restart made an image of it;
//! * **two million notes**: of 10 000 routes that change all the time, how large the journal gets meanwhile, how
//!   often an image takes the place of what is not needed any more, and how long reading it takes;
//! * **restart**: `kill -9`, and from the next process's start until it is on the bus, and until the kernel
//!   is in step; with how many writes to the kernel (none).

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use rtmd::{
    journal::{Journal, ledger::Ledger},
    model::{
        Caller, ChangeFlags, EntityId, EntityKey, Family, InstanceId, InterfaceIndex, Metric,
        NextHopKey, Now, Preference, Prefix, Protocol, RouteFlags, Span, TableId, View,
    },
    rib::{
        Credentials, Instance, InstanceSettings, Offer, OfferedNextHops, Policy, Registration, Rib,
        Tenure, Terms,
    },
    shared::SharedRib,
};
use serde_json::json;

mod arguments;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod times;

use arguments::arguments;
use stage::{Listener, in_namespace};
use support::{Client, PrivateBus, Service, resident, route};
use times::Times;

/// Measure the journal
#[derive(Parser)]
struct Settings {
    /// Routes in the table
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    routes: usize,
    /// How often to do it all
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Print the figures for programs
    #[arg(long)]
    json: bool,
}

const CONFIG: &str = "";
const OWNERS: [u32; 3] = [14, 13, 9];

#[derive(Default)]
struct Figures {
    without: Times,
    with: Times,
    loaded: Times,
    imaged: Times,
    on_the_bus: Times,
    in_step: Times,
    writes: usize,
    memory: Times,
    noting: Times,
    largest: Times,
    images: Times,
    reading: Times,
}

fn main() {
    let settings = Settings::parse_from(arguments());
    let prefixes = table::like_the_internets(settings.routes);
    let mut figures = Figures::default();
    for round in 1..=settings.rounds {
        eprint!("\rround {round} of {}  ", settings.rounds);
        let scratch = tempfile::tempdir().unwrap();
        // In turns: the first pays for the memory that the second is given.
        let first = (round % 2 == 1).then(|| offer(&prefixes, None));
        figures.with.push(offer(&prefixes, Some(scratch.path())));
        figures.without.push(first.unwrap_or_else(|| offer(&prefixes, None)));
        many_notes(&mut figures);
        if in_namespace(|| restart(&prefixes, &mut figures)).is_none() {
            println!("skip: no network namespace to be had, run as root");
            return;
        }
    }
    eprint!("\r                \r");
    report(&settings, &figures);
}

/// A RIB, with its journal in a directory, and who offers routes to it.
fn begin(journal: Option<&Path>) -> (SharedRib, EntityId) {
    let instance = Instance::Ready(InstanceSettings::default());
    let policy = Policy { instances: [(InstanceId(0), instance)].into(), ..Policy::default() };
    let rib = Rib::new(policy);
    let rib = match journal {
        Some(scratch) => {
            let (journal, _) = open(scratch);
            SharedRib::kept(Ledger::new(rib, 1), journal)
        }
        None => SharedRib::new(rib),
    };
    let key = EntityKey { table: table_id(), protocol: Protocol(14), protocol_instance: 0 };
    let (label, terms) = (String::new(), Terms::default());
    let (tenure, credentials) = (Tenure::Connection, Credentials::default());
    let registration = Registration { key, label, tenure, terms, credentials };
    let caller = Caller { bus_name: ":1.1".to_owned(), uid: 0 };
    let owner = rib.with(|rib| rib.register(registration, caller, Now::at(1))).unwrap().id;
    (rib, owner)
}

fn open(scratch: &Path) -> (Journal, Option<Ledger>) {
    let follower = vec![env!("CARGO_BIN_EXE_rtmd").into(), "--follow-journal".into()];
    Journal::open(&scratch.join("journal"), "bench", follower).unwrap()
}

fn table_id() -> TableId {
    TableId::new(0, Family::Ipv4).unwrap()
}

fn offer_one(rib: &mut Ledger, owner: EntityId, to: Prefix, metric: u32) {
    let address = Some("192.0.2.2".parse().unwrap());
    let via = [(NextHopKey { address, interface: InterfaceIndex(0) }, None)];
    let offer = Offer {
        to,
        neighbour: None,
        preference: Preference(0),
        metric: Metric(metric),
        flags: RouteFlags(0),
        views: View::UNICAST.only(),
        next_hops: OfferedNextHops::Inline(via[..].into()),
        ttl: Span::FOREVER,
        private: &[],
        list: None,
    };
    rib.add_route(owner, &offer, ChangeFlags(0), rtmd::clock::now()).unwrap();
}

/// Offers all to a RIB; seconds.
fn offer(prefixes: &[String], journal: Option<&Path>) -> f64 {
    let (rib, owner) = begin(journal);
    let prefixes: Vec<Prefix> = prefixes.iter().map(|to| to.parse().unwrap()).collect();
    let began = Instant::now();
    // As calls of many routes are carried out.
    for slice in prefixes.chunks(rtmd::shared::SLICE) {
        rib.with(|rib| slice.iter().for_each(|to| offer_one(rib, owner, *to, 0)));
    }
    began.elapsed().as_secs_f64()
}

/// Two million notes, each in a record of its own, of routes that are not many: what is kept stays small, and
/// what comes back is what there was.
fn many_notes(figures: &mut Figures) {
    const NOTES: u32 = 2_000_000;
    const ROUTES: u32 = 10_000;
    let prefix = |number: u32| {
        let to = format!("10.{}.{}.0/24", number >> 8 & 255, number & 255);
        to.parse::<Prefix>().unwrap()
    };
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let (rib, owner) = begin(Some(scratch.path()));
    let (mut largest, mut newest, mut images) = (0.0_f64, 0, 0);
    let began = Instant::now();
    for note in 0..NOTES {
        let (number, metric) = (note % ROUTES, note / ROUTES);
        rib.with(|rib| offer_one(rib, owner, prefix(number), metric));
        if note % 1000 == 0 {
            largest = largest.max(size(&directory));
            let found = newest_image(&directory);
            images += u32::from(found > newest);
            newest = found;
        }
    }
    figures.noting.push(began.elapsed().as_secs_f64());
    figures.largest.push(largest / 1e6);
    figures.images.push(f64::from(images));
    drop(rib);
    let began = Instant::now();
    let found = open(scratch.path()).1.expect("a journal that can be read");
    figures.reading.push(began.elapsed().as_secs_f64());
    assert_eq!(found.route_count(table_id()), ROUTES as usize);
    for number in 0..ROUTES {
        let there = found.routes(table_id(), prefix(number)).unwrap();
        let metrics: Vec<Metric> = there.iter().map(|view| view.route.rank.metric).collect();
        assert_eq!(metrics, [Metric(NOTES / ROUTES - 1)], "{}", prefix(number));
    }
    // How large depends on how soon the other process, which gives way to everything, has its turn.
    assert!(images > 0, "no image was made meanwhile");
}

fn newest_image(journal: &Path) -> u32 {
    let names =
        fs::read_dir(journal).unwrap().filter_map(|it| it.ok()?.file_name().into_string().ok());
    let numbers = names.filter_map(|name| name.strip_prefix("image-")?.parse().ok());
    numbers.max().unwrap_or(0)
}

fn restart(prefixes: &[String], figures: &mut Figures) {
    let bus = PrivateBus::start();
    let manager = listen(&bus);
    let mut service = bus.spawn(CONFIG, "first");
    await_ready(&manager, &service);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let owners: Vec<Client> = runtime.block_on(async {
        let mut owners = Vec::new();
        for (share, protocol) in prefixes.chunks(prefixes.len().div_ceil(OWNERS.len())).zip(OWNERS)
        {
            let client = Client::register(&bus, Family::Ipv4, protocol).await;
            let route = route("192.0.2.2", []);
            for call in share.chunks(32_768) {
                let call: Vec<&str> = call.iter().map(String::as_str).collect();
                let (_, errors) = client.entity.add_prefixes(&call, &route, 0).await.unwrap();
                assert_eq!(errors, []);
            }
            owners.push(client);
        }
        while owners[0].table.fib_installed().await.unwrap() < prefixes.len() as u64 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        owners
    });
    let journal = bus.launch(CONFIG, "first").runtime_directory.join("journal");
    figures.loaded.push(size(&journal) / prefixes.len() as f64);

    service.kill();
    let listener = Listener::start();
    let began = Instant::now();
    service = bus.spawn(CONFIG, "first");
    runtime.block_on(async {
        while owners[0].manager.epoch().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    figures.on_the_bus.push(began.elapsed().as_secs_f64());
    await_ready(&manager, &service);
    figures.in_step.push(began.elapsed().as_secs_f64());
    figures.memory.push(resident(service.pid()) as f64 / prefixes.len() as f64);
    figures.writes += listener.count();
    // One change has the next image made, if it is due.
    runtime.block_on(async { owners[0].add("203.0.113.0/24", "192.0.2.2").await.unwrap() });
    thread::sleep(Duration::from_secs(10));
    runtime.block_on(async { owners[0].add("203.0.113.0/24", "192.0.2.2").await.unwrap() });
    figures.imaged.push(size(&journal) / prefixes.len() as f64);
}

fn size(journal: &Path) -> f64 {
    let files = fs::read_dir(journal).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|metadata| metadata.len() as f64).sum()
}

fn listen(bus: &PrivateBus) -> UnixDatagram {
    let socket = UnixDatagram::bind(bus.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    socket
}

fn await_ready(manager: &UnixDatagram, service: &Service) {
    let mut said = [0; 1024];
    loop {
        let length = manager.recv(&mut said).unwrap_or_else(|error| {
            panic!("rtmd does not get ready ({error}):\n{}", service.log())
        });
        if said[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return;
        }
    }
}

fn report(settings: &Settings, figures: &Figures) {
    let Figures { without, with, loaded, imaged, on_the_bus, in_step, writes, memory, .. } =
        figures;
    let rows = [
        ("commands-without-s", without, "offering all to the RIB, without a journal, s"),
        ("commands-with-s", with, "the same with one, s"),
        ("loaded-bytes-a-route", loaded, "the journal when all are loaded, bytes a route"),
        ("image-bytes-a-route", imaged, "the journal with an image of that, bytes a route"),
        ("noting-s", &figures.noting, "two million notes of 10 000 routes, s"),
        ("noting-largest-mb", &figures.largest, "the journal meanwhile at its largest, MB"),
        ("noting-images", &figures.images, "images made meanwhile"),
        ("noting-reading-s", &figures.reading, "reading it at the next start, s"),
        ("on-the-bus-s", on_the_bus, "from the next start until calls are answered, s"),
        ("in-step-s", in_step, "until the kernel is in step, s"),
        ("memory-bytes-a-route", memory, "resident then, bytes a route"),
    ];
    if settings.json {
        let mut all = serde_json::Map::new();
        all.insert("routes".into(), settings.routes.into());
        all.insert("writes".into(), (*writes).into());
        all.extend(rows.map(|(name, times, _)| (name.to_owned(), json!(times.values()))));
        println!("{}", serde_json::Value::from(all));
        return;
    }
    println!(
        "{} routes of {} owners, {} rounds: median (least to most)",
        settings.routes,
        OWNERS.len(),
        settings.rounds
    );
    for (_, times, what) in rows {
        let [least, median, most] = [0.0, 0.5, 1.0].map(|share| times.quantile(share));
        println!("{what:<55} {median:>8.2} ({least:.2} to {most:.2})");
    }
    println!("{:<55} {:>8.2}", "with the journal / without", with.median() / without.median());
    println!("{:<55} {writes:>8}", "writes to the kernel at the restarts");
}
