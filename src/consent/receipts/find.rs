//! Finds one receipt in the log, by the time that its number holds.
//!
//! Entries are in the order of time but for seconds, so the place is found by halving the file. Never reads more than
//! [`STEPS`] pieces and [`SCAN_BYTES`] beyond. Bound: these.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use uuid::Uuid;

use super::Kind;
use super::entry::Receipt;
use crate::clock::Timestamp;
use crate::ledger::{ENTRY_BYTES, Ledger, open};

/// The line of a receipt, without its end; `None` if it is not there.
///
/// # Errors
/// When the log cannot be read.
pub fn line_of(ledger: &Ledger, id: Uuid) -> io::Result<Option<String>> {
    let Some((seconds, _)) = id.get_timestamp().map(|at| at.to_unix()) else { return Ok(None) };
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 2_000_000);
    let from = Timestamp::from_secs(seconds.min(LAST_SECOND)).minus(SLACK).to_string();
    let file = match File::open(ledger.log()) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let start = place(&file, &from)?;
    let mut bytes = vec![0; SCAN_BYTES];
    let length = read_at(&file, &mut bytes, start)?;
    let wanted = id.to_string();
    let found = bytes[..length].split(|&b| b == b'\n').find(|line| {
        let entry = open::<Receipt>(line).map(|link| link.entry);
        entry.is_some_and(|e| e.receipt.as_deref() == Some(&wanted) && e.event != Kind::Expired)
    });
    Ok(found.map(|line| String::from_utf8_lossy(line).into_owned()))
}

/// An offset at or before the first entry of that time or later.
fn place(file: &File, from: &str) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    for _ in 0..STEPS {
        if high - low <= STEP_BYTES {
            break;
        }
        let middle = low + (high - low) / 2;
        match first_time(file, middle)? {
            Some(time) if *time < *from => low = middle,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The time of the first whole entry behind an offset.
fn first_time(file: &File, at: u64) -> io::Result<Option<String>> {
    let mut bytes = vec![0; 2 * ENTRY_BYTES.min(STEP_BYTES as usize)];
    let length = read_at(file, &mut bytes, at)?;
    let lines = bytes[..length].split(|&b| b == b'\n').skip(1);
    Ok(lines.filter_map(open::<Receipt>).map(|link| link.entry.time).next())
}

fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}

/// How far entries may be out of order, and clocks apart.
const SLACK: Duration = Duration::from_secs(60);
/// Halvings: enough for any file.
const STEPS: usize = 64;
/// A piece in which an entry begins; entries are far shorter.
const STEP_BYTES: u64 = 32 * 1024;
/// How far behind the place is looked.
const SCAN_BYTES: usize = 4 << 20;
/// A time that can be written.
const LAST_SECOND: i64 = 99_999_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(second: u64) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(second * 1000, &[7; 10]).into_uuid()
    }

    fn receipt(second: u64) -> Receipt {
        Receipt {
            n: 0,
            time: Timestamp::from_secs(i64::try_from(second).unwrap()).to_string(),
            event: Kind::Refused,
            prev: String::new(),
            receipt: Some(id(second).to_string()),
            site: Some("kz.example".into()),
            details: None,
            found: None,
        }
    }

    #[test]
    fn any_receipt_is_found_in_a_long_log_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(folder.path(), "receipts");
        assert_eq!(line_of(&ledger, id(1)).unwrap(), None, "there is no log yet");
        let first = 1_795_341_600;
        ledger.append((0..20_000).map(|i| receipt(first + 10 * i)).collect()).unwrap();
        assert!(ledger.log().metadata().unwrap().len() > SCAN_BYTES as u64);
        for i in [0, 1, 7_777, 12_345, 19_999] {
            let line = line_of(&ledger, id(first + 10 * i)).unwrap().expect("a receipt");
            assert!(line.contains(&id(first + 10 * i).to_string()), "{i}");
        }
        for second in [0, first - 1, first + 5, first + 10 * 20_000] {
            assert_eq!(line_of(&ledger, id(second)).unwrap(), None, "{second}");
        }
        assert_eq!(line_of(&ledger, Uuid::nil()).unwrap(), None);
    }
}
