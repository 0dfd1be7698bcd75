//! What a client did that cannot be.
//!
//! Each [`ErrorKind`] is one Win32 code of RTMv2's functions and one D-Bus error name under
//! `org.rtmd1.Error.`; the sentence beside it says what was wrong and with which value.

use std::fmt;

/// A refusal: nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Which of RTMv2's codes this is.
    pub kind: ErrorKind,
    /// What was wrong and with which value: lower case, no full stop.
    pub message: String,
}

/// The codes that a bus can produce.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorKind {
    /// The caller may not do this to that object (`ERROR_ACCESS_DENIED`, 5).
    AccessDenied,
    /// That entity is registered already (`ERROR_ALREADY_EXISTS`, 183).
    AlreadyExists,
    /// The configuration of that instance is unusable (`ERROR_BAD_CONFIGURATION`, 1610).
    BadConfiguration,
    /// Nothing is configured under that instance or family (`ERROR_FILE_NOT_FOUND`, 2).
    FileNotFound,
    /// A text or a blob that cannot be taken as it is (`ERROR_INVALID_DATA`, 13).
    InvalidData,
    /// An id or object that is not, or not any more, of that kind (`ERROR_INVALID_HANDLE`, 6).
    InvalidHandle,
    /// An argument out of its domain (`ERROR_INVALID_PARAMETER`, 87).
    InvalidParameter,
    /// A limit on registrations or other long-lived objects (`ERROR_NO_SYSTEM_RESOURCES`, 1450).
    NoSystemResources,
    /// Nothing is left of what was asked for (`ERROR_NO_MORE_ITEMS`, 259).
    NoMoreItems,
    /// Nothing there answers to the question (`ERROR_NOT_FOUND`, 1168).
    NotFound,
    /// A limit on the size of a table (`ERROR_NOT_ENOUGH_MEMORY`, 8).
    NotEnoughMemory,
    /// A view or an option that this service does not offer (`ERROR_NOT_SUPPORTED`, 50).
    NotSupported,
    /// It changed meanwhile, or is in use in a way that excludes this: look, and try again.
    Busy,
    /// Somebody else did not answer in time.
    Timeout,
}

/// What a command of the core answers.
pub type Result<T> = std::result::Result<T, Error>;

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::AccessDenied,
        Self::AlreadyExists,
        Self::BadConfiguration,
        Self::FileNotFound,
        Self::InvalidData,
        Self::InvalidHandle,
        Self::InvalidParameter,
        Self::NoMoreItems,
        Self::NoSystemResources,
        Self::NotFound,
        Self::NotEnoughMemory,
        Self::NotSupported,
        Self::Busy,
        Self::Timeout,
    ];

    /// The last part of the D-Bus error name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::AlreadyExists => "AlreadyExists",
            Self::BadConfiguration => "BadConfiguration",
            Self::FileNotFound => "FileNotFound",
            Self::InvalidData => "InvalidData",
            Self::InvalidHandle => "InvalidHandle",
            Self::InvalidParameter => "InvalidParameter",
            Self::NoMoreItems => "NoMoreItems",
            Self::NoSystemResources => "NoSystemResources",
            Self::NotFound => "NotFound",
            Self::NotEnoughMemory => "NotEnoughMemory",
            Self::NotSupported => "NotSupported",
            Self::Busy => "Busy",
            Self::Timeout => "Timeout",
        }
    }

    /// An error of this kind.
    pub fn because(self, message: impl fmt::Display) -> Error {
        Error { kind: self, message: message.to_string() }
    }
}

/// What somebody sent, as it goes into a message: short, and harmless in logs and on terminals.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 64;
    let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    format!("\"{shown}\"")
}
