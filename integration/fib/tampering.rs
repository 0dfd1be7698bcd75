//! Other programs that change what is ours.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rtmd::kernel::{PortId, RouteWatch};
use serde_json::Value;

use crate::{
    scene::{fib, is_best},
    stage::{CASES, Case, Heard, flush, heard, in_both_ways, in_one_way},
    support::{details, eventually},
    world::ip,
};

/// The numbers of the kernel's objects of ours that are groups, or those that are not.
pub(crate) fn objects(groups: bool) -> Vec<u64> {
    let all: Vec<Value> = serde_json::from_str(&ip("-j -N nexthop show")).unwrap();
    let ours = all.iter().filter(|object| object["protocol"] == "82");
    let chosen = ours.filter(|object| object["group"].is_array() == groups);
    chosen.map(|object| object["id"].as_u64().unwrap()).collect()
}

/// Deletes, and does not mind what is gone already with what was deleted before.
pub(crate) fn delete_objects(ids: &[u64]) {
    for id in ids {
        let _ = Command::new("ip")
            .args(["nexthop", "del", "id", &id.to_string()])
            .stderr(Stdio::null())
            .status()
            .unwrap();
    }
}

#[test]
fn what_others_do_to_our_next_hop_objects_is_undone_at_once() {
    // Each round where nothing has been changed yet: a fight is another story.
    for (by_both, protocol) in [(false, "82"), (false, "static"), (true, "82"), (true, "static")] {
        in_one_way(true, async move |scene| {
            for case in CASES {
                let what = if by_both { case.both } else { case.north };
                let rivals = case.rivals(scene, what, case.west).await;
                case.becomes(scene, "the offer", what).await;
                delete_objects(&objects(false)[..1]);
                case.becomes(scene, "a leg was deleted", what).await;
                delete_objects(&objects(false));
                case.becomes(scene, "all legs were deleted", what).await;
                delete_objects(&objects(true));
                case.becomes(scene, "all groups were deleted", what).await;
                ip("nexthop flush proto 82");
                case.becomes(scene, "all objects of ours were flushed", what).await;
                ip("nexthop flush");
                case.becomes(scene, "all objects were flushed", what).await;
                for leg in objects(false) {
                    let option = case.option();
                    ip(&format!("{option} nexthop replace id {leg} dev south proto {protocol}"));
                }
                let when = format!("all legs were replaced, with protocol {protocol}");
                case.becomes(scene, &when, what).await;
                let stranger = format!("{} nexthop add id 7 dev south proto static", case.option());
                ip(&stranger);
                for group in objects(true) {
                    let kind = group_type(group);
                    ip(&format!("nexthop replace id {group} group 7{kind} proto {protocol}"));
                }
                let when = format!("all groups were replaced, with protocol {protocol}");
                case.becomes(scene, &when, what).await;
                assert_eq!(ip("nexthop show id 7").lines().count(), 1, "it is not ours");
                ip("nexthop del id 7");
                rivals.leave().await;
            }
        });
    }
}

/// The type of a group and its buckets, which a replacement cannot change.
fn group_type(group: u64) -> String {
    let found: Vec<Value> =
        serde_json::from_str(&ip(&format!("-j nexthop show id {group}"))).unwrap();
    match found[0]["resilient_args"]["buckets"].as_u64() {
        Some(buckets) => format!(" type resilient buckets {buckets}"),
        None => String::new(),
    }
}

/// A destination for each way to tamper with a route.
const ELSEWHERE: [[&str; 11]; 2] = [
    [
        "100.64.0.0/24",
        "100.64.1.0/24",
        "100.64.2.0/24",
        "100.64.3.0/24",
        "100.64.4.0/24",
        "100.64.5.0/24",
        "100.64.6.0/24",
        "100.64.7.0/24",
        "100.64.8.0/24",
        "100.64.9.0/24",
        "100.64.10.0/24",
    ],
    [
        "fd00::/48",
        "fd00:1::/48",
        "fd00:2::/48",
        "fd00:3::/48",
        "fd00:4::/48",
        "fd00:5::/48",
        "fd00:6::/48",
        "fd00:7::/48",
        "fd00:8::/48",
        "fd00:9::/48",
        "fd00:a::/48",
    ],
];

