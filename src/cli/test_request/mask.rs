//! What is shown of values: lengths and networks, unless the operator asks for more.
//!
//! So that a report can be passed on. Names are always shown, escaped. Bound: the value.

use std::net::IpAddr;

use crate::cli::logs::escape::push_text;
use crate::identify::ClientAddress;

/// Whether values are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    /// They are.
    pub(super) show: bool,
}

impl Mask {
    /// A secret: its length, or itself.
    pub(super) fn secret(self, value: &[u8]) -> String {
        if self.show { text(value) } else { hidden(value) }
    }

    /// An address: its network, or itself.
    pub(super) fn address(self, ip: IpAddr) -> String {
        if self.show { ip.to_string() } else { ClientAddress::from_resolved(ip).masked().to_string() }
    }

    /// The value of a header field.
    pub(super) fn field(self, name: &str, value: &[u8]) -> String {
        match name {
            _ if self.show => text(value),
            "cookie" => {
                let pairs = value.split(|byte| *byte == b';').map(|piece| self.pair(piece.trim_ascii()));
                pairs.collect::<Vec<_>>().join("; ")
            }
            "set-cookie" => self.set_cookie(value),
            _ if SECRET_FIELDS.contains(&name) => hidden(value),
            _ => text(value),
        }
    }

    /// The value of a `Set-Cookie` field: what the cookie holds is hidden, its attributes are not.
    pub(super) fn set_cookie(self, value: &[u8]) -> String {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (pair, attributes) = value.split_at(end);
        if self.show { text(value) } else { format!("{}{}", self.pair(pair), text(attributes)) }
    }

    /// A piece without `=` is a value that lacks a name.
    fn pair(self, piece: &[u8]) -> String {
        match memchr::memchr(b'=', piece) {
            Some(at) => format!("{}={}", text(&piece[..at]), self.secret(&piece[at + 1..])),
            None => self.secret(piece),
        }
    }
}

/// Text that no terminal obeys.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    push_text(&mut out, bytes);
    out
}

fn hidden(value: &[u8]) -> String {
    match value.len() {
        0 => String::new(),
        1 => "<1 byte>".to_owned(),
        n => format!("<{n} bytes>"),
    }
}

/// Fields that hold credentials or addresses.
const SECRET_FIELDS: [&str; 11] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-csrf-token",
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "client-ip",
    "x-client-ip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_and_names_are_not() {
        let mask = Mask { show: false };
        assert_eq!(
            mask.field("cookie", b"a=secret; secret;b= 12;c="),
            "a=<6 bytes>; <6 bytes>; b=<3 bytes>; c="
        );
        assert_eq!(mask.field("set-cookie", b"v=secret; Path=/; HttpOnly"), "v=<6 bytes>; Path=/; HttpOnly");
        assert_eq!(mask.field("authorization", b"Bearer x"), "<8 bytes>");
        assert_eq!(mask.field("accept", b"a\x1b[2J"), "a\\x1b[2J");
        assert_eq!(mask.address("203.0.113.9".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(Mask { show: true }.field("cookie", b"a=secret"), "a=secret");
    }
}
