//! Who may do what: grants that an administrator wrote, and which of them is a caller's.
//!
//! The first grant that is for a caller is the caller's, and nothing is added to it from later ones: what it
//! does not allow is refused. Root, the user the service runs as, and what an administrator said yes to are
//! bound by none. What a reader would get wrong: which grant an entity acts under is found once, when it
//! registers or the grants change; a route is checked against its bounds alone.

use std::{fmt, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use super::whom::{Credentials, Mismatch, Standing, Whom};
use crate::model::{
    EntityKey, Error, ErrorKind, Family, InstanceId, Preference, Prefix, Protocol, TableId, ViewSet,
};

/// What the administrator lets others do.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grants(pub Vec<Grant>);

/// Who may do what. What is empty or `None` bounds nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// What it is called in refusals.
    pub name: String,
    /// Whom it is for, or why it is for nobody.
    pub whom: Result<Whom, String>,
    /// What its entities may be of.
    pub protocols: Vec<Protocol>,
    /// The instances that they may work in.
    pub instances: Vec<InstanceId>,
    /// The families that they may work in.
    pub families: Vec<Family>,
    /// Where their routes may lead to.
    pub prefixes: Prefixes,
    /// How many routes each of them may have.
    pub routes: Option<u32>,
    /// How many next hops each of them may have.
    pub next_hops: Option<u32>,
    /// How many of them one user may have.
    pub registrations: Option<u32>,
    /// What preferences their routes may get.
    pub preferences: Option<RangeInclusive<Preference>>,
    /// What views their routes may be in.
    pub views: Option<ViewSet>,
    /// How long they may linger, in milliseconds; 0xFFFFFFFF for ever.
    pub linger: Option<u32>,
    /// Whether they may be shared, which outlives any connection.
    pub shared: bool,
    /// Whether static routes of the service's own may be added and removed.
    pub statics: bool,
    /// Whether levels, forwarding and the configuration in force may be changed.
    pub administer: bool,
}

/// Destinations: all, if none is named.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Prefixes {
    /// Sorted.
    exact: Vec<Prefix>,
    /// Those, and all that are in them; sorted, and none is in another.
    longer: Vec<Prefix>,
}

/// What an entity may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Right {
    /// Everything.
    Everything,
    /// What the grant with this index allows.
    Granted(usize),
    /// Take back what it has.
    Nothing,
}

/// What is asked for beside registrations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed {
    /// To add or remove a static route of the service's own.
    ManageStatic,
    /// To change levels, forwarding or the configuration in force.
    Administer,
}

impl Prefixes {
    /// These, and those with all that are in them.
    pub fn new(mut exact: Vec<Prefix>, mut longer: Vec<Prefix>) -> Self {
        exact.sort_unstable();
        exact.dedup();
        longer.sort_unstable();
        // A prefix stands before all that are in it.
        longer.dedup_by(|next, before| contains(*before, *next));
        Self { exact, longer }
    }

    /// Whether a destination is among them.
    pub fn contain(&self, to: Prefix) -> bool {
        let is_in_one = || {
            let after = self.longer.partition_point(|prefix| *prefix <= to);
            let before = after.checked_sub(1).and_then(|last| self.longer.get(last));
            before.is_some_and(|prefix| contains(*prefix, to))
        };
        self.exact.is_empty() && self.longer.is_empty()
            || self.exact.binary_search(&to).is_ok()
            || is_in_one()
    }
}

fn contains(prefix: Prefix, other: Prefix) -> bool {
    prefix.family() == other.family() && prefix.covers(other)
}

impl Grant {
    /// A grant of everything but what takes an administrator.
    pub fn new(name: impl Into<String>, whom: Result<Whom, String>) -> Self {
        Self {
            name: name.into(),
            whom,
            protocols: Vec::new(),
            instances: Vec::new(),
            families: Vec::new(),
            prefixes: Prefixes::default(),
            routes: None,
            next_hops: None,
            registrations: None,
            preferences: None,
            views: None,
            linger: None,
            shared: true,
            statics: false,
            administer: false,
        }
    }

