//! Links and addresses, from the kernel to the RIB.

use std::io;

use super::foreign::Foreigners;
use crate::{
    clock,
    journal::ledger::Ledger,
    kernel::{AddressEvent, LinkEvent, LinkState, Watch, WatchEvent},
    model::KernelTable,
    shared::SharedRib,
};

/// All links and addresses there are.
pub(super) struct Known(Vec<WatchEvent>);

/// Waits until all links and addresses there are have been told.
pub(super) async fn learn(watch: &mut Watch) -> io::Result<Known> {
    let mut told = Vec::new();
    loop {
        match watch.next().await.ok_or_else(lost)? {
            WatchEvent::Resync => told.clear(),
            event => {
                let complete = event == WatchEvent::DumpComplete;
                told.push(event);
                if complete {
                    return Ok(Known(told));
                }
            }
        }
    }
}

impl Known {
    /// Tells a RIB of them, and so that there are no others.
    pub(super) fn tell(self, rib: &mut Ledger) {
        rib.handle_links_unknown();
        self.0.into_iter().for_each(|event| handle(rib, event));
        // Whoever had static routes wait for one was told nothing by the process before.
        rib.settle_static_routes(clock::now());
    }

    /// The kernel table of the VRF with this name.
    pub(super) fn vrf_table(&self, name: &str) -> Option<KernelTable> {
        self.0.iter().find_map(|event| match event {
            WatchEvent::Link(LinkEvent::Set { name: it, vrf, .. }) if it == name => vrf.is_vrf,
            _ => None,
        })
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

fn handle(rib: &mut Ledger, event: WatchEvent) {
    match event {
        WatchEvent::Link(LinkEvent::Set { index, name, state, vrf }) => {
            rib.handle_link(index, &name, state == LinkState::Up);
            rib.handle_vrf_place(index, vrf);
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
