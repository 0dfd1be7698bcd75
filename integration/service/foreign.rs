//! The routes of others: told of, part of the choice where policy wants that, and never touched.

use rtmd::{bus::wire::RouteInfo, client::TableProxy, model::Family};

use crate::{
    BGP, CASES, Case, OSPF,
    scene::{CONFIG, Scene, configured, fib, is_best, is_of_others, on_stage, restore},
    support::{Client, eventually},
    world::{ip, ours, routes},
};

const LOCAL: u32 = 0x10;
const REMOTE: u32 = 0x20;
const MYSELF: u32 = 0x40;

/// The network of the link `north`.
fn connected(case: &Case) -> (&'static str, &'static str) {
    match case.family {
        Family::Ipv4 => ("10.99.0.0/24", "10.99.0.1/24"),
        Family::Ipv6 => ("2001:db8:c::/64", "2001:db8:c::1/64"),
    }
}

/// The routes to a destination that others have, each with the name of its owner.
async fn of_others(scene: &Scene, table: &TableProxy<'_>, to: &str) -> Vec<(String, RouteInfo)> {
    let (instance, family) = (table.instance().await.unwrap(), table.family().await.unwrap());
    let entities = scene.manager.get_registered_entities(instance, &family).await.unwrap();
    let label = |route: &RouteInfo| {
        let owner = entities.iter().find(|it| it.id == route.owner && is_of_others(it));
        owner.map(|owner| owner.label.clone())
    };
    let routes = table.get_routes(to).await.unwrap();
    routes.into_iter().filter_map(|route| Some((label(&route)?, route))).collect()
}

/// Waits until these are the owners of others' routes to a destination, the best ones marked.
async fn expect_others(scene: &Scene, table: &TableProxy<'_>, to: &str, expected: &[&str]) {
    let claim = format!("routes of others to {to}: {expected:?}");
    eventually(&claim, async || {
        let found = of_others(scene, table, to).await;
        let marked = |(label, route): &(String, RouteInfo)| {
            let best = if is_best(route) { " best" } else { "" };
            format!("{label}{best}")
        };
        found.iter().map(marked).collect::<Vec<_>>() == expected
    })
    .await;
}

/// Waits until the kernel has a route of ours to a destination, or has none.
async fn expect_ours(scene: &Scene, to: &str, what: Option<&str>) {
    eventually(&format!("ours to {to}: {what:?}"), async || {
        let prefix = format!("{to} ");
        let found = routes();
        let mine: Vec<&String> = found.difference(&scene.foreign).collect();
        let mine: Vec<&&String> = mine.iter().filter(|line| line.starts_with(&prefix)).collect();
        mine.len() == usize::from(what.is_some())
            && what.is_none_or(|what| found.contains(&ours(to, what, 254)))
    })
    .await;
}

async fn offer_both(scene: &Scene, case: &Case, to: &str) -> (Client, Client) {
    let bgp = scene.client(case.family, BGP).await;
    let ospf = scene.client(case.family, OSPF).await;
    for (client, what, preference) in [(&bgp, case.west, 15), (&ospf, case.east, 110)] {
        let route = crate::offer(what, preference, 0);
        client.entity.add_route(to, &route, 0).await.unwrap();
    }
    (bgp, ospf)
}

/// FWD-07
#[test]
fn a_connected_network_is_a_local_route_and_nothing_of_ours_is_there_until_it_goes() {
    on_stage(async |scene| {
        for case in &CASES {
            let (to, address) = connected(case);
            let (bgp, _ospf) = offer_both(scene, case, to).await;
            expect_others(scene, &bgp.table, to, &["kernel best"]).await;
            let flags = bgp.table.get_exact_match_destination(to, 0, 1).await.unwrap();
            assert_eq!(flags.per_view[0].flags & 2, 2, "the kernel has it, by whomever");
            expect_ours(scene, to, None).await;
            let (label, route) = of_others(scene, &bgp.table, to).await.remove(0);
            assert_eq!((label.as_str(), route.preference, route.flags), ("kernel", 1, LOCAL));
            assert_eq!(fib(&route), "none");
            let owner = scene.manager.get_registered_entities(0, case.family.name()).await.unwrap();
            let owner = owner.into_iter().find(|entity| entity.id == route.owner).unwrap();
            assert_eq!((owner.protocol, owner.bus_name.as_str()), (2, ""));

            ip(&format!("addr del {address} dev north"));
            expect_ours(scene, to, Some(case.west)).await;
            expect_others(scene, &bgp.table, to, &[]).await;
            ip(&format!("addr add {address} dev north"));
            expect_others(scene, &bgp.table, to, &["kernel best"]).await;
            expect_ours(scene, to, None).await;

            // Of IPv4 the kernel says nothing.
            ip("link set north down");
            expect_others(scene, &bgp.table, to, &[]).await;
            expect_ours(scene, to, Some(case.west)).await;
            restore("north");
            expect_others(scene, &bgp.table, to, &["kernel best"]).await;
            expect_ours(scene, to, None).await;
        }
    });
}

