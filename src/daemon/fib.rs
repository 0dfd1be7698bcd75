//! Between the RIB and the kernel: effects in, operations out, results back.
//!
//! Destinations wait in the RIB, where they coalesce, and are taken only as fast as the kernel
//! takes them; so neither a flood of changes nor a slow kernel fills any queue here.

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    complaints::Complaints,
    foreign::Foreigners,
    health::{self, Pulse},
    notifier::Notifier,
};
use crate::{
    bus::FibState,
    config::NextHopObjects,
    fib::{Doubt, Planner, Settled, Support, Tampering},
    kernel::{
        Dump, DumpNews, NextHopSupport, NoticeSettings, Outcome, PortId, RouteEvent, RouteWatch,
        Writer,
    },
    netlink::{DumpRequest, DumpedObject, DumpedRoute, ObjectDumpRequest, Signature},
    rib::{Effect, Fate, GroupNews, Instance},
    shared::SharedRib,
};

/// How many effects are taken under one lock.
const SLICE: usize = 512;

/// With this many operations waiting, further effects wait in the RIB.
const ENOUGH: usize = 4096;

/// How often all is read again while what others do cannot be followed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Work that is done sooner is not announced: a single route is in the kernel in microseconds. Neither
/// is a refusal that is over sooner: of what leads by a link whose loss is told a moment later.
const WORTH_ANNOUNCING: Duration = Duration::from_millis(100);

/// The way to the kernel, and back.
pub(super) struct Kernel {
    pub(super) signature: Signature,
    pub(super) writer: Writer,
    pub(super) outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Kernel {
    /// Opens it; nothing is written yet.
    pub(super) fn open(signature: Signature) -> io::Result<Self> {
        let (writer, outcomes) = Writer::start(signature)?;
        Ok(Self { signature, writer, outcomes })
    }
}

/// Who hears where the kernel stands.
pub(super) struct Tell<'t> {
    pub(super) state: &'t watch::Sender<FibState>,
    /// Whether what others do cannot be followed.
    pub(super) is_blind: &'t AtomicBool,
    pub(super) notifier: &'t Notifier,
    pub(super) pulse: &'t Pulse,
}

