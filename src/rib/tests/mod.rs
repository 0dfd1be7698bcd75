//! The rules, one claim for each test, through the core's public methods.

mod best;
mod expiry;
mod hold;
mod kernel;
mod methods;
mod next_hops;
mod notification;
mod registration;
mod routes;
mod walks;
