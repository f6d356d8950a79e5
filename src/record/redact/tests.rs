use std::borrow::Cow;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A text with some of its bytes as escapes, and those encoded again in further rounds.
pub(super) fn encoded(text: &str, which: u64, rounds: usize) -> String {
    let byte = |(at, byte): (usize, u8)| match rounds > 0 && which >> (at % 64) & 1 == 1 {
        true => format!("%{byte:02X}"),
        false => char::from(byte).to_string(),
    };
    let once: String = text.bytes().enumerate().map(byte).collect();
    (1..rounds).fold(once, |text, _| text.replace('%', "%25"))
}

/// A text decoded until nothing changes.
pub(super) fn unwrapped(text: &str) -> String {
    let mut text = text.as_bytes().to_vec();
    loop {
        let decoded = decode(&text).into_owned();
        if decoded == text {
            return String::from_utf8_lossy(&text).into_owned();
        }
        text = decoded;
    }
}

fn stripped(query: &str) -> String {
    String::from_utf8(strip_click_ids(query.as_bytes()).into_owned()).expect("only bytes of the query")
}

#[test]
fn click_ids_go_and_all_else_keeps_bytes_order_and_encoding() {
    for (query, expected) in [
        ("", ""),
        ("gclid=1", ""),
        ("gclid", ""),
        ("a=1&gclid=x&b=%7e+", "a=1&b=%7e+"),
        ("gclid=x&a=1", "a=1"),
        ("a=1&gclid=x", "a=1"),
        ("gclid=x&fbclid=y&a=1", "a=1"),
        ("a=1&gclid=x&fbclid=y", "a=1"),
        ("g%63lid=1&%67clid=2&a", "a"),
        ("a=1;yclid=2;b=3", "a=1;b=3"),
        ("hsa_acc=1&vero_id=2&oft_x=3&hs=4", "hs=4"),
        ("&&a=1&&gclid=2&", "&&a=1&&"),
        ("a=1&GCLID=2&SCCID=3", "a=1"),
    ] {
        assert_eq!(stripped(query), expected, "{query}");
    }
}

#[test]
fn other_keys_stay() {
    for query in ["erid=2Vtzq", "xgclid=1&gclid2=2", "q=gclid", "utm_source=a&itm_b=c", "a=%zz%&b=%", "epi=1"]
    {
        assert_eq!(stripped(query), query);
        assert!(matches!(strip_click_ids(query.as_bytes()), Cow::Borrowed(_)), "{query}");
    }
}

#[test]
fn click_ids_in_a_nested_url_go() {
    for (query, expected) in [
        ("u=https%3A%2F%2Fa.example%2F%3Fgclid%3D1%26b%3D2&c=3", "u=https%3A%2F%2Fa.example%2F%3Fb%3D2&c=3"),
        ("u=https%3A%2F%2Fa.example%2F%3Fb%3D2%26gclid%3D1", "u=https%3A%2F%2Fa.example%2F%3Fb%3D2"),
        ("u=https://a.example/?gclid=1&c=3", "u=https://a.example/?&c=3"),
        ("u=%2F%23gclid%3D1", "u=%2F%23"),
        ("u=%252F%253Fyclid%253D1%2526b%253D2", "u=%252F%253Fb%253D2"),
        ("u=%2F%3Fv%3D%252F%253Fgclid%253D1%26w%3D1", "u=%2F%3Fv%3D%252F%253F%26w%3D1"),
        ("u=%2F%3Fg%2563lid%3D1", "u=%2F%3F"),
        ("https%3A%2F%2Fa.example%3Fgclid%3D1", "https%3A%2F%2Fa.example%3F"),
    ] {
        assert_eq!(stripped(query), expected, "{query}");
    }
}

#[test]
fn a_value_that_tells_a_click_id_in_another_way_goes() {
    for (query, expected) in [
        ("q=gclid%3DX&a=1", "q=&a=1"),
        ("q=gclid=X", "q="),
        ("&&a=%41;q=%7B%22gclid%22%3A%22X%22%7D;b=2", "&&a=%41;q=;b=2"),
        ("q=gclid/X", "q="),
        ("q=%7Cgclid%3DX", "q="),
        ("q=a,gclid:X", "q="),
        ("gclid[]=X&a=1", "a=1"),
        ("data[gclid]=X", ""),
        ("a%3Dgclid=X&b=1", "b=1"),
        ("a?gclid=X&b", "a?&b"),
    ] {
        assert_eq!(stripped(query), expected, "{query}");
    }
}

