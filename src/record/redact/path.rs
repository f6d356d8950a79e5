//! What of a path may be recorded.
//!
//! What names a person or opens something becomes `~`: a mail address, a token ([`super::tokens`]), a session in the path,
//! the values of parameters, and click ids. Cut is the piece alone where it stands as written, the whole segment where it
//! shows only after decoding. Anything else stays as it is, a UUID too. Never touches the path that the site gets. Bound:
//! the path, and [`super::MAX_NESTING`].

use std::borrow::Cow;
use std::ops::Range;

use super::click_ids::{names_the_next, told_in, values};
use super::decoding::any_round;
use super::query::is_name;
use super::tokens::token_in;

/// The path as it may be recorded. Borrowed if nothing is cut.
#[must_use]
pub fn path(path: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let (mut copied, mut at) = (0, 0);
    let mut is_named = false;
    for segment in path.split(|&b| b == b'/') {
        let is_plain = is_plain(segment);
        let cut = match segment {
            [] => None,
            _ if is_named => Some(Cow::Borrowed(CUT)),
            _ if is_plain => None,
            _ => without_secrets(segment),
        };
        if let Some(cut) = cut {
            kept.extend_from_slice(&path[copied..at]);
            kept.extend_from_slice(&cut);
            copied = at + segment.len();
        }
        if !segment.is_empty() {
            is_named = if is_plain { names_the_next(segment) } else { any_round(segment, names_the_next) };
        }
        at += segment.len() + 1;
    }
    if kept.is_empty() {
        return Cow::Borrowed(path);
    }
    kept.extend_from_slice(&path[copied..]);
    Cow::Owned(kept)
}

/// Whether there is nothing in a segment that the rest of this file would look at. One look at each byte.
fn is_plain(segment: &[u8]) -> bool {
    !segment.iter().fold(false, |so_far, &b| so_far | MARKS[usize::from(b)]) && token_in(segment).is_none()
}

/// The segment without what may not be recorded; `None` if it may be as it is.
fn without_secrets(segment: &[u8]) -> Option<Cow<'_, [u8]>> {
    let kept = match cut(segment, parameters(segment)) {
        Cow::Borrowed(text) => cut(text, tokens(text)),
        Cow::Owned(text) => Cow::Owned(cut(&text, tokens(&text)).into_owned()),
    };
    // What is left is asked anew, whole and decoded: the cuts above are for reading, this is for keeping the promise.
    if any_round(&kept, tells) {
        return Some(Cow::Borrowed(CUT));
    }
    matches!(kept, Cow::Owned(_)).then_some(kept)
}

/// Whether a segment, in one of its rounds of decoding, has something that may not be recorded.
fn tells(segment: &[u8]) -> bool {
    let is_cookieless_session =
        || matches!(segment, [b'(', letter, b'(', ..] if letter.is_ascii_alphabetic());
    segment.contains(&b'@')
        || token_in(segment).is_some()
        || told_in(segment)
        || names_a_session(segment)
        || has_a_value(segment)
        || is_cookieless_session()
}

/// Whether a session or a credential stands here with its value.
fn names_a_session(segment: &[u8]) -> bool {
    let is_one = |name: &[u8]| SESSIONS.iter().any(|listed| name.eq_ignore_ascii_case(listed));
    values(segment).any(|value| {
        value.mark == b'='
            && !matches!(value.rest, [] | [b'~'] | [b'~', b';' | b'&', ..])
            && value.names().any(is_one)
    })
}

/// Whether a parameter behind `;`, `&`, `?` or `#` still has a value.
fn has_a_value(segment: &[u8]) -> bool {
    let mut parts = segment.split(|b| matches!(b, b';' | b'&' | b'?' | b'#'));
    parts.next();
    parts.any(|part| memchr::memchr(b'=', part).is_some_and(|at| !matches!(part[at + 1..], [] | [b'~'])))
}

/// The values of parameters behind `;` and `&`, and all of a parameter whose name may be a value.
fn parameters(segment: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memchr::memchr2_iter(b';', b'&', segment).filter_map(|before| {
        let start = before + 1;
        let length = memchr::memchr2(b';', b'&', &segment[start..]);
        let end = length.map_or(segment.len(), |length| start + length);
        let equals = start + memchr::memchr(b'=', &segment[start..end])?;
        let value = &segment[equals + 1..end];
        match is_name(&segment[start..equals], value) {
            true => (!value.is_empty()).then_some(equals + 1..end),
            false => Some(start..end),
        }
    })
}

