//! Change notification: who wants to hear of what, and what waits for them.
//!
//! A registration collects *destinations*, each once however often it changes, and what is told of
//! one is read when it is fetched. Waking its owner is due once: when the first destination comes to
//! wait. The exception is asked for: an ordered registration keeps each change of a best route by
//! itself, as RTMv1 does.
//!
//! What a reader would get wrong: destinations that are gone wait too, so a registration that is
//! never read would grow with every prefix there ever was. So what waits is bounded, for each
//! registration and for each user. Beyond that all of it is dropped and nothing more kept, until the
//! owner was told to read the table anew; of a user's registrations it is the fullest one's.

mod load;
mod ordered;

use serde::{Deserialize, Serialize};

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

pub use ordered::{BestChange, RouteSnapshot};

use super::{
    Rib,
    table::{Best, DestinationView, ViewRecord},
    waste::Waste,
};
use crate::model::{
    Caller, Change, Error, ErrorKind, NotificationId, NotifyFlags, Prefix, PrefixMap, Result,
    TableId, Timestamp, ViewSet,
};

/// What somebody wants to hear of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Subscription {
    /// In this table.
    pub table: TableId,
    /// In these views; none for all (RTMv2 gap 19).
    pub views: ViewSet,
    /// These types of change.
    pub flags: NotifyFlags,
    /// What the owner finds again in each wake-up.
    pub context: u64,
}

/// A wake-up that is due: something waits for this registration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WakeUp {
    /// The registration.
    pub id: NotificationId,
    /// The connection it belongs to.
    pub bus_name: String,
    /// As its owner gave it.
    pub context: u64,
}

/// All registrations.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Notifications {
    by_table: BTreeMap<TableId, BTreeMap<NotificationId, Notification>>,
    /// Those whose owners have to be woken.
    waking: BTreeSet<(TableId, NotificationId)>,
    loads: load::Loads,
    /// What was dropped, to be freed elsewhere.
    #[serde(skip)]
    pub(super) waste: Waste,
    last_id: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Notification {
    subscription: Subscription,
    owner: Caller,
    marks: PrefixMap<()>,
    pending: PrefixMap<()>,
    /// Where fetching left off, so that what changes all the time does not keep the rest waiting.
    reached: Option<Prefix>,
    ordered: VecDeque<BestChange>,
    /// How much was dropped, because too much waited, and its owner was not told yet.
    lost: u64,
    told: Told,
}

/// What the last fetch told. Whether that was heard shows only in the next one: should the process end before
/// its reply is out, the next process tells it again.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Told {
    pending: Vec<Prefix>,
    ordered: Vec<BestChange>,
    lost: u64,
}

impl Notification {
    fn is_ordered(&self) -> bool {
        self.subscription.flags.contains(NotifyFlags::ORDERED)
    }

    fn wants(&self, to: Prefix) -> bool {
        !self.subscription.flags.contains(NotifyFlags::ONLY_MARKED) || self.marks.contains_key(&to)
    }

    /// Takes up to `count` of the destinations that wait, and says whether these were the last.
    fn fetch(&mut self, count: usize) -> Result<(Vec<Prefix>, bool)> {
        if let Some(lost) = self.tell_lost() {
            return Err(ErrorKind::NoSystemResources.because(format_args!(
                "{lost} destinations changed and were not fetched in time, they are dropped: read \
                 the table anew"
            )));
        }
        let mut prefixes = Vec::with_capacity(count.min(64));
        while prefixes.len() < count {
            let after = self.reached.and_then(|last| self.pending.iter_from(&last, false).next());
            let Some((prefix, ())) = after.or_else(|| self.pending.iter().next()) else { break };
            self.reached = Some(prefix);
            self.pending.remove(&prefix);
            prefixes.push(prefix);
        }
        let done = self.pending.is_empty();
        if done {
            // A map that was large keeps its size.
            self.pending = PrefixMap::default();
            self.reached = None;
        }
        self.told.pending.clone_from(&prefixes);
        Ok((prefixes, done))
    }

    /// How much was dropped since this was asked last; a fetch begins with it.
    fn tell_lost(&mut self) -> Option<u64> {
        let lost = mem::take(&mut self.lost);
        self.told = Told { lost, ..Told::default() };
        (lost > 0).then_some(lost)
    }

    /// Has what the last fetch told wait again.
    fn take_back(&mut self) {
        let Told { pending, mut ordered, lost } = mem::take(&mut self.told);
        self.lost += lost;
        // Who is to read all anew needs no page of it.
        if self.lost > 0 {
            return;
        }
        for to in pending {
            if self.wants(to) {
                self.pending.insert(to, ());
            }
        }
        ordered.extend(mem::take(&mut self.ordered));
        self.ordered = ordered.into();
    }
}

