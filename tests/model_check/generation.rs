//! Random commands, weighted so that most of them meet something that is there.

use proptest::{collection::vec, option::weighted, prelude::*};
use rtmd::model::Family;

use crate::{
    commands::{Command, HopCommand, OfferCommand, TermsCommand, UpdateCommand, Via, WalkCommand},
    world::GATEWAYS,
};

fn family() -> impl Strategy<Value = Family> + Clone {
    prop_oneof![3 => Just(Family::Ipv4), 1 => Just(Family::Ipv6)]
}

/// Half of it happens at one prefix, or little would ever happen twice.
fn prefix() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![1 => Just(1u8), 1 => any::<u8>()]
}

fn views() -> impl Strategy<Value = u8> + Clone {
    // 8 stands for all, 9 names one that there is not.
    prop_oneof![1 => Just(0u8), 8 => 1..4u8, 4 => 4..9u8, 1 => Just(9u8)]
}

fn ttl() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![1 => Just(0u8), 1 => 1..8u8]
}

/// Mostly within the limit; 0 stands for ever.
fn hold_time() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![1 => Just(0u8), 12 => 1..8u8]
}

fn via() -> impl Strategy<Value = Via> {
    prop_oneof![
        1 => vec(any::<u8>(), 0..4).prop_map(Via::Ids),
        3 => vec((0..GATEWAYS, any::<u8>()), 0..4).prop_map(Via::Inline),
    ]
}

fn terms() -> impl Strategy<Value = TermsCommand> {
    let seldom = || prop::bool::weighted(0.15);
    let methods = prop_oneof![6 => Just(0u8), 3 => 1..4u8, 1 => Just(32u8), 1 => Just(33u8)];
    let linger = prop_oneof![3 => Just(0u8), 3 => 1..9u8];
    (seldom(), seldom(), seldom(), any::<bool>(), methods, linger).prop_map(
        |(shared, single_route, exclusive, cells, methods, linger)| TermsCommand {
            shared,
            single_route,
            exclusive,
            cells,
            methods,
            linger,
        },
    )
}

fn hop() -> impl Strategy<Value = HopCommand> {
    (0..GATEWAYS, 0..4u8, 0..4u8, weighted(0.3, any::<u8>()), 0..4u8).prop_map(
        |(gateway, flags, weight, remote, private)| HopCommand {
            gateway,
            flags,
            weight,
            remote,
            private,
        },
    )
}

fn offer() -> impl Strategy<Value = OfferCommand> {
    let flags = prop_oneof![8 => Just(0u16), 1 => 0..16u16, 1 => any::<u16>()];
    let how = prop_oneof![6 => Just(0u8), 2 => Just(1u8), 2 => Just(2u8), 1 => Just(3u8)];
    let rank = (prefix(), weighted(0.3, any::<u8>()), any::<u8>(), any::<u8>());
    let rest = (flags, views(), via(), how, ttl(), 0..4u8, weighted(0.2, any::<u8>()));
    (rank, rest).prop_map(
        |(
            (prefix, neighbour, preference, metric),
            (flags, views, via, how, ttl, private, list),
        )| {
            OfferCommand {
                prefix,
                neighbour,
                preference,
                metric,
                flags,
                views,
                via,
                how,
                ttl,
                private,
                list,
            }
        },
    )
}

fn update() -> impl Strategy<Value = UpdateCommand> {
    let keys = (
        weighted(0.1, any::<u8>()),
        weighted(0.2, 0..3u8),
        weighted(0.3, prop::option::of(any::<u8>())),
    );
    let maybe = || weighted(0.3, any::<u8>());
    let rest = (
        maybe(),
        maybe(),
        weighted(0.3, views()),
        weighted(0.3, via()),
        weighted(0.3, ttl()),
        weighted(0.3, 0..4u8),
        maybe(),
    );
    (keys, rest).prop_map(
        |((to, generation, neighbour), (preference, metric, views, via, ttl, private, list))| {
            UpdateCommand {
                to,
                generation,
                neighbour,
                preference,
                metric,
                views,
                via,
                ttl,
                private,
                list,
            }
        },
    )
}

