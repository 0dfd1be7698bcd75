//! What goes wrong between many clients and one service, on both kinds of bus: order, crashes in the
//! middle of calls, floods. Each test claims what the clients may rely on all the same.
#![allow(clippy::print_stdout, reason = "the reason of a skip has to be seen")]

mod support;

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use rtmd::{
    bus::wire::{Details, RouteInfo},
    client::{DestinationEnumerationProxy, EntityProxy, NotificationProxy},
    model::Family,
};
use serde::Serialize;
use support::{Client, NO_FIB, PrivateBus, details, eventually, refusal, route};
use zbus::{
    Connection, MatchRule, Message, MessageStream, Variant, interface,
    message::Flags,
    wire::{DynamicType, Fd, ObjectPath},
};

const STATIC: u32 = 10006;
const OSPF: u32 = 13;
/// How long an answer may take in a debug build beside other tests; they come by the hundred.
const SOON: Duration = Duration::from_secs(2);
const MANAGER: (&str, &str) = ("/org/rtmd1", "org.rtmd1.Manager");

/// Sends a call that asks for no answer.
async fn cast(
    connection: &Connection,
    (path, interface): (&str, &str),
    method: &str,
    body: &(impl Serialize + DynamicType),
) {
    let call = Message::method_call(path, method).destination("org.rtmd1").interface(interface);
    let call = call.with_flags(Flags::NO_REPLY_EXPECTED).build(body).unwrap();
    connection.send(&call).await.unwrap();
}

fn metric(metric: u32) -> Details {
    route("127.0.0.2", [("metric", Variant::from(metric))])
}

/// `count` prefixes of length 24, from 10.0.0.0 on.
fn prefixes(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("10.{}.{}.0/24", n >> 8, n & 0xFF)).collect()
}

/// The call that changes many routes gives way between them, and so it could be overtaken.
#[tokio::test]
async fn twenty_thousand_calls_of_one_client_take_effect_in_the_order_sent() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let client = Client::register(&bus, Family::Ipv4, OSPF).await;
        let path = client.entity.inner().path().as_str();
        let entity = (path, "org.rtmd1.Entity");
        let mut many = prefixes(1500);
        many.push("192.0.2.0/24".to_owned());
        for round in 0..200 {
            let first = round * 100;
            cast(&client.connection, entity, "AddPrefixes", &(&many, metric(first), 1u32)).await;
            for n in first + 1..first + 100 {
                let call = ("192.0.2.0/24", metric(n), 1u32);
                cast(&client.connection, entity, "AddRoute", &call).await;
            }
            let routes = client.table.get_routes("192.0.2.0/24").await.unwrap();
            let metrics: Vec<u32> = routes.iter().map(|route| route.metric).collect();
            assert_eq!(metrics, [first + 99], "the last of them came last");
        }
    }
}

#[tokio::test]
async fn no_call_of_a_client_that_is_gone_takes_effect_after_it_was_cleaned_up_after() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        for round in 0..20 {
            let client = Client::register(&bus, Family::Ipv4, OSPF).await;
            let path = client.entity.inner().path().to_string();
            for n in 0..250u32 {
                let entity = (path.as_str(), "org.rtmd1.Entity");
                let call = (format!("10.{round}.{n}.0/24"), metric(n), 1u32);
                cast(&client.connection, entity, "AddRoute", &call).await;
                let none = details([]);
                let call = (0u32, "ipv4", OSPF, n + 1, none);
                cast(&client.connection, MANAGER, "RegisterEntity", &call).await;
            }
            let Client { connection, .. } = client;
            connection.close().await.unwrap();
            eventually("the registrations go", async || {
                let left = bystander.manager.get_registered_entities(0, "ipv4").await.unwrap();
                left.len() == 1
            })
            .await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let left = bystander.manager.get_registered_entities(0, "ipv4").await.unwrap();
            assert_eq!((left.len(), left[0].id), (1, bystander.id));
            assert_eq!(bystander.table.routes().await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn what_a_client_began_to_withdraw_is_withdrawn_though_it_dies_meanwhile() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        let client = Client::register(&bus, Family::Ipv4, OSPF).await;
        add_many(&client, 60_000).await;
        let path = client.entity.inner().path().to_string();
        let entity = (path.as_str(), "org.rtmd1.Entity");
        cast(&client.connection, entity, "Deregister", &details([])).await;
        eventually("the withdrawal begins", async || {
            bystander.manager.get_registered_entities(0, "ipv4").await.unwrap().len() == 1
        })
        .await;
        let under_way = bystander.table.routes().await.unwrap();
        assert!(under_way > 0, "the test came too late");
        let Client { connection, .. } = client;
        connection.close().await.unwrap();
        eventually("all its routes go", async || bystander.table.routes().await.unwrap() == 0)
            .await;
        let next = Client::register(&bus, Family::Ipv4, OSPF).await;
        next.add("10.0.0.0/24", "127.0.0.2").await.unwrap();
    }
}

