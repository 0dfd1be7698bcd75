//! How long packets go astray when a way fails: `make failover` (root; some minutes, with BIRD).
//!
//! In a network namespace of its own, for 1, 1000 and 1 000 000 IPv4 routes that two protocols offer,
//! the better ones by the link `west`: the link goes down, or the better protocol's client leaves
//! the bus without a word; and for as many by one gateway that another protocol has a route to, when
//! that one's client leaves.
//! Packets to prefixes all over the table are sent in rounds all the while, and counted where they
//! leave; the time is from the blow to the first round that left by `east` as a whole.
//!
//! Side by side: BIRD with the same routes in two static protocols, the better one of which is
//! disabled (`--bird`).

use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use nix::sched::{CloneFlags, unshare};
use rtmd::model::{Family, Prefix};
use serde_json::json;
use tokio::runtime::Runtime;

mod arguments;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod times;

use arguments::arguments;
use support::{Client, PrivateBus, route};
use times::Times;

/// Measure how long packets go astray when a way fails
#[derive(Parser)]
struct Settings {
    /// Routes in the largest table
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    routes: usize,
    /// How often to measure each
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Measure BIRD as well, once
    #[arg(long)]
    bird: bool,
    /// Print the figures for programs
    #[arg(long)]
    json: bool,
}

/// The most prefixes that packets are sent to in a round.
const PROBES: usize = 256;

/// What is measured with one size of the table.
#[derive(Default)]
struct Case {
    routes: usize,
    link: Times,
    owner: Times,
    recursive: Times,
    bird: Option<f64>,
}

fn main() {
    let settings = Settings::parse_from(arguments());
    if let Err(error) = thread::spawn(move || run(&settings)).join() {
        std::panic::resume_unwind(error);
    }
}

fn run(settings: &Settings) {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        println!("skip: no network namespace to be had ({error}), run as root");
        return;
    }
    for command in [
        "link set lo up",
        "link add west type veth peer name west-end",
        "link add east type veth peer name east-end",
        "addr add 192.0.2.1/24 dev west",
        "addr add 198.51.100.1/24 dev east",
        "link set west-end up",
        "link set east-end up",
        "link set east up",
        "neigh replace 198.51.100.2 lladdr 02:00:00:00:00:02 dev east nud permanent",
    ] {
        ip(command);
    }
    west_up();
    // As the package sets it (sysctl.d): a group that is replaced is not announced for each route.
    fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();

    let all = table::like_the_internets(settings.routes);
    let sizes = [1, 1000, settings.routes];
    let cases: Vec<Case> = sizes
        .into_iter()
        .map(|routes| {
            let prefixes = &all[..routes.min(all.len())];
            let mut case = ours(settings, prefixes);
            case.recursive = by_a_route(settings, prefixes);
            if settings.bird {
                case.bird = Some(birds(prefixes));
            }
            case
        })
        .collect();
    report(settings, &cases);
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip");
    assert!(status.success(), "ip {arguments}");
}

fn west_up() {
    ip("link set west up");
    ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev west nud permanent");
}

/// Packets to prefixes all over a table.
struct Probes {
    socket: UdpSocket,
    addresses: Vec<SocketAddr>,
}

impl Probes {
    fn new(prefixes: &[String]) -> Self {
        let step = prefixes.len().div_ceil(PROBES);
        let address = |prefix: &String| {
            let prefix: Prefix = prefix.parse().unwrap();
            SocketAddr::new(prefix.address(), 9)
        };
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        Self { socket, addresses: prefixes.iter().step_by(step).map(address).collect() }
    }

    /// Waits until a whole round leaves by a link; the time from `start` to the beginning of that round.
    fn until_all_leave_by(&self, link: &str, start: Instant) -> f64 {
        loop {
            let began = Instant::now();
            let before = sent_by(link);
            for address in &self.addresses {
                let _ = self.socket.send_to(b"probe", address); // unreachable: not by the link
            }
            if sent_by(link) - before >= self.addresses.len() as u64 {
                return began.duration_since(start).as_secs_f64();
            }
            assert!(
                began.duration_since(start) < Duration::from_secs(120),
                "packets do not arrive"
            );
        }
    }
}

