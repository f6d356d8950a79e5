//! What must hold for the cookie filters, whatever the bytes: used by the fuzz targets and by the unit tests.
//!
//! The readers here are written apart from the filter, after the ways in which sites are known to read a `Cookie`
//! field. They know nothing of the catalogue; the caller says which names may not be seen. Never part of the product.

/// Panics if the output of the request filter breaks a promise. `output` is the field that the site gets, if any;
/// `is_blocked` says whether a name may not be seen by the site.
pub(crate) fn check_request(fields: &[&[u8]], output: Option<&[u8]>, is_blocked: &dyn Fn(&[u8]) -> bool) {
    let input: Vec<&[u8]> = fields.iter().flat_map(|field| pieces(field)).collect();
    let output = output.unwrap_or_default();

    let mut rest = input.iter();
    for piece in pieces(output) {
        assert!(rest.any(|original| *original == piece), "not a subsequence of the input");
    }
    let readers: [(&str, Names); 5] = [
        ("strict", names_strict),
        ("blank-tolerant", names_blank_tolerant),
        ("quote-aware", names_quote_aware),
        ("leading-equals", names_skipping_equals),
        ("nameless", names_of_nameless),
    ];
    for (reader, names) in readers {
        // Whether the first or the last copy counts, both are among all.
        for name in names(output) {
            assert!(!is_blocked(&name), "the {reader} reader finds a stripped name: {}", name.escape_ascii());
        }
    }
    for name in input.iter().flat_map(|piece| names_strict(piece)).filter(|name| !is_blocked(name)) {
        let copies = |of: &[&[u8]]| of.iter().flat_map(|p| names_strict(p)).filter(|n| *n == name).count();
        // Odd pieces are looked up as a tolerant reader would; a plain name is never lost.
        if !name.is_empty() && name.iter().all(|byte| (0x21..=0x7E).contains(byte)) {
            assert_eq!(
                copies(&input),
                copies(&pieces(output).collect::<Vec<_>>()),
                "a cookie that may pass is lost"
            );
        }
    }
}

/// A way of finding all names in a field.
type Names = fn(&[u8]) -> Vec<Vec<u8>>;

/// What stands between two `;`, without SP and HTAB at its ends; empty pieces left out.
fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field
        .split(|&byte| byte == b';')
        .map(|piece| strip(piece, &|b| b == b' ' || b == b'\t'))
        .filter(|p| !p.is_empty())
}

/// RFC 6265: up to the first `=`, SP and HTAB trimmed.
fn names_strict(field: &[u8]) -> Vec<Vec<u8>> {
    let name = |piece: &[u8]| {
        let at = piece.iter().position(|&byte| byte == b'=')?;
        Some(strip(&piece[..at], &|b| b == b' ' || b == b'\t').to_vec())
    };
    pieces(field).filter_map(name).collect()
}

/// Trims whatever a language calls blank: control bytes, and the no-break space and next-line in Latin-1 or UTF-8.
fn names_blank_tolerant(field: &[u8]) -> Vec<Vec<u8>> {
    let latin: Vec<Vec<u8>> = names_strict(field);
    let mut names: Vec<Vec<u8>> = latin
        .iter()
        .map(|name| strip(name, &|b| b <= 0x20 || matches!(b, 0x7F | 0x85 | 0xA0)).to_vec())
        .collect();
    names.extend(latin.iter().filter_map(|name| {
        let text = std::str::from_utf8(name).ok()?;
        Some(
            text.trim_matches(|c: char| c <= ' ' || matches!(c, '\u{7F}' | '\u{85}' | '\u{A0}'))
                .as_bytes()
                .to_vec(),
        )
    }));
    names
}

/// RFC 2109: a quoted value hides `;` until its closing quote; what follows up to the next `;` is skipped.
fn names_quote_aware(field: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut rest = field;
    loop {
        let end = rest.iter().position(|&byte| matches!(byte, b';' | b'=')).unwrap_or(rest.len());
        if rest.get(end) == Some(&b'=') {
            names.push(strip(&rest[..end], &|b| b <= 0x20).to_vec());
        }
        let mut at = end;
        if rest.get(at) == Some(&b'=') {
            at += 1;
            while rest.get(at).is_some_and(|&byte| byte == b' ' || byte == b'\t') {
                at += 1;
            }
            if rest.get(at) == Some(&b'"') {
                at += 1;
                // An open quote reaches to the end of the field.
                while rest.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if rest[at] == b'\\' { 2 } else { 1 };
                }
            }
        }
        let at = at.min(rest.len());
        match rest[at..].iter().position(|&byte| byte == b';') {
            Some(next) => rest = &rest[at + next + 1..],
            None => return names,
        }
    }
}

/// Passes over `=` and blanks before a name.
fn names_skipping_equals(field: &[u8]) -> Vec<Vec<u8>> {
    let skip = |piece: &[u8]| {
        let start = piece.iter().position(|&b| b > 0x20 && b != b'=').unwrap_or(piece.len());
        names_strict(&piece[start..])
    };
    pieces(field).flat_map(skip).collect()
}

/// Takes a piece without `=` for a cookie of that name.
fn names_of_nameless(field: &[u8]) -> Vec<Vec<u8>> {
    pieces(field).filter(|piece| !piece.contains(&b'=')).map(<[u8]>::to_vec).collect()
}

/// What a browser would send back after storing a `Set-Cookie` field: name and value, or the value alone. `None` if it
/// ignores the field for a control byte or its length.
#[allow(dead_code)]
pub(crate) fn sent_back(set_cookie: &[u8]) -> Option<Vec<u8>> {
    let is_blank = |b: u8| b == b' ' || b == b'\t';
    let pair = set_cookie.split(|&byte| byte == b';').next().unwrap_or_default();
    if pair.iter().any(|&b| (b < 0x20 && b != b'\t') || b == 0x7F) {
        return None;
    }
    let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
        Some(at) => (strip(&pair[..at], &is_blank), strip(&pair[at + 1..], &is_blank)),
        None => (&pair[..0], strip(pair, &is_blank)),
    };
    if name.len() + value.len() > 4096 {
        return None;
    }
    Some(if name.is_empty() { value.to_vec() } else { [name, b"=", value].concat() })
}

fn strip<'a>(mut bytes: &'a [u8], is_blank: &dyn Fn(u8) -> bool) -> &'a [u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}
