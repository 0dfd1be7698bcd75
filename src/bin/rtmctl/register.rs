//! `rtmctl register`: offers the routes that it reads, for as long as it runs.
//!
//! The command is three things at once: the loader that turns lines into calls, the user who may
//! end it, and the service that may go away. Whichever of them comes first decides.

mod events;
mod input;
pub(crate) mod load;
mod loader;
mod session;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rtmd::{
    bus::wire::SERVICE,
    client::{self, Failure, ManagerProxy},
    model::Protocol,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zbus::{
    Connection,
    fdo::{DBusProxy, NameOwnerChangedStream},
};

use crate::{
    completion,
    context::{Context, Exit, Problem, number},
    routes,
};
use events::{Events, InStep};
use input::Input;
use loader::{Keep, Loader};

/// What `register` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// The protocol to register as: a name such as static or bgp, or a number
    #[arg(long, value_name = "NAME|NUMBER", value_parser = routes::parse_protocol, add = completion::protocols())]
    protocol: Protocol,
    /// Which of several of that protocol
    #[arg(long, value_name = "N", default_value_t = 0)]
    protocol_instance: u32,
    /// What to be called in lists
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Keep the routes for so long if this is killed or terminated: whoever registers the same by then goes
    /// on with them, and what its input does not have goes at the end of that
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=86_400))]
    linger: u32,
    /// End with the input, when the kernel has taken the routes, instead of staying
    #[arg(long)]
    exit_at_eof: bool,
}

/// As whom routes are offered.
#[derive(Debug)]
struct Registration {
    protocol: Protocol,
    protocol_instance: u32,
    label: Option<String>,
    keep: Keep,
}

/// The help on the input.
pub(crate) const LINES_HELP: &str = "\
The input, a line for each change, in the words of ip route:
  add PREFIX via ADDRESS [dev NAME] [weight N]
  add PREFIX dev NAME
  add PREFIX nexthop via ADDRESS [dev NAME] [weight N] nexthop ...
  add blackhole|unreachable|prohibit PREFIX
  del PREFIX
  # a comment
After any add: [metric N] [preference N] [views unicast|multicast|both].
PREFIX is address/length, an address alone, or default. A line that is wrong or refused is
reported with its number, and the next one is read.

Routes live as long as the registration: after the end of the input the command stays until it
is interrupted (exit status 0) or the service goes away (69). Once all is loaded, a service that is
back within ten seconds and has the routes still, as it has after a restart, did not go away.

Examples:
  printf 'add 10.9.0.0/16 via 192.0.2.2\\n' | rtmctl register --protocol static --label mine
  rtmctl register --protocol bgp --linger 60 < table.txt
  birdc 'show route' | awk -f bird-routes.awk | rtmctl register --protocol bgp";

/// Loads, then stays.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let connection = context.manager.inner().connection().clone();
    let mut events = Events::new(context.scope.json);
    let mut loader = Loader::new(
        context,
        Registration {
            protocol: arguments.protocol,
            protocol_instance: arguments.protocol_instance,
            label: arguments.label,
            keep: Keep::Linger(arguments.linger * 1000),
        },
    );
    let mut ends = Ends::watch(&connection).await?;
    // Whatever is wrong with the service should be said before the user types a line.
    let epoch = context.manager.epoch().await.map_err(Failure::from)?;
    let mut input = Input::start();

    let loading = async {
        loader.load(&mut input, &mut events, &mut context.out).await?;
        events.loaded(&mut context.out, loader.totals())?;
        loader.end_of_sync().await?;
        let in_step = wait_for_kernel(&loader, events.started()).await?;
        events.in_step(&mut context.out, loader.totals(), in_step)
    };
    let end = tokio::select! {
        end = ends.next() => Some(end?),
        loaded = loading => loaded.map(|()| None)?,
    };
    let end = match end {
        None if arguments.exit_at_eof => {
            loader.deregister().await?;
            let refused = loader.totals().refused > 0;
            return Ok(if refused { Exit::Refused } else { Exit::Done });
        }
        None => loop {
            let end = ends.next().await?;
            if end != End::Lost {
                break end;
            }
            let returned = tokio::select! {
                returned = has_returned(&context.manager, epoch) => returned?,
                signal = ends.signal() => break signal,
            };
            if !returned {
                break End::Lost;
            }
            events.returned(&mut context.out)?;
        },
        Some(end) => end,
    };
    match end {
        // Without a word: whether the routes stay then depends on who stopped it, and why.
        End::Terminated if arguments.linger > 0 => Ok(Exit::Done),
        End::Interrupted | End::Terminated => {
            loader.deregister().await?;
            Ok(Exit::Done)
        }
        End::Lost => {
            events.lost(&mut context.out)?;
            Ok(Exit::Unavailable)
        }
    }
}

/// Why not to stay any longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The user said so.
    Interrupted,
    /// Who stops services said so.
    Terminated,
    /// The service went away, and the registration with it.
    Lost,
}

/// Where reasons to end come from.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    owners: NameOwnerChangedStream,
}

impl Ends {
    async fn watch(connection: &Connection) -> Result<Self, Problem> {
        let no_signals = |error| Problem::Local(format!("cannot wait for signals: {error}"));
        let bus = DBusProxy::new(connection).await?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(no_signals)?,
            terminate: signal(SignalKind::terminate()).map_err(no_signals)?,
            owners: bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?,
        })
    }

    /// The next reason to end.
    async fn next(&mut self) -> Result<End, Problem> {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Ok(End::Interrupted),
                _ = self.terminate.recv() => return Ok(End::Terminated),
                change = self.owners.next() => match change {
                    // The stream ends with the connection.
                    None => return Ok(End::Lost),
                    // A service that only now comes to life was not lost.
                    Some(change) if change.args()?.old_owner().is_some() => return Ok(End::Lost),
                    Some(_) => {}
                },
            }
        }
    }

    /// The next that somebody says.
    async fn signal(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Interrupted,
            _ = self.terminate.recv() => End::Terminated,
        }
    }
}

/// Whether the service comes back before long, and has what was offered still. It is not started for that.
async fn has_returned(manager: &ManagerProxy<'_>, epoch: u64) -> Result<bool, Problem> {
    let bus = DBusProxy::new(manager.inner().connection()).await?;
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        match bus.name_has_owner(SERVICE.try_into()?).await {
            Ok(true) => return Ok(manager.epoch().await.is_ok_and(|now| now == epoch)),
            Ok(false) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(_) => return Ok(false), // the bus is gone
        }
    }
    Ok(false)
}

/// Waits until the kernel has what was offered, or has stopped making progress.
async fn wait_for_kernel(loader: &Loader, started: Instant) -> Result<InStep, Problem> {
    let mut best = u64::MAX;
    let mut progress = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let (mut pending, mut failed) = (0, 0);
        for table in loader.tables() {
            let counters = client::properties(table.inner()).await?;
            pending += number(&counters, "FibPending").unwrap_or_default();
            failed += number(&counters, "FibFailed").unwrap_or_default();
        }
        if pending < best {
            best = pending;
            progress = Instant::now();
        }
        if pending == 0 || progress.elapsed() > PATIENCE {
            return Ok(InStep { elapsed: started.elapsed(), pending, failed });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(160));
    }
}

/// How long the kernel may take over nothing before it counts as behind, and the service to come back.
const PATIENCE: Duration = Duration::from_secs(10);
