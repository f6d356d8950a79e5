//! Tests of [`super`]: bounds that are hit, and properties of the whole judgement.

use proptest::prelude::*;

use super::*;
use crate::geo::place::{CountryCode, NetworkCategory};

const T: Tick = 1_000_000;
const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

fn facts(subject: Option<u64>, country: &str, asn: Option<u32>, net: u32) -> Facts {
    let category = if asn.is_some() { NetworkCategory::Isp } else { NetworkCategory::Unknown };
    let origin = Origin { country: CountryCode::new(country), asn, category, net };
    let counted = Counted::Alone(u64::from(net) << 32 | 1);
    Facts { counted, subject, origin, login: false, page: None }
}

#[test]
fn a_subject_takes_the_bytes_that_were_planned() {
    assert!(size_of::<Subject>() <= 400, "{}", size_of::<Subject>());
}

#[test]
fn subjects_are_bounded_and_strangers_take_no_room() {
    let memory = SharedMemory::new(0, NOW);
    for n in 0..10_000u64 {
        memory.assess(NOW, &facts(None, "KZ", None, 1), &Caps::NONE);
        assert_eq!(memory.stats().subjects.min(1), usize::from(n > 0));
        memory.assess(NOW, &facts(Some(memory.hash(Kind::Subject, n)), "KZ", None, 1), &Caps::NONE);
    }
    let stats = memory.stats();
    assert_eq!(stats.subjects, stats.subject_capacity);
    assert!(stats.subject_capacity * size_of::<Subject>() < MIN_BYTES);
    assert_eq!(stats.subject_evictions, 10_000 - stats.subject_capacity as u64);
}

#[test]
fn the_planned_number_of_subjects_fits_the_planned_bytes() {
    let stats = SharedMemory::new(64 << 20, NOW).stats();
    assert!(stats.subject_capacity >= 100_000, "{}", stats.subject_capacity);
}

#[test]
fn a_full_address_table_is_seen_in_the_stats() {
    let memory = SharedMemory::new(0, NOW);
    let answer = Answer { failed_login: true, auth_failure: true, refused_path: None };
    for n in 0..10_000u64 {
        memory.observe_answer(NOW, Counted::Alone(memory.hash(Kind::Address, n)), None, answer);
    }
    let stats = memory.stats();
    assert_eq!((stats.addresses, stats.sketches_in_use), (stats.address_capacity, 1));
}

#[test]
fn a_full_map_of_pages_or_crowds_is_seen_in_the_stats_and_takes_no_room_from_logins() {
    let memory = SharedMemory::new(0, NOW);
    for n in 0..10_000u64 {
        let key = memory.hash(Kind::Address, n);
        let page = Facts { counted: Counted::Alone(key), page: Some(n), ..facts(None, "KZ", None, 1) };
        memory.assess(NOW, &page, &Caps::NONE);
        let login = Facts { counted: Counted::Shared(key), login: true, ..page };
        memory.assess(NOW, &login, &Caps::NONE);
    }
    let stats = memory.stats();
    assert!(stats.pages > 100 && stats.crowds > 100, "{stats:?}");
    assert_eq!((stats.pages, stats.crowds), (stats.page_capacity, stats.crowd_capacity));
    assert_eq!((stats.addresses, stats.sketches_in_use, stats.subjects), (0, 0, 0));
}

#[test]
fn a_crowd_is_judged_by_its_logins_alone() {
    let memory = SharedMemory::new(0, NOW);
    let answer = Answer { failed_login: true, auth_failure: true, refused_path: Some(1) };
    let one = Facts { counted: Counted::Shared(1 << 32), page: Some(1), ..facts(None, "KZ", None, 1) };
    for page in 0..100 {
        memory.observe_answer(NOW, one.counted, None, Answer { refused_path: Some(page), ..answer });
        let page = Facts { page: Some(page), login: true, ..one };
        assert_eq!(memory.assess(NOW, &page, &Caps::NONE), Assessment::default());
    }
    let last = memory.assess(NOW, &Facts { login: true, ..one }, &Caps::NONE);
    assert_eq!(last.signals.get(SignalName::Velocity), Level::Medium);
}

