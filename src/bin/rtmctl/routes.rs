//! `rtmctl routes`: walks through the table page by page; nothing is held but the page.

use std::collections::BTreeSet;

use rtmd::{
    bus::wire::{Details, RouteInfo, SERVICE},
    client::{Failure, RouteEnumerationProxy, TableProxy},
    model::{
        entity::Protocol,
        error::ErrorKind,
        prefix::{Family, Prefix},
        view::{View, ViewSet},
    },
};

use crate::{
    cli,
    context::{Context, Exit, Problem},
    route_view::{Format, RoutePrinter, is_best_in},
};

/// What `routes` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only this prefix and more specific ones
    prefix: Option<String>,
    /// Only the best unicast routes, written as `ip -N route show proto 82` writes them
    #[arg(long, conflicts_with_all = ["view"])]
    best: bool,
    /// Of the prefixes, only this very one, and also what is only observed or in hold-down there
    #[arg(long, requires = "prefix", conflicts_with_all = ["longer", "shorter"])]
    exact: bool,
    /// Of the prefixes, only more specific ones
    #[arg(long, requires = "prefix", conflicts_with = "shorter")]
    longer: bool,
    /// Instead, only prefixes that cover this one and are shorter, the longest first
    #[arg(long, requires = "prefix")]
    shorter: bool,
    /// Only routes offered in this view: unicast, multicast or a number
    #[arg(long, value_parser = parse_view)]
    view: Option<ViewSet>,
    /// Only routes of this protocol: a name such as bgp, or a number
    #[arg(long, value_parser = parse_protocol)]
    protocol: Option<Protocol>,
}

/// Which routes to print.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    best: bool,
    views: ViewSet,
    protocol: Option<Protocol>,
    /// Also what is in no view, because it is only observed.
    observed: bool,
    /// Not this prefix itself.
    without: Option<Prefix>,
}

/// Prints the routes of the tables asked for.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let prefix = arguments.prefix.as_deref().map(|text| cli::parse_prefix(text, &context.scope));
    let prefix = prefix.transpose().map_err(Problem::Local)?;
    let page = context.limit("max-handles", ASSUMED_PAGE).await?;
    let format = match (context.scope.json, arguments.best) {
        (true, _) => Format::Json,
        (false, false) => Format::Rows,
        (false, true) => Format::IpRoute {
            metric: context.limit("fib-metric", 82).await?,
            most: context.limit("max-next-hops", 256).await?,
        },
    };
    let all = if arguments.best { View::UNICAST.only() } else { ViewSet::ALL };
    let wanted = Wanted {
        best: arguments.best,
        views: arguments.view.unwrap_or(all),
        protocol: arguments.protocol,
        observed: arguments.exact && arguments.view.is_none(),
        without: prefix.filter(|_| arguments.longer),
    };
    let tables = match prefix {
        Some(prefix) => vec![(prefix.family(), context.table(prefix.family()).await?)],
        None => context.tables(context.instance()).await?,
    };
    let mut count = 0;
    for (family, table) in tables {
        let mut printer = RoutePrinter::new(context, family, table.clone(), format).await?;
        match prefix {
            Some(prefix) if arguments.exact => {
                let mut routes = table.get_routes(&prefix.to_string()).await?;
                if !wanted.best {
                    routes.extend(held(&table, &prefix.to_string()).await?);
                }
                print(context, &mut printer, wanted, &routes).await?;
            }
            Some(prefix) if arguments.shorter => {
                let mut next = shorter(&table, &prefix.to_string(), wanted.views).await?;
                while let Some(prefix) = next {
                    let routes = table.get_routes(&prefix).await?;
                    print(context, &mut printer, wanted, &routes).await?;
                    next = shorter(&table, &prefix, wanted.views).await?;
                }
            }
            _ => {
                let mut walk = Walk::start(&table, family, prefix, wanted.views, page).await?;
                while let Some(routes) = walk.next().await? {
                    print(context, &mut printer, wanted, &routes).await?;
                }
            }
        }
        count += printer.finish(&mut context.out)?;
    }
    context.say_if_empty(count, "routes like that");
    Ok(Exit::Done)
}

