//! What one client or one user may make the service hold, asked of it over a bus: beyond that calls
//! are refused, nothing is kept, and others are served.

mod support;

use rtmd::{client, model::Family};
use support::{Client, NO_FIB, PrivateBus, Service, details, refusal};
use zbus::wire::ObjectPath;

const STATIC: u32 = 10006;
const MATCH_NEXT_HOPS: u32 = 8;

fn serve(limits: &str) -> (PrivateBus, Service) {
    let bus = PrivateBus::start();
    let service = bus.serve(&format!("{NO_FIB}[limits]\n{limits}"));
    (bus, service)
}

fn invalid(text: &str) -> (String, String) {
    ("InvalidParameter".to_owned(), text.to_owned())
}

#[tokio::test]
async fn criteria_name_no_more_next_hops_than_a_route_has_and_each_once() {
    let (bus, _service) = serve("max-next-hops = 2\n");
    let Client { entity, table, .. } = Client::register(&bus, Family::Ipv4, STATIC).await;
    for (ids, why) in [
        (vec![1u64, 2, 3], "3 next hops, a route has 2 at most"),
        (vec![1, 1], "next hop 1 is listed twice"),
    ] {
        let like = details([("next-hops", ids.into())]);
        let created = table.create_route_enumeration(0, 0, "", MATCH_NEXT_HOPS, &like).await;
        assert_eq!(refusal(created), invalid(why));
        let found = table.get_exact_match_route("10.0.0.0/8", MATCH_NEXT_HOPS, &like, 0).await;
        assert_eq!(refusal(found), invalid(why));
        let deleted = entity.delete_matching_routes(MATCH_NEXT_HOPS, &like).await;
        assert_eq!(refusal(deleted), invalid(why));
    }
}

#[tokio::test]
async fn a_callback_has_a_path_of_255_bytes_at_most() {
    let (bus, _service) = serve("");
    let connection = bus.connect().await;
    let manager = client::manager(&connection).await.unwrap();
    let register = async |bytes: usize| {
        let path = ObjectPath::try_from(format!("/{}", "x".repeat(bytes - 1))).unwrap();
        let options = details([("callback", path.into())]);
        manager.register_entity(0, "ipv4", STATIC, 0, &options).await
    };
    for bytes in [256, 30 << 20] {
        let text = format!("a callback's path of {bytes} bytes, it has 255 at most");
        assert_eq!(refusal(register(bytes).await), ("InvalidData".to_owned(), text));
    }
    register(255).await.unwrap();
}
