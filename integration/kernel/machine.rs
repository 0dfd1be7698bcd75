//! The planner and the kernel's side of the service without the rest of it.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Instant};

use rtmd::{
    fib::{Doubt, FibOp, Planner, Refusal, Support},
    kernel::{Dump, DumpNews, Outcome, Writer},
    model::{Family, Forwarding, GroupId, KernelTable, Prefix, Special, TableId, Target, Wish},
    netlink::{DumpRequest, ObjectDumpRequest, Signature},
};
use tokio::{runtime::Runtime, sync::mpsc::UnboundedReceiver};

use crate::world::forwarding;

/// The planner of one table with the kernel behind it.
pub(crate) struct Machine {
    pub(crate) planner: Planner,
    pub(crate) writer: Writer,
    outcomes: UnboundedReceiver<Outcome>,
    runtime: Runtime,
    wishes: BTreeMap<(Family, String), Wish>,
    groups: u32,
    /// How many operations the kernel was asked for.
    pub(crate) ops: usize,
    /// The refusals of routes so far.
    pub(crate) refused: Vec<(Prefix, Refusal)>,
}

impl Machine {
    /// As after a start: what the kernel has has been read; next hops are in the routes.
    pub(crate) fn start(table: u32) -> Self {
        Self::start_with(table, Support::None)
    }

    pub(crate) fn start_with(table: u32, support: Support) -> Self {
        let mut machine = Self::before_dump(table, support);
        machine.read();
        machine
    }

    /// As at a start.
    pub(crate) fn before_dump(table: u32, support: Support) -> Self {
        let (writer, outcomes) = Writer::start(signature()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tables = Family::ALL.map(|family| (table_id(family), KernelTable(table)));
        Self {
            planner: Planner::new(support, tables),
            writer,
            outcomes,
            runtime,
            wishes: BTreeMap::new(),
            groups: 0,
            ops: 0,
            refused: Vec::new(),
        }
    }

    /// Reads what is in doubt.
    pub(crate) fn read(&mut self) {
        let signature = signature();
        while let Some(doubt) = self.planner.poll_doubt() {
            self.planner.begin_reading(doubt);
            match doubt {
                Doubt::Objects => {
                    for object in
                        collect(Dump::start(ObjectDumpRequest { signature: Some(signature) }))
                    {
                        self.planner.handle_found_object(object.id, object.content);
                    }
                }
                Doubt::Table(id, table) => {
                    let question = DumpRequest::ours(table, id.family, signature);
                    for route in collect(Dump::start(question)) {
                        self.planner.handle_found_route(id, route.to, route.target());
                    }
                }
            }
            self.planner.handle_reading_complete(doubt);
        }
    }

    pub(crate) fn want(&mut self, to: &str, what: &str) {
        let to: Prefix = to.parse().unwrap();
        let family = to.family();
        // Reading a way looks up its links, so it is done once.
        let wish = match self.wishes.get(&(family, what.to_owned())) {
            Some(wish) => *wish,
            None => match forwarding(what) {
                Forwarding::Blackhole => Wish::Special(Special::Blackhole),
                Forwarding::Unreachable => Wish::Special(Special::Unreachable),
                Forwarding::Prohibit => Wish::Special(Special::Prohibit),
                hops @ Forwarding::Unicast(_) => Wish::Group(self.group(family, hops)),
            },
        };
        self.wishes.insert((family, what.to_owned()), wish);
        self.planner.want(table_id(family), to, Some(wish));
    }

    /// A new group.
    pub(crate) fn group(&mut self, family: Family, hops: Forwarding) -> GroupId {
        self.groups += 1;
        let id = GroupId(NonZeroU32::new(self.groups).unwrap());
        self.planner.handle_group(id, table_id(family), Some(Arc::new(hops)), None, None);
        id
    }

    pub(crate) fn withdraw(&mut self, to: &str) {
        let to: Prefix = to.parse().unwrap();
        self.planner.want(table_id(to.family()), to, None);
    }

    /// Forgets all groups, and what the kernel has of them.
    pub(crate) fn leave_groups(&mut self) {
        self.wishes.clear();
        for id in 1..=self.groups {
            self.planner.handle_group_gone(GroupId(NonZeroU32::new(id).unwrap()));
        }
        self.drain();
    }

    /// Works until there is nothing left to do, with the next batch under way while one is evaluated.
    pub(crate) fn drain(&mut self) {
        let mut in_flight = 0;
        loop {
            if in_flight == 0 {
                self.read();
            }
            while in_flight < 2 {
                let ops = self.planner.poll_ops(self.writer.most_messages());
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
            for (op, result) in self.outcomes.blocking_recv().unwrap() {
                self.planner.handle_result(&op, result, Instant::now());
            }
            while let Some((_, to, settled)) = self.planner.poll_settled() {
                self.refused.extend(settled.error.map(|refusal| (to, refusal)));
            }
        }
    }

    /// One batch and what came of it.
    pub(crate) fn carry_out(&mut self, ops: Vec<FibOp>) -> Outcome {
        self.send(ops);
        self.outcomes.blocking_recv().unwrap()
    }

    fn send(&mut self, ops: Vec<FibOp>) {
        self.ops += ops.len();
        self.runtime.block_on(self.writer.write(ops)).unwrap();
    }

    /// How many destinations the kernel has, and how many it refused.
    pub(crate) fn installed_and_failed(&self) -> (usize, usize) {
        let counts = self.planner.counts().map(|(_, counts)| (counts.installed, counts.failed));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }
}

fn table_id(family: Family) -> TableId {
    TableId::new(0, family).unwrap()
}

/// What of ours is in a table, said in the routes themselves.
pub(crate) fn dump(table: KernelTable) -> Vec<(Prefix, Option<Forwarding>)> {
    let routes = Family::ALL
        .into_iter()
        .flat_map(|family| collect(Dump::start(DumpRequest::ours(table, family, signature()))));
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
            DumpNews::Restarted => found.clear(),
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
