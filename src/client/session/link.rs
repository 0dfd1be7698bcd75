//! A connection of a session, and what is called on it.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt as _;
use zbus::{
    Connection,
    fdo::{DBusProxy, NameOwnerChangedStream},
};

use super::{
    Ending, Settings, Shared,
    wishes::{Batch, Offer},
};
use crate::{
    bus::wire::{Details, INFINITE, ItemError, Profile, RouteItem, SERVICE},
    client::{self, CALL_TIMEOUT, EntityProxy, Failure, ManagerProxy, TableProxy},
    model::{ErrorKind, NextHopKey},
};

/// A connection, and the registration that was made on it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    bus: DBusProxy<'static>,
    manager: ManagerProxy<'static>,
    owners: NameOwnerChangedStream,
    pub(super) registration: Option<Registration>,
}

/// A registration.
#[derive(Debug)]
pub(super) struct Registration {
    entity: EntityProxy<'static>,
    table: TableProxy<'static>,
    pub(super) profile: Profile,
}

impl Link {
    /// Connects, and listens to whether the service is there.
    pub(super) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let connecting = async {
            let connection = client::connect(&settings.bus).await?;
            let bus = DBusProxy::new(&connection).await?;
            let owners = bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?;
            let manager = client::manager(&connection).await?;
            Ok(Self { connection, bus, manager, owners, registration: None })
        };
        let connected = tokio::time::timeout(CALL_TIMEOUT, connecting).await;
        connected
            .unwrap_or_else(|_| Err(Failure::Unreachable(format!("{} is silent", settings.bus))))
    }

    /// Whether the service is there; asking the service itself would have the bus start it, even
    /// one that was stopped on purpose.
    pub(super) async fn has_service(&self) -> Result<bool, Failure> {
        let name = SERVICE.try_into()?;
        Ok(self.bus.name_has_owner(name).await.map_err(zbus::Error::from)?)
    }

    /// Changes when the service lost what its clients offered.
    pub(super) async fn epoch(&self) -> Result<u64, Failure> {
        Ok(self.manager.epoch().await?)
    }

    /// Registers.
    pub(super) async fn register(&self, settings: &Settings) -> Result<Registration, Failure> {
        let key = settings.key;
        let mut options = Details::new();
        if !settings.label.is_empty() {
            options.insert("label".to_owned(), zbus::Str::from(settings.label.clone()).into());
        }
        if settings.linger > Duration::ZERO {
            let linger = u32::try_from(settings.linger.as_millis()).unwrap_or(INFINITE);
            options.insert("linger".to_owned(), linger.into());
        }
        let (instance, family) = (u32::from(key.table.instance.0), key.table.family);
        let (path, profile) = self
            .manager
            .register_entity(
                instance,
                family.name(),
                key.protocol.0,
                key.protocol_instance,
                &options,
            )
            .await?;
        let entity = EntityProxy::builder(&self.connection).path(path).build().await?;
        let table = client::table(&self.manager, instance, family).await?;
        Ok(Registration { entity, table, profile })
    }

    /// Waits until the service comes (true) or goes (false); for ever once the connection is gone.
    pub(super) async fn service_comes(&mut self) -> bool {
        while let Some(change) = self.owners.next().await {
            if let Ok(change) = change.args() {
                return change.new_owner().is_some();
            }
        }
        std::future::pending().await
    }
}

impl Registration {
    /// Carries a batch out, and takes out of it what was answered.
    pub(super) async fn send(&self, batch: &mut Batch, shared: &Shared) -> Result<(), Failure> {
        while let Some(key) = batch.doubts.last().copied() {
            let neighbour = key.neighbour.map(|key| shared.wishes().hops.id(key));
            let found = match self.table.get_routes(&key.destination.to_string()).await {
                Ok(routes) => routes.into_iter().find(|route| {
                    route.owner == self.profile.id
                        && route.state == 0
                        && Some(route.neighbour) == neighbour.unwrap_or(Some(0))
                }),
                Err(error) => match Failure::from(error) {
                    failure if failure.kind() == Some(ErrorKind::NotFound) => None,
                    failure => return Err(failure),
                },
            };
            batch.doubts.pop();
            match found {
                Some(route) => batch.withdrawals.push((key, route.id)),
                None => shared.wishes().withdrawn(key),
            }
        }
        if !batch.withdrawals.is_empty() {
            let ids: Vec<u64> = batch.withdrawals.iter().map(|(_, id)| *id).collect();
            // What cannot be withdrawn is gone already.
            self.entity.delete_routes(&ids).await?;
            let mut wishes = shared.wishes();
            batch.withdrawals.drain(..).for_each(|(key, _)| wishes.withdrawn(key));
        }
        self.add_next_hops(batch, shared).await?;
        if !batch.offers.is_empty() {
            self.add_routes(batch, shared).await?;
        }
        Ok(())
    }

