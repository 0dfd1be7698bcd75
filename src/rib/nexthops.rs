//! Next hops and the sets that routes refer to.
//!
//! A next hop belongs to one entity, which names it by address and interface. Routes do not hold
//! next hops but *sets* of them, each list once however many routes share it: a million routes
//! through two routers are one set, resolved once.
//!
//! What a reader would get wrong: a deleted next hop lives on, unfindable and unused for
//! forwarding, until no route refers to it (RTMv2 gap 25); one that was only named inline by a
//! route goes with the last route that refers to it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Rib,
    arena::{Arena, Slot},
    resolve::Links,
    routes::InlineNextHop,
};
use crate::model::{
    EntityId, Error, ErrorKind, Family, Forwarding, Hop, InterfaceIndex, NextHopFlags, NextHopId,
    NextHopKey, Result, TableId, Weight,
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
pub struct NextHopOffer {
    /// Address and interface.
    pub key: NextHopKey,
    /// `RTM_NEXTHOP_FLAGS_*`.
    pub flags: NextHopFlags,
    /// Its share among the next hops of a route.
    pub weight: Weight,
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
    owner: EntityId,
    pub(super) members: Box<[NextHopId]>,
    /// What it comes to; `None` when no member leads out.
    pub(super) forwarding: Option<Arc<Forwarding>>,
    references: u32,
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

    /// The next hop, if `owner` may use it in a route.
    pub(super) fn usable(&self, owner: EntityId, id: NextHopId) -> Result<&NextHop> {
        let Some(next_hop) = self.get(id) else {
            return Err(ErrorKind::InvalidHandle.because(format_args!("there is no next hop {id}")));
        };
        if next_hop.owner != owner {
            return Err(ErrorKind::AccessDenied
                .because(format_args!("next hop {id} belongs to entity {}", next_hop.owner)));
        }
        if next_hop.deleted {
            return Err(
                ErrorKind::InvalidParameter.because(format_args!("next hop {id} was deleted"))
            );
        }
        Ok(next_hop)
    }

    /// Finds or adds; also says whether it was added and whether its meaning changed.
    fn put(
        &mut self,
        owner: EntityId,
        offer: NextHopOffer,
        lifetime: Lifetime,
    ) -> Result<(NextHopId, Put)> {
        if let Some(id) = self.find(owner, offer.key)
            && let Some(known) = self.get_mut(id)
        {
            let same = (known.flags, known.weight) == (offer.flags, offer.weight);
            (known.flags, known.weight) = (offer.flags, offer.weight);
            if lifetime == Lifetime::Explicit {
                known.lifetime = lifetime;
            }
            return Ok((id, if same { Put::Same } else { Put::Changed }));
        }
        let NextHopOffer { key, flags, weight } = offer;
        let next_hop =
            NextHop { owner, key, flags, weight, deleted: false, lifetime, references: 0 };
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
        if let Some(slot) = self.by_members.get(members) {
            if let Some(set) = self.sets.get_mut(*slot) {
                set.references = set.references.saturating_add(1);
            }
            return Ok(*slot);
        }
        let forwarding = self.forwarding(members, links);
        let set = NextHopSet { owner, members: members.into(), forwarding, references: 1 };
        let slot = self.sets.insert(set).ok_or_else(too_many)?;
        self.by_members.insert(members.into(), slot);
        self.by_owner.entry(owner).or_default().sets.insert(slot);
        for id in members {
            self.refer(*id);
        }
        Ok(slot)
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

impl Rib {
    /// Finds the entity's next hop with this key and updates it, or adds it; says whether it is new.
    ///
    /// # Errors
    /// `InvalidParameter` for a key that cannot be, `NotEnoughMemory` beyond the entity's limit.
    pub fn add_next_hop(
        &mut self,
        owner: EntityId,
        offer: NextHopOffer,
    ) -> Result<(NextHopId, bool)> {
        let family = self.entities.active(owner)?.key.table.family;
        self.check_next_hop(family, offer.key)?;
        if self.next_hops.find(owner, offer.key).is_none() {
            self.check_room_for_next_hops(owner, 1)?;
        }
        let (id, put) = self.next_hops.put(owner, offer, Lifetime::Explicit)?;
        if put == Put::Changed {
            self.resolve_again(Whose::Of(owner));
        }
        Ok((id, put == Put::New))
    }

    /// The entity's next hop with this key.
    ///
    /// # Errors
    /// `NotFound` when it has none.
    pub fn find_next_hop(&self, owner: EntityId, key: NextHopKey) -> Result<NextHopView<'_>> {
        self.entities.active(owner)?;
        let id = self.next_hops.find(owner, key).ok_or_else(|| {
            ErrorKind::NotFound.because(format_args!("entity {owner} has no next hop {key}"))
        })?;
        self.next_hop(id)
    }

    /// Deletes a next hop of the entity; routes that refer to it stop using it.
    ///
    /// # Errors
    /// `AccessDenied` for another's, `NotFound` for a deleted one, `InvalidHandle` for no one's.
    pub fn delete_next_hop(&mut self, owner: EntityId, id: NextHopId) -> Result<()> {
        self.entities.active(owner)?;
        match self.next_hops.get(id) {
            Some(next_hop) if next_hop.owner != owner => Err(ErrorKind::AccessDenied
                .because(format_args!("next hop {id} belongs to entity {}", next_hop.owner))),
            Some(next_hop) if !next_hop.deleted => {
                self.next_hops.delete(id);
                self.resolve_again(Whose::Of(owner));
                Ok(())
            }
            None if !self.next_hops.hops.is_spent(id.0) => {
                Err(ErrorKind::InvalidHandle.because(format_args!("there is no next hop {id}")))
            }
            _ => Err(ErrorKind::NotFound.because(format_args!("next hop {id} is already deleted"))),
        }
    }

    fn next_hop(&self, id: NextHopId) -> Result<NextHopView<'_>> {
        let next_hop = self.next_hops.get(id).ok_or_else(|| {
            ErrorKind::InvalidHandle.because(format_args!("there is no next hop {id}"))
        })?;
        let resolved = self.links.resolve(next_hop.key, next_hop.weight);
        let resolved = resolved.filter(|_| !next_hop.deleted);
        let interface = resolved.map_or(next_hop.key.interface, |hop| hop.interface);
        Ok(NextHopView { id, next_hop, interface_name: self.links.name(interface), resolved })
    }

    /// Any entity's next hop, if the entity works in this table.
    ///
    /// # Errors
    /// `InvalidHandle` when there is none with this id there.
    pub fn next_hop_in(&self, table: TableId, id: NextHopId) -> Result<NextHopView<'_>> {
        let view = self.next_hop(id)?;
        match self.entities.table_of(view.next_hop.owner) {
            Some(home) if home == table => Ok(view),
            _ => Err(ErrorKind::InvalidHandle.because(format_args!("there is no next hop {id}"))),
        }
    }

    /// The entity's next hops under these keys, found or to be added with the route that names them.
    ///
    /// Adds nothing if any of them cannot be.
    pub(super) fn inline_next_hops(
        &mut self,
        owner: EntityId,
        family: Family,
        inline: &[InlineNextHop],
    ) -> Result<(Vec<NextHopId>, bool)> {
        let mut fresh = 0;
        for (key, _) in inline {
            self.check_next_hop(family, *key)?;
            fresh += usize::from(self.next_hops.find(owner, *key).is_none());
        }
        self.check_room_for_next_hops(owner, fresh)?;
        let mut ids = Vec::with_capacity(inline.len());
        let mut changed = false;
        for (key, weight) in inline {
            let known = self.next_hops.find(owner, *key).and_then(|id| self.next_hops.get(id));
            let flags = known.map_or_else(NextHopFlags::default, |known| known.flags);
            // Who names a next hop without a weight leaves the one it has.
            let weight = weight.or(known.map(|known| known.weight)).unwrap_or(Weight::ONE);
            let offer = NextHopOffer { key: *key, flags, weight };
            let (id, put) = self.next_hops.put(owner, offer, Lifetime::Inline)?;
            changed |= put == Put::Changed;
            ids.push(id);
        }
        Ok((ids, changed))
    }

    fn check_room_for_next_hops(&self, owner: EntityId, fresh: usize) -> Result<()> {
        let limit = self.policy.limits.next_hops;
        if fresh > 0 && self.next_hops.held(owner) + fresh > limit as usize {
            return Err(ErrorKind::NotEnoughMemory
                .because(format_args!("entity {owner} may have {limit} next hops at most")));
        }
        Ok(())
    }

    /// Whether this list of next hops may be kept for the entity; `None` stands for one that is new.
    ///
    /// # Errors
    /// `NotEnoughMemory` beyond the entity's limit.
    pub(super) fn check_room_for_list(
        &self,
        owner: EntityId,
        members: Option<&[NextHopId]>,
    ) -> Result<()> {
        let limit = self.policy.limits.next_hop_lists;
        let known = members.is_some_and(|list| self.next_hops.by_members.contains_key(list));
        if !known && self.next_hops.lists(owner) >= limit as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "the routes of entity {owner} may have {limit} lists of next hops at most"
            )));
        }
        Ok(())
    }

    /// The interface a next hop leads by now, or the one it names.
    pub(super) fn interface_of(&self, id: NextHopId) -> Option<InterfaceIndex> {
        let next_hop = self.next_hops.get(id)?;
        let resolved = self.links.resolve(next_hop.key, next_hop.weight);
        Some(resolved.map_or(next_hop.key.interface, |hop| hop.interface))
    }

    fn check_next_hop(&self, family: Family, key: NextHopKey) -> Result<()> {
        let refuse = |why: &str| {
            Err(ErrorKind::InvalidParameter.because(format_args!("next hop {key}: {why}")))
        };
        if key.interface != InterfaceIndex(0) && !self.links.exists(key.interface) {
            return refuse("there is no such interface");
        }
        match key.address {
            None if key.interface == InterfaceIndex(0) => {
                refuse("without an address an interface is needed")
            }
            Some(address) if address.is_unspecified() || address.is_multicast() => {
                refuse("no router can have this address")
            }
            // IPv6 routers may carry IPv4 (RFC 8950), not the other way round.
            Some(address) if address.is_ipv4() && family == Family::Ipv6 => {
                refuse("an IPv4 address in an IPv6 table")
            }
            Some(std::net::IpAddr::V6(address))
                if address.is_unicast_link_local() && key.interface == InterfaceIndex(0) =>
            {
                refuse("a link-local address needs an interface")
            }
            _ => Ok(()),
        }
    }
}

fn too_many() -> Error {
    ErrorKind::NotEnoughMemory.because("no more next hops can be numbered")
}
