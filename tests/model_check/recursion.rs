//! Where next hops lead, from scratch: everything is decided anew whenever it is asked for.
//!
//! The rules, as the naive table understands them. A next hop whose link does not decide is looked
//! up: the longest match among the destinations whose best unicast route can be followed and is for
//! the kernel; a default route counts only if the instance says so. It leads where that route's next
//! hops lead, up to eight destinations far, by the link it names if it names one; a route that drops
//! packets or leads to the machine itself leads nowhere. A destination is decided when it is known
//! whether its candidates can be followed, in order of preference and metric, equals together, as
//! far as the first that can. Those who wait for each other, and for nobody else, are denied what
//! they wait for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use rtmd::model::{Family, Hop, InterfaceIndex, NextHopId, Prefix, RouteId, TableId, Weight};

use crate::{
    naive::{Naive, NaiveHop, NaiveRoute, Place},
    world,
};

const LEVELS: u8 = 8;
const DEFAULTS: [&str; 2] = ["0.0.0.0/0", "::/0"];

type Target = (TableId, IpAddr);
type Leg = (RouteId, NextHopId);

/// Where a next hop leads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Lead {
    pub(crate) hops: Vec<Hop>,
    pub(crate) through: Option<(TableId, Prefix)>,
    levels: u8,
}

/// All that was decided.
#[derive(Default)]
pub(crate) struct Decided {
    leads: BTreeMap<NextHopId, Lead>,
    denied: BTreeSet<Leg>,
}

/// What a look-up finds at a destination.
#[derive(Clone, Debug)]
enum Sight {
    Nothing,
    End,
    Ways(Vec<Hop>, u8),
}

#[derive(Default)]
struct Deciding {
    places: BTreeMap<Place, Sight>,
    targets: BTreeMap<Target, Lead>,
    denied: BTreeSet<Leg>,
}

impl Naive {
    /// What is to be looked up for a next hop, if the links do not decide.
    fn target(&self, hop: &NaiveHop) -> Option<Target> {
        let address = hop.key.address.filter(|_| !hop.deleted)?;
        let is_remote = hop.flags & 1 == 1;
        let connected = self.interface_of(address).is_some_and(|index| self.is_up(index));
        let instance = self.table_of(hop)?;
        let table = TableId { family: Family::of(address), ..instance };
        (is_remote || hop.key.interface.0 == 0 && !connected).then_some((table, address))
    }

    /// The link that has a network with the address.
    fn interface_of(&self, address: IpAddr) -> Option<InterfaceIndex> {
        let index = world::interface_of(address)?;
        self.networks.contains(&(index, Family::of(address))).then_some(index)
    }

    fn is_up(&self, index: InterfaceIndex) -> bool {
        self.up.get(&index).is_some_and(|up| *up)
    }

    fn table_of(&self, hop: &NaiveHop) -> Option<TableId> {
        let mut all = self.entities.iter().chain(&self.leaving);
        all.find(|entity| entity.id == hop.owner).map(|entity| entity.key.table)
    }

    fn by_links(&self, hop: &NaiveHop) -> Lead {
        let interface = match hop.key.interface.0 {
            0 => hop.key.address.and_then(|address| self.interface_of(address)),
            _ => Some(hop.key.interface),
        };
        let interface = interface.filter(|index| !hop.deleted && self.is_up(*index));
        let (gateway, weight) = (hop.key.address, Weight::ONE);
        let hops = interface.map(|interface| Hop { gateway, interface, weight });
        Lead { hops: hops.into_iter().collect(), ..Lead::default() }
    }