    /// Adds what the offers name; takes those out that name what was refused.
    async fn add_next_hops(&self, batch: &mut Batch, shared: &Shared) -> Result<(), Failure> {
        let missing = shared.wishes().missing_hops(&batch.offers);
        let mut refused = HashMap::<NextHopKey, Failure>::new();
        for key in missing {
            let weight = shared.wishes().hops.adding(key);
            let option = weight.map(|weight| ("weight".to_owned(), u32::from(weight.get()).into()));
            let options: Details = option.into_iter().collect();
            let (address, interface) = on_the_wire(key);
            match self.entity.add_next_hop(&address, interface, &options).await {
                Ok((id, _)) => shared.wishes().hops.added(key, id, weight),
                Err(error) => match Failure::from(error) {
                    failure if is_about_the_item(&failure) => drop(refused.insert(key, failure)),
                    failure => return Err(failure),
                },
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let why = |offer: &Offer| offer.next_hops().find_map(|key| refused.get(&key).cloned());
        let mut wishes = shared.wishes();
        for offer in std::mem::take(&mut batch.offers) {
            match why(&offer) {
                Some(failure) => wishes.answered(offer, Err(failure)),
                None => batch.offers.push(offer),
            }
        }
        Ok(())
    }

    async fn add_routes(&self, batch: &mut Batch, shared: &Shared) -> Result<(), Failure> {
        let items: Vec<RouteItem> = {
            let wishes = shared.wishes();
            let id = |key: NextHopKey| wishes.hops.id(key).unwrap_or_default();
            let item = |offer: &Offer| {
                let route = &offer.route;
                RouteItem {
                    destination: offer.key.destination.to_string(),
                    neighbour: offer.key.neighbour.map_or(0, id),
                    preference: route.preference.0,
                    metric: route.metric.0,
                    flags: route.flags.0.into(),
                    views: route.views.0,
                    ttl: INFINITE,
                    next_hops: route.next_hops.iter().map(|via| id(via.key)).collect(),
                }
            };
            batch.offers.iter().map(item).collect()
        };
        let (ids, errors) = self.entity.add_routes(&items, 0).await?;
        if ids.len() != items.len() {
            let (ids, items) = (ids.len(), items.len());
            return Err(Failure::Unexpected(format!("{ids} ids for {items} routes")));
        }
        let mut errors: HashMap<usize, ItemError> = errors
            .into_iter()
            .filter_map(|error| Some((usize::try_from(error.index).ok()?, error)))
            .collect();
        let mut wishes = shared.wishes();
        for (index, (offer, id)) in batch.offers.drain(..).zip(ids).enumerate() {
            let answer = match (id, errors.remove(&index)) {
                (0, Some(ItemError { name, text, .. })) => Err(Failure::of_item(&name, text)),
                (0, None) => Err(Failure::Unexpected("refused without a reason".to_owned())),
                (id, _) => Ok(id),
            };
            wishes.answered(offer, answer);
        }
        Ok(())
    }

    /// Has everything go that was not offered since the registration.
    pub(super) async fn end_sync(&self) -> Result<(), Failure> {
        self.entity.end_of_sync().await?;
        Ok(())
    }

    /// Deletes what no route names any more.
    pub(super) async fn tidy(&self, shared: &Shared) -> Result<(), Failure> {
        let mut unused = shared.wishes().hops.take_unused();
        while let Some(key) = unused.last().copied() {
            let (address, interface) = on_the_wire(key);
            let deleted = self.entity.delete_next_hop_by_address(&address, interface).await;
            match deleted.map_err(Failure::from) {
                Err(failure) if !is_about_the_item(&failure) => {
                    shared.wishes().hops.keep_unused(unused);
                    return Err(failure);
                }
                _ => drop(unused.pop()),
            }
        }
        Ok(())
    }

    /// Deregisters.
    pub(super) async fn end(&self, ending: Ending) -> Result<(), Failure> {
        let keep = (ending == Ending::Linger).then(|| ("keep".to_owned(), true.into()));
        Ok(self.entity.deregister(&keep.into_iter().collect()).await?)
    }
}

/// Whether a refusal is of what was asked for, and not of who asked or of the moment.
fn is_about_the_item(failure: &Failure) -> bool {
    use ErrorKind as Kind;
    matches!(
        failure.kind(),
        Some(Kind::InvalidParameter | Kind::InvalidData | Kind::NotEnoughMemory | Kind::NotFound)
    )
}

fn on_the_wire(key: NextHopKey) -> (String, u32) {
    (key.address.map(|address| address.to_string()).unwrap_or_default(), key.interface.0)
}
