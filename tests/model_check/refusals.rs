//! What is wrong with a command: all rules it breaks, as error kinds. None means it is carried out.
//!
//! Which of several reasons is given is left to the RIB.

use rtmd::{
    model::{
        Caller, EntityId, EntityKey, ErrorKind, ListId, NextHopId, NextHopKey, Prefix, RouteId,
        TableId,
    },
    rib::{Offer, OfferedNextHops, Tenure, Terms},
};

use crate::naive::Naive;

pub(crate) type Refusals = Vec<ErrorKind>;

use ErrorKind::{
    AccessDenied, AlreadyExists, Busy, InvalidHandle, InvalidParameter, NoSystemResources,
    NotEnoughMemory, NotFound, NotSupported,
};

fn when(reasons: &[(bool, ErrorKind)]) -> Refusals {
    reasons.iter().filter(|(holds, _)| *holds).map(|(_, kind)| *kind).collect()
}

fn has_twins<T: PartialEq>(all: &[T]) -> bool {
    all.iter().enumerate().any(|(place, one)| all[..place].contains(one))
}

impl Naive {
    pub(crate) fn refuse_register(
        &self,
        key: EntityKey,
        (caller, tenure): (&Caller, Tenure),
        terms: &Terms,
    ) -> Refusals {
        let limits = self.limits;
        let resumable = self.is_resumable(key, caller);
        let rival = self.entities.iter().any(|other| {
            !other.service
                && other.key != key
                && (other.key.table, other.key.protocol) == (key.table, key.protocol)
                && (terms.exclusive || other.exclusive)
        });
        let has_cells = self.entities.iter().any(|known| known.key == key && known.cells);
        let of_table = self.entities.iter().filter(|e| e.key.table == key.table);
        let all = self.entities.iter().chain(&self.leaving);
        let of_user = all.filter(|entity| entity.caller.uid == caller.uid);
        // Shared ones count for the user, the others for the connection.
        let present = self.entities.iter().filter(|entity| !entity.absence.lingers);
        let alike = present.filter(|entity| match (tenure, entity.shared) {
            (Tenure::User, true) => entity.caller.uid == caller.uid,
            (Tenure::Connection, false) => entity.caller.bus_name == caller.bus_name,
            _ => false,
        });
        when(&[
            (!resumable && self.entities.iter().any(|known| known.key == key), AlreadyExists),
            (rival, AlreadyExists),
            (terms.methods > 32, InvalidParameter),
            (tenure == Tenure::User && terms.callback.is_some(), InvalidParameter),
            (tenure == Tenure::User && terms.linger.is_some(), InvalidParameter),
            (terms.linger.is_some_and(|span| span.exceeds(limits.linger)), InvalidParameter),
            (
                !resumable && self.entities.len() + self.leaving.len() >= limits.entities as usize,
                NoSystemResources,
            ),
            (alike.count() >= limits.entities_per_client as usize, NoSystemResources),
            (!resumable && of_user.count() >= limits.entities_per_user as usize, NoSystemResources),
            (
                terms.reserve_opaque
                    && !(resumable && has_cells)
                    && of_table.filter(|e| e.cells).count() >= limits.opaque_entities as usize,
                NoSystemResources,
            ),
        ])
    }

    pub(crate) fn refuse_next_hop(
        &self,
        owner: EntityId,
        key: NextHopKey,
        remote: Option<Prefix>,
        private: &[u8],
    ) -> Refusals {
        let Some(entity) = self.entity(owner) else { return vec![InvalidHandle] };
        when(&[
            (!self.is_possible(key), InvalidParameter),
            (remote.is_some_and(|to| to.family() != entity.key.table.family), InvalidParameter),
            (self.is_too_private(private), InvalidParameter),
            (!self.has_room_for_next_hops(owner, &[key]), NotEnoughMemory),
        ])
    }

    pub(crate) fn refuse_delete_next_hop(&self, owner: EntityId, id: NextHopId) -> Refusals {
        if self.entity(owner).is_none() {
            return vec![InvalidHandle];
        }
        match self.hops.iter().find(|hop| hop.id == id) {
            Some(hop) if hop.owner != owner => vec![self.refuse_foreign(owner, hop.owner)],
            Some(hop) if !hop.deleted => vec![],
            _ => vec![NotFound],
        }
    }

