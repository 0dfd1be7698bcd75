//! Methods that entities export to each other (RTMv2 rows METH-01 to METH-14), with real clients.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rtmd::{
    bus::wire::MethodOutput,
    client::EntityProxy,
    model::{Family, MethodSet, MethodStatus, bgp4, ospf, rip2},
};
use support::{Client, NO_FIB, PrivateBus, details, eventually, refusal};
use zbus::{Connection, Variant, interface, wire::ObjectPath};

const STATIC: u32 = 10006;
const BGP: u32 = 14;
const OSPF: u32 = 13;
const ALL: u32 = MethodSet::ALL.0;
const SECONDS: u32 = 5000;

/// How a callback behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Status 7 and the input behind the method's bit.
    Answers,
    /// So many bytes.
    Says(usize),
    Fails,
    /// Never answers.
    Hangs,
    /// Calls the service before it answers, over the same connection.
    Asks,
}

/// What each call said: caller, method, input.
type Calls = Arc<Mutex<Vec<(u64, u32, Vec<u8>)>>>;

struct Callback {
    manner: Manner,
    calls: Calls,
}

#[interface(name = "org.rtmd1.Callback")]
impl Callback {
    async fn invoke_method(
        &self,
        caller: u64,
        method: u32,
        input: Vec<u8>,
        #[zbus(connection)] connection: &Connection,
    ) -> zbus::fdo::Result<(u32, Vec<u8>)> {
        self.calls.lock().unwrap().push((caller, method, input.clone()));
        match self.manner {
            Manner::Answers => {}
            Manner::Says(bytes) => return Ok((0, vec![0; bytes])),
            Manner::Fails => return Err(zbus::fdo::Error::Failed("no".to_owned())),
            Manner::Hangs => std::future::pending().await,
            Manner::Asks => {
                let manager = rtmd::client::manager(connection).await.unwrap();
                manager.get_preferences().await.unwrap();
            }
        }
        Ok((7, [&method.to_le_bytes()[..], &input].concat()))
    }
}

/// A client that exports methods, three if nothing else is said.
struct Exporter {
    connection: Connection,
    entity: EntityProxy<'static>,
    id: u64,
    calls: Calls,
}

impl Exporter {
    async fn new(bus: &PrivateBus, protocol: u32, manner: Manner) -> Self {
        Self::of(bus, protocol, manner, 3).await.unwrap()
    }

    /// One that exports so many.
    async fn of(
        bus: &PrivateBus,
        protocol: u32,
        manner: Manner,
        methods: u32,
    ) -> zbus::Result<Self> {
        Self::on(bus.connect().await, protocol, manner, methods).await
    }

    async fn on(
        connection: Connection,
        protocol: u32,
        manner: Manner,
        methods: u32,
    ) -> zbus::Result<Self> {
        let calls = Calls::default();
        let callback = Callback { manner, calls: Arc::clone(&calls) };
        assert!(connection.object_server().at("/here", callback).await.unwrap().is_none());
        let manager = rtmd::client::manager(&connection).await.unwrap();
        let path = ObjectPath::try_from("/here").unwrap();
        let options =
            details([("methods", Variant::from(methods)), ("callback", Variant::from(path))]);
        let (path, profile) = manager.register_entity(0, "ipv4", protocol, 0, &options).await?;
        let entity = EntityProxy::builder(&connection).path(path).build().await.unwrap();
        Ok(Self { connection, entity, id: profile.id, calls })
    }

