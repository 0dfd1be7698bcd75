//! What the service counts, at one moment, and how fast it changes.

use std::time::Duration;

use rtmd::{
    bus::wire::{Details, EntityInfo, SERVICE},
    client::{self, EntityProxy, Failure},
};
use serde_json::{Value, json};

use crate::{
    context::{Context, Problem, number, text},
    entities,
};

/// All figures of one look.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) version: String,
    pub(super) fib_state: String,
    pub(super) tables: Vec<Table>,
    /// Those with the most routes, which come first.
    pub(super) entities: Vec<Entity>,
    /// How many more there are.
    pub(super) more_entities: usize,
}

/// A table's.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) destinations: u64,
    pub(super) routes: u64,
    pub(super) next_hops: u64,
    pub(super) installed: u64,
    pub(super) pending: u64,
    pub(super) failed: u64,
    /// Routes a second more; below 0 when they get fewer.
    pub(super) routes_rate: f64,
    /// Destinations that the kernel has, a second more.
    pub(super) installed_rate: f64,
}

/// An entity's.
#[derive(Debug)]
pub(super) struct Entity {
    pub(super) info: EntityInfo,
    pub(super) routes: u64,
    pub(super) best: u64,
    pub(super) stale: u64,
    pub(super) next_hops: u64,
    pub(super) routes_rate: f64,
}

impl Figures {
    /// Asks the service.
    pub(super) async fn gather(context: &Context) -> Result<Self, Problem> {
        let service = client::properties(context.manager.inner()).await?;
        let instances = match context.scope.instance {
            Some(instance) => vec![instance],
            None => context.manager.instances().await?,
        };
        let (mut tables, mut entities) = (Vec::new(), Vec::new());
        for instance in instances {
            let found = match context.tables(instance).await {
                Ok(found) => found,
                // One that is misconfigured has nothing to count.
                Err(Problem::Call(Failure::Refused { .. })) if context.scope.instance.is_none() => {
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            for (family, table) in found {
                let of = client::properties(table.inner()).await?;
                tables.push(Table::read(format!("{instance}/{family}"), &of));
                let registered = context.manager.get_registered_entities(instance, family.name());
                entities.extend(registered.await?);
            }
        }
        let all = entities.len();
        let mut known = Vec::new();
        for info in entities.into_iter().take(MOST_ENTITIES) {
            let proxy = EntityProxy::builder(context.manager.inner().connection())
                .destination(SERVICE)
                .path(info.path.clone())
                .build()
                .await?;
            match client::properties(proxy.inner()).await {
                Ok(of) => known.push(Entity::read(info, &of)),
                Err(failure @ Failure::Unreachable(_)) => return Err(failure.into()),
                // It is gone since it was listed.
                Err(_) => {}
            }
        }
        known.sort_by_key(|entity| (std::cmp::Reverse(entity.routes), entity.info.id));
        Ok(Self {
            version: text(&service, "Version").unwrap_or_default().to_owned(),
            fib_state: text(&service, "FibState").unwrap_or("unknown").to_owned(),
            tables,
            entities: known,
            more_entities: all.saturating_sub(MOST_ENTITIES),
        })
    }

    /// Works out how fast things changed since an earlier look.
    pub(super) fn rate(&mut self, since: Option<(Duration, &Self)>) {
        let Some((passed, before)) = since else { return };
        let rate = |now: u64, then: u64| {
            let seconds = passed.as_secs_f64();
            if seconds > 0.0 { (now as f64 - then as f64) / seconds } else { 0.0 }
        };
        for table in &mut self.tables {
            if let Some(then) = before.tables.iter().find(|then| then.name == table.name) {
                table.routes_rate = rate(table.routes, then.routes);
                table.installed_rate = rate(table.installed, then.installed);
            }
        }
        for entity in &mut self.entities {
            let then = before.entities.iter().find(|then| then.info.id == entity.info.id);
            entity.routes_rate = rate(entity.routes, then.map_or(0, |then| then.routes));
        }
    }

    pub(super) fn json(&self) -> Value {
        let tables = self.tables.iter().map(|table| {
            json!({
                "table": table.name,
                "destinations": table.destinations,
                "routes": table.routes,
                "routes-per-second": table.routes_rate,
                "next-hops": table.next_hops,
                "installed": table.installed,
                "installed-per-second": table.installed_rate,
                "pending": table.pending,
                "failed": table.failed,
            })
        });
        let entities = self.entities.iter().map(|entity| {
            json!({
                "entity": entities::json(&entity.info),
                "routes": entity.routes,
                "routes-per-second": entity.routes_rate,
                "best-routes": entity.best,
                "stale-routes": entity.stale,
                "next-hops": entity.next_hops,
            })
        });
        json!({
            "version": self.version,
            "fib-state": self.fib_state,
            "tables": tables.collect::<Vec<_>>(),
            "entities": entities.collect::<Vec<_>>(),
            "more-entities": self.more_entities,
        })
    }
}

impl Table {
    fn read(name: String, of: &Details) -> Self {
        let count = |name: &str| number(of, name).unwrap_or_default();
        Self {
            name,
            destinations: count("Destinations"),
            routes: count("Routes"),
            next_hops: count("NextHops"),
            installed: count("FibInstalled"),
            pending: count("FibPending"),
            failed: count("FibFailed"),
            routes_rate: 0.0,
            installed_rate: 0.0,
        }
    }
}

impl Entity {
    fn read(info: EntityInfo, of: &Details) -> Self {
        let count = |name: &str| number(of, name).unwrap_or_default();
        Self {
            info,
            routes: count("Routes"),
            best: count("BestRoutes"),
            stale: count("StaleRoutes"),
            next_hops: count("NextHops"),
            routes_rate: 0.0,
        }
    }
}

/// Of how many entities figures are asked for: each is a call.
const MOST_ENTITIES: usize = 100;
