//! Private objects: enumerations, registrations for change notification, route lists.
//!
//! Each belongs to the connection that made it and goes with it. Nobody else may use it. That it is
//! there is no secret: `Introspect` lists its path, and who calls it is answered `InvalidHandle`,
//! where a path without an object is answered `UnknownObject`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zbus::{
    Connection, OwnedObjectPath, message::Header, names::InterfaceName, object_server::Interface,
    wire::ObjectPath,
};

use super::{context::Context, errors::bus_trouble, introspection, served::Served};
use crate::{
    model::{Caller, ErrorKind, ListId, NotificationId, Result, TableId, quoted},
    rib::Limits,
};

/// Who a private object belongs to: a connection.
#[derive(Clone, Debug)]
pub(super) struct Owner(Caller);

/// The private objects there are.
#[derive(Debug, Default)]
pub(super) struct Privates(Mutex<HashMap<OwnedObjectPath, Private>>);

#[derive(Debug)]
struct Private {
    owner: Caller,
    kind: Kind,
    interface: InterfaceName<'static>,
}

/// What a private object is, and what the core knows of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Enumeration,
    Notification(TableId, NotificationId),
    RouteList(ListId),
}

impl Owner {
    pub(super) fn new(caller: Caller) -> Self {
        Self(caller)
    }

    /// The owner, if it is the one that calls.
    ///
    /// # Errors
    /// `InvalidHandle` for everybody else (RTMv2 rows ENUM-20 and LIST-10).
    pub(super) fn check(&self, header: &Header<'_>) -> Result<&Caller> {
        match header.sender() {
            Some(sender) if sender.as_str() == self.0.bus_name => Ok(&self.0),
            _ => Err(ErrorKind::InvalidHandle.because("there is no such object of yours")),
        }
    }
}

impl Kind {
    /// What there are too many of, and the limit's name; how many a connection may have, a user, and
    /// all together.
    fn limits(self, l: &Limits) -> (&'static str, &'static str, [u32; 3]) {
        match self {
            Self::Enumeration => (
                "enumerations",
                "enumerations",
                [l.enumerations_per_client, l.enumerations_per_user, l.enumerations],
            ),
            Self::Notification(..) => (
                "registrations for change notification",
                "notifications",
                [l.notifications_per_client, l.notifications_per_user, l.notifications],
            ),
            Self::RouteList(_) => (
                "route lists",
                "route-lists",
                [l.route_lists_per_client, l.route_lists_per_user, l.route_lists],
            ),
        }
    }

    fn is_alike(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl Privates {
    /// # Errors
    /// `NoSystemResources` when the connection, its user, or all together have too many of the kind.
    fn add(&self, path: &OwnedObjectPath, private: Private, limits: &Limits) -> Result<()> {
        let mut known = self.lock();
        let mut counts = [0; 3];
        for Private { owner, .. } in known.values().filter(|it| it.kind.is_alike(private.kind)) {
            counts[0] += u32::from(owner.bus_name == private.owner.bus_name);
            counts[1] += u32::from(owner.uid == private.owner.uid);
            counts[2] += 1;
        }
        let (what, name, most) = private.kind.limits(limits);
        let whose =
            [("for one client", "-per-client"), ("for one user", "-per-user"), ("of all", "")];
        for ((count, most), (whose, per)) in counts.into_iter().zip(most).zip(whose) {
            if count >= most {
                return Err(ErrorKind::NoSystemResources.because(format_args!(
                    "{count} {what} are open, the most {whose} (limit {name}{per}): end one first"
                )));
            }
        }
        known.insert(path.clone(), private);
        Ok(())
    }

    /// The route list that is this object of the connection's.
    ///
    /// # Errors
    /// `InvalidHandle` for everything else (RTMv2 row LIST-10).
    pub(super) fn route_list(&self, path: &OwnedObjectPath, bus_name: &str) -> Result<ListId> {
        match self.lock().get(path) {
            Some(Private { owner, kind: Kind::RouteList(id), .. })
                if owner.bus_name == bus_name =>
            {
                Ok(*id)
            }
            _ => {
                let path = quoted(path.as_str());
                Err(ErrorKind::InvalidHandle
                    .because(format_args!("{path} is no route list of yours")))
            }
        }
    }

    /// Those of a connection.
    pub(super) fn of(&self, bus_name: &str) -> Vec<OwnedObjectPath> {
        let known = self.lock();
        let own = known.iter().filter(|(_, private)| private.owner.bus_name == bus_name);
        own.map(|(path, _)| path.clone()).collect()
    }

    /// Those below an object.
    pub(super) fn below(&self, path: &ObjectPath<'_>) -> Vec<OwnedObjectPath> {
        let known = self.lock();
        let is_below = |other: &&OwnedObjectPath| {
            let rest = other.as_str().strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        known.keys().filter(is_below).cloned().collect()
    }

    /// Those of everybody.
    pub(super) fn paths(&self) -> Vec<OwnedObjectPath> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedObjectPath, Private>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a private object on the bus.
pub(super) async fn serve<I: Interface + Clone>(
    context: &Arc<Context>,
    connection: &Connection,
    (path, owner, kind): (OwnedObjectPath, &Caller, Kind),
    object: I,
) -> Result<OwnedObjectPath> {
    let limits = context.rib.with(|rib| rib.policy().limits);
    let private = Private { owner: owner.clone(), kind, interface: I::name() };
    if let Err(refusal) = context.privates.add(&path, private, &limits) {
        forget(context, kind);
        return Err(refusal);
    }
    let object = Served::new(context, object);
    if let Err(error) = connection.object_server().at(&path, object).await {
        context.privates.lock().remove(&path);
        forget(context, kind);
        return Err(bus_trouble(&error));
    }
    if let Some((above, _)) = path.rsplit_once('/') {
        introspection::list_by_name(context, connection, above).await;
    }
    Ok(path)
}

/// Takes a private object off the bus, with what it stands for; if it is gone nothing happens.
pub(super) async fn close(context: &Context, connection: &Connection, path: &ObjectPath<'_>) {
    let path = OwnedObjectPath::from(path.to_owned());
    let Some(private) = context.privates.lock().remove(&path) else { return };
    forget(context, private.kind);
    let _ = connection.object_server().remove_named(&path, private.interface).await;
}

fn forget(context: &Context, kind: Kind) {
    context.rib.with(|rib| match kind {
        Kind::Enumeration => {}
        Kind::Notification(table, id) => rib.deregister_from_changes(table, id),
        Kind::RouteList(id) => rib.delete_route_list(id),
    });
}
