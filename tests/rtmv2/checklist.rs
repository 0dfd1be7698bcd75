//! Holds `checklist.toml` and the tests together: no row without one, no test that is not there.
//!
//! The table is the truth. A test says which rows it proves in a line of its own in its comment,
//! `/// REG-01, REG-02`; those here have to, others may, and what is said has to be in the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::Deserialize;

/// Rows that wait for a feature, and no others may.
const WAITING: [&str; 0] = [];

/// The rows there are: the prefix of each section, and its last number.
const ROWS: [(&str, u32); 21] = [
    ("REG", 22),
    ("EVT", 9),
    ("NET", 4),
    ("VIEW", 8),
    ("RT", 34),
    ("BEST", 17),
    ("TTL", 12),
    ("DEL", 8),
    ("HOLD", 20),
    ("UPD", 10),
    ("NH", 19),
    ("LKP", 18),
    ("ENUM", 22),
    ("CHG", 39),
    ("LIST", 11),
    ("METH", 14),
    ("OPQ", 6),
    ("HND", 4),
    ("FWD", 8),
    ("ADM", 6),
    ("V1", 15),
];

/// The tests of this folder, which have to name their rows; this file only holds the others to it.
const NAMING: &str = "tests/rtmv2/";
const THIS: &str = "tests/rtmv2/checklist.rs";

/// A row of the checklist.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// What it says, in a few words.
    says: String,
    /// The tests that prove it: `file::function`, or a script that `integration/run-tests` runs.
    #[serde(default)]
    tests: Vec<String>,
    /// Why there is nothing to prove.
    absent: Option<String>,
    /// How this service's rule differs from the row's letter.
    #[serde(rename = "note")]
    _note: Option<String>,
    /// What is not there yet.
    todo: Option<String>,
}

type Table = BTreeMap<String, Row>;
/// The tests of each file, and the rows that each says it proves.
type Tests = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

#[test]
fn every_row_has_a_test_or_a_reason_and_every_test_of_a_row_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/rtmv2/checklist.toml")).unwrap();
    let table: Table = toml::from_str(&table).unwrap();
    let mut tests = Tests::new();
    for folder in ["src", "tests", "integration"] {
        read_sources(root, &root.join(folder), &mut tests);
    }
    let scripts = fs::read_dir(root.join("integration")).unwrap();
    let scripts = scripts.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let is_script = |name: &String| name.starts_with(char::is_numeric) && name.ends_with(".sh");
    let scripts = scripts.filter(is_script).map(|name| format!("integration/{name}")).collect();

    let wrong = faults(&all_rows(), &table, &tests, &scripts);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));

    let waiting = table.iter().filter_map(|(id, row)| Some((id.as_str(), row.todo.as_ref()?)));
    let (ids, reasons): (Vec<&str>, Vec<&String>) = waiting.unzip();
    for (id, reason) in ids.iter().zip(reasons) {
        println!("skip: RTMv2's row {id}: {reason}");
    }
    assert_eq!(ids, WAITING);
}

/// Everything that is wrong, a sentence each.
fn faults(
    ids: &BTreeSet<String>,
    table: &Table,
    tests: &Tests,
    scripts: &BTreeSet<String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let listed: BTreeSet<String> = table.keys().cloned().collect();
    wrong.extend(ids.difference(&listed).map(|id| format!("{id} is missing")));
    wrong.extend(listed.difference(ids).map(|id| format!("there is no row {id}")));
    for (id, row) in table {
        if row.says.is_empty() {
            wrong.push(format!("{id} does not tell what it says"));
        }
        match (row.tests.is_empty(), &row.absent, &row.todo) {
            (true, None, None) => wrong.push(format!("{id} has neither a test nor a reason")),
            (false, Some(_), _) => wrong.push(format!("{id} is absent and yet has tests")),
            (_, Some(_), Some(_)) => wrong.push(format!("{id} is absent and yet waits")),
            _ => {}
        }
        for name in row.tests.iter().filter(|name| !scripts.contains(*name)) {
            let test = name.split_once("::").and_then(|(file, test)| tests.get(file)?.get(test));
            match test {
                None => wrong.push(format!("{id} names {name}, which is no test")),
                Some(said) if name.starts_with(NAMING) && !said.contains(id) => {
                    wrong.push(format!("{id} names {name}, which does not say so"));
                }
                Some(_) => {}
            }
        }
    }
    for (file, tests) in tests {
        for (test, said) in tests {
            let name = format!("{file}::{test}");
            if said.is_empty() && file.starts_with(NAMING) && file != THIS {
                wrong.push(format!("{name} does not say which rows it proves"));
            }
            let lists = |id: &&String| table.get(*id).is_some_and(|row| row.tests.contains(&name));
            let unlisted = said.iter().filter(|id| !lists(id));
            wrong.extend(unlisted.map(|id| format!("{name} is not listed under {id}")));
        }
    }
    wrong
}

fn all_rows() -> BTreeSet<String> {
    let section = |(prefix, last)| (1..=last).map(move |n| format!("{prefix}-{n:02}"));
    ROWS.into_iter().flat_map(section).collect()
}

