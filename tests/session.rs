//! A `client::Session` keeps its registration and its routes, whatever is restarted or lost.

mod support;

use std::{collections::BTreeMap, fs, time::Duration};

use rtmd::{
    bus::wire::{Details, RouteInfo},
    client::{
        Bus, Failure,
        session::{Ending, Route, Session, Settings, Status, Via},
    },
    model::{
        EntityKey, ErrorKind, Family, InterfaceIndex, Metric, NextHopKey, Prefix, Protocol,
        TableId, Weight,
    },
};
use support::{Client, NO_FIB, PrivateBus, Service, details, eventually};

const OSPF: u32 = 13;
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(bus: &PrivateBus) -> Settings {
    let table = TableId::new(0, Family::Ipv4).unwrap();
    let key = EntityKey { table, protocol: Protocol::RIP, protocol_instance: 0 };
    Settings { bus: Bus::Address(bus.address()), ..Settings::new(key).label("kept") }
}

fn prefix(number: usize) -> Prefix {
    format!("10.{}.{}.0/24", number >> 8, number & 255).parse().unwrap()
}

fn via(gateway: &str) -> Route {
    Route::via(gateway.parse().unwrap())
}

/// A session that has offered so many routes, and the service knows them.
async fn offering(bus: &PrivateBus, routes: usize) -> Session {
    let session = Session::open(settings(bus)).await.unwrap();
    for number in 0..routes {
        session.offer(prefix(number), via("127.0.0.2")).unwrap();
    }
    session.complete();
    settle(&session).await;
    session
}

async fn settle(session: &Session) {
    let settled = tokio::time::timeout(PATIENCE, session.settled()).await;
    settled.unwrap_or_else(|_| panic!("still {:?}", *session.status().borrow())).unwrap();
}

async fn becomes(session: &Session, what: &str, is: impl FnMut(&Status) -> bool) {
    let mut status = session.status();
    let became = tokio::time::timeout(PATIENCE, status.wait_for(is)).await;
    became.unwrap_or_else(|_| panic!("never {what}: {:?}", *session.status().borrow())).unwrap();
}

async fn is_away(session: &Session) {
    becomes(session, "away", |status| matches!(status, Status::Waiting(_))).await;
}

/// What the service has from the session: destination, id, generation, metric.
async fn offered(bus: &PrivateBus) -> Vec<(String, u64, String, u32)> {
    let looker = Client::register(bus, Family::Ipv4, OSPF).await;
    let entities = looker.manager.get_registered_entities(0, "ipv4").await.unwrap();
    let Some(owner) = entities.iter().find(|entity| entity.label == "kept") else {
        return Vec::new();
    };
    let criteria = details([("owner", owner.id.into())]);
    let walk = looker.table.create_route_enumeration(0, 0, "", 1, &criteria).await.unwrap();
    let walk = rtmd::client::RouteEnumerationProxy::new(&looker.connection, walk).await.unwrap();
    let mut routes = Vec::new();
    loop {
        let (page, done) = walk.next(1000).await.unwrap();
        routes.extend(page.into_iter().map(|route: RouteInfo| {
            let generation = route.more.get("generation").map(|it| it.to_string());
            (route.destination, route.id, generation.unwrap_or_default(), route.metric)
        }));
        if done {
            looker.entity.deregister(&Details::new()).await.unwrap();
            return routes;
        }
    }
}

async fn destinations(bus: &PrivateBus) -> Vec<String> {
    offered(bus).await.into_iter().map(|(destination, ..)| destination).collect()
}

fn kill(mut service: Service) {
    service.kill();
}

fn lose_journal(bus: &PrivateBus) {
    let directory = bus.launch(NO_FIB, "first").runtime_directory;
    // One that was killed early has none.
    let _ = fs::remove_dir_all(directory.join("journal"));
}

#[tokio::test]
async fn what_is_offered_changed_and_withdrawn_is_so_at_the_service_in_pages() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let session = offering(&bus, 5000).await;
    for number in 0..4999 {
        assert!(session.withdraw(prefix(number)).unwrap());
    }
    assert!(!session.withdraw(prefix(0)).unwrap());
    session.offer(prefix(4999), via("127.0.0.3").metric(Metric(7))).unwrap();
    settle(&session).await;
    let routes = offered(&bus).await;
    assert_eq!(routes.len(), 1);
    assert_eq!((routes[0].0.as_str(), routes[0].3), ("10.19.135.0/24", 7));
    assert_eq!(session.routes(), 1);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    eventually("the next hop that nothing names is gone", async || {
        client.table.next_hops().await.unwrap() == 1
    })
    .await;
    session.close(Ending::Withdraw).await.unwrap();
    assert_eq!(client.table.routes().await.unwrap(), 0);
    assert_eq!(client.table.entities().await.unwrap(), 1);
}

