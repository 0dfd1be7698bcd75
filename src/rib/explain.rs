//! Why the routes of a destination stand as they do: the choice and its outcome, in words.
//!
//! The rule itself is in `destination`; here is only told what it came to in the unicast view, which
//! packets follow.

use std::{borrow::Cow, sync::Arc};

use super::{
    Rib,
    destination::Claim,
    entities::Entity,
    nexthops::NextHopView,
    table::{Best, LookUp, RouteView},
};
use crate::model::{
    FibStatus, Forwarding, KernelProtocol, KernelTable, NextHopId, Prefix, Result, TableId, View,
    ViewSet,
};

/// A destination, explained.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// Its prefix.
    pub prefix: Prefix,
    /// Every route to it, in the order in which the unicast view would choose them; last, those that
    /// are not in that view.
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
}

/// A route among the others.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The route.
    pub view: RouteView<'a>,
    /// Its owner.
    pub owner: Option<&'a Entity>,
    /// Its next hops, each with what keeps packets from it.
    pub next_hops: Vec<(NextHopView<'a>, Option<NextHopFault>)>,
    /// Why it won or lost, as a sentence.
    pub reason: String,
}

/// Why a next hop leads nowhere, as a sentence.
pub type NextHopFault = String;

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
        let mut rivals = routes.iter().filter(|view| is_rival(view));
        let (winner, second) = (rivals.next(), rivals.next());
        let reasons: Vec<String> = routes
            .iter()
            .map(|view| match winner {
                Some(winner) if view.id == winner.id => {
                    self.why_it_won(view, second.map(|second| (second, claim(view), claim(second))))
                }
                Some(winner) if is_rival(view) => {
                    self.why_it_lost(view, winner, claim(view), claim(winner))
                }
                _ => self.why_it_is_no_rival(view),
            })
            .collect();
        let fib = self.destination(table, prefix).map_or(FibStatus::None, |found| found.fib);
        Ok(Explanation {
            prefix,
            fib_error: routes.iter().find_map(|view| view.fib_error),
            candidates: routes
                .into_iter()
                .zip(reasons)
                .map(|(view, reason)| Candidate {
                    owner: self.entities.known(view.route.owner),
                    next_hops: self.way_of(view.next_hops),
                    view,
                    reason,
                })
                .collect(),
            kernel_table: settings.kernel_table,
            wish: self.forwarding(table, prefix).filter(|_| settings.kernel_table.is_some()),
            fib,
            fib_reason: match self.best_foreign(table, prefix) {
                Some(protocol) if settings.kernel_table.is_some() => Cow::Owned(format!(
                    "the kernel's own route by {protocol} is best, and is left to its owner"
                )),
                _ => Cow::Borrowed(self.fib_reason(table, fib)),
            },
        })
    }

    fn fib_reason(&self, table: TableId, fib: FibStatus) -> &'static str {
        let to_kernel = |id| self.policy.table(id).is_ok_and(|of| of.kernel_table.is_some());
        match fib {
            _ if !to_kernel(table) => "the instance is kept out of the kernel",
            _ if !self.is_pushed(table) => "routes of this table are not pushed to the kernel now",
            FibStatus::None => "no route is offered in the unicast view",
            FibStatus::Pending => "it is on its way to the kernel",
            FibStatus::Installed => "the kernel has it",
            FibStatus::Failed => "the kernel refused it, and is asked again from time to time",
            FibStatus::Ineligible => "packets cannot follow the best route now",
            FibStatus::Suppressed => "the best route is flagged as not for the kernel",
        }
    }

    /// Whose the best route is, if it is one that others have in the kernel.
    fn best_foreign(&self, table: TableId, prefix: Prefix) -> Option<KernelProtocol> {
        let best = self.destination(table, prefix)?.best(View::UNICAST, &self.routes)?;
        self.foreign.protocol_of(self.routes.get(best)?)
    }

    fn why_it_is_no_rival(&self, view: &RouteView<'_>) -> String {
        match self.foreign.protocol_of(view.route) {
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
            reason.push_str(&self.why_it_leads_nowhere(view.next_hops));
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
            format!("not viable: {}", self.why_it_leads_nowhere(view.next_hops))
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

    fn why_it_leads_nowhere(&self, next_hops: &[NextHopId]) -> String {
        let fault = |(view, fault): (NextHopView<'_>, Option<NextHopFault>)| {
            Some(format!("next hop {}: {}", view.next_hop.key, fault?))
        };
        let faults: Vec<String> = self.way_of(next_hops).into_iter().filter_map(fault).collect();
        match faults.is_empty() {
            true => "it has no next hops".to_owned(),
            false => faults.join("; "),
        }
    }

    fn way_of(&self, next_hops: &[NextHopId]) -> Vec<(NextHopView<'_>, Option<NextHopFault>)> {
        let views = next_hops.iter().filter_map(|id| self.next_hop(*id).ok());
        views
            .map(|view| {
                let fault = match view.next_hop.deleted {
                    true => Some("its owner deleted it".to_owned()),
                    false => self.links.fault(view.next_hop.key),
                };
                (view, fault)
            })
            .collect()
    }
}
