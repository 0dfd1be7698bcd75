//! Registration and entities (6.1).

use rtmd::{
    client::{EntityProxy, RouteListProxy},
    model::{Family, Protocol},
};

use crate::support::{Client, NO_FIB, details, eventually, refusal, route};
use crate::{
    ANY_CHANGE, GATEWAY, OSPF, RIP, STATIC, THREE_VIEWS, TWO_INSTANCES, UCAST, error, find,
    is_unknown_object, offer, register_beside, serve, serve_with,
};

/// What routes of the kernel's own protocol are shown as.
const LOCAL: u32 = 2;

/// REG-02
#[tokio::test]
async fn a_second_registration_of_the_same_four_values_is_refused_and_the_first_goes_on() {
    let (bus, _service) = serve();
    let first = Client::register(&bus, Family::Ipv4, OSPF).await;
    offer(&first, "10.0.0.0/8", []).await;
    let stranger = bus.connect().await;
    for connection in [&first.connection, &stranger] {
        let manager = rtmd::client::manager(connection).await.unwrap();
        let again = manager.register_entity(0, "ipv4", OSPF, 0, &details([])).await;
        let (name, text) = refusal(again);
        assert_eq!(name, "AlreadyExists");
        assert!(text.contains(&format!("entity {}", first.id)), "{text}");
    }
    assert_eq!(first.manager.get_registered_entities(0, "ipv4").await.unwrap().len(), 1);
    assert_eq!(first.entity.routes().await.unwrap(), 1);
    offer(&first, "11.0.0.0/8", []).await;
}

/// REG-03
#[tokio::test]
async fn two_instances_of_a_protocol_keep_their_routes_apart() {
    let (bus, _service) = serve();
    let zero = Client::register(&bus, Family::Ipv4, OSPF).await;
    let one = register_beside(&bus, OSPF, 1).await;
    assert_ne!(zero.id, one.id);
    let (of_zero, _) = offer(&zero, "10.0.0.0/8", []).await;
    let (of_one, _) = offer(&one, "10.0.0.0/8", []).await;
    assert_ne!(of_zero, of_one);
    assert_eq!(error(one.entity.delete_route(of_zero).await), "AccessDenied");
    one.entity.deregister(&details([])).await.unwrap();
    let left = zero.table.get_routes("10.0.0.0/8").await.unwrap();
    assert_eq!(left.iter().map(|route| route.id).collect::<Vec<_>>(), [of_zero]);
}

/// REG-04
#[tokio::test]
async fn an_entity_registers_in_both_families_independently() {
    let (bus, _service) = serve();
    let v4 = Client::register(&bus, Family::Ipv4, OSPF).await;
    let v6 = Client::register_on(&v4.connection, Family::Ipv6, OSPF).await;
    assert_ne!(v4.id, v6.id);
    offer(&v4, "10.0.0.0/8", []).await;
    v6.add("2001:db8::/32", "::1").await.unwrap();
    assert_eq!((v4.table.routes().await.unwrap(), v6.table.routes().await.unwrap()), (1, 1));
    v4.entity.deregister(&details([])).await.unwrap();
    v6.add("2001:db8:1::/48", "::1").await.expect("the other family's registration goes on");
    assert_eq!((v4.table.routes().await.unwrap(), v6.table.routes().await.unwrap()), (0, 2));
}

/// REG-05
#[tokio::test]
async fn tables_of_two_instances_share_nothing() {
    let (bus, _service) = serve_with(TWO_INSTANCES);
    let zero = Client::register(&bus, Family::Ipv4, OSPF).await;
    let one = Client::register_in(&bus.connect().await, 1, Family::Ipv4, OSPF).await;
    let (in_zero, _) = offer(&zero, "10.0.0.0/8", []).await;
    assert_eq!((zero.table.routes().await.unwrap(), one.table.routes().await.unwrap()), (1, 0));
    assert_eq!(one.table.get_routes("10.0.0.0/8").await.unwrap(), []);
    assert_eq!(error(one.table.get_route_info(in_zero).await), "InvalidHandle");
    assert_eq!(error(one.entity.find_next_hop(GATEWAY, 0).await), "NotFound");
    zero.entity.deregister(&details([])).await.unwrap();
    let (_, change) = offer(&one, "10.0.0.0/8", []).await;
    assert_eq!(change, crate::NEW | crate::BEST);
}

