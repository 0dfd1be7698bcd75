//! The bytes of the journal: what one version of rtmd wrote, the next one reads, or knows that it cannot.
//!
//! `tests/data/journal-vN` has what version N of the format makes of the commands below. Bytes that are
//! others without another version would be read as something that never was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rtmd::{
    journal::{
        self, Journal,
        ledger::{Ledger, Object, ObjectKind},
    },
    model::{
        Caller, ChangeFlags, EntityId, EntityKey, Family, FibStatus, Hop, InstanceId,
        InterfaceIndex, KernelProtocol, ListId, Metric, NextHopFlags, NextHopId, NextHopKey,
        NotificationId, NotifyFlags, Now, Preference, Prefix, Protocol, RouteFlags, RouteId, Span,
        TableId, View, VrfPlace, Weight,
    },
    rib::{
        Amendment, Best, Credentials, ForeignRoute, ForeignWay, Grant, Grants, Instance,
        InstanceSettings, Limits, LookUp, Match, NextHopOffer, Offer, OfferedNextHops, Policy,
        Prefixes, Question, Registration, Rib, Selection, Standing, StaticChange, StaticKey,
        StaticMatch, StaticNextHop, StaticRoute, Subscription, Tenure, Terms, Unit, Verdict, Whom,
    },
};

const MACHINE: &str = "this start";

/// Where the version is in each file.
const VERSION: std::ops::Range<usize> = 12..16;

/// What to do when the format has changed.
const HELP: &str = "the journal's format has changed: raise VERSION in src/journal/file.rs, then write \
                    the data of the new version with RTMD_JOURNAL=write cargo test --test journal_format, \
                    and leave that of the old ones, which have to be put aside";

/// A service's life: the commands in the order in which they are noted, some of them more than once.
struct Life {
    ledger: Ledger,
    owner: EntityId,
    other: EntityId,
    routes: Vec<RouteId>,
    next_hop: Option<NextHopId>,
    list: ListId,
    notification: NotificationId,
    questions: Vec<Question>,
    change: Option<StaticChange>,
}

fn table() -> TableId {
    TableId::new(0, Family::Ipv4).unwrap()
}

fn to(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn at(moment: u64) -> Now {
    Now::at(moment)
}

/// With numbers of its own: that a default is another one is no other format.
fn policy() -> Policy {
    let mut limits = serde_json::to_value(Limits::default()).unwrap();
    for (number, limit) in limits.as_object_mut().unwrap().values_mut().enumerate() {
        *limit = (1000 + number).into();
    }
    let limits = serde_json::from_value(limits).unwrap();
    let instance = Instance::Ready(InstanceSettings::default());
    let grants = grants();
    Policy { instances: [(InstanceId(0), instance)].into(), limits, grants, ..Policy::default() }
}

/// One for nobody, and one with all that a grant can say.
fn grants() -> Grants {
    let whom = Whom { user: Some(1000), group: Some(1001), unit: Some("bird.service".to_owned()) };
    let all = Grant {
        protocols: [8, 9, 13, 14].map(Protocol).into(),
        instances: vec![InstanceId(0)],
        families: vec![Family::Ipv4],
        prefixes: Prefixes::new(vec![to("192.0.2.0/24")], vec![to("10.0.0.0/8")]),
        routes: Some(1001),
        next_hops: Some(1002),
        registrations: Some(1003),
        preferences: Some(Preference(1)..=Preference(1004)),
        views: Some(View::UNICAST.only()),
        linger: Some(1005),
        statics: true,
        ..Grant::new("all", Ok(whom))
    };
    Grants(vec![Grant::new("none", Err("no such user".to_owned())), all])
}

fn caller() -> Caller {
    Caller { bus_name: ":1.5".to_owned(), uid: 1000 }
}

fn registration(protocol: u32) -> Registration {
    let key = EntityKey { table: table(), protocol: Protocol(protocol), protocol_instance: 0 };
    let terms = Terms {
        callback: Some("/callback".to_owned()),
        reserve_opaque: true,
        fib_results: true,
        ..Terms::default()
    };
    let (label, tenure) = ("bgp".to_owned(), Tenure::Connection);
    let unit = Unit { name: "bird.service".to_owned(), is_sure: true };
    let credentials =
        Credentials { groups: vec![1000, 1001], unit: Some(unit), standing: Standing::Ordinary };
    Registration { key, label, tenure, terms, credentials }
}

fn key(address: &str, interface: u32) -> NextHopKey {
    NextHopKey { address: Some(address.parse().unwrap()), interface: InterfaceIndex(interface) }
}

fn offer<'a>(prefix: &str, via: &'a [(NextHopKey, Option<Weight>)], ttl: Span) -> Offer<'a> {
    Offer {
        to: to(prefix),
        neighbour: None,
        preference: Preference(0),
        metric: Metric(1),
        flags: RouteFlags(0),
        views: View::UNICAST.only(),
        next_hops: OfferedNextHops::Inline(via.into()),
        ttl,
        private: &[1, 2, 3],
        list: None,
    }
}

