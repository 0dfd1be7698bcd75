//! Whose a route in the kernel is: the kernel's own numbers for that.

use serde::{Deserialize, Serialize};

use std::fmt;

use super::entity::Protocol;

/// `rtm_protocol` of a route in the kernel: who put it there, by what that program says of itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct KernelProtocol(pub u8);

impl KernelProtocol {
    /// An ICMP redirect.
    pub const REDIRECT: Self = Self(1);
    /// The kernel itself: the network that comes with an address.
    pub const KERNEL: Self = Self(2);
    /// Whoever said nothing, such as `ip route add`.
    pub const BOOT: Self = Self(3);
    /// The administrator.
    pub const STATIC: Self = Self(4);
    /// Router advertisements of IPv6.
    pub const RA: Self = Self(9);
    /// A DHCP client.
    pub const DHCP: Self = Self(16);

    /// The names of `rtnetlink.h` and of iproute2's `rt_protos`.
    const NAMES: [(Self, &'static str); 23] = [
        (Self::REDIRECT, "redirect"),
        (Self::KERNEL, "kernel"),
        (Self::BOOT, "boot"),
        (Self::STATIC, "static"),
        (Self(8), "gated"),
        (Self::RA, "ra"),
        (Self(10), "mrt"),
        (Self(11), "zebra"),
        (Self(12), "bird"),
        (Self(13), "dnrouted"),
        (Self(14), "xorp"),
        (Self(15), "ntk"),
        (Self::DHCP, "dhcp"),
        (Self(17), "mrouted"),
        (Self(18), "keepalived"),
        (Self(42), "babel"),
        (Self(84), "ovn"),
        (Self(99), "openr"),
        (Self(186), "bgp"),
        (Self(187), "isis"),
        (Self(188), "ospf"),
        (Self(189), "rip"),
        (Self(192), "eigrp"),
    ];

    /// The one of this name or number; 0 is nobody's.
    pub fn parse(text: &str) -> Option<Self> {
        let by_name = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(id, _)| *id);
        by_name.or_else(|| text.parse().ok().filter(|number| *number != 0).map(Self))
    }

    /// What its routes are of here.
    pub fn protocol(self) -> Protocol {
        match self.0 {
            1 => Protocol::ICMP,
            2 => Protocol::LOCAL,
            3 | 9 | 16 => Protocol::NETMGMT,
            4 => Protocol::STATIC,
            186 => Protocol::BGP,
            187 => Protocol::IS_IS,
            188 => Protocol::OSPF,
            189 => Protocol::RIP,
            _ => Protocol::OTHER,
        }
    }
}

/// The protocol's name, or its number when it has none.
impl fmt::Display for KernelProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(id, _)| id == self) {
            Some((_, name)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}
