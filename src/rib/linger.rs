//! Owners that are away: their routes stay for a while, and what they do not offer again goes.
//!
//! Who registers can ask that its routes outlive its connection. When that is gone the entity lingers:
//! all it has is stale from then on, and goes when its time is over. Registering the same again resumes
//! it; what is offered again is fresh, and [`Rib::sweep`] withdraws the rest. An owner that forgets to
//! say so has as long again as it lingers.
//!
//! What a reader would get wrong: nothing is done to a million routes to make them stale. An entity
//! counts how often it was away, each route has the number it was offered under, and stale is what has
//! another one.

use serde::{Deserialize, Serialize};

use std::{collections::BTreeSet, mem, ops::Bound};

use super::{
    Entity, Progress, Registration, Rib, Right, Tenure,
    arena::Slot,
    deadlines::{Due, Questions},
};
use crate::model::{
    Caller, EntityId, EntityState, ErrorKind, Moment, NextHopId, Now, Result, Span,
};

/// How many routes are looked at when the time of stale ones is over, before others have their turn.
const SLICE: usize = 512;

/// What of an entity is stale.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Absences {
    /// How often it was away: what it offers is marked with this. After 65 535 it begins again.
    pub(super) number: u16,
    /// How many routes have another number.
    stale: usize,
    /// Next hops that it had added for their own sake, and has not added again.
    next_hops: BTreeSet<NextHopId>,
    /// The last route that was looked at by the sweep that is under way.
    swept: Option<Slot>,
    /// When the stale goes by itself; none for never, or if there is none.
    until: Option<Moment>,
}

/// How far withdrawing what is stale has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sweep {
    /// How many routes were withdrawn this time.
    pub withdrawn: u64,
    /// Whether there may be more.
    pub progress: Progress,
}

impl Absences {
    /// A route with this number is offered no more, or with the newest.
    pub(super) fn forget(&mut self, number: u16) {
        if number != self.number {
            self.stale = self.stale.saturating_sub(1);
        }
    }

    /// A next hop was added for its own sake.
    pub(super) fn renew(&mut self, next_hop: NextHopId) {
        self.next_hops.remove(&next_hop);
    }

    fn is_over(&self) -> bool {
        self.stale == 0 && self.next_hops.is_empty()
    }
}

impl Entity {
    /// How many of its routes are from before it was away, and were not offered again.
    pub fn stale_routes(&self) -> usize {
        self.absences.stale
    }

    /// How long what it has outlives its connection; none for not at all.
    pub(super) fn lingers_for(&self) -> Option<Span> {
        match self.tenure {
            Tenure::User => Some(Span::FOREVER),
            Tenure::Connection => self.terms.linger,
            Tenure::Service => None,
        }
    }
}

impl Rib {
    /// Nobody speaks for an entity any more, and what it has stays for as long as it asked for.
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered, `InvalidParameter` for one that did not ask
    /// to linger, or does so already.
    pub fn linger(&mut self, id: EntityId, now: Now) -> Result<()> {
        let entity = self.entities.active(id)?;
        let refuse =
            |why: &str| ErrorKind::InvalidParameter.because(format_args!("entity {id} {why}"));
        let span = entity.lingers_for().ok_or_else(|| {
            refuse("has no time to linger: register it with \"linger\", or withdraw its routes")
        })?;
        if entity.state != EntityState::Active {
            return Err(refuse("lingers already"));
        }
        self.delete_route_lists(id);
        let next_hops = self.next_hops.added(id);
        let Some(entity) = self.entities.active_mut(id) else { return Ok(()) };
        let listened = mem::take(&mut entity.terms.fib_results);
        (entity.terms.callback, entity.terms.methods) = (None, 0);
        entity.caller.bus_name.clear();
        entity.state = EntityState::Lingering;
        entity.blocks_methods = false;
        entity.questions = Questions::default();
        entity.untold.clear();
        let absences = &mut entity.absences;
        absences.number = absences.number.wrapping_add(1);
        (absences.stale, absences.next_hops) = (entity.routes.len(), next_hops);
        absences.swept = None;
        self.results.leave(listened);
        self.results.telling.remove(&id);
        self.inquiring.remove(&id);
        self.set_patience(id, span.end(now.moment));
        Ok(())
    }

    /// Whether an entity lingers, and is this user's if one is given.
    pub fn is_left_behind(&self, id: EntityId, of: Option<u32>) -> bool {
        self.entities.active(id).is_ok_and(|entity| {
            entity.state == EntityState::Lingering && of.is_none_or(|uid| entity.caller.uid == uid)
        })
    }

