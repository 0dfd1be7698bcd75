//! What `register` tells: sentences for people, JSON objects for programs, a bar while it takes long.

use std::{
    cell::{Cell, RefCell},
    io,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::{
    context::Problem,
    output::{ERROR, Output, printable},
};

/// Tells what happens, to whom it happens to: the load, and the watch over the service beside it.
pub(super) struct Events {
    form: Form,
    out: RefCell<Output>,
    started: Cell<Instant>,
    /// How long the load took, once it is over.
    loading: Cell<Duration>,
    bar: RefCell<Option<ProgressBar>>,
    /// What the bar says: drawing it anew for each line would take longer than the line.
    shown: Cell<u64>,
}

/// What came of the lines so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Totals {
    /// Routes that the service took.
    pub(super) offered: u64,
    /// Routes that were taken back.
    pub(super) withdrawn: u64,
    /// Lines that were wrong, or that the service refused.
    pub(super) refused: u64,
}

/// Where the kernel stands after a load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct InStep {
    /// Since the first line.
    pub(super) elapsed: Duration,
    /// Destinations that it has not been told of.
    pub(super) pending: u64,
    /// Destinations that it refused.
    pub(super) failed: u64,
}

/// For whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    People,
    Programs,
}

impl Events {
    /// Nothing happened yet.
    pub(super) fn new(json: bool) -> Self {
        let form = if json { Form::Programs } else { Form::People };
        Self {
            form,
            out: RefCell::new(Output::new()),
            started: Cell::new(Instant::now()),
            loading: Cell::default(),
            bar: RefCell::default(),
            shown: Cell::default(),
        }
    }

    /// The first line is there: time runs from here.
    pub(super) fn start(&self) {
        self.started.set(Instant::now());
    }

    /// When the first line was there.
    pub(super) fn started(&self) -> Instant {
        self.started.get()
    }

    /// A table took the registration.
    pub(super) fn registered(&self, table: &str, entity: u64, path: &str) -> Result<(), Problem> {
        let event =
            json!({ "event": "registered", "table": table, "entity": entity, "path": path });
        self.tell(event, || format!("registered in table {table} as entity {entity}"))
    }

    /// A registration of the user's was there already.
    pub(super) fn resumed(
        &self,
        table: &str,
        entity: u64,
        path: &str,
        routes: usize,
    ) -> Result<(), Problem> {
        let event = json!({
            "event": "resumed", "table": table, "entity": entity, "path": path, "routes": routes
        });
        let sentence =
            || format!("going on with entity {entity} of table {table}, {routes} routes");
        self.tell(event, sentence)
    }

    /// A line was wrong, or the service refused it.
    pub(super) fn refused(&self, line: u64, why: &str) -> Result<(), Problem> {
        match self.form {
            Form::Programs => {
                self.tell_program(&json!({ "event": "refused", "line": line, "text": why }))?
            }
            Form::People => {
                let why = printable(why);
                let tell = || anstream::eprintln!("{ERROR}line {line}:{ERROR:#} {why}");
                self.bar.borrow().as_ref().map_or_else(tell, |bar| bar.suspend(tell));
            }
        }
        Ok(())
    }

    /// So much of the input was taken.
    pub(super) fn progress(&self, taken: u64, size: Option<u64>, totals: Totals) {
        let unchanged = self.shown.get() == totals.offered;
        if self.form == Form::Programs || unchanged || self.started().elapsed() < LONG {
            return;
        }
        self.shown.set(totals.offered);
        let mut shown = self.bar.borrow_mut();
        let bar = shown.get_or_insert_with(|| bar(size));
        bar.set_position(if size.is_some() { taken } else { totals.offered });
        bar.set_message(format!("{} routes", totals.offered));
    }

