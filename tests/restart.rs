//! A service that is killed and started again: its clients notice nothing but calls that nobody answers
//! meanwhile.

mod support;

use std::{fs, time::Duration};

use futures_util::StreamExt as _;
use rtmd::{
    client::{
        self, DestinationEnumerationProxy, EntityProxy, NotificationProxy, RouteListProxy,
        TableProxy,
    },
    model::Family,
};
use support::{
    Client, NO_FIB, PrivateBus, Service, details, eventually, own_state, picture, refusal, route,
};
use zbus::{MessageStream, Variant};

const OSPF: u32 = 13;
const BGP: u32 = 14;

fn kill(mut service: Service) {
    service.kill();
}

/// All there is, but for what goes by itself.
async fn all(bus: &PrivateBus) -> Vec<String> {
    let mut lines = picture(bus).await;
    lines.retain(|line| !line.contains("expires-in") && !line.contains("held-for"));
    lines
}

fn paths(bus: &PrivateBus) -> Vec<String> {
    let tree = bus.busctl(&["tree", "--list", "org.rtmd1"]);
    String::from_utf8(tree.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn clients_go_on_where_they_were_with_the_same_objects_ids_and_deadlines() {
    for bus in PrivateBus::of_each_kind() {
        let service = bus.serve(NO_FIB);
        let owner = Client::register(&bus, Family::Ipv4, OSPF).await;
        let other = Client::register(&bus, Family::Ipv6, BGP).await;
        let mut ids = Vec::new();
        for number in 0..100 {
            let prefix = format!("10.{number}.0.0/16");
            ids.push(owner.add(&prefix, "127.0.0.2").await.unwrap().0);
        }
        let lasting = details([
            ("via", Variant::from(vec![("127.0.0.3".to_owned(), 0u32)])),
            ("ttl", Variant::from(60_000u32)),
            ("private", Variant::from(vec![1u8, 2, 3])),
        ]);
        owner.entity.add_route("172.16.0.0/12", &lasting, 0).await.unwrap();
        other.add("2001:db8::/32", "::1").await.unwrap();
        owner.entity.hold_destination("10.0.0.0/16", 1, 3_600_000).await.unwrap();
        owner.entity.delete_route(ids[0]).await.unwrap();
        let list = owner.entity.create_route_list().await.unwrap();
        let list = RouteListProxy::new(&owner.connection, list).await.unwrap();
        list.insert(&ids[1..6]).await.unwrap();
        assert_eq!(list.next(2).await.unwrap().0.len(), 2);
        let walk = owner.table.create_destination_enumeration(0, 0, "", 0).await.unwrap();
        let walk = DestinationEnumerationProxy::new(&owner.connection, walk).await.unwrap();
        let (page, _) = walk.next(40).await.unwrap();
        let (paths_before, before) = (paths(&bus), all(&bus).await);
        let own_before = own_state(&owner.entity, &owner.table).await;
        let epoch = owner.manager.epoch().await.unwrap();

        kill(service);
        let service = bus.serve(NO_FIB);

        assert_eq!(paths(&bus), paths_before);
        assert_eq!(all(&bus).await, before);
        assert_eq!(own_state(&owner.entity, &owner.table).await, own_before);
        assert_eq!(owner.manager.epoch().await.unwrap(), epoch);
        // In the middle of a walk and of a list.
        let (rest, done) = walk.next(1000).await.unwrap();
        assert_eq!((page.len() + rest.len(), done), (101, true));
        let (rest, done) = list.next(10).await.unwrap();
        assert_eq!((rest.len(), done), (3, true));
        // What is new has new ids, and what is known is known by its old ones.
        let (id, _) = owner.add("10.200.0.0/16", "127.0.0.2").await.unwrap();
        assert!(!ids.contains(&id));
        owner.entity.delete_route(ids[1]).await.unwrap();
        assert_eq!(refusal(owner.entity.delete_route(ids[1]).await).0, "NotFound");
        // Who lived through it is still noticed when it goes.
        drop((owner, list, walk));
        eventually("its routes are gone", async || {
            other.manager.get_registered_entities(0, "ipv4").await.unwrap().is_empty()
        })
        .await;
        drop(service);
    }
}

#[tokio::test]
async fn changes_that_wait_are_told_after_the_restart_and_the_last_page_may_not_have_been_heard() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let owner = Client::register(&bus, Family::Ipv4, OSPF).await;
    let follower = bus.connect().await;
    let manager = client::manager(&follower).await.unwrap();
    let table: TableProxy<'_> = client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let path = table.register_for_change_notification(0, 2, 7).await.unwrap();
    let notification = NotificationProxy::new(&follower, path).await.unwrap();
    for number in 0..10 {
        owner.add(&format!("10.{number}.0.0/16"), "127.0.0.2").await.unwrap();
    }
    let (first, done) = notification.get_changed_destinations(4).await.unwrap();
    assert_eq!((first.len(), done), (4, false));

    let mut wake_ups = MessageStream::from(&follower).filter(|message| {
        let is_one = message.as_ref().is_ok_and(|message| {
            message.header().member().is_some_and(|member| *member == "ChangeNotification")
        });
        std::future::ready(is_one)
    });
    kill(service);
    let service = bus.serve(NO_FIB);

    // The wake-up of before may have been lost, so there is another.
    let told = tokio::time::timeout(Duration::from_secs(10), wake_ups.next()).await;
    assert!(told.expect("a wake-up").is_some());
    let (rest, done) = notification.get_changed_destinations(100).await.unwrap();
    assert_eq!((rest.len(), done), (4 + 6, true));
    owner.add("10.3.0.0/16", "127.0.0.3").await.unwrap();
    let (changed, _) = notification.get_changed_destinations(100).await.unwrap();
    assert_eq!(changed.len(), 1);
    drop(service);
}

/// A registration that belongs to the user, and nobody's connection.
async fn offer_as_user(bus: &PrivateBus, to: &str) {
    let connection = bus.connect().await;
    let manager = client::manager(&connection).await.unwrap();
    let options = details([("shared", Variant::from(true))]);
    let (path, _) = manager.register_entity(0, "ipv4", 10006, 5, &options).await.unwrap();
    let entity = EntityProxy::new(&connection, path).await.unwrap();
    entity.add_route(to, &route("127.0.0.2", []), 0).await.unwrap();
}

#[tokio::test]
async fn clients_that_went_while_nobody_served_them_are_cleaned_up_after() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let there = Client::register(&bus, Family::Ipv4, OSPF).await;
    let gone = Client::register(&bus, Family::Ipv4, BGP).await;
    there.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    gone.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    gone.add("10.1.0.0/16", "127.0.0.2").await.unwrap();
    gone.table.register_for_change_notification(0, 1, 0).await.unwrap();
    offer_as_user(&bus, "10.2.0.0/16").await;

    kill(service);
    drop(gone);
    let service = bus.serve(NO_FIB);

    // What belongs to a user needs no connection.
    eventually("only the others are left", async || {
        let left = there.manager.get_registered_entities(0, "ipv4").await.unwrap();
        left.len() == 2
    })
    .await;
    eventually("and their routes", async || there.table.routes().await.unwrap() == 2).await;
    assert!(there.table.get_routes("10.1.0.0/16").await.unwrap().is_empty());
    assert_eq!(there.table.get_routes("10.2.0.0/16").await.unwrap().len(), 1);
    assert!(!paths(&bus).iter().any(|path| path.contains("/notification/")));
    drop(service);
}

