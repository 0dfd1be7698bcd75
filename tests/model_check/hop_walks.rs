//! Enumerations of own next hops (ENUM-16), which go on while the next hops change.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rtmd::{
    model::{EntityId, ErrorKind, Family, InterfaceIndex, NextHopId, NextHopKey, Prefix, TableId},
    rib::{NextHopWalk, Start},
};

use crate::{Pair, accepted, commands::WalkCommand, naive::Naive, world};

/// A client's place among its next hops.
pub(crate) struct HopCursor {
    walk: NextHopWalk,
    family: Family,
    start: Start,
    /// The entities that were the caller's at the beginning.
    owners: BTreeSet<EntityId>,
    last: Option<(IpAddr, InterfaceIndex, EntityId)>,
    returned: BTreeSet<NextHopId>,
    /// What was there to be returned ever since the beginning.
    throughout: BTreeSet<NextHopId>,
}

impl HopCursor {
    /// Without a router it is on the link, where the address is 0.
    fn address(&self, key: NextHopKey) -> IpAddr {
        match (key.address, self.family) {
            (Some(address), _) => address,
            (None, Family::Ipv4) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (None, Family::Ipv6) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// START, NEXT and RANGE, by the address alone.
    fn is_in_range(&self, key: NextHopKey) -> bool {
        let address = self.address(key);
        match self.start {
            Start::Beginning => true,
            Start::At(prefix) => address >= prefix.address(),
            Start::Within(prefix) => prefix.contains(address),
            Start::Only(prefix) => prefix == Prefix::host(address),
        }
    }

    /// Those of somebody who is leaving may come, as long as they are there.
    fn eligible(&self, naive: &Naive) -> BTreeSet<NextHopId> {
        let own = naive.hops.iter().filter(|hop| self.owners.contains(&hop.owner) && !hop.deleted);
        own.filter(|hop| self.is_in_range(hop.key)).map(|hop| hop.id).collect()
    }
}

impl Pair {
    pub(crate) fn walk_next_hops(&mut self, table: TableId, who: u8, command: &WalkCommand) {
        // Around destinations, at next hops themselves, and sometimes in the other family.
        let family =
            if command.value.is_multiple_of(4) { world::other(table.family) } else { table.family };
        let host = world::gateway(family, command.value % world::GATEWAYS).address;
        let around = world::prefix(family, command.prefix);
        let prefix = host.filter(|_| command.routes).map_or(around, Prefix::host);
        let start = match command.start {
            0 => Start::Beginning,
            1 => Start::At(prefix),
            2 => Start::Within(prefix),
            _ => Start::Only(prefix),
        };
        let caller = world::caller(who);
        let own = self.naive.own(&caller).filter(|entity| entity.key.table == table);
        // Shared registrations are meant where the connection has none.
        let mut own: Vec<_> = own.collect();
        let has_own = own.iter().any(|entity| !entity.shared);
        own.retain(|entity| entity.shared != has_own);
        let protocols: BTreeSet<_> = own.iter().map(|entity| entity.key.protocol).collect();
        let owners: BTreeSet<EntityId> = own.iter().map(|entity| entity.id).collect();
        // IPv4 can have IPv6 routers, not the other way round.
        let is_strange = table.family == Family::Ipv6 && prefix.family() == Family::Ipv4;
        // Of several protocols it would not be clear which is meant.
        let refused = protocols.len() != 1 || command.start > 0 && is_strange;
        let refusals = if refused { vec![ErrorKind::InvalidParameter] } else { vec![] };
        let result = self.rib.walk_next_hops(table, &caller, start);
        let Some(walk) = accepted(result, &refusals) else { return };
        let mut cursor = HopCursor {
            walk,
            family: table.family,
            start,
            owners,
            last: None,
            returned: BTreeSet::new(),
            throughout: BTreeSet::new(),
        };
        cursor.throughout = cursor.eligible(&self.naive);
        self.hop_cursors.push(cursor);
    }

    pub(crate) fn next_next_hops(&mut self, number: u8, count: u8) {
        if self.hop_cursors.is_empty() {
            return;
        }
        let place = usize::from(number) % self.hop_cursors.len();
        let refusals = self.naive.refuse_page(count.into());
        let cursor = &mut self.hop_cursors[place];
        let result = self.rib.next_next_hops(&mut cursor.walk, count.into());
        let Some(page) = accepted(result, &refusals) else { return };
        assert!(page.len() <= count.into());
        assert!(cursor.walk.is_done() || page.len() == usize::from(count), "a short page is last");
        let eligible = cursor.eligible(&self.naive);
        for found in page {
            let told = found.next_hop;
            let place = (cursor.address(told.key), told.key.interface, told.owner);
            assert!(cursor.last.is_none_or(|last| last < place), "in order, each once (G16)");
            assert!(eligible.contains(&found.id), "{} does not belong there", told.key);
            cursor.last = Some(place);
            cursor.returned.insert(found.id);
        }
        let missed = cursor.throughout.difference(&cursor.returned).next();
        assert!(!cursor.walk.is_done() || missed.is_none(), "{missed:?} never came");
    }

    /// What was not there all the time may or may not come (G13).
    pub(crate) fn settle_hop_walks(&mut self) {
        let registered = |id| self.naive.entity(id).is_some();
        for cursor in &mut self.hop_cursors {
            let now = cursor.eligible(&self.naive);
            cursor
                .throughout
                .retain(|id| now.contains(id) && registered(self.naive.hop(*id).owner));
        }
    }
}
