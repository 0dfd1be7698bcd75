//! What must be the same on both sides after each command.

use std::collections::BTreeMap;

use rtmd::{
    model::{
        FibCounts, FibStatus, Forwarding, Moment, Prefix, RouteState, TableId, View, ViewSet, Wish,
    },
    rib::{Best, Effect, Fate, GroupNews, LookUp, Match, Start, WalkSettings},
};

use crate::{
    Pair,
    naive::{Expiry, NaiveRoute, Place},
    world,
};

impl Pair {
    pub(crate) fn take_effects(&mut self, count: usize) {
        self.take_groups(count);
        for Effect { table, to, wish } in self.rib.poll_effects(count) {
            // Before an effect may be taken, the group that it names has to be known.
            self.take_groups(usize::MAX);
            let status = match wish {
                Some(wish) => {
                    self.kernel.insert((table, to), wish);
                    FibStatus::Installed
                }
                None => {
                    self.kernel.remove(&(table, to));
                    FibStatus::None
                }
            };
            self.rib.handle_fib(table, to, status, None);
        }
        for table in self.tables() {
            self.rib.handle_fib_counts(table, FibCounts::default());
        }
        let _ = self.rib.poll_link_news();
    }

    fn take_groups(&mut self, count: usize) {
        for news in self.rib.poll_groups(count) {
            let (GroupNews::Changed(id, _) | GroupNews::Gone(id)) = news;
            let GroupNews::Changed(_, Fate { forwarding: Some(forwarding), spare, .. }) = news
            else {
                self.groups.remove(&id);
                continue;
            };
            let Forwarding::Unicast(hops) = forwarding.as_ref() else { panic!("{forwarding}") };
            if let Some(spare) = spare {
                assert!(hops.iter().all(|hop| hop.interface != spare.interface), "{spare:?}");
            }
            self.groups.insert(id, Forwarding::clone(&forwarding));
        }
    }

    /// Where packets are to go, but for those that follow who is leaving: they are told elsewhere
    /// before their routes are withdrawn.
    pub(crate) fn wishes(&self) -> BTreeMap<Place, Forwarding> {
        let mut wish = self.naive.wish();
        wish.retain(|place, _| !self.naive.is_best_leaving(*place));
        wish
    }

    /// Where packets go by what the kernel was told.
    pub(crate) fn forwarding(&self) -> BTreeMap<Place, Forwarding> {
        let routes = self.kernel.iter().filter_map(|(place, wish)| {
            let forwarding = match wish {
                Wish::Special(special) => (*special).into(),
                Wish::Group(id) => self.groups.get(id)?.clone(),
            };
            (!self.naive.is_best_leaving(*place)).then_some((*place, forwarding))
        });
        routes.collect()
    }

    /// Whether there is anything that the kernel has not heard of.
    fn waits(&self) -> bool {
        self.rib.has_effects() || self.rib.has_group_news()
    }

    pub(crate) fn check(&mut self) {
        self.settle_readers();
        self.settle_hop_walks();
        self.check_followers();
        if !self.waits() {
            assert_eq!(
                self.forwarding(),
                self.wishes(),
                "nothing waits, so the kernel has the wish"
            );
        }
        for table in self.tables() {
            for to in world::prefixes(table.family) {
                self.check_destination(table, to);
            }
            self.check_whole(table);
        }
        self.check_entities();
        self.check_statics();
        let next = self.naive.deadlines().first().map(|(moment, _)| Moment(*moment));
        assert_eq!(self.rib.next_deadline(), next, "the next deadline");
        self.naive.touched.clear();
    }

    fn check_destination(&mut self, table: TableId, to: Prefix) {
        let place = (table, to);
        let naive = self.naive.candidates(place);
        let routes = self.rib.routes(table, to).unwrap();
        assert_eq!(
            routes.iter().map(|view| view.id).collect::<Vec<_>>(),
            naive.iter().map(|route| route.id).collect::<Vec<_>>(),
            "the candidates of {to}"
        );
        for (view, naive) in routes.iter().zip(naive) {
            self.check_route(view, naive);
        }
        let found = self.rib.look_up(table, to, LookUp::Exact, Best::Overall, ViewSet::NONE);
        assert_eq!(found.is_ok(), self.naive.exists(place), "whether {to} exists");
        let found = self.rib.look_up(table, to, LookUp::Exact, Best::Overall, ViewSet::ALL);
        assert_eq!(found.is_ok(), self.naive.exists(place), "whether {to} has anything to tell");
        let Ok(found) = found else {
            self.changed.remove(&place);
            return;
        };
        let views = ViewSet(self.naive.supported(table, u32::MAX));
        self.check_description(table, &found, Best::Overall, views);
        // It only grows, and only by what happened to the destination (LKP-12, G45).
        let before = self.changed.insert(place, found.changed);
        match before {
            Some(before) if self.naive.touched.contains(&place) => assert!(found.changed > before),
            Some(before) => assert_eq!(found.changed, before, "nothing happened to {to}"),
            None => assert!(self.naive.touched.contains(&place)),
        }
    }

