//! The mirror against a kernel of its own that keeps Linux's rules: one route for each key unless
//! appended, `EEXIST`, `ESRCH`, one removal a request, replacing only the first.

mod sparing;
mod tampering;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    fib::objects::Support,
    model::{Forwarding, GroupId, Hop, Special, Weight},
};

fn table() -> TableId {
    TableId::new(0, Family::Ipv4).unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// `via N`: a gateway that ends in N; `blackhole`.
fn forwarding(text: &str) -> Arc<Forwarding> {
    Arc::new(match text.strip_prefix("via ") {
        None => Forwarding::Blackhole,
        Some(last) => Forwarding::Unicast(
            [Hop {
                gateway: Some(format!("192.0.2.{last}").parse().unwrap()),
                interface: InterfaceIndex(2),
                weight: Weight::ONE,
            }]
            .into(),
        ),
    })
}

/// The wish that comes to it: what is sent via N is group N.
fn wish(text: &str) -> Wish {
    match text.strip_prefix("via ") {
        None => Wish::Special(Special::Blackhole),
        Some(last) => Wish::Group(GroupId(last.parse().unwrap())),
    }
}

/// A kernel without next-hop objects, and what the groups are that wishes name.
fn plain_groups() -> Objects {
    let mut objects = Objects::new(Support::None);
    for number in 1..10 {
        let what = format!("via {number}");
        let Wish::Group(id) = wish(&what) else { panic!("{what}") };
        objects.handle_group(id, table(), Some(forwarding(&what)), None, None);
    }
    while objects.poll_event().is_some() {}
    objects
}

fn show((to, op): &(Prefix, RouteOp)) -> String {
    let target = |target: &Target| match target {
        Target::Plain(forwarding) => forwarding.to_string(),
        Target::Object(id) => format!("object {id}"),
    };
    match op {
        RouteOp::Install(what) => format!("install {to} {}", target(what)),
        RouteOp::Replace(what) => format!("replace {to} {}", target(what)),
        RouteOp::Uninstall => format!("uninstall {to}"),
    }
}

fn refused(errno: i32) -> Result<(), Refusal> {
    Err(Refusal { errno, message: String::new() })
}

/// A mirror, and the time.
struct Case {
    mirror: Mirror,
    objects: Objects,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        let mut mirror = Mirror::new(table());
        mirror.begin_reading();
        Self { mirror, objects: plain_groups(), now: Instant::now() }
    }

    /// A mirror that has read a table with these routes.
    fn after_dump<const N: usize>(found: [(&str, &str); N]) -> Self {
        let mut case = Self::new();
        for (to, what) in found {
            case.dumped(to, what);
        }
        case.mirror.handle_dump_complete(&mut case.objects);
        case
    }

    fn dumped(&mut self, to: &str, what: &str) -> Option<FibStatus> {
        let found = Some(Target::Plain(forwarding(what)));
        let settled = self.mirror.handle_dumped(prefix(to), found, &mut self.objects);
        settled.map(|settled| settled.status)
    }

    fn want(&mut self, to: &str, what: &str) -> Option<FibStatus> {
        let settled = self.mirror.want(prefix(to), Some(wish(what)), &mut self.objects);
        settled.map(|settled| settled.status)
    }

    fn withdraw(&mut self, to: &str) -> Option<FibStatus> {
        let settled = self.mirror.want(prefix(to), None, &mut self.objects);
        settled.map(|settled| settled.status)
    }

    fn op(&mut self) -> String {
        self.mirror.poll_op(&mut self.objects).as_ref().map_or_else(|| "nothing".to_owned(), show)
    }

    fn done(&mut self, to: &str) -> Option<FibStatus> {
        let settled = self.mirror.handle_result(prefix(to), Ok(()), self.now, &mut self.objects);
        settled.map(|settled| settled.status)
    }

    fn refused(&mut self, to: &str, errno: i32) -> Option<FibStatus> {
        let settled =
            self.mirror.handle_result(prefix(to), refused(errno), self.now, &mut self.objects);
        settled.map(|settled| settled.status)
    }

    fn lost(&mut self, link: u32) {
        self.mirror.handle_lost(&[(InterfaceIndex(link), Family::Ipv4)].into(), &mut self.objects);
    }

    fn gained(&mut self, link: u32) {
        self.mirror.hurry(&[(InterfaceIndex(link), Family::Ipv4)].into(), false, &mut self.objects);
    }

    fn wait(&mut self, seconds: u64) {
        self.wait_for(Duration::from_secs(seconds));
    }

    fn wait_for(&mut self, time: Duration) {
        self.now += time;
        self.mirror.handle_deadline(self.now, &mut self.objects);
    }
}

