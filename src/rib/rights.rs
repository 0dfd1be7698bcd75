//! Grants at work: what the RIB refuses for them, and a case explained.

use super::{
    Credentials, Deed, Entity, Grant, Registration, Rib, Right, StaticRoute, Tenure,
    grants::is_unbound,
};
use crate::model::{
    EntityId, EntityKey, ErrorKind, Preference, Prefix, Result, Span, TableId, ViewSet,
};

/// What somebody might ask for, to be judged.
#[derive(Clone, Debug)]
pub struct Case {
    /// The registration.
    pub key: EntityKey,
    /// Whether it is shared.
    pub tenure: Tenure,
    /// How long it would linger.
    pub linger: Option<Span>,
    /// A route's destination, if there is to be one.
    pub to: Option<Prefix>,
    /// The preference that the route asks for; 0 for the protocol's level.
    pub preference: Preference,
    /// The route's views.
    pub views: ViewSet,
}

/// A static route that somebody wants to add or remove.
#[derive(Clone, Copy, Debug)]
pub struct StaticPlace {
    /// Its table.
    pub table: TableId,
    /// Its destination.
    pub to: Prefix,
    /// The preference that it gets; none to remove it.
    pub preference: Option<Preference>,
    /// Its views; none to remove it.
    pub views: ViewSet,
}

/// What the grants say to a case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ruling {
    /// The name of the grant that decides, if one does.
    pub grant: Option<String>,
    /// Why not, if it is refused.
    pub refusal: Option<String>,
    /// The grants before that one, or all, by name, and why each is not for the caller.
    pub passed_over: Vec<(String, String)>,
}

impl StaticPlace {
    /// Of a route to be added.
    pub fn of(rib: &Rib, table: TableId, route: &StaticRoute) -> Self {
        let key = &route.key;
        let preference = rib.policy.levels.preference(key.protocol, key.preference);
        Self { table, to: key.to, preference: Some(preference), views: route.views }
    }
}

impl Rib {
    /// Says what a registration lets its client do.
    ///
    /// # Errors
    /// `AccessDenied` with the rule that does not allow it.
    pub fn check_right(&self, registration: &Registration, uid: u32) -> Result<Right> {
        let Registration { key, tenure, terms, credentials, .. } = registration;
        let right = self.policy.grants.right(uid, credentials, *key)?;
        if let Some(grant) = self.grant(right) {
            grant.check_absence(*tenure, terms.linger)?;
            if let Some(most) = grant.registrations {
                let alike = self
                    .entities
                    .all()
                    .filter(|it| it.right == right && it.user() == Some(uid) && it.key != *key);
                if alike.count() >= most as usize {
                    let held = format!("another one of user {uid}");
                    return grant.refuse("registrations", &most, held);
                }
            }
        }
        Ok(right)
    }

    /// Refuses a static route of the service's own to who may not have it.
    ///
    /// # Errors
    /// `AccessDenied` with the rule that does not allow it.
    pub fn check_static(
        &self,
        uid: u32,
        credentials: &Credentials,
        place: &StaticPlace,
    ) -> Result<()> {
        if is_unbound(uid, credentials) {
            return Ok(());
        }
        let grants = &self.policy.grants;
        grants.check_deed(uid, credentials, Deed::ManageStatic)?;
        let Ok((_, grant)) = grants.first(uid, credentials) else { return Ok(()) };
        grant.check_table(place.table)?;
        match place.preference {
            Some(preference) => grant.check_route(place.to, preference, place.views),
            None => grant.check_place(place.to, place.views),
        }
    }

    /// The grant that bounds an entity; none for one that nothing bounds.
    pub(super) fn grant_of(&self, entity: &Entity) -> Result<Option<&Grant>> {
        match entity.right {
            Right::Everything => Ok(None),
            right => match self.grant(right) {
                Some(grant) => Ok(Some(grant)),
                None => Err(self.without_right(entity)),
            },
        }
    }

    fn grant(&self, right: Right) -> Option<&Grant> {
        match right {
            Right::Granted(index) => self.policy.grants.0.get(index),
            Right::Everything | Right::Nothing => None,
        }
    }

