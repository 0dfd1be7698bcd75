//! Following links and their addresses: subscribe first, dump second.
//!
//! What happens during the dump is told after it, so an event can be older than what the dump said; the
//! last event for a link or an address is always the newest. Whenever something was missed, be it events
//! (`ENOBUFS`) or a part of the dump, [`WatchEvent::Resync`] says to forget everything and a new dump
//! follows, after a pause that grows while that goes on. Only a closed socket is the end.
//!
//! What a reader would get wrong: the channel that netlink-proto tells events by has no bound. It is
//! emptied as soon as anything is in it, into one that has (`BACKLOG`); what does not fit there is
//! missed like what the kernel had no room for.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use netlink_sys::AsyncSocket;
use rtnetlink::MulticastGroup;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::socket::enlarge_receive_buffer;
use crate::model::{InterfaceIndex, KernelTable, Prefix, VrfPlace};

/// How many events wait for the listener.
const QUEUE: usize = 256;

/// How many events wait while the listener is slow or a dump is under way: 1 MB.
const BACKLOG: usize = 16 * 1024;

/// How long the kernel may take for the next part of a dump; longer, and it was lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before everything is told again, the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What that wait doubles up to, and how long nothing may be missed for it to be the first again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Something about the links of this network namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WatchEvent {
    /// A link came, changed or went.
    Link(LinkEvent),
    /// An address came or went.
    Address(AddressEvent),
    /// Everything there was at the start, or since [`Self::Resync`], has been told.
    DumpComplete,
    /// Something was missed: forget all links and addresses, they are told again.
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
        /// Whether it is a VRF or may be in one.
        vrf: VrfPlace,
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
    tasks: [JoinHandle<()>; 3],
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
        // Or the end of a dump and the end of the connection would look the same.
        connection.set_forward_done(true);
        let (sender, events) = mpsc::channel(QUEUE);
        let (listener, follower) = follow(handle, messages, sender, PATIENCE);
        let follower = async move {
            if let Err(error) = follower.run().await {
                tracing::error!(%error, "following links and addresses failed");
            }
        };
        let tasks = [tokio::spawn(connection), tokio::spawn(listener), tokio::spawn(follower)];
        Ok(Self { events, tasks })
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

/// What happens in the background: to listen, and to tell.
fn follow<Source>(
    handle: rtnetlink::Handle,
    messages: impl Stream<Item = (Message, Source)> + Unpin,
    events: mpsc::Sender<WatchEvent>,
    patience: Duration,
) -> (impl Future<Output = ()>, Follower) {
    let (sender, heard) = mpsc::channel(BACKLOG);
    let missed = Arc::new(AtomicBool::new(false));
    let listener = listen(messages, sender, missed.clone());
    (listener, Follower { handle, heard, missed, events, patience, pause: FIRST_PAUSE })
}

/// Takes events as soon as they come, and leaves them in the backlog while there is room.
async fn listen<Source>(
    mut messages: impl Stream<Item = (Message, Source)> + Unpin,
    backlog: mpsc::Sender<WatchEvent>,
    missed: Arc<AtomicBool>,
) {
    while let Some((message, _)) = messages.next().await {
        let event = match message.payload {
            NetlinkPayload::InnerMessage(message) => event(message),
            NetlinkPayload::Overrun(_) => Some(WatchEvent::Resync),
            _ => None,
        };
        match event.map(|event| backlog.try_send(event)) {
            None | Some(Ok(())) => {}
            // What is in the backlog wakes the follower, who looks at this first.
            Some(Err(TrySendError::Full(_))) => missed.store(true, Ordering::Release),
            Some(Err(TrySendError::Closed(_))) => return,
        }
    }
}

/// Tells what there is, then what happens.
struct Follower {
    handle: rtnetlink::Handle,
    /// The backlog; a [`WatchEvent::Resync`] in it says that the kernel had no room.
    heard: mpsc::Receiver<WatchEvent>,
    /// Whether the backlog had no room.
    missed: Arc<AtomicBool>,
    events: mpsc::Sender<WatchEvent>,
    patience: Duration,
    /// How long to wait the next time before telling everything again.
    pause: Duration,
}

/// Why there is nothing more to tell.
enum Stop {
    /// Something was missed, so everything has to be told again.
    Missed(io::Error),
    /// The socket is closed.
    Closed,
    /// Nobody listens any more.
    Unheard,
}

impl Follower {
    /// Runs until the listener is gone.
    async fn run(mut self) -> io::Result<()> {
        loop {
            let Err(stop) = self.tell_all().await;
            let stop = match stop {
                Stop::Missed(why) => {
                    tracing::warn!(%why, pause = ?self.pause, "reading links and addresses again");
                    sleep(self.pause).await;
                    self.pause = LONGEST_PAUSE.min(self.pause * 2);
                    self.tell(WatchEvent::Resync).await.err()
                }
                stop => Some(stop),
            };
            match stop {
                None | Some(Stop::Missed(_)) => {}
                Some(Stop::Closed) => return Err(io::Error::other("the netlink connection ended")),
                Some(Stop::Unheard) => return Ok(()),
            }
        }
    }

