//! The configuration as an administrator meets it: checked, added to, refused, with static routes in it.

mod support;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use rtmd::model::Family;
use support::{Client, NO_FIB, PrivateBus, refusal};
use zbus::Variant;

const OSPF: u32 = 13;

fn check(file: &Path, more: &[&str]) -> Output {
    let mut rtmd = Command::new(env!("CARGO_BIN_EXE_rtmd"));
    rtmd.arg("--check").arg(file).args(more).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_check_prints_all_that_is_wrong_and_needs_no_service() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rtmd.toml");
    let drop_ins = folder.path().join("rtmd.toml.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&file, "[fib]\nmetrik = 9\n[[instance]]\nid = 0\nvrf = \"no such\"\n").unwrap();
    fs::write(drop_ins.join("10-a.toml"), "[limits]\nroutes = -1\n").unwrap();
    let output = check(&file, &[]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let name = folder.path().display().to_string();
    let told = said(&output).replace(&name, "");
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    let begins = [
        "/rtmd.toml.d/10-a.toml:2:10: limits.routes -1 is not from 0 to 4294967295",
        "/rtmd.toml:2:1: [fib] has no key \"metrik\", did you mean metric? There are: metric, ",
        "/rtmd.toml:5:7: instance 0: there is no VRF \"no such\"",
    ];
    assert_eq!(lines.len(), 3, "{told}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }

    let output = check(&file, &["--json"]);
    assert_eq!(output.status.code(), Some(78));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = |line: u64| {
        let mut all = all.as_array().unwrap().iter();
        all.find(|fault| fault["line"] == line && fault["file"].as_str() == file.to_str()).unwrap()
    };
    assert_eq!((&found(5)["column"], &found(5)["instance"]), (&7.into(), &0.into()));
    assert!(found(2)["instance"].is_null());
}

#[test]
fn a_check_of_what_is_right_names_the_files_and_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rtmd.toml");
    let nothing = check(&file, &[]);
    assert!(nothing.status.success() && said(&nothing).contains("there is no configuration"));
    fs::write(&file, NO_FIB).unwrap();
    let output = check(&file, &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), format!("{}: nothing is wrong\n", file.display()));
    assert_eq!(said(&check(&file, &["--json"])), "[]\n");
}

#[test]
fn no_nonsense_keeps_a_check_from_saying_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rtmd.toml");
    let program = fs::read(env!("CARGO_BIN_EXE_rtmctl")).unwrap();
    let huge = vec![b'#'; 5 << 20];
    let deep = "a = ".to_owned() + &"[".repeat(1 << 20);
    let cases: [(&[u8], &str); 5] = [
        (&program[..1 << 16], "is no text"),
        (&huge, "is longer than 4 MiB"),
        (deep.as_bytes(), "this is no TOML"),
        (b"[fib\nmetric", "this is no TOML"),
        (b"\x1b[31m = 1", "this is no TOML"),
    ];
    for (text, words) in cases {
        fs::write(&file, text).unwrap();
        let output = check(&file, &[]);
        assert_eq!(output.status.code(), Some(78), "{words}");
        assert!(said(&output).contains(words), "{words}: {:.300}", said(&output));
        assert!(!output.stdout.contains(&0x1b), "it reaches the terminal raw");
    }
    assert_eq!(check(folder.path(), &[]).status.code(), Some(78));
}