    fn check_route(&self, view: &rtmd::rib::RouteView<'_>, naive: &NaiveRoute) {
        let (route, id) = (view.route, naive.id);
        assert_eq!(route.best_in.0, self.naive.best_in(id), "where route {id} is best");
        assert_eq!(route.viable, self.naive.is_viable(naive), "whether route {id} is viable");
        assert_eq!(view.next_hops, naive.next_hops);
        assert_eq!((route.table, route.to), naive.place);
        assert_eq!((route.owner, route.protocol), (naive.owner, naive.protocol));
        assert_eq!(route.neighbour, naive.neighbour);
        assert_eq!(route.rank.preference.0, naive.preference);
        assert_eq!(route.rank.metric.0, naive.metric);
        assert_eq!((route.flags.0, route.views.0), (naive.flags, naive.views));
        assert_eq!((route.private(), view.list), (&*naive.private, naive.list));
        assert_eq!(u64::from(route.generation), naive.generation, "the generation of route {id}");
        assert_eq!(route.state, RouteState::Created);
        assert_eq!(view.stale, naive.stale, "whether route {id} is stale");
        let expires = match naive.expiry {
            Expiry::At(moment) => Some(Moment(moment)),
            Expiry::Never | Expiry::Asked(_) => None,
        };
        assert_eq!(route.expires(), expires, "when route {id} expires");
        if !self.waits() && route.best_in.contains(View::UNICAST) {
            let has = self.kernel.contains_key(&naive.place);
            assert_eq!(view.fib == FibStatus::Installed, has, "how far route {id} is");
        }
    }

    fn check_whole(&self, table: TableId) {
        let settings =
            WalkSettings { table, views: ViewSet::NONE, start: Start::Beginning, owned_by: None };
        let mut walk = self.rib.walk(settings).unwrap();
        let (mut live, mut held) = (Vec::new(), Vec::new());
        while !walk.is_done() {
            for view in self.rib.next_routes(&mut walk, &Match::default(), 3).unwrap() {
                match view.route.state {
                    RouteState::Created => live.push(view.id),
                    RouteState::Deleting => held.push((view.id, view.route.views.0)),
                }
            }
        }
        let here = |route: &&NaiveRoute| route.place.0 == table;
        let mut all: Vec<&NaiveRoute> = self.naive.routes.iter().filter(here).collect();
        all.sort_by_key(|route| (route.place, route.preference, route.metric, route.since));
        assert_eq!(live, all.iter().map(|route| route.id).collect::<Vec<_>>());
        held.sort();
        let kept = self.naive.held.iter().filter(|(route, _)| route.place.0 == table);
        let mut expected: Vec<_> = kept.map(|(route, views)| (route.id, *views)).collect();
        expected.sort();
        assert_eq!(held, expected, "the held routes");
        assert_eq!(self.rib.route_count(table), all.len());
        let existing = world::prefixes(table.family).filter(|to| self.naive.exists((table, *to)));
        assert_eq!(self.rib.destination_count(table), existing.count());
    }

    fn check_entities(&self) {
        let registered: Vec<_> = self.rib.entities().map(|entity| entity.id).collect();
        assert_eq!(registered, self.naive.entities.iter().map(|e| e.id).collect::<Vec<_>>());
        for naive in &self.naive.entities {
            let id = naive.id;
            let entity = self.rib.entity(id).unwrap();
            let own = || self.naive.routes.iter().filter(|route| route.owner == id);
            assert_eq!(entity.key, naive.key);
            assert_eq!(entity.routes(), own().count());
            let best = own().filter(|route| self.naive.best_in(route.id) != 0).count();
            assert_eq!(entity.best_routes, best, "the best routes of entity {id}");
            let hops = self.naive.hops.iter().filter(|hop| hop.owner == id && !hop.deleted);
            assert_eq!(self.rib.next_hop_count(id), hops.count());
            let lists = self.naive.lists.iter().filter(|list| list.owner == id).map(|l| l.id);
            assert!(self.rib.route_lists(id).eq(lists), "the lists of entity {id}");
            for to in world::prefixes(naive.key.table.family).filter(|_| naive.cells) {
                let expected = self.naive.cells.get(&(id, to)).map_or(&[][..], |cell| cell);
                let exists = self.naive.exists((naive.key.table, to));
                assert_eq!(self.rib.opaque(id, to).ok(), exists.then_some(expected));
            }
            for number in 0..world::CLIENTS {
                let caller = world::caller(number);
                let own = self.naive.own(&caller).any(|own| own.id == id);
                assert_eq!(self.rib.is_own(id, &caller), own);
                assert_eq!(self.rib.authorize(id, &caller).is_ok(), own);
            }
        }
        for hop in &self.naive.hops {
            let Some(owner) = self.naive.entity(hop.owner) else { continue };
            let found = self.rib.next_hop_in(owner.key.table, hop.id).unwrap();
            let told = found.next_hop;
            assert_eq!((told.owner, told.key, told.deleted), (hop.owner, hop.key, hop.deleted));
            assert_eq!((told.flags.0, u32::from(told.weight.get())), (hop.flags, hop.weight));
            assert_eq!((told.remote, &*told.private), (hop.remote, &*hop.private));
            let lead = self.naive.lead(hop.id);
            assert_eq!((&*told.hops, told.through), (&*lead.hops, lead.through), "{}", hop.key);
            let by_key = self.rib.find_next_hop(hop.owner, hop.key).ok().map(|found| found.id);
            let expected = self.naive.find_hop(hop.owner, hop.key).map(|found| found.id);
            assert_eq!(by_key, expected);
        }
    }
}
