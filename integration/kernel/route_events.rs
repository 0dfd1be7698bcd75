//! What the watch of routes and next-hop objects tells, and what it does not.

use std::{collections::BTreeSet, future::Future, time::Duration};

use rtmd::{
    kernel::{PortId, RouteEvent, RouteWatch},
    netlink::{DumpedObject, DumpedRoute, Signature},
};
use tokio::time::timeout;

use crate::{
    desk::{Desk, id, read_object},
    machine::Machine,
    world::{ip, ip_batch, with_links},
};

/// Runs a test with links and in a runtime, whose only thread it is on.
fn with_runtime<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    with_links(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}

/// The next event that is about our protocol or is [`RouteEvent::Overrun`]: what the kernel does for its
/// own addresses goes on.
async fn next(watch: &mut RouteWatch) -> RouteEvent {
    loop {
        let event = timeout(Duration::from_secs(10), watch.next()).await;
        let event = event.expect("an event").unwrap();
        let protocol = match &event {
            RouteEvent::RouteSet { route, .. } | RouteEvent::RouteGone { route, .. } => {
                route.protocol
            }
            RouteEvent::ObjectSet(object) | RouteEvent::ObjectGone(object) => object.protocol,
            RouteEvent::Overrun => return event,
        };
        if protocol == 82 {
            return event;
        }
    }
}

/// An event in few words: what, to where, by which first gateway.
fn text(event: &RouteEvent) -> String {
    let route = |route: &DumpedRoute| {
        let gateway = route.legs.first().and_then(|leg| leg.hop.gateway);
        match (route.object, gateway) {
            (Some(object), _) => format!("{} nhid {object}", route.to),
            (None, Some(gateway)) => format!("{} via {gateway}", route.to),
            (None, None) => format!("{} {:?}", route.to, route.kind),
        }
    };
    let object = |object: &DumpedObject| match &object.content {
        Some(_) => format!("object {}", object.id),
        None => format!("strange object {}", object.id),
    };
    match event {
        RouteEvent::RouteSet { route: set, replaced: false } => format!("set {}", route(set)),
        RouteEvent::RouteSet { route: set, replaced: true } => format!("replaced {}", route(set)),
        RouteEvent::RouteGone { route: gone, by_itself: false } => format!("gone {}", route(gone)),
        RouteEvent::RouteGone { route: gone, by_itself: true } => {
            format!("dropped {}", route(gone))
        }
        RouteEvent::ObjectSet(set) => format!("set {}", object(set)),
        RouteEvent::ObjectGone(gone) => format!("gone {}", object(gone)),
        RouteEvent::Overrun => "overrun".to_owned(),
    }
}

/// Runs `ip`, and compares what is told.
async fn told(watch: &mut RouteWatch, command: &str, events: &[&str]) {
    ip(command);
    for expected in events {
        assert_eq!(text(&next(watch).await), *expected, "ip {command}");
    }
}

const NOBODY: PortId = PortId(0xffff_fff0);

#[test]
fn tampering_with_routes_is_told() {
    with_runtime(|| async {
        let desk = Desk::open();
        let mut watch = RouteWatch::start(desk.port()).unwrap();
        for (to, first, second) in [
            ("10.0.0.0/16", "192.0.2.254", "192.0.2.7"),
            ("2001:db8:1::/48", "2001:db8:a::9", "2001:db8:a::7"),
        ] {
            let family = if to.contains(':') { "-6" } else { "-4" };
            let hers = |command: &str, via: &str| {
                format!("{family} route {command} {to} via {via} dev west proto 82 metric 82")
            };
            desk.add_route(to, &format!("via {first} dev west")).unwrap();
            let replaced = format!("replaced {to} via {second}");
            told(&mut watch, &hers("replace", second), &[&replaced]).await;
            let delete = format!("{family} route del {to} metric 82");
            told(&mut watch, &delete, &[&format!("gone {to} via {second}")]).await;

            desk.add_route(to, &format!("via {first} dev west")).unwrap();
            ip(&hers("append", second));
            let RouteEvent::RouteSet { route, replaced: false } = next(&mut watch).await else {
                panic!()
            };
            let gateways = route.legs.iter().map(|leg| leg.hop.gateway.unwrap().to_string());
            // IPv4 tells of a second route, IPv6 of one with two legs, the new one first.
            let expected = if family == "-4" { vec![second] } else { vec![second, first] };
            assert_eq!(gateways.collect::<Vec<_>>(), expected);

            ip(&format!("{family} route flush proto 82"));
            for _ in 0..2 {
                assert!(text(&next(&mut watch).await).starts_with(&format!("gone {to}")));
            }
        }
    });
}

