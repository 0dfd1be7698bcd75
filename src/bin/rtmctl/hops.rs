//! Next hops by id, looked up once: a table has a million routes over a handful of them.

use std::{collections::HashMap, fmt, net::IpAddr};

use rtmd::{bus::wire::NextHopInfo, client::TableProxy, model::nexthop::Weight};
use serde_json::{Value, json};

use crate::{
    context::{Problem, list, number, text},
    ip_route::KernelHop,
    output::printable,
};

/// A next hop as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NextHop {
    id: u64,
    owner: u64,
    address: String,
    /// Empty when the owner left it to resolution.
    interface: String,
    weight: Weight,
    /// Whether its owner deleted it, so that no packets go there.
    deleted: bool,
    /// Whether packets can be sent to it now.
    viable: bool,
    /// Where it leads in the end, if anywhere; with the share of each in it.
    resolved: Vec<KernelHop>,
    /// The destinations of the routes that lead to it, its own first.
    through: Vec<String>,
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
                let names: Vec<String> = list(&info.more, "resolved-interfaces");
                let weights: Vec<u32> = list(&info.more, "resolved-weights");
                // The one name that is told otherwise belongs to the only way there is.
                let own = Some(interface.as_str()).filter(|_| ways.len() == 1 && names.is_empty());
                let hop = |(place, (gateway, index)): (usize, (String, u32))| {
                    let name = names.get(place).map(String::as_str).or(own);
                    let name = name.filter(|name| !name.is_empty());
                    let weight = weights.get(place).and_then(|weight| Weight::new(*weight).ok());
                    KernelHop {
                        gateway: gateway.parse().ok(),
                        interface: name
                            .map_or_else(|| nameless(index), |name| printable(name).into_owned()),
                        weight: weight.unwrap_or(Weight::ONE),
                    }
                };
                ways.into_iter().enumerate().map(hop).collect()
            }
            // A service that does not tell: what was offered is the best guess.
            None if !interface.is_empty() => {
                let gateway = info.address.parse().ok();
                vec![KernelHop { gateway, interface: interface.clone(), weight: Weight::ONE }]
            }
            None => Vec::new(),
        };
        Self {
            id: info.id,
            owner: info.owner,
            address: printable(&info.address).into_owned(),
            interface,
            weight,
            deleted: info.state == DELETED,
            viable: match info.more.get("viable") {
                Some(viable) => bool::try_from(viable).unwrap_or_default(),
                None => !resolved.is_empty(),
            },
            resolved,
            through: list::<String>(&info.more, "resolved-through")
                .iter()
                .map(|to| printable(to).into_owned())
                .collect(),
        }
    }

    /// What the kernel is told in its place: where it leads in the end.
    pub(crate) fn kernel_hops(&self) -> &[KernelHop] {
        &self.resolved
    }

    /// Its share among the next hops of a route.
    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// The entity it belongs to.
    pub(crate) fn owner(&self) -> u64 {
        self.owner
    }

    /// The neighbouring router; empty when the destination is on the link.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The name of its link; empty when resolution finds it.
    pub(crate) fn interface(&self) -> &str {
        &self.interface
    }

    /// Whether packets can be sent to it now.
    pub(crate) fn is_viable(&self) -> bool {
        self.viable && !self.deleted
    }

    /// What it comes to, as in `through 10.9.0.0/16: 192.0.2.1 dev eth0`.
    pub(crate) fn course(&self) -> String {
        let mut text = String::new();
        for (index, hop) in self.resolved.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            } else if !self.through.is_empty() {
                text += &format!("through {}: ", self.through.join(", "));
            }
            if let Some(gateway) = hop.gateway {
                text += &format!("{gateway} ");
            }
            text += &format!("dev {}", hop.interface);
            if self.resolved.len() > 1 {
                text += &format!(" weight {}", hop.weight.get());
            }
        }
        text
    }

    /// All there is to know, for JSON.
    pub(crate) fn json(&self) -> Value {
        let resolved = self.resolved.iter().map(|hop| {
            json!({
                "via": hop.gateway.map(|gateway| gateway.to_string()),
                "dev": hop.interface,
                "weight": hop.weight.get(),
            })
        });
        json!({
            "id": self.id,
            "via": self.address,
            "dev": self.interface,
            "weight": self.weight.get(),
            "deleted": self.deleted,
            "viable": self.is_viable(),
            "resolved-via": resolved.collect::<Vec<_>>(),
            "resolved-through": self.through,
        })
    }

    fn gateway(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// `via 192.0.2.1 dev eth0`; what resolution found out stands in brackets, as in `via 10.9.9.9
/// (through 10.9.0.0/16: 192.0.2.1 dev eth0)`.
impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address.is_empty(), self.interface.is_empty()) {
            (false, false) => write!(f, "via {} dev {}", self.address, self.interface)?,
            (false, true) => write!(f, "via {}", self.address)?,
            (true, _) => write!(f, "dev {}", self.interface)?,
        }
        if let [hop] = self.resolved.as_slice()
            && hop.gateway == self.gateway()
            && self.through.is_empty()
        {
            if self.interface.is_empty() {
                write!(f, " dev {}", hop.interface)?;
            }
        } else {
            if !self.resolved.is_empty() {
                write!(f, " ({})", self.course())?;
            }
        }
        if self.weight != Weight::ONE {
            write!(f, " weight {}", self.weight.get())?;
        }
        if self.deleted {
            f.write_str(" (deleted)")?;
        }
        Ok(())
    }
}

