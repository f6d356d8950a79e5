//! Click ids and campaign parameters in the URL that the site gets, and in the one that it is told the visitor came from:
//! removed only where the configuration asks for it.
//!
//! Signed URLs, logins by redirect and payment callbacks break when a query changes, so the default is to pass it on; with
//! consent to advertising it always passes. A key counts when it is one exactly, after percent-decoding. All other pairs
//! keep their bytes, order and encoding, whatever URLs their values hold: a URL that is handed on in a value is signed more
//! often than not. Never touches the path. Bound: the head.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{Entry, REFERER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};

use crate::record::redact::{self, Key};

/// What is removed without consent to advertising.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strip {
    /// Click ids.
    pub click_ids: bool,
    /// `utm_*` and `itm_*`.
    pub campaign: bool,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Click ids.
    pub click_ids: bool,
    /// Campaign parameters.
    pub campaign: bool,
}

/// Removes them from an origin-form target and from `Referer`: the page after the first has the ids there.
pub fn remove(uri: &mut Uri, headers: &mut HeaderMap, strip: Strip) -> Removed {
    let mut removed = Removed::default();
    if strip.click_ids || strip.campaign {
        from_target(uri, strip, &mut removed);
        from_referrer(headers, strip, &mut removed);
    }
    removed
}

fn from_target(uri: &mut Uri, strip: Strip, removed: &mut Removed) {
    let Some(query) = uri.query() else { return };
    let target = without(uri.path().as_bytes(), query.as_bytes(), &[], strip, removed);
    // Parts of a target are a target.
    if let Some(Ok(target)) = target.map(PathAndQuery::from_maybe_shared) {
        *uri = target.into();
    }
}

fn from_referrer(headers: &mut HeaderMap, strip: Strip, removed: &mut Removed) {
    // Asked first: an entry makes room for a field that many requests never have.
    if !headers.contains_key(REFERER) {
        return;
    }
    let Entry::Occupied(mut entry) = headers.entry(REFERER) else { return };
    for value in entry.iter_mut() {
        let url = value.as_bytes();
        let end = memchr::memchr(b'#', url).unwrap_or(url.len());
        let Some(at) = memchr::memchr(b'?', &url[..end]) else { continue };
        let kept = without(&url[..at], &url[at + 1..end], &url[end..], strip, removed);
        // Parts of a value are a value.
        if let Some(Ok(kept)) = kept.map(HeaderValue::from_maybe_shared) {
            *value = kept;
        }
    }
}