fn static_route() -> StaticRoute {
    let key = StaticKey {
        to: to("203.0.113.0/24"),
        protocol: Protocol(10006),
        preference: Preference(9),
        metric: Metric(4),
    };
    let via = vec![StaticNextHop {
        address: Some("192.0.2.9".parse().unwrap()),
        interface: None,
        weight: None,
    }];
    let (flags, views) = (RouteFlags(0), View::UNICAST.only());
    StaticRoute { key, flags, views, via, persistent: true }
}

fn foreign() -> ForeignRoute {
    let interface = InterfaceIndex(2);
    let hop = Hop { gateway: None, interface, weight: Weight::ONE };
    let way = ForeignWay::Out(Box::new([hop]));
    let (protocol, metric) = (KernelProtocol::KERNEL, Metric(0));
    ForeignRoute { to: to("192.0.2.0/24"), protocol, metric, way }
}

type Command = fn(&mut Life);

/// Each command that is noted, at least once.
const COMMANDS: &[Command] = &[
    |l| l.ledger.set_bus("a bus".to_owned()),
    |l| _ = l.ledger.reconfigure(policy()),
    |l| _ = l.ledger.next_enumeration(),
    |l| l.ledger.begin_anew(),
    |l| l.ledger.handle_links_unknown(),
    |l| _ = l.ledger.handle_link(InterfaceIndex(2), "eth0", true),
    |l| _ = l.ledger.handle_link(InterfaceIndex(3), "eth1", true),
    |l| _ = l.ledger.handle_vrf_place(InterfaceIndex(3), VrfPlace::default()),
    |l| {
        let address = "192.0.2.1".parse().unwrap();
        l.ledger.handle_address(InterfaceIndex(2), address, to("192.0.2.0/24"));
    },
    |l| {
        let address = "198.51.100.1".parse().unwrap();
        l.ledger.handle_address_gone(InterfaceIndex(2), address, to("198.51.100.0/24"));
    },
    |l| l.ledger.handle_link_gone(InterfaceIndex(3)),
    |l| l.ledger.handle_links_complete(),
    |l| l.ledger.handle_foreign_route(table(), foreign(), at(3)).unwrap(),
    |l| {
        let another = ForeignRoute { metric: Metric(7), ..foreign() };
        l.ledger.handle_foreign_route(table(), another.clone(), at(4)).unwrap();
        l.ledger.handle_foreign_gone(table(), &another, at(5));
    },
    |l| {
        let another = ForeignRoute { metric: Metric(7), ..foreign() };
        l.ledger.handle_foreign_gone(table(), &another, at(5));
    },
    |l| l.owner = l.ledger.register(registration(14), caller(), at(6)).unwrap().id,
    |l| {
        let object = Object { owner: caller(), kind: ObjectKind::Entity(l.owner, "".into()) };
        l.ledger.keep_object("/an/entity".to_owned(), object);
    },
    |l| {
        let kind = ObjectKind::RouteList(l.owner, ListId(1));
        l.ledger.keep_object("/a/list".to_owned(), Object { owner: caller(), kind });
    },
    |l| _ = l.ledger.forget_object("/a/list"),
    |l| _ = l.ledger.block_methods(l.owner, false),
    |l| {
        let wanted = Subscription {
            table: table(),
            views: View::UNICAST.only(),
            flags: NotifyFlags(1),
            context: 77,
        };
        l.notification = l.ledger.register_for_changes(wanted, caller()).unwrap();
    },
    |l| {
        let offer = NextHopOffer {
            key: key("192.0.2.7", 2),
            flags: NextHopFlags(0),
            weight: Weight::ONE,
            remote: None,
            private: &[4],
        };
        l.next_hop = Some(l.ledger.add_next_hop(l.owner, offer).unwrap().0);
    },
    |l| l.list = l.ledger.create_route_list(l.owner).unwrap(),
    |l| l.add("10.0.0.0/8", Span::FOREVER),
    |l| l.add("10.1.0.0/16", Span::FOREVER),
    |l| l.add("10.2.0.0/16", Span::from_millis(5).unwrap()),
    |l| {
        let changes = Amendment { metric: Some(Metric(2)), ..Amendment::default() };
        l.ledger.update_route(l.owner, l.routes[0], &changes, at(8)).unwrap();
    },
    |l| l.ledger.move_to_list(l.owner, Some(l.list), &l.routes).unwrap(),
    |l| _ = l.ledger.next_listed(l.owner, l.list, 1).unwrap(),
    |l| l.ledger.rewind_list(l.owner, l.list).unwrap(),
    |l| l.ledger.set_opaque(l.owner, to("10.0.0.0/8"), &[5, 6]).unwrap(),
    |l| {
        let span = Span::from_millis(1000).unwrap();
        let views = View::UNICAST.only();
        l.ledger.hold_destination(l.owner, to("10.0.0.0/8"), views, span).unwrap();
    },
    |l| _ = l.ledger.poll_effects(1),
    |l| l.ledger.handle_fib(table(), to("10.0.0.0/8"), FibStatus::Installed, None),
    |l| assert!(!l.ledger.take_fib_results(l.owner, 1).is_empty()),
    |l| _ = l.ledger.mark_destination(table(), l.notification, (to("10.0.0.0/8"), true)),
    |l| _ = l.ledger.ignore_changed(table(), l.notification, &[to("10.1.0.0/16")]),
    |l| _ = l.ledger.changed_destinations(table(), l.notification, 1),
    |l| _ = l.ledger.best_changes(table(), l.notification, 1),
    |l| l.ledger.handle_deadlines(9, at(20_000)),
    |l| l.questions = l.ledger.poll_questions(),
    |l| l.ledger.answer_expiry(&l.questions[0], Verdict::Keep, at(20_001)),
    |l| _ = l.ledger.reelect(9),
    |l| l.ledger.set_level(Protocol(14), Preference(33)),
    |l| {
        let mut work = l.ledger.reapplication(Protocol(14));
        l.ledger.reapply(&mut work, 9, at(20_002));
    },
    |l| _ = l.ledger.set_pushed(table(), false).unwrap(),
    |l| {
        let mut work = l.ledger.set_pushed(table(), true).unwrap();
        l.ledger.requeue(&mut work, 9);
    },
    |l| l.change = l.ledger.add_static_route(table(), static_route(), at(20_003)).ok(),
    |l| l.ledger.undo_static(l.change.take().unwrap(), at(20_004)),
    |l| l.ledger.restore_static_route(table(), static_route(), at(20_005)),
    |l| {
        let (all, prefix) = (StaticMatch::default(), to("10.0.0.0/8"));
        _ = l.ledger.remove_static_route(table(), prefix, &all, at(20_006));
    },
    |l| l.ledger.settle_static_routes(at(20_007)),
    |l| _ = l.ledger.configure_static_routes(vec![(table(), static_route())], at(20_008)),
    |l| _ = l.ledger.delete_route(l.owner, l.routes[1], at(20_008)).unwrap(),
    |l| {
        let wanted = Match { interface: Some(InterfaceIndex(9)), ..Match::default() };
        let mut work = Selection::new(l.owner, wanted, None);
        l.ledger.delete_selected(&mut work, 9, at(20_009));
    },
    |l| l.ledger.delete_next_hop(l.owner, l.next_hop.unwrap()).unwrap(),
    |l| {
        let other = l.ledger.create_route_list(l.owner).unwrap();
        l.ledger.delete_route_list(other);
    },
    |l| {
        let wanted = Subscription {
            table: table(),
            views: View::UNICAST.only(),
            flags: NotifyFlags(1),
            context: 78,
        };
        let other = l.ledger.register_for_changes(wanted, caller()).unwrap();
        l.ledger.deregister_from_changes(table(), other);
    },
    |l| l.other = l.ledger.register(registration(13), caller(), at(20_010)).unwrap().id,
    |l| l.ledger.deregister(l.other).unwrap(),
    |l| _ = l.ledger.withdraw(l.other, 9, at(20_011)),
    |l| {
        let gone = Caller { bus_name: ":1.6".to_owned(), uid: 0 };
        let id = l.ledger.register(registration(9), gone, at(20_012)).unwrap().id;
        assert_eq!(l.ledger.handle_client_gone(":1.6", at(20_013)), [id]);
    },
    |l| {
        let mut registration = registration(8);
        registration.terms.linger = Span::from_millis(1000).ok();
        l.other = l.ledger.register(registration, caller(), at(20_014)).unwrap().id;
    },
    |l| _ = l.ledger.linger(l.other, at(20_015)),
    |l| _ = l.ledger.sweep(l.other, 9, at(20_016)),
];

