//! Static routes on the wire: a route as `AddRoute` describes it, and what tells it apart.

use std::collections::BTreeMap;

use zbus::OwnedVariant;

use super::{
    convert::detail,
    options::{Options, take_inline},
    wire::Details,
};
use crate::{
    model::{
        ErrorKind, Metric, Preference, Prefix, Protocol, Result, RouteFlags, View, ViewSet, Weight,
        interface_name,
    },
    rib::{InlineNextHop, Rib, StaticKey, StaticMatch, StaticNextHop, StaticRoute, StaticView},
};

/// The dictionary of a static route, without the prefix.
#[derive(Debug)]
pub(super) struct StaticOptions {
    protocol: Option<Protocol>,
    preference: Option<Preference>,
    metric: Option<Metric>,
    flags: Option<RouteFlags>,
    views: Option<ViewSet>,
    via: Option<Vec<InlineNextHop>>,
    interfaces: Option<Vec<String>>,
}

impl StaticOptions {
    pub(super) fn read(dictionary: BTreeMap<String, OwnedVariant>) -> Result<Self> {
        let mut options = Options::new(dictionary, "static-route key");
        let read = Self {
            protocol: options.take("protocol")?.map(Protocol),
            preference: options.take("preference")?.map(Preference),
            metric: options.take("metric")?.map(Metric),
            flags: options.read("flags", RouteFlags::new)?,
            views: options.take("views")?.map(ViewSet),
            via: take_inline(&mut options)?,
            interfaces: options.take("interfaces")?,
        };
        // Only told, and harmless where what was told comes back.
        options.take::<String>("waits")?;
        options.take::<bool>("configured")?;
        options.finish()?;
        Ok(read)
    }

    /// The route to this prefix.
    pub(super) fn route(&self, rib: &Rib, to: Prefix, persistent: bool) -> Result<StaticRoute> {
        Ok(StaticRoute {
            key: StaticKey {
                to,
                protocol: self.protocol.unwrap_or(Protocol::STATIC),
                preference: self.preference.unwrap_or_default(),
                metric: self.metric.unwrap_or_default(),
            },
            flags: self.flags.unwrap_or_default(),
            views: self.views.unwrap_or(View::UNICAST.only()),
            via: self.next_hops(rib)?.unwrap_or_default(),
            persistent,
        })
    }

    /// The routes that are like this.
    pub(super) fn which(&self, rib: &Rib) -> Result<StaticMatch> {
        Ok(StaticMatch {
            protocol: self.protocol,
            preference: self.preference,
            metric: self.metric,
            flags: self.flags,
            views: self.views,
            via: self.next_hops(rib)?,
        })
    }

    /// The next hops, with the names of their interfaces: those given, or else by the numbers.
    fn next_hops(&self, rib: &Rib) -> Result<Option<Vec<StaticNextHop>>> {
        let Some(names) = &self.interfaces else {
            return self.via.as_deref().map(|via| rib.name_interfaces(via)).transpose();
        };
        let via = self.via.as_deref().unwrap_or_default();
        if via.len() != names.len() {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "{} next hops in \"via\", and {} names in \"interfaces\"",
                via.len(),
                names.len()
            )));
        }
        let named = via.iter().zip(names).map(|((key, weight), name)| {
            let interface = match name.as_str() {
                "" => None,
                name => Some(interface_name(name)?),
            };
            Ok(StaticNextHop { address: key.address, interface, weight: *weight })
        });
        named.collect::<Result<_>>().map(Some)
    }
}

/// A static route: prefix, dictionary, whether it is persistent.
pub(super) fn static_info(rib: &Rib, view: &StaticView<'_>) -> (String, Details, bool) {
    let StaticRoute { key, flags, views, via, persistent } = view.route;
    let mut more = Details::new();
    detail(&mut more, "protocol", key.protocol.0);
    detail(&mut more, "preference", key.preference.0);
    detail(&mut more, "metric", key.metric.0);
    detail(&mut more, "flags", u32::from(flags.0));
    detail(&mut more, "views", views.0);
    let hop = |hop: &StaticNextHop| {
        let address = hop.address.map(|address| address.to_string()).unwrap_or_default();
        let interface = hop.interface.as_deref().map(|name| rib.interface_index(name));
        let weight = hop.weight.unwrap_or(Weight::ONE).get();
        (address, interface.unwrap_or_default().0, u32::from(weight))
    };
    detail(&mut more, "via", via.iter().map(hop).collect::<Vec<_>>());
    let names: Vec<String> =
        via.iter().map(|hop| hop.interface.clone().unwrap_or_default()).collect();
    detail(&mut more, "interfaces", names);
    if let Some(why) = view.waits {
        detail(&mut more, "waits", why);
    }
    if view.configured {
        detail(&mut more, "configured", true);
    }
    // What is in the configuration outlives the service as well.
    (key.to.to_string(), more, *persistent || view.configured)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;
    use crate::{
        clock,
        model::{ErrorKind, Family, TableId},
        rib::Policy,
    };

    /// A route that takes as many bytes as one can.
    fn long(number: u32, next_hops: u128) -> StaticRoute {
        let host = |bits: u128| {
            IpAddr::V6(Ipv6Addr::from_bits(!(1 << 127 | u128::from(number) << 8 | bits)))
        };
        let hop = |bits| StaticNextHop {
            address: Some(host(bits)),
            interface: Some("interface-name0".into()),
            weight: Some(Weight::new(256).unwrap()),
        };
        let key = StaticKey {
            to: Prefix::host(host(0)),
            protocol: Protocol::STATIC_NON_DOD,
            preference: Preference(u32::MAX),
            metric: Metric(u32::MAX),
        };
        let via = (0..next_hops).map(hop).collect();
        StaticRoute { key, flags: RouteFlags(8), views: ViewSet(3), via, persistent: true }
    }

    #[test]
    fn as_many_static_routes_as_there_can_be_are_told_in_four_mebibytes() {
        const MOST: usize = 4 << 20;
        let table = TableId::new(0, Family::Ipv6).unwrap();
        for next_hops in [1, 64] {
            let mut rib = Rib::new(Policy::standard());
            let refusal = (0..).find_map(|number| {
                rib.add_static_route(table, long(number, next_hops), clock::now()).err()
            });
            let refusal = refusal.unwrap();
            assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory, "{refusal}");
            let all = rib.static_routes(table).unwrap();
            let told: Vec<_> = all.map(|view| static_info(&rib, &view)).collect();
            let reply = zbus::Message::signal("/", "a.b", "c").build(&(&told,)).unwrap();
            let bytes = reply.data().len();
            assert!((MOST / 8..MOST).contains(&bytes), "{} routes in {bytes} bytes", told.len());
        }
    }
}
