//! The service on the bus: one file for each interface.
//!
//! A method does three things: reads the wire, calls the core, writes the wire. Calls are handled
//! one after the other in the order the bus delivers them (`spawn = false`), so a handler must not
//! wait for a reply on the same connection; questions to the bus itself go over a second one.
//!
//! * [`address`] and [`wire`]: which bus, and how values look on it; shared with the clients;
//! * `options`: reading `a{sv}`; `errors`: refusals as D-Bus errors; `convert`: core to wire;
//! * `brief`: introspection that stays short;
//! * `clients`: who calls, and noticing that they are gone;
//! * `manager`, `table`, `entity`, `enumeration`, `notification`, `route_list`, `object_manager`: the
//!   interfaces; `private`: those of them that one connection has for itself;
//! * `news`: what clients are told without having asked;
//! * `context`: what they all know; `lifecycle`: how objects come and go, and who is told;
//! * `service`: the whole of it on a bus.

pub mod address;
mod brief;
mod clients;
mod context;
mod convert;
mod entity;
mod enumeration;
mod errors;
mod lifecycle;
mod manager;
mod news;
mod notification;
mod object_manager;
mod options;
mod private;
mod route_list;
mod service;
mod table;
pub mod wire;

pub use service::{Facts, FibState, Service, StartError};
