//! Next hops that are reached by other routes.
//!
//! The address of such a next hop is looked up as packets to it would be: the longest match among
//! the destinations whose best unicast route packets can follow. That route's next hops say where it
//! leads, and they may have been looked up themselves. A destination at which the search ends with a
//! route that drops packets, or that leads to this machine itself, leads nowhere.
//!
//! What a reader would get wrong: whether packets can follow a route depends on other routes being
//! best, which depends on whether packets can follow them. So nothing is corrected step by step, for
//! steps could go round for ever or end differently by their order. All that depends on a change is
//! forgotten and settled again from below, from what needs nobody: what comes out depends on the
//! routes alone, except for what the rule of the incumbent adds among equals. Where routes wait for
//! each other in a circle, each of them would have to be there first: the legs that they wait for
//! are denied to them, and the next candidates have their turn. So a route is never followed because
//! it leads through itself, and of two that lead through each other neither is.

mod circles;
mod settling;

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use smallvec::SmallVec;

use self::settling::{Settled, Settling};
use super::{
    Rib,
    arena::Slot,
    destination::Destination,
    nexthops::{Found, NextHops, combined},
    policy::{ViaDefault, Viability},
    resolve::Resolved,
    route::Route,
};
use crate::model::{
    EntityId, Forwarding, Hop, InterfaceIndex, NextHopId, Prefix, Result, RouteFlags, TableId,
    View, Weight,
};

/// How many destinations may lie between a next hop and its ways out.
pub(super) const MOST_LEVELS: u8 = 8;

/// Where a change begins.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// Addresses that are looked up for the first time.
    pub(super) addresses: Vec<(TableId, IpAddr)>,
    /// Destinations with other routes.
    pub(super) destinations: Vec<(TableId, Prefix)>,
    /// Next hops that lead elsewhere now, or weigh something else.
    pub(super) next_hops: Vec<NextHopId>,
}

/// The next hops that a route cannot lean on, because it would lean on itself.
pub(super) type Denied = BTreeMap<Slot, SmallVec<[NextHopId; 2]>>;

/// What a look-up finds at a destination that counts.
#[derive(Clone, Debug)]
enum Relay {
    /// Packets end here.
    Nowhere,
    /// Packets go on; a hop without a gateway leads to the address itself.
    Ways { hops: Arc<[Hop]>, levels: u8 },
}

/// A step on the way of a next hop.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Link {
    /// The destination that its address is in.
    pub(super) to: Prefix,
    /// The best route there.
    pub(super) route: Slot,
    /// The first next hop of that route that leads on.
    pub(super) leg: Option<NextHopId>,
}

/// What a next hop comes to, for those that lead through its route.
struct Way {
    hops: Arc<[Hop]>,
    levels: u8,
}

impl Rib {
    /// A destination has other routes: finds out where the next hops lead that depend on it.
    pub(super) fn resolve_through(&mut self, table: TableId, to: Prefix) -> Resolved {
        if !self.next_hops.places.is_looked_up(table, to) {
            return Resolved::default();
        }
        self.resolve_from(Start { destinations: vec![(table, to)], ..Start::default() })
    }

    /// Settles everything that depends on a change.
    pub(super) fn resolve_from(&mut self, start: Start) -> Resolved {
        let Settled { found, destinations, denied } = Settling::of(self, &start).settle();
        let mut sets = BTreeSet::new();
        for id in start.next_hops {
            sets.extend(self.next_hops.sets_with(id));
        }
        for ((table, address), found) in found {
            let next_hops: Vec<NextHopId> =
                self.next_hops.places.next_hops_at(table, address).collect();
            for id in next_hops {
                self.follow(id, table, &found);
                sets.extend(self.next_hops.sets_with(id));
            }
            self.next_hops.places.keep(table, address, found);
        }
        let mut resolved = Resolved::default();
        let most = self.policy.limits.next_hops_per_route as usize;
        resolved.sets =
            sets.iter().copied().filter(|set| self.next_hops.combine(*set, most)).collect();
        for (table, to) in destinations {
            self.judge(table, to, &denied, &mut resolved);
        }
        for slot in sets {
            let spare = self.spare(slot);
            if let Some(set) = self.next_hops.set_mut(slot)
                && set.spare != spare
            {
                set.spare = spare;
                if resolved.sets.binary_search(&slot).is_err() {
                    resolved.spares.push(slot);
                }
            }
        }
        resolved
    }

    /// The set of exactly these next hops of the owner; the caller owes a release.
    pub(super) fn refer_set(&mut self, owner: EntityId, ids: &[NextHopId]) -> Result<Slot> {
        let most = self.policy.limits.next_hops_per_route as usize;
        let slot = self.next_hops.refer_set(owner, ids, most)?;
        let spare = self.spare(slot);
        if let Some(set) = self.next_hops.set_mut(slot) {
            set.spare = spare;
        }
        Ok(slot)
    }

