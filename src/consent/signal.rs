//! What one source says about advertising or statistics, in one shape for all sources.
//!
//! Plain data: reading is the job of [`super::sources`], weighing that of [`super::precedence`]. Bound:
//! [`MAX_SIGNALS`] signals and [`MAX_COPIES`] copies of our own cookie per request; what comes after is counted as
//! unknown, so it can only close the gate.

use smallvec::SmallVec;

use super::policy::VersionId;
use super::record::ConsentRecord;
use crate::clock::Timestamp;

/// What a source says. Only [`Verdict::Granted`] can open the gate, and not alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Yes.
    Granted,
    /// The person, or the browser for the person, said no.
    Denied,
    /// No choice yet, a default, malformed, stale, or of another policy version.
    Unknown,
}

/// Where a statement comes from. The label is a metric label, a header value and a record field: a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nothing said anything.
    None,
    /// Our own signed record.
    Own,
    /// `Sec-GPC: 1`.
    Gpc,
    /// `DNT: 1`.
    Dnt,
    /// The cookie of a consent banner; the name is that of the preset or of the operator's entry, never from the wire.
    Vendor(&'static str),
    /// A TCF string.
    Tcf,
    /// A GPP string.
    Gpp,
    /// `us_privacy`.
    UsPrivacy,
    /// Google Consent Mode parameters.
    ConsentMode,
}

impl Source {
    /// The stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Own => "own",
            Self::Gpc => "gpc",
            Self::Dnt => "dnt",
            Self::Vendor(name) => name,
            Self::Tcf => "tcf",
            Self::Gpp => "gpp",
            Self::UsPrivacy => "us_privacy",
            Self::ConsentMode => "consent_mode",
        }
    }

    /// Whether this source can only refuse: unless it does, or cannot be read, it does not count as present.
    #[must_use]
    pub const fn deny_only(self) -> bool {
        matches!(self, Self::Gpc | Self::Dnt | Self::Gpp | Self::UsPrivacy | Self::ConsentMode)
    }
}

/// What one source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What it says.
    pub decision: Verdict,
    /// Whether a person chose it; a default is not a choice.
    pub explicit: bool,
    /// When it was said; `None`: as fresh as its cookie.
    pub at: Option<Timestamp>,
    /// The policy version for which it was said, where the source knows one.
    pub policy_version: Option<VersionId>,
    /// Who says it.
    pub source: Source,
    /// Whether it was read from a TC string, which has a term of its own.
    pub by_tcf: bool,
}

impl Signal {
    /// A refusal without a time.
    #[must_use]
    pub const fn denied(source: Source) -> Self {
        Self {
            decision: Verdict::Denied,
            explicit: true,
            at: None,
            policy_version: None,
            source,
            by_tcf: false,
        }
    }
}

/// One copy of our own cookie: the record if it is genuine.
pub type OwnCopy = Option<ConsentRecord>;

/// Everything that this request says about consent.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    own: SmallVec<[OwnCopy; 1]>,
    others: SmallVec<[Signal; 4]>,
    analytics: SmallVec<[Signal; 1]>,
    overflowed: bool,
}

impl Signals {
    /// Adds a copy of our own cookie. The copy after [`MAX_COPIES`] replaces the last by "not genuine".
    pub fn push_own(&mut self, copy: OwnCopy) {
        if self.own.len() < MAX_COPIES {
            self.own.push(copy);
        } else if let Some(last) = self.own.last_mut() {
            *last = None;
        }
    }

    /// Adds what another source says. After [`MAX_SIGNALS`] nothing is kept but the fact that there was more.
    pub fn push(&mut self, signal: Signal) {
        if self.others.len() < MAX_SIGNALS {
            self.others.push(signal);
        } else {
            self.overflowed = true;
        }
    }

    /// Adds what another source says about statistics; bounded likewise.
    pub fn push_analytics(&mut self, signal: Signal) {
        if self.analytics.len() < MAX_SIGNALS {
            self.analytics.push(signal);
        } else {
            self.overflowed = true;
        }
    }

    /// Notes that there was more than was read: then nothing but our own record grants.
    pub const fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// The copies of our own cookie.
    #[must_use]
    pub fn own(&self) -> &[OwnCopy] {
        &self.own
    }

    /// What the other sources say about statistics.
    #[must_use]
    pub fn analytics(&self) -> &[Signal] {
        &self.analytics
    }

    /// What the other sources say about advertising.
    #[must_use]
    pub fn others(&self) -> &[Signal] {
        &self.others
    }

    /// Whether there were more signals than are kept.
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }
}

/// Most copies of our own cookie that are looked at.
pub const MAX_COPIES: usize = 8;
/// Most signals of other sources that are kept.
pub const MAX_SIGNALS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_beyond_the_limit_count_as_not_genuine() {
        let record = ConsentRecord::for_test();
        let mut signals = Signals::default();
        for _ in 0..MAX_COPIES {
            signals.push_own(Some(record));
        }
        assert!(signals.own().iter().all(Option::is_some));
        signals.push_own(Some(record));
        assert_eq!(signals.own().len(), MAX_COPIES);
        assert_eq!(signals.own().last(), Some(&None));
    }

    #[test]
    fn signals_beyond_the_limit_are_told() {
        let mut signals = Signals::default();
        for _ in 0..MAX_SIGNALS {
            signals.push(Signal::denied(Source::Gpc));
        }
        assert!(!signals.overflowed());
        signals.push(Signal::denied(Source::Gpc));
        assert!(signals.overflowed());
        assert_eq!(signals.others().len(), MAX_SIGNALS);
    }
}
