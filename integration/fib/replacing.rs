//! Replacing a route: there is no moment without one.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use rtmd::kernel::{PortId, RouteWatch};

use crate::{
    scene::offer,
    stage::{CASES, heard, in_both_ways},
    support::{Client, details},
};

/// A thread that looks for the way to an address all the time.
pub(crate) struct Probe {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

/// Whether the kernel has a way to an address; connecting a socket for datagrams is to look for it.
fn leads_to(socket: &UdpSocket, to: SocketAddr) -> bool {
    socket.connect(to).is_ok()
}

impl Probe {
    pub(crate) fn start(to: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let socket = socket(to);
            let (mut all, mut lost) = (0, 0);
            while !ends.load(Ordering::Relaxed) {
                all += 1;
                lost += u64::from(!leads_to(&socket, to));
            }
            (all, lost)
        });
        Self { is_over, thread }
    }

    /// How often it has looked, and found none.
    pub(crate) fn stop(self) -> (u64, u64) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn socket(to: SocketAddr) -> UdpSocket {
    UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap()
}

async fn installed(client: &Client, to: &str, what: &str) {
    client.entity.add_route(to, &offer(what, 20, 0), 0).await.unwrap();
    loop {
        let routes = client.table.get_routes(to).await.unwrap();
        let own = routes.iter().find(|route| route.owner == client.id).unwrap();
        if crate::scene::fib(own) == "installed" {
            return;
        }
    }
}

/// BIRD takes an IPv6 route away and puts another in its place, because it does not trust the kernel.
#[test]
fn a_route_that_changes_its_next_hops_five_hundred_times_is_always_there_unlike_in_bird() {
    in_both_ways(async |scene| {
        let places = [
            ("100.64.0.0/24", "100.64.0.1:9".parse().unwrap()),
            ("2001:db8:f000::/48", "[2001:db8:f000::1]:9".parse().unwrap()),
        ];
        for (case, (to, inside)) in CASES.into_iter().zip(places) {
            assert!(!leads_to(&socket(inside), inside), "there is another way");
            let client = scene.client(case.family, 14).await;
            installed(&client, to, case.north).await;
            let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
            let probe = Probe::start(inside);
            let ways = [case.west, case.north, case.both, case.west, case.both, case.north];
            for number in 0..500 {
                installed(&client, to, ways[number % ways.len()]).await;
            }
            let (all, lost) = probe.stop();
            let changes = heard(watch).await;
            println!("{all} probes, {changes:?}");
            // The kernel's own gap, which `ip route replace` alone shows as well: where an IPv6 route goes from
            // one next-hop object to another, a look-up that is under way just then may find none; 14 to 21
            // did while 20 000 were replaced as fast as can be, and none without objects (Linux 6.18).
            let most = if case.is_ipv6() && changes.objects > 0 { 5 } else { 0 };
            assert!(lost <= most, "{lost} of {all} probes");
            assert!(all > 1000, "{all} probes");
            assert!(changes.set + changes.objects >= 400, "{changes:?}");
            client.entity.deregister(&details([])).await.unwrap();
        }
    });
}
