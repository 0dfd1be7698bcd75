//! Routes as the kernel tells of them: anybody's, and as far as they can be read.
//!
//! What a reader would get wrong: where packets go now ([`DumpedRoute::legs`]) is not what the route says
//! ([`DumpedRoute::target`]). A route that refers to a next-hop object is shown with what the object says
//! at the moment, and a leg whose link is down is still part of its route.

use std::{net::IpAddr, num::NonZeroU32};

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator, parse_ip, parse_u32};

use super::frame::array_at;
use crate::model::{
    Family, Forwarding, Hop, InterfaceIndex, KernelTable, ObjectId, Prefix, Target, Weight,
};

/// `sizeof(struct rtmsg)`.
const HEADER_LENGTH: usize = 12;

/// `sizeof(struct rtnexthop)`.
const LEG_HEADER_LENGTH: usize = 8;

const RTNH_F_DEAD: u8 = 1;
const RTNH_F_ONLINK: u8 = 4;
const RTNH_F_LINKDOWN: u8 = 16;
const RTM_F_CLONED: u32 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_PREF: u16 = 20;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;

/// `rtvia_addr` in `struct rtvia`.
const VIA_ADDRESS_OFFSET: usize = 2;

/// `rta_expires` in `struct rta_cacheinfo`.
const EXPIRES_OFFSET: usize = 8;

/// `ICMPV6_ROUTER_PREF_MEDIUM`.
const MEDIUM: &[u8] = &[0];

/// A route that the kernel told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DumpedRoute {
    /// The destination.
    pub to: Prefix,
    /// The table it is in.
    pub table: KernelTable,
    /// `rtm_protocol`.
    pub protocol: u8,
    /// `RTA_PRIORITY`; 0 where the kernel gave none.
    pub metric: u32,
    /// What becomes of packets.
    pub kind: RouteKind,
    /// The next-hop object that it refers to (`RTA_NH_ID`).
    pub object: Option<ObjectId>,
    /// The ways out at the moment, those that could be read. For one that does not lead anywhere
    /// IPv6 shows the loopback device.
    pub legs: Box<[Leg]>,
    /// Whether it says more than [`RouteRequest`](super::RouteRequest) ever says, for example a source
    /// address, an encapsulation, an end of its life, or that a gateway is on the link.
    pub unusual: bool,
}

/// What becomes of the packets of a route: `rtm_type`, see rtnetlink(7).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RouteKind {
    /// They are sent by its legs.
    Unicast,
    /// They are for this machine.
    Local,
    /// They are for everybody on the link.
    Broadcast,
    /// They are for this machine among others.
    Anycast,
    /// They are for a group.
    Multicast,
    /// They are dropped without a word.
    Blackhole,
    /// They are dropped, and the sender is told that the host is unreachable.
    Unreachable,
    /// They are dropped, and the sender is told that it is prohibited.
    Prohibit,
    /// They are looked up in the next table.
    Throw,
    /// Something else, by its number.
    Other(u8),
}

/// One way out of a route.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Leg {
    /// Where to.
    pub hop: Hop,
    /// Whether packets go there.
    pub state: LegState,
}

/// Whether packets go by a leg.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LegState {
    /// They do.
    Alive,
    /// The carrier is lost (`RTNH_F_LINKDOWN`). They do all the same, unless the interface has
    /// `ignore_routes_with_linkdown`.
    LinkDown,
    /// They do not (`RTNH_F_DEAD`): its interface is down.
    Dead,
}

impl DumpedRoute {
    /// Reads the payload of an `RTM_NEWROUTE` or `RTM_DELROUTE`. `None` for a route that no request
    /// here can name: of another family, for one type of service or some sources only, or a mere
    /// cache of another.
    ///
    /// # Errors
    /// Bytes that are not a route.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let [family, length, source_length, tos, table, protocol, _scope, kind] =
            array_at(payload, 0).ok_or("a route without a header")?;
        let flags = u32::from_ne_bytes(array_at(payload, 8).ok_or("a route without flags")?);
        let family = match i32::from(family) {
            libc::AF_INET => Family::Ipv4,
            libc::AF_INET6 => Family::Ipv6,
            _ => return Ok(None),
        };
        if tos != 0 || source_length != 0 || flags & RTM_F_CLONED != 0 {
            return Ok(None);
        }
        let mut found = Found::default();
        for attribute in NlasIterator::new(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
            found.take_in(&attribute?)?;
        }
        let to = found.to.unwrap_or_else(|| Prefix::default_route(family).address());
        if Family::of(to) != family {
            return Err("a route to the other family".into());
        }
        let to = Prefix::new(to, length).map_err(|error| DecodeError::from(error.message))?;
        let [state, ..] = flags.to_le_bytes();
        let single = || leg(found.gateway, found.interface, 0, state).into_iter().collect();
        let legs = found.legs.unwrap_or_else(single);
        let unusual = found.unusual
            // An object's legs are its own affair.
            || found.object.is_none() && (found.unusual_legs || state & RTNH_F_ONLINK != 0);
        Ok(Some(Self {
            to,
            table: found.table.unwrap_or_else(|| KernelTable(table.into())),
            protocol,
            metric: found.metric,
            kind: RouteKind::from(kind),
            object: found.object,
            legs: legs.into(),
            unusual,
        }))
    }

    /// What it says; `None` for what [`RouteRequest`](super::RouteRequest) would never have written.
    pub fn target(&self) -> Option<Target> {
        let forwarding = match (self.kind, self.object) {
            _ if self.unusual => return None,
            // It takes its kind from the object.
            (RouteKind::Unicast | RouteKind::Blackhole, Some(object)) => {
                return Some(Target::Object(object));
            }
            (_, Some(_)) => return None,
            (RouteKind::Unicast, None) if !self.legs.is_empty() => {
                Forwarding::Unicast(self.legs.iter().map(|leg| leg.hop).collect())
            }
            (RouteKind::Blackhole, None) => Forwarding::Blackhole,
            (RouteKind::Unreachable, None) => Forwarding::Unreachable,
            (RouteKind::Prohibit, None) => Forwarding::Prohibit,
            _ => return None,
        };
        Some(forwarding.into())
    }
}