/// The names of one bus mean nothing on another, where they are given out from the beginning again.
#[tokio::test]
async fn on_another_bus_no_connection_is_taken_for_one_of_the_old() {
    let old = PrivateBus::start();
    let service = old.serve(NO_FIB);
    let clients = [OSPF, BGP].map(|protocol| Client::register(&old, Family::Ipv4, protocol));
    for client in clients {
        let client = client.await;
        client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
        // It lives on, on its bus.
        std::mem::forget(client);
    }
    kill(service);

    let new = PrivateBus::start();
    let mut launch = new.launch(NO_FIB, "first");
    launch.runtime_directory = old.launch(NO_FIB, "first").runtime_directory;
    let service = launch.start();
    eventually("it is there", async || new.busctl(&["status", "org.rtmd1"]).status.success()).await;
    let client = Client::register(&new, Family::Ipv4, OSPF).await;
    eventually("it is alone", async || {
        client.manager.get_registered_entities(0, "ipv4").await.unwrap().len() == 1
    })
    .await;
    eventually("the old routes are gone", async || client.table.routes().await.unwrap() == 0).await;
    drop(service);
}

/// The bus is started anew, while the service is up or down. With it all connections are gone, and another
/// one gets the name that an owner had.
#[tokio::test]
async fn when_the_bus_is_started_anew_the_service_comes_back_and_what_had_a_connection_has_ended() {
    for is_up in [true, false] {
        println!("the service is up: {is_up}");
        let mut bus = PrivateBus::start();
        let mut service = bus.serve(NO_FIB);
        offer_as_user(&bus, "10.2.0.0/16").await;
        let owner = Client::register(&bus, Family::Ipv4, OSPF).await;
        owner.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
        owner.table.register_for_change_notification(0, 1, 0).await.unwrap();
        let (name, path) = (
            owner.connection.unique_name().unwrap().to_string(),
            owner.entity.inner().path().to_string(),
        );

        if !is_up {
            service.kill();
        }
        bus.stop();
        bus.start_again();
        if is_up {
            // Its service manager starts it again after that (Restart=on-failure).
            assert_eq!(service.end().code(), Some(69), "{}", service.log());
        }
        let mut connections = Vec::new();
        let namesake = loop {
            let connection = bus.connect().await;
            if connection.unique_name().is_some_and(|it| it.as_str() == name) {
                break connection;
            }
            connections.push(connection);
            assert!(connections.len() < 50, "nobody gets the name {name}");
        };
        // Killed before it could clean up, the next one does not take the namesake for the owner.
        kill(bus.serve(NO_FIB));
        let service = bus.serve(NO_FIB);
        let stolen = EntityProxy::new(&namesake, path.clone()).await.unwrap();
        stolen.add_route("10.3.0.0/16", &route("127.0.0.2", []), 0).await.unwrap_err();

        let client = Client::register(&bus, Family::Ipv4, BGP).await;
        eventually("only what belongs to nobody's connection is left", async || {
            let left = client.manager.get_registered_entities(0, "ipv4").await.unwrap();
            left.len() == 2 && client.table.routes().await.unwrap() == 1
        })
        .await;
        assert_eq!(client.table.get_routes("10.2.0.0/16").await.unwrap().len(), 1);
        assert!(!paths(&bus).iter().any(|it| *it == path || it.contains("/notification/")));
        client.add("10.4.0.0/16", "127.0.0.2").await.unwrap();
        assert_eq!(client.table.routes().await.unwrap(), 2);
        drop(service);
    }
}

