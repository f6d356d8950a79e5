//! HTTP/2 used against the gateway: floods, resets, windows that never open, heads that grow.
//!
//! Whatever one connection does, others are served, the memory stays bounded, and afterwards descriptors and the pool
//! of the site's connections are as before. A panic in the gateway's log fails every test of this binary.

use std::sync::mpsc;
use std::time::Duration;

use super::limits::still_serves;
use super::support::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame,
};
use super::support::h2::Http2;
use super::support::{Answer, Client, Gateway, Origin, PATIENCE, ask, wait_for};

/// A gateway and how it was before.
struct Target {
    origin: Origin,
    gateway: Gateway,
    memory: u64,
    descriptors: usize,
}

impl Target {
    fn of(origin: Origin, keys: &[(&str, &str)]) -> Self {
        let builder = Gateway::build(&[&origin]);
        let gateway = keys.iter().fold(builder, |builder, (name, value)| builder.key(name, value)).start();
        still_serves(&gateway);
        Self { memory: gateway.memory(), descriptors: gateway.descriptors(), origin, gateway }
    }

    fn pages() -> Self {
        Self::of(Origin::pages(), &[])
    }

    fn connect(&self) -> Frames {
        Frames::connect(self.gateway.addresses[0], &[])
    }

    /// While the abuse goes on, or right after it: the abuser waits for its own share of the site, others do not.
    fn is_well(&self) {
        let (other, address) = ([127, 0, 0, 2], self.gateway.addresses[0]);
        assert_eq!(Client::connect_from(other, address).get("/well-behaved").status, 200);
        assert_eq!(Http2::connect_from(other, address).fetch(&ask("GET", "/well-behaved")).status, 200);
        let grown = self.gateway.memory().saturating_sub(self.memory);
        assert!(grown < MOST_GROWTH, "{grown} bytes more");
    }

    /// When the abuser has left.
    fn is_as_before(&self) {
        self.is_well();
        wait_for("no request in flight", || {
            (self.gateway.metric("kelisim_http_active_requests", &[]) == 0.0).then_some(())
        });
        wait_for("no connection to the site in use", || {
            (self.gateway.metric("kelisim_upstream_pool_connections", &["state=\"busy\""]) == 0.0)
                .then_some(())
        });
        still_serves(&self.gateway);
        // A few idle connections to the site may have come on top.
        wait_for("descriptors given back", || {
            (self.gateway.descriptors() <= self.descriptors + 32).then_some(())
        });
    }

    /// Sends a frame many times, reading what comes back or not; how often, until the gateway closed.
    fn flood(&self, first: &[u8], piece: &[u8], times: usize, read: bool) -> usize {
        let mut frames = self.connect();
        let mut reader = frames.reader();
        let reading = read.then(|| std::thread::spawn(move || reader.rest().len()));
        frames.send(first);
        let batch = piece.repeat(100);
        // Nobody reads: the gateway may leave the rest unread for good, which is as good as closing.
        frames.give_up_writing_after(Duration::from_secs(2));
        let sent = (0..times / 100).take_while(|_| frames.send(&batch)).count() * 100;
        self.is_well();
        frames.close();
        if let Some(reading) = reading {
            reading.join().expect("read to the end");
        }
        self.is_as_before();
        sent
    }
}

/// What allocator and pool may keep after a burst.
const MOST_GROWTH: u64 = 48 << 20;

#[test]
fn rapid_reset() {
    let target = Target::pages();
    let before = target.origin.count();
    let mut pairs = 0;
    let mut connections = 0;
    while pairs < 10_000 {
        let mut frames = target.connect();
        connections += 1;
        assert!(connections < 1000);
        let mut ids = frames::streams(0);
        let mut open = true;
        while open && pairs < 10_000 {
            let batch: Vec<u8> = ids
                .by_ref()
                .take(100)
                .flat_map(|id| [frames::get(id, "/reset"), frames::reset(id)].concat())
                .collect();
            open = frames.send(&batch);
            pairs += 100;
        }
        let goaway = frames.rest().into_iter().rfind(|frame| frame.kind == GOAWAY);
        assert!(goaway.is_some_and(|frame| frame.payload[7] == ENHANCE_YOUR_CALM), "told to calm down");
    }
    wait_for("its end counted", || (target.gateway.cut("h2_protocol") == connections).then_some(()));
    let reached = target.origin.count() - before;
    assert!(reached < 2000, "{reached} of 10 000 reached the site");
    target.is_as_before();
}

