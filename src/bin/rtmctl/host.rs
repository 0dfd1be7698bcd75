//! The bus of another machine, through `ssh` as `busctl --host` goes: `systemd-stdio-bridge` there
//! passes on what comes.

use std::{ffi::OsString, fmt, str::FromStr};

use rtmd::{
    client::{Bus, CALL_TIMEOUT, Failure},
    model::error::quoted,
};
use zbus::{
    Address, Connection,
    address::transport::{Transport, Unixexec},
    connection::Builder,
};

/// A machine: `[USER@]HOST[:PORT]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Connects to a bus of that machine.
    pub(crate) async fn connect(&self, bus: &Bus) -> Result<Connection, Failure> {
        let words = self.words(bus).into_iter().map(OsString::from).collect();
        let transport = Transport::Unixexec(Unixexec::new("ssh".into(), None, words));
        let builder = Builder::address(Address::new(transport));
        Ok(builder.method_timeout(CALL_TIMEOUT).build().await?)
    }

    /// What `ssh` is told.
    fn words(&self, bus: &Bus) -> Vec<String> {
        let bridge = match bus {
            Bus::System => "systemd-stdio-bridge".to_owned(),
            Bus::Session => "systemd-stdio-bridge --user".to_owned(),
            Bus::Address(address) => {
                // A shell reads it there.
                let address = address.replace('\'', "'\\''");
                format!("systemd-stdio-bridge '--bus-path={address}'")
            }
        };
        // No X11 and no terminal; and no option is taken from the name.
        let mut words = vec!["-xT".to_owned()];
        words.extend(self.port.iter().map(|port| format!("-p{port}")));
        words.extend(["--".to_owned(), self.name.clone(), bridge]);
        words
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.rsplit_once(':') {
            // More colons are an IPv6 address, which ssh takes without a port.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
                let port = port.parse().map_err(|_| format!("{} is no port", quoted(port)))?;
                (name, Some(port))
            }
            _ => (text, None),
        };
        let name = name.replace(['[', ']'], "");
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.starts_with('-') || name.contains(is_odd) {
            return Err("not a machine like admin@router".to_owned());
        }
        Ok(Self { name, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(host: &str, bus: &Bus) -> Vec<String> {
        host.parse::<Host>().unwrap().words(bus)
    }

    #[test]
    fn another_machines_bus_is_reached_as_busctl_does() {
        let system = words("root@router", &Bus::System);
        assert_eq!(system, ["-xT", "--", "root@router", "systemd-stdio-bridge"]);
        let session = words("[2001:db8::1]:2222", &Bus::Session);
        let bridge = "systemd-stdio-bridge --user";
        assert_eq!(session, ["-xT", "-p2222", "--", "2001:db8::1", bridge]);
        let address = words("router", &Bus::Address("unix:path=/a'b;c".to_owned()));
        assert_eq!(address[3], "systemd-stdio-bridge '--bus-path=unix:path=/a'\\''b;c'");
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_refused() {
        for wrong in ["", "-oProxyCommand=x", "a b", "router:", "router:ssh", ":22", "a\nb"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
        assert!("2001:db8::1".parse::<Host>().is_ok());
    }
}
