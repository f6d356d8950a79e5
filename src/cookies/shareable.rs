//! Takes a response out of shared caches.
//!
//! A response from which a `Set-Cookie` was removed looks shareable, and one to which we added one is for one visitor.
//! Never makes anything more cacheable: restrictions stay as they were written. Bound: the response's own
//! `Cache-Control` fields.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Makes a response `private`: `public` and `s-maxage` go, and the fields that speak to shared caches alone go unless
/// they say `no-store`. A response that is `private` or `no-store` already gets nothing added.
pub fn make_private(headers: &mut HeaderMap) {
    let targeted: SmallVec<[HeaderName; 2]> =
        headers.keys().filter(|name| is_targeted(name)).cloned().collect();
    for name in targeted {
        let forbids = |value: &HeaderValue| match name == X_ACCEL_EXPIRES {
            true => value.as_bytes().trim_ascii() == b"0",
            false => has(value.as_bytes(), b"no-store"),
        };
        let says_no = headers.get_all(&name).iter().any(forbids);
        // A shared cache may obey such a field and ignore `Cache-Control`: what it forbids must stay forbidden.
        if says_no && name == X_ACCEL_EXPIRES {
            headers.insert(name, HeaderValue::from_static("0"));
        } else if says_no {
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

/// Whether a field speaks to shared caches alone: `CDN-Cache-Control` and its like of single caches (RFC 9213), and those
/// that came before it. nginx obeys its own even against `Cache-Control: private`.
fn is_targeted(name: &HeaderName) -> bool {
    name.as_str().ends_with("-cache-control")
        || matches!(name.as_str(), "surrogate-control" | "edge-control")
        || *name == X_ACCEL_EXPIRES
}

const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_field_of_one_cache_alone_goes_as_well() {
        for name in
            ["x-accel-expires", "cloudflare-cdn-cache-control", "vercel-cdn-cache-control", "edge-control"]
        {
            assert_eq!(after(&[(name, "600")]), ["cache-control: private"], "{name}");
        }
        let kept = after(&[("x-accel-expires", "0"), ("cache-control", "private")]);
        assert_eq!(kept, ["x-accel-expires: 0", "cache-control: private"]);
        assert_eq!(
            after(&[("edge-control", "no-store")]),
            ["edge-control: no-store", "cache-control: private"]
        );
    }

    proptest! {
        /// Whatever was written: it is private or not stored at all, nothing invites shared caches, and no other directive
        /// is lost or changed.
        #[test]
        fn nothing_becomes_more_cacheable(
            written in proptest::collection::vec(proptest::sample::select(vec![
                "public", "private", "no-store", "no-cache", "max-age=60", "s-maxage=9", "S-MAXAGE = 9", "Public",
                "must-revalidate", "private=\"set-cookie\"", "no-cache=\"a, public\"", "stale-while-revalidate=5", "",
            ]), 0..6),
            split in any::<bool>(),
        ) {
            let mut headers = HeaderMap::new();
            let fields = if split { written.iter().map(|d| (*d).to_owned()).collect() } else { vec![written.join(", ")] };
            for field in &fields {
                headers.append(CACHE_CONTROL, HeaderValue::from_str(field).expect("a value"));
            }
            make_private(&mut headers);
            let after: Vec<String> = headers
                .get_all(CACHE_CONTROL)
                .iter()
                .flat_map(|value| directives(value.as_bytes()).map(|d| String::from_utf8_lossy(d).into_owned()).collect::<Vec<_>>())
                .collect();
            prop_assert!(after.iter().any(|d| d == "private" || d == "no-store"), "{after:?}");
            for directive in &after {
                let name = directive.split(['=', ' ']).next().unwrap_or_default().to_ascii_lowercase();
                prop_assert!(name != "public" && name != "s-maxage", "{after:?}");
            }
            for directive in written.iter().filter(|d| !d.is_empty() && !d.to_ascii_lowercase().starts_with("public") && !d.to_ascii_lowercase().starts_with("s-maxage")) {
                prop_assert!(after.iter().any(|d| d == directive), "{directive} of {written:?} is gone: {after:?}");
            }
        }
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