#[test]
fn what_is_nested_deeper_than_is_looked_at_goes() {
    let mut nested = "/?gclid=1&a=2".to_owned();
    for depth in 1..=MAX_NESTING + 1 {
        nested = nested.replace('%', "%25");
        nested = nested.replace('/', "%2F").replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
        let left = stripped(&format!("u={nested}&b=3"));
        assert!(!unwrapped(&left).contains("gclid"), "{left}");
        assert_eq!(left == "u=&b=3", depth > MAX_NESTING, "{left}");
    }
}

#[test]
fn keys_are_told_without_click_ids_and_bare_values() {
    let keys: Vec<&[u8]> = query_keys(b"a=1&gclid=2&secret&b=&=3&fb%63lid=4;c=5").collect();
    assert_eq!(keys, [b"a".as_slice(), b"b", b"c"]);
}

proptest! {
    #[test]
    fn no_value_of_a_click_id_survives(
        before in "[a-z%/;&=?#.]{0,6}",
        name in prop_oneof![
            Just("gclid="), Just("YClid="), Just("fbclid[]="), Just("x[ttclid]="), Just("\"gclid\": \""),
            Just("hsa_acc="), Just("gclid/"), Just("mindbox-click-id="),
        ],
        which in any::<u64>(),
        rounds in 0..=MAX_NESTING + 1,
        after in "([;&/.][a-z%=]{0,4})?",
    ) {
        // A byte between keeps the name a word of its own.
        let told = encoded(&format!("{name}S3cret"), which, rounds);
        for query in [format!("{before}.{told}{after}"), format!("u={before}.{told}{after}")] {
            let left = stripped(&query);
            prop_assert!(!unwrapped(&left).contains("S3cret"), "{query} became {left}");
            prop_assert_eq!(stripped(&left), left, "again");
        }
    }

    #[test]
    fn a_harmless_query_is_borrowed(query in "([a-b]=[a-z0-9_.,~!'()*+/-]{0,9}&|u=https%3A%2F%2Fx.kz%2F%3Fa%3D1%26b&|;c&){0,6}") {
        prop_assume!(!query.contains("id/"));
        prop_assert!(matches!(strip_click_ids(query.as_bytes()), Cow::Borrowed(_)), "{query}");
    }

    #[test]
    fn a_key_that_is_recorded_reads_like_a_name(query in "([a-zA-Z0-9%@=&.+/_-]|%40|%25|0123456789abcdef){0,40}") {
        for key in query_keys(query.as_bytes()) {
            let name = unwrapped(str::from_utf8(key).unwrap());
            prop_assert!(!name.contains(['@', '%', '=', '/', '+', ' ']), "{name} of {query}");
            let runs = name.split(|c: char| !c.is_ascii_hexdigit()).map(str::len);
            prop_assert!(runs.max() < Some(32), "{name} of {query}");
        }
    }

    #[test]
    fn no_click_id_is_left_and_nothing_is_invented(query in "(gclid|a|b|%67clid|=|&|;|%3F|%26|%3D|%|\\?|1|%25){0,24}") {
        let left = stripped(&query);
        // What is left is the query with parts taken out.
        let mut rest = query.chars();
        prop_assert!(left.chars().all(|c| rest.any(|r| r == c)), "{query} became {left}");
        // A bare key that is left when the rest of its pair went tells no id.
        for pair in left.split(['&', ';']).filter(|pair| pair.contains('=')) {
            let key = pair.split('=').next().unwrap_or_default();
            prop_assert!(decode(key.as_bytes()) != b"gclid".as_slice(), "{query} became {left}");
        }
    }
}

/// Names of the list that we keep: they belong to mail and message tools, tell no click on an advertisement, and some
/// are needed for unsubscribing.
const KEPT: [&str; 11] = [
    "_bhlid",
    "at_recipient_id",
    "at_recipient_list",
    "bbeml",
    "sc_customer",
    "sc_eh",
    "sc_uid",
    "sms_click",
    "sms_source",
    "sms_uph",
    "ss_email_id",
];