    fn asked(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

fn output(method: u32, status: u32, output: &[u8]) -> MethodOutput {
    MethodOutput { method, status, output: output.to_vec() }
}

#[tokio::test]
async fn each_selected_method_gets_caller_and_input_in_order_and_comes_back_as_a_record() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let target = Exporter::new(&bus, BGP, Manner::Answers).await;
    assert_eq!(target.entity.methods().await.unwrap(), 7);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    assert_eq!(client.entity.methods().await.unwrap(), 0);
    let invoke = async |mask| client.entity.invoke_method(target.id, mask, b"in", SECONDS).await;

    let one = invoke(bgp4::PEER_ID.0).await.unwrap();
    assert_eq!(one, [output(2, 7, b"\x02\0\0\0in")], "METH-03");
    assert_eq!(*target.calls.lock().unwrap(), [(client.id, 2, b"in".to_vec())]);

    let unknown = MethodStatus::NOT_FOUND.0;
    let several = invoke(0x8000_0005).await.unwrap();
    let (first, third) = (output(1, 7, b"\x01\0\0\0in"), output(4, 7, b"\x04\0\0\0in"));
    let expected = [first, third, output(0x8000_0000, unknown, b"")];
    assert_eq!(several, expected, "METH-04, METH-06");

    let all: Vec<u32> = invoke(ALL).await.unwrap().iter().map(|record| record.method).collect();
    assert_eq!(all, [1, 2, 4], "METH-05");
    let own = target.entity.invoke_method(target.id, 1, b"", SECONDS).await.unwrap();
    assert_eq!(own, [output(1, 7, b"\x01\0\0\0")], "an entity may invoke its own");
    let none = target.entity.invoke_method(client.id, 1, b"", SECONDS).await.unwrap();
    assert_eq!(none, [output(1, unknown, b"")], "a client without a callback exports nothing");
}

/// METH-01, METH-02, METH-12, REG-09
#[tokio::test]
async fn up_to_32_methods_are_exported_a_bit_each_the_high_half_for_anyone() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (protocol, count, mask) in [(1, 1, 0x1), (2, 17, 0x1_FFFF), (3, 32, u32::MAX)] {
        let target = Exporter::of(&bus, protocol, Manner::Answers, count).await.unwrap();
        assert_eq!(target.entity.methods().await.unwrap(), mask);
        let reader = EntityProxy::builder(&client.connection);
        let reader = reader.path(target.entity.inner().path().to_owned()).build().await.unwrap();
        assert_eq!(reader.methods().await.unwrap(), mask, "anyone may ask");
        let records = client.entity.invoke_method(target.id, ALL, b"", SECONDS).await.unwrap();
        let bits: Vec<u32> = records.iter().map(|record| record.method).collect();
        assert_eq!(bits, (0..count).map(|bit| 1 << bit).collect::<Vec<u32>>());
        assert!(records.iter().all(|record| record.status == 7), "each was invoked");
    }
    assert_eq!(MethodSet::VENDOR.0, 0xFFFF_0000);
    let too_many = Exporter::of(&bus, BGP, Manner::Answers, 33).await;
    let (name, text) = refusal(too_many.map(|exporter| exporter.id));
    assert_eq!((name.as_str(), text.contains("33 methods")), ("InvalidParameter", true), "{text}");
}

/// METH-13
#[test]
fn the_well_known_methods_have_their_numbers() {
    let of_rip =
        [rip2::NEIGHBOUR_ADDRESS, rip2::OUTBOUND_INTERFACE, rip2::ROUTE_TAG, rip2::ROUTE_TIMESTAMP];
    let of_ospf = [
        ospf::ROUTE_TYPE,
        ospf::ROUTE_METRIC,
        ospf::LSDB_TYPE,
        ospf::ROUTE_TAG,
        ospf::ROUTE_AREA,
        ospf::FORWARDING_ADDRESS,
    ];
    let of_bgp = [bgp4::AS_PATH, bgp4::PEER_ID, bgp4::ORIGIN, bgp4::NEXT_HOP_ATTRIBUTE];
    for known in [&of_rip[..], &of_ospf, &of_bgp] {
        let bits: Vec<u32> = known.iter().map(|method| method.0).collect();
        assert_eq!(bits, (0..known.len()).map(|bit| 1 << bit).collect::<Vec<u32>>());
        assert!(known.iter().all(|method| !MethodSet::VENDOR.contains(*method)));
    }
}