    /// Decides everything.
    pub(crate) fn decide(&self) -> Decided {
        let mut deciding = Deciding::default();
        let places: BTreeSet<Place> = self.routes.iter().map(|route| route.place).collect();
        let targets: BTreeSet<Target> = self.hops.iter().filter_map(|h| self.target(h)).collect();
        loop {
            let before = deciding.places.len() + deciding.targets.len();
            for place in &places {
                if let Ok(sight) = self.look_at(&deciding, *place) {
                    deciding.places.insert(*place, sight);
                }
            }
            for target in &targets {
                if let Ok(lead) = self.look_up(&deciding, *target) {
                    deciding.targets.insert(*target, lead);
                }
            }
            if deciding.places.len() + deciding.targets.len() > before {
                continue;
            }
            let waiting: Vec<(Place, Leg, Target)> = places
                .iter()
                .filter_map(|place| Some((*place, self.look_at(&deciding, *place).err()?)))
                .flat_map(|(place, waits)| {
                    waits.into_iter().map(move |(leg, target)| (place, leg, target))
                })
                .collect();
            if waiting.is_empty() {
                break;
            }
            // Those who wait for nobody but such as wait for them.
            let reach = |place| self.reach(&deciding, &waiting, place);
            let circles = waiting.iter().filter(|(place, ..)| {
                reach(*place).into_iter().all(|other| reach(other).contains(place))
            });
            let legs: Vec<Leg> = circles.map(|(_, leg, _)| *leg).collect();
            assert!(!legs.is_empty(), "somebody waits for himself");
            deciding.denied.extend(legs);
        }
        assert_eq!(deciding.targets.len(), targets.len(), "all is decided");
        let leads = self.hops.iter().map(|hop| (hop.id, self.lead_in(&deciding, hop).unwrap()));
        Decided { leads: leads.collect(), denied: deciding.denied }
    }

