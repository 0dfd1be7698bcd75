//! Tables to measure with.

use std::process::Command;

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
