//! What goes wrong around the two programs: each failure has its exit status, and a message that
//! says what to do or where to look. Needs no rights.
#![allow(clippy::print_stdout, reason = "the reason of a skip has to be seen")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    process::{Command, Output, Stdio},
};

use rtmd::model::Family;
use serde_json::Value;
use support::{Client, NO_FIB, PrivateBus, Service, details, eventually, found};

const STATIC: u32 = 10006;

#[tokio::test]
async fn a_second_rtmd_on_the_bus_ends_with_69_and_leaves_the_first_alone() {
    let bus = PrivateBus::start();
    let _first = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let mut second = bus.spawn(NO_FIB, "second");
    assert_failure(&mut second, 69, &["another rtmd is on this bus: it owns the name org.rtmd1"]);
    assert_eq!(client.table.routes().await.unwrap(), 1);
    client.add("11.0.0.0/8", "127.0.0.2").await.expect("the first one serves as before");
}

#[test]
fn a_second_rtmd_with_the_same_runtime_directory_ends_with_69() {
    let (bus, other_bus) = (PrivateBus::start(), PrivateBus::start());
    let _first = bus.serve(NO_FIB);
    let mut second = other_bus.launch(NO_FIB, "second");
    second.runtime_directory = bus.path("first.run");
    let held = format!("it holds {}", bus.path("first.run/lock").display());
    assert_failure(&mut second.start(), 69, &["another rtmd is running", &held]);
}

#[test]
fn the_lock_of_an_rtmd_that_was_killed_does_not_hold_up_the_next_one() {
    let bus = PrivateBus::start();
    bus.serve(NO_FIB).kill();
    let _next = bus.serve(NO_FIB);
}

#[tokio::test]
async fn a_bus_that_goes_away_ends_the_service_with_69() {
    let mut bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    bus.stop();
    let lost = "the connection to the bus is lost; the routes stay in the kernel";
    assert_failure(&mut service, 69, &[lost]);
}

#[test]
fn without_a_bus_the_service_ends_with_69_and_names_the_address() {
    let bus = PrivateBus::start();
    for (address, words) in [
        ("unix:path=/nonexistent/bus", "`unix:path=/nonexistent/bus`: No such file"),
        ("non:sense", "Invalid address"),
    ] {
        let mut launch = bus.launch(NO_FIB, "lost");
        launch.bus = address.to_owned();
        assert_failure(&mut launch.start(), 69, &["cannot reach the bus: ", words]);
    }
}

#[test]
fn what_is_no_address_of_a_bus_is_a_wrong_argument() {
    let bus = PrivateBus::start();
    let mut launch = bus.launch(NO_FIB, "sytem");
    launch.bus = "sytem".to_owned();
    let told = "invalid value 'sytem' for '--bus <BUS>': not \"system\", \"session\" or an address";
    assert_failure(&mut launch.start(), 2, &[told]);
}

#[test]
fn a_bus_policy_that_refuses_the_name_ends_with_69_and_names_the_file_to_install() {
    let bus = PrivateBus::with_policy("<deny own=\"*\"/>");
    let mut service = bus.spawn(NO_FIB, "refused");
    assert_failure(
        &mut service,
        69,
        &["does not let this user own the name org.rtmd1", "dbus/org.rtmd1.conf"],
    );
}

#[test]
fn a_configuration_that_is_wrong_ends_with_78_and_names_the_file_and_the_line() {
    let bus = PrivateBus::start();
    for (life, text, words) in [
        ("syntax", "[fib]\nmetric = = 1\n", ":2:"),
        ("unknown-key", "[fib]\n\ncolour = 1\n", ":3:1: "),
        ("wrong-type", "\n\n[limits]\nroutes = \"many\"\n", ":4:"),
        ("impossible", "[fib]\nprotocol = 2\n", "fib.protocol 2 is not from 5 to 255"),
    ] {
        let file = bus.path(&format!("{life}.toml")).display().to_string();
        assert_failure(&mut bus.spawn(text, life), 78, &[&format!("{file}:"), words]);
    }
}

