//! Every limit and every timeout: hit on purpose, counted exactly once, and survived by everybody else.
//!
//! Timeouts are short here and what is waited for has generous deadlines; nothing asserts how long something took.
//! Heads, targets and lingering are asked about in [`super::front_door`], the site's side in [`super::forwarding`],
//! drain in [`super::life`], rate limits and floods in the folder of this module.

mod floods;
mod rate;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::support::frames::{self, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS};
use super::support::tls::Certificate;
use super::support::wire::End;
use super::support::{Answer, Client, Gateway, HOST, Origin, PATIENCE, ask, wait_for};

const SHORT: &str = "\"300ms\"";

/// Somebody who keeps the rules is served, over both protocols.
pub fn still_serves(gateway: &Gateway) {
    assert_eq!(gateway.client().get("/well-behaved").status, 200);
    assert_eq!(gateway.http2().fetch(&ask("GET", "/well-behaved")).status, 200);
}

/// Sends piece after piece, never done, until the gateway has closed.
fn trickle(mut client: Client, first: &str, piece: &str) {
    client.send(first);
    let mut sent = 0;
    while client.try_send(piece) {
        sent += 1;
        assert!(sent < 3000, "the gateway waits for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A site that never stops answering, and tells how many bytes it could write, and when it was cut.
fn endless() -> (Origin, Arc<AtomicU64>, mpsc::Receiver<()>) {
    let written = Arc::new(AtomicU64::new(0));
    let (cut, was_cut) = mpsc::channel();
    let count = Arc::clone(&written);
    let origin = Origin::raw(move |mut connection| {
        while let Ok(Some(seen)) = connection.request() {
            if !seen.target.starts_with("/endless") {
                if connection.answer(&Answer::page()).is_err() {
                    return;
                }
                continue;
            }
            let piece = vec![b'x'; 0x8000];
            let chunk = [b"8000\r\n", &piece[..], b"\r\n"].concat();
            let mut open = connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_ok();
            while open {
                open = connection.send(&chunk).is_ok();
                count.fetch_add(piece.len() as u64, SeqCst);
            }
            let _ = cut.send(());
            return;
        }
    });
    (origin, written, was_cut)
}

#[test]
fn tls_handshake_ends_a_handshake_that_stalls() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]).key("timeouts.tls_handshake", SHORT);
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&certificate.config()).start();
    let mut silent = Client::connect(gateway.addresses[1]);
    let mut half = Client::connect(gateway.addresses[1]);
    // The first bytes of a ClientHello of 512 bytes.
    half.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    assert!(silent.is_closed() && half.is_closed());
    gateway.wait_for_cut("tls_timeout", 2);
    assert_eq!(origin.count(), 0);
    let mut good =
        Client::connect_tls(gateway.addresses[1], certificate.client(&["http/1.1"]), HOST).unwrap();
    assert_eq!(good.get("/").status, 200);
}

#[test]
fn request_head_ends_the_silent_and_the_slow_over_both_protocols() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("timeouts.request_head", SHORT).start();
    assert!(gateway.client().is_closed(), "not a byte");
    let mut started = gateway.client();
    started.send("GE");
    started.read_to_end();
    trickle(gateway.client(), "GET / HTTP/1.1\r\nHost: kz.example\r\n", "a: b\r\n");
    let mut preface = gateway.client();
    preface.send("PRI * HTTP/2.0\r\n");
    preface.read_to_end();
    let mut silent = Frames::connect(gateway.addresses[0], &[]);
    silent.rest();
    let mut block = Frames::connect(gateway.addresses[0], &[]);
    block.send(&frames::frame(HEADERS, END_STREAM, 1, &frames::request("GET", "/", &[])));
    block.rest();
    gateway.wait_for_cut("head_timeout", 6);
    assert_eq!(origin.count(), 0);
    still_serves(&gateway);
}

