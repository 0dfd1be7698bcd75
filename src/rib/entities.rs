//! Entities: who is registered, and what goes when they go.

use serde::{Deserialize, Serialize};

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Credentials, Rib, Right, Standing, arena::Slot, deadlines::Questions, foreign,
    linger::Absences, statics,
};
use crate::model::{
    Caller, EntityId, EntityKey, EntityState, Error, ErrorKind, Now, Preference, Protocol, Result,
    Span, TableId, Timestamp, ViewSet, quoted,
};

/// A registered client of one table.
#[derive(Debug, Deserialize, Serialize)]
pub struct Entity {
    /// Its id.
    pub id: EntityId,
    /// What tells it apart.
    pub key: EntityKey,
    /// What it calls itself.
    pub label: String,
    /// The connection that registered it.
    pub caller: Caller,
    /// What else was known of that.
    pub credentials: Credentials,
    /// What it may do, by the grants in force.
    pub right: Right,
    /// Who may speak for it.
    pub tenure: Tenure,
    /// What was agreed on when it registered.
    pub terms: Terms,
    /// Whether it is in use.
    pub state: EntityState,
    /// When it registered.
    pub registered: Timestamp,
    /// How many of its routes are best in some view.
    pub best_routes: usize,
    pub(super) routes: BTreeSet<Slot>,
    /// Whether it holds its methods back for a while.
    pub(super) blocks_methods: bool,
    pub(super) questions: Questions,
    /// Routes that it is to be told of, if it wants to hear what the kernel made of them.
    pub(super) untold: BTreeSet<Slot>,
    pub(super) absences: Absences,
}

/// Who a registration belongs to, and so how long it lives.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Tenure {
    /// To the connection that made it; it ends with that.
    Connection,
    /// To the user; any of its connections may call it, until one deregisters it.
    User,
    /// To the service itself: nobody may call it, and it does not end.
    Service,
}

/// What a client says when it registers, and who says so.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Registration {
    /// Who it wants to be.
    pub key: EntityKey,
    /// What it calls itself: at most 64 characters, none of them a control character.
    pub label: String,
    /// Who may speak for it.
    pub tenure: Tenure,
    /// What else it asks for.
    pub terms: Terms,
    /// What is known of it besides its user.
    pub credentials: Credentials,
}

/// What a client asks for beyond being registered, and what binds it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// The path of its object that answers questions (`org.rtmd1.Callback`), at most 255 bytes.
    pub callback: Option<String>,
    /// How many methods it exports, 32 at most; they are numbered by the bits of a mask.
    pub methods: u32,
    /// Whether it wants a cell of its own in every destination (`ReserveOpaquePointer`).
    pub reserve_opaque: bool,
    /// Whether it keeps one route to a destination, whatever its neighbour and even if it asks for a
    /// new one (RTMv2 row V1-03).
    pub single_route: bool,
    /// Whether it wants to be the only one of its protocol in the table (RTMv2 row V1-01).
    pub exclusive: bool,
    /// Whether it wants to hear what the kernel made of its routes.
    pub fib_results: bool,
    /// How long its routes outlive its connection; none for not at all.
    pub linger: Option<Span>,
}

/// What a client is told when it registered (`RTM_REGN_PROFILE`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Profile {
    /// The new entity's id.
    pub id: EntityId,
    /// The most next hops a route may have.
    pub max_next_hops: u32,
    /// The most items of one page of an enumeration.
    pub max_handles: u32,
    /// The views of the table.
    pub views: ViewSet,
    /// The level of its protocol.
    pub preference: Preference,
    /// Whether it goes on where one left off that lingered.
    pub resumed: bool,
    /// Routes from before, to be offered again.
    pub stale_routes: usize,
}

/// How far withdrawing the routes of a deregistered entity has come.
#[derive(Debug)]
pub enum Withdrawal {
    /// Nothing is left of it; this is what it was.
    Complete(Box<Entity>),
    /// There is more to withdraw.
    Unfinished,
    /// No such entity is leaving.
    Unknown,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Entities {
    by_id: BTreeMap<EntityId, Entity>,
    by_key: HashMap<EntityKey, EntityId>,
    /// Deregistered, while their routes are being withdrawn.
    leaving: BTreeMap<EntityId, Entity>,
    last_id: u64,
}

impl Entities {
    /// The entity, if it is registered.
    pub(super) fn active(&self, id: EntityId) -> Result<&Entity> {
        self.by_id.get(&id).ok_or_else(|| not_registered(id))
    }

