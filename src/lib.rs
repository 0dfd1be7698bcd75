//! rtmd, a routing table manager for Linux: programs that know routes register over D-Bus, each
//! offers its routes, rtmd chooses the best for each destination and keeps the kernel equal to it.
//!
//! ```text
//!      D-Bus clients                     kernel tables, links, addresses
//!            │                                   ▲            │
//!          bus/                                  │            │
//!            ▼   plain calls, one lock           │            ▼
//!          rib/    decides: who offers what, which is best, who must hear of it
//!            │   effects: "this destination's forwarding may have changed"
//!            ▼
//!          fib/    plans: wish against fact → the fewest kernel operations
//!            │   operations                      ▲ results, dumps
//!            ▼                                   │
//!         kernel/  netlink: batches out, answers and notifications in
//! ```
//!
//! Folders are layers, and a layer says what it may import; `tests/imports.rs` holds them to it.
//! To read it in order:
//!
//! 1. [`model`], the words: prefixes, routes, next hops, views, errors;
//! 2. [`rib`], the core: pure, no IO, no clock, and the best-route rule in its `destination`;
//! 3. [`fib`], the plan, as pure as the core; [`netlink`], the language; [`kernel`], the sockets;
//! 4. [`bus`], one file for each interface; [`client`], the other end of it;
//! 5. [`journal`], what survives a restart: commands are kept before they are answered;
//! 6. [`config`], [`clock`], [`shared`], and [`daemon`], the only place that knows them all.
#![cfg_attr(not(test), deny(clippy::print_stdout))]

pub mod bus;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod fib;
pub mod journal;
pub mod kernel;
pub mod model;
pub mod netlink;
pub mod rib;
pub mod shared;