    /// Says of every route to a destination whether packets can follow it.
    fn judge(&mut self, table: TableId, to: Prefix, denied: &Denied, resolved: &mut Resolved) {
        let routes = self.destination(table, to).map_or(&[][..], Destination::routes);
        let routes: SmallVec<[Slot; 8]> = routes.iter().copied().collect();
        let mut touched = false;
        for slot in routes {
            match denied.get(&slot) {
                Some(legs) => self.denied.insert(slot, legs.clone()),
                None => self.denied.remove(&slot),
            };
            let viable = self.is_followed(slot);
            let Some(route) = self.routes.get_mut(slot) else { continue };
            touched |= resolved.sets.binary_search(&route.next_hops).is_ok();
            if route.viable != viable {
                route.viable = viable;
                touched = true;
            }
        }
        if touched {
            resolved.destinations.push((table, to));
        }
    }

    /// Whether packets can follow a route.
    pub(super) fn is_followed(&self, slot: Slot) -> bool {
        let route = self.routes.get(slot);
        route.is_some_and(|route| follows(&self.next_hops, self.denied.get(&slot), route))
    }

    /// Whether a route has next hops that lead somewhere and cannot lean on any of them.
    pub(super) fn is_denied_all(&self, slot: Slot) -> bool {
        self.denied.contains_key(&slot) && !self.is_followed(slot)
    }

    /// A next hop leads where its address was found to lead, by the link that it names if it does.
    pub(super) fn follow(&mut self, id: NextHopId, table: TableId, found: &Found) {
        let Some(next_hop) = self.next_hops.get_mut(id) else { return };
        next_hop.hops = by_link(&found.hops, next_hop.key.interface);
        next_hop.through = found.through.map(|to| (table, to));
        next_hop.levels = found.levels;
    }

    /// A route is in the table from now on.
    pub(super) fn enlist(&mut self, slot: Slot) {
        let Some(route) = self.routes.get(slot) else { return };
        let relays = self.next_hops.places.is_looked_up(route.table, route.to);
        if let Some(set) = self.next_hops.set_mut(route.next_hops) {
            set.users.insert(slot);
            if relays {
                set.relays.insert(slot);
            }
        }
    }

    /// A route is not in the table any more, or about to be another.
    pub(super) fn dismiss(&mut self, slot: Slot) {
        let Some(route) = self.routes.get(slot) else { return };
        if let Some(set) = self.next_hops.set_mut(route.next_hops) {
            set.users.remove(&slot);
            set.relays.remove(&slot);
        }
        self.denied.remove(&slot);
    }

    /// An address is looked up that was not before: routes around it may be what it leads through.
    pub(super) fn watch_destinations_around(&mut self, table: TableId, address: IpAddr) {
        let Some(found) = self.tables.get(&table) else { return };
        for (to, destination) in found.destinations.cover(&Prefix::host(address)) {
            if !self.next_hops.places.is_only_one(table, address, to) {
                continue;
            }
            for slot in destination.routes() {
                let Some(route) = self.routes.get_mut(*slot) else { continue };
                // The election that notes it may be put off, and nobody had to know yet.
                route.viable = follows(&self.next_hops, self.denied.get(slot), route);
                if let Some(set) = self.next_hops.set_mut(route.next_hops) {
                    set.relays.insert(*slot);
                }
            }
        }
    }

    pub(super) fn via_default(&self, table: TableId) -> ViaDefault {
        self.policy.table(table).map_or(ViaDefault::Refused, |settings| settings.via_default)
    }

    /// The best route of a destination as it stands, if packets can follow it.
    pub(super) fn followed(&self, table: TableId, to: Prefix) -> Option<Slot> {
        let viability = self.policy.table(table).ok()?.viability;
        let destination = self.destination(table, to)?;
        let best = destination.elect_one(View::UNICAST, viability, &self.routes, |_| true)?;
        self.routes.get(best).filter(|route| route.viable).map(|_| best)
    }

    /// The next hops of a route that it is not denied.
    fn legs(&self, slot: Slot) -> impl Iterator<Item = NextHopId> {
        let denied = self.denied.get(&slot);
        let set = self.routes.get(slot).and_then(|route| self.next_hops.set(route.next_hops));
        let members = set.into_iter().flat_map(|set| set.members.iter().copied());
        members.filter(move |id| denied.is_none_or(|legs| !legs.contains(id)))
    }

    /// What a look-up finds at a destination as it stands; `None` when it goes on.
    fn relay(&self, table: TableId, to: Prefix) -> Option<Relay> {
        self.relay_by(self.followed(table, to)?)
    }

