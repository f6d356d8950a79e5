//! Tells whether every byte of the log is as it was written, and whether a log is missing that was there.
//!
//! Reads what was in the log when it began, from the beginning; writers go on meanwhile. Never writes, never stops at the first
//! problem. Bound: one line; at most 100 problems are told one by one, further ones counted.

use std::io::{self, BufRead, BufReader, Read as _};

use ring::digest::{Context, SHA256};

use super::chain::{ENTRY_BYTES, NO_HASH, hex, open};
use super::file::{Head, Ledger};
use super::{Chained, Interruption};
use crate::regular_file;

/// Most problems that are told one by one.
pub(super) const PROBLEMS: usize = 100;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the log, from 1; `None` for the log as a whole.
    pub line: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What a log holds and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Whole entries.
    pub entries: u64,
    /// Entries that a killed writer left half-written, each told by the entry after it or at the very end.
    pub interrupted: u64,
    /// Hash of the newest entry.
    pub head: String,
    /// What is not as it was written; empty for a log that is whole.
    pub problems: Vec<Problem>,
    /// Problems beyond the first 100.
    pub more: u64,
}

/// Checks a log and hands every whole entry to `each` with its line.
///
/// # Errors
/// When it cannot be read; `NotFound` when there is no log and never was one as far as its heads know.
pub fn verify<E: Chained>(ledger: &Ledger, mut each: impl FnMut(&E, &str)) -> io::Result<Verified> {
    let file = match regular_file::open(&ledger.log()) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return gone(ledger, cause),
        file => file?,
    };
    file.lock_shared()?;
    let (head, witness) = (Head::read(ledger)?, Head::witness(ledger)?);
    // What is written does not change, so writers need not wait for the reading.
    let length = file.metadata()?.len();
    file.unlock()?;
    let mut state = State { head, witness, ..State::default() };
    state.found.head = NO_HASH.to_owned();
    let mut lines = BufReader::new((&file).take(length));
    let mut line = Vec::new();
    let mut number = 0;
    while next_line(&mut lines, &mut line)? {
        number += 1;
        let whole = line.strip_suffix(b"\n").and_then(open::<E>);
        match whole {
            Some(link) => {
                state.entry(number, &link.entry, link.hash);
                each(&link.entry, String::from_utf8_lossy(&line).trim_end());
            }
            None => state.no_entry(number, &line),
        }
    }
    state.finish();
    Ok(state.found)
}

/// There is no log: that is a fault if a head knows of an entry.
fn gone(ledger: &Ledger, cause: io::Error) -> io::Result<Verified> {
    let heads = [Head::read(ledger)?, Head::witness(ledger)?];
    let Some(n) = heads.iter().flatten().map(|head| head.n).max().filter(|n| *n > 0) else {
        return Err(cause);
    };
    Ok(Verified::missing(format!("the log is gone; its head says that it had {n} entries")))
}

impl Verified {
    /// Of a log that should be there and is not, and why it should be.
    pub(crate) fn missing(why: String) -> Self {
        let problems = vec![Problem { line: None, what: why }];
        Self { head: NO_HASH.to_owned(), problems, ..Self::default() }
    }
}

#[derive(Default)]
struct State {
    found: Verified,
    head: Option<Head>,
    met_head: bool,
    /// The head beside the folder.
    witness: Option<Head>,
    met_witness: bool,
    last_n: u64,
    /// Bytes since the last whole entry: where they begin, how many, their hash so far, and whether they end a line.
    left: Option<Left>,
}

struct Left {
    line: u64,
    bytes: u64,
    hash: Context,
    ended: bool,
}

impl State {
    fn entry<E: Chained>(&mut self, line: u64, entry: &E, hash: String) {
        let (n, prev) = entry.link();
        if n != self.last_n + 1 {
            let wanted = self.last_n + 1;
            self.problem(Some(line), format!("entry {n} stands where entry {wanted} must be"));
        }
        if prev != self.found.head {
            self.problem(Some(line), format!("entry {n} does not continue the one before it"));
        }
        let left = self.left.take();
        if let Some(told) = entry.interruption() {
            self.interrupted(line, &told, left);
        } else if let Some(left) = left {
            self.problem(Some(left.line), "this is no whole entry".to_owned());
        }
        let is_this = |head: &Option<Head>| head.as_ref().is_some_and(|h| h.n == n && h.hash == hash);
        self.met_head |= is_this(&self.head);
        self.met_witness |= is_this(&self.witness);
        self.last_n = n;
        self.found.head = hash;
        self.found.entries += 1;
    }

    /// The entry tells what was left before it; it must tell it exactly.
    fn interrupted(&mut self, line: u64, entry: &Interruption, left: Option<Left>) {
        let at = left.as_ref().map_or(line, |l| l.line);
        let (bytes, hash) = left.map_or_else(|| (0, Context::new(&SHA256)), |left| (left.bytes, left.hash));
        let told = entry.sha256.as_deref() == Some(&hex(hash.finish().as_ref())[..]);
        if !told || entry.bytes != Some(bytes) {
            self.problem(Some(at), "what was left here has been changed since".to_owned());
        }
        self.found.interrupted += u64::from(bytes > 0);
        if let Some(lost) = entry.lost {
            self.problem(Some(line), format!("{lost} entries before this one are gone"));
        }
        match entry.head.as_deref() {
            Some("differs") => self.problem(Some(line), "the entry before this one was replaced".to_owned()),
            Some(_) => self.problem(Some(line), "the head was missing when this was written".to_owned()),
            None => {}
        }
    }

    fn no_entry(&mut self, line: u64, bytes: &[u8]) {
        let left = self.left.get_or_insert_with(|| Left {
            line,
            bytes: 0,
            hash: Context::new(&SHA256),
            ended: false,
        });
        left.bytes += bytes.len() as u64;
        left.hash.update(bytes);
        left.ended = bytes.ends_with(b"\n");
    }

    fn finish(&mut self) {
        match self.left.take() {
            // A killed writer leaves a piece without an end of line; the next one will tell it.
            Some(left) if !left.ended => self.found.interrupted += 1,
            Some(left) => self.problem(Some(left.line), "this is no whole entry".to_owned()),
            None => {}
        }
        match &self.head {
            None if self.found.entries > 0 => self.problem(None, "the head is missing".to_owned()),
            Some(head) if !self.met_head && head.n > 0 => {
                let n = head.n;
                self.problem(None, format!("the head says entry {n}, which is not in the log as it was"));
            }
            // Only where the other head is fine: one loss is told once.
            _ => self.ask_witness(),
        }
    }

    /// The log must hold what the head beside the folder says, though perhaps more.
    fn ask_witness(&mut self) {
        let n = self.witness.as_ref().map_or(0, |head| head.n);
        if n > 0 && !self.met_witness {
            let what = "the head beside the folder says entry";
            self.problem(None, format!("{what} {n}, which is not in the log as it was"));
        }
    }

    fn problem(&mut self, line: Option<u64>, what: String) {
        if self.found.problems.len() < PROBLEMS {
            self.found.problems.push(Problem { line, what });
        } else {
            self.found.more += 1;
        }
    }
}

/// The next line with its end, or a piece of [`ENTRY_BYTES`] of a longer one; `false` at the end of the file.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(from.take(ENTRY_BYTES as u64).read_until(b'\n', line)? > 0)
}