#[test]
fn a_wish_is_installed_and_shown_when_the_kernel_has_it() {
    let mut case = Case::after_dump([]);
    assert_eq!(case.want("10.0.0.0/8", "via 1"), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.op(), "nothing");
    assert!(!case.mirror.is_settled());
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
    assert!(case.mirror.is_settled());
    assert_eq!(case.mirror.counts(), FibCounts { installed: 1, pending: 0, failed: 0 });
}

#[test]
fn a_wish_that_equals_the_fact_writes_nothing() {
    let mut case = Case::after_dump([("10.0.0.0/8", "via 1")]);
    assert_eq!(case.want("10.0.0.0/8", "via 1"), Some(FibStatus::Installed));
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.withdraw("11.0.0.0/8"), Some(FibStatus::None));
    assert_eq!(case.op(), "nothing");
}

#[test]
fn nothing_is_written_before_the_table_has_been_read() {
    let mut case = Case::new();
    case.want("10.0.0.0/8", "via 1");
    case.dumped("11.0.0.0/8", "via 1");
    assert_eq!(case.op(), "nothing");
    assert!(!case.mirror.is_settled());
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.op(), "uninstall 11.0.0.0/8");
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_dump_that_equals_the_wish_plans_nothing_whichever_comes_first() {
    let mut case = Case::new();
    assert_eq!(case.want("10.0.0.0/8", "via 1"), None);
    assert_eq!(case.dumped("10.0.0.0/8", "via 1"), Some(FibStatus::Installed));
    assert_eq!(case.dumped("11.0.0.0/8", "blackhole"), None);
    assert_eq!(case.want("11.0.0.0/8", "blackhole"), Some(FibStatus::Installed));
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "nothing");
    assert!(case.mirror.is_settled());
}

#[test]
fn a_dump_that_differs_is_replaced() {
    let mut case = Case::new();
    case.want("10.0.0.0/8", "via 1");
    assert_eq!(case.dumped("10.0.0.0/8", "via 2"), None);
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.1 dev 2");
}

#[test]
fn a_dump_that_begins_again_is_not_taken_for_duplicates() {
    let mut case = Case::new();
    case.want("10.0.0.0/8", "via 1");
    case.dumped("10.0.0.0/8", "via 1");
    case.dumped("11.0.0.0/8", "via 1");
    case.mirror.begin_reading_again();
    assert_eq!(case.dumped("10.0.0.0/8", "via 1"), Some(FibStatus::Installed));
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "nothing");
}

#[test]
fn several_routes_to_one_destination_are_cleared_before_the_wish_is_installed() {
    let mut case = Case::after_dump([
        ("10.0.0.0/8", "via 1"),
        ("10.0.0.0/8", "via 2"),
        ("10.0.0.0/8", "via 3"),
    ]);
    case.want("10.0.0.0/8", "via 1");
    for _ in 0..3 {
        assert_eq!(case.op(), "uninstall 10.0.0.0/8");
        assert_eq!(case.done("10.0.0.0/8"), None);
    }
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.refused("10.0.0.0/8", libc::ESRCH), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
}

#[test]
fn a_found_route_of_a_shape_never_written_is_repaired() {
    let mut case = Case::new();
    case.want("10.0.0.0/8", "via 1");
    assert_eq!(case.mirror.handle_dumped(prefix("10.0.0.0/8"), None, &mut case.objects), None);
    case.mirror.handle_dump_complete(&mut case.objects);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
}

#[test]
fn many_changes_while_one_waits_are_one_operation() {
    let mut case = Case::after_dump([]);
    for round in 0..1000 {
        case.want("10.0.0.0/8", &format!("via {}", 1 + round % 7));
    }
    case.want("11.0.0.0/8", "via 1");
    assert_eq!(case.mirror.work.queue.len(), 2);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.6 dev 2");
    assert_eq!(case.op(), "install 11.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_change_that_is_taken_back_in_the_queue_writes_nothing() {
    let mut case = Case::after_dump([("10.0.0.0/8", "via 1")]);
    case.want("10.0.0.0/8", "via 1");
    case.want("10.0.0.0/8", "via 2");
    assert_eq!(case.want("10.0.0.0/8", "via 1"), Some(FibStatus::Installed));
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.mirror.counts().installed, 1);
}

