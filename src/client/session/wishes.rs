//! What is wished, and what the service has of it. Nothing here calls or waits.
//!
//! A key is due while its wish and what the service has may differ. It is due once however often
//! its wish changed, so what waits is never more than there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use super::{Refusal, Route, RouteKey, hops::Hops};
use crate::{
    client::Failure,
    model::{ErrorKind, NextHopKey},
};

/// The most routes in a call, a hundred kilobytes or so.
const MOST_ROUTES: usize = 2000;
/// The most next hops that the routes of a call have, but for the last: half a megabyte.
const MOST_HOPS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Wishes {
    entries: BTreeMap<RouteKey, Entry>,
    due: BTreeSet<RouteKey>,
    /// Where the last batch ended: what changes all the time does not keep the others waiting.
    last: Option<RouteKey>,
    /// Whether a batch waits for its answers.
    in_flight: bool,
    /// Whether the owner has said that it offers all that it has.
    complete: bool,
    /// Whether the service was told so since the registration.
    synced: bool,
    pub(super) hops: Hops,
    /// What the service refused and nobody was told.
    refused: BTreeMap<RouteKey, Failure>,
    wished: usize,
    most: usize,
}

/// Without a wish, it stays until the service has nothing of it.
#[derive(Debug)]
struct Entry {
    wish: Option<Arc<Route>>,
    known: Known,
}

/// What the service has of a route.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Nothing,
    /// A call that would have added it was not answered, or not yet.
    Doubt,
    /// An id, and what it was when the service last said yes.
    Route(u64, Arc<Route>),
}

/// What to do next. Who does it takes out what was answered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// To be withdrawn, if they are there.
    pub(super) doubts: Vec<RouteKey>,
    /// To be withdrawn.
    pub(super) withdrawals: Vec<(RouteKey, u64)>,
    /// To be offered.
    pub(super) offers: Vec<Offer>,
}

#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: RouteKey,
    pub(super) route: Arc<Route>,
    /// What the service had until then.
    before: Known,
}

