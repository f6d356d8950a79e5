use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::consent::Permit;
use crate::cookies::catalogue::{Catalogue, Class};
use crate::cookies::{Action, Actions, cookie_readers};

fn policy(mode: Mode) -> CookiePolicy {
    CookiePolicy { catalogue: Catalogue::builtin(), actions: Actions::default(), mode }
}

static POLICY: LazyLock<CookiePolicy> = LazyLock::new(|| policy(Mode::Enforce));

fn permits() -> Permits {
    Permits { advertising: Some(Permit::for_test()), ..Permits::default() }
}

/// What the site gets: the field's value, if any, and the outcome.
fn run(fields: &[&[u8]], policy: &CookiePolicy, permits: &Permits) -> (Option<Vec<u8>>, Outcome) {
    let cookies = RequestCookies::parse(fields.iter().copied(), &policy.catalogue);
    let outcome = filter(&cookies, policy, permits);
    let output = match &outcome.output {
        Output::Unchanged => fields.first().map(|field| field.to_vec()),
        Output::Replaced(value) => Some(value.to_vec()),
        Output::Removed => None,
    };
    (output, outcome)
}

fn enforced(field: &str) -> Option<String> {
    let (output, _) = run(&[field.as_bytes()], &policy(Mode::Enforce), &Permits::default());
    output.map(|value| String::from_utf8(value).expect("UTF-8 in, UTF-8 out"))
}

#[test]
fn every_copy_of_an_advertising_cookie_goes_and_the_rest_keeps_its_bytes() {
    assert_eq!(enforced("a=1; _fbp=x; b=\"2\"").as_deref(), Some("a=1; b=\"2\""));
    assert_eq!(enforced("_fbp=x;a = 1;_fbp=y ;\t_fbp =z;b").as_deref(), Some("a = 1; b"));
    assert_eq!(enforced("_fbp=x; _gcl_au=1").as_deref(), None);
    assert_eq!(enforced("a=\"x; _fbp=1; b=2\"").as_deref(), Some("a=\"x; b=2\""));
    assert_eq!(enforced("=_fbp=1; a=2").as_deref(), Some("a=2"));
}

#[test]
fn nothing_to_drop_leaves_the_field_as_it_came() {
    let policy = policy(Mode::Enforce);
    for field in [b"a=1;b=2 ;;  c".as_slice(), b"", b";", b"PHPSESSID=x; _ga=1; \xFF=\xFE"] {
        let (_, outcome) = run(&[field], &policy, &Permits::default());
        assert!(matches!(outcome.output, Output::Unchanged), "{}", field.escape_ascii());
    }
    assert!(matches!(run(&[], &policy, &Permits::default()).1.output, Output::Unchanged));
}

#[test]
fn several_fields_become_one() {
    let policy = policy(Mode::Enforce);
    let fields: [&[u8]; 4] = [b"a=1", b"_fbp=2; b=3", b"", b"c=4;d=5"];
    assert_eq!(
        run(&fields, &policy, &Permits::default()).0.as_deref(),
        Some(b"a=1; b=3; c=4; d=5".as_slice())
    );
    assert!(matches!(run(&[b"_fbp=1", b"_fbc=2"], &policy, &Permits::default()).1.output, Output::Removed));
    assert!(matches!(run(&[b"", b" ;"], &policy, &Permits::default()).1.output, Output::Removed));
}

#[test]
fn cookies_that_stand_together_are_copied_together_and_no_others() {
    for (field, expected) in [
        ("a=1; b=2; _fbp=x; c=3; d=4", "a=1; b=2; c=3; d=4"),
        ("_fbp=x; a=1; b=2;c=3; d=4", "a=1; b=2; c=3; d=4"),
        ("a=1 ;b=2;\tc=3;  d=4; ;e=5;; f=6; _fbp=x", "a=1; b=2; c=3; d=4; e=5; f=6"),
        ("; a; b; _fbp=x;", "a; b"),
    ] {
        assert_eq!(enforced(field).as_deref(), Some(expected), "{field}");
    }
    // Each begins where a cookie of the field before would follow.
    let fields: [&[u8]; 3] = [b"a", b"; \tb=1", b"x;   b=1; c=2"];
    let (output, _) = run(&fields, &policy(Mode::Enforce), &Permits::default());
    assert_eq!(output.as_deref(), Some(b"a; b=1; x; b=1; c=2".as_slice()));
}

#[test]
fn with_a_permit_advertising_passes() {
    let (output, outcome) = run(&[b"a=1; _fbp=x"], &policy(Mode::Enforce), &permits());
    assert_eq!(output.as_deref(), Some(b"a=1; _fbp=x".as_slice()));
    assert_eq!(outcome.counts.kept(Category::Advertising), 1);
    assert_eq!(outcome.stripped().count(), 0);
}

#[test]
fn a_category_that_is_stripped_waits_for_no_permit() {
    let mut policy = policy(Mode::Enforce);
    policy.actions.set(Category::Advertising, Action::Strip);
    policy.actions.set(Category::Analytics, Action::Consent);
    let (output, _) = run(&[b"_fbp=x; a=1; _ga=2"], &policy, &permits());
    assert_eq!(output.as_deref(), Some(b"a=1".as_slice()));
}

