//! `rtmctl fib`: how far the kernel is with each table, and what it refused.

use rtmd::client;
use serde_json::json;

use crate::{
    context::{Context, Exit, Problem, number},
    output::{Align, Columns},
    routes,
};

/// What `fib` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Instead, the routes that the kernel refused, with its words
    #[arg(long)]
    failed: bool,
}

/// Prints a row for each table, or the routes that failed.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    if arguments.failed {
        return routes::run(context, routes::Arguments::failed()).await;
    }
    let instances = match context.scope.instance {
        Some(instance) => vec![instance],
        None => context.manager.instances().await?,
    };
    let heads = COUNTERS.map(|(_, head)| (head, Align::Right));
    let mut columns = Columns::new(
        [("table", Align::Left), ("kernel table", Align::Right), ("forwarding", Align::Left)]
            .into_iter()
            .chain(heads),
    );
    for instance in instances {
        for (family, table) in context.tables(instance).await? {
            let properties = client::properties(table.inner()).await?;
            let pushed = properties.get("Pushed").and_then(|it| bool::try_from(it).ok());
            let kernel_table = number(&properties, "KernelTable").filter(|table| *table != 0);
            let table = format!("{instance}/{family}");
            if context.scope.json {
                let mut object = json!({
                    "table": table, "kernel-table": kernel_table, "forwarding": pushed
                });
                for (name, head) in COUNTERS {
                    object[head] = number(&properties, name).into();
                }
                context.out.json(&object)?;
                continue;
            }
            let forwarding = match (kernel_table, pushed) {
                (None, _) => "not in the kernel",
                (_, Some(false)) => "switched off",
                _ => "on",
            };
            let shown =
                |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let counters = COUNTERS.map(|(name, _)| shown(number(&properties, name)));
            let first = [table, shown(kernel_table), forwarding.to_owned()];
            columns.row(first.into_iter().chain(counters));
        }
    }
    if !context.scope.json {
        columns.print(&mut context.out)?;
    }
    Ok(Exit::Done)
}

/// The numbers of a table: the property, and what to call it.
const COUNTERS: [(&str, &str); 3] =
    [("FibInstalled", "installed"), ("FibPending", "pending"), ("FibFailed", "failed")];

/// The help on `fib`.
pub(crate) const HELP: &str = "\
Destinations are counted: installed, on their way to the kernel or out of it, refused by it.

Examples:
  rtmctl fib
  rtmctl fib --failed          # which routes, and what the kernel says
  rtmctl explain 10.0.0.0/8    # one of them in detail";