/// How many packets a link has sent.
fn sent_by(link: &str) -> u64 {
    // Of this thread's namespace.
    let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line =
        links.lines().find_map(|line| line.trim().strip_prefix(&format!("{link}:"))).unwrap();
    line.split_whitespace().nth(9).unwrap().parse().unwrap()
}

/// A client that offers a table by one gateway, and can go from one moment to the next: a process
/// with a million routes of its own takes a while to end.
struct Owner {
    runtime: Runtime,
    client: Client,
}

impl Owner {
    fn offer(bus: &PrivateBus, protocol: u32, prefixes: &[String], gateway: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let client = Client::register(bus, Family::Ipv4, protocol).await;
            let route = route(gateway, []);
            for call in prefixes.chunks(32_768) {
                let call: Vec<&str> = call.iter().map(String::as_str).collect();
                let (_, errors) = client.entity.add_prefixes(&call, &route, 0).await.unwrap();
                assert_eq!(errors, []);
            }
            client
        });
        Self { runtime, client }
    }

    /// Closes its connection, as the kernel does for one that died.
    fn die(self) {
        self.runtime.block_on(async { self.client.connection.close().await.unwrap() });
    }
}

const BGP: u32 = 14;
const OSPF: u32 = 13;
const ISIS: u32 = 9;

fn ours(settings: &Settings, prefixes: &[String]) -> Case {
    let bus = PrivateBus::start();
    let _service = bus.serve("");
    let probes = Probes::new(prefixes);
    let mut case = Case { routes: prefixes.len(), ..Case::default() };

    let second = Owner::offer(&bus, OSPF, prefixes, "198.51.100.2");
    for round in 1..=settings.rounds {
        eprint!("\r{} routes, round {round} of {}  ", prefixes.len(), settings.rounds);
        let first = Owner::offer(&bus, BGP, prefixes, "192.0.2.2");
        until_settled(&bus);
        probes.until_all_leave_by("west", Instant::now());

        let blow = Instant::now();
        // Not waited for: packets go elsewhere long before the kernel is done with the link.
        let mut down = Command::new("ip").args(["link", "set", "west", "down"]).spawn().unwrap();
        case.link.push(probes.until_all_leave_by("east", blow));
        assert!(down.wait().unwrap().success());
        until_settled(&bus);
        west_up();
        probes.until_all_leave_by("west", Instant::now());
        until_settled(&bus);

        let blow = Instant::now();
        first.die();
        case.owner.push(probes.until_all_leave_by("east", blow));
        until_settled(&bus);
    }
    second.die();
    until_settled(&bus); // or the next would be measured beside what is left
    eprint!("\r                                        \r");
    case
}

/// All routes are by one gateway that is on no link, and whoever has the best route to that dies.
fn by_a_route(settings: &Settings, prefixes: &[String]) -> Times {
    const GATEWAY: &str = "203.0.113.1";
    let to_gateway = [format!("{GATEWAY}/32")];
    let bus = PrivateBus::start();
    let _service = bus.serve("");
    let probes = Probes::new(prefixes);
    let mut times = Times::default();
    let second = Owner::offer(&bus, ISIS, &to_gateway, "198.51.100.2");
    let all = Owner::offer(&bus, BGP, prefixes, GATEWAY);
    for round in 1..=settings.rounds {
        eprint!("\r{} routes by a route, round {round} of {}  ", prefixes.len(), settings.rounds);
        let first = Owner::offer(&bus, OSPF, &to_gateway, "192.0.2.2");
        until_settled(&bus);
        probes.until_all_leave_by("west", Instant::now());
        let blow = Instant::now();
        first.die();
        times.push(probes.until_all_leave_by("east", blow));
        until_settled(&bus);
    }
    all.die();
    second.die();
    until_settled(&bus);
    eprint!("\r                                                  \r");
    times
}

