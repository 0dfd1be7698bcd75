//! A file's text: read whole, if it can be trusted and is one that somebody wrote.
//!
//! Who can write the configuration can redirect every packet of the machine and let anybody do so. So a file
//! counts only if nobody but root and the user of the service could have written it: neither others, nor a
//! group. A group's right to write is no less of a hole, and one that no package leaves: the umask 0002 that
//! makes such files is for people's own. The same holds for the folder that it is in, unless that is sticky,
//! where nobody can put another file in its place.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use super::fault::{Findings, Place};

/// Bytes that a file may have: enough for as many static routes as there can be.
const MOST: u64 = 4 << 20;

/// Whose files are read.
#[derive(Clone, Debug)]
pub struct Trusted(Vec<u32>);

impl Trusted {
    /// Those of root and of the user that this process runs as.
    pub fn own() -> Self {
        Self(vec![0, rustix::process::geteuid().as_raw()])
    }

    /// Those of root, of the user that this process runs as, and of whoever a directory of the service
    /// belongs to: what the service itself would read.
    pub fn as_service(directory: &Path) -> Self {
        let owner = fs::metadata(directory).ok().map(|directory| directory.uid());
        Self(Self::own().0.into_iter().chain(owner).collect())
    }
}

/// Reads a file, or says why not.
pub(super) fn read(path: &Path, trusted: &Trusted, findings: &Findings) -> Option<String> {
    let whole = Place::whole(path);
    match text(path, trusted) {
        Ok(text) => Some(text),
        Err(Refusal::Io(error)) => {
            findings.add(&whole, format_args!("cannot be read: {error}"));
            None
        }
        Err(Refusal::Odd(why)) => {
            findings.add(&whole, why);
            None
        }
        Err(Refusal::NoText { line }) => {
            let place = Place { at: Some((line, 1)), ..whole };
            findings.add(&place, "this line is no text: a configuration is UTF-8");
            None
        }
    }
}

enum Refusal {
    Io(io::Error),
    Odd(String),
    NoText { line: usize },
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn text(path: &Path, trusted: &Trusted) -> Result<String, Refusal> {
    // Opening a pipe would wait for who writes to it.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refusal::Odd("is no file".to_owned()));
    }
    check(&metadata, "", trusted).map_err(Refusal::Odd)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let name = format!("its folder {} ", folder.display());
    check(&fs::metadata(folder)?, &name, trusted).map_err(Refusal::Odd)?;
    let bytes = bytes(file)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST) {
        return Err(Refusal::Odd(format!("is longer than {} MiB", MOST >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        Refusal::NoText { line: valid.iter().filter(|byte| **byte == b'\n').count() + 1 }
    })
}

/// One byte more than may be, if there is one.
fn bytes(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether only who is trusted could have written it.
fn check(metadata: &Metadata, what: &str, trusted: &Trusted) -> Result<(), String> {
    const STICKY: u32 = 0o1000;
    let mode = metadata.permissions().mode();
    let is_shared = mode & 0o022 != 0 && !(metadata.is_dir() && mode & STICKY != 0);
    if is_shared {
        return Err(format!(
            "{what}can be written by others than its owner (mode {:o}) and is not read: chmod go-w",
            mode & 0o7777
        ));
    }
    if !trusted.0.contains(&metadata.uid()) {
        return Err(format!(
            "{what}belongs to user {} and is not read: only what belongs to root or to the user of the \
             service is",
            metadata.uid()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::chown};

    use super::*;

    fn fault(path: &Path) -> String {
        let findings = Findings::default();
        assert!(read(path, &Trusted::own(), &findings).is_none());
        let fault = findings.into_faults().remove(0).to_string();
        fault.replace(path.to_str().unwrap(), "FILE")
    }

    fn file(bytes: &[u8], mode: u32) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn what_others_or_a_group_can_write_is_refused() {
        for mode in [0o666, 0o664, 0o602, 0o620] {
            let fault = fault(&file(b"", mode));
            assert!(fault.contains(&format!("(mode {mode:o})")), "{fault}");
        }
        for mode in [0o644, 0o600, 0o444, 0o755] {
            let file = file(b"a = 1", mode);
            let findings = Findings::default();
            let text = read(&file, &Trusted::own(), &findings);
            assert_eq!(text.as_deref(), Some("a = 1"), "{mode:o} {:?}", findings.into_faults());
        }
    }

    #[test]
    fn so_is_what_is_in_a_folder_that_others_can_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let fault = fault(&path);
        assert!(fault.contains("its folder ") && fault.contains("(mode 777)"), "{fault}");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(read(&path, &Trusted::own(), &Findings::default()).is_some());
    }

    #[test]
    fn so_is_what_belongs_to_somebody_else() {
        let file = file(b"", 0o600);
        if chown(&file, Some(12_345), None).is_err() {
            println!("skip: only root can give a file away");
            return;
        }
        assert!(fault(&file).contains("belongs to user 12345"));
        let of_theirs = Trusted::as_service(&file);
        assert!(read(&file, &of_theirs, &Findings::default()).is_some());
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line_and_what_is_no_file_is_never_waited_for() {
        assert_eq!(
            fault(&file(b"a = 1\nb = \xff\n", 0o600)),
            "FILE:2:1: this line is no text: a configuration is UTF-8"
        );
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(fault(folder.path()), "FILE: is no file");
        assert_eq!(fault(Path::new("/dev/zero")).split(':').next(), Some("FILE"));
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(fault(&pipe), "FILE: is no file");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let file = file(&vec![b'\n'; usize::try_from(MOST).unwrap() + 1], 0o600);
        assert_eq!(fault(&file), "FILE: is longer than 4 MiB");
    }
}
