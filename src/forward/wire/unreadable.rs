//! A `Set-Cookie` with a control byte: no browser takes such a cookie, and no field of ours can hold it.
//!
//! It is put out of the answer without the page being lost: a cookie of a name that is the gateway's own stands in its
//! place, which the filter of cookies then removes, counts and keeps out of shared caches like any other that may not
//! pass. Other fields with such bytes stay, and the answer is refused: without them a page could be kept or shown where
//! the site forbids it. NUL and CR are never passed over. Runs only for a head that cannot be read. Bound: the bytes read
//! so far.

use bytes::{BufMut, BytesMut};
use memchr::memchr;

/// What became of a head that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is no such field: it stays as it is.
    Unchanged,
    /// There is one, and the head is not complete. With its complete lines, in which such fields have been replaced: if
    /// these can be read, nothing else is wrong so far.
    Partial(BytesMut),
    /// Every such field has been replaced.
    Replaced,
}

/// Puts every unreadable `Set-Cookie` out of the head at the start of `input`.
pub(super) fn replace(input: &mut BytesMut) -> Outcome {
    let mut head = BytesMut::with_capacity(input.len() + STAND_IN.len());
    let (mut at, mut found) = (0, false);
    while let Some(length) = memchr(b'\n', &input[at..]) {
        let line = &input[at..=at + length];
        at += line.len();
        if is_unreadable(line) {
            head.put_slice(STAND_IN);
            found = true;
        } else {
            head.put_slice(line);
        }
        if matches!(line, b"\r\n" | b"\n") {
            if !found {
                return Outcome::Unchanged;
            }
            head.put_slice(&input[at..]);
            *input = head;
            return Outcome::Replaced;
        }
    }
    if found || is_unreadable(&input[at..]) { Outcome::Partial(head) } else { Outcome::Unchanged }
}

/// Whether a line, or the beginning of one, is a `Set-Cookie` whose value has a control byte, and none that could end it.
fn is_unreadable(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((name, value)) = memchr(b':', line).map(|colon| line.split_at(colon)) else { return false };
    name.eq_ignore_ascii_case(b"set-cookie")
        && value.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control())
        && !value.iter().any(|byte| matches!(byte, 0 | b'\r'))
}

const STAND_IN: &[u8] = b"set-cookie: kelisim_unreadable=\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookies::response::is_reserved;

    fn after(head: &[u8]) -> (Outcome, Vec<u8>) {
        let mut input = BytesMut::from(head);
        (replace(&mut input), input.to_vec())
    }

    #[test]
    fn the_field_goes_and_everything_else_stays() {
        let (outcome, head) = after(
            b"HTTP/1.1 200 OK\r\nA: 1\r\nSet-Cookie: a=b\x01c\r\nSet-Cookie: d=\te\r\nB: 2\r\n\r\nbo\x01dy\n",
        );
        assert_eq!(outcome, Outcome::Replaced);
        let expected = b"HTTP/1.1 200 OK\r\nA: 1\r\nset-cookie: kelisim_unreadable=\r\nSet-Cookie: d=\te\r\nB: 2\r\n\r\nbo\x01dy\n";
        assert_eq!(head, expected);
        assert!(is_reserved(b"kelisim_unreadable"));
    }

    #[test]
    fn nothing_else_is_touched() {
        for head in [
            &b"HTTP/1.1 200 OK\r\nA: b\x01c\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\0\x01\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\rc\x01\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nSet-Cookie : a=\x01\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\x01\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\nSet-Cookie: c=\x01\r\n\r\n",
        ] {
            assert_eq!(after(head), (Outcome::Unchanged, head.to_vec()), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_head_that_has_not_come_whole_is_waited_for() {
        let head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\x7fc\r\nB: 2\r\n\r\n";
        for length in 0..head.len() {
            let seen = length > 32;
            let (outcome, kept) = after(&head[..length]);
            assert_eq!(matches!(outcome, Outcome::Partial(_)), seen, "{length}");
            assert_eq!(kept, head[..length], "{length}");
        }
    }
}
