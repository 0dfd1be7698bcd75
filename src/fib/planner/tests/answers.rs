//! Answers that were lost.

use super::*;

#[test]
fn what_was_done_without_an_answer_is_read_and_neither_taken_away_nor_written_again() {
    for support in [Support::Resilient, Support::Groups, Support::None] {
        let mut storm = Storm::new(support);
        storm.run(Event::Group(0, vec![0], None));
        storm.drain();
        for to in 0..4 {
            storm.run(Event::Want(to, Some(0)));
            storm.waiting.clear();
            storm.tell(to);
        }
        let mut lost = 0;
        loop {
            storm.read();
            storm.take_in(usize::MAX);
            let ops = storm.planner.poll_ops(100);
            if ops.is_empty() && storm.planner.poll_doubt().is_none() {
                break;
            }
            for op in &ops {
                // An object is made under another number, since nobody else may have this one.
                let is_route = matches!(op, FibOp::Route { .. });
                lost += usize::from(is_route);
                assert!(lost <= 4, "{op:?}");
                let mishap = if is_route { Mishap::AnswerLost } else { Mishap::Nothing };
                let result = storm.kernel.carry_out(op, mishap);
                storm.planner.handle_result(op, result, storm.now);
            }
        }
        assert_eq!(lost, 4);
        storm.check();
    }
}

#[test]
fn a_table_is_read_once_a_second_at_most_however_many_answers_are_lost() {
    let mut storm = Storm::new(Support::None);
    storm.run(Event::Group(0, vec![0], None));
    storm.drain();
    let mut reads = 0;
    let mut read = |storm: &mut Storm| {
        reads += usize::from(storm.planner.poll_doubt().is_some());
        storm.read();
        storm.take_in(usize::MAX);
        reads
    };
    for to in 0..4 {
        storm.run(Event::Want(to, Some(0)));
        storm.take_wishes();
        for op in storm.planner.poll_ops(100) {
            let result = storm.kernel.carry_out(&op, Mishap::AnswerLost);
            storm.planner.handle_result(&op, result, storm.now);
        }
        assert_eq!(read(&mut storm), 1);
    }
    storm.now += Duration::from_secs(1);
    storm.planner.handle_deadline(storm.now);
    assert_eq!(read(&mut storm), 2);
    assert_eq!(storm.planner.poll_ops(100), []);
    storm.check();
}

#[test]
fn a_table_that_cannot_be_read_keeps_no_other_waiting_and_is_tried_again_in_a_second() {
    let [first, second] = [Family::Ipv4, Family::Ipv6]
        .map(|family| Doubt::Table(TableId::new(0, family).unwrap(), KernelTable(254)));
    let tables = [first, second].map(|doubt| match doubt {
        Doubt::Table(id, table) => (id, table),
        Doubt::Objects => unreachable!(),
    });
    let mut planner = Planner::new(Support::None, tables);
    let now = Instant::now();
    assert_eq!(planner.poll_doubt(), Some(first));
    planner.handle_reading_failed(first, now);
    assert_eq!(planner.poll_doubt(), Some(second));
    planner.begin_reading(second);
    planner.handle_reading_complete(second);
    assert_eq!(planner.poll_doubt(), None);
    let due = planner.poll_deadline().unwrap();
    assert_eq!(due, now + Duration::from_secs(1));
    planner.handle_deadline(due);
    assert_eq!(planner.poll_doubt(), Some(first));
}

/// A route's refusal may be the only sign that an object is gone.
#[test]
fn a_second_doubt_about_the_objects_within_a_second_is_put_off_and_not_forgotten() {
    let mut storm = Storm::new(Support::Resilient);
    storm.run(Event::Group(0, vec![0], None));
    storm.run(Event::Want(0, Some(0)));
    storm.drain();
    for expected in ["at once", "a second later"] {
        // The kernel drops the group's object without a word, and what comes refers to it.
        storm.run(Event::DeleteObject(1, false));
        storm.missed = false;
        let to = u8::from(expected == "a second later") + 1;
        storm.run(Event::Want(to, Some(0)));
        storm.tell(to);
        for op in storm.planner.poll_ops(100) {
            let result = storm.kernel.carry_out(&op, Mishap::Nothing);
            assert!(result.is_err(), "{op:?}");
            storm.planner.handle_result(&op, result, storm.now);
        }
        let doubted = storm.planner.poll_doubt().is_some();
        assert_eq!(doubted, expected == "at once");
        storm.now += Duration::from_secs(1) * u32::from(!doubted);
        storm.planner.handle_deadline(storm.now);
        assert_eq!(storm.planner.poll_doubt(), Some(Doubt::Objects), "{expected}");
        loop {
            storm.read();
            storm.take_in(usize::MAX);
            let ops = storm.planner.poll_ops(100);
            if ops.is_empty() && storm.planner.poll_doubt().is_none() {
                break;
            }
            for op in ops {
                let result = storm.kernel.carry_out(&op, Mishap::Nothing);
                storm.planner.handle_result(&op, result, storm.now);
            }
        }
    }
}
