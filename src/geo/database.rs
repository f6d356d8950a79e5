//! One database file in memory: opened, verified, its record shape found.
//!
//! The file is read, never mapped: a mapped file that somebody rewrites in place would crash the process. The shape is
//! found in the records, never in the declared type. Never answers outside `geo`: only [`super::Databases`] asks it.
//! Bound: [`MAX_FILE_BYTES`] of memory per file; opening visits each record once, and stops in a search tree that
//! has more ends than nodes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};

use super::Role;
use super::place::{CountryCode, Looked};
use crate::clock::Timestamp;
use crate::regular_file;

/// An opened database.
pub struct Database {
    reader: Reader<Image>,
    shape: Shape,
    /// `None` for the one inside the program.
    origin: Option<Origin>,
}

type Image = Cow<'static, [u8]>;
type Found<'a> = LookupResult<'a, Image>;

struct Origin {
    path: PathBuf,
    fingerprint: Fingerprint,
}

/// Where in a record the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `country.iso_code`, and where that is missing `registered_country.iso_code`: without the second, addresses of
    /// anonymising proxies would have no country.
    NestedCountry,
    /// `country_code`.
    FlatCountry,
    /// `autonomous_system_number`.
    Asn,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NestedCountry => "country.iso_code, registered_country.iso_code",
            Self::FlatCountry => "country_code",
            Self::Asn => "autonomous_system_number",
        })
    }
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It is not in the format, cut off, or damaged.
    #[error("the file is not a MaxMind DB file, or it is damaged")]
    Broken(#[source] MaxMindDbError),
    /// The search tree has more ends than nodes: a cycle.
    #[error("the file's search tree has a cycle")]
    Cycle,
    /// No record has the field that is asked for.
    #[error("no record of the file has {}", hint(*.0))]
    NoShape(Role),
}

impl Database {
    /// Reads, verifies and probes a file. Takes up to a second on a large file: not for the request path.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(role: Role, path: &Path) -> Result<Self, OpenError> {
        let file = regular_file::open(path).map_err(OpenError::Read)?;
        // Taken before reading: a file that changes meanwhile then differs at the next look and is read again.
        let fingerprint = Fingerprint::from(&file.metadata().map_err(OpenError::Read)?);
        let image = read_bounded(file, fingerprint.size, MAX_FILE_BYTES)?;
        let (reader, shape) = check(role, Cow::Owned(image))?;
        Ok(Self { reader, shape, origin: Some(Origin { path: path.to_owned(), fingerprint }) })
    }

    /// The country database inside the program. Its records are verified by a test, not at each start.
    ///
    /// # Errors
    /// None that the test did not find.
    pub fn shipped() -> Result<Self, OpenError> {
        let reader = Reader::from_source(Cow::Borrowed(SHIPPED)).map_err(OpenError::Broken)?;
        Ok(Self { reader, shape: Shape::FlatCountry, origin: None })
    }

    /// What it is asked for.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.shape {
            Shape::NestedCountry | Shape::FlatCountry => Role::Country,
            Shape::Asn => Role::Asn,
        }
    }

    /// The file; `None` for the one inside the program.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.origin.as_ref().map(|origin| origin.path.as_path())
    }

    /// Where in a record the answer is.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The type that the file declares. For people; nothing is decided by it.
    #[must_use]
    pub fn declared_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// Nodes of the search tree.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.reader.metadata().node_count
    }

    /// When it was built, in seconds since 1970, for `kelisim_geo_db_build_timestamp_seconds`.
    #[must_use]
    pub fn built(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Whole days since it was built; `None` when that lies more than a day in the future.
    #[must_use]
    pub fn age_days(&self, now: Timestamp) -> Option<u64> {
        let now = u64::try_from(now.as_secs()).unwrap_or(0);
        let built = self.built();
        (built <= now.saturating_add(DAY)).then(|| now.saturating_sub(built) / DAY)
    }

    /// Whether it knows IPv4 only.
    #[must_use]
    pub fn ipv4_only(&self) -> bool {
        self.reader.metadata().ip_version == 4
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.origin.as_ref().map(|origin| origin.fingerprint)
    }

    pub(super) fn country(&self, ip: IpAddr) -> Looked<CountryCode> {
        self.ask(ip, |found| country_in(found, self.shape))
    }

    /// The autonomous system, and its organisation if the file tells it.
    pub(super) fn asn(&self, ip: IpAddr) -> Looked<(u32, Option<&str>)> {
        self.ask(ip, |found| {
            let Some(asn) = asn_in(found)? else { return Ok(None) };
            // A text for people: one that cannot be read costs no number.
            Ok(Some((asn, found.decode_path(&ASN_ORGANISATION).unwrap_or_default())))
        })
    }

    /// The network of the file that an address lies in, for an operator's look-up.
    pub(crate) fn network(&self, ip: IpAddr) -> Option<IpNet> {
        if self.ipv4_only() && ip.is_ipv6() {
            return None;
        }
        let network = self.reader.lookup(ip).ok()?.network().ok()?;
        IpNet::new(network.ip(), network.prefix()).ok()
    }

    fn ask<'a, T>(
        &'a self,
        ip: IpAddr,
        read: impl FnOnce(&Found<'a>) -> Result<Option<T>, MaxMindDbError>,
    ) -> Looked<T> {
        // The crate calls this an error; it is a file that does not know, and was warned about when opened.
        if ip.is_ipv6() && self.ipv4_only() {
            return Looked::Miss;
        }
        match self.reader.lookup(ip).and_then(|found| read(&found)) {
            Ok(Some(answer)) => Looked::Hit(answer),
            Ok(None) => Looked::Miss,
            Err(_) => Looked::Error,
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.path())
            .field("shape", &self.shape)
            .field("built", &self.built())
            .finish_non_exhaustive()
    }
}

