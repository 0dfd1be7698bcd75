//! Private objects: enumerations, registrations for change notification, route lists.
//!
//! Each belongs to the connection that made it and goes with it. Nobody else may use it. That it is
//! there is no secret: `Introspect` lists its path, and who calls it is answered `InvalidHandle`,
//! where a path without an object is answered `UnknownObject`.

use std::sync::Arc;

use zbus::{
    Connection, OwnedObjectPath, message::Header, object_server::Interface, wire::ObjectPath,
};

use super::{
    context::Context,
    entity::Entity,
    enumeration::{DestinationEnumeration, NextHopEnumeration, RouteEnumeration},
    errors::bus_trouble,
    introspection,
    notification::Notification,
    route_list::RouteList,
    served::Served,
};
use crate::{
    journal::ledger::{Ledger, Object, ObjectKind},
    model::{Caller, Error, ErrorKind, ListId, Result, quoted},
    rib::Limits,
};

/// Who a private object belongs to: a connection.
#[derive(Clone, Debug)]
pub(super) struct Owner(Caller);

impl Owner {
    /// The owner, if it is the one that calls.
    ///
    /// # Errors
    /// `InvalidHandle` for everybody else (RTMv2 rows ENUM-20 and LIST-10).
    pub(super) fn check(&self, header: &Header<'_>) -> Result<&Caller> {
        match header.sender() {
            Some(sender) if sender.as_str() == self.0.bus_name => Ok(&self.0),
            _ => Err(not_yours()),
        }
    }
}

pub(super) fn not_yours() -> Error {
    ErrorKind::InvalidHandle.because("there is no such object of yours")
}

/// What a private object is called where there are too many, its limits' name, and how many a connection
/// may have, a user, and all together; `None` for what is not private.
fn limits(kind: &ObjectKind, l: &Limits) -> Option<(&'static str, &'static str, [u32; 3])> {
    match kind {
        ObjectKind::Destinations(..) | ObjectKind::Routes(..) | ObjectKind::NextHops(_) => Some((
            "enumerations",
            "enumerations",
            [l.enumerations_per_client, l.enumerations_per_user, l.enumerations],
        )),
        ObjectKind::Notification(..) => Some((
            "registrations for change notification",
            "notifications",
            [l.notifications_per_client, l.notifications_per_user, l.notifications],
        )),
        ObjectKind::RouteList(..) => Some((
            "route lists",
            "route-lists",
            [l.route_lists_per_client, l.route_lists_per_user, l.route_lists],
        )),
        ObjectKind::Entity(..) => None,
    }
}

/// # Errors
/// `NoSystemResources` when the connection, its user, or all together have too many of the kind.
fn check_room(ledger: &Ledger, new: &Object) -> Result<()> {
    let most = ledger.policy().limits;
    let Some((what, name, most)) = limits(&new.kind, &most) else { return Ok(()) };
    let mut counts = [0; 3];
    let is_alike = |other: &&Object| {
        limits(&other.kind, &ledger.policy().limits).is_some_and(|(kind, ..)| kind == what)
    };
    for Object { owner, .. } in ledger.objects().values().filter(is_alike) {
        counts[0] += u32::from(owner.bus_name == new.owner.bus_name);
        counts[1] += u32::from(owner.uid == new.owner.uid);
        counts[2] += 1;
    }
    let whose = [("for one client", "-per-client"), ("for one user", "-per-user"), ("of all", "")];
    for ((count, most), (whose, per)) in counts.into_iter().zip(most).zip(whose) {
        if count >= most {
            return Err(ErrorKind::NoSystemResources.because(format_args!(
                "{count} {what} are open, the most {whose} (limit {name}{per}): end one first"
            )));
        }
    }
    Ok(())
}

/// The route list that is this object of the connection's.
///
/// # Errors
/// `InvalidHandle` for everything else (RTMv2 row LIST-10).
pub(super) fn route_list(ledger: &Ledger, path: &str, bus_name: &str) -> Result<ListId> {
    match ledger.objects().get(path) {
        Some(Object { owner, kind: ObjectKind::RouteList(_, id) })
            if owner.bus_name == bus_name =>
        {
            Ok(*id)
        }
        _ => {
            let path = quoted(path);
            Err(ErrorKind::InvalidHandle.because(format_args!("{path} is no route list of yours")))
        }
    }
}

