//! Links and addresses, from the kernel to the RIB.

use std::{collections::BTreeMap, io};

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
        for event in self.0 {
            let _ = handle(rib, event); // all is news
        }
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

/// The VRFs that the configuration names, and which tables they had when it was read.
#[derive(Debug, Default)]
pub(super) struct Vrfs(BTreeMap<String, Option<KernelTable>>);

impl Vrfs {
    /// Keeps what a name came to, and answers with that.
    pub(super) fn note(&mut self, name: &str, table: Option<KernelTable>) -> Option<KernelTable> {
        self.0.insert(name.to_owned(), table);
        table
    }

    /// Which of them has another table now, if that was not said already.
    fn changed(&mut self, event: &WatchEvent) -> Option<(&str, KernelTable)> {
        let WatchEvent::Link(LinkEvent::Set { name, vrf, .. }) = event else { return None };
        let (name, table) = (self.0.get_key_value(name)?.0.clone(), vrf.is_vrf?);
        let known = self.0.get_mut(&name)?;
        if known.replace(table) == Some(table) {
            return None;
        }
        self.0.get_key_value(&name).map(|(name, _)| (name.as_str(), table))
    }
}

/// Keeps the RIB informed; returns why it cannot any more.
pub(super) async fn follow(
    watch: &mut Watch,
    rib: &SharedRib,
    foreigners: &Foreigners,
    mut vrfs: Vrfs,
) -> io::Error {
    while let Some(event) = watch.next().await {
        tracing::debug!(?event, "links");
        if let Some((name, table)) = vrfs.changed(&event) {
            tracing::warn!(
                name,
                %table,
                "a VRF came or has another table than its instance: rtmd has to be restarted for that"
            );
        }
        let has_changed = rib.with(|rib| {
            let has_changed = handle(rib, event);
            rib.settle_static_routes(clock::now());
            has_changed
        });
        if has_changed {
            foreigners.doubt_all();
        }
    }
    lost()
}

/// Whether it was news: much is told again and again, such as an address each time it is renewed.
fn handle(rib: &mut Ledger, event: WatchEvent) -> bool {
    match event {
        WatchEvent::Link(LinkEvent::Set { index, name, state, vrf }) => {
            let is_news = rib.handle_link(index, &name, state == LinkState::Up);
            rib.handle_vrf_place(index, vrf) || is_news
        }
        WatchEvent::Link(LinkEvent::Gone { index }) => {
            rib.handle_link_gone(index);
            true
        }
        WatchEvent::Address(AddressEvent::Added { index, address, prefix }) => {
            rib.handle_address(index, address, prefix)
        }
        WatchEvent::Address(AddressEvent::Removed { index, address, prefix }) => {
            rib.handle_address_gone(index, address, prefix);
            true
        }
        WatchEvent::DumpComplete => {
            rib.handle_links_complete();
            true
        }
        WatchEvent::Resync => {
            rib.handle_links_unknown();
            true
        }
    }
}

fn lost() -> io::Error {
    io::Error::other("links and addresses cannot be followed any more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InterfaceIndex, VrfPlace};

    #[test]
    fn a_vrf_that_came_or_has_another_table_is_told_once() {
        let mut vrfs = Vrfs::default();
        vrfs.note("red", None);
        vrfs.note("blue", Some(KernelTable(1000)));
        let mut told = |name: &str, table: Option<u32>| {
            let vrf = VrfPlace { is_vrf: table.map(KernelTable), ..VrfPlace::default() };
            let (index, state) = (InterfaceIndex(7), LinkState::Up);
            let event = LinkEvent::Set { index, name: name.to_owned(), state, vrf };
            vrfs.changed(&WatchEvent::Link(event)).map(|(name, table)| format!("{name} {table}"))
        };
        assert_eq!(told("red", None), None, "a link of another kind");
        assert_eq!(told("red", Some(9)), Some("red 9".to_owned()));
        assert_eq!(told("red", Some(9)), None);
        assert_eq!(told("blue", Some(1000)), None);
        assert_eq!(told("blue", Some(1001)), Some("blue 1001".to_owned()));
        assert_eq!(told("green", Some(3)), None, "nobody named it");
    }
}
