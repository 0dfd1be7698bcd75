//! Adding and updating routes (6.4).

use rtmd::{bus::wire::RouteItem, model::Family};
use zbus::Variant;

use crate::support::{Client, NO_FIB, PrivateBus, details, picture, refusal, route};
use crate::{
    ALL_VIEWS, ANY_CHANGE, BEST, FIRST, GATEWAY, MCAST, NEW, OSPF, RIP, STATIC, UCAST, best, error,
    find, hop, offer, offer_as, refused, routes, serve, serve_with, told, watch,
};

const TO: &str = "10.0.0.0/8";

/// The ids of the candidates, best rank first.
async fn candidates(by: &Client, to: &str) -> Vec<u64> {
    by.table.get_routes(to).await.unwrap().iter().map(|route| route.id).collect()
}

/// RT-01, RT-17
#[tokio::test]
async fn a_first_route_makes_the_destination_and_is_new_and_best() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    assert_eq!(error(client.table.get_exact_match_destination(TO, 0, UCAST).await), "NotFound");
    let (id, change) = offer(&client, TO, []).await;
    assert_eq!(change, NEW | BEST);
    assert_eq!(best(&client, TO, UCAST).await, id);
    assert_eq!(client.table.get_route_info(id).await.unwrap().destination, TO);
    assert_eq!(client.table.destinations().await.unwrap(), 1);
}

/// RT-02, RT-05, RT-17
#[tokio::test]
async fn the_same_owner_and_neighbour_mean_the_same_route() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let neighbour = hop(&client, "127.0.0.9").await;
    for neighbour in [0, neighbour] {
        let keys = |metric: u32| [("neighbour", neighbour.into()), ("metric", metric.into())];
        let (id, change) = offer(&client, TO, keys(1)).await;
        assert_eq!(change & NEW, NEW);
        let (again, change) = offer(&client, TO, keys(2)).await;
        assert_eq!((again, change & NEW), (id, 0));
        assert_eq!(client.table.get_route_info(id).await.unwrap().metric, 2);
    }
    let (absent, change) = offer(&client, TO, []).await;
    assert_eq!((candidates(&client, TO).await.contains(&absent), change & NEW), (true, 0));
    assert_eq!(client.table.routes().await.unwrap(), 2);
}

/// RT-03
#[tokio::test]
async fn another_neighbour_makes_another_route() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (one, two) = (hop(&client, "127.0.0.8").await, hop(&client, "127.0.0.9").await);
    let mut seen = vec![offer(&client, TO, []).await];
    for neighbour in [one, two] {
        seen.push(offer(&client, TO, [("neighbour", neighbour.into())]).await);
    }
    assert_eq!(seen.iter().map(|(_, change)| change & NEW).collect::<Vec<_>>(), [NEW; 3]);
    let found = client.table.get_routes(TO).await.unwrap();
    let neighbours: Vec<_> = found.iter().map(|route| (route.id, route.neighbour)).collect();
    assert_eq!(neighbours, [(seen[0].0, 0), (seen[1].0, one), (seen[2].0, two)]);
}

/// RT-04
#[tokio::test]
async fn anothers_offer_to_the_same_prefix_is_a_route_of_its_own() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (first, _) = offer(&a, TO, [("metric", 7u32.into())]).await;
    let before = a.table.get_route_info(first).await.unwrap();
    let (second, change) = offer(&b, TO, []).await;
    assert_eq!((change & NEW, second != first), (NEW, true));
    assert_eq!(a.table.get_route_info(first).await.unwrap(), before);
    assert_eq!(candidates(&a, TO).await, [first, second]);
}

