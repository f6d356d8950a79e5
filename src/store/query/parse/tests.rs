//! What the language means, and where its mistakes are shown.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_written_is_what_is_meant() {
    for (written, meant) in [
        ("", ""),
        ("  status>=500  ", "http.response.status_code>=500"),
        ("path~^/api", "url.path~^/api"),
        ("path~^/a{1,2}$", "url.path~^/a{1,2}$"),
        ("path~\"a b\\.c\"", "url.path~\"a b\\\\.c\""),
        ("-ip:10.1.2.3/8", "-client.address:10.0.0.0/8"),
        ("ip=::ffff:10.0.0.1", "client.address=10.0.0.1"),
        ("since:2h", "since:2h"),
        ("until:2026-11-22T10:00", "until:2026-11-22T10:00:00.000000Z"),
        ("id=0190-abc", "request.id=0190-abc"),
        ("path=\"/a \\\"b\\\"\"", "url.path=\"/a \\\"b\\\"\""),
        ("status=404,410", "http.response.status_code=404,410"),
        ("http_request_method=GET", "http.request.method=GET"),
        ("error:* -stripped:*", "error.type:* -cookies.stripped:*"),
        ("path:\"*\"", "url.path:\"*\""),
        ("duration>200ms bytes>1MiB", "event.duration>200ms http.response.body.size>1MiB"),
        ("gpc=yes", "gpc=true"),
        ("path!~x y.z=1", "?"),
    ] {
        let shown = parse(written).map_or_else(|_| "?".to_owned(), |f| f.to_string());
        assert_eq!(shown, meant, "{written}");
    }
}

#[test]
fn mistakes_are_pointed_at() {
    for (text, marked, message) in [
        ("statsu=1", "statsu", "there is no field `statsu`"),
        ("status", "status", "not followed by an operator"),
        ("path=/a b", "b", "not followed by an operator"),
        ("status=abc", "abc", "no number"),
        ("duration>200", "200", "no duration"),
        ("bytes>1XB", "1XB", "no number of bytes"),
        ("ip=nobody", "nobody", "no address"),
        ("gpc=perhaps", "perhaps", "no yes or no"),
        ("since:soon", "soon", "no time"),
        ("since>2h", "since>", "takes `:`"),
        ("path>a", "a", "does not go with"),
        ("status~5..", "5..", "does not go with"),
        ("status>1,2", "2", "one value"),
        ("path~(", "(", "regular expression"),
        ("path=", "", "value is missing"),
        ("path=\"a", "\"", "not closed"),
        ("path=a\"b", "\"", "quote inside"),
        ("path=\"a\"b", "", "space is missing"),
        ("=5", "=", "field name is missing"),
        ("status=200 - path=/", " ", "field name is missing"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(&text[error.span.clone()], marked, "{text}");
        assert!(error.message.contains(message), "{text}: {}", error.message);
    }
}

#[test]
fn the_caret_is_under_the_mistake() {
    let error = parse("path=/қ statsu>=500").expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "there is no field `statsu`\n  path=/қ statsu>=500\n          ^^^^^^\n  hint: did you mean status?"
    );
}

#[test]
fn limits_hold() {
    assert!(parse(&"a".repeat(FILTER_BYTES + 1)).is_err());
    let values = vec!["1"; TERMS].join(",");
    assert!(parse(&format!("status={values}")).is_ok());
    assert!(parse(&format!("status={values},1")).is_err());
    assert!(parse("path~(((a{100}){100}){100})").is_err(), "a pattern beyond its memory");
}

proptest! {
    #[test]
    fn no_text_upsets_the_parser(text in "(status|path|ip|since|-|=|!=|~|:|>|\"|,| |\\\\|қ|\\PC){0,12}") {
        match parse(&text) {
            Ok(filter) => prop_assert_eq!(parse(&filter.to_string()), Ok(filter)),
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some());
                prop_assert!(error.to_string().contains('^'));
            }
        }
    }
}
