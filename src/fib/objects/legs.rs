//! Legs: the distinct ways out, each one object however many groups have it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use super::Refusal;
use crate::model::{Family, GroupId, Hop, InterfaceIndex, NextHopObject, ObjectId};

/// One way out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Leg {
    pub(super) interface: InterfaceIndex,
    family: Family,
    gateway: Option<IpAddr>,
}

/// What is to be done about a leg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Nothing,
    Create,
    /// Somebody wrote something else under its number.
    Rewrite(ObjectId),
    Delete(ObjectId),
}

#[derive(Debug, Default)]
struct Entry {
    id: Option<ObjectId>,
    in_flight: bool,
    /// Whether what is in flight takes it away.
    ends: bool,
    /// Whether the kernel may have dropped by itself what is in flight.
    dropped: bool,
    tampered: bool,
    refusal: Option<Refusal>,
    refusals: u8,
    wanted_by: BTreeSet<GroupId>,
    /// The group objects of the kernel that have it.
    member_of: BTreeSet<ObjectId>,
}

/// All of them, wished and found.
#[derive(Debug, Default)]
pub(super) struct Legs {
    entries: BTreeMap<Leg, Entry>,
    by_id: HashMap<ObjectId, Leg>,
}

impl Leg {
    /// A hop of a route of this family. A gateway may be of another: IPv4 by an IPv6 router.
    pub(super) fn new(hop: &Hop, family: Family) -> Self {
        let family = hop.gateway.map_or(family, Family::of);
        Self { interface: hop.interface, family, gateway: hop.gateway }
    }
}

impl From<Leg> for NextHopObject {
    fn from(leg: Leg) -> Self {
        Self::Hop { family: leg.family, gateway: leg.gateway, interface: leg.interface }
    }
}

impl Legs {
    pub(super) fn want(&mut self, leg: Leg, group: GroupId) {
        self.entries.entry(leg).or_default().wanted_by.insert(group);
    }

    pub(super) fn unwant(&mut self, leg: Leg, group: GroupId) {
        if let Some(entry) = self.entries.get_mut(&leg) {
            entry.wanted_by.remove(&group);
        }
    }

