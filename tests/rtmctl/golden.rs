//! What people see, word by word: `tests/data/rtmctl` has it, and `RTMCTL_GOLDEN=write` writes it anew.

use std::{env, fs, path::Path};

use crate::stage::Stage;

#[tokio::test]
async fn every_command_prints_what_it_did() {
    let stage = Stage::set().await;
    let mut wrong = Vec::new();
    for (name, words) in [
        ("status", "status"),
        ("entities", "entities"),
        ("routes", "routes"),
        ("routes-prefix", "routes 10.1.0.0/16 --exact"),
        ("routes-best", "-4 routes --best"),
        ("routes-owner", "routes --owner core --state best"),
        ("lookup", "lookup 10.1.2.3"),
        ("explain", "explain 10.1.0.0/16"),
        ("explain-unreachable", "explain 10.2.0.0/16"),
        ("nexthops", "nexthops"),
        ("fib", "fib"),
        ("static-list", "static list"),
        ("preference-list", "preference list"),
    ] {
        let printed = steady(&stage.done(words));
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rtmctl");
        let file = file.join(format!("{name}.txt"));
        if env::var_os("RTMCTL_GOLDEN").is_some() {
            fs::write(&file, &printed).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if printed != expected {
            wrong.push(format!("rtmctl {words} printed\n{printed}instead of\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without what is another one each time: the epoch, and the names of connections.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for line in text.split_inclusive('\n') {
        match (line.split_once("epoch "), line.split_once(":1.")) {
            (Some((before, after)), _) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                steady += &format!("{before}epoch N{after}");
            }
            (None, Some((before, after))) => {
                let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
                let end = rest.trim_start_matches(' ');
                let width = after.len() - end.len();
                steady += &format!("{before}:1.{:width$}{end}", "N");
            }
            (None, None) => steady += line,
        }
    }
    steady
}
