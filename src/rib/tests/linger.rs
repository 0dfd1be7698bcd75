use std::net::IpAddr;

use super::super::{
    Credentials, NextHopOffer, Progress, Registration, Tenure, Terms,
    testing::{TestRib, table},
};
use crate::model::{
    Caller, EntityId, EntityKey, EntityState, ErrorKind, Family, InterfaceIndex, NextHopFlags,
    NextHopKey, Now, Protocol, Span, Weight,
};

fn lingering(milliseconds: u32) -> Terms {
    Terms { linger: Some(Span::from_millis(milliseconds).unwrap()), ..Terms::default() }
}

/// With an OSPF entity that is away, and had these.
fn away<const N: usize>(routes: [&str; N], milliseconds: u32) -> (TestRib, EntityId) {
    let mut test = TestRib::with_entities(["rip"]);
    let terms = lingering(milliseconds);
    let id = test.register_as("ospf", Family::Ipv4, Tenure::Connection, terms).unwrap();
    for route in routes {
        test.add(&format!("ospf: {route}")).unwrap();
    }
    let now = test.now();
    assert_eq!(test.rib.handle_client_gone(":ospf", now), [id]);
    (test, id)
}

/// A next hop that is added for its own sake.
fn offer(host: u8) -> NextHopOffer<'static> {
    let address = Some(IpAddr::from([192, 0, 2, host]));
    NextHopOffer {
        key: NextHopKey { address, interface: InterfaceIndex(0) },
        flags: NextHopFlags::default(),
        weight: Weight::ONE,
        remote: None,
        private: &[],
    }
}

fn resume(test: &mut TestRib, terms: Terms) -> (EntityId, usize) {
    let key =
        EntityKey { table: table(Family::Ipv4), protocol: Protocol::OSPF, protocol_instance: 0 };
    let (label, tenure) = ("again".to_owned(), Tenure::Connection);
    let caller = Caller { bus_name: ":again".to_owned(), uid: 1000 };
    let credentials = Credentials::authorized();
    let registration = Registration { key, label, tenure, terms, credentials };
    let now = test.now();
    let profile = test.rib.register(registration, caller, now).unwrap();
    assert!(profile.resumed);
    (profile.id, profile.stale_routes)
}

#[test]
fn routes_of_who_is_away_stay_best_and_are_nobodys_to_change() {
    let (mut test, id) = away(["10.0.0.0/8 via 192.0.2.1"], 5000);
    test.add("rip: 10.0.0.0/8 via 192.0.2.2").unwrap();
    assert_eq!(test.best("10.0.0.0/8"), "ospf");
    let entity = test.rib.entity(id).unwrap();
    assert_eq!((entity.state, entity.stale_routes()), (EntityState::Lingering, 1));
    let before = Caller { bus_name: ":ospf".to_owned(), uid: 1000 };
    let refusal = test.rib.authorize(id, &before).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::AccessDenied);
    assert_eq!(test.rib.handle_client_gone("", Now::at(9)), [], "its connection has no name");
}

#[test]
fn its_time_over_it_is_deregistered() {
    let (mut test, id) = away(["10.0.0.0/8 via 192.0.2.1"], 5000);
    test.pass(4999);
    assert!(!test.rib.has_departed());
    test.pass(1);
    assert_eq!(test.rib.poll_departed(), [id]);
    assert_eq!(test.rib.entity(id).unwrap_err().kind, ErrorKind::InvalidHandle);
    assert_eq!(test.rib.leaving().collect::<Vec<_>>(), [id]);
    assert_eq!(test.rib.next_deadline(), None);
}

#[test]
fn offered_again_a_route_is_the_same_and_stale_no_more() {
    let routes = ["10.0.0.0/8 via 192.0.2.1", "10.1.0.0/16 via 192.0.2.1"];
    let (mut test, id) = away(routes, 5000);
    let known = test.rib.routes(table(Family::Ipv4), "10.0.0.0/8".parse().unwrap()).unwrap()[0].id;
    assert_eq!(resume(&mut test, lingering(1)), (id, 2));
    test.pass(4999);
    assert_eq!(test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap().0, known);
    assert_eq!(test.rib.entity(id).unwrap().stale_routes(), 1);
    // As long again as it lingered by the terms of before.
    test.pass(1);
    assert_eq!(test.rib.entity(id).unwrap().routes(), 1);
    assert_eq!(test.rib.next_deadline(), None);
}

#[test]
fn a_sweep_goes_on_where_it_was() {
    let all: Vec<String> = (0..10).map(|n| format!("10.{n}.0.0/16 via 192.0.2.1")).collect();
    let (mut test, id) = away([], 5000);
    resume(&mut test, lingering(5000));
    for route in &all {
        test.add(&format!("ospf: {route}")).unwrap();
    }
    let now = test.now();
    test.rib.handle_client_gone(":again", now);
    resume(&mut test, lingering(5000));
    for route in &all[..5] {
        test.add(&format!("ospf: {route}")).unwrap();
    }
    let mut withdrawn = Vec::new();
    loop {
        let now = test.now();
        let sweep = test.rib.sweep(id, 3, now).unwrap();
        withdrawn.push(sweep.withdrawn);
        if sweep.progress == Progress::Complete {
            break;
        }
    }
    assert_eq!(withdrawn, [0, 1, 3, 1], "three are looked at each time");
    assert_eq!(test.rib.entity(id).unwrap().routes(), 5);
}

#[test]
fn next_hops_that_are_not_added_again_go_unless_a_route_has_them() {
    let mut test = TestRib::with_entities([]);
    let id = test.register_as("ospf", Family::Ipv4, Tenure::Connection, lingering(5000)).unwrap();
    for host in 1..=3 {
        test.rib.add_next_hop(id, offer(host)).unwrap();
    }
    let now = test.now();
    test.rib.handle_client_gone(":ospf", now);
    resume(&mut test, lingering(5000));
    test.rib.add_next_hop(id, offer(1)).unwrap();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.2").unwrap();
    let now = test.now();
    test.rib.sweep(id, 10, now).unwrap();
    let left: Vec<u8> =
        (1..=3).filter(|host| test.rib.find_next_hop(id, offer(*host).key).is_ok()).collect();
    assert_eq!(left, [1, 2]);
}

#[test]
fn who_resumes_without_a_time_to_linger_takes_its_routes_along() {
    let (mut test, id) = away(["10.0.0.0/8 via 192.0.2.1"], 5000);
    resume(&mut test, Terms::default());
    let now = test.now();
    test.rib.handle_client_gone(":again", now);
    assert_eq!(test.rib.entity(id).unwrap_err().kind, ErrorKind::InvalidHandle);
    assert_eq!(test.rib.next_deadline(), None, "nothing is left of the time it had");
}