#[test]
fn a_destination_has_one_operation_in_flight_and_the_rest_follows_its_result() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.want("10.0.0.0/8", "via 2"), None);
    assert_eq!(case.want("10.0.0.0/8", "via 3"), None);
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.done("10.0.0.0/8"), None);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.3 dev 2");
    case.want("10.0.0.0/8", "via 1");
    case.want("10.0.0.0/8", "via 3");
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_refused_destination_is_tried_again_after_a_growing_wait() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    let moment = Duration::from_millis(1);
    for wait in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        let wait = Duration::from_millis(wait);
        assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
        assert_eq!(case.refused("10.0.0.0/8", libc::ENETUNREACH), Some(FibStatus::Failed));
        assert_eq!(case.mirror.counts().failed, 1);
        assert_eq!(case.mirror.poll_deadline(), Some(case.now + wait));
        case.wait_for(wait - moment);
        assert_eq!(case.op(), "nothing");
        case.wait_for(moment);
    }
    case.op();
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
    assert_eq!(case.mirror.poll_deadline(), None);
}

#[test]
fn a_new_wish_ends_the_wait_and_starts_it_over() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    case.op();
    case.refused("10.0.0.0/8", libc::ENETUNREACH);
    case.want("10.0.0.0/8", "via 2");
    assert_eq!(case.mirror.poll_deadline(), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.2 dev 2");
    case.refused("10.0.0.0/8", libc::ENETUNREACH);
    assert_eq!(case.mirror.poll_deadline(), Some(case.now + Duration::from_secs(1)));
    assert_eq!(case.withdraw("10.0.0.0/8"), Some(FibStatus::None));
    assert_eq!(case.mirror.poll_deadline(), None);
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_refusal_of_what_is_no_longer_wished_is_not_shown() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    case.op();
    case.want("10.0.0.0/8", "via 2");
    assert_eq!(case.refused("10.0.0.0/8", libc::ENETUNREACH), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.2 dev 2");
}

#[test]
fn a_refused_replacement_does_not_leave_the_old_route_behind() {
    let mut case = Case::after_dump([("10.0.0.0/8", "via 1")]);
    case.want("10.0.0.0/8", "via 2");
    case.op();
    assert_eq!(case.refused("10.0.0.0/8", libc::ENETUNREACH), None);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.done("10.0.0.0/8"), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.2 dev 2");
    assert_eq!(case.refused("10.0.0.0/8", libc::ENETUNREACH), Some(FibStatus::Failed));
    assert_eq!(case.op(), "nothing");
    case.wait(1);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.2 dev 2");
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
}

#[test]
fn a_replacement_without_an_answer_leaves_the_old_route_until_it_is_tried_again() {
    let mut case = Case::after_dump([("10.0.0.0/8", "via 1")]);
    case.want("10.0.0.0/8", "via 2");
    case.op();
    assert_eq!(case.refused("10.0.0.0/8", libc::ENOBUFS), Some(FibStatus::Failed));
    assert_eq!(case.op(), "nothing");
    case.wait(1);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.2 dev 2");
}

#[test]
fn what_led_by_a_lost_link_is_written_again_and_nothing_else() {
    let found = [("10.0.0.0/8", "via 1"), ("11.0.0.0/8", "blackhole")];
    let mut case = Case::after_dump(found);
    for (to, what) in found {
        case.want(to, what);
    }
    case.lost(3);
    assert_eq!(case.op(), "nothing");
    case.lost(2);
    assert_eq!(case.mirror.counts(), FibCounts { installed: 1, pending: 1, failed: 0 });
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.op(), "nothing");
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
}

#[test]
fn of_several_lost_links_each_counts_in_its_own_family() {
    let found = [("10.0.0.0/8", "via 1"), ("2001:db8::/32", "blackhole")];
    let mut case = Case::after_dump(found);
    for (to, what) in found {
        case.want(to, what);
    }
    let (uplink, loopback) = (InterfaceIndex(2), InterfaceIndex(1));
    case.mirror
        .handle_lost(&[(uplink, Family::Ipv6), (loopback, Family::Ipv4)].into(), &mut case.objects);
    assert_eq!(case.op(), "nothing");
    case.mirror
        .handle_lost(&[(uplink, Family::Ipv4), (loopback, Family::Ipv6)].into(), &mut case.objects);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.op(), "replace 2001:db8::/32 blackhole");
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_link_that_is_lost_while_a_route_by_it_is_written_makes_it_be_written_again() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    case.op();
    case.lost(2);
    assert_eq!(case.done("10.0.0.0/8"), None);
    assert_eq!(case.op(), "replace 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.done("10.0.0.0/8"), Some(FibStatus::Installed));
    assert_eq!(case.op(), "nothing");
}

