//! `NLMSG_ERROR`: how the kernel acknowledges, and how it refuses and in which words.
//!
//! The words come in attributes behind a copy of the request, which is whole or only its header
//! (`NETLINK_CAP_ACK`); where they begin depends on that. See netlink(7), `NETLINK_EXT_ACK`.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};

use super::frame::{HEADER_LENGTH, array_at};

/// `NLMSGERR_ATTR_MSG`: what went wrong, in English, with a zero byte at its end.
const ATTRIBUTE_MESSAGE: u16 = 1;

/// The flags that share a field with an attribute's type (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const ATTRIBUTE_FLAGS: u16 = 0xc000;

/// No message of the kernel's is longer; anything that is ends here.
const LONGEST_MESSAGE: usize = 256;

/// The answer to one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The number of errno(3), positive; 0 when all went well.
    pub errno: i32,
    /// The kernel's words, empty where it gave none.
    pub message: String,
}

/// Reads the payload of an `NLMSG_ERROR` whose header has these flags; `None` if it is too short.
pub(super) fn parse(flags: u16, payload: &[u8]) -> Option<Reply> {
    let code = i32::from_ne_bytes(array_at(payload, 0)?);
    // Negative in the message. The one number without a positive counterpart is no error number.
    let errno = code.checked_neg().unwrap_or(i32::MAX);
    let message = attributes(flags, payload).and_then(message).unwrap_or_default();
    Some(Reply { errno, message })
}

/// The attributes behind the copy of the request.
fn attributes(flags: u16, payload: &[u8]) -> Option<&[u8]> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let copied = if flags & NLM_F_CAPPED == 0 {
        usize::try_from(u32::from_ne_bytes(array_at(payload, 4)?)).ok()?.max(HEADER_LENGTH)
    } else {
        HEADER_LENGTH
    };
    payload.get(copied.checked_next_multiple_of(4)?.checked_add(4)?..)
}

/// The message among the attributes, made fit for a log: one line of printable characters.
fn message(attributes: &[u8]) -> Option<String> {
    let mut rest = attributes;
    loop {
        let length = usize::from(u16::from_ne_bytes(array_at(rest, 0)?));
        let kind = u16::from_ne_bytes(array_at(rest, 2)?) & !ATTRIBUTE_FLAGS;
        let value = rest.get(4..length)?;
        if kind == ATTRIBUTE_MESSAGE {
            let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = text.get(..LONGEST_MESSAGE).unwrap_or(text);
            let text = String::from_utf8_lossy(text);
            return Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// `-ENETUNREACH`, the copied header of a request of 60 bytes.
    fn refusal() -> Vec<u8> {
        let mut payload = (-101_i32).to_ne_bytes().to_vec();
        payload.extend(60_u32.to_ne_bytes());
        payload.extend([0; 12]);
        payload
    }

    fn attribute(kind: u16, text: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + text.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn zero_is_an_acknowledgement() {
        let reply = parse(NLM_F_CAPPED, &[0; 20]).unwrap();
        assert_eq!(reply, Reply { errno: 0, message: String::new() });
    }

    #[test]
    fn the_words_follow_the_copied_header() {
        let mut payload = refusal();
        payload.extend(attribute(2, &[0; 4]));
        payload.extend(attribute(1, b"Nexthop has invalid gateway\0"));
        let reply = parse(NLM_F_CAPPED | NLM_F_ACK_TLVS, &payload).unwrap();
        assert_eq!((reply.errno, reply.message.as_str()), (101, "Nexthop has invalid gateway"));
    }

    #[test]
    fn the_words_follow_the_copied_request_when_it_is_whole() {
        let mut payload = refusal();
        payload.extend([1; 44]);
        payload.extend(attribute(1, b"Invalid prefix\0"));
        let reply = parse(NLM_F_ACK_TLVS, &payload).unwrap();
        assert_eq!(reply.message, "Invalid prefix");
    }

    #[test]
    fn without_the_flag_there_are_no_words() {
        let mut payload = refusal();
        payload.extend(attribute(1, b"what follows is the request\0"));
        assert_eq!(parse(NLM_F_CAPPED, &payload).unwrap().message, "");
    }

    #[test]
    fn words_are_one_short_printable_line() {
        let mut payload = refusal();
        payload.extend(attribute(1, &[b"\x1b[31m\n\xff".as_slice(), &[b'x'; 5000]].concat()));
        let message = parse(NLM_F_CAPPED | NLM_F_ACK_TLVS, &payload).unwrap().message;
        assert!(message.starts_with(" [31m \u{fffd}xxx"), "{message}");
        assert_eq!(message.chars().count(), LONGEST_MESSAGE);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(flags: u16, payload in vec(any::<u8>(), 0..100)) {
            let reply = parse(flags, &payload);
            prop_assert_eq!(reply.is_some(), payload.len() >= 4);
        }
    }
}
