//! Owners of many routes that leave.

use std::time::{Duration, Instant};

use rtmd::model::Family;

use crate::{
    scene::offer,
    stage::{CASES, in_both_ways},
    world::all_routes,
};

/// Several times what is written in one go, and what waits here before the rest waits elsewhere.
const MANY: usize = 20_000;

/// All of it has been written after this at the latest, by a debug build beside other tests.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

fn count(what: &str) -> usize {
    all_routes().iter().filter(|route| route.starts_with("100.") && route.contains(what)).count()
}

/// Waits until so many destinations go this way.
async fn all_go(when: &str, what: &str, expected: usize) {
    let since = Instant::now();
    while count(what) != expected {
        let (waits, found) = (since.elapsed() < WRITTEN_WITHIN, count(what));
        assert!(waits, "{found} of {expected} routes {what} {WRITTEN_WITHIN:?} after {when}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn when_the_better_owner_of_twenty_thousand_routes_is_gone_all_of_them_follow_the_other_one() {
    in_both_ways(async |scene| {
        let case = CASES[0];
        let to: Vec<String> =
            (0..MANY).map(|n| format!("100.{}.{}.{}/32", 64, n / 256, n % 256)).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let first = scene.client(Family::Ipv4, 14).await;
        let second = scene.client(Family::Ipv4, 13).await;
        for (client, by, preference) in [(&first, case.north, 20), (&second, case.west, 110)] {
            for some in to.chunks(5000) {
                let answer = client.entity.add_prefixes(some, &offer(by, preference, 0), 0).await;
                assert_eq!(answer.unwrap().1, []);
            }
        }
        all_go("both have offered them", case.north, MANY).await;
        drop(first);
        all_go("the better owner left", case.west, MANY).await;
        scene.nothing_pending().await;
        assert_eq!((count(case.north), count(case.west)), (0, MANY));
        drop(second);
        all_go("the other left too", "", 0).await;
    });
}
