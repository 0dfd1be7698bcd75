//! rtmd.toml(5), held to what is read, and the README to it: a key that one of them has the others have too.

use std::collections::{BTreeMap, BTreeSet};

use super::{Config, keys, testing::vrf_table};

/// The keys of each section as it is headed, each with its default if it has one.
type Sections = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// What the page has.
fn page() -> Sections {
    let text = include_str!("../../docs/man/rtmd.toml.5").replace("\\-", "-").replace("\\(aq", "'");
    let mut sections = Sections::new();
    let (mut title, mut is_key) = (None, false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix(".SS ") {
            sections.insert(heading.to_owned(), BTreeMap::new());
            title = Some(heading.to_owned());
        } else if line.starts_with(".SH") {
            title = None;
        }
        if let Some(keys) = title.as_ref().filter(|_| is_key).and_then(|it| sections.get_mut(it)) {
            let (key, more) =
                line.strip_prefix("\\fB").and_then(|it| it.split_once("\\fR")).unwrap();
            keys.insert(key.to_owned(), more.strip_prefix(" = ").map(str::to_owned));
        }
        is_key = line == ".TP";
    }
    sections
}

/// The file that the README shows.
fn readme() -> Sections {
    let text = super::tests::shown_in_the_readme();
    let mut sections = Sections::new();
    let mut title = String::new();
    for line in text.lines().filter(|line| !line.starts_with([' ', '#'])) {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.split_once(" = ") {
            Some((key, value)) => {
                let keys = sections.get_mut(&title).unwrap();
                keys.insert(key.to_owned(), Some(value.to_owned()));
            }
            None if line.is_empty() => {}
            None => {
                line.clone_into(&mut title);
                sections.insert(title.clone(), BTreeMap::new());
            }
        }
    }
    sections
}

/// The keys that have a default.
fn defaults(sections: Sections) -> Sections {
    let with =
        |keys: BTreeMap<_, Option<_>>| keys.into_iter().filter(|(_, it)| it.is_some()).collect();
    sections.into_iter().map(|(title, keys)| (title, with(keys))).collect()
}

#[test]
fn every_key_that_is_read_is_in_the_page_and_every_key_of_the_page_is_read() {
    let page = page();
    let titles: BTreeSet<&str> = page.keys().map(|title| title.trim_matches(['[', ']'])).collect();
    let read = keys();
    let sections: BTreeSet<&str> = read
        .keys()
        .copied()
        .filter(|title| !title.is_empty() && !title.contains("nexthops"))
        .collect();
    assert_eq!(titles, sections);
    for (title, keys) in &page {
        let title = title.trim_matches(['[', ']']);
        // There any protocol is a key.
        if title != "instance.import" {
            assert_eq!(
                keys.keys().collect::<Vec<_>>(),
                read[title].iter().collect::<Vec<_>>(),
                "{title}"
            );
        }
    }
    let nexthops = page["[[static]]"].keys().map(String::as_str).chain(["weight"]);
    let nexthops: BTreeSet<&str> = nexthops.collect();
    assert!(read["static.nexthops"].iter().all(|key| nexthops.contains(key.as_str())));
}

#[test]
fn the_defaults_of_the_page_are_those_of_the_readme_and_of_an_empty_file() {
    let page = page();
    let order = [
        "[service]",
        "[fib]",
        "[preferences]",
        "[limits]",
        "[[grant]]",
        "[[instance]]",
        "[instance.import]",
    ];
    let mut text = String::new();
    for title in order {
        text += &format!("{title}\n");
        for (key, default) in &page[title] {
            text += &default.as_ref().map_or_else(String::new, |it| format!("{key} = {it}\n"));
        }
    }
    assert_eq!(Config::parse(&text, &vrf_table).unwrap(), Config::default(), "{text}");
    let mut shown = defaults(page);
    shown.remove("[[static]]"); // no default is a route
    let (readme, shown) = (readme(), shown);
    for (title, keys) in &shown {
        let also = readme.get(title).unwrap_or_else(|| panic!("the README has no {title}"));
        // Of grants it shows what says whom the default one is for.
        let is_grant = title == "[[grant]]";
        assert!(
            is_grant && also.iter().all(|it| keys.get(it.0) == Some(it.1)) || keys == also,
            "{title}"
        );
    }
    assert_eq!(readme.len(), shown.len());
}