impl Fingerprint {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }
}

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

fn read_bounded(file: File, size: u64, limit: u64) -> Result<Vec<u8>, OpenError> {
    if size > limit {
        return Err(OpenError::TooLarge);
    }
    let mut image = Vec::with_capacity(usize::try_from(size).map_err(|_| OpenError::TooLarge)?);
    // One byte more than allowed, so that a file that grows is noticed and not swallowed.
    file.take(limit + 1).read_to_end(&mut image).map_err(OpenError::Read)?;
    if image.len() as u64 > limit {
        return Err(OpenError::TooLarge);
    }
    Ok(image)
}

/// Opens an image, verifies all of it, and finds the shape of its records.
fn check(role: Role, image: Image) -> Result<(Reader<Image>, Shape), OpenError> {
    let reader = Reader::from_source(image).map_err(OpenError::Broken)?;
    // The crate's check also demands a description, which the format does not and the shipped file has not. Such a
    // file gets only our own walk, which decodes whatever a look-up can reach.
    if !reader.metadata().description.is_empty() {
        reader.verify().map_err(OpenError::Broken)?;
    }
    let shape = walk(role, &reader)?.ok_or(OpenError::NoShape(role))?;
    Ok((reader, shape))
}

/// Decodes every distinct record as a look-up would. The first record with an answer decides the shape.
fn walk(role: Role, reader: &Reader<Image>) -> Result<Option<Shape>, OpenError> {
    let most = u64::from(reader.metadata().node_count) * 3;
    let mut seen = HashSet::new();
    let mut shape = None;
    // Networks without data are asked for so that a cycle among them is counted too.
    let options = WithinOptions::default().include_networks_without_data();
    for (count, found) in (0u64..).zip(reader.networks(options).map_err(OpenError::Broken)?) {
        if count > most {
            return Err(OpenError::Cycle);
        }
        let found = found.map_err(OpenError::Broken)?;
        let Some(offset) = found.offset() else { continue };
        if !seen.insert(offset) {
            continue;
        }
        let candidates: &[Shape] = match (shape.as_ref(), role) {
            (Some(known), _) => std::slice::from_ref(known),
            (None, Role::Country) => &[Shape::NestedCountry, Shape::FlatCountry],
            (None, Role::Asn) => &[Shape::Asn],
        };
        let mut answering = None;
        for &candidate in candidates {
            if answers(&found, candidate).map_err(OpenError::Broken)? {
                answering = Some(candidate);
                break;
            }
        }
        shape = shape.or(answering);
    }
    Ok(shape)
}

fn answers(found: &Found<'_>, shape: Shape) -> Result<bool, MaxMindDbError> {
    match shape {
        Shape::NestedCountry | Shape::FlatCountry => Ok(country_in(found, shape)?.is_some()),
        Shape::Asn => Ok(asn_in(found)?.is_some()),
    }
}

fn country_in(found: &Found<'_>, shape: Shape) -> Result<Option<CountryCode>, MaxMindDbError> {
    let text = match shape {
        Shape::NestedCountry => match found.decode_path::<&str>(&COUNTRY)? {
            Some(text) => Some(text),
            None => found.decode_path(&REGISTERED_COUNTRY)?,
        },
        Shape::FlatCountry => found.decode_path(&FLAT_COUNTRY)?,
        Shape::Asn => None,
    };
    Ok(text.and_then(CountryCode::new))
}

fn asn_in(found: &Found<'_>) -> Result<Option<u32>, MaxMindDbError> {
    found.decode_path(&ASN)
}

const fn hint(role: Role) -> &'static str {
    match role {
        Role::Country => {
            "country.iso_code, registered_country.iso_code or country_code; is it a city or country database?"
        }
        Role::Asn => "autonomous_system_number; is it an ASN database?",
    }
}

/// Bytes of one database file.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

const COUNTRY: [PathElement<'static>; 2] = [PathElement::Key("country"), PathElement::Key("iso_code")];
const REGISTERED_COUNTRY: [PathElement<'static>; 2] =
    [PathElement::Key("registered_country"), PathElement::Key("iso_code")];
const FLAT_COUNTRY: [PathElement<'static>; 1] = [PathElement::Key("country_code")];
const ASN: [PathElement<'static>; 1] = [PathElement::Key("autonomous_system_number")];
const ASN_ORGANISATION: [PathElement<'static>; 1] = [PathElement::Key("autonomous_system_organization")];
const DAY: u64 = 86_400;

const SHIPPED: &[u8] = include_bytes!("../../geoip/country.mmdb");

#[cfg(test)]
#[path = "database_tests.rs"]
pub(crate) mod tests;
