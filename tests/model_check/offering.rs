//! Commands about routes and next hops, done on both sides.

use rtmd::{
    model::{
        ChangeFlags, EntityId, ErrorKind, Family, InterfaceIndex, Metric, NextHopFlags, NextHopId,
        NextHopKey, Preference, Protocol, RouteFlags, RouteId, Span, TableId, ViewSet, Weight,
    },
    rib::{Amendment, InlineNextHop, NextHopOffer, Offer, OfferedNextHops},
};

use crate::{
    Pair, accepted,
    commands::{HopCommand, OfferCommand, UpdateCommand, Via},
    naive::{Expiry, Naive, NaiveHold, NaiveHop, NaiveRoute, end},
    world::{self, other},
};

const BYTES: [u8; 5] = [1, 2, 3, 4, 5];

/// Milliseconds as RTMv2 writes them; 0 stands for ever here.
fn milliseconds(number: u8) -> u32 {
    if number == 0 { u32::MAX } else { number.into() }
}

/// What was read from a [`Via`].
pub(crate) struct Named {
    pub(crate) ids: Vec<NextHopId>,
    pub(crate) inline: Vec<InlineNextHop>,
    pub(crate) by_id: bool,
}

impl Named {
    fn offered(&self) -> OfferedNextHops<'_> {
        if self.by_id {
            OfferedNextHops::Ids(self.ids.as_slice().into())
        } else {
            OfferedNextHops::Inline(self.inline.as_slice().into())
        }
    }
}

fn preference(number: u8) -> Preference {
    Preference((number % 4 * 60).into())
}

fn metric(number: u8) -> Metric {
    Metric((number % 3).into())
}

/// Who configures routes by hand may step before the level of the protocol (G34).
pub(crate) fn settled_preference(naive: &Naive, protocol: Protocol, wanted: Preference) -> u32 {
    let level = naive.levels.get(&protocol).copied().unwrap_or(match protocol {
        Protocol::STATIC => 3,
        Protocol::AUTOSTATIC => 7,
        Protocol::BGP => 15,
        _ => 120,
    });
    match wanted.0 {
        0 => level,
        some if [Protocol::STATIC, Protocol::AUTOSTATIC].contains(&protocol) => some,
        some => some.max(level),
    }
}

impl Naive {
    /// The owner's next hop with the key, found or added as one that a route names.
    fn put_hop(&mut self, owner: EntityId, key: NextHopKey, id: NextHopId) -> &mut NaiveHop {
        let known = self.find_hop(owner, key).map(|hop| hop.id);
        if known.is_none() {
            let (flags, weight, remote, private) = (0, 1, None, Vec::new());
            let (deleted, inline) = (false, true);
            let hops = &mut self.hops;
            assert!(hops.iter().all(|hop| hop.id != id), "a new next hop has a new id");
            hops.push(NaiveHop { id, owner, key, flags, weight, remote, private, deleted, inline });
        }
        assert_eq!(known.unwrap_or(id), id, "a known next hop keeps its id");
        self.hops.iter_mut().find(|hop| hop.id == id).unwrap()
    }
}

impl Pair {
    fn named(&self, table: TableId, via: &Via) -> Named {
        let mut named = Named { ids: Vec::new(), inline: Vec::new(), by_id: false };
        match via {
            Via::Ids(numbers) => {
                let ids = numbers.iter().filter_map(|n| world::pick(&self.known_hops, *n));
                (named.ids, named.by_id) = (ids.collect(), true);
            }
            Via::Inline(all) => {
                let weight = |number: u8| Weight::new((number % 4).into()).ok();
                let hop = |(n, w): &(u8, u8)| (world::gateway(table.family, *n), weight(*w));
                named.inline = all.iter().map(hop).collect();
            }
        }
        named
    }

