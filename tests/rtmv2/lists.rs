//! Route lists (6.14).

use rtmd::{
    client::{EntityProxy, RouteListProxy},
    model::Family,
};
use zbus::{OwnedObjectPath, wire::ObjectPath};

use crate::support::{Client, NO_FIB, details, refusal, route};
use crate::{
    GATEWAY, OSPF, STATIC, error, is_unknown_object, offer, refused, register_as, serve, serve_with,
};

type List = RouteListProxy<'static>;

async fn list(of: &Client) -> List {
    let path = of.entity.create_route_list().await.unwrap();
    RouteListProxy::builder(&of.connection).path(path).build().await.unwrap()
}

fn path(of: &List) -> OwnedObjectPath {
    of.inner().path().to_owned().into()
}

/// The ids of all routes of a list, from the beginning.
async fn content(of: &List) -> Vec<u64> {
    of.rewind().await.unwrap();
    let (page, done) = of.next(100).await.unwrap();
    assert!(done, "there are few");
    page.iter().map(|route| route.id).collect()
}

/// Offers so many routes.
async fn offers(by: &Client, count: u8) -> Vec<u64> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(offer(by, &format!("10.{n}.0.0/16"), []).await.0);
    }
    ids
}

/// LIST-01
#[tokio::test]
async fn an_entity_makes_several_lists_which_are_empty() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    offers(&client, 2).await;
    let lists = [list(&client).await, list(&client).await];
    assert_ne!(path(&lists[0]), path(&lists[1]));
    for list in &lists {
        assert_eq!(list.next(10).await.unwrap(), (vec![], true));
    }
}

/// LIST-02
#[tokio::test]
async fn a_list_takes_own_routes_and_others_are_refused() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let (own, foreign) = (offers(&client, 2).await, offers(&other, 1).await);
    let list = list(&client).await;
    assert_eq!(error(list.insert(&[own[0], foreign[0]]).await), "AccessDenied");
    assert_eq!(content(&list).await, [0; 0], "all or none");
    assert_eq!(error(list.insert(&[4242]).await), "InvalidHandle");
    list.insert(&own).await.unwrap();
    assert_eq!(content(&list).await, own);
}

/// LIST-03, LIST-04
#[tokio::test]
async fn a_route_is_in_one_list_at_a_time_and_can_be_taken_out_of_any() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let ids = offers(&client, 3).await;
    let (one, two) = (list(&client).await, list(&client).await);
    one.insert(&ids).await.unwrap();
    two.insert(&ids[1..]).await.unwrap();
    assert_eq!((content(&one).await, content(&two).await), (ids[..1].into(), ids[1..].into()));
    client.entity.remove_from_route_lists(&ids[..2]).await.unwrap();
    assert_eq!((content(&one).await, content(&two).await), (vec![], vec![ids[2]]));
    let info = client.table.get_route_info(ids[1]).await.unwrap();
    assert!(!info.more.contains_key("list"));
    client.entity.remove_from_route_lists(&ids[..2]).await.expect("they are in none already");
}

/// LIST-05, LIST-06
#[tokio::test]
async fn a_list_is_paged_through_within_the_limit_and_its_end_is_told() {
    let (bus, _service) = serve_with(&format!("{NO_FIB}[limits]\nmax-handles = 3\n"));
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let ids = offers(&client, 7).await;
    let list = list(&client).await;
    list.insert(&ids).await.unwrap();
    for (expected, last) in [(&ids[..3], false), (&ids[3..6], false), (&ids[6..], true)] {
        let (page, done) = list.next(3).await.unwrap();
        assert_eq!(page.iter().map(|route| route.id).collect::<Vec<_>>(), expected);
        assert_eq!(done, last);
    }
    assert_eq!(list.next(3).await.unwrap(), (vec![], true));
    list.rewind().await.unwrap();
    assert_eq!(list.next(1).await.unwrap().0[0].id, ids[0]);
    for wrong in [0, 4, u32::MAX] {
        assert_eq!(error(list.next(wrong).await), "InvalidParameter", "{wrong}");
    }
}

/// LIST-07
#[tokio::test]
async fn each_page_can_be_moved_to_another_list_on_the_way() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let ids = offers(&client, 7).await;
    let (from, to) = (list(&client).await, list(&client).await);
    from.insert(&ids).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let (page, done) = from.next(2).await.unwrap();
        let page: Vec<u64> = page.iter().map(|route| route.id).collect();
        to.insert(&page).await.unwrap();
        seen.extend(page);
        if done {
            break;
        }
    }
    assert_eq!(seen, ids, "each once");
    assert_eq!((content(&from).await, content(&to).await), (vec![], ids));
}

/// LIST-08
#[tokio::test]
async fn deleting_a_list_leaves_its_routes_in_none() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let ids = offers(&client, 2).await;
    let (gone, kept) = (list(&client).await, list(&client).await);
    gone.insert(&ids).await.unwrap();
    gone.delete().await.unwrap();
    for id in &ids {
        let info = client.table.get_route_info(*id).await.unwrap();
        assert!(!info.more.contains_key("list"));
    }
    assert!(is_unknown_object(gone.next(10).await));
    let into_gone = details([("list", path(&gone).into_inner().into())]);
    assert_eq!(error(client.entity.update_route(ids[0], &into_gone).await), "InvalidHandle");
    kept.insert(&ids).await.unwrap();
    assert_eq!(content(&kept).await, ids);
}

