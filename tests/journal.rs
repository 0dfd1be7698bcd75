//! The journal's files: what is cut off, damaged, foreign or old, and how a log is replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rtmd::{
    journal::{Journal, ledger::Ledger},
    model::{
        Caller, ChangeFlags, EntityId, EntityKey, Family, Hop, InstanceId, InterfaceIndex,
        KernelProtocol, Metric, NextHopKey, Now, Preference, Prefix, Protocol, RouteFlags, Span,
        TableId, View, Weight,
    },
    rib::{
        Best, Credentials, ForeignRoute, ForeignWay, Instance, InstanceSettings, LookUp, Offer,
        OfferedNextHops, Policy, Progress, Registration, Rib, Tenure, Terms,
    },
    shared::SharedRib,
};

const MACHINE: &str = "this start";

fn follower() -> Vec<std::ffi::OsString> {
    vec![env!("CARGO_BIN_EXE_rtmd").into(), "--follow-journal".into()]
}

fn open(directory: &Path) -> (Journal, Option<Ledger>) {
    Journal::open(directory, MACHINE, follower()).unwrap()
}

fn table() -> TableId {
    TableId::new(0, Family::Ipv4).unwrap()
}

fn prefix(number: usize) -> Prefix {
    format!("10.{}.{}.{}/32", number >> 16 & 255, number >> 8 & 255, number & 255).parse().unwrap()
}

fn policy() -> Policy {
    let instance = Instance::Ready(InstanceSettings::default());
    Policy { instances: [(InstanceId(0), instance)].into(), ..Policy::default() }
}

/// A service's RIB, kept in the directory from its beginning.
fn begin(directory: &Path) -> SharedRib {
    let (journal, found) = open(directory);
    let ledger = found.unwrap_or_else(|| Ledger::new(Rib::new(policy()), 7));
    SharedRib::kept(ledger, journal)
}

fn register(rib: &SharedRib) -> EntityId {
    let key = EntityKey { table: table(), protocol: Protocol(14), protocol_instance: 0 };
    let terms = Terms::default();
    let (label, tenure) = ("bgp".to_owned(), Tenure::Connection);
    let credentials = Credentials::authorized();
    let registration = Registration { key, label, tenure, terms, credentials };
    let caller = Caller { bus_name: ":1.5".to_owned(), uid: 1000 };
    rib.with(|rib| rib.register(registration, caller, Now::at(1))).unwrap().id
}

fn add(rib: &SharedRib, owner: EntityId, number: usize) {
    add_with(rib, owner, number, 1);
}

fn add_with(rib: &SharedRib, owner: EntityId, number: usize, metric: u32) {
    let address = Some("192.0.2.1".parse().unwrap());
    let gateway = NextHopKey { address, interface: InterfaceIndex(0) };
    let via = [(gateway, None)];
    let offer = Offer {
        to: prefix(number),
        neighbour: None,
        preference: Preference(0),
        metric: Metric(metric),
        flags: RouteFlags(0),
        views: View::UNICAST.only(),
        next_hops: OfferedNextHops::Inline(via[..].into()),
        ttl: Span::FOREVER,
        private: &[],
        list: None,
    };
    rib.with(|rib| rib.add_route(owner, &offer, ChangeFlags(0), Now::at(2))).unwrap();
}

/// How many routes there are; all from the first on, for they were added one after the other.
fn count(ledger: &Ledger) -> usize {
    let count = ledger.route_count(table());
    let is_there = |number| {
        let views = View::UNICAST.only();
        ledger.look_up(table(), prefix(number), LookUp::Exact, Best::Overall, views).is_ok()
    };
    assert!(count == 0 || is_there(count - 1));
    assert!(!is_there(count));
    count
}

/// A directory with an image, and a log of a registration and these many routes.
fn with_routes(count: usize) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let rib = begin(&scratch.path().join("journal"));
    rib.with(|_| ());
    let owner = register(&rib);
    (0..count).for_each(|number| add(&rib, owner, number));
    scratch
}

fn file(directory: &Path, kind: &str) -> PathBuf {
    let of_kind = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(kind))
    };
    let mut all: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(of_kind)
        .collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A copy of a journal in which one file has other contents.
fn changed(original: &Path, kind: &str, contents: &[u8]) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("journal");
    fs::create_dir(&copy).unwrap();
    for name in ["image", "log"] {
        let source = file(original, name);
        fs::copy(&source, copy.join(source.file_name().unwrap())).unwrap();
    }
    fs::write(file(&copy, kind), contents).unwrap();
    scratch
}

#[test]
fn what_was_kept_is_there_for_the_next_process() {
    let scratch = with_routes(50);
    let directory = scratch.path().join("journal");
    for _ in 0..3 {
        let (_, found) = open(&directory);
        let found = found.expect("a ledger");
        assert_eq!(count(&found), 50);
        assert_eq!(found.epoch(), 7);
    }
    let rib = begin(&directory);
    let owner = rib.with(|rib| rib.entities().next().unwrap().id);
    add(&rib, owner, 50);
    drop(rib);
    assert_eq!(count(&open(&directory).1.unwrap()), 51);
}

