//! What the service says about itself: the introspection XML, read for one interface.
//!
//! Reads what zbus writes, which is a narrow XML: elements, quoted attributes, comments, no text.

/// An interface with its members in the order of the XML.
#[derive(Debug, Default)]
pub(crate) struct Interface {
    /// The element as the service wrote it.
    pub(crate) xml: String,
    pub(crate) methods: Vec<Member>,
    pub(crate) signals: Vec<Member>,
    pub(crate) properties: Vec<Property>,
}

/// A method or a signal.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Paragraphs, each in one line.
    pub(crate) words: Vec<String>,
    pub(crate) takes: Vec<Argument>,
    pub(crate) returns: Vec<Argument>,
}

#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) signature: String,
}

#[derive(Debug, Default)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) signature: String,
    pub(crate) writable: bool,
    /// The annotation `EmitsChangedSignal`: "true", "invalidates", "const" or "false".
    pub(crate) announces: String,
}

impl Interface {
    /// The interface of this name in the answer of an object.
    pub(crate) fn read(name: &str, answer: &str) -> Option<Self> {
        let begin = answer.find(&format!("  <interface name=\"{name}\">"))?;
        let end = begin + answer[begin..].find("</interface>\n")? + "</interface>\n".len();
        let xml = &answer[begin..end];
        let mut interface = Self { xml: xml.to_owned(), ..Self::default() };
        let mut words = Vec::new();
        // A signal's arguments have no direction.
        let mut in_signal = false;
        let mut rest = xml;
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            let comment = rest.strip_prefix("<!--").and_then(|rest| rest.split_once("-->"));
            if let Some((text, following)) = comment {
                assert!(!text.contains("--"), "no XML comment may have two dashes:{text}");
                words = paragraphs(text);
                rest = following;
                continue;
            }
            let (tag, following) = rest.split_once('>')?;
            rest = following;
            let name = || attribute(tag, "name").unwrap_or_default();
            let signature = || attribute(tag, "type").unwrap_or_default();
            match tag.split([' ', '/']).next() {
                Some(kind @ ("<method" | "<signal")) => {
                    in_signal = kind == "<signal";
                    let words = std::mem::take(&mut words);
                    let member = Member { name: name(), words, ..Member::default() };
                    interface.members(in_signal).push(member);
                }
                Some("<arg") => {
                    let member = interface.members(in_signal).last_mut()?;
                    let argument = Argument { name: name(), signature: signature() };
                    match attribute(tag, "direction").as_deref() {
                        Some("in") => member.takes.push(argument),
                        _ => member.returns.push(argument),
                    }
                }
                Some("<property") => interface.properties.push(Property {
                    name: name(),
                    words: std::mem::take(&mut words),
                    signature: signature(),
                    writable: attribute(tag, "access")?.contains("write"),
                    announces: "true".to_owned(),
                }),
                Some("<annotation") if name().ends_with(".EmitsChangedSignal") => {
                    interface.properties.last_mut()?.announces = attribute(tag, "value")?;
                }
                _ => {}
            }
        }
        Some(interface)
    }

    /// A document of this interface alone.
    pub(crate) fn document(&self) -> String {
        format!(
            "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n\
             <node>\n{}</node>\n",
            self.xml
        )
    }

    fn members(&mut self, signals: bool) -> &mut Vec<Member> {
        if signals { &mut self.signals } else { &mut self.methods }
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// The paragraphs of a comment, each in one line.
fn paragraphs(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let joined = lines.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    joined.filter(|paragraph| !paragraph.is_empty()).collect()
}
