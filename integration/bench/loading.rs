//! A table offered by `rtmctl register`.

#![allow(dead_code, reason = "each benchmark uses its part of this")]

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::support::PrivateBus;

/// A loaded table, until it is dropped.
pub(crate) struct Loading {
    child: Child,
    pub(crate) seconds: f64,
}

impl Drop for Loading {
    /// Kills the client, without a word to anybody.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Loads the file with rtmctl; the seconds from its start until it says that the kernel is in step.
pub(crate) fn load(bus: &PrivateBus, protocol: &str, lines: &Path) -> Loading {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
        .args(["--bus", &bus.address(), "--json", "register", "--protocol", protocol])
        .stdin(File::open(lines).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let in_step = said.any(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_ne!(event["event"], "refused", "{event}");
        event["event"] == "in-step"
    });
    assert!(in_step, "rtmctl ended early");
    Loading { child, seconds: began.elapsed().as_secs_f64() }
}
