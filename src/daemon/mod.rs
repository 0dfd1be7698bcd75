//! The service as a whole: the only place that knows all its parts.
//!
//! The order of the start is what a reader would get wrong. Nothing in the kernel is touched before
//! the name on the bus is ours, because a second rtmd would otherwise take the first one's routes
//! for leftovers; the links are known before the name is ours, because the first client may name
//! one; the routes of others are read before the kernel is written to, while clients are served;
//! and the service manager hears "ready" only when the kernel is in step.

mod complaints;
mod deadlines;
mod fib;
mod files;
mod foreign;
mod health;
mod links;
mod marks;
mod notifier;
mod reelections;
mod reload;
mod static_routes;
mod withdrawal;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ffi::OsString,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    bus::{Administration, Facts, FibState, Service, StartError, address::Bus},
    clock,
    config::{Config, Faults, OnStop, Source, Trusted},
    journal::{Journal, ledger::Ledger},
    kernel::{Watch, privilege},
    model::{InstanceId, KernelTable},
    netlink::Signature,
    rib::{Instance, Policy, Rib},
    shared::SharedRib,
};
use fib::{Kernel, Tell};
use foreign::Foreigners;
use health::Pulse;
use links::Vrfs;
use marks::Marks;
use notifier::Notifier;
use reload::Reloading;
use static_routes::StaticRoutes;

/// How to run the service.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bus to be on.
    pub bus: Bus,
    /// The configuration file; a missing one means all defaults.
    pub config: PathBuf,
    /// For what must survive a restart of the service and not one of the machine.
    pub runtime_directory: PathBuf,
    /// For what must survive a restart of the machine.
    pub state_directory: PathBuf,
}

/// Why the service does not run any more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is unusable.
    #[error("the configuration cannot be used:\n{0}")]
    Config(#[from] Faults),
    /// No instance in the configuration can be served.
    #[error("{}: no instance can be served", .0.display())]
    NoInstance(PathBuf),
    /// A directory cannot be used.
    #[error("{}: {}", .0.display(), .1)]
    Directory(PathBuf, io::Error),
    /// Another one runs with the same directories.
    #[error("another rtmd is running: it holds {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// The kernel does not let us write routes.
    #[error("{0}")]
    Privilege(io::Error),
    /// The kernel does not let us talk to it.
    #[error("cannot talk to the kernel: {0}")]
    Kernel(io::Error),
    /// The bus does not have us.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The bus is gone.
    #[error(
        "the connection to the bus is lost; the routes stay in the kernel, and clients register \
         again when the service is back"
    )]
    BusLost,
}

