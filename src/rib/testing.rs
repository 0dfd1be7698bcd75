//! A RIB driven by text, for the tests of its rules.
//!
//! Entities are written as a label; routes as `10.0.0.0/8 via 192.0.2.1 metric 5 …`. Interfaces 1
//! to 3 are up, named `up1` to `up3`, with the networks 192.0.2.0/24, 198.51.100.0/24 and
//! 2001:db8:3::/64.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Best, Credentials, DestinationView, Effect, GroupNews, LookUp, Offer, OfferedNextHops, Policy,
    Registration, Rib, Subscription, Tenure, Terms,
};
use crate::model::{
    Caller, ChangeFlags, EntityId, EntityKey, Family, FibCounts, Forwarding, GroupId,
    InterfaceIndex, Metric, NextHopKey, NotificationId, NotifyFlags, Now, Preference, Prefix,
    Protocol, Result, RouteFlags, RouteId, Span, TableId, View, ViewSet, Weight, Wish,
};

pub(super) struct TestRib {
    pub(super) rib: Rib,
    /// Whose connections the next ones are.
    pub(super) uid: u32,
    entities: BTreeMap<String, EntityId>,
    clock: u64,
    /// What the kernel was told of destinations, and of groups.
    fib: BTreeMap<Prefix, Option<Wish>>,
    groups: BTreeMap<GroupId, Option<Arc<Forwarding>>>,
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
        Self {
            rib,
            uid: 1000,
            entities: BTreeMap::new(),
            clock: 0,
            fib: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
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
        self.register_as(label, family, Tenure::Connection, Terms::default())
    }

    pub(super) fn register_as(
        &mut self,
        label: &str,
        family: Family,
        tenure: Tenure,
        terms: Terms,
    ) -> Result<EntityId> {
        let protocol = Protocol::parse(label).unwrap_or(Protocol(1));
        let key = EntityKey { table: table(family), protocol, protocol_instance: 0 };
        let (label, credentials) = (label.to_owned(), Credentials::authorized());
        let registration = Registration { key, label: label.clone(), tenure, terms, credentials };
        let caller = Caller { bus_name: format!(":{label}"), uid: self.uid };
        let id = self.rib.register(registration, caller, Now::at(0))?.id;
        self.know(&label, id);
        Ok(id)
    }

    /// Gives an entity a label.
    pub(super) fn know(&mut self, label: &str, id: EntityId) {
        self.entities.insert(label.to_owned(), id);
    }

    pub(super) fn entity(&self, label: &str) -> EntityId {
        self.entities[label]
    }

    pub(super) fn now(&mut self) -> Now {
        self.clock += 1;
        Now::at(self.clock)
    }

    /// Lets so many milliseconds pass, and carries out what is due then.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.clock += milliseconds * 1000;
        self.rib.handle_deadlines(usize::MAX, Now::at(self.clock));
    }

    /// Marks a destination for hold-down.
    pub(super) fn hold(&mut self, label: &str, to: &str, views: u32, ms: u32) -> Result<()> {
        let (entity, span) = (self.entity(label), Span::from_millis(ms)?);
        self.rib.hold_destination(entity, to.parse()?, ViewSet(views), span)
    }

    /// Registers for changes of the IPv4 table.
    pub(super) fn follow(&mut self, label: &str, views: u32, flags: u32) -> NotificationId {
        let flags = NotifyFlags::new(flags).unwrap();
        let (table, views) = (table(Family::Ipv4), ViewSet(views));
        let owner = Caller { bus_name: format!(":{label}"), uid: self.uid };
        let subscription = Subscription { table, views, flags, context: 7 };
        self.rib.register_for_changes(subscription, owner).unwrap()
    }

    /// All destinations that wait for a registration.
    pub(super) fn changed(&mut self, id: NotificationId) -> Vec<String> {
        let (page, done) = self.rib.changed_destinations(table(Family::Ipv4), id, 1000).unwrap();
        assert!(done);
        page.iter().map(|view| view.prefix.to_string()).collect()
    }

    /// A destination by its name, with these views.
    pub(super) fn destination(&self, to: &str, views: u32) -> Option<DestinationView> {
        let to: Prefix = to.parse().unwrap();
        let (table, views) = (table(to.family()), ViewSet(views));
        self.rib.look_up(table, to, LookUp::Exact, Best::Overall, views).ok()
    }

    /// The views that hold a route of the destination.
    pub(super) fn held(&self, to: &str) -> Vec<u8> {
        let view = self.destination(to, 3);
        let records = view.into_iter().flat_map(|view| view.per_view);
        records.filter(|record| record.held.is_some()).map(|record| record.view.id()).collect()
    }

    /// Offers `LABEL: PREFIX [via ADDRESS[@INTERFACE]]… [metric N] [pref N] [flags N] [views N]
    /// [from ADDRESS] [how N] [ttl MILLISECONDS] [private TEXT]`.
    pub(super) fn add(&mut self, text: &str) -> Result<(RouteId, ChangeFlags)> {
        let (label, text) = text.split_once(':').unwrap();
        let owner = self.entity(label.trim());
        let mut words = text.split_whitespace();
        let to: Prefix = words.next().unwrap().parse()?;
        let mut via = Vec::new();
        let (mut metric, mut preference, mut flags, mut views, mut how) = (0, 0, 0, 1, 0);
        let (mut neighbour, mut ttl, mut private) = (None, Span::FOREVER, "");
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
                "ttl" => ttl = Span::from_millis(number())?,
                "private" => private = value,
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
            next_hops: OfferedNextHops::Inline(via.as_slice().into()),
            ttl,
            private: private.as_bytes(),
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

    /// What the kernel is told now, a line for each destination: first those that follow something
    /// else, then those whose group comes to something else.
    pub(super) fn effects(&mut self) -> Vec<String> {
        let mut touched = BTreeSet::new();
        for news in self.rib.poll_groups(usize::MAX) {
            let (id, forwarding) = match news {
                GroupNews::Changed(id, fate) => (id, fate.forwarding),
                GroupNews::Gone(id) => (id, None),
            };
            touched.insert(id);
            self.groups.insert(id, forwarding);
        }
        let effects = self.rib.poll_effects(usize::MAX);
        for table in Family::ALL.map(table) {
            self.rib.handle_fib_counts(table, FibCounts::default());
        }
        let mut lines = Vec::new();
        let mut told = BTreeSet::new();
        for Effect { to, wish, .. } in effects {
            told.insert(to);
            lines.push(self.line(to, wish));
            self.fib.insert(to, wish);
        }
        for (to, wish) in &self.fib {
            let moved = matches!(wish, Some(Wish::Group(id)) if touched.contains(id));
            if moved && !told.contains(to) {
                lines.push(self.line(*to, *wish));
            }
        }
        lines
    }

    fn line(&self, to: Prefix, wish: Option<Wish>) -> String {
        let forwarding = match wish {
            Some(Wish::Special(special)) => Some(Arc::new(Forwarding::from(special))),
            Some(Wish::Group(id)) => self.groups[&id].clone(),
            None => None,
        };
        forwarding.map_or_else(|| format!("{to} -"), |forwarding| format!("{to} {forwarding}"))
    }
}

fn next_hop(text: &str) -> NextHopKey {
    let (address, interface) = text.split_once('@').unwrap_or((text, "0"));
    let address = (!address.is_empty()).then(|| address.parse().unwrap());
    NextHopKey { address, interface: InterfaceIndex(interface.parse().unwrap()) }
}
