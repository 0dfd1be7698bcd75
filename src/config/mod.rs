//! The configuration file: TOML, every key optional, no key ignored.
//!
//! `README.md` shows all of it, with the defaults; a test holds it to that.
//!
//! A file that cannot be read as a whole stops the service. An instance that makes no sense does
//! not: the others work, and registering with it answers `BadConfiguration`.

mod checks;
mod file;
mod grants;
mod instances;

use std::{
    collections::BTreeSet,
    fmt, io,
    num::{NonZeroU8, NonZeroU32},
    path::Path,
    time::Duration,
};

use serde::Deserialize;

use crate::{model::InstanceId, rib::Policy};
use checks::{check_limits, levels};
use file::{Fib, File, ServiceSection};
use grants::grants;
use instances::instances;

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

impl Default for Config {
    fn default() -> Self {
        let fib = Fib::default();
        let objects = NextHopObjects { all: fib.next_hop_objects, but: BTreeSet::new() };
        // Without sections there is nothing to be wrong.
        let grants = grants(Vec::new()).unwrap_or_default();
        let policy = Policy { grants, ..Policy::standard() };
        Self::new(ServiceSection::default(), fib, objects, policy)
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
            grants: grants(file.grant)?,
        };
        Ok(Self::new(file.service, file.fib, next_hop_objects, policy))
    }
}

fn impossible(what: impl fmt::Display) -> ConfigError {
    ConfigError::Impossible(what.to_string())
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

    pub(super) fn fault(text: &str) -> String {
        Config::parse(text, &vrf_table).expect_err(text).to_string()
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
        let readme = include_str!("../../README.md").lines();
        let section = readme.skip_while(|line| *line != "## Configure it");
        let lines =
            section.skip_while(|line| *line != "```toml").skip(1).take_while(|line| *line != "```");
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(Config::parse(&text, &vrf_table).unwrap(), Config::default());
        assert_eq!(text.matches(" = ").count(), 76, "a key was added or removed: say so there");
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
}