#[tokio::test]
async fn nobody_waits_for_the_bulk_calls_of_another_client() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        let client = Client::register(&bus, Family::Ipv4, OSPF).await;
        let work = async {
            add_many(&client, 65_000).await;
            client.entity.deregister(&details([])).await.unwrap();
        };
        let (slowest, answers) = answers_during(&bystander, work).await;
        assert!(slowest < SOON, "an answer took {slowest:?}");
        assert!(answers > 50, "only {answers} answers meanwhile");
    }
}

#[tokio::test]
async fn a_client_that_floods_is_refused_and_the_others_are_served() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(&format!("{NO_FIB}[limits]\ncalls-per-client = 32\n"));
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        let client = Client::register(&bus, Family::Ipv4, OSPF).await;
        let (mut done, mut refused) = (0, 0);
        let flood = async {
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..100 {
                let entity: EntityProxy<'static> = client.entity.clone();
                calls.spawn(async move { add(&entity, &prefixes(2000), &metric(1)).await });
            }
            while let Some(answer) = calls.join_next().await {
                match answer.unwrap() {
                    Ok(()) => done += 1,
                    answer => {
                        let text = format!(
                            "32 calls of client {} wait for their answers, the most (limit \
                             calls-per-client): wait for some",
                            client.connection.unique_name().unwrap()
                        );
                        assert_eq!(refusal(answer), ("NoSystemResources".to_owned(), text));
                        refused += 1;
                    }
                }
            }
        };
        let (slowest, answers) = answers_during(&bystander, flood).await;
        assert!(slowest < SOON, "an answer took {slowest:?}");
        assert!(answers > 50, "only {answers} answers meanwhile");
        assert!(done >= 32 && refused > 0, "{done} done, {refused} refused");
        client.add("192.0.2.0/24", "127.0.0.2").await.expect("the flood is over");
    }
}

