//! One family's destinations in one instance, and the ways to look into them.
//!
//! Look-ups by prefix see only destinations that have a route in a requested view; with no view
//! asked for they see all, but tell nothing about any view (RTMv2 gap 3 and row VIEW-02).

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::{
    Rib,
    arena::{Arena, Slot},
    destination::Destination,
    effects::Failure,
    route::Route,
    routes::no_such_route,
};
use crate::model::{
    EntityId, ErrorKind, Family, FibStatus, ListId, Moment, NextHopId, Prefix, PrefixMap, Protocol,
    Result, RouteId, RouteState, TableId, Timestamp, View, ViewSet,
};

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Table {
    /// Some may be without routes, until the kernel was told so: they do not exist for anyone else.
    pub(super) destinations: PrefixMap<Destination>,
    pub(super) routes: usize,
    /// Routes in hold-down, which are none of those.
    pub(super) held: usize,
    pub(super) users: Users,
    existing: usize,
}

/// How many routes of a table count for each user: those of its entities, and those that are held
/// because it asked for it. The service's own count for none.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Users(BTreeMap<u32, usize>);

/// What is known of a destination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DestinationView {
    /// Its prefix.
    pub prefix: Prefix,
    /// When anything about it last changed.
    pub changed: Timestamp,
    /// The union of its routes' views.
    pub views: ViewSet,
    /// A record for each view asked for, ascending.
    pub per_view: Vec<ViewRecord>,
}

/// What is known of a destination in one view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ViewRecord {
    /// The view.
    pub view: View,
    /// How many routes it has there.
    pub routes: usize,
    /// The best of them, and its owner.
    pub best: Option<(RouteId, EntityId)>,
    /// The route in hold-down.
    pub held: Option<RouteId>,
    /// `RTM_DEST_FLAG_*`.
    pub flags: DestinationFlags,
}

/// `RTM_DEST_FLAG_*` (RTMv2 gap 46).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DestinationFlags(pub u32);

/// What is known of a route.
#[derive(Debug)]
pub struct RouteView<'a> {
    /// Its id.
    pub id: RouteId,
    /// The route.
    pub route: &'a Route,
    /// Its next hops, in the order given.
    pub next_hops: &'a [NextHopId],
    /// The list of its owner's it is in.
    pub list: Option<ListId>,
    /// How far it is in the kernel: only the best route of the unicast view gets there.
    pub fib: FibStatus,
    /// The kernel's words where it refused it, or some of its next hops.
    pub fib_error: Option<&'a str>,
    /// Whether it is from before its owner was away, and was not offered again.
    pub stale: bool,
    /// When it is let go, if it is withdrawn and held; none of such a one is for never.
    pub held_until: Option<Moment>,
}

/// Which destination is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LookUp {
    /// The one with exactly the prefix.
    Exact,
    /// The one with the prefix, or the longest that covers it.
    MostSpecific,
    /// The longest that covers the prefix and is shorter.
    LessSpecific,
}

/// Whose best route a record tells.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Best {
    /// Over all protocols.
    Overall,
    /// Among the routes of one protocol.
    Of(Protocol),
}

impl ViewRecord {
    /// Of a view in which there is nothing.
    pub(super) fn empty(view: View) -> Self {
        Self { view, routes: 0, best: None, held: None, flags: DestinationFlags::default() }
    }
}

impl DestinationFlags {
    /// The prefix is as long as its class has it.
    pub const NATURAL_NET: Self = Self(1);
    /// The kernel has it.
    pub const IN_KERNEL: Self = Self(2);
    /// The best route's flags keep packets from being forwarded.
    pub const DONT_FORWARD: Self = Self(4);

    fn with(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }
}

impl Users {
    pub(super) fn count(&self, user: u32) -> usize {
        self.0.get(&user).copied().unwrap_or_default()
    }

    pub(super) fn charge(&mut self, user: Option<u32>) {
        if let Some(user) = user {
            *self.0.entry(user).or_default() += 1;
        }
    }

    pub(super) fn discharge(&mut self, user: Option<u32>) {
        let Some(user) = user else { return };
        match self.count(user).saturating_sub(1) {
            0 => self.0.remove(&user),
            left => self.0.insert(user, left),
        };
    }

    /// What counted for one user counts for another from now on.
    pub(super) fn transfer(&mut self, from: u32, to: u32, count: usize) {
        if from == to || count == 0 {
            return;
        }
        match self.count(from).saturating_sub(count) {
            0 => self.0.remove(&from),
            left => self.0.insert(from, left),
        };
        *self.0.entry(to).or_default() += count;
    }
}

