//! One table that is followed: its registration for changes, and what is fetched through it.

use std::collections::{BTreeMap, HashMap};

use rtmd::{
    bus::wire::{DestinationInfo, EntityInfo, RouteInfo, SERVICE},
    client::{Failure, ManagerProxy, NotificationProxy, TableProxy},
    model::{
        error::ErrorKind,
        prefix::{Family, Prefix},
        view::{View, ViewSet},
    },
};
use serde_json::Value;
use tokio::{sync::mpsc::Sender, task::JoinHandle};

use super::{Event, Wanted, pass_on};
use crate::{
    context::{Context, Problem},
    hops::NextHops,
    route_view,
};

/// A table that is followed.
pub(super) struct Follower {
    name: String,
    instance: u32,
    family: Family,
    manager: ManagerProxy<'static>,
    table: TableProxy<'static>,
    wanted: Wanted,
    place: usize,
    notification: NotificationProxy<'static>,
    /// What reads its signals.
    waking: JoinHandle<()>,
    owners: HashMap<u64, EntityInfo>,
    hops: NextHops,
}

/// A destination that changed, as it is now.
pub(super) struct Change {
    pub(super) prefix: String,
    /// Microseconds since 1970; 0 when it is gone.
    pub(super) changed: u64,
    /// How many routes it has in each view that it has some in.
    pub(super) routes: BTreeMap<u32, u32>,
    /// The best routes, each with the views that it is the best in.
    pub(super) best: Vec<Best>,
}

/// A best route, ready to be told.
pub(super) struct Best {
    pub(super) views: ViewSet,
    /// The way, the owner and the rank, as text.
    pub(super) words: String,
    pub(super) json: Value,
}

/// What came of fetching.
pub(super) enum Fetched {
    /// Changes, and whether they were the last.
    Page(Vec<Change>, bool),
    /// More changed than the service keeps: some is not told.
    TooMuch,
    /// Nobody is there to ask.
    NoService,
    /// The service does not know of it any more.
    Forgotten,
}

impl Follower {
    /// Begins to follow.
    pub(super) async fn start(
        context: &Context,
        (instance, family): (u32, Family),
        table: TableProxy<'static>,
        wanted: Wanted,
        place: usize,
        events: &Sender<Event>,
    ) -> Result<Self, Problem> {
        let came = table.receive_entity_registered().await?;
        let went = table.receive_entity_deregistered().await?;
        let (to_came, to_went) = (events.clone(), events.clone());
        tokio::spawn(async move {
            pass_on(came, &to_came, |signal| {
                Some(Event::Came(place, signal.args().ok()?.entity().clone()))
            })
            .await;
        });
        tokio::spawn(async move {
            pass_on(went, &to_went, |signal| {
                Some(Event::Went(place, signal.args().ok()?.entity().clone()))
            })
            .await;
        });
        let owners = context.manager.get_registered_entities(instance, family.name()).await?;
        let (notification, waking) = subscribe(&table, wanted, place, events).await?;
        Ok(Self {
            name: format!("{instance}/{family}"),
            instance,
            family,
            manager: context.manager.clone(),
            hops: NextHops::of(table.clone()),
            table,
            wanted,
            place,
            notification,
            waking,
            owners: owners.into_iter().map(|owner| (owner.id, owner)).collect(),
        })
    }

    /// The table's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes note of an entity.
    pub(super) fn welcome(&mut self, entity: EntityInfo) {
        self.owners.insert(entity.id, entity);
    }

    /// Registers anew, where the service has forgotten about it.
    pub(super) async fn register(&mut self, events: &Sender<Event>) -> Result<(), Problem> {
        self.waking.abort();
        (self.notification, self.waking) =
            subscribe(&self.table, self.wanted, self.place, events).await?;
        Ok(())
    }

