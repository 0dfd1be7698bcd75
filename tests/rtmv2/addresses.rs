//! Addresses and views (6.3).

use rtmd::{client::DestinationEnumerationProxy, model::Family};

use crate::support::{Client, details, refusal, route};
use crate::{
    ALL_VIEWS, ANY_CHANGE, ANY_VIEW, BEST, GATEWAY, MCAST, NEW, OSPF, RIP, STATIC, THREE_VIEWS,
    UCAST, best, error, find, offer, refused, routes, serve, serve_with,
};

/// Every call that takes a prefix, with this one; the names of the errors.
async fn everywhere(client: &Client, prefix: &str) -> Vec<String> {
    let table = &client.table;
    let route = route(GATEWAY, []);
    let (_, errors) = client.entity.add_prefixes(&[prefix], &route, 0).await.unwrap();
    let within = details([("destination", prefix.to_owned().into())]);
    vec![
        refused(client, prefix, route).await,
        errors[0].name.rsplit('.').next().unwrap().to_owned(),
        error(table.get_exact_match_destination(prefix, 0, UCAST).await),
        error(table.get_most_specific_destination(prefix, 0, UCAST).await),
        error(table.get_less_specific_destination(prefix, 0, UCAST).await),
        error(table.get_routes(prefix).await),
        error(table.create_destination_enumeration(UCAST, 1, prefix, 0).await),
        error(table.create_route_enumeration(UCAST, 2, prefix, 0, &details([])).await),
        error(table.create_route_enumeration(UCAST, 0, "", 0, &within).await),
    ]
}

/// NET-01
#[tokio::test]
async fn prefixes_of_every_length_are_accepted_and_no_longer_ones() {
    let (bus, _service) = serve();
    for (family, zero, most, gateway) in
        [(Family::Ipv4, "0.0.0.0", 32, GATEWAY), (Family::Ipv6, "::", 128, "::1")]
    {
        let client = Client::register(&bus, family, STATIC).await;
        let all: Vec<String> = (0..=most).map(|length| format!("{zero}/{length}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let (ids, errors) = client.entity.add_prefixes(&all, &route(gateway, []), 0).await.unwrap();
        assert_eq!((ids.len(), errors), (all.len(), vec![]));
        for prefix in &all {
            assert_eq!(find(&client, prefix, UCAST).await.prefix, *prefix);
        }
        let longer = everywhere(&client, &format!("{zero}/{}", most + 1)).await;
        assert!(longer.iter().all(|name| name == "InvalidParameter"), "{longer:?}");
    }
}

/// NET-02
#[tokio::test]
async fn a_prefix_with_host_bits_is_refused() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&client, "10.10.10.0/24", []).await;
    let names = everywhere(&client, "10.10.10.10/24").await;
    assert!(names.iter().all(|name| name == "InvalidParameter"), "{names:?}");
    let (_, text) = refusal(client.table.get_routes("10.10.10.10/24").await);
    assert!(text.contains("did you mean 10.10.10.0/24"), "{text}");
    assert_eq!(client.table.routes().await.unwrap(), 1);
}

/// NET-03
#[tokio::test]
async fn a_prefix_of_the_other_family_is_refused() {
    let (bus, _service) = serve();
    for (family, foreign) in [(Family::Ipv4, "::/0"), (Family::Ipv6, "0.0.0.0/0")] {
        let client = Client::register(&bus, family, STATIC).await;
        let names = everywhere(&client, foreign).await;
        assert!(names.iter().all(|name| name == "InvalidParameter"), "{names:?}");
        assert_eq!(client.table.routes().await.unwrap(), 0);
    }
}

/// VIEW-01
#[tokio::test]
async fn view_n_is_bit_n_and_there_are_32() {
    let all: Vec<u32> = (0..32).collect();
    let instances = format!(
        "[[instance]]\nid = 0\nfib = false\nviews = {all:?}\n\
         [[instance]]\nid = 1\nfib = false\nviews = [32]\n"
    );
    let (bus, _service) = serve_with(&instances);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for view in [0, 1, 2, 31] {
        let to = format!("10.{view}.0.0/16");
        let (id, _) = offer(&client, &to, [("views", (1u32 << view).into())]).await;
        let records = find(&client, &to, ALL_VIEWS).await.per_view;
        assert_eq!(records.len(), 32);
        let mut there = records.iter().filter(|record| record.best != 0);
        let there = there.next().map(|record| (record.view, record.best));
        assert_eq!(there, Some((view, id)));
        assert_eq!(client.table.is_best_route(id).await.unwrap(), 1 << view);
    }
    let refused = client.manager.register_entity(1, "ipv4", STATIC, 0, &details([])).await;
    assert_eq!(error(refused), "BadConfiguration");
}

