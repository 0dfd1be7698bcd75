//! The whole rtmd against a real kernel: after each step the kernel has the best routes, and what
//! others put there.
//!
//! Needs root (or `unshare -r`), `ip` and `dbus-daemon`. `ip` is the judge of what the kernel has, and
//! the clients are ours.

#[path = "service/foreign.rs"]
mod foreign;
#[path = "service/scene.rs"]
mod scene;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "service/walk.rs"]
mod walk;
#[path = "kernel/world.rs"]
mod world;

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use rtmd::model::Family;
use scene::{before_start, fib, ip_at_once, is_best, offer, on_stage, restore};
use support::{Client, details, eventually};
use walk::Walk;
use world::{ip, ours, routes};
use zbus::Variant;

const STATIC: u32 = 10006;
const OSPF: u32 = 13;
const BGP: u32 = 14;

/// The same in each family.
struct Case {
    family: Family,
    to: &'static str,
    west: &'static str,
    west_too: &'static str,
    east: &'static str,
    north: &'static str,
    several: &'static str,
}

const CASES: [Case; 2] = [
    Case {
        family: Family::Ipv4,
        to: "203.0.113.0/24",
        west: "via 192.0.2.254 dev west",
        west_too: "via 192.0.2.253 dev west",
        east: "via 198.51.100.254 dev east",
        north: "via 10.99.0.254 dev north",
        several: "via 192.0.2.7 dev west weight 3, via 10.99.0.7 dev north weight 1",
    },
    Case {
        family: Family::Ipv6,
        to: "2001:db8:ffff::/48",
        west: "via 2001:db8:a::9 dev west",
        west_too: "via 2001:db8:a::8 dev west",
        east: "via 2001:db8:b::9 dev east",
        north: "via 2001:db8:c::9 dev north",
        several: "via 2001:db8:a::7 dev west weight 3, via 2001:db8:c::7 dev north weight 1",
    },
];

impl Case {
    /// Offers a route to the destination, in place of the client's earlier one.
    async fn offer(&self, client: &Client, what: &str, preference: u32) -> u64 {
        client.entity.add_route(self.to, &offer(what, preference, 0), 0).await.unwrap().0
    }
}

