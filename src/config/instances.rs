//! The instances: each `[[instance]]` of the file for itself, so that one that makes no sense leaves the
//! others alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    NextHopObjects, VrfTable,
    fault::Place,
    section::{Said, Section},
    tree::Value,
};
use crate::{
    model::{
        Family, InstanceId, KernelProtocol, KernelTable, Preference, ViewSet, interface_name,
        quoted,
    },
    rib::{Import, Imports, Instance, InstanceSettings, Policy, ViaDefault, Viability},
};

/// The instances, and which of them have next-hop objects, where those that do not say have them or not.
pub(super) fn instances(
    file: &mut Section<'_>,
    with_objects: bool,
    vrf_table: VrfTable<'_>,
) -> (BTreeMap<InstanceId, Instance>, NextHopObjects) {
    let mut objects = NextHopObjects { all: with_objects, but: BTreeSet::new() };
    let sections = file.sections(
        "instance",
        "instances, which are written [[instance]] with an id, and only below that [instance.import]",
    );
    if sections.is_empty() {
        return (Policy::standard().instances, objects);
    }
    let mut instances = BTreeMap::new();
    let mut kernel_tables = BTreeSet::new();
    for Said { value: table, place } in sections {
        let findings = file.findings().part();
        let mut section = Section::new("instance", "", place.clone(), table, &findings);
        let Some(id) = section.number("id", 0..=u16::MAX.into()) else {
            let what = "each [[instance]] needs an id, a whole number from 0 to 65535";
            file.refuse(&place, what);
            continue;
        };
        let id = InstanceId(u16::try_from(id.value).unwrap_or_default());
        let (settings, own) = instance(section, id, &mut kernel_tables, vrf_table);
        let instance = if findings.is_empty() {
            objects.but.extend(own.filter(|own| *own != with_objects).map(|_| id));
            Instance::Ready(settings)
        } else {
            let fault = findings.sentences();
            file.findings().add_of_instance(id, findings);
            Instance::Broken(fault)
        };
        instances.insert(id, instance);
    }
    (instances, objects)
}

/// The settings in a section, and whether its routes have next-hop objects if it says that.
fn instance(
    mut section: Section<'_>,
    id: InstanceId,
    kernel_tables: &mut BTreeSet<u32>,
    vrf_table: VrfTable<'_>,
) -> (InstanceSettings, Option<bool>) {
    let families = families(&mut section);
    let fib = section.flag("fib").is_none_or(|fib| fib.value);
    let objects = section.flag("next-hop-objects");
    if let Some(Said { place, .. }) = objects.as_ref().filter(|_| !fib) {
        section.refuse(place, "next-hop-objects is set, and fib = false");
    }
    let (number, vrf) = (section.number("kernel-table", 0..=u32::MAX), section.text("vrf"));
    // What is missing may only be what is wrong.
    let kernel_table = match section.findings().is_empty() {
        true => kernel_table(&section, id, fib, number, vrf, vrf_table),
        false => None,
    };
    if let Some((KernelTable(table), place)) = &kernel_table
        && !kernel_tables.insert(*table)
    {
        section.refuse(
            place,
            format_args!("kernel-table {table} belongs to another instance already"),
        );
    }
    let words = [("first", Viability::First), ("ignored", Viability::Ignored)];
    let viability = section.word("viability", &words).map_or(Viability::First, |said| said.value);
    let via_default = match section.flag("resolve-via-default") {
        Some(Said { value: true, .. }) => ViaDefault::Allowed,
        _ => ViaDefault::Refused,
    };
    let mut interfaces = BTreeSet::new();
    for Said { value: name, place } in
        section.texts("interfaces").map_or_else(Vec::new, |it| it.value)
    {
        match interface_name(&name) {
            Ok(name) => _ = interfaces.insert(name),
            Err(error) => section.refuse(&place, format_args!("interfaces: {}", error.message)),
        }
    }
    let imports = imports(section.section("import", "instance.import", "import."));
    section.finish();
    let kernel_table = kernel_table.map(|(table, _)| table);
    let settings =
        InstanceSettings { families, viability, via_default, kernel_table, interfaces, imports };
    (settings, objects.map(|said| said.value))
}

/// The families that there are tables for, each with its views.
fn families(section: &mut Section<'_>) -> BTreeMap<Family, ViewSet> {
    let names = section.texts("families");
    let all = views(section, "views").map_or(ViewSet(3), |views| views.value);
    let mut families = BTreeMap::new();
    match names {
        None => families.extend(Family::ALL.map(|family| (family, all))),
        Some(Said { value: names, place }) => {
            for Said { value: name, place } in &names {
                match name.parse() {
                    Ok(family) => _ = families.insert(family, all),
                    Err(crate::model::Error { message, .. }) => {
                        section.refuse(place, format_args!("families: {message}"));
                    }
                }
            }
            if names.is_empty() {
                section.refuse(&place, "families is empty");
            }
        }
    }
    for (family, key) in [(Family::Ipv4, "ipv4-views"), (Family::Ipv6, "ipv6-views")] {
        let Some(own) = views(section, key) else { continue };
        match families.get_mut(&family) {
            Some(all) => *all = own.value,
            None => section
                .refuse(&own.place, format_args!("{key} is set, and {family} is not in families")),
        }
    }
    families
}

