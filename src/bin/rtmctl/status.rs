//! `rtmctl status`: how the service and its tables are doing.

use rtmd::{
    bus::wire::Details,
    client::{self, Failure},
    model::prefix::Family,
};
use serde_json::{Value, json};

use crate::{
    context::{Context, Exit, Problem, number, text},
    output::{Align, Columns, ERROR, printable},
};

/// Prints the service's state and a row for each table.
pub(crate) async fn run(context: &mut Context) -> Result<Exit, Problem> {
    let service = client::properties(context.manager.inner()).await?;
    let instances = match context.scope.instance {
        Some(instance) => vec![instance],
        None => context.manager.instances().await.map_err(Failure::from)?,
    };
    let mut tables = Vec::new();
    for instance in instances {
        for (family, table) in context.tables(instance).await? {
            tables.push((instance, family, client::properties(table.inner()).await?));
        }
    }
    if context.scope.json {
        context.out.json(&as_json(&service, &tables))?;
    } else {
        print(context, &service, &tables)?;
    }
    Ok(Exit::Done)
}

fn print(
    context: &mut Context,
    service: &Details,
    tables: &[(u32, Family, Details)],
) -> Result<(), Problem> {
    let state = text(service, "FibState").unwrap_or("unknown");
    let style = if state == "degraded" { ERROR } else { anstyle::Style::new() };
    context.out.line(format_args!(
        "rtmd {}, epoch {}, FIB {style}{}{style:#}",
        printable(text(service, "Version").unwrap_or("of unknown version")),
        number(service, "Epoch").unwrap_or_default(),
        printable(state),
    ))?;
    context.out.line(format_args!(""))?;
    let heads = COUNTERS.map(|(_, head)| (head, Align::Right));
    let mut columns = Columns::new([("table", Align::Left)].into_iter().chain(heads));
    for (instance, family, table) in tables {
        let counters = COUNTERS.map(|(name, _)| {
            number(table, name).map_or_else(|| "-".to_owned(), |value| value.to_string())
        });
        columns.row([format!("{instance}/{family}")].into_iter().chain(counters));
    }
    columns.print(&mut context.out)?;
    for sentence in advice(service) {
        context.out.line(format_args!("\nadvice: {}", printable(&sentence)))?;
    }
    Ok(())
}

/// What could be set better; nothing from a service that does not say.
fn advice(service: &Details) -> Vec<String> {
    let said = service.get("Advice").and_then(|advice| advice.try_clone().ok());
    said.and_then(|advice| advice.try_into().ok()).unwrap_or_default()
}

fn as_json(service: &Details, tables: &[(u32, Family, Details)]) -> Value {
    let tables = tables.iter().map(|(instance, family, table)| {
        let mut object = json!({ "table": format!("{instance}/{family}") });
        for (name, head) in COUNTERS {
            object[head.replace(' ', "-")] = number(table, name).into();
        }
        object
    });
    json!({
        "version": text(service, "Version"),
        "epoch": number(service, "Epoch"),
        "fib-state": text(service, "FibState"),
        "advice": advice(service),
        "tables": tables.collect::<Vec<_>>(),
    })
}

/// The numbers of a table: the property, and what to call it.
const COUNTERS: [(&str, &str); 8] = [
    ("Destinations", "destinations"),
    ("Routes", "routes"),
    ("NextHops", "next hops"),
    ("Entities", "entities"),
    ("FibInstalled", "installed"),
    ("FibPending", "pending"),
    ("FibFailed", "failed"),
    ("KernelTable", "kernel table"),
];
