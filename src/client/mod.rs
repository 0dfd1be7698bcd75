//! What a program needs to talk to the service: a connection, typed proxies, typed errors.
//!
//! The proxies mirror the bus one to one and the values are those of [`crate::bus::wire`], so what
//! the introspection says of a member holds for the method of the same name here. None of them
//! caches properties: most are counters, and a cached counter is a wrong one.
//!
//! A connection made by [`connect`] gives up on a call after [`CALL_TIMEOUT`]. Whatever fails turns
//! into a [`Failure`], which tells a refusal by the service from a service that cannot be reached.
//!
//! Who offers routes and has no wish to deal with restarts and lost buses takes a [`Session`].

mod connection;
mod failure;
mod proxies;
pub mod session;

pub use crate::bus::address::Bus;
pub use connection::{CALL_TIMEOUT, connect, manager, properties, table};
pub use failure::Failure;
pub use proxies::{
    ChangeNotification, ChangeNotificationStream, DestinationEnumerationProxy, EntityDeregistered,
    EntityDeregisteredStream, EntityProxy, EntityRegistered, EntityRegisteredStream, FibResult,
    FibResultStream, ManagerProxy, NextHopEnumerationProxy, NotificationProxy,
    RouteEnumerationProxy, RouteExpired, RouteExpiredStream, RouteListProxy, TableProxy,
};
pub use session::Session;
