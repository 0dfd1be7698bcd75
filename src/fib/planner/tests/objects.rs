//! What others do to objects of ours.

use super::*;

/// One group by the first link, and a destination in it.
fn at_rest() -> Storm {
    let mut storm = Storm::new(Support::Resilient);
    storm.run(Event::Group(0, vec![0], None));
    storm.run(Event::Want(0, Some(0)));
    storm.drain();
    storm.check();
    storm
}

fn rewrite_first_hop(storm: &mut Storm) {
    storm.run(Event::RewriteObject(0, 1, true));
    assert_eq!(storm.news.len(), 1);
}

/// Everything that is to be done without waiting, where the kernel refuses what `refuses` says.
fn go_on(storm: &mut Storm, refuses: impl Fn(&FibOp) -> bool) {
    loop {
        while let Some(op) = storm.in_flight.front() {
            let mishap = if refuses(op) { Mishap::Refused } else { Mishap::Nothing };
            storm.carry_out(mishap);
            storm.answer();
        }
        storm.read();
        storm.take_in(usize::MAX);
        storm.in_flight.extend(storm.planner.poll_ops(3));
        if storm.in_flight.is_empty() && storm.planner.poll_doubt().is_none() {
            return;
        }
    }
}

#[test]
fn of_a_link_that_is_lost_nothing_is_refused_once_that_is_heard() {
    let mut storm = at_rest();
    let objects = storm.kernel.objects.clone();
    storm.run(Event::Down(0));
    for id in objects.into_keys() {
        storm.planner.handle_object(id, None, storm.now); // told before the link
    }
    go_on(&mut storm, |_| false);
    assert!(storm.planner.has_refusals(), "it was asked for what the link has lost");
    storm.hear_of_links();
    go_on(&mut storm, |_| false);
    assert!(!storm.planner.has_refusals());
}

#[test]
fn a_destination_whose_only_leg_is_refused_is_told_of_at_once() {
    let mut storm = Storm::new(Support::Resilient);
    go_on(&mut storm, |_| false);
    storm.run(Event::Group(0, vec![0], None));
    storm.run(Event::Want(0, Some(0)));
    storm.tell(0);
    go_on(&mut storm, |op| matches!(op, FibOp::Object { op: ObjectOp::Add(_), .. }));
    let (_, to, settled) = storm.planner.poll_settled().expect("it is told of");
    assert_eq!((to, settled.status), (nth_prefix(0), crate::model::FibStatus::Failed));
    assert_eq!(settled.error.map(|refusal| refusal.errno), Some(libc::ENETUNREACH));
}

#[test]
fn a_leg_that_cannot_be_made_again_what_it_was_is_taken_away_and_not_tried_for_ever() {
    let mut storm = at_rest();
    rewrite_first_hop(&mut storm);
    storm.hear();
    let mut refused = 0;
    for _ in 0..20 {
        storm.run(Event::Send(1));
        let mishap = match storm.in_flight.front() {
            Some(FibOp::Object { op: ObjectOp::Add(_) | ObjectOp::Replace(_), .. }) => {
                Mishap::Refused
            }
            _ => Mishap::Nothing,
        };
        refused += u32::from(!storm.in_flight.is_empty() && matches!(mishap, Mishap::Refused));
        storm.run(Event::CarryOut(mishap));
        storm.run(Event::Answer);
    }
    assert_eq!(refused, 2, "to rewrite it, and to make another");
    assert!(storm.kernel.routes[&nth_prefix(0)].is_empty(), "packets go the wrong way");
    assert!(storm.planner.has_refusals());
    storm.wait();
    storm.drain();
    storm.check();
}

#[test]
fn a_dump_does_not_outdo_what_was_heard_while_it_was_under_way() {
    let happenings: [fn(&mut Storm); 3] = [
        |storm| {
            storm.run(Event::DeleteObject(0, true));
            storm.hear();
        },
        |storm| {
            rewrite_first_hop(storm);
            storm.hear();
        },
        |storm| {
            storm.run(Event::Down(0));
            storm.run(Event::Up(0));
            storm.hear_of_links();
        },
    ];
    for happening in happenings {
        let mut storm = at_rest();
        storm.planner.doubt_all();
        storm.read();
        happening(&mut storm);
        storm.take_in(usize::MAX);
        storm.drain();
        storm.check();
    }
}

