//! A service that is killed again and again at random moments, while clients change their routes and
//! packets go through it by routes that nobody changes.
//!
//! `RTMD_SEED` repeats a run: it is printed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;
use rtmd::model::Family;
use tokio::sync::watch;

use crate::{
    hosts::{Flow, SENT_TO},
    scene::{CONFIG, offer},
    support::{Client, PrivateBus, details, eventually},
    world::{ip, ours, routes, with_links},
};

/// How often it is killed.
const KILLS: usize = 200;

/// Destinations that each client changes.
const DESTINATIONS: u64 = 50;

/// The ways that come and go.
const WAYS: [&str; 3] = ["via 192.0.2.254 dev west", "via 10.99.0.254 dev north", "blackhole"];

/// A client, and what it was told is done.
struct Changer {
    client: Client,
    number: u64,
    random: Rng,
    /// The way and the id of each route it has.
    done: BTreeMap<u64, (usize, u64)>,
    calls: usize,
    unanswered: usize,
}

impl Changer {
    fn to(&self, destination: u64) -> String {
        format!("100.{}.{destination}.0/24", 64 + self.number)
    }

    /// Changes routes until it is told to stop.
    async fn change(&mut self, mut is_over: watch::Receiver<bool>) {
        while !*is_over.borrow_and_update() {
            let destination = self.random.u64(..DESTINATIONS);
            let is_there = self.done.contains_key(&destination);
            match self.random.u8(..3) {
                0 if is_there => self.delete(destination).await,
                _ => self.set(destination).await,
            }
        }
    }

    /// Until somebody answers: a call that was cut off may have been carried out or not.
    async fn set(&mut self, destination: u64) {
        let way = self.random.usize(..WAYS.len());
        let route = offer(WAYS[way], 20, 0);
        loop {
            self.calls += 1;
            match self.client.entity.add_route(&self.to(destination), &route, 0).await {
                Ok((id, _)) => {
                    let before = self.done.insert(destination, (way, id));
                    assert!(before.is_none_or(|(_, before)| before == id), "another route");
                    return;
                }
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    async fn delete(&mut self, destination: u64) {
        let (_, id) = self.done[&destination];
        let mut is_first = true;
        loop {
            self.calls += 1;
            match self.client.entity.delete_route(id).await {
                Ok(_) => break,
                // It had been carried out.
                Err(error) if !is_first && error.to_string().contains("NotFound") => break,
                Err(error) => self.wait_after(&error).await,
            }
            is_first = false;
        }
        self.done.remove(&destination);
    }

    async fn wait_after(&mut self, error: &zbus::Error) {
        let text = error.to_string();
        let is_absence = ["NoReply", "ServiceUnknown", "NameHasNoOwner", "Disconnected"]
            .iter()
            .any(|word| text.contains(word));
        assert!(is_absence, "{text}");
        self.unanswered += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn killed_two_hundred_times_it_loses_no_packet_and_no_change_and_no_client_registers_again() {
    with_links(|| {
        for command in [
            "link add north type veth peer name north-peer",
            "addr add 10.99.0.1/24 dev north",
            "link set north-peer up",
            "link set north up",
        ] {
            ip(command);
        }
        let seed = std::env::var("RTMD_SEED").ok().and_then(|seed| seed.parse().ok());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let seed = seed.unwrap_or_else(|| time.into());
        println!("RTMD_SEED={seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(kill_again_and_again(seed));
    });
}

async fn kill_again_and_again(seed: u64) {
    let flow = Flow::begin();
    let strangers = routes();
    let bus = PrivateBus::start();
    let mut service = bus.serve(CONFIG);
    let mut owners = Vec::new();
    let mut lasting = Vec::new();
    for (family, (to, way)) in Family::ALL.into_iter().zip(SENT_TO) {
        let owner = Client::register(&bus, family, 14).await;
        owner.entity.add_route(to, &offer(way, 1, 0), 0).await.unwrap();
        lasting.push(ours(to, way, 254));
        owners.push(owner);
    }
    eventually("the ways that stay are there", async || {
        let there = routes();
        lasting.iter().all(|route| there.contains(route))
    })
    .await;

    let (over, is_over) = watch::channel(false);
    let mut changers = Vec::new();
    for number in 0..2 {
        let client =
            Client::register(&bus, Family::Ipv4, 100 + u32::try_from(number).unwrap()).await;
        let random = Rng::with_seed(seed ^ (number + 1));
        let is_over = is_over.clone();
        changers.push(tokio::spawn(async move {
            let mut changer =
                Changer { client, number, random, done: BTreeMap::new(), calls: 0, unanswered: 0 };
            changer.change(is_over).await;
            changer
        }));
    }

    let mut random = Rng::with_seed(seed);
    for _ in 0..KILLS {
        // Also before it is on the bus.
        tokio::time::sleep(Duration::from_micros(random.u64(..250_000))).await;
        service.kill();
        let log = service.log();
        assert!(!log.contains("ERROR"), "{log}");
        service = bus.spawn(CONFIG, "first");
    }
    eventually("it is there", async || bus.busctl(&["status", "org.rtmd1"]).status.success()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    over.send(true).unwrap();

    let mut expected = strangers.clone();
    expected.extend(lasting);
    let (mut calls, mut unanswered) = (0, 0);
    for changer in changers {
        let changer = changer.await.unwrap();
        (calls, unanswered) = (calls + changer.calls, unanswered + changer.unanswered);
        for (destination, (way, id)) in &changer.done {
            let to = changer.to(*destination);
            let known = changer.client.table.get_routes(&to).await.unwrap();
            assert_eq!(known.iter().map(|route| route.id).collect::<Vec<_>>(), [*id], "{to}");
            expected.insert(ours(&to, WAYS[*way], 254));
        }
        let count = changer.client.entity.routes().await.unwrap();
        assert_eq!(count, changer.done.len() as u64, "what was deleted is there again");
        std::mem::forget(changer.client); // its routes are looked at
    }
    eventually("the kernel has all that was acknowledged, and no more", async || {
        routes() == expected
    })
    .await;
    let (sent, lost) = flow.end();
    println!("{KILLS} kills, {calls} calls, {unanswered} of them unanswered, {sent} packets");
    assert_eq!(lost, [0; 0], "of {sent} packets");
    assert!(sent > 20_000 && calls - unanswered > KILLS && unanswered > 0);
    for owner in owners {
        owner.entity.deregister(&details([])).await.unwrap();
    }
}