#[test]
fn a_configuration_that_cannot_be_read_ends_with_78() {
    let bus = PrivateBus::start();
    let mut launch = bus.launch(NO_FIB, "unreadable");
    launch.config = bus.path("");
    assert_failure(&mut launch.start(), 78, &["is no file"]);
}

#[test]
fn a_configuration_without_any_usable_instance_ends_with_78_and_the_faults_are_told() {
    let bus = PrivateBus::start();
    let launch = bus.launch("[[instance]]\nid = 0\nviabilty = \"first\"\n", "no-instance");
    let told = [
        "instance 0: ",
        "has no key \"viabilty\", did you mean viability?",
        "no instance can be served",
    ];
    assert_failure(&mut launch.start(), 78, &told);
}

#[test]
fn a_directory_that_cannot_be_made_ends_with_73_and_is_named() {
    let bus = PrivateBus::start();
    let below_a_file = bus.path("bus.conf/run");
    let named = format!("{}: Not a directory", below_a_file.display());
    let mut launch = bus.launch(NO_FIB, "no-runtime");
    launch.runtime_directory = below_a_file.clone();
    assert_failure(&mut launch.start(), 73, &[&named]);
    let mut launch = bus.launch(NO_FIB, "no-state");
    launch.state_directory = below_a_file;
    assert_failure(&mut launch.start(), 73, &[&named]);
}

#[test]
fn without_cap_net_admin_it_ends_with_77_and_says_what_is_missing() {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if root && !found("setpriv") {
        return;
    }
    let bus = PrivateBus::start();
    // All defaults, so with the tables of the kernel.
    let mut launch = bus.launch("", "powerless");
    if root {
        launch.wrapper = vec!["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    }
    assert_failure(&mut launch.start(), 77, &["not permitted to change routes", "CAP_NET_ADMIN"]);
}

#[test]
fn a_stop_signal_ends_it_with_0() {
    let bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    service.terminate();
    let status = service.end();
    assert_eq!(status.code(), Some(0), "{}", service.log());
    assert!(service.log().contains("stopping; the routes stay in the kernel"), "{}", service.log());
}

#[test]
fn an_unknown_argument_ends_either_program_with_2() {
    for program in [env!("CARGO_BIN_EXE_rtmd"), env!("CARGO_BIN_EXE_rtmctl")] {
        let output = Command::new(program).arg("--colour=red").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("unexpected argument '--colour'"), "{output:?}");
    }
}

#[test]
fn rtmctl_without_a_service_or_a_bus_ends_with_69_and_says_how_to_start_one() {
    let mut bus = PrivateBus::start();
    let commands: [&[&str]; 5] = [
        &["status"],
        &["entities"],
        &["routes"],
        &["lookup", "10.0.0.1"],
        &["register", "--protocol", "static"],
    ];
    let no_service: Vec<Output> = commands.iter().map(|command| bus.rtmctl(command)).collect();
    bus.stop();
    let no_bus = commands.iter().map(|command| bus.rtmctl(command));
    for output in no_service.into_iter().chain(no_bus) {
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let said = text(&output.stderr);
        let address = bus.address();
        assert!(
            said.starts_with(&format!("error: rtmd is not running on the bus at {address}: "))
                && said.contains("name another bus with --bus"),
            "{said}"
        );
        assert_eq!(text(&output.stdout), "");
    }
}

#[tokio::test]
async fn rtmctl_ends_with_1_when_something_is_not_found_or_refused() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let _client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (arguments, message) in [
        (&["lookup", "192.0.2.1"][..], "no route covers 192.0.2.1/32"),
        (&["lookup", "nonsense"], "nonsense"),
        (&["routes", "10.0.0.1/8"], "10.0.0.1/8"),
        (&["routes", "--instance", "7"], "instance 7"),
        (&["entities", "--instance", "7"], "instance 7"),
        (&["status", "--instance", "7"], "instance 7"),
        (&["-6", "lookup", "192.0.2.1"], "not of the family asked for"),
    ] {
        let output = bus.rtmctl(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("error: ") && said.contains(message), "{arguments:?}: {said}");
    }
    let taken =
        rtmctl_reading(&bus, &["register", "--protocol", "static"], "add 10.0.0.0/8 dev lo");
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    assert!(text(&taken.stderr).contains("is already registered"), "{taken:?}");
    let lines = "add 10.0.0.0/8 via 127.0.0.2\nnonsense\nadd 10.0.0.1/8 dev lo\n";
    let refused = ["register", "--protocol", "bgp", "--exit-at-eof"];
    let refused = rtmctl_reading(&bus, &refused, lines);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("line 2: \"nonsense\"") && said.contains("line 3: "), "{said}");
}

