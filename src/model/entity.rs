//! Entities: registered clients, and the table each works in.

use serde::{Deserialize, Serialize};

use std::fmt;

use super::{
    error::{Error, ErrorKind},
    prefix::Family,
};

/// An independent routing world; 0 is the default one.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct InstanceId(pub u16);

/// All destinations of one family in one instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct TableId {
    /// The instance.
    pub instance: InstanceId,
    /// The family.
    pub family: Family,
}

/// Names a registration, for ever: ids are never used again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EntityId(pub u64);

/// A protocol's number, as `PROTOCOL_ID` composes it: type (2 bits), vendor (14), protocol (16).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Protocol(pub u32);

/// What tells entities apart: no two with the same key are registered at a time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EntityKey {
    /// The table it works in.
    pub table: TableId,
    /// Its protocol.
    pub protocol: Protocol,
    /// Which of several of that protocol, as the client likes.
    pub protocol_instance: u32,
}

/// Whether a registration is in use.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum EntityState {
    /// Its client is there.
    Active,
    /// Its client is gone, and its routes stay for a while.
    Lingering,
    /// It is the service's own.
    Builtin,
}

/// Who calls: what the bus says, never what the client says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Caller {
    /// The connection's unique name.
    pub bus_name: String,
    /// The connection's user.
    pub uid: u32,
}

impl TableId {
    /// The table of `family` in instance `instance`.
    ///
    /// # Errors
    /// `FileNotFound` for an instance number that cannot exist (RTMv2 has 16 bits for it).
    pub fn new(instance: u32, family: Family) -> Result<Self, Error> {
        let instance = u16::try_from(instance).map_err(|_| {
            ErrorKind::FileNotFound.because(format_args!("instance {instance} is not configured"))
        })?;
        Ok(Self { instance: InstanceId(instance), family })
    }
}

impl Protocol {
    /// None of the others.
    pub const OTHER: Self = Self(1);
    /// Interface routes.
    pub const LOCAL: Self = Self(2);
    /// Management: DHCP, a route API.
    pub const NETMGMT: Self = Self(3);
    /// ICMP redirects.
    pub const ICMP: Self = Self(4);
    /// RIP.
    pub const RIP: Self = Self(8);
    /// IS-IS.
    pub const IS_IS: Self = Self(9);
    /// OSPF.
    pub const OSPF: Self = Self(13);
    /// BGP.
    pub const BGP: Self = Self(14);
    /// Routes learnt once, then static.
    pub const AUTOSTATIC: Self = Self(10002);
    /// Configured static routes.
    pub const STATIC: Self = Self(10006);
    /// Static routes that do not trigger dial on demand.
    pub const STATIC_NON_DOD: Self = Self(10007);

    const NAMES: [(Self, &'static str); 13] = [
        (Self::OTHER, "other"),
        (Self::LOCAL, "local"),
        (Self::NETMGMT, "netmgmt"),
        (Self::ICMP, "icmp"),
        (Self(5), "egp"),
        (Self::RIP, "rip"),
        (Self::IS_IS, "isis"),
        (Self::OSPF, "ospf"),
        (Self::BGP, "bgp"),
        (Self(112), "vrrp"),
        (Self::AUTOSTATIC, "autostatic"),
        (Self::STATIC, "static"),
        (Self::STATIC_NON_DOD, "static-non-dod"),
    ];

    /// The number of a protocol of this type (2 bits), vendor (14) and protocol (16), as
    /// `PROTOCOL_ID` composes it; what does not fit is cut off.
    pub fn compose(kind: u8, vendor: u16, protocol: u16) -> Self {
        Self(u32::from(kind & 0x3) << 30 | u32::from(vendor & 0x3FFF) << 16 | u32::from(protocol))
    }

    /// What it is composed of: type, vendor and protocol.
    pub fn parts(self) -> (u8, u16, u16) {
        let [a, b, c, d] = self.0.to_be_bytes();
        (a >> 6, u16::from_be_bytes([a & 0x3F, b]), u16::from_be_bytes([c, d]))
    }

    /// The protocol of this name or number.
    pub fn parse(text: &str) -> Option<Self> {
        let by_name = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(id, _)| *id);
        by_name.or_else(|| text.parse().ok().map(Self))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.family)
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The protocol's name, or its number when it has none.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(id, _)| id == self) {
            Some((_, name)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} in table {}", self.protocol, self.protocol_instance, self.table)
    }
}

impl EntityState {
    /// The word for it on the bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Lingering => "lingering",
            Self::Builtin => "builtin",
        }
    }
}
