//! The page that a request came from, as it may be recorded: its origin, and its path as the path of a request is.
//!
//! A page of a site that is served here has that site's templates, any other page the cuts that hold without one. Never
//! keeps user info, query or fragment. Pure. Bound: the field.

use std::borrow::Cow;

use super::redact::{self, Page};
use super::route::Routes;

/// A page that a request came from.
pub struct Referrer<'a> {
    /// Its origin.
    pub origin: &'a [u8],
    /// Its origin, and of its path what may be recorded.
    pub page: Cow<'a, [u8]>,
}

impl<'a> Referrer<'a> {
    /// What a `Referer` says; `None` if it is not the address of a page. `routes` tells the templates of a `host[:port]`
    /// that is served here.
    pub fn of<'r>(url: &'a [u8], routes: impl FnOnce(&[u8]) -> Option<&'r Routes>) -> Option<Self> {
        let Page { origin, authority, path } = redact::page(url)?;
        let recorded = match routes(authority) {
            Some(routes) => routes.recorded(path).1,
            None => redact::path(path),
        };
        let page = match recorded {
            Cow::Borrowed(path) => Cow::Borrowed(&url[..origin.len() + path.len()]),
            Cow::Owned(path) => Cow::Owned([origin, &path].concat()),
        };
        Some(Self { origin, page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is recorded where `kz.example` has a template.
    fn recorded(url: &str) -> Option<String> {
        let routes = Routes::new(vec!["/user/{id}".to_owned()]);
        let referrer = Referrer::of(url.as_bytes(), |host| (host == b"kz.example").then_some(&routes))?;
        assert!(referrer.page.starts_with(referrer.origin));
        Some(String::from_utf8(referrer.page.into_owned()).unwrap())
    }

    #[test]
    fn a_path_is_kept_as_that_of_a_request_is() {
        let hex = "0123456789abcdef0123456789abcdef";
        for (url, kept) in [
            ("https://kz.example/user/4711?a=1#b".to_owned(), "https://kz.example/user/~"),
            ("https://kz.example/users/4711".to_owned(), "https://kz.example/users/4711"),
            ("https://a.example/user/4711".to_owned(), "https://a.example/user/4711"),
            ("http://a.example:8080/reset/ivan%40mail.example".to_owned(), "http://a.example:8080/reset/~"),
            (format!("https://a.example/t/{hex}/x"), "https://a.example/t/~/x"),
            ("https://kz.example".to_owned(), "https://kz.example"),
            ("https://kz.example?ivan@mail.example".to_owned(), "https://kz.example"),
        ] {
            assert_eq!(recorded(&url).as_deref(), Some(kept));
        }
    }

    #[test]
    fn what_names_a_user_or_is_no_page_is_not_kept() {
        for url in ["https://ivan:pw@kz.example/a", "https://ivan@kz.example", "/user/1", "about:client", ""]
        {
            assert_eq!(recorded(url), None, "{url}");
        }
    }
}
