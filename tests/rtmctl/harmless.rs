//! What others chose never reaches a terminal as it is: here a service answers with text that would
//! steer one, in every place where there is text.

use std::collections::BTreeMap;

use rtmd::bus::wire::{DestinationInfo, Details, EntityInfo, NextHopInfo, RouteInfo, ViewInfo};
use zbus::{Connection, ObjectPath, OwnedObjectPath, OwnedVariant, Variant, fdo, interface};

use crate::{support::PrivateBus, terminal::Terminal};

/// Clears the screen, rings, begins a new line, and turns the direction of writing, in both ways to
/// write it.
const EVIL: &str = "a\u{1b}[2J\u{7}\nb\u{9b}2J\u{7f}\u{202e}c\r";

struct Manager;
struct Table;
struct Walk;
struct Entity;

fn evil() -> String {
    EVIL.to_owned()
}

fn details<const N: usize>(entries: [(&str, Variant<'static>); N]) -> Details {
    let owned = |(key, value): (&str, Variant<'static>)| {
        (key.to_owned(), OwnedVariant::try_from(value).unwrap())
    };
    entries.into_iter().map(owned).collect()
}

fn path(text: &'static str) -> OwnedObjectPath {
    ObjectPath::try_from(text).unwrap().into()
}

fn route() -> RouteInfo {
    RouteInfo {
        id: 1,
        destination: format!("10.0.0.0/8{EVIL}"),
        owner: 1,
        neighbour: 0,
        state: 0,
        flags: 0,
        preference: 1,
        metric: 0,
        views: 1,
        next_hops: vec![1],
        more: details([
            ("fib", evil().into()),
            ("fib-error", evil().into()),
            ("best-in-views", 1u32.into()),
        ]),
    }
}

#[interface(name = "org.rtmd1.Manager")]
impl Manager {
    fn get_table(&self, _instance: u32, _family: &str) -> OwnedObjectPath {
        path("/org/rtmd1/table/0/ipv4")
    }

    fn get_registered_entities(&self, instance: u32, family: &str) -> Vec<EntityInfo> {
        vec![EntityInfo {
            id: 1,
            path: path("/org/rtmd1/entity/1"),
            instance,
            family: family.to_owned(),
            protocol: 14,
            protocol_instance: 0,
            label: evil(),
            bus_name: evil(),
            state: evil(),
        }]
    }

    fn get_preferences(&self) -> Vec<(u32, String, u32)> {
        vec![(1, evil(), 2)]
    }

    fn get_static_routes(&self, _instance: u32, _family: &str) -> Vec<(String, Details, bool)> {
        let keys = details([
            ("via", vec![(evil(), 0u32, 1u32)].into()),
            ("interfaces", vec![evil()].into()),
            ("waits", evil().into()),
        ]);
        vec![(evil(), keys, true)]
    }

    fn add_static_route(
        &self,
        _instance: u32,
        _destination: &str,
        _route: Details,
        _persistent: bool,
    ) -> fdo::Result<()> {
        Err(fdo::Error::Failed(evil()))
    }

    #[zbus(property)]
    fn version(&self) -> String {
        evil()
    }

    #[zbus(property)]
    fn epoch(&self) -> u64 {
        1
    }

    #[zbus(property)]
    fn instances(&self) -> Vec<u32> {
        vec![0]
    }

    #[zbus(property)]
    fn fib_state(&self) -> String {
        evil()
    }

    #[zbus(property)]
    fn advice(&self) -> Vec<String> {
        vec![evil()]
    }

    #[zbus(property)]
    fn limits(&self) -> BTreeMap<String, u32> {
        BTreeMap::new()
    }
}

#[interface(name = "org.rtmd1.Table")]
impl Table {
    fn get_most_specific_destination(
        &self,
        _prefix: &str,
        _protocol: u32,
        _views: u32,
    ) -> (DestinationInfo,) {
        let record = ViewInfo { view: 0, routes: 1, best: 1, owner: 1, flags: 0, held: 0 };
        let prefix = route().destination;
        (DestinationInfo { prefix, last_changed: 1, views: 1, per_view: vec![record] },)
    }

    fn get_routes(&self, _prefix: &str) -> Vec<RouteInfo> {
        vec![route()]
    }

    fn get_route_info(&self, _id: u64) -> (RouteInfo,) {
        (route(),)
    }

    fn get_next_hop_info(&self, id: u64) -> (NextHopInfo,) {
        let more = details([
            ("interface", evil().into()),
            ("resolved-via", vec![(evil(), 1u32)].into()),
            ("resolved-interfaces", vec![evil()].into()),
            ("resolved-through", vec![evil()].into()),
        ]);
        (NextHopInfo { id, owner: 1, address: evil(), interface: 1, state: 0, flags: 0, more },)
    }

    fn explain(&self, _prefix_or_address: &str) -> (String, Vec<Details>, Details) {
        let text = || -> Variant<'static> { evil().into() };
        let hop = details([
            ("address", text()),
            ("interface-name", text()),
            ("reason", text()),
            ("way", text()),
        ]);
        let mut candidate =
            details([("label", text()), ("protocol-name", text()), ("reason", text())]);
        let hops = OwnedVariant::try_from(Variant::from(vec![hop])).unwrap();
        candidate.insert("next-hops".to_owned(), hops);
        let fib = ["state", "reason", "wish", "error", "goes-by"].map(|key| (key, text()));
        (evil(), vec![candidate], details(fib))
    }

    fn create_route_enumeration(
        &self,
        _views: u32,
        _flags: u32,
        _prefix: &str,
        _matching: u32,
        _criteria: Details,
    ) -> OwnedObjectPath {
        path("/org/rtmd1/enumeration/1")
    }

    fn register_for_change_notification(
        &self,
        _views: u32,
        _flags: u32,
        _context: u64,
    ) -> fdo::Result<OwnedObjectPath> {
        Err(fdo::Error::Failed(evil()))
    }

    #[zbus(property)]
    fn routes(&self) -> u64 {
        1
    }
}

#[interface(name = "org.rtmd1.RouteEnumeration")]
impl Walk {
    fn next(&self, _max: u32) -> (Vec<RouteInfo>, bool) {
        (vec![route()], true)
    }

    fn close(&self) {}
}

#[interface(name = "org.rtmd1.Entity")]
impl Entity {
    #[zbus(property)]
    fn routes(&self) -> u64 {
        1
    }
}

async fn serve(bus: &PrivateBus) -> Connection {
    let connection = bus.connect().await;
    let server = connection.object_server();
    server.at("/org/rtmd1", Manager).await.unwrap();
    server.at("/org/rtmd1/table/0/ipv4", Table).await.unwrap();
    server.at("/org/rtmd1/enumeration/1", Walk).await.unwrap();
    server.at("/org/rtmd1/entity/1", Entity).await.unwrap();
    connection.request_name("org.rtmd1").await.unwrap();
    connection
}

/// What would steer a terminal, but for the ends of lines.
fn steers(c: char) -> bool {
    c != '\n' && c.is_control() || c == '\u{202e}'
}

#[tokio::test]
async fn no_command_prints_what_would_steer_a_terminal() {
    let bus = PrivateBus::start();
    let _service = serve(&bus).await;
    // The service answers from this thread.
    tokio::task::spawn_blocking(move || look(&bus)).await.unwrap();
}

fn look(bus: &PrivateBus) {
    for (words, told) in [
        ("status", true),
        ("entities", true),
        ("-4 routes", true),
        ("-4 routes --state all", true),
        ("-4 fib --failed", true),
        ("-4 routes --best", false),
        ("lookup 10.0.0.1", true),
        ("explain 10.0.0.1", true),
        ("-4 nexthops", true),
        ("-4 fib", false),
        ("-4 static list", true),
        ("static add 10.0.0.0/8 dev lo", true),
        ("preference list", true),
        ("-4 monitor", true),
        ("-4 top -n 1", false),
    ] {
        for json in ["", "--json "] {
            let told = told || !json.is_empty() && words.contains("top");
            let line = format!("{json}{words}");
            let output = bus.rtmctl(&line.split_whitespace().collect::<Vec<_>>());
            let text = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
            assert!(!text.contains(steers), "{line}: {text:?}");
            // It got as far as telling it, and it is still one line.
            let marked = text.lines().any(|line| line.contains("[2J") && line.contains('c'));
            assert!(!told || marked, "{line}: {text:?}");
        }
    }
    let mut terminal =
        Terminal::run(bus, &["-4", "top", "-n", "2", "--interval", "0.1"], (24, 150));
    terminal.end();
    let raw = terminal.raw();
    assert!(raw.contains("[2J\u{fffd}") && !raw.contains("a\u{1b}[2J"), "{raw:?}");
    assert!(!raw.contains(['\u{7}', '\u{9b}', '\u{202e}', '\u{7f}']), "{raw:?}");
}
