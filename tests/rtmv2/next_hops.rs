//! Next hops (6.10).

use rtmd::model::Family;
use zbus::Variant;

use crate::support::{Client, details, refusal, route};
use crate::{
    ANY_CHANGE, BEST_CHANGE, BGP, FORWARDING_CHANGE, GATEWAY, OSPF, RIP, STATIC, UCAST, best,
    error, hop, offer, serve, told, watch,
};

const TO: &str = "10.0.0.0/8";
const LOOPBACK: u32 = 1;

/// NH-01, NH-02, NH-03
#[tokio::test]
async fn a_next_hop_is_told_apart_by_address_and_interface() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let add = async |address, interface, keys: [(&'static str, Variant<'static>); 2]| {
        client.entity.add_next_hop(address, interface, &details(keys)).await.unwrap()
    };
    let keys = |flags: u32, weight: u32| [("flags", flags.into()), ("weight", weight.into())];
    let (id, change) = add(GATEWAY, 0, keys(0, 1)).await;
    assert_eq!(change, 1, "new");
    assert_eq!(add(GATEWAY, 0, keys(2, 7)).await, (id, 0), "updated");
    let found = client.table.get_next_hop_info(id).await.unwrap();
    assert_eq!((found.flags, u32::try_from(&found.more["weight"]).unwrap()), (2, 7));
    let (elsewhere, change) = add(GATEWAY, LOOPBACK, keys(0, 1)).await;
    assert_eq!((change, elsewhere != id), (1, true), "another interface");
    let (other, change) = add("127.0.0.3", 0, keys(0, 1)).await;
    assert_eq!((change, other != id), (1, true), "another address");
    assert_eq!(client.table.get_next_hop_info(id).await.unwrap(), found);
    assert_eq!(client.entity.next_hops().await.unwrap(), 3);
}

/// NH-04, NH-08
#[tokio::test]
async fn next_hops_are_private_even_under_the_same_key() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let of_a = hop(&a, GATEWAY).await;
    assert_eq!(error(b.entity.find_next_hop(GATEWAY, 0).await), "NotFound", "it is another's");
    let of_b = hop(&b, GATEWAY).await;
    assert_ne!(of_a, of_b);
    assert_eq!(a.entity.find_next_hop(GATEWAY, 0).await.unwrap().id, of_a);
    assert_eq!(b.entity.find_next_hop(GATEWAY, 0).await.unwrap().id, of_b);
    assert_eq!(error(a.entity.find_next_hop(GATEWAY, LOOPBACK).await), "NotFound");
    assert_eq!(error(a.entity.find_next_hop("127.0.0.3", 0).await), "NotFound");
    a.entity.delete_next_hop(of_a).await.unwrap();
    assert_eq!(b.entity.find_next_hop(GATEWAY, 0).await.unwrap().id, of_b);
}

/// NH-06
#[tokio::test]
async fn the_owner_and_the_state_cannot_be_given() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    for key in ["owner", "state"] {
        let options = details([(key, Variant::from(1u64))]);
        let refused = client.entity.add_next_hop(GATEWAY, 0, &options).await;
        let (name, text) = refusal(refused);
        assert_eq!(name, "InvalidParameter");
        assert_eq!(text, format!("there is no next-hop option \"{key}\""));
    }
    assert_eq!(client.entity.next_hops().await.unwrap(), 0);
}

/// NH-09, NH-15, NH-19
#[tokio::test]
async fn anyone_reads_a_live_next_hop_by_its_id() {
    const DOWN: u32 = 2;
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let flags = details([("flags", DOWN.into())]);
    let (id, _) = client.entity.add_next_hop(GATEWAY, LOOPBACK, &flags).await.unwrap();
    let reader = bus.connect().await;
    let manager = rtmd::client::manager(&reader).await.unwrap();
    let table = rtmd::client::table(&manager, 0, Family::Ipv4).await.unwrap();
    let found = table.get_next_hop_info(id).await.unwrap();
    assert_eq!((found.id, found.owner), (id, client.id));
    assert_eq!((found.address.as_str(), found.interface), (GATEWAY, LOOPBACK));
    assert_eq!((found.state, found.flags), (0, DOWN));
    for bad in [0, id + 1, u64::MAX] {
        assert_eq!(error(table.get_next_hop_info(bad).await), "InvalidHandle", "{bad}");
    }
    let other_family = rtmd::client::table(&manager, 0, Family::Ipv6).await.unwrap();
    assert_eq!(error(other_family.get_next_hop_info(id).await), "InvalidHandle");
}