fn walk() -> impl Strategy<Value = WalkCommand> {
    (any::<bool>(), views(), 0..4u8, prefix(), weighted(0.3, any::<u8>()), 0..40u8, any::<u8>())
        .prop_map(|(routes, views, start, prefix, owned_by, criteria, value)| WalkCommand {
            routes,
            views,
            start,
            prefix,
            owned_by,
            criteria: if (8..32).contains(&criteria) { criteria } else { 0 },
            value,
        })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let n = any::<u8>;
    let page = || prop_oneof![1 => Just(0u8), 9 => 1..6u8];
    let notify = prop_oneof![
        4 => 1..8u32,
        2 => (1..8u32).prop_map(|types| types | 0x1_0000),
        3 => Just(0x2_0002u32),
        1 => Just(0x3_0002u32),
    ];
    use Command as C;
    let entities = prop_oneof![
        6 => (n(), family(), n(), terms())
            .prop_map(|(who, family, instance, terms)| C::Register { who, family, instance, terms }),
        1 => any::<bool>().prop_map(|second| C::Turn { second }),
        1 => n().prop_map(|entity| C::Deregister { entity }),
        2 => n().prop_map(|who| C::ClientGone { who }),
        1 => n().prop_map(|entity| C::Linger { entity }),
        2 => (n(), 1..4u8).prop_map(|(entity, count)| C::Sweep { entity, count }),
        4 => (n(), 0..4u8).prop_map(|(which, count)| C::Withdraw { which, count }),
        6 => (n(), hop()).prop_map(|(entity, hop)| C::AddNextHop { entity, hop }),
        2 => (n(), n()).prop_map(|(entity, next_hop)| C::DeleteNextHop { entity, next_hop }),
    ];
    let routes = prop_oneof![
        24 => (n(), offer()).prop_map(|(entity, offer)| C::Add { entity, offer }),
        9 => (n(), n(), update())
            .prop_map(|(entity, route, changes)| C::Update { entity, route, changes }),
        8 => (n(), n()).prop_map(|(entity, route)| C::Delete { entity, route }),
        1 => (n(), walk()).prop_map(|(entity, walk)| C::DeleteSelected { entity, walk }),
        2 => (n(), n()).prop_map(|(protocol, level)| C::SetLevel { protocol, level }),
        2 => n().prop_map(|protocol| C::Reapply { protocol }),
        2 => (family(), any::<bool>()).prop_map(|(family, pushed)| C::SetPushed { family, pushed }),
        5 => (family(), offer()).prop_map(|(family, offer)| C::AddStatic { family, offer }),
        2 => (family(), n(), n())
            .prop_map(|(family, prefix, which)| C::RemoveStatic { family, prefix, which }),
        1 => (n(), any::<bool>())
            .prop_map(|(route, persistent)| C::MakeStatic { route, persistent }),
        4 => Just(C::SettleStatics),
        1 => (any::<bool>(), n())
            .prop_map(|(narrow, level)| C::Reconfigure { narrow, level }),
        6 => (n(), n()).prop_map(|(interface, up)| C::Link { interface, up: up % 3 > 0 }),
        3 => n().prop_map(|interface| C::LinkGone { interface }),
        4 => (n(), family(), n()).prop_map(|(interface, family, there)| {
            C::Address { interface, family, there: there % 3 > 0 }
        }),
        8 => (0..4u8, n()).prop_map(|(milliseconds, count)| C::Pass { milliseconds, count }),
        4 => Just(C::Ask),
        3 => (n(), any::<bool>()).prop_map(|(question, keep)| C::Answer { question, keep }),
        8 => (n(), prefix(), views(), hold_time()).prop_map(|(entity, prefix, views, milliseconds)| {
            C::Hold { entity, prefix, views, milliseconds }
        }),
        3 => n().prop_map(|count| C::TakeEffects { count }),
        3 => any::<bool>().prop_map(|with_image| C::Restart { with_image }),
    ];
    let followers = prop_oneof![
        4 => (n(), family(), views(), notify)
            .prop_map(|(who, family, views, flags)| C::Follow { who, family, views, flags }),
        1 => n().prop_map(|which| C::Unfollow { which }),
        2 => Just(C::WakeUps),
        4 => (n(), page()).prop_map(|(which, count)| C::Fetch { which, count }),
        4 => (n(), page()).prop_map(|(which, count)| C::FetchOrdered { which, count }),
        2 => (n(), vec(n(), 0..3)).prop_map(|(which, prefixes)| C::Ignore { which, prefixes }),
        4 => (n(), prefix(), n())
            .prop_map(|(which, prefix, mark)| C::Mark { which, prefix, mark: mark % 4 > 0 }),
    ];
    let reading = prop_oneof![
        2 => n().prop_map(|entity| C::CreateList { entity }),
        3 => (n(), weighted(0.8, n()), vec(n(), 0..4))
            .prop_map(|(entity, list, routes)| C::Move { entity, list, routes }),
        3 => (n(), n(), page())
            .prop_map(|(entity, list, count)| C::NextListed { entity, list, count }),
        1 => (n(), n()).prop_map(|(entity, list)| C::Rewind { entity, list }),
        1 => n().prop_map(|list| C::DeleteList { list }),
        4 => (n(), prefix(), 0..6u8)
            .prop_map(|(entity, prefix, bytes)| C::SetCell { entity, prefix, bytes }),
        3 => (family(), walk()).prop_map(|(family, walk)| C::Walk { family, walk }),
        2 => (family(), walk()).prop_map(|(family, walk)| C::ExactMatch { family, walk }),
        2 => (n(), any::<bool>()).prop_map(|(entity, block)| C::BlockMethods { entity, block }),
        2 => (n(), n(), prop_oneof![0..8u32, Just(u32::MAX)])
            .prop_map(|(caller, target, selected)| C::Invoke { caller, target, selected }),
        6 => (n(), page()).prop_map(|(walk, count)| C::Next { walk, count }),
        2 => (n(), family(), walk())
            .prop_map(|(who, family, walk)| C::WalkNextHops { who, family, walk }),
        4 => (n(), page()).prop_map(|(walk, count)| C::NextNextHops { walk, count }),
        3 => (family(), prefix(), views())
            .prop_map(|(family, prefix, views)| C::LookUp { family, prefix, views }),
    ];
    prop_oneof![3 => entities, 8 => routes, 4 => followers, 4 => reading]
}
