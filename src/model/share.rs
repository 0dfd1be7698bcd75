//! Shares of traffic: weights that are passed down from a whole to its parts.

use super::nexthop::Weight;

/// The ways of several members as one list, each with the share it has of the whole.
///
/// A member passes its weight on to its ways in proportion to theirs. What several members have in
/// common is listed once, with their shares together; of more than `most` ways the first are kept.
/// Shares that come out whole stay as they are; otherwise they become the smallest whole numbers in
/// the same proportion, or, where even those are over 256, the nearest from 1 to 256.
pub fn shares<W: PartialEq, I: Iterator<Item = (W, Weight)> + Clone>(
    members: impl IntoIterator<Item = (Weight, I)>,
    most: usize,
) -> Vec<(W, Weight)> {
    let members: Vec<(u64, u64, I)> = members
        .into_iter()
        .map(|(weight, ways)| (number(weight), ways.clone().map(|(_, w)| number(w)).sum(), ways))
        .collect();
    // In units of one of these all shares are whole, unless that takes too small a unit.
    let unit = members.iter().filter(|(_, total, _)| *total > 0).fold(1, |unit, member| {
        let (weight, total, ways) = member;
        let common = ways.clone().fold(*total, |common, (_, w)| gcd(common, weight * number(w)));
        least_common_multiple(unit, total / common).min(FINEST)
    });
    let mut all: Vec<(W, u64)> = Vec::new();
    for (weight, total, ways) in members {
        for (way, own) in ways {
            let share = u128::from(weight * number(own)) * u128::from(unit) / u128::from(total);
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            if let Some((_, known)) = all.iter_mut().find(|(known, _)| *known == way) {
                *known = known.saturating_add(share);
            } else if all.len() < most {
                all.push((way, share));
            }
        }
    }
    let largest = all.iter().map(|(_, share)| *share).max().unwrap_or_default();
    let whole = all.iter().all(|(_, share)| share % unit == 0) && largest / unit <= MOST;
    let part = if whole { unit } else { all.iter().fold(0, |part, (_, share)| gcd(part, *share)) };
    let largest = largest / part.max(1);
    let weight = |share: u64| {
        let share = share / part.max(1);
        let fitting = match largest {
            0..=MOST => share,
            _ => (u128::from(share) * u128::from(MOST) + u128::from(largest / 2))
                .checked_div(largest.into())
                .and_then(|share| share.try_into().ok())
                .unwrap_or(MOST),
        };
        let fitting = u32::try_from(fitting.clamp(1, MOST)).unwrap_or(1);
        Weight::new(fitting).unwrap_or(Weight::ONE)
    };
    all.into_iter().map(|(way, share)| (way, weight(share))).collect()
}

/// The largest weight.
const MOST: u64 = 256;

/// A unit that leaves room for the largest sums: 256 members of weight 256 have shares below 2⁵⁶.
const FINEST: u64 = 1 << 40;

fn number(weight: Weight) -> u64 {
    weight.get().into()
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Of numbers of which the second is at most 2¹⁶ and the first at most [`FINEST`].
fn least_common_multiple(a: u64, b: u64) -> u64 {
    a / gcd(a, b) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(number: u32) -> Weight {
        Weight::new(number).unwrap()
    }

    /// Members as `weight: way weight, …`.
    fn combined(members: &[(u32, &[(char, u32)])], most: usize) -> Vec<(char, u16)> {
        let members: Vec<(Weight, Vec<(char, Weight)>)> = members
            .iter()
            .map(|(own, ways)| {
                (weight(*own), ways.iter().map(|(way, w)| (*way, weight(*w))).collect())
            })
            .collect();
        let members = members.iter().map(|(weight, ways)| (*weight, ways.iter().copied()));
        shares(members, most).into_iter().map(|(way, weight)| (way, weight.get())).collect()
    }

    #[test]
    fn weights_of_single_ways_stay_as_they_are() {
        assert_eq!(combined(&[(2, &[('a', 7)]), (4, &[('b', 1)])], 9), [('a', 2), ('b', 4)]);
    }

    #[test]
    fn a_member_shares_its_weight_out() {
        let ways = combined(&[(1, &[('a', 1), ('b', 1), ('c', 1)]), (1, &[('d', 1)])], 9);
        assert_eq!(ways, [('a', 1), ('b', 1), ('c', 1), ('d', 3)]);
        assert_eq!(combined(&[(4, &[('a', 3), ('b', 1)])], 9), [('a', 3), ('b', 1)]);
    }

    #[test]
    fn what_members_have_in_common_is_listed_once() {
        let ways = combined(&[(1, &[('a', 1), ('b', 1)]), (1, &[('b', 1)])], 9);
        assert_eq!(ways, [('a', 1), ('b', 3)]);
        assert_eq!(combined(&[(1, &[('a', 1)]), (1, &[('a', 1)])], 9), [('a', 2)]);
    }

    #[test]
    fn shares_over_256_are_scaled_down_together() {
        let ways = [(200, &[('a', 1)][..]), (200, &[('a', 1)]), (99, &[('b', 1)])];
        assert_eq!(combined(&ways, 9), [('a', 256), ('b', 63)]);
        let ways = combined(&[(256, &[('a', 256), ('b', 1)]), (1, &[('c', 1)])], 9);
        assert_eq!(ways, [('a', 256), ('b', 1), ('c', 1)], "the least share is not nothing");
    }

    #[test]
    fn of_too_many_ways_the_first_are_kept() {
        let ways = combined(&[(1, &[('a', 1), ('b', 1)]), (1, &[('c', 1), ('a', 1)])], 2);
        assert_eq!(ways, [('a', 2), ('b', 1)]);
    }

    #[test]
    fn units_too_small_to_count_in_are_rounded() {
        let primes = [251, 241, 239, 233, 229, 227, 223, 211];
        let members: Vec<_> = primes.iter().map(|n| vec![('a', *n), ('b', 256)]).collect();
        let members: Vec<_> = members.iter().map(|ways| (1, ways.as_slice())).collect();
        let ways = combined(&members, 9);
        assert_eq!((ways[0].0, ways[1]), ('a', ('b', 256)));
        assert!((225..240).contains(&ways[0].1), "{ways:?}");
    }

    #[test]
    fn without_ways_nothing_is_shared() {
        assert!(combined(&[], 9).is_empty());
        assert!(combined(&[(1, &[])], 9).is_empty());
    }
}
