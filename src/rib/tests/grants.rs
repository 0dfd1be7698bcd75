//! Who may do what: which grant is a caller's, and what each of them refuses.

use super::super::{
    Case, Credentials, Deed, Grant, Grants, Mismatch, Prefixes, Registration, Right, Standing,
    StaticPlace, Tenure, Terms, Unit, Whom,
};
use crate::rib::testing::{TestRib, table};
use crate::{
    model::{
        Caller, EntityId, EntityKey, ErrorKind, Family, InstanceId, NextHopFlags, NextHopKey, Now,
        Preference, Protocol, Result, Span, TableId, View, ViewSet, Weight,
    },
    rib::{NextHopOffer, Policy},
};

const USER: u32 = 1000;

fn user(user: u32) -> Whom {
    Whom { user: Some(user), ..Whom::default() }
}

fn with(grants: Vec<Grant>) -> TestRib {
    TestRib::new(Policy { grants: Grants(grants), ..Policy::standard() })
}

/// A RIB where the user's grant is like this.
fn bounded(change: impl FnOnce(&mut Grant)) -> TestRib {
    let mut grant = Grant::new("bird", Ok(user(USER)));
    change(&mut grant);
    with(vec![grant])
}

fn ask(
    test: &mut TestRib,
    (protocol, protocol_instance): (Protocol, u32),
    tenure: Tenure,
    linger: Option<u32>,
) -> Result<EntityId> {
    ask_as(test, USER, Credentials::default(), (protocol, protocol_instance), tenure, linger)
}

fn ask_as(
    test: &mut TestRib,
    uid: u32,
    credentials: Credentials,
    (protocol, protocol_instance): (Protocol, u32),
    tenure: Tenure,
    linger: Option<u32>,
) -> Result<EntityId> {
    let key = EntityKey { table: table(Family::Ipv4), protocol, protocol_instance };
    let linger = linger.map(|linger| Span::from_millis(linger).unwrap());
    let terms = Terms { linger, ..Terms::default() };
    let registration = Registration { key, label: "bird".to_owned(), tenure, terms, credentials };
    let caller = Caller { bus_name: ":bird".to_owned(), uid };
    let id = test.rib.register(registration, caller, Now::at(0))?.id;
    test.know("bird", id);
    Ok(id)
}

fn bgp(test: &mut TestRib) -> EntityId {
    ask(test, (Protocol::BGP, 0), Tenure::Connection, None).unwrap()
}

fn denied<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AccessDenied, "{error}");
    error.message
}

#[test]
fn without_a_grant_only_root_the_service_and_who_was_authorized_register() {
    let mut test = with(Vec::new());
    assert_eq!(
        denied(ask(&mut test, (Protocol::BGP, 0), Tenure::Connection, None)),
        "no grant lets user 1000 register bgp/0 in table 0/ipv4: add a [[grant]] in \
         /etc/rtmd/rtmd.toml, see rtmd.toml(5)"
    );
    for (instance, uid, standing) in
        [(1, 0, Standing::Ordinary), (2, USER, Standing::Service), (3, USER, Standing::Authorized)]
    {
        let credentials = Credentials { standing, ..Credentials::default() };
        let key = (Protocol::BGP, instance);
        let id = ask_as(&mut test, uid, credentials, key, Tenure::Connection, None).unwrap();
        assert_eq!(test.rib.entity(id).unwrap().right, Right::Everything);
    }
}

#[test]
fn all_that_a_grant_names_has_to_be_the_callers() {
    let whom = Whom { user: Some(7), group: Some(70), unit: Some("bird.service".to_owned()) };
    let unit = |name: &str| Some(Unit { name: name.to_owned(), is_sure: false });
    let of = |groups: &[u32], unit| Credentials {
        groups: groups.to_vec(),
        unit,
        standing: Standing::Ordinary,
    };
    let all = of(&[1, 70], unit("bird.service"));
    assert_eq!(whom.matches(7, &all), Ok(()));
    assert_eq!(whom.matches(8, &all), Err(Mismatch::User(7)));
    let no_group = of(&[1], unit("bird.service"));
    assert_eq!(whom.matches(7, &no_group), Err(Mismatch::Group(70)));
    for other in [None, unit("frr.service")] {
        assert_eq!(whom.matches(7, &of(&[70], other)), Err(Mismatch::Unit("bird.service")));
    }
}

