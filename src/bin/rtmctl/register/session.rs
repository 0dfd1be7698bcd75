//! One registration: what it has offered, and what it is about to offer.
//!
//! Changes are collected and sent many at a time. Within a batch the service keeps their order, and
//! batches are answered in the order they are sent; only a prefix that is both added and deleted
//! needs care, and the loader gives it by waiting in between.

use std::collections::HashMap;

use rtmd::{
    bus::wire::{Details, INFINITE, ItemError, RouteItem, SERVICE},
    client::{EntityProxy, Failure, ManagerProxy, TableProxy},
    model::{EntityKey, EntityState, InterfaceIndex, NextHopKey, Prefix, PrefixMap, Weight},
};

use tokio::task::JoinHandle;

use super::events::Totals;
use crate::{
    context::Problem,
    interfaces::Interfaces,
    lines::{Hop, Offer},
    walk::{Range, Walk},
};

/// The most changes in a call: a hundred kilobytes or so.
pub(super) const BATCH: usize = 2000;

/// A registration in one table.
pub(super) struct Session {
    entity: EntityProxy<'static>,
    table: TableProxy<'static>,
    id: u64,
    next_hops: HashMap<NextHopKey, KnownNextHop>,
    /// The id of each route that the service has from here.
    offered: PrefixMap<u64>,
    /// Those from before that no line was about yet; none where it did not go on with anything.
    before: Option<PrefixMap<u64>>,
    /// What is not answered yet.
    unsettled: HashMap<Prefix, Change>,
    adding: Vec<(Place, RouteItem)>,
    deleting: Vec<(Place, u64)>,
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    line: u64,
    prefix: Prefix,
}

/// What is asked for a prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// An `add`.
    Add,
    /// A `del`.
    Delete,
}

/// Why a line was not done.
#[derive(Debug)]
pub(super) enum LineError {
    /// Only this line is affected.
    Refused(String),
    /// There is no point in going on.
    Fatal(Problem),
}

/// A call's answer, to be brought back to the session with [`Session::settle`].
#[derive(Debug)]
pub(super) enum Answer {
    /// To `AddRoutes`.
    Added(Vec<Place>, Result<(Vec<u64>, Vec<ItemError>), zbus::Error>),
    /// To `DeleteRoutes`.
    Deleted(Vec<Place>, Result<Vec<ItemError>, zbus::Error>),
}

/// A next hop that the service knows already.
#[derive(Clone, Copy, Debug)]
struct KnownNextHop {
    id: u64,
    /// `None` as long as it was alone in every route, where a share means nothing.
    weight: Option<Weight>,
}

impl Session {
    /// Registers.
    pub(super) async fn register(
        manager: &ManagerProxy<'_>,
        key: EntityKey,
        options: &Details,
    ) -> Result<Self, Problem> {
        let (instance, family) = (u32::from(key.table.instance.0), key.table.family);
        let (path, profile) = manager
            .register_entity(
                instance,
                family.name(),
                key.protocol.0,
                key.protocol_instance,
                options,
            )
            .await?;
        Self::of(manager, key, path, profile.id).await
    }

    /// Goes on with a shared registration of the user's, with the routes that it has.
    pub(super) async fn find(
        manager: &ManagerProxy<'_>,
        key: EntityKey,
    ) -> Result<Option<Self>, Problem> {
        let (instance, family) = (u32::from(key.table.instance.0), key.table.family);
        let entities = manager.get_registered_entities(instance, family.name()).await?;
        let entity = entities.into_iter().find(|entity| {
            // One with a bus name is some program's, and the service's own cannot be called.
            (entity.protocol, entity.protocol_instance) == (key.protocol.0, key.protocol_instance)
                && entity.bus_name.is_empty()
                && entity.state == EntityState::Active.name()
        });
        let Some(entity) = entity else { return Ok(None) };
        let mut session = Self::of(manager, key, entity.path, entity.id).await?;
        let mut before = PrefixMap::new();
        let range = Range { owner: Some(entity.id), ..Range::ALL };
        let mut walk = Walk::start(manager, &session.table, family, range).await?;
        while let Some(routes) = walk.next().await? {
            for route in routes {
                if let Ok(prefix) = route.destination.parse() {
                    before.insert(prefix, route.id);
                    session.offered.insert(prefix, route.id);
                }
            }
        }
        session.before = Some(before);
        Ok(Some(session))
    }

    async fn of(
        manager: &ManagerProxy<'_>,
        key: EntityKey,
        path: zbus::OwnedObjectPath,
        id: u64,
    ) -> Result<Self, Problem> {
        let connection = manager.inner().connection();
        let entity =
            EntityProxy::builder(connection).destination(SERVICE).path(path).build().await?;
        let instance = u32::from(key.table.instance.0);
        Ok(Self {
            entity,
            table: rtmd::client::table(manager, instance, key.table.family).await?,
            id,
            next_hops: HashMap::new(),
            offered: PrefixMap::new(),
            before: None,
            unsettled: HashMap::new(),
            adding: Vec::new(),
            deleting: Vec::new(),
        })
    }

