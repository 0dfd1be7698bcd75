//! `rtmctl routes`: those that are asked for, as rows, JSON, or lines of `ip route`.

use std::collections::BTreeSet;

use clap::ValueEnum;
use rtmd::{
    bus::wire::RouteInfo,
    client::{Failure, TableProxy},
    model::{
        entity::Protocol,
        error::ErrorKind,
        fib::FibStatus,
        prefix::Prefix,
        view::{View, ViewSet},
    },
};

use crate::{
    cli, completion,
    context::{Context, Exit, Problem, text},
    route_view::{Format, RoutePrinter, best_in, is_best_in},
    walk::{Range, Walk},
};

/// What `routes` takes.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Arguments {
    /// Only this prefix and more specific ones
    #[arg(add = completion::prefixes())]
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
    #[arg(long, value_parser = parse_protocol, add = completion::protocols())]
    protocol: Option<Protocol>,
    /// Only routes of this entity: its id, its label, or its protocol as in bgp or bgp/2
    #[arg(long, value_name = "ID|NAME", add = completion::owners())]
    owner: Option<String>,
    /// Only routes in this state; several with commas between
    #[arg(long, value_delimiter = ',')]
    state: Vec<State>,
}

/// States of routes to choose from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum State {
    /// Every route
    All,
    /// The best one in some view
    Best,
    /// The kernel has it
    Installed,
    /// On its way to the kernel
    Pending,
    /// The kernel refused it, or some of its next hops
    Failed,
    /// Not for the kernel, because it is not the best or the instance stays out of it
    None,
    /// The best, but none of its next hops leads anywhere
    Ineligible,
    /// The best, but kept out of the kernel
    Suppressed,
    /// Its owner was away and has not offered it again
    Stale,
}

/// Which routes to print.
#[derive(Clone, Debug)]
struct Wanted {
    best: bool,
    views: ViewSet,
    protocol: Option<Protocol>,
    /// Of these entities, if it matters.
    owners: Option<BTreeSet<u64>>,
    states: Vec<State>,
    /// Also what is in no view, because it is only observed.
    observed: bool,
    /// Not this prefix itself.
    without: Option<Prefix>,
}

/// Prints the routes of the tables asked for.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let prefix = arguments.prefix.as_deref().map(|text| cli::parse_prefix(text, &context.scope));
    let prefix = prefix.transpose().map_err(Problem::Local)?;
    let format = match (context.scope.json, arguments.best) {
        (true, _) => Format::Json,
        (false, false) => Format::Rows,
        (false, true) => Format::IpRoute {
            metric: context.limit("fib-metric", 82).await?,
            most: context.limit("max-next-hops", 256).await?,
        },
    };
    let all = if arguments.best { View::UNICAST.only() } else { ViewSet::ALL };
    let mut wanted = Wanted {
        best: arguments.best,
        views: arguments.view.unwrap_or(all),
        protocol: arguments.protocol,
        owners: None,
        states: arguments.state,
        observed: arguments.exact && arguments.view.is_none(),
        without: prefix.filter(|_| arguments.longer),
    };
    let tables = match prefix {
        Some(prefix) => vec![(prefix.family(), context.table(prefix.family()).await?)],
        None => context.tables(context.instance()).await?,
    };
    let (mut count, mut owners) = (0, 0);
    for (family, table) in tables {
        let mut printer = RoutePrinter::new(context, family, table.clone(), format).await?;
        if let Some(name) = &arguments.owner {
            let called = printer.owners_called(name);
            owners += called.len();
            wanted.owners = Some(called);
        }
        match prefix {
            Some(prefix) if arguments.exact => {
                let mut routes = table.get_routes(&prefix.to_string()).await?;
                if !wanted.best {
                    routes.extend(held(&table, &prefix.to_string()).await?);
                }
                print(context, &mut printer, &wanted, &routes).await?;
            }
            Some(prefix) if arguments.shorter => {
                let mut next = shorter(&table, &prefix.to_string(), wanted.views).await?;
                while let Some(prefix) = next {
                    let routes = table.get_routes(&prefix).await?;
                    print(context, &mut printer, &wanted, &routes).await?;
                    next = shorter(&table, &prefix, wanted.views).await?;
                }
            }
            _ => {
                let range = Range { within: prefix, ..wanted.range() };
                let mut walk = Walk::start(&context.manager, &table, family, range).await?;
                while let Some(routes) = walk.next().await? {
                    print(context, &mut printer, &wanted, &routes).await?;
                }
            }
        }
        count += printer.finish(&mut context.out)?;
    }
    match arguments.owner {
        Some(name) if owners == 0 => {
            let name = rtmd::model::error::quoted(&name);
            return Err(Problem::Local(format!("no entity has the id, label or protocol {name}")));
        }
        _ => context.say_if_empty(count, "routes like that"),
    }
    Ok(Exit::Done)
}

impl Arguments {
    /// The routes that the kernel refused, wholly or in part.
    pub(crate) fn failed() -> Self {
        Self { state: vec![State::Failed], ..Self::default() }
    }
}

impl State {
    fn is_of(self, route: &RouteInfo) -> bool {
        let fib = text(&route.more, "fib").unwrap_or_default();
        let is = |status: FibStatus| fib == status.name();
        match self {
            Self::All => true,
            Self::Best => !best_in(route).is_empty(),
            Self::Installed => is(FibStatus::Installed),
            Self::Pending => is(FibStatus::Pending),
            // Where the kernel refuses the best route's next hops it has those of the next best.
            Self::Failed => is(FibStatus::Failed) || route.more.contains_key("fib-error"),
            Self::None => is(FibStatus::None),
            Self::Ineligible => is(FibStatus::Ineligible),
            Self::Suppressed => is(FibStatus::Suppressed),
            Self::Stale => route.more.contains_key("stale"),
        }
    }
}

impl Wanted {
    /// What the service can sort out by itself.
    fn range(&self) -> Range {
        let only = self.owners.iter().flatten().next();
        let is_one = self.owners.as_ref().is_some_and(|owners| owners.len() == 1);
        let owner = only.filter(|_| is_one).copied();
        Range { within: None, views: self.views, owner, protocol: self.protocol }
    }

    fn wants(&self, route: &RouteInfo, protocol: Option<Protocol>) -> bool {
        (!self.best || is_best_in(route, View::UNICAST))
            && (!ViewSet(route.views).intersection(self.views).is_empty()
                || self.observed && route.views == 0)
            && self.protocol.is_none_or(|wanted| protocol == Some(wanted))
            && self.owners.as_ref().is_none_or(|owners| owners.contains(&route.owner))
            && (self.states.is_empty() || self.states.iter().any(|state| state.is_of(route)))
            && self.without.is_none_or(|prefix| route.destination != prefix.to_string())
    }
}

async fn print(
    context: &mut Context,
    printer: &mut RoutePrinter,
    wanted: &Wanted,
    routes: &[RouteInfo],
) -> Result<(), Problem> {
    for route in routes {
        if wanted.wants(route, printer.protocol_of(route)) {
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

pub(crate) fn parse_view(text: &str) -> Result<ViewSet, String> {
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

pub(crate) fn parse_protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text).ok_or_else(|| "neither a protocol's name nor a number".to_owned())
}

/// The help on `routes`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl routes                            # every offer, the best marked
  rtmctl routes 10.0.0.0/8 --longer        # more specific ones only
  rtmctl routes --owner bird --state best  # what of BIRD's is chosen
  rtmctl routes --state failed,pending     # what the kernel does not have
  rtmctl -4 routes --best                  # as \"ip -N route show proto 82\" writes them";
