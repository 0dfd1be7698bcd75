//! Static routes, which entities of the service itself own.

use rtmd::{
    model::{
        Caller, EntityId, EntityKey, ErrorKind, Family, InterfaceIndex, Metric, NextHopKey,
        Preference, Prefix, Protocol, RouteFlags, RouteId, Span, TableId, Weight,
    },
    rib::{
        InlineNextHop, Offer, OfferedNextHops, StaticKey, StaticMatch, StaticNextHop, StaticRoute,
    },
};

use crate::{
    Pair, accepted,
    commands::{OfferCommand, Via},
    lingering::NaiveAbsence,
    naive::{Expiry, NaiveEntity, NaiveRoute},
    offering::{Named, settled_preference},
    world,
};

/// As an administrator configured it.
pub(crate) struct NaiveStatic {
    table: TableId,
    route: StaticRoute,
    /// None as long as one of its interfaces is missing.
    id: Option<RouteId>,
}

/// For as long as the service has no entity.
const NOBODY: EntityId = EntityId(u64::MAX);

/// The number that stands for the interface there is not.
const MISSING: InterfaceIndex = InterfaceIndex(99);

fn name(interface: InterfaceIndex) -> Option<String> {
    (interface.0 != 0).then(|| format!("up{interface}"))
}

fn inline(route: &StaticRoute) -> Vec<InlineNextHop> {
    let index = |name: &String| name.strip_prefix("up").unwrap().parse().unwrap();
    let key = |hop: &StaticNextHop| NextHopKey {
        address: hop.address,
        interface: InterfaceIndex(hop.interface.as_ref().map_or(0, index)),
    };
    route.via.iter().map(|hop| (key(hop), hop.weight)).collect()
}

fn offer<'a>(route: &StaticRoute, inline: &'a [InlineNextHop]) -> Offer<'a> {
    Offer {
        to: route.key.to,
        neighbour: None,
        preference: route.key.preference,
        metric: route.key.metric,
        flags: route.flags,
        views: route.views,
        next_hops: OfferedNextHops::Inline(inline.into()),
        ttl: Span::FOREVER,
        private: &[],
        list: None,
    }
}

impl Pair {
    /// Some of them name an interface that there is not, one that may come if there is such.
    pub(crate) fn add_static(&mut self, family: Family, command: &OfferCommand) {
        let table = self.table(family);
        let Via::Inline(all) = &command.via else { return };
        let mut gone = (1..=world::INTERFACES).map(|number| InterfaceIndex(number.into()));
        let gone = gone.find(|index| !self.naive.up.contains_key(index)).unwrap_or(MISSING);
        let via = all.iter().map(|(number, weight)| {
            let key = world::gateway(family, *number);
            let interface = match key.interface {
                InterfaceIndex(9) => MISSING,
                _ if weight % 8 == 7 => gone,
                there => there,
            };
            let weight = Weight::new((weight % 4).into()).ok();
            StaticNextHop { address: key.address, interface: name(interface), weight }
        });
        let protocols = [Protocol::STATIC, Protocol::AUTOSTATIC, Protocol::BGP];
        let route = StaticRoute {
            key: StaticKey {
                to: self.prefix_near(table, command.prefix),
                protocol: protocols[[0, 0, 0, 1, 1, 2][usize::from(command.private) % 6]],
                preference: Preference((command.preference % 3 * 60).into()),
                metric: Metric((command.metric % 2).into()),
            },
            flags: RouteFlags(command.flags),
            views: self.views(command.views),
            via: via.collect(),
            persistent: command.ttl > 3,
        };
        self.put_static(table, route);
    }

    /// ADM-05.
    pub(crate) fn make_static(&mut self, id: RouteId, persistent: bool) {
        let Some(naive) = self.naive.route(id).cloned() else { return };
        let table = naive.place.0;
        let copy = self.rib.static_copy(table, id, persistent);
        let hops = naive.next_hops.iter().map(|id| self.naive.hop(*id));
        let mut names = hops.filter(|hop| !hop.deleted).map(|hop| hop.key.interface);
        let gone = names.any(|it| it.0 != 0 && !self.naive.up.contains_key(&it));
        let refusals = if gone { vec![ErrorKind::InvalidParameter] } else { vec![] };
        let Some(copy) = accepted(copy, &refusals) else { return };
        let hops = naive.next_hops.iter().map(|id| self.naive.hop(*id));
        let via = hops.filter(|hop| !hop.deleted).map(|hop| StaticNextHop {
            address: hop.key.address,
            interface: name(hop.key.interface),
            weight: Weight::new(hop.weight).ok(),
        });
        let key = StaticKey {
            to: naive.place.1,
            protocol: Protocol::AUTOSTATIC,
            preference: Preference(0),
            metric: Metric(naive.metric),
        };
        let expected = StaticRoute {
            key,
            flags: RouteFlags(naive.flags),
            views: rtmd::model::ViewSet(naive.views),
            via: via.collect(),
            persistent,
        };
        assert_eq!(copy, expected);
        self.put_static(table, copy);
    }

