//! Settling what depends on a change, from below.
//!
//! First all is gathered that the change can concern: destinations, and addresses that are looked up
//! in the tables. Then each of them is decided as soon as what it needs to know is decided: an
//! address needs the longest match, a destination its candidates in order of preference and metric,
//! equals together, as far as the first that packets can follow. When nothing can be decided any more
//! there are circles. No recursion, and every step is a step forward, so the work is bounded by what
//! was gathered.

use std::{
    collections::{HashMap, HashSet},
    mem,
    net::IpAddr,
    sync::Arc,
};

use smallvec::SmallVec;

use super::{Denied, Relay, Start, Way, by_link, circles};
use crate::{
    model::{Hop, NextHopId, Prefix, TableId, View},
    rib::{
        Rib,
        arena::Slot,
        destination::{Claim, Destination},
        nexthops::Found,
        policy::{ViaDefault, Viability},
    },
};

/// How often circles are looked for in one go. Nobody who means well gets beyond two; whatever still
/// waits after so many is decided without.
const MOST_CIRCLES: u32 = 64;

/// What came out.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) found: Vec<((TableId, IpAddr), Found)>,
    /// The destinations that were decided again, ascending.
    pub(super) destinations: Vec<(TableId, Prefix)>,
    /// Of the routes to these destinations.
    pub(super) denied: Denied,
}

#[derive(Debug)]
pub(super) struct Settling<'a> {
    rib: &'a Rib,
    nodes: Vec<Node>,
    places: HashMap<Place, usize>,
    denied: HashSet<Leg>,
    /// What there is at destinations that the change does not concern, as far as it was asked for.
    standing: HashMap<(TableId, Prefix), Option<Relay>>,
    rounds: u32,
}

/// What a route leans on.
type Leg = (Slot, NextHopId);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Place {
    Address(TableId, IpAddr),
    Destination(TableId, Prefix),
}

#[derive(Debug)]
struct Node {
    place: Place,
    outcome: Option<Outcome>,
    /// How many candidates of a destination are out of question already.
    passed: usize,
    waits: Vec<Wait>,
    /// How many of them are not over.
    pending: usize,
    /// How often it began to wait.
    turn: u32,
    /// Who waits for it, since which turn.
    waiters: Vec<(usize, u32)>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Address(Found),
    Destination(Option<Relay>),
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    on: usize,
    leg: Option<Leg>,
}

impl<'a> Settling<'a> {
    /// Gathers what the change can concern.
    pub(super) fn of(rib: &'a Rib, start: &Start) -> Self {
        let mut settling = Self {
            rib,
            nodes: Vec::new(),
            places: HashMap::new(),
            denied: HashSet::new(),
            standing: HashMap::new(),
            rounds: 0,
        };
        for (table, address) in &start.addresses {
            settling.gather(Place::Address(*table, *address));
        }
        for (table, to) in &start.destinations {
            settling.gather(Place::Destination(*table, *to));
        }
        for id in &start.next_hops {
            settling.gather_led_by(*id);
        }
        let mut reached = 0;
        while let Some(node) = settling.nodes.get(reached) {
            match node.place {
                Place::Address(table, address) => {
                    for id in rib.next_hops.places.next_hops_at(table, address) {
                        settling.gather_led_by(id);
                    }
                }
                Place::Destination(table, to) if settling.is_looked_through(table, to) => {
                    for address in rib.next_hops.places.dependents(table, to) {
                        settling.gather(Place::Address(table, address));
                    }
                }
                Place::Destination(..) => {}
            }
            reached += 1;
        }
        settling
    }

    /// Decides all of it.
    pub(super) fn settle(mut self) -> Settled {
        let mut ready: Vec<usize> = (0..self.nodes.len()).rev().collect();
        loop {
            while let Some(node) = ready.pop() {
                self.decide(node, &mut ready);
            }
            ready = self.break_circles();
            if ready.is_empty() {
                break;
            }
        }
        let mut settled =
            Settled { found: Vec::new(), destinations: Vec::new(), denied: Denied::new() };
        for node in self.nodes {
            match (node.place, node.outcome) {
                (Place::Address(table, address), Some(Outcome::Address(found))) => {
                    settled.found.push(((table, address), found));
                }
                (Place::Destination(table, to), _) => settled.destinations.push((table, to)),
                (Place::Address(..), _) => debug_assert!(false, "an address was left undecided"),
            }
        }
        settled.destinations.sort_unstable();
        for (slot, id) in self.denied {
            settled.denied.entry(slot).or_default().push(id);
        }
        settled
    }

    fn gather(&mut self, place: Place) {
        let next = self.nodes.len();
        if *self.places.entry(place).or_insert(next) == next {
            self.nodes.push(Node {
                place,
                outcome: None,
                passed: 0,
                waits: Vec::new(),
                pending: 0,
                turn: 0,
                waiters: Vec::new(),
            });
        }
    }

