use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn operator(rules: &str) -> Result<Catalogue, Vec<RuleProblem>> {
    Catalogue::with_operator(&format!("rules = [\n{rules}\n]"))
}

fn category(catalogue: &Catalogue, name: &str) -> Category {
    catalogue.classify(name.as_bytes()).category
}

#[test]
fn the_built_in_catalogue_compiles_and_knows_the_usual_names() {
    let catalogue = Catalogue::builtin();
    for (name, expected) in [
        ("_fbp", Category::Advertising),
        ("_gcl_au", Category::Advertising),
        ("_gcl_aw", Category::Advertising),
        ("_gac_UA-1", Category::Advertising),
        ("tmr_lvid", Category::Advertising),
        ("AMCV_x@AdobeOrg", Category::Advertising),
        ("_ga", Category::Analytics),
        ("_ga_X1", Category::Analytics),
        ("_ym_uid", Category::Analytics),
        ("PHPSESSID", Category::Necessary),
        ("cf_clearance", Category::Security),
        ("pll_language", Category::Functional),
        ("visitor_id123", Category::Advertising),
        ("visitor_id", Category::Unknown),
        ("prism_theme", Category::Unknown),
        ("_fb", Category::Unknown),
        ("_fbpx", Category::Unknown),
        ("_gax", Category::Unknown),
        ("", Category::Unknown),
        ("sessionid2", Category::Unknown),
        ("uid", Category::Unknown),
        ("token", Category::Unknown),
    ] {
        assert_eq!(category(&catalogue, name), expected, "{name}");
    }
}

#[test]
fn protected_names_are_protected() {
    let catalogue = Catalogue::builtin();
    for name in [
        "__Host-a",
        "__Secure-b",
        "PHPSESSID",
        "wordpress_logged_in_1",
        "BITRIX_SM_X",
        "AWSALBCORS",
        "__cf_bm",
        "TS01ab",
        "__stripe_mid",
        "OptanonConsent",
        "CookieConsent",
        "cookieyes-consent",
        "cookielawinfo-checkbox-x",
        "cmplz_marketing",
        "cc_cookie",
        "klaro",
        "tarteaucitron",
        "axeptio_cookies",
        "CookieScriptConsent",
        "cookiefirst-consent",
        "borlabs-cookie",
        "_iub_cs-1",
        "notice_gdpr_prefs",
        "CONSENTMGR",
        "__cmpconsentx1",
        "euconsent-v2",
        "didomi_token",
        "TC_PRIVACY",
        "zaraz-consent",
        "_tracking_consent",
        "cookie-agreed-categories",
        "ez-consent-tcf",
        "__gpp",
        "us_privacy",
        "kelisim_consent",
        "kelisim_vid",
        "ads_optout",
        "_fbp_gpc",
        "_ga_optout",
    ] {
        assert!(catalogue.classify(name.as_bytes()).protected, "{name}");
    }
    assert!(catalogue.classify(b"kelisim_vid").is_visitor_cookie());
    assert!(!catalogue.classify(b"kelisim_vid2").is_visitor_cookie());
}

#[test]
fn operator_before_built_in_exact_before_prefix_longer_before_shorter() {
    let catalogue = operator(
        r#"{ match = "=_fbp", category = "functional" },
           { match = "^yb", category = "analytics" }, { match = "^ybcd", category = "security" },
           { match = "=ybcde", category = "advertising" }, { match = "^_g", category = "unknown" }"#,
    )
    .expect("valid");
    for (name, expected) in [
        ("_fbp", Category::Functional),
        ("_fbc", Category::Advertising),
        ("ybc", Category::Analytics),
        ("ybcd", Category::Security),
        ("ybcde", Category::Advertising),
        ("ybcdef", Category::Security),
        ("_gcl_au", Category::Unknown),
        ("y", Category::Unknown),
    ] {
        assert_eq!(category(&catalogue, name), expected, "{name}");
    }
}

