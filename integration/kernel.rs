//! The kernel's routes, written, read and watched in network namespaces of their own.
//!
//! Needs root (or `unshare -r`) and `ip`; without the right to make a namespace each test says that it was
//! skipped. `ip` is the judge: what it shows, not what we read back, is compared.

#[path = "kernel/desk.rs"]
mod desk;
#[path = "kernel/machine.rs"]
mod machine;
#[path = "kernel/objects.rs"]
mod objects;
#[path = "kernel/route_events.rs"]
mod route_events;
#[path = "kernel/world.rs"]
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use machine::{Machine, dump};
use rtmd::{
    fib::{FibOp, RouteOp, Support},
    kernel::{AddressEvent, LinkEvent, LinkState, Watch, WatchEvent, privilege},
    model::{Family, KernelTable, Prefix, TableId, VrfPlace, Wish},
};
use world::{forwarding, index, ip, ip_batch, ours, routes, with_links};

const IPV4_KINDS: [&str; 9] = [
    "via 192.0.2.254 dev west",
    "via 198.51.100.254 dev east",
    "dev west",
    "via 192.0.2.254 dev west weight 1, via 198.51.100.254 dev east weight 20",
    "via 192.0.2.7 dev west weight 3, dev east weight 1, via 192.0.2.8 dev west weight 2",
    "via 2001:db8:a::9 dev west",
    "blackhole",
    "unreachable",
    "prohibit",
];

const IPV6_KINDS: [&str; 8] = [
    "via 2001:db8:a::9 dev west",
    "via 2001:db8:b::9 dev east",
    "dev west",
    "via 2001:db8:a::9 dev west weight 1, via 2001:db8:b::9 dev east weight 20",
    "via 2001:db8:a::7 dev west weight 3, via 2001:db8:b::9 dev east weight 1, via 2001:db8:a::8 dev west weight 2",
    "blackhole",
    "unreachable",
    "prohibit",
];

fn set<const N: usize>(routes: [String; N]) -> BTreeSet<String> {
    routes.into()
}

