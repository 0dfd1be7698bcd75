//! Wake-ups of clients that are told more than they answer (6.13).

use std::time::Duration;

use futures_util::StreamExt;
use rtmd::{client::NotificationProxy, model::Family};
use zbus::{Message, message::Flags};

use crate::support::{Client, details};
use crate::{ANY_CHANGE, ONLY_MARKED, OSPF, STATIC, UCAST, offer, serve, watch};

const TO: &str = "10.0.0.0/8";
/// Signals of a kind that are sent to a client which is not heard from.
const UNHEARD: u32 = 1024;

/// CHG-18
#[tokio::test]
async fn who_was_told_of_more_expired_routes_than_is_kept_for_it_is_woken_all_the_same() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let watcher = Client::register(&bus, Family::Ipv4, OSPF).await;
    let registration = watch(&watcher, UCAST, ANY_CHANGE | ONLY_MARKED).await;
    registration.mark_destination(TO, true).await.unwrap();
    let mut wake_ups = registration.receive_change_notification().await.unwrap();
    let expired = watcher.entity.receive_route_expired().await.unwrap();
    let prefixes: Vec<String> =
        (0..2 * UNHEARD).map(|n| format!("172.16.{}.{}/32", n / 256, n % 256)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let brief = details([("ttl", 100u32.into())]);
    watcher.entity.add_prefixes(&prefixes, &brief, 0).await.unwrap();
    // It listens, and says nothing.
    let told = expired.take(1024).count();
    let told = tokio::time::timeout(Duration::from_secs(20), told).await.expect("they expire");
    assert_eq!(told, 1024);
    offer(&client, TO, []).await;
    let next = tokio::time::timeout(Duration::from_secs(10), wake_ups.next()).await;
    next.expect("it is woken").unwrap();
}

/// CHG-18
#[tokio::test]
async fn who_was_kept_from_being_woken_is_woken_when_it_is_heard_from() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let watcher = Client::register(&bus, Family::Ipv4, OSPF).await;
    let registration = watch(&watcher, UCAST, ANY_CHANGE).await;
    let wake_ups = registration.receive_change_notification().await.unwrap();
    let (reached, mut all) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(wake_ups.for_each(move |_| {
        let _ = reached.send(());
        std::future::ready(())
    }));
    for metric in 0..UNHEARD + 10 {
        offer(&client, TO, [("metric", metric.into())]).await;
        fetch_without_an_answer(&registration).await;
        // The calls of one client take effect in the order sent, and this one is answered.
        watcher.table.get_routes(TO).await.unwrap();
    }
    offer(&client, TO, []).await;
    for _ in 0..UNHEARD {
        all.recv().await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    all.try_recv().expect_err("no more than are kept for it");
    assert!(registration.get_change_status(TO).await.unwrap(), "it is heard from");
    let next = tokio::time::timeout(Duration::from_secs(10), all.recv()).await;
    next.expect("it is woken").unwrap();
}

async fn fetch_without_an_answer(registration: &NotificationProxy<'_>) {
    let proxy = registration.inner();
    let call = Message::method_call(proxy.path(), "GetChangedDestinations")
        .destination(proxy.destination())
        .interface(proxy.interface())
        .with_flags(Flags::NO_REPLY_EXPECTED);
    proxy.connection().send(&call.build(&1000u32).unwrap()).await.unwrap();
}
