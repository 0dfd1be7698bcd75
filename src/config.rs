//! The configuration file: TOML, every key optional, no key ignored.
//!
//! `README.md` shows all of it, with the defaults; a test holds it to that.
//!
//! A file that cannot be read as a whole stops the service. An instance that makes no sense does
//! not: the others work, and registering with it answers `BadConfiguration`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    num::{NonZeroU8, NonZeroU32},
    path::Path,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use crate::{
    model::{Family, InstanceId, KernelProtocol, KernelTable, Preference, Protocol, ViewSet},
    rib::{
        Import, Imports, Instance, InstanceSettings, Levels, Limits, Policy, StoppedUnit,
        ViaDefault, Viability,
    },
};

/// All that is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// `rtm_protocol` of our routes in the kernel, 1 to 255.
    pub fib_protocol: NonZeroU8,
    /// The metric of our routes in the kernel, never 0.
    pub fib_metric: NonZeroU32,
    /// Where routes refer to next-hop objects, as far as the kernel has them.
    pub next_hop_objects: NextHopObjects,
    /// What becomes of our routes in the kernel when the service is told to stop.
    pub on_stop: OnStop,
    /// How long the kernel's routes of an earlier life stay after a start that knows nothing of it.
    pub reclaim_time: Duration,
    /// What the RIB is told.
    pub policy: Policy,
}

/// What becomes of our routes in the kernel when the service is told to stop. When it crashes they stay.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// They stay, and packets go on by them.
    #[default]
    Keep,
    /// They go before the process ends, and the next start puts them back.
    Withdraw,
}

/// Which instances' routes refer to next-hop objects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NextHopObjects {
    all: bool,
    /// Those for which the opposite holds.
    but: BTreeSet<InstanceId>,
}

