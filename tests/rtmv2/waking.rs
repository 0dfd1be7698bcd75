//! Wake-ups of clients that are told more than they answer (6.13).

use std::time::Duration;

use futures_util::StreamExt;
use rtmd::model::Family;

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
