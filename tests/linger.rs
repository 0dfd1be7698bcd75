//! Owners that are away: their routes outlive the connection, and whoever registers the same again
//! goes on with them.

mod support;

use std::time::Duration;

use futures_util::StreamExt as _;
use rtmd::{
    bus::wire::Profile,
    client::{self, EntityProxy},
    model::Family,
};
use support::{Client, NO_FIB, PrivateBus, details, eventually, refusal, route};
use zbus::{Connection, Variant};

const OSPF: u32 = 13;
const BGP: u32 = 14;
const INFINITE: u32 = u32::MAX;

async fn register(
    connection: &Connection,
    protocol: u32,
    milliseconds: u32,
) -> zbus::Result<(EntityProxy<'static>, Profile)> {
    let manager = client::manager(connection).await.unwrap();
    let options = details([("linger", Variant::from(milliseconds))]);
    let (path, profile) = manager.register_entity(0, "ipv4", protocol, 0, &options).await?;
    let entity = EntityProxy::builder(connection)
        .path(path)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await?;
    Ok((entity, profile))
}

/// An owner that offers these and goes without a word.
async fn left_behind(bus: &PrivateBus, routes: usize, milliseconds: u32) -> (u64, Vec<u64>) {
    let connection = bus.connect().await;
    let (entity, profile) = register(&connection, OSPF, milliseconds).await.unwrap();
    assert_eq!((profile.resumed, profile.stale_routes), (false, 0));
    let mut ids = Vec::new();
    for number in 0..routes {
        let to = format!("10.{number}.0.0/16");
        ids.push(entity.add_route(&to, &route("127.0.0.2", []), 0).await.unwrap().0);
    }
    connection.close().await.unwrap();
    (profile.id, ids)
}

async fn has_state(watcher: &Client, id: u64, state: &str) -> bool {
    let all = watcher.manager.get_registered_entities(0, "ipv4").await.unwrap();
    all.iter().any(|entity| entity.id == id && entity.state == state)
}

#[tokio::test]
async fn who_registers_again_goes_on_with_the_same_routes_and_what_it_offers_no_more_goes() {
    for bus in PrivateBus::of_each_kind() {
        let service = bus.serve(NO_FIB);
        let watcher = Client::register(&bus, Family::Ipv4, BGP).await;
        let (id, ids) = left_behind(&bus, 5, 60_000).await;
        eventually("it lingers", async || has_state(&watcher, id, "lingering").await).await;
        let path = format!("/org/rtmd1/entity/{id}");
        let shown = |name| {
            let arguments = ["get-property", "org.rtmd1", &path, "org.rtmd1.Entity", name];
            String::from_utf8(bus.busctl(&arguments).stdout).unwrap()
        };
        assert_eq!(
            (shown("State"), shown("BusName")),
            ("s \"lingering\"\n".into(), "s \"\"\n".into())
        );
        assert_eq!((shown("Routes"), shown("StaleRoutes")), ("t 5\n".into(), "t 5\n".into()));
        let info = watcher.table.get_route_info(ids[0]).await.unwrap();
        assert!(bool::try_from(info.more["stale"].try_clone().unwrap()).unwrap());

        // Killed meanwhile, which changes nothing.
        drop(service);
        let _service = bus.serve(NO_FIB);
        assert_eq!(
            (shown("State"), shown("StaleRoutes")),
            ("s \"lingering\"\n".into(), "t 5\n".into())
        );

        let connection = bus.connect().await;
        let (entity, profile) = register(&connection, OSPF, 60_000).await.unwrap();
        assert_eq!((profile.id, profile.resumed, profile.stale_routes), (id, true, 5));
        assert!(has_state(&watcher, id, "active").await);
        for (number, id) in ids.iter().enumerate().skip(2) {
            let to = format!("10.{number}.0.0/16");
            let again = entity.add_route(&to, &route("127.0.0.2", []), 0).await.unwrap();
            assert_eq!(again, (*id, 0x0001_0000), "known by its id, and best as before");
        }
        assert_eq!(entity.stale_routes().await.unwrap(), 2);
        let info = watcher.table.get_route_info(ids[2]).await.unwrap();
        assert!(!info.more.contains_key("stale"));
        assert_eq!(entity.end_of_sync().await.unwrap(), 2);
        assert_eq!((entity.end_of_sync().await.unwrap(), entity.routes().await.unwrap()), (0, 3));
    }
}

