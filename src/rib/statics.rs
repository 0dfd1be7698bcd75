//! Static routes: the administrator's own, which need no client to offer them.
//!
//! They belong to entities of the service itself, one for each static protocol of a table, which are
//! there from the first such route on. What a reader would get wrong: an interface is kept by its
//! name, because its number is another after a restart or when it was made anew; as long as there is
//! no such interface the route waits, and is in no table.

use serde::{Deserialize, Serialize};

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Rib,
    offer::{InlineNextHop, Offer, OfferedNextHops},
};
use crate::model::{
    ChangeFlags, EntityId, EntityKey, ErrorKind, InterfaceIndex, Metric, NextHopKey, Now,
    Preference, Prefix, Protocol, Result, RouteFlags, RouteId, Span, TableId, ViewSet, Weight,
};

/// A route as an administrator configures it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StaticRoute {
    /// What tells it apart from the others of its table.
    pub key: StaticKey,
    /// `RTM_ROUTE_FLAGS_*`.
    pub flags: RouteFlags,
    /// The views to offer it in.
    pub views: ViewSet,
    /// Where to send, in the order to keep.
    pub via: Vec<StaticNextHop>,
    /// Whether it outlives the service.
    pub persistent: bool,
}

/// What tells static routes of a table apart: where to, and how much it is wanted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct StaticKey {
    /// The prefix.
    pub to: Prefix,
    /// One of [`StaticKey::PROTOCOLS`].
    pub protocol: Protocol,
    /// 0 takes the protocol's level.
    pub preference: Preference,
    /// Compared among equal preferences.
    pub metric: Metric,
}

/// A next hop of a static route.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StaticNextHop {
    /// The neighbouring router; `None` when the destination is on the link itself.
    pub address: Option<IpAddr>,
    /// The name of the link towards it; `None` leaves the choice to resolution.
    pub interface: Option<String>,
    /// Its share; none leaves that of other routes by the same next hop, or 1.
    pub weight: Option<Weight>,
}

/// Which static route is meant; what is not given does not count.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct StaticMatch {
    /// Its protocol.
    pub protocol: Option<Protocol>,
    /// The preference it was given, 0 for none.
    pub preference: Option<Preference>,
    /// Its metric.
    pub metric: Option<Metric>,
    /// Its flags.
    pub flags: Option<RouteFlags>,
    /// Its views.
    pub views: Option<ViewSet>,
    /// Its next hops in any order; one without an interface stands for any.
    pub via: Option<Vec<StaticNextHop>>,
}

/// What is known of a static route.
#[derive(Debug)]
pub struct StaticView<'a> {
    /// The route as configured.
    pub route: &'a StaticRoute,
    /// Why it is not offered, as a sentence; `None` when it is.
    pub waits: Option<&'a str>,
    /// Whether it is the configuration's, and there as long as that has it.
    pub configured: bool,
}

/// What putting or removing a static route changed, for [`Rib::undo_static`].
#[derive(Debug, Deserialize, Serialize)]
#[must_use]
pub struct StaticChange {
    table: TableId,
    key: StaticKey,
    before: Option<StaticRoute>,
    /// Whether it is about what outlives the service.
    pub persistent: bool,
    /// The service's entity that it was the first route of, which has to be announced.
    pub new_entity: Option<EntityId>,
}

/// What the configuration's static routes changed.
#[derive(Debug, Default)]
#[must_use]
pub struct StaticsConfigured {
    /// The service's entities that had no routes before, which have to be announced.
    pub new_entities: Vec<EntityId>,
    /// Whether anything is other than before.
    pub changed: bool,
}

/// All there are, also those of tables that are not configured any more.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Statics(BTreeMap<(TableId, StaticKey), Known>);

#[derive(Debug, Deserialize, Serialize)]
struct Known {
    route: StaticRoute,
    standing: Standing,
    /// Whether it is the configuration's.
    configured: bool,
}

