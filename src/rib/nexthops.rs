//! Next hops and the sets that routes refer to.
//!
//! A next hop belongs to one entity, which names it by address and interface. Routes do not hold
//! next hops but *sets* of them, each list once however many routes share it: a million routes
//! through two routers are one set, resolved once.
//!
//! What a reader would get wrong: a deleted next hop lives on, unfindable and unused for
//! forwarding, until no route refers to it (RTMv2 gap 25); one that was only named inline by a
//! route goes with the last route that refers to it.
//!
//! What a next hop comes to, its hops, is found out elsewhere (`resolve`) and kept here.

mod commands;
mod places;
mod walk;

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

pub(super) use places::{Found, Places};
pub use walk::NextHopWalk;

use super::arena::{Arena, Slot};
use crate::model::{
    EntityId, Error, ErrorKind, Forwarding, Hop, NextHopFlags, NextHopId, NextHopKey, Prefix,
    Result, TableId, Weight, shares,
};

/// A place to send to, known to one entity.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NextHop {
    /// The entity it belongs to.
    pub owner: EntityId,
    /// What its owner names it by.
    pub key: NextHopKey,
    /// As its owner gave them.
    pub flags: NextHopFlags,
    /// Its share among the next hops of a route.
    pub weight: Weight,
    /// The destination that leads to a remote one (`RemoteNextHop`).
    pub remote: Option<Prefix>,
    /// What only its owner gets to see (`EntitySpecificInfo`).
    pub private: Box<[u8]>,
    /// Whether its owner deleted it while routes still refer to it.
    pub deleted: bool,
    /// The ways out that it comes to now, each with its share; none when it leads nowhere.
    pub hops: Arc<[Hop]>,
    /// The destination at which looking for its address ended, unless its link decides or no route
    /// leads to it. There may be a reason that it has no hops all the same.
    pub through: Option<(TableId, Prefix)>,
    /// How many destinations there are between it and its hops, at most.
    pub(super) levels: u8,
    /// Its owner's table.
    pub(super) table: TableId,
    /// The lists it is in.
    pub(super) sets: BTreeSet<Slot>,
    lifetime: Lifetime,
    /// Sets it is in and routes it is the neighbour of.
    references: u32,
}

/// What ends a next hop's life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Lifetime {
    /// Its owner, who added it for its own sake.
    Explicit,
    /// Its last route, which brought it along.
    Inline,
}

/// How an entity describes a next hop it adds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct NextHopOffer<'a> {
    /// Address and interface.
    pub key: NextHopKey,
    /// `RTM_NEXTHOP_FLAGS_*`.
    pub flags: NextHopFlags,
    /// Its share among the next hops of a route.
    pub weight: Weight,
    /// The destination that leads to a remote one; left out of account without the flag REMOTE.
    pub remote: Option<Prefix>,
    /// What only its owner gets to see.
    pub private: &'a [u8],
}

/// What is known of a next hop.
#[derive(Clone, Debug)]
pub struct NextHopView<'a> {
    /// Its id.
    pub id: NextHopId,
    /// The next hop.
    pub next_hop: &'a NextHop,
    /// The name of the interface that it is on, if there is such an interface.
    pub interface_name: Option<&'a str>,
    /// The names of the interfaces of its hops, in their order; empty for one that is not known.
    pub hop_interfaces: Vec<&'a str>,
    /// The destinations that lead to it, outermost first; of several ways those of the first.
    pub through: Vec<Prefix>,
}

/// A list of next hops that routes of one entity share.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct NextHopSet {
    pub(super) owner: EntityId,
    pub(super) members: Box<[NextHopId]>,
    /// What it comes to; `None` when no member leads out.
    pub(super) forwarding: Option<Arc<Forwarding>>,
    /// Where it would lead by another link if the best route of a destination that it leads through
    /// were lost. A hint: there may be such a way and none here.
    pub(super) spare: Option<Hop>,
    /// The routes in the table that have it; those in hold-down are none of them.
    pub(super) users: BTreeSet<Slot>,
    /// Those of them that next hops may lead through; some may be that did so only once.
    pub(super) relays: BTreeSet<Slot>,
    references: u32,
    /// Whether its owner has left: its routes are on their way out, and packets are not to wait for
    /// that.
    pub(super) withdrawn: bool,
}

