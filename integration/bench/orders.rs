//! In which order and how many at a time the kernel likes its routes best, by the raw writer.

use rtmd::{
    model::{Family, KernelTable, ObjectId, Prefix, Target},
    netlink::RouteChange,
};
use serde_json::json;

use crate::{
    FAR_OBJECT, NEAR_OBJECT, gateways, progress,
    raw::{Raw, encode, signature},
    stage::in_namespace,
    table,
    times::Times,
};

/// Messages a send, where it is the order that is compared.
const BATCH: usize = 256;

/// How many routes come by address in a run, and how many passes there are over a table.
const RUN: usize = 512;
const PASSES: usize = 8;

/// What is done, one after the other.
const CHANGES: [&str; 3] = ["add", "replace", "delete"];

/// One way to write a table.
struct Way<'p> {
    family: Family,
    name: String,
    prefixes: &'p [Prefix],
    batch: usize,
    seconds: [Times; 3],
}

/// Measures all orders and sizes for these tables, in turns, and prints what it found.
pub(crate) fn run(tables: &[(Family, Vec<Prefix>)], rounds: usize, as_json: bool) {
    let mut orders = Vec::new();
    for (family, prefixes) in tables {
        let mut sorted = prefixes.clone();
        sorted.sort_by_key(table::by_address);
        orders.push((*family, "as offered", prefixes.clone()));
        orders.push((*family, "shuffled", table::shuffled(prefixes)));
        // A part of the table after the other, each by address: the parts in no order.
        let runs: Vec<&[Prefix]> = sorted.chunks(RUN).collect();
        orders.push((*family, "in runs of 512", table::shuffled(&runs).concat()));
        // All over the table at any time, and in few passes.
        let passes = (0..PASSES).flat_map(|n| sorted.iter().skip(n).step_by(PASSES));
        orders.push((*family, "in 8 passes", passes.copied().collect()));
        orders.push((*family, "by address", sorted));
    }
    let mut ways = Vec::new();
    for (family, order, prefixes) in &orders {
        let batches: &[usize] =
            if *order == "as offered" { &[16, 64, BATCH, 1024] } else { &[BATCH] };
        ways.extend(batches.iter().map(|batch| Way {
            family: *family,
            name: format!("{order}, {batch} a send"),
            prefixes,
            batch: *batch,
            seconds: Default::default(),
        }));
    }
    for round in 1..=rounds {
        for way in &mut ways {
            progress(&format!("round {round} of {rounds}, {} {}", way.family, way.name));
            let seconds = in_namespace(|| write(way)).expect("it was to be had a moment ago");
            way.seconds.iter_mut().zip(seconds).for_each(|(times, it)| times.push(it));
        }
    }
    progress("");
    report(&ways, rounds, as_json);
}

/// Writes the table, writes it anew, and takes it away; the seconds of each.
fn write(way: &Way<'_>) -> [f64; 3] {
    let place = (KernelTable::MAIN, signature(83));
    let to = |id: ObjectId| Target::Object(id);
    let changes = [
        RouteChange::Add(to(NEAR_OBJECT)),
        RouteChange::Replace(to(FAR_OBJECT)),
        RouteChange::Delete,
    ];
    let mut raw = Raw::open();
    let [near, far, _] = gateways(way.family);
    raw.set_object(NEAR_OBJECT, near, true);
    raw.set_object(FAR_OBJECT, far, true);
    changes.map(|change| raw.write(&encode(way.prefixes, place, &change, way.batch)))
}

fn report(ways: &[Way<'_>], rounds: usize, as_json: bool) {
    if as_json {
        let figure = |way: &Way<'_>| {
            let seconds = way.seconds.each_ref().map(Times::values);
            let by_change: serde_json::Map<String, serde_json::Value> = CHANGES
                .iter()
                .zip(seconds)
                .map(|(it, values)| (it.to_string(), json!(values)))
                .collect();
            json!({
                "family": way.family.name(),
                "order": way.name,
                "routes": way.prefixes.len(),
                "seconds": by_change,
            })
        };
        println!("{}", json!(ways.iter().map(figure).collect::<Vec<_>>()));
        return;
    }
    println!("raw writer, seconds, {rounds} rounds, medians (least to most)");
    println!("{:<34} {:<22} {:<22} {:<22}", "routes, order", CHANGES[0], CHANGES[1], CHANGES[2]);
    for way in ways {
        let what = format!("{} {}, {}", way.prefixes.len(), way.family.name(), way.name);
        let [add, replace, delete] = way.seconds.each_ref().map(Times::text);
        println!("{what:<34} {add:<22} {replace:<22} {delete:<22}");
    }
}
