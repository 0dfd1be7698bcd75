//! The service through the eyes of programs that others wrote: busctl and gdbus. Needs no rights; a
//! program that is missing skips its tests. Programs in Python and shell are in `examples.rs`.

mod support;

use std::process::{Command, Output};

use rtmd::model::Family;
use support::{Client, NO_FIB, PrivateBus, found};

const MANAGER: &str = "/org/rtmd1";
const TABLE: &str = "/org/rtmd1/table/0/ipv4";
const ENTITY: &str = "/org/rtmd1/entity/1";
const OSPF: u32 = 13;

#[test]
fn busctl_registers_offers_looks_up_and_takes_back_one_call_after_another() {
    if !found("busctl") {
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let call = |path: &str, method: &str, words: &[&str]| busctl(&bus, path, method, words);
    let reply = register_shared(&bus);
    assert!(reply.starts_with("oa{sv} \"/org/rtmd1/entity/1\" 9 \"id\" t 1 "), "{reply}");

    let plain = ["sa{sv}u", "198.51.100.0/24", "1", "via", "a(su)", "1", "127.0.0.2", "0", "0"];
    assert_eq!(call(ENTITY, "Entity.AddRoute", &plain), "tu 1 65538");
    assert_eq!(call(ENTITY, "Entity.AddRoute", &plain), "tu 1 65536", "the same again is not new");
    let via = ["2", "via", "a(suu)", "2", "127.0.0.2", "0", "3", "127.0.0.3", "0", "1"];
    let weighted = [&["sa{sv}u", "203.0.113.0/24"], &via[..], &["metric", "u", "10", "0"]].concat();
    assert_eq!(call(ENTITY, "Entity.AddRoute", &weighted), "tu 2 65538");
    let prefixes = [
        "asa{sv}u",
        "2",
        "10.0.0.0/8",
        "nonsense",
        "1",
        "via",
        "a(su)",
        "1",
        "127.0.0.2",
        "0",
        "0",
    ];
    assert_eq!(
        call(ENTITY, "Entity.AddPrefixes", &prefixes),
        "ata(uss) 2 3 0 1 1 \"org.rtmd1.Error.InvalidParameter\" \
         \"\\\"nonsense\\\" is not a prefix like 192.0.2.0/24\""
    );
    let next_hop = call(ENTITY, "Entity.FindNextHop", &["su", "127.0.0.2", "0"]);
    assert!(next_hop.starts_with("(ttsuuua{sv}) 1 1 \"127.0.0.2\" 0 0 0 4 "), "{next_hop}");
    let typed =
        ["a(stuuuuuat)u", "1", "10.9.0.0/16", "0", "0", "7", "0", "1", "4294967295", "1", "1", "0"];
    assert_eq!(call(ENTITY, "Entity.AddRoutes", &typed), "ata(uss) 1 4 0");

    let routes = call(TABLE, "Table.GetRoutes", &["s", "10.9.0.0/16"]);
    assert!(
        routes.starts_with("a(tsttuuuuuata{sv}) 1 4 \"10.9.0.0/16\" 1 0 0 0 3 7 1 1 1 "),
        "{routes}"
    );
    for (method, prefix, found) in [
        ("GetMostSpecificDestination", "10.9.7.1/32", "10.9.0.0/16"),
        ("GetLessSpecificDestination", "10.9.0.0/16", "10.0.0.0/8"),
        ("GetExactMatchDestination", "203.0.113.0/24", "203.0.113.0/24"),
    ] {
        let reply = call(TABLE, &format!("Table.{method}"), &["suu", prefix, "0", "1"]);
        assert!(reply.starts_with(&format!("(stua(uuttut)) \"{found}\" ")), "{reply}");
    }
    // One structure is one value of the reply, not as many as it has fields.
    for (method, arguments, reply) in [
        ("GetRouteInfo", &["t", "4"][..], "(tsttuuuuuata{sv}) 4 \"10.9.0.0/16\" "),
        (
            "GetExactMatchRoute",
            &["sua{sv}u", "10.9.0.0/16", "0", "0", "1"],
            "(tsttuuuuuata{sv}) 4 ",
        ),
        ("GetNextHopInfo", &["t", "1"], "(ttsuuua{sv}) 1 1 \"127.0.0.2\" "),
    ] {
        let told = call(TABLE, &format!("Table.{method}"), arguments);
        assert!(told.starts_with(reply), "{method}: {told}");
    }
    assert_eq!(call(ENTITY, "Entity.DeleteRoute", &["t", "4"]), "u 65536");
    assert_eq!(call(TABLE, "Table.GetRoutes", &["s", "10.9.0.0/16"]), "a(tsttuuuuuata{sv}) 0");
    assert_eq!(call(ENTITY, "Entity.Deregister", &["a{sv}", "0"]), "");
    assert_eq!(property(&bus, TABLE, "Table", &["Routes", "Entities"]), "t 0\nu 0");
}

#[tokio::test]
async fn busctl_cannot_page_for_every_call_is_another_connection() {
    if !found("busctl") {
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let create = ["uusu", "1", "0", "", "0"];
    let created = busctl(&bus, TABLE, "Table.CreateDestinationEnumeration", &create);
    assert_eq!(created, "o \"/org/rtmd1/enumeration/1\"");
    // It went with the connection that made it, or is about to go and is not the next one's.
    let next = "org.rtmd1.DestinationEnumeration.Next";
    assert!(bus.call("/org/rtmd1/enumeration/1", next, "u 10").is_err());

    // While its maker lives, it is there, and still not for others.
    let maker = Client::register(&bus, Family::Ipv4, OSPF).await;
    let path = maker.table.create_destination_enumeration(1, 0, "", 0).await.unwrap();
    let refused = bus.call(path.as_str(), next, "u 10").unwrap_err();
    assert_eq!(refused, "Call failed: there is no such object of yours");
}

#[test]
fn busctl_shows_the_objects_their_members_and_their_properties() {
    if !found("busctl") {
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    register_shared(&bus);
    let tree = words(&bus.busctl(&["tree", "--list", "org.rtmd1"]));
    let paths: Vec<&str> = tree.lines().collect();
    for path in [MANAGER, TABLE, "/org/rtmd1/table/0/ipv6", ENTITY] {
        assert!(paths.contains(&path), "{path} is not in {tree}");
    }
    let members = words(&bus.busctl(&["introspect", "org.rtmd1", ENTITY, "org.rtmd1.Entity"]));
    let columns = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let members: Vec<String> = members.lines().map(columns).collect();
    for member in [
        ".AddRoute method sa{sv}u tu -",
        ".AddRoutes method a(stuuuuuat)u ata(uss) -",
        ".Deregister method a{sv} - -",
        ".Label property s \"my-script\" emits-change",
        ".Routes property t 0 -",
    ] {
        assert!(members.iter().any(|line| line == member), "{member} is not in {members:#?}");
    }
    assert_eq!(
        property(&bus, MANAGER, "Manager", &["FibState", "Version", "Instances"]),
        format!("s \"synced\"\ns \"{}\"\nau 1 0", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn gdbus_calls_and_introspects() {
    if !found("gdbus") {
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let arguments = ["0", "ipv4", "10006", "0", "{'label': <'gdbus'>, 'shared': <true>}"];
    let reply = words(&gdbus(&bus, MANAGER, "Manager.RegisterEntity", &arguments));
    assert!(reply.starts_with("(objectpath '/org/rtmd1/entity/1', {'id': <uint64 1>, "), "{reply}");
    let route = "{'via': <[('127.0.0.2', uint32 0)]>, 'metric': <uint32 10>}";
    let added = gdbus(&bus, ENTITY, "Entity.AddRoute", &["198.51.100.0/24", route, "0"]);
    assert_eq!(words(&added), "(uint64 1, uint32 65538)");
    let routes = words(&gdbus(&bus, TABLE, "Table.GetRoutes", &["198.51.100.0/24"]));
    assert!(routes.contains("'198.51.100.0/24'") && routes.contains("'fib': <'none'>"), "{routes}");
    let introspect = ["introspect", "--address", &bus.address(), "--dest", "org.rtmd1"];
    let shown = Command::new("gdbus").args(introspect).args(["--object-path", ENTITY]).output();
    let shown = words(&shown.unwrap());
    for line in [
        "interface org.rtmd1.Entity {",
        "AddRoute(in  s destination,",
        "readonly s Label = 'gdbus';",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}

#[tokio::test]
async fn gdbus_sees_refusals_by_their_names() {
    if !found("gdbus") {
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let _owner = Client::register(&bus, Family::Ipv4, OSPF).await;
    for (path, method, arguments, name) in [
        (TABLE, "Table.GetExactMatchDestination", &["10.0.0.0/8", "0", "1"][..], "NotFound"),
        (TABLE, "Table.GetRouteInfo", &["7"], "InvalidHandle"),
        (TABLE, "Table.GetRoutes", &["10.0.0.1/8"], "InvalidParameter"),
        (MANAGER, "Manager.GetTable", &["7", "ipv4"], "FileNotFound"),
        (MANAGER, "Manager.RegisterEntity", &["0", "ipv4", "13", "0", "{}"], "AlreadyExists"),
        (
            MANAGER,
            "Manager.RegisterEntity",
            &["0", "ipv4", "8", "0", "{'linger': <uint32 0xFFFFFFFF>}"],
            "InvalidParameter",
        ),
        (ENTITY, "Entity.DeleteRoute", &["1"], "AccessDenied"),
    ] {
        let output = gdbus(&bus, path, method, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("Error: GDBus.Error:org.rtmd1.Error.{name}: ");
        assert!(said.starts_with(&expected), "{method} {arguments:?}: {said}");
    }
}

fn register_shared(bus: &PrivateBus) -> String {
    let options = ["2", "label", "s", "my-script", "shared", "b", "true"];
    let words = [&["usuua{sv}", "0", "ipv4", "10006", "0"], &options[..]].concat();
    busctl(bus, MANAGER, "Manager.RegisterEntity", &words)
}

/// What busctl prints of a call that succeeds; words may be empty, as in a shell's quotes.
fn busctl(bus: &PrivateBus, path: &str, method: &str, arguments: &[&str]) -> String {
    let (interface, method) = method.split_once('.').unwrap();
    let interface = format!("org.rtmd1.{interface}");
    words(&bus.busctl(&[&["call", "org.rtmd1", path, &interface, method], arguments].concat()))
}

fn property(bus: &PrivateBus, path: &str, interface: &str, names: &[&str]) -> String {
    let interface = format!("org.rtmd1.{interface}");
    words(&bus.busctl(&[&["get-property", "org.rtmd1", path, &interface], names].concat()))
}

fn gdbus(bus: &PrivateBus, path: &str, method: &str, arguments: &[&str]) -> Output {
    Command::new("gdbus")
        .args(["call", "--address", &bus.address(), "--dest", "org.rtmd1", "--object-path", path])
        .args(["--method", &format!("org.rtmd1.{method}")])
        .args(arguments)
        .output()
        .unwrap()
}

/// What a program that succeeds prints.
fn words(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
