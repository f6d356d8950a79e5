//! Bits of a base64url text, big-endian, six to a letter.
//!
//! Never allocates and never decodes the text as a whole: a field is read where it stands. Bound: the text.

/// A base64url text without padding, read bit by bit.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a>(&'a [u8]);

impl<'a> Bits<'a> {
    /// The bits of a text; `None` if it is empty or another character is in it.
    pub(super) fn new(text: &'a [u8]) -> Option<Self> {
        (!text.is_empty() && text.iter().all(|letter| six(*letter).is_some())).then_some(Self(text))
    }

    /// How many bits there are.
    pub(super) const fn len(self) -> usize {
        self.0.len().saturating_mul(6)
    }

    /// One bit.
    pub(super) fn bit(self, at: usize) -> Option<bool> {
        let letter = six(*self.0.get(at / 6)?)?;
        Some(letter >> (5 - at % 6) & 1 == 1)
    }

    /// At most 64 bits as a number; `None` beyond the end.
    pub(super) fn number(self, at: usize, length: usize) -> Option<u64> {
        if length > 64 {
            return None;
        }
        (at..at.checked_add(length)?).try_fold(0, |sum, at| Some(sum << 1 | u64::from(self.bit(at)?)))
    }
}

const fn six(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_base64url_has_bits() {
        for bad in [&b""[..], b"A=", b"A+", b"A/", b"A.", b" A", b"\xC3\xA9"] {
            assert!(Bits::new(bad).is_none(), "{}", bad.escape_ascii());
        }
        let bits = Bits::new(b"_-").unwrap();
        assert_eq!(bits.number(0, 12), Some(0b1111_1111_1110));
        assert_eq!((bits.number(0, 13), bits.number(12, 1), bits.number(12, 0)), (None, None, Some(0)));
        assert_eq!(bits.number(usize::MAX, 2), None);
        assert_eq!(bits.number(0, 65), None);
    }

    proptest! {
        #[test]
        fn the_same_bits_as_a_real_decoder(bytes in proptest::collection::vec(any::<u8>(), 1..40), at in 0_usize..300, length in 0_usize..64) {
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            let bits = Bits::new(text.as_bytes()).unwrap();
            let expected = (at + length <= bytes.len() * 8).then(|| {
                (at..at + length).fold(0_u64, |sum, at| sum << 1 | u64::from(bytes[at / 8] >> (7 - at % 8) & 1))
            });
            if expected.is_some() {
                prop_assert_eq!(bits.number(at, length), expected);
            }
        }
    }
}
