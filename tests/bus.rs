//! Every interface over a private bus, with our proxies. Needs no rights.

mod support;

use futures_util::StreamExt;
use rtmd::{
    bus::wire::{RouteInfo, RouteItem},
    client::{DestinationEnumerationProxy, EntityProxy, RouteEnumerationProxy},
    model::{ErrorKind, Family},
};
use support::{Client, NO_FIB, PrivateBus, details, eventually, refusal, route};
use zbus::{
    Variant,
    fdo::{Error, PropertiesProxy},
    names::InterfaceName,
    wire::ObjectPath,
};

const STATIC: u32 = 10006;
const OSPF: u32 = 13;
const RIP: u32 = 8;
const NEW: u32 = 0x2;
const BEST: u32 = 0x0001_0000;
const ALL_VIEWS: u32 = u32::MAX;

fn best_in_views(route: &RouteInfo) -> u32 {
    u32::try_from(&route.more["best-in-views"]).unwrap()
}

#[tokio::test]
async fn registration_returns_an_entity_and_the_tables_profile() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\nmax-next-hops = 7\nmax-handles = 99\n"));
    let connection = bus.connect().await;
    let manager = rtmd::client::manager(&connection).await.unwrap();
    let (path, profile) = manager.register_entity(0, "ipv4", OSPF, 0, &details([])).await.unwrap();
    assert_eq!(path.as_str(), "/org/rtmd1/entity/1");
    assert_eq!((profile.id, profile.max_next_hops, profile.max_handles), (1, 7, 99));
    assert_eq!((profile.views, profile.number_of_views, profile.preference), (3, 2, 110));
    assert_eq!(profile.epoch, manager.epoch().await.unwrap());
    assert!(!profile.resumed && profile.stale_routes == 0);
}

#[tokio::test]
async fn the_same_entity_registers_once_and_bad_registrations_are_refused() {
    let bus = PrivateBus::start();
    let _service = bus.serve("[[instance]]\nid = 0\nfib = false\n[[instance]]\nid = 3\n");
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let register = async |instance, family, options| {
        let result = client.manager.register_entity(instance, family, OSPF, 0, &options);
        refusal(result.await)
    };
    assert_eq!(register(0, "ipv4", details([])).await.0, "AlreadyExists");
    assert_eq!(register(1, "ipv4", details([])).await.0, "FileNotFound");
    assert_eq!(register(70_000, "ipv4", details([])).await.0, "FileNotFound");
    assert_eq!(register(3, "ipv4", details([])).await.0, "BadConfiguration");
    assert_eq!(register(0, "ipx", details([])).await.0, "InvalidParameter");
    let unknown = details([("colour", Variant::from("red"))]);
    assert_eq!(
        register(0, "ipv6", unknown).await,
        ("InvalidParameter".into(), "there is no registration option \"colour\"".into())
    );
    let wrong_type = details([("label", Variant::from(7u32))]);
    assert_eq!(register(0, "ipv6", wrong_type).await.0, "InvalidParameter");
    let long = details([("label", Variant::from("x".repeat(65)))]);
    assert_eq!(register(0, "ipv6", long).await.0, "InvalidData");
    let nothing = client.manager.register_entity(0, "ipv6", 0, 0, &details([])).await;
    let (name, text) = refusal(nothing);
    assert_eq!(name, "InvalidParameter");
    assert!(text.contains("protocol 0 is no protocol"), "{text}");
    assert_eq!(client.manager.get_registered_entities(0, "ipv6").await.unwrap(), []);
}