impl Notifications {
    fn owned(&self, table: TableId, id: NotificationId) -> Result<&Notification> {
        let found = self.by_table.get(&table).and_then(|all| all.get(&id));
        found.ok_or_else(|| no_such_registration(id))
    }
}

impl Notifications {
    /// No wake-up has reached anybody, nor has what was fetched last.
    pub(super) fn wake_all_again(&mut self) {
        let all: Vec<_> = self.all().collect();
        for (table, id) in all {
            if self.change(table, id, Notification::take_back).is_ok() {
                self.waking.insert((table, id));
            }
        }
        let Self { by_table, waking, .. } = self;
        waking.retain(|(table, id)| {
            by_table.get(table).and_then(|all| all.get(id)).is_some_and(Notification::is_waiting)
        });
    }

    fn all(&self) -> impl Iterator<Item = (TableId, NotificationId)> {
        let tables = self.by_table.iter();
        tables.flat_map(|(table, all)| all.keys().map(|id| (*table, *id)))
    }
}

impl Rib {
    /// Registers for change notification (RTMv2 rows CHG-01 to CHG-04). Nothing waits in the
    /// beginning: what is there already has to be enumerated.
    ///
    /// # Errors
    /// `NotSupported` for a view the table has not.
    pub fn register_for_changes(
        &mut self,
        mut subscription: Subscription,
        owner: Caller,
    ) -> Result<NotificationId> {
        let supported = self.policy.views(subscription.table)?;
        subscription.views = match subscription.views.within(supported)? {
            ViewSet::NONE => supported,
            some => some,
        };
        self.notifications.last_id += 1;
        let id = NotificationId(self.notifications.last_id);
        let notification = Notification {
            owner,
            marks: PrefixMap::default(),
            pending: PrefixMap::default(),
            reached: None,
            ordered: VecDeque::new(),
            lost: 0,
            told: Told::default(),
            subscription,
        };
        let table = notification.subscription.table;
        self.notifications.by_table.entry(table).or_default().insert(id, notification);
        Ok(id)
    }

    /// Ends a registration, with all that waits and is marked; without such a one nothing happens.
    pub fn deregister_from_changes(&mut self, table: TableId, id: NotificationId) {
        self.notifications.remove(table, id);
    }

    /// All registrations.
    pub fn registrations_for_changes(&self) -> impl Iterator<Item = (TableId, NotificationId)> {
        self.notifications.all()
    }

    /// Whether [`Rib::poll_wake_ups`] has something to tell.
    pub fn has_wake_ups(&self) -> bool {
        !self.notifications.waking.is_empty()
    }

    /// Whose owners have to be woken: once each, until all that waits was fetched (RTMv2 gap 17).
    pub fn poll_wake_ups(&mut self) -> Vec<WakeUp> {
        let waking = mem::take(&mut self.notifications.waking);
        let known = |(table, id): (TableId, NotificationId)| {
            let found = self.notifications.by_table.get(&table)?.get(&id)?;
            let bus_name = found.owner.bus_name.clone();
            Some(WakeUp { id, bus_name, context: found.subscription.context })
        };
        waking.into_iter().filter_map(known).collect()
    }

    /// Has a connection woken for all its registrations for which something waits: an earlier wake-up
    /// did not reach it.
    pub fn wake_again(&mut self, bus_name: &str) {
        let Notifications { by_table, waking, .. } = &mut self.notifications;
        for (table, all) in by_table {
            let own = all.iter().filter(|(_, found)| found.owner.bus_name == bus_name);
            waking.extend(own.filter(|(_, it)| it.is_waiting()).map(|(id, _)| (*table, *id)));
        }
    }

    /// Fetches up to `count` of the destinations that wait, as they are now, and says whether these
    /// were the last (RTMv2 rows CHG-14 to CHG-19).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there or keeps changes in order instead,
    /// `InvalidParameter` for a count of 0 or more than the page limit, `NoSystemResources`, once,
    /// when too many waited and were dropped.
    pub fn changed_destinations(
        &mut self,
        table: TableId,
        id: NotificationId,
        count: u32,
    ) -> Result<(Vec<DestinationView>, bool)> {
        let count = self.check_page(count)?;
        let found = self.notifications.owned(table, id)?;
        // An empty answer would look as if nothing had changed.
        if found.is_ordered() {
            return Err(ErrorKind::InvalidHandle.because(
                "the registration keeps changes in order (flag 0x20000) and collects no \
                 destinations: GetBestChanges fetches them",
            ));
        }
        let views = found.subscription.views;
        let (prefixes, done) =
            self.notifications.change(table, id, |found| found.fetch(count))??;
        let describe = |prefix: Prefix| match self.destination(table, prefix) {
            Some(there) if there.exists() => {
                self.describe(table, (prefix, there), Best::Overall, views)
            }
            _ => gone(prefix, views),
        };
        Ok((prefixes.into_iter().map(describe).collect(), done))
    }

