//! Deadlines, from the clock to the RIB.

use std::convert::Infallible;

use crate::{clock, shared::SharedRib};

/// How many deadlines are dealt with under one lock.
const SLICE: usize = 256;

/// Carries out what is due, when it is due.
pub(super) async fn keep(rib: &SharedRib) -> Infallible {
    loop {
        let next = rib.with(|rib| rib.next_deadline()).and_then(clock::instant);
        tokio::select! {
            () = super::until(next) => {
                rib.with(|rib| rib.handle_deadlines(SLICE, clock::now()));
                tokio::task::yield_now().await;
            }
            () = rib.sooner() => {}
        }
    }
}
