//! Looking again at all destinations of some groups, a few at a time.
//!
//! What happens to further groups while that is under way waits for the next round: however often it
//! happens, every round comes to its end.

use std::{collections::BTreeSet, mem};

use super::{Mirror, Settled, Stage, settled};
use crate::{
    fib::{destination::Destination, objects::Objects},
    model::{GroupId, Prefix},
};

/// What has to be looked at again, and how far that has come.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What it is about, while one is under way.
    round: Option<Concern>,
    /// The last destination that was looked at.
    last: Option<Prefix>,
    next: Concern,
}

/// Which destinations have to be looked at again.
#[derive(Debug, Default)]
struct Concern {
    /// Those in these groups.
    groups: BTreeSet<GroupId>,
    /// Those whose object is gone, and was nobody's any more.
    orphans: bool,
}

impl Concern {
    fn is_empty(&self) -> bool {
        self.groups.is_empty() && !self.orphans
    }

    fn has(&self, destination: &Destination, objects: &Objects) -> bool {
        destination.rests_on().is_some_and(|group| self.groups.contains(&group))
            || self.orphans && destination.is_orphan(objects)
    }
}

impl Mirror {
    /// What a group comes to is another object or forwarding now.
    pub(in crate::fib) fn survey_group(&mut self, id: GroupId) {
        self.work.survey.next.groups.insert(id);
    }

    /// Routes are gone with an object that was nobody's.
    pub(in crate::fib) fn survey_orphans(&mut self) {
        self.work.survey.next.orphans = true;
    }

    pub(in crate::fib) fn is_surveying(&self) -> bool {
        self.work.survey.round.is_some() || !self.work.survey.next.is_empty()
    }

    /// Looks at `count` more destinations, if any have to be looked at again; answers as
    /// [`Mirror::look_at`] of those for which there is something to show.
    pub(in crate::fib) fn survey(
        &mut self,
        count: usize,
        objects: &mut Objects,
    ) -> Vec<(Prefix, Settled)> {
        let survey = &mut self.work.survey;
        let round = match survey.round.take() {
            Some(round) => round,
            None if survey.next.is_empty() => return Vec::new(),
            None => mem::take(&mut survey.next),
        };
        let mut concerned = Vec::new();
        let mut seen = 0;
        let mut look = |(to, destination): (Prefix, &Destination)| {
            seen += 1;
            if round.has(destination, objects) {
                concerned.push(to);
            }
            to
        };
        let last = match survey.last.take() {
            None => self.destinations.iter().take(count).map(&mut look).last(),
            Some(last) => {
                self.destinations.iter_from(&last, false).take(count).map(&mut look).last()
            }
        };
        if seen == count {
            self.work.survey.round = Some(round);
            self.work.survey.last = last;
        }
        let concerned = concerned.into_iter();
        concerned.filter_map(|to| Some((to, self.look_at(to, objects)?))).collect()
    }

    /// Plans a destination anew because its group or its object is another one; answers when the kernel
    /// refuses it that.
    pub(in crate::fib) fn look_at(&mut self, to: Prefix, objects: &mut Objects) -> Option<Settled> {
        self.update(to, objects, |work, state, objects| {
            match state.stage {
                Stage::Idle | Stage::Later => work.plan(to, state, objects),
                // In a fight it waits whatever it is to be.
                Stage::Waiting { .. } if state.refused.is_some() => {
                    work.look_again(to, state, objects);
                }
                Stage::Waiting { .. }
                | Stage::Queued
                | Stage::InFlight { .. }
                | Stage::Blocked { .. }
                | Stage::Spared => {}
            }
            match state.stage {
                Stage::Blocked { refused: true } => settled(state, objects),
                _ => None,
            }
        })
    }
}
