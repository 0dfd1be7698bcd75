//! Time, on both sides: deadlines, questions to owners, answers.

use rtmd::{
    model::{EntityId, Moment, RouteId},
    rib::Verdict,
};

use crate::{
    Pair,
    naive::{Expiry, Naive, NaiveQuestion, Place},
};

/// An owner is asked about so many routes at a time, those first that expired first.
const OPEN_QUESTIONS: usize = 8;

/// What is due, in the order of what is due at the same moment.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum NaiveDue {
    Expiry(u64),
    Answer(u64),
    Hold(Place),
    Patience(EntityId),
}

/// A route's place in memory is the lower half of its id, and decides between equals.
pub(crate) fn slot(id: RouteId) -> u64 {
    id.0.get() & u64::from(u32::MAX)
}

impl Naive {
    /// Everything with a deadline, the first first.
    pub(crate) fn deadlines(&self) -> Vec<(u64, NaiveDue)> {
        let mut all = Vec::new();
        for route in &self.routes {
            match route.expiry {
                Expiry::Never => {}
                Expiry::At(moment) => all.push((moment, NaiveDue::Expiry(slot(route.id)))),
                Expiry::Asked(until) => all.push((until, NaiveDue::Answer(slot(route.id)))),
            }
        }
        for (place, hold) in &self.holds {
            let until = hold.until.filter(|_| self.held_views(*place) != 0);
            all.extend(until.map(|until| (until, NaiveDue::Hold(*place))));
        }
        for entity in &self.entities {
            all.extend(entity.absence.until.map(|until| (until, NaiveDue::Patience(entity.id))));
        }
        all.sort();
        all
    }

    fn carry_out(&mut self, due: NaiveDue) {
        let in_slot = |n: u64| self.routes.iter().find(|r| slot(r.id) == n).unwrap().clone();
        match due {
            NaiveDue::Hold(place) => self.end_hold(place),
            NaiveDue::Patience(id) if self.entity(id).unwrap().absence.lingers => self.leave(id),
            NaiveDue::Patience(id) => self.sweep(id),
            NaiveDue::Answer(route) => {
                let id = in_slot(route).id;
                self.remove(id, None);
            }
            NaiveDue::Expiry(route) => {
                let route = in_slot(route);
                // There is nobody to ask where no connection owns it (G8).
                let owner: Option<EntityId> = self
                    .entity(route.owner)
                    .filter(|it| !it.shared && !it.absence.lingers)
                    .map(|e| e.id);
                let Some(owner) = owner else {
                    self.remove(route.id, None);
                    return;
                };
                let until = self.now + u64::from(self.limits.expiry_answer) * 1000;
                self.routes.iter_mut().find(|r| r.id == route.id).unwrap().expiry =
                    Expiry::Asked(until);
                self.questions.push(NaiveQuestion { owner, route: route.id, until });
            }
        }
    }
}

impl Pair {
    pub(crate) fn pass(&mut self, milliseconds: u8, count: usize) {
        self.naive.now += u64::from(milliseconds) * 1000;
        self.rib.handle_deadlines(count, self.now());
        let departed = self.rib.poll_departed();
        self.dead_entities.extend(departed);
        for _ in 0..count {
            let Some((_, due)) =
                self.naive.deadlines().first().copied().filter(|(at, _)| *at <= self.naive.now)
            else {
                break;
            };
            self.naive.carry_out(due);
            if matches!(due, NaiveDue::Patience(_)) {
                break; // that may have been much
            }
        }
    }

    pub(crate) fn ask(&mut self) {
        let questions = self.rib.poll_questions();
        let mut told: Vec<NaiveQuestion> = questions
            .iter()
            .map(|question| {
                let until = question.time_left(Moment(0));
                let until = u64::try_from(until.as_micros()).unwrap();
                NaiveQuestion { owner: question.owner, route: question.route, until }
            })
            .collect();
        // What was updated or withdrawn since is no question any more.
        let mut waiting = std::mem::take(&mut self.naive.questions);
        waiting.retain(|question| {
            let route = self.naive.route(question.route);
            route.is_some_and(|route| route.expiry == Expiry::Asked(question.until))
        });
        let mut expected: Vec<NaiveQuestion> = Vec::new();
        for question in waiting {
            let open = self.asked.iter().filter(|asked| asked.owner == question.owner).count();
            let now = expected.iter().filter(|asked| asked.owner == question.owner).count();
            if open + now < OPEN_QUESTIONS {
                expected.push(question);
            } else {
                self.naive.questions.push(question);
            }
        }
        told.sort_by_key(|question| (question.owner, question.route));
        expected.sort_by_key(|question| (question.owner, question.route));
        assert_eq!(told, expected, "the questions to owners");
        self.asked.extend(questions);
    }

    pub(crate) fn answer(&mut self, number: u8, keep: bool) {
        if self.asked.is_empty() {
            return;
        }
        let question = self.asked.remove(usize::from(number) % self.asked.len());
        let until = u64::try_from(question.time_left(Moment(0)).as_micros()).unwrap();
        let verdict = if keep { Verdict::Keep } else { Verdict::Delete };
        self.rib.answer_expiry(&question, verdict, self.now());
        let route = self.naive.routes.iter_mut().find(|route| route.id == question.route);
        // An answer that comes late answers nothing.
        let Some(route) = route.filter(|route| route.expiry == Expiry::Asked(until)) else {
            return;
        };
        if keep {
            route.expiry = Expiry::Never;
        } else {
            self.naive.remove(question.route, None);
        }
    }
}
