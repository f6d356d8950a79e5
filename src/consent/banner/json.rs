//! JSON as consent banners write it, within bounds.
//!
//! A key that stands twice, more than [`MAX_DEPTH`] levels or [`super::text::MAX_ITEMS`] keys and items make no document:
//! readers differ about the first, and no banner writes the others. Never recurses deeper than that. Bound: those, and
//! the value's length.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::text::MAX_ITEMS;

/// A JSON value. Numbers and the three words are kept as text: only their spelling is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// `true`, `false`, `null` or a number.
    Word(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object, in its order.
    Map(Vec<(String, Self)>),
}

impl Json {
    /// Reads a whole text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let left = Cell::new(MAX_ITEMS);
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Seed { depth: 0, left: &left }.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(value)
    }

    /// The value of a key of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A string, number, `true` or `false` as text.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl Seed<'_> {
    fn take<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("too many items"))?;
        self.left.set(left);
        Ok(())
    }

    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Word("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Word(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Word(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Word(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Word(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let seed = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            self.take()?;
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Json, A::Error> {
        let seed = self.below()?;
        let mut map: Vec<(String, Json)> = Vec::new();
        while let Some(key) = pairs.next_key::<String>()? {
            self.take()?;
            if map.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom("a key twice"));
            }
            let value = pairs.next_value_seed(seed)?;
            map.push((key, value));
        }
        Ok(Json::Map(map))
    }
}

/// Most levels of arrays and objects.
pub(super) const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_keep_their_spelling() {
        let json = Json::parse(r#"{"a":[1,-2,true,null,"x"],"b":{"c":1718103120}}"#).unwrap();
        let words: Vec<_> = match json.get("a").unwrap() {
            Json::List(list) => list.iter().map(|item| item.word().unwrap()).collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(words, ["1", "-2", "true", "null", "x"]);
        assert_eq!(json.get("b").and_then(|b| b.get("c")).and_then(Json::word), Some("1718103120"));
        assert_eq!(json.get("b").and_then(Json::word), None);
    }

    #[test]
    fn what_readers_could_take_differently_is_no_document() {
        for bad in ["", "{", "{} x", r#"{"a":1,"a":1}"#, "{'a':1}", "{a:1}", "[1,]", "\u{feff}{}", "truex"] {
            assert_eq!(Json::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn bounds_hold() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(MAX_DEPTH)).is_some());
        assert_eq!(Json::parse(&nested(MAX_DEPTH + 1)), None);
        let list = |items: usize| format!("[{}]", vec!["0"; items].join(","));
        assert!(Json::parse(&list(MAX_ITEMS)).is_some());
        assert_eq!(Json::parse(&list(MAX_ITEMS + 1)), None);
        // Keys and items count together.
        let both = |items: usize| format!("{{\"a\":{}}}", list(items));
        assert!(Json::parse(&both(MAX_ITEMS - 1)).is_some());
        assert_eq!(Json::parse(&both(MAX_ITEMS)), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_json_to_others_too(text in "[\\[\\]{}:,\"a0tru e]{0,40}") {
            if Json::parse(&text).is_some() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
