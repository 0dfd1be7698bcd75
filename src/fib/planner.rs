//! All tables and the next-hop objects that their routes share: what is to be done next.
//!
//! Objects come first, because one of them stands for any number of routes; then the tables, each in
//! its turn. What the kernel has is read before anything is written, and again whenever it may be
//! something else than was thought.

mod table;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    FibOp, Refusal, RouteOp, Settled,
    mirror::{Mirror, Tampering},
    objects::{GroupEvent, Members, Objects, Support},
};
use crate::model::{
    Family, FibCounts, Forwarding, GroupId, Hop, InterfaceIndex, KernelTable, NextHopObject,
    ObjectId, Prefix, TableId, Target, Wish,
};

use super::retry::Seldom;
use table::{PAUSE, Table};

/// How many destinations are looked at at once when objects were renewed.
const SLICE: usize = if cfg!(test) { 3 } else { 4096 };

/// The time for which looking through what waits is no work: a thousand routes.
const FEW_TO_HURRY: Duration = Duration::from_millis(1);

/// Wishes against facts, of one network namespace.
#[derive(Debug)]
pub struct Planner {
    objects: Objects,
    tables: BTreeMap<TableId, Table>,
    /// No two instances share a kernel table, so what the kernel says has one place to go.
    by_kernel: BTreeMap<(KernelTable, Family), TableId>,
    last_served: Option<TableId>,
    /// Links that something of what was refused may lead by now.
    gained: BTreeSet<(InterfaceIndex, Family)>,
    /// Others' routes may have gone with links.
    may_have_room: bool,
    hurries: Seldom,
    /// Because events were lost.
    overruns: Seldom,
    /// Until when the objects are not to be read, because that failed.
    unreadable: Option<Instant>,
    settled: VecDeque<(TableId, Prefix, Settled)>,
    /// Until when what an earlier life left is left.
    spares_until: Option<Instant>,
}

/// What has to be read because the kernel may have something else than was thought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// The next-hop objects.
    Objects,
    /// A table.
    Table(TableId, KernelTable),
}

impl Planner {
    /// Nothing wished, and nothing read yet.
    pub fn new(support: Support, tables: impl IntoIterator<Item = (TableId, KernelTable)>) -> Self {
        let tables: BTreeMap<TableId, Table> =
            tables.into_iter().map(|(id, kernel)| (id, Table::new(id, kernel))).collect();
        let by_kernel = tables.iter().map(|(id, table)| ((table.kernel, id.family), *id)).collect();
        Self {
            objects: Objects::new(support),
            tables,
            by_kernel,
            last_served: None,
            gained: BTreeSet::new(),
            may_have_room: false,
            hurries: Seldom::default(),
            overruns: Seldom::default(),
            unreadable: None,
            settled: VecDeque::new(),
            spares_until: None,
        }
    }

    /// Routes of this table are to carry their next hops, whatever the kernel can do. To be said before
    /// anything else.
    pub fn keep_plain(&mut self, table: TableId) {
        self.objects.keep_plain(table);
    }

    /// Leaves what is found and nobody wishes until then, so that packets go on by it while those who had
    /// offered it do so again. To be said before anything is read.
    pub fn spare_until(&mut self, until: Instant) {
        self.spares_until = Some(until);
        self.tables.values_mut().for_each(|table| table.mirror.spare());
    }

    /// Whether the time of [`Self::spare_until`] is over: then what nobody wishes goes; answers how many
    /// routes these are.
    pub fn end_sparing(&mut self, now: Instant) -> Option<usize> {
        self.spares_until.filter(|until| *until <= now)?;
        self.spares_until = None;
        let (tables, objects) = (&mut self.tables, &mut self.objects);
        Some(tables.values_mut().map(|table| table.mirror.end_sparing(objects)).sum())
    }

    /// What a group of destinations of this table comes to now, and where packets go while the kernel
    /// refuses all of that.
    pub fn handle_group(
        &mut self,
        id: GroupId,
        table: TableId,
        forwarding: Option<Arc<Forwarding>>,
        next: Option<Arc<Forwarding>>,
        spare: Option<Hop>,
    ) {
        self.objects.handle_group(id, table, forwarding, next, spare);
        self.carry();
    }

    /// No destination is to be in the group any more. That it left may be told of each one later.
    pub fn handle_group_gone(&mut self, id: GroupId) {
        self.objects.handle_group_gone(id);
    }

    /// Wishes for a destination; `None` wishes that nothing of ours be there.
    pub fn want(&mut self, table: TableId, to: Prefix, wish: Option<Wish>) {
        self.change(table, to, |mirror, objects| mirror.want(to, wish, objects));
    }

