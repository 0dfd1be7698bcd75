//! Commands that make routes lead through each other: nothing else happens, so that much does.

use proptest::{collection::vec, prelude::*};
use rtmd::model::Family;

use crate::{
    commands::{Command, HopCommand, OfferCommand, TermsCommand, UpdateCommand, Via},
    world::{CLIENTS, PREFIXES},
};

/// Numbers of next hops that are on no network, and of some others.
const FAR: [u8; 5] = [3, 7, 11, 15, 26];
const OTHERS: [u8; 7] = [0, 1, 2, 20, 24, 27, 28];

fn gateway() -> impl Strategy<Value = u8> {
    prop_oneof![5 => prop::sample::select(&FAR[..]), 2 => prop::sample::select(&OTHERS[..])]
}

fn via() -> impl Strategy<Value = Via> {
    vec((gateway(), any::<u8>()), 1..3).prop_map(Via::Inline)
}

fn prefix() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0u8), 8 => 1..PREFIXES]
}

fn add() -> impl Strategy<Value = Command> {
    let flags =
        prop_oneof![24 => Just(0u16), 1 => prop::sample::select(&[1u16, 2, 4, 8, 10, 64][..])];
    let how = prop_oneof![2 => Just(0u8), 1 => Just(2u8)];
    let views = prop_oneof![8 => Just(8u8), 1 => Just(2u8)];
    (0..6u8, prefix(), 0..3u8, 0..2u8, flags, views, via(), how).prop_map(
        |(entity, prefix, preference, metric, flags, views, via, how)| {
            let (neighbour, ttl, private, list) = (None, 0, 0, None);
            let offer = OfferCommand {
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
            };
            Command::Add { entity, offer }
        },
    )
}

fn update() -> impl Strategy<Value = Command> {
    (any::<u8>(), via()).prop_map(|(route, via)| {
        let changes = UpdateCommand {
            to: None,
            generation: None,
            neighbour: None,
            preference: None,
            metric: None,
            views: None,
            via: Some(via),
            ttl: None,
            private: None,
            list: None,
        };
        Command::Update { entity: 0, route, changes }
    })
}

fn command() -> impl Strategy<Value = Command> {
    use Command as C;
    let n = any::<u8>;
    let hop = (gateway(), 0..2u8, 0..4u8).prop_map(|(gateway, flags, weight)| HopCommand {
        gateway,
        flags,
        weight,
        remote: None,
        private: 0,
    });
    prop_oneof![
        20 => add(),
        6 => update(),
        6 => (0..200u8, 0..200u8).prop_map(|(entity, route)| C::Delete { entity, route }),
        5 => (0..6u8, hop).prop_map(|(entity, hop)| C::AddNextHop { entity, hop }),
        2 => (0..6u8, n()).prop_map(|(entity, next_hop)| C::DeleteNextHop { entity, next_hop }),
        4 => (n(), any::<bool>()).prop_map(|(interface, up)| C::Link { interface, up }),
        1 => n().prop_map(|interface| C::LinkGone { interface }),
        3 => (n(), any::<bool>(), any::<bool>()).prop_map(|(interface, ipv6, there)| {
            C::Address { interface, family: Family::ALL[usize::from(ipv6)], there }
        }),
        1 => n().prop_map(|protocol| C::Reapply { protocol }),
        1 => (n(), n()).prop_map(|(protocol, level)| C::SetLevel { protocol, level }),
        1 => n().prop_map(|count| C::TakeEffects { count }),
        1 => any::<bool>().prop_map(|with_image| C::Restart { with_image }),
    ]
}

/// Six entities in two tables, and what they do; with ordered followers, who hear of everything.
pub(crate) fn commands() -> impl Strategy<Value = Vec<Command>> {
    let mut first: Vec<Command> = Vec::new();
    for (protocol, family) in (0..3).flat_map(|n| Family::ALL.map(|family| (n, family))) {
        let (shared, single_route, exclusive, cells) = (false, false, false, false);
        let terms = TermsCommand { shared, single_route, exclusive, cells, methods: 0, linger: 0 };
        let who = protocol * CLIENTS + protocol;
        first.push(Command::Register { who, family, instance: 0, terms });
        first.push(Command::Follow { who, family, views: 8, flags: 0x2_0002 });
    }
    vec(command(), 1..60).prop_map(move |rest| first.iter().cloned().chain(rest).collect())
}