/// RT-06
#[tokio::test]
async fn first_updates_the_owners_first_route_and_replaces_its_neighbour() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let hops = [hop(&client, "127.0.0.7").await, hop(&client, "127.0.0.8").await];
    let (foreign, _) = offer(&other, TO, []).await;
    let from = |hop: u64, metric: u32| [("neighbour", hop.into()), ("metric", metric.into())];
    let (worse, _) = offer(&client, TO, from(hops[0], 9)).await;
    let (better, _) = offer(&client, TO, from(hops[1], 3)).await;
    let third = hop(&client, "127.0.0.9").await;
    let (id, change) = offer_as(&client, TO, FIRST, from(third, 4)).await;
    assert_eq!((id, change & NEW), (better, 0), "first in order of rank, not of time");
    let found = client.table.get_route_info(id).await.unwrap();
    assert_eq!((found.neighbour, found.metric), (third, 4));
    assert_eq!(candidates(&client, TO).await, [better, worse, foreign]);
}

/// RT-07
#[tokio::test]
async fn first_adds_where_the_owner_has_no_route_yet() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (foreign, _) = offer(&other, TO, []).await;
    let (id, change) = offer_as(&client, TO, FIRST, []).await;
    assert_eq!((change & NEW, id != foreign), (NEW, true));
    assert_eq!(client.table.routes().await.unwrap(), 2);
}

/// RT-08
#[tokio::test]
async fn new_always_adds() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (first, _) = offer(&client, TO, []).await;
    let (second, change) = offer_as(&client, TO, NEW, []).await;
    assert_eq!((change, second != first), (NEW, true));
    assert_eq!(candidates(&client, TO).await, [first, second]);
}

/// RT-09
#[tokio::test]
async fn first_with_new_and_unknown_change_flags_are_refused() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for how in [FIRST | NEW, 0x4, BEST, NEW | BEST, u32::MAX] {
        let refused = client.entity.add_route(TO, &route(GATEWAY, []), how).await;
        assert_eq!(error(refused), "InvalidParameter", "{how:#x}");
        let each = client.entity.add_prefixes(&[TO], &route(GATEWAY, []), how).await.unwrap();
        assert_eq!((each.0, each.1.len()), (vec![0], 1), "{how:#x}");
    }
    assert_eq!(client.table.routes().await.unwrap(), 0);
}

/// RT-10, RT-13
#[tokio::test]
async fn best_is_told_of_an_addition_only_if_it_is_best_somewhere() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    assert_eq!(offer(&a, TO, []).await.1, NEW | BEST);
    let (_, change) = offer(&b, TO, []).await;
    assert_eq!(change, NEW, "it is best nowhere");
    let hop = hop(&b, "127.0.0.9").await;
    let second = [("neighbour", hop.into()), ("views", (UCAST | MCAST).into())];
    assert_eq!(offer(&b, TO, second).await.1, NEW | BEST, "in one of its two views it is");
    let third = [("preference", 1u32.into()), ("neighbour", self::hop(&a, GATEWAY).await.into())];
    assert_eq!(offer(&a, TO, third).await.1, NEW | BEST, "it takes over");
}

/// RT-11, RT-12, RT-13
#[tokio::test]
async fn best_is_told_of_an_update_of_what_was_is_or_makes_another_best() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, 100).await;
    let b = Client::register(&bus, Family::Ipv4, 101).await;
    let metric = |metric: u32| [("metric", metric.into())];
    let (of_a, _) = offer(&a, TO, metric(5)).await;
    let (of_b, _) = offer(&b, TO, metric(6)).await;
    assert_eq!(offer(&a, TO, metric(4)).await, (of_a, BEST), "it stays best");
    assert_eq!(offer(&a, TO, metric(4)).await, (of_a, BEST), "with nothing new in it, too");
    assert_eq!(offer(&b, TO, metric(7)).await, (of_b, 0), "it stays behind");
    assert_eq!(offer(&a, TO, metric(8)).await, (of_a, BEST), "the other takes over");
    assert_eq!(best(&a, TO, UCAST).await, of_b);
    assert_eq!(offer(&a, TO, metric(7)).await, (of_a, 0), "it stays behind");
    assert_eq!(offer(&a, TO, metric(1)).await, (of_a, BEST), "it takes over");
}

