//! Prefixes and the map keyed by them.
//!
//! A [`Prefix`] with host bits set cannot exist, so nothing behind the parser has to check.

use serde::{Deserialize, Serialize};

use std::{fmt, net::IpAddr, ops::RangeInclusive, str::FromStr};

use either::Either;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::joint::{JointPrefix, map::JointPrefixMap};

use super::error::{Error, ErrorKind, quoted};

/// A map from prefixes to `T` with exact, longest and ordered look-up.
///
/// Walks go by address, and a covering prefix comes before what it covers.
pub type PrefixMap<T> = JointPrefixMap<Prefix, T>;

/// An address family.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Family {
    /// IPv4: lengths 0 to 32.
    Ipv4,
    /// IPv6: lengths 0 to 128.
    Ipv6,
}

/// Address bits and a length, host bits zero.
///
/// Ordered by family, then address, then the shorter first (RTMv2 gap 16).
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Prefix(IpNet);

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// `ipv4` or `ipv6`, as written on the bus and in object paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl Prefix {
    /// The prefix of `length` bits at `address`.
    ///
    /// # Errors
    /// `InvalidParameter` for a length beyond the family's or for host bits that are set
    /// (RTMv2 rows NET-01 and NET-02).
    pub fn new(address: IpAddr, length: u8) -> Result<Self, Error> {
        let net = IpNet::new(address, length).map_err(|_| {
            ErrorKind::InvalidParameter.because(format_args!(
                "prefix length {length} of {address} is over {}",
                if address.is_ipv4() { 32 } else { 128 }
            ))
        })?;
        if net.trunc() != net {
            return Err(ErrorKind::InvalidParameter.because(format_args!(
                "prefix {net} has host bits set, did you mean {}",
                net.trunc()
            )));
        }
        Ok(Self(net))
    }

    /// The prefix that holds only `address`.
    pub fn host(address: IpAddr) -> Self {
        Self(address.into())
    }

    /// The prefix of the whole family, length 0.
    pub fn default_route(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self(IpNet::V4(Ipv4Net::default())),
            Family::Ipv6 => Self(IpNet::V6(Ipv6Net::default())),
        }
    }

    /// The prefix's family.
    pub fn family(self) -> Family {
        match self.0 {
            IpNet::V4(_) => Family::Ipv4,
            IpNet::V6(_) => Family::Ipv6,
        }
    }

    /// The network address.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// The length in bits, 0 to 32 or 128.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the address, of the same family, lies in the prefix.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// All addresses in it, from the first to the last.
    pub fn addresses(self) -> RangeInclusive<IpAddr> {
        self.0.network()..=self.0.broadcast()
    }

    /// Whether the other prefix, of the same family, is this one or a more specific one of it.
    pub fn covers(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| {
            ErrorKind::InvalidParameter
                .because(format_args!("family {} is not ipv4 or ipv6", quoted(text)))
        })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Prefix {
    type Err = Error;

    /// Reads `address/length`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || {
            ErrorKind::InvalidParameter
                .because(format_args!("{} is not a prefix like 192.0.2.0/24", quoted(text)))
        };
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        if length.len() > 3 || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        // 256 to 999 do not fit the type: any value past the family's maximum gets the same answer.
        let length = length.parse::<u16>().map_err(|_| malformed())?.try_into().unwrap_or(u8::MAX);
        Self::new(address, length)
    }
}

impl JointPrefix for Prefix {
    type P1 = Ipv4Net;
    type P2 = Ipv6Net;

    fn p1_or_p2(self) -> Either<Ipv4Net, Ipv6Net> {
        self.0.p1_or_p2()
    }

    fn p1_or_p2_ref(&self) -> Either<&Ipv4Net, &Ipv6Net> {
        self.0.p1_or_p2_ref()
    }

    fn from_p1(net: &Ipv4Net) -> Self {
        Self(IpNet::V4(*net))
    }

    fn from_p2(net: &Ipv6Net) -> Self {
        Self(IpNet::V6(*net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        text.parse::<Prefix>().expect_err(text).message
    }

    #[test]
    fn every_length_of_each_family_is_accepted() {
        for length in 0..=32 {
            Prefix::new("0.0.0.0".parse().unwrap(), length).unwrap();
        }
        for length in 0..=128 {
            Prefix::new("::".parse().unwrap(), length).unwrap();
        }
    }

    #[test]
    fn a_length_past_the_family_is_refused() {
        assert_eq!(refusal("10.0.0.0/33"), "prefix length 33 of 10.0.0.0 is over 32");
        assert_eq!(refusal("::/129"), "prefix length 129 of :: is over 128");
        assert_eq!(refusal("::/999"), "prefix length 255 of :: is over 128");
    }

    #[test]
    fn host_bits_are_refused_and_the_network_is_named() {
        assert_eq!(
            refusal("10.10.10.10/24"),
            "prefix 10.10.10.10/24 has host bits set, did you mean 10.10.10.0/24"
        );
        assert_eq!(
            refusal("2001:db8::1/64"),
            "prefix 2001:db8::1/64 has host bits set, did you mean 2001:db8::/64"
        );
    }

    #[test]
    fn what_is_not_a_prefix_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/ 8",
            "10/8",
            "::/0x1",
            "a/1",
        ] {
            assert!(refusal(text).ends_with("is not a prefix like 192.0.2.0/24"), "{text}");
        }
        assert!(refusal(&"9".repeat(5000)).len() < 120, "a refusal quotes only the beginning");
    }

    #[test]
    fn prefixes_order_by_address_and_the_shorter_first() {
        let mut prefixes: Vec<Prefix> =
            ["10.0.0.0/16", "9.0.0.0/8", "10.0.0.0/8"].map(|text| text.parse().unwrap()).into();
        prefixes.sort();
        assert_eq!(format!("{prefixes:?}"), "[9.0.0.0/8, 10.0.0.0/8, 10.0.0.0/16]");
    }
}