/// From each kind to each other, with nothing left behind, and back to nothing.
fn every_kind_replaces_every_other(to: &'static str, kinds: &'static [&'static str]) {
    with_links(move || {
        let supports = [Support::None, Support::Groups, Support::Resilient];
        for (table, support) in [254, 1000].into_iter().flat_map(|it| supports.map(|to| (it, to))) {
            let mut machine = Machine::start_with(table, support);
            for from in kinds {
                for next in kinds {
                    for what in [from, next] {
                        machine.want(to, what);
                        machine.drain();
                        assert_eq!(machine.refused, [], "{from}, then {next}");
                        assert_eq!(routes(), set([ours(to, what, table)]), "{from}, then {next}");
                    }
                }
                let found = dump(KernelTable(table));
                let last = kinds.last().map(|what| forwarding(what));
                assert_eq!(found, [(to.parse().unwrap(), last)]);
                machine.withdraw(to);
                machine.drain();
                assert_eq!(routes(), set([]), "{from} was taken away");
            }
            machine.leave_groups();
            assert_eq!(ip("nexthop show"), "", "no object is left behind");
        }
    });
}

#[test]
fn every_kind_of_ipv4_route_replaces_every_other() {
    every_kind_replaces_every_other("203.0.113.0/24", &IPV4_KINDS);
}

#[test]
fn every_kind_of_ipv6_route_replaces_every_other() {
    every_kind_replaces_every_other("2001:db8:ffff::/48", &IPV6_KINDS);
}

#[test]
fn every_kind_of_route_is_read_back_as_it_was_written() {
    for support in [Support::None, Support::Groups, Support::Resilient] {
        with_links(move || {
            let mut machine = Machine::start_with(1000, support);
            let ipv4 = IPV4_KINDS.iter().zip(0..).map(|(what, n)| (format!("10.{n}.0.0/16"), what));
            let ipv6 = IPV6_KINDS
                .iter()
                .zip(1..)
                .map(|(what, n): (_, u16)| (format!("2001:{n:x}::/32"), what));
            let default =
                [("0.0.0.0/0".to_owned(), &IPV4_KINDS[0]), ("::/0".to_owned(), &IPV6_KINDS[3])];
            let wishes: Vec<_> = ipv4.chain(ipv6).chain(default).collect();
            for (to, what) in &wishes {
                machine.want(to, what);
            }
            machine.drain();
            let expected: BTreeSet<String> =
                wishes.iter().map(|(to, what)| ours(to, what, 1000)).collect();
            assert_eq!(routes(), expected);

            let mut again = Machine::before_dump(1000, support);
            for (to, what) in &wishes {
                again.want(to, what);
            }
            again.drain();
            assert_eq!(again.ops, 0, "what equals the wish is not written again");
            assert_eq!(again.installed_and_failed(), (wishes.len(), 0));
        });
    }
}

#[test]
fn routes_of_others_to_the_same_destination_are_left_alone() {
    with_links(|| {
        for (to, gateway) in
            [("203.0.113.0/24", "192.0.2.9"), ("2001:db8:ffff::/48", "2001:db8:a::5")]
        {
            for table in [254, 1000] {
                for other in [
                    "metric 10 proto 4",
                    "metric 81 proto 82",
                    "metric 83 proto 82",
                    "metric 1024 proto 186",
                ] {
                    ip(&format!("route add {to} via {gateway} dev west table {table} {other}"));
                }
            }
        }
        let others = routes();
        assert_eq!(others.len(), 16);
        let kinds: [(&str, &[&str]); 2] =
            [("203.0.113.0/24", &IPV4_KINDS), ("2001:db8:ffff::/48", &IPV6_KINDS)];
        for table in [254, 1000] {
            for (to, kinds) in kinds {
                let mut machine = Machine::start(table);
                for what in kinds {
                    machine.want(to, what);
                    machine.drain();
                    let mut expected = others.clone();
                    expected.insert(ours(to, what, table));
                    assert_eq!(routes(), expected);
                }
                machine.withdraw(to);
                machine.drain();
                assert_eq!(routes(), others);
            }
        }
    });
}

#[test]
fn a_strangers_route_with_our_metric_is_not_overwritten() {
    with_links(|| {
        for (to, gateway, what) in [
            ("203.0.113.0/24", "192.0.2.9", IPV4_KINDS[1]),
            ("2001:db8:ffff::/48", "2001:db8:a::5", IPV6_KINDS[3]),
        ] {
            ip(&format!("route add {to} via {gateway} dev west metric 82 proto 4"));
            let others = routes();
            let mut machine = Machine::start(254);
            machine.want(to, what);
            machine.drain();
            assert_eq!(machine.refused[0].1.errno, libc::EEXIST);
            let words = machine.refused[0].1.to_string();
            assert!(words.starts_with("another program's route with the same metric"), "{words}");
            for _ in 0..3 {
                machine.planner.handle_deadline(Instant::now() + Duration::from_secs(3600));
                machine.drain();
            }
            assert_eq!(routes(), others);
            ip(&format!("route del {to} metric 82"));
            machine.planner.handle_deadline(Instant::now() + Duration::from_secs(3600));
            machine.drain();
            assert_eq!(routes(), set([ours(to, what, 254)]));
            machine.withdraw(to);
            machine.drain();
        }
    });
}

#[test]
fn refusals_in_a_batch_are_told_with_their_destination_and_the_rest_is_installed() {
    with_links(|| {
        let mut machine = Machine::start(254);
        let mut expected = BTreeSet::new();
        let mut unreachable = Vec::new();
        for n in 0..3000_u32 {
            let to = format!("10.{}.{}.0/24", n / 256, n % 256);
            if n % 7 == 3 {
                machine.want(&to, "via 203.0.113.1 dev west");
                unreachable.push(to.parse::<Prefix>().unwrap());
            } else {
                machine.want(&to, "via 192.0.2.254 dev west");
                expected.insert(ours(&to, "via 192.0.2.254 dev west", 254));
            }
        }
        machine.drain();
        let refused: Vec<Prefix> = machine.refused.iter().map(|(to, _)| *to).collect();
        assert_eq!(refused, unreachable);
        for (_, refusal) in &machine.refused {
            assert_eq!(refusal.errno, libc::ENETUNREACH);
            assert_eq!(refusal.to_string(), "Nexthop has invalid gateway");
        }
        assert_eq!(routes(), expected);
        assert_eq!(machine.installed_and_failed().1, unreachable.len());
    });
}

#[test]
fn no_refusal_of_a_full_datagram_is_lost() {
    with_links(|| {
        let mut machine = Machine::start(254);
        let ops = (0..5000_u32).map(|n| FibOp::Route {
            table: KernelTable(254),
            to: format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap(),
            op: RouteOp::Uninstall,
        });
        let results = machine.carry_out(ops.collect());
        assert_eq!(results.len(), 5000);
        for (op, result) in results {
            assert_eq!(result.unwrap_err().errno, libc::ESRCH, "{op:?}");
        }
    });
}

#[test]
fn a_route_too_large_for_a_message_is_refused_and_its_neighbours_are_not() {
    with_links(|| {
        let mut machine = Machine::start(254);
        machine.want("10.0.0.0/16", "dev west");
        machine.want("10.1.0.0/16", "via 192.0.2.254 dev west");
        let many = forwarding("via 192.0.2.254 dev west");
        let rtmd::model::Forwarding::Unicast(hops) = many else { panic!() };
        let many = rtmd::model::Forwarding::Unicast(vec![hops[0]; 1001].into());
        let many = machine.group(Family::Ipv4, many);
        let (table, to) = (TableId::new(0, Family::Ipv4).unwrap(), "10.2.0.0/16".parse().unwrap());
        machine.planner.want(table, to, Some(Wish::Group(many)));
        machine.want("10.3.0.0/16", "dev east");
        machine.drain();
        assert_eq!(machine.refused.len(), 1);
        assert_eq!(machine.refused[0].1.errno, libc::EMSGSIZE);
        assert_eq!(routes().len(), 3);
    });
}

#[test]
fn what_is_found_at_the_start_is_repaired_and_nothing_else_touched() {
    with_links(|| {
        for route in [
            "route add 10.0.0.0/16 via 192.0.2.254 dev west metric 82 proto 82", // as wished
            "route add 10.1.0.0/16 via 192.0.2.253 dev west metric 82 proto 82", // by another gateway
            "route add blackhole 10.20.0.0/16 metric 82 proto 82",               // not wished
            "route add 10.3.0.0/16 via 192.0.2.254 dev west metric 82 proto 82", // three times
            "route append 10.3.0.0/16 via 192.0.2.253 dev west metric 82 proto 82",
            "route append blackhole 10.3.0.0/16 metric 82 proto 82",
            "route add 10.4.0.0/16 via 192.0.2.254 dev west metric 82 proto 82 mtu 1300", // another shape
            "route add 10.5.0.0/16 via 203.0.113.1 dev west metric 82 proto 82 onlink",
            "route add 2001:db8:1::/48 via 2001:db8:a::9 dev west metric 82 proto 82", // with a sibling
            "route append 2001:db8:1::/48 via 2001:db8:b::9 dev east metric 82 proto 82",
            "route add 2001:db8:2::/48 dev west metric 82 proto 82", // on two links
            "route append 2001:db8:2::/48 dev east metric 82 proto 82",
            "route add 10.1.0.0/16 via 192.0.2.7 dev west metric 5 proto 82", // not ours
            "route add 10.2.0.0/16 via 192.0.2.7 dev west metric 82 proto 4",
        ] {
            ip(route);
        }
        let mut machine = Machine::before_dump(254, Support::None);
        let (v4, v6) = ("via 192.0.2.254 dev west", "via 2001:db8:a::9 dev west");
        let wishes: BTreeMap<String, &str> = (0..6)
            .filter(|n| *n != 2)
            .map(|n| (format!("10.{n}.0.0/16"), v4))
            .chain((1..3).map(|n| (format!("2001:db8:{n}::/48"), v6)))
            .collect();
        for (to, what) in &wishes {
            machine.want(to, what);
        }
        machine.drain();
        let mut expected: BTreeSet<String> =
            wishes.iter().map(|(to, what)| ours(to, what, 254)).collect();
        expected
            .insert("10.1.0.0/16 via 192.0.2.7 dev west proto 82 metric 5 table 254".to_owned());
        expected
            .insert("10.2.0.0/16 via 192.0.2.7 dev west proto 4 metric 82 table 254".to_owned());
        assert_eq!(routes(), expected);
        let first = machine.refused.iter().find(|(_, refusal)| refusal.errno != libc::ESRCH);
        assert_eq!(first, None);

        let mut again = Machine::before_dump(254, Support::None);
        for (to, what) in &wishes {
            again.want(to, what);
        }
        again.drain();
        assert_eq!(again.ops, 0, "what was repaired is left alone");
    });
}

#[test]
fn a_table_that_does_not_exist_is_empty() {
    with_links(|| assert_eq!(dump(KernelTable(4_000_000_000)), []));
}

fn after_a_storm_of_wishes(support: Support) {
    with_links(move || {
        let mut random = fastrand::Rng::with_seed(82);
        let mut machine = Machine::start_with(1000, support);
        let mut wishes = BTreeMap::new();
        for round in 0..60_000_u64 {
            let number = random.u64(..20_000);
            let (to, kinds) = if number.is_multiple_of(2) {
                (format!("10.{}.{}.0/24", number / 256, number % 256), IPV4_KINDS.as_slice())
            } else {
                (format!("2001:{number:x}::/32"), IPV6_KINDS.as_slice())
            };
            if random.u64(..4) == 0 {
                machine.withdraw(&to);
                wishes.remove(&to);
            } else {
                let what = kinds[random.usize(..kinds.len())];
                machine.want(&to, what);
                wishes.insert(to, what);
            }
            if round % 7000 == 0 {
                machine.drain();
            }
        }
        machine.drain();
        assert_eq!(machine.refused, []);
        assert!(machine.planner.is_settled());
        let expected: BTreeSet<String> =
            wishes.iter().map(|(to, what)| ours(to, what, 1000)).collect();
        assert!(routes() == expected, "the kernel differs from the wishes");
    });
}

#[test]
fn after_a_storm_of_wishes_the_kernel_has_what_was_wished_last() {
    after_a_storm_of_wishes(Support::Resilient);
}

#[test]
fn after_a_storm_of_wishes_the_kernel_has_it_without_next_hop_objects_too() {
    after_a_storm_of_wishes(Support::None);
}

/// The events up to the next one that this accepts.
async fn events_until(watch: &mut Watch, last: impl Fn(&WatchEvent) -> bool) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        let event = event.unwrap_or_else(|_| panic!("no more events after {events:?}")).unwrap();
        events.push(event);
        if events.last().is_some_and(&last) {
            return events;
        }
    }
}

