use super::super::{
    StaticKey, StaticMatch, StaticNextHop, StaticRoute,
    testing::{TestRib, table},
};
use crate::model::{
    Caller, EntityKey, EntityState, ErrorKind, Family, InterfaceIndex, Metric, Now, Preference,
    Prefix, Protocol, Result, RouteFlags, View, ViewSet,
};

const TO: &str = "10.0.0.0/8";
const IPV4: Family = Family::Ipv4;

/// `ADDRESS[@INTERFACE]` each.
fn via(ways: &[&str]) -> Vec<StaticNextHop> {
    let read = |way: &&str| {
        let (address, interface) = way.split_once('@').map_or((*way, None), |(a, i)| (a, Some(i)));
        let interface = interface.map(str::to_owned);
        StaticNextHop { address: address.parse().ok(), interface, weight: None }
    };
    ways.iter().map(read).collect()
}

fn route(metric: u32, ways: &[&str]) -> StaticRoute {
    StaticRoute {
        key: StaticKey {
            to: TO.parse().unwrap(),
            protocol: Protocol::STATIC,
            preference: Preference(0),
            metric: Metric(metric),
        },
        flags: RouteFlags::default(),
        views: View::UNICAST.only(),
        via: via(ways),
        persistent: true,
    }
}

fn add(test: &mut TestRib, route: StaticRoute) -> Result<()> {
    let now = test.now();
    test.rib.add_static_route(table(IPV4), route, now).map(drop)
}

fn remove(test: &mut TestRib, which: &StaticMatch) -> Result<()> {
    let now = test.now();
    test.rib.remove_static_route(table(IPV4), TO.parse().unwrap(), which, now).map(drop)
}

/// Metric, next hops and what it waits for, a line for each.
fn known(test: &TestRib) -> Vec<String> {
    let line = |view: super::super::StaticView<'_>| {
        let waits = view.waits.map_or_else(String::new, |why| format!(" ({why})"));
        format!("{}{waits}", view.route.key.metric.0)
    };
    test.rib.static_routes(table(IPV4)).unwrap().map(line).collect()
}

#[test]
fn a_static_route_belongs_to_the_service_and_nobody_may_speak_for_its_owner() {
    let mut test = TestRib::with_entities(["ospf"]);
    add(&mut test, route(0, &["192.0.2.1"])).unwrap();
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
    let owners: Vec<_> = test.rib.registered_entities(table(IPV4)).unwrap().collect();
    let owner = owners[1];
    assert_eq!((owner.state, owner.key.protocol), (EntityState::Builtin, Protocol::STATIC));
    assert_eq!(owner.routes(), 1);
    let id = owner.id;
    for bus_name in ["", ":ospf"] {
        let caller = Caller { bus_name: bus_name.to_owned(), uid: 0 };
        assert_eq!(test.rib.authorize(id, &caller).unwrap_err().kind, ErrorKind::AccessDenied);
        assert_eq!(test.rib.handle_client_gone("", Now::at(0)).len(), 0);
    }
}

#[test]
fn nobody_registers_with_the_services_own_key() {
    let mut test = TestRib::with_entities([]);
    for protocol in StaticKey::PROTOCOLS {
        let registration = super::super::Registration {
            key: EntityKey { table: table(IPV4), protocol, protocol_instance: u32::MAX },
            label: String::new(),
            tenure: super::super::Tenure::Connection,
            terms: super::super::Terms::default(),
            credentials: super::super::Credentials::default(),
        };
        let caller = Caller { bus_name: ":1.1".to_owned(), uid: 0 };
        let refusal = test.rib.register(registration, caller, Now::at(0)).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::AlreadyExists);
    }
}

#[test]
fn the_same_destination_preference_and_metric_are_the_same_static_route() {
    let mut test = TestRib::with_entities([]);
    add(&mut test, route(0, &["192.0.2.1"])).unwrap();
    add(&mut test, route(9, &["198.51.100.1"])).unwrap();
    assert_eq!(known(&test), ["0", "9"]);
    let id = |test: &TestRib| test.rib.routes(table(IPV4), TO.parse().unwrap()).unwrap()[0].id;
    let first = id(&test);
    test.effects();
    add(&mut test, route(0, &["192.0.2.2"])).unwrap();
    assert_eq!((known(&test).len(), id(&test)), (2, first));
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.2 dev 1"]);
}

