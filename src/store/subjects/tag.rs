//! Tags: keyed hashes that stand for a person's identifiers.
//!
//! `HMAC(K-subject, kind ‖ identifier)`, cut to 96 bits. The key is kept as long as rows tagged with it may exist, so an
//! identifier has a tag for each of its versions. Without the key nobody can try identifiers against tags. Never holds an
//! identifier longer than it takes to hash it. Bound: [`ACCOUNT_BYTES`] of an identifier.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::record::event::ACCOUNT_BYTES;
use crate::record::wire::octets;
use crate::seal::{KeyError, KeyProvider, Lasting};

/// Bytes of the hash in a tag.
pub const HASH_BYTES: usize = 12;

/// Stands for one identifier of a person; shown as `1-Zm9vYmFyYmF6cXV4`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// Version of K-subject.
    pub version: u32,
    /// The hash.
    pub hash: [u8; HASH_BYTES],
}

/// Versions of K-subject that are looked for.
const MOST_VERSIONS: u32 = 1000;

/// By what a record is linked to a person.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Identifier<'a> {
    /// The visitor's address.
    Address(IpAddr),
    /// The id in the visitor cookie.
    Visitor([u8; 16]),
    /// What the site named as the account; bytes, without white space around them.
    Account(&'a [u8]),
}

impl Identifier<'_> {
    /// What is hashed: its kind and its bytes, in `room`; `None` for an account that is empty or too long.
    pub(super) fn text<'r>(&self, room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
        match self {
            Self::Address(ip) => text(Kind::Address, &octets(ip.to_canonical()), room),
            Self::Visitor(id) => text(Kind::Visitor, id, room),
            Self::Account(account) => text(Kind::Account, account, room),
        }
    }
}

/// The first byte of what is hashed, so that kinds do not meet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Address = b'a',
    Visitor = b'v',
    Account = b'c',
}

/// Redacted: it is a person's.
impl fmt::Debug for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address(_) => "Address(..)",
            Self::Visitor(_) => "Visitor(..)",
            Self::Account(_) => "Account(..)",
        })
    }
}

/// Makes tags.
pub struct Tagger {
    /// Every version, the newest last; never empty.
    keys: Vec<(u32, hmac::Key)>,
}

impl Tagger {
    /// With every version of K-subject; the first one is made when there is none.
    ///
    /// # Errors
    /// When the provider cannot give it.
    pub fn new(provider: &dyn KeyProvider) -> Result<Self, KeyError> {
        let versions = provider.lasting(Lasting::Subject)?;
        let keys: Vec<_> =
            versions.iter().map(|v| (v.number, hmac::Key::new(hmac::HMAC_SHA256, v.key.bytes()))).collect();
        if keys.is_empty() {
            Err(KeyError::NoVersion(Lasting::Subject.label(), 1))
        } else {
            Ok(Self { keys })
        }
    }

    /// The versions that are missing: tags that were made with them can be made of nobody any more.
    #[must_use]
    pub fn lost(&self) -> Vec<u32> {
        let newest = self.keys.last().map_or(0, |(version, _)| *version);
        // Whoever puts a file of an absurd number there gets no list of that length.
        let among = 1..newest.min(MOST_VERSIONS);
        among.filter(|version| !self.keys.iter().any(|(number, _)| number == version)).collect()
    }

    /// The tag that new records get; `None` for an account that is empty or too long.
    #[must_use]
    pub fn tag(&self, identifier: &Identifier<'_>) -> Option<Tag> {
        self.tag_of(identifier.text(&mut Vec::new())?)
    }

    /// The same, given the [text] of the identifier.
    pub(super) fn tag_of(&self, text: &[u8]) -> Option<Tag> {
        let (version, key) = self.keys.last()?;
        hash(key, text).map(|hash| Tag { version: *version, hash })
    }

    /// The tags that records may have, one for each version of the key.
    #[must_use]
    pub fn every(&self, identifier: &Identifier<'_>) -> Vec<Tag> {
        let mut room = Vec::new();
        let Some(text) = identifier.text(&mut room) else { return Vec::new() };
        let tag =
            |(version, key): &(u32, hmac::Key)| hash(key, text).map(|hash| Tag { version: *version, hash });
        self.keys.iter().filter_map(tag).collect()
    }
}

