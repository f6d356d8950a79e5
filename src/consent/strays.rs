//! Copies of our own cookie that somebody else set under another path or domain.
//!
//! Ours is host-only with the path `/`. A copy beside it contradicts every new choice on the pages where it is sent, and a
//! browser tells neither path nor domain of what it sends: so a new choice expires the name wherever a page of the
//! visitor's way could have set it. Never touches our own scope. Bounds: those that the caller sets, [`MAX_PATHS`] paths.

use http::{HeaderMap, HeaderValue, header};
use smallvec::SmallVec;

use super::endpoints::OwnRequest;
use super::record::COOKIE;
use super::return_path;
use crate::cookies::expire;
use crate::ingress::host;

/// The fields that expire stray copies: at the ancestors of the page that sent the choice, of the one to return to, and
/// of our own address.
pub(super) fn expired(
    request: &OwnRequest<'_>,
    prefix: &str,
    back: Option<&str>,
    limits: expire::Limits,
) -> SmallVec<[HeaderValue; 4]> {
    let page = referer(request.headers, request.authority);
    let back = back.and_then(return_path::sanitise);
    let own = format!("{prefix}{}", request.path);
    let pages = [page, back.as_deref(), Some(&own)];
    let mut paths: SmallVec<[&str; MAX_PATHS]> = SmallVec::new();
    for path in pages.into_iter().flatten().flat_map(ancestors) {
        if paths.len() < MAX_PATHS && !paths.contains(&path) {
            paths.push(path);
        }
    }
    let host = host::parse(request.authority.as_bytes()).and_then(|name| str::from_utf8(name).ok());
    expire::elsewhere(COOKIE, paths.into_iter(), host.unwrap_or_default(), request.secure, limits)
}

/// The path of the page that sent this request, if it is of this site.
fn referer<'a>(headers: &'a HeaderMap, authority: &str) -> Option<&'a str> {
    let page = headers.get(header::REFERER)?.to_str().ok()?;
    let rest = page.strip_prefix("https://").or_else(|| page.strip_prefix("http://"))?;
    let (named, path) = rest.split_at(rest.find('/')?);
    named.eq_ignore_ascii_case(authority).then_some(path)
}

/// Every path below `/` under which a page at this address would be sent a cookie, the shortest first.
fn ancestors(page: &str) -> impl Iterator<Item = &str> {
    let path = page.split(['?', '#']).next().unwrap_or_default();
    let cuts = path.match_indices('/').skip(1).flat_map(|(at, _)| [at, at + 1]);
    cuts.chain([path.len()]).filter(|cut| *cut > 1).map(|cut| &path[..cut])
}

/// Most paths that are looked at.
pub(super) const MAX_PATHS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_are_those_that_a_browser_would_match() {
        let all = |page: &'static str| ancestors(page).collect::<Vec<_>>();
        assert_eq!(all("/shop/item?x=/y"), ["/shop", "/shop/", "/shop/item"]);
        assert_eq!(all("/a/b/"), ["/a", "/a/", "/a/b", "/a/b/", "/a/b/"]);
        assert_eq!(all("/"), Vec::<&str>::new());
        assert_eq!(all(""), Vec::<&str>::new());
    }

    #[test]
    fn only_a_page_of_this_site_counts() {
        let of = |page: &'static str| {
            let headers = HeaderMap::from_iter([(header::REFERER, HeaderValue::from_static(page))]);
            referer(&headers, "kz.example").map(ToOwned::to_owned)
        };
        assert_eq!(of("https://KZ.example/shop/a?b").as_deref(), Some("/shop/a?b"));
        for other in
            ["https://kz.example.evil/shop", "https://kz.example", "kz.example/shop", "https://a@kz.example/"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
