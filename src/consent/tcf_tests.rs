//! Tests of TC strings: the known vectors, strings built bit by bit, and what a changed bit does.

use proptest::prelude::*;

use super::*;

const GRANT: &str = "CQtDjkAQtDjkAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA";

fn verdict(text: &str) -> Verdict {
    read(text.as_bytes(), Purposes::ADVERTISING).verdict
}

/// A core with these fields; everything else is 0.
fn string(fields: &[(usize, usize, u64)], bits: usize) -> String {
    let mut all = vec![false; bits.div_ceil(6) * 6];
    for &(at, length, number) in fields {
        for i in 0..length {
            all[at + i] = number >> (length - 1 - i) & 1 == 1;
        }
    }
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let six = |six: &[bool]| char::from(letters[six.iter().fold(0, |n, bit| n << 1 | usize::from(*bit))]);
    all.chunks(6).map(six).collect()
}

/// A string of a person who consented to these purposes.
fn built(purposes: &[usize], more: &[(usize, usize, u64)]) -> String {
    let mut fields = vec![
        (0, 6, 2),
        (6, 36, 17_953_416_000),
        (42, 36, 17_953_416_000),
        (78, 12, 300),
        (120, 12, 100),
        (132, 6, 5),
        (138, 1, 1),
    ];
    fields.extend(purposes.iter().map(|purpose| (151 + purpose, 1, 1)));
    fields.extend(more);
    string(&fields, SHORTEST)
}

#[test]
fn known_vectors() {
    for (text, expected) in [
        (GRANT, Verdict::Granted),
        ("CQtDjkAQtDjkAEsABBRUBkFgANIAAAAAAAYgAAAAAAAA.IAAA", Verdict::Denied),
        ("CQtDjkAQtDjkAEsABBRUBkFgAHIAAAAAAIYgAAAAAAAA.IAAA", Verdict::Denied),
        ("CQtDjkAQtDjkAEsABBRUBkFgALAAAEIAAAYgAAAAAAAA.IAAA", Verdict::Denied),
        ("CQtDjkAQtDjkAEsABBRUBkFAAPIAAAAAAAYgAAAAAAAA.IAAA", Verdict::Unknown),
        // Fresh or not is weighed elsewhere; the time is read.
        ("CQKjTcAQKjTcAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA", Verdict::Granted),
        ("CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA", Verdict::Unknown),
    ] {
        assert_eq!(verdict(text), expected, "{text}");
    }
    let day = |text: &str| read(text.as_bytes(), Purposes::ADVERTISING).at.unwrap().to_string();
    assert!(day("CQKjTcAQKjTcAEsABBRUBkFgAPIAAAAAAAYgAAAAAAAA.IAAA").starts_with("2025-01-01"));
    assert!(day(GRANT).starts_with("2026-1"), "{}", day(GRANT));
}

#[test]
fn built_strings() {
    let all = [1, 2, 3, 4, 7];
    assert_eq!(verdict(&built(&all, &[])), Verdict::Granted);
    for missing in all {
        let rest: Vec<usize> = all.into_iter().filter(|p| *p != missing).collect();
        assert_eq!(verdict(&built(&rest, &[])), Verdict::Denied, "without {missing}");
        // Legitimate interest is no consent.
        assert_eq!(verdict(&built(&rest, &[(175 + missing, 1, 1)])), Verdict::Denied);
    }
    for (at, length, number) in [(0, 6, 1), (0, 6, 3), (132, 6, 3), (138, 1, 0)] {
        assert_eq!(verdict(&built(&all, &[(at, length, number)])), Verdict::Unknown, "{at}");
    }
    assert_eq!(verdict(&built(&all, &[(200, 1, 1)])), Verdict::Denied);
    let measurement = Purposes::of([7]);
    assert_eq!(read(built(&[1, 7], &[]).as_bytes(), measurement).verdict, Verdict::Granted);
    assert_eq!(read(built(&[7], &[]).as_bytes(), measurement).verdict, Verdict::Denied);
}

#[test]
fn what_is_cut_off_or_foreign_is_unknown() {
    let whole = built(&[1, 2, 3, 4, 7], &[]);
    assert_eq!(verdict(&whole), Verdict::Granted);
    // 36 letters hold every field that is read, and are no string.
    for length in 0..whole.len() {
        assert_eq!(verdict(&whole[..length]), Verdict::Unknown, "{length}");
    }
    for bad in [".", "..", "C=", &format!("{whole}."), &format!("{whole}.="), &format!("{whole}.IA A")] {
        assert_eq!(verdict(bad), Verdict::Unknown, "{bad}");
    }
    assert_eq!(read(&[0xFF; 40], Purposes::ADVERTISING), Reading::UNKNOWN);
    assert_eq!(read(&[b'A'; 5000], Purposes::ADVERTISING), Reading::UNKNOWN);
}

#[test]
fn encoded_once_or_twice_is_read_too() {
    assert_eq!(verdict(&GRANT.replace('.', "%2E")), Verdict::Granted);
    assert_eq!(verdict(&GRANT.replace('.', "%252E")), Verdict::Granted);
    assert_eq!(verdict(&GRANT.replace('.', "%25252E")), Verdict::Unknown);
    assert_eq!(verdict(&GRANT.replace('.', "%2")), Verdict::Unknown);
}

proptest! {
    #[test]
    fn any_bytes_are_unknown_or_a_string(value in proptest::collection::vec(any::<u8>(), 0..80)) {
        let reading = read(&value, Purposes::ADVERTISING);
        prop_assert!(reading.verdict == Verdict::Unknown || value.len() >= 36);
    }

    #[test]
    fn clearing_a_bit_never_grants(purposes in proptest::collection::vec(1_usize..=24, 0..24), treatment in any::<bool>()) {
        let text = built(&purposes, &[(200, 1, u64::from(treatment))]);
        let granted = [1, 2, 3, 4, 7].iter().all(|p| purposes.contains(p)) && !treatment;
        prop_assert_eq!(verdict(&text) == Verdict::Granted, granted);
    }
}
