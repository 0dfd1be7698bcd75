//! Prints a table like the Internet's, as lines for `rtmctl register`.
//!
//! ```text
//! cargo run --release --example global-table -- --ipv4 200000 --ipv6 50000 --seed 7 \
//!     --via4 192.0.2.2,192.0.2.3 --via6 2001:db8::2 | rtmctl register --protocol bgp
//! ```
//!
//! Lengths are mixed as in the public tables, and prefixes come in clusters of neighbours, as
//! allocations are announced in pieces; both matter to whatever stores or looks up prefixes. The
//! same seed gives the same table on every machine.

use std::{
    collections::HashSet,
    io::{self, BufWriter, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
};

use clap::Parser;

/// Print a table like the Internet's, as lines for rtmctl register.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many IPv4 prefixes
    #[arg(long, default_value_t = 0)]
    ipv4: usize,
    /// How many IPv6 prefixes
    #[arg(long, default_value_t = 0)]
    ipv6: usize,
    /// Which of the many such tables
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The next hops of the IPv4 prefixes
    #[arg(long, value_delimiter = ',', default_value = "192.0.2.2")]
    via4: Vec<IpAddr>,
    /// The next hops of the IPv6 prefixes
    #[arg(long, value_delimiter = ',', default_value = "2001:db8::2")]
    via6: Vec<IpAddr>,
}

/// What differs between the families.
struct Mix {
    /// Bits of an address.
    bits: u8,
    /// Prefix lengths, and how many in a thousand have them.
    lengths: &'static [(u8, u32)],
    /// Where prefixes may lie.
    inside: &'static [(u128, u8)],
    /// Where they may not.
    outside: &'static [(u128, u8)],
}

const IPV4: Mix = Mix {
    bits: 32,
    lengths: &[
        (24, 600),
        (22, 110),
        (23, 100),
        (20, 45),
        (21, 50),
        (19, 38),
        (18, 17),
        (17, 10),
        (16, 22),
        (15, 3),
        (14, 3),
        (13, 1),
        (12, 1),
    ],
    inside: &[(0, 0)],
    outside: &[
        (ipv4(0, 0, 0), 8),
        (ipv4(10, 0, 0), 8),
        (ipv4(127, 0, 0), 8),
        (ipv4(169, 254, 0), 16),
        (ipv4(192, 0, 2), 24),
        (ipv4(198, 51, 100), 24),
        (ipv4(203, 0, 113), 24),
        (ipv4(224, 0, 0), 3),
    ],
};

const IPV6: Mix = Mix {
    bits: 128,
    lengths: &[
        (48, 480),
        (32, 120),
        (44, 110),
        (40, 90),
        (36, 40),
        (46, 40),
        (47, 30),
        (45, 20),
        (42, 20),
        (29, 20),
        (33, 15),
        (34, 10),
        (35, 5),
    ],
    // What the registries allocate from; fe80::/10 and ff00::/8 are far away.
    inside: &[
        (0x2001 << 112, 16),
        (0x2400 << 112, 12),
        (0x2600 << 112, 12),
        (0x2800 << 112, 12),
        (0x2a00 << 112, 12),
        (0x2c00 << 112, 12),
    ],
    outside: &[(0x2001_0db8 << 96, 32)],
};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads this may have seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("global-table: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let families =
        [(&IPV4, arguments.ipv4, &arguments.via4), (&IPV6, arguments.ipv6, &arguments.via6)];
    for (mix, count, vias) in families {
        let mut table = Table::new(mix, arguments.seed ^ u64::from(mix.bits));
        for _ in 0..count {
            let Some(Entry { address, length, origin }) = table.next() else {
                return Err(io::Error::other("there are not that many prefixes of this kind"));
            };
            let address: IpAddr = match mix.bits {
                32 => ipv4_address(address).into(),
                _ => Ipv6Addr::from_bits(address).into(),
            };
            // Neighbours share a way out, as they share an origin.
            let via = vias[index(origin, vias.len())];
            writeln!(out, "add {address}/{length} via {via}")?;
        }
    }
    out.flush()
}

/// Hands out prefixes, none twice.
struct Table {
    mix: &'static Mix,
    random: SplitMix,
    seen: HashSet<(u128, u8)>,
    /// The address at which the cluster goes on.
    cursor: u128,
    origin: u64,
}

/// A prefix of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Entry {
    /// Its address, in the lowest bits.
    address: u128,
    length: u8,
    /// Who announces it.
    origin: u64,
}

