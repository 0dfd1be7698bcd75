//! The files: an image each, or a log.
//!
//! Both begin with a line that names them and the version of what they hold. An image is one record, a
//! log has one for each time that notes were kept. A record is its length in eight bytes, its checksum
//! (CRC-32) in four and that of these twelve in four, the lowest byte of each first, and then its own
//! bytes. A log that ends within a record was being written when the process ended: what is left of that is
//! cut off. Anything else that does not fit is damage, also a length that would make a log end there.

use std::{
    fmt, fs,
    fs::File,
    io::{self, BufReader, Read, Seek as _},
    path::{Path, PathBuf},
};

use super::{disk, ledger::Ledger};

/// The first bytes of each file.
const MAGIC: &[u8; 12] = b"rtmd journal";

/// The version of what is in the files. Raised with each change of it: no version reads another's yet.
pub(super) const VERSION: u32 = 4;

/// Length of a file's head, and of a record's, in bytes.
const HEAD: usize = 16;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A file that is none of ours.
    #[error("{} is no file of a journal", .0.display())]
    Foreign(PathBuf),
    /// Written by another version of rtmd.
    #[error("{} has version {found} of the format, this rtmd reads {VERSION}", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The checksum is wrong.
    #[error("{} is damaged at byte {at}", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        at: u64,
    },
    /// A record is whole and cannot be followed.
    #[error("log {0} cannot be followed: {1}")]
    Unreadable(Number, String),
    /// An image is whole and cannot be read.
    #[error("image {0} cannot be read: {1}")]
    Image(Number, postcard::Error),
    /// The machine was started since.
    #[error("it is from before the machine's last start")]
    Machine,
    /// Some of the files that belong together are not there.
    #[error("a log is missing")]
    Gone,
    /// The service panicked when it read it.
    #[error("the last start that read it ended in a panic")]
    Deadly,
}

/// Which of the files one is; the next one's is greater by one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Number(u64);

impl Number {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An image that was read.
pub(super) struct Found {
    pub(super) number: Number,
    /// In bytes.
    pub(super) size: u64,
    pub(super) ledger: Ledger,
}

/// A log that is written.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    number: Number,
    length: u64,
}

/// The records of a log.
pub(super) struct Records {
    file: BufReader<File>,
    path: PathBuf,
    at: u64,
    length: u64,
}

impl Log {
    /// Begins one, in place of one that has its name.
    pub(super) fn create(directory: &Path, number: Number) -> io::Result<Self> {
        let file = disk::create(&path(directory, "log", number))?;
        disk::write(&file, &head())?;
        Ok(Self { file, number, length: HEAD as u64 })
    }

    pub(super) fn number(&self) -> Number {
        self.number
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Makes it one that nobody reads, where it cannot be removed.
    pub(super) fn spoil(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        disk::write(&self.file, &[0; HEAD])
    }

    /// Writes a record.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // In one go, or the log would be cut off within it more often.
        let record = [&record_head(bytes), bytes].concat();
        disk::write(&self.file, &record)?;
        self.length += record.len() as u64;
        Ok(())
    }
}

