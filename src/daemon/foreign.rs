//! The routes of others, from the kernel's tables to the RIB.
//!
//! News of single routes count at once. Whenever something may have changed, what a protocol has in a
//! table is read anew as well, a moment later: with a link, or with a next-hop object, IPv4 routes go
//! without a word, and what was lost of the news shows in the comparison. Each protocol of a table is read
//! by itself, so a daemon with a million routes costs nothing where it is ignored, and where it is not it
//! keeps nobody waiting for the connected networks.
//!
//! Reading goes on beside everything else, and what takes long is read seldom: the pause after it is a
//! multiple of the time it took.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    bus::Service,
    clock,
    kernel::{Dump, DumpNews, RouteEvent},
    model::{
        Family, Hop, InterfaceIndex, KernelProtocol, KernelTable, Metric, NextHopObject, ObjectId,
        Special, TableId, Weight,
    },
    netlink::{DumpRequest, DumpedRoute, ObjectDumpRequest, RouteKind, Signature},
    rib::{ForeignRoute, ForeignWay, QUIET},
    shared::SharedRib,
};

/// How long changes are gathered before all is read for them.
const GATHERING: Duration = Duration::from_millis(100);

/// How many times as long as reading took the pause after it is at least: a tenth of a processor at most.
const RATIO: u32 = 10;

/// How long to wait after reading failed.
const PAUSE: Duration = Duration::from_secs(1);

/// How many dumps go on at a time, each with a thread of its own.
const MOST_AT_ONCE: usize = 4;

/// All that is read.
#[derive(Debug)]
pub(super) struct Foreigners {
    all: BTreeMap<Place, Foreigner>,
    turns: Semaphore,
    /// How many have not been read yet.
    unread: watch::Sender<usize>,
}

type Place = (KernelTable, Family, KernelProtocol);

/// A protocol in a table.
#[derive(Debug)]
struct Foreigner {
    id: TableId,
    table: KernelTable,
    protocol: KernelProtocol,
    /// Something may have changed.
    doubted: Notify,
    /// Whether there were next-hop objects in its routes when they were last read.
    uses_objects: AtomicBool,
}

/// What next-hop objects come to.
type Objects = HashMap<ObjectId, NextHopObject>;

impl Foreigners {
    /// Whatever policy wants to know about, still to be read.
    pub(super) fn new(rib: &SharedRib, signature: Signature) -> Self {
        let mut all = BTreeMap::new();
        rib.with(|rib| {
            for (id, table) in rib.kernel_tables() {
                let protocols = rib.foreign_protocols(id).into_iter();
                // What is marked as ours is ours.
                for protocol in protocols.filter(|other| other.0 != signature.protocol.get()) {
                    let (doubted, uses_objects) = (Notify::new(), AtomicBool::new(false));
                    doubted.notify_one();
                    let one = Foreigner { id, table, protocol, doubted, uses_objects };
                    all.insert((table, id.family, protocol), one);
                }
            }
        });
        let unread = watch::Sender::new(all.len());
        Self { all, turns: Semaphore::new(MOST_AT_ONCE), unread }
    }

    /// Waits until all have been read, or tried, once.
    pub(super) async fn known(&self) {
        // The sender is here.
        let _ = self.unread.subscribe().wait_for(|unread| *unread == 0).await;
    }

    /// Whose routes matter in any table, by `rtm_protocol`.
    pub(super) fn protocols(&self) -> BTreeSet<u8> {
        self.all.keys().map(|(_, _, protocol)| protocol.0).collect()
    }

    /// Something may have changed anywhere.
    pub(super) fn doubt_all(&self) {
        self.all.values().for_each(|one| one.doubted.notify_one());
    }

