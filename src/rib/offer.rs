//! What an entity offers, and what can be wrong with it by itself.

use serde::{Deserialize, Serialize};

use std::{borrow::Cow, fmt};

use super::{Rib, arena::Slot};
use crate::model::{
    ChangeFlags, EntityId, ErrorKind, ListId, Metric, NextHopId, NextHopKey, Preference, Prefix,
    Result, RouteFlags, Span, TableId, ViewSet, Weight,
};

/// What an entity offers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Offer<'a> {
    /// The prefix.
    pub to: Prefix,
    /// One of the owner's next hops, or none.
    pub neighbour: Option<NextHopId>,
    /// 0 takes the protocol's level.
    pub preference: Preference,
    /// The protocol's own cost.
    pub metric: Metric,
    /// `RTM_ROUTE_FLAGS_*`.
    pub flags: RouteFlags,
    /// At least one, all supported.
    pub views: ViewSet,
    /// Where to send, in the order to keep.
    pub next_hops: OfferedNextHops<'a>,
    /// How long it lives unless it is offered or updated again.
    pub ttl: Span,
    /// What only its owner gets to see (`EntitySpecificInfo`).
    pub private: &'a [u8],
    /// The owner's list to move it to; none leaves it where it is.
    pub list: Option<ListId>,
}

/// What an entity wants changed about a route; what is `None` stays as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Amendment<'a> {
    /// Only if the route leads to this prefix (RTMv2 gap 32).
    pub to: Option<Prefix>,
    /// Only if the route was not updated since it had this generation.
    pub generation: Option<u64>,
    /// Another neighbour, or none.
    pub neighbour: Option<Option<NextHopId>>,
    /// 0 takes the protocol's level.
    pub preference: Option<Preference>,
    /// Another metric.
    pub metric: Option<Metric>,
    /// Other views.
    pub views: Option<ViewSet>,
    /// Other next hops.
    pub next_hops: Option<OfferedNextHops<'a>>,
    /// Another time to live, from now on.
    pub ttl: Option<Span>,
    /// Other private data.
    pub private: Option<&'a [u8]>,
    /// The owner's list to move it to.
    pub list: Option<ListId>,
}

/// A next hop named by its key, with a weight if it is to have another than it has.
pub type InlineNextHop = (NextHopKey, Option<Weight>);

/// The two ways of naming next hops.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum OfferedNextHops<'a> {
    /// By the ids of what the owner added before.
    Ids(Cow<'a, [NextHopId]>),
    /// Inline: found, or added for as long as a route refers to them.
    ///
    /// A weight changes the next hop, for all routes that have it; none leaves it as it is, or 1.
    Inline(Cow<'a, [InlineNextHop]>),
}

impl Rib {
    /// Everything about the offer that can be wrong by itself; returns its views, "all" spelled out.
    pub(super) fn check_offer(
        &self,
        owner: EntityId,
        table: TableId,
        offer: &Offer<'_>,
        how: ChangeFlags,
    ) -> Result<ViewSet> {
        let refuse = |why: fmt::Arguments<'_>| Err(ErrorKind::InvalidParameter.because(why));
        if !matches!(how, ChangeFlags(0) | ChangeFlags::FIRST | ChangeFlags::NEW) {
            return refuse(format_args!(
                "change flags {:#x} are not 0, 1 (update the first route) or 2 (always add)",
                how.0
            ));
        }
        if offer.to.family() != table.family {
            return refuse(format_args!("prefix {} is not {}", offer.to, table.family));
        }
        if offer.views.is_empty() {
            return refuse(format_args!("a route needs at least one view"));
        }
        if let Some(list) = offer.list {
            self.check_list(owner, list)?;
        }
        self.check_private(offer.private)?;
        let views = offer.views.within(self.policy.views(table)?)?;
        if let Some(neighbour) = offer.neighbour {
            self.check_next_hop_use(owner, neighbour)?;
        }
        match &offer.next_hops {
            OfferedNextHops::Ids(ids) => {
                self.check_listed(ids.iter())?;
                ids.iter().try_for_each(|id| self.check_next_hop_use(owner, *id))?;
            }
            OfferedNextHops::Inline(all) => self.check_listed(all.iter().map(|(key, _)| key))?,
        }
        Ok(views)
    }

    /// Refuses more next hops than a route has, and one that is listed twice (RTMv2 gap 27).
    pub(super) fn check_listed<T: fmt::Display + PartialEq>(
        &self,
        all: impl ExactSizeIterator<Item = T> + Clone,
    ) -> Result<()> {
        let most = self.policy.limits.next_hops_per_route as usize;
        if all.len() > most {
            let count = all.len();
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "{count} next hops, a route has {most} at most (limit max-next-hops)"
            )));
        }
        for (place, one) in all.clone().enumerate() {
            if all.clone().take(place).any(|other| other == one) {
                return Err(ErrorKind::InvalidParameter
                    .because(format_args!("next hop {one} is listed twice")));
            }
        }
        Ok(())
    }

    /// Refuses more private data than is kept for a route or a next hop.
    pub(super) fn check_private(&self, private: &[u8]) -> Result<()> {
        let most = self.policy.limits.private_bytes;
        if private.len() > most as usize {
            let count = private.len();
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "{count} bytes of private data, it may be {most} (limit private-bytes)"
            )));
        }
        Ok(())
    }

    pub(super) fn check_room_for_route(
        &self,
        owner: EntityId,
        id: TableId,
        to: Prefix,
    ) -> Result<()> {
        let Some(table) = self.tables.get(&id) else { return Ok(()) };
        let limits = self.policy.limits;
        if table.routes + table.held >= limits.routes as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "table {id} has {} routes, the most (limit routes)",
                limits.routes
            )));
        }
        self.check_routes_right(owner)?;
        if let Some(user) = self.entities.user(owner) {
            let count = table.users.count(user);
            if count >= limits.routes_per_user as usize {
                return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                    "{count} routes in table {id} count for user {user}, the most for one user \
                     (limit routes-per-user)"
                )));
            }
        }
        let candidates = table.destinations.get(&to).map_or(0, |d| d.routes().len());
        if candidates >= limits.routes_per_destination as usize {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "{to} has {candidates} routes, the most for a destination (limit \
                 routes-per-destination)"
            )));
        }
        Ok(())
    }

    /// The set of the offered next hops, referred to once more; the caller owes a release.
    pub(super) fn refer_offered_set(
        &mut self,
        owner: EntityId,
        table: TableId,
        offered: &OfferedNextHops<'_>,
    ) -> Result<Slot> {
        match offered {
            OfferedNextHops::Ids(ids) => {
                self.check_room_for_list(owner, Some(ids))?;
                self.refer_set(owner, ids)
            }
            OfferedNextHops::Inline(inline) => {
                let known = self.known_next_hops(owner, inline);
                self.check_room_for_list(owner, known.as_deref())?;
                let (ids, changed) = self.inline_next_hops(owner, table, inline)?;
                let set = self.refer_set(owner, &ids)?;
                for id in changed {
                    self.handle_next_hop_changed(id);
                }
                Ok(set)
            }
        }
    }

    /// The next hops, if all of them are there already.
    fn known_next_hops(&self, owner: EntityId, inline: &[InlineNextHop]) -> Option<Vec<NextHopId>> {
        inline.iter().map(|(key, _)| self.next_hops.find(owner, *key)).collect()
    }
}