    /// Fetches a page of what changed.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, Problem> {
        let fetched = self.notification.get_changed_destinations(PAGE).await;
        let (destinations, done) = match fetched.map_err(Failure::from) {
            Ok(page) => page,
            Err(failure) => return failed(failure),
        };
        // What they come to changes without a word to those who only look.
        self.hops = NextHops::of(self.table.clone());
        let mut changes = Vec::new();
        for destination in destinations {
            if self.is_wanted(&destination) {
                match self.look(destination).await {
                    Ok(change) => changes.push(change),
                    Err(Problem::Call(Failure::Unreachable(_))) => return Ok(Fetched::NoService),
                    Err(problem) => return Err(problem),
                }
            }
        }
        Ok(Fetched::Page(changes, done))
    }

    fn is_wanted(&self, destination: &DestinationInfo) -> bool {
        let within = |within: Prefix| {
            destination.prefix.parse().is_ok_and(|prefix: Prefix| within.covers(prefix))
        };
        self.wanted.within.is_none_or(within)
    }

    async fn look(&mut self, destination: DestinationInfo) -> Result<Change, Problem> {
        let mut best: BTreeMap<u64, ViewSet> = BTreeMap::new();
        let mut routes = BTreeMap::new();
        for record in &destination.per_view {
            let view = 1u32.checked_shl(record.view).map_or(ViewSet::NONE, ViewSet);
            if record.routes > 0 && !view.intersection(self.wanted.views).is_empty() {
                routes.insert(record.view, record.routes);
                if record.best != 0 {
                    let views = best.entry(record.best).or_insert(ViewSet::NONE);
                    *views = views.union(view);
                }
            }
        }
        let mut told = Vec::new();
        for (id, views) in best {
            match self.table.get_route_info(id).await.map_err(Failure::from) {
                Ok(route) => told.push(self.describe(&route, views).await?),
                // It went meanwhile, and another change is on its way.
                Err(Failure::Refused { .. }) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        let DestinationInfo { prefix, last_changed, .. } = destination;
        Ok(Change { prefix, changed: last_changed, routes, best: told })
    }

    async fn describe(&mut self, route: &RouteInfo, views: ViewSet) -> Result<Best, Problem> {
        if !self.owners.contains_key(&route.owner) {
            let all =
                self.manager.get_registered_entities(self.instance, self.family.name()).await?;
            self.owners = all.into_iter().map(|owner| (owner.id, owner)).collect();
        }
        let owner = self.owners.get(&route.owner);
        let hops = self.hops.find(&route.next_hops).await?;
        let mut words = route_view::sentence(route, owner, &hops);
        if views != View::UNICAST.only() {
            let views = views.iter().map(view_name).collect::<Vec<_>>().join(" and ");
            words += &format!(" ({views})");
        }
        Ok(Best { views, words, json: route_view::json(&self.name, route, owner, &hops) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.waking.abort();
    }
}

/// Registers, and has the wake-ups sent on; the first one comes at once, for what changes while
/// nobody listens yet.
async fn subscribe(
    table: &TableProxy<'static>,
    wanted: Wanted,
    place: usize,
    events: &Sender<Event>,
) -> Result<(NotificationProxy<'static>, JoinHandle<()>), Problem> {
    let flags = if wanted.all { ANY } else { BEST };
    let path = table.register_for_change_notification(wanted.views.0, flags, 0).await?;
    let connection = table.inner().connection();
    let notification =
        NotificationProxy::builder(connection).destination(SERVICE).path(path).build().await?;
    let wakeups = notification.receive_change_notification().await?;
    let to = events.clone();
    let waking = tokio::spawn(async move {
        let _ = to.send(Event::Changed(place)).await;
        pass_on(wakeups, &to, |_| Some(Event::Changed(place))).await;
    });
    Ok((notification, waking))
}

fn failed(failure: Failure) -> Result<Fetched, Problem> {
    match (failure.kind(), failure) {
        (Some(ErrorKind::NoSystemResources), _) => Ok(Fetched::TooMuch),
        // It has no such object, or it is another connection's.
        (Some(ErrorKind::InvalidHandle), _) | (None, Failure::Unexpected(_)) => {
            Ok(Fetched::Forgotten)
        }
        (_, Failure::Unreachable(_)) => Ok(Fetched::NoService),
        (_, failure) => Err(failure.into()),
    }
}

/// What a view is called.
pub(super) fn view_name(view: View) -> String {
    match view {
        View::UNICAST => "unicast".to_owned(),
        View::MULTICAST => "multicast".to_owned(),
        other => format!("view {}", other.id()),
    }
}

/// `RTM_CHANGE_TYPE_ALL`: anything about any route.
const ANY: u32 = 1;
/// `RTM_CHANGE_TYPE_BEST`: another best route.
const BEST: u32 = 2;
/// How many changes are fetched at a time: few enough that what is told is not old.
const PAGE: u32 = 100;
