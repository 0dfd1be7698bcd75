//! The core against a naive table: random commands, and after each of them the same answers.
//!
//! The naive side is written from the rules alone: plain vectors, everything computed from scratch
//! whenever it is asked for. What is compared after each command: its result, the candidates of
//! every prefix in order, the best route of every view, the walk over the table, the accounts of the
//! entities, and, when no effects wait, the kernel's table as it comes out of those taken so far.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::{prelude::*, test_runner::Config};
use rtmd::{
    model::{
        Caller, ChangeFlags, EntityId, EntityKey, ErrorKind, Family, Forwarding, Hop,
        InterfaceIndex, Metric, NextHopFlags, NextHopId, NextHopKey, Now, Preference, Prefix,
        Protocol, RouteFlags, RouteId, Span, TableId, View, ViewSet, Weight,
    },
    rib::{
        Best, LookUp, Match, NextHopOffer, Offer, OfferedNextHops, Policy, Registration, Rib,
        Start, Tenure, Terms, WalkSettings, Withdrawal,
    },
};

/// What can be asked of the RIB. Small numbers pick from what is there, so that most make sense.
#[derive(Clone, Debug)]
enum Command {
    Register { who: u8, family: Family, protocol_instance: u8 },
    Deregister { entity: u8 },
    AddNextHop { entity: u8, gateway: u8, weight: u8 },
    DeleteNextHop { entity: u8, next_hop: u8 },
    Add { entity: u8, offer: OfferCommand },
    Delete { entity: u8, route: u8 },
    Link { interface: u8, up: bool },
    TakeEffects { count: u8 },
}

#[derive(Clone, Debug)]
struct OfferCommand {
    prefix: u8,
    neighbour: Option<u8>,
    preference: u8,
    metric: u8,
    flags: u16,
    views: u8,
    via: Via,
    how: u8,
}

#[derive(Clone, Debug)]
enum Via {
    Ids(Vec<u8>),
    Inline(Vec<(u8, u8)>),
}

// ---- the naive table ----

#[derive(Clone, Debug)]
struct NaiveRoute {
    id: RouteId,
    owner: EntityId,
    table: TableId,
    to: Prefix,
    neighbour: Option<NextHopId>,
    preference: u32,
    metric: u32,
    since: u64,
    flags: u16,
    views: u32,
    next_hops: Vec<NextHopId>,
}

#[derive(Clone, Debug)]
struct NaiveHop {
    id: NextHopId,
    owner: EntityId,
    key: NextHopKey,
    weight: u32,
    deleted: bool,
    inline: bool,
}

#[derive(Default)]
struct Naive {
    entities: Vec<(EntityId, EntityKey)>,
    routes: Vec<NaiveRoute>,
    hops: Vec<NaiveHop>,
    up: BTreeMap<InterfaceIndex, bool>,
    /// The best route of each prefix and view, which is what "the incumbent" means.
    best: BTreeMap<(TableId, Prefix, u32), RouteId>,
    clock: u64,
}

impl Naive {
    fn resolve(&self, hop: &NaiveHop) -> Option<Hop> {
        let interface = match (hop.key.interface, hop.key.address) {
            (InterfaceIndex(0), Some(address)) => interface_of(address)?,
            (index, _) => index,
        };
        let weight = Weight::new(hop.weight).unwrap();
        (self.up[&interface] && !hop.deleted).then_some(Hop {
            gateway: hop.key.address,
            interface,
            weight,
        })
    }

    fn hop(&self, id: NextHopId) -> &NaiveHop {
        self.hops.iter().find(|hop| hop.id == id).unwrap()
    }

