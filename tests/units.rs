//! The property `Unit` of an entity, with a systemd that is a few lines of this test.

mod support;

use std::time::{Duration, Instant};

use rtmd::model::Family;
use support::{Client, NO_FIB, PrivateBus};
use zbus::{Connection, OwnedObjectPath, fdo, interface};

const STATIC: u32 = 10006;

enum Systemd {
    Knows(u32),
    Sleeps,
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    #[zbus(name = "GetUnitByPID")]
    async fn unit_by_pid(&self, pid: u32) -> fdo::Result<OwnedObjectPath> {
        match self {
            Self::Knows(known) if *known == pid => {
                let path = "/org/freedesktop/systemd1/unit/bird_40lab_2eservice";
                Ok(path.try_into().unwrap())
            }
            Self::Knows(_) => Err(fdo::Error::Failed("no unit".to_owned())),
            Self::Sleeps => std::future::pending().await,
        }
    }
}

async fn run(bus: &PrivateBus, systemd: Systemd) -> Connection {
    let connection = bus.connect().await;
    let server = connection.object_server();
    server.at("/org/freedesktop/systemd1", systemd).await.unwrap();
    connection.request_name("org.freedesktop.systemd1").await.unwrap();
    connection
}

async fn unit_of_a_new_client(bus: &PrivateBus) -> String {
    Client::register(bus, Family::Ipv4, STATIC).await.entity.unit().await.unwrap()
}

#[tokio::test]
async fn an_entity_tells_the_systemd_unit_of_who_registered_it() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let _systemd = run(&bus, Systemd::Knows(std::process::id())).await;
    assert_eq!(unit_of_a_new_client(&bus).await, "bird@lab.service");
}

#[tokio::test]
async fn where_systemd_tells_no_unit_it_is_empty() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    assert_eq!(unit_of_a_new_client(&bus).await, "", "systemd is not on this bus");
    let _systemd = run(&bus, Systemd::Knows(1)).await;
    assert_eq!(unit_of_a_new_client(&bus).await, "");
}

#[tokio::test]
async fn a_systemd_that_does_not_answer_delays_who_registers_but_not_for_long() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let other = Client::register(&bus, Family::Ipv6, STATIC).await;
    let _systemd = run(&bus, Systemd::Sleeps).await;
    let asked = Instant::now();
    let (unit, answer) =
        tokio::join!(unit_of_a_new_client(&bus), other.add("2001:db8::/32", "::1"));
    assert_eq!(unit, "");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    answer.unwrap();
}
