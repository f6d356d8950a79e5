//! Rows for tests, made by the encoder that the gateway uses.

use std::path::Path;

use super::{Ask, Filter, Grant, open_read};
use crate::audit::AuditLog;
use crate::clock::Timestamp;
use crate::record::event::Encoded;
use crate::record::{Class, Event, Purpose, Row, SCHEMA_VERSION};

/// An encoded record.
pub(crate) struct Stored(Vec<u8>);

impl Stored {
    pub(crate) fn new(event: &Event<'_>) -> Self {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        Self(bytes)
    }

    /// The record of these bytes with further clear fields, as the writer adds them.
    pub(crate) fn with_clear(bytes: &[u8], fields: &[u8]) -> Self {
        let clear = Encoded::take(bytes).unwrap().0.sections[Class::Clear as usize];
        let (mut out, start) = (bytes.to_vec(), bytes.len() - clear.len());
        // The class is the last of a record.
        assert_eq!(&bytes[start..], clear);
        out.extend_from_slice(fields);
        for (at, from) in [(start - 4, start), (0, 4)] {
            let len = (out.len() - from) as u32;
            out[at..at + 4].copy_from_slice(&len.to_le_bytes());
        }
        Self(out)
    }

    pub(crate) fn row(&self, purpose: Purpose, seq: u64, ts: Timestamp) -> Row<'_> {
        let (record, _) = Encoded::take(&self.0).unwrap();
        Row::new((seq, ts), (b"node-1", SCHEMA_VERSION), record.sections, purpose.opened())
    }
}

/// A grant of that purpose, in an audit log that nobody looks at.
pub(crate) fn granted(purpose: Purpose) -> Grant {
    granted_in(tempfile::tempdir().unwrap().path(), purpose)
}

/// A grant of that purpose, in the audit log of a data folder, whose tombstones it has.
pub(crate) fn granted_in(dir: &Path, purpose: Purpose) -> Grant {
    let filter = Filter::default();
    let ask = Ask {
        purpose,
        reason: Some("test"),
        command: "test",
        filter: &filter,
        columns: &[],
        disclosure: None,
    };
    open_read(ask.allow().unwrap(), AuditLog::open(dir).unwrap(), Timestamp::default()).unwrap()
}

/// A plain request for a page that is not there.
pub(crate) fn event<'a>() -> Event<'a> {
    Event {
        start_ts: Some(Timestamp::from_secs(998_940)),
        method: Some(b"GET"),
        scheme: Some(b"https"),
        domain: Some(b"kz.example"),
        path: Some(b"/a/b.html"),
        status: Some(404),
        response_bytes: Some(2048),
        duration: Some(12_000),
        request_id: Some(b"0190f1"),
        http_version: Some(b"2"),
        gpc: Some(true),
        ..Event::default()
    }
}
