//! A table like the Internet's through the whole way: `rtmctl register`, rtmd, the kernel, and back.
//!
//! Needs root (or `unshare -r`), `ip` and `dbus-daemon`. What `ip` shows and what `rtmctl` shows have to
//! be the same, line by line. The times are printed; they say something in a release build only.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "kernel/world.rs"]
mod world;

use std::{
    fs::File,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rtmd::{client, model::Family};
use support::PrivateBus;
use world::{ip, routes, with_links};

const IPV4: usize = 200_000;
const IPV6: usize = 50_000;

/// The program that makes tables; built here because one test alone does not bring it along.
fn generator() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_rtmd")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--example", "global-table"]);
    if programs.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    programs.join("examples/global-table")
}

/// A program that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn timed<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = step();
    println!("load: {what}: {:.2?}", start.elapsed());
    value
}

/// The routes of `ip -o` as if they had no next-hop objects.
fn plain(routes: &str) -> String {
    let mut awk = Command::new("awk")
        .args(["-f", "examples/plain-routes.awk"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = awk.stdin.take().unwrap();
    let routes = routes.to_owned();
    std::thread::spawn(move || input.write_all(routes.as_bytes()));
    let output = awk.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn assert_same_lines(kernel: &str, service: &str, count: usize) {
    let (kernel, service) = (sorted(kernel), sorted(service));
    assert_eq!(kernel.len(), count);
    if let Some((one, other)) = kernel.iter().zip(&service).find(|(one, other)| one != other) {
        panic!("ip shows\n{one}\nwhere rtmctl shows\n{other}");
    }
    assert_eq!(kernel.len(), service.len());
}

#[test]
fn a_full_table_gets_into_the_kernel_and_out_again() {
    let generator = generator();
    with_links(move || {
        let before = routes();
        let bus = PrivateBus::start();
        let _service = bus.serve("");
        let table = bus.path("table.txt");
        timed("making the table", || {
            let status = Command::new(generator)
                .args(["--seed", "82", "--ipv4", &IPV4.to_string(), "--ipv6", &IPV6.to_string()])
                .args(["--via4", "192.0.2.254,198.51.100.254"])
                .args(["--via6", "2001:db8:a::9,2001:db8:b::9"])
                .stdout(File::create(&table).unwrap())
                .status();
            assert!(status.unwrap().success());
        });

        let mut register = timed("rtmctl register, until the kernel is in step", || {
            let mut register = Command::new(env!("CARGO_BIN_EXE_rtmctl"));
            register.args(["--bus", &bus.address(), "register", "--protocol", "bgp"]);
            register.stdin(File::open(&table).unwrap()).stdout(Stdio::piped());
            let mut register = Ending(register.spawn().unwrap());
            let said = BufReader::new(register.0.stdout.take().unwrap()).lines();
            let summary = said.map(Result::unwrap).find(|line| line.contains(" offered in "));
            let summary = summary.expect("it ended before the kernel was in step");
            println!("load: {summary}");
            assert!(summary.starts_with(&format!("{} routes offered", IPV4 + IPV6)), "{summary}");
            assert!(summary.contains(" 0 refused; the kernel is in step after "), "{summary}");
            assert!(!summary.contains("but refuses"), "{summary}");
            register
        });

        for (family, count) in [("-4", IPV4), ("-6", IPV6)] {
            let kernel = timed(&format!("ip {family} route show"), || {
                plain(&ip(&format!("-o -N {family} route show proto 82")))
            });
            let service = timed(&format!("rtmctl {family} routes --best"), || {
                bus.rtmctl(&[family, "routes", "--best"])
            });
            assert!(service.status.success());
            assert_same_lines(&kernel, &String::from_utf8(service.stdout).unwrap(), count);
        }

        let others: Vec<u64> =
            told(&bus).iter().zip([IPV4, IPV6]).map(|(all, own)| all - own as u64).collect();
        timed("rtmctl is killed, until nothing of ours is in the kernel", || {
            register.0.kill().unwrap();
            await_others(&bus, &others);
        });
        assert_eq!(routes(), before);
    });
}

/// How many routes there are of each family, with those that others have in the kernel.
fn told(bus: &PrivateBus) -> Vec<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let manager = client::manager(&bus.connect().await).await.unwrap();
        let mut told = Vec::new();
        for family in Family::ALL {
            let table = client::table(&manager, 0, family).await.unwrap();
            told.push(table.routes().await.unwrap());
        }
        told
    })
}

/// Waits until nobody but others has any routes and the kernel has followed.
fn await_others(bus: &PrivateBus, others: &[u64]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let manager = client::manager(&bus.connect().await).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        for (family, others) in Family::ALL.into_iter().zip(others) {
            let table = client::table(&manager, 0, family).await.unwrap();
            while table.routes().await.unwrap() > *others
                || table.fib_pending().await.unwrap() + table.fib_installed().await.unwrap() > 0
            {
                assert!(Instant::now() < deadline, "routes of a dead client stay");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
}
