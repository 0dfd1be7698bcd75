//! Messages as long as a bus takes: none of them ends the service, and none of its answers is longer
//! than what the bus would disconnect it for.

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use rtmd::{
    bus::wire::{Details, RouteItem},
    client::{EntityProxy, NotificationProxy},
    model::Family,
};
use support::{Client, NO_FIB, PrivateBus, details, own_state, refusal};
use zbus::{
    Connection, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant, wire::ObjectPath,
};

/// The longest message that dbus-daemon takes (`max_message_size`); it disconnects who sends more.
const LONGEST: usize = 32 << 20;
/// How long the answer to such a message may take, in a debug build with other tests beside it.
const PATIENCE: Duration = Duration::from_secs(60);
const STATIC: u32 = 10006;

/// The bus disconnects who sends too long a message, and with the worst of calls that would be us.
#[tokio::test]
async fn no_bulk_call_makes_the_reply_too_long_for_the_bus() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let route = support::route("127.0.0.2", []);
    let wordy = "\u{10FFFD}".repeat(64);
    let (most, more) = (vec![wordy.as_str(); 32_768], vec![""; 400_000]);

    let (ids, errors) = client.entity.add_prefixes(&most, &route, 0).await.unwrap();
    assert_eq!((ids.len(), errors.len()), (most.len(), most.len()));
    assert!(errors[0].text.contains("is not a prefix"), "the first ones are told in full");
    let bytes: usize = errors.iter().map(|error| 16 + error.name.len() + error.text.len()).sum();
    assert!(bytes < 4 << 20, "{bytes} bytes");

    let too_many = refusal(client.entity.add_prefixes(&more, &route, 0).await);
    let text = "400000 items, a call has 32768 at most".to_owned();
    assert_eq!(too_many, ("NoSystemResources".to_owned(), text));
    let too_many = client.entity.delete_routes(&vec![0; 4_000_000]).await;
    assert_eq!(refusal(too_many).0, "NoSystemResources");
    client.add("10.0.0.0/8", "127.0.0.2").await.expect("the service is still there");
}

#[tokio::test]
async fn explaining_a_destination_with_thousands_of_next_hops_tells_the_first_ones() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut next_hops = Vec::new();
    for n in 1..=64 {
        let address = format!("203.0.113.{n}");
        let added = client.entity.add_next_hop(&address, 0, &details([])).await;
        next_hops.push(added.unwrap().0);
    }
    let route = RouteItem {
        destination: "10.0.0.0/8".to_owned(),
        neighbour: 0,
        preference: 0,
        metric: 0,
        flags: 0,
        views: 1,
        ttl: u32::MAX,
        next_hops,
    };
    let (_, refused) = client.entity.add_routes(&vec![route; 1024], 2).await.unwrap();
    assert_eq!(refused, []);
    let proxy = client.table.inner();
    let answer = proxy.call_method("Explain", &("10.0.0.0/8",)).await.unwrap();
    assert!(answer.data().len() < 1 << 20, "{} bytes", answer.data().len());
    let answer: (String, Vec<Details>, Details) = answer.body().deserialize().unwrap();
    let untold = |of: &Details| of.get("next-hops-untold").map_or(0, |n| u64::try_from(n).unwrap());
    let told = answer.1.len() as u64 * 64 - answer.1.iter().map(untold).sum::<u64>();
    assert_eq!((answer.1.len(), told), (1024, 1024));
    let reason: &str = answer.1[0]["reason"].downcast_ref().unwrap();
    assert!(reason.contains("next hop 203.0.113.4 on interface 0: "), "{reason}");
    assert!(reason.ends_with("; and so on with 60 more"), "{reason}");
}