/// What one entity has.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Owned {
    by_key: BTreeMap<NextHopKey, NextHopId>,
    /// Next hops that are deleted, while routes still refer to them.
    deleted: usize,
    /// The sets of its next hops.
    sets: BTreeSet<Slot>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct NextHops {
    hops: Arena<NextHop>,
    by_owner: HashMap<EntityId, Owned>,
    sets: Arena<NextHopSet>,
    by_members: HashMap<Box<[NextHopId]>, Slot>,
    pub(super) places: Places,
}

impl NextHops {
    pub(super) fn get(&self, id: NextHopId) -> Option<&NextHop> {
        self.hops.get(self.hops.find(id.0)?)
    }

    pub(super) fn get_mut(&mut self, id: NextHopId) -> Option<&mut NextHop> {
        self.hops.get_mut(self.hops.find(id.0)?)
    }

    pub(super) fn find(&self, owner: EntityId, key: NextHopKey) -> Option<NextHopId> {
        self.by_owner.get(&owner)?.by_key.get(&key).copied()
    }

    pub(super) fn count(&self, owner: EntityId) -> usize {
        self.by_owner.get(&owner).map_or(0, |owned| owned.by_key.len())
    }

    /// How many next hops of an entity take memory, deleted ones included.
    pub(super) fn held(&self, owner: EntityId) -> usize {
        self.by_owner.get(&owner).map_or(0, |owned| owned.by_key.len() + owned.deleted)
    }

    /// How many lists of next hops an entity's routes have.
    fn lists(&self, owner: EntityId) -> usize {
        self.by_owner.get(&owner).map_or(0, |owned| owned.sets.len())
    }

    /// Finds or adds; also says whether it was added and whether its meaning changed.
    ///
    /// It still has to be resolved, unless it is the same.
    fn put(
        &mut self,
        (owner, table): (EntityId, TableId),
        offer: NextHopOffer<'_>,
        lifetime: Lifetime,
    ) -> Result<(NextHopId, Put)> {
        let NextHopOffer { key, flags, weight, private, .. } = offer;
        let remote = offer.remote.filter(|_| flags.contains(NextHopFlags::REMOTE));
        if let Some(id) = self.find(owner, key)
            && let Some(slot) = self.hops.find(id.0)
            && let Some(known) = self.hops.get_mut(slot)
        {
            let new = (flags, weight, remote);
            let same = (known.flags, known.weight, known.remote) == new;
            self.places.remove(id, known.key, known.flags);
            self.places.insert(id, key, flags);
            (known.flags, known.weight, known.remote) = new;
            known.private = private.into();
            if lifetime == Lifetime::Explicit {
                known.lifetime = lifetime;
            }
            return Ok((id, if same { Put::Same } else { Put::Changed }));
        }
        let next_hop = NextHop {
            owner,
            key,
            flags,
            weight,
            remote,
            private: private.into(),
            deleted: false,
            hops: Arc::default(),
            through: None,
            levels: 0,
            table,
            sets: BTreeSet::new(),
            lifetime,
            references: 0,
        };
        let slot = self.hops.insert(next_hop).ok_or_else(too_many)?;
        let id = NextHopId(self.hops.id(slot).ok_or_else(too_many)?);
        self.places.insert(id, key, flags);
        self.by_owner.entry(owner).or_default().by_key.insert(key, id);
        Ok((id, Put::New))
    }

