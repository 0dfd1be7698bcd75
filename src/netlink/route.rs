//! Routes as rtnetlink(7) puts them.
//!
//! What a reader would get wrong: the kernel knows a route by table, prefix, type of service and metric
//! alone. Its protocol only keeps a deletion off a stranger's route; an addition is kept off by
//! `NLM_F_EXCL`, and a replacement by nothing, so it is for where our own route is.

use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage, Parseable,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
        RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
    },
};

use super::Signature;
use crate::model::{Family, Forwarding, Hop, InterfaceIndex, KernelTable, Prefix, Weight};

/// The most hops of one route. A hop takes up to 32 bytes (IPv4 by an IPv6 gateway), and what does not
/// fit 32 KiB the kernel would take but could not dump.
pub(super) const MOST_HOPS: usize = 1000;

/// A change to one route of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteRequest<'a> {
    /// The table it is in.
    pub table: KernelTable,
    /// What makes it ours.
    pub signature: Signature,
    /// The destination.
    pub to: Prefix,
    /// What to do.
    pub change: RouteChange<'a>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteChange<'a> {
    /// Add where nothing has our metric (`RTM_NEWROUTE`, `NLM_F_CREATE | NLM_F_EXCL`).
    Add(&'a Forwarding),
    /// Add, or replace what has our metric (`RTM_NEWROUTE`, `NLM_F_CREATE | NLM_F_REPLACE`).
    Replace(&'a Forwarding),
    /// Delete one route that has our metric and our protocol (`RTM_DELROUTE`).
    Delete,
}

/// A request for the routes of one family in one table that carry a protocol.
///
/// The kernel filters by table and protocol only on a socket with `NETLINK_GET_STRICT_CHK`. It cannot
/// filter by metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DumpRequest {
    /// The table.
    pub table: KernelTable,
    /// The family.
    pub family: Family,
    /// What makes a route ours.
    pub signature: Signature,
}

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
    /// What it does; `None` for what [`RouteRequest`] would never have written: another type, other
    /// attributes, or a gateway said to be on the link.
    pub forwarding: Option<Forwarding>,
}

/// A route has more hops than fit a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{hops} next hops are more than a netlink message can hold ({MOST_HOPS})")]
pub struct TooLong {
    /// How many there were.
    pub hops: usize,
}

impl RouteRequest<'_> {
    /// Appends the message, with this sequence number and without asking for an acknowledgement.
    ///
    /// # Errors
    /// More hops than an attribute can hold; nothing is appended.
    pub fn encode(&self, sequence: u32, into: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut message = route_message(self.table, self.to.family());
        message.header.destination_prefix_length = self.to.length();
        message.header.protocol = RouteProtocol::from(self.signature.protocol.get());
        if self.to.length() > 0 {
            message.attributes.push(RouteAttribute::Destination(self.to.address().into()));
        }
        let flags = match self.change {
            RouteChange::Add(_) => NLM_F_CREATE | NLM_F_EXCL,
            RouteChange::Replace(_) => NLM_F_CREATE | NLM_F_REPLACE,
            RouteChange::Delete => 0,
        };
        let inner = match self.change {
            RouteChange::Add(forwarding) | RouteChange::Replace(forwarding) => {
                describe(forwarding, self.to.family(), &mut message)?;
                RouteNetlinkMessage::NewRoute
            }
            RouteChange::Delete => {
                message.header.scope = RouteScope::NoWhere; // any
                RouteNetlinkMessage::DelRoute
            }
        };
        message.attributes.push(RouteAttribute::Priority(self.signature.metric.get()));
        append(inner(message), NLM_F_REQUEST | flags, sequence, into);
        Ok(())
    }
}

impl DumpRequest {
    /// Appends the message, with this sequence number.
    pub fn encode(&self, sequence: u32, into: &mut Vec<u8>) {
        let mut message = route_message(self.table, self.family);
        message.header.protocol = RouteProtocol::from(self.signature.protocol.get());
        let message = RouteNetlinkMessage::GetRoute(message);
        append(message, NLM_F_REQUEST | NLM_F_DUMP, sequence, into);
    }

    /// Whether a route that the kernel answered with is one that was asked for.
    pub fn matches(&self, route: &DumpedRoute) -> bool {
        route.table == self.table
            && route.to.family() == self.family
            && route.protocol == self.signature.protocol.get()
            && route.metric == self.signature.metric.get()
    }
}

impl DumpedRoute {
    /// Reads the payload of an `RTM_NEWROUTE`. `None` for a route that no request here can name: of
    /// another family, for one type of service or some sources only, or a mere cache of another.
    ///
    /// # Errors
    /// Bytes that are not a route.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let message = RouteMessage::parse(payload)?;
        let header = &message.header;
        let family = match header.address_family {
            AddressFamily::Inet => Family::Ipv4,
            AddressFamily::Inet6 => Family::Ipv6,
            _ => return Ok(None),
        };
        if header.tos != 0
            || header.source_prefix_length != 0
            || header.flags.contains(RouteFlags::Cloned)
        {
            return Ok(None);
        }
        let mut to = None;
        let mut table = KernelTable(header.table.into());
        let mut metric = 0;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => to = ip_address(address),
                RouteAttribute::Table(number) => table = KernelTable(*number),
                RouteAttribute::Priority(priority) => metric = *priority,
                _ => {}
            }
        }
        let to = to.unwrap_or_else(|| Prefix::default_route(family).address());
        let to = Prefix::new(to, header.destination_prefix_length)
            .map_err(|error| DecodeError::from(error.message))?;
        let protocol = u8::from(header.protocol);
        let forwarding = understand(&message);
        Ok(Some(Self { to, table, protocol, metric, forwarding }))
    }
}

