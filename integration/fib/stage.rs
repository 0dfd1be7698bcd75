//! What the tests of the engine have in common: two clients with a first and a second choice, and a
//! kernel that has to be right within a second.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rtmd::{
    kernel::{RouteEvent, RouteWatch},
    model::Family,
};
use rustix::{
    net::sockopt::set_socket_recv_buffer_size_force,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::{
    scene::{self, Scene, ip_at_once, offer},
    support::{Client, details},
    world::{all_routes, ip, ours},
};

/// The kernel has to be right again after this at the latest, whatever happened.
const RIGHT_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
/// One destination, and ways to it by the links `north` and `west`.
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) to: &'static str,
    /// The gateway behind `north`, and what the kernel is to have for it.
    pub(crate) gateway: &'static str,
    pub(crate) north: &'static str,
    pub(crate) west: &'static str,
    /// By both of them, and what is left of that without `north`.
    pub(crate) both: &'static str,
    pub(crate) only_west: &'static str,
    /// The address that leads to the gateway.
    pub(crate) address: &'static str,
}

/// The same in each family.
pub(crate) const CASES: [Case; 2] = [
    Case {
        family: Family::Ipv4,
        to: "203.0.113.0/24",
        gateway: "via 10.99.0.254",
        north: "via 10.99.0.254 dev north",
        west: "via 192.0.2.254 dev west",
        both: "via 192.0.2.7 dev west weight 3, via 10.99.0.7 dev north weight 1",
        only_west: "via 192.0.2.7 dev west",
        address: "10.99.0.1/24",
    },
    Case {
        family: Family::Ipv6,
        to: "2001:db8:ffff::/48",
        gateway: "via 2001:db8:c::9",
        north: "via 2001:db8:c::9 dev north",
        west: "via 2001:db8:a::9 dev west",
        both: "via 2001:db8:a::7 dev west weight 3, via 2001:db8:c::7 dev north weight 1",
        only_west: "via 2001:db8:a::7 dev west",
        address: "2001:db8:c::1/64",
    },
];

/// Who offers the first choice, and who the second.
pub(crate) struct Rivals {
    pub(crate) first: Client,
    pub(crate) second: Client,
}

impl Case {
    /// Two clients: the first one's route is better.
    pub(crate) async fn rivals(&self, scene: &Scene, first: &str, second: &str) -> Rivals {
        let rivals = Rivals {
            first: scene.client(self.family, 14).await,
            second: scene.client(self.family, 13).await,
        };
        self.offer(&rivals.first, first, 20).await;
        self.offer(&rivals.second, second, 110).await;
        rivals
    }

    /// Offers a route to the destination, in place of the client's earlier one.
    pub(crate) async fn offer(&self, client: &Client, what: &str, preference: u32) {
        client.entity.add_route(self.to, &offer(what, preference, 0), 0).await.unwrap();
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.family == Family::Ipv6
    }

    /// `ip`'s option for the family.
    pub(crate) fn option(&self) -> &'static str {
        match self.family {
            Family::Ipv4 => "-4",
            Family::Ipv6 => "-6",
        }
    }

    /// Waits until the kernel does this for the destination and has all that is others'; a second at
    /// most, and it has to stay so when nothing is under way any more.
    pub(crate) async fn becomes(&self, scene: &Scene, when: &str, what: &str) -> Duration {
        let mut expected = scene.foreign.clone();
        expected.insert(ours(self.to, what, 254));
        becomes(scene, when, &expected).await
    }
}

/// Waits until the kernel has these routes; a second at most, and it has to stay so when nothing is under
/// way any more. Answers with how long it took.
pub(crate) async fn becomes(scene: &Scene, when: &str, expected: &BTreeSet<String>) -> Duration {
    let since = Instant::now();
    let took = loop {
        let right = has_exactly(expected);
        let took = since.elapsed();
        if right {
            break took;
        }
        if took > RIGHT_WITHIN {
            wrong(scene, when, expected);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    scene.links_known().await;
    scene.nothing_pending().await;
    if !has_exactly(expected) {
        wrong(scene, &format!("some time after {when}"), expected);
    }
    took
}

/// Whether the kernel has these routes and no more, each once.
fn has_exactly(expected: &BTreeSet<String>) -> bool {
    let mut found = all_routes();
    found.sort_unstable();
    expected.iter().eq(&found)
}

fn wrong(scene: &Scene, when: &str, expected: &BTreeSet<String>) -> ! {
    let said = scene.bus.rtmctl(&["routes"]).stdout;
    let said = String::from_utf8_lossy(&said);
    let objects = ip("nexthop show");
    let found = all_routes();
    let difference = scene::difference(&found.iter().cloned().collect(), expected);
    let twice = found.len() - found.iter().collect::<BTreeSet<_>>().len();
    panic!(
        "not right {RIGHT_WITHIN:?} after {when}: {difference}\n{twice} twice\n{objects}\nrtmctl routes:\n{said}"
    )
}

/// Runs a test where rtmd is ready, with next-hop objects and without.
pub(crate) fn in_both_ways(test: impl AsyncFnOnce(&Scene) + Clone + Send + 'static) {
    for objects in [true, false] {
        in_one_way(objects, test.clone());
    }
}

/// Runs a test where rtmd is ready and uses next-hop objects, or does not.
pub(crate) fn in_one_way(objects: bool, test: impl AsyncFnOnce(&Scene) + Send + 'static) {
    launched(&[], objects, test);
}

/// The same, by a program with arguments that runs rtmd.
pub(crate) fn launched(
    wrapper: &'static [&'static str],
    objects: bool,
    test: impl AsyncFnOnce(&Scene) + Send + 'static,
) {
    prepared(wrapper, objects, || {}, test);
}

/// The same, with a network that something was done to before.
pub(crate) fn prepared(
    wrapper: &'static [&'static str],
    objects: bool,
    prepare: impl FnOnce() + Send + 'static,
    test: impl AsyncFnOnce(&Scene) + Send + 'static,
) {
    println!("next-hop-objects = {objects}");
    let config = format!("[fib]\nnext-hop-objects = {objects}\n\n{}", scene::CONFIG);
    scene::launched(wrapper, config, prepare, test);
}

