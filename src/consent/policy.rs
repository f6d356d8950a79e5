//! The versions of the policy that a site publishes.
//!
//! A version has an id, a moment from which it is in force, and its text in one or more languages, rendered once at
//! start. Never judges a text. Bound: what the configuration names.

use std::fmt;

use ring::digest::{Context, SHA256};

use super::markdown;
use crate::clock::Timestamp;
use crate::config;

/// Id of a policy version: 1 to 32 of `[A-Za-z0-9-]`, held inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionId {
    length: u8,
    bytes: [u8; Self::MAX_BYTES],
}

impl VersionId {
    /// Longest id in bytes.
    pub const MAX_BYTES: usize = 32;

    /// `0`: the site has no policy in force.
    pub const NONE: Self = {
        let mut bytes = [0; Self::MAX_BYTES];
        bytes[0] = b'0';
        Self { length: 1, bytes }
    };

    /// The id, if the text is one.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let good = !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.get_mut(..text.len()).filter(|_| good)?.copy_from_slice(text);
        Some(Self { length: u8::try_from(text.len()).ok()?, bytes })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so the fallback is never taken.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("0")
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All versions of one site; may be empty.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    versions: Vec<Version>,
    default_language: String,
}

/// One version in all its languages.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its id.
    pub id: VersionId,
    /// First moment in force: that of its last language, should they differ.
    pub effective: Timestamp,
    /// SHA-256 over the texts of all languages, one after the other in the order of their tags, as 64 hex digits. For
    /// one language it is the hash of its file.
    pub hash: String,
    /// Whether choices for earlier versions end with it.
    pub reconsent: bool,
    documents: Vec<Document>,
    /// The texts as they were hashed.
    source: String,
}

/// One version in one language.
#[derive(Clone, Debug)]
pub struct Document {
    /// Language tag.
    pub language: String,
    /// The text as safe HTML.
    pub html: String,
}

impl Policies {
    /// Renders and hashes what the configuration holds. Entries whose id is not one are left out: `config` has refused
    /// them before.
    #[must_use]
    pub fn new(policy: Option<&config::Policy>) -> Self {
        let Some(policy) = policy else { return Self::default() };
        let mut versions: Vec<(VersionId, Vec<&config::PolicyVersion>)> = Vec::new();
        for entry in &policy.versions {
            let Some(id) = VersionId::parse(entry.id.as_bytes()) else { continue };
            match versions.iter_mut().find(|(known, _)| *known == id) {
                Some((_, entries)) => entries.push(entry),
                None => versions.push((id, vec![entry])),
            }
        }
        Self {
            versions: versions.into_iter().map(|(id, entries)| Version::new(id, entries)).collect(),
            default_language: policy.default_language.clone(),
        }
    }

    /// The version in force: of those whose time has come, the latest; of equals, the later in the file.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Option<&Version> {
        self.versions.iter().filter(|v| v.effective <= now).max_by_key(|v| v.effective)
    }

    /// Whether a choice for a version still counts: it is the one in force, or no version since has asked anew.
    #[must_use]
    pub fn still_counts(&self, id: &VersionId, now: Timestamp) -> bool {
        let mut current = self.in_force(now);
        // Each step goes to an earlier version, so the number of versions is the bound.
        for _ in 0..self.versions.len() {
            match current {
                Some(version) if version.id == *id => return true,
                Some(version) if !version.reconsent => current = self.before(version),
                _ => return false,
            }
        }
        false
    }

    /// The version that was in force just before another came.
    fn before(&self, version: &Version) -> Option<&Version> {
        let place = |v: &Version| self.versions.iter().position(|other| other.id == v.id);
        let key = |v: &Version| (v.effective, place(v));
        self.versions.iter().filter(|v| key(v) < key(version)).max_by_key(|v| key(v))
    }

    /// Id of the version in force, [`VersionId::NONE`] if there is none.
    #[must_use]
    pub fn version_in_force(&self, now: Timestamp) -> VersionId {
        self.in_force(now).map_or(VersionId::NONE, |v| v.id)
    }

    /// The version of that id, in force or not.
    #[must_use]
    pub fn get(&self, id: &VersionId) -> Option<&Version> {
        self.versions.iter().find(|v| v.id == *id)
    }

    /// All versions, in the order of the file.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// A version's text in a language; else in the site's language; else in any.
    #[must_use]
    pub fn document<'a>(&self, version: &'a Version, language: &str) -> Option<&'a Document> {
        version
            .language(language)
            .or_else(|| version.language(&self.default_language))
            .or_else(|| version.documents.first())
    }
}

