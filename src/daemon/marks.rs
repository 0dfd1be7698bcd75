//! By what our routes in the kernel are known, from one life of the service to the next.
//!
//! A route is ours by its protocol, its metric and its table. When the configuration says another of them, what
//! an earlier life wrote would be a stranger's to this one: nobody would take it out, and packets would go on
//! by it. So it is noted where routes may be before any is written there, and what is noted and not
//! configured any more is taken out.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    num::{NonZeroU8, NonZeroU32},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{fib::Kernel, files, notifier::Notifier, withdrawal};
use crate::{bus::FibState, model::KernelTable, netlink::Signature};

/// How long the kernel may take to be in step before what is not configured any more goes in any case.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where routes of ours may be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    protocol: NonZeroU8,
    metric: NonZeroU32,
    table: u32,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Marks {
    path: PathBuf,
    current: BTreeSet<Mark>,
    former: BTreeSet<Mark>,
}

impl Marks {
    /// Notes in this directory what the configuration says, beside what earlier ones said.
    ///
    /// # Errors
    /// It cannot be noted, so nothing may be written to the kernel.
    pub(super) fn note(
        directory: &Path,
        signature: Signature,
        tables: impl IntoIterator<Item = KernelTable>,
    ) -> io::Result<Self> {
        let Signature { protocol, metric } = signature;
        let mark = |table: KernelTable| Mark { protocol, metric, table: table.0 };
        let path = directory.join("marks.json");
        let current: BTreeSet<Mark> = tables.into_iter().map(mark).collect();
        let noted = read(&path);
        let marks = Self { former: noted.difference(&current).copied().collect(), current, path };
        if !marks.current.is_subset(&noted) {
            marks.write(marks.former.union(&marks.current))?;
        }
        Ok(marks)
    }

    /// Takes out what would keep new routes from being written: the kernel tells routes apart by table and metric,
    /// and not by protocol.
    pub(super) async fn make_way(&mut self) {
        let is_taken = |mark: &Mark| {
            self.current.iter().any(|it| (it.table, it.metric) == (mark.table, mark.metric))
        };
        let (now, later): (BTreeSet<Mark>, _) = self.former.iter().copied().partition(is_taken);
        if !now.is_empty() {
            self.former = later;
            let left = self.take_out(now).await;
            self.former.extend(left);
            self.forget();
        }
    }

    /// Takes out the rest once packets can follow the new routes instead.
    pub(super) async fn clear_up(mut self, mut state: watch::Receiver<FibState>) -> Infallible {
        if !self.former.is_empty() {
            // It ends with the service.
            let in_step = state.wait_for(|state| *state == FibState::Synced);
            let _ = tokio::time::timeout(PATIENCE, in_step).await;
            let former = std::mem::take(&mut self.former);
            self.former = self.take_out(former).await;
            self.forget();
        }
        std::future::pending().await
    }

    /// Takes out all that is noted.
    ///
    /// # Errors
    /// Some of it stays; the log says why.
    pub(super) async fn take_out_all(mut self) -> io::Result<()> {
        self.former.append(&mut self.current);
        let former = std::mem::take(&mut self.former);
        self.former = self.take_out(former).await;
        self.forget();
        match self.former.is_empty() {
            true => Ok(()),
            false => Err(io::Error::other("not all routes could be taken out")),
        }
    }

    /// Answers with what stays.
    async fn take_out(&self, former: BTreeSet<Mark>) -> BTreeSet<Mark> {
        let mut by_signature = BTreeMap::<_, BTreeSet<u32>>::new();
        for Mark { protocol, metric, table } in former {
            by_signature.entry((protocol, metric)).or_default().insert(table);
        }
        let mut left = BTreeSet::new();
        for ((protocol, metric), tables) in by_signature {
            // Objects have no metric and no table: those of this protocol may be in use.
            let with_objects = self.current.iter().all(|mark| mark.protocol != protocol);
            tracing::info!(
                %protocol,
                %metric,
                ?tables,
                "taking out of the kernel what was written by another configuration"
            );
            let kernel_tables: Vec<_> = tables.iter().copied().map(KernelTable).collect();
            let withdrawn = match Kernel::open(Signature { protocol, metric }) {
                Ok(mut kernel) => {
                    let what = withdrawal::What { tables: &kernel_tables, with_objects };
                    withdrawal::withdraw(&mut kernel, what, &Notifier::default()).await
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(fault) = withdrawn {
                tracing::error!("{fault}");
                left.extend(tables.into_iter().map(|table| Mark { protocol, metric, table }));
            }
        }
        left
    }

    /// What was taken out is not looked for again.
    fn forget(&self) {
        if let Err(error) = self.write(self.former.union(&self.current)) {
            tracing::warn!(file = %self.path.display(), %error, "it is not noted what was taken out");
        }
    }

    fn write<'m>(&self, marks: impl Iterator<Item = &'m Mark>) -> io::Result<()> {
        let text = serde_json::to_string(&marks.collect::<BTreeSet<_>>())?;
        files::replace(&self.path, &text)
    }
}

/// What is in the file; nothing, if that cannot be read.
fn read(path: &Path) -> BTreeSet<Mark> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        read => read,
    };
    let marks = text.and_then(|text| Ok(serde_json::from_str(&text)?));
    marks.unwrap_or_else(|error| {
        tracing::warn!(
            file = %path.display(),
            %error,
            "it cannot be read where routes were written by another configuration: if protocol, metric or \
             table were changed since, look for them with ip route"
        );
        BTreeSet::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(protocol: u8, metric: u32) -> Signature {
        let metric = NonZeroU32::new(metric).unwrap();
        Signature { protocol: NonZeroU8::new(protocol).unwrap(), metric }
    }

    fn former(marks: &Marks) -> Vec<(u8, u32, u32)> {
        let former = marks.former.iter();
        former.map(|it| (it.protocol.get(), it.metric.get(), it.table)).collect()
    }

    #[test]
    fn what_an_earlier_configuration_said_is_noted_until_it_is_taken_out() {
        let directory = tempfile::tempdir().unwrap();
        let note = |protocol, metric, tables: &[u32]| {
            let tables = tables.iter().copied().map(KernelTable);
            Marks::note(directory.path(), signature(protocol, metric), tables).unwrap()
        };
        assert_eq!(former(&note(82, 82, &[254])), []);
        assert_eq!(former(&note(82, 82, &[254])), []);
        assert_eq!(former(&note(82, 100, &[254, 10])), [(82, 82, 254)]);
        // Another start before anything was taken out.
        let mut marks = note(82, 82, &[254]);
        assert_eq!(former(&marks), [(82, 100, 10), (82, 100, 254)]);
        marks.former.clear();
        marks.forget();
        assert_eq!(former(&note(82, 82, &[254])), []);
    }

    #[test]
    fn a_file_of_nonsense_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", "[{\"protocol\": 0, \"metric\": 1, \"table\": 1}]", "[1]"] {
            std::fs::write(directory.path().join("marks.json"), text).unwrap();
            let marks = Marks::note(directory.path(), signature(82, 82), [KernelTable(254)]);
            assert_eq!(former(&marks.unwrap()), [], "{text}");
        }
    }

    #[test]
    fn nothing_is_begun_where_it_cannot_be_noted() {
        let nowhere = Path::new("/proc/self/fdinfo");
        Marks::note(nowhere, signature(82, 82), [KernelTable(254)]).unwrap_err();
    }
}
