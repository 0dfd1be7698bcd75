//! `rtmctl top` in a terminal.

use crate::{
    stage::{Stage, client},
    support::{NO_FIB, PrivateBus},
    terminal::Terminal,
};

const FAST: [&str; 3] = ["top", "--interval", "0.1"];

#[tokio::test]
async fn tables_and_entities_are_shown_and_follow_what_happens_until_q() {
    let stage = Stage::set().await;
    let mut terminal = Terminal::run(&stage.bus, &FAST, (24, 100));
    let shown = terminal.wait("the entities", |screen| screen.contains("edge (bgp)"));
    assert!(terminal.has_own_screen());
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("rtmd ") && lines[0].contains("FIB synced"), "{shown}");
    assert!(lines[3].starts_with("0/ipv4") && lines[4].starts_with("0/ipv6"), "{shown}");
    // The one with the most routes is first.
    let place = |label: &str| lines.iter().position(|line| line.contains(label));
    assert!(place("edge (bgp)") < place("static routes"), "{shown}");
    let _late = client(&stage.bus, 8, "late").await;
    terminal.wait("the new entity", |screen| screen.contains("late (rip)"));
    terminal.type_in("q");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(terminal.is_given_back());
}

#[tokio::test]
async fn rates_are_what_changed_since_the_last_look() {
    let stage = Stage::set().await;
    let mut terminal = Terminal::run(&stage.bus, &["top", "--interval", "1"], (24, 100));
    terminal.wait("the first look", |screen| screen.contains("edge (bgp)"));
    let prefixes: Vec<String> = (0..100).map(|n| format!("10.200.{n}.0/24")).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let route = crate::support::route("127.0.0.2", []);
    stage.edge.entity.add_prefixes(&prefixes, &route, 0).await.unwrap();
    terminal.wait("a rate", |screen| {
        let line = screen.lines().find(|line| line.contains("edge (bgp)")).unwrap_or_default();
        line.split_whitespace().any(|word| word.starts_with('+'))
    });
    terminal.type_in("\u{3}");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(terminal.is_given_back());
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back() {
    let stage = Stage::set().await;
    for signal in ["TERM", "INT", "HUP"] {
        let mut terminal = Terminal::run(&stage.bus, &FAST, (24, 80));
        terminal.wait("the tables", |screen| screen.contains("0/ipv6"));
        terminal.signal(signal);
        assert_eq!(terminal.end().code(), Some(0), "{signal}");
        assert!(terminal.is_given_back(), "{signal}");
    }
}

#[tokio::test]
async fn a_narrow_terminal_cuts_lines_and_a_wider_one_shows_more() {
    let stage = Stage::set().await;
    let mut terminal = Terminal::run(&stage.bus, &["top", "--interval", "60"], (5, 12));
    let shown = terminal.wait("the tables", |screen| screen.contains("0/ipv6"));
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines.len() == 5 && lines[2].starts_with("table") && lines[3].starts_with("0/ipv4"),
        "{shown}"
    );
    terminal.resize(20, 90);
    terminal.wait("the entities", |screen| screen.contains("edge (bgp)"));
    terminal.resize(1, 1);
    terminal.resize(3, 40);
    terminal.wait("the first line", |screen| screen.contains("rtmd "));
    terminal.type_in("q");
    assert_eq!(terminal.end().code(), Some(0));
}

#[tokio::test]
async fn a_service_that_stops_is_waited_for_and_a_bus_is_not() {
    let mut bus = PrivateBus::start();
    let service = bus.serve(NO_FIB);
    let mut terminal = Terminal::run(&bus, &FAST, (24, 100));
    terminal.wait("the tables", |screen| screen.contains("0/ipv6"));
    drop(service);
    terminal.wait("the trouble", |screen| screen.contains("rtmd is gone: it was stopped"));
    let _service = bus.serve(NO_FIB);
    terminal.wait("its end", |screen| !screen.contains("rtmd is gone"));
    // Without a bus there is nothing to wait for.
    bus.stop();
    assert_eq!(terminal.end().code(), Some(69));
    assert!(terminal.is_given_back());
    assert!(terminal.raw().contains("rtmd is not running on "), "{:?}", terminal.raw());
}

#[tokio::test]
async fn without_a_terminal_it_says_so_and_prints_objects_when_asked() {
    let stage = Stage::set().await;
    let output = stage.run("top");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("top needs a terminal"));
    assert_eq!(stage.objects("top -n 3 --interval 0.1").len(), 3);
}