impl Wishes {
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            last: None,
            in_flight: false,
            complete: false,
            synced: false,
            hops: Hops::default(),
            refused: BTreeMap::new(),
            wished: 0,
            most,
        }
    }

    /// Wishes for a route in the place of the earlier one.
    pub(super) fn offer(&mut self, key: RouteKey, route: Arc<Route>) -> Result<(), Failure> {
        let entry = self.entries.get(&key);
        if self.wished >= self.most && entry.is_none_or(|entry| entry.wish.is_none()) {
            return Err(Failure::Refused {
                name: ErrorKind::NotEnoughMemory.name().to_owned(),
                message: format!("the session keeps {} routes, the most it may", self.most),
            });
        }
        if entry.is_some_and(|entry| entry.is_as_wished(&route)) && !self.due.contains(&key) {
            return Ok(());
        }
        for via in &route.next_hops {
            self.hops.hold(via.key, via.weight);
        }
        key.neighbour.into_iter().for_each(|key| self.hops.hold(key, None));
        let entry = self.entries.entry(key).or_insert(Entry { wish: None, known: Known::Nothing });
        match entry.wish.replace(route) {
            Some(earlier) => release(&mut self.hops, key, &earlier),
            None => self.wished += 1,
        }
        self.refused.remove(&key);
        self.due.insert(key);
        Ok(())
    }

    /// Wishes for a route no more; whether it was wished for.
    pub(super) fn withdraw(&mut self, key: RouteKey) -> bool {
        let Some(wish) = self.entries.get_mut(&key).and_then(|entry| entry.wish.take()) else {
            return false;
        };
        release(&mut self.hops, key, &wish);
        self.wished -= 1;
        self.refused.remove(&key);
        self.due.insert(key);
        self.forget_if_over(key);
        true
    }

    /// A new registration begins: everything is due, and what is not wished for is over, because
    /// either it is gone already or the end of synchronization sweeps it.
    pub(super) fn begin_again(&mut self) {
        let Self { entries, hops, .. } = self;
        entries.retain(|key, entry| {
            entry.set(hops, *key, Known::Nothing);
            entry.wish.is_some()
        });
        self.hops.begin_again();
        self.due = self.entries.keys().copied().collect();
        self.synced = false;
    }

    /// The owner offers all that it has: what else there is may go, now and after every
    /// registration.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether the service is to be told that everything was offered.
    pub(super) fn is_sync_due(&self) -> bool {
        self.complete && !self.synced && self.due.is_empty()
    }

    /// The service was told so.
    pub(super) fn synced(&mut self) {
        self.synced = true;
    }

    /// What to do next; [`Wishes::give_back`] ends it. None when nothing is due.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut hops = 0;
        for _ in 0..MOST_ROUTES {
            if hops > MOST_HOPS {
                break;
            }
            let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.due.range((after, Bound::Unbounded)).next();
            let Some(key) = next.or_else(|| self.due.first()).copied() else { break };
            self.last = Some(key);
            self.due.remove(&key);
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            match (&entry.wish, &entry.known) {
                (Some(route), _) => {
                    hops += route.next_hops.len();
                    let (route, before) = (Arc::clone(route), entry.known.clone());
                    if matches!(before, Known::Nothing) {
                        entry.known = Known::Doubt;
                    }
                    batch.offers.push(Offer { key, route, before });
                }
                (None, Known::Route(id, _)) => batch.withdrawals.push((key, *id)),
                (None, Known::Doubt) => batch.doubts.push(key),
                (None, Known::Nothing) => drop(self.entries.remove(&key)),
            }
        }
        self.in_flight = !batch.is_empty();
        self.in_flight.then_some(batch)
    }

    /// The service took an offer under this id, or refused it for good.
    pub(super) fn answered(&mut self, offer: Offer, answer: Result<u64, Failure>) {
        let Offer { key, route, before } = offer;
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let (known, refusal) = match answer {
            Ok(id) => {
                self.refused.remove(&key);
                (Known::Route(id, route), None)
            }
            Err(failure) => (before, Some(failure)),
        };
        entry.set(&mut self.hops, key, known);
        // Of a wish that is another one meanwhile, the next answer tells.
        if let Some(failure) = refusal.filter(|_| entry.wish.is_some())
            && !self.due.contains(&key)
        {
            self.refused.insert(key, failure);
        }
        self.forget_if_over(key);
    }

    /// The service has a route no more.
    pub(super) fn withdrawn(&mut self, key: RouteKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.set(&mut self.hops, key, Known::Nothing);
        }
        self.forget_if_over(key);
    }

    /// The batch is over; what is left in it was not answered.
    pub(super) fn give_back(&mut self, batch: Batch) {
        let Batch { doubts, withdrawals, offers } = batch;
        let withdrawals = withdrawals.into_iter().map(|(key, _)| key);
        let offers = offers.into_iter().map(|offer| offer.key);
        self.due.extend(doubts.into_iter().chain(withdrawals).chain(offers));
        self.in_flight = false;
    }

    /// Whether the service has answered everything that is wished.
    pub(super) fn is_settled(&self) -> bool {
        self.due.is_empty() && !self.in_flight && (self.synced || !self.complete)
    }

    /// How many routes are wished for.
    pub(super) fn len(&self) -> usize {
        self.wished
    }

    /// A refusal that nobody was told.
    pub(super) fn next_refusal(&mut self) -> Option<Refusal> {
        self.refused.pop_first().map(|(key, why)| Refusal { key, why })
    }

    /// The next hops that are to be added, or weighted anew, before these routes are offered.
    pub(super) fn missing_hops(&self, offers: &[Offer]) -> BTreeSet<NextHopKey> {
        let named = offers.iter().flat_map(Offer::next_hops);
        named.filter(|key| self.hops.is_missing(*key)).collect()
    }

    fn forget_if_over(&mut self, key: RouteKey) {
        let is_over = |entry: &Entry| entry.wish.is_none() && matches!(entry.known, Known::Nothing);
        if self.entries.get(&key).is_some_and(is_over) {
            self.entries.remove(&key);
            self.due.remove(&key);
        }
    }
}

impl Entry {
    fn is_as_wished(&self, route: &Arc<Route>) -> bool {
        self.wish.as_ref() == Some(route)
            && matches!(&self.known, Known::Route(_, known) if known == route)
    }

    fn set(&mut self, hops: &mut Hops, key: RouteKey, known: Known) {
        if let Known::Route(_, route) = &known {
            let named = route.next_hops.iter().map(|via| via.key);
            named.chain(key.neighbour).for_each(|key| hops.hold(key, None));
        }
        if let Known::Route(_, earlier) = std::mem::replace(&mut self.known, known) {
            release(hops, key, &earlier);
        }
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.doubts.is_empty() && self.withdrawals.is_empty() && self.offers.is_empty()
    }
}

