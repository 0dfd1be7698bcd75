//! Which systemd unit a client is, and whether that was stopped on purpose.
//!
//! systemd is asked over the bus and not the cgroup in `/proc`, which the service's own unit hides
//! from it (`ProtectProc=invisible`). What a reader would get wrong: the process may have handed its
//! connection on, or be gone, and its number be another's. The bus tells who made the connection, as with
//! users and groups; a number alone lets nobody do more.

use std::time::Duration;

use zbus::{
    Connection, OwnedFd, OwnedObjectPath, Proxy,
    fdo::{self, ConnectionCredentials},
    names::BusName,
    proxy::{CacheProperties, MethodFlags},
};

use crate::rib::Unit;

/// How long a registration waits for systemd.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the bus says of a connection; none if it does not answer.
pub(super) async fn ask_bus(
    questions: &Connection,
    bus_name: &str,
) -> Option<ConnectionCredentials> {
    let asked = async {
        let bus = fdo::DBusProxy::new(questions).await?;
        bus.get_connection_credentials(BusName::try_from(bus_name)?)
            .await
            .map_err(zbus::Error::from)
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
}

/// The unit of the process that made a connection; none when nobody can tell. Where systemd does not run,
/// and for what is in no unit, there is none.
pub(super) async fn unit_of(questions: &Connection, of: ConnectionCredentials) -> Option<Unit> {
    let process = of.process_id();
    let asked = async {
        // The number of a process may be another's by the time that systemd hears it; its descriptor may
        // not. It takes dbus-daemon 1.15.8 or dbus-broker 36, and systemd 255.
        if let Some(descriptor) = of.into_process_fd()
            && let Ok(path) = by_descriptor(questions, descriptor).await
        {
            return Some(Unit { name: unit_name(&path), is_sure: true });
        }
        let path = by_number(questions, process?).await.ok()??;
        Some(Unit { name: unit_name(&path), is_sure: false })
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?
}

async fn by_descriptor(questions: &Connection, process: OwnedFd) -> zbus::Result<OwnedObjectPath> {
    type Found = (OwnedObjectPath, String, Vec<u8>);
    let systemd = systemd(questions, "/org/freedesktop/systemd1", "Manager").await?;
    let flags = MethodFlags::NO_AUTO_START;
    let found: Option<Found> =
        systemd.call_with_flags("GetUnitByPIDFD", flags, &(process,)).await?;
    found.map(|(path, ..)| path).ok_or(zbus::Error::InterfaceNotFound)
}

async fn by_number(questions: &Connection, process: u32) -> zbus::Result<Option<OwnedObjectPath>> {
    let systemd = systemd(questions, "/org/freedesktop/systemd1", "Manager").await?;
    systemd.call_with_flags("GetUnitByPID", MethodFlags::NO_AUTO_START, &(process,)).await
}

/// Whether a unit was stopped: by somebody who told systemd so, or as a service by itself, without a
/// failure. A restart is no stop. Where nobody can tell, it was not.
pub(super) async fn was_stopped(questions: &Connection, unit: &str) -> bool {
    let answer = tokio::time::timeout(PATIENCE, ask_about_stop(questions, unit)).await;
    answer.is_ok_and(|stopped| stopped.unwrap_or(false))
}

async fn ask_about_stop(questions: &Connection, unit: &str) -> zbus::Result<bool> {
    let manager = systemd(questions, "/org/freedesktop/systemd1", "Manager").await?;
    let flags = MethodFlags::NO_AUTO_START;
    let found = manager.call_with_flags("GetUnit", flags, &(unit,)).await;
    // A scope is inactive however its processes ended.
    let is_service = unit.ends_with(".service");
    let path: OwnedObjectPath = match found {
        Ok(Some(path)) => path,
        Ok(None) => return Ok(false),
        // A service that was stopped is forgotten; one that failed is not, unless it is to be collected.
        Err(zbus::Error::MethodError(name, ..)) => {
            return Ok(is_service && name.as_str() == "org.freedesktop.systemd1.NoSuchUnit");
        }
        Err(error) => return Err(error),
    };
    let unit = systemd(questions, path.as_str(), "Unit").await?;
    let (number, job): (u32, OwnedObjectPath) = unit.get_property("Job").await?;
    if number != 0 {
        let job = systemd(questions, job.as_str(), "Job").await?;
        return Ok(job.get_property::<String>("JobType").await? == "stop");
    }
    Ok(is_service && unit.get_property::<String>("ActiveState").await? == "inactive")
}

async fn systemd<'p>(
    questions: &Connection,
    path: &'p str,
    interface: &str,
) -> zbus::Result<Proxy<'p>> {
    let interface = format!("org.freedesktop.systemd1.{interface}");
    zbus::proxy::Builder::new(questions)
        .destination("org.freedesktop.systemd1")
        .path(path)
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// The name that is in the path of a unit's object, where systemd writes what no path can have as
/// an underscore and two hexadecimal digits.
fn unit_name(path: &str) -> String {
    let label = path.rsplit('/').next().unwrap_or_default();
    let mut parts = label.split('_');
    let mut name: Vec<u8> = parts.next().unwrap_or_default().into();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                name.push(byte);
                name.extend(&part.as_bytes()[2..]);
            }
            None => name.extend(part.as_bytes()),
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_name_is_read_from_the_path_of_its_object() {
        let name = |label: &str| unit_name(&format!("/org/freedesktop/systemd1/unit/{label}"));
        assert_eq!(name("bird_2eservice"), "bird.service");
        assert_eq!(name("getty_40tty1_2eservice"), "getty@tty1.service");
        assert_eq!(name("session_2dc1_2escope"), "session-c1.scope");
        assert_eq!(name("_"), "");
    }
}
