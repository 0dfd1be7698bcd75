//! `rtmctl routes`: walks through the table page by page; nothing is held but the page.

use rtmd::{
    bus::wire::{Details, RouteInfo, SERVICE},
    client::{RouteEnumerationProxy, TableProxy},
    model::{
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
    #[arg(long)]
    best: bool,
}

/// Prints the routes of the tables asked for.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let prefix = arguments.prefix.as_deref().map(|text| cli::parse_prefix(text, &context.scope));
    let prefix = prefix.transpose().map_err(Problem::Local)?;
    let page = context.limit("max-handles", ASSUMED_PAGE).await?;
    let format = match (context.scope.json, arguments.best) {
        (true, _) => Format::Json,
        (false, false) => Format::Rows,
        (false, true) => Format::IpRoute { metric: context.limit("fib-metric", 82).await? },
    };
    let views = if arguments.best { View::UNICAST.only() } else { ViewSet::ALL };
    let tables = match prefix {
        Some(prefix) => vec![(prefix.family(), context.table(prefix.family()).await?)],
        None => context.tables(context.instance()).await?,
    };
    for (family, table) in tables {
        let mut printer = RoutePrinter::new(context, family, table.clone(), format).await?;
        let mut walk = Walk::start(&table, family, prefix, views, page).await?;
        while let Some(routes) = walk.next().await? {
            for route in &routes {
                if !arguments.best || is_best_in(route, View::UNICAST) {
                    printer.print(&mut context.out, route).await?;
                }
            }
        }
    }
    Ok(Exit::Done)
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
