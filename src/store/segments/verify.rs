//! Checks the segments of a data folder against their manifest.
//!
//! Every line of the manifest must follow the one before it; every file must be there with its size and hash; the
//! numbers of one process must not have holes but those of erased rows, which the manifest counts. [`verify_keys`] tries
//! each key on one data key of each segment, and each index under its own. Opens no record. Bound: one line per finding,
//! one block of [`BLOCK_BYTES`], one index.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::manifest::{Entry, Manifest, hex};
use super::orphans::{listed, unlisted};
use super::read::wrapped;
use crate::regular_file;
use crate::seal::{Dek, KeyError, KeyId, KeyProvider, Keyring};
use crate::store::files;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::subjects::index_is_whole;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The manifest cannot be believed.
    Manifest(String),
    /// A segment is not there.
    Missing(String),
    /// A segment cannot be read.
    Unreadable(String),
    /// A segment is in no line of the manifest, and its records are nowhere else.
    Unlisted(String),
    /// A segment is not what was written.
    Changed(String),
    /// The manifest's numbers of a segment do not fit: not every record between its first and last is in it or was
    /// erased.
    Count(String),
    /// Records between two segments of a process are in neither; they may be in the journal still.
    Hole {
        /// Which process.
        instance: u32,
        /// First number that is missing.
        first_seq: u64,
        /// Last number that is missing.
        last_seq: u64,
    },
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines of the manifest.
    pub lines: u64,
    /// Segments checked.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Records that were erased from them.
    pub erased: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wrong; empty is good.
    pub findings: Vec<Finding>,
}

/// Checks the segments below a data folder.
///
/// # Errors
/// When the folder cannot be read at all.
pub fn verify(dir: &Path) -> io::Result<Report> {
    let folder = dir.join(super::FOLDER);
    let mut report = Report::default();
    // Before the manifest: what is in neither afterwards is nowhere.
    let journal = begins(&dir.join(JOURNAL))?;
    let listed = listed(&folder)?;
    let manifest = match Manifest::read(&folder) {
        Ok(manifest) => manifest,
        Err(super::ManifestError::Read(cause)) => return Err(cause),
        Err(error) => {
            report.findings.push(Finding::Manifest(error.to_string()));
            return Ok(report);
        }
    };
    report.lines = manifest.lines();
    for entry in manifest.entries() {
        report.segments += 1;
        report.records += entry.rows;
        report.erased += entry.erased;
        report.bytes += entry.bytes;
        report.findings.extend(check(&folder, entry));
    }
    // What went or was written anew meanwhile is not missing.
    if report.findings.iter().any(|f| matches!(f, Finding::Missing(_)))
        && let Ok(now) = Manifest::read(&folder)
    {
        let exists = |file: &String| now.entries().iter().any(|e| e.file == *file);
        report.findings.retain(|f| !matches!(f, Finding::Missing(file) if !exists(file)));
    }
    report.findings.extend(unlisted(dir, &listed, &manifest)?.into_iter().map(Finding::Unlisted));
    report.findings.extend(holes(manifest.entries(), &journal));
    Ok(report)
}

/// What has become of the keys of the segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Segments of which a key was destroyed: its columns are unreadable for ever, and will be taken out.
    pub expired: u64,
    /// Keys that segments need and that are not there, without having been destroyed: the segment and the key.
    pub missing: Vec<(String, String)>,
    /// Keys that are there and open nothing of the segment: the segment and what is wrong.
    pub unfit: Vec<(String, String)>,
    /// Segments whose index is not what was written for them: searches ask the columns instead.
    pub foreign: Vec<String>,
}