#[test]
fn tampering_with_objects_is_told() {
    with_runtime(|| async {
        let desk = Desk::open();
        let mut watch = RouteWatch::start(desk.port()).unwrap();
        for (number, object) in [
            (1, "via 192.0.2.254 dev west"),
            (2, "via 198.51.100.254 dev east"),
            (10, "group 1,256/2,1 buckets 1"),
        ] {
            desk.add(number, object).unwrap();
        }
        let replace = "nexthop replace id 1 via 192.0.2.7 dev west proto 82";
        told(&mut watch, replace, &["set object 1"]).await;
        let strange = "nexthop replace id 1 via 192.0.2.7 dev west onlink proto 82";
        told(&mut watch, strange, &["set strange object 1"]).await;
        told(&mut watch, "nexthop del id 1", &["gone strange object 1", "set object 10"]).await;
        told(&mut watch, "nexthop flush proto 82", &["gone object 2", "gone object 10"]).await;
    });
}

#[test]
fn what_others_do_is_told_with_their_protocol() {
    with_runtime(|| async {
        let mut watch = RouteWatch::start(NOBODY).unwrap();
        ip("route add 10.0.0.0/16 via 192.0.2.7 dev west proto 186 table 1000");
        ip("nexthop add id 7 via 192.0.2.7 dev west proto 11");
        loop {
            match watch.next().await.unwrap() {
                RouteEvent::RouteSet { route, .. } if route.protocol == 186 => {
                    assert_eq!(route.table.0, 1000);
                }
                RouteEvent::ObjectSet(object) => {
                    let content = Some(read_object("via 192.0.2.7 dev west"));
                    assert_eq!(object, DumpedObject { id: id(7), protocol: 11, content });
                    break;
                }
                _ => {}
            }
        }
    });
}

