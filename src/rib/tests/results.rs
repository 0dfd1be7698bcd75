//! What owners are told of the kernel's answers.

use super::super::{
    FibResult,
    testing::{TestRib, table},
};
use crate::{
    model::{Family, FibStatus, Prefix, RouteId},
    rib::{Tenure, Terms},
};

const TO: &str = "10.0.0.0/8";

/// A RIB in which the first of these asked to be told.
fn told(label: &str, others: [&str; 1]) -> TestRib {
    let mut test = TestRib::with_entities(others);
    let terms = Terms { fib_results: true, ..Terms::default() };
    test.register_as(label, Family::Ipv4, Tenure::Connection, terms).unwrap();
    test
}

/// The kernel took or refused whatever is on its list.
fn answer(test: &mut TestRib, to: &str, status: FibStatus, words: Option<&str>) {
    test.effects();
    let to: Prefix = to.parse().unwrap();
    test.rib.handle_fib(table(Family::Ipv4), to, status, words.map(str::to_owned));
}

fn taken(test: &mut TestRib, label: &str, count: usize) -> Vec<(RouteId, FibStatus)> {
    let owner = test.entity(label);
    let listeners = test.rib.poll_fib_listeners();
    assert!(listeners.iter().all(|(id, name)| (*id, name.as_str()) == (owner, ":rip")));
    if listeners.is_empty() {
        return Vec::new();
    }
    let results = test.rib.take_fib_results(owner, count);
    results.into_iter().map(|FibResult { route, status, .. }| (route, status)).collect()
}

#[test]
fn who_asked_is_told_what_the_kernel_made_of_its_best_routes_and_nobody_else_is() {
    let mut test = told("rip", ["ospf"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 pref 20").unwrap();
    test.add("ospf: 11.0.0.0/8 via 192.0.2.1").unwrap();
    assert_eq!(taken(&mut test, "rip", 9), [], "the kernel has not answered");
    answer(&mut test, "11.0.0.0/8", FibStatus::Installed, None);
    assert!(!test.rib.has_fib_results());
    answer(&mut test, TO, FibStatus::Failed, Some("no"));
    let owner = test.entity("rip");
    assert_eq!(test.rib.poll_fib_listeners(), [(owner, ":rip".to_owned())]);
    let error = Some("no".to_owned());
    let result = FibResult { route: id, status: FibStatus::Failed, error };
    assert_eq!(test.rib.take_fib_results(owner, 9), [result]);
    answer(&mut test, TO, FibStatus::Installed, None);
    assert_eq!(taken(&mut test, "rip", 9), [(id, FibStatus::Installed)]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 pref 10").unwrap();
    assert_eq!(taken(&mut test, "rip", 9), [(id, FibStatus::None)], "another is best");
    answer(&mut test, TO, FibStatus::Installed, None);
    assert_eq!(taken(&mut test, "rip", 9), [], "that is the other's");
}

#[test]
fn results_wait_once_for_each_route_in_parts_and_as_they_are_when_they_are_told() {
    let mut test = told("rip", ["ospf"]);
    let ids: Vec<RouteId> = ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"]
        .map(|to| test.add(&format!("rip: {to} via 192.0.2.1")).unwrap().0)
        .into();
    for status in [FibStatus::Failed, FibStatus::Installed] {
        for to in ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"] {
            answer(&mut test, to, status, None);
        }
    }
    test.delete("rip", ids[0]).unwrap();
    assert_eq!(taken(&mut test, "rip", 1), [(ids[1], FibStatus::Installed)]);
    assert_eq!(taken(&mut test, "rip", 1), [(ids[2], FibStatus::Installed)]);
    assert!(!test.rib.has_fib_results());
}

#[test]
fn what_a_silent_connection_was_not_told_comes_when_it_is_heard_from() {
    let mut test = told("rip", ["ospf"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    answer(&mut test, TO, FibStatus::Installed, None);
    assert_eq!(test.rib.poll_fib_listeners().len(), 1);
    assert!(!test.rib.has_fib_results(), "it is not told");
    test.rib.tell_results_again(":ospf");
    assert!(!test.rib.has_fib_results());
    test.rib.tell_results_again(":rip");
    assert_eq!(taken(&mut test, "rip", 9), [(id, FibStatus::Installed)]);
}
