//! The group objects that the kernel has.
//!
//! Those that are nobody's are found by their members, so that making a group costs nothing by how many
//! there are.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, hash_map},
};

use super::shape::{self, Resilience};
use crate::model::{GroupId, Member, ObjectId, Weight};

/// A group object of the kernel.
#[derive(Debug)]
pub(super) struct KernelGroup {
    pub(super) resilience: Resilience,
    pub(super) members: Vec<Member>,
    /// Whose it is; none when it is only left until no route refers to it.
    pub(super) of: Option<GroupId>,
    /// Routes that refer to it.
    pub(super) routes: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct KernelGroups {
    by_id: HashMap<ObjectId, KernelGroup>,
    /// Those that are nobody's, by [`key`].
    unowned: HashMap<Box<[Member]>, BTreeSet<ObjectId>>,
}

/// Equal for members that deal packets out alike ([`shape::is_equal`]).
fn key(members: &[Member]) -> Box<[Member]> {
    match members {
        [only] => [Member { weight: Weight::ONE, ..*only }].into(),
        several => several.into(),
    }
}

impl KernelGroups {
    pub(super) fn insert(&mut self, id: ObjectId, group: KernelGroup) {
        self.remove(id);
        self.note(id, &group);
        self.by_id.insert(id, group);
    }

    pub(super) fn remove(&mut self, id: ObjectId) -> Option<KernelGroup> {
        let group = self.by_id.remove(&id)?;
        if group.of.is_none()
            && let hash_map::Entry::Occupied(mut alike) = self.unowned.entry(key(&group.members))
        {
            alike.get_mut().remove(&id);
            if alike.get().is_empty() {
                alike.remove();
            }
        }
        Some(group)
    }

    /// Makes another of one that is there.
    pub(super) fn change<T>(
        &mut self,
        id: ObjectId,
        change: impl FnOnce(&mut KernelGroup) -> T,
    ) -> Option<T> {
        let mut group = self.remove(id)?;
        let answer = change(&mut group);
        self.insert(id, group);
        Some(answer)
    }

    fn note(&mut self, id: ObjectId, group: &KernelGroup) {
        if group.of.is_none() {
            self.unowned.entry(key(&group.members)).or_default().insert(id);
        }
    }

    /// A route refers to it now.
    pub(super) fn refer(&mut self, id: ObjectId) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.routes = group.routes.saturating_add(1);
        }
    }

    /// A route does not refer to it any more; answers whether it is of no use now.
    pub(super) fn release(&mut self, id: ObjectId) -> bool {
        self.by_id.get_mut(&id).is_some_and(|group| {
            group.routes = group.routes.saturating_sub(1);
            group.is_useless()
        })
    }

    /// Makes one that is just like this and nobody's a group's.
    pub(super) fn adopt(
        &mut self,
        of: GroupId,
        members: &[Member],
        resilience: Resilience,
    ) -> Option<ObjectId> {
        let alike = self.unowned.get(&key(members))?.iter();
        let alike = alike.filter_map(|id| Some((*id, self.by_id.get(id)?)));
        let fitting = alike.filter(|(_, group)| {
            group.resilience.can_hold(resilience) && shape::is_equal(&group.members, members)
        });
        // Most used first: those routes need no writing. Among equals the oldest, as groups come back
        // in the order in which they came.
        let (found, _) = fitting.max_by_key(|(id, group)| (group.routes, Reverse(*id)))?;
        self.change(found, |group| group.of = Some(of));
        Some(found)
    }

    /// Nobody's from now on; answers whether no route refers to it.
    pub(super) fn retire(&mut self, id: ObjectId) -> bool {
        let retired = self.change(id, |group| {
            group.of = None;
            group.is_useless()
        });
        retired.unwrap_or(false)
    }

    pub(super) fn get(&self, id: ObjectId) -> Option<&KernelGroup> {
        self.by_id.get(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ObjectId, &KernelGroup)> {
        self.by_id.iter().map(|(id, group)| (*id, group))
    }
}

impl KernelGroup {
    /// Whether it is nobody's, and no route refers to it.
    pub(super) fn is_useless(&self) -> bool {
        self.of.is_none() && self.routes == 0
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn id(number: u32) -> ObjectId {
        ObjectId(NonZeroU32::new(number).unwrap())
    }

    fn members(weight: u32, legs: &[u32]) -> Vec<Member> {
        let weight = Weight::new(weight).unwrap();
        legs.iter().map(|leg| Member { object: id(*leg), weight }).collect()
    }

    fn adopted(kernel: &mut KernelGroups, legs: &[u32]) -> Option<u32> {
        let found = kernel.adopt(GroupId(NonZeroU32::MIN), &members(9, legs), Resilience::Hash);
        found.map(|id| id.0.get())
    }

    #[test]
    fn the_most_used_and_then_the_oldest_of_those_that_are_nobodys_and_alike_is_adopted() {
        let mut kernel = KernelGroups::default();
        for (number, legs, routes) in [(7, &[1][..], 3), (8, &[1], 4), (9, &[1], 4), (6, &[2], 5)] {
            let members = members(number, legs);
            let group = KernelGroup { resilience: Resilience::Hash, members, of: None, routes };
            kernel.insert(id(number), group);
        }
        kernel.remove(id(7));
        assert_eq!(adopted(&mut kernel, &[1]), Some(8));
        assert_eq!(adopted(&mut kernel, &[1]), Some(9));
        assert_eq!(adopted(&mut kernel, &[1]), None, "they are somebody's");
        kernel.retire(id(9));
        kernel.change(id(6), |group| group.members = members(1, &[1])).unwrap();
        assert_eq!(adopted(&mut kernel, &[2]), None, "it has another member now");
        assert_eq!(adopted(&mut kernel, &[1]), Some(6));
        kernel.refer(id(9));
        assert!(!kernel.release(id(9)) && kernel.get(id(9)).is_some_and(|it| it.routes == 4));
        assert_eq!(adopted(&mut kernel, &[1]), Some(9));
    }
}
