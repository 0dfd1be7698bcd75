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
mod mirror;
mod objects;
mod planner;
mod retry;

use std::{fmt, io};

pub use mirror::{Settled, Tampering};
pub use objects::Support;
pub use planner::{Doubt, Planner};

use crate::model::{KernelTable, NextHopObject, ObjectId, Prefix, Target};

/// One change in the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FibOp {
    /// Of a route.
    Route {
        /// The table it is in.
        table: KernelTable,
        /// The destination.
        to: Prefix,
        /// What to do there.
        op: RouteOp,
    },
    /// Of a next-hop object.
    Object {
        /// Its number.
        id: ObjectId,
        /// What to do with it.
        op: ObjectOp,
    },
}

/// One change to one destination in the kernel.
///
/// Ours is what carries our protocol and our metric; how an operation keeps off everything else is
/// each variant's promise, which the kernel's encoder has to keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteOp {
    /// Put a route where nothing of ours is. Refused (`EEXIST`) if anything has our metric there, so
    /// that a stranger's route with the same metric is not overwritten.
    Install(Target),
    /// Put a route in place of our own, without a moment in which there is none. It also succeeds
    /// where ours has vanished meanwhile.
    Replace(Target),
    /// Take one route of ours away. Refused (`ESRCH`) when there is none.
    Uninstall,
}

/// One change to one next-hop object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ObjectOp {
    /// Make it. Refused (`EEXIST`) if anybody has one with its number.
    Add(NextHopObject),
    /// Make another of it, under all routes that refer to it. Refused (`ENOENT`) when it is gone: the
    /// routes are gone with it, and must not be taken for there.
    Replace(NextHopObject),
    /// Take it away, with all routes that refer to it.
    Delete,
}

/// Why the kernel did not do something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The error number of errno(3), positive; `ENOBUFS` when no answer came and it may have been done.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), or empty where it gave none.
    pub message: String,
}

impl Refusal {
    /// Our own: somebody else changes what is ours again and again.
    fn of_fight(words: &str) -> Self {
        Self { errno: libc::EBUSY, message: words.to_owned() }
    }

    /// The same, where packets need not wait until it is over.
    fn bridged(&self) -> Self {
        let message = format!(
            "the kernel refuses its next hops ({self}), and packets follow the next best route meanwhile"
        );
        Self { errno: self.errno, message }
    }

    /// Whether what is there is to be left as it is for a while.
    fn is_of_fight(&self) -> bool {
        self.errno == libc::EBUSY
    }

    /// Whether it says nothing about what was asked for, which may even have been done.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.errno, libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN | libc::EINTR)
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
