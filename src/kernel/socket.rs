//! A rtnetlink(7) socket for one thread that waits for its answers.
//!
//! The kernel handles a request while it is being sent, so its answers are there when `send` returns;
//! one that has not come after [`PATIENCE`] was lost.

use std::{io, os::fd::AsFd, time::Duration};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt;

/// How long to wait for an answer. Only a dump's next part can take time at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for a datagram: the kernel's dumps come in up to 32 KiB.
pub(super) const DATAGRAM_ROOM: usize = 64 * 1024;

/// What the buffers of a socket are asked to hold, in bytes; the kernel doubles it for its own use.
const BUFFER_SIZE: usize = 1024 * 1024;

/// The address of a netlink socket in its network namespace (`nl_pid`), which the kernel also puts on what
/// it tells everybody of the socket's requests. It need not be the number of a process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PortId(pub u32);

/// A socket that talks with the kernel only.
#[derive(Debug)]
pub(super) struct RouteSocket {
    socket: Socket,
    datagram: Vec<u8>,
}

impl RouteSocket {
    /// Opens a socket in the network namespace of this thread, with the kernel's words in errors
    /// (`NETLINK_EXT_ACK`) and without copies of refused requests (`NETLINK_CAP_ACK`).
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_ROOM) })
    }

    /// The address that the kernel gave it.
    pub(super) fn port(&self) -> io::Result<PortId> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(PortId(address.port_number()))
    }

    /// Has the kernel heed the filters of a dump, and refuse what it does not know.
    pub(super) fn check_strictly(&self) -> io::Result<()> {
        self.socket.set_netlink_get_strict_chk(true)
    }

    /// Asks for large buffers; what came of it is in [`Self::receive_buffer`] and
    /// [`Self::send_buffer`].
    pub(super) fn enlarge_buffers(&self) {
        enlarge_receive_buffer(&self.socket);
        if sockopt::set_socket_send_buffer_size_force(&self.socket, BUFFER_SIZE).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&self.socket, BUFFER_SIZE);
        }
    }

    /// How many bytes of answers the socket can hold, the kernel's own overhead included.
    pub(super) fn receive_buffer(&self) -> io::Result<usize> {
        Ok(sockopt::socket_recv_buffer_size(&self.socket)?)
    }

    /// How many bytes one datagram can hold, the kernel's own overhead included.
    pub(super) fn send_buffer(&self) -> io::Result<usize> {
        Ok(sockopt::socket_send_buffer_size(&self.socket)?)
    }

    /// Sends a datagram of messages, which the kernel then handles one by one.
    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        uninterrupted(|| self.socket.send(datagram, 0)).map(drop)
    }

    /// The kernel's next datagram. `ENOBUFS` says that some were lost before it, `EAGAIN` that none
    /// came.
    pub(super) fn receive(&mut self) -> io::Result<&[u8]> {
        self.receive_with(0)
    }

    /// Throws away what is there to be received.
    pub(super) fn drain(&mut self) {
        while self.receive_with(libc::MSG_DONTWAIT).is_ok_and(|datagram| !datagram.is_empty()) {}
    }

    fn receive_with(&mut self, flags: i32) -> io::Result<&[u8]> {
        self.datagram.clear();
        let (socket, room) = (&self.socket, &mut self.datagram);
        let length = uninterrupted(|| socket.recv(room, flags | libc::MSG_TRUNC))?;
        if length > self.datagram.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the kernel sent {length} bytes at once, more than there is room for"),
            ));
        }
        Ok(&self.datagram)
    }
}

/// Asks for a large receive buffer.
pub(super) fn enlarge_receive_buffer(socket: impl AsFd) {
    set_receive_buffer(socket, BUFFER_SIZE);
}

/// Asks for a receive buffer of so many bytes. Beyond the system's limit (`net.core.rmem_max`) that takes
/// `CAP_NET_ADMIN` in the first user namespace, so in a container there may be less.
pub(super) fn set_receive_buffer(socket: impl AsFd, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(&socket, bytes).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, bytes);
    }
}

/// Calls again when a signal came in between.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
