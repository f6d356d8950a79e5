//! Precedence: many signals, one decision.
//!
//! [`decide`] is pure: signals, rules and time go in, a [`Decision`] comes out. It is the only maker of a [`Permit`].
//! Never reads headers or cookies. Bound: linear in the signals, which are bounded.
//!
//! The first row that matches wins:
//!
//! | # | condition | result |
//! |---|---|---|
//! | 1 | own record: refused or withdrawn, or copies that contradict each other | denied |
//! | 2 | own record: granted, fresh, version in force | granted |
//! | 3 | `Sec-GPC: 1` or `DNT: 1` | denied |
//! | 4 | a banner's cookie refuses | denied |
//! | 5 | TCF, GPP, US Privacy or Consent Mode refuses | denied |
//! | 6 | something grants, and every source that is present grants | granted |
//! | 7 | anything else | denied, `unknown` |
//!
//! A record that speaks of the policy alone, or of other purposes, is not there for rows 1 and 2.
//! A genuine refusal has no age and no version: a no stays a no. `Sec-GPC` and `DNT` object to sale, sharing and
//! targeting, so they speak about advertising alone. Statistics follow our own record,
//! and the banners by rows 4, 6 and 7 where it is absent; preferences follow our own record only.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;
use uuid::Uuid;

use super::policy::{Policies, VersionId};
use super::receipts::PURPOSES;
use super::record::{ConsentRecord, Mask};
use super::signal::{OwnCopy, Signal, Signals, Source, Verdict};
use crate::clock::Timestamp;
use crate::cookies::Permits;

/// Proof that the visitor consented to `P` for this one request. Only [`decide`] makes one.
#[derive(Debug)]
pub struct Permit<P>(PhantomData<P>);

impl<P> Permit<P> {
    /// A permit for tests of what needs one.
    #[cfg(test)]
    pub(crate) const fn for_test() -> Self {
        Self(PhantomData)
    }
}

/// Whether advertising is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is.
    Granted,
    /// It is not.
    Denied,
}

impl Outcome {
    /// The stable name: metric label, header value, record field.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }
}

/// Which row decided. The label is a contract: metrics, header, record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Row 1: our own record refuses.
    OwnRefused,
    /// Row 1: copies of our own cookie contradict each other.
    CopiesDiffer,
    /// Row 2: our own record grants.
    OwnGranted,
    /// Row 3: `Sec-GPC: 1`.
    Gpc,
    /// Row 3: `DNT: 1`.
    Dnt,
    /// Row 4: a banner's cookie refuses.
    VendorRefused,
    /// Row 5: a framework's string refuses.
    FrameworkRefused,
    /// Row 6: every source that is present grants.
    AllGranted,
    /// Row 7: nobody said a valid yes.
    Unknown,
}

impl Reason {
    /// Every reason, in the order of the rows.
    pub const ALL: [Self; 9] = [
        Self::OwnRefused,
        Self::CopiesDiffer,
        Self::OwnGranted,
        Self::Gpc,
        Self::Dnt,
        Self::VendorRefused,
        Self::FrameworkRefused,
        Self::AllGranted,
        Self::Unknown,
    ];

    /// The stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OwnRefused => "own_refused",
            Self::CopiesDiffer => "copies_differ",
            Self::OwnGranted => "own_granted",
            Self::Gpc => "gpc",
            Self::Dnt => "dnt",
            Self::VendorRefused => "vendor_refused",
            Self::FrameworkRefused => "framework_refused",
            Self::AllGranted => "all_granted",
            Self::Unknown => "unknown",
        }
    }

    const fn outcome(self) -> Outcome {
        match self {
            Self::OwnGranted | Self::AllGranted => Outcome::Granted,
            _ => Outcome::Denied,
        }
    }
}

/// What a site's operator decided about consent.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long a choice is valid.
    pub max_age: Duration,
    /// Whether row 3 goes before row 2.
    pub gpc_over_own_grant: bool,
    /// The published policy.
    pub policies: Policies,
}

/// The decision for one request.
#[derive(Debug)]
pub struct Decision {
    /// Whether advertising is allowed.
    pub result: Outcome,
    /// Why.
    pub reason: Reason,
    /// Who said so; [`Source::None`] if nobody said anything.
    pub source: Source,
    /// The policy version in force, `0` if the site publishes none.
    pub policy_version: VersionId,
    /// Receipt of our own record, if it is genuine.
    pub receipt: Option<Uuid>,
    /// Whether our own record is fresh, of the version in force, and speaks of a purpose: the visitor chose, whatever they
    /// chose.
    pub chosen: bool,
    /// What of our own record still counts, purpose by purpose: a yes that has ended leaves the purpose open.
    pub own: Mask,
    /// What the cookie filters may let through.
    pub permits: Permits,
    /// Whether the policy version in force was accepted; always false if the site publishes none.
    pub policy_accepted: bool,
}