/// A new kind of error does not compile here until somebody says how to get it.
#[tokio::test]
async fn every_error_of_the_api_has_a_call_that_answers_with_it() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[[instance]]\nid = 3\n[limits]\nroutes = 1\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let callback = Variant::from(ObjectPath::try_from("/callback").unwrap());
    let exports = details([("methods", Variant::from(1u32)), ("callback", callback)]);
    let (path, _) = other.manager.register_entity(0, "ipv4", RIP, 0, &exports).await.unwrap();
    let blocked = EntityProxy::builder(&other.connection).path(path).build().await.unwrap();
    blocked.block_methods(true).await.unwrap();
    let blocked = blocked.id().await.unwrap();
    let register = async |instance, label: String| {
        let options = details([("label", label.into())]);
        let registered = client.manager.register_entity(instance, "ipv4", STATIC, 0, &options);
        refusal(registered.await)
    };
    for kind in ErrorKind::ALL {
        let (name, text) = match kind {
            ErrorKind::AccessDenied => refusal(other.entity.delete_route(id).await),
            ErrorKind::AlreadyExists => register(0, String::new()).await,
            ErrorKind::BadConfiguration => register(3, String::new()).await,
            ErrorKind::Busy => {
                let changes = details([("generation", Variant::from(u64::MAX))]);
                refusal::<u32>(client.entity.inner().call("UpdateRoute", &(id, changes)).await)
            }
            ErrorKind::FileNotFound => register(4, String::new()).await,
            ErrorKind::InvalidData => register(0, "x".repeat(65)).await,
            ErrorKind::InvalidHandle => refusal(client.table.get_route_info(id + 1).await),
            ErrorKind::InvalidParameter => refusal(client.add("10.0.0.1/8", "127.0.0.2").await),
            ErrorKind::NotEnoughMemory => refusal(client.add("11.0.0.0/8", "127.0.0.2").await),
            ErrorKind::NotFound => refusal(client.entity.find_next_hop("127.0.0.9", 0).await),
            ErrorKind::NotSupported => {
                refusal(client.table.create_destination_enumeration(4, 0, "", 0).await)
            }
            ErrorKind::NoSystemResources => {
                refusal(client.entity.delete_routes(&vec![0; 1_000_000]).await)
            }
            ErrorKind::NoMoreItems => {
                let of_another = details([("owner", Variant::from(other.id))]);
                refusal(client.entity.delete_matching_routes(1, &of_another).await)
            }
            ErrorKind::Timeout => refusal(client.entity.invoke_method(blocked, 1, b"", 50).await),
        };
        assert_eq!(name, kind.name(), "{text}");
        assert!(text.len() > 10, "{name} has to say what was wrong: {text:?}");
    }
}

#[tokio::test]
async fn a_route_is_offered_updated_looked_up_and_withdrawn() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, change) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    assert_eq!(change, NEW | BEST);
    let again = route("127.0.0.3", [("metric", Variant::from(9u32))]);
    assert_eq!(client.entity.add_route("10.0.0.0/8", &again, 0).await.unwrap(), (id, BEST));

    let found = client.table.get_route_info(id).await.unwrap();
    assert_eq!((found.destination.as_str(), found.owner), ("10.0.0.0/8", client.id));
    assert_eq!((found.preference, found.metric, found.views), (3, 9, 1));
    assert_eq!(best_in_views(&found), 1);
    let next_hop = client.table.get_next_hop_info(found.next_hops[0]).await.unwrap();
    assert_eq!((next_hop.address.as_str(), next_hop.owner), ("127.0.0.3", client.id));
    assert_eq!(<&str>::try_from(&next_hop.more["interface"]).unwrap(), "lo");
    assert_eq!(client.table.get_routes("10.0.0.0/8").await.unwrap(), [found]);
    assert_eq!(client.table.is_best_route(id).await.unwrap(), 1);

    let look =
        client.table.get_most_specific_destination("10.1.2.3/32", 0, ALL_VIEWS).await.unwrap();
    assert_eq!((look.prefix.as_str(), look.views), ("10.0.0.0/8", 1));
    let view: Vec<_> = look.per_view.iter().map(|v| (v.view, v.routes, v.best)).collect();
    assert_eq!(view, [(0, 1, id), (1, 0, 0)]);
    let missing = client.table.get_less_specific_destination("10.0.0.0/8", 0, 1).await;
    assert_eq!(refusal(missing).0, "NotFound");
    let exact = client.table.get_exact_match_destination("10.0.0.0/8", STATIC, 1).await.unwrap();
    assert_eq!((exact.per_view[0].best, exact.per_view[0].owner), (id, client.id));

    assert_eq!(client.entity.delete_route(id).await.unwrap(), BEST);
    assert_eq!(refusal(client.entity.delete_route(id).await).0, "NotFound");
    assert_eq!(client.table.get_routes("10.0.0.0/8").await.unwrap(), []);
    assert_eq!(refusal(client.table.get_route_info(id).await).0, "InvalidHandle");
}

