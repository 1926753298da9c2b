//! What two zeropipe ends tell each other: credit and acknowledgement (docs/flow.md).
//!
//! Commands go between jobs only, and only to a peer that has told the property [`PROPERTY`] in its READY.

use super::{properties::Properties, violation};
use crate::error::Error;

/// The READY property by which an end says that it knows flow: `<version> <instance>`.
pub const PROPERTY: &str = "X-Zeropipe";

/// The version that we speak.
const VERSION: u32 = 1;

/// The most ranges of one command: what fits into the longest that is read.
pub const MAX_RANGES: usize = 4000;

/// The longest reason of a NACK, and text of a REJECT, in bytes.
pub const MAX_REASON: usize = 1024;

/// The longest code of a REJECT, in bytes.
pub const MAX_CODE: usize = 255;

/// Who an end is: a number that is new for every end that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instance(pub u64);

impl std::fmt::Display for Instance {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl Instance {
    /// Reads 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

/// The value of [`PROPERTY`] for an end.
pub fn offer(instance: Instance) -> String {
    format!("{VERSION} {instance}")
}

/// Who the peer is, if its READY shows that it knows flow. What can't be understood is no offer.
pub fn accept(properties: &Properties) -> Option<Instance> {
    let text = std::str::from_utf8(properties.get(PROPERTY)?).ok()?;
    let (version, instance) = text.split_once(' ')?;
    // The lower version counts, and there is but one yet: any number but 0 will do.
    let is_number = version.bytes().all(|digit| digit.is_ascii_digit());
    let is_known = is_number && !version.trim_start_matches('0').is_empty();
    // What follows the instance is for later versions.
    let instance = instance.split(' ').next().and_then(Instance::parse)?;
    is_known.then_some(instance)
}

/// As much of a text as has so many bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let stop = (0..=text.len().min(most)).rev().find(|&at| text.is_char_boundary(at));
    &text[..stop.unwrap_or(0)]
}

/// Jobs by their numbers on a link, from the first to the last of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

impl Range {
    /// One job.
    pub fn one(number: u64) -> Self {
        Self { first: number, last: number }
    }
}

/// Adds a number behind others, to the last range if it follows that.
pub fn add(ranges: &mut Vec<Range>, first: u64, last: u64) {
    match ranges.last_mut() {
        Some(range) if range.last + 1 == first => range.last = last,
        _ => ranges.push(Range { first, last }),
    }
}

/// Puts ranges in order and joins those that touch.
pub fn sort(ranges: &mut Vec<Range>) {
    if ranges.is_sorted_by(|one, next| one.last + 1 < next.first) {
        return;
    }
    ranges.sort_unstable_by_key(|range| range.first);
    let mut joined = Vec::with_capacity(ranges.len());
    ranges.iter().for_each(|range| add(&mut joined, range.first, range.last));
    *ranges = joined;
}

/// Reads ranges: pairs of eight octets each, rising, none empty, none overlapping another.
pub(super) fn decode_ranges(data: &[u8]) -> Result<Vec<Range>, Error> {
    let (pairs, rest) = data.as_chunks::<16>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(violation("ranges that are cut off"));
    }
    if pairs.len() > MAX_RANGES {
        return Err(violation(format!("{} ranges in one command", pairs.len())));
    }
    let mut before = 0;
    pairs
        .iter()
        .map(|pair| {
            let (first, last) = (u64_at(pair, 0), u64_at(pair, 8));
            if first <= before || last < first {
                return Err(violation("ranges that are out of order"));
            }
            before = last;
            Ok(Range { first, last })
        })
        .collect()
}

pub(super) fn encode_ranges(ranges: &[Range]) -> Vec<u8> {
    ranges.iter().flat_map(|range| [range.first.to_be_bytes(), range.last.to_be_bytes()]).flatten().collect()
}

fn u64_at(bytes: &[u8; 16], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |sum, &octet| sum << 8 | u64::from(octet))
}

/// What a JOB command says of the job that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its sequence number, unless it follows that of the job before; jobs behind it count on from there.
    pub id: Option<u64>,
    /// How often it has been sent, this time included.
    pub attempt: u32,
}

