//! What next hops that lead elsewhere mean for each of their routes.
//!
//! The kernel follows such a change without it, by what routes share; so this gives way to everything
//! else that the service has to do.

use std::convert::Infallible;

use crate::shared::SharedRib;

/// Has routes elected again whenever there are any left to be.
pub(super) async fn keep(rib: &SharedRib) -> Infallible {
    loop {
        rib.unfinished().await;
        rib.in_slices(|rib, count| rib.reelect(count)).await;
    }
}
