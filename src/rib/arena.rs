//! Storage under ids that are never used again.
//!
//! An id is the slot's number plus one in the low half and the slot's generation in the high half:
//! the first ids of a service are 1, 2, 3, and an id whose slot was given to another value answers
//! "gone", never with the other value. A slot whose generations are used up is not used any more.

use serde::{Deserialize, Serialize};

use std::num::NonZeroU64;

/// Values under ids.
///
/// Kept in chunks, so that growing moves nothing: a table of a million routes would otherwise stand
/// still while all of them are copied, and keep room for a million more.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Entry<T>>>,
    free: Vec<u32>,
}

/// Entries in a chunk.
const CHUNK: usize = 4096;

/// A value's place: the short form of its id, valid while the value is there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Slot(u32);

#[derive(Debug, Deserialize, Serialize)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Keeps the value; `None` when all 2³² - 1 slots are taken.
    pub(super) fn insert(&mut self, value: T) -> Option<Slot> {
        if let Some(slot) = self.free.pop().map(Slot) {
            self.entry_mut(slot)?.value = Some(value);
            return Some(slot);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let chunk = self.chunks.last_mut()?;
        let slot = u32::try_from(full + chunk.len()).ok().filter(|slot| *slot < u32::MAX)?;
        chunk.push(Entry { generation: 0, value: Some(value) });
        Some(Slot(slot))
    }

    /// Takes the value out; its id is spent.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.entry_mut(slot)?;
        let value = entry.value.take()?;
        if let Some(next) = entry.generation.checked_add(1) {
            entry.generation = next;
            self.free.push(slot.0);
        }
        Some(value)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.entry(slot)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entry_mut(slot)?.value.as_mut()
    }

    fn entry(&self, slot: Slot) -> Option<&Entry<T>> {
        let place = slot.0 as usize;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn entry_mut(&mut self, slot: Slot) -> Option<&mut Entry<T>> {
        let place = slot.0 as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }

    /// The id of the value in the slot.
    pub(super) fn id(&self, slot: Slot) -> Option<NonZeroU64> {
        let entry = self.entry(slot)?;
        NonZeroU64::new((u64::from(entry.generation) << 32) + u64::from(slot.0) + 1)
    }

    /// The slot of the value with this id, if it is still there.
    pub(super) fn find(&self, id: NonZeroU64) -> Option<Slot> {
        let (slot, generation) = parts(id)?;
        let entry = self.entry(slot)?;
        (entry.generation == generation && entry.value.is_some()).then_some(slot)
    }

    /// Whether the id was given out before, and its value is gone.
    pub(super) fn is_spent(&self, id: NonZeroU64) -> bool {
        let Some((slot, generation)) = parts(id) else { return false };
        self.entry(slot).is_some_and(|entry| {
            generation < entry.generation || generation == u32::MAX && entry.value.is_none()
        })
    }

    /// The values, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        let entries = (0..).zip(self.chunks.iter().flatten());
        entries.filter_map(|(slot, entry)| Some((Slot(slot), entry.value.as_ref()?)))
    }
}

fn parts(id: NonZeroU64) -> Option<(Slot, u32)> {
    let low = u32::try_from(id.get() & u64::from(u32::MAX)).ok()?;
    let generation = u32::try_from(id.get() >> 32).ok()?;
    Some((Slot(low.checked_sub(1)?), generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_from_one() {
        let mut arena = Arena::default();
        let ids = ["a", "b"].map(|value| {
            let slot = arena.insert(value).unwrap();
            arena.id(slot).unwrap().get()
        });
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn a_spent_id_never_finds_the_next_value_of_its_slot() {
        let mut arena = Arena::default();
        let first = arena.insert("first").unwrap();
        let old = arena.id(first).unwrap();
        arena.remove(first);
        let second = arena.insert("second").unwrap();
        assert_eq!(arena.find(old), None);
        assert!(arena.is_spent(old));
        assert_ne!(arena.id(second), Some(old));
        assert_eq!(arena.get(second), Some(&"second"));
    }

    #[test]
    fn values_stay_in_their_slots_over_many_chunks() {
        let mut arena = Arena::default();
        let slots: Vec<Slot> = (0..3 * CHUNK).map(|value| arena.insert(value).unwrap()).collect();
        for (value, slot) in slots.iter().enumerate() {
            assert_eq!(arena.get(*slot), Some(&value));
            assert_eq!(arena.find(arena.id(*slot).unwrap()), Some(*slot));
        }
        assert_eq!(arena.iter().count(), slots.len());
    }

    #[test]
    fn an_id_never_given_out_is_not_spent() {
        let mut arena = Arena::default();
        arena.insert(()).unwrap();
        for id in [2, 1 << 32, (1 << 32) + 1, u64::MAX] {
            let id = NonZeroU64::new(id).unwrap();
            assert_eq!(arena.find(id), None);
            assert!(!arena.is_spent(id), "{id}");
        }
    }
}
