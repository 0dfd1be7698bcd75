//! `org.rtmd1.DestinationEnumeration`, `.RouteEnumeration` and `.NextHopEnumeration`: a caller's place
//! in a table.
//!
//! An enumeration belongs to the connection that made it: nobody else may use it, and it goes with
//! that connection.

use std::{num::NonZeroU64, sync::Arc};

use zbus::{Connection, interface, message::Header};

use super::{
    context::Context,
    convert::{destination_info, next_hop_info, route_info},
    options::{Options, next_hop_ids},
    private::{self, Owner, not_yours},
    wire::{DestinationInfo, NextHopInfo, RouteInfo},
};
use crate::{
    journal::ledger::ObjectKind,
    model::{
        Caller, EntityId, ErrorKind, InterfaceIndex, Metric, NextHopId, Preference, Prefix, Result,
        TableId, ViewSet,
    },
    rib::{Match, Rib, RouteView, Start, WalkSettings},
};

/// What "own" means in an enumeration's flags.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// `RTM_ENUM_OWN_DESTS`.
    Destinations,
    /// `RTM_ENUM_OWN_ROUTES`.
    Routes,
}

/// What all kinds share. How far it has come is in the ledger, under the object's path.
#[derive(Clone, Debug)]
struct Cursor {
    context: Arc<Context>,
    owner: Owner,
}

/// A walk over destinations.
#[derive(Clone, Debug)]
pub(super) struct DestinationEnumeration(Cursor);

/// A walk over routes.
#[derive(Clone, Debug)]
pub(super) struct RouteEnumeration(Cursor);

/// A walk over the caller's next hops.
#[derive(Clone, Debug)]
pub(super) struct NextHopEnumeration(Cursor);

impl Cursor {
    /// A page, and whether it was the last.
    fn next<T>(
        &self,
        header: &Header<'_>,
        f: impl FnOnce(&Rib, &Caller, &mut ObjectKind) -> Option<Result<(Vec<T>, bool)>>,
    ) -> Result<(Vec<T>, bool)> {
        let caller = self.owner.check(header)?;
        let path = header.path().map(|path| path.as_str()).unwrap_or_default();
        self.context.rib.with(|rib| {
            let mut object = rib.objects().get(path).cloned();
            let page = object.as_mut().and_then(|object| f(rib, caller, &mut object.kind));
            // Closed meanwhile.
            let page = page.unwrap_or_else(|| Err(not_yours()))?;
            if let Some(object) = object {
                rib.keep_object(path.to_owned(), object);
            }
            Ok(page)
        })
    }

    async fn close(&self, header: &Header<'_>, connection: &Connection) -> Result<()> {
        self.owner.check(header)?;
        if let Some(path) = header.path() {
            private::close(&self.context, connection, path.as_str()).await;
        }
        Ok(())
    }
}

impl DestinationEnumeration {
    pub(super) fn new(context: Arc<Context>, owner: Owner) -> Self {
        Self(Cursor { context, owner })
    }
}

impl RouteEnumeration {
    pub(super) fn new(context: Arc<Context>, owner: Owner) -> Self {
        Self(Cursor { context, owner })
    }
}

impl NextHopEnumeration {
    pub(super) fn new(context: Arc<Context>, owner: Owner) -> Self {
        Self(Cursor { context, owner })
    }
}

#[interface(name = "org.rtmd1.DestinationEnumeration", spawn = false)]
impl DestinationEnumeration {
    /// Returns the next destinations in order of address, and whether these were the last. A page
    /// may have fewer than "max", even none, before the end. Errors: InvalidHandle,
    /// InvalidParameter.
    #[zbus(out_args("destinations", "done"))]
    fn next(
        &self,
        max: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<DestinationInfo>, bool)> {
        self.0.next(&header, |rib, _, kind| {
            let ObjectKind::Destinations(walk, best) = kind else { return None };
            let page = rib.next_destinations(walk, *best, max);
            Some(page.map(|page| (page.iter().map(destination_info).collect(), walk.is_done())))
        })
    }

    /// Ends the enumeration. Errors: InvalidHandle.
    async fn close(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        self.0.close(&header, connection).await
    }
}

#[interface(name = "org.rtmd1.RouteEnumeration", spawn = false)]
impl RouteEnumeration {
    /// Returns the next routes in order of address, those of one destination in order of rank, and
    /// whether these were the last. A page may have fewer than "max", even none, before the end.
    /// Errors: InvalidHandle, InvalidParameter.
    #[zbus(out_args("routes", "done"))]
    fn next(&self, max: u32, #[zbus(header)] header: Header<'_>) -> Result<(Vec<RouteInfo>, bool)> {
        self.0.next(&header, |rib, caller, kind| {
            let ObjectKind::Routes(walk, wanted) = kind else { return None };
            let own = |view: &RouteView<'_>| rib.is_own(view.route.owner, caller);
            let page = rib.next_routes(walk, wanted, max).map(|page| {
                page.iter().map(|view| route_info(view, own(view))).collect::<Vec<_>>()
            });
            Some(page.map(|page| (page, walk.is_done())))
        })
    }

    /// Ends the enumeration. Errors: InvalidHandle.
    async fn close(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        self.0.close(&header, connection).await
    }
}

