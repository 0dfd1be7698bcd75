//! Why the routes of a destination stand as they do: the choice and its outcome, in words.
//!
//! The rule itself is in `destination`; here is only told what it came to in the unicast view, which
//! packets follow.

use std::{borrow::Cow, num::NonZeroU64, sync::Arc};

use super::{
    Rib,
    arena::Slot,
    destination::Claim,
    entities::Entity,
    nexthops::{NextHop, NextHopView},
    policy::{InstanceSettings, ViaDefault},
    recursion::MOST_LEVELS,
    resolve::Course,
    table::{Best, LookUp, RouteView},
};
use crate::model::{
    Family, FibStatus, Forwarding, InterfaceIndex, KernelProtocol, KernelTable, Metric,
    NextHopFlags, NextHopId, Prefix, Result, RouteFlags, RouteId, RouteState, TableId, View,
    ViewSet,
};

/// A destination, explained.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// Its prefix.
    pub prefix: Prefix,
    /// Every route to it, in the order in which the unicast view would choose them; then those that
    /// are not in that view, and last those that are withdrawn and held.
    pub candidates: Vec<Candidate<'a>>,
    /// The kernel's table that the instance has; none keeps it out of the kernel.
    pub kernel_table: Option<KernelTable>,
    /// What the kernel is to do.
    pub wish: Option<Arc<Forwarding>>,
    /// How far it is with that.
    pub fib: FibStatus,
    /// The kernel's own words, if it refused.
    pub fib_error: Option<&'a str>,
    /// What that means, as a sentence.
    pub fib_reason: Cow<'static, str>,
    /// Of the routes that others have to it in the kernel, the one that the kernel itself would go by:
    /// with the smallest metric, whatever the preferences are.
    pub others_first: Option<(KernelProtocol, Metric)>,
}

/// A route among the others, or one that is withdrawn and held.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The route.
    pub view: RouteView<'a>,
    /// Its owner.
    pub owner: Option<&'a Entity>,
    /// Its next hops.
    pub next_hops: Vec<ExplainedNextHop<'a>>,
    /// How many more it has, which are not told because there are too many in all.
    pub untold_next_hops: usize,
    /// Why it won or lost, as a sentence.
    pub reason: String,
}

/// A next hop of a route, explained.
#[derive(Debug)]
pub struct ExplainedNextHop<'a> {
    /// The next hop.
    pub view: NextHopView<'a>,
    /// Why packets cannot go there, as a sentence.
    pub fault: Option<String>,
    /// By which routes it is reached, as a sentence; none for one that needs none.
    pub way: Option<String>,
}

/// How many next hops are told in all: a destination may have 65 536, and the answer is one message.
const MOST_NEXT_HOPS: usize = 1024;
/// How many next hops' faults a reason tells.
const MOST_FAULTS: usize = 4;

