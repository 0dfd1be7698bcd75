//! Next-hop objects, and routes that refer to them.

use std::{
    thread,
    time::{Duration, Instant},
};

use rtmd::{
    kernel::{Dump, DumpNews, NextHopSupport, NoticeSettings},
    model::{Family, KernelTable, Target},
    netlink::{
        DumpRequest, DumpedObject, DumpedRoute, LegState, ObjectDumpRequest, RouteKind, Signature,
    },
};

use crate::{
    desk::{Desk, Refusal, id, read_object},
    machine::collect,
    world::{index, ip, ip_batch, with_links},
};

/// Our objects.
fn objects() -> Vec<DumpedObject> {
    collect(Dump::start(ObjectDumpRequest { signature: Some(Signature::default()) }))
}

/// What is in the main table for this destination, ours or anybody's.
fn routes_to(to: &str, signature: Option<Signature>) -> Vec<DumpedRoute> {
    let to: rtmd::model::Prefix = to.parse().unwrap();
    let (table, family) = (KernelTable::MAIN, to.family());
    let question = match signature {
        Some(signature) => DumpRequest::ours(table, family, signature),
        None => DumpRequest::all(table, family),
    };
    let mut routes = collect(Dump::start(question));
    routes.retain(|route| route.to == to);
    routes
}

#[track_caller]
fn assert_refused(result: Result<(), Refusal>, errno: i32, words: &str) {
    assert_eq!(result, Err((errno, words.to_owned())));
}

/// More links, as `west` and `east` lose their carriers with each other: `north` (203.0.113.1/24,
/// 2001:db8:c::1/64) and its peer `south`.
fn add_north() {
    for command in [
        "link add north type veth peer name south",
        "addr add 203.0.113.1/24 dev north",
        "addr add 2001:db8:c::1/64 dev north nodad",
        "link set north up",
        "link set south up",
    ] {
        ip(command);
    }
}

/// Whether this comes true within ten seconds.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn every_kind_of_object_is_created_as_ip_shows_it_and_read_back_as_it_was_written() {
    with_links(|| {
        let desk = Desk::open();
        for (number, object, shown) in [
            (1, "via 192.0.2.254 dev west", "via 192.0.2.254 dev west scope link"),
            (2, "via 2001:db8:a::9 dev west", "via 2001:db8:a::9 dev west scope link"),
            (3, "dev east", "dev east scope host"),
            (4, "inet6 dev east", "dev east scope link"),
            (5, "via 198.51.100.254 dev east", "via 198.51.100.254 dev east scope link"),
            (10, "group 1,3/5,256", "group 1,3/5,256"),
            (
                11,
                "group 1,100/5,1 buckets 1",
                "group 1,100/5 type resilient buckets 1 idle_timer 0 unbalanced_timer 0 \
                 unbalanced_time 0",
            ),
        ] {
            desk.add(number, object).unwrap();
            let found = ip(&format!("nexthop show id {number}"));
            assert_eq!(found.trim(), format!("id {number} {shown} proto 82"));
            let content = Some(read_object(object));
            let expected = DumpedObject { id: id(number), protocol: 82, content };
            assert!(objects().contains(&expected), "{:?}", objects());
        }
        ip("nexthop add id 20 via 192.0.2.7 dev west proto 4");
        assert_eq!(objects().len(), 7, "objects of others are not ours");
        ip("nexthop add id 21 blackhole proto 82");
        let unknown = DumpedObject { id: id(21), protocol: 82, content: None };
        assert!(objects().contains(&unknown), "{:?}", objects());

        for number in [11, 10, 5, 4, 3, 2, 1, 21] {
            desk.delete(number).unwrap();
        }
        assert_eq!(objects(), []);
    });
}

