//! `rtmctl status`: how the service and its tables are doing, and what is wrong with some.

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
    // One that is misconfigured, or does not answer, is told of beside the others.
    let (mut tables, mut faults) = (Vec::new(), Vec::new());
    for instance in instances {
        let found = match context.tables(instance).await {
            Ok(found) => found,
            Err(Problem::Call(failure)) => {
                faults.push((format!("instance {instance}"), failure));
                continue;
            }
            Err(problem) => return Err(problem),
        };
        for (family, table) in found {
            match client::properties(table.inner()).await {
                Ok(properties) => tables.push((instance, family, properties)),
                Err(failure) => faults.push((format!("table {instance}/{family}"), failure)),
            }
        }
    }
    if tables.is_empty() && !faults.is_empty() {
        return Err(faults.swap_remove(0).1.into());
    }
    if context.scope.json {
        context.out.json(&as_json(&service, &tables, &faults))?;
    } else {
        print(context, &service, &tables)?;
        context.out.flush()?;
        for (what, failure) in &faults {
            let why = match failure.to_string() {
                named if named.starts_with(what) => named,
                other => format!("{what}: {other}"),
            };
            anstream::eprintln!("{ERROR}error:{ERROR:#} {}", printable(&why));
        }
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::Refused })
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

fn as_json(
    service: &Details,
    tables: &[(u32, Family, Details)],
    faults: &[(String, Failure)],
) -> Value {
    let faults = faults.iter();
    let faults = faults.map(|(what, why)| json!({ "of": what, "error": why.to_string() }));
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
        "faults": faults.collect::<Vec<_>>(),
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

/// The help on `status`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl status
  rtmctl status --instance 1
  rtmctl --host root@router status
  rtmctl --json status | jq -r '.advice[]'";
