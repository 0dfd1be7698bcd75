//! Offering and withdrawing routes: identity, ownership, and what a change comes to.
//!
//! A route is told apart by destination, owner and neighbour; offering one again updates it. Every
//! command checks everything first and changes nothing if it refuses.

use std::sync::Arc;

use super::{Rib, arena::Slot, nexthops::Whose};
use crate::model::{
    ChangeFlags, EntityId, EntityKey, Error, ErrorKind, Family, Forwarding, Metric, NextHopId,
    NextHopKey, Now, Preference, Prefix, Protocol, Rank, Result, RouteFlags, RouteId, TableId,
    Turn, View, ViewSet, Weight,
};

/// One entity's way to a destination.
#[derive(Debug)]
pub struct Route {
    /// The prefix it leads to.
    pub to: Prefix,
    /// The table it is in.
    pub table: TableId,
    /// The entity it belongs to.
    pub owner: EntityId,
    /// The owner's protocol.
    pub protocol: Protocol,
    /// The owner's next hop it was learnt from.
    pub neighbour: Option<NextHopId>,
    /// Its place among the candidates.
    pub rank: Rank,
    /// The preference its owner asks for; 0 for the protocol's level.
    pub wanted: Preference,
    /// As its owner gave them.
    pub flags: RouteFlags,
    /// The views it is offered in.
    pub views: ViewSet,
    /// The views it is the best route of.
    pub best_in: ViewSet,
    /// Whether packets can follow it now.
    pub viable: bool,
    pub(super) next_hops: Slot,
}

/// What an entity offers.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// The prefix.
    pub to: Prefix,
    /// One of the owner's next hops, or none.
    pub neighbour: Option<NextHopId>,
    /// 0 takes the protocol's level.
    pub preference: Preference,
    /// The protocol's own cost.
    pub metric: Metric,
    /// `RTM_ROUTE_FLAGS_*`.
    pub flags: RouteFlags,
    /// At least one, all supported.
    pub views: ViewSet,
    /// Where to send, in the order to keep.
    pub next_hops: OfferedNextHops<'a>,
}

/// A next hop named by its key, with a weight if it is to have another than it has.
pub type InlineNextHop = (NextHopKey, Option<Weight>);

/// The two ways of naming next hops.
#[derive(Clone, Copy, Debug)]
pub enum OfferedNextHops<'a> {
    /// By the ids of what the owner added before.
    Ids(&'a [NextHopId]),
    /// Inline: found, or added for as long as a route refers to them.
    ///
    /// A weight changes the next hop, for all routes that have it; none leaves it as it is, or 1.
    Inline(&'a [InlineNextHop]),
}

impl OfferedNextHops<'_> {
    fn len(self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Inline(inline) => inline.len(),
        }
    }
}

impl Rib {
    /// Offers a route; an earlier offer with the same identity is replaced (RTMv2 rows RT-01 to
    /// RT-13). Returns its id and what happened: `NEW`, `BEST`, both or neither.
    ///
    /// # Errors
    /// `InvalidParameter` for a prefix of the other family, wrong views, flags or next hops;
    /// `AccessDenied` and `InvalidHandle` for next hops that are another's or no one's;
    /// `NotSupported` for a view the table has not; `NotEnoughMemory` beyond a limit.
    pub fn add_route(
        &mut self,
        owner: EntityId,
        offer: &Offer<'_>,
        how: ChangeFlags,
        now: Now,
    ) -> Result<(RouteId, ChangeFlags)> {
        let table = self.entities.active(owner)?.key.table;
        let views = self.check_offer(owner, table, offer, how)?;
        let known = self.same_route(owner, table, offer, how);
        self.put_route(owner, offer, views, known, now)
    }

