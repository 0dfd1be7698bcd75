//! What the tests of the engine have in common: two clients with a first and a second choice, and a
//! kernel that has to be right within a second.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use rtmd::model::Family;

use crate::{
    scene::{self, Scene, ip_at_once, offer},
    support::{Client, details},
    world::{all_routes, ours},
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
    let objects = crate::world::ip("nexthop show");
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
    println!("next-hop-objects = {objects}");
    let config = format!("[fib]\nnext-hop-objects = {objects}\n\n{}", scene::CONFIG);
    scene::configured(config, || {}, test);
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
