//! The file as it is written: which sections there are, with which keys, and what a missing one means.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU8, NonZeroU32},
};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::{OnStop, grants::GrantSection};
use crate::rib::{Limits, StoppedUnit};

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) service: ServiceSection,
    pub(super) fib: Fib,
    pub(super) preferences: BTreeMap<String, u32>,
    pub(super) limits: Limits,
    pub(super) instance: Sections,
    pub(super) grant: Vec<GrantSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ServiceSection {
    pub(super) on_stop: OnStop,
    /// Seconds.
    pub(super) reclaim_time: u32,
    pub(super) stopped_unit: StoppedUnit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Fib {
    pub(super) protocol: NonZeroU8,
    pub(super) metric: NonZeroU32,
    pub(super) next_hop_objects: bool,
}

/// The instances as they are written.
#[derive(Default)]
pub(super) struct Sections(pub(super) Vec<toml::Table>);

impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EachWithAnId;
        impl<'de> Visitor<'de> for EachWithAnId {
            type Value = Sections;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "instances, which are written [[instance]] with an id, and only below that \
                     [instance.import]",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Sections, A::Error> {
                let mut sections = Vec::new();
                while let Some(section) = all.next_element()? {
                    sections.push(section);
                }
                Ok(Sections(sections))
            }
        }
        deserializer.deserialize_any(EachWithAnId)
    }
}

impl Default for ServiceSection {
    fn default() -> Self {
        Self { on_stop: OnStop::default(), reclaim_time: 60, stopped_unit: StoppedUnit::default() }
    }
}

impl Default for Fib {
    fn default() -> Self {
        const PROTOCOL: NonZeroU8 = NonZeroU8::new(82).expect("82 is not 0");
        const METRIC: NonZeroU32 = NonZeroU32::new(82).expect("82 is not 0");
        Self { protocol: PROTOCOL, metric: METRIC, next_hop_objects: true }
    }
}