/// Whether a route is in its table.
#[derive(Debug, Deserialize, Serialize)]
enum Standing {
    /// Under this id, with the numbers its interfaces had when it got there.
    Offered(RouteId, Vec<InterfaceIndex>),
    /// Not, for this reason.
    Waiting(String),
}

impl StaticKey {
    /// The protocols that static routes can be of.
    pub const PROTOCOLS: [Protocol; 3] =
        [Protocol::STATIC, Protocol::STATIC_NON_DOD, Protocol::AUTOSTATIC];
}

/// The key of the service's entity for a static protocol.
fn entity_key(table: TableId, protocol: Protocol) -> EntityKey {
    EntityKey { table, protocol, protocol_instance: u32::MAX }
}

/// Whether only the service itself may have this key.
pub(super) fn is_reserved(key: EntityKey) -> bool {
    StaticKey::PROTOCOLS.iter().any(|protocol| key == entity_key(key.table, *protocol))
}

impl StaticMatch {
    fn includes(&self, route: &StaticRoute) -> bool {
        let key = route.key;
        let is_way = |wanted: &Vec<StaticNextHop>| {
            let same = |(one, other): (&StaticNextHop, &StaticNextHop)| {
                one.address == other.address
                    && (one.interface.is_none() || one.interface == other.interface)
            };
            wanted.len() == route.via.len()
                && wanted.iter().all(|hop| route.via.iter().any(|other| same((hop, other))))
        };
        self.protocol.is_none_or(|protocol| protocol == key.protocol)
            && self.preference.is_none_or(|preference| preference == key.preference)
            && self.metric.is_none_or(|metric| metric == key.metric)
            && self.flags.is_none_or(|flags| flags == route.flags)
            && self.views.is_none_or(|views| views == route.views)
            && self.via.as_ref().is_none_or(is_way)
    }
}

