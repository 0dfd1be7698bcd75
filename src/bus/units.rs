//! Which systemd unit a client is, for people who ask.
//!
//! systemd is asked over the bus and not the cgroup in `/proc`, which the service's own unit hides
//! from it (`ProtectProc=invisible`). Nothing is decided by the answer: the process may have handed
//! its connection on.

use std::{sync::Arc, time::Duration};

use zbus::{Connection, OwnedObjectPath, Proxy, fdo, names::BusName, proxy::MethodFlags};

/// How long a registration waits for systemd.
const PATIENCE: Duration = Duration::from_millis(500);

/// The unit of the process that made a connection; empty when nobody can tell.
pub(super) async fn unit_of(questions: &Connection, bus_name: &str) -> Arc<str> {
    match tokio::time::timeout(PATIENCE, ask(questions, bus_name)).await {
        Ok(Ok(Some(unit))) => unit_name(&unit).into(),
        // Where systemd does not run, and for what is in no unit, there is none.
        Ok(Ok(None) | Err(_)) | Err(_) => Arc::default(),
    }
}

async fn ask(questions: &Connection, bus_name: &str) -> zbus::Result<Option<OwnedObjectPath>> {
    let bus = fdo::DBusProxy::new(questions).await?;
    let process = bus.get_connection_unix_process_id(BusName::try_from(bus_name)?).await?;
    let systemd = Proxy::new(
        questions,
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
    );
    let flags = MethodFlags::NO_AUTO_START;
    systemd.await?.call_with_flags("GetUnitByPID", flags, &(process,)).await
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
