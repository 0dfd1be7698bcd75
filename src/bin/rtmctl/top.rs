//! `rtmctl top`: how the service is doing, on a screen of its own, again each second.
//!
//! All figures are asked for anew each time, and rates are what they differ by. The picture is made
//! of text first, as wide as it likes, and cut to the terminal when it is drawn.

mod figures;
mod picture;
mod screen;

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use rtmd::{bus::wire::SERVICE, client::Failure};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use zbus::fdo::DBusProxy;

use crate::context::{Context, Exit, Problem};
use figures::Figures;
use screen::Screen;

/// What `top` takes.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_pause)]
    interval: f64,
    /// End after so many looks
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u32>,
}

/// Shows figures until the user has seen enough.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<Exit, Problem> {
    let for_programs = context.scope.json;
    let has_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if !for_programs && !has_terminal {
        let why = "top needs a terminal; with --json it prints an object for each look instead";
        return Err(Problem::Local(why.to_owned()));
    }
    // Whatever is wrong is said before the screen is taken.
    let mut last: Option<(Instant, Figures)> = None;
    let mut current = Figures::gather(context).await?;
    let bus = DBusProxy::new(context.manager.inner().connection()).await?;
    let mut trouble: Option<String> = None;
    let mut screen = if for_programs { None } else { Some(Screen::take()?) };
    let mut keys = screen.is_some().then(EventStream::new);
    let mut ticks = interval(Duration::from_secs_f64(arguments.interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let no_signals = |error| Problem::Local(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let (mut looks, mut now) = (1, Instant::now());
    loop {
        if trouble.is_none() {
            let since = last.as_ref().map(|(then, figures)| (now.duration_since(*then), figures));
            current.rate(since);
        }
        match &mut screen {
            Some(screen) => screen.draw(&picture::lines(&current, trouble.as_deref()))?,
            None => {
                context.out.json(&current.json())?;
                context.out.flush()?;
            }
        }
        if arguments.count.is_some_and(|count| looks >= count) {
            return Ok(Exit::Done);
        }
        // A key or another size of the terminal draws the same figures again.
        let again = loop {
            tokio::select! {
                _ = ticks.tick() => break true,
                _ = interrupt.recv() => return Ok(Exit::Done),
                _ = terminate.recv() => return Ok(Exit::Done),
                _ = hangup.recv() => return Ok(Exit::Done),
                event = next(keys.as_mut()) => match event {
                    Some(Ok(event)) if is_end(&event) => return Ok(Exit::Done),
                    Some(Ok(Event::Resize(..))) => break false,
                    Some(Ok(_)) => {}
                    // The terminal is gone.
                    Some(Err(_)) | None => return Ok(Exit::Done),
                },
            }
        };
        if !again {
            continue;
        }
        looks += 1;
        let then = now;
        match look(context, &bus).await? {
            Ok(figures) => {
                now = Instant::now();
                let before = std::mem::replace(&mut current, figures);
                // What was counted before the service was away says nothing of a rate.
                last = trouble.take().is_none().then_some((then, before));
            }
            Err(why) if screen.is_some() => {
                trouble = Some(format!("rtmd is gone: {why}; waiting for it"));
            }
            Err(why) => return Err(Problem::Call(Failure::Unreachable(why))),
        }
    }
}

/// Looks again, at a service that is there: it is not started for that. Without one, says why; fails
/// where there is no bus any more.
async fn look(context: &Context, bus: &DBusProxy<'_>) -> Result<Result<Figures, String>, Problem> {
    if !bus.name_has_owner(SERVICE.try_into()?).await.map_err(zbus::Error::from)? {
        return Ok(Err("it was stopped".to_owned()));
    }
    match Figures::gather(context).await {
        Ok(figures) => Ok(Ok(figures)),
        Err(Problem::Call(Failure::Unreachable(why))) => Ok(Err(why)),
        Err(problem) => Err(problem),
    }
}

/// The next event of the terminal; never one where there is none.
async fn next(keys: Option<&mut EventStream>) -> Option<io::Result<Event>> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return false };
    let with_control = modifiers.contains(KeyModifiers::CONTROL);
    *kind != KeyEventKind::Release
        && match code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            // In raw mode these are keys like all others.
            KeyCode::Char('c' | 'd') => with_control,
            _ => false,
        }
}

fn parse_pause(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "not a number from 0.1 to 3600".to_owned())
}

/// The help on `top`.
pub(crate) const HELP: &str = "\
q, Escape or Ctrl-C ends it. \"/s\" is the change since the last look, by the second.

Examples:
  rtmctl top
  rtmctl top --interval 5 --instance 1
  rtmctl --json top -n 10";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_end_it_and_other_keys_do_not() {
        let key = |code, modifiers| is_end(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!is_end(&Event::Resize(80, 24)));
    }

    #[test]
    fn a_pause_is_bounded() {
        assert_eq!(parse_pause("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "4000", "soon"] {
            assert!(parse_pause(wrong).is_err(), "{wrong}");
        }
    }
}
