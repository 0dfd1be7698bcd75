//! Lookups (6.11).

use std::time::{SystemTime, UNIX_EPOCH};

use rtmd::{bus::wire::DestinationInfo, client::DestinationEnumerationProxy, model::Family};

use crate::support::{Client, details};
use crate::{
    ALL_VIEWS, ANY_CHANGE, ANY_VIEW, Key, MCAST, OSPF, STATIC, UCAST, error, find, hop, offer,
    offer_as, serve, told, watch,
};

/// A table with these prefixes in it.
async fn table_of(client: &Client, prefixes: &[&str], gateway: &str) {
    let route = crate::support::route(gateway, []);
    let (_, errors) = client.entity.add_prefixes(prefixes, &route, 0).await.unwrap();
    assert_eq!(errors, []);
}

fn prefix(found: zbus::Result<DestinationInfo>) -> String {
    found.unwrap().prefix
}

/// LKP-01
#[tokio::test]
async fn an_exact_match_is_exact() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    table_of(&client, &["0.0.0.0/0", "10.0.0.0/8"], crate::GATEWAY).await;
    let exact = async |prefix| client.table.get_exact_match_destination(prefix, 0, UCAST).await;
    assert_eq!(prefix(exact("10.0.0.0/8").await), "10.0.0.0/8");
    for other in ["10.0.0.0/9", "10.0.0.0/7", "10.1.2.3/32"] {
        assert_eq!(error(exact(other).await), "NotFound", "{other}");
    }
}

/// LKP-02, LKP-03, LKP-04, LKP-05
#[tokio::test]
async fn the_longest_prefix_that_covers_is_found_and_never_a_longer_one() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let look = async |prefix| client.table.get_most_specific_destination(prefix, 0, UCAST).await;
    assert_eq!(error(look("10.1.2.3/32").await), "NotFound", "nothing is there");
    table_of(&client, &["10.1.2.0/24", "10.0.0.0/8", "172.16.0.0/12"], crate::GATEWAY).await;
    for (asked, answer) in [
        ("10.1.2.0/24", "10.1.2.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/32", "10.1.2.0/24"),
        ("10.1.2.128/25", "10.1.2.0/24"),
        ("10.1.0.0/16", "10.0.0.0/8"),
        ("10.1.3.3/32", "10.0.0.0/8"),
    ] {
        assert_eq!(prefix(look(asked).await), answer, "{asked}");
    }
    for uncovered in ["0.0.0.0/0", "10.0.0.0/7", "192.0.2.1/32"] {
        assert_eq!(error(look(uncovered).await), "NotFound", "{uncovered}");
    }
    table_of(&client, &["0.0.0.0/0"], crate::GATEWAY).await;
    assert_eq!(prefix(look("192.0.2.1/32").await), "0.0.0.0/0");
}

/// LKP-06, LKP-07
#[tokio::test]
async fn less_specific_climbs_to_the_default_route_and_no_further() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let less =
        async |prefix: &str| client.table.get_less_specific_destination(prefix, 0, UCAST).await;
    let all = ["10.1.2.3/32", "10.1.2.0/24", "10.0.0.0/8", "0.0.0.0/0"];
    table_of(&client, &all[..3], crate::GATEWAY).await;
    assert_eq!(error(less("10.0.0.0/8").await), "NotFound", "there is no default route");
    table_of(&client, &all, crate::GATEWAY).await;
    for pair in all.windows(2) {
        assert_eq!(prefix(less(pair[0]).await), pair[1]);
    }
    assert_eq!(error(less("0.0.0.0/0").await), "NotFound");
}

