//! Tests of precedence: every row, and what wins when several rows match.

use proptest::prelude::*;

use super::*;
use crate::config;
use crate::consent::record::ConsentRecord;
use crate::consent::signal::MAX_SIGNALS;

const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);
const DAY: i64 = 86_400;
const VENDOR: Source = Source::Vendor("banner");

fn rules(gpc_over_own_grant: bool) -> Rules {
    let version = |id: &str, effective| config::PolicyVersion {
        id: id.into(),
        text: String::new(),
        language: "en".into(),
        effective,
        reconsent: true,
    };
    Rules {
        max_age: Duration::from_secs(365 * 86_400),
        gpc_over_own_grant,
        policies: Policies::new(Some(&config::Policy {
            versions: vec![version("old", 0), version("new", 1_000)],
            gate: vec![],
            default_language: "en".into(),
        })),
    }
}

fn id(text: &str) -> VersionId {
    VersionId::parse(text.as_bytes()).unwrap()
}

fn own(mask: Mask) -> ConsentRecord {
    ConsentRecord { version: id("new"), at: NOW, mask, ..ConsentRecord::for_test() }
}

fn yes() -> ConsentRecord {
    own(Mask::ADVERTISING)
}

fn no() -> ConsentRecord {
    own(Mask::EMPTY)
}

fn aged(record: ConsentRecord, seconds: i64) -> ConsentRecord {
    ConsentRecord { at: Timestamp::from_secs(NOW.as_secs() - seconds), ..record }
}

fn grant(source: Source) -> Signal {
    Signal {
        decision: Verdict::Granted,
        explicit: true,
        at: Some(NOW),
        policy_version: None,
        source,
        by_tcf: source == Source::Tcf,
    }
}

fn unknown(source: Source) -> Signal {
    Signal { decision: Verdict::Unknown, ..grant(source) }
}

fn signals(own: &[Option<ConsentRecord>], others: &[Signal]) -> Signals {
    let mut out = Signals::default();
    own.iter().for_each(|copy| out.push_own(*copy));
    others.iter().for_each(|signal| out.push(*signal));
    out
}

fn run(own: &[Option<ConsentRecord>], others: &[Signal]) -> (Reason, Source) {
    let decision = decide(&signals(own, others), &rules(false), NOW);
    assert_eq!(decision.result, decision.reason.outcome());
    assert_eq!(decision.permits.advertising.is_some(), decision.result == Outcome::Granted);
    (decision.reason, decision.source)
}

/// One case of the table: our own copies, what the others say, and which row must decide.
type Case<'a> = (&'a str, &'a [Option<ConsentRecord>], &'a [Signal], Reason, Source);

