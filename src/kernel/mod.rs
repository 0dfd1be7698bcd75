//! The shell towards the kernel: sockets, threads, and what goes wrong with them.
//!
//! `writer` carries operations out, `dump` tells what there is, `watch` follows links and addresses and
//! `route_watch` routes and next-hop objects, `privilege` tells early whether any of it will work and
//! `abilities` what this kernel can do. None of them decides anything: the plan is `fib`'s, the bytes are
//! `netlink`'s. What a reader would get wrong: a netlink socket belongs to the network namespace of the
//! thread that opened it, for good.

pub mod abilities;
pub mod dump;
pub mod privilege;
pub mod route_watch;
mod socket;
pub mod watch;
pub mod writer;

pub use abilities::{NextHopSupport, NoticeSettings};
pub use dump::{Dump, DumpNews};
pub use route_watch::{RouteEvent, RouteWatch};
pub use socket::PortId;
pub use watch::{AddressEvent, LinkEvent, LinkState, Watch, WatchEvent};
pub use writer::{Batch, Outcome, Writer};
