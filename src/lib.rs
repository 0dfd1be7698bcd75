//! rtmd, a routing table manager for Linux.
#![cfg_attr(not(test), deny(clippy::print_stdout))]

pub mod bus;
pub mod config;
pub mod model;
pub mod rib;
pub mod shared;
