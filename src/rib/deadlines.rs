//! What happens by itself when its time has come: routes expire, holds end.
//!
//! One ordered set of all deadlines. A route that expires is not deleted at once: its owner is
//! asked, and it stays if the owner says so in time (RTMv2 gap 8). An update meanwhile counts as an
//! answer. Owners are asked about a few routes at a time, so that a table that expires as a whole
//! drowns nobody; the time to answer runs for all of them.

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{Rib, arena::Slot, route::Expiry};
use crate::model::{EntityId, Moment, Now, Prefix, RouteId, TableId};

/// The deadlines there are, the next one first.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Deadlines(BTreeSet<(Moment, Due)>);

/// What is due.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) enum Due {
    /// A route's time to live ends.
    Expiry(Slot),
    /// Its owner had its time to answer.
    Answer(Slot),
    /// A destination's holds end.
    Hold(TableId, Prefix),
    /// What an entity has from before it was away goes, or the entity itself.
    Patience(EntityId),
}

/// What an entity is to be asked about its expired routes.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Questions {
    /// Not asked yet, the first to expire first, each with the time its answer is due: a route that
    /// was updated and expired again is another question.
    waiting: VecDeque<(RouteId, Moment)>,
    /// Asked, and no answer reported.
    asked: usize,
}

/// A question to the owner of an expired route, which [`Rib::answer_expiry`] wants back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Question {
    /// The route; it is still in the table.
    pub route: RouteId,
    /// Its owner.
    pub owner: EntityId,
    /// Until when the answer counts.
    until: Moment,
}

/// What the owner of an expired route says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Verdict {
    /// It may go.
    Delete,
    /// It stays, and expires no more unless it is updated with a time to live.
    Keep,
}

/// Questions to one entity that are open at a time.
const OPEN_QUESTIONS: usize = 8;

impl Deadlines {
    pub(super) fn insert(&mut self, moment: Moment, due: Due) {
        self.0.insert((moment, due));
    }

    pub(super) fn remove(&mut self, moment: Moment, due: Due) {
        self.0.remove(&(moment, due));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Moment, Due)> {
        self.0.iter().copied()
    }

    fn take_due(&mut self, now: Moment) -> Option<Due> {
        self.0.first().filter(|(moment, _)| *moment <= now)?;
        self.0.pop_first().map(|(_, due)| due)
    }
}

impl Questions {
    /// Nobody was asked anything.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    pub(super) fn add(&mut self, route: RouteId, until: Moment) {
        self.waiting.push_back((route, until));
    }
}

impl Question {
    /// How long there is to answer it.
    pub fn time_left(&self, now: Moment) -> Duration {
        self.until.since(now)
    }
}

impl Rib {
    /// When [`Rib::handle_deadlines`] has something to do next.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.0.first().map(|(moment, _)| *moment)
    }

    /// The clock has moved on: carries out up to `count` of what is due.
    pub fn handle_deadlines(&mut self, count: usize, now: Now) {
        for _ in 0..count {
            match self.deadlines.take_due(now.moment) {
                Some(Due::Expiry(slot)) => self.expire(slot, now),
                Some(Due::Answer(slot)) => {
                    self.remove_route(slot, None, now);
                }
                Some(Due::Hold(table, to)) => self.end_hold(table, to, now),
                Some(Due::Patience(entity)) => {
                    self.end_patience(entity, now);
                    return; // that may have been much
                }
                None => return,
            }
        }
    }

    /// Whether [`Rib::poll_questions`] has something to tell.
    pub fn has_questions(&self) -> bool {
        !self.inquiring.is_empty()
    }

    /// Routes that expired and whose owners are to be asked now. Each one has to be answered with
    /// [`Rib::answer_expiry`], for its owner is asked only about so many at a time.
    pub fn poll_questions(&mut self) -> Vec<Question> {
        let mut questions = Vec::new();
        for owner in std::mem::take(&mut self.inquiring) {
            // Who deregistered is asked nothing any more.
            let Some(entity) = self.entities.active_mut(owner) else { continue };
            while entity.questions.asked < OPEN_QUESTIONS
                && let Some((route, until)) = entity.questions.waiting.pop_front()
            {
                let known = self.routes.find(route.0).and_then(|slot| self.routes.get(slot));
                // What was updated or deleted meanwhile is no question any more.
                if known.map(|known| known.expiry()) == Some(Expiry::Asked(until)) {
                    entity.questions.asked += 1;
                    questions.push(Question { route, owner, until });
                }
            }
        }
        questions
    }

    /// What an owner answered, or that it did not.
    pub fn answer_expiry(&mut self, question: &Question, verdict: Verdict, now: Now) {
        let Question { route, owner, until } = *question;
        if let Some(entity) = self.entities.get_mut(owner) {
            entity.questions.asked = entity.questions.asked.saturating_sub(1);
            if !entity.questions.waiting.is_empty() {
                self.inquiring.insert(owner);
            }
        }
        let Some(slot) = self.routes.find(route.0) else { return };
        // Updated meanwhile, it lives by its new time.
        if self.routes.get(slot).map(|known| known.expiry()) != Some(Expiry::Asked(until)) {
            return;
        }
        match verdict {
            Verdict::Delete => {
                self.remove_route(slot, None, now);
            }
            Verdict::Keep => self.set_expiry(slot, Expiry::Never),
        }
    }

    /// Gives a route another deadline in place of the one it has.
    pub(super) fn set_expiry(&mut self, slot: Slot, expiry: Expiry) {
        let Some(route) = self.routes.get_mut(slot) else { return };
        match route.expiry() {
            Expiry::Never => {}
            Expiry::At(moment) => self.deadlines.remove(moment, Due::Expiry(slot)),
            Expiry::Asked(until) => self.deadlines.remove(until, Due::Answer(slot)),
        }
        match expiry {
            Expiry::Never => {}
            Expiry::At(moment) => self.deadlines.insert(moment, Due::Expiry(slot)),
            Expiry::Asked(until) => self.deadlines.insert(until, Due::Answer(slot)),
        }
        route.set_expiry(expiry);
    }

    fn expire(&mut self, slot: Slot, now: Now) {
        let Some(route) = self.routes.get(slot) else { return };
        let owner = route.owner;
        let Some(id) = self.routes.id(slot).map(RouteId) else { return };
        if !self.entities.can_be_asked(owner) {
            self.remove_route(slot, None, now);
            return;
        }
        let patience = Duration::from_millis(self.policy.limits.expiry_answer.into());
        let until = now.moment.after(patience);
        self.set_expiry(slot, Expiry::Asked(until));
        if let Some(entity) = self.entities.get_mut(owner) {
            entity.questions.add(id, until);
            self.inquiring.insert(owner);
        }
    }
}
