//! Since when this gateway has been observing.
//!
//! `deny` acts only some days after the first start with it. That moment is kept as one RFC 3339 line in
//! `risk-observe-since` in the data folder, written once. Never moves it. Bound: one line.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::identify::keys::create_once;

/// The first start with `deny` configured: `now` at the first call, the same time ever after.
///
/// # Errors
/// The file cannot be read or written, or is not a time: somebody has changed it, and guessing would make `deny` act
/// too early.
pub fn load_or_create(data: &Path, now: Timestamp) -> io::Result<Timestamp> {
    let path = data.join(FILE);
    if !path.exists() && create_once(&path, format!("{now}\n").as_bytes())? {
        return Ok(now);
    }
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "risk-observe-since is not a time");
    let text = fs::read_to_string(&path)?;
    let since: jiff::Timestamp = text.trim().parse().map_err(|_| malformed())?;
    Ok(Timestamp::from_micros(since.as_microsecond()))
}

/// The end of the observation.
#[must_use]
pub fn until(since: Timestamp, days: u32) -> Timestamp {
    since.plus(Duration::from_secs(u64::from(days) * 86_400))
}

const FILE: &str = "risk-observe-since";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

    #[test]
    fn the_first_start_counts() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(load_or_create(data.path(), NOW).unwrap(), NOW);
        let later = NOW.plus(Duration::from_secs(1_000_000));
        assert_eq!(load_or_create(data.path(), later).unwrap(), NOW);
        assert_eq!(until(NOW, 7).day() - NOW.day(), 7);
        assert_eq!(until(Timestamp::from_micros(i64::MAX), u32::MAX).as_micros(), i64::MAX);
    }

    #[test]
    fn a_changed_file_is_an_error_not_a_guess() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE), "long ago").unwrap();
        assert_eq!(load_or_create(data.path(), NOW).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