impl Records {
    /// The next one; `None` where the log ends, or was cut off.
    fn read(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let left = self.length - self.at;
        let Some(left) = left.checked_sub(HEAD as u64) else { return Ok(None) };
        let mut head = [0; HEAD];
        self.file.read_exact(&mut head)?;
        let damaged = || Fault::Checksum { path: self.path.clone(), at: self.at };
        let [l0, l1, l2, l3, l4, l5, l6, l7, sum @ .., _, _, _, _] = head;
        let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        if head != record_head_of(length, u32::from_le_bytes(sum)) {
            return Err(damaged());
        }
        if left < length {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact(&mut bytes)?;
        if crc32fast::hash(&bytes) != u32::from_le_bytes(sum) {
            return Err(damaged());
        }
        self.at += HEAD as u64 + length;
        Ok(Some(bytes))
    }

    /// How long the log is; what is left of a record that was being written is cut off.
    pub(super) fn finish(self) -> io::Result<u64> {
        let Self { path, at, length, .. } = &self;
        if at < length {
            tracing::info!(cut_off = length - at, "{} ended within a record", path.display());
            disk::cut(path, *at)?;
        }
        Ok(self.at)
    }
}

impl Iterator for Records {
    type Item = Result<Vec<u8>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The records of a log; `None` if there is no such one.
pub(super) fn open_log(directory: &Path, number: Number) -> Result<Option<Records>, Fault> {
    let path = path(directory, "log", number);
    match File::open(&path) {
        Ok(file) => records(file, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The newest image and its number.
pub(super) fn newest_image(directory: &Path, machine: &str) -> Result<Option<Found>, Fault> {
    let images = all(directory)?.into_iter().filter(|(kind, _)| kind == "image");
    let Some(number) = images.map(|(_, number)| number).max() else { return Ok(None) };
    let path = path(directory, "image", number);
    let bytes = records(File::open(&path)?, path.clone())?.read()?;
    let bytes = bytes.ok_or(Fault::Checksum { path, at: HEAD as u64 })?;
    let unreadable = |error| Fault::Image(number, error);
    let (of, ledger) = postcard::take_from_bytes::<&str>(&bytes).map_err(unreadable)?;
    if of != machine {
        return Err(Fault::Machine);
    }
    let ledger = postcard::from_bytes(ledger).map_err(unreadable)?;
    Ok(Some(Found { number, size: bytes.len() as u64, ledger }))
}

/// Writes an image, whole or not at all; returns its size in bytes.
pub(super) fn write_image(
    directory: &Path,
    number: Number,
    machine: &str,
    ledger: &Ledger,
) -> io::Result<u64> {
    let bytes = postcard::to_stdvec(&(machine, ledger)).map_err(io::Error::other)?;
    let unfinished = path(directory, "unfinished", number);
    let file = disk::create(&unfinished)?;
    disk::write(&file, &[head(), record_head(&bytes)].concat())?;
    disk::write(&file, &bytes)?;
    disk::rename(&unfinished, &path(directory, "image", number))?;
    Ok(bytes.len() as u64)
}

/// Size of an image, in bytes.
pub(super) fn image_size(directory: &Path, number: Number) -> io::Result<u64> {
    fs::metadata(path(directory, "image", number)).map(|metadata| metadata.len())
}

/// The greatest number of any file.
pub(super) fn newest(directory: &Path) -> io::Result<Option<Number>> {
    Ok(all(directory)?.into_iter().map(|(_, number)| number).max())
}

/// The greatest number of a log.
pub(super) fn newest_log(directory: &Path) -> io::Result<Option<Number>> {
    let logs = all(directory)?.into_iter().filter(|(kind, _)| kind == "log");
    Ok(logs.map(|(_, number)| number).max())
}

/// Removes what is older than the image with this number.
pub(super) fn remove_before(directory: &Path, number: Number) -> io::Result<()> {
    // Images first: one whose logs are gone would be taken for all there is.
    let mut old = all(directory)?;
    old.retain(|(_, other)| *other < number);
    old.sort_by_key(|(kind, _)| kind != "image");
    old.iter().try_for_each(|(kind, number)| disk::remove(&path(directory, kind, *number)))
}

/// Removes all.
pub(super) fn remove_all(directory: &Path) -> io::Result<()> {
    remove_before(directory, Number(u64::MAX))
}

fn all(directory: &Path) -> io::Result<Vec<(String, Number)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('-'));
        let Some((kind @ ("image" | "log" | "unfinished"), number)) = parts else { continue };
        if let Ok(number) = number.parse() {
            all.push((kind.to_owned(), Number(number)));
        }
    }
    Ok(all)
}

fn path(directory: &Path, kind: &str, number: Number) -> PathBuf {
    directory.join(format!("{kind}-{number}"))
}

fn head() -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let (magic, version) = head.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    version.copy_from_slice(&VERSION.to_le_bytes());
    head
}

fn record_head(bytes: &[u8]) -> [u8; HEAD] {
    record_head_of(bytes.len() as u64, crc32fast::hash(bytes))
}

fn record_head_of(length: u64, sum: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let (first, own) = head.split_at_mut(HEAD - 4);
    let (lengths, sums) = first.split_at_mut(8);
    lengths.copy_from_slice(&length.to_le_bytes());
    sums.copy_from_slice(&sum.to_le_bytes());
    own.copy_from_slice(&crc32fast::hash(first).to_le_bytes());
    head
}

/// The records of an open file, after its head.
fn records(mut file: File, path: PathBuf) -> Result<Records, Fault> {
    let length = file.metadata()?.len();
    let mut found = [0; HEAD];
    if length < HEAD as u64 {
        // The process ended when it had just begun this.
        return Ok(Records { file: BufReader::new(file), path, at: length, length });
    }
    file.read_exact(&mut found)?;
    let (magic, version) = found.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Fault::Foreign(path));
    }
    let version = version.try_into().map_or(0, u32::from_le_bytes);
    if version != VERSION {
        return Err(Fault::Version { path, found: version });
    }
    let at = file.stream_position()?;
    Ok(Records { file: BufReader::with_capacity(1 << 16, file), path, at, length })
}
