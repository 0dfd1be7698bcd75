//! Owners that are away, on both sides: what outlives their connection, and until when.

use std::collections::BTreeSet;

use rtmd::{
    model::{Caller, EntityId, EntityKey, ErrorKind, NextHopId, RouteId},
    rib::Progress,
};

use crate::{
    Pair, accepted,
    naive::{Naive, NaiveEntity, end},
    passing::slot,
};

/// What an entity has from before it was away.
#[derive(Clone, Debug, Default)]
pub(crate) struct NaiveAbsence {
    /// Whether it is away now.
    pub(crate) lingers: bool,
    /// When what is stale goes; none for never.
    pub(crate) until: Option<u64>,
    /// Next hops that it had added and has not added again.
    pub(crate) next_hops: BTreeSet<NextHopId>,
}

impl Naive {
    /// How long what an entity has outlives its connection; none for not at all.
    fn lingers_for(entity: &NaiveEntity) -> Option<u32> {
        if entity.shared { Some(u32::MAX) } else { entity.linger }
    }

    pub(crate) fn stale(&self, id: EntityId) -> Vec<RouteId> {
        let stale = self.routes.iter().filter(|route| route.owner == id && route.stale);
        // In which order they go is the RIB's choice: by slot.
        let mut stale: Vec<RouteId> = stale.map(|route| route.id).collect();
        stale.sort_by_key(|id| slot(*id));
        stale
    }

    /// Whether the entity lingers and is the user's, who may go on with it.
    pub(crate) fn is_resumable(&self, key: EntityKey, caller: &Caller) -> bool {
        let known = self.entities.iter().find(|entity| entity.key == key);
        known.is_some_and(|known| known.absence.lingers && known.caller.uid == caller.uid)
    }

    pub(crate) fn begin_absence(&mut self, id: EntityId) -> bool {
        let now = self.now;
        let Some(entity) = self.entities.iter_mut().find(|entity| entity.id == id) else {
            return false;
        };
        let Some(span) = Self::lingers_for(entity) else { return false };
        entity.caller.bus_name.clear();
        (entity.methods, entity.blocks_methods) = (0, false);
        let own = self.hops.iter().filter(|hop| hop.owner == id && !hop.deleted && !hop.inline);
        entity.absence = NaiveAbsence {
            lingers: true,
            until: end(now, span),
            next_hops: own.map(|hop| hop.id).collect(),
        };
        self.step(None, |naive| {
            naive.routes.iter_mut().filter(|it| it.owner == id).for_each(|it| it.stale = true);
            let gone: Vec<_> = naive.lists.iter().filter(|l| l.owner == id).map(|l| l.id).collect();
            naive.lists.retain(|list| list.owner != id);
            for route in &mut naive.routes {
                route.list = route.list.filter(|list| !gone.contains(list));
            }
            naive.questions.retain(|question| question.owner != id);
        });
        true
    }

    /// Somebody speaks for it again.
    pub(crate) fn end_absence(&mut self, key: EntityKey, now: NaiveEntity) {
        let at = self.entities.iter().position(|entity| entity.key == key).unwrap();
        let before = self.entities[at].clone();
        let is_over = self.stale(before.id).is_empty() && before.absence.next_hops.is_empty();
        let span = Self::lingers_for(&before).filter(|_| !is_over);
        let until = span.and_then(|span| end(self.now, span));
        let absence = NaiveAbsence { lingers: false, until, ..before.absence };
        if before.cells && !now.cells {
            self.cells.retain(|(owner, _), _| *owner != before.id);
        }
        self.entities[at] = NaiveEntity { id: before.id, absence, ..now };
    }

    pub(crate) fn sweep(&mut self, id: EntityId) {
        for route in self.stale(id) {
            self.remove(route, None);
        }
        self.step(None, |naive| {
            let entity = naive.entities.iter_mut().find(|entity| entity.id == id).unwrap();
            entity.absence.until = None;
            let stale = std::mem::take(&mut entity.absence.next_hops);
            let all = naive.routes.iter().chain(naive.held.iter().map(|(route, _)| route));
            let used: BTreeSet<NextHopId> = all
                .flat_map(|route| route.next_hops.iter().copied().chain(route.neighbour))
                .collect();
            let unused = |id: &NextHopId| stale.contains(id) && !used.contains(id);
            naive.hops.iter_mut().filter(|hop| unused(&hop.id)).for_each(|hop| hop.deleted = true);
        });
    }
}

impl Pair {
    /// It asks to be left alone, with all that it has.
    pub(crate) fn linger(&mut self, id: EntityId) {
        let refusals = match self.naive.entity(id) {
            None => vec![ErrorKind::InvalidHandle],
            Some(known) if known.absence.lingers || Naive::lingers_for(known).is_none() => {
                vec![ErrorKind::InvalidParameter]
            }
            Some(_) => vec![],
        };
        if accepted(self.rib.linger(id, self.now()), &refusals).is_some() {
            assert!(self.naive.begin_absence(id));
        }
    }

    pub(crate) fn sweep(&mut self, id: EntityId, count: usize) {
        let stale = self.naive.stale(id);
        let mut swept = 0;
        loop {
            let refusals = match self.naive.entity(id) {
                None => vec![ErrorKind::InvalidHandle],
                Some(_) => vec![],
            };
            let result = self.rib.sweep(id, count, self.now());
            let Some(sweep) = accepted(result, &refusals) else { return };
            swept += sweep.withdrawn;
            if sweep.progress == Progress::Complete {
                break;
            }
        }
        assert_eq!(swept, stale.len() as u64, "how many routes were stale");
        self.naive.sweep(id);
    }
}
