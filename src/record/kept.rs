//! Text of a request's head that its record needs, kept in one buffer: the head itself goes to the site.
//!
//! A field that is not in the table below is not kept, so it cannot be recorded. [`crate::ingress::headers::scan`] hands
//! the fields over in its one look at the head. Never keeps a cookie, a credential or a field that nobody declared. Bound:
//! the head.

use std::fmt;

use http::request::Parts;
use http::{HeaderMap, HeaderName};

macro_rules! kept {
    ($($(#[$doc:meta])* $field:ident = $name:literal;)*) => {
        /// Names of the fields, in the order of their places.
        pub const NAMES: &[&str] = &[$($name),*];

        #[allow(non_camel_case_types)] // places have the names of what stands there
        enum Place { $($field),* }

        impl Kept {
            $($(#[$doc])*
            #[must_use]
            pub fn $field(&self) -> Option<&[u8]> {
                self.get(self.fields[Place::$field as usize])
            })*
        }
    };
}

kept! {
    /// `User-Agent`.
    user_agent = "user-agent";
    /// `Accept`: how an error page would look.
    accept = "accept";
    /// `Referer`.
    referer = "referer";
    /// `Accept-Language`.
    accept_language = "accept-language";
    /// `Sec-CH-UA`.
    ua_brands = "sec-ch-ua";
    /// `Sec-CH-UA-Mobile`.
    ua_mobile = "sec-ch-ua-mobile";
    /// `Sec-CH-UA-Platform`.
    ua_platform = "sec-ch-ua-platform";
    /// `Save-Data`.
    save_data = "save-data";
    /// `Sec-Fetch-Site`.
    fetch_site = "sec-fetch-site";
    /// `Sec-Fetch-Mode`.
    fetch_mode = "sec-fetch-mode";
    /// `Sec-Fetch-Dest`.
    fetch_dest = "sec-fetch-dest";
    /// `Sec-Fetch-User`.
    fetch_user = "sec-fetch-user";
    /// `traceparent`.
    traceparent = "traceparent";
    /// `Sec-GPC`.
    gpc = "sec-gpc";
    /// `DNT`.
    dnt = "dnt";
}

/// The texts of one head.
#[derive(Default)]
pub struct Kept {
    bytes: Vec<u8>,
    method: Span,
    path: Span,
    query: Span,
    fields: [Span; NAMES.len()],
    /// Few browsers send any.
    hints: Vec<(Hint, Span)>,
}

impl Kept {
    /// Method and target, and no field yet.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        let mut kept = Self { bytes: Vec::with_capacity(USUAL_BYTES), ..Self::default() };
        kept.method = kept.push(parts.method.as_str().as_bytes());
        kept.path = kept.push(parts.uri.path().as_bytes());
        if let Some(query) = parts.uri.query() {
            kept.query = kept.push(query.as_bytes());
        }
        kept
    }

    /// Keeps the field whose name stands at this place of [`NAMES`]. One that is there twice is kept once: its first value.
    #[inline]
    pub fn keep(&mut self, place: usize, value: &[u8]) {
        if self.fields.get(place).is_some_and(|span| !span.is_present()) {
            self.fields[place] = self.push(value);
        }
    }

    /// The method as sent.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.get(self.method).unwrap_or_default()
    }

    /// The raw path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.get(self.path).unwrap_or_default()
    }

    /// The raw query, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.get(self.query)
    }

    /// Whether the browser sent a field that may refuse consent.
    #[must_use]
    pub fn has_consent_signal(&self) -> bool {
        self.gpc().is_some() || self.dnt().is_some()
    }

    /// Copies client hints that the browser tells only when asked. `names` are those that the head has.
    pub fn keep_hints(&mut self, headers: &HeaderMap, names: &[HeaderName]) {
        for name in names {
            let (Some(hint), Some(value)) = (Hint::of(name.as_str()), headers.get(name)) else { continue };
            if self.hint(hint).is_none() {
                let span = self.push(value.as_bytes());
                self.hints.push((hint, span));
            }
        }
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_hints(&self) -> bool {
        !self.hints.is_empty()
    }

    /// A client hint.
    #[must_use]
    pub fn hint(&self, hint: Hint) -> Option<&[u8]> {
        let (_, span) = self.hints.iter().find(|(kept, _)| *kept == hint)?;
        self.get(*span)
    }

    /// `ECT`, `RTT` and `Downlink`, as far as they were sent.
    pub fn network_hints(&self) -> impl Iterator<Item = &[u8]> {
        [Hint::Ect, Hint::Rtt, Hint::Downlink].into_iter().filter_map(|hint| self.hint(hint))
    }

    #[inline]
    fn push(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Span::new(start, self.bytes.len())
    }

    #[inline]
    fn get(&self, span: Span) -> Option<&[u8]> {
        self.bytes.get(span.start as usize..span.end as usize)
    }
}

