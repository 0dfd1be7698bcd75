//! Several files as one: a later file adds to what the earlier ones say.
//!
//! * A key of a section, also of `[instance.import]`: the later file's value holds.
//! * `[[instance]]`: the one with the same id gets the keys, an id that is new is another instance.
//! * `[[grant]]` and `[[static]]`: all of them, in order.
//!
//! So a drop-in says only what is to be different.

use std::collections::btree_map::Entry as Slot;

use super::{
    fault::{Findings, Place},
    tree::{Entry, Node, Table, Value},
};

/// The tables of which there can be many, with what tells them apart if anything does.
const MANY: [(&str, Option<&str>); 3] =
    [("instance", Some("id")), ("grant", None), ("static", None)];

/// Adds a later file.
pub(super) fn add(all: &mut Table, file: Table, findings: &Findings) {
    for (key, entry) in file {
        let many = MANY.iter().find(|(name, _)| *name == key);
        match (all.entry(key), many) {
            (Slot::Vacant(slot), Some((_, name))) => {
                let Entry { key, node: Node { place, value } } = entry;
                let value = match value {
                    Value::List(list) => {
                        let mut first = Vec::new();
                        add_list(&mut first, list, *name, findings);
                        Value::List(first)
                    }
                    other => other,
                };
                slot.insert(Entry { key, node: Node { place, value } });
            }
            (Slot::Vacant(slot), None) => {
                slot.insert(entry);
            }
            (Slot::Occupied(mut slot), Some((_, name))) => {
                match (&mut slot.get_mut().node.value, entry.node.value) {
                    (Value::List(list), Value::List(more)) => {
                        add_list(list, more, *name, findings);
                    }
                    // What is wrong with it is said where it is read.
                    (_, value) => {
                        let Entry { key, node } = entry_of(entry.key, entry.node.place, value);
                        slot.insert(Entry { key, node });
                    }
                }
            }
            (Slot::Occupied(mut slot), None) => over(slot.get_mut(), entry),
        }
    }
}

fn entry_of(key: Place, place: Place, value: Value) -> Entry {
    Entry { key, node: Node { place, value } }
}

/// Has a later value hold, or each of its keys.
fn over(before: &mut Entry, later: Entry) {
    match (&mut before.node.value, later.node.value) {
        (Value::Table(table), Value::Table(more)) => {
            for (key, entry) in more {
                match table.entry(key) {
                    Slot::Vacant(slot) => {
                        slot.insert(entry);
                    }
                    Slot::Occupied(mut slot) => over(slot.get_mut(), entry),
                }
            }
        }
        (_, value) => *before = entry_of(later.key, later.node.place, value),
    }
}

/// Adds the tables of a later file; those with the same name are one.
fn add_list(all: &mut Vec<Node>, file: Vec<Node>, name: Option<&str>, findings: &Findings) {
    let number = |node: &Node| match (&node.value, name) {
        (Value::Table(table), Some(name)) => match table.get(name).map(|entry| &entry.node.value) {
            Some(Value::Whole(number)) => Some(*number),
            _ => None,
        },
        _ => None,
    };
    // What this file said itself is not to be said again.
    let mut own: Vec<(i128, Place)> = Vec::new();
    for node in file {
        let Some(id) = number(&node) else {
            all.push(node);
            continue;
        };
        if let Some((_, first)) = own.iter().find(|(it, _)| *it == id) {
            let what = format!("instance {id} is configured twice, first in {first}");
            findings.add(&node.place, what);
            continue;
        }
        own.push((id, node.place.clone()));
        match all.iter_mut().find(|before| number(before) == Some(id)) {
            Some(before) => {
                let place = before.place.clone();
                let later = Entry { key: node.place.clone(), node };
                let mut entry = Entry { key: place, node: before.clone() };
                over(&mut entry, later);
                *before = entry.node;
            }
            None => all.push(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::tree::parse, *};

    /// What comes out of files with these texts, in which `|` is the end of a line.
    fn merged(files: &[&str]) -> (String, Vec<String>) {
        let findings = Findings::default();
        let mut all = Table::new();
        for (number, text) in files.iter().enumerate() {
            let name = format!("{number}");
            let file = parse(Path::new(&name), &text.replace('|', "\n"), &findings);
            add(&mut all, file, &findings);
        }
        let faults = findings.into_faults().iter().map(ToString::to_string).collect();
        (shown(&Value::Table(all)), faults)
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::Table(table) => {
                let all = table.iter().map(|(key, it)| format!("{key}={}", shown(&it.node.value)));
                format!("{{{}}}", all.collect::<Vec<_>>().join(" "))
            }
            Value::List(list) => {
                let all = list.iter().map(|node| shown(&node.value));
                format!("[{}]", all.collect::<Vec<_>>().join(" "))
            }
            other => other.to_string(),
        }
    }

    #[test]
    fn a_later_file_changes_the_keys_it_has_and_leaves_the_others() {
        let (all, faults) = merged(&["[a]|x = 1|y = [1]|[b]|z = 1", "[a]|y = [2]|v = 3", "[c]"]);
        assert_eq!(all, "{a={v=3 x=1 y=[2]} b={z=1} c={}}");
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn instances_are_told_by_their_id_and_grants_and_static_routes_add_up() {
        let first = "[[instance]]|id = 0|x = 1|import = {a = 1}|[[static]]|to = 1|[[grant]]|u = 1";
        let later = "[[instance]]|id = 1|[[instance]]|id = 0|y = 2|import.b = 2|[[static]]|to = 1";
        let (all, faults) = merged(&[first, later]);
        assert_eq!(
            all,
            "{grant=[{u=1}] instance=[{id=0 import={a=1 b=2} x=1 y=2} {id=1}] static=[{to=1} {to=1}]}"
        );
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn what_a_file_says_twice_itself_is_a_mistake() {
        let twice = "[[instance]]|id = 1|[[instance]]|id = 1";
        for files in [vec![twice], vec!["[[instance]]|id = 1", twice]] {
            let (_, faults) = merged(&files);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(":3:1: instance 1 is configured twice, first in "));
        }
    }

    #[test]
    fn what_is_something_else_in_a_later_file_is_that() {
        let (all, _) = merged(&["[a]|x = 1|[[instance]]|id = 0", "a = 2|instance = 3"]);
        assert_eq!(all, "{a=2 instance=3}");
    }
}
