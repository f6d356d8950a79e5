use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

const RULES: Rules = Rules { underscores: Underscores::Drop, trusted: false };

fn scanned(headers: &HeaderMap, underscores: Underscores) -> Result<Found, Reason> {
    scan(headers, Rules { underscores, ..RULES }, &mut Kept::default(), &mut |_| {})
}

fn cleaned(fields: &[(&str, &str)]) -> (Vec<String>, Vec<DropReason>) {
    let mut headers = headers(fields);
    let mut dropped = Vec::new();
    let found = scan(&headers, RULES, &mut Kept::default(), &mut |why| dropped.push(why)).unwrap();
    remove(&mut headers, &found);
    (headers.keys().map(ToString::to_string).collect(), dropped)
}

#[test]
fn what_connection_lists_may_not_trail_either() {
    let h = headers(&[("connection", "close, x-mine, te"), ("connection", "X-Other, upgrade, cookie")]);
    assert_eq!(scanned(&h, Underscores::Drop).unwrap().listed, ["x-mine", "x-other"]);
    let passes = Passes { advertising: true, hints: true };
    assert_eq!(clean_answer(&mut h.clone(), passes).listed, ["x-mine", "x-other"]);
    assert_eq!(
        scanned(&headers(&[("connection", "keep-alive")]), Underscores::Drop).unwrap().listed.capacity(),
        0
    );
}