#[tokio::test]
async fn calls_that_hold_too_much_memory_are_refused() {
    for bus in PrivateBus::of_each_kind() {
        let limits = "call-bytes-per-client = 100000\ncall-bytes-per-user = 150000\n";
        let _service = bus.serve(&format!("{NO_FIB}[limits]\n{limits}"));
        let client = Client::register(&bus, Family::Ipv4, OSPF).await;
        let large = add(&client.entity, &prefixes(8000), &metric(1)).await;
        let (name, text) = refusal(large);
        assert_eq!(name, "NoSystemResources");
        assert!(text.contains("would exceed 100000 (limit call-bytes-per-client)"), "{text}");
        // What was answered does not count any more.
        for _ in 0..4 {
            add(&client.entity, &prefixes(4000), &metric(1)).await.unwrap();
        }
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..8 {
            let other = Client::register(&bus, Family::Ipv4, STATIC + n).await;
            calls.spawn(async move { add(&other.entity, &prefixes(4000), &metric(1)).await });
        }
        let (done, refused): (Vec<_>, Vec<_>) =
            calls.join_all().await.into_iter().partition(Result::is_ok);
        assert!(!done.is_empty() && !refused.is_empty(), "{} of 8 done", done.len());
        for answer in refused {
            let (name, text) = refusal(answer);
            assert_eq!(name, "NoSystemResources");
            assert!(text.contains("would exceed 150000 (limit call-bytes-per-user)"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_call_with_file_descriptors_is_refused() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let connection = bus.connect().await;
        let (input, to) = (std::io::stdin(), Some("org.rtmd1"));
        let body = (0u32, "ipv4", Fd::from(input.as_fd()));
        let call = connection.call_method(to, MANAGER.0, Some(MANAGER.1), "GetTable", &body);
        let text = "a call with file descriptors, and no method takes any".to_owned();
        assert_eq!(refusal(call.await), ("InvalidParameter".to_owned(), text));
    }
}

/// How much a bus keeps for such a client is the bus's affair: dbus-daemon stops reading from the
/// service at 127 MiB, which this stays far below.
#[tokio::test]
async fn a_client_that_never_reads_its_answers_holds_up_nobody_while_the_bus_keeps_them() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        for n in 0..100 {
            let none = details([]);
            bystander.manager.register_entity(0, "ipv6", STATIC, n, &none).await.unwrap();
        }
        let socket = tokio::task::spawn_blocking({
            let path = bus.path("bus");
            move || deaf_client(&path)
        });
        let mut socket = socket.await.unwrap();
        let flood = tokio::task::spawn_blocking(move || {
            for _ in 0..100 {
                let call = Message::method_call("/org/rtmd1", "GetManagedObjects");
                let interface = "org.freedesktop.DBus.ObjectManager";
                let call = call.destination("org.rtmd1").interface(interface).build(&()).unwrap();
                socket.write_all(call.data().bytes()).unwrap();
            }
            // It stays until everything is answered.
            std::thread::sleep(Duration::from_secs(2));
        });
        let (slowest, answers) = answers_during(&bystander, async { flood.await.unwrap() }).await;
        assert!(slowest < SOON, "an answer took {slowest:?}");
        assert!(answers > 50, "only {answers} answers meanwhile");
    }
}

/// A connection to the bus that is only written to.
fn deaf_client(bus: &Path) -> UnixStream {
    let mut socket = UnixStream::connect(bus).unwrap();
    // The D-Bus specification, "Authentication Protocol": who we are the socket tells.
    socket.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n").unwrap();
    let mut answer = [0; 256];
    while !answer.windows(3).any(|words| words == b"OK ") {
        assert!(socket.read(&mut answer).unwrap() > 0);
    }
    socket.write_all(b"BEGIN\r\n").unwrap();
    let hello = Message::method_call("/org/freedesktop/DBus", "Hello");
    let hello = hello.destination("org.freedesktop.DBus").interface("org.freedesktop.DBus");
    socket.write_all(hello.build(&()).unwrap().data().bytes()).unwrap();
    socket
}

/// On a system bus 512: a service with a rule for each client could not have more.
#[tokio::test]
async fn more_clients_than_a_connection_has_match_rules_come_and_are_missed_when_they_go() {
    const RULES: u32 = 16;
    let limit = format!("<limit name=\"max_match_rules_per_connection\">{RULES}</limit>");
    let bus = PrivateBus::daemon("<allow own=\"*\"/>", &limit);
    let _service = bus.serve(NO_FIB);
    let greedy = bus.connect().await;
    let mut rules = Vec::new();
    while let Ok(stream) = listen(&greedy, rules.len()).await {
        rules.push(stream);
        assert!(rules.len() <= RULES as usize, "the bus does not limit them");
    }

    let bystander = Client::register(&bus, Family::Ipv6, STATIC).await;
    let mut clients = Vec::new();
    for n in 0..3 * RULES {
        let client = Client::register(&bus, Family::Ipv4, OSPF + n).await;
        client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
        client.table.register_for_change_notification(0, 1, 0).await.unwrap();
        clients.push(client);
    }
    let registered =
        async || bystander.manager.get_registered_entities(0, "ipv4").await.unwrap().len();
    assert_eq!(registered().await, clients.len());
    for client in clients {
        client.connection.close().await.unwrap();
    }
    eventually("all of them go", async || registered().await == 0).await;
}

/// A match rule of this connection's, of its own for each number.
async fn listen(connection: &Connection, n: usize) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder().interface("org.example.Hazard").member(format!("M{n}"));
    MessageStream::for_match_rule(rule.build()?, connection, None).await
}

