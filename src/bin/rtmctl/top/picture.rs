//! The figures as lines, before anything is cut.

use anstyle::Style;

use super::figures::Figures;
use crate::{
    output::{Align, Columns, ERROR, HEAD, printable},
    route_view::owner_name,
};

/// A line and how it looks.
pub(super) type Line = (String, Style);

/// What to show; `trouble` is why the figures are old.
pub(super) fn lines(figures: &Figures, trouble: Option<&str>) -> Vec<Line> {
    let plain = Style::new();
    let state = if figures.fib_state == "degraded" { ERROR } else { plain };
    let first = format!("rtmd {}, FIB {}; q quits", figures.version, figures.fib_state);
    let mut lines = vec![(printable(&first).into_owned(), state)];
    match trouble {
        Some(why) => lines.push((printable(why).into_owned(), ERROR)),
        None => lines.push((String::new(), plain)),
    }
    let mut tables = Columns::new([
        ("table", Align::Left),
        ("routes", Align::Right),
        ("/s", Align::Right),
        ("pending", Align::Right),
        ("failed", Align::Right),
        ("installed", Align::Right),
        ("/s", Align::Right),
        ("destinations", Align::Right),
        ("next hops", Align::Right),
    ]);
    for table in &figures.tables {
        tables.row([
            table.name.clone(),
            table.routes.to_string(),
            rate(table.routes_rate),
            table.pending.to_string(),
            table.failed.to_string(),
            table.installed.to_string(),
            rate(table.installed_rate),
            table.destinations.to_string(),
            table.next_hops.to_string(),
        ]);
    }
    append(&mut lines, &tables);
    // What the kernel refused should be seen from afar.
    for (table, (_, style)) in figures.tables.iter().zip(lines.iter_mut().skip(3)) {
        if table.failed > 0 {
            *style = ERROR;
        }
    }
    lines.push((String::new(), plain));
    let mut entities = Columns::new([
        ("id", Align::Right),
        ("table", Align::Left),
        ("owner", Align::Left),
        ("routes", Align::Right),
        ("/s", Align::Right),
        ("best", Align::Right),
        ("state", Align::Left),
        ("stale", Align::Right),
        ("next hops", Align::Right),
    ]);
    for entity in &figures.entities {
        let info = &entity.info;
        entities.row([
            info.id.to_string(),
            format!("{}/{}", info.instance, info.family),
            owner_name(info),
            entity.routes.to_string(),
            rate(entity.routes_rate),
            entity.best.to_string(),
            info.state.clone(),
            entity.stale.to_string(),
            entity.next_hops.to_string(),
        ]);
    }
    if figures.entities.is_empty() {
        lines.push(("nobody is registered".to_owned(), plain));
    } else {
        append(&mut lines, &entities);
    }
    if figures.more_entities > 0 {
        lines.push((format!("and {} entities more", figures.more_entities), plain));
    }
    lines
}

fn append(lines: &mut Vec<Line>, columns: &Columns) {
    let (head, rows) = columns.lines();
    lines.push((head, HEAD));
    lines.extend(rows.into_iter().map(|row| (row, Style::new())));
}

/// `+120`, `-3`, `+0.5`; nothing when nothing changes.
fn rate(rate: f64) -> String {
    match rate {
        rate if rate.abs() < 0.05 => String::new(),
        rate if rate.abs() < 10.0 => format!("{rate:+.1}"),
        rate => format!("{rate:+.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_sign_and_is_not_there_when_nothing_changes() {
        let shown = [0.0, 0.04, 0.5, -3.0, 120.4, -200_000.0].map(rate);
        assert_eq!(shown, ["", "", "+0.5", "-3.0", "+120", "-200000"]);
    }

    #[test]
    fn trouble_and_what_the_service_says_cannot_steer_the_terminal() {
        let figures = Figures { version: "\u{1b}[2J".into(), ..Figures::default() };
        let lines = lines(&figures, Some("gone\u{7}"));
        assert!(lines.iter().all(|(line, _)| !line.contains(char::is_control)), "{lines:?}");
    }
}
