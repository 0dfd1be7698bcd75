//! What ended and may be large: it is set aside in one step, and freed where nobody waits for it.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
};

use super::{Rib, arena::Slot, changes::BestChange};
use crate::model::PrefixMap;

/// What is not needed any more; dropping it takes as long as it is large.
#[derive(Debug, Default)]
#[must_use]
pub struct Waste {
    pieces: Vec<Piece>,
    items: usize,
}

#[derive(Debug)]
#[allow(dead_code, reason = "what is in it is only dropped")]
pub(super) enum Piece {
    Cells(PrefixMap<Box<[u8]>>),
    Listed(BTreeSet<Slot>),
    Prefixes(PrefixMap<()>),
    Changes(VecDeque<BestChange>),
}

impl Waste {
    /// How many items it is, which is what freeing it costs.
    pub fn items(&self) -> usize {
        self.items
    }

    pub(super) fn add(&mut self, piece: Piece, items: usize) {
        if items > 0 {
            self.items += items;
            self.pieces.push(piece);
        }
    }

    fn append(&mut self, mut other: Self) {
        self.items += other.items;
        self.pieces.append(&mut other.pieces);
    }
}

impl Rib {
    /// What ended since the last time, to be dropped.
    pub fn poll_waste(&mut self) -> Waste {
        let mut waste = mem::take(&mut self.waste);
        waste.append(mem::take(&mut self.notifications.waste));
        waste
    }
}
