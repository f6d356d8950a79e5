//! Which keys a reload does not take over.
//!
//! One table for the reference, which says so, and for the warning at a reload, which names the keys that were changed
//! in vain. Never decides what is reloaded. Bound: the table.

use std::fmt::Debug;

use super::{Config, LegalHold};

/// The keys that stay as they were at start and that differ between two configurations.
#[must_use]
pub fn changed(old: &Config, new: &Config) -> Vec<&'static str> {
    FIXED.iter().filter(|(_, shown)| shown(old) != shown(new)).map(|(path, _)| *path).collect()
}

/// Whether a key stays as it was at start.
pub(super) fn is_fixed(path: &str) -> bool {
    FIXED.iter().any(|(fixed, _)| *fixed == path)
}

/// A key and its value as text: comparing that spares an `Eq` that nothing else needs.
type Fixed = (&'static str, fn(&Config) -> String);

const FIXED: &[Fixed] = &[
    ("workers", |c| show(&c.workers)),
    ("listen[].address", |c| show(&c.listeners.iter().map(|l| &l.address).collect::<Vec<_>>())),
    ("listen[].mode", |c| show(&c.listeners.iter().map(|l| l.mode).collect::<Vec<_>>())),
    ("listen[].proxy_protocol", |c| show(&c.listeners.iter().map(|l| l.proxy_protocol).collect::<Vec<_>>())),
    ("listen[].proxy_protocol_from", |c| {
        show(&c.listeners.iter().map(|l| &l.proxy_protocol_from).collect::<Vec<_>>())
    }),
    ("consent.proof_term", |c| show(&c.consent.proof_term)),
    ("limits.rate_memory_bytes", |c| show(&c.limits.rate_memory_bytes)),
    ("risk.memory_bytes", |c| show(&c.risk.memory_bytes)),
    ("records.dir", |c| show(&c.records.dir)),
    ("records.keys_dir", |c| show(&c.records.keys_dir)),
    ("records.durability", |c| show(&c.records.durability)),
    ("records.group_commit", |c| show(&c.records.group_commit)),
    ("records.file_bytes", |c| show(&c.records.file_bytes)),
    ("records.ring_bytes", |c| show(&c.records.ring_bytes)),
    ("records.hold", |c| show(&c.records.hold)),
    ("records.max_bytes", |c| show(&c.records.max_bytes)),
    ("records.retention.support", |c| show(&c.records.retention.support)),
    ("records.retention.security", |c| show(&c.records.retention.security)),
    ("records.retention.fraud", |c| show(&c.records.retention.fraud)),
    ("records.retention.diagnostics", |c| show(&c.records.retention.diagnostics)),
    ("records.retention.advertising", |c| show(&c.records.retention.advertising)),
    ("records.minimum.support", |c| show(&c.records.minimum.support)),
    ("records.minimum.security", |c| show(&c.records.minimum.security)),
    ("records.minimum.fraud", |c| show(&c.records.minimum.fraud)),
    ("records.minimum.diagnostics", |c| show(&c.records.minimum.diagnostics)),
    ("records.minimum.advertising", |c| show(&c.records.minimum.advertising)),
    ("records.legal_hold[].name", |c| show(&holds(c, |h| h.name.clone()))),
    ("records.legal_hold[].from", |c| show(&holds(c, |h| h.from))),
    ("records.legal_hold[].until", |c| show(&holds(c, |h| h.until))),
    ("records.legal_hold[].classes", |c| show(&holds(c, |h| h.classes.clone()))),
    ("records.segments", |c| show(&c.records.segments)),
    ("records.segment_minutes", |c| show(&c.records.segment_minutes)),
    ("records.node", |c| show(&c.records.node)),
    ("log.access", |c| show(&c.log.access)),
    ("log.access_file", |c| show(&c.log.access_file)),
    ("log.access_queue", |c| show(&c.log.access_queue)),
    ("log.access_user_agent", |c| show(&c.log.access_user_agent)),
    ("admin.address", |c| show(&c.admin.address)),
    ("admin.hosts", |c| show(&c.admin.hosts)),
];

fn holds<T>(config: &Config, field: fn(&LegalHold) -> T) -> Vec<T> {
    config.records.legal_holds.iter().map(field).collect()
}

fn show(value: &impl Debug) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_pure;

    #[test]
    fn every_fixed_key_is_a_key() {
        for (path, _) in FIXED {
            assert!(crate::config::reference::find(path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_changed_in_vain_is_named() {
        let config = |more: &str| {
            let text = format!(
                "{more}\n[[listen]]\naddress = \"127.0.0.1:8080\"\n\
                 [[site]]\nhosts = [\"kz.example\"]\nupstream = [\"http://127.0.0.1:3000\"]\n"
            );
            parse_pure(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"))
        };
        let old = config("");
        assert!(changed(&old, &config("timeouts.drain = \"1s\"")).is_empty());
        let new = config("workers = 3\nrecords.node = \"b\"\nlimits.h2_streams = 7");
        assert_eq!(changed(&old, &new), ["workers", "records.node"]);
    }
}
