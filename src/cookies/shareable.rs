//! Takes a response out of shared caches.
//!
//! A response from which a `Set-Cookie` was removed looks shareable, and one to which we added one is for one visitor.
//! Never makes anything more cacheable: restrictions stay as they were written. Bound: the response's own
//! `Cache-Control` fields.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

/// Makes a response `private`: `public` and `s-maxage` go, and the fields that speak to shared caches alone go unless
/// they say `no-store`. A response that is `private` or `no-store` already gets nothing added.
pub fn make_private(headers: &mut HeaderMap) {
    for name in TARGETED {
        let says_no_store = headers.get_all(&name).iter().any(|value| has(value.as_bytes(), b"no-store"));
        // A shared cache may obey such a field and ignore `Cache-Control`: its `no-store` must stay.
        if says_no_store {
            headers.insert(name, HeaderValue::from_static("no-store"));
        } else {
            headers.remove(name);
        }
    }
    let mut kept: Vec<u8> = Vec::new();
    let mut is_private = false;
    let mut changed = false;
    for field in headers.get_all(CACHE_CONTROL) {
        for directive in directives(field.as_bytes()) {
            let (name, argument) = name_and_argument(directive);
            if name.eq_ignore_ascii_case(b"public") || name.eq_ignore_ascii_case(b"s-maxage") {
                changed = true;
                continue;
            }
            // `private="field"` keeps only that field out of shared caches.
            is_private |= argument.is_none()
                && (name.eq_ignore_ascii_case(b"private") || name.eq_ignore_ascii_case(b"no-store"));
            append(&mut kept, directive);
        }
    }
    if !is_private {
        changed = true;
        // First, so that it counts even before an argument with an open quote.
        let rest = std::mem::replace(&mut kept, b"private".to_vec());
        append(&mut kept, &rest);
    }
    if changed {
        // Parts of valid values, joined by commas, are a valid value; should they not be, the strictest is.
        let value = HeaderValue::from_bytes(&kept).unwrap_or(HeaderValue::from_static("no-store"));
        headers.insert(CACHE_CONTROL, value);
    }
}

/// The directives of a field, without blanks at the ends and without empty ones. A comma between quotes does not
/// separate.
fn directives(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = field.split(move |&byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            b',' if !quoted => return true,
            _ => {}
        }
        false
    });
    parts.map(<[u8]>::trim_ascii).filter(|directive| !directive.is_empty())
}

fn name_and_argument(directive: &[u8]) -> (&[u8], Option<&[u8]>) {
    match directive.iter().position(|&byte| byte == b'=') {
        Some(at) => (directive[..at].trim_ascii(), Some(&directive[at + 1..])),
        None => (directive, None),
    }
}

fn has(field: &[u8], name: &[u8]) -> bool {
    directives(field).any(|directive| name_and_argument(directive).0.eq_ignore_ascii_case(name))
}

fn append(list: &mut Vec<u8>, item: &[u8]) {
    if !list.is_empty() && !item.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(item);
}

/// Fields for shared caches alone (RFC 9213 and its forerunner).
const TARGETED: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-control"), HeaderName::from_static("cdn-cache-control")];

#[cfg(test)]
mod tests {
    use super::*;

    fn after(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        make_private(&mut headers);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII"))).collect()
    }

    fn cache_control(value: &'static str) -> String {
        after(&[("cache-control", value)]).join("\n").replace("cache-control: ", "")
    }

    #[test]
    fn what_may_be_shared_becomes_private() {
        assert_eq!(after(&[]), ["cache-control: private"]);
        assert_eq!(cache_control("public, max-age=60, s-maxage=600"), "private, max-age=60");
        assert_eq!(cache_control("Public"), "private");
        assert_eq!(cache_control("S-MaxAge = 5,no-cache"), "private, no-cache");
        assert_eq!(
            cache_control("private=\"set-cookie, x\", max-age=1"),
            "private, private=\"set-cookie, x\", max-age=1"
        );
    }

    #[test]
    fn what_is_stricter_stays() {
        assert_eq!(cache_control("no-store"), "no-store");
        assert_eq!(cache_control("private,max-age=5"), "private,max-age=5");
        assert_eq!(cache_control("NO-STORE, public"), "NO-STORE");
        assert_eq!(cache_control("must-revalidate, no-cache"), "private, must-revalidate, no-cache");
    }

    #[test]
    fn several_fields_are_one_list() {
        let fields =
            [("cache-control", "max-age=5"), ("cache-control", "public"), ("cache-control", "no-store")];
        assert_eq!(after(&fields), ["cache-control: max-age=5, no-store"]);
    }

    #[test]
    fn a_directive_inside_quotes_does_not_count_and_is_not_lost() {
        assert_eq!(cache_control("x=\"a, no-store\", public"), "private, x=\"a, no-store\"");
        assert_eq!(cache_control("x=\"open, no-store"), "private, x=\"open, no-store");
        assert_eq!(cache_control("x=\"a\\\", public\""), "private, x=\"a\\\", public\"");
    }

    #[test]
    fn fields_for_shared_caches_go_unless_they_forbid_storing() {
        let fields = [("surrogate-control", "max-age=600"), ("cdn-cache-control", "public, max-age=5")];
        assert_eq!(after(&fields), ["cache-control: private"]);
        assert_eq!(
            after(&[("cdn-cache-control", "no-store, max-age=1"), ("cache-control", "no-store")]),
            ["cdn-cache-control: no-store", "cache-control: no-store"]
        );
    }
}
