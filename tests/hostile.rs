//! Calls that nobody in their right mind makes: the service refuses them in time and lives on.
//!
//! What to call is read from introspection, so a new method is attacked without being named here.
//! The attacker has a registration of its own, for otherwise every write would end at the question
//! of who calls; the tables of everybody else must come out as they went in.

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use rtmd::{client::EntityProxy, model::Family};
use support::{Client, NO_FIB, PrivateBus, details, eventually, own_state, picture};
use zbus::{
    Connection, Variant,
    wire::{Array, Dict, ObjectPath, Signature, Structure, StructureBuilder},
};

/// Any number will do. This one finds the same each time; `RTMD_HOSTILE_SEED` says another, to have
/// a failure again that was found with the time as the seed.
const SEED: u64 = 0x5EED;
/// How often each method is called with each seed.
const ROUNDS: usize = 3;
/// How often each method whose dictionary is tried besides is called with each seed.
const DICTIONARY_ROUNDS: usize = 100;
/// How long one call may take, in a debug build with other tests beside it.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: usize = 1 << 20;
const MOST: usize = 50_000;
/// What the arguments of one call weigh at most: 50 000 routes.
const BUDGET: usize = 600_000;
const STATIC: u32 = 10006;
const OSPF: u32 = 13;

#[tokio::test]
async fn no_call_however_wrong_hangs_the_service_or_changes_what_it_may_not() {
    attack(SEED).await;
}

#[tokio::test]
async fn nor_does_any_other_that_chance_finds() {
    let asked = std::env::var("RTMD_HOSTILE_SEED").ok();
    let asked = asked.map(|seed| seed.parse().expect("RTMD_HOSTILE_SEED is no number"));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    attack(asked.unwrap_or_else(now)).await;
}

async fn attack(seed: u64) {
    let bus = PrivateBus::start();
    // Room for looking at what the attacker has.
    let other = "[[instance]]\nid = 1\nfib = false\n";
    let limits = "[limits]\nenumerations-per-client = 1000\n";
    let _service = bus.serve(&format!("{NO_FIB}{other}{limits}"));
    let bystander = Client::register(&bus, Family::Ipv4, STATIC).await;
    for n in 0..20 {
        bystander.add(&format!("10.{n}.0.0/16"), "127.0.0.2").await.unwrap();
    }
    let before = picture(&bus).await;

    let mut attacker = Attacker::new(&bus, seed).await;
    let methods = attacker.methods().await;
    assert!(methods.len() > 60, "introspection tells too little: {methods:?}");
    let mut refused = 0;
    for round in 0..ROUNDS {
        for method in &methods {
            refused += usize::from(attacker.call(method, round).await);
        }
        bystander.table.get_routes("10.0.0.0/16").await.expect("the others are served");
    }
    let calls = ROUNDS * methods.len();
    assert!((calls / 3..calls).contains(&refused), "{refused} of {calls} calls were refused");

    for (name, keys) in DICTIONARIES {
        let is_it = |it: &&Method| it.name == name && it.on != Object::ForeignEntity;
        let method = methods.iter().find(is_it).expect(name);
        let mut refused = 0;
        for round in 0..DICTIONARY_ROUNDS {
            refused += usize::from(attacker.call_with_keys(method, keys, round).await);
        }
        println!("{refused} of {DICTIONARY_ROUNDS} calls of {name} were refused");
        assert!((1..DICTIONARY_ROUNDS).contains(&refused), "{refused} of {name} were refused");
    }

    attacker.connection.graceful_shutdown().await;
    eventually("the attacker's registrations go", async || {
        let v4 = bystander.manager.get_registered_entities(0, "ipv4").await.unwrap().len();
        let v6 = bystander.manager.get_registered_entities(0, "ipv6").await.unwrap().len();
        (v4, v6) == (1, 0)
    })
    .await;
    assert_eq!(picture(&bus).await, before);
}

struct Attacker {
    connection: Connection,
    seed: u64,
    random: Random,
    /// Its own objects by kind, made again when one of its calls has ended them.
    own: BTreeMap<Object, String>,
    /// What its entity had after the last call.
    state: Vec<String>,
    /// Registrations get new protocol numbers, so that ending the last one need not be awaited.
    registrations: u32,
}

/// A method that introspection told of.
#[derive(Debug)]
struct Method {
    on: Object,
    interface: String,
    name: String,
    arguments: Vec<String>,
}