#[test]
fn hurrying_ends_the_wait_of_what_leads_by_the_link_and_no_other_and_the_next_is_no_shorter() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    for seconds in [1, 2] {
        case.op();
        case.refused("10.0.0.0/8", libc::ENETUNREACH);
        case.wait(seconds);
    }
    case.op();
    case.refused("10.0.0.0/8", libc::ENETUNREACH);
    assert_eq!(case.op(), "nothing");
    case.gained(3);
    assert_eq!(case.op(), "nothing");
    case.gained(2);
    assert_eq!(case.mirror.counts(), FibCounts { installed: 0, pending: 1, failed: 0 });
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    case.refused("10.0.0.0/8", libc::ENETUNREACH);
    assert_eq!(case.mirror.poll_deadline(), Some(case.now + Duration::from_secs(8)));
}

#[test]
fn a_replacement_without_an_answer_is_still_uninstalled_when_withdrawn() {
    let mut case = Case::after_dump([("10.0.0.0/8", "via 1")]);
    case.want("10.0.0.0/8", "via 2");
    case.op();
    assert_eq!(case.refused("10.0.0.0/8", libc::ENOBUFS), Some(FibStatus::Failed));
    assert_eq!(case.withdraw("10.0.0.0/8"), None);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.refused("10.0.0.0/8", libc::ESRCH), Some(FibStatus::None));
    assert_eq!(case.mirror.counts(), FibCounts::default());
    assert!(case.mirror.destinations.is_empty());
}

#[test]
fn an_installation_without_an_answer_is_still_uninstalled_when_withdrawn() {
    for errno in [libc::ENOBUFS, libc::ENOMEM, libc::EAGAIN, libc::EINTR] {
        let mut case = Case::after_dump([]);
        case.want("10.0.0.0/8", "via 1");
        case.op();
        case.refused("10.0.0.0/8", errno);
        assert_eq!(case.withdraw("10.0.0.0/8"), None);
        assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    }
}

#[test]
fn what_the_kernel_calls_existing_is_removed_if_it_is_ours_and_then_installed() {
    let mut case = Case::after_dump([]);
    case.want("10.0.0.0/8", "via 1");
    case.op();
    assert_eq!(case.refused("10.0.0.0/8", libc::EEXIST), Some(FibStatus::Failed));
    case.wait(1);
    assert_eq!(case.op(), "uninstall 10.0.0.0/8");
    assert_eq!(case.refused("10.0.0.0/8", libc::ESRCH), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
    assert_eq!(case.refused("10.0.0.0/8", libc::EEXIST), Some(FibStatus::Failed));
    assert_eq!(case.mirror.poll_deadline(), Some(case.now + Duration::from_secs(2)));
}

#[test]
fn the_weight_of_an_only_hop_makes_no_difference() {
    let mut case = Case::after_dump([("10.0.0.0/8", "via 1")]);
    let Forwarding::Unicast(mut hops) = forwarding("via 1").as_ref().clone() else { panic!() };
    hops[0].weight = Weight::new(7).unwrap();
    let id = GroupId(std::num::NonZeroU32::new(77).unwrap());
    let forwarding = Some(Arc::new(Forwarding::Unicast(hops)));
    case.objects.handle_group(id, table(), forwarding, None, None);
    let settled = case.mirror.want(prefix("10.0.0.0/8"), Some(Wish::Group(id)), &mut case.objects);
    assert_eq!(settled.map(|settled| settled.status), Some(FibStatus::Installed));
    assert_eq!(case.op(), "nothing");
}

#[test]
fn a_result_that_nobody_waits_for_changes_nothing() {
    let mut case = Case::after_dump([]);
    assert_eq!(case.done("10.0.0.0/8"), None);
    case.want("10.0.0.0/8", "via 1");
    assert_eq!(case.done("10.0.0.0/8"), None);
    assert_eq!(case.op(), "install 10.0.0.0/8 via 192.0.2.1 dev 2");
}

/// A kernel table: to each prefix the routes with our metric, each with whether it is ours.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel(BTreeMap<Prefix, Vec<(Arc<Forwarding>, Owner)>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Us,
    Stranger,
}

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Nothing,
    /// Refused, nothing changed.
    Refused,
    /// Refused, and the old route is gone.
    RefusedHalfway,
    /// Done, but the answer was lost.
    AnswerLost,
    /// Not done, and the answer was lost.
    RequestLost,
}