/// Who introspects is told of the objects below, and with everything open that clients may open there
/// are thousands.
#[tokio::test]
async fn introspection_stays_below_a_megabyte_with_every_object_there_can_be() {
    let bus = PrivateBus::start();
    // All of them are one user's here.
    let limits = "[limits]\nentities-per-user = 4096\nenumerations-per-user = 1024\n\
                  notifications-per-user = 1024\nroute-lists-per-user = 512\n";
    let _service = bus.serve(&format!("{NO_FIB}{limits}"));
    let first = bus.connect().await;
    let manager = rtmd::client::manager(&first).await.unwrap();
    let shared = details([("shared", true.into())]);
    let (shared, _) = manager.register_entity(0, "ipv4", STATIC, 0, &shared).await.unwrap();
    let mut connections = Vec::new();
    for n in 0.. {
        let connection = bus.connect().await;
        let opened = open_all(&connection, &shared, n).await;
        connections.push(connection);
        if opened == 0 {
            break;
        }
    }
    let introspect = "org.freedesktop.DBus.Introspectable.Introspect";
    let lists = format!("{shared}/list");
    for (path, below) in [
        ("/", 1),
        ("/org", 1),
        ("/org/rtmd1", 4),
        ("/org/rtmd1/table", 1),
        ("/org/rtmd1/entity", 4096),
        ("/org/rtmd1/enumeration", 1024),
        ("/org/rtmd1/notification", 1024),
        (&lists, 512),
        // Itself and below it a node that has them.
        (&shared, 1 + 512),
    ] {
        let xml: String = call(&first, path, introspect).await.body().deserialize().unwrap();
        assert!(xml.len() < 1 << 20, "{path}: {} bytes", xml.len());
        assert_eq!(xml.matches("<node name=").count(), below, "{path}");
    }
    let everything = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
    let bytes = call(&first, "/org/rtmd1", everything).await.data().len();
    assert!(bytes < 4 << 20, "{bytes} bytes");
}

/// Opens whatever the limits let a connection open, and returns how many objects that were.
async fn open_all(connection: &Connection, shared: &ObjectPath<'_>, n: u32) -> u32 {
    let manager = rtmd::client::manager(connection).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv6).await.unwrap();
    let entity = EntityProxy::builder(connection).path(shared).build().await.unwrap();
    let mut opened = 0;
    let none = details([]);
    while table.create_route_enumeration(0, 0, "", 0, &none).await.is_ok() {
        opened += 1;
    }
    while table.register_for_change_notification(0, 1, 0).await.is_ok() {
        opened += 1;
    }
    while entity.create_route_list().await.is_ok() {
        opened += 1;
    }
    while manager.register_entity(0, "ipv4", 1 + n, opened, &none).await.is_ok() {
        opened += 1;
    }
    opened
}

async fn call(connection: &Connection, path: &str, method: &str) -> Message {
    let (interface, method) = method.rsplit_once('.').unwrap();
    let call = connection.call_method(Some("org.rtmd1"), path, Some(interface), method, &());
    call.await.unwrap()
}

/// zbus itself answers a call to an object or for a property that is not there, and repeats its name.
#[tokio::test]
async fn a_call_whose_answer_would_be_longer_than_the_bus_takes_is_refused() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let attacker = bus.connect().await;
    let service = zbus::fdo::DBusProxy::new(&attacker).await.unwrap();
    let service = service.get_name_owner("org.rtmd1".try_into().unwrap()).await.unwrap();
    let call = |path, member| Message::method_call(path, member).destination(&service);
    let to_an_object = |name: &str| {
        let path = format!("/{name}");
        call(path, "a").interface("a.b").build(&()).unwrap()
    };
    let for_a_property = |name: &str| {
        let properties = "org.freedesktop.DBus.Properties";
        let call = call("/org/rtmd1".to_owned(), "Get").interface(properties);
        call.build(&("org.rtmd1.Manager", name)).unwrap()
    };
    for call in [longest(to_an_object), longest(for_a_property)] {
        let answer = ask(&attacker, &call).await;
        let header = answer.header();
        assert_eq!(header.error_name().unwrap().as_str(), "org.rtmd1.Error.NoSystemResources");
        let text: String = answer.body().deserialize().unwrap();
        assert!(text.ends_with(" bytes, the service sends 16777216 at most"), "{text}");
    }
    client.add("10.0.0.0/8", "127.0.0.2").await.expect("the service is still there");
}

