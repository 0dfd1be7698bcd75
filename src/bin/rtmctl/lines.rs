//! Routes in the words of `ip route`: the lines that `rtmctl register` takes, and what follows
//! `rtmctl static add`.
//!
//! A line is read as a whole or refused as a whole, with a sentence that names the word at fault;
//! a word that is not known is refused and never skipped, because what was meant by it would be
//! missing from the route. Names of interfaces stay names here: reading a line looks at nothing but
//! the line.

use std::{fmt::Display, net::IpAddr};

use rtmd::model::{
    entity::Protocol,
    error::quoted,
    nexthop::Weight,
    prefix::{Family, Prefix},
    route::{Metric, Preference, RouteFlags, Special},
    view::{View, ViewSet},
};

/// What a line asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Line {
    /// Offer a route, in place of an earlier one to the same prefix.
    Add(Offer),
    /// Take the route to this prefix back.
    Delete(Prefix),
}

/// A route to offer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Offer {
    /// Where to.
    pub(crate) prefix: Prefix,
    /// Which way.
    pub(crate) way: Way,
    /// The protocol's own cost.
    pub(crate) metric: Metric,
    /// 0 takes the protocol's level.
    pub(crate) preference: Preference,
    /// The views to offer it in.
    pub(crate) views: ViewSet,
}

/// What is to happen to packets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Send to one of these; at least one.
    Hops(Vec<Hop>),
    /// Do not forward at all.
    Special(Special),
}

/// One next hop as written: an address, an interface, or both.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Hop {
    /// `via`; without one the destination is on the link.
    pub(crate) address: Option<IpAddr>,
    /// `dev`; without one resolution finds it.
    pub(crate) device: Option<String>,
    /// `weight`.
    pub(crate) weight: Option<Weight>,
}

impl Line {
    /// Reads a line; `None` when it is blank or only a comment.
    ///
    /// `family` decides what `default` means where nothing on the line does.
    pub(crate) fn parse(line: &str, family: Option<Family>) -> Result<Option<Self>, String> {
        let content = line.split_once('#').map_or(line, |(before, _)| before);
        let content = content.trim_ascii();
        let (verb, rest) =
            content.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((content, ""));
        match verb {
            "" => Ok(None),
            "add" => Offer::parse(rest, family).map(Self::Add).map(Some),
            "del" => parse_delete(rest, family).map(Self::Delete).map(Some),
            other => Err(format!("{} is neither add nor del", quoted(other))),
        }
    }
}

/// What of a route is written, for what is to be found by it: all but the prefix may be missing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Description {
    /// Where to.
    pub(crate) prefix: Prefix,
    /// Which way.
    pub(crate) way: Option<Way>,
    /// The protocol's own cost.
    pub(crate) metric: Option<Metric>,
    /// 0 takes the protocol's level.
    pub(crate) preference: Option<Preference>,
    /// The views to offer it in.
    pub(crate) views: Option<ViewSet>,
    /// Of the static ones.
    pub(crate) protocol: Option<Protocol>,
}

