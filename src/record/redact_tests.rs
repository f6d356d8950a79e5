use std::path::Path;

use proptest::prelude::*;

use super::*;

fn stripped(query: &str) -> String {
    String::from_utf8(strip_click_ids(query.as_bytes()).into_owned()).expect("only bytes of the query")
}

#[test]
fn the_list_is_in_order() {
    assert!(CLICK_IDS.is_sorted());
    assert!(CLICK_ID_PREFIXES.is_sorted());
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
    ] {
        assert_eq!(stripped(query), expected, "{query}");
    }
}

#[test]
fn other_keys_stay() {
    for query in [
        "erid=2Vtzq",
        "GCLID=1",
        "xgclid=1&gclid2=2",
        "q=gclid",
        "utm_source=a&itm_b=c",
        "a=%zz%&b=%",
        "epi=1",
    ] {
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
fn nesting_is_followed_to_its_limit() {
    let mut nested = "/?gclid=1".to_owned();
    for depth in 1..=MAX_NESTING + 1 {
        nested = nested.replace('%', "%25").replace('/', "%2F").replace('?', "%3F").replace('=', "%3D");
        let query = format!("u={nested}");
        assert_eq!(stripped(&query) == query, depth > MAX_NESTING, "{query}");
    }
}

#[test]
fn campaign_parameters_go_on_demand() {
    assert_eq!(&*strip(b"utm_source=a&b=1&itm_x=2&gclid=3", Campaign::Remove), b"b=1");
}

#[test]
fn keys_are_told_without_click_ids_and_bare_values() {
    let keys: Vec<&[u8]> = query_keys(b"a=1&gclid=2&secret&b%20=&=3&fb%63lid=4;c=5").collect();
    assert_eq!(keys, [b"a".as_slice(), b"b%20", b"c"]);
}

proptest! {
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
    for none in
        ["https://user:pw@a.example/", "https://user@a.example/b", "android-app://x", "https://", "/b"]
    {
        assert_eq!(of(none), None, "{none}");
    }
}

#[test]
fn a_path_that_names_a_person_is_cut_where_it_does() {
    let hex = "0123456789abcdef0123456789ABCDEF";
    for (raw, kept) in [
        ("/reset/ivan@mail.example/now".to_owned(), "/reset/~/now"),
        ("/reset/ivan%40mail.example".to_owned(), "/reset/~"),
        (format!("/reset/{hex}"), "/reset/~"),
        ("/a/b".to_owned(), "/a/b"),
        ("/deadbeef/1".to_owned(), "/deadbeef/1"),
    ] {
        assert_eq!(&*path(raw.as_bytes()), kept.as_bytes(), "{raw}");
    }
}

#[test]
fn what_is_no_name_of_a_parameter_is_no_key() {
    let keys: Vec<_> = query_keys(b"a=1&ivan@mail.example=1&b[0]=2&%D0%B0=3").collect();
    assert_eq!(keys, [&b"a"[..], b"b[0]", b"%D0%B0"]);
}

#[test]
fn only_tokens_are_kept_of_fetch_metadata() {
    assert_eq!(token(b"same-origin"), Some(&b"same-origin"[..]));
    assert_eq!(token(b"ivan@mail"), None);
    assert_eq!(token(b""), None);
}