#[test]
fn precedence() {
    use Signal as S;
    let cases: &[Case<'_>] = &[
        // Row 1 against every other row.
        ("refused", &[Some(no())], &[], Reason::OwnRefused, Source::Own),
        ("refused, banner grants", &[Some(no())], &[grant(VENDOR)], Reason::OwnRefused, Source::Own),
        ("refused, gpc", &[Some(no())], &[S::denied(Source::Gpc)], Reason::OwnRefused, Source::Own),
        (
            "refused long ago",
            &[Some(aged(no(), 9_999 * DAY))],
            &[grant(VENDOR)],
            Reason::OwnRefused,
            Source::Own,
        ),
        (
            "refused for another version",
            &[Some(ConsentRecord { version: id("old"), ..no() })],
            &[grant(VENDOR)],
            Reason::OwnRefused,
            Source::Own,
        ),
        // Row 2 against the rows below.
        ("granted", &[Some(yes())], &[], Reason::OwnGranted, Source::Own),
        ("granted, gpc", &[Some(yes())], &[S::denied(Source::Gpc)], Reason::OwnGranted, Source::Own),
        ("granted, dnt", &[Some(yes())], &[S::denied(Source::Dnt)], Reason::OwnGranted, Source::Own),
        ("granted, banner refuses", &[Some(yes())], &[S::denied(VENDOR)], Reason::OwnGranted, Source::Own),
        ("granted, tcf refuses", &[Some(yes())], &[S::denied(Source::Tcf)], Reason::OwnGranted, Source::Own),
        ("granted, banner unknown", &[Some(yes())], &[unknown(VENDOR)], Reason::OwnGranted, Source::Own),
        // Row 3.
        ("gpc", &[], &[S::denied(Source::Gpc)], Reason::Gpc, Source::Gpc),
        ("dnt", &[], &[S::denied(Source::Dnt)], Reason::Dnt, Source::Dnt),
        ("gpc after dnt", &[], &[S::denied(Source::Dnt), S::denied(Source::Gpc)], Reason::Gpc, Source::Gpc),
        ("gpc, banner grants", &[], &[grant(VENDOR), S::denied(Source::Gpc)], Reason::Gpc, Source::Gpc),
        ("gpc, banner refuses", &[], &[S::denied(VENDOR), S::denied(Source::Gpc)], Reason::Gpc, Source::Gpc),
        ("gpc, own forged", &[None], &[S::denied(Source::Gpc)], Reason::Gpc, Source::Gpc),
        // Row 4.
        ("banner refuses", &[], &[S::denied(VENDOR)], Reason::VendorRefused, VENDOR),
        (
            "one banner of two refuses",
            &[],
            &[grant(Source::Vendor("a")), S::denied(VENDOR)],
            Reason::VendorRefused,
            VENDOR,
        ),
        (
            "banner refuses, tcf grants",
            &[],
            &[grant(Source::Tcf), S::denied(VENDOR)],
            Reason::VendorRefused,
            VENDOR,
        ),
        (
            "banner and tcf refuse",
            &[],
            &[S::denied(Source::Tcf), S::denied(VENDOR)],
            Reason::VendorRefused,
            VENDOR,
        ),
        // Row 5.
        ("tcf refuses", &[], &[S::denied(Source::Tcf)], Reason::FrameworkRefused, Source::Tcf),
        ("gpp refuses", &[], &[grant(VENDOR), S::denied(Source::Gpp)], Reason::FrameworkRefused, Source::Gpp),
        (
            "us privacy refuses",
            &[],
            &[grant(VENDOR), S::denied(Source::UsPrivacy)],
            Reason::FrameworkRefused,
            Source::UsPrivacy,
        ),
        (
            "consent mode refuses",
            &[],
            &[grant(VENDOR), S::denied(Source::ConsentMode)],
            Reason::FrameworkRefused,
            Source::ConsentMode,
        ),
        // Row 6.
        ("banner grants", &[], &[grant(VENDOR)], Reason::AllGranted, VENDOR),
        ("tcf grants", &[], &[grant(Source::Tcf)], Reason::AllGranted, Source::Tcf),
        ("both grant", &[], &[grant(Source::Tcf), grant(VENDOR)], Reason::AllGranted, Source::Tcf),
        (
            "a deny-only source that is silent",
            &[],
            &[grant(Source::Gpp), grant(VENDOR)],
            Reason::AllGranted,
            VENDOR,
        ),
        (
            "one that cannot be read",
            &[],
            &[unknown(Source::Gpp), grant(VENDOR)],
            Reason::Unknown,
            Source::Gpp,
        ),
        // Row 7.
        ("nothing", &[], &[], Reason::Unknown, Source::None),
        ("banner unknown", &[], &[unknown(VENDOR)], Reason::Unknown, VENDOR),
        ("one present source unknown", &[], &[grant(Source::Tcf), unknown(VENDOR)], Reason::Unknown, VENDOR),
        ("a deny-only source cannot grant", &[], &[grant(Source::Gpp)], Reason::Unknown, Source::None),
        ("own forged", &[None], &[], Reason::Unknown, Source::Own),
        ("own forged, banner grants", &[None], &[grant(VENDOR)], Reason::Unknown, Source::Own),
        (
            "own stale, banner grants",
            &[Some(aged(yes(), 366 * DAY))],
            &[grant(VENDOR)],
            Reason::Unknown,
            Source::Own,
        ),
        (
            "own of another version, banner grants",
            &[Some(ConsentRecord { version: id("old"), ..yes() })],
            &[grant(VENDOR)],
            Reason::Unknown,
            Source::Own,
        ),
        // Copies.
        ("two equal grants", &[Some(yes()), Some(aged(yes(), DAY))], &[], Reason::OwnGranted, Source::Own),
        ("two refusals", &[Some(no()), Some(aged(no(), DAY))], &[], Reason::OwnRefused, Source::Own),
        ("yes and no", &[Some(yes()), Some(no())], &[], Reason::CopiesDiffer, Source::Own),
        ("no and yes", &[Some(no()), Some(yes())], &[], Reason::CopiesDiffer, Source::Own),
        ("yes and forged", &[Some(yes()), None], &[grant(VENDOR)], Reason::CopiesDiffer, Source::Own),
        (
            "yes and stale yes",
            &[Some(yes()), Some(aged(yes(), 366 * DAY))],
            &[],
            Reason::CopiesDiffer,
            Source::Own,
        ),
        ("two forged", &[None, None], &[], Reason::Unknown, Source::Own),
    ];
    for (name, own, others, reason, source) in cases {
        assert_eq!(run(own, others), (*reason, *source), "{name}");
    }
}