    /// The destinations that a destination waits for in the end.
    fn reach(
        &self,
        deciding: &Deciding,
        waiting: &[(Place, Leg, Target)],
        from: Place,
    ) -> BTreeSet<Place> {
        let mut reached = BTreeSet::new();
        loop {
            let before = reached.len();
            let next = waiting.iter().filter(|(at, ..)| *at == from || reached.contains(at));
            let targets: Vec<Target> = next.map(|(.., target)| *target).collect();
            reached.extend(targets.iter().filter_map(|it| self.look_up(deciding, *it).err()));
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// Where the next hop leads, or what has to be decided before.
    fn lead_in(&self, deciding: &Deciding, hop: &NaiveHop) -> Result<Lead, Target> {
        let Some(target) = self.target(hop) else {
            // Flagged as remote without an address, there is nothing to look for.
            let is_remote = hop.flags & 1 == 1;
            return Ok(if is_remote { Lead::default() } else { self.by_links(hop) });
        };
        let mut lead = deciding.targets.get(&target).ok_or(target)?.clone();
        let link = hop.key.interface;
        lead.hops.retain(|hop| link == InterfaceIndex(0) || hop.interface == link);
        Ok(lead)
    }

    /// Looks an address up, or says which destination has to be decided before.
    fn look_up(&self, deciding: &Deciding, (table, address): Target) -> Result<Lead, Place> {
        let mut around: Vec<Prefix> = world::prefixes(table.family).collect();
        around.retain(|to| to.contains(address) && !self.candidates((table, *to)).is_empty());
        around.retain(|to| self.setting.via_default || !DEFAULTS.contains(&&*to.to_string()));
        around.sort_by_key(|to| std::cmp::Reverse(to.length()));
        for to in around {
            let through = Some((table, to));
            match deciding.places.get(&(table, to)).ok_or((table, to))? {
                Sight::Nothing => {}
                Sight::End => return Ok(Lead { through, ..Lead::default() }),
                Sight::Ways(hops, levels) => {
                    let mut hops = hops.clone();
                    for hop in &mut hops {
                        // On the link itself it is its own gateway.
                        hop.gateway = hop.gateway.or(Some(address));
                    }
                    return Ok(Lead { hops, through, levels: *levels });
                }
            }
        }
        Ok(Lead::default())
    }

    /// What a look-up sees at a destination, or which legs have to be decided before.
    fn look_at(&self, deciding: &Deciding, place: Place) -> Result<Sight, Vec<(Leg, Target)>> {
        let mut routes = self.candidates(place);
        routes.retain(|route| route.views & 1 == 1);
        let cost = |route: &NaiveRoute| (route.preference, route.metric);
        let mut costs: Vec<_> = routes.iter().map(|route| cost(route)).collect();
        costs.dedup();
        if self.setting.ignores_viability {
            costs.truncate(1);
        }
        for at in costs {
            let mut equals: Vec<_> = routes.iter().filter(|route| cost(route) == at).collect();
            let incumbent = self.best.get(&(place, 0));
            equals.sort_by_key(|route| (Some(&route.id) != incumbent, route.since));
            if self.setting.ignores_viability {
                // Then it is best whether it leads anywhere or not.
                equals.truncate(1);
            }
            let legs: Vec<_> =
                equals.iter().map(|route| (route.id, self.legs(deciding, route))).collect();
            let open = legs.iter().flat_map(|(route, legs)| {
                legs.iter().filter_map(|(id, _, lead)| Some(((*route, *id), lead.clone().err()?)))
            });
            let open: Vec<(Leg, Target)> = open.collect();
            if !open.is_empty() {
                return Err(open);
            }
            equals.retain(|route| {
                let lead_on = |(_, _, lead): &(_, _, Result<Lead, Target>)| {
                    lead.as_ref().is_ok_and(|lead| !lead.hops.is_empty())
                };
                route.flags & 0b111 != 0 || self.legs(deciding, route).iter().any(lead_on)
            });
            if let Some(best) = equals.first() {
                return Ok(self.sight(deciding, best));
            }
        }
        Ok(Sight::Nothing)
    }

    fn sight(&self, deciding: &Deciding, route: &NaiveRoute) -> Sight {
        if route.flags & 8 != 0 {
            return Sight::Nothing;
        }
        if route.flags & 0b100_0111 != 0 {
            return Sight::End;
        }
        let legs = self.legs(deciding, route).into_iter();
        let legs = legs.map(|(_, weight, lead)| (weight, lead.unwrap()));
        let near: Vec<_> =
            legs.filter(|(_, lead)| !lead.hops.is_empty() && lead.levels < LEVELS).collect();
        let levels = near.iter().map(|(_, lead)| lead.levels).max();
        let members: Vec<_> = near.into_iter().map(|(weight, lead)| (weight, lead.hops)).collect();
        levels.map_or(Sight::End, |levels| Sight::Ways(share(&members), levels + 1))
    }

    /// The next hops of a route that are not denied to it: weight, and where each leads.
    fn legs(
        &self,
        deciding: &Deciding,
        route: &NaiveRoute,
    ) -> Vec<(NextHopId, u32, Result<Lead, Target>)> {
        let allowed = route
            .next_hops
            .iter()
            .filter(|id| route.flags & 0b111 == 0 && !deciding.denied.contains(&(route.id, **id)));
        allowed
            .map(|id| {
                let hop = self.hop(*id);
                (*id, hop.weight, self.lead_in(deciding, hop))
            })
            .collect()
    }

    /// Where a next hop leads.
    pub(crate) fn lead(&self, id: NextHopId) -> &Lead {
        &self.decided.leads[&id]
    }

    pub(crate) fn leads_out(&self, route: &NaiveRoute) -> bool {
        route.next_hops.iter().any(|id| {
            !self.decided.denied.contains(&(route.id, *id)) && !self.lead(*id).hops.is_empty()
        })
    }

    /// What the next hops of a route come to together.
    pub(crate) fn ways(&self, route: &NaiveRoute) -> Vec<Hop> {
        let member = |id: &NextHopId| (self.hop(*id).weight, self.lead(*id).hops.clone());
        share(&route.next_hops.iter().map(member).collect::<Vec<_>>())
    }
}

/// The ways of several next hops, each with its share: whole shares as they are, others in the
/// smallest whole numbers, none over 256; twins are one, and only so many are kept.
fn share(members: &[(u32, Vec<Hop>)]) -> Vec<Hop> {
    let own = |hop: &Hop| u128::from(hop.weight.get());
    let total = |hops: &[Hop]| hops.iter().map(own).sum::<u128>();
    let unit: u128 = members.iter().map(|(_, hops)| total(hops).max(1)).product();
    let mut all: Vec<(Hop, u128)> = Vec::new();
    for (weight, hops) in members {
        for hop in hops {
            let share = u128::from(*weight) * own(hop) * unit / total(hops);
            let same =
                |k: &&mut (Hop, _)| (k.0.gateway, k.0.interface) == (hop.gateway, hop.interface);
            match all.iter_mut().find(same) {
                Some((_, known)) => *known += share,
                None => all.push((*hop, share)),
            }
        }
    }
    all.truncate(world::policy().limits.next_hops_per_route as usize);
    let whole = all.iter().all(|(_, share)| share % unit == 0 && share / unit <= 256);
    let divides = |part: &u128| all.iter().all(|(_, share)| share % part == 0);
    let least = all.iter().map(|(_, share)| *share).min().unwrap_or(1);
    let part = if whole { unit } else { (1..=least).rev().find(divides).unwrap() };
    let most = all.iter().map(|(_, share)| share / part).max().unwrap_or(1);
    all.into_iter()
        .map(|(hop, share)| {
            let share = match share / part {
                share if most <= 256 => share,
                share => ((2 * 256 * share + most) / (2 * most)).max(1),
            };
            Hop { weight: Weight::new(share.try_into().unwrap()).unwrap(), ..hop }
        })
        .collect()
}
