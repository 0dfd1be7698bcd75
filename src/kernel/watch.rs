//! Following links and their addresses: subscribe first, dump second.
//!
//! What happens during the dump is told after it, so an event can be older than what the dump said; the
//! last event for a link or an address is always the newest. After an overrun (`ENOBUFS`) events are
//! missing: [`WatchEvent::Resync`] says to forget everything, and a new dump follows.

use std::{io, net::IpAddr, time::Duration};

use futures_util::StreamExt;
use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use netlink_sys::AsyncSocket;
use rtnetlink::MulticastGroup;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::socket::enlarge_receive_buffer;
use crate::model::{InterfaceIndex, Prefix};

/// How many events wait for the listener.
const QUEUE: usize = 256;

/// How long the kernel may take for a dump of links or addresses.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something about the links of this network namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WatchEvent {
    /// A link came, changed or went.
    Link(LinkEvent),
    /// An address came or went.
    Address(AddressEvent),
    /// Everything there was at the start, or since [`Self::Resync`], has been told.
    DumpComplete,
    /// Events were lost: forget all links and addresses, they are told again.
    Resync,
}

/// A change of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkEvent {
    /// The link is there, and like this.
    Set {
        /// Its number.
        index: InterfaceIndex,
        /// Its name, which can change.
        name: String,
        /// Whether it carries packets.
        state: LinkState,
    },
    /// The link is not there any more, and its addresses neither: of those there may be no event.
    Gone {
        /// Its number, which can be used again.
        index: InterfaceIndex,
    },
}

/// Whether a link carries packets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LinkState {
    /// Switched on and with a carrier (`IFF_UP` and `IFF_LOWER_UP`, see netdevice(7)).
    Up,
    /// One of the two is missing.
    Down,
}

/// A change of an address. It is known by all three fields: two addresses of a link can share a prefix.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AddressEvent {
    /// The address is there; told again when its lifetime changes.
    Added {
        /// The link it is on.
        index: InterfaceIndex,
        /// The address itself.
        address: IpAddr,
        /// The network on the link that comes with it; of a point-to-point link the other end's.
        prefix: Prefix,
    },
    /// The address is not there any more.
    Removed {
        /// The link it was on.
        index: InterfaceIndex,
        /// The address itself.
        address: IpAddr,
        /// The network that came with it, and goes unless another address has it too.
        prefix: Prefix,
    },
}

/// A stream of events; ends it when dropped.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<WatchEvent>,
    tasks: [JoinHandle<()>; 2],
}

impl Watch {
    /// Starts to follow the links in this thread's network namespace, in this thread's runtime.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn start() -> io::Result<Self> {
        let (mut connection, handle, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ])?;
        enlarge_receive_buffer(connection.socket_mut().socket_mut());
        let (sender, events) = mpsc::channel(QUEUE);
        let connection = tokio::spawn(connection);
        let follower = tokio::spawn(async move {
            let follower = Follower { handle, messages, events: sender };
            if let Err(error) = follower.run().await {
                tracing::error!(%error, "following links and addresses failed");
            }
        });
        Ok(Self { events, tasks: [connection, follower] })
    }

    /// The next event; `None` when the socket failed, which has been logged. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        self.events.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// What happens in the background.
struct Follower<Messages> {
    handle: rtnetlink::Handle,
    messages: Messages,
    events: mpsc::Sender<WatchEvent>,
}

impl<Messages, Source> Follower<Messages>
where
    Messages: futures_util::Stream<Item = (Message, Source)> + Unpin,
{
    /// Runs until the listener is gone.
    async fn run(mut self) -> io::Result<()> {
        loop {
            for request in [
                RouteNetlinkMessage::GetLink(LinkMessage::default()),
                RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            ] {
                while self.dump(request.clone()).await? == Walk::Interrupted {}
            }
            if self.tell(WatchEvent::DumpComplete).await == Listener::Gone {
                return Ok(());
            }
            loop {
                let Some((message, _)) = self.messages.next().await else {
                    return Err(io::Error::other("the netlink connection ended"));
                };
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => {
                        let Some(event) = event(message) else { continue };
                        if self.tell(event).await == Listener::Gone {
                            return Ok(());
                        }
                    }
                    NetlinkPayload::Overrun(_) => break,
                    _ => {}
                }
            }
            tracing::warn!("events of links or addresses were lost, reading them again");
            if self.tell(WatchEvent::Resync).await == Listener::Gone {
                return Ok(());
            }
        }
    }

    /// Tells what there is of one kind.
    async fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Walk> {
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(io::Error::other)?;
        let mut walk = Walk::Complete;
        loop {
            let answer = timeout(PATIENCE, answers.next()).await?;
            let Some(answer) = answer else { return Ok(walk) };
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                walk = Walk::Interrupted;
            }
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => {
                    if let Some(event) = event(message) {
                        // That nobody listens is noticed at the end.
                        let _ = self.tell(event).await;
                    }
                }
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
    }

    async fn tell(&self, event: WatchEvent) -> Listener {
        match self.events.send(event).await {
            Ok(()) => Listener::There,
            Err(_) => Listener::Gone,
        }
    }
}

