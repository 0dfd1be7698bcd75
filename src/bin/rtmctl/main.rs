//! `rtmctl`: looks into the routing table manager, and offers routes from a shell.
//!
//! One file for each command. `cli` has the words of the command line, `completion` what a shell offers
//! for them, and `pages` makes man pages of them; `context` is what every command needs, by way of
//! `host` on another machine; `output` is how things are printed. `lines` reads routes in the words of
//! `ip route`, and `ip_route` writes what that would show.

mod cli;
mod completion;
mod context;
mod entities;
mod explain;
mod fib;
mod hops;
mod host;
mod interfaces;
mod ip_route;
mod lines;
mod lookup;
mod monitor;
mod nexthops;
mod output;
#[cfg(test)]
mod pages;
mod policy;
mod preference;
mod register;
mod route_view;
mod routes;
mod statics;
mod status;
mod top;
mod walk;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;

use cli::{Cli, Command};
use context::{Context, Exit, Problem};
use output::ERROR;

fn main() -> ExitCode {
    // A shell that wants to complete a word sets COMPLETE, and goes no further than this.
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = Cli::parse();
    let scope = cli.scope.clone();
    let exit = run(cli).unwrap_or_else(|problem| {
        if let Some(message) = problem.message(&scope) {
            let message = output::printable(&message);
            anstream::eprintln!("{ERROR}error:{ERROR:#} {message}");
        }
        problem.exit()
    });
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> Result<Exit, Problem> {
    // One thread: all there is to do is wait for the bus.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::Local(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let mut context = Context::connect(cli.scope).await?;
        let exit = match cli.command {
            Command::Status => status::run(&mut context).await,
            Command::Entities => entities::run(&mut context).await,
            Command::Routes(arguments) => routes::run(&mut context, arguments).await,
            Command::Explain(arguments) => explain::run(&mut context, arguments).await,
            Command::Lookup(arguments) => lookup::run(&mut context, arguments).await,
            Command::Register(arguments) => register::run(&mut context, arguments).await,
            Command::Nexthops(arguments) => nexthops::run(&mut context, arguments).await,
            Command::Fib(arguments) => fib::run(&mut context, arguments).await,
            Command::Policy(command) => policy::run(&mut context, command).await,
            Command::Preference(command) => preference::run(&mut context, command).await,
            Command::Monitor(arguments) => monitor::run(&mut context, arguments).await,
            Command::Top(arguments) => top::run(&mut context, arguments).await,
            Command::Load(arguments) => register::load::run(&mut context, arguments).await,
            Command::Static(command) => statics::run(&mut context, command).await,
        }?;
        context.out.flush()?;
        Ok(exit)
    })
}