    /// The kernel may have dropped what led by these links, and told nobody; `down` are those that
    /// were down or gone for a moment, and not only without an address.
    pub fn handle_lost(
        &mut self,
        lost: &BTreeSet<(InterfaceIndex, Family)>,
        down: &BTreeSet<InterfaceIndex>,
    ) {
        for interface in down {
            self.objects.handle_lost(*interface);
        }
        for table in self.tables.values_mut() {
            table.mirror.handle_lost(lost, &mut self.objects);
        }
        self.carry();
    }

    /// These links are up, or have another address: what was refused and leads by them may be possible
    /// now, and is tried at once, or a little later if that was done a moment ago.
    pub fn hurry(&mut self, gained: BTreeSet<(InterfaceIndex, Family)>, now: Instant) {
        if gained.is_empty() {
            return;
        }
        self.gained.extend(gained);
        if self.hurries.ask(now, self.rest()) {
            self.hurry_now();
        }
    }

    /// Links or addresses are gone, and with them routes of others, which the kernel tells of nobody: what one of
    /// them kept out may have room now. Tried as [`Self::hurry`] does.
    pub fn hurry_into_room(&mut self, now: Instant) {
        self.may_have_room = true;
        if self.hurries.ask(now, self.rest()) {
            self.hurry_now();
        }
    }

    /// How long to wait with the next hurry: all that waits is looked through for it. No time at all for a few,
    /// or what can be done now would not even be pending.
    fn rest(&self) -> Duration {
        let waiting: usize = self.tables.values().map(|table| table.mirror.waiting()).sum();
        Duration::from_micros(waiting.try_into().unwrap_or(u64::MAX)).saturating_sub(FEW_TO_HURRY)
    }

    fn hurry_now(&mut self) {
        let gained = std::mem::take(&mut self.gained);
        let may_have_room = std::mem::take(&mut self.may_have_room);
        self.objects.hurry(&gained);
        for table in self.tables.values_mut() {
            table.mirror.hurry(&gained, may_have_room, &mut self.objects);
        }
    }

    /// The next operations for the kernel, `count` at most, to be carried out in this order. A result
    /// has to follow for each. None may be all for now: see [`Self::is_surveying`].
    pub fn poll_ops(&mut self, count: usize) -> Vec<FibOp> {
        self.carry();
        let mut ops: Vec<FibOp> =
            std::iter::from_fn(|| self.objects.poll_op()).take(count).collect();
        self.carry();
        let ids: Vec<TableId> = self.tables.keys().copied().collect();
        let last = self.last_served;
        let after = ids.iter().filter(|id| Some(**id) > last);
        let before = ids.iter().filter(|id| Some(**id) <= last);
        let turns: Vec<TableId> = after.chain(before).copied().collect();
        for id in &turns {
            self.poll_table(*id, count, &mut ops, Mirror::poll_op);
            if ops.len() < count
                && let Some(table) = self.tables.get_mut(id)
            {
                // A slice only: there may be something else to do before the next.
                let settled = table.mirror.survey(SLICE, &mut self.objects);
                self.settled.extend(settled.into_iter().map(|(to, settled)| (*id, to, settled)));
                self.poll_table(*id, count, &mut ops, Mirror::poll_op);
            }
        }
        if !self.is_surveying() {
            for id in &turns {
                self.poll_table(*id, count, &mut ops, Mirror::poll_later_op);
            }
        }
        ops
    }

    fn poll_table(
        &mut self,
        id: TableId,
        count: usize,
        ops: &mut Vec<FibOp>,
        poll: impl Fn(&mut Mirror, &mut Objects) -> Option<(Prefix, RouteOp)>,
    ) {
        let Some(Table { kernel, mirror, .. }) = self.tables.get_mut(&id) else { return };
        while ops.len() < count
            && let Some((to, op)) = poll(mirror, &mut self.objects)
        {
            self.last_served = Some(id);
            ops.push(FibOp::Route { table: *kernel, to, op });
        }
    }

    /// Whether [`Self::poll_ops`] may hand out more without anything else happening: it looks for what
    /// is to be written, a part of a table in each call.
    pub fn is_surveying(&self) -> bool {
        self.tables.values().any(|table| table.mirror.is_surveying())
    }

