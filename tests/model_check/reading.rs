//! Commands of those who read: lists, cells, enumerations, look-ups.

use std::collections::BTreeSet;

use rtmd::{
    model::{EntityId, ErrorKind, ListId, Prefix, RouteId, TableId, ViewSet},
    rib::{Best, DestinationView, LookUp, Match, Start, Walk, WalkSettings},
};

use crate::{
    Pair, accepted,
    commands::WalkCommand,
    naive::{Naive, NaiveList},
    selecting::matches,
    world,
};

/// An enumeration that goes on while the table changes.
pub(crate) struct Cursor {
    walk: Walk,
    settings: WalkSettings,
    /// For one over routes.
    wanted: Option<Match>,
    best: Best,
    returned_destinations: Vec<Prefix>,
    returned_routes: BTreeSet<RouteId>,
    /// What was there to be returned ever since the beginning.
    destinations: BTreeSet<Prefix>,
    routes: BTreeSet<RouteId>,
}

impl Cursor {
    fn is_in_range(&self, to: Prefix) -> bool {
        match self.settings.start {
            Start::Beginning => true,
            Start::At(prefix) => to >= prefix,
            Start::Within(prefix) => prefix.covers(to),
            Start::Only(prefix) => to == prefix,
        }
    }

    fn is_own(&self, owner: EntityId) -> bool {
        self.settings.owned_by.as_ref().is_none_or(|own| own.contains(&owner))
    }

    /// The destinations it could return now (ENUM-01 to ENUM-05, HOLD-12).
    fn eligible_destinations(&self, naive: &Naive) -> BTreeSet<Prefix> {
        let table = self.settings.table;
        let views = self.settings.views.0;
        let owns_best = |to: Prefix| {
            let mut best = naive.best.iter().filter(|((place, _), _)| *place == (table, to));
            best.any(|((_, view), id)| {
                views >> view & 1 == 1 && self.is_own(naive.route(*id).unwrap().owner)
            })
        };
        world::prefixes(table.family)
            .filter(|to| naive.is_seen((table, *to), views) && self.is_in_range(*to))
            .filter(|to| self.settings.owned_by.is_none() || owns_best(*to))
            .collect()
    }

    /// The routes it could return now (ENUM-09 to ENUM-14, G38).
    fn eligible_routes(&self, naive: &Naive) -> BTreeSet<RouteId> {
        let views = self.settings.views.0;
        let held = naive.held.iter().map(|(route, _)| route).filter(|_| views == 0);
        let in_views = naive.routes.iter().filter(|r| views == 0 || r.views & views != 0);
        in_views
            .chain(held)
            .filter(|route| route.place.0 == self.settings.table)
            .filter(|route| self.is_in_range(route.place.1) && self.is_own(route.owner))
            .filter(|route| {
                self.wanted.as_ref().is_some_and(|wanted| matches(naive, route, wanted))
            })
            .map(|route| route.id)
            .collect()
    }
}

impl Pair {
    pub(crate) fn create_list(&mut self, owner: EntityId) {
        let refusals = match self.naive.entity(owner) {
            Some(_) => vec![],
            None => vec![ErrorKind::InvalidHandle],
        };
        let Some(id) = accepted(self.rib.create_route_list(owner), &refusals) else { return };
        assert!(!self.known_lists.contains(&id));
        self.known_lists.push(id);
        let (returned, throughout) = (BTreeSet::new(), BTreeSet::new());
        self.naive.lists.push(NaiveList { id, owner, returned, throughout });
    }

    pub(crate) fn move_to_list(&mut self, owner: EntityId, list: Option<ListId>, ids: &[RouteId]) {
        let mut refusals = match list {
            Some(list) => self.naive.refuse_list(owner, list),
            None => vec![],
        };
        for id in ids {
            refusals.extend(self.naive.refuse_own_route(owner, *id));
        }
        if accepted(self.rib.move_to_list(owner, list, ids), &refusals).is_none() {
            return;
        }
        for route in self.naive.routes.iter_mut().filter(|route| ids.contains(&route.id)) {
            route.list = list;
        }
    }

    pub(crate) fn next_listed(&mut self, owner: EntityId, list: ListId, count: u8) {
        let mut refusals = self.naive.refuse_list(owner, list);
        refusals.extend(self.naive.refuse_page(count.into()));
        let result = self.rib.next_listed(owner, list, count.into());
        let page = result.map(|(page, done)| (page.iter().map(|v| v.id).collect::<Vec<_>>(), done));
        let Some((page, done)) = accepted(page, &refusals) else { return };
        let members = self.naive.members(list);
        let known = self.naive.lists.iter_mut().find(|known| known.id == list).unwrap();
        for id in &page {
            assert!(members.contains(id), "{id} is not in the list");
            assert!(known.returned.insert(*id), "{id} comes twice");
        }
        assert!(done || page.len() == usize::from(count), "a short page is the last");
        let missed = known.throughout.difference(&known.returned);
        assert!(!done || missed.count() == 0, "some were in the list throughout and never came");
    }