#[tokio::test]
async fn what_cannot_be_invoked_is_refused() {
    let bus = PrivateBus::start();
    let limits = "[limits]\ninvocation-bytes = 10\n";
    let _service = bus.serve(&format!("{NO_FIB}{limits}"));
    let target = Exporter::new(&bus, BGP, Manner::Answers).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let elsewhere = Client::register(&bus, Family::Ipv6, STATIC).await;
    let refused = async |of: &Client, target, mask, input: &[u8], timeout| {
        refusal(of.entity.invoke_method(target, mask, input, timeout).await).0
    };
    assert_eq!(refused(&client, 4711, 1, b"", SECONDS).await, "InvalidHandle");
    assert_eq!(refused(&elsewhere, target.id, 1, b"", SECONDS).await, "InvalidHandle");
    assert_eq!(refused(&client, target.id, 0, b"", SECONDS).await, "InvalidParameter");
    assert_eq!(refused(&client, target.id, 1, b"", 0).await, "InvalidParameter");
    assert_eq!(refused(&client, target.id, 1, &[0; 11], SECONDS).await, "InvalidParameter");
    let path = client.entity.inner().path().clone();
    let stranger = EntityProxy::builder(&elsewhere.connection).path(path).build().await.unwrap();
    let answer = stranger.invoke_method(target.id, 1, b"", SECONDS).await;
    assert_eq!(refusal(answer).0, "AccessDenied");
    assert_eq!(refusal(stranger.block_methods(true).await).0, "AccessDenied", "METH-09");
    target.entity.deregister(&details([])).await.unwrap();
    assert_eq!(refused(&client, target.id, 1, b"", SECONDS).await, "InvalidHandle", "METH-07");
    assert_eq!(target.asked(), 0);
}

#[tokio::test]
async fn a_target_that_fails_or_says_too_much_is_reported_and_never_cut() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\ninvocation-bytes = 100\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (protocol, manner, expected) in [
        (1, Manner::Fails, output(1, MethodStatus::FAILURE.0, b"")),
        (2, Manner::Says(100), output(1, 0, &[0; 100])),
        (3, Manner::Says(101), output(1, MethodStatus::OUTPUT_TOO_LONG.0, b"")),
    ] {
        let target = Exporter::new(&bus, protocol, manner).await;
        let records = client.entity.invoke_method(target.id, 1, b"", SECONDS).await.unwrap();
        assert_eq!(records, [expected], "METH-14");
    }
    let target = Exporter::new(&bus, BGP, Manner::Answers).await;
    let server = target.connection.object_server();
    server.remove::<Callback, _>("/here").await.unwrap();
    let records = client.entity.invoke_method(target.id, 1, b"", SECONDS).await.unwrap();
    assert_eq!(records, [output(1, MethodStatus::NOT_SUPPORTED.0, b"")]);
}

#[tokio::test]
async fn a_blocked_target_is_waited_for_until_it_resumes() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let target = Exporter::new(&bus, BGP, Manner::Answers).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    target.entity.block_methods(true).await.unwrap();
    let late = client.entity.invoke_method(target.id, 1, b"", 50).await;
    let text = format!("entity {} blocked its methods for too long", target.id);
    assert_eq!(refusal(late), ("Timeout".to_owned(), text), "METH-11");
    let own = target.entity.invoke_method(target.id, 1, b"", SECONDS).await;
    assert_eq!(refusal(own).0, "Busy");

    let resume = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(target.asked(), 0);
        // The client waits, and can call anything meanwhile.
        client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
        target.entity.block_methods(false).await.unwrap();
    };
    let waiting = client.entity.invoke_method(target.id, 1, b"", SECONDS);
    let (answer, ()) = tokio::join!(waiting, resume);
    assert_eq!(answer.unwrap().len(), 1, "METH-08");
}

#[tokio::test]
async fn a_target_that_goes_ends_the_wait_for_it() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (protocol, manner, blocks) in
        [(1, Manner::Hangs, false), (2, Manner::Answers, true), (3, Manner::Answers, true)]
    {
        let target = Exporter::new(&bus, protocol, manner).await;
        target.entity.block_methods(blocks).await.unwrap();
        let (id, began) = (target.id, Instant::now());
        let leave = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            match protocol {
                3 => target.entity.deregister(&details([])).await.unwrap(),
                _ => target.connection.clone().close().await.unwrap(),
            }
        };
        let (answer, ()) = tokio::join!(client.entity.invoke_method(id, 1, b"", SECONDS), leave);
        assert_eq!(refusal(answer).0, "InvalidHandle");
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_target_that_never_answers_holds_up_nobody_else() {
    let bus = PrivateBus::start();
    let limits = "[limits]\ninvocations-per-entity = 3\ninvocation-timeout = 300\n";
    let _service = bus.serve(&format!("{NO_FIB}{limits}"));
    let hanging = Exporter::new(&bus, BGP, Manner::Hangs).await;
    let target = Exporter::new(&bus, OSPF, Manner::Answers).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for timeout in [50, 100, u32::MAX] {
        let late = client.entity.invoke_method(hanging.id, 1, b"", timeout).await;
        let text = format!("entity {} did not answer in time", hanging.id);
        assert_eq!(refusal(late), ("Timeout".to_owned(), text), "METH-11");
        let answer = client.entity.invoke_method(target.id, 1, b"", SECONDS).await;
        assert_eq!(answer.unwrap().len(), 1);
    }
    // The bus keeps what was never answered, so there can be no more of it.
    let more = client.entity.invoke_method(hanging.id, 1, b"", 50).await;
    let text = format!(
        "3 invocations of entity {} are under way, the most (limit invocations-per-entity): wait \
         for one",
        hanging.id
    );
    assert_eq!(refusal(more), ("NoSystemResources".to_owned(), text));
    assert_eq!(hanging.asked(), 3);
}

