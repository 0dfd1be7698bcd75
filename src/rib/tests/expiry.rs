//! Time to live (RTMv2 rows TTL-01 to TTL-11).

use super::super::testing::{TestRib, table};
use crate::{
    model::{ErrorKind, Family, RouteId},
    rib::{Question, Tenure, Terms, Verdict},
};

fn the_question(test: &mut TestRib) -> Question {
    let questions = test.rib.poll_questions();
    assert_eq!(questions.len(), 1);
    questions[0]
}

fn is_there(test: &TestRib, id: RouteId) -> bool {
    test.rib.route(table(Family::Ipv4), id).is_ok()
}

#[test]
fn a_route_expires_when_its_milliseconds_are_over_and_stays_until_the_owner_answered() {
    let mut test = TestRib::with_entities(["rip"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 1000").unwrap();
    test.pass(999);
    assert!(!test.rib.has_questions());
    test.pass(1);
    assert_eq!(the_question(&mut test).route, id);
    assert!(is_there(&test, id));
}

#[test]
fn without_a_time_to_live_nothing_expires_and_zero_is_refused() {
    let mut test = TestRib::with_entities(["rip"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 4294967295").unwrap();
    assert_eq!(test.rib.next_deadline(), None);
    let refusal = test.add("rip: 11.0.0.0/8 via 192.0.2.1 ttl 0").unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
}

#[test]
fn offering_a_route_again_gives_it_its_new_time() {
    let mut test = TestRib::with_entities(["rip"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.pass(9);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.pass(9);
    assert!(!test.rib.has_questions());
    test.add("rip: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.pass(1000);
    assert!(!test.rib.has_questions());
}

#[test]
fn the_owner_lets_it_go_or_keeps_it_without_a_time() {
    let mut test = TestRib::with_entities(["rip"]);
    for (verdict, stays) in [(Verdict::Delete, false), (Verdict::Keep, true)] {
        let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
        test.pass(10);
        let question = the_question(&mut test);
        let now = test.now();
        test.rib.answer_expiry(&question, verdict, now);
        assert_eq!(is_there(&test, id), stays);
        assert_eq!(test.rib.next_deadline(), None);
    }
}

#[test]
fn who_does_not_answer_in_time_loses_the_route_and_answers_late_for_nothing() {
    let mut test = TestRib::with_entities(["rip"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.pass(10);
    let question = the_question(&mut test);
    test.pass(4999);
    assert!(is_there(&test, id));
    test.pass(1);
    assert!(!is_there(&test, id));
    let now = test.now();
    test.rib.answer_expiry(&question, Verdict::Keep, now);
    assert!(!is_there(&test, id));
}

#[test]
fn an_update_is_an_answer_and_the_other_answer_counts_no_more() {
    let mut test = TestRib::with_entities(["rip"]);
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.pass(10);
    let question = the_question(&mut test);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 metric 16").unwrap();
    let now = test.now();
    test.rib.answer_expiry(&question, Verdict::Delete, now);
    test.pass(10_000);
    assert!(is_there(&test, id));
}

#[test]
fn a_route_that_expires_twice_before_anybody_looks_is_asked_about_once() {
    let mut test = TestRib::with_entities(["rip"]);
    for _ in 0..2 {
        test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
        test.pass(10);
    }
    the_question(&mut test);
}

#[test]
fn who_deregistered_is_asked_nothing() {
    let mut test = TestRib::with_entities(["rip"]);
    test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.pass(10);
    test.rib.deregister(test.entity("rip")).unwrap();
    assert_eq!(test.rib.poll_questions(), []);
}

#[test]
fn where_no_connection_can_be_asked_a_route_goes_at_once() {
    let mut test = TestRib::with_entities([]);
    test.register_as("rip", Family::Ipv4, Tenure::User, Terms::default()).unwrap();
    let (id, _) = test.add("rip: 10.0.0.0/8 via 192.0.2.1 ttl 10").unwrap();
    test.pass(10);
    assert!(!is_there(&test, id));
}

#[test]
fn an_owner_is_asked_about_a_few_routes_at_a_time_and_then_about_the_rest() {
    let mut test = TestRib::with_entities(["rip"]);
    for number in 0..40 {
        test.add(&format!("rip: 10.{number}.0.0/16 via 192.0.2.1 ttl 10")).unwrap();
    }
    test.pass(10);
    let questions = test.rib.poll_questions();
    assert_eq!(questions.len(), 8);
    assert!(!test.rib.has_questions());
    let now = test.now();
    test.rib.answer_expiry(&questions[0], Verdict::Delete, now);
    assert_eq!(test.rib.poll_questions().len(), 1);
}
