//! Refusals of the core as D-Bus errors.

use zbus::{
    DBusError, Message,
    message::Header,
    names::{ErrorName, OwnedErrorName},
};

use super::wire::{ERROR_PREFIX, ItemError};
use crate::model::{Error, ErrorKind, Result};

/// The D-Bus name of an error.
pub(super) fn error_name(kind: ErrorKind) -> String {
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

/// The refusals of one bulk call.
///
/// They have to fit into one reply, whatever was wrong with the items: the bus disconnects whoever
/// sends more than it takes, and that would be the service.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    items: Vec<ItemError>,
    texts: usize,
}

/// The most items of a call.
const MOST_ITEMS: usize = 32_768;

/// Checks how many items a bulk call has: the core deals with all of them before it turns to others.
///
/// # Errors
/// `NoSystemResources` for too many.
pub(super) fn check_items<T>(items: &[T]) -> Result<()> {
    if items.len() > MOST_ITEMS {
        let count = items.len();
        return Err(ErrorKind::NoSystemResources
            .because(format_args!("{count} items, a call has {MOST_ITEMS} at most")));
    }
    Ok(())
}

impl Refusals {
    /// The most bytes of text of a reply; later refusals have only their names.
    const MOST_TEXT: usize = 1 << 20;

    pub(super) fn push(&mut self, index: usize, error: Error) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.texts += error.message.len();
        let text = if self.texts <= Self::MOST_TEXT { error.message } else { String::new() };
        self.items.push(ItemError { index, name: error_name(error.kind), text });
    }

    pub(super) fn into_items(self) -> Vec<ItemError> {
        self.items
    }
}

/// The service could not do its part on the bus.
pub(super) fn bus_trouble(error: &zbus::Error) -> Error {
    ErrorKind::NoSystemResources.because(format_args!("the bus refused the service: {error}"))
}
