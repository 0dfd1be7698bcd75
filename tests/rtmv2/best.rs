//! Best route and preference (6.5).

use rtmd::{client::EntityProxy, model::Family};

use crate::support::{Client, NO_FIB, details, route};
use crate::{
    BEST, BGP, GATEWAY, Key, MCAST, NEW, OSPF, RIP, STATIC, UCAST, best, error, find, hop, offer,
    register_beside, serve, serve_with,
};

const TO: &str = "10.0.0.0/8";

fn rank((preference, metric): (u32, u32)) -> [Key; 2] {
    [("preference", preference.into()), ("metric", metric.into())]
}

/// BEST-01, BEST-02, BEST-03
#[tokio::test]
async fn the_lower_preference_wins_and_among_equals_the_lower_metric() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = register_beside(&bus, STATIC, 1).await;
    for (n, (winner, loser)) in [
        ((3, 1000), (120, 1)),
        ((120, 1), (120, 2)),
        ((1, u32::MAX), (2, 0)),
        ((1, 0), (u32::MAX, 0)),
        ((2, 0), (2, u32::MAX)),
    ]
    .into_iter()
    .enumerate()
    {
        let (to, back) = (format!("10.{n}.0.0/16"), format!("11.{n}.0.0/16"));
        let (first, _) = offer(&a, &to, rank(winner)).await;
        offer(&b, &to, rank(loser)).await;
        assert_eq!(best(&a, &to, UCAST).await, first, "{winner:?}, then {loser:?}");
        offer(&b, &back, rank(loser)).await;
        let (second, change) = offer(&a, &back, rank(winner)).await;
        assert_eq!(change, NEW | BEST);
        assert_eq!(best(&a, &back, UCAST).await, second, "{loser:?}, then {winner:?}");
    }
}

/// BEST-01
#[tokio::test]
async fn what_leads_nowhere_yields_unless_the_instance_ignores_viability() {
    const NOWHERE: &str = "203.0.113.77";
    for (viability, preferred_wins) in [("first", false), ("ignored", true)] {
        let (bus, _service) = serve_with(&format!("{NO_FIB}viability = \"{viability}\"\n"));
        let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
        let other = Client::register(&bus, Family::Ipv4, RIP).await;
        let (nowhere, _) = preferred.add(TO, NOWHERE).await.unwrap();
        let (somewhere, _) = other.add(TO, GATEWAY).await.unwrap();
        let expected = if preferred_wins { nowhere } else { somewhere };
        assert_eq!(best(&other, TO, UCAST).await, expected, "viability {viability}");
        other.entity.delete_route(somewhere).await.unwrap();
        assert_eq!(best(&other, TO, UCAST).await, nowhere, "alone it is the best in any case");
    }
}

/// BEST-04
#[tokio::test]
async fn among_equals_the_incumbent_stays_and_then_the_older_follows() {
    let (bus, _service) = serve();
    let mut equals = Vec::new();
    for protocol in [102, 100, 101] {
        let client = Client::register(&bus, Family::Ipv4, protocol).await;
        let (id, _) = offer(&client, TO, rank((150, 9))).await;
        equals.push((client, id));
    }
    let (first, second, third) = (&equals[0], &equals[1], &equals[2]);
    assert_eq!(best(&first.0, TO, UCAST).await, first.1);
    offer(&third.0, TO, rank((150, 8))).await;
    assert_eq!(best(&first.0, TO, UCAST).await, third.1);
    offer(&third.0, TO, rank((150, 9))).await;
    assert_eq!(best(&first.0, TO, UCAST).await, third.1, "the incumbent, though not the oldest");
    third.0.entity.delete_route(third.1).await.unwrap();
    assert_eq!(best(&first.0, TO, UCAST).await, first.1, "the older one");
    first.0.entity.delete_route(first.1).await.unwrap();
    assert_eq!(best(&first.0, TO, UCAST).await, second.1);
}

/// BEST-05
#[tokio::test]
async fn each_view_has_its_own_best() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (both, _) = offer(&b, TO, [("views", (UCAST | MCAST).into())]).await;
    let (unicast, _) = offer(&a, TO, []).await;
    let found = find(&a, TO, UCAST | MCAST).await;
    let seen: Vec<_> = found.per_view.iter().map(|v| (v.view, v.best, v.owner)).collect();
    assert_eq!(seen, [(0, unicast, a.id), (1, both, b.id)]);
}

