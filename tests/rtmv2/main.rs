//! RTMv2 row by row: what the checklist says of the service, claimed and tried over a bus.
//!
//! `checklist.toml` lists the rows and names the tests that prove each; these here also name their
//! rows themselves, in a line of their own above the function. `checklist` holds both together.

#[path = "../support/mod.rs"]
mod support;

mod adding;
mod addresses;
mod administration;
mod best;
mod checklist;
mod core;
mod deleting;
mod enumeration;
mod events;
mod expiry;
mod hold;
mod lists;
mod lookups;
mod next_hops;
mod notification;
mod opaque;
mod registration;
mod updating;
mod v1;
mod waking;

use std::fmt::Debug;

use rtmd::{
    bus::wire::{DestinationInfo, Details, RouteInfo},
    client::{DestinationEnumerationProxy, EntityProxy, NotificationProxy, RouteEnumerationProxy},
    model::Family,
};
use support::{Client, NO_FIB, PrivateBus, Service, details, refusal, route};
use zbus::{Connection, Variant};

const RIP: u32 = 8;
const OSPF: u32 = 13;
const BGP: u32 = 14;
const STATIC: u32 = 10006;

const UCAST: u32 = 1;
const MCAST: u32 = 2;
const ANY_VIEW: u32 = 0;
const ALL_VIEWS: u32 = u32::MAX;

// What happened, and FIRST and NEW also: how to match.
const FIRST: u32 = 0x1;
const NEW: u32 = 0x2;
const BEST: u32 = 0x0001_0000;

// What a registration for change notification is about.
const ANY_CHANGE: u32 = 0x1;
const BEST_CHANGE: u32 = 0x2;
const FORWARDING_CHANGE: u32 = 0x4;
const ONLY_MARKED: u32 = 0x0001_0000;
const ORDERED: u32 = 0x0002_0000;

/// A gateway that leads somewhere on every machine, for all of 127/8 is on `lo`.
const GATEWAY: &str = "127.0.0.2";
const TWO_INSTANCES: &str =
    "[[instance]]\nid = 0\nfib = false\n[[instance]]\nid = 1\nfib = false\n";
const THREE_VIEWS: &str = "[[instance]]\nid = 0\nfib = false\nviews = [0, 1, 5]\n";

/// A key of a dictionary, with its value.
type Key = (&'static str, Variant<'static>);

fn serve() -> (PrivateBus, Service) {
    serve_with(NO_FIB)
}

fn serve_with(config: &str) -> (PrivateBus, Service) {
    let bus = PrivateBus::start();
    let service = bus.serve(config);
    (bus, service)
}

/// Registers another of the same protocol, under this number.
async fn register_beside(bus: &PrivateBus, protocol: u32, protocol_instance: u32) -> Client {
    register_as(&bus.connect().await, protocol, protocol_instance, []).await
}

/// Registers with these options.
async fn register_as<const N: usize>(
    connection: &Connection,
    protocol: u32,
    protocol_instance: u32,
    options: [Key; N],
) -> Client {
    let manager = rtmd::client::manager(connection).await.unwrap();
    let options = details(options);
    let registered =
        manager.register_entity(0, "ipv4", protocol, protocol_instance, &options).await;
    let (path, profile) = registered.unwrap();
    let entity = EntityProxy::builder(connection).path(path).build().await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    Client { connection: connection.clone(), manager, entity, table, id: profile.id }
}

/// Offers a route that leads somewhere; its id, and what happened.
async fn offer<const N: usize>(by: &Client, to: &str, keys: [Key; N]) -> (u64, u32) {
    offer_as(by, to, 0, keys).await
}

/// As `offer`, with change flags that say which route is meant.
async fn offer_as<const N: usize>(by: &Client, to: &str, how: u32, keys: [Key; N]) -> (u64, u32) {
    by.entity.add_route(to, &route(GATEWAY, keys), how).await.unwrap()
}

/// The name of the error that refuses this route.
async fn refused(by: &Client, to: &str, route: Details) -> String {
    error(by.entity.add_route(to, &route, 0).await)
}

/// Adds a next hop; its id.
async fn hop(by: &Client, address: &str) -> u64 {
    by.entity.add_next_hop(address, 0, &details([])).await.unwrap().0
}

async fn find(by: &Client, to: &str, views: u32) -> DestinationInfo {
    by.table.get_exact_match_destination(to, 0, views).await.unwrap()
}

/// The best route in one view, 0 for none.
async fn best(by: &Client, to: &str, view: u32) -> u64 {
    find(by, to, view).await.per_view[0].best
}

/// Every route that an enumeration with these arguments finds, in pages of three.
async fn routes<const N: usize>(
    by: &Client,
    (views, flags, prefix): (u32, u32, &str),
    matching: u32,
    criteria: [Key; N],
) -> Vec<RouteInfo> {
    let criteria = details(criteria);
    let path = by.table.create_route_enumeration(views, flags, prefix, matching, &criteria).await;
    let cursor = RouteEnumerationProxy::builder(&by.connection).path(path.unwrap());
    let cursor = cursor.build().await.unwrap();
    let mut all = Vec::new();
    loop {
        let (page, done) = cursor.next(3).await.unwrap();
        all.extend(page);
        if done {
            cursor.close().await.unwrap();
            return all;
        }
    }
}

/// Registers for change notification.
async fn watch(by: &Client, views: u32, flags: u32) -> NotificationProxy<'static> {
    watch_as(by, views, flags, 0).await
}

/// As `watch`, with a context.
async fn watch_as(by: &Client, views: u32, flags: u32, context: u64) -> NotificationProxy<'static> {
    let path = by.table.register_for_change_notification(views, flags, context).await.unwrap();
    NotificationProxy::builder(&by.connection).path(path).build().await.unwrap()
}

/// Fetches every destination that waits, in pages of three.
async fn changed(of: &NotificationProxy<'_>) -> Vec<DestinationInfo> {
    let mut all = Vec::new();
    loop {
        let (page, done) = of.get_changed_destinations(3).await.unwrap();
        all.extend(page);
        if done {
            return all;
        }
    }
}

/// Fetches every destination that waits; their prefixes.
async fn told(of: &NotificationProxy<'_>) -> Vec<String> {
    changed(of).await.into_iter().map(|destination| destination.prefix).collect()
}

/// Every destination that an enumeration of these views finds.
async fn destinations(by: &Client, views: u32) -> Vec<String> {
    let path = by.table.create_destination_enumeration(views, 0, "", 0).await.unwrap();
    let cursor = DestinationEnumerationProxy::builder(&by.connection).path(path);
    let (page, done) = cursor.build().await.unwrap().next(1000).await.unwrap();
    assert!(done, "there are few");
    page.into_iter().map(|destination| destination.prefix).collect()
}

/// The last part of the name of the error.
fn error<T: Debug>(result: zbus::Result<T>) -> String {
    refusal(result).0
}

fn is_unknown_object<T: Debug>(result: zbus::Result<T>) -> bool {
    error(result).contains("UnknownObject")
}
