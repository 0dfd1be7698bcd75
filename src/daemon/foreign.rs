//! The routes of others, from the kernel's tables to the RIB.
//!
//! Where something may have changed, the table is read again as a whole a moment later, by protocol, so
//! that a million routes of ours are not among it. News come by the watch of routes, and by that of
//! links, because with a link IPv4 routes go without a word.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    bus::Service,
    clock,
    kernel::{Dump, DumpNews, RouteEvent},
    model::{KernelProtocol, KernelTable, Metric, Special, TableId},
    netlink::{DumpedRoute, ProtocolDumpRequest, RouteKind, Signature},
    rib::{ForeignRoute, ForeignWay, Progress},
    shared::SharedRib,
};

/// How long changes are gathered before a table is read for them.
const GATHERING: Duration = Duration::from_millis(100);

/// How long to wait after reading failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How many routes are taken away under one lock.
const SLICE: usize = 512;

/// The tables, and which of them are not known for certain.
#[derive(Debug)]
pub(super) struct Foreigners {
    tables: Vec<Followed>,
    doubtful: Mutex<BTreeSet<usize>>,
    doubted: Notify,
}

/// A table with the protocols that are of interest there.
#[derive(Debug)]
struct Followed {
    id: TableId,
    table: KernelTable,
    protocols: Vec<KernelProtocol>,
}

impl Foreigners {
    /// All tables whose policy wants any of them, to be read.
    pub(super) fn new(rib: &SharedRib, signature: Signature) -> Self {
        let tables = rib.with(|rib| {
            let followed = |(id, table)| {
                let protocols = rib.foreign_protocols(id).into_iter();
                let others = protocols.filter(|other| other.0 != signature.protocol.get());
                let protocols: Vec<_> = others.collect();
                (!protocols.is_empty()).then_some(Followed { id, table, protocols })
            };
            rib.kernel_tables().filter_map(followed).collect()
        });
        let doubtful = Mutex::default();
        Self { tables, doubtful, doubted: Notify::new() }
    }

    /// Something may have changed anywhere.
    pub(super) fn doubt_all(&self) {
        self.doubt(0..self.tables.len());
    }

    /// Somebody changed something in the kernel.
    pub(super) fn handle(&self, event: &RouteEvent, rib: &SharedRib) {
        let (route, replaced) = match event {
            RouteEvent::RouteSet { route, replaced } => (route, *replaced),
            RouteEvent::RouteGone(route) => (route, false),
            RouteEvent::ObjectSet(_) | RouteEvent::ObjectGone(_) | RouteEvent::Overrun => {
                return self.doubt_all();
            }
        };
        let (table, family) = (route.table, route.to.family());
        let place = self.tables.iter().position(|it| (it.table, it.id.family) == (table, family));
        let Some((place, followed)) = place.and_then(|at| Some((at, self.tables.get(at)?))) else {
            return;
        };
        let is_read = followed.protocols.contains(&KernelProtocol(route.protocol));
        // What it took the place of is gone without a word.
        if is_read || replaced && rib.with(|rib| rib.has_foreign_route(followed.id, route.to)) {
            self.doubt([place]);
        }
    }

    fn doubt(&self, places: impl IntoIterator<Item = usize>) {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
        self.doubted.notify_one();
    }

    fn take(&self) -> Option<usize> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Tells the RIB what there is, once.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) async fn learn(&self, rib: &SharedRib) -> io::Result<()> {
        for followed in &self.tables {
            followed.read(rib).await?;
        }
        // They are put on the bus with the others of the service.
        rib.with(|rib| rib.poll_foreign_entities());
        Ok(())
    }

    /// Keeps the RIB informed.
    pub(super) async fn keep(&self, rib: &SharedRib, service: &Service) -> Infallible {
        loop {
            self.doubted.notified().await;
            tokio::time::sleep(GATHERING).await;
            while let Some(place) = self.take() {
                let Some(followed) = self.tables.get(place) else { continue };
                if let Err(error) = followed.read(rib).await {
                    let table = followed.table.0;
                    tracing::error!(%error, table, "reading routes of others failed, again in a second");
                    tokio::time::sleep(PAUSE).await;
                    self.doubt([place]);
                }
            }
            for id in rib.with(|rib| rib.poll_foreign_entities()) {
                service.welcome(id).await;
            }
        }
    }
}

impl Followed {
    /// Reads all there is.
    async fn read(&self, rib: &SharedRib) -> io::Result<()> {
        rib.with(|rib| rib.handle_foreign_unknown(self.id));
        let mut refused = 0;
        for protocol in &self.protocols {
            let question = ProtocolDumpRequest {
                table: self.table,
                family: self.id.family,
                protocol: protocol.0,
            };
            let mut dump = Dump::start(question)?;
            loop {
                match dump.next().await {
                    Some(DumpNews::Part(routes)) => refused += self.tell(rib, &routes),
                    Some(DumpNews::Complete) => break,
                    Some(DumpNews::Failed(error)) => return Err(error),
                    Some(DumpNews::Restarted) | None => {
                        return Err(io::Error::other("the dump was interrupted"));
                    }
                }
            }
        }
        if refused > 0 {
            tracing::warn!(table = %self.id, refused, "routes of others were left out; debug says why");
        }
        let slice = || rib.with(|rib| rib.handle_foreign_complete(self.id, SLICE, clock::now()));
        while slice() == Progress::Unfinished {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Tells some routes; says how many the RIB did not take.
    fn tell(&self, rib: &SharedRib, routes: &[DumpedRoute]) -> usize {
        let now = clock::now();
        let routes = routes.iter().filter_map(foreign_route);
        rib.with(|rib| {
            let told = routes.map(|route| rib.handle_foreign_route(self.id, route, now));
            let refused = told.filter_map(Result::err);
            refused.inspect(|refusal| tracing::debug!(%refusal, "a route of others")).count()
        })
    }
}

/// A route in the RIB's words; `None` for one that is not about where to send packets.
fn foreign_route(route: &DumpedRoute) -> Option<ForeignRoute> {
    let protocol = KernelProtocol(route.protocol);
    let hops = || route.legs.iter().map(|leg| leg.hop).collect();
    let way = match route.kind {
        RouteKind::Unicast => ForeignWay::Out(hops()),
        RouteKind::Local => ForeignWay::Here(hops()),
        // What the kernel does by itself with packets that nobody has a route for.
        _ if protocol == KernelProtocol::KERNEL => return None,
        RouteKind::Blackhole => ForeignWay::Special(Special::Blackhole),
        RouteKind::Unreachable => ForeignWay::Special(Special::Unreachable),
        RouteKind::Prohibit => ForeignWay::Special(Special::Prohibit),
        _ => return None,
    };
    Some(ForeignRoute { to: route.to, protocol, metric: Metric(route.metric), way })
}