    /// Gathers the destinations that next hops may lead through and that have a route by this one;
    /// also those that none leads through any more, while the route is still denied something.
    fn gather_led_by(&mut self, id: NextHopId) {
        let rib = self.rib;
        let Some(next_hop) = rib.next_hops.get(id) else { return };
        let sets = next_hop.sets.iter().filter_map(|set| rib.next_hops.set(*set));
        for slot in sets.flat_map(|set| &set.relays) {
            if let Some(route) = rib.routes.get(*slot)
                && (rib.next_hops.places.is_looked_up(route.table, route.to)
                    || rib.denied.contains_key(slot))
            {
                self.gather(Place::Destination(route.table, route.to));
            }
        }
    }

    /// Whether look-ups may end at the destination.
    fn is_looked_through(&self, table: TableId, to: Prefix) -> bool {
        to.length() > 0 || self.rib.via_default(table) == ViaDefault::Allowed
    }

    fn decide(&mut self, number: usize, ready: &mut Vec<usize>) {
        let Some(node) = self.nodes.get(number) else { return };
        let outcome = match node.place {
            Place::Address(table, address) => {
                let found = self.look_up(table, address).map(Outcome::Address);
                found.map_err(|on| vec![Wait { on, leg: None }])
            }
            Place::Destination(table, to) => {
                self.choose(number, table, to).map(Outcome::Destination)
            }
        };
        let Some(node) = self.nodes.get_mut(number) else { return };
        node.turn += 1;
        match outcome {
            Ok(outcome) => {
                node.outcome = Some(outcome);
                node.waits = Vec::new();
                for (waiter, turn) in mem::take(&mut node.waiters) {
                    let Some(waiter_node) = self.nodes.get_mut(waiter) else { continue };
                    if waiter_node.turn == turn {
                        waiter_node.pending = waiter_node.pending.saturating_sub(1);
                        if waiter_node.pending == 0 {
                            ready.push(waiter);
                        }
                    }
                }
            }
            Err(waits) => {
                let turn = node.turn;
                node.pending = waits.len();
                node.waits.clone_from(&waits);
                for wait in waits {
                    if let Some(on) = self.nodes.get_mut(wait.on) {
                        on.waiters.push((number, turn));
                    }
                }
            }
        }
    }

    /// Looks an address up, or says which destination has to be decided before.
    fn look_up(&mut self, table: TableId, address: IpAddr) -> Result<Found, usize> {
        let rib = self.rib;
        let Some(found) = rib.tables.get(&table) else { return Ok(Found::default()) };
        let around: SmallVec<[Prefix; 8]> =
            found.destinations.cover_keys(&Prefix::host(address)).collect();
        for to in around.into_iter().rev() {
            if !self.is_looked_through(table, to) {
                continue;
            }
            let relay = match self.places.get(&Place::Destination(table, to)) {
                Some(node) => match self.nodes.get(*node).and_then(|node| node.outcome.as_ref()) {
                    Some(Outcome::Destination(relay)) => relay,
                    _ => return Err(*node),
                },
                None => self.standing.entry((table, to)).or_insert_with(|| rib.relay(table, to)),
            };
            let through = Some(to);
            return Ok(match relay {
                None => continue,
                Some(Relay::Nowhere) => Found { through, ..Found::default() },
                Some(Relay::Ways { hops, levels }) => {
                    Found { through, hops: towards(address, hops), levels: *levels }
                }
            });
        }
        Ok(Found::default())
    }

    /// Chooses the best route of a destination, or says what has to be decided before.
    fn choose(
        &mut self,
        number: usize,
        table: TableId,
        to: Prefix,
    ) -> Result<Option<Relay>, Vec<Wait>> {
        let rib = self.rib;
        let Ok(settings) = rib.policy.table(table) else { return Ok(None) };
        let slots = rib.destination(table, to).map_or(&[][..], Destination::routes);
        let routes = slots.iter().filter_map(|slot| Some((*slot, rib.routes.get(*slot)?)));
        let candidates: Vec<_> =
            routes.filter(|(_, route)| route.views.contains(View::UNICAST)).collect();
        // Whether packets can follow the others is out of question here.
        let claim = |slot: Slot| {
            rib.routes.get(slot).map(|route| Claim::of(route, View::UNICAST, Viability::Ignored))
        };
        let equals: Vec<Vec<Slot>> = match settings.viability {
            Viability::First => candidates
                .chunk_by(|(_, a), (_, b)| a.cost() == b.cost())
                .map(|equals| equals.iter().map(|(slot, _)| *slot).collect())
                .collect(),
            Viability::Ignored => {
                let best = candidates.iter().map(|(slot, _)| *slot).min_by_key(|slot| claim(*slot));
                best.map(|best| vec![best]).into_iter().collect()
            }
        };
        let passed = self.nodes.get(number).map_or(0, |node| node.passed);
        for equals in equals.into_iter().skip(passed) {
            let waits: Vec<Wait> = equals.iter().flat_map(|slot| self.waits(*slot)).collect();
            if !waits.is_empty() {
                return Err(waits);
            }
            let followed = equals.into_iter().filter(|slot| self.is_followed(*slot));
            if let Some(best) = followed.min_by_key(|slot| claim(*slot)) {
                return Ok(self.relay_by(best));
            }
            if let Some(node) = self.nodes.get_mut(number) {
                node.passed += 1;
            }
        }
        Ok(None)
    }

