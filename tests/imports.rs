//! Folders are layers: what a file may name depends on the folder it is in.
//!
//! Reads every path in the source, in `use` lines and written out in code alike, and holds it against
//! [`MAY_NAME`] and [`CRATES`]. Comments and strings may say what they like.

use std::{
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
    vec,
};

/// What each room may name of ours besides itself. A path allows what is below it.
///
/// The empty path is everything: only who joins all the parts may have it.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("rib", &["model"]),
    ("fib", &["model"]),
    ("netlink", &["model"]),
    ("kernel", &["model", "fib", "netlink"]),
    ("shared", &["model", "rib", "journal"]),
    ("config", &["model", "rib"]),
    ("clock", &["model"]),
    ("journal", &["model", "rib"]),
    ("feed", &["model", "rib", "shared", "netlink"]),
    ("bus", &["model", "rib", "journal::ledger", "shared", "clock"]),
    // What the service and its clients have to agree on, and nothing of the service itself.
    ("client", &["model", "bus::address", "bus::wire"]),
    ("daemon", &[""]),
    ("lib", &[""]),
    ("bin/rtmd", &[""]),
    ("bin/rtmctl", &["model", "client", "bus::address", "bus::wire"]),
];

/// Crates that only some rooms may name, by how their names begin.
const CRATES: &[(&str, Rooms)] = &[
    ("netlink_", Rooms::Only(&["netlink", "kernel"])),
    ("rtnetlink", Rooms::Only(&["netlink", "kernel"])),
    ("zbus", Rooms::Only(&["bus", "client", "daemon", "bin/rtmd", "bin/rtmctl"])),
    ("tokio", Rooms::AllBut(&["model", "rib", "fib", "netlink"])),
];

enum Rooms {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

#[test]
fn every_file_names_only_what_its_room_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let name = file.strip_prefix(&source).expect("a file below src").to_string_lossy();
        wrong.extend(offences(&name, &text));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

// The checker, checked: each forbidden way of naming something is caught, and nothing else is.

#[test]
fn a_forbidden_use_is_caught_with_its_line_and_the_rule() {
    assert_eq!(
        offences("rib/table.rs", "//! Tables.\n\nuse crate::fib::Mirror;\n"),
        ["src/rib/table.rs:3: names crate::fib::Mirror, but `rib` may name only: model"]
    );
    assert_eq!(
        offences("fib/mod.rs", "use zbus::Connection;"),
        ["src/fib/mod.rs:1: names zbus::Connection, but only bus, client, daemon, bin/rtmd, \
          bin/rtmctl may name zbus"]
    );
}

#[test]
fn a_path_written_out_in_code_is_caught() {
    for line in [
        "fn f() { crate::rib::add() }",
        "fn f(x: &crate::rib::Rib) {}",
        "fn f() -> Vec<super::super::rib::Rib> { todo!() }",
        "mod tests { use super::super::super::rib::Rib; }",
        "mod a { mod b { fn f() { super::super::super::super::rib::f() } } }",
        "fn f() { rtmd::rib::f() }",
        "#[tokio::test] async fn f() {}",
        "async fn f() { ::tokio::spawn(g()).await }",
        "use tokio;",
        "use tokio as runtime;",
        "extern crate tokio;",
        "use {std::fmt, tokio_util::codec};",
        "const C: char = '\"'; use tokio::net; // '\"'",
        "fn f<'a>(x: &'a str) { let c = '\\''; tokio::spawn(x) }",
        "const S: &str = r#\"\"\"#; use tokio::net;",
    ] {
        assert_eq!(offences("fib/mirror.rs", line).len(), 1, "{line}");
    }
}

#[test]
fn each_branch_of_a_use_tree_is_held_to_the_rules() {
    let text = "use crate::{\n    model::{Prefix, View},\n    rib::{self, Rib},\n    bus,\n};";
    let found = offences("fib/mirror.rs", text);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("src/fib/mirror.rs:3: names crate::rib::self"), "{found:#?}");
    assert!(found[2].starts_with("src/fib/mirror.rs:4: names crate::bus,"), "{found:#?}");
}

#[test]
fn a_room_may_be_named_in_part() {
    assert_eq!(offences("client/mod.rs", "use crate::bus::wire::{RouteInfo, SERVICE};"), [""; 0]);
    assert_eq!(offences("client/mod.rs", "use crate::bus::manager::Manager;").len(), 1);
    assert_eq!(offences("client/mod.rs", "use crate::bus::*;").len(), 1);
    assert_eq!(offences("client/mod.rs", "use crate::bus;").len(), 1);
}

