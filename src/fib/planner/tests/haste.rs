//! What comes first, and what costs nothing by the size of the table.

use super::*;

/// A group by the first link, all destinations in it, and another that does the same for packets and is
/// there already.
fn with_another(support: Support) -> Storm {
    let mut storm = Storm::new(support);
    for (id, spare) in [(0, 1), (1, 2)] {
        storm.run(Event::Group(id, vec![0], Some(spare)));
    }
    (0..8).for_each(|to| storm.run(Event::Want(to, Some(0))));
    storm.drain();
    storm.check();
    storm
}

/// Destinations of the next operations.
fn next(storm: &mut Storm) -> Option<Prefix> {
    let op = storm.planner.poll_ops(1).pop()?;
    let FibOp::Route { to, .. } = &op else { panic!("{op:?}") };
    let to = *to;
    storm.in_flight.push_back(op);
    Some(to)
}

#[test]
fn what_packets_have_to_follow_overtakes_routes_that_only_change_their_object() {
    let mut storm = with_another(Support::Resilient);
    for to in 0..8 {
        storm.run(Event::Want(to, Some(1)));
        storm.tell(to);
    }
    assert_eq!(storm.planner.backlog(), 0, "nothing that others would have to wait for");
    assert_eq!(next(&mut storm), Some(nth_prefix(0)));
    storm.run(Event::Blackhole(6));
    storm.run(Event::Want(7, None));
    storm.tell(7);
    storm.tell(6);
    assert_eq!(next(&mut storm), Some(nth_prefix(7)));
    assert_eq!(next(&mut storm), Some(nth_prefix(6)));
    assert_eq!(next(&mut storm), Some(nth_prefix(1)));
    // Not the first ones again and again.
    storm.run(Event::Want(0, Some(0)));
    storm.tell(0);
    assert_eq!(next(&mut storm), Some(nth_prefix(2)));
    storm.waiting.clear();
    storm.drain();
    storm.check();
}

#[test]
fn routes_that_are_gone_with_their_old_object_overtake_those_that_only_change_theirs() {
    let mut storm = with_another(Support::Resilient);
    storm.run(Event::Group(2, vec![3], None));
    storm.run(Event::Group(3, vec![3], Some(1)));
    storm.run(Event::Want(7, Some(2)));
    storm.drain();
    for to in 0..8 {
        storm.run(Event::Want(to, Some(if to == 7 { 3 } else { 1 })));
        storm.tell(to);
    }
    storm.waiting.clear();
    storm.run(Event::Leave(2));
    // Somebody deletes the object that the last route still refers to.
    let Target::Object(id) = storm.kernel.routes[&nth_prefix(7)][0].0 else { panic!("no object") };
    storm.kernel.drop_object(id);
    storm.planner.handle_object(id, None, storm.now);
    while storm.planner.is_surveying() {
        assert_eq!(storm.in_flight.len(), 0);
        storm.run(Event::Send(1));
    }
    let first = storm.in_flight.front();
    assert!(matches!(first, Some(FibOp::Route { to, .. }) if *to == nth_prefix(7)), "{first:?}");
    storm.drain();
    storm.check();
}

#[test]
fn a_new_group_and_what_happens_to_a_small_one_are_no_reason_to_look_at_the_whole_table() {
    for support in [Support::Resilient, Support::Groups, Support::None] {
        let mut storm = with_another(support);
        storm.run(Event::Group(2, vec![3], None));
        storm.run(Event::Want(7, Some(2)));
        while storm.planner.backlog() > 0 || !storm.waiting.is_empty() {
            storm.run(Event::Send(1));
            storm.run(Event::CarryOut(Mishap::Nothing));
            storm.run(Event::Answer);
            assert!(!storm.planner.is_surveying(), "{support:?}");
        }
        storm.run(Event::Down(3));
        storm.hear_of_links();
        assert!(!storm.planner.is_surveying(), "{support:?}");
        storm.run(Event::Up(3));
        storm.drain();
        storm.check();
    }
}

