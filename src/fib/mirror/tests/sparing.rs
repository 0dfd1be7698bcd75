//! What an earlier life left, and its owners come back to.

use super::*;

/// A mirror that has read a table with these routes and leaves them for now.
fn sparing<const N: usize>(found: [(&str, &str); N]) -> Case {
    let mut case = Case::new();
    case.mirror.spare();
    for (to, what) in found {
        assert_eq!(case.dumped(to, what), None);
    }
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "nothing");
    assert!(case.mirror.is_settled(), "nobody has to wait for it");
    case
}

#[test]
fn it_stays_until_its_time_is_over_and_goes_then() {
    let mut case = sparing([("10.0.0.0/8", "via 1"), ("11.0.0.0/8", "blackhole")]);
    assert_eq!(case.mirror.counts(), FibCounts::default());
    assert_eq!(case.mirror.end_sparing(&mut case.objects), 2);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.op(), "uninstall 11.0.0.0/8");
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::None));
    assert_eq!(case.mirror.end_sparing(&mut case.objects), 0);
}

#[test]
fn what_is_offered_again_as_it_was_is_not_written_and_else_replaced_in_one() {
    let mut case = sparing([("10.0.0.0/8", "via 1"), ("11.0.0.0/8", "via 1")]);
    assert_eq!(case.want("10.0.0.0/8", "via 1"), Some(FibStatus::Installed));
    assert_eq!(case.want("11.0.0.0/8", "via 2"), None);
    assert_eq!(case.op(), "replace 11.0.0.0/8 via 192.0.2.2 dev 2");
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.done("11.0.0.0/8"), Some(FibStatus::Installed));
    assert_eq!(case.mirror.end_sparing(&mut case.objects), 0);
    assert_eq!(case.op(), "nothing");
}

#[test]
fn what_its_owner_takes_back_goes_at_once() {
    let mut case = sparing([("10.0.0.0/8", "via 1"), ("11.0.0.0/8", "via 1")]);
    case.want("10.0.0.0/8", "via 1");
    case.withdraw("10.0.0.0/8");
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.withdraw("11.0.0.0/8"), None, "that is not the owner's word");
    assert_eq!(case.op(), "nothing");
}

#[test]
fn read_again_meanwhile_it_still_stays_and_what_has_gone_is_forgotten() {
    let mut case = sparing([("10.0.0.0/8", "via 1"), ("11.0.0.0/8", "via 1")]);
    case.mirror.doubt();
    case.mirror.begin_reading();
    case.dumped("10.0.0.0/8", "via 1");
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.mirror.end_sparing(&mut case.objects), 1);
}

#[test]
fn a_lost_link_and_strangers_change_nothing_about_that() {
    let mut case = sparing([("10.0.0.0/8", "via 1"), ("11.0.0.0/8", "via 1")]);
    case.lost(2);
    let gone = Tampering::Gone;
    case.mirror.handle_tampering(prefix("11.0.0.0/8"), gone, case.now, &mut case.objects);
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.want("10.0.0.0/8", "via 1"), None);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.1 dev 2", "it may be there or not");
}
