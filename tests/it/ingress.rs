//! Each rule for heads and trailers, over each protocol, where [`crate::front_door`] has not asked already.
//!
//! The site's harness suspects every field that no gateway may pass, and every field of ours that is not there once.

use std::sync::{Mutex, mpsc};

use crate::support::one_stream::{Ended, OneStream, pseudo};
use crate::support::{Answer, Gateway, HOST, Origin, Protocol, Seen, Visitor, ask, wait_for};

/// Sends a head over HTTP/1.1 and gives the status.
fn status(gateway: &Gateway, head: &str) -> u16 {
    let mut client = gateway.client();
    client.send(head);
    client.read().status
}

fn frames(gateway: &Gateway) -> OneStream {
    OneStream::connect(gateway.addresses[0])
}

/// The fields that the site trusts say the truth, whatever was sent.
fn assert_honest(seen: &Seen, what: &str) {
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", HOST),
        ("forwarded", "for=127.0.0.1;host=kz.example;proto=http"),
    ] {
        assert_eq!(seen.headers.all(name), [value], "{name} after {what}");
    }
    assert_ne!(seen.headers.one("x-request-id"), Some(LIE), "{what}");
    assert!(!seen.headers.one("kelisim-consent").unwrap().contains(LIE), "{what}");
    for (name, value) in seen.headers.0.iter().chain(&seen.trailers.0) {
        assert!(!value.contains(LIE), "{name} after {what}");
    }
}

const LIE: &str = "203.0.113.66";

/// What sites trust, and what some sites trust.
const TRUSTED: &[&str] = &[
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "Forwarded",
    "X-Request-Id",
    "Kelisim-Consent",
    "Kelisim-Risk",
    "Kelisim-Signals",
    "Kelisim-Country",
    "Kelisim-Network",
    "CF-IPCountry",
    "X-Real-Ip",
    "True-Client-Ip",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Proxy-Client-IP",
    "Akamai-Client-IP",
    "Forwarded-For",
    "X-Original-For",
    "X-Originally-Forwarded-For",
    "Remote-User",
    "X-Remote-User",
    "X-Original-URL",
    "X-Rewrite-URL",
];

#[test]
fn nobody_sets_directly_what_the_site_trusts() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        for name in TRUSTED {
            let name = name.to_ascii_lowercase();
            let question = ask("GET", "/").header(&name, LIE).header(&name, LIE);
            assert_eq!(visitor.fetch(question).status, 200);
            assert_honest(&origin.last(), &format!("{name} over {protocol:?}"));
        }
    }
    for (reason, least) in [("client_address", 16.0), ("forged", 12.0)] {
        let label = format!("reason=\"{reason}\"");
        assert!(gateway.metric("kelisim_ingress_dropped_headers_total", &[&label]) >= least, "{reason}");
    }
}

#[test]
fn nobody_sets_with_underscores_what_the_site_trusts() {
    let origin = Origin::pages();
    for mode in ["drop", "pass"] {
        let gateway = Gateway::build(&[&origin]).key("ingress.underscores", &format!("{mode:?}")).start();
        for protocol in Protocol::ALL {
            let mut visitor = Visitor::new(&gateway, protocol);
            for name in TRUSTED.iter().filter(|name| name.contains('-')) {
                let name = name.to_ascii_lowercase();
                for forged in [name.replace('-', "_"), name.replacen('-', "_", 1)] {
                    assert_eq!(visitor.fetch(ask("GET", "/").header(&forged, LIE)).status, 200);
                    assert_honest(&origin.last(), &format!("{forged} over {protocol:?}, {mode}"));
                }
            }
        }
        assert!(gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"underscore\""]) >= 50.0);
    }
}

