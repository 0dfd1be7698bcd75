//! What administrators do while the service runs, over a private bus. Needs no rights, but for the
//! test of who may, which is another user for a moment.

mod support;

use std::{fs, os::unix::fs::MetadataExt, process::Command};

use rtmd::{
    bus::wire::Details,
    client::{ManagerProxy, NextHopEnumerationProxy},
    model::Family,
};
use support::{Client, NO_FIB, PrivateBus, details, eventually, found, refusal, route};
use zbus::Variant;

const STATIC: u32 = 10006;
const AUTOSTATIC: u32 = 10002;
const OSPF: u32 = 13;
const BGP: u32 = 14;

async fn manager(bus: &PrivateBus) -> ManagerProxy<'static> {
    rtmd::client::manager(&bus.connect().await).await.unwrap()
}

fn number(details: &Details, key: &str) -> u32 {
    u32::try_from(&details[key]).unwrap_or_else(|_| panic!("{key} of {details:?}"))
}

fn text<'d>(details: &'d Details, key: &str) -> &'d str {
    <&str>::try_from(&details[key]).unwrap_or_else(|_| panic!("{key} of {details:?}"))
}

#[tokio::test]
async fn one_route_is_found_by_criteria() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (first, _) = preferred.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let (second, _) = other.add("10.0.0.0/8", "127.0.0.3").await.unwrap();
    let find = async |matching, criteria: Details, views| {
        other.table.get_exact_match_route("10.0.0.0/8", matching, &criteria, views).await
    };
    assert_eq!(find(0, details([]), 1).await.unwrap().id, first);
    let owner = || details([("owner", Variant::from(other.id))]);
    assert_eq!(find(1, owner(), u32::MAX).await.unwrap().id, second);
    assert_eq!(find(0, owner(), 0).await.unwrap().id, first, "what is not selected does not count");
    let next_hops = other.table.get_route_info(second).await.unwrap().next_hops;
    let full = details([
        ("owner", Variant::from(other.id)),
        ("neighbour", Variant::from(0u64)),
        ("preference", Variant::from(110u32)),
        ("metric", Variant::from(0u32)),
        ("next-hops", Variant::from(next_hops)),
        ("interface", Variant::from(1u32)),
    ]);
    assert_eq!(find(0xFFFF, full, 1).await.unwrap().id, second);
    assert_eq!(refusal(find(1, owner(), 2).await).0, "NotFound");
    assert_eq!(refusal(find(1, details([]), 1).await).0, "InvalidParameter");
    assert_eq!(refusal(find(0x20, details([]), 1).await).0, "InvalidParameter");
    assert_eq!(refusal(find(0, details([]), 4).await).0, "NotSupported");
    let destination = details([("destination", Variant::from("10.0.0.0/8"))]);
    assert_eq!(refusal(find(0, destination, 1).await).0, "InvalidParameter");
}

#[tokio::test]
async fn a_client_walks_over_its_own_next_hops_and_nobody_elses() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    other.add("10.0.0.0/8", "127.0.0.1").await.unwrap();
    for address in ["127.0.0.9", "127.0.0.10", "127.0.1.1"] {
        client.entity.add_next_hop(address, 1, &details([])).await.unwrap();
    }
    let open = async |flags, prefix| {
        let path = client.table.create_next_hop_enumeration(flags, prefix).await?;
        NextHopEnumerationProxy::builder(&client.connection).path(path).build().await
    };
    let all = open(0, "").await.unwrap();
    let (page, done) = all.next(2).await.unwrap();
    let addresses = |page: Vec<rtmd::bus::wire::NextHopInfo>| {
        page.into_iter().map(|hop| hop.address).collect::<Vec<_>>()
    };
    assert_eq!((addresses(page), done), (vec!["127.0.0.9".into(), "127.0.0.10".into()], false));
    let foreign =
        NextHopEnumerationProxy::builder(&other.connection).path(all.inner().path().to_owned());
    let foreign = foreign.build().await.unwrap();
    assert_eq!(refusal(foreign.next(1).await).0, "InvalidHandle");
    let (page, done) = all.next(2).await.unwrap();
    assert_eq!((addresses(page), done), (vec!["127.0.1.1".into()], true));
    assert_eq!(all.next(2).await.unwrap(), (vec![], true));
    all.close().await.unwrap();
    let within = open(2, "127.0.0.0/24").await.unwrap();
    assert_eq!(addresses(within.next(9).await.unwrap().0), ["127.0.0.9", "127.0.0.10"]);
    let from = open(1, "127.0.0.10/32").await.unwrap();
    assert_eq!(addresses(from.next(9).await.unwrap().0), ["127.0.0.10", "127.0.1.1"]);
    assert_eq!(refusal(from.next(1001).await).0, "InvalidParameter");
    assert_eq!(refusal(open(3, "").await).0, "InvalidParameter");
    let stranger = bus.connect().await;
    let stranger = rtmd::client::manager(&stranger).await.unwrap();
    let table = rtmd::client::table(&stranger, 0, Family::Ipv4).await.unwrap();
    let none = table.create_next_hop_enumeration(0, "").await;
    assert_eq!(refusal(none).0, "InvalidParameter");
}