    /// What next hops do to best routes is told to everybody, their owner too: only to add or delete
    /// a route is to know what comes of it (V1-08).
    pub(crate) fn add_next_hop(&mut self, owner: EntityId, hop: &HopCommand) {
        let family = self.table_of(owner).family;
        let key = world::gateway(family, hop.gateway);
        // One in eight is of the other family.
        let remote = hop.remote.map(|number| match number % 8 {
            0 => world::prefix(other(family), number),
            _ => world::prefix(family, number),
        });
        let weight = u32::from(hop.weight) + 1;
        let offer = NextHopOffer {
            key,
            flags: NextHopFlags(hop.flags.into()),
            weight: Weight::new(weight).unwrap(),
            remote,
            private: &BYTES[..hop.private.into()],
        };
        let refusals = self.naive.refuse_next_hop(owner, key, remote, offer.private);
        let Some((id, new)) = accepted(self.rib.add_next_hop(owner, offer), &refusals) else {
            return;
        };
        assert_eq!(new, self.naive.find_hop(owner, key).is_none());
        self.known_hops.push(id);
        self.naive.step(None, |naive| {
            let known = naive.put_hop(owner, key, id);
            known.flags = hop.flags.into();
            known.weight = weight;
            known.remote = remote.filter(|_| hop.flags & 1 == 1);
            known.private = offer.private.into();
            known.inline = false;
            let entity = naive.entities.iter_mut().find(|entity| entity.id == owner).unwrap();
            entity.absence.next_hops.remove(&id);
        });
    }

    pub(crate) fn delete_next_hop(&mut self, owner: EntityId, id: NextHopId) {
        let refusals = self.naive.refuse_delete_next_hop(owner, id);
        if accepted(self.rib.delete_next_hop(owner, id), &refusals).is_some() {
            self.naive.step(None, |naive| {
                naive.hops.iter_mut().find(|hop| hop.id == id).unwrap().deleted = true;
            });
        }
    }

    pub(crate) fn add(&mut self, owner: EntityId, command: &OfferCommand) {
        let table = self.table_of(owner);
        let named = self.named(table, &command.via);
        let ttl = milliseconds(command.ttl);
        let offer = Offer {
            to: self.prefix_near(table, command.prefix),
            neighbour: command.neighbour.and_then(|number| world::pick(&self.known_hops, number)),
            preference: preference(command.preference),
            metric: metric(command.metric),
            flags: RouteFlags(command.flags),
            views: self.views(command.views),
            next_hops: named.offered(),
            ttl: Span::from_millis(ttl).unwrap(),
            private: &BYTES[..command.private.into()],
            list: command.list.and_then(|number| world::pick(&self.known_lists, number)),
        };
        let entity = self.naive.entity(owner);
        let place = (table, offer.to);
        // G6, and "every add of that entity acts as FIRST" (V1-03).
        let how = match command.how {
            0..=2 if entity.is_some_and(|entity| entity.single_route) => 1,
            how => how,
        };
        let of_owner = self.naive.candidates(place).into_iter().filter(|r| r.owner == owner);
        let mut same = of_owner.filter(|r| how == 1 || how == 0 && r.neighbour == offer.neighbour);
        let known = same.next().cloned();
        let mut refusals =
            self.naive.refuse_offer(owner, &offer, (command.how.into(), known.is_none()));
        if entity.is_some() && offer.to.family() != table.family {
            refusals.push(ErrorKind::InvalidParameter);
        }
        let flags = ChangeFlags(command.how.into());
        let result = self.rib.add_route(owner, &offer, flags, self.now());
        let Some((id, change)) = accepted(result, &refusals) else { return };
        match &known {
            Some(known) => assert_eq!(id, known.id, "an update keeps the id"),
            None => assert!(!self.known_routes.contains(&id), "a new id is new"),
        }
        self.known_routes.push(id);
        let protocol = self.naive.entity(owner).unwrap().key.protocol;
        let template = NaiveRoute {
            id,
            owner,
            protocol,
            place,
            neighbour: offer.neighbour,
            preference: settled_preference(&self.naive, protocol, offer.preference),
            wanted: offer.preference.0,
            metric: offer.metric.0,
            since: 0,
            flags: offer.flags.0,
            views: self.naive.supported(table, offer.views.0),
            next_hops: named.ids.clone(),
            private: offer.private.into(),
            generation: 0,
            stale: false,
            expiry: end(self.naive.now, ttl).map_or(Expiry::Never, Expiry::At),
            list: offer.list.or_else(|| known.as_ref()?.list),
            user: self.naive.entity(owner).unwrap().caller.uid,
        };
        let best = self.put(owner, known.as_ref(), template, &named);
        let new = ChangeFlags::default().with(ChangeFlags::NEW, known.is_none());
        assert_eq!(change, new.with(ChangeFlags::BEST, best));
    }

