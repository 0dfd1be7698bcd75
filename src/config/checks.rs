//! The levels of the protocols and the limits: what each of them can be.

use super::{
    section::Section,
    tree::{Entry, Node, Value},
};
use crate::{
    model::{Preference, Protocol, quoted},
    rib::{Levels, Limits},
};

/// The level of each protocol, by its name in the file.
pub(super) fn levels(mut section: Section<'_>) -> Levels {
    let mut levels = Levels::default();
    if let Some(others) = section.number("others", 1..=u32::MAX) {
        levels.others = Preference(others.value);
    }
    let named: Vec<_> = Levels::default().iter().collect();
    for (protocol, _) in named {
        if let Some(level) = section.number(&protocol.to_string(), 1..=u32::MAX) {
            levels.set(protocol, Preference(level.value)).unwrap_or_default();
        }
    }
    // Every protocol can have a level, also those that have none by default.
    for (name, Entry { key, node }) in section.take_all() {
        let Some(protocol) = Protocol::parse(&name) else {
            let known = "local, static, static-non-dod, autostatic, netmgmt, bgp, ospf, isis, rip";
            section.refuse(
                &key,
                format_args!(
                    "preferences.{name} is no protocol: expected a name such as {known}, or a number, \
                     or others",
                    name = quoted(&name)
                ),
            );
            continue;
        };
        let level = match node {
            Node { value: Value::Whole(level), .. } => u32::try_from(level).ok(),
            _ => None,
        };
        match level.filter(|level| *level != 0) {
            Some(level) => levels.set(protocol, Preference(level)).unwrap_or_default(),
            None => section.refuse(
                &node.place,
                format_args!(
                    "preferences.{name} is {}, expected a whole number from 1 to {}",
                    node.value,
                    u32::MAX
                ),
            ),
        }
    }
    section.finish();
    levels
}

/// The limits, as far as each can be what it says.
pub(super) fn limits(mut section: Section<'_>) -> Limits {
    let Ok(serde_json::Value::Object(mut limits)) = serde_json::to_value(Limits::default()) else {
        return Limits::default();
    };
    for (key, limit) in &mut limits {
        let bounds = match key.as_str() {
            // A page has to stay far below what a bus takes in one message (32 MiB on dbus-daemon).
            "max-handles" => 1..=4096,
            // As above: all that a table has are told at once, in up to 500 bytes each.
            "static-routes" => 0..=32_768,
            // What the kernel takes in one route: its attribute's length has 16 bits.
            "max-next-hops" => 1..=256,
            // As above, with an output for each of 32 methods.
            "invocation-bytes" => 1..=131_072,
            _ => 0..=u32::MAX,
        };
        if let Some(said) = section.number(key, bounds) {
            *limit = said.value.into();
        }
    }
    section.finish();
    // What has all keys, each with a number of 32 bits, is what it was made of.
    serde_json::from_value(limits.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::fault;

    #[test]
    fn impossible_values_are_named() {
        assert_eq!(fault("[fib]\nprotocol = 2"), "fib.protocol 2 is not from 5 to 255");
        assert!(
            fault("[preferences]\nnosuch = 2").starts_with("preferences.\"nosuch\" is no protocol")
        );
        let none = "preferences.77 is 0, expected a whole number from 1 to 4294967295";
        assert_eq!(fault("[preferences]\n77 = 0"), none);
        assert_eq!(
            fault("[limits]\nmax-handles = 0"),
            "limits.max-handles 0 is not from 1 to 4096"
        );
        let fault_of_statics = fault("[limits]\nstatic-routes = 32769");
        assert_eq!(fault_of_statics, "limits.static-routes 32769 is not from 0 to 32768");
        assert_eq!(
            fault("[limits]\nroutes = \"all\""),
            "limits.routes is \"all\", expected a whole number from 0 to 4294967295"
        );
    }
}