    /// Why an entity may only take back what it has.
    fn without_right(&self, entity: &Entity) -> crate::model::Error {
        let Entity { id, key, caller, credentials, .. } = entity;
        let why = self.policy.grants.right(caller.uid, credentials, *key).err();
        let why = why.map(|error| error.message).unwrap_or_default();
        ErrorKind::AccessDenied.because(format_args!(
            "entity {id} can only take back what it has, since the grants have changed: {why}"
        ))
    }

    /// Refuses a route that its owner's grant does not allow. For who has no grant with a word on routes
    /// this is a branch or two, and with prefixes a binary search.
    pub(super) fn check_route_right(
        &self,
        owner: &Entity,
        to: Prefix,
        wanted: Preference,
        views: ViewSet,
    ) -> Result<()> {
        let Some(grant) = self.grant_of(owner)? else { return Ok(()) };
        let preference = self.policy.levels.preference(owner.key.protocol, wanted);
        grant.check_route(to, preference, views)
    }

    /// Refuses another route to who has as many as its grant allows.
    pub(super) fn check_routes_right(&self, owner: EntityId) -> Result<()> {
        let Some(entity) = self.entities.known(owner) else { return Ok(()) };
        let Some(grant) = self.grant_of(entity)? else { return Ok(()) };
        match grant.routes {
            Some(most) if entity.routes() >= most as usize => {
                grant.refuse("routes", &most, format_args!("another one of entity {owner}"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses more next hops to who would have more than its grant allows.
    pub(super) fn check_next_hops_right(&self, owner: EntityId, fresh: usize) -> Result<()> {
        let Some(entity) = self.entities.known(owner) else { return Ok(()) };
        let Some(grant) = self.grant_of(entity)? else { return Ok(()) };
        match grant.next_hops {
            Some(most) if fresh > 0 && self.next_hops.held(owner) + fresh > most as usize => {
                grant.refuse("next-hops", &most, format_args!("{fresh} more of entity {owner}"))
            }
            _ => Ok(()),
        }
    }

    /// Says what the grants in force would say to a case, and why.
    pub fn rule(&self, uid: u32, credentials: &Credentials, case: &Case) -> Ruling {
        let grants = &self.policy.grants;
        if is_unbound(uid, credentials) {
            return Ruling { grant: None, refusal: None, passed_over: Vec::new() };
        }
        let first = grants.first(uid, credentials);
        let passed_over = grants.0.iter().map_while(|grant| {
            grant.matches(uid, credentials).err().map(|why| (grant.name.clone(), why.to_string()))
        });
        let passed_over = passed_over.collect();
        let grant = first.ok().map(|(_, grant)| grant);
        let refusal = match grant {
            None => grants.right(uid, credentials, case.key).err(),
            Some(grant) => self.check_case(grant, case).err(),
        };
        let (grant, refusal) =
            (grant.map(|grant| grant.name.clone()), refusal.map(|error| error.message));
        Ruling { grant, refusal, passed_over }
    }

    fn check_case(&self, grant: &Grant, case: &Case) -> Result<()> {
        grant.check_key(case.key)?;
        grant.check_absence(case.tenure, case.linger)?;
        let Some(to) = case.to else { return Ok(()) };
        let preference = self.policy.levels.preference(case.key.protocol, case.preference);
        grant.check_route(to, preference, case.views)
    }
}

impl Grant {
    /// Refuses to let an entity outlive its connection for so long.
    fn check_absence(&self, tenure: Tenure, linger: Option<Span>) -> Result<()> {
        if tenure == Tenure::User && !self.shared {
            return Err(ErrorKind::AccessDenied
                .because(format_args!("grant \"{}\" allows no shared registrations", self.name)));
        }
        match (self.linger, linger) {
            (Some(most), Some(span)) if span.exceeds(most) => {
                let most = format!("of {most} milliseconds at most");
                self.refuse("linger", &most, span)
            }
            _ => Ok(()),
        }
    }
}
