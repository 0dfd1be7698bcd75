//! How an entity's object carries out commands: for its owner alone, and many items in slices.

use std::num::NonZeroU64;

use zbus::message::Header;

use super::{
    entity::Entity,
    errors::{Refusals, check_items},
    options::{next_hop_ids, route_id},
    wire::{ItemError, RouteItem},
};
use crate::{
    clock,
    journal::ledger::Ledger,
    model::{
        ChangeFlags, EntityId, Metric, NextHopId, Now, Preference, Result, RouteFlags, RouteId,
        Span, ViewSet,
    },
    rib::{Offer, OfferedNextHops},
    shared::SLICE,
};

impl Entity {
    /// Runs a command if the caller may speak for this entity.
    pub(super) async fn command<T>(
        &self,
        header: &Header<'_>,
        f: impl FnOnce(&mut Ledger) -> Result<T>,
    ) -> Result<T> {
        let caller = self.context.clients.caller(header).await?;
        self.context.rib.with(|rib| rib.authorize(self.id, &caller).and_then(|()| f(rib)))
    }

    /// Runs a command for each item, in slices; one item's refusal does not touch the others.
    pub(super) async fn command_each<I, T>(
        &self,
        header: &Header<'_>,
        items: &[I],
        mut f: impl FnMut(&mut Ledger, &I) -> Result<T>,
    ) -> Result<(Vec<Option<T>>, Vec<ItemError>)> {
        check_items(items)?;
        let caller = self.context.clients.caller(header).await?;
        self.context.rib.with(|rib| rib.authorize(self.id, &caller))?;
        let mut done = Vec::with_capacity(items.len());
        let mut refusals = Refusals::default();
        for slice in items.chunks(SLICE) {
            self.context.rib.with(|rib| {
                rib.authorize(self.id, &caller)?;
                for item in slice {
                    let result = f(rib, item);
                    done.push(result.map_err(|e| refusals.push(done.len(), e)).ok());
                }
                Ok(())
            })?;
            tokio::task::yield_now().await;
        }
        Ok((done, refusals.into_items()))
    }
}

/// Offers a route as `AddRoutes` has it.
pub(super) fn add(
    rib: &mut Ledger,
    owner: EntityId,
    item: &RouteItem,
    (how, now): (ChangeFlags, Now),
) -> Result<(RouteId, ChangeFlags)> {
    let next_hops = next_hop_ids(&item.next_hops)?;
    let offer = Offer {
        to: item.destination.parse()?,
        neighbour: NonZeroU64::new(item.neighbour).map(NextHopId),
        preference: Preference(item.preference),
        metric: Metric(item.metric),
        flags: RouteFlags::new(item.flags)?,
        views: ViewSet(item.views),
        next_hops: OfferedNextHops::Ids(next_hops.into()),
        ttl: Span::from_millis(item.ttl)?,
        private: &[],
        list: None,
    };
    rib.add_route(owner, &offer, how, now)
}

/// Withdraws a route.
pub(super) fn delete(rib: &mut Ledger, owner: EntityId, id: u64) -> Result<ChangeFlags> {
    rib.delete_route(owner, route_id(id)?, clock::now())
}

/// The id of each added route, 0 for the refused.
pub(super) fn ids(done: &[Option<(RouteId, ChangeFlags)>]) -> Vec<u64> {
    done.iter().map(|added| added.map_or(0, |(id, _)| id.0.get())).collect()
}