#[test]
fn all_routes_by_a_lost_link_are_elected_again_however_many_there_are() {
    on_stage(async |scene| {
        let bgp = scene.client(Family::Ipv4, BGP).await;
        let ospf = scene.client(Family::Ipv4, OSPF).await;
        let all: Vec<String> =
            (0..5000u32).map(|n| format!("11.{}.{}.0/24", n / 256, n % 256)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for (client, by, preference) in [(&bgp, CASES[0].west, 20), (&ospf, CASES[0].north, 110)] {
            let (_, errors) =
                client.entity.add_prefixes(&all, &offer(by, preference, 0), 0).await.unwrap();
            assert_eq!(errors, []);
        }
        for (change, best) in [("down", ospf.id), ("up", bgp.id)] {
            ip(&format!("link set west {change}"));
            eventually("each route is elected again", async || {
                for to in all.iter().step_by(97) {
                    let found = ospf.table.get_routes(to).await.unwrap();
                    if !found.iter().any(|route| is_best(route) && route.owner == best) {
                        return false;
                    }
                }
                true
            })
            .await;
        }
    });
}

#[test]
fn the_kernel_follows_the_best_route_from_step_to_step() {
    on_stage(async |scene| {
        for case in CASES {
            let bgp = scene.client(case.family, BGP).await;
            let ospf = scene.client(case.family, OSPF).await;
            let fixed = scene.client(case.family, STATIC).await;
            let expect = async |what: &str| scene.expect([(case.to, what)]).await;

            case.offer(&bgp, case.west, 20).await;
            expect(case.west).await;
            let second = case.offer(&ospf, case.east, 110).await;
            expect(case.west).await;
            case.offer(&bgp, case.west, 111).await;
            expect(case.east).await;
            case.offer(&bgp, case.west, 20).await;
            expect(case.west).await;
            let mut first = 0;
            for what in
                [case.west_too, case.several, "blackhole", "unreachable", "prohibit", case.west]
            {
                first = case.offer(&bgp, what, 20).await;
                expect(what).await;
            }
            bgp.entity.delete_route(first).await.unwrap();
            expect(case.east).await;
            case.offer(&fixed, case.several, 1).await;
            expect(case.several).await;
            fixed.entity.deregister(&details([])).await.unwrap();
            expect(case.east).await;
            case.offer(&bgp, "prohibit", 20).await;
            expect("prohibit").await;

            bgp.connection.clone().close().await.unwrap();
            drop(bgp);
            eventually("the dead client's route goes", async || {
                let routes = ospf.table.get_routes(case.to).await.unwrap();
                // What is observed is in no view.
                routes.iter().filter(|route| route.views != 0).count() == 1
            })
            .await;
            expect(case.east).await;
            ospf.entity.delete_route(second).await.unwrap();
            scene.expect([]).await;
        }
    });
}

/// FWD-02, FWD-05, FWD-08
#[test]
fn the_kernel_gets_neither_multicast_nor_inactive_routes_and_destinations_tell_so() {
    const IN_KERNEL: u32 = 2;
    on_stage(async |scene| {
        for case in CASES {
            let client = scene.client(case.family, STATIC).await;
            let other = scene.client(case.family, OSPF).await;
            let add = async |by: &Client, what: &str, keys: [(&'static str, u32); 1]| {
                let mut route = offer(what, 0, 0);
                route.extend(details(keys.map(|(key, value)| (key, value.into()))));
                by.entity.add_route(case.to, &route, 0).await.unwrap();
            };
            let in_kernel = async || {
                let found = client.table.get_exact_match_destination(case.to, 0, 3).await.unwrap();
                let flags = found.per_view.iter().map(|record| record.flags & IN_KERNEL != 0);
                flags.collect::<Vec<_>>()
            };
            add(&client, case.west, [("views", 2)]).await;
            scene.expect([]).await;
            assert_eq!(in_kernel().await, [false, false]);
            add(&other, case.east, [("views", 3)]).await;
            scene.expect([(case.to, case.east)]).await;
            assert_eq!(in_kernel().await, [true, false]);
            add(&client, case.west, [("flags", 0x8)]).await;
            scene.expect([]).await;
            assert_eq!(in_kernel().await, [false, false], "the best unicast route is inactive");
            add(&client, case.west, [("flags", 0)]).await;
            scene.expect([(case.to, case.west)]).await;
            assert_eq!(in_kernel().await, [true, false]);
            for what in ["blackhole", "unreachable", "prohibit"] {
                case.offer(&client, what, 1).await;
                scene.expect([(case.to, what)]).await;
                assert_eq!(in_kernel().await, [true, false], "{what}");
            }
            client.entity.deregister(&details([])).await.unwrap();
            other.entity.deregister(&details([])).await.unwrap();
        }
    });
}

/// FWD-04
#[test]
fn the_kernel_gets_a_remote_next_hop_as_the_routes_lead_to_it() {
    on_stage(async |scene| {
        for (case, near, far) in
            [(&CASES[0], "10.20.0.0/16", "10.20.30.1"), (&CASES[1], "fd00::/8", "fd00::1")]
        {
            let igp = scene.client(case.family, OSPF).await;
            let bgp = scene.client(case.family, BGP).await;
            let lead = async |what: &str| {
                igp.entity.add_route(near, &offer(what, 0, 0), 0).await.unwrap().0
            };
            case.offer(&bgp, &format!("via {far}"), 0).await;
            scene.expect([]).await;
            let id = lead(case.west).await;
            scene.expect([(near, case.west), (case.to, case.west)]).await;
            lead(case.several).await;
            scene.expect([(near, case.several), (case.to, case.several)]).await;
            let [west, north] = ["west", "north"].map(|link| only(case.several, link));
            ip("link set west down");
            scene.expect([(near, &north), (case.to, &north)]).await;
            restore("west");
            scene.expect_soon([(near, case.several), (case.to, case.several)]).await;
            ip("link set north down");
            scene.expect([(near, &west), (case.to, &west)]).await;
            restore("north");
            scene.expect_soon([(near, case.several), (case.to, case.several)]).await;
            igp.entity.delete_route(id).await.unwrap();
            scene.expect([]).await;
            bgp.entity.deregister(&details([])).await.unwrap();
            igp.entity.deregister(&details([])).await.unwrap();
        }
    });
}

/// HOLD-20
#[test]
fn a_held_route_is_not_in_the_kernel() {
    const LONG: u32 = 600_000;
    on_stage(async |scene| {
        for case in CASES {
            let client = scene.client(case.family, STATIC).await;
            let id = case.offer(&client, case.west, 1).await;
            client.entity.hold_destination(case.to, 3, LONG).await.unwrap();
            scene.expect([(case.to, case.west)]).await;
            client.entity.delete_route(id).await.unwrap();
            let found = client.table.get_exact_match_destination(case.to, 0, 1).await.unwrap();
            assert_eq!((found.per_view[0].held, found.per_view[0].best), (id, 0));
            scene.expect([]).await;
            let next = case.offer(&client, case.north, 1).await;
            scene.expect([(case.to, case.north)]).await;
            client.entity.delete_route(next).await.unwrap();
            scene.expect([]).await;
        }
    });
}

#[test]
fn a_link_that_goes_down_takes_its_routes_along_until_it_comes_up() {
    on_stage(async |scene| {
        for case in CASES {
            let first = scene.client(case.family, BGP).await;
            let second = scene.client(case.family, OSPF).await;
            case.offer(&first, case.west, 20).await;
            case.offer(&second, case.north, 110).await;
            scene.expect([(case.to, case.west)]).await;
            ip("link set west down");
            scene.expect([(case.to, case.north)]).await;
            restore("west");
            scene.expect_soon([(case.to, case.west)]).await;
            ip("link set east down"); // takes west's carrier, and nothing from the kernel's table
            scene.expect([(case.to, case.north)]).await;
            restore("east");
            scene.expect_soon([(case.to, case.west)]).await;

            case.offer(&first, case.several, 20).await;
            scene.expect([(case.to, case.several)]).await;
            let [west, north] = ["west", "north"].map(|link| only(case.several, link));
            ip("link set west down");
            scene.expect([(case.to, &north)]).await;
            restore("west");
            scene.expect_soon([(case.to, case.several)]).await;
            ip("link set north down");
            scene.expect([(case.to, &west)]).await;
            ip("link set west down");
            scene.expect([]).await;
            restore("west");
            restore("north");
            scene.expect_soon([(case.to, case.several)]).await;
            first.entity.deregister(&details([])).await.unwrap();
            second.entity.deregister(&details([])).await.unwrap();
        }
    });
}

/// The hop by this link.
fn only(several: &str, link: &str) -> String {
    let hop = several.split(", ").find(|hop| hop.contains(link)).unwrap();
    hop.split(" weight").next().unwrap().to_owned()
}

#[test]
fn what_the_kernel_drops_in_a_flap_that_is_over_at_once_comes_back() {
    on_stage(async |scene| {
        let [ipv4, ipv6] = CASES;
        let first = scene.client(ipv4.family, BGP).await;
        let second = scene.client(ipv6.family, BGP).await;
        for flap in [
            "link set north down\nlink set north up\naddr replace 2001:db8:c::1/64 dev north nodad\n",
            "addr del 10.99.0.1/24 dev north\naddr add 10.99.0.1/24 dev north\n",
            "link set lo down\nlink set lo up\n",
        ] {
            for (what4, what6) in [(ipv4.north, ipv6.north), (ipv4.several, "unreachable")] {
                ipv4.offer(&first, what4, 20).await;
                ipv6.offer(&second, what6, 20).await;
                scene.expect([(ipv4.to, what4), (ipv6.to, what6)]).await;
                for count in [1, 10] {
                    ip_at_once(&flap.repeat(count));
                    scene.expect_soon([(ipv4.to, what4), (ipv6.to, what6)]).await;
                }
            }
        }
    });
}

#[test]
fn an_address_that_goes_and_comes_back_leaves_the_kernel_in_step() {
    on_stage(async |scene| {
        for (case, address, gateway) in [
            (&CASES[0], "10.99.0.1/24", "10.99.0.254"),
            (&CASES[1], "2001:db8:c::1/64", "2001:db8:c::9"),
        ] {
            let client = scene.client(case.family, BGP).await;
            case.offer(&client, &format!("via {gateway}"), 20).await; // by the link that leads there
            scene.expect([(case.to, case.north)]).await;
            ip(&format!("addr del {address} dev north"));
            scene.expect([]).await;
            ip(&format!("addr replace {address} dev north"));
            scene.expect_soon([(case.to, case.north)]).await;

            case.offer(&client, case.north, 20).await; // by this link, whether it leads there or not
            scene.expect([(case.to, case.north)]).await;
            ip(&format!("addr del {address} dev north"));
            scene.links_known().await;
            ip(&format!("addr replace {address} dev north"));
            scene.expect_soon([(case.to, case.north)]).await;
            client.entity.deregister(&details([])).await.unwrap();
        }
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again_is_another_one() {
    on_stage(async |scene| {
        for case in CASES {
            let first = scene.client(case.family, BGP).await;
            let second = scene.client(case.family, OSPF).await;
            case.offer(&first, case.north, 20).await;
            let gateway = case.north.split(" dev").next().unwrap();
            case.offer(&second, gateway, 110).await;
            ip("link del north");
            scene.expect([]).await;
            ip_at_once(
                "link add north type veth peer name north-peer\nlink set north-peer up\naddr add 10.99.0.1/24 dev north\nlink set north up\n\
                 addr add 2001:db8:c::1/64 dev north nodad\n",
            );
            scene.expect_soon([(case.to, case.north)]).await;
            let routes = first.table.get_routes(case.to).await.unwrap();
            let best = routes.iter().find(|route| is_best(route)).unwrap();
            assert_eq!(best.owner, second.id, "the first one's interface is gone for ever");
            case.offer(&first, case.north, 20).await;
            scene.expect([(case.to, case.north)]).await;
            let routes = first.table.get_routes(case.to).await.unwrap();
            assert!(routes.iter().any(|route| is_best(route) && route.owner == first.id));
            first.entity.deregister(&details([])).await.unwrap();
            second.entity.deregister(&details([])).await.unwrap();
        }
    });
}

#[test]
fn it_is_ready_when_the_routes_of_an_earlier_life_are_gone() {
    let prepare = || {
        let mut commands = String::new();
        for n in 0..20_000 {
            let (high, low) = (n / 256, n % 256);
            let table = if n % 2 == 0 { 254 } else { 1000 };
            writeln!(
                commands,
                "route add 100.{high}.{low}.0/24 via 192.0.2.254 dev west proto 82 metric 82 \
                 table {table}"
            )
            .unwrap();
        }
        for n in 0..2000 {
            writeln!(commands, "route add 2001:db8:{n:x}:1::/64 dev west proto 82 metric 82")
                .unwrap();
        }
        commands.push_str("route add blackhole 203.0.113.0/24 proto 82 metric 82\n");
        commands.push_str("route append 203.0.113.0/24 dev west proto 82 metric 82\n");
        ip_at_once(&commands);
        assert!(routes().len() > 22_000);
    };
    before_start(prepare, async |scene| {
        assert_eq!(scene.manager.fib_state().await.unwrap(), "synced");
        let case = &CASES[0];
        let client = scene.client(case.family, BGP).await;
        case.offer(&client, case.several, 20).await;
        scene.expect([(case.to, case.several)]).await;
    });
}

#[test]
fn an_owner_that_asked_is_told_what_the_kernel_made_of_its_routes() {
    on_stage(async |scene| {
        for case in CASES {
            let connection = scene.bus.connect().await;
            let options = details([("fib-results", true.into())]);
            let client = Client::register_with(&connection, (0, case.family), BGP, &options).await;
            let mut told = client.entity.receive_fib_result().await.unwrap();
            let mut next = async || {
                let signal = tokio::time::timeout(Duration::from_secs(10), told.next());
                let signal = signal.await.expect("the owner is told").unwrap();
                signal.args().unwrap().results.clone()
            };
            let result = |id, word: &str| vec![(id, word.to_owned(), String::new())];
            let refused = match case.family {
                Family::Ipv4 => "via 172.16.0.9 dev west",
                Family::Ipv6 => "via fd99::9 dev west",
            };
            let id = case.offer(&client, refused, 20).await;
            let failed = next().await;
            assert_eq!((failed.len(), failed[0].0, failed[0].1.as_str()), (1, id, "failed"));
            assert!(failed[0].2.contains("gateway") || failed[0].2.contains("No route"));
            // Where a link has just come up, the kernel may refuse the first attempt.
            let mut hears = async |word| while next().await != result(id, word) {};
            case.offer(&client, case.west, 20).await;
            hears("installed").await;
            let other = scene.client(case.family, STATIC).await;
            case.offer(&other, case.north, 1).await;
            hears("none").await;
            other.entity.deregister(&details([])).await.unwrap();
            hears("installed").await;
            ip("link set west down");
            hears("ineligible").await;
            restore("west");
            hears("installed").await;
            client.entity.deregister(&details([])).await.unwrap();
        }
    });
}

#[test]
fn what_the_kernel_refuses_is_told_in_its_words_and_heals() {
    on_stage(async |scene| {
        for (case, what, address) in [
            (&CASES[0], "via 172.16.0.9 dev west", "172.16.0.1/24"),
            (&CASES[1], "via fd99::9 dev west", "fd99::1/64"),
        ] {
            let client = scene.client(case.family, BGP).await;
            case.offer(&client, what, 20).await;
            scene.expect([]).await;
            let routes = client.table.get_routes(case.to).await.unwrap();
            assert_eq!(fib(&routes[0]), "failed");
            let words: &str = (&routes[0].more["fib-error"]).try_into().unwrap();
            let expected = match case.family {
                Family::Ipv4 => "Nexthop has invalid gateway",
                Family::Ipv6 => "No route to host (os error 113)",
            };
            assert_eq!(words, expected);
            assert_eq!(client.table.fib_failed().await.unwrap(), 1);
            assert_eq!(client.table.fib_installed().await.unwrap(), 0);
            eventually("the state is degraded", async || {
                scene.manager.fib_state().await.unwrap() == "degraded"
            })
            .await;

            // It is the best nevertheless, and packets follow the next best; what it came in place of
            // does not stay.
            let other = scene.client(case.family, OSPF).await;
            case.offer(&other, case.north, 110).await;
            scene.expect_soon([(case.to, case.north)]).await;
            case.offer(&client, case.west, 20).await;
            scene.expect_soon([(case.to, case.west)]).await;
            case.offer(&client, what, 20).await;
            scene.expect_soon([(case.to, case.north)]).await;
            other.entity.deregister(&details([])).await.unwrap();
            scene.expect([]).await;

            // Long enough for the waits between attempts to have grown.
            tokio::time::sleep(Duration::from_millis(3200)).await;
            let nodad = if case.family == Family::Ipv6 { " nodad" } else { "" };
            ip(&format!("addr add {address} dev west{nodad}"));
            scene.expect_soon([(case.to, what)]).await;
            let routes = client.table.get_routes(case.to).await.unwrap();
            assert_eq!(fib(&routes[0]), "installed");
            assert!(!routes[0].more.contains_key("fib-error"));
            assert_eq!(client.table.fib_installed().await.unwrap(), 1);
            eventually("the state is synced", async || {
                scene.manager.fib_state().await.unwrap() == "synced"
            })
            .await;
            client.entity.deregister(&details([])).await.unwrap();
        }
        let log = scene.service.log();
        for words in [
            "the kernel refuses a route",
            "Nexthop has invalid gateway",
            "the kernel is not in step",
            "the kernel is in step again",
        ] {
            assert!(log.contains(words), "the log has no {words:?}:\n{log}");
        }
    });
}

#[test]
fn two_instances_with_the_same_prefixes_keep_to_their_tables() {
    on_stage(async |scene| {
        for case in CASES {
            let main = scene.client(case.family, BGP).await;
            let other = scene.client_in(1, case.family, BGP).await;
            let expect = async |wanted: Vec<String>| {
                scene.nothing_pending().await;
                let mut expected = scene.foreign.clone();
                expected.extend(wanted);
                assert_eq!(routes(), expected);
            };
            let [in_main, in_other] =
                [ours(case.to, case.west, 254), ours(case.to, case.several, 1000)];
            case.offer(&main, case.west, 20).await;
            expect(vec![in_main.clone()]).await;
            case.offer(&other, case.several, 20).await;
            expect(vec![in_main, in_other.clone()]).await;
            main.entity.deregister(&details([])).await.unwrap();
            expect(vec![in_other]).await;
            other.entity.deregister(&details([])).await.unwrap();
            expect(vec![]).await;
        }
    });
}

#[test]
fn the_kernel_has_the_best_routes_after_each_step_of_a_random_walk() {
    on_stage(async |scene| {
        let mut walk = Walk::new(scene, 82);
        let start = Instant::now();
        for number in 0..300 {
            let what = walk.step().await;
            // For whoever wants to know why it failed.
            println!("{number}: {what}");
            scene.links_known().await;
            scene.in_step().await;
        }
        println!("300 steps in {:.1?}", start.elapsed());
        for link in ["west", "east", "north"] {
            restore(link);
        }
        scene.links_known().await;
        scene.in_step().await;
    });
}

#[test]
fn a_table_that_is_switched_off_leaves_the_kernel_and_comes_back_as_it_is_then() {
    on_stage(async |scene| {
        for case in CASES {
            let client = scene.client(case.family, BGP).await;
            case.offer(&client, case.west, 20).await;
            scene.expect([(case.to, case.west)]).await;
            client.manager.set_forwarding(0, case.family.name(), false).await.unwrap();
            scene.expect([]).await;
            assert!(!client.table.pushed().await.unwrap());
            case.offer(&client, case.east, 20).await;
            scene.expect([]).await;
            client.manager.set_forwarding(0, case.family.name(), true).await.unwrap();
            scene.expect([(case.to, case.east)]).await;
            assert!(client.table.pushed().await.unwrap());
            client.entity.deregister(&details([])).await.unwrap();
            scene.expect([]).await;
        }
    });
}

#[test]
fn a_static_route_finds_its_interface_again_when_that_was_made_anew() {
    on_stage(async |scene| {
        for case in CASES {
            let client = scene.client(case.family, BGP).await;
            let on_link = details([
                ("via", Variant::from(vec![(String::new(), 0u32)])),
                ("interfaces", Variant::from(vec!["late"])),
            ]);
            client.manager.add_static_route(0, case.to, &on_link, true).await.unwrap();
            let known = client.table.get_routes(case.to).await.unwrap();
            assert!(known.iter().all(|route| route.views == 0), "{known:?}");
            let becomes = async |state: &str| {
                eventually(state, async || {
                    let routes = client.table.get_routes(case.to).await.unwrap();
                    let fib = routes.first().and_then(|route| route.more.get("fib"));
                    fib.and_then(|fib| fib.try_into().ok()) == Some(state)
                })
                .await;
            };
            for _ in 0..2 {
                ip("link add late type veth peer name late-peer");
                ip("link set late-peer up");
                ip("link set late up");
                becomes("installed").await;
                assert!(
                    routes().iter().any(|line| line.contains(case.to) && line.contains("late"))
                );
                ip("link del late");
                becomes("ineligible").await;
            }
            client.manager.remove_static_route(0, case.to, &details([])).await.unwrap();
            scene.expect([]).await;
        }
    });
}