    /// Drops what waits for these destinations; later changes are told again (RTMv2 row CHG-21).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there.
    pub fn ignore_changed(
        &mut self,
        table: TableId,
        id: NotificationId,
        destinations: &[Prefix],
    ) -> Result<()> {
        self.notifications.change(table, id, |found| {
            for to in destinations {
                found.pending.remove(to);
            }
            found.told.pending.retain(|to| !destinations.contains(to));
        })
    }

    /// Whether a change of the destination waits (RTMv2 row CHG-20). It may, as long as the owner was
    /// not told that changes were dropped.
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there.
    pub fn is_changed(&self, table: TableId, id: NotificationId, to: Prefix) -> Result<bool> {
        let found = self.notifications.owned(table, id)?;
        let may_be = found.lost > 0 && !found.is_ordered() && found.wants(to);
        Ok(may_be || found.pending.contains_key(&to))
    }

    /// Marks a destination, there or not, or takes its mark away (RTMv2 gaps 20 and 21).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there, `InvalidParameter` for a prefix of the
    /// other family, `NotEnoughMemory` when the owner or its user has marked too many.
    pub fn mark_destination(
        &mut self,
        table: TableId,
        id: NotificationId,
        (to, marked): (Prefix, bool),
    ) -> Result<()> {
        self.check_look(table, to, ViewSet::NONE)?;
        let found = self.notifications.owned(table, id)?;
        if marked && !found.marks.contains_key(&to) {
            self.check_room_for_mark(&found.owner)?;
        }
        self.notifications.change(table, id, |found| {
            if marked {
                found.marks.insert(to, ());
            } else {
                found.marks.remove(&to);
                if found.subscription.flags.contains(NotifyFlags::ONLY_MARKED) {
                    found.pending.remove(&to);
                }
            }
        })
    }

    fn check_room_for_mark(&self, owner: &Caller) -> Result<()> {
        let Caller { bus_name, uid } = owner;
        let marks = |is_meant: &dyn Fn(&Caller) -> bool| -> usize {
            let all = self.notifications.by_table.values().flat_map(BTreeMap::values);
            all.filter(|found| is_meant(&found.owner)).map(|found| found.marks.len()).sum()
        };
        let of_client = marks(&|owner| owner.bus_name == *bus_name);
        let of_user = marks(&|owner| owner.uid == *uid);
        let limits = self.policy.limits;
        for (count, most, whose) in [
            (of_client, limits.marks_per_client, "client"),
            (of_user, limits.marks_per_user, "user"),
        ] {
            if count >= most as usize {
                return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                    "{count} destinations are marked, the most for one {whose} (limit \
                     marks-per-{whose}): unmark some"
                )));
            }
        }
        Ok(())
    }

    /// Whether a destination is marked.
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there.
    pub fn is_marked(&self, table: TableId, id: NotificationId, to: Prefix) -> Result<bool> {
        Ok(self.notifications.owned(table, id)?.marks.contains_key(&to))
    }

    /// A destination changed: it waits from now on for those who want to hear of it.
    pub(super) fn note(&mut self, table: TableId, to: Prefix, change: Change) {
        if change.is_empty() {
            return;
        }
        let limits = &self.policy.limits;
        self.notifications.keep(table, limits, |found| {
            let Subscription { flags, views, .. } = found.subscription;
            let is_told = !found.is_ordered() && change.concerns(flags, views) && found.wants(to);
            if !is_told || found.lost > 0 {
                return;
            }
            found.pending.insert(to, ());
        });
    }
}

/// What is told of a destination that is not there any more.
fn gone(prefix: Prefix, views: ViewSet) -> DestinationView {
    DestinationView {
        prefix,
        changed: Timestamp::default(),
        views: ViewSet::NONE,
        per_view: views.iter().map(ViewRecord::empty).collect(),
    }
}

fn no_such_registration(id: NotificationId) -> Error {
    ErrorKind::InvalidHandle
        .because(format_args!("you have no registration {} for change notification", id.0))
}
