//! `rtmctl register` beside a service that is killed, stays away, or has what an earlier life of the
//! command left behind.
#![allow(clippy::print_stdout, reason = "the seed has to be seen")]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use rtmd::{
    client::{self, RouteEnumerationProxy},
    model::Family,
};
use serde_json::Value;
use support::{NO_FIB, PrivateBus, details, eventually, route};
use zbus::Variant;

const KILLS: usize = 12;

/// An `rtmctl --json register`.
struct Feed {
    child: Child,
    events: Receiver<Value>,
}

impl Feed {
    fn start(bus: &PrivateBus, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--bus", &bus.address(), "--json", "register", "--protocol", "ospf"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in lines {
                let _ = sender.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Self { child, events }
    }

    /// The input with these lines, and no others.
    fn with(bus: &PrivateBus, arguments: &[&str], lines: &str) -> Self {
        let mut feed = Self::start(bus, arguments);
        feed.input().write_all(lines.as_bytes()).unwrap();
        feed
    }

    fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Waits for an event; returns it, and how many times each came before it.
    fn until(&self, name: &str) -> (Value, BTreeMap<String, usize>) {
        let mut before = BTreeMap::new();
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(60)).expect(name);
            match event["event"].as_str().unwrap() {
                found if found == name => return (event, before),
                other => *before.entry(other.to_owned()).or_default() += 1,
            }
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The routes that there are, and the metric of each.
async fn offered(bus: &PrivateBus) -> BTreeMap<String, u32> {
    let connection = bus.connect().await;
    let manager = client::manager(&connection).await.unwrap();
    let mut metrics = BTreeMap::new();
    for family in Family::ALL {
        let table = client::table(&manager, 0, family).await.unwrap();
        let path = table.create_route_enumeration(0, 0, "", 0, &details([])).await.unwrap();
        let walk = RouteEnumerationProxy::new(&connection, path).await.unwrap();
        loop {
            let (page, done) = walk.next(1000).await.unwrap();
            for route in page {
                assert_eq!(metrics.insert(route.destination, route.metric), None, "two to one");
            }
            if done {
                break;
            }
        }
    }
    metrics
}

/// The state of each entity of ours, in order.
fn states(bus: &PrivateBus) -> Vec<String> {
    let listed = bus.rtmctl(&["--json", "entities"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let entities = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entities.map(|entity| entity["state"].as_str().unwrap().to_owned()).collect()
}

fn is_there(bus: &PrivateBus) -> bool {
    bus.busctl(&["status", "org.rtmd1"]).status.success()
}

/// What was written: the number of the line that stands for each prefix, additions, deletions.
type Written = (BTreeMap<String, u32>, u64, u64);

/// Writes lines until it is told to stop: few and many at once, about prefixes that come again.
fn write_lines(mut to: ChildStdin, mut random: Rng, is_over: &AtomicBool) -> Written {
    let (mut expected, mut number, mut deleted) = (BTreeMap::new(), 0, 0);
    while !is_over.load(Ordering::Relaxed) || number < 5000 {
        let mut lines = String::new();
        let most = [1, 30, 3000][random.usize(..3)];
        for _ in 0..random.usize(1..=most) {
            number += 1;
            let end = [4, 2000, 2000, 2000, 2000, 2000][random.usize(..6)];
            let place = random.u16(1..end);
            let (prefix, via) = match random.bool() {
                true => (format!("10.{}.{}.0/24", place >> 8, place & 0xff), "192.0.2."),
                false => (format!("2001:db8:{place:x}::/48"), "2001:db8::"),
            };
            if random.u8(..3) == 0 && expected.remove(&prefix).is_some() {
                deleted += 1;
                lines += &format!("del {prefix}\n");
            } else {
                lines += &format!("add {prefix} via {via}{} metric {number}\n", random.u8(1..9));
                expected.insert(prefix, number);
            }
        }
        to.write_all(lines.as_bytes()).expect("it reads on");
        thread::sleep(Duration::from_millis(random.u64(..20)));
    }
    (expected, u64::from(number) - deleted, deleted)
}

#[tokio::test]
async fn a_feed_that_goes_on_while_the_service_is_killed_becomes_exactly_what_its_lines_say() {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = std::env::var("RTMD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| time.into());
    println!("RTMD_SEED={seed}");
    for bus in PrivateBus::of_each_kind() {
        let mut random = Rng::with_seed(seed);
        let mut service = bus.serve(NO_FIB);
        let mut feed = Feed::start(&bus, &[]);
        let is_over = Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (input, random, is_over) = (feed.input(), random.fork(), Arc::clone(&is_over));
            move || write_lines(input, random, &is_over)
        });
        feed.until("registered");
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_micros(random.u64(..400_000))).await;
            service.kill();
            service = bus.spawn(NO_FIB, "first");
            // Else it may be killed before it is there.
            if random.bool() {
                eventually("it is there", async || is_there(&bus)).await;
            }
        }
        eventually("it is there", async || is_there(&bus)).await;
        is_over.store(true, Ordering::Relaxed);
        let (expected, added, deleted) = writer.join().unwrap();
        let (loaded, before) = feed.until("loaded");
        assert_eq!(loaded["refused"], 0, "{before:?}");
        let counted = (loaded["offered"].as_u64(), loaded["withdrawn"].as_u64());
        assert_eq!(counted, (Some(added), Some(deleted)));
        assert!(before.get("returned").is_some_and(|times| *times > 2), "{before:?}");
        feed.until("in-step");
        let found = offered(&bus).await;
        let same = found == expected;
        let (found, wanted) = (found.iter(), expected.iter());
        let wrong: Vec<_> = found.zip(wanted).filter(|(found, wanted)| found != wanted).collect();
        assert!(same, "{:?}", wrong.first());
        assert!(feed.child.try_wait().unwrap().is_none());
        println!("{before:?}, {added} added, {deleted} deleted, {} left", expected.len());
    }
}

