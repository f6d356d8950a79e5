//! One journal file from its last frame to its first.
//!
//! Goes through the file once to learn where its frames are, then reads it in blocks from the end. Never writes.
//! Bound: one block of [`BLOCK_BYTES`], or one frame where that is larger; 16 bytes for each frame of the file.

use std::fs::File;
use std::io;

use super::super::files::read_full;
use super::super::frame::{FRAME_BYTES, Frame, Mark, Next};
use super::super::reader::{FrameReader, TimeRange};

/// How much of a file is held at once, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// How the way through a file ended.
pub(super) struct Walk {
    /// `each` wanted no more.
    pub(super) ended: bool,
    /// The file has bytes that are neither frames nor zeros: what is behind them was not looked at.
    pub(super) damaged: bool,
}

/// Hands the frames of a file that touch the range to `each`, the last one first, as long as it says so. `at` is where the first frame begins.
pub(super) fn frames(
    file: &File,
    at: u64,
    range: &TimeRange,
    mut each: impl FnMut(&Frame<'_>) -> bool,
) -> io::Result<Walk> {
    let (places, damaged) = places(file, at, range)?;
    let mut buffer = Vec::new();
    let mut left = &places[..];
    while let Some((last, len)) = left.last().copied() {
        let end = last + len as u64;
        // At least the last frame, and what fits into a block before it.
        let first = left.partition_point(|(at, _)| end - at > BLOCK_BYTES as u64).min(left.len() - 1);
        let (before, block) = left.split_at(first);
        left = before;
        let start = block[0].0;
        buffer.resize(usize::try_from(end - start).unwrap_or(FRAME_BYTES), 0);
        let have = read_full(file, &mut buffer, start)?;
        for (at, len) in block.iter().rev() {
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let bytes = buffer[..have].get(from..from.saturating_add(*len)).unwrap_or_default();
            if let Next::Frame(frame, _) = Frame::decode(bytes)
                && !each(&frame)
            {
                return Ok(Walk { ended: true, damaged });
            }
        }
    }
    Ok(Walk { ended: false, damaged })
}

/// Where the frames with rows of the range begin, and their lengths in bytes.
fn places(file: &File, mut at: u64, range: &TimeRange) -> io::Result<(Vec<(u64, usize)>, bool)> {
    let mut places = Vec::new();
    let mut frames = FrameReader::new(at);
    while let Some(frame) = frames.next(file)?.filter(|frame| frame.mark == Mark::Records) {
        let wanted = range.touches(frame.earliest, frame.ts);
        let end = frames.position();
        if wanted {
            places.push((at, usize::try_from(end - at).unwrap_or(FRAME_BYTES)));
        }
        at = end;
    }
    Ok((places, frames.damaged()))
}
