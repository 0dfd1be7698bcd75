//! The rules, one claim for each test, through the core's public methods.

mod administration;
mod best;
mod explain;
mod kernel;
mod matching;
mod methods;
mod next_hops;
mod registration;
mod routes;
mod statics;
mod walks;
