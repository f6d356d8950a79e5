//! Finds a byte among a few dozen, where preparing to search costs more than searching.
//!
//! Eight bytes are looked at as one number, sixteen with one comparison. Never reads past what it is handed. Bound: what
//! it is handed.

/// Where the first `;` stands, or how many bytes there are. Values have some dozens of them: too few for `memchr` to pay
/// for its call.
#[inline(always)]
pub(super) fn semicolon(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((block, tail)) = rest.split_first_chunk::<16>() {
        if block.iter().fold(false, |found, &byte| found | (byte == b';')) {
            let [low, high] =
                [&block[..8], &block[8..]].map(|half| half.first_chunk().copied().unwrap_or_default());
            let at = first(marks(u64::from_le_bytes(low), b';'))
                .unwrap_or_else(|| 8 + first(marks(u64::from_le_bytes(high), b';')).unwrap_or(0));
            return bytes.len() - rest.len() + at;
        }
        rest = tail;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|&&byte| byte != b';').count()
}

/// Sets the high bit of the lowest byte that is equal; above it, other bits may be set too. Zero if no byte is equal.
#[inline]
pub(super) const fn marks(word: u64, byte: u8) -> u64 {
    // Of the bytes that are zero, the lowest is the lowest of which subtracting one sets the high bit.
    let other = word ^ (ONES * byte as u64);
    other.wrapping_sub(ONES) & !other & (ONES << 7)
}

/// Which byte the lowest mark is in.
#[inline]
pub(super) const fn first(marks: u64) -> Option<usize> {
    if marks == 0 { None } else { Some(marks.trailing_zeros() as usize / 8) }
}

/// One in every byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_looking_at_each_byte_finds(
            bytes in proptest::collection::vec(prop_oneof![8 => any::<u8>(), 1 => 0x3A_u8..=0x3C], 0..80),
        ) {
            let slow = bytes.iter().position(|&byte| byte == b';').unwrap_or(bytes.len());
            prop_assert_eq!(semicolon(&bytes), slow);
            if let Some(word) = bytes.first_chunk() {
                let slow = word.iter().position(|&byte| byte == b';');
                prop_assert_eq!(first(marks(u64::from_le_bytes(*word), b';')), slow);
            }
        }
    }

    #[test]
    fn every_place_and_every_neighbour() {
        for length in 1..50 {
            for at in 0..length {
                for other in [0, 0x3A, 0x3C, 0xBB, 0xFF] {
                    let mut bytes = vec![other; length];
                    assert_eq!(semicolon(&bytes), length);
                    bytes[at] = b';';
                    assert_eq!(semicolon(&bytes), at, "of {length}");
                }
            }
        }
    }
}
