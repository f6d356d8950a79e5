//! Which trailers of an answer reach the client, and how many do not.
//!
//! On HTTP/2 all do. On HTTP/1.1 hyper writes them behind chunks, for clients that said `TE: trailers`, and only those
//! that the answer's `Trailer` names; the others are lost, and counted. Never changes a field. Bound: the names in
//! `Trailer`.

use http::{HeaderMap, HeaderName, Version, header};

use crate::exchange::Exchange;

/// Which trailers the client gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Whatever comes.
    All,
    /// None.
    Nothing,
    /// Those that were announced.
    Named(Vec<HeaderName>),
}

impl Reach {
    /// For an answer with these fields; `chunked`: on HTTP/1.1 its body is.
    pub(super) fn of(exchange: &Exchange, fields: &HeaderMap, chunked: bool) -> Self {
        if exchange.is_multiplexed() {
            Self::All
        } else if exchange.takes_trailers && chunked && exchange.version == Version::HTTP_11 {
            Self::Named(announced(fields))
        } else {
            Self::Nothing
        }
    }

    /// How many of these are lost.
    pub(super) fn lost(&self, fields: &HeaderMap) -> usize {
        match self {
            Self::All => 0,
            Self::Nothing => fields.keys_len(),
            Self::Named(names) => fields.keys().filter(|name| !names.contains(name)).count(),
        }
    }
}

fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(header::TRAILER).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&b| b == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_was_not_announced_is_lost() {
        let x = HeaderValue::from_static("x");
        let trailers: HeaderMap =
            ["x-a", "x-b"].map(|n| (HeaderName::from_static(n), x.clone())).into_iter().collect();
        let mut fields = HeaderMap::new();
        fields.append(header::TRAILER, HeaderValue::from_static("X-C , x-B"));
        fields.append(header::TRAILER, HeaderValue::from_static("x-d"));
        let named = Reach::Named(announced(&fields));
        assert_eq!(named, Reach::Named(["x-c", "x-b", "x-d"].map(HeaderName::from_static).to_vec()));
        assert_eq!([named, Reach::All, Reach::Nothing].map(|reach| reach.lost(&trailers)), [1, 0, 2]);
    }
}