#[tokio::test]
async fn a_choice_is_explained() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let preferred = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    preferred.add("10.0.0.0/8", "203.0.113.1").await.unwrap();
    let (best, _) = other.add("10.0.0.0/8", "127.0.0.3").await.unwrap();
    let (prefix, candidates, fib) = other.table.explain("10.1.2.3").await.unwrap();
    assert_eq!(prefix, "10.0.0.0/8");
    let [first, second] = candidates.as_slice() else { panic!("{candidates:?}") };
    assert_eq!(u64::try_from(&first["id"]).unwrap(), best);
    assert_eq!((number(first, "rank"), number(second, "rank")), (1, 2));
    assert_eq!((text(first, "label"), text(first, "protocol-name")), ("client-13", "ospf"));
    assert_eq!(text(first, "reason"), "best: packets can follow it, and not route 1");
    assert_eq!(
        text(second, "reason"),
        "not viable: next hop 203.0.113.1 on interface 0: no interface that is up has a network \
         with 203.0.113.1, and no route leads there"
    );
    let next_hops: Vec<Details> = first["next-hops"].clone().try_into().unwrap();
    assert_eq!(text(&next_hops[0], "interface-name"), "lo");
    assert_eq!((text(&fib, "state"), text(&fib, "wish")), ("none", ""));
    assert_eq!(text(&fib, "reason"), "the instance is kept out of the kernel");
    let (id, _) = other.add("10.9.0.0/16", "127.0.0.2").await.unwrap();
    let nowhere = details([("next-hops", Vec::<u64>::new().into()), ("ttl", 60_000u32.into())]);
    assert_eq!(other.entity.add_route("10.9.0.0/16", &nowhere, 0).await.unwrap().0, id);
    let (_, candidates, fib) = other.table.explain("10.9.0.0/16").await.unwrap();
    assert!(
        text(&candidates[0], "reason").ends_with("packets cannot follow it: it has no next hops")
    );
    assert!((59_000..=60_000).contains(&number(&candidates[0], "expires-in")), "{candidates:?}");
    assert_eq!(text(&fib, "wish"), "");
    assert_eq!(refusal(other.table.explain("10.0.0.0/9").await).0, "NotFound");
    assert_eq!(refusal(other.table.explain("2001:db8::1").await).0, "InvalidParameter");
    assert_eq!(refusal(other.table.explain("ten").await).0, "InvalidParameter");
}

#[tokio::test]
async fn levels_are_set_reapplied_and_forgotten() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let ospf = Client::register(&bus, Family::Ipv4, OSPF).await;
    let bgp = Client::register(&bus, Family::Ipv4, BGP).await;
    let (slow, _) = ospf.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    bgp.add("10.0.0.0/8", "127.0.0.3").await.unwrap();
    // More than fit into one slice.
    let many: Vec<String> = (0..700).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    let prefixes: Vec<&str> = many.iter().map(String::as_str).collect();
    let (ids, _) = ospf.entity.add_prefixes(&prefixes, &route("127.0.0.2", []), 0).await.unwrap();

    let preference = async |id| ospf.table.get_route_info(id).await.unwrap().preference;
    ospf.manager.set_preference(OSPF, 4, false).await.unwrap();
    assert_eq!((preference(slow).await, ospf.table.is_best_route(slow).await.unwrap()), (110, 0));
    ospf.manager.set_preference(OSPF, 4, true).await.unwrap();
    assert_eq!((preference(slow).await, ospf.table.is_best_route(slow).await.unwrap()), (4, 1));
    for id in [ids[0], ids[511], ids[512], ids[699]] {
        assert_eq!(preference(id).await, 4);
    }
    let levels = async || ospf.manager.get_preferences().await.unwrap();
    assert!(levels().await.contains(&(OSPF, "ospf".to_owned(), 4)));
    ospf.manager.set_preference(OSPF, 0, true).await.unwrap();
    assert_eq!(preference(slow).await, 150, "the level for all others");
    assert!(levels().await.iter().all(|(protocol, ..)| *protocol != OSPF));
}

