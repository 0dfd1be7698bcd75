//! A network namespace to measure in, and what can be seen of it from outside the service.

#![allow(dead_code, reason = "each benchmark takes what it needs")]

use std::{fs, process::Command, thread, time::Duration};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, unshare};
use rtmd::{
    model::InterfaceIndex,
    netlink::{Frame, frame},
};
use rustix::net::sockopt;

/// The link that all routes lead by.
pub(crate) const WEST: InterfaceIndex = InterfaceIndex(100);

/// What the buffer of one who counts events holds, in bytes: some 50 000 events.
const BUFFER: usize = 64 * 1024 * 1024;

/// Does something in a network namespace of its own, with a link; `None` where none is to be had.
pub(crate) fn in_namespace<T: Send>(act: impl FnOnce() -> T + Send) -> Option<T> {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).ok()?;
        for command in [
            "link set lo up",
            "link add name west index 100 type veth peer name east index 101",
            "addr add 192.0.2.1/24 dev west",
            "addr add 2001:db8::1/64 dev west nodad",
            "link set west up",
            "link set east up",
        ] {
            let status = Command::new("ip").args(command.split(' ')).status().expect("ip");
            assert!(status.success(), "ip {command}");
        }
        // As the package sets it (sysctl.d): an object that is replaced is not announced for each route.
        fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
        Some(act())
    };
    thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error),
    })
}

/// One who hears of every route and next-hop object that anybody writes.
pub(crate) struct Listener(Socket);

impl Listener {
    pub(crate) fn start() -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).unwrap();
        socket.bind(&SocketAddr::new(0, 0)).unwrap();
        for group in [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE, libc::RTNLGRP_NEXTHOP] {
            socket.add_membership(group).unwrap();
        }
        Self(socket)
    }

    /// How many writes there were to what is ours: the kernel's own routes come and go by themselves.
    ///
    /// # Panics
    /// There were more than could be counted.
    pub(crate) fn count(self) -> usize {
        let mut count = 0;
        let mut datagram = Vec::with_capacity(64 * 1024);
        loop {
            datagram.clear();
            match self.0.recv(&mut datagram, libc::MSG_DONTWAIT) {
                Ok(_) => count += frame::frames(&datagram).filter(is_ours).count(),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return count,
                Err(error) => panic!("events were lost: {error}"),
            }
        }
    }
}

/// Whether it is about a route or an object of our protocol (`rtm_protocol`, `nh_protocol`).
fn is_ours(message: &Frame<'_>) -> bool {
    let is_route = matches!(message.kind, libc::RTM_NEWROUTE | libc::RTM_DELROUTE);
    message.payload.get(if is_route { 5 } else { 2 }) == Some(&82)
}

/// Seconds that a process has had of the processors, by itself and in the kernel.
pub(crate) fn processor_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0 // USER_HZ is 100 everywhere
}

/// Waits until a process has done nothing for half a second.
pub(crate) fn until_quiet(pid: u32) {
    let mut before = -1.0;
    while processor_seconds(pid) > before {
        before = processor_seconds(pid);
        thread::sleep(Duration::from_millis(500));
    }
}