/// RT-14
#[tokio::test]
async fn an_update_by_id_means_that_route_even_among_duplicates() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(offer_as(&client, TO, NEW, []).await.0);
    }
    client.entity.update_route(ids[1], &details([("metric", 9u32.into())])).await.unwrap();
    let found = client.table.get_routes(TO).await.unwrap();
    let metrics: Vec<_> = found.iter().map(|route| (route.id, route.metric)).collect();
    assert_eq!(metrics, [(ids[0], 0), (ids[2], 0), (ids[1], 9)]);
}

/// RT-15
#[tokio::test]
async fn a_foreign_route_is_not_updated_and_stays_as_it_is() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (of_b, _) = offer(&b, TO, []).await;
    let before = a.table.get_route_info(of_b).await.unwrap();
    let path = b.entity.inner().path().to_owned();
    let foreign = rtmd::client::EntityProxy::builder(&a.connection).path(path);
    let foreign = foreign.build().await.unwrap();
    let worse = route(GATEWAY, [("metric", 9u32.into())]);
    assert_eq!(error(foreign.add_route(TO, &worse, 0).await), "AccessDenied");
    assert_eq!(error(foreign.add_prefixes(&[TO], &worse, 0).await), "AccessDenied");
    assert_eq!(error(foreign.add_routes(&[item(TO, vec![])], 0).await), "AccessDenied");
    let changes = details([("metric", 9u32.into())]);
    assert_eq!(error(foreign.update_route(of_b, &changes).await), "AccessDenied");
    assert_eq!(error(a.entity.update_route(of_b, &changes).await), "AccessDenied");
    assert_eq!(a.table.get_route_info(of_b).await.unwrap(), before);
}

/// RT-16
#[tokio::test]
async fn an_id_that_never_was_is_no_handle() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for id in [0, 4242, u64::MAX] {
        let names = [
            error(client.entity.delete_route(id).await),
            error(client.table.get_route_info(id).await),
            error(client.table.is_best_route(id).await),
            error(client.entity.update_route(id, &details([])).await),
        ];
        assert_eq!(names, ["InvalidHandle"; 4], "{id}");
        let each = client.entity.delete_routes(&[id]).await.unwrap();
        assert_eq!(each[0].name, "org.rtmd1.Error.InvalidHandle", "{id}");
    }
}

/// RT-20, RT-21
#[tokio::test]
async fn next_hops_and_neighbours_have_to_be_the_owners_own_and_alive() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let foreign = hop(&b, GATEWAY).await;
    let deleted = hop(&a, GATEWAY).await;
    let held_by = details([("next-hops", vec![deleted].into())]);
    a.entity.add_route("11.0.0.0/8", &held_by, 0).await.unwrap();
    a.entity.delete_next_hop(deleted).await.unwrap();
    for (id, name) in
        [(foreign, "AccessDenied"), (4242, "InvalidHandle"), (deleted, "InvalidParameter")]
    {
        assert_eq!(refused(&a, TO, details([("next-hops", vec![id].into())])).await, name);
        assert_eq!(refused(&a, TO, route(GATEWAY, [("neighbour", id.into())])).await, name);
        let items = [item(TO, vec![id]), RouteItem { neighbour: id, ..item(TO, vec![]) }];
        let (_, errors) = a.entity.add_routes(&items, 0).await.unwrap();
        for error in errors {
            assert_eq!(error.name, format!("org.rtmd1.Error.{name}"));
        }
    }
    assert_eq!(candidates(&a, TO).await, [0; 0]);
}

/// RT-22
#[tokio::test]
async fn a_route_needs_no_next_hop() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (to, route) in [
        ("10.0.0.0/8", details([])),
        ("11.0.0.0/8", details([("next-hops", Vec::<u64>::new().into())])),
        ("12.0.0.0/8", details([("via", Vec::<(String, u32)>::new().into())])),
    ] {
        let (id, change) = client.entity.add_route(to, &route, 0).await.unwrap();
        assert_eq!(change, NEW | BEST);
        assert_eq!(client.table.get_route_info(id).await.unwrap().next_hops, [0; 0]);
    }
}