    pub(crate) fn update(&mut self, owner: EntityId, id: RouteId, command: &UpdateCommand) {
        let table = self.table_of(owner);
        let named = command.via.as_ref().map(|via| self.named(table, via));
        let neighbour = |number| world::pick(&self.known_hops, number);
        let known = self.naive.route(id).cloned();
        let ttl = command.ttl.map(milliseconds);
        let changes = Amendment {
            to: command.to.map(|number| world::prefix(table.family, number)),
            generation: command.generation.map(u64::from),
            neighbour: command.neighbour.map(|number| number.and_then(neighbour)),
            preference: command.preference.map(preference),
            metric: command.metric.map(metric),
            views: command.views.map(|views| self.views(views)),
            next_hops: named.as_ref().map(Named::offered),
            ttl: ttl.map(|ttl| Span::from_millis(ttl).unwrap()),
            private: command.private.map(|bytes| &BYTES[..bytes.into()]),
            list: command.list.and_then(|number| world::pick(&self.known_lists, number)),
        };
        let mut refusals = self.naive.refuse_own_route(owner, id);
        if let (Some(known), []) = (&known, &*refusals) {
            refusals = self.naive.refuse_update(id, changes.to, changes.generation);
            // What is named anew is held to the rules of an offer.
            let offer = Offer {
                to: known.place.1,
                neighbour: changes.neighbour.flatten(),
                preference: Preference(0),
                metric: Metric(0),
                flags: RouteFlags(0),
                views: changes.views.unwrap_or(ViewSet(1)),
                next_hops: changes
                    .next_hops
                    .clone()
                    .unwrap_or_else(|| OfferedNextHops::Ids([][..].into())),
                ttl: Span::FOREVER,
                private: changes.private.unwrap_or(&[]),
                list: changes.list,
            };
            refusals.extend(self.naive.refuse_offer(owner, &offer, (0, false)));
        }
        let result = self.rib.update_route(owner, id, &changes, self.now());
        let (Some(change), Some(known)) = (accepted(result, &refusals), known) else { return };
        let mut route = known.clone();
        route.neighbour = changes.neighbour.unwrap_or(known.neighbour);
        route.wanted = changes.preference.map_or(known.wanted, |wanted| wanted.0);
        let wanted = Preference(route.wanted);
        route.preference = settled_preference(&self.naive, known.protocol, wanted);
        route.metric = changes.metric.map_or(known.metric, |metric| metric.0);
        route.views =
            changes.views.map_or(known.views, |views| self.naive.supported(table, views.0));
        route.private = changes.private.map_or_else(|| known.private.clone(), Into::into);
        route.list = changes.list.or(known.list);
        route.expiry = match (ttl, known.expiry) {
            (Some(ttl), _) => end(self.naive.now, ttl).map_or(Expiry::Never, Expiry::At),
            // An update is an answer too (TTL-08).
            (None, Expiry::Asked(_)) => Expiry::Never,
            (None, expiry) => expiry,
        };
        if let Some(named) = &named {
            route.next_hops = named.ids.clone();
        }
        let none = Named { ids: Vec::new(), inline: Vec::new(), by_id: true };
        let best = self.put(owner, Some(&known), route, named.as_ref().unwrap_or(&none));
        assert_eq!(change, ChangeFlags::default().with(ChangeFlags::BEST, best));
    }