/// FWD-07
#[test]
fn an_address_of_this_machine_in_an_instances_table_is_a_route_to_itself() {
    on_stage(async |scene| {
        for (family, to) in [(Family::Ipv4, "192.0.2.77/32"), (Family::Ipv6, "2001:db8:a::77/128")]
        {
            let client = scene.client_in(1, family, BGP).await;
            ip(&format!("route add local {to} dev west table 1000 proto kernel"));
            expect_others(scene, &client.table, to, &["kernel best"]).await;
            assert_eq!(of_others(scene, &client.table, to).await[0].1.flags, MYSELF);
            ip(&format!("route del local {to} dev west table 1000 proto kernel"));
            expect_others(scene, &client.table, to, &[]).await;
        }
    });
}

#[test]
fn what_a_dhcp_client_puts_there_is_observed_and_another_daemons_is_not_even_read() {
    on_stage(async |scene| {
        for (case, gateway) in CASES.iter().zip(["10.98.0.7", "2001:db8:d::7"]) {
            let (bgp, _ospf) = offer_both(scene, case, case.to).await;
            expect_ours(scene, case.to, Some(case.west)).await;
            for protocol in ["dhcp metric 50", "zebra metric 51"] {
                ip(&format!("route add {} via {gateway} dev south proto {protocol}", case.to));
            }
            // `static` is of the stage.
            expect_others(scene, &bgp.table, case.to, &["dhcp", "static"]).await;
            let (_, route) = of_others(scene, &bgp.table, case.to).await.remove(0);
            assert_eq!((route.views, route.metric, route.flags), (0, 50, REMOTE));
            let (_, candidates, _) = bgp.table.explain(case.to).await.unwrap();
            let reasons = candidates.iter().map(|candidate| {
                let reason: &str = (&candidate["reason"]).try_into().unwrap();
                reason.to_owned()
            });
            let observed =
                "it is only observed: the instance does not import the kernel's routes by dhcp";
            assert!(reasons.into_iter().any(|reason| reason == observed), "{candidates:?}");
            assert!(routes().contains(&ours(case.to, case.west, 254)));
            for protocol in ["dhcp metric 50", "zebra metric 51"] {
                ip(&format!("route del {} via {gateway} dev south proto {protocol}", case.to));
            }
            expect_others(scene, &bgp.table, case.to, &["static"]).await;
        }
    });
}

#[test]
fn an_imported_route_wins_and_loses_by_the_preference_that_policy_gives_it() {
    let config = CONFIG.replace("id = 0\n", "id = 0\nimport = { static = 20, zebra = 5 }\n");
    configured(
        config,
        || {},
        async |scene| {
            for (case, gateway) in CASES.iter().zip(["10.98.0.7", "2001:db8:d::7"]) {
                let (bgp, ospf) = offer_both(scene, case, case.to).await;
                expect_ours(scene, case.to, Some(case.west)).await;
                expect_others(scene, &bgp.table, case.to, &["static"]).await;

                let route = format!("{} via {gateway} dev south proto zebra metric 20", case.to);
                ip(&format!("route add {route}"));
                expect_others(scene, &bgp.table, case.to, &["zebra best", "static"]).await;
                expect_ours_beside(scene, case.to, &route).await;
                let (_, _, fib) = bgp.table.explain(case.to).await.unwrap();
                let (state, reason): (&str, &str) =
                    ((&fib["state"]).try_into().unwrap(), (&fib["reason"]).try_into().unwrap());
                let expected = "the kernel's own route by zebra is best, and is left to its owner";
                assert_eq!((state, reason), ("none", expected));
                ip(&format!("route del {route}"));
                expect_ours(scene, case.to, Some(case.west)).await;

                // Between the two is the kernel's static one.
                bgp.entity.deregister(&Default::default()).await.unwrap();
                expect_others(scene, &ospf.table, case.to, &["static best"]).await;
                expect_ours(scene, case.to, None).await;
            }
        },
    );
}