#[test]
fn nocase_rules_match_any_case_and_keep_their_rank() {
    let catalogue = operator(
        r#"{ match = "=AdId", category = "advertising", nocase = true }, { match = "^trk", category = "analytics", nocase = true },
           { match = "^TRKX", category = "functional" }"#,
    )
    .expect("valid");
    for (name, expected) in [
        ("adid", Category::Advertising),
        ("ADID", Category::Advertising),
        ("Trk_1", Category::Analytics),
        ("TRKX1", Category::Functional),
        ("trkx1", Category::Analytics),
        ("_FBP", Category::Unknown),
    ] {
        assert_eq!(category(&catalogue, name), expected, "{name}");
    }
}

#[test]
fn a_rule_that_hits_a_protected_name_stops_the_start() {
    for pattern in [
        "=PHPSESSID",
        "=__Host-x",
        "^__Ho",
        "^__Host-abc",
        "^PHP",
        "^p",
        "=x_optout",
        "^x_gpc",
        "=_iub_cs-7",
        "=phpsessid",
    ] {
        let nocase = pattern.contains("^p") || pattern.contains("phps");
        let rule = format!("{{ match = \"{pattern}\", category = \"advertising\", nocase = {nocase}");
        let problems = operator(&format!("{rule} }}")).expect_err(pattern);
        assert!(problems[0].message.contains("never stripped"), "{pattern}: {problems:?}");
        assert!(operator(&format!("{rule}, force = true }}")).is_ok(), "{pattern}");
    }
    for pattern in ["^kel", "=kelisim_vid", "^kelisim_x", "=KELISIM_VID"] {
        let rule =
            format!("{{ match = \"{pattern}\", category = \"advertising\", nocase = true, force = true }}");
        let problems = operator(&rule).expect_err(pattern);
        assert!(problems[0].message.contains("own cookies"), "{pattern}: {problems:?}");
    }
}

#[test]
fn force_beats_the_never_strip_list_but_opt_outs_only_by_full_name() {
    let catalogue = operator(
        r#"{ match = "=PHPSESSID", category = "advertising", force = true },
           { match = "=a_optout", category = "advertising", force = true },
           { match = "^b_", category = "advertising", force = true }"#,
    )
    .expect("valid");
    for (name, protected) in [("PHPSESSID", false), ("a_optout", false), ("b_x", false), ("b_optout", true)] {
        assert_eq!(catalogue.classify(name.as_bytes()).protected, protected, "{name}");
    }
}

