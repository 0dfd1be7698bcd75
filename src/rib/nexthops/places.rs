//! Where next hops are looked for: indexes by which what happens finds those it may concern.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    ops::RangeInclusive,
    sync::Arc,
};

use crate::model::{Hop, InterfaceIndex, NextHopFlags, NextHopId, NextHopKey, Prefix, TableId};

/// The next hops that are not deleted, by what decides where they lead.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(in crate::rib) struct Places {
    /// Those that name their link.
    by_link: BTreeMap<InterfaceIndex, BTreeSet<NextHopId>>,
    /// Those whose link is the one with a network around their address, if there is one.
    by_address: BTreeMap<IpAddr, BTreeSet<NextHopId>>,
    /// Addresses that are looked up among the destinations of a table now. Apart from the others, so
    /// that a table of a million routes has nothing to do with next hops on connected networks.
    targets: BTreeMap<TableId, BTreeMap<IpAddr, Target>>,
    target_of: HashMap<NextHopId, (TableId, IpAddr)>,
}

/// An address that is looked up in a table.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Target {
    next_hops: BTreeSet<NextHopId>,
    found: Found,
}

/// What looking up an address came to.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::rib) struct Found {
    /// The destination at which the search ended; none when no route leads to the address.
    pub(in crate::rib) through: Option<Prefix>,
    /// Empty when there is no way out.
    pub(in crate::rib) hops: Arc<[Hop]>,
    /// How many destinations there are on the way, at most.
    pub(in crate::rib) levels: u8,
}

impl Found {
    /// Whether the destination counted, or would count if it were another.
    fn depends_on(&self, to: Prefix) -> bool {
        self.through.is_none_or(|through| through.length() <= to.length())
    }
}

impl Places {
    pub(super) fn insert(&mut self, id: NextHopId, key: NextHopKey, flags: NextHopFlags) {
        match (key.interface, key.address) {
            _ if flags.contains(NextHopFlags::REMOTE) => {}
            (InterfaceIndex(0), Some(address)) => {
                self.by_address.entry(address).or_default().insert(id);
            }
            (index, _) => {
                self.by_link.entry(index).or_default().insert(id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: NextHopId, key: NextHopKey, flags: NextHopFlags) {
        match (key.interface, key.address) {
            _ if flags.contains(NextHopFlags::REMOTE) => {}
            (InterfaceIndex(0), Some(address)) => take(&mut self.by_address, address, id),
            (index, _) => take(&mut self.by_link, index, id),
        }
    }

    /// Those that name this link.
    pub(in crate::rib) fn by_link(&self, link: InterfaceIndex) -> impl Iterator<Item = NextHopId> {
        self.by_link.get(&link).into_iter().flatten().copied()
    }

    /// Those whose link depends on which one has this network.
    pub(in crate::rib) fn in_network(&self, network: Prefix) -> impl Iterator<Item = NextHopId> {
        self.by_address.range(network.addresses()).flat_map(|(_, ids)| ids).copied()
    }

    /// Says which address has to be looked up for a next hop from now on; whether that is one that
    /// was not looked up before.
    pub(in crate::rib) fn look_up(
        &mut self,
        id: NextHopId,
        target: Option<(TableId, IpAddr)>,
    ) -> bool {
        let before = match target {
            Some(target) => self.target_of.insert(id, target),
            None => self.target_of.remove(&id),
        };
        if before == target {
            return false;
        }
        if let Some((table, address)) = before
            && let Some(targets) = self.targets.get_mut(&table)
            && let Some(target) = targets.get_mut(&address)
        {
            target.next_hops.remove(&id);
            if target.next_hops.is_empty() {
                targets.remove(&address);
            }
            if targets.is_empty() {
                self.targets.remove(&table);
            }
        }
        let Some((table, address)) = target else { return false };
        let target = self.targets.entry(table).or_default().entry(address).or_default();
        target.next_hops.insert(id);
        target.next_hops.len() == 1
    }

    /// The address that is looked up for a next hop.
    pub(in crate::rib) fn target(&self, id: NextHopId) -> Option<(TableId, IpAddr)> {
        self.target_of.get(&id).copied()
    }

    /// How many addresses are looked up.
    pub(in crate::rib) fn looked_up(&self) -> usize {
        self.targets.values().map(BTreeMap::len).sum()
    }

    /// Whether any address in the prefix is looked up.
    pub(in crate::rib) fn is_looked_up(&self, table: TableId, to: Prefix) -> bool {
        self.range(table, to.addresses()).next().is_some()
    }

    /// Whether the address is the only one in the prefix that is looked up.
    pub(in crate::rib) fn is_only_one(&self, table: TableId, address: IpAddr, to: Prefix) -> bool {
        self.range(table, to.addresses()).all(|(at, _)| *at == address)
    }

    /// The addresses that depend on what becomes of a destination.
    pub(in crate::rib) fn dependents(&self, table: TableId, to: Prefix) -> Vec<IpAddr> {
        let within = self.range(table, to.addresses());
        within.filter(|(_, target)| target.found.depends_on(to)).map(|(at, _)| *at).collect()
    }

    /// The next hops that an address is looked up for.
    pub(in crate::rib) fn next_hops_at(
        &self,
        table: TableId,
        address: IpAddr,
    ) -> impl Iterator<Item = NextHopId> {
        let target = self.targets.get(&table).and_then(|targets| targets.get(&address));
        target.into_iter().flat_map(|target| &target.next_hops).copied()
    }

    /// What looking up an address came to.
    pub(in crate::rib) fn found(&self, table: TableId, address: IpAddr) -> Found {
        let target = self.targets.get(&table).and_then(|targets| targets.get(&address));
        target.map(|target| target.found.clone()).unwrap_or_default()
    }

    /// Keeps what looking up an address came to.
    pub(in crate::rib) fn keep(&mut self, table: TableId, address: IpAddr, found: Found) {
        let targets = self.targets.get_mut(&table);
        if let Some(target) = targets.and_then(|targets| targets.get_mut(&address)) {
            target.found = found;
        }
    }

    fn range(
        &self,
        table: TableId,
        addresses: RangeInclusive<IpAddr>,
    ) -> impl Iterator<Item = (&IpAddr, &Target)> {
        self.targets.get(&table).into_iter().flat_map(move |all| all.range(addresses.clone()))
    }
}

fn take<K: Ord>(index: &mut BTreeMap<K, BTreeSet<NextHopId>>, key: K, id: NextHopId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}
