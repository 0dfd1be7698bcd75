//! `[[static]]`: routes that are there as long as the configuration has them, in the words of `ip route`.
//!
//! The core says what is wrong with one: each is offered to a RIB that has nothing else.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    fault::{Findings, Place},
    section::{Said, Section},
};
use crate::{
    model::{
        Error, Family, Metric, Now, Preference, Prefix, Protocol, RouteFlags, TableId, ViewSet,
        Weight, interface_name,
    },
    rib::{Instance, Policy, Rib, StaticKey, StaticNextHop, StaticRoute},
};

/// The static routes, in no order; those of instances that are not served are left out.
pub(super) fn statics(file: &mut Section<'_>, policy: &Policy) -> Vec<(TableId, StaticRoute)> {
    let mut rib = Rib::new(policy.clone());
    let mut all: BTreeMap<(TableId, StaticKey), (StaticRoute, Place)> = BTreeMap::new();
    for Said { value: table, place } in file.sections("static", "routes, each below [[static]]") {
        let findings = file.findings();
        let section = Section::new("static", "", place.clone(), table, findings);
        let Some((table, route)) = route(section) else { continue };
        if let Some(Instance::Broken(_)) = policy.instances.get(&table.instance) {
            continue; // told already
        }
        let key = (table, route.key);
        if let Some((_, first)) = all.get(&key).filter(|(_, first)| first.file == place.file) {
            findings.add(
                &place,
                format_args!(
                    "there is such a route to {} at {first}: give one of them another metric, or put \
                     all nexthops in one",
                    route.key.to
                ),
            );
            continue;
        }
        match rib.add_static_route(table, route.clone(), Now::at(0)) {
            Ok(_) => _ = all.insert(key, (route, place)),
            Err(refusal) => findings.add(&place, refusal.message),
        }
    }
    all.into_iter().map(|((table, _), (route, _))| (table, route)).collect()
}

/// A route as it is written, or nothing where something is wrong with it, which is said then.
fn route(mut section: Section<'_>) -> Option<(TableId, StaticRoute)> {
    let findings = section.findings();
    let place = section.place.clone();
    let faults = findings.count();
    let instance = section.number("instance", 0..=u16::MAX.into()).map_or(0, |said| said.value);
    let (via, dev) = (gateway(&mut section), interface(&mut section));
    let ways =
        section.sections("nexthops", "next hops such as { via = \"192.0.2.1\", weight = 2 }");
    let alone = via.is_some() || dev.is_some();
    if alone && !ways.is_empty() {
        section
            .refuse(&place, "via or dev is set, and nexthops too: say all next hops in nexthops");
    }
    let mut hops: Vec<StaticNextHop> =
        ways.into_iter().map(|way| next_hop(way, findings)).collect();
    if alone {
        hops.push(StaticNextHop { address: via, interface: dev, weight: None });
    }
    let family = hops.iter().find_map(|hop| hop.address).map(|address| match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    });
    let to = section.parsed("to", |text| destination(text, family));
    let kinds = [
        ("unicast", RouteFlags::default()),
        ("blackhole", RouteFlags::BLACKHOLE),
        ("unreachable", RouteFlags::DISCARD),
        ("prohibit", RouteFlags::MARTIAN),
    ];
    let flags = section.word("type", &kinds).map(|said| said.value).unwrap_or_default();
    let protocols = [
        ("static", Protocol::STATIC),
        ("static-non-dod", Protocol::STATIC_NON_DOD),
        ("autostatic", Protocol::AUTOSTATIC),
    ];
    let protocol = section.word("protocol", &protocols).map_or(Protocol::STATIC, |said| said.value);
    let preference = section.number("preference", 0..=u32::MAX).map_or(0, |said| said.value);
    let metric = section.number("metric", 0..=u32::MAX).map_or(0, |said| said.value);
    let views = section.numbers("views", 0..=31).map_or(ViewSet(1), |said| {
        let bits = said.value.into_iter().filter_map(|id| 1u32.checked_shl(id));
        ViewSet(bits.fold(0, |all, bit| all | bit))
    });
    section.finish();
    if findings.count() > faults {
        return None;
    }
    let Some(to) = to else {
        findings.add(&place, "each [[static]] needs to, a prefix such as \"10.0.0.0/8\"");
        return None;
    };
    if flags == RouteFlags::default() && hops.is_empty() {
        let what = "this route leads nowhere: expected via, dev, nexthops, or type = \"blackhole\", \
                    \"unreachable\" or \"prohibit\"";
        findings.add(&place, what);
        return None;
    }
    let key = StaticKey {
        to: to.value,
        protocol,
        preference: Preference(preference),
        metric: Metric(metric),
    };
    let route = StaticRoute { key, flags, views, via: hops, persistent: false };
    let table = TableId::new(instance, key.to.family()).map_err(|error| error.message);
    table.map_err(|what| findings.add(&place, what)).ok().map(|table| (table, route))
}

