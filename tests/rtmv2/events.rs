//! Events (6.2).

use futures_util::StreamExt;
use rtmd::model::Family;

use crate::support::{Client, details};
use crate::{OSPF, RIP, STATIC, TWO_INSTANCES, serve, serve_with};

/// EVT-03
#[tokio::test]
async fn what_happens_in_other_tables_is_not_told() {
    let (bus, _service) = serve_with(TWO_INSTANCES);
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut came = watcher.table.receive_entity_registered().await.unwrap();
    let mut left = watcher.table.receive_entity_deregistered().await.unwrap();
    let connection = bus.connect().await;
    let others = [
        Client::register_in(&connection, 0, Family::Ipv6, OSPF).await,
        Client::register_in(&connection, 1, Family::Ipv4, OSPF).await,
        Client::register_in(&connection, 0, Family::Ipv4, OSPF).await,
    ];
    for other in &others {
        other.entity.deregister(&details([])).await.unwrap();
    }
    assert_eq!(came.next().await.unwrap().args().unwrap().entity.id, others[2].id);
    assert_eq!(left.next().await.unwrap().args().unwrap().entity.id, others[2].id);
}

/// EVT-04
#[tokio::test]
async fn who_listens_before_registering_also_hears_of_itself() {
    let (bus, _service) = serve();
    let connection = bus.connect().await;
    let manager = rtmd::client::manager(&connection).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let mut came = table.receive_entity_registered().await.unwrap();
    let client = Client::register_on(&connection, Family::Ipv4, OSPF).await;
    assert_eq!(came.next().await.unwrap().args().unwrap().entity.id, client.id);
    let other = Client::register(&bus, Family::Ipv4, RIP).await;
    let next = came.next().await.unwrap().args().unwrap().entity.id;
    assert_eq!(next, other.id, "it hears of itself once");
}

/// EVT-05
#[tokio::test]
async fn what_an_event_tells_can_be_read_when_the_entity_is_long_gone() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut came = watcher.table.receive_entity_registered().await.unwrap();
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let name = other.connection.unique_name().unwrap().to_string();
    other.entity.deregister(&details([])).await.unwrap();
    assert_eq!(watcher.manager.get_registered_entities(0, "ipv4").await.unwrap().len(), 1);
    let told = came.next().await.unwrap().args().unwrap().entity;
    assert_eq!((told.id, told.protocol, told.protocol_instance), (other.id, OSPF, 0));
    assert_eq!((told.label.as_str(), told.state.as_str()), ("client-13", "active"));
    assert_eq!(told.bus_name, name);
}