#[test]
fn continuation_flood() {
    let target = Target::pages();
    let head = frame(HEADERS, END_STREAM, 1, &frames::request("GET", "/", &[]));
    for piece in [Vec::new(), frames::literal("x-test", "v"), frames::literal("x-test", &"v".repeat(16_000))]
    {
        let before = target.gateway.cut("h2_protocol");
        target.flood(&head, &frame(CONTINUATION, 0, 1, &piece), 20_000, true);
        target.gateway.wait_for_cut("h2_protocol", before + 1);
    }
}

#[test]
fn settings_flood() {
    let target = Target::pages();
    for read in [true, false] {
        target.flood(&[], &frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]), 100_000, read);
    }
}

#[test]
fn ping_flood() {
    let target = Target::pages();
    for read in [true, false] {
        target.flood(&[], &frame(PING, 0, 0, b"12345678"), 200_000, read);
    }
}

#[test]
fn priority_flood() {
    let target = Target::pages();
    let pieces: Vec<u8> =
        (0..100u32).flat_map(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 200])).collect();
    target.flood(&[], &pieces, 10_000, true);
}

#[test]
fn floods_of_empty_and_of_small_data() {
    let target = Target::pages();
    for payload in [&b""[..], b"x"] {
        target.flood(&frames::post(1, "/upload"), &frame(DATA, 0, 1, payload), 60_000, true);
    }
}

#[test]
fn frames_on_streams_that_do_not_exist() {
    let target = Target::pages();
    for piece in [frame(DATA, 0, 99, b"x"), frame(WINDOW_UPDATE, 0, 99, &[0, 0, 0, 1]), frames::reset(99)] {
        let before = target.gateway.cut("h2_protocol");
        target.flood(&[], &piece, 20_000, true);
        target.gateway.wait_for_cut("h2_protocol", before + 1);
    }
}

#[test]
fn a_window_that_never_opens() {
    let big = "x".repeat(4 << 20);
    let origin =
        Origin::start(
            move |seen| if seen.target == "/big" { Answer::text(big.clone()) } else { Answer::page() },
        );
    let target =
        Target::of(origin, &[("timeouts.response_write", "\"1s\""), ("timeouts.keep_alive", "\"1s\"")]);
    let mut all = Vec::new();
    for _ in 0..5 {
        let mut frames = Frames::connect(target.gateway.addresses[0], &[(4, 0)]);
        frames.send(&frames::streams(0).take(20).flat_map(|id| frames::get(id, "/big")).collect::<Vec<_>>());
        all.push(frames);
    }
    target.is_well();
    // Each stream is given up, and with it the site's connection; then the connection has nothing to live for.
    target.gateway.wait_for_cut("write_timeout", 100);
    for mut frames in all {
        assert!(frames.until(GOAWAY).is_some());
    }
    target.is_as_before();
}

/// Answers that came whole from the site waited for such a client without an end: 9.4 MB for each connection.
#[test]
fn whole_answers_behind_a_window_that_never_opens_are_given_up() {
    // Nothing at all, and a byte: that is room enough for the library to take an answer over.
    for window in [0, 1] {
        let whole = "x".repeat(96 << 10);
        let origin =
            Origin::start(
                move |seen| {
                    if seen.target == "/whole" { Answer::text(whole.clone()) } else { Answer::page() }
                },
            );
        let target = Target::of(origin, &[("workers", "1"), ("timeouts.response_write", "\"1s\"")]);
        // Not more than the client's share of the connections to the site.
        let mut all = Vec::new();
        for _ in 0..2 {
            let mut frames = Frames::connect(target.gateway.addresses[0], &[(4, window)]);
            let asked: Vec<u8> =
                frames::streams(0).take(15).flat_map(|id| frames::get(id, "/whole")).collect();
            frames.send(&asked);
            all.push(frames);
        }
        target.gateway.wait_for_cut("write_timeout", 30);
        for frames in &mut all {
            (0..15).for_each(|_| assert!(frames.until(RST_STREAM).is_some()));
            // The connection goes on.
            assert!(frames.settle().is_some());
        }
        target.is_well();
        drop(all);
        target.is_as_before();
    }
}

