//! IAB GPP and US Privacy: opt-outs of the states of the USA, and a TC string where one is inside.
//!
//! `header~section~…`. The header is a Fibonacci-coded list of section ids; of each section only the fields named below
//! are read. Signals of the USA can only refuse: "did not opt out" is no opt-in. Never allocates by a length in the
//! string. Bounds: [`MAX_SECTIONS`] sections, ids up to [`MAX_ID`], the value's length.

use smallvec::SmallVec;

use super::banner::reading::Reading;
use super::banner::text::{Pass, first};
use super::bits::Bits;
use super::tcf::{self, Purposes};

/// What a GPP string says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gpp {
    /// A section of the USA opts out of sale, sharing or targeted advertising, or carries GPC.
    pub opted_out: bool,
    /// The section of TCF EU, if there is one.
    pub tcf: Option<Reading>,
    /// The string, or a section that is known here, is no such thing: what it was meant to say may be a refusal.
    pub unreadable: bool,
}

/// Reads the value of `__gpp`.
#[must_use]
pub fn read(value: &[u8], wanted: Purposes) -> Gpp {
    let read = |text: &str, _: Pass| parse(unquoted(text).trim_end_matches('~'), wanted);
    first(value, read).unwrap_or(Gpp { unreadable: true, ..Gpp::default() })
}

/// Whether a value of `us_privacy` opts out: `1` and three of `Y`, `N`, `-`, of which the second is `Y`; `None` if it
/// cannot be read. Some sites keep it in JSON, under `uspString`.
#[must_use]
pub fn read_us_privacy(value: &[u8]) -> Option<bool> {
    first(value, |text, _| {
        let inside = serde_json::from_str::<UsPrivacy>(text).ok();
        us_privacy(inside.map_or(unquoted(text), |json| json.text).as_bytes())
    })
}

#[derive(serde::Deserialize)]
struct UsPrivacy<'a> {
    #[serde(rename = "uspString")]
    text: &'a str,
}

/// `None` if it is no such string.
fn us_privacy(text: &[u8]) -> Option<bool> {
    let is_letter = |byte: &u8| matches!(byte.to_ascii_uppercase(), b'Y' | b'N' | b'-');
    match text {
        [b'1', rest @ ..] if rest.len() == 3 && rest.iter().all(is_letter) => {
            Some(rest[1].eq_ignore_ascii_case(&b'Y'))
        }
        _ => None,
    }
}

/// Without one pair of quotes, which some writers of cookies put around every value.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn parse(text: &str, wanted: Purposes) -> Option<Gpp> {
    let mut parts = text.split('~');
    let ids = header(Bits::new(parts.next()?.as_bytes())?)?;
    let mut gpp = Gpp::default();
    for id in &ids {
        let section = parts.next()?;
        match id {
            2 => gpp.tcf = Some(tcf::read_string(section.as_bytes(), wanted)),
            6 => gpp.note(us_privacy(section.as_bytes())),
            id => {
                // Sections of other countries speak of other laws.
                if let Some(fields) = fields_of(*id) {
                    gpp.note(opts_out(fields, section));
                }
            }
        }
    }
    parts.next().is_none().then_some(gpp)
}

impl Gpp {
    /// Takes what a section says.
    fn note(&mut self, opts_out: Option<bool>) {
        self.opted_out |= opts_out == Some(true);
        self.unreadable |= opts_out.is_none();
    }
}

/// Where a section of the USA says that somebody opted out.
fn fields_of(id: u64) -> Option<&'static [usize]> {
    FIELDS.iter().find(|(ids, _)| ids.contains(&id)).map(|(_, fields)| *fields)
}

/// Whether a section of the USA opts out; `None` if it cannot be read.
fn opts_out(fields: &[usize], section: &str) -> Option<bool> {
    let mut parts = section.split('.');
    let core = Bits::new(parts.next()?.as_bytes())?;
    if !(1..=2).contains(&core.number(0, 6)?) {
        return None;
    }
    let mut opted_out = false;
    for at in fields {
        opted_out |= core.number(*at, 2)? == 1;
    }
    for part in parts {
        let bits = Bits::new(part.as_bytes())?;
        opted_out |= bits.number(0, 2)? == 1 && bits.bit(2)?;
    }
    Some(opted_out)
}

