//! Routes that others have in the kernel's tables, as routes of entities of the service's own.
//!
//! Each table has such an entity for each kernel protocol that has routes there. What becomes of its
//! routes is policy: they take part in the choice, or are only told of. One that is best is in the
//! kernel already, and its owner's business: nothing of ours is wished for where it is.
//!
//! What a reader would get wrong: news of single routes are only a foretaste, because Linux deletes routes
//! without a word (6.18). So all routes of a protocol are told anew time and again; what is the same
//! stays untouched, and what was not told again goes at the end.
//!
//! Another program can take its route away because ours is gone, and put it back because ours is there.
//! A destination where others' best routes go again and again is theirs to be shown only, until it has
//! been quiet for a while: ours stays, and with it the reason to go round.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Rib,
    offer::{InlineNextHop, Offer, OfferedNextHops},
    policy::Import,
    route::Route,
};
use crate::model::{
    ChangeFlags, EntityId, EntityKey, ErrorKind, Hop, KernelProtocol, Metric, Moment, NextHopKey,
    Now, Preference, Prefix, Protocol, Result, RouteFlags, RouteId, Span, Special, TableId, View,
    ViewSet, Weight,
};

/// The protocol instances of these entities are from here on, by the kernel's protocol.
const FIRST_INSTANCE: u32 = 0xFFFF_FE00;

/// The preference of what is only told of: where all routes are listed, it comes last.
const LAST: Preference = Preference(u32::MAX);

/// Somebody else's route in a kernel's table.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ForeignRoute {
    /// The destination.
    pub to: Prefix,
    /// Who put it there.
    pub protocol: KernelProtocol,
    /// The kernel's own order among routes of a destination.
    pub metric: Metric,
    /// What becomes of packets.
    pub way: ForeignWay,
}

/// What becomes of the packets of somebody else's route.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ForeignWay {
    /// They are sent by one of these.
    Out(Box<[Hop]>),
    /// They are for this machine.
    Here(Box<[Hop]>),
    /// They are dropped.
    Special(Special),
}

/// How often others' best routes may go from a destination before they are only shown.
const MOST_LOSSES: u8 = 8;

/// How long a destination has to be quiet for what was lost there to be forgotten.
pub const QUIET: Duration = Duration::from_mins(1);

/// How long until a destination that was not quiet is like any other.
const FORGETTING: Duration = Duration::from_mins(10);

/// Destinations for which losses are counted. More at once are no sign of two programs that chase each
/// other, but of one that ended.
const MOST_COUNTED: usize = 16_384;

/// All there are.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Foreign {
    owners: BTreeMap<EntityId, KernelProtocol>,
    known: BTreeMap<(TableId, KernelProtocol), Known>,
    /// Entities that nobody was told of.
    new: Vec<EntityId>,
    losses: HashMap<(TableId, Prefix), Losses>,
}

/// The routes that a protocol has in a table.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Known {
    told: BTreeMap<ForeignRoute, RouteId>,
    /// Not told yet since all are told anew.
    doubtful: BTreeMap<ForeignRoute, RouteId>,
    /// Those that take no part in the choice for now, because they keep coming and going.
    restless: BTreeSet<RouteId>,
}

/// How often others' best routes went from a destination, and when the last did.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Losses {
    count: u8,
    last: Moment,
}

impl Foreign {
    /// Whose route in the kernel this is; `None` for one of a client or a static one.
    pub(super) fn protocol_of(&self, route: &Route) -> Option<KernelProtocol> {
        self.owners.get(&route.owner).copied()
    }

    /// Whether the route keeps coming and going, with the others to its destination.
    pub(super) fn is_put_off(&self, route: &Route, id: RouteId) -> bool {
        let known = self.protocol_of(route).and_then(|it| self.known.get(&(route.table, it)));
        known.is_some_and(|known| known.restless.contains(&id))
    }

    fn owns(&self, owner: EntityId) -> bool {
        self.owners.contains_key(&owner)
    }

