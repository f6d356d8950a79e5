//! Tests of the generic decoder: formats, conditions, copies, bounds, and that nothing grants by accident.

use proptest::prelude::*;

use super::document::{Format, Path};
use super::jar::{Jar, Name};
use super::reading::Reading;
use super::spec::{Also, Choice, Guard, Kind, Spec};
use crate::clock::Timestamp;
use crate::consent::signal::Verdict::{self, Denied, Granted, Unknown};

fn path(text: &str) -> Path {
    text.split('.').map(ToOwned::to_owned).collect()
}

fn choice(at: &str, kind: Kind) -> Choice {
    Choice { paths: vec![path(at)], grants: vec!["true".into()], denies: vec!["false".into()], kind }
}

fn spec(format: Format, choices: &[&str]) -> Spec {
    let mut spec = Spec::new(Name::exact("c"), format);
    spec.choices = choices.iter().map(|at| choice(at, Kind::Word)).collect();
    spec
}

fn read(spec: &Spec, cookies: &[(&str, &[u8])]) -> Option<Reading> {
    let mut jar = Jar::default();
    cookies.iter().for_each(|(name, value)| jar.push(name.as_bytes(), value));
    spec.read(&jar)
}

fn verdict(spec: &Spec, value: &str) -> Verdict {
    read(spec, &[("c", value.as_bytes())]).unwrap().verdict
}

fn kv() -> Format {
    Format::Pairs { between: ",".into(), inside: ":".into() }
}

