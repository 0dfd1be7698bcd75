//! Getting hold of the service.

use std::time::Duration;

use zbus::{Connection, fdo::PropertiesProxy, names::InterfaceName};

use super::{
    Failure,
    proxies::{ManagerProxy, TableProxy},
};
use crate::{
    bus::{
        address::Bus,
        wire::{Details, SERVICE},
    },
    model::prefix::Family,
};

/// How long a call may take before it counts as lost; zbus on its own would wait for ever.
///
/// Long enough for a service that is busy with somebody else's full table.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects to a bus; whether the service is on it shows with the first call.
///
/// # Errors
/// [`Failure::Unreachable`] when there is no such bus.
pub async fn connect(bus: &Bus) -> Result<Connection, Failure> {
    Ok(bus.builder().method_timeout(CALL_TIMEOUT).build().await?)
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

const NO_CACHE: zbus::proxy::CacheProperties = zbus::proxy::CacheProperties::No;