#[tokio::test]
async fn the_protocol_whose_best_route_is_told_can_be_the_callers_own() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (winner, _) = preferred.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let (loser, change) = other.add("10.0.0.0/8", "127.0.0.3").await.unwrap();
    assert_eq!(change, NEW);
    let best = async |protocol| {
        let found = other.table.get_exact_match_destination("10.0.0.0/8", protocol, 1).await;
        found.unwrap().per_view[0].best
    };
    assert_eq!(best(0).await, winner);
    assert_eq!(best(u32::MAX).await, loser);
    let stranger = bus.connect().await;
    let manager = rtmd::client::manager(&stranger).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let nobody = table.get_exact_match_destination("10.0.0.0/8", u32::MAX, 1).await;
    assert_eq!(refusal(nobody).0, "InvalidParameter");
}

#[tokio::test]
async fn bulk_calls_answer_for_each_item() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (next_hop, change) =
        client.entity.add_next_hop("127.0.0.2", 0, &details([])).await.unwrap();
    assert_eq!(change, 1);
    let item = |destination: &str, next_hops: Vec<u64>| RouteItem {
        destination: destination.to_owned(),
        neighbour: 0,
        preference: 0,
        metric: 1,
        flags: 0,
        views: 1,
        ttl: u32::MAX,
        next_hops,
    };
    let mut items = vec![
        item("10.0.0.0/8", vec![next_hop]),
        item("10.0.0.1/8", vec![next_hop]),
        item("10.1.0.0/16", vec![next_hop, 99]),
        item("10.2.0.0/16", vec![next_hop]),
    ];
    items[3].ttl = 0;
    let (ids, errors) = client.entity.add_routes(&items, 0).await.unwrap();
    assert_eq!(ids.iter().map(|id| *id != 0).collect::<Vec<_>>(), [true, false, false, false]);
    let names: Vec<(u32, &str)> =
        errors.iter().map(|e| (e.index, e.name.rsplit('.').next().unwrap())).collect();
    assert_eq!(names, [(1, "InvalidParameter"), (2, "InvalidHandle"), (3, "InvalidParameter")]);

    let via = route("127.0.0.2", []);
    let (added, errors) = client
        .entity
        .add_prefixes(&["10.3.0.0/16", "nonsense", "10.4.0.0/16"], &via, 0)
        .await
        .unwrap();
    assert_eq!((added.len(), errors.len(), errors[0].index), (3, 1, 1));
    assert_eq!(client.table.routes().await.unwrap(), 3);
    let errors = client.entity.delete_routes(&[ids[0], 4242, added[0], added[2]]).await.unwrap();
    assert_eq!((errors.len(), errors[0].index), (1, 1));
    assert_eq!(client.table.routes().await.unwrap(), 0);
}

#[tokio::test]
async fn next_hops_are_found_and_deleted_by_id_and_by_address() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let weight = details([("weight", Variant::from(5u32))]);
    let (id, _) = client.entity.add_next_hop("127.0.0.2", 0, &weight).await.unwrap();
    let found = client.entity.find_next_hop("127.0.0.2", 0).await.unwrap();
    assert_eq!(found.id, id);
    assert_eq!(u32::try_from(&found.more["weight"]).unwrap(), 5);
    assert_eq!(refusal(client.entity.find_next_hop("127.0.0.9", 0).await).0, "NotFound");
    client.entity.delete_next_hop_by_address("127.0.0.2", 0).await.unwrap();
    assert_eq!(refusal(client.entity.delete_next_hop(id).await).0, "NotFound");
    let unknown = client.entity.add_next_hop("127.0.0.2", 4_000_000, &details([])).await;
    assert!(refusal(unknown).1.contains("there is no such interface"));
    for (options, name) in [
        (details([("weight", Variant::from(0u32))]), "InvalidParameter"),
        (details([("flags", Variant::from(16u32))]), "InvalidParameter"),
    ] {
        let refused = client.entity.add_next_hop("127.0.0.2", 0, &options).await;
        assert_eq!(refusal(refused).0, name);
    }
    assert_eq!(client.entity.next_hops().await.unwrap(), 0);
}