/// BEST-06
#[tokio::test]
async fn after_any_change_the_best_is_what_a_new_choice_would_give() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let c = Client::register(&bus, Family::Ipv4, RIP).await;
    let owner = async || find(&a, TO, UCAST).await.per_view[0].owner;
    let (of_c, _) = offer(&c, TO, []).await;
    assert_eq!(owner().await, c.id, "added");
    offer(&b, TO, []).await;
    assert_eq!(owner().await, b.id, "added");
    offer(&b, TO, [("preference", 121u32.into())]).await;
    assert_eq!(owner().await, c.id, "updated");
    offer(&b, TO, []).await;
    assert_eq!(owner().await, b.id, "updated");
    let (of_a, _) = offer(&a, TO, []).await;
    a.entity.delete_route(of_a).await.unwrap();
    assert_eq!(owner().await, b.id, "deleted");
    offer(&a, TO, [("ttl", 50u32.into())]).await;
    crate::support::eventually("it expires", async || owner().await == b.id).await;
    offer(&b, TO, [("views", MCAST.into())]).await;
    assert_eq!(owner().await, c.id, "its view was changed");
    offer(&b, TO, []).await;
    assert_eq!(owner().await, b.id, "its view was changed");
    b.connection.clone().close().await.unwrap();
    drop(b);
    crate::support::eventually("the dead entity's route goes", async || owner().await == c.id)
        .await;
    assert_eq!(a.table.is_best_route(of_c).await.unwrap(), UCAST);
}

/// BEST-07
#[tokio::test]
async fn is_best_route_names_exactly_the_views() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let both = || [("views", (UCAST | MCAST).into())];
    let (of_b, _) = offer(&b, TO, both()).await;
    let views = async |id| a.table.is_best_route(id).await;
    assert_eq!(views(of_b).await.unwrap(), UCAST | MCAST);
    let (of_a, _) = offer(&a, TO, []).await;
    assert_eq!((views(of_a).await.unwrap(), views(of_b).await.unwrap()), (UCAST, MCAST));
    offer(&a, TO, both()).await;
    assert_eq!((views(of_a).await.unwrap(), views(of_b).await.unwrap()), (UCAST | MCAST, 0));
    a.entity.delete_route(of_a).await.unwrap();
    for bad in [of_a, 0, 4242] {
        assert_eq!(error(views(bad).await), "InvalidHandle", "{bad}");
    }
}

/// BEST-08
#[tokio::test]
async fn a_view_record_tells_the_best_its_owner_its_flags_and_how_many_there_are() {
    const NATURAL_NET: u32 = 1;
    const DONT_FORWARD: u32 = 4;
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let both = ("views", (UCAST | MCAST).into());
    let (of_b, _) = offer(&b, TO, [both]).await;
    let (of_a, _) = offer(&a, TO, [("flags", 0x2u32.into())]).await;
    let found = find(&a, TO, UCAST | MCAST).await;
    let seen: Vec<_> = found
        .per_view
        .iter()
        .map(|v| (v.view, v.routes, v.best, v.owner, v.flags, v.held))
        .collect();
    let blackhole = (0, 2, of_a, a.id, NATURAL_NET | DONT_FORWARD, 0);
    assert_eq!(seen, [blackhole, (1, 1, of_b, b.id, NATURAL_NET, 0)]);
    offer(&a, "10.1.0.0/16", []).await;
    assert_eq!(find(&a, "10.1.0.0/16", UCAST).await.per_view[0].flags, 0, "a class A net has 8");
}

/// BEST-09
#[tokio::test]
async fn flags_do_not_select() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (of_b, _) = offer(&b, TO, []).await;
    for flags in (0..16).map(|bit| 1u32 << bit).chain([0xFFFF]) {
        let (of_a, _) = offer(&a, TO, [("flags", flags.into())]).await;
        assert_eq!(best(&a, TO, UCAST).await, of_a, "{flags:#x} in the preferred route");
        offer(&a, TO, [("preference", 121u32.into())]).await;
        offer(&b, TO, [("flags", flags.into())]).await;
        assert_eq!(best(&a, TO, UCAST).await, of_b, "{flags:#x} in the other");
        offer(&b, TO, []).await;
    }
}