#[tokio::test]
async fn what_nobody_resumes_goes_when_its_time_is_over() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, BGP).await;
    let mut gone = watcher.table.receive_entity_deregistered().await.unwrap();
    let (id, ids) = left_behind(&bus, 3, 300).await;
    eventually("it lingers", async || has_state(&watcher, id, "lingering").await).await;
    assert!(watcher.table.get_route_info(ids[0]).await.is_ok());
    let told = tokio::time::timeout(Duration::from_secs(10), gone.next()).await.unwrap().unwrap();
    assert_eq!(told.args().unwrap().entity.id, id);
    assert_eq!(refusal(watcher.table.get_route_info(ids[0]).await).0, "InvalidHandle");
}

#[tokio::test]
async fn an_owner_that_forgets_to_end_its_synchronization_has_as_long_again() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, BGP).await;
    let (id, ids) = left_behind(&bus, 2, 500).await;
    eventually("it lingers", async || has_state(&watcher, id, "lingering").await).await;
    let connection = bus.connect().await;
    let (entity, profile) = register(&connection, OSPF, 60_000).await.unwrap();
    assert!(profile.resumed);
    entity.add_route("10.1.0.0/16", &route("127.0.0.2", []), 0).await.unwrap();
    eventually("what is stale goes", async || entity.routes().await.unwrap() == 1).await;
    assert!(watcher.table.get_route_info(ids[1]).await.is_ok(), "that was offered again");
}

#[tokio::test]
async fn what_lingers_is_its_users_to_resume_and_to_end() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, BGP).await;
    let (id, _) = left_behind(&bus, 1, 60_000).await;
    eventually("it lingers", async || has_state(&watcher, id, "lingering").await).await;
    let path = format!("/org/rtmd1/entity/{id}");
    let entity = EntityProxy::builder(&watcher.connection).path(path.clone());
    let entity = entity.build().await.unwrap();
    let (name, text) = refusal(entity.add_route("10.9.0.0/16", &route("127.0.0.2", []), 0).await);
    assert_eq!(name, "AccessDenied");
    assert!(text.contains("lingers without a client"), "{text}");
    if let Some(stranger) = bus.connect_as(65_534).await {
        let (name, text) = refusal(register(&stranger, OSPF, 1000).await);
        assert_eq!(name, "AlreadyExists");
        assert!(text.contains("its client is away, and only user"), "{text}");
        let theirs = EntityProxy::builder(&stranger).path(path.clone()).build().await.unwrap();
        assert_eq!(refusal(theirs.deregister(&details([])).await).0, "AccessDenied");
    }
    entity.deregister(&details([])).await.unwrap();
    assert!(!has_state(&watcher, id, "lingering").await);
}

#[tokio::test]
async fn leaving_on_purpose_can_keep_the_routes() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let connection = bus.connect().await;
    let keep = details([("keep", Variant::from(true))]);
    let (without, _) = register(&connection, BGP, 0).await.unwrap();
    let (name, text) = refusal(without.deregister(&keep).await);
    assert_eq!(name, "InvalidParameter");
    assert!(text.contains("has no time to linger"), "{text}");
    let (entity, profile) = register(&connection, OSPF, 60_000).await.unwrap();
    entity.add_route("10.0.0.0/8", &route("127.0.0.2", []), 0).await.unwrap();
    entity.deregister(&keep).await.unwrap();
    let (entity, again) = register(&connection, OSPF, 60_000).await.unwrap();
    assert_eq!((again.id, again.resumed, again.stale_routes), (profile.id, true, 1));
    assert_eq!(entity.routes().await.unwrap(), 1);
    entity.deregister(&details([])).await.unwrap();
}

#[tokio::test]
async fn how_long_routes_linger_is_limited() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\nlinger = 5000\n"));
    let connection = bus.connect().await;
    for too_long in [5001, INFINITE] {
        let (name, text) = refusal(register(&connection, OSPF, too_long).await);
        assert_eq!(name, "InvalidParameter");
        assert!(text.contains("5000 milliseconds at most (limit linger)"), "{text}");
    }
    register(&connection, OSPF, 5000).await.unwrap();
    let manager = client::manager(&connection).await.unwrap();
    let shared = details([("shared", Variant::from(true)), ("linger", Variant::from(5u32))]);
    let (name, text) = refusal(manager.register_entity(0, "ipv4", BGP, 0, &shared).await);
    assert_eq!(name, "InvalidParameter");
    assert!(text.contains("outlives its connection anyway"), "{text}");
}