#[tokio::test]
async fn a_registration_that_got_no_answer_is_made_again() {
    let bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    let mut feed = Feed::start(&bus, &[]);
    let mut input = feed.input();
    input.write_all(b"add 10.0.0.0/8 via 192.0.2.2\n").unwrap();
    feed.until("registered");
    service.signal("STOP");
    input.write_all(b"add 2001:db8::/32 via 2001:db8::2\n").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    service.kill();
    let _service = bus.serve(NO_FIB);
    let (registered, before) = feed.until("registered");
    assert_eq!((&registered["table"], &before["returned"]), (&"0/ipv6".into(), &1));
    drop(input);
    feed.until("in-step");
    assert_eq!(
        offered(&bus).await.into_keys().collect::<Vec<_>>(),
        ["10.0.0.0/8", "2001:db8::/32"]
    );
}

#[test]
fn a_service_that_is_not_back_in_time_or_has_nothing_any_more_is_lost_while_the_input_is_open() {
    let bus = PrivateBus::start();
    for has_successor in [true, false] {
        let mut service = bus.serve(NO_FIB);
        let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--bus", &bus.address(), "register", "--protocol", "ospf"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"add 10.0.0.0/8 via 192.0.2.2\n").unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("registered in table 0/ipv4"), "{said}");
        let since = Instant::now();
        service.kill();
        input.write_all(b"add 11.0.0.0/8 via 192.0.2.2\n").unwrap();
        // In other directories, so it takes nothing over.
        let _successor = has_successor.then(|| bus.spawn(NO_FIB, "second"));
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
            (
                Some(69),
                "lost: the service went away, and the registration with it; start again when it is back\n"
            )
        );
        assert_eq!(since.elapsed() < Duration::from_secs(10), has_successor);
    }
}

#[tokio::test]
async fn what_an_earlier_life_left_goes_with_the_end_of_an_input_that_has_none_of_it() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let lingers = ["--linger", "60"];
    let both = "add 10.0.0.0/8 via 192.0.2.2\nadd 2001:db8::/32 via 2001:db8::2\n";
    for (lines, left) in [("", &[][..]), ("add 10.0.0.0/8 via 192.0.2.2\n", &["10.0.0.0/8"])] {
        let mut earlier = Feed::with(&bus, &lingers, both);
        earlier.until("in-step");
        earlier.kill();
        eventually("it lingers", async || states(&bus) == ["lingering", "lingering"]).await;
        assert_eq!(offered(&bus).await.len(), 2);

        let later = Feed::with(&bus, &lingers, lines);
        let (_, before) = later.until("in-step");
        assert_eq!(before["registered"], 2);
        assert_eq!(states(&bus), ["active", "active"]);
        let found = offered(&bus).await.into_keys().collect::<Vec<_>>();
        assert_eq!(found, left);
        drop(later);
        eventually("it lingers", async || states(&bus) == ["lingering", "lingering"]).await;
        // For the next round.
        let last = Feed::with(&bus, &["--linger", "60", "--exit-at-eof"], "");
        last.until("in-step");
        eventually("all is over", async || states(&bus).is_empty()).await;
    }
}

#[tokio::test]
async fn what_somebody_else_left_is_left_alone_without_a_word() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let Some(stranger) = bus.connect_as(65_534).await else { return };
    let manager = client::manager(&stranger).await.unwrap();
    let options = details([("linger", Variant::from(60_000u32))]);
    let (path, _) = manager.register_entity(0, "ipv4", 13, 0, &options).await.unwrap();
    let entity = client::EntityProxy::new(&stranger, path).await.unwrap();
    entity.add_route("10.0.0.0/8", &route("127.0.0.2", []), 0).await.unwrap();
    stranger.close().await.unwrap();
    eventually("it lingers", async || states(&bus) == ["lingering"]).await;
    let nothing = ["register", "--protocol", "ospf", "--linger", "60", "--exit-at-eof"];
    let output = bus.rtmctl(&nothing);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert_eq!((states(&bus), offered(&bus).await.len()), (vec!["lingering".to_owned()], 1));
}
