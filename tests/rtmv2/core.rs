//! The core itself on a clock of the test's own: for long times, and for clocks that jump.

use std::time::Duration;

use rtmd::{
    model::{
        Caller, ChangeFlags, EntityId, EntityKey, Family, Metric, Now, Preference, Prefix,
        Protocol, RouteFlags, RouteId, Span, TableId, Timestamp, ViewSet,
    },
    rib::{
        Amendment, Best, Credentials, LookUp, Offer, OfferedNextHops, Policy, Registration, Rib,
        Tenure, Terms,
    },
};

const TO: &str = "10.0.0.0/8";

/// One entity, whose routes to one destination go when they expire: there is nobody to ask.
pub(crate) struct Core {
    rib: Rib,
    owner: EntityId,
    now: Now,
}

impl Core {
    pub(crate) fn new() -> Self {
        let mut rib = Rib::new(Policy::standard());
        let key = EntityKey { table: table(), protocol: Protocol(1), protocol_instance: 0 };
        let (label, terms) = (String::new(), Terms::default());
        let (tenure, credentials) = (Tenure::User, Credentials::default());
        let registration = Registration { key, label, tenure, terms, credentials };
        let caller = Caller { bus_name: ":1.1".to_owned(), uid: 0 };
        let now = Now::at(1_000_000_000);
        let owner = rib.register(registration, caller, now).unwrap().id;
        Self { rib, owner, now }
    }

    /// Lets microseconds pass; what is due is carried out.
    pub(crate) fn pass(&mut self, microseconds: u64) {
        self.now.moment = self.now.moment.after(Duration::from_micros(microseconds));
        self.now.time = Timestamp(self.now.time.0 + microseconds);
        self.rib.handle_deadlines(usize::MAX, self.now);
    }

    /// Somebody sets the clock of the machine.
    pub(crate) fn set_clock(&mut self, time: u64) {
        self.now.time = Timestamp(time);
        self.rib.handle_deadlines(usize::MAX, self.now);
    }

    pub(crate) fn offer(&mut self, views: u32, ttl: u32) -> RouteId {
        let offer = Offer {
            to: to(),
            neighbour: None,
            preference: Preference(0),
            metric: Metric(0),
            flags: RouteFlags::default(),
            views: ViewSet(views),
            next_hops: OfferedNextHops::Ids([][..].into()),
            ttl: Span::from_millis(ttl).unwrap(),
            private: &[],
            list: None,
        };
        self.rib.add_route(self.owner, &offer, ChangeFlags(0), self.now).unwrap().0
    }

    pub(crate) fn update(&mut self, id: RouteId, ttl: u32) {
        let ttl = Some(Span::from_millis(ttl).unwrap());
        let changes = Amendment { ttl, ..Amendment::default() };
        self.rib.update_route(self.owner, id, &changes, self.now).unwrap();
    }

    pub(crate) fn delete(&mut self, id: RouteId) {
        self.rib.delete_route(self.owner, id, self.now).unwrap();
    }

    pub(crate) fn hold(&mut self, views: u32, milliseconds: u32) {
        let span = Span::from_millis(milliseconds).unwrap();
        self.rib.hold_destination(self.owner, to(), ViewSet(views), span).unwrap();
    }

    pub(crate) fn is_there(&self, id: RouteId) -> bool {
        self.rib.route(table(), id).is_ok()
    }

    /// What unicast and multicast hold.
    pub(crate) fn held(&self) -> [Option<RouteId>; 2] {
        let all = ViewSet(0x3);
        let found = self.rib.look_up(table(), to(), LookUp::Exact, Best::Overall, all);
        let Ok(found) = found else { return [None; 2] };
        [found.per_view[0].held, found.per_view[1].held]
    }
}

fn table() -> TableId {
    TableId::new(0, Family::Ipv4).unwrap()
}

fn to() -> Prefix {
    TO.parse().unwrap()
}
