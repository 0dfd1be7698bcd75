//! Methods that entities export to each other: who exports which, and who holds them back.
//!
//! The core only says what is to be done; asking the target, and waiting for one that blocks, is the
//! business of others.

use super::Rib;
use crate::model::{EntityId, ErrorKind, MethodSet, Result};

/// Whether an entity's methods can be invoked now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Invocation {
    /// Yes, there.
    Ready(Target),
    /// The target holds its methods back: to be asked again when something changed.
    Blocked,
}

/// Who carries methods out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The connection of the client.
    pub bus_name: String,
    /// The connection's user.
    pub user: u32,
    /// Its object that is called; none for who exports nothing.
    pub callback: Option<String>,
    /// What it exports.
    pub exported: MethodSet,
}

impl Target {
    /// The methods that a selection means here, in order, and whether each is exported.
    ///
    /// "All" means the exported ones; of others each has to be accounted for (RTMv2 gap 36).
    pub fn select(&self, selected: MethodSet) -> impl Iterator<Item = (MethodSet, bool)> + use<> {
        let meant = if selected == MethodSet::ALL { self.exported } else { selected };
        let exported = self.exported;
        meant.iter().map(move |method| (method, exported.contains(method)))
    }
}

impl Rib {
    /// The methods that an entity exports (RTMv2 row METH-02).
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered.
    pub fn methods(&self, id: EntityId) -> Result<MethodSet> {
        Ok(MethodSet::first(self.entity(id)?.terms.methods))
    }

    /// Holds an entity's methods back, or lets them go again (RTMv2 rows METH-08 and METH-09).
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered.
    pub fn block_methods(&mut self, id: EntityId, block: bool) -> Result<()> {
        self.entity(id)?;
        if let Some(entity) = self.entities.get_mut(id) {
            entity.blocks_methods = block;
        }
        Ok(())
    }

    /// Whether `caller` can invoke methods of `target` now (RTMv2 rows METH-03 to METH-07).
    ///
    /// # Errors
    /// `InvalidHandle` for a target that is not registered in the caller's table, `Busy` for the
    /// caller itself while it blocks: it would wait for itself (gap 37).
    pub fn invocation(&self, caller: EntityId, target: EntityId) -> Result<Invocation> {
        let table = self.entity(caller)?.key.table;
        let entity = self.entity(target)?;
        if entity.key.table != table {
            return Err(ErrorKind::InvalidHandle
                .because(format_args!("entity {target} is not of table {table}")));
        }
        if entity.blocks_methods && caller == target {
            return Err(ErrorKind::Busy.because(format_args!(
                "entity {target} blocks its methods and would wait for itself"
            )));
        }
        if entity.blocks_methods {
            return Ok(Invocation::Blocked);
        }
        Ok(Invocation::Ready(Target {
            bus_name: entity.caller.bus_name.clone(),
            user: entity.caller.uid,
            callback: entity.terms.callback.clone(),
            exported: self.methods(target)?,
        }))
    }
}
