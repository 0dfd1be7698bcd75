//! Routes as a session takes them: which one, and what it is.

use std::net::IpAddr;

use crate::model::{
    InterfaceIndex, Metric, NextHopKey, Preference, Prefix, RouteFlags, View, ViewSet, Weight,
};

/// Which of its owner's routes one is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RouteKey {
    /// Where it leads.
    pub destination: Prefix,
    /// Who told the owner, if that tells its routes to one destination apart.
    pub neighbour: Option<NextHopKey>,
}

/// What a route is. Many destinations may share one, in an `Arc`.
///
/// It has no time to live: it lives as long as its session wishes for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to send, in the order to keep; none where flags say what to do instead.
    pub next_hops: Box<[Via]>,
    /// 0 takes the protocol's level.
    pub preference: Preference,
    /// The protocol's own cost.
    pub metric: Metric,
    /// `RTM_ROUTE_FLAGS_*`.
    pub flags: RouteFlags,
    /// The views to offer it in, at least one.
    pub views: ViewSet,
}

/// A next hop of a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Via {
    /// The neighbouring router and the link towards it, either or both.
    pub key: NextHopKey,
    /// Its share. A next hop has one for all routes: the last that is said counts, and it is 1
    /// where none ever is.
    pub weight: Option<Weight>,
}

impl Route {
    /// Through these next hops, in the unicast view, with metric 0 and the protocol's level.
    pub fn through(next_hops: impl IntoIterator<Item = Via>) -> Self {
        Self {
            next_hops: next_hops.into_iter().collect(),
            preference: Preference::default(),
            metric: Metric::default(),
            flags: RouteFlags::default(),
            views: View::UNICAST.only(),
        }
    }

    /// As [`Route::through`], through one router on whichever link leads to it.
    pub fn via(gateway: IpAddr) -> Self {
        let key = NextHopKey { address: Some(gateway), interface: InterfaceIndex(0) };
        Self::through([Via { key, weight: None }])
    }

    /// With this metric.
    #[must_use]
    pub fn metric(self, metric: Metric) -> Self {
        Self { metric, ..self }
    }
}

/// The route to a destination, of an owner that has one.
impl From<Prefix> for RouteKey {
    fn from(destination: Prefix) -> Self {
        Self { destination, neighbour: None }
    }
}
