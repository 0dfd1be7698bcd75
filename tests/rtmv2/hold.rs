//! Hold-down (6.8).

use rtmd::{bus::wire::Details, model::Family};

use crate::core::Core;
use crate::support::{Client, details, eventually, picture};
use crate::{
    ANY_CHANGE, ANY_VIEW, BEST_CHANGE, FORWARDING_CHANGE, MCAST, OSPF, RIP, STATIC, UCAST, changed,
    destinations, error, find, hop, offer, routes, serve, told, watch,
};

const TO: &str = "10.0.0.0/8";
const BOTH: u32 = UCAST | MCAST;
/// Long enough that it does not end while a test looks.
const LONG: u32 = 600_000;
const SHORT: u32 = 30;

/// The best and the held route of each view, unicast first.
async fn records(by: &Client) -> [(u64, u64); 2] {
    let found = find(by, TO, BOTH).await;
    [0, 1].map(|view| (found.per_view[view].best, found.per_view[view].held))
}

/// HOLD-01, HOLD-14
#[tokio::test]
async fn a_mark_changes_nothing_while_there_are_routes_and_anyone_may_set_it() {
    let (bus, _service) = serve();
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (id, _) = offer(&owner, TO, []).await;
    let changes = watch(&owner, 0, ANY_CHANGE).await;
    let before = (picture(&bus).await, find(&owner, TO, BOTH).await);
    other.entity.hold_destination(TO, UCAST, LONG).await.unwrap();
    assert_eq!((picture(&bus).await, find(&owner, TO, BOTH).await), before);
    assert_eq!(told(&changes).await, [""; 0]);
    owner.entity.delete_route(id).await.unwrap();
    assert_eq!(records(&owner).await, [(0, id), (0, 0)], "another's mark counts");
}

/// HOLD-02, HOLD-03, HOLD-04, HOLD-18
#[tokio::test]
async fn with_the_last_route_of_a_marked_view_the_view_holds_it() {
    const DELETING: u32 = 1;
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let both = || [("views", BOTH.into())];
    let (of_a, _) = offer(&a, TO, both()).await;
    let (of_b, _) = offer(&b, TO, both()).await;
    a.entity.hold_destination(TO, UCAST, LONG).await.unwrap();
    a.entity.delete_route(of_a).await.unwrap();
    assert_eq!(records(&a).await, [(of_b, 0), (of_b, 0)], "it was not the last");
    assert_eq!(error(a.table.get_route_info(of_a).await), "InvalidHandle");
    b.entity.delete_route(of_b).await.unwrap();
    assert_eq!(records(&a).await, [(0, of_b), (0, 0)], "multicast is not marked");
    let held = a.table.get_route_info(of_b).await.unwrap();
    assert_eq!((held.state, held.owner, held.destination.as_str()), (DELETING, b.id, TO));
    let left = |more: &Details| u32::try_from(more["held-for"].clone()).unwrap();
    assert!((1..=LONG).contains(&left(&held.more)), "{held:?}");
    let (_, candidates, _) = a.table.explain(TO).await.unwrap();
    let last = candidates.last().unwrap();
    assert!((1..=LONG).contains(&left(last)), "{last:?}");
    assert!(format!("{:?}", last["reason"]).contains("withdrawn, and held"), "{last:?}");
    assert_eq!(error(b.entity.delete_route(of_b).await), "NotFound", "it is withdrawn already");
}

/// HOLD-05, HOLD-06
#[tokio::test]
async fn a_hold_needs_a_time_and_a_destination() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    let hold = async |to, time| client.entity.hold_destination(to, UCAST, time).await;
    assert_eq!(error(hold(TO, 0).await), "InvalidParameter");
    for unknown in ["10.0.0.0/9", "11.0.0.0/8"] {
        assert_eq!(error(hold(unknown, LONG).await), "InvalidHandle", "{unknown}");
    }
    client.entity.delete_route(id).await.unwrap();
    assert_eq!(error(hold(TO, LONG).await), "InvalidHandle", "neither refused mark counted");
}