    /// Whether it is for a caller.
    ///
    /// # Errors
    /// Why it is not.
    pub fn matches(&self, uid: u32, credentials: &Credentials) -> Result<(), Mismatch<'_>> {
        match &self.whom {
            Ok(whom) => whom.matches(uid, credentials),
            Err(why) => Err(Mismatch::Inert(why)),
        }
    }

    /// Refuses to let somebody be this entity.
    ///
    /// # Errors
    /// `AccessDenied` with what it allows instead.
    pub fn check_key(&self, key: EntityKey) -> Result<(), Error> {
        self.check_table(key.table)?;
        if !allows(&self.protocols, &key.protocol) {
            return self.refuse("protocols", &listed(&self.protocols), key.protocol);
        }
        Ok(())
    }

    /// Refuses a route.
    ///
    /// # Errors
    /// As [`Grant::check_key`].
    pub fn check_route(
        &self,
        to: Prefix,
        preference: Preference,
        views: ViewSet,
    ) -> Result<(), Error> {
        self.check_place(to, views)?;
        match &self.preferences {
            Some(allowed) if !allowed.contains(&preference) => {
                let (from, to) = (allowed.start().0, allowed.end().0);
                self.refuse("preferences", &format!("{from} to {to}"), preference.0)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a destination or views.
    ///
    /// # Errors
    /// As [`Grant::check_key`].
    pub fn check_place(&self, to: Prefix, views: ViewSet) -> Result<(), Error> {
        if !self.prefixes.contain(to) {
            return self.refuse("prefixes", &self.prefixes, to);
        }
        match self.views {
            Some(allowed) if !views.without(allowed).is_empty() => {
                self.refuse("views", &allowed, views)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a table.
    ///
    /// # Errors
    /// As [`Grant::check_key`].
    pub fn check_table(&self, table: TableId) -> Result<(), Error> {
        if !allows(&self.instances, &table.instance) {
            return self.refuse("instances", &listed(&self.instances), table.instance);
        }
        if !allows(&self.families, &table.family) {
            return self.refuse("families", &listed(&self.families), table.family);
        }
        Ok(())
    }

    /// Refuses a deed.
    ///
    /// # Errors
    /// As [`Grant::check_key`].
    pub fn check_deed(&self, deed: Deed) -> Result<(), Error> {
        let (is_allowed, key) = match deed {
            Deed::ManageStatic => (self.statics, "static"),
            Deed::Administer => (self.administer, "administer"),
        };
        if is_allowed {
            return Ok(());
        }
        let name = &self.name;
        Err(ErrorKind::AccessDenied.because(format_args!(
            "grant \"{name}\" does not let anyone {deed}: it would take {key} = true in it"
        )))
    }

    /// Refuses what is not among what it allows of a kind.
    pub(super) fn refuse<T>(
        &self,
        kind: &str,
        allowed: &dyn fmt::Display,
        wanted: impl fmt::Display,
    ) -> Result<T, Error> {
        let name = &self.name;
        Err(ErrorKind::AccessDenied
            .because(format_args!("grant \"{name}\" allows {kind} {allowed}: not {wanted}")))
    }
}

impl Grants {
    /// The grant that is a caller's, and its index.
    ///
    /// # Errors
    /// None is for it: why each of them is not.
    pub fn first(
        &self,
        uid: u32,
        credentials: &Credentials,
    ) -> Result<(usize, &Grant), Vec<Mismatch<'_>>> {
        let mut mismatches = Vec::new();
        for (index, grant) in self.0.iter().enumerate() {
            match grant.matches(uid, credentials) {
                Ok(()) => return Ok((index, grant)),
                Err(why) => mismatches.push(why),
            }
        }
        Err(mismatches)
    }

    /// What an entity may do.
    ///
    /// # Errors
    /// `AccessDenied` with the rule that says so, if nobody may be it by these grants.
    pub fn right(
        &self,
        uid: u32,
        credentials: &Credentials,
        key: EntityKey,
    ) -> Result<Right, Error> {
        if is_unbound(uid, credentials) {
            return Ok(Right::Everything);
        }
        match self.first(uid, credentials) {
            Ok((index, grant)) => grant.check_key(key).map(|()| Right::Granted(index)),
            Err(mismatches) => {
                Err(nobody(uid, credentials, &format_args!("register {key}"), &mismatches))
            }
        }
    }

    /// Refuses a deed.
    ///
    /// # Errors
    /// `AccessDenied` with the rule that says so.
    pub fn check_deed(&self, uid: u32, credentials: &Credentials, deed: Deed) -> Result<(), Error> {
        if is_unbound(uid, credentials) {
            return Ok(());
        }
        match self.first(uid, credentials) {
            Ok((_, grant)) => grant.check_deed(deed),
            Err(mismatches) => Err(nobody(uid, credentials, &deed, &mismatches)),
        }
    }
}

/// Whether no grant binds a caller. Root could change them anyway, and is never locked out.
pub(super) fn is_unbound(uid: u32, credentials: &Credentials) -> bool {
    const ROOT: u32 = 0;
    uid == ROOT || credentials.standing != Standing::Ordinary
}

/// That no grant is for a caller, in words.
fn nobody(
    uid: u32,
    credentials: &Credentials,
    what: &dyn fmt::Display,
    mismatches: &[Mismatch<'_>],
) -> Error {
    const MOST_TOLD: usize = 16;
    let mut told: Vec<u32> = credentials.groups.iter().copied().take(MOST_TOLD).collect();
    told.sort_unstable();
    let groups = match told.len() {
        0 => String::new(),
        _ => format!(" (in groups {})", listed(&told)),
    };
    let unit = mismatches.iter().find(|why| matches!(why, Mismatch::Unsure(_)));
    let unsure = unit.map(|why| format!(" ({why})")).unwrap_or_default();
    ErrorKind::AccessDenied.because(format_args!(
        "no grant lets user {uid}{groups} {what}: add a [[grant]] in /etc/rtmd/rtmd.toml, see \
         rtmd.toml(5){unsure}"
    ))
}

fn allows<T: PartialEq>(all: &[T], one: &T) -> bool {
    all.is_empty() || all.contains(one)
}

/// The first of them, so that a refusal is no page.
fn listed<T: fmt::Display>(all: &[T]) -> String {
    const MOST: usize = 8;
    let mut words: Vec<String> = all.iter().take(MOST).map(ToString::to_string).collect();
    if let Some(more) = all.len().checked_sub(MOST).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

impl fmt::Display for Prefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = listed(&self.exact);
        let longer = listed(&self.longer);
        match (self.exact.is_empty(), self.longer.is_empty()) {
            (true, true) => f.write_str("all"),
            (false, true) => f.write_str(&exact),
            (true, false) => write!(f, "in {longer}"),
            (false, false) => write!(f, "{exact} and in {longer}"),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManageStatic => "manage static routes",
            Self::Administer => "administer the service",
        })
    }
}