/// REG-07
#[tokio::test]
async fn an_instance_or_a_family_that_is_not_configured_is_not_found() {
    let (bus, _service) = serve_with("[[instance]]\nid = 4\nfib = false\nfamilies = [\"ipv6\"]\n");
    let connection = bus.connect().await;
    let manager = rtmd::client::manager(&connection).await.unwrap();
    for (instance, family) in [(0, "ipv6"), (4, "ipv4"), (65_540, "ipv6")] {
        let refused = manager.register_entity(instance, family, OSPF, 0, &details([])).await;
        assert_eq!(error(refused), "FileNotFound", "{instance} {family}");
        assert_eq!(error(manager.get_table(instance, family).await), "FileNotFound");
        let entities = manager.get_registered_entities(instance, family).await;
        assert_eq!(error(entities), "FileNotFound");
    }
    manager.register_entity(4, "ipv6", OSPF, 0, &details([])).await.unwrap();
}

/// REG-10, REG-11, ADM-06
#[tokio::test]
async fn the_profile_tells_the_limits_and_views_that_are_configured() {
    let limits = "[limits]\nmax-next-hops = 7\nmax-handles = 99\n";
    let views = ["[[instance]]\nid = 0\nfib = false\n", THREE_VIEWS];
    for (instance, mask, count) in [(views[0], 0x3, 2), (views[1], 0x23, 3)] {
        let (bus, _service) = serve_with(&format!("{instance}{limits}"));
        let connection = bus.connect().await;
        let manager = rtmd::client::manager(&connection).await.unwrap();
        let registered = manager.register_entity(0, "ipv4", RIP, 0, &details([])).await;
        let (_, profile) = registered.unwrap();
        assert_eq!((profile.max_next_hops, profile.max_handles), (7, 99));
        assert_eq!((profile.views, profile.number_of_views), (mask, count));
        assert_eq!(profile.views.count_ones(), profile.number_of_views);
    }
}

/// ADM-06
#[tokio::test]
async fn each_family_can_have_views_of_its_own() {
    let instance = "[[instance]]\nid = 0\nfib = false\nipv6-views = [0, 5]\n";
    let (bus, _service) = serve_with(instance);
    for (family, mask, count) in [(Family::Ipv4, 0x3, 2), (Family::Ipv6, 0x21, 2)] {
        let connection = bus.connect().await;
        let manager = rtmd::client::manager(&connection).await.unwrap();
        let table = rtmd::client::table(&manager, 0, family).await.unwrap();
        let registered = manager.register_entity(0, family.name(), RIP, 0, &details([])).await;
        let (path, profile) = registered.unwrap();
        assert_eq!((profile.views, profile.number_of_views), (mask, count), "{family}");
        assert_eq!(table.views().await.unwrap(), mask);
        let entity = EntityProxy::builder(&connection).path(path).build().await.unwrap();
        let to = if family == Family::Ipv4 { "10.0.0.0/8" } else { "2001:db8::/32" };
        for view in [0u32, 1, 5] {
            let route = details([("views", (1u32 << view).into())]);
            let offered = entity.add_route(to, &route, 0).await;
            match mask >> view & 1 {
                0 => assert_eq!(error(offered), "NotSupported", "{family} has no view {view}"),
                _ => drop(offered.unwrap()),
            }
        }
    }
}

/// REG-13
#[tokio::test]
async fn after_deregistration_every_call_fails_and_the_key_is_free() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (id, _) = offer(&client, "10.0.0.0/8", []).await;
    client.entity.deregister(&details([])).await.unwrap();
    assert!(is_unknown_object(client.add("10.0.0.0/8", GATEWAY).await));
    assert!(is_unknown_object(client.entity.delete_route(id).await));
    assert!(is_unknown_object(client.entity.add_next_hop(GATEWAY, 0, &details([])).await));
    assert!(is_unknown_object(client.entity.find_next_hop(GATEWAY, 0).await));
    assert!(is_unknown_object(client.entity.deregister(&details([])).await));
    assert!(is_unknown_object(client.entity.protocol().await));
    let again = Client::register_on(&client.connection, Family::Ipv4, OSPF).await;
    assert_ne!(again.id, client.id);
    assert!(is_unknown_object(client.add("10.0.0.0/8", GATEWAY).await), "it is another object");
    offer(&again, "10.0.0.0/8", []).await;
}