impl Tag {
    /// Appends what `Display` writes.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        // A number and 16 characters.
        let mut version = [0; 10];
        let mut left = self.version;
        let mut at = version.len();
        loop {
            at -= 1;
            version[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        out.extend_from_slice(&version[at..]);
        out.push(b'-');
        let mut text = [0; HASH_BYTES / 3 * 4];
        // The room is exactly what it needs.
        let len = URL_SAFE_NO_PAD.encode_slice(self.hash, &mut text).unwrap_or(0);
        out.extend_from_slice(&text[..len]);
    }
}

impl fmt::Debug for Tagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tagger({} versions)", self.keys.len())
    }
}

/// What is hashed of an identifier, in `room`; `None` for an account that is empty or too long. An address is 16 bytes, IPv4
/// as mapped.
pub(super) fn text<'r>(kind: Kind, identifier: &[u8], room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
    let identifier = if kind == Kind::Account { identifier.trim_ascii() } else { identifier };
    if !(1..=ACCOUNT_BYTES).contains(&identifier.len()) {
        return None;
    }
    room.clear();
    room.push(kind as u8);
    room.extend_from_slice(identifier);
    Some(room)
}

fn hash(key: &hmac::Key, text: &[u8]) -> Option<[u8; HASH_BYTES]> {
    hmac::sign(key, text).as_ref().first_chunk().copied()
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.version, URL_SAFE_NO_PAD.encode(self.hash))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let (version, hash) = text.split_once('-').ok_or(NotATag)?;
        let bytes = URL_SAFE_NO_PAD.decode(hash).map_err(|_| NotATag)?;
        let tag = Self {
            version: version.parse().map_err(|_| NotATag)?,
            hash: bytes.try_into().map_err(|_| NotATag)?,
        };
        // One spelling for each tag: they are compared as text.
        if tag.to_string() == text { Ok(tag) } else { Err(NotATag) }
    }
}

/// The text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag looks like 1-Zm9vYmFyYmF6cXV4")]
pub struct NotATag;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seal::LocalKeys;

    #[test]
    fn one_identifier_has_one_tag_for_each_version_and_others_have_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = LocalKeys::prepare(dir.path()).expect("keys");
        let address = Identifier::Address("203.0.113.7".parse().expect("an address"));
        let first = Tagger::new(&keys).expect("a key").tag(&address).expect("a tag");
        assert_eq!(keys.renew(Lasting::Subject).expect("a version"), 2);
        let tagger = Tagger::new(&keys).expect("keys");
        let every = tagger.every(&address);
        assert_eq!((every[0], every[1].version, every.len()), (first, 2, 2), "the old version is kept");
        assert_eq!(tagger.tag(&address), Some(every[1]));
        let mapped = Identifier::Address("::ffff:203.0.113.7".parse().expect("an address"));
        assert_eq!(tagger.tag(&mapped), Some(every[1]), "one spelling of an address");
        let sixteen = *b"0123456789abcdef";
        let others = [Identifier::Visitor(sixteen), Identifier::Account(&sixteen)].map(|i| tagger.tag(&i));
        assert_ne!(others[0], others[1], "kinds do not meet");
        assert_eq!(tagger.tag(&Identifier::Account(b" a ")), tagger.tag(&Identifier::Account(b"a")));
        assert_eq!(tagger.tag(&Identifier::Account(b"  ")), None);
        assert_eq!(tagger.tag(&Identifier::Account(&[b'x'; ACCOUNT_BYTES + 1])), None);
        assert!(tagger.tag(&Identifier::Account(&[b'x'; ACCOUNT_BYTES])).is_some());
        assert_eq!(format!("{address:?} {tagger:?}"), "Address(..) Tagger(2 versions)");
    }

    proptest! {
        #[test]
        fn tags_come_back(version: u32, hash: [u8; HASH_BYTES]) {
            let tag = Tag { version, hash };
            prop_assert_eq!(tag.to_string().parse(), Ok(tag));
            let mut pushed = Vec::new();
            tag.push(&mut pushed);
            prop_assert_eq!(pushed, tag.to_string().into_bytes());
        }

        #[test]
        fn any_text_is_a_tag_or_not(text: String) {
            let _ = text.parse::<Tag>();
        }
    }
}
