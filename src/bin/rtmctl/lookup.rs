//! `rtmctl lookup`: the destination that a packet would match, and who offers what for it.

use rtmd::model::view::ViewSet;

use crate::{
    cli,
    context::{Context, Exit, Problem},
    route_view::{Format, RoutePrinter},
};

/// What `lookup` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// An address or prefix
    #[arg(value_name = "ADDRESS|PREFIX")]
    target: String,
}

/// Prints the candidates of the most specific destination, best first.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let target = cli::parse_prefix(&arguments.target, &context.scope).map_err(Problem::Local)?;
    let table = context.table(target.family()).await?;
    let text = target.to_string();
    let found = table.get_most_specific_destination(&text, BEST_PROTOCOL, ViewSet::ALL.0).await?;
    let routes = table.get_routes(&found.prefix).await?;
    let format = if context.scope.json { Format::Json } else { Format::Rows };
    let mut printer = RoutePrinter::new(context, target.family(), table, format).await?;
    for route in &routes {
        printer.print(&mut context.out, route).await?;
    }
    Ok(Exit::Done)
}

/// `RTM_BEST_PROTOCOL`: the best of all, not of one protocol.
const BEST_PROTOCOL: u32 = 0;
