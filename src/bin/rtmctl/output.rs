//! How things are printed: columns, JSON lines, colours where a terminal shows them.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufWriter, StdoutLock, Write},
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

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
        writeln!(self.0, "{object}")
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

    /// Prints everything, each column as wide as its widest cell.
    pub(crate) fn print(&self, out: &mut Output) -> io::Result<()> {
        let width = |(index, (head, _)): (usize, &(&str, Align))| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells.map(|cell| cell.chars().count()).fold(head.len(), usize::max)
        };
        let widths: Vec<usize> = self.heads.iter().enumerate().map(width).collect();
        let heads = self.lay_out(&widths, self.heads.iter().map(|(head, _)| *head));
        out.line(format_args!("{HEAD}{heads}{HEAD:#}"))?;
        for row in &self.rows {
            let line = self.lay_out(&widths, row.iter().map(String::as_str));
            out.line(format_args!("{line}"))?;
        }
        Ok(())
    }

    fn lay_out<'c>(&self, widths: &[usize], cells: impl Iterator<Item = &'c str>) -> String {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.zip(widths).zip(&self.heads) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line += &match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Text that somebody else chose, harmless on a terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    } else {
        text.into()
    }
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
    }
}