#[test]
fn nobody_else_may_look_into_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = with_routes(1);
    let mode = fs::metadata(scratch.path().join("journal")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// A process can end in the middle of a write: wherever it does, what was answered before is there.
#[test]
fn a_log_that_is_cut_off_anywhere_has_all_that_is_whole_before() {
    let scratch = with_routes(6);
    let directory = scratch.path().join("journal");
    let whole = fs::read(file(&directory, "log")).unwrap();
    let mut counts = Vec::new();
    for length in 0..=whole.len() {
        let copy = changed(&directory, "log", &whole[..length]);
        let copy = copy.path().join("journal");
        let (journal, found) = open(&copy);
        counts.push(count(&found.expect("a ledger")));
        // And what is added now comes after what was whole.
        drop(journal);
        assert_eq!(count(&open(&copy).1.expect("a ledger")), *counts.last().unwrap());
    }
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!((counts[0], counts.last()), (0, Some(&6)));
}

/// Each single byte of both files, but for what makes a cut off log out of a whole one.
#[test]
fn a_changed_byte_never_comes_back_as_another_state() {
    let scratch = with_routes(3);
    let directory = scratch.path().join("journal");
    for kind in ["image", "log"] {
        let whole = fs::read(file(&directory, kind)).unwrap();
        for place in 0..whole.len() {
            let mut contents = whole.clone();
            contents[place] ^= 0x10;
            let copy = changed(&directory, kind, &contents);
            let (_, found) = open(&copy.path().join("journal"));
            assert!(found.is_none(), "byte {place} of the {kind} was taken as it is");
            assert!(copy.path().join("journal.damaged").join("log-1").exists());
        }
    }
}

#[test]
fn another_versions_another_programs_and_another_machines_journal_are_put_aside() {
    let scratch = with_routes(3);
    let directory = scratch.path().join("journal");
    let image = fs::read(file(&directory, "image")).unwrap();
    let mut newer = image.clone();
    newer[12] += 1;
    for contents in [&newer[..], b"#!/bin/sh\nexit 0\n", b"", b"rtmd"] {
        let copy = changed(&directory, "image", contents);
        let path = copy.path().join("journal");
        assert!(open(&path).1.is_none());
        // It can be begun anew at once, and what was put aside is there to be looked at.
        let rib = begin(&path);
        register(&rib);
        drop(rib);
        assert_eq!(open(&path).1.unwrap().entities().count(), 1);
        assert_eq!(fs::read(copy.path().join("journal.damaged/image-1")).unwrap(), contents);
    }
    let (_, found) = Journal::open(&directory, "another start", follower()).unwrap();
    assert!(found.is_none());
}

/// Whoever reads it may panic of it: not for ever.
#[test]
fn a_journal_that_the_last_start_panicked_of_is_put_aside() {
    let scratch = with_routes(3);
    let directory = scratch.path().join("journal");
    fs::write(directory.join("deadly"), "").unwrap();
    assert!(open(&directory).1.is_none());
    assert!(scratch.path().join("journal.damaged").exists());
    assert!(open(&directory).1.is_none());
}

#[test]
fn a_long_log_is_replaced_by_an_image_while_more_is_written() {
    const MANY: usize = 1000;
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let rib = begin(&directory);
    let owner = register(&rib);
    (0..MANY).for_each(|number| add(&rib, owner, number));
    let exists = |name: &str| directory.join(name).exists();
    let since = Instant::now();
    let is_long = |what: &str| assert!(since.elapsed() < Duration::from_secs(120), "{what}");
    for number in 2..4 {
        // The same routes again and again: what there is to know of them does not grow.
        while !exists(&format!("log-{number}")) {
            (0..MANY).for_each(|number| add(&rib, owner, number));
            is_long("the log is never replaced");
        }
        while !exists(&format!("image-{number}")) {
            // It is noticed with the next notes.
            add(&rib, owner, 0);
            thread::sleep(Duration::from_millis(1));
            is_long("no image is made");
        }
        let image = fs::metadata(directory.join(format!("image-{number}"))).unwrap().len();
        assert!(image < 1 << 20, "{image} bytes for {MANY} routes");
    }
    add(&rib, owner, MANY);
    while exists("image-2") || exists("log-2") {
        is_long("what was replaced stays");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(count(&open(&directory).1.unwrap()), MANY + 1);
}

/// A journal that misses something is worth less than none.
#[test]
fn where_it_cannot_be_written_nothing_is_left_and_later_it_begins_anew() {
    let scratch = with_routes(3);
    let directory = scratch.path().join("journal");
    let (mut journal, found) = open(&directory);
    let mut ledger = found.unwrap();
    // The directory goes, and with it the place for the image that the next log would need.
    fs::remove_dir_all(&directory).unwrap();
    journal.forget();
    ledger.set_bus("a bus".to_owned());
    journal.keep(&mut ledger);
    assert!(!directory.exists());
    fs::create_dir(&directory).unwrap();
    journal.forget();
    ledger.set_bus("another bus".to_owned());
    journal.keep(&mut ledger);
    let (_, found) = open(&directory);
    assert_eq!(found.unwrap().bus(), "another bus");
}

#[test]
fn however_slow_images_are_made_the_journal_does_not_grow_without_end() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let slow = ["/bin/sh", "-c", "exec sleep 20"].map(Into::into).to_vec();
    let (mut journal, _) = Journal::open(&directory, MACHINE, slow).unwrap();
    let mut ledger = Ledger::new(Rib::new(policy()), 7);
    let long = "x".repeat(4 << 20);
    let mut longest = 0;
    for number in 0..100 {
        ledger.set_bus(format!("{long}{number}"));
        journal.keep(&mut ledger);
        let files = fs::read_dir(&directory).unwrap();
        longest = longest.max(files.map(|file| file.unwrap().metadata().unwrap().len()).sum());
    }
    assert!((128 << 20..160 << 20).contains(&longest), "{longest} bytes");
    let (_, found) = open(&directory);
    assert!(found.unwrap().bus().ends_with("x99"));
}

/// All that the kernel has of its own is read, as ever.
/// Of a few routes that change all the time: what is not needed any more does not pile up.
#[test]
fn after_two_million_records_the_journal_is_small_and_has_the_last_of_each_route() {
    const ROUTES: usize = 1000;
    const ROUNDS: u32 = 2000;
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let rib = begin(&directory);
    let owner = register(&rib);
    let mut largest = 0;
    for round in 1..=ROUNDS {
        (0..ROUTES).for_each(|number| add_with(&rib, owner, number, round));
        let files = fs::read_dir(&directory).unwrap().filter_map(|file| file.ok()?.metadata().ok());
        largest = largest.max(files.map(|file| file.len()).sum::<u64>());
    }
    drop(rib);
    assert!(largest < 130 << 20, "{largest} bytes");
    let (_, found) = open(&directory);
    let found = found.unwrap();
    assert_eq!(count(&found), ROUTES);
    for number in 0..ROUTES {
        let routes = found.routes(table(), prefix(number)).unwrap();
        let metrics: Vec<u32> = routes.iter().map(|view| view.route.rank.metric.0).collect();
        assert_eq!(metrics, [ROUNDS]);
    }
}

fn read_foreign(ledger: &mut Ledger, numbers: &[usize], now: Now) {
    let hop = Hop { gateway: None, interface: InterfaceIndex(1), weight: Weight::ONE };
    ledger.handle_foreign_unknown(table(), KernelProtocol::KERNEL);
    for number in numbers {
        let way = ForeignWay::Out(Box::new([hop]));
        let (to, protocol, metric) = (prefix(*number), KernelProtocol::KERNEL, Metric(0));
        let route = ForeignRoute { to, protocol, metric, way };
        ledger.tell_foreign_route(table(), route, now).unwrap();
    }
    let mut rest = || ledger.handle_foreign_complete(table(), KernelProtocol::KERNEL, 1, now);
    while rest() == Progress::Unfinished {}
}

#[test]
fn reading_what_others_have_costs_nothing_where_nothing_changed_and_else_what_changed() {
    let mut ledger = Ledger::new(Rib::new(policy()), 7);
    ledger.handle_link(InterfaceIndex(1), "eth0", true);
    ledger.handle_links_complete();
    let mut notes = vec![ledger.take_notes().unwrap()];
    let mut lengths = Vec::new();
    let readings: [&[usize]; 6] =
        [&[0, 1, 2], &[0, 1, 2], &[0, 1, 2], &[0, 2], &[0, 2], &[0, 2, 3]];
    for (time, numbers) in (1..).zip(readings) {
        read_foreign(&mut ledger, numbers, Now::at(time));
        let noted = ledger.take_notes().unwrap();
        lengths.push(noted.len());
        notes.push(noted);
        // Whoever follows knows the same.
        let mut follower = Ledger::new(Rib::new(policy()), 7);
        notes.iter().for_each(|notes| follower.redo(notes).unwrap());
        for number in 0..4 {
            let is_there = |ledger: &Ledger| {
                let views = View::UNICAST.only();
                ledger.look_up(table(), prefix(number), LookUp::Exact, Best::Overall, views).is_ok()
            };
            assert_eq!(is_there(&ledger), numbers.contains(&number), "{number} at {time}");
            assert_eq!(is_there(&follower), is_there(&ledger), "{number} at {time}");
        }
        // And goes on from there by reading all.
        read_foreign(&mut follower, numbers, Now::at(time));
        assert!(follower.take_notes().unwrap().is_empty());
    }
    let [first, again, third, fewer, same, more] = lengths[..] else { panic!("{lengths:?}") };
    assert_eq!((again, third, same), (0, 0, 0), "{lengths:?}");
    assert!(first > 2 * more && fewer > 0 && more > 0, "{lengths:?}");
}
