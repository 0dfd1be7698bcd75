//! Methods that entities export to each other: a mask, one bit for each.

use serde::{Deserialize, Serialize};

/// Some of the 32 methods that an entity can have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MethodSet(pub u32);

/// How a method ended, as a Win32 code; what a method itself answers is its own affair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MethodStatus(pub u32);

impl MethodSet {
    /// Whatever the target exports (`METHOD_TYPE_ALL_METHODS`).
    pub const ALL: Self = Self(u32::MAX);
    /// The methods that anyone may give a meaning; the others are reserved (RTMv2 row METH-12).
    pub const VENDOR: Self = Self(0xFFFF_0000);

    /// The first `count` methods.
    pub fn first(count: u32) -> Self {
        Self(1_u32.checked_shl(count).map_or(u32::MAX, |next| next - 1))
    }

    /// Whether all of `methods` are among these.
    pub fn contains(self, methods: Self) -> bool {
        self.0 & methods.0 == methods.0
    }

    /// Each of them, the lowest bit first.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        (0..u32::BITS).map(|bit| Self(1 << bit)).filter(move |method| self.contains(*method))
    }
}

impl MethodStatus {
    /// The answer cannot be read (`ERROR_INVALID_DATA`).
    pub const INVALID_DATA: Self = Self(13);
    /// The target answered with an error (`ERROR_GEN_FAILURE`).
    pub const FAILURE: Self = Self(31);
    /// The target has no such callback after all (`ERROR_NOT_SUPPORTED`).
    pub const NOT_SUPPORTED: Self = Self(50);
    /// The output is longer than is carried (`ERROR_INSUFFICIENT_BUFFER`, row METH-14).
    pub const OUTPUT_TOO_LONG: Self = Self(122);
    /// The target does not export that method (`ERROR_NOT_FOUND`, row METH-06).
    pub const NOT_FOUND: Self = Self(1168);
}

/// Methods of RIP (row METH-13).
pub mod rip2 {
    use super::MethodSet;

    /// `METHOD_RIP2_NEIGHBOUR_ADDR`.
    pub const NEIGHBOUR_ADDRESS: MethodSet = MethodSet(1);
    /// `METHOD_RIP2_OUTBOUND_INTF`.
    pub const OUTBOUND_INTERFACE: MethodSet = MethodSet(2);
    /// `METHOD_RIP2_ROUTE_TAG`.
    pub const ROUTE_TAG: MethodSet = MethodSet(4);
    /// `METHOD_RIP2_ROUTE_TIMESTAMP`.
    pub const ROUTE_TIMESTAMP: MethodSet = MethodSet(8);
}

/// Methods of OSPF (row METH-13).
pub mod ospf {
    use super::MethodSet;

    /// `METHOD_OSPF_ROUTE_TYPE`.
    pub const ROUTE_TYPE: MethodSet = MethodSet(1);
    /// `METHOD_OSPF_ROUTE_METRIC`.
    pub const ROUTE_METRIC: MethodSet = MethodSet(2);
    /// `METHOD_OSPF_LSDB_TYPE`.
    pub const LSDB_TYPE: MethodSet = MethodSet(4);
    /// `METHOD_OSPF_ROUTE_TAG`.
    pub const ROUTE_TAG: MethodSet = MethodSet(8);
    /// `METHOD_OSPF_ROUTE_AREA`.
    pub const ROUTE_AREA: MethodSet = MethodSet(0x10);
    /// `METHOD_OSPF_FWD_ADDRESS`.
    pub const FORWARDING_ADDRESS: MethodSet = MethodSet(0x20);
}

/// Methods of BGP (row METH-13).
pub mod bgp4 {
    use super::MethodSet;

    /// `METHOD_BGP4_AS_PATH`.
    pub const AS_PATH: MethodSet = MethodSet(1);
    /// `METHOD_BGP4_PEER_ID`.
    pub const PEER_ID: MethodSet = MethodSet(2);
    /// `METHOD_BGP4_PA_ORIGIN`.
    pub const ORIGIN: MethodSet = MethodSet(4);
    /// `METHOD_BGP4_NEXTHOP_ATTR`.
    pub const NEXT_HOP_ATTRIBUTE: MethodSet = MethodSet(8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_methods_are_the_lowest_bits_up_to_all_32() {
        assert_eq!(
            [0, 1, 3, 31, 32].map(|count| MethodSet::first(count).0),
            [0, 1, 7, 0x7FFF_FFFF, u32::MAX]
        );
    }

    #[test]
    fn methods_come_in_ascending_order() {
        let bits: Vec<u32> = MethodSet(0x8001_0002).iter().map(|method| method.0).collect();
        assert_eq!(bits, [2, 0x1_0000, 0x8000_0000]);
    }
}