#[test]
fn a_large_group_is_looked_for_a_slice_at_a_time_and_each_round_ends_whatever_happens_meanwhile() {
    let mut storm = with_another(Support::None);
    for (round, link) in [1, 2, 1, 2, 1, 2, 1, 2].into_iter().enumerate() {
        storm.run(Event::Group(0, vec![link], None));
        storm.run(Event::Send(100));
        assert!(round > 1 || storm.planner.is_surveying());
    }
    let written: BTreeSet<Prefix> = storm
        .in_flight
        .iter()
        .map(|op| match op {
            FibOp::Route { to, .. } => *to,
            FibOp::Object { .. } => panic!("{op:?}"),
        })
        .collect();
    assert_eq!(written.len(), 8);
    storm.drain();
    storm.check();
}

/// Everything that is to be done without waiting.
fn go_on(storm: &mut Storm) {
    storm.hear_of_links();
    storm.take_wishes();
    loop {
        storm.read();
        storm.take_in(usize::MAX);
        storm.run(Event::Send(1));
        if storm.in_flight.is_empty()
            && storm.planner.poll_doubt().is_none()
            && !storm.planner.is_surveying()
        {
            return;
        }
        storm.run(Event::CarryOut(Mishap::Nothing));
        storm.run(Event::Answer);
    }
}

#[test]
fn what_was_refused_waits_no_longer_when_its_group_comes_to_something_else() {
    // Of a small group and of a large one.
    for count in [1, 8] {
        let mut storm = Storm::new(Support::None);
        storm.run(Event::Group(0, vec![0], None));
        (0..count).for_each(|to| storm.run(Event::Want(to, Some(0))));
        storm.run(Event::Down(0));
        storm.link_news.clear(); // that is told later
        while !storm.waiting.is_empty() {
            go_on(&mut storm);
        }
        let failed = |storm: &Storm| storm.planner.counts().map(|(_, it)| it.failed).sum::<usize>();
        assert_eq!(failed(&storm), usize::from(count));
        let due = storm.planner.poll_deadline();
        storm.tell_group(0);
        go_on(&mut storm);
        assert_eq!(storm.planner.poll_deadline(), due, "it is the same again");

        storm.run(Event::Group(0, vec![1], None));
        go_on(&mut storm);
        assert_eq!((failed(&storm), storm.planner.poll_deadline()), (0, None));
        storm.check();
    }
}

#[test]
fn a_route_that_was_refused_because_its_object_is_gone_is_written_with_the_next_object() {
    let mut storm = Storm::new(Support::Resilient);
    storm.run(Event::Group(0, vec![0, 1], None));
    storm.run(Event::Want(0, Some(0)));
    loop {
        storm.run(Event::Send(1));
        if matches!(storm.in_flight.front(), Some(FibOp::Route { .. })) {
            break;
        }
        go_one(&mut storm);
    }
    for link in [0, 1] {
        storm.run(Event::Down(link));
    }
    go_one(&mut storm);
    storm.run(Event::Up(1));
    go_on(&mut storm);
    storm.check();

    fn go_one(storm: &mut Storm) {
        storm.read();
        storm.take_in(usize::MAX);
        storm.run(Event::CarryOut(Mishap::Nothing));
        storm.run(Event::Answer);
    }
}

#[test]
fn in_a_fight_a_destination_waits_whatever_its_group_comes_to() {
    let mut storm = Storm::new(Support::None);
    storm.run(Event::Group(0, vec![0], None));
    storm.run(Event::Want(0, Some(0)));
    go_on(&mut storm);
    for _ in 0..6 {
        storm.run(Event::DeleteRoute(0, true));
        storm.hear();
        go_on(&mut storm);
    }
    let there = |storm: &Storm| storm.kernel.routes[&nth_prefix(0)].len();
    assert_eq!(there(&storm), 0, "it is left alone");
    for link in [1, 0, 1] {
        storm.run(Event::Group(0, vec![link], None));
        go_on(&mut storm);
        assert_eq!(there(&storm), 0);
    }
    storm.now = storm.planner.poll_deadline().unwrap();
    storm.planner.handle_deadline(storm.now);
    go_on(&mut storm);
    storm.check();
}