/// In this order, because a route list is its entity's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Object {
    Manager,
    Table,
    OwnEntity,
    ForeignEntity,
    Destinations,
    Routes,
    NextHops,
    Notification,
    RouteList,
}

impl Object {
    const OWN: [Self; 6] = [
        Self::OwnEntity,
        Self::Destinations,
        Self::Routes,
        Self::NextHops,
        Self::Notification,
        Self::RouteList,
    ];
}

impl Attacker {
    async fn new(bus: &PrivateBus, seed: u64) -> Self {
        let mut attacker = Self {
            connection: bus.connect().await,
            seed,
            random: Random { state: seed, budget: 0 },
            own: BTreeMap::new(),
            state: Vec::new(),
            registrations: OSPF,
        };
        attacker.make_objects().await;
        attacker.state = attacker.look().await;
        attacker
    }

    async fn make_objects(&mut self) {
        let manager = rtmd::client::manager(&self.connection).await.unwrap();
        let table = rtmd::client::table(&manager, 0, Family::Ipv6).await.unwrap();
        for object in Object::OWN {
            // Every path answers a ping, there or not.
            let interface = "org.freedesktop.DBus.Introspectable";
            if let Some(path) = self.own.get(&object)
                && !self.send(path, interface, "Introspect", None).await
            {
                continue;
            }
            let path = match object {
                Object::OwnEntity => {
                    self.registrations += 1;
                    let (protocol, options) =
                        (self.registrations, details([("reserve-opaque", true.into())]));
                    let registered = manager.register_entity(0, "ipv6", protocol, 1, &options);
                    registered.await.map(|(path, _)| path)
                }
                Object::Destinations => table.create_destination_enumeration(0, 0, "", 0).await,
                Object::Routes => table.create_route_enumeration(0, 0, "", 0, &details([])).await,
                Object::NextHops => table.create_next_hop_enumeration(0, "").await,
                Object::Notification => table.register_for_change_notification(0, 1, 7).await,
                Object::RouteList => {
                    let entity = self.own[&Object::OwnEntity].clone();
                    let entity = EntityProxy::builder(&self.connection).path(entity);
                    entity.build().await.unwrap().create_route_list().await
                }
                other => panic!("{other:?} is not the attacker's own"),
            };
            self.own.insert(object, path.unwrap().to_string());
        }
    }

    fn path(&self, object: Object) -> &str {
        match object {
            Object::Manager => "/org/rtmd1",
            Object::Table => "/org/rtmd1/table/0/ipv6",
            Object::ForeignEntity => "/org/rtmd1/entity/1",
            own => &self.own[&own],
        }
    }

    async fn methods(&self) -> Vec<Method> {
        let mut methods = Vec::new();
        let others = [Object::Manager, Object::Table, Object::ForeignEntity];
        for on in others.into_iter().chain(Object::OWN) {
            let reply = self.connection.call_method(
                Some("org.rtmd1"),
                self.path(on),
                Some("org.freedesktop.DBus.Introspectable"),
                "Introspect",
                &(),
            );
            let xml: String = reply.await.unwrap().body().deserialize().unwrap();
            read_methods(on, &xml, &mut methods);
        }
        methods
    }