#[test]
fn where_the_kernel_goes_by_anothers_route_that_is_said_until_it_goes() {
    configured(
        CONFIG.to_owned(),
        || {},
        async |scene| {
            for (case, gateway) in CASES.iter().zip(["10.98.0.7", "2001:db8:d::7"]) {
                let (bgp, ospf) = offer_both(scene, case, case.to).await;
                expect_ours(scene, case.to, Some(case.west)).await;
                let told = async |key: &str| {
                    let (_, _, fib) = bgp.table.explain(case.to).await.unwrap();
                    fib.get(key).map_or_else(String::new, |it| it.clone().try_into().unwrap())
                };
                assert_eq!(told("wish").await, case.west, "links have names");
                assert_eq!(
                    (told("goes-by").await, told("reason").await),
                    (String::new(), "the kernel has it".into())
                );
                let route = format!("{} via {gateway} dev south proto static metric 10", case.to);
                ip(&format!("route add {route}"));
                let sentence =
                    "the kernel goes by static's route, whose metric 10 is smaller than 82";
                eventually("it is said", async || told("goes-by").await == sentence).await;
                assert_eq!(told("reason").await, format!("the kernel has it, but {sentence}"));
                let address = case.to.split('/').next().unwrap();
                let shown = scene.bus.rtmctl(&["lookup", address]);
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                assert!(shown.lines().any(|line| line.trim() == sentence), "{shown}");
                let exact = scene.bus.rtmctl(&["routes", "--exact", case.to]);
                let exact = String::from_utf8_lossy(&exact.stdout).into_owned();
                assert!(exact.contains("static") && !exact.contains("4294967295"), "{exact}");
                ip(&format!("route del {route}"));
                eventually("it is gone", async || told("goes-by").await.is_empty()).await;
                for client in [bgp, ospf] {
                    client.entity.deregister(&Default::default()).await.unwrap();
                }
            }
        },
    );
}

#[test]
fn what_could_be_set_better_is_read_when_it_is_asked_for() {
    configured(
        CONFIG.to_owned(),
        || {},
        async |scene| {
            for (value, is_advised) in [("1", true), ("0", false), ("1", true)] {
                std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", value).unwrap();
                let advice = scene.manager.advice().await.unwrap();
                let named = advice.iter().any(|it| it.contains("nexthop_compat_mode"));
                assert_eq!(named, is_advised, "{advice:?}");
            }
        },
    );
}

/// Waits until the kernel has somebody's new route to a destination, and none of ours.
async fn expect_ours_beside(scene: &Scene, to: &str, theirs: &str) {
    eventually(&format!("only {theirs}"), async || {
        let prefix = format!("{to} ");
        let found = routes();
        let new = found.difference(&scene.foreign).filter(|line| line.starts_with(&prefix));
        let new: Vec<&String> = new.collect();
        new.len() == 1 && new[0].contains("proto 11")
    })
    .await;
}

#[test]
fn where_more_happened_than_there_is_room_to_tell_all_is_read_again() {
    const MANY: u32 = 40_000;
    on_stage(async |scene| {
        let client = scene.client(Family::Ipv4, BGP).await;
        let (to, gone, route) =
            ("10.20.0.0/16", "10.21.0.0/16", "via 10.98.0.7 dev south proto dhcp");
        ip(&format!("route add {gone} {route}"));
        expect_others(scene, &client.table, gone, &["dhcp"]).await;
        scene.service.signal("STOP");
        let place = |n: u32| format!("10.{}.{}.{}/32", 128 + n / 65_536, n / 256 % 256, n % 256);
        crate::world::ip_batch((0..MANY).map(|n| format!("route add {} {route}", place(n))));
        crate::world::ip_batch((0..MANY).map(|n| format!("route del {} {route}", place(n))));
        ip(&format!("route del {gone} {route}"));
        ip(&format!("route add {to} {route}"));
        scene.service.signal("CONT");
        expect_others(scene, &client.table, to, &["dhcp"]).await;
        expect_others(scene, &client.table, gone, &[]).await;
        expect_others(scene, &client.table, &place(0), &[]).await;
        let log = scene.service.log();
        assert!(log.contains("more to tell than there was room for"), "{log}");
        ip(&format!("route del {to} {route}"));
    });
}

