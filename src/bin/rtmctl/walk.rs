//! A walk over the routes of a table, page by page: nothing is held but the page.

use rtmd::{
    bus::wire::{Details, RouteInfo, SERVICE},
    client::{ManagerProxy, RouteEnumerationProxy, TableProxy},
    model::{
        entity::Protocol,
        prefix::{Family, Prefix},
        view::ViewSet,
    },
};

use crate::context::{Problem, limit};

/// A walk over the routes of a table.
pub(crate) struct Walk {
    enumeration: RouteEnumerationProxy<'static>,
    page: u32,
    state: WalkState,
}

/// Which routes to walk over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// Those of this prefix and of more specific ones.
    pub(crate) within: Option<Prefix>,
    /// Those offered in one of these views.
    pub(crate) views: ViewSet,
    /// Those of this entity.
    pub(crate) owner: Option<u64>,
    /// Those of this protocol.
    pub(crate) protocol: Option<Protocol>,
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WalkState {
    More,
    Done,
}

impl Range {
    /// All there are.
    pub(crate) const ALL: Self =
        Self { within: None, views: ViewSet::ALL, owner: None, protocol: None };
}

impl Walk {
    /// Begins to walk.
    pub(crate) async fn start(
        manager: &ManagerProxy<'_>,
        table: &TableProxy<'_>,
        family: Family,
        range: Range,
    ) -> Result<Self, Problem> {
        let page = limit(manager, "max-handles", ASSUMED_PAGE).await?;
        let (flags, from) = match range.within {
            Some(prefix) => (ENUM_RANGE, prefix),
            None => (ENUM_START, Prefix::default_route(family)),
        };
        let mut criteria = Details::new();
        if let Some(protocol) = range.protocol {
            criteria.insert("protocol".to_owned(), protocol.0.into());
        }
        let matching = match range.owner {
            Some(owner) => {
                criteria.insert("owner".to_owned(), owner.into());
                MATCH_OWNER
            }
            None => MATCH_NONE,
        };
        let from = from.to_string();
        let path = table
            .create_route_enumeration(range.views.0, flags, &from, matching, &criteria)
            .await?;
        let enumeration = RouteEnumerationProxy::builder(table.inner().connection())
            .destination(SERVICE)
            .path(path)
            .build()
            .await?;
        Ok(Self { enumeration, page, state: WalkState::More })
    }

    /// The next page; `None` after the last, when the walk is over on the service's side too.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<RouteInfo>>, Problem> {
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
/// `RTM_MATCH_OWNER`: only routes of one entity.
const MATCH_OWNER: u32 = 1;
/// What to ask for at a time when the service does not tell its limit.
const ASSUMED_PAGE: u32 = 1000;
