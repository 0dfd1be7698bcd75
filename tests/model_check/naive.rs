//! The naive table: plain vectors, everything computed from scratch whenever it is asked for.
//!
//! Written from RTMv2's rules (G1 to G48 are its gaps and what was decided about them) and three
//! decisions of this project: packets that can follow a route come before its preference, weights
//! belong to the next hop, and a route takes its turn among equals when it takes on its preference
//! and metric. Where next hops lead is in `recursion`.

use std::collections::{BTreeMap, BTreeSet};

use rtmd::model::{
    EntityId, Family, Forwarding, InterfaceIndex, ListId, NextHopId, NextHopKey, Prefix, Protocol,
    RouteId, TableId,
};

use rtmd::rib::Limits;

pub(crate) use crate::things::*;
use crate::{picture::Picture, recursion::Decided, statics::NaiveStatic, world::Setting};

pub(crate) type Place = (TableId, Prefix);

/// The views there can be.
pub(crate) const VIEWS: [u32; 3] = [0, 1, 2];

#[derive(Default)]
pub(crate) struct Naive {
    pub(crate) entities: Vec<NaiveEntity>,
    pub(crate) leaving: Vec<NaiveEntity>,
    pub(crate) routes: Vec<NaiveRoute>,
    /// Routes in hold-down, and the views that hold each.
    pub(crate) held: Vec<(NaiveRoute, u32)>,
    pub(crate) hops: Vec<NaiveHop>,
    /// The links there are.
    pub(crate) up: BTreeMap<InterfaceIndex, bool>,
    /// The families that each has an address of.
    pub(crate) networks: BTreeSet<(InterfaceIndex, Family)>,
    pub(crate) setting: Setting,
    pub(crate) limits: Limits,
    /// Tables that are kept out of the kernel for now.
    pub(crate) withheld: BTreeSet<TableId>,
    /// Where next hops lead, since the last command.
    pub(crate) decided: Decided,
    /// The best route of each prefix and view, which is what "the incumbent" means.
    pub(crate) best: BTreeMap<(Place, u32), RouteId>,
    pub(crate) holds: BTreeMap<Place, NaiveHold>,
    /// To be asked; what was asked is not among them any more.
    pub(crate) questions: Vec<NaiveQuestion>,
    pub(crate) lists: Vec<NaiveList>,
    pub(crate) statics: Vec<NaiveStatic>,
    pub(crate) followers: Vec<Follower>,
    /// The levels of protocols that were given another.
    pub(crate) levels: BTreeMap<Protocol, u32>,
    pub(crate) cells: BTreeMap<(EntityId, Prefix), Vec<u8>>,
    /// What was added, updated, deleted or held since the last command.
    pub(crate) touched: BTreeSet<Place>,
    pub(crate) turns: u64,
    pub(crate) steps: u64,
    /// In microseconds.
    pub(crate) now: u64,
}

impl Naive {
    pub(crate) fn entity(&self, id: EntityId) -> Option<&NaiveEntity> {
        self.entities.iter().find(|entity| entity.id == id)
    }

    pub(crate) fn is_service(&self, id: EntityId) -> bool {
        self.entity(id).is_some_and(|entity| entity.service)
    }

    pub(crate) fn route(&self, id: RouteId) -> Option<&NaiveRoute> {
        self.routes.iter().find(|route| route.id == id)
    }

    pub(crate) fn hop(&self, id: NextHopId) -> &NaiveHop {
        self.hops.iter().find(|hop| hop.id == id).unwrap()
    }

    pub(crate) fn find_hop(&self, owner: EntityId, key: NextHopKey) -> Option<&NaiveHop> {
        self.hops.iter().find(|hop| hop.owner == owner && hop.key == key && !hop.deleted)
    }

    pub(crate) fn is_viable(&self, route: &NaiveRoute) -> bool {
        route.flags & 0b111 != 0 || self.leads_out(route)
    }

