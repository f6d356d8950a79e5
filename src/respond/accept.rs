//! Which form of an error page a client wants: HTML, JSON or plain text.
//!
//! Reads `Accept` with its q-values (RFC 9110 §12.5.1). Never refuses: who accepts nothing that can be written gets
//! plain text. Bound: the first `MAX_RANGES` ranges.

/// The forms that an error page has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `text/plain`.
    #[default]
    Text,
    /// Problem details, RFC 9457: `application/problem+json`.
    Problem,
    /// The same members as `application/json`, for clients that ask for that by name.
    Json,
    /// `text/html`.
    Html,
}

impl Format {
    /// The form with the highest q-value. Of equals the one that is named most exactly, then the one named first, then
    /// the order of [`Format`]: who accepts anything gets plain text.
    #[must_use]
    pub fn of(accept: &[u8]) -> Self {
        let mut best = (Self::Text, Weight::default());
        for format in [Self::Text, Self::Problem, Self::Json, Self::Html] {
            let weight = format.weight(accept);
            if weight.beats(&best.1) {
                best = (format, weight);
            }
        }
        best.0
    }

    /// The content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Problem => "application/problem+json",
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    /// How much this form is wanted: the most exact range that covers it decides.
    fn weight(self, accept: &[u8]) -> Weight {
        let mut found = Weight::default();
        for (place, range) in accept.split(|&b| b == b',').take(MAX_RANGES).enumerate() {
            let mut parts = range.split(|&b| b == b';');
            let media = parts.next().unwrap_or_default().trim_ascii();
            let exactness = self.exactness(media);
            if exactness > found.exactness
                && let Some(q) = quality(parts)
            {
                found = Weight { q, exactness, place };
            }
        }
        found
    }

    /// 0: not covered; 1: `*/*`; 2: the type's `/*`; 3: another kind of JSON; 4: by name.
    fn exactness(self, media: &[u8]) -> u8 {
        let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
        let named = match self {
            Self::Text => is(b"text/plain"),
            Self::Problem => is(b"application/problem+json"),
            Self::Json => is(b"application/json"),
            Self::Html => is(b"text/html") || is(b"application/xhtml+xml"),
        };
        let whole_type = match self {
            Self::Text | Self::Html => is(b"text/*"),
            Self::Problem | Self::Json => is(b"application/*"),
        };
        let other_json = self == Self::Problem
            && media.len() > 5
            && media[media.len() - 5..].eq_ignore_ascii_case(b"+json");
        match (named, other_json, whole_type) {
            (true, ..) => 4,
            (_, true, _) => 3,
            (.., true) => 2,
            _ => u8::from(is(b"*/*")),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    /// In thousandths.
    q: u16,
    exactness: u8,
    place: usize,
}

impl Weight {
    /// Whether this one is wanted more; a q-value of 0 is no wish at all.
    fn beats(&self, other: &Self) -> bool {
        let rank = |w: &Self| (w.q, w.exactness, usize::MAX - w.place);
        self.q > 0 && rank(self) > rank(other)
    }
}

/// The q-value in thousandths: 1000 if there is none, `None` if it is no q-value (RFC 9110 §12.4.2).
fn quality<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    for parameter in parameters {
        let Some(at) = memchr::memchr(b'=', parameter) else { continue };
        let (name, value) = (parameter[..at].trim_ascii(), parameter[at + 1..].trim_ascii());
        if !name.eq_ignore_ascii_case(b"q") {
            continue;
        }
        let (whole, fraction) = match value {
            [whole] => (whole, &b""[..]),
            [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
            _ => return None,
        };
        let mut thousandths = 0;
        for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
            thousandths += u16::from(digit.checked_sub(b'0').filter(|d| *d <= 9)?) * unit;
        }
        return match (whole, thousandths) {
            (b'0', thousandths) => Some(thousandths),
            (b'1', 0) => Some(1000),
            _ => None,
        };
    }
    Some(1000)
}

/// Most ranges of an `Accept` that are looked at.
const MAX_RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn negotiation() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Html),
            ("application/json", Format::Json),
            ("application/problem+json", Format::Problem),
            ("application/problem+json, application/json;q=0.5", Format::Problem),
            ("application/json, text/plain, */*", Format::Json),
            ("text/plain, application/json", Format::Text),
            ("text/html;q=0.5, application/json;q=0.9", Format::Json),
            ("text/html ; Q=0.2 , application/json ; q = 0.3", Format::Json),
            ("application/vnd.api+json", Format::Problem),
            ("application/*", Format::Problem),
            ("text/*", Format::Text),
            ("text/*, text/plain;q=0", Format::Html),
            ("*/*", Format::Text),
            ("*/*, text/plain;q=0.1", Format::Problem),
            ("text/html;q=0", Format::Text),
            ("text/html;q=2, application/json;q=0.1", Format::Json),
            ("text/html;q=0.1234, application/json;q=0.1", Format::Json),
            ("image/png", Format::Text),
            ("", Format::Text),
        ] {
            assert_eq!(Format::of(accept.as_bytes()), expected, "{accept}");
        }
    }

    #[test]
    fn ranges_beyond_the_limit_are_not_looked_at() {
        let at = |n| Format::of(format!("{}text/html", "image/png,".repeat(n)).as_bytes());
        assert_eq!((at(MAX_RANGES - 1), at(MAX_RANGES)), (Format::Html, Format::Text));
    }

    proptest! {
        #[test]
        fn never_panics(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Format::of(&value);
        }
    }
}
