//! A case for the grants, as `CheckPolicy` describes it.

use std::collections::BTreeMap;

use zbus::OwnedVariant;

use super::{manager::lingering, options::Options};
use crate::{
    model::{EntityKey, Family, Preference, Prefix, Protocol, Result, TableId, View, ViewSet},
    rib::{Case, Tenure},
};

pub(super) fn read_case(dictionary: BTreeMap<String, OwnedVariant>) -> Result<Case> {
    let mut options = Options::new(dictionary, "case key");
    let instance: u32 = options.take("instance")?.unwrap_or_default();
    let family: Option<String> = options.take("family")?;
    let to: Option<String> = options.take("prefix")?;
    let to = to.map(|text| text.parse::<Prefix>()).transpose()?;
    let family = match family {
        Some(family) => family.parse()?,
        None => to.map_or(Family::Ipv4, Prefix::family),
    };
    let protocol = options.take("protocol")?.map_or(Protocol::STATIC, Protocol);
    let shared: bool = options.take("shared")?.unwrap_or_default();
    let case = Case {
        key: EntityKey { table: TableId::new(instance, family)?, protocol, protocol_instance: 0 },
        tenure: if shared { Tenure::User } else { Tenure::Connection },
        linger: options.read("linger", lingering)?.flatten(),
        to,
        preference: options.take("preference")?.map(Preference).unwrap_or_default(),
        views: options.take("views")?.map_or(View::UNICAST.only(), ViewSet),
    };
    options.finish()?;
    Ok(case)
}
