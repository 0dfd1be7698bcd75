//! Deleting (6.7).

use futures_util::StreamExt;
use rtmd::{client::DestinationEnumerationProxy, model::Family};

use crate::support::Client;
use crate::{
    ANY_CHANGE, ANY_VIEW, BEST, BEST_CHANGE, FORWARDING_CHANGE, OSPF, RIP, STATIC, UCAST, changed,
    error, hop, offer, routes, serve, watch,
};

const TO: &str = "10.0.0.0/8";

/// DEL-01, DEL-03
#[tokio::test]
async fn a_route_is_deleted_by_its_id_which_is_spent_then() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let neighbour = hop(&client, "127.0.0.9").await;
    let (id, _) = offer(&client, TO, []).await;
    let (other, _) = offer(&client, TO, [("neighbour", neighbour.into())]).await;
    client.entity.delete_route(id).await.unwrap();
    let left = client.table.get_routes(TO).await.unwrap();
    assert_eq!(left.iter().map(|route| route.id).collect::<Vec<_>>(), [other]);
    assert_eq!(error(client.table.get_route_info(id).await), "InvalidHandle");
    assert_eq!(error(client.entity.delete_route(id).await), "NotFound");
    let each = client.entity.delete_routes(&[id]).await.unwrap();
    assert_eq!(each[0].name, "org.rtmd1.Error.NotFound");
    let (again, _) = offer(&client, TO, []).await;
    assert_ne!(again, id, "an id is not used again");
    assert_eq!(error(client.entity.delete_route(id).await), "NotFound");
}

/// DEL-02
#[tokio::test]
async fn nobody_deletes_a_route_of_another() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (of_b, _) = offer(&b, TO, []).await;
    assert_eq!(error(a.entity.delete_route(of_b).await), "AccessDenied");
    let each = a.entity.delete_routes(&[of_b]).await.unwrap();
    assert_eq!(each[0].name, "org.rtmd1.Error.AccessDenied");
    let path = b.entity.inner().path().to_owned();
    let foreign = rtmd::client::EntityProxy::builder(&a.connection).path(path);
    let foreign = foreign.build().await.unwrap();
    assert_eq!(error(foreign.delete_route(of_b).await), "AccessDenied");
    assert_eq!(error(foreign.delete_routes(&[of_b]).await), "AccessDenied");
    assert_eq!(a.table.is_best_route(of_b).await.unwrap(), UCAST);
}

/// DEL-04
#[tokio::test]
async fn an_id_that_never_was_cannot_be_deleted() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    for unknown in [0, id + 1, u64::MAX] {
        assert_eq!(error(client.entity.delete_route(unknown).await), "InvalidHandle");
    }
    assert_eq!(client.table.routes().await.unwrap(), 1);
}

/// DEL-05
#[tokio::test]
async fn best_is_told_of_a_deletion_only_if_a_best_route_changed() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (of_a, _) = offer(&a, TO, []).await;
    let (of_b, _) = offer(&b, TO, []).await;
    assert_eq!(b.entity.delete_route(of_b).await.unwrap(), 0);
    let (of_b, _) = offer(&b, TO, []).await;
    assert_eq!(a.entity.delete_route(of_a).await.unwrap(), BEST);
    assert_eq!(b.entity.delete_route(of_b).await.unwrap(), BEST);
}

/// DEL-06
#[tokio::test]
async fn with_its_last_route_a_destination_is_gone_from_look_ups_and_enumerations() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    client.entity.delete_route(id).await.unwrap();
    let table = &client.table;
    for views in [UCAST, ANY_VIEW] {
        assert_eq!(error(table.get_exact_match_destination(TO, 0, views).await), "NotFound");
        let host = "10.1.2.3/32";
        assert_eq!(error(table.get_most_specific_destination(host, 0, views).await), "NotFound");
        assert_eq!(error(table.get_less_specific_destination(host, 0, views).await), "NotFound");
        assert_eq!(routes(&client, (views, 0, ""), 0, []).await, []);
        let path = table.create_destination_enumeration(views, 0, "", 0).await.unwrap();
        let cursor = DestinationEnumerationProxy::builder(&client.connection).path(path);
        assert_eq!(cursor.build().await.unwrap().next(10).await.unwrap(), (vec![], true));
    }
    assert_eq!(table.get_routes(TO).await.unwrap(), []);
    assert_eq!(table.destinations().await.unwrap(), 0);
}

/// DEL-07
#[tokio::test]
async fn the_end_of_a_destination_is_told_as_a_change_without_a_route() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    for flags in [ANY_CHANGE, BEST_CHANGE, FORWARDING_CHANGE] {
        let changes = watch(&client, UCAST, flags).await;
        offer(&client, TO, []).await;
        let id = client.table.get_routes(TO).await.unwrap()[0].id;
        client.entity.delete_route(id).await.unwrap();
        let ended = changed(&changes).await;
        assert_eq!(ended.len(), 1, "type {flags}");
        let record = &ended[0].per_view[0];
        assert_eq!((ended[0].prefix.as_str(), ended[0].views), (TO, 0));
        assert_eq!((record.best, record.routes, record.owner), (0, 0, 0));
    }
    assert_eq!(error(client.table.get_route_info(id).await), "InvalidHandle");
}

/// DEL-08
#[tokio::test]
async fn nobody_hears_of_the_time_of_a_deleted_route() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut expired = client.entity.receive_route_expired().await.unwrap();
    let ttl = |milliseconds: u32| [("ttl", milliseconds.into())];
    let (deleted, _) = offer(&client, TO, ttl(300)).await;
    client.entity.delete_route(deleted).await.unwrap();
    let (later, _) = offer(&client, "11.0.0.0/8", ttl(350)).await;
    let first = expired.next().await.unwrap().args().unwrap().route.id;
    assert_eq!(first, later);
}
