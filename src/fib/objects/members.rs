//! The destinations that are wished to be in a group.
//!
//! Few are known one by one, so that what happens to a small group costs nothing by the size of the
//! table. Of many only the number is known, which takes no memory for each: they are looked for in the
//! table, where there are many to be found.

use crate::model::{Prefix, TableId};

/// How many are known one by one.
const FEW: usize = if cfg!(test) { 2 } else { 16 };

/// Those of one group.
#[derive(Clone, Debug)]
pub(in crate::fib) enum Members {
    /// These.
    Few(Vec<(TableId, Prefix)>),
    /// So many, or fewer now than are known one by one.
    Many(usize),
}

impl Default for Members {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Members {
    /// One more, that was not in it.
    pub(super) fn join(&mut self, at: (TableId, Prefix)) {
        match self {
            Self::Few(few) if few.len() < FEW => few.push(at),
            Self::Few(few) => *self = Self::Many(few.len() + 1),
            Self::Many(count) => *count += 1,
        }
    }

    /// One less.
    pub(super) fn leave(&mut self, at: (TableId, Prefix)) {
        match self {
            Self::Few(few) => {
                if let Some(index) = few.iter().position(|other| *other == at) {
                    few.swap_remove(index);
                }
            }
            Self::Many(0 | 1) => *self = Self::default(),
            Self::Many(count) => *count -= 1,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(count) => *count == 0,
        }
    }
}
