//! Change notification: who wants to hear of what, and what waits for them.
//!
//! A registration collects *destinations*, each once however often it changes, and what is told of
//! one is read when it is fetched. So a registration that is never read costs at most an entry for
//! each destination, and waking its owner is due once: when the first destination comes to wait.
//!
//! The exception is asked for: an ordered registration also keeps each change of a best route by
//! itself, as RTMv1 does. It is bounded in number; beyond that its owner has to read the table anew.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use super::{
    Rib,
    route::Route,
    table::{Best, DestinationView, RouteView, ViewRecord},
    waste::Piece,
};
use crate::model::{
    Caller, Change, EntityId, Error, ErrorKind, FibStatus, NextHopId, NotificationId, NotifyFlags,
    Prefix, PrefixMap, Result, RouteId, TableId, Timestamp, View, ViewSet,
};

/// What somebody wants to hear of.
#[derive(Clone, Debug, Eq, PartialEq)]
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

/// A change of the best route of a destination in one view.
#[derive(Clone, Debug)]
pub struct BestChange {
    /// The destination.
    pub to: Prefix,
    /// The view.
    pub view: View,
    /// The best route from then on.
    pub current: Option<RouteSnapshot>,
    /// The best route until then.
    pub previous: Option<RouteSnapshot>,
}

/// A route as it was.
#[derive(Clone, Debug)]
pub struct RouteSnapshot {
    id: RouteId,
    route: Route,
    next_hops: Box<[NextHopId]>,
}

/// The best routes of a destination before something happens to it, where anybody keeps count.
#[derive(Debug)]
pub(super) struct Before(Vec<(View, RouteSnapshot)>);

/// All registrations.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    by_table: BTreeMap<TableId, BTreeMap<NotificationId, Notification>>,
    /// Those whose owners have to be woken.
    waking: BTreeSet<(TableId, NotificationId)>,
    last_id: u64,
}

#[derive(Debug)]
struct Notification {
    subscription: Subscription,
    owner: Caller,
    marks: PrefixMap<()>,
    pending: PrefixMap<()>,
    /// Where fetching left off, so that what changes all the time does not keep the rest waiting.
    reached: Option<Prefix>,
    ordered: VecDeque<BestChange>,
    /// How many of them were dropped, because there were too many.
    lost: u64,
}

impl Notification {
    fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.ordered.is_empty() || self.lost > 0
    }

    fn is_ordered(&self) -> bool {
        self.subscription.flags.contains(NotifyFlags::ORDERED)
    }

    fn wants(&self, to: Prefix) -> bool {
        !self.subscription.flags.contains(NotifyFlags::ONLY_MARKED) || self.marks.contains_key(&to)
    }
}

impl Notifications {
    fn owned(&mut self, table: TableId, id: NotificationId) -> Result<&mut Notification> {
        let found = self.by_table.get_mut(&table).and_then(|all| all.get_mut(&id));
        found.ok_or_else(|| no_such_registration(id))
    }
}

