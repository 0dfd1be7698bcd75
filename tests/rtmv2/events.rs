//! Events (6.2).

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use rtmd::{
    bus::wire::RouteInfo,
    client::{EntityProxy, TableProxy},
    model::Family,
};
use tokio::sync::Mutex;
use zbus::{Connection, MatchRule, MessageStream, interface, message::Type, wire::ObjectPath};

use crate::support::{Client, details, eventually};
use crate::{
    ANY_CHANGE, OSPF, RIP, STATIC, TWO_INSTANCES, UCAST, offer, serve, serve_with, told, watch,
    watch_as,
};

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
async fn who_registers_hears_of_itself_only_if_it_listens() {
    let (bus, _service) = serve();
    let deaf = bus.connect().await;
    let mut all = MessageStream::from(&deaf);
    let registered = Client::register_on(&deaf, Family::Ipv4, STATIC).await;
    registered.entity.deregister(&details([])).await.unwrap();
    // What it was sent came before the last answer.
    while let Some(message) = all.next().now_or_never() {
        let message = message.unwrap().unwrap();
        assert!(!message.to_string().contains("Entity"), "{message}");
    }

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

/// EVT-06, EVT-07, EVT-09
#[tokio::test]
async fn expiry_and_changes_are_told_to_those_they_concern_and_seen_by_nobody_else() {
    let (bus, _service) = serve();
    let owner = Client::register(&bus, Family::Ipv4, OSPF).await;
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    let listener = bus.connect().await;
    let everything = MatchRule::builder().msg_type(Type::Signal).build();
    let everything = everything.unwrap();
    let mut heard = MessageStream::for_match_rule(everything, &listener, None).await.unwrap();
    let mut expired = owner.entity.receive_route_expired().await.unwrap();
    let registration = watch_as(&watcher, UCAST, ANY_CHANGE, 0xFFFF_0000_0001).await;
    let mut wake_ups = registration.receive_change_notification().await.unwrap();

    let (id, _) =
        offer(&owner, "10.0.0.0/8", [("ttl", 50u32.into()), ("metric", 7u32.into())]).await;
    let wake_up = wake_ups.next().await.unwrap();
    assert_eq!(wake_up.args().unwrap().context, 0xFFFF_0000_0001);
    assert_eq!(wake_up.message().body().signature(), "t", "the context and nothing else");
    let told_of = expired.next().await.unwrap().args().unwrap().route;
    assert_eq!((told_of.id, told_of.destination.as_str()), (id, "10.0.0.0/8"));
    assert_eq!((told_of.owner, told_of.metric, told_of.views), (owner.id, 7, UCAST));
    eventually("it expires", async || owner.table.routes().await.unwrap() == 0).await;
    assert_eq!(told(&registration).await, ["10.0.0.0/8"]);

    // It has heard of everything before once it has heard of this.
    let last = Client::register(&bus, Family::Ipv4, RIP).await;
    loop {
        let message = heard.next().await.unwrap().unwrap();
        let header = message.header();
        let member = header.member().map(ToString::to_string).unwrap_or_default();
        assert!(member != "ChangeNotification" && member != "RouteExpired", "{message:?}");
        if member == "EntityRegistered" {
            let entity: rtmd::bus::wire::EntityInfo = message.body().deserialize().unwrap();
            assert_eq!(entity.id, last.id);
            break;
        }
    }
}

/// What a client does when it is asked about an expired route: whatever it likes.
struct Callback {
    own: Arc<Mutex<Option<(EntityProxy<'static>, TableProxy<'static>)>>>,
}

#[interface(name = "org.rtmd1.Callback")]
impl Callback {
    async fn route_expired(
        &self,
        route: RouteInfo,
        #[zbus(connection)] connection: &Connection,
    ) -> bool {
        let own = self.own.lock().await;
        let (entity, table) = own.as_ref().unwrap();
        assert_eq!(table.get_route_info(route.id).await.unwrap().id, route.id);
        entity.update_route(route.id, &details([("metric", 16u32.into())])).await.unwrap();
        let (id, _) = entity.add_next_hop("127.0.0.9", 0, &details([])).await.unwrap();
        entity.delete_next_hop(id).await.unwrap();
        let manager = rtmd::client::manager(connection).await.unwrap();
        let registered = manager.register_entity(0, "ipv6", RIP, 0, &details([])).await;
        let other = EntityProxy::builder(connection).path(registered.unwrap().0);
        other.build().await.unwrap().deregister(&details([])).await.unwrap();
        false
    }
}

/// EVT-08
#[tokio::test]
async fn whoever_handles_an_event_may_call_anything() {
    let (bus, _service) = serve();
    let connection = bus.connect().await;
    let own = Arc::new(Mutex::new(None));
    let callback = Callback { own: Arc::clone(&own) };
    assert!(connection.object_server().at("/here", callback).await.unwrap().is_none());
    let manager = rtmd::client::manager(&connection).await.unwrap();
    let path = ObjectPath::try_from("/here").unwrap();
    let options = details([("callback", path.into())]);
    let (path, _) = manager.register_entity(0, "ipv4", OSPF, 0, &options).await.unwrap();
    let entity = EntityProxy::builder(&connection).path(path).build().await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    *own.lock().await = Some((entity.clone(), table.clone()));
    let short = crate::support::route(crate::GATEWAY, [("ttl", 50u32.into())]);
    let (id, _) = entity.add_route("10.0.0.0/8", &short, 0).await.unwrap();
    let handled = async || table.get_route_info(id).await.unwrap().metric == 16;
    eventually("it is asked, and updates the route", handled).await;

    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let registration = watch(&client, UCAST, ANY_CHANGE).await;
    let mut wake_ups = registration.receive_change_notification().await.unwrap();
    let mut came = client.table.receive_entity_registered().await.unwrap();
    offer(&client, "10.1.0.0/16", []).await;
    let events = async {
        wake_ups.next().await.unwrap();
        assert_eq!(told(&registration).await, ["10.1.0.0/16"]);
        offer(&client, "10.2.0.0/16", []).await;
        wake_ups.next().await.unwrap();
        registration.deregister().await.unwrap();
        let other = Client::register(&bus, Family::Ipv4, RIP).await;
        assert_eq!(came.next().await.unwrap().args().unwrap().entity.id, other.id);
        client.entity.deregister(&details([])).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), events).await.expect("nobody waits for nobody");
}
