//! `rtmctl entities`: who is registered.

use rtmd::model::entity::Protocol;
use serde_json::json;

use crate::{
    context::{Context, Exit, Problem},
    output::{Align, Columns, printable},
};

/// Prints the entities of the tables asked for.
pub(crate) async fn run(context: &mut Context) -> Result<Exit, Problem> {
    let instance = context.instance();
    let mut columns = Columns::new([
        ("id", Align::Right),
        ("table", Align::Left),
        ("protocol", Align::Left),
        ("instance", Align::Right),
        ("label", Align::Left),
        ("bus name", Align::Left),
        ("state", Align::Left),
    ]);
    let mut count = 0;
    for (family, _) in context.tables(instance).await? {
        for entity in context.manager.get_registered_entities(instance, family.name()).await? {
            count += 1;
            let table = format!("{}/{}", entity.instance, entity.family);
            let protocol = Protocol(entity.protocol);
            if context.scope.json {
                context.out.json(&json!({
                    "id": entity.id,
                    "path": entity.path.as_str(),
                    "table": table,
                    "protocol": protocol.to_string(),
                    "protocol-instance": entity.protocol_instance,
                    "label": entity.label,
                    "bus-name": entity.bus_name,
                    "state": entity.state,
                }))?;
            } else {
                columns.row([
                    entity.id.to_string(),
                    table,
                    protocol.to_string(),
                    entity.protocol_instance.to_string(),
                    printable(&entity.label).into_owned(),
                    entity.bus_name,
                    entity.state,
                ]);
            }
        }
    }
    if count > 0 && !context.scope.json {
        columns.print(&mut context.out)?;
    }
    context.say_if_empty(count, "entities registered");
    Ok(Exit::Done)
}
