//! Opaque information and handles (6.16).

use std::collections::BTreeSet;

use rtmd::{client::EntityProxy, model::Family};

use crate::support::{Client, NO_FIB, PrivateBus, details, eventually, route};
use crate::{
    GATEWAY, OSPF, RIP, STATIC, TWO_INSTANCES, UCAST, error, hop, offer, refused, register_as,
    serve, serve_with,
};

const TO: &str = "10.0.0.0/8";

/// Registers with a cell in every destination.
async fn register_with_cells(bus: &PrivateBus, protocol: u32) -> Client {
    register_as(&bus.connect().await, protocol, 0, [("reserve-opaque", true.into())]).await
}

/// OPQ-01
#[tokio::test]
async fn cells_are_granted_to_so_many_entities_of_a_table() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nopaque-entities = 2\n"));
    let first = register_with_cells(&bus, OSPF).await;
    register_with_cells(&bus, RIP).await;
    let beyond = async |family| {
        let options = details([("reserve-opaque", true.into())]);
        first.manager.register_entity(0, family, STATIC, 0, &options).await
    };
    assert_eq!(error(beyond("ipv4").await), "NoSystemResources");
    beyond("ipv6").await.expect("another table has its own");
    first.entity.deregister(&details([])).await.unwrap();
    beyond("ipv4").await.expect("one that left makes room");
}

/// OPQ-02, OPQ-04, OPQ-05
#[tokio::test]
async fn each_entity_has_a_cell_of_its_own_in_each_destination_even_without_a_route() {
    let (bus, _service) = serve();
    let owner = register_with_cells(&bus, OSPF).await;
    let other = register_with_cells(&bus, RIP).await;
    let routes = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&routes, TO, []).await;
    offer(&routes, "11.0.0.0/8", []).await;
    assert_eq!(owner.entity.routes().await.unwrap(), 0);
    assert_eq!(owner.entity.get_opaque(TO).await.unwrap(), b"", "empty at first");
    owner.entity.set_opaque(TO, b"mine").await.unwrap();
    assert_eq!(owner.entity.get_opaque(TO).await.unwrap(), b"mine");
    assert_eq!(owner.entity.get_opaque("11.0.0.0/8").await.unwrap(), b"");
    assert_eq!(other.entity.get_opaque(TO).await.unwrap(), b"");
    other.entity.set_opaque(TO, b"other").await.unwrap();
    assert_eq!(owner.entity.get_opaque(TO).await.unwrap(), b"mine");
    let path = owner.entity.inner().path().to_owned();
    let foreign = EntityProxy::builder(&other.connection).path(path).build().await.unwrap();
    assert_eq!(error(foreign.get_opaque(TO).await), "AccessDenied");
    assert_eq!(error(foreign.set_opaque(TO, b"").await), "AccessDenied");
    owner.entity.set_opaque(TO, b"").await.unwrap();
    assert_eq!(owner.entity.get_opaque(TO).await.unwrap(), b"");
    assert_eq!(error(owner.entity.get_opaque("10.0.0.0/9").await), "InvalidHandle");
}

/// OPQ-03
#[tokio::test]
async fn who_reserved_no_cells_has_none() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&client, TO, []).await;
    assert_eq!(error(client.entity.get_opaque(TO).await), "NotFound");
    assert_eq!(error(client.entity.set_opaque(TO, b"x").await), "NotFound");
}

/// OPQ-06
#[tokio::test]
async fn a_cell_goes_with_its_destination_and_with_its_entity() {
    let (bus, _service) = serve();
    let owner = register_with_cells(&bus, OSPF).await;
    let routes = Client::register(&bus, Family::Ipv4, STATIC).await;
    let cell = async |by: &Client| by.entity.get_opaque(TO).await;
    let (id, _) = offer(&routes, TO, []).await;
    owner.entity.set_opaque(TO, b"mine").await.unwrap();
    routes.entity.hold_destination(TO, UCAST, 30).await.unwrap();
    routes.entity.delete_route(id).await.unwrap();
    eventually("the hold ends", async || cell(&owner).await.is_err()).await;
    assert_eq!(error(cell(&owner).await), "InvalidHandle");
    offer(&routes, TO, []).await;
    assert_eq!(cell(&owner).await.unwrap(), b"", "a new destination, a new cell");
    let (last, _) = offer(&routes, "11.0.0.0/8", []).await;
    owner.entity.set_opaque("11.0.0.0/8", b"held").await.unwrap();
    routes.entity.hold_destination("11.0.0.0/8", UCAST, 600_000).await.unwrap();
    routes.entity.delete_route(last).await.unwrap();
    assert_eq!(owner.entity.get_opaque("11.0.0.0/8").await.unwrap(), b"held");

    owner.entity.set_opaque(TO, b"mine").await.unwrap();
    owner.entity.deregister(&details([])).await.unwrap();
    let again = register_with_cells(&bus, OSPF).await;
    assert_eq!(cell(&again).await.unwrap(), b"");
}