#[tokio::test]
async fn routes_of_several_neighbours_and_with_weights_stay_apart() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let session = Session::open(settings(&bus)).await.unwrap();
    let hop = |last: u8| NextHopKey {
        address: format!("127.0.0.{last}").parse().ok(),
        interface: InterfaceIndex(0),
    };
    let weighted = |last, weight| Via { key: hop(last), weight: Weight::new(weight).ok() };
    for neighbour in [2, 3] {
        let key = rtmd::client::session::RouteKey {
            destination: prefix(0),
            neighbour: Some(hop(neighbour)),
        };
        session.offer(key, Route::through([weighted(4, 3), weighted(5, 1)])).unwrap();
    }
    settle(&session).await;
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let routes = client.table.get_routes(&prefix(0).to_string()).await.unwrap();
    assert_eq!(routes.len(), 2);
    assert_ne!(routes[0].neighbour, routes[1].neighbour);
    assert_eq!(routes[0].next_hops.len(), 2);
    let first = client.table.get_next_hop_info(routes[0].next_hops[0]).await.unwrap();
    assert_eq!(first.more["weight"].to_string(), "uint32 3");
}

#[tokio::test]
async fn a_restart_of_the_service_takes_no_call_at_all() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let session = offering(&bus, 100).await;
    let (before, profile) = (offered(&bus).await, session.profile());
    kill(service);
    is_away(&session).await;
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    assert_eq!(offered(&bus).await, before);
    assert_eq!(session.profile(), profile);
    assert_eq!(before.len(), 100);
}

#[tokio::test]
async fn what_changes_while_the_service_is_away_is_passed_on_when_it_is_back() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let session = offering(&bus, 3).await;
    let before = offered(&bus).await;
    kill(service);
    is_away(&session).await;
    session.withdraw(prefix(0)).unwrap();
    session.offer(prefix(1), via("127.0.0.2").metric(Metric(9))).unwrap();
    session.offer(prefix(3), via("127.0.0.2")).unwrap();
    session.offer(prefix(4), via("127.0.0.2")).unwrap();
    session.withdraw(prefix(4)).unwrap();
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    let after = offered(&bus).await;
    let summary: Vec<_> = after.iter().map(|(to, .., metric)| (to.as_str(), *metric)).collect();
    assert_eq!(summary, [("10.0.1.0/24", 9), ("10.0.2.0/24", 0), ("10.0.3.0/24", 0)]);
    assert_eq!((after[0].1, &after[1]), (before[1].1, &before[2]));
}

/// The service reads no more, is asked, and is killed: whether it did what it was asked nobody
/// knows.
#[tokio::test]
async fn what_was_asked_of_a_service_that_died_is_found_out() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let session = offering(&bus, 2).await;
    service.signal("STOP");
    session.offer(prefix(2), via("127.0.0.3")).unwrap();
    session.offer(prefix(3), via("127.0.0.2")).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    session.withdraw(prefix(0)).unwrap();
    session.withdraw(prefix(2)).unwrap();
    kill(service);
    is_away(&session).await;
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    assert_eq!(destinations(&bus).await, ["10.0.1.0/24", "10.0.3.0/24"]);
}

#[tokio::test]
async fn after_a_lost_journal_everything_wished_is_offered_again_and_nothing_else() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let session = offering(&bus, 2500).await;
    let epoch = session.profile().unwrap().epoch;
    kill(service);
    is_away(&session).await;
    lose_journal(&bus);
    session.withdraw(prefix(0)).unwrap();
    session.offer(prefix(2500), via("127.0.0.3")).unwrap();
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    let there = destinations(&bus).await;
    assert_eq!(there.len(), 2500);
    assert!(!there.contains(&prefix(0).to_string()));
    assert!(there.contains(&prefix(2500).to_string()));
    assert_ne!(session.profile().unwrap().epoch, epoch);
}

#[tokio::test]
async fn on_a_bus_that_was_restarted_it_registers_and_offers_again() {
    let mut bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    let session = offering(&bus, 100).await;
    bus.stop();
    service.end();
    is_away(&session).await;
    session.withdraw(prefix(0)).unwrap();
    bus.start_again();
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    assert_eq!(destinations(&bus).await.len(), 99);
    session.close(Ending::Withdraw).await.unwrap();
    assert_eq!(destinations(&bus).await, [""; 0]);
}