/// Keeps the kernel equal to the best routes; returns why it cannot any more.
///
/// `with_objects` says of which instances routes refer to next-hop objects where the kernel has them;
/// `spare_until` is for how long to leave what an earlier life left. `tell` is told where the kernel stands.
pub(super) async fn keep(
    rib: &SharedRib,
    Kernel { signature, writer, outcomes }: &mut Kernel,
    (with_objects, spare_until): (&NextHopObjects, Option<Instant>),
    tell: Tell<'_>,
    foreigners: &Foreigners,
) -> io::Error {
    let (signature, Tell { state, is_blind, notifier, pulse }) = (*signature, tell);
    let tables = rib.with(|rib| rib.kernel_tables().collect::<Vec<_>>());
    let (some, plain): (Vec<_>, Vec<_>) =
        tables.iter().partition(|(id, _)| with_objects.of(id.instance));
    let support = if some.is_empty() { Support::None } else { support() };
    let mut planner = Planner::new(support, tables);
    plain.into_iter().for_each(|(id, _)| planner.keep_plain(id));
    if let Some(until) = spare_until {
        planner.spare_until(until);
    }
    let mut keeper = Keeper {
        rib,
        signature,
        planner,
        announced: Announced::default(),
        complaints: Complaints::default(),
        notifier,
        pulse,
        reading: None,
        watch: None,
        look_again: None,
        is_blind,
        foreigners,
    };
    keeper.watch(writer.port());
    // Or what others have would be hidden by ours for a moment. The watch waits with what it hears.
    foreigners.known().await;
    keeper.take_all_effects().await;
    match keeper.run(writer, outcomes, state).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// What the kernel can do with next-hop objects.
fn support() -> Support {
    match NextHopSupport::probe() {
        Ok(NextHopSupport::Resilient) => Support::Resilient,
        Ok(NextHopSupport::Objects) => Support::Groups,
        Ok(NextHopSupport::None) => Support::None,
        Err(error) => {
            tracing::warn!(%error, "routes get by without next-hop objects");
            Support::None
        }
    }
}

/// What could be set better for what goes to the kernel, a sentence each.
pub(super) fn advice(rib: &SharedRib) -> Vec<String> {
    let mut advice = rib.with(|rib| {
        let instances = rib.policy().instances.iter();
        let broken = instances.filter_map(|(id, instance)| match instance {
            Instance::Ready(_) => None,
            Instance::Broken(fault) => {
                Some(format!("instance {id} is not served until rtmd is restarted: {fault}"))
            }
        });
        broken.collect::<Vec<_>>()
    });
    if rib.with(|rib| rib.kernel_tables().next().is_none()) {
        return advice;
    }
    let settings = NoticeSettings::read();
    if settings.nexthop_compat_mode == Some(true) {
        advice.push(
            "net.ipv4.nexthop_compat_mode is 1: a failover then takes the kernel a second for each \
             million routes, set it to 0 (sysctl.d/50-rtmd.conf does), unless programs that do \
             not know next-hop objects have to read our routes: to those it hides where they lead"
                .to_owned(),
        );
    }
    if settings.skip_notify_on_dev_down == Some(false) {
        advice.push(
            "net.ipv6.route.skip_notify_on_dev_down is 0: the kernel then announces each IPv6 route \
             that goes with a link, set it to 1 (sysctl.d/50-rtmd.conf does)"
                .to_owned(),
        );
    }
    advice
}

struct Keeper<'r> {
    rib: &'r SharedRib,
    signature: Signature,
    planner: Planner,
    announced: Announced,
    complaints: Complaints,
    notifier: &'r Notifier,
    pulse: &'r Pulse,
    reading: Option<Reading>,
    /// None where what others do cannot be followed.
    watch: Option<RouteWatch>,
    /// When all is to be read again for that.
    look_again: Option<Instant>,
    /// Whether that is so, for the world.
    is_blind: &'r AtomicBool,
    foreigners: &'r Foreigners,
}

/// A dump under way.
struct Reading {
    doubt: Doubt,
    dump: AnyDump,
}

enum AnyDump {
    Objects(Dump<DumpedObject>),
    Routes(Dump<DumpedRoute>),
}

/// What a dump has to tell.
enum Found {
    Objects(DumpNews<DumpedObject>),
    Routes(DumpNews<DumpedRoute>),
}

impl Reading {
    /// Cancelling loses nothing.
    async fn next(&mut self) -> Found {
        let ended = || io::Error::other("the dump ended early");
        match &mut self.dump {
            AnyDump::Objects(dump) => {
                Found::Objects(dump.next().await.unwrap_or_else(|| DumpNews::Failed(ended())))
            }
            AnyDump::Routes(dump) => {
                Found::Routes(dump.next().await.unwrap_or_else(|| DumpNews::Failed(ended())))
            }
        }
    }
}

/// What the world was told last.
#[derive(Debug)]
struct Announced {
    ready: bool,
    state: FibState,
    /// Since when there is work, or a refusal, that the world does not know of.
    since: Option<Instant>,
}