impl From<u8> for RouteKind {
    fn from(number: u8) -> Self {
        match number {
            libc::RTN_UNICAST => Self::Unicast,
            libc::RTN_LOCAL => Self::Local,
            libc::RTN_BROADCAST => Self::Broadcast,
            libc::RTN_ANYCAST => Self::Anycast,
            libc::RTN_MULTICAST => Self::Multicast,
            libc::RTN_BLACKHOLE => Self::Blackhole,
            libc::RTN_UNREACHABLE => Self::Unreachable,
            libc::RTN_PROHIBIT => Self::Prohibit,
            libc::RTN_THROW => Self::Throw,
            other => Self::Other(other),
        }
    }
}

/// The attributes of a route.
#[derive(Debug, Default)]
struct Found {
    to: Option<IpAddr>,
    table: Option<KernelTable>,
    metric: u32,
    object: Option<ObjectId>,
    /// Of a route with one leg.
    gateway: Option<IpAddr>,
    /// Likewise.
    interface: u32,
    /// Of a route with several, or that refers to a group.
    legs: Option<Vec<Leg>>,
    unusual: bool,
    unusual_legs: bool,
}

impl Found {
    fn take_in(&mut self, attribute: &NlaBuffer<&[u8]>) -> Result<(), DecodeError> {
        let value = attribute.value();
        match attribute.kind() {
            RTA_DST => self.to = Some(parse_ip(value)?),
            RTA_TABLE => self.table = Some(KernelTable(parse_u32(value)?)),
            RTA_PRIORITY => self.metric = parse_u32(value)?,
            RTA_NH_ID => self.object = NonZeroU32::new(parse_u32(value)?).map(ObjectId),
            RTA_OIF => self.interface = parse_u32(value)?,
            RTA_GATEWAY | RTA_VIA => self.gateway = self.read_gateway(attribute)?,
            RTA_MULTIPATH => self.legs = Some(self.read_legs(value)?),
            RTA_ENCAP | RTA_ENCAP_TYPE => self.unusual_legs = true,
            // IPv6 tells these of every route.
            RTA_CACHEINFO => {
                self.unusual |= array_at(value, EXPIRES_OFFSET).is_some_and(|time| time != [0; 4]);
            }
            RTA_PREF => self.unusual |= value != MEDIUM,
            _ => self.unusual = true,
        }
        Ok(())
    }

    fn read_legs(&mut self, mut rest: &[u8]) -> Result<Vec<Leg>, DecodeError> {
        let mut legs = Vec::new();
        while !rest.is_empty() {
            let [low, high, flags, hops, a, b, c, d] =
                array_at(rest, 0).ok_or("a leg without a header")?;
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let attributes =
                rest.get(LEG_HEADER_LENGTH..length).ok_or("a leg of a false length")?;
            let mut gateway = None;
            for attribute in NlasIterator::new(attributes) {
                let attribute = attribute?;
                match attribute.kind() {
                    RTA_GATEWAY | RTA_VIA => gateway = self.read_gateway(&attribute)?,
                    _ => self.unusual_legs = true,
                }
            }
            let leg = leg(gateway, u32::from_ne_bytes([a, b, c, d]), hops, flags);
            self.unusual_legs |= leg.is_none() || flags & RTNH_F_ONLINK != 0;
            legs.extend(leg);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(legs)
    }

    /// A gateway of the route's own family, or one of any family.
    fn read_gateway(
        &mut self,
        attribute: &NlaBuffer<&[u8]>,
    ) -> Result<Option<IpAddr>, DecodeError> {
        if attribute.kind() == RTA_GATEWAY {
            return parse_ip(attribute.value()).map(Some);
        }
        let address = attribute.value().get(VIA_ADDRESS_OFFSET..).unwrap_or_default();
        let gateway = parse_ip(address).ok(); // not of a link layer
        self.unusual_legs |= gateway.is_none();
        Ok(gateway)
    }
}

/// A leg from the fields of a `struct rtnexthop`; `None` without an interface.
fn leg(gateway: Option<IpAddr>, interface: u32, hops: u8, flags: u8) -> Option<Leg> {
    let state = match flags {
        flags if flags & RTNH_F_DEAD != 0 => LegState::Dead,
        flags if flags & RTNH_F_LINKDOWN != 0 => LegState::LinkDown,
        _ => LegState::Alive,
    };
    let weight = Weight::new(u32::from(hops) + 1).ok()?;
    let hop = Hop { gateway, interface: InterfaceIndex(interface), weight };
    (interface != 0).then_some(Leg { hop, state })
}

#[cfg(test)]
mod tests;