/// REG-14, V1-15
#[tokio::test]
async fn what_a_deregistered_entity_left_is_removed() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let leaving = Client::register(&bus, Family::Ipv4, OSPF).await;
    let mut routes = Vec::new();
    for n in 0..700 {
        routes.push(offer(&leaving, &format!("10.{}.{}.0/24", n / 256, n % 256), []).await.0);
    }
    let next_hop = leaving.entity.find_next_hop(GATEWAY, 0).await.unwrap().id;
    leaving.entity.deregister(&details([])).await.unwrap();
    let table = &watcher.table;
    assert_eq!((table.routes().await.unwrap(), table.destinations().await.unwrap()), (0, 0));
    assert_eq!(table.next_hops().await.unwrap(), 0);
    assert_eq!(error(table.get_route_info(routes[0]).await), "InvalidHandle");
    assert_eq!(error(table.get_next_hop_info(next_hop).await), "InvalidHandle");
}

/// REG-14
#[tokio::test]
async fn lists_cells_and_registrations_for_changes_go_too_and_marked_destinations_hold() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let connection = bus.connect().await;
    let manager = rtmd::client::manager(&connection).await.unwrap();
    let register = async || {
        let options = details([("reserve-opaque", true.into())]);
        let registered = manager.register_entity(0, "ipv4", OSPF, 0, &options).await.unwrap();
        EntityProxy::builder(&connection).path(registered.0).build().await.unwrap()
    };
    let leaving = register().await;
    let (stays, _) = offer(&watcher, "11.0.0.0/8", []).await;
    let (held, _) = leaving.add_route("10.0.0.0/8", &route(GATEWAY, []), 0).await.unwrap();
    leaving.set_opaque("11.0.0.0/8", b"mine").await.unwrap();
    watcher.entity.hold_destination("10.0.0.0/8", UCAST, 60_000).await.unwrap();
    let list = leaving.create_route_list().await.unwrap();
    let list = RouteListProxy::builder(&connection).path(list).build().await.unwrap();
    list.insert(&[held]).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let changes = table.register_for_change_notification(UCAST, ANY_CHANGE, 0).await.unwrap();
    let tree = || String::from_utf8(bus.busctl(&["tree", "--list", "org.rtmd1"]).stdout).unwrap();
    assert!(tree().contains(changes.as_str()));

    leaving.deregister(&details([])).await.unwrap();
    assert!(is_unknown_object(list.insert(&[]).await));
    let there = find(&watcher, "10.0.0.0/8", 0).await;
    assert_eq!((there.prefix.as_str(), there.views), ("10.0.0.0/8", 0));
    let there = watcher.table.get_routes("11.0.0.0/8").await.unwrap();
    assert_eq!(there.iter().map(|route| route.id).collect::<Vec<_>>(), [stays]);
    let again = register().await;
    assert_eq!(again.get_opaque("11.0.0.0/8").await.unwrap(), b"", "its cell is another one");
    drop((again, table, list));
    connection.close().await.unwrap();
    eventually("registrations for changes go with their connection", async || {
        !tree().contains(changes.as_str())
    })
    .await;
}

