//! Which files are the configuration: the file itself, and what is dropped in beside it.
//!
//! As the UAPI group's configuration files specification has it, and systemd: `rtmd.toml` is the one in
//! `/etc/rtmd`, or else that in `/run/rtmd`, or else that in `/usr/lib/rtmd`; and after it come, by name,
//! all `*.toml` of the folders `rtmd.toml.d` in these three. Of two with the same name the one in the earlier
//! place is read, and the other is not: an empty file, or a link to `/dev/null`, takes another's out.
//! So packages bring theirs in `/usr/lib`, and what the administrator says in `/etc` holds.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use super::fault::{Findings, Place};

/// Where the configuration is.
#[derive(Clone, Debug)]
pub struct Source {
    /// The places, the one that holds first.
    places: Vec<PathBuf>,
    name: OsString,
}

/// The file as it is called where nobody says otherwise.
pub const STANDARD: &str = "/etc/rtmd/rtmd.toml";

/// As many as are read.
const MOST: usize = 256;

impl Source {
    /// This file and `FILE.d` beside it; for [`STANDARD`] also those in the other places.
    pub fn of(file: &Path) -> Self {
        let name = file.file_name().unwrap_or_default().to_owned();
        let own = match file.parent() {
            Some(place) if !place.as_os_str().is_empty() => place,
            _ => Path::new("."),
        };
        let places = if file == Path::new(STANDARD) {
            ["/etc/rtmd", "/run/rtmd", "/usr/lib/rtmd"].map(PathBuf::from).into()
        } else {
            vec![own.to_owned()]
        };
        Self { places, name }
    }

    /// What it is called where it is about the whole of it.
    pub(super) fn title(&self) -> PathBuf {
        self.places.first().map(|place| place.join(&self.name)).unwrap_or_default()
    }

    /// The files there are, in the order in which they are read.
    pub(super) fn files(&self, findings: &Findings) -> Vec<PathBuf> {
        let here = |file: &PathBuf| fs::symlink_metadata(file).is_ok();
        let own = self.places.iter().map(|place| place.join(&self.name)).find(here);
        let mut by_name = BTreeMap::new();
        for place in self.places.iter().rev() {
            let mut folder = self.name.clone();
            folder.push(".d");
            by_name.extend(drop_ins(&place.join(folder), findings));
        }
        let all = own.into_iter().chain(by_name.into_values());
        let mut files: Vec<PathBuf> = all.filter(|file| !is_mask(file)).collect();
        if files.len() > MOST {
            let place = Place::whole(&self.title());
            findings.add(&place, format_args!("there are {} files, over {MOST}", files.len()));
            files.truncate(MOST);
        }
        files
    }
}

/// What is in a folder, by name; nothing where there is none.
fn drop_ins(folder: &Path, findings: &Findings) -> Vec<(OsString, PathBuf)> {
    let is_one = |name: &OsStr| {
        Path::new(name).extension() == Some(OsStr::new("toml"))
            && !name.as_encoded_bytes().starts_with(b".")
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(error) => Err(error),
    };
    match entries {
        Ok(entries) => {
            let named = entries.into_iter().map(|entry| (entry.file_name(), entry.path()));
            named.filter(|(name, _)| is_one(name)).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            findings.add(&Place::whole(folder), format_args!("cannot be read: {error}"));
            Vec::new()
        }
    }
}

/// Whether it only stands in the place of another.
fn is_mask(file: &Path) -> bool {
    fs::canonicalize(file).is_ok_and(|real| real == Path::new("/dev/null"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Three places with files, and what is read of them.
    fn read(files: &[(&str, &str)], masks: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for mask in masks {
            symlink("/dev/null", folder.path().join(mask)).unwrap();
        }
        let places = ["etc", "run", "lib"].map(|place| folder.path().join(place)).into();
        let source = Source { places, name: "c.toml".into() };
        let findings = Findings::default();
        let read = source.files(&findings);
        assert!(findings.is_empty(), "{:?}", findings.into_faults());
        let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        read.iter().map(name).collect()
    }

    #[test]
    fn drop_ins_of_all_places_come_by_name_and_the_first_place_of_a_name_holds() {
        let files = [
            ("etc/c.toml", ""),
            ("lib/c.toml", ""),
            ("lib/c.toml.d/20-b.toml", ""),
            ("lib/c.toml.d/10-a.toml", ""),
            ("etc/c.toml.d/20-b.toml", ""),
            ("run/c.toml.d/15-r.toml", ""),
            ("etc/c.toml.d/README", ""),
            ("etc/c.toml.d/.30-hidden.toml", ""),
        ];
        let order = [
            "etc/c.toml",
            "lib/c.toml.d/10-a.toml",
            "run/c.toml.d/15-r.toml",
            "etc/c.toml.d/20-b.toml",
        ];
        assert_eq!(read(&files, &[]), order);
    }

    #[test]
    fn a_file_of_a_later_place_serves_where_the_earlier_have_none() {
        assert_eq!(read(&[("lib/c.toml", "")], &[]), ["lib/c.toml"]);
    }

    #[test]
    fn a_link_to_nothing_takes_a_file_of_a_package_out() {
        let files = [("lib/c.toml.d/10-a.toml", ""), ("etc/c.toml.d/20-b.toml", "")];
        assert_eq!(read(&files, &["etc/c.toml.d/10-a.toml"]), ["etc/c.toml.d/20-b.toml"]);
    }

    #[test]
    fn another_file_than_the_standard_one_has_only_what_is_beside_it() {
        let source = Source::of(Path::new("mine.toml"));
        assert_eq!(source.title(), Path::new("./mine.toml"));
        assert_eq!(source.places.len(), 1);
        assert_eq!(Source::of(Path::new(STANDARD)).places.len(), 3);
    }
}
