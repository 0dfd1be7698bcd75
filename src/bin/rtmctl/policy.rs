//! `rtmctl policy`: who may do what, by the grants that are in force.
//!
//! The service is asked, and not its configuration file: that may say something else until it is read again,
//! and the machine may be another.

use rtmd::{bus::wire::Details, model::entity::Protocol};
use serde_json::json;
use zbus::{OwnedVariant, Variant};

use crate::{
    cli, completion,
    context::{Context, Exit, Problem},
    routes,
};

/// What `policy` can do.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Say which grant decides a case, what it says, and why those before it were passed over
    #[command(after_help = CHECK_HELP)]
    Check(Case),
}

/// A case.
#[derive(clap::Args, Debug)]
pub(crate) struct Case {
    /// A user, by name or number [default: who asks]
    #[arg(long, value_name = "NAME|NUMBER")]
    user: Option<String>,
    /// The systemd unit that the user's process is in
    #[arg(long, value_name = "UNIT", requires = "user")]
    unit: Option<String>,
    /// What it would register as
    #[arg(long, value_name = "NAME|NUMBER", default_value = "static", value_parser = routes::parse_protocol, add = completion::protocols())]
    protocol: Protocol,
    /// Whether the registration is shared
    #[arg(long)]
    shared: bool,
    /// For how many seconds its routes would linger
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=4_294_967))]
    linger: u32,
    /// A route that it would offer
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The preference that the route asks for
    #[arg(long, value_name = "N", requires = "prefix")]
    preference: Option<u32>,
}

/// Does what is asked for.
pub(crate) async fn run(context: &mut Context, command: Command) -> Result<Exit, Problem> {
    let Command::Check(case) = command;
    let details = describe(&case, context)?;
    let user = case.user.as_deref().unwrap_or_default();
    let unit = case.unit.as_deref().unwrap_or_default();
    let (allowed, grant, reason, passed_over) =
        context.manager.check_policy(user, unit, &details).await?;
    let exit = if allowed { Exit::Done } else { Exit::Refused };
    if context.scope.json {
        let named = |(name, why): (String, String)| json!({ "grant": name, "reason": why });
        let passed_over: Vec<_> = passed_over.into_iter().map(named).collect();
        let given = |text: String| (!text.is_empty()).then_some(text);
        context.out.json(&json!({
            "allowed": allowed,
            "grant": given(grant),
            "reason": given(reason),
            "passed-over": passed_over,
        }))?;
        return Ok(exit);
    }
    for (name, why) in passed_over {
        context.out.line(format_args!("passed over  \"{name}\": {why}"))?;
    }
    match (allowed, grant.as_str()) {
        (true, "") => context.out.line(format_args!("allowed      no grant binds this user"))?,
        (true, grant) => context.out.line(format_args!("allowed      by grant \"{grant}\""))?,
        (false, _) => context.out.line(format_args!("refused      {reason}"))?,
    }
    Ok(exit)
}

/// The case on the bus.
fn describe(case: &Case, context: &Context) -> Result<Details, Problem> {
    let mut details = vec![
        ("protocol", Variant::from(case.protocol.0)),
        ("instance", context.instance().into()),
        ("shared", case.shared.into()),
        ("linger", (case.linger * 1000).into()),
    ];
    if let Some(text) = &case.prefix {
        let prefix = cli::parse_prefix(text, &context.scope).map_err(Problem::Local)?;
        details.push(("prefix", prefix.to_string().into()));
    }
    if let Some(preference) = case.preference {
        details.push(("preference", preference.into()));
    }
    if let Some(family) = context.scope.family() {
        details.push(("family", family.name().into()));
    }
    let owned = |(key, value): (&str, Variant<'_>)| {
        let value = OwnedVariant::try_from(value).map_err(|e| Problem::Local(e.to_string()))?;
        Ok((key.to_owned(), value))
    };
    details.into_iter().map(owned).collect()
}

/// The help on `policy`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl policy check
  rtmctl policy check --user bird --unit bird.service --protocol bgp --prefix 10.0.0.0/8";

const CHECK_HELP: &str = "\
The exit status is 1 where the grants refuse it; polkit may allow it even so. About others it is for root and
whom a grant lets administer. The unit is taken to be known for sure.

Examples:
  rtmctl policy check --protocol bgp
  rtmctl policy check --user bird --unit bird.service --protocol bgp --prefix 10.0.0.0/8 --preference 20
  rtmctl --json policy check --user nobody | jq .reason";
