//! A socket that asks the kernel for one thing after the other, and tells what it said.

use std::num::NonZeroU32;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtmd::{
    kernel::PortId,
    model::{Family, KernelTable, Member, NextHopObject, ObjectId, Target, Weight},
    netlink::{ObjectChange, ObjectRequest, RouteChange, RouteRequest, Signature, frame, frames},
};

use crate::world::forwarding;

/// What the kernel said to a refused request: the error number and its words.
pub(crate) type Refusal = (i32, String);

pub(crate) struct Desk(Socket);

impl Desk {
    pub(crate) fn open() -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        socket.set_ext_ack(true).unwrap();
        socket.set_cap_ack(true).unwrap();
        Self(socket)
    }

    pub(crate) fn port(&self) -> PortId {
        let mut address = SocketAddr::new(0, 0);
        self.0.get_address(&mut address).unwrap();
        PortId(address.port_number())
    }

    pub(crate) fn add(&self, id: u32, object: &str) -> Result<(), Refusal> {
        self.object(id, ObjectChange::Add(&read_object(object)))
    }

    pub(crate) fn replace(&self, id: u32, object: &str) -> Result<(), Refusal> {
        self.object(id, ObjectChange::Replace(&read_object(object)))
    }

    pub(crate) fn delete(&self, id: u32) -> Result<(), Refusal> {
        self.object(id, ObjectChange::Delete)
    }

    pub(crate) fn add_route(&self, to: &str, target: &str) -> Result<(), Refusal> {
        self.route(to, RouteChange::Add(read_target(target)))
    }

    pub(crate) fn replace_route(&self, to: &str, target: &str) -> Result<(), Refusal> {
        self.route(to, RouteChange::Replace(read_target(target)))
    }

    pub(crate) fn delete_route(&self, to: &str) -> Result<(), Refusal> {
        self.route(to, RouteChange::Delete)
    }

    fn object(&self, number: u32, change: ObjectChange<'_>) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        let signature = Signature::default();
        ObjectRequest { signature, id: id(number), change }.encode(7, &mut bytes).unwrap();
        self.ask(bytes)
    }

    /// In the main table.
    fn route(&self, to: &str, change: RouteChange) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        let (table, signature) = (KernelTable::MAIN, Signature::default());
        let request = RouteRequest { table, signature, to: to.parse().unwrap(), change };
        request.encode(7, &mut bytes).unwrap();
        self.ask(bytes)
    }

    fn ask(&self, mut bytes: Vec<u8>) -> Result<(), Refusal> {
        frame::request_acknowledgement(&mut bytes);
        self.0.send(&bytes, 0).unwrap();
        let (answer, _) = self.0.recv_from_full().unwrap();
        let reply = frames(&answer).next().unwrap().reply().unwrap();
        if reply.errno == 0 { Ok(()) } else { Err((reply.errno, reply.message)) }
    }
}

pub(crate) fn id(number: u32) -> ObjectId {
    ObjectId(NonZeroU32::new(number).unwrap())
}

/// Reads `via ADDRESS dev LINK`, `inet6 dev LINK`, or `group ID,WEIGHT/ID,WEIGHT` with `buckets N` behind
/// it for a resilient one.
pub(crate) fn read_object(text: &str) -> NextHopObject {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["group", members, buckets @ ..] => {
            let member = |text: &str| {
                let (number, weight) = text.split_once(',').unwrap();
                let weight = Weight::new(weight.parse().unwrap()).unwrap();
                Member { object: id(number.parse().unwrap()), weight }
            };
            let members = members.split('/').map(member).collect();
            NextHopObject::Group { members, buckets: buckets.last().map(|n| n.parse().unwrap()) }
        }
        _ => {
            let (family, text) = match text.strip_prefix("inet6 ") {
                Some(text) => (Family::Ipv6, text),
                None => (Family::Ipv4, text),
            };
            let rtmd::model::Forwarding::Unicast(hops) = forwarding(text) else { panic!("{text}") };
            let (gateway, interface) = (hops[0].gateway, hops[0].interface);
            let family = gateway.map_or(family, Family::of);
            NextHopObject::Hop { family, gateway, interface }
        }
    }
}

/// Reads `nhid ID` or what [`forwarding`] does.
fn read_target(text: &str) -> Target {
    match text.strip_prefix("nhid ") {
        Some(number) => Target::Object(id(number.parse().unwrap())),
        None => forwarding(text).into(),
    }
}
