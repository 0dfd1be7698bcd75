//! The engine that keeps the kernel equal to the best routes, against a real kernel and whatever happens
//! to it: links and addresses that come and go, other programs, lost events, and a random storm of it all.
//!
//! Everything is tried with next-hop objects and without, for IPv4 and IPv6. Needs root (or
//! `unshare -r`), `ip` and `dbus-daemon`.

#[path = "fib/bridges.rs"]
mod bridges;
#[path = "fib/doubt.rs"]
mod doubt;
#[path = "fib/faults.rs"]
mod faults;
#[path = "fib/hosts.rs"]
mod hosts;
#[path = "fib/instances.rs"]
mod instances;
#[path = "fib/kill.rs"]
mod kill;
#[path = "fib/links.rs"]
mod links;
#[path = "fib/owners.rs"]
mod owners;
#[path = "fib/peers.rs"]
mod peers;
#[path = "fib/replacing.rs"]
mod replacing;
#[path = "fib/restart.rs"]
mod restart;
#[path = "service/scene.rs"]
mod scene;
#[path = "fib/stage.rs"]
mod stage;
#[path = "fib/storm.rs"]
mod storm;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "fib/tampering.rs"]
mod tampering;
#[path = "service/walk.rs"]
mod walk;
#[path = "kernel/world.rs"]
mod world;
