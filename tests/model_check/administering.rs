//! What administrators decide, and methods that entities hold back.

use rtmd::{
    model::{EntityId, ErrorKind, MethodSet, Preference, Protocol, TableId},
    rib::{Invocation, Progress},
};

use crate::{Pair, accepted, world::Setting};

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

    /// Other limits count for what comes, and so do other levels; what is there stays as it is. Other
    /// instances take a restart.
    pub(crate) fn reconfigure(&mut self, narrow: bool, level: u32) {
        let other = Setting { third_view: !self.naive.setting.third_view, ..self.naive.setting };
        let refused = self.rib.reconfigure(other.policy());
        assert!(accepted(refused, &[ErrorKind::NotSupported]).is_none());
        let mut policy = self.naive.setting.policy();
        if narrow {
            let limits = &mut policy.limits;
            (limits.entities, limits.entities_per_client, limits.entities_per_user) = (4, 2, 3);
            (limits.routes, limits.routes_per_user, limits.routes_per_destination) = (8, 4, 3);
            (limits.next_hops, limits.static_routes, limits.handles) = (4, 2, 3);
            (limits.hold_time, limits.expiry_answer, limits.private_bytes) = (3, 2, 1);
            (limits.opaque_bytes, limits.opaque_memory, limits.opaque_entities) = (2, 4, 1);
            (limits.marks_per_client, limits.marks_per_user) = (3, 4);
        }
        self.naive.levels.clear();
        if policy.levels.set(Protocol::BGP, Preference(level)).is_ok() {
            self.naive.levels.insert(Protocol::BGP, level);
        } else {
            assert_eq!(level, 0, "every other level can be");
        }
        self.naive.limits = policy.limits;
        self.rib.reconfigure(policy).unwrap();
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