#[test]
fn the_browser_can_be_put_over_our_own_grant() {
    let decided = |others: &[Signal]| decide(&signals(&[Some(yes())], others), &rules(true), NOW).reason;
    assert_eq!(decided(&[]), Reason::OwnGranted);
    assert_eq!(decided(&[Signal::denied(Source::Gpc)]), Reason::Gpc);
    assert_eq!(decided(&[Signal::denied(Source::Dnt)]), Reason::Dnt);
    assert_eq!(decided(&[Signal::denied(VENDOR)]), Reason::OwnGranted);
    let refused = decide(&signals(&[Some(no())], &[Signal::denied(Source::Gpc)]), &rules(true), NOW);
    assert_eq!(refused.reason, Reason::OwnRefused);
}

#[test]
fn freshness_has_two_edges() {
    let year = 365 * DAY;
    for (seconds, reason) in [
        (0, Reason::OwnGranted),
        (year, Reason::OwnGranted),
        (year + 1, Reason::Unknown),
        (-300, Reason::OwnGranted),
        (-301, Reason::Unknown),
    ] {
        assert_eq!(run(&[Some(aged(yes(), seconds))], &[]).0, reason, "{seconds}");
        let at = Some(Timestamp::from_secs(NOW.as_secs() - seconds));
        let banner = if reason == Reason::OwnGranted { Reason::AllGranted } else { Reason::Unknown };
        assert_eq!(run(&[], &[Signal { at, ..grant(VENDOR) }]).0, banner, "{seconds}");
    }
    assert_eq!(run(&[], &[Signal { at: None, ..grant(VENDOR) }]).0, Reason::AllGranted);
}

#[test]
fn a_tc_string_lasts_13_months_or_as_long_as_a_shorter_term_lets_it() {
    let lasts = |max_age: i64, by_tcf: bool, days: i64| {
        let mut rules = rules(false);
        rules.max_age = Duration::from_secs(u64::try_from(max_age * DAY).unwrap());
        let at = Some(Timestamp::from_secs(NOW.as_secs() - days * DAY));
        // The preset of a banner that has both.
        let signal = Signal { at, by_tcf, ..grant(VENDOR) };
        decide(&signals(&[], &[signal]), &rules, NOW).reason == Reason::AllGranted
    };
    for (max_age, tcf, other) in [(400, 395, 400), (365, 395, 365), (364, 364, 364), (30, 30, 30)] {
        assert!(lasts(max_age, true, tcf) && !lasts(max_age, true, tcf + 1), "{max_age} days");
        assert!(lasts(max_age, false, other) && !lasts(max_age, false, other + 1), "{max_age} days");
    }
}

#[test]
fn a_default_or_another_version_is_no_grant() {
    assert_eq!(run(&[], &[Signal { explicit: false, ..grant(VENDOR) }]).0, Reason::Unknown);
    assert_eq!(run(&[], &[Signal { policy_version: Some(id("old")), ..grant(VENDOR) }]).0, Reason::Unknown);
    assert_eq!(
        run(&[], &[Signal { policy_version: Some(id("new")), ..grant(VENDOR) }]).0,
        Reason::AllGranted
    );
}

#[test]
fn too_many_signals_never_grant() {
    let many = vec![grant(VENDOR); MAX_SIGNALS];
    assert_eq!(run(&[], &many).0, Reason::AllGranted);
    assert_eq!(run(&[], &vec![grant(VENDOR); MAX_SIGNALS + 1]).0, Reason::Unknown);
}