/// NH-10, NH-11
#[tokio::test]
async fn next_hops_are_deleted_by_id_or_by_key_and_by_their_owner_only() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, OSPF).await;
    let id = hop(&a, GATEWAY).await;
    assert_eq!(error(b.entity.delete_next_hop(id).await), "AccessDenied");
    assert_eq!(error(b.entity.delete_next_hop_by_address(GATEWAY, 0).await), "NotFound");
    assert_eq!(a.entity.find_next_hop(GATEWAY, 0).await.unwrap().id, id);
    a.entity.delete_next_hop(id).await.unwrap();
    assert_eq!(error(a.entity.find_next_hop(GATEWAY, 0).await), "NotFound");
    assert_eq!(a.entity.next_hops().await.unwrap(), 0);
    assert_eq!(error(a.entity.delete_next_hop(id).await), "NotFound", "it is deleted already");
    assert_eq!(error(a.entity.delete_next_hop(4242).await), "InvalidHandle");

    let id = hop(&a, GATEWAY).await;
    assert_eq!(error(a.entity.delete_next_hop_by_address(GATEWAY, LOOPBACK).await), "NotFound");
    a.entity.delete_next_hop_by_address(GATEWAY, 0).await.unwrap();
    assert_eq!(error(a.table.get_next_hop_info(id).await), "InvalidHandle");
    assert_eq!(error(a.entity.delete_next_hop_by_address(GATEWAY, 0).await), "NotFound");
}

/// NH-12
#[tokio::test]
async fn a_deleted_next_hop_stays_with_the_routes_that_have_it_and_leaves_its_key() {
    const DELETED: u32 = 1;
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let id = hop(&client, GATEWAY).await;
    let (held_by, _) = offer(&client, TO, []).await;
    client.entity.delete_next_hop(id).await.unwrap();
    assert_eq!(client.table.get_route_info(held_by).await.unwrap().next_hops, [id]);
    assert_eq!(client.table.get_next_hop_info(id).await.unwrap().state, DELETED);
    assert_eq!(error(client.entity.find_next_hop(GATEWAY, 0).await), "NotFound");
    let (again, change) = client.entity.add_next_hop(GATEWAY, 0, &details([])).await.unwrap();
    assert_eq!((again != id, change), (true, 1));
    assert_eq!(client.table.get_next_hop_info(id).await.unwrap().state, DELETED);
    offer(&client, TO, []).await;
    assert_eq!(client.table.get_route_info(held_by).await.unwrap().next_hops, [again]);
    let freed = client.table.get_next_hop_info(id).await;
    assert_eq!(error(freed), "InvalidHandle", "nobody has it any more");
}

/// NH-15
#[tokio::test]
async fn the_down_flag_does_not_count_in_the_choice() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    let (preferred, _) = offer(&a, TO, []).await;
    offer(&b, TO, []).await;
    let down = details([("flags", 2u32.into())]);
    let (id, change) = a.entity.add_next_hop(GATEWAY, 0, &down).await.unwrap();
    assert_eq!((a.table.get_route_info(preferred).await.unwrap().next_hops, change), (vec![id], 0));
    assert_eq!(best(&a, TO, UCAST).await, preferred);
}

