//! What others do to a route of ours: while nothing is under way, and while something is.

use super::*;

const TO: &str = "10.0.0.0/8";

/// One with our protocol and metric came, and does this.
fn ours(what: &str, replaced: bool) -> Tampering {
    Tampering::Ours { target: Some(Target::Plain(forwarding(what))), replaced }
}

impl Case {
    fn tampered(&mut self, what: Tampering) -> Option<FibStatus> {
        let settled = self.mirror.handle_tampering(prefix(TO), what, self.now, &mut self.objects);
        settled.map(|settled| settled.status)
    }

    /// What is done next, each with success.
    fn all_ops(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(op) = self.mirror.poll_op(&mut self.objects) {
            all.push(show(&op));
            // The kernel has no more of ours after the second removal.
            match all.iter().filter(|op| op.starts_with("uninstall")).count() {
                0..=2 => drop(self.done(TO)),
                _ => drop(self.refused(TO, libc::ESRCH)),
            }
        }
        all
    }

    /// The kernel has what is wished.
    fn at_rest(what: &str) -> Self {
        let mut case = Self::after_dump([(TO, what)]);
        assert_eq!(case.want(TO, what), Some(FibStatus::Installed));
        assert_eq!(case.op(), "nothing");
        case
    }

    /// The kernel refuses what is wished, and has nothing.
    fn refusing() -> Self {
        let mut case = Self::after_dump([]);
        case.want(TO, "via 1");
        case.op();
        assert_eq!(case.refused(TO, libc::ENETUNREACH), Some(FibStatus::Failed));
        case
    }
}

const CLEARED: [&str; 4] = [
    "uninstall 10.0.0.0/8",
    "uninstall 10.0.0.0/8",
    "uninstall 10.0.0.0/8",
    "install 10.0.0.0/8 via 192.0.2.1 dev 2",
];

#[test]
fn what_came_beside_a_route_of_ours_is_cleared_also_when_one_of_them_was_replaced_or_deleted_since()
{
    for then in
        [None, Some(ours("via 3", true)), Some(Tampering::Gone), Some(Tampering::Overwritten)]
    {
        let mut case = Case::at_rest("via 1");
        case.tampered(ours("via 2", false));
        then.clone().map(|then| case.tampered(then));
        assert_eq!(case.all_ops(), CLEARED, "{then:?}");
    }
}

#[test]
fn what_took_the_place_of_ours_is_replaced() {
    for what in [ours("via 2", true), Tampering::Overwritten, Tampering::Dropped] {
        let mut case = Case::at_rest("via 1");
        case.tampered(what);
        assert_eq!(case.all_ops(), ["replace 10.0.0.0/8 via 192.0.2.1 dev 2"]);
    }
}

/// Who deleted ours may put their own there before we hear of it.
#[test]
fn what_comes_where_ours_was_deleted_is_not_overwritten() {
    let mut case = Case::at_rest("via 1");
    case.tampered(Tampering::Gone);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    // It may be one that we wrote after theirs was deleted, and of an older wish.
    assert_eq!(case.refused(TO, libc::EEXIST), None);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.refused(TO, libc::ESRCH), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    let result = refused(libc::EEXIST);
    let settled =
        case.mirror.handle_result(prefix(TO), result, case.now, &mut case.objects).unwrap();
    assert_eq!(settled.status, FibStatus::Failed);
    let said = settled.error.unwrap().to_string();
    assert!(said.contains("another program's route") && said.contains("`metric`"), "{said}");
    assert_eq!(case.op(), "nothing");
}

#[test]
fn what_comes_where_the_kernel_has_dropped_ours_is_not_overwritten() {
    let mut case = Case::at_rest("via 1");
    case.tampered(Tampering::Dropped);
    case.tampered(Tampering::Occupied);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    case.refused(TO, libc::ESRCH);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
}

#[test]
fn what_comes_while_ours_is_taken_away_is_taken_away_too() {
    for replaced in [true, false] {
        let mut case = Case::at_rest("via 1");
        case.withdraw(TO);
        assert_eq!(case.op(), "uninstall 10.0.0.0/8");
        case.tampered(ours("via 2", replaced));
        case.done(TO);
        assert_eq!(case.op(), "uninstall 10.0.0.0/8", "replaced: {replaced}");
    }
}

#[test]
fn what_comes_beside_a_route_that_is_being_written_is_cleared() {
    let mut case = Case::after_dump([]);
    case.want(TO, "via 1");
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    case.tampered(ours("via 2", false));
    case.done(TO);
    assert_eq!(case.all_ops(), CLEARED);
}

