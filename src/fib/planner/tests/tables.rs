//! Tables beside each other.

use super::*;

/// Carries out all that is to be done, after what is to be read was read.
fn carry_out(planner: &mut Planner, found: &[FibOp]) -> Vec<FibOp> {
    let now = Instant::now();
    let mut done = Vec::new();
    loop {
        if let Some(doubt) = planner.poll_doubt() {
            planner.begin_reading(doubt);
            for op in found {
                match (doubt, op) {
                    (Doubt::Objects, FibOp::Object { id, op: ObjectOp::Add(it) }) => {
                        planner.handle_found_object(*id, Some(it.clone()));
                    }
                    (
                        Doubt::Table(id, of),
                        FibOp::Route { table, to, op: RouteOp::Install(it) },
                    ) if of == *table => {
                        planner.handle_found_route(id, *to, Some(it.clone()));
                    }
                    (Doubt::Objects | Doubt::Table(..), _) => {}
                }
            }
            planner.handle_reading_complete(doubt);
            continue;
        }
        let ops = planner.poll_ops(100);
        if ops.is_empty() {
            return done;
        }
        for op in ops {
            planner.handle_result(&op, Ok(()), now);
            done.push(op);
        }
    }
}

#[test]
fn of_two_tables_one_can_do_without_next_hop_objects_also_where_it_had_some_before() {
    let tables = [0, 1].map(|instance| TableId::new(instance, Family::Ipv4).unwrap());
    let kernel = [254, 1000].map(KernelTable);
    let start = |plain: Option<TableId>| {
        let mut planner = Planner::new(Support::Resilient, tables.into_iter().zip(kernel));
        plain.into_iter().for_each(|table| planner.keep_plain(table));
        for (group, table) in (0..).zip(tables) {
            let hops = Forwarding::Unicast([hop(group, 1)].into());
            planner.handle_group(group_id(group), table, Some(Arc::new(hops)), None, None);
            planner.want(table, nth_prefix(0), Some(Wish::Group(group_id(group))));
        }
        planner
    };
    let by_objects = carry_out(&mut start(None), &[]);
    assert_eq!(by_objects.len(), 6, "a leg, a group and a route in each: {by_objects:?}");

    let mut planner = start(Some(tables[1]));
    let changes = carry_out(&mut planner, &by_objects);
    let plain = Target::Plain(Arc::new(Forwarding::Unicast([hop(1, 1)].into())));
    let [FibOp::Route { table, op: RouteOp::Replace(target), .. }, rest @ ..] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!((*table, target), (kernel[1], &plain));
    let is_end = |op: &FibOp| matches!(op, FibOp::Object { op: ObjectOp::Delete, .. });
    assert!(rest.len() == 2 && rest.iter().all(is_end), "its leg and its group go: {rest:?}");

    // What it comes to changes by its route, and that of the other by its object.
    for (group, table) in (0..).zip(tables) {
        let hops = Some(Arc::new(Forwarding::Unicast([hop(2, 1)].into())));
        planner.handle_group(group_id(group), table, hops, None, None);
    }
    let changes = carry_out(&mut planner, &[]);
    let routes: Vec<KernelTable> = changes
        .iter()
        .filter_map(|op| match op {
            FibOp::Route { table, .. } => Some(*table),
            FibOp::Object { .. } => None,
        })
        .collect();
    assert_eq!(routes, [kernel[1]], "{changes:?}");
}

#[test]
fn events_that_are_lost_again_and_again_have_all_read_once_a_second() {
    let table = TableId::new(0, Family::Ipv4).unwrap();
    let mut planner = Planner::new(Support::Resilient, [(table, KernelTable(254))]);
    let start = Instant::now();
    carry_out(&mut planner, &[]);
    planner.handle_overrun(start);
    assert!(planner.poll_doubt().is_some(), "the first time at once");
    carry_out(&mut planner, &[]);
    for early in [0, 10, 990] {
        planner.handle_overrun(start + Duration::from_millis(early));
        assert_eq!(planner.poll_doubt(), None, "writing goes on");
    }
    assert_eq!(planner.poll_deadline(), Some(start + Duration::from_secs(1)));
    planner.handle_deadline(start + Duration::from_secs(1));
    assert!(planner.poll_doubt().is_some());
}
