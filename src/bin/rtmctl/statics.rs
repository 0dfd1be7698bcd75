//! `rtmctl static`: the routes that need no client, in the words of `ip route`.
//!
//! Interfaces go by name both ways: the service keeps the names, and may be on another machine.

use std::fmt::Write;

use rtmd::{
    bus::wire::Details,
    model::{
        entity::Protocol,
        nexthop::Weight,
        prefix::{Family, Prefix},
        route::{RouteFlags, Special},
        view::{View, ViewSet},
    },
};
use serde_json::{Value, json};
use zbus::{OwnedVariant, Variant};

use crate::{
    cli::Scope,
    completion,
    context::{Context, Exit, Problem, list, number, text},
    lines::{Description, Way},
    output::{Align, Columns},
};

/// What `static` can do.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Add a static route, or replace the one with the same prefix, protocol, preference and metric
    #[command(after_help = ADD_HELP)]
    Add {
        /// The route, as `ip route add` takes it
        #[arg(required = true, value_name = "ROUTE", add = completion::route_words())]
        words: Vec<String>,
        /// Keep it over a restart of the machine; the others stay until then
        #[arg(long)]
        persistent: bool,
    },
    /// Remove a static route
    #[command(after_help = DELETE_HELP)]
    Del {
        /// The prefix, and where there are several routes to it whatever tells it from the others
        #[arg(required = true, value_name = "ROUTE", add = completion::route_words())]
        words: Vec<String>,
    },
    /// List the static routes
    #[command(after_help = LIST_HELP)]
    List,
}

/// A static route, as it is told.
struct Told {
    prefix: String,
    protocol: Protocol,
    preference: u64,
    metric: u64,
    special: Option<Special>,
    views: ViewSet,
    hops: Vec<ToldHop>,
    waits: Option<String>,
    persistent: bool,
}

/// One of its next hops.
struct ToldHop {
    address: String,
    device: String,
    weight: u32,
}

/// Does what is asked for.
pub(crate) async fn run(context: &mut Context, command: Command) -> Result<Exit, Problem> {
    let instance = context.instance();
    match command {
        Command::Add { words, persistent } => {
            let described = describe("add", &words, &context.scope)?;
            let mut route = keys(&described);
            let offer = described.into_offer().map_err(Problem::Local)?;
            put(&mut route, "flags", u32::from(offer.flags().0));
            let to = offer.prefix.to_string();
            context.manager.add_static_route(instance, &to, &route, persistent).await?;
        }
        Command::Del { words } => {
            let described = describe("del", &words, &context.scope)?;
            let to = described.prefix.to_string();
            context.manager.remove_static_route(instance, &to, &keys(&described)).await?;
        }
        Command::List => print(context).await?,
    }
    Ok(Exit::Done)
}

fn describe(verb: &str, words: &[String], scope: &Scope) -> Result<Description, Problem> {
    let described = Description::parse(verb, &words.join(" "), scope.family());
    let described = described.map_err(Problem::Local)?;
    scope.check(described.prefix).map_err(Problem::Local)?;
    Ok(described)
}

/// What was said of a route, as the service takes it.
fn keys(described: &Description) -> Details {
    let Description { prefix: _, way, metric, preference, views, protocol } = described;
    let mut keys = Details::new();
    if let Some(protocol) = protocol {
        put(&mut keys, "protocol", protocol.0);
    }
    if let Some(preference) = preference {
        put(&mut keys, "preference", preference.0);
    }
    if let Some(metric) = metric {
        put(&mut keys, "metric", metric.0);
    }
    if let Some(views) = views {
        put(&mut keys, "views", views.0);
    }
    match way {
        None => {}
        Some(Way::Special(special)) => put(&mut keys, "flags", u32::from(special.flag().0)),
        Some(Way::Hops(hops)) => {
            let address = |hop: &crate::lines::Hop| {
                hop.address.map(|address| address.to_string()).unwrap_or_default()
            };
            let weight =
                |hop: &crate::lines::Hop| u32::from(hop.weight.unwrap_or(Weight::ONE).get());
            let via: Vec<(String, u32, u32)> =
                hops.iter().map(|hop| (address(hop), 0, weight(hop))).collect();
            let names = hops.iter().map(|hop| hop.device.clone().unwrap_or_default());
            put(&mut keys, "via", via);
            put(&mut keys, "interfaces", names.collect::<Vec<_>>());
        }
    }
    keys
}

