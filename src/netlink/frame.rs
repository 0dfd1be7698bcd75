//! The frame of netlink(7): one datagram holds messages one after the other.
//!
//! A length that lies ends the walk; what came before it stands.

use netlink_packet_core::{NLM_F_ACK, NLMSG_ERROR};

use super::error::{self, Reply};

/// `sizeof(struct nlmsghdr)`.
pub(super) const HEADER_LENGTH: usize = 16;

/// Where `nlmsg_flags` is in the header.
const FLAGS_OFFSET: usize = 6;

/// One message of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: the number of the request that this answers.
    pub sequence: u32,
    /// `nlmsg_pid`: the port of who asked for this, 0 for the kernel itself.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages of a datagram, up to the first whose length cannot be.
pub fn frames(datagram: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(array_at(rest, 0)?)).ok()?;
        let frame = Frame {
            kind: u16::from_ne_bytes(array_at(rest, 4)?),
            flags: u16::from_ne_bytes(array_at(rest, FLAGS_OFFSET)?),
            sequence: u32::from_ne_bytes(array_at(rest, 8)?),
            port: u32::from_ne_bytes(array_at(rest, 12)?),
            payload: rest.get(HEADER_LENGTH..length)?,
        };
        rest = length.checked_next_multiple_of(4).and_then(|next| rest.get(next..)).unwrap_or(&[]);
        Some(frame)
    })
}

impl Frame<'_> {
    /// The acknowledgement or error in this message, if it is one.
    pub fn reply(&self) -> Option<Reply> {
        (self.kind == NLMSG_ERROR).then(|| error::parse(self.flags, self.payload)).flatten()
    }
}

/// Asks for an answer to the message that begins these bytes even if all goes well (`NLM_F_ACK`).
pub fn request_acknowledgement(message: &mut [u8]) {
    if let Some(flags) = message.get_mut(FLAGS_OFFSET..FLAGS_OFFSET + 2) {
        for (byte, bit) in flags.iter_mut().zip(NLM_F_ACK.to_ne_bytes()) {
            *byte |= bit;
        }
    }
}

/// Appends a message with this payload. The kernel reads the sender's number from elsewhere.
pub(super) fn append(kind: u16, flags: u16, sequence: u32, payload: &[u8], into: &mut Vec<u8>) {
    let length = u32::try_from(HEADER_LENGTH + payload.len()).unwrap_or(u32::MAX);
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(flags.to_ne_bytes());
    into.extend(sequence.to_ne_bytes());
    into.extend([0; 4]);
    into.extend(payload);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// So many bytes from an offset on, if they are there.
pub(super) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn message(length: u32, kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn messages_begin_at_multiples_of_four() {
        let mut datagram = message(17, 24, 1, &[7, 0, 0, 0]);
        datagram.extend(message(16, 3, 2, &[]));
        let found: Vec<_> = frames(&datagram).map(|f| (f.kind, f.sequence, f.payload)).collect();
        assert_eq!(found, [(24, 1, &[7][..]), (3, 2, &[][..])]);
    }

    #[test]
    fn a_length_that_lies_ends_the_walk() {
        for length in [0, 15, 21, u32::MAX] {
            let mut datagram = message(16, 24, 1, &[]);
            datagram.extend(message(length, 24, 2, &[0; 4]));
            assert_eq!(frames(&datagram).count(), 1, "{length}");
        }
    }

    #[test]
    fn asking_for_an_acknowledgement_keeps_the_other_flags() {
        let mut bytes = message(16, 24, 1, &[]);
        bytes[6] = 1;
        request_acknowledgement(&mut bytes);
        assert_eq!(frames(&bytes).next().unwrap().flags, 0x5);
        request_acknowledgement(&mut []);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_walked(datagram in vec(any::<u8>(), 0..200)) {
            for frame in frames(&datagram) {
                let _ = frame.reply();
            }
        }
    }
}