impl Life {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(Rib::new(policy()), 7),
            owner: EntityId(0),
            other: EntityId(0),
            routes: Vec::new(),
            next_hop: None,
            list: ListId(0),
            notification: NotificationId(0),
            questions: Vec::new(),
            change: None,
        }
    }

    fn add(&mut self, prefix: &str, ttl: Span) {
        let via = [(key("192.0.2.7", 2), None), (key("192.0.2.8", 0), Weight::new(3).ok())];
        let offer = offer(prefix, &via, ttl);
        let (id, _) = self.ledger.add_route(self.owner, &offer, ChangeFlags(0), at(7)).unwrap();
        self.routes.push(id);
    }
}

fn follower() -> Vec<std::ffi::OsString> {
    vec![env!("CARGO_BIN_EXE_rtmd").into(), "--follow-journal".into()]
}

/// The files that all commands make: the image and the log of a service, and the image that a follower
/// makes of them.
fn written() -> Vec<(&'static str, Vec<u8>)> {
    let scratch = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(scratch.path(), MACHINE, follower()).unwrap();
    let mut life = Life::new();
    journal.keep(&mut life.ledger);
    for command in COMMANDS {
        command(&mut life);
        journal.keep(&mut life.ledger);
    }
    let read = |name: &str| fs::read(scratch.path().join(name)).unwrap();
    let (image, log) = (read("image-1"), read("log-1"));
    journal::follow(scratch.path(), MACHINE, 2).unwrap();
    vec![("image-1", image), ("log-1", log), ("image-2", read("image-2"))]
}