    /// The kernel carried an operation out, or refused it.
    pub fn handle_result(&mut self, op: &FibOp, result: Result<(), Refusal>, now: Instant) {
        match op {
            FibOp::Object { id, op } => {
                self.objects.handle_result(*id, op, result, now);
                self.carry();
            }
            FibOp::Route { table, to, .. } => {
                if let Some(id) = self.by_kernel.get(&(*table, to.family())).copied() {
                    let refused = result.as_ref().err().map(|refusal| refusal.errno);
                    if matches!(refused, Some(libc::EINVAL | libc::ENOENT)) {
                        self.objects.doubt_once(now); // its object may be gone
                    }
                    let is_passing = result.as_ref().is_err_and(Refusal::is_passing);
                    self.change(id, *to, |mirror, objects| {
                        mirror.handle_result(*to, result, now, objects)
                    });
                    // What was done all the same is not to be taken away in order to be done again.
                    if is_passing && let Some(table) = self.tables.get_mut(&id) {
                        table.handle_lost_answer(now);
                    }
                }
            }
        }
    }

    /// Somebody else changed or deleted a route with our metric.
    pub fn handle_tampering(
        &mut self,
        table: KernelTable,
        to: Prefix,
        what: Tampering,
        now: Instant,
    ) {
        if let Some(id) = self.by_kernel.get(&(table, to.family())).copied() {
            self.change(id, to, |mirror, objects| mirror.handle_tampering(to, what, now, objects));
        }
    }

    /// A stranger's route with our metric is gone, which may have been in the way of one of ours.
    pub fn handle_room(&mut self, table: KernelTable, to: Prefix, now: Instant) {
        if let Some(id) = self.by_kernel.get(&(table, to.family())).copied() {
            self.change(id, to, |mirror, objects| mirror.handle_room(to, now, objects));
        }
    }

    /// Whether this next-hop object was made here.
    pub fn knows(&self, id: ObjectId) -> bool {
        self.objects.knows(id)
    }

    /// Somebody else changed a next-hop object of ours, or deleted it (`None`).
    pub fn handle_object(&mut self, id: ObjectId, content: Option<&NextHopObject>, now: Instant) {
        self.objects.handle_event(id, content, now);
        self.carry();
    }

    /// Nothing that is known of the kernel is certain any more.
    pub fn doubt_all(&mut self) {
        self.objects.doubt();
        self.tables.values_mut().for_each(|table| table.mirror.doubt());
    }

    /// The kernel had more to tell than there was room for. All is read again, at once; but where that comes
    /// again and again, once a second at most, for nothing is written while it is read.
    pub fn handle_overrun(&mut self, now: Instant) {
        if self.overruns.ask(now, PAUSE) {
            self.doubt_all();
        }
    }

    /// What is to be read now, objects first. [`Self::begin_reading`] is to follow.
    pub fn poll_doubt(&self) -> Option<Doubt> {
        if !self.objects.is_known() {
            let wanted = self.unreadable.is_none() && self.objects.wants_reading();
            return wanted.then_some(Doubt::Objects);
        }
        let table = self.tables.iter().find(|(_, table)| table.wants_reading());
        table.map(|(id, table)| Doubt::Table(*id, table.kernel))
    }

    /// A dump begins.
    pub fn begin_reading(&mut self, doubt: Doubt) {
        match doubt {
            Doubt::Objects => self.objects.begin_reading(),
            Doubt::Table(id, _) => {
                if let Some(table) = self.tables.get_mut(&id) {
                    table.mirror.begin_reading();
                }
            }
        }
    }

    /// The dump begins again: what it told so far is void.
    pub fn handle_reading_restarted(&mut self, doubt: Doubt) {
        match doubt {
            Doubt::Objects => self.objects.begin_reading_again(),
            Doubt::Table(id, _) => {
                if let Some(table) = self.tables.get_mut(&id) {
                    table.mirror.begin_reading_again();
                }
            }
        }
    }

    /// The dump failed, or could not even begin: it is to be begun again in a second, which keeps no other
    /// table waiting.
    pub fn handle_reading_failed(&mut self, doubt: Doubt, now: Instant) {
        match doubt {
            Doubt::Objects => {
                self.objects.doubt();
                self.unreadable = now.checked_add(PAUSE);
            }
            Doubt::Table(id, _) => {
                if let Some(table) = self.tables.get_mut(&id) {
                    table.handle_reading_failed(now);
                }
            }
        }
    }

    /// The kernel has an object with our protocol; `None` for one in a shape never written here.
    pub fn handle_found_object(&mut self, id: ObjectId, content: Option<NextHopObject>) {
        self.objects.handle_found(id, content);
    }

    /// The kernel has a route of ours; `None` for one in a shape never written here (a metric of TCP,
    /// a preferred source), which is repaired.
    pub fn handle_found_route(&mut self, table: TableId, to: Prefix, found: Option<Target>) {
        self.change(table, to, |mirror, objects| mirror.handle_dumped(to, found, objects));
    }

