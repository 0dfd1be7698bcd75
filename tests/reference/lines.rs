//! The hand-kept part of the reference: what introspection cannot say, and the lines to try.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde::Deserialize;

use super::introspection::{Argument, Interface, Member};

/// The folder with one file for each interface.
pub(crate) const FOLDER: &str = "tests/reference";

/// A file of it: `Table.toml` is about `org.rtmd1.Table`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    #[serde(skip)]
    pub(crate) name: String,
    /// What the interface is for.
    pub(crate) about: String,
    /// Who may call it.
    pub(crate) callers: String,
    /// Where its objects are, and how many.
    pub(crate) path: String,
    pub(crate) language: Language,
    /// The object as lines name it: a path or a variable.
    pub(crate) object: String,
    /// What sets the variables of all other lines.
    #[serde(default)]
    pub(crate) before: String,
    /// What takes away again what `before`, and what the lines after it, made and left.
    #[serde(default)]
    pub(crate) after: String,
    /// Arguments of a call, by method.
    #[serde(default)]
    methods: BTreeMap<String, String>,
    /// The object that a call is for, where it is another than the others', by method.
    #[serde(default)]
    objects: BTreeMap<String, String>,
    /// What causes a signal, by signal.
    #[serde(default)]
    signals: BTreeMap<String, String>,
    /// Why the service that lines are tried with refuses a call, by method.
    #[serde(default)]
    refused: BTreeMap<String, String>,
}

/// What lines are written in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    /// Each line a program: objects that outlive a connection.
    Shell,
    /// One interpreter, and so one connection, for all: objects that are private to it.
    Python,
}

impl Lines {
    /// All files, by name.
    pub(crate) fn read_all() -> Vec<Self> {
        let entries = fs::read_dir(FOLDER).expect("the folder of the hand-kept lines");
        let paths = entries.map(|entry| entry.expect("a readable folder").path());
        let files = paths.filter(|path| path.extension().is_some_and(|it| it == "toml"));
        let mut all: Vec<Self> = files.map(|path| Self::read(&path)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a readable file");
        let mut lines: Self =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        lines.name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        lines
    }

    /// The interface's name on the bus.
    pub(crate) fn interface(&self) -> String {
        format!("org.rtmd1.{}", self.name)
    }

    /// Prints the introspection of the object.
    pub(crate) fn introspect(&self) -> String {
        let object = &self.object;
        match self.language {
            Language::Shell => format!("busctl introspect --xml-interface org.rtmd1 {object}"),
            Language::Python => format!(
                "print({object}.Introspect(dbus_interface=\"org.freedesktop.DBus.Introspectable\"))"
            ),
        }
    }

    /// A line after those that set its variables.
    pub(crate) fn with_before(&self, line: &str) -> String {
        format!("{}\n{line}\n", self.before.trim())
    }

    /// The line that calls a method.
    pub(crate) fn call(&self, method: &Member) -> Option<String> {
        let (name, arguments) = (&method.name, self.methods.get(&method.name)?);
        let object = self.objects.get(name).unwrap_or(&self.object);
        if self.language == Language::Python {
            return Some(format!("print({object}.{name}({arguments}))"));
        }
        let mut line = format!("busctl call org.rtmd1 {object} {} {name}", self.interface());
        if !method.takes.is_empty() {
            let signature: String = method.takes.iter().map(|it| it.signature.as_str()).collect();
            let plain = signature.chars().all(char::is_alphanumeric);
            let quote = if plain { "" } else { "'" };
            let given = format!("{quote}{signature}{quote} {arguments}");
            let wide = line.len() + given.len() > 100;
            line += if wide { " \\\n    " } else { " " };
            line += given.trim_end();
        }
        Some(line)
    }

    /// Why the service that lines are tried with refuses this method, if it does.
    pub(crate) fn refusal(&self, method: &Member) -> Option<&str> {
        self.refused.get(&method.name).map(String::as_str)
    }

    /// The line that shows a signal when it comes.
    pub(crate) fn watch(&self, signal: &Member) -> String {
        format!(
            "busctl monitor --match \"type='signal',interface='{}',member='{}'\"",
            self.interface(),
            signal.name
        )
    }

    /// The line that causes a signal.
    pub(crate) fn cause(&self, signal: &Member) -> Option<&str> {
        self.signals.get(&signal.name).map(String::as_str)
    }

    /// The line that reads all properties, where one line can.
    pub(crate) fn properties(&self, interface: &Interface) -> Option<String> {
        if interface.properties.is_empty() || self.language == Language::Python {
            return None;
        }
        let mut line =
            format!("busctl get-property org.rtmd1 {} {} \\\n   ", self.object, self.interface());
        for property in &interface.properties {
            write!(line, " {}", property.name).expect("strings take everything");
        }
        Some(line)
    }

    /// What is missing here, and what is left over, as sentences that say how to mend it.
    pub(crate) fn complaints(&self, interface: &Interface) -> Vec<String> {
        let kinds = [
            ("methods", &self.methods, &interface.methods),
            ("signals", &self.signals, &interface.signals),
        ];
        let mut complaints = Vec::new();
        for (section, lines, members) in kinds {
            let file = format!("{FOLDER}/{}.toml", self.name);
            for member in members.iter().filter(|member| !lines.contains_key(&member.name)) {
                let (line, what) = match section {
                    "methods" => (self.template(member), "its arguments without their signature"),
                    _ => ("...".to_owned(), "a line that makes the service send it"),
                };
                complaints.push(format!(
                    "{}.{} has no line. Add to {file}, below [{section}], {what}:\n    {} = '{line}'\n  \
                     It runs after the lines of `before` there; then `make reference`.",
                    self.interface(),
                    member.name,
                    member.name
                ));
            }
            for name in lines.keys().filter(|name| !members.iter().any(|it| it.name == **name)) {
                complaints.push(format!(
                    "{file} has `{name}` below [{section}], and the service has no {}.{name}. \
                     Delete that line; then `make reference`.",
                    self.interface()
                ));
            }
        }
        complaints
    }

    /// Where each argument goes.
    fn template(&self, method: &Member) -> String {
        let place = |it: &Argument| format!("<{} {}>", it.signature, it.name);
        let places: Vec<String> = method.takes.iter().map(place).collect();
        places.join(if self.language == Language::Python { ", " } else { " " })
    }
}