/// LKP-08
#[tokio::test]
async fn the_climb_starts_at_whatever_an_enumeration_told() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    table_of(&client, &["10.0.0.0/8", "10.1.2.0/24"], crate::GATEWAY).await;
    let path = client.table.create_destination_enumeration(UCAST, 0, "", 0).await.unwrap();
    let cursor = DestinationEnumerationProxy::builder(&client.connection).path(path);
    let (page, _) = cursor.build().await.unwrap().next(10).await.unwrap();
    let less = client.table.get_less_specific_destination(&page[1].prefix, 0, UCAST).await;
    assert_eq!((page[1].prefix.as_str(), prefix(less).as_str()), ("10.1.2.0/24", "10.0.0.0/8"));
    let from_nothing = client.table.get_less_specific_destination("10.1.2.3/32", 0, UCAST).await;
    assert_eq!(prefix(from_nothing), "10.1.2.0/24", "nor need it be a destination");
}

/// LKP-08
#[tokio::test]
async fn the_climb_starts_at_a_destination_that_changed() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    table_of(&client, &["10.0.0.0/8", "10.1.0.0/16"], crate::GATEWAY).await;
    let changes = watch(&client, UCAST, ANY_CHANGE).await;
    let (id, _) = offer(&client, "10.1.2.0/24", []).await;
    for _ in 0..2 {
        let changed = told(&changes).await;
        assert_eq!(changed, ["10.1.2.0/24"]);
        let less = client.table.get_less_specific_destination(&changed[0], 0, UCAST).await;
        assert_eq!(prefix(less), "10.1.0.0/16");
        // The second time it is gone.
        let _ = client.entity.delete_route(id).await;
    }
}

/// LKP-09
#[tokio::test]
async fn what_is_no_prefix_cannot_be_looked_up() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let table = &client.table;
    for wrong in ["", "10.0.0.0/33", "10.0.0.1/8", "2001:db8::/32", "ten/8"] {
        let names = [
            error(table.get_exact_match_destination(wrong, 0, UCAST).await),
            error(table.get_most_specific_destination(wrong, 0, UCAST).await),
            error(table.get_less_specific_destination(wrong, 0, UCAST).await),
        ];
        assert_eq!(names, ["InvalidParameter"; 3], "{wrong}");
    }
    // But packets have an address: the longest match is also asked for with one.
    let names = [
        error(table.get_exact_match_destination("10.0.0.0", 0, UCAST).await),
        error(table.get_most_specific_destination("10.0.0.0", 0, UCAST).await),
        error(table.get_less_specific_destination("10.0.0.0", 0, UCAST).await),
    ];
    assert_eq!(names, ["InvalidParameter", "NotFound", "InvalidParameter"]);
}

/// LKP-10
#[tokio::test]
async fn what_has_no_route_in_a_requested_view_is_passed_over() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offer(&client, "10.0.0.0/8", []).await;
    offer(&client, "10.1.0.0/16", [("views", MCAST.into())]).await;
    let table = &client.table;
    for (views, longest) in [
        (UCAST, "10.0.0.0/8"),
        (MCAST, "10.1.0.0/16"),
        (UCAST | MCAST, "10.1.0.0/16"),
        (ALL_VIEWS, "10.1.0.0/16"),
        (ANY_VIEW, "10.1.0.0/16"),
    ] {
        let found = table.get_most_specific_destination("10.1.2.3/32", 0, views).await;
        assert_eq!(prefix(found), longest, "{views:#x}");
    }
    let less = table.get_less_specific_destination("10.1.2.3/32", 0, UCAST).await;
    assert_eq!(prefix(less), "10.0.0.0/8");
    let less = table.get_less_specific_destination("10.1.0.0/16", 0, MCAST).await;
    assert_eq!(error(less), "NotFound");
    let exact = table.get_exact_match_destination("10.1.0.0/16", 0, UCAST).await;
    assert_eq!(error(exact), "NotFound");
}