#[test]
fn connection_removes_nothing_that_the_site_trusts() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for name in TRUSTED.iter().chain(&["Host", "Cookie", "Content-Length", "Authorization"]) {
        let question = ask("POST", "/")
            .header("Connection", &format!("keep-alive, {name}"))
            .header("Cookie", "sessionid=1")
            .header("Authorization", "Basic x")
            .body("body");
        let question = if TRUSTED.contains(name) { question.header(name, LIE) } else { question };
        assert_eq!(client.fetch(&question).status, 200, "{name}");
        let seen = origin.last();
        assert_honest(&seen, name);
        assert_eq!((seen.headers.one("cookie"), seen.body.as_slice()), (Some("sessionid=1"), &b"body"[..]));
        assert_eq!(seen.headers.one("authorization"), Some("Basic x"));
    }
    // Over HTTP/2 such a request is malformed (RFC 9113 §8.2.2).
    let before = origin.count();
    for name in ["x-forwarded-for", "close"] {
        let mut head = pseudo("GET", "/");
        head.push(("connection", name));
        assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Refused);
    }
    assert_eq!(origin.count(), before);
    let counted = gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"connection_listed\""]);
    assert!(counted >= 12.0, "{counted}");
}

#[test]
fn no_trailer_says_what_the_site_trusts() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let others =
        ["Host", "Cookie", "Content-Length", "Transfer-Encoding", "Authorization", "Set-Cookie", "TE"];
    for name in TRUSTED.iter().chain(&others) {
        for name in [name.to_ascii_lowercase(), name.to_ascii_lowercase().replace('-', "_")] {
            let mut client = gateway.client();
            client.send(format!(
                "POST /h1/{name} HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\n\
                 Trailer: {name}, x-test-sum\r\n\r\n1\r\na\r\n0\r\n{name}: {LIE}\r\nx-test-sum: 1\r\n\r\n"
            ));
            // Framing in a trailer may also be refused altogether.
            if client.try_read().is_some_and(|reply| reply.status == 200) {
                assert_trailers(&origin, &format!("/h1/{name}"));
            }
            let (target, announced) = (format!("/h2/{name}"), format!("{name}, x-test-sum"));
            let mut head = pseudo("POST", &target);
            head.push(("trailer", &announced));
            let mut frames = frames(&gateway);
            frames.fields(&head, false).data(b"a", false);
            if frames.fields(&[(&name, LIE), ("x-test-sum", "1")], true).ended() == Ended::Answered(200) {
                assert_trailers(&origin, &target);
            }
        }
    }
    for protocol in ["/h1/", "/h2/"] {
        let passed = origin.seen().iter().filter(|seen| seen.target.starts_with(protocol)).count();
        assert!(passed >= 2 * TRUSTED.len(), "{protocol}: {passed}");
    }
}

/// Of the request with this target: the harmless trailer came, and no lie. A request that was refused may be noted late.
fn assert_trailers(origin: &Origin, target: &str) {
    let seen = origin.seen().into_iter().find(|seen| seen.target == target).expect("the request");
    assert_honest(&seen, target);
    assert_eq!(seen.trailers.one("x-test-sum"), Some("1"), "{target}");
}