#[test]
fn what_comes_where_a_refused_route_waits_is_not_left_until_that_is_tried_again() {
    for replaced in [true, false] {
        let mut case = Case::refusing();
        case.tampered(ours("via 2", replaced));
        assert_eq!(case.mirror.counts().pending, 1, "replaced: {replaced}");
        while case.mirror.counts().pending > 0 {
            match case.op().starts_with("uninstall") {
                true => case.refused(TO, libc::ESRCH),
                false => case.refused(TO, libc::ENETUNREACH),
            };
        }
        assert_eq!(case.mirror.counts().failed, 1);
    }
}

#[test]
fn news_of_what_is_known_does_not_end_the_wait_of_a_refused_route() {
    let mut case = Case::refusing();
    case.tampered(Tampering::Gone);
    case.tampered(Tampering::Overwritten);
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_dump_does_not_outdo_what_was_heard_while_it_was_under_way() {
    let during_a_dump = |heard: Tampering| {
        let mut case = Case::at_rest("via 1");
        case.mirror.doubt();
        case.mirror.begin_reading();
        case.tampered(heard);
        case
    };
    for (heard, expected) in [
        (ours("via 2", true), "replace 10.0.0.0/8 via 192.0.2.1 dev 2"),
        (ours("via 2", false), "uninstall 10.0.0.0/8"),
        (Tampering::Gone, "install 10.0.0.0/8 via 192.0.2.1 dev 2"),
    ] {
        let mut case = during_a_dump(heard.clone());
        case.dumped(TO, "via 1");
        case.mirror.handle_dump_complete(&mut case.objects);
        assert_eq!(case.op(), expected, "{heard:?}, and the dump tells of what was before");
    }
    for (heard, expected) in [
        (ours("via 2", true), "replace 10.0.0.0/8 via 192.0.2.1 dev 2"),
        (ours("via 2", false), "uninstall 10.0.0.0/8"),
        (Tampering::Gone, "install 10.0.0.0/8 via 192.0.2.1 dev 2"),
    ] {
        let mut case = during_a_dump(heard.clone());
        case.mirror.begin_reading_again();
        case.mirror.handle_dump_complete(&mut case.objects);
        assert_eq!(case.op(), expected, "{heard:?}, and the dump tells of nothing");
    }
}

#[test]
fn a_dump_does_not_outdo_the_loss_of_a_link_while_it_was_under_way() {
    let mut case = Case::at_rest("via 1");
    case.mirror.doubt();
    case.mirror.begin_reading();
    case.lost(2);
    case.mirror.begin_reading_again();
    case.dumped(TO, "via 1");
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.1 dev 2");
}

#[test]
fn who_changes_a_route_again_and_again_is_answered_ever_more_seldom() {
    let mut case = Case::at_rest("via 1");
    let mut tamper = |milliseconds: u64| {
        case.wait_for(Duration::from_millis(milliseconds));
        let settled = case.tampered(ours("via 2", true));
        (settled, case.all_ops().len())
    };
    for _ in 0..5 {
        assert_eq!(tamper(0), (None, 1));
    }
    for pause in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        assert_eq!(tamper(0), (Some(FibStatus::Failed), 0));
        assert_eq!(tamper(pause - 1), (None, 0));
        // The pause is over, and its repair undone at once.
        assert_eq!(tamper(1), (None, 1));
    }
}

#[test]
fn what_the_kernel_drops_again_and_again_is_no_fight() {
    let mut case = Case::at_rest("via 1");
    for _ in 0..20 {
        assert_eq!(case.tampered(Tampering::Dropped), None);
        assert_eq!(case.all_ops(), ["replace 10.0.0.0/8 via 192.0.2.1 dev 2"]);
    }
}

#[test]
fn what_a_stranger_was_in_the_way_of_is_tried_at_once_when_that_goes_and_not_without_end() {
    let mut case = Case::at_rest("via 1");
    let go = |case: &mut Case| {
        case.mirror.handle_room(prefix(TO), case.now, &mut case.objects);
        case.mirror.counts().pending
    };
    assert_eq!(go(&mut case), 0, "it waits for nothing");
    let mut case = Case::refusing();
    for _ in 0..5 {
        assert_eq!(go(&mut case), 1);
        case.op();
        case.refused(TO, libc::ENETUNREACH);
    }
    assert_eq!(go(&mut case), 0);
    case.wait(60);
    assert_eq!(case.mirror.counts().pending, 1);
}
