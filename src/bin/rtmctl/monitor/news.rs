//! What `monitor` tells: a line with the time of day for people, an object a line for programs.

use std::io;

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, Zoned};
use rtmd::bus::wire::EntityInfo;
use serde_json::{Value, json};

use super::follower::Change;
use crate::{
    entities,
    output::{BEST, ERROR, Output, printable},
    route_view::owner_name,
};

/// Tells what happens.
pub(super) struct News {
    for_programs: bool,
}

impl News {
    pub(super) fn new(for_programs: bool) -> Self {
        Self { for_programs }
    }

    /// From here on changes of this table are told.
    pub(super) fn following(&self, out: &mut Output, table: &str) -> io::Result<()> {
        self.tell(out, "following", table, json!({}), DIM, "following".to_owned())
    }

    /// A destination changed.
    pub(super) fn changed(&self, out: &mut Output, table: &str, change: &Change) -> io::Result<()> {
        let prefix = printable(&change.prefix);
        if change.best.is_empty() {
            let event = if change.routes.is_empty() { "gone" } else { "no-best" };
            let why = if change.routes.is_empty() { "" } else { ": has routes, but no best one" };
            let object = json!({ "prefix": change.prefix });
            return self.tell(out, event, table, object, GONE, format!("- {prefix}{why}"));
        }
        for best in &change.best {
            let routes = change.routes.iter().filter(|(view, _)| best.views.0 >> **view & 1 == 1);
            let routes = routes.map(|(_, count)| *count).max().unwrap_or_default();
            let object = json!({
                "prefix": change.prefix,
                "changed": change.changed,
                "views": best.views.0,
                "routes": routes,
                "best": best.json,
            });
            let others = if routes > 1 { format!(", best of {routes}") } else { String::new() };
            let line = format!("> {prefix} {}{others}", best.words);
            self.tell(out, "best", table, object, BEST, line)?;
        }
        Ok(())
    }

    /// An entity registered.
    pub(super) fn came(&self, out: &mut Output, table: &str, of: &EntityInfo) -> io::Result<()> {
        let line = format!("entity {} registered: {}", of.id, owner_name(of));
        self.tell(out, "registered", table, entity(of), CAME, line)
    }

    /// An entity is gone.
    pub(super) fn went(&self, out: &mut Output, table: &str, of: &EntityInfo) -> io::Result<()> {
        let line = format!("entity {} is gone: {}", of.id, owner_name(of));
        self.tell(out, "deregistered", table, entity(of), GONE, line)
    }

    /// Some changes cannot be told.
    pub(super) fn missed(&self, out: &mut Output, table: &str) -> io::Result<()> {
        let line = "some changes are not told: look with rtmctl routes".to_owned();
        self.tell(out, "missed", table, json!({}), ERROR, line)
    }

    /// The service is gone.
    pub(super) fn away(&self, out: &mut Output) -> io::Result<()> {
        self.tell(
            out,
            "service-away",
            "",
            json!({}),
            ERROR,
            "rtmd is gone; waiting for it".to_owned(),
        )
    }

    /// The service is there again, with what it had or without.
    pub(super) fn back(&self, out: &mut Output, kept: bool) -> io::Result<()> {
        let how = if kept { "with all it had" } else { "and its clients have to offer all again" };
        let object = json!({ "kept": kept });
        self.tell(out, "service-back", "", object, CAME, format!("rtmd was started again, {how}"))
    }

    /// The bus is gone, and nothing more will be told.
    pub(super) fn lost(&self, out: &mut Output) -> io::Result<()> {
        self.tell(out, "lost", "", json!({}), ERROR, "the bus is gone; start again".to_owned())
    }

    fn tell(
        &self,
        out: &mut Output,
        event: &str,
        table: &str,
        mut object: Value,
        style: Style,
        line: String,
    ) -> io::Result<()> {
        if self.for_programs {
            object["time"] = Timestamp::now().to_string().into();
            object["event"] = event.into();
            if !table.is_empty() {
                object["table"] = table.into();
            }
            return out.json(&object);
        }
        let time = Zoned::now().strftime("%H:%M:%S%.3f").to_string();
        let table = if table.is_empty() { "-" } else { table };
        let line = printable(&line);
        out.line(format_args!("{DIM}{time}{DIM:#}  {table:8}  {style}{line}{style:#}"))
    }
}

fn entity(entity: &EntityInfo) -> Value {
    json!({ "entity": entities::json(entity) })
}

const DIM: Style = Style::new().dimmed();
const CAME: Style = AnsiColor::Cyan.on_default();
const GONE: Style = AnsiColor::Red.on_default();