#[interface(name = "org.rtmd1.NextHopEnumeration", spawn = false)]
impl NextHopEnumeration {
    /// Returns the next of the caller's next hops in order of address, then interface, and whether
    /// these were the last; those without an address come first. Errors: InvalidHandle,
    /// InvalidParameter.
    #[zbus(out_args("next_hops", "done"))]
    fn next(
        &self,
        max: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<NextHopInfo>, bool)> {
        self.0.next(&header, |rib, _, kind| {
            let ObjectKind::NextHops(walk) = kind else { return None };
            let page = rib
                .next_next_hops(walk, max)
                .map(|page| page.iter().map(|own| next_hop_info(own, true)).collect::<Vec<_>>());
            Some(page.map(|page| (page, walk.is_done())))
        })
    }

    /// Ends the enumeration. Errors: InvalidHandle.
    async fn close(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        self.0.close(&header, connection).await
    }
}

/// Reads the arguments that walks over a table begin with: views, flags, prefix.
///
/// With `only`, the position among the flags and its prefix do not matter (RTMv2 row ENUM-14).
pub(super) fn settings(
    rib: &Rib,
    table: TableId,
    caller: &Caller,
    (views, flags, prefix): (u32, u32, &str),
    only: Option<Prefix>,
    own: Own,
) -> Result<WalkSettings> {
    let own = match own {
        Own::Destinations => 0x0100_0000,
        Own::Routes => 0x0001_0000,
    };
    let owned_by = match flags & own {
        0 => None,
        _ => Some(rib.own_entities(table, caller)?),
    };
    let start = match (flags & !own, only) {
        (0..=2, Some(only)) => Start::Only(only),
        (position, _) => start(position, prefix)?,
    };
    Ok(WalkSettings { table, views: ViewSet(views), start, owned_by })
}

/// Reads where a walk begins and ends.
pub(super) fn start(flags: u32, prefix: &str) -> Result<Start> {
    match flags {
        0 => Ok(Start::Beginning),
        1 => Ok(Start::At(prefix.parse()?)),
        2 => Ok(Start::Within(prefix.parse()?)),
        unknown => Err(ErrorKind::InvalidParameter.because(format_args!(
            "enumeration flags {unknown:#x} are not defined: one of 0 (all), 1 (from the prefix on) and \
             2 (within it), and 0x1000000 for own destinations or 0x10000 for own routes"
        ))),
    }
}

/// What becomes of a criterion that is given and that the match flags do not select.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unselected {
    /// It is left out of account: RTMv2 has the criteria in one structure, most of it unused.
    Ignored,
    /// It is refused: without it more would be deleted than was meant.
    Refused,
}

/// Reads the criteria that the match flags select; one that is selected and missing is refused
/// (RTMv2 row ENUM-13).
pub(super) fn criteria(
    context: &Context,
    matching: u32,
    mut criteria: Options,
    unselected: Unselected,
) -> Result<Match> {
    const FULL: u32 = 0xFFFF;
    const KNOWN: u32 = 0x1F;
    let matching = if matching == FULL { KNOWN } else { matching };
    if matching & !KNOWN != 0 {
        return Err(ErrorKind::InvalidParameter
            .because(format_args!("match flags {:#x} are not defined", matching & !KNOWN)));
    }
    let owner: Option<u64> = criteria.take("owner")?;
    let neighbour: Option<u64> = criteria.take("neighbour")?;
    let preference: Option<u32> = criteria.take("preference")?;
    let metric: Option<u32> = criteria.take("metric")?;
    let next_hops = criteria.read("next-hops", |ids: Vec<u64>| next_hop_ids(&ids))?;
    let interface: Option<u32> = criteria.take("interface")?;
    criteria.finish()?;
    if unselected == Unselected::Refused {
        for (key, is_given, flag) in [
            ("owner", owner.is_some(), 0x1),
            ("neighbour", neighbour.is_some(), 0x2),
            ("preference", preference.is_some(), 0x4),
            ("metric", metric.is_some(), 0x4),
            ("next-hops", next_hops.is_some(), 0x8),
            ("interface", interface.is_some(), 0x10),
        ] {
            if is_given && matching & flag == 0 {
                return Err(ErrorKind::InvalidParameter.because(format_args!(
                    "criterion \"{key}\" is given and match flags {matching:#x} do not select it, \
                     it needs {flag:#x}: nothing is deleted"
                )));
            }
        }
    }
    let rank = preference.zip(metric);
    let wanted = Match {
        owner: selected(matching, 0x1, "owner", owner.map(EntityId))?,
        protocol: None,
        neighbour: selected(
            matching,
            0x2,
            "neighbour",
            neighbour.map(|id| NonZeroU64::new(id).map(NextHopId)),
        )?,
        preference: selected(
            matching,
            0x4,
            "preference\" and \"metric",
            rank.map(|(preference, metric)| (Preference(preference), Metric(metric))),
        )?,
        next_hops: selected(matching, 0x8, "next-hops", next_hops)?,
        interface: selected(matching, 0x10, "interface", interface.map(InterfaceIndex))?,
    };
    context.rib.with(|rib| rib.check_match(&wanted))?;
    Ok(wanted)
}

fn selected<T>(matching: u32, flag: u32, key: &str, value: Option<T>) -> Result<Option<T>> {
    match (matching & flag, value) {
        (0, _) => Ok(None),
        (_, Some(value)) => Ok(Some(value)),
        (_, None) => Err(ErrorKind::InvalidParameter
            .because(format_args!("match flag {flag:#x} needs the criterion \"{key}\""))),
    }
}