#[tokio::test]
async fn what_was_lost_shows_in_another_epoch_and_a_clear_line_in_the_log() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let epoch = client.manager.epoch().await.unwrap();
    kill(service);
    let journal = bus.launch(NO_FIB, "first").runtime_directory.join("journal");
    for entry in fs::read_dir(&journal).unwrap() {
        let path = entry.unwrap().path();
        let mut contents = fs::read(&path).unwrap();
        let last = contents.len() - 1;
        contents[last] ^= 1;
        fs::write(path, contents).unwrap();
    }

    let service = bus.serve(NO_FIB);
    assert_ne!(client.manager.epoch().await.unwrap(), epoch);
    assert!(client.manager.get_registered_entities(0, "ipv4").await.unwrap().is_empty());
    let log = service.log();
    assert!(log.contains("damaged at byte") && log.contains("journal.damaged"), "{log}");
    assert!(journal.with_extension("damaged").is_dir());
}

#[tokio::test]
async fn a_configuration_with_other_instances_begins_with_nothing_and_says_so() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let epoch = client.manager.epoch().await.unwrap();
    drop(service);
    let service = bus.serve(&format!("{NO_FIB}\n[[instance]]\nid = 1\nfib = false\n"));
    assert_ne!(client.manager.epoch().await.unwrap(), epoch);
    assert!(service.log().contains("configured otherwise"), "{}", service.log());
    let client = Client::register(&bus, Family::Ipv4, BGP).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    drop(service);
    // Only a level is another one: nothing is lost.
    let config = format!("[preferences]\nospf = 77\n{NO_FIB}\n[[instance]]\nid = 1\nfib = false\n");
    let _service = bus.serve(&config);
    assert_eq!(client.table.routes().await.unwrap(), 1);
    let levels = client.manager.get_preferences().await.unwrap();
    assert!(levels.iter().any(|(protocol, _, level)| (*protocol, *level) == (OSPF, 77)));
}