    /// The input is at its end and all of it is answered.
    pub(super) fn loaded(&self, totals: Totals) -> Result<(), Problem> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.loading.set(self.started().elapsed());
        if self.form == Form::Programs {
            self.tell_program(&json!({
                "event": "loaded",
                "offered": totals.offered,
                "withdrawn": totals.withdrawn,
                "refused": totals.refused,
                "seconds": self.loading.get().as_secs_f64(),
            }))?;
        }
        Ok(())
    }

    /// The kernel followed, as far as it would.
    pub(super) fn in_step(&self, totals: Totals, kernel: InStep) -> Result<(), Problem> {
        let event = json!({
            "event": "in-step",
            "seconds": kernel.elapsed.as_secs_f64(),
            "pending": kernel.pending,
            "failed": kernel.failed,
        });
        self.tell(event, || summary(totals, self.loading.get(), kernel))
    }

    /// The service is back, and has all that was offered.
    pub(super) fn returned(&self) -> Result<(), Problem> {
        let event = json!({ "event": "returned" });
        self.tell(event, || "the service was started again, and has the routes".to_owned())
    }

    /// The service is gone, and the registration with it.
    pub(super) fn lost(&self) -> Result<(), Problem> {
        let text =
            "the service went away, and the registration with it; start again when it is back";
        match self.form {
            Form::Programs => self.tell_program(&json!({ "event": "lost", "text": text }))?,
            Form::People => anstream::eprintln!("{ERROR}lost:{ERROR:#} {text}"),
        }
        Ok(())
    }

    fn tell(&self, event: serde_json::Value, sentence: impl Fn() -> String) -> Result<(), Problem> {
        let tell = || match self.form {
            Form::Programs => self.tell_program(&event),
            Form::People => {
                let mut out = self.out.borrow_mut();
                out.line(format_args!("{}", sentence()))?;
                out.flush()
            }
        };
        Ok(match &*self.bar.borrow() {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }?)
    }

    /// Whoever reads this wants it now: the command may stay for days.
    fn tell_program(&self, event: &serde_json::Value) -> io::Result<()> {
        let mut out = self.out.borrow_mut();
        out.json(event)?;
        out.flush()
    }
}

fn summary(totals: Totals, loading: Duration, kernel: InStep) -> String {
    let Totals { offered, withdrawn, refused } = totals;
    let withdrawn = if withdrawn > 0 { format!(", {withdrawn} withdrawn") } else { String::new() };
    let loading = loading.as_secs_f64();
    let elapsed = kernel.elapsed.as_secs_f64();
    let kernel = match (kernel.pending, kernel.failed) {
        (0, 0) => format!("the kernel is in step after {elapsed:.2} s"),
        (0, failed) => format!("the kernel is in step after {elapsed:.2} s, but refuses {failed}"),
        (pending, 0) => format!("the kernel is still behind by {pending} after {elapsed:.2} s"),
        (pending, failed) => {
            format!(
                "the kernel is still behind by {pending} after {elapsed:.2} s, and refuses {failed}"
            )
        }
    };
    format!("{offered} routes offered in {loading:.2} s{withdrawn}, {refused} refused; {kernel}")
}

fn bar(size: Option<u64>) -> ProgressBar {
    // Draws nothing unless standard error is a terminal.
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr_with_hz(8));
    let template = match size {
        Some(_) => "{bar:40} {percent:>3} %  {msg}  {elapsed}",
        None => "{spinner} {msg}  {per_sec}  {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// How long a load may take before it is worth a bar.
const LONG: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(totals: Totals, pending: u64, failed: u64) -> String {
        let kernel = InStep { elapsed: Duration::from_millis(1100), pending, failed };
        summary(totals, Duration::from_millis(930), kernel)
    }

    #[test]
    fn the_summary_says_what_was_offered_and_where_the_kernel_is() {
        let totals = Totals { offered: 200_000, ..Totals::default() };
        assert_eq!(
            told(totals, 0, 0),
            "200000 routes offered in 0.93 s, 0 refused; the kernel is in step after 1.10 s"
        );
        assert!(told(totals, 0, 3).ends_with("in step after 1.10 s, but refuses 3"));
        assert!(told(totals, 7, 0).ends_with("the kernel is still behind by 7 after 1.10 s"));
    }

    #[test]
    fn the_summary_counts_what_was_withdrawn_only_if_something_was() {
        let totals = Totals { offered: 3, withdrawn: 2, refused: 1 };
        assert!(
            told(totals, 0, 0).starts_with("3 routes offered in 0.93 s, 2 withdrawn, 1 refused;")
        );
    }
}