    /// Of another table, or of who is gone for good, it is nothing that could be named (HND-03).
    fn refuse_foreign(&self, by: EntityId, owner: EntityId) -> ErrorKind {
        let table = |id| {
            let all = self.entities.iter().chain(&self.leaving);
            all.filter(|entity| entity.id == id).map(|entity| entity.key.table).next()
        };
        if table(by) == table(owner) { AccessDenied } else { InvalidHandle }
    }

    /// `refused` by its contents; `is_new` if no route is updated by it.
    pub(crate) fn refuse_offer(
        &self,
        owner: EntityId,
        offer: &Offer<'_>,
        (how, is_new): (u32, bool),
    ) -> Refusals {
        let Some(entity) = self.entity(owner) else { return vec![InvalidHandle] };
        let limits = self.limits;
        let table = entity.key.table;
        let (ids, keys): (&[NextHopId], Vec<NextHopKey>) = match &offer.next_hops {
            OfferedNextHops::Ids(ids) => (ids, Vec::new()),
            OfferedNextHops::Inline(all) => (&[], all.iter().map(|(key, _)| *key).collect()),
        };
        let in_table = self.routes.iter().filter(|route| route.place.0 == table).count();
        let held = self.held.iter().filter(|(route, _)| route.place.0 == table).count();
        let candidates = self.candidates((table, offer.to)).len();
        let mut refusals = when(&[
            (!matches!(how, 0..=2), InvalidParameter),
            (offer.views.is_empty(), InvalidParameter),
            (self.is_unsupported(table, offer.views.0), NotSupported),
            (offer.list.is_some_and(|list| !self.owns_list(owner, list)), InvalidHandle),
            (self.is_too_private(offer.private), InvalidParameter),
            (ids.len() + keys.len() > limits.next_hops_per_route as usize, InvalidParameter),
            (has_twins(ids) || has_twins(&keys), InvalidParameter),
            (keys.iter().any(|key| !self.is_possible(*key)), InvalidParameter),
            (!self.has_room_for_next_hops(owner, &keys), NotEnoughMemory),
            (is_new && in_table + held >= limits.routes as usize, NotEnoughMemory),
            (is_new && !self.has_room_for_route(table, entity.caller.uid), NotEnoughMemory),
            (is_new && candidates >= limits.routes_per_destination as usize, NotEnoughMemory),
        ]);
        for id in ids.iter().chain(&offer.neighbour) {
            // G26.
            match self.hops.iter().find(|hop| hop.id == *id) {
                None => refusals.push(InvalidHandle),
                Some(hop) if hop.owner != owner => {
                    refusals.push(self.refuse_foreign(owner, hop.owner));
                }
                Some(hop) if hop.deleted => refusals.push(InvalidParameter),
                Some(_) => {}
            }
        }
        refusals
    }

    /// Of a route that the entity wants to change; ids come from what was once there.
    pub(crate) fn refuse_own_route(&self, owner: EntityId, id: RouteId) -> Refusals {
        let Some(entity) = self.entity(owner) else { return vec![InvalidHandle] };
        let held = self.held.iter().map(|(route, _)| route).find(|route| route.id == id);
        match (self.route(id), held) {
            (Some(route), _) | (_, Some(route)) if route.place.0 != entity.key.table => {
                vec![InvalidHandle]
            }
            (Some(route), _) | (_, Some(route)) if route.owner != owner => vec![AccessDenied],
            (Some(_), _) => vec![],
            (None, _) => vec![NotFound],
        }
    }

    pub(crate) fn refuse_update(
        &self,
        id: RouteId,
        to: Option<Prefix>,
        generation: Option<u64>,
    ) -> Refusals {
        let Some(route) = self.route(id) else { return vec![] };
        when(&[
            (to.is_some_and(|to| to != route.place.1), InvalidParameter),
            (generation.is_some_and(|expected| expected != route.generation), Busy),
        ])
    }