/// HND-01, HND-02
#[tokio::test]
async fn ids_are_never_used_again_and_a_dead_one_never_means_something_else() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (mut routes, mut hops, mut entities) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..50 {
        let other = Client::register_on(&client.connection, Family::Ipv4, OSPF).await;
        assert!(entities.insert(other.id), "entity {} again", other.id);
        let next_hop = hop(&other, GATEWAY).await;
        assert!(hops.insert(next_hop), "next hop {next_hop} again");
        let (route, _) = offer(&other, TO, []).await;
        assert!(routes.insert(route), "route {route} again");
        match routes.len() % 2 {
            0 => other.entity.deregister(&details([])).await.unwrap(),
            _ => {
                other.entity.delete_route(route).await.unwrap();
                other.entity.delete_next_hop(next_hop).await.unwrap();
                other.entity.deregister(&details([])).await.unwrap();
            }
        }
    }
    // The same places are taken anew, by what the dead ids must not reach.
    let own = hop(&client, GATEWAY).await;
    let (live, _) = offer(&client, TO, []).await;
    let before = client.table.get_route_info(live).await.unwrap();
    for (dead, hop) in routes.into_iter().zip(hops) {
        assert_eq!(error(client.table.get_route_info(dead).await), "InvalidHandle");
        assert_eq!(error(client.table.is_best_route(dead).await), "InvalidHandle");
        assert_eq!(error(client.entity.delete_route(dead).await), "NotFound");
        assert_eq!(error(client.table.get_next_hop_info(hop).await), "InvalidHandle");
        assert_eq!(error(client.entity.delete_next_hop(hop).await), "NotFound");
        let with_dead = details([("next-hops", vec![own, hop].into())]);
        assert_eq!(refused(&client, TO, with_dead).await, "InvalidHandle");
        let from_dead = route(GATEWAY, [("neighbour", hop.into())]);
        assert_eq!(refused(&client, TO, from_dead).await, "InvalidHandle");
    }
    assert_eq!(client.table.get_route_info(live).await.unwrap(), before);
}

/// HND-03
#[tokio::test]
async fn ids_of_another_table_are_no_handles() {
    let (bus, _service) = serve_with(TWO_INSTANCES);
    let here = Client::register(&bus, Family::Ipv4, STATIC).await;
    let v6 = Client::register_on(&here.connection, Family::Ipv6, STATIC).await;
    let elsewhere = Client::register_in(&here.connection, 1, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&here, TO, []).await;
    let next_hop = here.entity.find_next_hop(GATEWAY, 0).await.unwrap().id;
    for other in [&v6, &elsewhere] {
        assert_eq!(error(other.table.get_route_info(id).await), "InvalidHandle");
        assert_eq!(error(other.table.is_best_route(id).await), "InvalidHandle");
        assert_eq!(error(other.table.get_next_hop_info(next_hop).await), "InvalidHandle");
        assert_eq!(error(other.entity.delete_route(id).await), "InvalidHandle");
        assert_eq!(error(other.entity.delete_next_hop(next_hop).await), "InvalidHandle");
    }
    let with_foreign = details([("next-hops", vec![next_hop].into())]);
    assert_eq!(refused(&elsewhere, TO, with_foreign).await, "InvalidHandle");
    let from_foreign = route(GATEWAY, [("neighbour", next_hop.into())]);
    assert_eq!(refused(&elsewhere, TO, from_foreign).await, "InvalidHandle");
    assert_eq!(here.table.routes().await.unwrap(), 1);
}
