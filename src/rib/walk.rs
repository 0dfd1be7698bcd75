//! Walks: ordered reading of a table in pages, while it changes.
//!
//! A walk remembers the last prefix it has dealt with, not a place in the table, so changes around
//! it cost nothing: what is there throughout is returned exactly once, what comes or goes meanwhile
//! may or may not appear (RTMv2 gap 13). The routes of one destination that do not fit on a page
//! are remembered by id, so a change of their order between two pages loses none.
//!
//! A page also ends after it has looked at a bounded number of destinations, so that a walk that
//! finds nothing holds nobody up: a page may be short, or empty, before the end.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    Rib,
    matching::Match,
    table::{Best, DestinationView, RouteView},
};
use crate::model::{EntityId, ErrorKind, Prefix, Result, RouteId, TableId, View, ViewSet};

/// Where a walk begins and ends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Start {
    /// The whole table.
    Beginning,
    /// From this prefix, itself included, to the end.
    At(Prefix),
    /// This prefix and all that it covers.
    Within(Prefix),
    /// This prefix alone.
    Only(Prefix),
}

/// What to walk over.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WalkSettings {
    /// The table.
    pub table: TableId,
    /// Only what is in one of these; none for all.
    pub views: ViewSet,
    /// Where to begin.
    pub start: Start,
    /// Only destinations of which one of these owns a best route, or only their routes.
    pub owned_by: Option<Vec<EntityId>>,
}

/// A reader's place in a table.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Walk {
    settings: WalkSettings,
    /// The last prefix dealt with.
    last: Option<Prefix>,
    /// Routes of that prefix that did not fit on the page.
    rest: VecDeque<RouteId>,
    done: bool,
}

/// How many destinations a page looks at for each item it may return.
const LOOKS_PER_ITEM: usize = 4;

impl Walk {
    /// Whether everything has been returned.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn is_own(&self, owner: EntityId) -> bool {
        self.settings.owned_by.as_ref().is_none_or(|own| own.contains(&owner))
    }
}

impl Rib {
    /// A walk at its beginning.
    ///
    /// # Errors
    /// `NotSupported` for a view the table has not, `InvalidParameter` for a prefix of the other
    /// family.
    pub fn walk(&self, mut settings: WalkSettings) -> Result<Walk> {
        let prefix = match settings.start {
            Start::Beginning => Prefix::default_route(settings.table.family),
            Start::At(prefix) | Start::Within(prefix) | Start::Only(prefix) => prefix,
        };
        settings.views = self.check_look(settings.table, prefix, settings.views)?;
        Ok(Walk { settings, last: None, rest: VecDeque::new(), done: false })
    }

    /// The next destinations, `count` at most.
    ///
    /// # Errors
    /// `InvalidParameter` for a count of 0 or more than the page limit.
    pub fn next_destinations(
        &self,
        walk: &mut Walk,
        best: Best,
        count: u32,
    ) -> Result<Vec<DestinationView>> {
        let count = self.check_page(count)?;
        let mut page = Vec::new();
        let mut looks = count * LOOKS_PER_ITEM;
        while page.len() < count && looks > 0 && !walk.done {
            looks -= 1;
            let Some((prefix, destination)) = self.step(walk) else { break };
            let owns_best = |view: View| {
                let best = destination.best(view, &self.routes);
                best.and_then(|slot| self.routes.get(slot))
                    .is_some_and(|route| walk.is_own(route.owner))
            };
            let views = walk.settings.views;
            let owned = walk.settings.owned_by.is_none() || views.iter().any(owns_best);
            if owned && self.is_seen(destination, views) {
                page.push(self.describe(walk.settings.table, (prefix, destination), best, views));
            }
        }
        Ok(page)
    }

    /// The next routes, `count` at most; those of one destination in order of rank.
    ///
    /// # Errors
    /// `InvalidParameter` for a count of 0 or more than the page limit.
    pub fn next_routes(
        &self,
        walk: &mut Walk,
        wanted: &Match,
        count: u32,
    ) -> Result<Vec<RouteView<'_>>> {
        let count = self.check_page(count)?;
        let mut page = Vec::new();
        let mut looks = count * LOOKS_PER_ITEM;
        while page.len() < count && !walk.done {
            if let Some(id) = walk.rest.pop_front() {
                let view = self.routes.find(id.0).and_then(|slot| self.view_route(slot));
                page.extend(view.filter(|view| self.is_wanted(view, walk, wanted)));
                continue;
            }
            if looks == 0 {
                break;
            }
            looks -= 1;
            let Some((_, destination)) = self.step(walk) else { break };
            // What is held is in no view, so it is seen only by who asks for none (row HOLD-12).
            let held = destination.hold.as_ref().filter(|_| walk.settings.views.is_empty());
            let held = held.into_iter().flat_map(|hold| hold.routes());
            let slots = destination.routes().iter().copied().chain(held);
            walk.rest.extend(slots.filter_map(|slot| self.routes.id(slot)).map(RouteId));
        }
        Ok(page)
    }

    /// Moves the walk on by one destination.
    fn step(&self, walk: &mut Walk) -> Option<(Prefix, &super::destination::Destination)> {
        let table = self.tables.get(&walk.settings.table);
        let next = table.and_then(|table| match (walk.last, walk.settings.start) {
            (Some(last), _) => table.destinations.iter_from(&last, false).next(),
            (None, Start::Beginning) => table.destinations.iter().next(),
            (None, Start::At(prefix) | Start::Within(prefix) | Start::Only(prefix)) => {
                table.destinations.iter_from(&prefix, true).next()
            }
        });
        let next = next.filter(|(prefix, _)| match walk.settings.start {
            Start::Within(range) => range.covers(*prefix),
            Start::Only(only) => only == *prefix,
            Start::Beginning | Start::At(_) => true,
        });
        match next {
            Some((prefix, _)) => walk.last = Some(prefix),
            None => walk.done = true,
        }
        next
    }

    fn is_wanted(&self, view: &RouteView<'_>, walk: &Walk, wanted: &Match) -> bool {
        walk.is_own(view.route.owner) && self.is_match(view, wanted, walk.settings.views)
    }

    pub(super) fn check_page(&self, count: u32) -> Result<usize> {
        let most = self.policy.limits.handles;
        if count == 0 || count > most {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "a page of {count} items, it must be from 1 to {most} (limit max-handles)"
            )));
        }
        Ok(count as usize)
    }
}