fn version(file: &[u8]) -> u32 {
    u32::from_le_bytes(file[VERSION].try_into().unwrap())
}

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/journal-v{version}"))
}

/// How often each byte is there in what an image holds: maps have no order of their own, so that of its parts
/// differs, and with it the checksums in front.
fn bytes(image: &[u8]) -> Vec<usize> {
    let content = &image[32..];
    (0..=255).map(|byte| content.iter().filter(|it| **it == byte).count()).collect()
}

/// What these files come to, for a service that begins now.
fn read(files: &[(&str, &[u8])]) -> Option<Ledger> {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("journal");
    fs::create_dir(&directory).unwrap();
    for (name, contents) in files {
        fs::write(directory.join(name), contents).unwrap();
    }
    let (_, ledger) = Journal::open(&directory, MACHINE, follower()).unwrap();
    let is_aside = scratch.path().join("journal.damaged").exists();
    assert_eq!(is_aside, ledger.is_none(), "put aside");
    ledger
}

/// A log without a record.
fn empty_log(of: &[u8]) -> Vec<u8> {
    of[..VERSION.end].to_vec()
}

#[test]
fn the_commands_above_are_all_there_are_and_each_is_noted() {
    let source = include_str!("../src/journal/ledger.rs");
    let noted = source.split_once("\nnoted! {").unwrap().1.split_once("\n}").unwrap().0;
    let name = |line: &'static str| line.split_once("u32 ")?.1.split_once('(').map(|it| it.0);
    let names: Vec<&str> = noted.lines().filter_map(name).collect();
    assert!(names.len() > 40, "they are written in another way now: {names:?}");
    for name in names {
        let is_above = include_str!("journal_format.rs").contains(&format!(".{name}("));
        assert!(is_above, "a command for {name} is missing above");
    }
    let mut life = Life::new();
    for (number, command) in COMMANDS.iter().enumerate() {
        command(&mut life);
        assert!(!life.ledger.take_notes().unwrap().is_empty(), "the command with index {number}");
    }
}

#[test]
fn the_same_commands_make_the_same_bytes_or_the_version_is_another() {
    let written = written();
    let folder = folder(version(&written[0].1));
    if std::env::var_os("RTMD_JOURNAL").is_some_and(|wish| wish == "write") && !folder.exists() {
        fs::create_dir(&folder).unwrap();
        written.iter().for_each(|(name, file)| fs::write(folder.join(name), file).unwrap());
    }
    for (name, now) in &written {
        let path = folder.join(name);
        let then =
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; {HELP}", path.display()));
        let is_same = match *name {
            "image-2" => bytes(&then) == bytes(now),
            _ => then == *now,
        };
        assert!(is_same, "{name}: {} bytes, and were {}; {HELP}", now.len(), then.len());
    }
}

#[test]
fn what_was_written_when_the_version_was_new_is_read_as_it_was_meant() {
    let folder = folder(version(&written()[0].1));
    let file = |name| fs::read(folder.join(name)).unwrap_or_else(|_| panic!("{HELP}"));
    let (first, log, second) = (file("image-1"), file("log-1"), file("image-2"));
    let empty = empty_log(&log);
    let of_commands = read(&[("image-1", &first), ("log-1", &log)]).expect("a ledger");
    let of_image = read(&[("image-2", &second), ("log-2", &empty)]).expect("a ledger");
    for mut ledger in [of_commands, of_image] {
        assert_eq!((ledger.epoch(), ledger.bus()), (7, "a bus"));
        assert_eq!(ledger.objects().keys().collect::<Vec<_>>(), ["/an/entity"]);
        assert_eq!(ledger.next_enumeration(), 2);
        let routes = ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "192.0.2.0/24", "203.0.113.0/24"];
        let views = View::UNICAST.only();
        let is_there = routes.map(|route| {
            ledger.look_up(table(), to(route), LookUp::Exact, Best::Overall, views).is_ok()
        });
        assert_eq!(is_there, [true, false, true, true, true]);
        let own = ledger.entities().find(|it| it.caller == caller()).expect("the owner");
        assert_eq!((own.key.protocol, own.label.as_str()), (Protocol(14), "bgp"));
        assert_eq!(ledger.policy().levels.preference(Protocol(14), Preference(0)), Preference(33));
        assert_eq!(ledger.route_list_ids().count(), 1);
        assert_eq!(ledger.registrations_for_changes().count(), 1);
    }
}

#[test]
fn an_older_version_and_a_newer_one_are_put_aside() {
    let written = written();
    let of_now = version(&written[0].1);
    let file = |name: &str| written.iter().find(|it| it.0 == name).unwrap().1.clone();
    for other in [0, of_now - 1, of_now + 1, u32::MAX] {
        for which in ["image-1", "log-1"] {
            let mut files = [("image-1", file("image-1")), ("log-1", file("log-1"))];
            let changed = files.iter_mut().find(|it| it.0 == which).unwrap();
            changed.1[VERSION].copy_from_slice(&other.to_le_bytes());
            let files = files.each_ref().map(|(name, contents)| (*name, &contents[..]));
            assert!(read(&files).is_none(), "{which} of version {other}");
        }
    }
    for old in 1..of_now {
        let file = |name| fs::read(folder(old).join(name)).unwrap();
        let (image, log) = (file("image-1"), file("log-1"));
        assert!(read(&[("image-1", &image), ("log-1", &log)]).is_none(), "version {old}");
    }
}