#[test]
fn window_games() {
    let target = Target::pages();
    let most = 0x7fff_ffff_u32.to_be_bytes();
    // The connection's window beyond 2³¹ − 1.
    let mut frames = target.connect();
    frames.send(&frame(WINDOW_UPDATE, 0, 0, &most).repeat(2));
    assert_eq!(frames.until(GOAWAY).expect("GOAWAY").payload[7], FLOW_CONTROL_ERROR);
    // That of a stream, and an increment of nothing.
    for payload in [most, [0; 4]] {
        let mut frames = target.connect();
        frames.send(&[frames::post(1, "/upload"), frame(WINDOW_UPDATE, 0, 1, &payload).repeat(2)].concat());
        let end = frames.rest_after_close_of(1);
        assert!(end.iter().any(|frame| matches!(frame.kind, RST_STREAM | GOAWAY)), "{end:?}");
    }
    // Open windows are moved below zero and back by SETTINGS.
    let mut frames = target.connect();
    for window in [0u32, 0x7fff_ffff, 1, 65_535].repeat(50) {
        frames.send(&frame(SETTINGS, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat()));
    }
    frames.send(&frames::get(1, "/"));
    assert!(frames.until(HEADERS).is_some());
    frames.close();
    target.is_as_before();
}

#[test]
fn header_bombs_and_huge_tables() {
    let target = Target::pages();
    // One field of 4000 bytes enters the table of the decoder; each byte after it names the field again.
    let mut bomb = frames::request("GET", "/bomb", &[]);
    let mut entry = frames::literal("x-test", &"v".repeat(4000));
    entry[0] = 0x40;
    bomb.extend(entry);
    bomb.extend([0xbe; 12_000]);
    for _ in 0..20 {
        let mut frames = target.connect();
        frames.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
        // 431 by the parser, or the end of the connection.
        frames.rest_after_close_of(1);
    }
    // A table of 4 GiB for the encoder to fill, and one for the decoder that nobody allowed.
    let mut frames = Frames::connect(target.gateway.addresses[0], &[(1, u32::MAX)]);
    for id in frames::streams(0).take(200) {
        frames.send(&frames::get(id, &format!("/{id}")));
        assert!(frames.until(HEADERS).is_some());
    }
    frames.close();
    let mut frames = target.connect();
    let resize = [&[0x3f, 0xe1, 0xff, 0xff, 0x7f][..], &frames::request("GET", "/", &[])].concat();
    frames.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &resize));
    assert_ne!(frames.until(GOAWAY).expect("GOAWAY").payload[7], 0, "an error");
    assert!(target.origin.seen().iter().all(|seen| seen.target != "/bomb"));
    target.is_as_before();
}

#[test]
fn streams_that_are_never_finished() {
    let target = Target::of(Origin::pages(), &[("timeouts.request_body", "\"1s\"")]);
    let open = |streams: usize| {
        let posts =
            frames::streams(0).take(streams).flat_map(|id| frames::post(id, "/never")).collect::<Vec<_>>();
        let mut all: Vec<Frames> = (0..10).map(|_| target.connect()).collect();
        all.iter_mut().for_each(|frames| assert!(frames.send(&posts)));
        all
    };
    let given_up = |count: u64| {
        wait_for("all uploads given up", || {
            let reasons = ["body_timeout", "queue_full", "client_share"];
            let given_up: u64 = reasons.iter().map(|reason| target.gateway.rejected(reason)).sum();
            (given_up == count).then_some(())
        });
    };
    let few = open(5);
    target.is_well();
    given_up(50);
    // More than the site's connections: they are free again after `timeouts.request_body`.
    let many = open(50);
    given_up(550);
    drop((few, many));
    target.is_as_before();
}