impl Description {
    /// Reads what follows `verb`.
    pub(crate) fn parse(verb: &str, text: &str, family: Option<Family>) -> Result<Self, String> {
        let mut words = Words(text.split_ascii_whitespace());
        let mut word = words.value(verb, "a prefix")?;
        let special = Special::from_word(word);
        if special.is_some() {
            word = words.value(word, "a prefix")?;
        }
        let destination = word;
        if destination != "default" && destination.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            let word = quoted(destination);
            return Err(format!("{word} is no prefix, nor blackhole, unreachable or prohibit"));
        }
        let mut plain = Hop::default();
        let mut several: Vec<Hop> = Vec::new();
        let (mut metric, mut preference, mut views, mut protocol) = (None, None, None, None);
        while let Some(word) = words.0.next() {
            match word {
                // After the first `nexthop` these words belong to the latest one.
                "via" | "dev" | "weight" => {
                    let hop = several.last_mut().unwrap_or(&mut plain);
                    hop.take(word, &mut words)?;
                }
                "nexthop" => {
                    if several.last().is_some_and(Hop::is_empty) {
                        return Err("nexthop needs via or dev".into());
                    }
                    several.push(Hop::default());
                }
                "metric" => set(&mut metric, word, Metric(words.number(word)?))?,
                "preference" => set(&mut preference, word, Preference(words.number(word)?))?,
                "views" => set(&mut views, word, parse_views(words.value(word, "a view")?)?)?,
                "proto" => set(&mut protocol, word, words.protocol(word)?)?,
                other => return Err(format!("{} is not a word of {verb}", quoted(other))),
            }
        }
        if several.last().is_some_and(Hop::is_empty) {
            return Err("nexthop needs via or dev".into());
        }
        let given = !plain.is_empty() || plain.weight.is_some();
        let way = match (special, given, several.is_empty()) {
            (Some(special), false, true) => Some(Way::Special(special)),
            (Some(special), ..) => {
                return Err(format!("{} takes no next hop", special.word()));
            }
            (None, true, false) => return Err("via and dev belong after nexthop here".into()),
            (None, true, true) if plain.is_empty() => {
                return Err("weight needs via or dev".into());
            }
            (None, true, true) => Some(Way::Hops(vec![plain])),
            (None, false, false) => Some(Way::Hops(several)),
            (None, false, true) => None,
        };
        let inferred = match &way {
            Some(Way::Hops(hops)) => hops.iter().find_map(|hop| hop.address).map(Family::of),
            _ => None,
        };
        let prefix = parse_prefix(destination, inferred.or(family))?;
        Ok(Self { prefix, way, metric, preference, views, protocol })
    }

    /// The route, which needs a way.
    pub(crate) fn into_offer(self) -> Result<Offer, String> {
        let Self { prefix, way, metric, preference, views, protocol: _ } = self;
        let way = way.ok_or_else(|| {
            format!("no way given to {}: via or dev is missing", quoted(&prefix.to_string()))
        })?;
        Ok(Offer {
            prefix,
            way,
            metric: metric.unwrap_or_default(),
            preference: preference.unwrap_or_default(),
            views: views.unwrap_or(View::UNICAST.only()),
        })
    }
}

impl Offer {
    fn parse(text: &str, family: Option<Family>) -> Result<Self, String> {
        let described = Description::parse("add", text, family)?;
        if described.protocol.is_some() {
            return Err(
                "proto is not a word of add here: the protocol is the registration's".into()
            );
        }
        described.into_offer()
    }

    /// The flags that the way sets on the route.
    pub(crate) fn flags(&self) -> RouteFlags {
        self.way.flags()
    }

    /// Its next hops, none for the special ways.
    pub(crate) fn hops(&self) -> &[Hop] {
        self.way.hops()
    }
}

impl Way {
    /// The flags that it sets on a route.
    pub(crate) fn flags(&self) -> RouteFlags {
        match self {
            Self::Hops(_) => RouteFlags::default(),
            Self::Special(special) => special.flag(),
        }
    }

    /// Its next hops, none for the special ways.
    pub(crate) fn hops(&self) -> &[Hop] {
        match self {
            Self::Hops(hops) => hops,
            Self::Special(_) => &[],
        }
    }
}

impl Hop {
    fn is_empty(&self) -> bool {
        self.address.is_none() && self.device.is_none()
    }

    fn take(&mut self, word: &str, words: &mut Words<'_>) -> Result<(), String> {
        match word {
            "via" => {
                let mut text = words.value(word, "an address")?;
                // `ip` writes the family where it differs from the destination's.
                if matches!(text, "inet" | "inet6") {
                    text = words.value(word, "an address")?;
                }
                let address =
                    text.parse().map_err(|_| format!("{} is not an address", quoted(text)))?;
                set(&mut self.address, word, address)
            }
            "dev" => {
                let name = words.value(word, "an interface")?;
                set(&mut self.device, word, name.to_owned())
            }
            _ => {
                let weight = Weight::new(words.number(word)?).map_err(|error| error.message)?;
                set(&mut self.weight, word, weight)
            }
        }
    }
}

/// The words of a line that are still to be read.
struct Words<'l>(std::str::SplitAsciiWhitespace<'l>);

impl<'l> Words<'l> {
    fn value(&mut self, word: &str, what: &str) -> Result<&'l str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing after {word}"))
    }

    fn number(&mut self, word: &str) -> Result<u32, String> {
        let text = self.value(word, "a number")?;
        text.parse()
            .map_err(|_| format!("{word} {} is not a number from 0 to {}", quoted(text), u32::MAX))
    }

    fn protocol(&mut self, word: &str) -> Result<Protocol, String> {
        let text = self.value(word, "a protocol")?;
        Protocol::parse(text)
            .ok_or_else(|| format!("{word} {} is neither a protocol nor a number", quoted(text)))
    }
}

