//! Next hops by id, looked up once: a table has a million routes over a handful of them.

use std::{collections::HashMap, fmt, net::IpAddr};

use rtmd::{bus::wire::NextHopInfo, client::TableProxy, model::nexthop::Weight};
use serde_json::{Value, json};

use crate::{
    context::{Problem, number, text},
    ip_route::KernelHop,
    output::printable,
};

/// A next hop as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NextHop {
    id: u64,
    address: String,
    /// Empty when the owner left it to resolution.
    interface: String,
    weight: Weight,
    /// Where it leads in the end, if anywhere.
    resolved: Vec<KernelHop>,
}

/// The next hops of one table that were needed so far.
pub(crate) struct NextHops {
    table: TableProxy<'static>,
    known: HashMap<u64, NextHop>,
}

impl NextHops {
    /// None known yet.
    pub(crate) fn of(table: TableProxy<'static>) -> Self {
        Self { table, known: HashMap::new() }
    }

    /// The next hops with these ids, less those that were deleted in the meantime.
    pub(crate) async fn find(&mut self, ids: &[u64]) -> Result<Vec<&NextHop>, Problem> {
        // A table where every route has its own must not be held as a whole.
        if self.known.len() > MANY {
            self.known.clear();
        }
        for &id in ids {
            if self.known.contains_key(&id) {
                continue;
            }
            match self.table.get_next_hop_info(id).await.map_err(rtmd::client::Failure::from) {
                Ok(info) => {
                    let next_hop = NextHop::new(info);
                    self.known.insert(id, next_hop);
                }
                Err(rtmd::client::Failure::Refused { .. }) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(ids.iter().filter_map(|id| self.known.get(id)).collect())
    }
}

impl NextHop {
    /// Names of interfaces are the service's: it may be in another network namespace, where the
    /// numbers mean other links.
    fn new(info: NextHopInfo) -> Self {
        let interface = match (text(&info.more, "interface"), info.interface) {
            (Some(name), _) if !name.is_empty() => printable(name).into_owned(),
            (_, 0) => String::new(),
            (_, index) => nameless(index),
        };
        let weight = number(&info.more, "weight").and_then(|weight| weight.try_into().ok());
        let weight = weight.and_then(|weight| Weight::new(weight).ok()).unwrap_or(Weight::ONE);
        let resolved = match info.more.get("resolved-via") {
            Some(value) => {
                let ways: Vec<(String, u32)> = value.clone().try_into().unwrap_or_default();
                // The name that is told belongs to the only way there is.
                let name =
                    Some(interface.clone()).filter(|name| ways.len() == 1 && !name.is_empty());
                let hop = |(gateway, index): (String, u32)| KernelHop {
                    gateway: gateway.parse().ok(),
                    interface: name.clone().unwrap_or_else(|| nameless(index)),
                    weight,
                };
                ways.into_iter().map(hop).collect()
            }
            // A service that does not tell: what was offered is the best guess.
            None if !interface.is_empty() => {
                let gateway = info.address.parse().ok();
                vec![KernelHop { gateway, interface: interface.clone(), weight }]
            }
            None => Vec::new(),
        };
        Self {
            id: info.id,
            address: printable(&info.address).into_owned(),
            interface,
            weight,
            resolved,
        }
    }

    /// What the kernel is told in its place: where it leads in the end.
    pub(crate) fn kernel_hops(&self) -> &[KernelHop] {
        &self.resolved
    }

    /// All there is to know, for JSON.
    pub(crate) fn json(&self) -> Value {
        let resolved = self.resolved.iter().map(|hop| {
            json!({ "via": hop.gateway.map(|gateway| gateway.to_string()), "dev": hop.interface })
        });
        json!({
            "id": self.id,
            "via": self.address,
            "dev": self.interface,
            "weight": self.weight.get(),
            "resolved-via": resolved.collect::<Vec<_>>(),
        })
    }

    fn gateway(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// `via 192.0.2.1 dev eth0`; what resolution found out stands in brackets.
impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address.is_empty(), self.interface.is_empty()) {
            (false, false) => write!(f, "via {} dev {}", self.address, self.interface)?,
            (false, true) => write!(f, "via {}", self.address)?,
            (true, _) => write!(f, "dev {}", self.interface)?,
        }
        if let [hop] = self.resolved.as_slice()
            && hop.gateway == self.gateway()
        {
            if self.interface.is_empty() {
                write!(f, " dev {}", hop.interface)?;
            }
        } else {
            for (index, hop) in self.resolved.iter().enumerate() {
                f.write_str(if index == 0 { " (" } else { ", " })?;
                if let Some(gateway) = hop.gateway {
                    write!(f, "{gateway} ")?;
                }
                write!(f, "dev {}", hop.interface)?;
            }
            if !self.resolved.is_empty() {
                f.write_str(")")?;
            }
        }
        if self.weight != Weight::ONE {
            write!(f, " weight {}", self.weight.get())?;
        }
        Ok(())
    }
}

/// An interface that nobody tells the name of, as `ip` writes one that is gone.
fn nameless(index: u32) -> String {
    format!("if{index}")
}

/// How many next hops are kept before starting over.
const MANY: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn next_hop(address: &str, interface: &str, resolved: &[&str]) -> NextHop {
        let hop = |gateway: &&str| KernelHop {
            gateway: gateway.parse().ok(),
            interface: "eth0".into(),
            weight: Weight::ONE,
        };
        NextHop {
            id: 1,
            address: address.into(),
            interface: interface.into(),
            weight: Weight::ONE,
            resolved: resolved.iter().map(hop).collect(),
        }
    }

    #[test]
    fn a_next_hop_reads_like_ip_route() {
        for (next_hop, line) in [
            (next_hop("192.0.2.1", "eth0", &["192.0.2.1"]), "via 192.0.2.1 dev eth0"),
            (next_hop("192.0.2.1", "", &["192.0.2.1"]), "via 192.0.2.1 dev eth0"),
            (next_hop("10.9.9.9", "", &["192.0.2.1"]), "via 10.9.9.9 (192.0.2.1 dev eth0)"),
            (next_hop("10.9.9.9", "", &[]), "via 10.9.9.9"),
            (next_hop("", "eth0", &[""]), "dev eth0"),
        ] {
            assert_eq!(next_hop.to_string(), line);
        }
    }

    #[test]
    fn the_kernel_is_told_where_a_remote_next_hop_leads() {
        let remote = next_hop("10.9.9.9", "", &["192.0.2.1", "192.0.2.2"]);
        let gateways = remote.kernel_hops().iter().map(|hop| hop.gateway.unwrap().to_string());
        assert_eq!(gateways.collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(next_hop("10.9.9.9", "", &[]).kernel_hops(), []);
    }
}