    /// The routes of a destination in order of rank (G16).
    pub(crate) fn candidates(&self, place: Place) -> Vec<&NaiveRoute> {
        let mut routes: Vec<_> = self.routes.iter().filter(|r| r.place == place).collect();
        routes.sort_by_key(|route| (route.preference, route.metric, route.since));
        routes
    }

    /// The best route of a view, over all protocols or of one (BEST-01 to BEST-12, G1, G2).
    pub(crate) fn elect(&self, place: Place, view: u32, of: Option<Protocol>) -> Option<RouteId> {
        let incumbent = self.best.get(&(place, view));
        let mut routes = self.candidates(place);
        routes.retain(|route| route.views >> view & 1 == 1);
        routes.retain(|route| of.is_none_or(|protocol| route.protocol == protocol));
        routes.sort_by_key(|route| {
            let displaces = Some(&route.id) != incumbent;
            let is_lost = !self.setting.ignores_viability && !self.is_viable(route);
            (is_lost, route.preference, route.metric, displaces, route.since)
        });
        routes.first().map(|route| route.id)
    }

    pub(crate) fn best_in(&self, id: RouteId) -> u32 {
        let best = self.best.iter().filter(|(_, best)| **best == id);
        best.fold(0, |views, ((_, view), _)| views | 1 << view)
    }

    /// The supported ones of these views.
    pub(crate) fn supported(&self, table: TableId, views: u32) -> u32 {
        views & self.setting.views(table.family)
    }

    /// The views the destination has routes in (VIEW-07).
    pub(crate) fn views(&self, place: Place) -> u32 {
        self.candidates(place).iter().fold(0, |views, route| views | route.views)
    }

    pub(crate) fn held_views(&self, place: Place) -> u32 {
        let held = self.held.iter().filter(|(route, _)| route.place == place);
        held.fold(0, |all, (_, views)| all | views)
    }

    pub(crate) fn held_in(&self, place: Place, view: u32) -> Option<RouteId> {
        let held = self.held.iter();
        let mut held = held.filter(|(route, views)| route.place == place && views >> view & 1 == 1);
        held.next().map(|(route, _)| route.id)
    }

    /// Routes or a hold make a destination exist (G30).
    pub(crate) fn exists(&self, place: Place) -> bool {
        self.routes.iter().chain(self.held.iter().map(|(route, _)| route)).any(|r| r.place == place)
    }

    /// Whether a look for these views sees the destination (G3).
    pub(crate) fn is_seen(&self, place: Place, views: u32) -> bool {
        self.exists(place) && (views == 0 || self.views(place) & views != 0)
    }

    /// Does one thing, with all that follows from it: who is best, what is freed, who hears of it.
    /// Returns the destinations that have another best route in some view.
    ///
    /// What somebody does is his doing where he does it; what follows from it elsewhere is nobody's.
    pub(crate) fn step(
        &mut self,
        by: Option<(EntityId, Place)>,
        change: impl FnOnce(&mut Self),
    ) -> BTreeSet<Place> {
        let by = by.and_then(|(id, place)| Some((self.entity(id)?.caller.bus_name.clone(), place)));
        let before = Picture::of(self);
        change(self);
        self.decided = self.decide();
        let mut places: BTreeSet<Place> = self.routes.iter().map(|route| route.place).collect();
        places.extend(self.best.keys().map(|(place, _)| *place));
        let former = self.best.clone();
        let all = places.iter().flat_map(|place| VIEWS.map(|view| (*place, view)));
        // As long as they are not replaced, those of before are the incumbents.
        let elected = all.filter_map(|(p, v)| Some(((p, v), self.elect(p, v, None)?))).collect();
        self.best = elected;
        self.bury();
        self.tell(&before, by.as_ref());
        let moved = places.iter().filter(|place| {
            VIEWS.iter().any(|v| former.get(&(**place, *v)) != self.best.get(&(**place, *v)))
        });
        moved.copied().collect()
    }

