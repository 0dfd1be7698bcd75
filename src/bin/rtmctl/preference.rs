//! `rtmctl preference`: the levels that protocols' routes have.

use rtmd::model::entity::Protocol;
use serde_json::json;

use crate::{
    completion,
    context::{Context, Exit, Problem},
    output::{Align, Columns},
    routes,
};

/// What `preference` can do.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// List the protocols that have a level of their own, the smallest first: that wins
    #[command(after_help = LIST_HELP)]
    List,
    /// Give a protocol a level, until the machine restarts or the configuration is read again
    #[command(after_help = SET_HELP)]
    Set {
        /// A name such as ospf, or a number
        #[arg(value_parser = routes::parse_protocol, add = completion::protocols())]
        protocol: Protocol,
        /// The smaller wins; 0 takes its own level away, so that it has the one for all others
        level: u32,
        /// Rank also the routes that are there already by it
        #[arg(long)]
        reapply: bool,
    },
}

/// Does what is asked for.
pub(crate) async fn run(context: &mut Context, command: Command) -> Result<Exit, Problem> {
    match command {
        Command::Set { protocol, level, reapply } => {
            context.manager.set_preference(protocol.0, level, reapply).await?;
        }
        Command::List => {
            let mut levels = context.manager.get_preferences().await?;
            levels.sort_by_key(|(protocol, _, level)| (*level, *protocol));
            let mut columns = Columns::new([
                ("level", Align::Right),
                ("protocol", Align::Left),
                ("number", Align::Right),
            ]);
            for (number, name, level) in levels {
                if context.scope.json {
                    let object = json!({ "protocol": name, "number": number, "level": level });
                    context.out.json(&object)?;
                } else {
                    columns.row([level.to_string(), name, number.to_string()]);
                }
            }
            if !context.scope.json {
                columns.print(&mut context.out)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// The help on `preference`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl preference list
  rtmctl preference set ospf 20 --reapply";

const LIST_HELP: &str = "\
Examples:
  rtmctl preference list
  rtmctl --json preference list | jq 'select(.level < 100) | .protocol'";

const SET_HELP: &str = "\
For root, and whom a grant or polkit lets.

Examples:
  rtmctl preference set ospf 20            # counts for routes offered from now on
  rtmctl preference set ospf 20 --reapply  # and for those there are
  rtmctl preference set ospf 0             # as all others again";
