//! The consent cookies of one request: those cookies that a configured source reads, in order.
//!
//! Never holds another cookie. Bound: [`MAX_COOKIES`]; that there were more is told.

use smallvec::SmallVec;

use super::reading::{Reading, fold};

/// The name of a consent cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Exactly this.
    Exact(String),
    /// Whatever begins so.
    Prefix(String),
    /// This, and then one or more digits.
    Numbered(String),
}

impl Name {
    /// The name that is exactly this.
    #[must_use]
    pub fn exact(name: &str) -> Self {
        Self::Exact(name.to_owned())
    }

    /// Whether a cookie has this name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(own) => name == own.as_bytes(),
            Self::Prefix(own) => name.starts_with(own.as_bytes()),
            Self::Numbered(own) => name
                .strip_prefix(own.as_bytes())
                .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit)),
        }
    }

    /// The pattern in the never-strip list that covers it.
    #[must_use]
    pub fn pattern(&self) -> String {
        match self {
            Self::Exact(name) => format!("={name}"),
            Self::Prefix(name) | Self::Numbered(name) => format!("^{name}"),
        }
    }
}

/// The consent cookies of one request.
#[derive(Debug, Default)]
pub struct Jar<'a> {
    cookies: SmallVec<[(&'a [u8], &'a [u8]); 8]>,
    overflowed: bool,
}

impl<'a> Jar<'a> {
    /// Adds a cookie by name and value.
    pub fn push(&mut self, name: &'a [u8], value: &'a [u8]) {
        if self.cookies.len() < MAX_COOKIES {
            self.cookies.push((name, value));
        } else {
            self.overflowed = true;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// Whether there were more than are kept.
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The values of every copy of a name, in order.
    pub(super) fn copies<'s>(&'s self, name: &'s Name) -> impl Iterator<Item = &'a [u8]> + 's {
        self.cookies.iter().filter(|(own, _)| name.matches(own)).map(|(_, value)| *value)
    }

    /// What all copies of a name say together; `None` if there is none.
    pub(super) fn read(&self, name: &Name, read: impl FnMut(&[u8]) -> Reading) -> Option<Reading> {
        fold(self.copies(name).map(read))
    }
}

/// Most consent cookies of one request that are looked at.
pub const MAX_COOKIES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_end_in_digits_only() {
        let name = Name::Numbered("_iub_cs-".into());
        assert!(name.matches(b"_iub_cs-123"));
        for other in [&b"_iub_cs-"[..], b"_iub_cs-123-granular", b"_iub_cs-1a", b"x_iub_cs-1"] {
            assert!(!name.matches(other), "{}", other.escape_ascii());
        }
        assert!(Name::Prefix("a".into()).matches(b"ab") && !Name::exact("a").matches(b"ab"));
        assert_eq!(name.pattern(), "^_iub_cs-");
    }

    #[test]
    fn more_cookies_than_are_kept_are_told() {
        let mut jar = Jar::default();
        (0..MAX_COOKIES).for_each(|_| jar.push(b"a", b"b"));
        assert!(!jar.overflowed());
        jar.push(b"a", b"b");
        assert!(jar.overflowed());
        assert_eq!(jar.copies(&Name::exact("a")).count(), MAX_COOKIES);
    }
}