impl Keeper<'_> {
    async fn run(
        mut self,
        writer: &Writer,
        outcomes: &mut mpsc::UnboundedReceiver<Outcome>,
        state: &watch::Sender<FibState>,
    ) -> io::Result<Infallible> {
        // What is left over from an earlier life may have to go.
        let mut may_have_work = true;
        self.report();
        loop {
            self.pulse.beat();
            self.begin_reading();
            let wants_more = self.planner.backlog() < ENOUGH;
            let deadline = self.planner.poll_deadline();
            let announcement = self.announced.due(self.state());
            if self.state() == FibState::Syncing
                && announcement.is_some_and(|due| due <= Instant::now())
            {
                // It is last below, and where there is much to do its turn would never come.
                self.announce(state);
                continue;
            }
            let complaint = self.complaints.poll_deadline();
            let look_again = self.look_again;
            tokio::select! {
                biased;
                // One of these is worth any number of routes.
                () = self.rib.alarmed() => {
                    self.take_effects(0);
                    may_have_work = true;
                }
                outcome = outcomes.recv() => {
                    self.take_in(outcome.ok_or_else(|| io::Error::other("the writer has ended"))?);
                    may_have_work = true;
                }
                event = next_event(&mut self.watch) => {
                    self.handle_event(event?);
                    may_have_work = true;
                }
                room = writer.room(), if may_have_work => {
                    let ops = self.planner.poll_ops(writer.most_messages());
                    self.report();
                    if !ops.is_empty() {
                        room?.send(ops);
                    } else if self.planner.is_surveying() {
                        drop(room);
                        tokio::task::yield_now().await; // others have a turn between two slices
                    } else {
                        may_have_work = false;
                    }
                }
                () = self.rib.woken(), if wants_more => {
                    self.take_effects(SLICE);
                    may_have_work = true;
                }
                found = next_found(&mut self.reading), if self.reading.is_some() => {
                    self.handle_found(found);
                    may_have_work = true;
                }
                () = super::until(deadline), if deadline.is_some() => {
                    self.handle_deadline(Instant::now());
                    may_have_work = true;
                }
                () = super::until(look_again), if look_again.is_some() => {
                    // First, so that nothing happens between.
                    self.watch(writer.port());
                    self.planner.doubt_all();
                    self.foreigners.doubt_all();
                    may_have_work = true;
                }
                () = super::until(announcement), if announcement.is_some() => self.announce(state),
                () = super::until(complaint), if complaint.is_some() => {
                    self.complaints.tell(Instant::now());
                }
                () = self.pulse.asked() => {}
            }
        }
    }

    fn handle_deadline(&mut self, now: Instant) {
        if let Some(routes) = self.planner.end_sparing(now).filter(|routes| *routes > 0) {
            tracing::info!(routes, "nobody offered them again in time, they leave the kernel");
        }
        self.planner.handle_deadline(now);
    }

    fn state(&self) -> FibState {
        if !self.planner.is_settled() {
            FibState::Syncing
        } else if self.planner.has_refusals() || self.watch.is_none() {
            FibState::Degraded
        } else {
            FibState::Synced
        }
    }

    /// Follows what others do, as far as it matters. Where that cannot be, it is tried again later, and what
    /// they did is found by reading.
    fn watch(&mut self, own: PortId) {
        let watch = match RouteWatch::start(own) {
            Ok(watch) => watch,
            Err(error) => {
                if self.look_again.is_none() {
                    tracing::error!(
                        %error,
                        "what other programs do to routes cannot be followed, so all is read again every \
                         {} seconds",
                        LOOK_AGAIN.as_secs()
                    );
                }
                self.look_again = Some(Instant::now() + LOOK_AGAIN);
                self.is_blind.store(true, Ordering::Relaxed);
                return;
            }
        };
        if let Err(error) = watch.heed_only(self.signature, &self.foreigners.protocols()) {
            tracing::warn!(%error, "the kernel has no filter, so all that others do is listened to");
        }
        if self.look_again.take().is_some() {
            tracing::info!("what other programs do to routes is followed again");
        }
        self.watch = Some(watch);
        self.is_blind.store(false, Ordering::Relaxed);
    }

    /// Begins to read what has to be read.
    fn begin_reading(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let Some(doubt) = self.planner.poll_doubt() else { return };
        let signature = self.signature;
        let started = match doubt {
            Doubt::Objects => {
                let signature = Some(signature);
                Dump::start(ObjectDumpRequest { signature }).map(AnyDump::Objects)
            }
            Doubt::Table(id, table) => {
                Dump::start(DumpRequest::ours(table, id.family, signature)).map(AnyDump::Routes)
            }
        };
        match started {
            Ok(dump) => {
                self.planner.begin_reading(doubt);
                self.reading = Some(Reading { doubt, dump });
            }
            Err(error) => self.handle_unreadable(doubt, &error),
        }
    }

    fn handle_unreadable(&mut self, doubt: Doubt, error: &io::Error) {
        tracing::error!(?doubt, %error, "reading what the kernel has failed, again in a second");
        self.planner.handle_reading_failed(doubt, Instant::now());
        self.reading = None;
    }

    fn handle_found(&mut self, found: Found) {
        let Some(Reading { doubt, .. }) = &self.reading else { return };
        let doubt = *doubt;
        match found {
            Found::Objects(DumpNews::Part(objects)) => {
                for object in objects {
                    self.planner.handle_found_object(object.id, object.content);
                }
            }
            Found::Routes(DumpNews::Part(routes)) => {
                if let Doubt::Table(id, _) = doubt {
                    for route in routes {
                        self.planner.handle_found_route(id, route.to, route.target());
                    }
                }
                self.report();
            }
            Found::Objects(DumpNews::Restarted) | Found::Routes(DumpNews::Restarted) => {
                tracing::debug!(?doubt, "it changed while it was read, which begins again");
                self.planner.handle_reading_restarted(doubt);
            }
            Found::Objects(DumpNews::Complete) | Found::Routes(DumpNews::Complete) => {
                self.planner.handle_reading_complete(doubt);
                self.reading = None;
                self.report();
            }
            Found::Objects(DumpNews::Failed(error)) | Found::Routes(DumpNews::Failed(error)) => {
                self.handle_unreadable(doubt, &error);
            }
        }
    }

    /// Somebody else changed something.
    fn handle_event(&mut self, event: RouteEvent) {
        let signature = self.signature;
        self.foreigners.handle(&event, self.rib);
        match event {
            RouteEvent::RouteSet { route, replaced } if signature.is_on(&route) => {
                let what = Tampering::Ours { target: route.target(), replaced };
                self.tampered(&route, what);
            }
            RouteEvent::RouteSet { route, replaced } if route.metric == signature.metric.get() => {
                let what = if replaced { Tampering::Overwritten } else { Tampering::Occupied };
                self.tampered(&route, what);
            }
            RouteEvent::RouteGone { route, by_itself } if signature.is_on(&route) => {
                let what = if by_itself { Tampering::Dropped } else { Tampering::Gone };
                self.tampered(&route, what);
            }
            RouteEvent::RouteGone { route, .. } if route.metric == signature.metric.get() => {
                self.planner.handle_room(route.table, route.to, Instant::now());
            }
            RouteEvent::ObjectSet(object) if self.is_ours(&object) => {
                self.planner.handle_object(object.id, object.content.as_ref(), Instant::now());
            }
            RouteEvent::ObjectGone(object) if self.is_ours(&object) => {
                self.planner.handle_object(object.id, None, Instant::now());
            }
            RouteEvent::Overrun => {
                tracing::warn!(
                    "the kernel had more to tell than there was room for, reading it all again"
                );
                self.planner.handle_overrun(Instant::now());
            }
            RouteEvent::RouteSet { .. }
            | RouteEvent::RouteGone { .. }
            | RouteEvent::ObjectSet(_)
            | RouteEvent::ObjectGone(_) => {}
        }
        self.report();
    }

    /// By its protocol, or by its number if somebody else made it theirs.
    fn is_ours(&self, object: &DumpedObject) -> bool {
        object.protocol == self.signature.protocol.get() || self.planner.knows(object.id)
    }

    fn tampered(&mut self, route: &DumpedRoute, what: Tampering) {
        tracing::debug!(table = %route.table, to = %route.to, ?what, "our route was changed");
        self.planner.handle_tampering(route.table, route.to, what, Instant::now());
    }

    /// Takes what is wished for at the start, of which there may be a million: what is not wished for
    /// is taken for left over.
    async fn take_all_effects(&mut self) {
        while self.rib.with(|rib| rib.has_effects()) {
            self.take_effects(SLICE);
            tokio::task::yield_now().await;
        }
    }

    /// Takes news of links and groups from the RIB into the planner, and so many effects.
    fn take_effects(&mut self, count: usize) {
        let (news, groups, effects) = self.rib.with(|rib| {
            (rib.poll_link_news(), rib.poll_groups(usize::MAX), rib.poll_effects(count))
        });
        // First: what comes after may be about what came after the loss.
        self.planner.handle_lost(&news.lost, &news.down);
        if news.missed {
            self.planner.doubt_all();
        }
        for news in groups {
            match news {
                GroupNews::Changed(id, Fate { table, forwarding, next, spare }) => {
                    self.planner.handle_group(id, table, forwarding, next, spare);
                }
                GroupNews::Gone(id) => self.planner.handle_group_gone(id),
            }
        }
        self.planner.hurry(news.gained, Instant::now());
        if !news.lost.is_empty() {
            self.planner.hurry_into_room(Instant::now());
        }
        for Effect { table, to, wish } in effects {
            self.planner.want(table, to, wish);
        }
        self.report();
    }

    /// Takes the kernel's answers in.
    fn take_in(&mut self, outcome: Outcome) {
        let now = Instant::now();
        for (op, result) in outcome {
            if let Err(refusal) = &result {
                tracing::debug!(?op, %refusal, "the kernel refused");
            }
            self.planner.handle_result(&op, result, now);
        }
        self.report();
    }

    /// Tells the RIB what came to rest, and how many destinations are how far.
    fn report(&mut self) {
        let (planner, complaints) = (&mut self.planner, &mut self.complaints);
        let now = Instant::now();
        self.rib.with(|rib| {
            while let Some((id, to, Settled { status, error })) = planner.poll_settled() {
                let words = error.as_ref().map(ToString::to_string);
                match &words {
                    Some(why) => complaints.refused(id, to, why, now),
                    None => complaints.settled(id, to),
                }
                rib.handle_fib(id, to, status, words);
            }
            while let Some((id, refusal)) = planner.poll_fault() {
                rib.handle_group_fault(id, refusal.as_ref().map(ToString::to_string));
            }
            for (id, counts) in planner.counts() {
                rib.handle_fib_counts(id, counts);
            }
        });
        complaints.tell(now);
    }

    /// Tells the world where the kernel stands.
    fn announce(&mut self, told: &watch::Sender<FibState>) {
        let state = self.state();
        self.notifier.status(health::summary(self.rib, state));
        if state != FibState::Syncing && !self.announced.ready {
            self.announced.ready = true;
            tracing::info!(state = state.name(), "the kernel is in step");
            self.notifier.ready();
        }
        let failed = self.planner.counts().map(|(_, counts)| counts.failed).sum();
        if self.watch.is_some() {
            self.complaints.announce(state, failed);
        }
        let _ = told.send(state); // without a listener the service is ending
        self.announced.state = state;
    }
}

impl Default for Announced {
    fn default() -> Self {
        // What the service says of itself from the beginning.
        Self { ready: false, state: FibState::Syncing, since: None }
    }
}

impl Announced {
    /// When to announce this state, if it is not the one announced.
    fn due(&mut self, state: FibState) -> Option<Instant> {
        if state == self.state || state == FibState::Synced {
            self.since = None;
        }
        match state {
            _ if state == self.state => None,
            FibState::Syncing | FibState::Degraded => {
                Some(*self.since.get_or_insert_with(Instant::now) + WORTH_ANNOUNCING)
            }
            FibState::Synced => Some(Instant::now()),
        }
    }
}

/// The next thing that somebody else did; for ever nothing where that cannot be followed.
async fn next_event(watch: &mut Option<RouteWatch>) -> io::Result<RouteEvent> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn next_found(reading: &mut Option<Reading>) -> Found {
    match reading {
        Some(reading) => reading.next().await,
        None => std::future::pending().await,
    }
}
