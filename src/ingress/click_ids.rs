//! Click ids and campaign parameters in the URL that the site gets: removed only where the configuration asks for it.
//!
//! Signed URLs, logins by redirect and payment callbacks break when a query changes, so the default is to pass it on; with
//! consent to advertising it always passes. A key counts when it is one exactly, after percent-decoding. All other pairs
//! keep their bytes, order and encoding, whatever URLs their values hold. Never touches the path. Bound: the target.

use bytes::{BufMut as _, BytesMut};
use http::Uri;
use http::uri::PathAndQuery;

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

/// Removes them from an origin-form target.
pub fn remove(uri: &mut Uri, strip: Strip) -> Removed {
    let mut removed = Removed::default();
    if !strip.click_ids && !strip.campaign {
        return removed;
    }
    let Some(query) = uri.query() else { return removed };
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
    if !query.as_bytes().split(|&b| b == b'&').fold(false, |any, pair| goes(pair) | any) {
        return removed;
    }
    let mut target = BytesMut::with_capacity(uri.path().len() + 1 + query.len());
    target.put_slice(uri.path().as_bytes());
    let mut next = b'?';
    for pair in query.as_bytes().split(|&b| b == b'&').filter(|pair| !goes(pair)) {
        target.put_u8(next);
        target.put_slice(pair);
        next = b'&';
    }
    // Parts of a target are a target.
    if let Ok(target) = PathAndQuery::from_maybe_shared(target.freeze()) {
        *uri = target.into();
    }
    removed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Strip = Strip { click_ids: true, campaign: true };

    fn left(target: &str, strip: Strip) -> (String, Removed) {
        let mut uri = target.parse().unwrap();
        let removed = remove(&mut uri, strip);
        (uri.to_string(), removed)
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
