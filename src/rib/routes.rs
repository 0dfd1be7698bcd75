//! Offering and withdrawing routes: identity, ownership, and what a change comes to.
//!
//! A route is told apart by destination, owner and neighbour; offering one again updates it. Every
//! command checks everything first and changes nothing if it refuses.

use super::{Rib, arena::Slot};
use crate::model::{
    ChangeFlags, EntityId, EntityKey, Error, ErrorKind, Family, ListId, Metric, Moment, NextHopId,
    NextHopKey, Now, Preference, Prefix, Protocol, Rank, Result, RouteFlags, RouteId, RouteState,
    Span, TableId, Turn, ViewSet, Weight,
};

/// One entity's way to a destination.
#[derive(Clone, Debug)]
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
    /// Whether it is in the table, or only held.
    pub state: RouteState,
    /// How often its owner has updated it: what an update can be made to depend on.
    pub generation: u32,
    pub(super) next_hops: Slot,
    /// What few routes have.
    extras: Option<Box<Extras>>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Extras {
    private: Box<[u8]>,
    expiry: Expiry,
    list: Option<ListId>,
}

/// When a route's time to live ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Expiry {
    #[default]
    Never,
    /// At this moment.
    At(Moment),
    /// It has ended; the owner is asked, and has until this moment to answer.
    Asked(Moment),
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
    /// How long it lives unless it is offered or updated again.
    pub ttl: Span,
    /// What only its owner gets to see (`EntitySpecificInfo`).
    pub private: &'a [u8],
    /// The owner's list to move it to; none leaves it where it is.
    pub list: Option<ListId>,
}

/// What an entity wants changed about a route; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Amendment<'a> {
    /// Only if the route leads to this prefix (RTMv2 gap 32).
    pub to: Option<Prefix>,
    /// Only if the route was not updated since it had this generation.
    pub generation: Option<u64>,
    /// Another neighbour, or none.
    pub neighbour: Option<Option<NextHopId>>,
    /// 0 takes the protocol's level.
    pub preference: Option<Preference>,
    /// Another metric.
    pub metric: Option<Metric>,
    /// Other views.
    pub views: Option<ViewSet>,
    /// Other next hops.
    pub next_hops: Option<OfferedNextHops<'a>>,
    /// Another time to live, from now on.
    pub ttl: Option<Span>,
    /// Other private data.
    pub private: Option<&'a [u8]>,
    /// The owner's list to move it to.
    pub list: Option<ListId>,
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

impl Route {
    /// Preference and metric: what its place among the candidates is decided by.
    pub(super) fn cost(&self) -> (Preference, Metric) {
        (self.rank.preference, self.rank.metric)
    }

    /// What only its owner gets to see.
    pub fn private(&self) -> &[u8] {
        self.extras.as_ref().map_or(&[], |extras| &extras.private)
    }

    /// The list of its owner's it is in.
    pub fn list(&self) -> Option<ListId> {
        self.extras.as_ref()?.list
    }

    /// When its time to live ends; none for never, or when that is over and its owner is asked.
    pub fn expires(&self) -> Option<Moment> {
        match self.expiry() {
            Expiry::At(moment) => Some(moment),
            Expiry::Never | Expiry::Asked(_) => None,
        }
    }

    pub(super) fn expiry(&self) -> Expiry {
        self.extras.as_ref().map_or(Expiry::Never, |extras| extras.expiry)
    }

    pub(super) fn set_expiry(&mut self, expiry: Expiry) {
        self.set_extra(|extras| extras.expiry = expiry);
    }

    pub(super) fn set_list(&mut self, list: Option<ListId>) {
        self.set_extra(|extras| extras.list = list);
    }

    fn set_private(&mut self, private: &[u8]) {
        self.set_extra(|extras| extras.private = private.into());
    }

    /// A route without anything special has no memory for it.
    fn set_extra(&mut self, set: impl FnOnce(&mut Extras)) {
        let mut extras = self.extras.take().unwrap_or_default();
        set(&mut extras);
        self.extras = Some(extras).filter(|extras| **extras != Extras::default());
    }
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
        let entity = self.entities.active(owner)?;
        let table = entity.key.table;
        let how = match how {
            // Who keeps one route to a destination means that one, whatever it says.
            ChangeFlags(0) | ChangeFlags::NEW if entity.terms.single_route => ChangeFlags::FIRST,
            how => how,
        };
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
        let next_hops = self.refer_offered_set(owner, table.family, offer.next_hops)?;
        if let Some(neighbour) = offer.neighbour {
            self.next_hops.refer(neighbour);
        }
        let preference = self.policy.levels.preference(protocol, offer.preference);
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
            next_hops: changes.next_hops.unwrap_or(OfferedNextHops::Ids(&[])),
            ttl: changes.ttl.unwrap_or(Span::FOREVER),
            private,
            list: changes.list,
        };
        let views = self.check_offer(owner, known.table, &offer, ChangeFlags(0))?;
        let next_hops = match changes.next_hops {
            Some(offered) => self.refer_offered_set(owner, known.table.family, offered)?,
            None => self.next_hops.refer_again(known.next_hops),
        };
        let neighbour = changes.neighbour.unwrap_or(known.neighbour);
        if let Some(neighbour) = neighbour {
            self.next_hops.refer(neighbour);
        }
        let wanted = changes.preference.unwrap_or(known.wanted);
        let preference = self.policy.levels.preference(known.protocol, wanted);
        let viable = self.is_viable(known.flags, next_hops);
        let rank = Rank { preference, metric: offer.metric, turn: self.next_turn() };
        let mut route = Route { neighbour, rank, wanted, views, viable, next_hops, ..known };
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
        if let Some(list) = offer.list {
            self.check_list(owner, list)?;
        }
        self.check_private(offer.private)?;
        let views = offer.views.within(self.policy.table(table)?.views)?;
        let most = self.policy.limits.next_hops_per_route as usize;
        if offer.next_hops.len() > most {
            let count = offer.next_hops.len();
            return refuse(format_args!("{count} next hops, a route has {most} at most"));
        }
        if let Some(neighbour) = offer.neighbour {
            self.check_next_hop_use(owner, neighbour)?;
        }
        match offer.next_hops {
            OfferedNextHops::Ids(ids) => {
                for (place, id) in ids.iter().enumerate() {
                    self.check_next_hop_use(owner, *id)?;
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

    /// Refuses more private data than is kept for a route or a next hop.
    pub(super) fn check_private(&self, private: &[u8]) -> Result<()> {
        let most = self.policy.limits.private_bytes;
        if private.len() > most as usize {
            let count = private.len();
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("{count} bytes of private data, it may be {most}")));
        }
        Ok(())
    }

    fn check_room_for_route(&self, id: TableId, to: Prefix) -> Result<()> {
        let Some(table) = self.tables.get(&id) else { return Ok(()) };
        let limits = self.policy.limits;
        if table.routes + table.held >= limits.routes as usize {
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
                for id in changed {
                    self.handle_next_hop_changed(owner, id);
                }
                Ok(set)
            }
        }
    }

    /// The next hops, if all of them are there already.
    fn known_next_hops(&self, owner: EntityId, inline: &[InlineNextHop]) -> Option<Vec<NextHopId>> {
        inline.iter().map(|(key, _)| self.next_hops.find(owner, *key)).collect()
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
