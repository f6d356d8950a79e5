//! A file that a command writes its result to: made new, for its owner alone, before anything is done.
//!
//! What stands in the way is the user's to mend, and named. A file is never overwritten. Bound: one file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Makes it.
///
/// # Errors
/// What to tell the user.
pub(super) fn new_file(path: &Path) -> Result<File, String> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} is there already\n  hint: name a new file; none is overwritten", path.display())
        }
        _ => format!("{} cannot be made: {cause}", path.display()),
    })
}
