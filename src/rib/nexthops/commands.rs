//! What clients ask about next hops, and what is refused.

use std::net::IpAddr;

use super::{Lifetime, NextHop, NextHopOffer, NextHopView, Put, no_such_next_hop};
use crate::{
    model::{
        EntityId, ErrorKind, Family, Hop, InterfaceIndex, NextHopFlags, NextHopId, NextHopKey,
        Prefix, Result, TableId, Weight,
    },
    rib::{InlineNextHop, Rib, resolve::Course},
};

impl Rib {
    /// Finds the entity's next hop with this key and updates it, or adds it; says whether it is new.
    ///
    /// # Errors
    /// `InvalidParameter` for a key that cannot be, `NotEnoughMemory` beyond the entity's limit.
    pub fn add_next_hop(
        &mut self,
        owner: EntityId,
        offer: NextHopOffer<'_>,
    ) -> Result<(NextHopId, bool)> {
        let entity = self.entities.active(owner)?;
        self.grant_of(entity)?;
        let table = entity.key.table;
        let family = table.family;
        self.check_next_hop(family, offer.key)?;
        self.check_private(offer.private)?;
        if let Some(remote) = offer.remote.filter(|remote| remote.family() != family) {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("remote destination {remote} is not {family}")));
        }
        if self.next_hops.find(owner, offer.key).is_none() {
            self.check_room_for_next_hops(owner, 1)?;
        }
        self.check_room_for_look_ups(table, [(offer.key, offer.flags)])?;
        let (id, put) = self.next_hops.put((owner, table), offer, Lifetime::Explicit)?;
        match put {
            Put::New => self.resolve_again(&[id]),
            Put::Changed => self.handle_next_hop_changed(id),
            Put::Same => {}
        }
        if let Some(entity) = self.entities.active_mut(owner) {
            entity.absences.renew(id);
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
        let gone = || ErrorKind::NotFound.because(format_args!("next hop {id} is already deleted"));
        match self.own_next_hop(owner, id) {
            Ok(next_hop) if !next_hop.deleted => {
                let sets = self.next_hops.sets_with(id);
                self.next_hops.delete(id);
                self.resolve_changed(id);
                self.note_users_of(&sets);
                Ok(())
            }
            Ok(_) => Err(gone()),
            Err(_) if self.next_hops.hops.is_spent(id.0) => Err(gone()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether `owner` may name the next hop in a route.
    pub(in crate::rib) fn check_next_hop_use(&self, owner: EntityId, id: NextHopId) -> Result<()> {
        match self.own_next_hop(owner, id)?.deleted {
            false => Ok(()),
            true => {
                Err(ErrorKind::InvalidParameter.because(format_args!("next hop {id} was deleted")))
            }
        }
    }

    /// A next hop of the entity, which may be deleted; another table's is none (RTMv2 row HND-03).
    fn own_next_hop(&self, owner: EntityId, id: NextHopId) -> Result<&NextHop> {
        let next_hop = self.next_hops.get(id).ok_or_else(|| no_such_next_hop(id))?;
        if next_hop.owner == owner {
            return Ok(next_hop);
        }
        if self.entities.table_of(next_hop.owner) != self.entities.table_of(owner) {
            return Err(no_such_next_hop(id));
        }
        Err(ErrorKind::AccessDenied
            .because(format_args!("next hop {id} belongs to entity {}", next_hop.owner)))
    }

    /// The owner says something else of a next hop: routes lead elsewhere, those who follow them
    /// hear of it.
    pub(in crate::rib) fn handle_next_hop_changed(&mut self, id: NextHopId) {
        self.resolve_changed(id);
        let sets = self.next_hops.sets_with(id);
        self.note_users_of(&sets);
    }

    pub(in crate::rib) fn next_hop(&self, id: NextHopId) -> Result<NextHopView<'_>> {
        let next_hop = self.next_hops.get(id).ok_or_else(|| no_such_next_hop(id))?;
        let interface = match (&*next_hop.hops, next_hop.through) {
            ([hop], None) => hop.interface,
            _ => next_hop.key.interface,
        };
        let name = |hop: &Hop| self.links.name(hop.interface).unwrap_or_default();
        Ok(NextHopView {
            id,
            next_hop,
            interface_name: self.links.name(interface),
            hop_interfaces: next_hop.hops.iter().map(name).collect(),
            through: self.chain(id).into_iter().map(|link| link.to).collect(),
        })
    }

    /// Any entity's next hop, if the entity works in this table.
    ///
    /// # Errors
    /// `InvalidHandle` when there is none with this id there.
    pub fn next_hop_in(&self, table: TableId, id: NextHopId) -> Result<NextHopView<'_>> {
        let view = self.next_hop(id)?;
        match self.entities.known(view.next_hop.owner) {
            Some(owner) if owner.key.table == table => Ok(view),
            _ => Err(no_such_next_hop(id)),
        }
    }

    /// The entity's next hops under these keys, found or to be added with the route that names them.
    ///
    /// Adds nothing if any of them cannot be.
    pub(in crate::rib) fn inline_next_hops(
        &mut self,
        owner: EntityId,
        table: TableId,
        inline: &[InlineNextHop],
    ) -> Result<(Vec<NextHopId>, Vec<NextHopId>)> {
        let mut fresh = 0;
        for (key, _) in inline {
            self.check_next_hop(table.family, *key)?;
            fresh += usize::from(self.next_hops.find(owner, *key).is_none());
        }
        self.check_room_for_next_hops(owner, fresh)?;
        let new = |key: &NextHopKey| self.next_hops.find(owner, *key).is_none();
        let new = inline.iter().map(|(key, _)| *key).filter(new);
        self.check_room_for_look_ups(table, new.map(|key| (key, NextHopFlags::default())))?;
        let mut ids = Vec::with_capacity(inline.len());
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for (key, weight) in inline {
            let known = self.next_hops.find(owner, *key).and_then(|id| self.next_hops.get(id));
            // What is only named here keeps what was said of it before.
            let (flags, remote, private) = known.map_or_else(Default::default, |known| {
                (known.flags, known.remote, known.private.clone())
            });
            // Who names a next hop without a weight leaves the one it has.
            let weight = weight.or(known.map(|known| known.weight)).unwrap_or(Weight::ONE);
            let offer = NextHopOffer { key: *key, flags, weight, remote, private: &private };
            let (id, put) = self.next_hops.put((owner, table), offer, Lifetime::Inline)?;
            match put {
                Put::New => new.push(id),
                Put::Changed => changed.push(id),
                Put::Same => {}
            }
            ids.push(id);
        }
        self.resolve_again(&new);
        Ok((ids, changed))
    }

    fn check_room_for_next_hops(&self, owner: EntityId, fresh: usize) -> Result<()> {
        self.check_next_hops_right(owner, fresh)?;
        let limit = self.policy.limits.next_hops;
        if fresh > 0 && self.next_hops.held(owner) + fresh > limit as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "entity {owner} may have {limit} next hops at most (limit next-hops): delete some \
                 and the routes that have them"
            )));
        }
        Ok(())
    }

    /// Whether next hops may be added whose addresses have to be looked up.
    fn check_room_for_look_ups(
        &self,
        table: TableId,
        next_hops: impl IntoIterator<Item = (NextHopKey, NextHopFlags)>,
    ) -> Result<()> {
        let limit = self.policy.limits.looked_up_addresses;
        let places = &self.next_hops.places;
        let settings = self.policy.table(table)?;
        let fresh = next_hops.into_iter().filter(|(key, flags)| {
            match self.links.course(settings, *key, *flags) {
                Course::LookUp(address) => !places.is_looked_up(
                    TableId { family: Family::of(address), ..table },
                    Prefix::host(address),
                ),
                Course::Out(_) | Course::Nowhere => false,
            }
        });
        let fresh = fresh.count();
        if fresh > 0 && places.looked_up() + fresh > limit as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "{} addresses of next hops are on no connected network and looked up already, of \
                 {limit} at most (limit looked-up-addresses)",
                places.looked_up()
            )));
        }
        Ok(())
    }

    /// Whether this list of next hops may be kept for the entity; `None` stands for one that is new.
    ///
    /// # Errors
    /// `NotEnoughMemory` beyond the entity's limit.
    pub(in crate::rib) fn check_room_for_list(
        &self,
        owner: EntityId,
        members: Option<&[NextHopId]>,
    ) -> Result<()> {
        let limit = self.policy.limits.next_hop_lists;
        let known = members.is_some_and(|list| self.next_hops.by_members.contains_key(list));
        if !known && self.next_hops.lists(owner) >= limit as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "the routes of entity {owner} may have {limit} lists of next hops at most (limit \
                 next-hop-lists)"
            )));
        }
        Ok(())
    }

    /// Whether a next hop leads by the interface now, or names it and leads nowhere.
    pub(in crate::rib) fn has_interface(&self, id: NextHopId, interface: InterfaceIndex) -> bool {
        self.next_hops.get(id).is_some_and(|next_hop| match next_hop.hops.is_empty() {
            true => next_hop.key.interface == interface,
            false => next_hop.hops.iter().any(|hop| hop.interface == interface),
        })
    }

    fn check_next_hop(&self, family: Family, key: NextHopKey) -> Result<()> {
        let refuse = |why: &str| {
            Err(ErrorKind::InvalidParameter.because(format_args!("next hop {key}: {why}")))
        };
        if key.interface != InterfaceIndex(0) && !self.links.exists(key.interface) {
            return refuse("there is no such interface");
        }
        Self::check_way(family, key)
    }

    /// Whether a next hop can be like that, if there is the interface.
    pub(in crate::rib) fn check_way(family: Family, key: NextHopKey) -> Result<()> {
        let refuse = |why: &str| {
            Err(ErrorKind::InvalidParameter.because(format_args!("next hop {key}: {why}")))
        };
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
            Some(IpAddr::V6(address))
                if address.is_unicast_link_local() && key.interface == InterfaceIndex(0) =>
            {
                refuse("a link-local address needs an interface")
            }
            _ => Ok(()),
        }
    }
}
