//! A whole rtmd with its bus in a network namespace of the test's own.
//!
//! What is compared: every route that `ip` shows against what was there before rtmd plus one route of
//! ours for each best route that the bus tells of. The links `north` (10.99.0.1/24, 2001:db8:c::1/64)
//! and `south` are apart from the pair `west` and `east`, and each can be switched alone. On `south`
//! are the routes of others.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use rtmd::{
    bus::wire::{Details, EntityInfo, RouteInfo},
    client::{self, ManagerProxy, TableProxy},
    model::{Family, Forwarding, RouteFlags, Weight, shares},
};
use serde_json::Value;
use zbus::{Connection, Variant};

use crate::{
    support::{self, Client, PrivateBus, Service, details},
    world::{all_routes, forwarding, index, ip, ours, routes, with_links},
};

/// The instances: the main table, and one that is looked into by rules only.
pub(crate) const CONFIG: &str =
    "[[instance]]\nid = 0\n\n[[instance]]\nid = 1\nkernel-table = 1000\n";

/// The kernel's table of each instance.
const KERNEL_TABLES: [u32; 2] = [254, 1000];

/// The stage and who is on it.
pub(crate) struct Scene {
    /// Ends with the scene, and before the bus, which takes its log along.
    pub(crate) service: Service,
    pub(crate) bus: PrivateBus,
    pub(crate) manager: ManagerProxy<'static>,
    /// With the kernel's table of each.
    tables: Vec<(TableProxy<'static>, u32)>,
    /// What was there before rtmd, and is to be there always.
    pub(crate) foreign: BTreeSet<String>,
    marker: Client,
    marked: Cell<u32>,
}

/// Runs a test where rtmd is ready and nobody has registered.
pub(crate) fn on_stage(test: impl AsyncFnOnce(&Scene) + Send + 'static) {
    before_start(|| {}, test);
}

/// As [`on_stage`], after something was done to the kernel.
pub(crate) fn before_start(
    prepare: impl FnOnce() + Send + 'static,
    test: impl AsyncFnOnce(&Scene) + Send + 'static,
) {
    configured(format!("[service]\nreclaim-time = 0\n\n{CONFIG}"), prepare, test);
}

/// As [`before_start`], with another configuration of the same instances.
pub(crate) fn configured(
    config: String,
    prepare: impl FnOnce() + Send + 'static,
    test: impl AsyncFnOnce(&Scene) + Send + 'static,
) {
    launched(&[], config, prepare, test);
}

/// As [`configured`], by a program with arguments that runs rtmd.
pub(crate) fn launched(
    wrapper: &'static [&'static str],
    config: String,
    prepare: impl FnOnce() + Send + 'static,
    test: impl AsyncFnOnce(&Scene) + Send + 'static,
) {
    with_links(move || {
        for command in [
            "link add north type veth peer name north-peer",
            "link add south type veth peer name south-peer",
            "link add marker type veth peer name marker-peer",
            "addr add 10.99.0.1/24 dev north",
            "addr add 2001:db8:c::1/64 dev north nodad",
            "addr add 10.98.0.1/24 dev south",
            "addr add 2001:db8:d::1/64 dev south nodad",
            "link set north-peer up",
            "link set south-peer up",
            "link set north up",
            "link set south up",
            // To destinations that rtmd has routes to, and to another.
            "route add 203.0.113.0/24 via 10.98.0.9 dev south proto static metric 9000",
            "route add 203.0.113.0/24 via 10.98.0.8 dev south proto 186 metric 83",
            "route add blackhole 10.0.0.0/8 proto static metric 9000",
            "route add 2001:db8:ffff::/48 via 2001:db8:d::9 dev south proto static metric 9000",
            "route add 203.0.113.0/24 via 10.98.0.9 dev south proto static table 1000 metric 81",
        ] {
            ip(command);
        }
        let foreign = routes();
        prepare();
        let bus = PrivateBus::start();
        let manager = UnixDatagram::bind(bus.path("notify")).unwrap();
        let mut launch = bus.launch(&config, "first");
        launch.wrapper = wrapper.to_vec();
        let service = launch.start();
        await_ready(manager, &service);
        // At this very moment.
        assert!(routes() == foreign, "ready, and not in step: {:#?}", routes());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new(bus, service, foreign).await;
            test(&scene).await;
            scene.in_step().await;
            assert!(scene.foreign.is_subset(&routes()), "others' routes were touched");
        });
    });
}