    fn is_restless(&self, table: TableId, to: Prefix, now: Moment) -> bool {
        let losses = self.losses.get(&(table, to));
        losses.is_some_and(|losses| losses.count >= MOST_LOSSES && !losses.are_over(now))
    }

    fn count_loss(&mut self, table: TableId, to: Prefix, now: Moment) {
        if self.losses.len() >= MOST_COUNTED && !self.losses.contains_key(&(table, to)) {
            self.losses.retain(|_, losses| !losses.are_over(now));
            if self.losses.len() >= MOST_COUNTED {
                return;
            }
        }
        let losses = self.losses.entry((table, to)).or_insert(Losses { count: 0, last: now });
        let before = match losses.count {
            _ if losses.last.after(FORGETTING) <= now => 0,
            // Once more, and it is shown only again.
            MOST_LOSSES.. if losses.are_over(now) => MOST_LOSSES - 1,
            _ if losses.are_over(now) => 0,
            count => count,
        };
        *losses = Losses { count: before.saturating_add(1), last: now };
    }
}

impl Losses {
    fn are_over(self, now: Moment) -> bool {
        self.last.after(QUIET) <= now
    }
}

/// The key of the service's entity for a kernel protocol.
fn entity_key(table: TableId, protocol: KernelProtocol) -> EntityKey {
    let protocol_instance = FIRST_INSTANCE + u32::from(protocol.0);
    EntityKey { table, protocol: protocol.protocol(), protocol_instance }
}

/// Whether only the service itself may have this key.
pub(super) fn is_reserved(key: EntityKey) -> bool {
    let number = key.protocol_instance.checked_sub(FIRST_INSTANCE);
    let number = number.and_then(|number| u8::try_from(number).ok());
    number.is_some_and(|number| key == entity_key(key.table, KernelProtocol(number)))
}

fn sum(one: Weight, other: Weight) -> Weight {
    let sum = u32::from(one.get()) + u32::from(other.get());
    Weight::new(sum.min(256)).unwrap_or(one)
}

impl ForeignRoute {
    fn hops(&self) -> &[Hop] {
        match &self.way {
            ForeignWay::Out(hops) | ForeignWay::Here(hops) => hops,
            ForeignWay::Special(_) => &[],
        }
    }

    fn flags(&self) -> RouteFlags {
        match &self.way {
            ForeignWay::Special(special) => special.flag(),
            ForeignWay::Here(_) => RouteFlags::MYSELF,
            ForeignWay::Out(hops) if hops.iter().all(|hop| hop.gateway.is_none()) => {
                RouteFlags::LOCAL
            }
            ForeignWay::Out(_) => RouteFlags::REMOTE,
        }
    }
}

impl Rib {
    /// The kernel protocols whose routes are of interest in a table; none for one that has no table in
    /// the kernel.
    pub fn foreign_protocols(&self, table: TableId) -> Vec<KernelProtocol> {
        let settings = self.policy.table(table).ok();
        let settings = settings.filter(|settings| settings.kernel_table.is_some());
        settings.map(|settings| settings.imports.read().collect()).unwrap_or_default()
    }

    /// All routes of a protocol in a table will be told anew, up to [`Rib::doubtful_foreign`].
    pub fn handle_foreign_unknown(&mut self, table: TableId, protocol: KernelProtocol) {
        let known = self.foreign.known.entry((table, protocol)).or_default();
        known.doubtful.append(&mut known.told);
    }

    /// Whether this route was there before, with nothing to be done about it now; it is not doubtful any
    /// more then. Otherwise [`Rib::handle_foreign_route`] has to follow.
    pub fn see_foreign_route(&mut self, table: TableId, route: &ForeignRoute, now: Now) -> bool {
        let quiet = !self.foreign.is_restless(table, route.to, now.moment);
        let Some(known) = self.foreign.known.get_mut(&(table, route.protocol)) else {
            return false;
        };
        let Some(id) = known.told.get(route).or_else(|| known.doubtful.get(route)).copied() else {
            return false;
        };
        let is_to_rest = quiet && known.restless.contains(&id);
        if is_to_rest || self.routes.find(id.0).is_none() {
            return false;
        }
        if let Some((route, id)) = known.doubtful.remove_entry(route) {
            known.told.insert(route, id);
        }
        true
    }

