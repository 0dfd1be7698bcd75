//! A section as its reader sees it: takes the keys it knows, each with what it can be, and has what is
//! left over told with what was meant.

use std::{fmt, ops::RangeInclusive};

use super::{
    fault::{Findings, Place},
    tree::{Entry, Node, Table, Value},
};
use crate::model::quoted;

/// A table that is being read.
pub(super) struct Section<'f> {
    /// As it is written, without brackets.
    title: &'static str,
    /// What keys are told with before their name.
    prefix: &'static str,
    /// Where it begins.
    pub(super) place: Place,
    left: Table,
    known: Vec<String>,
    findings: &'f Findings,
}

/// A value with where it is.
#[derive(Clone, Debug)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'f> Section<'f> {
    /// Reads a table. Keys are told as `prefix` and their name.
    pub(super) fn new(
        title: &'static str,
        prefix: &'static str,
        place: Place,
        table: Table,
        findings: &'f Findings,
    ) -> Self {
        Self { title, prefix, place, left: table, known: Vec::new(), findings }
    }

    /// Where to add what is wrong with what was read.
    pub(super) fn findings(&self) -> &'f Findings {
        self.findings
    }

    /// Adds what is wrong with a value.
    pub(super) fn refuse(&self, place: &Place, what: impl fmt::Display) {
        self.findings.add(place, what);
    }

    /// What stands behind a key, whatever it is.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        self.known.push(key.to_owned());
        self.left.remove(key)
    }

    /// All that is left, where any key can be one.
    pub(super) fn take_all(&mut self) -> Table {
        std::mem::take(&mut self.left)
    }

    /// The section behind a key.
    pub(super) fn section(&mut self, key: &str, title: &'static str, prefix: &'static str) -> Self {
        let findings = self.findings;
        let (place, table) = match self.take(key) {
            None => (self.place.clone(), Table::new()),
            Some(Entry { node: Node { place, value: Value::Table(table) }, .. }) => (place, table),
            Some(Entry { key: place, node }) => {
                let what = format!("{key} is {}, expected a section [{title}]", node.value);
                self.refuse(&place, what);
                (place, Table::new())
            }
        };
        Self::new(title, prefix, place, table, findings)
    }

    /// The tables of `[[key]]`, each with where it begins.
    pub(super) fn sections(&mut self, key: &str, expected: &str) -> Vec<Said<Table>> {
        let Some(Entry { key: place, node }) = self.take(key) else { return Vec::new() };
        let Value::List(list) = node.value else {
            self.refuse(&place, format_args!("{key} is {}, expected {expected}", node.value));
            return Vec::new();
        };
        let table = |Node { place, value }| match value {
            Value::Table(value) => Some(Said { value, place }),
            other => {
                self.refuse(&place, format_args!("{key} has {other}, expected {expected}"));
                None
            }
        };
        list.into_iter().filter_map(table).collect()
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &str) -> Option<Said<bool>> {
        self.value(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number in these bounds.
    pub(super) fn number(&mut self, key: &str, bounds: RangeInclusive<u32>) -> Option<Said<u32>> {
        let Entry { node, .. } = self.take(key)?;
        let name = format_args!("{}{key}", self.prefix).to_string();
        self.number_of(&name, node, &bounds)
    }

    /// A list of whole numbers in these bounds; without those that are not.
    pub(super) fn numbers(
        &mut self,
        key: &str,
        bounds: RangeInclusive<u32>,
    ) -> Option<Said<Vec<u32>>> {
        let Said { value, place } = self.list(key)?;
        let (least, most) = (bounds.start(), bounds.end());
        let mut numbers = Vec::new();
        for Node { place, value } in value {
            let number = match &value {
                Value::Whole(number) => u32::try_from(*number).ok(),
                _ => None,
            };
            match number.filter(|number| bounds.contains(number)) {
                Some(number) => numbers.push(number),
                None => {
                    let prefix = self.prefix;
                    let what =
                        format!("{prefix}{key} has {value}, which is not from {least} to {most}");
                    self.refuse(&place, what);
                }
            }
        }
        Some(Said { value: numbers, place })
    }

    /// One of these words, with what it stands for.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<Said<T>> {
        let names: Vec<String> = words.iter().map(|(word, _)| quoted(word)).collect();
        self.value(key, &names.join(" or "), |value| match value {
            Value::Text(text) => words.iter().find(|(word, _)| word == text).map(|(_, it)| *it),
            _ => None,
        })
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str) -> Option<Said<String>> {
        self.value(key, "a text in quotes", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A list of texts; without those that are none.
    pub(super) fn texts(&mut self, key: &str) -> Option<Said<Vec<Said<String>>>> {
        let Said { value, place } = self.list(key)?;
        let text = |Node { place, value }| match value {
            Value::Text(value) => Some(Said { value, place }),
            other => {
                let name = format_args!("{}{key}", self.prefix).to_string();
                self.refuse(&place, format_args!("{name} has {other}, expected texts in quotes"));
                None
            }
        };
        Some(Said { value: value.into_iter().filter_map(text).collect(), place })
    }

    /// A text that something can be made of.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Said<T>> {
        let Said { value, place } = self.text(key)?;
        match parse(&value) {
            Ok(value) => Some(Said { value, place }),
            Err(why) => {
                let name = format_args!("{}{key}", self.prefix).to_string();
                self.refuse(&place, format_args!("{name}: {why}"));
                None
            }
        }
    }

    /// Has told which keys there are, and each that is none of them.
    pub(super) fn finish(mut self) {
        let left = self.take_all();
        for (key, Entry { key: place, node }) in &left {
            let what = self.unknown(key, &node.value);
            self.refuse(place, what);
        }
        self.known.sort();
        self.findings.note_keys(self.title, self.known);
    }

    fn list(&mut self, key: &str) -> Option<Said<Vec<Node>>> {
        let Entry { node: Node { place, value }, .. } = self.take(key)?;
        match value {
            Value::List(value) => Some(Said { value, place }),
            other => {
                let name = format_args!("{}{key}", self.prefix).to_string();
                self.refuse(&place, format_args!("{name} is {other}, expected a list"));
                None
            }
        }
    }

    fn value<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<Said<T>> {
        let Entry { node: Node { place, value }, .. } = self.take(key)?;
        let read = read(&value);
        if read.is_none() {
            let what = match (&value, self.home(key, &value)) {
                (Value::Table(_), Some(_)) => self.unknown(key, &value),
                _ => format!("{}{key} is {value}, expected {expected}", self.prefix),
            };
            self.refuse(&place, what);
        }
        read.map(|value| Said { value, place })
    }

    fn number_of(&self, name: &str, node: Node, bounds: &RangeInclusive<u32>) -> Option<Said<u32>> {
        let Node { place, value } = node;
        let (least, most) = (bounds.start(), bounds.end());
        let number = match &value {
            Value::Whole(number) => u32::try_from(*number).ok().filter(|it| bounds.contains(it)),
            _ => None,
        };
        match (number, value) {
            (Some(value), _) => return Some(Said { value, place }),
            (None, Value::Whole(number)) => {
                self.refuse(&place, format_args!("{name} {number} is not from {least} to {most}"));
            }
            (None, other) => self.refuse(
                &place,
                format_args!("{name} is {other}, expected a whole number from {least} to {most}"),
            ),
        }
        None
    }

    /// What to say of a key that is none.
    fn unknown(&self, key: &str, value: &Value) -> String {
        let (title, shown) = (self.title, quoted(key));
        let here = match title {
            "" => "there is no section".to_owned(),
            title => format!("{} has no key", brackets(title)),
        };
        if let Some(home) = self.home(key, value) {
            let home = brackets(home);
            let all =
                "all that follows a section's name is that section's, until the next one begins";
            return format!("{here} {shown}: it belongs to {home}; {all}");
        }
        let names = self.known.iter().map(String::as_str);
        match nearest(key, names) {
            Some(near) => {
                format!("{here} {shown}, did you mean {near}? There are: {}", self.names())
            }
            None => format!("{here} {shown}; there are: {}", self.names()),
        }
    }

    fn names(&self) -> String {
        let mut names = self.known.clone();
        names.sort();
        names.join(", ")
    }

    /// The section that has such a key, or is one: TOML takes what is added at the end of a file for a part
    /// of what is there.
    fn home(&self, key: &str, value: &Value) -> Option<&'static str> {
        let keys = self.findings.keys();
        if matches!(value, Value::Table(_)) {
            return keys.keys().find(|title| **title == key).copied();
        }
        let elsewhere = keys.iter().filter(|(title, _)| **title != self.title);
        let mut with_it = elsewhere.filter(|(_, keys)| keys.iter().any(|it| it == key));
        with_it.next().map(|(title, _)| *title)
    }
}

/// The name of a section as it is written.
fn brackets(title: &str) -> String {
    match title {
        "instance" | "grant" | "static" => format!("[[{title}]]"),
        _ => format!("[{title}]"),
    }
}

/// The name that was probably meant.
fn nearest<'n>(key: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let key = key.replace('_', "-").to_lowercase();
    let far = |name: &&str| strsim::damerau_levenshtein(name, &key);
    let nearest = names.min_by_key(far)?;
    (far(&nearest) <= 1.max(nearest.len() / 3)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_near_and_never_far_fetched() {
        let of = |key| nearest(key, ["metric", "next-hop-objects", "protocol"].into_iter());
        assert_eq!(of("protokoll"), Some("protocol"));
        assert_eq!(of("next_hop_objects"), Some("next-hop-objects"));
        assert_eq!(of("Metric"), Some("metric"));
        assert_eq!(of("colour"), None);
        assert_eq!(of(""), None);
    }
}
