//! What surrounds the program: the bus policy, the activation file and the unit agree with each
//! other, with the program, and with the tools that read them.
#![allow(clippy::print_stdout, reason = "the reason of a skip has to be seen")]

use std::{
    fs, io,
    path::Path,
    process::{Command, Output},
};

use rtmd::{bus::wire::SERVICE, config::Config};

#[test]
fn the_bus_policy_is_well_formed() {
    for file in files("dbus", "conf") {
        // The doctype's address is never fetched.
        let Some(output) = run("xmllint", &["--nonet", "--noout", &file]) else { return };
        assert_clean(&file, &output, |_| false);
    }
}

#[test]
fn the_bus_policy_allows_the_name_to_be_owned_and_called() {
    let policy = read(&format!("dbus/{SERVICE}.conf"));
    for user in ["root", "rtmd"] {
        let section = policy
            .split(&format!("<policy user=\"{user}\">"))
            .nth(1)
            .and_then(|rest| rest.split("</policy>").next())
            .unwrap_or_else(|| panic!("no policy for {user}"));
        assert!(section.contains(&format!("<allow own=\"{SERVICE}\"/>")), "{user}: {section}");
    }
    let everyone = policy.split("<policy context=\"default\">").nth(1).expect("a default policy");
    assert!(everyone.contains(&format!("<allow send_destination=\"{SERVICE}\"/>")));
    assert!(!everyone.contains("own="), "only the service's user and root may be the service");
}

#[test]
fn polkit_knows_the_actions_that_the_service_asks_about_and_lets_its_user_ask() {
    let actions = format!("dbus/{SERVICE}.policy");
    if let Some(output) = run("xmllint", &["--nonet", "--noout", &actions]) {
        assert_clean(&actions, &output, |_| false);
    }
    let actions = read(&actions);
    let asked: Vec<&str> = include_str!("../src/bus/polkit.rs")
        .split('"')
        .filter(|text| text.strip_prefix(SERVICE).is_some_and(|rest| rest.starts_with('.')))
        .collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for action in asked {
        let begin = format!("<action id=\"{action}\">");
        let rest = actions.split(&begin).nth(1).unwrap_or_else(|| panic!("{action} is missing"));
        let action = rest.split("</action>").next().unwrap();
        let owner = "<annotate key=\"org.freedesktop.policykit.owner\">unix-user:rtmd</annotate>";
        assert!(action.contains(owner), "{action}");
        assert!(!action.contains(">yes<"), "nobody may without a password: {action}");
    }
}

#[test]
fn activation_starts_the_unit_under_the_service_name() {
    let activation = read(&format!("dbus/{SERVICE}.service"));
    assert_eq!(values(&activation, "Name"), [SERVICE]);
    let unit = read("systemd/rtmd.service");
    let alias = values(&unit, "Alias");
    assert_eq!(values(&activation, "SystemdService"), alias, "only where it is enabled");
    assert_eq!(values(&unit, "BusName"), [SERVICE]);
    assert_eq!(values(&unit, "Type"), ["notify"], "ready when the kernel is in step");
}

/// What systemd 252 does not know (`Type=notify-reload`), it would take for `simple`.
#[test]
fn the_unit_reloads_by_a_call_that_can_fail() {
    let unit = read("systemd/rtmd.service");
    let call = format!("/usr/bin/busctl call {SERVICE} /org/rtmd1 {SERVICE}.Manager Reload");
    assert_eq!(values(&unit, "ExecReload"), [call.as_str()]);
}

#[test]
fn the_unit_runs_as_the_user_that_sysusers_makes_and_the_policy_names() {
    let unit = read("systemd/rtmd.service");
    let user = values(&unit, "User");
    let user = user.first().expect("a user");
    let sysusers = read("systemd/sysusers.d/rtmd.conf");
    assert!(sysusers.lines().any(|line| line.starts_with(&format!("u {user} "))), "{sysusers}");
    let policy = read(&format!("dbus/{SERVICE}.conf"));
    assert!(policy.contains(&format!("<policy user=\"{user}\">")));
}

#[test]
fn the_unit_holds_one_capability_and_stays_down_when_starting_again_cannot_help() {
    let unit = read("systemd/rtmd.service");
    assert_eq!(values(&unit, "CapabilityBoundingSet"), ["CAP_NET_ADMIN"]);
    assert_eq!(values(&unit, "AmbientCapabilities"), ["CAP_NET_ADMIN"]);
    assert_eq!(values(&unit, "RestrictAddressFamilies"), ["AF_UNIX AF_NETLINK"]);
    assert_eq!(values(&unit, "RuntimeDirectoryPreserve"), ["yes"], "the journal is kept");
    let prevented = values(&unit, "RestartPreventExitStatus").join(" ");
    assert!(prevented.split(' ').any(|status| status == "78"), "EX_CONFIG: {prevented}");
    assert!(prevented.split(' ').all(|status| status != "69"), "a bus that is gone comes back");
    assert_eq!(values(&unit, "Restart"), ["on-failure"]);
}

#[test]
fn systemd_understands_the_unit() {
    for file in files("systemd", "service") {
        let Some(output) = run("systemd-analyze", &["verify", "--man=no", &file]) else { return };
        // It is checked before it is installed, and other packages' units are theirs.
        let name = Path::new(&file).file_name().expect("a name").to_string_lossy().into_owned();
        assert_clean(&file, &output, |line| {
            !line.contains(&name) || line.contains("is not executable")
        });
    }
}

#[test]
fn the_sandbox_is_tight() {
    let arguments =
        ["security", "--no-pager", "--offline=true", "--threshold=15", "systemd/rtmd.service"];
    let Some(output) = run("systemd-analyze", &arguments) else { return };
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = table.lines().last().unwrap_or_default();
    assert!(output.status.success(), "more exposed than 1.5: {verdict}");
}

#[test]
fn ip_has_a_name_for_the_protocol_of_the_routes() {
    let number = Config::default().fib_protocol.get();
    let names = read("packaging/iproute2/rtmd.conf");
    assert!(names.lines().any(|line| line == format!("{number}\trtmd")), "{names}");
}

#[test]
fn what_is_packaged_is_there() {
    let makefile = read("Makefile");
    let packaged: Vec<&str> = makefile
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(" \\").split_once(":/"))
        .map(|(file, _)| file)
        .filter(|file| !file.contains(['$', ' ']) && !file.starts_with("target/"))
        .collect();
    assert!(packaged.contains(&"systemd/rtmd.service"), "{packaged:?}");
    for file in packaged {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(path.is_file(), "{file} is in the list of what is installed");
    }
}

/// Runs a tool in the project's folder; nothing, with the reason printed, where it is missing.
fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("LC_ALL", "C")
        .output();
    match output {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("skip: {tool} is not installed");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

/// Fails on any complaint that is not `excused`: systemd-analyze complains and exits 0.
fn assert_clean(file: &str, output: &Output, excused: impl Fn(&str) -> bool) {
    let complaints = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = complaints.lines().filter(|line| !excused(line)).collect();
    assert!(ours.is_empty(), "{file}:\n{}", ours.join("\n"));
}

/// The files of a folder with this ending; at least one.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files: Vec<String> = fs::read_dir(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(&format!(".{ending}")))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    assert!(!files.is_empty(), "no *.{ending} in {folder}");
    files
}

/// A file of the project.
fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a unit file sets `key` to, in order.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}