    /// Tells what there is, and from then on what happens.
    async fn tell_all(&mut self) -> Result<Infallible, Stop> {
        // What was heard or missed until now shows in the dumps.
        while self.heard.try_recv().is_ok() {}
        self.missed.store(false, Ordering::Release);
        self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).await?;
        self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default())).await?;
        self.tell(WatchEvent::DumpComplete).await?;

        let since = Instant::now();
        loop {
            let event = self.heard.recv().await.ok_or(Stop::Closed)?;
            if event == WatchEvent::Resync || self.missed.load(Ordering::Acquire) {
                if since.elapsed() > LONGEST_PAUSE {
                    self.pause = FIRST_PAUSE;
                }
                return Err(missed("events were lost"));
            }
            self.tell(event).await?;
        }
    }

    /// Tells what there is of one kind.
    async fn dump(&mut self, request: RouteNetlinkMessage) -> Result<(), Stop> {
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut answers = self.handle.request(request).map_err(|_| Stop::Closed)?;
        let mut interrupted = false;
        loop {
            let answer = timeout(self.patience, answers.next()).await;
            let answer = answer.map_err(|_| missed("no answer from the kernel"))?;
            let answer = answer.ok_or(Stop::Closed)?;
            interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => {
                    if let Some(event) = event(message) {
                        self.tell(event).await?;
                    }
                }
                NetlinkPayload::Done(_) if interrupted => {
                    return Err(missed("they changed while they were read"));
                }
                NetlinkPayload::Done(done) if done.code != 0 => {
                    return Err(Stop::Missed(io::Error::from_raw_os_error(
                        done.code.saturating_neg(),
                    )));
                }
                NetlinkPayload::Done(_) => return Ok(()),
                // Busy, above all: with a dump whose end was lost.
                NetlinkPayload::Error(error) => return Err(Stop::Missed(error.to_io())),
                _ => {}
            }
        }
    }

    async fn tell(&self, event: WatchEvent) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Unheard)
    }
}

fn missed(why: &'static str) -> Stop {
    Stop::Missed(io::Error::other(why))
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
    let mut name = None;
    let mut vrf = VrfPlace::default();
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(it) => name = Some(it),
            // 0 is said of a link that has just been released.
            LinkAttribute::Controller(master) if master != 0 => {
                vrf.master = Some(InterfaceIndex(master));
            }
            LinkAttribute::LinkInfo(about) => vrf.is_vrf = about.iter().find_map(vrf_table),
            _ => {}
        }
    }
    Some(LinkEvent::Set {
        index: InterfaceIndex(link.header.index),
        name: name?,
        state: if up { LinkState::Up } else { LinkState::Down },
        vrf,
    })
}

fn vrf_table(about: &LinkInfo) -> Option<KernelTable> {
    let LinkInfo::Data(InfoData::Vrf(attributes)) = about else { return None };
    attributes.iter().find_map(|attribute| match attribute {
        InfoVrf::TableId(table) => Some(KernelTable(*table)),
        _ => None,
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

    /// A follower in this runtime that waits 20 ms for the kernel.
    fn follower() -> (impl Future, Follower, mpsc::Receiver<WatchEvent>) {
        let (mut connection, handle, messages) = rtnetlink::new_connection().unwrap();
        connection.set_forward_done(true);
        let (sender, events) = mpsc::channel(QUEUE);
        let (_, follower) = follow(handle, messages, sender, Duration::from_millis(20));
        (connection, follower, events)
    }

    #[tokio::test]
    async fn a_dump_without_an_answer_is_asked_for_again_until_there_is_one() {
        let (connection, mut follower, mut events) = follower();
        let (_backlog, heard) = mpsc::channel(1); // a socket that stays open
        follower.heard = heard;
        let _follower = tokio::spawn(follower.run());
        for _ in 0..2 {
            assert_eq!(events.recv().await, Some(WatchEvent::Resync));
        }
        let connection = tokio::spawn(async move {
            connection.await;
        });
        while events.recv().await.unwrap() != WatchEvent::DumpComplete {}
        connection.abort();
    }

    #[tokio::test]
    async fn a_closed_socket_ends_it() {
        let (connection, follower, mut events) = follower();
        drop(connection);
        assert!(follower.run().await.is_err());
        assert_eq!(events.recv().await, None, "nothing is complete");
    }

    #[tokio::test]
    async fn a_backlog_without_room_is_told_as_events_that_were_missed() {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName("a".to_owned()));
        let message = || (Message::from(RouteNetlinkMessage::NewLink(link.clone())), ());
        let messages = futures_util::stream::iter([message(), message()]);
        let (backlog, mut heard) = mpsc::channel(1);
        let missed = Arc::new(AtomicBool::new(false));
        listen(messages, backlog, missed.clone()).await;
        assert!(matches!(heard.recv().await, Some(WatchEvent::Link(_))));
        assert!(missed.load(Ordering::Acquire));
    }
}
