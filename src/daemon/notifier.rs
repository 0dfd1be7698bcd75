//! What the service manager is told, by a thread of its own: sending blocks while the manager does
//! not read, and that must not hold up the service.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use sd_notify::NotifyState;

/// Notices that wait; a status beyond them is dropped, the next one is as good.
const QUEUE: usize = 8;

/// The way to the service manager; without one nothing is told.
#[derive(Debug)]
pub(super) struct Notifier(Option<SyncSender<Notice>>);

#[derive(Debug)]
enum Notice {
    Ready,
    Status(String),
}

impl Notifier {
    pub(super) fn start() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self(None);
        }
        let (notices, queue) = sync_channel(QUEUE);
        let run = move || {
            for notice in queue {
                let told = match &notice {
                    Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
                    Notice::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
                };
                if let Err(error) = told {
                    tracing::debug!(%error, ?notice, "the service manager was not told");
                }
            }
        };
        match thread::Builder::new().name("rtmd-notifier".to_owned()).spawn(run) {
            Ok(_) => Self(Some(notices)),
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

    /// A line for `systemctl status`.
    pub(super) fn status(&self, text: String) {
        self.tell(Notice::Status(text));
    }

    fn tell(&self, notice: Notice) {
        if let Some(notices) = &self.0 {
            // Full or without a reader: there is nobody to tell.
            let _ = notices.try_send(notice);
        }
    }
}