async fn print(
    context: &mut Context,
    printer: &mut RoutePrinter,
    wanted: Wanted,
    routes: &[RouteInfo],
) -> Result<(), Problem> {
    for route in routes {
        let is_wanted = (!wanted.best || is_best_in(route, View::UNICAST))
            && (!ViewSet(route.views).intersection(wanted.views).is_empty()
                || wanted.observed && route.views == 0)
            && wanted.protocol.is_none_or(|protocol| printer.protocol_of(route) == Some(protocol))
            && wanted.without.is_none_or(|prefix| route.destination != prefix.to_string());
        if is_wanted {
            printer.print(&mut context.out, route).await?;
        }
    }
    Ok(())
}

/// The routes to a prefix that are withdrawn and held.
async fn held(table: &TableProxy<'_>, prefix: &str) -> Result<Vec<RouteInfo>, Problem> {
    const BEST_PROTOCOL: u32 = 0;
    let found = table.get_exact_match_destination(prefix, BEST_PROTOCOL, ViewSet::ALL.0).await;
    let ids: BTreeSet<u64> = match found.map_err(Failure::from) {
        Ok(found) => found.per_view.iter().map(|record| record.held).collect(),
        Err(failure) if failure.kind() == Some(ErrorKind::NotFound) => BTreeSet::new(),
        Err(failure) => return Err(failure.into()),
    };
    let mut routes = Vec::new();
    for id in ids.into_iter().filter(|id| *id != 0) {
        match table.get_route_info(id).await.map_err(Failure::from) {
            Ok(route) => routes.push(route),
            // It was let go meanwhile.
            Err(failure) if failure.kind() == Some(ErrorKind::InvalidHandle) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(routes)
}

/// The longest prefix that covers this one and is shorter.
async fn shorter(
    table: &TableProxy<'_>,
    prefix: &str,
    views: ViewSet,
) -> Result<Option<String>, Problem> {
    const BEST_PROTOCOL: u32 = 0;
    let found = table.get_less_specific_destination(prefix, BEST_PROTOCOL, views.0).await;
    match found.map_err(Failure::from) {
        Ok(found) => Ok(Some(found.prefix)),
        Err(failure) if failure.kind() == Some(ErrorKind::NotFound) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

fn parse_view(text: &str) -> Result<ViewSet, String> {
    let bit = match text {
        "unicast" => Some(View::UNICAST.only()),
        "multicast" => Some(View::MULTICAST.only()),
        number => {
            let id: Option<u32> = number.parse().ok();
            id.and_then(|id| 1u32.checked_shl(id)).map(ViewSet)
        }
    };
    bit.ok_or_else(|| "not unicast, multicast or a number from 0 to 31".to_owned())
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text).ok_or_else(|| "neither a protocol's name nor a number".to_owned())
}

/// A walk over the routes of a table.
struct Walk {
    enumeration: RouteEnumerationProxy<'static>,
    page: u32,
    state: WalkState,
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WalkState {
    More,
    Done,
}

impl Walk {
    async fn start(
        table: &TableProxy<'_>,
        family: Family,
        prefix: Option<Prefix>,
        views: ViewSet,
        page: u32,
    ) -> Result<Self, Problem> {
        let (flags, from) = match prefix {
            Some(prefix) => (ENUM_RANGE, prefix),
            None => (ENUM_START, Prefix::default_route(family)),
        };
        let none = Details::new();
        let path = table
            .create_route_enumeration(views.0, flags, &from.to_string(), MATCH_NONE, &none)
            .await?;
        let enumeration = RouteEnumerationProxy::builder(table.inner().connection())
            .destination(SERVICE)
            .path(path)
            .build()
            .await?;
        Ok(Self { enumeration, page, state: WalkState::More })
    }

    /// The next page; `None` after the last, when the walk is over on the service's side too.
    async fn next(&mut self) -> Result<Option<Vec<RouteInfo>>, Problem> {
        if self.state == WalkState::Done {
            self.enumeration.close().await?;
            return Ok(None);
        }
        let (routes, done) = self.enumeration.next(self.page).await?;
        if done {
            self.state = WalkState::Done;
        }
        Ok(Some(routes))
    }
}

/// `RTM_ENUM_START`: from the beginning.
const ENUM_START: u32 = 0;
/// `RTM_ENUM_RANGE`: a prefix and what is in it.
const ENUM_RANGE: u32 = 2;
/// `RTM_MATCH_NONE`: no further criteria.
const MATCH_NONE: u32 = 0;
/// What to ask for at a time when the service does not tell its limit.
const ASSUMED_PAGE: u32 = 1000;