#[tokio::test]
async fn only_the_owner_writes_and_everybody_reads() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (id, _) = owner.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let path = owner.entity.inner().path().to_owned();
    let foreign = EntityProxy::builder(&other.connection).path(path).build().await.unwrap();
    let refused = [
        refusal(foreign.add_route("11.0.0.0/8", &route("127.0.0.2", []), 0).await),
        refusal(foreign.delete_route(id).await),
        refusal(foreign.add_next_hop("127.0.0.2", 0, &details([])).await),
        refusal(foreign.deregister(&details([])).await),
    ];
    for (name, text) in refused {
        assert_eq!(name, "AccessDenied", "{text}");
    }
    assert_eq!(refusal(other.entity.delete_route(id).await).0, "AccessDenied");
    let own = owner.table.get_route_info(id).await.unwrap().next_hops[0];
    let stolen = details([("next-hops", Variant::from(vec![own]))]);
    assert_eq!(refusal(other.entity.add_route("10.0.0.0/8", &stolen, 0).await).0, "AccessDenied");
    assert_eq!(foreign.routes().await.unwrap(), 1, "properties stay readable");
    assert_eq!(other.table.routes().await.unwrap(), 1);
}

#[tokio::test]
async fn a_client_that_dies_takes_its_routes_along() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut gone = watcher.table.receive_entity_deregistered().await.unwrap();
    let dying = Client::register(&bus, Family::Ipv4, OSPF).await;
    for n in 0..200 {
        dying.add(&format!("10.{n}.0.0/16"), "127.0.0.2").await.unwrap();
    }
    let (id, path) = (dying.id, dying.entity.inner().path().to_owned());
    dying.connection.clone().close().await.unwrap();
    drop(dying);
    let info = gone.next().await.unwrap().args().unwrap().entity;
    assert_eq!((info.id, info.label.as_str()), (id, "client-13"));
    assert_eq!(watcher.table.routes().await.unwrap(), 0, "its routes are gone before the signal");
    let entity = EntityProxy::builder(&watcher.connection).path(path).build().await.unwrap();
    assert!(refusal(entity.delete_route(1).await).0.contains("UnknownObject"));
    let again = watcher.manager.register_entity(0, "ipv4", OSPF, 0, &details([])).await.unwrap();
    assert_ne!(again.1.id, id, "the key is free, the id is not used again");
}