/// REG-16, REG-17
#[tokio::test]
async fn all_entities_of_a_table_are_listed_the_caller_too_and_none_of_others() {
    let (bus, _service) = serve_with(TWO_INSTANCES);
    let caller = Client::register(&bus, Family::Ipv4, OSPF).await;
    let beside = register_beside(&bus, OSPF, 7).await;
    let other = Client::register(&bus, Family::Ipv4, RIP).await;
    let v6 = Client::register(&bus, Family::Ipv6, OSPF).await;
    let _elsewhere = Client::register_in(&bus.connect().await, 1, Family::Ipv4, OSPF).await;
    let route = details([("via", vec![("192.0.2.1".to_owned(), 0u32)].into())]);
    caller.manager.add_static_route(0, "10.0.0.0/8", &route, false).await.unwrap();
    let listed = caller.manager.get_registered_entities(0, "ipv4").await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|e| (e.id, e.instance, e.protocol, e.protocol_instance, e.state.as_str()))
        .collect();
    let expected = [
        (caller.id, 0, OSPF, 0, "active"),
        (beside.id, 0, OSPF, 7, "active"),
        (other.id, 0, RIP, 0, "active"),
        (listed[3].id, 0, STATIC, u32::MAX, "builtin"),
    ];
    assert_eq!(shown, expected);
    assert!(listed.iter().all(|entity| entity.family == "ipv4"));
    assert_eq!((listed[2].bus_name.is_empty(), listed[3].bus_name.as_str()), (false, ""));
    for (protocol, reserved) in [(STATIC, u32::MAX), (LOCAL, 0xFFFF_FE00 + 2)] {
        let none = details([]);
        let (name, text) =
            refusal(caller.manager.register_entity(0, "ipv4", protocol, reserved, &none).await);
        assert_eq!(name, "AlreadyExists");
        assert!(text.contains(" is the service's own, for "), "{text}");
    }
    let listed = caller.manager.get_registered_entities(0, "ipv6").await.unwrap();
    assert_eq!(listed.iter().map(|entity| entity.id).collect::<Vec<_>>(), [v6.id]);
}

/// REG-18
#[tokio::test]
async fn an_entitys_object_tells_who_it_is_and_one_that_is_not_there_nothing() {
    let (bus, _service) = serve_with(TWO_INSTANCES);
    let entity = Client::register_in(&bus.connect().await, 1, Family::Ipv6, RIP).await;
    let reader = bus.connect().await;
    let object = async |id: u64| {
        let path = zbus::wire::ObjectPath::from_string_unchecked(format!("/org/rtmd1/entity/{id}"));
        EntityProxy::builder(&reader).path(path).build().await.unwrap()
    };
    let seen = object(entity.id).await;
    assert_eq!(seen.id().await.unwrap(), entity.id);
    assert_eq!(seen.instance().await.unwrap(), 1);
    assert_eq!(seen.family().await.unwrap(), "ipv6");
    assert_eq!(seen.protocol().await.unwrap(), RIP);
    assert_eq!(seen.protocol_instance().await.unwrap(), 0);
    let unknown = object(entity.id + 1).await;
    assert!(is_unknown_object(unknown.id().await));
}

/// REG-21
#[tokio::test]
async fn a_protocols_type_and_vendor_are_part_of_who_it_is() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let parts = [(0, 311, 13), (1, 0, 13), (2, 0x2001, 13), (3, 0xFFFF, 0xFFFF)];
    let composed = parts.map(|(kind, vendor, number)| Protocol::compose(kind, vendor, number));
    let unpacked = composed.map(Protocol::parts);
    assert_eq!(unpacked[..3], parts[..3]);
    assert_eq!(unpacked[3], (3, 0x3FFF, 0xFFFF), "a vendor has 14 bits");
    let composed = composed.map(|protocol| protocol.0);
    assert_eq!(composed, [0x0137_000D, 0x4000_000D, 0xA001_000D, 0xFFFF_FFFF]);
    for protocol in composed {
        Client::register_on(&client.connection, Family::Ipv4, protocol).await;
    }
    let listed = client.manager.get_registered_entities(0, "ipv4").await.unwrap();
    let protocols: Vec<u32> = listed.iter().map(|entity| entity.protocol).collect();
    assert_eq!(protocols, [&[OSPF][..], &composed].concat());
}

/// REG-22
#[tokio::test]
async fn beyond_the_limits_on_entities_there_are_no_resources() {
    let limits = "[limits]\nentities = 3\nentities-per-client = 2\n";
    let (bus, _service) = serve_with(&format!("{NO_FIB}{limits}"));
    let greedy = register_beside(&bus, OSPF, 0).await;
    let register = async |client: &Client, protocol_instance| {
        let none = details([]);
        client.manager.register_entity(0, "ipv4", OSPF, protocol_instance, &none).await
    };
    register(&greedy, 1).await.unwrap();
    let (name, text) = refusal(register(&greedy, 2).await);
    assert_eq!(name, "NoSystemResources", "{text}");
    let other = register_beside(&bus, OSPF, 3).await;
    assert_eq!(error(register(&other, 4).await), "NoSystemResources");
    other.entity.deregister(&details([])).await.unwrap();
    register(&other, 4).await.expect("one that left makes room");
}
