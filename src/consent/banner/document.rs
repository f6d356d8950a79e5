//! The text of a consent cookie taken apart, in one of six formats, and what stands at a path in it.
//!
//! Never says what a word means. Bound: [`MAX_ITEMS`] keys or items; above there is no document.

use super::json::Json;
use super::text::{MAX_ITEMS, Pass, first, first_form, form_part};

/// How a cookie's value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// `a=1&b=2`, each part percent-encoded.
    Form,
    /// Pairs with separators of their own.
    Pairs {
        /// Between two pairs.
        between: String,
        /// Between a key and its value.
        inside: String,
    },
    /// Members between separators.
    List {
        /// Between two members.
        between: String,
    },
    /// One word.
    Flag,
    /// A TCF string.
    Tcf,
}

/// The keys from the root to a value. The last one may be a member of a list.
pub type Path = Vec<String>;

/// A value taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    Json(Json),
    Pairs(Vec<(String, String)>),
    List(Vec<String>),
    Flag(String),
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A string, number, `true` or `false`.
    Word(String),
    /// Whether the last key is a member of the list before it.
    Member(bool),
    /// A list of that many items.
    List(usize),
    /// All but the last key are there.
    Absent,
    /// Nothing near it, or what cannot be compared.
    Nothing,
}

impl Document {
    /// Takes a value apart. `known` are the paths that are looked for: where a format cannot fail, a text with none of
    /// them makes no sense as long as it can be decoded once more.
    pub(super) fn read(format: &Format, value: &[u8], known: &[&Path]) -> Option<Self> {
        let parse = |text: &str, pass: Pass| {
            let document = Self::parse(format, text)?;
            let senseless = pass == Pass::First
                && !matches!(document, Self::Json(_) | Self::Flag(_))
                && !known.iter().any(|path| match document.find(path) {
                    Found::Word(word) => !word.contains('%'),
                    found => found == Found::Member(true),
                });
            (!senseless).then_some(document)
        };
        match format {
            Format::Form => first_form(value, parse),
            // A flag is one word: what is still encoded is not it.
            Format::Flag => first(value, |text, pass| {
                (pass == Pass::Last || !text.contains('%')).then(|| Self::Flag(text.to_owned()))
            }),
            _ => first(value, parse),
        }
    }

    fn parse(format: &Format, text: &str) -> Option<Self> {
        match format {
            Format::Json => Json::parse(text).map(Self::Json),
            Format::Form => {
                let pairs = pieces(text, "&")?.into_iter().map(|piece| {
                    let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
                    Some((form_part(key)?, form_part(value)?))
                });
                pairs.collect::<Option<_>>().map(Self::Pairs)
            }
            Format::Pairs { between, inside } => {
                let pairs = pieces(text, between)?.into_iter().map(|piece| {
                    let (key, value) = piece.split_once(inside.as_str()).unwrap_or((piece, ""));
                    (key.trim().to_owned(), value.trim().to_owned())
                });
                Some(Self::Pairs(pairs.collect()))
            }
            Format::List { between } => {
                let members = pieces(text, between)?.into_iter().map(|piece| piece.trim().to_owned());
                Some(Self::List(members.collect()))
            }
            Format::Flag => Some(Self::Flag(text.to_owned())),
            Format::Tcf => None,
        }
    }

    /// What stands at a path; a flag has none and is itself what is found.
    pub(super) fn find(&self, path: &[String]) -> Found {
        match (self, path) {
            (Self::Flag(word), _) => Found::Word(word.clone()),
            (Self::List(members), [member]) => Found::Member(members.contains(member)),
            (Self::Pairs(pairs), [key]) => {
                let mut values = pairs.iter().filter(|(name, _)| name == key).map(|(_, value)| value);
                match (values.next(), values.next()) {
                    (None, _) => Found::Absent,
                    (Some(value), None) => Found::Word(value.clone()),
                    // Said twice: who can tell which is meant.
                    (Some(_), Some(_)) => Found::Nothing,
                }
            }
            (Self::Json(json), path) => walk(json, path),
            _ => Found::Nothing,
        }
    }
}