#[test]
fn a_static_route_is_removed_by_what_tells_it_apart_and_only_if_that_is_one() {
    let mut test = TestRib::with_entities([]);
    add(&mut test, route(0, &["192.0.2.1"])).unwrap();
    add(&mut test, route(9, &["198.51.100.1@up2"])).unwrap();
    add(&mut test, route(20, &["192.0.2.1"])).unwrap();
    let any = StaticMatch::default();
    let by_way = |ways: &[&str]| StaticMatch { via: Some(via(ways)), ..any.clone() };
    let refusal = remove(&mut test, &any).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
    assert!(refusal.message.starts_with("3 static routes to 10.0.0.0/8"), "{}", refusal.message);
    assert_eq!(
        remove(&mut test, &by_way(&["192.0.2.1"])).unwrap_err().kind,
        ErrorKind::InvalidParameter
    );
    let none = [by_way(&["192.0.2.9"]), by_way(&["198.51.100.1@up1"]), by_way(&[])];
    for which in none {
        assert_eq!(remove(&mut test, &which).unwrap_err().kind, ErrorKind::NotFound, "{which:?}");
    }
    remove(&mut test, &by_way(&["198.51.100.1"])).unwrap();
    assert_eq!(known(&test), ["0", "20"]);
    remove(&mut test, &StaticMatch { metric: Some(Metric(0)), ..any.clone() }).unwrap();
    assert_eq!(known(&test), ["20"]);
    remove(&mut test, &any).unwrap();
    assert_eq!(test.rib.route_count(table(IPV4)), 0);
}

#[test]
fn a_refused_static_route_leaves_nothing_behind() {
    let mut test = TestRib::with_entities([]);
    let mut wrong = route(0, &["0.0.0.0"]);
    assert_eq!(add(&mut test, wrong.clone()).unwrap_err().kind, ErrorKind::InvalidParameter);
    wrong = route(0, &["192.0.2.1"]);
    wrong.key.protocol = Protocol::BGP;
    assert_eq!(add(&mut test, wrong).unwrap_err().kind, ErrorKind::InvalidParameter);
    let mut wrong = route(0, &["192.0.2.1"]);
    wrong.views = ViewSet(4);
    assert_eq!(add(&mut test, wrong.clone()).unwrap_err().kind, ErrorKind::NotSupported);
    assert_eq!(test.rib.entities().count(), 0);

    add(&mut test, route(0, &["192.0.2.1"])).unwrap();
    test.effects();
    assert_eq!(add(&mut test, wrong).unwrap_err().kind, ErrorKind::NotSupported);
    assert_eq!((known(&test), test.effects()), (vec!["0".to_owned()], vec![]));
}

