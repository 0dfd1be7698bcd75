//! Another process takes over, from nothing but what was written down.

use std::mem;

use rtmd::journal::ledger::Ledger;

use crate::{
    Pair,
    naive::{Expiry, NaiveQuestion},
    passing::slot,
};

/// What a process leaves.
#[derive(Default)]
pub(crate) struct Written {
    image: Vec<u8>,
    notes: Vec<Vec<u8>>,
}

impl Written {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self { image: postcard::to_stdvec(ledger).unwrap(), notes: Vec::new() }
    }

    fn read(&self) -> Ledger {
        let mut ledger: Ledger = postcard::from_bytes(&self.image).unwrap();
        self.notes.iter().for_each(|notes| ledger.redo(notes).unwrap());
        ledger
    }
}

impl Pair {
    /// Whatever a command did is written down before anybody hears that it is done.
    pub(crate) fn write_down(&mut self) {
        self.written.notes.push(self.rib.take_notes().unwrap());
    }

    /// The process ends; the next one begins with what is written, made into an image before or not.
    pub(crate) fn restart(&mut self, with_image: bool) {
        self.write_down();
        if with_image {
            self.written = Written::new(&self.written.read());
        }
        self.rib = self.written.read();
        self.rib.begin_anew();
        // Whoever keeps the kernel's table begins anew, too, and reads what is there.
        (self.kernel, self.groups) = Default::default();
        // What was on its way to clients may be lost: they are told again.
        for follower in &mut self.naive.followers {
            follower.take_back();
            follower.to_wake = follower.is_waiting();
        }
        drop(mem::take(&mut self.asked));
        let naive = &mut self.naive;
        let mut open: Vec<_> = naive
            .routes
            .iter()
            // Who has left is asked nothing any more.
            .filter(|route| naive.entity(route.owner).is_some())
            .filter_map(|route| match route.expiry {
                Expiry::Asked(until) => {
                    Some(NaiveQuestion { owner: route.owner, route: route.id, until })
                }
                Expiry::Never | Expiry::At(_) => None,
            })
            .collect();
        open.sort_by_key(|question| (question.until, slot(question.route)));
        naive.questions = open;
    }
}
