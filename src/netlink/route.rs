//! Routes as rtnetlink(7) puts them.
//!
//! What a reader would get wrong: the kernel knows a route by table, prefix, type of service and metric
//! alone. Its protocol only keeps a deletion off a stranger's route; an addition is kept off by
//! `NLM_F_EXCL`, and a replacement by nothing, so it is for where our own route is. A route that refers to
//! a next-hop object says nothing else about packets, or the kernel refuses it.

use netlink_packet_core::{
    DecodeError, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope,
        RouteType, RouteVia,
    },
};

use super::{DumpQuestion, DumpedRoute, Frame, Signature};
use crate::model::{Family, Forwarding, Hop, KernelTable, Prefix, Target};

/// The most hops of one route. A hop takes up to 32 bytes (IPv4 by an IPv6 gateway), and what does not
/// fit 32 KiB the kernel would take but could not dump.
pub(super) const MOST_HOPS: usize = 1000;

/// A change to one route of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteRequest {
    /// The table it is in.
    pub table: KernelTable,
    /// What makes it ours.
    pub signature: Signature,
    /// The destination.
    pub to: Prefix,
    /// What to do.
    pub change: RouteChange,
}

/// What a request does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteChange {
    /// Add where nothing has our metric (`RTM_NEWROUTE`, `NLM_F_CREATE | NLM_F_EXCL`).
    Add(Target),
    /// Add, or replace what has our metric (`RTM_NEWROUTE`, `NLM_F_CREATE | NLM_F_REPLACE`).
    Replace(Target),
    /// Delete one route that has our metric and our protocol (`RTM_DELROUTE`).
    Delete,
}

/// A request for the routes of one family in one table: ours, those of a protocol, or everybody's.
///
/// The kernel filters by table and protocol only on a socket with `NETLINK_GET_STRICT_CHK`. It cannot
/// filter by metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DumpRequest {
    /// The table.
    pub table: KernelTable,
    /// The family.
    pub family: Family,
    /// `rtm_protocol`; `None` to read everybody's. With 0 the kernel tells of all, and only what has that is
    /// read.
    pub protocol: Option<u8>,
    /// The metric (`RTA_PRIORITY`); `None` for any.
    pub metric: Option<u32>,
}

impl DumpRequest {
    /// Asks for what is ours.
    pub fn ours(table: KernelTable, family: Family, signature: Signature) -> Self {
        let (protocol, metric) = (signature.protocol.get(), signature.metric.get());
        Self { table, family, protocol: Some(protocol), metric: Some(metric) }
    }

    /// Asks for everybody's.
    pub fn all(table: KernelTable, family: Family) -> Self {
        Self { table, family, protocol: None, metric: None }
    }
}

/// A route or a group has more next hops than fit a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{hops} next hops are more than a netlink message can hold ({most})")]
pub struct TooLong {
    /// How many there were.
    pub hops: usize,
    /// How many there may be.
    pub most: usize,
}

impl RouteRequest {
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
        let inner = match &self.change {
            RouteChange::Add(target) | RouteChange::Replace(target) => {
                match target {
                    Target::Plain(forwarding) => {
                        describe(forwarding, self.to.family(), &mut message)?;
                    }
                    Target::Object(id) => {
                        message.header.kind = RouteType::Unicast;
                        message.attributes.push(RouteAttribute::NhId(id.0.get()));
                    }
                }
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

impl DumpQuestion for DumpRequest {
    type Item = DumpedRoute;

    fn encode(&self, sequence: u32, into: &mut Vec<u8>) {
        let mut message = route_message(self.table, self.family);
        if let Some(protocol) = self.protocol {
            message.header.protocol = RouteProtocol::from(protocol);
        }
        let message = RouteNetlinkMessage::GetRoute(message);
        append(message, NLM_F_REQUEST | NLM_F_DUMP, sequence, into);
    }

    fn read(&self, message: &Frame<'_>) -> Result<Option<DumpedRoute>, DecodeError> {
        if message.kind != libc::RTM_NEWROUTE {
            return Ok(None);
        }
        Ok(DumpedRoute::decode(message.payload)?.filter(|route| {
            route.table == self.table
                && route.to.family() == self.family
                && self.protocol.is_none_or(|protocol| protocol == route.protocol)
                && self.metric.is_none_or(|metric| metric == route.metric)
        }))
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
        hops if hops.len() > MOST_HOPS => {
            return Err(TooLong { hops: hops.len(), most: MOST_HOPS });
        }
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

#[cfg(test)]
mod tests;
