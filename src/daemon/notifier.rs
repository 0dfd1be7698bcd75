//! What the service manager is told, by a thread of its own: sending blocks while the manager does
//! not read, and that must not hold up the service.

use std::{
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread,
    time::Duration,
};

use sd_notify::NotifyState;

/// Notices that wait; a status beyond them is dropped, the next one is as good.
const QUEUE: usize = 8;

/// How long the last notices may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// The way to the service manager; without one nothing is told.
#[derive(Debug)]
pub(super) struct Notifier(Option<Way>);

#[derive(Debug)]
struct Way {
    notices: SyncSender<Notice>,
    /// Ends with the thread.
    end: Receiver<()>,
}

#[derive(Debug)]
enum Notice {
    Ready,
    Stopping,
    Status(String),
}

impl Notifier {
    pub(super) fn start() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self(None);
        }
        let (notices, queue) = sync_channel(QUEUE);
        let (at_the_end, end) = channel();
        let run = move || {
            let _at_the_end = at_the_end;
            for notice in queue {
                let told = match &notice {
                    Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
                    Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
                    Notice::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
                };
                if let Err(error) = told {
                    tracing::debug!(%error, ?notice, "the service manager was not told");
                }
            }
        };
        match thread::Builder::new().name("rtmd-notifier".to_owned()).spawn(run) {
            Ok(_) => Self(Some(Way { notices, end })),
            Err(error) => {
                tracing::warn!(%error, "the service manager will not be told anything");
                Self(None)
            }
        }
    }

    /// The service is up. Told once, before any status, so there is room.
    pub(super) fn ready(&self) {
        self.tell(Notice::Ready);
    }

    /// The service goes down.
    pub(super) fn stopping(&self) {
        self.tell(Notice::Stopping);
    }

    /// A line for `systemctl status`.
    pub(super) fn status(&self, text: String) {
        self.tell(Notice::Status(text));
    }

    fn tell(&self, notice: Notice) {
        if let Some(way) = &self.0 {
            // Full or without a reader: there is nobody to tell.
            let _ = way.notices.try_send(notice);
        }
    }

    /// Waits a moment until all was told.
    pub(super) fn finish(self) {
        if let Some(Way { notices, end }) = self.0 {
            drop(notices);
            let _ = end.recv_timeout(FAREWELL); // it ends without a word
        }
    }
}