/// NH-09, NH-13
#[tokio::test]
async fn a_remote_next_hop_keeps_its_destination_and_any_other_has_none() {
    const REMOTE: u32 = 1;
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, OSPF).await;
    let reader = Client::register(&bus, Family::Ipv4, STATIC).await;
    let add = async |flags: u32, remote: &'static str| {
        let options = details([("flags", flags.into()), ("remote-destination", remote.into())]);
        client.entity.add_next_hop("198.18.0.1", 0, &options).await.map(|(id, _)| id)
    };
    let shown = async |id| {
        let found = reader.table.get_next_hop_info(id).await.unwrap();
        let remote = found.more.get("remote-destination").cloned();
        (found.flags, remote.map(|remote| String::try_from(remote).unwrap()))
    };
    let id = add(REMOTE, "198.18.0.0/16").await.unwrap();
    assert_eq!(shown(id).await, (REMOTE, Some("198.18.0.0/16".to_owned())));
    assert_eq!(add(REMOTE, "198.18.0.0/24").await.unwrap(), id);
    assert_eq!(shown(id).await, (REMOTE, Some("198.18.0.0/24".to_owned())));
    assert_eq!(add(0, "198.18.0.0/24").await.unwrap(), id);
    assert_eq!(shown(id).await, (0, None), "it is not a remote one");
    assert_eq!(error(add(REMOTE, "2001:db8::/32").await), "InvalidParameter");
}

/// NH-14
#[tokio::test]
async fn the_most_specific_route_to_a_remote_next_hop_has_the_local_one() {
    let (bus, _service) = serve();
    let bgp = Client::register(&bus, Family::Ipv4, BGP).await;
    let ospf = Client::register(&bus, Family::Ipv4, OSPF).await;
    ospf.add("198.18.0.0/15", "127.0.0.3").await.unwrap();
    let (nearer, _) = ospf.add("198.18.0.0/24", GATEWAY).await.unwrap();
    let options = [("flags", 1u32.into()), ("remote-destination", "198.18.0.1/32".into())];
    let added = bgp.entity.add_next_hop("198.18.0.1", 0, &details(options)).await;
    let with_it = details([("next-hops", vec![added.unwrap().0].into())]);
    let (id, _) = bgp.entity.add_route(TO, &with_it, 0).await.unwrap();

    let table = &bgp.table;
    let far = table.get_route_info(id).await.unwrap().next_hops[0];
    let remote = table.get_next_hop_info(far).await.unwrap().more["remote-destination"].clone();
    let remote = String::try_from(remote).unwrap();
    let towards = table.get_most_specific_destination(&remote, 0, UCAST).await.unwrap();
    let towards = towards.per_view[0].best;
    assert_eq!(towards, nearer);
    let near = table.get_route_info(towards).await.unwrap().next_hops[0];
    let near = table.get_next_hop_info(near).await.unwrap();
    let via: Vec<(String, u32)> = near.more["resolved-via"].clone().try_into().unwrap();
    assert_eq!((near.flags, via), (0, vec![(GATEWAY.to_owned(), LOOPBACK)]));
}

/// FWD-04
#[tokio::test]
async fn a_remote_next_hop_is_led_to_by_the_routes_and_tells_which() {
    let (bus, _service) = serve();
    let bgp = Client::register(&bus, Family::Ipv4, BGP).await;
    let ospf = Client::register(&bus, Family::Ipv4, OSPF).await;
    let remote = details([("flags", 1u32.into())]);
    let (far, _) = bgp.entity.add_next_hop("198.18.0.1", 0, &remote).await.unwrap();
    let with_it = details([("next-hops", vec![far].into())]);
    bgp.entity.add_route(TO, &with_it, 0).await.unwrap();
    let told = async || {
        let mut more = bgp.table.get_next_hop_info(far).await.unwrap().more;
        let viable: bool = more["viable"].clone().try_into().unwrap();
        let via: Vec<(String, u32)> = more["resolved-via"].clone().try_into().unwrap();
        let mut list = |key: &str| {
            let list: Option<Vec<String>> = more.remove(key).map(|list| list.try_into().unwrap());
            list.unwrap_or_default()
        };
        (viable, via, list("resolved-interfaces"), list("resolved-through"))
    };
    assert_eq!(told().await, (false, vec![], vec![], vec![]));
    let steps = [
        ("198.18.0.0/15", "10.99.0.1", vec![]),
        ("10.99.0.0/16", GATEWAY, vec!["198.18.0.0/15", "10.99.0.0/16"]),
        ("198.18.0.0/24", GATEWAY, vec!["198.18.0.0/24"]),
    ];
    for (to, by, through) in steps {
        ospf.add(to, by).await.unwrap();
        let viable = !through.is_empty();
        let via = viable.then(|| (GATEWAY.to_owned(), LOOPBACK));
        let name = viable.then(|| "lo".to_owned());
        let expected = (viable, Vec::from_iter(via), Vec::from_iter(name), through.clone());
        let (viable, via, names, told) = told().await;
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        assert_eq!((viable, via, names, told), expected, "{to}");
    }
    let explained = bgp.table.explain(TO).await.unwrap();
    let next_hops: Vec<rtmd::bus::wire::Details> =
        explained.1[0]["next-hops"].clone().try_into().unwrap();
    let way: String = next_hops[0]["way"].clone().try_into().unwrap();
    assert_eq!(
        way,
        "198.18.0.1 is reached through 198.18.0.0/24 (route 4 of ospf/0), which leads to \
         127.0.0.2 on lo"
    );
}