/// LKP-11, LKP-12
#[tokio::test]
async fn a_destination_tells_when_it_changed_last() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let before = now();
    let (id, _) = offer(&client, "10.0.0.0/8", []).await;
    offer(&client, "11.0.0.0/8", []).await;
    let untouched = find(&client, "11.0.0.0/8", UCAST).await;
    let look = async || find(&client, "10.0.0.0/8", ALL_VIEWS).await;
    let found = look().await;
    assert!((before..=now()).contains(&found.last_changed.into()));
    assert_eq!((found.prefix.as_str(), found.views, found.per_view.len()), ("10.0.0.0/8", 1, 2));
    assert_eq!((found.per_view[0].best, found.per_view[1].best), (id, 0));
    let mut last = found.last_changed;
    let mut changed = async |what| {
        let next = look().await.last_changed;
        assert!(next > last, "{what}");
        last = next;
    };
    let (second, _) = offer(&other, "10.0.0.0/8", []).await;
    changed("a route that is not best came").await;
    offer(&other, "10.0.0.0/8", [("metric", 9u32.into())]).await;
    changed("it was updated").await;
    other.entity.delete_route(second).await.unwrap();
    changed("it went").await;
    offer_as(&client, "10.0.0.0/8", crate::FIRST, [("flags", 0x20u32.into())]).await;
    changed("the best route was updated").await;
    offer(&other, "10.0.0.0/8", []).await;
    changed("another came").await;
    other.entity.deregister(&details([])).await.unwrap();
    changed("it went with its owner").await;
    assert_eq!(look().await.last_changed, look().await.last_changed, "looking changes nothing");
    assert_eq!(find(&client, "11.0.0.0/8", UCAST).await, untouched);
}

/// LKP-13, LKP-14, LKP-15, LKP-16, LKP-17
#[tokio::test]
async fn a_route_to_a_prefix_is_found_by_each_criterion_and_by_all_of_them() {
    const OWNER: u32 = 0x1;
    const NEIGHBOUR: u32 = 0x2;
    const PREFERENCE: u32 = 0x4;
    const NEXT_HOPS: u32 = 0x8;
    const INTERFACE: u32 = 0x10;
    const FULL: u32 = 0xFFFF;
    const LOOPBACK: u32 = 1;
    const TO: &str = "10.0.0.0/8";
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let neighbour = hop(&a, "127.0.0.9").await;
    let hops = [hop(&a, "203.0.113.77").await, hop(&a, "127.0.0.3").await];
    let none = || ("neighbour", 0u64.into());
    let (plain, _) = offer(&a, TO, [none()]).await;
    let by_ids = ("next-hops", hops.to_vec().into());
    let rich = details([by_ids, ("neighbour", neighbour.into()), ("metric", 5u32.into())]);
    let (rich, _) = a.entity.add_route(TO, &rich, 0).await.unwrap();
    let (nowhere, _) = b.add(TO, "203.0.113.77").await.unwrap();
    let (in_mcast, _) = offer(&b, "11.0.0.0/8", [("views", MCAST.into())]).await;
    let look = async |to, matching, criteria: &[Key], views| {
        let criteria = criteria.iter().cloned().map(|key| details([key]));
        let criteria = criteria.flatten().collect();
        a.table.get_exact_match_route(to, matching, &criteria, views).await
    };
    let id = async |matching, criteria: &[Key]| {
        look(TO, matching, criteria, UCAST).await.map(|route| route.id)
    };
    assert_eq!(id(0, &[]).await.unwrap(), plain, "the first one");
    assert_eq!(look("11.0.0.0/8", 0, &[], MCAST).await.unwrap().id, in_mcast);
    assert_eq!(error(look("11.0.0.0/8", 0, &[], UCAST).await), "NotFound", "not in this view");
    assert_eq!(error(look("10.0.0.0/9", 0, &[], UCAST).await), "NotFound", "exactly this prefix");

    let owner = |id: u64| ("owner", id.into());
    assert_eq!(id(OWNER, &[owner(b.id)]).await.unwrap(), nowhere);
    assert_eq!(id(NEIGHBOUR, &[("neighbour", neighbour.into())]).await.unwrap(), rich);
    assert_eq!(id(NEIGHBOUR, &[none()]).await.unwrap(), plain);
    let rank = |p: u32, m: u32| [("preference", p.into()), ("metric", m.into())];
    assert_eq!(id(PREFERENCE, &rank(3, 5)).await.unwrap(), rich);
    assert_eq!(error(id(PREFERENCE, &rank(3, 6)).await), "NotFound");
    let with = |ids: &[u64]| [("next-hops", ids.to_vec().into())];
    assert_eq!(id(NEXT_HOPS, &with(&hops[1..])).await.unwrap(), rich, "it has these and others");
    assert_eq!(id(NEXT_HOPS, &with(&hops)).await.unwrap(), rich);
    assert_eq!(error(id(NEXT_HOPS, &with(&[neighbour])).await), "NotFound");
    let by = |interface: u32| ("interface", interface.into());
    assert_eq!(id(INTERFACE, &[by(LOOPBACK)]).await.unwrap(), plain);
    assert_eq!(error(id(INTERFACE, &[by(4_000_000)]).await), "NotFound");
    let from_neighbour = [by(LOOPBACK), ("neighbour", neighbour.into())];
    let any_next_hop = id(INTERFACE | NEIGHBOUR, &from_neighbour).await;
    assert_eq!(any_next_hop.unwrap(), rich, "its second next hop is there");
    assert_eq!(error(id(OWNER | INTERFACE, &[owner(b.id), by(LOOPBACK)]).await), "NotFound");
    assert_eq!(id(0, &[owner(b.id)]).await.unwrap(), plain, "what is not selected does not count");

    let mut full = vec![owner(a.id), ("neighbour", neighbour.into()), by(LOOPBACK)];
    full.extend(rank(3, 5));
    full.extend(with(&hops));
    let found = look(TO, FULL, &full, UCAST).await.unwrap();
    assert_eq!(found.id, rich);
    assert_eq!((found.destination.as_str(), found.owner, found.neighbour), (TO, a.id, neighbour));
    assert_eq!((found.preference, found.metric, found.next_hops), (3, 5, hops.to_vec()));
    for wrong in 0..full.len() {
        let mut criteria = full.clone();
        criteria[wrong].1 = match criteria[wrong].0 {
            "owner" => b.id.into(),
            "neighbour" => 0u64.into(),
            "next-hops" => vec![neighbour].into(),
            _ => 4_000_000u32.into(),
        };
        let name = full[wrong].0;
        assert_eq!(error(look(TO, FULL, &criteria, UCAST).await), "NotFound", "another {name}");
    }
}

