//! Hold-down: a destination's last route is remembered for a while after it was withdrawn.
//!
//! A destination is marked for it beforehand, by anyone. When the last route in a marked view is
//! withdrawn, the view holds it: protocols can go on telling that the way is gone. What a reader
//! would get wrong: all marks of a destination share one time, the longest asked for, and all its
//! holds end together (RTMv2 gap 9); a mark is used up by the hold it starts, and when the last one
//! is, so is their time: what is marked while a view holds has a time of its own.
//!
//! What is held counts for the user that asked for it, whoever offered it: else one could fill the
//! table with others' routes, or use up what others may have.

use serde::{Deserialize, Serialize};

use smallvec::SmallVec;

use super::{Rib, arena::Slot, deadlines::Due};
use crate::model::{
    Change, EntityId, ErrorKind, Moment, Now, Prefix, Result, Span, TableId, View, ViewSet,
};

/// The marks and held routes of a destination.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Hold {
    /// The views in which the last route to go will be held.
    marked: ViewSet,
    /// How long, for all that are marked.
    span: Span,
    /// The user that asked for the longest time, for which what is going to be held counts.
    user: u32,
    held: SmallVec<[Held; 2]>,
    /// When all that is held is let go; none for never, or while nothing is held.
    until: Option<Moment>,
}

/// A route that a view holds, and the user it counts for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Held {
    view: View,
    slot: Slot,
    user: u32,
}

impl Hold {
    /// The route held in the view.
    pub(super) fn held(&self, view: View) -> Option<Slot> {
        self.held.iter().find(|held| held.view == view).map(|held| held.slot)
    }

    /// All held routes, each once.
    pub(super) fn routes(&self) -> impl Iterator<Item = Slot> {
        self.each_once().map(|held| held.slot)
    }

    fn each_once(&self) -> impl Iterator<Item = Held> {
        let firsts = self.held.iter().enumerate().filter(|(place, held)| {
            self.held.iter().take(*place).all(|earlier| earlier.slot != held.slot)
        });
        firsts.map(|(_, held)| *held)
    }

    /// The views that hold a route.
    pub(super) fn views(&self) -> ViewSet {
        self.held.iter().fold(ViewSet::NONE, |views, held| views.union(held.view.only()))
    }

    /// When all that is held is let go; none for never.
    pub(super) fn until(&self) -> Option<Moment> {
        self.until
    }

    pub(super) fn is_running(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Rib {
    /// Marks a destination: the last route of each of these views to be withdrawn is held for this
    /// long (RTMv2 rows HOLD-01 to HOLD-08). Any entity may.
    ///
    /// # Errors
    /// `AccessDenied` for one that the entity's grant does not allow it routes to, `InvalidHandle` for a
    /// destination that is not there, `InvalidParameter` without a view or for
    /// longer than the limit, `NotSupported` for a view the table has not.
    pub fn hold_destination(
        &mut self,
        entity: EntityId,
        to: Prefix,
        views: ViewSet,
        span: Span,
    ) -> Result<()> {
        let entity = self.entities.active(entity)?;
        let (table, user) = (entity.key.table, entity.caller.uid);
        let views = self.check_look(table, to, views)?;
        if let Some(grant) = self.grant_of(entity)? {
            grant.check_place(to, views)?;
        }
        if views.is_empty() {
            return Err(ErrorKind::InvalidParameter.because("a hold needs at least one view"));
        }
        // Not shortened: a hold lasts as long as was asked for (RTMv2 row HOLD-07).
        let most = self.policy.limits.hold_time;
        if span.exceeds(most) {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "a hold that lasts {span}, it may be {most} milliseconds at most (limit hold-time)"
            )));
        }
        let found = self.tables.get_mut(&table).and_then(|table| table.destinations.get_mut(&to));
        let Some(destination) = found.filter(|destination| destination.exists()) else {
            return Err(ErrorKind::InvalidHandle.because(format_args!("there is no route to {to}")));
        };
        match &mut destination.hold {
            Some(hold) => {
                // The time of marks that are used up counts no more.
                if hold.marked.is_empty() || hold.span.max(span) != hold.span {
                    (hold.span, hold.user) = (span, user);
                }
                hold.marked = hold.marked.union(views);
            }
            None => {
                let held = SmallVec::new();
                let hold = Hold { marked: views, span, user, held, until: None };
                destination.hold = Some(Box::new(hold));
            }
        }
        Ok(())
    }

    /// A route is being withdrawn from these views; where it was the last and the view is marked,
    /// the view holds it from now on, if there is room for whom it counts. Returns those views.
    pub(super) fn begin_hold(
        &mut self,
        table: TableId,
        to: Prefix,
        (slot, views): (Slot, ViewSet),
        now: Moment,
    ) -> ViewSet {
        let Some(found) = self.tables.get_mut(&table) else { return ViewSet::NONE };
        let Some(destination) = found.destinations.get_mut(&to) else { return ViewSet::NONE };
        let left = destination.views(&self.routes);
        let Some(hold) = destination.hold.as_mut() else { return ViewSet::NONE };
        let ended = views.without(left);
        let begun = ended.intersection(hold.marked).without(hold.views());
        let user = hold.user;
        let owner = self.routes.get(slot).and_then(|route| self.entities.user(route.owner));
        // The route itself is still counted, and will not be as what it was.
        let others = found.users.count(user).saturating_sub(usize::from(owner == Some(user)));
        if begun.is_empty() || others >= self.policy.limits.routes_per_user as usize {
            return ViewSet::NONE;
        }
        // One end for all: the later one of those that run already and of the one that begins.
        let end = hold.span.end(now);
        let until = match hold.is_running() {
            true => hold.until.zip(end).map(|(earlier, end)| earlier.max(end)),
            false => end,
        };
        hold.marked = hold.marked.without(begun);
        hold.held.extend(begun.iter().map(|view| Held { view, slot, user }));
        if let Some(earlier) = std::mem::replace(&mut hold.until, until) {
            self.deadlines.remove(earlier, Due::Hold(table, to));
        }
        if let Some(until) = until {
            self.deadlines.insert(until, Due::Hold(table, to));
        }
        found.held += 1;
        found.users.charge(Some(user));
        begun
    }

    /// The time of a destination's holds is over.
    pub(super) fn end_hold(&mut self, table: TableId, to: Prefix, now: Now) {
        let Some(found) = self.tables.get_mut(&table) else { return };
        let Some(destination) = found.destinations.get_mut(&to) else { return };
        let Some(hold) = destination.hold.take() else { return };
        let views = hold.views();
        let held: SmallVec<[Held; 2]> = hold.each_once().collect();
        found.held = found.held.saturating_sub(held.len());
        held.iter().for_each(|held| found.users.discharge(Some(held.user)));
        if !hold.marked.is_empty() {
            // Marked anew while it held: that is for the next time.
            destination.hold = Some(Box::new(Hold {
                marked: hold.marked,
                span: hold.span,
                user: hold.user,
                held: SmallVec::new(),
                until: None,
            }));
        }
        self.touch(table, to, now);
        for held in held {
            self.free_route(held.slot);
        }
        self.settle_existence(table, to);
        // Forwarding never followed what was held (RTMv2 gap 9).
        let change = Change { all: views, best: views, forwarding: ViewSet::NONE };
        self.note(table, to, change);
    }
}