/// VIEW-02
#[tokio::test]
async fn any_view_finds_destinations_of_all_and_tells_of_none() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&client, "10.0.0.0/8", []).await;
    offer(&client, "11.0.0.0/8", [("views", MCAST.into())]).await;
    for prefix in ["10.0.0.0/8", "11.0.0.0/8"] {
        let found = client.table.get_most_specific_destination(prefix, 0, ANY_VIEW).await.unwrap();
        assert_eq!((found.prefix.as_str(), found.per_view.len()), (prefix, 0));
    }
    let path = client.table.create_destination_enumeration(ANY_VIEW, 0, "", 0).await.unwrap();
    let cursor = DestinationEnumerationProxy::builder(&client.connection).path(path);
    let (page, _) = cursor.build().await.unwrap().next(10).await.unwrap();
    let seen: Vec<_> =
        page.iter().map(|d| (d.prefix.as_str(), d.views, d.per_view.len())).collect();
    assert_eq!(seen, [("10.0.0.0/8", UCAST, 0), ("11.0.0.0/8", MCAST, 0)]);
}

/// VIEW-03, VIEW-05, VIEW-08
#[tokio::test]
async fn all_views_are_the_configured_ones_and_records_come_in_ascending_order() {
    let (bus, _service) = serve_with(THREE_VIEWS);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, "10.0.0.0/8", [("views", ALL_VIEWS.into())]).await;
    assert_eq!(client.table.get_route_info(id).await.unwrap().views, 0x23);
    for (mask, expected) in
        [(ALL_VIEWS, vec![0, 1, 5]), (0x23, vec![0, 1, 5]), (0x21, vec![0, 5]), (0x20, vec![5])]
    {
        let found = find(&client, "10.0.0.0/8", mask).await;
        let views: Vec<u32> = found.per_view.iter().map(|record| record.view).collect();
        assert_eq!(views, expected, "{mask:#x}");
    }
}

/// VIEW-08
#[tokio::test]
async fn a_third_view_has_its_own_routes_best_routes_and_walks() {
    let (bus, _service) = serve_with(THREE_VIEWS);
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, RIP).await;
    let (in_two, _) = offer(&preferred, "10.0.0.0/8", []).await;
    let third = [("views", 0x20u32.into())];
    let (in_third, change) = offer(&other, "10.0.0.0/8", third).await;
    assert_eq!(change, NEW | BEST);
    assert_eq!(other.table.is_best_route(in_third).await.unwrap(), 0x20);
    assert_eq!(best(&other, "10.0.0.0/8", UCAST).await, in_two);
    assert_eq!(best(&other, "10.0.0.0/8", 0x20).await, in_third);
    let walked = routes(&other, (0x20, 0, ""), 0, []).await;
    assert_eq!(walked.iter().map(|route| route.id).collect::<Vec<_>>(), [in_third]);
    assert_eq!(error(find_in(&other, 0x10).await), "NotSupported", "a view that is not configured");
}

async fn find_in(by: &Client, views: u32) -> zbus::Result<rtmd::bus::wire::DestinationInfo> {
    by.table.get_exact_match_destination("10.0.0.0/8", 0, views).await
}

/// VIEW-04
#[tokio::test]
async fn a_view_that_the_table_has_not_is_not_supported() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&client, "10.0.0.0/8", []).await;
    for views in [0x4, 0x7, 0x8000_0000] {
        let table = &client.table;
        let names = [
            error(table.create_destination_enumeration(views, 0, "", 0).await),
            error(table.create_route_enumeration(views, 0, "", 0, &details([])).await),
            error(find_in(&client, views).await),
            error(table.register_for_change_notification(views, ANY_CHANGE, 0).await),
            refused(&client, "11.0.0.0/8", route(GATEWAY, [("views", views.into())])).await,
        ];
        assert_eq!(names, ["NotSupported"; 5], "{views:#x}");
    }
}

/// VIEW-06
#[tokio::test]
async fn a_route_is_best_only_in_the_views_it_is_offered_in() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (to, there, elsewhere) in [("10.0.0.0/8", UCAST, MCAST), ("11.0.0.0/8", MCAST, UCAST)] {
        let (id, _) = offer(&client, to, [("views", there.into())]).await;
        assert_eq!(best(&client, to, there).await, id);
        assert_eq!(client.table.is_best_route(id).await.unwrap(), there);
        let refused = client.table.get_exact_match_destination(to, 0, elsewhere).await;
        assert_eq!(error(refused), "NotFound");
        let both = find(&client, to, UCAST | MCAST).await;
        let without = both.per_view.iter().filter(|record| record.best == 0);
        assert_eq!(without.map(|record| 1 << record.view).collect::<Vec<u32>>(), [elsewhere]);
    }
}

/// VIEW-07
#[tokio::test]
async fn a_destination_is_in_the_views_of_its_routes() {
    let (bus, _service) = serve();
    let one = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let views = async || find(&one, "10.0.0.0/8", ANY_VIEW).await.views;
    offer(&one, "10.0.0.0/8", [("views", UCAST.into())]).await;
    assert_eq!(views().await, UCAST);
    let (second, _) = offer(&other, "10.0.0.0/8", [("views", MCAST.into())]).await;
    assert_eq!(views().await, UCAST | MCAST);
    offer(&one, "10.0.0.0/8", [("views", MCAST.into())]).await;
    assert_eq!(views().await, MCAST);
    offer(&one, "10.0.0.0/8", [("views", (UCAST | MCAST).into())]).await;
    other.entity.delete_route(second).await.unwrap();
    assert_eq!(views().await, UCAST | MCAST);
}
