//! Routes as `routes` and `lookup` show them: a row, a JSON object, or what `ip route` would write.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    io,
    time::Duration,
};

use anstyle::Style;
use rtmd::{
    bus::wire::{self, EntityInfo, RouteInfo},
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
    context::{self, Context, Problem, number, text},
    hops::{NextHop, NextHops},
    ip_route::{self, KernelHop, KernelWay},
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
    /// Rows that wait to be printed, when it is known how wide they are.
    rows: Vec<Row>,
    widths: Widths,
    has_head: bool,
    count: u64,
}

/// A row as it is going to be printed.
struct Row {
    best: bool,
    prefix: String,
    /// A line for each next hop.
    ways: Vec<String>,
    owner: String,
    preference: String,
    metric: u32,
    fib: String,
    failed: bool,
}

/// How wide the first columns are.
#[derive(Clone, Copy, Debug)]
struct Widths {
    prefix: usize,
    way: usize,
    owner: usize,
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
        Ok(Self {
            family,
            instance,
            format,
            next_hops,
            owners,
            marked,
            rows: Vec::new(),
            widths: Widths::least(family),
            has_head: false,
            count: 0,
        })
    }

    /// Marks the rows that are the best in one of these views, instead of in any.
    pub(crate) fn mark_best_in(&mut self, views: ViewSet) {
        self.marked = views;
    }

    /// The protocol of a route, if its owner is known.
    pub(crate) fn protocol_of(&self, route: &RouteInfo) -> Option<Protocol> {
        self.owners.get(&route.owner).map(|owner| Protocol(owner.protocol))
    }

    /// The entities that have this id, label or protocol.
    pub(crate) fn owners_called(&self, name: &str) -> BTreeSet<u64> {
        let called = self.owners.values().filter(|owner| is_called(owner, name));
        called.map(|owner| owner.id).collect()
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
                let best = !best_in(route).intersection(self.marked).is_empty();
                self.rows.push(Row::new(route, owner, &next_hops, best));
                // A million rows cannot be measured before the first is printed.
                if self.rows.len() >= PAGE {
                    self.flush(out)?;
                }
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
        self.count += 1;
        Ok(())
    }

    /// Prints what waits; returns how many routes there were in all.
    pub(crate) fn finish(mut self, out: &mut Output) -> Result<u64, Problem> {
        self.flush(out)?;
        Ok(self.count)
    }

    fn flush(&mut self, out: &mut Output) -> io::Result<()> {
        for row in &self.rows {
            self.widths.fit(row);
        }
        if !self.has_head && !self.rows.is_empty() {
            self.widths.print_head(out)?;
            self.has_head = true;
        }
        for row in self.rows.drain(..) {
            row.print(out, self.widths)?;
        }
        Ok(())
    }
}

/// Whether the route is the best in a view.
pub(crate) fn is_best_in(route: &RouteInfo, view: View) -> bool {
    best_in(route).contains(view)
}