    pub(crate) fn rewind(&mut self, owner: EntityId, list: ListId) {
        let refusals = self.naive.refuse_list(owner, list);
        if accepted(self.rib.rewind_list(owner, list), &refusals).is_some() {
            let members = self.naive.members(list);
            let known = self.naive.lists.iter_mut().find(|known| known.id == list).unwrap();
            (known.returned, known.throughout) = (BTreeSet::new(), members);
        }
    }

    pub(crate) fn delete_list(&mut self, list: ListId) {
        self.rib.delete_route_list(list);
        self.naive.lists.retain(|known| known.id != list);
        for route in self.naive.routes.iter_mut().filter(|route| route.list == Some(list)) {
            route.list = None;
        }
    }

    pub(crate) fn set_cell(&mut self, entity: EntityId, to: Prefix, number: u8) {
        // Different contents of the same length, too.
        let bytes = vec![number; usize::from(number % 5)];
        let refusals = self.naive.refuse_cell(entity, to, &bytes);
        if accepted(self.rib.set_opaque(entity, to, &bytes), &refusals).is_some() {
            self.naive.cells.insert((entity, to), bytes);
        }
    }

    pub(crate) fn walk(&mut self, table: TableId, command: &WalkCommand) {
        let prefix = world::prefix(table.family, command.prefix);
        let start = match command.start {
            0 => Start::Beginning,
            1 => Start::At(prefix),
            2 => Start::Within(prefix),
            _ => Start::Only(prefix),
        };
        let views = self.views(command.views);
        let own = |number| self.entity(number).into_iter().collect();
        let owned_by = command.owned_by.map(own);
        let settings = WalkSettings { table, views, start, owned_by };
        let refusals = self.naive.refuse_views(table, views.0);
        let result = self.rib.walk(settings.clone());
        let Some(walk) = accepted(result, &refusals) else { return };
        let wanted = self.wanted(command);
        let best = match command.value % 3 {
            0 => Best::Of(world::PROTOCOLS[usize::from(command.prefix) % 3]),
            _ => Best::Overall,
        };
        let views = ViewSet(self.naive.supported(table, views.0));
        let mut cursor = Cursor {
            walk,
            settings: WalkSettings { views, ..settings },
            wanted: command.routes.then_some(wanted),
            best,
            returned_destinations: Vec::new(),
            returned_routes: BTreeSet::new(),
            destinations: BTreeSet::new(),
            routes: BTreeSet::new(),
        };
        cursor.destinations = cursor.eligible_destinations(&self.naive);
        cursor.routes = cursor.eligible_routes(&self.naive);
        self.cursors.push(cursor);
    }

    pub(crate) fn next(&mut self, number: u8, count: u8) {
        if self.cursors.is_empty() {
            return;
        }
        let place = usize::from(number) % self.cursors.len();
        let mut cursor = self.cursors.swap_remove(place);
        let refusals = self.naive.refuse_page(count.into());
        match cursor.wanted.clone() {
            None => self.next_destinations(&mut cursor, count, &refusals),
            Some(wanted) => self.next_routes(&mut cursor, &wanted, count, &refusals),
        }
        self.cursors.push(cursor);
    }

    fn next_destinations(&self, cursor: &mut Cursor, count: u8, refusals: &[ErrorKind]) {
        let result = self.rib.next_destinations(&mut cursor.walk, cursor.best, count.into());
        let Some(page) = accepted(result, refusals) else { return };
        assert!(page.len() <= count.into());
        let eligible = cursor.eligible_destinations(&self.naive);
        for view in page {
            let last = cursor.returned_destinations.last();
            assert!(last.is_none_or(|last| *last < view.prefix), "in order, each once");
            assert!(eligible.contains(&view.prefix), "{} does not belong there", view.prefix);
            cursor.returned_destinations.push(view.prefix);
            self.check_description(
                cursor.settings.table,
                &view,
                cursor.best,
                cursor.settings.views,
            );
        }
        let missed = |to: &&Prefix| !cursor.returned_destinations.contains(to);
        let missed = cursor.destinations.iter().find(missed);
        assert!(!cursor.walk.is_done() || missed.is_none(), "{missed:?} never came");
    }