#[derive(Eq, PartialEq)]
enum Listener {
    There,
    Gone,
}

#[derive(Eq, PartialEq)]
enum Walk {
    Complete,
    Interrupted,
}

/// A message in our words, if it is about a link or an address.
fn event(message: RouteNetlinkMessage) -> Option<WatchEvent> {
    match message {
        RouteNetlinkMessage::NewLink(link) => link_set(link).map(WatchEvent::Link),
        // A bridge that loses a port says so with the same message and its own family.
        RouteNetlinkMessage::DelLink(link)
            if link.header.interface_family == AddressFamily::Unspec =>
        {
            Some(WatchEvent::Link(LinkEvent::Gone { index: InterfaceIndex(link.header.index) }))
        }
        RouteNetlinkMessage::NewAddress(message) => {
            let (index, address, prefix) = address(&message)?;
            Some(WatchEvent::Address(AddressEvent::Added { index, address, prefix }))
        }
        RouteNetlinkMessage::DelAddress(message) => {
            let (index, address, prefix) = address(&message)?;
            Some(WatchEvent::Address(AddressEvent::Removed { index, address, prefix }))
        }
        _ => None,
    }
}

fn link_set(link: LinkMessage) -> Option<LinkEvent> {
    if link.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let up = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let name = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })?;
    Some(LinkEvent::Set {
        index: InterfaceIndex(link.header.index),
        name,
        state: if up { LinkState::Up } else { LinkState::Down },
    })
}

/// The link, the address, and the network on the link.
///
/// `IFA_ADDRESS` is the other end's where there is one, and otherwise the same as `IFA_LOCAL`, which
/// IPv6 then leaves out.
fn address(message: &AddressMessage) -> Option<(InterfaceIndex, IpAddr, Prefix)> {
    let mut far = None;
    let mut local = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => far = Some(*address),
            AddressAttribute::Local(address) => local = Some(*address),
            _ => {}
        }
    }
    let network = IpNet::new(far.or(local)?, message.header.prefix_len).ok()?.trunc();
    let prefix = Prefix::new(network.addr(), network.prefix_len()).ok()?;
    Some((InterfaceIndex(message.header.index), local.or(far)?, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(local: Option<&str>, far: &str, length: u8) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.prefix_len = length;
        message.header.index = 3;
        message.attributes.push(AddressAttribute::Address(far.parse().unwrap()));
        if let Some(local) = local {
            message.attributes.push(AddressAttribute::Local(local.parse().unwrap()));
        }
        message
    }

    fn text(message: &AddressMessage) -> String {
        let (index, address, prefix) = address(message).unwrap();
        format!("{address} brings {prefix} on {index}")
    }

    #[test]
    fn an_address_brings_its_network() {
        let ipv4 = message(Some("192.0.2.1"), "192.0.2.1", 24);
        assert_eq!(text(&ipv4), "192.0.2.1 brings 192.0.2.0/24 on 3");
        let ipv6 = message(None, "2001:db8::1", 64);
        assert_eq!(text(&ipv6), "2001:db8::1 brings 2001:db8::/64 on 3");
    }

    #[test]
    fn an_address_with_another_end_brings_that_one() {
        let ipv4 = message(Some("192.0.2.1"), "198.51.100.7", 32);
        assert_eq!(text(&ipv4), "192.0.2.1 brings 198.51.100.7/32 on 3");
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut link = LinkMessage::default();
        link.header.index = 3;
        let index = InterfaceIndex(3);
        assert_eq!(
            event(RouteNetlinkMessage::DelLink(link.clone())),
            Some(WatchEvent::Link(LinkEvent::Gone { index }))
        );
        link.header.interface_family = AddressFamily::Bridge;
        assert_eq!(event(RouteNetlinkMessage::DelLink(link)), None);
    }
}
