//! Reading back what of ours is in a table.
//!
//! A million routes are 68 MB of messages, so they are passed on in parts and never collected; a
//! listener that falls behind slows the kernel's dump down instead of filling memory.

use std::{io, thread};

use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE};
use tokio::sync::mpsc;

use super::socket::RouteSocket;
use crate::{
    model::{Forwarding, Prefix, Target},
    netlink::{DumpRequest, DumpedRoute, frame},
};

/// How many parts (of up to 32 KiB, about 500 routes) wait for the listener.
const QUEUE: usize = 4;

/// How often a dump may be interrupted by changes before it is given up.
const MOST_ATTEMPTS: u32 = 16;

/// `RTM_NEWROUTE`, as which dumped routes come.
const NEW_ROUTE: u16 = libc::RTM_NEWROUTE;

/// A dump under way on a thread of its own.
#[derive(Debug)]
pub struct Dump(mpsc::Receiver<DumpNews>);

/// What a dump has to tell.
#[derive(Debug)]
pub enum DumpNews {
    /// Some routes of ours, each with what it does (`None` for what is never written here).
    Routes(Vec<(Prefix, Option<Forwarding>)>),
    /// The table changed under the dump, which begins again: what came so far is void.
    ///
    /// Linux tells that (`NLM_F_DUMP_INTR`) of links and addresses, but never of routes, as of 6.18: a
    /// dump that routes were written under comes out as complete, and may lack some or tell of some
    /// that are gone. So the repair at the start relies on nobody else writing routes with our
    /// signature meanwhile; rtmd itself writes none before the dump is complete. This is for a
    /// kernel that does tell.
    Restarted,
    /// That was all.
    Complete,
    /// It failed, and what came so far is void.
    Failed(io::Error),
}

impl Dump {
    /// Starts to read the routes of a table in this thread's network namespace. A table that does not
    /// exist has none.
    ///
    /// # Errors
    /// No socket or no thread to be had.
    pub fn start(request: DumpRequest) -> io::Result<Self> {
        let mut socket = RouteSocket::open()?;
        socket.check_strictly()?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        thread::Builder::new().name("rtmd-dump".to_owned()).spawn(move || {
            // A listener that is gone ends it; there is nobody to tell.
            let _ = run(&mut socket, request, &sender);
        })?;
        Ok(Self(receiver))
    }

    /// The next news; `None` after [`DumpNews::Complete`] or [`DumpNews::Failed`]. Cancelling loses
    /// nothing.
    pub async fn next(&mut self) -> Option<DumpNews> {
        self.0.recv().await
    }

    /// As [`Self::next`], for a thread that may wait.
    pub fn blocking_next(&mut self) -> Option<DumpNews> {
        self.0.blocking_recv()
    }
}

/// The listener is gone.
struct Abandoned;

/// How one walk through the table ended.
enum Walk {
    Complete,
    Interrupted,
    Failed(io::Error),
}

fn run(
    socket: &mut RouteSocket,
    request: DumpRequest,
    news: &mpsc::Sender<DumpNews>,
) -> Result<(), Abandoned> {
    let tell = |item| news.blocking_send(item).map_err(|_| Abandoned);
    for sequence in 1..=MOST_ATTEMPTS {
        match walk(socket, request, sequence, &tell)? {
            Walk::Complete => return tell(DumpNews::Complete),
            Walk::Failed(error) => return tell(DumpNews::Failed(error)),
            Walk::Interrupted => tell(DumpNews::Restarted)?,
        }
    }
    tell(DumpNews::Failed(io::Error::other("the table kept changing while it was read")))
}

/// Walks through the table once.
fn walk(
    socket: &mut RouteSocket,
    request: DumpRequest,
    sequence: u32,
    tell: &impl Fn(DumpNews) -> Result<(), Abandoned>,
) -> Result<Walk, Abandoned> {
    let mut datagram = Vec::new();
    request.encode(sequence, &mut datagram);
    if let Err(error) = socket.send(&datagram) {
        return Ok(Walk::Failed(error));
    }
    let mut interrupted = false;
    loop {
        let datagram = match socket.receive() {
            Ok(datagram) => datagram,
            Err(error) => return Ok(Walk::Failed(error)),
        };
        let mut routes = Vec::new();
        let mut end = None;
        for frame in frame::frames(datagram).filter(|frame| frame.sequence == sequence) {
            interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
            match frame.kind {
                NEW_ROUTE => match DumpedRoute::decode(frame.payload) {
                    Ok(Some(route)) if request.matches(&route) => {
                        let forwarding = match route.target() {
                            Some(Target::Plain(forwarding)) => Some((*forwarding).clone()),
                            Some(Target::Object(_)) | None => None,
                        };
                        routes.push((route.to, forwarding));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "a route in the kernel is beyond reading"),
                },
                NLMSG_DONE => end = Some(frame.payload.first_chunk().map_or(0, done_error)),
                _ => end = frame.reply().map(|reply| reply.errno).or(end),
            }
        }
        if !routes.is_empty() {
            tell(DumpNews::Routes(routes))?;
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