fn parse_delete(text: &str, family: Option<Family>) -> Result<Prefix, String> {
    let mut words = Words(text.split_ascii_whitespace());
    let prefix = parse_prefix(words.value("del", "a prefix")?, family)?;
    match words.0.next() {
        None => Ok(prefix),
        Some(extra) => Err(format!("{} is not a word of del", quoted(extra))),
    }
}

/// Reads `default`, an address, or `address/length`.
pub(crate) fn parse_prefix(text: &str, family: Option<Family>) -> Result<Prefix, String> {
    if text == "default" {
        let ambiguous =
            || "default could be 0.0.0.0/0 or ::/0: write which, or use -4 or -6".into();
        return family.map(Prefix::default_route).ok_or_else(ambiguous);
    }
    if let Ok(address) = text.parse() {
        return Ok(Prefix::host(address));
    }
    text.parse().map_err(|error: rtmd::model::error::Error| match error.message {
        named if named.contains(text) || named.contains(&quoted(text)) => named,
        other => format!("{}: {other}", quoted(text)),
    })
}

fn parse_views(text: &str) -> Result<ViewSet, String> {
    match text {
        "unicast" => Ok(View::UNICAST.only()),
        "multicast" => Ok(View::MULTICAST.only()),
        "both" => Ok(View::UNICAST.only().union(View::MULTICAST.only())),
        other => Err(format!("views {} is not unicast, multicast or both", quoted(other))),
    }
}

