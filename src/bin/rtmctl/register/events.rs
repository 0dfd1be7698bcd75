//! What `register` tells: sentences for people, JSON objects for programs, a bar while it takes long.

use std::{
    io,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::{
    context::Problem,
    output::{ERROR, Output, printable},
};

/// Tells what happens.
pub(super) struct Events {
    form: Form,
    started: Instant,
    /// How long the load took, once it is over.
    loading: Duration,
    bar: Option<ProgressBar>,
    /// What the bar says: drawing it anew for each line would take longer than the line.
    shown: u64,
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
        Self { form, started: Instant::now(), loading: Duration::ZERO, bar: None, shown: 0 }
    }

    /// The first line is there: time runs from here.
    pub(super) fn start(&mut self) {
        self.started = Instant::now();
    }

    /// When the first line was there.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// A table took the registration.
    pub(super) fn registered(
        &mut self,
        out: &mut Output,
        table: &str,
        entity: u64,
        path: &str,
    ) -> Result<(), Problem> {
        let event =
            json!({ "event": "registered", "table": table, "entity": entity, "path": path });
        self.tell(out, event, || format!("registered in table {table} as entity {entity}"))
    }

    /// A registration of the user's was there already.
    pub(super) fn resumed(
        &mut self,
        out: &mut Output,
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
        self.tell(out, event, sentence)
    }

    /// A line was wrong, or the service refused it.
    pub(super) fn refused(
        &mut self,
        out: &mut Output,
        line: u64,
        why: &str,
    ) -> Result<(), Problem> {
        match self.form {
            Form::Programs => {
                out.json(&json!({ "event": "refused", "line": line, "text": why }))?;
                out.flush()?;
            }
            Form::People => {
                let why = printable(why);
                let tell = || anstream::eprintln!("{ERROR}line {line}:{ERROR:#} {why}");
                self.bar.as_ref().map_or_else(tell, |bar| bar.suspend(tell));
            }
        }
        Ok(())
    }

    /// So much of the input was taken.
    pub(super) fn progress(&mut self, taken: u64, size: Option<u64>, totals: Totals) {
        let unchanged = self.shown == totals.offered;
        if self.form == Form::Programs || unchanged || self.started.elapsed() < LONG {
            return;
        }
        self.shown = totals.offered;
        let bar = self.bar.get_or_insert_with(|| bar(size));
        bar.set_position(if size.is_some() { taken } else { totals.offered });
        bar.set_message(format!("{} routes", totals.offered));
    }

    /// The input is at its end and all of it is answered.
    pub(super) fn loaded(&mut self, out: &mut Output, totals: Totals) -> Result<(), Problem> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.loading = self.started.elapsed();
        if self.form == Form::Programs {
            out.json(&json!({
                "event": "loaded",
                "offered": totals.offered,
                "withdrawn": totals.withdrawn,
                "refused": totals.refused,
                "seconds": self.loading.as_secs_f64(),
            }))?;
            out.flush()?;
        }
        Ok(())
    }

    /// The kernel followed, as far as it would.
    pub(super) fn in_step(
        &self,
        out: &mut Output,
        totals: Totals,
        kernel: InStep,
    ) -> Result<(), Problem> {
        let event = json!({
            "event": "in-step",
            "seconds": kernel.elapsed.as_secs_f64(),
            "pending": kernel.pending,
            "failed": kernel.failed,
        });
        self.tell(out, event, || summary(totals, self.loading, kernel))
    }

    /// The service is back, and has all that was offered.
    pub(super) fn returned(&mut self, out: &mut Output) -> Result<(), Problem> {
        let event = json!({ "event": "returned" });
        self.tell(out, event, || "the service was started again, and has the routes".to_owned())
    }

    /// The service is gone, and the registration with it.
    pub(super) fn lost(&self, out: &mut Output) -> Result<(), Problem> {
        let text =
            "the service went away, and the registration with it; start again when it is back";
        match self.form {
            Form::Programs => {
                out.json(&json!({ "event": "lost", "text": text }))?;
                out.flush()?;
            }
            Form::People => anstream::eprintln!("{ERROR}lost:{ERROR:#} {text}"),
        }
        Ok(())
    }

    fn tell(
        &self,
        out: &mut Output,
        event: serde_json::Value,
        sentence: impl Fn() -> String,
    ) -> Result<(), Problem> {
        let mut tell = || {
            match self.form {
                Form::Programs => out.json(&event)?,
                Form::People => out.line(format_args!("{}", sentence()))?,
            }
            // Whoever reads this wants it now: the command may stay for days.
            out.flush()
        };
        let done: io::Result<()> = match &self.bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        };
        Ok(done?)
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
