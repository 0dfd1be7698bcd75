//! `rtmctl load`: offers the routes of a file, and leaves them there.
//!
//! Routes need somebody who offers them. Here that is a registration of the user's own, a shared one,
//! which the next `load` of the same protocol goes on with: lines change what is there, as with
//! `ip -batch`, and `--replace` makes it equal to the file.

use std::path::PathBuf;

use rtmd::{client::Failure, model::Protocol};

use super::{
    Registration,
    events::Events,
    input::Input,
    loader::{Keep, Loader},
    wait_for_kernel,
};
use crate::{
    completion,
    context::{Context, Exit, Problem},
    routes,
};

/// What `load` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The lines; - for standard input
    #[arg(required_unless_present = "withdraw", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// The protocol to offer them as: a name such as static or bgp, or a number
    #[arg(long, value_name = "NAME|NUMBER", default_value = "static", value_parser = routes::parse_protocol, add = completion::protocols())]
    protocol: Protocol,
    /// Which of several of that protocol
    #[arg(long, value_name = "N", default_value_t = 0)]
    protocol_instance: u32,
    /// What to be called in lists, the first time
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Take back what was loaded before and is not in the file
    #[arg(long)]
    replace: bool,
    /// Instead, take back all that was loaded
    #[arg(long, conflicts_with_all = ["file", "replace", "label"])]
    withdraw: bool,
}

/// Loads, and ends when the kernel has it.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let mut events = Events::new(context.scope.json);
    // Whatever is wrong with the service should be said before the file is read.
    context.manager.epoch().await.map_err(Failure::from)?;
    let registration = Registration {
        protocol: arguments.protocol,
        protocol_instance: arguments.protocol_instance,
        label: arguments.label,
        keep: Keep::Shared,
    };
    let mut loader = Loader::new(context, registration);
    let Some(file) = arguments.file.filter(|_| !arguments.withdraw) else {
        let found = loader.find(&mut events, &mut context.out).await?;
        loader.deregister().await?;
        if found == 0 {
            return Err(Problem::Local("nothing like that is loaded".to_owned()));
        }
        return Ok(Exit::Done);
    };
    let mut input = match file.to_str() {
        Some("-") => Input::start(),
        _ => Input::open(&file)
            .map_err(|error| Problem::Local(format!("cannot read {}: {error}", file.display())))?,
    };
    loader.load(&mut input, &mut events, &mut context.out).await?;
    if arguments.replace {
        loader.withdraw_rest(&mut events, &mut context.out).await?;
    }
    let totals = loader.totals();
    events.loaded(&mut context.out, totals)?;
    let in_step = wait_for_kernel(&loader, events.started()).await?;
    events.in_step(&mut context.out, totals, in_step)?;
    Ok(if totals.refused > 0 { Exit::Refused } else { Exit::Done })
}

/// The help on `load`.
pub(crate) const HELP: &str = "\
The lines are those of \"rtmctl register\" (see its --help): add, replacing an earlier route to the
same prefix, and del. The routes belong to the user and stay until they are taken back, also over
a restart of the service, but not of the machine. Loading again changes what is there.

Examples:
  rtmctl load routes.txt                       # as ip -batch would
  rtmctl load --replace routes.txt             # exactly these, and no others
  rtmctl load --protocol bgp --protocol-instance 2 --label lab routes.txt
  rtmctl load --withdraw                       # none any more";
