//! Offering and withdrawing routes: identity, ownership, and what a change comes to.
//!
//! A route is told apart by destination, owner and neighbour; offering one again updates it. Every
//! command checks everything first and changes nothing if it refuses.

use super::{
    Rib,
    arena::Slot,
    offer::{Amendment, Offer, OfferedNextHops},
    route::{Expiry, Route},
};
use crate::model::{
    ChangeFlags, EntityId, EntityKey, Error, ErrorKind, Now, Rank, Result, RouteId, RouteState,
    Span, TableId, Turn, ViewSet,
};

impl Rib {
    /// Offers a route; an earlier offer with the same identity is replaced (RTMv2 rows RT-01 to
    /// RT-13). Returns its id and what happened: `NEW`, `BEST`, both or neither.
    ///
    /// # Errors
    /// `InvalidParameter` for a prefix of the other family, wrong views, flags or next hops;
    /// `AccessDenied` and `InvalidHandle` for next hops that are another's or no one's, `AccessDenied`
    /// also for what the owner's grant does not allow;
    /// `NotSupported` for a view the table has not; `NotEnoughMemory` beyond a limit.
    pub fn add_route(
        &mut self,
        owner: EntityId,
        offer: &Offer<'_>,
        how: ChangeFlags,
        now: Now,
    ) -> Result<(RouteId, ChangeFlags)> {
        let entity = self.entities.active(owner)?;
        let table = entity.key.table;
        let how = match how {
            // Who keeps one route to a destination means that one, whatever it says.
            ChangeFlags(0) | ChangeFlags::NEW if entity.terms.single_route => ChangeFlags::FIRST,
            how => how,
        };
        let views = self.check_offer(owner, table, offer, how)?;
        self.check_route_right(entity, offer.to, offer.preference, views)?;
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
        let entity = self.entities.active(owner)?;
        let (EntityKey { table, protocol, .. }, absence) = (entity.key, entity.absences.number);
        if known.is_none() {
            self.check_room_for_route(owner, table, offer.to)?;
        }
        let next_hops = self.refer_offered_set(owner, table, &offer.next_hops)?;
        if let Some(neighbour) = offer.neighbour {
            self.next_hops.refer(neighbour);
        }
        let preference = self.preference(owner, protocol, offer.preference);
        let mut route = Route {
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
            viable: self.is_viable(offer.flags, next_hops),
            state: RouteState::Created,
            generation: 0,
            absence,
            next_hops,
            extras: None,
        };
        if !offer.private.is_empty() {
            route.set_private(offer.private);
        }
        let (slot, change) = match known {
            Some(slot) => (slot, self.replace_route(slot, route, now)),
            None => self.insert_route(route, now)?,
        };
        self.set_ttl(slot, offer.ttl, now);
        if offer.list.is_some() {
            self.put_in_list(slot, offer.list);
        }
        let id = self.routes.id(slot).map(RouteId).ok_or_else(too_many)?;
        Ok((id, change))
    }