impl Kernel {
    fn carry_out(&mut self, op: &(Prefix, RouteOp), mishap: Mishap) -> Result<(), Refusal> {
        match mishap {
            Mishap::Nothing => self.apply(op),
            Mishap::Refused => refused(libc::ENETUNREACH),
            Mishap::RefusedHalfway => {
                if let (to, RouteOp::Replace(_)) = op {
                    self.0.entry(*to).or_default().retain(|(_, owner)| *owner == Owner::Stranger);
                }
                refused(libc::ENETUNREACH)
            }
            Mishap::AnswerLost => {
                let _ = self.apply(op);
                refused(libc::ENOBUFS)
            }
            Mishap::RequestLost => refused(libc::ENOBUFS),
        }
    }

    fn apply(&mut self, (to, op): &(Prefix, RouteOp)) -> Result<(), Refusal> {
        let routes = self.0.entry(*to).or_default();
        match op {
            RouteOp::Install(_) if !routes.is_empty() => return refused(libc::EEXIST),
            RouteOp::Install(Target::Plain(forwarding)) => {
                routes.push((forwarding.clone(), Owner::Us));
            }
            RouteOp::Replace(Target::Plain(forwarding)) => match routes.first_mut() {
                Some(first) => {
                    assert_eq!(first.1, Owner::Us, "{op:?} overwrites a stranger's route");
                    first.0 = forwarding.clone();
                }
                None => routes.push((forwarding.clone(), Owner::Us)),
            },
            RouteOp::Install(_) | RouteOp::Replace(_) => return refused(libc::EINVAL),
            RouteOp::Uninstall => {
                let ours = routes.iter().position(|(_, owner)| *owner == Owner::Us);
                match ours {
                    Some(index) => drop(routes.remove(index)),
                    None => return refused(libc::ESRCH),
                }
            }
        }
        Ok(())
    }

    /// A link goes down, and nobody is told what that takes along.
    fn drop_silently(&mut self) {
        for routes in self.0.values_mut() {
            routes.retain(|(forwarding, owner)| {
                *owner == Owner::Stranger || **forwarding == Forwarding::Blackhole
            });
        }
    }