    pub(super) fn active_mut(&mut self, id: EntityId) -> Option<&mut Entity> {
        self.by_id.get_mut(&id)
    }

    /// The entity, also while it is leaving.
    pub(super) fn get_mut(&mut self, id: EntityId) -> Option<&mut Entity> {
        // Not `or_else`: an entity is in one of the two maps, nearly always in the first.
        match self.by_id.get_mut(&id) {
            Some(entity) => Some(entity),
            None => self.leaving.get_mut(&id),
        }
    }

    pub(super) fn find(&self, key: EntityKey) -> Option<EntityId> {
        self.by_key.get(&key).copied()
    }

    /// Keeps the entity that `make` makes of its new id.
    pub(super) fn insert(&mut self, make: impl FnOnce(EntityId) -> Entity) -> EntityId {
        self.last_id += 1;
        let id = EntityId(self.last_id);
        let entity = make(id);
        self.by_key.insert(entity.key, id);
        self.by_id.insert(id, entity);
        id
    }

    /// Keeps an entity of the service's own, which nobody may speak for.
    pub(super) fn insert_builtin(&mut self, key: EntityKey, label: String, now: Now) -> EntityId {
        // Nobody calls as its user, so whose number that is does not matter.
        let caller = Caller { bus_name: String::new(), uid: 0 };
        let credentials = Credentials { standing: Standing::Service, ..Credentials::default() };
        let (tenure, terms) = (Tenure::Service, Terms::default());
        let registration = Registration { key, label, tenure, terms, credentials };
        let (right, state) = (Right::Everything, EntityState::Builtin);
        self.insert(|id| Entity::new(id, registration, (caller, right), state, now))
    }

    /// Forgets an entity that has no routes.
    pub(super) fn forget(&mut self, id: EntityId) {
        if let Some(entity) = self.by_id.remove(&id) {
            self.by_key.remove(&entity.key);
        }
    }

    /// The entity, also while it is leaving.
    pub(super) fn known(&self, id: EntityId) -> Option<&Entity> {
        self.by_id.get(&id).or_else(|| self.leaving.get(&id))
    }

    /// The table an entity works in, also while it is leaving.
    pub(super) fn table_of(&self, id: EntityId) -> Option<TableId> {
        self.known(id).map(|entity| entity.key.table)
    }

    /// The user that an entity counts for, also while it is leaving; none for the service's own.
    pub(super) fn user(&self, id: EntityId) -> Option<u32> {
        self.known(id).and_then(Entity::user)
    }

    /// Whether there is anyone to ask about the entity's routes.
    pub(super) fn can_be_asked(&self, id: EntityId) -> bool {
        let entity = self.by_id.get(&id).filter(|it| it.state == EntityState::Active);
        entity.is_some_and(|entity| entity.tenure == Tenure::Connection)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Entity> {
        self.by_id.values_mut()
    }

    /// All that count, also while they are leaving.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entity> {
        self.by_id.values().chain(self.leaving.values())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Entity> {
        self.by_id.values()
    }
}

impl Entity {
    fn new(
        id: EntityId,
        registration: Registration,
        (caller, right): (Caller, Right),
        state: EntityState,
        now: Now,
    ) -> Self {
        let Registration { key, label, tenure, terms, credentials } = registration;
        Self {
            id,
            key,
            label,
            caller,
            credentials,
            right,
            tenure,
            terms,
            state,
            registered: now.time,
            best_routes: 0,
            routes: BTreeSet::new(),
            blocks_methods: false,
            questions: Questions::default(),
            untold: BTreeSet::new(),
            absences: Absences::default(),
        }
    }

    /// Whether the caller is the one it belongs to, and may speak for it.
    pub fn is_held_by(&self, caller: &Caller) -> bool {
        let is_theirs = match self.tenure {
            Tenure::Connection => self.caller.bus_name == caller.bus_name,
            Tenure::User => self.caller.uid == caller.uid,
            Tenure::Service => false,
        };
        is_theirs && self.state != EntityState::Lingering
    }

    pub(super) fn user(&self) -> Option<u32> {
        (self.tenure != Tenure::Service).then_some(self.caller.uid)
    }