/// LIST-09, RT-18
#[tokio::test]
async fn adding_and_updating_move_a_route_into_the_list_they_name() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let (one, two) = (list(&client).await, list(&client).await);
    let into = |list: &List| [("list", path(list).into_inner().into())];
    let contents = async || (content(&one).await, content(&two).await);
    let (id, _) = offer(&client, "10.0.0.0/8", into(&one)).await;
    assert_eq!(contents().await, (vec![id], vec![]), "added");
    offer(&client, "10.0.0.0/8", into(&two)).await;
    assert_eq!(contents().await, (vec![], vec![id]), "offered again");
    offer(&client, "10.0.0.0/8", []).await;
    assert_eq!(contents().await, (vec![], vec![id]), "no list named leaves it where it is");
    client.entity.update_route(id, &details(into(&one))).await.unwrap();
    assert_eq!(contents().await, (vec![id], vec![]), "updated");
    let shared = route(GATEWAY, into(&two));
    let (ids, _) =
        client.entity.add_prefixes(&["11.0.0.0/8", "12.0.0.0/8"], &shared, 0).await.unwrap();
    assert_eq!(contents().await, (vec![id], ids), "added in bulk");
}

/// LIST-10, RT-18
#[tokio::test]
async fn nobody_sees_or_uses_anothers_list() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let other = Client::register(&bus, Family::Ipv4, OSPF).await;
    let ids = offers(&client, 1).await;
    let own = list(&client).await;
    own.insert(&ids).await.unwrap();
    let foreign = RouteListProxy::builder(&other.connection).path(path(&own));
    let foreign = foreign.build().await.unwrap();
    assert_eq!(error(foreign.next(10).await), "InvalidHandle");
    assert_eq!(error(foreign.insert(&[]).await), "InvalidHandle");
    assert_eq!(error(foreign.rewind().await), "InvalidHandle");
    assert_eq!(error(foreign.delete().await), "InvalidHandle");
    let into_it = route(GATEWAY, [("list", path(&own).into_inner().into())]);
    assert_eq!(refused(&other, "10.0.0.0/8", into_it).await, "InvalidHandle");
    assert_eq!(other.entity.routes().await.unwrap(), 0, "a refused list refuses the route");
    let shown = other.table.get_route_info(ids[0]).await.unwrap();
    assert!(!shown.more.contains_key("list"));
    assert_eq!(content(&own).await, ids);
}

/// LIST-10
#[tokio::test]
async fn a_list_is_the_connections_that_made_it_though_the_entity_is_shared() {
    let (bus, _service) = serve();
    let client = register_as(&bus.connect().await, STATIC, 0, [("shared", true.into())]).await;
    let own = list(&client).await;
    let other = bus.connect().await;
    let same = EntityProxy::builder(&other).path(client.entity.inner().path().to_owned());
    let same = same.build().await.unwrap();
    let (id, _) = offer(&client, "11.0.0.0/8", []).await;
    let elsewhere = path(&own).replace(&format!("/entity/{}/", client.id), "/entity/999/");
    let long = format!("/{}", "x".repeat(1 << 20));
    for (by, list) in [(&same, path(&own).as_str()), (&client.entity, &elsewhere), (&same, &long)] {
        let list = || ObjectPath::try_from(list.to_owned()).unwrap().into();
        let into_it = route(GATEWAY, [("list", list())]);
        for (name, text) in [
            refusal(by.add_route("10.0.0.0/8", &into_it, 0).await),
            refusal(by.add_prefixes(&["10.0.0.0/8"], &into_it, 0).await),
            refusal(by.update_route(id, &details([("list", list())])).await),
        ] {
            assert_eq!(name, "InvalidHandle");
            assert!(text.ends_with("\" is no route list of yours"), "{text}");
            assert!(text.len() < 200, "{} bytes", text.len());
        }
    }
    assert_eq!(same.routes().await.unwrap(), 1, "a refused list refuses the route");
    same.add_route("10.0.0.0/8", &route(GATEWAY, []), 0).await.unwrap();
    assert_eq!(content(&own).await, [0; 0]);
}

/// DEL-08, LIST-11
#[tokio::test]
async fn a_deleted_route_leaves_its_list() {
    let (bus, _service) = serve();
    let client = Client::register(&bus, Family::Ipv4, STATIC).await;
    let ids = offers(&client, 3).await;
    let list = list(&client).await;
    list.insert(&ids).await.unwrap();
    client.entity.delete_route(ids[1]).await.unwrap();
    assert_eq!(content(&list).await, [ids[0], ids[2]]);
    let short = details([("ttl", 20u32.into())]);
    client.entity.update_route(ids[0], &short).await.unwrap();
    crate::support::eventually("an expired one leaves it too", async || {
        content(&list).await == [ids[2]]
    })
    .await;
}
