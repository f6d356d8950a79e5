//! Tells whether every byte of the log is as it was written.
//!
//! Reads the log from its beginning, under a lock that keeps appenders out. Never writes, never stops at the first
//! problem. Bound: one line; at most 100 problems are told one by one, further ones counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::chain::{ENTRY_BYTES, NO_HASH, hex, open};
use super::entry::{Entry, Kind};
use super::log::{FOLDER, Head, LOG};

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
    /// Reads, disclosures and destructions without an end: still going on, or killed.
    pub unended: u64,
    /// Entries that a killed writer left half-written, each told by the entry after it or at the very end.
    pub interrupted: u64,
    /// Hash of the newest entry.
    pub head: String,
    /// What is not as it was written; empty for a log that is whole.
    pub problems: Vec<Problem>,
    /// Problems beyond the first 100.
    pub more: u64,
}

/// Checks the log of a records folder and hands every whole entry to `each` with its line.
///
/// # Errors
/// When there is no log, or it cannot be read.
pub fn verify(records: &Path, mut each: impl FnMut(&Entry, &str)) -> io::Result<Verified> {
    let folder = records.join(FOLDER);
    let file = File::open(folder.join(LOG))?;
    file.lock_shared()?;
    let head = Head::read(&folder)?;
    let mut state = State { head, met_head: false, ..State::default() };
    state.found.head = NO_HASH.to_owned();
    let mut lines = BufReader::new(&file);
    let mut line = Vec::new();
    let mut number = 0;
    while next_line(&mut lines, &mut line)? {
        number += 1;
        let whole = line.strip_suffix(b"\n").and_then(open);
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

#[derive(Default)]
struct State {
    found: Verified,
    head: Option<Head>,
    met_head: bool,
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
    fn entry(&mut self, line: u64, entry: &Entry, hash: String) {
        if entry.n != self.last_n + 1 {
            let (n, wanted) = (entry.n, self.last_n + 1);
            self.problem(Some(line), format!("entry {n} stands where entry {wanted} must be"));
        }
        if entry.prev != self.found.head {
            self.problem(Some(line), format!("entry {} does not continue the one before it", entry.n));
        }
        let left = self.left.take();
        if entry.kind == Kind::Interrupted {
            self.interrupted(line, entry, left);
        } else if let Some(left) = left {
            self.problem(Some(left.line), "this is no whole entry".to_owned());
        }
        match entry.kind {
            Kind::Read | Kind::Disclosure | Kind::Destruction => self.found.unended += 1,
            Kind::End => self.found.unended = self.found.unended.saturating_sub(1),
            Kind::Interrupted | Kind::Hold => {}
        }
        self.met_head |= self.head.as_ref().is_some_and(|h| h.n == entry.n && h.hash == hash);
        self.last_n = entry.n;
        self.found.head = hash;
        self.found.entries += 1;
    }

    /// The entry tells what was left before it; it must tell it exactly.
    fn interrupted(&mut self, line: u64, entry: &Entry, left: Option<Left>) {
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
            _ => {}
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
