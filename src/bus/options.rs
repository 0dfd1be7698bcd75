//! Reading `a{sv}`: each key is taken once with its type, and what is left over is refused.
//!
//! ```text
//! let mut options = Options::new(dictionary, "registration option");
//! let label: Option<String> = options.take("label")?;
//! options.finish()?;
//! ```

use std::{collections::BTreeMap, num::NonZeroU64, str::FromStr};

use zbus::{OwnedObjectPath, OwnedVariant, wire::Type};

use crate::{
    model::{
        Error, ErrorKind, InterfaceIndex, ListId, Metric, NextHopId, NextHopKey, Preference,
        Prefix, Result, RouteFlags, RouteId, Span, View, ViewSet, Weight, quoted,
    },
    rib::{Amendment, InlineNextHop, Offer, OfferedNextHops},
};

/// A dictionary that is being read.
#[derive(Debug)]
pub(super) struct Options {
    left: BTreeMap<String, OwnedVariant>,
    what: &'static str,
}

/// Finds the route list of the caller's that an object is.
pub(super) trait FindList: Fn(&OwnedObjectPath) -> Result<ListId> {}

impl<F: Fn(&OwnedObjectPath) -> Result<ListId>> FindList for F {}

/// A route as `AddRoute` describes it, without the prefix.
#[derive(Debug)]
pub(super) struct RouteOptions {
    neighbour: Option<NextHopId>,
    preference: Preference,
    metric: Metric,
    flags: RouteFlags,
    views: ViewSet,
    next_hops: NextHops,
    ttl: Span,
    private: Vec<u8>,
    list: Option<ListId>,
}

/// What `UpdateRoute` is to change.
#[derive(Debug)]
pub(super) struct RouteChanges {
    to: Option<Prefix>,
    generation: Option<u64>,
    neighbour: Option<Option<NextHopId>>,
    preference: Option<Preference>,
    metric: Option<Metric>,
    views: Option<ViewSet>,
    next_hops: Option<NextHops>,
    ttl: Option<Span>,
    private: Option<Vec<u8>>,
    list: Option<ListId>,
}

#[derive(Debug)]
enum NextHops {
    Ids(Vec<NextHopId>),
    Inline(Vec<InlineNextHop>),
}

impl Options {
    /// `what` names the keys in errors: "route key", "registration option".
    pub(super) fn new(dictionary: BTreeMap<String, OwnedVariant>, what: &'static str) -> Self {
        Self { left: dictionary, what }
    }

    /// The value under a key, if the key is there.
    pub(super) fn take<T>(&mut self, key: &str) -> Result<Option<T>>
    where
        T: TryFrom<OwnedVariant> + Type,
    {
        let Some(value) = self.left.remove(key) else { return Ok(None) };
        let signature = value.value_signature().to_string();
        let shown = shown(&value);
        match T::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(ErrorKind::InvalidParameter.because(format_args!(
                "{} \"{key}\"{shown} cannot have the type {signature}, it has to be {}",
                self.what,
                T::SIGNATURE
            ))),
        }
    }

    /// As [`Options::take`], and then what `read` makes of the value; its refusal names the key.
    pub(super) fn read<T, U>(
        &mut self,
        key: &str,
        read: impl FnOnce(T) -> Result<U>,
    ) -> Result<Option<U>>
    where
        T: TryFrom<OwnedVariant> + Type,
    {
        let what = self.what;
        let named = |error: Error| {
            let Error { kind, message } = error;
            kind.because(format_args!("{what} \"{key}\": {message}"))
        };
        self.take(key)?.map(|value| read(value).map_err(named)).transpose()
    }

    /// As [`Options::read`], of text.
    pub(super) fn parse<U: FromStr<Err = Error>>(&mut self, key: &str) -> Result<Option<U>> {
        self.read(key, |text: String| text.parse())
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.first_key_value() {
            Some((key, _)) => Err(ErrorKind::InvalidParameter.because(format_args!(
                "there is no {} {}",
                self.what,
                quoted(key)
            ))),
            None => Ok(()),
        }
    }
}

impl NextHops {
    /// `next-hops` or `via`, if either is there.
    fn take(options: &mut Options) -> Result<Option<Self>> {
        let ids = options.read("next-hops", |ids: Vec<u64>| next_hop_ids(&ids))?;
        match (ids, take_inline(options)?) {
            (Some(_), Some(_)) => Err(ErrorKind::InvalidParameter
                .because("route keys \"next-hops\" and \"via\" exclude each other")),
            (Some(ids), None) => Ok(Some(Self::Ids(ids))),
            (None, inline) => Ok(inline.map(Self::Inline)),
        }
    }

