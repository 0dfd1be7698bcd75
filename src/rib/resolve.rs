//! From a next hop to its ways out: by the link it names, by the link that has a network with its
//! address, or by what the table has for its address.
//!
//! The links and their addresses are told by the kernel. Whatever happens, only those next hops are
//! looked at again that it can concern. What a reader would get wrong: a next hop on a connected
//! network is none of the table's business, even where the table has a better match for it; only
//! one that is flagged as remote is always looked up there. How that goes is in `recursion`.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::Arc,
};

use super::{Rib, arena::Slot, nexthops::NextHop, policy::InstanceSettings, recursion::Start};
use crate::model::{
    Family, Hop, InterfaceIndex, KernelTable, NextHopFlags, NextHopId, NextHopKey, Prefix,
    PrefixMap, TableId, VrfPlace, Weight,
};

/// The interfaces of the machine, as the kernel tells them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Links {
    by_index: BTreeMap<InterfaceIndex, Link>,
    /// What is told anew from the beginning, until it is complete and takes the old one's place:
    /// a route whose link is still there afterwards never leaves the kernel.
    incoming: Option<BTreeMap<InterfaceIndex, Link>>,
    /// The connected networks, each with its links and how many addresses each has in it.
    networks: PrefixMap<BTreeMap<InterfaceIndex, usize>>,
    /// The machine's own addresses, likewise: some links have one in several networks.
    own: BTreeMap<IpAddr, BTreeMap<InterfaceIndex, usize>>,
    /// The kernel tables of VRFs.
    vrfs: BTreeSet<KernelTable>,
}

/// What decides where a next hop leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Course {
    /// The link, which is up.
    Out(Hop),
    /// The link, which is not.
    Nowhere,
    /// What the table has for its address.
    LookUp(IpAddr),
}

/// What changes of links mean for routes that are in the kernel, or were refused by it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkNews {
    /// The kernel drops a family's routes by a link that goes down, or that loses its last address
    /// of the family, without a word about each; that the link may be back does not bring them back.
    pub lost: BTreeSet<(InterfaceIndex, Family)>,
    /// Links that were down or gone for a moment at least: with them go the kernel's next-hop objects.
    pub down: BTreeSet<InterfaceIndex>,
    /// What happened to links was missed, so nothing that is known of the kernel is certain.
    pub missed: bool,
    /// Links that came up or got an address: what was refused may be possible by them now. In both
    /// families, because IPv4 can have a gateway of IPv6.
    pub gained: BTreeSet<(InterfaceIndex, Family)>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Link {
    name: String,
    up: bool,
    place: VrfPlace,
    /// Its addresses, each with the network that comes with it.
    addresses: BTreeSet<(IpAddr, Prefix)>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            by_index: BTreeMap::new(),
            incoming: Some(BTreeMap::new()),
            networks: PrefixMap::new(),
            own: BTreeMap::new(),
            vrfs: BTreeSet::new(),
        }
    }
}

impl Links {
    fn told(&mut self) -> &mut BTreeMap<InterfaceIndex, Link> {
        self.incoming.as_mut().unwrap_or(&mut self.by_index)
    }

    /// Whether what is told counts at once.
    fn is_settled(&self) -> bool {
        self.incoming.is_none()
    }

    pub(super) fn exists(&self, index: InterfaceIndex) -> bool {
        self.by_index.contains_key(&index)
    }

    pub(super) fn name(&self, index: InterfaceIndex) -> Option<&str> {
        self.by_index.get(&index).map(|link| link.name.as_str())
    }

    pub(super) fn index(&self, name: &str) -> Option<InterfaceIndex> {
        self.by_index.iter().find(|(_, link)| link.name == name).map(|(index, _)| *index)
    }

