//! The core against a naive table: random commands, and after each of them the same answers.
//!
//! The naive side is written from RTMv2's rules alone: plain vectors, everything computed from
//! scratch whenever it is asked for. Each command is done on both sides, its results are compared,
//! and then everything that can be looked at. A failure shrinks to a short list of commands.

mod administering;
mod commands;
mod compare;
mod following;
mod generation;
mod hop_walks;
mod joining;
mod lingering;
mod naive;
mod offering;
mod passing;
mod picture;
mod reading;
mod recursion;
mod refusals;
mod relaying;
mod restarting;
mod selecting;
mod statics;
mod things;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseResult},
};
use rtmd::{
    journal::ledger::Ledger,
    model::{
        EntityId, ErrorKind, Family, Forwarding, GroupId, InterfaceIndex, ListId, NextHopId, Now,
        Prefix, Result, RouteId, TableId, Timestamp, ViewSet, Wish,
    },
    rib::Question,
};

use commands::Command;
use generation::command;
use naive::{Naive, Place};
use restarting::Written;
use world::Setting;

/// Both sides, and what clients remember.
pub(crate) struct Pair {
    rib: Ledger,
    written: Written,
    naive: Naive,
    /// The kernel's table as it comes out of the effects.
    kernel: BTreeMap<Place, Wish>,
    groups: BTreeMap<GroupId, Forwarding>,
    /// Each destination's time of change when last seen.
    changed: BTreeMap<Place, Timestamp>,
    /// Ids that were given out, dead ones included.
    known_routes: Vec<RouteId>,
    known_hops: Vec<NextHopId>,
    known_lists: Vec<ListId>,
    dead_entities: Vec<EntityId>,
    /// Questions to owners that are not answered.
    asked: Vec<Question>,
    cursors: Vec<reading::Cursor>,
    hop_cursors: Vec<hop_walks::HopCursor>,
    /// Whose tables commands are about.
    instance: u16,
}

/// The result, if the rules say that there is one.
fn accepted<T>(result: Result<T>, refusals: &[ErrorKind]) -> Option<T> {
    match result {
        Ok(value) => {
            assert!(refusals.is_empty(), "done, although the rules say {refusals:?}");
            Some(value)
        }
        Err(error) => {
            assert!(refusals.contains(&error.kind), "{error:?}, the rules say {refusals:?}");
            None
        }
    }
}

impl Pair {
    fn new(setting: Setting) -> Self {
        let up = (1..=world::INTERFACES).map(|number| (InterfaceIndex(number.into()), true));
        let rib = Ledger::new(world::rib(setting), 1);
        Self {
            written: Written::new(&rib),
            rib,
            naive: Naive {
                up: up.collect(),
                networks: world::networks(),
                setting,
                limits: world::policy().limits,
                ..Naive::default()
            },
            kernel: BTreeMap::new(),
            groups: BTreeMap::new(),
            changed: BTreeMap::new(),
            known_routes: Vec::new(),
            known_hops: Vec::new(),
            known_lists: Vec::new(),
            dead_entities: Vec::new(),
            asked: Vec::new(),
            cursors: Vec::new(),
            hop_cursors: Vec::new(),
            instance: 0,
        }
    }

    fn now(&self) -> Now {
        Now::at(self.naive.now)
    }

    fn table(&self, family: Family) -> TableId {
        TableId::new(self.instance.into(), family).unwrap()
    }

    fn tables(&self) -> impl Iterator<Item = TableId> + use<> {
        let of = |instance: u16| {
            Family::ALL.map(|family| TableId::new(instance.into(), family).unwrap())
        };
        world::INSTANCES.into_iter().flat_map(of)
    }

    /// One that is registered; with a high number one that was.
    fn entity(&self, number: u8) -> Option<EntityId> {
        if number >= 248 {
            return world::pick(&self.dead_entities, number);
        }
        let clients = self.naive.entities.iter().filter(|entity| !entity.service);
        world::pick(&clients.map(|entity| entity.id).collect::<Vec<_>>(), number)
    }

    /// Where the entity works; for a dead one it does not matter.
    fn table_of(&self, id: EntityId) -> TableId {
        self.naive.entity(id).map_or_else(|| self.table(Family::Ipv4), |entity| entity.key.table)
    }

