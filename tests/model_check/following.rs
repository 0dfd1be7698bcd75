//! Commands about change notification, done on both sides.

use rtmd::{
    model::{Family, NotifyFlags, Prefix, RouteId},
    rib::{RouteSnapshot, Subscription},
};

use crate::{Pair, accepted, naive::Follower, picture::Content, world};

impl Pair {
    pub(crate) fn follow(&mut self, who: u8, family: Family, views: u8, flags: u32) {
        if self.naive.followers.len() >= 8 {
            return;
        }
        let table = self.table(family);
        let views = self.views(views);
        let refusals = self.naive.refuse_views(table, views.0);
        let flags = NotifyFlags::new(flags).unwrap();
        let subscription = Subscription { table, views, flags, context: views.0.into() };
        let owner = world::caller(who);
        let result = self.rib.register_for_changes(subscription, owner.clone());
        let Some(id) = accepted(result, &refusals) else { return };
        assert!(self.naive.followers.iter().all(|known| known.id < id), "ids count up");
        self.naive.followers.push(Follower {
            id,
            table,
            // G19.
            views: self.naive.supported(table, if views.is_empty() { u32::MAX } else { views.0 }),
            flags: flags.0,
            owner,
            marks: Default::default(),
            pending: Default::default(),
            ordered: Vec::new(),
            lost: 0,
            told: Default::default(),
            to_wake: false,
        });
    }

    fn follower(&mut self, number: u8) -> Option<&mut Follower> {
        let count = self.naive.followers.len();
        self.naive.followers.get_mut(usize::from(number).checked_rem(count)?)
    }

    pub(crate) fn unfollow(&mut self, which: u8) {
        let Some(found) = self.follower(which) else { return };
        let (table, id) = (found.table, found.id);
        self.naive.followers.retain(|known| known.id != id);
        self.rib.deregister_from_changes(table, id);
        assert!(self.rib.is_changed(table, id, Prefix::default_route(table.family)).is_err());
    }

    pub(crate) fn wake_ups(&mut self) {
        let told = self.rib.poll_wake_ups();
        let mut told: Vec<_> = told.into_iter().map(|up| (up.id, up.bus_name)).collect();
        told.sort();
        let waking = self.naive.followers.iter_mut().filter(|found| found.to_wake);
        let expected: Vec<_> = waking
            .map(|found| {
                found.to_wake = false;
                (found.id, found.owner.bus_name.clone())
            })
            .collect();
        assert_eq!(told, expected, "who is woken");
    }

    pub(crate) fn fetch(&mut self, which: u8, count: u8) {
        let mut refusals = self.naive.refuse_page(count.into());
        let Some(found) = self.follower(which) else { return };
        let (table, id, views) = (found.table, found.id, found.views);
        if found.is_ordered() {
            refusals.push(rtmd::model::ErrorKind::InvalidHandle);
        }
        let lost = if found.is_ordered() { 0 } else { found.lost };
        if lost > 0 {
            refusals.push(rtmd::model::ErrorKind::NoSystemResources);
        }
        let result = self.rib.changed_destinations(table, id, count.into());
        if let Err(error) = &result
            && error.kind == rtmd::model::ErrorKind::NoSystemResources
        {
            assert!(error.message.starts_with(&format!("{lost} destinations")), "{error}");
            let found = self.naive.followers.iter_mut().find(|known| known.id == id).unwrap();
            found.told = (Vec::new(), Vec::new(), std::mem::take(&mut found.lost));
        }
        let Some((page, done)) = accepted(result, &refusals) else { return };
        let best = rtmd::rib::Best::Overall;
        for view in &page {
            self.check_description(table, view, best, rtmd::model::ViewSet(views));
        }
        let found = self.naive.followers.iter_mut().find(|known| known.id == id).unwrap();
        assert_eq!(page.len(), found.pending.len().min(count.into()));
        found.told = (page.iter().map(|view| view.prefix).collect(), Vec::new(), 0);
        for view in page {
            assert!(found.pending.remove(&view.prefix), "{} had not changed", view.prefix);
        }
        assert_eq!(done, found.pending.is_empty());
    }

