//! The configuration: TOML files, every key optional, no key ignored.
//!
//! rtmd.toml(5) has all of it, and `README.md` the defaults; tests hold them to what is read (`page`).
//!
//! ```text
//!   source   which files there are, in which order
//!   text     a file's text, if it can be trusted
//!   tree     what it says, each value with its place      fault   what is wrong, and where
//!   merge    all files as one
//!   section  a section as its reader takes it apart:      checks, instances, grants, statics
//! ```
//!
//! Whoever reads goes on after a mistake, so that all of them are told at once. What cannot be used as a
//! whole stops the service. An instance that makes no sense does not: the others work, and registering with it
//! answers `BadConfiguration`.

mod checks;
mod fault;
mod grants;
mod instances;
mod merge;
#[cfg(test)]
mod page;
mod section;
mod source;
mod statics;
mod text;
mod tree;

use std::{
    collections::BTreeSet,
    num::{NonZeroU8, NonZeroU32},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    model::{InstanceId, TableId},
    rib::{Policy, StaticRoute, StoppedUnit},
};
use checks::{levels, limits};
use fault::{Findings, Keys};
use grants::grants;
use instances::instances;
use section::Section;
use statics::statics;
use tree::{Entry, Node, Table, Value};

pub use fault::{Fault, Faults, Place};
pub use source::{STANDARD, Source};
pub use text::Trusted;

/// All that is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// `rtm_protocol` of our routes in the kernel, 5 to 255.
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
    /// The static routes that are there as long as the configuration has them.
    pub static_routes: Vec<(TableId, StaticRoute)>,
    /// What is wrong with instances, which are not served.
    pub faults: Vec<Fault>,
    /// The files it is read from, in their order.
    pub files: Vec<PathBuf>,
}

/// What becomes of our routes in the kernel when the service is told to stop. When it crashes they stay.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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

/// What `[service]` says.
struct ServiceSection {
    on_stop: OnStop,
    reclaim_time: Duration,
    stopped_unit: StoppedUnit,
}

/// What `[fib]` says.
struct Fib {
    protocol: NonZeroU8,
    metric: NonZeroU32,
    next_hop_objects: bool,
}

/// Finds the kernel table of a VRF by its name, or says why there is none.
pub type VrfTable<'f> = &'f dyn Fn(&str) -> Result<u32, String>;

impl Default for Config {
    fn default() -> Self {
        Self::of(Table::new(), &Place::whole(Path::new("")), &Findings::default(), &|name| {
            Err(name.to_owned())
        })
    }
}

impl Config {
    /// Reads the files; where there are none, or nothing in them, all is as by default.
    ///
    /// # Errors
    /// When they are there and cannot be used: all that is wrong, also with instances.
    pub fn load(
        source: &Source,
        trusted: &Trusted,
        vrf_table: VrfTable<'_>,
    ) -> Result<Self, Faults> {
        let findings = Findings::knowing(keys());
        let files = source.files(&findings);
        let mut all = Table::new();
        for path in &files {
            if let Some(text) = text::read(path, trusted, &findings) {
                merge::add(&mut all, tree::parse(path, &text, &findings), &findings);
            }
        }
        let config = Self::of(all, &Place::whole(&source.title()), &findings, vrf_table);
        Self { files, ..config }.unless(findings)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, vrf_table: VrfTable<'_>) -> Result<Self, Faults> {
        let findings = Findings::knowing(keys());
        let path = Path::new("rtmd.toml");
        let mut all = Table::new();
        merge::add(&mut all, tree::parse(path, text, &findings), &findings);
        Self::of(all, &Place::whole(path), &findings, vrf_table).unless(findings)
    }

    /// This, unless something of the whole is wrong.
    fn unless(self, findings: Findings) -> Result<Self, Faults> {
        let faults = findings.into_faults();
        match faults.iter().all(|fault| fault.instance.is_some()) {
            true => Ok(Self { faults, ..self }),
            false => Err(Faults(faults)),
        }
    }

