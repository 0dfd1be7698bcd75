//! Writing routes: many messages a send, one acknowledgement for all of them.
//!
//! The kernel goes on after a message it refuses and answers every refused one unasked, so only the last
//! of a datagram asks for an acknowledgement (`NLM_F_ACK`): when that is there, so is every refusal, and
//! the sequence number says whose it is. That is twice as fast as an acknowledgement for each.
//!
//! Chosen from measurement (`make bench-fib` with `-- --orders`; Linux 6.18, seconds of a writer that does
//! nothing else):
//!
//! | 1 000 000 IPv4 routes | add | replace | delete |
//! |---|---|---|---|
//! | as offered, 16 messages a send | 3.4 | 1.7 | 2.3 |
//! | as offered, 64 | 3.9 | 1.7 | 2.0 |
//! | as offered, 256 | 2.5 | 1.6 | 2.2 |
//! | as offered, 1024 | 2.4 | 1.5 | 2.0 |
//! | shuffled, 256 | 3.1 | 1.8 | 2.2 |
//! | by address, 256 | 3.5 | 1.4 | 8.9 |
//!
//! So datagrams are as large as they may be, and nothing is sorted on the way: what waits is written in the
//! order in which it came, which for a table as routers exchange it is the best one. For IPv4, sorting makes
//! deleting four times slower. For IPv6 it may gain, but three rounds on a busy machine do not prove it:
//! 200 000 were added in 0.4 to 1.3 seconds by address, and in 0.8 to 1.4 as offered. What a client deletes
//! by address is deleted in that order, and that slowly; shuffling the next 1024 to 65 536 routes of it does
//! not help much (5.5 to 6.7), because it is the order all over the table that counts. An owner that leaves
//! is no such case where there are next-hop objects: theirs goes first, and the kernel drops the routes.
//!
//! What a reader would get wrong: each answer takes 832 bytes of the receive buffer however short it is.
//! A datagram must not hold more messages than the buffer holds answers, or refusals get lost.

use std::{io, ops::Range, thread};

use tokio::sync::mpsc;

use super::socket::{PortId, RouteSocket};
use crate::{
    fib::{FibOp, ObjectOp, Refusal, RouteOp},
    netlink::{ObjectChange, ObjectRequest, RouteChange, RouteRequest, Signature, TooLong, frame},
};

/// What one answer costs in the receive buffer: the least memory Linux accounts for a datagram.
const REPLY_COST: usize = 832;

/// The most messages a datagram holds, however large the buffers: more gains nothing and takes longer
/// than the 5 ms after which a withdrawal should have its turn.
const MOST_MESSAGES: usize = 1024;

/// How many batches wait in front of the thread.
const QUEUE: usize = 2;

/// What to do, in this order; at most one operation for a destination or an object.
pub type Batch = Vec<FibOp>;

/// What came of each operation of a batch, in its order. A [`Refusal`] with `ENOBUFS` says that the
/// answer was lost and the operation may have been done or not.
pub type Outcome = Vec<(FibOp, Result<(), Refusal>)>;

/// The way to the thread that writes. It ends after its last batch when this is dropped.
#[derive(Debug)]
pub struct Writer {
    batches: mpsc::Sender<Batch>,
    most_messages: usize,
    port: PortId,
}

impl Writer {
    /// Starts a thread that writes routes with this signature into the tables of this thread's network
    /// namespace; outcomes come in the order of the batches, and end if the thread does.
    ///
    /// # Errors
    /// No socket or no thread to be had.
    pub fn start(signature: Signature) -> io::Result<(Self, mpsc::UnboundedReceiver<Outcome>)> {
        let mut exchange = Exchange::open(signature)?;
        let (most_messages, port) = (exchange.most_messages, exchange.socket.port()?);
        let (batches, mut queue) = mpsc::channel(QUEUE);
        // Bounded by what is in flight, which the mirror keeps to one operation for a destination. A
        // bounded one could block this thread while the daemon waits for room in the queue.
        let (outcomes, results) = mpsc::unbounded_channel();
        thread::Builder::new().name("rtmd-writer".to_owned()).spawn(move || {
            while let Some(batch) = queue.blocking_recv() {
                if outcomes.send(exchange.write(batch)).is_err() {
                    break; // nobody is left to tell
                }
            }
        })?;
        Ok((Self { batches, most_messages, port }, results))
    }

