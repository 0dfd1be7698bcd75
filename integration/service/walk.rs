//! A random walk: clients that come, offer, take back and go, and links that do as they like.

use fastrand::Rng;
use rtmd::model::Family;

use crate::{
    scene::{DESTINATIONS, Scene, ip_at_once, offer, restore},
    support::{Client, details, eventually},
    world::ip,
};

/// What is on in the walk.
pub(crate) struct Walk<'s> {
    scene: &'s Scene,
    random: Rng,
    /// The number of each client's protocol, and its routes.
    clients: Vec<(u32, Client, Vec<u64>)>,
    next_protocol: u32,
}

impl<'s> Walk<'s> {
    /// A walk in which nothing has happened.
    pub(crate) fn new(scene: &'s Scene, seed: u64) -> Self {
        Self { scene, random: Rng::with_seed(seed), clients: Vec::new(), next_protocol: 20_000 }
    }

    /// One thing happens; the answer says what.
    pub(crate) async fn step(&mut self) -> String {
        let choice = self.random.usize(..100);
        match choice {
            0..60 if !self.clients.is_empty() => self.offer().await,
            60..72 if !self.clients.is_empty() => self.withdraw().await,
            72..76 if !self.clients.is_empty() => self.leave().await,
            88..96 => self.links(),
            96..100 => self.addresses(),
            _ if self.clients.len() < 8 => self.join().await,
            _ => self.leave().await,
        }
    }

    async fn join(&mut self) -> String {
        let family = Family::ALL[self.random.usize(..2)];
        let instance = self.random.u32(..2);
        self.next_protocol += 1;
        let protocol = self.next_protocol;
        let client = self.scene.client_in(instance, family, protocol).await;
        self.clients.push((protocol, client, Vec::new()));
        format!("client {protocol} joins instance {instance}, {family}")
    }

    async fn offer(&mut self) -> String {
        let at = self.random.usize(..self.clients.len());
        let ipv6 = self.clients[at].1.table.family().await.unwrap() == "ipv6";
        let destinations: Vec<&str> =
            DESTINATIONS.into_iter().filter(|to| to.contains(':') == ipv6).collect();
        let to = *self.random.choice(&destinations).unwrap();
        let what = *self.random.choice(KINDS[usize::from(ipv6)]).unwrap();
        // Behind the level of protocols without one of their own.
        let [preference, metric] = [160, 1].map(|least| least + self.random.u32(..4));
        let (protocol, client, ids) = &mut self.clients[at];
        // A link that is not there cannot be named.
        let links = ip("-br link show");
        if what
            .split("dev ")
            .skip(1)
            .any(|hop| !links.contains(hop.split([' ', ',']).next().unwrap()))
        {
            return "nothing".to_owned();
        }
        let route = offer(what, preference, metric);
        let (id, _) = match client.entity.add_route(to, &route, 0).await {
            // What there is to know of it was lost, and is on its way once more.
            Err(error) if error.to_string().contains("no such interface") => {
                self.scene.links_known().await;
                client.entity.add_route(to, &route, 0).await.unwrap()
            }
            answer => answer.unwrap(),
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
        format!("client {protocol} offers {to} {what} preference {preference} metric {metric}")
    }

    async fn withdraw(&mut self) -> String {
        let at = self.random.usize(..self.clients.len());
        let (protocol, client, ids) = &mut self.clients[at];
        let count = self.random.usize(..3).min(ids.len());
        let chosen: Vec<u64> = ids.drain(..count).collect();
        assert_eq!(client.entity.delete_routes(&chosen).await.unwrap(), []);
        format!("client {protocol} takes {count} back")
    }

    async fn leave(&mut self) -> String {
        let (protocol, client, _) = self.clients.remove(self.random.usize(..self.clients.len()));
        if self.random.usize(..2) == 0 {
            client.entity.deregister(&details([])).await.unwrap();
            return format!("client {protocol} deregisters");
        }
        client.connection.clone().close().await.unwrap();
        drop(client);
        eventually("the dead client is gone", async || {
            let mut there = false;
            for (instance, family) in [(0, "ipv4"), (0, "ipv6"), (1, "ipv4"), (1, "ipv6")] {
                let entities = self.scene.manager.get_registered_entities(instance, family).await;
                there |= entities.unwrap().iter().any(|entity| entity.protocol == protocol);
            }
            !there
        })
        .await;
        format!("client {protocol} dies")
    }

    fn links(&mut self) -> String {
        let link = self.random.choice(["west", "east", "north"]).unwrap();
        match self.random.usize(..4) {
            0 => {
                ip(&format!("link set {link} down"));
                format!("{link} down")
            }
            1 => {
                ip_at_once(&format!("link set {link} down\nlink set {link} up\n"));
                restore(link);
                format!("{link} flaps")
            }
            2 => {
                ip_at_once(
                    "link del north\nlink add north type veth peer name north-peer\nlink set north-peer up\naddr add 10.99.0.1/24 dev north\n\
                     link set north up\naddr add 2001:db8:c::1/64 dev north nodad\n",
                );
                "north is made again".to_owned()
            }
            _ => {
                restore(link);
                format!("{link} up")
            }
        }
    }

    fn addresses(&mut self) -> String {
        let (address, link) = [
            ("10.99.0.1/24", "north"),
            ("2001:db8:c::1/64", "north"),
            ("192.0.2.1/24", "west"),
            ("172.16.0.1/24", "west"),
        ][self.random.usize(..4)];
        if ip(&format!("addr show dev {link}")).contains(address) {
            ip(&format!("addr del {address} dev {link}"));
            format!("{address} leaves {link}")
        } else {
            ip(&format!("addr add {address} dev {link}"));
            format!("{address} comes to {link}")
        }
    }
}

/// What is offered in each family.
const KINDS: [&[&str]; 2] = [
    &[
        "via 192.0.2.254 dev west",
        "via 192.0.2.253 dev west",
        "via 198.51.100.254 dev east",
        "via 10.99.0.254 dev north",
        "dev north",
        "via 192.0.2.7 dev west weight 3, via 10.99.0.7 dev north weight 1",
        "via 192.0.2.7 dev west weight 1, dev east weight 9, via 10.99.0.6 dev north weight 256",
        "via 2001:db8:c::9 dev north",
        "via 172.16.0.9 dev west",
        "blackhole",
        "unreachable",
        "prohibit",
    ],
    &[
        "via 2001:db8:a::9 dev west",
        "via 2001:db8:b::9 dev east",
        "via 2001:db8:c::9 dev north",
        "dev north",
        "via 2001:db8:a::7 dev west weight 3, via 2001:db8:c::7 dev north weight 1",
        // An entity's next hop has one weight, and one of weight 1 would pass for a spare here.
        "via 2001:db8:b::7 dev east weight 256, via 2001:db8:c::6 dev north weight 17",
        "via fd99::9 dev west",
        "blackhole",
        "unreachable",
        "prohibit",
    ],
];
