//! Values that outlive their row, and their form as keys of a map.
//!
//! A key is the value's bytes without its type, which the column knows: so a map can be asked with a borrowed row and
//! nothing is allocated for a key that is known. Bound: the value.

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::record::Value;
use crate::record::event::Type;

/// A value that owns its bytes; a list's items are texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnedValue {
    /// A number.
    U64(u64),
    /// A time.
    Time(Timestamp),
    /// Yes or no.
    Bool(bool),
    /// An IP address.
    Address(IpAddr),
    /// Bytes that are usually UTF-8.
    Text(Box<[u8]>),
}

impl OwnedValue {
    /// The value as a row would show it.
    #[must_use]
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::U64(n) => Value::U64(*n),
            Self::Time(t) => Value::Time(*t),
            Self::Bool(b) => Value::Bool(*b),
            Self::Address(ip) => Value::Address(*ip),
            Self::Text(text) => Value::Text(text),
        }
    }

    /// The value whose key this is, in a column of that type.
    pub(super) fn from_key(ty: Type, key: Box<[u8]>) -> Self {
        let number = key.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let address = <[u8; 16]>::try_from(&*key).map(|octets| IpAddr::from(octets).to_canonical());
        match (ty, number, address) {
            (Type::U64, Some(n), _) => Self::U64(n),
            (Type::Time, Some(n), _) => Self::Time(Timestamp::from_micros(n.cast_signed())),
            (Type::Bool, Some(n), _) => Self::Bool(n != 0),
            (Type::Address, _, Ok(ip)) => Self::Address(ip),
            _ => Self::Text(key),
        }
    }
}

/// Redacted, as a row's value is.
impl std::fmt::Debug for OwnedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_value().fmt(f)
    }
}

/// Hands the key of a value to `then`; a list is handed as it is encoded, so give its items instead.
pub(super) fn with_key<T>(value: &Value<'_>, then: impl FnOnce(&[u8]) -> T) -> T {
    match value {
        Value::U64(n) => then(&n.to_le_bytes()),
        Value::Time(t) => then(&t.as_micros().to_le_bytes()),
        Value::Bool(b) => then(&u64::from(*b).to_le_bytes()),
        Value::Address(IpAddr::V4(ip)) => then(&ip.to_ipv6_mapped().octets()),
        Value::Address(IpAddr::V6(ip)) => then(&ip.octets()),
        Value::Text(text) => then(text),
        Value::List(list) => then(list.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_from_its_key() {
        let values = [
            (Type::U64, OwnedValue::U64(u64::MAX)),
            (Type::Time, OwnedValue::Time(Timestamp::from_micros(-5))),
            (Type::Bool, OwnedValue::Bool(true)),
            (Type::Address, OwnedValue::Address(IpAddr::from([10, 1, 2, 3]))),
            (Type::Address, OwnedValue::Address(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]))),
            (Type::Text, OwnedValue::Text(Box::from(&b"sixteen bytes!!!"[..]))),
        ];
        for (ty, value) in values {
            let back = with_key(&value.as_value(), |key| OwnedValue::from_key(ty, Box::from(key)));
            assert!(back == value, "{value:?}");
        }
    }
}
