//! What happens after a refusal: limits of a head, and the end of a connection whose client is still sending.
//!
//! A refusal arrives whole although the client sends on, for a bounded time and a bounded number of bytes; what it sends
//! is thrown away, and never a request.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::strict::{HOST_LINE, SMUGGLED, get, post, refusal};
use crate::support::client::{Client, Reply};
use crate::support::tls::Certificate;
use crate::support::wire::End;
use crate::support::{Answer, Gateway, HOST, Origin, noise, wait_for};

#[test]
fn limits_of_a_head_are_answered_by_us() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("limits.uri_bytes", "512")
        .key("limits.head_bytes", "\"8KiB\"")
        .key("limits.head_fields", "50")
        .start();
    let many = |n: usize| (1..n).map(|n| format!("X-Test-{n}: 1\r\n")).collect::<String>();
    let long = |n: usize| format!("GET /{} HTTP/1.1\r\n{HOST_LINE}\r\n", "a".repeat(n - 1));
    let fill = |n: usize| get(&format!("X-Test: {}\r\n", "a".repeat(n - get("X-Test: \r\n").len())));
    for (head, status) in [
        (long(513), 414),
        (long(20_000), 414),
        (fill(8 * 1024 + 1), 431),
        (fill(100_000), 431),
        (get(&many(51)), 431),
        // Not complete, and already too much.
        (format!("GET /{}", "a".repeat(2000)), 414),
        (format!("GET / HTTP/1.1\r\nX-Test: {}", "a".repeat(9000)), 431),
    ] {
        let mut client = gateway.client();
        client.send(&head);
        refusal(&mut client, status, &head[..60]);
    }
    assert_eq!(origin.count(), 0);
    // Exactly at the limit.
    let mut client = gateway.client();
    for head in [long(512), fill(8 * 1024), get(&many(50))] {
        client.send(head);
        assert_eq!(client.read().status, 200);
    }
}

#[test]
fn a_head_that_is_not_completed_in_time_is_answered_408() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("timeouts.request_head", "\"300ms\"")
        .key("timeouts.keep_alive", "\"300ms\"")
        .start();
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: kz.ex");
    refusal(&mut first, 408, "the first head");
    let mut second = gateway.client();
    assert_eq!(second.get("/").status, 200);
    second.send("GET /second HT");
    refusal(&mut second, 408, "the second head");
    // Nothing, or no more than an empty line, is no head: nobody waits for an answer.
    assert!(gateway.client().is_closed());
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").status, 200);
    idle.send("\r\n");
    assert!(idle.is_closed());
    assert_eq!(origin.count(), 2);
    assert_eq!(gateway.metric("kelisim_request_rejected_total", &["reason=\"head_timeout\""]), 2.0);
}

#[test]
fn the_answer_to_an_upload_that_is_too_large_arrives_whole() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).site("body_bytes = \"1KiB\"");
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&certificate.config()).start();
    let known = post("Content-Length: 10485760\r\n", "");
    let chunked = post("Transfer-Encoding: chunked\r\n", "a00000\r\n");
    let body = noise(10 << 20);
    for head in [&known, &chunked] {
        // Sent without a look at what comes back; the gateway stops reading long before the end.
        let stream = TcpStream::connect(gateway.addresses[0]).expect("connected");
        let mut sender = stream.try_clone().expect("the same connection");
        let bytes = [head.as_bytes(), &body].concat();
        let sending = std::thread::spawn(move || sender.write_all(&bytes).is_err());
        let mut client = Client::over(Box::new(stream));
        too_large(&client.read());
        drop(client);
        assert!(sending.join().expect("no panic"), "ten megabytes were swallowed");

        // By TLS a client that sends less than is thrown away, and only then reads.
        let config = certificate.client(&["http/1.1"]);
        let mut client = Client::connect_tls(gateway.addresses[1], config, HOST).expect("TLS");
        client.send(head);
        client.send(&body[..128 << 10]);
        too_large(&client.read());
        // The end is told by TLS, so that nobody can cut the answer unseen.
        assert!(client.is_closed());
    }
    assert!(origin.seen().iter().all(|seen| seen.end == End::Broken));
}

