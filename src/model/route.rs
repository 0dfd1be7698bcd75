//! Routes: identity, order and content are different types.

use serde::{Deserialize, Serialize};

use std::{fmt, num::NonZeroU64};

use super::error::{Error, ErrorKind};

/// Names a route, for ever: ids are never used again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RouteId(pub NonZeroU64);

/// How much policy wants a route. Smaller wins; 1 is the best, 0 means "the protocol's level".
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Preference(pub u32);

/// The protocol's own cost. Smaller wins among routes of the same preference.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Metric(pub u32);

/// When a route took on its preference and metric, counted up in the RIB; the earlier wins.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Turn(pub u64);

/// What decides between two routes to one destination, weightiest field first.
///
/// No two routes share a turn, so no two tie.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Rank {
    /// Compared first.
    pub preference: Preference,
    /// Compared among equal preferences.
    pub metric: Metric,
    /// Compared last.
    pub turn: Turn,
}

/// `RTM_ROUTE_FLAGS_*`, 16 bits, kept and returned as the client gave them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RouteFlags(pub u16);

/// The ways of not forwarding. A route that has one needs no next hop.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Special {
    /// Drop without a word.
    Blackhole,
    /// Drop, and tell the sender that the host is unreachable.
    Unreachable,
    /// Drop, and tell the sender that it is prohibited.
    Prohibit,
}

/// `RTM_ROUTE_STATE_*`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum RouteState {
    /// In the table (0).
    Created = 0,
    /// Withdrawn, and kept for a while in hold-down (1).
    Deleting = 1,
}

/// `RTM_ROUTE_CHANGE_*`: how to match on the way in, what happened on the way out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChangeFlags(pub u32);

impl RouteFlags {
    /// Not to be believed: packets are refused (`RTM_ROUTE_FLAGS_MARTIAN`).
    pub const MARTIAN: Self = Self(0x0001);
    /// Packets are dropped (`RTM_ROUTE_FLAGS_BLACKHOLE`).
    pub const BLACKHOLE: Self = Self(0x0002);
    /// Packets are refused as unreachable (`RTM_ROUTE_FLAGS_DISCARD`).
    pub const DISCARD: Self = Self(0x0004);
    /// Chosen like any other, but not for the kernel (`RTM_ROUTE_FLAGS_INACTIVE`).
    pub const INACTIVE: Self = Self(0x0008);

    /// The network is on a link of this machine (`RTM_ROUTE_FLAGS_LOCAL`).
    pub const LOCAL: Self = Self(0x0010);
    /// The network is behind a router (`RTM_ROUTE_FLAGS_REMOTE`).
    pub const REMOTE: Self = Self(0x0020);
    /// The address is one of this machine's own (`RTM_ROUTE_FLAGS_MYSELF`).
    pub const MYSELF: Self = Self(0x0040);

    /// What keeps a best route from being forwarded by, in one way or another
    /// (`RTM_ROUTE_FLAGS_FORWARDING`).
    pub const FORWARDING: Self = Self(0x000F);

    /// The flags, if all bits are among RTMv2's 16.
    ///
    /// # Errors
    /// `InvalidParameter` for a higher bit.
    pub fn new(bits: u32) -> Result<Self, Error> {
        u16::try_from(bits).map(Self).map_err(|_| {
            ErrorKind::InvalidParameter
                .because(format_args!("route flags {bits:#x} have more than 16 bits"))
        })
    }

    /// Whether any flag of `other` is set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The way of not forwarding that the flags ask for; the weightiest where there are several.
    pub fn special(self) -> Option<Special> {
        Special::ALL.into_iter().find(|special| self.intersects(special.flag()))
    }
}

impl Special {
    /// All of them, the one that wins over the others first.
    pub const ALL: [Self; 3] = [Self::Blackhole, Self::Unreachable, Self::Prohibit];

    /// The one with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|special| special.word() == word)
    }

    /// The flag that asks for it.
    pub fn flag(self) -> RouteFlags {
        match self {
            Self::Blackhole => RouteFlags::BLACKHOLE,
            Self::Unreachable => RouteFlags::DISCARD,
            Self::Prohibit => RouteFlags::MARTIAN,
        }
    }

    /// The word that `ip route` has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }
}

impl ChangeFlags {
    /// In: the owner's first route at the destination is meant, whatever its neighbour.
    pub const FIRST: Self = Self(0x01);
    /// In: always a new route. Out: a route was created.
    pub const NEW: Self = Self(0x02);
    /// Out: the best route of a view changed, or this route is the best of one.
    pub const BEST: Self = Self(0x0001_0000);

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the flags of `other` set if `condition` holds.
    #[must_use]
    pub fn with(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
