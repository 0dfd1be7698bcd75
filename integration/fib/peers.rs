//! What happened to other routing daemons, and is not to happen here.

use std::{collections::BTreeSet, time::Duration};

use rtmd::kernel::{PortId, RouteWatch};

use crate::{
    scene::{CONFIG, Scene, fib, ip_at_once, is_best, offer},
    stage::{CASES, Heard, becomes, flood, flush, heard, in_both_ways},
    support::{Client, PrivateBus, details, eventually},
    world::{ip, ours, with_links},
};

/// The table is somebody else's as well.
const STRANGERS: [&str; 8] = [
    "route add 203.0.113.0/24 dev north proto static metric 81",
    "route add 203.0.113.0/24 dev north proto bird metric 83",
    "route add 203.0.113.0/24 dev north proto zebra metric 84",
    "route add 198.18.0.0/24 dev north proto bgp metric 82",
    "-6 route add 2001:db8:ffff::/48 dev north proto static metric 81",
    "-6 route add 2001:db8:ffff::/48 dev north proto bird metric 83",
    "-6 route add 2001:db8:ffff::/48 dev north proto zebra metric 84",
    "-6 route add 2001:db8:fffd::/48 dev north proto bgp metric 82",
];

/// All but what the kernel put there by itself, which comes and goes with addresses.
fn of_strangers() -> BTreeSet<String> {
    let all = [ip("-4 -N route show table all"), ip("-6 -N route show table all")].concat();
    let lines = all.lines().filter(|line| line.contains(" metric 8") && !line.contains("proto 82"));
    lines.map(str::to_owned).collect()
}

#[test]
fn other_programs_routes_stay_at_start_and_run_and_stop_and_are_not_wiped_as_by_holo() {
    for objects in [true, false] {
        with_links(move || {
            ip("link add north type veth peer name north-peer");
            ip("link set north-peer up");
            ip("link set north up");
            STRANGERS.iter().for_each(|command| drop(ip(command)));
            let before = of_strangers();
            assert_eq!(before.len(), STRANGERS.len());
            ip("route add 198.18.1.0/24 dev north proto 82 metric 82");
            let config = format!(
                "[service]\nreclaim-time = 0\n\n[fib]\nnext-hop-objects = {objects}\n\n{CONFIG}"
            );
            let bus = PrivateBus::start();
            let mut service = bus.serve(&config);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                for case in CASES {
                    let client = Client::register(&bus, case.family, 14).await;
                    for what in [case.west, "blackhole", case.west] {
                        case.offer(&client, what, 20).await;
                        eventually("it is installed", async || {
                            let routes = client.table.get_routes(case.to).await.unwrap();
                            let own = routes.iter().find(|route| route.owner == client.id);
                            own.is_some_and(|route| fib(route) == "installed")
                        })
                        .await;
                        assert_eq!(of_strangers(), before);
                    }
                    client.entity.deregister(&details([])).await.unwrap();
                    eventually("ours is gone", async || {
                        !ip(&format!("{} -N route show table all", case.option()))
                            .contains("proto 82")
                    })
                    .await;
                    assert_eq!(of_strangers(), before);
                }
            });
            service.terminate();
            assert!(service.end().success());
            assert_eq!(of_strangers(), before);
        });
    }
}

