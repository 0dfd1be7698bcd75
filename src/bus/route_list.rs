//! `org.rtmd1.RouteList`: an entity's own grouping of its routes.

use std::sync::Arc;

use zbus::{Connection, interface, message::Header};

use super::{
    context::Context,
    convert::route_info,
    errors::check_items,
    options::route_ids,
    private::{self, Owner},
    wire::RouteInfo,
};
use crate::{
    journal::ledger::Ledger,
    model::{EntityId, ListId, Result},
};

/// The object of a route list.
#[derive(Clone, Debug)]
pub(super) struct RouteList {
    context: Arc<Context>,
    owner: Owner,
    entity: EntityId,
    id: ListId,
}

impl RouteList {
    pub(super) fn new(
        context: Arc<Context>,
        owner: Owner,
        (entity, id): (EntityId, ListId),
    ) -> Self {
        Self { context, owner, entity, id }
    }

    fn command<T>(
        &self,
        header: &Header<'_>,
        f: impl FnOnce(&mut Ledger, EntityId, ListId) -> Result<T>,
    ) -> Result<T> {
        self.owner.check(header)?;
        self.context.rib.with(|rib| f(rib, self.entity, self.id))
    }
}

#[interface(name = "org.rtmd1.RouteList", spawn = false)]
impl RouteList {
    /// Moves routes of the entity into this list, each from the list it was in, at most 32768; all or
    /// none. Errors: AccessDenied, InvalidHandle, NoSystemResources, NotFound.
    fn insert(&self, routes: Vec<u64>, #[zbus(header)] header: Header<'_>) -> Result<()> {
        check_items(&routes)?;
        let routes = route_ids(&routes)?;
        self.command(&header, |rib, entity, id| rib.move_to_list(entity, Some(id), &routes))
    }

    /// Returns the next routes of the list, at most "max" of them, and whether these were the last.
    /// Routes can be moved meanwhile. Errors: InvalidHandle, InvalidParameter.
    #[zbus(out_args("routes", "done"))]
    fn next(&self, max: u32, #[zbus(header)] header: Header<'_>) -> Result<(Vec<RouteInfo>, bool)> {
        self.command(&header, |rib, entity, id| {
            let (page, done) = rib.next_listed(entity, id, max)?;
            Ok((page.iter().map(|view| route_info(view, true)).collect(), done))
        })
    }

    /// Begins from the beginning again. Errors: InvalidHandle.
    fn rewind(&self, #[zbus(header)] header: Header<'_>) -> Result<()> {
        self.command(&header, Ledger::rewind_list)
    }

    /// Ends the list; its routes stay in the table, in no list. Errors: InvalidHandle.
    async fn delete(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        self.owner.check(&header)?;
        if let Some(path) = header.path() {
            private::close(&self.context, connection, path.as_str()).await;
        }
        Ok(())
    }
}