impl Table {
    /// Puts a new route, which counts for a user, to its destination, which then exists.
    pub(super) fn insert(
        &mut self,
        to: Prefix,
        slot: Slot,
        user: Option<u32>,
        routes: &Arena<Route>,
    ) {
        let destination = self.destinations.entry(to).or_default();
        self.existing += usize::from(!destination.exists());
        destination.place(slot, routes);
        self.routes += 1;
        self.users.charge(user);
    }

    /// Takes a removed route off its destination.
    pub(super) fn remove(&mut self, to: Prefix, slot: Slot, user: Option<u32>) {
        let Some(destination) = self.destinations.get_mut(&to) else { return };
        destination.remove(slot);
        self.routes = self.routes.saturating_sub(1);
        self.users.discharge(user);
    }

    /// Counts a destination out that has lost its last route or hold; says whether it has.
    pub(super) fn forget_if_gone(&mut self, to: Prefix) -> bool {
        let Some(destination) = self.destinations.get_mut(&to) else { return false };
        if destination.exists() {
            return false;
        }
        // A mark without a destination has nothing to hold.
        destination.hold = None;
        self.existing = self.existing.saturating_sub(1);
        self.drop_if_unused(to);
        true
    }

    /// Frees the memory of a destination that has no routes and nothing left to tell.
    pub(super) fn drop_if_unused(&mut self, to: Prefix) {
        if self.destinations.get(&to).is_some_and(|found| !found.exists() && !found.waiting) {
            self.destinations.remove(&to);
        }
    }
}

impl Rib {
    /// Finds a destination (RTMv2 rows LKP-01 to LKP-10).
    ///
    /// # Errors
    /// `NotFound` when there is none with a route in a view asked for.
    pub fn look_up(
        &self,
        table: TableId,
        prefix: Prefix,
        how: LookUp,
        best: Best,
        views: ViewSet,
    ) -> Result<DestinationView> {
        let views = self.check_look(table, prefix, views)?;
        let is_wanted = |found: Prefix| match how {
            LookUp::Exact => found == prefix,
            LookUp::MostSpecific => true,
            LookUp::LessSpecific => found != prefix,
        };
        let tables = self.tables.get(&table).into_iter();
        let covering = tables.flat_map(|table| table.destinations.cover(&prefix));
        // Asked for by its very name, a destination is also seen by what it holds (row HOLD-13).
        let holds = |destination: &Destination| {
            let held = destination.hold.as_ref().map_or(ViewSet::NONE, |hold| hold.views());
            how == LookUp::Exact && !held.intersection(views).is_empty()
        };
        let seen = covering.filter(|(found, destination)| {
            is_wanted(*found) && (self.is_seen(destination, views) || holds(destination))
        });
        // The walk goes from the shortest to the longest, so the last one is the answer.
        let found = seen.last().ok_or_else(|| {
            let what = match how {
                LookUp::Exact => "is for exactly",
                LookUp::MostSpecific => "covers",
                LookUp::LessSpecific => "is less specific than",
            };
            let observed = match how {
                LookUp::MostSpecific => self.tell_observed(table, prefix, 0),
                LookUp::Exact | LookUp::LessSpecific => String::new(),
            };
            ErrorKind::NotFound
                .because(format_args!("no route {what} {prefix} in these views{observed}"))
        })?;
        Ok(self.describe(table, found, best, views))
    }

