//! What administrators decide, and methods that entities hold back.

use rtmd::{
    model::{EntityId, ErrorKind, MethodSet, TableId},
    rib::{Invocation, Progress},
};

use crate::{Pair, accepted};

impl Pair {
    /// Whether the routes of a table go to the kernel (FWD-06); that is no change of any route.
    pub(crate) fn set_pushed(&mut self, table: TableId, pushed: bool) {
        let mut work = self.rib.set_pushed(table, pushed).unwrap();
        assert_eq!(self.rib.is_pushed(table), pushed);
        while self.rib.requeue(&mut work, 2) == Progress::Unfinished {}
        if pushed {
            self.naive.withheld.remove(&table);
        } else {
            self.naive.withheld.insert(table);
        }
    }

    /// METH-08 and METH-09.
    pub(crate) fn block_methods(&mut self, id: EntityId, block: bool) {
        let refusals = match self.naive.entity(id) {
            Some(_) => vec![],
            None => vec![ErrorKind::InvalidHandle],
        };
        if accepted(self.rib.block_methods(id, block), &refusals).is_some() {
            let entity = self.naive.entities.iter_mut().find(|entity| entity.id == id);
            entity.unwrap().blocks_methods = block;
        }
    }

    /// METH-02 to METH-07: whether one can invoke methods of another, and which.
    pub(crate) fn invoke(&self, caller: EntityId, target: EntityId, selected: u32) {
        let (from, to) = (self.naive.entity(caller), self.naive.entity(target));
        let table = |id| self.naive.entity(id).map(|entity| entity.key.table);
        let mut refusals = Vec::new();
        if from.is_none() || to.is_none() || table(caller) != table(target) {
            refusals.push(ErrorKind::InvalidHandle);
        } else if caller == target && to.is_some_and(|entity| entity.blocks_methods) {
            // It would wait for itself (G37).
            refusals.push(ErrorKind::Busy);
        }
        let result = self.rib.invocation(caller, target);
        let (Some(told), Some(to)) = (accepted(result, &refusals), to) else { return };
        let exported = (1_u64 << to.methods) - 1;
        assert_eq!(u64::from(self.rib.methods(target).unwrap().0), exported);
        let callback = (to.methods > 0).then_some("/callback");
        let Invocation::Ready(told) = told else {
            assert!(to.blocks_methods, "only who blocks makes others wait");
            return;
        };
        assert!(!to.blocks_methods, "who blocks makes others wait");
        assert_eq!((&told.bus_name, told.user), (&to.caller.bus_name, to.caller.uid));
        assert_eq!(told.callback.as_deref(), callback);
        // Each that was selected is accounted for; all means what is exported (G36).
        let bits = (0..32_u32).map(|bit| 1_u32 << bit);
        let is_exported = |bit: u32| u64::from(bit) & exported != 0;
        let meant = |bit: &u32| match selected {
            u32::MAX => is_exported(*bit),
            some => some & bit != 0,
        };
        let expected: Vec<_> =
            bits.filter(meant).map(|bit| (MethodSet(bit), is_exported(bit))).collect();
        assert_eq!(told.select(MethodSet(selected)).collect::<Vec<_>>(), expected);
    }
}