/// Waits until the service manager hears that rtmd is ready. It listens no longer than that: rtmd
/// would wait for one whose queue is full.
#[expect(clippy::needless_pass_by_value, reason = "the socket ends here")]
pub(crate) fn await_ready(manager: UnixDatagram, service: &Service) {
    manager.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut said = [0; 1024];
    loop {
        let length = match manager.recv(&mut said) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => panic!("rtmd does not get ready ({error}):\n{}", service.log()),
        };
        if said[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return;
        }
    }
}

impl Scene {
    async fn new(bus: PrivateBus, service: Service, foreign: BTreeSet<String>) -> Self {
        let connection = bus.connect().await;
        let manager = client::manager(&connection).await.unwrap();
        let mut tables = Vec::new();
        for (instance, kernel_table) in (0..).zip(KERNEL_TABLES) {
            for family in Family::ALL {
                let table = client::table(&manager, instance, family).await.unwrap();
                tables.push((table, kernel_table));
            }
        }
        let marker = Client::register_in(&connection, 1, Family::Ipv4, 4_000_000).await;
        let link = index("marker").0;
        marker.entity.add_next_hop("", link, &details([])).await.unwrap();
        Self { bus, service, manager, tables, foreign, marker, marked: Cell::new(0) }
    }

    /// A client of the first instance with a connection of its own.
    pub(crate) async fn client(&self, family: Family, protocol: u32) -> Client {
        self.client_in(0, family, protocol).await
    }

    pub(crate) async fn client_in(&self, instance: u32, family: Family, protocol: u32) -> Client {
        let connection: Connection = self.bus.connect().await;
        Client::register_in(&connection, instance, family, protocol).await
    }

    /// Waits until rtmd has heard of everything that happened to links up to now: what it is told
    /// last is another name.
    pub(crate) async fn links_known(&self) {
        let before = self.name_of_marker();
        self.marked.set(self.marked.get() + 1);
        let name = self.name_of_marker();
        ip(&format!("link set {before} name {name}"));
        let link = index(&name).0;
        support::eventually("a link's new name is known", async || {
            let next_hop = self.marker.entity.find_next_hop("", link).await.unwrap();
            let known: Option<&str> =
                next_hop.more.get("interface").and_then(|known| known.try_into().ok());
            known == Some(&name)
        })
        .await;
    }

    fn name_of_marker(&self) -> String {
        match self.marked.get() {
            0 => "marker".to_owned(),
            number => format!("marker{number}"),
        }
    }

