//! The reference of the bus interfaces says what the running service says: the pages in `docs/dbus`
//! and the XML in `dbus` are made from its introspection, and every line to try is tried.
//!
//! `make reference` writes them anew. What introspection cannot say, and the lines, are kept by hand
//! in `tests/reference/`, one file for each interface.
#![allow(clippy::print_stdout, reason = "the reason of a skip has to be seen")]

#[path = "reference/introspection.rs"]
mod introspection;
#[path = "reference/lines.rs"]
mod lines;
#[path = "reference/page.rs"]
mod page;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
};

use introspection::{Argument, Interface};
use lines::{Language, Lines};
use rtmd::{model::ErrorKind, rib::Limits};
use support::{NO_FIB, PrivateBus, found};

const PYTHON: &str = "/usr/bin/python3";
const PAGES: &str = "docs/dbus";
const DOCUMENTS: &str = "dbus";

/// Every interface that has a file of lines, as the running service tells about it.
static INTERFACES: LazyLock<Vec<(Lines, Interface)>> = LazyLock::new(|| {
    let introspected = |lines: Lines| {
        let answer = Stage::new().run(&lines, &lines.introspect());
        let interface = Interface::read(&lines.interface(), &answer);
        let interface = interface.unwrap_or_else(|| {
            panic!("{} is no interface of {}: {answer}", lines.interface(), lines.object)
        });
        (lines, interface)
    };
    Lines::read_all().into_iter().map(introspected).collect()
});

#[test]
fn every_interface_of_the_service_has_a_page() {
    let named: Vec<String> = Lines::read_all().iter().map(Lines::interface).collect();
    for name in interfaces_in_the_source() {
        assert!(
            named.contains(&name),
            "{name} has no page. Add {}/{}.toml; the others there show the form.",
            lines::FOLDER,
            name.trim_start_matches("org.rtmd1.")
        );
    }
}

