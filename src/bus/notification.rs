//! `org.rtmd1.Notification`: what changed, for the connection that asked to be told.

use std::sync::Arc;

use zbus::{Connection, interface, message::Header, object_server::SignalEmitter};

use super::{
    context::Context,
    convert::{best_change, destination_info},
    errors::check_items,
    private::{self, Owner},
    wire::{BestChange, DestinationInfo},
};
use crate::{
    journal::ledger::Ledger,
    model::{NotificationId, Prefix, Result, TableId},
};

/// The object of a registration for change notification.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    context: Arc<Context>,
    owner: Owner,
    table: TableId,
    id: NotificationId,
}

impl Notification {
    pub(super) fn new(
        context: Arc<Context>,
        owner: Owner,
        (table, id): (TableId, NotificationId),
    ) -> Self {
        Self { context, owner, table, id }
    }

    fn command<T>(
        &self,
        header: &Header<'_>,
        f: impl FnOnce(&mut Ledger, TableId, NotificationId) -> Result<T>,
    ) -> Result<T> {
        self.owner.check(header)?;
        self.context.rib.with(|rib| f(rib, self.table, self.id))
    }
}

#[interface(name = "org.rtmd1.Notification", spawn = false)]
impl Notification {
    /// Fetches destinations that changed, as they are now, at most "max" of them, and says whether
    /// these were the last. One that changed many times comes once; one that is gone comes with
    /// nothing in its views and 0 as the time of its last change. If so many waited that they were
    /// dropped, the call is refused once as NoSystemResources, and the owner has to read the table
    /// anew; what changes from then on waits again. A registration with the flag 0x00020000 collects
    /// no destinations: it is refused as InvalidHandle, and GetBestChanges is its call. Errors: InvalidHandle, InvalidParameter,
    /// NoSystemResources.
    #[zbus(out_args("destinations", "done"))]
    fn get_changed_destinations(
        &self,
        max: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<DestinationInfo>, bool)> {
        self.command(&header, |rib, table, id| {
            let (page, done) = rib.changed_destinations(table, id, max)?;
            Ok((page.iter().map(destination_info).collect(), done))
        })
    }

    /// Drops what waits for these destinations, at most 32768; if they change again that is told.
    /// What waits in order, with the flag 0x00020000, stays.
    /// Errors: InvalidHandle, InvalidParameter, NoSystemResources.
    fn ignore_changed_destinations(
        &self,
        destinations: Vec<String>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        check_items(&destinations)?;
        let read = |text: &String| text.parse();
        let destinations: Vec<Prefix> = destinations.iter().map(read).collect::<Result<_>>()?;
        self.command(&header, |rib, table, id| rib.ignore_changed(table, id, &destinations))
    }

    /// Whether a change of this destination waits to be fetched. After changes were dropped, and until
    /// GetChangedDestinations said so, it may be of any destination. Never with the flag 0x00020000. Errors: InvalidHandle,
    /// InvalidParameter.
    #[zbus(out_args("changed"))]
    fn get_change_status(
        &self,
        destination: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<bool> {
        let to = destination.parse()?;
        self.command(&header, |rib, table, id| rib.is_changed(table, id, to))
    }

    /// Marks a destination, which need not be there, or takes its mark away. A registration for
    /// marked destinations only, flag 0x00010000, hears of no other. Errors: InvalidHandle,
    /// InvalidParameter, NotEnoughMemory.
    fn mark_destination(
        &self,
        destination: &str,
        mark: bool,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<()> {
        let to = destination.parse()?;
        self.command(&header, |rib, table, id| rib.mark_destination(table, id, (to, mark)))
    }

    /// Whether a destination is marked. Errors: InvalidHandle, InvalidParameter.
    #[zbus(out_args("marked"))]
    fn is_marked(&self, destination: &str, #[zbus(header)] header: Header<'_>) -> Result<bool> {
        let to = destination.parse()?;
        self.command(&header, |rib, table, id| rib.is_marked(table, id, to))
    }

    /// For a registration with the flag 0x00020000, and refused as InvalidHandle for any other: fetches changes of best routes one by one, in
    /// the order they happened, at most "max" of them, and says whether these were the last. Each
    /// has the destination, the view, what happened (1 added, 2 deleted, 3 another or a changed
    /// one), and the best route from then on and until then, where there is one, as it was. The
    /// owner's own doing is not among them. If so many waited that they were dropped, the call is
    /// refused once as NoSystemResources, and the owner has to read the table anew. Errors:
    /// InvalidHandle, InvalidParameter, NoSystemResources.
    #[zbus(out_args("changes", "done"))]
    fn get_best_changes(
        &self,
        max: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<BestChange>, bool)> {
        self.command(&header, |rib, table, id| {
            let (page, done) = rib.best_changes(table, id, max)?;
            Ok((page.iter().map(best_change).collect(), done))
        })
    }

    /// Ends the registration. Errors: InvalidHandle.
    async fn deregister(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<()> {
        self.owner.check(&header)?;
        if let Some(path) = header.path() {
            private::close(&self.context, connection, path.as_str()).await;
        }
        Ok(())
    }

    /// Something waits to be fetched: sent to the owner alone, once, and again only after
    /// everything that waited was fetched. It says nothing but what the owner gave as context. Who
    /// fetches without wanting an answer gets 1024 of these; the next comes when it calls a method
    /// and wants the answer.
    #[zbus(signal)]
    pub(super) async fn change_notification(
        emitter: &SignalEmitter<'_>,
        context: u64,
    ) -> zbus::Result<()>;
}
