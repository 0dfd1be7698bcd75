//! How a group is dealt out: weights, buckets, and the spare.

use std::{num::NonZeroU16, sync::Arc};

use super::{Leg, Support};
use crate::model::{Family, Forwarding, Hop, Member, ObjectId, Weight};

/// The buckets of a group with several legs. With weights scaled up as far as they go, a spare of
/// weight 1 has less than half a bucket's share of 64, and so none; a leg's share is right to 1/128.
const SEVERAL: NonZeroU16 = NonZeroU16::new(64).expect("64 is not 0");

/// The heaviest a leg can be (`struct nexthop_grp` before Linux 6.12).
const HEAVIEST: u16 = 256;

/// What a group is to be like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Shape {
    legs: Vec<(Leg, Weight)>,
    spare: Option<Leg>,
    pub(super) resilience: Resilience,
}

/// How a group deals packets out: fixed when it is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resilience {
    Hash,
    Buckets(NonZeroU16),
}

impl Resilience {
    pub(super) fn buckets(self) -> Option<NonZeroU16> {
        match self {
            Self::Hash => None,
            Self::Buckets(buckets) => Some(buckets),
        }
    }

    /// Whether a group like this can take over what is to be like the other.
    pub(super) fn can_hold(self, other: Self) -> bool {
        match (self, other) {
            (Self::Buckets(have), Self::Buckets(needed)) => have >= needed,
            (have, needed) => have == needed,
        }
    }
}

impl From<Option<NonZeroU16>> for Resilience {
    fn from(buckets: Option<NonZeroU16>) -> Self {
        buckets.map_or(Self::Hash, Self::Buckets)
    }
}

impl Shape {
    pub(super) fn new(
        forwarding: &Forwarding,
        spare: Option<Hop>,
        family: Family,
        support: Support,
    ) -> Self {
        let hops: &[Hop] = match forwarding {
            Forwarding::Unicast(hops) => hops,
            Forwarding::Blackhole | Forwarding::Unreachable | Forwarding::Prohibit => &[],
        };
        let resilience = match (support, hops.len()) {
            (Support::Resilient, 0 | 1) => Resilience::Buckets(NonZeroU16::MIN),
            (Support::Resilient, _) => Resilience::Buckets(SEVERAL),
            (Support::None | Support::Groups, _) => Resilience::Hash,
        };
        let spare = spare.filter(|_| support == Support::Resilient);
        Self {
            legs: hops.iter().map(|hop| (Leg::new(hop, family), hop.weight)).collect(),
            spare: spare.map(|hop| Leg::new(&hop, family)),
            resilience,
        }
    }

    /// The legs that packets are to go by.
    pub(super) fn in_use(&self) -> impl Iterator<Item = Leg> {
        self.legs.iter().map(|(leg, _)| *leg)
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = Leg> {
        self.in_use().chain(self.spare)
    }

    /// The members, of those legs that are there, and last the spare; none without any other leg.
    pub(super) fn members(&self, id: impl Fn(Leg) -> Option<ObjectId>) -> Vec<Member> {
        let there =
            |(leg, weight): &(Leg, Weight)| Some(Member { object: id(*leg)?, weight: *weight });
        let mut members: Vec<Member> = self.legs.iter().filter_map(there).collect();
        if matches!(self.resilience, Resilience::Buckets(_)) {
            scale_up(&mut members);
        }
        let spare = self.spare.and_then(&id);
        if let Some(object) = spare
            && !members.is_empty()
            && members.iter().all(|member| member.object != object)
        {
            members.push(Member { object, weight: Weight::ONE });
        }
        members
    }
}

/// Makes the heaviest as heavy as can be, in proportion.
fn scale_up(members: &mut [Member]) {
    let heaviest = members.iter().map(|member| member.weight.get()).max().unwrap_or(1);
    for Member { weight, .. } in members {
        let scaled = u32::from(weight.get()) * u32::from(HEAVIEST / heaviest);
        *weight = Weight::new(scaled).unwrap_or(*weight);
    }
}

/// Whether two lists of members deal packets out alike. The weight of an only one means nothing; the
/// order of several decides who gets the odd bucket.
pub(super) fn is_equal(one: &[Member], other: &[Member]) -> bool {
    match (one, other) {
        ([one], [other]) => one.object == other.object,
        _ => one == other,
    }
}

/// The members that get packets: all but a spare, which comes last and has the least weight.
pub(super) fn in_use(members: &[Member]) -> &[Member] {
    match members {
        [legs @ .., last] if !legs.is_empty() && last.weight == Weight::ONE => legs,
        all => all,
    }
}

/// The same forwarding without what the kernel does not keep, so that a dump can equal it: the weight
/// of an only hop.
pub(super) fn as_the_kernel_tells(wish: Arc<Forwarding>) -> Arc<Forwarding> {
    match wish.as_ref() {
        Forwarding::Unicast(hops) => match hops.as_ref() {
            [only] if only.weight != Weight::ONE => {
                Arc::new(Forwarding::Unicast([Hop { weight: Weight::ONE, ..*only }].into()))
            }
            _ => wish,
        },
        Forwarding::Blackhole | Forwarding::Unreachable | Forwarding::Prohibit => wish,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::model::InterfaceIndex;

    /// The buckets of each member, as Linux shares them out (`nh_res_group_rebalance()`).
    fn shares(members: &[Member], buckets: u32) -> Vec<u32> {
        let total: u32 = members.iter().map(|member| u32::from(member.weight.get())).sum();
        let (mut weight, mut given) = (0, 0);
        let mut share = |member: &Member| {
            weight += u32::from(member.weight.get());
            let up_to = (buckets * weight + total / 2) / total;
            up_to - std::mem::replace(&mut given, up_to)
        };
        members.iter().map(&mut share).collect()
    }

    fn hop(interface: u32, weight: u32) -> Hop {
        let weight = Weight::new(weight).unwrap();
        Hop { gateway: None, interface: InterfaceIndex(interface), weight }
    }

    proptest! {
        #[test]
        fn a_spare_never_gets_a_bucket_even_where_other_legs_are_missing(
            weights in vec(1..=256_u32, 1..64),
            missing in vec(any::<bool>(), 64),
        ) {
            let hops = (2..).zip(weights).map(|(interface, weight)| hop(interface, weight));
            let forwarding = Forwarding::Unicast(hops.collect());
            let shape = Shape::new(&forwarding, Some(hop(1, 1)), Family::Ipv4, Support::Resilient);
            let members = shape.members(|leg| {
                let is_missing = leg.interface.0 > 2 && missing[leg.interface.0 as usize - 2];
                NonZeroU32::new(leg.interface.0).filter(|_| !is_missing).map(ObjectId)
            });
            let buckets = shape.resilience.buckets().unwrap().get();
            let shares = shares(&members, buckets.into());
            prop_assert_eq!(shares.last(), Some(&0), "{:?}", members);
        }
    }
}
