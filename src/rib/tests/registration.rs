use super::super::{
    Credentials, Policy, Registration, Tenure, Terms, Withdrawal,
    testing::{TestRib, table},
};
use crate::model::{Caller, EntityKey, ErrorKind, Family, Now, Protocol, TableId};

fn caller(bus_name: &str, uid: u32) -> Caller {
    Caller { bus_name: bus_name.to_owned(), uid }
}

fn registration(table: TableId, protocol_instance: u32, tenure: Tenure) -> Registration {
    let key = EntityKey { table, protocol: Protocol::OSPF, protocol_instance };
    let (label, terms, credentials) = (String::new(), Terms::default(), Credentials::authorized());
    Registration { key, label, tenure, terms, credentials }
}

#[test]
fn the_same_four_values_register_once() {
    let mut test = TestRib::with_entities(["ospf"]);
    let refusal = test.register("ospf", Family::Ipv4).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::AlreadyExists);
    assert_eq!(refusal.message, "ospf/0 in table 0/ipv4 is already registered, as entity 1");
    test.register("ospf", Family::Ipv6).expect("another family is another table");
}

#[test]
fn another_protocol_instance_registers_beside_the_first() {
    let mut test = TestRib::with_entities([]);
    for instance in 0..2 {
        let wanted = registration(table(Family::Ipv4), instance, Tenure::Connection);
        test.rib.register(wanted, caller(":1", 0), Now::at(0)).unwrap();
    }
    assert_eq!(test.rib.registered_entities(table(Family::Ipv4)).unwrap().count(), 2);
}

#[test]
fn a_shared_registration_has_nobody_to_ask_and_nobody_to_tell() {
    let callback = Terms { callback: Some("/callback".to_owned()), ..Terms::default() };
    let results = Terms { fib_results: true, ..Terms::default() };
    for terms in [callback, results] {
        let mut test = TestRib::with_entities([]);
        let mut register = |tenure| {
            let wanted = registration(table(Family::Ipv4), 0, tenure);
            let wanted = Registration { terms: terms.clone(), ..wanted };
            test.rib.register(wanted, caller(":1", 0), Now::at(0))
        };
        let refusal = register(Tenure::User).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidParameter);
        assert!(refusal.message.starts_with("a shared registration outlives its connection"));
        register(Tenure::Connection).expect("one of a connection has it");
    }
}

#[test]
fn the_profile_tells_the_configured_limits() {
    let mut policy = Policy::standard();
    (policy.limits.next_hops_per_route, policy.limits.handles) = (7, 99);
    let mut test = TestRib::new(policy);
    let wanted = registration(table(Family::Ipv4), 0, Tenure::Connection);
    let profile = test.rib.register(wanted, caller(":1", 0), Now::at(0)).unwrap();
    assert_eq!((profile.max_next_hops, profile.max_handles, profile.views.0), (7, 99, 3));
    assert_eq!(profile.preference.0, 110);
}

#[test]
fn an_unknown_instance_is_not_found() {
    let mut test = TestRib::with_entities([]);
    let wanted = registration(TableId::new(5, Family::Ipv4).unwrap(), 0, Tenure::Connection);
    let refusal = test.rib.register(wanted, caller(":1", 0), Now::at(0)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::FileNotFound);
}

#[test]
fn a_label_that_could_garble_a_terminal_is_bad_data() {
    let mut test = TestRib::with_entities([]);
    for label in ["\x1b[31m".to_owned(), "x".repeat(65)] {
        let wanted =
            Registration { label, ..registration(table(Family::Ipv4), 0, Tenure::Connection) };
        let refusal = test.rib.register(wanted, caller(":1", 0), Now::at(0)).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::InvalidData);
    }
}

#[test]
fn one_client_cannot_take_all_registrations() {
    let mut policy = Policy::standard();
    (policy.limits.entities, policy.limits.entities_per_client) = (3, 2);
    let mut test = TestRib::new(policy);
    let mut register = |who: &str, instance| {
        let wanted = registration(table(Family::Ipv4), instance, Tenure::Connection);
        test.rib.register(wanted, caller(who, 0), Now::at(0)).map_err(|error| error.kind).err()
    };
    assert_eq!([register(":1", 1), register(":1", 2)], [None, None]);
    assert_eq!(register(":1", 3), Some(ErrorKind::NoSystemResources));
    assert_eq!(register(":2", 4), None);
    assert_eq!(register(":3", 5), Some(ErrorKind::NoSystemResources), "the limit of all");
}

