//! Administration (6.17).

use rtmd::{client::DestinationEnumerationProxy, model::Family};

use crate::support::Client;
use crate::{MCAST, RIP, STATIC, UCAST, error, find, offer, routes, serve};

/// ADM-01
#[tokio::test]
async fn what_is_exactly_within_or_around_a_prefix_is_asked_for_by_view_and_protocol() {
    const RANGE: u32 = 2;
    const OWNER: u32 = 1;
    let (bus, _service) = serve();
    let a = Client::register(&bus, Family::Ipv4, STATIC).await;
    let b = Client::register(&bus, Family::Ipv4, RIP).await;
    offer(&a, "10.0.0.0/8", []).await;
    offer(&a, "10.1.0.0/16", []).await;
    let (of_b, _) = offer(&b, "10.1.0.0/16", []).await;
    offer(&b, "10.1.2.0/24", []).await;
    offer(&b, "10.1.3.0/24", [("views", MCAST.into())]).await;

    let matching = find(&a, "10.1.0.0/16", UCAST).await;
    assert_eq!(matching.per_view[0].owner, a.id);
    let of_rip = a.table.get_exact_match_destination("10.1.0.0/16", RIP, UCAST).await.unwrap();
    assert_eq!(of_rip.per_view[0].best, of_b);

    let longer = async |views, protocol| {
        let path = a.table.create_destination_enumeration(views, RANGE, "10.1.0.0/16", protocol);
        let cursor = DestinationEnumerationProxy::builder(&a.connection).path(path.await.unwrap());
        let (page, done) = cursor.build().await.unwrap().next(9).await.unwrap();
        assert!(done);
        page.into_iter().map(|d| (d.prefix, d.per_view[0].owner)).collect::<Vec<_>>()
    };
    let row = |to: &str, owner| (to.to_owned(), owner);
    let (one, two) = (row("10.1.0.0/16", a.id), row("10.1.2.0/24", b.id));
    assert_eq!(longer(UCAST, 0).await, [one, two.clone()]);
    assert_eq!(longer(UCAST, RIP).await, [row("10.1.0.0/16", b.id), two]);
    assert_eq!(longer(MCAST, 0).await, [row("10.1.3.0/24", b.id)]);
    let of_b = [("owner", b.id.into())];
    let found = routes(&a, (UCAST, RANGE, "10.1.0.0/16"), OWNER, of_b).await;
    let found: Vec<&str> = found.iter().map(|route| route.destination.as_str()).collect();
    assert_eq!(found, ["10.1.0.0/16", "10.1.2.0/24"]);

    let shorter = async |of, protocol, views| {
        let found = a.table.get_less_specific_destination(of, protocol, views).await?;
        Ok((found.prefix, found.per_view[0].owner))
    };
    assert_eq!(shorter("10.1.2.0/24", 0, UCAST).await.unwrap(), row("10.1.0.0/16", a.id));
    assert_eq!(shorter("10.1.2.0/24", RIP, UCAST).await.unwrap(), row("10.1.0.0/16", b.id));
    assert_eq!(shorter("10.1.0.0/16", RIP, UCAST).await.unwrap(), row("10.0.0.0/8", 0));
    assert_eq!(error(shorter("10.1.3.0/24", 0, MCAST).await), "NotFound");
}
