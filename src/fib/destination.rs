//! One destination of the mirror: what is wished, what the kernel has, and how far apart they are.
//!
//! [`State`] is what the rules work on; [`Destination`] is how it rests in the map, 24 bytes for the
//! states a million prefixes can be in at once and a box for those few thousand can. Nobody but the
//! two conversions here knows which is which.

use std::{collections::BTreeSet, mem, time::Instant};

use super::{
    Refusal,
    objects::{Objects, Wanted},
    retry::Refused,
};
use crate::model::{
    Family, Forwarding, GroupId, Hop, InterfaceIndex, ObjectId, Prefix, Target, Wish,
};

/// `LOOPBACK_IFINDEX`: the first link of every network namespace.
const LOOPBACK: InterfaceIndex = InterfaceIndex(1);

/// A destination at rest. `Unsettled` is for what the other variants cannot say.
#[derive(Debug, Default)]
pub(super) enum Destination {
    /// Nothing wished, nothing there: not kept in the map.
    #[default]
    Nothing,
    /// The kernel has what is wished.
    Settled(Wish, Target),
    /// Wished, queued, and nothing of ours there.
    Wished(Wish),
    /// There, queued, and not wished.
    Unwanted(Target),
    /// Not wished, and left for a while.
    Spared(Target),
    /// Anything else.
    Unsettled(Box<State>),
}

/// A destination under the rules.
#[derive(Debug)]
pub(super) struct State {
    pub(super) wish: Option<Wish>,
    pub(super) fact: Fact,
    pub(super) stage: Stage,
    /// How often the kernel has refused in a row, since the wish last changed.
    pub(super) refusals: u8,
    /// What it refused last, until it is asked again.
    pub(super) refused: Option<Box<Refused>>,
}

/// What the kernel has of ours at a destination, as far as results and dumps tell.
#[derive(Debug)]
pub(super) enum Fact {
    /// Nothing.
    Absent,
    /// The same, as somebody told who may not know of what was written since.
    Gone,
    /// Exactly this.
    Present(Target),
    /// One route of ours or none, of an unclear version: a removal failed, an answer was lost, or
    /// the kernel may have dropped it by itself. Or somebody else's in the place of ours.
    Stale,
    /// One route of ours or none that is not what is wished and cannot be replaced by it: it has to
    /// go, or packets would follow what nobody offers any more.
    Outdated,
    /// None, one or several, and perhaps a stranger with our metric in the way: only taking away
    /// until the kernel has no more makes it clear.
    Unclear,
}

/// What is being done about a destination.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing: wish and fact agree.
    Idle,
    /// It waits for its turn, with one entry in the queue (or will get one when the dump is complete).
    Queued,
    /// It waits for its turn too, but all that is in the queue comes first: packets go where they are
    /// to already, and only by what object is to change.
    Later,
    /// The kernel is at it.
    InFlight {
        action: Action,
        /// What it puts there: if something else is wanted when the result comes, it is planned again.
        tried: Option<Target>,
        /// What happened there without us, before or after it, who knows.
        meanwhile: Meanwhile,
    },
    /// It waits until its group is there; `refused` says that the kernel refuses that for now.
    Blocked { refused: bool },
    /// It was refused and will be tried again.
    Waiting { due: Instant },
    /// An earlier life left it, and whoever had offered it then has the time to do so again.
    Spared,
}

/// What happened at a destination without us, the worst last.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Meanwhile {
    #[default]
    Nothing,
    /// A route of ours was taken away.
    Gone,
    /// A route of ours may have gone, or a stranger's have taken its place.
    Lost,
    /// A route like ours took the place of another, or a place where none was.
    Replaced,
    /// A route like ours came beside what was there.
    Added,
}

/// The kinds of [`super::RouteOp`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Install,
    Replace,
    Uninstall,
}

/// What the counts tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Nothing,
    Installed,
    Pending,
    Failed,
}

/// The next step from fact to wish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// They agree.
    Nothing,
    /// What is wished is not to be had yet.
    Wait,
    Act(Action),
}

impl Fact {
    /// What is left of the knowledge after this, whose place among our own operations is not known.
    pub(super) fn doubt(&mut self, meanwhile: Meanwhile) {
        match (meanwhile, &self) {
            (Meanwhile::Added, _) => *self = Self::Unclear,
            // What comes there now is not ours to replace.
            (Meanwhile::Gone, Self::Present(_) | Self::Stale) => *self = Self::Gone,
            (Meanwhile::Lost, Self::Present(_))
            | (Meanwhile::Replaced, Self::Present(_) | Self::Absent | Self::Gone) => {
                *self = Self::Stale;
            }
            (_, _) => {}
        }
    }
}

