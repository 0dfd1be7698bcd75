//! The planner against a kernel of its own that keeps Linux's rules of objects and routes: an object
//! goes with its link, a group with its last member, a route with its object, and nobody is told.

use std::num::NonZeroU32;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    fib::{ObjectOp, RouteOp},
    model::{Member, Special, Weight},
};

const LINKS: u8 = 4;

fn table() -> TableId {
    TableId::new(0, Family::Ipv4).unwrap()
}

fn nth_prefix(index: u8) -> Prefix {
    format!("10.{index}.0.0/16").parse().unwrap()
}

fn group_id(index: u8) -> GroupId {
    GroupId(NonZeroU32::new(u32::from(index) + 1).unwrap())
}

fn hop(link: u8, weight: u32) -> Hop {
    Hop {
        gateway: None,
        interface: InterfaceIndex(u32::from(link % LINKS) + 1),
        weight: Weight::new(weight).unwrap(),
    }
}

fn refused<T>(errno: i32) -> Result<T, Refusal> {
    Err(Refusal { errno, message: String::new() })
}

/// What a kernel has.
#[derive(Clone, Debug, Default)]
struct Kernel {
    up: BTreeSet<u32>,
    objects: BTreeMap<ObjectId, NextHopObject>,
    /// Of each prefix, the one route with our metric, and whether it is ours.
    routes: BTreeMap<Prefix, (Target, bool)>,
}

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Nothing,
    Refused,
    /// Done, but the answer was lost.
    AnswerLost,
    /// Not done, and the answer was lost.
    RequestLost,
}

impl Kernel {
    fn carry_out(&mut self, op: &FibOp, mishap: Mishap) -> Result<(), Refusal> {
        match mishap {
            Mishap::Nothing => self.apply(op),
            Mishap::Refused => refused(libc::ENETUNREACH),
            Mishap::AnswerLost => {
                let _ = self.apply(op);
                refused(libc::ENOBUFS)
            }
            Mishap::RequestLost => refused(libc::ENOBUFS),
        }
    }

    fn apply(&mut self, op: &FibOp) -> Result<(), Refusal> {
        match op {
            FibOp::Object { id, op } => self.apply_to_object(*id, op),
            FibOp::Route { to, op, .. } => self.apply_to_route(*to, op),
        }
    }

    fn apply_to_object(&mut self, id: ObjectId, op: &ObjectOp) -> Result<(), Refusal> {
        let content = match op {
            ObjectOp::Add(_) if self.objects.contains_key(&id) => return refused(libc::EEXIST),
            ObjectOp::Replace(_) if !self.objects.contains_key(&id) => {
                return refused(libc::ENOENT);
            }
            ObjectOp::Delete if !self.objects.contains_key(&id) => return refused(libc::ENOENT),
            ObjectOp::Delete => {
                self.drop_object(id);
                return Ok(());
            }
            ObjectOp::Add(content) | ObjectOp::Replace(content) => content,
        };
        match content {
            NextHopObject::Hop { interface, .. } if !self.up.contains(&interface.0) => {
                return refused(libc::ENETDOWN);
            }
            NextHopObject::Hop { .. } => {}
            NextHopObject::Group { members, buckets } => {
                let known = |member: &Member| {
                    matches!(self.objects.get(&member.object), Some(NextHopObject::Hop { .. }))
                };
                if members.is_empty() || !members.iter().all(known) {
                    return refused(libc::EINVAL);
                }
                if let Some(NextHopObject::Group { buckets: before, .. }) = self.objects.get(&id) {
                    assert_eq!(before, buckets, "the buckets of a group are fixed");
                }
            }
        }
        self.objects.insert(id, content.clone());
        Ok(())
    }

    fn apply_to_route(&mut self, to: Prefix, op: &RouteOp) -> Result<(), Refusal> {
        let before = self.routes.get(&to);
        match op {
            RouteOp::Install(_) if before.is_some() => return refused(libc::EEXIST),
            RouteOp::Uninstall if before.is_none_or(|(_, ours)| !ours) => {
                return refused(libc::ESRCH);
            }
            RouteOp::Uninstall => {
                self.routes.remove(&to);
                return Ok(());
            }
            RouteOp::Install(target) | RouteOp::Replace(target) => {
                match target {
                    Target::Object(id) if !self.objects.contains_key(id) => {
                        return refused(libc::EINVAL);
                    }
                    Target::Plain(forwarding) if !self.leads(forwarding) => {
                        return refused(libc::ENETDOWN);
                    }
                    Target::Object(_) | Target::Plain(_) => {}
                }
                self.routes.insert(to, (target.clone(), true));
            }
        }
        Ok(())
    }

