//! Whom a grant is for, and what is known of who calls.
//!
//! What a reader would get wrong: a systemd unit alone says who calls only where nothing can have come
//! between asking the bus and asking systemd.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known of a caller besides its user: what the bus and systemd say, never what the client says.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credentials {
    /// The groups of its process.
    pub groups: Vec<u32>,
    /// The systemd unit of its process, if anybody told.
    pub unit: Option<Unit>,
    /// Whether something else than a grant lets it do what it asks for.
    pub standing: Standing,
}

/// The systemd unit of a process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unit {
    /// Its name, as `bird.service`.
    pub name: String,
    /// Whether that is the unit of who made the connection: not so where it was found by the number of
    /// the process, which another may have had by then.
    pub is_sure: bool,
}

/// What else than a grant lets a caller do something.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Standing {
    /// Nothing.
    #[default]
    Ordinary,
    /// It is the user that the service runs as.
    Service,
    /// Somebody who may was asked, and said yes.
    Authorized,
}

/// Whom a grant is for: all that is given has to be so, and something is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Whom {
    /// A user, by its number.
    pub user: Option<u32>,
    /// A group that the process is in, by its number.
    pub group: Option<u32>,
    /// A systemd unit.
    pub unit: Option<String>,
}

/// Why a grant is not for a caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mismatch<'g> {
    /// It is for nobody, for this reason.
    Inert(&'g str),
    /// It is for another user.
    User(u32),
    /// It is for who is in another group.
    Group(u32),
    /// It is for another unit.
    Unit(&'g str),
    /// It is for this unit alone, and nobody can say for sure that the caller is in it.
    Unsure(&'g str),
}

impl Credentials {
    /// Of who was let do something by an administrator.
    pub fn authorized() -> Self {
        Self { standing: Standing::Authorized, ..Self::default() }
    }
}

impl Whom {
    /// Whether that is the caller.
    ///
    /// # Errors
    /// What of it is not the caller's.
    pub fn matches(&self, uid: u32, credentials: &Credentials) -> Result<(), Mismatch<'_>> {
        if let Some(user) = self.user.filter(|user| *user != uid) {
            return Err(Mismatch::User(user));
        }
        if let Some(group) = self.group.filter(|group| !credentials.groups.contains(group)) {
            return Err(Mismatch::Group(group));
        }
        let Some(wanted) = &self.unit else { return Ok(()) };
        match &credentials.unit {
            Some(unit) if unit.name != *wanted => Err(Mismatch::Unit(wanted)),
            Some(unit) if !unit.is_sure && self.user.is_none() && self.group.is_none() => {
                Err(Mismatch::Unsure(wanted))
            }
            Some(_) => Ok(()),
            None => Err(Mismatch::Unit(wanted)),
        }
    }
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inert(why) => write!(f, "it is for nobody: {why}"),
            Self::User(user) => write!(f, "it is for user {user}"),
            Self::Group(group) => write!(f, "it is for group {group}"),
            Self::Unit(unit) => write!(f, "it is for unit {unit}"),
            Self::Unsure(unit) => write!(
                f,
                "it is for unit {unit} alone, which this bus and systemd cannot tell for sure: name a \
                 user or a group in it too"
            ),
        }
    }
}