impl Failure {
    /// The exit status that tells it to scripts and service managers, as in sysexits(3).
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NoInstance(_) => 78,
            Self::Directory(..) => 73,
            Self::Kernel(_) => 71,
            Self::Privilege(_) => 77,
            Self::AlreadyRunning(_) | Self::Start(_) | Self::BusLost => 69,
        }
    }
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub async fn run(options: Options) -> Result<(), Failure> {
    let mut watched = Watch::start().map_err(Failure::Kernel)?;
    let links = links::learn(&mut watched).await.map_err(Failure::Kernel)?;
    let vrfs = RefCell::new(Vrfs::default());
    let source = Source::of(&options.config);
    let config =
        load(&source, &Trusted::own(), |name| vrfs.borrow_mut().note(name, links.vrf_table(name)))?;
    report_broken_instances(&config, &options.config)?;
    let _lock = lock(&options.runtime_directory)?;
    let journal_directory = options.runtime_directory.join("journal");
    make_directory(&options.state_directory)?;

    let signature = Signature { protocol: config.fib_protocol, metric: config.fib_metric };
    let (with_objects, reclaim_time) = (config.next_hop_objects, config.reclaim_time);
    let (mut journal, kept) = Journal::open(&journal_directory, &machine(), follower())
        .map_err(|error| Failure::Directory(journal_directory.clone(), error))?;
    let kept = kept.and_then(|kept| reconfigured(kept, config.policy.clone()));
    let is_new = kept.is_none();
    if is_new {
        journal.forget();
    }
    let mut ledger = kept.unwrap_or_else(|| Ledger::new(Rib::new(config.policy), new_epoch()));
    ledger.begin_anew();
    links.tell(&mut ledger);
    let (kept, routes) = StaticRoutes::open(&options.state_directory);
    if is_new {
        // With the first that is kept of the ledger, or a start that fails would lose them.
        for (table, route) in routes {
            ledger.restore_static_route(table, route, clock::now());
        }
    }
    // Nobody is there yet who would have to hear of new entities.
    let _ = ledger.configure_static_routes(config.static_routes, clock::now());
    let epoch = ledger.epoch();
    let rib = SharedRib::kept(ledger, journal);
    if rib.with(|rib| rib.kernel_tables().next().is_some()) {
        privilege::check().map_err(refused)?;
    }
    let foreigners = Foreigners::new(&rib, signature);

    let is_blind = Arc::new(AtomicBool::new(false));
    let facts = Facts {
        epoch,
        fib_protocol: signature.protocol.get(),
        fib_metric: signature.metric.get(),
        is_blind: Arc::clone(&is_blind),
    };
    let (notifier, on_stop) = (Arc::new(Notifier::start()), Arc::new(Mutex::new(config.on_stop)));
    let reloading = Reloading {
        source,
        rib: rib.clone(),
        notifier: Arc::clone(&notifier),
        signature,
        with_objects: with_objects.clone(),
        on_stop: Arc::clone(&on_stop),
    };
    let of = rib.clone();
    let administration = Administration {
        reload: Box::new(move || reloading.reload()),
        keep_static_routes: Arc::new(move |routes| kept.keep(routes)),
        advice: Box::new(move || fib::advice(&of)),
    };
    let service = Service::start(&options.bus, rib.clone(), facts, administration).await?;
    // Who sees the service may stop it.
    let mut stop = Stop::listen();
    service.take_name().await?;
    tracing::info!(bus = %options.bus, epoch, "on the bus");

    let mut marks = Marks::note(&options.runtime_directory, signature, kernel_tables(&rib))
        .map_err(|error| Failure::Directory(options.runtime_directory.clone(), error))?;
    marks.make_way().await;
    let mut kernel = Kernel::open(signature).map_err(Failure::Kernel)?;
    // Where it is known what was withdrawn, what else is there is not spared for what may be others'.
    let spare_until =
        Instant::now().checked_add(reclaim_time).filter(|_| is_new && !reclaim_time.is_zero());
    // Announcing waits for the bus, and the kernel is not to wait with it.
    let (state, announced) = watch::channel(FibState::Syncing);
    let (pulse, watched_state) = (Pulse::default(), state.subscribe());
    let tell = Tell { state: &state, is_blind: &is_blind, notifier: &notifier, pulse: &pulse };
    let ended = tokio::select! {
        () = service.run() => Err(Failure::BusLost),
        () = announce(&service, announced) => Err(Failure::BusLost),
        error = fib::keep(&rib, &mut kernel, (&with_objects, spare_until), tell, &foreigners) => {
            Err(Failure::Kernel(error))
        }
        never = deadlines::keep(&rib) => match never {},
        never = reelections::keep(&rib) => match never {},
        never = foreigners.keep(&rib, &service) => match never {},
        error = links::follow(&mut watched, &rib, &foreigners, vrfs.into_inner()) => Err(Failure::Kernel(error)),
        () = reload_on_signal(&service) => Err(Failure::BusLost),
        never = health::watch(&rib, &pulse, &notifier) => match never {},
        never = marks.clear_up(state.subscribe()) => match never {},
        never = health::tell(&rib, watched_state, &notifier) => match never {},
        name = stop.told() => Ok(name),
    };
    let signal = ended?;
    notifier.stopping();
    let on_stop = *on_stop.lock().unwrap_or_else(PoisonError::into_inner);
    match on_stop {
        OnStop::Keep => tracing::info!(signal, "stopping; the routes stay in the kernel"),
        OnStop::Withdraw => tracing::info!(signal, "stopping; the routes leave the kernel"),
    }
    // Nobody changes anything any more.
    service.stop().await;
    if on_stop == OnStop::Withdraw {
        let what = withdrawal::What { tables: &kernel_tables(&rib), with_objects: true };
        tokio::select! {
            withdrawn = withdrawal::withdraw(&mut kernel, what, &notifier) => {
                if let Err(fault) = withdrawn {
                    tracing::error!("{fault}");
                }
            }
            signal = stop.told() => {
                tracing::warn!(signal, "told to stop again: what is still in the kernel stays there");
            }
        }
    }
    notifier.finish();
    Ok(())
}

/// Takes out of the kernel what an earlier life left there and nobody is to keep any more. What clients
/// offered is not touched: another start would put it back.
///
/// # Errors
/// When it is not known what that is, a service is running whose routes they are, or the kernel refuses.
pub async fn withdraw(options: Options) -> Result<(), Failure> {
    let mut watched = Watch::start().map_err(Failure::Kernel)?;
    let links = links::learn(&mut watched).await.map_err(Failure::Kernel)?;
    let trusted = Trusted::as_service(&options.state_directory);
    let config = load(&Source::of(&options.config), &trusted, |name| links.vrf_table(name))?;
    let _lock = lock(&options.runtime_directory)?;
    privilege::check().map_err(refused)?;
    let signature = Signature { protocol: config.fib_protocol, metric: config.fib_metric };
    let tables = kernel_tables(&SharedRib::new(Rib::new(config.policy)));
    let marks = Marks::note(&options.runtime_directory, signature, tables)
        .map_err(|error| Failure::Directory(options.runtime_directory, error))?;
    marks.take_out_all().await.map_err(Failure::Kernel)
}

/// The kernel's tables that routes are written to.
fn kernel_tables(rib: &SharedRib) -> Vec<KernelTable> {
    let mut tables: Vec<_> = rib.with(|rib| rib.kernel_tables().map(|(_, table)| table).collect());
    tables.dedup();
    tables
}