/// The ids of the sections, ascending.
fn header(bits: Bits<'_>) -> Option<SmallVec<[u64; 4]>> {
    if bits.number(0, 6)? != 3 || bits.number(6, 6)? != 1 {
        return None;
    }
    let mut ids = SmallVec::new();
    let mut reader = Reader { bits, at: 24 };
    let mut last = 0_u64;
    for _ in 0..bits.number(12, 12)? {
        let is_group = reader.bit()?;
        let start = last.checked_add(reader.fibonacci()?)?;
        last = if is_group { start.checked_add(reader.fibonacci()?)? } else { start };
        if last > MAX_ID {
            return None;
        }
        for id in start..=last {
            if ids.len() == MAX_SECTIONS {
                return None;
            }
            ids.push(id);
        }
    }
    Some(ids)
}

struct Reader<'a> {
    bits: Bits<'a>,
    at: usize,
}

impl Reader<'_> {
    fn bit(&mut self) -> Option<bool> {
        let bit = self.bits.bit(self.at)?;
        self.at += 1;
        Some(bit)
    }

    /// A number of at most [`FIBONACCI_BITS`] places.
    fn fibonacci(&mut self) -> Option<u64> {
        let (mut place, mut next, mut sum, mut before) = (1_u64, 2_u64, 0_u64, false);
        for _ in 0..=FIBONACCI_BITS {
            let bit = self.bit()?;
            if bit && before {
                return Some(sum);
            }
            if bit {
                sum += place;
            }
            (place, next, before) = (next, place + next, bit);
        }
        None
    }
}

