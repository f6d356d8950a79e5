//! The languages of our own pages, and which of them a visitor wants.
//!
//! Never guesses from an address. Bound: the first [`MAX_RANGES`] ranges of an `Accept-Language`.

/// A language of our pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// Kazakh.
    Kk,
    /// Russian.
    Ru,
    /// English.
    En,
}

impl Language {
    /// Every language, in the order of the switcher.
    pub const ALL: [Self; 3] = [Self::Kk, Self::Ru, Self::En];

    /// The tag, for `lang` attributes and `?lang=`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Kk => "kk",
            Self::Ru => "ru",
            Self::En => "en",
        }
    }

    /// The language's name for itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kk => "Қазақша",
            Self::Ru => "Русский",
            Self::En => "English",
        }
    }

    /// The language of a tag such as `kk`, `ru-KZ` or `EN`.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// The language named by `lang` in a raw query without `?`.
    #[must_use]
    pub fn from_query(query: &str) -> Option<Self> {
        query.split('&').find_map(|pair| pair.strip_prefix("lang=")).and_then(Self::from_tag)
    }

    /// The language of ours with the highest q-value in an `Accept-Language`; the earlier of equals. `*` chooses none,
    /// so that the site's own language decides.
    #[must_use]
    pub fn from_accept_language(value: &[u8]) -> Option<Self> {
        let value = str::from_utf8(value).ok()?;
        let mut best = None;
        for range in value.split(',').take(MAX_RANGES) {
            let mut parts = range.split(';');
            let Some(language) = parts.next().map(str::trim).and_then(Self::from_tag) else { continue };
            let Some(q) = quality(parts) else { continue };
            if q > best.map_or(0, |(_, q)| q) {
                best = Some((language, q));
            }
        }
        best.map(|(language, _)| language)
    }
}

/// The q-value in thousandths, 1000 if there is none; `None` if it is no q-value (RFC 9110 section 12.4.2).
fn quality<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    for parameter in parameters {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("q") {
            continue;
        }
        let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
        if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let thousandths =
            fraction.bytes().zip([100, 10, 1]).map(|(digit, unit)| u16::from(digit - b'0') * unit).sum();
        return match (whole, thousandths) {
            ("0", thousandths) => Some(thousandths),
            ("1", 0) => Some(1000),
            _ => None,
        };
    }
    Some(1000)
}

/// Most ranges of an `Accept-Language` that are looked at.
pub const MAX_RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_and_queries() {
        assert_eq!(Language::from_tag("ru-KZ"), Some(Language::Ru));
        assert_eq!(Language::from_tag("KK_kz"), Some(Language::Kk));
        assert_eq!(Language::from_tag("eng"), None);
        assert_eq!(Language::from_query("a=b&lang=kk"), Some(Language::Kk));
        assert_eq!(Language::from_query("lang=xx&lang=kk"), None);
        assert_eq!(Language::from_query("xlang=kk"), None);
    }

    #[test]
    fn negotiation() {
        for (value, expected) in [
            ("kk", Some(Language::Kk)),
            ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", Some(Language::Ru)),
            ("en;q=0.5, kk;q=0.9, ru;q=0.7", Some(Language::Kk)),
            ("de, fr;q=0.9, en;q=0.1", Some(Language::En)),
            ("en;q=0, ru;q=0.001", Some(Language::Ru)),
            ("ru;q=0.8, en;q=0.8", Some(Language::Ru)),
            ("ru ; Q=0.2 , en ; q = 0.3", Some(Language::En)),
            ("en;level=1;q=0.2, kk;q=0.3", Some(Language::Kk)),
            ("en;q=0", None),
            ("*", None),
            ("de,*;q=0.5", None),
            ("", None),
            (",,;q=1", None),
            ("en;q=2, kk;q=0.1", Some(Language::Kk)),
            ("en;q=0.1234, kk;q=0.1", Some(Language::Kk)),
            ("en;q=1.001, kk;q=0.1", Some(Language::Kk)),
            ("en;q=-1, kk;q=0.1", Some(Language::Kk)),
            ("en;q=, kk;q=0.1", Some(Language::Kk)),
        ] {
            assert_eq!(Language::from_accept_language(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(Language::from_accept_language(b"\xff,en"), None);
    }

    #[test]
    fn ranges_beyond_the_limit_are_not_looked_at() {
        let at = |n| Language::from_accept_language(format!("{}kk", "de,".repeat(n)).as_bytes());
        assert_eq!(at(MAX_RANGES - 1), Some(Language::Kk));
        assert_eq!(at(MAX_RANGES), None);
    }

    proptest! {
        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Language::from_accept_language(&value);
        }
    }
}