/// The views that the route is the best in.
pub(crate) fn best_in(route: &RouteInfo) -> ViewSet {
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

/// A preference; none for a route that takes no part in the choice.
pub(crate) fn tell_preference(preference: u64) -> String {
    match preference {
        INFINITE => "-".to_owned(),
        _ => preference.to_string(),
    }
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

/// Whether an entity goes by this name: its id, its label, or its protocol as in `bgp` or `bgp/2`.
pub(crate) fn is_called(entity: &EntityInfo, name: &str) -> bool {
    let protocol = Protocol(entity.protocol).to_string();
    let which = || format!("{protocol}/{}", entity.protocol_instance);
    entity.label == name || protocol == name || entity.id.to_string() == name || which() == name
}

fn ways(route: &RouteInfo, next_hops: &[&NextHop]) -> Vec<String> {
    match special(route) {
        Some(special) => vec![special.word().into()],
        None if next_hops.is_empty() => vec!["(no next hop)".into()],
        None => next_hops.iter().map(ToString::to_string).collect(),
    }
}

/// What the kernel has, and how long the route stays: `installed, expires in 3 s`.
fn standing(route: &RouteInfo) -> String {
    let mut text = printable(text(&route.more, "fib").unwrap_or_default()).into_owned();
    if let Some(why) = context::text(&route.more, "fib-error") {
        let _ = write!(text, ": {}", printable(why)); // a String takes everything
    }
    if route.more.contains_key("stale") {
        text.push_str(", stale");
    }
    let seconds = |milliseconds: u64| match milliseconds {
        INFINITE => "for ever".to_owned(),
        _ => format!("{:.1} s", Duration::from_millis(milliseconds).as_secs_f64()),
    };
    if let Some(left) = number(&route.more, "held-for") {
        text = format!("withdrawn, held {}", seconds(left));
    } else if let Some(left) = number(&route.more, "expires-in") {
        let _ = write!(text, ", expires in {}", seconds(left));
    }
    text
}

impl Row {
    fn new(
        route: &RouteInfo,
        owner: Option<&EntityInfo>,
        next_hops: &[&NextHop],
        best: bool,
    ) -> Self {
        Self {
            best,
            prefix: printable(&route.destination).into_owned(),
            ways: ways(route, next_hops),
            owner: owner.map_or_else(|| format!("entity {}", route.owner), owner_name),
            preference: tell_preference(route.preference.into()),
            metric: route.metric,
            fib: standing(route),
            failed: text(&route.more, "fib") == Some(FibStatus::Failed.name()),
        }
    }

    fn print(&self, out: &mut Output, widths: Widths) -> io::Result<()> {
        let Self { prefix, owner, preference, metric, fib, .. } = self;
        let (marker, style) = if self.best { ('>', BEST) } else { (' ', Style::new()) };
        let fib_style = if self.failed { ERROR } else { Style::new() };
        let mut ways = self.ways.iter();
        let way = ways.next().map_or("", String::as_str);
        out.line(format_args!(
            "{style}{marker}{style:#} {prefix:0$}  {way:1$}  {owner:2$}  {preference:>10}  \
             {metric:>6}  {fib_style}{fib}{fib_style:#}",
            widths.prefix, widths.way, widths.owner,
        ))?;
        ways.try_for_each(|way| out.line(format_args!("  {:1$}  {way}", "", widths.prefix)))
    }
}

impl Widths {
    /// What fits most.
    fn least(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self { prefix: 18, way: 28, owner: 18 },
            Family::Ipv6 => Self { prefix: 26, way: 36, owner: 18 },
        }
    }

    /// Widens the columns for a row, as far as that helps to read: what one odd row has is not made
    /// room for in all others.
    fn fit(&mut self, row: &Row) {
        let fit = |width: &mut usize, text: &str, most: usize| {
            *width = (*width).max(text.chars().count().min(most));
        };
        fit(&mut self.prefix, &row.prefix, 43);
        row.ways.iter().for_each(|way| fit(&mut self.way, way, 80));
        fit(&mut self.owner, &row.owner, 80);
    }

    fn print_head(self, out: &mut Output) -> io::Result<()> {
        let Self { prefix, way, owner } = self;
        out.line(format_args!(
            "{HEAD}  {:prefix$}  {:way$}  {:owner$}  {:>10}  {:>6}  fib{HEAD:#}",
            "prefix", "way", "owner", "preference", "metric"
        ))
    }
}

/// How many rows are measured together.
const PAGE: usize = 1000;
const INFINITE: u64 = wire::INFINITE as u64;

/// A route on one line: its way, its owner and its rank.
pub(crate) fn sentence(
    route: &RouteInfo,
    owner: Option<&EntityInfo>,
    next_hops: &[&NextHop],
) -> String {
    let owner = owner.map_or_else(|| format!("entity {}", route.owner), owner_name);
    let (ways, metric) = (ways(route, next_hops).join(", "), route.metric);
    let preference = tell_preference(route.preference.into());
    format!("{ways}, {owner}, preference {preference}, metric {metric}")
}

/// All there is to know of a route, for JSON.
pub(crate) fn json(
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
        "stale": route.more.contains_key("stale"),
        "expires-in": number(&route.more, "expires-in"),
        "held-for": number(&route.more, "held-for"),
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
    fn an_owner_is_called_by_its_id_label_or_protocol() {
        let owner = EntityInfo { label: "edge".into(), ..owner("active") };
        for (name, called) in [
            ("2", true),
            ("edge", true),
            ("bgp", true),
            ("bgp/3", true),
            ("bgp/2", false),
            ("3", false),
        ] {
            assert_eq!(is_called(&owner, name), called, "{name}");
        }
    }

    #[test]
    fn a_flag_makes_a_route_special() {
        let mut route = route("installed");
        assert_eq!(special(&route), None);
        for (flags, word) in [(1, "prohibit"), (2, "blackhole"), (4, "unreachable")] {
            route.flags = flags;
            assert_eq!(ways(&route, &[]), [word]);
        }
    }

    #[test]
    fn how_long_a_route_stays_is_told() {
        let mut route = route("installed");
        assert_eq!(standing(&route), "installed");
        route.more.insert("expires-in".to_owned(), 1500u32.into());
        assert_eq!(standing(&route), "installed, expires in 1.5 s");
        route.more.insert("held-for".to_owned(), u32::MAX.into());
        assert_eq!(standing(&route), "withdrawn, held for ever");
    }

    #[test]
    fn the_preference_of_what_is_only_observed_is_a_dash() {
        let observed = RouteInfo { preference: u32::MAX, ..route("none") };
        assert_eq!(Row::new(&observed, None, &[], false).preference, "-");
        assert_eq!(Row::new(&route("none"), None, &[], false).preference, "1");
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_up_to_a_limit() {
        let mut widths = Widths::least(Family::Ipv4);
        let mut row = Row::new(&route("installed"), None, &[], true);
        widths.fit(&row);
        assert_eq!((widths.way, widths.owner), (28, 18));
        (row.ways, row.owner) = (vec!["via".into(), "x".repeat(50)], "y".repeat(300));
        widths.fit(&row);
        assert_eq!((widths.way, widths.owner), (50, 80));
    }

    #[test]
    fn a_route_can_be_the_best_in_several_views() {
        assert!(is_best_in(&route("none"), View::UNICAST));
        assert!(is_best_in(&route("none"), View::MULTICAST));
    }
}
