//! Writes that fail, answers that are lost, and dumps that end early.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use rtmd::{
    bus::wire::{INFINITE, RouteItem},
    kernel::{PortId, RouteWatch},
    model::{RouteFlags, View},
};
use rustix::io::Errno;

use crate::{
    faults::Faults,
    scene::{Scene, offer, restore},
    stage::{CASES, Case, becomes, heard, in_both_ways, prepared},
    support::{Client, details, eventually},
    world::{all_routes, index, ip, ours, with_links},
};

/// What may be tried again after one second is right again after this.
const SECOND_TRY: Duration = Duration::from_secs(3);

/// How many routes are offered at once.
const MANY: usize = 60;

/// Many destinations of a family, none of which anybody else has a route to.
fn many(case: &Case) -> Vec<String> {
    let to = |number: usize| match case.is_ipv6() {
        false => format!("100.64.{number}.0/24"),
        true => format!("2001:db8:f{number:03}::/48"),
    };
    (0..MANY).map(to).collect()
}

/// Offers all of them in one call.
async fn offer_all(client: &Client, to: &[String], what: &str) {
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let (_, refused) = client.entity.add_prefixes(&to, &offer(what, 20, 0), 0).await.unwrap();
    assert_eq!(refused, []);
}

/// What the kernel is to have then.
fn with(scene: &Scene, to: &[String], what: &str) -> BTreeSet<String> {
    let mut expected = scene.foreign.clone();
    expected.extend(to.iter().map(|to| ours(to, what, 254)));
    expected
}