    /// What decides where the next hop of an instance leads now.
    pub(super) fn course(
        &self,
        settings: &InstanceSettings,
        key: NextHopKey,
        flags: NextHopFlags,
    ) -> Course {
        if self.is_own(settings, key) {
            return Course::Nowhere;
        }
        let interface = match (key.address, key.interface) {
            (Some(address), _) if flags.contains(NextHopFlags::REMOTE) => {
                return Course::LookUp(address);
            }
            // There is nothing to look up.
            (None, _) if flags.contains(NextHopFlags::REMOTE) => return Course::Nowhere,
            (Some(address), InterfaceIndex(0)) => match self.towards(settings, address) {
                Some(interface) => interface,
                None => return Course::LookUp(address),
            },
            (_, index) => index,
        };
        match self.is_up(interface) && self.is_allowed(settings, interface) {
            true => Course::Out(Hop { gateway: key.address, interface, weight: Weight::ONE }),
            false => Course::Nowhere,
        }
    }

    pub(super) fn is_up(&self, index: InterfaceIndex) -> bool {
        self.by_index.get(&index).is_some_and(|link| link.up)
    }

    /// Whether next hops of the instance may lead out by an interface.
    pub(super) fn is_allowed(&self, settings: &InstanceSettings, index: InterfaceIndex) -> bool {
        let names = &settings.interfaces;
        names.is_empty() || self.name(index).is_some_and(|name| names.contains(name))
    }

    /// Whether addresses of an instance are those of an interface's networks: the same ones may mean
    /// another thing in each VRF.
    fn is_of(&self, settings: &InstanceSettings, index: InterfaceIndex) -> bool {
        self.vrf_of(index) == settings.kernel_table.filter(|table| self.is_vrf(*table))
    }

    /// The VRF that an interface is in.
    fn vrf_of(&self, index: InterfaceIndex) -> Option<KernelTable> {
        let place = |index| self.by_index.get(&index).map(|link: &Link| link.place);
        place(index).and_then(|it| it.master).and_then(place).and_then(|it| it.is_vrf)
    }

    /// Whether the address of a next hop is one of this machine, where it would be looked for.
    ///
    /// A link that is down counts: Linux keeps the address of one that only lost its carrier, and makes
    /// of an IPv4 route by it one without a gateway.
    pub(super) fn is_own(&self, settings: &InstanceSettings, key: NextHopKey) -> bool {
        let Some(address) = key.address else { return false };
        let Some(links) = self.own.get(&address) else { return false };
        match (address, key.interface) {
            // Each link has its own of these.
            (IpAddr::V6(v6), index) if v6.is_unicast_link_local() => links.contains_key(&index),
            (_, InterfaceIndex(0)) => links.keys().any(|index| self.is_of(settings, *index)),
            (_, named) => links.keys().any(|index| self.vrf_of(*index) == self.vrf_of(named)),
        }
    }

    /// Whether it is the table of a VRF.
    pub(super) fn is_vrf(&self, table: KernelTable) -> bool {
        self.vrfs.contains(&table)
    }

    /// The interface with the most specific network around the address, among those of the instance
    /// that are up.
    fn towards(&self, settings: &InstanceSettings, address: IpAddr) -> Option<InterfaceIndex> {
        let around = self.networks.cover_values(&Prefix::host(address));
        // From the shortest to the longest, so the last one is the answer.
        let is_usable = |index: &&InterfaceIndex| {
            self.is_up(**index)
                && self.is_allowed(settings, **index)
                && self.is_of(settings, **index)
        };
        around.filter_map(|links| links.keys().find(is_usable)).last().copied()
    }

    /// Whether the network comes with an address of the interface.
    pub(super) fn is_connected(&self, index: InterfaceIndex, network: Prefix) -> bool {
        self.networks.get(&network).is_some_and(|links| links.contains_key(&index))
    }

    fn networks_of(&self, index: InterfaceIndex) -> Vec<Prefix> {
        self.by_index.get(&index).map(Link::networks).unwrap_or_default()
    }