    fn put_static(&mut self, table: TableId, route: StaticRoute) {
        let StaticKey { to, protocol, .. } = route.key;
        let key = EntityKey { table, protocol, protocol_instance: u32::MAX };
        let place =
            self.naive.statics.iter().position(|s| (s.table, s.route.key) == (table, route.key));
        let known = place.and_then(|place| self.naive.statics[place].id);
        let known = known.map(|id| self.naive.route(id).unwrap().clone());
        let inline = inline(&route);
        let missing = self.missing(&inline);
        let waits = !missing.is_empty();
        let offer = offer(&route, &inline);
        let result = self.rib.add_static_route(table, route.clone(), self.now());
        // The service registers with the first of its routes, whether others have a place or not.
        let owner = self.rib.entities().find(|entity| entity.key == key).map(|entity| entity.id);
        let is_known = self.naive.entities.iter().any(|entity| entity.key == key);
        let id = owner.unwrap_or(NOBODY);
        if !is_known {
            let caller = Caller { bus_name: String::new(), uid: u32::MAX };
            let (shared, single_route, exclusive, cells) = (true, false, false, false);
            let (methods, blocks_methods, service) = (0, false, true);
            self.naive.entities.push(NaiveEntity {
                id,
                key,
                caller,
                shared,
                single_route,
                exclusive,
                cells,
                methods,
                blocks_methods,
                linger: None,
                absence: NaiveAbsence::default(),
                service,
            });
        }
        let owner = self.naive.entities.iter().find(|entity| entity.key == key).unwrap().id;
        // A missing interface is like one that is there, for all else that can be wrong.
        self.naive.up.extend(missing.iter().map(|index| (*index, false)));
        let mut refusals = self.naive.refuse_offer(owner, &offer, (2, known.is_none()));
        self.naive.up.retain(|index, _| !missing.contains(index));
        if !StaticKey::PROTOCOLS.contains(&protocol) || to.family() != table.family {
            refusals.push(ErrorKind::InvalidParameter);
        }
        let ways = |route: &StaticRoute| route.via.len().max(1);
        let others = self.naive.statics.iter().filter(|other| other.table == table);
        let others = others.filter(|other| other.route.key != route.key);
        let others: usize = others.map(|other| ways(&other.route)).sum();
        if others + ways(&route) > self.naive.limits.static_routes as usize {
            refusals.push(ErrorKind::NotEnoughMemory);
        }
        let change = accepted(result, &refusals);
        if let Some(change) = &change {
            assert_eq!(change.new_entity, (!is_known).then_some(owner));
            let before = place.is_some_and(|place| self.naive.statics[place].route.persistent);
            assert_eq!(change.persistent, route.persistent || before);
        } else {
            if !is_known {
                self.naive.entities.pop();
            }
            return;
        }
        if let Some(place) = place {
            self.naive.statics.remove(place);
        }
        if waits {
            if let Some(known) = known {
                self.naive.remove(known.id, None);
            }
            self.naive.statics.push(NaiveStatic { table, route, id: None });
            return;
        }
        self.stand(table, route, owner, known.as_ref());
    }

    /// A static route got into its table.
    fn stand(
        &mut self,
        table: TableId,
        route: StaticRoute,
        owner: EntityId,
        known: Option<&NaiveRoute>,
    ) {
        let StaticKey { to, protocol, preference, metric } = route.key;
        let settled = settled_preference(&self.naive, protocol, preference);
        let candidates = self.rib.routes(table, to).unwrap();
        let fresh = candidates.iter().find(|view| {
            let rank = view.route.rank;
            let is_alike =
                (view.route.owner, rank.preference.0, rank.metric) == (owner, settled, metric);
            is_alike && self.naive.route(view.id).is_none()
        });
        let id = known.map_or_else(|| fresh.unwrap().id, |known| known.id);
        self.known_routes.push(id);
        let template = NaiveRoute {
            id,
            owner,
            protocol,
            place: (table, to),
            neighbour: None,
            preference: settled,
            wanted: preference.0,
            metric: metric.0,
            since: 0,
            flags: route.flags.0,
            views: self.naive.supported(table, route.views.0),
            next_hops: Vec::new(),
            private: Vec::new(),
            generation: 0,
            stale: false,
            expiry: Expiry::Never,
            list: None,
            user: u32::MAX,
        };
        let named = Named { ids: Vec::new(), inline: inline(&route), by_id: false };
        let _: bool = self.put(owner, known, template, &named);
        self.naive.statics.push(NaiveStatic { table, route, id: Some(id) });
    }