/// Why routes cannot be written.
fn refused(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::Privilege(error),
        _ => Failure::Kernel(error),
    }
}

/// Tells everyone each state; what changes while one is being told is told next.
async fn announce(service: &Service, mut state: watch::Receiver<FibState>) {
    while state.changed().await.is_ok() {
        let state = *state.borrow_and_update();
        service.announce(state).await;
    }
}

/// Reads the configuration again at each SIGHUP.
async fn reload_on_signal(service: &Service) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be handled, it will end the service");
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        service.reload().await;
    }
}

/// Reads the configuration, which may name VRFs that the kernel has.
fn load(
    source: &Source,
    trusted: &Trusted,
    vrf_table: impl Fn(&str) -> Option<KernelTable>,
) -> Result<Config, Faults> {
    let config = Config::load(source, trusted, &|name| {
        let table = vrf_table(name).ok_or_else(|| {
            format!(
                "there is no VRF {name:?}: make it before rtmd starts (ip link add {name} type vrf \
                 table 1000), or set kernel-table instead of vrf"
            )
        })?;
        Ok(table.0)
    })?;
    for grant in &config.policy.grants.0 {
        if let Err(fault) = &grant.whom {
            tracing::warn!(grant = grant.name, fault, "this grant is for nobody");
        }
    }
    Ok(config)
}

/// Reads the configuration as the service would, and returns it or all that is wrong with it, also with single
/// instances. Needs no rights but those to read it, and no service.
///
/// # Errors
/// The faults, if there are any.
pub async fn check(file: &Path, state_directory: &Path) -> Result<Config, Faults> {
    let links = match Watch::start() {
        Ok(mut watched) => links::learn(&mut watched).await.ok(),
        Err(_) => None,
    };
    let vrf_table = |name: &str| match &links {
        Some(links) => links.vrf_table(name),
        None => None,
    };
    let trusted = Trusted::as_service(state_directory);
    let config = load(&Source::of(file), &trusted, vrf_table)?;
    if config.faults.is_empty() { Ok(config) } else { Err(Faults(config.faults)) }
}

/// Says what is wrong with which instance; with all of them there is nothing to serve.
fn report_broken_instances(config: &Config, file: &Path) -> Result<(), Failure> {
    for fault in &config.faults {
        tracing::error!("{fault}; this instance is misconfigured and not served");
    }
    let mut instances = config.policy.instances.values();
    let usable = instances.any(|instance| matches!(instance, Instance::Ready(_)));
    if usable { Ok(()) } else { Err(Failure::NoInstance(file.to_owned())) }
}

/// Makes sure that no other rtmd has the directory; the lock ends with the process.
fn lock(directory: &Path) -> Result<File, Failure> {
    make_directory(directory)?;
    let path = directory.join("lock");
    let file =
        File::create(&path).map_err(|error| Failure::Directory(directory.to_owned(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::AlreadyRunning(path)),
        Err(TryLockError::Error(error)) => Err(Failure::Directory(path, error)),
    }
}

fn make_directory(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .map_err(|error| Failure::Directory(directory.to_owned(), error))
}

/// What was kept, with the configuration as it is now; `None` where its instances are others.
fn reconfigured(mut kept: Ledger, mut policy: Policy) -> Option<Ledger> {
    let before = &kept.configured().instances;
    for (id, instance) in &mut policy.instances {
        // Such as one whose VRF is not there now. As with a reload a mistake changes nothing.
        if let (Instance::Broken(_), Some(ready @ Instance::Ready(_))) =
            (&*instance, before.get(id))
        {
            tracing::warn!(instance = id.0, "it is served as it was configured before");
            *instance = ready.clone();
        }
    }
    let all: BTreeSet<_> = before.keys().chain(policy.instances.keys()).collect();
    let is_other = |id: &&InstanceId| before.get(*id) != policy.instances.get(*id);
    let others: Vec<u16> = all.into_iter().filter(is_other).map(|id| id.0).collect();
    if kept.configured() != &policy && kept.reconfigure(policy).is_err() {
        tracing::warn!(
            instances = ?others,
            "these instances are configured otherwise than before: what clients offered, in all of them, is \
             forgotten, they have to register and offer again"
        );
        return None;
    }
    Some(kept)
}

/// The command that makes an image of the journal: this same program, also when it was replaced since.
fn follower() -> Vec<OsString> {
    vec!["/proc/self/exe".into(), "--follow-journal".into()]
}

/// What tells this start of the machine from all others.
fn machine() -> String {
    // Where the kernel does not say, the runtime directory going with the machine has to do.
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// A number that no earlier start had: the time, in microseconds.
fn new_epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What tells the service to stop.
struct Stop(Option<[Signal; 2]>);

impl Stop {
    /// From now on a signal waits until it is asked for, instead of ending the process.
    fn listen() -> Self {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => Self(Some([terminate, interrupt])),
            (_, _) => {
                tracing::error!("signals cannot be handled, they will end the service at once");
                Self(None)
            }
        }
    }

    /// Waits for the next.
    async fn told(&mut self) -> &'static str {
        let Some([terminate, interrupt]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
