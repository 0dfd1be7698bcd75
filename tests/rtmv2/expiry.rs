//! Time to live and expiry (6.6).

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use rtmd::{
    bus::wire::RouteInfo,
    client::EntityProxy,
    model::{ErrorKind, Family},
};
use zbus::{Connection, interface, message::Header, wire::ObjectPath};

use crate::core::Core;
use crate::support::{Client, NO_FIB, PrivateBus, details, eventually};
use crate::{
    BEST_CHANGE, OSPF, RIP, STATIC, UCAST, best, changed, error, find, offer, refused, register_as,
    serve, serve_with, watch,
};

const TO: &str = "10.0.0.0/8";
const FOREVER: u32 = u32::MAX;
const SHORT: u32 = 30;

// Users that every system has.
const DAEMON: u32 = 1;
const NOBODY: u32 = 65534;

/// What an owner answers.
#[derive(Clone, Copy, Debug)]
enum Answer {
    LetGo,
    Keep,
    Refuses(ErrorKind),
    /// With an error of the bus's own.
    Fails,
    /// Never answers.
    Hangs,
    /// Offers the route again, for ever, and then says that it may go.
    UpdatesFirst,
}

/// The routes an owner was asked about, and whether each was still in the table then.
type Asked = Arc<Mutex<Vec<(RouteInfo, bool)>>>;

struct Callback {
    answer: Answer,
    asked: Asked,
    entity: Arc<Mutex<Option<EntityProxy<'static>>>>,
}

/// An error with a name of the service's, or with one of the bus's own.
enum Trouble {
    Ours(rtmd::model::Error),
    Bus(zbus::fdo::Error),
}

impl zbus::DBusError for Trouble {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<zbus::Message> {
        match self {
            Self::Ours(error) => error.create_reply(call),
            Self::Bus(error) => error.create_reply(call),
        }
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        match self {
            Self::Ours(error) => error.name(),
            Self::Bus(error) => error.name(),
        }
    }

    fn description(&self) -> Option<&str> {
        match self {
            Self::Ours(error) => error.description(),
            Self::Bus(error) => error.description(),
        }
    }
}

#[interface(name = "org.rtmd1.Callback")]
impl Callback {
    async fn route_expired(
        &self,
        route: RouteInfo,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<bool, Trouble> {
        let manager = rtmd::client::manager(connection).await.unwrap();
        let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
        let is_there = table.is_best_route(route.id).await.is_ok_and(|views| views == UCAST);
        let id = route.id;
        self.asked.lock().unwrap().push((route, is_there));
        match self.answer {
            Answer::LetGo => Ok(true),
            Answer::Keep => Ok(false),
            Answer::Refuses(kind) => Err(Trouble::Ours(kind.because("so it is"))),
            Answer::Fails => Err(Trouble::Bus(zbus::fdo::Error::Failed("so it is".to_owned()))),
            Answer::Hangs => std::future::pending().await,
            Answer::UpdatesFirst => {
                let entity = self.entity.lock().unwrap().clone().unwrap();
                let worst = details([("metric", 16u32.into()), ("ttl", FOREVER.into())]);
                entity.update_route(id, &worst).await.unwrap();
                Ok(true)
            }
        }
    }
}

/// A client that is asked about its expired routes, and what it was asked.
async fn owner(bus: &PrivateBus, answer: Answer) -> (Client, Asked) {
    owner_on(bus.connect().await, 0, answer).await
}

async fn owner_on(connection: Connection, instance: u32, answer: Answer) -> (Client, Asked) {
    let asked = Asked::default();
    let entity = Arc::new(Mutex::new(None));
    let callback = Callback { answer, asked: Arc::clone(&asked), entity: Arc::clone(&entity) };
    assert!(connection.object_server().at("/here", callback).await.unwrap().is_none());
    let client = register_called_at(&connection, instance, "/here").await;
    *entity.lock().unwrap() = Some(client.entity.clone());
    (client, asked)
}

async fn register_called_at(connection: &Connection, instance: u32, path: &'static str) -> Client {
    let callback = ObjectPath::try_from(path).unwrap();
    register_as(connection, STATIC, instance, [("callback", callback.into())]).await
}

async fn is_gone(by: &Client, id: u64) -> bool {
    by.table.get_route_info(id).await.is_err()
}

/// TTL-01, TTL-02
#[test]
fn a_time_to_live_is_in_milliseconds_and_the_greatest_one_never_ends() {
    let mut core = Core::new();
    let id = core.offer(UCAST, 1000);
    core.pass(999_999);
    assert!(core.is_there(id));
    core.pass(1);
    assert!(!core.is_there(id));
    let longest = core.offer(UCAST, FOREVER - 1);
    core.pass(u64::from(FOREVER - 1) * 1000 - 1);
    assert!(core.is_there(longest));
    core.pass(1);
    assert!(!core.is_there(longest));
    let infinite = core.offer(UCAST, FOREVER);
    core.pass(u64::MAX / 4);
    assert!(core.is_there(infinite));
}

/// TTL-01, TTL-02, TTL-09
#[tokio::test]
async fn who_listens_for_nothing_hears_a_signal_and_the_route_is_deleted() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let mut expired = client.entity.receive_route_expired().await.unwrap();
    let (stays, _) = offer(&client, "11.0.0.0/8", [("ttl", FOREVER.into())]).await;
    let began = Instant::now();
    let (id, _) = offer(&client, TO, [("ttl", SHORT.into())]).await;
    let signal = expired.next().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(SHORT.into()));
    let told = signal.args().unwrap().route;
    assert_eq!((told.id, told.destination.as_str(), told.state), (id, TO, 0));
    eventually("the route goes", async || is_gone(&client, id).await).await;
    let info = client.table.get_route_info(stays).await.unwrap();
    assert!(!info.more.contains_key("expires-in"));
}

