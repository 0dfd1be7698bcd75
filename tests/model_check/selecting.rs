//! Commands that pick routes by what they are like, and the levels of protocols.

use rtmd::{
    model::{
        EntityId, ErrorKind, InterfaceIndex, Metric, NextHopId, Preference, Prefix, Protocol,
        RouteId, TableId, ViewSet,
    },
    rib::{Match, Progress, Selection},
};

use crate::{
    Pair, accepted,
    commands::WalkCommand,
    naive::{Naive, NaiveRoute},
    offering::settled_preference,
    passing::slot,
    world,
};

/// Whether a route fulfils all criteria (G38).
pub(crate) fn matches(naive: &Naive, route: &NaiveRoute, wanted: &Match) -> bool {
    let Match { owner, protocol, neighbour, preference, next_hops, interface } = wanted;
    let leads_by = |id: &NextHopId, it: InterfaceIndex| {
        let hops = &naive.lead(*id).hops;
        hops.iter().any(|hop| hop.interface == it)
            || hops.is_empty() && naive.hop(*id).key.interface == it
    };
    owner.is_none_or(|owner| route.owner == owner)
        && protocol.is_none_or(|protocol| route.protocol == protocol)
        && neighbour.is_none_or(|neighbour| route.neighbour == neighbour)
        && preference.is_none_or(|(p, m)| (p.0, m.0) == (route.preference, route.metric))
        && next_hops.iter().flatten().all(|id| route.next_hops.contains(id))
        && interface.is_none_or(|it| route.next_hops.iter().any(|id| leads_by(id, it)))
}

impl Pair {
    /// Criteria that at least one route fulfils, or an interface.
    pub(crate) fn wanted(&self, command: &WalkCommand) -> Match {
        let model = world::pick(&self.naive.routes, command.value);
        let if_asked = |bit: u8| model.as_ref().filter(|_| command.criteria >> bit & 1 == 1);
        Match {
            owner: if_asked(0).map(|route| route.owner),
            protocol: if_asked(4).map(|route| route.protocol),
            neighbour: if_asked(1).map(|route| route.neighbour),
            preference: if_asked(2)
                .map(|route| (Preference(route.preference), Metric(route.metric))),
            next_hops: if_asked(3).map(|route| route.next_hops.clone()),
            interface: (command.criteria == 15)
                .then(|| InterfaceIndex(u32::from(command.value % 4))),
        }
    }

    /// The first route to exactly a prefix that fulfils criteria (LKP-13 to LKP-17).
    pub(crate) fn exact_match(&self, table: TableId, to: Prefix, command: &WalkCommand) {
        let (wanted, views) = (self.wanted(command), self.views(command.views));
        let in_views = |route: &NaiveRoute| {
            views.is_empty() || route.views & self.naive.supported(table, views.0) != 0
        };
        let mut routes = self.naive.candidates((table, to)).into_iter();
        let expected = routes.find(|route| in_views(route) && matches(&self.naive, route, &wanted));
        let mut refusals = self.naive.refuse_views(table, views.0);
        if expected.is_none() {
            refusals.push(ErrorKind::NotFound);
        }
        let found = self.rib.exact_match_route(table, to, &wanted, ViewSet(views.0));
        if let Some(found) = accepted(found, &refusals) {
            assert_eq!(Some(found.id), expected.map(|route| route.id));
        }
    }

    /// Withdraws all routes of an entity that fulfil criteria; everybody is told (V1-11).
    pub(crate) fn delete_selected(&mut self, owner: EntityId, command: &WalkCommand) {
        let wanted = self.wanted(command);
        let to = world::prefix(self.table_of(owner).family, command.prefix);
        let to = Some(to).filter(|_| command.start > 0);
        let mut own: Vec<RouteId> = self
            .naive
            .routes
            .iter()
            .filter(|route| route.owner == owner && to.is_none_or(|to| route.place.1 == to))
            .filter(|route| matches(&self.naive, route, &wanted))
            .map(|route| route.id)
            .collect();
        own.sort_by_key(|id| slot(*id));
        let mut work = Selection::new(owner, wanted, to);
        while self.rib.delete_selected(&mut work, 2, self.now()) == Progress::Unfinished {}
        assert_eq!(work.deleted, own.len() as u64);
        for id in own {
            self.naive.remove(id, None);
        }
    }

    /// Gives a protocol a level, for what is offered from now on (BEST-16); 0 takes it away.
    pub(crate) fn set_level(&mut self, protocol: Protocol, level: u32) {
        self.rib.set_level(protocol, Preference(level));
        self.naive.levels.insert(protocol, if level == 0 { 150 } else { level });
    }

    /// Ranks what a protocol offers by its level of now; that is nobody's doing.
    pub(crate) fn reapply(&mut self, protocol: Protocol) {
        let mut work = self.rib.reapplication(protocol);
        while self.rib.reapply(&mut work, 2, self.now()) == Progress::Unfinished {}
        let of_registered = |route: &&NaiveRoute| self.naive.entity(route.owner).is_some();
        let of_protocol = self.naive.routes.iter().filter(|route| route.protocol == protocol);
        let mut all: Vec<_> =
            of_protocol.filter(of_registered).map(|r| (r.owner, slot(r.id), r.id)).collect();
        all.sort();
        for (.., id) in all {
            let route = self.naive.route(id).unwrap();
            let preference = settled_preference(&self.naive, protocol, Preference(route.wanted));
            if preference != route.preference {
                let place = route.place;
                self.naive.touched.insert(place);
                self.naive.step(None, |naive| {
                    let route = naive.routes.iter_mut().find(|route| route.id == id).unwrap();
                    // It keeps its turn among those that are its equals then.
                    route.preference = preference;
                });
            }
        }
    }
}
