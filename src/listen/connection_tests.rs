//! Phases, refusals and writes of a connection, without I/O.

use super::*;

fn connection() -> (Arc<Connection>, Instant) {
    let now = Instant::now();
    (Arc::new(Connection::new(0, "127.0.0.1:1".parse().unwrap(), None, now)), now)
}

#[test]
fn the_first_head_counts_from_accept() {
    let (c, start) = connection();
    c.head_begins(|| panic!("the clock is not asked before the first request"));
    assert_eq!(c.phase(), (Phase::First, start));
}

#[test]
fn later_heads_count_from_their_first_byte() {
    let (c, start) = connection();
    drop(c.request_started());
    assert_eq!(c.phase().0, Phase::Idle);
    let first_byte = start + Duration::from_secs(9);
    c.head_begins(|| first_byte);
    assert_eq!(c.phase(), (Phase::Head, first_byte));
}

#[test]
fn a_head_that_began_during_an_answer_counts_from_its_end() {
    let (c, _) = connection();
    let open = c.request_started();
    c.head_begins(|| panic!("the clock is not asked"));
    assert_eq!(c.phase().0, Phase::Busy);
    drop(open);
    assert_eq!(c.phase().0, Phase::Head);
}

#[test]
fn a_refusal_is_due_when_all_before_it_is_answered_and_written() {
    let (c, _) = connection();
    c.head_passed(None);
    c.refuse();
    assert!(!c.refusal_due(), "not begun");
    let open = c.request_started();
    assert!(!c.refusal_due(), "not answered");
    c.set_flushed(false);
    drop(open);
    assert!(!c.refusal_due(), "not written");
    c.set_flushed(true);
    assert!(c.refusal_due());
}

#[test]
fn a_tolerated_framing_makes_its_request_the_last() {
    let (c, _) = connection();
    c.head_passed(Some(Tolerated::BareLf));
    c.head_passed(Some(Tolerated::TwoFramings));
    drop(c.request_started());
    assert!(!c.is_last());
    drop(c.request_started());
    assert!(c.is_last());
    assert_eq!((c.tolerated(Tolerated::BareLf), c.tolerated(Tolerated::TwoFramings)), (1, 1));
}

#[test]
fn busy_until_the_last_stream_ends() {
    let (c, _) = connection();
    let first = c.request_started();
    let second = c.request_started();
    assert_eq!(c.requests(), 2);
    drop(first);
    assert_eq!(c.phase().0, Phase::Busy);
    drop(second);
    assert_eq!(c.phase().0, Phase::Idle);
}

#[test]
fn the_first_blocked_write_counts() {
    let (c, start) = connection();
    c.write_blocked(|| start);
    c.write_blocked(|| panic!("already blocked"));
    assert_eq!(c.write_blocked_since(), Some(start));
    c.write_progressed(|| panic!("nothing is awaited of the client yet"));
    assert_eq!(c.write_blocked_since(), None);
}

#[test]
fn an_http2_client_that_does_not_heed_the_end_is_refused_and_left() {
    let (c, _) = connection();
    c.set_multiplexed();
    drop(c.request_started());
    assert!(!c.overstays(1, || panic!("nobody has asked for the end")));
    assert!(c.ask_to_close());
    let now = clock::monotonic();
    assert!(!c.overstays(2, || now), "it may have been on its way");
    assert!(c.overstays(1, || now), "more than can have been");
    let later = now + GOODBYE * 2;
    assert!(c.overstays(2, || later));
    // It goes on asking, and is left all the same.
    c.set_heard();
    assert!(c.may_be_left(later));
}

#[test]
fn a_silent_http2_client_is_left_when_nothing_is_under_way() {
    let (c, _) = connection();
    c.set_multiplexed();
    let open = c.request_started();
    c.ask_to_close();
    let later = clock::monotonic() + GOODBYE * 2;
    assert!(!c.may_be_left(later), "it has no answer yet");
    drop(open);
    c.set_heard();
    assert!(!c.may_be_left(later), "it says something");
    c.write_blocked(|| later);
    assert!(!c.may_be_left(later), "the end of its answer is not written");
    c.write_progressed(|| later);
    assert!(!c.may_be_left(later), "it has just been");
    assert!(c.may_be_left(later + GOODBYE));
}