/// RT-23
#[tokio::test]
async fn next_hops_are_kept_in_order_up_to_the_limit_and_none_twice() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nmax-next-hops = 3\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut hops = Vec::new();
    for n in [9, 3, 7, 5] {
        hops.push(hop(&client, &format!("127.0.0.{n}")).await);
    }
    hops.swap(0, 2);
    let (id, _) = client
        .entity
        .add_route(TO, &details([("next-hops", hops[..3].to_vec().into())]), 0)
        .await
        .unwrap();
    assert_eq!(client.table.get_route_info(id).await.unwrap().next_hops, hops[..3]);
    let via: Vec<(String, u32)> = (1..=4).map(|n| (format!("127.0.1.{n}"), 0)).collect();
    for (wrong, why) in [
        (details([("next-hops", hops.clone().into())]), "3 at most"),
        (details([("via", via.into())]), "3 at most"),
        (details([("next-hops", vec![hops[0], hops[0]].into())]), "twice"),
    ] {
        let (name, text) = refusal(client.entity.add_route(TO, &wrong, 0).await);
        assert_eq!((name.as_str(), text.contains(why)), ("InvalidParameter", true), "{text}");
    }
    assert_eq!(client.table.get_route_info(id).await.unwrap().next_hops, hops[..3]);
}

/// RT-24
#[tokio::test]
async fn a_route_needs_a_view_and_one_that_there_is() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let views = |views: u32| route(GATEWAY, [("views", views.into())]);
    assert_eq!(refused(&client, TO, views(0)).await, "InvalidParameter");
    assert_eq!(refused(&client, TO, views(0x5)).await, "NotSupported");
    let (id, _) = client.entity.add_route(TO, &views(ALL_VIEWS), 0).await.unwrap();
    assert_eq!(client.table.get_route_info(id).await.unwrap().views, UCAST | MCAST);
}

/// RT-25
#[tokio::test]
async fn what_the_service_sets_cannot_be_given() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    for key in [
        ("state", Variant::from(2u32)),
        ("owner", other.id.into()),
        ("destination", "11.0.0.0/8".into()),
        ("id", 7u64.into()),
    ] {
        let name = key.0;
        let (error, text) = refusal(client.entity.add_route(TO, &route(GATEWAY, [key]), 0).await);
        assert_eq!(error, "InvalidParameter");
        assert_eq!(text, format!("there is no route key \"{name}\""));
    }
    assert_eq!(client.table.routes().await.unwrap(), 0);
}

/// RT-26
#[tokio::test]
async fn all_16_flags_come_back_as_they_were_given() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let next_hop = hop(&client, GATEWAY).await;
    for flags in (0..16).map(|bit| 1u32 << bit).chain([0, 0xFFFF]) {
        let (id, _) = offer(&client, TO, [("flags", flags.into())]).await;
        assert_eq!(client.table.get_route_info(id).await.unwrap().flags, flags);
        let one = RouteItem { flags, ..item("11.0.0.0/8", vec![next_hop]) };
        let (ids, _) = client.entity.add_routes(&[one], 0).await.unwrap();
        assert_eq!(client.table.get_route_info(ids[0]).await.unwrap().flags, flags);
    }
    let beyond = route(GATEWAY, [("flags", 0x1_0000u32.into())]);
    assert_eq!(refused(&client, TO, beyond).await, "InvalidParameter");
}