fn read_sources(root: &Path, folder: &Path, tests: &mut Tests) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(root, &path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            tests.insert(name, tests_in(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The tests in a source file that run unasked, and the rows each says it proves.
fn tests_in(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    let (mut said, mut is_test, mut is_ignored) = (BTreeSet::new(), false, false);
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            said.extend(rows_in(comment));
        }
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        is_ignored |= line.starts_with("#[ignore");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some((name, _)) = function.and_then(|rest| rest.split_once('('))
            && is_test
            && !is_ignored
        {
            found.insert(name.to_owned(), std::mem::take(&mut said));
        }
        if function.is_some() || line.is_empty() {
            (said, is_test, is_ignored) = (BTreeSet::new(), false, false);
        }
    }
    found
}

/// The rows that a line names if it does nothing else.
fn rows_in(comment: &str) -> Vec<String> {
    let is_id = |word: &&str| {
        word.split_once('-').is_some_and(|(prefix, number)| {
            ROWS.iter().any(|(known, _)| *known == prefix)
                && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let words: Vec<&str> = comment.split(", ").collect();
    match words.iter().all(is_id) {
        true => words.into_iter().map(ToOwned::to_owned).collect(),
        false => Vec::new(),
    }
}

// The checker, checked: each fault is told, and what is right is let through.

/// The faults of a checklist with the rows REG-01 and REG-02, of which the second is all right.
fn faults_of(reg_01: Row, source: &str) -> Vec<String> {
    let ids = ["REG-01", "REG-02"].map(String::from).into();
    let reg_02 = Row { says: "?".into(), absent: Some("?".into()), ..Row::default() };
    let table = Table::from([("REG-01".into(), reg_01), ("REG-02".into(), reg_02)]);
    let tests = Tests::from([("tests/rtmv2/a.rs".into(), tests_in(source))]);
    faults(&ids, &table, &tests, &["integration/10-a.sh".to_owned()].into())
}

fn row(tests: &[&str]) -> Row {
    let tests = tests.iter().map(|test| (*test).to_owned()).collect();
    Row { says: "?".into(), tests, ..Row::default() }
}

#[test]
fn there_are_306_rows() {
    assert_eq!(all_rows().len(), 306);
}

#[test]
fn a_row_and_a_test_that_name_each_other_are_let_through() {
    for (attribute, function) in [("test", "fn"), ("tokio::test", "async fn")] {
        let source = format!("/// REG-01\n#[{attribute}]\n{function} a() {{}}\n");
        assert_eq!(faults_of(row(&["tests/rtmv2/a.rs::a"]), &source), [""; 0]);
    }
    assert_eq!(faults_of(row(&["integration/10-a.sh"]), ""), [""; 0]);
    let waits = Row { todo: Some("?".into()), ..row(&[]) };
    assert_eq!(faults_of(waits, ""), [""; 0]);
}

#[test]
fn a_row_needs_a_test_or_a_reason_and_not_both() {
    assert_eq!(faults_of(row(&[]), ""), ["REG-01 has neither a test nor a reason"]);
    let both = Row { absent: Some("?".into()), ..row(&["integration/10-a.sh"]) };
    assert_eq!(faults_of(both, ""), ["REG-01 is absent and yet has tests"]);
    let silent = Row { says: String::new(), ..row(&["integration/10-a.sh"]) };
    assert_eq!(faults_of(silent, ""), ["REG-01 does not tell what it says"]);
}

#[test]
fn a_test_that_is_not_there_or_does_not_run_is_caught() {
    for source in
        ["", "/// REG-01\nfn a() {}", "/// REG-01\n#[test]\n#[ignore = \"slow\"]\nfn a() {}"]
    {
        let wrong = faults_of(row(&["tests/rtmv2/a.rs::a"]), source);
        assert_eq!(wrong, ["REG-01 names tests/rtmv2/a.rs::a, which is no test"], "{source}");
    }
    for name in ["a", "integration/20-b.sh", "tests/rtmv2/b.rs::a"] {
        assert_eq!(faults_of(row(&[name]), ""), [format!("REG-01 names {name}, which is no test")]);
    }
}

#[test]
fn a_test_and_the_table_have_to_agree() {
    let other = "/// REG-02\n#[test]\nfn a() {}";
    let expected = [
        "REG-01 names tests/rtmv2/a.rs::a, which does not say so",
        "tests/rtmv2/a.rs::a is not listed under REG-02",
    ];
    assert_eq!(faults_of(row(&["tests/rtmv2/a.rs::a"]), other), expected);
    let silent = "/// Not a row.\n#[test]\nfn a() {}";
    let wrong = faults_of(row(&["integration/10-a.sh"]), silent);
    assert_eq!(wrong, ["tests/rtmv2/a.rs::a does not say which rows it proves"]);
}

#[test]
fn rows_that_are_missing_or_unknown_are_caught() {
    let ids = ["REG-01", "REG-03"].map(String::from).into();
    let table = Table::from([("REG-02".into(), row(&["integration/10-a.sh"]))]);
    let scripts = ["integration/10-a.sh".to_owned()].into();
    let wrong = faults(&ids, &table, &Tests::new(), &scripts);
    assert_eq!(wrong, ["REG-01 is missing", "REG-03 is missing", "there is no row REG-02"]);
}
