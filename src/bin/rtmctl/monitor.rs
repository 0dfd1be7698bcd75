//! `rtmctl monitor`: tells what changes, for as long as it runs.
//!
//! The service wakes it and says nothing more; what changed is fetched then, as it is then, so a
//! destination that changes faster than anybody can read is told once. Streams of signals are each
//! read by a task, and meet in one queue.

mod follower;
mod news;

use futures_util::{Stream, StreamExt};
use rtmd::{
    bus::wire::{EntityInfo, SERVICE},
    client::Failure,
    model::{prefix::Prefix, view::ViewSet},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{Receiver, Sender, channel},
};
use zbus::fdo::DBusProxy;

use crate::{
    cli, completion,
    context::{Context, Exit, Problem},
    routes,
};
use follower::{Fetched, Follower};
use news::News;

/// What `monitor` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only this prefix and more specific ones
    #[arg(add = completion::prefixes())]
    prefix: Option<String>,
    /// Only in this view: unicast, multicast or a number
    #[arg(long, value_parser = routes::parse_view)]
    view: Option<ViewSet>,
    /// Tell of every offer that comes, changes or goes, not only of other best routes
    #[arg(long)]
    all: bool,
}

/// What happened.
enum Event {
    /// Something waits in this table.
    Changed(usize),
    /// An entity of this table registered.
    Came(usize, EntityInfo),
    /// An entity of this table is gone.
    Went(usize, EntityInfo),
    /// The service came (true) or went.
    Service(bool),
    /// The bus is gone.
    Lost,
    /// The user has seen enough.
    Ended,
}

/// What to tell of.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    within: Option<Prefix>,
    views: ViewSet,
    /// Also what is not the best.
    all: bool,
}

/// Tells until it is interrupted, or the bus goes away.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let within = arguments.prefix.as_deref().map(|text| cli::parse_prefix(text, &context.scope));
    let within = within.transpose().map_err(Problem::Local)?;
    let views = arguments.view.unwrap_or(ViewSet::ALL);
    let wanted = Wanted { within, views, all: arguments.all };
    let (sender, mut events) = channel(256);
    watch_service(context, &sender).await?;
    let mut epoch = context.manager.epoch().await.map_err(Failure::from)?;
    let instance = context.instance();
    let mut followers = Vec::new();
    for (family, table) in context.tables(instance).await? {
        if within.is_some_and(|prefix| prefix.family() != family) {
            continue;
        }
        let place = followers.len();
        followers.push(
            Follower::start(context, (instance, family), table, wanted, place, &sender).await?,
        );
    }
    let mut news = News::new(context.scope.json);
    for follower in &followers {
        news.following(&mut context.out, follower.name())?;
    }
    loop {
        let Some(event) = next(&mut events, context).await? else { return Ok(Exit::Unavailable) };
        match event {
            Event::Ended => return Ok(Exit::Done),
            Event::Lost => {
                news.lost(&mut context.out)?;
                return Ok(Exit::Unavailable);
            }
            Event::Service(false) => news.away(&mut context.out)?,
            Event::Service(true) => {
                let now = match context.manager.epoch().await.map_err(Failure::from) {
                    Ok(now) => now,
                    // Gone again already, which is an event of its own.
                    Err(Failure::Unreachable(_)) => continue,
                    Err(failure) => return Err(failure.into()),
                };
                news.back(&mut context.out, now == epoch)?;
                epoch = now;
                for follower in &mut followers {
                    fetch(context, follower, &mut news, &sender).await?;
                }
            }
            Event::Changed(place) => {
                if let Some(follower) = followers.get_mut(place) {
                    fetch(context, follower, &mut news, &sender).await?;
                }
            }
            Event::Came(place, entity) => {
                if let Some(follower) = followers.get_mut(place) {
                    news.came(&mut context.out, follower.name(), &entity)?;
                    follower.welcome(entity);
                }
            }
            Event::Went(place, entity) => {
                if let Some(follower) = followers.get(place) {
                    news.went(&mut context.out, follower.name(), &entity)?;
                }
            }
        }
    }
}

/// The next event; what was told so far is handed over before it is waited for.
async fn next(
    events: &mut Receiver<Event>,
    context: &mut Context,
) -> Result<Option<Event>, Problem> {
    if let Ok(event) = events.try_recv() {
        return Ok(Some(event));
    }
    context.out.flush()?;
    Ok(events.recv().await)
}

/// Tells all that waits in a table.
async fn fetch(
    context: &mut Context,
    follower: &mut Follower,
    news: &mut News,
    sender: &Sender<Event>,
) -> Result<(), Problem> {
    loop {
        match follower.fetch().await? {
            Fetched::Page(changes, done) => {
                for change in &changes {
                    news.changed(&mut context.out, follower.name(), change)?;
                }
                if done {
                    return Ok(());
                }
            }
            Fetched::TooMuch => news.missed(&mut context.out, follower.name())?,
            Fetched::NoService => return Ok(()),
            Fetched::Forgotten => {
                follower.register(sender).await?;
                news.missed(&mut context.out, follower.name())?;
            }
        }
    }
}

/// Has the service's coming and going, the end of the bus and the user's wish to end told.
async fn watch_service(context: &Context, sender: &Sender<Event>) -> Result<(), Problem> {
    let bus = DBusProxy::new(context.manager.inner().connection()).await?;
    let owners = bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?;
    let to = sender.clone();
    tokio::spawn(async move {
        pass_on(owners, &to, |change| {
            let change = change.args().ok()?;
            Some(Event::Service(change.new_owner().is_some()))
        })
        .await;
        // The stream ends with the connection.
        let _ = to.send(Event::Lost).await;
    });
    let no_signals = |error| Problem::Local(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let to = sender.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _ = to.send(Event::Ended).await;
    });
    Ok(())
}

/// Sends what comes of each item, until there are no more or nobody takes them.
async fn pass_on<T>(
    mut from: impl Stream<Item = T> + Unpin,
    to: &Sender<Event>,
    event: impl Fn(T) -> Option<Event>,
) {
    while let Some(item) = from.next().await {
        if let Some(event) = event(item)
            && to.send(event).await.is_err()
        {
            return;
        }
    }
}

/// The help on `monitor`.
pub(crate) const HELP: &str = "\
\">\" begins what is the best route now, \"-\" what has none any more. A destination that changes
faster than it is told comes once, as it is then. It goes on when the service is started again.

Examples:
  rtmctl monitor
  rtmctl monitor 10.0.0.0/8 --all
  rtmctl -6 monitor --view multicast
  rtmctl --json monitor | jq --unbuffered 'select(.event == \"gone\") | .prefix'";