#[tokio::test]
async fn what_others_can_write_starts_nothing_and_changes_nothing() {
    let bus = PrivateBus::start();
    let open = |name: &str, mode| {
        fs::set_permissions(bus.path(name), Permissions::from_mode(mode)).unwrap();
    };
    let service = bus.serve(NO_FIB);
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    fs::create_dir(bus.path("first.toml.d")).unwrap();
    fs::write(bus.path("first.toml.d/10-a.toml"), "[preferences]\nospf = 7\n").unwrap();
    for (name, mode) in [("first.toml", 0o646), ("first.toml.d/10-a.toml", 0o664)] {
        open(name, mode);
        let (kind, sentence) = refusal(client.manager.reload().await);
        assert_eq!(kind, "BadConfiguration");
        assert!(sentence.contains(&format!("(mode {mode:o})")), "{sentence}");
        open(name, 0o644);
    }
    open("first.toml.d", 0o777);
    let (_, sentence) = refusal(client.manager.reload().await);
    assert!(sentence.contains("first.toml.d can be written"), "{sentence}");
    open("first.toml.d", 0o755);
    assert!(service.log().contains("is not read"), "{}", service.log());
    let levels = client.manager.get_preferences().await.unwrap();
    assert!(levels.iter().any(|level| (level.0, level.2) == (OSPF, 110)), "{levels:?}");
    client.manager.reload().await.unwrap();
    let levels = client.manager.get_preferences().await.unwrap();
    assert!(levels.iter().any(|level| (level.0, level.2) == (OSPF, 7)), "{levels:?}");

    let launch = bus.launch(NO_FIB, "open");
    open("open.toml", 0o666);
    let mut refused = launch.start();
    assert_eq!(refused.end().code(), Some(78), "{}", refused.log());
    assert!(refused.log().contains("(mode 666)"), "{}", refused.log());
}

#[tokio::test]
async fn static_routes_of_the_configuration_come_and_go_with_it() {
    let bus = PrivateBus::start();
    let write = |name: &str, text: &str| fs::write(bus.path(name), text).unwrap();
    let with = |routes: &str| format!("{NO_FIB}{routes}");
    let mut service = bus.serve(&with("[[static]]\nto = \"10.1.0.0/16\"\nvia = \"127.0.0.2\"\n"));
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let manager = &client.manager;
    let listed = async || {
        let all = manager.get_static_routes(0, "ipv4").await.unwrap();
        let line = |(to, more, persistent): (String, rtmd::bus::wire::Details, bool)| {
            let of_the_file = more.contains_key("configured");
            assert!(persistent || !of_the_file, "{to}");
            format!("{to}{}", if of_the_file { " configured" } else { "" })
        };
        all.into_iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, ["10.1.0.0/16 configured"]);
    let details = rtmd::bus::wire::Details::from([(
        "via".to_owned(),
        Variant::from(vec![("127.0.0.3", 0u32)]).try_to_owned().unwrap(),
    )]);
    manager.add_static_route(0, "10.2.0.0/16", &details, true).await.unwrap();
    let (kind, sentence) =
        refusal(manager.add_static_route(0, "10.1.0.0/16", &details, true).await);
    assert_eq!(kind, "NotSupported");
    assert!(sentence.contains("is in the configuration"), "{sentence}");
    let none = rtmd::bus::wire::Details::new();
    let (kind, _) = refusal(manager.remove_static_route(0, "10.1.0.0/16", &none).await);
    assert_eq!(kind, "NotSupported");

    // A drop-in adds one, of an entity that is new.
    let mut arrivals = client.table.receive_entity_registered().await.unwrap();
    fs::create_dir(bus.path("first.toml.d")).unwrap();
    let hole =
        "[[static]]\nto = \"10.3.0.0/16\"\ntype = \"blackhole\"\nprotocol = \"autostatic\"\n";
    write("first.toml.d/10-hole.toml", hole);
    manager.reload().await.unwrap();
    let arrival = futures_util::StreamExt::next(&mut arrivals).await.unwrap();
    assert_eq!(arrival.args().unwrap().entity().label, "autostatic routes");
    assert_eq!(listed().await, ["10.1.0.0/16 configured", "10.2.0.0/16", "10.3.0.0/16 configured"]);

    // A mistake changes nothing.
    write("first.toml", &with("[[static]]\nto = \"10.9.0.0/33\"\nvia = \"127.0.0.2\"\n"));
    let (kind, sentence) = refusal(manager.reload().await);
    assert_eq!(kind, "BadConfiguration");
    assert!(sentence.contains("first.toml:9:6: to: "), "{sentence}");
    assert_eq!(listed().await.len(), 3);

    write("first.toml", NO_FIB);
    manager.reload().await.unwrap();
    assert_eq!(listed().await, ["10.2.0.0/16", "10.3.0.0/16 configured"]);

    // A life later it is known which were whose, also what went meanwhile.
    service.kill();
    fs::remove_file(bus.path("first.toml.d/10-hole.toml")).unwrap();
    let _service = bus.serve(NO_FIB);
    assert_eq!(listed().await, ["10.2.0.0/16"]);
}
