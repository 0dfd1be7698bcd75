//! The rules, one claim for each test, through the core's public methods.

mod best;
mod expiry;
mod hold;
mod kernel;
mod lists;
mod methods;
mod next_hops;
mod notification;
mod opaque;
mod registration;
mod routes;
mod updating;
mod walks;
