//! From a next hop to a way out: which interface leads to its address, and is it up.
//!
//! The links and their addresses are told by the kernel; a next hop without an interface is looked
//! for among the networks that are directly connected. Looking further, through other routes, is a
//! later step and belongs here too.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
};

use super::{Rib, nexthops::Whose};
use crate::model::{Family, Hop, InterfaceIndex, NextHopKey, Prefix, Weight};

/// The interfaces of the machine, as the kernel tells them.
#[derive(Debug)]
pub(super) struct Links {
    by_index: BTreeMap<InterfaceIndex, Link>,
    /// What is told anew from the beginning, until it is complete and takes the old one's place:
    /// a route whose link is still there afterwards never leaves the kernel.
    incoming: Option<BTreeMap<InterfaceIndex, Link>>,
}

/// What changes of links mean for routes that are in the kernel, or were refused by it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkNews {
    /// The kernel drops a family's routes by a link that goes down, or that loses its last address
    /// of the family, without a word about each; that the link may be back does not bring them back.
    pub lost: BTreeSet<(InterfaceIndex, Family)>,
    /// Links that were down or gone for a moment at least: with them go the kernel's next-hop objects.
    pub down: BTreeSet<InterfaceIndex>,
    /// What happened to links was missed, so nothing that is known of the kernel is certain.
    pub missed: bool,
    /// Something came up or got an address: what was refused may be possible now.
    pub gained: bool,
}

#[derive(Debug, Default)]
struct Link {
    name: String,
    up: bool,
    /// Its addresses, each with the network that comes with it.
    addresses: BTreeSet<(IpAddr, Prefix)>,
}

impl Default for Links {
    fn default() -> Self {
        Self { by_index: BTreeMap::new(), incoming: Some(BTreeMap::new()) }
    }
}

impl Links {
    fn told(&mut self) -> &mut BTreeMap<InterfaceIndex, Link> {
        self.incoming.as_mut().unwrap_or(&mut self.by_index)
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

    /// The way out that a next hop stands for, if there is one now.
    pub(super) fn resolve(&self, key: NextHopKey, weight: Weight) -> Option<Hop> {
        let interface = match key.interface {
            InterfaceIndex(0) => self.towards(key.address?)?,
            index => index,
        };
        let link = self.by_index.get(&interface).filter(|link| link.up);
        link.map(|_| Hop { gateway: key.address, interface, weight })
    }

    /// Why a next hop leads nowhere, as a sentence; `None` when it leads somewhere.
    pub(super) fn fault(&self, key: NextHopKey) -> Option<String> {
        if self.resolve(key, Weight::ONE).is_some() {
            return None;
        }
        Some(match (key.interface, key.address) {
            (InterfaceIndex(0), Some(address)) => {
                format!("no interface that is up has a network with {address}")
            }
            (InterfaceIndex(0), None) => "it has neither address nor interface".to_owned(),
            (index, _) => match self.name(index) {
                Some(name) => format!("interface {name} is down"),
                None => format!("there is no interface {index}"),
            },
        })
    }

    /// The interface with the most specific network around the address, among those that are up.
    fn towards(&self, address: IpAddr) -> Option<InterfaceIndex> {
        let networks =
            self.by_index.iter().filter(|(_, link)| link.up).flat_map(|(index, link)| {
                link.addresses.iter().map(move |(_, network)| (network.length(), *index, network))
            });
        networks
            .filter(|(_, _, network)| network.contains(address))
            .max_by_key(|(length, index, _)| (*length, std::cmp::Reverse(*index)))
            .map(|(_, index, _)| index)
    }
}

impl Link {
    fn has_address(&self, family: Family) -> bool {
        self.addresses.iter().any(|(address, _)| Family::of(*address) == family)
    }
}

impl LinkNews {
    fn is_empty(&self) -> bool {
        self.lost.is_empty() && !self.gained && !self.missed
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

    /// An interface is there, under this name and in this state.
    pub fn handle_link(&mut self, index: InterfaceIndex, name: &str, up: bool) {
        let link = self.links.told().entry(index).or_default();
        if link.name != name {
            name.clone_into(&mut link.name);
        }
        if link.up != up {
            link.up = up;
            if up {
                self.link_news.gained = true;
            } else {
                self.link_news.lose(index);
                self.link_news.down.insert(index);
            }
            self.resolve_again(Whose::All);
        }
    }

    /// An interface is gone, and with it its addresses.
    pub fn handle_link_gone(&mut self, index: InterfaceIndex) {
        if self.links.told().remove(&index).is_some() {
            self.link_news.lose(index);
            self.link_news.down.insert(index);
            self.resolve_again(Whose::All);
        }
    }

    /// An interface has this address, and by it this network; told again it changes nothing.
    pub fn handle_address(&mut self, index: InterfaceIndex, address: IpAddr, network: Prefix) {
        let link = self.links.told().entry(index).or_default();
        if link.addresses.insert((address, network)) {
            self.link_news.gained = true;
            self.resolve_again(Whose::All);
        }
    }

    /// An interface has this address no more; its network stays if another address has it too.
    pub fn handle_address_gone(&mut self, index: InterfaceIndex, address: IpAddr, network: Prefix) {
        let Some(link) = self.links.told().get_mut(&index) else { return };
        if link.addresses.remove(&(address, network)) {
            let family = Family::of(address);
            if !link.has_address(family) {
                self.link_news.lost.insert((index, family));
            }
            self.resolve_again(Whose::All);
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
            self.link_news.gained = true;
            self.resolve_again(Whose::All);
        }
    }

    /// The name of an interface.
    pub fn interface_name(&self, index: InterfaceIndex) -> Option<&str> {
        self.links.name(index)
    }

    /// Resolves sets of next hops again and elects where that made a difference.
    pub(super) fn resolve_again(&mut self, whose: Whose) {
        let changed = self.next_hops.resolve(whose, &self.links);
        self.elect_users_of(&changed);
    }
}