impl Rib {
    /// Explains a destination: the one of the prefix, or with [`LookUp::MostSpecific`] the one that
    /// packets follow.
    ///
    /// # Errors
    /// `NotFound` when there is none, `InvalidParameter` for a prefix of the other family.
    pub fn explain(&self, table: TableId, prefix: Prefix, how: LookUp) -> Result<Explanation<'_>> {
        let views = match how {
            LookUp::Exact => ViewSet::NONE,
            LookUp::MostSpecific | LookUp::LessSpecific => View::UNICAST.only(),
        };
        let prefix = self.look_up(table, prefix, how, Best::Overall, views)?.prefix;
        let settings = self.policy.table(table)?;
        let mut routes = self.routes(table, prefix)?;
        let claim = |view: &RouteView<'_>| Claim::of(view.route, View::UNICAST, settings.viability);
        let is_rival = |view: &RouteView<'_>| view.route.views.contains(View::UNICAST);
        routes.sort_by_key(|view| (!is_rival(view), claim(view)));
        let candidates = routes.len();
        let hold = self.destination(table, prefix).and_then(|found| found.hold.as_ref());
        let held = hold.into_iter().flat_map(|hold| hold.routes());
        routes.extend(held.filter_map(|slot| self.view_route(slot)));
        let mut rivals = routes.iter().take(candidates).filter(|view| is_rival(view));
        let (winner, second) = (rivals.next(), rivals.next());
        let reasons: Vec<String> = routes
            .iter()
            .map(|view| match winner {
                _ if view.route.state == RouteState::Deleting => {
                    "withdrawn, and held for a while: it is never best".to_owned()
                }
                Some(winner) if view.id == winner.id => {
                    self.why_it_won(view, second.map(|second| (second, claim(view), claim(second))))
                }
                Some(winner) if is_rival(view) => {
                    self.why_it_lost(view, winner, claim(view), claim(winner))
                }
                _ => self.why_it_is_no_rival(view),
            })
            .collect();
        let mut room = MOST_NEXT_HOPS;
        let fib = self.destination(table, prefix).map_or(FibStatus::None, |found| found.fib);
        let fib_error = routes.iter().find_map(|view| view.fib_error);
        Ok(Explanation {
            prefix,
            fib_error,
            candidates: routes
                .into_iter()
                .zip(reasons)
                .map(|(view, reason)| {
                    let next_hops: Vec<_> =
                        self.explain_next_hops(view.id, view.next_hops).take(room).collect();
                    room -= next_hops.len();
                    Candidate {
                        owner: self.entities.known(view.route.owner),
                        untold_next_hops: view.next_hops.len() - next_hops.len(),
                        next_hops,
                        view,
                        reason,
                    }
                })
                .collect(),
            kernel_table: settings.kernel_table,
            wish: self.forwarding(table, prefix).filter(|_| settings.kernel_table.is_some()),
            fib,
            others_first: self.foreign_first(table, prefix),
            fib_reason: match self.best_foreign(table, prefix) {
                Some(protocol) if settings.kernel_table.is_some() => Cow::Owned(format!(
                    "the kernel's own route by {protocol} is best, and is left to its owner"
                )),
                _ => Cow::Borrowed(self.fib_reason(table, fib, fib_error.is_some())),
            },
        })
    }

    fn fib_reason(&self, table: TableId, fib: FibStatus, is_refused: bool) -> &'static str {
        let to_kernel = |id| self.policy.table(id).is_ok_and(|of| of.kernel_table.is_some());
        match fib {
            _ if !to_kernel(table) => "the instance is kept out of the kernel",
            _ if !self.is_pushed(table) => "routes of this table are not pushed to the kernel now",
            FibStatus::None => "no route is offered in the unicast view",
            FibStatus::Pending => "it is on its way to the kernel",
            FibStatus::Installed if is_refused => {
                "the kernel refuses next hops of it, some or all, and is asked again from time to time"
            }
            FibStatus::Installed => "the kernel has it",
            FibStatus::Failed => "the kernel refused it, and is asked again from time to time",
            FibStatus::Ineligible => "packets cannot follow the best route now",
            FibStatus::Suppressed => "the best route is flagged as not for the kernel",
        }
    }

    /// Whose the best route is, if it is one that others have in the kernel.
    pub(super) fn best_foreign(&self, table: TableId, prefix: Prefix) -> Option<KernelProtocol> {
        let best = self.destination(table, prefix)?.best(View::UNICAST, &self.routes)?;
        self.foreign.protocol_of(self.routes.get(best)?)
    }

    fn foreign_first(&self, table: TableId, prefix: Prefix) -> Option<(KernelProtocol, Metric)> {
        let routes = self.destination(table, prefix)?.routes().iter();
        let routes = routes.filter_map(|slot| self.routes.get(*slot));
        let foreign = routes.filter_map(|it| Some((self.foreign.protocol_of(it)?, it.rank.metric)));
        foreign.min_by_key(|(_, metric)| *metric)
    }

    /// Where nothing else covers a prefix: whose route does that is only observed, in words.
    pub(super) fn tell_observed(&self, table: TableId, to: Prefix, shortest: u8) -> String {
        let around = self.tables.get(&table).into_iter();
        let around = around.flat_map(|table| table.destinations.cover(&to));
        let routes = around
            .filter(|(at, _)| at.length() >= shortest)
            .flat_map(|(_, destination)| destination.routes())
            .filter_map(|slot| self.routes.get(*slot))
            .filter(|route| route.views.is_empty());
        match routes.filter_map(|route| self.foreign.protocol_of(route)).last() {
            Some(protocol) => format!(" (only an observed route of {protocol} leads there)"),
            None => String::new(),
        }
    }

    fn why_it_is_no_rival(&self, view: &RouteView<'_>) -> String {
        match self.foreign.protocol_of(view.route) {
            Some(protocol) if self.foreign.is_put_off(view.route, view.id) => format!(
                "it is put off for a minute: the kernel's routes by {protocol} to this destination \
                 keep coming and going"
            ),
            Some(protocol) => format!(
                "it is only observed: the instance does not import the kernel's routes by {protocol}"
            ),
            None => "it is not offered in the unicast view, which packets follow".to_owned(),
        }
    }

    fn why_it_won(
        &self,
        view: &RouteView<'_>,
        second: Option<(&RouteView<'_>, Claim, Claim)>,
    ) -> String {
        let mut reason = match second {
            None => "best: nobody else offers a route in the unicast view".to_owned(),
            Some((second, own, other)) => {
                let id = second.id;
                if other.leads_nowhere && !own.leads_nowhere {
                    format!("best: packets can follow it, and not route {id}")
                } else if own.preference != other.preference {
                    let (own, other) = (own.preference.0, other.preference.0);
                    format!("best: lower preference, {own} against {other} of route {id}")
                } else if own.metric != other.metric {
                    let (own, other) = (own.metric.0, other.metric.0);
                    format!("best: lower metric, {own} against {other} of route {id}")
                } else if own.turn < other.turn {
                    format!("best: equal to route {id}, and older")
                } else {
                    format!("best: equal to route {id}, and the best already before it was")
                }
            }
        };
        if !view.route.viable {
            reason.push_str("; yet packets cannot follow it: ");
            reason.push_str(&self.why_it_leads_nowhere(view));
        }
        reason
    }

    fn why_it_lost(
        &self,
        view: &RouteView<'_>,
        winner: &RouteView<'_>,
        own: Claim,
        best: Claim,
    ) -> String {
        let id = winner.id;
        if own.leads_nowhere && !best.leads_nowhere {
            format!("not viable: {}", self.why_it_leads_nowhere(view))
        } else if own.preference != best.preference {
            let (own, best) = (own.preference.0, best.preference.0);
            format!("route {id} has a lower preference, {best} against {own}")
        } else if own.metric != best.metric {
            let (own, best) = (own.metric.0, best.metric.0);
            format!("route {id} has a lower metric, {best} against {own}")
        } else if best.turn < own.turn {
            format!("equal to route {id}, which is older")
        } else {
            format!("equal to route {id}, which is the incumbent")
        }
    }

    fn why_it_leads_nowhere(&self, view: &RouteView<'_>) -> String {
        let next_hops = self.explain_next_hops(view.id, view.next_hops);
        let fault = |of: ExplainedNextHop<'_>| {
            Some(format!("next hop {}: {}", of.view.next_hop.key, of.fault?))
        };
        let faults = next_hops.filter_map(fault);
        let faults: Vec<String> = faults.take(MOST_FAULTS).collect();
        match (faults.len(), view.next_hops.len()) {
            (0, _) => "it has no next hops".to_owned(),
            (MOST_FAULTS, all) if all > MOST_FAULTS => {
                format!("{}; and so on with {} more", faults.join("; "), all - MOST_FAULTS)
            }
            _ => faults.join("; "),
        }
    }

    fn explain_next_hops<'a>(
        &'a self,
        route: RouteId,
        next_hops: &'a [NextHopId],
    ) -> impl Iterator<Item = ExplainedNextHop<'a>> {
        let denied = self.routes.find(route.0).and_then(|slot| self.denied.get(&slot));
        let views = next_hops.iter().filter_map(|id| self.next_hop(*id).ok());
        views.map(move |view| {
            let fault = match denied.is_some_and(|legs| legs.contains(&view.id)) {
                true => Some("the way to it leads through this route itself".to_owned()),
                false => self.fault(view.next_hop),
            };
            let way = self.tell_way(view.id).filter(|_| fault.is_none());
            ExplainedNextHop { view, fault, way }
        })
    }

    /// Why a next hop leads nowhere; `None` when it leads somewhere.
    fn fault(&self, next_hop: &NextHop) -> Option<String> {
        if next_hop.deleted {
            return Some("its owner deleted it".to_owned());
        }
        if !next_hop.hops.is_empty() {
            return None;
        }
        let is_remote = next_hop.flags.contains(NextHopFlags::REMOTE);
        let settings = self.policy.table(next_hop.table).ok()?;
        if let Some(address) = next_hop.key.address
            && self.links.is_own(settings, next_hop.key)
        {
            return Some(format!("{address} is an address of this machine"));
        }
        let course = self.links.course(settings, next_hop.key, next_hop.flags);
        Some(match (course, next_hop.through) {
            (Course::LookUp(_), Some((table, to))) => self.dead_end(next_hop, table, to),
            (Course::LookUp(address), None) => {
                let table = TableId { family: Family::of(address), ..next_hop.table };
                let default = Prefix::default_route(table.family);
                let only_default = self.via_default(table) == ViaDefault::Refused
                    && self.followed(table, default).is_some();
                let but = match only_default {
                    true => " but the default, which does not count here (resolve-via-default)",
                    false => "",
                };
                let shortest = u8::from(self.via_default(table) == ViaDefault::Refused);
                let observed = self.tell_observed(table, Prefix::host(address), shortest);
                match is_remote {
                    true => format!("no route leads to {address}{but}{observed}"),
                    false => format!(
                        "no interface {}that is up has a network with {address}, and no route \
                         leads there{but}{observed}",
                        self.whose_interfaces(settings)
                    ),
                }
            }
            _ if is_remote => "it is flagged as remote and has no address to look for".to_owned(),
            _ => match self.links.name(next_hop.key.interface) {
                Some(name) if !self.links.is_allowed(settings, next_hop.key.interface) => {
                    format!("interface {name} is not among the instance's (interfaces)")
                }
                Some(name) => format!("interface {name} is down"),
                None => format!("there is no interface {}", next_hop.key.interface),
            },
        })
    }

    fn whose_interfaces(&self, settings: &InstanceSettings) -> String {
        let among = match settings.interfaces.is_empty() {
            true => "",
            false => "among the instance's (interfaces) ",
        };
        match settings.kernel_table.filter(|table| self.links.is_vrf(*table)) {
            Some(table) => format!("of the VRF with table {table} {among}"),
            None => among.to_owned(),
        }
    }

    /// Why a next hop leads nowhere that a destination leads to.
    fn dead_end(&self, next_hop: &NextHop, table: TableId, to: Prefix) -> String {
        let best = self.followed(table, to);
        let Some((slot, route)) = best.and_then(|slot| Some((slot, self.routes.get(slot)?))) else {
            return format!("it is looked for in {to}, which leads nowhere");
        };
        let of = self.name_route(slot);
        let why = if route.flags.special().is_some() {
            "drops packets".to_owned()
        } else if route.flags.intersects(RouteFlags::MYSELF) {
            "leads to this machine itself".to_owned()
        } else if next_hop.key.interface != InterfaceIndex(0) && next_hop.levels > 0 {
            format!("does not lead by interface {}", next_hop.key.interface)
        } else {
            format!("leads on and on, over {MOST_LEVELS} destinations")
        };
        format!("it is looked for in {to} ({of}), which {why}")
    }

    /// By which routes a next hop is reached.
    fn tell_way(&self, id: NextHopId) -> Option<String> {
        let chain = self.chain(id);
        let address = |id| self.next_hops.get(id)?.key.address;
        let mut way = match (chain.is_empty(), address(id)) {
            (false, Some(address)) => format!("{address} is"),
            _ => return None,
        };
        let mut comma = "";
        let mut last = id;
        for link in chain {
            let of = self.name_route(link.route);
            way.push_str(&format!("{comma} reached through {} ({of}), which leads to", link.to));
            last = link.leg.unwrap_or(last);
            if let Some(address) = link.leg.and_then(address) {
                way.push_str(&format!(" {address}"));
            }
            comma = ",";
        }
        let next_hop = self.next_hops.get(last)?;
        let interface = next_hop.hops.first()?.interface;
        let name = self.links.name(interface).unwrap_or("an unknown link");
        way.push_str(&match next_hop.key.address {
            Some(_) => format!(" on {name}"),
            None => format!(" {name}"),
        });
        Some(way)
    }

    /// A route by its id and whose it is, like `route 12 of ospf/0`.
    fn name_route(&self, slot: Slot) -> String {
        let id = self.routes.id(slot).map_or(0, NonZeroU64::get);
        let owner = self.routes.get(slot).and_then(|route| self.entities.known(route.owner));
        match owner.map(|owner| owner.key) {
            Some(key) => format!("route {id} of {}/{}", key.protocol, key.protocol_instance),
            None => format!("route {id}"),
        }
    }
}
