//! What it comes to when a route appears, changes or goes: who is best then, and who must know.
//!
//! Everything that changes a destination goes through here: the election, the accounts of the
//! owners, the kernel's list, holds and change notifications are settled in one place.

use super::{
    Rib,
    arena::Slot,
    recursion::follows,
    resolve::Resolved,
    route::{Expiry, Route},
    routes::too_many,
};
use crate::model::{
    Change, ChangeFlags, EntityId, Now, Prefix, Result, RouteFlags, RouteState, TableId, View,
    ViewSet,
};

impl Rib {
    pub(super) fn insert_route(&mut self, route: Route, now: Now) -> Result<(Slot, ChangeFlags)> {
        let (id, to, owner, views) = (route.table, route.to, route.owner, route.views);
        let before = self.before(id, to);
        let slot = self.routes.insert(route).ok_or_else(too_many)?;
        let user = self.entities.user(owner);
        self.tables.entry(id).or_default().insert(to, slot, user, &self.routes);
        if let Some(entity) = self.entities.get_mut(owner) {
            entity.routes.insert(slot);
        }
        self.enlist(slot);
        self.touch(id, to, now);
        let moved = self.elect(id, to);
        self.record((id, to), before, Some(owner));
        self.note(id, to, Change { all: views, best: moved, forwarding: moved });
        Ok((slot, ChangeFlags::NEW.with(ChangeFlags::BEST, !moved.is_empty())))
    }

    /// Puts other contents into a route; its list and its deadline stay.
    pub(super) fn replace_route(&mut self, slot: Slot, mut route: Route, now: Now) -> ChangeFlags {
        let (id, to, owner) = (route.table, route.to, route.owner);
        let before = self.before(id, to);
        self.dismiss(slot);
        let Some(known) = self.routes.get_mut(slot) else { return ChangeFlags::default() };
        if known.cost() == route.cost() {
            // Same preference and metric: it keeps its place among its equals.
            route.rank.turn = known.rank.turn;
        }
        route.best_in = known.best_in;
        route.generation = known.generation.wrapping_add(1);
        route.set_expiry(known.expiry());
        route.set_list(known.list());
        let was_best = route.best_in;
        let difference = Difference::between(known, &route);
        let views = known.views.union(route.views);
        let old = std::mem::replace(known, route);
        if let Some(entity) = self.entities.get_mut(owner) {
            entity.absences.forget(old.absence);
        }
        if let Some(neighbour) = old.neighbour {
            self.next_hops.release(neighbour);
        }
        self.next_hops.release_set(old.next_hops);
        self.enlist(slot);
        let table = self.tables.get_mut(&id);
        if let Some(destination) = table.and_then(|table| table.destinations.get_mut(&to)) {
            destination.place(slot, &self.routes);
        }
        self.touch(id, to, now);
        let moved = self.elect(id, to);
        if !was_best.is_empty() {
            // Where it stays best, what it leads to may be another.
            self.queue(id, to);
        }
        self.record((id, to), before, Some(owner));
        self.note(id, to, difference.change(views, was_best).and(Change::whole(moved)));
        ChangeFlags::default().with(ChangeFlags::BEST, !was_best.union(moved).is_empty())
    }

    /// Withdraws a route from everything that knows of it; returns the views that lost their best.
    ///
    /// Where it was the last and the destination is marked for it, it is held from now on. `by` is
    /// who took it back; none when it goes by itself, which in order of change is told to everybody.
    pub(super) fn remove_route(&mut self, slot: Slot, by: Option<EntityId>, now: Now) -> ViewSet {
        self.set_expiry(slot, Expiry::Never);
        self.put_in_list(slot, None);
        let Some(route) = self.routes.get_mut(slot) else { return ViewSet::NONE };
        let (id, to, owner) = (route.table, route.to, route.owner);
        let before = self.before(id, to);
        self.dismiss(slot);
        let Some(route) = self.routes.get_mut(slot) else { return ViewSet::NONE };
        // In no view, it loses everywhere: the election then also settles its owner's account.
        let absence = route.absence;
        let views = std::mem::replace(&mut route.views, ViewSet::NONE);
        self.touch(id, to, now);
        let moved = self.elect(id, to);
        let held_in = self.begin_hold(id, to, (slot, views), now.moment);
        if let Some(table) = self.tables.get_mut(&id) {
            table.remove(to, slot, self.entities.user(owner));
        }
        if let Some(entity) = self.entities.get_mut(owner) {
            entity.routes.remove(&slot);
            entity.untold.remove(&slot);
            entity.absences.forget(absence);
        }
        if held_in.is_empty() {
            self.free_route(slot);
        } else if let Some(route) = self.routes.get_mut(slot) {
            route.views = held_in;
            route.state = RouteState::Deleting;
        }
        self.settle_existence(id, to);
        self.record((id, to), before, by);
        self.note(id, to, Change { all: views, best: moved, forwarding: moved });
        moved
    }

