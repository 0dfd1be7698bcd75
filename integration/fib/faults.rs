//! System calls of the real service that fail, as strace has them do.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{scene::Scene, support::found};

/// A strace that has system calls fail.
pub(crate) struct Faults {
    strace: Child,
    told: tempfile::NamedTempFile,
}

impl Faults {
    /// In one thread of rtmd, or in all of them and those to come. Says so where that cannot be done.
    pub(crate) fn start(scene: &Scene, thread: Option<&str>, faults: &[&str]) -> Option<Self> {
        Self::in_process(scene.service.pid(), thread, faults)
    }

    /// The same, in the process with this number.
    pub(crate) fn in_process(pid: u32, thread: Option<&str>, faults: &[&str]) -> Option<Self> {
        if !found("strace") {
            return None;
        }
        let target = match thread {
            None => pid.to_string(),
            Some(name) => thread_of(pid, name),
        };
        let told = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("strace");
        command.args(["-qq", "-s", "0", "-e", "trace=sendto,recvfrom", "-o"]).arg(told.path());
        command.args(thread.is_none().then_some("-f"));
        command.args(faults.iter().map(|fault| format!("--inject={fault}")));
        let mut strace = command.args(["-p", &target]).stderr(Stdio::piped()).spawn().unwrap();
        let is_traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/task/{target}/status"));
            status.unwrap().lines().any(|line| {
                line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0")
            })
        };
        while !is_traced() {
            if strace.try_wait().unwrap().is_some() {
                let output = strace.wait_with_output().unwrap();
                println!("skip: {}", String::from_utf8_lossy(&output.stderr).trim());
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // That it has the thread is not yet that it has it go on.
        std::thread::sleep(Duration::from_millis(50));
        Some(Self { strace, told })
    }

    /// In the thread that writes.
    pub(crate) fn in_writer(scene: &Scene, faults: &[&str]) -> Option<Self> {
        Self::start(scene, Some("rtmd-writer"), faults)
    }

    /// What strace has written so far.
    fn told(&self) -> String {
        std::fs::read_to_string(self.told.path()).unwrap()
    }

    /// Ends it, and answers with what was done meanwhile.
    pub(crate) fn stop(mut self) -> String {
        let kill = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status();
        assert!(kill.unwrap().success());
        self.strace.wait().unwrap();
        self.told()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// The number of a thread.
fn thread_of(pid: u32, name: &str) -> String {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut numbers = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let has_name = |number: &String| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/task/{number}/comm"));
        comm.is_ok_and(|comm| comm.trim() == name)
    };
    numbers.find(has_name).unwrap()
}
