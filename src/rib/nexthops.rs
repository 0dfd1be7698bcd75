//! Next hops and the sets that routes refer to.
//!
//! A next hop belongs to one entity, which names it by address and interface. Routes do not hold
//! next hops but *sets* of them, each list once however many routes share it: a million routes
//! through two routers are one set, resolved once.
//!
//! What a reader would get wrong: a deleted next hop lives on, unfindable and unused for
//! forwarding, until no route refers to it (RTMv2 gap 25); one that was only named inline by a
//! route goes with the last route that refers to it.

mod commands;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

pub use walk::NextHopWalk;

use super::{
    arena::{Arena, Slot},
    resolve::Links,
};
use crate::model::{
    EntityId, Error, ErrorKind, Forwarding, Hop, NextHopFlags, NextHopId, NextHopKey, Prefix,
    Result, Weight,
};

/// A place to send to, known to one entity.
#[derive(Clone, Debug)]
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
    lifetime: Lifetime,
    /// Sets it is in and routes it is the neighbour of.
    references: u32,
}

/// What ends a next hop's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lifetime {
    /// Its owner, who added it for its own sake.
    Explicit,
    /// Its last route, which brought it along.
    Inline,
}

/// How an entity describes a next hop it adds.
#[derive(Clone, Copy, Debug)]
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
    /// Its interface's name, if there is such an interface.
    pub interface_name: Option<&'a str>,
    /// The way out it stands for, if there is one now.
    pub resolved: Option<Hop>,
}

/// Whose next hops something is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    /// Everybody's.
    All,
    /// One entity's.
    Of(EntityId),
}

/// A list of next hops that routes of one entity share.
#[derive(Debug)]
pub(super) struct NextHopSet {
    pub(super) owner: EntityId,
    pub(super) members: Box<[NextHopId]>,
    /// What it comes to; `None` when no member leads out.
    pub(super) forwarding: Option<Arc<Forwarding>>,
    references: u32,
    /// Whether its owner has left: its routes are on their way out, and packets are not to wait for
    /// that.
    pub(super) withdrawn: bool,
}

/// What one entity has.
#[derive(Debug, Default)]
struct Owned {
    by_key: BTreeMap<NextHopKey, NextHopId>,
    /// Next hops that are deleted, while routes still refer to them.
    deleted: usize,
    /// The sets of its next hops.
    sets: BTreeSet<Slot>,
}

#[derive(Debug, Default)]
pub(super) struct NextHops {
    hops: Arena<NextHop>,
    by_owner: HashMap<EntityId, Owned>,
    sets: Arena<NextHopSet>,
    by_members: HashMap<Box<[NextHopId]>, Slot>,
}

impl NextHops {
    pub(super) fn get(&self, id: NextHopId) -> Option<&NextHop> {
        self.hops.get(self.hops.find(id.0)?)
    }

    fn get_mut(&mut self, id: NextHopId) -> Option<&mut NextHop> {
        self.hops.get_mut(self.hops.find(id.0)?)
    }

    pub(super) fn find(&self, owner: EntityId, key: NextHopKey) -> Option<NextHopId> {
        self.by_owner.get(&owner)?.by_key.get(&key).copied()
    }

    pub(super) fn count(&self, owner: EntityId) -> usize {
        self.by_owner.get(&owner).map_or(0, |owned| owned.by_key.len())
    }

    /// How many next hops of an entity take memory, deleted ones included.
    fn held(&self, owner: EntityId) -> usize {
        self.by_owner.get(&owner).map_or(0, |owned| owned.by_key.len() + owned.deleted)
    }

    /// How many lists of next hops an entity's routes have.
    fn lists(&self, owner: EntityId) -> usize {
        self.by_owner.get(&owner).map_or(0, |owned| owned.sets.len())
    }

