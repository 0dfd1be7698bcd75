//! Next-hop objects as rtnetlink puts them: what `ip nexthop` speaks (see ip-nexthop(8)).
//!
//! What a reader would get wrong: an object is known by its number alone. No protocol keeps a deletion or
//! a replacement off a stranger's object, so both are for where our own is; and the kernel deletes the
//! routes that refer to an object with it.

use std::{
    net::IpAddr,
    num::{NonZeroU8, NonZeroU16, NonZeroU32},
};

use netlink_packet_core::{
    DecodeError, NLA_F_NESTED, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NlasIterator, parse_ip, parse_u16, parse_u32,
};

use super::{
    DumpQuestion, Frame, Signature,
    frame::{self, array_at},
    route::{MOST_HOPS, TooLong},
};
use crate::model::{Family, InterfaceIndex, Member, NextHopObject, ObjectId, Weight};

/// `RTM_NEWNEXTHOP`: an object to create, or one that the kernel tells of.
pub const NEW_OBJECT: u16 = 104;
/// `RTM_DELNEXTHOP`: an object to delete, or one that is gone.
pub const DELETE_OBJECT: u16 = 105;
/// `RTM_GETNEXTHOP`, since Linux 5.3.
pub const GET_OBJECT: u16 = 106;
/// `RTM_GETNEXTHOPBUCKET`, since Linux 5.13 as resilient groups are.
pub const GET_BUCKET: u16 = 118;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `sizeof(struct nhmsg)`.
const HEADER_LENGTH: usize = 8;

/// `RTNH_F_ONLINK` in `nh_flags`; the others are the kernel's remarks.
const ON_LINK: u32 = 4;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_RES_GROUP: u16 = 12;
const NHA_OP_FLAGS: u16 = 14;

const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NHA_RES_GROUP_UNBALANCED_TIMER: u16 = 3;
const NHA_RES_GROUP_UNBALANCED_TIME: u16 = 4;

/// `NEXTHOP_GRP_TYPE_MPATH`.
const HASH_THRESHOLD: u16 = 0;
/// `NEXTHOP_GRP_TYPE_RES`.
const RESILIENT: u16 = 1;

/// The most members of a group: as many as a route has hops, and one that waits for their loss. A route
/// is dumped with all members of its group.
const MOST_MEMBERS: usize = MOST_HOPS + 1;

/// A change to one object of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObjectRequest<'a> {
    /// What makes it ours; an object has no metric.
    pub signature: Signature,
    /// Which one.
    pub id: ObjectId,
    /// What to do.
    pub change: ObjectChange<'a>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObjectChange<'a> {
    /// Create where nothing has the number (`NLM_F_CREATE | NLM_F_EXCL`).
    Add(&'a NextHopObject),
    /// Replace what has the number (`NLM_F_REPLACE`), refused (`ENOENT`) where nothing has: the routes
    /// that refer to it change at once. A hop cannot become a group, nor a group another kind of group or have
    /// another number of buckets.
    Replace(&'a NextHopObject),
    /// Delete, with all routes that refer to it; a group loses it as a member.
    Delete,
}

/// A request for next-hop objects. The kernel cannot filter them by protocol, so it tells of everybody's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObjectDumpRequest {
    /// What makes an object one of those asked for; `None` asks for all.
    pub signature: Option<Signature>,
}

/// An object that the kernel told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DumpedObject {
    /// Its number.
    pub id: ObjectId,
    /// Who made it (`nh_protocol`).
    pub protocol: u8,
    /// What it says; `None` for what [`ObjectRequest`] would never have written: a blackhole, one for
    /// bridges (`fdb`), one with an encapsulation or an idle timer, a gateway said to be on the link.
    pub content: Option<NextHopObject>,
}

impl ObjectRequest<'_> {
    /// Appends the message, with this sequence number and without asking for an acknowledgement.
    ///
    /// # Errors
    /// More members than the kernel could show with a route; nothing is appended.
    pub fn encode(&self, sequence: u32, into: &mut Vec<u8>) -> Result<(), TooLong> {
        let (kind, flags, object) = match self.change {
            ObjectChange::Add(object) => (NEW_OBJECT, NLM_F_CREATE | NLM_F_EXCL, Some(object)),
            ObjectChange::Replace(object) => (NEW_OBJECT, NLM_F_REPLACE, Some(object)),
            ObjectChange::Delete => (DELETE_OBJECT, 0, None),
        };
        let body = body(self.id, self.signature.protocol, object)?;
        frame::append(kind, NLM_F_REQUEST | flags, sequence, &body, into);
        Ok(())
    }
}