    /// Frees a route that is in no table any more.
    pub(super) fn free_route(&mut self, slot: Slot) {
        let Some(route) = self.routes.remove(slot) else { return };
        if let Some(neighbour) = route.neighbour {
            self.next_hops.release(neighbour);
        }
        self.next_hops.release_set(route.next_hops);
    }

    /// A destination without routes or holds is none any more: what was kept with it goes.
    pub(super) fn settle_existence(&mut self, id: TableId, to: Prefix) {
        let Some(table) = self.tables.get_mut(&id) else { return };
        if table.forget_if_gone(to) {
            self.cells.clear(id, to);
        }
    }

    /// Notes when something about a destination changed.
    pub(super) fn touch(&mut self, id: TableId, to: Prefix, now: Now) {
        let table = self.tables.get_mut(&id);
        if let Some(destination) = table.and_then(|table| table.destinations.get_mut(&to)) {
            destination.changed = now.time.max(destination.changed.next());
        }
    }

    /// Chooses the best routes of a destination again, and of those that depend on it.
    pub(super) fn elect(&mut self, id: TableId, to: Prefix) -> ViewSet {
        // First who can be followed at all: what is best in between would be told, and count.
        let resolved = self.resolve_through(id, to);
        let moved = self.choose(id, to);
        self.elect_where_resolved(&resolved, Some((id, to)));
        moved
    }

    /// Elects where resolving made a difference, but for a destination where that is done already.
    pub(super) fn elect_where_resolved(
        &mut self,
        resolved: &Resolved,
        but: Option<(TableId, Prefix)>,
    ) {
        for (id, to) in resolved.destinations.iter().filter(|it| Some(**it) != but) {
            let before = self.before(*id, *to);
            let moved = self.choose(*id, *to);
            self.record((*id, *to), before, None);
            self.note(*id, *to, Change::whole(moved));
        }
        for set in &resolved.spares {
            self.groups.touch(*set);
        }
        self.elect_users_of(&resolved.sets);
    }

    /// Chooses the best routes of a destination again and queues it if packets may go elsewhere.
    pub(super) fn choose(&mut self, id: TableId, to: Prefix) -> ViewSet {
        let was_followed = self.followed_by_the_kernel(id, to);
        let Ok(settings) = self.policy.table(id) else { return ViewSet::NONE };
        let Some(destination) =
            self.tables.get_mut(&id).and_then(|table| table.destinations.get_mut(&to))
        else {
            return ViewSet::NONE;
        };
        for slot in destination.routes() {
            // What was noted may be from before a change that has not come to this route yet.
            let Some(route) = self.routes.get_mut(*slot) else { continue };
            route.viable = follows(&self.next_hops, self.denied.get(slot), route);
        }
        let election =
            destination.elect((settings.views(id.family), settings.viability), &mut self.routes);
        for owner in election.gained {
            if let Some(entity) = self.entities.get_mut(owner) {
                entity.best_routes += 1;
            }
        }
        for owner in election.lost {
            if let Some(entity) = self.entities.get_mut(owner) {
                entity.best_routes = entity.best_routes.saturating_sub(1);
            }
        }
        self.settle_wish(id, to);
        if let Some(slot) = was_followed
            && election.moved.contains(View::UNICAST)
        {
            self.note_result(slot);
        }
        election.moved
    }

    /// Whether packets can follow a route with these flags and this set of next hops.
    pub(super) fn is_viable(&self, flags: RouteFlags, next_hops: Slot) -> bool {
        let leads_out =
            || self.next_hops.set(next_hops).is_some_and(|set| set.forwarding.is_some());
        flags.special().is_some() || leads_out()
    }
}

/// How far two versions of a route differ.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Difference {
    None,
    /// In what only those hear of who follow everything.
    Aside,
    /// Where it is best, in what is told of the best route.
    Best,
    /// Where it is best, in how packets are forwarded.
    Forwarding,
}

impl Difference {
    fn between(old: &Route, new: &Route) -> Self {
        let forwarding = |route: &Route| route.flags.0 & RouteFlags::FORWARDING.0;
        // Equal lists of next hops are one set.
        if old.cost() != new.cost()
            || old.next_hops != new.next_hops
            || forwarding(old) != forwarding(new)
        {
            Self::Forwarding
        } else if old.flags != new.flags {
            Self::Best
        } else if old.neighbour != new.neighbour
            || old.views != new.views
            || old.private() != new.private()
        {
            Self::Aside
        } else {
            Self::None
        }
    }

    /// What there is to tell in the views of the route, and in those of which it is the best.
    fn change(self, views: ViewSet, best_in: ViewSet) -> Change {
        let from = |least: Self, views: ViewSet| if self >= least { views } else { ViewSet::NONE };
        Change {
            all: from(Self::Aside, views),
            best: from(Self::Best, best_in),
            forwarding: from(Self::Forwarding, best_in),
        }
    }
}
