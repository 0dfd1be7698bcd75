//! A service with a few routes of three owners, the same each time.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use rtmd::model::Family;
use serde_json::Value;
use zbus::Variant;

use crate::support::{Client, NO_FIB, PrivateBus, Service, details, route};

/// What runs as long as this is there.
pub(crate) struct Stage {
    pub(crate) bus: PrivateBus,
    _service: Service,
    pub(crate) edge: Client,
    pub(crate) core: Client,
}

impl Stage {
    /// `edge` and `core` offer routes, and there are static ones.
    pub(crate) async fn set() -> Self {
        let bus = PrivateBus::start();
        let service = bus.serve(NO_FIB);
        let (edge, core) = (client(&bus, 14, "edge").await, client(&bus, 13, "core").await);
        let weighted = vec![("127.0.0.2".to_owned(), 0u32, 3u32), ("127.0.0.3".into(), 0, 1)];
        let weighted = details([("via", Variant::from(weighted)), ("metric", 7u32.into())]);
        edge.entity.add_route("10.0.0.0/8", &weighted, 0).await.unwrap();
        edge.add("10.1.0.0/16", "127.0.0.2").await.unwrap();
        edge.add("10.2.0.0/16", "203.0.113.1").await.unwrap();
        core.add("10.1.0.0/16", "127.0.0.3").await.unwrap();
        let blackhole = details([("flags", Variant::from(2u32)), ("views", 3u32.into())]);
        core.entity.add_route("192.0.2.0/24", &blackhole, 0).await.unwrap();
        let lasting = route("127.0.0.4", [("ttl", Variant::from(u32::MAX))]);
        core.entity.add_route("198.51.100.0/24", &lasting, 0).await.unwrap();
        let stage = Self { bus, _service: service, edge, core };
        for words in [
            "static add 10.3.0.0/16 via 127.0.0.1 metric 5 --persistent",
            "static add blackhole 2001:db8::/32",
            "static add 10.4.0.0/16 dev nosuch0 preference 9",
            "static add 10.5.0.0/16 nexthop via 127.0.0.1 weight 2 nexthop dev lo weight 1",
        ] {
            stage.done(words);
        }
        stage
    }

    /// What a command prints, which ends well.
    pub(crate) fn done(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn run(&self, words: &str) -> Output {
        self.bus.rtmctl(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// The objects that a command prints with `--json`.
    pub(crate) fn objects(&self, words: &str) -> Vec<Value> {
        objects(&self.done(&format!("--json {words}")))
    }

    /// What a command prints that reads these lines.
    pub(crate) fn read(&self, words: &str, lines: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--bus", &self.bus.address()])
            .args(words.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

/// A client with a label in the IPv4 table.
pub(crate) async fn client(bus: &PrivateBus, protocol: u32, label: &'static str) -> Client {
    let connection = bus.connect().await;
    let label = details([("label", Variant::from(label))]);
    Client::register_with(&connection, (0, Family::Ipv4), protocol, &label).await
}

/// JSON lines.
pub(crate) fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