/// Waits until nothing is pending, and stays so for a moment.
fn until_settled(bus: &PrivateBus) {
    let pending = || {
        let path = "/org/rtmd1/table/0/ipv4";
        let arguments = ["get-property", "org.rtmd1", path, "org.rtmd1.Table", "FibPending"];
        String::from_utf8(bus.busctl(&arguments).stdout).unwrap() != "t 0\n"
    };
    for _ in 0..3 {
        while pending() {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A process that ends with the measurement.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same with BIRD, once: its better static protocol is disabled.
fn birds(prefixes: &[String]) -> f64 {
    eprint!("\r{} routes, BIRD  ", prefixes.len());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut file = std::io::BufWriter::new(File::create(path("bird.conf")).unwrap());
    writeln!(
        file,
        "router id 192.0.2.1;\nprotocol device {{}}\n\
         protocol kernel {{ ipv4 {{ export all; }}; }}"
    )
    .unwrap();
    for (name, preference, gateway) in [("s1", 200, "192.0.2.2"), ("s2", 100, "198.51.100.2")] {
        writeln!(file, "protocol static {name} {{ ipv4 {{ preference {preference}; }};").unwrap();
        for prefix in prefixes {
            writeln!(file, "route {prefix} via {gateway};").unwrap();
        }
        writeln!(file, "}}").unwrap();
    }
    drop(file);
    let bird = Command::new("bird")
        .args(["-f", "-c"])
        .arg(path("bird.conf"))
        .arg("-s")
        .arg(path("control"))
        .stderr(Stdio::null())
        .spawn()
        .expect("bird, of the package bird2");
    let bird = Ending(bird);
    let kernel = || {
        let output = Command::new("ip").args(["-4", "route", "show", "proto", "bird"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // It leaves out prefixes that it takes for martians.
    let mut reached = (0, Instant::now());
    // Reading its configuration takes it longer than any pause between routes.
    let patience = |count| Duration::from_secs(if count == 0 { 180 } else { 15 });
    while reached.0 < prefixes.len() && reached.1.elapsed() < patience(reached.0) {
        thread::sleep(Duration::from_millis(500));
        let count = kernel().lines().count();
        if count > reached.0 {
            reached = (count, Instant::now());
        }
    }
    eprintln!("\rBIRD has {} of {} routes in the kernel", reached.0, prefixes.len());
    let kernel = kernel();
    let installed = kernel.lines().filter_map(|line| line.split(' ').next());
    let installed: Vec<String> =
        installed.filter(|prefix| prefix.contains('/')).map(str::to_owned).collect();
    let probes = Probes::new(&installed);
    probes.until_all_leave_by("west", Instant::now());
    let blow = Instant::now();
    control(&path("control"), "disable s1");
    let seconds = probes.until_all_leave_by("east", blow);
    drop(bird);
    ip("-4 route flush proto bird");
    eprint!("\r                                        \r");
    seconds
}

fn control(socket: &Path, command: &str) {
    let status = Command::new("birdc")
        .arg("-s")
        .arg(socket)
        .args(command.split(' '))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "birdc {command}");
}

fn report(settings: &Settings, cases: &[Case]) {
    let millis = |seconds: f64| (seconds * 1e5).round() / 1e2;
    if settings.json {
        let figure = |case: &Case| {
            json!({
                "routes": case.routes,
                "link-down-ms": case.link.values().iter().map(|it| millis(*it)).collect::<Vec<_>>(),
                "owner-dies-ms":
                    case.owner.values().iter().map(|it| millis(*it)).collect::<Vec<_>>(),
                "next-hop-withdrawn-ms":
                    case.recursive.values().iter().map(|it| millis(*it)).collect::<Vec<_>>(),
                "bird-ms": case.bird.map(millis),
            })
        };
        println!("{}", json!(cases.iter().map(figure).collect::<Vec<_>>()));
        return;
    }
    println!(
        "until all packets take the other way, {} rounds, medians (least to most)",
        settings.rounds
    );
    let [link, owner, recursive] =
        ["the link goes down", "the owner dies", "the route to the gateway goes"];
    println!("{:>10}  {link:<28} {owner:<28} {recursive:<30} BIRD, withdrawn", "routes");
    for case in cases {
        let text = |times: &Times| {
            let [least, median, most] = [0.0, 0.5, 1.0].map(|share| millis(times.quantile(share)));
            format!("{median} ms ({least} to {most})")
        };
        let bird = case.bird.map_or_else(|| "-".to_owned(), |it| format!("{} ms", millis(it)));
        let [link, owner, recursive] = [&case.link, &case.owner, &case.recursive].map(text);
        println!("{:>10}  {link:<28} {owner:<28} {recursive:<30} {bird}", case.routes);
    }
}