/// The tokens of a segment, but for one with escapes: they may go on behind an escape.
fn tokens(segment: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    let is_plain = memchr::memchr(b'%', segment).is_none();
    std::iter::from_fn(move || {
        let token = token_in(&segment[from..]).filter(|_| is_plain)?;
        let token = from + token.start..from + token.end;
        from = token.end;
        Some(token)
    })
}

/// The text with [`CUT`] in place of these ranges, which are in order.
fn cut(text: &[u8], ranges: impl Iterator<Item = Range<usize>>) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let mut copied = 0;
    for range in ranges {
        kept.extend_from_slice(&text[copied..range.start]);
        kept.extend_from_slice(CUT);
        copied = range.end;
    }
    if kept.is_empty() {
        return Cow::Borrowed(text);
    }
    kept.extend_from_slice(&text[copied..]);
    Cow::Owned(kept)
}

/// What stands for what was cut.
const CUT: &[u8] = b"~";

/// Bytes without which [`tells`] can hold for a token alone.
const MARKS: [bool; 256] = {
    let mut marks = [false; 256];
    let bytes = b"%@;&?#=:(";
    let mut i = 0;
    while i < bytes.len() {
        marks[bytes[i] as usize] = true;
        i += 1;
    }
    marks
};

/// Names of what opens a session, in letters of any case.
const SESSIONS: &[&[u8]] = &[
    b"access_token",
    b"api_key",
    b"apikey",
    b"auth_token",
    b"id_token",
    b"jsessionid",
    b"passwd",
    b"password",
    b"phpsessid",
    b"pwd",
    b"refresh_token",
    b"secret",
    b"session",
    b"session_id",
    b"sessionid",
    b"sid",
    b"token",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MAX_NESTING;
    use super::super::tests::{encoded, unwrapped};
    use super::*;

    const HEX: &str = "0A1B2C3D4E5F60718293A4B5C6D7E8F9";

    fn kept(raw: &str) -> String {
        String::from_utf8(path(raw.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_path_that_names_a_person_is_cut_where_it_does() {
        for (raw, left) in [
            ("/reset/ivan@mail.example/now".to_owned(), "/reset/~/now"),
            ("/reset/ivan%40mail.example".to_owned(), "/reset/~"),
            ("/u/a%2540b.example".to_owned(), "/u/~"),
            (format!("/reset/{HEX}"), "/reset/~"),
        ] {
            assert_eq!(kept(&raw), left, "{raw}");
        }
    }

    #[test]
    fn a_token_is_cut_wherever_it_stands_in_a_segment() {
        for (raw, left) in [
            (format!("/a/{HEX}.html"), "/a/~.html"),
            (format!("/a/x-{HEX}/b"), "/a/x-~/b"),
            (format!("/app-{HEX}{HEX}.js"), "/app-~.js"),
            (format!("/a/{HEX}-{HEX}"), "/a/~-~"),
            (format!("/p/%30{}", &HEX[1..]), "/p/~"),
            (format!("/p/{}%39", &HEX[..31]), "/p/~"),
            ("/verify/eyJhbGciOiJub25lIn0.eyJ1IjoxfQ.c2ln/x".to_owned(), "/verify/~/x"),
            ("/verify/eyJhbGciOiJub25lIn0%2EeyJ1IjoxfQ.c2ln".to_owned(), "/verify/~"),
        ] {
            assert_eq!(kept(&raw), left, "{raw}");
        }
    }

    #[test]
    fn a_session_in_a_path_is_cut() {
        for (raw, left) in [
            (format!("/cart;jsessionid={HEX}"), "/cart;jsessionid=~"),
            (format!("/cart.do;jsessionid={HEX}.node1;v=2/x"), "/cart.do;jsessionid=~;v=~/x"),
            ("/cart;a;b=".to_owned(), "/cart;a;b="),
            ("/cart%3Bjsessionid%3DS3cret".to_owned(), "/~"),
            ("/cart;jsessionid%3DS3cret".to_owned(), "/~"),
            ("/cart;a%3Db=S3cret".to_owned(), "/cart;~"),
            ("/cart;c2VjcmV0LXNlY3JldC1zZWM=".to_owned(), "/cart;~"),
            ("/p/jsessionid=S3cret/x".to_owned(), "/p/~/x"),
            ("/p/x-token=S3cret".to_owned(), "/p/~"),
            ("/(S(lit3py55t21z5v55vlm25s55))/a.aspx".to_owned(), "/~/a.aspx"),
            ("/%28S%28lit3py55t21z5v55vlm25s55))/a.aspx".to_owned(), "/~/a.aspx"),
            ("/out/https%3A%2F%2Fs.example%2F%3Ft%3DS3cret".to_owned(), "/out/~"),
        ] {
            assert_eq!(kept(&raw), left, "{raw}");
        }
    }

    #[test]
    fn a_click_id_in_a_path_is_cut() {
        for (raw, left) in [
            ("/v2/out/https%3A%2F%2Fs.example%2F%3Fyclid%3D777", "/v2/out/~"),
            ("/p&gclid=C1", "/p&~"),
            ("/p&amp;a=1&fbclid=C1", "/p&amp;a=~&~"),
            ("/p;gclid=C1", "/p;~"),
            ("/p%3Fgclid=C1/x", "/~/x"),
            ("/p/gclid=C1", "/p/~"),
            ("/p/GCLID:C1", "/p/~"),
            ("/gclid/C1/x", "/gclid/~/x"),
            ("/gclid//C1", "/gclid//~"),
            ("/g%63lid/C1", "/g%63lid/~"),
            ("/gclid%2FC1", "/~"),
            ("/%7B%22gclid%22%3A%22C1%22%7D", "/~"),
        ] {
            assert_eq!(kept(raw), left, "{raw}");
        }
    }

    #[test]
    fn a_segment_that_is_encoded_too_often_is_cut() {
        let mut segment = "%41".to_owned();
        for depth in 1..=MAX_NESTING + 1 {
            assert_eq!(kept(&format!("/b/{segment}")) == "/b/~", depth > MAX_NESTING, "{segment}");
            segment = segment.replace('%', "%25");
        }
    }

    #[test]
    fn what_tells_nothing_is_borrowed() {
        for raw in [
            "/",
            "",
            "//a//b/",
            "/deadbeef/1",
            "/verify/123e4567-e89b-12d3-a456-426614174000",
            "/dt=2026-12-01/page=2",
            "/wiki/Foo_(bar):Talk",
            "/a;b/c&d",
            "/R&D;",
            "/%D1%84%D0%B0%D0%B9%D0%BB/100%25",
            "/out/https%3A%2F%2Fs.example%2Fpage",
            "/docs/gclid",
            "/android/one",
            "/assets/main.0123456789abcdef0123.js",
            "/2026/12/a-long-title-of-an-article-about-nothing-in-particular",
            "/a%zz%",
        ] {
            assert!(matches!(path(raw.as_bytes()), Cow::Borrowed(_)), "{raw} became {}", kept(raw));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_the_rules_name_survives(
            before in "[a-z%/;&=.]{0,6}",
            secret in prop_oneof![
                Just(format!("gclid={HEX}")), Just("gclid=S3cret".to_owned()), Just("x[yclid]:S3cret".to_owned()),
                Just("\"fbclid\": \"S3cret".to_owned()), Just(";JSessionId=S3cret".to_owned()),
                Just("?a=S3cret".to_owned()), Just("token=S3cret".to_owned()), Just("S3cret@x.kz".to_owned()),
                Just(HEX.to_owned()), Just("eyJhbGciOiJub25lIn0.S3cret".to_owned()),
            ],
            mask in any::<u64>(),
            rounds in 0..=MAX_NESTING + 1,
            after in "([;&/.][a-z%=]{0,4})?",
        ) {
            // A separator keeps the name a word of its own.
            let raw = format!("/{before}.{}{after}", encoded(&secret, mask, rounds));
            let left = unwrapped(&kept(&raw));
            prop_assert!(!left.contains("S3cret") && !left.contains(&HEX[..31]), "{raw} became {left}");
        }

        #[test]
        fn a_path_is_cut_once(raw in "(/|[a-f0-9]{16}|;|&|=|%3B|%3D|%25|gclid|sid|~|@|\\(S\\(|a){0,16}") {
            let once = kept(&raw);
            prop_assert_eq!(kept(&once), once);
        }

        #[test]
        fn the_harmless_stays(
            // Without the letters that end a name in `id` and begin JSON.
            raw in "(/([a-ce-xz0-9_.,~!'*+-][a-ce-xz0-9_.,~!'()*+-]{0,14})?|/%D0%B[0-9A-F]|/[a-ce-z]+;[a-ce-z]+){0,6}"
        ) {
            prop_assert_eq!(kept(&raw), raw);
        }
    }
}
