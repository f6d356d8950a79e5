//! The rate limit on a clock of its own: the bound, every thread, every flood.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const SITE: &str = "kz.example";

fn v4(n: u32) -> ClientAddress {
    ClientAddress::from_resolved(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
}

fn v6(text: &str) -> ClientAddress {
    ClientAddress::from_resolved(IpAddr::V6(text.parse::<Ipv6Addr>().unwrap()))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn passes(limiter: &RateLimiter, now: Instant, client: ClientAddress, rate: Rate) -> bool {
    limiter.check(now, SITE, client, rate).wait.is_none()
}

#[test]
fn a_burst_passes_and_then_one_request_per_interval() {
    let start = Instant::now();
    let limiter = RateLimiter::new(1 << 20, start);
    let rate = Rate::new(10, seconds(5), 4);
    assert_eq!((0..9).filter(|_| passes(&limiter, start, v4(1), rate)).count(), 4);
    let verdict = limiter.check(start, SITE, v4(1), rate);
    assert_eq!(verdict, Verdict { wait: Some(Duration::from_millis(500)), estimated: false });
    let later = start + Duration::from_millis(500);
    assert!(passes(&limiter, later, v4(1), rate) && !passes(&limiter, later, v4(1), rate));
    // Whoever waits as told passes; a little less is too early.
    let Some(wait) = limiter.check(later, SITE, v4(1), rate).wait else { panic!("refused") };
    assert!(!passes(&limiter, later + wait - Duration::from_nanos(1), v4(1), rate));
    assert!(passes(&limiter, later + wait, v4(1), rate));
    assert_eq!((0..9).filter(|_| passes(&limiter, start + seconds(60), v4(1), rate)).count(), 4);
}

#[test]
fn each_address_each_ipv6_subscriber_and_each_site_has_its_own() {
    let start = Instant::now();
    let limiter = RateLimiter::new(1 << 20, start);
    let rate = Rate::new(1, seconds(60), 1);
    assert!(passes(&limiter, start, v4(1), rate) && !passes(&limiter, start, v4(1), rate));
    assert!(passes(&limiter, start, v4(2), rate), "a neighbour in the same /24");
    assert!(passes(&limiter, start, v6("2001:db8:1:2::1"), rate));
    assert!(!passes(&limiter, start, v6("2001:db8:1:2:ffff::9"), rate), "the same /64");
    assert!(passes(&limiter, start, v6("2001:db8:1:3::1"), rate));
    assert!(!passes(&limiter, start, v6("::ffff:10.0.0.1"), rate), "the first one again");
    assert_eq!(limiter.check(start, "another.example", v4(1), rate).wait, None);
}

#[test]
fn it_is_exact_over_all_threads() {
    let start = Instant::now();
    let limiter = RateLimiter::new(1 << 20, start);
    let rate = Rate::new(1, seconds(3600), 1000);
    let passed: usize = std::thread::scope(|scope| {
        let ask = || (0..1000).filter(|_| passes(&limiter, start, v4(1), rate)).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 1000);
}

#[test]
fn a_flood_of_addresses_renews_nobodys_allowance() {
    let start = Instant::now();
    let limiter = RateLimiter::new(64 << 10, start);
    let rate = Rate::new(1, seconds(3600), 3);
    let early = v4(9_000_000);
    assert_eq!((0..9).filter(|_| passes(&limiter, start, early, rate)).count(), 3);
    let estimated = (0..20_000).filter(|n| limiter.check(start, SITE, v4(*n), rate).estimated).count();
    assert!(estimated > 10_000, "{estimated}: the memory is full");
    assert!(!passes(&limiter, start, early, rate), "the flood evicted nobody");
    let late = v4(9_000_001);
    assert!(
        (0..9).filter(|_| passes(&limiter, start, late, rate)).count() <= 3,
        "nobody gets more, place or not"
    );
    // When what the flood owed has passed, a place is free again and all is exact.
    let calm = start + seconds(4 * 3600);
    let verdicts: Vec<_> = (0..4).map(|_| limiter.check(calm, SITE, late, rate)).collect();
    assert!(verdicts.iter().all(|verdict| !verdict.estimated));
    assert_eq!(verdicts.iter().filter(|verdict| verdict.wait.is_none()).count(), 3);
}

#[test]
fn who_had_no_place_keeps_what_it_owes_when_it_gets_one() {
    let mut shard = Shard::with_bytes(0);
    let slow = Rate::new(1, seconds(1000), 2);
    let short = Rate::new(1, seconds(1), 1);
    (1..=WAYS as u64).for_each(|key| assert!(shard.check(1, key, short).wait.is_none()));
    let verdict = shard.check(1, 77, slow);
    assert_eq!(verdict, Verdict { wait: None, estimated: true });
    assert!(shard.check(1, 77, slow).wait.is_none());
    let after = 1 + 2_000_000_000;
    let verdict = shard.check(after, 77, slow);
    assert!(!verdict.estimated && verdict.wait.is_some(), "{verdict:?}");
}

#[test]
fn a_flood_smaller_than_the_estimates_refuses_few_of_the_quiet() {
    let start = Instant::now();
    let limiter = RateLimiter::new(1 << 20, start);
    let rate = Rate::new(10, seconds(10), 10);
    // A thousand exhausted clients on top of a full table.
    let ask = |n: u32| limiter.check(start, SITE, v4(n), rate);
    assert!((0..60_000).filter(|n| ask(*n).estimated).count() > 1000);
    assert!((0..20_000).filter(|n| ask(100_000 + n % 1000).wait.is_some()).count() >= 10_000);
    let quiet = (200_000..201_000).filter(|n| passes(&limiter, start, v4(*n), rate)).count();
    assert!(quiet > 900, "{quiet} of 1000 passed");
}

#[test]
fn its_memory_is_what_it_was_given() {
    let bytes = 1 << 20;
    let limiter = RateLimiter::new(bytes, Instant::now());
    let words: usize = limiter
        .shards
        .iter()
        .map(|shard| {
            let shard = shard.lock().unwrap();
            shard.places.len() + shard.estimates.len()
        })
        .sum();
    assert!(words * 8 <= bytes && words * 8 > bytes / 10 * 9, "{words} words");
}

proptest! {
    /// In any time W no client passes more than `burst + W / interval` requests: with a place of its own or without,
    /// whatever the others do.
    #[test]
    fn never_more_than_the_bound_in_any_window(
        requests in 1u64..20,
        per in 1u64..20,
        burst in 1u64..10,
        bytes in prop_oneof![Just(0usize), Just(1 << 16)],
        steps in proptest::collection::vec((0u64..800, 0u32..12), 1..300),
    ) {
        let start = Instant::now();
        let limiter = RateLimiter::new(bytes, start);
        let rate = Rate::new(requests, seconds(per), burst);
        let (mut now, mut passed) = (start, vec![Vec::new(); 12]);
        for (millis, client) in steps {
            now += Duration::from_millis(millis);
            let verdict = limiter.check(now, SITE, v4(client), rate);
            match verdict.wait {
                None => passed[client as usize].push(now),
                Some(wait) => prop_assert!(wait <= Duration::from_nanos(rate.interval)),
            }
        }
        for times in &passed {
            for (i, from) in times.iter().enumerate() {
                for (j, to) in times.iter().enumerate().skip(i) {
                    let allowed = burst + (*to - *from).as_nanos() as u64 / rate.interval;
                    prop_assert!((j - i + 1) as u64 <= allowed);
                }
            }
        }
    }
}