#[test]
fn links_and_addresses_are_told_at_the_start_and_when_they_change() {
    with_links(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let west = index("west");
            let name = "west".to_owned();
            let link = |state| {
                WatchEvent::Link(LinkEvent::Set {
                    index: west,
                    name: name.clone(),
                    state,
                    vrf: VrfPlace::default(),
                })
            };
            let address = "192.0.2.1".parse().unwrap();
            let prefix: Prefix = "192.0.2.0/24".parse().unwrap();

            let mut watch = Watch::start().unwrap();
            let start = events_until(&mut watch, |event| *event == WatchEvent::DumpComplete).await;
            assert!(start.contains(&link(LinkState::Up)), "{start:?}");
            let added = WatchEvent::Address(AddressEvent::Added { index: west, address, prefix });
            assert!(start.contains(&added), "{start:?}");

            ip("link set west down");
            events_until(&mut watch, |event| *event == link(LinkState::Down)).await;
            ip("link set west up");
            events_until(&mut watch, |event| *event == link(LinkState::Up)).await;
            ip("link set east down"); // takes the carrier of its peer
            events_until(&mut watch, |event| *event == link(LinkState::Down)).await;

            ip("addr del 192.0.2.1/24 dev west");
            let removed =
                WatchEvent::Address(AddressEvent::Removed { index: west, address, prefix });
            events_until(&mut watch, |event| *event == removed).await;
            ip("addr add 192.0.2.1 peer 203.0.113.7/32 dev west");
            let prefix = "203.0.113.7/32".parse().unwrap();
            let added = WatchEvent::Address(AddressEvent::Added { index: west, address, prefix });
            events_until(&mut watch, |event| *event == added).await;

            ip("link del west");
            let gone = WatchEvent::Link(LinkEvent::Gone { index: west });
            events_until(&mut watch, |event| *event == gone).await;
        });
    });
}

#[test]
fn after_an_overrun_everything_is_told_again() {
    with_links(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watch = Watch::start().unwrap();
            events_until(&mut watch, |event| *event == WatchEvent::DumpComplete).await;
            // Nothing reads meanwhile: this thread is the runtime's.
            ip_batch((0..30_000).map(|round| {
                format!("link set west {}", if round % 2 == 0 { "down" } else { "up" })
            }));
            events_until(&mut watch, |event| *event == WatchEvent::Resync).await;
            let again = events_until(&mut watch, |event| *event == WatchEvent::DumpComplete).await;
            let (index, name) = (index("west"), "west".to_owned());
            let up = WatchEvent::Link(LinkEvent::Set {
                index,
                name,
                state: LinkState::Up,
                vrf: VrfPlace::default(),
            });
            assert!(again.contains(&up), "{again:?}");
        });
    });
}

#[test]
fn without_the_capability_the_missing_one_is_named() {
    with_links(|| {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

        privilege::check().unwrap();
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        let error = privilege::check().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}
