//! The mirror and the kernel's side of the service without the rest of it.

use rtmd::{
    fib::{FibOp, Mirror, Refusal},
    kernel::{Batch, Dump, DumpNews, Outcome, Writer},
    model::{Family, Forwarding, KernelTable, Prefix, Target},
    netlink::{DumpRequest, Signature},
};
use tokio::{runtime::Runtime, sync::mpsc::UnboundedReceiver};

use crate::world::forwarding;

/// A mirror of one table with the kernel behind it.
pub(crate) struct Machine {
    pub(crate) mirror: Mirror,
    pub(crate) table: KernelTable,
    pub(crate) writer: Writer,
    outcomes: UnboundedReceiver<Outcome>,
    runtime: Runtime,
    /// How many operations the kernel was asked for.
    pub(crate) ops: usize,
    /// The refusals so far.
    pub(crate) refused: Vec<(Prefix, Refusal)>,
}

impl Machine {
    /// As after a start: the table has been read.
    pub(crate) fn start(table: u32) -> Self {
        let mut machine = Self::before_dump(table);
        machine.read_table();
        machine
    }

    /// As at a start.
    pub(crate) fn before_dump(table: u32) -> Self {
        let (writer, outcomes) = Writer::start(signature()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            mirror: Mirror::new(),
            table: KernelTable(table),
            writer,
            outcomes,
            runtime,
            ops: 0,
            refused: Vec::new(),
        }
    }

    pub(crate) fn read_table(&mut self) {
        for (to, found) in dump(self.table) {
            self.mirror.handle_dumped(to, found);
        }
        self.mirror.handle_dump_complete();
    }

    pub(crate) fn want(&mut self, to: &str, what: &str) {
        self.mirror.want(to.parse().unwrap(), Some(forwarding(what).into()));
    }

    pub(crate) fn withdraw(&mut self, to: &str) {
        self.mirror.want(to.parse().unwrap(), None);
    }

    /// Works until there is nothing left to do, with the next batch under way while one is evaluated.
    pub(crate) fn drain(&mut self) {
        let mut in_flight = 0;
        loop {
            while in_flight < 2 {
                let next = std::iter::from_fn(|| self.mirror.poll_op());
                let ops: Vec<FibOp> = next.take(self.writer.most_messages()).collect();
                if ops.is_empty() {
                    break;
                }
                self.send(ops);
                in_flight += 1;
            }
            if in_flight == 0 {
                return;
            }
            in_flight -= 1;
            for (to, result) in self.outcome() {
                if let Err(refusal) = &result {
                    self.refused.push((to, refusal.clone()));
                }
                self.mirror.handle_result(to, result, std::time::Instant::now());
            }
        }
    }

    /// One batch and what came of it.
    pub(crate) fn carry_out(&mut self, ops: Vec<FibOp>) -> Vec<(Prefix, Result<(), Refusal>)> {
        self.send(ops);
        self.outcome()
    }

    fn send(&mut self, ops: Vec<FibOp>) {
        self.ops += ops.len();
        let batch = Batch { table: self.table, ops };
        self.runtime.block_on(self.writer.write(batch)).unwrap();
    }

    fn outcome(&mut self) -> Vec<(Prefix, Result<(), Refusal>)> {
        self.outcomes.blocking_recv().unwrap().results
    }
}

/// What of ours is in a table.
pub(crate) fn dump(table: KernelTable) -> Vec<(Prefix, Option<Forwarding>)> {
    let routes = Family::ALL.into_iter().flat_map(|family| {
        collect(Dump::start(DumpRequest { table, family, signature: Some(signature()) }))
    });
    let forwarding = |target| match target {
        Target::Plain(forwarding) => Some((*forwarding).clone()),
        Target::Object(_) => None,
    };
    routes.map(|route| (route.to, route.target().and_then(forwarding))).collect()
}

/// All that a dump tells.
pub(crate) fn collect<T: Send + 'static>(dump: std::io::Result<Dump<T>>) -> Vec<T> {
    let mut dump = dump.unwrap();
    let mut found = Vec::new();
    loop {
        match dump.blocking_next().unwrap() {
            DumpNews::Part(part) => found.extend(part),
            DumpNews::Restarted => panic!("restarted in a quiet namespace"),
            DumpNews::Complete => break,
            DumpNews::Failed(error) => panic!("{error}"),
        }
    }
    assert!(dump.blocking_next().is_none());
    found
}

/// What rtmd uses by default.
pub(crate) fn signature() -> Signature {
    Signature::default()
}