impl State {
    /// What the wish comes to now: the next best while the kernel refuses the best.
    pub(super) fn wanted(&self, objects: &Objects) -> Wanted {
        match (self.wish, self.bridge(objects)) {
            (None, _) => Wanted::Nothing,
            (Some(_), Some((next, _))) => Wanted::Target(next),
            (Some(wish), None) => objects.wanted(wish),
        }
    }

    /// What carries the packets while the kernel refuses what is wished, and why it does.
    pub(super) fn bridge(&self, objects: &Objects) -> Option<(Target, &Refusal)> {
        let refused = self.refused.as_ref()?;
        let (why, wish) = (refused.lasting()?, self.wish?);
        match objects.wanted(wish) {
            Wanted::Target(best) if refused.has(&best) => {
                let next = objects.next(wish).filter(|next| !refused.has(next))?;
                Some((next, why))
            }
            _ => None,
        }
    }

    /// The next step from fact to wish.
    pub(super) fn plan(&self, objects: &Objects) -> Step {
        match (self.wanted(objects), &self.fact) {
            (Wanted::NotYet, _) | (Wanted::Refused, Fact::Absent) => Step::Wait,
            (Wanted::Nothing, Fact::Absent) => Step::Nothing,
            (Wanted::Target(wish), Fact::Present(fact)) if wish == *fact => Step::Nothing,
            (Wanted::Target(_), Fact::Absent | Fact::Gone) => Step::Act(Action::Install),
            (Wanted::Target(_), Fact::Present(_) | Fact::Stale) => Step::Act(Action::Replace),
            (Wanted::Target(_), Fact::Unclear | Fact::Outdated)
            | (Wanted::Nothing | Wanted::Refused, _) => Step::Act(Action::Uninstall),
        }
    }

    /// Whether there is nothing to be done before the kernel may be asked again for what it refused.
    pub(super) fn can_wait(&self, objects: &Objects) -> bool {
        match (&self.refused, self.wanted(objects), &self.fact) {
            (Some(refused), Wanted::Target(wanted), Fact::Absent) => refused.has(&wanted),
            // Unless what is there is what was refused: then an answer was lost.
            (Some(refused), Wanted::Target(wanted), Fact::Present(there)) => {
                wanted == *there && !refused.has(there)
            }
            (Some(_), _, _) => false,
            (None, _, fact) => matches!(fact, Fact::Absent),
        }
    }

    /// What was refused is of no account where something else is wanted now.
    pub(super) fn forget_refusal_of_another(&mut self, objects: &Objects) {
        let best = self.wish.map(|wish| objects.wanted(wish));
        if let Some(refused) = &self.refused
            && !matches!(best, Some(Wanted::Target(best)) if refused.has(&best))
        {
            (self.refusals, self.refused) = (0, None);
        }
    }

    /// Whether packets already go where they are to, and only the object is to be another.
    pub(super) fn is_right_already(&self, objects: &Objects) -> bool {
        match (&self.fact, self.wanted(objects)) {
            (Fact::Present(Target::Object(fact)), Wanted::Target(Target::Object(wish))) => {
                objects.are_alike(*fact, wish)
            }
            _ => false,
        }
    }

    /// A route that referred to an object is gone with it.
    pub(super) fn refresh(&mut self, objects: &Objects) {
        if let Fact::Present(Target::Object(id)) = self.fact
            && !objects.is_live(id)
        {
            self.fact = Fact::Absent;
        }
    }

    /// The objects that routes refer to, or may refer to in a moment.
    pub(super) fn objects(&self) -> [Option<ObjectId>; 2] {
        self.targets().map(|target| match target? {
            Target::Object(id) => Some(*id),
            Target::Plain(_) => None,
        })
    }

    /// The links that routes of this family lead by without an object, or may do so in a moment.
    pub(super) fn links(&self, family: Family) -> impl Iterator<Item = InterfaceIndex> {
        self.targets().into_iter().flatten().flat_map(move |target| links(target, family))
    }

