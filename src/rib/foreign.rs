//! Routes that others have in the kernel's tables, as routes of entities of the service's own.
//!
//! Each table has such an entity for each kernel protocol that has routes there. What becomes of its
//! routes is policy: they take part in the choice, or are only told of. One that is best is in the
//! kernel already, and its owner's business: nothing of ours is wished for where it is.
//!
//! What a reader would get wrong: news of single routes cannot be trusted, because Linux deletes routes
//! without a word (6.18). So a table is always told anew as a whole; what is the same stays untouched,
//! and what was not told again goes at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Progress, Rib,
    deadlines::Questions,
    entities::{Entity, Tenure, Terms},
    offer::{InlineNextHop, Offer, OfferedNextHops},
    policy::Import,
    route::Route,
};
use crate::model::{
    Caller, ChangeFlags, EntityId, EntityKey, EntityState, Hop, KernelProtocol, Metric, NextHopKey,
    Now, Preference, Prefix, Protocol, Result, RouteFlags, RouteId, Span, Special, TableId, View,
    ViewSet, Weight,
};

/// The protocol instances of these entities are from here on, by the kernel's protocol.
const FIRST_INSTANCE: u32 = 0xFFFF_FE00;

/// The preference of what is only told of: where all routes are listed, it comes last.
const LAST: Preference = Preference(u32::MAX);

/// Somebody else's route in a kernel's table.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
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
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ForeignWay {
    /// They are sent by one of these.
    Out(Box<[Hop]>),
    /// They are for this machine.
    Here(Box<[Hop]>),
    /// They are dropped.
    Special(Special),
}

/// All there are.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    owners: BTreeMap<EntityId, KernelProtocol>,
    tables: BTreeMap<TableId, Known>,
    /// Entities that nobody was told of.
    new: Vec<EntityId>,
}

/// The routes of a table.
#[derive(Debug, Default)]
struct Known {
    told: BTreeMap<ForeignRoute, RouteId>,
    /// Not told yet since all are told anew.
    doubtful: BTreeMap<ForeignRoute, RouteId>,
}

impl Foreign {
    /// Whose route in the kernel this is; `None` for one of a client or a static one.
    pub(super) fn protocol_of(&self, route: &Route) -> Option<KernelProtocol> {
        self.owners.get(&route.owner).copied()
    }

    pub(super) fn owns(&self, owner: EntityId) -> bool {
        self.owners.contains_key(&owner)
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

    /// All routes of others in a table will be told anew, up to [`Rib::handle_foreign_complete`].
    pub fn handle_foreign_unknown(&mut self, table: TableId) {
        let known = self.foreign.tables.entry(table).or_default();
        known.doubtful.append(&mut known.told);
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
        let known = self.foreign.tables.entry(table).or_default();
        if known.told.contains_key(&route) {
            return Ok(());
        }
        let id = match known.doubtful.remove(&route) {
            // One whose entity had to go is offered again.
            Some(id) if self.routes.find(id.0).is_some() => id,
            _ => self.offer_foreign(table, &route, now)?,
        };
        self.foreign.tables.entry(table).or_default().told.insert(route, id);
        Ok(())
    }

    /// All routes of others in a table have been told; takes up to `count` away that were not.
    pub fn handle_foreign_complete(&mut self, table: TableId, count: usize, now: Now) -> Progress {
        for _ in 0..count {
            let known = self.foreign.tables.get_mut(&table);
            let Some((_, id)) = known.and_then(|known| known.doubtful.pop_first()) else {
                return Progress::Complete;
            };
            if let Some(slot) = self.routes.find(id.0) {
                self.remove_route(slot, None, now);
            }
        }
        Progress::Unfinished
    }

    /// Whether somebody else's route to a destination is known.
    pub fn has_foreign_route(&self, table: TableId, to: Prefix) -> bool {
        let slots = self.destination(table, to).map_or(&[][..], |found| found.routes());
        let mut routes = slots.iter().filter_map(|slot| self.routes.get(*slot));
        routes.any(|route| self.foreign.owns(route.owner))
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
        let settings = self.policy.table(table)?;
        let supported = settings.views(table.family);
        let (views, preference) = match settings.imports.of(route.protocol) {
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
            next_hops: OfferedNextHops::Inline(&inline),
            ttl: Span::FOREVER,
            private: &[],
            list: None,
        };
        let owner = self.foreign_entity(table, route.protocol, now);
        self.check_offer(owner, table, &offer, ChangeFlags::NEW)?;
        self.put_route(owner, &offer, views, None, now).map(|(id, _)| id)
    }

    /// The service's entity for a kernel protocol, there from its first route on.
    fn foreign_entity(&mut self, table: TableId, protocol: KernelProtocol, now: Now) -> EntityId {
        let key = entity_key(table, protocol);
        if let Some(id) = self.entities.find(key) {
            return id;
        }
        let id = self.entities.insert(|id| Entity {
            id,
            key,
            label: protocol.to_string(),
            caller: Caller { bus_name: String::new(), uid: 0 },
            tenure: Tenure::Service,
            terms: Terms::default(),
            state: EntityState::Builtin,
            registered: now.time,
            best_routes: 0,
            routes: BTreeSet::new(),
            questions: Questions::default(),
            blocks_methods: false,
        });
        self.foreign.owners.insert(id, protocol);
        self.foreign.new.push(id);
        id
    }
}