/// Waits until the kernel has these routes; and it says so on the bus.
async fn is_right_soon(scene: &Scene, when: &str, expected: &BTreeSet<String>) {
    let since = Instant::now();
    while scene.manager.fib_state().await.unwrap() != "synced" || !has_exactly(expected) {
        if since.elapsed() > SECOND_TRY {
            let found = all_routes().into_iter().collect();
            let difference = crate::scene::difference(&found, expected);
            panic!("not right {SECOND_TRY:?} after {when}: {difference}\n{}", ip("nexthop show"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    becomes(scene, when, expected).await;
}

fn has_exactly(expected: &BTreeSet<String>) -> bool {
    all_routes().into_iter().collect::<BTreeSet<_>>() == *expected
}

async fn leave(scene: &Scene, client: Client) {
    client.entity.deregister(&details([])).await.unwrap();
    becomes(scene, "the end", &scene.foreign).await;
}

#[test]
fn writes_that_fail_are_tried_again_and_not_in_a_loop() {
    in_both_ways(async |scene| {
        for error in ["ENOBUFS", "EAGAIN", "EBUSY"] {
            for case in CASES {
                let fault = format!("sendto:error={error}");
                let Some(faults) = Faults::in_writer(scene, &[&fault]) else { return };
                let client = scene.client(case.family, 14).await;
                let to = many(&case);
                offer_all(&client, &to, case.north).await;
                eventually("it is told", async || {
                    scene.manager.fib_state().await.unwrap() == "degraded"
                })
                .await;
                tokio::time::sleep(Duration::from_millis(2500)).await;
                assert!(has_exactly(&scene.foreign));
                let sent = faults.stop().matches("sendto(").count();
                // At once, and after one second.
                assert!((2..=4).contains(&sent), "{sent} attempts in 2.5 seconds");
                is_right_soon(scene, error, &with(scene, &to, case.north)).await;
                leave(scene, client).await;
            }
        }
    });
}

#[test]
fn a_signal_while_the_kernel_is_asked_makes_no_difference() {
    in_both_ways(async |scene| {
        for case in CASES {
            let faults = ["sendto:error=EINTR:when=1..3", "recvfrom:error=EINTR:when=1..3"];
            let Some(faults) = Faults::in_writer(scene, &faults) else { return };
            let client = scene.client(case.family, 14).await;
            let to = many(&case);
            offer_all(&client, &to, case.north).await;
            becomes(scene, "the offer", &with(scene, &to, case.north)).await;
            assert_eq!(faults.stop().matches("EINTR").count(), 6);
            assert_eq!(scene.manager.fib_state().await.unwrap(), "synced");
            leave(scene, client).await;
        }
    });
}

/// Lost, never come, or longer than there is room for.
const NO_ANSWER: [&str; 3] = [
    "recvfrom:error=ENOBUFS:when=1",
    "recvfrom:error=EAGAIN:when=1",
    "recvfrom:retval=100000:when=1",
];

#[test]
fn what_was_done_without_an_answer_is_read_and_neither_taken_away_nor_written_again() {
    in_both_ways(async |scene| {
        for fault in NO_ANSWER {
            for case in CASES {
                let client = scene.client(case.family, 14).await;
                let to = many(&case);
                // So that there is a next-hop object already.
                offer_all(&client, &to[..1], case.north).await;
                becomes(scene, "the first offer", &with(scene, &to[..1], case.north)).await;
                let Some(faults) = Faults::in_writer(scene, &[fault]) else { return };
                let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
                offer_all(&client, &to[1..], case.north).await;
                is_right_soon(scene, fault, &with(scene, &to, case.north)).await;
                let heard = heard(watch).await;
                assert_eq!((heard.set, heard.gone), (MANY - 1, 0), "{fault}");
                assert_eq!(heard.objects, 0, "{fault}");
                assert!(faults.stop().contains("INJECTED"));
                leave(scene, client).await;
            }
        }
    });
}

#[test]
fn next_hop_objects_that_were_made_without_an_answer_are_used() {
    in_both_ways(async |scene| {
        for fault in NO_ANSWER {
            for case in CASES {
                let Some(faults) = Faults::in_writer(scene, &[fault]) else { return };
                let client = scene.client(case.family, 14).await;
                let to = many(&case);
                offer_all(&client, &to, case.both).await;
                is_right_soon(scene, fault, &with(scene, &to, case.both)).await;
                assert!(faults.stop().contains("INJECTED"));
                leave(scene, client).await;
            }
        }
    });
}

/// What rtmd asks first does not get to the kernel, and the answer that it reads is this error.
fn refuse_first(errno: i32) -> [String; 2] {
    const NLMSG_ERROR: u16 = 2;
    const NLM_F_CAPPED: u16 = 0x100;
    let mut answer = Vec::new();
    answer.extend(36_u32.to_ne_bytes());
    answer.extend(NLMSG_ERROR.to_ne_bytes());
    answer.extend(NLM_F_CAPPED.to_ne_bytes());
    answer.extend(1_u32.to_ne_bytes()); // the number of the first request
    answer.extend([0; 4]);
    answer.extend((-errno).to_ne_bytes());
    answer.extend([0; 16]);
    let answer: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        "sendto:retval=100:when=1".to_owned(),
        format!("recvfrom:retval=36:poke_exit=@arg2={answer}:when=1"),
    ]
}

/// Without next-hop objects it is a route that is refused, with them an object.
#[test]
fn when_the_kernel_is_busy_or_interrupted_it_is_asked_again_a_second_later() {
    for error in [Errno::BUSY, Errno::INTR, Errno::AGAIN, Errno::NOMEM] {
        for case in CASES {
            in_both_ways(async move |scene| {
                let faults = refuse_first(error.raw_os_error());
                let faults = faults.each_ref().map(String::as_str);
                let Some(faults) = Faults::in_writer(scene, &faults) else { return };
                let client = scene.client(case.family, 14).await;
                case.offer(&client, case.north, 20).await;
                eventually("it is told", async || {
                    scene.manager.fib_state().await.unwrap() == "degraded"
                })
                .await;
                assert!(has_exactly(&scene.foreign));
                let expected = with(scene, &[case.to.to_owned()], case.north);
                is_right_soon(scene, &error.to_string(), &expected).await;
                let said = faults.stop();
                assert_eq!(said.matches("INJECTED").count(), 2, "{said}");
                // The one that was refused, and one each for a hop, a group and a route.
                assert!(said.matches("sendto(").count() <= 4, "{said}");
                leave(scene, client).await;
            });
        }
    }
}

#[test]
fn what_the_kernel_refuses_in_the_middle_of_a_datagram_holds_up_nothing_before_and_behind_it() {
    in_both_ways(async |scene| {
        for case in CASES {
            let client = scene.client(case.family, 14).await;
            let to = many(&case);
            // So that there is a next-hop object already.
            offer_all(&client, &to[..1], case.north).await;
            becomes(scene, "the first offer", &with(scene, &to[..1], case.north)).await;
            let fault = "sendto:delay_enter=400000:when=1";
            let Some(faults) = Faults::in_writer(scene, &[fault]) else { return };
            let gateway = case.gateway.trim_start_matches("via ");
            let (north, _) =
                client.entity.add_next_hop(gateway, index("north").0, &details([])).await.unwrap();
            let items: Vec<RouteItem> =
                (1..MANY).map(|number| item(&to[number], north, number)).collect();
            let (_, refused) = client.entity.add_routes(&items, 0).await.unwrap();
            assert_eq!(refused, []);
            // Now it has decided what to ask for, and has not asked.
            tokio::time::sleep(Duration::from_millis(100)).await;
            ip("link set north down");
            tokio::time::sleep(Duration::from_millis(600)).await;
            let mut expected = scene.foreign.clone();
            for number in (1..MANY).filter(|number| !goes_north(*number)) {
                expected.insert(ours(&to[number], "blackhole", 254));
            }
            becomes(scene, "what is left", &expected).await;
            let said = faults.stop();
            // One datagram, an answer for each that was refused, and one for all that went before it.
            let answers = said.lines().skip(1).take_while(|line| line.starts_with("recvfrom("));
            assert_eq!(answers.count(), 20 + 1, "{said}");
            restore("north");
            for number in (0..MANY).filter(|number| goes_north(*number)) {
                expected.insert(ours(&to[number], case.north, 254));
            }
            is_right_soon(scene, "it is back", &expected).await;
            leave(scene, client).await;
        }
    });
}

/// Of many routes some in the middle.
fn goes_north(number: usize) -> bool {
    number == 0 || (20..40).contains(&number)
}

fn item(to: &str, north: u64, number: usize) -> RouteItem {
    let (flags, next_hops) = match goes_north(number) {
        true => (RouteFlags::default(), vec![north]),
        false => (RouteFlags::BLACKHOLE, vec![]),
    };
    RouteItem {
        destination: to.to_owned(),
        neighbour: 0,
        preference: 20,
        metric: 0,
        flags: u32::from(flags.0),
        views: View::UNICAST.only().0,
        ttl: INFINITE,
        next_hops,
    }
}

#[test]
fn dumps_that_fail_are_tried_again_once_a_second_and_only_the_difference_is_written() {
    in_both_ways(async |scene| {
        let mut clients = Vec::new();
        let mut expected = scene.foreign.clone();
        for case in CASES {
            let client = scene.client(case.family, 14).await;
            let to = many(&case);
            offer_all(&client, &to, case.north).await;
            expected.extend(with(scene, &to, case.north));
            clients.push(client);
        }
        becomes(scene, "the offer", &expected).await;
        // Of rtmd's main thread as well, which takes that for an overrun.
        for fault in ["recvfrom:error=ENOBUFS:when=1..2", "recvfrom:retval=100000:when=1..2"] {
            let Some(faults) = Faults::start(scene, None, &[fault]) else { return };
            ip("route add 198.18.55.0/24 dev south proto static metric 7");
            ip("route del 198.18.55.0/24 dev south proto static metric 7");
            tokio::time::sleep(Duration::from_millis(2500)).await;
            ip("route del 100.64.7.0/24 proto 82 metric 82");
            assert_ne!(scene.manager.fib_state().await.unwrap(), "synced");
            let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
            let said = faults.stop();
            // A round a second: of objects, tables, and the routes of others in each.
            let failed = said.matches("INJECTED").count();
            assert!((2..100).contains(&failed), "{failed} failures in 2.5 seconds");
            is_right_soon(scene, fault, &expected).await;
            let heard = heard(watch).await;
            assert_eq!((heard.set, heard.gone, heard.objects), (1, 0, 0), "{fault}");
        }
        for client in clients {
            client.entity.deregister(&details([])).await.unwrap();
        }
    });
}

/// How many bytes a socket of this network may have for filters and the like (Linux 6.8; before, it was the
/// same for all).
const ROOM_FOR_FILTERS: &str = "/proc/sys/net/core/optmem_max";

/// Only the filter of our own echoes fits.
#[test]
fn where_the_kernel_takes_no_filter_of_others_routes_tampering_is_undone_all_the_same() {
    without_room_for_filters("700", async |scene| {
        assert!(scene.service.log().contains("the kernel has no filter"));
        for case in CASES {
            let rivals = case.rivals(scene, case.north, case.west).await;
            case.becomes(scene, "the offer", case.north).await;
            ip(&format!("{} route del {} metric 82", case.option(), case.to));
            case.becomes(scene, "the route was deleted", case.north).await;
            rivals.leave().await;
        }
    });
}

#[test]
fn where_others_cannot_be_followed_that_is_said_and_all_is_read_until_they_can() {
    without_room_for_filters("300", async |scene| {
        let told = "what other programs do to routes cannot be followed";
        assert_eq!(scene.service.log().matches(told).count(), 1);
        let [case, _] = CASES;
        let rivals = case.rivals(scene, case.north, case.west).await;
        eventually("it is degraded", async || {
            scene.manager.fib_state().await.unwrap() == "degraded"
        })
        .await;
        case.becomes(scene, "the offer", case.north).await;
        for can_follow in [false, true] {
            if can_follow {
                std::fs::write(ROOM_FOR_FILTERS, "131072").unwrap();
            }
            ip(&format!("{} route del {} metric 82", case.option(), case.to));
            let deleted = Instant::now();
            // It reads every ten seconds.
            while !ip(&format!("route show {} metric 82", case.to)).contains("proto 82") {
                assert!(deleted.elapsed() < Duration::from_secs(12), "it is not repaired");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(scene.service.log().matches(told).count(), 1, "it is said once");
        }
        eventually("it is in step", async || scene.manager.fib_state().await.unwrap() == "synced")
            .await;
        ip(&format!("{} route del {} metric 82", case.option(), case.to));
        case.becomes(scene, "it can be followed again", case.north).await;
        rivals.leave().await;
    });
}

/// Runs a test where a socket may have so many bytes of filters. Says so where that cannot be told a network
/// by itself.
fn without_room_for_filters(bytes: &'static str, test: impl AsyncFnOnce(&Scene) + Send + 'static) {
    let prepare = move || std::fs::write(ROOM_FOR_FILTERS, bytes).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    with_links(move || tell.send(Path::new(ROOM_FOR_FILTERS).exists()).unwrap());
    let Ok(is_own) = told.recv() else { return };
    match is_own {
        true => prepared(&[], true, prepare, test),
        false => println!("skip: {ROOM_FOR_FILTERS} is not there in a network namespace"),
    }
}