/// One of several ways.
fn next_hop(way: Said<super::tree::Table>, findings: &Findings) -> StaticNextHop {
    let Said { value, place } = way;
    let mut section = Section::new("static.nexthops", "nexthops: ", place.clone(), value, findings);
    let (address, interface) = (gateway(&mut section), interface(&mut section));
    let weight = section.number("weight", 1..=256).and_then(|said| Weight::new(said.value).ok());
    if address.is_none() && interface.is_none() && findings.is_empty() {
        section.refuse(&place, "a next hop needs via, dev or both");
    }
    section.finish();
    StaticNextHop { address, interface, weight }
}

fn gateway(section: &mut Section<'_>) -> Option<IpAddr> {
    let read = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| format!("{} is not an address like 192.0.2.1", crate::model::quoted(text)))
    };
    section.parsed("via", read).map(|said| said.value)
}

fn interface(section: &mut Section<'_>) -> Option<String> {
    let read = |text: &str| interface_name(text).map_err(|error| error.message);
    section.parsed("dev", read).map(|said| said.value)
}

/// As `ip route` has it: a prefix, an address for a host, or "default".
fn destination(text: &str, family: Option<Family>) -> Result<Prefix, String> {
    let all = match family {
        Some(Family::Ipv4) => "0.0.0.0/0",
        Some(Family::Ipv6) => "::/0",
        None if text == "default" => {
            return Err("default is of which family? Say 0.0.0.0/0 or ::/0".to_owned());
        }
        None => "",
    };
    if let Ok(host) = text.parse::<IpAddr>() {
        return Ok(Prefix::host(host));
    }
    let text = if text == "default" { all } else { text };
    text.parse().map_err(|error: Error| error.message)
}

#[cfg(test)]
mod tests {
    use super::super::{
        Config,
        testing::{fault, vrf_table},
    };
    use super::*;

    fn routes(text: &str) -> Vec<(TableId, StaticRoute)> {
        Config::parse(text, &vrf_table).unwrap_or_else(|faults| panic!("{faults}")).static_routes
    }

    #[test]
    fn a_route_is_said_in_the_words_of_ip_route() {
        let text = "[[static]]\nto = \"10.0.0.0/8\"\nvia = \"192.0.2.1\"\ndev = \"wan0\"\nmetric = 5\n\
                    preference = 7\n[[static]]\nto = \"default\"\nvia = \"2001:db8::1\"\n[[static]]\n\
                    to = \"192.0.2.9\"\ntype = \"blackhole\"\nprotocol = \"autostatic\"\n[[static]]\n\
                    to = \"10.9.0.0/16\"\nnexthops = [{ via = \"192.0.2.1\", weight = 3 }, \
                    { dev = \"tun0\" }]\n";
        let all = routes(text);
        let tables: Vec<String> = all.iter().map(|(table, _)| table.to_string()).collect();
        assert_eq!(tables, ["0/ipv4", "0/ipv4", "0/ipv4", "0/ipv6"]);
        let of = |to: &str| {
            let to: Prefix = to.parse().unwrap();
            all.iter().find(|(_, route)| route.key.to == to).unwrap().1.clone()
        };
        let first = of("10.0.0.0/8");
        assert_eq!((first.key.metric, first.key.preference), (Metric(5), Preference(7)));
        assert_eq!(first.via[0].interface.as_deref(), Some("wan0"));
        assert_eq!(of("::/0").via[0].address, "2001:db8::1".parse().ok());
        let hole = of("192.0.2.9/32");
        assert_eq!((hole.flags, hole.key.protocol), (RouteFlags::BLACKHOLE, Protocol::AUTOSTATIC));
        let both = of("10.9.0.0/16").via;
        assert_eq!(both[0].weight, Weight::new(3).ok());
        assert_eq!((both[1].address, both[1].interface.as_deref()), (None, Some("tun0")));
    }

    #[test]
    fn what_is_wrong_with_a_route_is_told() {
        let told = |text: &str| fault(&format!("[[static]]\n{text}"));
        let far = "to = \"10.0.0.0/8\"\nvia = \"192.0.2.1\"\n";
        assert!(told("").contains("needs to"));
        assert!(told("to = \"10.0.0.1/8\"\ndev = \"a\"").contains("10.0.0.1/8"));
        assert!(told("to = \"default\"\ndev = \"a\"").contains("of which family"));
        assert!(told("to = \"10.0.0.0/8\"").contains("leads nowhere"));
        assert!(told("to = \"2001:db8::/32\"\nvia = \"192.0.2.1\"").contains("192.0.2.1"));
        assert!(told(&format!("{far}dev = \"a/b\"")).contains("no interface can have the name"));
        assert!(told(&format!("{far}nexthops = [{{ dev = \"a\" }}]")).contains("nexthops too"));
        assert!(told(&format!("{far}type = \"nat\"")).contains("\"blackhole\""));
        assert!(told(&format!("{far}instance = 7")).contains("instance 7 is not configured"));
        assert!(told(&format!("{far}views = [9]")).contains("view"));
        assert!(told(&format!("{far}[[static]]\n{far}")).contains("there is such a route"));
        assert!(told("to = \"10.0.0.0/8\"\nnexthops = [{}]").contains("needs via, dev or both"));
        let few = format!("[limits]\nstatic-routes = 0\n[[static]]\n{far}");
        assert!(fault(&few).contains("limit static-routes"));
    }
}