#[test]
fn a_static_route_that_has_to_wait_for_its_interface_is_checked_all_the_same() {
    let mut test = TestRib::with_entities([]);
    let refused = |change: fn(&mut StaticRoute)| {
        let mut wrong = route(0, &["192.0.2.1@nosuch0"]);
        change(&mut wrong);
        add(&mut test, wrong).unwrap_err()
    };
    let hundred = |wrong: &mut StaticRoute| {
        let ways: Vec<String> = (1..=100).map(|n| format!("192.0.2.{n}@nosuch{n}")).collect();
        wrong.via = via(&ways.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let wrong: [fn(&mut StaticRoute); 8] = [
        |wrong| wrong.views = ViewSet::NONE,
        |wrong| wrong.views = ViewSet(4),
        |wrong| wrong.key.to = "2001:db8::/32".parse().unwrap(),
        |wrong| wrong.key.protocol = Protocol::BGP,
        |wrong| wrong.via = via(&["192.0.2.1@nosuch0", "192.0.2.1@nosuch0"]),
        |wrong| wrong.via = via(&["0.0.0.0@nosuch0"]),
        |wrong| wrong.via = via(&["192.0.2.1@nosuch0", ""]),
        hundred,
    ];
    let why: Vec<String> = wrong.map(refused).into_iter().map(|error| error.message).collect();
    for (why, of) in why.iter().zip([
        "a route needs at least one view",
        "view",
        "prefix 2001:db8::/32 is not ipv4",
        "a static route cannot be of protocol bgp",
        "is listed twice",
        "no router can have this address",
        "without an address an interface is needed",
        "100 next hops, a route has 64 at most (limit max-next-hops)",
    ]) {
        assert!(why.contains(of), "{why} instead of {of}");
    }
    assert_eq!((known(&test), test.rib.entities().count()), (vec![], 0));
    let different = route(0, &["192.0.2.1@nosuch0", "192.0.2.1@nosuch1"]);
    add(&mut test, different).unwrap();
    assert_eq!(known(&test), ["0 (there is no interface nosuch0)"]);
}

#[test]
fn what_was_put_or_removed_can_be_undone() {
    let mut test = TestRib::with_entities([]);
    let now = Now::at(1);
    let ipv4 = table(IPV4);
    let change = test.rib.add_static_route(ipv4, route(0, &["192.0.2.1"]), now).unwrap();
    assert!(change.new_entity.is_some());
    test.rib.undo_static(change, now);
    assert_eq!((test.rib.entities().count(), test.rib.route_count(ipv4)), (0, 0));

    add(&mut test, route(0, &["192.0.2.1"])).unwrap();
    test.effects();
    let change = test.rib.add_static_route(ipv4, route(0, &["192.0.2.2"]), now).unwrap();
    assert_eq!(change.new_entity, None);
    test.rib.undo_static(change, now);
    let to: Prefix = TO.parse().unwrap();
    let change = test.rib.remove_static_route(ipv4, to, &StaticMatch::default(), now).unwrap();
    test.rib.undo_static(change, now);
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 1"]);
    assert_eq!((known(&test).len(), test.rib.entities().count()), (1, 1));
}

#[test]
fn a_static_route_waits_for_its_interface_and_follows_it_to_another_number() {
    let mut test = TestRib::with_entities([]);
    let now = Now::at(1);
    test.rib.restore_static_route(table(IPV4), route(0, &["192.0.2.1@wan0"]), now);
    assert_eq!(known(&test), ["0 (there is no interface wan0)"]);
    assert_eq!((test.rib.entities().count(), test.effects().len()), (1, 0));
    assert_eq!(test.rib.persistent_routes().count(), 1);

    test.rib.handle_link(InterfaceIndex(7), "wan0", true);
    test.rib.settle_static_routes(now);
    assert_eq!(
        (known(&test), test.effects()),
        (vec!["0".to_owned()], vec!["10.0.0.0/8 via 192.0.2.1 dev 7".to_owned()])
    );
    test.rib.handle_link_gone(InterfaceIndex(7));
    test.rib.settle_static_routes(now);
    assert_eq!(test.effects(), ["10.0.0.0/8 -"]);
    assert_eq!(test.rib.route_count(table(IPV4)), 1, "it stays, and leads nowhere");
    test.rib.handle_link(InterfaceIndex(8), "wan0", true);
    test.rib.settle_static_routes(now);
    assert_eq!(test.effects(), ["10.0.0.0/8 via 192.0.2.1 dev 8"]);
    assert_eq!(test.rib.route_count(table(IPV4)), 1);
}

#[test]
fn a_static_route_of_a_table_that_is_not_configured_any_more_is_kept_until_it_is_removed() {
    let mut test = TestRib::with_entities([]);
    let elsewhere = crate::model::TableId::new(9, IPV4).unwrap();
    test.rib.restore_static_route(elsewhere, route(0, &["192.0.2.1"]), Now::at(1));
    test.rib.settle_static_routes(Now::at(2));
    let kept: Vec<_> = test.rib.persistent_routes().map(|(table, _)| table).collect();
    assert_eq!(kept, [elsewhere]);
    assert_eq!(test.rib.entities().count(), 0);
    let (to, any) = (TO.parse().unwrap(), StaticMatch::default());
    let _ = test.rib.remove_static_route(elsewhere, to, &any, Now::at(3)).unwrap();
    assert_eq!(test.rib.persistent_routes().count(), 0);
}

#[test]
fn a_copy_of_any_route_is_autostatic_and_stays_when_its_model_goes() {
    let mut test = TestRib::with_entities(["ospf"]);
    let (id, _) =
        test.add("ospf: 10.0.0.0/8 via 192.0.2.1@1 via 198.51.100.1 metric 5 views 3").unwrap();
    let copy = test.rib.static_copy(table(IPV4), id, false).unwrap();
    assert_eq!(copy.via[0].interface.as_deref(), Some("up1"));
    assert_eq!(copy.via[1].interface, None);
    add(&mut test, copy).unwrap();
    test.delete("ospf", id).unwrap();
    let routes = test.rib.routes(table(IPV4), TO.parse().unwrap()).unwrap();
    let route = routes[0].route;
    assert_eq!((route.protocol, route.rank.preference), (Protocol::AUTOSTATIC, Preference(7)));
    assert_eq!((route.rank.metric, route.views), (Metric(5), ViewSet(3)));
    assert_eq!(
        test.effects(),
        ["10.0.0.0/8 via 192.0.2.1 dev 1 weight 1 via 198.51.100.1 dev 2 weight 1"]
    );
    let refusal = test.rib.static_copy(table(IPV4), id, false).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InvalidHandle);
}

#[test]
fn static_routes_are_limited_by_their_next_hops_and_one_without_any_counts_as_one() {
    let mut test = TestRib::with_entities([]);
    let mut policy = test.rib.policy().clone();
    policy.limits.static_routes = 3;
    test.rib.reconfigure(policy).unwrap();
    add(&mut test, route(0, &["192.0.2.1", "192.0.2.2@missing"])).unwrap();
    add(&mut test, route(1, &[])).unwrap();
    let refusal = add(&mut test, route(2, &["192.0.2.1"])).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotEnoughMemory);
    assert_eq!(
        refusal.message,
        "the other static routes of table 0/ipv4 take 3 places of 3, one for each next hop, and \
         this one takes 1 (limit static-routes): remove some"
    );
    assert_eq!(known(&test), ["0 (there is no interface missing)", "1"]);
    add(&mut test, route(0, &["192.0.2.1"])).expect("one that is replaced does not count");
    add(&mut test, route(2, &["192.0.2.1"])).expect("there is room for another");
    assert_eq!(
        add(&mut test, route(1, &["192.0.2.1", "192.0.2.2"])).unwrap_err().kind,
        refusal.kind
    );
}