    /// Hands a batch over, as soon as there is room in the queue.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn write(&self, batch: Batch) -> io::Result<()> {
        self.batches.send(batch).await.map_err(|_| thread_ended())
    }

    /// Waits until there is room in the queue, for a caller that fills its batch only then and so has
    /// the newest wishes in it. Cancelling loses nothing.
    ///
    /// # Errors
    /// The thread has ended.
    pub async fn room(&self) -> io::Result<mpsc::Permit<'_, Batch>> {
        self.batches.reserve().await.map_err(|_| thread_ended())
    }

    /// Where the kernel is asked from, which it tells everybody with each change.
    pub fn port(&self) -> PortId {
        self.port
    }

    /// How many operations go to the kernel at once; a larger batch is taken in parts.
    pub fn most_messages(&self) -> usize {
        self.most_messages
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the thread that writes routes has ended")
}

/// The thread's socket, and how much it can take.
#[derive(Debug)]
struct Exchange {
    socket: RouteSocket,
    signature: Signature,
    most_messages: usize,
    most_bytes: usize,
    datagram: Vec<u8>,
    /// The sequence number of the next batch's first message.
    sequence: u32,
}

impl Exchange {
    fn open(signature: Signature) -> io::Result<Self> {
        let socket = RouteSocket::open()?;
        socket.enlarge_buffers();
        let most_messages = (socket.receive_buffer()? / REPLY_COST).clamp(1, MOST_MESSAGES);
        let most_bytes = socket.send_buffer()?.saturating_sub(32); // what netlink_sendmsg() keeps back
        tracing::debug!(most_messages, most_bytes, "ready to write routes");
        Ok(Self { socket, signature, most_messages, most_bytes, datagram: Vec::new(), sequence: 1 })
    }

    /// Carries out a batch, in as many datagrams as it takes.
    fn write(&mut self, batch: Batch) -> Outcome {
        let mut outcome: Outcome = batch.into_iter().map(|op| (op, Ok(()))).collect();
        let mut start = 0;
        while start < outcome.len() {
            let (end, last) = self.fill(&mut outcome, start);
            if let Some(last) = last
                && let Err(error) = self.send_and_hear(start..last + 1, &mut outcome)
            {
                tracing::warn!(%error, messages = last + 1 - start, "writing to the kernel failed");
                fill_in(&mut outcome[start..=last], &error);
            }
            start = end;
        }
        self.sequence = self.sequence_of(outcome.len());
        outcome
    }

    /// Fills the datagram with operations from the nth on; answers with where to go on, and which is
    /// the last one in it, if any.
    fn fill(&mut self, outcome: &mut Outcome, start: usize) -> (usize, Option<usize>) {
        self.datagram.clear();
        let mut last = None;
        let mut end = start;
        for index in start..outcome.len().min(start.saturating_add(self.most_messages)) {
            let begin = self.datagram.len();
            let (op, result) = &mut outcome[index];
            match encode(op, self.signature, self.sequence_of(index), &mut self.datagram) {
                Ok(()) if begin > 0 && self.datagram.len() > self.most_bytes => {
                    self.datagram.truncate(begin);
                    break;
                }
                Ok(()) => last = Some((index, begin)),
                Err(error) => {
                    let refusal = Refusal { errno: libc::EMSGSIZE, message: error.to_string() };
                    *result = Err(refusal);
                }
            }
            end = index + 1;
        }
        if let Some((_, begin)) = last {
            frame::request_acknowledgement(&mut self.datagram[begin..]);
        }
        (end, last.map(|(index, _)| index))
    }