#[test]
fn what_was_made_between_the_loss_of_a_link_and_its_news_does_not_stay() {
    let mut storm = Storm::new(Support::Resilient);
    storm.drain();
    storm.run(Event::Down(0));
    storm.run(Event::Up(0));
    storm.run(Event::Group(0, vec![0], None));
    storm.run(Event::Send(1));
    storm.run(Event::CarryOut(Mishap::Nothing));
    storm.run(Event::Answer);
    assert_eq!(storm.kernel.objects.len(), 1);
    storm.hear_of_links();
    storm.drain();
    assert_eq!(storm.kernel.objects.len(), storm.planner.objects());
}

#[test]
fn a_number_that_is_none_of_ours_is_left_alone() {
    let mut storm = at_rest();
    let count = storm.planner.objects();
    let strangers = ObjectId(NonZeroU32::new(7).unwrap());
    let hop = storm.kernel.objects.values().next().unwrap().clone();
    storm.kernel.objects.insert(strangers, hop.clone());
    storm.planner.handle_object(strangers, Some(&hop), storm.now);
    storm.run(Event::Leave(0));
    storm.drain();
    assert_eq!(storm.kernel.objects.into_keys().collect::<Vec<_>>(), [strangers]);
    assert!(count > 0 && storm.planner.objects() == 0);
}

#[test]
fn a_leg_that_is_being_taken_away_is_made_anew_for_another_group_and_not_named_by_it() {
    let mut storm = at_rest();
    storm.run(Event::Leave(0));
    loop {
        storm.run(Event::Send(1));
        let op = storm.in_flight.front().expect("the leg is taken away in the end");
        if let FibOp::Object { id, op: ObjectOp::Delete } = op
            && matches!(storm.kernel.objects[id], NextHopObject::Hop { .. })
        {
            break;
        }
        storm.run(Event::CarryOut(Mishap::Nothing));
        storm.run(Event::Answer);
    }
    storm.run(Event::Group(1, vec![0], None));
    storm.run(Event::Want(0, Some(1)));
    storm.run(Event::Send(100));
    while let Some(op) = storm.in_flight.pop_front() {
        let result = storm.kernel.carry_out(&op, Mishap::Nothing);
        assert_eq!(result, Ok(()), "{op:?}");
        storm.planner.handle_result(&op, result, storm.now);
        storm.run(Event::Send(100));
    }
    storm.check();
}

#[test]
fn who_deletes_our_objects_again_and_again_is_answered_ever_more_seldom() {
    let mut storm = at_rest();
    let (mut writes, mut said) = (0, String::new());
    for _ in 0..400 {
        storm.now += Duration::from_millis(10);
        storm.planner.handle_deadline(storm.now);
        while !storm.kernel.objects.is_empty() {
            storm.run(Event::DeleteObject(0, true));
        }
        storm.hear();
        loop {
            let ops = storm.planner.poll_ops(100);
            if ops.is_empty() {
                break;
            }
            for op in ops {
                let result = storm.kernel.carry_out(&op, Mishap::Nothing);
                storm.planner.handle_result(&op, result, storm.now);
                writes += 1;
            }
        }
        while let Some((_, refusal)) = storm.planner.poll_fault() {
            said = refusal.as_ref().map_or(said, ToString::to_string);
        }
    }
    // Five times at once, after half a second, after one more and after two: each time a leg, a group and a route.
    assert!((15..=30).contains(&writes), "{writes} writes in four seconds");
    assert!(said.contains("another program keeps changing"), "{said}");
    assert_eq!(storm.planner.counts().map(|(_, counts)| counts.failed).sum::<usize>(), 1);
    storm.wait();
    storm.drain();
    storm.check();
}