#[tokio::test]
async fn routes_that_linger_are_taken_over_on_a_bus_that_was_restarted() {
    let mut bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    let lasting = Settings { linger: Duration::from_secs(600), ..settings(&bus) };
    let session = Session::open(lasting).await.unwrap();
    (0..100).for_each(|number| session.offer(prefix(number), via("127.0.0.2")).unwrap());
    session.complete();
    settle(&session).await;
    let (before, first) = (offered(&bus).await, session.profile().unwrap());
    bus.stop();
    service.end();
    is_away(&session).await;
    session.withdraw(prefix(0)).unwrap();
    session.offer(prefix(100), via("127.0.0.3")).unwrap();
    bus.start_again();
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    let again = session.profile().unwrap();
    assert_eq!((again.id, again.epoch), (first.id, first.epoch));
    assert_eq!((again.resumed, again.stale_routes), (true, 100));
    let ids = |routes: &[(String, u64, String, u32)]| -> Vec<u64> {
        routes.iter().map(|(_, id, ..)| *id).collect()
    };
    let after = offered(&bus).await;
    assert_eq!((ids(&after[..99]), after.len()), (ids(&before[1..]), 100));
}

#[tokio::test]
async fn a_program_that_starts_again_has_its_routes_stay_until_it_has_said_all() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let lasting = Settings { linger: Duration::from_secs(600), ..settings(&bus) };
    for ending in [Some(Ending::Linger), None] {
        let session = Session::open(lasting.clone()).await.unwrap();
        (0..3).for_each(|number| session.offer(prefix(number), via("127.0.0.2")).unwrap());
        match ending {
            Some(ending) => session.close(ending).await.unwrap(),
            None => {
                settle(&session).await;
                drop(session);
            }
        }
        assert_eq!(offered(&bus).await.len(), 3);

        let session = Session::open(lasting.clone()).await.unwrap();
        assert!(session.profile().unwrap().resumed);
        session.offer(prefix(1), via("127.0.0.2")).unwrap();
        settle(&session).await;
        assert_eq!(offered(&bus).await.len(), 3);
        session.complete();
        settle(&session).await;
        assert_eq!(destinations(&bus).await, ["10.0.1.0/24"]);
        session.close(Ending::Withdraw).await.unwrap();
        assert_eq!(destinations(&bus).await, [""; 0]);
    }
}

#[tokio::test]
async fn what_was_offered_just_before_a_session_ends_is_offered() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let lasting = Settings { linger: Duration::from_secs(600), ..settings(&bus) };
    for number in 0..20 {
        let session = Session::open(lasting.clone()).await.unwrap();
        settle(&session).await;
        session.offer(prefix(number), via("127.0.0.2")).unwrap();
        session.close(Ending::Linger).await.unwrap();
        assert_eq!(offered(&bus).await.len(), number + 1);
    }
}

#[tokio::test]
async fn a_session_opened_before_the_service_is_there_waits_for_it() {
    let bus = PrivateBus::start();
    let session = Session::open(settings(&bus)).await.unwrap();
    session.offer(prefix(0), via("127.0.0.2")).unwrap();
    is_away(&session).await;
    assert!(session.profile().is_none());
    let _service = bus.serve(NO_FIB);
    settle(&session).await;
    assert_eq!(destinations(&bus).await, ["10.0.0.0/24"]);
}

#[tokio::test]
async fn a_refused_route_is_told_and_the_others_are_offered() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let session = offering(&bus, 2).await;
    session.offer("2001:db8::/32".parse::<Prefix>().unwrap(), via("127.0.0.2")).unwrap();
    // A next hop has an address, an interface or both.
    let nowhere = NextHopKey { address: None, interface: InterfaceIndex(0) };
    session.offer(prefix(2), Route::through([Via { key: nowhere, weight: None }])).unwrap();
    session.offer(prefix(3), via("127.0.0.2")).unwrap();
    let first = tokio::time::timeout(PATIENCE, session.refusal()).await.unwrap().unwrap();
    settle(&session).await;
    let mut refusals = vec![first];
    refusals.extend(session.refusals());
    refusals.sort_by_key(|refusal| refusal.key);
    let told: Vec<_> = refusals.iter().map(|it| it.key.destination.to_string()).collect();
    assert_eq!(told, ["10.0.2.0/24", "2001:db8::/32"]);
    for refusal in &refusals {
        assert_eq!(refusal.why.kind(), Some(ErrorKind::InvalidParameter), "{:?}", refusal.why);
    }
    assert_eq!(destinations(&bus).await, ["10.0.0.0/24", "10.0.1.0/24", "10.0.3.0/24"]);
    assert!(session.refusals().is_empty());
}