#[tokio::test]
async fn both_buses_carry_a_route_from_its_offer_to_its_end() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let client = Client::register(&bus, Family::Ipv4, OSPF).await;
        let reader = Client::register(&bus, Family::Ipv4, STATIC).await;
        let (id, _) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
        let found = reader.table.get_most_specific_destination("10.1.2.3/32", 0, 1).await.unwrap();
        assert_eq!((found.prefix.as_str(), found.per_view[0].best), ("10.0.0.0/8", id));
        let refused = client.entity.delete_route(id + 1000).await;
        assert_eq!(refusal(refused).0, "InvalidHandle");
        let Client { connection, .. } = client;
        connection.close().await.unwrap();
        eventually("it goes with its owner", async || {
            reader.table.get_routes("10.0.0.0/8").await.unwrap().is_empty()
        })
        .await;
    }
}

/// An answer that never comes stays open at the bus, and dbus-daemon lets a connection have 128.
#[tokio::test]
async fn more_questions_without_an_answer_than_a_bus_keeps_open_hold_up_nobody() {
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(&format!("{NO_FIB}[limits]\nexpiry-answer = 300\n"));
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        let answering = callback(&bus.connect().await, 1, Callback::Answers).await;
        let silent = bus.connect().await;
        let brief = details([("ttl", Variant::from(1u32))]);
        let mut prefixes = prefixes(300);
        for n in 0..10 {
            let entity = callback(&silent, 10 + n, Callback::Silent).await;
            let some: Vec<String> = prefixes.drain(..30).collect();
            add(&entity, &some, &brief).await.unwrap();
        }
        let target = answering.id().await.unwrap();
        let work = async {
            eventually("they go unasked", async || bystander.table.routes().await.unwrap() == 0)
                .await;
            // To invoke a method is a question too.
            let invoked = bystander.entity.invoke_method(target, 1, b"", 5000).await.unwrap();
            assert_eq!((invoked.len(), invoked[0].status), (1, 7));
            Client::register(&bus, Family::Ipv6, OSPF).await;
        };
        let (slowest, answers) = answers_during(&bystander, work).await;
        assert!(slowest < SOON, "an answer took {slowest:?}");
        assert!(answers > 20, "only {answers} answers meanwhile");

        silent.close().await.unwrap();
        eventually("whoever answers is asked again", async || {
            add(&answering, &["192.0.2.0/24".to_owned()], &brief).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            !bystander.table.get_routes("192.0.2.0/24").await.unwrap().is_empty()
        })
        .await;
    }
}

#[derive(Clone, Copy)]
enum Callback {
    /// That the route stays; status 7 of a method.
    Answers,
    Silent,
}

#[interface(name = "org.rtmd1.Callback")]
impl Callback {
    async fn route_expired(&self, _route: (RouteInfo,)) -> bool {
        match self {
            Self::Answers => false,
            Self::Silent => std::future::pending().await,
        }
    }

    fn invoke_method(&self, _caller: u64, _method: u32, _input: Vec<u8>) -> (u32, Vec<u8>) {
        (7, Vec::new())
    }
}

/// An entity of this connection with a callback, as this instance of a protocol.
async fn callback(connection: &Connection, n: u32, callback: Callback) -> EntityProxy<'static> {
    let path = format!("/callback/{n}");
    connection.object_server().at(path.as_str(), callback).await.unwrap();
    let manager = rtmd::client::manager(connection).await.unwrap();
    let path = Variant::from(ObjectPath::try_from(path).unwrap());
    let options = details([("callback", path), ("methods", Variant::from(1u32))]);
    let (path, _) = manager.register_entity(0, "ipv4", OSPF, n, &options).await.unwrap();
    EntityProxy::builder(connection).path(path).build().await.unwrap()
}

