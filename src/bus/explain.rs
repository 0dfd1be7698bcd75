//! What `Explain` answers: the core's reasoning as dictionaries.

use super::{
    convert::{detail, next_hop_info, times},
    wire::Details,
};
use crate::rib::{Candidate, ExplainedNextHop, Explanation, Rib};

/// Prefix, candidates, the kernel's side, where our routes have this metric.
pub(super) fn explanation(
    rib: &Rib,
    found: &Explanation<'_>,
    fib_metric: u32,
) -> (String, Vec<Details>, Details) {
    let candidates = (1u32..).zip(&found.candidates).map(|(place, of)| candidate(place, of));
    let mut fib = Details::new();
    detail(&mut fib, "state", found.fib.name());
    match found.others_first.filter(|(_, metric)| found.wish.is_some() && metric.0 < fib_metric) {
        Some((protocol, metric)) => {
            let sentence = format!(
                "the kernel goes by {protocol}'s route, whose metric {} is smaller than {fib_metric}",
                metric.0
            );
            detail(&mut fib, "reason", format!("{}, but {sentence}", found.fib_reason));
            detail(&mut fib, "goes-by", sentence);
        }
        None => detail(&mut fib, "reason", found.fib_reason.as_ref()),
    }
    detail(&mut fib, "kernel-table", found.kernel_table.map_or(0, |table| table.0));
    let name = |index| rib.interface_name(index).map_or_else(|| index.to_string(), str::to_owned);
    let wish = found.wish.as_ref().map_or_else(String::new, |wish| wish.told(name));
    detail(&mut fib, "wish", wish);
    if let Some(words) = found.fib_error {
        detail(&mut fib, "error", words);
    }
    (found.prefix.to_string(), candidates.collect(), fib)
}

fn candidate(place: u32, of: &Candidate<'_>) -> Details {
    let route = of.view.route;
    let mut details = Details::new();
    detail(&mut details, "rank", place);
    detail(&mut details, "reason", of.reason.as_str());
    detail(&mut details, "id", of.view.id.0.get());
    detail(&mut details, "owner", route.owner.0);
    detail(&mut details, "label", of.owner.map_or("", |owner| owner.label.as_str()));
    detail(&mut details, "protocol", route.protocol.0);
    detail(&mut details, "protocol-name", route.protocol.to_string());
    detail(&mut details, "preference", route.rank.preference.0);
    detail(&mut details, "metric", route.rank.metric.0);
    detail(&mut details, "flags", u32::from(route.flags.0));
    detail(&mut details, "views", route.views.0);
    if of.view.stale {
        detail(&mut details, "stale", true);
    }
    detail(&mut details, "best-in-views", route.best_in.0);
    detail(&mut details, "viable", route.viable);
    detail(&mut details, "state", route.state as u32);
    times(&mut details, &of.view);
    let next_hops: Vec<Details> = of.next_hops.iter().map(next_hop).collect();
    detail(&mut details, "next-hops", next_hops);
    if of.untold_next_hops > 0 {
        detail(&mut details, "next-hops-untold", of.untold_next_hops as u64);
    }
    details
}

/// A next hop as everywhere else, in one dictionary.
fn next_hop(of: &ExplainedNextHop<'_>) -> Details {
    let info = next_hop_info(&of.view, false);
    let mut details = info.more;
    if let Some(name) = details.remove("interface") {
        details.insert("interface-name".to_owned(), name);
    }
    detail(&mut details, "id", info.id);
    detail(&mut details, "address", info.address);
    detail(&mut details, "interface", info.interface);
    if let Some(fault) = &of.fault {
        detail(&mut details, "reason", fault.as_str());
    }
    if let Some(way) = &of.way {
        detail(&mut details, "way", way.as_str());
    }
    details
}