/// BEST-10, BEST-11, BEST-13
#[tokio::test]
async fn the_best_can_be_asked_of_one_protocol_without_changing_what_is_found() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (of_a, _) = offer(&a, TO, []).await;
    let (of_b, _) = offer(&b, TO, []).await;
    let worse = hop(&b, "127.0.0.9").await;
    offer(&b, TO, [("metric", 9u32.into()), ("neighbour", worse.into())]).await;
    let record = async |protocol| {
        let found = a.table.get_exact_match_destination(TO, protocol, UCAST).await.unwrap();
        let view = &found.per_view[0];
        (view.best, view.owner, view.routes)
    };
    assert_eq!(record(0).await, (of_a, a.id, 3), "of all");
    assert_eq!(record(STATIC).await, (of_a, a.id, 3));
    assert_eq!(record(RIP).await, (of_b, b.id, 3), "the better of its two");
    assert_eq!(record(OSPF).await, (0, 0, 3), "nothing, and yet the destination is found");
    let found = a.table.get_exact_match_destination(TO, OSPF, UCAST).await.unwrap();
    assert_eq!((found.prefix.as_str(), found.per_view[0].flags), (TO, 0));
}

/// BEST-12
#[tokio::test]
async fn this_protocol_is_the_callers_whatever_its_protocol_instance() {
    const THIS_PROTOCOL: u32 = u32::MAX;
    let (bus, _service) = serve();
    let other = Client::register(&bus, Family::Ipv4, STATIC).await;
    let caller = Client::register(&bus, Family::Ipv4, OSPF).await;
    let beside = register_beside(&bus, OSPF, 1).await;
    let (of_other, _) = offer(&other, TO, []).await;
    let (of_beside, _) = offer(&beside, TO, []).await;
    let own = async |client: &Client| {
        let found = client.table.get_most_specific_destination(TO, THIS_PROTOCOL, UCAST).await;
        found.map(|found| found.per_view[0].best)
    };
    assert_eq!(own(&caller).await.unwrap(), of_beside);
    assert_eq!(own(&other).await.unwrap(), of_other);
    let (of_caller, _) = offer(&caller, TO, [("preference", 109u32.into())]).await;
    assert_eq!(own(&caller).await.unwrap(), of_beside, "109 was not granted, so they are equal");
    beside.entity.delete_route(of_beside).await.unwrap();
    assert_eq!(own(&caller).await.unwrap(), of_caller);
}

/// BEST-14
#[tokio::test]
async fn routes_get_the_level_of_their_protocol() {
    let defaults: &[(u32, u32)] = &[(2, 1), (10006, 3), (10007, 5), (10002, 7), (3, 10), (14, 15)];
    let configured = "[preferences]\nrip = 90\nbgp = 30\n7777 = 42\nothers = 200\n";
    for (section, expected) in [
        ("", [defaults, &[(8, 120), (7777, 150)]].concat()),
        (configured, vec![(10006, 3), (8, 90), (14, 30), (7777, 42), (8888, 200)]),
    ] {
        let (bus, _service) = serve_with(&format!("{section}{NO_FIB}"));
        let connection = bus.connect().await;
        let manager = rtmd::client::manager(&connection).await.unwrap();
        for (protocol, level) in expected {
            let none = details([]);
            let registered = manager.register_entity(0, "ipv4", protocol, 0, &none).await;
            let (path, profile) = registered.unwrap();
            let entity = EntityProxy::builder(&connection).path(path).build().await.unwrap();
            let added = entity.add_route(TO, &route(GATEWAY, []), 0).await.unwrap();
            let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
            let found = table.get_route_info(added.0).await.unwrap();
            assert_eq!((found.preference, profile.preference), (level, level), "{protocol}");
        }
    }
}

/// BEST-14
#[tokio::test]
async fn ibgp_takes_its_200_where_ebgp_has_15() {
    let (bus, _service) = serve();
    let bgp = Client::register(&bus, Family::Ipv4, BGP).await;
    for (wanted, granted) in [(0, 15), (200, 200)] {
        let (id, _) = offer(&bgp, TO, rank((wanted, 0))).await;
        assert_eq!(bgp.table.get_route_info(id).await.unwrap().preference, granted);
    }
}