#[test]
fn rtmctl_register_outlives_a_restart_of_the_service_and_ends_with_69_when_it_goes_away() {
    let bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--bus", &bus.address(), "--json", "register", "--protocol", "static"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"add 10.0.0.0/8 via 127.0.0.2\n").unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let registered = events.next().unwrap();
    assert_eq!(
        (&registered["event"], &registered["table"]),
        (&"registered".into(), &"0/ipv4".into())
    );
    let in_step = events.find(|event| event["event"] == "in-step").unwrap();
    assert_eq!((&in_step["pending"], &in_step["failed"]), (&0.into(), &0.into()));
    drop(service);
    let service = bus.serve(NO_FIB);
    assert_eq!(events.next().unwrap()["event"], "returned");
    drop(service);
    assert_eq!(events.next().unwrap()["event"], "lost");
    assert_eq!(child.wait().unwrap().code(), Some(69));
}

#[test]
fn rtmctl_register_that_is_terminated_leaves_its_routes_if_they_are_to_linger() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    for (linger, states) in [("60", &["lingering"][..]), ("0", &[])] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--bus", &bus.address(), "--json", "register", "--protocol", "static"])
            .args(["--linger", linger])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"add 10.0.0.0/8 via 127.0.0.2\n").unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
        events.find(|line| line.as_ref().unwrap().contains("in-step")).unwrap().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(told.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let left = || {
            let listed = text(&bus.rtmctl(&["--json", "entities"]).stdout);
            let states = listed.lines().map(|line| {
                let entity: Value = serde_json::from_str(line).unwrap();
                entity["state"].as_str().unwrap().to_owned()
            });
            states.collect::<Vec<_>>()
        };
        let since = std::time::Instant::now();
        while left() != states {
            assert!(since.elapsed().as_secs() < 10, "{:?}", left());
        }
    }
}

#[tokio::test]
async fn rtmctl_status_shows_the_rest_when_an_instance_is_bad() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[[instance]]\nid = 3\n"));
    let output = bus.rtmctl(&["status"]);
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert!(shown.contains("0/ipv4") && shown.contains("0/ipv6"), "{shown}");
    assert!(said.starts_with("error: instance 3 is") && said.contains("kernel-table"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let output = bus.rtmctl(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["tables"].as_array().unwrap().len(), 2);
    assert_eq!(status["faults"][0]["of"], "instance 3");
}

#[tokio::test]
async fn rtmctl_says_that_there_is_nothing_to_people_and_nothing_to_programs() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    for (arguments, message) in [
        (&["entities"][..], "no entities registered in instance 0 (ipv4 and ipv6)\n"),
        (&["-6", "routes"], "no routes like that in instance 0 (ipv6)\n"),
        (
            &["routes", "10.0.0.0/8", "--exact"],
            "no routes like that in instance 0 (ipv4 and ipv6)\n",
        ),
    ] {
        let output = bus.rtmctl(arguments);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), ""));
        assert_eq!(text(&output.stderr), message);
        let output = bus.rtmctl(&[&["--json"], arguments].concat());
        assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), vec![], vec![]));
    }
}

