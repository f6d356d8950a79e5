//! `Permissions-Policy` of the site's pages: client hints are ours to grant, and advertising interfaces want a permit.
//!
//! The field is a dictionary (RFC 9651 §3.2) over all its lines, cut at commas that stand in no string and no list.
//! What is not removed keeps its bytes; a directive that the site sets is left. Never looks at what a directive allows.
//! Bound: the head.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Removes the members that grant client hints to others. Returns whether there were any.
pub fn without_hints(fields: &mut HeaderMap) -> bool {
    let Entry::Occupied(mut entry) = fields.entry(NAME) else { return false };
    let is_hint = |member: &[u8]| name_of(member).starts_with(b"ch-");
    if !entry.iter().any(|line| members(line.as_bytes()).any(is_hint)) {
        return false;
    }
    let kept = entry.iter().filter_map(|line| {
        let kept: Vec<&[u8]> = members(line.as_bytes()).filter(|member| !is_hint(member)).collect();
        if kept.iter().all(|member| member.trim_ascii().is_empty()) {
            return None;
        }
        // The bytes came from a value, so this is never an error.
        HeaderValue::from_bytes(kept.join(&b","[..]).trim_ascii()).ok()
    });
    let mut kept = kept.collect::<Vec<_>>().into_iter();
    match kept.next() {
        Some(first) => {
            entry.insert(first);
            kept.for_each(|line| entry.append(line));
        }
        None => {
            entry.remove_entry_mult();
        }
    }
    true
}

/// Denies the browser's advertising interfaces to the page, as far as the site does not say itself what it wants of
/// them. `present`: the site sent the field.
pub fn deny_advertising(fields: &mut HeaderMap, present: bool) {
    if !present {
        fields.append(NAME, HeaderValue::from_static(DENIED));
        return;
    }
    let says = |name: &str| {
        let mut lines = fields.get_all(NAME).iter();
        lines.any(|line| members(line.as_bytes()).any(|member| name_of(member) == name.as_bytes()))
    };
    let missing: Vec<&str> =
        DENIED.split(", ").filter(|member| !says(member.trim_end_matches("=()"))).collect();
    if let (false, Ok(value)) = (missing.is_empty(), HeaderValue::from_str(&missing.join(", "))) {
        fields.append(NAME, value);
    }
}

/// The members of one line, with the blanks around them.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped, mut open) = (false, false, 0_u32);
    line.split(move |&byte| {
        if quoted {
            quoted = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
            return false;
        }
        match byte {
            b'"' => quoted = true,
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            b',' => return open == 0,
            _ => {}
        }
        false
    })
}

/// The key of a member.
fn name_of(member: &[u8]) -> &[u8] {
    let member = member.trim_ascii();
    let end = member.iter().position(|b| matches!(b, b'=' | b';' | b' ' | b'\t')).unwrap_or(member.len());
    &member[..end]
}

/// Lower case, as http wants it.
const NAME: HeaderName = HeaderName::from_static("permissions-policy");
const DENIED: &str =
    "browsing-topics=(), attribution-reporting=(), join-ad-interest-group=(), run-ad-auction=()";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(NAME, line.parse().unwrap());
        }
        fields
    }

    fn lines(fields: &HeaderMap) -> Vec<&str> {
        fields.get_all(NAME).iter().map(|v| v.to_str().unwrap()).collect()
    }

    #[test]
    fn hints_go_and_the_rest_keeps_its_bytes() {
        for (given, kept) in [
            (&["geolocation=(self)"][..], &["geolocation=(self)"][..]),
            (&["ch-ua-model=(self), camera=()"], &["camera=()"]),
            (
                &["camera=(),  ch-dpr=*,fullscreen=(self  \"https://a,b\")"],
                &["camera=(),fullscreen=(self  \"https://a,b\")"],
            ),
            (&["ch-dpr=*", "ch-width=*"], &[]),
            (&["ch-dpr=*", "camera=()"], &["camera=()"]),
            (&["camera=(\"https://x/?,ch-dpr=\")"], &["camera=(\"https://x/?,ch-dpr=\")"]),
        ] {
            let mut fields = of(given);
            assert_eq!(without_hints(&mut fields), given != kept, "{given:?}");
            assert_eq!(lines(&fields), kept, "{given:?}");
        }
        assert!(!without_hints(&mut HeaderMap::new()));
    }

    #[test]
    fn what_the_site_says_itself_is_left() {
        let denied = |given: &[&str]| {
            let mut fields = of(given);
            deny_advertising(&mut fields, !given.is_empty());
            lines(&fields).join(" | ")
        };
        assert_eq!(denied(&[]), DENIED);
        assert_eq!(denied(&["camera=()"]), format!("camera=() | {DENIED}"));
        assert_eq!(
            denied(&["browsing-topics=(self), run-ad-auction=*", "attribution-reporting"]),
            "browsing-topics=(self), run-ad-auction=* | attribution-reporting | join-ad-interest-group=()"
        );
        assert_eq!(denied(&[DENIED]), DENIED);
    }

    proptest! {
        #[test]
        fn no_hint_is_left_and_nothing_is_invented(line in "(ch-[a-z]|camera|=|\\(|\\)|,| |\"|\\\\|\\*){0,24}") {
            let mut fields = of(&[&line]);
            without_hints(&mut fields);
            let left = lines(&fields).join(",");
            prop_assert!(members(left.as_bytes()).all(|m| !name_of(m).starts_with(b"ch-")), "{line} became {left}");
            let mut rest = line.chars();
            prop_assert!(left.chars().all(|c| rest.any(|r| r == c)), "{line} became {left}");
        }
    }
}
