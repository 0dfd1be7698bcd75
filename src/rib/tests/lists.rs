//! Route lists (RTMv2 rows LIST-01 to LIST-11).

use super::super::testing::{TestRib, table};
use crate::model::{ErrorKind, Family, ListId, RouteId};

fn populated() -> (TestRib, ListId, Vec<RouteId>) {
    let mut test = TestRib::with_entities(["static", "rip"]);
    let list = test.rib.create_route_list(test.entity("static")).unwrap();
    let routes =
        (0..5).map(|n| test.add(&format!("static: 10.{n}.0.0/16 via 192.0.2.1")).unwrap().0);
    let routes: Vec<RouteId> = routes.collect();
    test.rib.move_to_list(test.entity("static"), Some(list), &routes).unwrap();
    (test, list, routes)
}

fn next(test: &mut TestRib, list: ListId, count: u32) -> (Vec<RouteId>, bool) {
    let owner = test.entity("static");
    let (page, done) = test.rib.next_listed(owner, list, count).unwrap();
    (page.iter().map(|view| view.id).collect(), done)
}

#[test]
fn a_list_is_read_in_pages_and_from_the_beginning_again() {
    let (mut test, list, routes) = populated();
    assert_eq!(next(&mut test, list, 3), (routes[..3].to_vec(), false));
    assert_eq!(next(&mut test, list, 3), (routes[3..].to_vec(), true));
    assert_eq!(next(&mut test, list, 3), (vec![], true));
    test.rib.rewind_list(test.entity("static"), list).unwrap();
    assert_eq!(next(&mut test, list, 5), (routes, true));
}

#[test]
fn a_page_is_bounded() {
    let (mut test, list, _) = populated();
    let owner = test.entity("static");
    for count in [0, 1001] {
        let refusal = test.rib.next_listed(owner, list, count).map(drop).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
    }
}

#[test]
fn a_route_is_in_one_list_at_most_and_pages_can_be_moved_while_reading() {
    let (mut test, list, routes) = populated();
    let owner = test.entity("static");
    let other = test.rib.create_route_list(owner).unwrap();
    let mut read = Vec::new();
    loop {
        let (page, done) = next(&mut test, list, 2);
        test.rib.move_to_list(owner, Some(other), &page).unwrap();
        read.extend(page);
        if done {
            break;
        }
    }
    assert_eq!(read, routes);
    assert_eq!(next(&mut test, other, 10).0, routes);
    test.rib.rewind_list(owner, list).unwrap();
    assert_eq!(next(&mut test, list, 10).0, []);
}

#[test]
fn a_route_leaves_its_list_when_it_is_taken_out_or_deleted() {
    let (mut test, list, routes) = populated();
    test.rib.move_to_list(test.entity("static"), None, &routes[..1]).unwrap();
    test.delete("static", routes[1]).unwrap();
    assert_eq!(next(&mut test, list, 10).0, routes[2..]);
}

#[test]
fn with_a_foreign_route_nothing_is_moved() {
    let (mut test, list, routes) = populated();
    let (foreign, _) = test.add("rip: 10.0.0.0/16 via 192.0.2.1").unwrap();
    let refusal = test.rib.move_to_list(test.entity("static"), None, &[routes[0], foreign]);
    assert_eq!(refusal.unwrap_err().kind, ErrorKind::AccessDenied);
    assert_eq!(next(&mut test, list, 10).0, routes);
}

#[test]
fn a_list_is_its_owners_alone() {
    let (mut test, list, _) = populated();
    let rip = test.entity("rip");
    let refusal = test.rib.next_listed(rip, list, 1).map(drop).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidHandle);
    assert_eq!(test.rib.rewind_list(rip, list).unwrap_err().kind, ErrorKind::InvalidHandle);
}

#[test]
fn a_deleted_list_leaves_its_routes_in_the_table() {
    let (mut test, list, routes) = populated();
    test.rib.delete_route_list(list);
    let owner = test.entity("static");
    let refusal = test.rib.next_listed(owner, list, 1).map(drop).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidHandle);
    for id in routes {
        assert_eq!(test.rib.route(table(Family::Ipv4), id).unwrap().list, None);
    }
}

#[test]
fn what_a_list_held_is_handed_out_to_be_freed_and_its_routes_can_be_listed_again() {
    let (mut test, list, routes) = populated();
    let owner = test.entity("static");
    test.rib.delete_route_list(list);
    assert_eq!(test.rib.poll_waste().items(), routes.len());
    assert_eq!(test.rib.poll_waste().items(), 0, "once");
    let another = test.rib.create_route_list(owner).unwrap();
    test.rib.move_to_list(owner, Some(another), &routes[1..]).unwrap();
    assert_eq!(next(&mut test, another, 10).0, routes[1..]);
    test.rib.deregister(owner).unwrap();
    assert_eq!(test.rib.poll_waste().items(), routes.len() - 1);
}
