//! What a route is, and what few routes have beside it.

use serde::{Deserialize, Serialize};

use super::arena::Slot;
use crate::model::{
    EntityId, ListId, Metric, Moment, NextHopId, Preference, Prefix, Protocol, Rank, RouteFlags,
    RouteState, TableId, ViewSet,
};

/// One entity's way to a destination.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Route {
    /// The prefix it leads to.
    pub to: Prefix,
    /// The table it is in.
    pub table: TableId,
    /// The entity it belongs to.
    pub owner: EntityId,
    /// The owner's protocol.
    pub protocol: Protocol,
    /// The owner's next hop it was learnt from.
    pub neighbour: Option<NextHopId>,
    /// Its place among the candidates.
    pub rank: Rank,
    /// The preference its owner asks for; 0 for the protocol's level.
    pub wanted: Preference,
    /// As its owner gave them.
    pub flags: RouteFlags,
    /// The views it is offered in.
    pub views: ViewSet,
    /// The views it is the best route of.
    pub best_in: ViewSet,
    /// Whether packets can follow it now.
    pub viable: bool,
    /// Whether it is in the table, or only held.
    pub state: RouteState,
    /// How often its owner has updated it: what an update can be made to depend on.
    pub generation: u32,
    /// How often its owner had been away when it was last offered.
    pub(super) absence: u16,
    pub(super) next_hops: Slot,
    /// What few routes have.
    pub(super) extras: Option<Box<Extras>>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Extras {
    private: Box<[u8]>,
    expiry: Expiry,
    list: Option<ListId>,
}

/// When a route's time to live ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Expiry {
    #[default]
    Never,
    /// At this moment.
    At(Moment),
    /// It has ended; the owner is asked, and has until this moment to answer.
    Asked(Moment),
}

impl Route {
    /// Preference and metric: what its place among the candidates is decided by.
    pub(super) fn cost(&self) -> (Preference, Metric) {
        (self.rank.preference, self.rank.metric)
    }

    /// What only its owner gets to see.
    pub fn private(&self) -> &[u8] {
        self.extras.as_ref().map_or(&[], |extras| &extras.private)
    }

    /// The list of its owner's it was put in, which may have ended since.
    pub(super) fn list(&self) -> Option<ListId> {
        self.extras.as_ref()?.list
    }

    /// When its time to live ends; none for never, or when that is over and its owner is asked.
    pub fn expires(&self) -> Option<Moment> {
        match self.expiry() {
            Expiry::At(moment) => Some(moment),
            Expiry::Never | Expiry::Asked(_) => None,
        }
    }

    pub(super) fn expiry(&self) -> Expiry {
        self.extras.as_ref().map_or(Expiry::Never, |extras| extras.expiry)
    }

    pub(super) fn set_expiry(&mut self, expiry: Expiry) {
        self.set_extra(|extras| extras.expiry = expiry);
    }

    pub(super) fn set_list(&mut self, list: Option<ListId>) {
        self.set_extra(|extras| extras.list = list);
    }

    pub(super) fn set_private(&mut self, private: &[u8]) {
        self.set_extra(|extras| extras.private = private.into());
    }

    /// A route without anything special has no memory for it.
    fn set_extra(&mut self, set: impl FnOnce(&mut Extras)) {
        let mut extras = self.extras.take().unwrap_or_default();
        set(&mut extras);
        self.extras = Some(extras).filter(|extras| **extras != Extras::default());
    }
}