    fn offered(&self) -> OfferedNextHops<'_> {
        match self {
            Self::Ids(ids) => OfferedNextHops::Ids(ids.into()),
            Self::Inline(inline) => OfferedNextHops::Inline(inline.into()),
        }
    }
}

impl RouteOptions {
    pub(super) fn read(
        dictionary: BTreeMap<String, OwnedVariant>,
        find_list: impl FindList,
    ) -> Result<Self> {
        let mut options = Options::new(dictionary, "route key");
        let next_hops = NextHops::take(&mut options)?;
        let neighbour: Option<u64> = options.take("neighbour")?;
        let read = Self {
            neighbour: neighbour.and_then(NonZeroU64::new).map(NextHopId),
            preference: Preference(options.take("preference")?.unwrap_or_default()),
            metric: Metric(options.take("metric")?.unwrap_or_default()),
            flags: options.read("flags", RouteFlags::new)?.unwrap_or_default(),
            views: options.take("views")?.map_or(View::UNICAST.only(), ViewSet),
            next_hops: next_hops.unwrap_or(NextHops::Ids(Vec::new())),
            ttl: options.read("ttl", Span::from_millis)?.unwrap_or(Span::FOREVER),
            private: options.take("private")?.unwrap_or_default(),
            list: take_list(&mut options, find_list)?,
        };
        options.finish()?;
        Ok(read)
    }

    /// The offer of this route to a prefix.
    pub(super) fn to(&self, prefix: Prefix) -> Offer<'_> {
        Offer {
            to: prefix,
            neighbour: self.neighbour,
            preference: self.preference,
            metric: self.metric,
            flags: self.flags,
            views: self.views,
            next_hops: self.next_hops.offered(),
            ttl: self.ttl,
            private: &self.private,
            list: self.list,
        }
    }
}

impl RouteChanges {
    pub(super) fn read(
        dictionary: BTreeMap<String, OwnedVariant>,
        find_list: impl FindList,
    ) -> Result<Self> {
        let mut options = Options::new(dictionary, "route key");
        let neighbour: Option<u64> = options.take("neighbour")?;
        let read = Self {
            to: options.parse("destination")?,
            generation: options.take("generation")?,
            neighbour: neighbour.map(|id| NonZeroU64::new(id).map(NextHopId)),
            preference: options.take("preference")?.map(Preference),
            metric: options.take("metric")?.map(Metric),
            views: options.take("views")?.map(ViewSet),
            next_hops: NextHops::take(&mut options)?,
            ttl: options.read("ttl", Span::from_millis)?,
            private: options.take("private")?,
            list: take_list(&mut options, find_list)?,
        };
        if options.take::<u32>("flags")?.is_some() {
            return Err(ErrorKind::InvalidParameter
                .because("an update cannot change \"flags\": offer the route again for that"));
        }
        options.finish()?;
        Ok(read)
    }

    pub(super) fn amendment(&self) -> Amendment<'_> {
        Amendment {
            to: self.to,
            generation: self.generation,
            neighbour: self.neighbour,
            preference: self.preference,
            metric: self.metric,
            views: self.views,
            next_hops: self.next_hops.as_ref().map(NextHops::offered),
            ttl: self.ttl,
            private: self.private.as_deref(),
            list: self.list,
        }
    }
}

/// A value in an error, if it is short: ` "ten"`, or nothing for what is made of several.
fn shown(value: &OwnedVariant) -> String {
    match (value.downcast_ref::<&str>(), value.value_signature().to_string().len()) {
        (Ok(text), _) => format!(" {}", quoted(text)),
        // Written like `uint64 10`.
        (Err(_), 1) => format!(" {}", value.to_string().rsplit(' ').next().unwrap_or_default()),
        _ => String::new(),
    }
}

/// `list`, the object of a route list.
fn take_list(options: &mut Options, find: impl FindList) -> Result<Option<ListId>> {
    options.read("list", |path: OwnedObjectPath| find(&path))
}

/// Ids of next hops as a client gives them.
pub(super) fn next_hop_ids(ids: &[u64]) -> Result<Vec<NextHopId>> {
    ids.iter().map(|id| next_hop_id(*id)).collect()
}