impl Decision {
    /// The value of `kelisim-consent`: `advertising=granted|denied; policy=ID; source=NAME`.
    #[must_use]
    pub fn header_value(&self) -> HeaderValue {
        let mut out = BytesMut::with_capacity(96);
        for part in [
            "advertising=",
            self.result.label(),
            "; policy=",
            self.policy_version.as_str(),
            "; source=",
            self.source.label(),
        ] {
            out.put_slice(part.as_bytes());
        }
        // Labels and version ids are visible ASCII, so the fallback is never taken; it would claim nothing.
        HeaderValue::from_maybe_shared(out.freeze()).unwrap_or(HeaderValue::from_static("advertising=denied"))
    }
}

/// Decides about one request.
#[must_use]
pub fn decide(signals: &Signals, rules: &Rules, now: Timestamp) -> Decision {
    let version = rules.policies.version_in_force(now);
    let scale = Scale { version, max_age: rules.max_age, now, policies: &rules.policies };
    let own = scale.own(signals.own());
    let (reason, source) = first_row(signals, &own, rules, &scale);
    let result = reason.outcome();
    // Where our own record is, it alone speaks about statistics; else rows 4, 6 and 7 do.
    let statistics = own.mask.contains(Mask::ANALYTICS)
        || !own.speaks_of_statistics && !signals.overflowed() && scale.grant(signals.analytics()).is_ok();
    let permits = Permits {
        advertising: permit(result == Outcome::Granted),
        analytics: permit(statistics),
        functional: permit(own.mask.contains(Mask::FUNCTIONAL)),
    };
    Decision {
        result,
        reason,
        source,
        policy_version: version,
        receipt: own.receipt,
        chosen: own.current && !own.mask.contains(Mask::UNDECIDED),
        own: own.mask,
        permits,
        policy_accepted: version != VersionId::NONE && own.mask.contains(Mask::POLICY),
    }
}

fn first_row(signals: &Signals, own: &Own, rules: &Rules, scale: &Scale<'_>) -> (Reason, Source) {
    if own.contradictory {
        return (Reason::CopiesDiffer, Source::Own);
    }
    if own.verdict == Some(Verdict::Denied) {
        return (Reason::OwnRefused, Source::Own);
    }
    let granted = own.verdict == Some(Verdict::Granted);
    if granted && !rules.gpc_over_own_grant {
        return (Reason::OwnGranted, Source::Own);
    }
    let denial = |wanted: fn(Source) -> bool| {
        signals.others().iter().find(|s| s.decision == Verdict::Denied && wanted(s.source)).map(|s| s.source)
    };
    if let Some(source) = denial(|s| s == Source::Gpc) {
        return (Reason::Gpc, source);
    }
    if let Some(source) = denial(|s| s == Source::Dnt) {
        return (Reason::Dnt, source);
    }
    if granted {
        return (Reason::OwnGranted, Source::Own);
    }
    if let Some(source) = denial(|s| matches!(s, Source::Vendor(_))) {
        return (Reason::VendorRefused, source);
    }
    // Whatever else refuses is a framework; a source that is added later is caught here too.
    if let Some(source) = denial(|_| true) {
        return (Reason::FrameworkRefused, source);
    }
    last_rows(signals, own, scale)
}

/// Rows 6 and 7, when nothing refuses and no own record grants.
fn last_rows(signals: &Signals, own: &Own, scale: &Scale<'_>) -> (Reason, Source) {
    if own.verdict.is_some() {
        return (Reason::Unknown, Source::Own);
    }
    match scale.grant(signals.others()) {
        Ok(source) if !signals.overflowed() => (Reason::AllGranted, source),
        Ok(source) | Err(source) => (Reason::Unknown, source),
    }
}

fn permit<P>(given: bool) -> Option<Permit<P>> {
    given.then_some(Permit(PhantomData))
}

/// What a statement is weighed against.
struct Scale<'r> {
    version: VersionId,
    policies: &'r Policies,
    max_age: Duration,
    now: Timestamp,
}

