//! Who may do what, asked of the service over a private bus. Most of it takes a second user, whom only root
//! can play.

mod support;

use std::fs;

use rtmd::{
    client::{self, EntityProxy, ManagerProxy},
    model::Family,
};
use support::{Client, PrivateBus, Service, details, eventually, refusal, route};
use zbus::{Connection, OwnedObjectPath, Variant, fdo, interface};

const FIB: &str = "[[instance]]\nid = 0\nfib = false\n";
const NOBODY: u32 = 65_534;
const RIP: u32 = 8;
const OSPF: u32 = 13;
const BGP: u32 = 14;

/// A service with these grants, and nobody's connection; none where this is not root's test.
async fn serve(grants: &str) -> Option<(PrivateBus, Service, Connection)> {
    let bus = PrivateBus::start();
    let service = bus.serve(&format!("{grants}{FIB}"));
    let connection = bus.connect_as(NOBODY).await?;
    Some((bus, service, connection))
}

async fn manager(connection: &Connection) -> ManagerProxy<'static> {
    client::manager(connection).await.unwrap()
}

/// That a call was refused, and the rule that did.
fn denied<T: std::fmt::Debug>(result: zbus::Result<T>) -> String {
    let (name, text) = refusal(result);
    assert_eq!(name, "AccessDenied", "{text}");
    text
}

#[tokio::test]
async fn without_a_grant_a_stranger_may_look_and_nothing_else() {
    let Some((_bus, _service, stranger)) = serve("").await else { return };
    let manager = manager(&stranger).await;
    let text = denied(manager.register_entity(0, "ipv4", BGP, 0, &details([])).await);
    assert!(text.starts_with("no grant lets user 65534 "), "{text}");
    assert!(text.contains("add a [[grant]] in /etc/rtmd/rtmd.toml, see rtmd.toml(5)"), "{text}");
    denied(manager.reload().await);
    denied(manager.set_preference(BGP, 7, false).await);
    denied(manager.set_forwarding(0, "ipv4", false).await);
    denied(manager.add_static_route(0, "10.0.0.0/8", &route("127.0.0.2", []), false).await);
    assert!(!manager.get_preferences().await.unwrap().is_empty());
    client::table(&manager, 0, Family::Ipv4).await.unwrap().destinations().await.unwrap();
}

#[tokio::test]
async fn each_bound_of_a_grant_is_held_and_its_name_is_told() {
    let grants = "[[grant]]\nname = \"bird\"\nuser = \"nobody\"\nprotocols = [\"bgp\", \"ospf\"]\n\
                  families = [\"ipv4\"]\nprefixes = [\"192.0.2.0/24\"]\n\
                  prefixes-longer = [\"10.0.0.0/8\"]\npreferences = [15, 120]\nviews = [0]\n\
                  routes = 2\nnext-hops = 1\nregistrations = 2\nlinger = 1000\nshared = false\n";
    let Some((_bus, _service, bird)) = serve(grants).await else { return };
    let manager = manager(&bird).await;
    let register = async |family: &str, protocol, instance, options| {
        let registered = manager.register_entity(0, family, protocol, instance, &options).await;
        registered.map(|(path, _)| path)
    };
    for (family, protocol, options, rule) in [
        ("ipv4", RIP, details([]), "allows protocols bgp, ospf: not rip"),
        ("ipv6", BGP, details([]), "allows families ipv4: not ipv6"),
        ("ipv4", BGP, details([("shared", true.into())]), "allows no shared registrations"),
        (
            "ipv4",
            BGP,
            details([("linger", 1001u32.into())]),
            "allows linger of 1000 milliseconds at most: not",
        ),
    ] {
        let text = denied(register(family, protocol, 0, options).await);
        assert!(text.starts_with(&format!("grant \"bird\" {rule}")), "{text}");
    }
    let path = register("ipv4", BGP, 0, details([("linger", 1000u32.into())])).await.unwrap();
    let entity = EntityProxy::builder(&bird).path(path).build().await.unwrap();
    let add = async |prefix: &str, key: &'static str, value: u32| {
        let route = match key {
            "" => route("127.0.0.2", []),
            key => route("127.0.0.2", [(key, value.into())]),
        };
        entity.add_route(prefix, &route, 0).await
    };
    for (prefix, key, value, rule) in [
        ("0.0.0.0/0", "", 0, "allows prefixes 192.0.2.0/24 and in 10.0.0.0/8: not 0.0.0.0/0"),
        ("192.0.2.0/25", "", 0, "allows prefixes 192.0.2.0/24 and in 10.0.0.0/8: not 192.0.2.0/25"),
        ("10.1.0.0/16", "preference", 121, "allows preferences 15 to 120: not 121"),
        ("10.1.0.0/16", "views", 3, "allows views 0x1: not 0x3"),
    ] {
        let text = denied(add(prefix, key, value).await);
        assert_eq!(text, format!("grant \"bird\" {rule}"));
    }
    add("192.0.2.0/24", "", 0).await.unwrap();
    add("10.1.0.0/16", "preference", 120).await.unwrap();
    let text = denied(add("10.2.0.0/16", "", 0).await);
    assert!(text.starts_with("grant \"bird\" allows routes 2: not another one"), "{text}");
    let text = denied(entity.add_next_hop("127.0.0.9", 0, &details([])).await);
    assert!(text.starts_with("grant \"bird\" allows next-hops 1: not 1 more"), "{text}");
    register("ipv4", OSPF, 0, details([])).await.unwrap();
    let text = denied(register("ipv4", OSPF, 1, details([])).await);
    assert!(text.starts_with("grant \"bird\" allows registrations 2: not another one"), "{text}");
}

