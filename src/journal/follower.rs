//! From files to a ledger, at the start and for the next image.

use std::path::Path;

use super::{
    file::{self, Fault, Number},
    ledger::Ledger,
};

/// What files come to.
pub(super) struct Recovered {
    pub(super) ledger: Ledger,
    /// The number of the log after these.
    pub(super) next: Number,
    /// Size of the image, in bytes.
    pub(super) image: u64,
    /// Length of the logs, in bytes.
    pub(super) logs: u64,
}

/// How often files may be replaced while they are read.
const TRIES: usize = 3;

/// What the files come to; `None` if there are none. With `before`, only logs older than that count.
///
/// A follower whose service was killed may be at its end just now, and replace what is being read.
pub(super) fn recover(
    directory: &Path,
    machine: &str,
    before: Option<Number>,
) -> Result<Option<Recovered>, Fault> {
    let mut found = Err(Fault::Gone);
    for _ in 0..TRIES {
        found = read(directory, machine, before);
        if !matches!(found, Err(Fault::Gone)) {
            break;
        }
    }
    found
}

fn read(
    directory: &Path,
    machine: &str,
    before: Option<Number>,
) -> Result<Option<Recovered>, Fault> {
    let Some(found) = file::newest_image(directory, machine)? else { return Ok(None) };
    let file::Found { number, size: image, mut ledger } = found;
    let (mut next, mut logs) = (number, 0);
    while before.is_none_or(|before| next < before) {
        let Some(mut log) = file::open_log(directory, next)? else { break };
        for notes in &mut log {
            ledger.redo(&notes?).map_err(|why| Fault::Unreadable(next, why.to_string()))?;
        }
        logs += log.finish()?;
        next = next.next();
    }
    // Each image has a log, and no number is left out.
    let is_whole = match before {
        Some(before) => next == before,
        None => number < next && file::newest_log(directory)?.is_some_and(|last| last < next),
    };
    if is_whole { Ok(Some(Recovered { ledger, next, image, logs })) } else { Err(Fault::Gone) }
}

/// Makes the image that the logs before this one come to, and removes those.
pub(super) fn replace(directory: &Path, machine: &str, next: Number) -> Result<(), Fault> {
    let recovered = recover(directory, machine, Some(next))?.ok_or(Fault::Gone)?;
    file::write_image(directory, next, machine, &recovered.ledger)?;
    Ok(file::remove_before(directory, next)?)
}