#[test]
fn a_trailer_that_connection_lists_stays_here_and_every_lost_one_is_counted() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |seen| {
        if seen.target == "/length" {
            wait.lock().unwrap().recv().unwrap();
        }
        Answer::new(200)
            .header("Connection", "keep-alive, X-Test-Hop")
            .header("Trailer", "X-Test-Hop, X-Test-Sum")
            .chunked(["a", "b"])
            .trailer("X-Test-Hop", "1")
            .trailer("X-Test-Sum", "2")
            .trailer("X-Test-Late", "3")
    });
    let gateway = Gateway::of(&origin);
    let mut lost = 0.0;
    let mut counted = |more: f64, what: &str| {
        lost += more;
        wait_for(what, || {
            let metric = gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"trailer\""]);
            assert!(metric <= lost, "{what}: {metric} of {lost}");
            (metric == lost).then_some(())
        });
    };
    let mut client = gateway.client();
    for (te, reached, more) in [("TE: trailers\r\n", Some("2"), 1.0 + 2.0), ("", None, 1.0 + 3.0)] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: kz.example\r\nTransfer-Encoding: chunked\r\nConnection: X-Test-Own\r\n{te}\
             Trailer: x-test-own, x-test-sum\r\n\r\n1\r\na\r\n0\r\nx-test-own: 1\r\nx-test-sum: 1\r\n\r\n"
        ));
        let reply = client.read();
        assert_eq!((reply.text().as_str(), reply.trailers.one("x-test-sum")), ("ab", reached));
        assert!(
            !reply.trailers.has("x-test-hop") && !reply.trailers.has("x-test-late"),
            "{:?}",
            reply.trailers
        );
        let seen = origin.last();
        assert_eq!((seen.trailers.one("x-test-sum"), seen.trailers.one("x-test-own")), (Some("1"), None));
        counted(more, te);
    }
    let reply = gateway.http2().fetch(&ask("GET", "/"));
    assert_eq!((reply.trailers.one("x-test-sum"), reply.trailers.one("x-test-late")), (Some("2"), Some("3")));
    assert!(!reply.trailers.has("x-test-hop"));
    counted(1.0, "HTTP/2");
    // Towards the site this body has a length, and no room for trailers. A site that answers before they come has no need
    // of them, and this one waits.
    let mut frames = frames(&gateway);
    let mut head = pseudo("POST", "/length");
    head.push(("content-length", "1"));
    frames.fields(&head, false).data(b"a", false).fields(&[("x-test-sum", "1")], true).settle();
    go.send(()).unwrap();
    assert_eq!(frames.ended(), Ended::Answered(200));
    counted(1.0 + 1.0, "a known length");
}

#[test]
fn trailers_of_an_answer_say_nothing_that_a_head_decides() {
    let origin = Origin::start(|_| {
        Answer::new(200)
            .header("Trailer", "X-Test-Sum, Set-Cookie, Kelisim-Risk, Location, Cache-Control")
            .chunked(["a"])
            .trailer("X-Test-Sum", "1")
            .trailer("Set-Cookie", "_fbp=1")
            .trailer("Kelisim-Risk", "none")
            .trailer("Location", "/")
            .trailer("Cache-Control", "public")
    });
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).fetch(ask("GET", "/").header("te", "trailers"));
        let names: Vec<&str> = reply.trailers.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 1, "{protocol:?}: {names:?}");
        assert_eq!(reply.trailers.one("x-test-sum"), Some("1"));
    }
}

#[test]
fn te_keeps_the_trailers_that_the_client_takes() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for (te, kept) in [
        ("trailers", true),
        ("deflate;q=0.5,\ttrailers", true),
        ("Trailers , gzip", true),
        ("gzip", false),
        ("xtrailers", false),
    ] {
        client.fetch(&ask("GET", "/").header("TE", te).header("Connection", "TE"));
        assert_eq!(origin.last().headers.one("te"), kept.then_some("trailers"), "{te}");
    }
    gateway.http2().fetch(&ask("GET", "/").header("te", "trailers"));
    assert_eq!(origin.last().headers.one("te"), Some("trailers"));
    let mut head = pseudo("GET", "/");
    head.push(("te", "gzip"));
    assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Refused);
}

#[test]
fn http_1_0_needs_a_host_too() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert!(answer.starts_with("HTTP/1.0 400") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(origin.count(), 0);
}