    /// A prefix of the table, or sometimes of the other family.
    fn prefix_near(&self, table: TableId, number: u8) -> Prefix {
        match number {
            250.. => world::prefix(world::other(table.family), number),
            _ => world::prefix(table.family, number),
        }
    }

    fn views(&self, number: u8) -> ViewSet {
        match number {
            8 => ViewSet::ALL,
            9 => ViewSet(9),
            some => ViewSet(some.into()),
        }
    }

    /// A route that is in the table, or one that was.
    fn route(&self, number: u8) -> Option<RouteId> {
        if number >= 224 {
            return world::pick(&self.known_routes, number);
        }
        world::pick(&self.naive.routes, number).map(|route| route.id)
    }

    fn play(mut self, script: &Script) -> TestCaseResult {
        for command in &script.0 {
            let _ = self.run(command);
            self.write_down();
            self.check();
        }
        // The property that matters most: with all effects carried out, the kernel has the wish.
        self.take_effects(usize::MAX);
        prop_assert_eq!(&self.forwarding(), &self.wishes());
        Ok(())
    }

    fn run(&mut self, command: &Command) -> Option<()> {
        use Command as C;
        match command {
            C::Register { who, family, instance, terms } => {
                self.register(*who, self.table(*family), *instance, terms);
            }
            C::Deregister { entity } => self.deregister(self.entity(*entity)?),
            C::Linger { entity } => self.linger(self.entity(*entity)?),
            C::Sweep { entity, count } => self.sweep(self.entity(*entity)?, (*count).into()),
            C::ClientGone { who } => self.client_gone(*who),
            C::Withdraw { which, count } => self.withdraw(*which, usize::from(*count)),
            C::AddNextHop { entity, hop } => self.add_next_hop(self.entity(*entity)?, hop),
            C::DeleteNextHop { entity, next_hop } => {
                let next_hop = world::pick(&self.known_hops, *next_hop)?;
                self.delete_next_hop(self.entity(*entity)?, next_hop);
            }
            C::Add { entity, offer } => self.add(self.entity(*entity)?, offer),
            C::Update { entity, route, changes } => {
                let (owner, route) = self.owner_and_route(*entity, *route)?;
                self.update(owner, route, changes);
            }
            C::Delete { entity, route } => {
                let (owner, route) = self.owner_and_route(*entity, *route)?;
                self.delete(owner, route);
            }
            C::Turn { second } => self.instance = world::INSTANCES[usize::from(*second)],
            C::Link { interface, up } => self.link(*interface, *up),
            C::LinkGone { interface } => self.link_gone(*interface),
            C::Address { interface, family, there } => self.address(*interface, *family, *there),
            C::Pass { milliseconds, count } => self.pass(*milliseconds, usize::from(*count)),
            C::Ask => self.ask(),
            C::Answer { question, keep } => self.answer(*question, *keep),
            C::Hold { entity, prefix, views, milliseconds } => {
                self.hold(self.entity(*entity)?, *prefix, *views, *milliseconds);
            }
            C::Follow { who, family, views, flags } => self.follow(*who, *family, *views, *flags),
            C::Unfollow { which } => self.unfollow(*which),
            C::WakeUps => self.wake_ups(),
            C::Fetch { which, count } => self.fetch(*which, *count),
            C::FetchOrdered { which, count } => self.fetch_ordered(*which, *count),
            C::Ignore { which, prefixes } => self.ignore(*which, prefixes),
            C::Mark { which, prefix, mark } => self.mark(*which, *prefix, *mark),
            C::CreateList { entity } => self.create_list(self.entity(*entity)?),
            C::Move { entity, list, routes } => {
                let list = list.and_then(|number| world::pick(&self.known_lists, number));
                let routes: BTreeSet<_> = routes.iter().filter_map(|n| self.route(*n)).collect();
                let routes: Vec<_> = routes.into_iter().collect();
                self.move_to_list(self.entity(*entity)?, list, &routes);
            }
            C::NextListed { entity, list, count } => {
                let (owner, list) = self.owner_and_list(*entity, *list)?;
                self.next_listed(owner, list, *count);
            }
            C::Rewind { entity, list } => {
                let (owner, list) = self.owner_and_list(*entity, *list)?;
                self.rewind(owner, list);
            }
            C::DeleteList { list } => self.delete_list(world::pick(&self.known_lists, *list)?),
            C::SetCell { entity, prefix, bytes } => {
                let entity = self.entity(*entity)?;
                let to = self.prefix_near(self.table_of(entity), *prefix);
                self.set_cell(entity, to, *bytes);
            }
            C::Walk { family, walk } => self.walk(self.table(*family), walk),
            C::Next { walk, count } => self.next(*walk, *count),
            C::WalkNextHops { who, family, walk } => {
                self.walk_next_hops(self.table(*family), *who, walk);
            }
            C::NextNextHops { walk, count } => self.next_next_hops(*walk, *count),
            C::LookUp { family, prefix, views } => {
                let to = world::prefix(*family, *prefix);
                self.look_up(self.table(*family), to, self.views(*views));
            }
            C::ExactMatch { family, walk } => {
                self.exact_match(self.table(*family), world::prefix(*family, walk.prefix), walk);
            }
            C::DeleteSelected { entity, walk } => {
                self.delete_selected(self.entity(*entity)?, walk);
            }
            C::SetLevel { protocol, level } => {
                let level = u32::from(level % 4) * 40;
                self.set_level(world::pick(&world::PROTOCOLS, *protocol)?, level);
            }
            C::Reapply { protocol } => self.reapply(world::pick(&world::PROTOCOLS, *protocol)?),
            C::SetPushed { family, pushed } => self.set_pushed(self.table(*family), *pushed),
            C::BlockMethods { entity, block } => self.block_methods(self.entity(*entity)?, *block),
            C::Invoke { caller, target, selected } => {
                self.invoke(self.entity(*caller)?, self.entity(*target)?, *selected);
            }
            C::AddStatic { family, offer } => self.add_static(*family, offer),
            C::RemoveStatic { family, prefix, which } => {
                self.remove_static(*family, *prefix, *which);
            }
            C::MakeStatic { route, persistent } => {
                self.make_static(self.route(*route)?, *persistent);
            }
            C::SettleStatics => self.settle_statics(),
            C::Reconfigure { narrow, level } => self.reconfigure(*narrow, (*level % 3 * 40).into()),
            C::Restart { with_image } => self.restart(*with_image),
            C::TakeEffects { count } => self.take_effects((*count).into()),
        }
        Some(())
    }

