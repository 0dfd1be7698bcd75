//! In-place update (6.9).

use rtmd::{
    bus::wire::RouteInfo,
    client::{EntityProxy, RouteListProxy},
    model::Family,
};
use zbus::Variant;

use crate::support::{Client, details, picture, refusal};
use crate::{BEST, MCAST, OSPF, STATIC, UCAST, best, error, find, hop, offer, serve};

const TO: &str = "10.0.0.0/8";
const BOTH: u32 = UCAST | MCAST;

fn metric(metric: u32) -> [(&'static str, Variant<'static>); 1] {
    [("metric", metric.into())]
}

async fn update<const N: usize>(
    by: &Client,
    id: u64,
    changes: [(&'static str, Variant<'static>); N],
) -> zbus::Result<u32> {
    by.entity.update_route(id, &details(changes)).await
}

async fn generation(by: &Client, id: u64) -> u64 {
    let found = by.table.get_route_info(id).await.unwrap();
    u64::try_from(&found.more["generation"]).unwrap()
}

/// What a key of a route comes out as, in words.
fn shown(route: &RouteInfo, key: &str) -> String {
    match key {
        "neighbour" => route.neighbour.to_string(),
        "preference" => route.preference.to_string(),
        "metric" => route.metric.to_string(),
        "views" => route.views.to_string(),
        "next-hops" => format!("{:?}", route.next_hops),
        "ttl" => route.more.contains_key("expires-in").to_string(),
        key => format!("{:?}", route.more.get(key)),
    }
}

/// UPD-01
#[tokio::test]
async fn one_call_changes_any_part_of_a_route_and_leaves_the_rest() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let own = async |id| client.table.get_route_info(id).await.unwrap();
    let hops = [hop(&client, "127.0.0.3").await, hop(&client, "127.0.0.4").await];
    let list = client.entity.create_route_list().await.unwrap();
    let (id, _) =
        offer(&client, TO, [("flags", 0x20u32.into()), ("private", b"x"[..].into())]).await;
    let changes = || -> [(&'static str, Variant<'static>); 8] {
        [
            ("neighbour", hops[0].into()),
            ("preference", 44u32.into()),
            ("metric", 55u32.into()),
            ("views", BOTH.into()),
            ("private", vec![1u8, 2].into()),
            ("next-hops", vec![hops[1]].into()),
            ("ttl", 600_000u32.into()),
            ("list", list.clone().into_inner().into()),
        ]
    };
    let keys = changes().map(|(key, _)| key);
    for (place, change) in changes().into_iter().enumerate() {
        let (before, key) = (own(id).await, change.0);
        update(&client, id, [change]).await.unwrap();
        let after = own(id).await;
        for (other, key) in keys.iter().enumerate() {
            let same = shown(&after, key) == shown(&before, key);
            assert_eq!(same, other != place, "{key} after a change of {}", keys[place]);
        }
        assert_eq!((after.flags, after.id), (0x20, id), "{key}");
    }
    let (second, _) = offer(&client, "11.0.0.0/8", []).await;
    update(&client, second, changes()).await.unwrap();
    let (one_by_one, at_once) = (own(id).await, own(second).await);
    for key in keys {
        assert_eq!(shown(&one_by_one, key), shown(&at_once, key), "{key}");
    }
    let list = RouteListProxy::builder(&client.connection).path(list).build().await.unwrap();
    assert_eq!(list.next(10).await.unwrap().0.len(), 2);
}

/// UPD-02
#[tokio::test]
async fn an_update_leaves_flags_alone_and_an_offer_changes_them() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, [("flags", 0x20u32.into())]).await;
    let flags = async || client.table.get_route_info(id).await.unwrap().flags;
    let (name, text) = refusal(update(&client, id, [("flags", 0x40u32.into())]).await);
    assert_eq!((name.as_str(), text.contains("\"flags\"")), ("InvalidParameter", true), "{text}");
    assert_eq!(flags().await, 0x20);
    assert_eq!(offer(&client, TO, [("flags", 0x40u32.into())]).await.0, id);
    assert_eq!(flags().await, 0x40);
}

/// UPD-03, UPD-09
#[tokio::test]
async fn only_the_owner_updates_a_route_and_nobody_is_kept_waiting() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (of_b, _) = offer(&b, TO, []).await;
    let before = a.table.get_route_info(of_b).await.unwrap();
    assert_eq!(error(update(&a, of_b, metric(9)).await), "AccessDenied");
    let path = b.entity.inner().path().to_owned();
    let foreign = EntityProxy::builder(&a.connection).path(path).build().await.unwrap();
    assert_eq!(error(foreign.update_route(of_b, &details(metric(9))).await), "AccessDenied");
    assert_eq!(a.table.get_route_info(of_b).await.unwrap(), before);
    // A client in the middle of its updates keeps no other from the same destination.
    for n in 1..=20 {
        let (mine, others) = tokio::join!(update(&b, of_b, metric(n)), offer(&a, TO, metric(n)));
        assert_eq!((mine.is_ok(), others.1 & BEST), (true, BEST));
    }
    assert_eq!(a.table.get_route_info(of_b).await.unwrap().metric, 20);
}

