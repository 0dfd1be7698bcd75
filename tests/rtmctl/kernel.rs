//! What the kernel has and refuses, with a kernel: in a network namespace that goes with the service.

use std::{os::unix::fs::MetadataExt, process::Command};

use serde_json::Value;

use crate::{
    stage::objects,
    support::{PrivateBus, eventually, found},
};

#[tokio::test]
async fn what_the_kernel_has_and_refuses_is_counted_and_told_in_its_words() {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        println!("skip: only root can have a network namespace");
        return;
    }
    if !["ip", "nsenter", "unshare"].into_iter().all(found) {
        return;
    }
    let bus = PrivateBus::start();
    let mut launch = bus.launch("", "first");
    launch.wrapper = vec!["unshare", "--net"];
    let service = launch.start();
    let printed = |words: &str| {
        let output = bus.rtmctl(&words.split(' ').collect::<Vec<_>>());
        String::from_utf8(output.stdout).unwrap()
    };
    eventually("the service", async || printed("status").contains("FIB synced")).await;
    let ip = |words: &str| {
        let (pid, words) = (service.pid().to_string(), words.split(' '));
        let status = Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(words).status();
        assert!(status.unwrap().success());
    };
    ip("link add d0 type veth peer name d1");
    ip("address add 192.0.2.1/24 dev d0");
    ip("link set d1 up");
    ip("link set d0 up");
    // Somebody else's, with the metric that rtmd's routes have.
    ip("route add 10.0.0.0/8 dev d0 metric 82 proto 99");
    printed("static add 10.0.0.0/8 via 192.0.2.2 dev d0");
    printed("static add 10.1.0.0/16 via 192.0.2.2 dev d0");
    let fib = || objects(&printed("-4 --json fib")).remove(0);
    let counts = |fib: &Value| ["installed", "pending", "failed"].map(|key| fib[key].clone());
    eventually("the kernel's answers", async || counts(&fib()) == [1, 0, 1].map(Value::from)).await;
    assert_eq!((&fib()["kernel-table"], &fib()["forwarding"]), (&254.into(), &true.into()));
    let failed = printed("fib --failed");
    let lines: Vec<&str> = failed.lines().collect();
    assert_eq!(lines.len(), 2, "{failed}");
    assert!(lines[1].starts_with("> 10.0.0.0/8 ") && lines[1].contains("failed: "), "{failed}");
    let state = |state: &str| {
        let routes = objects(&printed(&format!("-4 --json routes --state {state}")));
        routes.iter().map(|route| route["prefix"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (state("failed"), state("installed")),
        (vec!["10.0.0.0/8".into()], vec!["10.1.0.0/16".into()])
    );
}
