//! `banner.js`: the script that carries the choice made in a site's own banner to us.
//!
//! For banners that keep the choice where a server cannot see it. The same bytes for every site; it finds us by its own
//! address. Never loads anything. Bound: the file.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use ring::digest::{SHA256, digest};

use super::reply::{self, Reply};

/// The script, or that the browser's copy is still the same.
pub(super) fn reply(headers: &HeaderMap) -> Reply {
    let tag = TAG.clone();
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|field| field.as_bytes().split(|b| *b == b','));
    // Compared weakly, as RFC 9110 §13.1.2 asks.
    let is_same = |known: &[u8]| {
        let known = known.trim_ascii();
        known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
    };
    if known.into_iter().any(is_same) {
        return reply::script(StatusCode::NOT_MODIFIED, "", tag);
    }
    reply::script(StatusCode::OK, SCRIPT, tag)
}

const SCRIPT: &str = include_str!("../pages/banner.js");

static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = digest(&SHA256, SCRIPT.as_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Hexadecimal digits are a header value; without a tag the script would merely be sent again.
    HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_it_is_told_so() {
        let whole = reply(&HeaderMap::new());
        assert_eq!(whole.status(), StatusCode::OK);
        assert_eq!(whole.headers()[header::CACHE_CONTROL], "no-cache");
        let tag = whole.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(tag.len(), 34);
        for (known, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"x\", W/{tag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"x\"".to_owned(), StatusCode::OK),
            (tag.trim_matches('"').to_owned(), StatusCode::OK),
        ] {
            let headers =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::try_from(&known).unwrap())]);
            assert_eq!(reply(&headers).status(), status, "{known}");
        }
    }

    #[test]
    fn it_runs_under_a_strict_content_security_policy() {
        for word in ["eval(", "new Function", "innerHTML", "document.write", "http://", "https://", ".style"]
        {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }
}