    /// What goes with something else: next hops that only routes kept, marks and cells of
    /// destinations that are none any more.
    fn bury(&mut self) {
        let routes = self.routes.iter().chain(self.held.iter().map(|(route, _)| route));
        let used: BTreeSet<NextHopId> = routes
            .flat_map(|route| route.next_hops.iter().copied().chain(route.neighbour))
            .collect();
        self.hops.retain(|hop| used.contains(&hop.id) || !hop.deleted && !hop.inline);
        let gone: Vec<Place> =
            self.holds.keys().copied().filter(|place| !self.exists(*place)).collect();
        for place in gone {
            self.holds.remove(&place);
        }
        let mut cells = std::mem::take(&mut self.cells);
        cells.retain(|(id, to), _| {
            self.entity(*id).is_some_and(|owner| self.exists((owner.key.table, *to)))
        });
        self.cells = cells;
    }

    /// Withdraws a route, for its owner or because its time is over; whether a best one changed.
    pub(crate) fn remove(&mut self, id: RouteId, by: Option<EntityId>) -> bool {
        let now = self.now;
        let place = self.route(id).unwrap().place;
        let moved = self.step(by.map(|by| (by, place)), |naive| {
            let at = naive.routes.iter().position(|route| route.id == id).unwrap();
            let mut route = naive.routes.remove(at);
            naive.touched.insert(place);
            let ended = route.views & !naive.views(place) & !naive.held_views(place);
            let is_held = naive.held_views(place) != 0;
            let asked = naive.holds.get(&place).map(|hold| hold.user);
            if asked.is_some_and(|user| !naive.has_room_for_route(place.0, user)) {
                return;
            }
            let Some(hold) = naive.holds.get_mut(&place) else { return };
            let begun = ended & hold.marked;
            if begun == 0 {
                return;
            }
            // The mark is used up; all holds end together (G9).
            hold.marked &= !begun;
            let end = end(now, hold.milliseconds);
            hold.until = match (is_held, hold.until, end) {
                (true, Some(until), Some(end)) => Some(until.max(end)),
                (true, _, _) => None,
                (false, _, end) => end,
            };
            (route.expiry, route.list, route.user) = (Expiry::Never, None, hold.user);
            naive.held.push((route, begun));
        });
        moved.contains(&place)
    }

    pub(crate) fn end_hold(&mut self, place: Place) {
        self.step(None, |naive| {
            naive.touched.insert(place);
            naive.held.retain(|(route, _)| route.place != place);
        });
    }

    pub(crate) fn members(&self, list: ListId) -> BTreeSet<RouteId> {
        let members = self.routes.iter().filter(|route| route.list == Some(list));
        members.map(|route| route.id).collect()
    }

    /// What the kernel is to have (FWD-01, FWD-05).
    pub(crate) fn wish(&self) -> BTreeMap<Place, Forwarding> {
        let unicast = self.best.iter().filter(|((_, view), _)| *view == 0);
        let unicast = unicast.filter(|((place, _), _)| !self.withheld.contains(&place.0));
        let routes = unicast.map(|(_, id)| self.route(*id).unwrap());
        routes.filter_map(|route| Some((route.place, self.forwarding(route)?))).collect()
    }

    /// Whether the best unicast route belongs to an entity on its way out.
    pub(crate) fn is_best_leaving(&self, place: Place) -> bool {
        let best = self.best.get(&(place, 0)).and_then(|id| self.route(*id));
        best.is_some_and(|best| self.leaving.iter().any(|entity| entity.id == best.owner))
    }

    fn forwarding(&self, route: &NaiveRoute) -> Option<Forwarding> {
        match route.flags {
            flags if flags & 8 != 0 => None,
            flags if flags & 2 != 0 => Some(Forwarding::Blackhole),
            flags if flags & 4 != 0 => Some(Forwarding::Unreachable),
            flags if flags & 1 != 0 => Some(Forwarding::Prohibit),
            _ => Some(self.ways(route))
                .filter(|_| self.leads_out(route))
                .map(|ways| Forwarding::Unicast(ways.into())),
        }
    }
}

/// When a time of so many milliseconds ends; `u32::MAX` is for ever.
pub(crate) fn end(now: u64, milliseconds: u32) -> Option<u64> {
    (milliseconds != u32::MAX).then(|| now + u64::from(milliseconds) * 1000)
}
