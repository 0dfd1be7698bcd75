//! `docs/rtmctl-json.md`, held against what is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    stage::{Stage, objects},
    support::{NO_FIB, PrivateBus},
};

/// The tables of the page by heading, and those that something was held against.
struct Page {
    tables: BTreeMap<String, Vec<Key>>,
    used: BTreeSet<String>,
}

/// A row of a table.
#[derive(Clone)]
struct Key {
    name: String,
    kind: String,
    optional: bool,
}

impl Page {
    fn read() -> Self {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rtmctl-json.md"));
        let (mut tables, mut heading) = (BTreeMap::new(), String::new());
        for line in page.unwrap().lines() {
            if let Some(text) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
                heading = text.to_owned();
            } else if let Some(row) = line.strip_prefix("| `") {
                let (name, rest) = row.split_once('`').unwrap();
                let kind = rest.split('|').nth(1).unwrap().trim();
                let optional = kind.ends_with(", optional");
                let kind = kind.trim_end_matches(", optional").to_owned();
                let keys: &mut Vec<Key> = tables.entry(heading.clone()).or_default();
                keys.push(Key { name: name.to_owned(), kind, optional });
            }
        }
        Self { tables, used: BTreeSet::new() }
    }

    /// Holds an object against the tables of these headings together.
    fn check(&mut self, headings: &[&str], value: &Value) {
        let object = value.as_object().unwrap_or_else(|| panic!("{headings:?}: {value}"));
        let mut keys: Vec<Key> = Vec::new();
        for heading in headings {
            self.used.insert((*heading).to_owned());
            let table = self.tables.get(*heading);
            keys.extend(table.unwrap_or_else(|| panic!("there is no table {heading}")).clone());
        }
        for name in object.keys() {
            let told = keys.iter().any(|key| key.name == *name);
            assert!(told, "{headings:?} says nothing of \"{name}\": {value}");
        }
        for key in keys {
            match object.get(&key.name) {
                Some(value) => self.check_kind(headings[0], &key.name, &key.kind, value),
                None => assert!(key.optional, "{headings:?}: \"{}\" is missing: {value}", key.name),
            }
        }
    }

    fn check_kind(&mut self, heading: &str, key: &str, kind: &str, value: &Value) {
        if let Some(kind) = kind.strip_suffix(" or null") {
            if !value.is_null() {
                self.check_kind(heading, key, kind, value);
            }
            return;
        }
        if let Some(kind) = kind.strip_prefix("list of ") {
            let all = value.as_array().unwrap_or_else(|| panic!("{heading}: {key} is {value}"));
            all.iter().for_each(|value| self.check_kind(heading, key, kind, value));
            return;
        }
        let fits = match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            link => {
                let (name, _) = link.strip_prefix('[').unwrap().split_once(']').unwrap();
                self.check(&[name], value);
                true
            }
        };
        assert!(fits, "{heading}: {key} should be a {kind}, and is {value}");
    }
}

#[tokio::test]
async fn the_page_says_what_is_printed_with_json() {
    let mut page = Page::read();
    let stage = Stage::set().await;
    for (heading, words) in [
        ("status", "status"),
        ("entity", "entities"),
        ("route", "routes"),
        ("route", "lookup 10.1.2.3"),
        ("fib", "fib"),
        ("explain", "explain 10.1.0.0/16"),
        ("static list", "static list"),
        ("preference list", "preference list"),
        ("top", "top -n 2 --interval 0.1"),
    ] {
        let printed = stage.objects(words);
        assert!(!printed.is_empty(), "{words}");
        printed.iter().for_each(|object| page.check(&[heading], object));
    }
    for object in stage.objects("nexthops") {
        page.check(&["next hop", "nexthops"], &object);
    }
    let lines = "add 10.9.0.0/16 via 127.0.0.5\nnonsense\n";
    for words in ["--json load --protocol rip -", "--json load --protocol rip -"] {
        let output = stage.read(words, lines);
        for event in objects(std::str::from_utf8(&output.stdout).unwrap()) {
            let heading = format!("register {}", event["event"].as_str().unwrap());
            page.check(&[&heading], &event);
        }
    }
    let granting = PrivateBus::start();
    let grants = "[[grant]]\nname = \"first\"\nuser = 1\n[[grant]]\nname = \"second\"\nuser = 2\n";
    let _service = granting.serve(&format!("{NO_FIB}\n{grants}"));
    for user in ["1", "2", "3"] {
        let check = granting.rtmctl(&["--json", "policy", "check", "--user", user]);
        page.check(&["policy check"], &serde_json::from_slice(&check.stdout).unwrap());
    }
    let bad = PrivateBus::start();
    let _service = bad.serve("[[instance]]\nid = 0\nfib = false\n[[instance]]\nid = 3\n");
    let status = bad.rtmctl(&["--json", "status"]);
    page.check(&["status"], &serde_json::from_slice(&status.stdout).unwrap());

    for event in register_over_a_restart() {
        let heading = format!("register {}", event["event"].as_str().unwrap());
        page.check(&[&heading], &event);
    }

    // Each event that a test of monitor meets is held against the page there.
    let elsewhere = |heading: &String| heading.starts_with("monitor ");
    let unused = page.tables.keys().filter(|heading| !page.used.contains(*heading));
    let unused: Vec<&String> = unused.filter(|heading| !elsewhere(heading)).collect();
    assert!(unused.is_empty(), "nothing was held against {unused:?}");
}

/// What `register` says of a service that is started again, and then stopped for good.
fn register_over_a_restart() -> Vec<Value> {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--json", "--bus", &bus.address(), "register", "--protocol", "rip"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"add 10.9.0.0/16 dev lo\n").unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut told = Vec::new();
    let mut until = |kind: &str| {
        while told.last().is_none_or(|event: &Value| event["event"] != kind) {
            told.push(events.next().unwrap());
        }
    };
    until("in-step");
    drop(service);
    let service = bus.serve(NO_FIB);
    until("returned");
    drop(service);
    told.extend(events);
    assert_eq!(child.wait().unwrap().code(), Some(69));
    told
}

/// Holds an event of `monitor` against the page.
pub(crate) fn check_event(event: &Value) {
    let heading = match event["event"].as_str().unwrap() {
        "no-best" => "gone",
        "deregistered" => "registered",
        "missed" => "following",
        "lost" => "service-away",
        other => other,
    };
    Page::read().check(&[&format!("monitor {heading}")], event);
}

#[test]
fn the_page_of_the_daemon_has_each_of_its_options() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man/rtmd.8")).unwrap();
    let page = page.replace("\\-", "-");
    let help = Command::new(env!("CARGO_BIN_EXE_rtmd")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = help.lines().filter_map(|line| line.trim_start().split("--").nth(1));
    let options: Vec<&str> = options
        .filter_map(|rest| rest.split(|c: char| c != '-' && !c.is_alphanumeric()).next())
        .collect();
    assert!(options.contains(&"config"), "{help}");
    for option in options {
        assert!(page.contains(&format!("--{option}\\fR")), "docs/man/rtmd.8 lacks --{option}");
    }
}
