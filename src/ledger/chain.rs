//! The bytes of a line: an entry as JSON, and behind it the hash of everything before.
//!
//! `{"n":1,…,"prev":"<hash of entry 0>",…,"hash":"<SHA-256 of the line up to here>"}`. A line is either exactly what
//! [`seal`] makes or none. Pure. Bound: [`ENTRY_BYTES`].

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use super::Chained;

/// Longest line in bytes, with its end.
pub const ENTRY_BYTES: usize = 256 * 1024;

/// The hash before the first entry.
pub(crate) const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line that was read back and is whole.
pub(crate) struct Link<E> {
    pub(crate) entry: E,
    pub(crate) hash: String,
}

/// The line of an entry, with its end, and its hash; `None` when it is longer than [`ENTRY_BYTES`].
pub(super) fn seal<E: Chained>(entry: &E) -> Option<(String, String)> {
    let mut line = serde_json::to_string(entry).ok()?;
    line.pop();
    let hash = hex(digest(&SHA256, line.as_bytes()).as_ref());
    line.extend([HASH, &hash, END, "\n"]);
    (line.len() <= ENTRY_BYTES).then_some((line, hash))
}

/// The entry of a line without its end; `None` when any byte of it is not as it was written.
pub(crate) fn open<E: Chained>(line: &[u8]) -> Option<Link<E>> {
    let line = std::str::from_utf8(line).ok()?;
    let (hashed, hash) = line.strip_suffix(END)?.rsplit_once(HASH)?;
    if hex(digest(&SHA256, hashed.as_bytes()).as_ref()) != hash {
        return None;
    }
    let entry = serde_json::from_str(&format!("{hashed}}}")).ok()?;
    Some(Link { entry, hash: hash.to_owned() })
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

const HASH: &str = ",\"hash\":\"";
const END: &str = "\"}";