/// A route message of this table and family, and nothing else yet.
fn route_message(table: KernelTable, family: Family) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    };
    match u8::try_from(table.0) {
        Ok(table) => message.header.table = table,
        Err(_) => {
            message.header.table = RouteHeader::RT_TABLE_UNSPEC;
            message.attributes.push(RouteAttribute::Table(table.0));
        }
    }
    message
}

/// Says in a message how packets are to be treated.
fn describe(
    forwarding: &Forwarding,
    family: Family,
    message: &mut RouteMessage,
) -> Result<(), TooLong> {
    let (kind, hops): (_, &[Hop]) = match forwarding {
        Forwarding::Unicast(hops) => (RouteType::Unicast, hops),
        Forwarding::Blackhole => (RouteType::BlackHole, &[]),
        Forwarding::Unreachable => (RouteType::Unreachable, &[]),
        Forwarding::Prohibit => (RouteType::Prohibit, &[]),
    };
    message.header.kind = kind;
    // IPv4 refuses a gateway in link scope, and wants that scope for what is on the link. IPv6 has no scopes.
    let on_link = !hops.is_empty() && hops.iter().all(|hop| hop.gateway.is_none());
    if on_link && family == Family::Ipv4 {
        message.header.scope = RouteScope::Link;
    }
    match hops {
        [] => {}
        [hop] => {
            message.attributes.extend(gateway(hop, family));
            message.attributes.push(RouteAttribute::Oif(hop.interface.0));
        }
        hops if hops.len() > MOST_HOPS => return Err(TooLong { hops: hops.len() }),
        hops => {
            let hops = hops.iter().map(|hop| {
                let mut leg = RouteNextHop::default();
                leg.interface_index = hop.interface.0;
                leg.hops = u8::try_from(hop.weight.get().saturating_sub(1)).unwrap_or(u8::MAX);
                leg.attributes.extend(gateway(hop, family));
                leg
            });
            message.attributes.push(RouteAttribute::MultiPath(hops.collect()));
        }
    }
    Ok(())
}

/// A hop's gateway. One of the other family has an attribute of its own.
fn gateway(hop: &Hop, family: Family) -> Option<RouteAttribute> {
    hop.gateway.map(|gateway| {
        if Family::of(gateway) == family {
            RouteAttribute::Gateway(gateway.into())
        } else {
            RouteAttribute::Via(RouteVia::from(gateway))
        }
    })
}

/// Appends a message to a datagram.
fn append(message: RouteNetlinkMessage, flags: u16, sequence: u32, into: &mut Vec<u8>) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let begin = into.len();
    into.resize(begin + message.buffer_len().next_multiple_of(4), 0);
    if let Some(room) = into.get_mut(begin..begin + message.buffer_len()) {
        message.serialize(room);
    }
}

/// What a route does, if it is one that [`describe`] could have written.
fn understand(message: &RouteMessage) -> Option<Forwarding> {
    if message.header.flags.contains(RouteFlags::Onlink) {
        return None;
    }
    let mut single = RouteNextHop::default();
    let mut several = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(_)
            | RouteAttribute::Table(_)
            | RouteAttribute::Priority(_)
            // The kernel's own remarks.
            | RouteAttribute::CacheInfo(_)
            | RouteAttribute::Preference(_) => {}
            RouteAttribute::Oif(index) => single.interface_index = *index,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => {
                single.attributes.push(attribute.clone());
            }
            RouteAttribute::MultiPath(legs) => several = Some(legs),
            _ => return None,
        }
    }
    match message.header.kind {
        RouteType::Unicast => {}
        // IPv6 shows the loopback device as where such a route leads.
        RouteType::BlackHole => return Some(Forwarding::Blackhole),
        RouteType::Unreachable => return Some(Forwarding::Unreachable),
        RouteType::Prohibit => return Some(Forwarding::Prohibit),
        _ => return None,
    }
    let hops: Option<Box<[Hop]>> = match several {
        Some(legs) => legs.iter().map(hop).collect(),
        None => hop(&single).map(|hop| [hop].into()),
    };
    hops.filter(|hops| !hops.is_empty()).map(Forwarding::Unicast)
}

/// One hop of a route, if it is one that [`describe`] could have written.
///
/// That its link is down, or that it is dead, is the kernel's remark and no part of it.
fn hop(leg: &RouteNextHop) -> Option<Hop> {
    if leg.interface_index == 0 || leg.flags.contains(RouteNextHopFlags::Onlink) {
        return None;
    }
    let mut gateway = None;
    for attribute in &leg.attributes {
        gateway = Some(match attribute {
            RouteAttribute::Gateway(address) => ip_address(address)?,
            RouteAttribute::Via(RouteVia::Inet(address)) => IpAddr::V4(*address),
            RouteAttribute::Via(RouteVia::Inet6(address)) => IpAddr::V6(*address),
            _ => return None,
        });
    }
    Some(Hop {
        gateway,
        interface: InterfaceIndex(leg.interface_index),
        weight: Weight::new(u32::from(leg.hops) + 1).ok()?,
    })
}

/// The address, unless it is a label.
fn ip_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
