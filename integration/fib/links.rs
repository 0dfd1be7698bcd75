//! Links and addresses that go and come.

use std::process::{Child, Command, Stdio};

use crate::{
    scene::{ip_at_once, restore},
    stage::{CASES, becomes, in_both_ways},
    world::{ip, ours},
};

const NORTH_AGAIN: &str = "link add north type veth peer name north-peer\nlink set north-peer up\n\
     addr add 10.99.0.1/24 dev north\nlink set north up\naddr add 2001:db8:c::1/64 dev north nodad\n";

#[test]
fn when_a_carrier_is_lost_the_second_best_takes_over_until_it_is_back() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            for _ in 0..3 {
                case.becomes(scene, "the carrier is there", case.north).await;
                ip("link set north-peer down");
                case.becomes(scene, "the carrier is lost", case.west).await;
                ip("link set north-peer up");
            }
            case.becomes(scene, "the carrier is back", case.north).await;
            rivals.leave().await;
        }
    });
}

#[test]
fn when_a_link_is_switched_off_the_second_best_takes_over_until_it_is_on() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            for _ in 0..3 {
                case.becomes(scene, "the link is on", case.north).await;
                ip("link set north down");
                case.becomes(scene, "the link is off", case.west).await;
                restore("north");
            }
            case.becomes(scene, "the link is on", case.north).await;
            rivals.leave().await;
        }
    });
}

#[test]
fn a_route_with_several_next_hops_goes_on_by_those_that_are_left() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.both, case.west).await;
            case.becomes(scene, "the offer", case.both).await;
            for (lose, heal) in [
                ("link set north-peer down\n", "link set north-peer up\n"),
                (
                    "link set north down\n",
                    "link set north up\naddr replace 2001:db8:c::1/64 dev north nodad\n",
                ),
            ] {
                ip_at_once(lose);
                case.becomes(scene, lose, case.only_west).await;
                ip_at_once(heal);
                case.becomes(scene, heal, case.both).await;
            }
            ip("link del north");
            case.becomes(scene, "the deletion of one link", case.only_west).await;
            ip_at_once(NORTH_AGAIN);
            rivals.leave().await;
        }
    });
}

#[test]
fn when_an_address_is_removed_the_second_best_takes_over_until_it_returns() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.gateway, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            let [gone, back] = [
                format!("addr del {} dev north", case.address),
                format!("addr replace {} dev north", case.address),
            ];
            ip(&gone);
            case.becomes(scene, "the last address is removed", case.west).await;
            ip(&back);
            case.becomes(scene, "it returns", case.north).await;

            // Where others are left, the kernel keeps the routes.
            ip("addr add 10.97.0.1/24 dev north");
            ip("addr add 2001:db8:e::1/64 dev north nodad");
            ip(&gone);
            case.becomes(scene, "not the last address is removed", case.west).await;
            ip(&back);
            case.becomes(scene, "it returns", case.north).await;
            ip("addr del 10.97.0.1/24 dev north");
            ip("addr del 2001:db8:e::1/64 dev north");
            case.becomes(scene, "an address that leads elsewhere is removed", case.north).await;
            rivals.leave().await;
        }
    });
}

#[test]
fn an_address_that_is_gone_for_a_moment_leaves_nothing_failed() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            let nodad = if case.option() == "-6" { " nodad" } else { "" };
            let flap = format!(
                "addr del {0} dev north\naddr replace {0} dev north{nodad}\n",
                case.address
            );
            for count in [1, 2, 20] {
                ip_at_once(&flap.repeat(count));
                case.becomes(scene, "the address is gone and back", case.north).await;
            }
            rivals.leave().await;
        }
    });
}

#[test]
fn a_link_that_is_deleted_and_made_again_or_is_elsewhere_for_a_while_is_used_again() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.gateway, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            ip("link del north");
            case.becomes(scene, "the deletion", case.west).await;
            ip_at_once(NORTH_AGAIN);
            case.becomes(scene, "it is made again", case.north).await;

            let elsewhere = Elsewhere::new();
            ip(&format!("link set north netns {}", elsewhere.0.id()));
            case.becomes(scene, "it moves to another namespace", case.west).await;
            elsewhere.send_back("north");
            ip_at_once(
                "addr replace 10.99.0.1/24 dev north\nlink set north up\n\
                 addr replace 2001:db8:c::1/64 dev north nodad\n",
            );
            case.becomes(scene, "it is back from there", case.north).await;
            rivals.leave().await;
        }
    });
}

#[test]
fn a_link_that_gets_another_name_keeps_its_routes() {
    in_both_ways(async |scene| {
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            ip("link set north name pole");
            let renamed = case.north.replace("north", "pole");
            case.becomes(scene, "it is renamed", &renamed).await;
            ip("link set pole down");
            case.becomes(scene, "it is switched off by its new name", case.west).await;
            ip("link set pole name north");
            restore("north");
            case.becomes(scene, "all is as it was", case.north).await;
            rivals.leave().await;
        }
    });
}

#[test]
fn routes_that_depend_on_a_link_are_not_failed_after_it_flapped_until_a_restart_as_in_frr() {
    in_both_ways(async |scene| {
        let mut expected = scene.foreign.clone();
        let mut clients = Vec::new();
        for case in CASES {
            let client = scene.client(case.family, 14).await;
            for number in 0..100 {
                let to = match case.option() {
                    "-4" => format!("100.64.{number}.0/24"),
                    _ => format!("2001:db8:f{number:03}::/48"),
                };
                let what = match number % 3 {
                    0 => case.gateway,
                    1 => case.north,
                    _ => case.both,
                };
                let route = crate::scene::offer(what, 20, 0);
                client.entity.add_route(&to, &route, 0).await.unwrap();
                let what = if what == case.gateway { case.north } else { what };
                expected.insert(ours(&to, what, 254));
            }
            clients.push(client);
        }
        becomes(scene, "the offer", &expected).await;
        let flap = "link set north down\nlink set north up\n\
                    addr replace 2001:db8:c::1/64 dev north nodad\n";
        for count in [1, 1, 3, 10] {
            ip_at_once(&flap.repeat(count));
            becomes(scene, "a flap", &expected).await;
        }
        for client in clients {
            client.entity.deregister(&crate::support::details([])).await.unwrap();
        }
    });
}

/// Another network namespace, as long as this is there.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self(child)
    }

    /// Moves a link from there to the test's namespace, which is that of its thread only.
    fn send_back(&self, link: &str) {
        let home = std::fs::read_link("/proc/thread-self").unwrap();
        let home = format!("/proc/{}/ns/net", home.display());
        let status = Command::new("nsenter")
            .args([&format!("--net=/proc/{}/ns/net", self.0.id()), "ip", "link", "set", link])
            .args(["netns", &home])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