    fn ways(&self, route: &NaiveRoute) -> Vec<Hop> {
        let mut ways: Vec<Hop> = Vec::new();
        for hop in route.next_hops.iter().filter_map(|id| self.resolve(self.hop(*id))) {
            match ways.iter_mut().find(|w| (w.gateway, w.interface) == (hop.gateway, hop.interface))
            {
                Some(way) => {
                    let sum = u32::from(way.weight.get()) + u32::from(hop.weight.get());
                    way.weight = Weight::new(sum.min(256)).unwrap();
                }
                None => ways.push(hop),
            }
        }
        ways
    }

    fn viable(&self, route: &NaiveRoute) -> bool {
        route.flags & 0b111 != 0 || !self.ways(route).is_empty()
    }

    fn candidates(&self, table: TableId, to: Prefix) -> Vec<&NaiveRoute> {
        let mut routes: Vec<&NaiveRoute> =
            self.routes.iter().filter(|r| (r.table, r.to) == (table, to)).collect();
        routes.sort_by_key(|route| (route.preference, route.metric, route.since));
        routes
    }

    fn elect(&self, table: TableId, to: Prefix, view: u32) -> Option<RouteId> {
        let incumbent = self.best.get(&(table, to, view));
        let mut routes = self.candidates(table, to);
        routes.retain(|route| route.views >> view & 1 == 1);
        routes.sort_by_key(|route| {
            let displaces = Some(&route.id) != incumbent;
            (!self.viable(route), route.preference, route.metric, displaces, route.since)
        });
        routes.first().map(|route| route.id)
    }

    /// Elects everywhere; the prefixes where the best of a view changed.
    fn settle(&mut self) -> Vec<(TableId, Prefix)> {
        let mut prefixes: Vec<(TableId, Prefix)> =
            self.routes.iter().map(|route| (route.table, route.to)).collect();
        prefixes.extend(self.best.keys().map(|(table, to, _)| (*table, *to)));
        prefixes.sort();
        prefixes.dedup();
        let mut changed = Vec::new();
        for (table, to) in prefixes {
            for view in 0..2 {
                let now = self.elect(table, to, view);
                let before = match now {
                    Some(id) => self.best.insert((table, to, view), id),
                    None => self.best.remove(&(table, to, view)),
                };
                if before != now {
                    changed.push((table, to));
                }
            }
        }
        changed
    }

    fn is_best(&self, id: RouteId) -> bool {
        self.best.values().any(|best| *best == id)
    }

    /// Next hops that only routes kept alive go with the last of them.
    fn collect(&mut self) {
        let routes = &self.routes;
        self.hops.retain(|hop| {
            let used =
                routes.iter().any(|r| r.neighbour == Some(hop.id) || r.next_hops.contains(&hop.id));
            used || !hop.deleted && !hop.inline
        });
    }

    fn find_hop(&self, owner: EntityId, key: NextHopKey) -> Option<NextHopId> {
        let found = self.hops.iter().find(|h| h.owner == owner && h.key == key && !h.deleted);
        found.map(|hop| hop.id)
    }

    /// What the kernel is to have.
    fn wish(&self) -> BTreeMap<(TableId, Prefix), Forwarding> {
        let unicast = self.best.iter().filter(|((_, _, view), _)| *view == 0);
        let routes = unicast.map(|(_, id)| self.routes.iter().find(|r| r.id == *id).unwrap());
        let forwarding = |route: &NaiveRoute| match route.flags {
            flags if flags & 8 != 0 => None,
            flags if flags & 2 != 0 => Some(Forwarding::Blackhole),
            flags if flags & 4 != 0 => Some(Forwarding::Unreachable),
            flags if flags & 1 != 0 => Some(Forwarding::Prohibit),
            _ => Some(self.ways(route))
                .filter(|ways| !ways.is_empty())
                .map(|ways| Forwarding::Unicast(ways.into())),
        };
        routes.filter_map(|r| Some(((r.table, r.to), forwarding(r)?))).collect()
    }
}

// ---- the world they share ----

