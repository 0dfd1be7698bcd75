//! Taking what is ours out of the kernel, where the service is configured to leave nothing behind when it
//! is told to stop.
//!
//! The plan is not asked: whatever carries our mark goes, also what an earlier life left and nobody has read
//! yet. What clients offered and its journal stay as they are, so the next start puts all of it back.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{fib::Kernel, notifier::Notifier};
use crate::{
    fib::{FibOp, ObjectOp, Refusal, RouteOp},
    kernel::{Dump, DumpNews},
    model::{Family, KernelTable, NextHopObject},
    netlink::{DumpRequest, DumpedObject, DumpedRoute, ObjectDumpRequest},
};

/// What is not done by then stays. Service managers wait a little longer (systemd 90 seconds,
/// `TimeoutStopSec`), and a million routes take ten seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// How long to wait before the kernel is asked again for what it refused.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be taken out.
#[derive(Clone, Copy)]
pub(super) struct What<'w> {
    /// The tables with routes of ours.
    pub(super) tables: &'w [KernelTable],
    /// Whether next-hop objects of ours go too, in no table or in all.
    pub(super) with_objects: bool,
}

/// Takes all routes of ours out of these tables, and all next-hop objects of ours out of the kernel.
///
/// # Errors
/// What stays there, and why.
pub(super) async fn withdraw(
    kernel: &mut Kernel,
    what: What<'_>,
    notifier: &Notifier,
) -> Result<(), String> {
    let began = Instant::now();
    let mut withdrawal = Withdrawal { kernel, what, notifier, refusal: None };
    let ended = tokio::time::timeout(LIMIT, withdrawal.run()).await;
    let refusal = withdrawal.refusal;
    let fault = match ended {
        Ok(Ok(())) => {
            tracing::info!(took = ?began.elapsed(), "nothing of ours is in the kernel");
            return Ok(());
        }
        Ok(Err(error)) => {
            format!("what is ours cannot be taken out of the kernel and stays there: {error}")
        }
        Err(_) => {
            let why = refusal.map(|refusal| format!(": {refusal}")).unwrap_or_default();
            format!(
                "not all that is ours could be taken out of the kernel in {LIMIT:?}, the rest stays{why}"
            )
        }
    };
    Err(fault)
}

struct Withdrawal<'w> {
    kernel: &'w mut Kernel,
    what: What<'w>,
    notifier: &'w Notifier,
    /// What the kernel said last.
    refusal: Option<Refusal>,
}

impl Withdrawal<'_> {
    /// Ends when the kernel has nothing of ours, or when nobody writes to it any more.
    async fn run(&mut self) -> io::Result<()> {
        self.notifier.status("taking the routes out of the kernel".to_owned());
        // What the plan has on its way is to be there, or it would come after.
        self.kernel.writer.write(Vec::new()).await?;
        while !self.next_outcome().await?.is_empty() {}
        loop {
            match self.round().await? {
                Ok(0) => return Ok(()),
                Ok(_) if self.refusal.is_none() => {}
                Ok(_) => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    tracing::debug!(%error, "reading what is ours failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes out what is there now; answers with how much that was, or why it cannot be read.
    async fn round(&mut self) -> io::Result<io::Result<usize>> {
        self.refusal = None;
        let signature = Some(self.kernel.signature);
        let dumped = match self.what.with_objects {
            true => read(Dump::start(ObjectDumpRequest { signature })).await,
            false => Ok(Vec::new()),
        };
        let mut objects = match dumped {
            Ok(objects) => objects,
            // The kernel has none (before Linux 5.3).
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
            Err(error) => return Ok(Err(error)),
        };
        let mut found = objects.len();
        // With each of them its routes go, a million at once. Groups first: a member that goes changes its.
        objects.sort_by_key(|object| !is_group(object));
        self.carry_out(
            objects.into_iter().map(|it| FibOp::Object { id: it.id, op: ObjectOp::Delete }),
        )
        .await?;
        let tables = self.what.tables;
        for (table, family) in
            tables.iter().flat_map(|table| Family::ALL.map(|family| (table, family)))
        {
            let question = DumpRequest::ours(*table, family, self.kernel.signature);
            let routes: Vec<DumpedRoute> = match read(Dump::start(question)).await {
                Ok(routes) => routes,
                Err(error) => return Ok(Err(error)),
            };
            found += routes.len();
            let ops = routes.into_iter().map(|route| FibOp::Route {
                table: *table,
                to: route.to,
                op: RouteOp::Uninstall,
            });
            self.carry_out(ops).await?;
        }
        Ok(Ok(found))
    }

    async fn carry_out(&mut self, ops: impl ExactSizeIterator<Item = FibOp>) -> io::Result<()> {
        let mut ops = ops.peekable();
        while ops.peek().is_some() {
            self.notifier.status(format!("taking {} routes out of the kernel", ops.len()));
            self.notifier.alive();
            let batch = ops.by_ref().take(self.kernel.writer.most_messages()).collect();
            self.kernel.writer.write(batch).await?;
            let refusals = self.next_outcome().await?.into_iter().filter_map(|(_, it)| it.err());
            // Somebody else may have been quicker, or the route went with its object.
            let is_gone = |it: &Refusal| matches!(it.errno, libc::ESRCH | libc::ENOENT);
            self.refusal =
                refusals.filter(|it| !is_gone(it)).last().or_else(|| self.refusal.take());
        }
        Ok(())
    }

    async fn next_outcome(&mut self) -> io::Result<crate::kernel::Outcome> {
        let ended = || io::Error::other("the writer has ended");
        self.kernel.outcomes.recv().await.ok_or_else(ended)
    }
}

fn is_group(object: &DumpedObject) -> bool {
    matches!(object.content, Some(NextHopObject::Group { .. }))
}

/// All that a dump tells.
async fn read<T: Send + 'static>(dump: io::Result<Dump<T>>) -> io::Result<Vec<T>> {
    let mut dump = dump?;
    let mut all = Vec::new();
    loop {
        match dump.next().await {
            Some(DumpNews::Part(part)) => all.extend(part),
            Some(DumpNews::Restarted) => all.clear(),
            Some(DumpNews::Complete) => return Ok(all),
            Some(DumpNews::Failed(error)) => return Err(error),
            None => return Err(io::Error::other("the dump ended early")),
        }
    }
}
