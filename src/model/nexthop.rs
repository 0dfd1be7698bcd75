//! Next hops: where to send, an address and a link. Each belongs to one entity.

use serde::{Deserialize, Serialize};

use std::{fmt, net::IpAddr, num::NonZeroU64};

use super::error::{Error, ErrorKind, quoted};

/// Names a next hop, for ever: ids are never used again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct NextHopId(pub NonZeroU64);

/// The kernel's number of a network interface; 0 leaves the choice to resolution.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct InterfaceIndex(pub u32);

/// What tells the next hops of one entity apart (RTMv2: address and interface).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct NextHopKey {
    /// The neighbouring router; `None` when the destination is on the link itself.
    pub address: Option<IpAddr>,
    /// The link towards it.
    pub interface: InterfaceIndex,
}

/// The share of a next hop among those of one route, 1 to 256 (what `rtnh_hops` can carry).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Weight(u16);

/// `RTM_NEXTHOP_FLAGS_*`, kept as the client gave them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct NextHopFlags(pub u32);

impl NextHopFlags {
    /// The address is not on a link and has to be looked up (`RTM_NEXTHOP_FLAGS_REMOTE`).
    pub const REMOTE: Self = Self(1);
    /// Reserved (`RTM_NEXTHOP_FLAGS_DOWN`).
    pub const DOWN: Self = Self(2);

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags, if they are ones that RTMv2 defines.
    ///
    /// # Errors
    /// `InvalidParameter` for any other bit.
    pub fn new(bits: u32) -> Result<Self, Error> {
        match bits & !(Self::REMOTE.0 | Self::DOWN.0) {
            0 => Ok(Self(bits)),
            unknown => Err(ErrorKind::InvalidParameter
                .because(format_args!("next-hop flags {unknown:#x} are not defined"))),
        }
    }
}

impl Weight {
    /// An equal share.
    pub const ONE: Self = Self(1);

    /// A weight of 1 to 256.
    ///
    /// # Errors
    /// `InvalidParameter` outside that range.
    pub fn new(weight: u32) -> Result<Self, Error> {
        match u16::try_from(weight) {
            Ok(weight @ 1..=256) => Ok(Self(weight)),
            _ => Err(ErrorKind::InvalidParameter
                .because(format_args!("weight {weight} is not from 1 to 256"))),
        }
    }

    /// The weight as a number, 1 to 256.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// A name that an interface can have (`dev_valid_name` in the kernel).
///
/// # Errors
/// `InvalidParameter` for any other.
pub fn interface_name(name: &str) -> Result<String, Error> {
    const LONGEST: usize = 15;
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    if !(1..=LONGEST).contains(&name.len()) || matches!(name, "." | "..") || name.contains(is_odd) {
        return Err(ErrorKind::InvalidParameter
            .because(format_args!("no interface can have the name {}", quoted(name))));
    }
    Ok(name.to_owned())
}

impl fmt::Display for NextHopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NextHopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address} on interface {}", self.interface),
            None => write!(f, "interface {}", self.interface),
        }
    }
}