    /// Sends the datagram, and notes what the kernel says about these operations of the batch.
    fn send_and_hear(&mut self, ops: Range<usize>, outcome: &mut Outcome) -> io::Result<()> {
        self.socket.send(&self.datagram)?;
        let first = self.sequence_of(ops.start);
        loop {
            let datagram = match self.socket.receive() {
                Ok(datagram) => datagram,
                Err(error) => {
                    self.socket.drain(); // or they are in the way of the next answers
                    return Err(match error.kind() {
                        io::ErrorKind::WouldBlock => io::Error::from_raw_os_error(libc::ENOBUFS),
                        _ => error,
                    });
                }
            };
            for frame in frame::frames(datagram) {
                // An answer to an earlier datagram, given up meanwhile, has another number.
                let nth = usize::try_from(frame.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let index = ops.start.saturating_add(nth);
                if !ops.contains(&index) {
                    continue;
                }
                let Some(reply) = frame.reply() else { continue };
                if reply.errno != 0 {
                    let refusal = Refusal { errno: reply.errno, message: reply.message };
                    outcome[index].1 = Err(refusal);
                }
                if index + 1 == ops.end {
                    return Ok(());
                }
            }
        }
    }

    /// The sequence number of the nth message of the batch.
    fn sequence_of(&self, index: usize) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        self.sequence.wrapping_add(index as u32)
    }
}

/// Appends an operation in the words of rtnetlink.
fn encode(
    op: &FibOp,
    signature: Signature,
    sequence: u32,
    into: &mut Vec<u8>,
) -> Result<(), TooLong> {
    match op {
        FibOp::Route { table, to, op } => {
            let change = match op {
                RouteOp::Install(target) => RouteChange::Add(target.clone()),
                RouteOp::Replace(target) => RouteChange::Replace(target.clone()),
                RouteOp::Uninstall => RouteChange::Delete,
            };
            RouteRequest { table: *table, signature, to: *to, change }.encode(sequence, into)
        }
        FibOp::Object { id, op } => {
            let change = match op {
                ObjectOp::Add(object) => ObjectChange::Add(object),
                ObjectOp::Replace(object) => ObjectChange::Replace(object),
                ObjectOp::Delete => ObjectChange::Delete,
            };
            ObjectRequest { signature, id: *id, change }.encode(sequence, into)
        }
    }
}

/// Refuses what the kernel has not refused itself, after an exchange that failed: none of it is certain.
fn fill_in(results: &mut [(FibOp, Result<(), Refusal>)], error: &io::Error) {
    for (_, result) in results.iter_mut().filter(|(_, result)| result.is_ok()) {
        let message = format!("no answer from the kernel: {error}");
        *result = Err(Refusal { errno: libc::ENOBUFS, message });
    }
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::model::{KernelTable, Prefix};

    #[test]
    fn when_answers_are_lost_the_rest_is_uncertain_and_the_next_batch_is_not() {
        let test = thread::spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                println!("skip: no network namespace to be had ({error}), run as root");
                return;
            }
            let batch = |number: u32| {
                let ops = (0..number).map(|n| FibOp::Route {
                    table: KernelTable(1000),
                    to: Prefix::host(std::net::Ipv4Addr::from_bits(n + (10 << 24)).into()),
                    op: RouteOp::Uninstall,
                });
                ops.collect::<Batch>()
            };
            let count = |outcome: &Outcome, errno| {
                let with = |(_, result): &&(FibOp, Result<(), Refusal>)| {
                    result.as_ref().is_err_and(|refusal| refusal.errno == errno)
                };
                outcome.iter().filter(with).count()
            };
            let mut exchange = Exchange::open(Signature::default()).unwrap();
            let room = exchange.socket.receive_buffer().unwrap() / REPLY_COST;

            exchange.most_messages = 2 * room;
            let lost = exchange.write(batch(u32::try_from(2 * room).unwrap()));
            assert_eq!(count(&lost, libc::ESRCH) + count(&lost, libc::ENOBUFS), 2 * room);
            assert!(count(&lost, libc::ENOBUFS) > 0);

            let heard = exchange.write(batch(100));
            assert_eq!(count(&heard, libc::ESRCH), 100);
        });
        test.join().unwrap();
    }
}