#[test]
fn a_unit_alone_counts_only_where_it_is_known_for_sure() {
    let whom = Whom { unit: Some("bird.service".to_owned()), ..Whom::default() };
    let mut test = with(vec![Grant::new("bird", Ok(whom))]);
    let in_unit = |is_sure| Credentials {
        unit: Some(Unit { name: "bird.service".to_owned(), is_sure }),
        ..Credentials::default()
    };
    let key = (Protocol::BGP, 0);
    let refused = ask_as(&mut test, USER, in_unit(false), key, Tenure::Connection, None);
    let text = denied(refused);
    assert!(text.ends_with("name a user or a group in it too)"), "{text}");
    ask_as(&mut test, USER, in_unit(true), key, Tenure::Connection, None).unwrap();
}

#[test]
fn the_first_grant_that_is_for_the_caller_decides_and_one_for_nobody_is_nobodys() {
    let narrow = Grant { protocols: vec![Protocol::OSPF], ..Grant::new("narrow", Ok(user(USER))) };
    let inert = Grant::new("inert", Err("there is no user \"brid\"".to_owned()));
    let mut test = with(vec![inert, narrow, Grant::new("wide", Ok(user(USER)))]);
    assert_eq!(
        denied(ask(&mut test, (Protocol::BGP, 0), Tenure::Connection, None)),
        "grant \"narrow\" allows protocols ospf: not bgp"
    );
    let id = ask(&mut test, (Protocol::OSPF, 0), Tenure::Connection, None).unwrap();
    assert_eq!(test.rib.entity(id).unwrap().right, Right::Granted(1));
}

#[test]
fn protocols_instances_and_families_bound_who_registers() {
    let check = |change: fn(&mut Grant)| {
        let mut test = bounded(change);
        denied(ask(&mut test, (Protocol::RIP, 0), Tenure::Connection, None))
    };
    assert_eq!(
        check(|grant| grant.protocols = vec![Protocol::BGP, Protocol::OSPF]),
        "grant \"bird\" allows protocols bgp, ospf: not rip"
    );
    assert_eq!(
        check(|grant| grant.instances = vec![InstanceId(7)]),
        "grant \"bird\" allows instances 7: not 0"
    );
    assert_eq!(
        check(|grant| grant.families = vec![Family::Ipv6]),
        "grant \"bird\" allows families ipv6: not ipv4"
    );
}

#[test]
fn lingering_sharing_and_the_number_of_registrations_are_bounded() {
    let mut test = bounded(|grant| {
        (grant.linger, grant.shared, grant.registrations) = (Some(1000), false, Some(2));
    });
    let mut register =
        |instance, tenure, linger| ask(&mut test, (Protocol::BGP, instance), tenure, linger);
    let text = denied(register(0, Tenure::Connection, Some(1001)));
    assert!(
        text.starts_with("grant \"bird\" allows linger of 1000 milliseconds at most"),
        "{text}"
    );
    let text = denied(register(0, Tenure::User, None));
    assert_eq!(text, "grant \"bird\" allows no shared registrations");
    register(0, Tenure::Connection, Some(1000)).unwrap();
    register(1, Tenure::Connection, None).unwrap();
    assert_eq!(
        denied(register(2, Tenure::Connection, None)),
        "grant \"bird\" allows registrations 2: not another one of user 1000"
    );
}

