//! Reading what the kernel's table has, and what is heard besides it meanwhile.

use std::{collections::BTreeSet, mem};

use super::{Mirror, Settled, settled};
use crate::{
    fib::{
        destination::{Destination, Fact, Meanwhile, Stage, leads_by},
        objects::Objects,
    },
    model::{Family, InterfaceIndex, Prefix, PrefixMap, Target},
};

/// Whether what the kernel's table has is known.
#[derive(Debug)]
pub(super) enum Reading {
    Wanted,
    Underway(Box<Sights>),
    Done,
}

/// A dump under way. What it tells of a destination may be older than what is heard besides it.
#[derive(Debug, Default)]
pub(super) struct Sights {
    pub(super) by_prefix: PrefixMap<Sight>,
    /// Links that were lost since it began.
    pub(super) lost: BTreeSet<(InterfaceIndex, Family)>,
}

/// A destination in a dump.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// Whether it has been told of.
    is_listed: bool,
    /// What was heard of it since the dump began.
    pub(super) meanwhile: Meanwhile,
}

impl Mirror {
    /// What the table has is not certain any more.
    pub(in crate::fib) fn doubt(&mut self) {
        self.work.reading = Reading::Wanted;
    }

    /// Whether the table is to be read now: what is being written would confuse it.
    pub(in crate::fib) fn wants_reading(&self) -> bool {
        matches!(self.work.reading, Reading::Wanted) && self.work.in_flight == 0
    }

    pub(in crate::fib) fn is_known(&self) -> bool {
        matches!(self.work.reading, Reading::Done)
    }

    /// A dump begins.
    pub(in crate::fib) fn begin_reading(&mut self) {
        self.work.reading = Reading::Underway(Box::default());
    }

    /// The dump begins again: what it has told so far is void. What was heard besides it is not, because
    /// it may have begun again before that.
    pub(in crate::fib) fn begin_reading_again(&mut self) {
        let Reading::Underway(sights) = &mut self.work.reading else { return };
        let before = mem::take(&mut sights.by_prefix);
        for (to, sight) in before.iter().filter(|(_, it)| it.meanwhile != Meanwhile::Nothing) {
            let again = Sight { is_listed: false, meanwhile: sight.meanwhile };
            sights.by_prefix.insert(to, again);
        }
    }

    /// The kernel has a route of ours; `None` for one in a shape that the mirror never writes (a
    /// metric of TCP, a preferred source), which is repaired.
    ///
    /// A second route to one destination makes it unclear and is repaired as well. Answers when the
    /// wish is already there.
    pub(in crate::fib) fn handle_dumped(
        &mut self,
        to: Prefix,
        found: Option<Target>,
        objects: &mut Objects,
    ) -> Option<Settled> {
        let Reading::Underway(sights) = &mut self.work.reading else { return None };
        let sight = sights.by_prefix.entry(to).or_default();
        let is_second = mem::replace(&mut sight.is_listed, true);
        let mut fact = match found {
            _ if is_second => Fact::Unclear,
            // By an object that is not ours.
            Some(Target::Object(id)) if !objects.is_live(id) => Fact::Stale,
            Some(found) if leads_by(&found, to.family(), &sights.lost) => Fact::Stale,
            Some(found) => Fact::Present(found),
            None => Fact::Unclear,
        };
        fact.doubt(sight.meanwhile);
        self.update(to, objects, |work, state, objects| {
            state.fact = fact;
            if work.spares && state.wish.is_none() && matches!(state.stage, Stage::Idle) {
                state.stage = Stage::Spared;
                return None;
            }
            work.look_again(to, state, objects);
            settled(state, objects)
        })
    }

    /// The table has been read: what was not in it is not there.
    pub(in crate::fib) fn handle_dump_complete(&mut self, objects: &mut Objects) {
        let sights = match mem::replace(&mut self.work.reading, Reading::Done) {
            Reading::Underway(sights) => sights.by_prefix,
            other => {
                self.work.reading = other;
                return;
            }
        };
        // What comes from now on is not of an earlier life.
        self.work.spares = false;
        let missing = |(to, destination): (Prefix, &Destination)| match sights.get(&to) {
            Some(Sight { is_listed: true, .. }) => None,
            _ if !destination.may_be_there() => None,
            sight => Some((to, sight.map(|sight| sight.meanwhile).unwrap_or_default())),
        };
        let missing: Vec<(Prefix, Meanwhile)> =
            self.destinations.iter().filter_map(missing).collect();
        for (to, meanwhile) in missing {
            self.update(to, objects, |work, state, objects| {
                state.fact = Fact::Absent;
                state.fact.doubt(meanwhile);
                work.look_again(to, state, objects);
            });
        }
    }
}