    pub(super) fn wanted_by(&self, leg: Leg) -> Vec<GroupId> {
        self.entries.get(&leg).map(|it| it.wanted_by.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether anything is to be done about it, or it is there.
    pub(super) fn has(&self, leg: Leg) -> bool {
        self.entries.contains_key(&leg)
    }

    pub(super) fn id(&self, leg: Leg) -> Option<ObjectId> {
        self.entries.get(&leg)?.id
    }

    pub(super) fn by_id(&self, id: ObjectId) -> Option<Leg> {
        self.by_id.get(&id).copied()
    }

    /// Those that the kernel has.
    pub(super) fn live(&self) -> impl ExactSizeIterator<Item = (ObjectId, Leg)> {
        self.by_id.iter().map(|(id, leg)| (*id, *leg))
    }

    /// The legs by an interface.
    pub(super) fn by(&self, interface: InterfaceIndex) -> Vec<Leg> {
        let first = Leg { interface, family: Family::Ipv4, gateway: None };
        let all = self.entries.range(first..).map(|(leg, _)| *leg);
        all.take_while(|leg| leg.interface == interface).collect()
    }

    pub(super) fn refusal(&self, leg: Leg) -> Option<&Refusal> {
        self.entries.get(&leg)?.refusal.as_ref()
    }

    /// Whether it is neither there nor refused, or not for much longer: something has to be done, or is
    /// being done.
    pub(super) fn is_open(&self, leg: Leg) -> bool {
        self.entries.get(&leg).is_some_and(|it| it.ends || it.id.is_none() && it.refusal.is_none())
    }

    /// Whether the kernel refused it and has not taken it since, though it may be asked again just now.
    pub(super) fn is_in_trouble(&self, leg: Leg) -> bool {
        self.entries.get(&leg).is_some_and(|it| it.id.is_none() && it.refusals > 0)
    }

    pub(super) fn is_in_flight(&self, leg: Leg) -> bool {
        self.entries.get(&leg).is_some_and(|entry| entry.in_flight)
    }

    /// The next step from what the kernel has to what is wanted; none while one is under way.
    pub(super) fn step(&mut self, leg: Leg) -> Step {
        let Some(entry) = self.entries.get(&leg).filter(|entry| !entry.in_flight) else {
            return Step::Nothing;
        };
        let unused = entry.wanted_by.is_empty() && entry.member_of.is_empty();
        match entry.id {
            Some(id) if unused => Step::Delete(id),
            Some(id) if entry.tampered => match &entry.refusal {
                None => Step::Rewrite(id),
                // Until its next attempt.
                Some(refusal) if refusal.is_passing() || refusal.is_of_fight() => Step::Nothing,
                // Packets are not to follow what somebody else wrote there.
                Some(_) => Step::Delete(id),
            },
            Some(_) => Step::Nothing,
            None if unused => {
                self.entries.remove(&leg);
                Step::Nothing
            }
            None if entry.refusal.is_some() => Step::Nothing, // it waits for its next attempt
            None => Step::Create,
        }
    }

    /// The kernel is asked to make it or to write it anew, or to take it away.
    pub(super) fn begin(&mut self, leg: Leg, ends: bool) {
        if let Some(entry) = self.entries.get_mut(&leg) {
            entry.in_flight = true;
            entry.ends = ends;
            entry.dropped = false;
            entry.refusal = None;
        }
    }

    /// What was in flight has come back; answers whether the kernel may have dropped it meanwhile.
    pub(super) fn end(&mut self, leg: Leg) -> bool {
        self.entries.get_mut(&leg).is_some_and(|entry| {
            entry.in_flight = false;
            entry.ends = false;
            std::mem::take(&mut entry.dropped)
        })
    }

    /// The kernel has it.
    pub(super) fn set(&mut self, leg: Leg, id: ObjectId) {
        let entry = self.entries.entry(leg).or_default();
        (entry.id, entry.tampered, entry.refusal, entry.refusals) = (Some(id), false, None, 0);
        self.by_id.insert(id, leg);
    }

    /// The kernel refused it; answers how often in a row.
    pub(super) fn refuse(&mut self, leg: Leg, refusal: Refusal) -> u8 {
        let Some(entry) = self.entries.get_mut(&leg) else { return 1 };
        entry.refusal = Some(refusal);
        entry.refusals = entry.refusals.saturating_add(1);
        entry.refusals
    }

    /// What was refused may be possible now.
    pub(super) fn reopen(&mut self, leg: Leg) {
        if let Some(entry) = self.entries.get_mut(&leg) {
            entry.refusal = None;
        }
    }

    /// Somebody wrote something else under its number.
    pub(super) fn tamper(&mut self, leg: Leg) {
        if let Some(entry) = self.entries.get_mut(&leg) {
            entry.tampered = true;
        }
    }

    /// The kernel has it no more; answers with its number, and the groups that lost it.
    pub(super) fn lose(&mut self, leg: Leg) -> Option<(ObjectId, BTreeSet<ObjectId>)> {
        let entry = self.entries.get_mut(&leg)?;
        entry.dropped = entry.in_flight;
        entry.refusal = None;
        let id = entry.id.take()?;
        self.by_id.remove(&id);
        Some((id, std::mem::take(&mut entry.member_of)))
    }

    pub(super) fn join(&mut self, id: ObjectId, group: ObjectId) {
        if let Some(entry) = self.by_id.get(&id).and_then(|leg| self.entries.get_mut(leg)) {
            entry.member_of.insert(group);
        }
    }

    /// A group has it no more; answers with the leg if it may have become useless.
    pub(super) fn leave(&mut self, id: ObjectId, group: ObjectId) -> Option<Leg> {
        let leg = self.by_id(id)?;
        let entry = self.entries.get_mut(&leg)?;
        entry.member_of.remove(&group);
        (entry.member_of.is_empty() && entry.wanted_by.is_empty()).then_some(leg)
    }
}
