//! Methods (RTMv2 rows METH-01 to METH-10).

use crate::{
    model::{Caller, EntityId, EntityKey, ErrorKind, Family, MethodSet, Now, Protocol, TableId},
    rib::{Credentials, Invocation, Policy, Registration, Rib, Target, Tenure, Terms},
};

/// An entity that exports so many methods.
fn exporting(rib: &mut Rib, methods: u32, family: Family) -> EntityId {
    let key = EntityKey {
        table: TableId::new(0, family).unwrap(),
        protocol: Protocol(1),
        protocol_instance: methods,
    };
    let callback = Some("/callback".to_owned());
    let terms = Terms { callback, methods, ..Terms::default() };
    let (label, tenure) = (String::new(), Tenure::Connection);
    let credentials = Credentials::authorized();
    let registration = Registration { key, label, tenure, terms, credentials };
    let caller = Caller { bus_name: format!(":{methods}"), uid: 1000 };
    rib.register(registration, caller, Now::at(0)).unwrap().id
}

fn selected(exported: u32, mask: u32) -> Vec<(u32, bool)> {
    let exported = MethodSet::first(exported);
    let target = Target { bus_name: String::new(), user: 0, callback: None, exported };
    target.select(MethodSet(mask)).map(|(method, known)| (method.0, known)).collect()
}

#[test]
fn meth_02_an_entity_exports_a_bit_for_each_method_it_declared() {
    let mut rib = Rib::new(Policy::standard());
    for (count, mask) in [(0, 0), (3, 7), (32, u32::MAX)] {
        let id = exporting(&mut rib, count, Family::Ipv4);
        assert_eq!(rib.methods(id), Ok(MethodSet(mask)));
    }
}

#[test]
fn meth_05_all_means_those_exported() {
    assert_eq!(selected(2, u32::MAX), [(1, true), (2, true)]);
    assert_eq!(selected(0, u32::MAX), []);
}

#[test]
fn meth_06_each_selected_method_is_accounted_for_whether_exported_or_not() {
    assert_eq!(selected(2, 0x8000_0006), [(2, true), (4, false), (0x8000_0000, false)]);
}

#[test]
fn meth_07_a_leaving_entity_and_one_of_another_table_cannot_be_invoked() {
    let mut rib = Rib::new(Policy::standard());
    let caller = exporting(&mut rib, 0, Family::Ipv4);
    let (target, other) =
        (exporting(&mut rib, 1, Family::Ipv4), exporting(&mut rib, 1, Family::Ipv6));
    assert!(matches!(rib.invocation(caller, target), Ok(Invocation::Ready(_))));
    let refused = |rib: &Rib, target| rib.invocation(caller, target).map_err(|e| e.kind);
    assert_eq!(refused(&rib, other), Err(ErrorKind::InvalidHandle));
    rib.deregister(target).unwrap();
    assert_eq!(refused(&rib, target), Err(ErrorKind::InvalidHandle));
}

#[test]
fn meth_08_and_09_an_entity_blocks_its_own_methods_only_and_never_waits_for_itself() {
    let mut rib = Rib::new(Policy::standard());
    let (blocking, other) =
        (exporting(&mut rib, 1, Family::Ipv4), exporting(&mut rib, 2, Family::Ipv4));
    rib.block_methods(blocking, true).unwrap();
    assert_eq!(rib.invocation(other, blocking), Ok(Invocation::Blocked));
    assert!(matches!(rib.invocation(blocking, other), Ok(Invocation::Ready(_))));
    let own = rib.invocation(blocking, blocking).unwrap_err();
    assert_eq!(own.kind, ErrorKind::Busy);
    rib.block_methods(blocking, false).unwrap();
    assert!(matches!(rib.invocation(other, blocking), Ok(Invocation::Ready(_))));
}
