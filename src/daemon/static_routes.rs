//! Static routes from one life of the service to the next: a file in the state directory.
//!
//! The file is replaced as a whole or not at all. One that cannot be read is never overwritten: it is
//! moved aside, and where that fails no static route can be made persistent until somebody helps.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::files;
use crate::{
    model::{
        Error, ErrorKind, Metric, Preference, Prefix, Protocol, RouteFlags, TableId, ViewSet,
        Weight,
    },
    rib::{StaticKey, StaticNextHop, StaticRoute},
};

/// The file.
#[derive(Debug)]
pub(super) struct StaticRoutes {
    path: PathBuf,
    /// Whether there is a file that must not be overwritten.
    in_the_way: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    routes: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    instance: u32,
    to: String,
    protocol: u32,
    preference: u32,
    metric: u32,
    flags: u32,
    views: u32,
    via: Vec<Way>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Way {
    address: Option<IpAddr>,
    interface: Option<String>,
    weight: Option<u32>,
}

const VERSION: u32 = 1;

impl StaticRoutes {
    /// The file in this directory, and the routes in it.
    pub(super) fn open(directory: &Path) -> (Self, Vec<(TableId, StaticRoute)>) {
        let path = directory.join("static-routes.json");
        let mut file = Self { path, in_the_way: false };
        let text = match fs::read_to_string(&file.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (file, Vec::new()),
            Err(error) => {
                file.move_aside(&error.to_string());
                return (file, Vec::new());
            }
        };
        match read(&text) {
            Ok(routes) => (file, routes),
            Err(fault) => {
                file.move_aside(&fault);
                (file, Vec::new())
            }
        }
    }

    /// Keeps these routes and no others.
    ///
    /// # Errors
    /// `NoSystemResources` when they cannot be kept; the file is as it was then.
    pub(super) fn keep(&self, routes: &[(TableId, StaticRoute)]) -> Result<(), Error> {
        let refuse = |why: &dyn std::fmt::Display| {
            ErrorKind::NoSystemResources.because(format_args!(
                "the persistent static routes cannot be kept in {}, so nothing was changed: {why}",
                self.path.display()
            ))
        };
        if self.in_the_way {
            return Err(refuse(&"there is a file that cannot be read; see the log"));
        }
        let routes = routes.iter().map(|(table, route)| entry(*table, route)).collect();
        let contents = Contents { version: VERSION, routes };
        let text = serde_json::to_string_pretty(&contents).map_err(|error| refuse(&error))?;
        files::replace(&self.path, &text).map_err(|error| refuse(&error))
    }