impl Rivals {
    /// Both go, with their routes.
    pub(crate) async fn leave(self) {
        for client in [self.first, self.second] {
            client.entity.deregister(&details([])).await.unwrap();
        }
    }
}

/// `ip route flush` for what is ours. With a route that refers to a next-hop object iproute2 6.1 asks for
/// what no kernel takes ("Invalid argument"), and stops; likewise where a route is gone meanwhile.
pub(crate) fn flush(family: &str) {
    let mut command = Command::new("ip");
    let output = command.args([family, "route", "flush", "proto", "82"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = ["Invalid argument", "No such process"].iter().any(|error| said.contains(error));
    assert!(output.status.success() || expected, "{said}");
}

/// Many events of strangers' routes, which change nothing, and more than rtmd's socket has room for.
pub(crate) fn flood() {
    let mut commands = String::new();
    for round in 0..6 {
        for number in 0..6000 {
            let (high, low) = (number / 256, number % 256);
            let verb = ["add", "del"][round % 2];
            commands.push_str(&format!(
                "route {verb} 198.18.{high}.{low}/32 dev south proto static metric 7\n"
            ));
        }
    }
    ip_at_once(&commands);
}

/// Leaves rtmd's sockets that hear of events room for so many bytes of them; says why, if that cannot be.
pub(crate) fn make_room_for_events(scene: &Scene, bytes: usize) -> std::io::Result<()> {
    let pid = scene.service.pid();
    let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/netlink"))?;
    let listening: Vec<String> = sockets
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[3] != "00000000")
        .map(|words| format!("socket:[{}]", words[9]))
        .collect();
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    let process = pidfd_open(raw, PidfdFlags::empty())?;
    let mut found = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let Ok(what) = std::fs::read_link(entry.path()) else { continue };
        if listening.iter().all(|socket| what.as_os_str() != socket.as_str()) {
            continue;
        }
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        // The kernel doubles it for its own use.
        set_socket_recv_buffer_size_force(&socket, bytes / 2)?;
        found += 1;
    }
    assert_eq!(found, 2, "one for links, one for routes");
    Ok(())
}

/// What a watch has heard of routes and next-hop objects of ours, what its own writer did too.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Heard {
    /// Routes that were added or replaced.
    pub(crate) set: usize,
    /// Routes that went.
    pub(crate) gone: usize,
    /// Changes of next-hop objects.
    pub(crate) objects: usize,
}

/// What it has heard up to now.
pub(crate) async fn heard(mut watch: RouteWatch) -> Heard {
    // The last it hears of.
    ip("route add 198.18.77.77/32 dev south proto static metric 7");
    ip("route del 198.18.77.77/32 dev south proto static metric 7");
    let mut heard = Heard::default();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        match event.expect("an event").unwrap() {
            RouteEvent::RouteGone { route, .. } if route.to.to_string() == "198.18.77.77/32" => {
                return heard;
            }
            RouteEvent::RouteSet { route, .. } => heard.set += usize::from(route.protocol == 82),
            RouteEvent::RouteGone { route, .. } => heard.gone += usize::from(route.protocol == 82),
            RouteEvent::ObjectSet(object) | RouteEvent::ObjectGone(object) => {
                heard.objects += usize::from(object.protocol == 82);
            }
            RouteEvent::Overrun => panic!("too many events"),
        }
    }
}

/// So many next-hop objects of others that telling of them all takes several messages.
const CROWD: usize = 1500;

/// Makes them, or takes them away.
fn crowd(verb: &str) {
    let command = |id: usize| match verb {
        "add" => format!("nexthop add id {id} dev south proto static\n"),
        _ => format!("nexthop del id {id}\n"),
    };
    ip_at_once(&(1..=CROWD).map(command).collect::<String>());
}

/// Somebody who changes routes and next-hop objects of others all the time, in the tables that rtmd reads.
pub(crate) struct Meddler {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Meddler {
    pub(crate) fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        crowd("add");
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !ends.load(Ordering::Relaxed) {
                // A few at a time, so that it ends soon.
                let commands: String =
                    (0..300).map(|number| meddle(300 * rounds + number)).collect();
                ip_at_once(&commands);
                rounds += 1;
            }
            crowd("del");
            rounds
        });
        Self { is_over, thread }
    }

    /// Takes all of it away, and answers with how often something was changed.
    pub(crate) fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        300 * self.thread.join().unwrap()
    }
}

fn meddle(number: usize) -> String {
    let id = 1 + number % CROWD;
    let (high, low) = (number / 256 % 256, number % 256);
    format!(
        "nexthop del id {id}\nnexthop add id {id} dev south proto static\n\
         route add 198.19.{high}.{low}/32 dev south proto static metric 7\n\
         route add 2001:db8:9:{number:x}::/64 dev south proto static metric 7\n\
         route del 198.19.{high}.{low}/32 dev south proto static metric 7\n\
         route del 2001:db8:9:{number:x}::/64 dev south proto static metric 7\n"
    )
}
