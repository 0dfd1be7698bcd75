//! The example clients in Python and shell print what their headers say they print.
//!
//! Each runs on a bus and a service of its own. In a header, what comes after a line that ends in
//! "prints" is the output, and "…" stands for what differs from one run to the next. Needs no rights;
//! an example that needs what is not installed is skipped.
#![allow(clippy::print_stdout, reason = "the reason of a skip has to be seen")]

mod support;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rtmd::model::Family;
use support::{Client, NO_FIB, PrivateBus, details, found};

const OSPF: u32 = 13;
const RIP: u32 = 8;
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn registration_in_python_prints_what_it_says() {
    python("registration.py", &["dbus"]);
}

#[test]
fn registration_in_shell_prints_what_it_says() {
    shell("registration.sh");
}

#[test]
fn events_in_python_print_what_they_say() {
    python("events.py", &["dbus", "gi"]);
}

#[test]
fn events_in_shell_print_what_they_say() {
    shell("events.sh");
}

#[test]
fn enumeration_in_python_prints_what_it_says() {
    python("enumeration.py", &["dbus"]);
}

#[test]
fn enumeration_in_shell_prints_what_it_says() {
    shell("enumeration.sh");
}

#[test]
fn changes_in_python_print_what_they_say() {
    python("changes.py", &["dbus", "gi"]);
}

#[test]
fn changes_in_shell_print_what_they_say() {
    shell("changes.sh");
}

#[tokio::test]
async fn the_python_client_of_the_readme_offers_a_route_until_it_is_killed() {
    if !python_has(&["dbus"]) {
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let watcher = Client::register(&bus, Family::Ipv4, OSPF).await;
    let mut program = beside(&bus, PYTHON).args(["-c", &readme_client()]).spawn().unwrap();
    let routes = async || watcher.table.routes().await.unwrap();
    support::eventually("its route is offered", async || routes().await == 1).await;
    program.kill().unwrap();
    program.wait().unwrap();
    support::eventually("its registration goes with it", async || {
        watcher.table.entities().await.unwrap() == 1
    })
    .await;
    assert_eq!(routes().await, 0);
    let free = watcher.manager.register_entity(0, "ipv4", RIP, 0, &details([])).await;
    free.expect("its protocol is free again");
}

#[tokio::test]
async fn the_session_in_python_goes_on_after_a_restart_a_lost_journal_and_a_lost_bus() {
    if !python_has(&["dbus"]) {
        return;
    }
    let mut bus = PrivateBus::start();
    let mut service = bus.serve(NO_FIB);
    let output = bus.path("session.out");
    let mut program = beside(&bus, PYTHON);
    program.arg(path("session.py")).args(["127.0.0.2", "10.0.0.0/8", "10.1.0.0/16"]);
    let mut program = program.stdout(fs::File::create(&output).unwrap()).spawn().unwrap();
    let said = || fs::read_to_string(&output).unwrap();
    let offers = || said().matches("offered 2 routes, 0 others went").count();
    let routes = async |bus: &PrivateBus| {
        let looker = Client::register(bus, Family::Ipv4, OSPF).await;
        let routes = looker.table.get_routes("10.0.0.0/8").await.unwrap();
        assert_eq!(looker.table.routes().await.unwrap(), 2, "{}", said());
        (routes[0].id, routes[0].more["generation"].to_string())
    };
    support::eventually("it has offered", async || offers() == 1).await;
    let before = routes(&bus).await;

    service.kill();
    let a_look = || tokio::time::sleep(std::time::Duration::from_millis(1500));
    a_look().await;
    let mut service = bus.serve(NO_FIB);
    a_look().await;
    assert_eq!((routes(&bus).await, offers()), (before, 1), "{}", said());

    service.kill();
    let directory = bus.launch(NO_FIB, "first").runtime_directory;
    fs::remove_dir_all(directory.join("journal")).unwrap();
    let mut service = bus.serve(NO_FIB);
    support::eventually("it has offered again", async || offers() == 2).await;
    routes(&bus).await;

    bus.stop();
    service.end();
    bus.start_again();
    let _service = bus.serve(NO_FIB);
    support::eventually("it has offered on the new bus", async || offers() == 3).await;
    routes(&bus).await;
    program.kill().unwrap();
    program.wait().unwrap();
}

#[test]
fn an_ellipsis_stands_for_anything_but_nothing_else_does() {
    assert!(is_as_said("a 1 b 22 c", "a … b … c"));
    assert!(is_as_said("Call failed: why", "Call failed: …"));
    for (line, said) in
        [("a 1 b", "a … c"), ("a 1 b", "… a 1 b"), ("ab", "a"), ("ba", "a"), ("", "a")]
    {
        assert!(!is_as_said(line, said), "{line:?} {said:?}");
    }
}

fn python(name: &str, modules: &[&str]) {
    if python_has(modules) {
        prints_what_it_says(name);
    }
}

fn shell(name: &str) {
    if found("busctl") && found("systemd-stdio-bridge") {
        prints_what_it_says(name);
    }
}

fn prints_what_it_says(name: &str) {
    let said = said(name);
    let bus = PrivateBus::start();
    let _service = bus.serve(NO_FIB);
    let output = beside(&bus, "timeout").arg("60").arg(path(name)).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}\n{printed}{errors}", output.status);
    let lines: Vec<&str> = printed.lines().collect();
    for (line, said) in lines.iter().zip(&said) {
        assert!(is_as_said(line, said), "it says:    {said}\nit printed: {line}\nin\n{printed}");
    }
    assert_eq!(lines.len(), said.len(), "{printed}");
}

/// The output that the header of a program tells of.
fn said(name: &str) -> Vec<String> {
    let text = fs::read_to_string(path(name)).unwrap();
    let indent = if name.ends_with(".sh") { "#     " } else { "    " };
    let lines = text.lines().skip_while(|line| !line.ends_with(" prints")).skip(2);
    let said: Vec<String> =
        lines.map_while(|line| line.strip_prefix(indent)).map(str::to_owned).collect();
    assert!(!said.is_empty(), "{name} does not say what it prints");
    said
}

/// The Python of README.md.
fn readme_client() -> String {
    let text = include_str!("../README.md");
    let (_, from) = text.split_once("```python\n").expect("README.md has a client in Python");
    from.split("```").next().unwrap_or_default().to_owned()
}

/// Whether a line is this one, where "…" is something that differs.
fn is_as_said(line: &str, said: &str) -> bool {
    let Some((before, after)) = said.split_once('…') else { return line == said };
    line.strip_prefix(before).is_some_and(|rest| {
        let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        { ends }.any(|at| is_as_said(&rest[at..], after))
    })
}

/// A program that finds this service, and rtmctl, as a user's would.
fn beside(bus: &PrivateBus, program: impl AsRef<OsStr>) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_rtmctl")).parent().unwrap();
    let folders = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env("PATH", format!("{}:{folders}", programs.display()));
    command
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Whether Debian's Python has these modules; other Pythons do not find them.
fn python_has(modules: &[&str]) -> bool {
    let modules = modules.join(", ");
    let import = format!("import {modules}");
    let import = Command::new(PYTHON).args(["-c", &import]).output();
    let has = import.is_ok_and(|output| output.status.success());
    if !has {
        println!("skip: {PYTHON} with the modules {modules} is not installed");
    }
    has
}