/// The id of a route as a client gives it.
pub(super) fn route_id(id: u64) -> Result<RouteId> {
    NonZeroU64::new(id)
        .map(RouteId)
        .ok_or_else(|| ErrorKind::InvalidHandle.because("there is no route 0"))
}

/// Ids of routes as a client gives them.
pub(super) fn route_ids(ids: &[u64]) -> Result<Vec<RouteId>> {
    ids.iter().map(|id| route_id(*id)).collect()
}

/// The id of a next hop as a client gives it.
pub(super) fn next_hop_id(id: u64) -> Result<NextHopId> {
    NonZeroU64::new(id)
        .map(NextHopId)
        .ok_or_else(|| ErrorKind::InvalidHandle.because("there is no next hop 0"))
}

/// A next hop's key as a client gives it: an address, or `""`, and an interface, or 0.
pub(super) fn next_hop_key(address: &str, interface: u32) -> Result<NextHopKey> {
    let address = match address {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            ErrorKind::InvalidParameter.because(format_args!("{} is not an address", quoted(text)))
        })?),
    };
    Ok(NextHopKey { address, interface: InterfaceIndex(interface) })
}

/// `via`, with weights or without.
pub(super) fn take_inline(options: &mut Options) -> Result<Option<Vec<InlineNextHop>>> {
    let weighted =
        options.left.get("via").is_some_and(|via| via.value_signature().to_string() == "a(suu)");
    if weighted {
        let read = |(address, interface, weight): (String, u32, u32)| {
            Ok((next_hop_key(&address, interface)?, Some(Weight::new(weight)?)))
        };
        return options.read("via", |via: Vec<_>| via.into_iter().map(read).collect());
    }
    let read = |(address, interface): (String, u32)| Ok((next_hop_key(&address, interface)?, None));
    options.read("via", |via: Vec<_>| via.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    fn read(entries: impl IntoIterator<Item = (&'static str, Variant<'static>)>) -> Result<String> {
        let dictionary = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), OwnedVariant::try_from(value).unwrap()))
            .collect();
        let no_list = |path: &OwnedObjectPath| panic!("{path}");
        RouteOptions::read(dictionary, no_list).map(|options| format!("{:?}", options.next_hops))
    }

    #[test]
    fn via_is_read_with_weights_and_without() {
        let plain = read([("via", Variant::from(vec![("192.0.2.1", 3u32)]))]).unwrap();
        assert!(plain.contains("192.0.2.1") && plain.contains("None"), "{plain}");
        let weighted = read([("via", Variant::from(vec![("192.0.2.1", 3u32, 7u32)]))]).unwrap();
        assert!(weighted.contains("Weight(7)"), "{weighted}");
    }

    #[test]
    fn an_unknown_key_is_named() {
        let refusal = read([("colour", Variant::from(1u32))]).unwrap_err();
        assert_eq!(refusal.message, "there is no route key \"colour\"");
    }

    #[test]
    fn a_wrong_type_is_named() {
        let refusal = read([("metric", Variant::from("ten"))]).unwrap_err();
        assert_eq!(
            refusal.message,
            "route key \"metric\" \"ten\" cannot have the type s, it has to be u"
        );
        let refusal = read([("via", Variant::from("192.0.2.1"))]).unwrap_err();
        let said = "route key \"via\" \"192.0.2.1\" cannot have the type s, it has to be a(su)";
        assert_eq!(refusal.message, said);
        let refusal = read([("metric", Variant::from(10u64))]).unwrap_err();
        let said = "route key \"metric\" 10 cannot have the type t, it has to be u";
        assert_eq!(refusal.message, said);
        let refusal = read([("ttl", Variant::from(vec![1u32]))]).unwrap_err();
        assert_eq!(refusal.message, "route key \"ttl\" cannot have the type au, it has to be u");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_key() {
        for (key, value, said) in [
            ("flags", Variant::from(65536u32), "route flags 0x10000 have more than 16 bits"),
            ("ttl", Variant::from(0u32), "a time of 0 milliseconds"),
            (
                "via",
                Variant::from(vec![("192.0.2.1", 0u32, 257u32)]),
                "weight 257 is not from 1 to 256",
            ),
            (
                "via",
                Variant::from(vec![("192.0.2.1/32", 0u32)]),
                "\"192.0.2.1/32\" is not an address",
            ),
            ("next-hops", Variant::from(vec![0u64]), "there is no next hop 0"),
        ] {
            let refusal = read([(key, value)]).unwrap_err();
            assert_eq!(refusal.message, format!("route key \"{key}\": {said}"));
        }
    }
}
