//! Reading the configuration again, as a service manager has it done: it hears when that begins and ends,
//! and what was wrong.

mod support;

use std::{os::unix::net::UnixDatagram, time::Duration};

use rtmd::model::Family;
use rustix::time::{ClockId, clock_gettime};
use support::{Client, NO_FIB, PrivateBus, Service, refusal};

const OSPF: u32 = 13;

/// A service manager that reads what it is told.
struct Manager(UnixDatagram);

impl Manager {
    fn of(bus: &PrivateBus) -> Self {
        let socket = UnixDatagram::bind(bus.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    /// The next notice that has this line; others are passed over.
    fn hears(&self, line: &str, service: &Service) -> Vec<String> {
        let mut notice = [0; 4096];
        loop {
            let length = self.0.recv(&mut notice).unwrap_or_else(|error| {
                panic!("waited in vain for {line} ({error}):\n{}", service.log())
            });
            let notice = std::str::from_utf8(&notice[..length]).unwrap();
            let lines: Vec<String> = notice.lines().map(str::to_owned).collect();
            if lines.iter().any(|it| it == line) {
                return lines;
            }
        }
    }

    /// The status at the end of the reload that begins now.
    fn hears_of_a_reload(&self, service: &Service, asked: u128) -> String {
        let begin = self.hears("RELOADING=1", service);
        let [_, time] = &begin[..] else { panic!("{begin:?}") };
        let time: u128 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(asked <= time && time <= monotonic(), "{asked} {time}");
        let end = self.hears("READY=1", service);
        let [_, status] = &end[..] else { panic!("{end:?}") };
        status.strip_prefix("STATUS=").unwrap().to_owned()
    }
}

/// What systemd goes by, in microseconds.
fn monotonic() -> u128 {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap().as_micros()
}

#[tokio::test]
async fn each_reload_is_told_from_its_beginning_to_its_end_with_what_was_wrong() {
    let bus = PrivateBus::start();
    let manager = Manager::of(&bus);
    let service = bus.serve(NO_FIB);
    manager.hears("READY=1", &service);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let write = |text: &str| std::fs::write(bus.path("first.toml"), text).unwrap();
    let level = async || {
        let levels = client.manager.get_preferences().await.unwrap();
        levels.into_iter().find(|(protocol, ..)| *protocol == OSPF).unwrap().2
    };
    let signalled = || {
        let asked = monotonic();
        service.signal("HUP");
        manager.hears_of_a_reload(&service, asked)
    };

    write(&format!("[preferences]\nospf = 7\n{NO_FIB}"));
    assert!(!signalled().contains("not read again"));
    assert_eq!(level().await, 7);

    for (wrong, why) in [
        ("[preferences]\nospf = = 8\n", ":2:"),
        ("[[instance]]\nid = 0\nfib = false\non-stop = \"keep\"\n", "belongs to [service]"),
        ("[[instance]]\nid = 1\nfib = false\n", "takes a restart"),
        ("[fib]\nmetric = 83\n[[instance]]\nid = 0\nfib = false\n", "takes a restart"),
    ] {
        write(wrong);
        let status = signalled();
        assert!(status.contains("the configuration was not read again: "), "{status}");
        assert!(status.contains(why), "{status}");
        assert!(service.log().contains(why), "{}", service.log());
        assert_eq!(level().await, 7, "what is refused changes nothing");
    }

    // On the bus it is the same, and whoever asked hears of it too.
    write("nonsense");
    let asked = monotonic();
    let (name, _) = refusal(client.manager.reload().await);
    assert_eq!(name, "BadConfiguration");
    assert!(manager.hears_of_a_reload(&service, asked).contains("this is no TOML"));
    write(&format!("[preferences]\nospf = 9\n{NO_FIB}"));
    let asked = monotonic();
    client.manager.reload().await.unwrap();
    assert!(!manager.hears_of_a_reload(&service, asked).contains("not read again"));
    assert_eq!(level().await, 9);
    // Nothing was lost over all that.
    assert_eq!(client.table.routes().await.unwrap(), 1);
    client.add("10.1.0.0/16", "127.0.0.2").await.unwrap();
}

/// A manager that does not read must not hold the service up, and hears the rest when it does.
#[tokio::test]
async fn a_manager_that_sleeps_keeps_no_reload_from_being_done() {
    let bus = PrivateBus::start();
    let manager = Manager::of(&bus);
    let service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    const MANY: usize = 200; // its socket has room for ten
    for _ in 0..MANY {
        client.manager.reload().await.unwrap();
    }
    for _ in 0..MANY {
        manager.hears_of_a_reload(&service, 0);
    }
}
