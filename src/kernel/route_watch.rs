//! Following routes and next-hop objects, as far as the kernel tells of them.
//!
//! What our own writer does is filtered out in the kernel, by the port that asked for it: a million routes
//! written are not a million events. So are the routes of others that nobody here wants to know of
//! ([`RouteWatch::heed_only`]): a daemon that writes 200 000 of them and deletes them again takes 0.1 s of
//! the service's time instead of 0.8. Those that are observed are read one by one, and take about as long
//! as the daemon itself. The socket's receive buffer is the only queue; what a slow listener leaves no room
//! for in it is lost, and told as [`RouteEvent::Overrun`].
//!
//! What a reader would get wrong: Linux deletes much without a word (6.18). A link that goes down takes
//! next-hop objects, members of groups and IPv4 routes with it; a deleted object the IPv4 routes that
//! refer to it. And a change that is told may be outdated: by our own writes since, or by a dump that was
//! begun before the event was read. So an event says where to look, not what is there.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt, io,
};

use netlink_packet_core::{DecodeError, NLM_F_REPLACE};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use socket2::{SockFilter, SockRef};

use super::socket::{DATAGRAM_ROOM, PortId, set_receive_buffer};
use crate::netlink::{
    DumpedObject, DumpedRoute, Frame, Signature, frames,
    nexthop::{DELETE_OBJECT, NEW_OBJECT},
};

/// What the receive buffer is asked to hold, in bytes: about 8000 events.
const BUFFER_SIZE: usize = 8 * 1024 * 1024;

/// How much is thrown away at once: more than there is room for, and not for ever.
const MOST_DRAINED: usize = 64 * 1024;

/// Where `nlmsg_type` and `nlmsg_flags` are in the header, and `nlmsg_pid`: the port of who asked for the
/// change, 0 for the kernel itself.
const KIND_OFFSET: u32 = 4;
const FLAGS_OFFSET: u32 = 6;
const PORT_OFFSET: u32 = 12;

/// Where `rtm_protocol` is in a message about a route, and its attributes are.
const PROTOCOL_OFFSET: u32 = 16 + 5;
const ATTRIBUTES_OFFSET: u32 = 16 + 12;

/// `sizeof(struct rtattr)`, which an attribute's value follows.
const ATTRIBUTE_HEADER: u32 = 4;

const RTA_PRIORITY: u32 = 6;

/// A change of a route or a next-hop object in this network namespace, by others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteEvent {
    /// A route was added, to others of the same destination and metric, or in place of one.
    RouteSet {
        /// As it is now. IPv6 shows all legs of a route that got one more.
        route: DumpedRoute,
        /// Whether it took another one's place (`NLM_F_REPLACE`), which then is gone without a word. Also
        /// told of each route when an object that it refers to is replaced by another program, unless
        /// `net.ipv4.nexthop_compat_mode` is 0.
        replaced: bool,
    },
    /// A route is gone, or, of an IPv6 route with several legs, these of them.
    RouteGone {
        /// As it was.
        route: DumpedRoute,
        /// Whether the kernel took it away by itself, with its link, its address or its object.
        /// Otherwise somebody asked for that, unless by ioctl(2).
        by_itself: bool,
    },
    /// A next-hop object was created or replaced; or a group has lost a member, after that was told to be
    /// gone.
    ObjectSet(DumpedObject),
    /// A next-hop object was deleted, or a group with its last member.
    ObjectGone(DumpedObject),
    /// Events were lost: only dumps tell what there is.
    Overrun,
}

/// A stream of events; ends it when dropped.
pub struct RouteWatch {
    socket: TokioSocket,
    own: PortId,
    datagram: Vec<u8>,
    /// Read, and not told yet.
    heard: VecDeque<RouteEvent>,
}

impl RouteWatch {
    /// Starts to follow everything in this thread's network namespace but what is asked for from this
    /// port; in this thread's runtime.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn start(own: PortId) -> io::Result<Self> {
        Self::with_buffer(own, BUFFER_SIZE)
    }

    /// As [`Self::start`], with a receive buffer of so many bytes. An event takes about a thousand.
    ///
    /// # Errors
    /// Likewise.
    pub fn with_buffer(own: PortId, bytes: usize) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let inner = socket.socket_mut();
        set_receive_buffer(&*inner, bytes);
        let filter: Vec<_> = but_from(own).into_iter().chain([pass()]).collect();
        SockRef::from(&*inner).attach_filter(&filter)?;
        inner.bind_auto()?;
        inner.connect(&SocketAddr::new(0, 0))?; // the kernel
        inner.add_membership(libc::RTNLGRP_IPV4_ROUTE)?;
        inner.add_membership(libc::RTNLGRP_IPV6_ROUTE)?;
        match inner.add_membership(libc::RTNLGRP_NEXTHOP) {
            // Before Linux 5.3 there are no next-hop objects.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => result?,
        }
        let datagram = Vec::with_capacity(DATAGRAM_ROOM);
        Ok(Self { socket, own, datagram, heard: VecDeque::new() })
    }

    /// Tells from now on only of those routes that have one of these protocols or this signature's, that
    /// have its metric, which puts them in the place or in the way of ours, or that took the place of
    /// others, which may have been ours; and of all next-hop objects.
    ///
    /// # Errors
    /// The kernel refuses the filter, and everything is told as before.
    pub fn heed_only(&self, ours: Signature, protocols: &BTreeSet<u8>) -> io::Result<()> {
        let filter: Vec<_> = but_from(self.own)
            .into_iter()
            .chain(about_routes(protocols.iter().copied().chain([ours.protocol.get()])))
            .chain(with_metric(ours.metric.get()))
            .collect();
        SockRef::from(self.socket.socket_ref()).attach_filter(&filter)
    }

    /// The next event. Cancelling loses nothing.
    ///
    /// # Errors
    /// The socket failed, and will not tell any more.
    pub async fn next(&mut self) -> io::Result<RouteEvent> {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return Ok(event);
            }
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram).await {
                // Cut short, perhaps.
                Ok(()) if self.datagram.len() >= DATAGRAM_ROOM => return Ok(self.overrun()),
                Ok(()) => {
                    self.heard = frames(&self.datagram).filter_map(|frame| event(&frame)).collect();
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(self.overrun());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Throws away what is there, which is older than the dump that must follow.
    fn overrun(&mut self) -> RouteEvent {
        for _ in 0..MOST_DRAINED {
            self.datagram.clear();
            if self.socket.socket_ref().recv(&mut self.datagram, libc::MSG_DONTWAIT).is_err() {
                break;
            }
        }
        RouteEvent::Overrun
    }
}

impl fmt::Debug for RouteWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteWatch").field("heard", &self.heard).finish_non_exhaustive()
    }
}

