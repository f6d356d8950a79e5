//! Many bytes at a time: quick answers about bytes that are nearly always plain text.
//!
//! Written so that compilers make vector instructions of the loops, or a few operations on words. A quick answer is never
//! the reason for a refusal: what is not plain is looked at byte by byte elsewhere. Bound: the bytes given.

/// How many letters and `-` `bytes` begin with, if the byte after them is among those that are looked at: all but the
/// last seven. Else a number of them that are.
#[inline]
pub(super) fn name_begin(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks();
    for (n, word) in words.iter().enumerate() {
        let others = others(u64::from_le_bytes(*word));
        if others != 0 {
            return 8 * n + first(others);
        }
    }
    8 * words.len()
}

/// How many bytes of plain text of ASCII `bytes` begin with.
#[inline]
pub(super) fn text_begin(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (n, block) in blocks.iter().enumerate() {
        if block.iter().fold(false, |any, &byte| any | is_special(byte)) {
            return BLOCK * n + first_special(block);
        }
    }
    BLOCK * blocks.len() + rest.iter().take_while(|&&byte| !is_special(byte)).count()
}

/// Where the first byte is in a block that is not plain text.
#[inline]
const fn first_special(block: &[u8; BLOCK]) -> usize {
    let all = u128::from_le_bytes(*block);
    let low = specials(all as u64);
    if low != 0 { first(low) } else { 8 + first(specials((all >> 64) as u64)) }
}

/// One comparison: as a signed number DEL and one more is the lowest, and the bytes above it stay negative or are 0.
#[inline]
const fn is_special(byte: u8) -> bool {
    byte.wrapping_add(1).cast_signed() <= 0x20
}

/// The top bit of each byte of a word that is neither letter nor `-`. No sum carries into the next byte.
#[inline]
const fn others(word: u64) -> u64 {
    let low = word & each(0x7f);
    let lower = low | each(0x20);
    let from_a = lower + each(0x80 - b'a');
    let after_z = lower + each(0x80 - b'z' - 1);
    let no_dash = (low ^ each(b'-')) + each(0x7f);
    (!(from_a & !after_z) & no_dash | word) & each(0x80)
}

/// The top bit of each byte of a word that is not plain text. No sum carries into the next byte.
#[inline]
const fn specials(word: u64) -> u64 {
    let low = word & each(0x7f);
    (!(low + each(0x60)) | (low + each(1)) | word) & each(0x80)
}

/// The first byte of a word whose top bit is set.
const fn first(mask: u64) -> usize {
    mask.trailing_zeros() as usize / 8
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Bytes of a block: those of a vector on every usual processor.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_place_of_a_name_is_told() {
        for byte in 0..=u8::MAX {
            for at in 0..24 {
                let mut bytes = *b"Name-of-some-field-in-a-head---";
                bytes[at] = byte;
                let plain = byte.is_ascii_alphabetic() || byte == b'-';
                assert_eq!(name_begin(&bytes), if plain { 24 } else { at }, "{byte} at {at}");
            }
        }
        // What follows the first other byte does not matter.
        assert_eq!(name_begin(b"Host:\xff\xff\xff"), 4);
        assert_eq!(name_begin(b"Host: a"), 0, "too short to look at");
    }

    #[test]
    fn text_ends_at_the_first_byte_that_is_none() {
        for byte in 0..=u8::MAX {
            for at in 0..3 * BLOCK {
                let mut bytes = [b'a'; 3 * BLOCK + 5];
                bytes[at] = byte;
                let plain = (b' '..=b'~').contains(&byte);
                assert_eq!(text_begin(&bytes), if plain { bytes.len() } else { at }, "{byte} at {at}");
                bytes[at + 1] = b'\n';
                assert_eq!(text_begin(&bytes), at + usize::from(plain), "{byte} at {at}");
            }
        }
    }
}