    /// What the tree says, as far as it makes sense.
    fn of(all: Table, place: &Place, findings: &Findings, vrf_table: VrfTable<'_>) -> Self {
        let mut file = Section::new("", "", place.clone(), all, findings);
        let service = service(file.section("service", "service", "service."));
        let fib = fib(file.section("fib", "fib", "fib."));
        let levels = levels(file.section("preferences", "preferences", "preferences."));
        let limits = limits(file.section("limits", "limits", "limits."));
        let (instances, next_hop_objects) = instances(&mut file, fib.next_hop_objects, vrf_table);
        let grants = grants(&mut file);
        let stopped_unit = service.stopped_unit;
        let policy = Policy { instances, levels, limits, stopped_unit, grants };
        let static_routes = statics(&mut file, &policy);
        file.finish();
        Self {
            fib_protocol: fib.protocol,
            fib_metric: fib.metric,
            next_hop_objects,
            on_stop: service.on_stop,
            reclaim_time: service.reclaim_time,
            policy,
            static_routes,
            faults: Vec::new(),
            files: Vec::new(),
        }
    }
}

fn service(mut section: Section<'_>) -> ServiceSection {
    let on_stop = [("keep", OnStop::Keep), ("withdraw", OnStop::Withdraw)];
    let on_stop = section.word("on-stop", &on_stop).map_or(OnStop::Keep, |said| said.value);
    let seconds = section.number("reclaim-time", 0..=u32::MAX).map_or(60, |said| said.value);
    let stopped = [("withdraw", StoppedUnit::Withdraw), ("linger", StoppedUnit::Linger)];
    let stopped = section.word("stopped-unit", &stopped).map(|said| said.value);
    section.finish();
    ServiceSection {
        on_stop,
        reclaim_time: Duration::from_secs(seconds.into()),
        stopped_unit: stopped.unwrap_or_default(),
    }
}

fn fib(mut section: Section<'_>) -> Fib {
    const PROTOCOL: NonZeroU8 = NonZeroU8::new(82).expect("82 is not 0");
    const METRIC: NonZeroU32 = NonZeroU32::new(82).expect("82 is not 0");
    // 1 to 4 are the kernel's and the administrator's own.
    let protocol = section.number("protocol", 5..=255).map_or(82, |said| said.value);
    let metric = section.number("metric", 1..=u32::MAX).map_or(82, |said| said.value);
    let next_hop_objects = section.flag("next-hop-objects").is_none_or(|said| said.value);
    section.finish();
    Fib {
        protocol: u8::try_from(protocol).ok().and_then(NonZeroU8::new).unwrap_or(PROTOCOL),
        metric: NonZeroU32::new(metric).unwrap_or(METRIC),
        next_hop_objects,
    }
}

/// The keys that each section can have: what is asked for when a file has one of each.
fn keys() -> Keys {
    let place = Place::whole(Path::new(""));
    let entry = |value| Entry { key: place.clone(), node: Node { place: place.clone(), value } };
    let list =
        |table| entry(Value::List(vec![Node { place: place.clone(), value: Value::Table(table) }]));
    let instance = Table::from([("id".to_owned(), entry(Value::Whole(0)))]);
    let route = Table::from([("nexthops".to_owned(), list(Table::new()))]);
    let all = Table::from([
        ("grant".to_owned(), list(Table::new())),
        ("instance".to_owned(), list(instance)),
        ("static".to_owned(), list(route)),
    ]);
    let findings = Findings::default();
    let _ = Config::of(all, &place, &findings, &|name| Err(name.to_owned()));
    findings.keys()
}

/// What the tests of all parts read files with.
#[cfg(test)]
mod testing {
    use super::Config;
    use crate::{model::InstanceId, rib::Instance};

    pub(super) fn vrf_table(name: &str) -> Result<u32, String> {
        match name {
            "red" => Ok(1001),
            _ => Err(format!("there is no VRF {name}")),
        }
    }

