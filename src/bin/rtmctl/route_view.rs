//! Routes as `routes` and `lookup` show them: a row, a JSON object, or what `ip route` would write.

use std::{collections::HashMap, fmt::Write, io};

use anstyle::Style;
use rtmd::{
    bus::wire::{EntityInfo, RouteInfo},
    client::TableProxy,
    model::{
        entity::Protocol,
        fib::FibStatus,
        nexthop::Weight,
        prefix::{Family, Prefix},
        route::{RouteFlags, Special},
        share::shares,
        view::{View, ViewSet},
    },
};
use serde_json::{Value, json};

use crate::{
    context::{Context, Problem, number, text},
    ip_route::{self, KernelHop, KernelWay},
    next_hops::{NextHop, NextHops},
    output::{BEST, ERROR, HEAD, Output, printable},
};

/// How routes are to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// A row for each.
    Rows,
    /// A JSON object for each.
    Json,
    /// The lines of `ip -N route show proto 82` for those that are, or ought to be, in the kernel.
    IpRoute {
        /// The metric that the service gives its routes in the kernel.
        metric: u32,
        /// The most next hops that it gives one.
        most: u32,
    },
}

/// Prints the routes of one table.
pub(crate) struct RoutePrinter {
    family: Family,
    instance: u32,
    format: Format,
    next_hops: NextHops,
    owners: HashMap<u64, EntityInfo>,
    /// Rows that are the best in one of these are marked.
    marked: ViewSet,
    rows: u64,
}

impl RoutePrinter {
    /// For routes of this table.
    pub(crate) async fn new(
        context: &Context,
        family: Family,
        table: TableProxy<'static>,
        format: Format,
    ) -> Result<Self, Problem> {
        let instance = context.instance();
        let owners = context.manager.get_registered_entities(instance, family.name()).await?;
        let owners = owners.into_iter().map(|owner| (owner.id, owner)).collect();
        let (next_hops, marked) = (NextHops::of(table), ViewSet::ALL);
        Ok(Self { family, instance, format, next_hops, owners, marked, rows: 0 })
    }

    /// Marks the rows that are the best in one of these views, instead of in any.
    pub(crate) fn mark_best_in(&mut self, views: ViewSet) {
        self.marked = views;
    }

    /// The protocol of a route, if its owner is known.
    pub(crate) fn protocol_of(&self, route: &RouteInfo) -> Option<Protocol> {
        self.owners.get(&route.owner).map(|owner| Protocol(owner.protocol))
    }

    /// Prints a route.
    pub(crate) async fn print(
        &mut self,
        out: &mut Output,
        route: &RouteInfo,
    ) -> Result<(), Problem> {
        let owner = self.owners.get(&route.owner);
        if let Format::IpRoute { .. } = self.format
            && !is_for_the_kernel(route, owner)
        {
            return Ok(());
        }
        let next_hops = self.next_hops.find(&route.next_hops).await?;
        match self.format {
            Format::Rows => {
                if self.rows == 0 {
                    print_head(out, self.family)?;
                }
                let best = !best_in(route).intersection(self.marked).is_empty();
                print_row(out, self.family, route, owner, &next_hops, best)?;
            }
            Format::Json => {
                let table = format!("{}/{}", self.instance, self.family);
                out.json(&json(&table, route, owner, &next_hops))?;
            }
            Format::IpRoute { metric, most } => {
                let mut text = String::new();
                if let (Ok(prefix), Some(way)) =
                    (route.destination.parse::<Prefix>(), kernel_way(route, &next_hops, most))
                {
                    ip_route::write(&mut text, prefix, &way, metric);
                }
                out.text(&text)?;
            }
        }
        self.rows += 1;
        Ok(())
    }
}

/// Whether the route is the best in a view.
pub(crate) fn is_best_in(route: &RouteInfo, view: View) -> bool {
    best_in(route).contains(view)
}

fn best_in(route: &RouteInfo) -> ViewSet {
    let views = number(&route.more, "best-in-views").and_then(|views| views.try_into().ok());
    ViewSet(views.unwrap_or_default())
}

/// Whether the kernel has, or ought to have, a route for it.
fn is_for_the_kernel(route: &RouteInfo, owner: Option<&EntityInfo>) -> bool {
    let fib = text(&route.more, "fib").unwrap_or_default();
    let imported = owner.is_some_and(|owner| owner.state == "builtin");
    match fib {
        // The service leaves alone what it found in the kernel.
        word if word == FibStatus::None.name() => !imported,
        word => word != FibStatus::Ineligible.name() && word != FibStatus::Suppressed.name(),
    }
}

fn special(route: &RouteInfo) -> Option<Special> {
    RouteFlags::new(route.flags).ok()?.special()
}

fn kernel_way(route: &RouteInfo, next_hops: &[&NextHop], most: u32) -> Option<KernelWay> {
    if let Some(special) = special(route) {
        return Some(KernelWay::Special(special));
    }
    let members = next_hops.iter().map(|next_hop| {
        let ways = next_hop.kernel_hops().iter();
        (next_hop.weight(), ways.map(|way| ((way.gateway, &way.interface), way.weight)))
    });
    let hop = |((gateway, interface), weight): ((_, &String), Weight)| KernelHop {
        gateway,
        interface: interface.clone(),
        weight,
    };
    // As the service adds them up.
    let shares = shares(members, most.try_into().unwrap_or(usize::MAX));
    let hops: Vec<KernelHop> = shares.into_iter().map(hop).collect();
    (!hops.is_empty()).then_some(KernelWay::Hops(hops))
}

