//! What it costs the service that another program writes routes, which it ignores or observes.

use rtmd::{
    model::{Forwarding, Hop, KernelTable, Prefix, Target, Weight},
    netlink::RouteChange,
};
use serde_json::json;

use crate::{
    progress,
    raw::{Raw, encode, signature},
    stage::{WEST, in_namespace, processor_seconds, until_quiet},
    support::{PrivateBus, peak, resident},
};

/// Whose routes they are, and what the service does with those.
const PROTOCOLS: [(u8, &str); 2] = [(12, "ignored (bird)"), (4, "observed (static)")];

/// What it came to.
struct Case {
    what: &'static str,
    /// Seconds of the writer for adding and deleting, without the service and beside it.
    alone: f64,
    beside: f64,
    /// Seconds of the processor that the service took.
    service: f64,
    /// Resident bytes of the service: before, at most, and after.
    memory: [u64; 3],
}

/// Has another program write and delete all of these, and prints what it found.
pub(crate) fn run(prefixes: &[Prefix], as_json: bool) {
    let cases = PROTOCOLS.map(|(protocol, what)| {
        progress(&format!("{what}, without the service"));
        let alone = in_namespace(|| write(prefixes, protocol)).expect("a namespace");
        progress(&format!("{what}, beside the service"));
        in_namespace(|| beside(prefixes, protocol, what, alone)).expect("a namespace")
    });
    progress("");
    if as_json {
        let figure = |case: &Case| {
            json!({
                "protocol": case.what,
                "routes": prefixes.len(),
                "writer-alone-seconds": case.alone,
                "writer-beside-seconds": case.beside,
                "service-processor-seconds": case.service,
                "resident-bytes": case.memory,
            })
        };
        println!("{}", json!(cases.iter().map(figure).collect::<Vec<_>>()));
        return;
    }
    println!("{} IPv4 routes that another program writes and deletes", prefixes.len());
    for Case { what, alone, beside, service, memory } in cases {
        let [before, most, after] = memory.map(|bytes| bytes / 1_048_576);
        println!(
            "{what:<18} {:>5.1} s alone, {beside:.1} s beside the service, which took {service:.2} s of a \
             processor; resident {before} MiB, at most {most}, then {after}",
            alone
        );
    }
}

fn write(prefixes: &[Prefix], protocol: u8) -> f64 {
    let place = (KernelTable::MAIN, signature(protocol));
    let gateway = Some("192.0.2.2".parse().unwrap());
    let hop = Hop { gateway, interface: WEST, weight: Weight::ONE };
    let target = Target::Plain(Forwarding::Unicast([hop].into()).into());
    let add = encode(prefixes, place, &RouteChange::Add(target), 256);
    let delete = encode(prefixes, place, &RouteChange::Delete, 256);
    let mut raw = Raw::open();
    raw.write(&add) + raw.write(&delete)
}

fn beside(prefixes: &[Prefix], protocol: u8, what: &'static str, alone: f64) -> Case {
    let bus = PrivateBus::start();
    let service = bus.serve("");
    let pid = service.pid();
    until_quiet(pid);
    let (spent, before) = (processor_seconds(pid), resident(pid));
    let beside = write(prefixes, protocol);
    until_quiet(pid);
    let memory = [before, peak(pid), resident(pid)];
    Case { what, alone, beside, service: processor_seconds(pid) - spent, memory }
}
