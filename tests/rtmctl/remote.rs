//! `rtmctl --host`: through a program that does what `ssh` would, without going anywhere.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::{
    stage::{Stage, objects},
    support::installed,
};

/// As sshd has a shell do it: what follows the machine's name, in a line.
const SSH: &str = "#!/bin/sh
echo \"$*\" >\"${0%/*}/ssh.log\"
while [ \"$1\" != -- ]; do shift; done
shift 2
exec sh -c \"$*\"
";

#[tokio::test]
async fn another_machine_is_reached_through_ssh_and_the_bridge_of_systemd() {
    if !installed("systemd-stdio-bridge") {
        println!("skip: systemd-stdio-bridge is not installed");
        return;
    }
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &str| there(folder.path(), &stage.bus.address(), words);
    let here = stage.objects("routes");
    let output = run("--host admin@router --json routes");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(objects(std::str::from_utf8(&output.stdout).unwrap()), here);
    let log = fs::read_to_string(folder.path().join("ssh.log")).unwrap();
    assert!(log.starts_with("-xT -- admin@router systemd-stdio-bridge "), "{log}");
    let added = run("-H router:2222 static add 10.7.0.0/16 dev lo");
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let log = fs::read_to_string(folder.path().join("ssh.log")).unwrap();
    assert!(log.starts_with("-xT -p2222 -- router "), "{log}");
    assert!(stage.done("static list").contains("10.7.0.0/16 dev lo"));
}

#[tokio::test]
async fn a_machine_that_is_not_reached_ends_with_69_and_is_named() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:path={}/nothing", folder.path().display());
    let output = there(folder.path(), &address, "--host router status");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("rtmd is not running on the bus at ") && said.contains("of router"),
        "{said}"
    );
    assert_eq!(stage.run("--host -oProxyCommand=x status").status.code(), Some(2));
}

/// Runs `rtmctl` where that is the `ssh`.
fn there(folder: &Path, address: &str, words: &str) -> std::process::Output {
    let ssh = folder.join("ssh");
    fs::write(&ssh, SSH).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--bus", address])
        .args(words.split(' '))
        .env("PATH", path)
        .output()
        .unwrap()
}