    /// Somebody changed something in the kernel.
    pub(super) fn handle(&self, event: &RouteEvent, rib: &SharedRib) {
        let (route, replaced) = match event {
            RouteEvent::RouteSet { route, replaced } => (route, *replaced),
            RouteEvent::RouteGone { route, .. } => (route, false),
            RouteEvent::ObjectSet(_) | RouteEvent::ObjectGone(_) => {
                let with = self.all.values().filter(|one| one.uses_objects.load(Ordering::Relaxed));
                return with.for_each(|one| one.doubted.notify_one());
            }
            RouteEvent::Overrun => return self.doubt_all(),
        };
        let (table, family) = (route.table, route.to.family());
        let find = |protocol| self.all.get(&(table, family, protocol));
        if let Some(one) = find(KernelProtocol(route.protocol)) {
            one.doubted.notify_one();
            if let Some(foreign) = foreign_route(route, &Objects::new()) {
                one.handle(event, foreign, rib);
            }
        }
        // What it took the place of is gone without a word.
        if replaced && let Some((_, any)) = self.in_table(table, family).next() {
            rib.with(|rib| {
                let others = rib.foreign_protocols_at(any.id, route.to).filter_map(find);
                others.for_each(|one| one.doubted.notify_one());
            });
        }
    }

    fn in_table(
        &self,
        table: KernelTable,
        family: Family,
    ) -> impl Iterator<Item = (&Place, &Foreigner)> {
        let protocol = KernelProtocol;
        self.all.range((table, family, protocol(0))..=(table, family, protocol(u8::MAX)))
    }

    /// Keeps the RIB informed.
    pub(super) async fn keep(&self, rib: &SharedRib, service: &Service) -> Infallible {
        join_all(self.all.values().map(|one| self.follow(one, rib, service))).await;
        std::future::pending().await // there is nothing to follow
    }

    async fn follow(&self, one: &Foreigner, rib: &SharedRib, service: &Service) -> Infallible {
        let mut rest = Duration::ZERO;
        let mut is_first = true;
        loop {
            tokio::select! {
                () = one.doubted.notified() => {}
                () = tokio::time::sleep(QUIET), if one.has_restless(rib) => {}
            }
            tokio::time::sleep(rest).await;
            let turn = self.turns.acquire().await;
            let start = Instant::now();
            let result = one.read(rib).await;
            let took = start.elapsed();
            drop(turn);
            rest = GATHERING.max(took.saturating_mul(RATIO));
            if let Err(error) = result {
                let Foreigner { table, protocol, .. } = one;
                tracing::error!(%error, %table, %protocol, "reading routes of others failed, trying again");
                rest = rest.max(PAUSE);
                one.doubted.notify_one();
            }
            // The kernel waits for that, and not for the bus.
            if std::mem::take(&mut is_first) {
                self.unread.send_modify(|unread| *unread = unread.saturating_sub(1));
            }
            for id in rib.with(|rib| rib.poll_foreign_entities()) {
                service.welcome(id).await;
            }
        }
    }
}

impl Foreigner {
    fn has_restless(&self, rib: &SharedRib) -> bool {
        rib.with(|rib| rib.has_restless(self.id, self.protocol))
    }

    /// Tells the RIB of a change that the kernel told of. Where that is not all, or outdated, reading will
    /// show.
    fn handle(&self, event: &RouteEvent, route: ForeignRoute, rib: &SharedRib) {
        rib.with(|rib| match event {
            RouteEvent::RouteGone { .. } => rib.handle_foreign_gone(self.id, &route, clock::now()),
            _ => {
                if let Err(refusal) = rib.tell_foreign_route(self.id, route, clock::now()) {
                    tracing::debug!(%refusal, "a route of others");
                }
            }
        });
    }

    /// Reads all there is.
    async fn read(&self, rib: &SharedRib) -> io::Result<()> {
        rib.with(|rib| rib.handle_foreign_unknown(self.id, self.protocol));
        let (table, protocol) = (self.table, self.protocol);
        let question =
            DumpRequest { table, family: self.id.family, protocol: Some(protocol.0), metric: None };
        let mut dump = Dump::start(question)?;
        let (mut objects, mut uses_objects) = (Objects::new(), false);
        let mut refused = 0;
        while let Some(routes) = next_part(&mut dump).await? {
            if !uses_objects && routes.iter().any(|route| route.object.is_some()) {
                (objects, uses_objects) = (read_objects().await?, true);
            }
            refused += self.tell(rib, &routes, &objects);
            // A million of them are not to keep clients waiting.
            tokio::task::yield_now().await;
        }
        self.uses_objects.store(uses_objects, Ordering::Relaxed);
        if refused > 0 {
            let table = self.id;
            tracing::warn!(%table, %protocol, refused, "routes of others were left out; debug says why");
        }
        rib.in_slices(|rib, count| {
            rib.handle_foreign_complete(self.id, protocol, count, clock::now())
        })
        .await;
        Ok(())
    }

