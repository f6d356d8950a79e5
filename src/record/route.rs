//! Templates of paths: which parts of a path name something, and which name somebody.
//!
//! `/user/{id}/orders` matches `/user/123/orders`; the record then has the template as `http.route`, and the path with
//! `~` for what the braces match. `{name*}` at the end matches one segment or more. The first template that matches
//! counts. Segments are compared after percent-decoding. Pure. Bound: [`MOST_ROUTES`] templates.

use std::borrow::Cow;

use super::redact::{self, decode};

/// Most templates of a site.
pub const MOST_ROUTES: usize = 256;

/// The templates of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    template: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    One,
    Rest,
}

impl Routes {
    /// From templates that [`check`] found right.
    #[must_use]
    pub fn new(templates: Vec<String>) -> Self {
        let route = |template: String| {
            let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(name) if name.ends_with('*') => Segment::Rest,
                Some(_) => Segment::One,
                None => Segment::Text(text.to_owned()),
            };
            Route { segments: template.split('/').map(segment).collect(), template }
        };
        Self(templates.into_iter().map(route).collect())
    }

    /// The template that a path matches, and what of the path may be recorded.
    #[must_use]
    pub fn recorded<'p>(&self, path: &'p [u8]) -> (Option<&str>, Cow<'p, [u8]>) {
        match self.0.iter().find(|route| route.matches(path)) {
            Some(route) => {
                let kept = route.without_values(path);
                (Some(&route.template), Cow::Owned(redact::path(&kept).into_owned()))
            }
            None => (None, redact::path(path)),
        }
    }
}

impl Route {
    fn matches(&self, path: &[u8]) -> bool {
        let mut given = path.split(|&b| b == b'/');
        for segment in &self.segments {
            let Some(part) = given.next() else { return false };
            match segment {
                Segment::Text(text) if *decode(part) != *text.as_bytes() => return false,
                Segment::One | Segment::Rest if part.is_empty() => return false,
                Segment::Rest => return true,
                Segment::Text(_) | Segment::One => {}
            }
        }
        given.next().is_none()
    }

    fn without_values(&self, path: &[u8]) -> Vec<u8> {
        let parts = path.split(|&b| b == b'/').zip(&self.segments).map(|(part, segment)| match segment {
            Segment::Text(_) => part,
            Segment::One | Segment::Rest => b"~",
        });
        parts.collect::<Vec<_>>().join(&b'/')
    }
}

/// Whether a template, which is a path already, has its braces where they mean something.
///
/// # Errors
/// What is wrong with it.
pub fn check(template: &str) -> Result<(), &'static str> {
    let mut segments = template.split('/').peekable();
    let mut any = false;
    while let Some(segment) = segments.next() {
        let Some(name) = segment.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            if segment.contains(['{', '}']) {
                return Err("braces hold a whole segment");
            }
            continue;
        };
        any = true;
        let plain = name.strip_suffix('*').unwrap_or(name);
        if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(
                "what stands in braces is a name of A-Z a-z 0-9 _, with `*` behind it for the rest of the path",
            );
        }
        if name.ends_with('*') && segments.peek().is_some() {
            return Err("a `*` stands in the last segment");
        }
    }
    if any { Ok(()) } else { Err("a template has braces around what varies") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(templates: &[&str], path: &str) -> Option<(String, String)> {
        let routes = Routes::new(templates.iter().map(|&t| t.to_owned()).collect());
        let (template, kept) = routes.recorded(path.as_bytes());
        Some((template?.to_owned(), String::from_utf8(kept.into_owned()).unwrap()))
    }

    #[test]
    fn what_varies_is_not_kept() {
        let templates = ["/user/{id}", "/user/{id}/orders/{order}", "/файл/{name*}"];
        for (path, template, kept) in [
            ("/user/123", 0, "/user/~"),
            ("/user/ivan%2Fb", 0, "/user/~"),
            ("/us%65r/123/orders/9", 1, "/us%65r/~/orders/~"),
            ("/файл/a/b/c", 2, "/файл/~"),
            ("/%D1%84%D0%B0%D0%B9%D0%BB/a", 2, "/%D1%84%D0%B0%D0%B9%D0%BB/~"),
        ] {
            assert_eq!(found(&templates, path), Some((templates[template].to_owned(), kept.to_owned())));
        }
        for path in ["/user", "/user/", "/user/1/", "/user/1/orders", "/User/1", "/файл/", ""] {
            assert_eq!(found(&templates, path), None, "{path}");
        }
    }

    #[test]
    fn braces_hold_whole_segments() {
        for good in ["/{a}", "/a/{b_1}/c", "/a/{rest*}"] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in ["/", "/a", "/a{b}", "/{}", "/{*}", "/{a b}", "/{a*}/b", "/{a", "/{a}/{"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_value_is_left(value in "[^/~]{1,20}") {
            let path = format!("/u/{value}/end");
            let (_, kept) = found(&["/u/{id}/end"], &path).expect("a match");
            prop_assert_eq!(kept, "/u/~/end");
        }
    }
}