impl Version {
    fn new(id: VersionId, mut entries: Vec<&config::PolicyVersion>) -> Self {
        // Stable, so that the hash does not depend on the order in the configuration.
        entries.sort_by(|a, b| a.language.cmp(&b.language));
        let mut hash = Context::new(&SHA256);
        for entry in &entries {
            hash.update(entry.text.as_bytes());
        }
        let hash = hash.finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            for digit in [byte >> 4, byte & 15] {
                hex.extend(char::from_digit(u32::from(digit), 16));
            }
            hex
        });
        let effective = entries.iter().map(|entry| entry.effective).max().unwrap_or(i64::MAX);
        let documents = entries
            .iter()
            .map(|entry| Document { language: entry.language.clone(), html: markdown::to_html(&entry.text) })
            .collect();
        let reconsent = entries.iter().any(|entry| entry.reconsent);
        let source = entries.iter().map(|entry| entry.text.as_str()).collect();
        Self { id, effective: Timestamp::from_secs(effective), hash, reconsent, documents, source }
    }

    /// The text of which [`Self::hash`] is the hash.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    fn language(&self, tag: &str) -> Option<&Document> {
        self.documents.iter().find(|d| d.language == tag)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::consent) fn policy(versions: &[(&str, &str, i64, &str)]) -> config::Policy {
        config::Policy {
            versions: versions
                .iter()
                .map(|&(id, language, effective, text)| config::PolicyVersion {
                    id: id.into(),
                    text: text.into(),
                    language: language.into(),
                    effective,
                    reconsent: true,
                })
                .collect(),
            gate: vec!["/register".into()],
            default_language: "kk".into(),
        }
    }

    #[test]
    fn ids_have_a_shape_and_a_length() {
        for good in ["0", "2026-11", "A-z9", &"x".repeat(32)] {
            assert_eq!(VersionId::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", "a.b", "a b", "é", "a_b", &"x".repeat(33)] {
            assert_eq!(VersionId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(VersionId::parse(b"0"), Some(VersionId::NONE));
    }

    #[test]
    fn the_latest_effective_version_is_in_force() {
        let policies = Policies::new(Some(&policy(&[
            ("b", "en", 200, "B"),
            ("a", "en", 100, "A"),
            ("c", "en", 300, "C"),
            ("d", "en", 300, "D"),
        ])));
        let at = |secs| policies.version_in_force(Timestamp::from_secs(secs)).as_str().to_owned();
        assert_eq!(
            (at(99), at(100), at(199), at(200), at(300)),
            ("0".into(), "a".into(), "a".into(), "b".into(), "d".into())
        );
        assert_eq!(Policies::new(None).version_in_force(Timestamp::from_secs(300)), VersionId::NONE);
    }

    #[test]
    fn a_version_that_asks_for_nothing_takes_over_what_was_chosen_before() {
        let mut config = policy(&[
            ("a", "en", 100, "A"),
            ("b", "en", 200, "B"),
            ("c", "en", 300, "C"),
            ("d", "en", 400, "D"),
        ]);
        config.versions[1].reconsent = false;
        config.versions[3].reconsent = false;
        let policies = Policies::new(Some(&config));
        let counts = |id: &str, at| {
            policies.still_counts(&VersionId::parse(id.as_bytes()).unwrap(), Timestamp::from_secs(at))
        };
        assert!(counts("a", 250) && counts("b", 250), "b did not ask");
        assert!(!counts("a", 300) && !counts("b", 300) && counts("c", 300), "c did");
        assert!(counts("c", 400) && counts("d", 400) && !counts("b", 400));
        assert!(!counts("d", 399), "not in force yet");
        assert!(!counts("x", 400) && !counts("a", 50));
    }

    #[test]
    fn a_version_waits_for_all_its_languages() {
        let policies = Policies::new(Some(&policy(&[("a", "en", 100, "A"), ("a", "kk", 200, "Ә")])));
        assert!(policies.in_force(Timestamp::from_secs(150)).is_none());
        assert!(policies.in_force(Timestamp::from_secs(200)).is_some());
    }

    #[test]
    fn documents_fall_back() {
        let policies =
            Policies::new(Some(&policy(&[("a", "ru", 1, "Р"), ("a", "kk", 1, "Қ"), ("b", "fr", 2, "F")])));
        let [a, b] = policies.versions() else { panic!("two versions") };
        let language = |v, tag| policies.document(v, tag).unwrap().language.clone();
        assert_eq!(language(a, "ru"), "ru");
        assert_eq!(language(a, "en"), "kk");
        assert_eq!(language(b, "en"), "fr");
    }

    #[test]
    fn the_hash_is_over_the_texts_in_order_of_language() {
        // echo -n abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let one = Policies::new(Some(&policy(&[("a", "en", 1, "abc")])));
        assert_eq!(one.versions()[0].hash, abc);
        let two = Policies::new(Some(&policy(&[("a", "ru", 1, "c"), ("a", "kk", 1, "ab")])));
        assert_eq!(two.versions()[0].hash, abc);
    }
}