#[test]
fn uploads_that_are_cancelled() {
    let target = Target::pages();
    let mut frames = target.connect();
    for id in frames::streams(0).take(300) {
        let part = frame(DATA, 0, id, &[b'x'; 200]);
        frames.send(&[frames::post(id, "/cancelled"), part, frames::reset(id)].concat());
        // One after the other, so that no limit on resets is met.
        frames.settle().expect("the connection lives");
    }
    // What was sent is given back to the connection's window: another 60 KB fit.
    frames.send(&[frames::post(9001, "/whole"), frame(DATA, 0, 9001, &[b'y'; 16_000]).repeat(3)].concat());
    frames.send(&frame(DATA, END_STREAM, 9001, &[b'y'; 12_000]));
    assert_eq!(frames.until(HEADERS).expect("an answer").stream, 9001);
    assert_eq!(target.origin.last().body.len(), 60_000);
    frames.close();
    target.is_as_before();
}

#[test]
fn ten_thousand_cancels_in_mid_response() {
    let origin = Origin::raw(|mut connection| {
        while let Ok(Some(seen)) = connection.head() {
            if seen.target != "/long" {
                if connection.answer(&Answer::page()).is_err() {
                    return;
                }
                continue;
            }
            let part = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{}\r\n",
                "x".repeat(256)
            );
            let _ = connection.send(part.as_bytes());
            // Ends only when the gateway lets go.
            let _ = connection.reader.rest();
            return;
        }
    });
    let target = Target::of(origin, &[]);
    let cancel = || {
        let mut frames = target.connect();
        let mut ids = frames::streams(0);
        for _ in 0..50 {
            let batch: Vec<u32> = ids.by_ref().take(50).collect();
            frames.send(&batch.iter().flat_map(|id| frames::get(*id, "/long")).collect::<Vec<_>>());
            let (mut begun, mut bytes) = (0, 0);
            while begun < batch.len() {
                let next = frames.next().expect("the connection lives");
                begun += usize::from(next.kind == DATA);
                bytes += if next.kind == DATA { next.payload.len() as u32 } else { 0 };
            }
            let mut out: Vec<u8> = batch.iter().flat_map(|id| frames::reset(*id)).collect();
            // Without this the connection's window, 64 KiB, would be used up after 255 answers; with it only if the
            // gateway did not take back what it had set aside for cancelled streams.
            out.extend(frame(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes()));
            frames.send(&out);
        }
        frames.send(&frames::get(ids.next().unwrap(), "/after"));
        assert!(frames.until(DATA).is_some(), "the connection's windows are as before");
        frames.close();
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(cancel))));
    target.is_as_before();
}

#[test]
fn drain_says_goaway_and_answers_what_is_open() {
    let (arrived, arrival) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let both = std::sync::Mutex::new((arrived, released));
    let origin = Origin::start(move |_| {
        let both = both.lock().unwrap();
        both.0.send(()).unwrap();
        both.1.recv_timeout(PATIENCE).expect("to be released");
        Answer::page()
    });
    let mut gateway = Gateway::of(&origin);
    let mut frames = Frames::connect(gateway.addresses[0], &[]);
    let mut idle = Frames::connect(gateway.addresses[0], &[]);
    idle.settle().expect("an open connection");
    frames.send(&frames::get(1, "/open"));
    arrival.recv_timeout(PATIENCE).expect("the request at the site");
    gateway.term();
    let goaway = frames.until(GOAWAY).expect("GOAWAY");
    assert_eq!(&goaway.payload[4..8], [0; 4], "no error");
    assert!(idle.until(GOAWAY).is_some());
    release.send(()).unwrap();
    assert_eq!(frames.until(HEADERS).expect("the answer").stream, 1);
    frames.close();
    idle.close();
    assert_eq!(gateway.wait().code(), Some(0));
}

/// Codes of errors (RFC 9113 §7).
const FLOW_CONTROL_ERROR: u8 = 3;
const ENHANCE_YOUR_CALM: u8 = 11;
