//! The text of a file as a tree in which everything knows where it is written.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::fault::{Findings, Place};
use crate::model::quoted;

/// A value, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What there is in TOML, as far as the configuration knows it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Whole(i128),
    Flag(bool),
    /// Fractions and times, which no key takes, as they are written.
    Other(String),
    List(Vec<Node>),
    Table(Table),
}

/// The keys of a table, each with where it is written.
pub(super) type Table = BTreeMap<String, Entry>;

/// What stands behind a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where the key is.
    pub(super) key: Place,
    pub(super) node: Node,
}

/// Reads a text. Where it is no TOML it says all that is wrong, and what else there is.
pub(super) fn parse(file: &Path, text: &str, findings: &Findings) -> Table {
    let lines = Lines::of(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or_else(|| Place::whole(file), |span| lines.place(span.start));
        findings.add(&at, format_args!("this is no TOML: {}", error.message()));
    }
    lines.table(root.into_inner())
}

/// Where the lines of a text begin.
struct Lines<'t> {
    file: Arc<Path>,
    text: &'t str,
    begins: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(file: &Path, text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let begins = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { file: file.into(), text, begins }
    }

    /// The place of a byte.
    fn place(&self, byte: usize) -> Place {
        let line = self.begins.partition_point(|begin| *begin <= byte).max(1);
        let begin = self.begins.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(begin..byte).unwrap_or_default();
        Place { file: Arc::clone(&self.file), at: Some((line, before.chars().count() + 1)) }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
            let place = self.place(key.span().start);
            (key.into_inner().into_owned(), Entry { key: place, node: self.node(value) })
        };
        table.into_iter().map(entry).collect()
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span().start);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            // What has more digits is out of every range.
            DeValue::Integer(number) => Value::Whole(
                i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX),
            ),
            DeValue::Boolean(flag) => Value::Flag(flag),
            DeValue::Float(number) => Value::Other(number.to_string()),
            DeValue::Datetime(time) => Value::Other(time.to_string()),
            DeValue::Array(list) => {
                Value::List(list.into_iter().map(|value| self.node(value)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place, value }
    }
}

/// As it goes into a message: short, and harmless on a terminal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Whole(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Other(text) => f.write_str(text),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a section"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let findings = Findings::default();
        parse(Path::new("f"), text, &findings);
        findings.into_faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_place_is_a_line_and_a_character_of_it() {
        let findings = Findings::default();
        let table = parse(Path::new("f"), "a = 1\n[b]\n\"ä\" = [2]\n", &findings);
        let Value::Table(b) = &table["b"].node.value else { panic!("{table:?}") };
        assert_eq!(table["b"].node.place.to_string(), "f:2:1");
        assert_eq!(b["ä"].key.to_string(), "f:3:1");
        let Value::List(list) = &b["ä"].node.value else { panic!("{b:?}") };
        assert_eq!(list[0].place.to_string(), "f:3:8");
    }

    #[test]
    fn every_mistake_of_a_text_is_told_and_not_only_the_first() {
        let faults = faults("a = = 1\nb = 2\nb = 3\nc = \n");
        let lines = faults.iter().map(|fault| fault.split(':').nth(1).unwrap_or_default());
        assert_eq!(lines.collect::<Vec<_>>(), ["1", "1", "3", "4"], "{faults:#?}");
    }

    #[test]
    fn no_nonsense_is_too_much() {
        for text in ["\0\u{1}[[[[", &"[".repeat(100_000), &"a.".repeat(100_000), "= = =\r\r"] {
            assert!(!faults(text).is_empty(), "{text:.20}");
        }
        let faults = faults(&"= 1\n".repeat(100_000));
        assert_eq!(faults.len(), 101);
        assert!(faults[100].contains("more than 100 faults"), "{}", faults[100]);
    }
}