#[test]
fn request_body_ends_an_upload_that_stops_on_both_sides() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("timeouts.request_body", SHORT).start();
    for framing in ["Content-Length: 100\r\n\r\nonly this", "Transfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n"]
    {
        let mut client = gateway.client();
        client.send(format!("POST /stops HTTP/1.1\r\nHost: {HOST}\r\n{framing}"));
        assert_eq!(client.read().status, 408);
        client.read_to_end();
    }
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    h2.send(&[frames::post(1, "/stops"), frames::frame(frames::DATA, 0, 1, b"only this")].concat());
    let head = h2.until(HEADERS).expect("an answer");
    assert!(head.payload.windows(3).any(|bytes| bytes == b"408") || head.payload.contains(&0x48), "{head:?}");
    assert_eq!(gateway.rejected("body_timeout"), 3);
    wait_for("the site to see three ends", || (origin.count() == 3).then_some(()));
    assert!(origin.seen().iter().all(|seen| seen.end == End::Broken), "the site's connections ended too");
    still_serves(&gateway);
}

#[test]
fn min_body_rate_ends_an_upload_that_makes_too_little_progress() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("timeouts.request_body", SHORT)
        .key("limits.min_body_rate", "\"10KiB\"")
        .start();
    trickle(
        gateway.client(),
        &format!("POST /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\n"),
        "x",
    );
    wait_for("the refusal", || (gateway.rejected("body_timeout") == 1).then_some(()));
    wait_for("the site to see its end", || (origin.count() == 1).then_some(()));
    assert_eq!(origin.last().end, End::Broken);
    let large = ask("POST", "/whole").body(vec![b'x'; 1 << 20]);
    assert_eq!(gateway.client().fetch(&large).status, 200);
    still_serves(&gateway);
}

#[test]
fn response_write_ends_a_client_that_does_not_read_and_frees_the_site() {
    let (origin, _, was_cut) = endless();
    let gateway = Gateway::build(&[&origin]).key("timeouts.response_write", SHORT).start();
    let mut client = gateway.client();
    client.send(format!("GET /endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    was_cut.recv_timeout(PATIENCE).expect("the site's connection to end");
    gateway.wait_for_cut("write_timeout", 1);
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    h2.send(&frames::get(1, "/endless"));
    was_cut.recv_timeout(PATIENCE).expect("the site's connection to end");
    gateway.wait_for_cut("write_timeout", 2);
    still_serves(&gateway);
}

#[test]
fn a_slow_reader_slows_the_site_down_and_fills_no_memory() {
    let (origin, written, _was_cut) = endless();
    let gateway = Gateway::of(&origin);
    still_serves(&gateway);
    let before = gateway.memory();
    let mut h1: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
    h1.iter_mut().for_each(|client| client.send(format!("GET /endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n")));
    let mut h2: Vec<Frames> = (0..10).map(|_| Frames::connect(gateway.addresses[0], &[])).collect();
    h2.iter_mut().for_each(|frames| assert!(frames.send(&frames::get(1, "/endless"))));
    // Still: what the site could write fills the sockets on its way, and then nothing moves.
    let mut last = 0;
    wait_for("the site to be held back", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = written.load(SeqCst);
        let still = now == last && origin.connections() >= 20;
        last = now;
        still.then_some(())
    });
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more for twenty slow readers");
    // Whoever reads on gets more.
    h1.iter_mut().for_each(|client| assert_eq!(client.read_head().status, 200));
    let reader = &mut h1[0];
    let mut read = 0;
    while read < 32 << 20 {
        read += reader.discard(1 << 16);
    }
    assert!(gateway.memory().saturating_sub(before) < 16 << 20, "the memory stays as it was");
    still_serves(&gateway);
}

#[test]
fn keep_alive_ends_an_idle_connection_quietly_and_http_2_with_goaway() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("timeouts.keep_alive", SHORT).start();
    let mut h1 = gateway.client();
    assert_eq!(h1.get("/").status, 200);
    assert!(h1.is_closed());
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    h2.send(&frames::get(1, "/"));
    let last = h2.rest().into_iter().rfind(|frame| frame.kind == GOAWAY).expect("GOAWAY");
    assert_eq!(&last.payload[4..8], [0; 4], "no error");
    // PINGs keep nobody here; nor does a head that never ends.
    let mut unfinished = Frames::connect(gateway.addresses[0], &[]);
    unfinished.send(&frames::get(1, "/"));
    unfinished.until(HEADERS).expect("an answer");
    unfinished.send(&frames::frame(HEADERS, END_STREAM, 3, &frames::request("GET", "/unfinished", &[])));
    unfinished.rest();
    let mut pinging = Frames::connect(gateway.addresses[0], &[]);
    pinging.send(&frames::get(1, "/"));
    let mut pings = 0;
    while pinging.settle().is_some() {
        pings += 1;
        assert!(pings < 3000, "PINGs keep the connection");
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway.wait_for_cut("idle", 4);
    assert_eq!(origin.count(), 4);
    still_serves(&gateway);
}

#[test]
fn upgrade_idle_ends_a_tunnel_in_which_nothing_moves() {
    let origin = Origin::raw(|mut connection| {
        let Ok(Some(seen)) = connection.request() else { return };
        if seen.headers.has("upgrade") {
            let _ = connection.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            let _ = connection.reader.rest();
        } else {
            let _ = connection.answer(&Answer::page());
        }
    });
    let gateway = Gateway::build(&[&origin]).key("timeouts.upgrade_idle", SHORT).start();
    let mut client = gateway.client();
    client.send(format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    ));
    assert_eq!(client.read_head().status, 101);
    assert!(client.is_closed());
    gateway.wait_for_cut("tunnel_idle", 1);
    still_serves(&gateway);
}