    /// What there is of this owner, without empty destinations.
    fn of(&self, wanted: Owner) -> Vec<(Prefix, Vec<Arc<Forwarding>>)> {
        let routes = |routes: &Vec<(Arc<Forwarding>, Owner)>| -> Vec<Arc<Forwarding>> {
            let ours = routes.iter().filter(|(_, owner)| *owner == wanted);
            ours.map(|(forwarding, _)| forwarding.clone()).collect()
        };
        let all = self.0.iter().map(|(to, found)| (*to, routes(found)));
        all.filter(|(_, found)| !found.is_empty()).collect()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Want(u8, Option<u8>),
    /// Hand out up to so many operations.
    Send(u8),
    /// The oldest or the newest operation in flight returns.
    Answer(Mishap, bool),
    Wait,
    /// The kernel drops what leads by the link.
    Drop,
    /// The mirror hears that the link was lost.
    Tell,
    Hurry,
}

fn steps() -> impl Strategy<Value = Vec<Event>> {
    let mishap = prop_oneof![
        4 => Just(Mishap::Nothing),
        1 => Just(Mishap::Refused),
        1 => Just(Mishap::RefusedHalfway),
        1 => Just(Mishap::AnswerLost),
        1 => Just(Mishap::RequestLost),
    ];
    let step = prop_oneof![
        4 => (0..6_u8, proptest::option::of(0..3_u8)).prop_map(|(to, wish)| Event::Want(to, wish)),
        2 => (1..4_u8).prop_map(Event::Send),
        4 => (mishap, any::<bool>()).prop_map(|(mishap, oldest)| Event::Answer(mishap, oldest)),
        1 => Just(Event::Wait),
        1 => Just(Event::Drop),
        1 => Just(Event::Tell),
        1 => Just(Event::Hurry),
    ];
    vec(step, 0..120)
}

/// Some routes to the first destinations at start: ours once or several times, or a stranger's.
fn found() -> impl Strategy<Value = Vec<(u8, u8, bool)>> {
    vec((0..6_u8, 0..3_u8, prop::bool::weighted(0.2)), 0..10)
}

fn nth_prefix(index: u8) -> Prefix {
    prefix(&format!("10.{index}.0.0/16"))
}

const NAMES: [&str; 3] = ["blackhole", "via 1", "via 2"];

fn nth_forwarding(index: u8) -> Arc<Forwarding> {
    forwarding(NAMES[usize::from(index)])
}

fn nth_wish(index: u8) -> Wish {
    wish(NAMES[usize::from(index)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn draining_all_work_makes_the_kernel_equal_to_the_wishes(
        found in found(), early in vec((0..6_u8, 0..3_u8), 0..4), steps in steps(),
    ) {
        let mut kernel = Kernel::default();
        for (to, what, foreign) in found {
            let routes = kernel.0.entry(nth_prefix(to)).or_default();
            // With a stranger's route in the way ours cannot have come to be, nor the other way round.
            let owner = if foreign { Owner::Stranger } else { Owner::Us };
            if routes.is_empty() || !foreign && routes.iter().all(|(_, there)| *there == owner) {
                routes.push((nth_forwarding(what), owner));
            }
        }
        let strangers = kernel.of(Owner::Stranger);

        let mut now = Instant::now();
        let mut mirror = Mirror::new(TableId::new(0, Family::Ipv4).unwrap());
        let mut objects = plain_groups();
        mirror.begin_reading();
        let mut wishes = BTreeMap::new();
        for (to, wish) in early {
            mirror.want(nth_prefix(to), Some(nth_wish(wish)), &mut objects);
            wishes.insert(nth_prefix(to), nth_forwarding(wish));
        }
        for (to, routes) in kernel.of(Owner::Us) {
            for route in routes {
                mirror.handle_dumped(to, Some(Target::Plain(route)), &mut objects);
            }
        }
        mirror.handle_dump_complete(&mut objects);

        let mut in_flight: VecDeque<(Prefix, RouteOp)> = VecDeque::new();
        let lost = [(InterfaceIndex(2), Family::Ipv4)].into();
        for step in steps.into_iter().chain([Event::Tell]) {
            match step {
                Event::Want(to, wish) => {
                    let to = nth_prefix(to);
                    mirror.want(to, wish.map(nth_wish), &mut objects);
                    match wish.map(nth_forwarding) {
                        Some(wish) => {
                            wishes.insert(to, wish);
                        }
                        None => {
                            wishes.remove(&to);
                        }
                    }
                }
                Event::Send(number) => {
                    for _ in 0..number {
                        if let Some(op) = mirror.poll_op(&mut objects) {
                            prop_assert!(in_flight.iter().all(|other| other.0 != op.0));
                            in_flight.push_back(op);
                        }
                    }
                }
                Event::Answer(mishap, oldest) => {
                    let op = if oldest { in_flight.pop_front() } else { in_flight.pop_back() };
                    if let Some(op) = op {
                        let result = kernel.carry_out(&op, mishap);
                        mirror.handle_result(op.0, result, now, &mut objects);
                    }
                }
                Event::Wait => {
                    now += Duration::from_secs(60);
                    mirror.handle_deadline(now, &mut objects);
                }
                Event::Drop => kernel.drop_silently(),
                Event::Tell => mirror.handle_lost(&lost, &mut objects),
                Event::Hurry => mirror.hurry(&lost, false, &mut objects),
            }
            let counts = mirror.counts();
            prop_assert_eq!(
                counts.installed + counts.pending + counts.failed,
                mirror.destinations.len()
            );
        }

        // The world comes to its senses: strangers stay, everything else works.
        for _ in 0..8 {
            while let Some(op) = in_flight.pop_front().or_else(|| mirror.poll_op(&mut objects)) {
                let result = kernel.carry_out(&op, Mishap::Nothing);
                mirror.handle_result(op.0, result, now, &mut objects);
            }
            now += Duration::from_secs(60);
            mirror.handle_deadline(now, &mut objects);
        }
        prop_assert_eq!(kernel.of(Owner::Stranger), strangers.clone());
        let blocked = |to: &Prefix| strangers.iter().any(|(other, _)| other == to);
        let wished: Vec<_> = wishes
            .into_iter()
            .filter(|(to, _)| !blocked(to))
            .map(|(to, wish)| (to, vec![wish]))
            .collect();
        prop_assert_eq!(mirror.counts().installed, wished.len());
        prop_assert_eq!(kernel.of(Owner::Us), wished);
    }
}