#[test]
fn a_replacement_changes_an_object_under_its_routes() {
    with_links(|| {
        let desk = Desk::open();
        desk.add(1, "via 192.0.2.254 dev west").unwrap();
        desk.add(2, "via 198.51.100.254 dev east").unwrap();
        desk.add(10, "group 1,1 buckets 1").unwrap();
        desk.add_route("10.0.0.0/8", "nhid 1").unwrap();
        desk.add_route("10.0.0.0/16", "nhid 10").unwrap();
        let way = |address| ip(&format!("route get {address}"));
        for address in ["10.0.0.1", "10.1.0.1"] {
            assert!(way(address).contains("via 192.0.2.254 dev west"), "{}", way(address));
        }
        desk.replace(10, "group 2,1 buckets 1").unwrap();
        assert!(way("10.0.0.1").contains("via 198.51.100.254 dev east"), "{}", way("10.0.0.1"));
        desk.replace(1, "via 192.0.2.7 dev west").unwrap();
        assert!(way("10.1.0.1").contains("via 192.0.2.7 dev west"), "{}", way("10.1.0.1"));
        let words = "Replace specified without create and no entry exists";
        assert_refused(desk.replace(3, "dev west"), libc::ENOENT, words);
        assert_eq!(objects().len(), 3, "what is not there cannot be replaced");
    });
}

#[test]
fn what_the_kernel_refuses_it_refuses_with_words() {
    with_links(|| {
        let desk = Desk::open();
        desk.add(1, "via 192.0.2.254 dev west").unwrap();
        desk.add(2, "via 198.51.100.254 dev east").unwrap();
        desk.add(3, "via 2001:db8:a::9 dev west").unwrap();
        desk.add(10, "group 1,1/2,1").unwrap();
        desk.add(11, "group 1,1 buckets 1").unwrap();
        let refused = assert_refused;

        refused(desk.add(1, "dev west"), libc::EEXIST, "");
        refused(desk.delete(4), libc::ENOENT, "");
        refused(desk.add(12, "group 1,1/99,1"), libc::EINVAL, "Invalid nexthop id");
        refused(
            desk.add(12, "group 1,1/1,2"),
            libc::EINVAL,
            "Nexthop id can not be used twice in a group",
        );
        refused(
            desk.add(12, "group 1,1/10,1"),
            libc::EINVAL,
            "Hash-threshold group can not be a nexthop within a group",
        );
        refused(
            desk.replace(1, "group 2,1"),
            libc::EINVAL,
            "Can not replace a nexthop with a nexthop group.",
        );
        refused(
            desk.replace(10, "dev west"),
            libc::EINVAL,
            "Can not replace a nexthop group with a nexthop.",
        );
        refused(
            desk.replace(10, "group 1,1 buckets 1"),
            libc::EINVAL,
            "Can not replace a nexthop group with one of a different type.",
        );
        refused(
            desk.replace(11, "group 1,1 buckets 2"),
            libc::EINVAL,
            "Can not change number of buckets of a resilient nexthop group.",
        );

        refused(desk.add_route("10.0.0.0/8", "nhid 99"), libc::EINVAL, "Nexthop id does not exist");
        refused(
            desk.add_route("2001:db8:1::/48", "nhid 1"),
            libc::EINVAL,
            "IPv6 routes can not use an IPv4 nexthop",
        );
        desk.add_route("10.0.0.0/8", "nhid 1").unwrap();
        refused(desk.add_route("10.0.0.0/8", "nhid 2"), libc::EEXIST, "");

        ip("link set east down"); // and the carrier of its peer
        refused(
            desk.add(4, "via 192.0.2.9 dev west"),
            libc::ENETDOWN,
            "Carrier for nexthop device is down",
        );
        refused(
            desk.add(4, "via 198.51.100.9 dev east"),
            libc::ENETDOWN,
            "Nexthop device is not up",
        );
    });
}