#[test]
fn every_method_and_signal_has_a_line_and_every_line_a_member() {
    if !tools_found() {
        return;
    }
    let complaints = INTERFACES.iter().flat_map(|(lines, interface)| lines.complaints(interface));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_pages_and_the_xml_say_what_the_running_service_says() {
    if !tools_found() {
        return;
    }
    let mut files = BTreeMap::new();
    for (lines, interface) in &*INTERFACES {
        let name = lines.interface();
        files.insert(format!("{PAGES}/{name}.md"), page::page(lines, interface));
        files.insert(format!("{DOCUMENTS}/{name}.xml"), interface.document());
    }
    let write = std::env::var("RTMD_REFERENCE").is_ok_and(|what| what == "write");
    for (file, said) in &files {
        let kept = fs::read_to_string(file).unwrap_or_default();
        if write && kept != *said {
            fs::write(file, said).unwrap();
        } else if kept != *said {
            let line = kept.lines().zip(said.lines()).take_while(|(a, b)| a == b).count();
            let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
            panic!(
                "{file}:{} is not what the service says; run `make reference`\n  it has: {}\n  \
                 should have: {}",
                line + 1,
                at(&kept),
                at(said)
            );
        }
    }
    for file in [files_in(PAGES, ".md"), files_in(DOCUMENTS, ".xml")].concat() {
        let by_hand = file.ends_with(page::INDEX) || file.contains(page::CALLBACK);
        let stale = !files.contains_key(&file) && !by_hand;
        if write && stale {
            fs::remove_file(&file).unwrap();
        } else {
            assert!(!stale, "{file} is about no interface of the service; run `make reference`");
        }
    }
}

#[test]
fn every_line_that_calls_or_reads_runs_after_the_lines_before_it() {
    if !tools_found() {
        return;
    }
    for (lines, interface) in &*INTERFACES {
        for method in &interface.methods {
            let (Some(line), refusal) = (lines.call(method), lines.refusal(method)) else {
                continue;
            };
            let (stage, expected) = (Stage::new(), refusal.unwrap_or_default());
            let (succeeds, answer) = stage.try_to_run(lines.language, &lines.with_before(&line));
            assert_eq!(succeeds, refusal.is_none(), "{line}\nanswers {answer}");
            assert!(answer.contains(expected), "{line}\nanswers {answer}");
        }
        if let Some(line) = lines.properties(interface) {
            Stage::new().run(lines, &line);
        }
    }
}

#[test]
fn the_lines_of_all_pages_can_be_tried_on_one_service_and_leave_nothing() {
    if !tools_found() {
        return;
    }
    let (stage, all) = (Stage::new(), Lines::read_all());
    let of = |language| all.iter().filter(move |lines| lines.language == language);
    let readme = "busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
                  0 ipv4 10006 1 1 shared b true\n";
    let befores: String = of(Language::Shell).map(|lines| lines.with_before("")).collect();
    let (succeeds, answer) = stage.try_to_run(Language::Shell, &format!("{readme}{befores}"));
    assert!(succeeds, "the pages are in each other's way, or in README.md's: {answer}");
    let befores: String = of(Language::Python).map(|lines| lines.with_before("")).collect();
    let (succeeds, answer) = stage.try_to_run(Language::Python, &befores);
    assert!(succeeds, "the pages are in each other's way: {answer}");
    for lines in of(Language::Shell) {
        let (stage, mut script) = (Stage::new(), lines.with_before(""));
        script += &lines.after;
        script += "busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetRegisteredEntities us 0 ipv4\n\
                   busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetStaticRoutes us 0 ipv4\n";
        let (succeeds, answer) = stage.try_to_run(lines.language, &script);
        // But the service's own entity, once there were static routes.
        let left = answer.contains("\"active\"") || !answer.ends_with("a(sa{sv}b) 0\n");
        assert!(succeeds && !left, "{} leaves something: {answer}", lines.name);
    }
}

#[test]
fn every_signal_shows_in_the_line_that_watches_it() {
    if !tools_found() {
        return;
    }
    for (lines, interface) in &*INTERFACES {
        for signal in &interface.signals {
            let Some(cause) = lines.cause(signal) else { continue };
            let stage = Stage::new();
            let mut watch = stage.command("sh");
            watch.args(["-c", &format!("exec timeout 30 {} 2>&1", lines.watch(signal))]);
            let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
            let mut shown = BufReader::new(watch.stdout.take().unwrap()).lines();
            let ready = shown.next().and_then(Result::ok).unwrap_or_default();
            assert!(ready.contains("Monitoring"), "{}: {ready}", lines.watch(signal));
            stage.run(lines, cause);
            let member = format!("Member={}", signal.name);
            let came = shown.map_while(Result::ok).any(|line| line.contains(&member));
            watch.kill().unwrap();
            watch.wait().unwrap();
            assert!(came, "{}.{} does not come after\n{cause}", lines.interface(), signal.name);
        }
    }
}

#[test]
fn the_index_leads_to_each_page_and_explains_each_structure_and_error() {
    let index = fs::read_to_string(Path::new(PAGES).join(page::INDEX)).expect("an index");
    for lines in Lines::read_all() {
        let name = lines.interface();
        let row = format!("[`{name}`]({name}.md)");
        assert!(index.contains(&row), "the index does not lead to {row}");
    }
    let row = format!("[`{0}`]({0}.md)", page::CALLBACK);
    assert!(index.contains(&row), "the index does not lead to {row}");
    for (name, signature) in page::structures() {
        let heading = format!("### {name}\n\n`{signature}`: ");
        assert!(index.contains(&heading), "the index has no section\n{heading}");
    }
    let errors = index.split("## Errors").nth(1).expect("a section about errors");
    let rows: Vec<&str> = errors
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let names: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
    for name in &names {
        assert!(rows.contains(name), "the table of errors has no row for {name}");
    }
    for row in &rows {
        assert!(names.contains(row), "there is no error {row}, and the table has a row for it");
    }
}

#[test]
fn the_index_explains_every_key_of_a_dictionary() {
    let index = fs::read_to_string(Path::new(PAGES).join(page::INDEX)).expect("an index");
    let rows: Vec<&str> = index.lines().filter_map(|line| line.split("|").nth(1)).collect();
    for file in files_in("src/bus", ".rs") {
        let source = fs::read_to_string(&file).unwrap();
        let begins = ["take", "read", "parse"].map(|read| format!(".{read}(\""));
        for begin in begins.iter().map(String::as_str).chain([
            "(&mut more, \"",
            "(&mut details, \"",
            "detail(more, \"",
        ]) {
            for (key, _) in source.split(begin).skip(1).filter_map(|rest| rest.split_once('"')) {
                assert!(
                    rows.iter().any(|row| row.contains(&format!("`{key}`"))),
                    "{file} has the key \"{key}\"; add to {PAGES}/{}, to the table where it \
                     belongs: | `{key}` | its type | its meaning |",
                    page::INDEX
                );
            }
        }
    }
}

#[test]
fn the_index_explains_every_limit_and_its_default_in_alphabetical_order() {
    let index = fs::read_to_string(Path::new(PAGES).join(page::INDEX)).expect("an index");
    let (_, rest) = index.split_once("\n### Limits\n").expect("a section of the limits");
    let (section, _) = rest.split_once("\n\n## Errors\n").expect("a section after the limits");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let limits = serde_json::to_value(Limits::default()).unwrap();
    // The names come in alphabetical order.
    let limits: BTreeMap<_, _> = limits.as_object().unwrap().iter().collect();
    let mut there = rows.iter();
    for (name, default) in limits {
        let begins = format!("| `{name}` | {default} | ");
        let row = there.next().copied().unwrap_or("(the end)");
        assert!(
            row.starts_with(&begins) && row.matches(" | ").count() == 3,
            "the limits in {PAGES}/{} have {row}\nwhere this belongs: {begins}of | beyond it |",
            page::INDEX
        );
    }
    assert_eq!(there.next(), None, "a limit that is none");
}

#[test]
fn the_example_of_a_callback_answers_as_its_page_says() {
    if !tools_found() || !found_in_python("gi") {
        return;
    }
    let page = fs::read_to_string(format!("{PAGES}/{}.md", page::CALLBACK)).unwrap();
    let block = |begin: &str| {
        let (_, rest) = page.split_once(begin).unwrap_or_else(|| panic!("the page has no {begin}"));
        rest.split_once("\n```").expect("the end of a block").0.trim().to_owned()
    };
    let (program, printed) = (block("```python\n"), block("```text\n"));
    let (succeeds, answer) = Stage::new().try_to_run(Language::Python, &program);
    assert!(succeeds, "{answer}");
    assert_eq!(answer.trim(), printed);
}

#[test]
fn every_member_says_what_it_is_for_and_names_its_arguments_and_errors() {
    if !tools_found() {
        return;
    }
    let names: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
    for (lines, interface) in &*INTERFACES {
        for member in interface.methods.iter().chain(&interface.signals) {
            let what = format!("{}.{}", lines.interface(), member.name);
            assert!(!member.words.is_empty(), "{what} has no `///` comment");
            let named = |it: &Argument| !it.name.is_empty();
            let all_named = member.takes.iter().chain(&member.returns).all(named);
            assert!(all_named, "{what} has results without names; zbus takes them as `out_args`");
            for error in page::errors(&member.words) {
                assert!(
                    names.contains(&error),
                    "the comment of {what} has {error:?} between \"Errors: \" and the full stop, \
                     which is no error of the service"
                );
            }
        }
        for property in &interface.properties {
            let what = format!("{}.{}", lines.interface(), property.name);
            assert!(!property.words.is_empty(), "{what} has no `///` comment");
        }
    }
}

#[test]
fn signatures_are_told_in_words() {
    assert_eq!(page::readable("a{su}"), "uint32 by string");
    assert_eq!(page::readable("a(usu)"), "list of (uint32, string, uint32)");
    assert_eq!(page::readable("aay"), "list of bytes");
    assert_eq!(page::readable("a(uss)"), "list of [ItemError](README.md#itemerror)");
}

/// A service on a bus that programs find like the system's; one for each line, which so finds
/// nothing but what the lines before it made.
struct Stage {
    bus: PrivateBus,
    _service: support::Service,
}

impl Stage {
    fn new() -> Self {
        let bus = PrivateBus::start();
        let service = bus.serve(NO_FIB);
        Self { bus, _service: service }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        command
    }

    /// Runs a line after those before it, as they stand on the page, and gives what it prints.
    fn run(&self, lines: &Lines, line: &str) -> String {
        let script = lines.with_before(line);
        let (succeeds, answer) = self.try_to_run(lines.language, &script);
        assert!(
            succeeds,
            "these lines of {}/{}.toml do not run:\n{script}\n{answer}",
            lines::FOLDER,
            lines.name,
        );
        answer
    }

    /// Whether a script runs, and what it prints, or else what it complains of.
    fn try_to_run(&self, language: Language, script: &str) -> (bool, String) {
        let interpreter = match language {
            Language::Shell => &["sh", "-euc"][..],
            Language::Python => &[PYTHON, "-c"],
        };
        let mut command = self.command("timeout");
        let output = command.arg("30").args(interpreter).arg(script).output().unwrap();
        let succeeds = output.status.success();
        let said = if succeeds { output.stdout } else { output.stderr };
        (succeeds, String::from_utf8_lossy(&said).into_owned())
    }
}

/// The names in `#[interface(name = "org.rtmd1.Table", ...)]`.
fn interfaces_in_the_source() -> Vec<String> {
    let mut names = Vec::new();
    for file in files_in("src/bus", ".rs") {
        let source = fs::read_to_string(&file).unwrap();
        let after = source.split("name = \"org.rtmd1.").skip(1);
        names.extend(
            after.filter_map(|rest| Some(format!("org.rtmd1.{}", rest.split_once('"')?.0))),
        );
    }
    assert!(!names.is_empty(), "src/bus names no interface");
    names
}

/// The files of a folder with this ending.
fn files_in(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy()));
    names.filter(|name| name.ends_with(ending)).collect()
}

fn tools_found() -> bool {
    found("busctl") && found_in_python("dbus")
}

/// Whether Python has the module of this name, which Debian has in a package of the same.
fn found_in_python(module: &str) -> bool {
    let import = format!("import {module}");
    let python = Command::new(PYTHON).args(["-c", &import]).stderr(Stdio::null()).status();
    python.is_ok_and(|status| status.success()) || found(&format!("python3-{module}"))
}
