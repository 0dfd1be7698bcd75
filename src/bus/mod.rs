//! The service on the bus.

pub mod wire;