    /// What the kernel has, and may have in a moment.
    fn targets(&self) -> [Option<&Target>; 2] {
        let there = match &self.fact {
            Fact::Present(target) => Some(target),
            Fact::Absent | Fact::Gone | Fact::Stale | Fact::Outdated | Fact::Unclear => None,
        };
        let tried = match &self.stage {
            Stage::InFlight { tried, .. } => tried.as_ref(),
            Stage::Idle
            | Stage::Queued
            | Stage::Later
            | Stage::Blocked { .. }
            | Stage::Waiting { .. }
            | Stage::Spared => None,
        };
        [there, tried]
    }

    /// Notes what a finished action means for the fact. `Err` when it was a refusal in earnest.
    pub(super) fn conclude(
        &mut self,
        action: Action,
        tried: Option<Target>,
        result: Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let before = mem::replace(&mut self.fact, Fact::Unclear);
        match (action, result) {
            (Action::Install | Action::Replace, Ok(())) => {
                // `tried` is what was sent; a wish to put something there is never `None`.
                self.fact = tried.map_or(Fact::Unclear, Fact::Present);
            }
            (Action::Uninstall, Ok(())) => {
                // The kernel takes away one route a request: where there were several, go on until it has no more.
                self.fact = match before {
                    Fact::Unclear => Fact::Unclear,
                    _ => Fact::Absent,
                };
            }
            (Action::Uninstall, Err(refusal)) if refusal.errno == libc::ESRCH => {
                self.fact = Fact::Absent; // what was to go is gone
            }
            (action, Err(refusal)) => {
                self.fact = match (action, before) {
                    // Someone is there, or nobody knows: if it is ours, it has to go first.
                    (Action::Install, _) if is_doubtful(&refusal) => Fact::Unclear,
                    (Action::Install, before) => before,
                    (Action::Replace, _) if refusal.errno == libc::EEXIST => Fact::Unclear,
                    (Action::Replace, _) if !refusal.is_passing() => Fact::Outdated,
                    (_, Fact::Present(_)) => Fact::Stale,
                    (_, before) => before,
                };
                return Err(refusal);
            }
        }
        Ok(())
    }
}

/// Whether a refused installation leaves open if there is a route of ours.
fn is_doubtful(refusal: &Refusal) -> bool {
    refusal.errno == libc::EEXIST || refusal.is_passing()
}

/// The links that a route of this family says by itself it leads by.
fn links(target: &Target, family: Family) -> impl Iterator<Item = InterfaceIndex> {
    let (hops, other): (&[Hop], _) = match target {
        Target::Object(_) => (&[], None), // known by the object
        Target::Plain(forwarding) => match forwarding.as_ref() {
            Forwarding::Unicast(hops) => (hops, None),
            // IPv6 hangs these on the loopback interface, and drops them with it.
            Forwarding::Blackhole | Forwarding::Unreachable | Forwarding::Prohibit => {
                (&[], (family == Family::Ipv6).then_some(LOOPBACK))
            }
        },
    };
    hops.iter().map(|hop| hop.interface).chain(other)
}

/// Whether a route of this family says by itself that it leads by one of these links.
pub(super) fn leads_by(
    target: &Target,
    family: Family,
    lost: &BTreeSet<(InterfaceIndex, Family)>,
) -> bool {
    links(target, family).any(|link| lost.contains(&(link, family)))
}

impl Destination {
    /// Whether the kernel has, or may be about to have, a route to `to` by one of these links.
    pub(super) fn leads_by(&self, to: Prefix, links: &BTreeSet<(InterfaceIndex, Family)>) -> bool {
        let by = |target: &Target| leads_by(target, to.family(), links);
        match self {
            Self::Nothing | Self::Wished(_) => false,
            Self::Settled(_, there) | Self::Unwanted(there) | Self::Spared(there) => by(there),
            Self::Unsettled(state) => state.targets().into_iter().flatten().any(by),
        }
    }

    /// The group that it is wished to follow, if nothing is under way that ends with a look at it.
    pub(super) fn rests_on(&self) -> Option<GroupId> {
        let wish = match self {
            Self::Settled(wish, _) => Some(*wish),
            Self::Unsettled(state) => match state.stage {
                Stage::Idle | Stage::Later => state.wish,
                // The kernel refused it something, which may be something else now.
                Stage::Waiting { .. } if state.refused.is_some() => state.wish,
                _ => None,
            },
            Self::Nothing | Self::Wished(_) | Self::Unwanted(_) | Self::Spared(_) => None,
        };
        match wish? {
            Wish::Group(id) => Some(id),
            Wish::Special(_) => None,
        }
    }

