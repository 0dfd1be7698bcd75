//! What can be asked of the RIB. Small numbers pick from what is there, so that most makes sense.

use rtmd::model::Family;

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Register {
        who: u8,
        family: Family,
        instance: u8,
        terms: TermsCommand,
    },
    Deregister {
        entity: u8,
    },
    Linger {
        entity: u8,
    },
    Sweep {
        entity: u8,
        count: u8,
    },
    ClientGone {
        who: u8,
    },
    Withdraw {
        which: u8,
        count: u8,
    },
    AddNextHop {
        entity: u8,
        hop: HopCommand,
    },
    DeleteNextHop {
        entity: u8,
        next_hop: u8,
    },
    Add {
        entity: u8,
        offer: OfferCommand,
    },
    Update {
        entity: u8,
        route: u8,
        changes: UpdateCommand,
    },
    Delete {
        entity: u8,
        route: u8,
    },
    /// What comes is about the one instance or the other.
    Turn {
        second: bool,
    },
    /// A link that was gone is there again, without addresses.
    Link {
        interface: u8,
        up: bool,
    },
    LinkGone {
        interface: u8,
    },
    /// A link gets its address of a family, or loses it.
    Address {
        interface: u8,
        family: Family,
        there: bool,
    },
    /// Time passes, and so many deadlines are carried out.
    Pass {
        milliseconds: u8,
        count: u8,
    },
    Ask,
    Answer {
        question: u8,
        keep: bool,
    },
    Hold {
        entity: u8,
        prefix: u8,
        views: u8,
        milliseconds: u8,
    },
    Follow {
        who: u8,
        family: Family,
        views: u8,
        flags: u32,
    },
    Unfollow {
        which: u8,
    },
    WakeUps,
    Fetch {
        which: u8,
        count: u8,
    },
    FetchOrdered {
        which: u8,
        count: u8,
    },
    Ignore {
        which: u8,
        prefixes: Vec<u8>,
    },
    Mark {
        which: u8,
        prefix: u8,
        mark: bool,
    },
    CreateList {
        entity: u8,
    },
    Move {
        entity: u8,
        list: Option<u8>,
        routes: Vec<u8>,
    },
    NextListed {
        entity: u8,
        list: u8,
        count: u8,
    },
    Rewind {
        entity: u8,
        list: u8,
    },
    DeleteList {
        list: u8,
    },
    SetCell {
        entity: u8,
        prefix: u8,
        bytes: u8,
    },
    Walk {
        family: Family,
        walk: WalkCommand,
    },
    Next {
        walk: u8,
        count: u8,
    },
    WalkNextHops {
        who: u8,
        family: Family,
        walk: WalkCommand,
    },
    NextNextHops {
        walk: u8,
        count: u8,
    },
    LookUp {
        family: Family,
        prefix: u8,
        views: u8,
    },
    ExactMatch {
        family: Family,
        walk: WalkCommand,
    },
    DeleteSelected {
        entity: u8,
        walk: WalkCommand,
    },
    SetLevel {
        protocol: u8,
        level: u8,
    },
    Reapply {
        protocol: u8,
    },
    SetPushed {
        family: Family,
        pushed: bool,
    },
    BlockMethods {
        entity: u8,
        block: bool,
    },
    Invoke {
        caller: u8,
        target: u8,
        selected: u32,
    },
    AddStatic {
        family: Family,
        offer: OfferCommand,
    },
    RemoveStatic {
        family: Family,
        prefix: u8,
        which: u8,
    },
    MakeStatic {
        route: u8,
        persistent: bool,
    },
    SettleStatics,
    /// Other limits, and another level of one protocol.
    Reconfigure {
        narrow: bool,
        level: u8,
    },
    Restart {
        with_image: bool,
    },
    TakeEffects {
        count: u8,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct TermsCommand {
    pub(crate) shared: bool,
    pub(crate) single_route: bool,
    pub(crate) exclusive: bool,
    pub(crate) cells: bool,
    pub(crate) methods: u8,
    pub(crate) linger: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct HopCommand {
    pub(crate) gateway: u8,
    pub(crate) flags: u8,
    pub(crate) weight: u8,
    pub(crate) remote: Option<u8>,
    pub(crate) private: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct OfferCommand {
    pub(crate) prefix: u8,
    pub(crate) neighbour: Option<u8>,
    pub(crate) preference: u8,
    pub(crate) metric: u8,
    pub(crate) flags: u16,
    pub(crate) views: u8,
    pub(crate) via: Via,
    pub(crate) how: u8,
    pub(crate) ttl: u8,
    pub(crate) private: u8,
    pub(crate) list: Option<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct UpdateCommand {
    pub(crate) to: Option<u8>,
    pub(crate) generation: Option<u8>,
    pub(crate) neighbour: Option<Option<u8>>,
    pub(crate) preference: Option<u8>,
    pub(crate) metric: Option<u8>,
    pub(crate) views: Option<u8>,
    pub(crate) via: Option<Via>,
    pub(crate) ttl: Option<u8>,
    pub(crate) private: Option<u8>,
    pub(crate) list: Option<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Via {
    Ids(Vec<u8>),
    Inline(Vec<(u8, u8)>),
}

#[derive(Clone, Debug)]
pub(crate) struct WalkCommand {
    pub(crate) routes: bool,
    pub(crate) views: u8,
    pub(crate) start: u8,
    pub(crate) prefix: u8,
    pub(crate) owned_by: Option<u8>,
    pub(crate) criteria: u8,
    pub(crate) value: u8,
}
