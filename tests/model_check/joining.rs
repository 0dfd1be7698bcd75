//! Commands about entities: who comes, who goes, and what becomes of the routes.

use rtmd::{
    model::{EntityId, EntityKey, ErrorKind, RouteId, Span, TableId},
    rib::{Credentials, Registration, Tenure, Terms, Withdrawal},
};

use crate::{
    Pair, accepted,
    commands::TermsCommand,
    lingering::NaiveAbsence,
    naive::{Naive, NaiveEntity},
    passing::slot,
    world,
};

impl Naive {
    /// It is registered no more; its routes are still there.
    pub(crate) fn leave(&mut self, id: EntityId) {
        self.step(None, |naive| {
            let at = naive.entities.iter().position(|entity| entity.id == id).unwrap();
            let entity = naive.entities.remove(at);
            naive.leaving.push(entity);
            // Its lists go; nobody is left to ask.
            let gone: Vec<_> = naive.lists.iter().filter(|l| l.owner == id).map(|l| l.id).collect();
            naive.lists.retain(|list| list.owner != id);
            for route in &mut naive.routes {
                route.list = route.list.filter(|list| !gone.contains(list));
            }
            naive.questions.retain(|question| question.owner != id);
        });
    }
}

impl Pair {
    pub(crate) fn register(&mut self, who: u8, table: TableId, instance: u8, terms: &TermsCommand) {
        let protocol = world::PROTOCOLS[usize::from(who / world::CLIENTS) % 3];
        let key = EntityKey { table, protocol, protocol_instance: (instance % 2).into() };
        let tenure = if terms.shared { Tenure::User } else { Tenure::Connection };
        let asked = Terms {
            reserve_opaque: terms.cells,
            single_route: terms.single_route,
            exclusive: terms.exclusive,
            methods: terms.methods.into(),
            linger: (terms.linger > 0).then(|| Span::from_millis(terms.linger.into()).unwrap()),
            callback: (terms.methods > 0).then(|| "/callback".to_owned()),
            ..Terms::default()
        };
        let caller = world::caller(who);
        let refusals = self.naive.refuse_register(key, (&caller, tenure), &asked);
        let (label, credentials) = (String::new(), Credentials::authorized());
        let registration = Registration { key, label, tenure, terms: asked, credentials };
        let result = self.rib.register(registration, caller.clone(), self.now());
        let Some(profile) = accepted(result, &refusals) else { return };
        assert!(self.dead_entities.iter().all(|id| *id != profile.id), "an id is never used again");
        let resumed = self.naive.entities.iter().find(|entity| entity.key == key);
        let resumed = resumed.map(|entity| entity.id);
        assert_eq!(profile.resumed, resumed.is_some());
        let stale = resumed.map_or(0, |id| self.naive.stale(id).len());
        assert_eq!(profile.stale_routes, stale);
        let entity = NaiveEntity {
            id: profile.id,
            key,
            caller,
            shared: terms.shared,
            single_route: terms.single_route,
            exclusive: terms.exclusive,
            cells: terms.cells,
            methods: terms.methods.into(),
            blocks_methods: false,
            linger: (terms.linger > 0).then_some(terms.linger.into()),
            absence: NaiveAbsence::default(),
            service: false,
        };
        match resumed {
            Some(id) => {
                assert_eq!(profile.id, id);
                self.naive.end_absence(key, entity);
            }
            None => self.naive.entities.push(entity),
        }
    }

    pub(crate) fn deregister(&mut self, id: EntityId) {
        let refusals = match self.naive.entity(id) {
            Some(_) => vec![],
            None => vec![ErrorKind::InvalidHandle],
        };
        if accepted(self.rib.deregister(id), &refusals).is_some() {
            self.leave(id);
        }
    }

    pub(crate) fn client_gone(&mut self, who: u8) {
        let bus_name = world::caller(who).bus_name;
        let gone = self.rib.handle_client_gone(&bus_name, self.now());
        let ends = |e: &&NaiveEntity| !e.shared && e.caller.bus_name == bus_name;
        let expected: Vec<EntityId> =
            self.naive.entities.iter().filter(ends).map(|entity| entity.id).collect();
        assert_eq!(gone, expected);
        for id in gone {
            if !self.naive.begin_absence(id) {
                self.leave(id);
            }
        }
    }

    pub(crate) fn leave(&mut self, id: EntityId) {
        self.dead_entities.push(id);
        self.naive.leave(id);
    }

    pub(crate) fn withdraw(&mut self, which: u8, count: usize) {
        let Some(id) = world::pick(&self.naive.leaving, which).map(|entity| entity.id) else {
            return;
        };
        let left = |naive: &Naive| naive.routes.iter().filter(|r| r.owner == id).count();
        let before = left(&self.naive);
        let result = self.rib.withdraw(id, count, self.now());
        // In which order is its own choice: by slot, which is the lower half of the id.
        let mut own: Vec<RouteId> =
            self.naive.routes.iter().filter(|r| r.owner == id).map(|r| r.id).collect();
        own.sort_by_key(|id| slot(*id));
        for route in own.into_iter().take(count) {
            self.naive.remove(route, Some(id));
        }
        assert_eq!(left(&self.naive), before.saturating_sub(count));
        match result {
            Withdrawal::Complete(entity) => {
                assert_eq!((entity.id, left(&self.naive)), (id, 0));
                self.naive.step(None, |naive| {
                    naive.leaving.retain(|entity| entity.id != id);
                    for hop in naive.hops.iter_mut().filter(|hop| hop.owner == id) {
                        hop.deleted = true;
                    }
                });
            }
            Withdrawal::Unfinished => assert_ne!(left(&self.naive), 0),
            Withdrawal::Unknown => panic!("entity {id} is leaving"),
        }
    }
}