#[test]
fn spread_is_seen_whatever_thread_a_request_lands_on() {
    let memory = SharedMemory::new(64 << 20, NOW);
    let key = memory.hash(Kind::Subject, 1);
    let levels: Vec<_> = std::thread::scope(|scope| {
        let memory = &memory;
        let visit = move |n| memory.assess(NOW, &facts(Some(key), "KZ", None, n), &Caps::NONE).level;
        let threads: Vec<_> = (0..12).map(|n| scope.spawn(move || visit(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(levels.contains(&Level::High));
}

#[test]
fn failed_logins_of_a_session_are_counted_after_the_answer() {
    let memory = SharedMemory::new(0, NOW);
    let key = Some(memory.hash(Kind::Subject, 1));
    let answer = Answer { failed_login: true, auth_failure: true, refused_path: None };
    assert_eq!(memory.assess(NOW, &facts(key, "KZ", None, 1), &Caps::NONE), Assessment::default());
    for n in 0..11 {
        // From another address each time, of one's own or not.
        let counted = if n % 2 == 0 { Counted::Alone(n) } else { Counted::Shared(n) };
        memory.observe_answer(NOW, counted, key, answer);
    }
    let assessment = memory.assess(NOW, &facts(key, "KZ", None, 1), &Caps::NONE);
    assert_eq!(assessment.signals.get(SignalName::Velocity), Level::High);
    assert_eq!(assessment.level, Level::High);
}

#[test]
fn a_clock_set_back_does_not_panic() {
    let memory = SharedMemory::new(0, NOW);
    for now in [NOW, NOW.minus(Duration::from_secs(1 << 40)), Timestamp::from_micros(i64::MAX)] {
        memory.assess(now, &facts(Some(1), "KZ", Some(1), 1), &Caps::NONE);
    }
}

fn visits() -> impl Strategy<Value = Vec<(u32, Facts)>> {
    let country = prop::sample::select(vec!["KZ", "DE", "BR", "CN", "US", "ZZ"]);
    let page = prop::option::of(any::<u64>());
    let one = (0u32..2000, 0u64..3, country, 1u32..6, 1u32..9, any::<bool>(), page);
    let make = |(step, subject, country, asn, net, login, page)| {
        (step, Facts { login, page, ..facts((subject > 0).then_some(subject), country, Some(asn), net) })
    };
    prop::collection::vec(one.prop_map(make), 1..60)
}

fn run(memory: &mut Memory, visits: &[(u32, Facts)]) -> Vec<Assessment> {
    let mut now = T;
    let assess = |(step, facts): &(u32, Facts)| {
        now += step;
        memory.assess(now, u16::try_from(now / 86_400).unwrap(), facts, &Caps::NONE)
    };
    visits.iter().map(assess).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn assess_is_pure_given_time_facts_and_memory(visits in visits()) {
        let mut memory = Memory::with_bytes(MIN_BYTES);
        let mut copy = memory.clone();
        prop_assert_eq!(run(&mut memory, &visits), run(&mut copy, &visits));
    }

    #[test]
    fn a_first_visit_has_no_signal(visits in visits()) {
        let mut memory = Memory::with_bytes(MIN_BYTES);
        let (_, first) = visits[0];
        prop_assert!(memory.assess(T, 11, &first, &Caps::NONE).signals.is_empty());
    }

    #[test]
    fn an_asn_database_changes_no_signal_that_does_not_use_it(visits in visits()) {
        let without: Vec<_> = visits.iter().map(|(step, facts)| {
            let origin = Origin { asn: None, category: NetworkCategory::Unknown, ..facts.origin };
            (*step, Facts { origin, ..*facts })
        }).collect();
        let with = run(&mut Memory::with_bytes(MIN_BYTES), &visits);
        let without = run(&mut Memory::with_bytes(MIN_BYTES), &without);
        for (a, b) in with.iter().zip(&without) {
            for name in [SignalName::Velocity, SignalName::NewCountry] {
                prop_assert_eq!(a.signals.get(name), b.signals.get(name));
            }
        }
    }

    #[test]
    fn a_signal_that_is_off_is_never_there(visits in visits()) {
        let mut memory = Memory::with_bytes(MIN_BYTES);
        let off = Caps::new(&SignalName::ALL, &[]);
        for (n, (_, facts)) in (0..).zip(&visits) {
            let assessment = memory.assess(T + n, 11, facts, &off);
            prop_assert_eq!(assessment, Assessment::default());
        }
    }

    #[test]
    fn no_signal_is_above_its_cap(visits in visits()) {
        let mut memory = Memory::with_bytes(MIN_BYTES);
        let caps = Caps::new(&[], &SignalName::ALL.map(|name| (name, Level::Low)));
        for (n, (_, facts)) in (0..).zip(&visits) {
            let assessment = memory.assess(T + n, 11, facts, &caps);
            prop_assert!(SignalName::ALL.iter().all(|name| assessment.signals.get(*name) <= Level::Low));
            prop_assert!(assessment.level < Level::High, "five times ten points");
        }
    }
}

#[test]
fn paths_have_hashes_of_their_own_and_one_each() {
    let memory = SharedMemory::new(MIN_BYTES, NOW);
    let paths = ["", "/", "/a", "/a/", "/aaaaaaa", "/aaaaaaaa", "/A"];
    let hashes = paths.map(|path| memory.hash_path(path.as_bytes()));
    assert_eq!(hashes.iter().collect::<std::collections::HashSet<_>>().len(), hashes.len());
    assert_eq!(hashes[2], memory.hash_path(b"/a"));
    assert_ne!(hashes[2], SharedMemory::new(MIN_BYTES, NOW).hash_path(b"/a"), "a secret of each process");
}

#[test]
fn every_part_of_a_network_counts_in_its_hash() {
    let memory = SharedMemory::new(MIN_BYTES, Timestamp::from_secs(1_000_000));
    let hash = |kind, net: &str| memory.hash_net(kind, net.parse().unwrap());
    let all = [
        hash(Kind::Address, "192.0.2.0/24"),
        hash(Kind::Network, "192.0.2.0/24"),
        hash(Kind::Address, "192.0.2.0/32"),
        hash(Kind::Address, "192.0.3.0/24"),
        hash(Kind::Address, "::c000:200/24"),
    ];
    assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    assert_eq!(all[0], hash(Kind::Address, "192.0.2.0/24"));
}
