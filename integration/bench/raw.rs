//! The ceiling: routes written as fast as the kernel takes them, and read back.
//!
//! Messages are encoded beforehand; many go in a send, with one acknowledgement for all of them, in a
//! tight loop. A program that does more with a route than this cannot be faster.

use std::{
    net::IpAddr,
    num::{NonZeroU8, NonZeroU32},
    time::Instant,
};

use netlink_packet_core::{NLM_F_REQUEST, NLMSG_DONE, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtmd::{
    model::{Family, KernelTable, NextHopObject, ObjectId, Prefix},
    netlink::{
        DumpQuestion as _, DumpRequest, ObjectChange, ObjectRequest, RouteChange, RouteRequest,
        Signature, frame,
    },
};
use rustix::net::sockopt;

use crate::stage::WEST;

/// What the buffers hold: the answers to 1024 refused messages.
const BUFFER: usize = 2 * 1024 * 1024;

/// Not the service's own, which would take these routes away as fast as they come.
pub(crate) fn signature(protocol: u8) -> Signature {
    let metric = NonZeroU32::new(u32::from(protocol)).unwrap();
    Signature { protocol: NonZeroU8::new(protocol).unwrap(), metric }
}

/// Datagrams, ready to be sent.
pub(crate) type Datagrams = Vec<Vec<u8>>;

/// Encodes the same change for all of these, so many messages a send.
pub(crate) fn encode(
    prefixes: &[Prefix],
    (table, signature): (KernelTable, Signature),
    change: &RouteChange,
    batch: usize,
) -> Datagrams {
    let datagram = |batch: &[Prefix]| {
        let mut bytes = Vec::new();
        let mut last = 0;
        for (sequence, to) in (1..).zip(batch) {
            last = bytes.len();
            let request = RouteRequest { table, signature, to: *to, change: change.clone() };
            request.encode(sequence, &mut bytes).unwrap();
        }
        frame::request_acknowledgement(&mut bytes[last..]);
        bytes
    };
    prefixes.chunks(batch).map(datagram).collect()
}

/// A socket to the kernel, in this thread's network namespace.
pub(crate) struct Raw {
    socket: Socket,
    answer: Vec<u8>,
}

impl Raw {
    pub(crate) fn open() -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        socket.set_cap_ack(true).unwrap();
        socket.set_netlink_get_strict_chk(true).unwrap();
        sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).unwrap();
        sockopt::set_socket_send_buffer_size_force(&socket, BUFFER).unwrap();
        Self { socket, answer: Vec::with_capacity(64 * 1024) }
    }

    /// Sends all of them, each when the one before has been answered; the seconds it took.
    ///
    /// # Panics
    /// The kernel refuses one.
    pub(crate) fn write(&mut self, datagrams: &[Vec<u8>]) -> f64 {
        let began = Instant::now();
        for datagram in datagrams {
            self.socket.send(datagram, 0).unwrap();
            self.receive();
            for reply in frame::frames(&self.answer).filter_map(|frame| frame.reply()) {
                assert_eq!(reply.errno, 0, "{}", reply.message);
            }
        }
        began.elapsed().as_secs_f64()
    }

    /// Makes the object with this number lead by this gateway; the seconds it took.
    pub(crate) fn set_object(&mut self, id: ObjectId, gateway: IpAddr, is_new: bool) -> f64 {
        let (family, interface) = (Family::of(gateway), WEST);
        let object = NextHopObject::Hop { family, gateway: Some(gateway), interface };
        let change =
            if is_new { ObjectChange::Add(&object) } else { ObjectChange::Replace(&object) };
        let mut message = Vec::new();
        ObjectRequest { signature: signature(83), id, change }.encode(1, &mut message).unwrap();
        frame::request_acknowledgement(&mut message);
        self.write(&[message])
    }

    /// Reads the main table's routes of this signature; how many there are, and the seconds it took.
    pub(crate) fn dump(&mut self, family: Family, signature: Signature) -> (usize, f64) {
        let began = Instant::now();
        let table = KernelTable::MAIN;
        let mut question = Vec::new();
        DumpRequest::ours(table, family, signature).encode(1, &mut question);
        self.socket.send(&question, 0).unwrap();
        let mut count = 0;
        loop {
            self.receive();
            for frame in frame::frames(&self.answer) {
                match frame.kind {
                    NLMSG_DONE => return (count, began.elapsed().as_secs_f64()),
                    libc::RTM_NEWROUTE => count += 1,
                    other => panic!("a message of the kind {other}"),
                }
            }
        }
    }

    /// Asks something about one thing; the answer, with its header.
    pub(crate) fn ask(&mut self, question: &[u8]) -> Vec<u8> {
        self.socket.send(question, 0).unwrap();
        self.receive();
        let answer = frame::frames(&self.answer).next().unwrap();
        assert_eq!(answer.reply().map(|reply| reply.errno), None);
        self.answer.clone()
    }

    fn receive(&mut self) {
        self.answer.clear();
        self.socket.recv(&mut self.answer, 0).unwrap();
    }
}

/// Whether the kernel sends packets for all of these by this gateway.
pub(crate) fn all_lead_by(raw: &mut Raw, gateway: IpAddr, prefixes: &[Prefix]) -> bool {
    prefixes.iter().all(|to| {
        let mut question = RouteMessage::default();
        (question.header.address_family, question.header.destination_prefix_length) =
            match to.family() {
                Family::Ipv4 => (AddressFamily::Inet, 32),
                Family::Ipv6 => (AddressFamily::Inet6, 128),
            };
        question.attributes.push(RouteAttribute::Destination(to.address().into()));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(question));
        message.header.flags = NLM_F_REQUEST;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let answer = NetlinkMessage::deserialize(&raw.ask(&bytes)).unwrap().payload;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = answer else {
            panic!("{to}: {answer:?}");
        };
        route.attributes.contains(&RouteAttribute::Gateway(gateway.into()))
    })
}