    /// ADM-02: exactly one has to be meant.
    pub(crate) fn remove_static(&mut self, family: Family, number: u8, which: u8) {
        let table = self.table(family);
        let near = world::prefix(family, number);
        let model = world::pick(&(0..self.naive.statics.len()).collect::<Vec<_>>(), number);
        let model = model.map(|place| self.naive.statics[place].route.clone());
        let to: Prefix = model.as_ref().map_or(near, |route| route.key.to);
        let asked = |bit: u8| model.as_ref().filter(|_| which >> bit & 1 == 1);
        let wanted = StaticMatch {
            protocol: asked(0).map(|route| route.key.protocol),
            preference: asked(1).map(|route| route.key.preference),
            metric: asked(2).map(|route| route.key.metric),
            flags: asked(3).map(|route| route.flags),
            views: asked(4).map(|route| route.views),
            via: None,
        };
        let is_meant = |known: &NaiveStatic| {
            let StaticRoute { key, flags, views, .. } = &known.route;
            known.table == table
                && key.to == to
                && wanted.protocol.is_none_or(|it| it == key.protocol)
                && wanted.preference.is_none_or(|it| it == key.preference)
                && wanted.metric.is_none_or(|it| it == key.metric)
                && wanted.flags.is_none_or(|it| it == *flags)
                && wanted.views.is_none_or(|it| it == *views)
        };
        let meant = self.naive.statics.iter().filter(|known| is_meant(known)).count();
        let refusals = match meant {
            0 => vec![ErrorKind::NotFound],
            1 => vec![],
            _ => vec![ErrorKind::InvalidParameter],
        };
        let result = self.rib.remove_static_route(table, to, &wanted, self.now());
        let Some(change) = accepted(result, &refusals) else { return };
        let place = self.naive.statics.iter().position(is_meant).unwrap();
        let gone = self.naive.statics.remove(place);
        assert_eq!((change.persistent, change.new_entity), (gone.route.persistent, None));
        if let Some(id) = gone.id {
            self.naive.remove(id, None);
        }
    }

    /// Those that wait get into their tables if their interfaces are there and nothing else is in the way.
    pub(crate) fn settle_statics(&mut self) {
        self.rib.settle_static_routes(self.now());
        let waiting = self.naive.statics.iter().filter(|known| known.id.is_none());
        let mut waiting: Vec<_> = waiting.map(|it| (it.table, it.route.clone())).collect();
        waiting.sort_by_key(|(table, route)| (*table, route.key));
        for (table, route) in waiting {
            let protocol = route.key.protocol;
            let key = EntityKey { table, protocol, protocol_instance: u32::MAX };
            let owner = self.naive.entities.iter().find(|entity| entity.key == key).unwrap().id;
            let inline = inline(&route);
            let refusals = self.naive.refuse_offer(owner, &offer(&route, &inline), (2, true));
            if self.missing(&inline).is_empty() && refusals.is_empty() {
                let is_it = |it: &NaiveStatic| (it.table, it.route.key) == (table, route.key);
                self.naive.statics.retain(|it| !is_it(it));
                self.stand(table, route, owner, None);
            }
        }
    }

    /// The interfaces that are not there.
    fn missing(&self, inline: &[InlineNextHop]) -> Vec<InterfaceIndex> {
        let named = inline.iter().map(|(key, _)| key.interface).filter(|index| index.0 != 0);
        named.filter(|index| !self.naive.up.contains_key(index)).collect()
    }

    pub(crate) fn check_statics(&self) {
        for table in self.tables() {
            let told = self.rib.static_routes(table).unwrap();
            let told: Vec<_> = told.map(|it| (it.route.clone(), it.waits.is_some())).collect();
            let known = self.naive.statics.iter().filter(|known| known.table == table);
            let mut known: Vec<_> = known.map(|it| (it.route.clone(), it.id.is_none())).collect();
            known.sort_by_key(|(route, _)| route.key);
            assert_eq!(told, known, "the static routes");
        }
        let kept = self.naive.statics.iter().filter(|known| known.route.persistent).count();
        assert_eq!(self.rib.persistent_routes().count(), kept);
    }
}