#[test]
fn of_routes_that_do_not_matter_only_what_may_touch_ours_is_told() {
    with_runtime(|| async {
        let mut watch = RouteWatch::start(NOBODY).unwrap();
        watch.heed_only(Signature::default(), &BTreeSet::from([186])).unwrap();
        for (family, to, via) in
            [("-4", "10.0.0.0/16", "192.0.2.7"), ("-6", "2001:db8:1::/48", "2001:db8:a::7")]
        {
            let route = |change: &str, rest: &str| {
                ip(&format!("{family} route {change} {to} via {via} dev west {rest}"));
            };
            route("add", "proto 12 metric 32"); // ignored
            route("del", "proto 12 metric 32");
            route("add", "proto 12 metric 0x52000000"); // 82 in the wrong order of bytes
            route("add", "proto 186 metric 32"); // one of those
            route("add", "proto 82 metric 83"); // ours
            route("replace", "proto 12 metric 82"); // in the place or in the way of ours
            route("replace", "proto 12 metric 32"); // in the place of who knows what
            route("del", "proto 12 metric 82");
            for expected in ["set 186 32", "set 82 83", "set 12 82", "replaced 12 32", "gone 12 82"]
            {
                let event = timeout(Duration::from_secs(10), watch.next()).await.expect("an event");
                let told = match event.unwrap() {
                    RouteEvent::RouteSet { route, replaced } => {
                        let what = if replaced { "replaced" } else { "set" };
                        format!("{what} {} {}", route.protocol, route.metric)
                    }
                    RouteEvent::RouteGone { route, .. } => {
                        format!("gone {} {}", route.protocol, route.metric)
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(told, expected);
            }
        }
        ip("nexthop add id 7 via 192.0.2.7 dev west proto 11");
        assert!(matches!(watch.next().await, Ok(RouteEvent::ObjectSet(_))));
    });
}

#[test]
fn what_the_writer_does_is_not_told() {
    with_links(|| {
        let mut machine = Machine::start(254);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let mut watch = RouteWatch::with_buffer(machine.writer.port(), 4096).unwrap();
        for what in [Some("via 192.0.2.254 dev west"), None] {
            for number in 0..2000_u32 {
                let to = format!("10.{}.{}.0/24", number / 256, number % 256);
                match what {
                    Some(what) => machine.want(&to, what),
                    None => machine.withdraw(&to),
                }
            }
            machine.drain();
        }
        ip("route add 10.0.0.0/16 via 192.0.2.7 dev west proto 82 metric 82");
        let event = runtime.block_on(next(&mut watch));
        assert_eq!(text(&event), "set 10.0.0.0/16 via 192.0.2.7");
    });
}

#[test]
fn what_our_port_does_to_objects_is_not_told_except_ipv6_routes_that_go_with_one() {
    with_runtime(|| async {
        let desk = Desk::open();
        let mut watch = RouteWatch::start(desk.port()).unwrap();
        desk.add(1, "via 192.0.2.254 dev west").unwrap();
        desk.add(2, "via 198.51.100.254 dev east").unwrap();
        desk.add(10, "group 1,1/2,1").unwrap();
        desk.add_route("10.0.0.0/16", "nhid 10").unwrap();
        desk.replace(1, "via 192.0.2.7 dev west").unwrap(); // announces the route
        desk.replace(10, "group 2,1").unwrap(); // likewise
        desk.replace_route("10.0.0.0/16", "nhid 2").unwrap();
        desk.add(3, "via 2001:db8:a::9 dev west").unwrap();
        desk.add(11, "group 3,1 buckets 1").unwrap();
        desk.add_route("2001:db8:1::/48", "nhid 3").unwrap();
        desk.add_route("2001:db8:2::/48", "nhid 11").unwrap();
        desk.replace(3, "via 2001:db8:a::7 dev west").unwrap();
        desk.delete_route("2001:db8:2::/48").unwrap();
        desk.delete(10).unwrap();
        desk.delete(1).unwrap();
        told(&mut watch, "nexthop del id 2", &["gone object 2"]).await;

        desk.delete(3).unwrap(); // with a route of IPv6 left on it, which the kernel deletes by itself
        assert_eq!(text(&next(&mut watch).await), "dropped 2001:db8:1::/48 nhid 3");
    });
}

#[test]
fn without_room_for_events_an_overrun_is_told_and_then_what_happens_next() {
    with_runtime(|| async {
        let mut watch = RouteWatch::with_buffer(NOBODY, 4096).unwrap();
        for _ in 0..2 {
            // Nothing reads meanwhile: this thread is the runtime's.
            ip_batch((0..200).map(|number| {
                format!("route add 10.0.{number}.0/24 via 192.0.2.7 dev west proto 82 metric 82")
            }));
            while next(&mut watch).await != RouteEvent::Overrun {}
            told(
                &mut watch,
                "route add blackhole 10.1.0.0/16 proto 82 metric 82",
                &["set 10.1.0.0/16 Blackhole"],
            )
            .await;
            ip("route flush proto 82");
            while next(&mut watch).await != RouteEvent::Overrun {}
        }
    });
}

#[test]
fn a_slow_listener_is_told_everything_there_was_room_for() {
    with_runtime(|| async {
        let mut watch = RouteWatch::start(NOBODY).unwrap();
        let to = |number: u32| format!("10.{}.{}.0/24", number / 256, number % 256);
        ip_batch((0..500).map(|number| {
            format!("route add {} via 192.0.2.7 dev west proto 82 metric 82", to(number))
        }));
        for number in 0..500 {
            assert_eq!(text(&next(&mut watch).await), format!("set {} via 192.0.2.7", to(number)));
        }
    });
}
