//! Any bytes as the inside of a journal frame with a right checksum, and as what was sealed in one: never a panic, never
//! an endless loop, nothing opened that was not sealed there, and every row that comes out can be read.

#![no_main]

use std::ops::ControlFlow;
use std::sync::Arc;

use kelisim::audit::AuditLog;
use kelisim::clock::Timestamp;
use kelisim::record::{COLUMNS, Purpose};
use kelisim::seal::{Day, Dek, KeyClass, KeyError, KeyId, KeyProvider, Keyring, Lasting, Permitted, Version};
use kelisim::store::frame::{Frame, FrameBuilder, Next};
use kelisim::store::head::FileHead;
use kelisim::store::query::{Ask, Filter, Grant, open_read};
use kelisim::store::sealed::{FileKeys, Opener, Sealer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    // As it came: the checksum stops nearly everything.
    let _ = Frame::decode(body);
    let _ = FileHead::decode(body);
    let (mut sealer, mut opener) = file();
    // With a right checksum: the seal stops everything that has records.
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body).to_le_bytes();
    let framed = [&length[..], &checksum, body].concat();
    if let Next::Frame(frame, _) = Frame::decode(&framed) {
        assert!(frame.count == 0 || opener.open(&frame).is_err(), "opened what was never sealed");
    }
    // Sealed by a writer that writes nonsense.
    let Some(([count, clear_len], rest)) = body.split_first_chunk() else { return };
    let (clear, sec) = rest.split_at(usize::from(*clear_len).min(rest.len()));
    let sections = [clear.to_vec(), sec.to_vec(), vec![], vec![], vec![]];
    let mut bytes = Vec::new();
    let builder = FrameBuilder::of_bytes(sections, usize::from(*count));
    builder.finish(&mut sealer, (9, Timestamp::from_secs(9)), &mut bytes).expect("sealed");
    let Next::Frame(frame, _) = Frame::decode(&bytes) else { panic!("no frame") };
    let Ok(batch) = opener.open(&frame) else { return };
    let _ = batch.rows(|row| {
        for column in COLUMNS {
            let _ = row.get(column);
        }
        ControlFlow::<()>::Continue(())
    });
});

fn file() -> (Sealer, Opener) {
    let at = Timestamp::from_secs(9);
    let mut head = FileHead::new(at, (1, 0), 9, "node");
    let sealer = FileKeys::make(&Plain, Day::of(at)).expect("keys").seal_file(&mut head);
    let keyring = GRANT.with(|grant| Keyring::new(grant, Arc::new(Plain)));
    let opener = Opener::new(&head, &keyring).expect("keys");
    (sealer, opener.expect("a clear key"))
}

thread_local! {
    /// One read, entered in an audit log of its own, for all runs.
    static GRANT: Grant = granted();
}

fn granted() -> Grant {
    let folder = std::env::temp_dir().join(format!("kelisim-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let filter = Filter::default();
    let (purpose, reason, command) = (Purpose::Security, Some("fuzz"), "fuzz");
    let ask = Ask { purpose, reason, command, filter: &filter, columns: &[], disclosure: None };
    let log = AuditLog::open(&folder).expect("an audit log");
    open_read(ask.allow().expect("allowed"), log, Timestamp::default()).expect("granted")
}

/// Wraps nothing: the keys of the fuzzer hide nothing.
#[derive(Debug)]
struct Plain;

impl KeyProvider for Plain {
    fn current(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        Ok(KeyId { class, day, generation: 0 })
    }
    fn wrap(&self, _: &KeyId, dek: &Dek) -> Result<Vec<u8>, KeyError> {
        Ok(dek.bytes().to_vec())
    }
    fn unwrap(&self, key: Permitted<'_>, wrapped: &[u8]) -> Result<Dek, KeyError> {
        wrapped.first_chunk().map(Dek::from_bytes).ok_or(KeyError::Unwrap(*key.id()))
    }
    fn rotate(&self, class: KeyClass, day: Day) -> Result<KeyId, KeyError> {
        self.current(class, day)
    }
    fn destroy(&self, _: &KeyId) -> Result<bool, KeyError> {
        Ok(false)
    }
    fn list(&self) -> Result<Vec<KeyId>, KeyError> {
        Ok(Vec::new())
    }
    fn destroyed(&self) -> Result<Vec<KeyId>, KeyError> {
        Ok(Vec::new())
    }
    fn forget(&self, _: &KeyId) -> Result<bool, KeyError> {
        Ok(false)
    }
    fn lasting(&self, _: Lasting) -> Result<Vec<Version>, KeyError> {
        Ok(Vec::new())
    }
    fn renew(&self, _: Lasting) -> Result<u32, KeyError> {
        Ok(1)
    }
}
