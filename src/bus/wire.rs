//! How values look on the bus: shared by the service and by its clients.
//!
//! Field order is the wire's order, so these structures are part of the API. What is one structure
//! is sent as a tuple of one, `(DestinationInfo,)`: zbus would make its fields the arguments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zbus::{
    OwnedObjectPath, OwnedVariant,
    wire::{DeserializeDict, SerializeDict, Type},
};

/// The bus name of the service.
pub const SERVICE: &str = "org.rtmd1";
/// The path of the manager object; all others are below it.
pub const ROOT: &str = "/org/rtmd1";
/// The path that the objects of entities are below.
pub const ENTITIES: &str = "/org/rtmd1/entity";
/// The path that the objects of tables are below.
pub const TABLES: &str = "/org/rtmd1/table";
/// The interface of a client's object that answers questions.
pub const CALLBACK: &str = "org.rtmd1.Callback";
/// What each error name begins with.
pub const ERROR_PREFIX: &str = "org.rtmd1.Error";
/// A time that never ends, where the wire has milliseconds.
pub const INFINITE: u32 = u32::MAX;

/// Options and details by name: `a{sv}`.
pub type Details = BTreeMap<String, OwnedVariant>;

/// A registration: `(tousuusss)`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, Type)]
pub struct EntityInfo {
    /// Its id.
    pub id: u64,
    /// Its object.
    pub path: OwnedObjectPath,
    /// The instance it works in.
    pub instance: u32,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its protocol's number.
    pub protocol: u32,
    /// Which of several of that protocol.
    pub protocol_instance: u32,
    /// What it calls itself.
    pub label: String,
    /// The connection that holds it; empty for a shared one and for one of the service itself.
    pub bus_name: String,
    /// `active` or `builtin`.
    pub state: String,
}

/// A destination: `(stua(uuttut))`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, Type)]
pub struct DestinationInfo {
    /// `address/length`.
    pub prefix: String,
    /// When anything about it last changed, microseconds of real time since 1970.
    pub last_changed: u64,
    /// The union of its routes' views.
    pub views: u32,
    /// A record for each view asked for, ascending.
    pub per_view: Vec<ViewInfo>,
}

/// A destination in one view: `(uuttut)`. Id 0 means none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, Type)]
pub struct ViewInfo {
    /// The view's id.
    pub view: u32,
    /// How many routes the destination has in the view.
    pub routes: u32,
    /// The best of them.
    pub best: u64,
    /// The best one's owner.
    pub owner: u64,
    /// `RTM_DEST_FLAG_*`.
    pub flags: u32,
    /// The route in hold-down.
    pub held: u64,
}

/// A route: `(tsttuuuuuata{sv})`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, Type)]
pub struct RouteInfo {
    /// Its id.
    pub id: u64,
    /// `address/length`.
    pub destination: String,
    /// The entity it belongs to.
    pub owner: u64,
    /// The owner's next hop it was learnt from, or 0.
    pub neighbour: u64,
    /// `RTM_ROUTE_STATE_*`.
    pub state: u32,
    /// `RTM_ROUTE_FLAGS_*`.
    pub flags: u32,
    /// Compared first; smaller wins.
    pub preference: u32,
    /// Compared second; smaller wins.
    pub metric: u32,
    /// The views it is offered in.
    pub views: u32,
    /// The owner's next hops, in the order given.
    pub next_hops: Vec<u64>,
    /// `fib` s, `fib-error` s, `best-in-views` u, `generation` t, `expires-in` u (milliseconds, when it
    /// does), and to the owner `list` o, `private` ay.
    pub more: Details,
}

/// A next hop: `(ttsuuua{sv})`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, Type)]
pub struct NextHopInfo {
    /// Its id.
    pub id: u64,
    /// The entity it belongs to.
    pub owner: u64,
    /// The neighbouring router; empty when the destination is on the link.
    pub address: String,
    /// The kernel's number of the interface; 0 when resolution finds it.
    pub interface: u32,
    /// `RTM_NEXTHOP_STATE_*`.
    pub state: u32,
    /// `RTM_NEXTHOP_FLAGS_*`.
    pub flags: u32,
    /// `interface` s, `weight` u, `viable` b, `resolved-via` a(su), `remote-destination` s, and to the
    /// owner `private` ay; where routes lead to it, `resolved-weights` au, `resolved-interfaces` as
    /// and `resolved-through` as.
    pub more: Details,
}

/// An item of `AddRoutes`: `(stuuuuuat)`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, Type)]
pub struct RouteItem {
    /// `address/length`.
    pub destination: String,
    /// The next hop it was learnt from, or 0.
    pub neighbour: u64,
    /// 0 takes the protocol's level.
    pub preference: u32,
    /// The protocol's own cost.
    pub metric: u32,
    /// `RTM_ROUTE_FLAGS_*`.
    pub flags: u32,
    /// The views to offer it in.
    pub views: u32,
    /// Time to live in milliseconds; [`INFINITE`] for ever.
    pub ttl: u32,
    /// Next hops of the caller.
    pub next_hops: Vec<u64>,
}

/// A refused item of a bulk call: `(uss)`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, Type)]
pub struct ItemError {
    /// The item's place in the call, from 0.
    pub index: u32,
    /// The D-Bus error name.
    pub name: String,
    /// What was wrong.
    pub text: String,
}

/// A change of the best route of a destination in one view:
/// `(suua(tsttuuuuuata{sv})a(tsttuuuuuata{sv}))`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, Type)]
pub struct BestChange {
    /// `address/length`.
    pub destination: String,
    /// The view's id.
    pub view: u32,
    /// `RTM_ROUTE_ADDED` 1, `RTM_ROUTE_DELETED` 2 or `RTM_ROUTE_CHANGED` 3.
    pub what: u32,
    /// The best route from then on, if there is one.
    pub current: Vec<RouteInfo>,
    /// The best route until then, if there was one.
    pub previous: Vec<RouteInfo>,
}

/// What came of one method: `(uuay)`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, Type)]
pub struct MethodOutput {
    /// The method's bit.
    pub method: u32,
    /// How it ended: 0, or a Win32 code.
    pub status: u32,
    /// What it returned.
    pub output: Vec<u8>,
}

/// What registration tells the client about the table: `a{sv}`.
#[derive(Clone, Debug, DeserializeDict, Eq, PartialEq, SerializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "kebab-case")]
pub struct Profile {
    /// The entity's id.
    pub id: u64,
    /// The most next hops a route may have.
    pub max_next_hops: u32,
    /// The most items a page of an enumeration may have.
    pub max_handles: u32,
    /// The views of the table.
    pub views: u32,
    /// How many they are.
    pub number_of_views: u32,
    /// The preference its routes get.
    pub preference: u32,
    /// Changes when the service lost what clients offered.
    pub epoch: u64,
    /// Whether routes of an earlier registration are still there.
    pub resumed: bool,
    /// How many of them wait to be offered again.
    pub stale_routes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signatures_are_those_of_the_api() {
        assert_eq!(EntityInfo::SIGNATURE, "(tousuusss)");
        assert_eq!(DestinationInfo::SIGNATURE, "(stua(uuttut))");
        assert_eq!(RouteInfo::SIGNATURE, "(tsttuuuuuata{sv})");
        assert_eq!(NextHopInfo::SIGNATURE, "(ttsuuua{sv})");
        assert_eq!(RouteItem::SIGNATURE, "(stuuuuuat)");
        assert_eq!(ItemError::SIGNATURE, "(uss)");
        assert_eq!(MethodOutput::SIGNATURE, "(uuay)");
        assert_eq!(Profile::SIGNATURE, "a{sv}");
    }
}
