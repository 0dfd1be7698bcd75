//! Who is let in: what a registration may ask for, and how many there may be.

use super::{Entity, Rib, Tenure, Terms};
use crate::model::{Caller, EntityId, EntityKey, ErrorKind, Protocol, Result};

impl Rib {
    /// `key`, and who has it and lingers.
    pub(super) fn check_terms(
        &self,
        (key, known): (EntityKey, Option<EntityId>),
        tenure: Tenure,
        terms: &Terms,
    ) -> Result<()> {
        const MOST_METHODS: u32 = 32;
        let refuse = |why: std::fmt::Arguments<'_>| Err(ErrorKind::InvalidParameter.because(why));
        // What asks for a protocol's best route means the best of all by it.
        if key.protocol == Protocol(0) {
            return refuse(format_args!(
                "protocol 0 is no protocol, it stands for all of them: 1 is \"other\""
            ));
        }
        if terms.methods > MOST_METHODS {
            let count = terms.methods;
            return refuse(format_args!(
                "{count} methods, an entity exports {MOST_METHODS} at most"
            ));
        }
        if terms.methods > 0 && terms.callback.is_none() {
            return refuse(format_args!("methods are invoked on a callback, and none is given"));
        }
        if terms.callback.is_some() && tenure == Tenure::User {
            return refuse(format_args!(
                "a shared registration outlives its connection, so it can have no callback"
            ));
        }
        if terms.fib_results && tenure == Tenure::User {
            return refuse(format_args!(
                "a shared registration outlives its connection, so there is nobody to send \
                 FibResult to: read \"fib\" of its routes"
            ));
        }
        let most = self.policy.limits.linger;
        if let Some(span) = terms.linger {
            if tenure == Tenure::User {
                return refuse(format_args!(
                    "a shared registration outlives its connection anyway, leave out \"linger\""
                ));
            }
            if span.exceeds(most) {
                return refuse(format_args!(
                    "routes that linger {span}, it may be {most} milliseconds at most (limit linger)"
                ));
            }
        }
        let of_protocol = |other: &&Entity| {
            Some(other.id) != known
                && (other.key.table, other.key.protocol) == (key.table, key.protocol)
                && other.tenure != Tenure::Service
                && (terms.exclusive || other.terms.exclusive)
        };
        if let Some(other) = self.entities.values().find(of_protocol) {
            let (protocol, table) = (key.protocol, key.table);
            return Err(ErrorKind::AlreadyExists.because(format_args!(
                "entity {} is of protocol {protocol} in table {table}, and one of the two wants to \
                 be the only one",
                other.id
            )));
        }
        Ok(())
    }

    /// `known` is who lingers, and is counted already.
    pub(super) fn check_room_for_entity(
        &self,
        tenure: Tenure,
        caller: &Caller,
        known: Option<EntityId>,
    ) -> Result<()> {
        let refuse = |why: std::fmt::Arguments<'_>| Err(ErrorKind::NoSystemResources.because(why));
        let limits = self.policy.limits;
        if known.is_none() && self.entities.all().count() >= limits.entities as usize {
            let most = limits.entities;
            return refuse(format_args!(
                "{most} entities are registered, the most (limit entities)"
            ));
        }
        let Caller { bus_name, uid } = caller;
        let of_user = self.entities.all().filter(|entity| entity.user() == Some(*uid)).count();
        let is_theirs = |id| self.entities.active(id).is_ok_and(|it| it.user() == Some(*uid));
        if !known.is_some_and(is_theirs) && of_user >= limits.entities_per_user as usize {
            return refuse(format_args!(
                "user {uid} holds {of_user} registrations, the most for one user (limit \
                 entities-per-user): deregister one"
            ));
        }
        // Shared ones outlive connections: were they to count for each of these, a script that
        // forgets its own could keep every daemon of the user out.
        let alike = self.entities.values().filter(|entity| entity.tenure == tenure);
        let held = alike.filter(|entity| entity.is_held_by(caller)).count();
        if held >= limits.entities_per_client as usize {
            return match tenure {
                Tenure::User => refuse(format_args!(
                    "user {uid} holds {held} shared registrations, the most for one user (limit \
                     entities-per-client): deregister one"
                )),
                Tenure::Connection | Tenure::Service => refuse(format_args!(
                    "{bus_name} holds {held} registrations, the most for one client (limit \
                     entities-per-client): deregister one"
                )),
            };
        }
        Ok(())
    }
}