    /// Mostly the owner itself, so that most of what it asks is done.
    fn owner_and_route(&self, entity: u8, route: u8) -> Option<(EntityId, RouteId)> {
        let route = self.route(route)?;
        let owner = self.naive.route(route).map(|route| route.owner);
        let owner = owner
            .filter(|id| entity < 200 && !self.naive.is_service(*id))
            .or_else(|| self.entity(entity))?;
        Some((owner, route))
    }

    fn owner_and_list(&self, entity: u8, list: u8) -> Option<(EntityId, ListId)> {
        let list = world::pick(&self.known_lists, list)?;
        let owner = self.naive.lists.iter().find(|known| known.id == list).map(|list| list.owner);
        Some((owner.filter(|_| entity < 200).or_else(|| self.entity(entity))?, list))
    }
}

/// Commands that read as one line each when they fail.
#[derive(Clone)]
struct Script(Vec<Command>);

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|command| write!(f, "\n    {command:?}"))
    }
}

fn script() -> impl Strategy<Value = Script> {
    prop::collection::vec(command(), 1..300).prop_map(Script)
}

fn setting() -> impl Strategy<Value = Setting> {
    any::<[bool; 3]>().prop_map(|[via_default, ignores_viability, third_view]| Setting {
        via_default,
        ignores_viability,
        third_view,
    })
}

/// About ten seconds' worth, unless `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(200)
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_rib_answers_like_a_naive_table(script in script(), setting in setting()) {
        Pair::new(setting).play(&script)?;
    }

    #[test]
    fn routes_through_routes_lead_where_a_naive_table_says(
        script in relaying::commands().prop_map(Script),
        setting in setting(),
    ) {
        Pair::new(setting).play(&script)?;
    }
}
