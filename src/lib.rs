//! rtmd, a routing table manager for Linux.
#![cfg_attr(not(test), deny(clippy::print_stdout))]

pub mod bus;
pub mod client;
pub mod config;
pub mod daemon;
pub mod fib;
pub mod kernel;
pub mod model;
pub mod netlink;
pub mod rib;
pub mod shared;