#[tokio::test]
async fn a_user_whose_targets_never_answer_leaves_places_to_those_of_others() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let Some(other) = bus.connect_as(65534).await else { return };
    let target = Exporter::on(other, OSPF, Manner::Answers, 3).await.unwrap();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for hanging in [Exporter::new(&bus, BGP, Manner::Hangs), Exporter::new(&bus, 8, Manner::Hangs)]
    {
        let hanging = hanging.await;
        for _ in 0..32 {
            let late = client.entity.invoke_method(hanging.id, 1, b"", 10).await;
            assert_eq!(refusal(late).0, "Timeout");
        }
        let answer = client.entity.invoke_method(target.id, ALL, b"", SECONDS).await;
        assert_eq!(answer.unwrap().len(), 3);
        // Its questions stay open.
        std::mem::forget(hanging);
    }
}

#[tokio::test]
async fn a_client_has_a_limited_number_of_invocations_under_way() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\ninvocations-per-client = 2\n"));
    let target = Exporter::new(&bus, BGP, Manner::Answers).await;
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    target.entity.block_methods(true).await.unwrap();
    let invoke = async || client.entity.invoke_method(target.id, 1, b"", 200).await;
    let (first, second, third) = tokio::join!(invoke(), invoke(), invoke());
    assert_eq!([refusal(first).0, refusal(second).0], ["Timeout", "Timeout"]);
    let (name, text) = refusal(third);
    assert_eq!(name, "NoSystemResources");
    assert!(text.starts_with("2 invocations of client :"), "{text}");
    assert_eq!(refusal(invoke().await).0, "Timeout", "what ended counts no more");
}

#[tokio::test]
async fn a_target_can_call_the_service_and_its_caller_before_it_answers() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let (one, other) = (
        Exporter::new(&bus, BGP, Manner::Asks).await,
        Exporter::new(&bus, OSPF, Manner::Asks).await,
    );
    let (there, back) = tokio::join!(
        one.entity.invoke_method(other.id, ALL, b"", SECONDS),
        other.entity.invoke_method(one.id, ALL, b"", SECONDS)
    );
    assert_eq!((there.unwrap().len(), back.unwrap().len()), (3, 3));
}

/// What was begun for a client that is gone is not kept.
#[tokio::test]
async fn a_caller_that_goes_leaves_nothing_behind() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\ninvocations-per-entity = 1\n"));
    let target = Exporter::new(&bus, BGP, Manner::Answers).await;
    target.entity.block_methods(true).await.unwrap();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let next = Client::register(&bus, Family::Ipv4, OSPF).await;
    let waiting = tokio::spawn({
        let (entity, id) = (client.entity.clone(), target.id);
        // The question whether it waits takes the only place for a moment.
        async move { while entity.invoke_method(id, 1, b"", SECONDS).await.is_err() {} }
    });
    let refused = async || refusal(next.entity.invoke_method(target.id, 1, b"", 1).await).0;
    eventually("it waits", async || refused().await == "NoSystemResources").await;
    waiting.abort();
    let Client { connection, .. } = client;
    connection.close().await.unwrap();
    eventually("its place is free", async || refused().await == "Timeout").await;
    assert_eq!(target.asked(), 0);
}
