//! One request head, line by line.
//!
//! Keeps its place between calls, so that no line is read twice. Control bytes are looked for once, over the whole head,
//! in a form that compilers turn into vector instructions. Never keeps a byte. Bound: `limits.head_bytes`,
//! `limits.head_fields`.

use memchr::memchr;

use super::Rules;
use super::line::{self, Line};
use crate::admin::labels::Tolerated;
use crate::error::Reason;
use crate::ingress::framing::{Fields, Framing};

/// A head, as far as it has been read.
#[derive(Debug)]
pub(super) struct Head {
    /// Where the first line that has not been read begins.
    at: usize,
    /// Up to where its end has been looked for in vain.
    searched: usize,
    line: Option<Line>,
    count: usize,
    /// Line ends that are a single LF.
    bare: usize,
    ends: usize,
    fields: Fields,
    /// There is an `Upgrade` field.
    pub(super) upgrade: bool,
    /// Where the body ends. Valid when the head is complete.
    pub(super) framing: Framing,
    /// What was tolerated. Valid when the head is complete.
    pub(super) tolerated: Option<Tolerated>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            at: 0,
            searched: 0,
            line: None,
            count: 0,
            bare: 0,
            ends: 0,
            fields: Fields::default(),
            upgrade: false,
            framing: Framing::Length(0),
            tolerated: None,
        }
    }
}

impl Head {
    /// Reads on in `bytes`, which begin with the head's first byte. Returns where the head ends, if it does.
    pub(super) fn read(&mut self, bytes: &[u8], rules: &Rules) -> Result<Option<usize>, Reason> {
        loop {
            let Some(end) = memchr(b'\n', &bytes[self.searched..]).map(|n| self.searched + n) else {
                return self.incomplete(bytes, rules).map(|()| None);
            };
            let start = self.at;
            self.at = end + 1;
            self.searched = self.at;
            self.ends += 1;
            let line = match bytes[start..end].split_last() {
                Some((b'\r', line)) => line,
                _ if rules.strict => return Err(Reason::Malformed),
                _ => {
                    self.bare += 1;
                    &bytes[start..end]
                }
            };
            if self.line.is_none() {
                // One empty line before a request is skipped (RFC 9112 §2.2): some clients end a body with one.
                if line.is_empty() && start == 0 {
                    continue;
                }
                self.line = Some(line::read(line, rules.uri_bytes)?);
            } else if line.is_empty() {
                return self.complete(&bytes[..self.at], rules).map(Some);
            } else {
                self.field(line, rules)?;
            }
        }
    }

    /// Whether there is more of it than an empty line.
    pub(super) const fn begun(&self) -> bool {
        self.line.is_some() || self.searched > self.at
    }

    fn incomplete(&mut self, bytes: &[u8], rules: &Rules) -> Result<(), Reason> {
        let part = &bytes[self.at..];
        self.searched = bytes.len();
        if self.line.is_none() {
            // The CR of an empty line may stand alone for a while.
            if self.at == 0 && part == b"\r" {
                self.searched = 0;
                return Ok(());
            }
            line::begin(part, rules.uri_bytes)?;
        }
        if bytes.len() >= rules.head_bytes { Err(Reason::HeadTooLarge) } else { Ok(()) }
    }

    #[inline]
    fn field(&mut self, line: &[u8], rules: &Rules) -> Result<(), Reason> {
        self.count += 1;
        if self.count > rules.head_fields {
            return Err(Reason::HeadTooLarge);
        }
        let colon = name_end(line).ok_or(Reason::Malformed)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        match colon {
            0 => Err(Reason::Malformed),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.fields.length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.fields.coding(value),
            // hyper's names are shorter than 64 KiB.
            n if n > LONGEST_NAME => Err(Reason::HeadTooLarge),
            _ => Ok(()),
        }
    }

    fn complete(&mut self, head: &[u8], rules: &Rules) -> Result<usize, Reason> {
        if head.len() > rules.head_bytes {
            return Err(Reason::HeadTooLarge);
        }
        // No control byte but the line ends, which have been seen to be where they should.
        if controls(head) != 2 * self.ends - self.bare && !controls_are_good(head) {
            return Err(Reason::Malformed);
        }
        let http_11 = self.line.is_some_and(|line| line.http_11);
        let (framing, tolerated) = self.fields.decide(http_11, rules.strict)?;
        self.framing = framing;
        self.tolerated = tolerated.or((self.bare > 0).then_some(Tolerated::BareLf));
        Ok(head.len())
    }
}

/// Where the colon after a field name stands, if nothing but a name is before it.
#[inline]
fn name_end(line: &[u8]) -> Option<usize> {
    let end = line.iter().position(|&b| !line::is_token(b))?;
    (line[end] == b':').then_some(end)
}

/// How many control bytes there are.
#[inline]
fn controls(head: &[u8]) -> usize {
    // Counted in bytes, which do not overflow within a block.
    let count = |block: &[u8]| {
        block.iter().fold(0_u8, |n, &b| n.wrapping_add(u8::from(b < b' ') | u8::from(b == 0x7f)))
    };
    head.chunks(240).map(|block| usize::from(count(block))).sum()
}

/// The same question byte by byte, for heads with tabs: CR only before LF, else only HTAB.
#[cold]
fn controls_are_good(head: &[u8]) -> bool {
    head.iter().enumerate().all(|(at, &b)| match b {
        0x7f => false,
        b'\t' | b'\n' | b' '.. => true,
        b'\r' => head.get(at + 1) == Some(&b'\n'),
        _ => false,
    })
}

/// Most bytes of a field name.
const LONGEST_NAME: usize = 32_768;