#[tokio::test]
async fn a_reload_brings_levels_and_limits_and_refuses_the_rest_as_a_whole() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let file = bus.path("first.toml");
    let write = |text: &str| fs::write(&file, format!("{NO_FIB}{text}")).unwrap();
    let level = async || {
        let levels = client.manager.get_preferences().await.unwrap();
        levels.into_iter().find(|(protocol, ..)| *protocol == OSPF).unwrap().2
    };
    write("[preferences]\nospf = 7\n[limits]\nmax-handles = 9\n");
    let object = zbus::fdo::PropertiesProxy::new(&client.connection, "org.rtmd1", "/org/rtmd1");
    let mut changes = object.await.unwrap().receive_properties_changed().await.unwrap();
    client.manager.reload().await.unwrap();
    let told = futures_util::StreamExt::next(&mut changes);
    let change = tokio::time::timeout(std::time::Duration::from_secs(10), told).await;
    let change = change.expect("everyone is told").unwrap();
    assert!(change.args().unwrap().changed_properties.contains_key("Limits"));
    assert_eq!((level().await, client.manager.limits().await.unwrap()["max-handles"]), (7, 9));

    write("[preferences]\nospf = 8\nnosuch = 9\n");
    let (name, sentence) = refusal(client.manager.reload().await);
    assert_eq!(name, "BadConfiguration");
    let fault = format!("{}:10:1: preferences.\"nosuch\" is no protocol", file.display());
    assert!(sentence.starts_with(&fault), "{sentence}");
    write("[preferences]\nospf = 8\n[limits]\nhandels = 9\n");
    let (_, sentence) = refusal(client.manager.reload().await);
    assert!(sentence.contains(":11:1: ") && sentence.contains("handels"), "{sentence}");
    for changed in ["[fib]\nmetric = 83\n", "[[instance]]\nid = 1\nfib = false\n"] {
        write(&format!("{changed}[preferences]\nospf = 8\n"));
        let (name, sentence) = refusal(client.manager.reload().await);
        assert_eq!(name, "NotSupported");
        assert!(sentence.contains("takes a restart"), "{sentence}");
    }
    assert_eq!(level().await, 7, "what is refused changes nothing");

    write("[preferences]\nospf = 9\n");
    service.signal("HUP");
    eventually("SIGHUP takes effect", async || level().await == 9).await;
    write("nonsense");
    service.signal("HUP");
    eventually("a wrong file is logged", async || service.log().contains("first.toml:")).await;
    assert_eq!(level().await, 9);
}

