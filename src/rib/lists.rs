//! Route lists: an entity's own groupings of its routes. A route is in one list at most.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::{Rib, arena::Slot, route::Route, table::RouteView, waste::Piece};
use crate::model::{EntityId, Error, ErrorKind, ListId, Result, RouteId};

/// All route lists.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Lists {
    by_id: BTreeMap<ListId, List>,
    last_id: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct List {
    owner: EntityId,
    routes: BTreeSet<Slot>,
    /// The last route that [`Rib::next_listed`] returned.
    reached: Option<Slot>,
}

impl Lists {
    /// Takes a route off its list.
    pub(super) fn remove(&mut self, list: ListId, slot: Slot) {
        if let Some(list) = self.by_id.get_mut(&list) {
            list.routes.remove(&slot);
        }
    }

    fn owned(&mut self, owner: EntityId, id: ListId) -> Result<&mut List> {
        let list = self.by_id.get_mut(&id).filter(|list| list.owner == owner);
        list.ok_or_else(|| no_such_list(id))
    }
}

impl Rib {
    /// All lists.
    pub fn route_list_ids(&self) -> impl Iterator<Item = ListId> {
        self.lists.by_id.keys().copied()
    }

    /// An empty list for routes of the entity.
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered.
    pub fn create_route_list(&mut self, owner: EntityId) -> Result<ListId> {
        self.entities.active(owner)?;
        self.lists.last_id += 1;
        let id = ListId(self.lists.last_id);
        self.lists.by_id.insert(id, List { owner, routes: BTreeSet::new(), reached: None });
        Ok(id)
    }

    /// Ends a list; its routes stay in the table, in no list. Without such a list nothing happens.
    ///
    /// However many they are, none of them is touched: what they keep is the id of no list then.
    pub fn delete_route_list(&mut self, id: ListId) {
        let Some(list) = self.lists.by_id.remove(&id) else { return };
        let count = list.routes.len();
        self.waste.add(Piece::Listed(list.routes), count);
    }

    /// Ends all lists of an entity.
    pub(super) fn delete_route_lists(&mut self, owner: EntityId) {
        let lists: Vec<ListId> = self.route_lists(owner).collect();
        lists.into_iter().for_each(|list| self.delete_route_list(list));
    }

    /// The list of its owner's that a route is in.
    pub(super) fn list_of(&self, route: &Route) -> Option<ListId> {
        route.list().filter(|id| self.lists.by_id.contains_key(id))
    }

    /// The lists of an entity.
    pub fn route_lists(&self, owner: EntityId) -> impl Iterator<Item = ListId> {
        let lists = self.lists.by_id.iter();
        lists.filter(move |(_, list)| list.owner == owner).map(|(id, _)| *id)
    }

    /// Moves routes of the entity into a list, or with none out of their lists; all or nothing.
    ///
    /// # Errors
    /// `InvalidHandle` for a list or a route that is not there, `AccessDenied` for another's route
    /// (RTMv2 gap 43).
    pub fn move_to_list(
        &mut self,
        owner: EntityId,
        list: Option<ListId>,
        routes: &[RouteId],
    ) -> Result<()> {
        if let Some(id) = list {
            self.lists.owned(owner, id)?;
        }
        let slots: Vec<Slot> =
            routes.iter().map(|id| self.own_route(owner, *id)).collect::<Result<_>>()?;
        for slot in slots {
            self.put_in_list(slot, list);
        }
        Ok(())
    }

    /// The next routes of a list, `count` at most, and whether these were the last.
    ///
    /// # Errors
    /// `InvalidHandle` for a list that is not there, `InvalidParameter` for a count of 0 or more
    /// than the page limit.
    pub fn next_listed(
        &mut self,
        owner: EntityId,
        id: ListId,
        count: u32,
    ) -> Result<(Vec<RouteView<'_>>, bool)> {
        let count = self.check_page(count)?;
        let list = self.lists.owned(owner, id)?;
        let from = list.reached.map_or(Bound::Unbounded, Bound::Excluded);
        let page: Vec<Slot> =
            list.routes.range((from, Bound::Unbounded)).take(count).copied().collect();
        list.reached = page.last().copied().or(list.reached);
        let done = page.last().is_none_or(|last| list.routes.last() == Some(last));
        Ok((page.into_iter().filter_map(|slot| self.view_route(slot)).collect(), done))
    }

    /// Begins a list from its beginning.
    ///
    /// # Errors
    /// `InvalidHandle` for a list that is not there.
    pub fn rewind_list(&mut self, owner: EntityId, id: ListId) -> Result<()> {
        self.lists.owned(owner, id)?.reached = None;
        Ok(())
    }

    /// Refuses a list that is not the entity's.
    pub(super) fn check_list(&self, owner: EntityId, id: ListId) -> Result<()> {
        match self.lists.by_id.get(&id) {
            Some(list) if list.owner == owner => Ok(()),
            _ => Err(no_such_list(id)),
        }
    }

    /// Moves a route from the list it is in to another, or to none.
    pub(super) fn put_in_list(&mut self, slot: Slot, list: Option<ListId>) {
        let Some(route) = self.routes.get_mut(slot) else { return };
        if let Some(former) = route.list() {
            self.lists.remove(former, slot);
        }
        route.set_list(list);
        if let Some(list) = list.and_then(|id| self.lists.by_id.get_mut(&id)) {
            list.routes.insert(slot);
        }
    }
}

fn no_such_list(id: ListId) -> Error {
    ErrorKind::InvalidHandle.because(format_args!("you have no route list {}", id.0))
}
