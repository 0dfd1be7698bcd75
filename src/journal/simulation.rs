//! Every step that changes a file of the journal, and the end of the process before it or within.
//!
//! Files are real ones in a scratch directory. The service is the thread of a test, which is told with which
//! step it ends; who makes images is another thread, which waits before each of its steps until it is let
//! go on. A process that has ended changes nothing any more, so what is in the directory then is what the
//! next one finds. What must hold: it finds the state after the last command that was answered, or after
//! the one that was being carried out, and no other.

use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

use super::{Journal, file::Number, follower, ledger::Ledger};
use crate::rib::{Policy, Rib};

const MACHINE: &str = "this start";

thread_local! {
    static FATE: RefCell<Fate> = const { RefCell::new(Fate::Free) };
}

/// What becomes of this thread's steps.
enum Fate {
    /// All are done.
    Free,
    /// So many are done, and with the next the process ends: within it, if that is a write and `torn`.
    Ends { left: usize, torn: bool },
    /// So many are done, and the next one fails. Of what comes after so many are done, or all.
    Fails { left: usize, torn: bool, then: Option<usize> },
    /// So many are done, and after that nothing in the directory can be made, renamed or removed.
    ReadOnly { left: usize },
    /// Each waits until it is let go on.
    Waits { arrived: Sender<()>, may_go: Receiver<()> },
    /// It has ended.
    Over,
}

/// How much of a write of this length is done though the step is not.
pub(super) fn torn(length: usize) -> usize {
    FATE.with_borrow(|fate| match fate {
        Fate::Ends { left: 0, torn: true } | Fate::Fails { left: 0, torn: true, .. } => length / 2,
        _ => 0,
    })
}