/// Has the configuration say these metrics, each with the next hops of its route.
fn configure(test: &mut TestRib, routes: &[(u32, &[&str])]) -> usize {
    let (table, now) = (table(IPV4), test.now());
    let of = |(metric, ways): &(u32, &[&str])| {
        (table, StaticRoute { persistent: false, ..route(*metric, ways) })
    };
    test.rib.configure_static_routes(routes.iter().map(of).collect(), now).new_entities.len()
}

#[test]
fn what_the_configuration_has_no_more_goes_and_what_came_over_the_bus_stays() {
    let mut test = TestRib::with_entities(["ospf"]);
    assert_eq!(configure(&mut test, &[(1, &["192.0.2.1"]), (2, &["192.0.2.2"])]), 1);
    add(&mut test, route(3, &["192.0.2.3"])).unwrap();
    assert_eq!(known(&test), ["1", "2", "3"]);
    assert_eq!(configure(&mut test, &[(2, &["192.0.2.2"]), (4, &["192.0.2.4"])]), 0);
    assert_eq!(known(&test), ["2", "3", "4"]);
    let of_the_file: Vec<bool> =
        test.rib.static_routes(table(IPV4)).unwrap().map(|view| view.configured).collect();
    assert_eq!(of_the_file, [true, false, true]);
    configure(&mut test, &[]);
    assert_eq!(known(&test), ["3"]);
    assert_eq!(test.rib.persistent_routes().count(), 1);
}

#[test]
fn what_the_configuration_has_cannot_be_changed_over_the_bus() {
    let mut test = TestRib::with_entities(["ospf"]);
    configure(&mut test, &[(1, &["192.0.2.1"])]);
    let kind = |result: Result<()>| result.unwrap_err().kind;
    assert_eq!(kind(add(&mut test, route(1, &["192.0.2.9"]))), ErrorKind::NotSupported);
    assert_eq!(kind(remove(&mut test, &StaticMatch::default())), ErrorKind::NotSupported);
    assert_eq!(known(&test), ["1"]);
}

#[test]
fn a_route_of_the_configuration_waits_for_its_interface_and_stays_the_configurations() {
    let mut test = TestRib::with_entities(["ospf"]);
    configure(&mut test, &[(1, &["192.0.2.1@none"])]);
    assert_eq!(known(&test), ["1 (there is no interface none)"]);
    let now = test.now();
    test.rib.settle_static_routes(now);
    configure(&mut test, &[]);
    assert_eq!(known(&test), [""; 0]);
}