    /// Makes the next hop unfindable; it is freed with its last reference.
    fn delete(&mut self, id: NextHopId) {
        let Some(next_hop) = self.get_mut(id) else { return };
        next_hop.deleted = true;
        let (owner, key, flags) = (next_hop.owner, next_hop.key, next_hop.flags);
        self.places.remove(id, key, flags);
        self.places.look_up(id, None);
        if let Some(owned) = self.by_owner.get_mut(&owner) {
            owned.by_key.remove(&key);
            owned.deleted += 1;
        }
        self.free_if_unused(id);
    }

    /// The next hops that an entity added for their own sake.
    pub(super) fn added(&self, owner: EntityId) -> BTreeSet<NextHopId> {
        let owned = self.by_owner.get(&owner).into_iter().flat_map(|it| it.by_key.values());
        let is_added = |id: &NextHopId| {
            self.get(*id).is_some_and(|next_hop| next_hop.lifetime == Lifetime::Explicit)
        };
        owned.copied().filter(is_added).collect()
    }

    /// Deletes a next hop, unless a route has it.
    pub(super) fn delete_if_unused(&mut self, id: NextHopId) {
        if self.get(id).is_some_and(|next_hop| next_hop.references == 0 && !next_hop.deleted) {
            self.delete(id);
        }
    }

    /// Deletes all next hops of an entity whose routes are gone.
    pub(super) fn delete_all(&mut self, owner: EntityId) {
        let owned = self.by_owner.get(&owner);
        let all: Vec<NextHopId> =
            owned.map(|owned| owned.by_key.values().copied().collect()).unwrap_or_default();
        for id in all {
            self.delete(id);
        }
        self.by_owner.remove(&owner);
    }

    pub(super) fn refer(&mut self, id: NextHopId) {
        if let Some(next_hop) = self.get_mut(id) {
            next_hop.references = next_hop.references.saturating_add(1);
        }
    }

    pub(super) fn release(&mut self, id: NextHopId) {
        let Some(next_hop) = self.get_mut(id) else { return };
        debug_assert!(
            next_hop.references > 0,
            "next hop {id} is released more often than referred to"
        );
        next_hop.references = next_hop.references.saturating_sub(1);
        self.free_if_unused(id);
    }

    fn free_if_unused(&mut self, id: NextHopId) {
        let Some(next_hop) = self.get(id).filter(|next_hop| next_hop.references == 0) else {
            return;
        };
        let owner = next_hop.owner;
        if next_hop.deleted {
            if let Some(slot) = self.hops.find(id.0) {
                self.hops.remove(slot);
            }
            if let Some(owned) = self.by_owner.get_mut(&owner) {
                owned.deleted = owned.deleted.saturating_sub(1);
            }
        } else if next_hop.lifetime == Lifetime::Inline {
            self.delete(id);
        }
    }

    pub(super) fn set(&self, slot: Slot) -> Option<&NextHopSet> {
        self.sets.get(slot)
    }

    /// The set of exactly these next hops of the owner in this order, which comes to `most` hops at
    /// most; the caller owes a `release_set`.
    pub(super) fn refer_set(
        &mut self,
        owner: EntityId,
        members: &[NextHopId],
        most: usize,
    ) -> Result<Slot> {
        if let Some(slot) = self.by_members.get(members).copied() {
            return Ok(self.refer_again(slot));
        }
        let set = NextHopSet {
            owner,
            members: members.into(),
            forwarding: self.forwarding(members, most),
            spare: None,
            users: BTreeSet::new(),
            relays: BTreeSet::new(),
            references: 1,
            withdrawn: false,
        };
        let slot = self.sets.insert(set).ok_or_else(too_many)?;
        self.by_members.insert(members.into(), slot);
        self.by_owner.entry(owner).or_default().sets.insert(slot);
        for id in members {
            self.refer(*id);
            if let Some(next_hop) = self.get_mut(*id) {
                next_hop.sets.insert(slot);
            }
        }
        Ok(slot)
    }