    /// Tells some routes; says how many the RIB did not take.
    fn tell(&self, rib: &SharedRib, routes: &[DumpedRoute], objects: &Objects) -> usize {
        let now = clock::now();
        let routes = routes.iter().filter_map(|route| foreign_route(route, objects));
        rib.with(|rib| {
            let told = routes.map(|route| rib.tell_foreign_route(self.id, route, now));
            let refused = told.filter_map(Result::err);
            refused.inspect(|refusal| tracing::debug!(%refusal, "a route of others")).count()
        })
    }
}

/// The next part of a dump; `None` when that was all.
async fn next_part<T: Send + 'static>(dump: &mut Dump<T>) -> io::Result<Option<Vec<T>>> {
    match dump.next().await {
        Some(DumpNews::Part(part)) => Ok(Some(part)),
        Some(DumpNews::Complete) => Ok(None),
        Some(DumpNews::Failed(error)) => Err(error),
        Some(DumpNews::Restarted) | None => Err(io::Error::other("the dump was interrupted")),
    }
}

/// Everybody's next-hop objects.
async fn read_objects() -> io::Result<Objects> {
    let mut dump = Dump::start(ObjectDumpRequest { signature: None })?;
    let mut objects = Objects::new();
    while let Some(part) = next_part(&mut dump).await? {
        objects.extend(part.into_iter().filter_map(|object| Some((object.id, object.content?))));
    }
    Ok(objects)
}

/// A route in the RIB's words; `None` for one that is not about where to send packets, or whose ways are
/// not known. Those of one that refers to an object the kernel tells or not, by
/// `net.ipv4.nexthop_compat_mode`.
fn foreign_route(route: &DumpedRoute, objects: &Objects) -> Option<ForeignRoute> {
    let protocol = KernelProtocol(route.protocol);
    let hops = || match route.object.filter(|_| route.legs.is_empty()) {
        Some(object) => hops_of(object, objects),
        None => Some(route.legs.iter().map(|leg| leg.hop).collect()),
    };
    let way = match route.kind {
        RouteKind::Unicast => ForeignWay::Out(hops()?),
        RouteKind::Local => ForeignWay::Here(hops()?),
        // What the kernel does by itself with packets that nobody has a route for.
        _ if protocol == KernelProtocol::KERNEL => return None,
        RouteKind::Blackhole => ForeignWay::Special(Special::Blackhole),
        RouteKind::Unreachable => ForeignWay::Special(Special::Unreachable),
        RouteKind::Prohibit => ForeignWay::Special(Special::Prohibit),
        _ => return None,
    };
    Some(ForeignRoute { to: route.to, protocol, metric: Metric(route.metric), way })
}

/// The ways of an object, with those of the members of a group; `None` if none is known.
fn hops_of(object: ObjectId, objects: &Objects) -> Option<Box<[Hop]>> {
    let hop = |gateway, interface, weight| Hop { gateway, interface, weight };
    let hops: Box<[Hop]> = match objects.get(&object)? {
        NextHopObject::Hop { gateway, interface, .. } => {
            Box::new([hop(*gateway, *interface, Weight::ONE)])
        }
        NextHopObject::Group { members, .. } => {
            let known = |id: &ObjectId| match objects.get(id)? {
                NextHopObject::Hop { gateway, interface, .. } => Some((*gateway, *interface)),
                NextHopObject::Group { .. } => None,
            };
            let hops = members.iter().filter_map(|member| {
                let (gateway, interface) = known(&member.object)?;
                Some(hop(gateway, interface, member.weight))
            });
            hops.collect()
        }
    };
    let leads = |hop: &&Hop| hop.interface != InterfaceIndex(0);
    (!hops.is_empty() && hops.iter().all(|hop| leads(&hop))).then_some(hops)
}
