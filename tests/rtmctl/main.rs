//! `rtmctl` as its users meet it: what it prints, in a terminal and to programs, and how it ends.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod golden;
mod harmless;
mod kernel;
mod monitor;
mod remote;
mod schema;
mod shells;
mod stage;
mod terminal;
mod top;