#[tokio::test]
async fn introspecting_while_objects_come_and_go_holds_up_nobody_and_always_succeeds() {
    const READ: Duration = Duration::from_secs(5);
    for bus in PrivateBus::of_each_kind() {
        let _service = bus.serve(NO_FIB);
        let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
        let mut busy = tokio::task::JoinSet::new();
        for n in 0..4 {
            busy.spawn(come_and_go(bus.connect().await, 100 * n));
        }
        let reader = bus.connect().await;
        let mut read = 0;
        let look = async {
            let begun = Instant::now();
            while begun.elapsed() < READ {
                for path in ["/", "/org/rtmd1", "/org/rtmd1/entity", "/org/rtmd1/entity/1"] {
                    let to = Some("org.rtmd1");
                    let interface = Some("org.freedesktop.DBus.Introspectable");
                    let answer = reader.call_method(to, path, interface, "Introspect", &());
                    let xml: String = answer.await.unwrap().body().deserialize().unwrap();
                    assert!(xml.trim_end().ends_with("</node>"), "{path}: {xml}");
                    read += 1;
                }
                let objects = zbus::fdo::ObjectManagerProxy::new(&reader, "org.rtmd1", MANAGER.0);
                let objects = objects.await.unwrap().get_managed_objects().await.unwrap();
                assert!(objects.contains_key(bystander.entity.inner().path()));
            }
        };
        let (slowest, answers) = answers_during(&bystander, look).await;
        assert!(slowest < SOON, "an answer took {slowest:?}");
        assert!(read > 100 && answers > 100, "{read} descriptions and {answers} answers");
        assert!(busy.try_join_next().is_none(), "they come and go all the time");
        busy.shutdown().await;
    }
}

/// Registers, enumerates, follows, and ends all that, again and again.
async fn come_and_go(connection: Connection, first: u32) {
    let none = details([]);
    for n in 0.. {
        let instance = first + n % 100;
        let manager = rtmd::client::manager(&connection).await.unwrap();
        let registered = manager.register_entity(0, "ipv6", OSPF, instance, &none).await;
        let entity = EntityProxy::builder(&connection).path(registered.unwrap().0);
        let entity = entity.build().await.unwrap();
        let table = rtmd::client::table(&manager, 0, Family::Ipv6).await.unwrap();
        let walk = table.create_destination_enumeration(0, 0, "", 0).await.unwrap();
        let walk = DestinationEnumerationProxy::builder(&connection).path(walk);
        let changes = table.register_for_change_notification(0, 1, 0).await.unwrap();
        let changes = NotificationProxy::builder(&connection).path(changes);
        entity.create_route_list().await.unwrap();
        walk.build().await.unwrap().close().await.unwrap();
        changes.build().await.unwrap().deregister().await.unwrap();
        entity.deregister(&none).await.unwrap();
    }
}

async fn add(entity: &EntityProxy<'_>, prefixes: &[String], route: &Details) -> zbus::Result<()> {
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let (_, errors) = entity.add_prefixes(&prefixes, route, 1).await?;
    assert_eq!(errors, []);
    Ok(())
}

async fn add_many(client: &Client, count: u32) {
    for some in prefixes(count).chunks(20_000) {
        add(&client.entity, some, &metric(1)).await.unwrap();
    }
}

/// Asks again and again while something is done; the longest wait, and how many there were.
async fn answers_during(client: &Client, work: impl Future<Output = ()>) -> (Duration, u32) {
    let (mut slowest, mut answers) = (Duration::ZERO, 0);
    let ask = async {
        loop {
            let asked = Instant::now();
            client.table.get_routes("192.0.2.0/24").await.unwrap();
            slowest = slowest.max(asked.elapsed());
            answers += 1;
        }
    };
    tokio::select! {
        () = ask => {}
        () = work => {}
    }
    (slowest, answers)
}