/// Our own record, all copies taken together.
struct Own {
    /// About advertising; `None`: no copy speaks of it.
    verdict: Option<Verdict>,
    /// Whether one speaks of statistics.
    speaks_of_statistics: bool,
    contradictory: bool,
    /// What every copy grants, each only if it is current. What is neither granted so nor refused by any is open.
    mask: Mask,
    receipt: Option<Uuid>,
    current: bool,
}

impl Scale<'_> {
    /// The first source that grants, if at least one does and every one that is present does; else the one in the way.
    fn grant(&self, signals: &[Signal]) -> Result<Source, Source> {
        let mut grants = None;
        for signal in signals {
            match self.weigh(signal) {
                Verdict::Denied => return Err(signal.source),
                // What can only refuse and does not is not there; what cannot be read may refuse.
                _ if signal.source.deny_only() && signal.decision == Verdict::Granted => {}
                Verdict::Unknown => return Err(signal.source),
                Verdict::Granted => grants = grants.or(Some(signal.source)),
            }
        }
        grants.ok_or(Source::None)
    }

    /// What remains of a statement: a grant that is not explicit, not fresh or for another version is none.
    fn weigh(&self, signal: &Signal) -> Verdict {
        let max_age = if signal.by_tcf { self.tcf_max_age() } else { self.max_age };
        let valid = signal.explicit
            && signal.at.is_none_or(|at| self.is_fresh(at, max_age))
            && signal.policy_version.is_none_or(|v| self.counts(&v));
        match signal.decision {
            Verdict::Granted if !valid => Verdict::Unknown,
            verdict => verdict,
        }
    }

    /// The term of a TC string is its own, unless the operator wants choices to end sooner than they do by default.
    fn tcf_max_age(&self) -> Duration {
        if self.max_age < DEFAULT_MAX_AGE { self.max_age } else { TCF_MAX_AGE }
    }

    fn is_fresh(&self, at: Timestamp, max_age: Duration) -> bool {
        at <= self.now.plus(FUTURE_SLACK) && self.now.since(at) <= max_age
    }

    /// Whether what was said for a policy version still counts.
    fn counts(&self, version: &VersionId) -> bool {
        *version == self.version || self.policies.still_counts(version, self.now)
    }

    fn is_current(&self, record: &ConsentRecord) -> bool {
        self.counts(&record.version) && self.is_fresh(record.at, self.max_age)
    }

    fn own(&self, copies: &[OwnCopy]) -> Own {
        let Some((first, rest)) = copies.split_first() else {
            return Own {
                verdict: None,
                speaks_of_statistics: false,
                contradictory: false,
                mask: Mask::UNDECIDED,
                receipt: None,
                current: false,
            };
        };
        let verdict = |copy: &OwnCopy| match copy {
            Some(record) => record.signal().map(|signal| self.weigh(&signal)),
            None => Some(Verdict::Unknown),
        };
        let grants = |copy: &OwnCopy| match copy {
            Some(record) if self.is_current(record) => record.mask.said(),
            _ => Mask::EMPTY,
        };
        let granted = rest.iter().fold(grants(first), |all, copy| all.and(grants(copy)));
        let is_open = |purpose| {
            !granted.contains(purpose) && !copies.iter().flatten().any(|record| record.mask.refuses(purpose))
        };
        let mask = PURPOSES
            .into_iter()
            .fold(granted, |all, (_, purpose)| all.with_if(Mask::open(purpose), is_open(purpose)));
        let speaks = |copy: &OwnCopy| !copy.is_some_and(|record| record.mask.is_open(Mask::ANALYTICS));
        let newest = copies.iter().flatten().max_by_key(|record| record.at);
        Own {
            verdict: verdict(first),
            speaks_of_statistics: copies.iter().any(speaks),
            contradictory: rest.iter().any(|copy| verdict(copy) != verdict(first)),
            mask,
            receipt: newest.map(|record| record.receipt),
            current: copies.iter().all(|copy| copy.as_ref().is_some_and(|r| self.is_current(r))),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How far ahead of our clock a statement may be.
pub const FUTURE_SLACK: Duration = Duration::from_secs(5 * 60);
/// How long a choice is valid unless the configuration says otherwise.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(365 * 86_400);
/// A TC string is good for 13 months.
pub const TCF_MAX_AGE: Duration = Duration::from_secs(395 * 86_400);

#[cfg(test)]
#[path = "precedence_tests.rs"]
mod tests;
