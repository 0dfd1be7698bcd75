//! A storm: clients, links, addresses and other programs do as they like, and events are lost.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;

use crate::{
    scene::{DESTINATIONS, Scene, restore},
    stage::{Meddler, flood, flush, launched, make_room_for_events},
    tampering::{delete_objects, objects},
    walk::Walk,
    world::ip,
};

const STEPS: usize = 2000;

/// Where the seed of a storm that is to be seen again is given.
const SEED: &str = "RTMD_STORM_SEED";

/// It tells when a dump was interrupted.
const LOGGING: &[&str] = &["env", "RUST_LOG=info,rtmd::daemon::fib=debug"];

/// A fight is over when nobody fights for a second; then all is right within another.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn after_two_thousand_steps_of_a_storm_the_kernel_equals_the_wish_with_next_hop_objects() {
    launched(LOGGING, true, async |scene| storm(scene, true).await);
}

#[test]
fn after_two_thousand_steps_of_a_storm_the_kernel_equals_the_wish_without_next_hop_objects() {
    launched(LOGGING, false, async |scene| storm(scene, false).await);
}

async fn storm(scene: &Scene, with_objects: bool) {
    let seed = seed();
    println!("{SEED}={seed} makes this storm again");
    let began = Instant::now();
    let mut walk = Walk::new(scene, seed);
    let mut random = Rng::with_seed(!seed);
    for number in 0..STEPS {
        let what = match random.usize(..100) {
            0..60 => walk.step().await,
            _ => tamper(&mut random),
        };
        // For whoever wants to know why it failed.
        println!("{number}: {what}");
        let room = match number % 500 {
            100 => 4096,
            200 => 8 << 20,
            _ => 0,
        };
        if room > 0 {
            println!("{number}: room for {room} bytes of events");
            if let Err(error) = make_room_for_events(scene, room) {
                println!("skip: no hold on another process's sockets ({error})");
            }
        }
        if number % 250 == 150 {
            println!("{number}: events are lost, and what is read then is changed all the time");
            let meddler = Meddler::start();
            scene.service.signal("STOP");
            flood();
            println!("{number}: {}", tamper(&mut random));
            println!("{number}: {}", tamper(&mut random));
            scene.service.signal("CONT");
            for _ in 0..5 {
                println!("{number}: {}", walk.step().await);
                println!("{number}: {}", tamper(&mut random));
            }
            println!("{number}: {} changes meanwhile", meddler.stop());
        }
        if number % 200 == 199 {
            comes_to_rest(scene, &format!("step {number}")).await;
        }
    }
    for link in ["west", "east", "north"] {
        restore(link);
    }
    // What some gateways in the walk need, so that the kernel has no reason to refuse any.
    for address in [
        "192.0.2.1/24 dev west",
        "172.16.0.1/24 dev west",
        "fd99::1/64 dev west nodad",
        "10.99.0.1/24 dev north",
    ] {
        ip(&format!("addr replace {address}"));
    }
    comes_to_rest(scene, "all links are back").await;
    let since = Instant::now();
    while scene.manager.fib_state().await.unwrap() != "synced" {
        assert!(since.elapsed() < LONGEST_PAUSE, "{}", rtmctl(scene));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.in_step().await;
    let log = scene.service.log();
    let [lost, lost_of_links, interrupted, given_up] = [
        "more to tell than there was room for",
        "reading links and addresses again",
        "it changed while it was read",
        "it kept changing while it was read",
    ]
    .map(|words| log.matches(words).count());
    println!(
        "{STEPS} steps in {:.1?}, events were lost {lost} times, of links {lost_of_links} times; dumps were \
         interrupted {interrupted} times, and given up {given_up} times",
        began.elapsed()
    );
    assert!(lost >= STEPS / 250, "events were lost {lost} times");
    match with_objects {
        true => assert!(interrupted > 0, "no dump was interrupted"),
        false => println!(
            "without next-hop objects only routes are read, and the kernel does not tell when those change \
             under a dump"
        ),
    }
}

fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED} {seed} is no number")),
        Err(_) => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(since.subsec_nanos()) + since.as_secs()
        }
    }
}

/// The longest that what is changed again and again is left alone, and time to repair it then.
const LONGEST_PAUSE: Duration = Duration::from_secs(65);

/// Waits until the kernel has what the bus tells.
async fn comes_to_rest(scene: &Scene, when: &str) {
    scene.links_known().await;
    let began = Instant::now();
    let mut since = began;
    loop {
        scene.nothing_pending().await;
        let Some(difference) = scene.difference().await else { return };
        if since.elapsed() > PATIENCE {
            // What was changed again and again is left alone for a while, and told to be.
            let state = scene.manager.fib_state().await.unwrap();
            if began.elapsed() < LONGEST_PAUSE && state == "degraded" {
                since = Instant::now();
                continue;
            }
            let objects = ip("nexthop show");
            panic!("after {when}: {difference}\n{objects}\n{}", rtmctl(scene));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn rtmctl(scene: &Scene) -> String {
    String::from_utf8_lossy(&scene.bus.rtmctl(&["routes"]).stdout).into_owned()
}

/// Does something to what is ours, if it is there.
fn tamper(random: &mut Rng) -> String {
    let to = *random.choice(&DESTINATIONS).unwrap();
    let family = if to.contains(':') { "-6" } else { "-4" };
    let table = random.choice(["254", "1000"]).unwrap();
    let ours = format!("{to} dev south metric 82 proto 82 table {table}");
    let command = match random.usize(..12) {
        0..3 => format!("{family} route del {to} metric 82 proto 82 table {table}"),
        3..5 => format!("{family} route replace {ours}"),
        5 => format!("{family} route append {ours}"),
        6 => format!("{family} route prepend {ours}"),
        7 => format!("{family} route replace blackhole {to} metric 82 proto 82 table {table}"),
        8 => {
            if random.usize(..4) == 0 {
                flush(family);
                return format!("{family} route flush");
            }
            "nexthop flush proto 82".to_owned()
        }
        number => {
            let some = objects(number == 9);
            let Some(id) = some.get(random.usize(..some.len().max(1))) else {
                return "nothing".to_owned();
            };
            if number < 11 {
                delete_objects(&[*id]);
                return format!("nexthop del id {id}");
            }
            format!("{family} nexthop replace id {id} dev south proto 82")
        }
    };
    let output = Command::new("ip").args(command.split(' ')).stderr(Stdio::null()).output();
    match output.unwrap().status.success() {
        true => command,
        false => format!("nothing, for want of what is to be changed by {command}"),
    }
}