impl Offer {
    pub(super) fn next_hops(&self) -> impl Iterator<Item = NextHopKey> {
        self.route.next_hops.iter().map(|via| via.key).chain(self.key.neighbour)
    }
}

/// One less names the next hops of a route.
fn release(hops: &mut Hops, key: RouteKey, route: &Route) {
    let named = route.next_hops.iter().map(|via| via.key);
    named.chain(key.neighbour).for_each(|key| hops.release(key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefix: &str) -> RouteKey {
        prefix.parse::<crate::model::Prefix>().unwrap().into()
    }

    fn via(gateway: &str) -> Arc<Route> {
        Arc::new(Route::via(gateway.parse().unwrap()))
    }

    fn wishing_for(prefixes: &[&str]) -> Wishes {
        let mut wishes = Wishes::new(10);
        prefixes.iter().for_each(|it| wishes.offer(key(it), via("192.0.2.1")).unwrap());
        wishes
    }

    /// The service takes all offers, under ids from this one on.
    fn answer(wishes: &mut Wishes, mut batch: Batch, from: u64) {
        for (offer, id) in batch.offers.drain(..).zip(from..) {
            wishes.answered(offer, Ok(id));
        }
        wishes.give_back(batch);
    }

    /// As text: what would be asked next.
    fn next(wishes: &mut Wishes) -> String {
        let Some(batch) = wishes.take() else { return String::new() };
        let mut words = Vec::new();
        words.extend(batch.doubts.iter().map(|key| format!("?{}", key.destination)));
        words.extend(batch.withdrawals.iter().map(|(_, id)| format!("-{id}")));
        words.extend(batch.offers.iter().map(|offer| format!("+{}", offer.key.destination)));
        wishes.give_back(batch);
        words.join(" ")
    }

    fn refused() -> Failure {
        Failure::Refused { name: "InvalidParameter".to_owned(), message: "no".to_owned() }
    }

    #[test]
    fn what_is_as_wished_is_not_offered_again() {
        let mut wishes = wishing_for(&["10.0.0.0/8"]);
        let batch = wishes.take().unwrap();
        assert!(!wishes.is_settled());
        answer(&mut wishes, batch, 1);
        wishes.offer(key("10.0.0.0/8"), via("192.0.2.1")).unwrap();
        assert!(wishes.is_settled());
        wishes.offer(key("10.0.0.0/8"), via("192.0.2.2")).unwrap();
        assert_eq!(next(&mut wishes), "+10.0.0.0/8");
    }

    #[test]
    fn what_was_never_offered_and_is_not_wished_for_leaves_nothing() {
        let mut wishes = wishing_for(&["10.0.0.0/8"]);
        assert!(wishes.withdraw(key("10.0.0.0/8")));
        assert!(!wishes.withdraw(key("10.0.0.0/8")));
        assert_eq!((wishes.len(), wishes.entries.len(), wishes.due.len()), (0, 0, 0));
        assert!(wishes.hops.take_unused().is_empty());
    }

    #[test]
    fn an_offer_that_got_no_answer_is_made_again_or_looked_for_before_it_is_withdrawn() {
        let mut wishes = wishing_for(&["10.0.0.0/8", "10.1.0.0/16"]);
        assert_eq!(next(&mut wishes), "+10.0.0.0/8 +10.1.0.0/16");
        wishes.withdraw(key("10.0.0.0/8"));
        assert_eq!(next(&mut wishes), "?10.0.0.0/8 +10.1.0.0/16");
        wishes.withdrawn(key("10.0.0.0/8"));
        assert_eq!(wishes.entries.len(), 1);
    }

    #[test]
    fn what_is_wished_while_a_call_is_on_its_way_is_done_after_it() {
        let mut wishes = wishing_for(&["10.0.0.0/8", "10.1.0.0/16"]);
        let batch = wishes.take().unwrap();
        wishes.withdraw(key("10.0.0.0/8"));
        wishes.offer(key("10.1.0.0/16"), via("192.0.2.2")).unwrap();
        answer(&mut wishes, batch, 7);
        assert_eq!(next(&mut wishes), "-7 +10.1.0.0/16");
    }

    #[test]
    fn a_refusal_is_told_once_and_not_of_a_wish_that_is_another_meanwhile() {
        let mut wishes = wishing_for(&["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"]);
        let mut batch = wishes.take().unwrap();
        wishes.offer(key("10.1.0.0/16"), via("192.0.2.2")).unwrap();
        wishes.withdraw(key("10.2.0.0/16"));
        batch.offers.drain(..).for_each(|offer| wishes.answered(offer, Err(refused())));
        wishes.give_back(batch);
        assert_eq!(wishes.next_refusal().unwrap().key, key("10.0.0.0/8"));
        assert!(wishes.next_refusal().is_none());
        assert_eq!(next(&mut wishes), "+10.1.0.0/16");
        assert_eq!(wishes.entries.len(), 2);
    }

    #[test]
    fn a_new_registration_is_offered_everything_and_nothing_that_was_withdrawn() {
        let mut wishes = wishing_for(&["10.0.0.0/8", "10.1.0.0/16"]);
        let batch = wishes.take().unwrap();
        answer(&mut wishes, batch, 1);
        wishes.withdraw(key("10.1.0.0/16"));
        wishes.begin_again();
        assert_eq!(next(&mut wishes), "+10.0.0.0/8");
        assert_eq!(wishes.entries.len(), 1);
    }

    #[test]
    fn the_end_of_synchronization_is_due_when_the_owner_and_the_service_are_at_it() {
        let mut wishes = wishing_for(&["10.0.0.0/8"]);
        for _ in 0..2 {
            wishes.begin_again();
            let batch = wishes.take().unwrap();
            wishes.complete();
            answer(&mut wishes, batch, 1);
            assert!(wishes.is_sync_due() && !wishes.is_settled());
            wishes.synced();
            assert!(!wishes.is_sync_due() && wishes.is_settled());
        }
    }

    #[test]
    fn a_next_hop_stays_as_long_as_the_service_has_a_route_by_it() {
        let mut wishes = wishing_for(&["10.0.0.0/8"]);
        let hop = via("192.0.2.1").next_hops[0].key;
        wishes.hops.adding(hop);
        let batch = wishes.take().unwrap();
        answer(&mut wishes, batch, 1);
        wishes.offer(key("10.0.0.0/8"), via("192.0.2.2")).unwrap();
        assert!(wishes.hops.take_unused().is_empty());
        // Refused, so the service still has the earlier one.
        let mut batch = wishes.take().unwrap();
        batch.offers.drain(..).for_each(|offer| wishes.answered(offer, Err(refused())));
        wishes.give_back(batch);
        assert!(wishes.hops.take_unused().is_empty());
        wishes.withdraw(key("10.0.0.0/8"));
        assert_eq!(next(&mut wishes), "-1");
        wishes.withdrawn(key("10.0.0.0/8"));
        assert_eq!(wishes.hops.take_unused(), [hop]);
    }

    #[test]
    fn there_is_a_most_that_is_kept_and_what_is_kept_can_still_be_changed() {
        let mut wishes = wishing_for(&["10.0.0.0/8"]);
        wishes.most = 1;
        let more = wishes.offer(key("10.1.0.0/16"), via("192.0.2.1")).unwrap_err();
        assert_eq!(more.kind(), Some(ErrorKind::NotEnoughMemory));
        wishes.offer(key("10.0.0.0/8"), via("192.0.2.2")).unwrap();
        wishes.withdraw(key("10.0.0.0/8"));
        wishes.offer(key("10.1.0.0/16"), via("192.0.2.1")).unwrap();
    }

    #[test]
    fn what_changes_all_the_time_does_not_keep_the_others_waiting() {
        let mut wishes = Wishes::new(1_000_000);
        let wish = |wishes: &mut Wishes, number: u32, gateway: &str| {
            let address = std::net::Ipv4Addr::from(number << 8);
            let prefix = crate::model::Prefix::new(address.into(), 24).unwrap();
            wishes.offer(prefix.into(), via(gateway)).unwrap();
        };
        let many = u32::try_from(MOST_ROUTES).unwrap();
        (0..=many).for_each(|number| wish(&mut wishes, number, "192.0.2.1"));
        let batch = wishes.take().unwrap();
        (0..many).for_each(|number| wish(&mut wishes, number, "192.0.2.2"));
        answer(&mut wishes, batch, 1);
        assert!(next(&mut wishes).starts_with("+0.7.208.0/24 +0.0.0.0/24"));
    }
}