    fn leads(&self, forwarding: &Forwarding) -> bool {
        match forwarding {
            Forwarding::Unicast(hops) => hops.iter().all(|hop| self.up.contains(&hop.interface.0)),
            Forwarding::Blackhole | Forwarding::Unreachable | Forwarding::Prohibit => true,
        }
    }

    fn drop_object(&mut self, id: ObjectId) {
        self.objects.remove(&id);
        self.routes.retain(|_, (target, _)| *target != Target::Object(id));
        let mut empty = Vec::new();
        for (group, content) in &mut self.objects {
            if let NextHopObject::Group { members, .. } = content {
                *members = members.iter().filter(|it| it.object != id).copied().collect();
                if members.is_empty() {
                    empty.push(*group);
                }
            }
        }
        empty.into_iter().for_each(|group| self.drop_object(group));
    }

    /// Nobody is told what that takes along.
    fn link_down(&mut self, link: u32) {
        self.up.remove(&link);
        let by = |content: &NextHopObject| matches!(content, NextHopObject::Hop { interface, .. } if interface.0 == link);
        let lost: Vec<ObjectId> =
            self.objects.iter().filter(|(_, it)| by(it)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.drop_object(id));
        self.routes.retain(|_, (target, _)| match target {
            Target::Plain(forwarding) => match forwarding.as_ref() {
                Forwarding::Unicast(hops) => hops.iter().all(|hop| hop.interface.0 != link),
                _ => true,
            },
            Target::Object(_) => true,
        });
    }

    /// The links that packets to a destination leave by, those of no bucket left out of account.
    fn ways(&self, to: Prefix) -> Option<Vec<(u32, u32)>> {
        let (target, _) = self.routes.get(&to)?;
        let hops: Vec<(u32, u32)> = match target {
            Target::Plain(forwarding) => match forwarding.as_ref() {
                Forwarding::Unicast(hops) => {
                    hops.iter().map(|hop| (hop.interface.0, hop.weight.get().into())).collect()
                }
                _ => Vec::new(),
            },
            Target::Object(id) => {
                let NextHopObject::Group { members, buckets } = &self.objects[id] else {
                    panic!("{id} is no group")
                };
                let hop = |member: &Member| {
                    let NextHopObject::Hop { interface, .. } = &self.objects[&member.object] else {
                        panic!("{member:?} is no hop")
                    };
                    (interface.0, u32::from(member.weight.get()))
                };
                let hops: Vec<(u32, u32)> = members.iter().map(hop).collect();
                let Some(buckets) = buckets else { return Some(hops) };
                let buckets = u32::from(buckets.get());
                let total: u32 = hops.iter().map(|(_, weight)| weight).sum();
                let (mut weight, mut given) = (0, 0);
                let has_bucket = |hop: &(u32, u32)| {
                    weight += hop.1;
                    let up_to = (buckets * weight + total / 2) / total;
                    up_to > std::mem::replace(&mut given, up_to)
                };
                let mut hops = hops;
                hops.retain(has_bucket);
                hops
            }
        };
        Some(hops)
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A group comes to this: hops by links, and a spare.
    Group(u8, Vec<u8>, Option<u8>),
    Want(u8, Option<u8>),
    Blackhole(u8),
    /// A group is left, and with it every destination that wished to be in it.
    Leave(u8),
    Send(u8),
    Answer(Mishap),
    Down(u8),
    Up(u8),
    Wait,
    /// Somebody deletes a route, and that is told or missed.
    DeleteRoute(u8, bool),
    /// Somebody deletes an object, and that is told or missed.
    DeleteObject(u8, bool),
    Doubt,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let mishap = prop_oneof![
        8 => Just(Mishap::Nothing),
        1 => Just(Mishap::Refused),
        1 => Just(Mishap::AnswerLost),
        1 => Just(Mishap::RequestLost),
    ];
    let event = prop_oneof![
        4 => (0..5_u8, vec(0..LINKS, 0..4), proptest::option::of(0..LINKS))
            .prop_map(|(id, hops, spare)| Event::Group(id, hops, spare)),
        6 => (0..8_u8, proptest::option::of(0..5_u8)).prop_map(|(to, id)| Event::Want(to, id)),
        1 => (0..8_u8).prop_map(Event::Blackhole),
        1 => (0..5_u8).prop_map(Event::Leave),
        4 => (1..6_u8).prop_map(Event::Send),
        8 => mishap.prop_map(Event::Answer),
        2 => (0..LINKS).prop_map(Event::Down),
        3 => (0..LINKS).prop_map(Event::Up),
        1 => Just(Event::Wait),
        1 => (0..8_u8, any::<bool>()).prop_map(|(to, told)| Event::DeleteRoute(to, told)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(id, told)| Event::DeleteObject(id, told)),
        1 => Just(Event::Doubt),
    ];
    vec(event, 0..150)
}

/// The kernel, the planner, and what is wished.
struct Storm {
    kernel: Kernel,
    planner: Planner,
    groups: BTreeMap<u8, (Vec<u8>, Option<u8>)>,
    wishes: BTreeMap<u8, Option<u8>>,
    in_flight: VecDeque<FibOp>,
    now: Instant,
    missed: bool,
}

impl Storm {
    fn new(support: Support) -> Self {
        let kernel = Kernel { up: (1..=LINKS.into()).collect(), ..Kernel::default() };
        Self {
            kernel,
            planner: Planner::new(support, [(table(), KernelTable(254))]),
            groups: BTreeMap::new(),
            wishes: BTreeMap::new(),
            in_flight: VecDeque::new(),
            now: Instant::now(),
            missed: false,
        }
    }