    /// What there would be if the best route were lost.
    fn second_relay(&self, table: TableId, to: Prefix) -> Option<Relay> {
        let best = self.routes.get(self.followed(table, to)?)?.rank;
        let is_other = |route: &Route| route.rank != best && route.viable;
        let destination = self.destination(table, to)?;
        self.relay_by(destination.elect_one(
            View::UNICAST,
            Viability::First,
            &self.routes,
            is_other,
        )?)
    }

    fn relay_by(&self, slot: Slot) -> Option<Relay> {
        let legs = self.legs(slot).filter_map(|id| self.next_hops.get(id)).map(|next_hop| {
            (next_hop.weight, Way { hops: Arc::clone(&next_hop.hops), levels: next_hop.levels })
        });
        self.relay_of(self.routes.get(slot)?, legs)
    }

    /// What a look-up finds in a route that packets can follow, with these ways of its next hops.
    fn relay_of(&self, route: &Route, ways: impl Iterator<Item = (Weight, Way)>) -> Option<Relay> {
        if route.flags.intersects(RouteFlags::INACTIVE) || self.is_disconnected(route) {
            return None;
        }
        if route.flags.special().is_some() || route.flags.intersects(RouteFlags::MYSELF) {
            return Some(Relay::Nowhere);
        }
        let near = |(_, way): &(Weight, Way)| !way.hops.is_empty() && way.levels < MOST_LEVELS;
        let ways: SmallVec<[(Weight, Way); 4]> = ways.filter(near).collect();
        let Some(levels) = ways.iter().map(|(_, way)| way.levels).max() else {
            return Some(Relay::Nowhere);
        };
        let most = self.policy.limits.next_hops_per_route as usize;
        let hops = combined(ways.iter().map(|(weight, way)| (*weight, &*way.hops)), most);
        Some(Relay::Ways { hops: hops.into(), levels: levels + 1 })
    }

    /// The destinations that lead to a next hop's way out, outermost first, each with its route; of
    /// several ways those of the first. None for a next hop that leads nowhere or needs none.
    pub(super) fn chain(&self, id: NextHopId) -> Vec<Link> {
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(next_hop) = next.take().and_then(|id| self.next_hops.get(id))
            && let Some((table, to)) = next_hop.through.filter(|_| !next_hop.hops.is_empty())
            && chain.len() < MOST_LEVELS.into()
            && let Some(best) = self.followed(table, to)
        {
            next = self.legs(best).find(|id| {
                let leg = self.next_hops.get(*id);
                leg.is_some_and(|leg| !leg.hops.is_empty() && leg.levels < next_hop.levels)
            });
            chain.push(Link { to, route: best, leg: next });
        }
        chain
    }

    /// One way by another link than all that the set has now, should the best route be lost of a
    /// destination that it leads through.
    fn spare(&self, slot: Slot) -> Option<Hop> {
        let set = self.next_hops.set(slot)?;
        let Some(Forwarding::Unicast(now)) = set.forwarding.as_deref() else { return None };
        set.members.iter().find_map(|id| {
            let next_hop = self.next_hops.get(*id).filter(|next_hop| !next_hop.hops.is_empty())?;
            let (table, to) = next_hop.through?;
            let Relay::Ways { hops, .. } = self.second_relay(table, to)? else { return None };
            let hops = by_link(&hops, next_hop.key.interface);
            let hop = hops.iter().find(|hop| now.iter().all(|n| n.interface != hop.interface))?;
            Some(Hop {
                gateway: hop.gateway.or(next_hop.key.address),
                interface: hop.interface,
                weight: Weight::ONE,
            })
        })
    }
}

/// Whether packets can follow a route that is denied these next hops.
pub(super) fn follows(
    known: &NextHops,
    denied: Option<&SmallVec<[NextHopId; 2]>>,
    route: &Route,
) -> bool {
    if route.flags.special().is_some() {
        return true;
    }
    let Some(set) = known.set(route.next_hops) else { return false };
    match denied {
        None => set.forwarding.is_some(),
        Some(legs) => {
            let mut allowed = set.members.iter().filter(|id| !legs.contains(id));
            allowed.any(|id| known.get(*id).is_some_and(|next_hop| !next_hop.hops.is_empty()))
        }
    }
}

/// Those of the hops that leave by a link; all of them where none is named.
fn by_link(hops: &Arc<[Hop]>, link: InterfaceIndex) -> Arc<[Hop]> {
    match link {
        InterfaceIndex(0) => Arc::clone(hops),
        link => hops.iter().filter(|hop| hop.interface == link).copied().collect(),
    }
}