#[tokio::test]
async fn a_static_route_needs_no_client_and_is_told_apart_by_destination_and_rank() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let mut arrivals = client.table.receive_entity_registered().await.unwrap();
    let (manager, table) = (&client.manager, &client.table);
    let with_metric = |via: &str, metric: u32| route(via, [("metric", Variant::from(metric))]);
    manager.add_static_route(0, "10.0.0.0/8", &route("127.0.0.2", []), false).await.unwrap();
    let arrival = futures_util::StreamExt::next(&mut arrivals).await.unwrap();
    let own = arrival.args().unwrap().entity().clone();
    assert_eq!(
        (own.protocol, own.protocol_instance, own.state.as_str()),
        (STATIC, u32::MAX, "builtin")
    );
    assert_eq!((own.bus_name.as_str(), own.label.as_str()), ("", "static routes"));
    assert_eq!(manager.get_registered_entities(0, "ipv4").await.unwrap()[1], own);
    let entity = rtmd::client::EntityProxy::builder(&client.connection).path(own.path);
    let entity = entity.build().await.unwrap();
    assert_eq!(
        (entity.state().await.unwrap().as_str(), entity.routes().await.unwrap()),
        ("builtin", 1)
    );
    assert_eq!(refusal(entity.deregister(&details([])).await).0, "AccessDenied");
    let taken = manager.register_entity(0, "ipv4", STATIC, u32::MAX, &details([])).await;
    assert_eq!(refusal(taken).0, "AlreadyExists");

    manager.add_static_route(0, "10.0.0.0/8", &with_metric("127.0.0.3", 9), false).await.unwrap();
    manager.add_static_route(0, "10.0.0.0/8", &route("127.0.0.4", []), false).await.unwrap();
    let routes = table.get_routes("10.0.0.0/8").await.unwrap();
    let ranks: Vec<_> = routes.iter().map(|route| (route.preference, route.metric)).collect();
    assert_eq!(ranks, [(3, 0), (3, 9)]);
    let listed = manager.get_static_routes(0, "ipv4").await.unwrap();
    let (prefix, told, persistent) = &listed[0];
    assert_eq!(
        (prefix.as_str(), *persistent, number(told, "protocol")),
        ("10.0.0.0/8", false, STATIC)
    );
    let via: Vec<(String, u32, u32)> = told["via"].clone().try_into().unwrap();
    assert_eq!(via, [("127.0.0.4".to_owned(), 0, 1)]);

    let several = manager.remove_static_route(0, "10.0.0.0/8", &details([])).await;
    assert_eq!(refusal(several).0, "InvalidParameter");
    // What was told says which one is meant.
    manager.remove_static_route(0, "10.0.0.0/8", told).await.unwrap();
    manager.remove_static_route(0, "10.0.0.0/8", &with_metric("127.0.0.3", 9)).await.unwrap();
    assert_eq!(table.routes().await.unwrap(), 0);
    let none = manager.remove_static_route(0, "10.0.0.0/8", &details([])).await;
    assert_eq!(refusal(none).0, "NotFound");

    for (key, value) in [
        ("protocol", Variant::from(BGP)),
        ("views", Variant::from(0u32)),
        ("colour", Variant::from(0u32)),
        ("interfaces", Variant::from(vec!["lo", "lo"])),
        ("interfaces", Variant::from(vec!["no/such"])),
    ] {
        let wrong = route("127.0.0.2", [(key, value)]);
        let refused = manager.add_static_route(0, "10.0.0.0/8", &wrong, false).await;
        assert_eq!(refusal(refused).0, "InvalidParameter", "{key}");
    }
    let nowhere = manager.add_static_route(7, "10.0.0.0/8", &details([]), false).await;
    assert_eq!(refusal(nowhere).0, "FileNotFound");
}

#[tokio::test]
async fn persistent_static_routes_are_there_again_after_a_restart() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let before = manager(&bus).await;
    let on_lo = details([
        ("via", Variant::from(vec![("127.0.0.2".to_owned(), 1u32, 3u32)])),
        ("metric", Variant::from(5u32)),
    ]);
    let missing = route("192.0.2.1", [("interfaces", Variant::from(vec!["nosuch0"]))]);
    before.add_static_route(0, "10.0.0.0/8", &on_lo, true).await.unwrap();
    before.add_static_route(0, "10.1.0.0/16", &missing, true).await.unwrap();
    before.add_static_route(0, "10.2.0.0/16", &on_lo, false).await.unwrap();
    before
        .add_static_route(0, "2001:db8::/32", &details([("flags", Variant::from(2u32))]), true)
        .await
        .unwrap();
    before.add_static_route(0, "10.3.0.0/16", &on_lo, true).await.unwrap();
    before.remove_static_route(0, "10.3.0.0/16", &details([])).await.unwrap();
    let told = before.get_static_routes(0, "ipv4").await.unwrap();
    drop(service);

    let service = bus.serve(NO_FIB);
    let after = manager(&bus).await;
    assert_eq!(
        after.get_static_routes(0, "ipv4").await.unwrap(),
        told,
        "after the service's restart"
    );
    drop(service);

    // And the machine's, which forgets the runtime directory.
    let launch = bus.launch(NO_FIB, "first");
    fs::remove_dir_all(&launch.runtime_directory).unwrap();
    let _service = bus.serve(NO_FIB);
    let after = manager(&bus).await;
    let kept = after.get_static_routes(0, "ipv4").await.unwrap();
    assert_eq!(kept, told[..2], "all of it, but for the one that is not persistent");
    assert_eq!(text(&kept[1].1, "waits"), "there is no interface nosuch0");
    let table = rtmd::client::table(&after, 0, Family::Ipv4).await.unwrap();
    assert_eq!(table.get_routes("10.0.0.0/8").await.unwrap()[0].metric, 5);
    assert_eq!(table.routes().await.unwrap(), 1);
    let entities = after.get_registered_entities(0, "ipv6").await.unwrap();
    assert_eq!(entities.len(), 1, "the service's own has an object from the beginning");
    let tree = String::from_utf8(bus.busctl(&["tree", "--list", "org.rtmd1"]).stdout).unwrap();
    assert!(tree.contains(entities[0].path.as_str()), "{tree}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_changes_nothing() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let manager = manager(&bus).await;
    let via = |address: &str| route(address, []);
    manager.add_static_route(0, "10.0.0.0/8", &via("127.0.0.2"), true).await.unwrap();
    let before = manager.get_static_routes(0, "ipv4").await.unwrap();
    fs::create_dir(bus.path("first.state/static-routes.json.new")).unwrap();
    for refused in [
        manager.add_static_route(0, "10.1.0.0/16", &via("127.0.0.2"), true).await,
        manager.add_static_route(0, "10.0.0.0/8", &via("127.0.0.3"), true).await,
        manager.add_static_route(0, "2001:db8::/32", &details([]), true).await,
        manager.remove_static_route(0, "10.0.0.0/8", &details([])).await,
    ] {
        let (name, sentence) = refusal(refused);
        assert_eq!(name, "NoSystemResources");
        assert!(sentence.contains("static-routes.json"), "{sentence}");
    }
    assert_eq!(manager.get_static_routes(0, "ipv4").await.unwrap(), before);
    assert_eq!(manager.get_registered_entities(0, "ipv6").await.unwrap(), []);
    manager.add_static_route(0, "10.1.0.0/16", &via("127.0.0.2"), false).await.unwrap();
}

