//! The filters that turn what BIRD and `ip` show into lines for `rtmctl register`, and what `ip` shows
//! of rtmd's routes into what `rtmctl routes --best` does.
//!
//! The samples are what BIRD 2.0.12, iproute2 6.1 (Linux 6.18) and rtmctl printed for the same routes.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    process::Command,
};

/// What a program makes of a sample.
fn filtered(program: &str, arguments: &[&str], sample: &str) -> Vec<String> {
    let sample = File::open(format!("tests/data/{sample}")).unwrap();
    let output = Command::new(program).args(arguments).stdin(sample).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    String::from_utf8(output.stdout).unwrap().lines().map(words).collect()
}

fn from_bird() -> Vec<String> {
    filtered("awk", &["-f", "examples/bird-routes.awk"], "birdc-show-route.txt")
}

/// The one-liner as the comment in the filter gives it.
fn from_kernel() -> Vec<String> {
    let filter = std::fs::read_to_string("examples/bird-routes.awk").unwrap();
    let script = filter.split("sed -E '").nth(1).unwrap().split('\'').next().unwrap();
    filtered("sed", &["-E", script], "ip-route-show-bird.txt")
}

#[test]
fn each_prefix_that_bird_shows_becomes_one_line() {
    let lines = from_bird();
    let mut prefixes: Vec<&str> =
        lines.iter().map(|line| line.split(' ').find(|word| word.contains('/')).unwrap()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    assert_eq!((lines.len(), prefixes.len()), (17, 17));
}

#[test]
fn the_best_route_is_taken_and_the_others_are_not() {
    let lines = from_bird();
    assert!(lines.contains(&"add 198.18.0.0/24 via 192.0.2.2 dev v0".into()), "{lines:#?}");
    assert!(!lines.iter().any(|line| line == "add blackhole 198.18.6.0/24"), "{lines:#?}");
}

#[test]
fn several_next_hops_keep_their_weights() {
    let line = "add 198.18.1.0/24 nexthop via 192.0.2.2 dev v0 weight 3 \
                nexthop via 192.0.2.3 dev v0 weight 1";
    assert!(from_bird().contains(&line.into()));
    assert!(from_kernel().contains(&line.into()));
}

#[test]
fn special_routes_lose_what_only_the_kernel_says_of_them() {
    for lines in [from_bird(), from_kernel()] {
        for line in [
            "add blackhole 198.18.2.0/24",
            "add unreachable 198.18.3.0/24",
            "add prohibit 198.18.4.0/24",
            "add unreachable 2001:db9:2::/48",
        ] {
            assert!(lines.contains(&line.into()), "{line} is not among {lines:#?}");
        }
    }
}

#[test]
fn the_kernels_list_says_the_same_as_birds() {
    let plain = |line: String| {
        line.replace("via inet6 ", "via ").replace("/32 ", " ").replace("/128 ", " ")
    };
    let mut bird: Vec<String> = from_bird()
        .into_iter()
        .map(|line| line.replace("0.0.0.0/0", "default").replace("::/0", "default"))
        // BIRD shows its own interfaces unless asked not to.
        .filter(|line| !["add 192.0.2.0/24 dev v0", "add 2001:db8::/64 dev v0"].contains(&&**line))
        .map(plain)
        .collect();
    let mut kernel: Vec<String> = from_kernel().into_iter().map(plain).collect();
    bird.sort_unstable();
    kernel.sort_unstable();
    assert_eq!(bird, kernel);
}

#[test]
fn routes_by_objects_become_plain_whether_the_kernel_spells_them_out_or_not() {
    let sample = |name: &str| std::fs::read_to_string(format!("tests/data/{name}")).unwrap();
    let objects = sample("ip-nexthop-show.txt");
    let spelled_out = sample("ip-route-show-nhid-compat.txt");
    let best = sample("rtmctl-routes-best.txt");
    for input in
        [objects.clone() + &sample("ip-route-show-nhid.txt"), objects + &spelled_out, spelled_out]
    {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut awk = Command::new("awk");
        let output = awk.args(["-f", "examples/plain-routes.awk"]).stdin(file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), best, "{input}");
    }
}