    pub(crate) fn fetch_ordered(&mut self, which: u8, count: u8) {
        let mut refusals = self.naive.refuse_page(count.into());
        let Some(found) = self.follower(which) else { return };
        if !found.is_ordered() {
            refusals.push(rtmd::model::ErrorKind::InvalidHandle);
        }
        let (table, id, lost) = (found.table, found.id, found.lost);
        if lost > 0 {
            refusals.push(rtmd::model::ErrorKind::NoSystemResources);
        }
        let result = self.rib.best_changes(table, id, count.into());
        let found = self.naive.followers.iter_mut().find(|known| known.id == id).unwrap();
        if let Err(error) = &result
            && error.kind == rtmd::model::ErrorKind::NoSystemResources
        {
            assert!(error.message.starts_with(&format!("{lost} changes")), "{error}");
            found.told = (Vec::new(), Vec::new(), std::mem::take(&mut found.lost));
        }
        let Some((page, done)) = accepted(result, &refusals) else { return };
        assert_eq!(page.len(), found.ordered.len().min(count.into()));
        found.told = Default::default();
        for told in page {
            let step = found.ordered[0].step;
            let same = found.ordered.iter().position(|expected| {
                expected.step == step
                    && (expected.to, expected.view) == (told.to, told.view.id().into())
            });
            let expected = found.ordered.remove(same.expect("the changes come in order"));
            check_snapshot(told.current.as_deref(), expected.current.as_ref());
            check_snapshot(told.previous.as_deref(), expected.previous.as_ref());
            found.told.1.push(expected);
        }
        assert_eq!(done, found.ordered.is_empty());
    }

    pub(crate) fn ignore(&mut self, which: u8, numbers: &[u8]) {
        let Some(found) = self.follower(which) else { return };
        let (table, id) = (found.table, found.id);
        let prefixes: Vec<Prefix> =
            numbers.iter().map(|number| world::prefix(table.family, *number)).collect();
        found.pending.retain(|to| !prefixes.contains(to));
        found.told.0.retain(|to| !prefixes.contains(to));
        self.rib.ignore_changed(table, id, &prefixes).unwrap();
    }

    pub(crate) fn mark(&mut self, which: u8, number: u8, mark: bool) {
        let Some(found) = self.follower(which) else { return };
        let (table, id) = (found.table, found.id);
        let to = world::prefix(table.family, number);
        let (owner, is_new) = (found.owner.clone(), mark && !found.marks.contains(&to));
        let refusals = if is_new { self.naive.refuse_mark(&owner) } else { vec![] };
        let result = self.rib.mark_destination(table, id, (to, mark));
        if accepted(result, &refusals).is_some()
            && let Some(found) = self.follower(which)
        {
            found.mark(to, mark);
        }
    }

    pub(crate) fn check_followers(&mut self) {
        for found in &self.naive.followers {
            let (table, id) = (found.table, found.id);
            for to in world::prefixes(table.family) {
                let changed = self.rib.is_changed(table, id, to).unwrap();
                assert_eq!(changed, found.may_have_changed(to), "{to} waits for {id:?}");
                assert_eq!(self.rib.is_marked(table, id, to).unwrap(), found.marks.contains(&to));
            }
        }
        let waking = self.naive.followers.iter().any(|found| found.to_wake);
        assert_eq!(self.rib.has_wake_ups(), waking, "whether somebody is to be woken");
    }
}

fn check_snapshot(told: Option<&RouteSnapshot>, expected: Option<&Content>) {
    let told = told.map(|snapshot| {
        let view = snapshot.view();
        let route = view.route;
        let cost = (route.rank.preference.0, route.rank.metric.0);
        let next_hops = view.next_hops.to_vec();
        let private = route.private().to_vec();
        (view.id, cost, route.flags.0, next_hops, route.neighbour, route.views.0, private)
    });
    let expected: Option<(RouteId, _, _, _, _, _, _)> = expected.cloned().map(|content| {
        let Content { id, cost, flags, next_hops, neighbour, views, private, .. } = content;
        (id, cost, flags, next_hops, neighbour, views, private)
    });
    assert_eq!(told, expected, "a best route as it was");
}
