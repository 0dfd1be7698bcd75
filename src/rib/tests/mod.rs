//! The rules, one claim for each test, through the core's public methods.

mod administration;
mod best;
mod expiry;
mod explain;
mod foreign;
mod grants;
mod groups;
mod hold;
mod kernel;
mod linger;
mod lists;
mod matching;
mod methods;
mod next_hops;
mod notification;
mod opaque;
mod recursion;
mod registration;
mod results;
mod routes;
mod statics;
mod updating;
mod users;
mod walks;
