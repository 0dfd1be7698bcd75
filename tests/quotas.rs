//! What one client or one user may make the service hold, asked of it over a bus: beyond that calls
//! are refused, nothing is kept, and others are served.

mod support;

use rtmd::{
    client::{self, NotificationProxy, RouteListProxy},
    model::Family,
};
use support::{Client, NO_FIB, PrivateBus, Service, details, refusal};
use zbus::{OwnedObjectPath, wire::ObjectPath};

/// Anyone but root.
const OTHER_USER: u32 = 65534;
const RIP: u32 = 8;
const OSPF: u32 = 13;
const STATIC: u32 = 10006;
const MATCH_NEXT_HOPS: u32 = 8;

fn serve(limits: &str) -> (PrivateBus, Service) {
    let bus = PrivateBus::start();
    let service = bus.serve(&format!("{NO_FIB}[limits]\n{limits}"));
    (bus, service)
}

fn invalid(text: &str) -> (String, String) {
    ("InvalidParameter".to_owned(), text.to_owned())
}

#[tokio::test]
async fn criteria_name_no_more_next_hops_than_a_route_has_and_each_once() {
    let (bus, _service) = serve("max-next-hops = 2\n");
    let Client { entity, table, .. } = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (ids, why) in [
        (vec![1u64, 2, 3], "3 next hops, a route has 2 at most (limit max-next-hops)"),
        (vec![1, 1], "next hop 1 is listed twice"),
    ] {
        let like = details([("next-hops", ids.into())]);
        let created = table.create_route_enumeration(0, 0, "", MATCH_NEXT_HOPS, &like).await;
        assert_eq!(refusal(created), invalid(why));
        let found = table.get_exact_match_route("10.0.0.0/8", MATCH_NEXT_HOPS, &like, 0).await;
        assert_eq!(refusal(found), invalid(why));
        let deleted = entity.delete_matching_routes(MATCH_NEXT_HOPS, &like).await;
        assert_eq!(refusal(deleted), invalid(why));
    }
}

#[tokio::test]
async fn a_callback_has_a_path_of_255_bytes_at_most() {
    let (bus, _service) = serve("");
    let connection = bus.connect().await;
    let manager = client::manager(&connection).await.unwrap();
    let register = async |bytes: usize| {
        let path = ObjectPath::try_from(format!("/{}", "x".repeat(bytes - 1))).unwrap();
        let options = details([("callback", path.into())]);
        manager.register_entity(0, "ipv4", STATIC, 0, &options).await
    };
    for bytes in [256, 30 << 20] {
        let text = format!("a callback's path of {bytes} bytes, it has 255 at most");
        assert_eq!(refusal(register(bytes).await), ("InvalidData".to_owned(), text));
    }
    register(255).await.unwrap();
}

#[tokio::test]
async fn no_call_has_more_items_than_the_bulk_calls() {
    const MOST: usize = 32_768;
    let (bus, _service) = serve("");
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let path = client.entity.create_route_list().await.unwrap();
    let list = RouteListProxy::builder(&client.connection).path(path).build().await.unwrap();
    let path = client.table.register_for_change_notification(0, 1, 0).await.unwrap();
    let notification = NotificationProxy::new(&client.connection, path).await.unwrap();
    let (id, _) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    for (count, is_refused) in [(MOST, false), (MOST + 1, true)] {
        let (routes, prefixes) = (vec![id; count], vec!["10.0.0.0/8"; count]);
        for answer in [
            list.insert(&routes).await,
            client.entity.remove_from_route_lists(&routes).await,
            notification.ignore_changed_destinations(&prefixes).await,
        ] {
            let text = format!("{count} items, a call has {MOST} at most");
            match is_refused {
                true => assert_eq!(refusal(answer), ("NoSystemResources".to_owned(), text)),
                false => answer.unwrap(),
            }
        }
    }
}