fn interface_of(address: IpAddr) -> Option<InterfaceIndex> {
    // Interface n has 192.0.n.0/24 and 2001:db8:n::/48.
    let number = match address {
        IpAddr::V4(address) => u32::from(address.octets()[2]),
        IpAddr::V6(address) => u32::from(address.segments()[2]),
    };
    (1..=3).contains(&number).then_some(InterfaceIndex(number))
}

fn gateway(family: Family, number: u8) -> NextHopKey {
    // One in five is on no network, two have the interface named too.
    let (network, host) = (number % 5 % 4 + 1, number / 5 % 2 + 1);
    let address: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(192, 0, network, host).into(),
        Family::Ipv6 => {
            Ipv6Addr::new(0x2001, 0xdb8, network.into(), 0, 0, 0, 0, host.into()).into()
        }
    };
    let named = number >= 10 && network <= 3;
    let interface = InterfaceIndex(if named { network.into() } else { 0 });
    NextHopKey { address: Some(address), interface }
}

fn prefix(family: Family, number: u8) -> Prefix {
    let prefixes = match family {
        Family::Ipv4 => ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.1/32"],
        Family::Ipv6 => {
            ["::/0", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:1::/64", "::1/128"]
        }
    };
    prefixes[usize::from(number) % prefixes.len()].parse().unwrap()
}

struct Pair {
    rib: Rib,
    naive: Naive,
    /// The kernel's table as it comes out of the effects.
    kernel: BTreeMap<(TableId, Prefix), Forwarding>,
    now: u64,
}

impl Pair {
    fn new() -> Self {
        let mut rib = Rib::new(Policy::standard());
        let mut naive = Naive::default();
        for number in 1..=3u8 {
            let index = InterfaceIndex(number.into());
            rib.handle_link(index, &format!("up{number}"), true);
            for network in [format!("192.0.{number}.0/24"), format!("2001:db8:{number}::/48")] {
                let network: Prefix = network.parse().unwrap();
                rib.handle_address(index, network.address(), network);
            }
            naive.up.insert(index, true);
        }
        rib.handle_links_complete();
        Self { rib, naive, kernel: BTreeMap::new(), now: 0 }
    }

    fn entity(&self, number: u8) -> Option<(EntityId, EntityKey)> {
        let entities = &self.naive.entities;
        (!entities.is_empty()).then(|| entities[usize::from(number) % entities.len()])
    }

    fn run(&mut self, command: &Command) {
        self.now += 1;
        match command {
            Command::Register { who, family, protocol_instance } => {
                self.register(*who, *family, *protocol_instance);
            }
            Command::Deregister { entity } => self.deregister(*entity),
            Command::AddNextHop { entity, gateway, weight } => {
                self.add_next_hop(*entity, *gateway, *weight);
            }
            Command::DeleteNextHop { entity, next_hop } => self.delete_next_hop(*entity, *next_hop),
            Command::Add { entity, offer } => self.add(*entity, offer),
            Command::Delete { entity, route } => self.delete(*entity, *route),
            Command::Link { interface, up } => {
                let index = InterfaceIndex(u32::from(interface % 3) + 1);
                self.rib.handle_link(index, &format!("up{index}"), *up);
                self.naive.up.insert(index, *up);
                self.naive.settle();
            }
            Command::TakeEffects { count } => self.take_effects((*count).into()),
        }
    }

    fn register(&mut self, who: u8, family: Family, protocol_instance: u8) {
        let protocol = [Protocol::STATIC, Protocol::BGP, Protocol::RIP][usize::from(who) % 3];
        let table = TableId::new(0, family).unwrap();
        let key = EntityKey { table, protocol, protocol_instance: (protocol_instance % 2).into() };
        let registration = Registration {
            key,
            label: String::new(),
            tenure: Tenure::Connection,
            terms: Terms::default(),
        };
        let caller = Caller { bus_name: format!(":{who}"), uid: 0 };
        let result = self.rib.register(registration, caller, Now::at(self.now));
        if self.naive.entities.iter().any(|(_, known)| *known == key) {
            assert_eq!(result.unwrap_err().kind, ErrorKind::AlreadyExists);
        } else {
            self.naive.entities.push((result.unwrap().id, key));
        }
    }

    fn deregister(&mut self, entity: u8) {
        let Some((id, _)) = self.entity(entity) else { return };
        self.rib.deregister(id).unwrap();
        while let Withdrawal::Unfinished = self.rib.withdraw(id, 2, Now::at(self.now)) {
            self.check_bests_are_among_candidates();
        }
        self.naive.entities.retain(|(known, _)| *known != id);
        // One by one, as withdrawing does: who is the incumbent depends on it.
        while let Some(place) = self.naive.routes.iter().position(|route| route.owner == id) {
            self.naive.routes.remove(place);
            self.naive.settle();
        }
        self.naive.hops.retain(|hop| hop.owner != id);
    }

    fn add_next_hop(&mut self, entity: u8, number: u8, weight: u8) {
        let Some((owner, key)) = self.entity(entity) else { return };
        let next_hop = gateway(key.table.family, number);
        let weight = u32::from(weight % 4) + 1;
        let offer = NextHopOffer {
            key: next_hop,
            flags: NextHopFlags::default(),
            weight: Weight::new(weight).unwrap(),
            remote: None,
            private: &[],
        };
        let (id, new) = self.rib.add_next_hop(owner, offer).unwrap();
        assert_eq!(new, self.naive.find_hop(owner, next_hop).is_none());
        self.naive_hop(id, owner, next_hop, weight).inline = false;
        self.naive.settle();
    }

    /// Finds or adds on the naive side, with this weight.
    fn naive_hop(
        &mut self,
        id: NextHopId,
        owner: EntityId,
        key: NextHopKey,
        weight: u32,
    ) -> &mut NaiveHop {
        let hops = &mut self.naive.hops;
        let place = hops.iter().position(|hop| hop.id == id).unwrap_or_else(|| {
            hops.push(NaiveHop { id, owner, key, weight, deleted: false, inline: true });
            hops.len() - 1
        });
        hops[place].weight = weight;
        &mut hops[place]
    }

    fn delete_next_hop(&mut self, entity: u8, next_hop: u8) {
        let (Some((owner, _)), false) = (self.entity(entity), self.naive.hops.is_empty()) else {
            return;
        };
        let place = usize::from(next_hop) % self.naive.hops.len();
        let hop = self.naive.hops[place].clone();
        let result = self.rib.delete_next_hop(owner, hop.id).map_err(|error| error.kind);
        if hop.owner != owner {
            assert_eq!(result, Err(ErrorKind::AccessDenied));
        } else if hop.deleted {
            assert_eq!(result, Err(ErrorKind::NotFound));
        } else {
            assert_eq!(result, Ok(()));
            self.naive.hops[place].deleted = true;
            self.naive.settle();
            self.naive.collect();
        }
    }

    fn add(&mut self, entity: u8, command: &OfferCommand) {
        let Some((owner, key)) = self.entity(entity) else { return };
        let family = key.table.family;
        let pick = |number: u8| {
            let hops = &self.naive.hops;
            (!hops.is_empty()).then(|| hops[usize::from(number) % hops.len()].clone())
        };
        let neighbour = command.neighbour.and_then(pick);
        let ids: Vec<NaiveHop> = match &command.via {
            Via::Ids(numbers) => numbers.iter().filter_map(|number| pick(*number)).collect(),
            Via::Inline(_) => Vec::new(),
        };
        let inline: Vec<(NextHopKey, Option<u32>)> = match &command.via {
            Via::Ids(_) => Vec::new(),
            Via::Inline(all) => {
                let weight = |w: u8| Some(u32::from(w % 3)).filter(|weight| *weight > 0);
                all.iter().map(|(n, w)| (gateway(family, *n), weight(*w))).collect()
            }
        };
        let next_hops: Vec<NextHopId> = ids.iter().map(|hop| hop.id).collect();
        let weighted: Vec<(NextHopKey, Option<Weight>)> = inline
            .iter()
            .map(|(key, weight)| (*key, weight.map(|weight| Weight::new(weight).unwrap())))
            .collect();
        let offer = Offer {
            to: prefix(family, command.prefix),
            neighbour: neighbour.as_ref().map(|hop| hop.id),
            preference: Preference((command.preference % 4 * 60).into()),
            metric: Metric((command.metric % 3).into()),
            flags: RouteFlags(command.flags),
            views: if command.views == 4 { ViewSet::ALL } else { ViewSet(command.views.into()) },
            next_hops: match command.via {
                Via::Ids(_) => OfferedNextHops::Ids(&next_hops),
                Via::Inline(_) => OfferedNextHops::Inline(&weighted),
            },
            ttl: Span::FOREVER,
            private: &[],
            list: None,
        };
        let how = command.how % 4;
        let result = self.rib.add_route(owner, &offer, ChangeFlags(how.into()), Now::at(self.now));

        let unusable =
            neighbour.iter().chain(&ids).find(|hop| hop.owner != owner || hop.deleted).map(|hop| {
                match hop.owner == owner {
                    true => ErrorKind::InvalidParameter,
                    false => ErrorKind::AccessDenied,
                }
            });
        let twice = next_hops.iter().enumerate().any(|(i, id)| next_hops[..i].contains(id))
            || inline.iter().enumerate().any(|(i, (k, _))| inline[..i].iter().any(|(o, _)| o == k));
        if how == 3 || offer.views.is_empty() || unusable.is_some() || twice {
            let kind = result.expect_err("the naive table refuses").kind;
            let first_checked = how == 3 || offer.views.is_empty();
            let expected = unusable.filter(|_| !first_checked && !twice);
            assert!(
                kind == expected.unwrap_or(ErrorKind::InvalidParameter)
                    || twice && Some(kind) == unusable,
                "{kind:?}"
            );
            return;
        }
        let (id, change) = result.unwrap();
        let next_hops = match command.via {
            Via::Ids(_) => next_hops.clone(),
            Via::Inline(_) => inline
                .iter()
                .map(|(key, weight)| {
                    let id = self.rib.find_next_hop(owner, *key).unwrap().id;
                    let known = self.naive.hops.iter().find(|hop| hop.id == id);
                    let weight = weight.or(known.map(|hop| hop.weight)).unwrap_or(1);
                    self.naive_hop(id, owner, *key, weight);
                    id
                })
                .collect(),
        };
        self.add_naively(owner, key, &offer, next_hops, how, (id, change));
    }

    fn add_naively(
        &mut self,
        owner: EntityId,
        key: EntityKey,
        offer: &Offer<'_>,
        next_hops: Vec<NextHopId>,
        how: u8,
        (id, change): (RouteId, ChangeFlags),
    ) {
        let levels = Policy::standard().levels;
        let preference = levels.preference(key.protocol, offer.preference).0;
        let known = self
            .naive
            .candidates(key.table, offer.to)
            .into_iter()
            .filter(|_| how != 2)
            .find(|r| r.owner == owner && (how == 1 || r.neighbour == offer.neighbour))
            .map(|route| (route.id, route.preference, route.metric, route.since));
        self.naive.clock += 1;
        let since = match known {
            Some((_, p, m, since)) if (p, m) == (preference, offer.metric.0) => since,
            _ => self.naive.clock,
        };
        let was_best = known.is_some_and(|(id, ..)| self.naive.is_best(id));
        if let Some((known, ..)) = known {
            assert_eq!(id, known, "an update keeps the id");
            self.naive.routes.retain(|route| route.id != known);
        } else {
            assert!(self.naive.routes.iter().all(|route| route.id != id), "a new id is new");
        }
        self.naive.routes.push(NaiveRoute {
            id,
            owner,
            table: key.table,
            to: offer.to,
            neighbour: offer.neighbour,
            preference,
            metric: offer.metric.0,
            since,
            flags: offer.flags.0,
            views: offer.views.0 & 3, // all means all supported
            next_hops,
        });
        let moved = self.naive.settle().contains(&(key.table, offer.to));
        self.naive.collect();
        let expected = u32::from(known.is_none()) << 1 | u32::from(was_best || moved) << 16;
        assert_eq!(change, ChangeFlags(expected));
    }

    fn delete(&mut self, entity: u8, route: u8) {
        let (Some((owner, _)), false) = (self.entity(entity), self.naive.routes.is_empty()) else {
            return;
        };
        let route = self.naive.routes[usize::from(route) % self.naive.routes.len()].clone();
        let result = self.rib.delete_route(owner, route.id, Now::at(self.now));
        if route.owner != owner {
            assert_eq!(result.unwrap_err().kind, ErrorKind::AccessDenied);
            return;
        }
        self.naive.routes.retain(|known| known.id != route.id);
        let moved = !self.naive.settle().is_empty();
        self.naive.collect();
        assert_eq!(result.unwrap(), ChangeFlags(u32::from(moved) << 16));
        let again = self.rib.delete_route(owner, route.id, Now::at(self.now));
        assert_eq!(again.unwrap_err().kind, ErrorKind::NotFound);
    }

    fn take_effects(&mut self, count: usize) {
        for effect in self.rib.poll_effects(count) {
            let place = (effect.table, effect.to);
            match effect.forwarding {
                Some(forwarding) => self.kernel.insert(place, Forwarding::clone(&forwarding)),
                None => self.kernel.remove(&place),
            };
        }
    }

    fn check_bests_are_among_candidates(&self) {
        for table in self.rib.tables().collect::<Vec<_>>() {
            for number in 0..5 {
                let routes = self.rib.routes(table, prefix(table.family, number)).unwrap();
                for view in [View::UNICAST, View::MULTICAST] {
                    let candidates = routes.iter().filter(|r| r.route.views.contains(view)).count();
                    let best = routes.iter().filter(|r| r.route.best_in.contains(view)).count();
                    assert_eq!(best, candidates.min(1));
                }
            }
        }
    }

    fn check(&self) {
        if !self.rib.has_effects() {
            assert_eq!(self.kernel, self.naive.wish(), "nothing waits, so the kernel has the wish");
        }
        for table in self.rib.tables().collect::<Vec<_>>() {
            for number in 0..5 {
                self.check_prefix(table, prefix(table.family, number));
            }
            self.check_walk(table);
        }
        for (id, key) in &self.naive.entities {
            let entity = self.rib.entity(*id).unwrap();
            let own = || self.naive.routes.iter().filter(|route| route.owner == *id);
            assert_eq!(entity.key, *key);
            assert_eq!(entity.routes(), own().count());
            assert_eq!(entity.best_routes, own().filter(|r| self.naive.is_best(r.id)).count());
            let hops = self.naive.hops.iter().filter(|hop| hop.owner == *id && !hop.deleted);
            assert_eq!(self.rib.next_hop_count(*id), hops.count());
        }
    }

    fn check_prefix(&self, table: TableId, to: Prefix) {
        let naive = self.naive.candidates(table, to);
        let routes = self.rib.routes(table, to).unwrap();
        let ids = |ids: &mut dyn Iterator<Item = RouteId>| ids.collect::<Vec<_>>();
        assert_eq!(
            ids(&mut routes.iter().map(|view| view.id)),
            ids(&mut naive.iter().map(|route| route.id)),
            "the candidates of {to}"
        );
        for (view, naive) in routes.iter().zip(&naive) {
            let best_in = (0..2)
                .filter(|view| self.naive.best.get(&(table, to, *view)) == Some(&naive.id))
                .fold(0, |views, view| views | 1 << view);
            assert_eq!(view.route.best_in, ViewSet(best_in), "route {} of {to}", naive.id);
            assert_eq!(view.route.viable, self.naive.viable(naive));
            assert_eq!(view.next_hops, naive.next_hops);
            assert_eq!(view.route.neighbour, naive.neighbour);
        }
        let found = self.rib.look_up(table, to, LookUp::Exact, Best::Overall, ViewSet(1));
        let seen = naive.iter().any(|route| route.views & 1 == 1);
        assert_eq!(found.is_ok(), seen);
    }

    fn check_walk(&self, table: TableId) {
        let settings =
            WalkSettings { table, views: ViewSet::NONE, start: Start::Beginning, owned_by: None };
        let mut walk = self.rib.walk(settings).unwrap();
        let mut walked = Vec::new();
        while !walk.is_done() {
            let page = self.rib.next_routes(&mut walk, &Match::default(), 3).unwrap();
            walked.extend(page.iter().map(|view| view.id));
        }
        let mut all: Vec<&NaiveRoute> =
            self.naive.routes.iter().filter(|route| route.table == table).collect();
        all.sort_by_key(|route| (route.to, route.preference, route.metric, route.since));
        assert_eq!(walked, all.iter().map(|route| route.id).collect::<Vec<_>>());
        assert_eq!(self.rib.route_count(table), all.len());
        all.dedup_by_key(|route| route.to);
        assert_eq!(self.rib.destination_count(table), all.len());
    }
}

fn command() -> impl Strategy<Value = Command> {
    let family = prop_oneof![3 => Just(Family::Ipv4), 1 => Just(Family::Ipv6)];
    let via = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Via::Ids),
        prop::collection::vec((0..20u8, any::<u8>()), 0..3).prop_map(Via::Inline),
    ];
    let flags = prop_oneof![8 => Just(0u16), 1 => 0..16u16, 1 => any::<u16>()];
    let offer = (
        any::<u8>(),
        prop::option::weighted(0.3, any::<u8>()),
        any::<u8>(),
        any::<u8>(),
        flags,
        prop_oneof![1 => Just(0u8), 9 => 1..5u8],
        via,
        prop_oneof![6 => Just(0u8), 2 => Just(1u8), 2 => Just(2u8), 1 => Just(3u8)],
    );
    let offer =
        offer.prop_map(|(prefix, neighbour, preference, metric, flags, views, via, how)| {
            OfferCommand { prefix, neighbour, preference, metric, flags, views, via, how }
        });
    prop_oneof![
        3 => (any::<u8>(), family, any::<u8>()).prop_map(|(who, family, protocol_instance)| {
            Command::Register { who, family, protocol_instance }
        }),
        1 => any::<u8>().prop_map(|entity| Command::Deregister { entity }),
        3 => (any::<u8>(), 0..20u8, any::<u8>()).prop_map(|(entity, gateway, weight)| {
            Command::AddNextHop { entity, gateway, weight }
        }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(entity, next_hop)| {
            Command::DeleteNextHop { entity, next_hop }
        }),
        12 => (any::<u8>(), offer).prop_map(|(entity, offer)| Command::Add { entity, offer }),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(entity, route)| Command::Delete { entity, route }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(interface, up)| Command::Link { interface, up }),
        2 => any::<u8>().prop_map(|count| Command::TakeEffects { count }),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_rib_answers_like_a_naive_table(commands in prop::collection::vec(command(), 1..120)) {
        let mut pair = Pair::new();
        for command in &commands {
            pair.run(command);
            pair.check();
        }
        // The property that matters most: with all effects carried out, the kernel has the wish.
        pair.take_effects(usize::MAX);
        prop_assert_eq!(&pair.kernel, &pair.naive.wish());
    }
}
