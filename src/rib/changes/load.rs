//! How much waits, and for whom: counted for each user, and dropped where it is too much.

use serde::{Deserialize, Serialize};

use std::{collections::BTreeMap, mem};

use smallvec::SmallVec;

use super::{Notification, Notifications, no_such_registration};
use crate::{
    model::{NotificationId, Result, TableId},
    rib::{
        Limits,
        waste::{Piece, Waste},
    },
};

/// How much waits for all registrations of each account.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Loads(BTreeMap<Account, usize>);

/// What is counted together: a user's destinations that wait, or its changes in order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Account {
    user: u32,
    ordered: bool,
}

impl Account {
    fn of(notification: &Notification) -> Self {
        Self { user: notification.owner.uid, ordered: notification.is_ordered() }
    }

    fn most(self, limits: &Limits) -> usize {
        match self.ordered {
            true => limits.queued_changes_per_user as usize,
            false => limits.pending_destinations_per_user as usize,
        }
    }
}

impl Loads {
    /// A registration's load was, and is: returns that of its account.
    fn change(&mut self, account: Account, before: usize, after: usize) -> usize {
        let load = self.0.entry(account).or_default();
        debug_assert!(*load >= before, "{account:?} has less than one of its registrations");
        *load = (*load + after).saturating_sub(before);
        match *load {
            0 => self.0.remove(&account).unwrap_or_default(),
            some => some,
        }
    }
}

impl Notification {
    /// How much waits: destinations, or changes in order.
    fn load(&self) -> usize {
        self.pending.len() + self.ordered.len()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.load() > 0 || self.lost > 0
    }

    /// How much of it may wait.
    fn most(&self, limits: &Limits) -> usize {
        match self.is_ordered() {
            true => limits.queued_changes as usize,
            false => limits.pending_destinations as usize,
        }
    }

    /// Drops all that waits.
    fn lose(&mut self, waste: &mut Waste) {
        self.lost += self.load() as u64;
        self.reached = None;
        let (pending, ordered) = (mem::take(&mut self.pending), mem::take(&mut self.ordered));
        let counts = (pending.len(), ordered.len());
        waste.add(Piece::Prefixes(pending), counts.0);
        waste.add(Piece::Changes(ordered), counts.1);
    }
}

impl Notifications {
    /// Does something to a registration.
    ///
    /// # Errors
    /// `InvalidHandle` for one that is not there.
    pub(super) fn change<T>(
        &mut self,
        table: TableId,
        id: NotificationId,
        f: impl FnOnce(&mut Notification) -> T,
    ) -> Result<T> {
        let found = self.by_table.get_mut(&table).and_then(|all| all.get_mut(&id));
        let found = found.ok_or_else(|| no_such_registration(id))?;
        let before = found.load();
        let value = f(found);
        self.loads.change(Account::of(found), before, found.load());
        Ok(value)
    }

    /// Ends a registration, with all that waits and is marked; without such a one nothing happens.
    pub(super) fn remove(&mut self, table: TableId, id: NotificationId) {
        self.waking.remove(&(table, id));
        let Some(all) = self.by_table.get_mut(&table) else { return };
        let Some(mut ended) = all.remove(&id) else { return };
        if all.is_empty() {
            self.by_table.remove(&table);
        }
        self.loads.change(Account::of(&ended), ended.load(), 0);
        ended.lose(&mut self.waste);
        let marks = ended.marks.len();
        self.waste.add(Piece::Prefixes(ended.marks), marks);
    }

    /// Has each registration of a table keep something, if it is for it. Its owner has to be woken
    /// if nothing waited before.
    pub(super) fn keep(
        &mut self,
        table: TableId,
        limits: &Limits,
        mut keep: impl FnMut(&mut Notification),
    ) {
        let mut overfull = SmallVec::<[Account; 2]>::new();
        let Self { by_table, waking, loads, waste, .. } = self;
        for (id, found) in by_table.get_mut(&table).into_iter().flatten() {
            let (before, was_waiting) = (found.load(), found.is_waiting());
            keep(found);
            // What was told once more may be too much already, and waits for more to come.
            if found.load() > before && found.load() > found.most(limits) {
                found.lose(waste);
            }
            if found.is_waiting() && !was_waiting {
                waking.insert((table, *id));
            }
            let account = Account::of(found);
            if found.load() != before
                && loads.change(account, before, found.load()) > account.most(limits)
                && !overfull.contains(&account)
            {
                overfull.push(account);
            }
        }
        for account in overfull {
            self.relieve(account, account.most(limits));
        }
    }

    /// Drops what waits for the fullest registrations of an account until the rest is not too much.
    fn relieve(&mut self, account: Account, most: usize) {
        let all = self.by_table.values_mut().flat_map(|all| all.values_mut());
        let own = all.filter(|found| Account::of(found) == account);
        let Some(fullest) = own.max_by_key(|found| found.load()) else { return };
        let before = fullest.load();
        fullest.lose(&mut self.waste);
        if before > 0 && self.loads.change(account, before, 0) > most {
            self.relieve(account, most);
        }
    }
}
