//! Which message bus: named the same way for the service and for its clients.

use std::{fmt, str::FromStr};

use zbus::connection::Builder;

/// Which message bus the service is on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Bus {
    /// The system's, where the service normally is (`DBUS_SYSTEM_BUS_ADDRESS` is honoured).
    #[default]
    System,
    /// The user's (`DBUS_SESSION_BUS_ADDRESS` is honoured).
    Session,
    /// The one at this D-Bus address, such as `unix:path=/run/lab/bus`.
    Address(String),
}

impl Bus {
    /// The beginning of a connection to it.
    pub fn builder(&self) -> Builder<'_> {
        match self {
            Self::System => Builder::system(),
            Self::Session => Builder::session(),
            Self::Address(address) => Builder::address(address.as_str()),
        }
    }
}

impl FromStr for Bus {
    type Err = String;

    /// Reads `system`, `session` or an address.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            // The D-Bus specification, "Server Addresses": a transport, a colon, keys and values.
            address if address.contains(':') => Ok(Self::Address(address.into())),
            _ => {
                Err("not \"system\", \"session\" or an address like unix:path=/run/lab/bus".into())
            }
        }
    }
}

/// Completes the sentence "rtmd is not running on …".
impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {}", address.escape_debug()),
        }
    }
}