#[test]
fn lost_events_are_made_up_for_and_end_nothing_as_they_end_zebra() {
    in_both_ways(async |scene| {
        let (clients, expected) = many_routes(scene).await;
        let pid = scene.service.pid();
        scene.service.signal("STOP");
        flood();
        // What comes now is lost.
        for family in ["-4", "-6"] {
            flush(family);
        }
        ip("nexthop flush proto 82");
        ip("route add 198.18.200.0/24 dev east proto 82 metric 82");
        ip("-6 route add 2001:db8:eeee::/48 dev east proto 82 metric 82");
        scene.service.signal("CONT");
        becomes(scene, "the overrun", &expected).await;
        assert!(scene.service.log().contains("more to tell than there was room for"));
        assert!(std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
        leave(clients).await;
    });
}

/// BIRD's scan takes time, and what happens meanwhile is lost to it.
#[test]
fn what_happens_while_the_table_is_read_is_not_missed_as_by_bird() {
    in_both_ways(async |scene| {
        let (clients, expected) = many_routes(scene).await;
        for round in 0..3 {
            scene.service.signal("STOP");
            flood();
            scene.service.signal("CONT");
            let mut commands = String::new();
            for number in (round..60).step_by(3) {
                commands.push_str(&format!("route del 100.64.{number}.0/24 metric 82\n"));
                commands.push_str(&format!("route del 2001:db8:f{number:03}::/48 metric 82\n"));
            }
            ip_at_once(&commands);
            becomes(scene, "the overrun, and what came right after it", &expected).await;
        }
        leave(clients).await;
    });
}

/// BIRD looks through all routes every minute, which took a third of a processor with 25 000 of them.
#[test]
fn a_table_at_rest_takes_no_time_unlike_in_bird() {
    in_both_ways(async |scene| {
        let (clients, _) = many_routes(scene).await;
        scene.nothing_pending().await;
        let processor_time = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", scene.service.pid()));
            let stat = stat.unwrap();
            let words: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            // utime and stime of proc_pid_stat(5), in hundredths of a second.
            words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
        };
        let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
        let before = processor_time();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let took = processor_time() - before;
        assert!(took <= 10, "{took} hundredths of a second in two seconds");
        assert_eq!(heard(watch).await, Heard::default());
        leave(clients).await;
    });
}

/// In holo the second of two owners with the same distance takes the route of the first away.
#[test]
fn of_two_owners_with_the_same_preference_one_stays_when_the_other_leaves_unlike_in_holo() {
    in_both_ways(async |scene| {
        for case in CASES {
            let first = scene.client(case.family, 14).await;
            case.offer(&first, case.north, 200).await;
            case.becomes(scene, "the first offer", case.north).await;
            let second = scene.client(case.family, 13).await;
            case.offer(&second, case.west, 200).await;
            let routes = first.table.get_routes(case.to).await.unwrap();
            assert_eq!(routes.iter().filter(|route| route.preference == 200).count(), 2);
            leave(vec![first]).await;
            case.becomes(scene, "the first leaves", case.west).await;
            let third = scene.client(case.family, 14).await;
            case.offer(&third, case.north, 200).await;
            leave(vec![second]).await;
            case.becomes(scene, "the second leaves", case.north).await;
            leave(vec![third]).await;
        }
    });
}

/// holo resolves a next hop once and for all, and by one route only.
#[test]
fn a_next_hop_behind_other_routes_is_resolved_again_when_one_of_them_changes_unlike_in_holo() {
    in_both_ways(async |scene| {
        let ways = [
            [("100.64.0.0/16", "100.64.0.1"), ("100.65.0.0/16", "100.65.0.1")],
            [
                ("2001:db8:f000::/48", "2001:db8:f000::1"),
                ("2001:db8:f001::/48", "2001:db8:f001::1"),
            ],
        ];
        for (case, [near, far]) in CASES.into_iter().zip(ways) {
            let client = scene.client(case.family, 14).await;
            let other = scene.client(case.family, 13).await;
            let add = async |to: &str, what: &str| {
                client.entity.add_route(to, &offer(what, 20, 0), 0).await.unwrap()
            };
            case.offer(&other, &format!("via {}", far.1), 20).await;
            add(far.0, &format!("via {}", near.1)).await;
            for what in [case.north, case.west, case.both, case.north] {
                let (id, _) = add(near.0, what).await;
                let all = [near.0, far.0, case.to].map(|to| ours(to, what, 254));
                let expected = scene.foreign.iter().cloned().chain(all).collect();
                becomes(scene, "the nearest has changed", &expected).await;
                if what == case.both {
                    client.entity.delete_route(id).await.unwrap();
                    becomes(scene, "the nearest is gone", &scene.foreign).await;
                }
            }
            leave(vec![client, other]).await;
        }
    });
}