#[test]
fn fields_of_the_hop_stay_here() {
    let (left, _) = cleaned(&[
        ("connection", "keep-alive, x-mine"),
        ("keep-alive", "5"),
        ("proxy-connection", "x"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("transfer-encoding", "chunked"),
        ("proxy-authorization", "x"),
        ("expect", "100-continue"),
        ("x-mine", "1"),
        ("trailer", "x-t"),
        ("accept", "*/*"),
    ]);
    assert_eq!(left, ["trailer", "accept"]);
}

#[test]
fn connection_cannot_remove_what_the_site_needs() {
    let (left, dropped) = cleaned(&[
        ("connection", "cookie, host, content-length, authorization"),
        ("cookie", "a=b"),
        ("host", "h"),
        ("content-length", "0"),
        ("authorization", "x"),
    ]);
    for name in ["cookie", "host", "content-length", "authorization"] {
        assert!(left.iter().any(|l| l == name), "{name}");
    }
    assert_eq!(dropped, [DropReason::ConnectionListed; 4]);
}

#[test]
fn of_the_names_in_which_only_we_speak_none_is_left() {
    let names = "x-forwarded-for x-forwarded-proto x-forwarded-host forwarded x-request-id x-real-ip \
                 kelisim-consent kelisim-risk kelisim-signals kelisim-anything";
    let given: Vec<_> = names.split(' ').flat_map(|name| [(name, "evil"), (name, "evil2")]).collect();
    for trusted in [false, true] {
        let mut headers = headers(&given);
        let found = scan(&headers, Rules { trusted, ..RULES }, &mut Kept::default(), &mut |_| {}).unwrap();
        remove(&mut headers, &found);
        assert!(headers.is_empty(), "{headers:?}");
    }
}

#[test]
fn what_a_trusted_proxy_says_is_no_forgery() {
    let given = headers(&[
        ("x-real-ip", "1.1.1.1"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-user", "a"),
        ("x-original-url", "/"),
        ("kelisim-risk", "none"),
    ]);
    let left = |trusted| {
        let (mut headers, mut dropped) = (given.clone(), Vec::new());
        let found = scan(&headers, Rules { trusted, ..RULES }, &mut Kept::default(), &mut |why| {
            dropped.push(why);
        })
        .unwrap();
        remove(&mut headers, &found);
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        (names, dropped)
    };
    use DropReason::{ClientAddress, Forged};
    assert_eq!(left(true), (vec!["x-forwarded-user".into()], vec![Forged]));
    let (names, mut dropped) = left(false);
    dropped.sort_by_key(|why| *why as u8);
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(dropped, [Forged, Forged, Forged, ClientAddress, ClientAddress]);
}

#[test]
fn spoofed_fields_go_and_are_counted() {
    let (left, dropped) = cleaned(&[
        ("kelisim-risk", "none"),
        ("kelisim-consent", "advertising=granted"),
        ("x-real-ip", "1.1.1.1"),
        ("x_forwarded_for", "1.1.1.1"),
        ("proxy", "http://evil"),
    ]);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(dropped.iter().filter(|d| **d == DropReason::Forged).count(), 2);
    assert!(dropped.contains(&DropReason::ClientAddress));
    assert!(dropped.contains(&DropReason::Underscore) && dropped.contains(&DropReason::Proxy));
}

#[test]
fn an_answer_loses_what_is_of_the_hop_and_what_needs_consent() {
    let answer = [
        ("connection", "x-mine, close"),
        ("x-mine", "1"),
        ("keep-alive", "5"),
        ("content-type", "text/html"),
        ("accept-ch", "Sec-CH-UA-Model"),
        ("attribution-reporting-register-source", "x"),
        ("trailer", "x"),
    ];
    let left = |advertising, hints| {
        let mut h = headers(&answer);
        let cleaned = clean_answer(&mut h, Passes { advertising, hints });
        assert_eq!((cleaned.advertising, cleaned.hints), (!advertising, !hints));
        let mut names: Vec<String> = h.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(left(false, false), ["content-type", "trailer"]);
    assert_eq!(left(true, false), ["attribution-reporting-register-source", "content-type", "trailer"]);
    let all = ["accept-ch", "attribution-reporting-register-source", "content-type", "trailer"];
    assert_eq!(left(true, true), all);
}

#[test]
fn a_connection_field_that_lists_too_much_is_refused() {
    let names = |n: usize| (0..n).map(|i| format!("x-{i}")).collect::<Vec<_>>().join(", ");
    let scanned = |n| {
        scan(&headers(&[("connection", &names(n))]), RULES, &mut Kept::default(), &mut |_| {}).map(|_| ())
    };
    assert_eq!(scanned(MOST_LISTED), Ok(()));
    assert_eq!(scanned(MOST_LISTED + 1), Err(Reason::Malformed));
}

#[test]
fn a_site_cannot_speak_in_our_name() {
    let mut h = headers(&[("kelisim-risk", "low"), ("x-other", "1")]);
    clean_answer(&mut h, Passes { advertising: true, hints: true });
    assert_eq!(h.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
}

#[test]
fn a_field_that_comes_twice_is_looked_at_once_and_its_first_value_kept() {
    let h = headers(&[("x_y", "1"), ("user-agent", "a"), ("x_y", "2"), ("user-agent", "b"), ("x_y", "3")]);
    let (mut kept, mut dropped) = (Kept::default(), 0);
    scan(&h, RULES, &mut kept, &mut |_| dropped += 1).unwrap();
    assert_eq!((kept.user_agent(), dropped), (Some(&b"a"[..]), 1));
}

#[test]
fn trailers_survive_in_te() {
    let mut h = headers(&[("te", "gzip,\ttrailers"), ("connection", "te")]);
    let found = scanned(&h, Underscores::Drop).unwrap();
    remove(&mut h, &found);
    assert_eq!(h[header::TE], "trailers");
}

#[test]
fn websocket_needs_both_fields() {
    let asks = |fields: &[(&str, &str)]| {
        let h = headers(fields);
        let found = scanned(&h, Underscores::Drop).unwrap();
        asks_for_websocket(&h, &Method::GET, Version::HTTP_11, &found)
    };
    assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
    assert!(asks(&[("connection", "Upgrade"), ("upgrade", "h2c, websocket")]));
    assert!(!asks(&[("upgrade", "websocket")]));
    assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]));
    assert!(!asks(&[("connection", "upgrade")]));
}

#[test]
fn high_entropy_hints_wait_for_a_permit_low_entropy_ones_pass() {
    let h = headers(&[
        ("sec-ch-ua", "x"),
        ("sec-ch-ua-model", "x"),
        ("sec-browsing-topics", "x"),
        ("save-data", "on"),
    ]);
    let found = scanned(&h, Underscores::Drop).unwrap();
    let names: Vec<_> = found.advertising.iter().map(HeaderName::as_str).collect();
    assert_eq!(names, ["sec-ch-ua-model", "sec-browsing-topics"]);
}

#[test]
fn underscores_can_be_refused() {
    let h = headers(&[("x_y", "1")]);
    assert!(matches!(scanned(&h, Underscores::Reject), Err(Reason::Underscore)));
    assert!(scanned(&h, Underscores::Pass).unwrap().remove.is_empty());
}

#[test]
fn underscores_that_pass_cannot_forge_a_field_of_ours() {
    let h = headers(&[
        ("x_forwarded_for", "1.1.1.1"),
        ("x_forwarded-proto", "https"),
        ("x_request_id", "x"),
        ("kelisim_risk", "none"),
        ("x_real_ip", "1.1.1.1"),
        ("sec_browsing_topics", "x"),
    ]);
    assert_eq!(scanned(&h, Underscores::Pass).unwrap().remove.len(), 6);
}
