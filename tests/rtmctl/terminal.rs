//! A terminal of a test's own, with a program in it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::support::PrivateBus;

/// A terminal, what it shows, and the program in it.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    /// The program's side, kept open so that its settings can be looked at afterwards.
    line: OwnedFd,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    /// Runs `rtmctl` in a terminal of so many rows and columns.
    pub(crate) fn run(bus: &PrivateBus, words: &[&str], (rows, columns): (u16, u16)) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        tcsetwinsize(&line, size(rows, columns)).unwrap();
        let side = || Stdio::from(line.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--bus", &bus.address()])
            .args(words)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env("TZ", "UTC")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let keys = File::from(keys);
        let mut reader = keys.try_clone().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = reader.read(&mut buffer) {
                if length == 0 || sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let screen = vt100::Parser::new(rows, columns, 0);
        Self { child, keys, line, output, screen, raw: Vec::new() }
    }

    /// Waits until the screen fulfils something, and returns what it shows.
    pub(crate) fn wait(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let shown = self.screen.screen().contents();
            if holds(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}; the screen:\n{shown}");
            self.take(Duration::from_millis(20));
        }
    }

    /// Types.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends the program a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Gives it another size, as who drags a window does.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        tcsetwinsize(&self.line, size(rows, columns)).unwrap();
        self.screen.screen_mut().set_size(rows, columns);
        self.signal("WINCH");
    }

    /// Waits until the program ends, and has shown all it had to.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.take(Duration::from_millis(20));
            if let Some(status) = self.child.try_wait().unwrap() {
                self.take(Duration::from_millis(100));
                return status;
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.screen.screen().contents());
        }
    }

    /// Whether the program has a screen of its own now.
    pub(crate) fn has_own_screen(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    /// Whether the terminal is as a shell wants it: the cursor shows, lines are edited and echoed.
    pub(crate) fn is_given_back(&self) -> bool {
        let modes = self.settings().local_modes;
        !self.has_own_screen()
            && !self.screen.screen().hide_cursor()
            && modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// All that was written to it.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.line).unwrap()
    }

    fn take(&mut self, patience: Duration) {
        while let Ok(bytes) = self.output.recv_timeout(patience) {
            self.screen.process(&bytes);
            self.raw.extend(bytes);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
