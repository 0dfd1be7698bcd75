//! Between the RIB and the kernel: effects in, operations out, results back.
//!
//! Destinations wait in the RIB, where they coalesce, and are taken only as fast as the kernel
//! takes them; so neither a flood of changes nor a slow kernel fills any queue here.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::notifier::Notifier;
use crate::{
    bus::FibState,
    fib::{Mirror, Settled},
    kernel::{Batch, Dump, DumpNews, Outcome, Writer},
    model::{Family, KernelTable, Prefix, TableId, Target},
    netlink::{DumpRequest, Signature},
    rib::Effect,
    shared::SharedRib,
};

/// How many effects are taken under one lock.
const SLICE: usize = 512;

/// With this many operations waiting, further effects wait in the RIB.
const ENOUGH: usize = 4096;

/// Work that is done sooner is not announced: a single route is in the kernel in microseconds.
const WORTH_ANNOUNCING: Duration = Duration::from_millis(100);

/// Keeps the kernel equal to the best routes; returns why it cannot any more.
///
/// `state` is told where the kernel stands.
pub(super) async fn keep(
    rib: &SharedRib,
    signature: Signature,
    state: &watch::Sender<FibState>,
) -> io::Error {
    let mirrors = Mirrors::new(rib);
    let (writer, outcomes) = match Writer::start(signature) {
        Ok(started) => started,
        Err(error) => return error,
    };
    let mut keeper =
        Keeper { rib, mirrors, announced: Announced::default(), notifier: Notifier::start() };
    for (id, table) in rib.with(|rib| rib.kernel_tables().collect::<Vec<_>>()) {
        let request = DumpRequest { table, family: id.family, signature: Some(signature) };
        keeper.read_table(id, request).await;
    }
    match keeper.run(&writer, outcomes, state).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

#[derive(Debug)]
struct Keeper<'r> {
    rib: &'r SharedRib,
    mirrors: Mirrors,
    announced: Announced,
    notifier: Notifier,
}

/// The mirrors of all tables that go to the kernel.
#[derive(Debug)]
struct Mirrors {
    by_id: BTreeMap<TableId, (KernelTable, Mirror)>,
    /// No two instances share a kernel table, so its results have one place to go.
    by_table: BTreeMap<(KernelTable, Family), TableId>,
    last_served: Option<TableId>,
}

/// What the world was told last.
#[derive(Debug)]
struct Announced {
    ready: bool,
    state: FibState,
    /// Since when there is work that the world does not know of.
    busy_since: Option<Instant>,
}

impl Mirrors {
    fn new(rib: &SharedRib) -> Self {
        let tables: Vec<_> = rib.with(|rib| rib.kernel_tables().collect());
        let by_table = tables.iter().map(|(id, table)| ((*table, id.family), *id)).collect();
        let by_id = tables.into_iter().map(|(id, table)| (id, (table, Mirror::new()))).collect();
        Self { by_id, by_table, last_served: None }
    }

    fn get_mut(&mut self, id: TableId) -> Option<&mut Mirror> {
        self.by_id.get_mut(&id).map(|(_, mirror)| mirror)
    }

    fn iter(&self) -> impl Iterator<Item = &Mirror> {
        self.by_id.values().map(|(_, mirror)| mirror)
    }

    fn pending(&self) -> usize {
        self.iter().map(|mirror| mirror.counts().pending).sum()
    }