impl Rib {
    /// Puts a static route in, in the place of one with the same key (RTMv2 rows ADM-02 and ADM-03).
    ///
    /// # Errors
    /// As [`Rib::add_route`]; `InvalidParameter` for a protocol that no static route can have,
    /// `NotEnoughMemory` beyond the limit on static routes, `NotSupported` in the place of one that the
    /// configuration has.
    pub fn add_static_route(
        &mut self,
        table: TableId,
        route: StaticRoute,
        now: Now,
    ) -> Result<StaticChange> {
        let key = route.key;
        if !StaticKey::PROTOCOLS.contains(&key.protocol) {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "a static route cannot be of protocol {}, only of static, static-non-dod or \
                 autostatic",
                key.protocol
            )));
        }
        self.check_not_configured(table, key)?;
        self.check_room_for_static(table, &route)?;
        let (owner, is_new) = self.static_entity(table, key.protocol, now)?;
        let new_entity = is_new.then_some(owner);
        match self.offer_static(table, &route, now) {
            Ok(standing) => {
                let persistent = route.persistent;
                let known = Known { route, standing, configured: false };
                let known = self.statics.0.insert((table, key), known);
                let before = known.map(|known| known.route);
                let persistent = persistent || before.as_ref().is_some_and(|old| old.persistent);
                Ok(StaticChange { table, key, before, persistent, new_entity })
            }
            Err(refusal) => {
                new_entity.inspect(|id| self.entities.forget(*id));
                Err(refusal)
            }
        }
    }

    /// Puts a static route of an earlier life in. It is never lost: if it cannot be offered now, it
    /// waits until it can.
    pub fn restore_static_route(&mut self, table: TableId, route: StaticRoute, now: Now) {
        self.put_static(table, route, false, now);
    }

    /// Has the configuration's static routes be these: others that it had go, and those that it did not
    /// have stay, but for what is the same to the table.
    pub fn configure_static_routes(
        &mut self,
        routes: Vec<(TableId, StaticRoute)>,
        now: Now,
    ) -> StaticsConfigured {
        let wanted: BTreeMap<_, _> =
            routes.into_iter().map(|(table, route)| ((table, route.key), route)).collect();
        let had = self.statics.0.iter().filter(|(_, known)| known.configured);
        let gone: Vec<_> =
            had.map(|(key, _)| *key).filter(|key| !wanted.contains_key(key)).collect();
        let mut done = StaticsConfigured { changed: !gone.is_empty(), ..Default::default() };
        for (table, key) in gone {
            self.take_static(table, key, now);
        }
        for ((table, key), route) in wanted {
            let same = |known: &Known| known.configured && known.route == route;
            if self.statics.0.get(&(table, key)).is_some_and(same) {
                continue;
            }
            if let Ok((owner, true)) = self.static_entity(table, key.protocol, now) {
                done.new_entities.push(owner);
            }
            self.put_static(table, route, true, now);
            done.changed = true;
        }
        done
    }

    /// Puts a static route in that was found to be one. If it cannot be offered now, it waits.
    fn put_static(&mut self, table: TableId, route: StaticRoute, configured: bool, now: Now) {
        let key = route.key;
        let entity = self.static_entity(table, key.protocol, now);
        let offered = entity.and_then(|_| self.offer_static(table, &route, now));
        let standing = offered.unwrap_or_else(|refusal| {
            self.take_static(table, key, now);
            Standing::Waiting(refusal.message)
        });
        self.statics.0.insert((table, key), Known { route, standing, configured });
    }

    /// Takes a static route out, also of a table that is not configured any more; it has to be the
    /// only one to the destination that is meant.
    ///
    /// # Errors
    /// `NotFound` when there is none, `InvalidParameter` when several are meant, `NotSupported` for one that
    /// the configuration has.
    pub fn remove_static_route(
        &mut self,
        table: TableId,
        to: Prefix,
        which: &StaticMatch,
        now: Now,
    ) -> Result<StaticChange> {
        let known = self.statics.0.iter().filter(|((home, key), known)| {
            *home == table && key.to == to && which.includes(&known.route)
        });
        let keys: Vec<StaticKey> = known.map(|((_, key), _)| *key).collect();
        match keys.as_slice() {
            [] => Err(ErrorKind::NotFound
                .because(format_args!("there is no static route to {to} like that"))),
            [key] => {
                self.check_not_configured(table, *key)?;
                let before = self.take_static(table, *key, now);
                let persistent = before.as_ref().is_some_and(|before| before.persistent);
                Ok(StaticChange { table, key: *key, before, persistent, new_entity: None })
            }
            several => Err(ErrorKind::InvalidParameter.because(format_args!(
                "{} static routes to {to} are like that: say more of its metric, preference, \
                 protocol and next hops",
                several.len()
            ))),
        }
    }

    /// Makes undone what putting or removing a static route did.
    pub fn undo_static(&mut self, change: StaticChange, now: Now) {
        let StaticChange { table, key, before, new_entity, persistent: _ } = change;
        match before {
            // It was in force a moment ago, so it can be; if not, it waits.
            Some(route) => self.restore_static_route(table, route, now),
            None => {
                self.take_static(table, key, now);
            }
        }
        new_entity.inspect(|id| self.entities.forget(*id));
    }

    /// Offers what waited for an interface that is there now, and what has another number now.
    pub fn settle_static_routes(&mut self, now: Now) {
        let is_due = |known: &Known| match &known.standing {
            Standing::Waiting(_) => true,
            // Whose interface is gone stays: it leads nowhere until there is one of that name again.
            Standing::Offered(_, interfaces) => {
                self.static_interfaces(&known.route).is_ok_and(|now| now != *interfaces)
            }
        };
        let due = self.statics.0.iter().filter(|(_, known)| is_due(known));
        let due = due.map(|((table, _), known)| (*table, known.route.clone(), known.configured));
        for (table, route, configured) in due.collect::<Vec<_>>() {
            self.put_static(table, route, configured, now);
        }
    }

    /// The static routes of a table, by destination.
    ///
    /// # Errors
    /// `FileNotFound` or `BadConfiguration` for a table that is not there.
    pub fn static_routes(&self, table: TableId) -> Result<impl Iterator<Item = StaticView<'_>>> {
        self.policy.table(table)?;
        let known = self.statics.0.iter().filter(move |((home, _), _)| *home == table);
        Ok(known.map(|(_, known)| StaticView {
            route: &known.route,
            waits: match &known.standing {
                Standing::Offered(..) => None,
                Standing::Waiting(why) => Some(why),
            },
            configured: known.configured,
        }))
    }

    /// The static routes that are to outlive the service.
    pub fn persistent_routes(&self) -> impl Iterator<Item = (TableId, &StaticRoute)> {
        let all = self.statics.0.iter().map(|((table, _), known)| (*table, &known.route));
        all.filter(|(_, route)| route.persistent)
    }

    /// The static route that does what this route does, whoever owns that (RTMv2 row ADM-05).
    ///
    /// # Errors
    /// `InvalidHandle` when there is no such route in the table, `InvalidParameter` when one of its
    /// interfaces is gone.
    pub fn static_copy(
        &self,
        table: TableId,
        id: RouteId,
        persistent: bool,
    ) -> Result<StaticRoute> {
        let view = self.route(table, id)?;
        let live = view.next_hops.iter().filter_map(|id| self.next_hops.get(*id));
        let live = live.filter(|hop| !hop.deleted).map(|hop| (hop.key, Some(hop.weight)));
        let via: Vec<InlineNextHop> = live.collect();
        Ok(StaticRoute {
            key: StaticKey {
                to: view.route.to,
                protocol: Protocol::AUTOSTATIC,
                preference: Preference(0),
                metric: view.route.rank.metric,
            },
            flags: view.route.flags,
            views: view.route.views,
            via: self.name_interfaces(&via)?,
            persistent,
        })
    }

    /// Next hops with their interfaces by name.
    ///
    /// # Errors
    /// `InvalidParameter` when there is no such interface.
    pub fn name_interfaces(&self, via: &[InlineNextHop]) -> Result<Vec<StaticNextHop>> {
        let name = |(key, weight): &InlineNextHop| {
            let interface = match key.interface {
                InterfaceIndex(0) => None,
                index => Some(self.links.name(index).ok_or_else(|| {
                    ErrorKind::InvalidParameter
                        .because(format_args!("next hop {key}: there is no such interface"))
                })?),
            };
            Ok(StaticNextHop {
                address: key.address,
                interface: interface.map(str::to_owned),
                weight: *weight,
            })
        };
        via.iter().map(name).collect()
    }

    /// The number of an interface; 0 when there is none of that name.
    pub fn interface_index(&self, name: &str) -> InterfaceIndex {
        self.links.index(name).unwrap_or_default()
    }

    /// Refuses to touch what the configuration has: it would be back with the next reading.
    fn check_not_configured(&self, table: TableId, key: StaticKey) -> Result<()> {
        match self.statics.0.get(&(table, key)) {
            Some(Known { configured: true, .. }) => {
                Err(ErrorKind::NotSupported.because(format_args!(
                    "the static route to {} is in the configuration: change it there, and reload",
                    key.to
                )))
            }
            _ => Ok(()),
        }
    }

    /// They are told all at once, so what is limited is how long that gets: a route counts once for
    /// each of its next hops.
    fn check_room_for_static(&self, table: TableId, route: &StaticRoute) -> Result<()> {
        let count = |route: &StaticRoute| route.via.len().max(1);
        let all = self.statics.0.iter().filter(|((home, _), _)| *home == table);
        let others = all.filter(|((_, key), _)| *key != route.key);
        let others: usize = others.map(|(_, known)| count(&known.route)).sum();
        let most = self.policy.limits.static_routes as usize;
        if others + count(route) > most {
            return Err(ErrorKind::NotEnoughMemory.because(format_args!(
                "the other static routes of table {table} take {others} places of {most}, one for \
                 each next hop, and this one takes {} (limit static-routes): remove some",
                count(route)
            )));
        }
        Ok(())
    }

    fn take_static(&mut self, table: TableId, key: StaticKey, now: Now) -> Option<StaticRoute> {
        let known = self.statics.0.remove(&(table, key))?;
        if let Standing::Offered(id, _) = known.standing
            && let Some(slot) = self.routes.find(id.0)
        {
            self.remove_route(slot, None, now);
        }
        Some(known.route)
    }

    /// The service's entity that owns static routes of this protocol; says whether it is new.
    fn static_entity(
        &mut self,
        table: TableId,
        protocol: Protocol,
        now: Now,
    ) -> Result<(EntityId, bool)> {
        self.policy.table(table)?;
        let key = entity_key(table, protocol);
        if let Some(id) = self.entities.find(key) {
            return Ok((id, false));
        }
        Ok((self.entities.insert_builtin(key, format!("{protocol} routes"), now), true))
    }

    /// Offers a static route, in its old place if it has one, or lets it wait for an interface.
    fn offer_static(&mut self, table: TableId, route: &StaticRoute, now: Now) -> Result<Standing> {
        let StaticKey { to, protocol, preference, metric } = route.key;
        let before = match self.statics.0.get(&(table, route.key)).map(|known| &known.standing) {
            Some(Standing::Offered(id, _)) => self.routes.find(id.0),
            _ => None,
        };
        let owner = self.static_entity(table, protocol, now)?.0;
        let inline = self.inline(&route.via);
        let offer = Offer {
            to,
            neighbour: None,
            preference,
            metric,
            flags: route.flags,
            views: route.views,
            next_hops: OfferedNextHops::Inline(inline.as_slice().into()),
            ttl: Span::FOREVER,
            private: &[],
            list: None,
        };
        let views = self.check_offer(owner, table, &offer, ChangeFlags::NEW)?;
        for (key, _) in &inline {
            Self::check_way(table.family, *key)?;
        }
        let interfaces = match self.static_interfaces(route) {
            Ok(interfaces) => interfaces,
            Err(missing) => {
                before.inspect(|slot| {
                    self.remove_route(*slot, None, now);
                });
                return Ok(Standing::Waiting(missing));
            }
        };
        let (id, _) = self.put_route(owner, &offer, views, before, now)?;
        Ok(Standing::Offered(id, interfaces))
    }

    /// Next hops by the numbers of their interfaces; a missing one gets a number that none has, so
    /// that what is wrong with the route besides comes out.
    fn inline(&self, via: &[StaticNextHop]) -> Vec<InlineNextHop> {
        let mut missing = BTreeMap::new();
        let mut inline = Vec::with_capacity(via.len());
        for StaticNextHop { address, interface, weight } in via {
            let interface = interface.as_deref().map_or(InterfaceIndex(0), |name| {
                let unused = u32::MAX - u32::try_from(missing.len()).unwrap_or(0);
                let stand_in = || *missing.entry(name).or_insert(InterfaceIndex(unused));
                self.links.index(name).unwrap_or_else(stand_in)
            });
            inline.push((NextHopKey { address: *address, interface }, *weight));
        }
        inline
    }

    /// The numbers of the route's interfaces now, or which one is missing.
    fn static_interfaces(
        &self,
        route: &StaticRoute,
    ) -> std::result::Result<Vec<InterfaceIndex>, String> {
        let index = |hop: &StaticNextHop| match &hop.interface {
            None => Ok(InterfaceIndex(0)),
            Some(name) => {
                self.links.index(name).ok_or_else(|| format!("there is no interface {name}"))
            }
        };
        route.via.iter().map(index).collect()
    }
}
