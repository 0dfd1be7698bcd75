//! The shell towards the kernel: sockets, threads, and what goes wrong with them.
//!
//! `writer` carries operations out, `dump` tells what of ours is in a table, `watch` follows links and
//! addresses, `privilege` tells early whether any of it will work. None of them decides anything: the
//! plan is `fib`'s, the bytes are `netlink`'s. What a reader would get wrong: a netlink socket belongs to
//! the network namespace of the thread that opened it, for good.

pub mod dump;
pub mod privilege;
mod socket;
pub mod watch;
pub mod writer;

pub use dump::{Dump, DumpNews};
pub use watch::{AddressEvent, LinkEvent, LinkState, Watch, WatchEvent};
pub use writer::{Batch, Outcome, Writer};
