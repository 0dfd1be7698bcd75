//! Two hosts, each in a network of its own, with the router that is tested between them.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};

use crate::world::ip;

/// What the one sends packets to, by which gateway the router reaches it, and the destinations that has.
pub(crate) const SENT_TO: [(&str, &str); 2] = [
    ("100.127.0.0/16", "via 172.16.2.2 dev out"),
    ("2001:db8:7f::/48", "via 2001:db8:16:2::2 dev out"),
];
const SINKS: [&str; 2] = ["100.127.1.1:9", "[2001:db8:7f::1]:9"];

/// Packets between hosts.
pub(crate) struct Flow {
    is_over: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    sink: JoinHandle<BTreeSet<u64>>,
}

/// A host that is in its network, waits there for its link, and then does this.
fn host<T: Send + 'static>(
    link: &str,
    commands: &'static [&'static str],
    act: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let (tell, told): (Sender<_>, Receiver<_>) = channel();
    let (begin, begins) = channel::<()>();
    let host = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tell.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        begins.recv().unwrap();
        for command in commands {
            ip(command);
        }
        act()
    });
    let network = told.recv().unwrap();
    ip(&format!("link set {link} netns {network}"));
    begin.send(()).unwrap();
    host
}

impl Flow {
    /// Begins to send a packet of each family a millisecond, once the first have come through.
    pub(crate) fn begin() -> Self {
        for command in [
            "link add in type veth peer name source",
            "link add out type veth peer name sink",
            "addr add 172.16.1.1/24 dev in",
            "addr add 172.16.2.1/24 dev out",
            "addr add 2001:db8:16:1::1/64 dev in nodad",
            "addr add 2001:db8:16:2::1/64 dev out nodad",
            "link set in up",
            "link set out up",
        ] {
            ip(command);
        }
        let forward = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
        assert!(Command::new("sysctl").arg("-qw").args(forward).status().unwrap().success());
        let (is_over, is_heard) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (over, heard) = (Arc::clone(&is_over), Arc::clone(&is_heard));
        let commands = &[
            "link set lo up",
            "addr add 172.16.2.2/24 dev sink",
            "addr add 2001:db8:16:2::2/64 dev sink nodad",
            "addr add 100.127.1.1/32 dev lo",
            "addr add 2001:db8:7f::1/128 dev lo nodad",
            "link set sink up",
        ];
        let sink = host("sink", commands, move || receive(&over, &heard));
        let over = Arc::clone(&is_over);
        let commands = &[
            "addr add 172.16.1.2/24 dev source",
            "addr add 2001:db8:16:1::2/64 dev source nodad",
            "link set source up",
            "route add default via 172.16.1.1",
            "-6 route add default via 2001:db8:16:1::1",
        ];
        let sender = host("source", commands, move || send(&over, &is_heard));
        Self { is_over, sender, sink }
    }

    /// Ends it: how many packets were sent, and which did not arrive.
    pub(crate) fn end(self) -> (u64, Vec<u64>) {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let arrived = self.sink.join().unwrap();
        (sent, (0..sent).filter(|number| !arrived.contains(number)).collect())
    }
}

/// Sends numbered packets, even ones of IPv4 and odd ones of IPv6; says how many.
fn send(is_over: &AtomicBool, is_heard: &AtomicBool) -> u64 {
    let sockets = ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).unwrap());
    // Neighbours are found, and the route is there.
    while !is_heard.load(Ordering::Relaxed) {
        for (socket, to) in sockets.iter().zip(SINKS) {
            let _ = socket.send_to(&u64::MAX.to_be_bytes(), to);
        }
        thread::sleep(Duration::from_millis(10));
    }
    let (mut number, mut next) = (0_u64, Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        for (socket, to) in sockets.iter().zip(SINKS) {
            let _ = socket.send_to(&number.to_be_bytes(), to); // what was not sent does not arrive
            number += 1;
        }
        next += Duration::from_millis(1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    number
}

/// Which packets arrive, until half a second after the end.
fn receive(is_over: &AtomicBool, is_heard: &AtomicBool) -> BTreeSet<u64> {
    let sockets = SINKS.map(|at| {
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    let mut arrived = BTreeSet::new();
    let mut is_first = [true; 2];
    let mut end = None;
    while end.is_none_or(|end| Instant::now() < end) {
        for (socket, is_first) in sockets.iter().zip(&mut is_first) {
            let mut packet = [0; 8];
            while let Ok(8) = socket.recv(&mut packet) {
                *is_first = false;
                arrived.insert(u64::from_be_bytes(packet));
            }
        }
        is_heard.fetch_or(is_first == [false; 2], Ordering::Relaxed);
        if end.is_none() && is_over.load(Ordering::Relaxed) {
            end = Some(Instant::now() + Duration::from_millis(500));
        }
        thread::sleep(Duration::from_micros(500));
    }
    arrived
}