/// As long as a bus takes, and a little less: none is too long to be read, and none of these is right.
#[tokio::test]
async fn the_longest_strings_paths_and_arrays_are_refused_and_change_nothing() {
    const ROOM: usize = LONGEST - 4096;
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let changes = client.table.register_for_change_notification(0, 1, 0).await.unwrap();
    let before = own_state(&client.entity, &client.table).await;

    let text = "1".repeat(ROOM);
    let path = OwnedObjectPath::try_from(format!("/{text}")).unwrap();
    let ids = vec![id; ROOM / 8];
    // Four bytes of length, three of text, the zero.
    let texts = vec!["::1"; ROOM / 8];
    let (none, entity) = (details([]), client.entity.inner());
    let (manager, table) = (client.manager.inner(), client.table.inner());
    let changes = NotificationProxy::builder(&client.connection).path(changes).build();
    let changes = changes.await.unwrap();
    let changes = changes.inner();
    let option = |key: &str, value: Variant<'_>| {
        Details::from([(key.to_owned(), OwnedVariant::try_from(value).unwrap())])
    };
    let long_label = option("label", text.as_str().into());
    let long_list = option("list", path.as_ref().into());
    let many_next_hops = option("next-hops", ids.clone().into());
    let refused = [
        refusal(manager.call::<_, _, OwnedObjectPath>("GetTable", &(0u32, &text)).await),
        refusal(table.call::<_, _, ()>("GetRoutes", &(&text,)).await),
        refusal(entity.call::<_, _, ()>("AddRoute", &(&text, &none, 0u32)).await),
        refusal(register(manager, &long_label).await),
        refusal(entity.call::<_, _, ()>("AddRoute", &("10.1.0.0/16", &long_list, 0u32)).await),
        refusal(entity.call::<_, _, ()>("UpdateRoute", &(id, &long_list)).await),
        refusal(entity.call::<_, _, ()>("AddRoute", &("10.1.0.0/16", &many_next_hops, 0u32)).await),
        refusal(entity.call::<_, _, ()>("DeleteRoutes", &(&ids,)).await),
        refusal(entity.call::<_, _, ()>("AddPrefixes", &(&texts, &none, 0u32)).await),
        refusal(changes.call::<_, _, ()>("IgnoreChangedDestinations", &(&texts,)).await),
    ];
    for (place, (name, text)) in refused.iter().enumerate() {
        let known = ["InvalidData", "InvalidHandle", "InvalidParameter", "NoSystemResources"];
        assert!(known.contains(&name.as_str()), "{place}: {name}: {:.200}", text);
        assert!(text.len() < 4096, "{place}: a sentence of {} bytes", text.len());
    }
    assert_eq!(own_state(&client.entity, &client.table).await, before);
    client.add("10.1.0.0/16", "127.0.0.2").await.expect("the service is still there");
}

async fn register(manager: &zbus::Proxy<'_>, options: &Details) -> zbus::Result<()> {
    manager.call("RegisterEntity", &(0u32, "ipv6", STATIC, 0u32, options)).await
}

/// The message that is as long as the bus takes, by the length of a name in it.
fn longest(build: impl Fn(&str) -> Message) -> Message {
    let rest = build("").data().len();
    // Fields of a message begin at multiples of eight bytes.
    let fits = |name: &usize| build(&"a".repeat(*name)).data().len() <= LONGEST;
    let name = (LONGEST - rest - 8..LONGEST - rest + 8).rev().find(fits).unwrap();
    build(&"a".repeat(name))
}

async fn ask(connection: &Connection, call: &Message) -> Message {
    let mut messages = MessageStream::from(connection);
    connection.send(call).await.unwrap();
    let serial = Some(call.primary_header().serial_num());
    let answer = async {
        loop {
            let message = messages.next().await.expect("an answer").unwrap();
            if message.header().reply_serial() == serial {
                break message;
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer")
}
