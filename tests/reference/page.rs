//! A page of the reference: one interface in Markdown.

use std::fmt::Write;

use rtmd::bus::wire::{
    BestChange, DestinationInfo, EntityInfo, ItemError, MethodOutput, NextHopInfo, RouteInfo,
    RouteItem,
};
use zbus::wire::Type;

use super::{
    introspection::{Argument, Interface, Member, Property},
    lines::{Language, Lines},
};

/// The file with what all pages share.
pub(crate) const INDEX: &str = "README.md";
/// The interface of the client's side, whose page and XML are kept by hand.
pub(crate) const CALLBACK: &str = "org.rtmd1.Callback";

/// The structures that the index explains: name and signature.
pub(crate) fn structures() -> [(&'static str, String); 8] {
    [
        ("EntityInfo", EntityInfo::SIGNATURE.to_string()),
        ("DestinationInfo", DestinationInfo::SIGNATURE.to_string()),
        ("RouteInfo", RouteInfo::SIGNATURE.to_string()),
        ("NextHopInfo", NextHopInfo::SIGNATURE.to_string()),
        ("RouteItem", RouteItem::SIGNATURE.to_string()),
        ("ItemError", ItemError::SIGNATURE.to_string()),
        ("BestChange", BestChange::SIGNATURE.to_string()),
        ("MethodOutput", MethodOutput::SIGNATURE.to_string()),
    ]
}

/// The whole page.
pub(crate) fn page(lines: &Lines, interface: &Interface) -> String {
    let mut page = String::new();
    write_page(&mut page, lines, interface).expect("strings take everything");
    page
}

fn write_page(page: &mut String, lines: &Lines, interface: &Interface) -> std::fmt::Result {
    writeln!(page, "# {}\n", lines.interface())?;
    writeln!(page, "<!-- Generated from the service by `make reference`. -->\n")?;
    writeln!(page, "{}\n", lines.about.trim())?;
    writeln!(page, "**Path:** {}\n\n**Who may call:** {}\n", lines.path, lines.callers)?;
    writeln!(page, "Values, numbers and errors are explained in the [index]({INDEX}).\n")?;
    if !lines.before.is_empty() {
        writeln!(page, "{}\n", introduction(lines.language))?;
        code(page, lines.language, lines.before.trim())?;
    }
    if !interface.methods.is_empty() {
        writeln!(page, "## Methods\n")?;
    }
    for method in &interface.methods {
        write_method(page, lines, method)?;
    }
    if !interface.signals.is_empty() {
        writeln!(page, "## Signals\n")?;
    }
    for signal in &interface.signals {
        writeln!(page, "### {}\n", signal.name)?;
        writeln!(page, "`{}({})`\n", signal.name, list(&signal.returns))?;
        write_words(page, &signal.words)?;
        arguments(page, &signal.returns, "argument")?;
        writeln!(page, "To watch it, as root:\n")?;
        code(page, Language::Shell, &lines.watch(signal))?;
    }
    write_properties(page, lines, interface)?;
    if !lines.after.is_empty() {
        writeln!(page, "## Clean up\n\nWhat the lines above made stays until it is taken back:\n")?;
        code(page, lines.language, lines.after.trim())?;
    }
    // The last line has one newline.
    page.truncate(page.trim_end().len());
    writeln!(page)
}

fn introduction(language: Language) -> &'static str {
    match language {
        Language::Shell => {
            "The lines below can be pasted, each by itself, after these that set their variables:"
        }
        Language::Python => {
            "Such an object is private to the connection that made it and ends with it. Each `busctl` \
             is a connection of its own, so no `busctl call` can use an object that an earlier one \
             made; an interpreter keeps its connection. The lines below go into one `python3` (with \
             Debian's `python3-dbus`), each by itself after these, and end with it:"
        }
    }
}

fn write_method(page: &mut String, lines: &Lines, method: &Member) -> std::fmt::Result {
    writeln!(page, "### {}\n", method.name)?;
    write!(page, "`{}({})", method.name, list(&method.takes))?;
    match method.returns.as_slice() {
        [] => writeln!(page, "`\n")?,
        returns => writeln!(page, " → ({})`\n", list(returns))?,
    }
    write_words(page, &method.words)?;
    arguments(page, &method.takes, "argument")?;
    arguments(page, &method.returns, "result")?;
    let errors = errors(&method.words);
    if !errors.is_empty() {
        let link = |name: &&str| format!("[{name}]({INDEX}#errors)");
        let links: Vec<String> = errors.iter().map(link).collect();
        writeln!(page, "Errors: {}.\n", links.join(", "))?;
    }
    lines.call(method).map_or(Ok(()), |line| code(page, lines.language, &line))
}

