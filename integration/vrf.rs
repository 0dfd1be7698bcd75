//! Instances of VRFs: the same prefixes and gateways side by side, and links that come and go.
//!
//! Few machines that build have VRFs in their kernel, so `integration/40-vrf.sh` runs this again in a
//! virtual machine that has.

#[path = "service/scene.rs"]
mod scene;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "kernel/world.rs"]
mod world;

use std::{os::unix::net::UnixDatagram, process::Command, time::Duration};

use rtmd::model::Family;
use support::{Client, PrivateBus, details, eventually, route};
use world::{ip, with_links};

const BGP: u32 = 14;

const CONFIG: &str = "[[instance]]\nid = 0\n\n\
    [[instance]]\nid = 1\nvrf = \"red\"\n\n\
    [[instance]]\nid = 2\nkernel-table = 1002\ninterfaces = [\"blue0\"]\n\n\
    [[instance]]\nid = 3\nvrf = \"green\"\n";

const TO: &str = "203.0.113.0/24";
const TO_IPV6: &str = "2001:db8:ffff::/48";

/// Where packets to an address go, in the words of `ip route get`; empty for nowhere.
fn way(family: &str, vrf: &str, address: &str) -> String {
    let mut command = Command::new("ip");
    command.args([family, "route", "get", address]);
    if !vrf.is_empty() {
        command.args(["vrf", vrf]);
    }
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    said.split(" dev ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
        .to_owned()
}

fn ours(table: &str) -> String {
    ip(&format!("route show proto 82 table {table}")).trim().to_owned()
}

#[test]
fn instances_of_vrfs_have_the_same_prefixes_and_gateways_and_links_of_their_own() {
    with_links(|| {
        let made = Command::new("ip").args("link add red type vrf table 1001".split(' ')).output();
        if !made.unwrap().status.success() {
            println!("this kernel has no VRF: integration/40-vrf.sh brings one that has");
            return;
        }
        ip("link add blue type vrf table 1002");
        for vrf in ["red", "blue"] {
            for command in [
                format!("link set {vrf} up"),
                // Without these, what a VRF has no route for is looked up in the main table.
                format!("route add vrf {vrf} unreachable default metric 4278198272"),
                format!("-6 route add vrf {vrf} unreachable default metric 4278198272"),
                format!("link add {vrf}0 type veth peer name {vrf}1"),
                format!("link set {vrf}0 master {vrf}"),
                format!("link set {vrf}1 up"),
                format!("link set {vrf}0 up"),
                format!("addr add 198.18.0.1/24 dev {vrf}0"),
                format!("addr add 2001:db8:12::1/64 dev {vrf}0 nodad"),
            ] {
                ip(&command);
            }
        }
        let bus = PrivateBus::start();
        let manager = UnixDatagram::bind(bus.path("notify")).unwrap();
        let service = bus.spawn(CONFIG, "first");
        scene::await_ready(manager, &service);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&bus, &service));
    });
}

async fn play(bus: &PrivateBus, service: &support::Service) {
    assert!(service.log().contains("there is no VRF \"green\""), "{}", service.log());
    let mut clients = Vec::new();
    for instance in 0..3 {
        for (family, to, via) in
            [(Family::Ipv4, TO, "198.18.0.9"), (Family::Ipv6, TO_IPV6, "2001:db8:12::9")]
        {
            let connection = bus.connect().await;
            let client = Client::register_in(&connection, instance, family, BGP).await;
            client.entity.add_route(to, &route(via, []), 0).await.unwrap();
            clients.push(client);
        }
    }
    let ways = || {
        ["", "red", "blue"].map(|vrf| {
            let to = [("-4", "203.0.113.1"), ("-6", "2001:db8:ffff::1")];
            to.map(|(family, address)| way(family, vrf, address))
        })
    };
    let reach = async |wanted: [&str; 3]| {
        for _ in 0..100 {
            if ways() == wanted.map(|link| [link.to_owned(), link.to_owned()]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?} are not {wanted:?}\n{}", ways(), ip("route show table all proto 82"));
    };
    reach(["", "red0", "blue0"]).await;
    assert_eq!(ours("254"), "", "nothing leads there outside of VRFs");
    let (_, candidates, _) = clients[0].table.explain(TO).await.unwrap();
    let reason: &str = (&candidates[0]["reason"]).try_into().unwrap();
    assert!(reason.contains("no interface that is up has a network with 198.18.0.9"), "{reason}");

    // A link that leaves its VRF takes its networks along, and brings them back.
    ip("link set red0 nomaster");
    ip("addr replace 2001:db8:12::1/64 dev red0 nodad");
    reach(["red0", "", "blue0"]).await;
    ip("link set red0 master red");
    ip("addr replace 2001:db8:12::1/64 dev red0 nodad");
    reach(["", "red0", "blue0"]).await;

    // Another link in the VRF, which the instance is not to use.
    ip("link add blue2 type veth peer name blue3");
    ip("link set blue2 master blue");
    ip("addr add 198.18.5.1/24 dev blue2");
    ip("link set blue3 up");
    ip("link set blue2 up");
    clients[4].add("198.51.100.0/24", "198.18.5.9").await.unwrap();
    let (_, candidates, _) = clients[4].table.explain("198.51.100.0/24").await.unwrap();
    let reason: &str = (&candidates[0]["reason"]).try_into().unwrap();
    let words =
        "no interface of the VRF with table 1002 among the instance's (interfaces) that is up";
    assert!(reason.contains(words), "{reason}");
    assert_ne!(way("-4", "blue", "198.51.100.1"), "blue2");

    for client in &clients {
        client.entity.deregister(&details([])).await.unwrap();
    }
    eventually("nothing is left", async || {
        ["254", "1001", "1002"].iter().all(|it| ours(it).is_empty())
    })
    .await;
}