/// A URL without the pairs of its query that go; `None` if all stay.
fn without(before: &[u8], query: &[u8], after: &[u8], strip: Strip, removed: &mut Removed) -> Option<Bytes> {
    let mut goes = |pair: &[u8]| match redact::key(pair) {
        Key::ClickId if strip.click_ids => {
            removed.click_ids = true;
            true
        }
        Key::Campaign if strip.campaign => {
            removed.campaign = true;
            true
        }
        _ => false,
    };
    if !query.split(|&b| b == b'&').fold(false, |any, pair| goes(pair) | any) {
        return None;
    }
    let mut url = BytesMut::with_capacity(before.len() + 1 + query.len() + after.len());
    url.put_slice(before);
    let mut next = b'?';
    for pair in query.split(|&b| b == b'&').filter(|pair| !goes(pair)) {
        url.put_u8(next);
        url.put_slice(pair);
        next = b'&';
    }
    url.put_slice(after);
    Some(url.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Strip = Strip { click_ids: true, campaign: true };

    fn left(target: &str, strip: Strip) -> (String, Removed) {
        let mut uri = target.parse().unwrap();
        let removed = remove(&mut uri, &mut HeaderMap::new(), strip);
        (uri.to_string(), removed)
    }

    #[test]
    fn they_go_from_the_page_before_as_well() {
        let click_ids = Strip { click_ids: true, campaign: false };
        let came_from = |pages: &[&'static str], strip| {
            let mut headers = HeaderMap::new();
            pages.iter().for_each(|page| {
                headers.append(REFERER, HeaderValue::from_static(page));
            });
            let removed = remove(&mut Uri::from_static("/"), &mut headers, strip);
            let left = headers.get_all(REFERER).iter().map(|page| page.to_str().unwrap().to_owned());
            (left.collect::<Vec<_>>(), removed.click_ids, removed.campaign)
        };
        let page = "https://kz.example/p?x=%7e+&gclid=1&utm_source=n&&fb%63lid=2&y#gclid=3";
        assert_eq!(came_from(&[page], Strip::default()), (vec![page.to_owned()], false, false));
        let left = "https://kz.example/p?x=%7e+&utm_source=n&&y#gclid=3".to_owned();
        assert_eq!(came_from(&[page], click_ids), (vec![left], true, false));
        let left = "https://kz.example/p?x=%7e+&&y#gclid=3".to_owned();
        assert_eq!(came_from(&[page], ALL), (vec![left], true, true));
        let left = ["https://kz.example/", "/?a=gclid", "https://kz.example/#?gclid=1"].map(str::to_owned);
        let pages = ["https://kz.example/?yclid=1", "/?a=gclid", "https://kz.example/#?gclid=1"];
        assert_eq!(came_from(&pages, ALL), (left.to_vec(), true, false));
    }

    #[test]
    fn only_what_was_asked_for_goes() {
        let both = "/a%2Fb?x=%7e+&gclid=1&utm_source=n&fb%63lid=2&y";
        let click_ids = Strip { click_ids: true, campaign: false };
        assert_eq!(left(both, Strip::default()), (both.to_owned(), Removed::default()));
        assert_eq!(
            left(both, click_ids),
            ("/a%2Fb?x=%7e+&utm_source=n&y".to_owned(), Removed { click_ids: true, campaign: false })
        );
        assert_eq!(
            left(both, ALL),
            ("/a%2Fb?x=%7e+&y".to_owned(), Removed { click_ids: true, campaign: true })
        );
    }

    #[test]
    fn what_looks_like_one_stays() {
        for target in [
            "/",
            "/gclid=1",
            "/?",
            "/?GCLID=1&xgclid=2&gclid2=3",
            "/?erid=2Vtz&q=gclid",
            "/?u=https%3A%2F%2Fa.example%2F%3Fgclid%3D1",
            "/?a=1;gclid=2",
            "/?a=%zz",
        ] {
            assert_eq!(left(target, ALL), (target.to_owned(), Removed::default()));
        }
        assert_eq!(left("/?gclid=1", ALL).0, "/");
        assert_eq!(left("/?&gclid=1&&a", ALL).0, "/?&&a");
        assert_eq!(left("/?hsa_acc=1&gclid", ALL).0, "/");
    }

    #[test]
    fn the_browsers_list_goes_but_for_names_that_are_no_click_ids() {
        let corpora = std::env::var("KELISIM_CORPORA").unwrap_or_else(|_| "../shared/corpora".to_owned());
        let file = std::path::Path::new(&corpora).join("brave-query-filter/query-filter.json");
        let Ok(text) = std::fs::read_to_string(file) else {
            eprintln!("skipped: corpus brave-query-filter not found");
            return;
        };
        let rules: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names = rules[0]["params"].as_array().unwrap().iter().filter_map(|name| name.as_str());
        let (mut went, mut stayed) = (0, Vec::new());
        for name in names {
            match left(&format!("/p?a=%41&{name}=1&erid=2"), ALL) {
                (target, Removed { click_ids: true, .. }) => {
                    assert_eq!(target, "/p?a=%41&erid=2");
                    went += 1;
                }
                (_, Removed { .. }) => stayed.push(name.to_owned()),
            }
        }
        // Those of mail and message tools, some of which are needed for unsubscribing.
        assert_eq!((went, stayed.len()), (54, 11), "{stayed:?}");
    }

    proptest! {
        #[test]
        fn the_pairs_that_are_left_are_those_that_were_there(query in "(gclid|utm_a|erid|a|%67clid|=|&|;|%3F|%26|%3D|1|%25){0,24}") {
            let (target, _) = left(&format!("/p?{query}"), ALL);
            let kept: Vec<&str> = query
                .split('&')
                .filter(|pair| redact::key(pair.as_bytes()) == Key::Other)
                .collect();
            let removed = kept.len() < query.split('&').count();
            let expected = match (removed, kept.is_empty()) {
                (true, true) => "/p".to_owned(),
                _ => format!("/p?{}", kept.join("&")),
            };
            prop_assert_eq!(target, expected);
        }
    }
}