#[tokio::test]
async fn rtmctl_explains_why_each_route_won_or_lost_and_where_it_leads() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, 13).await;
    client.add("10.0.0.0/8", "203.0.113.1").await.unwrap();
    other.add("10.0.0.0/8", "127.0.0.3").await.unwrap();
    for asked in ["10.1.2.3", "10.0.0.0/8"] {
        let shown = text(&bus.rtmctl(&["explain", asked]).stdout);
        let lines: Vec<&str> = shown.lines().collect();
        let [prefix, first, won, way, second, lost, fault, kernel] = lines.as_slice() else {
            panic!("{shown}")
        };
        assert_eq!(*prefix, "10.0.0.0/8");
        assert_eq!(*first, "  1. client-13 (ospf), preference 110, metric 0");
        assert!(won.contains("best: packets can follow it"), "{won}");
        assert_eq!(*way, "     via 127.0.0.3 dev lo - leads straight out");
        assert!(second.starts_with("  2. client-10006"), "{second}");
        assert!(lost.contains("not viable"), "{lost}");
        assert!(fault.contains("no interface that is up"), "{fault}");
        assert!(kernel.contains("kernel table 0: nothing of rtmd's; none:"), "{kernel}");
    }
    let json = &objects(&bus.rtmctl(&["--json", "explain", "10.1.2.3"]))[0];
    assert_eq!((&json["prefix"], &json["fib"]["state"]), (&"10.0.0.0/8".into(), &"none".into()));
    assert_eq!(json["candidates"][0]["viable"], true);
    assert_eq!(json["candidates"][1]["next-hops"][0]["address"], "203.0.113.1");
    let nothing = bus.rtmctl(&["explain", "192.0.2.1"]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[tokio::test]
async fn rtmctl_shows_deleted_next_hops_held_routes_and_how_long_routes_stay() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let hop = client.entity.add_next_hop("127.0.0.2", 0, &details([])).await.unwrap().0;
    let keys = [("next-hops", vec![hop].into()), ("ttl", 60_000u32.into())];
    client.entity.add_route("10.0.0.0/8", &details(keys), 0).await.unwrap();
    client.entity.delete_next_hop(hop).await.unwrap();
    let (held, _) = client.add("11.0.0.0/8", "127.0.0.3").await.unwrap();
    client.entity.hold_destination("11.0.0.0/8", 1, 600_000).await.unwrap();
    client.entity.delete_route(held).await.unwrap();
    let several = [("127.0.0.4", 0u32, 256u32), ("127.0.0.5", 0, 1), ("127.0.0.6", 0, 1)];
    let several = details([("via", several.to_vec().into())]);
    client.entity.add_route("12.0.0.0/8", &several, 0).await.unwrap();

    let shown = text(&bus.rtmctl(&["routes"]).stdout);
    let line = |of: &str| {
        shown.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("{shown}"))
    };
    let first = line("10.0.0.0/8");
    assert!(first.contains("via 127.0.0.2 (deleted)"), "{first}");
    assert!(first.contains("expires in 59.") || first.contains("expires in 60.0"), "{first}");
    let at = |of: &str, what: &str| line(of).find(what).unwrap_or_else(|| panic!("{shown}"));
    let way = at("prefix  ", "way");
    for (of, what) in [("10.0.0.0/8", "via"), ("12.0.0.0/8", "via"), ("127.0.0.6", "via")] {
        assert_eq!(at(of, what), way, "{shown}");
    }
    assert!(line("127.0.0.4").contains("via 127.0.0.4 dev lo weight 256"), "{shown}");
    for of in ["10.0.0.0/8", "12.0.0.0/8"] {
        assert_eq!(at(of, "none"), at("prefix  ", "fib"), "{shown}");
    }
    let held = text(&bus.rtmctl(&["routes", "--exact", "11.0.0.0/8"]).stdout);
    assert!(
        held.contains("withdrawn, held 5") || held.contains("withdrawn, held 600.0 s"),
        "{held}"
    );
    let json = &objects(&bus.rtmctl(&["--json", "routes"]))[0];
    assert_eq!(json["next-hops"][0]["deleted"], true);
    assert!(json["expires-in"].as_u64().is_some_and(|left| left <= 60_000), "{json}");
}

