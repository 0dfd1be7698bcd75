//! Words: the values everything else speaks in. Parsing, printing, ordering; no state.
//!
//! The one thing to remember: **smaller wins**. A smaller [`Preference`] is preferred, and so is a
//! smaller [`Metric`] among equals; no function here is called `higher` or `better_than`.

pub mod entity;
pub mod error;
pub mod fib;
pub mod kernel_protocol;
pub mod method;
pub mod nexthop;
pub mod notification;
pub mod prefix;
pub mod route;
pub mod share;
pub mod time;
pub mod view;

pub use entity::{Caller, EntityId, EntityKey, EntityState, InstanceId, Protocol, TableId};
pub use error::{Error, ErrorKind, Result, quoted};
pub use fib::{
    FibCounts, FibStatus, Forwarding, GroupId, Hop, KernelTable, Member, NextHopObject, ObjectId,
    Target, VrfPlace, Wish,
};
pub use kernel_protocol::KernelProtocol;
pub use method::{MethodSet, MethodStatus, bgp4, ospf, rip2};
pub use nexthop::{InterfaceIndex, NextHopFlags, NextHopId, NextHopKey, Weight, interface_name};
pub use notification::{Change, ListId, NotificationId, NotifyFlags};
pub use prefix::{Family, Prefix, PrefixMap};
pub use route::{
    ChangeFlags, Metric, Preference, Rank, RouteFlags, RouteId, RouteState, Special, Turn,
};
pub use share::shares;
pub use time::{Moment, Now, Span, Timestamp};
pub use view::{View, ViewSet};
