//! The instances: each `[[instance]]` of the file for itself, so that one that makes no sense leaves the
//! others alone.
//!
//! TOML takes what is added at the end of a file for a part of the section before it, which is an instance
//! where there are any. Whoever does that is told which section a key belongs to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{ConfigError, NextHopObjects, VrfTable, file::File, impossible};
use crate::{
    model::{Family, InstanceId, KernelProtocol, KernelTable, Preference, Protocol, ViewSet},
    rib::{Import, Imports, Instance, InstanceSettings, Policy, ViaDefault, Viability},
};

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

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ViabilitySetting {
    #[default]
    First,
    Ignored,
}

/// The instances, and which of them have next-hop objects, where those that do not say have them or not.
pub(super) fn instances(
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

pub(super) fn views(key: &str, ids: &[u8]) -> Result<ViewSet, String> {
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
    use super::{
        super::{
            Config,
            testing::{broken, fault, vrf_table},
        },
        *,
    };

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