/// Checks that the keys of the segments below a data folder were destroyed, or are there and fit; and their indexes.
///
/// # Errors
/// When the manifest or the keys cannot be read.
pub fn verify_keys(dir: &Path, keys: &Arc<dyn KeyProvider>) -> io::Result<KeyReport> {
    let folder = dir.join(super::FOLDER);
    let keyring = Keyring::of_the_store(Arc::clone(keys));
    let manifest = Manifest::read(&dir.join(super::FOLDER)).map_err(io::Error::other)?;
    let names = |keys: Result<Vec<KeyId>, KeyError>| -> io::Result<BTreeSet<String>> {
        Ok(keys.map_err(io::Error::other)?.iter().map(ToString::to_string).collect())
    };
    // What is destroyed between the two is in both.
    let (live, destroyed) = (names(keys.list())?, names(keys.destroyed())?);
    let mut report = KeyReport::default();
    for entry in manifest.entries() {
        report.expired += u64::from(entry.keys.iter().any(|key| destroyed.contains(key)));
        let missing = entry.keys.iter().filter(|key| !live.contains(*key) && !destroyed.contains(*key));
        report.missing.extend(missing.map(|key| (entry.file.clone(), key.clone())));
        let path = folder.join(&entry.file);
        // What cannot be read is told by the check of the files.
        let wrapped = wrapped(&path).unwrap_or_default();
        let tried = wrapped.iter().filter_map(|(key, wrapped)| keyring.unwrap(key, wrapped).err());
        let unreadable = entry.keys.iter().filter(|key| live.contains(*key)).filter_map(|key| {
            // The footer's, of which no column has a data key: whether it can be read at all.
            let key =
                key.parse::<KeyId>().ok().filter(|key| !wrapped.iter().any(|(known, _)| known == key))?;
            Dek::random().and_then(|dek| keys.wrap(&key, &dek)).err()
        });
        let unfit = tried.chain(unreadable).filter(|error| !matches!(error, KeyError::Missing(_)));
        report.unfit.extend(unfit.map(|error| (entry.file.clone(), told(&error))));
        if path.exists() && !index_is_whole((&path, entry), &keyring).unwrap_or(false) {
            report.foreign.push(entry.file.clone());
        }
    }
    Ok(report)
}

/// An error of a key with its cause.
pub(in crate::store) fn told(error: &KeyError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn check(folder: &Path, entry: &Entry) -> Option<Finding> {
    let covered = entry.last_seq.checked_sub(entry.first_seq).and_then(|n| n.checked_add(1));
    if covered != entry.rows.checked_add(entry.erased) {
        return Some(Finding::Count(entry.file.clone()));
    }
    match hash(&folder.join(&entry.file)) {
        Ok((bytes, sha256)) if bytes == entry.bytes && sha256 == entry.sha256 => None,
        Ok(_) => Some(Finding::Changed(entry.file.clone())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Some(Finding::Missing(entry.file.clone())),
        Err(_) => Some(Finding::Unreadable(entry.file.clone())),
    }
}

/// Size and SHA-256 of a file.
fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = regular_file::open(path)?;
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut block, mut bytes) = (vec![0; BLOCK_BYTES], 0);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((bytes, hex(digest.finish().as_ref()))),
            Ok(len) => {
                digest.update(&block[..len]);
                bytes += len as u64;
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// The first numbers of the journal's files.
fn begins(journal: &Path) -> io::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for name in files::list(journal)? {
        match regular_file::open(&name.path) {
            Ok(file) => found.extend(files::head(&file)?.map(|(head, _)| head.first_seq)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(found)
}

/// Numbers between the segments of one process that are nowhere.
fn holes(entries: &[Entry], journal: &BTreeSet<u64>) -> Vec<Finding> {
    let mut spans: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for entry in entries {
        spans.entry(entry.instance).or_default().push((entry.first_seq, entry.last_seq));
    }
    let mut found = Vec::new();
    for (instance, mut spans) in spans {
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let (first_seq, last_seq) = (pair[0].1 + 1, pair[1].0.saturating_sub(1));
            if first_seq <= last_seq && !journal.contains(&first_seq) {
                found.push(Finding::Hole { instance, first_seq, last_seq });
            }
        }
    }
    found
}

/// Bytes read at once.
const BLOCK_BYTES: usize = 256 << 10;