#[test]
fn a_daemons_routes_by_next_hop_objects_are_known_whether_or_not_the_kernel_tells_their_ways() {
    let config = CONFIG.replace("id = 0\n", "id = 0\nimport = { zebra = 5 }\n");
    configured(
        config,
        || {},
        async |scene| {
            for tells in ["1", "0"] {
                let tell = |tells| {
                    std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", tells).unwrap();
                };
                for (case, gateway) in CASES.iter().zip(["10.98.0.7", "2001:db8:d::7"]) {
                    let (bgp, ospf) = offer_both(scene, case, case.to).await;
                    expect_ours(scene, case.to, Some(case.west)).await;
                    ip(&format!("nexthop add id 7 via {gateway} dev south proto zebra"));
                    ip("nexthop add id 8 group 7 proto zebra");
                    tell(tells);
                    ip(&format!("route add {} nhid 8 proto zebra metric 20", case.to));
                    expect_others(scene, &bgp.table, case.to, &["zebra best", "static"]).await;
                    tell("1"); // for the judge
                    expect_ours_beside(scene, case.to, "the one by an object").await;
                    let route = &of_others(scene, &bgp.table, case.to).await[0].1;
                    let next_hop = bgp.table.get_next_hop_info(route.next_hops[0]).await.unwrap();
                    assert_eq!(next_hop.address, gateway);
                    // Takes the route along, of IPv4 without a word.
                    ip("nexthop del id 7");
                    expect_ours(scene, case.to, Some(case.west)).await;
                    expect_others(scene, &bgp.table, case.to, &["static"]).await;
                    for client in [bgp, ospf] {
                        client.entity.deregister(&Default::default()).await.unwrap();
                    }
                }
            }
        },
    );
}

#[test]
fn routes_in_other_tables_and_those_marked_as_ours_are_nobodys() {
    let config = CONFIG.replace("id = 0\n", "id = 0\nimport = { zebra = 5, 82 = 5 }\n");
    configured(
        config,
        || {},
        async |scene| {
            for (case, gateway) in CASES.iter().zip(["10.98.0.7", "2001:db8:d::7"]) {
                let (bgp, _ospf) = offer_both(scene, case, case.to).await;
                let way = format!("{} via {gateway} dev south", case.to);
                for route in ["proto zebra table 77", "proto 82 metric 5"] {
                    ip(&format!("route add {way} {route}"));
                }
                // What is heard of after them.
                ip(&format!("route add {way} proto zebra metric 9999"));
                expect_others(scene, &bgp.table, case.to, &["zebra best", "static"]).await;
                ip(&format!("route del {way} proto zebra metric 9999"));
                expect_others(scene, &bgp.table, case.to, &["static"]).await;
                expect_ours_too(scene, case.to, case.west).await;
                for route in ["proto zebra table 77", "proto 82 metric 5"] {
                    ip(&format!("route del {way} {route}"));
                }
            }
        },
    );
}

/// Waits until the kernel has a route of ours to a destination, whatever else it has.
async fn expect_ours_too(scene: &Scene, to: &str, what: &str) {
    eventually(&format!("ours to {to}: {what}"), async || {
        routes().difference(&scene.foreign).any(|line| *line == ours(to, what, 254))
    })
    .await;
}

/// Another program that takes its route away when ours is not there, and puts it back when ours is.
#[test]
fn a_program_that_chases_ours_comes_to_rest() {
    let config = CONFIG.replace("id = 0\n", "id = 0\nimport = { zebra = 5 }\n");
    configured(
        config,
        || {},
        async |scene| {
            let case = &CASES[0];
            let (bgp, _ospf) = offer_both(scene, case, case.to).await;
            let theirs = format!("{} via 10.98.0.7 dev south proto zebra metric 20", case.to);
            let mut moves = 0;
            let mut quiet = std::time::Instant::now();
            let mut is_there = false;
            while quiet.elapsed() < std::time::Duration::from_secs(2) {
                let ours_is_there = routes().contains(&ours(case.to, case.west, 254));
                if ours_is_there != is_there {
                    ip(&format!("route {} {theirs}", if is_there { "del" } else { "add" }));
                    (is_there, moves, quiet) = (!is_there, moves + 1, std::time::Instant::now());
                    assert!(moves < 100, "round and round");
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            println!("at rest after {moves} moves");
            assert!(moves > 8 && is_there, "{moves}: they never met");
            expect_others(scene, &bgp.table, case.to, &["zebra", "static"]).await;
            ip(&format!("route del {theirs}"));
        },
    );
}
