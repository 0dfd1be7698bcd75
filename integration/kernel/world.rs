//! A network namespace for one test: two veth links with addresses, and what `ip` says about it.
//!
//! The test runs on a thread of its own that leaves the process's namespace; sockets, threads and
//! children made by it stay with it, and all of it is gone when they are.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{collections::BTreeSet, process::Command, thread};

use nix::sched::{CloneFlags, unshare};
use rtmd::model::{Forwarding, Hop, InterfaceIndex, Weight};
use serde_json::Value;

/// Runs a test where the links `west` (192.0.2.1/24, 2001:db8:a::1/64) and `east` (198.51.100.1/24,
/// 2001:db8:b::1/64) are up. Without the right to make a namespace it says so and passes.
pub(crate) fn with_links(test: impl FnOnce() + Send + 'static) {
    let test = thread::spawn(|| {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            println!("skip: no network namespace to be had ({error}), run as root");
            return;
        }
        for command in [
            "link set lo up",
            "link add west type veth peer name east",
            "addr add 192.0.2.1/24 dev west",
            "addr add 198.51.100.1/24 dev east",
            "addr add 2001:db8:a::1/64 dev west nodad",
            "addr add 2001:db8:b::1/64 dev east nodad",
            "link set west up",
            "link set east up",
        ] {
            ip(command);
        }
        test();
    });
    if let Err(panic) = test.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip`, and answers with what it printed.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "ip {arguments}: {err}");
    out.into_owned()
}

/// Runs many commands of `ip` at once.
pub(crate) fn ip_batch(commands: impl Iterator<Item = String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), commands.collect::<Vec<_>>().join("\n")).unwrap();
    ip(&format!("-batch {}", file.path().display()));
}

/// The number of a link.
pub(crate) fn index(link: &str) -> InterfaceIndex {
    let links: Value = serde_json::from_str(&ip(&format!("-j link show dev {link}"))).unwrap();
    InterfaceIndex(u32::try_from(links[0]["ifindex"].as_u64().unwrap()).unwrap())
}

/// Reads `via ADDRESS dev LINK weight N` as often as `,` separates them, or another kind's name.
pub(crate) fn forwarding(text: &str) -> Forwarding {
    match text {
        "blackhole" => Forwarding::Blackhole,
        "unreachable" => Forwarding::Unreachable,
        "prohibit" => Forwarding::Prohibit,
        hops => Forwarding::Unicast(hops.split(", ").map(hop).collect()),
    }
}

fn hop(text: &str) -> Hop {
    let mut hop = Hop { gateway: None, interface: InterfaceIndex(0), weight: Weight::ONE };
    let words: Vec<&str> = text.split(' ').collect();
    for pair in words.chunks(2) {
        match pair[0] {
            "via" => hop.gateway = Some(pair[1].parse().unwrap()),
            "dev" => hop.interface = index(pair[1]),
            "weight" => hop.weight = Weight::new(pair[1].parse().unwrap()).unwrap(),
            other => panic!("{other} in {text}"),
        }
    }
    hop
}

/// The routes that `ip` knows in all tables, less the kernel's own, in the words of [`forwarding`].
pub(crate) fn routes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in all_routes() {
        assert!(found.insert(text.clone()), "{text} is there twice");
    }
    found
}

/// The same, with those that are there twice.
pub(crate) fn all_routes() -> Vec<String> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let routes = ip(&format!("{family} -j -N route show table all"));
        let routes: Vec<Value> = serde_json::from_str(&routes).unwrap();
        let of_others = routes.iter().filter(|route| route["protocol"] != "2");
        found.extend(of_others.map(|route| route_text(route, family)));
    }
    found
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn hop_text(hop: &Value) -> String {
    let mut words = Vec::new();
    if !hop["gateway"].is_null() {
        words.push(format!("via {}", word(&hop["gateway"])));
    }
    if !hop["via"].is_null() {
        words.push(format!("via {}", word(&hop["via"]["host"])));
    }
    words.push(format!("dev {}", word(&hop["dev"])));
    if !hop["weight"].is_null() {
        words.push(format!("weight {}", hop["weight"]));
    }
    words.join(" ")
}

/// The hops of a route by a group that get packets: all but a spare, which comes last and is too light
/// beside the others; with their weights in the smallest numbers.
fn in_use(hops: &[Value]) -> String {
    let weight = |hop: &Value| hop["weight"].as_u64().unwrap_or(1);
    let heaviest = hops.iter().map(weight).max().unwrap_or(1);
    let hops = match hops {
        [legs @ .., last] if weight(last) == 1 && heaviest > 100 => legs,
        all => all,
    };
    let divisor = |a: u64, b: u64| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let common = hops.iter().map(weight).fold(0, divisor);
    let text = |hop: &Value| {
        let mut hop = hop.clone();
        match hops.len() {
            1 => hop["weight"] = Value::Null,
            _ => hop["weight"] = (weight(&hop) / common).into(),
        }
        hop_text(&hop)
    };
    hops.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn route_text(route: &Value, family: &str) -> String {
    let length = if family == "-4" { "/32" } else { "/128" };
    let to = match word(&route["dst"]).as_str() {
        "default" if family == "-4" => "0.0.0.0/0".to_owned(),
        "default" => "::/0".to_owned(),
        to if to.contains('/') => to.to_owned(),
        to => format!("{to}{length}"),
    };
    let kind = match route["type"].as_str() {
        Some("blackhole" | "6") => "blackhole".to_owned(),
        Some("unreachable" | "7") => "unreachable".to_owned(),
        Some("prohibit" | "8") => "prohibit".to_owned(),
        _ => match route["nexthops"].as_array() {
            Some(hops) if route["nhid"].is_u64() => in_use(hops),
            Some(hops) => hops.iter().map(hop_text).collect::<Vec<_>>().join(", "),
            None => hop_text(route),
        },
    };
    let table = route["table"].as_str().unwrap_or("254");
    let [protocol, metric] = ["protocol", "metric"].map(|key| word(&route[key]));
    format!("{to} {kind} proto {protocol} metric {metric} table {table}")
}

/// What [`routes`] shows of one of ours.
pub(crate) fn ours(to: &str, what: &str, table: u32) -> String {
    format!("{to} {what} proto 82 metric 82 table {table}")
}