/// TTL-03
#[test]
fn each_update_starts_its_own_time() {
    let mut core = Core::new();
    let id = core.offer(UCAST, 1000);
    core.pass(900_000);
    assert_eq!(core.offer(UCAST, 2000), id);
    core.pass(1_999_999);
    assert!(core.is_there(id), "offered again");
    core.update(id, 500);
    core.pass(499_999);
    assert!(core.is_there(id), "updated");
    core.pass(1);
    assert!(!core.is_there(id), "by the last one's time");
    let id = core.offer(UCAST, 1000);
    core.offer(UCAST, FOREVER);
    core.pass(u64::MAX / 4);
    assert!(core.is_there(id), "the earlier time counts no more");
}

/// TTL-04, TTL-05
#[tokio::test]
async fn the_owner_is_asked_while_the_route_is_there_and_can_let_it_go() {
    for answer in [Answer::LetGo, Answer::Refuses(ErrorKind::NotSupported)] {
        let (bus, _service) = serve();
        let (owner, asked) = owner(&bus, answer).await;
        let other = Client::register(&bus, Family::Ipv4, RIP).await;
        let (second, _) = offer(&other, TO, []).await;
        let (id, _) = offer(&owner, TO, [("metric", 7u32.into())]).await;
        let changes = watch(&other, UCAST, BEST_CHANGE).await;
        owner.entity.update_route(id, &details([("ttl", SHORT.into())])).await.unwrap();
        eventually("the route goes", async || is_gone(&other, id).await).await;
        {
            let asked = asked.lock().unwrap();
            assert_eq!(asked.len(), 1, "{answer:?}");
            let (route, was_there) = &asked[0];
            assert_eq!((route.id, route.metric, *was_there), (id, 7, true), "{answer:?}");
        }
        assert_eq!(best(&other, TO, UCAST).await, second);
        let told = changed(&changes).await;
        assert_eq!((told.len(), told[0].per_view[0].best), (1, second));
        assert_eq!(error(owner.entity.delete_route(id).await), "NotFound");
    }
}

/// TTL-06, TTL-07
#[tokio::test]
async fn any_other_answer_keeps_the_route_which_expires_no_more() {
    for answer in [Answer::Keep, Answer::Refuses(ErrorKind::Busy)] {
        let (bus, _service) = serve();
        let (owner, asked) = owner(&bus, answer).await;
        let (id, _) = offer(&owner, TO, [("ttl", SHORT.into())]).await;
        eventually("it is asked", async || asked.lock().unwrap().len() == 1).await;
        tokio::time::sleep(Duration::from_millis(4 * u64::from(SHORT))).await;
        let info = owner.table.get_route_info(id).await.unwrap();
        assert!(!info.more.contains_key("expires-in"), "{answer:?}");
        assert_eq!(asked.lock().unwrap().len(), 1, "{answer:?}");
        assert_eq!(best(&owner, TO, UCAST).await, id);
    }
}