impl RouteSnapshot {
    /// The route as it looked then.
    pub fn view(&self) -> RouteView<'_> {
        RouteView {
            id: self.id,
            route: &self.route,
            next_hops: &self.next_hops,
            list: None,
            fib: FibStatus::None,
            fib_error: None,
        }
    }

    /// Whether there is a difference that an ordered registration tells (RTMv2 row V1-10).
    fn differs(&self, other: &Self) -> bool {
        self.id != other.id
            || self.route.flags != other.route.flags
            || self.route.cost() != other.route.cost()
            || self.next_hops != other.next_hops
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
            subscription,
        };
        let table = notification.subscription.table;
        self.notifications.by_table.entry(table).or_default().insert(id, notification);
        Ok(id)
    }

    /// Ends a registration, with all that waits and is marked; without such a one nothing happens.
    pub fn deregister_from_changes(&mut self, table: TableId, id: NotificationId) {
        self.notifications.waking.remove(&(table, id));
        let Some(all) = self.notifications.by_table.get_mut(&table) else { return };
        let ended = all.remove(&id);
        if all.is_empty() {
            self.notifications.by_table.remove(&table);
        }
        if let Some(Notification { marks, pending, ordered, .. }) = ended {
            for prefixes in [marks, pending] {
                let count = prefixes.len();
                self.waste.add(Piece::Prefixes(prefixes), count);
            }
            let count = ordered.len();
            self.waste.add(Piece::Changes(ordered), count);
        }
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

    /// Wakes a connection once more for all that waits for it.
    pub fn wake_again(&mut self, bus_name: &str) {
        for (table, all) in &self.notifications.by_table {
            let waits = all
                .iter()
                .filter(|(_, found)| found.owner.bus_name == bus_name && found.is_waiting());
            self.notifications.waking.extend(waits.map(|(id, _)| (*table, *id)));
        }
    }

    /// Fetches up to `count` of the destinations that wait, as they are now, and says whether these
    /// were the last (RTMv2 rows CHG-14 to CHG-19).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there, `InvalidParameter` for a count of 0 or
    /// more than the page limit.
    pub fn changed_destinations(
        &mut self,
        table: TableId,
        id: NotificationId,
        count: u32,
    ) -> Result<(Vec<DestinationView>, bool)> {
        let count = self.check_page(count)?;
        let found = self.notifications.owned(table, id)?;
        let mut prefixes = Vec::with_capacity(count.min(64));
        while prefixes.len() < count {
            let after = found.reached.and_then(|last| found.pending.iter_from(&last, false).next());
            let Some((prefix, ())) = after.or_else(|| found.pending.iter().next()) else { break };
            found.reached = Some(prefix);
            found.pending.remove(&prefix);
            prefixes.push(prefix);
        }
        let done = found.pending.is_empty();
        if done {
            // A map that was large keeps its size.
            found.pending = PrefixMap::default();
            found.reached = None;
        }
        let views = found.subscription.views;
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
        let found = self.notifications.owned(table, id)?;
        for to in destinations {
            found.pending.remove(to);
        }
        Ok(())
    }

    /// Whether a change of the destination waits (RTMv2 row CHG-20).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there.
    pub fn is_changed(&mut self, table: TableId, id: NotificationId, to: Prefix) -> Result<bool> {
        Ok(self.notifications.owned(table, id)?.pending.contains_key(&to))
    }

    /// Marks a destination, there or not, or takes its mark away (RTMv2 gaps 20 and 21).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there, `InvalidParameter` for a prefix of the
    /// other family, `NotEnoughMemory` when too many are marked.
    pub fn mark_destination(
        &mut self,
        table: TableId,
        id: NotificationId,
        (to, marked): (Prefix, bool),
    ) -> Result<()> {
        self.check_look(table, to, ViewSet::NONE)?;
        let most = self.policy.limits.routes as usize;
        let found = self.notifications.owned(table, id)?;
        if marked {
            if found.marks.len() >= most && !found.marks.contains_key(&to) {
                return Err(ErrorKind::NotEnoughMemory
                    .because(format_args!("{most} destinations are marked, the most")));
            }
            found.marks.insert(to, ());
        } else {
            found.marks.remove(&to);
            if found.subscription.flags.contains(NotifyFlags::ONLY_MARKED) {
                found.pending.remove(&to);
            }
        }
        Ok(())
    }

    /// Whether a destination is marked.
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not there.
    pub fn is_marked(&mut self, table: TableId, id: NotificationId, to: Prefix) -> Result<bool> {
        Ok(self.notifications.owned(table, id)?.marks.contains_key(&to))
    }

    /// Takes up to `count` changes of best routes in the order they happened, and says whether these
    /// were the last (RTMv2 rows V1-08 to V1-10).
    ///
    /// # Errors
    /// `InvalidHandle` for a registration that is not ordered or not there, `InvalidParameter` for a
    /// count of 0 or more than the page limit, `NoSystemResources`, once, when changes were lost.
    pub fn best_changes(
        &mut self,
        table: TableId,
        id: NotificationId,
        count: u32,
    ) -> Result<(Vec<BestChange>, bool)> {
        let count = self.check_page(count)?;
        let found = self.notifications.owned(table, id)?;
        if !found.is_ordered() {
            return Err(ErrorKind::InvalidHandle
                .because("the registration keeps no order, flag 0x20000 asks for it"));
        }
        if found.lost > 0 {
            let lost = mem::take(&mut found.lost);
            return Err(ErrorKind::NoSystemResources.because(format_args!(
                "{lost} changes were not fetched in time and are lost: read the table anew"
            )));
        }
        let some = found.ordered.len().min(count);
        let page = found.ordered.drain(..some).collect();
        let done = found.ordered.is_empty();
        if done {
            found.ordered = VecDeque::new();
        }
        Ok((page, done))
    }

    /// A destination changed: it waits from now on for those who want to hear of it.
    pub(super) fn note(&mut self, table: TableId, to: Prefix, change: Change) {
        if change.is_empty() {
            return;
        }
        let Some(all) = self.notifications.by_table.get_mut(&table) else { return };
        for (id, found) in all {
            let Subscription { flags, views, .. } = found.subscription;
            if !found.is_ordered() && change.concerns(flags, views) && found.wants(to) {
                if !found.is_waiting() {
                    self.notifications.waking.insert((table, *id));
                }
                found.pending.insert(to, ());
            }
        }
    }

    /// The best routes of a destination, before something happens to it; none while nobody has an
    /// ordered registration.
    pub(super) fn before(&self, table: TableId, to: Prefix) -> Option<Before> {
        let mut all = self.notifications.by_table.get(&table)?.values();
        all.any(Notification::is_ordered).then(|| Before(self.bests(table, to)))
    }

    /// Keeps what became of the best routes since; `by` is told nothing of its own doing. What
    /// happens by itself, such as an expiry, and what links and next hops do to routes, is nobody's
    /// doing (RTMv2 row V1-08).
    pub(super) fn record(
        &mut self,
        (table, to): (TableId, Prefix),
        before: Option<Before>,
        by: Option<EntityId>,
    ) {
        let Some(Before(before)) = before else { return };
        let after = self.bests(table, to);
        let of = |bests: &[(View, RouteSnapshot)], view: View| {
            bests.iter().find(|(known, _)| *known == view).map(|(_, best)| best.clone())
        };
        let doer = by.and_then(|id| self.entities.active(id).ok());
        let doer = doer.map(|entity| entity.caller.bus_name.clone());
        let most = self.policy.limits.queued_changes as usize;
        let supported = self.policy.views(table).unwrap_or_default();
        let Some(all) = self.notifications.by_table.get_mut(&table) else { return };
        for view in supported.iter() {
            let (previous, current) = (of(&before, view), of(&after, view));
            let same = match (&previous, &current) {
                (None, None) => true,
                (Some(previous), Some(current)) => !current.differs(previous),
                _ => false,
            };
            if same {
                continue;
            }
            for (id, found) in all.iter_mut() {
                let told = found.is_ordered()
                    && found.subscription.views.contains(view)
                    && Some(&found.owner.bus_name) != doer.as_ref()
                    && found.wants(to);
                if !told {
                    continue;
                }
                if !found.is_waiting() {
                    self.notifications.waking.insert((table, *id));
                }
                if found.ordered.len() >= most {
                    let count = found.ordered.len();
                    found.lost += count as u64 + 1;
                    self.waste.add(Piece::Changes(mem::take(&mut found.ordered)), count);
                } else if found.lost > 0 {
                    found.lost += 1;
                } else {
                    let (current, previous) = (current.clone(), previous.clone());
                    found.ordered.push_back(BestChange { to, view, current, previous });
                }
            }
        }
    }

    fn bests(&self, table: TableId, to: Prefix) -> Vec<(View, RouteSnapshot)> {
        let Some(destination) = self.destination(table, to) else { return Vec::new() };
        let snapshot = |view: View| {
            let view_of = self.view_route(destination.best(view, &self.routes)?)?;
            let (id, route) = (view_of.id, view_of.route.clone());
            Some((view, RouteSnapshot { id, route, next_hops: view_of.next_hops.into() }))
        };
        let views = destination.views(&self.routes);
        views.iter().filter_map(snapshot).collect()
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