/// A client hint that the browser tells only when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `Sec-CH-UA-Full-Version-List`.
    FullVersions,
    /// `Sec-CH-UA-Arch`.
    Arch,
    /// `Sec-CH-UA-Bitness`.
    Bitness,
    /// `Sec-CH-UA-Model`.
    Model,
    /// `Sec-CH-UA-Platform-Version`.
    PlatformVersion,
    /// `Device-Memory`.
    Memory,
    /// `DPR`.
    PixelRatio,
    /// `Viewport-Width`.
    ViewportWidth,
    /// `ECT`.
    Ect,
    /// `RTT`.
    Rtt,
    /// `Downlink`.
    Downlink,
}

impl Hint {
    /// By its name, old or new.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "sec-ch-ua-full-version-list" => Self::FullVersions,
            "sec-ch-ua-arch" => Self::Arch,
            "sec-ch-ua-bitness" => Self::Bitness,
            "sec-ch-ua-model" => Self::Model,
            "sec-ch-ua-platform-version" => Self::PlatformVersion,
            "sec-ch-device-memory" | "device-memory" => Self::Memory,
            "sec-ch-dpr" | "dpr" => Self::PixelRatio,
            "sec-ch-viewport-width" | "viewport-width" => Self::ViewportWidth,
            "sec-ch-ect" | "ect" => Self::Ect,
            "sec-ch-rtt" | "rtt" => Self::Rtt,
            "sec-ch-downlink" | "downlink" => Self::Downlink,
            _ => return None,
        })
    }
}

/// Redacted: it is about a person.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

/// Where a text lies; small, because there are many and the exchange is moved once. Absent: the start is behind the end.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// A text that begins behind 4 GiB, which no head has, is absent.
    #[inline]
    fn new(start: usize, end: usize) -> Self {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::default(),
        }
    }

    const fn is_present(self) -> bool {
        self.start <= self.end
    }
}

/// Absent.
impl Default for Span {
    fn default() -> Self {
        Self { start: 1, end: 0 }
    }
}

/// Enough for nearly every head.
const USUAL_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Underscores;
    use crate::ingress::headers::{Rules, scan};

    #[test]
    fn only_declared_fields_are_kept() {
        let request = http::Request::get("/a?b=c")
            .header("user-agent", "x")
            .header("cookie", "secret=1")
            .header("authorization", "Bearer secret")
            .header("x-unknown", "secret")
            .body(())
            .unwrap();
        let parts = request.into_parts().0;
        let mut kept = Kept::of(&parts);
        let rules = Rules { underscores: Underscores::Drop, trusted: false };
        scan(&parts.headers, rules, &mut kept, &mut |_| {}).unwrap();
        assert_eq!((kept.method(), kept.path(), kept.query()), (&b"GET"[..], &b"/a"[..], Some(&b"b=c"[..])));
        assert_eq!(kept.user_agent(), Some(&b"x"[..]));
        assert_eq!(kept.referer(), None);
        assert!(!String::from_utf8_lossy(&kept.bytes).contains("secret"));
    }
}
