//! What this kernel can do, and how it is set.

use std::{fs, io, path::Path};

use super::socket::RouteSocket;
use crate::netlink::{frame, nexthop};

/// Which next-hop objects the kernel has.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum NextHopSupport {
    /// None: routes have to say everything themselves (before Linux 5.3).
    None,
    /// Hops and groups.
    Objects,
    /// Also resilient groups, with members in reserve (since Linux 5.13).
    Resilient,
}

/// What the kernel announces of routes that it changes by itself, in this network namespace; `None` where
/// it has no such setting, or none that could be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoticeSettings {
    /// `net.ipv4.nexthop_compat_mode`: to replace an object is announced with every route that refers to
    /// it, which takes a second for a million. Off is better; on is the default.
    pub nexthop_compat_mode: Option<bool>,
    /// `net.ipv6.route.skip_notify_on_dev_down`: IPv6 routes that go with a link are not announced, as
    /// IPv4 ones never are. Off is the default.
    pub skip_notify_on_dev_down: Option<bool>,
}

impl NextHopSupport {
    /// Asks the kernel for a bucket of a resilient group, and for an object, without saying which: it
    /// refuses, and in which way tells whether it knows of such things. Changes nothing, and takes no
    /// privilege.
    ///
    /// # Errors
    /// The socket's, or no answer.
    pub fn probe() -> io::Result<Self> {
        Ok(if understands(nexthop::GET_BUCKET)? {
            Self::Resilient
        } else if understands(nexthop::GET_OBJECT)? {
            Self::Objects
        } else {
            Self::None
        })
    }
}

impl NoticeSettings {
    /// Reads the settings that hold for this thread's network namespace.
    pub fn read() -> Self {
        Self::read_below(Path::new("/proc/sys/net"))
    }

    fn read_below(net: &Path) -> Self {
        let switch = |path| match fs::read_to_string(net.join(path)).ok()?.trim() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        };
        Self {
            nexthop_compat_mode: switch("ipv4/nexthop_compat_mode"),
            skip_notify_on_dev_down: switch("ipv6/route/skip_notify_on_dev_down"),
        }
    }
}

/// Whether the kernel knows a kind of message about a next-hop object.
fn understands(kind: u16) -> io::Result<bool> {
    let mut socket = RouteSocket::open()?;
    let mut question = Vec::new();
    nexthop::encode_incomplete(kind, &mut question);
    socket.send(&question)?;
    match frame::frames(socket.receive()?).next().and_then(|frame| frame.reply()) {
        Some(reply) => Ok(reply.errno != libc::EOPNOTSUPP),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_message_that_no_kernel_knows_is_not_understood() {
        assert!(!understands(u16::MAX - 3).unwrap());
    }

    #[test]
    fn settings_are_read_and_a_missing_one_is_unknown() {
        let net = tempfile::tempdir().unwrap();
        assert_eq!(NoticeSettings::read_below(net.path()), NoticeSettings::default());
        fs::create_dir_all(net.path().join("ipv4")).unwrap();
        fs::write(net.path().join("ipv4/nexthop_compat_mode"), "0\n").unwrap();
        assert_eq!(NoticeSettings::read_below(net.path()).nexthop_compat_mode, Some(false));
        fs::create_dir_all(net.path().join("ipv6/route")).unwrap();
        fs::write(net.path().join("ipv6/route/skip_notify_on_dev_down"), "1\n").unwrap();
        assert_eq!(
            NoticeSettings::read_below(net.path()),
            NoticeSettings {
                nexthop_compat_mode: Some(false),
                skip_notify_on_dev_down: Some(true)
            }
        );
    }
}