/// BEST-15
#[tokio::test]
async fn static_and_management_routes_carry_their_own_preference() {
    let (bus, _service) = serve();
    for protocol in [10006, 10007, 10002, 3] {
        let client = Client::register(&bus, Family::Ipv4, protocol).await;
        for wanted in [1, 2, 240] {
            let (id, _) = offer(&client, TO, rank((wanted, 0))).await;
            let found = client.table.get_route_info(id).await.unwrap();
            assert_eq!(found.preference, wanted, "{protocol}");
        }
    }
}

/// BEST-16
#[tokio::test]
async fn a_new_level_ranks_what_comes_later_and_what_is_there_when_told_to() {
    let (bus, _service) = serve();
    let rip = Client::register(&bus, Family::Ipv4, RIP).await;
    let ospf = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (of_rip, _) = offer(&rip, TO, []).await;
    let (of_ospf, _) = offer(&ospf, TO, []).await;
    let manager = &rip.manager;
    let shown = async || {
        let levels = manager.get_preferences().await.unwrap();
        levels.into_iter().find(|(protocol, ..)| *protocol == RIP).map(|(.., level)| level)
    };
    let level = async |id| rip.table.get_route_info(id).await.unwrap().preference;
    assert_eq!((shown().await, best(&rip, TO, UCAST).await), (Some(120), of_ospf));

    manager.set_preference(RIP, 50, false).await.unwrap();
    assert_eq!((shown().await, rip.entity.preference().await.unwrap()), (Some(50), 50));
    assert_eq!((level(of_rip).await, best(&rip, TO, UCAST).await), (120, of_ospf), "not told to");
    let (later, _) = offer(&rip, "11.0.0.0/8", []).await;
    assert_eq!(level(later).await, 50, "added later");

    manager.set_preference(RIP, 50, true).await.unwrap();
    assert_eq!((level(of_rip).await, best(&rip, TO, UCAST).await), (50, of_rip), "told to");
    manager.set_preference(RIP, 130, false).await.unwrap();
    offer(&rip, TO, []).await;
    assert_eq!((level(of_rip).await, best(&rip, TO, UCAST).await), (130, of_ospf), "updated later");
}

/// BEST-17
#[tokio::test]
async fn policy_alters_what_a_protocol_asks_for_beyond_its_level() {
    let (bus, _service) = serve();
    for (protocol, level) in [(RIP, 120), (BGP, 15), (OSPF, 110), (7777, 150)] {
        let client = Client::register(&bus, Family::Ipv4, protocol).await;
        for (wanted, granted) in [(1, level), (level - 1, level), (level + 1, level + 1)] {
            let (id, _) = offer(&client, TO, rank((wanted, 0))).await;
            let found = client.table.get_route_info(id).await.unwrap();
            assert_eq!(found.preference, granted, "{protocol} asked for {wanted}");
        }
    }
}

/// BEST-17
#[tokio::test]
async fn policy_refuses_what_is_not_configured_before_anything_is_inserted() {
    let config = |limits: &str| {
        format!("[[instance]]\nid = 0\nfib = false\nviews = [0]\n[limits]\n{limits}")
    };
    let (bus, _service) = serve_with(&config("max-next-hops = 1\nprivate-bytes = 4\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let two = vec![(GATEWAY.to_owned(), 0u32), ("127.0.0.3".to_owned(), 0u32)];
    let multipath = details([("via", two.into())]);
    let multicast = route(GATEWAY, [("views", MCAST.into())]);
    let wordy = route(GATEWAY, [("private", vec![0u8; 5].into())]);
    for (offered, name) in [
        (&multipath, "InvalidParameter"),
        (&multicast, "NotSupported"),
        (&wordy, "InvalidParameter"),
    ] {
        assert_eq!(error(client.entity.add_route(TO, offered, 0).await), name);
    }
    assert_eq!(client.table.routes().await.unwrap(), 0);
    assert_eq!(client.table.next_hops().await.unwrap(), 0);

    std::fs::write(bus.path("first.toml"), config("max-next-hops = 2\nprivate-bytes = 5\n"))
        .unwrap();
    client.manager.reload().await.unwrap();
    for allowed in [multipath, wordy] {
        client.entity.add_route(TO, &allowed, 0).await.expect("the policy allows it now");
    }
}