#[test]
fn every_format_grants_denies_and_does_not_know() {
    let list = Format::List { between: ",".into() };
    for (format, at, granted, denied, unknown) in [
        (Format::Json, "a.b", r#"{"a":{"b":true}}"#, r#"{"a":{"b":false}}"#, r#"{"a":{"b":"maybe"}}"#),
        (Format::Json, "a.b", r#"{"a":["b"]}"#, r#"{"a":["c"]}"#, r#"{"a":"b"}"#),
        (Format::Form, "a", "x=1&a=true", "a=false&x=1", "a=&x=1"),
        (kv(), "a", "x:1,a:true", "a:false", "a:true,a:true"),
        (list, "ads", "x,ads", "x,y", ""),
    ] {
        let spec = spec(format, &[at]);
        for (value, expected) in [(granted, Granted), (denied, Denied)] {
            assert_eq!(verdict(&spec, value), expected, "{value}");
            let mut once = String::new();
            value.bytes().for_each(|byte| crate::consent::form::push_escaped(&mut once, byte));
            assert_eq!(verdict(&spec, &once), expected, "{once}");
        }
        // An empty list is a list.
        let expected = if unknown.is_empty() { Denied } else { Unknown };
        assert_eq!(verdict(&spec, unknown), expected, "{unknown}");
    }
}

#[test]
fn a_cookie_that_is_not_there_says_nothing() {
    assert_eq!(read(&spec(Format::Json, &["a"]), &[("d", b"{}")]), None);
}

#[test]
fn one_bad_byte_grants_nothing() {
    let spec = spec(Format::Json, &["a"]);
    let good = br#"{"a":true,"b":"x"}"#;
    assert_eq!(read(&spec, &[("c", good)]).unwrap().verdict, Granted);
    for at in 0..=good.len() {
        for bad in [b"\xFF".as_slice(), b"%", b"%E0%A4%-", b"\x00"] {
            let mut value = good.to_vec();
            value.splice(at..at, bad.iter().copied());
            let said = read(&spec, &[("c", &value)]).unwrap();
            assert_eq!(said, Reading::UNKNOWN, "{}", value.escape_ascii());
        }
    }
}

#[test]
fn all_choices_must_grant() {
    let spec = spec(kv(), &["a", "b"]);
    assert_eq!(verdict(&spec, "a:true,b:true"), Granted);
    assert_eq!(verdict(&spec, "a:true,b:false"), Denied);
    assert_eq!(verdict(&spec, "a:true"), Unknown);
    assert_eq!(verdict(&spec, "b:false"), Denied);
    assert_eq!(verdict(&self::spec(kv(), &[]), "a:true"), Unknown, "nothing asked is nothing granted");
}

#[test]
fn a_word_that_grants_and_denies_denies() {
    let mut spec = spec(kv(), &["a"]);
    spec.choices[0].denies = vec!["true".into()];
    assert_eq!(verdict(&spec, "a:true"), Denied);
}

#[test]
fn guards_and_versions_come_first() {
    let mut spec = spec(kv(), &["a"]);
    spec.guards = vec![Guard { path: path("done"), equals: "yes".into() }];
    spec.version = Some(Guard { path: path("v"), equals: "2".into() });
    assert_eq!(verdict(&spec, "done:yes,v:2,a:true"), Granted);
    assert_eq!(verdict(&spec, "done:yes,v:2,a:false"), Denied);
    for unknown in
        ["v:2,a:true", "done:no,v:2,a:true", "done:yes,v:1,a:true", "done:yes,a:true", "done:no,v:2,a:false"]
    {
        assert_eq!(verdict(&spec, unknown), Unknown, "{unknown}");
    }
}

#[test]
fn the_time_is_read_and_a_bad_one_is_no_choice() {
    let mut spec = spec(kv(), &["a"]);
    spec.at = vec![path("t"), path("u")];
    let at = |value: &str| read(&spec, &[("c", value.as_bytes())]).unwrap();
    assert_eq!(at("a:true,t:1718103120").at, Some(Timestamp::from_secs(1_718_103_120)));
    assert_eq!(at("a:true,u:1718103120000").at, Some(Timestamp::from_secs(1_718_103_120)));
    assert_eq!(at("a:true"), Reading::new(Granted, None));
    assert_eq!(at("a:true,t:soon"), Reading::UNKNOWN);
}

#[test]
fn without_the_other_cookie_nothing_was_chosen() {
    let mut spec = spec(Format::Flag, &["-"]);
    spec.also = vec![Also { name: Name::exact("seen"), equals: "1".into() }];
    let said = |cookies: &[(&str, &[u8])]| read(&spec, cookies).map(|reading| reading.verdict);
    assert_eq!(said(&[("c", b"true"), ("seen", b"1")]), Some(Granted));
    assert_eq!(said(&[("c", b"true"), ("seen", b"%31")]), Some(Granted));
    assert_eq!(said(&[("c", b"false"), ("seen", b"1")]), Some(Denied));
    assert_eq!(said(&[("c", b"true")]), Some(Unknown));
    assert_eq!(said(&[("c", b"true"), ("seen", b"0")]), Some(Unknown));
    assert_eq!(said(&[("c", b"true"), ("seen", b"1"), ("seen", b"0")]), Some(Denied), "copies differ");
    assert_eq!(said(&[("seen", b"1")]), None);
}

#[test]
fn copies_that_differ_deny_and_equal_ones_do_not() {
    let spec = spec(Format::Flag, &["-"]);
    let said = |values: &[&[u8]]| {
        let cookies: Vec<(&str, &[u8])> = values.iter().map(|value| ("c", *value)).collect();
        read(&spec, &cookies).unwrap().verdict
    };
    assert_eq!(said(&[b"true", b"true"]), Granted);
    assert_eq!(said(&[b"true", b"%74rue"]), Granted);
    for pair in [[b"true".as_slice(), b"false"], [b"false", b"true"], [b"true", b"what"], [b"what", b"true"]]
    {
        assert_eq!(said(&pair), Denied);
    }
}

#[test]
fn a_missing_key_among_its_like_was_refused() {
    let mut spec = spec(Format::Json, &["p.5"]);
    spec.choices[0].kind = Kind::WordOrRefused;
    spec.choices[0].paths.push(path("all"));
    assert_eq!(verdict(&spec, r#"{"p":{"1":true}}"#), Denied);
    assert_eq!(verdict(&spec, r#"{"p":{"5":true}}"#), Granted);
    assert_eq!(verdict(&spec, r#"{"all":true}"#), Granted);
    assert_eq!(verdict(&spec, r#"{"id":1}"#), Unknown);
    spec.choices[0].kind = Kind::Filled;
    assert_eq!(verdict(&spec, r#"{"p":{"5":["x"]}}"#), Granted);
    assert_eq!(verdict(&spec, r#"{"p":{"5":[]}}"#), Denied);
    assert_eq!(verdict(&spec, r#"{"p":{}}"#), Denied);
    assert_eq!(verdict(&spec, r#"{"p":{"5":true}}"#), Unknown);
    assert_eq!(verdict(&spec, r#"{}"#), Unknown);
}

#[test]
fn a_value_beyond_the_bounds_is_unknown() {
    let spec = spec(Format::Json, &["a"]);
    let long = format!(r#"{{"a":true,"b":"{}"}}"#, "x".repeat(super::text::VALUE_BYTES));
    assert_eq!(verdict(&spec, &long), Unknown);
    let deep = format!(r#"{{"a":true,"b":{}1{}}}"#, "[".repeat(9), "]".repeat(9));
    assert_eq!(verdict(&spec, &deep), Unknown);
    let wide = format!(r#"{{"a":true,"b":[{}]}}"#, vec!["0"; 256].join(","));
    assert_eq!(verdict(&spec, &wide), Unknown);
}

fn formats() -> impl Strategy<Value = Format> {
    prop_oneof![
        Just(Format::Json),
        Just(Format::Form),
        Just(kv()),
        Just(Format::List { between: "|".into() }),
        Just(Format::Flag),
        Just(Format::Tcf),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic_or_grant_without_the_word(format in formats(), value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let spec = spec(format, &["ads"]);
        let said = read(&spec, &[("c", &value)]).unwrap();
        let letters = value.iter().filter(|b| b.is_ascii_alphanumeric()).count();
        prop_assert!(said.verdict != Granted || letters >= 3);
    }

    #[test]
    fn json_of_any_shape_grants_only_by_the_word_at_the_path(keys in proptest::collection::vec("[a-c]", 0..5), word in "(true|false|1|yes|)") {
        let members: Vec<String> = keys.iter().map(|key| format!("\"{key}\":{}", if word.is_empty() || word == "yes" { "\"yes\"" } else { &word })).collect();
        let value = format!("{{{}}}", members.join(","));
        let unique = keys.iter().collect::<std::collections::HashSet<_>>().len() == keys.len();
        let granted = unique && word == "true" && keys.iter().any(|key| key == "a");
        prop_assert_eq!(verdict(&spec(Format::Json, &["a"]), &value) == Granted, granted);
    }
}
