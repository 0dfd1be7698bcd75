//! The service's own connection to the bus, by which nothing goes out that the bus would not take.
//!
//! dbus-daemon disconnects whoever sends it more than 32 MiB at once. What a reader would get wrong:
//! it is not enough that our own answers are short. zbus answers some calls by itself and repeats
//! what they named, the path of an object or a property, so a call just short enough for the bus is
//! answered with something too long for it, and the service would be off the bus.

use std::{
    ffi::{OsStr, OsString},
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use tokio::{io::Interest, net::UnixStream};
use zbus::{
    Address, Message,
    address::transport::{Transport, UnixSocket},
    connection::{
        Builder,
        socket::{ReadHalf, Socket, Split, WriteHalf},
    },
    export::async_trait::async_trait,
    message::Type,
};

use super::{address::Bus, errors::error_name};
use crate::model::ErrorKind;

/// The longest message that is sent, in bytes: half of what dbus-daemon takes by default.
const LONGEST: usize = 16 << 20;
/// How many file descriptors a message brings at most (`max_message_unix_fds` of dbus-daemon).
const MOST_FDS: usize = 16;

/// The beginning of the service's connection to a bus.
///
/// # Errors
/// When the address is none, or nobody listens there.
pub(super) async fn builder(bus: &Bus) -> zbus::Result<Builder<'_>> {
    let address = match bus {
        Bus::System => Address::system(),
        Bus::Session => Address::session(),
        Bus::Address(address) => Address::try_from(address.as_str()),
    }?;
    let Transport::Unix(transport) = address.transport() else { return Ok(bus.builder()) };
    let path = match transport.path() {
        UnixSocket::File(path) => path.clone(),
        // What the kernel calls it (unix(7), "Address format").
        UnixSocket::Abstract(name) => {
            [OsStr::new("\0"), name].into_iter().collect::<OsString>().into()
        }
        _ => return Ok(bus.builder()),
    };
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|error| zbus::Error::Connection(error.into(), address.into()))?;
    Ok(Builder::socket(Guarded(Arc::new(stream))))
}

/// A socket that sends no message longer than [`LONGEST`].
#[derive(Debug)]
struct Guarded(Arc<UnixStream>);

#[derive(Debug)]
struct Reader(Arc<UnixStream>);

#[derive(Debug)]
struct Writer(Arc<UnixStream>);

impl Socket for Guarded {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        Split::new(Reader(Arc::clone(&self.0)), Writer(self.0))
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let receive = || {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
            let mut beside = RecvAncillaryBuffer::new(&mut room);
            let into = &mut [IoSliceMut::new(bytes)];
            let received = recvmsg(&*self.0, into, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
            let mut fds = Vec::new();
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(some) = message {
                    fds.extend(some);
                }
            }
            Ok((received.bytes, fds))
        };
        match self.0.async_io(Interest::READABLE, receive).await? {
            (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
            received => Ok(received),
        }
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        if message.data().len() <= LONGEST {
            return self.send(message).await;
        }
        match message.message_type() {
            Type::MethodReturn | Type::Error => self.send(&too_long(message)?).await,
            Type::MethodCall | Type::Signal => Err(zbus::Error::Failure(refusal(message))),
        }
    }

    async fn sendmsg(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let send = || {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
            let mut beside = SendAncillaryBuffer::new(&mut room);
            if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Ok(sendmsg(&*self.0, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    async fn close(&mut self) -> io::Result<()> {
        Ok(shutdown(&*self.0, Shutdown::Both)?)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

impl Writer {
    async fn send(&mut self, message: &Message) -> zbus::Result<()> {
        let bytes = message.data();
        let fds: Vec<BorrowedFd<'_>> = bytes.fds().iter().map(AsFd::as_fd).collect();
        let mut sent = self.sendmsg(bytes, &fds).await?;
        while sent < bytes.len() {
            sent += self.sendmsg(&bytes[sent..], &[]).await?;
        }
        Ok(())
    }
}

/// What is said in the place of an answer that is too long.
fn too_long(answer: &Message) -> zbus::Result<Message> {
    let header = answer.header();
    let mut error = Message::error(&header, error_name(ErrorKind::NoSystemResources))
        .reply_serial(header.reply_serial());
    if let Some(caller) = header.destination() {
        error = error.destination(caller.to_owned());
    }
    error.build(&(refusal(answer),))
}

fn refusal(message: &Message) -> String {
    format!("a message of {} bytes, the service sends {LONGEST} at most", message.data().len())
}
