//! What systemd says of clients, with a systemd that is a few lines of this test.

mod support;

use std::time::{Duration, Instant};

use rtmd::model::Family;
use support::{Client, NO_FIB, PrivateBus, details, eventually};
use zbus::{Connection, OwnedObjectPath, Variant, fdo, interface};

const STATIC: u32 = 10006;

enum Systemd {
    Knows(u32),
    Sleeps,
    /// All are one unit, which is in this state and has this job.
    Has(&'static str, Option<&'static str>),
    /// All were one unit, which it has forgotten.
    Forgot,
    /// The same, where the unit was no service.
    ForgotScope,
}

const UNIT: &str = "/org/freedesktop/systemd1/unit/bird_40lab_2eservice";
const SCOPE: &str = "/org/freedesktop/systemd1/unit/session_2d3_2escope";
const JOB: &str = "/org/freedesktop/systemd1/job/7";

fn path(path: &str) -> OwnedObjectPath {
    path.try_into().unwrap()
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    #[zbus(name = "GetUnitByPID")]
    async fn unit_by_pid(&self, pid: u32) -> fdo::Result<OwnedObjectPath> {
        match self {
            Self::Knows(known) if *known == pid => Ok(path(UNIT)),
            Self::Has(..) | Self::Forgot => Ok(path(UNIT)),
            Self::ForgotScope => Ok(path(SCOPE)),
            Self::Knows(_) => Err(fdo::Error::Failed("no unit".to_owned())),
            Self::Sleeps => std::future::pending().await,
        }
    }

    fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, NoSuchUnit> {
        match self {
            Self::Forgot | Self::ForgotScope => {
                Err(NoSuchUnit::NoSuchUnit(format!("Unit {name} not loaded.")))
            }
            _ if name == "bird@lab.service" => Ok(path(UNIT)),
            _ => panic!("{name}"),
        }
    }
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum NoSuchUnit {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
}

struct Unit(&'static str, Option<&'static str>);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> &str {
        self.0
    }

    #[zbus(property)]
    fn job(&self) -> (u32, OwnedObjectPath) {
        self.1.map_or_else(|| (0, path("/")), |_| (7, path(JOB)))
    }
}

struct Job(&'static str);

#[interface(name = "org.freedesktop.systemd1.Job")]
impl Job {
    #[zbus(property)]
    fn job_type(&self) -> &str {
        self.0
    }
}

async fn run(bus: &PrivateBus, systemd: Systemd) -> Connection {
    let connection = bus.connect().await;
    let server = connection.object_server();
    if let Systemd::Has(state, job) = systemd {
        server.at(UNIT, Unit(state, job)).await.unwrap();
        if let Some(job) = job {
            server.at(JOB, Job(job)).await.unwrap();
        }
    }
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

/// Whether the routes of a client stay that lingers for a minute and whose unit is like that when it goes.
async fn lingers(config: &str, systemd: Systemd) -> bool {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{config}{NO_FIB}"));
    let _systemd = run(&bus, systemd).await;
    let watcher = Client::register(&bus, Family::Ipv6, STATIC).await;
    let options = details([("linger", Variant::from(60_000u32))]);
    let connection = bus.connect().await;
    let client = Client::register_with(&connection, (0, Family::Ipv4), STATIC, &options).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let id = client.entity.id().await.unwrap();
    connection.close().await.unwrap();
    let state = async || {
        let all = watcher.manager.get_registered_entities(0, "ipv4").await.unwrap();
        all.into_iter().find(|entity| entity.id == id).map(|entity| entity.state)
    };
    eventually("it is noticed", async || state().await.as_deref() != Some("active")).await;
    // What systemd says is asked after that.
    tokio::time::sleep(Duration::from_millis(700)).await;
    state().await.is_some()
}

#[tokio::test]
async fn a_unit_that_is_stopped_on_purpose_leaves_nothing() {
    assert!(!lingers("", Systemd::Has("deactivating", Some("stop"))).await);
    assert!(!lingers("", Systemd::Has("inactive", None)).await);
    assert!(!lingers("", Systemd::Forgot).await);
}

#[tokio::test]
async fn a_unit_that_crashed_or_is_restarted_lingers() {
    assert!(lingers("", Systemd::Has("failed", None)).await);
    assert!(lingers("", Systemd::Has("activating", None)).await);
    assert!(lingers("", Systemd::Has("deactivating", Some("restart"))).await);
    assert!(lingers("", Systemd::Has("active", None)).await, "systemd has not noticed yet");
    assert!(lingers("", Systemd::ForgotScope).await, "that says nothing of how it ended");
}

#[tokio::test]
async fn where_it_is_configured_so_a_stopped_unit_lingers_too() {
    let config = "[service]\nstopped-unit = \"linger\"\n";
    assert!(lingers(config, Systemd::Has("deactivating", Some("stop"))).await);
}