/// RT-27
#[tokio::test]
async fn private_data_comes_back_to_the_owner_alone() {
    let (bus, _service) = serve();
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let secret = vec![0u8, 7, 255];
    let (id, _) = offer(&owner, TO, [("private", secret.clone().into())]).await;
    let private = async |by: &Client| {
        let by_id = by.table.get_route_info(id).await.unwrap();
        let by_prefix = by.table.get_routes(TO).await.unwrap().remove(0);
        let listed = routes(by, (UCAST, 0, ""), 0, []).await.remove(0);
        [by_id, by_prefix, listed].map(|route| {
            let private = route.more.get("private").cloned();
            private.map(|private| Vec::<u8>::try_from(private).unwrap())
        })
    };
    assert_eq!(private(&owner).await, [(); 3].map(|()| Some(secret.clone())));
    assert_eq!(private(&other).await, [None, None, None]);
    let too_much = route(GATEWAY, [("private", vec![0u8; 1 << 16].into())]);
    assert_eq!(refused(&owner, TO, too_much).await, "InvalidParameter");
    assert_eq!(private(&owner).await[0], Some(secret));
}

/// RT-28
#[tokio::test]
async fn a_refused_addition_or_update_starts_no_time_and_tells_nobody() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (endless, _) = offer(&client, TO, []).await;
    let (timed, _) = offer(&client, "11.0.0.0/8", [("ttl", 600_000u32.into())]).await;
    let changes = watch(&client, 0, ANY_CHANGE).await;
    let wrong = || [("ttl", 1u32.into()), ("views", 0x6u32.into())];
    for (id, to) in [(endless, TO), (timed, "11.0.0.0/8")] {
        assert_eq!(refused(&client, to, route(GATEWAY, wrong())).await, "NotSupported");
        assert_eq!(error(client.entity.update_route(id, &details(wrong())).await), "NotSupported");
    }
    let expires = async |id| {
        let found = client.table.get_route_info(id).await.unwrap();
        found.more.get("expires-in").map(|left| u32::try_from(left).unwrap())
    };
    assert_eq!(expires(endless).await, None);
    assert!(expires(timed).await.is_some_and(|left| left > 300_000));
    assert_eq!(told(&changes).await, [""; 0]);
    offer(&client, TO, [("metric", 9u32.into())]).await;
    assert_eq!(told(&changes).await, [TO], "what is accepted is told");
}

/// RT-28
#[tokio::test]
async fn a_refused_addition_or_update_changes_nothing() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let next_hop = hop(&client, GATEWAY).await;
    offer(&client, TO, [("metric", 5u32.into())]).await;
    let before = (picture(&bus).await, find(&client, TO, ALL_VIEWS).await);
    let fresh = |n: u32| vec![(format!("127.0.2.{n}"), 0u32), ("224.0.0.1".to_owned(), 0)];
    for (to, route, how) in [
        (TO, details([("via", fresh(1).into()), ("metric", 1u32.into())]), 0),
        ("11.0.0.0/8", details([("via", fresh(2).into())]), NEW),
        (TO, details([("next-hops", vec![next_hop, 4242].into()), ("metric", 1u32.into())]), FIRST),
        (TO, route("127.0.2.3", [("views", 0x6u32.into())]), 0),
        (TO, route("127.0.2.4", [("neighbour", 4242u64.into())]), 0),
        (TO, route("127.0.2.5", [("flags", 0x1_0000u32.into())]), 0),
        (TO, route("127.0.2.6", [("ttl", 0u32.into())]), 0),
        (TO, route("127.0.2.7", [("colour", 0u32.into())]), 0),
        (TO, route("127.0.2.8", []), FIRST | NEW),
    ] {
        let shown = format!("{route:?}");
        error(client.entity.add_route(to, &route, how).await);
        let after = (picture(&bus).await, find(&client, TO, ALL_VIEWS).await);
        assert_eq!(after, before, "{shown}");
    }
}