#[tokio::test]
async fn a_grant_is_for_who_is_in_the_group_that_the_bus_tells() {
    // Only the user is another: the process is in root's group.
    let grants = "[[grant]]\nname = \"other\"\ngroup = 64999\nprotocols = [\"rip\"]\n\
                  [[grant]]\nname = \"routing\"\ngroup = \"root\"\nprotocols = [\"bgp\"]\n";
    let Some((_bus, _service, stranger)) = serve(grants).await else { return };
    let manager = manager(&stranger).await;
    manager.register_entity(0, "ipv4", BGP, 0, &details([])).await.unwrap();
    let text = denied(manager.register_entity(0, "ipv4", RIP, 0, &details([])).await);
    assert_eq!(text, "grant \"routing\" allows protocols bgp: not rip");
}

struct Systemd;

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    #[zbus(name = "GetUnitByPID")]
    fn unit_by_pid(&self, _process: u32) -> fdo::Result<OwnedObjectPath> {
        Ok("/org/freedesktop/systemd1/unit/bird_2eservice".try_into().unwrap())
    }
}

#[tokio::test]
async fn a_unit_that_may_be_anothers_lets_nobody_do_anything_by_itself() {
    for (also, may) in [("", false), ("user = \"nobody\"\n", true)] {
        let grants = format!("[[grant]]\nname = \"bird\"\nunit = \"bird.service\"\n{also}");
        let Some((bus, _service, bird)) = serve(&grants).await else { return };
        let systemd = bus.connect().await;
        systemd.object_server().at("/org/freedesktop/systemd1", Systemd).await.unwrap();
        systemd.request_name("org.freedesktop.systemd1").await.unwrap();
        let manager = manager(&bird).await;
        let registered = manager.register_entity(0, "ipv4", BGP, 0, &details([])).await;
        if may {
            registered.unwrap();
        } else {
            let text = denied(registered);
            assert!(text.contains("unit bird.service alone"), "{text}");
            assert!(text.contains("name a user or a group in it too"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_grant_lets_manage_static_routes_within_its_prefixes_and_another_administer() {
    let statics = "[[grant]]\nname = \"statics\"\nuser = \"nobody\"\nstatic = true\n\
                   prefixes-longer = [\"10.0.0.0/8\"]\n";
    let Some((_bus, _service, connection)) = serve(statics).await else { return };
    let manager_of = manager(&connection).await;
    let via = route("127.0.0.2", []);
    manager_of.add_static_route(0, "10.1.0.0/16", &via, false).await.unwrap();
    let text = denied(manager_of.add_static_route(0, "0.0.0.0/0", &via, false).await);
    assert_eq!(text, "grant \"statics\" allows prefixes in 10.0.0.0/8: not 0.0.0.0/0");
    denied(manager_of.remove_static_route(0, "11.0.0.0/8", &details([])).await);
    manager_of.remove_static_route(0, "10.1.0.0/16", &details([])).await.unwrap();
    let text = denied(manager_of.reload().await);
    assert!(text.contains("it would take administer = true"), "{text}");

    let admin = "[[grant]]\nname = \"admin\"\nuser = \"nobody\"\nadminister = true\n";
    let Some((_bus, _service, connection)) = serve(admin).await else { return };
    let manager_of = manager(&connection).await;
    manager_of.set_preference(BGP, 7, false).await.unwrap();
    manager_of.reload().await.unwrap();
    denied(manager_of.add_static_route(0, "10.1.0.0/16", &via, false).await);
}

#[tokio::test]
async fn a_reload_that_takes_a_grant_away_leaves_routes_that_can_only_be_taken_back() {
    let grants = "[[grant]]\nname = \"bird\"\nuser = \"nobody\"\n";
    let Some((bus, _service, bird)) = serve(grants).await else { return };
    let client = Client::register_on(&bird, Family::Ipv4, BGP).await;
    let (id, _) = client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let other = "[[grant]]\nname = \"other\"\nuser = \"daemon\"\n";
    fs::write(bus.path("first.toml"), format!("{other}{FIB}")).unwrap();
    let root = manager(&bus.connect().await).await;
    root.reload().await.unwrap();
    let text = denied(client.add("11.0.0.0/8", "127.0.0.2").await);
    assert!(text.contains("can only take back what it has"), "{text}");
    assert!(text.contains("no grant lets user 65534"), "{text}");
    denied(client.entity.add_next_hop("127.0.0.9", 0, &details([])).await);
    assert_eq!(client.table.get_route_info(id).await.unwrap().destination, "10.0.0.0/8");
    fs::write(bus.path("first.toml"), format!("{grants}{FIB}")).unwrap();
    root.reload().await.unwrap();
    client.add("11.0.0.0/8", "127.0.0.2").await.unwrap();
    fs::write(bus.path("first.toml"), format!("{other}{FIB}")).unwrap();
    root.reload().await.unwrap();
    client.entity.delete_route(id).await.unwrap();
    client.entity.deregister(&details([])).await.unwrap();
    eventually("all is gone", async || client.table.destinations().await.unwrap() == 0).await;
}

#[tokio::test]
async fn a_client_with_a_grant_cannot_touch_anothers_entity_routes_or_next_hops() {
    let Some((bus, _service, stranger)) = serve("[[grant]]\nuser = \"nobody\"\n").await else {
        return;
    };
    let owner = Client::register(&bus, Family::Ipv4, BGP).await;
    let (route_id, _) = owner.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let (next_hop, _) = owner.entity.add_next_hop("127.0.0.2", 0, &details([])).await.unwrap();
    let theirs = EntityProxy::builder(&stranger).path(owner.entity.inner().path().to_owned());
    let theirs = theirs.build().await.unwrap();
    denied(theirs.add_route("11.0.0.0/8", &route("127.0.0.2", []), 0).await);
    denied(theirs.delete_route(route_id).await);
    denied(theirs.deregister(&details([])).await);
    denied(theirs.end_of_sync().await);
    let own = Client::register_on(&stranger, Family::Ipv4, OSPF).await;
    denied(own.entity.delete_route(route_id).await);
    let with_theirs = details([("next-hops", Variant::from(vec![next_hop]))]);
    denied(own.entity.add_route("11.0.0.0/8", &with_theirs, 0).await);
    assert_eq!(owner.table.destinations().await.unwrap(), 1);
}

#[tokio::test]
async fn a_label_reaches_no_terminal_raw_and_is_no_page() {
    let bus = PrivateBus::start();
    let _service = bus.serve(FIB);
    let manager = manager(&bus.connect().await).await;
    let long = "x".repeat(1 << 20);
    for label in ["\u{1b}[2J", "a\nb", "\u{9b}31m", "\u{7f}", &"x".repeat(65), &long] {
        let options = details([("label", Variant::from(label.to_owned()))]);
        let (name, text) = refusal(manager.register_entity(0, "ipv4", BGP, 0, &options).await);
        assert_eq!(name, "InvalidData");
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 600, "{} bytes", text.len());
    }
    let options = details([("label", Variant::from("ü".repeat(64)))]);
    manager.register_entity(0, "ipv4", BGP, 0, &options).await.unwrap();
}

#[tokio::test]
async fn a_case_is_explained_to_who_may_administer_and_to_everybody_about_himself() {
    let grants = "[[grant]]\nname = \"missing\"\nuser = \"no-such-user\"\n\
                  [[grant]]\nname = \"lab\"\nuser = \"nobody\"\nunit = \"lab.service\"\n\
                  [[grant]]\nname = \"bird\"\nuser = \"nobody\"\nprefixes-longer = [\"10.0.0.0/8\"]\n";
    let Some((bus, service, stranger)) = serve(grants).await else { return };
    assert!(service.log().contains("this grant is for nobody"), "{}", service.log());
    let root = manager(&bus.connect().await).await;
    let case = |prefix: &'static str| {
        details([("protocol", BGP.into()), ("prefix", Variant::from(prefix))])
    };
    let (allowed, grant, reason, passed_over) =
        root.check_policy("nobody", "", &case("10.1.0.0/16")).await.unwrap();
    assert_eq!((allowed, grant.as_str(), reason.as_str()), (true, "bird", ""));
    let passed_over: Vec<String> =
        passed_over.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert_eq!(
        passed_over,
        [
            "missing: it is for nobody: there is no user \"no-such-user\"",
            "lab: it is for unit lab.service"
        ]
    );
    let answer = root.check_policy("65534", "lab.service", &case("0.0.0.0/0")).await.unwrap();
    assert_eq!((answer.0, answer.1.as_str()), (true, "lab"), "which bounds no prefix");
    let own = manager(&stranger).await;
    let (allowed, grant, reason, _) = own.check_policy("", "", &case("0.0.0.0/0")).await.unwrap();
    assert_eq!((allowed, grant.as_str()), (false, "bird"));
    assert_eq!(reason, "grant \"bird\" allows prefixes in 10.0.0.0/8: not 0.0.0.0/0");
    denied(own.check_policy("root", "", &case("0.0.0.0/0")).await);
    let (name, _) = refusal(root.check_policy("no-such-user", "", &details([])).await);
    assert_eq!(name, "NotFound");
}

#[test]
fn rtmctl_says_which_grant_decides_a_case() {
    let grants = "[[grant]]\nname = \"lab\"\nuser = \"nobody\"\nunit = \"lab.service\"\n\
                  [[grant]]\nname = \"bird\"\nuser = \"nobody\"\nprotocols = [\"bgp\"]\n";
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{grants}{FIB}"));
    let check = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        let output = bus.rtmctl(&words);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let bgp = "policy check --user nobody --protocol bgp --prefix 10.0.0.0/8 --preference 20";
    let passed_over = "passed over  \"lab\": it is for unit lab.service\n";
    assert_eq!(check(bgp), (Some(0), format!("{passed_over}allowed      by grant \"bird\"\n")));
    assert_eq!(
        check("policy check --user nobody --protocol rip"),
        (
            Some(1),
            format!("{passed_over}refused      grant \"bird\" allows protocols bgp: not rip\n")
        )
    );
    assert_eq!(
        check("--json policy check --user nobody --unit lab.service --protocol rip"),
        (
            Some(0),
            "{\"allowed\":true,\"grant\":\"lab\",\"passed-over\":[],\"reason\":null}\n".to_owned()
        )
    );
    let (status, said) = check("policy check");
    assert_eq!(status, Some(0), "the service runs as who asks: {said}");
    assert_eq!(said, "allowed      no grant binds this user\n");
    let (status, said) = check("policy check --user no-such-user");
    assert_eq!(status, Some(1));
    assert!(said.contains("there is no user"), "{said}");
}
