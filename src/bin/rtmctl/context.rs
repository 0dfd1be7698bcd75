//! What every command needs: the service, the output, and what to say when something is wrong.

use std::io;

use rtmd::{
    bus::wire::Details,
    client::{self, Bus, Failure, ManagerProxy, TableProxy},
    model::{error::ErrorKind, prefix::Family},
};

use zbus::OwnedVariant;

use crate::{cli::Scope, output::Output};

/// The service and how to talk about it.
pub(crate) struct Context {
    /// What the command line said about where to look.
    pub(crate) scope: Scope,
    /// The service.
    pub(crate) manager: ManagerProxy<'static>,
    /// Where results go.
    pub(crate) out: Output,
}

/// What the process tells its parent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something was refused or not found.
    Refused = 1,
    /// The service or its bus is not available (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The bus or the service does not allow it (`EX_NOPERM`).
    Denied = 77,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A call failed.
    Call(Failure),
    /// The output could not be written.
    Output(io::Error),
    /// Something on this side is wrong.
    Local(String),
}

impl Context {
    /// Connects to the bus that the scope names.
    pub(crate) async fn connect(scope: Scope) -> Result<Self, Problem> {
        let connection = match &scope.host {
            Some(host) => host.connect(&scope.bus).await?,
            None => client::connect(&scope.bus).await?,
        };
        let manager = client::manager(&connection).await?;
        Ok(Self { scope, manager, out: Output::new() })
    }

    /// The instance asked for.
    pub(crate) fn instance(&self) -> u32 {
        self.scope.instance.unwrap_or(0)
    }

    /// The tables of an instance in the families asked for.
    ///
    /// One that is not configured is passed over as long as another is there.
    pub(crate) async fn tables(
        &self,
        instance: u32,
    ) -> Result<Vec<(Family, TableProxy<'static>)>, Problem> {
        let mut tables = Vec::new();
        let mut missing = None;
        for &family in self.scope.families() {
            match client::table(&self.manager, instance, family).await {
                Ok(table) => tables.push((family, table)),
                Err(error) if error.kind() == Some(ErrorKind::FileNotFound) => {
                    missing = Some(error)
                }
                Err(error) => return Err(error.into()),
            }
        }
        match missing {
            Some(error) if tables.is_empty() => Err(error.into()),
            _ => Ok(tables),
        }
    }

    /// The table of one family.
    pub(crate) async fn table(&self, family: Family) -> Result<TableProxy<'static>, Problem> {
        Ok(client::table(&self.manager, self.instance(), family).await?)
    }

    /// Tells a person, who would wonder at nothing at all, that there is nothing.
    pub(crate) fn say_if_empty(&self, count: u64, what: &str) {
        if count == 0 && !self.scope.json {
            let families = self.scope.families().iter().map(|family| family.name());
            let families = families.collect::<Vec<_>>().join(" and ");
            anstream::eprintln!("no {what} in instance {} ({families})", self.instance());
        }
    }

    /// A limit of the service by name, or what to assume of a service that does not tell.
    pub(crate) async fn limit(&self, name: &str, assumed: u32) -> Result<u32, Problem> {
        limit(&self.manager, name, assumed).await
    }
}

/// As [`Context::limit`].
pub(crate) async fn limit(
    manager: &ManagerProxy<'_>,
    name: &str,
    assumed: u32,
) -> Result<u32, Problem> {
    let limits = manager.limits().await.map_err(Failure::from)?;
    Ok(limits.get(name).copied().unwrap_or(assumed))
}

/// A detail that is a number of any width.
pub(crate) fn number(details: &Details, name: &str) -> Option<u64> {
    let value = details.get(name)?;
    value.downcast_ref::<u32>().map(u64::from).or_else(|_| value.downcast_ref::<u64>()).ok()
}

/// A detail that is text.
pub(crate) fn text<'d>(details: &'d Details, name: &str) -> Option<&'d str> {
    details.get(name)?.downcast_ref().ok()
}

/// A detail that is a list.
pub(crate) fn list<T>(details: &Details, name: &str) -> Vec<T>
where
    Vec<T>: TryFrom<OwnedVariant>,
{
    details.get(name).and_then(|value| value.clone().try_into().ok()).unwrap_or_default()
}

impl Problem {
    /// The sentence for the user; none where the reader of the output just went away.
    pub(crate) fn message(&self, scope: &Scope) -> Option<String> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => Some(format!("cannot write: {error}")),
            Self::Local(message) => Some(message.clone()),
            Self::Call(Failure::Unreachable(reason)) => {
                let advice = match &scope.bus {
                    Bus::System => "start it with systemctl start rtmd, or ",
                    Bus::Session | Bus::Address(_) => "",
                };
                let place = scope.place();
                Some(format!(
                    "rtmd is not running on {place}: {reason}; {advice}name another bus with --bus"
                ))
            }
            Self::Call(Failure::Denied(reason)) => Some(format!("permission denied: {reason}")),
            Self::Call(failure) => Some(failure.to_string()),
        }
    }

    /// The exit status that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            // `rtmctl routes | head` has done all that was wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Call(Failure::Unreachable(_) | Failure::Unexpected(_)) => Exit::Unavailable,
            Self::Call(Failure::Denied(_)) => Exit::Denied,
            Self::Call(failure) if failure.kind() == Some(ErrorKind::AccessDenied) => Exit::Denied,
            Self::Call(_) | Self::Output(_) | Self::Local(_) => Exit::Refused,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Call(failure)
    }
}

impl From<zbus::Error> for Problem {
    fn from(error: zbus::Error) -> Self {
        Self::Call(error.into())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_service_tells_how_to_start_it() {
        let problem = Problem::Call(Failure::Unreachable("no such name".into()));
        assert_eq!(
            problem.message(&Scope::default()).unwrap(),
            "rtmd is not running on the system bus: no such name; start it with systemctl start \
             rtmd, or name another bus with --bus"
        );
        assert_eq!(problem.exit(), Exit::Unavailable);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let problem = Problem::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((problem.message(&Scope::default()), problem.exit()), (None, Exit::Done));
    }

    #[test]
    fn denial_by_the_bus_and_by_the_service_are_the_same_to_the_caller() {
        let refused = Failure::Refused { name: "AccessDenied".into(), message: "no".into() };
        assert_eq!(Problem::Call(refused).exit(), Exit::Denied);
        assert_eq!(Problem::Call(Failure::Denied("no".into())).exit(), Exit::Denied);
    }
}