fn write_properties(page: &mut String, lines: &Lines, interface: &Interface) -> std::fmt::Result {
    if interface.properties.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Properties\n")?;
    if let Some(line) = lines.properties(interface) {
        code(page, lines.language, &line)?;
    }
    writeln!(page, "| property | type | meaning | `PropertiesChanged` |\n|---|---|---|---|")?;
    for property in &interface.properties {
        let Property { name, signature, words, .. } = property;
        let announces = match property.announces.as_str() {
            "const" => "never changes",
            "false" => "changes silently",
            "invalidates" => "says that it changed",
            _ => "says the new value",
        };
        let writable = if property.writable { ", writable" } else { "" };
        let (kind, words) = (readable(signature), escaped(&words.join(" ")));
        writeln!(page, "| `{name}` | `{signature}` {kind}{writable} | {words} | {announces} |")?;
    }
    writeln!(page)
}

/// The documentation without its list of errors, which stands by itself.
fn write_words(page: &mut String, words: &[String]) -> std::fmt::Result {
    for paragraph in words {
        let shown = match errors_in(paragraph) {
            Some((before, _, after)) => format!("{before} {after}"),
            None => paragraph.clone(),
        };
        if !shown.trim().is_empty() {
            writeln!(page, "{}\n", escaped(shown.trim()))?;
        }
    }
    Ok(())
}

/// The errors that a method's documentation names, in its order.
pub(crate) fn errors(words: &[String]) -> Vec<&str> {
    words.iter().filter_map(|it| errors_in(it)).flat_map(|it| it.1.split(", ")).collect()
}

/// What is before, in and after the sentence "Errors: AccessDenied, NotFound."
fn errors_in(paragraph: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = paragraph.split_once("Errors: ")?;
    let (names, after) = rest.split_once('.')?;
    Some((before.trim_end(), names, after.trim_start()))
}

fn arguments(page: &mut String, arguments: &[Argument], what: &str) -> std::fmt::Result {
    if arguments.is_empty() {
        return Ok(());
    }
    writeln!(page, "| {what} | signature | type |\n|---|---|---|")?;
    for Argument { name, signature } in arguments {
        writeln!(page, "| `{name}` | `{signature}` | {} |", readable(signature))?;
    }
    writeln!(page)
}

fn list(arguments: &[Argument]) -> String {
    let shown = arguments.iter().map(|it| format!("{} {}", it.signature, it.name));
    shown.collect::<Vec<_>>().join(", ")
}

/// A signature in words; what the index explains is a link there.
pub(crate) fn readable(signature: &str) -> String {
    let mut rest = signature;
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (one, following) = rest.split_at(complete(rest));
        words.push(readable_type(one));
        rest = following;
    }
    words.join(", ")
}

fn readable_type(signature: &str) -> String {
    if let Some((name, _)) = structures().iter().find(|(_, known)| known == signature) {
        return format!("[{name}]({INDEX}#{})", name.to_lowercase());
    }
    match signature {
        "b" => "boolean".to_owned(),
        "u" => "uint32".to_owned(),
        "t" => "uint64".to_owned(),
        "s" => "string".to_owned(),
        "o" => "object path".to_owned(),
        "h" => "file descriptor".to_owned(),
        "ay" => "bytes".to_owned(),
        "a{sv}" => "values by name".to_owned(),
        _ => {
            let inside = |from: usize| &signature[from..signature.len() - 1];
            match signature.as_bytes() {
                [b'a', b'{', key, ..] => {
                    format!(
                        "{} by {}",
                        readable(inside(3)),
                        readable(&char::from(*key).to_string())
                    )
                }
                [b'a', ..] => format!("list of {}", readable(&signature[1..])),
                [b'(', ..] => format!("({})", readable(inside(1))),
                _ => panic!("page.rs has no word for the type {signature}"),
            }
        }
    }
}

/// How long the first complete type of a signature is.
fn complete(signature: &str) -> usize {
    let mut depth = 0;
    for (at, character) in signature.char_indices() {
        match character {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            'a' => continue,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    signature.len()
}

fn code(page: &mut String, language: Language, text: &str) -> std::fmt::Result {
    let name = match language {
        Language::Shell => "sh",
        Language::Python => "python",
    };
    writeln!(page, "```{name}\n{text}\n```\n")
}

/// Text that Markdown leaves as it is, in a table too.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('*', "\\*").replace('|', "\\|")
}