impl Table {
    fn new(mix: &'static Mix, seed: u64) -> Self {
        let mut table =
            Self { mix, random: SplitMix(seed), seen: HashSet::new(), cursor: 0, origin: 0 };
        table.jump();
        table
    }

    /// Goes to a new allocation.
    fn jump(&mut self) {
        let inside = self.mix.inside;
        let (base, length) = inside[index(self.random.next(), inside.len())];
        let free = self.mix.bits - length;
        // An allocation begins at a /20 in IPv4 and at a /32 in IPv6.
        let step = if self.mix.bits == 32 { 12 } else { 96 };
        self.cursor = base + (u128::from(self.random.below(1 << (free - step).min(63))) << step);
        self.origin = self.random.next();
    }

    fn length(&mut self) -> u8 {
        let total = self.mix.lengths.iter().map(|(_, share)| u64::from(*share)).sum();
        let mut at = self.random.below(total);
        for (length, share) in self.mix.lengths {
            match at.checked_sub((*share).into()) {
                Some(rest) => at = rest,
                None => return *length,
            }
        }
        self.mix.bits
    }

    fn is_allowed(&self, address: u128, length: u8) -> bool {
        // The last cluster may run over the end.
        let in_family = address >> (self.mix.bits - 1) <= 1;
        // Two prefixes overlap if they agree in the bits that both have.
        let overlaps = |(other, other_length): &(u128, u8)| {
            let free = u32::from(self.mix.bits - length.min(*other_length));
            address.checked_shr(free) == other.checked_shr(free)
        };
        in_family && !self.mix.outside.iter().any(overlaps)
    }
}

impl Iterator for Table {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        // The length is drawn once, so that crowded lengths do not give way to others.
        let length = self.length();
        let size = 1u128 << (self.mix.bits - length);
        for _ in 0..ATTEMPTS {
            if self.random.below(6) == 0 {
                self.jump();
            }
            let address = self.cursor.next_multiple_of(size);
            self.cursor = address + size;
            if self.is_allowed(address, length) && self.seen.insert((address, length)) {
                return Some(Entry { address, length, origin: self.origin });
            }
        }
        None
    }
}

/// Vigna's splitmix64: small, and the same everywhere and for ever.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        // The tiny bias towards small numbers does not matter here.
        self.next() % limit
    }
}

/// A place in a list of this length.
fn index(random: u64, length: usize) -> usize {
    usize::try_from(random % length as u64).unwrap_or_default()
}

/// The address in the lowest bits.
fn ipv4_address(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

const fn ipv4(a: u8, b: u8, c: u8) -> u128 {
    u32::from_be_bytes([a, b, c, 0]) as u128
}

/// How often to try before the kind of prefix counts as used up.
const ATTEMPTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mix: &'static Mix, seed: u64, count: usize) -> Vec<Entry> {
        Table::new(mix, seed).take(count).collect()
    }

    #[test]
    fn no_prefix_comes_twice_and_none_has_host_bits() {
        for mix in [&IPV4, &IPV6] {
            let table = take(mix, 7, 50_000);
            let distinct: HashSet<_> =
                table.iter().map(|entry| (entry.address, entry.length)).collect();
            assert_eq!(distinct.len(), 50_000);
            for Entry { address, length, .. } in table {
                assert_eq!(
                    address.trailing_zeros().min((mix.bits - length).into()),
                    (mix.bits - length).into()
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_table_and_another_another() {
        assert_eq!(take(&IPV6, 7, 1000), take(&IPV6, 7, 1000));
        assert_ne!(take(&IPV6, 7, 1000), take(&IPV6, 8, 1000));
    }

    #[test]
    fn the_lengths_are_mixed_as_in_the_public_tables() {
        for (mix, length, percent) in [(&IPV4, 24, 60), (&IPV4, 22, 11), (&IPV6, 48, 48)] {
            let table = take(mix, 7, 20_000);
            let share = table.iter().filter(|entry| entry.length == length).count() * 100 / 20_000;
            assert!(share.abs_diff(percent) <= 2, "{share} % are /{length}");
        }
    }

    #[test]
    fn nothing_lies_where_nothing_is_announced() {
        for entry in take(&IPV4, 7, 100_000) {
            let address = ipv4_address(entry.address);
            assert!(address.octets()[0] != 10, "{address}");
            assert!(!address.is_loopback() && address.octets()[0] != 0, "{address}");
            assert!(!address.is_multicast() && address.octets()[0] < 224, "{address}");
            assert!(!address.is_documentation(), "{address}");
        }
    }
}
