//! The quick way through a head that has come whole and is clean: nearly all of them.
//!
//! Says yes, or nothing: whatever is unusual is left to [`super::head`], which knows reasons and tolerates what may be.
//! A property test holds the two together. Never refuses. Bound: one look at each byte.

use super::Rules;
use super::line;
use super::wide;
use crate::ingress::framing::{Fields, Framing};

/// A head in which nothing is wrong, and nothing had to be tolerated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clean {
    /// Where it ends.
    pub(super) end: usize,
    /// There is an `Upgrade` field.
    pub(super) upgrade: bool,
    /// Where the body ends.
    pub(super) framing: Framing,
}

/// Reads the head that `bytes` begin with.
pub(super) fn read(bytes: &[u8], rules: &Rules) -> Option<Clean> {
    let end = line_end(bytes, 0)?;
    let http_11 = line::read(&bytes[..end], rules.uri_bytes).ok()?.http_11;
    let mut at = end + 2;
    let (mut count, mut upgrade, mut fields) = (0, false, Fields::default());
    loop {
        let rest = bytes.get(at..)?;
        if rest.starts_with(b"\r\n") {
            break;
        }
        let colon = wide::name_begin(rest);
        if rest.get(colon) != Some(&b':') {
            return None;
        }
        let end = line_end(rest, colon + 1)?;
        match colon {
            0 => return None,
            7 => upgrade |= rest[..7].eq_ignore_ascii_case(b"upgrade"),
            14 if rest[..14].eq_ignore_ascii_case(b"content-length") => {
                fields.length(&rest[15..end]).ok()?;
            }
            17 if rest[..17].eq_ignore_ascii_case(b"transfer-encoding") => {
                fields.coding(&rest[18..end]).ok()?;
            }
            _ => {}
        }
        count += 1;
        at += end + 2;
    }
    let end = at + 2;
    // The limit of the whole head is below that of a name.
    let (framing, tolerated) = fields.decide(http_11, rules.strict).ok()?;
    (count <= rules.head_fields && end <= rules.head_bytes.min(LONGEST) && tolerated.is_none())
        .then_some(Clean { end, upgrade, framing })
}

/// Where the CR LF is that ends a line of plain text.
#[inline]
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let end = from + wide::text_begin(bytes.get(from..)?);
    (bytes.get(end..end + 2)? == b"\r\n").then_some(end)
}

/// Longer heads may have names that are too long.
const LONGEST: usize = 32_768;
