//! Best routes that the kernel refuses, while another owner has a way that it takes.

use std::time::Duration;

use crate::{
    replacing::Probe,
    scene::{Scene, ip_at_once},
    stage::{CASES, Case, Rivals, in_both_ways},
    world::ip,
};

const MEANWHILE: &str = "packets follow the next best route meanwhile";

/// One of the cases, with a destination that nobody else has a route to, and an address in it.
fn cases() -> impl Iterator<Item = (Case, &'static str)> {
    let places =
        [("100.64.0.0/24", "100.64.0.1:9"), ("2001:db8:f000::/48", "[2001:db8:f000::1]:9")];
    CASES.into_iter().zip(places).map(|(case, (to, inside))| (Case { to, ..case }, inside))
}

impl Case {
    /// What people are told of the destination.
    fn told(&self, scene: &Scene) -> String {
        let said = ["explain", "routes"].map(|command| {
            let output = scene.bus.rtmctl(&[command, self.to]);
            String::from_utf8_lossy(&output.stdout).into_owned()
        });
        said.concat()
    }

    /// Waits until the kernel was asked again, and that made no difference.
    async fn stays(&self, scene: &Scene, what: &str) {
        tokio::time::sleep(Duration::from_millis(1600)).await;
        self.becomes(scene, "it was asked for again", what).await;
        let told = self.told(scene);
        assert_eq!(told.matches(MEANWHILE).count(), 2, "{told}");
        assert!(told.contains("installed: the kernel refuses its next hops"), "{told}");
    }
}

#[test]
fn while_the_gateway_of_the_best_is_on_no_network_packets_go_by_the_next_best() {
    in_both_ways(async |scene| {
        for (case, inside) in cases() {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            for _ in 0..2 {
                // The kernel drops what it has with the link only, and then does not take it any more.
                ip_at_once(&format!(
                    "addr del {} dev north\nlink set north down\nlink set north up\n",
                    case.address
                ));
                case.becomes(scene, "the address is removed", case.west).await;
                let probe = Probe::start(inside.parse().unwrap());
                case.stays(scene, case.west).await;
                ip(&format!("addr replace {} dev north nodad", case.address));
                case.becomes(scene, "the address returns", case.north).await;
                let (all, lost) = probe.stop();
                assert!(all > 1000 && lost == 0, "{lost} of {all} probes");
                assert!(!case.told(scene).contains(MEANWHILE));
            }
            ip("addr replace 2001:db8:c::1/64 dev north nodad");
            rivals.leave().await;
        }
    });
}

#[test]
fn a_better_offer_that_the_kernel_refuses_leaves_packets_where_they_are_even_by_the_same_link() {
    in_both_ways(async |scene| {
        let elsewhere = [
            ("via 10.97.0.254 dev north", "10.97.0.1/24"),
            ("via 2001:db8:e::9 dev north", "2001:db8:e::1/64"),
        ];
        for ((case, inside), (better, address)) in cases().zip(elsewhere) {
            let rivals = Rivals {
                first: scene.client(case.family, 14).await,
                second: scene.client(case.family, 13).await,
            };
            case.offer(&rivals.second, case.north, 110).await;
            case.becomes(scene, "the offer", case.north).await;
            let probe = Probe::start(inside.parse().unwrap());
            case.offer(&rivals.first, better, 20).await;
            case.stays(scene, case.north).await;
            ip(&format!("addr add {address} dev north nodad"));
            case.becomes(scene, "there is a network with its gateway", better).await;
            let (all, lost) = probe.stop();
            // See `replacing`: an IPv6 route goes from one object to another.
            let most =
                if case.is_ipv6() && ip("nexthop show").contains("proto 82") { 5 } else { 0 };
            assert!(all > 1000 && lost <= most, "{lost} of {all} probes");
            ip(&format!("addr del {address} dev north"));
            rivals.leave().await;
        }
    });
}