#[test]
fn one_user_cannot_take_all_registrations_with_many_connections() {
    let mut policy = Policy::standard();
    policy.limits.entities_per_user = 2;
    let mut test = TestRib::new(policy);
    let mut instance = 0;
    let mut register = |test: &mut TestRib, who: &str, uid, tenure| {
        instance += 1;
        let wanted = registration(table(Family::Ipv4), instance, tenure);
        test.rib.register(wanted, caller(who, uid), Now::at(0)).map(|profile| profile.id)
    };
    let first = register(&mut test, ":1", 7, Tenure::Connection).unwrap();
    register(&mut test, ":2", 7, Tenure::User).unwrap();
    let refusal = register(&mut test, ":3", 7, Tenure::Connection).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoSystemResources);
    assert_eq!(
        refusal.message,
        "user 7 holds 2 registrations, the most for one user (limit entities-per-user): \
         deregister one"
    );
    register(&mut test, ":4", 8, Tenure::Connection).expect("others are served");
    test.rib.deregister(first).unwrap();
    let refusal = register(&mut test, ":3", 7, Tenure::Connection).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoSystemResources, "what is leaving is still there");
    assert!(matches!(test.rib.withdraw(first, 1, Now::at(0)), Withdrawal::Complete(_)));
    register(&mut test, ":3", 7, Tenure::Connection).expect("it is gone");
}

#[test]
fn shared_registrations_count_for_the_user_and_not_for_its_connections() {
    let mut policy = Policy::standard();
    policy.limits.entities_per_client = 2;
    let mut test = TestRib::new(policy);
    let mut instance = 0;
    let mut register = |who: &str, uid, tenure| {
        instance += 1;
        let wanted = registration(table(Family::Ipv4), instance, tenure);
        let result = test.rib.register(wanted, caller(who, uid), Now::at(0));
        result.map_err(|refusal| refusal.message).err()
    };
    assert_eq!([register(":1", 7, Tenure::User), register(":2", 7, Tenure::User)], [None, None]);
    let refusal = register(":3", 7, Tenure::User);
    assert_eq!(
        refusal.unwrap(),
        "user 7 holds 2 shared registrations, the most for one user (limit entities-per-client): \
         deregister one"
    );
    assert_eq!(register(":4", 7, Tenure::Connection), None, "a daemon of the same user");
    assert_eq!(register(":4", 7, Tenure::Connection), None);
    let refusal = register(":4", 7, Tenure::Connection);
    assert_eq!(
        refusal.unwrap(),
        ":4 holds 2 registrations, the most for one client (limit entities-per-client): \
         deregister one"
    );
}

#[test]
fn only_the_connection_that_registered_may_speak_for_the_entity() {
    let mut test = TestRib::with_entities([]);
    let wanted = registration(table(Family::Ipv4), 0, Tenure::Connection);
    let id = test.rib.register(wanted, caller(":1", 7), Now::at(0)).unwrap().id;
    assert!(test.rib.authorize(id, &caller(":1", 7)).is_ok());
    let refusal = test.rib.authorize(id, &caller(":2", 7)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::AccessDenied);
    assert_eq!(refusal.message, "entity 1 belongs to connection :1, not to :2");
}

#[test]
fn a_shared_registration_belongs_to_the_user_and_outlives_the_connection() {
    let mut test = TestRib::with_entities([]);
    let wanted = registration(table(Family::Ipv4), 0, Tenure::User);
    let id = test.rib.register(wanted, caller(":1", 7), Now::at(0)).unwrap().id;
    assert!(test.rib.authorize(id, &caller(":2", 7)).is_ok());
    assert_eq!(test.rib.authorize(id, &caller(":2", 8)).unwrap_err().kind, ErrorKind::AccessDenied);
    assert_eq!(test.rib.handle_client_gone(":1", Now::at(0)), []);
    assert!(test.rib.entity(id).is_ok());
}