#[test]
fn protected_names_pass_whatever_the_actions_say() {
    let mut policy = policy(Mode::Enforce);
    for category in Category::ALL {
        policy.actions.set(category, Action::Strip);
    }
    let field = b"PHPSESSID=1; __Host-x=2; cf_clearance=3; OptanonConsent=4; ads_optout=5; kelisim_consent=6";
    let (output, _) = run(&[field], &policy, &Permits::default());
    assert_eq!(output.as_deref(), Some(field.as_slice()));
}

#[test]
fn the_site_never_sees_the_visitor_cookie() {
    for mode in [Mode::Enforce, Mode::DryRun] {
        let (output, outcome) = run(&[b"a=1; kelisim_vid=x; kelisim_vid =y"], &policy(mode), &permits());
        assert_eq!(output.as_deref(), Some(b"a=1".as_slice()));
        assert_eq!(outcome.stripped().count(), 0);
        assert!(matches!(run(&[b"kelisim_vid=x"], &policy(mode), &permits()).1.output, Output::Removed));
    }
}

#[test]
fn dry_run_decides_and_changes_nothing() {
    let (output, outcome) = run(&[b"a=1;_fbp=x"], &policy(Mode::DryRun), &Permits::default());
    assert_eq!(output.as_deref(), Some(b"a=1;_fbp=x".as_slice()));
    assert!(matches!(outcome.output, Output::Unchanged));
    assert_eq!(outcome.stripped().collect::<Vec<_>>(), [1]);
    assert_eq!(
        (outcome.counts.stripped(Category::Advertising), outcome.counts.kept(Category::Unknown)),
        (1, 1)
    );
}

#[test]
fn tells_what_the_browser_can_be_told_to_forget() {
    let policy = policy(Mode::Enforce);
    let field: &[u8] = b"_fbp=1; a=2; _gcl_au; =_fbc=3; _uetsid=4; _ga=5";
    let cookies = RequestCookies::parse(std::iter::once(field), &policy.catalogue);
    let outcome = filter(&cookies, &policy, &Permits::default());
    assert_eq!(outcome.stripped().collect::<Vec<_>>(), [0, 2, 3, 4]);
    assert_eq!(outcome.to_expire(&cookies).collect::<Vec<_>>(), [b"_fbp".as_slice(), b"_uetsid"]);
}

#[test]
fn a_long_field_is_counted_when_the_site_gets_it() {
    let policy = policy(Mode::Enforce);
    let long = [b"a=".as_slice(), &b"x".repeat(OVERSIZE - 2)].concat();
    assert!(!run(&[&long], &policy, &Permits::default()).1.oversize);
    assert!(run(&[&long, b"b=1"], &policy, &Permits::default()).1.oversize);
    let stripped = [b"_fbp=".as_slice(), &b"x".repeat(OVERSIZE)].concat();
    assert!(!run(&[&stripped, b"b=1"], &policy, &Permits::default()).1.oversize);
}

#[test]
fn debug_shows_no_value() {
    let (_, outcome) = run(&[b"_fbp=1; secret=2"], &policy(Mode::Enforce), &Permits::default());
    assert!(!format!("{outcome:?}").contains("secret"));
}

/// Whether the site may not see a cookie of this class under [`POLICY`].
fn class_is_hidden(class: Class, permits: &Permits) -> bool {
    class.is_visitor_cookie() || POLICY.blocks(class, permits)
}

/// Bytes that are likely to matter to some reader.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: [&[u8]; 24] = [
        b"_fbp",
        b"_fbc",
        b"_gcl_au",
        b"_ga",
        b"PHPSESSID",
        b"kelisim_vid",
        b"_FBP",
        b"a",
        b"b",
        b"=",
        b"=",
        b";",
        b";",
        b"; ",
        b"\"",
        b"\\",
        b" ",
        b"\t",
        b"\x0b",
        b"\xA0",
        b"\xC2\xA0",
        b",",
        b"_gpc",
        b"\x85",
    ];
    prop_oneof![
        12 => proptest::sample::select(known.map(<[u8]>::to_vec).to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_reader_finds_a_stripped_name(
        fields in proptest::collection::vec(proptest::collection::vec(fragment(), 0..24), 0..4),
        consented in any::<bool>(),
    ) {
        let fields: Vec<Vec<u8>> = fields.iter().map(|fragments| fragments.concat()).collect();
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let policy = &*POLICY;
        let permits = if consented { permits() } else { Permits::default() };
        let (output, outcome) = run(&fields, policy, &permits);
        cookie_readers::check_request(&fields, output.as_deref(), &|name| {
            class_is_hidden(policy.catalogue.classify(name), &permits)
        });
        let pieces: usize = fields.iter().map(|field| field.split(|&byte| byte == b';').count()).sum();
        if let Output::Replaced(value) = &outcome.output {
            let input: usize = fields.iter().map(|field| field.len() + 1).sum();
            prop_assert!(value.len() < input + pieces);
            let cookies = RequestCookies::parse(fields.iter().copied(), &policy.catalogue);
            let is_kept = |class| !class_is_hidden(class, &permits);
            let kept: Vec<&[u8]> = cookies.iter().filter(|cookie| is_kept(cookie.class)).map(Cookie::raw).collect();
            prop_assert_eq!(value, &kept.join(SEPARATOR));
        }
    }
}
