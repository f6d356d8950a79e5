//! Text of a request's head that its record needs, kept in one buffer: the head itself goes to the site.
//!
//! A field that is not in the table below is not kept, so it cannot be recorded. Never keeps a cookie, a credential or
//! a field that nobody declared. Bound: the head.

use std::fmt;

use http::request::Parts;
use http::{HeaderName, header};

macro_rules! kept {
    ($($(#[$doc:meta])* $field:ident = $name:expr;)*) => {
        /// The texts of one head.
        #[derive(Default)]
        pub struct Kept {
            bytes: Vec<u8>,
            method: Span,
            path: Span,
            query: Span,
            $($field: Span,)*
        }

        impl Kept {
            /// Copies the texts. A field that is there twice is kept once: its first value.
            #[must_use]
            pub fn of(parts: &Parts) -> Self {
                let mut kept = Self { bytes: Vec::with_capacity(USUAL_BYTES), ..Self::default() };
                kept.method = kept.push(parts.method.as_str().as_bytes());
                kept.path = kept.push(parts.uri.path().as_bytes());
                if let Some(query) = parts.uri.query() {
                    kept.query = kept.push(query.as_bytes());
                }
                $(if let Some(value) = parts.headers.get(&$name) {
                    kept.$field = kept.push(value.as_bytes());
                })*
                kept
            }

            $($(#[$doc])*
            #[must_use]
            pub fn $field(&self) -> Option<&[u8]> {
                self.get(self.$field)
            })*
        }
    };
}

kept! {
    /// `User-Agent`.
    user_agent = header::USER_AGENT;
    /// `Referer`.
    referer = header::REFERER;
    /// `Accept-Language`.
    accept_language = header::ACCEPT_LANGUAGE;
    /// `Sec-CH-UA`.
    ua_brands = HeaderName::from_static("sec-ch-ua");
    /// `Sec-CH-UA-Mobile`.
    ua_mobile = HeaderName::from_static("sec-ch-ua-mobile");
    /// `Sec-CH-UA-Platform`.
    ua_platform = HeaderName::from_static("sec-ch-ua-platform");
    /// `Save-Data`.
    save_data = HeaderName::from_static("save-data");
    /// `Sec-Fetch-Site`.
    fetch_site = HeaderName::from_static("sec-fetch-site");
    /// `Sec-Fetch-Mode`.
    fetch_mode = HeaderName::from_static("sec-fetch-mode");
    /// `Sec-Fetch-Dest`.
    fetch_dest = HeaderName::from_static("sec-fetch-dest");
    /// `Sec-Fetch-User`.
    fetch_user = HeaderName::from_static("sec-fetch-user");
    /// `traceparent`.
    traceparent = HeaderName::from_static("traceparent");
    /// `Sec-GPC`.
    gpc = HeaderName::from_static("sec-gpc");
    /// `DNT`.
    dnt = header::DNT;
}

impl Kept {
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

    fn push(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Span { start, end: self.bytes.len(), present: true }
    }

    fn get(&self, span: Span) -> Option<&[u8]> {
        span.present.then(|| &self.bytes[span.start..span.end])
    }
}

/// Redacted: it is about a person.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

#[derive(Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
    present: bool,
}

/// Enough for nearly every head.
const USUAL_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_fields_are_kept() {
        let request = http::Request::get("/a?b=c")
            .header("user-agent", "x")
            .header("cookie", "secret=1")
            .header("authorization", "Bearer secret")
            .header("x-unknown", "secret")
            .body(())
            .unwrap();
        let kept = Kept::of(&request.into_parts().0);
        assert_eq!((kept.method(), kept.path(), kept.query()), (&b"GET"[..], &b"/a"[..], Some(&b"b=c"[..])));
        assert_eq!(kept.user_agent(), Some(&b"x"[..]));
        assert_eq!(kept.referer(), None);
        assert!(!String::from_utf8_lossy(&kept.bytes).contains("secret"));
    }
}