impl NextHopObjects {
    /// Whether those of this instance do.
    pub fn of(&self, id: InstanceId) -> bool {
        self.all != self.but.contains(&id)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file is not TOML, or has keys or values that do not exist.
    #[error("{0}")]
    Malformed(toml::de::Error),
    /// A value is out of its domain.
    #[error("{0}")]
    Impossible(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[derive(Default)]
struct File {
    service: ServiceSection,
    fib: Fib,
    preferences: BTreeMap<String, u32>,
    limits: Limits,
    instance: Sections,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct ServiceSection {
    on_stop: OnStop,
    /// Seconds.
    reclaim_time: u32,
    stopped_unit: StoppedUnit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Fib {
    protocol: NonZeroU8,
    metric: NonZeroU32,
    next_hop_objects: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct InstanceSection {
    id: u16,
    #[serde(default = "all_families")]
    families: Vec<String>,
    #[serde(default = "standard_views")]
    views: Vec<u8>,
    ipv4_views: Option<Vec<u8>>,
    ipv6_views: Option<Vec<u8>>,
    kernel_table: Option<u32>,
    vrf: Option<String>,
    #[serde(default)]
    interfaces: BTreeSet<String>,
    #[serde(default = "yes")]
    fib: bool,
    next_hop_objects: Option<bool>,
    #[serde(default)]
    viability: ViabilitySetting,
    #[serde(default)]
    resolve_via_default: bool,
    #[serde(default)]
    import: BTreeMap<String, toml::Value>,
}

/// The instances as they are written.
#[derive(Default)]
struct Sections(Vec<toml::Table>);

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

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ViabilitySetting {
    #[default]
    First,
    Ignored,
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

impl Default for Config {
    fn default() -> Self {
        let fib = Fib::default();
        let objects = NextHopObjects { all: fib.next_hop_objects, but: BTreeSet::new() };
        Self::new(ServiceSection::default(), fib, objects, Policy::standard())
    }
}

/// Finds the kernel table of a VRF by its name, or says why there is none.
pub type VrfTable<'f> = &'f dyn Fn(&str) -> Result<u32, String>;

impl Config {
    fn new(
        service: ServiceSection,
        fib: Fib,
        next_hop_objects: NextHopObjects,
        policy: Policy,
    ) -> Self {
        let ServiceSection { on_stop, reclaim_time, .. } = service;
        let reclaim_time = Duration::from_secs(reclaim_time.into());
        let Fib { protocol, metric, .. } = fib;
        Self {
            fib_protocol: protocol,
            fib_metric: metric,
            next_hop_objects,
            on_stop,
            reclaim_time,
            policy,
        }
    }

    /// Reads the file; one that is missing or empty means all defaults.
    ///
    /// # Errors
    /// When it is there and cannot be used, with the line where that can be told.
    pub fn load(path: &Path, vrf_table: VrfTable<'_>) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, vrf_table),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(ConfigError::Unreadable(error)),
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, vrf_table: VrfTable<'_>) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(ConfigError::Malformed)?;
        let protocol = file.fib.protocol;
        // 1 to 4 are the kernel's and the administrator's own.
        if protocol.get() < 5 {
            return Err(impossible(format_args!("fib.protocol {protocol} is not from 5 to 255")));
        }
        let (instances, next_hop_objects) =
            instances(file.instance.0, file.fib.next_hop_objects, vrf_table)?;
        let policy = Policy {
            instances,
            levels: levels(file.preferences)?,
            limits: check_limits(file.limits)?,
            stopped_unit: file.service.stopped_unit,
        };
        Ok(Self::new(file.service, file.fib, next_hop_objects, policy))
    }
}

fn levels(section: BTreeMap<String, u32>) -> Result<Levels, ConfigError> {
    let mut levels = Levels::default();
    for (name, level) in section {
        let level = Preference(level);
        if name == "others" {
            if level == Preference(0) {
                return Err(impossible("preferences.others cannot be 0, the best is 1"));
            }
            levels.others = level;
            continue;
        }
        let protocol = Protocol::parse(&name)
            .ok_or_else(|| impossible(format_args!("preferences.{name} is no protocol")))?;
        levels.set(protocol, level).map_err(impossible)?;
    }
    Ok(levels)
}

fn check_limits(limits: Limits) -> Result<Limits, ConfigError> {
    // A page has to stay far below what a bus takes in one message (32 MiB on dbus-daemon).
    if !(1..=4096).contains(&limits.handles) {
        return Err(impossible(format_args!(
            "limits.max-handles {} is not from 1 to 4096",
            limits.handles
        )));
    }
    // As above: all that a table has are told at once, in up to 500 bytes each.
    if limits.static_routes > 32_768 {
        return Err(impossible(format_args!(
            "limits.static-routes {} is over 32768",
            limits.static_routes
        )));
    }
    // What the kernel takes in one route: its attribute's length has 16 bits.
    if !(1..=256).contains(&limits.next_hops_per_route) {
        return Err(impossible(format_args!(
            "limits.max-next-hops {} is not from 1 to 256",
            limits.next_hops_per_route
        )));
    }
    // As above, with an output for each of 32 methods.
    if !(1..=131_072).contains(&limits.invocation_bytes) {
        return Err(impossible(format_args!(
            "limits.invocation-bytes {} is not from 1 to 131072",
            limits.invocation_bytes
        )));
    }
    Ok(limits)
}

/// The instances, and which of them have next-hop objects, where those that do not say have them or not.
fn instances(
    sections: Vec<toml::Table>,
    with_objects: bool,
    vrf_table: VrfTable<'_>,
) -> Result<(BTreeMap<InstanceId, Instance>, NextHopObjects), ConfigError> {
    let mut objects = NextHopObjects { all: with_objects, but: BTreeSet::new() };
    if sections.is_empty() {
        return Ok((Policy::standard().instances, objects));
    }
    let mut instances = BTreeMap::new();
    let mut kernel_tables = BTreeSet::new();
    for section in sections {
        let id = section.get("id").and_then(toml::Value::as_integer);
        let id = id.and_then(|id| u16::try_from(id).ok()).map(InstanceId).ok_or_else(|| {
            impossible("each [[instance]] needs an id, a whole number from 0 to 65535")
        })?;
        let instance = match instance(section, &mut kernel_tables, vrf_table) {
            Ok((settings, own)) => {
                objects.but.extend(own.filter(|own| *own != with_objects).map(|_| id));
                Instance::Ready(settings)
            }
            Err(fault) => Instance::Broken(fault),
        };
        if instances.insert(id, instance).is_some() {
            return Err(impossible(format_args!("instance {id} is configured twice")));
        }
    }
    Ok((instances, objects))
}

/// Reads a section, or says which key of it cannot be read.
fn read_instance(section: toml::Table) -> Result<InstanceSection, String> {
    let error = match section.clone().try_into() {
        Ok(section) => return Ok(section),
        Err(error) => error,
    };
    let id = section.get("id").cloned();
    let is_at_fault = |key: &str, value: &toml::Value| {
        let mut alone: toml::Table =
            id.clone().map(|id| ("id".to_owned(), id)).into_iter().collect();
        alone.insert(key.to_owned(), value.clone());
        alone.try_into::<InstanceSection>().is_err()
    };
    let fault = section.iter().find(|(key, value)| is_at_fault(key, value));
    let Some((key, value)) = fault else { return Err(error.message().to_owned()) };
    Err(match section_of(key, value) {
        Some(section) => format!(
            "{key} belongs to [{section}]: all that follows [[instance]] is the instance's, until the \
             next section begins"
        ),
        None => format!("{key}: {}", error.message()),
    })
}

/// The section that a key is written in which an instance does not have, if there is one: TOML takes what
/// is added at the end of the file for a part of what is there.
fn section_of(key: &str, value: &toml::Value) -> Option<&'static str> {
    let is_one = |section: &str, of: &str| {
        let alone = toml::Table::from_iter([(of.to_owned(), value.clone())]);
        let file = toml::Table::from_iter([(section.to_owned(), alone.into())]);
        file.try_into::<File>().is_ok()
    };
    let is_whole = || {
        let file = toml::Table::from_iter([(key.to_owned(), value.clone())]);
        file.try_into::<File>().is_ok()
    };
    let sections = ["service", "fib", "preferences", "limits"];
    if let Some(section) = sections.into_iter().find(|section| *section == key) {
        return is_whole().then_some(section);
    }
    let is_protocol = key == "others" || Protocol::parse(key).is_some();
    sections.into_iter().find(|section| match *section {
        "preferences" => is_protocol && value.is_integer(),
        section => is_one(section, key),
    })
}

/// The settings in a section, or what makes no sense in it.
fn instance(
    section: toml::Table,
    kernel_tables: &mut BTreeSet<u32>,
    vrf_table: VrfTable<'_>,
) -> Result<(InstanceSettings, Option<bool>), String> {
    let section = read_instance(section)?;
    if !section.fib && section.next_hop_objects.is_some() {
        return Err("next-hop-objects is set, and fib = false".into());
    }
    let mut families = BTreeMap::new();
    for name in &section.families {
        let family: Family = name.parse().map_err(|error: crate::model::Error| error.message)?;
        families.insert(family, views("views", &section.views)?);
    }
    for (family, own) in [(Family::Ipv4, &section.ipv4_views), (Family::Ipv6, &section.ipv6_views)]
    {
        let Some(own) = own else { continue };
        let key = format!("{family}-views");
        let Some(all) = families.get_mut(&family) else {
            return Err(format!("{key} is set, and {family} is not in families"));
        };
        *all = views(&key, own)?;
    }
    if families.is_empty() {
        return Err("families is empty".into());
    }
    let configured = match (section.kernel_table, &section.vrf) {
        (Some(table), Some(vrf)) => {
            return Err(format!(
                "kernel-table {table} and vrf {vrf:?} are both set: the VRF's table is the instance's"
            ));
        }
        (None, Some(vrf)) => Some(vrf_table(vrf)?),
        (table, None) => table,
    };
    let kernel_table = match (section.fib, configured, section.id) {
        (false, None, _) => None,
        (false, Some(table), _) => {
            let key = if section.vrf.is_some() { "vrf" } else { "kernel-table" };
            return Err(format!("{key} is set (table {table}), and fib = false"));
        }
        (true, Some(0 | 253 | 255), _) => {
            return Err("kernel-table cannot be 0, 253 or 255, which are the kernel's own".into());
        }
        (true, Some(table), _) => Some(KernelTable(table)),
        (true, None, 0) => Some(KernelTable::MAIN),
        (true, None, _) => return Err("kernel-table or vrf is needed, or fib = false".into()),
    };
    if let Some(KernelTable(table)) = kernel_table
        && !kernel_tables.insert(table)
    {
        return Err(format!("kernel-table {table} belongs to another instance already"));
    }
    let viability = match section.viability {
        ViabilitySetting::First => Viability::First,
        ViabilitySetting::Ignored => Viability::Ignored,
    };
    let via_default = match section.resolve_via_default {
        false => ViaDefault::Refused,
        true => ViaDefault::Allowed,
    };
    for name in &section.interfaces {
        if !(1..=15).contains(&name.len()) {
            return Err(format!("interfaces has {name:?}, and a name has 1 to 15 bytes"));
        }
    }
    let interfaces = section.interfaces;
    let imports = imports(section.import)?;
    let settings =
        InstanceSettings { families, viability, via_default, kernel_table, interfaces, imports };
    Ok((settings, section.next_hop_objects))
}

/// What is to become of each protocol's routes: a word, or the preference that importing is to give.
fn imports(section: BTreeMap<String, toml::Value>) -> Result<Imports, String> {
    let mut imports = Imports::default();
    for (name, setting) in section {
        let protocol = KernelProtocol::parse(&name)
            .ok_or_else(|| format!("import.{name} is no protocol of the kernel's"))?;
        let preference = setting.as_integer().and_then(|level| u32::try_from(level).ok());
        let import = match (setting.as_str(), preference) {
            (Some("ignore"), _) => Import::Ignore,
            (Some("observe"), _) => Import::Observe,
            (Some("import"), _) => Import::Choose(Preference(0)),
            (None, Some(level @ 1..)) => Import::Choose(Preference(level)),
            _ => {
                return Err(format!(
                    "import.{name} is {}, not \"ignore\", \"observe\", \"import\" or a \
                     preference from 1",
                    serde_json::json!(setting)
                ));
            }
        };
        imports.set(protocol, import);
    }
    Ok(imports)
}

fn views(key: &str, ids: &[u8]) -> Result<ViewSet, String> {
    let mut views = ViewSet::NONE;
    for id in ids {
        let view = 1u32.checked_shl((*id).into()).map(ViewSet);
        views = views.union(view.ok_or_else(|| format!("view {id} is not from 0 to 31"))?);
    }
    if views.is_empty() {
        return Err(format!("{key} is empty"));
    }
    Ok(views)
}

fn impossible(what: impl fmt::Display) -> ConfigError {
    ConfigError::Impossible(what.to_string())
}

fn all_families() -> Vec<String> {
    Family::ALL.map(|family| family.name().to_owned()).into()
}

fn standard_views() -> Vec<u8> {
    vec![0, 1]
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vrf_table(name: &str) -> Result<u32, String> {
        match name {
            "red" => Ok(1001),
            _ => Err(format!("there is no VRF {name}")),
        }
    }

    fn fault(text: &str) -> String {
        Config::parse(text, &vrf_table).expect_err(text).to_string()
    }

    fn broken(text: &str, id: u16) -> String {
        match &Config::parse(text, &vrf_table).unwrap().policy.instances[&InstanceId(id)] {
            Instance::Broken(fault) => fault.clone(),
            Instance::Ready(settings) => panic!("{settings:?}"),
        }
    }

    #[test]
    fn an_empty_file_and_a_missing_one_mean_all_defaults() {
        assert_eq!(Config::parse("", &vrf_table).unwrap(), Config::default());
        assert_eq!(
            Config::load(Path::new("/nonexistent/rtmd.toml"), &vrf_table).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn the_file_in_the_readme_says_every_default() {
        let readme = include_str!("../README.md").lines();
        let section = readme.skip_while(|line| *line != "## Configure it");
        let lines =
            section.skip_while(|line| *line != "```toml").skip(1).take_while(|line| *line != "```");
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(Config::parse(&text, &vrf_table).unwrap(), Config::default());
        assert_eq!(text.matches(" = ").count(), 74, "a key was added or removed: say so there");
    }

    #[test]
    fn a_stop_keeps_or_withdraws_and_nothing_else() {
        let on_stop = |text| Config::parse(text, &vrf_table).unwrap().on_stop;
        assert_eq!(on_stop(""), OnStop::Keep);
        assert_eq!(on_stop("[service]\non-stop = \"withdraw\""), OnStop::Withdraw);
        let fault = fault("[service]\non-stop = \"flush\"");
        assert!(fault.contains("`keep` or `withdraw`"), "{fault}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let fault = fault("[fib]\nprotokoll = 82\n");
        assert!(fault.contains("line 2") && fault.contains("protokoll"), "{fault}");
    }

    #[test]
    fn how_an_instance_is_written_is_told() {
        for text in ["\n[instance.import]\nzebra = 5\n", "\n[instance]\nid = 0\n"] {
            let fault = fault(text);
            assert!(
                fault.contains("line 2") && fault.contains("[[instance]] with an id"),
                "{fault}"
            );
        }
    }

    #[test]
    fn impossible_values_are_named() {
        assert_eq!(fault("[fib]\nprotocol = 2"), "fib.protocol 2 is not from 5 to 255");
        assert_eq!(fault("[preferences]\nnosuch = 2"), "preferences.nosuch is no protocol");
        assert_eq!(
            fault("[limits]\nmax-handles = 0"),
            "limits.max-handles 0 is not from 1 to 4096"
        );
        let fault_of_statics = fault("[limits]\nstatic-routes = 32769");
        assert_eq!(fault_of_statics, "limits.static-routes 32769 is over 32768");
        assert_eq!(
            fault("[[instance]]\nid = 1\nfib = false\n[[instance]]\nid = 1\nfib = false"),
            "instance 1 is configured twice"
        );
    }

    #[test]
    fn an_instance_that_makes_no_sense_leaves_the_others_alone() {
        let text = "[[instance]]\nid = 0\n[[instance]]\nid = 7\nkernel-table = 254\n";
        assert_eq!(broken(text, 7), "kernel-table 254 belongs to another instance already");
        let config = Config::parse(text, &vrf_table).unwrap();
        assert!(matches!(config.policy.instances[&InstanceId(0)], Instance::Ready(_)));
    }

    #[test]
    fn an_instance_has_next_hop_objects_as_it_says_itself_or_as_all_have() {
        let objects = |all: &str| {
            let text = format!(
                "{all}[[instance]]\nid = 0\n[[instance]]\nid = 1\nkernel-table = 1\n\
                 next-hop-objects = false\n[[instance]]\nid = 2\nkernel-table = 2\n\
                 next-hop-objects = true\n"
            );
            let objects = Config::parse(&text, &vrf_table).unwrap().next_hop_objects;
            [0, 1, 2].map(|id| objects.of(InstanceId(id)))
        };
        assert_eq!(objects(""), [true, false, true]);
        assert_eq!(objects("[fib]\nnext-hop-objects = false\n"), [false, false, true]);
    }

    #[test]
    fn faults_of_instances_are_named() {
        let fault = |line: &str| broken(&format!("[[instance]]\nid = 3\n{line}\n"), 3);
        assert_eq!(fault(""), "kernel-table or vrf is needed, or fib = false");
        assert_eq!(fault("vrf = \"blue\""), "there is no VRF blue");
        assert!(fault("vrf = \"red\"\nkernel-table = 7").contains("both set"));
        assert_eq!(
            fault("fib = false\nkernel-table = 9"),
            "kernel-table is set (table 9), and fib = false"
        );
        assert_eq!(
            fault("fib = false\nnext-hop-objects = true"),
            "next-hop-objects is set, and fib = false"
        );
        assert_eq!(fault("fib = false\nviews = [32]"), "view 32 is not from 0 to 31");
        assert_eq!(fault("fib = false\nfamilies = []"), "families is empty");
        assert_eq!(fault("fib = false\nipv6-views = []"), "ipv6-views is empty");
        let alone = "fib = false\nfamilies = [\"ipv4\"]\nipv6-views = [0]";
        assert_eq!(fault(alone), "ipv6-views is set, and ipv6 is not in families");
        assert_eq!(
            fault("fib = false\nimport = { nosuch = 5 }"),
            "import.nosuch is no protocol of the kernel's"
        );
        assert_eq!(
            fault("fib = false\nimport = { static = 0 }"),
            "import.static is 0, not \"ignore\", \"observe\", \"import\" or a preference from 1"
        );
        assert_eq!(fault("fib = 3"), "fib: invalid type: integer `3`, expected a boolean");
        let no_list = fault("fib = false\ninterfaces = \"ua\"");
        assert_eq!(no_list, "interfaces: invalid type: string \"ua\", expected a sequence");
    }

    #[test]
    fn what_was_meant_for_a_section_and_stands_in_an_instance_is_told_with_its_section() {
        for (line, section) in [
            ("on-stop = \"withdraw\"", "service"),
            ("metric = 83", "fib"),
            ("ospf = 9", "preferences"),
            ("max-handles = 9", "limits"),
            ("limits.routes = 9", "limits"),
            ("fib.metric = 83", "fib"),
            ("service.on-stop = \"keep\"", "service"),
        ] {
            let fault = broken(&format!("[[instance]]\nid = 0\n{line}\n"), 0);
            assert!(fault.contains(&format!(" belongs to [{section}]")), "{line}: {fault}");
        }
        let fault = broken("[[instance]]\nid = 0\nviewz = [3]\n", 0);
        assert!(fault.starts_with("viewz: unknown field"), "{fault}");
    }

    #[test]
    fn what_is_imported_is_said_by_name_or_number_and_the_rest_stays() {
        let text = "[[instance]]\nid = 0\n[instance.import]\nzebra = \"observe\"\nstatic = 5\n\
                    kernel = \"ignore\"\n99 = \"import\"\n";
        let config = Config::parse(text, &vrf_table).unwrap();
        let Instance::Ready(settings) = &config.policy.instances[&InstanceId(0)] else {
            panic!("{config:?}")
        };
        let of = |name| settings.imports.of(KernelProtocol::parse(name).unwrap());
        assert_eq!(of("zebra"), Import::Observe);
        assert_eq!(of("static"), Import::Choose(Preference(5)));
        assert_eq!(of("kernel"), Import::Ignore);
        assert_eq!(of("openr"), Import::Choose(Preference(0)));
        assert_eq!((of("dhcp"), of("bird")), (Import::Observe, Import::Ignore));
    }
}
