//! What survives a restart of the service: the state of the RIB at some moment, and what happened since.
//!
//! ```text
//!   image-3 ──▶ log-3 ──▶ log-4 ──▶ log-5     image-5, which takes the place of what is left of
//!   the state   commands            written to         log-5, is made by another process meanwhile
//! ```
//!
//! Whatever a command changed is in the log before anybody hears that it is done. The files are where
//! the kernel forgets them as it forgets its routes, with the machine's next start: so writing is enough,
//! and no disk is waited for. When the logs have grown to the size of their image, the next one is begun,
//! and another process does what a start does, from the files alone, and writes what comes out as the next
//! image. So nobody waits for that, its memory is given back, and what a restart depends on is tried all
//! the time.
//!
//! What a reader would get wrong: a journal that misses one command is worth less than none, because it
//! would bring back a state that never was. So where writing fails all files go, the service goes on
//! without, says so, and tries again with a new image.

mod disk;
mod file;
mod follower;
pub mod ledger;
#[cfg(test)]
mod simulation;

use std::{
    ffi::OsString,
    fs, io, mem,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use file::{Log, Number};
use follower::Recovered;
use ledger::Ledger;

pub use file::Fault;

/// A log is not replaced before it has so many bytes.
const WORTH_REPLACING: u64 = 2 << 20;

/// How long all logs may be beside an image of nothing, in bytes.
const MOST: u64 = 128 << 20;

/// The file that says that reading the others ended in a panic.
const DEADLY: &str = "deadly";

/// How long to wait before a journal that could not be written is begun anew; twice as long each time, for
/// an image of a million routes is work.
const PAUSE: Duration = Duration::from_secs(10);

/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(640);

/// Where a start notes that it reads the journal, in case it panics of it.
static READING: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Where commands are kept.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    machine: String,
    state: State,
    /// How long to wait after the next failure.
    pause: Duration,
    /// Greater than those of all files that this process made: one of an older process may be finished
    /// late, and must not be taken for the newest.
    next: Number,
    /// Makes the next image: a program, which gets the directory, the machine and a number as arguments.
    follower: Vec<OsString>,
}

#[derive(Debug)]
enum State {
    Writing(Writing),
    /// It could not be written: to be begun anew then.
    Lost(Instant),
}

#[derive(Debug)]
struct Writing {
    log: Log,
    /// Length of the logs between the newest image and this one, in bytes.
    logs: u64,
    /// Length of all of them at which the next image is made.
    worth_replacing: u64,
    /// Length of all of them at which it is made here and now.
    most: u64,
    /// Who makes the next image.
    follower: Option<Child>,
}

impl Writing {
    /// Goes on with a log, after an image and logs of these sizes in bytes.
    fn new(log: Log, image: u64, logs: u64) -> Self {
        let worth_replacing = worth_replacing(image);
        Self { log, logs, worth_replacing, most: most(image), follower: None }
    }

    /// Ends who makes the next image, which leaves nothing that looks whole.
    fn end_follower(&mut self) {
        if let Some(mut follower) = self.follower.take() {
            let _ = follower.kill();
            let _ = follower.wait();
        }
    }

    fn is_too_long(&self) -> bool {
        self.logs + self.log.length() > self.most
    }
}