impl Mark {
    pub(super) fn encode(self, instance: Instance) -> Vec<u8> {
        let mut properties = Properties::default();
        if let Some(id) = self.id {
            properties.set("id", format!("{instance}-{id}").as_bytes());
        }
        if self.attempt > 1 {
            properties.set("attempt", self.attempt.to_string().as_bytes());
        }
        let mut data = Vec::new();
        properties.encode(&mut data);
        data
    }

    /// Reads a JOB command; properties that we don't know are left alone.
    pub(super) fn decode(properties: &Properties) -> Result<Self, Error> {
        let number = |name: &str| match properties.get(name).map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => {
                let digits =
                    if name == "id" { text.split_once('-').map_or("", |(_, number)| number) } else { text };
                digits.parse().map(Some).map_err(|_| violation(format!("a JOB whose {name} is {text:?}")))
            }
            Some(Err(_)) => Err(violation(format!("a JOB whose {name} is no text"))),
        };
        let attempt: u64 = number("attempt")?.unwrap_or(1);
        if !(1..=u64::from(u32::MAX)).contains(&attempt) {
            return Err(violation(format!("a JOB of attempt {attempt}")));
        }
        Ok(Self { id: number("id")?, attempt: attempt as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_understood_and_anything_else_is_plain() {
        let with = |value: &[u8]| {
            let mut properties = Properties::default();
            properties.set("x-zeroPIPE", value);
            accept(&properties)
        };
        let instance = Instance(0x0123_4567_89ab_cdef);
        assert_eq!(with(offer(instance).as_bytes()), Some(instance));
        assert_eq!(with(b"2 0123456789abcdef more"), Some(instance));
        assert_eq!(with(b"98765432109876543210 0123456789abcdef"), Some(instance));
        for other in [
            &b""[..],
            b"1",
            b"1 ",
            b"0 0123456789abcdef",
            b"1 0123",
            b"x 0123456789abcdef",
            b"+1 0123456789abcdef",
            b"1 +123456789abcdef",
            b"\xff",
        ] {
            assert_eq!(with(other), None, "{other:?}");
        }
        assert_eq!(accept(&Properties::default()), None);
    }

    #[test]
    fn ranges_are_read_as_they_were_written_and_nothing_else_is() {
        let ranges = vec![Range { first: 1, last: 1 }, Range { first: 3, last: u64::MAX }];
        let bytes = encode_ranges(&ranges);
        assert_eq!(decode_ranges(&bytes), Ok(ranges));
        for short in 0..bytes.len() {
            assert_eq!(decode_ranges(&bytes[..short]).is_ok(), short == 16);
        }
        for wrong in [[(0, 1), (3, 4)], [(2, 1), (3, 4)], [(1, 3), (3, 4)], [(5, 6), (1, 2)]] {
            let ranges: Vec<_> = wrong.iter().map(|&(first, last)| Range { first, last }).collect();
            assert!(decode_ranges(&encode_ranges(&ranges)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ranges_that_touch_are_joined() {
        let mut ranges = Vec::new();
        for number in [1, 2, 3, 7, 5, 6, 9] {
            add(&mut ranges, number, number);
        }
        sort(&mut ranges);
        assert_eq!(ranges, [(1, 3), (5, 7), (9, 9)].map(|(first, last)| Range { first, last }));
    }

    #[test]
    fn marks_are_read_as_they_were_written_and_nonsense_is_refused() {
        for (id, attempt) in [(0, 1), (u64::MAX, 20)] {
            let mark = Mark { id: Some(id), attempt };
            let data = mark.encode(Instance(7));
            let properties = Properties::decode(&data).expect("sound");
            assert_eq!(properties.get("ID"), Some(format!("0000000000000007-{id}").as_bytes()));
            assert_eq!(Mark::decode(&properties), Ok(mark));
        }
        for (name, value) in [
            ("id", "7"),
            ("id", "a-"),
            ("id", "a--1"),
            ("attempt", "0"),
            ("attempt", "-1"),
            ("attempt", "9999999999"),
        ] {
            let mut properties = Properties::default();
            properties.set(name, value.as_bytes());
            assert!(Mark::decode(&properties).is_err(), "{name} {value}");
        }
    }
}