/// HOLD-07
#[test]
fn a_hold_lasts_as_asked_for_from_the_deletion_on() {
    let mut core = Core::new();
    let id = core.offer(UCAST, u32::MAX);
    core.hold(UCAST, 5000);
    core.pass(60_000_000);
    core.delete(id);
    core.pass(4_999_999);
    assert_eq!(core.held(), [Some(id), None]);
    core.pass(1);
    assert_eq!(core.held(), [None, None]);
}

/// HOLD-08
#[test]
fn all_views_hold_for_the_longest_time_that_any_mark_asks_for() {
    for marks in [[(UCAST, 1000), (MCAST, 3000)], [(MCAST, 3000), (UCAST, 1000)]] {
        let mut core = Core::new();
        let id = core.offer(BOTH, u32::MAX);
        for (views, time) in marks {
            core.hold(views, time);
        }
        core.delete(id);
        core.pass(2_999_999);
        assert_eq!(core.held(), [Some(id), Some(id)]);
        core.pass(1);
        assert_eq!(core.held(), [None, None]);
    }
}

/// HOLD-09, HOLD-10
#[tokio::test]
async fn a_new_route_is_best_at_once_and_the_held_one_stays_until_the_end() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    let (gone, _) = offer(&client, "11.0.0.0/8", []).await;
    client.entity.hold_destination(TO, UCAST, 300).await.unwrap();
    client.entity.hold_destination("11.0.0.0/8", UCAST, SHORT).await.unwrap();
    client.entity.delete_route(id).await.unwrap();
    let (new, change) = offer(&client, TO, []).await;
    assert_eq!(change, crate::NEW | crate::BEST);
    let seen = records(&client).await[0];
    assert!([(new, id), (new, 0)].contains(&seen), "{seen:?}, and 0 only on a slow machine");
    eventually("the hold ends", async || records(&client).await[0] == (new, 0)).await;
    assert_eq!(error(client.table.get_route_info(id).await), "InvalidHandle");

    client.entity.delete_route(gone).await.unwrap();
    eventually("the destination goes", async || client.table.destinations().await.unwrap() == 1)
        .await;
    assert_eq!(destinations(&client, ANY_VIEW).await, [TO]);
    let found = client.table.get_exact_match_destination("11.0.0.0/8", 0, ANY_VIEW).await;
    assert_eq!(error(found), "NotFound");
}

/// HOLD-09, HOLD-15, HOLD-16
#[test]
fn a_hold_uses_up_its_mark_and_keeps_the_first_route() {
    let mut core = Core::new();
    let first = core.offer(UCAST, u32::MAX);
    core.hold(UCAST, 10_000);
    core.delete(first);
    let second = core.offer(UCAST, u32::MAX);
    assert_eq!(core.held(), [Some(first), None], "a new route does not end it");
    core.delete(second);
    assert_eq!(core.held(), [Some(first), None], "while it holds, no other is held");
    core.pass(9_999_999);
    assert_eq!(core.held(), [Some(first), None]);
    let third = core.offer(UCAST, u32::MAX);
    core.pass(1);
    assert_eq!(core.held(), [None, None]);
    core.delete(third);
    assert_eq!(core.held(), [None, None], "the mark is used up");
}

/// HOLD-15
#[test]
fn the_time_of_a_mark_is_used_up_with_it() {
    let mut core = Core::new();
    let first = core.offer(UCAST, u32::MAX);
    core.hold(UCAST, 10_000);
    core.delete(first);
    let second = core.offer(BOTH, u32::MAX);
    core.hold(BOTH, 1000);
    core.delete(second);
    assert_eq!(core.held(), [Some(first), Some(second)]);
    core.pass(9_999_999);
    assert_eq!(core.held(), [Some(first), Some(second)], "the one that runs is not cut short");
    let third = core.offer(UCAST, u32::MAX);
    core.pass(1);
    assert_eq!(core.held(), [None, None]);
    core.delete(third);
    core.pass(999_999);
    assert_eq!(core.held(), [Some(third), None], "marked anew while it held");
    core.pass(1);
    assert_eq!(core.held(), [None, None], "for the time of that mark");
}

