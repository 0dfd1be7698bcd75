//! The words of the command line.

use clap::{Args, Parser, Subcommand};
use rtmd::{
    client::Bus,
    model::prefix::{Family, Prefix},
};

use crate::{
    completion, entities, explain, fib, host::Host, lookup, monitor, nexthops, policy, preference,
    register, routes, statics, status, top,
};

/// Look into the routing table manager, and offer it routes.
#[derive(Debug, Parser)]
#[command(name = "rtmctl", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Where to look.
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Scope {
    /// The bus to find the service on: system, session, or a D-Bus address
    #[arg(long, global = true, value_name = "BUS", default_value = "system")]
    pub(crate) bus: Bus,
    /// The machine whose bus that is, reached with ssh
    #[arg(short = 'H', long, global = true, value_name = "[USER@]HOST[:PORT]")]
    pub(crate) host: Option<Host>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The instance to look into [default: 0; for status: all]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) instance: Option<u32>,
    /// Only IPv4
    #[arg(short = '4', long, global = true, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long, global = true)]
    pub(crate) ipv6: bool,
}

/// What a command about one destination takes.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// A destination, or an address for the destination that packets to it match
    #[arg(value_name = "ADDRESS|PREFIX", add = completion::prefixes())]
    pub(crate) target: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how the service and its tables are doing
    #[command(after_help = status::HELP)]
    Status,
    /// List who is registered
    #[command(after_help = entities::HELP)]
    Entities,
    /// List routes
    #[command(after_help = routes::HELP)]
    Routes(routes::Arguments),
    /// List where routes lead, and how many take each way
    #[command(after_help = nexthops::HELP)]
    Nexthops(nexthops::Arguments),
    /// Show how far the kernel is with each table, and what it refused
    #[command(after_help = fib::HELP)]
    Fib(fib::Arguments),
    /// Show the unicast routes to an address, in order of rank. If the marked one is installed packets
    /// follow it, unless others have a route to the same destination with a smaller metric in the kernel,
    /// which is told then
    #[command(after_help = lookup::HELP)]
    Lookup(Target),
    /// Say of each route to a destination why it won or lost, where it leads, and what the kernel has
    #[command(after_help = explain::HELP)]
    Explain(Target),
    /// Tell what changes, as it changes
    #[command(after_help = monitor::HELP)]
    Monitor(monitor::Arguments),
    /// Watch tables and entities, their rates, and what the kernel still has to be told
    #[command(after_help = top::HELP)]
    Top(top::Arguments),
    /// Register, and offer the routes read from standard input for as long as this runs, also after the
    /// end of its input
    #[command(after_long_help = register::LINES_HELP)]
    Register(register::Arguments),
    /// Offer the routes of a file, and leave them there
    #[command(after_help = register::load::HELP)]
    Load(register::load::Arguments),
    /// Add, remove and list static routes, which need no client
    #[command(after_help = statics::HELP, subcommand)]
    Static(statics::Command),
    /// Say who may do what, and which rule says so
    #[command(after_help = policy::HELP, subcommand)]
    Policy(policy::Command),
    /// Show and set the levels that protocols' routes have
    #[command(after_help = preference::HELP, subcommand)]
    Preference(preference::Command),
}

impl Scope {
    /// Completes the sentence "rtmd is not running on …".
    pub(crate) fn place(&self) -> String {
        self.host
            .as_ref()
            .map_or_else(|| self.bus.to_string(), |host| format!("{} of {host}", self.bus))
    }

    /// The family asked for, if only one is.
    pub(crate) fn family(&self) -> Option<Family> {
        match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::Ipv4),
            (_, true) => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// The families to show: both, unless one was asked for.
    pub(crate) fn families(&self) -> &'static [Family] {
        match self.family() {
            Some(Family::Ipv4) => &[Family::Ipv4],
            Some(Family::Ipv6) => &[Family::Ipv6],
            None => &Family::ALL,
        }
    }

    /// Refuses a prefix of another family than the one asked for.
    pub(crate) fn check(&self, prefix: Prefix) -> Result<Prefix, String> {
        match self.family() {
            Some(family) if family != prefix.family() => {
                Err(format!("{prefix} is not of the family asked for, {family}"))
            }
            _ => Ok(prefix),
        }
    }
}

/// Reads a prefix of the command line, where `default` needs `-4` or `-6`.
pub(crate) fn parse_prefix(text: &str, scope: &Scope) -> Result<Prefix, String> {
    scope.check(crate::lines::parse_prefix(text, scope.family())?)
}

const AFTER_HELP: &str = "\
Each command says more with --help, and has a man page: rtmctl-routes(1).

Examples:
  rtmctl status
  rtmctl explain 198.51.100.7
  rtmctl static add 10.0.0.0/8 via 192.0.2.1 --persistent
  rtmctl monitor
  rtmctl --host root@router routes --state failed

Exit status:
   0  done
   1  something was refused or not found
   2  the command line was wrong
  69  the service or its bus is not available, or went away
  77  permission denied";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_scope_may_stand_before_or_after_the_command() {
        for words in [["rtmctl", "-4", "routes"], ["rtmctl", "routes", "-4"]] {
            let cli = Cli::try_parse_from(words).unwrap();
            assert_eq!(cli.scope.families(), [Family::Ipv4]);
        }
    }

    #[test]
    fn without_a_family_both_are_shown_on_the_system_bus() {
        let cli = Cli::try_parse_from(["rtmctl", "status"]).unwrap();
        assert_eq!((cli.scope.families(), cli.scope.bus), (&Family::ALL[..], Bus::System));
    }
}