#[tokio::test]
async fn a_registration_that_is_refused_for_good_is_told_and_not_tried_again() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let mut elsewhere = settings(&bus);
    elsewhere.key.table = TableId::new(7, Family::Ipv4).unwrap();
    let refusal = Session::open(elsewhere).await.unwrap_err();
    assert_eq!(refusal.kind(), Some(ErrorKind::FileNotFound));

    let session = offering(&bus, 2).await;
    drop(service);
    let _service = bus.serve("[[instance]]\nid = 1\nfib = false\n");
    becomes(&session, "over", |status| matches!(status, Status::Ended(_))).await;
    for failure in [
        session.offer(prefix(3), via("127.0.0.2")).unwrap_err(),
        session.settled().await.unwrap_err(),
        session.refusal().await.unwrap_err(),
        session.close(Ending::Withdraw).await.unwrap_err(),
    ] {
        assert_eq!(failure.kind(), Some(ErrorKind::FileNotFound));
    }
}

#[tokio::test]
async fn a_user_that_may_not_register_is_told_at_once() {
    let bus = PrivateBus::with_policy(
        "<allow own=\"*\"/><deny send_destination=\"org.rtmd1\" \
         send_interface=\"org.rtmd1.Manager\" send_member=\"RegisterEntity\"/>",
    );
    let _service = bus.serve(NO_FIB);
    let denied = Session::open(settings(&bus)).await;
    assert!(matches!(denied, Err(Failure::Denied(_))), "{denied:?}");
}

#[tokio::test]
async fn a_registration_that_another_holds_is_waited_for_a_while() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let other = Client::register(&bus, Family::Ipv4, Protocol::RIP.0).await;
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(other);
    };
    let (session, ()) = tokio::join!(Session::open(settings(&bus)), leaving);
    let session = session.unwrap();
    let refusal = Session::open(settings(&bus)).await.unwrap_err();
    assert_eq!(refusal.kind(), Some(ErrorKind::AlreadyExists));
    settle(&session).await;
}

#[tokio::test]
async fn a_session_that_is_dropped_takes_its_routes_with_it() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let session = Session::open(settings(&bus)).await.unwrap();
    session.offer(prefix(0), via("127.0.0.2")).unwrap();
    settle(&session).await;
    drop(session);
    eventually("its registration is gone", async || client.table.entities().await.unwrap() == 1)
        .await;
    // While it waits, too.
    let session = Session::open(settings(&bus)).await.unwrap();
    kill(service);
    is_away(&session).await;
    let closed = session.close(Ending::Withdraw).await;
    assert!(matches!(closed, Err(Failure::Unreachable(_))), "{closed:?}");
}

/// The kills come at moments of chance, from a seed, while wishes change all the time; some take the
/// journal with them, some the bus.
#[tokio::test]
async fn whenever_the_service_is_killed_it_ends_up_with_what_is_wished() {
    let mut bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    let lasting = Settings { linger: Duration::from_secs(600), ..settings(&bus) };
    let session = Session::open(lasting).await.unwrap();
    session.complete();
    let mut wished = BTreeMap::new();
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    for _ in 0..20 {
        for _ in 0..chance.below(20) {
            for _ in 0..chance.below(40) {
                let to = prefix(chance.below(200));
                if chance.below(3) == 0 {
                    session.withdraw(to).unwrap();
                    wished.remove(&to);
                } else {
                    let metric = u32::try_from(chance.below(5)).unwrap();
                    let gateway = ["127.0.0.2", "127.0.0.3"][chance.below(2)];
                    session.offer(to, via(gateway).metric(Metric(metric))).unwrap();
                    wished.insert(to, metric);
                }
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        service.kill();
        if chance.below(4) == 0 {
            lose_journal(&bus);
        }
        if chance.below(6) == 0 {
            bus.stop();
            bus.start_again();
        }
        service = bus.launch(NO_FIB, "first").start();
        tokio::time::sleep(Duration::from_millis(chance.below(200) as u64)).await;
    }
    settle(&session).await;
    let there = offered(&bus).await;
    let there: BTreeMap<Prefix, u32> =
        there.iter().map(|(to, .., metric)| (to.parse().unwrap(), *metric)).collect();
    assert_eq!(there, wished);
    assert!(session.refusals().is_empty());
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    assert!(client.table.next_hops().await.unwrap() <= 2);
    drop(service);
}

/// Numbers that are the same for the same seed (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
