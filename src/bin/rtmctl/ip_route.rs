//! Writes a route the way `ip -N route show proto 82` does, to be compared with it line by line.
//!
//! That command does not repeat the protocol that it was asked for, writes scope and type as
//! numbers (`-N`), ends IPv4 lines with a blank, and puts each of several next hops on a line of
//! its own. Checked against iproute2 6.1.

use std::{fmt::Write, net::IpAddr};

use rtmd::model::{
    nexthop::Weight,
    prefix::{Family, Prefix},
    route::Special,
};

/// What the kernel is to do with packets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum KernelWay {
    /// Send to one of these.
    Hops(Vec<KernelHop>),
    /// Do not forward at all.
    Special(Special),
}

/// A next hop that the kernel can take.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct KernelHop {
    /// The neighbouring router; `None` when the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// The name of the interface.
    pub(crate) interface: String,
    /// Its share.
    pub(crate) weight: Weight,
}

/// Appends the lines of a route to `text`.
pub(crate) fn write(text: &mut String, prefix: Prefix, way: &KernelWay, metric: u32) {
    if let KernelWay::Special(special) = way {
        // RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT.
        text.push_str(match special {
            Special::Blackhole => "6 ",
            Special::Unreachable => "7 ",
            Special::Prohibit => "8 ",
        });
    }
    write_prefix(text, prefix);
    text.push(' ');
    match (way, prefix.family()) {
        (KernelWay::Hops(hops), family) => {
            if let [hop] = hops.as_slice() {
                write_hop(text, hop, family);
            }
            let on_link = hops.iter().all(|hop| hop.gateway.is_none());
            if family == Family::Ipv4 && on_link {
                text.push_str("scope 253 "); // RT_SCOPE_LINK; IPv6 has no scopes
            }
        }
        // IPv6 hangs these on the loopback interface, IPv4 on none.
        (KernelWay::Special(_), Family::Ipv6) => text.push_str("dev lo "),
        (KernelWay::Special(_), Family::Ipv4) => {}
    }
    // IPv4 leaves a metric of 0 out; IPv6 has none, its 0 becomes 1024.
    if metric != 0 || prefix.family() == Family::Ipv6 {
        let _ = write!(text, "metric {metric} "); // a String takes everything
    }
    if prefix.family() == Family::Ipv6 {
        text.push_str("pref medium");
    }
    match way {
        KernelWay::Hops(hops) if hops.len() > 1 => {
            for hop in hops {
                text.push_str("\n\tnexthop ");
                write_hop(text, hop, prefix.family());
                let _ = write!(text, "weight {} ", hop.weight.get());
            }
        }
        _ => {}
    }
    text.push('\n');
}

fn write_prefix(text: &mut String, prefix: Prefix) {
    let full = match prefix.family() {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    };
    let _ = match prefix.length() {
        0 => write!(text, "default"),
        length if length == full => write!(text, "{}", prefix.address()),
        _ => write!(text, "{prefix}"),
    };
}