#[test]
fn in_http_2_the_authority_is_one_good_host() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let asked = |authority: &str, host: &[&str]| {
        let mut head = vec![(":method", "GET"), (":scheme", "http"), (":path", "/")];
        if !authority.is_empty() {
            head.push((":authority", authority));
        }
        head.extend(host.iter().map(|host| ("host", *host)));
        frames(&gateway).fields(&head, true).ended()
    };
    assert_eq!(asked(HOST, &[]), Ended::Answered(200));
    assert_eq!(asked(HOST, &[HOST]), Ended::Answered(200));
    assert_eq!(origin.last().headers.all("host"), [HOST]);
    for (authority, host) in [
        ("user@kz.example", &[][..]),
        ("kz.example:99999", &[]),
        ("kz.example:x", &[]),
        ("", &[]),
        (HOST, &["www.kz.example"]),
        (HOST, &["kz.example:80"]),
        (HOST, &[HOST, HOST]),
        ("", &[HOST, "evil.example"]),
    ] {
        let ended = asked(authority, host);
        assert!(matches!(ended, Ended::Answered(400) | Ended::Refused), "{authority} {host:?}: {ended:?}");
    }
    assert_eq!(asked("evil.example", &[]), Ended::Answered(421));
    assert_eq!(origin.count(), 2);
}

#[test]
fn connect_is_refused_whatever_the_host_and_trace_too() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for authority in ["kz.example:443", "evil.example:443"] {
        let mut client = gateway.client();
        client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        let reply = client.read();
        assert_eq!((reply.status, reply.headers.has("allow")), (405, true), "{authority}");
        assert!(client.is_closed());
        let head = [(":method", "CONNECT"), (":authority", authority)];
        assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Answered(405), "{authority}");
    }
    assert_eq!(frames(&gateway).fields(&pseudo("TRACE", "/"), true).ended(), Ended::Answered(405));
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_asterisk_is_only_for_options() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    assert_eq!(status(&gateway, "OPTIONS * HTTP/1.1\r\nHost: kz.example\r\n\r\n"), 204);
    assert_eq!(status(&gateway, "GET * HTTP/1.1\r\nHost: kz.example\r\n\r\n"), 400);
    assert_eq!(status(&gateway, "OPTIONS * HTTP/1.1\r\n\r\n"), 400, "without a host");
    assert_eq!(status(&gateway, "OPTIONS * HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400);
    assert_eq!(status(&gateway, "OPTIONS * HTTP/1.1\r\nHost: other.example\r\n\r\n"), 421);
    assert_eq!(frames(&gateway).fields(&pseudo("OPTIONS", "*"), true).ended(), Ended::Answered(204));
    assert_ne!(frames(&gateway).fields(&pseudo("GET", "*"), true).ended(), Ended::Answered(200));
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_options_without_a_hop_left_ends_here() {
    let origin = Origin::pages();
    origin.tolerate("max-forwards");
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        let mut asked =
            |method, hops| visitor.fetch(ask(method, "/hops").header("max-forwards", hops)).status;
        let before = origin.count();
        assert_eq!(asked("OPTIONS", "0"), 204, "{protocol:?}");
        assert_eq!(origin.count(), before, "{protocol:?}");
        assert_eq!(asked("OPTIONS", "1"), 200, "{protocol:?}");
        assert_eq!(origin.last().headers.one("max-forwards"), Some("0"), "{protocol:?}");
        assert_eq!(asked("GET", "0"), 200, "{protocol:?}");
        assert_eq!(origin.last().headers.one("max-forwards"), Some("0"), "{protocol:?}");
    }
}

#[test]
fn a_value_with_blanks_at_its_ends_is_none_on_http2() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for value in [" a", "a ", "\ta", "a\t"] {
        let mut head = pseudo("GET", "/");
        head.push(("x-test-blank", value));
        assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Answered(400), "{value:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn crumbs_are_filtered_one_by_one_and_joined() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let crumbs = ["a=1", "_fbp=fb.1.2.3", "b=\"2\"", "_gcl_au=1; c=3", "kelisim_vid=x"];
    let mut head = pseudo("GET", "/");
    head.extend(crumbs.iter().map(|crumb| ("cookie", *crumb)));
    assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Answered(200));
    assert_eq!(origin.last().headers.all("cookie"), ["a=1; b=\"2\"; c=3"]);
    let question = crumbs.iter().fold(ask("GET", "/"), |ask, crumb| ask.header("Cookie", crumb));
    gateway.client().fetch(&question);
    assert_eq!(origin.last().headers.all("cookie"), ["a=1; b=\"2\"; c=3"]);
}

