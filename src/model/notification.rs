//! Change notification: what a client wants to hear of, and its names.

use serde::{Deserialize, Serialize};

use super::{
    error::{Error, ErrorKind},
    view::ViewSet,
};

/// Names a registration for change notification, for ever: ids are never used again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct NotificationId(pub u64);

/// Names a route list, for ever: ids are never used again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ListId(pub u64);

/// `RTM_CHANGE_TYPE_*` and `RTM_NOTIFY_*`: what a registration for change notification is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NotifyFlags(pub u32);

/// What changed about a destination: for each type of change, the views it happened in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// Anything about any of its routes.
    pub all: ViewSet,
    /// The best route is another, or its preference, metric, flags or next hops are.
    pub best: ViewSet,
    /// As `best`, where it matters to forwarding.
    pub forwarding: ViewSet,
}

impl NotifyFlags {
    /// Anything about any route (`RTM_CHANGE_TYPE_ALL`).
    pub const ALL: Self = Self(0x1);
    /// The best route (`RTM_CHANGE_TYPE_BEST`).
    pub const BEST: Self = Self(0x2);
    /// The best route, as far as forwarding goes (`RTM_CHANGE_TYPE_FORWARDING`).
    pub const FORWARDING: Self = Self(0x4);
    /// Only destinations that were marked (`RTM_NOTIFY_ONLY_MARKED_DESTS`).
    pub const ONLY_MARKED: Self = Self(0x0001_0000);
    /// Each change of a best route by itself, in order (RTMv1's queue; row V1-08).
    pub const ORDERED: Self = Self(0x0002_0000);

    /// The flags, if they name at least one type of change and nothing unknown.
    ///
    /// # Errors
    /// `InvalidParameter` otherwise (RTMv2 row CHG-02).
    pub fn new(bits: u32) -> Result<Self, Error> {
        const TYPES: u32 = 0x7;
        let refuse = |why: &str| {
            Err(ErrorKind::InvalidParameter.because(format_args!("notify flags {bits:#x}: {why}")))
        };
        match bits & !(TYPES | Self::ONLY_MARKED.0 | Self::ORDERED.0) {
            0 if bits & TYPES == 0 => refuse("no type of change is named, 1, 2 or 4"),
            0 if bits & Self::ORDERED.0 != 0 && bits & TYPES != Self::BEST.0 => {
                refuse("what is kept in order are changes of the best route, type 2 alone")
            }
            0 => Ok(Self(bits)),
            _ => refuse("some are not defined"),
        }
    }

    /// Whether all flags of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Change {
    /// A change of everything in these views.
    pub fn whole(views: ViewSet) -> Self {
        Self { all: views, best: views, forwarding: views }
    }

    /// Both changes together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            all: self.all.union(other.all),
            best: self.best.union(other.best),
            forwarding: self.forwarding.union(other.forwarding),
        }
    }

    /// Whether it is one.
    pub fn is_empty(self) -> bool {
        self.all.is_empty() && self.best.is_empty() && self.forwarding.is_empty()
    }

    /// Whether who registered with these flags for these views wants to hear of it.
    pub fn concerns(self, flags: NotifyFlags, views: ViewSet) -> bool {
        [
            (NotifyFlags::ALL, self.all),
            (NotifyFlags::BEST, self.best),
            (NotifyFlags::FORWARDING, self.forwarding),
        ]
        .into_iter()
        .any(|(kind, changed)| flags.contains(kind) && !changed.intersection(views).is_empty())
    }
}