    /// Calls a method with something; whether it was refused.
    async fn call(&mut self, method: &Method, round: usize) -> bool {
        self.random.budget = BUDGET;
        let mut arguments: Vec<Variant<'static>> = match self.random.below(4) {
            // Half of the calls have the right types and get past the first check.
            0 | 1 => {
                let types = method.arguments.iter();
                types.map(|of| self.random.value(&of.as_str().try_into().unwrap(), 0)).collect()
            }
            2 => (0..self.random.below(5)).map(|_| self.random.anything(0)).collect(),
            _ => {
                let mut right: Vec<_> = method.arguments.iter().map(String::as_str).collect();
                right.extend(["a{sv}", "ay"]);
                right.rotate_left(1);
                right.iter().map(|of| self.random.value(&(*of).try_into().unwrap(), 0)).collect()
            }
        };
        // Its user is the service's, which makes it an administrator: it may add routes to any table.
        if ["AddStaticRoute", "MakeStatic"].contains(&method.name.as_str())
            && let Some(instance @ Variant::U32(0)) = arguments.first_mut()
        {
            *instance = Variant::U32(1);
        }
        self.invoke(method, arguments, round).await
    }

    /// Calls a method that takes a dictionary with keys that it has, and values of their types: what
    /// is wrong with it is not seen at first sight.
    async fn call_with_keys(&mut self, method: &Method, keys: &[&str], round: usize) -> bool {
        self.random.budget = BUDGET;
        let mut arguments = Vec::new();
        for (place, of) in method.arguments.iter().enumerate() {
            arguments.push(match (of.as_str(), place) {
                ("a{sv}", _) => self.random.known_keys(keys),
                // The instance that nobody else uses.
                ("u", 0) => Variant::U32(1),
                ("t", 0) => Variant::U64(self.route().await),
                ("s", _) if method.name == "RegisterEntity" => Variant::from("ipv6"),
                ("s", _) => {
                    Variant::from(format!("2001:db8:{:x}::/48", self.random.below(0x1_0000)))
                }
                (of, _) => self.random.value(&of.try_into().unwrap(), 1),
            });
        }
        self.invoke(method, arguments, round).await
    }

    /// A route of its own.
    async fn route(&mut self) -> u64 {
        let entity = EntityProxy::builder(&self.connection).path(self.path(Object::OwnEntity));
        let entity = entity.build().await.unwrap();
        let (id, _) = entity.add_route("2001:db8::/32", &details([]), 0).await.unwrap();
        self.state = self.look().await;
        id
    }

    /// Whether the call was refused.
    async fn invoke(
        &mut self,
        method: &Method,
        arguments: Vec<Variant<'static>>,
        round: usize,
    ) -> bool {
        let builder = arguments
            .into_iter()
            .fold(StructureBuilder::new(), |body, argument| body.append_field(argument));
        let body = builder.build().ok();
        // Now and then at an object that is not there.
        let path = match self.random.below(16) {
            0 => self.random.path(),
            _ => self.path(method.on).to_owned(),
        };
        let call = self.send(&path, &method.interface, &method.name, body.as_ref());
        let Ok(refused) = tokio::time::timeout(PATIENCE, call).await else {
            let shown: String = format!("{body:?}").chars().take(500).collect();
            panic!("no answer to {method:?} in round {round} of seed {}: {shown}", self.seed);
        };
        let ends = ["Deregister", "Close", "Delete"].contains(&method.name.as_str());
        if ends && !refused {
            self.make_objects().await;
        }
        let now = self.look().await;
        let before = std::mem::replace(&mut self.state, now);
        if refused {
            let shown: String = format!("{body:?}").chars().take(500).collect();
            assert_eq!(self.state, before, "{method:?} of seed {} was refused: {shown}", self.seed);
        }
        refused
    }

    async fn look(&self) -> Vec<String> {
        let manager = rtmd::client::manager(&self.connection).await.unwrap();
        let table = rtmd::client::table(&manager, 0, Family::Ipv6).await.unwrap();
        let entity = EntityProxy::builder(&self.connection).path(self.path(Object::OwnEntity));
        own_state(&entity.build().await.unwrap(), &table).await
    }

    /// Whether there is an answer and it is an error.
    async fn send(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: Option<&Structure<'_>>,
    ) -> bool {
        let (to, interface) = (Some("org.rtmd1"), Some(interface));
        let answer = match body {
            Some(body) => self.connection.call_method(to, path, interface, method, body).boxed(),
            None => self.connection.call_method(to, path, interface, method, &()).boxed(),
        };
        match answer.await {
            Ok(_) => false,
            Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => true,
            Err(error) => panic!("{interface:?}.{method} at {path} was not answered: {error}"),
        }
    }
}