    fn connect(&mut self, index: InterfaceIndex, address: IpAddr, network: Prefix) {
        *self.networks.entry(network).or_default().entry(index).or_default() += 1;
        *self.own.entry(address).or_default().entry(index).or_default() += 1;
    }

    fn disconnect(&mut self, index: InterfaceIndex, address: IpAddr, network: Prefix) {
        if let Some(links) = self.own.get_mut(&address) {
            release(links, index);
            if links.is_empty() {
                self.own.remove(&address);
            }
        }
        let Some(links) = self.networks.get_mut(&network) else { return };
        release(links, index);
        if links.is_empty() {
            self.networks.remove(&network);
        }
    }
}

/// One fewer of a link.
fn release(links: &mut BTreeMap<InterfaceIndex, usize>, index: InterfaceIndex) {
    if let Some(count) = links.get_mut(&index) {
        *count -= 1;
        if *count == 0 {
            links.remove(&index);
        }
    }
}

impl Link {
    /// The networks around next hops that it may matter to: those it has, and its own addresses.
    fn networks(&self) -> Vec<Prefix> {
        self.addresses.iter().flat_map(|(address, net)| [*net, Prefix::host(*address)]).collect()
    }

    fn has_address(&self, family: Family) -> bool {
        self.addresses.iter().any(|(address, _)| Family::of(*address) == family)
    }
}

impl LinkNews {
    fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.gained.is_empty() && !self.missed
    }

    fn gain(&mut self, link: InterfaceIndex) {
        self.gained.extend(Family::ALL.map(|family| (link, family)));
    }

    fn lose(&mut self, link: InterfaceIndex) {
        self.lost.extend(Family::ALL.map(|family| (link, family)));
    }
}

impl Rib {
    /// What happened to links since this was last asked.
    pub fn poll_link_news(&mut self) -> LinkNews {
        mem::take(&mut self.link_news)
    }

    pub(super) fn has_link_news(&self) -> bool {
        !self.link_news.is_empty()
    }

    /// An interface is there, under this name and in this state; answers whether that is news.
    pub fn handle_link(&mut self, index: InterfaceIndex, name: &str, up: bool) -> bool {
        let link = self.links.told().entry(index).or_default();
        let renamed = link.name != name;
        if renamed {
            name.clone_into(&mut link.name);
        }
        if link.up == up && renamed {
            // An instance may have interfaces by name.
            self.handle_link_changed(index, &self.links.networks_of(index));
        } else if link.up != up {
            link.up = up;
            if up {
                self.link_news.gain(index);
            } else {
                self.link_news.lose(index);
                self.link_news.down.insert(index);
            }
            self.handle_link_changed(index, &self.links.networks_of(index));
        } else {
            return false;
        }
        true
    }

    /// An interface came into a VRF, left it, or is one; answers whether that is news.
    pub fn handle_vrf_place(&mut self, index: InterfaceIndex, place: VrfPlace) -> bool {
        let link = self.links.told().entry(index).or_default();
        let before = mem::replace(&mut link.place, place);
        if before.is_vrf != place.is_vrf {
            // It is not known which instance has meant what by which address.
            self.resolve_all_again();
        } else if before != place {
            self.handle_link_changed(index, &self.links.networks_of(index));
        }
        before != place
    }

    /// An interface is gone, and with it its addresses.
    pub fn handle_link_gone(&mut self, index: InterfaceIndex) {
        if let Some(link) = self.links.told().remove(&index) {
            self.link_news.lose(index);
            self.link_news.down.insert(index);
            if self.links.is_settled() {
                for (address, network) in &link.addresses {
                    self.links.disconnect(index, *address, *network);
                }
                self.handle_link_changed(index, &link.networks());
            }
            if link.place.is_vrf.is_some() {
                self.resolve_all_again();
            }
        }
    }

