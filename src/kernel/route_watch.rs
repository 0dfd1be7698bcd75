//! Following routes and next-hop objects, as far as the kernel tells of them.
//!
//! What our own writer does is filtered out in the kernel, by the port that asked for it: a million routes
//! written are not a million events. The socket's receive buffer is the only queue; what a slow listener
//! leaves no room for in it is lost, and told as [`RouteEvent::Overrun`].
//!
//! What a reader would get wrong: Linux deletes much without a word (6.18). A link that goes down takes
//! next-hop objects, members of groups and IPv4 routes with it; a deleted object the IPv4 routes that
//! refer to it. And a change that is told may be outdated: by our own writes since, or by a dump that was
//! begun before the event was read. So an event says where to look, not what is there.

use std::{collections::VecDeque, fmt, io};

use netlink_packet_core::{DecodeError, NLM_F_REPLACE};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use socket2::{SockFilter, SockRef};

use super::socket::{DATAGRAM_ROOM, PortId, set_receive_buffer};
use crate::netlink::{
    DumpedObject, DumpedRoute, Frame, frames,
    nexthop::{DELETE_OBJECT, NEW_OBJECT},
};

/// What the receive buffer is asked to hold, in bytes: about 8000 events.
const BUFFER_SIZE: usize = 8 * 1024 * 1024;

/// How much is thrown away at once: more than there is room for, and not for ever.
const MOST_DRAINED: usize = 64 * 1024;

/// Where `nlmsg_pid` is in the header: the port of who asked for the change, 0 for the kernel itself.
const PORT_OFFSET: u32 = 12;

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
        SockRef::from(&*inner).attach_filter(&all_but(own))?;
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
        Ok(Self { socket, datagram, heard: VecDeque::new() })
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

/// A classic BPF program (see bpf(2) and `SO_ATTACH_FILTER` in socket(7)) that lets all messages pass but
/// those with this port in their header.
fn all_but(own: PortId) -> [SockFilter; 4] {
    let statement = |code: u32, when_true, when_false, operand| {
        let code = u16::try_from(code).unwrap_or_default(); // all of them are below 256
        SockFilter::new(code, when_true, when_false, operand)
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let end = libc::BPF_RET | libc::BPF_K;
    [
        statement(load, 0, 0, PORT_OFFSET),
        // A load takes what is there for big-endian; the header is in the machine's own order.
        statement(equal, 1, 0, own.0.to_be()),
        statement(end, 0, 0, u32::MAX), // all its bytes
        statement(end, 0, 0, 0),        // none
    ]
}
