//! Reading what the kernel has: routes of a table, next-hop objects.
//!
//! A million routes are 68 MB of messages, so they are passed on in parts and never collected; a
//! listener that falls behind slows the kernel's dump down instead of filling memory.

use std::{io, thread};

use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use tokio::sync::mpsc;

use super::socket::RouteSocket;
use crate::netlink::{DumpQuestion, frame};

/// How many parts (of up to 32 KiB, about 500 routes) wait for the listener.
const QUEUE: usize = 4;

/// How often a dump may be interrupted by changes before it is given up.
const MOST_ATTEMPTS: u32 = 16;

/// A dump of some things, under way on a thread of its own.
#[derive(Debug)]
pub struct Dump<T>(mpsc::Receiver<DumpNews<T>>);

/// What a dump has to tell.
#[derive(Debug)]
pub enum DumpNews<T> {
    /// Some of the things.
    Part(Vec<T>),
    /// They changed under the dump, which begins again: what came so far is void.
    ///
    /// Linux tells that (`NLM_F_DUMP_INTR`) of links, addresses and next-hop objects, but never of
    /// routes, as of 6.18: a dump that routes were written under comes out as complete, and may lack
    /// some or tell of some that are gone. So whoever dumps routes has to hear of changes in another
    /// way, or rely on nobody making any.
    Restarted,
    /// That was all.
    Complete,
    /// It failed, and what came so far is void.
    Failed(io::Error),
}

impl<T: Send + 'static> Dump<T> {
    /// Starts to ask the kernel in this thread's network namespace. A table that does not exist has no
    /// routes.
    ///
    /// # Errors
    /// No socket or no thread to be had.
    pub fn start(question: impl DumpQuestion<Item = T> + Send + 'static) -> io::Result<Self> {
        let mut socket = RouteSocket::open()?;
        socket.check_strictly()?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new().name("rtmd-dump".to_owned()).spawn(move || {
            // A listener that is gone ends it; there is nobody to tell.
            let _ = run(&mut socket, &question, &sender);
        })?;
        Ok(Self(receiver))
    }

    /// The next news; `None` after [`DumpNews::Complete`] or [`DumpNews::Failed`]. Cancelling loses
    /// nothing.
    pub async fn next(&mut self) -> Option<DumpNews<T>> {
        self.0.recv().await
    }

    /// As [`Self::next`], for a thread that may wait.
    pub fn blocking_next(&mut self) -> Option<DumpNews<T>> {
        self.0.blocking_recv()
    }
}

/// The listener is gone.
struct Abandoned;

/// How one walk through the things ended.
enum Walk {
    Complete,
    Interrupted,
    Failed(io::Error),
}

fn run<Q: DumpQuestion>(
    socket: &mut RouteSocket,
    question: &Q,
    news: &mpsc::Sender<DumpNews<Q::Item>>,
) -> Result<(), Abandoned> {
    let tell = |item| news.blocking_send(item).map_err(|_| Abandoned);
    for sequence in 1..=MOST_ATTEMPTS {
        match walk(socket, question, sequence, &tell)? {
            Walk::Complete => return tell(DumpNews::Complete),
            Walk::Failed(error) => return tell(DumpNews::Failed(error)),
            Walk::Interrupted => tell(DumpNews::Restarted)?,
        }
    }
    tell(DumpNews::Failed(io::Error::other("it kept changing while it was read")))
}

/// Walks through the things once.
fn walk<Q: DumpQuestion>(
    socket: &mut RouteSocket,
    question: &Q,
    sequence: u32,
    tell: &impl Fn(DumpNews<Q::Item>) -> Result<(), Abandoned>,
) -> Result<Walk, Abandoned> {
    let mut datagram = Vec::new();
    question.encode(sequence, &mut datagram);
    if let Err(error) = socket.send(&datagram) {
        return Ok(Walk::Failed(error));
    }
    let mut interrupted = false;
    loop {
        let datagram = match socket.receive() {
            Ok(datagram) => datagram,
            Err(error) => return Ok(Walk::Failed(error)),
        };
        let mut part = Vec::new();
        let mut end = None;
        for frame in frame::frames(datagram).filter(|frame| frame.sequence == sequence) {
            interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
            match frame.kind {
                NLMSG_DONE => end = Some(frame.payload.first_chunk().map_or(0, done_error)),
                NLMSG_ERROR => end = frame.reply().map(|reply| reply.errno).or(end),
                _ => match question.read(&frame) {
                    Ok(item) => part.extend(item),
                    Err(error) => tracing::warn!(%error, "the kernel told what is beyond reading"),
                },
            }
        }
        if !part.is_empty() {
            tell(DumpNews::Part(part))?;
        }
        match end {
            None => {}
            Some(_) if interrupted => return Ok(Walk::Interrupted),
            // The table does not exist.
            Some(0 | libc::ENOENT) => return Ok(Walk::Complete),
            Some(errno) => return Ok(Walk::Failed(io::Error::from_raw_os_error(errno))),
        }
    }
}

/// The error number at the end of a dump, positive; 0 for none.
fn done_error(code: &[u8; 4]) -> i32 {
    i32::from_ne_bytes(*code).min(0).saturating_neg()
}
