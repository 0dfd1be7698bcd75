//! `rtmctl entities`: who is registered.

use rtmd::{bus::wire::EntityInfo, model::entity::Protocol};
use serde_json::{Value, json};

use crate::{
    context::{Context, Exit, Problem},
    output::{Align, Columns},
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
                context.out.json(&json(&entity))?;
            } else {
                columns.row([
                    entity.id.to_string(),
                    table,
                    protocol.to_string(),
                    entity.protocol_instance.to_string(),
                    entity.label,
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

/// All there is to know of an entity, for JSON.
pub(crate) fn json(entity: &EntityInfo) -> Value {
    json!({
        "id": entity.id,
        "path": entity.path.as_str(),
        "table": format!("{}/{}", entity.instance, entity.family),
        "protocol": Protocol(entity.protocol).to_string(),
        "protocol-instance": entity.protocol_instance,
        "label": entity.label,
        "bus-name": entity.bus_name,
        "state": entity.state,
    })
}

/// The help on `entities`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl entities
  rtmctl -4 entities --instance 1
  rtmctl --json entities | jq 'select(.state == \"lingering\") | .label'";
