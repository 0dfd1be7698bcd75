//! Deadlines, from the clock to the RIB.

use std::{convert::Infallible, time::Duration};

use crate::{clock, model::Moment, shared::SharedRib};

/// How many deadlines are dealt with under one lock.
const SLICE: usize = 256;

/// The longest sleep: a timer stands still while the machine is suspended, and deadlines do not.
const NAP: Duration = Duration::from_secs(10);

/// Carries out what is due, when it is due.
pub(super) async fn keep(rib: &SharedRib) -> Infallible {
    loop {
        tokio::select! {
            () = nap(rib.with(|rib| rib.next_deadline())) => {
                let now = clock::now();
                rib.with(|rib| {
                    if rib.next_deadline().is_some_and(|next| next <= now.moment) {
                        rib.handle_deadlines(SLICE, now);
                    }
                });
                tokio::task::yield_now().await;
            }
            () = rib.sooner() => {}
        }
    }
}

/// Waits until the next deadline, or a while.
async fn nap(next: Option<Moment>) {
    match next {
        Some(next) => tokio::time::sleep(next.since(clock::now().moment).min(NAP)).await,
        None => std::future::pending().await,
    }
}