/// LKP-18
#[tokio::test]
async fn all_look_ups_work_for_ipv6() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv6, STATIC).await;
    let all = ["2001:db8:1:2::3/128", "2001:db8:1:2::/64", "2001:db8::/32", "::/0"];
    table_of(&client, &all, "::1").await;
    let table = &client.table;
    for prefix in all {
        assert_eq!(find(&client, prefix, UCAST).await.prefix, prefix);
    }
    for (address, answer) in [("2001:db8:1:2::4", all[1]), ("::1", all[3])] {
        assert_eq!(prefix(table.get_most_specific_destination(address, 0, UCAST).await), answer);
        let less = table.get_less_specific_destination(address, 0, UCAST).await;
        assert_eq!(error(less), "InvalidParameter", "an address is no prefix");
    }
    for pair in all.windows(2) {
        let less = table.get_less_specific_destination(pair[0], 0, UCAST).await;
        assert_eq!(prefix(less), pair[1]);
    }
    for (asked, answer) in
        [("2001:db8:1:2::4/128", all[1]), ("2001:db8:1:3::/64", all[2]), ("fd00::/8", all[3])]
    {
        assert_eq!(prefix(table.get_most_specific_destination(asked, 0, UCAST).await), answer);
    }
    assert_eq!(error(table.get_exact_match_destination("fd00::/8", 0, UCAST).await), "NotFound");
    assert_eq!(error(table.get_less_specific_destination("::/0", 0, UCAST).await), "NotFound");
}