    fn members(&self, slot: Slot) -> impl Iterator<Item = NextHopId> + use<'a> {
        let rib = self.rib;
        let route = rib.routes.get(slot).filter(|route| route.flags.special().is_none());
        let set = route.and_then(|route| rib.next_hops.set(route.next_hops));
        set.into_iter().flat_map(|set| set.members.iter().copied())
    }

    /// The next hops of a route that are not decided.
    fn waits(&mut self, slot: Slot) -> Vec<Wait> {
        let mut waits = Vec::new();
        for id in self.members(slot) {
            let target = self.rib.next_hops.places.target(id);
            let node = target.and_then(|(table, at)| self.places.get(&Place::Address(table, at)));
            let Some(on) = node.copied().filter(|node| !self.is_decided(*node)) else { continue };
            let leg = (slot, id);
            if self.rounds > MOST_CIRCLES {
                self.denied.insert(leg);
            } else if !self.denied.contains(&leg) {
                waits.push(Wait { on, leg: Some(leg) });
            }
        }
        waits
    }

    fn is_decided(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.outcome.is_some())
    }

    /// Where a next hop leads, as it was decided or as it stands.
    fn way(&self, id: NextHopId) -> Option<Way> {
        let next_hop = self.rib.next_hops.get(id)?;
        let target = self.rib.next_hops.places.target(id);
        let node = target.and_then(|(table, at)| self.places.get(&Place::Address(table, at)));
        let outcome = node.and_then(|node| self.nodes.get(*node)?.outcome.as_ref());
        Some(match (node, outcome) {
            (None, _) => Way { hops: Arc::clone(&next_hop.hops), levels: next_hop.levels },
            (Some(_), Some(Outcome::Address(found))) => {
                let hops = by_link(&found.hops, next_hop.key.interface);
                Way { hops, levels: found.levels }
            }
            // Denied, so nobody asks.
            (Some(_), _) => Way { hops: Arc::default(), levels: 0 },
        })
    }

    fn is_followed(&self, slot: Slot) -> bool {
        let is_special =
            self.rib.routes.get(slot).is_some_and(|route| route.flags.special().is_some());
        let mut legs = self.members(slot).filter(|id| !self.denied.contains(&(slot, *id)));
        is_special || legs.any(|id| self.way(id).is_some_and(|way| !way.hops.is_empty()))
    }

    fn relay_by(&self, slot: Slot) -> Option<Relay> {
        let route = self.rib.routes.get(slot)?;
        let legs = self.members(slot).filter(|id| !self.denied.contains(&(slot, *id)));
        let weighed = |id| Some((self.rib.next_hops.get(id)?.weight, self.way(id)?));
        self.rib.relay_of(route, legs.filter_map(weighed))
    }

    /// Denies routes what they wait for in circles; returns what can be tried again then.
    ///
    /// Only in circles in which everybody waits for nobody else: what comes of the others is not
    /// known before what they wait for outside is.
    fn break_circles(&mut self) -> Vec<usize> {
        let stuck: Vec<usize> = (0..self.nodes.len()).filter(|n| !self.is_decided(*n)).collect();
        if stuck.is_empty() {
            return Vec::new();
        }
        self.rounds += 1;
        if self.rounds > MOST_CIRCLES {
            return stuck;
        }
        let number: HashMap<usize, usize> = stuck.iter().copied().zip(0..).collect();
        let waits = |node: &usize| {
            let node = self.nodes.get(*node);
            node.into_iter()
                .flat_map(|node| &node.waits)
                .filter(|wait| number.contains_key(&wait.on))
        };
        let edges: Vec<Vec<usize>> = stuck
            .iter()
            .map(|node| waits(node).filter_map(|wait| number.get(&wait.on).copied()).collect())
            .collect();
        let parts = circles::parts(&edges);
        let part = |node: &usize| number.get(node).and_then(|number| parts.get(*number)).copied();
        let open: HashSet<Option<usize>> = stuck
            .iter()
            .filter(|node| waits(node).any(|wait| part(&wait.on) != part(node)))
            .map(part)
            .collect();
        let mut denied = Vec::new();
        let mut again = Vec::new();
        for node in stuck.iter().filter(|node| !open.contains(&part(node))) {
            let legs: Vec<Leg> = waits(node).filter_map(|wait| wait.leg).collect();
            if !legs.is_empty() {
                again.push(*node);
                denied.extend(legs);
            }
        }
        debug_assert!(!again.is_empty(), "what waits in no circle does not wait for ever");
        self.denied.extend(denied);
        again
    }
}

/// Ways to an address: what leads to a link without a gateway leads to the address itself.
fn towards(address: IpAddr, hops: &Arc<[Hop]>) -> Arc<[Hop]> {
    if hops.iter().all(|hop| hop.gateway.is_some()) {
        return Arc::clone(hops);
    }
    hops.iter().map(|hop| Hop { gateway: hop.gateway.or(Some(address)), ..*hop }).collect()
}
