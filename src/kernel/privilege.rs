//! Whether this process may write routes.

use std::io;

use super::socket::RouteSocket;
use crate::netlink::frame;

/// Asks the kernel for a change that it permits or not but cannot carry out.
///
/// It looks at the permission before the content, so a deletion that is cut short after the family is
/// answered with `EPERM` by one and with `EINVAL` by the other. Looking at the capabilities of the
/// process instead would not see what a security module or a user namespace takes away.
///
/// # Errors
/// `PermissionDenied`, with what is missing and what to do; or the socket's.
pub fn check() -> io::Result<()> {
    let mut socket = RouteSocket::open()?;
    socket.send(&truncated_deletion())?;
    let reply = frame::frames(socket.receive()?).next().and_then(|frame| frame.reply());
    match reply.map(|reply| reply.errno) {
        Some(libc::EPERM) => Err(io::Error::new(io::ErrorKind::PermissionDenied, ADVICE)),
        Some(_) => Ok(()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is none")),
    }
}

const ADVICE: &str = "not permitted to change routes: CAP_NET_ADMIN is missing in this network \
     namespace, run as root or give the service AmbientCapabilities=CAP_NET_ADMIN";

/// The header of an `RTM_DELROUTE` and the first four bytes of its body, of which twelve are needed.
fn truncated_deletion() -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or_default();
    let mut message = 20_u32.to_ne_bytes().to_vec();
    message.extend(libc::RTM_DELROUTE.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend([2, 0, 0, 0]); // AF_INET
    message
}
