//! A segment file that several threads read at once.
//!
//! Every read says where it begins. A file that is opened once has one position, and so have its clones: two threads that
//! seek and read would each get what the other looked for. Never writes. Bound: what is asked for.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

/// The file, without a position.
#[derive(Clone, Debug)]
pub(super) struct SharedFile {
    file: Arc<File>,
    length: u64,
}

impl SharedFile {
    /// The file as long as it is now: a segment that the manifest names does not change.
    pub(super) fn of(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length })
    }
}

impl Length for SharedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for SharedFile {
    type T = BufReader<Place>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Place { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // Before memory is taken: a damaged footer may ask for any number.
        if start.saturating_add(length as u64) > self.length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place of its own.
#[derive(Debug)]
pub(super) struct Place {
    file: Arc<File>,
    at: u64,
}

impl Read for Place {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn numbers() -> SharedFile {
        let mut file = tempfile::tempfile().expect("a file");
        (0..100_000_u32).for_each(|n| file.write_all(&n.to_le_bytes()).expect("written"));
        SharedFile::of(file).expect("a length")
    }

    #[test]
    fn a_reader_is_not_moved_by_another() {
        let file = numbers();
        let mut one = file.get_read(40).expect("a reader");
        let mut other = file.get_read(400).expect("a reader");
        assert_eq!(file.get_bytes(4, 4).expect("bytes")[..], 1_u32.to_le_bytes());
        let next = |reader: &mut BufReader<Place>| {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes).expect("bytes");
            u32::from_le_bytes(bytes)
        };
        for n in 0..20_000 {
            assert_eq!((next(&mut one), next(&mut other)), (10 + n, 100 + n));
        }
        assert_eq!(file.len(), 400_000);
    }

    #[test]
    fn what_lies_behind_the_end_is_an_error() {
        let file = numbers();
        assert!(file.get_bytes(399_998, 4).is_err());
        assert!(file.get_bytes(0, usize::MAX).is_err(), "and takes no memory");
        assert_eq!(file.get_bytes(399_996, 4).expect("bytes").len(), 4);
    }

    /// The defect: one position for all threads, so that a scan by several read pages of other columns.
    #[test]
    fn threads_read_what_they_asked_for() {
        let file = numbers();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let file = &file;
                scope.spawn(move || {
                    for n in (thread..100_000).step_by(7) {
                        let bytes = file.get_bytes(u64::from(n) * 4, 4).expect("bytes");
                        assert_eq!(bytes[..], n.to_le_bytes());
                    }
                });
            }
        });
    }
}
