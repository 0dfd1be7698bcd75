//! The service: arguments, logging, start.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use rtmd::{
    bus::address::Bus,
    config::{Fault, STANDARD},
    daemon::{self, Options},
    journal,
};
use tracing_subscriber::EnvFilter;

/// A routing table manager: programs offer routes over D-Bus (org.rtmd1), the best route to each
/// destination goes to the kernel.
#[derive(Parser)]
#[command(
    version,
    after_help = "Log: RUST_LOG=debug (or warn, rtmd=trace, …) says how much is logged.\n\
                  Exit status: 0 stopped by a signal, 2 wrong arguments, 69 bus lost or name taken, \
                  71 the kernel cannot be talked to, 73 a directory cannot be used, 77 CAP_NET_ADMIN \
                  is missing, 78 the configuration is unusable."
)]
struct Arguments {
    /// The bus to be on: "system", "session" or a D-Bus address.
    #[arg(long, value_name = "BUS", default_value = "system")]
    bus: Bus,
    /// The configuration file, to which FILE.d/*.toml are added; a missing or empty one means all defaults.
    #[arg(long, value_name = "FILE", default_value = STANDARD)]
    config: PathBuf,
    /// Checks the configuration and ends: prints each mistake with its place, and exits with 78 if there is
    /// one and with 0 if there is none. FILE is checked instead of that of --config.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    check: Option<Option<PathBuf>>,
    /// With --check: prints a JSON list with file, line, column, instance and message of each mistake.
    #[arg(long, requires = "check")]
    json: bool,
    /// For what survives a restart of the service; one rtmd for each.
    #[arg(long, value_name = "DIR", env = "RUNTIME_DIRECTORY", default_value = "/run/rtmd")]
    runtime_directory: PathBuf,
    /// For what survives a restart of the machine.
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY", default_value = "/var/lib/rtmd")]
    state_directory: PathBuf,
    /// Take rtmd's routes out of the kernel's tables that the configuration names, and end; where rtmd runs
    /// it has to be stopped before.
    #[arg(long)]
    withdraw: bool,
    /// What a service has another process of its own do: makes an image of the journal in a directory.
    #[arg(long, hide = true, num_args = 3, value_names = ["DIR", "MACHINE", "NUMBER"])]
    follow_journal: Option<Vec<String>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(file) = &arguments.check {
        let file = file.as_ref().unwrap_or(&arguments.config);
        return check(file, &arguments.state_directory, arguments.json).await;
    }
    let filter =
        EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // The journal has the time and the program's name already.
    match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => log.without_time().with_target(false).init(),
        None => log.with_target(false).init(),
    }
    end_with_the_first_panic();
    if let Some([directory, machine, number]) = arguments.follow_journal.as_deref() {
        return follow_journal(directory.as_ref(), machine, number);
    }
    let options = Options {
        bus: arguments.bus,
        config: arguments.config,
        runtime_directory: arguments.runtime_directory,
        state_directory: arguments.state_directory,
    };
    let ended = match arguments.withdraw {
        true => daemon::withdraw(options).await,
        false => daemon::run(options).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}

/// Prints what is wrong with the configuration.
async fn check(file: &Path, state_directory: &Path, json: bool) -> ExitCode {
    const UNUSABLE: u8 = 78;
    let faults = match daemon::check(file, state_directory).await {
        Ok(config) => {
            if json {
                anstream::println!("[]");
            } else {
                let files = config.files.iter().map(|file| file.display().to_string());
                match files.collect::<Vec<_>>().join(", ") {
                    none if none.is_empty() => anstream::println!(
                        "{}: there is no configuration, everything is as by default",
                        file.display()
                    ),
                    files => anstream::println!("{files}: nothing is wrong"),
                }
            }
            return ExitCode::SUCCESS;
        }
        Err(faults) => faults,
    };
    if json {
        let all: Vec<_> = faults.0.iter().map(Fault::json).collect();
        anstream::println!("{:#}", serde_json::Value::from(all));
    } else {
        anstream::println!("{faults}");
    }
    ExitCode::from(UNUSABLE)
}

fn follow_journal(directory: &Path, machine: &str, number: &str) -> ExitCode {
    // Nobody waits for it. Where that is not to be had it is only in the way of others.
    let _ = rustix::process::nice(10);
    let followed = number.parse().map_err(|_| format!("{number} is no number of an image"));
    let followed = followed.and_then(|number| {
        journal::follow(directory, machine, number).map_err(|fault| fault.to_string())
    });
    match followed {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tracing::error!("no image of the journal: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// A task that panics would leave a service that looks alive and answers nobody; one that ends is
/// started again.
fn end_with_the_first_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        journal::note_panic();
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt,
        process::{Command, exit},
    };

    use super::end_with_the_first_panic;

    /// In a process of its own, which is this test once more.
    #[test]
    fn a_task_that_panics_ends_the_process_while_others_wait_for_it() {
        const NAME: &str = "tests::a_task_that_panics_ends_the_process_while_others_wait_for_it";
        const INSIDE: &str = "RTMD_TEST_PANICS";
        if std::env::var_os(INSIDE).is_some() {
            end_with_the_first_panic();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let task = runtime.spawn(async { panic!("this is the test's") });
            let _ = runtime.block_on(task);
            // It lived on.
            exit(0);
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1");
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("this is the test's"), "{said}");
        const SIGABRT: i32 = 6;
        assert_eq!(output.status.signal(), Some(SIGABRT), "{said}");
    }
}