#[test]
fn underscores_are_treated_as_configured_over_http_2() {
    let origin = Origin::pages();
    let mut head = pseudo("GET", "/");
    head.push(("x_test", "1"));
    let reject = Gateway::build(&[&origin]).key("ingress.underscores", "\"reject\"").start();
    assert_eq!(frames(&reject).fields(&head, true).ended(), Ended::Answered(400));
    let drop = Gateway::of(&origin);
    assert_eq!(frames(&drop).fields(&head, true).ended(), Ended::Answered(200));
    origin.tolerate("x_test");
    let pass = Gateway::build(&[&origin]).key("ingress.underscores", "\"pass\"").start();
    assert_eq!(frames(&pass).fields(&head, true).ended(), Ended::Answered(200));
    assert_eq!(origin.last().headers.one("x_test"), Some("1"));
}

#[test]
fn fields_of_the_hop_stay_here_over_http_2() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut head = pseudo("GET", "/");
    head.extend([("proxy", "http://evil.example"), ("proxy-authorization", "x"), ("http2-settings", "x")]);
    assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Answered(200));
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        let mut head = pseudo("GET", "/");
        head.push((name, "x"));
        assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Refused, "{name}");
    }
    assert_eq!(origin.count(), 1);
    assert_eq!(gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"proxy\""]), 1.0);
}

#[test]
fn only_one_expectation_is_known() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for expect in ["the-unexpected", "100-continue, more", "100-continued", ""] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: kz.example\r\nExpect: {expect}\r\nContent-Length: 1\r\n\r\n");
        assert_eq!(status(&gateway, &head), 417, "{expect}");
        let mut head = pseudo("POST", "/");
        head.push(("expect", expect));
        assert_eq!(frames(&gateway).fields(&head, true).ended(), Ended::Answered(417), "{expect}");
    }
    assert_eq!(origin.count(), 0);
    let mut head = pseudo("POST", "/");
    head.push(("expect", "100-Continue"));
    let mut frames = frames(&gateway);
    assert_eq!(frames.fields(&head, false).data(b"x", true).ended(), Ended::Answered(200));
}

#[test]
fn other_upgrades_are_stripped_and_the_request_goes_on() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for (method, connection, upgrade) in [
        ("GET", "Upgrade, HTTP2-Settings", "h2c"),
        ("GET", "keep-alive", "websocket"),
        ("GET", "Upgrade", "TLS/1.0"),
        ("GET", "Upgrade", "xwebsocket"),
        ("POST", "Upgrade", "websocket"),
    ] {
        let question = ask(method, "/")
            .header("Connection", connection)
            .header("Upgrade", upgrade)
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
        assert_eq!(client.fetch(&question).status, 200, "{method} {connection} {upgrade}");
        let seen = origin.last();
        assert!(!seen.headers.has("upgrade") && !seen.headers.has("connection"), "{upgrade}");
    }
    assert_eq!(gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"upgrade\""]), 5.0);
}

#[test]
fn ambiguous_paths_are_refused_over_both_protocols() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("ingress.encoded_slashes", "\"reject\"").start();
    for path in ["/%zz", "/%0", "/a%00b", "/a%2Fb", "/a%2fb"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: kz.example\r\n\r\n");
        assert_eq!(status(&gateway, &head), 400, "{path}");
        let ended = frames(&gateway).fields(&pseudo("GET", path), true).ended();
        assert_eq!(ended, Ended::Answered(400), "{path} over HTTP/2");
    }
    assert_eq!(origin.count(), 0);
    let open = Gateway::of(&origin);
    for path in ["/a%2Fb", "//a/../%7e;x", "/?%zz=%2F"] {
        assert_eq!(frames(&open).fields(&pseudo("GET", path), true).ended(), Ended::Answered(200), "{path}");
        assert_eq!(origin.last().target, path, "raw");
    }
}