#[tokio::test]
async fn rtmctl_register_names_the_line_and_the_prefix_that_is_refused() {
    let bus = PrivateBus::start();
    let _service = bus.serve(&format!("{NO_FIB}[limits]\nroutes = 1\n"));
    let arguments = ["register", "--protocol", "bgp", "--exit-at-eof"];
    let lines = "add 10.0.0.0/8 dev lo\nadd 11.0.0.0/8 dev lo\nadd 12.0.0.0/33 dev lo\n";
    let said = text(&rtmctl_reading(&bus, &arguments, lines).stderr);
    assert!(
        said.contains("line 2: 11.0.0.0/8: table 0/ipv4 has 1 routes, the most (limit routes)"),
        "{said}"
    );
    assert!(
        said.contains("line 3: \"12.0.0.0/33\": prefix length 33 of 12.0.0.0 is over 32"),
        "{said}"
    );
}

#[test]
fn rtmctl_register_says_who_may_register_and_what_to_do() {
    let bus = PrivateBus::with_policy(
        "<allow own=\"*\"/><deny send_destination=\"org.rtmd1\" send_interface=\"org.rtmd1.Manager\" \
         send_member=\"RegisterEntity\"/>",
    );
    let _service = bus.serve(NO_FIB);
    let arguments = ["register", "--protocol", "bgp", "--exit-at-eof"];
    let output = rtmctl_reading(&bus, &arguments, "add 10.0.0.0/8 dev lo\n");
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let said = text(&output.stderr);
    for words in ["permission denied: ", "root or in the group rtmd", "usermod --append"] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn everything_rtmctl_prints_with_json_is_an_object_a_line() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    for n in 0..5 {
        client.add(&format!("10.{n}.0.0/16"), "127.0.0.2").await.unwrap();
    }
    let json = |arguments: &[&str]| objects(&bus.rtmctl(&[&["--json"], arguments].concat()));

    let status = json(&["status"]);
    assert_eq!(
        (&status[0]["fib-state"], &status[0]["tables"][0]["routes"]),
        (&"synced".into(), &5.into())
    );
    let entities = json(&["entities"]);
    assert_eq!((entities.len(), &entities[0]["label"]), (1, &"client-10006".into()));
    let routes = json(&["routes"]);
    assert_eq!((routes.len(), &routes[4]["prefix"]), (5, &"10.4.0.0/16".into()));
    assert_eq!(json(&["routes", "--best"]).len(), 5);
    assert_eq!(json(&["-6", "routes"]).len(), 0);
    let lookup = json(&["lookup", "10.3.1.1"]);
    assert_eq!((lookup.len(), &lookup[0]["next-hops"][0]["dev"]), (1, &"lo".into()));
    let register = ["--json", "register", "--protocol", "bgp", "--exit-at-eof"];
    let register = objects(&rtmctl_reading(&bus, &register, "add 10.9.0.0/16 via 127.0.0.3\n"));
    let events: Vec<&Value> = register.iter().map(|object| &object["event"]).collect();
    assert_eq!(events, ["registered", "loaded", "in-step"]);
    eventually("what was offered goes with rtmctl", async || {
        client.table.routes().await.unwrap() == 5
    })
    .await;
}

#[tokio::test]
async fn rtmctl_ends_quietly_when_its_reader_goes_away() {
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let prefixes: Vec<String> =
        (0..3000).map(|n| format!("10.{}.{}.0/24", n / 250, n % 250)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let route = support::route("127.0.0.2", []);
    let (_, errors) = client.entity.add_prefixes(&prefixes, &route, 0).await.unwrap();
    assert_eq!(errors, []);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--bus", &bus.address(), "routes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

/// It ends by itself, with this status, and its last words contain these.
fn assert_failure(service: &mut Service, code: i32, words: &[&str]) {
    let status = service.end();
    let log = service.log();
    assert_eq!(status.code(), Some(code), "{log}");
    for words in words {
        assert!(log.contains(words), "\"{words}\" is missing in:\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}

fn rtmctl_reading(bus: &PrivateBus, arguments: &[&str], lines: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--bus", &bus.address()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = text(&output.stdout);
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let objects: Vec<Value> = lines.lines().map(read).collect();
    assert!(objects.iter().all(Value::is_object), "{lines}");
    objects
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