    /// Finds or adds; also says whether it was added and whether its meaning changed.
    fn put(
        &mut self,
        owner: EntityId,
        offer: NextHopOffer<'_>,
        lifetime: Lifetime,
    ) -> Result<(NextHopId, Put)> {
        let remote = offer.remote.filter(|_| offer.flags.contains(NextHopFlags::REMOTE));
        if let Some(id) = self.find(owner, offer.key)
            && let Some(known) = self.get_mut(id)
        {
            let new = (offer.flags, offer.weight, remote);
            let same = (known.flags, known.weight, known.remote) == new;
            (known.flags, known.weight, known.remote) = new;
            known.private = offer.private.into();
            if lifetime == Lifetime::Explicit {
                known.lifetime = lifetime;
            }
            return Ok((id, if same { Put::Same } else { Put::Changed }));
        }
        let NextHopOffer { key, flags, weight, private, .. } = offer;
        let next_hop = NextHop {
            owner,
            key,
            flags,
            weight,
            remote,
            private: private.into(),
            deleted: false,
            lifetime,
            references: 0,
        };
        let slot = self.hops.insert(next_hop).ok_or_else(too_many)?;
        let id = NextHopId(self.hops.id(slot).ok_or_else(too_many)?);
        self.by_owner.entry(owner).or_default().by_key.insert(key, id);
        Ok((id, Put::New))
    }

    /// Makes the next hop unfindable; it is freed with its last reference.
    fn delete(&mut self, id: NextHopId) {
        let Some(next_hop) = self.get_mut(id) else { return };
        next_hop.deleted = true;
        let (owner, key) = (next_hop.owner, next_hop.key);
        if let Some(owned) = self.by_owner.get_mut(&owner) {
            owned.by_key.remove(&key);
            owned.deleted += 1;
        }
        self.free_if_unused(id);
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

    /// The set of exactly these next hops of the owner in this order; the caller owes a
    /// `release_set`.
    pub(super) fn refer_set(
        &mut self,
        owner: EntityId,
        members: &[NextHopId],
        links: &Links,
    ) -> Result<Slot> {
        if let Some(slot) = self.by_members.get(members).copied() {
            return Ok(self.refer_again(slot));
        }
        let forwarding = self.forwarding(members, links);
        let set = NextHopSet {
            owner,
            members: members.into(),
            forwarding,
            references: 1,
            withdrawn: false,
        };
        let slot = self.sets.insert(set).ok_or_else(too_many)?;
        self.by_members.insert(members.into(), slot);
        self.by_owner.entry(owner).or_default().sets.insert(slot);
        for id in members {
            self.refer(*id);
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
        self.by_members.remove(&set.members);
        if let Some(owned) = self.by_owner.get_mut(&set.owner) {
            owned.sets.remove(&slot);
        }
        for id in set.members {
            self.release(id);
        }
    }

    /// Resolves the sets of one owner, or of all; returns those that changed their meaning.
    pub(super) fn resolve(&mut self, whose: Whose, links: &Links) -> Vec<Slot> {
        let slots: Vec<Slot> = match whose {
            Whose::All => self.sets.iter().map(|(slot, _)| slot).collect(),
            Whose::Of(owner) => {
                let owned = self.by_owner.get(&owner);
                owned.map(|owned| owned.sets.iter().copied().collect()).unwrap_or_default()
            }
        };
        let mut changed = Vec::new();
        for slot in slots {
            let Some(set) = self.sets.get(slot) else { continue };
            let forwarding = self.forwarding(&set.members, links);
            if set.forwarding != forwarding
                && let Some(set) = self.sets.get_mut(slot)
            {
                set.forwarding = forwarding;
                changed.push(slot);
            }
        }
        changed
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

    /// The sets of the owner that a next hop is in, ascending.
    fn sets_with(&self, owner: EntityId, id: NextHopId) -> Vec<Slot> {
        let sets = self.by_owner.get(&owner).into_iter().flat_map(|owned| owned.sets.iter());
        let has = |slot: &&Slot| self.set(**slot).is_some_and(|set| set.members.contains(&id));
        sets.filter(has).copied().collect()
    }

    fn forwarding(&self, members: &[NextHopId], links: &Links) -> Option<Arc<Forwarding>> {
        let mut hops: Vec<Hop> = Vec::with_capacity(members.len());
        let live = members.iter().filter_map(|id| self.get(*id)).filter(|hop| !hop.deleted);
        for hop in live.filter_map(|next_hop| links.resolve(next_hop.key, next_hop.weight)) {
            // Two names for one way: the kernel refuses to hear of it twice, so their shares add up.
            let twin = hops
                .iter_mut()
                .find(|known| (known.gateway, known.interface) == (hop.gateway, hop.interface));
            match twin {
                Some(known) => known.weight = known.weight.plus(hop.weight),
                None => hops.push(hop),
            }
        }
        (!hops.is_empty()).then(|| Arc::new(Forwarding::Unicast(hops.into())))
    }
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