    /// Changes a route in part, all at once (RTMv2 rows UPD-01 to UPD-07); says whether a best route
    /// changed.
    ///
    /// # Errors
    /// As [`Rib::add_route`] and [`Rib::delete_route`]; `Busy` when the route has another generation,
    /// `InvalidParameter` when it leads to another prefix.
    pub fn update_route(
        &mut self,
        owner: EntityId,
        id: RouteId,
        changes: &Amendment<'_>,
        now: Now,
    ) -> Result<ChangeFlags> {
        let slot = self.own_route(owner, id)?;
        let absence = self.entities.active(owner)?.absences.number;
        let known = self.routes.get(slot).ok_or_else(|| no_such_route(id))?.clone();
        if let Some(to) = changes.to.filter(|to| *to != known.to) {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("route {id} leads to {}, not to {to}", known.to)));
        }
        if let Some(expected) = changes.generation.filter(|it| *it != u64::from(known.generation)) {
            let found = known.generation;
            return Err(ErrorKind::Busy.because(format_args!(
                "route {id} was updated meanwhile: its generation is {found}, not {expected}"
            )));
        }
        let private = changes.private.unwrap_or(&[]);
        let offer = Offer {
            to: known.to,
            // What stays needs no checking: a deleted next hop may be among it.
            neighbour: changes.neighbour.flatten(),
            preference: changes.preference.unwrap_or_default(),
            metric: changes.metric.unwrap_or(known.rank.metric),
            flags: known.flags,
            views: changes.views.unwrap_or(known.views),
            next_hops: changes
                .next_hops
                .clone()
                .unwrap_or_else(|| OfferedNextHops::Ids([][..].into())),
            ttl: changes.ttl.unwrap_or(Span::FOREVER),
            private,
            list: changes.list,
        };
        let views = self.check_offer(owner, known.table, &offer, ChangeFlags(0))?;
        let wanted = changes.preference.unwrap_or(known.wanted);
        self.check_route_right(self.entities.active(owner)?, known.to, wanted, views)?;
        let next_hops = match &changes.next_hops {
            Some(offered) => self.refer_offered_set(owner, known.table, offered)?,
            None => self.next_hops.refer_again(known.next_hops),
        };
        let neighbour = changes.neighbour.unwrap_or(known.neighbour);
        if let Some(neighbour) = neighbour {
            self.next_hops.refer(neighbour);
        }
        let preference = self.policy.levels.preference(known.protocol, wanted);
        let viable = self.is_viable(known.flags, next_hops);
        let rank = Rank { preference, metric: offer.metric, turn: self.next_turn() };
        let mut route =
            Route { neighbour, rank, wanted, views, viable, next_hops, absence, ..known };
        if changes.private.is_some() {
            route.set_private(private);
        }
        let expiry = route.expiry();
        let change = self.replace_route(slot, route, now);
        match (changes.ttl, expiry) {
            (Some(ttl), _) => self.set_ttl(slot, ttl, now),
            // An update while its owner is asked is an answer (RTMv2 row TTL-08).
            (None, Expiry::Asked(_)) => self.set_expiry(slot, Expiry::Never),
            (None, _) => {}
        }
        if changes.list.is_some() {
            self.put_in_list(slot, changes.list);
        }
        Ok(change)
    }

    /// Takes a route back (RTMv2 rows DEL-01 to DEL-06); says whether a best route changed.
    ///
    /// # Errors
    /// `AccessDenied` for another's route, `NotFound` for one that is gone, `InvalidHandle` for an
    /// id that never was.
    pub fn delete_route(&mut self, owner: EntityId, id: RouteId, now: Now) -> Result<ChangeFlags> {
        let slot = self.own_route(owner, id)?;
        let moved = self.remove_route(slot, Some(owner), now);
        Ok(ChangeFlags::default().with(ChangeFlags::BEST, !moved.is_empty()))
    }

    /// The slot of a route that the entity may change.
    pub(super) fn own_route(&self, owner: EntityId, id: RouteId) -> Result<Slot> {
        let table = self.entities.active(owner)?.key.table;
        let gone = || ErrorKind::NotFound.because(format_args!("route {id} is already gone"));
        let Some(slot) = self.routes.find(id.0) else {
            return Err(if self.routes.is_spent(id.0) { gone() } else { no_such_route(id) });
        };
        match self.routes.get(slot) {
            Some(route) if route.table != table => Err(no_such_route(id)),
            Some(route) if route.owner != owner => Err(ErrorKind::AccessDenied
                .because(format_args!("route {id} belongs to entity {}", route.owner))),
            Some(route) if route.state == RouteState::Created => Ok(slot),
            // What is held is withdrawn already.
            _ => Err(gone()),
        }
    }

    fn set_ttl(&mut self, slot: Slot, ttl: Span, now: Now) {
        self.set_expiry(slot, ttl.end(now.moment).map_or(Expiry::Never, Expiry::At));
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

    fn next_turn(&mut self) -> Turn {
        self.turn.0 += 1;
        self.turn
    }
}

pub(super) fn no_such_route(id: RouteId) -> Error {
    ErrorKind::InvalidHandle.because(format_args!("there is no route {id}"))
}

pub(super) fn too_many() -> Error {
    ErrorKind::NotEnoughMemory.because("no more routes can be numbered")
}
