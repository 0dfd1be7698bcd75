//! Asking an administrator, through polkit, about what no grant allows.
//!
//! The client's call waits in its queue meanwhile, so its later ones wait too and others do not. A person may
//! have to type a password: that happens only where the call says that this is fine, and it ends when the
//! client goes. What a reader would get wrong: giving up does not end a question on the bus, polkit has to be
//! told, and it counts until it is answered.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::oneshot;
use zbus::{
    Connection, Proxy, Variant, fdo,
    message::{Flags, Header},
    proxy::CacheProperties,
};

use super::{context::Context, questions::Questions};
use crate::model::{Caller, Error, ErrorKind, Result};

/// How long polkit may take by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a person may take.
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(120);

/// How many questions may be open at once; a bus lets a connection have 128 (dbus-daemon).
const MOST: usize = 32;

/// What polkit can be asked: the names are in `org.rtmd1.policy`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// To register an entity.
    Register,
    /// To change the static routes.
    ManageStatic,
    /// To change levels, forwarding or the configuration in force.
    Administer,
}

/// The questions to polkit.
#[derive(Debug)]
pub(super) struct Polkit {
    open: Questions,
    last: AtomicU64,
}

/// Whether it may be done, and whether it might if a person were asked.
type Answer = (bool, bool, HashMap<String, String>);

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Register => "org.rtmd1.register",
            Self::ManageStatic => "org.rtmd1.manage-static",
            Self::Administer => "org.rtmd1.administer",
        }
    }
}

impl Polkit {
    pub(super) fn new() -> Self {
        Self { open: Questions::new(MOST), last: AtomicU64::new(0) }
    }
}

/// Lets a caller do what was refused, if polkit lets it.
///
/// # Errors
/// The refusal, with what polkit said to it where polkit runs.
pub(super) async fn ask(
    context: &Context,
    header: &Header<'_>,
    caller: &Caller,
    action: Action,
    refusal: Error,
) -> Result<()> {
    // What is wrong otherwise, nobody's consent makes right.
    if refusal.kind != ErrorKind::AccessDenied {
        return Err(refusal);
    }
    let with_people = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let patience = if with_people { PATIENCE_WITH_PEOPLE } else { PATIENCE };
    let id = context.polkit.last.fetch_add(1, Ordering::Relaxed).to_string();
    let answer = tokio::select! {
        answer = tokio::time::timeout(patience, question(context, caller, action, &id, with_people)) => answer,
        () = context.clients.departure_of(&caller.bus_name) => {
            cancel(context.clients.questions(), &id).await;
            return Err(refusal);
        }
    };
    let name = action.name();
    let why = match answer {
        Ok(Some(Ok((true, ..)))) => {
            tracing::info!(
                client = caller.bus_name,
                uid = caller.uid,
                action = name,
                "polkit says yes"
            );
            return Ok(());
        }
        // Nobody to ask: the rule is all there is to say.
        Ok(None | Some(Err(None))) => return Err(refusal),
        Ok(Some(Ok((_, true, _)))) if with_people => {
            format!("polkit would ask for a password for {name}, and there was nobody to ask")
        }
        Ok(Some(Ok((_, true, _)))) => {
            format!("polkit would ask for a password for {name}, and the call does not allow that")
        }
        Ok(Some(Ok(_))) => format!("polkit does not authorize {name} either"),
        Ok(Some(Err(Some(words)))) => format!("polkit did not say whether {name}: {words}"),
        Err(_) => {
            cancel(context.clients.questions(), &id).await;
            format!("polkit did not say in {} seconds whether {name}", patience.as_secs())
        }
    };
    let Error { kind, message } = refusal;
    Err(kind.because(format_args!("{message} ({why})")))
}

/// The answer; an error without words where polkit does not run, none when the service is stopping.
async fn question(
    context: &Context,
    caller: &Caller,
    action: Action,
    id: &str,
    with_people: bool,
) -> Option<std::result::Result<Answer, Option<String>>> {
    let place = context.polkit.open.place(caller.uid).await?;
    let (questions, id) = (context.clients.questions().clone(), id.to_owned());
    let bus_name = caller.bus_name.clone();
    let (tell, answer) = oneshot::channel();
    // The question goes on where the caller gives up on it, and counts until then.
    tokio::spawn(async move {
        let answer = check_authorization(&questions, &bus_name, action, &id, with_people).await;
        drop(place);
        let _ = tell.send(answer.map_err(|error| trouble(&error))); // nobody may want it any more
    });
    answer.await.ok()
}

async fn check_authorization(
    questions: &Connection,
    bus_name: &str,
    action: Action,
    id: &str,
    with_people: bool,
) -> zbus::Result<Answer> {
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(bus_name))]));
    let details = HashMap::<&str, &str>::new();
    let question = (subject, action.name(), details, u32::from(with_people), id);
    authority(questions).await?.call("CheckAuthorization", &question).await
}

/// What went wrong, in words; none where there is no polkit.
fn trouble(error: &zbus::Error) -> Option<String> {
    let is_absent = match error {
        zbus::Error::MethodError(name, ..) => {
            name.as_str() == "org.freedesktop.DBus.Error.ServiceUnknown"
        }
        zbus::Error::FDO(error) => matches!(**error, fdo::Error::ServiceUnknown(_)),
        _ => false,
    };
    (!is_absent).then(|| error.to_string())
}

async fn cancel(questions: &Connection, id: &str) {
    let told = async {
        authority(questions).await?.call_noreply("CancelCheckAuthorization", &(id,)).await
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "polkit was not told that a question is over");
    }
}

async fn authority(questions: &Connection) -> zbus::Result<Proxy<'_>> {
    zbus::proxy::Builder::new(questions)
        .destination("org.freedesktop.PolicyKit1")
        .path("/org/freedesktop/PolicyKit1/Authority")
        .interface("org.freedesktop.PolicyKit1.Authority")
        .cache_properties(CacheProperties::No)
        .build()
        .await
}