/// Takes the methods from the one form that the service writes: an element a line.
fn read_methods(on: Object, xml: &str, methods: &mut Vec<Method>) {
    let attribute = |line: &str, name: &str| {
        let rest = line.split_once(&format!(" {name}=\""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let mut interface = String::new();
    // What is told of the objects below this one comes last.
    let own = |line: &&str| !line.starts_with("<node name=");
    for line in xml.lines().map(str::trim).take_while(own) {
        if line.starts_with("<interface ") {
            interface = attribute(line, "name").unwrap();
        } else if line.starts_with("<method ") {
            let name = attribute(line, "name").unwrap();
            let arguments = Vec::new();
            methods.push(Method { on, interface: interface.clone(), name, arguments });
        } else if line.starts_with("<arg ") && line.contains("direction=\"in\"") {
            let method = methods.last_mut().unwrap();
            method.arguments.push(attribute(line, "type").unwrap());
        }
    }
}

/// Numbers that look random (SplitMix64), and values made of them.
struct Random {
    state: u64,
    /// What the arguments of this call may still weigh, in bytes and elements.
    budget: usize,
}

impl Random {
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn small(&mut self) -> u64 {
        let random = self.number();
        self.one_of(&[0, 1, 2, 8, 0xFFFF, 0x0100_0000, u64::from(u32::MAX), u64::MAX, random])
    }

    fn text(&mut self, depth: usize) -> String {
        let long = self.below(if depth == 0 { 4 } else { 10_000 }) == 0;
        match self.below(8) {
            _ if long => self.one_of(&["x", "1:", "/"]).repeat(LONGEST / 2),
            2 => char::from_u32(1 + u32::try_from(self.below(31)).unwrap()).unwrap().to_string(),
            3 => "\u{10FFFD}".repeat(self.below(20)),
            4 => format!("2001:db8:{:x}::/48", self.below(0x1_0000)),
            5 => format!("10.{}.0.0/{}", self.below(300), self.below(40)),
            _ => self.one_of(&WORDS).to_owned(),
        }
    }

    fn path(&mut self) -> String {
        match self.below(3) {
            0 => format!("/org/rtmd1/entity/{}", self.number()),
            1 => format!("/org/rtmd1{}", "/table".repeat(1 + self.below(500))),
            _ => self.one_of(&["/", "/org", "/org/rtmd1/enumeration/0", "/_"]).to_owned(),
        }
    }

    /// How many elements: mostly few, because many in each place would be too many in all.
    fn count(&mut self, depth: usize) -> usize {
        match (depth, self.below(4)) {
            (0, 0) => MOST,
            (1, 0) => self.below(2000),
            (0 | 1, _) => self.below(20),
            _ => self.below(3),
        }
    }

    /// A value of this type.
    fn value(&mut self, of: &Signature, depth: usize) -> Variant<'static> {
        self.budget = self.budget.saturating_sub(1);
        match of {
            Signature::U8 => Variant::U8(self.number().to_le_bytes()[0]),
            Signature::Bool => Variant::Bool(self.below(2) == 0),
            Signature::U32 => Variant::U32(u32::try_from(self.small()).unwrap_or(u32::MAX - 1)),
            Signature::U64 => Variant::U64(self.small()),
            Signature::I32 => Variant::I32(-1),
            Signature::F64 => Variant::F64(self.one_of(&[f64::NAN, f64::INFINITY, 0.5])),
            Signature::Str => {
                let text = self.text(depth);
                self.budget = self.budget.saturating_sub(text.len() / 16);
                Variant::from(text)
            }
            Signature::Signature => Variant::Signature(Signature::Str),
            Signature::ObjectPath => {
                Variant::ObjectPath(ObjectPath::try_from(self.path()).unwrap())
            }
            Signature::Variant => Variant::Variant(Box::new(self.anything(depth + 1))),
            Signature::Array(of) => {
                let mut array = Array::new(of.signature());
                for _ in 0..self.count(depth) {
                    if self.budget == 0 {
                        break;
                    }
                    array.append(self.value(of.signature(), depth + 1)).unwrap();
                }
                Variant::Array(array)
            }
            Signature::Dict { key, value } => self.dictionary(key, value, depth),
            Signature::Structure(fields) => {
                let fields = fields.iter().map(|of| self.value(of, depth + 1));
                let builder = fields.fold(StructureBuilder::new(), StructureBuilder::append_field);
                Variant::Structure(builder.build().unwrap())
            }
            other => panic!("the API has no {other}"),
        }
    }

    fn dictionary(&mut self, key: &Signature, value: &Signature, depth: usize) -> Variant<'static> {
        let mut dict = Dict::new(key, value);
        for n in 0..self.count(depth) {
            if self.budget == 0 {
                break;
            }
            let (known, of) = self.one_of(&KEYS);
            let (key, is_known) = match self.below(2) {
                0 if *key == Signature::Str => (Variant::from(known), *value == Signature::Variant),
                _ if *key == Signature::Str => (Variant::from(format!("{n}")), false),
                _ => (self.value(key, depth + 1), false),
            };
            let value = match self.below(2) {
                0 if is_known => self.of_key(known, of, depth + 1),
                _ => self.value(value, depth + 1),
            };
            dict.append(key, value).unwrap();
        }
        Variant::Dict(dict)
    }

    /// A value that is of the key's type.
    fn of_key(&mut self, key: &str, of: &str, depth: usize) -> Variant<'static> {
        let value = match key {
            // Not so short that it is over before the attacker looks.
            "ttl" => Variant::U32(self.one_of(&[0xFFFF, 0x0100_0000, u32::MAX - 1, u32::MAX])),
            _ => self.value(&of.try_into().unwrap(), depth),
        };
        Variant::Variant(Box::new(value))
    }

    /// Up to three of these keys, each with a value of its type.
    fn known_keys(&mut self, keys: &[&str]) -> Variant<'static> {
        let mut dict = Dict::new(&Signature::Str, &Signature::Variant);
        for _ in 0..self.below(4) {
            let key = self.one_of(keys);
            let types: Vec<_> = KEYS.iter().filter(|(name, _)| *name == key).collect();
            let (key, of) = *self.one_of(&types);
            let value = self.of_key(key, of, 2);
            dict.append(Variant::from(key), value).unwrap();
        }
        Variant::Dict(dict)
    }

    /// A value of some type.
    fn anything(&mut self, depth: usize) -> Variant<'static> {
        let of = match depth {
            // As deep as the wire allows is 64, of which the arguments around this take some.
            0..2 => self.one_of(&TYPES),
            2..20 => self.one_of(&["v", "v", "v", "(sv)", "u"]),
            _ => "s",
        };
        self.value(&of.try_into().unwrap(), depth)
    }
}