    /// All of it has been read.
    pub fn handle_reading_complete(&mut self, doubt: Doubt) {
        match doubt {
            Doubt::Objects => self.objects.handle_reading_complete(),
            Doubt::Table(id, _) => {
                if let Some(table) = self.tables.get_mut(&id) {
                    table.mirror.handle_dump_complete(&mut self.objects);
                }
            }
        }
        self.carry();
        let all_known =
            self.objects.is_known() && self.tables.values().all(|table| table.mirror.is_known());
        if all_known {
            self.objects.sweep();
        }
    }

    /// What came to rest, and is to be shown.
    pub fn poll_settled(&mut self) -> Option<(TableId, Prefix, Settled)> {
        self.settled.pop_front()
    }

    /// What the kernel refuses of a group now, all or some of its next hops; `None` for nothing any
    /// more.
    pub fn poll_fault(&mut self) -> Option<(GroupId, Option<Refusal>)> {
        self.objects.poll_fault()
    }

    /// Whether the kernel refuses anything for now.
    pub fn has_refusals(&self) -> bool {
        self.objects.has_refusals()
            || self.counts().any(|(_, counts)| counts.failed > 0)
            || self.tables.values().any(|table| table.mirror.waiting() > 0)
    }

    /// When to call [`Self::handle_deadline`], if anything waits.
    pub fn poll_deadline(&self) -> Option<Instant> {
        let tables = self.tables.values().filter_map(Table::poll_deadline);
        let own = [
            self.objects.poll_deadline(),
            self.hurries.next_due(),
            self.overruns.next_due(),
            self.unreadable,
            self.spares_until,
        ];
        tables.chain(own.into_iter().flatten()).min()
    }

    /// The time has come that [`Self::poll_deadline`] told.
    pub fn handle_deadline(&mut self, now: Instant) {
        self.unreadable = self.unreadable.filter(|until| *until > now);
        if self.hurries.is_due(now, self.rest()) {
            self.hurry_now();
        }
        if self.overruns.is_due(now, PAUSE) {
            self.doubt_all();
        }
        self.objects.handle_deadline(now);
        for table in self.tables.values_mut() {
            table.handle_deadline(now, &mut self.objects);
        }
        self.carry();
    }

    /// How many destinations of each table are how far. While a next-hop object is on its way, at least
    /// one is pending in each: whose it is would have to be looked for.
    pub fn counts(&self) -> impl Iterator<Item = (TableId, FibCounts)> {
        let unknown = usize::from(!self.objects.is_settled());
        self.tables.iter().map(move |(id, table)| {
            let counts = table.mirror.counts();
            (*id, FibCounts { pending: counts.pending.max(unknown), ..counts })
        })
    }

    /// How many operations of routes there are to hand out, or out and without a result: as long as
    /// there are many, further wishes had better wait where they take less room. What waits for anything
    /// but the kernel's answers is not counted, or the wishes that it waits for could be among them.
    pub fn backlog(&self) -> usize {
        self.tables.values().map(|table| table.mirror.backlog()).sum()
    }

    /// How many next-hop objects the kernel has of ours.
    pub fn objects(&self) -> usize {
        self.objects.count()
    }

    /// Whether nothing is queued, in flight or unknown; what was refused may still wait.
    pub fn is_settled(&self) -> bool {
        self.objects.is_settled() && self.tables.values().all(|table| table.mirror.is_settled())
    }

    /// Changes one destination, and keeps what came to rest.
    fn change(
        &mut self,
        table: TableId,
        to: Prefix,
        change: impl FnOnce(&mut Mirror, &mut Objects) -> Option<Settled>,
    ) {
        let Some(found) = self.tables.get_mut(&table) else { return };
        if let Some(settled) = change(&mut found.mirror, &mut self.objects) {
            self.settled.push_back((table, to, settled));
        }
    }

    /// Looks again at the destinations of a group, at once or soon.
    fn look_at(&mut self, group: GroupId) {
        match self.objects.members(group) {
            Members::Few(few) => {
                for (table, to) in few {
                    self.change(table, to, |mirror, objects| mirror.look_at(to, objects));
                }
            }
            Members::Many(_) => {
                self.tables.values_mut().for_each(|table| table.mirror.survey_group(group));
            }
        }
    }

    /// Carries what happened to groups to their destinations.
    fn carry(&mut self) {
        while let Some(event) = self.objects.poll_event() {
            let id = match event {
                GroupEvent::Ready(id) | GroupEvent::Refused(id) => id,
                GroupEvent::Renewed(id) => {
                    self.look_at(id);
                    continue;
                }
                GroupEvent::Orphans => {
                    self.tables.values_mut().for_each(|table| table.mirror.survey_orphans());
                    continue;
                }
            };
            for (table, to) in self.objects.blocked(id) {
                self.change(table, to, |mirror, objects| mirror.handle_group(to, objects));
            }
        }
    }
}

#[cfg(test)]
mod tests;