/// BIRD looks every 60 seconds, and zebra does not mind it when its route is replaced.
#[test]
fn what_others_do_to_our_routes_is_undone_at_once_and_not_at_a_next_scan_as_in_bird() {
    in_both_ways(async |scene| {
        let mut slowest = Duration::ZERO;
        for case in CASES {
            for (round, what) in [case.north, case.both, "unreachable"].into_iter().enumerate() {
                for number in 0..9 {
                    // Each way in a place of its own: a fight is another story, and flushing, which goes on
                    // until nothing is there, can be one by itself.
                    let place = if number == 8 { 8 + round } else { number };
                    let case = Case { to: ELSEWHERE[usize::from(case.is_ipv6())][place], ..case };
                    let (option, to) = (case.option(), case.to);
                    let how = [
                        format!("{option} route del {to} metric 82"),
                        format!("{option} route del {to} metric 82 proto 82"),
                        format!("{option} route replace {to} dev south metric 82 proto 82"),
                        format!("{option} route replace {to} dev south metric 82 proto static"),
                        format!("{option} route replace blackhole {to} metric 82 proto static"),
                        format!("{option} route append {to} dev south metric 82 proto 82"),
                        format!("{option} route append {to} dev east metric 82 proto 82"),
                        format!("{option} route prepend {to} dev south metric 82 proto 82"),
                        format!("{option} route flush proto 82"),
                    ];
                    let rivals = case.rivals(scene, what, case.west).await;
                    case.becomes(scene, "the offer", what).await;
                    match how[number].contains("flush") {
                        true => flush(option),
                        false => drop(ip(&how[number])),
                    }
                    let took = case.becomes(scene, &how[number], what).await;
                    slowest = slowest.max(took);
                    rivals.leave().await;
                }
            }
        }
        println!("the slowest repair took {slowest:?}");
    });
}

#[test]
fn a_strangers_route_where_ours_was_deleted_stays_theirs_and_ours_is_shown_as_failed() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            let (option, to) = (case.option(), case.to);
            let theirs = format!("{to} dev south proto static metric 82");
            // So that both have happened when it hears of the first.
            scene.service.signal("STOP");
            ip(&format!("{option} route del {to} metric 82"));
            ip(&format!("{option} route add {theirs}"));
            scene.service.signal("CONT");
            let show = || ip(&format!("{option} -N route show {to} metric 82"));
            eventually("it is told what is in the way", async || {
                let routes = rivals.first.table.get_routes(to).await.unwrap();
                let best = routes.iter().find(|route| is_best(route)).unwrap();
                let error: Option<&str> =
                    best.more.get("fib-error").and_then(|error| error.try_into().ok());
                assert!(show().contains("dev south"), "{}", show());
                fib(best) == "failed"
                    && error.is_some_and(|error| {
                        error.contains("another program's route") && error.contains("delete")
                    })
            })
            .await;
            assert!(show().contains("dev south") && show().lines().count() == 1, "{}", show());
            ip(&format!("{option} route del {theirs}"));
            case.becomes(scene, "the stranger's route goes", case.north).await;
            rivals.leave().await;
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
            // Five at once, then after half a second, one more, and two.
            assert!((6..=10).contains(&lost), "{lost} repairs in four seconds");
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

/// As systemd-networkd does with `ManageForeignNextHops`, but without end.
#[test]
fn a_fight_over_next_hop_objects_is_reported_and_ends_in_repair_when_the_other_stops() {
    in_one_way(true, async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            let writes = RouteWatch::start(PortId(0)).unwrap();
            let enemy = Enemy::start("nexthop flush proto 82");
            let mut told = false;
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(4) {
                let routes = rivals.first.table.get_routes(case.to).await.unwrap();
                let best = routes.iter().find(|route| is_best(route)).unwrap();
                let error: Option<&str> =
                    best.more.get("fib-error").and_then(|error| error.try_into().ok());
                told |= fib(best) == "failed"
                    && error.is_some_and(|error| error.contains("another program keeps changing"))
                    && scene.manager.fib_state().await.unwrap() == "degraded";
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(told, "the fight is not told");
            enemy.stop();
            let Heard { set, objects, .. } = heard(writes).await;
            // Eight times or nine, not four hundred.
            assert!(
                set <= 30 && objects <= 120,
                "{set} routes and {objects} objects in four seconds"
            );
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

#[test]
fn what_a_strangers_route_kept_out_comes_at_once_when_that_goes_with_its_link() {
    in_both_ways(async |scene| {
        for case in CASES {
            ip("link add stray type veth peer name stray-peer");
            ip("link set stray-peer up");
            ip("link set stray up");
            let stranger = format!("route add {} dev stray proto static metric 82", case.to);
            ip(&format!("{} {stranger}", case.option()));
            let client = scene.client(case.family, 14).await;
            case.offer(&client, case.west, 20).await;
            eventually("it is kept out", async || {
                let routes = client.table.get_routes(case.to).await.unwrap();
                routes.iter().any(|route| is_best(route) && fib(route) == "failed")
            })
            .await;
            // By now it is seconds until the next attempt.
            tokio::time::sleep(Duration::from_secs(4)).await;
            ip("link set stray down");
            case.becomes(scene, "the stranger's link is down", case.west).await;
            client.entity.deregister(&details([])).await.unwrap();
            ip("link del stray");
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