/// Bit offsets of the fields that say 1 for "opted out", by section.
const FIELDS: &[(&[u64], &[usize])] = &[
    (&[7], &[18, 20, 22]),
    (&[8, 9, 10, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23], &[12, 14]),
    (&[11, 18], &[14, 16]),
    (&[24, 25, 26, 27], &[16, 18]),
];
/// Most sections of a string.
pub const MAX_SECTIONS: usize = 32;
/// The highest id in a header that is read; sections above 27 are passed over.
pub const MAX_ID: u64 = 1024;
/// Place values up to 28657.
const FIBONACCI_BITS: usize = 21;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consent::signal::Verdict;

    fn ids(text: &str) -> Option<Vec<u64>> {
        Some(header(Bits::new(text.as_bytes())?)?.to_vec())
    }

    fn denies(text: &str) -> bool {
        read(text.as_bytes(), Purposes::ADVERTISING).opted_out
    }

    #[test]
    fn headers() {
        for (text, expected) in [
            ("DBABM", Some(vec![2])),
            ("DBACNY", Some(vec![2, 6])),
            ("DBACNYA", Some(vec![2, 6])),
            ("DBABjw", Some(vec![5, 6])),
            ("DBABLA", Some(vec![7])),
            ("DBAA", Some(vec![])),
            ("DBAB", None),
            ("CBABM", None),
            ("DCABM", None),
            ("D", None),
            ("D_____", None),
        ] {
            assert_eq!(ids(text), expected, "{text}");
        }
    }

    #[test]
    fn known_strings() {
        assert!(!denies("DBABLA~BVQqAAAAAgA.QA"));
        assert!(denies("DBABLA~BVQpAAAAAgA.QA"), "targeted advertising");
        assert!(denies("DBABLA~BVQqAAAAAgA.YA"), "GPC");
        let both = "DBACNY~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN";
        let gpp = read(both.as_bytes(), Purposes::ADVERTISING);
        assert!(!gpp.opted_out);
        assert_eq!(gpp.tcf.map(|tcf| tcf.verdict), Some(Verdict::Unknown), "policy version 2");
        assert!(denies(&both.replace("1YNN", "1YYN")));
        let granted = both.replace(
            "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
            "CQtDjkAQtDjkAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA",
        );
        let gpp = read(granted.as_bytes(), Purposes::ADVERTISING);
        assert_eq!(gpp.tcf.map(|tcf| tcf.verdict), Some(Verdict::Granted));
        assert!(denies("DBABLA%7EBVQpAAAAAgA.QA"), "encoded");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for bad in [
            "",
            "DBABLA",
            "DBABLA~",
            "DBABLA~BVQ",
            "DBABLA~DVQpAAAAAgA.QA",
            "DBABLA~AVQpAAAAAgA.QA",
            "DBABLA~BVQpAAAAAgA.QA~more",
            "DBABLA~BVQpAAAAAgA.",
            "DBABLA~BVQpAAAAAgA.Q=",
            "DBABLA BVQpAAAAAgA.QA",
        ] {
            let gpp = read(bad.as_bytes(), Purposes::ADVERTISING);
            assert_eq!(gpp, Gpp { unreadable: true, ..Gpp::default() }, "{bad}");
        }
        // A section of another law is none of those.
        assert_eq!(read(b"DBAA", Purposes::ADVERTISING), Gpp::default());
        // The version may be 2, not 3.
        assert!(denies("DBABLA~CVQpAAAAAgA.QA"));
        assert!(read(&[0xFF], Purposes::ADVERTISING).unreadable);
        assert!(
            denies("\"DBABLA~BVQpAAAAAgA.QA\"") && denies("DBABLA~BVQpAAAAAgA.QA~"),
            "quoted, with an empty end"
        );
    }

    /// A core of version 1 with one field of two bits.
    fn core(at: usize, value: u64) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut number: u64 = 1 << 54;
        number |= value << (60 - at - 2);
        (0..10).map(|i| char::from(letters[usize::try_from(number >> (54 - 6 * i) & 63).unwrap()])).collect()
    }

    #[test]
    fn every_field_of_every_section_denies_with_1_and_with_nothing_else() {
        for (sections, fields) in FIELDS {
            for section in *sections {
                for at in *fields {
                    for value in 0..4 {
                        let said = opts_out(fields_of(*section).unwrap(), &core(*at, value));
                        assert_eq!(said, Some(value == 1), "section {section}, bit {at}, {value}");
                    }
                }
            }
        }
        for unknown in [1, 3, 4, 5, 28, 100] {
            assert_eq!(fields_of(unknown), None);
        }
    }

    #[test]
    fn us_privacy_is_four_characters() {
        for yes in ["1YYN", "1-Y-", "1NYY", "1YY%2D", "1yyn", "\"1YYN\"", "{\"uspString\":\"1YYN\"}"] {
            assert_eq!(read_us_privacy(yes.as_bytes()), Some(true), "{yes}");
        }
        for no in ["1YNN", "1---", "1YNY", "\"1YNN\"", "{\"version\":1,\"uspString\":\"1---\"}"] {
            assert_eq!(read_us_privacy(no.as_bytes()), Some(false), "{no}");
        }
        for bad in ["2YYN", "1YY", "1YYNN", "", "{}", "{\"uspString\":1}", "\"\"1YYN\"\"", "1YY%"] {
            assert_eq!(read_us_privacy(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_header_cannot_ask_for_more_sections_than_there_is_room_for() {
        // One group from 1, as long as it can be said in this header.
        let bits = |text: &str| -> String {
            let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let padded = format!("{text}{}", "0".repeat((6 - text.len() % 6) % 6));
            let chunks: Vec<usize> = (0..padded.len())
                .step_by(6)
                .map(|i| usize::from_str_radix(&padded[i..i + 6], 2).unwrap())
                .collect();
            chunks.into_iter().map(|six| char::from(letters.as_bytes()[six])).collect()
        };
        // 000000000011 is 34 + 55... in Fibonacci places: 144 with a terminator.
        assert_eq!(ids(&bits("000011000001000000000001111000000000011")), None);
        // 1 to 32: a group from 1 with 31 = 21 + 8 + 2 more.
        let most = ids(&bits("00001100000100000000000111101001011")).unwrap();
        assert_eq!(most.len(), MAX_SECTIONS);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(DB)?[A-Za-z0-9_~.-]{0,80}") {
            let gpp = read(text.as_bytes(), Purposes::ADVERTISING);
            prop_assert!(text.contains('~') || !gpp.opted_out && gpp.tcf.is_none());
        }
    }
}