/// The private objects of a connection.
pub(super) fn all_of(ledger: &Ledger, bus_name: &str) -> Vec<String> {
    let own = ledger.objects().iter().filter(|(_, object)| {
        object.owner.bus_name == bus_name && !matches!(object.kind, ObjectKind::Entity(..))
    });
    own.map(|(path, _)| path.clone()).collect()
}

/// The objects below an object.
pub(super) fn all_below(ledger: &Ledger, path: &str) -> Vec<String> {
    let below =
        |other: &&String| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    ledger.objects().keys().filter(below).cloned().collect()
}

/// Puts a private object on the bus, if there is room for another.
pub(super) async fn serve(
    context: &Arc<Context>,
    connection: &Connection,
    path: OwnedObjectPath,
    object: Object,
) -> Result<OwnedObjectPath> {
    let kept = context.rib.with(|rib| {
        let room = check_room(rib, &object);
        match room {
            Ok(()) => rib.keep_object(path.to_string(), object.clone()),
            Err(_) => end(rib, &object.kind),
        }
        room
    });
    kept?;
    if let Err(error) = put(context, connection, &path, &object).await {
        context.rib.with(|rib| {
            rib.forget_object(path.as_str());
            end(rib, &object.kind);
        });
        return Err(bus_trouble(&error));
    }
    if let Some((above, _)) = path.rsplit_once('/') {
        introspection::list_by_name(context, connection, above).await;
    }
    Ok(path)
}

/// Puts an object that a client made on the bus.
pub(super) async fn put(
    context: &Arc<Context>,
    connection: &Connection,
    path: &ObjectPath<'_>,
    object: &Object,
) -> zbus::Result<()> {
    async fn at<I: Interface + Clone>(
        (context, connection, path): (&Arc<Context>, &Connection, &ObjectPath<'_>),
        object: I,
    ) -> zbus::Result<()> {
        connection.object_server().at(path, Served::new(context, object)).await.map(drop)
    }
    let (place, all) = ((context, connection, path), Arc::clone(context));
    let owner = Owner(object.owner.clone());
    match &object.kind {
        ObjectKind::Entity(id, _) => at(place, Entity::new(all, *id)).await,
        ObjectKind::Notification(table, id) => {
            at(place, Notification::new(all, owner, (*table, *id))).await
        }
        ObjectKind::RouteList(entity, id) => {
            at(place, RouteList::new(all, owner, (*entity, *id))).await
        }
        ObjectKind::Destinations(..) => at(place, DestinationEnumeration::new(all, owner)).await,
        ObjectKind::Routes(..) => at(place, RouteEnumeration::new(all, owner)).await,
        ObjectKind::NextHops(_) => at(place, NextHopEnumeration::new(all, owner)).await,
    }
}

/// Takes a private object off the bus, with what it stands for; if it is gone nothing happens.
pub(super) async fn close(context: &Context, connection: &Connection, path: &str) {
    let closed = context.rib.with(|rib| {
        let object = rib.forget_object(path)?;
        end(rib, &object.kind);
        Some(object)
    });
    let Some(object) = closed else { return };
    let interface = match object.kind {
        ObjectKind::Entity(..) => Entity::name(),
        ObjectKind::Notification(..) => Notification::name(),
        ObjectKind::RouteList(..) => RouteList::name(),
        ObjectKind::Destinations(..) => DestinationEnumeration::name(),
        ObjectKind::Routes(..) => RouteEnumeration::name(),
        ObjectKind::NextHops(_) => NextHopEnumeration::name(),
    };
    if let Ok(path) = OwnedObjectPath::try_from(path) {
        let _ = connection.object_server().remove_named(&path, interface).await;
    }
}

/// Ends what a private object stands for.
pub(super) fn end(rib: &mut Ledger, kind: &ObjectKind) {
    match kind {
        ObjectKind::Notification(table, id) => rib.deregister_from_changes(*table, *id),
        ObjectKind::RouteList(_, id) => rib.delete_route_list(*id),
        ObjectKind::Destinations(..)
        | ObjectKind::Routes(..)
        | ObjectKind::NextHops(_)
        | ObjectKind::Entity(..) => {}
    }
}