#[test]
fn prefixes_are_exact_or_with_all_that_are_in_them() {
    let read = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let some = Prefixes::new(
        read(&["192.0.2.0/24", "10.9.0.0/16"]),
        read(&["10.8.0.0/16", "10.0.0.0/12", "10.8.1.0/24", "2001:db8::/32"]),
    );
    for (text, is_in) in [
        ("192.0.2.0/24", true),
        ("192.0.2.0/25", false),
        ("10.9.0.0/16", true),
        ("10.0.0.0/8", false),
        ("10.0.0.0/12", true),
        ("10.8.1.128/25", true),
        ("10.15.255.255/32", true),
        ("10.16.0.0/16", false),
        ("9.255.255.255/32", false),
        ("2001:db8:ffff::/48", true),
        ("2001:db9::/32", false),
        ("::/0", false),
        ("0.0.0.0/0", false),
    ] {
        assert_eq!(some.contain(text.parse().unwrap()), is_in, "{text}");
    }
    assert!(Prefixes::default().contain("0.0.0.0/0".parse().unwrap()), "none named is all");
    assert!(!Prefixes::new(read(&["::/0"]), vec![]).contain("0.0.0.0/0".parse().unwrap()));
}

#[test]
fn a_route_is_held_against_prefixes_preferences_and_views() {
    let mut test = bounded(|grant| {
        grant.prefixes = Prefixes::new(vec![], vec!["10.0.0.0/8".parse().unwrap()]);
        grant.preferences = Some(Preference(15)..=Preference(100));
        grant.views = Some(View::UNICAST.only());
    });
    bgp(&mut test);
    let (id, _) = test.add("bird: 10.1.0.0/16 via 192.0.2.1").unwrap();
    assert_eq!(
        denied(test.add("bird: 0.0.0.0/0 via 192.0.2.1")),
        "grant \"bird\" allows prefixes in 10.0.0.0/8: not 0.0.0.0/0"
    );
    assert_eq!(
        denied(test.add("bird: 10.2.0.0/16 via 192.0.2.1 pref 101")),
        "grant \"bird\" allows preferences 15 to 100: not 101"
    );
    assert_eq!(
        denied(test.add("bird: 10.2.0.0/16 via 192.0.2.1 views 3")),
        "grant \"bird\" allows views 0x1: not 0x3"
    );
    let change = |preference, views| crate::rib::Amendment {
        preference,
        views,
        ..crate::rib::Amendment::default()
    };
    let owner = test.entity("bird");
    for change in [change(Some(Preference(101)), None), change(None, Some(ViewSet(2)))] {
        let now = test.now();
        denied(test.rib.update_route(owner, id, &change, now));
    }
    let now = test.now();
    test.rib.update_route(owner, id, &change(Some(Preference(100)), None), now).unwrap();
}

#[test]
fn the_level_of_the_protocol_is_a_preference_like_any_other() {
    let mut test = bounded(|grant| grant.preferences = Some(Preference(100)..=Preference(200)));
    bgp(&mut test);
    assert_eq!(
        denied(test.add("bird: 10.0.0.0/8 via 192.0.2.1")),
        "grant \"bird\" allows preferences 100 to 200: not 15"
    );
    test.add("bird: 10.0.0.0/8 via 192.0.2.1 pref 100").unwrap();
}