#[test]
fn heads_have_one_size_over_both_protocols() {
    let origin = Origin::start(|seen| Answer::text(seen.cookies().len().to_string()));
    let gateway = Gateway::of(&origin);
    // 48 KiB in 1024 crumbs: twice the fields that a head may have, and 32 KiB more in the parser's count.
    let crumbs: Vec<String> = (0..1024).map(|n| format!("crumb{n:04}={}", "v".repeat(36))).collect();
    let joined = crumbs.join("; ");
    let over_h1 = gateway.client().fetch(&ask("GET", "/h1").header("cookie", &joined));
    let in_crumbs = crumbs.iter().fold(ask("GET", "/h2"), |ask, crumb| ask.header("cookie", crumb));
    let over_h2 = gateway.http2().fetch(&in_crumbs);
    assert_eq!((over_h1.status, over_h1.text()), (200, joined.len().to_string()));
    assert_eq!((over_h2.status, over_h2.text()), (200, joined.len().to_string()));
    let fields = (0..201).fold(ask("GET", "/many"), |ask, n| ask.header(&format!("x-test-{n}"), "1"));
    let large = ask("GET", "/large").header("x-test", &"v".repeat(65 << 10));
    let more =
        (0..500).fold(in_crumbs, |ask, n| ask.header("cookie", &format!("more{n:04}={}", "v".repeat(36))));
    let mut h2 = gateway.http2();
    for too_large in [&fields, &large, &more] {
        assert_eq!(h2.fetch(too_large).status, 431);
    }
    assert_eq!(gateway.rejected("head_too_large"), 3);
    assert_eq!(
        gateway
            .client()
            .fetch(&(0..150).fold(ask("GET", "/"), |a, n| a.header(&format!("x-test-{n}"), "1")))
            .status,
        200
    );
    assert_eq!(origin.count(), 3, "none of the refused arrived");
    still_serves(&gateway);
}

#[test]
fn a_header_list_beyond_the_parsers_own_limit_is_a_431_too() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    let value = "v".repeat(15_000);
    let block = frames::request("GET", "/bomb", &[("x-test", value.as_str()); 24]);
    let mut pieces = block.chunks(16_000).peekable();
    let mut bytes = frames::frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frames::frame(frames::CONTINUATION, flags, 1, piece));
    }
    h2.send(&bytes);
    let answer = h2.until(HEADERS);
    // The parser may also end the whole connection when the block is far too large.
    if let Some(answer) = answer {
        assert!(answer.payload.windows(3).any(|bytes| bytes == b"431") || answer.flags & END_STREAM != 0);
    }
    assert_eq!(origin.count(), 0);
    still_serves(&gateway);
}

