//! The RIB with a note of each command, so that another process can do the same again.
//!
//! The RIB does the same whenever it is told the same: it asks no clock, no kernel and nobody else. So
//! what is kept is what it was told, and the state need not be compared, merged or invented again:
//! ids, change sets and deadlines come out as they were. What a reader would get wrong: a refused command
//! is noted too, because refusing may use up an id, or say once that changes were dropped.
//!
//! The RIB can only be looked at here, not changed past the notes: a command that is not in the list
//! below does not compile for those who share it.

use std::{collections::BTreeMap, net::IpAddr, ops::Deref, sync::Arc};

use postcard::take_from_bytes;
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Caller, ChangeFlags, EntityId, FibCounts, FibStatus, GroupId, InterfaceIndex,
        KernelProtocol, ListId, NextHopId, NotificationId, Now, Preference, Prefix, Protocol,
        Result, RouteId, Span, TableId, ViewSet, VrfPlace,
    },
    rib::{
        Amendment, Best, BestChange, DestinationView, Effect, FibResult, ForeignRoute, GroupNews,
        LinkNews, Match, NextHopOffer, NextHopWalk, Offer, Policy, Profile, Progress, Question,
        Reapplication, Registration, Requeue, Rib, RouteView, Selection, StaticChange, StaticMatch,
        StaticRoute, StaticsConfigured, Subscription, Sweep, Verdict, WakeUp, Walk, Waste,
        Withdrawal,
    },
};

/// The RIB, what else clients hold, and what happened to both since the last [`Ledger::take_notes`].
#[derive(Debug, Deserialize, Serialize)]
pub struct Ledger {
    rib: Rib,
    /// The configuration in force, before anybody changed a level by hand.
    configured: Policy,
    /// Another number whenever what clients offered was lost.
    epoch: u64,
    /// The bus that the connections are on; empty before there was one.
    bus: String,
    /// Objects that clients made, by path.
    objects: BTreeMap<String, Object>,
    last_enumeration: u64,
    #[serde(skip)]
    notes: Notes,
}

/// What happened, in the words of [`Ledger::redo`].
#[derive(Debug, Default)]
struct Notes {
    /// Nobody wants them.
    are_off: bool,
    bytes: Vec<u8>,
    /// Something could not be written down.
    fault: Option<postcard::Error>,
}

/// An object on the bus that a client made, with its state where the RIB has none of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Object {
    /// Who made it.
    pub owner: Caller,
    /// What it stands for.
    pub kind: ObjectKind,
}

/// What an object that a client made stands for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum ObjectKind {
    /// A registration for change notification.
    Notification(TableId, NotificationId),
    /// A list of an entity's routes.
    RouteList(EntityId, ListId),
    /// A registered entity, and the systemd unit of who registered it.
    Entity(EntityId, Arc<str>),
    /// A place among the destinations of a table.
    Destinations(Walk, Best),
    /// A place among the routes of a table.
    Routes(Walk, Match),
    /// A place among the caller's next hops.
    NextHops(NextHopWalk),
}

/// Why notes cannot be followed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// They do not hold together.
    #[error("{0}")]
    Encoding(#[from] postcard::Error),
    /// A command that this version does not have.
    #[error("there is no command {0}")]
    Unknown(u32),
}

impl Deref for Ledger {
    type Target = Rib;

    fn deref(&self) -> &Rib {
        &self.rib
    }
}

/// How a parameter is passed: by value, by reference, or to be changed.
macro_rules! parameter {
    (val $kind:ty) => {
        $kind
    };
    (by $kind:ty) => {
        &$kind
    };
    (to $kind:ty) => {
        &mut $kind
    };
}

/// What a parameter is read as.
macro_rules! owned {
    (by $kind:ty) => {
        <$kind as ToOwned>::Owned
    };
    ($how:ident $kind:ty) => {
        $kind
    };
}

macro_rules! pass {
    (val $value:expr) => {
        $value
    };
    (by $value:expr) => {
        &$value
    };
    (to $value:expr) => {
        &mut { $value }
    };
}

/// Commands that are noted. Their numbers are for ever: one that goes leaves a gap.
macro_rules! noted {
    ($($tag:literal $name:ident($($arg:ident: $how:ident $kind:ty),*) -> $result:ty;)*) => {
        impl Ledger {
            $(
                #[doc = concat!("[`Rib::", stringify!($name), "`], noted.")]
                ///
                /// # Errors
                /// As there.
                pub fn $name(&mut self, $($arg: parameter!($how $kind)),*) -> $result {
                    let before = self.notes.add(&($tag, $(&$arg,)*));
                    let done = self.rib.$name($($arg),*);
                    if done.is_nothing() {
                        self.notes.bytes.truncate(before);
                    }
                    done
                }
            )*

            fn redo_in_rib<'n>(&mut self, tag: u32, notes: &'n [u8]) -> std::result::Result<&'n [u8], Unreadable> {
                match tag {
                    $($tag => {
                        let (($($arg,)*), rest) =
                            take_from_bytes::<($(owned!($how $kind),)*)>(notes)?;
                        let _ = self.rib.$name($(pass!($how $arg)),*);
                        Ok(rest)
                    })*
                    unknown => Err(Unreadable::Unknown(unknown)),
                }
            }
        }
    };
}