    /// What is wrong, without the places.
    pub(super) fn fault(text: &str) -> String {
        let faults = Config::parse(text, &vrf_table).expect_err(text).0;
        faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn broken(text: &str, id: u16) -> String {
        match &Config::parse(text, &vrf_table).unwrap().policy.instances[&InstanceId(id)] {
            Instance::Broken(fault) => fault.clone(),
            Instance::Ready(settings) => panic!("{settings:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{fault, vrf_table},
        *,
    };

    /// What is wrong, a line each.
    fn all(text: &str) -> String {
        Config::parse(text, &vrf_table).expect_err(text).to_string()
    }

    #[test]
    fn an_empty_file_and_a_missing_one_mean_all_defaults() {
        assert_eq!(Config::parse("", &vrf_table).unwrap(), Config::default());
        let nowhere = Source::of(Path::new("/nonexistent/rtmd.toml"));
        let loaded = Config::load(&nowhere, &Trusted::own(), &vrf_table).unwrap();
        assert_eq!(loaded, Config::default());
    }

    pub(super) fn shown_in_the_readme() -> String {
        let readme = include_str!("../../README.md").lines();
        let section = readme.skip_while(|line| *line != "## Configure it");
        let lines =
            section.skip_while(|line| *line != "```toml").skip(1).take_while(|line| *line != "```");
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_file_in_the_readme_says_every_default() {
        let text = shown_in_the_readme();
        assert_eq!(Config::parse(&text, &vrf_table).unwrap(), Config::default());
    }

    #[test]
    fn a_stop_keeps_or_withdraws_and_nothing_else() {
        let on_stop = |text| Config::parse(text, &vrf_table).unwrap().on_stop;
        assert_eq!(on_stop(""), OnStop::Keep);
        assert_eq!(on_stop("[service]\non-stop = \"withdraw\""), OnStop::Withdraw);
        let fault = fault("[service]\non-stop = \"flush\"");
        assert!(fault.contains("\"keep\" or \"withdraw\""), "{fault}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        assert_eq!(
            all("[fib]\nprotokoll = 82\n"),
            "rtmd.toml:2:1: [fib] has no key \"protokoll\", did you mean protocol? There are: metric, \
             next-hop-objects, protocol"
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = "[servce]\non-stop = \"keep\"\n[fib]\nmetric = \"low\"\nprotocol = 2\n[limits]\n\
                    routes = 1.5\n[[instance]]\nid = 0\nviews = [32]\nfib = 3\n[[static]]\nto = \"x\"\n";
        let all = all(text);
        let places = all.lines().map(|line| line.split(": ").next().unwrap());
        let lines: Vec<&str> = places.map(|place| place.split(':').nth(1).unwrap()).collect();
        assert_eq!(lines, ["5", "4", "7", "10", "11", "13", "1"], "{all}");
        assert!(all.contains("rtmd.toml:10:10: instance 0: views has 32"), "{all}");
        assert!(all.contains("no section \"servce\", did you mean service?"), "{all}");
    }

    #[test]
    fn what_belongs_to_a_section_and_stands_before_all_is_told_with_its_section() {
        let fault = fault("on-stop = \"keep\"\n");
        assert!(fault.contains(" belongs to [service]"), "{fault}");
    }

    #[test]
    fn drop_ins_change_what_they_say_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        let drop_ins = folder.path().join("c.toml.d");
        std::fs::create_dir(&drop_ins).unwrap();
        let load = || Config::load(&Source::of(&path), &Trusted::own(), &vrf_table);
        std::fs::write(&path, "[fib]\nmetric = 90\n[limits]\nroutes = 5\n").unwrap();
        std::fs::write(drop_ins.join("20-b.toml"), "[fib]\nmetric = 92\n").unwrap();
        std::fs::write(drop_ins.join("10-a.toml"), "[fib]\nmetric = 91\nprotocol = 9\n").unwrap();
        let config = load().unwrap();
        assert_eq!((config.fib_metric.get(), config.fib_protocol.get()), (92, 9));
        assert_eq!((config.policy.limits.routes, config.files.len()), (5, 3));
        std::fs::write(drop_ins.join("20-b.toml"), "\n[fib]\nmetric = 0\n").unwrap();
        let faults = load().unwrap_err().to_string();
        let expected = "c.toml.d/20-b.toml:3:10: fib.metric 0 is not from 1 to 4294967295";
        assert!(faults.ends_with(expected), "{faults}");
    }
}