    /// Says whether a registration resumes a known one, which has the same key: another user's only
    /// where a grant names the protocol, and so says who speaks for it.
    pub(super) fn check_resumption(
        &self,
        id: EntityId,
        caller: &Caller,
        right: Right,
    ) -> Result<()> {
        let entity = self.entities.active(id)?;
        let key = entity.key;
        if entity.state != EntityState::Lingering {
            return Err(ErrorKind::AlreadyExists
                .because(format_args!("{key} is already registered, as entity {id}")));
        }
        let is_named = |right| match right {
            Right::Granted(grant) => self
                .policy
                .grants
                .0
                .get(grant)
                .is_some_and(|grant| grant.protocols.contains(&key.protocol)),
            Right::Everything | Right::Nothing => false,
        };
        if entity.caller.uid != caller.uid && !is_named(right) {
            return Err(ErrorKind::AlreadyExists.because(format_args!(
                "{key} is already registered, as entity {id}: its client is away, and only user {} can \
                 resume it, or whom a grant names its protocol for",
                entity.caller.uid
            )));
        }
        Ok(())
    }

    /// Somebody speaks again for an entity that lingers, on the terms of a checked registration.
    pub(super) fn resume(
        &mut self,
        id: EntityId,
        registration: Registration,
        (caller, right): (Caller, Right),
        now: Now,
    ) {
        let Registration { key, label, tenure, terms, credentials } = registration;
        let Some(entity) = self.entities.active_mut(id) else { return };
        if let Some(table) = self.tables.get_mut(&key.table) {
            table.users.transfer(entity.caller.uid, caller.uid, entity.routes.len());
        }
        (entity.credentials, entity.right) = (credentials, right);
        let span = entity.lingers_for();
        let had_cells = entity.terms.reserve_opaque;
        let has_cells = terms.reserve_opaque;
        self.results.join(terms.fib_results);
        (entity.label, entity.tenure, entity.terms, entity.caller) = (label, tenure, terms, caller);
        (entity.state, entity.registered) = (EntityState::Active, now.time);
        entity.blocks_methods = false;
        let is_over = entity.absences.is_over();
        let until = span.and_then(|span| span.end(now.moment));
        self.set_patience(id, until.filter(|_| !is_over));
        match (had_cells, has_cells) {
            (false, true) => self.cells.reserve(id, key.table),
            (true, false) => self.release_cells(id),
            _ => {}
        }
    }

    /// Looks at up to `count` more routes of an entity and withdraws those that are stale; at the end
    /// also next hops that were added, were not added again and are of no use to any route.
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered.
    pub fn sweep(&mut self, id: EntityId, count: usize, now: Now) -> Result<Sweep> {
        let entity = self.entities.active(id)?;
        let Absences { number, stale, swept, .. } = entity.absences;
        let from = swept.map_or(Bound::Unbounded, Bound::Excluded);
        let count = if stale > 0 { count } else { 0 };
        let some: Vec<Slot> =
            entity.routes.range((from, Bound::Unbounded)).take(count).copied().collect();
        let is_stale = |slot: &Slot| self.routes.get(*slot).is_some_and(|it| it.absence != number);
        let stale: Vec<Slot> = some.iter().copied().filter(is_stale).collect();
        let withdrawn = stale.len() as u64;
        for slot in stale {
            self.remove_route(slot, None, now);
        }
        let Some(entity) = self.entities.active_mut(id) else { return Ok(Sweep::NOTHING) };
        if entity.absences.stale > 0 && some.len() == count {
            entity.absences.swept = some.last().copied().or(swept);
            return Ok(Sweep { withdrawn, progress: Progress::Unfinished });
        }
        let next_hops = mem::take(&mut entity.absences.next_hops);
        (entity.absences.swept, entity.absences.stale) = (None, 0);
        self.set_patience(id, None);
        for next_hop in next_hops {
            self.next_hops.delete_if_unused(next_hop);
        }
        Ok(Sweep { withdrawn, progress: Progress::Complete })
    }

    /// The time of what is stale is over.
    pub(super) fn end_patience(&mut self, id: EntityId, now: Now) {
        let Some(entity) = self.entities.active_mut(id) else { return };
        entity.absences.until = None;
        match entity.state {
            EntityState::Lingering => {
                let _ = self.deregister(id); // it is there
                self.departed.push(id);
            }
            EntityState::Active | EntityState::Builtin => {
                let sweep = self.sweep(id, SLICE, now);
                if sweep.is_ok_and(|sweep| sweep.progress == Progress::Unfinished) {
                    self.set_patience(id, Some(now.moment));
                }
            }
        }
    }

    /// Entities whose time to linger is over: they are deregistered, and their routes go with
    /// [`Rib::withdraw`].
    pub fn poll_departed(&mut self) -> Vec<EntityId> {
        mem::take(&mut self.departed)
    }

    /// Whether [`Rib::poll_departed`] has something to tell.
    pub fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Says when what is stale goes by itself.
    pub(super) fn set_patience(&mut self, id: EntityId, until: Option<Moment>) {
        let Some(entity) = self.entities.active_mut(id) else { return };
        if let Some(before) = mem::replace(&mut entity.absences.until, until) {
            self.deadlines.remove(before, Due::Patience(id));
        }
        if let Some(until) = until {
            self.deadlines.insert(until, Due::Patience(id));
        }
    }
}

impl Sweep {
    const NOTHING: Self = Self { withdrawn: 0, progress: Progress::Complete };
}
