//! What the choice comes to: how packets to a destination are treated.

use std::{fmt, net::IpAddr};

use super::nexthop::{InterfaceIndex, Weight};

/// A kernel routing table by its number; 254 is the main one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KernelTable(pub u32);

/// What the kernel is to do with packets to a destination.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Forwarding {
    /// Send to one of these, by weight; at least one, in the order the kernel is told.
    Unicast(Box<[Hop]>),
    /// Drop without a word.
    Blackhole,
    /// Drop, and tell the sender that the host is unreachable.
    Unreachable,
    /// Drop, and tell the sender that it is prohibited.
    Prohibit,
}

/// One way out: an interface, and the router to hand the packet to if there is one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hop {
    /// The neighbouring router; `None` when the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface to send by; never 0.
    pub interface: InterfaceIndex,
    /// The share of this hop.
    pub weight: Weight,
}

/// How far a destination's best route has come in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum FibStatus {
    /// Nothing to do: no best route in the unicast view, or the instance keeps away from the kernel.
    #[default]
    None,
    /// On its way.
    Pending,
    /// The kernel has it.
    Installed,
    /// The kernel refused it.
    Failed,
    /// There is a best route, but no way out: no next hop leads to an interface that is up.
    Ineligible,
    /// There is a best route that is not for the kernel (`RTM_ROUTE_FLAGS_INACTIVE`), or none of the
    /// table is for now.
    Suppressed,
}

/// How many destinations are how far in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FibCounts {
    /// The kernel has what is wished.
    pub installed: usize,
    /// On their way there, or out of it.
    pub pending: usize,
    /// Refused by the kernel, and tried again from time to time.
    pub failed: usize,
}

impl KernelTable {
    /// The table that packets are looked up in without further rules.
    pub const MAIN: Self = Self(254);
}

impl FibStatus {
    /// The word for it on the bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Installed => "installed",
            Self::Failed => "failed",
            Self::Ineligible => "ineligible",
            Self::Suppressed => "suppressed",
        }
    }
}

impl fmt::Display for KernelTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads like `ip route`, with the interface as a number.
impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blackhole => f.write_str("blackhole"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Prohibit => f.write_str("prohibit"),
            Self::Unicast(hops) => {
                for (index, hop) in hops.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" ")?;
                    }
                    if let Some(gateway) = hop.gateway {
                        write!(f, "via {gateway} ")?;
                    }
                    write!(f, "dev {}", hop.interface)?;
                    if hops.len() > 1 {
                        write!(f, " weight {}", hop.weight.get())?;
                    }
                }
                Ok(())
            }
        }
    }
}