/// A message in our words, if it is about a route or an object that we could name.
fn event(message: &Frame<'_>) -> Option<RouteEvent> {
    read(message).unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel told what is beyond reading");
        None
    })
}

fn read(message: &Frame<'_>) -> Result<Option<RouteEvent>, DecodeError> {
    let payload = message.payload;
    Ok(match message.kind {
        libc::RTM_NEWROUTE => {
            let replaced = message.flags & NLM_F_REPLACE != 0;
            DumpedRoute::decode(payload)?.map(|route| RouteEvent::RouteSet { route, replaced })
        }
        libc::RTM_DELROUTE => {
            let by_itself = message.port == 0;
            DumpedRoute::decode(payload)?.map(|route| RouteEvent::RouteGone { route, by_itself })
        }
        NEW_OBJECT => Some(RouteEvent::ObjectSet(DumpedObject::decode(payload)?)),
        DELETE_OBJECT => Some(RouteEvent::ObjectGone(DumpedObject::decode(payload)?)),
        _ => None,
    })
}

// The filters are classic BPF programs: see socket(7), `SO_ATTACH_FILTER`, and the kernel's
// Documentation/networking/filter.rst. A jump says how many statements to go over if what was asked is so, and
// if not. A load takes what is there for big-endian, but the header is in the machine's own order.

/// Drops what was asked for from this port, and goes on with the rest.
fn but_from(own: PortId) -> [SockFilter; 3] {
    [load(libc::BPF_W, PORT_OFFSET), equal(own.0.to_be(), 0, 1), drop_it()]
}

/// Lets pass what is not about a route, the routes that took the place of others, and those of these
/// protocols; goes on with the rest.
fn about_routes(protocols: impl Iterator<Item = u8>) -> Vec<SockFilter> {
    let [set, gone, replaced] = [libc::RTM_NEWROUTE, libc::RTM_DELROUTE, NLM_F_REPLACE]
        .map(|value| u32::from(value.to_be()));
    let mut filter = vec![
        load(libc::BPF_H, KIND_OFFSET),
        equal(set, 2, 0),
        equal(gone, 1, 0),
        pass(),
        load(libc::BPF_H, FLAGS_OFFSET),
        statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, replaced, 0, 1),
        pass(),
        load(libc::BPF_B, PROTOCOL_OFFSET),
    ];
    for protocol in protocols {
        filter.extend([equal(protocol.into(), 0, 1), pass()]);
    }
    filter
}

/// Lets the routes with this metric pass, and nothing else.
fn with_metric(metric: u32) -> [SockFilter; 10] {
    // An extension of Linux: finds the attribute whose type is in X from the place in A on, 0 for none.
    let find = libc::SKF_AD_OFF.wrapping_add(libc::SKF_AD_NLATTR).cast_unsigned();
    [
        statement(libc::BPF_LDX | libc::BPF_IMM, RTA_PRIORITY, 0, 0),
        statement(libc::BPF_LD | libc::BPF_IMM, ATTRIBUTES_OFFSET, 0, 0),
        load(libc::BPF_W, find),
        equal(0, 0, 1),
        drop_it(),
        statement(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, ATTRIBUTE_HEADER, 0, 0),
        equal(metric.to_be(), 0, 1),
        pass(),
        drop_it(),
    ]
}

/// Loads so much from there.
fn load(size: u32, offset: u32) -> SockFilter {
    statement(libc::BPF_LD | libc::BPF_ABS | size, offset, 0, 0)
}

/// Goes over so many statements if what was loaded is this, and if not.
fn equal(value: u32, when_true: u8, when_false: u8) -> SockFilter {
    statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, when_true, when_false)
}

/// Ends with all bytes of the message.
fn pass() -> SockFilter {
    statement(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0)
}

/// Ends with none.
fn drop_it() -> SockFilter {
    statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0)
}

fn statement(code: u32, operand: u32, when_true: u8, when_false: u8) -> SockFilter {
    let code = u16::try_from(code).unwrap_or_default(); // all of them are below 256
    SockFilter::new(code, when_true, when_false, operand)
}