/// An interface that nobody tells the name of, as `ip` writes one that is gone.
fn nameless(index: u32) -> String {
    format!("if{index}")
}

/// `RTM_NEXTHOP_STATE_DELETED`.
const DELETED: u32 = 1;
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
            owner: 1,
            address: address.into(),
            interface: interface.into(),
            weight: Weight::ONE,
            deleted: false,
            viable: true,
            resolved: resolved.iter().map(hop).collect(),
            through: Vec::new(),
        }
    }

    fn through(destinations: &[&str], resolved: &[&str]) -> NextHop {
        let through = destinations.iter().map(|to| (*to).to_owned()).collect();
        NextHop { through, ..next_hop("10.9.9.9", "", resolved) }
    }

    #[test]
    fn a_next_hop_reads_like_ip_route() {
        for (next_hop, line) in [
            (next_hop("192.0.2.1", "eth0", &["192.0.2.1"]), "via 192.0.2.1 dev eth0"),
            (next_hop("192.0.2.1", "", &["192.0.2.1"]), "via 192.0.2.1 dev eth0"),
            (next_hop("10.9.9.9", "", &["192.0.2.1"]), "via 10.9.9.9 (192.0.2.1 dev eth0)"),
            (next_hop("10.9.9.9", "", &[]), "via 10.9.9.9"),
            (next_hop("", "eth0", &[""]), "dev eth0"),
            (
                NextHop { deleted: true, ..next_hop("192.0.2.1", "eth0", &[]) },
                "via 192.0.2.1 dev eth0 (deleted)",
            ),
            (
                through(&["10.9.0.0/16", "10.8.0.0/16"], &["192.0.2.1"]),
                "via 10.9.9.9 (through 10.9.0.0/16, 10.8.0.0/16: 192.0.2.1 dev eth0)",
            ),
            (
                through(&["10.9.0.0/16"], &["192.0.2.1", "192.0.2.2"]),
                "via 10.9.9.9 (through 10.9.0.0/16: 192.0.2.1 dev eth0 weight 1, \
                 192.0.2.2 dev eth0 weight 1)",
            ),
            (
                through(&["10.9.0.0/16"], &["10.9.9.9"]),
                "via 10.9.9.9 (through 10.9.0.0/16: 10.9.9.9 dev eth0)",
            ),
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