/// The label and the protocol, or which one of the protocol.
pub(crate) fn owner_name(owner: &EntityInfo) -> String {
    let protocol = Protocol(owner.protocol);
    if owner.label.is_empty() {
        format!("{protocol}/{}", owner.protocol_instance)
    } else {
        format!("{} ({protocol})", printable(&owner.label))
    }
}

fn ways(route: &RouteInfo, next_hops: &[&NextHop]) -> String {
    if let Some(special) = special(route) {
        return special.word().into();
    }
    let mut text = String::new();
    for next_hop in next_hops {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{next_hop}"); // a String takes everything
    }
    text
}

/// Widths that fit most: a million rows cannot be measured before the first is printed.
fn widths(family: Family) -> (usize, usize, usize) {
    match family {
        Family::Ipv4 => (18, 28, 18),
        Family::Ipv6 => (26, 36, 18),
    }
}

fn print_head(out: &mut Output, family: Family) -> io::Result<()> {
    let (prefix, way, owner) = widths(family);
    out.line(format_args!(
        "{HEAD}  {:prefix$}  {:way$}  {:owner$}  {:>10}  {:>6}  fib{HEAD:#}",
        "prefix", "way", "owner", "preference", "metric"
    ))
}

fn print_row(
    out: &mut Output,
    family: Family,
    route: &RouteInfo,
    owner: Option<&EntityInfo>,
    next_hops: &[&NextHop],
    best: bool,
) -> io::Result<()> {
    let (prefix, way, owner_width) = widths(family);
    let (marker, style) = if best { ('>', BEST) } else { (' ', Style::new()) };
    let owner = owner.map_or_else(|| format!("entity {}", route.owner), owner_name);
    let fib = text(&route.more, "fib").unwrap_or_default();
    let why = text(&route.more, "fib-error").unwrap_or_default();
    let (why, colon) = (printable(why), if why.is_empty() { "" } else { ": " });
    let fib_style = if fib == FibStatus::Failed.name() { ERROR } else { Style::new() };
    out.line(format_args!(
        "{style}{marker}{style:#} {:prefix$}  {:way$}  {owner:owner_width$}  {:>10}  {:>6}  \
         {fib_style}{fib}{colon}{why}{fib_style:#}",
        printable(&route.destination),
        ways(route, next_hops),
        route.preference,
        route.metric,
    ))
}

fn json(
    table: &str,
    route: &RouteInfo,
    owner: Option<&EntityInfo>,
    next_hops: &[&NextHop],
) -> Value {
    json!({
        "table": table,
        "prefix": route.destination,
        "id": route.id,
        "owner": route.owner,
        "label": owner.map(|owner| owner.label.as_str()),
        "protocol": owner.map(|owner| Protocol(owner.protocol).to_string()),
        "protocol-instance": owner.map(|owner| owner.protocol_instance),
        "kind": special(route).map_or("unicast", Special::word),
        "next-hops": next_hops.iter().map(|hop| hop.json()).collect::<Vec<_>>(),
        "neighbour": route.neighbour,
        "preference": route.preference,
        "metric": route.metric,
        "flags": route.flags,
        "views": route.views,
        "best-in-views": best_in(route).0,
        "fib": text(&route.more, "fib"),
        "fib-error": text(&route.more, "fib-error"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(fib: &'static str) -> RouteInfo {
        let fib = zbus::Str::from(fib);
        RouteInfo {
            id: 1,
            destination: "10.0.0.0/8".into(),
            owner: 2,
            neighbour: 0,
            state: 0,
            flags: 0,
            preference: 1,
            metric: 0,
            views: 1,
            next_hops: vec![],
            more: [("fib".to_owned(), fib.into()), ("best-in-views".to_owned(), 3u32.into())]
                .into(),
        }
    }

    fn owner(state: &str) -> EntityInfo {
        EntityInfo {
            id: 2,
            path: zbus::ObjectPath::try_from("/a").unwrap().into(),
            instance: 0,
            family: "ipv4".into(),
            protocol: 14,
            protocol_instance: 3,
            label: String::new(),
            bus_name: String::new(),
            state: state.into(),
        }
    }

    #[test]
    fn only_what_ought_to_be_in_the_kernel_is_compared_with_it() {
        let active = owner("active");
        for (fib, belongs) in [
            ("installed", true),
            ("pending", true),
            ("failed", true),
            ("none", true),
            ("ineligible", false),
            ("suppressed", false),
        ] {
            assert_eq!(is_for_the_kernel(&route(fib), Some(&active)), belongs, "{fib}");
        }
        assert!(!is_for_the_kernel(&route("none"), Some(&owner("builtin"))));
    }

    #[test]
    fn an_owner_goes_by_its_label_if_it_has_one() {
        let mut owner = owner("active");
        assert_eq!(owner_name(&owner), "bgp/3");
        owner.label = "edge".into();
        assert_eq!(owner_name(&owner), "edge (bgp)");
    }

    #[test]
    fn a_flag_makes_a_route_special() {
        let mut route = route("installed");
        assert_eq!(special(&route), None);
        for (flags, word) in [(1, "prohibit"), (2, "blackhole"), (4, "unreachable")] {
            route.flags = flags;
            assert_eq!(ways(&route, &[]), word);
        }
    }

    #[test]
    fn a_route_can_be_the_best_in_several_views() {
        assert!(is_best_in(&route("none"), View::UNICAST));
        assert!(is_best_in(&route("none"), View::MULTICAST));
    }
}