impl DumpQuestion for ObjectDumpRequest {
    type Item = DumpedObject;

    fn encode(&self, sequence: u32, into: &mut Vec<u8>) {
        let all = header(AF_UNSPEC, 0); // a protocol is refused
        frame::append(GET_OBJECT, NLM_F_REQUEST | NLM_F_DUMP, sequence, &all, into);
    }

    fn read(&self, message: &Frame<'_>) -> Result<Option<DumpedObject>, DecodeError> {
        if message.kind != NEW_OBJECT {
            return Ok(None);
        }
        let ours = self.signature.map(|signature| signature.protocol.get());
        let is_asked_for = |object: &DumpedObject| ours.is_none_or(|ours| object.protocol == ours);
        Ok(Some(DumpedObject::decode(message.payload)?).filter(is_asked_for))
    }
}

impl DumpedObject {
    /// Reads the payload of an `RTM_NEWNEXTHOP` or `RTM_DELNEXTHOP`.
    ///
    /// # Errors
    /// Bytes that are not a next-hop object.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let [family, _scope, protocol, _] =
            array_at(payload, 0).ok_or("a next-hop object without a header")?;
        let flags = array_at(payload, 4).ok_or("a next-hop object without flags")?;
        let mut found = Found::default();
        for attribute in NlasIterator::new(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
            let attribute = attribute?;
            found.take_in(attribute.kind(), attribute.value())?;
        }
        let id = found.id.ok_or("a next-hop object without a number")?;
        let usual = !found.unusual && u32::from_ne_bytes(flags) & ON_LINK == 0;
        let content = usual.then(|| found.content(family)).flatten();
        Ok(Self { id, protocol, content })
    }
}

/// The attributes of an object.
#[derive(Debug, Default)]
struct Found {
    id: Option<ObjectId>,
    interface: u32,
    gateway: Option<IpAddr>,
    group_type: u16,
    /// Ids with the two bytes of their weights.
    members: Vec<(u32, [u8; 2])>,
    buckets: u16,
    /// Whether there is something that is never written here.
    unusual: bool,
}

impl Found {
    fn take_in(&mut self, kind: u16, value: &[u8]) -> Result<(), DecodeError> {
        match kind {
            NHA_ID => self.id = NonZeroU32::new(parse_u32(value)?).map(ObjectId),
            NHA_OIF => self.interface = parse_u32(value)?,
            NHA_GATEWAY => self.gateway = Some(parse_ip(value)?),
            NHA_GROUP_TYPE => self.group_type = parse_u16(value)?,
            NHA_GROUP => {
                let (members, rest) = value.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err("a group with a part of a member".into());
                }
                let member = |[a, b, c, d, weight, high, ..]: &[u8; 8]| {
                    (u32::from_ne_bytes([*a, *b, *c, *d]), [*weight, *high])
                };
                self.members = members.iter().map(member).collect();
            }
            NHA_RES_GROUP => {
                for attribute in NlasIterator::new(value) {
                    let attribute = attribute?;
                    let value = attribute.value();
                    match attribute.kind() {
                        NHA_RES_GROUP_BUCKETS => self.buckets = parse_u16(value)?,
                        NHA_RES_GROUP_IDLE_TIMER | NHA_RES_GROUP_UNBALANCED_TIMER => {
                            self.unusual |= parse_u32(value)? != 0;
                        }
                        NHA_RES_GROUP_UNBALANCED_TIME => {}
                        _ => self.unusual = true,
                    }
                }
            }
            // What this kernel understands of the group, as an answer to a flag of a request.
            NHA_OP_FLAGS => {}
            _ => self.unusual = true,
        }
        Ok(())
    }

    fn content(&self, family: u8) -> Option<NextHopObject> {
        let family = match family {
            AF_UNSPEC => return self.group(),
            AF_INET => Family::Ipv4,
            AF_INET6 => Family::Ipv6,
            _ => return None,
        };
        if self.interface == 0 || self.gateway.is_some_and(|via| Family::of(via) != family) {
            return None;
        }
        let interface = InterfaceIndex(self.interface);
        Some(NextHopObject::Hop { family, gateway: self.gateway, interface })
    }

    fn group(&self) -> Option<NextHopObject> {
        let buckets = match self.group_type {
            HASH_THRESHOLD => None,
            RESILIENT => Some(NonZeroU16::new(self.buckets)?),
            _ => return None,
        };
        let member = |(id, weight): &(u32, [u8; 2])| {
            let weight = u32::from(u16::from_le_bytes(*weight)) + 1;
            let object = ObjectId(NonZeroU32::new(*id)?);
            Some(Member { object, weight: Weight::new(weight).ok()? })
        };
        let members: Box<[Member]> = self.members.iter().map(member).collect::<Option<_>>()?;
        (!members.is_empty()).then_some(NextHopObject::Group { members, buckets })
    }
}