/// Views by their numbers, at least one.
pub(super) fn views(section: &mut Section<'_>, key: &str) -> Option<Said<ViewSet>> {
    let Said { value: ids, place } = section.numbers(key, 0..=31)?;
    if ids.is_empty() && section.findings().is_empty() {
        section.refuse(&place, format_args!("{key} is empty"));
    }
    let value = ids.into_iter().fold(ViewSet::NONE, |all, id| {
        all.union(1u32.checked_shl(id).map_or(ViewSet::NONE, ViewSet))
    });
    Some(Said { value, place })
}

/// The table of the kernel, with where it is said, or what is wrong with it.
fn kernel_table(
    section: &Section<'_>,
    id: InstanceId,
    fib: bool,
    number: Option<Said<u32>>,
    vrf: Option<Said<String>>,
    vrf_table: VrfTable<'_>,
) -> Option<(KernelTable, Place)> {
    let key = if vrf.is_some() { "vrf" } else { "kernel-table" };
    let (table, place) = match (number, vrf) {
        (Some(Said { value: table, .. }), Some(Said { value: vrf, place })) => {
            let vrf = quoted(&vrf);
            let what = format!(
                "kernel-table {table} and vrf {vrf} are both set: the VRF's table is the instance's"
            );
            section.refuse(&place, what);
            return None;
        }
        (None, Some(Said { value: vrf, place })) => match vrf_table(&vrf) {
            Ok(table) => (table, place),
            Err(why) => {
                section.refuse(&place, why);
                return None;
            }
        },
        (Some(Said { value: table, place }), None) => (table, place),
        (None, None) if !fib => return None,
        (None, None) if id == InstanceId(0) => {
            return Some((KernelTable::MAIN, section.place.clone()));
        }
        (None, None) => {
            section.refuse(&section.place, "kernel-table or vrf is needed, or fib = false");
            return None;
        }
    };
    if !fib {
        section.refuse(&place, format_args!("{key} is set (table {table}), and fib = false"));
        return None;
    }
    if matches!(table, 0 | 253 | 255) {
        let what = "kernel-table cannot be 0, 253 or 255, which are the kernel's own";
        section.refuse(&place, what);
        return None;
    }
    Some((KernelTable(table), place))
}

/// What is to become of each protocol's routes: a word, or the preference that importing is to give.
fn imports(mut section: Section<'_>) -> Imports {
    let mut imports = Imports::default();
    for (name, entry) in section.take_all() {
        let Some(protocol) = KernelProtocol::parse(&name) else {
            let name = quoted(&name);
            section
                .refuse(&entry.key, format_args!("import.{name} is no protocol of the kernel's"));
            continue;
        };
        let import = match &entry.node.value {
            Value::Text(word) if word == "ignore" => Import::Ignore,
            Value::Text(word) if word == "observe" => Import::Observe,
            Value::Text(word) if word == "import" => Import::Choose(Preference(0)),
            Value::Whole(level @ 1..=0xFFFF_FFFF) => {
                Import::Choose(Preference(u32::try_from(*level).unwrap_or(u32::MAX)))
            }
            other => {
                section.refuse(
                    &entry.node.place,
                    format_args!(
                        "import.{name} is {other}, not \"ignore\", \"observe\", \"import\" or a \
                         preference from 1"
                    ),
                );
                continue;
            }
        };
        imports.set(protocol, import);
    }
    section.finish();
    imports
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
            assert!(fault.contains("[[instance]] with an id"), "{fault}");
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
        assert_eq!(fault("fib = false\nviews = [32]"), "views has 32, which is not from 0 to 31");
        assert_eq!(fault("fib = false\nfamilies = []"), "families is empty");
        assert_eq!(fault("fib = false\nipv6-views = []"), "ipv6-views is empty");
        let alone = "fib = false\nfamilies = [\"ipv4\"]\nipv6-views = [0]";
        assert_eq!(fault(alone), "ipv6-views is set, and ipv6 is not in families");
        assert_eq!(
            fault("fib = false\nimport = { nosuch = 5 }"),
            "import.\"nosuch\" is no protocol of the kernel's"
        );
        assert_eq!(
            fault("fib = false\nimport = { static = 0 }"),
            "import.static is 0, not \"ignore\", \"observe\", \"import\" or a preference from 1"
        );
        assert_eq!(fault("fib = 3"), "fib is 3, expected true or false");
        let no_list = fault("fib = false\ninterfaces = \"ua\"");
        assert_eq!(no_list, "interfaces is \"ua\", expected a list");
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
        assert!(
            fault.starts_with("[[instance]] has no key \"viewz\", did you mean views? "),
            "{fault}"
        );
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