    /// Somebody else has this route in the kernel (RTMv2 row FWD-07).
    ///
    /// # Errors
    /// `NotEnoughMemory` beyond a limit, `InvalidParameter` for next hops that no route can have. The
    /// service goes on without the route.
    pub fn handle_foreign_route(
        &mut self,
        table: TableId,
        route: ForeignRoute,
        now: Now,
    ) -> Result<()> {
        let quiet = !self.foreign.is_restless(table, route.to, now.moment);
        let known = self.foreign.known.entry((table, route.protocol)).or_default();
        let told = known.told.get(&route).copied();
        let mut id = told.or_else(|| known.doubtful.remove(&route));
        if let Some(rested) = id.filter(|id| quiet && known.restless.remove(id)) {
            // To be offered again, as one that takes part.
            self.take_foreign(rested, now);
            id = None;
        }
        let id = match id.filter(|id| self.routes.find(id.0).is_some()) {
            Some(id) => id,
            None => self.offer_foreign(table, &route, now)?,
        };
        let known = self.foreign.known.entry((table, route.protocol)).or_default();
        known.told.insert(route, id);
        Ok(())
    }

    /// Somebody else has taken this route from the kernel.
    pub fn handle_foreign_gone(&mut self, table: TableId, route: &ForeignRoute, now: Now) {
        let Some(known) = self.foreign.known.get_mut(&(table, route.protocol)) else { return };
        if let Some(id) = known.told.remove(route).or_else(|| known.doubtful.remove(route)) {
            known.restless.remove(&id);
            self.take_foreign(id, now);
        }
    }

    /// One of a protocol's routes in a table that was not told since [`Rib::handle_foreign_unknown`]: when all
    /// have been told, it is gone.
    pub fn doubtful_foreign(
        &self,
        table: TableId,
        protocol: KernelProtocol,
    ) -> Option<ForeignRoute> {
        let (route, _) = self.foreign.known.get(&(table, protocol))?.doubtful.first_key_value()?;
        Some(route.clone())
    }

    /// Whether any of them would take part in the choice if their destinations were quiet; after
    /// [`QUIET`] they have to be told anew.
    pub fn has_restless(&self, table: TableId, protocol: KernelProtocol) -> bool {
        self.foreign.known.get(&(table, protocol)).is_some_and(|known| !known.restless.is_empty())
    }

    /// Takes one of them away, and counts that.
    fn take_foreign(&mut self, id: RouteId, now: Now) {
        let Some(slot) = self.routes.find(id.0) else { return };
        let Some(route) = self.routes.get(slot) else { return };
        let (table, to) = (route.table, route.to);
        // What the kernel has by itself does not depend on what we have.
        let counts = route.best_in.contains(View::UNICAST)
            && self.foreign.protocol_of(route) != Some(KernelProtocol::KERNEL);
        self.remove_route(slot, None, now);
        if counts && self.best_foreign(table, to).is_none() {
            self.foreign.count_loss(table, to, now.moment);
        }
    }

    /// Who has routes to a destination, of those that are not ours.
    pub fn foreign_protocols_at(
        &self,
        table: TableId,
        to: Prefix,
    ) -> impl Iterator<Item = KernelProtocol> {
        let slots = self.destination(table, to).map_or(&[][..], |found| found.routes());
        let routes = slots.iter().filter_map(|slot| self.routes.get(*slot));
        routes.filter_map(|route| self.foreign.protocol_of(route))
    }