    /// An interface has this address, and by it this network; answers whether that is news.
    pub fn handle_address(
        &mut self,
        index: InterfaceIndex,
        address: IpAddr,
        network: Prefix,
    ) -> bool {
        let link = self.links.told().entry(index).or_default();
        let is_news = link.addresses.insert((address, network));
        if is_news {
            self.link_news.gain(index);
            if self.links.is_settled() {
                self.links.connect(index, address, network);
                self.handle_network_changed(address, network);
            }
        }
        is_news
    }

    /// An interface has this address no more; its network stays if another address has it too.
    pub fn handle_address_gone(&mut self, index: InterfaceIndex, address: IpAddr, network: Prefix) {
        let Some(link) = self.links.told().get_mut(&index) else { return };
        if link.addresses.remove(&(address, network)) {
            let family = Family::of(address);
            if !link.has_address(family) {
                self.link_news.lost.insert((index, family));
            }
            if self.links.is_settled() {
                self.links.disconnect(index, address, network);
                self.handle_network_changed(address, network);
            }
        }
    }

    /// All links and addresses will be told anew, up to [`Rib::handle_links_complete`].
    pub fn handle_links_unknown(&mut self) {
        self.links.incoming = Some(BTreeMap::new());
    }

    /// Everything there is to know about links and addresses has been told.
    pub fn handle_links_complete(&mut self) {
        if let Some(told) = self.links.incoming.take() {
            // What happened while nobody listened is not known.
            for index in mem::replace(&mut self.links.by_index, told).into_keys() {
                self.link_news.lose(index);
                self.link_news.missed = true;
            }
            let all: Vec<InterfaceIndex> = self.links.by_index.keys().copied().collect();
            all.into_iter().for_each(|index| self.link_news.gain(index));
            (self.links.networks, self.links.own) = (PrefixMap::new(), BTreeMap::new());
            let links = self.links.by_index.iter();
            let told: Vec<_> = links
                .flat_map(|(index, link)| {
                    link.addresses.iter().map(|(at, net)| (*index, *at, *net))
                })
                .collect();
            for (index, address, network) in told {
                self.links.connect(index, address, network);
            }
            self.resolve_all_again();
        }
    }

    fn resolve_all_again(&mut self) {
        if self.links.is_settled() {
            let links = self.links.by_index.values();
            self.links.vrfs = links.filter_map(|link| link.place.is_vrf).collect();
            let all: Vec<NextHopId> = self.next_hops.live().collect();
            let networks: Vec<Prefix> = self.links.networks.keys().collect();
            self.resolve_with_networks(&all, &networks);
        }
    }

    /// A link went up or down or is gone; it has or had these networks.
    fn handle_link_changed(&mut self, index: InterfaceIndex, networks: &[Prefix]) {
        // What is told while all is told anew counts when it is complete.
        if !self.links.is_settled() {
            return;
        }
        let places = &self.next_hops.places;
        let on_networks = networks.iter().flat_map(|network| places.in_network(*network));
        let concerned: BTreeSet<NextHopId> = places.by_link(index).chain(on_networks).collect();
        self.resolve_again(&concerned.into_iter().collect::<Vec<_>>());
    }

    /// A link has or had this address, and by it this network.
    fn handle_network_changed(&mut self, address: IpAddr, network: Prefix) {
        let places = &self.next_hops.places;
        let around = [network, Prefix::host(address)];
        let concerned: BTreeSet<NextHopId> =
            around.into_iter().flat_map(|network| places.in_network(network)).collect();
        self.resolve_with_networks(&concerned.into_iter().collect::<Vec<_>>(), &[network]);
    }

    /// As [`Rib::resolve_again`], where the kernel's own routes to these networks may have begun or
    /// ceased to count.
    fn resolve_with_networks(&mut self, next_hops: &[NextHopId], networks: &[Prefix]) {
        let mut start = Start::default();
        for id in next_hops {
            self.set_course(*id, &mut start);
        }
        let places = &self.next_hops.places;
        for table in self.tables.keys() {
            let own = networks.iter().filter(|network| network.family() == table.family);
            let looked_up = own.filter(|network| places.is_looked_up(*table, **network));
            start.destinations.extend(looked_up.map(|network| (*table, *network)));
        }
        let resolved = self.resolve_from(start);
        self.elect_where_resolved(&resolved, None);
    }