fn too_large(reply: &Reply) {
    assert_eq!((reply.status, reply.end), (413, End::Whole));
    assert_eq!(reply.header("connection"), "close");
    assert!(reply.text().contains(reply.id()));
}

#[test]
fn lingering_has_limits() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .site("body_bytes = \"1KiB\"")
        .key("limits.linger_bytes", "\"64KiB\"")
        .key("timeouts.linger", "\"1m\"")
        .start();
    let lingering = || gateway.metric("kelisim_connections", &["state=\"lingering\""]);
    let head = post("Content-Length: 10000000\r\n", "");
    let mut client = gateway.client();
    client.send(&head);
    assert_eq!(client.read().status, 413);
    wait_for("lingering", || (lingering() == 1.0).then_some(()));
    // The minute has not passed: the bytes end it.
    client.try_send(noise(65 << 10));
    wait_for("the end by bytes", || (lingering() == 0.0).then_some(()));

    let gateway =
        Gateway::build(&[&origin]).site("body_bytes = \"1KiB\"").key("timeouts.linger", "\"50ms\"").start();
    let mut client = gateway.client();
    client.send(&head);
    assert_eq!(client.read().status, 413);
    wait_for("the end by time", || {
        (gateway.metric("kelisim_connections", &["state=\"lingering\""]) == 0.0
            && gateway.metric("kelisim_connections", &["state=\"open\""]) == 0.0)
            .then_some(())
    });
}

#[test]
fn only_so_many_connections_are_read_on() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("workers", "1")
        .key("limits.linger_connections", "2")
        .key("timeouts.linger", "\"1m\"")
        .start();
    let lingering = || gateway.metric("kelisim_connections", &["state=\"lingering\""]);
    // Refused after the scan, and by it, before there is a connection for hyper.
    let mut refused: Vec<Client> =
        ["TRACE / HTTP/1.1\r\nHost: kz.example\r\n\r\nmore", "G@RBAGE / HTTP/1.1\r\n\r\n"]
            .map(|head| {
                let mut client = gateway.client();
                client.send(head);
                assert!(matches!(client.read().status, 400 | 405));
                client
            })
            .into();
    wait_for("lingering", || (lingering() == 2.0).then_some(()));
    for _ in 0..3 {
        let mut client = gateway.client();
        client.send("G@RBAGE / HTTP/1.1\r\n\r\n");
        assert_eq!(client.read().status, 400);
        assert!(client.is_closed());
    }
    gateway.wait_for_cut("linger_limit", 3);
    refused.pop();
    wait_for("a free place", || (lingering() == 1.0).then_some(()));
}

#[test]
fn after_a_body_that_was_not_read_there_is_no_second_request() {
    let early = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&early);
    // A site that answers before it has read the body.
    let origin = Origin::raw(move |mut connection| {
        while let Ok(Some(_)) = connection.head() {
            count.fetch_add(1, SeqCst);
            if connection.answer(&Answer::text("early")).is_err() {
                break;
            }
        }
    });
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    client.send(post("Content-Length: 1000\r\n", "begun"));
    assert_eq!(client.read().text(), "early");
    client.try_send([&"x".repeat(995), SMUGGLED].concat());
    assert!(client.read_to_end().is_empty());
    assert_eq!(early.load(SeqCst), 1);

    // Refused by us, for a reason that alone does not end a connection.
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\nbegun");
    let reply = client.read();
    assert_eq!((reply.status, reply.header("connection")), (421, "close"));
    client.try_send([&"x".repeat(995), SMUGGLED].concat());
    assert!(client.read_to_end().is_empty());
    assert_eq!(early.load(SeqCst), 1);
}