#[tokio::test]
async fn no_call_of_a_dead_client_takes_effect_later() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    for round in 0..20 {
        let dying = Client::register(&bus, Family::Ipv4, OSPF).await;
        let flags = zbus::proxy::MethodFlags::NO_REPLY_EXPECTED;
        for n in 0..50 {
            let body = (format!("10.{round}.{n}.0/24"), route("127.0.0.2", []), 0u32);
            let sent = dying.entity.inner().call_with_flags::<_, _, ()>("AddRoute", flags, &body);
            sent.await.unwrap();
        }
        dying.connection.clone().close().await.unwrap();
        drop(dying);
        eventually("the dead client's registration goes", async || {
            watcher.manager.get_registered_entities(0, "ipv4").await.unwrap().len() == 1
        })
        .await;
        assert_eq!(watcher.table.routes().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn many_clients_that_die_at_once_are_all_cleaned_up_after() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut dying = Vec::new();
    for protocol in 100..300 {
        dying.push(Client::register(&bus, Family::Ipv4, protocol).await);
    }
    for client in &dying {
        client.connection.clone().close().await.unwrap();
    }
    eventually("the dead clients' registrations go", async || {
        watcher.manager.get_registered_entities(0, "ipv4").await.unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn registrations_are_broadcast_on_the_tables_path() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut came = watcher.table.receive_entity_registered().await.unwrap();
    let mut left = watcher.table.receive_entity_deregistered().await.unwrap();
    let _other_family = Client::register(&bus, Family::Ipv6, OSPF).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let info = came.next().await.unwrap().args().unwrap().entity;
    assert_eq!((info.id, info.family.as_str()), (other.id, "ipv4"), "the other family is not told");
    assert_eq!(info.bus_name, other.connection.unique_name().unwrap().as_str());
    other.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    other.entity.deregister(&details([])).await.unwrap();
    assert_eq!(watcher.table.routes().await.unwrap(), 0);
    assert_eq!(left.next().await.unwrap().args().unwrap().entity.id, other.id);
}

#[tokio::test]
async fn a_shared_registration_belongs_to_the_user_and_lives_until_deregistered() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let first = bus.connect().await;
    let manager = rtmd::client::manager(&first).await.unwrap();
    let shared = details([("shared", Variant::from(true))]);
    let (path, _) = manager.register_entity(0, "ipv4", STATIC, 0, &shared).await.unwrap();
    drop(manager);
    first.graceful_shutdown().await;
    let second = bus.connect().await;
    let entity = EntityProxy::builder(&second).path(path).build().await.unwrap();
    entity.add_route("10.0.0.0/8", &route("127.0.0.2", []), 0).await.unwrap();
    assert_eq!(entity.bus_name().await.unwrap(), "");
    entity.deregister(&details([])).await.unwrap();
}

#[tokio::test]
async fn enumerations_page_through_the_table_and_belong_to_their_maker() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\nenumerations-per-client = 2\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    for n in 0..25 {
        client.add(&format!("10.{n}.0.0/16"), "127.0.0.2").await.unwrap();
    }
    other.add("10.7.0.0/16", "127.0.0.3").await.unwrap();

    let path = client.table.create_destination_enumeration(1, 2, "10.0.0.0/12", 0).await.unwrap();
    let cursor = |path| DestinationEnumerationProxy::builder(&client.connection).path(path);
    let destinations = cursor(path.clone()).build().await.unwrap();
    let (page, done) = destinations.next(10).await.unwrap();
    assert_eq!((page.len(), done), (10, false));
    let stranger = DestinationEnumerationProxy::builder(&other.connection).path(path.clone());
    let stranger = stranger.build().await.unwrap();
    assert_eq!(refusal(stranger.next(1).await).0, "InvalidHandle");
    assert_eq!(refusal(stranger.close().await).0, "InvalidHandle");
    let (page, done) = destinations.next(10).await.unwrap();
    assert_eq!((page.len(), page[5].prefix.as_str(), done), (6, "10.15.0.0/16", true));
    assert_eq!(refusal(destinations.next(1001).await).0, "InvalidParameter");

    let criteria = details([("owner", Variant::from(other.id))]);
    let path = client.table.create_route_enumeration(0, 0, "", 1, &criteria).await.unwrap();
    let routes = RouteEnumerationProxy::builder(&client.connection).path(path);
    let routes = routes.build().await.unwrap();
    let mut found = Vec::new();
    loop {
        let (page, done) = routes.next(3).await.unwrap();
        found.extend(page.into_iter().map(|route| (route.destination, route.owner)));
        if done {
            break;
        }
    }
    assert_eq!(found, [("10.7.0.0/16".to_owned(), other.id)]);

    let third = client.table.create_route_enumeration(0, 0, "", 0, &details([])).await;
    assert_eq!(refusal(third).0, "NoSystemResources");
    destinations.close().await.unwrap();
    assert!(refusal(destinations.close().await).0.contains("UnknownObject"));
    let own = client.table.create_route_enumeration(0, 0x0001_0000, "", 0, &details([])).await;
    own.expect("closing one makes room for another");
    let refused = client.table.create_route_enumeration(0, 0, "", 1, &details([])).await;
    assert_eq!(refusal(refused).0, "InvalidParameter", "a criterion that is selected and missing");
    let refused = client.table.create_route_enumeration(8, 0, "", 0, &details([])).await;
    assert_eq!(refusal(refused).0, "NotSupported");
}

#[tokio::test]
async fn enumerations_go_with_their_maker_and_are_nobody_elses_news() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let maker = bus.connect().await;
    let manager = rtmd::client::manager(&maker).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    table.create_destination_enumeration(0, 0, "", 0).await.unwrap();
    let tree = |bus: &PrivateBus| {
        String::from_utf8(bus.busctl(&["tree", "--list", "org.rtmd1"]).stdout).unwrap()
    };
    assert!(tree(&bus).contains("/org/rtmd1/enumeration/1"));
    let objects =
        bus.call("/org/rtmd1", "org.freedesktop.DBus.ObjectManager.GetManagedObjects", "");
    let objects = objects.unwrap();
    assert!(objects.contains("/org/rtmd1/table/0/ipv4") && objects.contains("/org/rtmd1/entity/1"));
    assert!(!objects.contains("enumeration"), "{objects}");
    drop((manager, table));
    maker.graceful_shutdown().await;
    eventually("the enumeration goes with its maker", async || {
        !tree(&bus).contains("/org/rtmd1/enumeration/1")
    })
    .await;
    drop(client);
}

