//! The levels of the protocols and the limits: what each of them can be.

use std::collections::BTreeMap;

use super::{ConfigError, impossible};
use crate::{
    model::{Preference, Protocol},
    rib::{Levels, Limits},
};

/// The level of each protocol, by its name in the file.
pub(super) fn levels(section: BTreeMap<String, u32>) -> Result<Levels, ConfigError> {
    let mut levels = Levels::default();
    for (name, level) in section {
        let level = Preference(level);
        if name == "others" {
            if level == Preference(0) {
                return Err(impossible("preferences.others cannot be 0, the best is 1"));
            }
            levels.others = level;
            continue;
        }
        let protocol = Protocol::parse(&name)
            .ok_or_else(|| impossible(format_args!("preferences.{name} is no protocol")))?;
        levels.set(protocol, level).map_err(impossible)?;
    }
    Ok(levels)
}

/// The limits, as far as each can be what it says.
pub(super) fn check_limits(limits: Limits) -> Result<Limits, ConfigError> {
    // A page has to stay far below what a bus takes in one message (32 MiB on dbus-daemon).
    if !(1..=4096).contains(&limits.handles) {
        return Err(impossible(format_args!(
            "limits.max-handles {} is not from 1 to 4096",
            limits.handles
        )));
    }
    // As above: all that a table has are told at once, in up to 500 bytes each.
    if limits.static_routes > 32_768 {
        return Err(impossible(format_args!(
            "limits.static-routes {} is over 32768",
            limits.static_routes
        )));
    }
    // What the kernel takes in one route: its attribute's length has 16 bits.
    if !(1..=256).contains(&limits.next_hops_per_route) {
        return Err(impossible(format_args!(
            "limits.max-next-hops {} is not from 1 to 256",
            limits.next_hops_per_route
        )));
    }
    // As above, with an output for each of 32 methods.
    if !(1..=131_072).contains(&limits.invocation_bytes) {
        return Err(impossible(format_args!(
            "limits.invocation-bytes {} is not from 1 to 131072",
            limits.invocation_bytes
        )));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::super::testing::fault;

    #[test]
    fn impossible_values_are_named() {
        assert_eq!(fault("[fib]\nprotocol = 2"), "fib.protocol 2 is not from 5 to 255");
        assert_eq!(fault("[preferences]\nnosuch = 2"), "preferences.nosuch is no protocol");
        assert_eq!(
            fault("[limits]\nmax-handles = 0"),
            "limits.max-handles 0 is not from 1 to 4096"
        );
        let fault_of_statics = fault("[limits]\nstatic-routes = 32769");
        assert_eq!(fault_of_statics, "limits.static-routes 32769 is over 32768");
        assert_eq!(
            fault("[[instance]]\nid = 1\nfib = false\n[[instance]]\nid = 1\nfib = false"),
            "instance 1 is configured twice"
        );
    }
}
