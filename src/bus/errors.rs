//! Refusals of the core as D-Bus errors.

use zbus::{
    DBusError, Message,
    message::Header,
    names::{ErrorName, OwnedErrorName},
};

use super::wire::{ERROR_PREFIX, ItemError};
use crate::model::{Error, ErrorKind};

/// The D-Bus name of an error.
fn error_name(kind: ErrorKind) -> String {
    format!("{ERROR_PREFIX}.{}", kind.name())
}

impl DBusError for Error {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(&self.message,))
    }

    fn name(&self) -> ErrorName<'_> {
        OwnedErrorName::try_from(error_name(self.kind)).map_or_else(
            |_| ErrorName::from_static_str_unchecked("org.freedesktop.DBus.Error.Failed"),
            |name| name.into_inner(),
        )
    }

    fn description(&self) -> Option<&str> {
        Some(&self.message)
    }
}

/// The refusal of one item of a bulk call.
pub(super) fn item_error(index: usize, error: Error) -> ItemError {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    ItemError { index, name: error_name(error.kind), text: error.message }
}

/// The service could not do its part on the bus.
pub(super) fn bus_trouble(error: &zbus::Error) -> Error {
    ErrorKind::NoSystemResources.because(format_args!("the bus refused the service: {error}"))
}