#[tokio::test]
async fn a_users_forgotten_shared_registrations_keep_none_of_its_daemons_out() {
    let (bus, _service) = serve("entities-per-client = 2\nentities-per-user = 5\n");
    let connection = bus.connect().await;
    let script = client::manager(&connection).await.unwrap();
    let shared = details([("shared", true.into())]);
    for instance in 0..2 {
        script.register_entity(0, "ipv4", RIP, instance, &shared).await.unwrap();
    }
    let (name, text) = refusal(script.register_entity(0, "ipv4", RIP, 2, &shared).await);
    assert_eq!(name, "NoSystemResources");
    assert!(text.ends_with("(limit entities-per-client): deregister one"), "{text}");
    let daemon = Client::register(&bus, Family::Ipv4, STATIC).await;
    Client::register_on(&daemon.connection, Family::Ipv6, STATIC).await;
    let none = details([]);
    script.register_entity(0, "ipv4", STATIC, 1, &none).await.expect("the fifth of the user");
    let (name, text) = refusal(script.register_entity(0, "ipv4", STATIC, 2, &none).await);
    assert_eq!(name, "NoSystemResources");
    assert!(text.ends_with("(limit entities-per-user): deregister one"), "{text}");
}

#[tokio::test]
async fn one_user_cannot_take_all_private_objects_with_many_connections() {
    let limits = ["enumerations", "notifications", "route-lists"];
    let limits =
        limits.map(|kind| format!("{kind} = 5\n{kind}-per-client = 2\n{kind}-per-user = 3\n"));
    let (bus, _service) = serve(&limits.concat());
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let Some(other) = bus.connect_as(OTHER_USER).await else { return };
    let other = Client::register_on(&other, Family::Ipv4, RIP).await;
    for (kind, limit) in [
        ("enumerations", "enumerations"),
        ("registrations for change notification", "notifications"),
        ("route lists", "route-lists"),
    ] {
        let make = async |by: &Client| match kind {
            "enumerations" => by.table.create_destination_enumeration(0, 0, "", 0).await,
            "route lists" => by.entity.create_route_list().await,
            _ => by.table.register_for_change_notification(0, 1, 0).await,
        };
        let refused = |result| refusal::<OwnedObjectPath>(result);
        let most = |count: u32, whose| {
            let per = format!("{limit}-per-{whose}");
            let text = format!(
                "{count} {kind} are open, the most for one {whose} (limit {per}): end one first"
            );
            ("NoSystemResources".to_owned(), text)
        };
        let beside = Client::register(&bus, Family::Ipv6, OSPF).await;
        for _ in 0..2 {
            make(&owner).await.unwrap();
        }
        assert_eq!(refused(make(&owner).await), most(2, "client"));
        make(&beside).await.unwrap();
        assert_eq!(refused(make(&beside).await), most(3, "user"));
        make(&other).await.unwrap();
        make(&other).await.expect("another user has its own");
        beside.entity.deregister(&details([])).await.unwrap();
    }
}

#[tokio::test]
async fn one_user_cannot_fill_a_table_with_many_connections() {
    let (bus, _service) = serve("routes = 5\nroutes-per-user = 3\n");
    let one = Client::register(&bus, Family::Ipv4, STATIC).await;
    let beside = Client::register(&bus, Family::Ipv4, OSPF).await;
    for (client, prefix) in [(&one, "10.0.0.0/8"), (&one, "11.0.0.0/8"), (&beside, "10.0.0.0/8")] {
        client.add(prefix, "127.0.0.2").await.unwrap();
    }
    let (name, text) = refusal(beside.add("12.0.0.0/8", "127.0.0.2").await);
    assert_eq!(name, "NotEnoughMemory");
    assert!(text.starts_with("3 routes in table 0/ipv4 count for user "), "{text}");
    let Some(other) = bus.connect_as(OTHER_USER).await else { return };
    let other = Client::register_on(&other, Family::Ipv4, RIP).await;
    other.add("12.0.0.0/8", "127.0.0.2").await.expect("others are served");
}

#[tokio::test]
async fn no_destination_is_held_for_ever() {
    let (bus, _service) = serve("hold-time = 60000\n");
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let hold = async |time| client.entity.hold_destination("10.0.0.0/8", 1, time).await;
    for (time, words) in [(u32::MAX, "for ever"), (60_001, "60001 milliseconds")] {
        let why = format!(
            "a hold that lasts {words}, it may be 60000 milliseconds at most (limit hold-time)"
        );
        assert_eq!(refusal(hold(time).await), invalid(&why));
    }
    hold(60_000).await.unwrap();
}

