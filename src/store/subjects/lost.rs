//! Records that nobody can be told of any more, because the version of K-subject that made their tags was lost.
//!
//! Versions are numbered from 1 and none is ever destroyed, so a number that is missing is a key that is missing. Records
//! with such tags are still there, and any of them may be of the person who asks: who answers that person must say so.
//! Goes away by itself, with the records or when the key is back. Bound: that of a search through the columns.

use std::path::Path;
use std::sync::Arc;

use super::person::{Person, SubjectError};
use crate::seal::KeyProvider;

/// How many records bear a tag of these versions of K-subject. Searched only if there are any.
///
/// # Errors
/// When the records cannot be read.
pub fn unlinked(dir: &Path, keys: &Arc<dyn KeyProvider>, versions: &[u32]) -> Result<u64, SubjectError> {
    if versions.is_empty() {
        return Ok(0);
    }
    Ok(Person::of_versions(versions).numbers(dir, keys, None)?.rows.numbers())
}
