//! The plan: what the kernel should have against what it has.
//!
//! Pure, like the core: no IO, no clock, no async, and no way to panic. The daemon carries wishes in,
//! operations out to the kernel, and their results back in. What a reader would get wrong: an
//! operation that was handed out has not happened yet, and one that was refused may still have
//! changed something; only a result says what the kernel has.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod destination;
pub mod mirror;
mod retry;

use std::{fmt, io, sync::Arc};

pub use mirror::{Mirror, Settled};

use crate::model::{Forwarding, Prefix};

/// One change to one destination in the kernel.
///
/// Ours is what carries our protocol and our metric; how an operation keeps off everything else is
/// each variant's promise, which the kernel's encoder has to keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FibOp {
    /// Put a route where nothing of ours is. Refused (`EEXIST`) if anything has our metric there, so
    /// that a stranger's route with the same metric is not overwritten.
    Install {
        /// The destination.
        to: Prefix,
        /// What to do with packets to it.
        forwarding: Arc<Forwarding>,
    },
    /// Put a route in place of our own, without a moment in which there is none. It also succeeds
    /// where ours has vanished meanwhile.
    Replace {
        /// The destination.
        to: Prefix,
        /// What to do with packets to it.
        forwarding: Arc<Forwarding>,
    },
    /// Take one route of ours away. Refused (`ESRCH`) when there is none.
    Uninstall {
        /// The destination.
        to: Prefix,
    },
}

/// Why the kernel did not do something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The error number of errno(3), positive; `ENOBUFS` when no answer came and it may have been done.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), or empty where it gave none.
    pub message: String,
}

impl FibOp {
    /// The destination it is about.
    pub fn to(&self) -> Prefix {
        match self {
            Self::Install { to, .. } | Self::Replace { to, .. } | Self::Uninstall { to } => *to,
        }
    }

    /// What the kernel is to have; `None` to take away.
    pub fn forwarding(&self) -> Option<&Arc<Forwarding>> {
        match self {
            Self::Install { forwarding, .. } | Self::Replace { forwarding, .. } => Some(forwarding),
            Self::Uninstall { .. } => None,
        }
    }
}

/// The kernel's words, or those of errno(3) where it gave none.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            io::Error::from_raw_os_error(self.errno).fmt(f)
        } else {
            f.write_str(&self.message)
        }
    }
}
