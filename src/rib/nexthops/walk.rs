//! Walks over the next hops of a client, in pages, while they change.
//!
//! As with routes, a walk remembers the last key it has returned and no place (RTMv2 gap 13). A next
//! hop without an address stands where the address 0 would.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::NextHopView;
use crate::{
    model::{
        Caller, EntityId, ErrorKind, Family, InterfaceIndex, NextHopId, NextHopKey, Prefix, Result,
        TableId,
    },
    rib::{Rib, Start},
};

/// A reader's place among its next hops.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NextHopWalk {
    table: TableId,
    owners: Vec<EntityId>,
    start: Start,
    /// The last one returned.
    last: Option<(NextHopKey, EntityId)>,
    done: bool,
}

impl NextHopWalk {
    /// Whether everything has been returned.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The first key that can be within the walk.
    fn beginning(&self) -> Option<NextHopKey> {
        match self.start {
            Start::Beginning => None,
            Start::At(prefix) | Start::Within(prefix) | Start::Only(prefix) => {
                // The 0 of the other family stands for itself: IPv6 routers come after all others.
                let is_none = prefix.address().is_unspecified();
                let is_none = is_none && prefix.family() == self.table.family;
                let address = Some(prefix.address()).filter(|_| !is_none);
                Some(NextHopKey { address, interface: InterfaceIndex(0) })
            }
        }
    }

    fn includes(&self, key: NextHopKey) -> bool {
        let address = key.address.unwrap_or(match self.table.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        });
        match self.start {
            Start::Beginning | Start::At(_) => true,
            Start::Within(prefix) => prefix.contains(address),
            Start::Only(prefix) => prefix == Prefix::host(address),
        }
    }
}

impl Rib {
    /// A walk over the caller's next hops in a table (RTMv2 row ENUM-16), at its beginning.
    ///
    /// # Errors
    /// `InvalidParameter` as for [`Rib::own_entities`], or for an IPv4 prefix in an IPv6 table.
    pub fn walk_next_hops(
        &self,
        table: TableId,
        caller: &Caller,
        start: Start,
    ) -> Result<NextHopWalk> {
        let owners = self.own_entities(table, caller)?;
        if let Start::At(prefix) | Start::Within(prefix) | Start::Only(prefix) = start
            // IPv4 can have IPv6 routers (RFC 8950).
            && (prefix.family(), table.family) == (Family::Ipv4, Family::Ipv6)
        {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("no next hop in an IPv6 table is in {prefix}")));
        }
        Ok(NextHopWalk { table, owners, start, last: None, done: false })
    }

    /// The next next hops, `count` at most.
    ///
    /// # Errors
    /// `InvalidParameter` for a count of 0 or more than the page limit.
    pub fn next_next_hops(
        &self,
        walk: &mut NextHopWalk,
        count: u32,
    ) -> Result<Vec<NextHopView<'_>>> {
        let count = self.check_page(count)?;
        let mut page = Vec::new();
        while page.len() < count && !walk.done {
            let own = walk.owners.iter().filter_map(|owner| self.following(walk, *owner));
            let next = own.min_by_key(|(place, _)| *place);
            match next.filter(|((key, _), _)| walk.includes(*key)) {
                Some((place, id)) => {
                    walk.last = Some(place);
                    page.push(self.next_hop(id)?);
                }
                None => walk.done = true,
            }
        }
        Ok(page)
    }

    /// The owner's next hop that comes next in the walk.
    fn following(
        &self,
        walk: &NextHopWalk,
        owner: EntityId,
    ) -> Option<((NextHopKey, EntityId), NextHopId)> {
        let from = match (walk.last, walk.beginning()) {
            // Of two owners with the same key the one with the smaller id comes first.
            (Some((key, last)), _) if owner > last => Bound::Included(key),
            (Some((key, _)), _) => Bound::Excluded(key),
            (None, Some(key)) => Bound::Included(key),
            (None, None) => Bound::Unbounded,
        };
        let known = &self.next_hops.by_owner.get(&owner)?.by_key;
        let (key, id) = known.range((from, Bound::Unbounded)).next()?;
        Some(((*key, owner), *id))
    }
}
