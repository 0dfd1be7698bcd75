//! What a process has to do that takes over a RIB from one that ended.
//!
//! Nobody knows what of the other's last words were heard. So whatever is told more than once without
//! harm is told again: all wishes to whoever keeps the kernel's table, wake-ups and questions to clients.

use super::{Rib, deadlines::Due};
use crate::model::{Prefix, RouteId, TableId};

impl Rib {
    /// Begins with what another process left: the kernel is to hear of everything, and clients of all
    /// that they may not have heard.
    pub fn begin_anew(&mut self) {
        drop((self.poll_link_news(), self.poll_foreign_entities(), self.poll_waste()));
        self.wish_again();
        self.groups.tell_again();
        self.notifications.wake_all_again();
        self.results.telling =
            self.entities.values().filter(|it| !it.untold.is_empty()).map(|it| it.id).collect();
        self.ask_again();
    }

    /// Has the kernel hear of each destination that has something to be installed.
    fn wish_again(&mut self) {
        self.waiting.clear();
        self.fib.clear();
        self.failures.clear();
        let in_kernel: Vec<TableId> = self.kernel_tables().map(|(id, _)| id).collect();
        let tables = in_kernel.iter().filter_map(|id| Some((*id, self.tables.get(id)?)));
        let all =
            tables.flat_map(|(id, table)| table.destinations.iter().map(move |it| (id, it.0)));
        let all: Vec<(TableId, Prefix)> = all.collect();
        for (id, to) in all {
            self.settle_wish(id, to);
            let (status, _) = self.way(id, to);
            let table = self.tables.get_mut(&id);
            let Some(destination) = table.and_then(|table| table.destinations.get_mut(&to)) else {
                continue;
            };
            destination.waiting = false;
            destination.fib = status;
            if destination.wish.is_some() {
                self.queue(id, to);
            } else if let Some(table) = self.tables.get_mut(&id) {
                table.drop_if_unused(to);
            }
        }
    }

    /// Puts the questions again that nobody has answered.
    fn ask_again(&mut self) {
        self.inquiring.clear();
        for entity in self.entities.values_mut() {
            entity.questions.begin_anew();
        }
        let open: Vec<_> = self.deadlines.iter().collect();
        for (until, due) in open {
            let Due::Answer(slot) = due else { continue };
            let Some(owner) = self.routes.get(slot).map(|route| route.owner) else { continue };
            let Some(id) = self.routes.id(slot).map(RouteId) else { continue };
            if let Some(entity) = self.entities.get_mut(owner) {
                entity.questions.add(id, until);
                self.inquiring.insert(owner);
            }
        }
    }
}