#[tokio::test]
async fn objects_that_come_and_go_are_announced_with_their_properties() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = bus.connect().await;
    let objects = zbus::fdo::ObjectManagerProxy::new(&watcher, "org.rtmd1", "/org/rtmd1");
    let objects = objects.await.unwrap();
    let mut added = objects.receive_interfaces_added().await.unwrap();
    let mut removed = objects.receive_interfaces_removed().await.unwrap();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let signal = added.next().await.unwrap();
    let args = signal.args().unwrap();
    assert_eq!(args.object_path.as_str(), client.entity.inner().path().as_str());
    let properties = args.interfaces_and_properties.values().next().unwrap();
    assert_eq!(u32::try_from(&properties["Protocol"]).unwrap(), OSPF);
    client.entity.deregister(&details([])).await.unwrap();
    let signal = removed.next().await.unwrap();
    assert_eq!(signal.args().unwrap().interfaces.as_ref(), ["org.rtmd1.Entity"]);
}

#[tokio::test]
async fn properties_tell_and_changes_are_signalled() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let connection = bus.connect().await;
    let manager = rtmd::client::manager(&connection).await.unwrap();
    assert_eq!(manager.version().await.unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(manager.instances().await.unwrap(), [0]);
    eventually("nothing has to go to the kernel", async || {
        manager.fib_state().await.unwrap() == "synced"
    })
    .await;
    assert_eq!(manager.limits().await.unwrap()["max-handles"], 1000);
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    assert_eq!((table.kernel_table().await.unwrap(), table.views().await.unwrap()), (0, 3));
    let changes = PropertiesProxy::new(&connection, "org.rtmd1", table.inner().path().to_owned());
    let mut changes = changes.await.unwrap().receive_properties_changed().await.unwrap();
    let _client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let change = changes.next().await.unwrap();
    let changed = change.args().unwrap().changed_properties;
    assert_eq!(u32::try_from(&changed["Entities"]).unwrap(), 1);
}

#[tokio::test]
async fn setting_a_property_is_refused_as_what_it_is() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let properties = PropertiesProxy::builder(&client.connection)
        .destination("org.rtmd1")
        .path(client.table.inner().path().to_owned())
        .build()
        .await
        .unwrap();
    let interface = InterfaceName::try_from("org.rtmd1.Table").unwrap();
    let set = async |name| {
        properties.set(interface.clone(), name, &Variant::from(5u32)).await.unwrap_err()
    };
    let Error::PropertyReadOnly(text) = set("Views").await else { panic!("as if it could be set") };
    assert!(text.contains("\"Views\" can only be read"), "{text}");
    let Error::UnknownProperty(text) = set("Colour").await else { panic!("as if it were there") };
    assert_eq!(text, "there is no property \"Colour\"");
}

