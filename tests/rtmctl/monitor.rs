//! `rtmctl monitor`, in a terminal and for programs.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use rtmd::bus::wire::Details;
use serde_json::Value;

use crate::{
    schema::check_event,
    stage::{Stage, client},
    support::{NO_FIB, PrivateBus, eventually},
    terminal::Terminal,
};

/// A monitor that prints JSON.
struct Monitor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Monitor {
    /// Runs it, until it follows.
    fn run(bus: &PrivateBus, words: &str, tables: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--json", "--bus", &bus.address(), "monitor"])
            .args(words.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut monitor = Self { child, lines };
        (0..tables).for_each(|_| assert_eq!(monitor.next()["event"], "following"));
        monitor
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("it goes on").unwrap();
        let event = serde_json::from_str(&line).unwrap();
        check_event(&event);
        event
    }

    /// The next event of this kind.
    fn find(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_comes_is_chosen_and_goes_is_told() {
    let stage = Stage::set().await;
    let mut monitor = Monitor::run(&stage.bus, "", 2);
    stage.edge.add("10.8.0.0/16", "127.0.0.2").await.unwrap();
    let best = monitor.next();
    assert_eq!((&best["event"], &best["prefix"]), (&"best".into(), &"10.8.0.0/16".into()));
    assert_eq!((&best["best"]["label"], &best["routes"]), (&"edge".into(), &1.into()));
    let late = client(&stage.bus, 10006, "late").await;
    assert_eq!(monitor.find("registered")["entity"]["label"], "late");
    late.add("10.8.0.0/16", "127.0.0.3").await.unwrap();
    let best = monitor.find("best");
    assert_eq!((&best["best"]["label"], &best["routes"]), (&"late".into(), &2.into()));
    late.entity.deregister(&Details::new()).await.unwrap();
    let events = [monitor.next(), monitor.next()];
    let kind = |kind: &str| events.iter().find(|event| event["event"] == kind).unwrap();
    assert_eq!(kind("deregistered")["entity"]["label"], "late");
    assert_eq!(kind("best")["best"]["label"], "edge");
    stage.edge.entity.deregister(&Details::new()).await.unwrap();
    let mut gone = Vec::new();
    while gone.len() < 3 {
        let event = monitor.next();
        if event["event"] == "gone" {
            gone.push(event["prefix"].as_str().unwrap().to_owned());
        }
    }
    gone.sort();
    assert_eq!(gone, ["10.0.0.0/8", "10.2.0.0/16", "10.8.0.0/16"]);
}

#[tokio::test]
async fn only_what_was_asked_for_is_told() {
    let stage = Stage::set().await;
    let mut within = Monitor::run(&stage.bus, "10.8.0.0/15 --view unicast", 1);
    let mut all = Monitor::run(&stage.bus, "-4 --all", 1);
    // An offer that does not win.
    stage.core.add("10.0.0.0/8", "127.0.0.9").await.unwrap();
    let told = all.next();
    assert_eq!((&told["prefix"], &told["best"]["label"]), (&"10.0.0.0/8".into(), &"edge".into()));
    stage.edge.add("10.10.0.0/16", "127.0.0.2").await.unwrap();
    stage.edge.add("10.9.0.0/16", "127.0.0.2").await.unwrap();
    assert_eq!(within.next()["prefix"], "10.9.0.0/16");
    assert_eq!(stage.run("monitor nonsense").status.code(), Some(1));
}

#[tokio::test]
async fn it_goes_on_when_the_service_is_started_again_and_ends_with_the_bus() {
    let mut bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let edge = client(&bus, 14, "edge").await;
    let mut monitor = Monitor::run(&bus, "-4", 1);
    drop(service);
    assert_eq!(monitor.find("service-away")["event"], "service-away");
    let _service = bus.serve(NO_FIB);
    assert_eq!(monitor.find("service-back")["kept"], true);
    edge.add("10.8.0.0/16", "127.0.0.2").await.unwrap();
    assert_eq!(monitor.find("best")["prefix"], "10.8.0.0/16");
    bus.stop();
    monitor.find("lost");
    assert_eq!(monitor.child.wait().unwrap().code(), Some(69));
}

#[tokio::test]
async fn a_service_without_its_journal_is_followed_anew_and_that_is_told() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let mut monitor = Monitor::run(&bus, "-4", 1);
    drop(service);
    std::fs::remove_dir_all(bus.path("first.run")).unwrap();
    let _service = bus.serve(NO_FIB);
    assert_eq!(monitor.find("service-back")["kept"], false);
    monitor.find("missed");
    let edge = client(&bus, 14, "edge").await;
    edge.add("10.8.0.0/16", "127.0.0.2").await.unwrap();
    assert_eq!(monitor.find("best")["prefix"], "10.8.0.0/16");
}

#[tokio::test]
async fn a_burst_ends_with_what_is_there() {
    let stage = Stage::set().await;
    let mut monitor = Monitor::run(&stage.bus, "-4", 1);
    let prefixes: Vec<String> =
        (0..3000).map(|n| format!("10.{}.{}.0/24", 100 + n / 250, n % 250)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let route = crate::support::route("127.0.0.2", []);
    stage.edge.entity.add_prefixes(&prefixes, &route, 0).await.unwrap();
    let told: std::collections::BTreeSet<String> =
        (0..3000).map(|_| monitor.next()["prefix"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, prefixes.iter().map(|prefix| (*prefix).to_owned()).collect());
}

#[tokio::test]
async fn in_a_terminal_it_is_coloured_with_the_time_and_ends_by_control_c() {
    let stage = Stage::set().await;
    let mut terminal = Terminal::run(&stage.bus, &["-4", "monitor"], (24, 120));
    terminal.wait("its beginning", |screen| screen.contains("following"));
    stage.edge.add("10.8.0.0/16", "127.0.0.5").await.unwrap();
    let words = "> 10.8.0.0/16 via 127.0.0.5 dev lo, edge (bgp), preference 15, metric 0";
    let shown = terminal.wait("the change", |screen| screen.contains(words));
    let line = shown.lines().find(|line| line.contains("10.8.0.0/16")).unwrap();
    let time: Vec<&str> = line.split_whitespace().next().unwrap().split(':').collect();
    assert!(time.len() == 3 && time.iter().all(|part| part.len() >= 2), "{line}");
    assert!(terminal.raw().contains("\u{1b}[1m\u{1b}[32m> 10.8.0.0/16"), "{:?}", terminal.raw());
    terminal.type_in("\u{3}");
    // The terminal is not the program's controlling one, so the key itself does nothing.
    terminal.signal("INT");
    assert_eq!(terminal.end().code(), Some(0));
    let mut ended = Monitor::run(&stage.bus, "-4", 1);
    let line = format!("kill {}", ended.child.id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    eventually("its end", async || ended.child.try_wait().unwrap().is_some()).await;
    assert_eq!(ended.child.wait().unwrap().code(), Some(0));
}