/// NH-16
#[tokio::test]
async fn a_change_of_a_next_hop_is_told_of_the_destinations_whose_best_route_has_it() {
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    hop(&b, GATEWAY).await;
    offer(&b, TO, []).await;
    offer(&b, "11.0.0.0/8", []).await;
    offer(&a, "11.0.0.0/8", []).await;
    offer(&a, "12.0.0.0/8", []).await;
    let watches = [
        watch(&a, UCAST, ANY_CHANGE).await,
        watch(&a, UCAST, BEST_CHANGE).await,
        watch(&a, UCAST, FORWARDING_CHANGE).await,
    ];
    let expect = async |flags: u32, remote: &'static str, private: u8, told_of: &[&str]| {
        let options = details([
            ("flags", flags.into()),
            ("remote-destination", remote.into()),
            ("private", vec![private].into()),
        ]);
        b.entity.add_next_hop(GATEWAY, 0, &options).await.unwrap();
        for best in &watches[1..] {
            assert_eq!(told(best).await, told_of, "{flags} {remote} {private}");
        }
        assert!(told(&watches[0]).await.iter().all(|to| to != "12.0.0.0/8"));
    };
    expect(1, "198.18.0.0/24", 0, &[TO]).await;
    expect(1, "198.18.1.0/24", 0, &[TO]).await;
    expect(1, "198.18.1.0/24", 1, &[]).await;
    expect(1, "198.18.1.0/24", 1, &[]).await;
    expect(3, "198.18.1.0/24", 1, &[TO]).await;
}

/// NH-17
#[tokio::test]
async fn one_next_hop_serves_many_routes() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let id = hop(&client, GATEWAY).await;
    let prefixes: Vec<String> = (0..200).map(|n| format!("10.{n}.0.0/16")).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let (by_id, inline) = prefixes.split_at(100);
    let shared = details([("next-hops", vec![id].into())]);
    let (mut ids, _) = client.entity.add_prefixes(by_id, &shared, 0).await.unwrap();
    let named = route(GATEWAY, []);
    ids.extend(client.entity.add_prefixes(inline, &named, 0).await.unwrap().0);
    assert_eq!(ids.len(), 200);
    for route in ids {
        assert_eq!(client.table.get_route_info(route).await.unwrap().next_hops, [id]);
    }
    assert_eq!(client.entity.next_hops().await.unwrap(), 1);
}

/// NH-18
#[tokio::test]
async fn private_data_comes_back_to_the_owner_alone() {
    let (bus, _service) = serve();
    let owner = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let secret = details([("private", vec![1u8, 2, 3].into())]);
    let (id, _) = owner.entity.add_next_hop(GATEWAY, 0, &secret).await.unwrap();
    let private = |found: &rtmd::bus::wire::NextHopInfo| {
        let private = found.more.get("private").cloned();
        private.map(|private| Vec::<u8>::try_from(private).unwrap())
    };
    let found = owner.entity.find_next_hop(GATEWAY, 0).await.unwrap();
    assert_eq!(private(&found), Some(vec![1, 2, 3]));
    let read = owner.table.get_next_hop_info(id).await.unwrap();
    assert_eq!(private(&read), Some(vec![1, 2, 3]));
    let read = other.table.get_next_hop_info(id).await.unwrap();
    assert_eq!((read.id, private(&read)), (id, None));
}