    /// All candidates of a prefix, best rank first; none when there is no such destination.
    ///
    /// # Errors
    /// `InvalidParameter` for a prefix of the other family.
    pub fn routes(&self, table: TableId, prefix: Prefix) -> Result<Vec<RouteView<'_>>> {
        self.check_look(table, prefix, ViewSet::NONE)?;
        let slots = self.destination(table, prefix).map_or(&[][..], Destination::routes);
        Ok(slots.iter().filter_map(|slot| self.view_route(*slot)).collect())
    }

    /// A route of the table.
    ///
    /// # Errors
    /// `InvalidHandle` for an id that is no route's, not any more, or another table's.
    pub fn route(&self, table: TableId, id: RouteId) -> Result<RouteView<'_>> {
        let view = self.routes.find(id.0).and_then(|slot| self.view_route(slot));
        view.filter(|view| view.route.table == table).ok_or_else(|| no_such_route(id))
    }

    /// The table a route is in.
    pub fn table_of(&self, id: RouteId) -> Option<TableId> {
        Some(self.routes.get(self.routes.find(id.0)?)?.table)
    }

    /// How many destinations a table has.
    pub fn destination_count(&self, table: TableId) -> usize {
        self.tables.get(&table).map_or(0, |table| table.existing)
    }

    /// How many routes a table has.
    pub fn route_count(&self, table: TableId) -> usize {
        self.tables.get(&table).map_or(0, |table| table.routes)
    }

    /// Checks what every look into a table is asked with; returns the views to look in.
    pub(super) fn check_look(
        &self,
        table: TableId,
        prefix: Prefix,
        views: ViewSet,
    ) -> Result<ViewSet> {
        if prefix.family() != table.family {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("prefix {prefix} is not {}", table.family)));
        }
        views.within(self.policy.views(table)?)
    }

    pub(super) fn destination(&self, table: TableId, prefix: Prefix) -> Option<&Destination> {
        self.tables.get(&table)?.destinations.get(&prefix)
    }

    pub(super) fn is_seen(&self, destination: &Destination, views: ViewSet) -> bool {
        destination.exists()
            && (views.is_empty() || !destination.views(&self.routes).intersection(views).is_empty())
    }

    pub(super) fn view_route(&self, slot: Slot) -> Option<RouteView<'_>> {
        let route = self.routes.get(slot)?;
        let fib = match route.best_in.contains(View::UNICAST) {
            true => self.destination(route.table, route.to)?.fib,
            false => FibStatus::None,
        };
        let wish = || self.destination(route.table, route.to)?.wish;
        let failure = || self.failures.get(&(route.table, route.to)).map(Failure::as_str);
        let fib_error = match fib {
            FibStatus::Failed => failure(),
            // By some of its next hops and not by all, or as the next best route would.
            FibStatus::Installed => failure().or_else(|| self.group_fault(wish())),
            _ => None,
        };
        let owner = self.entities.known(route.owner);
        Some(RouteView {
            id: RouteId(self.routes.id(slot)?),
            route,
            next_hops: &self.next_hops.set(route.next_hops)?.members,
            list: self.list_of(route),
            fib,
            fib_error,
            stale: owner.is_some_and(|owner| owner.absences.number != route.absence),
            held_until: match route.state {
                RouteState::Created => None,
                RouteState::Deleting => {
                    self.destination(route.table, route.to)?.hold.as_ref()?.until()
                }
            },
        })
    }

    pub(super) fn describe(
        &self,
        table: TableId,
        (prefix, destination): (Prefix, &Destination),
        best: Best,
        views: ViewSet,
    ) -> DestinationView {
        let viability = self.policy.table(table).map(|settings| settings.viability);
        let viability = viability.unwrap_or_default();
        let record = |view| {
            let best = match best {
                Best::Overall => destination.best(view, &self.routes),
                Best::Of(protocol) => destination.best_of(protocol, view, viability, &self.routes),
            };
            let best = best
                .and_then(|slot| Some((RouteId(self.routes.id(slot)?), self.routes.get(slot)?)));
            let in_view = |slot: &&Slot| {
                self.routes.get(**slot).is_some_and(|route| route.views.contains(view))
            };
            ViewRecord {
                view,
                routes: destination.routes().iter().filter(in_view).count(),
                best: best.map(|(id, route)| (id, route.owner)),
                held: destination
                    .hold
                    .as_ref()
                    .and_then(|hold| self.routes.id(hold.held(view)?).map(RouteId)),
                flags: best.map_or_else(DestinationFlags::default, |(_, route)| {
                    let is_foreign = self.foreign.protocol_of(route).is_some();
                    flags(prefix, destination, view, route, is_foreign)
                }),
            }
        };
        DestinationView {
            prefix,
            changed: destination.changed,
            views: destination.views(&self.routes),
            per_view: views.iter().map(record).collect(),
        }
    }
}

fn flags(
    prefix: Prefix,
    destination: &Destination,
    view: View,
    best: &Route,
    is_foreign: bool,
) -> DestinationFlags {
    const FORWARDING_FLAGS: u16 = 0x000F;
    let in_kernel = view == View::UNICAST
        && best.best_in.contains(view)
        && (destination.fib == FibStatus::Installed || is_foreign);
    DestinationFlags::default()
        .with(DestinationFlags::NATURAL_NET, natural_length(prefix) == Some(prefix.length()))
        .with(DestinationFlags::IN_KERNEL, in_kernel)
        .with(DestinationFlags::DONT_FORWARD, best.flags.0 & FORWARDING_FLAGS != 0)
}

/// The length that the prefix's class had before there were lengths (RFC 791, section 3.2).
fn natural_length(prefix: Prefix) -> Option<u8> {
    let std::net::IpAddr::V4(address) = prefix.address() else {
        debug_assert_eq!(prefix.family(), Family::Ipv6, "the other family has no classes");
        return None;
    };
    match address.octets()[0] {
        0..=127 => Some(8),
        128..=191 => Some(16),
        192..=223 => Some(24),
        _ => None,
    }
}
