//! What a site's answer may be, and what is told of one that cannot be passed on.

use std::time::Duration;

use crate::support::{Answer, Gateway, Origin, Protocol, Visitor, ask, wait_for};

/// A site that answers `/late/…` without a body, and a moment later sends one all the same, which looks like an answer.
fn writing_late(status: &'static str) -> Origin {
    Origin::raw(move |mut connection| {
        while let Ok(Some(seen)) = connection.request() {
            let written = if seen.target == "/late" {
                let head = connection.send(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
                std::thread::sleep(Duration::from_millis(4));
                head.and_then(|()| connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSTRAY!"))
            } else {
                connection.answer(&Answer::text("good"))
            };
            if written.is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_body_that_may_not_be_does_not_become_another_visitors_answer() {
    for (method, status) in
        [("HEAD", "200 OK\r\nContent-Length: 44"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
    {
        let origin = writing_late(status);
        let gateway = Gateway::build(&[&origin]).key("workers", "1").start();
        let (mut one, mut other) = (gateway.client(), gateway.client());
        for _ in 0..20 {
            one.fetch(&ask(method, "/late"));
            let reply = other.get("/");
            assert_eq!((reply.status, reply.text().as_str()), (200, "good"), "{method} {status}");
        }
        // Once it was heard, it is told, and no connection is used after such an answer.
        let line = gateway.wait_for_log(0, "the server", |line| line.contains("a body where none may be"));
        assert!(line.contains("kz.example") && line.contains(&origin.address.to_string()), "{line}");
        one.fetch(&ask(method, "/late"));
        wait_for("a connection to be closed", || {
            (gateway.metric("kelisim_upstream_pool_closed_total", &["reason=\"stray\""]) >= 1.0).then_some(())
        });
    }
}

#[test]
fn an_answer_may_have_as_many_fields_and_bytes_as_the_limits_say() {
    let origin = Origin::start(|seen| {
        let number = |name: &str| seen.target.strip_prefix(name).and_then(|n| n.parse::<usize>().ok());
        let mut answer = Answer::text("whole");
        for _ in 0..number("/fields/").unwrap_or_default() {
            answer = answer.header("Link", "</s.css>; rel=preload");
        }
        answer.header("X-Test-Large", &"y".repeat(number("/bytes/").unwrap_or(1)))
    });
    let usual = Gateway::of(&origin);
    let raised = Gateway::build(&[&origin])
        .key("limits.upstream_head_fields", "300")
        .key("limits.upstream_head_bytes", "\"128KiB\"")
        .start();
    for (target, passes, passes_raised) in [
        ("/fields/150", true, true),
        // Three more that each answer has.
        ("/fields/197", true, true),
        ("/fields/198", false, true),
        ("/fields/298", false, false),
        ("/bytes/65000", true, true),
        ("/bytes/66000", false, true),
        ("/bytes/132000", false, false),
    ] {
        for (gateway, passes) in [(&usual, passes), (&raised, passes_raised)] {
            let reply =
                gateway.client().fetch_unsuspecting(&ask("GET", target).header("Accept-Language", "en"));
            assert_eq!(reply.status, if passes { 200 } else { 502 }, "{target}");
            if !passes {
                let error = "kelisim; error=http_response_header_section_size";
                assert_eq!(reply.header("proxy-status"), error, "{target}");
                assert!(reply.text().starts_with("The site's answer is too large"), "{}", reply.text());
            }
        }
    }
    let line = usual.wait_for_log(0, "the answer", |line| line.contains("upstream_head_too_large"));
    assert!(line.contains("is too large") && line.contains("kz.example"), "{line}");
}

#[test]
fn the_words_beside_a_status_are_the_sites() {
    let origin = Origin::raw(|mut connection| {
        while let Ok(Some(seen)) = connection.request() {
            let said = seen.target.trim_start_matches('/').replace('_', " ");
            let answer = format!("HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n");
            if connection.send(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::of(&origin);
    for (said, goes) in [
        ("404 Nix da", "404 Nix da"),
        ("200 Okay Dokey", "200 Okay Dokey"),
        ("302 Moved Temporarily", "302 Moved Temporarily"),
        ("299 Of The House", "299 Of The House"),
        ("200 OK", "200 OK"),
        ("200 ", "200 OK"),
        ("200", "200 OK"),
    ] {
        let mut client = gateway.client();
        let target = said.replace(' ', "_");
        client.send(format!("GET /{target} HTTP/1.1\r\nHost: kz.example\r\nConnection: close\r\n\r\n"));
        let bytes = client.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.lines().next(), Some(format!("HTTP/1.1 {goes}").as_str()), "{said}");
    }
}

#[test]
fn what_is_told_of_a_server_that_fails_names_it_and_its_site() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let gateway = Gateway::build_for(&[format!("http://{dead}")]).key("workers", "1").start();
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).fetch(ask("GET", "/").host("www.kz.example"));
        let line = gateway.wait_for_log(0, "the request", |line| line.contains(reply.id()));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "the site did not answer");
        // As the configuration names it, not as the client did.
        assert_eq!(
            (&line["site"], &line["server"]),
            (&"kz.example".into(), &dead.to_string().into()),
            "{line}"
        );
    }
    // One that always fails over has no request to tell of, but is told itself.
    let good = Origin::pages();
    let both = Gateway::build_for(&[format!("http://{dead}"), good.url()]).key("workers", "1").start();
    let mut client = both.client();
    (0..12).for_each(|_| assert_eq!(client.get("/").status, 200));
    let line = both.wait_for_log(0, "the server", |line| line.contains("a server fails"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["site"], &line["server"]), (&"kz.example".into(), &dead.to_string().into()), "{line}");
    assert_eq!((&line["last"], &line["seconds"]), (&"connect_refused".into(), &10.into()), "{line}");
    (0..30).for_each(|_| assert_eq!(client.get("/").status, 200));
    let lines = both.log_lines().iter().filter(|line| line.contains("a server fails")).count();
    assert_eq!(lines, 1, "once a minute at most");
}
