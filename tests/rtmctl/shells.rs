//! What a shell offers for a word.

use std::process::Command;

use crate::{stage::Stage, support::PrivateBus};

/// What completes the last of the words, as bash asks for it.
fn offered(address: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--", "rtmctl", "--bus", address])
        .args(words)
        .env("COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", (words.len() + 2).to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
}

#[tokio::test]
async fn words_complete_from_the_running_service() {
    let stage = Stage::set().await;
    let address = stage.bus.address();
    let offered = |words: &[&str]| offered(&address, words);
    assert_eq!(offered(&["routes", "10.1"]), ["10.1.0.0/16"]);
    assert_eq!(offered(&["explain", "2001:"]), ["2001:db8::/32"]);
    assert_eq!(offered(&["-6", "lookup", "10."]), [""; 0]);
    assert_eq!(offered(&["routes", "--owner", "e"]), ["edge"]);
    assert_eq!(offered(&["nexthops", "--owner", "os"]), ["ospf", "ospf/0"]);
    assert_eq!(offered(&["routes", "--protocol", "is"]), ["isis"]);
    assert_eq!(offered(&["static", "del", "10.3"]), ["10.3.0.0/16"]);
    assert_eq!(offered(&["static", "add", "10.8.0.0/16", "dev", "l"]), ["lo"]);
    assert_eq!(offered(&["static", "add", "10.8.0.0/16", "me"]), ["metric"]);
    assert_eq!(offered(&["routes", "--state", "inst"]), ["installed"]);
    assert_eq!(offered(&["pref"]), ["preference"]);
}

#[test]
fn without_a_service_nothing_is_offered_and_nothing_said() {
    let bus = PrivateBus::start();
    assert_eq!(offered(&bus.address(), &["routes", "10."]), [""; 0]);
    assert_eq!(offered("unix:path=/nonexistent/bus", &["routes", "--owner", ""]), [""; 0]);
}

#[tokio::test]
async fn bash_itself_completes() {
    let stage = Stage::set().await;
    let program = env!("CARGO_BIN_EXE_rtmctl");
    // What bash does at Tab: the function is called with the line in these variables.
    let script = format!(
        "source <(COMPLETE=bash {program})\n\
         COMP_WORDS=(rtmctl --bus '{}' routes 10.1) COMP_CWORD=4 COMP_TYPE=9\n\
         compopt() {{ :; }}\n\
         $(complete -p rtmctl | sed 's/.*-F \\([^ ]*\\).*/\\1/') rtmctl 10.1 routes\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        stage.bus.address()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "10.1.0.0/16", "{output:?}");
}
