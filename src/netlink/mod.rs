//! The language: rtnetlink messages to and from our words.
//!
//! Pure: bytes in, values out, and the other way round; sockets are `kernel`'s. What a reader would get
//! wrong: numbers in a netlink message are in the machine's byte order, addresses in the network's, and
//! decoders here meet bytes from anyone, so they answer `None` or an error and never panic.

pub mod dumped;
pub mod error;
pub mod frame;
pub mod nexthop;
pub mod route;

use std::num::{NonZeroU8, NonZeroU32};

use netlink_packet_core::DecodeError;

pub use dumped::{DumpedRoute, Leg, LegState, RouteKind};
pub use error::Reply;
pub use frame::{Frame, frames};
pub use nexthop::{DumpedObject, ObjectChange, ObjectDumpRequest, ObjectRequest};
pub use route::{DumpRequest, RouteChange, RouteRequest, TooLong};

/// What tells our routes in the kernel from everyone else's: its protocol and its metric.
///
/// Neither can be 0, which the kernel takes for "any" when it looks for a route to delete, and the
/// metric for 1024 when it adds an IPv6 one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Signature {
    /// `rtm_protocol`, see rtnetlink(7) and `/etc/iproute2/rt_protos`.
    pub protocol: NonZeroU8,
    /// `RTA_PRIORITY`, what `ip route` calls metric.
    pub metric: NonZeroU32,
}

/// What the kernel answers with one message for each thing there is.
pub trait DumpQuestion {
    /// The things.
    type Item;

    /// Appends the request, with this sequence number.
    fn encode(&self, sequence: u32, into: &mut Vec<u8>);

    /// Reads one message of the answer. `None` for one that is about something else or about a thing
    /// that was not asked for, which older kernels and sockets that do not check strictly let through.
    ///
    /// # Errors
    /// Bytes that are not such a thing.
    fn read(&self, message: &Frame<'_>) -> Result<Option<Self::Item>, DecodeError>;
}

impl Signature {
    /// Whether this route carries it.
    pub fn is_on(self, route: &DumpedRoute) -> bool {
        route.protocol == self.protocol.get() && route.metric == self.metric.get()
    }
}

/// 82 for both: free in `rt_protos`, and between what people and what daemons use as a metric.
impl Default for Signature {
    fn default() -> Self {
        Self {
            protocol: NonZeroU8::MIN.saturating_add(81),
            metric: NonZeroU32::MIN.saturating_add(81),
        }
    }
}