#[test]
fn deregistration_withdraws_everything_and_frees_the_key_at_once() {
    let mut test = TestRib::with_entities(["ospf"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1 from 192.0.2.7 how 2").unwrap();
    let old = test.entity("ospf");
    test.rib.deregister(old).unwrap();
    assert_eq!(test.rib.entity(old).unwrap_err().kind, ErrorKind::InvalidHandle);
    let new = test.register("ospf", Family::Ipv4).expect("the key is free already");
    let first = test.rib.withdraw(old, 1, Now::at(0));
    assert!(matches!(first, Withdrawal::Unfinished), "one of two routes is left");
    let rest = test.rib.withdraw(old, 9, Now::at(0));
    assert!(matches!(rest, Withdrawal::Complete(entity) if entity.id == old));
    assert!(matches!(test.rib.withdraw(old, 9, Now::at(0)), Withdrawal::Unknown));
    assert_eq!(test.rib.route_count(table(Family::Ipv4)), 0);
    assert_eq!(test.rib.next_hop_count(old), 0);
    assert_ne!(old, new);
}

#[test]
fn a_client_that_is_gone_leaves_nothing() {
    let mut test = TestRib::with_entities(["ospf", "static"]);
    test.add("ospf: 10.0.0.0/8 via 192.0.2.1").unwrap();
    test.add("static: 10.0.0.0/8 via 192.0.2.2").unwrap();
    for id in test.rib.handle_client_gone(":static", Now::at(0)) {
        while let Withdrawal::Unfinished = test.rib.withdraw(id, 1, Now::at(0)) {}
    }
    assert_eq!(test.best("10.0.0.0/8"), "ospf");
    let gone = test.entity("static");
    assert!(test.rib.registered_entities(table(Family::Ipv4)).unwrap().all(|e| e.id != gone));
}

/// What "own" means to a caller: the entities, and their protocol.
fn own(test: &TestRib, who: &Caller) -> Result<(usize, Protocol), ErrorKind> {
    let table = table(Family::Ipv4);
    let entities = test.rib.own_entities(table, who).map_err(|refusal| refusal.kind);
    let protocol = test.rib.own_protocol(table, who).map_err(|refusal| refusal.kind);
    entities.and_then(|all| Ok((all.len(), protocol?)))
}

#[test]
fn own_is_what_the_caller_registered_of_one_protocol() {
    let mut test = TestRib::with_entities(["ospf"]);
    let who = caller(":ospf", 1000);
    assert_eq!(own(&test, &who), Ok((1, Protocol::OSPF)));
    assert_eq!(own(&test, &caller(":nobody", 1000)), Err(ErrorKind::InvalidParameter));
    let beside = registration(table(Family::Ipv4), 1, Tenure::Connection);
    test.rib.register(beside, who.clone(), Now::at(0)).unwrap();
    assert_eq!(own(&test, &who), Ok((2, Protocol::OSPF)), "parts of one protocol");
    let mut other = registration(table(Family::Ipv4), 0, Tenure::Connection);
    other.key.protocol = Protocol::RIP;
    test.rib.register(other, who.clone(), Now::at(0)).unwrap();
    assert_eq!(own(&test, &who), Err(ErrorKind::InvalidParameter), "which of the two?");
}

#[test]
fn shared_registrations_are_own_only_to_who_has_none_of_its_own() {
    let mut test = TestRib::with_entities(["ospf"]);
    let mut shared = registration(table(Family::Ipv4), 0, Tenure::User);
    shared.key.protocol = Protocol::RIP;
    test.rib.register(shared, caller(":script", 1000), Now::at(0)).unwrap();
    assert_eq!(own(&test, &caller(":ospf", 1000)), Ok((1, Protocol::OSPF)));
    assert_eq!(own(&test, &caller(":next", 1000)), Ok((1, Protocol::RIP)));
    assert_eq!(own(&test, &caller(":other", 1001)), Err(ErrorKind::InvalidParameter));
}