#[test]
fn body_bytes_refuses_a_known_length_at_once_and_an_unknown_one_in_flight() {
    let origin = Origin::start(|seen| Answer::text(seen.body.len().to_string()));
    let gateway = Gateway::build(&[&origin]).site("body_bytes = \"64KiB\"").start();
    let limit = 64 << 10;
    assert_eq!(
        gateway.client().fetch(&ask("POST", "/fits").body(vec![b'x'; limit])).text(),
        limit.to_string()
    );
    let mut known = gateway.client();
    known.send(format!("POST /known HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", limit + 1));
    assert_eq!(known.read().status, 413);
    assert_eq!(gateway.http2().fetch(&ask("POST", "/known").body(vec![b'x'; limit + 1])).status, 413);
    assert_eq!((origin.count(), gateway.rejected("body_too_large")), (1, 2));
    let mut chunked = gateway.client();
    chunked.send(format!("POST /chunked HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    let piece = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let sent = (0..17).take_while(|_| chunked.try_send(&piece)).count();
    assert!(sent >= 16, "{sent} pieces");
    assert_eq!(chunked.read().status, 413);
    assert_eq!(gateway.rejected("body_too_large"), 3);
    wait_for("the site to see the end", || (origin.count() == 2).then_some(()));
    assert_eq!(origin.last().end, End::Broken, "aborted at the site, never a short body that looks whole");
    still_serves(&gateway);
}

#[test]
fn connections_are_accepted_up_to_the_limit_and_served_when_one_leaves() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("workers", "1").key("limits.connections", "3").start();
    let mut open: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    wait_for("accepting to stop", || (gateway.cut("limit") > 0).then_some(()));
    let mut waiting = gateway.client();
    waiting.send(format!("GET /waiting HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200, "those inside are served"));
    assert!(origin.seen().iter().all(|seen| seen.target != "/waiting"));
    open.pop();
    assert_eq!(waiting.read().status, 200);
    drop((open, waiting));
    still_serves(&gateway);
}

#[test]
fn connections_per_client_counts_addresses_and_spares_trusted_proxies() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("limits.connections_per_client", "2")
        .site("trusted_proxies = [\"127.0.0.3\"]")
        .start();
    let address = gateway.addresses[0];
    let connect = |last: u8| Client::connect_from([127, 0, 0, last], address);
    let mut open: Vec<Client> = (0..2).map(|_| connect(2)).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert!(connect(2).is_closed(), "the third of one address");
    gateway.wait_for_cut("client_limit", 1);
    assert_eq!(connect(4).get("/").status, 200, "a neighbour is another client");
    let mut proxies: Vec<Client> = (0..5).map(|_| connect(3)).collect();
    proxies.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    open.pop();
    wait_for("a free place", || connect(2).try_fetch(&ask("GET", "/")).ok());
    still_serves(&gateway);
}

#[test]
fn requests_per_connection_ends_it_in_order() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin]).key("limits.requests_per_connection", "3").start();
    let mut h1 = gateway.client();
    (0..3).for_each(|_| assert_eq!(h1.get("/").status, 200));
    assert!(h1.is_closed());
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    h2.send(&frames::streams(0).take(3).flat_map(|stream| frames::get(stream, "/")).collect::<Vec<_>>());
    let (mut answers, mut goaway) = (0, false);
    while answers < 3 || !goaway {
        let frame = h2.next().expect("three answers and GOAWAY");
        answers += u32::from(frame.kind == HEADERS);
        goaway |= frame.kind == GOAWAY;
    }
    h2.close();
    gateway.wait_for_cut("request_limit", 2);
    assert_eq!(origin.count(), 6);
    still_serves(&gateway);
}