#[test]
fn the_other_purposes_follow_our_own_record_alone() {
    let purposes = |own: &[Option<ConsentRecord>], others: &[Signal]| {
        let d = decide(&signals(own, others), &rules(false), NOW);
        (
            d.permits.advertising.is_some(),
            d.permits.analytics.is_some(),
            d.permits.functional.is_some(),
            d.policy_accepted,
        )
    };
    let all = own(Mask::ADVERTISING.or(Mask::ANALYTICS).or(Mask::FUNCTIONAL).or(Mask::POLICY));
    let some = own(Mask::ANALYTICS.or(Mask::POLICY));
    assert_eq!(purposes(&[Some(all)], &[]), (true, true, true, true));
    assert_eq!(purposes(&[Some(some)], &[]), (false, true, false, true));
    assert_eq!(purposes(&[Some(some)], &[Signal::denied(Source::Gpc)]), (false, true, false, true));
    assert_eq!(purposes(&[], &[grant(VENDOR)]), (true, false, false, false));
    assert_eq!(purposes(&[Some(aged(some, 366 * DAY))], &[]), (false, false, false, false));
    assert_eq!(
        purposes(&[Some(ConsentRecord { version: id("old"), ..some })], &[]),
        (false, false, false, false)
    );
    // Two copies: only what both say.
    assert_eq!(purposes(&[Some(some), Some(own(Mask::ANALYTICS))], &[]), (false, true, false, false));
    assert_eq!(purposes(&[Some(some), None], &[]), (false, false, false, false));
}

#[test]
fn without_a_policy_consent_still_works_and_nothing_is_accepted() {
    let mut rules = rules(false);
    rules.policies = Policies::default();
    let all = own(Mask::ADVERTISING.or(Mask::POLICY));
    let record = ConsentRecord { version: VersionId::NONE, ..all };
    let decision = decide(&signals(&[Some(record)], &[]), &rules, NOW);
    assert_eq!((decision.reason, decision.policy_accepted), (Reason::OwnGranted, false));
    assert_eq!(decision.policy_version, VersionId::NONE);
    // The day a policy comes, it has to be asked again.
    let later = decide(&signals(&[Some(record)], &[]), &self::rules(false), NOW);
    assert_eq!(later.reason, Reason::Unknown);
}

#[test]
fn the_receipt_is_that_of_the_newest_genuine_copy() {
    let other = ConsentRecord { receipt: Uuid::from_u128(7), ..aged(yes(), -60) };
    let decision = decide(&signals(&[Some(yes()), Some(other), None], &[]), &rules(false), NOW);
    assert_eq!(decision.receipt, Some(Uuid::from_u128(7)));
    assert_eq!(decide(&signals(&[None], &[]), &rules(false), NOW).receipt, None);
}

#[test]
fn header_value() {
    let value = |own: &[Option<ConsentRecord>], others: &[Signal]| {
        decide(&signals(own, others), &rules(false), NOW).header_value().to_str().unwrap().to_owned()
    };
    assert_eq!(value(&[], &[]), "advertising=denied; policy=new; source=none");
    assert_eq!(value(&[Some(yes())], &[]), "advertising=granted; policy=new; source=own");
    assert_eq!(value(&[], &[Signal::denied(Source::Gpc)]), "advertising=denied; policy=new; source=gpc");
}

#[test]
fn labels_are_distinct() {
    let mut labels: Vec<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Reason::ALL.len());
}

fn any_signal() -> impl Strategy<Value = Signal> {
    let source = prop::sample::select(vec![
        Source::Gpc,
        Source::Dnt,
        VENDOR,
        Source::Vendor("other"),
        Source::Tcf,
        Source::Gpp,
        Source::UsPrivacy,
        Source::ConsentMode,
    ]);
    let verdict = prop::sample::select(vec![Verdict::Granted, Verdict::Denied, Verdict::Unknown]);
    (source, verdict, any::<bool>(), prop::option::of(-400_i64..400)).prop_map(
        |(source, decision, explicit, days)| Signal {
            decision,
            explicit,
            at: days.map(|days| Timestamp::from_secs(NOW.as_secs() + days * DAY)),
            policy_version: None,
            source,
            by_tcf: source == Source::Tcf,
        },
    )
}