    /// Whether it is the kernel's own route to a network that no link has: with the address it is on its
    /// way out, which the kernel may not have told yet.
    pub(super) fn is_disconnected(&self, route: &Route) -> bool {
        if !route.flags.intersects(RouteFlags::LOCAL)
            || self.foreign.protocol_of(route) != Some(KernelProtocol::KERNEL)
        {
            return false;
        }
        let members = self.next_hops.set(route.next_hops).map_or(&[][..], |set| &set.members);
        let mut next_hops = members.iter().filter_map(|id| self.next_hops.get(*id));
        !next_hops.any(|leg| self.links.is_connected(leg.key.interface, route.to))
    }

    /// The entities that are new since this was last asked, which have to be announced.
    pub fn poll_foreign_entities(&mut self) -> Vec<EntityId> {
        std::mem::take(&mut self.foreign.new)
    }

    /// The preference of a route for which its owner, or for others' routes policy, asks `wanted`.
    pub(super) fn preference(
        &self,
        owner: EntityId,
        protocol: Protocol,
        wanted: Preference,
    ) -> Preference {
        match wanted {
            Preference(1..) if self.foreign.owns(owner) => wanted,
            _ => self.policy.levels.preference(protocol, wanted),
        }
    }

    fn offer_foreign(&mut self, table: TableId, route: &ForeignRoute, now: Now) -> Result<RouteId> {
        self.check_room_for_foreign(table)?;
        let settings = self.policy.table(table)?;
        let supported = settings.views(table.family);
        let import = settings.imports.of(route.protocol);
        let is_restless = matches!(import, Import::Choose(_))
            && self.foreign.is_restless(table, route.to, now.moment);
        let (views, preference) = match import {
            _ if is_restless => (ViewSet::NONE, LAST),
            Import::Choose(preference) => {
                (View::UNICAST.only().intersection(supported), preference)
            }
            Import::Observe | Import::Ignore => (ViewSet::NONE, LAST),
        };
        let mut inline: Vec<InlineNextHop> = Vec::new();
        for hop in route.hops() {
            let key = NextHopKey { address: hop.gateway, interface: hop.interface };
            match inline.iter_mut().find(|(known, _)| *known == key) {
                // Two legs by one way: their shares add up, as far as a weight goes.
                Some((_, weight)) => *weight = weight.map(|weight| sum(weight, hop.weight)),
                None => inline.push((key, Some(hop.weight))),
            }
        }
        let offer = Offer {
            to: route.to,
            neighbour: None,
            preference,
            metric: route.metric,
            flags: route.flags(),
            views: supported,
            next_hops: OfferedNextHops::Inline(inline.as_slice().into()),
            ttl: Span::FOREVER,
            private: &[],
            list: None,
        };
        let owner = self.foreign_entity(table, route.protocol, now);
        self.check_offer(owner, table, &offer, ChangeFlags::NEW)?;
        let (id, _) = self.put_route(owner, &offer, views, None, now)?;
        if is_restless && let Some(known) = self.foreign.known.get_mut(&(table, route.protocol)) {
            known.restless.insert(id);
        }
        Ok(id)
    }

    fn check_room_for_foreign(&self, table: TableId) -> Result<()> {
        let limit = self.policy.limits.foreign_routes;
        let all = (table, KernelProtocol(0))..=(table, KernelProtocol(u8::MAX));
        let of_table = self.foreign.known.range(all);
        let count: usize = of_table.map(|(_, it)| it.told.len() + it.doubtful.len()).sum();
        if count >= limit as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "table {table} has {count} routes of others, the most (limit foreign-routes)"
            )));
        }
        Ok(())
    }

    /// The service's entity for a kernel protocol, there from its first route on.
    fn foreign_entity(&mut self, table: TableId, protocol: KernelProtocol, now: Now) -> EntityId {
        let key = entity_key(table, protocol);
        if let Some(id) = self.entities.find(key) {
            return id;
        }
        let id = self.entities.insert_builtin(key, protocol.to_string(), now);
        self.foreign.owners.insert(id, protocol);
        self.foreign.new.push(id);
        id
    }
}