    /// Takes a checked offer in, in the place of a known route of the owner's or as a new one.
    pub(super) fn put_route(
        &mut self,
        owner: EntityId,
        offer: &Offer<'_>,
        views: ViewSet,
        known: Option<Slot>,
        now: Now,
    ) -> Result<(RouteId, ChangeFlags)> {
        let EntityKey { table, protocol, .. } = self.entities.active(owner)?.key;
        if known.is_none() {
            self.check_room_for_route(table, offer.to)?;
        }
        let set = self.refer_offered_set(owner, table.family, offer.next_hops)?;
        if let Some(neighbour) = offer.neighbour {
            self.next_hops.refer(neighbour);
        }
        let preference = self.policy.levels.preference(protocol, offer.preference);
        let route = Route {
            to: offer.to,
            table,
            owner,
            protocol,
            neighbour: offer.neighbour,
            rank: Rank { preference, metric: offer.metric, turn: self.next_turn() },
            wanted: offer.preference,
            flags: offer.flags,
            views,
            best_in: ViewSet::NONE,
            viable: offer.flags.special().is_some()
                || self.next_hops.set(set).is_some_and(|set| set.forwarding.is_some()),
            next_hops: set,
        };
        let (slot, change) = match known {
            Some(slot) => (slot, self.replace_route(slot, route, now)),
            None => self.insert_route(route, now)?,
        };
        let id = self.routes.id(slot).map(RouteId).ok_or_else(too_many)?;
        Ok((id, change))
    }

    /// Takes a route back (RTMv2 rows DEL-01 to DEL-06); says whether a best route changed.
    ///
    /// # Errors
    /// `AccessDenied` for another's route, `NotFound` for one that is gone, `InvalidHandle` for an
    /// id that never was.
    pub fn delete_route(&mut self, owner: EntityId, id: RouteId, now: Now) -> Result<ChangeFlags> {
        self.entities.active(owner)?;
        let Some(slot) = self.routes.find(id.0) else {
            return Err(if self.routes.is_spent(id.0) {
                ErrorKind::NotFound.because(format_args!("route {id} is already gone"))
            } else {
                no_such_route(id)
            });
        };
        match self.routes.get(slot) {
            Some(route) if route.owner != owner => Err(ErrorKind::AccessDenied
                .because(format_args!("route {id} belongs to entity {}", route.owner))),
            _ => {
                let moved = self.remove_route(slot, now);
                Ok(ChangeFlags::default().with(ChangeFlags::BEST, !moved.is_empty()))
            }
        }
    }

    /// Everything about the offer that can be wrong by itself; returns its views, "all" spelled out.
    pub(super) fn check_offer(
        &self,
        owner: EntityId,
        table: TableId,
        offer: &Offer<'_>,
        how: ChangeFlags,
    ) -> Result<ViewSet> {
        let refuse = |why: std::fmt::Arguments<'_>| Err(ErrorKind::InvalidParameter.because(why));
        if !matches!(how, ChangeFlags(0) | ChangeFlags::FIRST | ChangeFlags::NEW) {
            return refuse(format_args!("change flags {:#x} are not 0, FIRST or NEW", how.0));
        }
        if offer.to.family() != table.family {
            return refuse(format_args!("prefix {} is not {}", offer.to, table.family));
        }
        if offer.views.is_empty() {
            return refuse(format_args!("a route needs at least one view"));
        }
        let views = offer.views.within(self.policy.table(table)?.views)?;
        let most = self.policy.limits.next_hops_per_route as usize;
        if offer.next_hops.len() > most {
            let count = offer.next_hops.len();
            return refuse(format_args!("{count} next hops, a route has {most} at most"));
        }
        if let Some(neighbour) = offer.neighbour {
            self.next_hops.usable(owner, neighbour)?;
        }
        match offer.next_hops {
            OfferedNextHops::Ids(ids) => {
                for (place, id) in ids.iter().enumerate() {
                    self.next_hops.usable(owner, *id)?;
                    if ids.iter().take(place).any(|other| other == id) {
                        return refuse(format_args!("next hop {id} is listed twice"));
                    }
                }
            }
            OfferedNextHops::Inline(inline) => {
                for (place, (key, _)) in inline.iter().enumerate() {
                    if inline.iter().take(place).any(|(other, _)| other == key) {
                        return refuse(format_args!("next hop {key} is listed twice"));
                    }
                }
            }
        }
        Ok(views)
    }