    /// Refers to a set once more; the caller owes a `release_set`.
    pub(super) fn refer_again(&mut self, slot: Slot) -> Slot {
        if let Some(set) = self.sets.get_mut(slot) {
            set.references = set.references.saturating_add(1);
        }
        slot
    }

    pub(super) fn release_set(&mut self, slot: Slot) {
        let Some(set) = self.sets.get_mut(slot) else { return };
        set.references = set.references.saturating_sub(1);
        if set.references > 0 {
            return;
        }
        let Some(set) = self.sets.remove(slot) else { return };
        debug_assert!(set.users.is_empty(), "a list is freed that routes in the table have");
        self.by_members.remove(&set.members);
        if let Some(owned) = self.by_owner.get_mut(&set.owner) {
            owned.sets.remove(&slot);
        }
        for id in set.members {
            if let Some(next_hop) = self.get_mut(id) {
                next_hop.sets.remove(&slot);
            }
            self.release(id);
        }
    }

    pub(super) fn set_mut(&mut self, slot: Slot) -> Option<&mut NextHopSet> {
        self.sets.get_mut(slot)
    }

    /// The sets that a next hop is in, ascending.
    pub(super) fn sets_with(&self, id: NextHopId) -> Vec<Slot> {
        self.get(id).map_or_else(Vec::new, |next_hop| next_hop.sets.iter().copied().collect())
    }

    /// The next hops that are not deleted.
    pub(super) fn live(&self) -> impl Iterator<Item = NextHopId> {
        let live = self.hops.iter().filter(|(_, next_hop)| !next_hop.deleted);
        live.filter_map(|(slot, _)| self.hops.id(slot).map(NextHopId))
    }

    /// Puts together again what a set comes to; says whether that is something else than before.
    pub(super) fn combine(&mut self, slot: Slot, most: usize) -> bool {
        let Some(set) = self.set(slot) else { return false };
        let forwarding = self.forwarding(&set.members, most);
        match self.sets.get_mut(slot) {
            Some(set) if set.forwarding != forwarding => {
                set.forwarding = forwarding;
                true
            }
            _ => false,
        }
    }

    /// Notes that the owner of these sets has left; returns them.
    pub(super) fn withdraw(&mut self, owner: EntityId) -> Vec<Slot> {
        let owned = self.by_owner.get(&owner);
        let sets: Vec<Slot> = owned.into_iter().flat_map(|it| it.sets.iter().copied()).collect();
        for slot in &sets {
            if let Some(set) = self.sets.get_mut(*slot) {
                set.withdrawn = true;
            }
        }
        sets
    }

    fn forwarding(&self, members: &[NextHopId], most: usize) -> Option<Arc<Forwarding>> {
        // What is deleted has no hops.
        let members = members.iter().filter_map(|id| self.get(*id));
        let hops = combined(members.map(|member| (member.weight, &*member.hops)), most);
        (!hops.is_empty()).then(|| Arc::new(Forwarding::Unicast(hops)))
    }
}

/// What next hops with these weights and hops come to: the kernel refuses to hear of one way twice,
/// so two names for one add their shares.
pub(super) fn combined<'a>(
    members: impl IntoIterator<Item = (Weight, &'a [Hop])>,
    most: usize,
) -> Box<[Hop]> {
    let way = |hop: &Hop| ((hop.gateway, hop.interface), hop.weight);
    let members = members.into_iter().map(|(weight, hops)| (weight, hops.iter().map(way)));
    let hop = |((gateway, interface), weight)| Hop { gateway, interface, weight };
    shares(members, most).into_iter().map(hop).collect()
}

/// What finding or adding a next hop came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Put {
    New,
    Changed,
    Same,
}

fn too_many() -> Error {
    ErrorKind::NotEnoughMemory.because("no more next hops can be numbered")
}

fn no_such_next_hop(id: NextHopId) -> Error {
    ErrorKind::InvalidHandle.because(format_args!("there is no next hop {id}"))
}