#[test]
fn agrees_with_the_browser_list() {
    let corpora = std::env::var("KELISIM_CORPORA").unwrap_or_else(|_| "../shared/corpora".to_owned());
    let Ok(text) = std::fs::read_to_string(Path::new(&corpora).join("brave-query-filter/query-filter.json"))
    else {
        eprintln!("skipped: corpus brave-query-filter not found");
        return;
    };
    let rules: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let names: Vec<&str> =
        rules[0]["params"].as_array().expect("a list").iter().filter_map(|v| v.as_str()).collect();
    assert_eq!(names.len(), 65);
    for name in names {
        let query = format!("a=%41&{name}=1&erid=2");
        let expected = if KEPT.contains(&name) { query.clone() } else { "a=%41&erid=2".to_owned() };
        assert_eq!(stripped(&query), expected);
    }
}

#[test]
fn only_allowed_values_are_kept() {
    let allowed = ["page".to_owned(), "gclid".to_owned()];
    assert_eq!(allowed_values(b"page=2&q=secret&%70age=3&gclid=x", &allowed).unwrap(), b"page=2&%70age=3");
    assert_eq!(allowed_values(b"q=secret", &allowed), None);
    assert_eq!(allowed_values(b"page=2", &[]), None);
}

#[test]
fn a_page_is_known_without_its_query_and_user() {
    let of = |url: &'static str| {
        let Page { origin, authority, path } = page(url.as_bytes())?;
        Some([origin, authority, path].map(|part| str::from_utf8(part).unwrap()))
    };
    assert_eq!(of("https://a.example:8/b?c#d"), Some(["https://a.example:8", "a.example:8", "/b"]));
    assert_eq!(of("http://a.example"), Some(["http://a.example", "a.example", ""]));
    assert_eq!(of("https://a.example#/b"), Some(["https://a.example", "a.example", ""]));
    assert_eq!(of("https://[2001:db8::1]:8443/b").map(|parts| parts[1]), Some("[2001:db8::1]:8443"));
    for none in [
        "https://user:pw@a.example/",
        "https://user@a.example/b",
        "android-app://x",
        "https://",
        "/b",
        "https://a.example:zSECRET/",
        "https://a.example:123456/",
        "https://a.example:/",
        "https://:80/",
        "https://a.example;zSECRET=1/",
        "https://a.example%40SECRET/",
        "https://[::1]SECRET/",
        "https://[::1/",
        "https://[SECRET]/",
    ] {
        assert_eq!(of(none), None, "{none}");
    }
    let long = format!("https://{}/", "a".repeat(LONGEST_HOST + 1));
    assert_eq!(page(long.as_bytes()), None);
}

#[test]
fn what_is_no_name_of_a_parameter_is_no_key() {
    let keys: Vec<_> = query_keys(b"a=1&ivan@mail.example=1&b[0]=2&%D0%B0=3").collect();
    assert_eq!(keys, [&b"a"[..], b"b[0]", b"%D0%B0"]);
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    // Quadratic, each of these would take minutes.
    for piece in
        ["a-", "]=", "[=", "\"=", "a[b]=", "/", ";a=", "&", "%25", "gclid=", "=%3D", "?", "+:", "-=", "(S("]
    {
        let text = piece.repeat((1 << 18) / piece.len());
        let _ =
            (path(text.as_bytes()), strip_click_ids(text.as_bytes()), query_keys(text.as_bytes()).count());
    }
}

#[test]
fn a_value_in_the_place_of_a_key_is_no_key() {
    let long = "x".repeat(64);
    for query in [
        "dG9rZW4xMjM0NXNlc3Npb24==",
        "dG9rZW4==",
        "a===",
        "c2VjcmV0LXNlY3JldC1zZWM=",
        "eyJhbGciOiJub25lIn0.eyJ1IjoxfQ.c2ln=",
        "eyJhbGciOiJub25lIn0.eyJ1IjoxfQ.c2ln=1",
        "0123456789abcdef0123456789ABCDEF=1",
        "id-0123456789abcdef0123456789%41BCDEF=1",
        "bob%40example.com=1",
        "bob%2540example.com=1",
        "bob%20smith=1",
        "a%00=1",
        "%ff=1",
        &format!("{long}x=1"),
    ] {
        assert_eq!(query_keys(query.as_bytes()).count(), 0, "{query}");
    }
    for query in ["a=", "filter_by_category=", "filter_by_the_category=1", &format!("{long}=1")] {
        assert_eq!(query_keys(query.as_bytes()).count(), 1, "{query}");
    }
}

#[test]
fn only_tokens_are_kept_of_fetch_metadata() {
    assert_eq!(token(b"same-origin"), Some(&b"same-origin"[..]));
    assert_eq!(token(b"ivan@mail"), None);
    assert_eq!(token(b""), None);
}