/// Walks down objects; a string that holds JSON is walked like what it holds, once.
fn walk(json: &Json, path: &[String]) -> Found {
    match (json, path) {
        (Json::Word(word) | Json::Text(word), []) => Found::Word(word.clone()),
        (Json::List(items), []) => Found::List(items.len()),
        (Json::List(items), [member]) => {
            Found::Member(items.iter().any(|item| item.word() == Some(member.as_str())))
        }
        (Json::Map(_), [key, rest @ ..]) => match json.get(key) {
            Some(below) => walk(below, rest),
            None if rest.is_empty() => Found::Absent,
            None => Found::Nothing,
        },
        (Json::Text(text), path) if text.starts_with(['[', '{']) => match Json::parse(text) {
            Some(inner) => walk(&inner, path),
            None => Found::Nothing,
        },
        _ => Found::Nothing,
    }
}

fn pieces<'t>(text: &'t str, between: &str) -> Option<Vec<&'t str>> {
    let pieces: Vec<&str> = text.split(between).filter(|p| !p.is_empty()).take(MAX_ITEMS + 1).collect();
    (pieces.len() <= MAX_ITEMS).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        text.split('.').map(ToOwned::to_owned).collect()
    }

    fn find(format: &Format, value: &str, at: &str) -> Option<Found> {
        let at = path(at);
        Some(Document::read(format, value.as_bytes(), &[&at])?.find(&at))
    }

    fn word(text: &str) -> Option<Found> {
        Some(Found::Word(text.into()))
    }

    #[test]
    fn json_is_walked_by_keys_and_members() {
        let text = r#"{"a":{"b":["x","y"]},"c":true,"d":"[\"z\"]","e":[]}"#;
        for (at, found) in [
            ("c", Found::Word("true".into())),
            ("a.b.x", Found::Member(true)),
            ("a.b.z", Found::Member(false)),
            ("a.b", Found::List(2)),
            ("d.z", Found::Member(true)),
            ("e", Found::List(0)),
            ("a.q", Found::Absent),
            ("q", Found::Absent),
            ("q.b", Found::Nothing),
            ("a", Found::Nothing),
            ("c.b", Found::Nothing),
            ("a.b.x.y", Found::Nothing),
        ] {
            assert_eq!(find(&Format::Json, text, at), Some(found), "{at}");
        }
    }

    #[test]
    fn text_in_text_is_opened_only_so_often_as_the_path_asks() {
        // The inner string of a string is walked again, but each step needs a key.
        assert_eq!(find(&Format::Json, r#""{\"a\":\"{\\\"b\\\":1}\"}""#, "a.b"), word("1"));
        assert_eq!(find(&Format::Json, r#""[broken""#, "a"), Some(Found::Nothing));
    }

    #[test]
    fn pairs_lists_and_flags() {
        let pairs = Format::Pairs { between: ",".into(), inside: ":".into() };
        assert_eq!(find(&pairs, "a:1, b:2:3,c", "b"), word("2:3"));
        assert_eq!(find(&pairs, "a:1,c", "c"), word(""));
        assert_eq!(find(&pairs, "a:1,a:2", "a"), Some(Found::Nothing));
        assert_eq!(find(&pairs, "a%3A1%2Cb%3A2", "b"), word("2"));
        assert_eq!(find(&pairs, "a%253A1%252Cb%253A2", "b"), word("2"));
        let list = Format::List { between: "|".into() };
        assert_eq!(find(&list, "x|y", "y"), Some(Found::Member(true)));
        assert_eq!(find(&list, "x%257Cy", "y"), Some(Found::Member(true)));
        assert_eq!(find(&list, "x%7Cy", "z"), Some(Found::Member(false)));
        assert_eq!(find(&Format::Flag, "allow", "-"), word("allow"));
        assert_eq!(find(&Format::Flag, "all%256Fw", "-"), word("allow"));
    }

    #[test]
    fn a_form_is_taken_apart_before_it_is_decoded() {
        assert_eq!(find(&Format::Form, "a=1%262&b=x+y", "a"), word("1&2"));
        assert_eq!(find(&Format::Form, "a=1%262&b=x+y", "b"), word("x y"));
        assert_eq!(find(&Format::Form, "a%3D1%26b%3D2%252C3", "b"), word("2,3"));
        assert_eq!(find(&Format::Form, "a=1&b=%zz", "a"), None, "one bad escape spoils it all");
    }

    #[test]
    fn too_many_pieces_are_no_document() {
        let pairs = Format::Pairs { between: ",".into(), inside: ":".into() };
        let text = |n: usize| (0..n).map(|i| format!("k{i}:1")).collect::<Vec<_>>().join(",");
        assert_eq!(find(&pairs, &text(MAX_ITEMS), "k0"), word("1"));
        assert_eq!(find(&pairs, &text(MAX_ITEMS + 1), "k0"), None);
    }
}
