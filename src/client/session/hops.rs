//! The next hops of a session: which its routes name, and under which ids the service knows them.
//!
//! A next hop is kept for as long as something names it: a wish, or a route as the service has it.
//! What nothing names any more is deleted at the service once it is up to date, not before, because
//! a route that is still to be changed would stop using it.

use std::collections::{BTreeSet, HashMap};

use crate::model::{NextHopKey, Weight};

#[derive(Debug, Default)]
pub(super) struct Hops {
    by_key: HashMap<NextHopKey, Hop>,
    /// What nothing names, and the service may have.
    unused: BTreeSet<NextHopKey>,
}

#[derive(Debug, Default)]
struct Hop {
    uses: usize,
    /// What the last route that cared asked for.
    weight: Option<Weight>,
    /// With the id, what the service was told of the weight.
    known: Option<(u64, Option<Weight>)>,
    /// Whether the service may have it, under whatever id.
    there: bool,
}

impl Hops {
    /// One more names it, and has it weighted so if it cares.
    pub(super) fn hold(&mut self, key: NextHopKey, weight: Option<Weight>) {
        let there = self.unused.remove(&key);
        let hop = self.by_key.entry(key).or_insert_with(|| Hop { there, ..Hop::default() });
        hop.uses += 1;
        hop.weight = weight.or(hop.weight);
    }

    /// One less names it.
    pub(super) fn release(&mut self, key: NextHopKey) {
        let Some(hop) = self.by_key.get_mut(&key) else { return };
        hop.uses = hop.uses.saturating_sub(1);
        if hop.uses == 0 {
            if hop.there {
                self.unused.insert(key);
            } else {
                self.by_key.remove(&key);
            }
        }
    }

    /// The id under which the service knows it.
    pub(super) fn id(&self, key: NextHopKey) -> Option<u64> {
        self.by_key.get(&key)?.known.map(|(id, _)| id)
    }

    /// Whether the service does not know it, or not with its weight.
    pub(super) fn is_missing(&self, key: NextHopKey) -> bool {
        let is_known = |hop: &Hop| {
            hop.known.is_some_and(|(_, told)| hop.weight.is_none() || told == hop.weight)
        };
        !self.by_key.get(&key).is_some_and(is_known)
    }

    /// It is about to be added, with this weight if it has one.
    pub(super) fn adding(&mut self, key: NextHopKey) -> Option<Weight> {
        let hop = self.by_key.get_mut(&key)?;
        hop.there = true;
        hop.weight
    }

    /// The service has it, with this weight.
    pub(super) fn added(&mut self, key: NextHopKey, id: u64, weight: Option<Weight>) {
        if let Some(hop) = self.by_key.get_mut(&key) {
            hop.known = Some((id, weight));
        }
    }

    /// What is to be deleted; [`Hops::keep_unused`] takes back what could not be.
    pub(super) fn take_unused(&mut self) -> Vec<NextHopKey> {
        let unused: Vec<_> = std::mem::take(&mut self.unused).into_iter().collect();
        for key in &unused {
            self.by_key.remove(key);
        }
        unused
    }

    /// These are still to be deleted, unless they are named again.
    pub(super) fn keep_unused(&mut self, keys: impl IntoIterator<Item = NextHopKey>) {
        for key in keys {
            match self.by_key.get_mut(&key) {
                Some(hop) => hop.there = true,
                None => drop(self.unused.insert(key)),
            }
        }
    }

    /// A new registration begins: no id is known, and what the service has of an earlier one goes
    /// with the end of synchronization.
    pub(super) fn begin_again(&mut self) {
        self.take_unused();
        for hop in self.by_key.values_mut() {
            (hop.known, hop.there) = (None, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InterfaceIndex;

    fn key(address: &str) -> NextHopKey {
        NextHopKey { address: address.parse().ok(), interface: InterfaceIndex(0) }
    }

    #[test]
    fn what_nothing_names_any_more_is_deleted_if_the_service_may_have_it() {
        let mut hops = Hops::default();
        for address in ["192.0.2.1", "192.0.2.2"] {
            hops.hold(key(address), None);
        }
        hops.adding(key("192.0.2.1"));
        hops.added(key("192.0.2.1"), 7, None);
        for address in ["192.0.2.1", "192.0.2.2"] {
            hops.release(key(address));
        }
        assert_eq!(hops.take_unused(), [key("192.0.2.1")]);
        assert!(hops.by_key.is_empty());
    }

    #[test]
    fn what_is_named_again_is_not_deleted_and_keeps_its_id() {
        let mut hops = Hops::default();
        hops.hold(key("192.0.2.1"), None);
        hops.adding(key("192.0.2.1"));
        hops.added(key("192.0.2.1"), 7, None);
        hops.release(key("192.0.2.1"));
        hops.hold(key("192.0.2.1"), None);
        assert_eq!((hops.take_unused(), hops.id(key("192.0.2.1"))), (vec![], Some(7)));
    }

    #[test]
    fn another_weight_takes_another_call_and_no_weight_takes_what_is_there() {
        let mut hops = Hops::default();
        hops.hold(key("192.0.2.1"), Some(Weight::ONE));
        let weight = hops.adding(key("192.0.2.1"));
        hops.added(key("192.0.2.1"), 7, weight);
        hops.hold(key("192.0.2.1"), None);
        assert!(!hops.is_missing(key("192.0.2.1")));
        hops.hold(key("192.0.2.1"), Weight::new(3).ok());
        assert!(hops.is_missing(key("192.0.2.1")));
    }

    #[test]
    fn a_new_registration_knows_no_ids_and_has_nothing_to_delete() {
        let mut hops = Hops::default();
        for address in ["192.0.2.1", "192.0.2.2"] {
            hops.hold(key(address), None);
            hops.adding(key(address));
            hops.added(key(address), 7, None);
        }
        hops.release(key("192.0.2.2"));
        hops.begin_again();
        hops.release(key("192.0.2.1"));
        assert!(hops.take_unused().is_empty() && hops.by_key.is_empty());
    }
}