fn put<'v>(keys: &mut Details, key: &str, value: impl Into<Variant<'v>>) {
    // Only a file descriptor cannot be owned, and there is none.
    if let Ok(value) = OwnedVariant::try_from(value.into()) {
        keys.insert(key.to_owned(), value);
    }
}

async fn print(context: &mut Context) -> Result<(), Problem> {
    let instance = context.instance();
    let mut columns =
        Columns::new([("route", Align::Left), ("kept", Align::Left), ("state", Align::Left)]);
    let mut count = 0;
    for (family, _) in context.tables(instance).await? {
        for told in context.manager.get_static_routes(instance, family.name()).await? {
            count += 1;
            let told = Told::read(told);
            if context.scope.json {
                context.out.json(&told.json(instance, family))?;
                continue;
            }
            let kept = if told.persistent { "persistent" } else { "until reboot" };
            let state = match &told.waits {
                Some(why) => format!("waits: {why}"),
                None => "offered".to_owned(),
            };
            columns.row([told.words(), kept.to_owned(), state]);
        }
    }
    if count > 0 && !context.scope.json {
        columns.print(&mut context.out)?;
    }
    context.say_if_empty(count, "static routes");
    Ok(())
}

impl Told {
    fn read((prefix, keys, persistent): (String, Details, bool)) -> Self {
        let plain = |name: &str| number(&keys, name).unwrap_or_default();
        let small = |name: &str| u32::try_from(plain(name)).unwrap_or_default();
        let names: Vec<String> = list(&keys, "interfaces");
        let via: Vec<(String, u32, u32)> = list(&keys, "via");
        let hop = |(place, (address, _, weight)): (usize, (String, u32, u32))| {
            let device = names.get(place).cloned().unwrap_or_default();
            ToldHop { address, device, weight }
        };
        Self {
            prefix,
            protocol: Protocol(small("protocol")),
            preference: plain("preference"),
            metric: plain("metric"),
            special: RouteFlags::new(small("flags")).ok().and_then(RouteFlags::special),
            views: ViewSet(small("views")),
            hops: via.into_iter().enumerate().map(hop).collect(),
            waits: text(&keys, "waits").map(str::to_owned),
            persistent,
        }
    }

    /// As `add` takes it.
    fn words(&self) -> String {
        let mut words = String::new();
        if let Some(special) = self.special {
            words += special.word();
            words.push(' ');
        }
        words += match self.prefix.parse::<Prefix>() {
            Ok(prefix) if prefix.length() == 0 && self.family_shows() => "default",
            _ => &self.prefix,
        };
        // A String takes everything.
        if let [hop] = self.hops.as_slice() {
            let _ = write!(words, "{}", hop.words());
            if hop.weight != 1 {
                let _ = write!(words, " weight {}", hop.weight);
            }
        }
        if self.protocol != Protocol::STATIC {
            let _ = write!(words, " proto {}", self.protocol);
        }
        if self.metric != 0 {
            let _ = write!(words, " metric {}", self.metric);
        }
        if self.preference != 0 {
            let _ = write!(words, " preference {}", self.preference);
        }
        let both = View::UNICAST.only().union(View::MULTICAST.only());
        if self.views == both {
            words += " views both";
        } else if self.views == View::MULTICAST.only() {
            words += " views multicast";
        }
        if self.hops.len() > 1 {
            for hop in &self.hops {
                let _ = write!(words, " nexthop{} weight {}", hop.words(), hop.weight);
            }
        }
        words
    }

    /// Whether a gateway says of which family a default route is.
    fn family_shows(&self) -> bool {
        self.hops.iter().any(|hop| !hop.address.is_empty())
    }

