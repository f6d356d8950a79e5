//! The `Cookie` field that the site may see.
//!
//! Every copy of a name that may not pass is dropped; what is kept keeps its bytes and its order, and several fields
//! become one (RFC 9113 §8.2.3). The visitor cookie is dropped always, in dry-run too: it serves security, not the
//! site. Never decodes, never splits anew. Bound: the output is at most one
//! byte per cookie longer than the fields.
//!
//! Since [`super::parse`] looks up the name of every piece between two `;`, and the output is made of whole pieces, no
//! reader that separates cookies by `;`, whether or not it believes in quotes, finds a dropped name in the output.

use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use super::parse::{Cookie, RequestCookies, SEPARATOR};
use super::{Category, CookiePolicy, Mode, Permits};

/// A joined field above this many bytes is forwarded and counted: many origins refuse it.
pub const OVERSIZE: usize = 8 * 1024;

/// What became of the cookies of one request.
#[derive(Debug)]
pub struct Outcome {
    /// What the site gets.
    pub output: Output,
    /// Cookies per category that may pass and that may not, without the visitor cookie. In dry-run the latter passed
    /// all the same.
    pub counts: Counts,
    /// Whether the field that the site gets is longer than [`OVERSIZE`].
    pub oversize: bool,
    stripped: SmallVec<[u32; 8]>,
}

/// What the site gets in place of the `Cookie` fields.
pub enum Output {
    /// The one field as it came, or none if none came.
    Unchanged,
    /// One field with this value.
    Replaced(Bytes),
    /// No field.
    Removed,
}

/// Cookies per category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    kept: [u32; Category::ALL.len()],
    stripped: [u32; Category::ALL.len()],
}

/// Decides for every cookie and makes the field that the site may see.
#[must_use]
pub fn filter(cookies: &RequestCookies<'_>, policy: &CookiePolicy, permits: &Permits) -> Outcome {
    let blocked = Blocked::of(policy, permits);
    let mut counts = Counts::default();
    let mut stripped = SmallVec::new();
    let mut kept = Runs::default();
    let mut dropped = 0;
    for (index, cookie) in (0_u32..).zip(cookies) {
        let is_ours = cookie.class.is_visitor_cookie();
        let is_blocked = blocked.has(cookie);
        if is_blocked {
            counts.stripped[cookie.class.category as usize] += 1;
            stripped.push(index);
        } else if !is_ours {
            counts.kept[cookie.class.category as usize] += 1;
        }
        // In dry-run only the visitor cookie is dropped.
        if is_ours || is_blocked && policy.mode == Mode::Enforce {
            dropped += 1;
        } else {
            kept.add(cookie);
        }
    }
    let (output, length) = if dropped == 0 && cookies.field_count() <= 1 {
        (Output::Unchanged, cookies.bytes())
    } else if dropped == cookies.len() {
        (Output::Removed, 0)
    } else {
        let field = kept.join();
        let length = field.len();
        (Output::Replaced(field), length)
    };
    Outcome { output, counts, oversize: length > OVERSIZE, stripped }
}

impl Outcome {
    /// The positions of the cookies that may not pass, ascending. In dry-run they passed all the same.
    pub fn stripped(&self) -> impl Iterator<Item = usize> {
        self.stripped.iter().map(|&index| index as usize)
    }

    /// The names of those among them that the browser can be told to forget, in order, every copy.
    pub fn to_expire<'s, 'a>(
        &'s self,
        cookies: &'s RequestCookies<'a>,
    ) -> impl Iterator<Item = &'a [u8]> + 's {
        let all = self.stripped().filter_map(|index| cookies.get(index));
        all.filter(|cookie| cookie.class.category.is_chosen() && cookie.is_named()).map(Cookie::name)
    }
}

impl Counts {
    /// How many cookies of a category may pass.
    #[must_use]
    pub const fn kept(&self, category: Category) -> u32 {
        self.kept[category as usize]
    }

    /// How many cookies of a category may not pass.
    #[must_use]
    pub const fn stripped(&self, category: Category) -> u32 {
        self.stripped[category as usize]
    }
}

/// The categories that may not pass, one bit each.
#[derive(Clone, Copy)]
struct Blocked(u8);

impl Blocked {
    fn of(policy: &CookiePolicy, permits: &Permits) -> Self {
        let bit = |category: Category| u8::from(!policy.passes(category, permits)) << category as u8;
        Self(Category::ALL.into_iter().map(bit).sum())
    }

    #[inline]
    const fn has(self, cookie: &Cookie<'_>) -> bool {
        self.0 >> cookie.class.category as u8 & 1 == 1 && !cookie.class.protected
    }
}

/// The length only: the value is the visitor's.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Replaced(value) => write!(f, "Replaced({} bytes)", value.len()),
            Self::Removed => f.write_str("Removed"),
        }
    }
}

/// The cookies that the site may see, as runs: those that stand together in a field are copied together, and a browser's
/// field has few gaps.
#[derive(Default)]
struct Runs<'a> {
    /// All runs but the last.
    ended: SmallVec<[&'a [u8]; 8]>,
    /// The last run; empty if there is none.
    run: &'a [u8],
    /// The field from the beginning of the last run on.
    begun: &'a [u8],
}

impl<'a> Runs<'a> {
    #[inline]
    fn add(&mut self, cookie: &Cookie<'a>) {
        if let Some(longer) = cookie.behind(self.begun, self.run.len()) {
            self.run = longer;
        } else {
            if !self.run.is_empty() {
                self.ended.push(self.run);
            }
            (self.run, self.begun) = (cookie.raw(), cookie.rest());
        }
    }

    /// One field. Its length is known before, so that the vector becomes `Bytes` without a copy.
    fn join(&self) -> Bytes {
        let ended: usize = self.ended.iter().map(|run| run.len() + SEPARATOR.len()).sum();
        let mut joined = Vec::with_capacity(ended + self.run.len());
        for run in &self.ended {
            joined.extend_from_slice(run);
            joined.extend_from_slice(SEPARATOR);
        }
        joined.extend_from_slice(self.run);
        joined.into()
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
