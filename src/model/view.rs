//! Views: subsets of a table in which the best route is chosen separately.

use serde::{Deserialize, Serialize};

use std::fmt;

use super::error::{Error, ErrorKind};

/// One view, by its id 0 to 31.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct View(u8);

/// A set of views; bit n stands for the view with id n.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct ViewSet(pub u32);

impl View {
    /// What packets are forwarded by.
    pub const UNICAST: Self = Self(0);
    /// What multicast's reverse path is looked up in.
    pub const MULTICAST: Self = Self(1);

    /// The view's id, 0 to 31.
    pub fn id(self) -> u8 {
        self.0
    }

    /// The set of this view alone.
    pub const fn only(self) -> ViewSet {
        ViewSet(1 << self.0)
    }
}

impl ViewSet {
    /// No view; as a question it means "any" (`RTM_VIEW_MASK_ANY`).
    pub const NONE: Self = Self(0);
    /// All views the table supports (`RTM_VIEW_MASK_ALL`, RTMv2 gap 39).
    pub const ALL: Self = Self(u32::MAX);

    /// Whether the set has no view.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the view is in the set.
    pub fn contains(self, view: View) -> bool {
        self.0 >> view.0 & 1 == 1
    }

    /// The views in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The views in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The views that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many views are in the set.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The views in ascending order of their ids.
    pub fn iter(self) -> impl Iterator<Item = View> {
        (0..32).map(View).filter(move |view| self.contains(*view))
    }

    /// The set a client asked for, with "all" replaced by what `supported` has.
    ///
    /// # Errors
    /// `NotSupported` for a view outside `supported` (RTMv2 row VIEW-04).
    pub fn within(self, supported: Self) -> Result<Self, Error> {
        if self == Self::ALL {
            return Ok(supported);
        }
        if !self.without(supported).is_empty() {
            return Err(ErrorKind::NotSupported.because(format_args!(
                "views {self} are not all among the supported {supported}"
            )));
        }
        Ok(self)
    }
}

impl fmt::Display for ViewSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicast_is_mask_1_and_multicast_is_mask_2() {
        assert_eq!(View::UNICAST.only(), ViewSet(1));
        assert_eq!(View::MULTICAST.only(), ViewSet(2));
    }

    #[test]
    fn all_means_all_supported_views() {
        assert_eq!(ViewSet::ALL.within(ViewSet(3)), Ok(ViewSet(3)));
    }

    #[test]
    fn an_unsupported_view_is_not_supported() {
        let refusal = ViewSet(4).within(ViewSet(3)).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::NotSupported);
        assert_eq!(refusal.message, "views 0x4 are not all among the supported 0x3");
    }
}