/// Nobody would know later what it had done, so it does nothing.
#[tokio::test]
async fn on_a_read_only_disk_it_does_not_start_and_says_where_it_cannot_write() {
    let bus = PrivateBus::start();
    let mut launch = bus.launch(NO_FIB, "first");
    let directory = launch.runtime_directory.display().to_string();
    let read_only =
        format!("mkdir -p {directory} && mount -t tmpfs -o ro none {directory} && exec \"$@\"");
    launch.wrapper = vec!["unshare", "--mount", "sh", "-c", read_only.leak(), "sh"];
    let mut service = launch.start();
    let status = service.end();
    let log = service.log();
    if log.contains("unshare:") || log.contains("mount:") {
        println!("skip: {}", log.trim());
        return;
    }
    assert_eq!(status.code(), Some(73), "{log}");
    assert!(log.contains(&directory) && log.contains("Read-only file system"), "{log}");
}

/// What is written down is worth nothing if something is missing, so then there is nothing.
#[tokio::test]
async fn on_a_full_disk_it_goes_on_without_a_journal_and_begins_one_when_there_is_room() {
    let bus = PrivateBus::start();
    let mut launch = bus.launch(NO_FIB, "first");
    let directory = launch.runtime_directory.join("journal");
    let small = format!(
        "mkdir -p {0} && mount -t tmpfs -o size=192k none {0} && exec \"$@\"",
        directory.display()
    );
    launch.wrapper = vec!["unshare", "--mount", "sh", "-c", small.leak(), "sh"];
    let service = launch.start();
    let is_there = async || bus.busctl(&["status", "org.rtmd1"]).status.success();
    eventually("it is there, or must not mount", async || {
        let log = service.log();
        is_there().await || log.contains("unshare:") || log.contains("mount:")
    })
    .await;
    if !is_there().await {
        println!("skip: {}", service.log().trim());
        return;
    }
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let prefixes: Vec<String> =
        (0..6000).map(|n| format!("10.{}.{}.0/24", n >> 8, n & 255)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let (done, errors) =
        client.entity.add_prefixes(&prefixes, &route("127.0.0.2", []), 0).await.unwrap();
    assert_eq!((done.len(), errors), (6000, vec![]));
    assert!(service.log().contains("cannot be written: should the service end now"));
    let seen = format!("/proc/{}/root{}", service.pid(), directory.display());
    let files = || fs::read_dir(&seen).unwrap().count();
    assert_eq!(files(), 0);

    client.entity.deregister(&details([])).await.unwrap();
    let since = std::time::Instant::now();
    while files() < 2 {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", service.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.manager.get_registered_entities(0, "ipv4").await.unwrap();
    }
}
