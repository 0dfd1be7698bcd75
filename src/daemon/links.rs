//! Links and addresses, from the kernel to the RIB.

use std::io;

use super::foreign::Foreigners;
use crate::{
    clock,
    kernel::{AddressEvent, LinkEvent, LinkState, Watch, WatchEvent},
    rib::Rib,
    shared::SharedRib,
};

/// Waits until all links and addresses there are have been told.
pub(super) async fn learn(watch: &mut Watch, rib: &SharedRib) -> io::Result<()> {
    loop {
        let event = watch.next().await.ok_or_else(lost)?;
        let complete = event == WatchEvent::DumpComplete;
        rib.with(|rib| handle(rib, event));
        if complete {
            return Ok(());
        }
    }
}

/// Keeps the RIB informed; returns why it cannot any more.
pub(super) async fn follow(
    watch: &mut Watch,
    rib: &SharedRib,
    foreigners: &Foreigners,
) -> io::Error {
    while let Some(event) = watch.next().await {
        tracing::debug!(?event, "links");
        rib.with(|rib| {
            handle(rib, event);
            rib.settle_static_routes(clock::now());
        });
        foreigners.doubt_all();
    }
    lost()
}

fn handle(rib: &mut Rib, event: WatchEvent) {
    match event {
        WatchEvent::Link(LinkEvent::Set { index, name, state }) => {
            rib.handle_link(index, &name, state == LinkState::Up);
        }
        WatchEvent::Link(LinkEvent::Gone { index }) => rib.handle_link_gone(index),
        WatchEvent::Address(AddressEvent::Added { index, address, prefix }) => {
            rib.handle_address(index, address, prefix);
        }
        WatchEvent::Address(AddressEvent::Removed { index, address, prefix }) => {
            rib.handle_address_gone(index, address, prefix);
        }
        WatchEvent::DumpComplete => rib.handle_links_complete(),
        WatchEvent::Resync => rib.handle_links_unknown(),
    }
}

fn lost() -> io::Error {
    io::Error::other("links and addresses cannot be followed any more")
}
