//! What happened to other routing daemons, and is not to happen here.

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rtmd::kernel::{PortId, RouteEvent, RouteWatch};

use crate::{
    scene::{CONFIG, Scene, fib, ip_at_once, is_best, offer},
    stage::{CASES, becomes, flood, flush, in_both_ways},
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
            let config = format!("[fib]\nnext-hop-objects = {objects}\n\n{CONFIG}");
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
        assert_eq!(changes_of_ours(watch).await, 0);

        let watch = RouteWatch::start(PortId(u32::MAX)).unwrap();
        leave(clients).await;
        scene.nothing_pending().await;
        assert!(changes_of_ours(watch).await >= 120, "it hears of what rtmd writes");
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

/// How many changes of routes and next-hop objects of ours a watch has heard of, its own writer's too.
async fn changes_of_ours(mut watch: RouteWatch) -> usize {
    // The last it hears of.
    ip("route add 198.18.77.77/32 dev south proto static metric 7");
    ip("route del 198.18.77.77/32 dev south proto static metric 7");
    let mut count = 0;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        match event.expect("an event").unwrap() {
            RouteEvent::RouteGone { route, .. } if route.to.to_string() == "198.18.77.77/32" => {
                return count;
            }
            RouteEvent::RouteSet { route, .. } | RouteEvent::RouteGone { route, .. } => {
                count += usize::from(route.protocol == 82);
            }
            RouteEvent::ObjectSet(object) | RouteEvent::ObjectGone(object) => {
                count += usize::from(object.protocol == 82);
            }
            RouteEvent::Overrun => panic!("too many events"),
        }
    }
}

/// BIRD says "File exists" for ever, and so may we; but it heals by itself.
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
                fib(best) == "failed" && error.is_some_and(|error| error.contains("exists"))
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

#[test]
fn a_fight_over_a_route_is_reported_and_ends_in_repair_when_the_other_stops() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            let enemy = Enemy::start(&format!("{} route del {} metric 82", case.option(), case.to));
            let mut told = false;
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(4) {
                let routes = rivals.first.table.get_routes(case.to).await.unwrap();
                let best = routes.iter().find(|route| is_best(route)).unwrap();
                let error: Option<&str> =
                    best.more.get("fib-error").and_then(|error| error.try_into().ok());
                told |= fib(best) == "failed"
                    && error == Some("another program keeps changing this route")
                    && scene.manager.fib_state().await.unwrap() == "degraded";
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(told, "the fight is not told");
            let lost = enemy.stop();
            // Five at once, then one a second.
            assert!((6..=12).contains(&lost), "{lost} repairs in four seconds");
            eventually("the state is synced", async || {
                scene.manager.fib_state().await.unwrap() == "synced"
            })
            .await;
            case.becomes(scene, "the fight is over", case.north).await;
            let routes = rivals.first.table.get_routes(case.to).await.unwrap();
            assert!(routes.iter().all(|route| !route.more.contains_key("fib-error")));
            rivals.leave().await;
        }
    });
}

/// A program that does something again and again.
struct Enemy {
    child: Child,
    done: tempfile::NamedTempFile,
}

impl Enemy {
    fn start(command: &str) -> Self {
        let done = tempfile::NamedTempFile::new().unwrap();
        let script = format!("while :; do ip {command} 2>/dev/null && echo; sleep 0.01; done");
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::from(done.reopen().unwrap()))
            .spawn()
            .unwrap();
        Self { child, done }
    }

    /// How often it had success.
    fn stop(mut self) -> usize {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::read_to_string(self.done.path()).unwrap().lines().count()
    }
}

impl Drop for Enemy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