    /// Puts a route where `known` was; whether the answer has the flag BEST (RT-10 to RT-13).
    pub(crate) fn put(
        &mut self,
        owner: EntityId,
        known: Option<&NaiveRoute>,
        mut route: NaiveRoute,
        named: &Named,
    ) -> bool {
        let (rib, place) = (&self.rib, route.place);
        let find = |key: NextHopKey| rib.find_next_hop(owner, key).unwrap().id;
        self.known_hops.extend(named.inline.iter().map(|(key, _)| find(*key)));
        let was_best = known.is_some_and(|known| self.naive.best_in(known.id) != 0);
        let moved = self.naive.step(Some((owner, place)), |naive| {
            naive.touched.insert(place);
            for (key, weight) in &named.inline {
                let id = find(*key);
                let hop = naive.put_hop(owner, *key, id);
                hop.weight = weight.map_or(hop.weight, |weight| weight.get().into());
                route.next_hops.push(id);
            }
            naive.turns += 1;
            route.since = match known {
                Some(k) if (k.preference, k.metric) == (route.preference, route.metric) => k.since,
                _ => naive.turns,
            };
            route.stale = false;
            route.generation = known.map_or(0, |known| known.generation + 1);
            naive.routes.retain(|other| other.id != route.id);
            naive.routes.push(route);
        });
        was_best || moved.contains(&place)
    }

    pub(crate) fn delete(&mut self, owner: EntityId, id: RouteId) {
        let refusals = self.naive.refuse_own_route(owner, id);
        let result = self.rib.delete_route(owner, id, self.now());
        let Some(change) = accepted(result, &refusals) else { return };
        let moved = self.naive.remove(id, Some(owner));
        assert_eq!(change, ChangeFlags::default().with(ChangeFlags::BEST, moved));
    }

    pub(crate) fn hold(&mut self, entity: EntityId, number: u8, views: u8, ttl: u8) {
        let table = self.table_of(entity);
        let (to, views) = (world::prefix(table.family, number), self.views(views));
        let milliseconds = milliseconds(ttl);
        let refusals = self.naive.refuse_hold(entity, to, (views.0, milliseconds));
        let span = Span::from_millis(milliseconds).unwrap();
        if accepted(self.rib.hold_destination(entity, to, views, span), &refusals).is_none() {
            return;
        }
        let user = self.naive.entity(entity).unwrap().caller.uid;
        let fresh = NaiveHold { marked: 0, milliseconds: 0, user, until: None };
        let hold = self.naive.holds.entry((table, to)).or_insert(fresh);
        // One time for all marks, the longest; a mark that is used up counts no more (G9).
        let others = if hold.marked == 0 { 0 } else { hold.milliseconds };
        if milliseconds > others {
            (hold.milliseconds, hold.user) = (milliseconds, user);
        }
        let supported = self.naive.setting.views(table.family) & views.0;
        hold.marked |= supported;
    }

    pub(crate) fn link(&mut self, number: u8, up: bool) {
        let index = InterfaceIndex(u32::from(number % world::INTERFACES) + 1);
        self.rib.handle_link(index, &format!("up{index}"), up);
        self.naive.step(None, |naive| {
            naive.up.insert(index, up);
        });
    }

    /// With its addresses.
    pub(crate) fn link_gone(&mut self, number: u8) {
        let index = InterfaceIndex(u32::from(number % world::INTERFACES) + 1);
        self.rib.handle_link_gone(index);
        self.naive.step(None, |naive| {
            naive.up.remove(&index);
            naive.networks.retain(|(of, _)| *of != index);
        });
    }

    /// A link that is gone has none.
    pub(crate) fn address(&mut self, number: u8, family: Family, there: bool) {
        let index = InterfaceIndex(u32::from(number % world::INTERFACES) + 1);
        if !self.naive.up.contains_key(&index) {
            return;
        }
        let network = world::network(index, family);
        match there {
            true => drop(self.rib.handle_address(index, network.address(), network)),
            false => self.rib.handle_address_gone(index, network.address(), network),
        }
        self.naive.step(None, |naive| {
            match there {
                true => naive.networks.insert((index, family)),
                false => naive.networks.remove(&(index, family)),
            };
        });
    }
}
