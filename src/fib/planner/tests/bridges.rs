//! What packets follow while the kernel refuses all next hops of the best route.

use super::*;
use crate::model::FibStatus;

const SUPPORTS: [Support; 2] = [Support::Resilient, Support::Groups];

/// One destination, with a first choice by these links and a second by those.
fn with_two(support: Support, first: &[u8], next: &[u8]) -> Storm {
    let mut storm = Storm::new(support);
    storm.drain();
    storm.groups.insert(0, Choices { first: first.into(), next: next.into(), spare: None });
    storm.tell_group(0);
    storm.run(Event::Want(0, Some(0)));
    storm
}

/// Everything that is to be done without waiting, after each step of which there has to be a way.
fn go_on(storm: &mut Storm, steps: &mut Vec<FibOp>) {
    storm.hear_of_links();
    storm.take_wishes();
    loop {
        storm.read();
        storm.take_in(usize::MAX);
        let ops = storm.planner.poll_ops(1);
        if ops.is_empty() && storm.planner.poll_doubt().is_none() && !storm.planner.is_surveying() {
            return;
        }
        for op in ops {
            let had_way = !ways(storm).is_empty();
            let result = storm.kernel.carry_out(&op, Mishap::Nothing);
            assert!(!had_way || !ways(storm).is_empty(), "a gap: {op:?}");
            storm.planner.handle_result(&op, result, storm.now);
            steps.push(op);
        }
    }
}

fn ways(storm: &Storm) -> Vec<u32> {
    let there = storm.kernel.routes.get(&nth_prefix(0)).map(Vec::as_slice).unwrap_or_default();
    let ways = there.iter().flat_map(|(target, _)| storm.kernel.ways(target));
    ways.map(|(link, _)| link).collect()
}

/// What is said of the group, if anything was since.
fn said(storm: &mut Storm) -> Option<String> {
    let faults = std::iter::from_fn(|| storm.planner.poll_fault());
    let (_, refusal) = faults.last()?;
    Some(refusal.map_or(String::new(), |refusal| refusal.to_string()))
}

fn statuses(storm: &mut Storm) -> Vec<FibStatus> {
    let settled = std::iter::from_fn(|| storm.planner.poll_settled());
    settled.map(|(_, _, settled)| settled.status).collect()
}

fn replaced(steps: &[FibOp]) -> usize {
    let is_group = |content: &NextHopObject| matches!(content, NextHopObject::Group { .. });
    let of =
        |op: &FibOp| matches!(op, FibOp::Object { op: ObjectOp::Replace(it), .. } if is_group(it));
    steps.iter().filter(|op| of(op)).count()
}

#[test]
fn what_is_refused_from_the_beginning_is_carried_by_the_next_best_until_it_is_possible() {
    for support in SUPPORTS {
        let mut storm = with_two(support, &[0, 1], &[2, 3]);
        [0, 1].into_iter().for_each(|link| storm.run(Event::Barren(link)));
        go_on(&mut storm, &mut Vec::new());
        assert_eq!(ways(&storm), [3, 4]);
        assert_eq!(statuses(&mut storm), [FibStatus::Installed], "never refused");
        let words = said(&mut storm).expect("it is told of");
        assert!(words.contains("the kernel refuses its next hops"), "{words}");
        assert!(words.contains("packets follow the next best route meanwhile"), "{words}");
        assert!(storm.planner.has_refusals());

        // By one of them is better than by none.
        storm.run(Event::Fertile(1));
        let mut steps = Vec::new();
        go_on(&mut storm, &mut steps);
        assert_eq!((ways(&storm), replaced(&steps)), (vec![2], 1));
        let words = said(&mut storm).expect("one is refused still");
        assert!(!words.contains("meanwhile"), "{words}");
        storm.run(Event::Fertile(0));
        go_on(&mut storm, &mut Vec::new());
        assert_eq!((ways(&storm), said(&mut storm)), (vec![1, 2], Some(String::new())));
        assert!(!storm.planner.has_refusals());
        storm.drain();
        storm.check();
    }
}

#[test]
fn there_and_back_is_one_replacement_of_an_object_each_and_nothing_of_any_route() {
    for support in SUPPORTS {
        let mut storm = with_two(support, &[0], &[1]);
        go_on(&mut storm, &mut Vec::new());
        assert_eq!(ways(&storm), [1]);
        storm.run(Event::Barren(0));
        // Somebody deletes the leg: with its last leg the group goes, and its routes.
        let first = |it: &NextHopObject| matches!(it, NextHopObject::Hop { interface, .. } if interface.0 == 1);
        let leg = storm.kernel.objects.iter().find(|(_, it)| first(it)).map(|(id, _)| *id).unwrap();
        storm.kernel.drop_object(leg);
        storm.planner.handle_object(leg, None, storm.now);
        go_on(&mut storm, &mut Vec::new());
        assert_eq!(ways(&storm), [2]);

        let mut steps = Vec::new();
        for _ in 0..20 {
            storm.wait();
            go_on(&mut storm, &mut steps);
        }
        let tries = steps.len();
        assert!(tries >= 20, "asked again and again");
        assert_eq!((ways(&storm), replaced(&steps)), (vec![2], 0));
        storm.run(Event::Fertile(0));
        go_on(&mut storm, &mut steps);
        assert_eq!((ways(&storm), replaced(&steps)), (vec![1], 1));
        // The leg of the next best goes, as long as it is not needed.
        let routes = steps.iter().filter(|op| matches!(op, FibOp::Route { .. })).count();
        assert_eq!((routes, steps.len()), (0, tries + 3));
        storm.check();
    }
}