/// TTL-08
#[tokio::test]
async fn an_update_while_the_owner_is_asked_is_its_answer() {
    let (bus, _service) = serve();
    let (owner, asked) = owner(&bus, Answer::UpdatesFirst).await;
    let (id, _) = offer(&owner, TO, [("ttl", SHORT.into())]).await;
    eventually("it is asked", async || asked.lock().unwrap().len() == 1).await;
    eventually("it is updated", async || {
        owner.table.get_route_info(id).await.unwrap().metric == 16
    })
    .await;
    tokio::time::sleep(Duration::from_millis(4 * u64::from(SHORT))).await;
    assert_eq!(best(&owner, TO, UCAST).await, id, "whatever it answered afterwards");
}

/// TTL-09
#[tokio::test]
async fn who_does_not_answer_loses_the_route() {
    for answer in [Answer::Hangs, Answer::Fails] {
        let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nexpiry-answer = 50\n"));
        let (owner, asked) = owner(&bus, answer).await;
        let (id, _) = offer(&owner, TO, [("ttl", SHORT.into())]).await;
        eventually("the route goes", async || is_gone(&owner, id).await).await;
        assert_eq!(asked.lock().unwrap().len(), 1, "{answer:?}");
    }
}

/// TTL-04
#[tokio::test]
async fn whose_owner_answers_is_asked_about_however_silent_others_are() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nexpiry-answer = 500\n"));
    let (keeper, heard) = owner(&bus, Answer::Keep).await;
    let mut silent = Vec::new();
    for (user, uid) in [(1, DAEMON), (2, NOBODY)] {
        let Some(connection) = bus.connect_as(uid).await else { return };
        let (first, asked) = owner_on(connection, 10 * user, Answer::Hangs).await;
        // An entity is asked about eight routes at a time.
        for instance in 1..5 {
            let connection = &first.connection;
            silent.push(register_called_at(connection, 10 * user + instance, "/here").await);
        }
        for client in &silent[silent.len() - 4..] {
            for n in 0..8 {
                let to = format!("172.{n}.0.0/16");
                offer(client, &to, [("ttl", SHORT.into())]).await;
            }
        }
        let mut before = 0;
        eventually("the silent user has all it gets", async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = asked.lock().unwrap().len();
            std::mem::replace(&mut before, now) == now && now > 0
        })
        .await;
        silent.push(first);
    }
    let (id, _) = offer(&keeper, TO, [("ttl", SHORT.into())]).await;
    eventually("it expires", async || {
        let info = keeper.table.get_route_info(id).await.unwrap();
        !info.more.contains_key("expires-in")
    })
    .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(heard.lock().unwrap().len(), 1);
    assert!(!is_gone(&keeper, id).await);
}

/// TTL-09
#[tokio::test]
async fn a_callback_that_is_not_there_and_a_shared_registration_lose_the_route() {
    let (bus, _service) = serve();
    let (there, _) = owner(&bus, Answer::Keep).await;
    let elsewhere = register_as(
        &there.connection,
        OSPF,
        0,
        [("callback", ObjectPath::try_from("/elsewhere").unwrap().into())],
    )
    .await;
    let shared = register_as(&bus.connect().await, RIP, 0, [("shared", true.into())]).await;
    for client in [elsewhere, shared] {
        let (id, _) = offer(&client, TO, [("ttl", SHORT.into())]).await;
        eventually("the route goes", async || is_gone(&there, id).await).await;
    }
}

/// TTL-10
#[tokio::test]
async fn an_expired_route_is_held_if_its_destination_is_marked() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (id, _) = offer(&client, TO, []).await;
    client.entity.hold_destination(TO, UCAST, 600_000).await.unwrap();
    client.entity.update_route(id, &details([("ttl", SHORT.into())])).await.unwrap();
    let held = async || find(&client, TO, UCAST).await.per_view[0].held == id;
    eventually("it is held", held).await;
    assert_eq!(find(&client, TO, UCAST).await.per_view[0].best, 0);
}

/// TTL-11
#[tokio::test]
async fn a_time_to_live_of_0_is_refused() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let none = || details([("ttl", 0u32.into())]);
    assert_eq!(refused(&client, TO, none()).await, "InvalidParameter");
    let (id, _) = offer(&client, TO, []).await;
    assert_eq!(error(client.entity.update_route(id, &none()).await), "InvalidParameter");
    assert!(!is_gone(&client, id).await);
}

/// TTL-12
#[test]
fn setting_the_clock_changes_no_time_to_live() {
    for time in [0, 1_000, u64::MAX / 2] {
        let mut core = Core::new();
        let id = core.offer(UCAST, 1000);
        core.pass(500_000);
        core.set_clock(time);
        assert!(core.is_there(id), "{time}");
        core.pass(499_999);
        assert!(core.is_there(id), "{time}");
        core.pass(1);
        assert!(!core.is_there(id), "{time}");
    }
}