/// Commands that are not: what they are about begins anew with each process.
macro_rules! passing {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl Ledger {
            $(
                #[doc = concat!("[`Rib::", stringify!($name), "`], of which nothing has to be kept.")]
                pub fn $name(&mut self, $($arg: $kind),*) -> $result {
                    self.rib.$name($($arg),*)
                }
            )*
        }
    };
}

noted! {
    // Owners.
    16u32 register(registration: val Registration, caller: val Caller, now: val Now) -> Result<Profile>;
    17u32 deregister(id: val EntityId) -> Result<()>;
    19u32 withdraw(id: val EntityId, count: val usize, now: val Now) -> Withdrawal;
    20u32 block_methods(id: val EntityId, block: val bool) -> Result<()>;
    21u32 handle_client_gone(bus_name: by str, now: val Now) -> Vec<EntityId>;
    22u32 linger(id: val EntityId, now: val Now) -> Result<()>;
    23u32 sweep(id: val EntityId, count: val usize, now: val Now) -> Result<Sweep>;
    // What they offer.
    32u32 add_route(owner: val EntityId, offer: by Offer<'_>, how: val ChangeFlags, now: val Now)
        -> Result<(RouteId, ChangeFlags)>;
    33u32 update_route(owner: val EntityId, id: val RouteId, changes: by Amendment<'_>, now: val Now)
        -> Result<ChangeFlags>;
    34u32 delete_route(owner: val EntityId, id: val RouteId, now: val Now) -> Result<ChangeFlags>;
    35u32 delete_selected(work: to Selection, count: val usize, now: val Now) -> Progress;
    36u32 add_next_hop(owner: val EntityId, offer: val NextHopOffer<'_>) -> Result<(NextHopId, bool)>;
    37u32 delete_next_hop(owner: val EntityId, id: val NextHopId) -> Result<()>;
    38u32 hold_destination(entity: val EntityId, to: val Prefix, views: val ViewSet, span: val Span)
        -> Result<()>;
    39u32 set_opaque(entity: val EntityId, to: val Prefix, bytes: by [u8]) -> Result<()>;
    40u32 create_route_list(owner: val EntityId) -> Result<ListId>;
    41u32 delete_route_list(id: val ListId) -> ();
    42u32 move_to_list(owner: val EntityId, list: val Option<ListId>, routes: by [RouteId]) -> Result<()>;
    43u32 rewind_list(owner: val EntityId, id: val ListId) -> Result<()>;
    44u32 next_listed(owner: val EntityId, id: val ListId, count: val u32)
        -> Result<(Vec<RouteView<'_>>, bool)>;
    // What they hear.
    48u32 register_for_changes(subscription: val Subscription, owner: val Caller)
        -> Result<NotificationId>;
    49u32 deregister_from_changes(table: val TableId, id: val NotificationId) -> ();
    50u32 changed_destinations(table: val TableId, id: val NotificationId, count: val u32)
        -> Result<(Vec<DestinationView>, bool)>;
    51u32 ignore_changed(table: val TableId, id: val NotificationId, destinations: by [Prefix])
        -> Result<()>;
    52u32 mark_destination(table: val TableId, id: val NotificationId, which: val (Prefix, bool))
        -> Result<()>;
    53u32 best_changes(table: val TableId, id: val NotificationId, count: val u32)
        -> Result<(Vec<BestChange>, bool)>;
    54u32 take_fib_results(owner: val EntityId, count: val usize) -> Vec<FibResult>;
    // Time.
    64u32 handle_deadlines(count: val usize, now: val Now) -> ();
    65u32 poll_questions() -> Vec<Question>;
    66u32 answer_expiry(question: by Question, verdict: val Verdict, now: val Now) -> ();
    67u32 reelect(count: val usize) -> Progress;
    // Administrators.
    80u32 set_level(protocol: val Protocol, level: val Preference) -> ();
    81u32 reapply(work: to Reapplication, count: val usize, now: val Now) -> Progress;
    82u32 set_pushed(table: val TableId, pushed: val bool) -> Result<Requeue>;
    83u32 requeue(work: to Requeue, count: val usize) -> Progress;
    84u32 add_static_route(table: val TableId, route: val StaticRoute, now: val Now)
        -> Result<StaticChange>;
    85u32 restore_static_route(table: val TableId, route: val StaticRoute, now: val Now) -> ();
    86u32 remove_static_route(table: val TableId, to: val Prefix, which: by StaticMatch, now: val Now)
        -> Result<StaticChange>;
    87u32 undo_static(change: val StaticChange, now: val Now) -> ();
    88u32 settle_static_routes(now: val Now) -> ();
    89u32 configure_static_routes(routes: val Vec<(TableId, StaticRoute)>, now: val Now)
        -> StaticsConfigured;
    // The kernel.
    96u32 handle_link(index: val InterfaceIndex, name: by str, up: val bool) -> bool;
    97u32 handle_vrf_place(index: val InterfaceIndex, place: val VrfPlace) -> bool;
    98u32 handle_link_gone(index: val InterfaceIndex) -> ();
    99u32 handle_address(index: val InterfaceIndex, address: val IpAddr, network: val Prefix) -> bool;
    100u32 handle_address_gone(index: val InterfaceIndex, address: val IpAddr, network: val Prefix) -> ();
    101u32 handle_links_unknown() -> ();
    102u32 handle_links_complete() -> ();
    // Not what is read again and found as it was: of that, the ledger tells the RIB alone.
    104u32 handle_foreign_route(table: val TableId, route: val ForeignRoute, now: val Now) -> Result<()>;
    105u32 handle_foreign_gone(table: val TableId, route: by ForeignRoute, now: val Now) -> ();
    // What the kernel has heard of is nobody's business here, but a destination without routes stays
    // until then, and with it the time of its last change.
    107u32 poll_effects(count: val usize) -> Vec<Effect>;
    108u32 begin_anew() -> ();
}

passing! {
    poll_groups(count: usize) -> Vec<GroupNews>;
    poll_link_news() -> LinkNews;
    poll_foreign_entities() -> Vec<EntityId>;
    poll_departed() -> Vec<EntityId>;
    handle_foreign_unknown(table: TableId, protocol: KernelProtocol) -> ();
    poll_wake_ups() -> Vec<WakeUp>;
    poll_fib_listeners() -> Vec<(EntityId, String)>;
    poll_waste() -> Waste;
    wake_again(bus_name: &str) -> ();
    tell_results_again(bus_name: &str) -> ();
    handle_fib_counts(table: TableId, counts: FibCounts) -> ();
    handle_group_fault(id: GroupId, words: Option<String>) -> ();
}

/// Commands about the ledger itself, and those of which not every one is noted.
mod tag {
    pub(super) const BUS: u32 = 1;
    pub(super) const OPEN: u32 = 2;
    pub(super) const CLOSE: u32 = 3;
    pub(super) const RECONFIGURE: u32 = 4;
    pub(super) const FIB: u32 = 5;
    pub(super) const ENUMERATION: u32 = 6;
}

/// Whether a command made no difference.
trait Outcome {
    fn is_nothing(&self) -> bool {
        false
    }
}

impl Outcome for () {}
impl Outcome for Progress {}
impl Outcome for bool {}
impl<T> Outcome for Result<T> {}

impl Outcome for Withdrawal {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl Outcome for StaticsConfigured {
    fn is_nothing(&self) -> bool {
        !self.changed
    }
}

impl<T> Outcome for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl Notes {
    /// Adds one; returns how long they were before.
    fn add(&mut self, note: &impl Serialize) -> usize {
        let before = self.bytes.len();
        if self.are_off || self.fault.is_some() {
            return before;
        }
        match postcard::to_extend(note, std::mem::take(&mut self.bytes)) {
            Ok(bytes) => self.bytes = bytes,
            Err(error) => self.fault = Some(error),
        }
        before
    }
}

impl Ledger {
    /// A ledger that begins with this RIB.
    pub fn new(rib: Rib, epoch: u64) -> Self {
        let configured = rib.policy().clone();
        let (bus, objects, notes) = (String::new(), BTreeMap::new(), Notes::default());
        Self { rib, configured, epoch, bus, objects, last_enumeration: 0, notes }
    }

    /// The same, for a process that keeps nothing.
    #[must_use]
    pub fn without_notes(mut self) -> Self {
        self.notes.are_off = true;
        self
    }

    /// What was noted since the last time.
    ///
    /// # Errors
    /// When something could not be written down: then the notes are worth nothing from there on.
    pub fn take_notes(&mut self) -> std::result::Result<Vec<u8>, postcard::Error> {
        match self.notes.fault.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut self.notes.bytes)),
        }
    }

    /// Does again what the notes of one [`Ledger::take_notes`] say.
    ///
    /// # Errors
    /// For notes that are not this version's.
    pub fn redo(&mut self, mut notes: &[u8]) -> std::result::Result<(), Unreadable> {
        while !notes.is_empty() {
            let (tag, rest) = take_from_bytes(notes)?;
            notes = match tag {
                tag::BUS => {
                    let (bus, rest) = take_from_bytes(rest)?;
                    self.bus = bus;
                    rest
                }
                tag::OPEN => {
                    let ((path, object), rest) = take_from_bytes(rest)?;
                    self.objects.insert(path, object);
                    rest
                }
                tag::CLOSE => {
                    let (path, rest) = take_from_bytes::<&str>(rest)?;
                    self.objects.remove(path);
                    rest
                }
                tag::RECONFIGURE => {
                    let (policy, rest) = take_from_bytes(rest)?;
                    let _ = self.apply(policy);
                    rest
                }
                tag::ENUMERATION => {
                    self.last_enumeration += 1;
                    rest
                }
                tag::FIB => {
                    let ((table, to, status, error), rest) = take_from_bytes(rest)?;
                    self.rib.handle_fib(table, to, status, error);
                    rest
                }
                other => self.redo_in_rib(other, rest)?,
            };
        }
        self.carry_out();
        Ok(())
    }

    /// Lets what waits for the kernel and for clients go, as if they were quick: a process that only
    /// follows has neither.
    fn carry_out(&mut self) {
        drop((self.rib.poll_link_news(), self.rib.poll_groups(usize::MAX)));
        drop((self.rib.poll_wake_ups(), self.rib.poll_fib_listeners()));
        drop((self.rib.poll_foreign_entities(), self.rib.poll_waste()));
        drop(self.rib.poll_departed());
    }

    /// The number that is another one whenever what clients offered was lost.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The bus that the connections are on; empty before there was one.
    pub fn bus(&self) -> &str {
        &self.bus
    }

    /// Notes which bus that is.
    pub fn set_bus(&mut self, bus: String) {
        self.notes.add(&(tag::BUS, &bus));
        self.bus = bus;
    }

    /// The configuration in force, before anybody changed a level by hand.
    pub fn configured(&self) -> &Policy {
        &self.configured
    }

    /// Puts another configuration in force.
    ///
    /// # Errors
    /// As [`Rib::reconfigure`].
    pub fn reconfigure(&mut self, policy: Policy) -> Result<()> {
        self.notes.add(&(tag::RECONFIGURE, &policy));
        self.apply(policy)
    }

    fn apply(&mut self, policy: Policy) -> Result<()> {
        self.rib.reconfigure(policy.clone())?;
        self.configured = policy;
        Ok(())
    }

    /// A number that no enumeration had.
    pub fn next_enumeration(&mut self) -> u64 {
        self.notes.add(&tag::ENUMERATION);
        self.last_enumeration += 1;
        self.last_enumeration
    }

    /// The objects that clients made, by path.
    pub fn objects(&self) -> &BTreeMap<String, Object> {
        &self.objects
    }

    /// Keeps an object that a client made, or how far it has come.
    pub fn keep_object(&mut self, path: String, object: Object) {
        self.notes.add(&(tag::OPEN, &path, &object));
        self.objects.insert(path, object);
    }

    /// Forgets an object that a client made; returns it.
    pub fn forget_object(&mut self, path: &str) -> Option<Object> {
        let object = self.objects.remove(path)?;
        self.notes.add(&(tag::CLOSE, path));
        Some(object)
    }

    /// Somebody else has this route in the kernel: noted where that is news.
    ///
    /// # Errors
    /// As [`Rib::handle_foreign_route`].
    pub fn tell_foreign_route(
        &mut self,
        table: TableId,
        route: ForeignRoute,
        now: Now,
    ) -> Result<()> {
        match self.rib.see_foreign_route(table, &route, now) {
            true => Ok(()),
            false => self.handle_foreign_route(table, route, now),
        }
    }

    /// All routes of a protocol in a table have been told; takes up to `count` away that were not, and notes
    /// each of those.
    pub fn handle_foreign_complete(
        &mut self,
        table: TableId,
        protocol: KernelProtocol,
        count: usize,
        now: Now,
    ) -> Progress {
        for _ in 0..count {
            let Some(route) = self.rib.doubtful_foreign(table, protocol) else {
                return Progress::Complete;
            };
            self.handle_foreign_gone(table, &route, now);
        }
        Progress::Unfinished
    }

    /// [`Rib::handle_fib`], noted where an owner hears of it: all else the next process reads from the
    /// kernel.
    pub fn handle_fib(
        &mut self,
        table: TableId,
        to: Prefix,
        status: FibStatus,
        error: Option<String>,
    ) {
        if self.rib.has_listeners() {
            self.notes.add(&(tag::FIB, table, to, status, &error));
        }
        self.rib.handle_fib(table, to, status, error);
    }
}