    /// What a group comes to: its hops by links that are up, as the RIB would say.
    fn tell_group(&mut self, id: u8) {
        let Some((links, spare)) = self.groups.get(&id) else { return };
        let is_up = |link: &&u8| self.kernel.up.contains(&(u32::from(**link) + 1));
        let mut hops: Vec<Hop> = Vec::new();
        for link in links.iter().filter(is_up) {
            let hop = hop(*link, u32::from(*link) + 1);
            if hops.iter().all(|other| other.interface != hop.interface) {
                hops.push(hop);
            }
        }
        let spare = spare.iter().find(is_up).map(|link| hop(*link, 1));
        let spare = spare.filter(|it| hops.iter().all(|hop| hop.interface != it.interface));
        let forwarding = (!hops.is_empty()).then(|| Arc::new(Forwarding::Unicast(hops.into())));
        let spare = spare.filter(|_| forwarding.is_some());
        self.planner.handle_group(group_id(id), Family::Ipv4, forwarding, spare);
    }

    fn run(&mut self, event: Event) {
        match event {
            Event::Group(id, hops, spare) => {
                self.groups.insert(id, (hops, spare));
                self.tell_group(id);
            }
            Event::Want(to, id) => {
                let id = id.filter(|id| self.groups.contains_key(id));
                let wish = id.map(|id| Wish::Group(group_id(id)));
                self.planner.want(table(), nth_prefix(to), wish);
                match id {
                    Some(id) => self.wishes.insert(to, Some(id)),
                    None => self.wishes.remove(&to),
                };
            }
            Event::Blackhole(to) => {
                let wish = Some(Wish::Special(Special::Blackhole));
                self.planner.want(table(), nth_prefix(to), wish);
                self.wishes.insert(to, None);
            }
            Event::Leave(id) => {
                if self.groups.remove(&id).is_none() {
                    return;
                }
                let inside = |(_, wish): &(&u8, &Option<u8>)| **wish == Some(id);
                let all: Vec<u8> = self.wishes.iter().filter(inside).map(|(to, _)| *to).collect();
                for to in all {
                    self.planner.want(table(), nth_prefix(to), None);
                    self.wishes.remove(&to);
                }
                self.planner.handle_group_gone(group_id(id));
            }
            Event::Send(count) => self.in_flight.extend(self.planner.poll_ops(count.into())),
            Event::Answer(mishap) => self.answer(mishap),
            Event::Down(link) => {
                let index = u32::from(link) + 1;
                if self.kernel.up.contains(&index) {
                    // What is on its way is carried out before or after: before.
                    self.kernel.link_down(index);
                    let link = InterfaceIndex(index);
                    self.planner.handle_lost(&[(link, Family::Ipv4)].into(), &[link].into());
                    self.tell_groups();
                }
            }
            Event::Up(link) => {
                if self.kernel.up.insert(u32::from(link) + 1) {
                    self.tell_groups();
                    self.planner.hurry();
                }
            }
            Event::Wait => {
                self.now += std::time::Duration::from_secs(61);
                self.planner.handle_deadline(self.now);
            }
            Event::DeleteRoute(to, told) => {
                let to = nth_prefix(to);
                if self.kernel.routes.remove(&to).is_some() {
                    match told {
                        true => {
                            let table = KernelTable(254);
                            self.planner.handle_tampering(table, to, Tampering::Gone, self.now);
                        }
                        false => self.missed = true,
                    }
                }
            }
            Event::DeleteObject(nth, told) => {
                let ids: Vec<ObjectId> = self.kernel.objects.keys().copied().collect();
                let Some(id) = ids.get(usize::from(nth) % ids.len().max(1)).copied() else {
                    return;
                };
                let before: BTreeSet<ObjectId> = ids.into_iter().collect();
                self.kernel.drop_object(id);
                let gone = before.iter().filter(|id| !self.kernel.objects.contains_key(id));
                for id in gone {
                    match told {
                        true => self.planner.handle_object(*id, None),
                        false => self.missed = true,
                    }
                }
            }
            Event::Doubt => self.planner.doubt_all(),
        }
        self.read();
    }