pub(super) fn step() -> io::Result<()> {
    FATE.with_borrow_mut(|fate| {
        match fate {
            Fate::Free | Fate::ReadOnly { left: 0 } => return Ok(()),
            Fate::Ends { left: 0, .. } | Fate::Over => *fate = Fate::Over,
            Fate::Fails { left: 0, then: None, .. } => *fate = Fate::Free,
            Fate::Fails { left: 0, then: Some(left), .. } => {
                *fate = Fate::Ends { left: *left, torn: false };
            }
            Fate::Ends { left, .. } | Fate::Fails { left, .. } | Fate::ReadOnly { left } => {
                *left -= 1;
                return Ok(());
            }
            Fate::Waits { arrived, may_go } => {
                let _ = arrived.send(()); // nobody waits for it any more
                if may_go.recv().is_ok() {
                    return Ok(());
                }
                *fate = Fate::Over;
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    })
}

pub(super) fn entry_step() -> io::Result<()> {
    FATE.with_borrow(|fate| match fate {
        Fate::ReadOnly { left: 0 } => Err(io::Error::from_raw_os_error(libc::EROFS)),
        _ => Ok(()),
    })
}

fn with_fate<T>(given: Fate, run: impl FnOnce() -> T) -> T {
    FATE.set(given);
    let value = run();
    FATE.set(Fate::Free);
    value
}

fn is_over() -> bool {
    FATE.with_borrow(|fate| matches!(fate, Fate::Over))
}

/// Somebody who makes an image.
struct Follower {
    thread: JoinHandle<()>,
    arrived: Receiver<()>,
    may_go: Sender<()>,
    /// Steps that it made.
    steps: usize,
    is_there: bool,
}

impl Follower {
    fn start(directory: &Path, number: Number) -> Self {
        let (directory, (arrived, arrivals), (may_go, waits)) =
            (directory.to_owned(), channel(), channel());
        let run = move || {
            let fate = Fate::Waits { arrived, may_go: waits };
            with_fate(fate, || {
                // The first step is to read.
                if step().is_ok() {
                    let _ = follower::replace(&directory, MACHINE, number); // it may be too late
                }
            });
        };
        let thread = thread::spawn(run);
        let is_there = arrivals.recv().is_ok();
        Self { thread, arrived: arrivals, may_go, steps: 0, is_there }
    }

    /// Lets it make up to so many steps.
    fn go(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.is_there {
                break;
            }
            self.may_go.send(()).unwrap();
            self.steps += 1;
            // Until it waits again or is done.
            self.is_there = self.arrived.recv().is_ok();
        }
    }

    /// It ends where it is.
    fn kill(self) {
        drop(self.may_go);
        self.thread.join().unwrap();
    }
}

/// A directory, and what its services told their clients.
struct World {
    scratch: tempfile::TempDir,
    /// Commands that were begun, and that were answered; each notes its number.
    begun: u64,
    answered: u64,
    /// Who makes the first image there is to be made, if that is simulated.
    follower: Option<Follower>,
    /// Whether the journal may be lost as a whole: a write failed.
    may_be_lost: bool,
}

/// A process.
struct Service {
    journal: Journal,
    ledger: Ledger,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { scratch, begun: 0, answered: 0, follower: None, may_be_lost: false }
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join("journal")
    }

    /// Starts a service, which goes on where the one before was: `None` if it ended at that.
    fn open(&mut self) -> Option<Service> {
        // Nobody makes images but those of the test.
        let opened = Journal::open(&self.directory(), MACHINE, Vec::new());
        if is_over() {
            return None;
        }
        let (journal, found) = opened.unwrap();
        let state = found.as_ref().map_or(0, |ledger| {
            let state = ledger.bus().parse().unwrap_or_default();
            let bytes = postcard::to_stdvec(ledger).unwrap();
            let mut copy: Ledger = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(copy.next_enumeration(), state + 1, "one is missing, or there twice");
            state
        });
        if std::mem::take(&mut self.may_be_lost) && found.is_none() {
            self.answered = 0;
        }
        assert!(
            (self.answered..=self.begun).contains(&state),
            "command {state} is the last one known, of {} answered and {} begun: {:?}",
            self.answered,
            self.begun,
            self.files(),
        );
        (self.begun, self.answered) = (state, state);
        let ledger = found.unwrap_or_else(|| Ledger::new(Rib::new(Policy::default()), 1));
        Some(Service { journal, ledger })
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// One more command; whether it was answered.
    fn command(&mut self, service: &mut Service) -> bool {
        self.begun += 1;
        service.ledger.set_bus(self.begun.to_string());
        assert_eq!(service.ledger.next_enumeration(), self.begun);
        service.journal.keep(&mut service.ledger);
        if is_over() {
            return false;
        }
        self.answered = self.begun;
        true
    }

    /// A life of a service: so many commands, before each of which something else happens, or until it ends.
    /// Whether it is still there.
    fn live(&mut self, fate: Fate, commands: u64, mut before: impl FnMut(&mut Self, u64)) -> bool {
        with_fate(fate, || {
            let Some(mut service) = self.open() else { return false };
            for number in 0..commands {
                before(self, number);
                if !self.command(&mut service) {
                    return false;
                }
            }
            true
        })
    }

    /// A follower begins, as when the log with this number was begun.
    fn follow(&mut self, number: u64) {
        self.follower = Some(Follower::start(&self.directory(), Number::from(number)));
    }

    fn let_follower_go(&mut self, steps: usize) {
        if let Some(follower) = &mut self.follower {
            follower.go(steps);
        }
    }

    fn kill_follower(&mut self) {
        if let Some(follower) = self.follower.take() {
            follower.kill();
        }
    }
}

/// The numbers of all steps that a life makes: the test is told until it makes no more.
fn each_step(mut test: impl FnMut(usize, bool) -> bool) -> usize {
    for left in 0.. {
        let [lives, _] = [false, true].map(|torn| test(left, torn));
        if lives {
            return left;
        }
    }
    unreachable!("some life is over")
}

#[test]
fn wherever_a_service_ends_the_next_one_knows_what_was_answered_and_at_most_one_more() {
    let steps = each_step(|left, torn| {
        let mut world = World::new();
        let lived = world.live(Fate::Ends { left, torn }, 5, |_, _| ());
        // Twice: what the second finds it has written itself.
        for _ in 0..2 {
            assert!(world.live(Fate::Free, 2, |_, _| ()));
        }
        lived
    });
    // An image, and a log for each command.
    assert!(steps > 15, "{steps} steps");
}

#[test]
fn wherever_the_start_after_a_torn_write_ends_the_next_one_knows_as_much() {
    for torn_at in 0..12 {
        each_step(|left, torn| {
            let mut world = World::new();
            world.live(Fate::Ends { left: torn_at, torn: true }, 5, |_, _| ());
            let lived = world.live(Fate::Ends { left, torn }, 2, |_, _| ());
            assert!(world.live(Fate::Free, 2, |_, _| ()));
            assert!(world.live(Fate::Free, 0, |_, _| ()));
            lived
        });
    }
}

#[test]
fn a_follower_can_be_anywhere_when_services_begin_and_end_and_can_end_anywhere() {
    /// More than it makes.
    const MANY: usize = 9;
    let mut most = 0;
    // Its steps while the first service lives, when nobody does, and when the second lives.
    for first in 0..MANY {
        for second in 0..MANY - first {
            for third in 0..MANY - first - second {
                // The first service ends somewhere after the follower began; the second one, too.
                let ends = [
                    5 + (first * 7 + second * 3 + third) % 14,
                    (first + second * 5 + third * 3) % 9,
                ];
                let torn = (first + second + third) % 2 == 0;
                let mut world = World::new();
                let mut begin = |world: &mut World, number: u64| match number {
                    2 => world.follow(2),
                    3 => world.let_follower_go(first),
                    _ => {}
                };
                let fate = Fate::Ends { left: 2 + ends[0], torn };
                world.live(fate, 5, &mut begin);
                world.let_follower_go(second);
                let fate = Fate::Ends { left: ends[1], torn };
                world.live(fate, 3, |world, number| {
                    if number == 1 {
                        world.let_follower_go(third);
                    }
                });
                if let Some(follower) = &world.follower {
                    most = most.max(follower.steps);
                }
                // It ends there, or goes on beside the third.
                if (first + third) % 2 == 0 {
                    world.kill_follower();
                }
                assert!(world.live(Fate::Free, 2, |world, _| world.let_follower_go(1)));
                world.let_follower_go(MANY);
                world.kill_follower();
                assert!(world.live(Fate::Free, 1, |_, _| ()));
            }
        }
    }
    assert!((6..MANY).contains(&most), "{most} steps");
}

/// As where the configuration has other instances: what is there must not come back when it was replaced.
#[test]
fn wherever_beginning_anew_ends_it_is_the_old_state_or_the_new_one() {
    for follower_steps in 0..9 {
        each_step(|left, torn| {
            let mut world = World::new();
            assert!(world.live(Fate::Free, 4, |_, _| ()));
            world.follow(3);
            world.let_follower_go(follower_steps / 2);
            let lived = with_fate(Fate::Ends { left, torn }, || {
                let Some(mut service) = world.open() else { return false };
                service.journal.forget();
                world.command(&mut service)
            });
            world.let_follower_go(follower_steps);
            assert!(world.live(Fate::Free, 2, |_, _| ()));
            world.kill_follower();
            assert!(world.live(Fate::Free, 1, |_, _| ()));
            lived
        });
    }
}

/// It goes on, and what was answered after is not in the journal: then nothing may be.
#[test]
fn whichever_write_fails_nothing_is_left_or_all_that_was_answered() {
    let steps = each_step(|left, torn| {
        let mut world = World::new();
        let has_failed = with_fate(Fate::Fails { left, torn, then: None }, || {
            let mut service = world.open().unwrap();
            (0..5).for_each(|_| assert!(world.command(&mut service)));
            FATE.with_borrow(|fate| matches!(fate, Fate::Free))
        });
        assert_eq!(world.files().is_empty(), has_failed, "{:?}", world.files());
        world.may_be_lost = has_failed;
        assert!(world.live(Fate::Free, 2, |_, _| ()));
        assert!(world.live(Fate::Free, 1, |_, _| ()));
        !has_failed
    });
    assert!(steps > 15, "{steps} steps");
}

/// What is left of it then must not be taken for all there is.
#[test]
fn wherever_it_ends_while_it_gives_the_journal_up_nothing_older_comes_back() {
    for follower_steps in 0..9 {
        for then in 0..12 {
            each_step(|left, torn| {
                let mut world = World::new();
                let fate = Fate::Fails { left: 9 + left, torn, then: Some(then) };
                let lived = world.live(fate, 5, |world, number| match number {
                    2 => world.follow(2),
                    3 => world.let_follower_go(follower_steps),
                    _ => {}
                });
                world.kill_follower();
                world.may_be_lost = true;
                assert!(world.live(Fate::Free, 2, |_, _| ()));
                assert!(world.live(Fate::Free, 1, |_, _| ()));
                lived
            });
        }
    }
}

/// What cannot be removed lacks what was answered later.
#[test]
fn where_the_directory_becomes_read_only_nothing_older_comes_back() {
    let steps = each_step(|left, _| {
        let mut world = World::new();
        let has_failed = with_fate(Fate::ReadOnly { left }, || {
            let mut service = world.open().unwrap();
            (0..5).for_each(|_| assert!(world.command(&mut service)));
            entry_step().is_err()
        });
        world.may_be_lost = has_failed;
        assert!(world.live(Fate::Free, 2, |_, _| ()));
        assert!(world.live(Fate::Free, 1, |_, _| ()));
        !has_failed
    });
    assert!(steps > 15, "{steps} steps");
}