    fn move_aside(&mut self, fault: &str) {
        let name = |n: u32| self.path.with_extension(format!("json.damaged-{n}"));
        let aside = (1..).map(name).find(|aside| !aside.exists()).unwrap_or_else(|| name(0));
        match fs::rename(&self.path, &aside) {
            Ok(()) => tracing::error!(
                file = %self.path.display(),
                moved_to = %aside.display(),
                fault,
                "the persistent static routes cannot be read and are missing: mend the moved file, \
                 move it back and restart, or add the routes again"
            ),
            Err(error) => {
                self.in_the_way = true;
                tracing::error!(
                    file = %self.path.display(),
                    fault,
                    %error,
                    "the persistent static routes cannot be read, nor their file moved aside; none \
                     can be kept until it is mended or moved and the service is restarted"
                );
            }
        }
    }
}

fn entry(table: TableId, route: &StaticRoute) -> Entry {
    let StaticRoute { key, flags, views, via, persistent: _ } = route;
    let way = |hop: &StaticNextHop| Way {
        address: hop.address,
        interface: hop.interface.clone(),
        weight: hop.weight.map(|weight| weight.get().into()),
    };
    Entry {
        instance: table.instance.0.into(),
        to: key.to.to_string(),
        protocol: key.protocol.0,
        preference: key.preference.0,
        metric: key.metric.0,
        flags: flags.0.into(),
        views: views.0,
        via: via.iter().map(way).collect(),
    }
}

/// The routes in a file's text, or what is wrong with it.
fn read(text: &str) -> Result<Vec<(TableId, StaticRoute)>, String> {
    let contents: Contents = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if contents.version != VERSION {
        return Err(format!("it has version {}, and not {VERSION}", contents.version));
    }
    let route = |(place, entry)| {
        static_route(entry).map_err(|error: Error| format!("route {place}: {error}"))
    };
    (1..).zip(contents.routes).map(|(place, entry): (usize, _)| route((place, entry))).collect()
}

fn static_route(entry: Entry) -> Result<(TableId, StaticRoute), Error> {
    let to: Prefix = entry.to.parse()?;
    let protocol = Protocol(entry.protocol);
    if !StaticKey::PROTOCOLS.contains(&protocol) {
        return Err(ErrorKind::InvalidData
            .because(format_args!("protocol {protocol} is not one of static routes")));
    }
    let hop = |way: Way| {
        let weight = way.weight.map(Weight::new).transpose()?;
        Ok(StaticNextHop { address: way.address, interface: way.interface, weight })
    };
    let route = StaticRoute {
        key: StaticKey {
            to,
            protocol,
            preference: Preference(entry.preference),
            metric: Metric(entry.metric),
        },
        flags: RouteFlags::new(entry.flags)?,
        views: ViewSet(entry.views),
        via: entry.via.into_iter().map(hop).collect::<Result<_, Error>>()?,
        persistent: true,
    };
    Ok((TableId::new(entry.instance, to.family())?, route))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Vec<(TableId, StaticRoute)> {
        let text = r#"{"version": 1, "routes": [
            {"instance": 0, "to": "10.0.0.0/8", "protocol": 10006, "preference": 0, "metric": 5,
             "flags": 0, "views": 1, "via": [
                {"address": "192.0.2.1", "interface": "wan0", "weight": 3},
                {"address": null, "interface": "tun0", "weight": null}]},
            {"instance": 7, "to": "2001:db8::/32", "protocol": 10002, "preference": 9, "metric": 0,
             "flags": 2, "views": 3, "via": []}]}"#;
        read(text).unwrap()
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, none) = StaticRoutes::open(folder.path());
        assert_eq!(none, []);
        file.keep(&routes()).unwrap();
        assert_eq!(StaticRoutes::open(folder.path()).1, routes());
        file.keep(&[]).unwrap();
        assert_eq!(StaticRoutes::open(folder.path()).1, []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_the_next_one_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("static-routes.json");
        for (n, text) in [(1, "{\"version\": 1"), (2, "{\"version\": 2, \"routes\": []}")] {
            fs::write(&path, text).unwrap();
            let (file, found) = StaticRoutes::open(folder.path());
            assert_eq!(found, []);
            file.keep(&routes()).unwrap();
            let aside = folder.path().join(format!("static-routes.json.damaged-{n}"));
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
        }
        assert_eq!(StaticRoutes::open(folder.path()).1, routes());
    }

    #[test]
    fn a_file_with_an_impossible_value_is_damaged_and_the_value_is_told() {
        let text = r#"{"version": 1, "routes": [{"instance": 0, "to": "10.0.0.0/8", "protocol": 14,
            "preference": 0, "metric": 5, "flags": 0, "views": 1, "via": []}]}"#;
        assert_eq!(read(text).unwrap_err(), "route 1: protocol bgp is not one of static routes");
        let text = text.replace("10.0.0.0/8", "10.0.0.1/8");
        assert!(read(&text).unwrap_err().contains("10.0.0.1/8"));
    }

    #[test]
    fn what_cannot_be_kept_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = StaticRoutes::open(folder.path());
        file.keep(&routes()).unwrap();
        // A directory of that name keeps the new file from being written, also for root.
        fs::create_dir(folder.path().join("static-routes.json.new")).unwrap();
        let refusal = file.keep(&[]).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::NoSystemResources);
        assert_eq!(StaticRoutes::open(folder.path()).1, routes());
    }
}
