//! Segment files without a line in the manifest: what a crash left behind, or all there is when the manifest is damaged.
//!
//! An orphan may go only when its records are somewhere else: in journal files that exist or in another segment, or when
//! the manifest itself says that it was removed. Any other is *unlisted*: it may be the only place of its records, so it
//! stays, and is told. Never removes a file. Bound: one pass over the folders of the days, and the heads of the journal
//! when there is an orphan.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::statistics::Statistics;

use super::SegmentError;
use super::manifest::Manifest;
use super::shared::SharedFile;
use crate::regular_file;
use crate::store::files;
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::subjects::Ranges;

/// What a segment's name ends with.
const ENDING: &str = ".parquet";

/// The files in the folders of the days, by their paths below the folder of segments; none when it is not there.
pub(in crate::store) fn listed(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for day in names(folder)?.into_iter().filter(|name| name.starts_with("dt=")) {
        found.extend(names(&folder.join(&day))?.into_iter().map(|name| format!("{day}/{name}")));
    }
    found.sort_unstable();
    Ok(found)
}

/// The segments among these files that nothing accounts for. `files` was [`listed`] before the manifest was read.
pub(in crate::store) fn unlisted(
    dir: &Path,
    files: &[String],
    manifest: &Manifest,
) -> Result<Vec<String>, SegmentError> {
    let folder = dir.join(super::FOLDER);
    let unknown = |manifest: &Manifest, file: &str| !manifest.lists(file) && !manifest.was_removed(file);
    let orphans = files.iter().filter(|file| file.ends_with(ENDING) && unknown(manifest, file));
    let mut left: Vec<String> = orphans.cloned().collect();
    if left.is_empty() {
        return Ok(left);
    }
    let journal = in_journal(dir)?;
    let elsewhere = |span: &RangeInclusive<u64>| {
        let (first, last) = (*span.start(), *span.end());
        let other = manifest.covering(first).filter(|entry| last <= entry.last_seq);
        journal.iter().any(|(from, to)| from <= first && last <= to)
            || other.is_some_and(|entry| folder.join(&entry.file).is_file())
    };
    // Of a file that does not say what is in it, nothing is known to be elsewhere.
    left.retain(|file| span(&folder.join(file)).is_none_or(|span| !span.is_empty() && !elsewhere(&span)));
    if !left.is_empty() {
        // What has become a segment, or went, since the files were listed.
        let now = Manifest::read(&folder)?;
        left.retain(|file| unknown(&now, file) && folder.join(file).exists());
    }
    Ok(left)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(folder) {
        // A name that is not UTF-8 is not ours.
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .filter_map(Result::transpose)
            .collect(),
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(cause) => Err(cause),
    }
}

/// The numbers in the closed files of the journal.
fn in_journal(dir: &Path) -> io::Result<Ranges> {
    let mut found = Ranges::default();
    for name in files::list(&dir.join(JOURNAL))? {
        let file = match regular_file::open(&name.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        if let (Some((head, _)), Some(end)) = (files::head(&file)?, files::end(&file)?)
            && let Some(last) = end.next_seq.checked_sub(1)
        {
            found.add(head.first_seq, last);
        }
    }
    Ok(found)
}

/// The numbers in a segment by its footer, empty when it has no row; `None` when it does not say.
fn span(path: &Path) -> Option<RangeInclusive<u64>> {
    let file = SharedFile::of(regular_file::open(path).ok()?).ok()?;
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options).ok()?;
    let (mut first, mut last) = (u64::MAX, 0);
    for group in metadata.metadata().row_groups().iter().filter(|group| group.num_rows() > 0) {
        let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == "seq")?;
        let Some(Statistics::Int64(seq)) = chunk.statistics() else { return None };
        first = first.min(*seq.min_opt()? as u64);
        last = last.max(*seq.max_opt()? as u64);
    }
    Some(first..=last)
}