    /// How many routes it offers.
    pub fn routes(&self) -> usize {
        self.routes.len()
    }
}

impl Rib {
    /// Registers a client (RTMv2 rows REG-01 to REG-11 and REG-22), or resumes a registration of the
    /// same user that lingers.
    ///
    /// # Errors
    /// `AccessDenied` for what no grant allows, `AlreadyExists` for a key in use or a protocol that one has for itself, `InvalidParameter`
    /// for terms that cannot be, `FileNotFound` and `BadConfiguration` from the instance's
    /// configuration, `InvalidData` for an unusable label or callback, `NoSystemResources` beyond a
    /// limit.
    pub fn register(
        &mut self,
        registration: Registration,
        caller: Caller,
        now: Now,
    ) -> Result<Profile> {
        let Registration { key, label, tenure, terms, .. } = &registration;
        let (key, tenure) = (*key, *tenure);
        let views = self.policy.views(key.table)?;
        if label.chars().count() > 64 || label.chars().any(char::is_control) {
            return Err(ErrorKind::InvalidData.because(format_args!(
                "registration option \"label\": {} has {} characters, it has 64 at most, none of them \
                 a control character",
                quoted(label),
                label.chars().count()
            )));
        }
        // It is kept, and copied for each question.
        const LONGEST_PATH: usize = 255;
        let path = terms.callback.as_ref().map_or(0, String::len);
        if path > LONGEST_PATH {
            return Err(ErrorKind::InvalidData.because(format_args!(
                "a callback's path of {path} bytes, it has {LONGEST_PATH} at most"
            )));
        }
        if statics::is_reserved(key) {
            return Err(ErrorKind::AlreadyExists
                .because(format_args!("{key} is the service's own, for static routes")));
        }
        if foreign::is_reserved(key) {
            return Err(ErrorKind::AlreadyExists
                .because(format_args!("{key} is the service's own, for routes of others")));
        }
        let right = self.check_right(&registration, caller.uid)?;
        let known = self.entities.find(key);
        if let Some(known) = known {
            self.check_resumption(known, &caller, right)?;
        }
        self.check_terms((key, known), tenure, terms)?;
        self.check_room_for_entity(tenure, &caller, known)?;
        let has_cells = known.is_some_and(|id| self.cells.has(id));
        if terms.reserve_opaque && !has_cells {
            self.check_room_for_cells(key.table)?;
        }
        let id = match known {
            Some(known) => {
                self.resume(known, registration, (caller, right), now);
                known
            }
            None => {
                let Terms { reserve_opaque, fib_results, .. } = *terms;
                let by = (caller, right);
                let new = |id| Entity::new(id, registration, by, EntityState::Active, now);
                let id = self.entities.insert(new);
                self.results.join(fib_results);
                if reserve_opaque {
                    self.cells.reserve(id, key.table);
                }
                id
            }
        };
        Ok(Profile {
            id,
            resumed: known.is_some(),
            stale_routes: self.entities.active(id)?.stale_routes(),
            max_next_hops: self.policy.limits.next_hops_per_route,
            max_handles: self.policy.limits.handles,
            views,
            preference: self.policy.levels.of(key.protocol),
        })
    }

    /// Whether the caller may speak for the entity: what each command of an entity asks first.
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered, `AccessDenied` for another's.
    pub fn authorize(&self, id: EntityId, caller: &Caller) -> Result<()> {
        let entity = self.entities.active(id)?;
        if entity.is_held_by(caller) {
            return Ok(());
        }
        if entity.state == EntityState::Lingering {
            return Err(ErrorKind::AccessDenied.because(format_args!(
                "entity {id} lingers without a client: who registers it again may speak for it"
            )));
        }
        let owner = match entity.tenure {
            Tenure::Connection => format!("connection {}", entity.caller.bus_name),
            Tenure::User => format!("user {}", entity.caller.uid),
            Tenure::Service => "the service".to_owned(),
        };
        Err(ErrorKind::AccessDenied
            .because(format_args!("entity {id} belongs to {owner}, not to {}", caller.bus_name)))
    }

    /// Ends a registration: from now on its id is dead and its key free.
    ///
    /// Its routes stay until [`Rib::withdraw`] has been called often enough: a large owner is
    /// withdrawn in parts, between which the kernel is written to.
    ///
    /// # Errors
    /// `InvalidHandle` for an entity that is not registered.
    pub fn deregister(&mut self, id: EntityId) -> Result<()> {
        self.set_patience(id, None);
        let entity = self.entities.by_id.remove(&id).ok_or_else(|| not_registered(id))?;
        self.entities.by_key.remove(&entity.key);
        self.results.leave(entity.terms.fib_results);
        self.release_cells(id);
        self.delete_route_lists(id);
        self.entities.leaving.insert(id, entity);
        // Packets follow what takes the place of its routes from now on.
        for set in self.next_hops.withdraw(id) {
            self.groups.touch(set);
        }
        Ok(())
    }