#[test]
fn routes_and_next_hops_of_an_entity_are_bounded_and_updates_take_no_room() {
    let mut test = bounded(|grant| (grant.routes, grant.next_hops) = (Some(2), Some(1)));
    let owner = bgp(&mut test);
    test.add("bird: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let (id, _) = test.add("bird: 11.0.0.0/8 via 192.0.2.1").unwrap();
    let text = denied(test.add("bird: 12.0.0.0/8 via 192.0.2.1"));
    assert!(text.starts_with("grant \"bird\" allows routes 2: not another one"), "{text}");
    test.add("bird: 10.0.0.0/8 via 192.0.2.1 metric 3").unwrap();
    let key = NextHopKey {
        address: Some("192.0.2.9".parse().unwrap()),
        interface: crate::model::InterfaceIndex(0),
    };
    let offer = NextHopOffer {
        key,
        flags: NextHopFlags(0),
        weight: Weight::ONE,
        remote: None,
        private: &[],
    };
    let text = denied(test.rib.add_next_hop(owner, offer));
    assert!(text.starts_with("grant \"bird\" allows next-hops 1: not 1 more"), "{text}");
    denied(test.add("bird: 10.0.0.0/8 via 192.0.2.9"));
    test.delete("bird", id).unwrap();
    test.add("bird: 12.0.0.0/8 via 192.0.2.1").unwrap();
}

#[test]
fn nobody_holds_a_destination_that_its_grant_does_not_let_it_have() {
    let mut test = bounded(|grant| {
        grant.prefixes = Prefixes::new(vec!["10.0.0.0/8".parse().unwrap()], vec![]);
    });
    test.register("rip", Family::Ipv4).unwrap();
    bgp(&mut test);
    for to in ["10.0.0.0/8", "11.0.0.0/8"] {
        test.add(&format!("rip: {to} via 192.0.2.1")).unwrap();
    }
    test.hold("bird", "10.0.0.0/8", 1, 30).unwrap();
    denied(test.hold("bird", "11.0.0.0/8", 1, 30));
}

#[test]
fn who_loses_its_grant_keeps_its_routes_and_can_only_take_them_back() {
    let mut test = bounded(|_| {});
    let owner = bgp(&mut test);
    let (id, _) = test.add("bird: 10.0.0.0/8 via 192.0.2.1").unwrap();
    let narrowed = Grant { protocols: vec![Protocol::RIP], ..Grant::new("bird", Ok(user(USER))) };
    for (grants, why) in [
        (vec![], "no grant lets user 1000 register bgp/0"),
        (vec![narrowed], "grant \"bird\" allows protocols rip: not bgp"),
    ] {
        let policy = Policy { grants: Grants(grants), ..test.rib.policy().clone() };
        test.rib.reconfigure(policy).unwrap();
        let text = denied(test.add("bird: 11.0.0.0/8 via 192.0.2.1"));
        let begin = format!("entity {owner} can only take back what it has");
        assert!(text.starts_with(&begin) && text.contains(why), "{text}");
        denied(test.add("bird: 10.0.0.0/8 via 192.0.2.1 metric 3"));
        denied(test.hold("bird", "10.0.0.0/8", 1, 30));
        assert_eq!(test.rib.entity(owner).unwrap().routes(), 1);
    }
    let policy = Policy {
        grants: Grants(vec![Grant::new("again", Ok(user(USER)))]),
        ..test.rib.policy().clone()
    };
    test.rib.reconfigure(policy).unwrap();
    test.add("bird: 11.0.0.0/8 via 192.0.2.1").unwrap();
    test.rib
        .reconfigure(Policy { grants: Grants::default(), ..test.rib.policy().clone() })
        .unwrap();
    test.delete("bird", id).unwrap();
    test.rib.deregister(owner).unwrap();
}

#[test]
fn another_user_resumes_what_lingers_only_where_its_grant_names_the_protocol() {
    const OTHER: u32 = 2000;
    let named = Grant { protocols: vec![Protocol::BGP], ..Grant::new("bgp", Ok(user(OTHER))) };
    for (grant, may) in [(Grant::new("all", Ok(user(OTHER))), false), (named, true)] {
        let mut test = with(vec![Grant::new("bird", Ok(user(USER))), grant]);
        let key = (Protocol::BGP, 0);
        let id = ask(&mut test, key, Tenure::Connection, Some(5000)).unwrap();
        test.add("bird: 10.0.0.0/8 via 192.0.2.1").unwrap();
        test.rib.handle_client_gone(":bird", Now::at(1));
        let again = ask_as(&mut test, OTHER, Credentials::default(), key, Tenure::Connection, None);
        if !may {
            assert_eq!(again.unwrap_err().kind, ErrorKind::AlreadyExists);
            continue;
        }
        assert_eq!(again.unwrap(), id);
        let mut policy = test.rib.policy().clone();
        policy.limits.routes_per_user = 1;
        test.rib.reconfigure(policy).unwrap();
        let refusal = test.add("bird: 11.0.0.0/8 via 192.0.2.1").unwrap_err();
        let text = refusal.message;
        assert!(text.contains("count for user 2000"), "its routes are the new user's: {text}");
    }
}

#[test]
fn deeds_take_a_grant_that_says_so_and_static_routes_are_bounded_like_others() {
    let statics = Grant {
        statics: true,
        prefixes: Prefixes::new(vec![], vec!["10.0.0.0/8".parse().unwrap()]),
        ..Grant::new("statics", Ok(user(7)))
    };
    let admin = Grant { administer: true, ..Grant::new("admin", Ok(user(8))) };
    let test = with(vec![statics, admin]);
    let none = Credentials::default();
    let grants = &test.rib.policy().grants;
    let may = |uid, deed| grants.check_deed(uid, &none, deed);
    assert_eq!(may(7, Deed::ManageStatic), Ok(()));
    assert_eq!(may(8, Deed::Administer), Ok(()));
    assert_eq!(
        denied(may(7, Deed::Administer)),
        "grant \"statics\" does not let anyone administer the service: it would take administer = \
         true in it"
    );
    denied(may(8, Deed::ManageStatic));
    denied(may(9, Deed::ManageStatic));
    assert_eq!(may(0, Deed::Administer), Ok(()));
    let place = |to: &str, instance| StaticPlace {
        table: TableId { instance: InstanceId(instance), family: Family::Ipv4 },
        to: to.parse().unwrap(),
        preference: None,
        views: ViewSet::NONE,
    };
    test.rib.check_static(7, &none, &place("10.1.0.0/16", 0)).unwrap();
    denied(test.rib.check_static(7, &none, &place("0.0.0.0/0", 0)));
    test.rib.check_static(0, &none, &place("0.0.0.0/0", 0)).unwrap();
}

#[test]
fn a_ruling_names_the_grant_and_why_those_before_it_were_passed_over() {
    let narrow = Grant {
        prefixes: Prefixes::new(vec!["10.0.0.0/8".parse().unwrap()], vec![]),
        ..Grant::new("narrow", Ok(user(USER)))
    };
    let inert = Grant::new("inert", Err("there is no user \"brid\"".to_owned()));
    let test = with(vec![inert, Grant::new("other", Ok(user(7))), narrow]);
    let case = |to: Option<&str>| Case {
        key: EntityKey {
            table: table(Family::Ipv4),
            protocol: Protocol::BGP,
            protocol_instance: 0,
        },
        tenure: Tenure::Connection,
        linger: None,
        to: to.map(|to| to.parse().unwrap()),
        preference: Preference(0),
        views: View::UNICAST.only(),
    };
    let rule = |uid, to| test.rib.rule(uid, &Credentials::default(), &case(to));
    let ruling = rule(USER, Some("10.0.0.0/8"));
    assert_eq!((ruling.grant.as_deref(), ruling.refusal), (Some("narrow"), None));
    let passed_over = ruling.passed_over.iter().map(|(name, why)| format!("{name}: {why}"));
    assert_eq!(
        passed_over.collect::<Vec<_>>(),
        ["inert: it is for nobody: there is no user \"brid\"", "other: it is for user 7"]
    );
    let refusal = rule(USER, Some("11.0.0.0/8")).refusal.unwrap();
    assert_eq!(refusal, "grant \"narrow\" allows prefixes 10.0.0.0/8: not 11.0.0.0/8");
    let nobody = rule(1, None);
    assert_eq!((nobody.grant, nobody.passed_over.len()), (None, 3));
    assert!(nobody.refusal.unwrap().starts_with("no grant lets user 1 register bgp/0"));
    assert_eq!(rule(0, Some("::/0")).refusal, None, "root is bound by none");
}