    /// Waits until nothing is on its way to the kernel.
    pub(crate) async fn nothing_pending(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for (table, _) in &self.tables {
            while table.fib_pending().await.unwrap() > 0 {
                assert!(Instant::now() < deadline, "pending for ever");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// The kernel has what was there before, and for our destinations this and no more.
    pub(crate) async fn expect<const N: usize>(&self, wanted: [(&str, &str); N]) {
        self.links_known().await;
        self.nothing_pending().await;
        let mut expected = self.foreign.clone();
        expected.extend(wanted.map(|(to, what)| ours(to, what, 254)));
        let found = routes();
        if found != expected {
            let said = self.bus.rtmctl(&["routes"]).stdout;
            let said = String::from_utf8_lossy(&said);
            panic!("{}\nrtmctl routes:\n{said}", difference(&found, &expected));
        }
    }

    /// As [`Scene::expect`], as soon as what the kernel refuses at first was tried again.
    pub(crate) async fn expect_soon<const N: usize>(&self, wanted: [(&str, &str); N]) {
        self.links_known().await;
        self.failed_no_more(Duration::from_secs(2)).await;
        self.expect(wanted).await;
    }

    async fn failed_no_more(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for (table, _) in &self.tables {
            while table.fib_failed().await.unwrap() > 0 || table.fib_pending().await.unwrap() > 0 {
                assert!(Instant::now() < deadline, "refused for longer than {patience:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// The kernel has what was there before and the best routes that the bus tells of.
    pub(crate) async fn in_step(&self) {
        self.nothing_pending().await;
        if let Some(difference) = self.difference().await {
            panic!("{difference}\n{}", ip("nexthop show"));
        }
    }

    /// What the kernel has otherwise than before, or than the bus tells of the best routes.
    pub(crate) async fn difference(&self) -> Option<String> {
        let names = names();
        let mut expected = self.foreign.clone();
        for (table, kernel_table) in &self.tables {
            let (instance, family) =
                (table.instance().await.unwrap(), table.family().await.unwrap());
            let entities = self.manager.get_registered_entities(instance, &family).await.unwrap();
            let is_foreign = |route: &RouteInfo| {
                entities.iter().any(|it| it.id == route.owner && is_of_others(it))
            };
            for to in DESTINATIONS {
                if (family == "ipv6") != to.contains(':') {
                    continue;
                }
                let routes = table.get_routes(to).await.unwrap();
                let Some(best) = routes.iter().find(|route| is_best(route)) else { continue };
                if is_foreign(best) {
                    continue; // it is there already
                }
                let Some(what) = self.way(table, best, &names).await else { continue };
                let line = ours(to, &what, *kernel_table);
                if !best.more.contains_key("fib-error") {
                    expected.insert(line);
                    continue;
                }
                // By some of its next hops, because the kernel refuses others, or all of them: then
                // what would take its place does so already.
                let mut in_part = part_of(&line);
                for other in routes.iter().filter(|route| !is_best(route)) {
                    if in_part.is_none()
                        && let Some(what) = self.way(table, other, &names).await
                    {
                        in_part = part_of(&ours(to, &what, *kernel_table));
                    }
                }
                expected.insert(in_part.unwrap_or(line));
            }
        }
        let in_small_numbers =
            |lines: BTreeSet<String>| lines.iter().map(|line| in_small_numbers(line)).collect();
        let found = all_routes();
        let once: BTreeSet<String> = found.iter().cloned().collect();
        if once.len() < found.len() {
            // Or it changed while `ip` read it.
            return Some(format!("something is there twice: {found:#?}"));
        }
        let [found, expected] = [once, expected].map(in_small_numbers);
        (found != expected).then(|| difference(&found, &expected))
    }

    /// What the kernel is to do for a route, by what the bus tells of its next hops.
    async fn way(
        &self,
        table: &TableProxy<'_>,
        route: &RouteInfo,
        names: &BTreeMap<u32, String>,
    ) -> Option<String> {
        let flags = RouteFlags::new(route.flags).unwrap();
        for (flag, word) in [
            (RouteFlags::BLACKHOLE, "blackhole"),
            (RouteFlags::DISCARD, "unreachable"),
            (RouteFlags::MARTIAN, "prohibit"),
        ] {
            if flags.intersects(flag) {
                return Some(word.to_owned());
            }
        }
        if ["failed", "ineligible"].contains(&fib(route)) {
            return None;
        }
        let mut members = Vec::new();
        for id in &route.next_hops {
            let more = table.get_next_hop_info(*id).await.unwrap().more;
            let resolved: Vec<(String, u32)> = more["resolved-via"].clone().try_into().unwrap();
            let weights = more.get("resolved-weights").cloned().map(Vec::<u32>::try_from);
            let weights = weights.map_or_else(|| vec![1; resolved.len()], Result::unwrap);
            let ways = resolved.into_iter().zip(weights).map(|((gateway, interface), weight)| {
                let via =
                    if gateway.is_empty() { String::new() } else { format!("via {gateway} ") };
                (format!("{via}dev {}", names[&interface]), Weight::new(weight).unwrap())
            });
            let weight: u32 = (&more["weight"]).try_into().unwrap();
            members.push((Weight::new(weight).unwrap(), ways.collect::<Vec<_>>().into_iter()));
        }
        match shares(members, 64).as_slice() {
            [] => None,
            [(only, _)] => Some(only.clone()),
            several => {
                let weighted =
                    several.iter().map(|(hop, weight)| format!("{hop} weight {}", weight.get()));
                Some(weighted.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The destinations of all tests.
pub(crate) const DESTINATIONS: [&str; 12] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.20.0.0/16",
    "10.20.30.0/24",
    "10.20.30.40/32",
    "203.0.113.0/24",
    "::/0",
    "2001:db8:ffff::/48",
    "2001:db8:fffe::/47",
    "2001:db8:ffff:1::/64",
    "2001:db8:ffff:1::1/128",
    "fd00::/8",
];

/// A route as `AddRoute` takes it, from the words of [`forwarding`].
pub(crate) fn offer(what: &str, preference: u32, metric: u32) -> Details {
    let numbers = [("preference", Variant::from(preference)), ("metric", Variant::from(metric))];
    let mut route = details(numbers);
    let (key, value) = match forwarding(what) {
        Forwarding::Blackhole => ("flags", Variant::from(u32::from(RouteFlags::BLACKHOLE.0))),
        Forwarding::Unreachable => ("flags", Variant::from(u32::from(RouteFlags::DISCARD.0))),
        Forwarding::Prohibit => ("flags", Variant::from(u32::from(RouteFlags::MARTIAN.0))),
        Forwarding::Unicast(hops) => {
            let via: Vec<(String, u32, u32)> = hops
                .iter()
                .map(|hop| {
                    let gateway = hop.gateway.map(|gateway| gateway.to_string());
                    let weight = u32::from(hop.weight.get());
                    (gateway.unwrap_or_default(), hop.interface.0, weight)
                })
                .collect();
            ("via", Variant::from(via))
        }
    };
    route.extend(details([(key, value)]));
    route
}

/// Switches a link on; the kernel has forgotten its IPv6 address if it was off.
pub(crate) fn restore(link: &str) {
    let address = match link {
        "west" => "2001:db8:a::1/64",
        "east" => "2001:db8:b::1/64",
        _ => "2001:db8:c::1/64",
    };
    ip(&format!("link set {link} up"));
    ip(&format!("addr replace {address} dev {link} nodad"));
}

/// Several commands with nothing in between, so that rtmd sees them at once.
pub(crate) fn ip_at_once(commands: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), commands).unwrap();
    ip(&format!("-batch {}", file.path().display()));
}

/// Whether its routes are those of others in the kernel; the service has entities for static routes too.
pub(crate) fn is_of_others(entity: &EntityInfo) -> bool {
    entity.state == "builtin" && entity.protocol_instance != u32::MAX
}

/// Whether it is the best unicast route.
pub(crate) fn is_best(route: &RouteInfo) -> bool {
    let views: u32 = (&route.more["best-in-views"]).try_into().unwrap();
    views & 1 != 0
}

/// How far it is in the kernel.
pub(crate) fn fib(route: &RouteInfo) -> &str {
    (&route.more["fib"]).try_into().unwrap()
}

fn names() -> BTreeMap<u32, String> {
    let links: Vec<Value> = serde_json::from_str(&ip("-j link show")).unwrap();
    let name = |link: &Value| {
        let index = u32::try_from(link["ifindex"].as_u64().unwrap()).unwrap();
        (index, link["ifname"].as_str().unwrap().to_owned())
    };
    links.iter().map(name).collect()
}

/// What the kernel has of a route with several next hops, if these are some of them.
fn part_of(whole: &str) -> Option<String> {
    let (to, rest) = whole.split_once(' ').unwrap();
    let (hops, end) = rest.split_once(" proto ").unwrap();
    let hops: BTreeSet<&str> = hops.split(", ").map(without_weight).collect();
    all_routes().into_iter().find(|line| {
        let rest = line.strip_prefix(to).and_then(|rest| rest.strip_prefix(' '));
        let parts = rest.and_then(|rest| rest.split_once(" proto "));
        parts.is_some_and(|(found, its_end)| {
            its_end == end && found.split(", ").map(without_weight).all(|hop| hops.contains(hop))
        })
    })
}

/// The same route with the smallest weights that share out alike.
fn in_small_numbers(line: &str) -> String {
    let mut parts: Vec<String> = line.split(" weight ").map(str::to_owned).collect();
    let number = |part: &String| {
        let end = part.find([',', ' ']).unwrap_or(part.len());
        part[..end].parse::<u64>().unwrap()
    };
    let weights: Vec<u64> = parts.iter().skip(1).map(number).collect();
    let common = (1..=256).rev().find(|n| weights.iter().all(|weight| weight % n == 0)).unwrap();
    for (part, weight) in parts.iter_mut().skip(1).zip(weights) {
        *part = part.replacen(&weight.to_string(), &(weight / common).to_string(), 1);
    }
    parts.join(" weight ")
}

fn without_weight(hop: &str) -> &str {
    hop.split_once(" weight ").map_or(hop, |(hop, _)| hop)
}

pub(crate) fn difference(found: &BTreeSet<String>, expected: &BTreeSet<String>) -> String {
    let missing: Vec<_> = expected.difference(found).collect();
    let surplus: Vec<_> = found.difference(expected).collect();
    format!("the kernel lacks {missing:#?}\nand has instead {surplus:#?}")
}
