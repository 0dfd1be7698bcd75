//! Opaque information and handles (6.16).

use std::collections::BTreeSet;

use rtmd::model::Family;

use crate::support::{Client, details, route};
use crate::{GATEWAY, OSPF, STATIC, TWO_INSTANCES, error, hop, offer, refused, serve, serve_with};

const TO: &str = "10.0.0.0/8";

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