#[tokio::test]
async fn there_are_no_more_static_routes_than_one_reply_tells() {
    let (bus, _service) = serve("static-routes = 2\n");
    let manager = client::manager(&bus.connect().await).await.unwrap();
    let (none, blackhole) = (details([]), details([("flags", 2u32.into())]));
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = owner.add("12.0.0.0/8", "127.0.0.2").await.unwrap();
    for to in ["10.0.0.0/8", "11.0.0.0/8"] {
        manager.add_static_route(0, to, &blackhole, false).await.unwrap();
    }
    let text = "the other static routes of table 0/ipv4 take 2 places of 2, one for each next \
                hop, and this one takes 1 (limit static-routes): remove some";
    let full = || ("NotEnoughMemory".to_owned(), text.to_owned());
    assert_eq!(refusal(manager.add_static_route(0, "12.0.0.0/8", &none, false).await), full());
    assert_eq!(refusal(manager.make_static(0, id, false).await), full());
    assert_eq!(manager.get_static_routes(0, "ipv4").await.unwrap().len(), 2);
    manager.remove_static_route(0, "10.0.0.0/8", &none).await.unwrap();
    manager.make_static(0, id, false).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_user_is_dropped_where_most_of_it_waits() {
    const ORDERED: u32 = 0x0002_0002;
    let limits = "pending-destinations-per-user = 4\nqueued-changes-per-user = 4\n";
    let (bus, _service) = serve(limits);
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let follower = Client::register(&bus, Family::Ipv4, OSPF).await;
    let follow = async |flags| {
        let path = follower.table.register_for_change_notification(1, flags, 0).await.unwrap();
        NotificationProxy::new(&follower.connection, path).await.unwrap()
    };
    let full = [follow(1).await, follow(ORDERED).await];
    owner.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let other = [follow(1).await, follow(ORDERED).await];
    for to in ["11.0.0.0/8", "12.0.0.0/8"] {
        owner.add(to, "127.0.0.2").await.unwrap();
    }
    let (name, text) = refusal(full[0].get_changed_destinations(10).await);
    assert_eq!(name, "NoSystemResources");
    assert!(text.starts_with("3 destinations changed and were not fetched in time"), "{text}");
    let (name, text) = refusal(full[1].get_best_changes(10).await);
    assert_eq!(name, "NoSystemResources");
    assert!(text.starts_with("3 changes were not fetched in time"), "{text}");
    assert_eq!(other[0].get_changed_destinations(10).await.unwrap().0.len(), 2);
    assert_eq!(other[1].get_best_changes(10).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn a_client_marks_so_many_destinations_in_all_its_registrations() {
    let (bus, _service) = serve("marks-per-client = 2\nmarks-per-user = 3\n");
    let mut registrations = Vec::new();
    let (one, other) = (bus.connect().await, bus.connect().await);
    for connection in [&one, &one, &other] {
        let manager = client::manager(connection).await.unwrap();
        let table = client::table(&manager, 0, Family::Ipv4).await.unwrap();
        let path = table.register_for_change_notification(0, 1, 0).await.unwrap();
        registrations.push(NotificationProxy::new(connection, path).await.unwrap());
    }
    let mark = async |which: usize, to| registrations[which].mark_destination(to, true).await;
    let full = |count: u32, whose| {
        let text = format!(
            "{count} destinations are marked, the most for one {whose} (limit \
             marks-per-{whose}): unmark some"
        );
        ("NotEnoughMemory".to_owned(), text)
    };
    mark(0, "10.0.0.0/8").await.unwrap();
    mark(1, "10.0.0.0/8").await.unwrap();
    assert_eq!(refusal(mark(1, "11.0.0.0/8").await), full(2, "client"));
    mark(2, "11.0.0.0/8").await.unwrap();
    assert_eq!(refusal(mark(2, "12.0.0.0/8").await), full(3, "user"));
}
