//! The numbers of network interfaces, by name.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Display,
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
};

/// Asks the kernel, and remembers the answers for as long as a command runs.
#[derive(Default)]
pub(crate) struct Interfaces {
    /// Any socket will do to ask through.
    socket: Option<OwnedFd>,
    indices: HashMap<String, u32>,
    /// Whether the service is on another machine, where the numbers mean other links.
    elsewhere: bool,
}

impl Interfaces {
    /// For a service that is on this machine, or is not.
    pub(crate) fn new(elsewhere: bool) -> Self {
        Self { elsewhere, ..Self::default() }
    }

    /// The number of an interface.
    ///
    /// Never remembers a missing one: it can appear while lines are still coming.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32, String> {
        if let Entry::Occupied(known) = self.indices.entry(name.to_owned()) {
            return Ok(*known.get());
        }
        let quoted = name.escape_debug();
        if self.elsewhere {
            return Err(format!(
                "interface \"{quoted}\": its number is not known with --host; leave dev out, or use \
                 rtmctl static, which goes by name"
            ));
        }
        let says = |error: &dyn Display| format!("interface \"{quoted}\": {error}");
        let index = match self.socket().and_then(|socket| name_to_index(socket, name)) {
            Ok(index) => index,
            Err(Errno::NODEV | Errno::INVAL) => {
                return Err(format!("interface \"{quoted}\" does not exist"));
            }
            Err(error) => return Err(says(&error)),
        };
        self.indices.insert(name.to_owned(), index);
        Ok(index)
    }

    fn socket(&mut self) -> Result<&OwnedFd, Errno> {
        if self.socket.is_none() {
            self.socket = Some(socket(AddressFamily::UNIX, SocketType::DGRAM, None)?);
        }
        self.socket.as_ref().ok_or(Errno::BADF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found() {
        assert!(Interfaces::default().index("lo").is_ok());
    }

    #[test]
    fn what_does_not_exist_is_said_to() {
        let mut interfaces = Interfaces::default();
        assert_eq!(interfaces.index("nope0").unwrap_err(), "interface \"nope0\" does not exist");
        let elsewhere = Interfaces::new(true).index("lo").unwrap_err();
        assert!(elsewhere.contains("not known with --host"), "{elsewhere}");
        let long = "n".repeat(40);
        assert!(interfaces.index(&long).unwrap_err().ends_with("does not exist"));
    }
}