    /// The route that the offer is about, by RTMv2's three ways of matching.
    fn same_route(
        &self,
        owner: EntityId,
        table: TableId,
        offer: &Offer<'_>,
        how: ChangeFlags,
    ) -> Option<Slot> {
        if how == ChangeFlags::NEW {
            return None;
        }
        let destination = self.tables.get(&table)?.destinations.get(&offer.to)?;
        destination.routes().iter().copied().find(|slot| {
            self.routes.get(*slot).is_some_and(|route| {
                let same_neighbour =
                    how == ChangeFlags::FIRST || route.neighbour == offer.neighbour;
                route.owner == owner && same_neighbour
            })
        })
    }

    fn check_room_for_route(&self, id: TableId, to: Prefix) -> Result<()> {
        let Some(table) = self.tables.get(&id) else { return Ok(()) };
        let limits = self.policy.limits;
        if table.routes >= limits.routes as usize {
            return Err(ErrorKind::NotEnoughMemory
                .because(format_args!("table {id} has {} routes, the most", limits.routes)));
        }
        let candidates = table.destinations.get(&to).map_or(0, |d| d.routes().len());
        if candidates >= limits.routes_per_destination as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "{to} has {candidates} routes, the most for a destination"
            )));
        }
        Ok(())
    }

    /// The set of the offered next hops, referred to once more; the caller owes a release.
    fn refer_offered_set(
        &mut self,
        owner: EntityId,
        family: Family,
        offered: OfferedNextHops<'_>,
    ) -> Result<Slot> {
        match offered {
            OfferedNextHops::Ids(ids) => {
                self.check_room_for_list(owner, Some(ids))?;
                self.next_hops.refer_set(owner, ids, &self.links)
            }
            OfferedNextHops::Inline(inline) => {
                let known = self.known_next_hops(owner, inline);
                self.check_room_for_list(owner, known.as_deref())?;
                let (ids, changed) = self.inline_next_hops(owner, family, inline)?;
                let set = self.next_hops.refer_set(owner, &ids, &self.links)?;
                if changed {
                    self.resolve_again(Whose::Of(owner));
                }
                Ok(set)
            }
        }
    }

    /// The next hops, if all of them are there already.
    fn known_next_hops(&self, owner: EntityId, inline: &[InlineNextHop]) -> Option<Vec<NextHopId>> {
        inline.iter().map(|(key, _)| self.next_hops.find(owner, *key)).collect()
    }

    fn insert_route(&mut self, route: Route, now: Now) -> Result<(Slot, ChangeFlags)> {
        let (id, to, owner) = (route.table, route.to, route.owner);
        let slot = self.routes.insert(route).ok_or_else(too_many)?;
        self.tables.entry(id).or_default().insert(to, slot, &self.routes);
        if let Some(entity) = self.entities.get_mut(owner) {
            entity.routes.insert(slot);
        }
        self.touch(id, to, now);
        let moved = self.elect(id, to);
        Ok((slot, ChangeFlags::NEW.with(ChangeFlags::BEST, !moved.is_empty())))
    }

    fn replace_route(&mut self, slot: Slot, mut route: Route, now: Now) -> ChangeFlags {
        let Some(known) = self.routes.get_mut(slot) else { return ChangeFlags::default() };
        let (id, to) = (route.table, route.to);
        let order = |rank: Rank| (rank.preference, rank.metric);
        if order(known.rank) == order(route.rank) {
            // Same preference and metric: it keeps its place among its equals.
            route.rank.turn = known.rank.turn;
        }
        route.best_in = known.best_in;
        let was_best = !route.best_in.is_empty();
        let old = std::mem::replace(known, route);
        if let Some(neighbour) = old.neighbour {
            self.next_hops.release(neighbour);
        }
        self.next_hops.release_set(old.next_hops);
        if let Some(destination) =
            self.tables.get_mut(&id).and_then(|table| table.destinations.get_mut(&to))
        {
            destination.place(slot, &self.routes);
        }
        self.touch(id, to, now);
        let moved = self.elect(id, to);
        if was_best {
            // Where it stays best, what it leads to may be another.
            self.queue(id, to);
        }
        ChangeFlags::default().with(ChangeFlags::BEST, was_best || !moved.is_empty())
    }

    /// Removes a route from everything that knows of it; returns the views that lost their best.
    pub(super) fn remove_route(&mut self, slot: Slot, now: Now) -> ViewSet {
        let Some(route) = self.routes.get_mut(slot) else { return ViewSet::NONE };
        // In no view, it loses everywhere: the election then also settles its owner's account.
        route.views = ViewSet::NONE;
        let (id, to) = (route.table, route.to);
        self.touch(id, to, now);
        let moved = self.elect(id, to);
        let Some(route) = self.routes.remove(slot) else { return moved };
        if let Some(table) = self.tables.get_mut(&id) {
            table.remove(to, slot);
        }
        if let Some(entity) = self.entities.get_mut(route.owner) {
            entity.routes.remove(&slot);
        }
        if let Some(neighbour) = route.neighbour {
            self.next_hops.release(neighbour);
        }
        self.next_hops.release_set(route.next_hops);
        moved
    }

    /// Notes when something about a destination changed.
    pub(super) fn touch(&mut self, id: TableId, to: Prefix, now: Now) {
        let table = self.tables.get_mut(&id);
        if let Some(destination) = table.and_then(|table| table.destinations.get_mut(&to)) {
            destination.changed = now.time.max(destination.changed.next());
        }
    }

    /// Chooses the best routes of a destination again and queues it if packets may go elsewhere.
    pub(super) fn elect(&mut self, id: TableId, to: Prefix) -> ViewSet {
        let Ok(settings) = self.policy.table(id) else { return ViewSet::NONE };
        let Some(destination) =
            self.tables.get_mut(&id).and_then(|table| table.destinations.get_mut(&to))
        else {
            return ViewSet::NONE;
        };
        let election = destination.elect(settings, &mut self.routes);
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
        if election.moved.contains(View::UNICAST) {
            self.queue(id, to);
        }
        election.moved
    }

    /// The next hops of these sets lead elsewhere now: elect where routes use them.
    ///
    /// The sets come in ascending order.
    pub(super) fn elect_users_of(&mut self, whose: Whose, sets: &[Slot]) {
        if sets.is_empty() {
            return;
        }
        let uses = |route: &Route| sets.binary_search(&route.next_hops).is_ok();
        let users: Vec<Slot> = match whose {
            Whose::All => {
                let routes = self.routes.iter().filter(|(_, route)| uses(route));
                routes.map(|(slot, _)| slot).collect()
            }
            Whose::Of(owner) => {
                let owned = self.entities.active(owner).map(|entity| &entity.routes);
                let owned = owned.into_iter().flatten().copied();
                owned.filter(|slot| self.routes.get(*slot).is_some_and(uses)).collect()
            }
        };
        // All of them first: an election in between would see routes that are not viable any more.
        for slot in &users {
            let Some(route) = self.routes.get_mut(*slot) else { continue };
            let set = self.next_hops.set(route.next_hops);
            route.viable =
                route.flags.special().is_some() || set.is_some_and(|set| set.forwarding.is_some());
        }
        for slot in users {
            let Some(route) = self.routes.get(slot) else { continue };
            let (id, to) = (route.table, route.to);
            let is_best = route.best_in.contains(View::UNICAST);
            self.elect(id, to);
            if is_best {
                self.queue(id, to);
            }
        }
    }

    /// What the kernel is to do for this route; `None` when it has nothing to do for it.
    pub(super) fn forwarding(&self, route: &Route) -> Option<Arc<Forwarding>> {
        if route.flags.intersects(RouteFlags::INACTIVE) {
            return None;
        }
        match route.flags.special() {
            Some(special) => Some(self.special.forwarding(special)),
            None => self.next_hops.set(route.next_hops)?.forwarding.clone(),
        }
    }

    fn next_turn(&mut self) -> Turn {
        self.turn.0 += 1;
        self.turn
    }
}

pub(super) fn no_such_route(id: RouteId) -> Error {
    ErrorKind::InvalidHandle.because(format_args!("there is no route {id}"))
}

fn too_many() -> Error {
    ErrorKind::NotEnoughMemory.because("no more routes can be numbered")
}
