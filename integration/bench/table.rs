//! Tables to measure with.

#![allow(dead_code, reason = "each benchmark uses its part of this")]

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher as _},
    net::IpAddr,
    process::Command,
};

use rtmd::model::Prefix;

/// Prefixes with the lengths and the neighbourhoods of the public table.
pub(crate) fn like_the_internets(count: usize) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_rtmd").replace("/rtmd", "/examples/global-table");
    let output = Command::new(&program)
        .args(["--ipv4", &count.to_string(), "--seed", "7", "--via4", "192.0.2.2"])
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; build it with --examples"));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// Sites (/48) of IPv6 in a few hundred allocations, as they come: none twice, the same ones each time.
pub(crate) fn sites(count: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let drawn = (0_u64..).map(scattered).map(|random| (random % 400, random >> 48));
    let new = drawn.filter(|site| seen.insert(*site)).take(count);
    new.map(|(allocation, site)| format!("2a00:{allocation:x}:{site:x}::/48")).collect()
}

/// In no order that an address has to do with, and in the same one each time.
pub(crate) fn shuffled<T: Clone + Hash>(things: &[T]) -> Vec<T> {
    let mut things = things.to_vec();
    things.sort_by_cached_key(|thing| scattered(thing));
    things
}

/// What to sort by for the order in which a table is shown, and most daemons offer it.
pub(crate) fn by_address(prefix: &Prefix) -> (IpAddr, u8) {
    (prefix.address(), prefix.length())
}

fn scattered(thing: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new(); // always the same one, unlike a map's
    thing.hash(&mut hasher);
    hasher.finish()
}
