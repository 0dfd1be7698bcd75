//! `rtmctl lookup`: the destination that a packet would match, and who offers what for it.
//!
//! Packets follow the unicast view, so nothing is said of the others.

use rtmd::model::view::{View, ViewSet};

use crate::{
    cli::{self, Target},
    context::{self, Context, Exit, Problem},
    output::printable,
    route_view::{Format, RoutePrinter},
};

/// Prints the unicast candidates of the most specific destination, in order of rank.
pub(crate) async fn run(
    context: &mut Context,
    Target { target: asked }: Target,
) -> Result<Exit, Problem> {
    let target = cli::parse_prefix(&asked, &context.scope).map_err(Problem::Local)?;
    let table = context.table(target.family()).await?;
    let text = target.to_string();
    let unicast = View::UNICAST.only();
    let found = table.get_most_specific_destination(&text, BEST_PROTOCOL, unicast.0).await?;
    let routes = table.get_routes(&found.prefix).await?;
    let format = if context.scope.json { Format::Json } else { Format::Rows };
    let (_, _, fib) = table.explain(&found.prefix).await?;
    let mut printer = RoutePrinter::new(context, target.family(), table, format).await?;
    printer.mark_best_in(unicast);
    for route in routes.iter().filter(|route| ViewSet(route.views).contains(View::UNICAST)) {
        printer.print(&mut context.out, route).await?;
    }
    printer.finish(&mut context.out)?;
    if let Some(sentence) = context::text(&fib, "goes-by").filter(|_| !context.scope.json) {
        context.out.line(format_args!("  {}", printable(sentence)))?;
    }
    Ok(Exit::Done)
}

/// `RTM_BEST_PROTOCOL`: the best of all, not of one protocol.
const BEST_PROTOCOL: u32 = 0;

/// The help on `lookup`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl lookup 198.51.100.7
  rtmctl lookup 2001:db8::/48
  rtmctl --json lookup 198.51.100.7 | jq 'select(.\"best-in-views\" != 0)'";