#[test]
fn what_is_allowed_or_only_said_is_let_through() {
    for text in [
        "use crate::model::prefix::Prefix; use std::fmt; use super::retry;",
        "pub(crate) fn f() {} pub(super) fn g() {} pub(in crate::fib) fn h() {}",
        "mod tests { use super::*; use super::super::retry; use crate::fib::mirror; }",
        "/// Unlike [`crate::rib::Rib`].\n// tokio::spawn\n/* zbus::x /* nested */ rtnetlink::y */",
        "const S: &str = \"tokio::spawn \\\" zbus::x\"; const R: &str = r##\"zbus::\"# \"##;",
        "const B: &[u8] = b\"tokio::\"; const C: u8 = b'\"'; const D: char = '\\u{22}';",
        "fn f<'tokio>(x: &'tokio str) { self.tokio::<u8>() }",
        "enum E { Bus, Rib } fn f() { E::Bus; }",
        "fn f() { let x = 1.0; let y = 0..tokio; a::tokio::b() }",
    ] {
        assert_eq!(offences("fib/mirror.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn a_program_is_held_apart_from_its_own_modules() {
    assert_eq!(offences("bin/rtmctl/main.rs", "use crate::routes; use rtmd::client::S;"), [""; 0]);
    assert_eq!(offences("bin/rtmctl/routes.rs", "use rtmd::rib::Rib;").len(), 1);
    assert_eq!(offences("bin/rtmd.rs", "use rtmd::daemon::run;"), [""; 0]);
}

#[test]
fn a_room_without_a_rule_is_caught() {
    assert_eq!(offences("misc.rs", "use crate::model::Prefix;").len(), 1);
    assert_eq!(offences("bus/wire.rs", "use crate::Prefix;").len(), 1, "a shortcut hides the room");
}

/// Each forbidden path of a file (its name below `src`), as a line to print.
fn offences(file: &str, text: &str) -> Vec<String> {
    let place = Place::of(file);
    let Some((_, allowed)) = MAY_NAME.iter().find(|(room, _)| *room == place.room) else {
        return vec![format!("src/{file}:1: `{}` has no rule in tests/imports.rs", place.room)];
    };
    let mut found = Vec::new();
    for path in paths(text) {
        let Some(why) = offence(&place, allowed, &path) else { continue };
        found.push(format!("src/{file}:{}: names {}, {why}", path.line, path.segments.join("::")));
    }
    found
}

/// Why the path is forbidden here, if it is.
fn offence(place: &Place, allowed: &[&str], path: &NamedPath) -> Option<String> {
    let Some(ours) = place.resolve(path) else {
        let root = path.segments.first()?;
        let (name, rooms) = CRATES.iter().find(|(name, _)| root.starts_with(name))?;
        return match rooms {
            Rooms::Only(rooms) if !rooms.contains(&place.room.as_str()) => {
                Some(format!("but only {} may name {name}", rooms.join(", ")))
            }
            Rooms::AllBut(rooms) if rooms.contains(&place.room.as_str()) => {
                Some(format!("but `{}` may not name {name}", place.room))
            }
            _ => None,
        };
    };
    let own = place.module.is_some() && ours.first() == Some(&place.room);
    let allowed_here = own
        || allowed.iter().any(|allowed| {
            allowed.is_empty()
                || allowed.split("::").eq(ours.iter().take(allowed.split("::").count()))
        });
    let rule = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    (!allowed_here).then(|| format!("but `{}` may name only: {rule}", place.room))
}

/// Where a file is: the room whose rules it is under, and its module in the library.
struct Place {
    room: String,
    /// Segments below `crate`; nothing for the programs, which are crates of their own.
    module: Option<Vec<String>>,
}

impl Place {
    fn of(file: &str) -> Self {
        let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
        if let ["bin", program, ..] = parts[..] {
            return Self { room: format!("bin/{program}"), module: None };
        }
        let mut module: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
        if parts.last() == Some(&"mod") {
            module.pop();
        }
        let room = module.first().cloned().unwrap_or_default();
        if room == "lib" {
            module.clear();
        }
        Self { room, module: Some(module) }
    }

    /// The path from our library's root; nothing when it leads elsewhere.
    fn resolve(&self, path: &NamedPath) -> Option<Vec<String>> {
        let mut segments = path.segments.iter().map(String::as_str).peekable();
        let mut at = match (*segments.peek()?, &self.module) {
            ("rtmd", _) | ("crate", Some(_)) => {
                segments.next();
                Vec::new()
            }
            ("self" | "super", Some(module)) => {
                let mut at = module.clone();
                at.extend(path.inside.iter().cloned());
                segments.next_if_eq(&"self");
                while segments.next_if_eq(&"super").is_some() {
                    at.pop();
                }
                at
            }
            _ => return None,
        };
        at.extend(segments.map(str::to_owned));
        Some(at)
    }
}

/// A path as it stands in a file.
struct NamedPath {
    line: usize,
    /// From its root; a `use` tree gives one for each branch.
    segments: Vec<String>,
    /// The modules within the file that it stands in.
    inside: Vec<String>,
}

/// Every path in the text that has a root of its own: `a::b`, and `a` alone where it is imported.
fn paths(text: &str) -> Vec<NamedPath> {
    let mut reader = Reader {
        tokens: tokens(text).into_iter().peekable(),
        inside: Vec::new(),
        depth: 0,
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

struct Reader {
    tokens: Peekable<vec::IntoIter<Token>>,
    /// The modules open at this point, each with the depth of its braces.
    inside: Vec<(String, usize)>,
    depth: usize,
    found: Vec<NamedPath>,
}

impl Reader {
    fn read(&mut self) {
        // What came just before decides whether a word begins a path.
        let mut before = String::new();
        while let Some(token) = self.tokens.next() {
            match token.text.as_str() {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inside.last().is_some_and(|(_, depth)| *depth == self.depth) {
                        self.inside.pop();
                    }
                }
                "use" => self.tree(&[]),
                "crate" if before == "extern" => self.tree(&[]),
                "mod" => {
                    let Some(name) = self.tokens.next_if(Token::is_word) else { continue };
                    if self.next_is("{") {
                        self.inside.push((name.text, self.depth));
                    }
                }
                _ if token.is_word() && before != "." && before != "::" && self.next_is("::") => {
                    self.path(&token);
                }
                // `::tokio::spawn`: the root of a path that begins with the colons.
                "::" if !is_word(&before) && !matches!(before.as_str(), ">" | ")" | "]") => {
                    if let Some(root) = self.tokens.next_if(Token::is_word) {
                        self.path(&root);
                    }
                }
                _ => {}
            }
            before = token.text;
        }
    }

    /// The rest of a path in code.
    fn path(&mut self, root: &Token) {
        let line = root.line;
        let mut segments = vec![root.text.clone()];
        while self.tokens.next_if(|token| token.text == "::").is_some() {
            let Some(segment) = self.tokens.next_if(Token::is_word) else { break };
            segments.push(segment.text);
        }
        self.push(line, segments);
    }

    /// A `use` tree below `above`.
    fn tree(&mut self, above: &[String]) {
        let mut segments = above.to_vec();
        self.tokens.next_if(|token| token.text == "::");
        loop {
            let Some(token) = self.tokens.peek() else { return };
            let line = token.line;
            if token.text == "{" {
                self.tokens.next();
                while !self.next_is("}") && self.tokens.peek().is_some() {
                    self.tree(&segments);
                    self.tokens.next_if(|token| token.text == ",");
                }
                self.tokens.next();
                return;
            }
            let Some(segment) = self.tokens.next_if(|token| token.is_word() || token.text == "*")
            else {
                // Not a path: the angle brackets of a precise capture, `use<'a>`.
                return;
            };
            segments.push(segment.text);
            if self.tokens.next_if(|token| token.text == "::").is_none() {
                if self.tokens.next_if(|token| token.text == "as").is_some() {
                    self.tokens.next();
                }
                self.push(line, segments);
                return;
            }
        }
    }

    fn push(&mut self, line: usize, segments: Vec<String>) {
        let inside = self.inside.iter().map(|(name, _)| name.clone()).collect();
        self.found.push(NamedPath { line, segments, inside });
    }

    fn next_is(&mut self, text: &str) -> bool {
        self.tokens.peek().is_some_and(|token| token.text == text)
    }
}

/// A word, `::`, or a single character of punctuation.
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_word(&self) -> bool {
        is_word(&self.text)
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The text without comments, strings, characters, numbers and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if first == '\'' {
            quote(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let length =
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token { line, text: rest[..length].to_owned() });
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                tokens.push(Token { line, text: rest[..length].to_owned() });
            }
            length
        };
        let (past, following) = rest.split_at(length);
        line += past.matches('\n').count();
        rest = following;
    }
    tokens
}

/// How long the block comment is that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// How long the string is that `text` begins with, in any of its forms, if it does.
fn string(text: &str) -> Option<usize> {
    let prefix = text.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let raw = text[..prefix].contains('r');
    let hashes = text[prefix..].find(|c| c != '#')?;
    if prefix > 2 || (hashes > 0 && !raw) || !text[prefix + hashes..].starts_with('"') {
        return None;
    }
    let begin = prefix + hashes + 1;
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len()));
    }
    Some(begin + until(&text[begin..], '"'))
}

/// How long the character or lifetime is that `text` begins with.
fn quote(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    let (first, second) = (characters.next(), characters.next());
    if first == Some('\\') || second == Some('\'') {
        return 1 + until(&text[1..], '\'');
    }
    1 + text[1..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - 1)
}

/// How far it is to just past the closing `quote`, over what is escaped.
fn until(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if character == quote && !escaped {
            return at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

/// Every Rust file below a folder, in order.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