#[tokio::test]
async fn both_families_answer_alike() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv6, STATIC).await;
    let (id, change) = client.add("2001:db8::/32", "::1").await.unwrap();
    assert_eq!(change, NEW | BEST);
    let found = client.table.get_most_specific_destination("2001:db8::7/128", 0, 1).await.unwrap();
    assert_eq!((found.prefix.as_str(), found.per_view[0].best), ("2001:db8::/32", id));
    let wrong = client.add("10.0.0.0/8", "::1").await;
    assert_eq!(refusal(wrong), ("InvalidParameter".into(), "prefix 10.0.0.0/8 is not ipv6".into()));
}

#[tokio::test]
async fn bad_routes_are_refused_by_name_and_change_nothing() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let good = || route("127.0.0.2", []);
    let many: Vec<(String, u32)> = (0..5000).map(|n| (format!("10.0.{}.1", n % 250), n)).collect();
    let cases = [
        ("nonsense", good(), 0, "InvalidParameter"),
        ("10.0.0.1/8", good(), 0, "InvalidParameter"),
        ("10.0.0.0/33", good(), 0, "InvalidParameter"),
        ("2001:db8::/32", good(), 0, "InvalidParameter"),
        ("10.0.0.0/8", good(), 3, "InvalidParameter"),
        ("10.0.0.0/8", route("127.0.0.2", [("colour", 1u32.into())]), 0, "InvalidParameter"),
        ("10.0.0.0/8", route("127.0.0.2", [("metric", "x".into())]), 0, "InvalidParameter"),
        ("10.0.0.0/8", route("127.0.0.2", [("views", 0u32.into())]), 0, "InvalidParameter"),
        ("10.0.0.0/8", route("127.0.0.2", [("views", 4u32.into())]), 0, "NotSupported"),
        ("10.0.0.0/8", route("127.0.0.2", [("flags", 65536u32.into())]), 0, "InvalidParameter"),
        ("10.0.0.0/8", route("127.0.0.2", [("ttl", 0u32.into())]), 0, "InvalidParameter"),
        ("10.0.0.0/8", route("127.0.0.2", [("neighbour", 9u64.into())]), 0, "InvalidHandle"),
        ("10.0.0.0/8", route("not an address", []), 0, "InvalidParameter"),
        ("10.0.0.0/8", details([("next-hops", vec![7u64].into())]), 0, "InvalidHandle"),
        ("10.0.0.0/8", details([("via", many.into())]), 0, "InvalidParameter"),
    ];
    for (prefix, route, how, name) in cases {
        let shown = format!("{prefix} {:.100}", format!("{route:?}"));
        let (refused, text) = refusal(client.entity.add_route(prefix, &route, how).await);
        assert_eq!(refused, name, "{shown}: {text}");
        assert!(text.len() < 300, "{shown}: {text}");
    }
    assert_eq!(client.table.routes().await.unwrap(), 0);
    assert_eq!(client.table.next_hops().await.unwrap(), 0);
    client.add("10.0.0.0/8", "127.0.0.2").await.expect("the service is unimpressed");
}

#[tokio::test]
async fn introspection_documents_every_member_and_stays_small() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let enumeration =
        client.table.create_route_enumeration(0, 0, "", 0, &details([])).await.unwrap();
    for path in
        ["/org/rtmd1", "/org/rtmd1/table/0/ipv4", "/org/rtmd1/entity/1", enumeration.as_str()]
    {
        let xml = bus.call(path, "org.freedesktop.DBus.Introspectable.Introspect", "").unwrap();
        let xml = xml.replace("\\n", "\n").replace("\\\"", "\"");
        assert!(xml.len() < 100_000);
        let mut ours = false;
        let mut before = "";
        for line in xml.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("<interface name=\"") {
                ours = name.starts_with("org.rtmd1");
            }
            let member = ["<method ", "<signal ", "<property "].iter().any(|m| line.starts_with(m));
            assert!(!(ours && member) || before.ends_with("-->"), "{path}: {line} has no comment");
            before = line;
        }
    }
}