    /// The bus says that this connection is gone: the registrations that it held.
    ///
    /// Each of them lingers if it asked for that; the others are deregistered, and their routes go with
    /// [`Rib::withdraw`].
    pub fn handle_client_gone(&mut self, bus_name: &str, now: Now) -> Vec<EntityId> {
        let ends = |entity: &&Entity| {
            let is_theirs = entity.caller.bus_name == bus_name;
            is_theirs && entity.tenure == Tenure::Connection && entity.state == EntityState::Active
        };
        let ids: Vec<EntityId> =
            self.entities.values().filter(ends).map(|entity| entity.id).collect();
        for id in &ids {
            if self.linger(*id, now).is_err() {
                let _ = self.deregister(*id); // it is there
            }
        }
        ids
    }

    /// Withdraws up to `count` routes of a deregistered entity, and forgets it with the last.
    pub fn withdraw(&mut self, id: EntityId, count: usize, now: Now) -> Withdrawal {
        let Some(leaving) = self.entities.leaving.get(&id) else { return Withdrawal::Unknown };
        let some: Vec<Slot> = leaving.routes.iter().take(count).copied().collect();
        for slot in some {
            self.remove_route(slot, Some(id), now);
        }
        if self.entities.leaving.get(&id).is_some_and(|leaving| !leaving.routes.is_empty()) {
            return Withdrawal::Unfinished;
        }
        self.next_hops.delete_all(id);
        let left = self.entities.leaving.remove(&id);
        left.map_or(Withdrawal::Unknown, |entity| Withdrawal::Complete(Box::new(entity)))
    }

    /// A registered entity.
    ///
    /// # Errors
    /// `InvalidHandle` for one that is not registered.
    pub fn entity(&self, id: EntityId) -> Result<&Entity> {
        self.entities.active(id)
    }

    /// The registered entities of all tables, by id.
    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.entities.values()
    }

    /// Those that are deregistered and whose routes are still to be withdrawn.
    pub fn leaving(&self) -> impl Iterator<Item = EntityId> {
        self.entities.leaving.keys().copied()
    }

    /// The entities of one table, by id (RTMv2 rows REG-16 and REG-17).
    ///
    /// # Errors
    /// `FileNotFound` or `BadConfiguration` for a table that is not there.
    pub fn registered_entities(&self, table: TableId) -> Result<impl Iterator<Item = &Entity>> {
        self.policy.table(table)?;
        Ok(self.entities.values().filter(move |entity| entity.key.table == table))
    }

    /// The caller's registrations in a table: what "own" refers to. Those of the connection come
    /// first; only where it has none, the shared ones of its user do.
    ///
    /// # Errors
    /// `InvalidParameter` when it has none there, or some of different protocols.
    pub fn own_entities(&self, table: TableId, caller: &Caller) -> Result<Vec<EntityId>> {
        Ok(self.own(table, caller)?.0)
    }

    /// The protocol of these registrations (`RTM_THIS_PROTOCOL`).
    ///
    /// # Errors
    /// As [`Rib::own_entities`].
    pub fn own_protocol(&self, table: TableId, caller: &Caller) -> Result<Protocol> {
        Ok(self.own(table, caller)?.1)
    }

    fn own(&self, table: TableId, caller: &Caller) -> Result<(Vec<EntityId>, Protocol)> {
        let of = |tenure: Tenure| {
            let held = self.entities.values().filter(|entity| entity.is_held_by(caller));
            held.filter(move |entity| entity.key.table == table && entity.tenure == tenure)
        };
        let connections = of(Tenure::Connection).next();
        let Some(first) = connections.or_else(|| of(Tenure::User).next()) else {
            return Err(ErrorKind::InvalidParameter
                .because(format_args!("you have no registration in table {table} to refer to")));
        };
        let protocol = first.key.protocol;
        if of(first.tenure).any(|other| other.key.protocol != protocol) {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "your registrations in table {table} are of several protocols: it is not clear \
                 which is meant"
            )));
        }
        Ok((of(first.tenure).map(|entity| entity.id).collect(), protocol))
    }

    /// Whether the caller may speak for an entity.
    pub fn is_own(&self, id: EntityId, caller: &Caller) -> bool {
        self.entities.active(id).is_ok_and(|entity| entity.is_held_by(caller))
    }

    /// How many next hops an entity has.
    pub fn next_hop_count(&self, id: EntityId) -> usize {
        self.next_hops.count(id)
    }
}

fn not_registered(id: EntityId) -> Error {
    ErrorKind::InvalidHandle.because(format_args!("entity {id} is not registered"))
}
