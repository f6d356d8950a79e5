//! The certificate of an erasure: what, whose, how many, by which method, why, when, on which system, and what it does
//! not reach.
//!
//! Pure: the facts come from the book and the audit log. Never holds an identifier, only tags.

use std::fmt::Write as _;

use super::find::{counts_table, total};
use super::who::unlinked_words;
use crate::clock::Timestamp;
use crate::store::subjects::Erasure;

/// What a certificate says.
pub(super) struct Facts<'a> {
    /// Number of the tombstone.
    pub(super) id: u32,
    /// The tags.
    pub(super) whose: &'a str,
    /// Why.
    pub(super) reason: &'a str,
    /// Why although something kept the records.
    pub(super) despite: Option<&'a str>,
    /// When it was ordered; records up to then were erased.
    pub(super) ordered: Timestamp,
    /// When it was done.
    pub(super) finished: Timestamp,
    /// Number of its entry in the audit log.
    pub(super) audit: u64,
    /// The data folder.
    pub(super) folder: &'a str,
    /// Whether the keys of the days were replaced.
    pub(super) rotated: bool,
    /// What was done.
    pub(super) done: &'a Erasure,
    /// What stays of receipts of consent, in lines.
    pub(super) kept: &'a [String],
    /// Records of which nobody can say whose they are: the erasure is not everything.
    pub(super) unlinked: u64,
}

/// The certificate as text.
pub(super) fn certificate(facts: &Facts<'_>) -> String {
    let Facts { id, whose, reason, despite, ordered, finished, audit, folder, rotated, done, kept, unlinked } =
        facts;
    let records = total(&done.days).records;
    let mut text = match *unlinked {
        0 => String::from("CERTIFICATE OF ERASURE\n\n"),
        _ => String::from("CERTIFICATE OF ERASURE, NOT OF ALL RECORDS\n\n"),
    };
    let mut put = |title: &str, words: &str| {
        let _ = writeln!(text, "{title:<12}{words}");
    };
    put("what", "records of requests, every column of them, by day and class:");
    counts_table(&done.days).lines().for_each(|line| put("", line));
    put("whose", whose);
    put("", "(tags: keyed hashes of what identifies the person)");
    put("how many", &format!("{records} records, recorded until {ordered}"));
    put("method", &format!("{} segments written anew without them, under new data keys;", done.segments));
    put("", &format!("{} journal files closed and made into segments without them;", done.journal_files));
    put("", &format!("{} torn pieces of journal files removed; the old files removed;", done.torn));
    if *unlinked == 0 {
        put("", "afterwards every segment and journal file was searched: none is left");
    } else {
        put("", "afterwards every segment and journal file was searched: none with these tags is left");
        put("NOT ALL", &unlinked_words(*unlinked));
    }
    put("reason", &reason.escape_debug().to_string());
    if let Some(why) = despite {
        put("holds", &format!("legal holds and the minimum term were set aside: {}", why.escape_debug()));
    }
    put("ordered", &ordered.to_string());
    put("done", &finished.to_string());
    put("system", &format!("kelisim {}, data folder {folder}", env!("CARGO_PKG_VERSION")));
    put("log", &format!("audit log entry {audit}; tombstone {id}"));
    if *rotated {
        put(
            "backups",
            "covered: these keys were destroyed, so sealed columns of these days open in no copy:",
        );
        put("", &if done.keys.is_empty() { "none was left".to_owned() } else { done.keys.join(" ") });
    } else {
        put(
            "backups",
            "not covered: sealed columns open in a copy until retention destroys the keys of the day",
        );
    }
    put("", "columns of class clear (facts without a person) stay readable in a copy of a segment");
    for (i, line) in kept.iter().enumerate() {
        put(if i == 0 { "kept" } else { "" }, line);
    }
    put("elsewhere", "not covered: access logs, exports that were given out, the site's own data");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::subjects::Counts;

    fn facts<'a>(done: &'a Erasure, rotated: bool) -> Facts<'a> {
        Facts {
            id: 4,
            whose: "1-Zm9vYmFyYmF6cXV4,1-YWJjZGVmZ2hpamts",
            reason: "request 17",
            despite: rotated.then_some("order of the court"),
            ordered: Timestamp::from_secs(1_795_341_600),
            finished: Timestamp::from_secs(1_795_341_605),
            audit: 12,
            folder: "/var/lib/kelisim/records",
            rotated,
            done,
            kept: &[],
            unlinked: 0,
        }
    }

    #[test]
    fn it_says_what_whose_how_many_method_reason_date_and_system() {
        let mut done = Erasure { segments: 2, journal_files: 1, ..Erasure::default() };
        done.days.insert("2026-11-21".to_owned(), Counts { records: 3, classes: [3, 3, 2, 1, 0] });
        done.days.insert("2026-11-22".to_owned(), Counts { records: 1, classes: [1, 1, 1, 0, 0] });
        let plain = certificate(&facts(&done, false));
        done.keys = vec!["sec/2026-11-21#0".to_owned(), "sec/2026-11-22#0".to_owned()];
        let kept = ["1 receipts of consent: the proof of what was chosen".to_owned(), "r1".to_owned()];
        let rotated = certificate(&Facts { kept: &kept, ..facts(&done, true) });
        insta::assert_snapshot!("certificate", format!("{plain}\n{rotated}"));
    }

    #[test]
    fn a_lost_key_leaves_no_certificate_that_says_none_is_left() {
        let done = Erasure::default();
        let text = certificate(&Facts { unlinked: 7, ..facts(&done, false) });
        assert!(text.starts_with("CERTIFICATE OF ERASURE, NOT OF ALL RECORDS\n"), "{text}");
        assert!(text.contains("NOT ALL     7 records could not be searched"), "{text}");
        assert!(!text.contains(": none is left"), "{text}");
    }
}