    fn json(&self, instance: u32, family: Family) -> Value {
        let hops = self
            .hops
            .iter()
            .map(|hop| json!({ "via": hop.address, "dev": hop.device, "weight": hop.weight }));
        json!({
            "table": format!("{instance}/{family}"),
            "prefix": self.prefix,
            "kind": self.special.map_or("unicast", Special::word),
            "next-hops": hops.collect::<Vec<_>>(),
            "protocol": self.protocol.to_string(),
            "preference": self.preference,
            "metric": self.metric,
            "views": self.views.0,
            "persistent": self.persistent,
            "waits": self.waits,
        })
    }
}

impl ToldHop {
    fn words(&self) -> String {
        let mut words = String::new();
        if !self.address.is_empty() {
            words += &format!(" via {}", self.address);
        }
        if !self.device.is_empty() {
            words += &format!(" dev {}", self.device);
        }
        words
    }
}

/// The help on `static`.
pub(crate) const HELP: &str = "\
Adding and removing is for root, and whom a grant or polkit lets.

Examples:
  rtmctl static add 10.0.0.0/8 via 192.0.2.1 dev eth0 --persistent
  rtmctl static list
  rtmctl static del 10.0.0.0/8";

const ADD_HELP: &str = "\
ROUTE is one of
  PREFIX via ADDRESS [dev NAME] [weight N]
  PREFIX dev NAME
  PREFIX nexthop via ADDRESS [dev NAME] [weight N] nexthop ...
  blackhole|unreachable|prohibit PREFIX
each with [metric N] [preference N] [views unicast|multicast|both]
[proto static|static-non-dod|autostatic]. PREFIX is address/length, an address alone, or default.
A route whose interface is not there waits for it.

Examples:
  rtmctl static add default via 192.0.2.1 --persistent
  rtmctl static add 10.0.0.0/8 via 192.0.2.1 dev eth0 metric 5
  rtmctl static add 10.0.0.0/8 nexthop via 192.0.2.1 weight 3 nexthop via 192.0.2.2 weight 1
  rtmctl static add blackhole 203.0.113.0/24
  rtmctl -6 static add default dev wg0";

const DELETE_HELP: &str = "\
Order and weights of next hops do not count. Where several routes are meant, it is refused.

Examples:
  rtmctl static del 10.0.0.0/8
  rtmctl static del 10.0.0.0/8 via 192.0.2.1 metric 5
  rtmctl -4 static del default";

const LIST_HELP: &str = "\
The first column is what \"rtmctl static add\" takes.

Examples:
  rtmctl static list
  rtmctl -6 --json static list";

#[cfg(test)]
mod tests {
    use super::*;

    /// What the list says of a route that was added with these words.
    fn listed(words: &str) -> String {
        let described = Description::parse("add", words, None).unwrap();
        let mut keys = keys(&described);
        for (key, value) in [("protocol", Protocol::STATIC.0), ("views", 1)] {
            let value = OwnedVariant::try_from(Variant::from(value)).unwrap();
            keys.entry(key.to_owned()).or_insert(value);
        }
        Told::read((described.prefix.to_string(), keys, true)).words()
    }

    #[test]
    fn a_route_is_listed_in_the_words_it_was_added_with() {
        for words in [
            "10.0.0.0/8 via 192.0.2.1",
            "10.0.0.0/8 via 192.0.2.1 dev eth0 metric 5",
            "10.0.0.0/8 dev eth0 preference 7 views both",
            "10.0.0.0/8 via 192.0.2.1 weight 3",
            "10.0.0.0/8 metric 5 nexthop via 192.0.2.1 weight 3 nexthop dev eth1 weight 1",
            "blackhole 2001:db8::/32 proto static-non-dod views multicast",
            "default via 192.0.2.1",
            "0.0.0.0/0 dev eth0",
            "prohibit ::/0",
        ] {
            assert_eq!(listed(words), words);
        }
    }

    #[test]
    fn what_is_left_out_does_not_tell_routes_apart() {
        let described = Description::parse("del", "10.0.0.0/8 metric 0", None).unwrap();
        assert_eq!(keys(&described).keys().collect::<Vec<_>>(), ["metric"]);
    }
}
