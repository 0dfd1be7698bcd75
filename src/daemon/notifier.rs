//! What the service manager is told, by a thread of its own: sending blocks while the manager does
//! not read, and that must not hold up the service.
//!
//! A status can get lost, the next one is as good, and so can a sign of life. That a reload is over
//! must not: systemd would wait for it (`systemctl reload`) until it gives up.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

/// Notices that wait; a status or a sign of life beyond them is dropped.
const QUEUE: usize = 8;

/// Time between two statuses: a second, less what a timer of a second may be early.
const STATUS_PAUSE: Duration = Duration::from_millis(900);

/// How long the last notices may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// The way to the service manager; without one nothing is told.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    way: Option<Way>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Way {
    notices: Sender<Notice>,
    waiting: Arc<AtomicUsize>,
}

/// What the manager is told again and again.
#[derive(Debug, Default)]
struct Known {
    is_ready: bool,
    status: String,
    /// The status that was told last, and when.
    told: Option<(String, Instant)>,
    /// Why the configuration could not be read when that was tried last.
    fault: Option<String>,
}

#[derive(Debug)]
enum Notice {
    Ready(String),
    Reloading,
    Stopping,
    Alive,
    Status(String),
    Last(SyncSender<()>),
}

impl Notifier {
    pub(super) fn start() -> Self {
        let known = Mutex::default();
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { way: None, known };
        }
        let (notices, queue) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let run = move || {
            for notice in queue {
                left.fetch_sub(1, Ordering::Relaxed);
                tell(&notice);
            }
        };
        let way = match thread::Builder::new().name("rtmd-notifier".to_owned()).spawn(run) {
            Ok(_) => Some(Way { notices, waiting }),
            Err(error) => {
                tracing::warn!(%error, "the service manager will not be told anything");
                None
            }
        };
        Self { way, known }
    }

    /// The service is up.
    pub(super) fn ready(&self) {
        let status = self.with(|known| {
            known.is_ready = true;
            known.line()
        });
        self.send(Notice::Ready(status));
    }

    /// A line for `systemctl status`. Told if it is a new one and the one before is a second old; so who
    /// has the last word says it again.
    pub(super) fn status(&self, text: String) {
        let line = self.with(|known| {
            known.status = text;
            known.news(Instant::now())
        });
        if let Some(line) = line {
            self.send(Notice::Status(line));
        }
    }

    /// How long the manager waits for a sign of life before it ends the service; `None` if it never does.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.way.as_ref().and_then(|_| sd_notify::watchdog_enabled())
    }

    /// The service does its work.
    pub(super) fn alive(&self) {
        self.send(Notice::Alive);
    }

    /// The configuration is about to be read again. [`Self::reloaded`] has to follow.
    pub(super) fn reloading(&self) {
        // Whoever is still starting has not been ready, which is what the end of this says.
        if self.with(|known| known.is_ready) {
            self.send(Notice::Reloading);
        }
    }

    /// It was read, or not.
    pub(super) fn reloaded(&self, fault: Option<String>) {
        let (is_ready, line) = self.with(|known| {
            known.fault = fault;
            (known.is_ready, known.line())
        });
        self.send(if is_ready { Notice::Ready(line) } else { Notice::Status(line) });
    }

    /// The service goes down.
    pub(super) fn stopping(&self) {
        // What it does from here on is news at once.
        self.with(|known| known.told = None);
        self.send(Notice::Stopping);
    }

    /// Waits a moment until all was told.
    pub(super) fn finish(&self) {
        let (last, told) = sync_channel(1);
        self.send(Notice::Last(last));
        let _ = told.recv_timeout(FAREWELL); // nobody reads
    }

    fn with<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn send(&self, notice: Notice) {
        let Some(Way { notices, waiting }) = &self.way else { return };
        if matches!(notice, Notice::Status(_) | Notice::Alive)
            && waiting.load(Ordering::Relaxed) >= QUEUE
        {
            return;
        }
        waiting.fetch_add(1, Ordering::Relaxed);
        let _ = notices.send(notice); // the thread ends after this
    }
}

impl Known {
    /// What is to be told, if it is not what was told last or that was just now.
    fn news(&mut self, now: Instant) -> Option<String> {
        let line = self.line();
        let is_idle = |(told, at): &(String, Instant)| *told == line || now - *at < STATUS_PAUSE;
        if self.told.as_ref().is_some_and(is_idle) {
            return None;
        }
        self.told = Some((line.clone(), now));
        Some(line)
    }

    /// One line: another one would be another notice.
    fn line(&self) -> String {
        let Self { status, fault, .. } = self;
        let line = match fault {
            Some(fault) => format!("{status}; the configuration was not read again: {fault}"),
            None => status.clone(),
        };
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn tell(notice: &Notice) {
    let told = match notice {
        Notice::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
        }
        // Since systemd 253 it goes by the time whether this answers its signal.
        Notice::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Notice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Notice::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
        Notice::Last(told) => {
            let _ = told.try_send(()); // nobody waits any more
            Ok(())
        }
    };
    if let Err(error) = told {
        tracing::debug!(%error, ?notice, "the service manager was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_whatever_is_wrong_with_the_configuration() {
        let fault = Some("line 3:\n  |\nREADY=1\n".to_owned());
        let known = Known { status: "7 routes".to_owned(), fault, ..Known::default() };
        assert_eq!(
            known.line(),
            "7 routes; the configuration was not read again: line 3: | READY=1"
        );
    }

    #[test]
    fn a_status_is_told_once_and_a_new_one_when_a_second_is_over() {
        let mut known = Known { status: "7 routes".to_owned(), ..Known::default() };
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(known.news(start), Some("7 routes".to_owned()));
        assert_eq!(known.news(start + 2 * second), None, "it is the same");
        known.status = "8 routes".to_owned();
        assert_eq!(known.news(start + second / 2), None, "too soon");
        assert_eq!(known.news(start + second), Some("8 routes".to_owned()));
    }

    #[test]
    fn who_does_not_read_misses_signs_of_life_and_nothing_else() {
        let (notices, queue) = channel();
        let way = Some(Way { notices, waiting: Arc::default() });
        let notifier = Notifier { way, known: Mutex::default() };
        notifier.reloading();
        notifier.reloaded(None);
        notifier.ready();
        for _ in 0..100 {
            notifier.alive();
            notifier.reloading();
            notifier.reloaded(None);
        }
        let told: Vec<Notice> = queue.try_iter().collect();
        let count = |is: fn(&Notice) -> bool| told.iter().filter(|it| is(it)).count();
        assert_eq!(count(|it| matches!(it, Notice::Reloading)), 100);
        assert_eq!(count(|it| matches!(it, Notice::Ready(_))), 101);
        assert!(count(|it| matches!(it, Notice::Alive)) <= QUEUE);
        assert!(matches!(told[0], Notice::Status(_)), "it was not ready yet: {told:?}");
    }
}
