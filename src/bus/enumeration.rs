//! `org.rtmd1.DestinationEnumeration` and `org.rtmd1.RouteEnumeration`: a caller's place in a table.
//!
//! An enumeration belongs to the connection that made it: nobody else may use it, and it goes with
//! that connection.

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
};

use zbus::{Connection, OwnedVariant, interface, message::Header};

use super::{
    context::Context,
    convert::{destination_info, route_info},
    options::{Options, next_hop_ids},
    private::{self, Owner},
    wire::{DestinationInfo, RouteInfo},
};
use crate::{
    model::{
        Caller, EntityId, ErrorKind, InterfaceIndex, Metric, NextHopId, Preference, Prefix, Result,
        TableId, ViewSet,
    },
    rib::{Best, Match, Rib, RouteView, Start, Walk, WalkSettings},
};

/// What "own" means in an enumeration's flags.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// `RTM_ENUM_OWN_DESTS`.
    Destinations,
    /// `RTM_ENUM_OWN_ROUTES`.
    Routes,
}

/// What both kinds share.
#[derive(Debug)]
struct Cursor<W> {
    context: Arc<Context>,
    owner: Owner,
    place: Mutex<(Walk, W)>,
}

/// A walk over destinations.
#[derive(Clone, Debug)]
pub(super) struct DestinationEnumeration(Arc<Cursor<Best>>);

/// A walk over routes.
#[derive(Clone, Debug)]
pub(super) struct RouteEnumeration(Arc<Cursor<Match>>);

impl<W> Cursor<W> {
    fn new(context: Arc<Context>, caller: Caller, place: (Walk, W)) -> Self {
        Self { context, owner: Owner::new(caller), place: Mutex::new(place) }
    }

    fn next<T>(
        &self,
        header: &Header<'_>,
        f: impl FnOnce(&Rib, &Caller, &mut Walk, &W) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, bool)> {
        let caller = self.owner.check(header)?;
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let (walk, wanted) = &mut *place;
        let page = self.context.rib.with(|rib| f(rib, caller, walk, wanted))?;
        Ok((page, walk.is_done()))
    }

    async fn close(&self, header: &Header<'_>, connection: &Connection) -> Result<()> {
        self.owner.check(header)?;
        if let Some(path) = header.path() {
            private::close(&self.context, connection, path).await;
        }
        Ok(())
    }
}

impl DestinationEnumeration {
    pub(super) fn new(context: Arc<Context>, caller: Caller, place: (Walk, Best)) -> Self {
        Self(Arc::new(Cursor::new(context, caller, place)))
    }
}

impl RouteEnumeration {
    pub(super) fn new(context: Arc<Context>, caller: Caller, place: (Walk, Match)) -> Self {
        Self(Arc::new(Cursor::new(context, caller, place)))
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
        self.0.next(&header, |rib, _, walk, best| {
            let page = rib.next_destinations(walk, *best, max)?;
            Ok(page.iter().map(destination_info).collect())
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
        self.0.next(&header, |rib, caller, walk, wanted| {
            let page = rib.next_routes(walk, wanted, max)?;
            let own = |view: &RouteView<'_>| rib.is_own(view.route.owner, caller);
            Ok(page.iter().map(|view| route_info(view, own(view))).collect())
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

/// Reads the arguments that both kinds begin with: views, flags, prefix.
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
        (0, None) => Start::Beginning,
        (1, None) => Start::At(prefix.parse()?),
        (2, None) => Start::Within(prefix.parse()?),
        (unknown, _) => {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("enumeration flags {unknown:#x} are not defined")));
        }
    };
    Ok(WalkSettings { table, views: ViewSet(views), start, owned_by })
}

/// Reads the criteria that the match flags select; those not selected are left out of account, and
/// one that is selected and missing is refused (RTMv2 row ENUM-13).
pub(super) fn criteria(
    matching: u32,
    dictionary: BTreeMap<String, OwnedVariant>,
) -> Result<(Match, Option<Prefix>)> {
    const FULL: u32 = 0xFFFF;
    const KNOWN: u32 = 0x1F;
    let matching = if matching == FULL { KNOWN } else { matching };
    if matching & !KNOWN != 0 {
        return Err(ErrorKind::InvalidParameter
            .because(format_args!("match flags {:#x} are not defined", matching & !KNOWN)));
    }
    let mut options = Options::new(dictionary, "criterion");
    let owner: Option<u64> = options.take("owner")?;
    let neighbour: Option<u64> = options.take("neighbour")?;
    let preference: Option<u32> = options.take("preference")?;
    let metric: Option<u32> = options.take("metric")?;
    let next_hops: Option<Vec<u64>> = options.take("next-hops")?;
    let interface: Option<u32> = options.take("interface")?;
    let destination: Option<String> = options.take("destination")?;
    options.finish()?;
    let next_hops = next_hops.map(|ids| next_hop_ids(&ids)).transpose()?;
    let rank = preference.zip(metric);
    let wanted = Match {
        owner: selected(matching, 0x1, "owner", owner.map(EntityId))?,
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
    Ok((wanted, destination.map(|text| text.parse()).transpose()?))
}

fn selected<T>(matching: u32, flag: u32, key: &str, value: Option<T>) -> Result<Option<T>> {
    match (matching & flag, value) {
        (0, _) => Ok(None),
        (_, Some(value)) => Ok(Some(value)),
        (_, None) => Err(ErrorKind::InvalidParameter
            .because(format_args!("match flag {flag:#x} needs the criterion \"{key}\""))),
    }
}
