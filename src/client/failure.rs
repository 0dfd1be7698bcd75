//! What can go wrong with a call, sorted by what the caller can do about it.

use zbus::fdo;

use crate::{bus::wire::ERROR_PREFIX, model::error::ErrorKind};

/// Why a call did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The service answered, and said no; nothing was changed.
    #[error("{message}")]
    Refused {
        /// The error name without its prefix, such as `NotFound`.
        name: String,
        /// What was wrong and with which value.
        message: String,
    },
    /// The bus does not let this user make the call.
    #[error("{0}")]
    Denied(String),
    /// There is no bus, no service on it, or no answer from it.
    #[error("{0}")]
    Unreachable(String),
    /// The other side is there but does not speak this API.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl Failure {
    /// The refusal of an item, which has the name and the text of a D-Bus error.
    pub(super) fn of_item(name: &str, message: String) -> Self {
        let own = name.strip_prefix(ERROR_PREFIX).and_then(|rest| rest.strip_prefix('.'));
        Self::Refused { name: own.unwrap_or(name).to_owned(), message }
    }

    /// Which of the API's errors a refusal is.
    pub fn kind(&self) -> Option<ErrorKind> {
        let Self::Refused { name, .. } = self else { return None };
        ErrorKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        use fdo::Error as Standard;
        match error {
            zbus::Error::MethodError(name, message, _) => {
                let message = message.unwrap_or_else(|| name.to_string());
                match name.strip_prefix(ERROR_PREFIX).and_then(|rest| rest.strip_prefix('.')) {
                    Some(own) => Self::Refused { name: own.into(), message },
                    // Activation that failed: the bus knows the service but could not start it.
                    None if name.contains(".Spawn.") || name.contains(".systemd1.") => {
                        Self::Unreachable(message)
                    }
                    None => Self::Unexpected(format!("{}: {message}", name.as_str())),
                }
            }
            zbus::Error::FDO(error) => match *error {
                Standard::ZBus(inner) => inner.into(),
                Standard::AccessDenied(message) | Standard::AuthFailed(message) => {
                    Self::Denied(message)
                }
                Standard::ServiceUnknown(message)
                | Standard::NameHasNoOwner(message)
                | Standard::NoReply(message)
                | Standard::NoServer(message)
                | Standard::Timeout(message)
                | Standard::TimedOut(message)
                | Standard::Disconnected(message) => Self::Unreachable(message),
                other => Self::Unexpected(other.to_string()),
            },
            zbus::Error::Address(_)
            | zbus::Error::Connection(..)
            | zbus::Error::Handshake(_)
            | zbus::Error::InputOutput(_) => Self::Unreachable(error.to_string()),
            other => Self::Unexpected(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(name: &'static str, text: &str) -> Failure {
        let call = zbus::message::Message::method_call("/", "M").build(&()).unwrap();
        let reply = zbus::message::Message::error(&call.header(), name).build(&text).unwrap();
        zbus::Error::from(reply).into()
    }

    #[test]
    fn an_error_of_the_service_is_a_refusal_with_its_kind_and_sentence() {
        let failure = reply("org.rtmd1.Error.NotFound", "no destination covers 10.0.0.0/8");
        assert_eq!(failure.kind(), Some(ErrorKind::NotFound));
        assert_eq!(failure.to_string(), "no destination covers 10.0.0.0/8");
    }

    #[test]
    fn a_refusal_of_a_newer_service_keeps_its_sentence() {
        let failure = reply("org.rtmd1.Error.Sleepy", "ask again tomorrow");
        assert_eq!(failure.kind(), None);
        assert_eq!(failure.to_string(), "ask again tomorrow");
    }

    #[test]
    fn a_service_that_is_not_there_is_unreachable_and_not_a_refusal() {
        let failure = reply("org.freedesktop.DBus.Error.ServiceUnknown", "no such name");
        assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    }

    #[test]
    fn a_bus_policy_that_forbids_the_call_is_a_denial() {
        let failure = reply("org.freedesktop.DBus.Error.AccessDenied", "rejected send message");
        assert!(matches!(failure, Failure::Denied(_)), "{failure:?}");
    }
}
