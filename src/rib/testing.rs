//! A RIB driven by text, for the tests of its rules.
//!
//! Entities are written as a label; routes as `10.0.0.0/8 via 192.0.2.1 metric 5 …`. Interfaces 1
//! to 3 are up, named `up1` to `up3`, with the networks 192.0.2.0/24, 198.51.100.0/24 and
//! 2001:db8:3::/64.

use std::collections::BTreeMap;

use super::{Effect, Offer, OfferedNextHops, Policy, Registration, Rib, Tenure, Terms};
use crate::model::{
    Caller, ChangeFlags, EntityId, EntityKey, Family, FibCounts, InterfaceIndex, Metric,
    NextHopKey, Now, Preference, Prefix, Protocol, Result, RouteFlags, RouteId, Span, TableId,
    View, ViewSet, Weight,
};

pub(super) struct TestRib {
    pub(super) rib: Rib,
    entities: BTreeMap<String, EntityId>,
    clock: u64,
}

pub(super) fn table(family: Family) -> TableId {
    TableId::new(0, family).unwrap()
}

impl TestRib {
    pub(super) fn new(policy: Policy) -> Self {
        let mut rib = Rib::new(policy);
        let networks = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8:3::/64"];
        for (index, network) in (1..).zip(networks) {
            rib.handle_link(InterfaceIndex(index), &format!("up{index}"), true);
            let network: Prefix = network.parse().unwrap();
            rib.handle_address(InterfaceIndex(index), network.address(), network);
        }
        rib.handle_links_complete();
        let _ = rib.poll_link_news();
        Self { rib, entities: BTreeMap::new(), clock: 0 }
    }

    /// With IPv4 entities under these labels; a label that is a protocol's name is of that protocol.
    pub(super) fn with_entities<const N: usize>(labels: [&str; N]) -> Self {
        let mut test = Self::new(Policy::standard());
        for label in labels {
            test.register(label, Family::Ipv4).unwrap();
        }
        test
    }

    pub(super) fn register(&mut self, label: &str, family: Family) -> Result<EntityId> {
        let protocol = Protocol::parse(label).unwrap_or(Protocol(1));
        let key = EntityKey { table: table(family), protocol, protocol_instance: 0 };
        let registration = Registration {
            key,
            label: label.to_owned(),
            tenure: Tenure::Connection,
            terms: Terms::default(),
        };
        let caller = Caller { bus_name: format!(":{label}"), uid: 1000 };
        let id = self.rib.register(registration, caller, Now::at(0))?.id;
        self.entities.insert(label.to_owned(), id);
        Ok(id)
    }

    pub(super) fn entity(&self, label: &str) -> EntityId {
        self.entities[label]
    }

    pub(super) fn now(&mut self) -> Now {
        self.clock += 1;
        Now::at(self.clock)
    }

    /// Offers `LABEL: PREFIX [via ADDRESS[@INTERFACE]]… [metric N] [pref N] [flags N] [views N]
    /// [from ADDRESS] [how N]`.
    pub(super) fn add(&mut self, text: &str) -> Result<(RouteId, ChangeFlags)> {
        let (label, text) = text.split_once(':').unwrap();
        let owner = self.entity(label.trim());
        let mut words = text.split_whitespace();
        let to: Prefix = words.next().unwrap().parse()?;
        let mut via = Vec::new();
        let (mut metric, mut preference, mut flags, mut views, mut how) = (0, 0, 0, 1, 0);
        let mut neighbour = None;
        while let (Some(word), Some(value)) = (words.next(), words.next()) {
            let number = || value.parse::<u32>().unwrap();
            match word {
                "via" => via.push((next_hop(value), None)),
                "from" => {
                    let key = next_hop(value);
                    let offer = super::NextHopOffer {
                        key,
                        flags: crate::model::NextHopFlags::default(),
                        weight: Weight::ONE,
                        remote: None,
                        private: &[],
                    };
                    neighbour = Some(self.rib.add_next_hop(owner, offer)?.0);
                }
                "metric" => metric = number(),
                "pref" => preference = number(),
                "flags" => flags = number(),
                "views" => views = number(),
                "how" => how = number(),
                _ => panic!("{word}"),
            }
        }
        let offer = Offer {
            to,
            neighbour,
            preference: Preference(preference),
            metric: Metric(metric),
            flags: RouteFlags::new(flags)?,
            views: ViewSet(views),
            next_hops: OfferedNextHops::Inline(&via),
            ttl: Span::FOREVER,
            private: &[],
            list: None,
        };
        let now = self.now();
        self.rib.add_route(owner, &offer, ChangeFlags(how), now)
    }

    pub(super) fn delete(&mut self, label: &str, id: RouteId) -> Result<ChangeFlags> {
        let now = self.now();
        self.rib.delete_route(self.entity(label), id, now)
    }

    /// The owner of the best route of the view, or `-`.
    pub(super) fn best_in(&self, view: View, prefix: &str) -> String {
        let prefix: Prefix = prefix.parse().unwrap();
        let routes = self.rib.routes(table(prefix.family()), prefix).unwrap();
        let best: Vec<_> = routes.iter().filter(|r| r.route.best_in.contains(view)).collect();
        assert!(best.len() <= 1, "{prefix} has {} best routes", best.len());
        let owner = best.first().map(|view| view.route.owner);
        let label = self.entities.iter().find(|(_, id)| Some(**id) == owner);
        label.map_or("-", |(label, _)| label).to_owned()
    }

    pub(super) fn best(&self, prefix: &str) -> String {
        self.best_in(View::UNICAST, prefix)
    }

    /// What the kernel is told now, a line for each destination.
    pub(super) fn effects(&mut self) -> Vec<String> {
        let effects = self.rib.poll_effects(usize::MAX);
        for table in Family::ALL.map(table) {
            self.rib.handle_fib_counts(table, FibCounts::default());
        }
        let line = |Effect { to, forwarding, .. }: Effect| match forwarding {
            Some(forwarding) => format!("{to} {forwarding}"),
            None => format!("{to} -"),
        };
        effects.into_iter().map(line).collect()
    }
}

fn next_hop(text: &str) -> NextHopKey {
    let (address, interface) = text.split_once('@').unwrap_or((text, "0"));
    let address = (!address.is_empty()).then(|| address.parse().unwrap());
    NextHopKey { address, interface: InterfaceIndex(interface.parse().unwrap()) }
}