/// Appends a question of this kind that says nothing about which object. It is always refused: with
/// `EOPNOTSUPP` by a kernel that does not know the kind.
pub fn encode_incomplete(kind: u16, into: &mut Vec<u8>) {
    frame::append(kind, NLM_F_REQUEST, 1, &header(AF_UNSPEC, 0), into);
}

/// What follows the message's header.
fn body(
    id: ObjectId,
    protocol: NonZeroU8,
    object: Option<&NextHopObject>,
) -> Result<Vec<u8>, TooLong> {
    let family = match object {
        None | Some(NextHopObject::Group { .. }) => AF_UNSPEC,
        Some(NextHopObject::Hop { family, gateway, .. }) => {
            match gateway.map_or(*family, Family::of) {
                Family::Ipv4 => AF_INET,
                Family::Ipv6 => AF_INET6,
            }
        }
    };
    // A deletion with a protocol is refused.
    let mut body = header(family, object.map_or(0, |_| protocol.get()));
    attribute(&mut body, NHA_ID, &id.0.get().to_ne_bytes());
    match object {
        None => {}
        Some(NextHopObject::Hop { gateway, interface, .. }) => {
            match gateway {
                None => {}
                Some(IpAddr::V4(via)) => attribute(&mut body, NHA_GATEWAY, &via.octets()),
                Some(IpAddr::V6(via)) => attribute(&mut body, NHA_GATEWAY, &via.octets()),
            }
            attribute(&mut body, NHA_OIF, &interface.0.to_ne_bytes());
        }
        Some(NextHopObject::Group { members, .. }) if members.len() > MOST_MEMBERS => {
            return Err(TooLong { hops: members.len(), most: MOST_MEMBERS });
        }
        Some(NextHopObject::Group { members, buckets }) => {
            let mut group = Vec::with_capacity(8 * members.len());
            for member in members {
                group.extend(member.object.0.get().to_ne_bytes());
                group.extend(member.weight.get().saturating_sub(1).to_le_bytes());
                group.extend([0; 2]);
            }
            attribute(&mut body, NHA_GROUP, &group);
            if let Some(buckets) = buckets {
                let mut resilient = Vec::new();
                attribute(&mut resilient, NHA_RES_GROUP_BUCKETS, &buckets.get().to_ne_bytes());
                // Those left out of a replacement would stay.
                attribute(&mut resilient, NHA_RES_GROUP_IDLE_TIMER, &[0; 4]);
                attribute(&mut resilient, NHA_RES_GROUP_UNBALANCED_TIMER, &[0; 4]);
                attribute(&mut body, NHA_RES_GROUP | NLA_F_NESTED, &resilient);
                attribute(&mut body, NHA_GROUP_TYPE, &RESILIENT.to_ne_bytes());
            }
        }
    }
    Ok(body)
}

/// A `struct nhmsg`.
fn header(family: u8, protocol: u8) -> Vec<u8> {
    vec![family, 0, protocol, 0, 0, 0, 0, 0]
}

/// Appends an attribute; its value is shorter than 64 KiB.
fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests;