    pub(crate) fn refuse_hold(
        &self,
        entity: EntityId,
        to: Prefix,
        (views, milliseconds): (u32, u32),
    ) -> Refusals {
        let Some(entity) = self.entity(entity) else { return vec![InvalidHandle] };
        when(&[
            (views == 0, InvalidParameter),
            (milliseconds > self.limits.hold_time, InvalidParameter),
            (self.is_unsupported(entity.key.table, views), NotSupported),
            (!self.exists((entity.key.table, to)), InvalidHandle),
        ])
    }

    pub(crate) fn refuse_mark(&self, owner: &Caller) -> Refusals {
        let limits = self.limits;
        let of_user = self.followers.iter().filter(|found| found.owner.uid == owner.uid);
        let of_client = of_user.clone().filter(|found| found.owner.bus_name == owner.bus_name);
        let of_client: usize = of_client.map(|found| found.marks.len()).sum();
        let of_user: usize = of_user.map(|found| found.marks.len()).sum();
        when(&[
            (of_client >= limits.marks_per_client as usize, NotEnoughMemory),
            (of_user >= limits.marks_per_user as usize, NotEnoughMemory),
        ])
    }

    pub(crate) fn refuse_views(&self, table: TableId, views: u32) -> Refusals {
        when(&[(self.is_unsupported(table, views), NotSupported)])
    }

    /// All bits mean all that are supported (G39).
    fn is_unsupported(&self, table: TableId, views: u32) -> bool {
        views != u32::MAX && self.supported(table, views) != views
    }

    pub(crate) fn refuse_page(&self, count: u32) -> Refusals {
        when(&[(count == 0 || count > self.limits.handles, InvalidParameter)])
    }

    pub(crate) fn refuse_list(&self, owner: EntityId, list: ListId) -> Refusals {
        when(&[(!self.owns_list(owner, list), InvalidHandle)])
    }

    pub(crate) fn refuse_cell(&self, entity: EntityId, to: Prefix, bytes: &[u8]) -> Refusals {
        let Some(owner) = self.entity(entity) else { return vec![InvalidHandle] };
        let limits = self.limits;
        let own = self.cells.iter().filter(|((id, _), _)| *id == entity);
        let others = own.clone().filter(|((_, at), _)| *at != to);
        let before = own.map(|(_, cell)| cell.len()).sum::<usize>();
        let after = others.map(|(_, cell)| cell.len()).sum::<usize>() + bytes.len();
        when(&[
            (!owner.cells, NotFound),
            (!self.exists((owner.key.table, to)), InvalidHandle),
            (bytes.len() > limits.opaque_bytes as usize, InvalidParameter),
            (after > limits.opaque_memory as usize && after > before, NotEnoughMemory),
        ])
    }

    pub(crate) fn own(&self, caller: &Caller) -> impl Iterator<Item = &crate::naive::NaiveEntity> {
        let clients = self.entities.iter().filter(|entity| !entity.service);
        let present = clients.filter(|entity| !entity.absence.lingers);
        present.filter(move |entity| match entity.shared {
            true => entity.caller.uid == caller.uid,
            false => entity.caller.bus_name == caller.bus_name,
        })
    }

    fn owns_list(&self, owner: EntityId, id: ListId) -> bool {
        self.entity(owner).is_some() && self.lists.iter().any(|l| l.id == id && l.owner == owner)
    }

    fn is_too_private(&self, private: &[u8]) -> bool {
        private.len() > self.limits.private_bytes as usize
    }

    /// What is held counts for who asked for it.
    pub(crate) fn has_room_for_route(&self, table: TableId, user: u32) -> bool {
        let all = self.routes.iter().chain(self.held.iter().map(|(route, _)| route));
        let of_user = all.filter(|route| route.place.0 == table && route.user == user).count();
        user == u32::MAX || of_user < self.limits.routes_per_user as usize
    }

    fn is_possible(&self, key: NextHopKey) -> bool {
        key.interface.0 == 0 || self.up.contains_key(&key.interface)
    }

    fn has_room_for_next_hops(&self, owner: EntityId, keys: &[NextHopKey]) -> bool {
        let fresh = keys.iter().filter(|key| self.find_hop(owner, **key).is_none()).count();
        let known = self.hops.iter().filter(|hop| hop.owner == owner).count();
        fresh == 0 || known + fresh <= self.limits.next_hops as usize
    }
}