/// RT-29, RT-30
#[tokio::test]
async fn anyone_reads_all_of_a_live_route_and_nothing_of_a_dead_one() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let neighbour = hop(&client, "127.0.0.9").await;
    let next_hops = vec![hop(&client, GATEWAY).await, hop(&client, "127.0.0.3").await];
    let keys = [
        ("next-hops", next_hops.clone().into()),
        ("neighbour", neighbour.into()),
        ("preference", 44u32.into()),
        ("metric", 55u32.into()),
        ("flags", 0x20u32.into()),
        ("views", (UCAST | MCAST).into()),
    ];
    let (id, _) = client.entity.add_route(TO, &details(keys), 0).await.unwrap();
    let reader = bus.connect().await;
    let manager = rtmd::client::manager(&reader).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let found = table.get_route_info(id).await.unwrap();
    assert_eq!((found.id, found.destination.as_str(), found.owner), (id, TO, client.id));
    assert_eq!((found.neighbour, found.next_hops), (neighbour, next_hops));
    assert_eq!((found.preference, found.metric), (44, 55));
    assert_eq!((found.state, found.flags, found.views), (0, 0x20, UCAST | MCAST));
    client.entity.delete_route(id).await.unwrap();
    assert_eq!(error(table.get_route_info(id).await), "InvalidHandle");
}

/// RT-31
#[tokio::test]
async fn an_update_of_the_views_elects_in_those_left_and_those_entered() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (of_a, _) = offer(&a, TO, [("views", UCAST.into())]).await;
    let (of_b, _) = offer(&b, TO, [("views", (UCAST | MCAST).into())]).await;
    let both = async || [best(&a, TO, UCAST).await, best(&a, TO, MCAST).await];
    assert_eq!(both().await, [of_a, of_b]);
    let (_, change) = offer(&a, TO, [("views", MCAST.into())]).await;
    assert_eq!((change, both().await), (BEST, [of_b, of_a]));
    offer(&a, TO, [("views", (UCAST | MCAST).into())]).await;
    assert_eq!(both().await, [of_a, of_a]);
}

/// RT-32
#[tokio::test]
async fn a_table_that_is_full_refuses_without_damage() {
    let limits = "[limits]\nroutes = 3\nroutes-per-destination = 2\nnext-hops = 4\n";
    let (bus, _service) = serve_with(&format!("{NO_FIB}{limits}"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&client, TO, []).await;
    let (second, _) = offer_as(&client, TO, NEW, []).await;
    refused_for_memory(&bus, &client, TO, GATEWAY, NEW).await;
    offer(&client, "11.0.0.0/8", []).await;
    refused_for_memory(&bus, &client, "12.0.0.0/8", "127.0.0.3", 0).await;
    offer(&client, "11.0.0.0/8", [("metric", 9u32.into())]).await;
    client.entity.delete_route(second).await.unwrap();
    offer(&client, "12.0.0.0/8", []).await;
    for n in 3..6 {
        hop(&client, &format!("127.0.0.{n}")).await;
    }
    let one_more = client.entity.add_next_hop("127.0.0.6", 0, &details([])).await;
    assert_eq!(error(one_more), "NotEnoughMemory");
    refused_for_memory(&bus, &client, TO, "127.0.0.6", 0).await;
}

async fn refused_for_memory(bus: &PrivateBus, client: &Client, to: &str, via: &str, how: u32) {
    let before = picture(bus).await;
    let (name, text) = refusal(client.entity.add_route(to, &route(via, []), how).await);
    assert_eq!(name, "NotEnoughMemory", "{text}");
    assert_eq!(picture(bus).await, before);
}

/// RT-34
#[tokio::test]
async fn an_update_by_id_stays_at_its_prefix_and_may_take_anothers_neighbour() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let neighbour = hop(&client, "127.0.0.9").await;
    let (first, _) = offer(&client, TO, [("neighbour", neighbour.into())]).await;
    let (second, _) = offer(&client, TO, []).await;
    let update = async |to: &str| {
        let changes = [("destination", to.to_owned().into()), ("neighbour", neighbour.into())];
        client.entity.update_route(second, &details(changes)).await
    };
    assert_eq!(error(update("10.0.0.0/9").await), "InvalidParameter");
    assert_eq!(client.table.get_route_info(second).await.unwrap().neighbour, 0);
    update(TO).await.unwrap();
    let found = client.table.get_routes(TO).await.unwrap();
    let neighbours: Vec<_> = found.iter().map(|route| (route.id, route.neighbour)).collect();
    assert_eq!(neighbours, [(first, neighbour), (second, neighbour)]);
}

