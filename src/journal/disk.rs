//! All that changes files, a step at a time: a test can have the process end before each of them, or within.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Begins a file, in place of one that has its name.
pub(super) fn create(path: &Path) -> io::Result<File> {
    entry_step()?;
    File::create(path)
}

/// Writes all of it, or what there is room for.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    file.write_all(&bytes[..super::simulation::torn(bytes.len())])?;
    step()?;
    file.write_all(bytes)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    entry_step()?;
    fs::rename(from, to)
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    entry_step()?;
    fs::remove_file(path)
}

/// Leaves a file so many bytes.
pub(super) fn cut(path: &Path, length: u64) -> io::Result<()> {
    step()?;
    File::options().write(true).open(path)?.set_len(length)
}

/// What comes is the next step.
pub(super) fn step() -> io::Result<()> {
    #[cfg(test)]
    super::simulation::step()?;
    Ok(())
}

/// What comes changes the directory itself, and not a file that is open: it may be allowed no more.
fn entry_step() -> io::Result<()> {
    #[cfg(test)]
    super::simulation::entry_step()?;
    step()
}
