//! HTTP/2 at its end: answers before the end of a request, and clients that do not heed that a connection ends.
//!
//! A client whose stream is reset may throw its answer away, so an early one is not reset while the client sends; and a
//! client that acknowledges nothing holds up neither a limit nor a drain.

use std::time::{Duration, Instant};

use crate::support::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE, frame,
};
use crate::support::{Answer, Gateway, Origin, wait_for};

fn connect(gateway: &Gateway) -> Frames {
    Frames::connect(gateway.addresses[0], &[])
}

/// What came for a stream, up to the end of its answer.
fn answered(frames: &mut Frames, stream: u32) {
    let seen = frames.rest_after_close_of(stream);
    let last = seen.last().expect("an answer");
    assert_ne!(last.kind, RST_STREAM, "{seen:?}");
}

fn reset(seen: &[Frame], stream: u32) -> Option<u8> {
    seen.iter().find(|frame| frame.kind == RST_STREAM && frame.stream == stream).map(|frame| frame.payload[3])
}

/// An early 413, 405, 421, 502 and 401 of a site over HTTP/2 were followed by a reset at once: curl 7.88 showed none.
#[test]
fn an_early_answer_over_http2_is_not_reset_while_its_client_sends() {
    let early = Origin::raw(|mut connection| {
        // Its head alone; the site does not wait for the body.
        let _ = connection.head();
        let _ = connection.answer(&Answer::new(401).header("Connection", "close").body("no"));
        std::thread::sleep(Duration::from_millis(300));
    });
    let (dead, limited) = (Gateway::build_for(&["http://127.0.0.1:1".to_owned()]).start(), Origin::pages());
    let limited = Gateway::build(&[&limited]).site("body_bytes = \"1KiB\"").start();
    let early = Gateway::build(&[&early]).start();
    let head = |method: &str, more: &[(&str, &str)]| frames::request(method, "/up", more);
    let foreign: Vec<u8> =
        [(":method", "POST"), (":scheme", "http"), (":path", "/up"), (":authority", "other.example")]
            .iter()
            .flat_map(|(name, value)| frames::literal(name, value))
            .collect();
    for (what, gateway, block) in [
        ("too large by its head", &limited, head("POST", &[("content-length", "8000")])),
        ("too large as it comes", &limited, head("POST", &[])),
        ("a method", &limited, head("TRACE", &[])),
        ("a host", &limited, foreign),
        ("no server", &dead, head("POST", &[])),
        ("the site's own", &early, head("POST", &[("content-length", "8000")])),
    ] {
        let mut frames = connect(gateway);
        frames.send(&frame(HEADERS, END_HEADERS, 1, &block));
        frames.send(&frame(DATA, 0, 1, &[b'x'; 5000]));
        answered(&mut frames, 1);
        // The client goes on, and then comes to its end, or gives up.
        for flags in [0, 0, END_STREAM] {
            frames.send(&frame(DATA, flags, 1, &[b'x'; 1000]));
            let seen = frames.settle().expect("the connection lives");
            assert_eq!(reset(&seen, 1), None, "{what}");
        }
        frames.send(&frames::get(3, "/"));
        let seen = frames.rest_after_close_of(3);
        assert_eq!((reset(&seen, 1), reset(&seen, 3)), (None, None), "{what}");
    }
}

#[test]
fn lingering_on_a_stream_has_limits() {
    let origin = Origin::pages();
    let start = |bytes: &str, time: &str, streams: &str| {
        Gateway::build(&[&origin])
            .site("body_bytes = \"1KiB\"")
            .key("workers", "1")
            .key("limits.linger_bytes", bytes)
            .key("timeouts.linger", time)
            .key("limits.linger_connections", streams)
            .key("limits.h2_stream_window", "\"16KiB\"")
            .start()
    };
    let begin = |frames: &mut Frames, stream: u32| {
        let block = frames::request("POST", "/up", &[("content-length", "100000")]);
        frames.send(&frame(HEADERS, END_HEADERS, stream, &block));
    };
    // Bytes: what follows is not read, and the window holds the client back.
    let gateway = start("\"8KiB\"", "\"2s\"", "256");
    let mut frames = connect(&gateway);
    begin(&mut frames, 1);
    answered(&mut frames, 1);
    frames.send(&frame(DATA, 0, 1, &[b'x'; 8192]));
    assert_eq!(reset(&frames.settle().expect("open"), 1), None);
    frames.send(&frame(DATA, 0, 1, &[b'x'; 8192]));
    let seen = frames.settle().expect("open");
    let given = seen.iter().any(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 1);
    assert_eq!((reset(&seen, 1), given), (None, false));
    assert_eq!(frames.until(RST_STREAM).expect("a reset").payload, [0, 0, 0, 0]);
    // Time.
    let gateway = start("\"1MiB\"", "\"1s\"", "256");
    let mut frames = connect(&gateway);
    begin(&mut frames, 1);
    answered(&mut frames, 1);
    assert_eq!(frames.until(RST_STREAM).expect("a reset").payload, [0, 0, 0, 0]);
    // Number.
    let gateway = start("\"1MiB\"", "\"1m\"", "1");
    let mut frames = connect(&gateway);
    begin(&mut frames, 1);
    answered(&mut frames, 1);
    assert_eq!(reset(&frames.settle().expect("open"), 1), None);
    let lingering = || gateway.metric("kelisim_connections", &["state=\"lingering\""]);
    wait_for("one that lingers", || (lingering() == 1.0).then_some(()));
    begin(&mut frames, 3);
    answered(&mut frames, 3);
    assert_eq!(frames.until(RST_STREAM).expect("a reset").stream, 3);
    gateway.wait_for_cut("linger_limit", 1);
    frames.send(&frame(DATA, END_STREAM, 1, b"x"));
    wait_for("none that lingers", || (lingering() == 0.0).then_some(()));
}

/// 60 of 60 requests were answered under a limit of 5.
#[test]
fn requests_per_connection_hold_for_an_http2_client_that_does_not_heed_goaway() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .key("limits.requests_per_connection", "5")
        .key("limits.h2_streams", "10")
        .start();
    let mut frames = connect(&gateway);
    let mut answers = 0;
    let refused = frames::streams(0).take(100).find_map(|stream| {
        if !frames.send(&frames::get(stream, "/")) {
            return Some(None);
        }
        let last = frames.rest_after_close_of(stream).pop()?;
        if last.kind == RST_STREAM {
            Some(Some(last.payload[3]))
        } else {
            answers += 1;
            None
        }
    });
    assert_eq!(refused, Some(Some(REFUSED_STREAM)));
    // Those that may have been on their way when the client was told are answered.
    assert!((5..=15).contains(&answers), "{answers}");
    assert_eq!(origin.count(), answers);
    // And then the connection ends, although its client never says that it has heard.
    frames.rest();
    gateway.wait_for_cut("request_limit", 1);
}

/// One such client made every drain last for the whole of `timeouts.drain`, and fail.
#[test]
fn a_silent_http2_client_does_not_hold_up_a_drain() {
    let origin = Origin::pages();
    let mut gateway = Gateway::build(&[&origin]).key("timeouts.drain", "\"30s\"").start();
    let mut used = connect(&gateway);
    used.send(&frames::get(1, "/"));
    answered(&mut used, 1);
    let unused = connect(&gateway);
    let began = Instant::now();
    gateway.term();
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop((used, unused));
}

const REFUSED_STREAM: u8 = 7;