fn any_copy() -> impl Strategy<Value = Option<ConsentRecord>> {
    prop::option::of((any::<bool>(), -400_i64..400, any::<bool>()).prop_map(|(granted, days, old)| {
        ConsentRecord {
            version: id(if old { "old" } else { "new" }),
            ..aged(if granted { yes() } else { no() }, days * DAY)
        }
    }))
}

/// Accepting the policy in a sign-up form was taken for a refusal of advertising.
#[test]
fn a_record_of_the_policy_alone_stands_in_nobodys_way() {
    let policy_alone = own(Mask::UNDECIDED.or(Mask::POLICY));
    let granted = grant(VENDOR);
    let said = |others: &[Signal]| decide(&signals(&[Some(policy_alone)], others), &rules(false), NOW);
    let alone = said(&[]);
    assert_eq!((alone.reason, alone.source, alone.chosen), (Reason::Unknown, Source::None, false));
    assert!(alone.policy_accepted && alone.receipt.is_some());
    assert_eq!(said(&[granted]).reason, Reason::AllGranted);
    assert_eq!(said(&[granted, Signal::denied(Source::Gpc)]).reason, Reason::Gpc);
    // A forged copy beside it is one that cannot be read.
    let copies = [Some(policy_alone), None];
    assert_eq!(decide(&signals(&copies, &[granted]), &rules(false), NOW).result, Outcome::Denied);
}

#[test]
fn what_still_counts_of_our_own_record_is_told_by_purpose() {
    let counts = |copies: &[OwnCopy]| decide(&signals(copies, &[]), &rules(false), NOW).own;
    let (both, ads) = (Mask::ADVERTISING.or(Mask::ANALYTICS), Mask::ADVERTISING);
    assert_eq!(counts(&[]), Mask::UNDECIDED);
    assert_eq!(counts(&[Some(own(both))]), both);
    // A yes that has ended is open, a no stays a no.
    assert_eq!(counts(&[Some(aged(own(ads), 400 * DAY))]), Mask::open(ads));
    // Of two copies neither undoes the other's no.
    assert_eq!(counts(&[Some(own(both)), Some(own(ads))]), ads);
}

proptest! {
    /// Whatever is added to a request, a grant needs somebody who really said yes, and no standing no.
    #[test]
    fn no_grant_without_a_valid_yes(
        copies in prop::collection::vec(any_copy(), 0..4),
        others in prop::collection::vec(any_signal(), 0..6),
        gpc_first in any::<bool>(),
    ) {
        let rules = rules(gpc_first);
        let given = signals(&copies, &others);
        let decision = decide(&given, &rules, NOW);
        let again = decide(&given, &rules, NOW);
        prop_assert_eq!((decision.reason, decision.source), (again.reason, again.source));

        let scale = Scale { version: id("new"), policies: &rules.policies, max_age: rules.max_age, now: NOW };
        let own_yes = !copies.is_empty()
            && copies.iter().all(|c| c.and_then(|r| r.signal()).is_some_and(|s| scale.weigh(&s) == Verdict::Granted));
        let others_yes = copies.is_empty()
            && others.iter().all(|s| s.decision != Verdict::Denied)
            && others.iter().all(|s| match s.source.deny_only() {
                true => s.decision != Verdict::Unknown,
                false => scale.weigh(s) == Verdict::Granted,
            })
            && others.iter().any(|s| !s.source.deny_only());
        let browser_no = others.iter().any(|s| s.decision == Verdict::Denied && matches!(s.source, Source::Gpc | Source::Dnt));
        let expected = (own_yes && !(gpc_first && browser_no)) || others_yes;
        prop_assert_eq!(decision.result == Outcome::Granted, expected);
    }

    /// The order of the other sources is nobody's advantage.
    #[test]
    fn order_does_not_matter(copies in prop::collection::vec(any_copy(), 0..3), others in prop::collection::vec(any_signal(), 0..6)) {
        let forth = decide(&signals(&copies, &others), &rules(false), NOW);
        let (mut copies, mut others) = (copies, others);
        copies.reverse();
        others.reverse();
        let back = decide(&signals(&copies, &others), &rules(false), NOW);
        prop_assert_eq!((forth.result, forth.reason), (back.result, back.reason));
    }
}
