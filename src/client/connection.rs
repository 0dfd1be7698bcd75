//! Getting hold of the service.

use std::{convert::Infallible, fmt, str::FromStr, time::Duration};

use zbus::{Connection, connection, fdo::PropertiesProxy, names::InterfaceName};

use super::{
    Failure,
    proxies::{ManagerProxy, TableProxy},
};
use crate::{
    bus::wire::{Details, SERVICE},
    model::prefix::Family,
};

/// How long a call may take before it counts as lost; zbus on its own would wait for ever.
///
/// Long enough for a service that is busy with somebody else's full table.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Which message bus to look for the service on.
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

/// Connects to a bus; whether the service is on it shows with the first call.
///
/// # Errors
/// [`Failure::Unreachable`] when there is no such bus.
pub async fn connect(bus: &Bus) -> Result<Connection, Failure> {
    let builder = match bus {
        Bus::System => connection::Builder::system(),
        Bus::Session => connection::Builder::session(),
        Bus::Address(address) => connection::Builder::address(address.as_str()),
    };
    Ok(builder.method_timeout(CALL_TIMEOUT).build().await?)
}

/// The manager object.
///
/// # Errors
/// When the connection is gone; it is not asked whether the service is there.
pub async fn manager(connection: &Connection) -> Result<ManagerProxy<'static>, Failure> {
    Ok(ManagerProxy::builder(connection).cache_properties(NO_CACHE).build().await?)
}

/// The table of a family in an instance.
///
/// # Errors
/// `FileNotFound` for a table that is not configured, and whatever keeps the call from the service.
pub async fn table(
    manager: &ManagerProxy<'_>,
    instance: u32,
    family: Family,
) -> Result<TableProxy<'static>, Failure> {
    let path = manager.get_table(instance, family.name()).await?;
    let connection = manager.inner().connection();
    Ok(TableProxy::builder(connection).path(path).cache_properties(NO_CACHE).build().await?)
}

/// All properties of the object behind a proxy, as of one moment.
///
/// # Errors
/// Whatever keeps the call from the service.
pub async fn properties(proxy: &zbus::Proxy<'_>) -> Result<Details, Failure> {
    let properties = PropertiesProxy::builder(proxy.connection())
        .destination(SERVICE)
        .path(proxy.path().to_owned())
        .cache_properties(NO_CACHE)
        .build()
        .await?;
    let interface: InterfaceName<'static> = proxy.interface().to_owned();
    let all = properties.get_all(interface).await.map_err(zbus::Error::from)?;
    Ok(all.into_iter().collect())
}

impl FromStr for Bus {
    type Err = Infallible;

    /// Reads `system`, `session`, or anything else as an address.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "system" => Self::System,
            "session" => Self::Session,
            address => Self::Address(address.into()),
        })
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

const NO_CACHE: zbus::proxy::CacheProperties = zbus::proxy::CacheProperties::No;