/// A pipe that nobody reads stands for a disk that does not answer: opening it takes for ever.
#[tokio::test]
async fn nobody_but_who_changes_static_routes_waits_for_the_disk() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let manager = manager(&bus).await;
    let pipe = bus.path("first.state/static-routes.json.new");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let add = |metric: u32| {
        let (manager, metric) = (manager.clone(), [("metric", Variant::from(metric))]);
        let route = route("127.0.0.2", metric);
        async move { manager.add_static_route(0, "10.0.0.0/8", &route, true).await }
    };
    let first = tokio::spawn(add(1));
    eventually("it is being written", async || {
        client.table.get_routes("10.0.0.0/8").await.unwrap().len() == 1
    })
    .await;
    let second = tokio::spawn(add(2));
    for n in 0..100 {
        client.add(&format!("10.{n}.0.0/16"), "127.0.0.2").await.expect("an answer");
    }
    assert!(!first.is_finished() && !second.is_finished());

    // A pipe is no disk: what was written to it cannot be synchronized.
    let read = tokio::task::spawn_blocking(move || fs::read_to_string(pipe));
    assert_eq!(refusal(first.await.unwrap()).0, "NoSystemResources");
    assert!(read.await.unwrap().unwrap().contains("\"metric\": 1"));
    second.await.unwrap().expect("its turn, with a file of its own");
    let kept = manager.get_static_routes(0, "ipv4").await.unwrap();
    assert_eq!(kept.iter().map(|(_, told, _)| number(told, "metric")).collect::<Vec<_>>(), [2]);
    let file = fs::read_to_string(bus.path("first.state/static-routes.json")).unwrap();
    assert!(file.contains("\"metric\": 2") && !file.contains("\"metric\": 1"), "{file}");
}

#[tokio::test]
async fn a_damaged_file_of_static_routes_is_moved_aside_and_reported() {
    let bus = PrivateBus::start();
    let folder = bus.path("first.state");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("static-routes.json"), "{\"version\": 1, \"rou").unwrap();
    let service = bus.serve(NO_FIB);
    let manager = manager(&bus).await;
    assert_eq!(manager.get_static_routes(0, "ipv4").await.unwrap(), []);
    manager.add_static_route(0, "10.0.0.0/8", &route("127.0.0.2", []), true).await.unwrap();
    let aside = folder.join("static-routes.json.damaged-1");
    assert_eq!(fs::read_to_string(&aside).unwrap(), "{\"version\": 1, \"rou");
    let log = service.log();
    assert!(log.contains(aside.to_str().unwrap()) && log.contains("mend the moved file"), "{log}");
}