/// HOLD-11
#[tokio::test]
async fn the_end_of_a_hold_is_told_as_a_change_that_forwarding_does_not_see() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    client.entity.hold_destination(TO, UCAST, 600).await.unwrap();
    client.entity.delete_route(id).await.unwrap();
    let mut watches = Vec::new();
    for (views, flags) in
        [(UCAST, ANY_CHANGE), (UCAST, BEST_CHANGE), (UCAST, FORWARDING_CHANGE), (MCAST, ANY_CHANGE)]
    {
        watches.push(watch(&client, views, flags).await);
    }
    eventually("the hold ends", async || client.table.destinations().await.unwrap() == 0).await;
    for watch in &watches[..2] {
        let ended = changed(watch).await;
        assert_eq!((ended.len(), ended[0].prefix.as_str()), (1, TO));
        assert_eq!((ended[0].per_view[0].best, ended[0].per_view[0].held), (0, 0));
    }
    assert_eq!(told(&watches[2]).await, [""; 0], "forwarding never used it");
    assert_eq!(told(&watches[3]).await, [""; 0], "multicast held nothing");
}

/// HOLD-12, HOLD-13
#[tokio::test]
async fn what_only_holds_is_seen_in_any_view_or_when_asked_for_by_itself() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    client.entity.hold_destination(TO, UCAST, LONG).await.unwrap();
    client.entity.delete_route(id).await.unwrap();
    let ids = async |views| {
        let found = routes(&client, (views, 0, ""), 0, []).await;
        found.iter().map(|route| route.id).collect::<Vec<_>>()
    };
    assert_eq!(destinations(&client, ANY_VIEW).await, [TO]);
    assert_eq!(ids(ANY_VIEW).await, [id]);
    assert_eq!(destinations(&client, BOTH).await, [""; 0]);
    assert_eq!(ids(BOTH).await, [0; 0]);
    let found = find(&client, TO, UCAST).await;
    let record = &found.per_view[0];
    assert_eq!((record.best, record.routes, record.held), (0, 0, id));
    let covering = client.table.get_most_specific_destination("10.1.0.0/16", 0, UCAST).await;
    assert_eq!(error(covering), "NotFound", "it leads nowhere");
}

/// HOLD-17
#[tokio::test]
async fn a_route_that_leaves_a_view_by_update_is_not_held_there() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, [("views", BOTH.into())]).await;
    client.entity.hold_destination(TO, BOTH, LONG).await.unwrap();
    client.entity.update_route(id, &details([("views", MCAST.into())])).await.unwrap();
    assert_eq!(records(&client).await, [(0, 0), (id, 0)], "updated");
    offer(&client, TO, [("views", UCAST.into())]).await;
    assert_eq!(records(&client).await, [(id, 0), (0, 0)], "offered again");
    client.entity.delete_route(id).await.unwrap();
    assert_eq!(records(&client).await, [(0, id), (0, 0)], "the mark waits for a deletion");
}

/// HOLD-19
#[tokio::test]
async fn a_held_route_survives_its_owner() {
    let (bus, _service) = serve();
    let watcher = Client::register(&bus, Family::Ipv4, STATIC).await;
    for ends_by_call in [true, false] {
        let owner = Client::register(&bus, Family::Ipv4, RIP).await;
        let next_hop = hop(&owner, crate::GATEWAY).await;
        let to = if ends_by_call { "10.0.0.0/8" } else { "11.0.0.0/8" };
        let (id, _) = offer(&owner, to, []).await;
        watcher.entity.hold_destination(to, UCAST, LONG).await.unwrap();
        if ends_by_call {
            owner.entity.deregister(&details([])).await.unwrap();
        } else {
            owner.connection.clone().close().await.unwrap();
        }
        let held = async || find(&watcher, to, ANY_VIEW).await.views == 0;
        eventually("its owner is gone", held).await;
        assert_eq!(find(&watcher, to, UCAST).await.per_view[0].held, id);
        let found = watcher.table.get_route_info(id).await.unwrap();
        assert_eq!((found.state, found.owner, found.next_hops), (1, owner.id, vec![next_hop]));
    }
}
