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
    storm.now = storm.planner.poll_deadline().unwrap();
    storm.planner.handle_deadline(storm.now);
    assert_eq!(read(&mut storm), 2);
    assert_eq!(storm.planner.poll_ops(100), []);
    storm.check();
}
