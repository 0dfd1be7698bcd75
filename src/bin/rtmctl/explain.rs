//! `rtmctl explain`: why the routes of a destination stand as they do, and what the kernel has of it.

use std::borrow::Cow;

use rtmd::bus::wire::Details;
use serde_json::{Value, json};

use crate::{
    cli::{self, Target},
    context::{Context, Exit, Problem, number, text},
    output::{BEST, HEAD, printable},
    route_view::tell_preference,
};

/// Prints each candidate with why it won or lost and where its next hops lead, then the kernel's side.
pub(crate) async fn run(
    context: &mut Context,
    Target { target: asked }: Target,
) -> Result<Exit, Problem> {
    let target = cli::parse_prefix(&asked, &context.scope).map_err(Problem::Local)?;
    let table = context.table(target.family()).await?;
    // An address finds the most specific destination, a prefix exactly that.
    let asked = match asked.contains('/') || asked == "default" {
        true => target.to_string(),
        false => target.address().to_string(),
    };
    let (prefix, candidates, fib) = table.explain(&asked).await?;
    if context.scope.json {
        let candidates: Vec<Value> = candidates.iter().map(candidate_json).collect();
        let fib = object(&fib, &["kernel-table"], &["state", "reason", "wish", "error", "goes-by"]);
        let all = json!({"prefix": prefix, "candidates": candidates, "fib": fib});
        context.out.json(&all)?;
        return Ok(Exit::Done);
    }
    let out = &mut context.out;
    out.line(format_args!("{HEAD}{}{HEAD:#}", printable(&prefix)))?;
    for candidate in &candidates {
        let [label, protocol, reason] =
            ["label", "protocol-name", "reason"].map(|key| shown(candidate, key));
        let [rank, preference, metric, best] = ["rank", "preference", "metric", "best-in-views"]
            .map(|key| number(candidate, key).unwrap_or_default());
        let preference = tell_preference(preference);
        let style = if best & 1 == 1 { BEST } else { anstyle::Style::new() };
        out.line(format_args!(
            "  {style}{rank}. {label} ({protocol}), preference {preference}, metric {metric}{style:#}"
        ))?;
        out.line(format_args!("     {reason}"))?;
        for next_hop in next_hops(candidate) {
            let [address, interface] =
                ["address", "interface-name"].map(|key| shown(&next_hop, key));
            let mut hop = String::new();
            if !address.is_empty() {
                hop += &format!("via {address} ");
            }
            if !interface.is_empty() {
                hop += &format!("dev {interface} ");
            }
            let fate = text(&next_hop, "reason").or_else(|| text(&next_hop, "way"));
            let fate = printable(fate.unwrap_or("leads straight out"));
            out.line(format_args!("     {hop}- {fate}"))?;
        }
        if let Some(untold) = number(candidate, "next-hops-untold") {
            out.line(format_args!("     and {untold} next hops more"))?;
        }
    }
    let [wish, state, reason] = ["wish", "state", "reason"].map(|key| shown(&fib, key));
    let wish = if wish.is_empty() { "nothing of rtmd's".into() } else { wish };
    let table = number(&fib, "kernel-table").unwrap_or_default();
    out.line(format_args!("  kernel table {table}: {wish}; {state}: {reason}"))?;
    if let Some(words) = text(&fib, "error") {
        out.line(format_args!("     the kernel says: {}", printable(words)))?;
    }
    Ok(Exit::Done)
}

/// A detail that is text, harmless on a terminal; nothing where there is none.
fn shown<'d>(details: &'d Details, key: &str) -> Cow<'d, str> {
    printable(text(details, key).unwrap_or_default())
}

fn next_hops(candidate: &Details) -> Vec<Details> {
    let all = candidate.get("next-hops").and_then(|all| all.try_clone().ok());
    all.and_then(|all| Vec::<Details>::try_from(all).ok()).unwrap_or_default()
}

fn candidate_json(candidate: &Details) -> Value {
    let numbers = [
        "rank",
        "id",
        "owner",
        "protocol",
        "preference",
        "metric",
        "flags",
        "views",
        "best-in-views",
        "next-hops-untold",
    ];
    let mut value = object(candidate, &numbers, &["reason", "label", "protocol-name"]);
    let viable = candidate.get("viable").and_then(|it| bool::try_from(it).ok());
    let hop = |hop: &Details| {
        let words = ["address", "interface-name", "reason", "way"];
        object(hop, &["id", "interface", "weight"], &words)
    };
    let hops: Vec<Value> = next_hops(candidate).iter().map(hop).collect();
    value["viable"] = json!(viable);
    value["next-hops"] = json!(hops);
    value
}

/// Those of the details that are there.
fn object(details: &Details, numbers: &[&str], words: &[&str]) -> Value {
    let numbers = numbers.iter().filter_map(|key| Some((*key, json!(number(details, key)?))));
    let words = words.iter().filter_map(|key| Some((*key, json!(text(details, key)?))));
    numbers.chain(words).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The help on `explain`.
pub(crate) const HELP: &str = "\
Examples:
  rtmctl explain 198.51.100.7       # the destination that packets to it match
  rtmctl explain 198.51.100.0/24    # this very destination
  rtmctl -6 explain default";
