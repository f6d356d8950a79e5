//! The files that a configuration names: are they there, and what is in them.
//!
//! [`Disk`] looks; [`Pretend`] takes every file as there and empty, so that any bytes can be checked without touching
//! the disk. Never writes and never reads what is not a regular file. Bound: [`MAX_TEXT`].

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::problem::{Fault, shown};
use crate::regular_file;

/// Looks at files.
pub(super) trait Files {
    /// Whether the file can be read.
    fn readable(&self, path: &Path) -> Result<(), Fault>;
    /// The text of the file.
    fn text(&self, path: &Path) -> Result<String, Fault>;
}

/// The real files.
pub(super) struct Disk;

/// No file is touched.
pub(super) struct Pretend;

impl Files for Disk {
    fn readable(&self, path: &Path) -> Result<(), Fault> {
        regular_file::open(path).map(|_| ()).map_err(|error| trouble(path, &error))
    }

    fn text(&self, path: &Path) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        let limit = MAX_TEXT as u64 + 1;
        let read = regular_file::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        read.map_err(|error| trouble(path, &error))?;
        if bytes.len() > MAX_TEXT {
            return Err(Fault::new(format!("`{}` is larger than 1 MiB", name(path))));
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Fault::new(format!("`{}` is not UTF-8 at byte {at}", name(path)))
        })
    }
}

impl Files for Pretend {
    fn readable(&self, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn text(&self, _: &Path) -> Result<String, Fault> {
        Ok(String::new())
    }
}

fn trouble(path: &Path, error: &io::Error) -> Fault {
    let path = name(path);
    match error.kind() {
        ErrorKind::NotFound => Fault::new(format!("there is no file `{path}`"))
            .hint("relative paths start at the folder of the configuration file"),
        ErrorKind::PermissionDenied => Fault::new(format!("`{path}` may not be read by this user")),
        ErrorKind::InvalidInput => Fault::new(format!("`{path}` is not a regular file")),
        kind => Fault::new(format!("`{path}` cannot be read: {kind}")),
    }
}

fn name(path: &Path) -> String {
    let text = path.display().to_string();
    // The end of a long path says more than its beginning.
    let skip = text.chars().count().saturating_sub(MAX_NAME);
    shown(&text.chars().skip(skip).collect::<String>())
}

/// Bytes of a file whose text becomes part of the configuration, and of the configuration file itself.
pub const MAX_TEXT: usize = 1 << 20;
/// Characters of a path in a message.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_text_is_at_most_one_mebibyte_of_utf8() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, vec![b'x'; MAX_TEXT]).unwrap();
        assert_eq!(Disk.text(&path).unwrap().len(), MAX_TEXT);
        fs::write(&path, vec![b'x'; MAX_TEXT + 1]).unwrap();
        assert!(Disk.text(&path).is_err());
        fs::write(&path, b"ab\xff").unwrap();
        assert!(format!("{:?}", Disk.text(&path).unwrap_err()).contains("not UTF-8 at byte 2"));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Disk.readable(dir.path()).is_err());
        assert!(Disk.readable(&dir.path().join("missing")).is_err());
    }
}
