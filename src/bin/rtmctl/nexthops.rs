//! `rtmctl nexthops`: where routes lead, each way once, and how many routes take it.
//!
//! The service lists next hops only to their owner, so these are gathered from the routes; a next hop
//! that no route has is not shown.

use std::collections::{BTreeMap, HashMap};

use rtmd::{bus::wire::EntityInfo, model::error::quoted};
use serde_json::json;

use crate::{
    completion,
    context::{Context, Exit, Problem},
    hops::NextHops,
    output::{Align, Columns},
    route_view::{is_called, owner_name},
    walk::{Range, Walk},
};

/// What `nexthops` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only next hops of this entity: its id, its label, or its protocol as in bgp or bgp/2
    #[arg(long, value_name = "ID|NAME", add = completion::owners())]
    owner: Option<String>,
}

/// Prints the next hops of the tables asked for.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let instance = context.instance();
    let mut columns = Columns::new([
        ("id", Align::Right),
        ("table", Align::Left),
        ("owner", Align::Left),
        ("gateway", Align::Left),
        ("interface", Align::Left),
        ("weight", Align::Right),
        ("viable", Align::Left),
        ("routes", Align::Right),
        ("resolved via", Align::Left),
    ]);
    let (mut count, mut owners) = (0, 0);
    for (family, table) in context.tables(instance).await? {
        let entities = context.manager.get_registered_entities(instance, family.name()).await?;
        let wanted = |entity: &EntityInfo| {
            arguments.owner.as_ref().is_none_or(|name| is_called(entity, name))
        };
        let entities: HashMap<u64, EntityInfo> =
            entities.into_iter().filter(wanted).map(|entity| (entity.id, entity)).collect();
        owners += entities.len();
        let mut uses: BTreeMap<u64, u64> = BTreeMap::new();
        let mut walk = Walk::start(&context.manager, &table, family, Range::ALL).await?;
        while let Some(routes) = walk.next().await? {
            let routes = routes
                .iter()
                .filter(|route| arguments.owner.is_none() || entities.contains_key(&route.owner));
            routes
                .flat_map(|route| &route.next_hops)
                .for_each(|id| *uses.entry(*id).or_default() += 1);
        }
        let mut known = NextHops::of(table);
        for (id, routes) in uses {
            let found = known.find(&[id]).await?;
            let Some(hop) = found.first() else { continue };
            count += 1;
            let owner = entities.get(&hop.owner());
            let table = format!("{instance}/{family}");
            if context.scope.json {
                let mut object = hop.json();
                object["table"] = table.into();
                object["owner"] = hop.owner().into();
                object["label"] = json!(owner.map(|owner| owner.label.as_str()));
                object["routes"] = routes.into();
                context.out.json(&object)?;
                continue;
            }
            let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
            columns.row([
                id.to_string(),
                table,
                owner.map_or_else(|| format!("entity {}", hop.owner()), owner_name),
                dash(hop.address()),
                dash(hop.interface()),
                hop.weight().get().to_string(),
                if hop.is_viable() { "yes" } else { "no" }.to_owned(),
                routes.to_string(),
                dash(&hop.course()),
            ]);
        }
    }
    match arguments.owner {
        Some(name) if owners == 0 => {
            let name = quoted(&name);
            return Err(Problem::Local(format!("no entity has the id, label or protocol {name}")));
        }
        _ if count > 0 && !context.scope.json => columns.print(&mut context.out)?,
        _ => context.say_if_empty(count, "next hops in use"),
    }
    Ok(Exit::Done)
}

/// The help on `nexthops`.
pub(crate) const HELP: &str = "\
A next hop that no route has is not shown. \"resolved via\" is what the kernel is told in its place.

Examples:
  rtmctl nexthops
  rtmctl -6 nexthops --owner bird
  rtmctl nexthops --json | jq 'select(.viable | not)'";
