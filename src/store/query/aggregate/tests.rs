//! Counts against the naive way, and what the limits do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Key, visitor, number; counted by two siblings in turn.
fn top(by: By, limits: Limits, rows: &[(u8, u8, u64)]) -> Top {
    let mut first = Top::new(Type::Text, by, limits);
    let mut second = first.sibling();
    for (i, (key, visitor, number)) in rows.iter().enumerate() {
        let key = [*key];
        let tag = [*visitor];
        let measure =
            if matches!(by, By::Visitors | By::Visits) { Value::Text(&tag) } else { Value::U64(*number) };
        let half = if i % 2 == 0 { &mut first } else { &mut second };
        half.add(Some(&Value::Text(&key)), Some(&measure));
    }
    first.merge(second);
    first
}

proptest! {
    #[test]
    fn counts_are_those_of_the_naive_way(rows in proptest::collection::vec((0..6_u8, 0..9_u8, 0..100_000_u64), 0..200)) {
        let mut naive: BTreeMap<u8, (u64, BTreeSet<u8>, u64, Vec<u64>)> = BTreeMap::new();
        for (key, visitor, number) in &rows {
            let of_key = naive.entry(*key).or_default();
            of_key.0 += 1;
            of_key.1.insert(*visitor);
            of_key.2 += number;
            of_key.3.push(*number);
        }
        for by in [By::Hits, By::Visitors, By::Visits, By::Bytes, By::P95] {
            let result = top(by, Limits::default(), &rows).finish(usize::MAX, 0);
            prop_assert_eq!(result.rows.len(), naive.len());
            prop_assert!(result.rows.windows(2).all(|w| w[0].measure >= w[1].measure));
            for row in &result.rows {
                let OwnedValue::Text(key) = &row.key else { panic!("text") };
                let (hits, visitors, sum, numbers) = naive.get_mut(&key[0]).expect("the key");
                prop_assert_eq!(row.hits, *hits);
                numbers.sort_unstable();
                let p95 = numbers[(numbers.len() * 95).div_ceil(100) - 1];
                match by {
                    By::Hits => prop_assert_eq!(row.measure, *hits),
                    By::Visitors | By::Visits => prop_assert_eq!(row.measure, visitors.len() as u64),
                    By::Bytes => prop_assert_eq!(row.measure, *sum),
                    By::P95 => prop_assert!(row.measure >= p95 && row.measure - p95 <= p95 / 64),
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_at_any_limit(
        rows in proptest::collection::vec((0..20_u8, 0..9_u8, 0..9_u64), 0..100),
        keys in 0..8_usize, key_bytes in 0..8_usize, pairs in 0..8_usize, limit in 0..8_usize, min in 0..8_u64,
    ) {
        for by in [By::Hits, By::Bytes, By::Visitors] {
            let limits = Limits { keys, key_bytes, pairs };
            let result = top(by, limits, &rows).finish(limit, min);
            prop_assert!(result.rows.len() <= limit.min(keys).min(key_bytes));
            let shown: u64 = result.rows.iter().map(|r| r.hits).sum();
            prop_assert_eq!(shown + result.other.hits + result.over.hits, rows.len() as u64);
            prop_assert_eq!(result.records, rows.len() as u64);
            if by == By::Bytes {
                let shown: u64 = result.rows.iter().map(|r| r.measure).sum();
                prop_assert_eq!(shown + result.other.sum + result.over.sum, rows.iter().map(|r| r.2).sum::<u64>());
            }
            prop_assert!(result.rows.iter().all(|r| r.hits >= min));
        }
    }
}

#[test]
fn limits_are_visible() {
    let rows: Vec<(u8, u8, u64)> = (0..10).map(|i| (i, i, 1)).collect();
    let full = top(By::Hits, Limits { keys: 3, ..Limits::default() }, &rows).finish(10, 0);
    assert_eq!((full.rows.len(), full.over.hits), (3, 7));
    let unmeasured =
        top(By::Visitors, Limits { pairs: 4, ..Limits::default() }, &rows).finish(10, 0).unmeasured;
    assert_eq!(unmeasured, 6);
}

#[test]
fn items_of_a_list_are_counted_each_and_absence_apart() {
    let names: crate::record::ListBuf = [&b"_ga"[..], b"sid"].into_iter().collect();
    let mut top = Top::new(Type::List, By::Hits, Limits::default());
    top.add(Some(&Value::List(names.as_list())), None);
    top.add(None, None);
    let result = top.finish(10, 0);
    assert_eq!((result.rows.len(), result.records, result.absent), (2, 2, 1));
}