    /// How many routes it had already, if it was there before.
    pub(super) fn had(&self) -> Option<usize> {
        self.before.as_ref().map(|before| before.iter().count())
    }

    /// The prefixes from before that no line was about.
    pub(super) fn untouched(&self) -> Vec<Prefix> {
        self.before.iter().flat_map(|before| before.iter().map(|(prefix, _)| prefix)).collect()
    }

    /// Notes a route to be offered with the next batch.
    pub(super) async fn add(
        &mut self,
        line: u64,
        offer: &Offer,
        interfaces: &mut Interfaces,
    ) -> Result<(), LineError> {
        let mut next_hops = Vec::with_capacity(offer.hops().len());
        for hop in offer.hops() {
            next_hops.push(self.next_hop(hop, offer.hops().len(), interfaces).await?);
        }
        let item = RouteItem {
            destination: offer.prefix.to_string(),
            neighbour: 0,
            preference: offer.preference.0,
            metric: offer.metric.0,
            flags: offer.flags().0.into(),
            views: offer.views.0,
            ttl: INFINITE,
            next_hops,
        };
        self.unsettled.insert(offer.prefix, Change::Add);
        self.adding.push((Place { line, prefix: offer.prefix }, item));
        Ok(())
    }

    /// Notes a route to be taken back with the next batch.
    pub(super) fn delete(&mut self, line: u64, prefix: Prefix) -> Result<(), LineError> {
        let Some(id) = self.offered.get(&prefix) else {
            return Err(LineError::Refused(format!("{prefix} is not offered")));
        };
        self.deleting.push((Place { line, prefix }, *id));
        self.unsettled.insert(prefix, Change::Delete);
        Ok(())
    }

    /// Whether a change of this prefix has to wait for the answers to those before it.
    ///
    /// Adding again is safe, since additions stay in order; deleting needs the id of the addition.
    pub(super) fn must_settle(&self, prefix: Prefix, change: Change) -> bool {
        match (self.unsettled.get(&prefix), change) {
            (None, _) | (Some(Change::Add), Change::Add) => false,
            (Some(_), _) => true,
        }
    }

    /// Whether a batch is as large as it should get.
    pub(super) fn is_full(&self) -> bool {
        self.adding.len() >= BATCH || self.deleting.len() >= BATCH
    }

    /// Sends what was noted; each call's answer has to be brought back.
    pub(super) fn send(&mut self) -> Vec<JoinHandle<Answer>> {
        let mut calls = Vec::new();
        // Tasks start in the order they are spawned, and the connection keeps that order.
        if !self.adding.is_empty() {
            let (places, items): (Vec<_>, Vec<_>) = self.adding.drain(..).unzip();
            let entity = self.entity.clone();
            calls.push(tokio::spawn(async move {
                Answer::Added(places, entity.add_routes(&items, 0).await)
            }));
        }
        if !self.deleting.is_empty() {
            let (places, ids): (Vec<_>, Vec<_>) = self.deleting.drain(..).unzip();
            let entity = self.entity.clone();
            calls.push(tokio::spawn(async move {
                Answer::Deleted(places, entity.delete_routes(&ids).await)
            }));
        }
        calls
    }

    /// Takes an answer in; returns the lines that were refused, and why.
    pub(super) fn settle(
        &mut self,
        answer: Answer,
        totals: &mut Totals,
    ) -> Result<Vec<(u64, String)>, Problem> {
        match answer {
            Answer::Added(places, answer) => {
                let (ids, errors) = match answer.map_err(Failure::from) {
                    Ok(answer) => answer,
                    Err(failure) => return self.refuse_all(&places, failure),
                };
                for (place, id) in places.iter().zip(ids).filter(|(_, id)| *id != 0) {
                    self.offered.insert(place.prefix, id);
                    self.before.as_mut().map(|before| before.remove(&place.prefix));
                    totals.offered += 1;
                }
                Ok(self.refusals(&places, errors))
            }
            Answer::Deleted(places, answer) => {
                let errors = match answer.map_err(Failure::from) {
                    Ok(errors) => errors,
                    Err(failure) => return self.refuse_all(&places, failure),
                };
                // A route that cannot be deleted is not there any more.
                for place in &places {
                    self.offered.remove(&place.prefix);
                    self.before.as_mut().map(|before| before.remove(&place.prefix));
                }
                totals.withdrawn += (places.len() - errors.len().min(places.len())) as u64;
                Ok(self.refusals(&places, errors))
            }
        }
    }