/// UPD-04, UPD-05
#[tokio::test]
async fn a_new_metric_reorders_the_routes_and_best_tells_whether_it_mattered() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, 100).await;
    let b = Client::register(&bus, Family::Ipv4, 101).await;
    let (of_a, _) = offer(&a, TO, metric(5)).await;
    let (of_b, _) = offer(&b, TO, metric(7)).await;
    for (client, id, to, change, order) in [
        (&a, of_a, 4, BEST, [of_a, of_b]),
        (&b, of_b, 6, 0, [of_a, of_b]),
        (&a, of_a, 9, BEST, [of_b, of_a]),
        (&a, of_a, 8, 0, [of_b, of_a]),
        (&a, of_a, 1, BEST, [of_a, of_b]),
    ] {
        assert_eq!(update(client, id, metric(to)).await.unwrap(), change, "metric {to}");
        let found = a.table.get_routes(TO).await.unwrap();
        assert_eq!(found.iter().map(|route| route.id).collect::<Vec<_>>(), order);
        assert_eq!(best(&a, TO, UCAST).await, order[0]);
    }
}

/// UPD-06
#[tokio::test]
async fn a_refused_update_changes_nothing_and_locks_nothing() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let own = hop(&client, "127.0.0.3").await;
    let foreign = hop(&other, "127.0.0.4").await;
    let (id, _) = offer(&client, TO, metric(5)).await;
    let wrong: [(&'static str, Variant<'static>); 8] = [
        ("neighbour", foreign.into()),
        ("next-hops", vec![own, 4242].into()),
        ("via", vec![("127.0.2.1".to_owned(), 0u32), ("224.0.0.1".to_owned(), 0)].into()),
        ("views", 0u32.into()),
        ("views", 0x6u32.into()),
        ("ttl", 0u32.into()),
        ("list", zbus::wire::ObjectPath::try_from("/org/rtmd1/entity/1/list/9").unwrap().into()),
        ("colour", 1u32.into()),
    ];
    for refused in wrong {
        let (before, key) = (picture(&bus).await, refused.0);
        let [good] = metric(1);
        let name = error(update(&client, id, [good, refused]).await);
        assert_eq!(picture(&bus).await, before, "{key}: {name}");
    }
    assert_eq!(update(&client, id, metric(6)).await.unwrap(), BEST, "it can be updated at once");
}

/// UPD-07
#[tokio::test]
async fn an_update_can_be_made_to_depend_on_what_was_read() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, metric(1)).await;
    let read = generation(&client, id).await;
    let at = |generation: u64, metric: u32| {
        [("generation", generation.into()), ("metric", metric.into())]
    };
    update(&client, id, at(read, 2)).await.unwrap();
    let (name, text) = refusal(update(&client, id, at(read, 3)).await);
    assert_eq!((name.as_str(), text.contains("meanwhile")), ("Busy", true), "{text}");
    offer(&client, TO, metric(4)).await;
    assert_eq!(error(update(&client, id, at(read + 1, 5)).await), "Busy", "offered again");
    assert_eq!(client.table.get_route_info(id).await.unwrap().metric, 4);
    update(&client, id, at(generation(&client, id).await, 6)).await.unwrap();
    assert_eq!(client.table.get_route_info(id).await.unwrap().metric, 6);
}

/// UPD-10
#[tokio::test]
async fn a_destination_is_read_as_one_whole_while_it_changes() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    offer(&other, TO, [("views", BOTH.into())]).await;
    let (id, _) = offer(&client, TO, [("views", UCAST.into())]).await;
    let writes = async {
        for n in 0..100 {
            let views = if n % 2 == 0 { MCAST } else { UCAST };
            update(&client, id, [("views", views.into())]).await.unwrap();
        }
    };
    // In each moment the route is in one of the two views and the best there.
    let reads = async {
        for _ in 0..100 {
            let found = find(&other, TO, BOTH).await;
            let mut seen: Vec<_> =
                found.per_view.iter().map(|view| (view.routes, view.owner)).collect();
            seen.sort_unstable();
            assert_eq!(seen, [(1, other.id), (2, client.id)]);
        }
    };
    tokio::join!(writes, reads);
}
