//! What the choice comes to: how packets to a destination are treated.

use serde::{Deserialize, Serialize};

use std::{
    fmt,
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
    sync::Arc,
};

use super::{
    nexthop::{InterfaceIndex, Weight},
    prefix::Family,
    route::Special,
};

/// A kernel routing table by its number; 254 is the main one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct KernelTable(pub u32);

/// What the kernel is to do with packets to a destination.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
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

/// What packets to a destination follow.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Wish {
    /// Nothing: they are dropped.
    Special(Special),
    /// The next hops of a group.
    Group(GroupId),
}

/// A group of destinations that share their next hops and what would replace them, and so one object
/// in the kernel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct GroupId(pub NonZeroU32);

/// One way out: an interface, and the router to hand the packet to if there is one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Hop {
    /// The neighbouring router; `None` when the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface to send by; never 0.
    pub interface: InterfaceIndex,
    /// The share of this hop.
    pub weight: Weight,
}

/// What a route in the kernel says about packets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target {
    /// All of it, in the route itself.
    Plain(Arc<Forwarding>),
    /// To do as this next-hop object says, which can change under the route.
    Object(ObjectId),
}

/// A next-hop object of the kernel, by its number (`NHA_ID`). Objects of everybody share the numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectId(pub NonZeroU32);

/// What a next-hop object says.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum NextHopObject {
    /// One way out. Linux takes it away without a word when its interface goes down or loses its
    /// carrier, and the IPv4 routes that refer to it too.
    Hop {
        /// The gateway's family. Without a gateway, whose routes may refer to it: routes of IPv4 also
        /// take a gateway of IPv6, nothing else mixes.
        family: Family,
        /// The neighbouring router; `None` when the destination is on the link itself.
        gateway: Option<IpAddr>,
        /// The interface to send by; never 0.
        interface: InterfaceIndex,
    },
    /// Several, each of them at most once. Linux takes a member out without a word when the member
    /// itself goes, and the group with its last one.
    Group {
        /// The objects to send by, none of them a group; at least one.
        members: Box<[Member]>,
        /// How packets are dealt out. `None`: by a hash of their addresses over the weights (Linux
        /// 5.3). Otherwise the group is resilient (Linux 5.13): so many buckets are shared out among
        /// the members by weight, and one that is idle moves at once (no idle timer). A member that is
        /// too light for a bucket waits until another is gone. The number is fixed at creation.
        buckets: Option<NonZeroU16>,
    },
}

/// One next-hop object of a group.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Member {
    /// Which one.
    pub object: ObjectId,
    /// Its share.
    pub weight: Weight,
}

/// How far a destination's best route has come in the kernel.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FibCounts {
    /// The kernel has what is wished.
    pub installed: usize,
    /// On their way there, or out of it.
    pub pending: usize,
    /// Refused by the kernel, and tried again from time to time.
    pub failed: usize,
}

/// What a link has to do with VRFs (ip-vrf(8)).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct VrfPlace {
    /// The link it is a part of: for all that is known here, that can be a VRF, a bridge or a bond.
    pub master: Option<InterfaceIndex>,
    /// The kernel table of the VRF that it is itself.
    pub is_vrf: Option<KernelTable>,
}

impl KernelTable {
    /// The table that packets are looked up in without further rules.
    pub const MAIN: Self = Self(254);
}

impl From<Special> for Forwarding {
    fn from(special: Special) -> Self {
        match special {
            Special::Blackhole => Self::Blackhole,
            Special::Unreachable => Self::Unreachable,
            Special::Prohibit => Self::Prohibit,
        }
    }
}

impl Forwarding {
    /// The ways that packets are sent by; none where they are not.
    pub fn hops(&self) -> &[Hop] {
        match self {
            Self::Unicast(hops) => hops,
            Self::Blackhole | Self::Unreachable | Self::Prohibit => &[],
        }
    }
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

impl From<Forwarding> for Target {
    fn from(forwarding: Forwarding) -> Self {
        Self::Plain(Arc::new(forwarding))
    }
}

impl fmt::Display for KernelTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ObjectId {
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
