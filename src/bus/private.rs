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
    model::{Caller, ErrorKind, ListId, NotificationId, Result, TableId},
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
    owner: String,
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
    /// What there are too many of, how many a connection may have, and how many all together.
    fn limits(self, limits: &Limits) -> (&'static str, u32, u32) {
        match self {
            Self::Enumeration => {
                ("enumerations", limits.enumerations_per_client, limits.enumerations)
            }
            Self::Notification(..) => (
                "registrations for change notification",
                limits.notifications_per_client,
                limits.notifications,
            ),
            Self::RouteList(_) => {
                ("route lists", limits.route_lists_per_client, limits.route_lists)
            }
        }
    }

    fn is_alike(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl Privates {
    /// # Errors
    /// `NoSystemResources` when the connection, or all together, have too many of the kind.
    fn add(&self, path: &OwnedObjectPath, private: Private, limits: &Limits) -> Result<()> {
        let mut known = self.lock();
        let alike = known.values().filter(|other| other.kind.is_alike(private.kind));
        let (own, all) = alike.fold((0, 0), |(own, all), other| {
            (own + u32::from(other.owner == private.owner), all + 1)
        });
        let (what, most_own, most) = private.kind.limits(limits);
        let refuse = |count: u32, whose: &str| {
            Err(ErrorKind::NoSystemResources
                .because(format_args!("{count} {what} are open, the most {whose}")))
        };
        if own >= most_own {
            return refuse(own, "for one client");
        }
        if all >= most {
            return refuse(all, "of all");
        }
        known.insert(path.clone(), private);
        Ok(())
    }

    /// Those of a connection.
    pub(super) fn of(&self, bus_name: &str) -> Vec<OwnedObjectPath> {
        let known = self.lock();
        let own = known.iter().filter(|(_, private)| private.owner == bus_name);
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
    let private = Private { owner: owner.bus_name.clone(), kind, interface: I::name() };
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
