//! What stands at the beginning of a journal file: who wrote it, from where on, and its wrapped keys.
//!
//! All numbers are little-endian: `magic 8 · crc32c u32 · len u32 · version u16 · 0 u16 · schema u32 · created i64 ·
//! instance u32 · number u32 · first seq u64 · node len u16 · node · keys len u32 · keys`; `keys` is one `id len u8 · id
//! · wrapped len u16 · wrapped` for each class. The checksum covers everything behind it. Pure: never touches a file,
//! never panics on any bytes. Bound: [`FILE_HEAD_BYTES`].

use super::frame::Cut;
use crate::clock::Timestamp;
use crate::record::{Class, SCHEMA_VERSION};
use crate::seal::{KeyClass, KeyId};

/// First bytes of every journal file.
pub const MAGIC: [u8; 8] = *b"KELISIM\x01";
/// Version of this layout; 1 was not sealed.
pub const VERSION: u16 = 2;
/// Largest file header in bytes.
pub const FILE_HEAD_BYTES: usize = 64 << 10;

/// A data key as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// What wraps it, and the class that it seals.
    pub id: KeyId,
    /// Nonce, ciphertext and tag.
    pub wrapped: Vec<u8>,
}

/// What stands at the head of a journal file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// When the file was begun.
    pub created: Timestamp,
    /// Number of the process that wrote it; never given twice in one data folder.
    pub instance: u32,
    /// Number of the file within its instance, from 0.
    pub number: u32,
    /// `seq` of its first record.
    pub first_seq: u64,
    /// Version of the column table.
    pub schema: u32,
    /// Name of the gateway.
    pub node: Vec<u8>,
    /// One key for each class.
    pub keys: Vec<WrappedKey>,
}

impl FileHead {
    /// The head of a new file.
    #[must_use]
    pub fn new(created: Timestamp, (instance, number): (u32, u32), first_seq: u64, node: &str) -> Self {
        let node = node.as_bytes().iter().copied().take(NODE_BYTES).collect();
        Self { created, instance, number, first_seq, schema: SCHEMA_VERSION as u32, node, keys: Vec::new() }
    }

    /// Appends the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.schema.to_le_bytes());
        out.extend_from_slice(&self.created.as_micros().to_le_bytes());
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&(self.node.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.node);
        let keys = out.len();
        out.extend_from_slice(&[0; 4]);
        self.keys.iter().for_each(|key| put_key(key, out));
        let keys_len = (out.len() - keys - 4) as u32;
        out[keys..keys + 4].copy_from_slice(&keys_len.to_le_bytes());
        let len = (out.len() - start - 16) as u32;
        out[start + 12..start + 16].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c::crc32c(&out[start + 12..]);
        out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    /// The head at the beginning of these bytes, and its length; `None` when there is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut cut = Cut(bytes);
        if cut.take::<8>()? != MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(cut.take()?);
        let len = usize::try_from(u32::from_le_bytes(cut.take()?)).ok()?;
        let checked = bytes.get(12..len.checked_add(16).filter(|l| *l <= FILE_HEAD_BYTES)?)?;
        if crc32c::crc32c(checked) != crc {
            return None;
        }
        let mut cut = Cut(&checked[4..]);
        if u16::from_le_bytes(cut.take()?) != VERSION {
            return None;
        }
        cut.take::<2>()?;
        let schema = u32::from_le_bytes(cut.take()?);
        let created = Timestamp::from_micros(i64::from_le_bytes(cut.take()?));
        let instance = u32::from_le_bytes(cut.take()?);
        let number = u32::from_le_bytes(cut.take()?);
        let first_seq = u64::from_le_bytes(cut.take()?);
        let node_len = usize::from(u16::from_le_bytes(cut.take()?));
        let node = cut.bytes(node_len)?.to_vec();
        let keys_len = usize::try_from(u32::from_le_bytes(cut.take()?)).ok()?;
        let keys = keys_of(cut.bytes(keys_len)?);
        Some((Self { created, instance, number, first_seq, schema, node, keys }, len + 16))
    }

    /// The key of a class.
    #[must_use]
    pub fn key(&self, class: Class) -> Option<&WrappedKey> {
        self.keys.iter().find(|key| key.id.class == KeyClass::from(class))
    }
}

fn put_key(key: &WrappedKey, out: &mut Vec<u8>) {
    let id = key.id.to_string();
    // An id has at most `KeyId::MAX_TEXT` bytes; a provider wraps 32 bytes into some more.
    out.push(id.len() as u8);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&(key.wrapped.len() as u16).to_le_bytes());
    out.extend_from_slice(&key.wrapped);
}

/// The keys of a key area; those of classes that this version does not know are left out.
fn keys_of(area: &[u8]) -> Vec<WrappedKey> {
    let (mut cut, mut keys) = (Cut(area), Vec::new());
    while let Some([id_len]) = cut.take() {
        let Some(id) = cut.bytes(usize::from(id_len)) else { break };
        let Some(wrapped) = cut.take().and_then(|len| cut.bytes(usize::from(u16::from_le_bytes(len)))) else {
            break;
        };
        if let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
            keys.push(WrappedKey { id, wrapped: wrapped.to_vec() });
        }
    }
    keys
}

/// Longest node name in bytes.
const NODE_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seal::Day;

    #[test]
    fn a_file_head_comes_back_with_its_keys() {
        let mut head = FileHead::new(Timestamp::from_secs(7), (3, 9), 77, "edge-1");
        let id = |class| KeyId { class, day: Day::of(head.created), generation: 4 };
        head.keys = [KeyClass::Clear, KeyClass::Ads]
            .map(|c| WrappedKey { id: id(c), wrapped: vec![c as u8; 60] })
            .into();
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        let len = bytes.len();
        bytes.extend_from_slice(&[0; 64]);
        assert_eq!(FileHead::decode(&bytes), Some((head.clone(), len)));
        assert_eq!(head.key(Class::Ads).map(|key| key.wrapped[0]), Some(4));
        assert_eq!(head.key(Class::Sec), None);
    }

    #[test]
    fn a_key_of_an_unknown_class_is_passed_over() {
        let known = WrappedKey { id: "sec/2026-11-22#0".parse().expect("an id"), wrapped: vec![1; 3] };
        let mut area = b"\x10new/2026-11-22#0\x02\x00xx".to_vec();
        put_key(&known, &mut area);
        assert_eq!(keys_of(&area), [known]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
            let _ = FileHead::decode(&bytes);
            let _ = keys_of(&bytes);
        }
    }
}
