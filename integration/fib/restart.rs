//! A service that is killed, and started again where its routes still are.
//!
//! Its journal has what clients offered, so nothing in the kernel changes. Where the journal is lost, what
//! the kernel has of an earlier life stays for a while; what clients offer again as it was is not touched,
//! and the rest goes, unless it is a static route.

use std::{
    collections::BTreeSet,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use rtmd::kernel::{PortId, RouteWatch};

use crate::{
    faults::Faults,
    scene::{CONFIG, await_ready, offer},
    stage::{CASES, Case, Heard, heard},
    support::{Client, PrivateBus, Service, eventually},
    world::{ip, ours, routes, with_links},
};

/// Routes of each family.
const MANY: usize = 1000;

/// Static ones of each family.
const STATIC: usize = 10;

/// A bus, and the one rtmd on it, again and again.
struct Stage {
    bus: PrivateBus,
    config: String,
    strangers: BTreeSet<String>,
}

/// Runs a test with next-hop objects and without.
fn in_both_ways(test: impl AsyncFnOnce(&Stage) + Clone + Send + 'static) {
    for objects in [true, false] {
        println!("next-hop-objects = {objects}");
        let test = test.clone();
        with_links(move || {
            for command in [
                "link add north type veth peer name north-peer",
                "link add south type veth peer name south-peer",
                "addr add 10.99.0.1/24 dev north",
                "addr add 2001:db8:c::1/64 dev north nodad",
                "link set north-peer up",
                "link set south-peer up",
                "link set north up",
                "link set south up",
                "route add 100.64.0.0/24 dev south proto static metric 83",
                "route add 198.18.0.0/24 dev south proto bird metric 82",
                "-6 route add 2001:db8:f000::/48 dev south proto zebra metric 81",
                "nexthop add id 7 dev south proto static",
            ] {
                ip(command);
            }
            let config = format!("[fib]\nnext-hop-objects = {objects}\n\n{CONFIG}");
            let stage = Stage { bus: PrivateBus::start(), config, strangers: routes() };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(test(&stage));
            assert!(stage.strangers.is_subset(&routes()), "others' routes were touched");
            assert!(ip("nexthop show id 7").contains("dev south"));
        });
    }
}

impl Stage {
    fn listen(&self) -> UnixDatagram {
        let path = self.bus.path("notify");
        let _ = std::fs::remove_file(&path);
        UnixDatagram::bind(path).unwrap()
    }

    /// Starts it, and waits until it is in step.
    fn start(&self) -> Service {
        self.start_with(&self.config)
    }

    fn start_with(&self, config: &str) -> Service {
        let manager = self.listen();
        let service = self.bus.spawn(config, "only");
        await_ready(manager, &service);
        service
    }

    /// The same with this in the section of the service.
    fn with(&self, option: &str) -> Self {
        let config = format!("[service]\n{option}\n\n{}", self.config);
        Self { bus: PrivateBus::start(), config, strangers: self.strangers.clone() }
    }

    /// Asks it to stop, and waits until it has; answers with what the service manager was told.
    fn stop(&self, service: &mut Service) -> String {
        let manager = self.listen();
        service.terminate();
        assert!(service.end().success());
        manager.set_nonblocking(true).unwrap();
        let mut told = String::new();
        let mut notice = [0; 1024];
        while let Ok(length) = manager.recv(&mut notice) {
            told.push_str(std::str::from_utf8(&notice[..length]).unwrap());
            told.push('\n');
        }
        told
    }

    /// As if the machine had been started anew, but for the kernel.
    fn lose_journal(&self) {
        let directory = self.bus.launch(&self.config, "only").runtime_directory.join("journal");
        std::fs::remove_dir_all(directory).unwrap();
    }

    /// Starts it and offers it all; also answers with what the kernel has then.
    async fn begin(&self) -> (Service, Vec<Client>, BTreeSet<String>) {
        let service = self.start();
        let (clients, expected) = (self.offer(MANY).await, self.expected(MANY));
        becomes("the offer", &expected).await;
        (service, clients, expected)
    }

    /// Offers the first so many routes of each family, as ever.
    async fn offer(&self, count: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for case in CASES {
            let client = Client::register(&self.bus, case.family, 14).await;
            for (kind, what) in kinds(&case).into_iter().enumerate() {
                let to: Vec<String> =
                    (kind..count).step_by(4).map(|number| to(&case, number)).collect();
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                let answer = client.entity.add_prefixes(&to, &offer(what, 20, 0), 0).await;
                assert_eq!(answer.unwrap().1, []);
            }
            clients.push(client);
        }
        clients
    }

    /// What the kernel is to have when the first so many of each family are offered.
    fn expected(&self, count: usize) -> BTreeSet<String> {
        let mut expected = self.strangers.clone();
        for case in CASES {
            let kinds = kinds(&case);
            let all = (0..count).map(|number| ours(&to(&case, number), kinds[number % 4], 254));
            expected.extend(all);
        }
        expected
    }
}

fn kinds(case: &Case) -> [&'static str; 4] {
    [case.north, case.both, case.west, "blackhole"]
}

fn to(case: &Case, number: usize) -> String {
    match case.is_ipv6() {
        false => format!("100.{}.{}.0/24", 64 + number / 256, number % 256),
        true => format!("2001:db8:f{number:03x}::/48"),
    }
}

async fn becomes(when: &str, expected: &BTreeSet<String>) {
    let since = Instant::now();
    loop {
        let found = routes();
        if found == *expected {
            return;
        }
        let waits = since.elapsed() < Duration::from_secs(5);
        assert!(waits, "{when}: {}", crate::scene::difference(&found, expected));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn after_a_kill_nothing_is_written_and_clients_go_on_and_what_died_meanwhile_goes() {
    in_both_ways(async |stage| {
        let (mut service, mut clients, expected) = stage.begin().await;

        for _ in 0..3 {
            service.kill();
            let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
            service = stage.start();
            assert_eq!(routes(), expected, "ready, and not in step");
            assert_eq!(heard(watch).await, Heard { set: 0, gone: 0, objects: 0 });
        }
        for (case, client) in CASES.iter().zip(&clients) {
            let to = to(case, MANY);
            let (_, errors) =
                client.entity.add_prefixes(&[&to], &offer(case.west, 20, 0), 0).await.unwrap();
            assert_eq!(errors, []);
        }
        let mut more = expected.clone();
        more.extend(CASES.iter().map(|case| ours(&to(case, MANY), case.west, 254)));
        becomes("one more of each", &more).await;

        // The second client dies while nobody hears of it.
        service.kill();
        let of_second: BTreeSet<String> =
            more.iter().filter(|it| it.contains("2001:db8:f")).cloned().collect();
        drop(clients.pop());
        let service = stage.start();
        let left: BTreeSet<String> = more
            .iter()
            .filter(|it| !of_second.contains(*it) || stage.strangers.contains(*it))
            .cloned()
            .collect();
        becomes("the routes of the second are gone", &left).await;
        drop(service);
    });
}

/// BIRD and zebra take a route for lost when its daemon starts again; here only what differs is written.
#[test]
fn without_its_journal_all_stays_until_owners_had_the_time_to_offer_it_again_and_then_the_rest_goes()
 {
    const AGAIN: usize = MANY - 100;
    in_both_ways(async |stage| {
        let stage = &stage.with("reclaim-time = 4");
        let (mut service, clients, mut expected) = stage.begin().await;
        let mut statics = BTreeSet::new();
        for case in CASES {
            for number in 0..STATIC {
                let to = to(&case, 2 * MANY + number);
                // By the same next hops, they could as well get the objects of the others' now.
                let route = offer("blackhole", 20, 0);
                clients[0].manager.add_static_route(0, &to, &route, true).await.unwrap();
                statics.insert(ours(&to, "blackhole", 254));
            }
        }
        expected.extend(statics.clone());
        becomes("the static routes", &expected).await;

        service.kill();
        drop(clients);
        stage.lose_journal();
        let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
        let mut service = stage.start();
        assert_eq!(routes(), expected, "ready");
        let clients = stage.offer(AGAIN).await;
        let left: BTreeSet<String> = stage.expected(AGAIN).union(&statics).cloned().collect();
        becomes("the rest goes", &left).await;
        let changes = heard(watch).await;
        assert_eq!((changes.set, changes.gone), (0, 2 * (MANY - AGAIN)), "{changes:?}");
        let log = service.log();
        assert!(log.contains("nobody offered them again in time"), "{log}");

        // As systemd would do it.
        service.terminate();
        assert!(service.end().success());
        drop(clients);
        assert_eq!(routes(), left);
    });
}

#[test]
fn where_no_time_is_given_what_an_earlier_life_left_goes_as_soon_as_it_is_read() {
    in_both_ways(async |stage| {
        let stage = &stage.with("reclaim-time = 0");
        let (mut service, clients, _) = stage.begin().await;
        service.kill();
        drop(clients);
        stage.lose_journal();
        let service = stage.start();
        assert_eq!(routes(), stage.strangers, "ready, and not in step");
        drop(service);
    });
}

fn objects_of_ours() -> String {
    ip("nexthop show proto 82")
}

#[test]
fn a_stop_withdraws_if_it_is_to_and_the_next_start_puts_all_back_and_a_crash_withdraws_nothing() {
    in_both_ways(async |stage| {
        let stage = &stage.with("on-stop = \"withdraw\"");
        let (mut service, clients, expected) = stage.begin().await;
        service.kill();
        assert_eq!(routes(), expected);

        for _ in 0..2 {
            service = stage.start();
            assert_eq!(routes(), expected, "ready, and not in step");
            let told = stage.stop(&mut service);
            assert_eq!(routes(), stage.strangers);
            assert_eq!(objects_of_ours(), "");
            assert!(told.contains("STOPPING=1"), "{told}");
            assert!(told.contains("STATUS=taking the routes out of the kernel"), "{told}");
            assert!(
                service.log().contains("nothing of ours is in the kernel"),
                "{}",
                service.log()
            );
        }
        // Also where nothing has been read yet: what is ours is what carries our mark.
        let mut service = stage.start();
        service.kill();
        let mut service = stage.bus.spawn(&stage.config, "only");
        eventually("it is on the bus", async || {
            stage.bus.busctl(&["status", "org.rtmd1"]).status.success()
        })
        .await;
        stage.stop(&mut service);
        assert_eq!(routes(), stage.strangers);
        drop(clients);
    });
}

#[test]
fn a_reload_writes_nothing_to_the_kernel_and_loses_no_route() {
    in_both_ways(async |stage| {
        let (service, clients, expected) = stage.begin().await;
        let watch = RouteWatch::start(PortId(u32::MAX)).unwrap(); // nobody's
        let levels = format!("[preferences]\nbgp = 99\n\n{}", stage.config);
        for config in [&levels, "nonsense", &stage.config] {
            let before = service.log().matches("read again").count();
            std::fs::write(stage.bus.path("only.toml"), config).unwrap();
            service.signal("HUP");
            eventually("it was read", async || {
                service.log().matches("read again").count() > before
            })
            .await;
        }
        assert_eq!(heard(watch).await, Heard { set: 0, gone: 0, objects: 0 });
        assert_eq!(routes(), expected);
        drop(clients);
    });
}

/// A kernel that takes nothing must not keep the machine from going down.
#[test]
fn a_second_signal_ends_a_withdrawal_that_goes_on_and_on() {
    in_both_ways(async |stage| {
        let stage = &stage.with("on-stop = \"withdraw\"");
        let (mut service, clients, expected) = stage.begin().await;
        let writer = Some("rtmd-writer");
        let refused = &["sendto:error=ENOBUFS"];
        let Some(faults) = Faults::in_process(service.pid(), writer, refused) else { return };
        service.terminate();
        eventually("it begins", async || service.log().contains("the routes leave the kernel"))
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        service.terminate();
        assert!(service.end().success());
        faults.stop();
        assert!(service.log().contains("told to stop again"), "{}", service.log());
        assert_eq!(routes(), expected);
        drop(clients);
    });
}

#[test]
fn what_was_written_with_another_metric_protocol_or_table_goes_when_the_new_is_there() {
    in_both_ways(async |stage| {
        let (mut service, clients, expected) = stage.begin().await;
        for (protocol, metric) in [(82, 100), (99, 100), (82, 82)] {
            service.kill();
            let signature = format!("protocol = {protocol}\nmetric = {metric}\n");
            let config = stage.config.replace("[fib]\n", &format!("[fib]\n{signature}"));
            service = stage.start_with(&config);
            let signed = format!(" proto {protocol} metric {metric} ");
            let expected =
                expected.iter().map(|it| it.replace(" proto 82 metric 82 ", &signed)).collect();
            becomes(&signature, &expected).await;
            let other = if protocol == 82 { 99 } else { 82 };
            assert_eq!(ip(&format!("nexthop show proto {other}")), "");
        }
        // Clients have to offer again what is in another table.
        service.kill();
        let with_table = "[[instance]]\nid = 0\nkernel-table = 7000\n";
        let config = stage.config.replace("[[instance]]\nid = 0\n", with_table);
        service = stage.start_with(&config);
        becomes("the old table has nothing of ours", &stage.strangers).await;
        drop((service, clients));
    });
}
