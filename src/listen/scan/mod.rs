//! Reads the client's bytes before hyper does, and lets only unambiguous HTTP/1.1 pass.
//!
//! A head that comes whole and clean is read in one pass (`clean`), any other line by line (`head`). The scan follows
//! the framing of bodies, so that it knows where the next head begins. Hands heads on whole, so hyper never sees a part
//! of one, and a refused one not at all. Knows rules of syntax only; that of framing is [`crate::ingress::framing`].
//! Never changes a byte, never allocates for a usual head, and never calls clean what hyper would read otherwise: a fuzz
//! target holds the two together. Bound: a few words; the bytes are the caller's.
//!
//! HTTP/2 needs no scan: there a head is a list of fields, and frames are the framing.

mod chunks;
mod clean;
mod head;
mod line;
mod wide;

#[cfg(test)]
mod tests;

use chunks::{Chunks, Part};
use head::Head;

use crate::admin::labels::Tolerated;
use crate::config::Config;
use crate::error::Reason;
use crate::ingress::framing::Framing;

/// What the scan holds heads to.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes of a head.
    pub head_bytes: usize,
    /// Fields of a head, and of the trailers of a body.
    pub head_fields: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// Whether what can be made unambiguous is refused all the same.
    pub strict: bool,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            head_bytes: limits.head_bytes,
            head_fields: limits.head_fields,
            uri_bytes: limits.uri_bytes.min(line::LONGEST_TARGET),
            strict: config.ingress.strict,
        }
    }
}

/// The scan of one connection.
#[derive(Debug)]
pub struct Scan {
    rules: Rules,
    state: State,
    /// After the body the connection may become a tunnel.
    upgrade: bool,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes: a whole head, and what was tolerated in it.
    Head(usize, Option<Tolerated>),
    /// So many bytes of a body.
    Data(usize),
    /// So many bytes of a body's framing, or of its trailers.
    Framing(usize),
    /// The beginning of a head: to be shown again with what follows.
    Partial,
    /// Not to be read before it is known whether the connection became a tunnel.
    Hold,
    /// No head: nothing more may pass.
    Refused(Reason),
    /// No body: nothing more may pass.
    Broken,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Length(u64),
    Chunked(Chunks),
    Undecided,
    Refused(Reason),
    Broken,
}

impl Scan {
    /// A scan before the first byte of a connection.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, state: State::Head(Head::default()), upgrade: false }
    }

    /// Why nothing may pass of a connection that begins with `bytes`, if that is known already.
    #[must_use]
    pub fn refuses(bytes: &[u8], rules: Rules) -> Option<Reason> {
        let mut scan = Self::new(rules);
        if !bytes.is_empty() {
            scan.step(bytes);
        }
        scan.refused()
    }

    /// What `bytes`, which are not empty, begin with. After [`Step::Partial`] the same bytes come again, with more.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        match &mut self.state {
            State::Head(head)
                if !head.begun()
                    && let Some(clean) = clean::read(bytes, &self.rules) =>
            {
                self.upgrade = clean.upgrade;
                self.begin_body(clean.framing);
                Step::Head(clean.end, None)
            }
            State::Head(head) => match head.read(bytes, &self.rules) {
                Ok(Some(end)) => {
                    let (framing, tolerated) = (head.framing, head.tolerated);
                    self.upgrade = head.upgrade;
                    self.begin_body(framing);
                    Step::Head(end, tolerated)
                }
                Ok(None) => Step::Partial,
                Err(reason) => {
                    self.state = State::Refused(reason);
                    Step::Refused(reason)
                }
            },
            State::Length(left) => {
                let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= n as u64;
                if *left == 0 {
                    self.end_body();
                }
                Step::Data(n)
            }
            State::Chunked(chunks) => match chunks.read(bytes, &self.rules) {
                Part::Data(n) => Step::Data(n),
                Part::Framing(n) => Step::Framing(n),
                Part::End(n) => {
                    self.end_body();
                    Step::Framing(n)
                }
                Part::Broken => {
                    self.state = State::Broken;
                    Step::Broken
                }
            },
            State::Undecided => Step::Hold,
            State::Refused(reason) => Step::Refused(*reason),
            State::Broken => Step::Broken,
        }
    }

    /// The connection did not become a tunnel: what follows is a head.
    pub fn no_tunnel(&mut self) {
        if matches!(self.state, State::Undecided) {
            self.state = State::Head(Head::default());
        }
    }

    /// Whether a body has begun and not ended.
    #[must_use]
    pub const fn in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_) | State::Broken)
    }

    /// Whether a head has begun: an empty line before it is none.
    #[must_use]
    pub const fn in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.begun())
    }

    /// Whether it has to be learnt first if the connection became a tunnel.
    #[must_use]
    pub const fn undecided(&self) -> bool {
        matches!(self.state, State::Undecided)
    }

    /// Whether nothing more may pass, since a body is none.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Why nothing more may pass, if a head is refused.
    #[must_use]
    pub const fn refused(&self) -> Option<Reason> {
        match self.state {
            State::Refused(reason) => Some(reason),
            _ => None,
        }
    }

    fn begin_body(&mut self, framing: Framing) {
        match framing {
            Framing::Length(0) => self.end_body(),
            Framing::Length(length) => self.state = State::Length(length),
            Framing::Chunked => self.state = State::Chunked(Chunks::default()),
        }
    }

    fn end_body(&mut self) {
        self.state = if self.upgrade { State::Undecided } else { State::Head(Head::default()) };
    }
}