    fn next_routes(&self, cursor: &mut Cursor, wanted: &Match, count: u8, refusals: &[ErrorKind]) {
        let result = self.rib.next_routes(&mut cursor.walk, wanted, count.into());
        let Some(page) = accepted(result, refusals) else { return };
        assert!(page.len() <= count.into());
        let eligible = cursor.eligible_routes(&self.naive);
        for view in page {
            let last = cursor.returned_destinations.last();
            assert!(last.is_none_or(|last| *last <= view.route.to), "in order");
            assert!(eligible.contains(&view.id), "route {} does not belong there", view.id);
            assert!(cursor.returned_routes.insert(view.id), "route {} comes twice", view.id);
            cursor.returned_destinations.push(view.route.to);
        }
        let missed = cursor.routes.difference(&cursor.returned_routes).next();
        assert!(!cursor.walk.is_done() || missed.is_none(), "{missed:?} never came");
    }

    /// What was not there all the time may or may not come (G13).
    pub(crate) fn settle_readers(&mut self) {
        for cursor in &mut self.cursors {
            let now = cursor.eligible_destinations(&self.naive);
            cursor.destinations.retain(|to| now.contains(to));
            let now = cursor.eligible_routes(&self.naive);
            cursor.routes.retain(|id| now.contains(id));
        }
        for place in 0..self.naive.lists.len() {
            let members = self.naive.members(self.naive.lists[place].id);
            let list = &mut self.naive.lists[place];
            list.throughout.retain(|id| members.contains(id));
            list.returned.retain(|id| members.contains(id));
        }
    }

    /// All three look-ups, over all protocols and of each.
    pub(crate) fn look_up(&self, table: TableId, to: Prefix, views: ViewSet) {
        let naive = &self.naive;
        let asked = self.naive.supported(table, views.0);
        let seen = |place| naive.is_seen(place, asked);
        for how in [LookUp::Exact, LookUp::MostSpecific, LookUp::LessSpecific] {
            let candidates = world::prefixes(table.family).filter(|found| match how {
                // Asked for by its name, what a hold keeps is seen too (HOLD-13).
                LookUp::Exact => {
                    *found == to
                        && (seen((table, to)) || naive.held_views((table, to)) & asked != 0)
                }
                LookUp::MostSpecific => found.covers(to) && seen((table, *found)),
                LookUp::LessSpecific => found.covers(to) && *found != to && seen((table, *found)),
            });
            let expected = candidates.max_by_key(|found| found.length());
            let mut refusals = naive.refuse_views(table, views.0);
            if refusals.is_empty() && expected.is_none() {
                refusals.push(ErrorKind::NotFound);
            }
            let of = world::PROTOCOLS.map(Best::Of);
            for best in of.into_iter().chain([Best::Overall]) {
                let found = self.rib.look_up(table, to, how, best, views);
                let Some(found) = accepted(found, &refusals) else { continue };
                assert_eq!(Some(found.prefix), expected, "{how:?} of {to}");
                self.check_description(table, &found, best, ViewSet(asked));
            }
        }
    }

    /// What is told of a destination (BEST-08 to BEST-13, G5, G44, G46).
    pub(crate) fn check_description(
        &self,
        table: TableId,
        told: &DestinationView,
        best: Best,
        views: ViewSet,
    ) {
        let place = (table, told.prefix);
        assert_eq!(told.views.0, self.naive.views(place), "the views of {}", told.prefix);
        let ids: Vec<u8> = told.per_view.iter().map(|record| record.view.id()).collect();
        assert_eq!(ids, views.iter().map(|view| view.id()).collect::<Vec<_>>());
        for record in &told.per_view {
            let view = record.view.id().into();
            let of = match best {
                Best::Overall => None,
                Best::Of(protocol) => Some(protocol),
            };
            let expected = self.naive.elect(place, view, of);
            let expected = expected.map(|id| self.naive.route(id).unwrap());
            assert_eq!(record.best, expected.map(|route| (route.id, route.owner)));
            let routes = self.naive.candidates(place);
            let routes = routes.iter().filter(|route| route.views >> view & 1 == 1).count();
            assert_eq!(record.routes, routes, "NumRoutes of {}", told.prefix);
            assert_eq!(record.held, self.naive.held_in(place, view), "held at {}", told.prefix);
            let natural = ["10.0.0.0/8"].contains(&&*told.prefix.to_string());
            let flags = expected
                .map_or(0, |route| u32::from(natural) | u32::from(route.flags & 0xF != 0) << 2);
            // Whether the kernel has it is compared where the kernel is.
            assert_eq!(record.flags.0 & !2, flags, "the flags of {}", told.prefix);
        }
    }
}
