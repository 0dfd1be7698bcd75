//! What the service manager is told, by a thread of its own: sending blocks while the manager does
//! not read, and that must not hold up the service.
//!
//! A status can get lost, the next one is as good. That a reload is over must not: systemd would wait
//! for it (`systemctl reload`) until it gives up.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use sd_notify::NotifyState;

/// Notices that wait; a status beyond them is dropped.
const QUEUE: usize = 8;

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
    /// Why the configuration could not be read when that was tried last.
    fault: Option<String>,
}

#[derive(Debug)]
enum Notice {
    Ready(String),
    Reloading,
    Stopping,
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

    /// A line for `systemctl status`.
    pub(super) fn status(&self, text: String) {
        let line = self.with(|known| {
            known.status = text;
            known.line()
        });
        self.send(Notice::Status(line));
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
        if matches!(notice, Notice::Status(_)) && waiting.load(Ordering::Relaxed) >= QUEUE {
            return;
        }
        waiting.fetch_add(1, Ordering::Relaxed);
        let _ = notices.send(notice); // the thread ends after this
    }
}

impl Known {
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
        let known = Known { is_ready: true, status: "7 routes".to_owned(), fault };
        assert_eq!(
            known.line(),
            "7 routes; the configuration was not read again: line 3: | READY=1"
        );
    }

    #[test]
    fn who_does_not_read_misses_statuses_and_nothing_else() {
        let (notices, queue) = channel();
        let way = Some(Way { notices, waiting: Arc::default() });
        let notifier = Notifier { way, known: Mutex::default() };
        notifier.reloading();
        notifier.reloaded(None);
        notifier.ready();
        for _ in 0..100 {
            notifier.status(String::new());
            notifier.reloading();
            notifier.reloaded(None);
        }
        let told: Vec<Notice> = queue.try_iter().collect();
        let count = |is: fn(&Notice) -> bool| told.iter().filter(|it| is(it)).count();
        assert_eq!(count(|it| matches!(it, Notice::Reloading)), 100);
        assert_eq!(count(|it| matches!(it, Notice::Ready(_))), 101);
        assert!(count(|it| matches!(it, Notice::Status(_))) <= QUEUE);
        assert!(matches!(told[0], Notice::Status(_)), "it was not ready yet: {told:?}");
    }
}