/// RT-33
#[tokio::test]
async fn routes_added_in_bulk_are_what_they_would_be_one_by_one() {
    let (bus, _service) = serve();
    let single = Client::register(&bus, Family::Ipv4, 100).await;
    let bulk = Client::register(&bus, Family::Ipv4, 101).await;
    let hops = [hop(&single, GATEWAY).await, hop(&bulk, GATEWAY).await];
    let neighbours = [hop(&single, "127.0.0.9").await, hop(&bulk, "127.0.0.9").await];
    let items = |hop: u64, neighbour: u64| {
        let one = |to: &str| item(to, vec![hop]);
        vec![
            RouteItem { metric: 7, ..one("10.0.0.0/16") },
            RouteItem { metric: 3, ..one("10.0.0.0/16") },
            RouteItem { neighbour, flags: 0x20, ..one("10.0.0.0/16") },
            one("10.0.0.1/16"),
            RouteItem { views: UCAST | MCAST, preference: 200, ..one("10.1.0.0/16") },
            RouteItem { views: 0, ..one("10.2.0.0/16") },
            RouteItem { next_hops: vec![4242], ..one("10.3.0.0/16") },
        ]
    };
    let mut one_by_one = Vec::new();
    for item in items(hops[0], neighbours[0]) {
        let mut route = details([
            ("metric", item.metric.into()),
            ("flags", item.flags.into()),
            ("views", item.views.into()),
            ("preference", item.preference.into()),
            ("neighbour", item.neighbour.into()),
        ]);
        let next_hops = Variant::from(item.next_hops);
        route.insert("next-hops".to_owned(), next_hops.try_into().unwrap());
        let done = single.entity.add_route(&item.destination, &route, 0).await;
        one_by_one.push(done.map(|(id, _)| id).map_err(|error| refusal::<()>(Err(error))));
    }
    let (ids, errors) = bulk.entity.add_routes(&items(hops[1], neighbours[1]), 0).await.unwrap();
    assert_eq!(ids.len(), one_by_one.len());
    for (index, (id, alone)) in ids.into_iter().zip(one_by_one).enumerate() {
        let refused = errors.iter().find(|error| error.index as usize == index);
        match (alone, refused) {
            (Ok(alone), None) => {
                let mut of_bulk = bulk.table.get_route_info(id).await.unwrap();
                let of_single = bulk.table.get_route_info(alone).await.unwrap();
                assert_eq!(of_bulk.neighbour == 0, of_single.neighbour == 0);
                (of_bulk.id, of_bulk.owner) = (of_single.id, of_single.owner);
                of_bulk.neighbour = of_single.neighbour;
                of_bulk.next_hops.clone_from(&of_single.next_hops);
                of_bulk.more.clone_from(&of_single.more);
                assert_eq!(of_bulk, of_single, "item {index}");
            }
            (Err((name, text)), Some(error)) => {
                assert_eq!((id, error.name.ends_with(&name), &error.text), (0, true, &text));
            }
            (alone, refused) => panic!("item {index}: {alone:?}, {refused:?}"),
        }
    }
    assert_eq!(errors.iter().map(|error| error.index).collect::<Vec<_>>(), [3, 5, 6]);
    assert_eq!(single.entity.routes().await.unwrap(), bulk.entity.routes().await.unwrap());
}

fn item(destination: &str, next_hops: Vec<u64>) -> RouteItem {
    RouteItem {
        destination: destination.to_owned(),
        neighbour: 0,
        preference: 0,
        metric: 0,
        flags: 0,
        views: UCAST,
        ttl: u32::MAX,
        next_hops,
    }
}