    fn tell_groups(&mut self) {
        let all: Vec<u8> = self.groups.keys().copied().collect();
        all.into_iter().for_each(|id| self.tell_group(id));
    }

    fn answer(&mut self, mishap: Mishap) {
        if let Some(op) = self.in_flight.pop_front() {
            let result = self.kernel.carry_out(&op, mishap);
            self.planner.handle_result(&op, result, self.now);
        }
    }

    /// What is in doubt is read, at once and as it is.
    fn read(&mut self) {
        while self.in_flight.is_empty()
            && let Some(doubt) = self.planner.poll_doubt()
        {
            self.planner.begin_reading(doubt);
            match doubt {
                Doubt::Objects => {
                    for (id, content) in &self.kernel.objects {
                        self.planner.handle_found_object(*id, Some(content.clone()));
                    }
                }
                Doubt::Table(id, _) => {
                    for (to, (target, _)) in &self.kernel.routes {
                        self.planner.handle_found_route(id, *to, Some(target.clone()));
                    }
                }
            }
            self.planner.handle_reading_complete(doubt);
        }
    }

    /// The world comes to its senses.
    fn drain(&mut self) {
        if self.missed {
            self.planner.doubt_all(); // as an overrun does
        }
        for _ in 0..10 {
            loop {
                while !self.in_flight.is_empty() {
                    self.answer(Mishap::Nothing);
                }
                self.read();
                let ops = self.planner.poll_ops(3);
                if ops.is_empty() && self.planner.poll_doubt().is_none() {
                    break;
                }
                self.in_flight.extend(ops);
            }
            self.now += std::time::Duration::from_secs(61);
            self.planner.handle_deadline(self.now);
        }
    }

    fn check(&self) {
        for to in 0..8 {
            let expected = match self.wishes.get(&to) {
                None => None,
                Some(None) => Some(Vec::new()),
                Some(Some(id)) => {
                    let mut links: Vec<u32> = Vec::new();
                    for link in &self.groups[id].0 {
                        let link = u32::from(*link) + 1;
                        if self.kernel.up.contains(&link) && !links.contains(&link) {
                            links.push(link);
                        }
                    }
                    (!links.is_empty()).then_some(links)
                }
            };
            let found = self.kernel.ways(nth_prefix(to));
            let found =
                found.map(|ways| ways.into_iter().map(|(link, _)| link).collect::<Vec<u32>>());
            assert_eq!(found, expected, "{} {:?}", nth_prefix(to), self.kernel);
        }
        assert!(self.planner.is_settled());
    }
}

fn storm(support: Support, events: Vec<Event>) {
    let mut storm = Storm::new(support);
    storm.read();
    for event in events {
        storm.run(event);
    }
    storm.drain();
    storm.check();
    // Nothing is left behind: what nobody wishes any more goes, with all objects.
    for to in 0..8 {
        storm.run(Event::Want(to, None));
    }
    for id in 0..5 {
        storm.run(Event::Leave(id));
    }
    storm.drain();
    assert!(storm.kernel.routes.is_empty(), "{:?}", storm.kernel.routes);
    assert!(storm.kernel.objects.is_empty(), "{:?}", storm.kernel.objects);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after_any_storm_the_kernel_is_as_wished_with_resilient_groups(events in events()) {
        storm(Support::Resilient, events);
    }

    #[test]
    fn after_any_storm_the_kernel_is_as_wished_with_plain_groups(events in events()) {
        storm(Support::Groups, events);
    }

    #[test]
    fn after_any_storm_the_kernel_is_as_wished_without_objects(events in events()) {
        storm(Support::None, events);
    }
}