/// Calico wrote routes with several next hops anew each time, because it read them back differently.
#[test]
fn reading_all_again_where_nothing_changed_writes_nothing_unlike_in_calico() {
    in_both_ways(async |scene| {
        let (clients, expected) = many_routes(scene).await;
        scene.service.signal("STOP");
        flood();
        let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
        scene.service.signal("CONT");
        eventually("the overrun is noticed", async || {
            scene.service.log().contains("more to tell than there was room for")
        })
        .await;
        becomes(scene, "the overrun", &expected).await;
        assert_eq!(heard(watch).await, Heard::default());

        let watch = RouteWatch::start(PortId(u32::MAX)).unwrap();
        leave(clients).await;
        scene.nothing_pending().await;
        assert_eq!(heard(watch).await.gone, 120, "it hears of what rtmd writes");
    });
}

/// Routes of each kind in each family, by both links, one or none.
async fn many_routes(scene: &Scene) -> (Vec<Client>, BTreeSet<String>) {
    let mut expected = scene.foreign.clone();
    let mut clients = Vec::new();
    for case in CASES {
        let [first, second] =
            [scene.client(case.family, 14).await, scene.client(case.family, 13).await];
        for number in 0..60 {
            let to = match case.is_ipv6() {
                false => format!("100.64.{number}.0/24"),
                true => format!("2001:db8:f{number:03}::/48"),
            };
            let what = [case.north, case.both, case.west, "blackhole"][number % 4];
            first.entity.add_route(&to, &offer(what, 20, 0), 0).await.unwrap();
            if number % 3 == 0 {
                second.entity.add_route(&to, &offer(case.west, 110, 0), 0).await.unwrap();
            }
            expected.insert(ours(&to, what, 254));
        }
        clients.extend([first, second]);
    }
    becomes(scene, "the offer", &expected).await;
    (clients, expected)
}

async fn leave(clients: Vec<Client>) {
    for client in clients {
        client.entity.deregister(&details([])).await.unwrap();
    }
}

/// BIRD says "File exists" for ever.
#[test]
fn a_strangers_route_in_our_place_is_told_and_left_alone_and_ours_comes_when_it_goes() {
    in_both_ways(async |scene| {
        for case in CASES {
            let strangers = format!("{} dev south proto static metric 82", case.to);
            ip(&format!("{} route add {strangers}", case.option()));
            let before = of_strangers();
            let rivals = case.rivals(scene, case.north, case.west).await;
            eventually("the refusal is told", async || {
                let routes = rivals.first.table.get_routes(case.to).await.unwrap();
                let best = routes.iter().find(|route| is_best(route)).unwrap();
                let error: Option<&str> =
                    best.more.get("fib-error").and_then(|error| error.try_into().ok());
                fib(best) == "failed" && error.is_some_and(|error| error.contains("is in the way"))
            })
            .await;
            // Long enough for the waits between attempts to be longer than what `becomes` allows.
            tokio::time::sleep(Duration::from_millis(3200)).await;
            assert_eq!(of_strangers(), before);
            ip(&format!("{} route del {strangers}", case.option()));
            case.becomes(scene, "the stranger's route goes", case.north).await;
            rivals.leave().await;
        }
    });
}

/// In the kernel a blackhole by a next-hop object goes with `lo`, and any of IPv6.
#[test]
fn routes_without_next_hops_outlive_the_loopback_device_which_zebra_had_to_learn() {
    in_both_ways(async |scene| {
        for case in CASES {
            for what in ["blackhole", "unreachable", "prohibit"] {
                let rivals = case.rivals(scene, what, case.west).await;
                case.becomes(scene, "the offer", what).await;
                assert!(ip("nexthop show").lines().all(|line| !line.contains("blackhole")));
                for _ in 0..2 {
                    ip_at_once("link set lo down\nlink set lo up\n");
                    case.becomes(scene, "a flap of lo", what).await;
                    ip("link set lo down");
                    case.becomes(scene, "lo is down", what).await;
                    ip("link set lo up");
                    case.becomes(scene, "lo is up", what).await;
                }
                rivals.leave().await;
            }
        }
    });
}
