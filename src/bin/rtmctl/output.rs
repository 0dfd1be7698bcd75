//! How things are printed: columns, JSON lines, colours where a terminal shows them.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, StdoutLock, Write},
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What is wrong.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The best route.
pub(crate) const BEST: Style = AnsiColor::Green.on_default().bold();
/// The heads of columns.
pub(crate) const HEAD: Style = Style::new().bold();

/// Standard output.
///
/// Buffered, for a million routes; whoever prints something to be seen at once says `flush`.
pub(crate) struct Output(BufWriter<AutoStream<StdoutLock<'static>>>);

/// Rows that are few enough to be measured before they are printed.
pub(crate) struct Columns {
    heads: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// Where in its column a text stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Output {
    /// The process's standard output, without colours unless it is a terminal that wants them.
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, AutoStream::auto(io::stdout().lock())))
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.0, "{line}")
    }

    /// Prints a JSON object on a line of its own.
    pub(crate) fn json(&mut self, object: &serde_json::Value) -> io::Result<()> {
        writeln!(self.0, "{}", harmless(&object.to_string()))
    }

    /// Prints text as it is.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// Hands over what was printed so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Columns {
    /// No rows yet below these heads.
    pub(crate) fn new(heads: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self { heads: heads.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each head, harmless on a terminal whoever chose the text.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell).into_owned()).collect());
    }

    /// Prints everything.
    pub(crate) fn print(&self, out: &mut Output) -> io::Result<()> {
        let (heads, rows) = self.lines();
        out.line(format_args!("{HEAD}{heads}{HEAD:#}"))?;
        rows.iter().try_for_each(|row| out.line(format_args!("{row}")))
    }

    /// The line of the heads and those of the rows, each column as wide as its widest cell.
    pub(crate) fn lines(&self) -> (String, Vec<String>) {
        let widest = |(index, (head, _)): (usize, &(&str, Align))| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells.map(|cell| cell.width()).fold(head.width(), usize::max)
        };
        let widths: Vec<usize> = self.heads.iter().enumerate().map(widest).collect();
        let heads = self.lay_out(&widths, self.heads.iter().map(|(head, _)| *head));
        let row = |row: &Vec<String>| self.lay_out(&widths, row.iter().map(String::as_str));
        (heads, self.rows.iter().map(row).collect())
    }

    fn lay_out<'c>(&self, widths: &[usize], cells: impl Iterator<Item = &'c str>) -> String {
        let mut line = String::new();
        for (index, ((cell, width), (_, align))) in cells.zip(widths).zip(&self.heads).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            // By the cells of a terminal that it takes, which format! does not know.
            let blank = " ".repeat(width.saturating_sub(cell.width()));
            match align {
                Align::Left => line.extend([cell, &blank]),
                Align::Right => line.extend([blank.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Text that somebody else chose, harmless on a terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(steers) {
        text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text.into()
    }
}

/// JSON whose text cannot steer a terminal: what is left of control characters in it stands in a
/// string, where an escape says the same (RFC 8259, section 7).
fn harmless(json: &str) -> Cow<'_, str> {
    if !json.contains(steers) {
        return json.into();
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if steers(c) {
            // All of them are in the first plane. A String takes everything.
            let _ = fmt::Write::write_fmt(&mut safe, format_args!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

/// Whether a character is an order to the terminal, or to whoever lays out text: the control
/// characters, and what breaks lines or turns the direction of writing (Unicode UAX #9, section 2).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The beginning of a line, as much of it as goes into so many cells of a terminal.
pub(crate) fn cut(line: &str, width: usize) -> &str {
    let mut taken = 0;
    let end = line.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > width
    });
    end.map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let columns = Columns::new([("name", Align::Left), ("count", Align::Right)]);
        assert_eq!(columns.lay_out(&[6, 5], ["abc", "12"].into_iter()), "abc        12");
    }

    #[test]
    fn a_label_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(printable("a\u{9b}2J\u{202e}b\n"), "a\u{fffd}2J\u{fffd}b\u{fffd}");
        assert_eq!(printable("größer 東京"), "größer 東京");
    }

    #[test]
    fn json_says_the_same_without_steering_the_terminal() {
        let said = "\u{1b}[2J\u{7f}\u{9b}2J\u{202e}\n\\ü";
        let object = serde_json::json!({ said: [said] }).to_string();
        let safe = harmless(&object);
        assert!(!safe.contains(steers), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap()[said][0], said);
    }

    #[test]
    fn columns_count_the_cells_of_a_terminal() {
        let mut columns = Columns::new([("name", Align::Left), ("count", Align::Right)]);
        columns.row(["東京".to_owned(), "1".to_owned()]);
        columns.row(["".to_owned(), "22".to_owned()]);
        assert_eq!(columns.lines().1, ["東京      1", "         22"]);
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(
            [cut("abc", 2), cut("abc", 3), cut("東京", 3), cut("", 0)],
            ["ab", "abc", "東", ""]
        );
    }
}
