//! What the naive table consists of: who is registered, and what they have.

use std::collections::BTreeSet;

use rtmd::model::{
    Caller, EntityId, EntityKey, ListId, NextHopId, NextHopKey, NotificationId, Prefix, Protocol,
    RouteId, TableId,
};

use crate::naive::Place;

#[derive(Clone, Debug)]
pub(crate) struct NaiveEntity {
    pub(crate) id: EntityId,
    pub(crate) key: EntityKey,
    pub(crate) caller: Caller,
    pub(crate) shared: bool,
    pub(crate) single_route: bool,
    pub(crate) exclusive: bool,
    pub(crate) cells: bool,
    /// How many it exports.
    pub(crate) methods: u32,
    pub(crate) blocks_methods: bool,
    /// Milliseconds that it outlives its connection; none for not at all.
    pub(crate) linger: Option<u32>,
    pub(crate) absence: crate::lingering::NaiveAbsence,
    /// The service's own: no client speaks for it.
    pub(crate) service: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expiry {
    Never,
    At(u64),
    Asked(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveRoute {
    pub(crate) id: RouteId,
    pub(crate) owner: EntityId,
    pub(crate) protocol: Protocol,
    pub(crate) place: Place,
    pub(crate) neighbour: Option<NextHopId>,
    pub(crate) preference: u32,
    /// What its owner asks for; 0 is the level of the protocol.
    pub(crate) wanted: u32,
    pub(crate) metric: u32,
    pub(crate) since: u64,
    pub(crate) flags: u16,
    pub(crate) views: u32,
    pub(crate) next_hops: Vec<NextHopId>,
    pub(crate) private: Vec<u8>,
    pub(crate) generation: u64,
    /// From before its owner was away.
    pub(crate) stale: bool,
    pub(crate) expiry: Expiry,
    pub(crate) list: Option<ListId>,
    /// The user it counts for: its owner's, or while it is held the one that asked for that.
    pub(crate) user: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveHop {
    pub(crate) id: NextHopId,
    pub(crate) owner: EntityId,
    pub(crate) key: NextHopKey,
    pub(crate) flags: u32,
    pub(crate) weight: u32,
    pub(crate) remote: Option<Prefix>,
    pub(crate) private: Vec<u8>,
    pub(crate) deleted: bool,
    /// Only named by a route, so it goes with the last one.
    pub(crate) inline: bool,
}

/// Marks and their one time, and until when what is held is held; none for ever.
#[derive(Clone, Debug)]
pub(crate) struct NaiveHold {
    pub(crate) marked: u32,
    pub(crate) milliseconds: u32,
    /// Who asked for the longest time.
    pub(crate) user: u32,
    pub(crate) until: Option<u64>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NaiveQuestion {
    pub(crate) owner: EntityId,
    pub(crate) route: RouteId,
    pub(crate) until: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveList {
    pub(crate) id: ListId,
    pub(crate) owner: EntityId,
    /// Returned since the beginning, and in it ever since.
    pub(crate) returned: BTreeSet<RouteId>,
    /// In it ever since the beginning.
    pub(crate) throughout: BTreeSet<RouteId>,
}

#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) id: NotificationId,
    pub(crate) table: TableId,
    pub(crate) views: u32,
    pub(crate) flags: u32,
    pub(crate) owner: Caller,
    pub(crate) marks: BTreeSet<Prefix>,
    pub(crate) pending: BTreeSet<Prefix>,
    pub(crate) ordered: Vec<crate::picture::NaiveChange>,
    pub(crate) lost: usize,
    /// What the last fetch told.
    pub(crate) told: (Vec<Prefix>, Vec<crate::picture::NaiveChange>, usize),
    pub(crate) to_wake: bool,
}