    /// The kernel table of the VRF with this name.
    pub fn vrf_table(&self, name: &str) -> Option<KernelTable> {
        self.links.by_index.get(&self.links.index(name)?)?.place.is_vrf
    }

    /// The name of an interface.
    pub fn interface_name(&self, index: InterfaceIndex) -> Option<&str> {
        self.links.name(index)
    }

    /// Resolves next hops again, and elects where that made a difference.
    pub(super) fn resolve_again(&mut self, next_hops: &[NextHopId]) {
        let resolved = self.resolve(next_hops);
        self.elect_where_resolved(&resolved, None);
    }

    /// As [`Rib::resolve_again`], for a next hop of which its owner says something else.
    pub(super) fn resolve_changed(&mut self, id: NextHopId) {
        let mut start = Start { next_hops: vec![id], ..Start::default() };
        self.set_course(id, &mut start);
        let resolved = self.resolve_from(start);
        self.elect_where_resolved(&resolved, None);
    }

    /// Finds out where next hops lead, and all that leads through them.
    pub(super) fn resolve(&mut self, next_hops: &[NextHopId]) -> Resolved {
        let mut start = Start::default();
        for id in next_hops {
            self.set_course(*id, &mut start);
        }
        self.resolve_from(start)
    }

    /// Settles what decides where a next hop leads; adds to `start` what follows from that.
    fn set_course(&mut self, id: NextHopId, start: &mut Start) {
        let Some(next_hop) = self.next_hops.get(id) else { return };
        let course = match self.policy.table(next_hop.table) {
            Ok(settings) if !next_hop.deleted => {
                self.links.course(settings, next_hop.key, next_hop.flags)
            }
            _ => Course::Nowhere,
        };
        let target = match course {
            Course::LookUp(address) => Some((next_hop.table_for(address), address)),
            Course::Out(_) | Course::Nowhere => None,
        };
        let same = self.next_hops.places.target(id) == target;
        if self.next_hops.places.look_up(id, target)
            && let Some((table, address)) = target
        {
            start.addresses.push((table, address));
            self.watch_destinations_around(table, address);
        }
        let led = match (course, target) {
            (_, Some((table, address))) => {
                let found = self.next_hops.places.found(table, address);
                self.follow(id, table, &found);
                false
            }
            (Course::Out(hop), _) => self.lead(id, &[hop]),
            _ => self.lead(id, &[]),
        };
        if led || !same {
            start.next_hops.push(id);
        }
    }

    /// A next hop leads by these ways, which no destination has a part in; whether that is new.
    fn lead(&mut self, id: NextHopId, hops: &[Hop]) -> bool {
        let Some(next_hop) = self.next_hops.get_mut(id) else { return false };
        if (&*next_hop.hops, next_hop.through) == (hops, None) {
            return false;
        }
        next_hop.hops = Arc::from(hops);
        (next_hop.through, next_hop.levels) = (None, 0);
        true
    }
}

impl NextHop {
    /// The table that the address is looked up in: the one of its family in the same instance.
    fn table_for(&self, address: IpAddr) -> TableId {
        TableId { family: Family::of(address), ..self.table }
    }
}

/// What resolving came to.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// The sets that lead elsewhere now, ascending.
    pub(super) sets: Vec<Slot>,
    /// The sets that lead where they did and have another spare way, ascending.
    pub(super) spares: Vec<Slot>,
    /// Destinations that next hops may lead through where a route became viable or the opposite, or
    /// leads elsewhere, ascending.
    pub(super) destinations: Vec<(TableId, Prefix)>,
}