impl Journal {
    /// Opens the journal in a directory, which is made if it is not there, and reads what another process
    /// left in it. `machine` tells one start of the machine from another. `follower` is a program and
    /// its first arguments; the others are what [`follow`] takes.
    ///
    /// One that cannot be used is put aside, with a word in the log why.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(
        directory: &Path,
        machine: &str,
        follower: Vec<OsString>,
    ) -> io::Result<(Self, Option<Ledger>)> {
        make_private(directory)?;
        let found = if directory.join(DEADLY).exists() {
            Err(Fault::Deadly)
        } else {
            *reading() = Some(directory.to_owned());
            follower::recover(directory, machine, None)
        };
        *reading() = None;
        let found = found.or_else(|fault| {
            let aside = put_aside(directory)?;
            tracing::error!(
                "the journal was put aside as {}: {fault}; clients have to register and offer again",
                aside.display()
            );
            io::Result::Ok(None)
        })?;
        let mut journal = Self {
            directory: directory.to_owned(),
            machine: machine.to_owned(),
            // Begun with the first notes.
            state: State::Lost(Instant::now()),
            pause: PAUSE,
            next: Number::FIRST,
            follower,
        };
        let Some(Recovered { ledger, next, image, logs }) = found else {
            return Ok((journal, None));
        };
        match Log::create(directory, next) {
            Ok(log) => {
                journal.state = State::Writing(Writing::new(log, image, logs));
            }
            Err(error) => journal.lose(&error),
        }
        Ok((journal, Some(ledger)))
    }

    /// What was read is not to be gone on with: begins anew with the next notes.
    pub fn forget(&mut self) {
        self.state = State::Lost(Instant::now());
    }

    /// Keeps notes; when this returns, a process that begins now knows of them.
    ///
    /// What goes wrong is logged, and the journal goes on when that is over.
    pub fn keep(&mut self, ledger: &mut Ledger) {
        let notes = ledger.take_notes();
        let writing = match &mut self.state {
            State::Writing(writing) => writing,
            State::Lost(until) if *until <= Instant::now() => return self.begin_anew(ledger),
            State::Lost(_) => return,
        };
        let kept = match &notes {
            Ok(notes) if notes.is_empty() => return,
            Ok(notes) => writing.log.append(notes),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        if let Err(error) = kept.and_then(|()| self.follow_up()) {
            return self.lose(&error);
        }
        if let State::Writing(writing) = &mut self.state
            && writing.is_too_long()
        {
            tracing::warn!(
                "the journal has grown too long while its image was made, it is made again"
            );
            writing.end_follower();
            self.begin_anew(ledger);
        }
    }

    /// Begins the next log when these are long, and has the next image made.
    fn follow_up(&mut self) -> io::Result<()> {
        let State::Writing(Writing { log, logs, worth_replacing, most, follower }) =
            &mut self.state
        else {
            return Ok(());
        };
        let all = *logs + log.length();
        if let Some(child) = follower
            && let Some(status) = child.try_wait()?
        {
            *follower = None;
            if status.success() {
                let image = file::image_size(&self.directory, log.number())?;
                (*logs, *worth_replacing) = (0, self::worth_replacing(image));
                *most = self::most(image);
                return Ok(());
            }
            // All is there still, only longer than it need be.
            *worth_replacing = all.saturating_mul(2);
            tracing::error!(%status, "no next image of the journal was made; the logs go on");
        }
        if follower.is_none() && all > *worth_replacing {
            *logs = all;
            *log = Log::create(&self.directory, log.number().next())?;
            let [program, arguments @ ..] = &*self.follower else { return Ok(()) };
            let child = Command::new(program)
                .args(arguments)
                .arg(&self.directory)
                .arg(&self.machine)
                .arg(log.number().to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
            match child {
                Ok(child) => *follower = Some(child),
                Err(error) => {
                    *worth_replacing = all.saturating_mul(2);
                    tracing::error!(%error, "nobody makes the next image of the journal; the logs go on");
                }
            }
        }
        Ok(())
    }

    /// Writes an image of all there is: where nothing was found at the start, and after a failure.
    fn begin_anew(&mut self, ledger: &Ledger) {
        let begin = || {
            let newest = file::newest(&self.directory)?.map_or(Number::FIRST, Number::next);
            let number = newest.max(self.next);
            // The log first: an image without one is not whole.
            let log = Log::create(&self.directory, number)?;
            let image = file::write_image(&self.directory, number, &self.machine, ledger)?;
            file::remove_before(&self.directory, number)?;
            io::Result::Ok(Writing::new(log, image, 0))
        };
        match begin() {
            Ok(writing) => (self.state, self.pause) = (State::Writing(writing), PAUSE),
            Err(error) => self.lose(&error),
        }
    }

    fn lose(&mut self, error: &io::Error) {
        let directory = self.directory.display();
        tracing::error!(
            %error,
            "the journal in {directory} cannot be written: should the service end now, clients have to \
             register and offer again; trying again in {:?}",
            self.pause
        );
        let lost = State::Lost(Instant::now() + self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        let mut last = None;
        if let State::Writing(mut writing) = mem::replace(&mut self.state, lost) {
            writing.end_follower();
            self.next = writing.log.number().next();
            last = Some(writing.log);
        }
        if let Err(error) = file::remove_all(&self.directory) {
            tracing::error!(%error, "what is left of the journal in {directory} cannot be removed");
            // Or the next start would take it for all there is.
            if let Some(Err(error)) = last.map(|mut log| log.spoil()) {
                tracing::error!(%error, "nor made useless: remove it before rtmd is started again");
            }
        }
    }
}

/// To be called when the process panics: if that happened while a journal was read, the next start puts it
/// aside instead of ending in the same way.
pub fn note_panic() {
    // Whoever panicked may hold it.
    let directory = READING.try_lock().ok().and_then(|mut reading| reading.take());
    if let Some(directory) = directory {
        let _ = fs::write(directory.join(DEADLY), "");
    }
}

/// How long logs may get beside an image of this size, in bytes, however slow who makes images is: then
/// all wait for the next one, about a second for a million routes.
fn most(image: u64) -> u64 {
    MOST.saturating_add(image.saturating_mul(2))
}

/// How long logs get beside an image of this size, in bytes, before the next one is made. The simulation
/// begins one with each command.
fn worth_replacing(image: u64) -> u64 {
    if cfg!(test) { 0 } else { WORTH_REPLACING.max(image) }
}

fn reading() -> MutexGuard<'static, Option<PathBuf>> {
    READING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the image with this number, of what was written before the log with it: the other process's part.
///
/// # Errors
/// When the files cannot be read, or the image not written; then they are as they were.
pub fn follow(directory: &Path, machine: &str, number: u64) -> Result<(), Fault> {
    follower::replace(directory, machine, Number::from(number))
}

/// Puts what is there out of the way, in place of what was put there before.
fn put_aside(directory: &Path) -> io::Result<PathBuf> {
    disk::step()?;
    let aside = directory.with_extension("damaged");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(directory, &aside)?;
    make_private(directory)?;
    Ok(aside)
}

/// What clients offer is for nobody else to read or change.
fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}
