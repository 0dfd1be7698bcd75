//! The service on the bus: one file for each interface.
//!
//! A method does three things: reads the wire, calls the core, writes the wire. The calls of one
//! client are handled one after the other in the order sent, those of several clients side by side;
//! properties are read beside them. zbus has one dispatcher (`spawn = false`), which only sorts the
//! calls into queues, so what it waits for, the bus itself, is asked over a second connection.
//!
//! * [`address`] and [`wire`]: which bus, and how values look on it; shared with the clients;
//! * `options`: reading `a{sv}`; `errors`: refusals as D-Bus errors; `convert` and `explain`: core to
//!   wire;
//! * `clients`, `units` and `users`: who calls, and noticing that they are gone; `queue`: their calls in
//!   line; `polkit`: asking an administrator about what no grant allows;
//! * `served`: what every interface goes through, into the queues; `introspection`: what is told of the
//!   objects there are;
//! * `manager`, `table`, `entity`, `enumeration`, `notification`, `route_list`, `object_manager`: the
//!   interfaces; `private`: those of them that one connection has for itself;
//! * `commands`: what the methods of an entity have in common;
//! * `administration`, `policy` and `statics`: what an administrator may;
//! * `methods`: clients that call each other, with the service between them;
//! * `news`: what clients are told without having asked; `questions`: how many they are asked at once;
//! * `context`: what they all know; `lifecycle`: how objects come and go, and who is told;
//! * `service`: the whole of it on a bus; `transport`: the connection, which sends nothing too long.

pub mod address;
mod administration;
mod clients;
mod commands;
mod context;
mod convert;
mod entity;
mod enumeration;
mod errors;
mod explain;
mod introspection;
mod lifecycle;
mod manager;
mod methods;
mod news;
mod notification;
mod object_manager;
mod options;
mod policy;
mod polkit;
mod private;
mod questions;
mod queue;
mod resume;
mod route_list;
mod served;
mod service;
mod statics;
mod table;
mod transport;
mod units;
mod users;
pub mod wire;

pub use administration::Administration;
pub use service::{Facts, FibState, Service, StartError};
