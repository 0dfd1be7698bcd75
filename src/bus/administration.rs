//! What an administrator may: levels, static routes, the configuration, the way into the kernel.
//!
//! Root and the user the service runs as may, and whom a grant or polkit lets. The files behind it are the
//! daemon's business, which hands in what to do with them.

use std::{fmt, sync::Arc};

use zbus::{Connection, message::Header};

use super::{
    context::Context,
    convert::table_path,
    lifecycle,
    manager::Manager,
    polkit::{self, Action},
    served::Served,
    table::Table,
    wire::ROOT,
};
use crate::{
    clock,
    journal::ledger::Ledger,
    model::{Caller, EntityId, ErrorKind, Preference, Protocol, Result, TableId},
    rib::{Deed, StaticChange, StaticPlace, StaticRoute},
};

/// Writes down the static routes that are to survive the service; may take as long as a disk does.
pub(super) type KeepStaticRoutes =
    Arc<dyn Fn(&[(TableId, StaticRoute)]) -> Result<()> + Send + Sync>;

/// The world outside, as far as an administrator's calls reach it.
pub struct Administration {
    /// Puts in force what the configuration says now; fails with what is wrong with it, which is in the
    /// log then. Returns the service's entities that are new with it.
    pub reload: Box<dyn Fn() -> Result<Vec<EntityId>> + Send + Sync>,
    /// Keeps these static routes, and no others, for the next start.
    pub keep_static_routes: KeepStaticRoutes,
    /// What could be set better now, a sentence each.
    pub advice: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl fmt::Debug for Administration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Administration").finish_non_exhaustive()
    }
}

/// Refuses who may not administer the service, by a grant or as polkit says.
///
/// # Errors
/// `AccessDenied` with the rule that says so.
pub(super) async fn check(context: &Context, header: &Header<'_>) -> Result<()> {
    let caller = context.clients.caller(header).await?;
    match is_administrator(context, &caller).await {
        Ok(()) => Ok(()),
        Err(refusal) => polkit::ask(context, header, &caller, Action::Administer, refusal).await,
    }
}

/// The same, without asking anybody.
pub(super) async fn is_administrator(context: &Context, caller: &Caller) -> Result<()> {
    let credentials = context.clients.credentials(caller).await;
    context
        .rib
        .with(|rib| rib.policy().grants.check_deed(caller.uid, &credentials, Deed::Administer))
}

/// Refuses who may not have this static route of the service's own, by a grant or as polkit says.
///
/// # Errors
/// `AccessDenied` with the rule that says so.
pub(super) async fn check_static(
    context: &Context,
    header: &Header<'_>,
    place: impl FnOnce(&Ledger) -> Result<StaticPlace>,
) -> Result<()> {
    let caller = context.clients.caller(header).await?;
    let credentials = context.clients.credentials(&caller).await;
    let checked = context.rib.with(|rib| {
        rib.policy().grants.check_deed(caller.uid, &credentials, Deed::ManageStatic)?;
        let place = place(rib)?;
        rib.check_static(caller.uid, &credentials, &place)
    });
    match checked {
        Ok(()) => Ok(()),
        Err(refusal) => polkit::ask(context, header, &caller, Action::ManageStatic, refusal).await,
    }
}

/// Gives a protocol a level, and if asked ranks the routes there are by it.
pub(super) async fn set_preference(
    context: &Context,
    protocol: Protocol,
    level: Preference,
    reapply: bool,
) {
    let mut work = context.rib.with(|rib| {
        rib.set_level(protocol, level);
        rib.reapplication(protocol)
    });
    tracing::info!(%protocol, level = level.0, reapply, "an administrator set a level");
    if reapply {
        context.rib.in_slices(|rib, count| rib.reapply(&mut work, count, clock::now())).await;
    }
}

/// Puts in force what of the configuration can change while the service runs.
pub(super) async fn reload(context: &Arc<Context>, connection: &Connection) -> Result<()> {
    for id in (context.administration.reload)()? {
        lifecycle::welcome(context, connection, id, Arc::default()).await?;
    }
    let server = connection.object_server();
    if let Ok(manager) = server.interface::<_, Served<Manager>>(ROOT).await {
        let _ = manager.get().await.object.limits_changed(manager.signal_emitter()).await;
    }
    Ok(())
}

/// Says whether a table's routes go to the kernel.
pub(super) async fn set_forwarding(
    context: &Context,
    connection: &Connection,
    table: TableId,
    push: bool,
) -> Result<()> {
    let mut work = context.rib.with(|rib| rib.set_pushed(table, push))?;
    tracing::info!(%table, push, "an administrator switched forwarding");
    context.rib.in_slices(|rib, count| rib.requeue(&mut work, count)).await;
    let (server, path) = (connection.object_server(), table_path(table));
    if let Ok(table) = server.interface::<_, Served<Table>>(path).await {
        let _ = table.get().await.object.pushed_changed(table.signal_emitter()).await;
    }
    Ok(())
}

/// Changes the static routes, and keeps for the next start those that are to outlive the service; if
/// that fails, nothing was changed.
pub(super) async fn change_static_routes(
    context: &Arc<Context>,
    connection: &Connection,
    change: impl FnOnce(&mut Ledger) -> Result<StaticChange>,
) -> Result<()> {
    // One after the other, so that the last change is the last that is written.
    let _turn = context.changing_static_routes.lock().await;
    let (change, all) = context.rib.with(|rib| {
        let change = change(rib)?;
        let all = change.persistent.then(|| {
            let all = rib.persistent_routes();
            all.map(|(table, route)| (table, route.clone())).collect::<Vec<_>>()
        });
        Ok((change, all))
    })?;
    let new_entity = change.new_entity;
    if let Some(all) = all {
        let keep = Arc::clone(&context.administration.keep_static_routes);
        // Whoever waits for the disk, it is only this call.
        let kept = tokio::task::spawn_blocking(move || keep(&all)).await;
        let lost = |error| ErrorKind::NoSystemResources.because(format_args!("{error}"));
        if let Err(error) = kept.map_err(lost).flatten() {
            context.rib.with(|rib| rib.undo_static(change, clock::now()));
            return Err(error);
        }
    }
    match new_entity {
        Some(id) => lifecycle::welcome(context, connection, id, Arc::default()).await.map(drop),
        None => Ok(()),
    }
}
