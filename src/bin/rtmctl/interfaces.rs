//! Names and numbers of network interfaces.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Display,
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketType,
        netdevice::{index_to_name, name_to_index},
        socket,
    },
};

/// Asks the kernel, and remembers the answers for as long as a command runs.
#[derive(Default)]
pub(crate) struct Interfaces {
    /// Any socket will do to ask through.
    socket: Option<OwnedFd>,
    names: HashMap<u32, String>,
    indices: HashMap<String, u32>,
}

impl Interfaces {
    /// The name of an interface; one that is gone is written the way `ip` writes it.
    pub(crate) fn name(&mut self, index: u32) -> &str {
        if !self.names.contains_key(&index) {
            let name = self.socket().and_then(|socket| index_to_name(socket, index));
            self.names.insert(index, name.unwrap_or_else(|_| format!("if{index}")));
        }
        self.names.get(&index).map_or("", String::as_str)
    }

    /// The number of an interface.
    ///
    /// Never remembers a missing one: it can appear while lines are still coming.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32, String> {
        if let Entry::Occupied(known) = self.indices.entry(name.to_owned()) {
            return Ok(*known.get());
        }
        let quoted = name.escape_debug();
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
    fn loopback_is_found_both_ways() {
        let mut interfaces = Interfaces::default();
        let index = interfaces.index("lo").unwrap();
        assert_eq!(interfaces.name(index), "lo");
    }

    #[test]
    fn what_does_not_exist_is_said_to() {
        let mut interfaces = Interfaces::default();
        assert_eq!(interfaces.index("nope0").unwrap_err(), "interface \"nope0\" does not exist");
        let long = "n".repeat(40);
        assert!(interfaces.index(&long).unwrap_err().ends_with("does not exist"));
        assert_eq!(interfaces.name(4_000_000), "if4000000");
    }
}