fn set<T>(place: &mut Option<T>, word: impl Display, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{word} is given twice")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(line: &str) -> Offer {
        match Line::parse(line, None) {
            Ok(Some(Line::Add(offer))) => offer,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        Line::parse(line, None).expect_err(line)
    }

    fn hop(address: &str) -> Hop {
        Hop { address: Some(address.parse().unwrap()), ..Hop::default() }
    }

    #[test]
    fn a_gateway_alone_is_enough() {
        let offer = offer("add 10.0.0.0/8 via 192.0.2.1");
        assert_eq!(offer.prefix.to_string(), "10.0.0.0/8");
        assert_eq!(offer.way, Way::Hops(vec![hop("192.0.2.1")]));
        assert_eq!((offer.metric, offer.preference), (Metric(0), Preference(0)));
        assert_eq!(offer.views, View::UNICAST.only());
    }

    #[test]
    fn an_interface_alone_means_on_the_link() {
        let offer = offer("add 10.0.0.0/8 dev eth0");
        let on_link = Hop { device: Some("eth0".into()), ..Hop::default() };
        assert_eq!(offer.way, Way::Hops(vec![on_link]));
    }

    #[test]
    fn everything_about_a_route_fits_on_a_line() {
        let offer =
            offer("add 10.0.0.0/8 via 192.0.2.1 dev eth0 metric 5 preference 7 views both # why");
        assert_eq!((offer.metric, offer.preference), (Metric(5), Preference(7)));
        assert_eq!(offer.views, ViewSet(3));
        assert_eq!(offer.hops()[0].device.as_deref(), Some("eth0"));
    }

    #[test]
    fn several_next_hops_keep_their_order_and_weights() {
        let offer = offer(
            "add 10.0.0.0/8 metric 5 nexthop via 192.0.2.1 weight 3 nexthop via 192.0.2.2 dev eth1",
        );
        assert_eq!(offer.hops()[0].weight.map(Weight::get), Some(3));
        assert_eq!(offer.hops()[1].device.as_deref(), Some("eth1"));
        assert_eq!(offer.metric, Metric(5));
    }

    #[test]
    fn the_special_ways_are_flags_and_have_no_next_hop() {
        assert_eq!(offer("add blackhole 10.0.0.0/8").flags(), RouteFlags::BLACKHOLE);
        assert_eq!(offer("add unreachable 10.0.0.0/8").flags(), RouteFlags::DISCARD);
        assert_eq!(offer("add prohibit 10.0.0.0/8").flags(), RouteFlags::MARTIAN);
        assert_eq!(refusal("add prohibit 10.0.0.0/8 via ::1"), "prohibit takes no next hop");
    }

    #[test]
    fn default_is_of_the_gateways_family_or_of_the_one_asked_for() {
        assert_eq!(offer("add default via ::1").prefix.to_string(), "::/0");
        assert_eq!(offer("add default via 192.0.2.1").prefix.to_string(), "0.0.0.0/0");
        assert!(refusal("add default dev eth0").starts_with("default could be"));
        assert_eq!(
            Line::parse("del default", Some(Family::Ipv6)),
            Ok(Some(Line::Delete("::/0".parse().unwrap())))
        );
    }

    #[test]
    fn an_address_is_a_prefix_of_its_own() {
        assert_eq!(offer("add 10.0.0.1 via 192.0.2.1").prefix.to_string(), "10.0.0.1/32");
        assert_eq!(offer("add 2001:db8::1 dev lo").prefix.to_string(), "2001:db8::1/128");
    }

    #[test]
    fn a_gateway_of_the_other_family_is_taken_as_ip_writes_it() {
        assert_eq!(offer("add 10.0.0.0/8 via inet6 fe80::1 dev eth0").hops()[0].address, {
            Some("fe80::1".parse().unwrap())
        });
    }

    #[test]
    fn blank_lines_and_comments_ask_for_nothing() {
        for line in ["", "  \t", "# add 10.0.0.0/8", "   # x\r"] {
            assert_eq!(Line::parse(line, None), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_refusal_names_the_word_at_fault() {
        for (line, message) in [
            ("replace 10.0.0.0/8", "\"replace\" is neither add nor del"),
            ("add", "a prefix is missing after add"),
            ("add blackhole", "a prefix is missing after blackhole"),
            ("add 10.0.0.0/8", "no way given to \"10.0.0.0/8\": via or dev is missing"),
            (
                "add throw 10.0.0.0/8",
                "\"throw\" is no prefix, nor blackhole, unreachable or prohibit",
            ),
            ("add 10.0.0.0/8 via", "an address is missing after via"),
            ("add 10.0.0.0/8 via eth0", "\"eth0\" is not an address"),
            ("add 10.0.0.0/8 via ::1 via ::2", "via is given twice"),
            (
                "add 10.0.0.0/8 via ::1 proto bird",
                "proto \"bird\" is neither a protocol nor a number",
            ),
            (
                "add 10.0.0.0/8 via ::1 proto static",
                "proto is not a word of add here: the protocol is the registration's",
            ),
            ("add 10.0.0.0/8 via ::1 onlink", "\"onlink\" is not a word of add"),
            ("add 10.0.0.0/8 weight 3", "weight needs via or dev"),
            ("add 10.0.0.0/8 via ::1 weight 300", "weight 300 is not from 1 to 256"),
            (
                "add 10.0.0.0/8 via ::1 metric -1",
                "metric \"-1\" is not a number from 0 to 4294967295",
            ),
            ("add 10.0.0.0/8 via ::1 metric 1 metric 1", "metric is given twice"),
            ("add 10.0.0.0/8 via ::1 views all", "views \"all\" is not unicast, multicast or both"),
            ("add 10.0.0.0/8 nexthop nexthop via ::1", "nexthop needs via or dev"),
            ("add 10.0.0.0/8 nexthop via ::1 nexthop", "nexthop needs via or dev"),
            ("add 10.0.0.0/8 via ::1 nexthop via ::2", "via and dev belong after nexthop here"),
            (
                "add 10.1.0.0/8 via ::1",
                "prefix 10.1.0.0/8 has host bits set, did you mean 10.0.0.0/8",
            ),
            ("add 10.0.0.0/33 via ::1", "\"10.0.0.0/33\": prefix length 33 of 10.0.0.0 is over 32"),
            ("del", "a prefix is missing after del"),
            ("del 10.0.0.0/8 via ::1", "\"via\" is not a word of del"),
            ("add \u{1b}[2J via ::1", "\"\\u{1b}[2J\" is not a prefix like 192.0.2.0/24"),
        ] {
            assert_eq!(refusal(line), message, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(line in "\\PC*") {
            let _ = Line::parse(&line, None);
        }

        #[test]
        fn any_order_of_known_words_is_read_or_refused(
            words in prop::collection::vec(prop::sample::select(vec![
                "add", "del", "blackhole", "default", "10.0.0.0/8", "via", "::1", "dev", "lo",
                "weight", "1", "nexthop", "metric", "views", "both", "#",
            ]), 0..12)
        ) {
            let _ = Line::parse(&words.join(" "), None);
        }
    }
}