    /// Ends the registration.
    pub(super) async fn deregister(&self) -> Result<(), Problem> {
        Ok(self.entity.deregister(&Details::new()).await?)
    }

    /// Takes back what was offered before this and is not offered now.
    pub(super) async fn end_of_sync(&self) -> Result<(), Problem> {
        self.entity.end_of_sync().await?;
        Ok(())
    }

    /// The entity's id.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The entity's object.
    pub(super) fn path(&self) -> &str {
        self.entity.inner().path().as_str()
    }

    /// The table that it works in.
    pub(super) fn table(&self) -> &TableProxy<'static> {
        &self.table
    }

    fn refusals(&mut self, places: &[Place], errors: Vec<ItemError>) -> Vec<(u64, String)> {
        for place in places {
            self.unsettled.remove(&place.prefix);
        }
        let refusal = |error: ItemError| {
            let place = places.get(usize::try_from(error.index).ok()?)?;
            Some((place.line, named(place, error.text)))
        };
        errors.into_iter().filter_map(refusal).collect()
    }

    /// A call that was refused as a whole is a refusal of each line in it.
    fn refuse_all(
        &mut self,
        places: &[Place],
        failure: Failure,
    ) -> Result<Vec<(u64, String)>, Problem> {
        let Failure::Refused { message, .. } = failure else { return Err(failure.into()) };
        self.refusals(places, Vec::new());
        Ok(places.iter().map(|place| (place.line, named(place, message.clone()))).collect())
    }

    /// The id of a next hop, which is added when it is met for the first time.
    async fn next_hop(
        &mut self,
        hop: &Hop,
        of: usize,
        interfaces: &mut Interfaces,
    ) -> Result<u64, LineError> {
        let interface = match &hop.device {
            Some(name) => interfaces.index(name).map_err(LineError::Refused)?,
            None => 0,
        };
        let key = NextHopKey { address: hop.address, interface: InterfaceIndex(interface) };
        let known = self.next_hops.get(&key).copied();
        let weight =
            share(known.and_then(|known| known.weight), hop, of).map_err(LineError::Refused)?;
        let id = match known {
            // Nothing new, or only that its share of 1, which it has already, now counts.
            Some(known) if known.weight == weight || weight == Some(Weight::ONE) => known.id,
            _ => {
                let address = hop.address.map(|address| address.to_string()).unwrap_or_default();
                let weight =
                    weight.map(|weight| ("weight".to_owned(), u32::from(weight.get()).into()));
                let options: Details = weight.into_iter().collect();
                let added = self.entity.add_next_hop(&address, interface, &options).await;
                match added.map_err(Failure::from) {
                    Ok((id, _)) => id,
                    Err(Failure::Refused { message, .. }) => {
                        return Err(LineError::Refused(message));
                    }
                    Err(failure) => return Err(LineError::Fatal(failure.into())),
                }
            }
        };
        self.next_hops.insert(key, KnownNextHop { id, weight });
        Ok(id)
    }
}

/// A refusal with the prefix that it is about: not everything that is wrong is wrong with the prefix.
fn named(place: &Place, text: String) -> String {
    let prefix = place.prefix.to_string();
    if text.contains(&prefix) { text } else { format!("{prefix}: {text}") }
}

/// The share that a next hop has from now on: one for all routes that use it.
fn share(known: Option<Weight>, hop: &Hop, of: usize) -> Result<Option<Weight>, String> {
    let asked = hop.weight.or_else(|| (of > 1).then_some(Weight::ONE));
    match (known, asked) {
        (Some(known), Some(asked)) if known != asked => Err(format!(
            "this next hop has weight {} in an earlier line, and it has one weight for all routes",
            known.get()
        )),
        _ => Ok(asked.or(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(weight: u32) -> Option<Weight> {
        Weight::new(weight).ok()
    }

    fn hop(weight: Option<Weight>) -> Hop {
        Hop { weight, ..Hop::default() }
    }

    #[test]
    fn a_next_hop_alone_takes_whatever_share_it_has() {
        assert_eq!(share(None, &hop(None), 1), Ok(None));
        assert_eq!(share(weight(5), &hop(None), 1), Ok(weight(5)));
    }

    #[test]
    fn the_first_line_that_cares_sets_the_share() {
        assert_eq!(share(None, &hop(weight(5)), 2), Ok(weight(5)));
        assert_eq!(share(None, &hop(None), 2), Ok(weight(1)));
    }

    #[test]
    fn a_second_share_is_refused_rather_than_changing_earlier_routes() {
        assert!(share(weight(5), &hop(weight(6)), 2).unwrap_err().contains("has weight 5"));
        assert!(share(weight(5), &hop(None), 2).is_err());
    }
}