#[test]
fn a_route_says_an_object_or_everything_itself_and_one_replaces_the_other() {
    with_links(|| {
        let desk = Desk::open();
        desk.add(1, "via 192.0.2.254 dev west").unwrap();
        desk.add(2, "via 2001:db8:a::9 dev west").unwrap();
        desk.add(3, "via 2001:db8:b::9 dev east").unwrap();
        desk.add(4, "via 198.51.100.254 dev east").unwrap();
        desk.add(10, "group 1,10/4,1 buckets 1").unwrap();
        desk.add(11, "group 2,3/3,1").unwrap();
        let ipv4 =
            ["nhid 1", "via 192.0.2.7 dev west", "nhid 2", "nhid 10", "blackhole", "nhid 11"];
        let ipv6 = ["nhid 2", "via 2001:db8:a::7 dev west", "nhid 11", "dev east", "nhid 3"];
        for (to, targets) in [("203.0.113.0/24", &ipv4[..]), ("2001:db8:ffff::/48", &ipv6[..])] {
            for from in targets {
                for next in targets {
                    for target in [from, next] {
                        desk.replace_route(to, target).unwrap();
                        let routes = routes_to(to, Some(Signature::default()));
                        let [route] = routes.as_slice() else { panic!("{routes:?}") };
                        let expected = match target.strip_prefix("nhid ") {
                            Some(number) => Target::Object(id(number.parse().unwrap())),
                            None => crate::world::forwarding(target).into(),
                        };
                        assert_eq!(route.target(), Some(expected), "{from}, then {next}");
                        let family = if to.contains(':') { "-6" } else { "-4" };
                        let shown = ip(&format!("{family} route show {to}"));
                        assert_eq!(shown.contains("nhid"), target.contains("nhid"), "{shown}");
                    }
                }
            }
            desk.delete_route(to).unwrap();
            assert_eq!(routes_to(to, None), []);
        }
    });
}

/// The best way is by `west`, and `north` stands by: what `ip route get` says after `lose`.
fn the_spare_takes_over(lose: &'static str) {
    with_links(move || {
        add_north();
        let desk = Desk::open();
        for (number, object) in [
            (1, "via 192.0.2.254 dev west"),
            (2, "via 203.0.113.254 dev north"),
            (3, "via 2001:db8:a::9 dev west"),
            (4, "via 2001:db8:c::9 dev north"),
            (10, "group 1,256/2,1 buckets 1"),
            (11, "group 3,256/4,1 buckets 1"),
        ] {
            desk.add(number, object).unwrap();
        }
        let routes = [
            ("10.0.0.0/16", "nhid 10", "10.0.0.1", "203.0.113.254"),
            ("10.1.0.0/16", "nhid 11", "10.1.0.1", "2001:db8:c::9"),
            ("2001:db8:1::/48", "nhid 11", "2001:db8:1::1", "2001:db8:c::9"),
        ];
        for (to, target, address, _) in routes {
            desk.add_route(to, target).unwrap();
            let way = ip(&format!("route get {address}"));
            assert!(way.contains("dev west"), "{way}");
        }
        ip(lose);
        for (to, target, address, spare) in routes {
            // The kernel looks at carriers once a second.
            let by_spare =
                || ip(&format!("route get {address}")).contains(&format!("{spare} dev north"));
            assert!(eventually(by_spare), "{}", ip(&format!("route get {address}")));
            let routes = routes_to(to, Some(Signature::default()));
            let [route] = routes.as_slice() else { panic!("{routes:?}") };
            let group = id(target.strip_prefix("nhid ").unwrap().parse().unwrap());
            assert_eq!(route.target(), Some(Target::Object(group)));
        }
        let left: Vec<u32> = objects().iter().map(|object| object.id.0.get()).collect();
        assert_eq!(left, [2, 4, 10, 11], "the hops of the link are gone");
        let group = DumpedObject {
            id: id(10),
            protocol: 82,
            content: Some(read_object("group 2,1 buckets 1")),
        };
        assert!(objects().contains(&group), "{:?}", objects());
    });
}

#[test]
fn when_a_link_goes_down_the_spare_of_a_resilient_group_takes_over_and_no_route_is_lost() {
    the_spare_takes_over("link set west down");
}

#[test]
fn when_a_link_loses_its_carrier_the_spare_of_a_resilient_group_takes_over() {
    the_spare_takes_over("link set east down");
}

#[test]
fn when_a_link_is_deleted_the_spare_of_a_resilient_group_takes_over() {
    the_spare_takes_over("link del west");
}