const TYPES: [&str; 16] = [
    "y", "b", "i", "u", "t", "d", "s", "g", "o", "v", "ay", "at", "as", "a{sv}", "a(su)", "a(suu)",
];

const WORDS: [&str; 18] = [
    "",
    "/",
    "ipv4",
    "ipv6",
    "2001:db8::/32",
    "::/0",
    "::1",
    "2001:db8::1/32",
    "10.0.0.0/8",
    "127.0.0.2",
    "2001:db8::9",
    "fe80::1",
    "ff02::1",
    "lo",
    "fe80::1%lo",
    "%s%n",
    "org.rtmd1.Entity",
    "Routes",
];

/// The keys of all dictionaries, and their types. Not "shared": a registration of the user's is meant
/// to outlive the attacker.
const KEYS: [(&str, &str); 32] = [
    ("via", "a(su)"),
    ("via", "a(suu)"),
    ("next-hops", "at"),
    ("metric", "u"),
    ("preference", "u"),
    ("views", "u"),
    ("flags", "u"),
    ("ttl", "u"),
    ("neighbour", "t"),
    ("label", "s"),
    ("linger", "u"),
    ("weight", "u"),
    ("owner", "t"),
    ("destination", "s"),
    ("interface", "u"),
    ("interfaces", "as"),
    ("private", "ay"),
    ("list", "o"),
    ("generation", "t"),
    ("remote-destination", "s"),
    ("callback", "o"),
    ("methods", "u"),
    ("reserve-opaque", "b"),
    ("single-route", "b"),
    ("exclusive", "b"),
    ("fib-results", "b"),
    ("keep", "b"),
    ("protocol", "u"),
    ("colour", "s"),
    ("", "s"),
    ("Via", "a(su)"),
    ("via ", "a(su)"),
];

/// The methods whose dictionaries are tried besides, each with the keys that it takes.
const DICTIONARIES: [(&str, &[&str]); 4] = [
    (
        "AddRoute",
        &["via", "metric", "preference", "views", "flags", "ttl", "neighbour", "private", "list"],
    ),
    (
        "UpdateRoute",
        &["via", "metric", "preference", "views", "ttl", "neighbour", "private", "generation"],
    ),
    (
        "RegisterEntity",
        &[
            "label",
            "callback",
            "methods",
            "reserve-opaque",
            "single-route",
            "exclusive",
            "fib-results",
        ],
    ),
    (
        "AddStaticRoute",
        &["via", "interfaces", "metric", "preference", "views", "flags", "protocol"],
    ),
];