#[test]
fn who_comes_from_another_group_keeps_its_way_where_the_first_choice_of_the_new_one_is_refused() {
    for support in SUPPORTS {
        let mut storm = with_two(support, &[1], &[]);
        go_on(&mut storm, &mut Vec::new());
        storm.run(Event::Barren(0));
        storm.groups.insert(1, Choices { first: vec![0], next: vec![1], spare: None });
        storm.tell_group(1);
        storm.run(Event::Want(0, Some(1)));
        go_on(&mut storm, &mut Vec::new());
        assert_eq!(ways(&storm), [2]);
        assert!(!statuses(&mut storm).contains(&FibStatus::Failed));
        // Where the next best is no way either, it is refused, and what was there does not stay.
        storm.run(Event::Next(1, vec![]));
        storm.drain();
        assert_eq!(ways(&storm), [0; 0]);
        assert_eq!(statuses(&mut storm).last(), Some(&FibStatus::Failed));
        storm.run(Event::Next(1, vec![3]));
        storm.drain();
        assert_eq!(ways(&storm), [4]);
        storm.run(Event::Fertile(0));
        storm.drain();
        storm.check();
    }
}

#[test]
fn plain_routes_follow_the_next_best_without_a_gap_and_the_best_is_tried_ever_more_seldom() {
    let mut storm = with_two(Support::None, &[0], &[1]);
    storm.run(Event::Barren(0));
    go_on(&mut storm, &mut Vec::new());
    assert_eq!(ways(&storm), [2]);
    let (_, _, settled) = storm.planner.poll_settled().expect("it is told of");
    assert_eq!((settled.status, storm.planner.poll_settled()), (FibStatus::Installed, None));
    let words = settled.error.unwrap().to_string();
    assert!(words.contains("packets follow the next best route meanwhile"), "{words}");
    assert!(storm.planner.is_settled() && storm.planner.has_refusals());
    let counts = |storm: &Storm| storm.planner.counts().next().unwrap().1;
    assert_eq!((counts(&storm).installed, counts(&storm).failed), (1, 0));

    let mut waits = Vec::new();
    for _ in 0..8 {
        let due = storm.planner.poll_deadline().expect("it is tried again");
        waits.push(due.duration_since(storm.now).as_secs());
        storm.now = due;
        storm.planner.handle_deadline(due);
        go_on(&mut storm, &mut Vec::new());
        assert_eq!(ways(&storm), [2]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);

    // Somebody takes away what carries the packets, and it is put there again, which changes no wait.
    let due = storm.planner.poll_deadline();
    storm.run(Event::DeleteRoute(0, true));
    storm.hear();
    go_on(&mut storm, &mut Vec::new());
    assert_eq!((ways(&storm), storm.planner.poll_deadline()), (vec![2], due));
    // The kernel drops it with a link that was gone for a moment.
    storm.run(Event::Down(1));
    storm.run(Event::Up(1));
    go_on(&mut storm, &mut Vec::new());
    assert_eq!(ways(&storm), [2]);
    // Another one is next best.
    storm.run(Event::Next(0, vec![3]));
    go_on(&mut storm, &mut Vec::new());
    assert_eq!(ways(&storm), [4]);

    storm.run(Event::Fertile(0));
    go_on(&mut storm, &mut Vec::new());
    assert_eq!((ways(&storm), storm.planner.poll_deadline()), (vec![1], None));
    storm.check();
}

#[test]
fn where_the_kernel_refuses_the_next_best_route_too_nothing_stays_and_what_heals_first_is_taken() {
    for heals in [0, 1] {
        let mut storm = with_two(Support::None, &[2], &[]);
        go_on(&mut storm, &mut Vec::new());
        [0, 1].into_iter().for_each(|link| storm.run(Event::Barren(link)));
        storm.groups.insert(0, Choices { first: vec![0], next: vec![1], spare: None });
        storm.tell_group(0);
        storm.drain();
        assert_eq!(ways(&storm), [0; 0], "nobody offers that any more");
        assert_eq!(statuses(&mut storm).last(), Some(&FibStatus::Failed));
        storm.run(Event::Fertile(heals));
        go_on(&mut storm, &mut Vec::new());
        assert_eq!(ways(&storm), [u32::from(heals) + 1]);
        storm.run(Event::Fertile(0));
        storm.drain();
        storm.check();
    }
}