#[test]
fn h2_streams_beyond_the_limit_are_refused_and_the_others_answered() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |seen| {
        if seen.target == "/held" {
            released.lock().unwrap().recv_timeout(PATIENCE).expect("to be released");
        }
        Answer::page()
    });
    let gateway = Gateway::build(&[&origin]).key("limits.h2_streams", "4").start();
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    h2.send(&frames::streams(0).take(6).flat_map(|stream| frames::get(stream, "/held")).collect::<Vec<_>>());
    for stream in [9, 11] {
        let refused = h2.until(frames::RST_STREAM).expect("a refused stream");
        assert_eq!(
            (refused.stream, &refused.payload[..]),
            (stream, &7u32.to_be_bytes()[..]),
            "REFUSED_STREAM"
        );
    }
    (0..4).for_each(|_| release.send(()).unwrap());
    let mut answered: Vec<u32> = (0..4).map(|_| h2.until(HEADERS).expect("an answer").stream).collect();
    answered.sort_unstable();
    assert_eq!(answered, [1, 3, 5, 7]);
    assert_eq!(origin.count(), 4, "the refused ones never arrived");
    still_serves(&gateway);
}

#[test]
fn windows_hold_an_upload_back_that_the_site_does_not_take() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::raw(move |mut connection| {
        while let Ok(Some(seen)) = connection.head() {
            if seen.target == "/upload" {
                let _ = released.lock().unwrap().recv_timeout(PATIENCE);
                return;
            }
            connection.record(&seen);
            if connection.answer(&Answer::page()).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::build(&[&origin])
        .key("limits.h2_stream_window", "\"32KiB\"")
        .key("limits.h2_connection_window", "\"64KiB\"")
        .start();
    let mut h2 = Frames::connect(gateway.addresses[0], &[]);
    let settings = h2.until(frames::SETTINGS).expect("settings").payload;
    let window = settings.chunks(6).find(|s| s[..2] == [0, 4]).expect("a window");
    assert_eq!(window[2..], (32u32 << 10).to_be_bytes());
    // More than the window allows, whatever the site takes: an error of the stream or the connection, no memory.
    h2.send(&frames::post(1, "/upload"));
    let piece = frames::frame(frames::DATA, 0, 1, &[b'x'; 16_384]);
    let sent = (0..64).take_while(|_| h2.send(&piece)).count();
    assert!(sent > 2, "{sent} pieces");
    let refused = h2.rest().into_iter().find(|f| f.kind == GOAWAY || f.kind == frames::RST_STREAM);
    let code = refused.map(|frame| frame.payload[frame.payload.len().min(8) - 4..].to_vec());
    drop(release);
    assert!(code.is_none_or(|code| code[..4] == 3u32.to_be_bytes()), "FLOW_CONTROL_ERROR");
    still_serves(&gateway);
}

/// 500 slow POSTs of one address took every connection to the site, and everybody else got 503.
#[test]
fn slow_uploads_of_one_client_leave_connections_for_others() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("workers", "1")
        .key("limits.upstream_connections", "4")
        .key("timeouts.upstream_queue", "\"200ms\"")
        .start();
    let address = gateway.addresses[0];
    let slow = || {
        let mut client = gateway.client();
        client.send(format!("POST /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nha"));
        client
    };
    // Half of the connections are its share.
    let mut held: Vec<Client> = (0..2).map(|_| slow()).collect();
    wait_for("uploads under way", || {
        let busy = gateway.metric("kelisim_upstream_pool_connections", &["state=\"busy\""]);
        (busy == 2.0).then_some(())
    });
    for _ in 0..3 {
        let reply = slow().read();
        assert_eq!((reply.status, reply.header("retry-after")), (429, "2"));
        assert_eq!(reply.header("proxy-status"), "kelisim; error=http_request_denied");
    }
    assert_eq!(gateway.rejected("client_share"), 3);
    let mut other = Client::connect_from([127, 0, 0, 2], address);
    (0..3).for_each(|_| assert_eq!(other.get("/").status, 200));
    // One upload's end is the next one's begin.
    let mut waiting = slow();
    held[0].send("lf");
    assert_eq!(held[0].read().status, 200);
    waiting.send("lf");
    assert_eq!(waiting.read().status, 200);
    assert_eq!(gateway.rejected("queue_full"), 0);
}