#[test]
fn a_dump_of_objects_that_change_meanwhile_begins_again() {
    with_links(|| {
        // More than the parts that wait for a listener, and the next one.
        ip_batch((1..20_001).map(|number| format!("nexthop add id {number} dev west proto 82")));
        let mut dump =
            Dump::start(ObjectDumpRequest { signature: Some(Signature::default()) }).unwrap();
        let DumpNews::Part(first) = dump.blocking_next().unwrap() else { panic!() };
        assert!(!first.is_empty());
        Desk::open().add(20_001, "dev west").unwrap();
        let mut found = first.len();
        let mut restarted = false;
        loop {
            match dump.blocking_next().unwrap() {
                DumpNews::Part(part) => found += part.len(),
                DumpNews::Restarted => {
                    restarted = true;
                    found = 0;
                }
                DumpNews::Complete => break,
                DumpNews::Failed(error) => panic!("{error}"),
            }
        }
        assert!(restarted);
        assert_eq!(found, 20_001);
    });
}

#[test]
fn routes_of_everybody_are_read_with_their_kind_and_their_legs() {
    with_links(|| {
        add_north();
        for route in [
            "10.0.0.0/16 via 192.0.2.7 dev west src 192.0.2.1 metric 10 proto 4",
            "10.1.0.0/16 metric 10 proto 186 nexthop via 192.0.2.7 dev west nexthop dev north weight 3",
            "blackhole 10.2.0.0/16 proto 4",
        ] {
            ip(&format!("route add {route}"));
        }
        ip("nexthop add id 9 via 192.0.2.8 dev west proto 4");
        ip("route add 10.3.0.0/16 nhid 9 proto 11");
        ip("link set south down"); // takes the carrier of `north`
        let only = |to: &str| {
            let mut routes = routes_to(to, None);
            assert_eq!(routes.len(), 1, "{routes:?}");
            routes.remove(0)
        };

        let connected = only("192.0.2.0/24");
        assert_eq!((connected.protocol, connected.kind), (2, RouteKind::Unicast));
        assert_eq!(connected.legs[0].hop.interface, index("west"));

        let sourced = only("10.0.0.0/16");
        assert_eq!((sourced.protocol, sourced.metric, sourced.unusual), (4, 10, true));
        assert_eq!(sourced.legs[0].hop.gateway, Some("192.0.2.7".parse().unwrap()));

        assert!(eventually(|| only("10.1.0.0/16").legs[1].state == LegState::LinkDown));
        let legs = only("10.1.0.0/16").legs;
        assert_eq!((legs.len(), legs[0].state), (2, LegState::Alive));
        assert_eq!((legs[1].hop.interface, legs[1].hop.weight.get()), (index("north"), 3));

        assert_eq!(only("10.2.0.0/16").kind, RouteKind::Blackhole);
        let by_object = only("10.3.0.0/16");
        assert_eq!(by_object.object, Some(id(9)));
        assert_eq!(by_object.legs[0].hop.gateway, Some("192.0.2.8".parse().unwrap()));

        let local = DumpRequest::all(KernelTable(255), Family::Ipv4);
        let local = collect(Dump::start(local));
        let kind = |to: &str| local.iter().find(|route| route.to.to_string() == to).unwrap().kind;
        assert_eq!(kind("192.0.2.1/32"), RouteKind::Local);
        assert_eq!(kind("192.0.2.255/32"), RouteKind::Broadcast);
    });
}

#[test]
fn what_the_kernel_can_do_is_asked_for_and_nothing_is_left_behind() {
    with_links(|| {
        let support = NextHopSupport::probe().unwrap();
        // What the tests above rely on.
        assert_eq!(support, NextHopSupport::Resilient);
        assert_eq!(ip("nexthop show"), "");
    });
}

#[test]
fn settings_are_those_of_the_namespace() {
    with_links(|| {
        for value in ["0", "1"] {
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", value).unwrap();
            std::fs::write("/proc/sys/net/ipv6/route/skip_notify_on_dev_down", value).unwrap();
            let settings = NoticeSettings::read();
            assert_eq!(settings.nexthop_compat_mode, Some(value == "1"));
            assert_eq!(settings.skip_notify_on_dev_down, Some(value == "1"));
        }
    });
}