    /// Whether it waits without haste, and the object that its route refers to is gone.
    pub(super) fn is_orphan(&self, objects: &Objects) -> bool {
        let Self::Unsettled(state) = self else { return false };
        matches!((&state.stage, &state.fact), (Stage::Later, Fact::Present(Target::Object(id)))
            if !objects.is_live(*id))
    }

    /// Whether the kernel may have anything of ours there.
    pub(super) fn may_be_there(&self) -> bool {
        match self {
            Self::Nothing | Self::Wished(_) => false,
            Self::Settled(..) | Self::Unwanted(_) | Self::Spared(_) => true,
            Self::Unsettled(state) => !matches!(state.fact, Fact::Absent),
        }
    }

    /// Whether an earlier life left it, and it is not time yet to take it away.
    pub(super) fn is_spared(&self) -> bool {
        match self {
            Self::Spared(_) => true,
            Self::Unsettled(state) => matches!(state.stage, Stage::Spared),
            Self::Nothing | Self::Settled(..) | Self::Wished(_) | Self::Unwanted(_) => false,
        }
    }

    /// Whether the kernel refused it because of what somebody else has there.
    pub(super) fn is_kept_out(&self) -> bool {
        let Self::Unsettled(state) = self else { return false };
        state.refused.as_ref().is_some_and(|refused| refused.is_by_a_stranger())
    }

    /// What is wished for it.
    pub(super) fn wish(&self) -> Option<Wish> {
        match self {
            Self::Nothing | Self::Unwanted(_) | Self::Spared(_) => None,
            Self::Settled(wish, _) | Self::Wished(wish) => Some(*wish),
            Self::Unsettled(state) => state.wish,
        }
    }

    /// Which count it is in.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Nothing | Self::Spared(_) => Class::Nothing,
            Self::Settled(..) => Class::Installed,
            Self::Wished(_) | Self::Unwanted(_) => Class::Pending,
            Self::Unsettled(state) => match state.stage {
                // By the next best, which is all that the kernel is written while it waits.
                Stage::Waiting { .. } if matches!(state.fact, Fact::Present(_)) => Class::Installed,
                Stage::Waiting { .. } | Stage::Blocked { refused: true } => Class::Failed,
                // Wished to follow a group that leads nowhere, or left by an earlier life.
                Stage::Idle | Stage::Spared => Class::Nothing,
                Stage::Queued
                | Stage::Later
                | Stage::Blocked { refused: false }
                | Stage::InFlight { .. } => Class::Pending,
            },
        }
    }
}

impl From<Destination> for State {
    fn from(destination: Destination) -> Self {
        let (wish, fact, stage) = match destination {
            Destination::Nothing => (None, Fact::Absent, Stage::Idle),
            Destination::Settled(wish, fact) => (Some(wish), Fact::Present(fact), Stage::Idle),
            Destination::Wished(wish) => (Some(wish), Fact::Absent, Stage::Queued),
            Destination::Unwanted(found) => (None, Fact::Present(found), Stage::Queued),
            Destination::Spared(found) => (None, Fact::Present(found), Stage::Spared),
            Destination::Unsettled(state) => return *state,
        };
        Self { wish, fact, stage, refusals: 0, refused: None }
    }
}

impl From<State> for Destination {
    fn from(state: State) -> Self {
        match state {
            State { wish: None, fact: Fact::Absent, stage: Stage::Idle, .. } => Self::Nothing,
            State { wish: Some(wish), fact: Fact::Present(fact), stage: Stage::Idle, .. } => {
                Self::Settled(wish, fact)
            }
            State {
                wish: Some(wish),
                fact: Fact::Absent,
                stage: Stage::Queued,
                refusals: 0,
                refused: None,
            } => Self::Wished(wish),
            State {
                wish: None,
                fact: Fact::Present(found),
                stage: Stage::Queued,
                refusals: 0,
                refused: None,
            } => Self::Unwanted(found),
            State { wish: None, fact: Fact::Present(found), stage: Stage::Spared, .. } => {
                Self::Spared(found)
            }
            state => Self::Unsettled(Box::new(state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_at_rest_takes_twenty_four_bytes() {
        assert_eq!(size_of::<Destination>(), 24);
    }
}