#[tokio::test]
async fn a_route_of_any_owner_is_made_static_and_outlives_it() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (id, _) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let manager = manager(&bus).await;
    manager.make_static(0, id, false).await.unwrap();
    assert_eq!(refusal(manager.make_static(0, id + 99, false).await).0, "InvalidHandle");
    client.entity.deregister(&details([])).await.unwrap();
    let routes = client.table.get_routes("10.0.0.0/8").await.unwrap();
    assert_eq!((routes.len(), routes[0].preference), (1, 7));
    let listed = manager.get_static_routes(0, "ipv4").await.unwrap();
    assert_eq!(number(&listed[0].1, "protocol"), AUTOSTATIC);
}

#[tokio::test]
async fn a_table_that_is_configured_out_of_the_kernel_says_that_it_is_not_pushed() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let manager = manager(&bus).await;
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    assert!(!table.pushed().await.unwrap());
    assert_eq!(refusal(manager.set_forwarding(0, "ipv4", true).await).0, "NotSupported");
    assert_eq!(refusal(manager.set_forwarding(3, "ipv4", true).await).0, "FileNotFound");
}

#[tokio::test]
async fn who_may_register_does_not_administer_by_that() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 || !found("setpriv") {
        println!("skip: only root can be another user");
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let levels = manager(&bus).await.get_preferences().await.unwrap();
    let as_nobody = |arguments: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "busctl"])
            .arg(format!("--address={}", bus.address()))
            .args(["call", "org.rtmd1", "/org/rtmd1", "org.rtmd1.Manager"])
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let (administer, manage_static) = ("administer the service", "manage static routes");
    for (call, what) in [
        ("SetPreference uub 13 1 true", administer),
        ("Reload", administer),
        ("SetForwarding usb 0 ipv4 false", administer),
        ("AddStaticRoute usa{sv}b 0 10.0.0.0/8 0 false", manage_static),
        ("RemoveStaticRoute usa{sv} 0 10.0.0.0/8 0", manage_static),
        ("MakeStatic utb 0 1 false", manage_static),
    ] {
        let said = as_nobody(call);
        let why = format!("grant \"2\" does not let anyone {what}");
        assert!(said.contains(&why), "{call}: {said}");
    }
    assert_eq!(as_nobody("GetStaticRoutes us 0 ipv4"), "", "everybody may look");
    let manager = manager(&bus).await;
    assert_eq!(manager.get_preferences().await.unwrap(), levels);
    assert_eq!(manager.get_registered_entities(0, "ipv4").await.unwrap(), []);
}

#[tokio::test]
async fn rtmctl_shows_matching_longer_and_shorter_prefixes_by_view_and_protocol() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let fixed = Client::register(&bus, Family::Ipv4, STATIC).await;
    let ospf = Client::register(&bus, Family::Ipv4, OSPF).await;
    for prefix in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24"] {
        fixed.add(prefix, "127.0.0.2").await.unwrap();
    }
    let multicast = route("127.0.0.3", [("views", Variant::from(2u32))]);
    ospf.entity.add_route("10.1.0.0/16", &multicast, 0).await.unwrap();
    let shown = |arguments: &str| {
        let words: Vec<&str> =
            ["routes", "--json"].into_iter().chain(arguments.split(' ')).collect();
        let output = bus.rtmctl(&words);
        assert!(output.status.success(), "{arguments}: {output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let prefix = |line: &str| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["prefix"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        lines.lines().map(prefix).collect::<Vec<_>>()
    };
    assert_eq!(shown("10.1.0.0/16"), ["10.1.0.0/16", "10.1.0.0/16", "10.1.1.0/24"]);
    assert_eq!(shown("10.1.0.0/16 --exact"), ["10.1.0.0/16", "10.1.0.0/16"]);
    assert_eq!(shown("10.1.0.0/16 --longer"), ["10.1.1.0/24"]);
    assert_eq!(shown("10.1.0.0/16 --shorter"), ["10.0.0.0/8", "0.0.0.0/0"]);
    assert_eq!(shown("10.1.1.0/24 --shorter --view multicast"), ["10.1.0.0/16"]);
    assert_eq!(shown("--view 1"), ["10.1.0.0/16"]);
    assert_eq!(shown("10.0.0.0/8 --protocol ospf"), ["10.1.0.0/16"]);
    assert_eq!(shown("--protocol 10006 --view unicast").len(), 4);
    for wrong in ["--longer", "10.0.0.0/8 --longer --shorter", "--view 32", "--protocol nosuch"] {
        let words: Vec<&str> = std::iter::once("routes").chain(wrong.split(' ')).collect();
        assert_eq!(bus.rtmctl(&words).status.code(), Some(2), "{wrong}");
    }
}