#[test]
fn equal_rank_and_different_categories_is_a_mistake() {
    for (a, b) in [
        (r#"match = "=x", category = "functional""#, r#"match = "=x", category = "analytics""#),
        (
            r#"match = "^yq", category = "functional""#,
            r#"match = "^YQ", category = "analytics", nocase = true"#,
        ),
    ] {
        let problems = operator(&format!("{{ {a} }},\n{{ {b} }}")).expect_err("a conflict");
        assert_eq!((problems.len(), problems[0].line), (1, 3), "{problems:?}");
    }
    let fine = r#"{ match = "=yx", category = "functional" }, { match = "^yx", category = "analytics" },
                  { match = "=yX", category = "analytics" }, { match = "=y", category = "analytics" }, { match = "=y", category = "analytics" }"#;
    assert!(operator(fine).is_ok());
}

#[test]
fn all_mistakes_are_told_with_their_place() {
    let text = "rules = [\n  { match = \"fbp\", category = \"advertising\" },\n  { match = \"=a\", category = \"adverts\" },\n  \
                { match = \"=b;\", category = \"analytics\", source = \"me\" },\n  { match = \"^\", category = \"analytics\" },\n]";
    let problems = Catalogue::with_operator(text).expect_err("mistakes");
    let places: Vec<(usize, usize)> = problems.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(places, [(2, 13), (3, 30), (4, 13), (4, 53), (5, 13)]);
    for (text, place) in
        [("rules = [", (1, 10)), ("\nrule = []", (2, 1)), ("rules = [{ match = \"=a\" }]", (1, 10))]
    {
        let problems = Catalogue::with_operator(text).expect_err("a mistake");
        assert_eq!(
            (problems.len(), problems[0].line, problems[0].column),
            (1, place.0, place.1),
            "{problems:?}"
        );
    }
}

#[test]
fn limits_hold() {
    let rule = |pattern: &str| format!("{{ match = \"={pattern}\", category = \"analytics\" }},");
    assert!(operator(&rule(&"a".repeat(MAX_PATTERN))).is_ok());
    assert!(operator(&rule(&"a".repeat(MAX_PATTERN + 1))).is_err());
    let many = |count: usize| (0..count).map(|i| rule(&format!("x{i}"))).collect::<String>();
    assert!(operator(&many(MAX_RULES)).is_ok());
    assert!(operator(&many(MAX_RULES + 1)).is_err());
}

#[test]
fn explains_the_winner_and_the_losers() {
    let catalogue = operator(r#"{ match = "^_f", category = "analytics", owner = "us" }"#).expect("valid");
    let explained = catalogue.explain(b"_fbp");
    assert_eq!(explained.rule.map(|rule| rule.pattern.as_str()), Some("^_f"));
    let losers: Vec<&str> = explained.losers.iter().map(|loser| loser.rule.pattern.as_str()).collect();
    assert_eq!(losers, ["=_fbp"]);
    assert!(catalogue.explain(b"nobody_knows").rule.is_none());
    let suffix = catalogue.explain(b"_f_optout");
    assert_eq!((suffix.class.protected, suffix.losers.len()), (true, 1));
}

static MIXED: LazyLock<Catalogue> = LazyLock::new(|| {
    operator(
        r#"{ match = "^_g", category = "functional" }, { match = "^TMR", category = "analytics", nocase = true }"#,
    )
    .expect("valid")
});

proptest! {
    /// The automaton and a search through all rules agree about every name.
    #[test]
    fn the_best_matching_rule_decides(
        start in proptest::sample::select((0..400_usize).collect::<Vec<_>>()),
        cut in 0..12_usize,
        tail in "[a-zA-Z0-9_.-]{0,6}",
    ) {
        let catalogue = &*MIXED;
        let text = catalogue.rules[start % catalogue.rules.len()].text();
        let name = format!("{}{tail}", text.get(..text.len().saturating_sub(cut)).unwrap_or_default());
        let rules = catalogue.rules.iter().filter(|rule| rule.matches(name.as_bytes()));
        let best = rules.min_by_key(|rule| rule.rank());
        let found = catalogue.explain(name.as_bytes());
        prop_assert_eq!(found.rule.map(|rule| &rule.pattern), best.map(|rule| &rule.pattern), "{}", name);
    }
}

/// What the built-in file promises: enough rules, each with its owner, and no advertising rule that is so short that a
/// site may have meant something else by it.
#[test]
fn the_built_in_rules_are_many_owned_and_narrow() {
    let catalogue = Catalogue::builtin();
    let rules: Vec<&Rule> =
        catalogue.all().map(|(_, rule)| rule).filter(|rule| rule.tier == Tier::BuiltIn).collect();
    assert!(rules.len() >= 500, "{}", rules.len());
    for rule in rules {
        assert!(!rule.owner.is_empty(), "{}", rule.pattern);
        let least = if rule.shape == Shape::Prefix { 3 } else { 2 };
        assert!(rule.category != Category::Advertising || rule.text().len() > least, "{}", rule.pattern);
    }
}

#[test]
fn a_piece_is_read_as_its_name_is_classified() {
    let operator = "rules = [\n\
        { match = \"=AdTrack\", category = \"advertising\", nocase = true },\n\
        { match = \"=_ga\", category = \"advertising\" },\n\
        { match = \"=mine_optout\", category = \"advertising\", force = true },\n\
        { match = \"^Track\", category = \"analytics\", nocase = true },\n\
        { match = \"=tracking\", category = \"functional\" },\n]";
    for catalogue in [Catalogue::builtin(), Catalogue::with_operator(operator).expect("valid")] {
        for (_, rule) in catalogue.all() {
            let text = rule.text();
            let around = [text.to_owned(), format!("{text}x"), text.to_uppercase(), format!("x{text}")];
            for name in around.iter().map(String::as_bytes).chain([&text.as_bytes()[..text.len() - 1]]) {
                for end in ["", "=", "=1; other=value", ";", "; _fbp=1", "=="] {
                    let read = catalogue.read_name(&[name, end.as_bytes()].concat());
                    let expected = catalogue.classify(name);
                    assert_eq!(
                        (read.length, read.class),
                        (name.len(), expected),
                        "{}{end}",
                        name.escape_ascii()
                    );
                }
            }
        }
    }
}