fn write_hop(text: &mut String, hop: &KernelHop, family: Family) {
    if let Some(gateway) = hop.gateway {
        let other = match (family, gateway) {
            (Family::Ipv4, IpAddr::V6(_)) => "inet6 ",
            (Family::Ipv6, IpAddr::V4(_)) => "inet ",
            _ => "",
        };
        let _ = write!(text, "via {other}{gateway} ");
    }
    let _ = write!(text, "dev {} ", hop.interface);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line as iproute2 6.1 wrote it, from a kernel that was given these routes.
    fn written(prefix: &str, way: KernelWay) -> String {
        let mut text = String::new();
        write(&mut text, prefix.parse().unwrap(), &way, 82);
        text
    }

    fn hops(hops: &[(&str, u32)]) -> KernelWay {
        let hop = |&(gateway, weight): &(&str, u32)| KernelHop {
            gateway: gateway.parse().ok(),
            interface: "v0".into(),
            weight: Weight::new(weight).unwrap(),
        };
        KernelWay::Hops(hops.iter().map(hop).collect())
    }

    #[test]
    fn ipv4_routes_end_with_a_blank() {
        for (prefix, line) in [
            ("0.0.0.0/0", "default via 192.0.2.2 dev v0 metric 82 \n"),
            ("100.64.0.0/10", "100.64.0.0/10 via 192.0.2.2 dev v0 metric 82 \n"),
            ("10.0.0.1/32", "10.0.0.1 via 192.0.2.2 dev v0 metric 82 \n"),
        ] {
            assert_eq!(written(prefix, hops(&[("192.0.2.2", 1)])), line);
        }
    }

    #[test]
    fn ipv6_routes_end_with_their_router_preference() {
        for (prefix, line) in [
            ("::/0", "default via 2001:db8::2 dev v0 metric 82 pref medium\n"),
            ("2001:db8:1::/48", "2001:db8:1::/48 via 2001:db8::2 dev v0 metric 82 pref medium\n"),
            ("2001:db8:2::1/128", "2001:db8:2::1 via 2001:db8::2 dev v0 metric 82 pref medium\n"),
        ] {
            assert_eq!(written(prefix, hops(&[("2001:db8::2", 1)])), line);
        }
    }

    #[test]
    fn on_the_link_has_a_scope_in_ipv4_only() {
        let on_link = || hops(&[("", 1)]);
        assert_eq!(written("10.0.0.4/31", on_link()), "10.0.0.4/31 dev v0 scope 253 metric 82 \n");
        assert_eq!(
            written("2001:db8:3::/48", on_link()),
            "2001:db8:3::/48 dev v0 metric 82 pref medium\n"
        );
    }

    #[test]
    fn a_gateway_of_the_other_family_says_so() {
        assert_eq!(
            written("10.0.0.2/32", hops(&[("2001:db8::2", 1)])),
            "10.0.0.2 via inet6 2001:db8::2 dev v0 metric 82 \n"
        );
    }

    #[test]
    fn several_next_hops_have_a_line_each() {
        assert_eq!(
            written("10.4.0.0/16", hops(&[("192.0.2.2", 1), ("192.0.2.3", 5)])),
            "10.4.0.0/16 metric 82 \n\
             \tnexthop via 192.0.2.2 dev v0 weight 1 \n\
             \tnexthop via 192.0.2.3 dev v0 weight 5 \n"
        );
        assert_eq!(
            written("10.5.0.0/16", hops(&[("192.0.2.2", 1), ("", 5), ("2001:db8::2", 1)])),
            "10.5.0.0/16 metric 82 \n\
             \tnexthop via 192.0.2.2 dev v0 weight 1 \n\
             \tnexthop dev v0 weight 5 \n\
             \tnexthop via inet6 2001:db8::2 dev v0 weight 1 \n"
        );
        assert_eq!(
            written("2001:db8:7::/48", hops(&[("2001:db8::2", 1), ("2001:db8::3", 9)])),
            "2001:db8:7::/48 metric 82 pref medium\n\
             \tnexthop via 2001:db8::2 dev v0 weight 1 \n\
             \tnexthop via 2001:db8::3 dev v0 weight 9 \n"
        );
    }

    #[test]
    fn the_special_ways_are_numbers() {
        for (special, ipv4, ipv6) in [
            (Special::Blackhole, "6 10.1.0.0/16 metric 82 \n", "6 2001:db8:4::/48 dev lo"),
            (Special::Unreachable, "7 10.1.0.0/16 metric 82 \n", "7 2001:db8:4::/48 dev lo"),
            (Special::Prohibit, "8 10.1.0.0/16 metric 82 \n", "8 2001:db8:4::/48 dev lo"),
        ] {
            assert_eq!(written("10.1.0.0/16", KernelWay::Special(special)), ipv4);
            assert_eq!(
                written("2001:db8:4::/48", KernelWay::Special(special)),
                format!("{ipv6} metric 82 pref medium\n")
            );
        }
    }
}