    fn state(&self) -> FibState {
        if !self.iter().all(Mirror::is_settled) {
            FibState::Syncing
        } else if self.iter().any(|mirror| mirror.counts().failed > 0) {
            FibState::Degraded
        } else {
            FibState::Synced
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.iter().filter_map(Mirror::poll_deadline).min()
    }

    /// The next operations for one table, `count` at most; each table that has some in its turn.
    fn next_batch(&mut self, count: usize) -> Option<Batch> {
        let ids: Vec<TableId> = self.by_id.keys().copied().collect();
        let after = ids.iter().filter(|id| Some(**id) > self.last_served);
        let before = ids.iter().filter(|id| Some(**id) <= self.last_served);
        for id in after.chain(before) {
            let Some((table, mirror)) = self.by_id.get_mut(id) else { continue };
            let ops: Vec<_> = std::iter::from_fn(|| mirror.poll_op()).take(count).collect();
            if !ops.is_empty() {
                self.last_served = Some(*id);
                return Some(Batch { table: *table, ops });
            }
        }
        None
    }
}

impl Keeper<'_> {
    /// Finds out what of ours is in the kernel, as often as it takes.
    async fn read_table(&mut self, id: TableId, request: DumpRequest) {
        loop {
            match self.try_read_table(id, request).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(table = %id, %error, "reading the kernel's table failed, again in a second");
                    if let Some(mirror) = self.mirrors.get_mut(id) {
                        mirror.handle_dump_restarted();
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn try_read_table(&mut self, id: TableId, request: DumpRequest) -> io::Result<()> {
        let Some(mirror) = self.mirrors.get_mut(id) else { return Ok(()) };
        let mut dump = Dump::start(request)?;
        while let Some(news) = dump.next().await {
            match news {
                DumpNews::Part(routes) => {
                    for route in routes {
                        let found = match route.target() {
                            Some(Target::Plain(forwarding)) => {
                                Some(Arc::unwrap_or_clone(forwarding))
                            }
                            Some(Target::Object(_)) | None => None,
                        };
                        // Nothing is wished for yet, so nothing can be settled by it.
                        let _ = mirror.handle_dumped(route.to, found);
                    }
                }
                DumpNews::Restarted => mirror.handle_dump_restarted(),
                DumpNews::Failed(error) => return Err(error),
                DumpNews::Complete => {
                    mirror.handle_dump_complete();
                    return Ok(());
                }
            }
        }
        Err(io::Error::other("the dump ended early"))
    }

    async fn run(
        &mut self,
        writer: &Writer,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
        state: &watch::Sender<FibState>,
    ) -> io::Result<Infallible> {
        // What is left over from an earlier life may have to go.
        let mut may_have_work = true;
        self.report(&[]);
        loop {
            let wants_more = self.mirrors.pending() < ENOUGH;
            let deadline = self.mirrors.next_deadline();
            let announcement = self.announced.due(self.mirrors.state());
            tokio::select! {
                biased;
                outcome = outcomes.recv() => {
                    self.take_in(outcome.ok_or_else(|| io::Error::other("the writer has ended"))?);
                    may_have_work = true;
                }
                room = writer.room(), if may_have_work => {
                    let most = writer.most_messages();
                    match self.mirrors.next_batch(most) {
                        Some(batch) => room?.send(batch),
                        None => may_have_work = false,
                    }
                }
                () = self.rib.woken(), if wants_more => {
                    self.take_effects();
                    may_have_work = true;
                }
                () = super::until(deadline), if deadline.is_some() => {
                    let now = Instant::now();
                    self.mirrors.by_id.values_mut().for_each(|(_, mirror)| mirror.handle_deadline(now));
                    may_have_work = true;
                }
                () = super::until(announcement), if announcement.is_some() => self.announce(state),
            }
        }
    }

    /// Takes some effects from the RIB into the mirrors.
    fn take_effects(&mut self) {
        let (news, effects) = self.rib.with(|rib| (rib.poll_link_news(), rib.poll_effects(SLICE)));
        // First: an effect may be about what came after the loss.
        for (_, mirror) in self.mirrors.by_id.values_mut() {
            mirror.handle_lost(&news.lost);
            if news.gained {
                mirror.hurry();
            }
        }
        let mut settled = Vec::new();
        for Effect { table, to, forwarding } in effects {
            let Some(mirror) = self.mirrors.get_mut(table) else { continue };
            settled.extend(mirror.want(to, forwarding).map(|settled| (table, to, settled)));
        }
        self.report(&settled);
    }

    /// Takes the kernel's answers in.
    fn take_in(&mut self, outcome: Outcome) {
        let now = Instant::now();
        let mut settled = Vec::new();
        for (to, result) in outcome.results {
            let Some(id) = self.mirrors.by_table.get(&(outcome.table, to.family())).copied() else {
                continue;
            };
            if let Err(refusal) = &result {
                tracing::debug!(table = %id, %to, %refusal, "the kernel refused");
            }
            let Some(mirror) = self.mirrors.get_mut(id) else { continue };
            settled.extend(mirror.handle_result(to, result, now).map(|settled| (id, to, settled)));
        }
        self.report(&settled);
    }

    /// Tells the RIB what came to rest, and how many destinations are how far.
    fn report(&self, settled: &[(TableId, Prefix, Settled)]) {
        self.rib.with(|rib| {
            for (id, to, Settled { status, error }) in settled {
                let words = error.as_ref().map(ToString::to_string);
                rib.handle_fib(*id, *to, *status, words);
            }
            for (id, (_, mirror)) in &self.mirrors.by_id {
                rib.handle_fib_counts(*id, mirror.counts());
            }
        });
    }

    /// Tells the world where the kernel stands.
    fn announce(&mut self, told: &watch::Sender<FibState>) {
        let state = self.mirrors.state();
        if state != FibState::Syncing && !self.announced.ready {
            self.announced.ready = true;
            tracing::info!(state = state.name(), "the kernel is in step");
            self.notifier.ready();
        }
        let installed: usize = self.mirrors.iter().map(|mirror| mirror.counts().installed).sum();
        self.notifier.status(format!("{installed} routes in the kernel, {}", state.name()));
        let _ = told.send(state); // without a listener the service is ending
        self.announced.state = state;
    }
}

impl Default for Announced {
    fn default() -> Self {
        // What the service says of itself from the beginning.
        Self { ready: false, state: FibState::Syncing, busy_since: None }
    }
}

impl Announced {
    /// When to announce this state, if it is not the one announced.
    fn due(&mut self, state: FibState) -> Option<Instant> {
        if state != FibState::Syncing {
            self.busy_since = None;
        }
        match state {
            _ if state == self.state => None,
            FibState::Syncing => {
                Some(*self.busy_since.get_or_insert_with(Instant::now) + WORTH_ANNOUNCING)
            }
            FibState::Synced | FibState::Degraded => Some(Instant::now()),
        }
    }
}
