//! Waits until every running gateway has taken up a change of the book.
//!
//! A gateway that starts meanwhile reads the book after it took its number, so it has the change. One that dies is no
//! longer waited for. Bound: the patience that is given.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::watch::seen_path;
use crate::clock::monotonic;
use crate::regular_file;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::{files, lock};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A gateway that did not take up a change.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// It lives and says nothing.
    #[error(
        "the gateway process with number {instance} did not take up the change within {patience:?}; see its log, and repeat the command"
    )]
    Silent {
        /// Its instance number.
        instance: u32,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The folder cannot be read.
    #[error("the folder of the journal cannot be read")]
    Folder(#[from] io::Error),
}

/// Waits until every living process works with that version of the book; the number of each and the number below which
/// its files are not written any more.
pub(in crate::store) fn wait_until_seen(
    dir: &Path,
    version: u64,
    patience: Duration,
) -> Result<Vec<(u32, u64)>, Unseen> {
    let deadline = monotonic() + patience;
    let mut all = Vec::new();
    for instance in lock::living(&dir.join(JOURNAL))? {
        loop {
            if let Some((seen, left)) = said(dir, instance)?.filter(|(seen, _)| *seen >= version) {
                debug_assert!(seen >= version);
                all.push((instance, left));
                break;
            }
            if !lock::living(&dir.join(JOURNAL))?.contains(&instance) {
                break;
            }
            if monotonic() >= deadline {
                return Err(Unseen::Silent { instance, patience });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(all)
}

/// Waits until the files that those processes have left are closed, synced and marked.
pub(in crate::store) fn wait_until_closed(
    dir: &Path,
    left: &[(u32, u64)],
    patience: Duration,
) -> Result<(), Unseen> {
    let deadline = monotonic() + patience;
    loop {
        let mut open = None;
        for name in files::list(&dir.join(JOURNAL))? {
            let Some((instance, _)) =
                left.iter().find(|(i, below)| *i == name.instance && u64::from(name.number) < *below)
            else {
                continue;
            };
            match regular_file::open(&name.path) {
                Ok(file) if !is_spare(&file)? && files::end(&file)?.is_none() => {
                    open = Some(*instance);
                }
                Ok(_) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        let Some(instance) = open else { return Ok(()) };
        if monotonic() >= deadline {
            return Err(Unseen::Silent { instance, patience });
        }
        if !lock::living(&dir.join(JOURNAL))?.contains(&instance) {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_spare(file: &std::fs::File) -> io::Result<bool> {
    Ok(matches!(files::begin(file)?, files::Begin::Unbegun))
}

fn said(dir: &Path, instance: u32) -> io::Result<Option<(u64, u64)>> {
    match std::fs::read_to_string(seen_path(dir, instance)) {
        Ok(text) => {
            Ok(text.trim().split_once(' ').and_then(|(v, l)| Some((v.parse().ok()?, l.parse().ok()?))))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}
