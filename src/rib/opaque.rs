//! Opaque cells: what an entity keeps with a destination, for itself alone.
//!
//! A cell lives as long as its destination and its entity do (RTMv2 gap 30).

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use super::{Rib, waste::Piece};
use crate::model::{EntityId, ErrorKind, Prefix, PrefixMap, Result, TableId};

/// The cells of all entities that reserved them.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Cells(BTreeMap<EntityId, Owned>);

#[derive(Debug, Deserialize, Serialize)]
struct Owned {
    table: TableId,
    cells: PrefixMap<Box<[u8]>>,
    bytes: usize,
}

impl Cells {
    /// How many entities of the table have cells.
    fn reserved(&self, table: TableId) -> usize {
        self.0.values().filter(|owned| owned.table == table).count()
    }

    pub(super) fn reserve(&mut self, entity: EntityId, table: TableId) {
        let owned = Owned { table, cells: PrefixMap::default(), bytes: 0 };
        self.0.insert(entity, owned);
    }

    pub(super) fn has(&self, entity: EntityId) -> bool {
        self.0.contains_key(&entity)
    }

    /// The entity is gone; this is what it kept.
    pub(super) fn release(&mut self, entity: EntityId) -> PrefixMap<Box<[u8]>> {
        self.0.remove(&entity).map_or_else(PrefixMap::default, |owned| owned.cells)
    }

    /// The destination is gone.
    pub(super) fn clear(&mut self, table: TableId, to: Prefix) {
        for owned in self.0.values_mut().filter(|owned| owned.table == table) {
            if let Some(cell) = owned.cells.remove(&to) {
                owned.bytes = owned.bytes.saturating_sub(cell.len());
            }
        }
    }
}

impl Rib {
    /// Keeps some bytes with a destination, in place of what was there; none empties the cell.
    ///
    /// # Errors
    /// `NotFound` for an entity that reserved no cells, `InvalidHandle` for a destination that is
    /// not there, `InvalidParameter` for too many bytes, `NotEnoughMemory` when all cells of the
    /// entity together would take too many.
    pub fn set_opaque(&mut self, entity: EntityId, to: Prefix, bytes: &[u8]) -> Result<()> {
        self.check_cell(entity, to)?;
        let limits = self.policy.limits;
        if bytes.len() > limits.opaque_bytes as usize {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "{} bytes, a cell holds {} at most (limit opaque-bytes)",
                bytes.len(),
                limits.opaque_bytes
            )));
        }
        let Some(owned) = self.cells.0.get_mut(&entity) else { return Err(not_reserved(entity)) };
        let before = owned.cells.get(&to).map_or(0, |cell| cell.len());
        let after = owned.bytes.saturating_sub(before) + bytes.len();
        if after > limits.opaque_memory as usize && bytes.len() > before {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "the cells of entity {entity} hold {} bytes, they may hold {} (limit \
                 opaque-memory): empty some",
                owned.bytes, limits.opaque_memory
            )));
        }
        owned.bytes = after;
        match bytes {
            [] => owned.cells.remove(&to),
            some => owned.cells.insert(to, some.into()),
        };
        Ok(())
    }

    /// What the entity keeps with a destination; nothing in the beginning.
    ///
    /// # Errors
    /// `NotFound` for an entity that reserved no cells, `InvalidHandle` for a destination that is
    /// not there.
    pub fn opaque(&self, entity: EntityId, to: Prefix) -> Result<&[u8]> {
        self.check_cell(entity, to)?;
        let cell = self.cells.0.get(&entity).and_then(|owned| owned.cells.get(&to));
        Ok(cell.map_or(&[], |cell| cell))
    }

    /// Empties the cells of an entity, which reserves none from now on.
    pub(super) fn release_cells(&mut self, entity: EntityId) {
        let cells = self.cells.release(entity);
        let count = cells.len();
        self.waste.add(Piece::Cells(cells), count);
    }

    pub(super) fn check_room_for_cells(&self, table: TableId) -> Result<()> {
        let most = self.policy.limits.opaque_entities;
        if self.cells.reserved(table) >= most as usize {
            return Err(ErrorKind::NoSystemResources.because(format_args!(
                "{most} entities of table {table} have reserved cells, the most (limit \
                 opaque-entities)"
            )));
        }
        Ok(())
    }

    fn check_cell(&self, entity: EntityId, to: Prefix) -> Result<()> {
        let table = self.entities.active(entity)?.key.table;
        if !self.cells.0.contains_key(&entity) {
            return Err(not_reserved(entity));
        }
        match self.destination(table, to) {
            Some(destination) if destination.exists() => Ok(()),
            _ => Err(ErrorKind::InvalidHandle.because(format_args!("there is no route to {to}"))),
        }
    }
}

fn not_reserved(entity: EntityId) -> crate::model::Error {
    ErrorKind::NotFound
        .because(format_args!("entity {entity} reserved no cells when it registered"))
}
